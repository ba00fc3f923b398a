//! What is missing of a database's capture, and the statements that mend it.
//!
//! Owns the comparison of what should lie in the database with what does, and an order of statements that
//! may end after any of them: the server commits each by itself. Refuses to run anything.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::ddl::{Target, TriggerText, record};
use super::names::{CONSUMER, INTENT, LOG, RECORD, SOURCE, STATE, change_table};
use super::seen::Source;
use crate::database::capture::{Reads, Table};
use crate::database::mysql::catalog::{ColumnDetails, Schema};
use crate::database::mysql::text::{literal, quoted};
use crate::database::since::{How, MOST_CARRIED, Since, since};

const TEXT: &str = "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";

/// Our tables that do not depend on what is captured.
fn fixed() -> [(&'static str, String); 5] {
    let table = |name, columns: String| (name, format!("CREATE TABLE {name} ({columns}) ENGINE=InnoDB"));
    [
        table(
            STATE,
            format!(
                "one TINYINT PRIMARY KEY, identity VARCHAR(64) {TEXT} NOT NULL, pruned BIGINT NOT NULL, \
                 lost BIGINT NOT NULL, next BIGINT NOT NULL, settled BIGINT NOT NULL, \
                 candidate BIGINT NOT NULL, candidate_at TIMESTAMP(3) NULL DEFAULT NULL"
            ),
        ),
        table(
            SOURCE,
            format!(
                "name VARCHAR(64) {TEXT} PRIMARY KEY, id BIGINT NOT NULL, columns_ LONGTEXT {TEXT} NOT NULL"
            ),
        ),
        table(
            LOG,
            "id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, source BIGINT NOT NULL, \
             is_whole TINYINT NOT NULL DEFAULT 0, at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3)"
                .to_owned(),
        ),
        table(
            CONSUMER,
            format!(
                "name VARCHAR(512) {TEXT} PRIMARY KEY, reads_ LONGTEXT {TEXT} NOT NULL, number BIGINT NULL, \
                 seen LONGTEXT {TEXT} NULL, state LONGTEXT {TEXT} NULL"
            ),
        ),
        table(
            INTENT,
            format!(
                "id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, consumer VARCHAR(512) {TEXT} NOT NULL, \
                 number BIGINT NOT NULL, seen LONGTEXT {TEXT} NOT NULL, state LONGTEXT {TEXT} NOT NULL, \
                 KEY (consumer)"
            ),
        ),
    ]
}

/// Whether all of our fixed tables are there, and the procedure: without it edits were lost.
pub(super) fn is_there(schema: &Schema) -> bool {
    schema.has_record && fixed().iter().all(|(name, _)| schema.ours.contains(*name))
}

/// What is remembered in our tables, as far as it matters here.
#[derive(Debug, Clone, Default)]
pub(super) struct Remembered {
    /// What each consumer reads, as JSON.
    pub(super) consumers: BTreeMap<String, String>,
    pub(super) sources: Vec<Source>,
    /// The next number of a captured table.
    pub(super) next: i64,
    /// How many changes wait at most.
    pub(super) waiting: i64,
}

/// What is to be done.
#[derive(Debug, Clone, Default)]
pub(super) struct Plan {
    pub(super) statements: Vec<String>,
    pub(super) tables: Vec<Table>,
    pub(super) notes: Vec<String>,
    /// What is missing or altered, by table.
    pub(super) problems: BTreeMap<String, String>,
    /// The captured columns, by table.
    pub(super) captured: BTreeMap<String, Vec<String>>,
}

/// What a consumer reads, as it is remembered.
fn reads_text(reads: &Reads) -> String {
    let by_name: BTreeMap<&str, &BTreeSet<String>> =
        reads.iter().map(|(table, columns)| (table.name.as_str(), columns)).collect();
    json!(by_name).to_string()
}

/// Our triggers and tables, with the statements that drop them: triggers first, since they write to the tables.
fn droppable(schema: &Schema) -> impl Iterator<Item = (&String, String)> {
    let triggers = schema.triggers.iter().map(|trigger| &trigger.name);
    let triggers = triggers.map(|name| (name, format!("DROP TRIGGER IF EXISTS {}", quoted(name))));
    let tables = schema.ours.iter().map(|name| (name, format!("DROP TABLE IF EXISTS {}", quoted(name))));
    triggers.chain(tables)
}

/// Drops everything of ours.
pub(super) fn drops(schema: &Schema) -> Vec<String> {
    let mut drops: Vec<String> = droppable(schema).map(|(_, drop)| drop).collect();
    drops.extend(schema.any_record.then(|| format!("DROP PROCEDURE IF EXISTS {RECORD}")));
    drops
}

impl Plan {
    /// What is missing for the consumers remembered and, if given, for this one.
    pub(super) fn new(
        schema: &Schema,
        remembered: Option<&Remembered>,
        consumer: Option<(&str, &Reads)>,
    ) -> Self {
        let mut plan = Self::default();
        let empty = Remembered { next: 1, ..Remembered::default() };
        let is_new = remembered.is_none();
        let remembered = remembered.unwrap_or(&empty);
        if is_new {
            plan.start_anew(schema);
        }
        let mut consumers = remembered.consumers.clone();
        if let Some((name, reads)) = consumer {
            let text = reads_text(reads);
            if consumers.get(name) != Some(&text) {
                let (name, text) = (literal(name), literal(&text));
                plan.statements.push(format!(
                    "INSERT INTO {CONSUMER} (name, reads_) VALUES ({name}, {text}) \
                     ON DUPLICATE KEY UPDATE reads_ = VALUES(reads_)"
                ));
            }
            consumers.insert(name.to_owned(), text);
        }
        let mut wanted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for text in consumers.values() {
            let reads: BTreeMap<String, BTreeSet<String>> = serde_json::from_str(text).unwrap_or_default();
            for (table, columns) in reads {
                wanted.entry(table).or_default().extend(columns);
            }
        }
        plan.tables(schema, remembered, &wanted, is_new);
        plan
    }

    /// Nothing of ours is there, or only a part of it.
    fn start_anew(&mut self, schema: &Schema) {
        self.statements.extend(drops(schema));
        self.statements.extend(fixed().map(|(_, sql)| sql));
        self.statements.push(record());
        self.statements.push(format!(
            "INSERT INTO {STATE} (one, identity, pruned, lost, next, settled, candidate) \
             VALUES (1, UUID(), 0, 0, 1, 0, 0)"
        ));
    }

    fn tables(
        &mut self,
        schema: &Schema,
        remembered: &Remembered,
        wanted: &BTreeMap<String, BTreeSet<String>>,
        is_new: bool,
    ) {
        let mut expected = BTreeSet::new();
        let mut next = remembered.next;
        for (name, columns) in wanted {
            let key = schema.table(name);
            let (Some(facts), Some(details)) = (schema.catalog.tables.get(&key), schema.details.get(&key))
            else {
                continue;
            };
            if let Some(reason) = &facts.uncapturable {
                self.notes.push(format!("edits of the table {name} cannot be captured: {reason}"));
                continue;
            }
            // In place of a column that no trigger may read, all that it may be made of.
            let computed = || facts.columns.iter().filter(|column| column.is_computed);
            let needs_all = computed().any(|column| is_wanted(columns, &column.name));
            let is_captured = |detail: &&ColumnDetails| {
                let is_computed = computed().any(|column| column.name == detail.name);
                !is_computed && (needs_all || is_wanted(columns, &detail.name))
            };
            let columns: Vec<&ColumnDetails> = details.iter().filter(is_captured).collect();
            self.captured.insert(name.clone(), columns.iter().map(|column| column.name.clone()).collect());
            let source = remembered.sources.iter().find(|source| source.name == *name);
            let (id, number) = source.map_or((0, 0), |source| (source.id, source.how.number));
            let mut target = Target { table: name, id, number, columns, ancestors: schema.ancestors(name) };
            let problem = match source {
                None => Some("it is not captured yet".to_owned()),
                Some(source) if !source.how.columns.iter().eq(target.columns.iter().copied()) => {
                    Some("other columns are read, or their types changed".to_owned())
                }
                Some(_) => missing(schema, &target),
            };
            if let Some(problem) = problem {
                let carried = source.filter(|source| remembered.misses_nothing(schema, source));
                target.number = next;
                next += 1;
                if carried.is_none() {
                    target.id = target.number;
                    self.tables.push(key);
                }
                self.problems.insert(name.clone(), problem);
                self.capture(&target, carried);
            }
            expected.insert(change_table(target.number));
            expected.extend(target.triggers().into_iter().map(|trigger| trigger.name));
        }
        for source in &remembered.sources {
            if !self.captured.contains_key(&source.name) {
                self.statements.push(format!("DELETE FROM {SOURCE} WHERE id = {}", source.id));
            }
        }
        if !is_new {
            // Only now: until here what was captured before still was.
            let stale = droppable(schema).filter(|(name, _)| !expected.contains(*name) && !is_fixed(name));
            self.statements.extend(stale.map(|(_, drop)| drop));
        }
    }

    /// Captures a table from now on: under the number of `carried`, so that only changes count, or under a new
    /// one, which makes it count as wholly changed. The number in the names is taken first, so that nothing is
    /// made twice under it. Making a trigger waits for all who write to the table: whatever is not recorded by
    /// the new ones is among the images that were there before.
    fn capture(&mut self, target: &Target<'_>, carried: Option<&Source>) {
        self.statements.push(format!("UPDATE {STATE} SET next = GREATEST(next, {})", target.number + 1));
        self.statements.push(target.change_table());
        self.statements.extend(target.triggers().iter().map(TriggerText::create));
        let mut begun = Since::new();
        if let Some(Source { how: How { columns, number, since: before }, .. }) = carried {
            let is_known = |name: &String| columns.iter().any(|column| column.name == *name);
            begun = since(target.columns.iter().map(|column| &column.name), before, is_known, target.number);
            self.statements.push(target.take_over(*number, columns));
        }
        let how = How { columns: target.columns.clone(), number: target.number, since: begun };
        let how = literal(&json!(how).to_string());
        self.statements.push(format!(
            "INSERT INTO {SOURCE} (name, id, columns_) VALUES ({}, {}, {how}) \
             ON DUPLICATE KEY UPDATE id = VALUES(id), columns_ = VALUES(columns_)",
            literal(target.table),
            target.id,
        ));
    }
}

impl Remembered {
    /// Whether what captures a table is as it was made for the columns that it captures, which are all as they
    /// were, and few enough changes wait to be taken over.
    fn misses_nothing(&self, schema: &Schema, source: &Source) -> bool {
        let Source { id, name, how: How { columns, number, .. } } = source;
        let table = schema.table(name);
        let is_same = |column: &ColumnDetails| schema.column(&table, &column.name) == Some(column);
        let ancestors = schema.ancestors(name);
        let target =
            Target { table: name, id: *id, number: *number, columns: columns.iter().collect(), ancestors };
        self.waiting <= MOST_CARRIED && columns.iter().all(is_same) && missing(schema, &target).is_none()
    }
}

fn is_fixed(name: &str) -> bool {
    [STATE, SOURCE, LOG, CONSUMER, INTENT].contains(&name)
}

fn is_wanted(wanted: &BTreeSet<String>, name: &str) -> bool {
    wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
}

/// What is missing or altered of what captures this table.
fn missing(schema: &Schema, target: &Target<'_>) -> Option<String> {
    let table = change_table(target.number);
    if !schema.ours.contains(&table) {
        return Some(format!("the table {table} is missing"));
    }
    for wanted in target.triggers() {
        match schema.triggers.iter().find(|found| found.name == wanted.name) {
            None => return Some(format!("the trigger {} is missing", wanted.name)),
            Some(found)
                if found.body != wanted.body
                    || found.table != wanted.table
                    || found.event != wanted.event =>
            {
                return Some(format!("the trigger {} was altered", wanted.name));
            }
            Some(_) => {}
        }
    }
    None
}
