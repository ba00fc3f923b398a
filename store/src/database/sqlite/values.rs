//! Between SQLite's values and ours, by the stored type of each value.

use std::sync::Arc;

use edgepress_site::row::{Columns, Row, Value};
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow, SqliteValueRef};
use sqlx::{Decode, Row as _, TypeInfo as _, ValueRef as _};

use crate::database::DatabaseError;

/// A query with its values so far.
pub(super) type Bound<'q> = Query<'q, sqlx::Sqlite, SqliteArguments>;

/// The first columns of `row`, as many as `columns` names; and about how much memory they take.
pub(super) fn decode(row: &SqliteRow, columns: &Columns, number: u64) -> Result<(Row, usize), DatabaseError> {
    let mut size = size_of::<Row>() + columns.len() * size_of::<Value>();
    let mut values = Vec::with_capacity(columns.len());
    for (index, column) in columns.iter().enumerate() {
        let read = row.try_get_raw(index).map_err(|error| error.to_string()).and_then(value);
        let value = read.map_err(|message| DatabaseError::Value {
            row: number,
            column: column.to_string(),
            message,
        })?;
        size += match &value {
            Value::Text(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            _ => 0,
        };
        values.push(value);
    }
    Ok((Row { columns: Arc::clone(columns), values, includes: Vec::new() }, size))
}

fn value(raw: SqliteValueRef<'_>) -> Result<Value, String> {
    if raw.is_null() {
        return Ok(Value::Null);
    }
    // The type of the value, not the one the column was declared with.
    let kind = match raw.type_info().name() {
        "INTEGER" => b'i',
        "TEXT" => b't',
        "REAL" => b'r',
        _ => b'b',
    };
    match kind {
        b'i' => i64::decode(raw).map(Value::Int).map_err(|error| error.to_string()),
        b't' => match <&str>::decode(raw) {
            Ok(text) => Ok(Value::Text(text.into())),
            Err(error) => {
                Err(format!("its text is not valid UTF-8 ({error}): store it as a BLOB or mend it"))
            }
        },
        b'r' => match f64::decode(raw) {
            // Zero has one form: adding it to -0.0, which SQLite holds equal, gives 0.0.
            Ok(number) if number.is_finite() => Ok(Value::Float(number + 0.0)),
            Ok(_) => Err("it is infinite, which JSON cannot say: select NULL or a text instead".to_owned()),
            Err(error) => Err(error.to_string()),
        },
        _ => <&[u8]>::decode(raw).map(|bytes| Value::Bytes(bytes.into())).map_err(|error| error.to_string()),
    }
}

/// Gives `query` its next value.
pub(super) fn bind<'q>(query: Bound<'q>, value: &Value) -> Bound<'q> {
    match value {
        Value::Null => query.bind(None::<i64>),
        Value::Bool(truth) => query.bind(i64::from(*truth)),
        Value::Int(number) => query.bind(*number),
        Value::Float(number) => query.bind(*number),
        Value::Text(text) => query.bind(Arc::clone(text)),
        Value::Bytes(bytes) => query.bind(bytes.to_vec()),
        Value::Json(json) => query.bind(json.to_string()),
    }
}

/// Bytes that are equal for equal keys only; nothing when a value is NULL, which equals nothing.
pub(super) fn key_bytes(key: &[Value]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(key.len() * 12);
    let mut add = |kind: u8, content: &[u8]| {
        bytes.push(kind);
        bytes.extend_from_slice(&(content.len() as u64).to_be_bytes());
        bytes.extend_from_slice(content);
    };
    for value in key {
        match value {
            Value::Null => return None,
            Value::Bool(truth) => add(b'i', &i64::from(*truth).to_be_bytes()),
            Value::Int(number) => add(b'i', &number.to_be_bytes()),
            Value::Float(number) => add(b'r', &number.to_bits().to_be_bytes()),
            Value::Text(text) => add(b't', text.as_bytes()),
            Value::Bytes(content) => add(b'b', content),
            Value::Json(json) => add(b't', json.to_string().as_bytes()),
        }
    }
    Some(bytes)
}
