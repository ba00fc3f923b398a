//! The keys of an include's parents, as one JSON text that the server joins to.
//!
//! Owns how each key is compared: as the include's own column is, with its collation, so that an index on
//! it is used. Refuses to compare anything itself.

use std::fmt::Write as _;

use edgepress_site::row::Value;
use serde_json::json;

use super::text::quoted;
use super::types::{Described, Kind};

/// Longest texts for which the server keeps a parent's key in a short column.
const SHORT: usize = 4_096;

/// The parents in SQL, and when a row is theirs.
pub(super) struct Joined {
    pub(super) parents: String,
    pub(super) condition: String,
    /// The statement's one parameter.
    pub(super) keys: String,
}

/// What the values of one key column are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Given {
    Int,
    Float,
    Text,
    Bytes,
}

impl Joined {
    /// Of keys without NULL; `on` are columns of `described`.
    pub(super) fn new(described: &Described, on: &[&str], keys: &[&[Value]]) -> Self {
        let mut columns = String::from("edgepress_n FOR ORDINALITY");
        let mut conditions = Vec::with_capacity(on.len());
        let mut given = Vec::with_capacity(on.len());
        for (number, name) in on.iter().enumerate() {
            let place = described.place(name).unwrap_or_default();
            let kind = described.kinds[place];
            let is = given_as(keys.iter().map(|key| &key[number]));
            let longest = keys.iter().map(|key| length(&key[number])).max().unwrap_or_default();
            let key = format!("edgepress_p.edgepress_k{}", number + 1);
            let column = format!("edgepress_q.{}", quoted(&described.columns[place]));
            let declared = declared(is, kind, longest);
            write!(columns, ", edgepress_k{} {declared} PATH '$[{number}]'", number + 1)
                .expect("writing to a String cannot fail");
            conditions.push(condition(is, kind, &described.collations[place], &column, &key));
            given.push((is, kind));
        }
        let keys: Vec<serde_json::Value> = keys
            .iter()
            .map(|key| key.iter().zip(&given).map(|(value, (is, kind))| sent(value, *is, *kind)).collect())
            .collect();
        Self {
            parents: format!("JSON_TABLE(CONVERT(? USING utf8mb4), '$[*]' COLUMNS ({columns})) edgepress_p"),
            condition: conditions.join(" AND "),
            keys: serde_json::Value::Array(keys).to_string(),
        }
    }
}

fn given_as<'a>(mut values: impl Iterator<Item = &'a Value>) -> Given {
    let of = |value: &Value| match value {
        Value::Bool(_) | Value::Int(_) => Given::Int,
        Value::Float(_) => Given::Float,
        Value::Bytes(_) => Given::Bytes,
        Value::Text(_) | Value::Json(_) | Value::Null | Value::Unreadable(_) => Given::Text,
    };
    let first = values.next().map_or(Given::Text, of);
    // Columns have one type; what comes mixed all the same is compared as text.
    if values.all(|value| of(value) == first) { first } else { Given::Text }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Bool(truth) => Some(i64::from(*truth).to_string()),
        Value::Int(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Text(text) => Some(text.to_string()),
        Value::Json(json) => Some(json.to_string()),
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Value::Null | Value::Unreadable(_) => None,
    }
}

fn length(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.chars().count(),
        Value::Bytes(bytes) => bytes.len() * 2,
        Value::Json(json) => json.to_string().chars().count(),
        _ => 32,
    }
}

/// A value in the JSON text.
fn sent(value: &Value, is: Given, kind: Kind) -> serde_json::Value {
    match (is, value) {
        (Given::Int, Value::Bool(truth)) => json!(i64::from(*truth)),
        (Given::Int, Value::Int(number)) => json!(number),
        (Given::Float, Value::Float(number)) => json!(number),
        (Given::Bytes, Value::Bytes(bytes)) => {
            json!(bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>())
        }
        (_, value) => json!(text(value).and_then(|text| as_text_of(kind, text))),
    }
}

/// A text as a column of this kind would have it; nothing if it can have none that is equal.
fn as_text_of(kind: Kind, text: String) -> Option<String> {
    let is_number = |text: &str| text.parse::<f64>().is_ok_and(f64::is_finite);
    match kind {
        Kind::Date | Kind::DateTime | Kind::Timestamp | Kind::Time => {
            Some(text.strip_suffix('Z').unwrap_or(&text).replacen('T', " ", 1))
        }
        // Else MySQL takes a text that is no number for zero.
        Kind::Decimal
        | Kind::Int
        | Kind::Unsigned
        | Kind::Bool
        | Kind::Truth
        | Kind::Bits
        | Kind::Float
        | Kind::Double => is_number(&text).then_some(text),
        _ => Some(text),
    }
}

/// The type of a key's column.
fn declared(is: Given, kind: Kind, longest: usize) -> String {
    match is {
        Given::Int => "BIGINT".to_owned(),
        // Equal to what a FLOAT holds only as a FLOAT.
        Given::Float if kind == Kind::Float => "FLOAT".to_owned(),
        Given::Float => "DOUBLE".to_owned(),
        Given::Text | Given::Bytes if longest > SHORT => "LONGTEXT CHARACTER SET utf8mb4".to_owned(),
        Given::Text | Given::Bytes => {
            format!("VARCHAR({}) CHARACTER SET utf8mb4", longest.next_power_of_two().max(16))
        }
    }
}

fn condition(is: Given, kind: Kind, collation: &(String, String), column: &str, key: &str) -> String {
    let (charset, collation) = collation;
    match (is, kind) {
        (Given::Bytes, _) => format!("{column} = UNHEX({key})"),
        (Given::Text, Kind::Text | Kind::LongText | Kind::Json) => {
            let equal = format!("{column} = CONVERT({key} USING {charset}) COLLATE {collation}");
            if charset == "utf8mb4" {
                return equal;
            }
            // What the column's character set cannot say equals nothing in it.
            format!(
                "{equal} AND CONVERT(CONVERT({key} USING {charset}) USING utf8mb4) COLLATE utf8mb4_bin = {key}"
            )
        }
        (Given::Text, Kind::Bytes | Kind::LongBytes) => format!("{column} = CAST({key} AS BINARY)"),
        (Given::Text, Kind::Date) => format!("{column} = CAST({key} AS DATE)"),
        (Given::Text, Kind::Time) => format!("{column} = CAST({key} AS TIME(6))"),
        (Given::Text, Kind::DateTime | Kind::Timestamp) => format!("{column} = CAST({key} AS DATETIME(6))"),
        (Given::Text, Kind::Decimal) => format!("{column} = CAST({key} AS DECIMAL(65,30))"),
        _ => format!("{column} = {key}"),
    }
}
