//! A row as a template sees it, and as a document without a template.
//!
//! Owns the conversion of rows to Tera's values: directly, since every document passes here.

use std::cell::RefCell;
use std::sync::Arc;

use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};
use tera::value::Key;
use tera::{Context, Map};

use super::meter::{self, Output};
use super::{Limits, Page, RenderError};
use crate::row::{Columns, Included, Row, Rows, Value, base64};

/// What a template sees, and the size of its longest text.
pub(super) fn context(row: &Row, page: Option<&Page>, site: &tera::Value) -> (Context, usize) {
    let mut converter = Converter { longest: 0 };
    let mut context = Context::new();
    for (column, value) in row.columns.iter().zip(&row.values) {
        context.insert_value((**column).to_owned(), converter.value(value));
    }
    for Included { name, rows } in &row.includes {
        context.insert_value((**name).to_owned(), converter.rows(rows));
    }
    context.insert_value("site", site.clone());
    if let Some(page) = page {
        context.insert_value("page", page_value(page));
    }
    (context, converter.longest)
}

fn page_value(page: &Page) -> tera::Value {
    let link = |path: &Option<String>| path.as_deref().map_or_else(tera::Value::none, tera::Value::from);
    map([
        ("number", tera::Value::from(page.number)),
        ("count", tera::Value::from(page.count)),
        ("previous", link(&page.previous)),
        ("next", link(&page.next)),
    ])
}

/// A map with fixed names.
pub(super) fn map<const N: usize>(entries: [(&'static str, tera::Value); N]) -> tera::Value {
    entries.into_iter().map(|(name, value)| (Key::Str(name), value)).collect::<Map>().into()
}

/// Columns whose maps a thread remembers.
const SHAPES: usize = 8;

thread_local! {
    /// Maps with the columns of rows seen lately, and no values. To copy one costs half of what building
    /// one does; and a thread's own names are counted by no other thread.
    static SHAPES_SEEN: RefCell<Vec<(Columns, Map)>> = const { RefCell::new(Vec::new()) };
}

/// A map with these columns, and no values yet.
fn shape(columns: &Columns) -> Map {
    SHAPES_SEEN.with_borrow_mut(|seen| {
        if let Some((_, map)) = seen.iter().find(|(known, _)| Arc::ptr_eq(known, columns)) {
            return map.clone();
        }
        let name = |column: &Arc<str>| (Key::String(Arc::from(&**column)), tera::Value::none());
        let map: Map = columns.iter().map(name).collect();
        seen.truncate(SHAPES - 1);
        seen.insert(0, (Arc::clone(columns), map.clone()));
        map
    })
}

struct Converter {
    longest: usize,
}

impl Converter {
    fn text(&mut self, text: &str) -> tera::Value {
        self.longest = self.longest.max(text.len());
        tera::Value::from(text)
    }

    fn value(&mut self, value: &Value) -> tera::Value {
        match value {
            Value::Null => tera::Value::none(),
            Value::Bool(value) => tera::Value::from(*value),
            Value::Int(value) => tera::Value::from(*value),
            Value::Float(value) => tera::Value::from(*value),
            Value::Text(text) => self.text(text),
            Value::Bytes(bytes) => self.text(&base64(bytes)),
            Value::Json(json) => self.json(json),
            // Whoever makes documents refuses the row; whatever else renders it must not get by.
            Value::Unreadable(_) => tera::Value::undefined(),
        }
    }

    fn rows(&mut self, rows: &Rows) -> tera::Value {
        match rows {
            Rows::Many(rows) => rows.iter().map(|row| self.row(row)).collect::<Vec<_>>().into(),
            Rows::Unreadable(_) => tera::Value::none(),
            Rows::One(row) => row.as_deref().map_or_else(tera::Value::none, |row| self.row(row)),
        }
    }

    fn row(&mut self, row: &Row) -> tera::Value {
        let mut map = shape(&row.columns);
        debug_assert_eq!(map.len(), row.values.len(), "no two columns have one name");
        for (slot, value) in map.values_mut().zip(&row.values) {
            *slot = self.value(value);
        }
        for Included { name, rows } in &row.includes {
            map.insert(Key::String(Arc::clone(name)), self.rows(rows));
        }
        map.into()
    }

    fn json(&mut self, json: &serde_json::Value) -> tera::Value {
        match json {
            serde_json::Value::Null => tera::Value::none(),
            serde_json::Value::Bool(value) => tera::Value::from(*value),
            serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(integer), _) => tera::Value::from(integer),
                (None, Some(integer)) => tera::Value::from(integer),
                (None, None) => number.as_f64().map_or_else(tera::Value::none, tera::Value::from),
            },
            serde_json::Value::String(text) => self.text(text),
            serde_json::Value::Array(values) => {
                values.iter().map(|value| self.json(value)).collect::<Vec<_>>().into()
            }
            serde_json::Value::Object(object) => {
                let mut map = Map::with_capacity(object.len());
                for (name, value) in object {
                    map.insert(Key::String(name.as_str().into()), self.json(value));
                }
                map.into()
            }
        }
    }
}

/// A document without a template: the row as compact JSON (its columns, then its includes), then `page`
/// if it is paged.
///
/// # Errors
///
/// When the document would grow beyond `limits.bytes`.
pub fn json(row: &Row, page: Option<&Page>, limits: Limits) -> Result<Vec<u8>, RenderError> {
    let mut output = Output::new(limits.bytes, 1024);
    match serde_json::to_writer(&mut output, &Document { row, page }) {
        Ok(()) => Ok(output.into_bytes()),
        Err(_) => {
            let failure = meter::document_too_large(limits.bytes);
            Err(RenderError {
                template: String::new(),
                line: None,
                message: failure.message,
                remedy: failure.remedy,
            })
        }
    }
}

struct Document<'a> {
    row: &'a Row,
    page: Option<&'a Page>,
}

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { row, page } = self;
        let mut map = serializer.serialize_map(None)?;
        for (column, value) in row.columns.iter().zip(&row.values) {
            map.serialize_entry(column, value)?;
        }
        for Included { name, rows } in &row.includes {
            map.serialize_entry(name, rows)?;
        }
        if let Some(page) = page {
            map.serialize_entry("page", page)?;
        }
        map.end()
    }
}
