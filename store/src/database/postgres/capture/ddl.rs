//! The tables, functions and triggers that capture a table, as text.
//!
//! Owns what a trigger does in the owner's statement: it writes down what changed, and where it cannot, that
//! anything may have; it never fails, waits for nobody, and reads no name that the session could give
//! another meaning. Refuses to run anything.

use std::collections::BTreeSet;

use super::names::{CHANGE_ID, LOG, PRUNED_ID, change_table, function, literal};
use crate::database::postgres::catalog::{Details, Member};
use crate::database::text::quoted;

/// The log never spans more changes than this: a publisher that is away for weeks costs a bounded part of
/// the disk. Beyond it, and for statements that change more rows at once, only the table is written down.
const MOST_CHANGES: i64 = 1_000_000;
const MOST_ROWS: i64 = 100_000;

/// What our functions run with, whatever the session's settings: that the same value prints alike.
const SETTINGS: &str = "SET search_path = pg_catalog, pg_temp SET extra_float_digits = 1 \
                        SET TimeZone = 'UTC' SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'iso_8601'";

/// What is there before any table is captured.
pub(super) fn fixed() -> Vec<String> {
    let mut statements: Vec<String> = [
        "CREATE SCHEMA edgepress_capture",
        "COMMENT ON SCHEMA edgepress_capture IS 'Edgepress: edits recorded for its publishers'",
        "CREATE SEQUENCE edgepress_capture.change_id",
        "CREATE SEQUENCE edgepress_capture.pruned_id MINVALUE 0 START 0",
        "SELECT pg_catalog.setval('edgepress_capture.pruned_id', 0)",
        "CREATE TABLE edgepress_capture.state (identity text NOT NULL, next bigint NOT NULL, pruned pg_snapshot)",
        "INSERT INTO edgepress_capture.state (identity, next) VALUES (pg_catalog.gen_random_uuid()::text, 1)",
        "CREATE TABLE edgepress_capture.consumer (name text PRIMARY KEY, reads text NOT NULL, number bigint, seen text, \
         state text)",
        "CREATE TABLE edgepress_capture.intent (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \
         consumer text NOT NULL, number bigint NOT NULL, seen text NOT NULL, state text NOT NULL)",
        "CREATE TABLE edgepress_capture.source (id bigint PRIMARY KEY, table_schema text NOT NULL, \
         table_name text NOT NULL, columns text NOT NULL, shape text NOT NULL)",
        "CREATE TABLE edgepress_capture.log (id bigint PRIMARY KEY DEFAULT pg_catalog.nextval('edgepress_capture.change_id'), \
         xid xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id(), \
         at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(), source bigint NOT NULL, \
         edits bigint NOT NULL, whole boolean NOT NULL DEFAULT false)",
        "CREATE INDEX log_xid ON edgepress_capture.log (xid)",
        "CREATE INDEX log_whole ON edgepress_capture.log (source) WHERE whole",
    ]
    .map(ToOwned::to_owned)
    .into();
    statements.push(mark());
    statements.push("REVOKE ALL ON FUNCTION edgepress_capture.mark(bigint) FROM PUBLIC".to_owned());
    statements
}

/// Writes down, once in a transaction, that any row of a table may have changed. An older such entry says
/// nothing more to anybody who sees this one: where nobody prunes there is still only one.
fn mark() -> String {
    format!(
        "CREATE FUNCTION edgepress_capture.mark(bigint) RETURNS void LANGUAGE plpgsql {SETTINGS} AS $edgepress$
BEGIN
    IF EXISTS (SELECT 1 FROM {LOG} l WHERE l.source = $1 AND l.whole AND l.xid = pg_current_xact_id()) THEN
        RETURN;
    END IF;
    INSERT INTO {LOG} (source, edits, whole) VALUES ($1, 1, true);
    BEGIN
        DELETE FROM {LOG} WHERE id IN (SELECT l.id FROM {LOG} l WHERE l.source = $1 AND l.whole
            AND l.xid <> pg_current_xact_id() ORDER BY l.id LIMIT 16 FOR UPDATE SKIP LOCKED);
    EXCEPTION WHEN OTHERS THEN
        NULL;
    END;
END
$edgepress$"
    )
}

/// A table and the columns of it that are captured.
pub(super) struct Target<'a> {
    /// Its number among the captured tables, which its changes bear.
    pub(super) id: i64,
    /// The number in the names of what captures it.
    pub(super) number: i64,
    pub(super) details: &'a Details,
    /// Captured columns, each with what declares it.
    pub(super) columns: Vec<&'a (String, String)>,
}

/// A trigger as it must be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Trigger {
    /// The number of the table it is on.
    pub(super) on: i64,
    pub(super) name: String,
}

/// The captured columns among `wanted`: those that the table has, in its order.
pub(super) fn captured_columns<'a>(
    details: &'a Details,
    wanted: &BTreeSet<String>,
) -> Vec<&'a (String, String)> {
    details.columns.iter().filter(|(name, _)| wanted.contains(name)).collect()
}

