//! What is to be done so that exactly the wanted columns are captured.
//!
//! Owns the comparison of what is there with what must be. Refuses to run anything.

use std::collections::{BTreeMap, BTreeSet};

use edgepress_site::version::Version;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

use super::ddl::{Target, Trigger, captured_columns, fixed};
use super::names::{CONSUMER, FIXED, SCHEMA, SOURCE, STATE, change_table, function, literal};
use super::seen::{Source, sources};
use crate::database::capture::{Reads, Table};
use crate::database::postgres::catalog::Schema;
use crate::database::text::quoted;

/// What consumers read, as it is remembered: schema, name, columns.
type Remembered = Vec<(String, String, BTreeSet<String>)>;

/// How many statements drop what captured one table.
pub(super) const STATEMENTS_OF_A_DROP: usize = 3;

/// A trigger as it is.
#[derive(Debug)]
struct Found {
    on: i64,
    name: String,
    /// `A` always, `O` unless replicated, `R` only then, `D` never.
    enabled: String,
    is_conditional: bool,
    function: String,
}

from_row!(Found: on, name, enabled, is_conditional, function);

/// What lies in our schema.
#[derive(Debug, Default)]
pub(super) struct There {
    /// Whether there is a schema of this name.
    has_schema: bool,
    /// Whether it is ours and complete.
    is_ours: bool,
    is_complete: bool,
    consumers: BTreeMap<String, String>,
    sources: Vec<Source>,
    next: i64,
    triggers: Vec<Found>,
    /// Names and bodies.
    functions: BTreeMap<String, String>,
    relations: BTreeSet<String>,
}

impl There {
    pub(super) async fn read(connection: &mut PgConnection) -> sqlx::Result<Self> {
        let mut there = Self { next: 1, ..Self::default() };
        let schema =
            "SELECT coalesce(obj_description(oid, 'pg_namespace'), '') FROM pg_namespace WHERE nspname = $1";
        let comment: Option<String> =
            sqlx::query_scalar(schema).bind(SCHEMA).fetch_optional(&mut *connection).await?;
        let Some(comment) = comment else { return Ok(there) };
        there.has_schema = true;
        there.is_ours = comment.starts_with("Edgepress:");
        let relations =
            "SELECT relname::text FROM pg_class WHERE relnamespace = to_regnamespace('edgepress_capture')";
        let relations: Vec<String> = sqlx::query_scalar(relations).fetch_all(&mut *connection).await?;
        there.relations = relations.into_iter().collect();
        let functions = "SELECT proname::text, prosrc FROM pg_proc WHERE pronamespace = to_regnamespace('edgepress_capture')";
        let functions: Vec<(String, String)> = sqlx::query_as(functions).fetch_all(&mut *connection).await?;
        there.functions = functions.into_iter().collect();
        there.is_complete = there.is_ours
            && FIXED.iter().all(|name| there.relations.contains(*name))
            && there.functions.contains_key("mark");
        if !there.is_complete {
            return Ok(there);
        }
        let next = format!("SELECT next FROM {STATE}");
        let next: Option<i64> =
            sqlx::query_scalar(AssertSqlSafe(next)).fetch_optional(&mut *connection).await?;
        let Some(next) = next else {
            there.is_complete = false;
            return Ok(there);
        };
        there.next = next;
        let consumers = format!("SELECT name, reads FROM {CONSUMER}");
        let consumers: Vec<(String, String)> =
            sqlx::query_as(AssertSqlSafe(consumers)).fetch_all(&mut *connection).await?;
        there.consumers = consumers.into_iter().collect();
        there.sources = sources(connection).await?;
        let triggers = "SELECT t.tgrelid::bigint AS on, t.tgname::text AS name, t.tgenabled::text AS enabled, \
                        t.tgqual IS NOT NULL AS is_conditional, p.proname::text AS function \
                        FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid \
                        WHERE p.pronamespace = to_regnamespace('edgepress_capture')";
        there.triggers = sqlx::query_as(triggers).fetch_all(connection).await?;
        Ok(there)
    }

    pub(super) fn is_ours(&self) -> bool {
        self.is_ours
    }

