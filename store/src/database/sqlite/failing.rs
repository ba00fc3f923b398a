//! Which expressions may fail when a row is asked for them.
//!
//! Owns the functions that never do, and the one reason for which JSON's do. In doubt an expression fails.

use std::collections::BTreeSet;

use sqlx::sqlite::SqliteConnection;

use super::catalog::{Step, steps};
use crate::database::text::{json_calls, quoted};

/// When an expression fails.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Fails {
    #[default]
    Never,
    /// Where one of these columns, of a row that is stored or is to be, holds no JSON.
    OnBadJson(BTreeSet<String>),
    /// Nobody knows.
    Perhaps,
}

impl Fails {
    pub(super) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Perhaps, _) | (_, Self::Perhaps) => Self::Perhaps,
            (Self::Never, other) | (other, Self::Never) => other,
            (Self::OnBadJson(one), Self::OnBadJson(other)) => Self::OnBadJson(&one | &other),
        }
    }
}

/// When `text` fails, an expression over values that are called like `columns`.
pub(super) async fn fails(connection: &mut SqliteConnection, text: &str, columns: &[&str]) -> Fails {
    let (rest, read) = json_calls(text);
    let find = |name: &String| columns.iter().find(|column| column.eq_ignore_ascii_case(name));
    let json: Option<BTreeSet<String>> =
        read.iter().map(|name| find(name).map(|column| (*column).to_owned())).collect();
    let Some(json) = json else { return Fails::Perhaps };
    // Parameters, so that generated columns are values, too, and not computed.
    let row: Vec<String> = columns
        .iter()
        .enumerate()
        .map(|(place, name)| format!("?{} AS {}", place + 1, quoted(name)))
        .collect();
    let explain = format!("EXPLAIN SELECT {rest}\n FROM (SELECT {})", row.join(", "));
    match steps(connection, &explain).await {
        Ok(steps) if !may_fail(&steps) && json.is_empty() => Fails::Never,
        Ok(steps) if !may_fail(&steps) => Fails::OnBadJson(json),
        Ok(_) | Err(_) => Fails::Perhaps,
    }
}

/// Whether one of a program's steps calls a function that may fail. Operators never do: what overflows
/// becomes a floating-point number.
pub(super) fn may_fail(steps: &[Step]) -> bool {
    let called = steps.iter().filter(|step| matches!(step.opcode.as_str(), "Function" | "PureFunc"));
    called.map(|step| step.p4.split('(').next().unwrap_or_default()).any(|name| !never_fails(name))
}

fn never_fails(function: &str) -> bool {
    let safe = [
        "char",
        "coalesce",
        "hex",
        "ifnull",
        "iif",
        "instr",
        "json_valid",
        "length",
        "lower",
        "ltrim",
        "max",
        "min",
        "nullif",
        "quote",
        "round",
        "rtrim",
        "substr",
        "substring",
        "trim",
        "typeof",
        "unicode",
        "upper",
    ];
    safe.contains(&function)
}
