//! What is missing of a database's capture, and the statements that mend it.
//!
//! Owns the comparison of what should lie in the schema with what does. Refuses to run anything.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::ddl::{Target, captured_columns};
use super::names::{CONSUMER, INTENT, LOG, SOURCE, STATE, Trigger, change_table};
use super::seen::{Made, Source};
use crate::database::capture::{Reads, Table};
use crate::database::since::{MOST_CARRIED, Since, since};
use crate::database::sqlite::catalog::{Schema, table};
use crate::database::text::quoted;

/// Our tables that do not depend on what is captured.
fn fixed() -> [(&'static str, String); 5] {
    [
        (
            STATE,
            format!(
                "CREATE TABLE {STATE} (identity TEXT, pruned INTEGER, lost INTEGER, next INTEGER, ours INTEGER)"
            ),
        ),
        (
            SOURCE,
            format!(
                "CREATE TABLE {SOURCE} (id INTEGER PRIMARY KEY, name TEXT, columns TEXT, \
                 mark INTEGER, moves INTEGER, made TEXT)"
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
    /// How many changes the log spans.
    pub(super) span: i64,
}

/// What is to be done.
#[derive(Debug, Clone, Default)]
pub(super) struct Plan {
    pub(super) statements: Vec<String>,
    /// Tables that are captured anew, and so count as wholly changed.
    pub(super) tables: Vec<Table>,
    /// Tables that are captured in another way from now on, of which no change was missed.
    pub(super) carried: Vec<Table>,
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
            "INSERT INTO {STATE} (identity, pruned, lost, next, ours) VALUES (lower(hex(randomblob(16))), 0, 0, 1, 0)"
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
        // What is kept of the old objects before they are dropped, and what is made after.
        let (mut kept, mut made): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
        let mut numbered = BTreeSet::new();
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
            let begun = source.map_or_else(Since::new, |source| source.made.since.clone());
            let mut target = Target {
                table: name,
                id: source.map_or(0, |source| source.id),
                details,
                columns,
                since: begun,
            };
            let is_rebuilt = schema.is_made_after(name, &change_table(name));
            let problem = match source {
                None => Some("it is not captured yet".to_owned()),
                Some(_) if is_rebuilt => Some("it was made after what captures it".to_owned()),
                Some(source) if source.columns != target.columns => Some("other columns are read".to_owned()),
                Some(_) => missing(there, &target),
            };
            let carried =
                source.filter(|source| !is_rebuilt && misses_nothing(there, remembered, source, &target));
            match (problem, carried, source) {
                (Some(problem), Some(source), _) => {
                    self.problems.insert(name.clone(), problem);
                    self.carried.push(key);
                    numbered.insert(source.id);
                    let is_known = |column: &String| source.columns.contains(column);
                    target.since = since(target.columns.iter(), &source.made.since, is_known, next);
                    next += 1;
                    carry(source, &target, &mut kept, &mut made);
                }
                (Some(problem), None, _) => {
                    (target.id, target.since) = (next, Since::new());
                    next += 1;
                    self.problems.insert(name.clone(), problem);
                    self.tables.push(key);
                    made.extend(insert(&target));
                }
                (None, ..) => {
                    expected.extend(target.objects().into_iter().map(|(_, name, _)| name));
                    numbered.insert(target.id);
                    // SQLite itself writes new names into triggers.
                    let is_renamed = source.is_some_and(|source| source.made != target.made());
                    made.extend(is_renamed.then(|| remember(&target)));
                }
            }
        }
        let stale = remembered.sources.iter().filter(|source| !numbered.contains(&source.id));
        let stale = stale.map(|source| format!("DELETE FROM {SOURCE} WHERE id = {}", source.id));
        self.statements.append(&mut kept);
        self.drop_unexpected(there, &expected);
        self.statements.extend(stale);
        if next > remembered.next {
            made.push(format!("UPDATE {STATE} SET next = {next}"));
        }
        self.statements.append(&mut made);
    }

    fn drop_unexpected(&mut self, there: &[[String; 4]], expected: &BTreeSet<String>) {
        let fixed = fixed();
        let is_fixed = |name: &str| fixed.iter().any(|(fixed, _)| *fixed == name);
        let (triggers, tables): (Vec<_>, Vec<_>) = there.iter().partition(|[kind, ..]| kind == "trigger");
        for [kind, name, ..] in triggers.into_iter().chain(tables) {
            if !is_fixed(name) && !expected.contains(name) {
                self.statements.push(format!("DROP {kind} {}", quoted(name)));
            }
        }
    }
}

/// Whether what captures a table until now recorded everything that what captures it from now on would have, of
/// the columns that both capture: it is as it was made, and looked up all keys by which REPLACE can have removed
/// rows. What a new key removed since the schema was altered is for whoever compares two moments: an edit of its
/// columns, which are captured, tells.
fn misses_nothing(
    there: &[[String; 4]],
    remembered: &Remembered,
    source: &Source,
    target: &Target<'_>,
) -> bool {
    let names = std::iter::once(change_table(target.table))
        .chain(Trigger::ALL.map(|trigger| trigger.on(target.table)));
    let found = names.filter_map(|name| there.iter().find(|[_, found, ..]| *found == name));
    let texts: Vec<String> = found.map(|[.., text]| text.clone()).collect();
    let is_recorded =
        |columns: &Vec<String>| columns.iter().all(|column: &String| source.columns.contains(column));
    Made::name(&texts) == source.made.texts
        && remembered.span <= MOST_CARRIED
        && target
            .looked_up()
            .iter()
            .all(|(key, columns)| source.made.keys.contains(key) || is_recorded(columns))
}

/// The statements that capture a table in another way under its old number, so that only changes count: what is
/// kept before the old objects are dropped, and what is made then.
fn carry(source: &Source, target: &Target<'_>, kept: &mut Vec<String>, made: &mut Vec<String>) {
    let (images, past) = (quoted(&change_table(target.table)), format!("temp.edgepress_past_{}", source.id));
    kept.push(format!(
        "CREATE TEMPORARY TABLE {} AS SELECT * FROM {images}",
        past.trim_start_matches("temp.")
    ));
    made.push(remember(target));
    made.extend(target.objects().into_iter().map(|(_, _, sql)| sql));
    made.push(target.put_back(&source.columns, &past));
    made.push(format!("DROP TABLE {past}"));
}

/// Whether VACUUM may give other values to what is captured.
fn moves(target: &Target<'_>) -> bool {
    let is_column = |name: &String| target.details.columns.iter().any(|column| column.name == *name);
    target.details.integer_key.is_none() && !target.columns.iter().all(is_column)
}

/// What is remembered of a captured table.
fn remembered_of(target: &Target<'_>) -> [String; 3] {
    let made = serde_json::to_string(&target.made()).expect("texts are valid JSON");
    [literal(&json!(target.columns).to_string()), i32::from(moves(target)).to_string(), literal(&made)]
}

fn remember(target: &Target<'_>) -> String {
    let [columns, moves, made] = remembered_of(target);
    format!(
        "UPDATE {SOURCE} SET columns = {columns}, moves = {moves}, made = {made} WHERE id = {}",
        target.id
    )
}

/// What captures this table from now on. A new number makes it count as wholly changed.
fn insert(target: &Target<'_>) -> Vec<String> {
    let [columns, moves, made] = remembered_of(target);
    let source = format!(
        "INSERT INTO {SOURCE} (id, name, columns, mark, moves, made) VALUES ({}, {}, {columns}, 0, {moves}, {made})",
        target.id,
        literal(target.table),
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
