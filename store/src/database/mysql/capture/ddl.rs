//! The tables and triggers that capture a table, as text.
//!
//! Owns what a trigger does in the owner's statement: whatever fails in it is caught, and marks the whole
//! table as changed instead. It only inserts, so that it waits for nobody. Refuses to run anything.

use std::collections::BTreeSet;

use super::names::{RECORD, change_table, trigger};
use super::ranges::Ranges;
use crate::database::mysql::catalog::{Ancestor, ColumnDetails};
use crate::database::mysql::text::quoted;

/// Bits of a mask: columns further on share them.
const MASK_BITS: usize = 62;
/// The mask of a row that came or went: all of its columns did.
const ALL: i64 = -1;
/// The mask of an image that was taken over from what captured the table before: it may stand there twice, so it
/// cancels out with none.
const PERHAPS: i64 = -2;

/// What [`RECORD`] does. Under LOCK TABLES, MariaDB lets no trigger write to a table that several triggers name
/// and somebody has read; but to one that all of them reach through one procedure.
pub(in super::super) const RECORD_BODY: &str =
    "BEGIN INSERT INTO edgepress_log (source, is_whole) VALUES (of_source, of_all); END";

/// Makes the procedure that adds to the log.
pub(super) fn record() -> String {
    format!("CREATE PROCEDURE {RECORD} (of_source BIGINT, of_all TINYINT) MODIFIES SQL DATA {RECORD_BODY}")
}

/// A table and the columns of it that are captured.
pub(super) struct Target<'a> {
    pub(super) table: &'a str,
    /// Its number among the captured tables, which its changes bear.
    pub(super) id: i64,
    /// The number in the names of what captures it.
    pub(super) number: i64,
    /// Captured columns, in order.
    pub(super) columns: Vec<&'a ColumnDetails>,
    /// Tables whose foreign keys change rows of this one without firing its triggers.
    pub(super) ancestors: Vec<Ancestor>,
}

/// A trigger as it should be.
pub(super) struct TriggerText {
    pub(super) name: String,
    pub(super) table: String,
    pub(super) event: &'static str,
    pub(super) body: String,
}

impl TriggerText {
    pub(super) fn create(&self) -> String {
        format!(
            "CREATE TRIGGER {} AFTER {} ON {} FOR EACH ROW {}",
            quoted(&self.name),
            self.event,
            quoted(&self.table),
            self.body
        )
    }
}

/// Where the bit of the column at `place` is in an update's mask.
fn bit(place: usize) -> usize {
    place % MASK_BITS
}

/// The SELECT of the images among `changes` in which one of `columns` changed, without those that cancel
/// out: as many of the same content came as went, so that the table has as many as before.
pub(super) fn images(
    number: i64,
    captured: &[ColumnDetails],
    changes: &Ranges,
    columns: &BTreeSet<String>,
) -> String {
    let mut bits = 0_i64;
    let mut list = Vec::new();
    let mut group = Vec::new();
    for column in columns {
        // A name that is not captured stays, so that the server says so.
        let place = captured.iter().position(|detail| detail.name.eq_ignore_ascii_case(column));
        bits |= place.map_or(0, |place| 1 << bit(place));
        let name = place.map_or(column, |place| &captured[place].name);
        let name = format!("edgepress_c.{}", quoted(name));
        list.push(format!("{name} AS {}", quoted(column)));
        group.push(place.map_or(name.clone(), |place| captured[place].bytes(&name)));
    }
    if list.is_empty() {
        list.push("NULL AS no_column".to_owned());
        group.push("NULL".to_owned());
    }
    format!(
        "SELECT {} FROM {} AS edgepress_c WHERE {} AND \
         (edgepress_c.edgepress_mask < 0 OR edgepress_c.edgepress_mask & {bits} <> 0) GROUP BY {} \
         HAVING MIN(edgepress_c.edgepress_mask) = {PERHAPS} OR SUM(IF(edgepress_c.edgepress_row & 1, 1, -1)) <> 0",
        list.join(", "),
        quoted(&change_table(number)),
        changes.rows().condition("edgepress_c.edgepress_row"),
        group.join(", "),
    )
}

