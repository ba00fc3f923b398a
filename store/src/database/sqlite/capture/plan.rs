//! What is missing of a database's capture, and the statements that mend it.
//!
//! Owns the comparison of what should lie in the schema with what does. Refuses to run anything.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::ddl::{Target, captured_columns};
use super::names::{CONSUMER, INTENT, LOG, SOURCE, STATE};
use super::seen::Source;
use crate::database::capture::{Reads, Table};
use crate::database::sqlite::catalog::{Schema, table};
use crate::database::text::quoted;

/// Our tables that do not depend on what is captured.
fn fixed() -> [(&'static str, String); 5] {
    [
        (STATE, format!("CREATE TABLE {STATE} (identity TEXT, pruned INTEGER, lost INTEGER, next INTEGER)")),
        (
            SOURCE,
            format!(
                "CREATE TABLE {SOURCE} (id INTEGER PRIMARY KEY, name TEXT, columns TEXT, \
                 mark INTEGER, moves INTEGER)"
            ),
        ),
        // Not AUTOINCREMENT: a statement that fails halfway (OR FAIL) keeps its rows but not the number in
        // sqlite_sequence. The last row stays instead, so that its number is never used again.
        (LOG, format!("CREATE TABLE {LOG} (id INTEGER PRIMARY KEY, source INTEGER, at REAL)")),
        (
            CONSUMER,
            format!(
                "CREATE TABLE {CONSUMER} (name TEXT PRIMARY KEY, reads TEXT, number INTEGER, seen TEXT, \
                 state TEXT)"
            ),
        ),
        (INTENT, format!("CREATE TABLE {INTENT} (consumer TEXT, number INTEGER, seen TEXT, state TEXT)")),
    ]
}

/// Whether our fixed tables are there, just as we make them.
pub(in super::super) fn is_there(schema: &Schema) -> bool {
    fixed().iter().all(|(name, sql)| {
        schema.ours.iter().any(|[kind, found, _, text]| kind == "table" && found == name && text == sql)
    })
}

/// What is remembered in our tables, as far as it matters here.
#[derive(Debug, Clone, Default)]
pub(super) struct Remembered {
    /// What each consumer reads, as JSON.
    pub(super) consumers: BTreeMap<String, String>,
    pub(super) sources: Vec<Source>,
    /// The next number of a captured table.
    pub(super) next: i64,
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
pub(super) fn reads_text(reads: &Reads) -> String {
    let by_name: BTreeMap<&str, &BTreeSet<String>> =
        reads.iter().map(|(table, columns)| (table.name.as_str(), columns)).collect();
    json!(by_name).to_string()
}

/// A text in SQL.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
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
        let remembered = remembered.unwrap_or_else(|| {
            plan.start_anew(schema);
            &empty
        });
        let mut consumers = remembered.consumers.clone();
        if let Some((name, reads)) = consumer {
            let text = reads_text(reads);
            if consumers.get(name) != Some(&text) {
                let (name, text) = (literal(name), literal(&text));
                plan.statements.push(format!(
                    "INSERT INTO {CONSUMER} (name, reads) VALUES ({name}, {text}) \
                     ON CONFLICT (name) DO UPDATE SET reads = excluded.reads"
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
        plan.tables(schema, remembered, &wanted);
        plan
    }

    /// Nothing of ours is there, or what another version made.
    fn start_anew(&mut self, schema: &Schema) {
        for [kind, name, ..] in schema.ours.iter().rev() {
            self.statements.push(format!("DROP {kind} IF EXISTS {}", quoted(name)));
        }
        self.statements.extend(fixed().map(|(_, sql)| sql));
        self.statements.push(format!(
            "INSERT INTO {STATE} (identity, pruned, lost, next) VALUES (lower(hex(randomblob(16))), 0, 0, 1)"
        ));
    }

    fn tables(
        &mut self,
        schema: &Schema,
        remembered: &Remembered,
        wanted: &BTreeMap<String, BTreeSet<String>>,
    ) {
        let there: &[_] = if is_there(schema) { &schema.ours } else { &[] };
        let mut expected = BTreeSet::new();
        let mut next = remembered.next;
        let mut stale: Vec<String> = Vec::new();
        let mut made: Vec<String> = Vec::new();
        for (name, columns) in wanted {
            let key = table(name);
            let (Some(facts), Some(details)) = (schema.catalog.tables.get(&key), schema.details.get(&key))
            else {
                continue;
            };
            if let Some(reason) = &facts.uncapturable {
                self.notes.push(format!("edits of the table {name} cannot be captured: {reason}"));
                continue;
            }
            let columns = captured_columns(details, columns);
            self.captured.insert(name.clone(), columns.clone());
            let source = remembered.sources.iter().find(|source| source.name == *name);
            let mut target =
                Target { table: name, id: source.map_or(0, |source| source.id), details, columns };
            let problem = match source {
                None => Some("it is not captured yet".to_owned()),
                Some(source) if source.columns != target.columns => Some("other columns are read".to_owned()),
                Some(_) => missing(there, &target),
            };
            if let Some(problem) = problem {
                target.id = next;
                next += 1;
                self.problems.insert(name.clone(), problem);
                self.tables.push(key);
                made.extend(insert(&target));
            } else {
                expected.extend(target.objects().into_iter().map(|(_, name, _)| name));
            }
        }
        for source in &remembered.sources {
            if self.problems.contains_key(&source.name) || !self.captured.contains_key(&source.name) {
                stale.push(format!("DELETE FROM {SOURCE} WHERE id = {}", source.id));
            }
        }
        let fixed = fixed();
        let is_fixed = |name: &str| fixed.iter().any(|(fixed, _)| *fixed == name);
        let (triggers, tables): (Vec<_>, Vec<_>) = there.iter().partition(|[kind, ..]| kind == "trigger");
        for [kind, name, ..] in triggers.into_iter().chain(tables) {
            if !is_fixed(name) && !expected.contains(name) {
                self.statements.push(format!("DROP {kind} {}", quoted(name)));
            }
        }
        self.statements.append(&mut stale);
        if next > remembered.next {
            made.push(format!("UPDATE {STATE} SET next = {next}"));
        }
        self.statements.append(&mut made);
    }
}

/// What captures this table from now on. A new number makes it count as wholly changed.
fn insert(target: &Target<'_>) -> Vec<String> {
    let columns = literal(&json!(target.columns).to_string());
    let moves = target.details.integer_key.is_none()
        && target
            .columns
            .iter()
            .any(|name| !target.details.columns.iter().any(|column| column.name == *name));
    let source = format!(
        "INSERT INTO {SOURCE} (id, name, columns, mark, moves) VALUES ({}, {}, {columns}, 0, {})",
        target.id,
        literal(target.table),
        i32::from(moves)
    );
    let objects = target.objects().into_iter().map(|(_, _, sql)| sql);
    std::iter::once(source).chain(objects).collect()
}

/// What is missing or altered of what captures this table.
fn missing(there: &[[String; 4]], target: &Target<'_>) -> Option<String> {
    for (kind, name, sql) in target.objects() {
        let found = there.iter().find(|[found_kind, found, ..]| found_kind == kind && *found == name);
        let what = if kind == "table" { "table" } else { "trigger" };
        match found {
            None => return Some(format!("the {what} {name} is missing")),
            Some([.., text]) if *text != sql => return Some(format!("the {what} {name} was altered")),
            Some(_) => {}
        }
    }
    None
}
