//! The SQL around the site's own queries.
//!
//! Its names begin with `edgepress_`, which no column of a query may: so nothing in a query or an
//! `order_by` can mean one of them by accident.

use std::fmt::Write as _;

use edgepress_site::row::Columns;

use crate::database::text::quoted;

/// How many parents fit in one statement.
pub(super) fn most_parents(include: &Include<'_>, narrow: bool) -> usize {
    MAX_PARAMETERS / (include.on.len() * if narrow { 2 } else { 1 })
}

/// Parameters of one statement (SQLite's SQLITE_MAX_VARIABLE_NUMBER).
const MAX_PARAMETERS: usize = 32_766;

/// An include's query, checked.
pub(super) struct Include<'a> {
    pub(super) query: &'a str,
    pub(super) columns: &'a Columns,
    pub(super) on: &'a [&'a str],
    pub(super) order_by: Option<&'a str>,
    pub(super) limit: Option<u32>,
}

/// `query` ordered by `order_by`, if given, then so that equal rows only remain tied.
pub(super) fn ordered(query: &str, columns: &Columns, order_by: Option<&str>) -> String {
    let (names, ties) = (names(columns), ties(columns));
    let order = order_by.map_or(ties.clone(), |order_by| format!("{order_by}\n, {ties}"));
    format!("WITH edgepress_q({names}) AS ({query}\n) SELECT * FROM edgepress_q ORDER BY {order}")
}

/// The rows of `query`, each once by its bytes and types, and one more than `most` if there are so many.
/// Behind the columns comes what their types are.
pub(super) fn distinct(query: &str, columns: &Columns, most: usize) -> String {
    let (names, ties) = (names(columns), ties(columns));
    let limit = most.saturating_add(1).min(i64::MAX.unsigned_abs() as usize);
    format!("WITH edgepress_q({names}) AS ({query}\n) SELECT DISTINCT {ties} FROM edgepress_q LIMIT {limit}")
}

/// The rows of an include for `parents` parents, whose keys are its parameters, parent by parent. Its
/// columns are followed by the parent's ordinal.
///
/// `narrow` repeats the keys as IN lists, column by column, which SQLite can push into a subquery that it
/// would otherwise evaluate for all keys. They say nothing new: IN compares as `=` does. (Their
/// parameters are further ones: numbered ones would be looked up in a list, one by one.)
pub(super) fn included(include: &Include<'_>, parents: usize, narrow: bool) -> String {
    let Include { query, columns, on, order_by, limit } = include;
    let (names, ties) = (names(columns), ties(columns));
    let order = order_by.map_or(ties.clone(), |order_by| format!("{order_by}\n, {ties}"));
    let mut sql = String::from("WITH edgepress_p(edgepress_n");
    for number in 1..=on.len() {
        write_to(&mut sql, format_args!(", edgepress_k{number}"));
    }
    sql.push_str(") AS (VALUES ");
    for parent in 0..parents {
        write_to(&mut sql, format_args!("{}({parent}", if parent == 0 { "" } else { "," }));
        sql.push_str(&",?".repeat(on.len()));
        sql.push(')');
    }
    write_to(&mut sql, format_args!("), edgepress_q({names}) AS ({query}\n) "));
    // CROSS JOIN: the parents stay on the outside, so that an index on the other side is used.
    let mut join = String::from("FROM edgepress_p CROSS JOIN edgepress_q ON ");
    for (index, column) in on.iter().enumerate() {
        let and = if index == 0 { "" } else { " AND " };
        let column = quoted(column);
        write_to(&mut join, format_args!("{and}edgepress_q.{column} = edgepress_p.edgepress_k{}", index + 1));
        if narrow {
            let list = ",?".repeat(parents);
            write_to(&mut join, format_args!(" AND edgepress_q.{column} IN ({})", &list[1..]));
        }
    }
    match limit {
        None => write_to(
            &mut sql,
            format_args!("SELECT edgepress_q.*, edgepress_n {join} ORDER BY edgepress_n, {order}"),
        ),
        Some(limit) => write_to(
            &mut sql,
            format_args!(
                "SELECT {names}, edgepress_n FROM (SELECT edgepress_q.*, edgepress_n, row_number() OVER \
                 (PARTITION BY edgepress_n ORDER BY {order}) AS edgepress_r {join}) \
                 WHERE edgepress_r <= {limit} ORDER BY edgepress_n, edgepress_r"
            ),
        ),
    }
    sql
}

/// Whether `detail`, a line of a query plan, says that the include's query is evaluated as a whole.
pub(super) fn is_whole(detail: &str) -> bool {
    ["MATERIALIZE edgepress_q", "CO-ROUTINE edgepress_q", " USING AUTOMATIC "]
        .iter()
        .any(|sign| detail.contains(sign))
}

/// Whether a plan says that the one table it reads is gone through from end to end, or needs an index made for
/// the query. Of several tables, small ones may rightly be gone through.
pub(super) fn scans(plan: &[String]) -> bool {
    let ours = ["edgepress_", "CONSTANT ROW", "VALUES CLAUSE"];
    let is_theirs = |line: &&String| !ours.iter().any(|own| line.contains(own));
    let reads = |line: &&String| line.starts_with("SCAN ") || line.starts_with("SEARCH ");
    let mut tables = plan.iter().filter(is_theirs).filter(reads);
    let is_scan = matches!((tables.next(), tables.next()), (Some(line), None) if line.starts_with("SCAN "));
    is_scan || plan.iter().any(|line| line.contains(" USING AUTOMATIC "))
}

fn write_to(sql: &mut String, text: std::fmt::Arguments<'_>) {
    sql.write_fmt(text).expect("writing to a String cannot fail");
}

fn names(columns: &Columns) -> String {
    columns.iter().map(|column| quoted(column)).collect::<Vec<_>>().join(", ")
}

/// All columns by their bytes, then by their types: 1 and 1.0 are equal, but print differently.
fn ties(columns: &Columns) -> String {
    let column = |column: &std::sync::Arc<str>| format!("edgepress_q.{}", quoted(column));
    let values: Vec<_> = columns.iter().map(|name| format!("{} COLLATE BINARY", column(name))).collect();
    let types: Vec<_> = columns.iter().map(|name| format!("typeof({})", column(name))).collect();
    format!("{}, {}", values.join(", "), types.join(" || "))
}
