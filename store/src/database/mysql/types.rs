//! The types of MySQL and MariaDB, and how their values become ours.
//!
//! Owns what is selected for a column so that its value arrives exactly, and how its bytes are told apart.
//! Refuses to guess: a type it does not know is an error that names the cast to write.

use std::sync::Arc;

use edgepress_site::row::{Columns, Row, Value};
use sqlx::mysql::{MySqlRow, MySqlValueRef};
use sqlx::{Decode, Row as _, TypeInfo as _, ValueRef as _};

use super::refused;
use super::text::quoted;
use crate::database::DatabaseError;

/// How a row was sent: of a prepared statement in binary, of plain text as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    Binary,
    Text,
}

/// How a column's values are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Bool,
    Int,
    /// BIGINT UNSIGNED and its smaller brothers.
    Unsigned,
    Float,
    Double,
    Decimal,
    /// BIT(1).
    Truth,
    Bits,
    /// CHAR, VARCHAR, ENUM, SET.
    Text,
    /// TEXT of any length: sorted by their first bytes only.
    LongText,
    Bytes,
    LongBytes,
    Json,
    Date,
    Time,
    DateTime,
    Timestamp,
}

impl Kind {
    /// By the name that the driver gives to the type of a result's column, and its character set: the
    /// driver calls what is compared by bytes binary.
    pub(super) fn of(column: &str, type_name: &str, charset: &str) -> Result<Self, DatabaseError> {
        let is_binary = charset == "binary";
        Ok(match type_name {
            "NULL" => Self::Null,
            "BOOLEAN" => Self::Bool,
            "TINYINT" | "SMALLINT" | "MEDIUMINT" | "INT" | "BIGINT" => Self::Int,
            "YEAR" | "TINYINT UNSIGNED" | "SMALLINT UNSIGNED" | "MEDIUMINT UNSIGNED" | "INT UNSIGNED"
            | "BIGINT UNSIGNED" => Self::Unsigned,
            "FLOAT" => Self::Float,
            "DOUBLE" => Self::Double,
            "DECIMAL" => Self::Decimal,
            "BIT" => Self::Bits,
            "CHAR" | "VARCHAR" | "ENUM" | "SET" | "BINARY" | "VARBINARY" => match is_binary {
                true => Self::Bytes,
                false => Self::Text,
            },
            "TINYTEXT" | "TEXT" | "MEDIUMTEXT" | "LONGTEXT" | "TINYBLOB" | "BLOB" | "MEDIUMBLOB"
            | "LONGBLOB" => match is_binary {
                true => Self::LongBytes,
                false => Self::LongText,
            },
            "JSON" => Self::Json,
            "DATE" => Self::Date,
            "TIME" => Self::Time,
            "DATETIME" => Self::DateTime,
            "TIMESTAMP" => Self::Timestamp,
            "GEOMETRY" => {
                return Err(refused(format!(
                    "column `{column}` is of the type {type_name}, which has no form here: select \
                     ST_AsText({0}) or ST_AsGeoJSON({0})",
                    quoted(column)
                )));
            }
            other => {
                return Err(refused(format!(
                    "column `{column}` is of the type {other}, which has no form here: select CAST({} AS CHAR)",
                    quoted(column)
                )));
            }
        })
    }

    /// Whether the column it comes from may say more: JSON is a long text in MariaDB.
    pub(super) fn is_unsure(self) -> bool {
        matches!(self, Self::Bits | Self::LongText)
    }

    /// With what the schema says of the column it comes from.
    pub(super) fn refined(self, column_type: &str, is_json: bool) -> Self {
        match (self, column_type) {
            (Self::Bits, "bit(1)") => Self::Truth,
            (Self::LongText, _) if is_json => Self::Json,
            _ => self,
        }
    }

    /// What is selected so that nothing of a value is lost on the way.
    pub(super) fn selected(self, column: &str) -> String {
        match self {
            // Their text has the declared digits.
            Self::Date | Self::Time | Self::DateTime | Self::Timestamp | Self::Json => {
                format!("CAST({column} AS CHAR CHARACTER SET utf8mb4)")
            }
            _ => column.to_owned(),
        }
    }

    /// Expressions that are equal for equal bytes only, and order by them.
    pub(super) fn ties(self, column: &str) -> String {
        match self {
            Self::Text | Self::Bytes => format!("CAST({column} AS BINARY)"),
            // Only so many bytes of a long text are sorted by.
            Self::LongText | Self::LongBytes => format!("CAST({column} AS BINARY), SHA2({column}, 256)"),
            Self::Json => format!("SHA2(CAST({column} AS CHAR CHARACTER SET utf8mb4), 256)"),
            Self::Float => format!("{column} + 0e0"),
            _ => column.to_owned(),
        }
    }

    /// One expression that is equal for equal bytes only.
    pub(super) fn bytes(self, column: &str) -> String {
        match self {
            Self::LongText | Self::LongBytes => format!("SHA2({column}, 256)"),
            _ => self.ties(column),
        }
    }

    /// Whether a value loses digits where it is sent as text.
    pub(super) fn is_inexact_as_text(self) -> bool {
        matches!(self, Self::Float | Self::Double)
    }

