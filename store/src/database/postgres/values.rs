//! Between the texts of PostgreSQL's values and ours, by the form of each type.

use std::sync::Arc;

use edgepress_site::row::{Columns, Row, Value};
use serde_json::Value as Json;
use sqlx::postgres::PgRow;
use sqlx::{Row as _, ValueRef as _};

use super::types::Form;

/// Arrays have at most so many dimensions in PostgreSQL.
const MOST_DIMENSIONS: usize = 6;

/// The first columns of `row`, as many as `columns` names; and about how much memory they take.
pub(super) fn decode(row: &PgRow, columns: &Columns, forms: &[Form]) -> sqlx::Result<(Row, usize)> {
    let mut size = size_of::<Row>() + columns.len() * size_of::<Value>();
    let mut values = Vec::with_capacity(columns.len());
    for (index, form) in forms.iter().enumerate() {
        let raw = row.try_get_raw(index)?;
        if raw.is_null() {
            values.push(Value::Null);
            continue;
        }
        let bytes = raw.as_bytes().map_err(sqlx::Error::Decode)?;
        size += bytes.len();
        values.push(match std::str::from_utf8(bytes) {
            Ok(text) => value(form, text),
            Err(error) => unreadable(&format!("its text is not valid UTF-8 ({error}): mend it")),
        });
    }
    Ok((Row { columns: Arc::clone(columns), values, includes: Vec::new() }, size))
}

fn unreadable(why: &str) -> Value {
    Value::Unreadable(why.into())
}

/// The value that PostgreSQL prints as `text`.
pub(super) fn value(form: &Form, text: &str) -> Value {
    let odd = || unreadable(&format!("PostgreSQL prints it as `{text}`, which is not of its type"));
    match form {
        Form::Int => text.parse().map_or_else(|_| odd(), Value::Int),
        Form::Bool => match text {
            "t" | "true" => Value::Bool(true),
            "f" | "false" => Value::Bool(false),
            _ => odd(),
        },
        Form::Float | Form::Numeric if is_special(text) => {
            unreadable(&format!("it is {text}, which JSON cannot say: select NULL or a text instead"))
        }
        // Zero has one form: adding it to -0.0, which PostgreSQL holds equal, gives 0.0.
        Form::Float => text.parse::<f64>().map_or_else(|_| odd(), |number| Value::Float(number + 0.0)),
        Form::Numeric | Form::Text => Value::Text(text.into()),
        Form::Bytes => bytes(text).map_or_else(odd, |bytes| Value::Bytes(bytes.into())),
        Form::Json => match serde_json::from_str(text) {
            Ok(json) => Value::Json(Arc::new(json)),
            Err(error) => unreadable(&format!("its JSON cannot be read ({error}): select it as a text")),
        },
        Form::Date | Form::Timestamp | Form::TimestampTz => moment(form, text),
        Form::Interval if text.ends_with("infinity") => {
            unreadable("it is infinite, which ISO 8601 cannot say: select NULL or a text instead")
        }
        Form::Interval => Value::Text(text.into()),
        Form::Array(element) => array(element, text).unwrap_or_else(odd),
    }
}

fn is_special(text: &str) -> bool {
    matches!(text, "NaN" | "Infinity" | "-Infinity")
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("\\x")?.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    digits.chunks(2).map(pair).collect()
}

/// A date or a time stamp, which ISO 8601 and RFC 3339 write with a year of four digits.
fn moment(form: &Form, text: &str) -> Value {
    if text.ends_with("infinity") {
        return unreadable("it is infinite, which ISO 8601 cannot say: select NULL or a text instead");
    }
    if text.ends_with("BC") || text.find('-') != Some(4) {
        return unreadable("its year is not within 1 to 9999, as ISO 8601 wants: select it as a text");
    }
    let iso = text.replacen(' ', "T", 1);
    Value::Text(match form {
        // The session's time zone is UTC.
        Form::TimestampTz => match iso.strip_suffix("+00") {
            Some(time) => format!("{time}Z").into(),
            None => return unreadable("the session's time zone was changed: do not set it in a query"),
        },
        _ => iso.into(),
    })
}

/// An array's text, `[0:1]={{1,NULL},{"a b",2}}` for example; nothing if it is not one.
fn array(form: &Form, text: &str) -> Option<Value> {
    let text = if text.starts_with('[') { text.split_once('=')?.1 } else { text };
    let mut parser = Parser { rest: text, unreadable: None };
    let list = parser.list(form, 1)?;
    if !parser.rest.is_empty() {
        return None;
    }
    Some(parser.unreadable.map_or_else(|| Value::Json(Arc::new(list)), Value::Unreadable))
}

struct Parser<'a> {
    rest: &'a str,
    /// Why an element has no form.
    unreadable: Option<Arc<str>>,
}

impl Parser<'_> {
    fn eat(&mut self, c: char) -> bool {
        let rest = self.rest.strip_prefix(c);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn list(&mut self, form: &Form, depth: usize) -> Option<Json> {
        if depth > MOST_DIMENSIONS || !self.eat('{') {
            return None;
        }
        let mut list = Vec::new();
        if self.eat('}') {
            return Some(Json::Array(list));
        }
        loop {
            list.push(if self.rest.starts_with('{') {
                self.list(form, depth + 1)?
            } else {
                self.element(form)?
            });
            if self.eat('}') {
                return Some(Json::Array(list));
            }
            if !self.eat(',') {
                return None;
            }
        }
    }

    fn element(&mut self, form: &Form) -> Option<Json> {
        let text = if self.eat('"') {
            let mut text = String::new();
            let mut chars = self.rest.char_indices();
            let end = loop {
                match chars.next()? {
                    (at, '"') => break at,
                    (_, '\\') => text.push(chars.next()?.1),
                    (_, c) => text.push(c),
                }
            };
            self.rest = &self.rest[end + 1..];
            text
        } else {
            let (text, rest) = self.rest.split_at(self.rest.find([',', '}'])?);
            self.rest = rest;
            if text.eq_ignore_ascii_case("null") {
                return Some(Json::Null);
            }
            text.to_owned()
        };
        let value = value(form, &text);
        if let Value::Unreadable(why) = &value {
            self.unreadable = Some(Arc::clone(why));
            return Some(Json::Null);
        }
        serde_json::to_value(&value).ok()
    }
}

/// A key's value as text that casts to the type of the column it is compared with; nothing where it equals
/// nothing.
pub(super) fn key(form: &Form, value: &Value) -> Option<String> {
    let text = match value {
        Value::Null | Value::Unreadable(_) => return None,
        Value::Bool(truth) if *form == Form::Int => i64::from(*truth).to_string(),
        Value::Bool(truth) => truth.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Text(text) => text.to_string(),
        Value::Bytes(bytes) => {
            bytes.iter().fold("\\x".to_owned(), |text, byte| text + &format!("{byte:02x}"))
        }
        Value::Json(json) => json.to_string(),
    };
    // A decimal or a floating-point number equals an integer if it is whole.
    if *form == Form::Int
        && let Some((whole, fraction)) = text.split_once('.')
        && fraction.bytes().all(|byte| byte.is_ascii_digit())
    {
        return fraction.bytes().all(|byte| byte == b'0').then(|| whole.to_owned());
    }
    Some(text)
}