    pub(super) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// What is missing or altered of what captures a table.
    fn problem(&self, source: &Source, target: &Target<'_>) -> Option<String> {
        let columns: Vec<&String> = target.columns.iter().map(|(name, _)| name).collect();
        if !source.columns.iter().eq(columns) {
            return Some("other columns are read".to_owned());
        }
        if source.shape != shape(target) {
            return Some("the table was altered".to_owned());
        }
        if !self.relations.contains(&change_table(target.id)) {
            return Some(format!("the table edgepress_capture.{} is missing", change_table(target.id)));
        }
        let function = function(target.id);
        match self.functions.get(&function) {
            None => return Some(format!("the function edgepress_capture.{function} is missing")),
            Some(body) if *body != target.body() => {
                return Some(format!("the function edgepress_capture.{function} was altered"));
            }
            Some(_) => {}
        }
        for Trigger { on, name } in target.expected() {
            let found = self.triggers.iter().find(|found| found.on == on && found.name == name);
            let is_owned = target.details.members.iter().any(|member| member.number == on && member.is_owned);
            match found {
                None => return Some(format!("the trigger {name} is missing")),
                Some(found) if found.is_conditional || found.function != function => {
                    return Some(format!("the trigger {name} was altered"));
                }
                Some(found) if found.enabled != "A" && (is_owned || found.enabled != "O") => {
                    return Some(format!("the trigger {name} was disabled"));
                }
                Some(_) => {}
            }
        }
        None
    }
}

/// A table that is to be captured.
pub(super) struct Make {
    pub(super) table: Table,
    pub(super) id: i64,
    pub(super) statements: Vec<String>,
}

/// What is missing.
#[derive(Default)]
pub(super) struct Plan {
    /// Why nothing can be done.
    pub(super) refused: Option<String>,
    /// Whether our schema was complete when this was made.
    pub(super) is_complete: bool,
    /// What is there before any table is captured, and who reads.
    pub(super) first: Vec<String>,
    /// Each with the number that its captured table gets.
    pub(super) makes: Vec<Make>,
    /// What nobody needs any more.
    pub(super) drops: Vec<String>,
    pub(super) notes: Vec<String>,
    /// What is missing or altered, by table.
    pub(super) problems: BTreeMap<Table, String>,
    /// The captured columns, by table.
    pub(super) captured: BTreeMap<Table, Vec<String>>,
}

fn remembered(reads: &Reads) -> String {
    let list: Remembered = reads
        .iter()
        .map(|(table, columns)| (table.schema.clone(), table.name.clone(), columns.clone()))
        .collect();
    serde_json::to_string(&list).expect("texts are valid JSON")
}

/// What tells whether something else is to be installed than was.
fn shape(target: &Target<'_>) -> String {
    let plain = Target { id: 0, details: target.details, columns: target.columns.clone() };
    let mut text = plain.objects().join("\n");
    text += &plain.triggers().join("\n");
    text += &format!("{:?}", plain.expected());
    Version::of(text.as_bytes()).to_string()
}

impl Plan {
    /// What is missing for the consumers remembered and, if given, for this one.
    pub(super) fn new(schema: &Schema, there: &There, consumer: Option<(&str, &Reads)>) -> Self {
        let mut plan = Self { is_complete: there.is_complete, ..Self::default() };
        if there.has_schema && !there.is_ours {
            plan.refused = Some(
                "edits cannot be captured: a schema called edgepress_capture is there that is not Edgepress's own: \
                 rename it"
                    .to_owned(),
            );
            return plan;
        }
        let mut consumers = BTreeMap::new();
        if there.is_complete {
            consumers.clone_from(&there.consumers);
        } else {
            if there.has_schema {
                plan.first.push("DROP SCHEMA edgepress_capture CASCADE".to_owned());
            }
            plan.first.extend(fixed());
        }
        if let Some((name, reads)) = consumer {
            let text = remembered(reads);
            if consumers.get(name) != Some(&text) {
                plan.first.push(format!(
                    "INSERT INTO {CONSUMER} (name, reads) VALUES ({}, {}) \
                     ON CONFLICT (name) DO UPDATE SET reads = excluded.reads",
                    literal(name),
                    literal(&text)
                ));
            }
            consumers.insert(name.to_owned(), text);
        }
        let mut wanted: BTreeMap<Table, BTreeSet<String>> = BTreeMap::new();
        for text in consumers.values() {
            let reads: Remembered = serde_json::from_str(text).unwrap_or_default();
            for (schema, name, columns) in reads {
                wanted.entry(Table { schema, name }).or_default().extend(columns);
            }
        }
        plan.tables(schema, there, &wanted);
        plan
    }

