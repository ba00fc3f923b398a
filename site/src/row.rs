//! Rows as the database gave them, with their included rows, and how they print as JSON.
//! Refuses to know which database they came from: adapters map their types to [`Value`].

use std::sync::Arc;

use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};

/// One column's value. Adapters map their database's types to these so that JSON prints the same on
/// every database: decimals and times arrive as [`Value::Text`].
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// SQL NULL; `null` in JSON.
    Null,
    /// A truth value, where the database has the type.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// A finite floating-point number; adapters refuse NaN and infinity.
    Float(f64),
    /// Text.
    Text(Arc<str>),
    /// Bytes; base64 in JSON.
    Bytes(Arc<[u8]>),
    /// A JSON column's value; nests in JSON.
    Json(Arc<serde_json::Value>),
    /// A value that has no faithful form here: why, and what to do. No document is made from it.
    Unreadable(Arc<str>),
}

/// The names of a query's columns, in the query's order, shared by all of its rows.
pub type Columns = Arc<[Arc<str>]>;

/// One row of a query with the rows of its includes.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Column names; as many as `values`.
    pub columns: Columns,
    /// Column values, in the order of `columns`.
    pub values: Vec<Value>,
    /// Included rows, in the order of the definition.
    pub includes: Vec<Included>,
}

/// The rows of one include of one row.
#[derive(Debug, Clone, PartialEq)]
pub struct Included {
    /// The include's name.
    pub name: Arc<str>,
    /// Its rows.
    pub rows: Rows,
}

/// Included rows: a list, or with `one = true` an object or nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum Rows {
    /// A list, shared by all rows that have the same.
    Many(Arc<Vec<Row>>),
    /// One row or none.
    One(Option<Box<Row>>),
    /// Neither can be told: why, and what to do. No document is made from it.
    Unreadable(Arc<str>),
}

impl Row {
    /// A row without columns: what a collection without a query is rendered from.
    #[must_use]
    pub fn empty() -> Self {
        Self { columns: Arc::from([]), values: Vec::new(), includes: Vec::new() }
    }

    /// The value of the column called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        let index = self.columns.iter().position(|column| &**column == name)?;
        self.values.get(index)
    }

    /// What of this row, or of the rows of its includes, cannot be told: where the first of it stands, and
    /// why.
    #[must_use]
    pub fn unreadable(&self) -> Option<String> {
        let mut own = self.columns.iter().zip(&self.values);
        let own = own.find_map(|(column, value)| match value {
            Value::Unreadable(why) => Some(format!("column `{column}`: {why}")),
            _ => None,
        });
        own.or_else(|| {
            self.includes.iter().find_map(|Included { name, rows }| {
                let found = match rows {
                    Rows::Many(rows) => rows.iter().find_map(Self::unreadable),
                    Rows::One(row) => row.as_deref().and_then(Self::unreadable),
                    Rows::Unreadable(why) => return Some(format!("include `{name}`: {why}")),
                };
                found.map(|found| format!("include `{name}`, {found}"))
            })
        })
    }

    /// The include called `name`.
    #[must_use]
    pub fn included(&self, name: &str) -> Option<&Rows> {
        self.includes.iter().find(|included| &*included.name == name).map(|included| &included.rows)
    }
}

impl Value {
    /// The text that stands for this value in a path, if it has one: integers and text do.
    #[must_use]
    pub fn path_text(&self) -> Option<std::borrow::Cow<'_, str>> {
        match self {
            Self::Int(number) => Some(number.to_string().into()),
            Self::Text(text) => Some((&**text).into()),
            Self::Bool(_)
            | Self::Null
            | Self::Float(_)
            | Self::Bytes(_)
            | Self::Json(_)
            | Self::Unreadable(_) => None,
        }
    }

    /// What kind of value this is, for messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Bool(_) => "a truth value",
            Self::Int(_) => "an integer",
            Self::Float(_) => "a floating-point number",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
            Self::Json(_) => "JSON",
            Self::Unreadable(_) => "a value without a faithful form",
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_none(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Text(value) => serializer.serialize_str(value),
            Self::Bytes(value) => serializer.serialize_str(&base64(value)),
            Self::Json(value) => value.serialize(serializer),
            Self::Unreadable(why) => Err(serde::ser::Error::custom(why)),
        }
    }
}

impl Serialize for Rows {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Many(rows) => rows.serialize(serializer),
            Self::One(row) => row.serialize(serializer),
            Self::Unreadable(why) => Err(serde::ser::Error::custom(why)),
        }
    }
}

/// An object: the columns in the query's order, then the includes in the definition's.
impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.values.len() + self.includes.len()))?;
        for (column, value) in self.columns.iter().zip(&self.values) {
            map.serialize_entry(column, value)?;
        }
        for included in &self.includes {
            map.serialize_entry(&included.name, &included.rows)?;
        }
        map.end()
    }
}

/// Standard base64 with padding (RFC 4648, section 4).
pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = u32::from(chunk[0]) << 16
            | chunk.get(1).map_or(0, |byte| u32::from(*byte) << 8)
            | chunk.get(2).map_or(0, |byte| u32::from(*byte));
        for place in 0..4 {
            let digit = DIGITS[(group >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_print_as_rfc_4648_base64() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn a_row_prints_its_columns_in_order_and_then_its_includes() {
        let row = Row {
            columns: Arc::from(["z".into(), "a".into()]),
            values: vec![Value::Int(i64::MAX), Value::Null],
            includes: vec![
                Included { name: "many".into(), rows: Rows::Many(Arc::new(vec![Row::empty()])) },
                Included { name: "one".into(), rows: Rows::One(None) },
            ],
        };
        let json = serde_json::to_string(&row).expect("rows always print");
        assert_eq!(json, r#"{"z":9223372036854775807,"a":null,"many":[{}],"one":null}"#);
    }
}
