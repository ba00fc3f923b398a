//! The SQL around the site's own queries.
//!
//! Its names begin with `edgepress_`, which no column of a query may: so nothing in a query or an
//! `order_by` can mean one of them by accident.

use super::include::Joined;
use super::text::quoted;
use super::types::Described;
use crate::database::Order;

/// The rows of `query`.
pub(super) fn rows(query: &str, described: &Described, order: Order<'_>) -> String {
    let selected = selected(described);
    let order = match order {
        Order::Any => String::new(),
        Order::Columns => format!(" ORDER BY {}", ties(described)),
        Order::By(order_by) => format!(" ORDER BY {order_by}\n, {}", ties(described)),
    };
    format!("SELECT {selected} FROM ({query}\n) edgepress_q{order}")
}

/// The rows of `query`, each once by its bytes, and one more than `most` if there are so many.
pub(super) fn distinct(query: &str, described: &Described, most: usize) -> String {
    let bytes = each(described, |column, place| described.kinds[place].bytes(&column));
    let limit = most.saturating_add(1).min(i64::MAX.unsigned_abs() as usize);
    format!("SELECT {} FROM ({query}\n) edgepress_q GROUP BY {bytes} LIMIT {limit}", selected(described))
}

/// `query` with numbers for names: two columns may be called the same.
pub(super) fn numbered(query: &str, width: usize) -> String {
    let names: Vec<String> = (1..=width).map(|number| format!("edgepress_k{number}")).collect();
    format!("WITH edgepress_w({}) AS ({query}\n) SELECT * FROM edgepress_w", names.join(", "))
}

/// One row of NULLs with the names and types of a query's columns; only a SELECT can stand in it. Nothing of
/// the query is run.
pub(super) fn nothing(query: &str) -> String {
    format!("SELECT edgepress_q.* {}", none_of(query))
}

/// What the server says of the character sets and collations of these columns.
pub(super) fn collations<'a>(query: &str, columns: impl Iterator<Item = &'a str>) -> String {
    let columns = columns.map(|column| {
        let column = format!("edgepress_q.{}", quoted(column));
        format!("CAST(CHARSET({column}) AS CHAR), CAST(COLLATION({column}) AS CHAR)")
    });
    format!("SELECT {} {}", columns.collect::<Vec<_>>().join(", "), none_of(query))
}

/// LIMIT 0, because MariaDB goes through all rows to join none of them on FALSE.
fn none_of(query: &str) -> String {
    format!(
        "FROM (SELECT 1 AS edgepress_one) edgepress_p \
         LEFT JOIN (SELECT * FROM ({query}\n) edgepress_l LIMIT 0) edgepress_q ON TRUE"
    )
}

/// The rows of an include for the parents in its one parameter. Its columns are followed by the parent's
/// ordinal, from one.
pub(super) fn included(
    query: &str,
    described: &Described,
    joined: &Joined,
    order_by: Option<&str>,
    limit: Option<u32>,
) -> String {
    let (selected, ties) = (selected(described), ties(described));
    let order = order_by.map_or(ties.clone(), |order_by| format!("{order_by}\n, {ties}"));
    // STRAIGHT_JOIN: the parents stay on the outside, so that an index on the other side is used.
    let join =
        format!("FROM {} STRAIGHT_JOIN ({query}\n) edgepress_q ON {}", joined.parents, joined.condition);
    let Some(limit) = limit else {
        return format!("SELECT {selected}, edgepress_n {join} ORDER BY edgepress_n, {order}");
    };
    format!(
        "SELECT {selected}, edgepress_n FROM (SELECT edgepress_q.*, edgepress_n, row_number() OVER \
         (PARTITION BY edgepress_n ORDER BY {order}) AS edgepress_r {join}) edgepress_q \
         WHERE edgepress_r <= {limit} ORDER BY edgepress_n, edgepress_r"
    )
}

/// All columns, under names that no `order_by` can mean.
fn selected(described: &Described) -> String {
    each(described, |column, place| {
        format!("{} AS edgepress_c{}", described.kinds[place].selected(&column), place + 1)
    })
}

fn ties(described: &Described) -> String {
    each(described, |column, place| described.kinds[place].ties(&column))
}

fn each(described: &Described, make: impl Fn(String, usize) -> String) -> String {
    let columns = described.columns.iter().enumerate();
    let made = columns.map(|(place, name)| make(format!("edgepress_q.{}", quoted(name)), place));
    made.collect::<Vec<_>>().join(", ")
}