impl Target<'_> {
    /// The table of the images: same types and collations, without any constraint, so that nothing that
    /// was stored in the table is refused.
    pub(super) fn change_table(&self) -> String {
        let mut sql = format!(
            "CREATE TABLE {} (edgepress_row BIGINT NOT NULL PRIMARY KEY, edgepress_mask BIGINT NOT NULL",
            quoted(&change_table(self.number))
        );
        for column in &self.columns {
            sql.push_str(&format!(", {} {}", quoted(&column.name), column.column_type));
            if let (Some(charset), Some(collation)) = (&column.charset, &column.collation) {
                sql.push_str(&format!(" CHARACTER SET {charset} COLLATE {collation}"));
            }
            sql.push_str(" NULL DEFAULT NULL");
        }
        sql + ") ENGINE=InnoDB ROW_FORMAT=DYNAMIC"
    }

    /// The statement that takes images over which were taken until now, of the table with that number and with
    /// the columns `before`: what was not captured then is NULL. Whoever reads that is told that it is fresh.
    pub(super) fn take_over(&self, number: i64, before: &[ColumnDetails]) -> String {
        let kept = self.columns.iter().filter(|column| before.contains(column));
        let columns: String = kept.map(|column| format!(", {}", quoted(&column.name))).collect();
        let (into, from) = (change_table(self.number), change_table(number));
        format!(
            "INSERT IGNORE INTO {} (edgepress_row, edgepress_mask{columns}) SELECT edgepress_row, {PERHAPS}{columns} \
             FROM {}",
            quoted(&into),
            quoted(&from)
        )
    }

    /// The triggers that capture this table.
    pub(super) fn triggers(&self) -> Vec<TriggerText> {
        let on = |event, does: &str, table: &str, body| TriggerText {
            name: trigger(self.number, does),
            table: table.to_owned(),
            event,
            body,
        };
        let mut triggers = vec![
            on("INSERT", "insert", self.table, self.caught(&self.row("NEW"))),
            on("DELETE", "delete", self.table, self.caught(&self.row("OLD"))),
        ];
        triggers.extend(self.update().map(|body| on("UPDATE", "update", self.table, body)));
        for (number, ancestor) in self.ancestors.iter().enumerate() {
            if ancestor.on_delete {
                let does = format!("deletes_{number}");
                triggers.push(on("DELETE", &does, &ancestor.table, self.caught(&self.mark())));
            }
            if !ancestor.columns.is_empty() {
                let same = ancestor.columns.iter().map(|name| {
                    let name = quoted(name);
                    format!("BINARY OLD.{name} <=> BINARY NEW.{name}")
                });
                let same = same.collect::<Vec<_>>().join(" AND ");
                let body = format!("IF NOT ({same}) THEN {} END IF;", self.mark());
                triggers.push(on(
                    "UPDATE",
                    &format!("updates_{number}"),
                    &ancestor.table,
                    self.caught(&body),
                ));
            }
        }
        triggers
    }

    /// Whatever fails, the owner's statement does not.
    fn caught(&self, body: &str) -> String {
        format!(
            "BEGIN DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN \
             DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END; {} END; {body} END",
            self.mark()
        )
    }

    /// The whole table counts as changed.
    fn mark(&self) -> String {
        format!("CALL {RECORD}({}, 1);", self.id)
    }

    fn log(&self) -> String {
        format!("CALL {RECORD}({}, 0);", self.id)
    }

    fn values(&self, mask: &str, row: &str) -> String {
        let columns: String =
            self.columns.iter().map(|column| format!(", {row}.{}", quoted(&column.name))).collect();
        let place = if row == "NEW" { " + 1" } else { "" };
        format!("(2 * LAST_INSERT_ID(){place}, {mask}{columns})")
    }

    fn row(&self, row: &str) -> String {
        let into = quoted(&change_table(self.number));
        format!("{} INSERT INTO {into} VALUES {};", self.log(), self.values(&ALL.to_string(), row))
    }

    fn update(&self) -> Option<String> {
        let same: Vec<String> = self.columns.iter().map(|column| column.is_same()).collect();
        if same.is_empty() {
            return None;
        }
        let bits: Vec<String> = same
            .iter()
            .enumerate()
            .map(|(place, same)| format!("IF({same}, 0, {})", 1_i64 << bit(place)))
            .collect();
        let mask = bits.join(" | ");
        Some(self.caught(&format!(
            "IF NOT ({}) THEN {} INSERT INTO {} VALUES {}, {}; END IF;",
            same.join(" AND "),
            self.log(),
            quoted(&change_table(self.number)),
            self.values(&mask, "OLD"),
            self.values(&mask, "NEW"),
        )))
    }
}

impl ColumnDetails {
    fn is_a(&self, types: &[&str]) -> bool {
        types.iter().any(|name| self.column_type.starts_with(name))
    }

    /// An expression that is equal for equal bytes only.
    fn bytes(&self, column: &str) -> String {
        if self.is_a(&[
            "tinytext",
            "text",
            "mediumtext",
            "longtext",
            "tinyblob",
            "blob",
            "mediumblob",
            "longblob",
        ]) {
            format!("SHA2({column}, 256)")
        } else if self.is_a(&["json"]) {
            format!("SHA2(CAST({column} AS CHAR CHARACTER SET utf8mb4), 256)")
        } else if self.is_a(&["float"]) {
            format!("{column} + 0e0")
        } else if self.collation.is_some() {
            format!("CAST({column} AS BINARY)")
        } else {
            column.to_owned()
        }
    }

    /// Whether an update left the column's bytes as they were.
    fn is_same(&self) -> String {
        let name = quoted(&self.name);
        if self.is_a(&["json"]) {
            format!("BINARY CAST(OLD.{name} AS CHAR) <=> BINARY CAST(NEW.{name} AS CHAR)")
        } else if self.is_a(&["timestamp"]) {
            // By themselves, two moments of a night when clocks are set back are equal in some time zones.
            format!("UNIX_TIMESTAMP(OLD.{name}) <=> UNIX_TIMESTAMP(NEW.{name})")
        } else if self.collation.is_some() {
            format!("BINARY OLD.{name} <=> BINARY NEW.{name}")
        } else {
            format!("OLD.{name} <=> NEW.{name}")
        }
    }
}
