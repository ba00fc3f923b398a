//! Between SQLite's values and ours, by the stored type of each value.

use std::sync::Arc;

use edgepress_site::row::{Columns, Row, Value};
use rusqlite::types::{ToSqlOutput, ValueRef};

/// The first columns of `row`, as many as `columns` names; and about how much memory they take.
pub(super) fn decode(row: &rusqlite::Row<'_>, columns: &Columns) -> rusqlite::Result<(Row, usize)> {
    let mut size = size_of::<Row>() + columns.len() * size_of::<Value>();
    let mut values = Vec::with_capacity(columns.len());
    for index in 0..columns.len() {
        let value = value(row.get_ref(index)?);
        size += match &value {
            Value::Text(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            _ => 0,
        };
        values.push(value);
    }
    Ok((Row { columns: Arc::clone(columns), values, includes: Vec::new() }, size))
}

/// By the type of the value, not the one the column was declared with.
fn value(raw: ValueRef<'_>) -> Value {
    match raw {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Int(number),
        ValueRef::Text(text) => match std::str::from_utf8(text) {
            Ok(text) => Value::Text(text.into()),
            Err(error) => {
                let why = format!("its text is not valid UTF-8 ({error}): store it as a BLOB or mend it");
                Value::Unreadable(why.into())
            }
        },
        // Zero has one form: adding it to -0.0, which SQLite holds equal, gives 0.0.
        ValueRef::Real(number) if number.is_finite() => Value::Float(number + 0.0),
        ValueRef::Real(_) => {
            Value::Unreadable("it is infinite, which JSON cannot say: select NULL or a text instead".into())
        }
        ValueRef::Blob(bytes) => Value::Bytes(bytes.into()),
    }
}

/// A value as SQLite is given it.
pub(super) fn bound(value: &Value) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(match value {
        // What cannot be read equals nothing.
        Value::Null | Value::Unreadable(_) => ValueRef::Null,
        Value::Bool(truth) => ValueRef::Integer(i64::from(*truth)),
        Value::Int(number) => ValueRef::Integer(*number),
        Value::Float(number) => ValueRef::Real(*number),
        Value::Text(text) => ValueRef::Text(text.as_bytes()),
        Value::Bytes(bytes) => ValueRef::Blob(bytes),
        Value::Json(json) => return ToSqlOutput::from(json.to_string()),
    })
}
