//! The site definition: what `site.toml` says, checked.
//!
//! Owns the model and its reading from text. Refuses to read files or the environment: the text and
//! the variables come in as arguments.

mod collections;
mod model;
mod reader;
mod sections;
mod sql;
mod words;

use toml::de::DeTable;

use crate::problem::{Problem, Problems};
use reader::Reader;

pub use model::*;

/// Reads `site.toml`: `text`, called `file_name` in messages, with the variables that `env` knows.
///
/// # Errors
/// With every mistake found, each with its line and what to write instead.
pub fn parse(file_name: &str, text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Site, Problems> {
    match read(file_name, text, env) {
        (site, problems) if problems.is_empty() => Ok(site),
        (_, problems) => Err(Problems(problems)),
    }
}

/// Parses a `site.toml` with mistakes as far as it can be: so that those elsewhere are found too.
#[must_use]
pub fn read(file_name: &str, text: &str, env: &dyn Fn(&str) -> Option<String>) -> (Site, Vec<Problem>) {
    let mut reader = Reader::new(file_name, text, env);
    let (keys, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        reader.syntax(error);
    }
    let mut root = Reader::root(keys.get_ref());
    let site = sections::site(&mut reader, &mut root);
    reader.done(&root);
    (site, reader.finish())
}

#[cfg(test)]
mod tests;

/// Reads a duration as `site.toml` writes it: `50ms`, `1s`, `5m`, `1h`, `1d`.
#[must_use]
pub fn duration(text: &str) -> Option<std::time::Duration> {
    words::duration(text).ok()
}