    fn tables(&mut self, schema: &Schema, there: &There, wanted: &BTreeMap<Table, BTreeSet<String>>) {
        let mut kept = BTreeSet::new();
        let mut next = if there.is_complete { there.next } else { 1 };
        for (table, columns) in wanted {
            let (Some(facts), Some(details)) = (schema.catalog.tables.get(table), schema.details.get(table))
            else {
                continue;
            };
            if let Some(reason) = &facts.uncapturable {
                self.notes.push(format!("edits of the table {table} cannot be captured: {reason}"));
                continue;
            }
            let columns = captured_columns(details, columns);
            self.captured.insert(table.clone(), columns.iter().map(|(name, _)| name.clone()).collect());
            let source = there.sources.iter().rev().find(|source| source.table == *table);
            let mut target = Target { id: source.map_or(0, |source| source.id), details, columns };
            let problem = match source {
                None => Some("it is not captured yet".to_owned()),
                Some(source) => there.problem(source, &target),
            };
            let Some(problem) = problem else {
                kept.insert(target.id);
                continue;
            };
            self.problems.insert(table.clone(), problem);
            target.id = next;
            next += 1;
            self.makes.push(Make { table: table.clone(), id: target.id, statements: make(table, &target) });
        }
        if there.is_complete {
            self.drop_stale(there, &kept);
        }
    }

    fn drop_stale(&mut self, there: &There, kept: &BTreeSet<i64>) {
        let number = |name: &str, prefix: &str| name.strip_prefix(prefix)?.parse::<i64>().ok();
        let stale: BTreeSet<i64> = there
            .sources
            .iter()
            .map(|source| source.id)
            .chain(there.functions.keys().filter_map(|name| number(name, "capture_")))
            .chain(there.relations.iter().filter_map(|name| number(name, "change_")))
            .filter(|id| !kept.contains(id))
            .collect();
        for id in stale {
            // Whoever owns a function may drop the triggers that call it, on whosever table.
            self.drops.push(format!("DROP FUNCTION IF EXISTS edgepress_capture.{}() CASCADE", function(id)));
            self.drops.push(format!("DROP TABLE IF EXISTS edgepress_capture.{}", change_table(id)));
            self.drops.push(format!("DELETE FROM {SOURCE} WHERE id = {id}"));
        }
    }

    /// Everything, in order, as somebody else may run it for `role`.
    pub(super) fn statements(&self, role: &str) -> Vec<String> {
        let mut all = Vec::new();
        let mut add = |part: &[String]| {
            if !part.is_empty() {
                all.push("BEGIN".to_owned());
                all.extend_from_slice(part);
                all.push("COMMIT".to_owned());
            }
        };
        add(&self.first);
        self.makes.iter().for_each(|make| add(&make.statements));
        add(&self.drops);
        let role = quoted(role);
        add(&[
            format!("GRANT USAGE ON SCHEMA {SCHEMA} TO {role}"),
            format!("GRANT ALL ON ALL TABLES IN SCHEMA {SCHEMA} TO {role}"),
            format!("GRANT ALL ON ALL SEQUENCES IN SCHEMA {SCHEMA} TO {role}"),
        ]);
        all
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty() && self.makes.is_empty() && self.drops.is_empty()
    }
}

/// What captures this table from now on. A new number makes it count as wholly changed.
fn make(table: &Table, target: &Target<'_>) -> Vec<String> {
    let columns: Vec<&String> = target.columns.iter().map(|(name, _)| name).collect();
    let columns = serde_json::to_string(&columns).expect("texts are valid JSON");
    let mut statements = vec![
        format!("UPDATE {STATE} SET next = {}", target.id + 1),
        format!(
            "INSERT INTO {SOURCE} (id, table_schema, table_name, columns, shape) VALUES ({}, {}, {}, {}, {})",
            target.id,
            literal(&table.schema),
            literal(&table.name),
            literal(&columns),
            literal(&shape(target))
        ),
    ];
    statements.extend(target.objects());
    statements.extend(target.triggers());
    statements
}
