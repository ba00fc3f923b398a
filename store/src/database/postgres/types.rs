//! Which form each PostgreSQL type has here.
//!
//! Owns the table of types: by number for those that every server has, by name for those of extensions. A
//! domain is what it is made from, an enum is text. Refuses types without an entry, and says which cast
//! gives them one.

use std::collections::HashMap;

use sqlx::postgres::PgConnection;

use crate::database::text::quoted;

/// The form of a type's values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// Integers.
    Int,
    Bool,
    Float,
    /// Decimals: text that may say NaN or Infinity.
    Numeric,
    /// Text by the bytes of its type.
    Text,
    Bytes,
    Json,
    Date,
    Timestamp,
    TimestampTz,
    Interval,
    Array(Box<Form>),
}

/// A column's type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Type {
    pub(super) form: Form,
    /// What a key is cast to, to be compared with a column of this type: quoted, with its schema.
    pub(super) key: String,
    /// Whether ordering by the column itself leaves only equal bytes tied.
    pub(super) is_ordered: bool,
}

/// A row of `pg_type`.
#[derive(Debug, Clone)]
struct Entry {
    number: i64,
    schema: String,
    name: String,
    /// `e` for enums, `d` for domains, `r` and `m` for ranges.
    kind: String,
    category: String,
    /// What a domain is made from.
    base: i64,
    element: i64,
    shown: String,
    /// Those of an enum.
    labels: Option<String>,
}

from_row!(Entry: number, schema, name, kind, category, base, element, shown, labels);

/// The types asked for so far, by their number.
#[derive(Debug, Clone, Default)]
pub(super) struct Types {
    entries: HashMap<i64, Entry>,
}

/// A type and those it is made of.
const ENTRIES: &str = "\
    WITH RECURSIVE wanted(number) AS (\
        SELECT unnest($1::bigint[]) \
        UNION SELECT made.number FROM wanted JOIN pg_catalog.pg_type t ON t.oid::bigint = wanted.number \
        CROSS JOIN LATERAL (VALUES (t.typbasetype::bigint), (t.typelem::bigint)) AS made(number) \
        WHERE made.number <> 0) \
    SELECT t.oid::bigint AS number, n.nspname::text AS schema, t.typname::text AS name, \
        t.typtype::text AS kind, t.typcategory::text AS category, t.typbasetype::bigint AS base, \
        t.typelem::bigint AS element, pg_catalog.format_type(t.oid, NULL) AS shown, \
        (SELECT string_agg(quote_literal(e.enumlabel), ',' ORDER BY e.enumsortorder) FROM pg_catalog.pg_enum e \
            WHERE e.enumtypid = t.oid) AS labels \
    FROM wanted JOIN pg_catalog.pg_type t ON t.oid::bigint = wanted.number \
    JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace";

