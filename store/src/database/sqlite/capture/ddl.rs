//! The tables and triggers that capture a table, as text.
//!
//! Owns what a trigger does in the owner's statement: so little, and in such plain SQL, that it works in
//! every program with SQLite 3.34 or newer and cannot fail or block. Refuses to run anything.

use std::collections::BTreeSet;

use super::names::{LOG, SOURCE, Trigger, change_table};
use super::seen::Made;
use crate::database::since::Since;
use crate::database::sqlite::catalog::{Affinity, ColumnDetails, Details, ROWID_NAMES};
use crate::database::text::quoted;

/// Bits of a mask: columns further on share them. The sign bit marks rows that came or went.
const MASK_BITS: usize = 62;
/// The log never spans more changes than this: a publisher that is away for weeks costs a bounded file.
/// Beyond it triggers record nothing, which is known from the span itself.
pub(super) const MOST_CHANGES: i64 = 1_000_000;

/// A table and the columns of it that are captured.
pub(super) struct Target<'a> {
    pub(super) table: &'a str,
    /// Its number among the captured tables.
    pub(super) id: i64,
    pub(super) details: &'a Details,
    /// Captured columns, in order.
    pub(super) columns: Vec<String>,
    /// From when on some of them are captured.
    pub(super) since: Since,
}

/// The captured columns among `wanted`: those that the table has, in its order and spelling; then names by
/// which its rows' numbers are read. In place of one that no trigger may read, all that it may be made of.
pub(super) fn captured_columns(details: &Details, wanted: &BTreeSet<String>) -> Vec<String> {
    let is_wanted = |name: &str| wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(name));
    let needs_all = details.columns.iter().any(|column| column.is_computed && is_wanted(&column.name));
    let columns = details.columns.iter().filter(|column| !column.is_computed);
    let columns = columns.filter(|column| needs_all || is_wanted(&column.name));
    let mut captured: Vec<String> = columns.map(|column| column.name.clone()).collect();
    if details.rowid.is_some() {
        let is_free =
            |name: &&str| !details.columns.iter().any(|column| column.name.eq_ignore_ascii_case(name));
        let names = ROWID_NAMES.into_iter().filter(is_free).filter(|name| is_wanted(name));
        captured.extend(names.map(ToOwned::to_owned));
    }
    captured
}

/// Of an update's columns: where the bit of the column at `place` is.
fn bit(place: usize) -> usize {
    place % MASK_BITS
}

/// The mask of a row that came or went: all of its columns did.
const ALL: i64 = -1;

/// The mask of a row that REPLACE may have removed.
pub(super) const PERHAPS: i64 = -2;

/// The SELECT of the images in a range in which one of `columns` changed, without those that cancel out:
/// as many of the same content came as went, so that the table has as many as before. What may only
/// perhaps have gone is not counted, and stays.
pub(super) fn images(
    table: &str,
    captured: &[String],
    range: (i64, i64),
    columns: &BTreeSet<String>,
) -> String {
    let mut bits = 0_i64;
    let mut list = Vec::new();
    let mut group = Vec::new();
    for column in columns {
        // A name that is not captured stays, so that SQLite says so.
        let place = captured.iter().position(|name| name.eq_ignore_ascii_case(column));
        bits |= place.map_or(0, |place| 1 << bit(place));
        let name = place.map_or(column, |place| &captured[place]);
        let name = format!("edgepress_c.{}", quoted(name));
        list.push(format!("{name} AS {}", quoted(column)));
        group.push(format!("{name} COLLATE BINARY, typeof({name})"));
    }
    if list.is_empty() {
        list.push("NULL AS no_column".to_owned());
        group.push("NULL".to_owned());
    }
    format!(
        "SELECT {} FROM {} AS edgepress_c WHERE edgepress_c.edgepress_id BETWEEN {} AND {} AND \
         (edgepress_c.edgepress_mask < 0 OR edgepress_c.edgepress_mask & {bits}) GROUP BY {} HAVING \
         min(edgepress_c.edgepress_mask) = {PERHAPS} OR \
         sum(CASE WHEN edgepress_c.edgepress_id & 1 THEN 1 ELSE -1 END) <> 0",
        list.join(", "),
        quoted(&change_table(table)),
        2 * range.0,
        2 * range.1 + 1,
        group.join(", "),
    )
}