    /// The value in `place` of a row.
    pub(super) fn value(self, row: &MySqlRow, place: usize, sent: Sent) -> Result<Value, DatabaseError> {
        let raw = row.try_get_raw(place).map_err(super::failed)?;
        let type_info = raw.type_info().into_owned();
        let is_unsigned = type_info.name().ends_with("UNSIGNED") || self == Self::Unsigned;
        let Some(bytes) = bytes_of(raw)? else { return Ok(Value::Null) };
        // Grouped, bits come as an integer, whatever was announced.
        let is_bits = type_info.name() == "BIT";
        Ok(match self {
            Self::Null => Value::Null,
            Self::Bool => match integer(bytes, is_unsigned, sent)? {
                Value::Int(truth @ (0 | 1)) => Value::Bool(truth == 1),
                _ => Value::Unreadable(
                    "it is a TINYINT(1), a truth value, but neither 0 nor 1: select it + 0".into(),
                ),
            },
            Self::Truth if is_bits => Value::Bool(bytes.iter().any(|byte| *byte != 0)),
            Self::Truth => Value::Bool(integer(bytes, true, sent)? != Value::Int(0)),
            Self::Bits if is_bits => int(bytes.iter().fold(0, |bits, byte| bits << 8 | u64::from(*byte))),
            Self::Bits => integer(bytes, true, sent)?,
            Self::Int | Self::Unsigned => integer(bytes, is_unsigned, sent)?,
            Self::Float | Self::Double => float(bytes)?,
            Self::Decimal | Self::Text | Self::LongText => Value::Text(text(bytes)?.into()),
            Self::Bytes | Self::LongBytes => Value::Bytes(bytes.into()),
            Self::Json => json(text(bytes)?),
            Self::Time => Value::Text(text(bytes)?.into()),
            Self::Date | Self::DateTime | Self::Timestamp => self.moment(text(bytes)?),
        })
    }

    fn moment(self, text: &str) -> Value {
        let mut parts = text.get(..10).unwrap_or_default().split('-');
        let is_zero = text.starts_with("0000-00") || parts.any(|part| part == "00");
        match self {
            _ if is_zero => Value::Unreadable(
                format!("it is the zero date {text}, which is no date: select NULLIF(it, '{text}')").into(),
            ),
            Self::Timestamp => Value::Text(format!("{}Z", text.replacen(' ', "T", 1)).into()),
            _ => Value::Text(text.replacen(' ', "T", 1).into()),
        }
    }
}

fn bytes_of(raw: MySqlValueRef<'_>) -> Result<Option<&[u8]>, DatabaseError> {
    if raw.is_null() {
        return Ok(None);
    }
    <&[u8] as Decode<'_, sqlx::MySql>>::decode(raw).map(Some).map_err(|error| refused(error.to_string()))
}

fn text(bytes: &[u8]) -> Result<&str, DatabaseError> {
    std::str::from_utf8(bytes).map_err(|error| refused(format!("the server sent no UTF-8: {error}")))
}

/// Digits; or little-endian, as many bytes as the type has.
fn integer(bytes: &[u8], is_unsigned: bool, sent: Sent) -> Result<Value, DatabaseError> {
    if sent == Sent::Text {
        let digits = text(bytes)?;
        let number = digits.parse().map(Value::Int).or_else(|_| digits.parse().map(int));
        return number.map_err(|_| refused("the server sent no integer"));
    }
    let is_negative = !is_unsigned && bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut wide = [if is_negative { 0xff } else { 0 }; 8];
    let length = bytes.len().min(8);
    wide[..length].copy_from_slice(&bytes[..length]);
    Ok(if is_unsigned { int(u64::from_le_bytes(wide)) } else { Value::Int(i64::from_le_bytes(wide)) })
}

fn int(number: u64) -> Value {
    i64::try_from(number).map_or_else(
        |_| {
            let why = format!("{number} is larger than signed integers of 64 bits: select CAST(it AS CHAR)");
            Value::Unreadable(why.into())
        },
        Value::Int,
    )
}

fn float(bytes: &[u8]) -> Result<Value, DatabaseError> {
    let number = match (<[u8; 4]>::try_from(bytes), <[u8; 8]>::try_from(bytes)) {
        // By its own shortest text: 0.1 stays 0.1.
        (Ok(bytes), _) => f32::from_le_bytes(bytes).to_string().parse().unwrap_or(f64::NAN),
        (_, Ok(bytes)) => f64::from_le_bytes(bytes),
        _ => return Err(refused("the server sent no floating-point number")),
    };
    Ok(if number.is_finite() {
        // Zero has one form: adding it to -0.0 gives 0.0.
        Value::Float(number + 0.0)
    } else {
        Value::Unreadable("it is not finite, which JSON cannot say: select NULL or a text instead".into())
    })
}

fn json(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(json) => Value::Json(Arc::new(json)),
        Err(error) => Value::Unreadable(format!("it is not valid JSON ({error}): mend it").into()),
    }
}

/// A column of a query.
#[derive(Debug, Clone)]
pub(super) struct Described {
    pub(super) columns: Columns,
    pub(super) kinds: Arc<[Kind]>,
    /// Their character sets and collations.
    pub(super) collations: Arc<[(String, String)]>,
}

impl Described {
    /// The first columns of a row, and about how much memory they take.
    pub(super) fn row(&self, row: &MySqlRow, sent: Sent) -> Result<(Row, usize), DatabaseError> {
        let mut size = size_of::<Row>() + self.kinds.len() * size_of::<Value>();
        let mut values = Vec::with_capacity(self.kinds.len());
        for (place, kind) in self.kinds.iter().enumerate() {
            let value = kind.value(row, place, sent)?;
            size += match &value {
                Value::Text(text) => text.len(),
                Value::Bytes(bytes) => bytes.len(),
                Value::Json(_) => {
                    row.try_get_raw(place)
                        .ok()
                        .and_then(|raw| bytes_of(raw).ok().flatten())
                        .map_or(0, <[u8]>::len)
                        * 4
                }
                _ => 0,
            };
            values.push(value);
        }
        Ok((Row { columns: Arc::clone(&self.columns), values, includes: Vec::new() }, size))
    }

    /// Where the column called `name` stands.
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.eq_ignore_ascii_case(name))
    }
}