impl Types {
    /// Looks up those of `numbers` that are not known yet.
    pub(super) async fn learn(&mut self, connection: &mut PgConnection, numbers: &[i64]) -> sqlx::Result<()> {
        let unknown: Vec<i64> =
            numbers.iter().copied().filter(|number| !self.entries.contains_key(number)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let entries: Vec<Entry> = sqlx::query_as(ENTRIES).bind(unknown).fetch_all(connection).await?;
        self.entries.extend(entries.into_iter().map(|entry| (entry.number, entry)));
        Ok(())
    }

    /// The type with this number, which was [learnt](Self::learn); its name if it has no form.
    pub(super) fn find(&self, number: i64) -> Result<Type, String> {
        let shown =
            || self.entries.get(&number).map_or_else(|| number.to_string(), |entry| entry.shown.clone());
        let entry = self.base(number).ok_or_else(shown)?;
        let form = self.form(entry, 0).ok_or_else(shown)?;
        let key = match &*entry.name {
            // Wider keys than the column may hold match nothing, rather than fail.
            "int2" | "int4" if entry.schema == "pg_catalog" => "\"pg_catalog\".\"int8\"".to_owned(),
            name => format!("{}.{}", quoted(&entry.schema), quoted(name)),
        };
        let is_ordered = match form {
            Form::Int | Form::Bool | Form::Date | Form::Timestamp | Form::TimestampTz | Form::Bytes => true,
            Form::Text => entry.name == "uuid" || entry.kind == "e",
            _ => false,
        };
        Ok(Type { form, key, is_ordered })
    }

    /// Whether two values of the type are equal only if their bytes are; where it has collations, if the
    /// column's is deterministic.
    pub(super) fn is_bytewise(&self, number: i64) -> bool {
        self.base(number).is_some_and(|entry| {
            let is_plain = entry.schema == "pg_catalog"
                && matches!(
                    &*entry.name,
                    "int2"
                        | "int4"
                        | "int8"
                        | "oid"
                        | "bool"
                        | "text"
                        | "varchar"
                        | "char"
                        | "name"
                        | "uuid"
                        | "bytea"
                        | "date"
                        | "time"
                        | "timestamp"
                        | "timestamptz"
                );
            is_plain || entry.kind == "e"
        })
    }

    /// Whether equal values of the type, declared with `modifier`, may print differently.
    pub(super) fn prints_apart(&self, number: i64, modifier: i32) -> bool {
        self.base(number).is_some_and(|entry| match &*entry.name {
            // With a scale all of its values have the same.
            "numeric" => modifier == -1,
            name => matches!(name, "citext" | "interval" | "timetz" | "jsonb"),
        })
    }

    /// Whether the type holds floating-point numbers.
    pub(super) fn is_float(&self, number: i64) -> bool {
        let is_float = |entry: &Entry| matches!(&*entry.name, "float4" | "float8");
        self.base(number).is_some_and(|entry| entry.schema == "pg_catalog" && is_float(entry))
    }

    /// The labels of an enum, or of an array of one: renamed, they change what was stored before.
    pub(super) fn labels(&self, number: i64) -> Option<&str> {
        let entry = self.base(number)?;
        let element = self.base(entry.element).filter(|_| entry.element != 0);
        element.unwrap_or(entry).labels.as_deref()
    }

    /// The type of a column that takes every value of this one, as SQL text: without limits, which a stored
    /// value may exceed that was written before they changed.
    pub(super) fn declared(&self, number: i64) -> String {
        let Some(entry) = self.base(number) else { return "text".to_owned() };
        format!("{}.{}", quoted(&entry.schema), quoted(&entry.name))
    }

    /// The type with this number, or what it is a domain over.
    fn base(&self, mut number: i64) -> Option<&Entry> {
        // Domains cannot be made of themselves; their depth is bounded all the same.
        for _ in 0..32 {
            let entry = self.entries.get(&number)?;
            if entry.kind != "d" {
                return Some(entry);
            }
            number = entry.base;
        }
        None
    }

    fn form(&self, entry: &Entry, depth: u32) -> Option<Form> {
        let is_array = entry.category == "A" && entry.element != 0;
        if is_array && entry.schema == "pg_catalog" && matches!(&*entry.name, "int2vector" | "oidvector") {
            return Some(Form::Text);
        }
        if is_array {
            let element = self.base(entry.element).filter(|_| depth < 4)?;
            return Some(Form::Array(Box::new(self.form(element, depth + 1)?)));
        }
        match &*entry.kind {
            "e" | "r" | "m" => return Some(Form::Text),
            "b" => {}
            _ => return None,
        }
        if entry.schema != "pg_catalog" {
            // Extensions may lie in any schema.
            let is_text = matches!(
                &*entry.name,
                "citext"
                    | "hstore"
                    | "ltree"
                    | "lquery"
                    | "ltxtquery"
                    | "isbn"
                    | "isbn13"
                    | "issn"
                    | "issn13"
                    | "ismn"
                    | "ismn13"
                    | "ean13"
                    | "upc"
                    | "semver"
            );
            return is_text.then_some(Form::Text);
        }
        Some(match &*entry.name {
            "int2" | "int4" | "int8" | "oid" => Form::Int,
            "bool" => Form::Bool,
            "float4" | "float8" => Form::Float,
            "numeric" => Form::Numeric,
            "bytea" => Form::Bytes,
            "json" | "jsonb" => Form::Json,
            "date" => Form::Date,
            "timestamp" => Form::Timestamp,
            "timestamptz" => Form::TimestampTz,
            "interval" => Form::Interval,
            "text" | "varchar" | "bpchar" | "char" | "name" | "money" | "uuid" | "inet" | "cidr"
            | "macaddr" | "macaddr8" | "xml" | "tsvector" | "tsquery" | "bit" | "varbit" | "time"
            | "timetz" | "jsonpath" | "pg_lsn" | "xid8" | "regclass" | "regtype" | "regproc"
            | "regprocedure" | "regoper" | "regoperator" | "regconfig" | "regdictionary" | "regnamespace"
            | "regrole" | "regcollation" | "unknown" | "xid" | "cid" | "tid" => Form::Text,
            _ => return None,
        })
    }
}