impl Target<'_> {
    /// The statements that capture this table, each with its kind and name.
    pub(super) fn objects(&self) -> Vec<(&'static str, String, String)> {
        let mut objects = vec![("table", change_table(self.table), self.change_table())];
        let mut trigger =
            |trigger: Trigger, text: Option<String>| {
                let name = trigger.on(self.table);
                objects.extend(text.map(|text| {
                    ("trigger", name.clone(), format!("CREATE TRIGGER {} {text}", quoted(&name)))
                }));
            };
        trigger(Trigger::Insert, Some(self.insert()));
        trigger(Trigger::Delete, Some(self.delete()));
        trigger(Trigger::Update, self.update());
        trigger(Trigger::Replace, self.replace());
        trigger(Trigger::Displace, self.displace());
        objects
    }

    pub(super) fn detail(&self, column: &str) -> Option<&ColumnDetails> {
        self.details.columns.iter().find(|detail| detail.name == *column)
    }

    /// Without any constraint, so that nothing that was stored in the table is refused.
    fn change_table(&self) -> String {
        let mut sql = format!(
            "CREATE TABLE {} (edgepress_id INTEGER PRIMARY KEY, edgepress_mask INTEGER",
            quoted(&change_table(self.table))
        );
        for column in &self.columns {
            let detail = self.detail(column);
            let affinity = match detail.map_or(Affinity::Integer, |detail| detail.affinity) {
                Affinity::Integer => " INTEGER",
                Affinity::Real => " REAL",
                Affinity::Numeric => " NUMERIC",
                Affinity::Text => " TEXT",
                Affinity::None => "",
            };
            let collation = detail.and_then(|detail| detail.collation.as_deref());
            let collation = collation.map_or_else(String::new, |name| format!(" COLLATE {}", quoted(name)));
            sql.push_str(&format!(", {}{affinity}{collation}", quoted(column)));
        }
        sql + ")"
    }

    pub(super) fn on(&self) -> String {
        quoted(self.table)
    }

    /// What is remembered of it.
    pub(super) fn made(&self) -> Made {
        let texts: Vec<String> = self.objects().into_iter().map(|(_, _, text)| text).collect();
        Made {
            texts: Made::name(&texts),
            keys: self.looked_up().into_keys().collect(),
            since: self.since.clone(),
        }
    }

    /// The statement that puts images back which were taken with other columns, `before`: what was not captured
    /// then is NULL. Whoever reads that is told that it is fresh.
    pub(super) fn put_back(&self, before: &[String], from: &str) -> String {
        let place = |name: &String| before.iter().position(|before| before == name);
        let kept = self.columns.iter().enumerate().filter_map(|(now, name)| Some((now, place(name)?)));
        let bits: Vec<String> = kept
            .map(|(now, before)| format!("((edgepress_mask >> {} & 1) << {})", bit(before), bit(now)))
            .collect();
        let values: String = self
            .columns
            .iter()
            .map(|name| place(name).map_or_else(|| ", NULL".to_owned(), |_| format!(", {}", quoted(name))))
            .collect();
        format!(
            "INSERT INTO {} SELECT edgepress_id, CASE WHEN edgepress_mask < 0 THEN edgepress_mask ELSE {} END{values} \
             FROM {from}",
            quoted(&change_table(self.table)),
            balanced(&bits, " | ")
        )
    }

    /// Two looks at the ends of a tree; last, so that rows which did not change are not charged for it.
    pub(super) fn has_room() -> String {
        format!("coalesce((SELECT max(id) FROM {LOG}) - (SELECT min(id) FROM {LOG}), 0) < {MOST_CHANGES}")
    }

    fn log(&self) -> String {
        format!("INSERT INTO {LOG} (source, at) VALUES ({}, julianday('now'));", self.id)
    }

    /// `id` and `mask` are expressions; the columns are read from `row`. Nothing can conflict here; OR
    /// REPLACE holds even if somebody emptied the log.
    fn image(&self, id: &str, mask: &str, row: &str) -> String {
        let into = quoted(&change_table(self.table));
        let values: String =
            self.columns.iter().map(|column| format!(", {row}.{}", quoted(self.source(column)))).collect();
        format!("INSERT OR REPLACE INTO {into} VALUES ({id}, {mask}{values});")
    }

    /// The name under which a captured column is read.
    pub(super) fn source<'a>(&'a self, column: &'a str) -> &'a str {
        if self.detail(column).is_some() { column } else { self.details.rowid.as_deref().unwrap_or(column) }
    }

    fn insert(&self) -> String {
        format!(
            "AFTER INSERT ON {} WHEN {} BEGIN {} {} END",
            self.on(),
            Self::has_room(),
            self.log(),
            self.image("2 * last_insert_rowid() + 1", &ALL.to_string(), "NEW")
        )
    }

    fn delete(&self) -> String {
        let body = if self.details.is_wide() {
            self.mark("1")
        } else {
            format!("{} {}", self.log(), self.image("2 * last_insert_rowid()", &ALL.to_string(), "OLD"))
        };
        format!("AFTER DELETE ON {} WHEN {} BEGIN {body} END", self.on(), Self::has_room())
    }

    /// Lets the whole table count as changed.
    pub(super) fn mark(&self, condition: &str) -> String {
        format!("UPDATE {SOURCE} SET mark = mark + 1 WHERE id = {} AND {condition};", self.id)
    }

    fn update(&self) -> Option<String> {
        if self.columns.is_empty() {
            return None;
        }
        let of = self.update_of(&self.columns);
        if self.details.is_wide() {
            let (on, room, mark) = (self.on(), Self::has_room(), self.mark("1"));
            return Some(format!("AFTER UPDATE{of} ON {on} WHEN {room} BEGIN {mark} END"));
        }
        let changed: Vec<String> = self.columns.iter().map(|column| self.is_changed(column)).collect();
        let bits: Vec<String> = changed
            .iter()
            .enumerate()
            .map(|(place, changed)| match bit(place) {
                0 => format!("({changed})"),
                bit => format!("(({changed}) << {bit})"),
            })
            .collect();
        let mask = balanced(&bits, " | ");
        Some(format!(
            "AFTER UPDATE{of} ON {} WHEN ({}) AND {} BEGIN {} {} {} END",
            self.on(),
            balanced(&changed, " OR "),
            Self::has_room(),
            self.log(),
            self.image("2 * last_insert_rowid()", &mask, "OLD"),
            self.image("last_insert_rowid() + 1", &mask, "NEW"),
        ))
    }

    /// Whether the column's bytes differ: 1 and 1.0 are equal, but print differently.
    pub(super) fn is_changed(&self, column: &str) -> String {
        let name = quoted(self.source(column));
        let differs = format!("OLD.{name} COLLATE BINARY IS NOT NEW.{name}");
        // These affinities leave no two types whose values are equal.
        let is_one_type = self
            .detail(column)
            .is_none_or(|detail| matches!(detail.affinity, Affinity::Text | Affinity::Real));
        if is_one_type { differs } else { format!("{differs} OR typeof(OLD.{name}) <> typeof(NEW.{name})") }
    }

    /// OF these columns; nothing where an update of other columns changes them: generated ones.
    pub(super) fn update_of(&self, columns: &[String]) -> String {
        let details = || columns.iter().map(|column| self.detail(column));
        if details().flatten().any(|detail| detail.is_generated) {
            return String::new();
        }
        let mut of: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
        let is_number = |column: &String| {
            self.detail(column).is_none() || self.details.integer_key.as_ref() == Some(column)
        };
        if columns.iter().any(is_number) {
            of.extend(ROWID_NAMES.map(ToOwned::to_owned));
        }
        format!(" OF {}", of.join(", "))
    }
}

/// Joined so that the expression is no deeper than it must be: SQLite has a limit.
pub(super) fn balanced(terms: &[String], operator: &str) -> String {
    match terms {
        [] => "0".to_owned(),
        [one] => one.clone(),
        _ => {
            let (left, right) = terms.split_at(terms.len() / 2);
            format!("({}{operator}{})", balanced(left, operator), balanced(right, operator))
        }
    }
}
