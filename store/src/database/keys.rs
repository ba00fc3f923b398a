//! What every adapter does around the site's queries: it checks the names in them, and asks for each key
//! of an include once. Refuses to know any database's SQL.

use std::collections::HashMap;

use edgepress_site::row::{Columns, Row, Value};

use super::DatabaseError;

/// Names that are ours: no column of a query may begin so.
pub(super) const PREFIX: &str = "edgepress_";

/// The different keys among those of `parents`; and for each parent which of them it wants, unless it matches
/// nothing.
pub(super) fn distinct_keys(parents: &[Vec<Value>]) -> (Vec<&[Value]>, Vec<Option<usize>>) {
    let mut ordinals = HashMap::new();
    let mut keys: Vec<&[Value]> = Vec::new();
    let mut wanted = Vec::with_capacity(parents.len());
    for parent in parents {
        wanted.push(key_bytes(parent).map(|bytes| {
            *ordinals.entry(bytes).or_insert_with(|| {
                keys.push(parent);
                keys.len() - 1
            })
        }));
    }
    (keys, wanted)
}

/// Gives every parent the list it wants; the last of several takes it without a copy.
pub(super) fn hand_out(mut lists: Vec<Option<Vec<Row>>>, wanted: &[Option<usize>]) -> Vec<Vec<Row>> {
    let mut left = vec![0_usize; lists.len()];
    for ordinal in wanted.iter().flatten() {
        left[*ordinal] += 1;
    }
    let mut give = |ordinal: usize| {
        left[ordinal] -= 1;
        let list = if left[ordinal] == 0 { lists[ordinal].take() } else { lists[ordinal].clone() };
        list.expect("taken only by the last who wants it")
    };
    wanted.iter().map(|ordinal| ordinal.map_or_else(Vec::new, &mut give)).collect()
}

/// The column of a name: the one of exactly this name, or else one that differs in case alone.
pub(super) fn place(columns: &Columns, name: &str) -> Option<usize> {
    let exactly = columns.iter().position(|column| &**column == name);
    exactly.or_else(|| columns.iter().position(|column| column.eq_ignore_ascii_case(name)))
}

/// Refuses columns whose names are ours, or the same to the database, as `is_same` tells.
pub(super) fn check_names(columns: &Columns, is_same: fn(&str, &str) -> bool) -> Result<(), DatabaseError> {
    for (index, column) in columns.iter().enumerate() {
        if columns[..index].iter().any(|other| is_same(other, column)) {
            return Err(refused(format!(
                "the query has two columns called `{column}`: give one an alias with AS"
            )));
        }
        if column.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX)) {
            return Err(refused(format!(
                "names beginning with {PREFIX} are taken: give `{column}` an alias with AS"
            )));
        }
    }
    Ok(())
}

pub(super) fn check_keys(
    on: &[&str],
    columns: &Columns,
    parents: &[Vec<Value>],
) -> Result<(), DatabaseError> {
    if on.is_empty() {
        return Err(refused("an include that is asked for parents needs `on`"));
    }
    for name in on {
        if place(columns, name).is_none() {
            let columns: Vec<&str> = columns.iter().map(|column| &**column).collect();
            let columns = columns.join(", ");
            return Err(refused(format!(
                "`on` names `{name}`, but the include's query gives {columns}: select it"
            )));
        }
    }
    if parents.iter().any(|parent| parent.len() != on.len()) {
        return Err(refused(format!(
            "every parent needs {} key values, one for each column of `on`",
            on.len()
        )));
    }
    Ok(())
}

pub(super) fn refused(message: impl Into<String>) -> DatabaseError {
    DatabaseError::Query { message: message.into() }
}

/// What became of a statement: refused for what it says or reads, or not attended to.
pub(super) fn failure(is_refused: bool, message: String) -> DatabaseError {
    if is_refused { DatabaseError::Query { message } } else { DatabaseError::Lost { message } }
}

/// Bytes that are equal for equal keys only; nothing when a value is NULL, which equals nothing.
fn key_bytes(key: &[Value]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(key.len() * 12);
    let mut add = |kind: u8, content: &[u8]| {
        bytes.push(kind);
        bytes.extend_from_slice(&(content.len() as u64).to_be_bytes());
        bytes.extend_from_slice(content);
    };
    for value in key {
        match value {
            Value::Null | Value::Unreadable(_) => return None,
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
