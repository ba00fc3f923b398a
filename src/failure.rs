//! Errors as the user sees them: a message on stderr or one line of JSON, and the exit code.

use std::process::ExitCode;

use edgepress_publisher::PublishError;
use edgepress_site::problem::{Problem, Problems};
use serde_json::json;

use crate::cli::Format;
use crate::output;

/// Failed.
pub(crate) const FAILED: u8 = 1;
/// Wrong use, or a wrong site definition.
pub(crate) const WRONG_USE: u8 = 2;
/// Refused by a guard.
pub(crate) const REFUSED: u8 = 3;

/// Used wrongly: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct WrongUse(pub(crate) String);

/// The site has mistakes, which were printed already: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("the site has mistakes")]
pub(crate) struct Told(pub(crate) u8);

/// The exit code of an error, and a word that names its kind.
fn kind(error: &anyhow::Error) -> (u8, &'static str) {
    if let Some(Told(code)) = error.downcast_ref() {
        return (*code, "told");
    }
    if error.is::<WrongUse>() || error.is::<Problems>() {
        return (WRONG_USE, "wrong_use");
    }
    match error.downcast_ref() {
        Some(PublishError::Site(_)) => (WRONG_USE, "site"),
        Some(PublishError::Guard { .. }) => (REFUSED, "guard"),
        Some(PublishError::Held(_)) => (REFUSED, "held"),
        Some(PublishError::Newer(_)) => (FAILED, "newer"),
        Some(PublishError::Other(_)) => (FAILED, "other_site"),
        Some(PublishError::Lost(_)) => (FAILED, "lost"),
        Some(PublishError::Locked(_)) => (FAILED, "locked"),
        Some(PublishError::Lagging { .. }) => (FAILED, "lagging"),
        Some(PublishError::Keys(..) | PublishError::Paths(_)) => (FAILED, "documents"),
        Some(PublishError::Rows { .. } | PublishError::Row { .. } | PublishError::Database(_)) => {
            (FAILED, "database")
        }
        Some(PublishError::Release(_)) => (FAILED, "storage"),
        Some(PublishError::File { .. }) => (FAILED, "file"),
        Some(PublishError::Waited | PublishError::Task(_)) | None => (FAILED, "failed"),
    }
}

fn problems(error: &anyhow::Error) -> Option<&[Problem]> {
    match (error.downcast_ref(), error.downcast_ref()) {
        (Some(PublishError::Site(Problems(problems))), _) | (_, Some(Problems(problems))) => Some(problems),
        _ => None,
    }
}

/// Prints an error and gives the exit code.
pub(crate) fn report(error: &anyhow::Error, format: Format) -> ExitCode {
    let (code, kind) = kind(error);
    if kind != "told" {
        print(&format!("{error:#}"), kind, problems(error), code, format);
    }
    code.into()
}

/// Prints a message of the command line's parser.
pub(crate) fn usage(error: &clap::Error, format: Format) -> ExitCode {
    if format == Format::Json && error.use_stderr() {
        print(&error.to_string(), "wrong_use", None, WRONG_USE, format);
        return WRONG_USE.into();
    }
    // What cannot be printed cannot be reported either.
    let _ = error.print();
    if error.use_stderr() { WRONG_USE.into() } else { ExitCode::SUCCESS }
}

fn print(message: &str, kind: &str, problems: Option<&[Problem]>, code: u8, format: Format) {
    match format {
        Format::Text => eprintln!("error: {message}"),
        Format::Json => {
            let mut error = json!({ "kind": kind, "message": message, "exit_code": code });
            if let Some(problems) = problems {
                error["problems"] = json!(problems);
            }
            output::line_out(&json!({ "error": error }).to_string());
        }
    }
}