impl Target<'_> {
    /// The table of images and the function, which concern nobody else yet.
    pub(super) fn objects(&self) -> Vec<String> {
        let table = change_table(self.number);
        let columns: String =
            self.columns.iter().map(|(name, declared)| format!(", {} {declared}", quoted(name))).collect();
        let function = function(self.number);
        vec![
            format!(
                "CREATE TABLE edgepress_capture.{table} (edgepress_id bigint NOT NULL DEFAULT pg_catalog.nextval('{CHANGE_ID}'), \
                 edgepress_xid xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id(), \
                 edgepress_op smallint NOT NULL{columns})"
            ),
            format!("CREATE INDEX {table}_xid ON edgepress_capture.{table} (edgepress_xid)"),
            format!(
                "CREATE FUNCTION edgepress_capture.{function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER \
                 {SETTINGS} AS {}",
                literal(&self.body())
            ),
            // Whoever owns a partitioned table makes a trigger of this with each new partition. Nobody can call it.
            format!("GRANT EXECUTE ON FUNCTION edgepress_capture.{function}() TO PUBLIC"),
        ]
    }

    /// The triggers: what makes them.
    pub(super) fn triggers(&self) -> Vec<String> {
        let mut statements = Vec::new();
        let function = function(self.number);
        let mut create = |member: &Member, suffix: &str, event: &str, rest: &str| {
            let (name, on) = (self.name(suffix), &member.name);
            statements.push(format!(
                "CREATE TRIGGER {name} AFTER {event} ON {on} {rest} EXECUTE FUNCTION edgepress_capture.{function}()"
            ));
        };
        for member in &self.details.members {
            create(member, "truncate", "TRUNCATE", "FOR EACH STATEMENT");
            if !self.details.is_by_row {
                let (old, new) = ("OLD TABLE AS edgepress_old", "NEW TABLE AS edgepress_new");
                create(member, "insert", "INSERT", &format!("REFERENCING {new} FOR EACH STATEMENT"));
                create(member, "update", "UPDATE", &format!("REFERENCING {old} {new} FOR EACH STATEMENT"));
                create(member, "delete", "DELETE", &format!("REFERENCING {old} FOR EACH STATEMENT"));
            } else if self.makes_row_trigger(member) {
                create(member, "row", "INSERT OR UPDATE OR DELETE", "FOR EACH ROW");
            }
        }
        // Only so do they fire for rows that replication applies; only owners may say so.
        for Trigger { on, name } in self.expected() {
            let member = self.details.members.iter().find(|member| member.number == on && member.is_owned);
            statements.extend(
                member.map(|member| format!("ALTER TABLE {} ENABLE ALWAYS TRIGGER {name}", member.name)),
            );
        }
        statements
    }

    /// The statement that takes images over which were taken until now, of the table with that number and with
    /// the columns `before`: what was not captured then is NULL. Whoever reads that is told that it is fresh.
    pub(super) fn take_over(&self, number: i64, before: &[String]) -> String {
        let kept = self.columns.iter().map(|(name, _)| name).filter(|name| before.contains(name));
        let columns: String = kept.map(|name| format!(", {}", quoted(name))).collect();
        let columns = format!("edgepress_id, edgepress_xid, edgepress_op{columns}");
        let (into, from) = (change_table(self.number), change_table(number));
        format!(
            "INSERT INTO edgepress_capture.{into} ({columns}) SELECT {columns} FROM edgepress_capture.{from}"
        )
    }

    /// A partitioned table gives its own to its partitions, those attached later among them.
    fn makes_row_trigger(&self, member: &Member) -> bool {
        match self.details.is_partitioned {
            true => member.number == self.details.number,
            false => member.has_rows,
        }
    }

    /// The triggers that must be there.
    pub(super) fn expected(&self) -> BTreeSet<Trigger> {
        let mut expected = BTreeSet::new();
        for member in &self.details.members {
            let suffixes: &[&str] = match self.details.is_by_row {
                false => &["truncate", "insert", "update", "delete"],
                true if self.details.is_partitioned || member.has_rows => &["truncate", "row"],
                true => &["truncate"],
            };
            expected
                .extend(suffixes.iter().map(|suffix| Trigger { on: member.number, name: self.name(suffix) }));
        }
        expected
    }

    /// Late in the alphabet: what other triggers of the table do first comes first.
    fn name(&self, suffix: &str) -> String {
        format!("zz_edgepress_{}_{suffix}", self.number)
    }

    fn list(&self, before: &str) -> String {
        self.columns.iter().map(|(name, _)| format!(", {before}{}", quoted(name))).collect()
    }

    /// All captured columns as one text, which differs if any of their bytes does.
    fn text(&self, before: &str) -> String {
        let list = self.list(before);
        format!("(ROW({})::text COLLATE \"C\")", list.strip_prefix(", ").unwrap_or_default())
    }

    /// What the function does. Its text holds names that the owner of the table gave.
    pub(super) fn body(&self) -> String {
        let id = self.id;
        let record = if self.details.is_by_row { self.record_row() } else { self.record_statement() };
        // What is caught was rolled back before: nothing of it is half done.
        format!(
            "
#variable_conflict use_column
DECLARE
    edgepress_edits bigint := 1;
BEGIN
    IF TG_OP = 'TRUNCATE' OR (SELECT c.last_value - p.last_value FROM {CHANGE_ID} c, {PRUNED_ID} p) >= {MOST_CHANGES} THEN
        PERFORM edgepress_capture.mark({id});
        RETURN NULL;
    END IF;
{record}
    IF edgepress_edits > 0 THEN
        INSERT INTO {LOG} (source, edits) VALUES ({id}, edgepress_edits);
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    BEGIN
        PERFORM edgepress_capture.mark({id});
    EXCEPTION WHEN OTHERS THEN
        RAISE LOG 'edgepress: an edit could not be recorded: %', SQLERRM;
    END;
    RETURN NULL;
END
"
        )
    }

    fn insert(&self) -> String {
        format!("INSERT INTO edgepress_capture.{} (edgepress_op{})", change_table(self.number), self.list(""))
    }

    /// An update's images are those that the statement added to the table or took from it: what is in both by
    /// its bytes, in whichever row, is left out.
    fn record_statement(&self) -> String {
        let (insert, list, text) = (self.insert(), self.list(""), self.text("q."));
        let too_many = |table: &str| {
            format!(
                "IF (SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT {}) q) > {MOST_ROWS} THEN
            PERFORM edgepress_capture.mark({});
            RETURN NULL;
        END IF;",
                MOST_ROWS + 1,
                self.id
            )
        };
        let (too_many_new, too_many_old) = (too_many("edgepress_new"), too_many("edgepress_old"));
        format!(
            "    IF TG_OP = 'INSERT' THEN
        {too_many_new}
        {insert} SELECT 1{list} FROM edgepress_new;
        GET DIAGNOSTICS edgepress_edits = ROW_COUNT;
    ELSIF TG_OP = 'DELETE' THEN
        {too_many_old}
        {insert} SELECT -1{list} FROM edgepress_old;
        GET DIAGNOSTICS edgepress_edits = ROW_COUNT;
    ELSE
        {too_many_new}
        {insert} SELECT edgepress_op{list} FROM (
            SELECT t.*, row_number() OVER (PARTITION BY edgepress_op, edgepress_text) AS edgepress_number,
                sum(edgepress_op) OVER (PARTITION BY edgepress_text) / 2 AS edgepress_sum
            FROM (SELECT q.*, {text} AS edgepress_text FROM (
                SELECT -2 AS edgepress_op{list} FROM edgepress_old
                UNION ALL SELECT 2{list} FROM edgepress_new) q) t) u
        WHERE edgepress_number <= abs(edgepress_sum) AND edgepress_op * edgepress_sum > 0;
        GET DIAGNOSTICS edgepress_edits = ROW_COUNT;
        edgepress_edits := edgepress_edits / 2;
    END IF;"
        )
    }

    fn record_row(&self) -> String {
        let (insert, old, new) = (self.insert(), self.list("OLD."), self.list("NEW."));
        let (old_text, new_text) = (self.text("OLD."), self.text("NEW."));
        format!(
            "    IF TG_OP = 'INSERT' THEN
        {insert} VALUES (1{new});
    ELSIF TG_OP = 'DELETE' THEN
        {insert} VALUES (-1{old});
    ELSIF {old_text} IS DISTINCT FROM {new_text} THEN
        {insert} VALUES (-2{old}), (2{new});
    ELSE
        RETURN NULL;
    END IF;"
        )
    }
}

