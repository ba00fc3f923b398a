//! The SQL around the site's own queries.
//!
//! Its names begin with `edgepress_`, which no column of a query may: so nothing in a query or an
//! `order_by` can mean one of them by accident. Every column is read as text: what a type's binary form
//! looks like does not matter, and neither does whether this program knows the type.

use edgepress_site::row::Columns;

use super::types::{Form, Type};
use crate::database::keys::place;
use crate::database::text::quoted;

/// What stands before a query that is checked.
pub(super) const BEFORE_CHECKED: &str = "SELECT count(*) FROM (";

/// The statement that fails unless `query` is right, and one SELECT; it does not run it.
pub(super) fn checked(query: &str) -> String {
    format!("{BEFORE_CHECKED}{query}\n) AS edgepress_q WHERE false")
}

/// A query and what is known of its columns.
#[derive(Debug, Clone)]
pub(super) struct Described {
    pub(super) columns: Columns,
    pub(super) types: Vec<Type>,
}

impl Described {
    pub(super) fn forms(&self) -> Vec<Form> {
        self.types.iter().map(|kind| kind.form.clone()).collect()
    }

    fn texts(&self) -> String {
        let text = |(number, name): (usize, &std::sync::Arc<str>)| {
            format!("edgepress_q.{}::text AS edgepress_{number}", quoted(name))
        };
        self.columns.iter().enumerate().map(text).collect::<Vec<_>>().join(", ")
    }

    /// All columns so that equal rows only remain tied: in the order of their type where that tells all
    /// values apart, else by the bytes of their text. (JSON has no order of its own.)
    fn ties(&self) -> String {
        let tie = |(name, kind): (&std::sync::Arc<str>, &Type)| {
            let name = format!("edgepress_q.{}", quoted(name));
            let text = format!("{name}::text COLLATE \"C\"");
            match kind.form {
                _ if kind.is_ordered => name,
                Form::Float | Form::Numeric | Form::Interval => format!("{name}, {text}"),
                _ => text,
            }
        };
        self.columns.iter().zip(&self.types).map(tie).collect::<Vec<_>>().join(", ")
    }

    fn order(&self, order_by: Option<&str>) -> String {
        let ties = self.ties();
        order_by.map_or(ties.clone(), |order_by| format!("{order_by}\n, {ties}"))
    }
}

/// The statement that says the columns of `query`. The join never matches, so the query is not run; and it
/// always gives one row, which says the types.
pub(super) fn described(query: &str) -> String {
    format!(
        "SELECT edgepress_q.* FROM (VALUES (1)) AS edgepress_one(edgepress_n) \
         LEFT JOIN ({query}\n) AS edgepress_q ON false"
    )
}

/// The rows of `query`, ordered by `order_by`, if given, then so that equal rows only remain tied.
pub(super) fn rows(query: &str, described: &Described, order: Option<Option<&str>>) -> String {
    let order = order.map_or_else(String::new, |by| format!(" ORDER BY {}", described.order(by)));
    format!("SELECT {} FROM ({query}\n) AS edgepress_q{order}", described.texts())
}

/// The rows of `query`, each once by its bytes, and one more than `most` if there are so many. Its columns
/// may have any names.
pub(super) fn distinct(query: &str, described: &Described, most: usize) -> String {
    let names: Vec<String> =
        (0..described.columns.len()).map(|number| format!("edgepress_k{number}")).collect();
    let texts: Vec<String> =
        names.iter().map(|name| format!("edgepress_q.{name}::text COLLATE \"C\"")).collect();
    let limit = most.saturating_add(1).min(i64::MAX.unsigned_abs() as usize);
    let (names, texts) = (names.join(", "), texts.join(", "));
    format!("SELECT DISTINCT {texts} FROM ({query}\n) AS edgepress_q({names}) LIMIT {limit}")
}

/// An include's query, checked.
pub(super) struct Include<'a> {
    pub(super) query: &'a str,
    pub(super) described: &'a Described,
    pub(super) on: &'a [&'a str],
    /// The types of the columns in `on`.
    pub(super) key: &'a [Type],
    pub(super) order_by: Option<&'a str>,
    pub(super) limit: Option<u32>,
}

/// The plan by which an include's rows are found for one parent, where an index is taken if there is one at all.
pub(super) fn planned(include: &Include<'_>) -> String {
    let Include { query, described, on, key, .. } = include;
    let condition = |(column, key): (&&str, &Type)| {
        let column = place(&described.columns, column).map_or("", |place| &described.columns[place]);
        // A constant NULL would be planned away.
        format!("edgepress_q.{} = (SELECT NULL::{})", quoted(column), key.key)
    };
    let conditions: Vec<String> = on.iter().zip(*key).map(condition).collect();
    format!("EXPLAIN SELECT * FROM ({query}\n) AS edgepress_q WHERE {}", conditions.join(" AND "))
}

/// Whether a plan says that the one table it reads is gone through from end to end.
pub(super) fn scans(plan: &[String]) -> bool {
    let reads = |line: &&String| line.contains(" Scan ") && line.contains(" on ");
    let mut tables = plan.iter().filter(reads);
    matches!((tables.next(), tables.next()), (Some(line), None) if line.contains("Seq Scan on "))
}

/// The rows of an include for the parents whose keys are its parameters: one array of texts for each column
/// of `on`. Its columns are followed by the parent's ordinal, from one.
///
/// A key is cast to the column's own type and compared by its `=`. `= ANY` says nothing new, but the planner
/// pushes it to where the join's condition cannot go: into a query that groups by the column; and with an
/// index it reads the few rows of all parents in one scan, which it then hashes with the parents. Without an
/// index it is one sequential scan, however many parents there are. (LATERAL with the limit inside would
/// stop early for a parent of many rows, but costs one scan for each parent where no index helps.)
pub(super) fn included(include: &Include<'_>) -> String {
    let Include { query, described, on, key, order_by, limit } = include;
    let (mut arrays, mut names, mut conditions) = (Vec::new(), Vec::new(), Vec::new());
    for (number, (column, key)) in on.iter().zip(*key).enumerate() {
        let number = number + 1;
        let column = place(&described.columns, column).map_or("", |place| &described.columns[place]);
        let column = format!("edgepress_q.{}", quoted(column));
        let array = format!("${number}::text[]::{}[]", key.key);
        conditions.push(format!("{column} = edgepress_p.edgepress_k{number} AND {column} = ANY ({array})"));
        arrays.push(array);
        names.push(format!("edgepress_k{number}, "));
    }
    let (arrays, names, conditions) = (arrays.join(", "), names.concat(), conditions.join(" AND "));
    let (texts, order) = (described.texts(), described.order(*order_by));
    let join = format!(
        "FROM unnest({arrays}) WITH ORDINALITY AS edgepress_p({names}edgepress_n) \
         JOIN ({query}\n) AS edgepress_q ON {conditions}"
    );
    match limit {
        None => format!(
            "SELECT {texts}, edgepress_p.edgepress_n {join} ORDER BY edgepress_p.edgepress_n, {order}"
        ),
        Some(limit) => format!(
            "SELECT {}edgepress_n FROM (SELECT {texts}, edgepress_p.edgepress_n, row_number() OVER \
             (PARTITION BY edgepress_p.edgepress_n ORDER BY {order}) AS edgepress_r {join}) AS edgepress_w \
             WHERE edgepress_r <= {limit} ORDER BY edgepress_n, edgepress_r",
            (0..described.columns.len()).map(|number| format!("edgepress_{number}, ")).collect::<String>()
        ),
    }
}