/// The SELECT of the images that came after `since` in which one of `columns` changed, without those that
/// cancel out: as many of the same content came as went, so that the table has as many as before.
pub(super) fn images(number: i64, since: &str, columns: &BTreeSet<String>) -> String {
    let (mut inner, mut text, mut outer) = (String::new(), Vec::new(), Vec::new());
    for column in columns {
        let name = quoted(column);
        inner += &format!("c.{name}, ");
        text.push(format!("c.{name}"));
        outer.push(format!("w.{name}"));
    }
    if outer.is_empty() {
        outer.push("NULL AS no_column".to_owned());
    }
    format!(
        "SELECT {} FROM (SELECT {inner}row_number() OVER s AS edgepress_number, \
         sum(sign(c.edgepress_op)) OVER s AS edgepress_sum FROM edgepress_capture.{} AS c \
         WHERE c.edgepress_xid >= pg_snapshot_xmin('{since}'::pg_snapshot) \
         AND NOT pg_visible_in_snapshot(c.edgepress_xid, '{since}'::pg_snapshot) \
         WINDOW s AS (PARTITION BY ROW({})::text COLLATE \"C\")) AS w \
         WHERE w.edgepress_sum <> 0 AND w.edgepress_number = 1",
        outer.join(", "),
        change_table(number),
        text.join(", "),
    )
}
