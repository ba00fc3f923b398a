//! What is to be done so that exactly the wanted columns are captured.
//!
//! Owns the comparison of what is there with what must be. Refuses to run anything.

use std::collections::{BTreeMap, BTreeSet};

use edgepress_site::version::Version;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

use super::ddl::{Target, Trigger, captured_columns, fixed};
use super::names::{
    CHANGE_ID, CONSUMER, FIXED, PRUNED_ID, SCHEMA, SOURCE, STATE, change_table, function, literal,
};
use super::seen::{Source, sources};
use crate::database::capture::{Reads, Table};
use crate::database::postgres::catalog::{Details, Schema};
use crate::database::since::{How, MOST_CARRIED, Since, since};
use crate::database::text::quoted;

/// What consumers read, as it is remembered: schema, name, columns.
type Remembered = Vec<(String, String, BTreeSet<String>)>;

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
    /// How many changes wait at most.
    waiting: i64,
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
        let next = format!(
            "SELECT s.next, c.last_value - p.last_value FROM {STATE} s, {CHANGE_ID} c, {PRUNED_ID} p"
        );
        let next: Option<(i64, i64)> =
            sqlx::query_as(AssertSqlSafe(next)).fetch_optional(&mut *connection).await?;
        let Some(next) = next else {
            there.is_complete = false;
            return Ok(there);
        };
        (there.next, there.waiting) = next;
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
        if !source.how.columns.iter().eq(target.columns.iter().map(|(name, _)| name)) {
            return Some("other columns are read".to_owned());
        }
        if source.shape != shape(target) {
            return Some("the table was altered".to_owned());
        }
        if !self.relations.contains(&change_table(target.number)) {
            return Some(format!("the table edgepress_capture.{} is missing", change_table(target.number)));
        }
        let function = function(target.number);
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

impl There {
    /// Whether what captures a table is as it was made for the columns that it captures, and few enough changes
    /// wait to be taken over.
    fn misses_nothing(&self, source: &Source, details: &Details) -> bool {
        let column = |name: &String| details.columns.iter().find(|(column, _)| column == name);
        let columns: Option<Vec<_>> = source.how.columns.iter().map(column).collect();
        columns.is_some_and(|columns| {
            let target = Target { id: source.id, number: source.how.number, details, columns };
            self.waiting <= MOST_CARRIED && self.problem(source, &target).is_none()
        })
    }
}

/// A table that is to be captured.
pub(super) struct Make {
    pub(super) table: Table,
    /// The number in the names of what captures it.
    pub(super) number: i64,
    /// Whether it was captured before, and no change of what was captured is missed.
    pub(super) is_carried: bool,
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
    pub(super) makes: Vec<Make>,
    /// What nobody needs any more, by what it captured.
    pub(super) drops: Vec<Vec<String>>,
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
    let plain = Target { id: 0, number: 0, details: target.details, columns: target.columns.clone() };
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
            let (id, number) = source.map_or((0, 0), |source| (source.id, source.how.number));
            let mut target = Target { id, number, details, columns };
            let problem = match source {
                None => Some("it is not captured yet".to_owned()),
                Some(source) => there.problem(source, &target),
            };
            let Some(problem) = problem else {
                kept.insert((id, number));
                continue;
            };
            self.problems.insert(table.clone(), problem);
            target.number = next;
            next += 1;
            let carried = source.filter(|source| there.misses_nothing(source, details));
            let statements = match carried {
                Some(source) => {
                    kept.insert((id, target.number));
                    carry(source, &target)
                }
                None => {
                    target.id = target.number;
                    make(table, &target)
                }
            };
            let is_carried = carried.is_some();
            self.makes.push(Make { table: table.clone(), number: target.number, is_carried, statements });
        }
        if there.is_complete {
            self.drop_stale(there, &kept);
        }
    }

    /// `kept`: captured tables' own numbers, and those in the names of what captures them.
    fn drop_stale(&mut self, there: &There, kept: &BTreeSet<(i64, i64)>) {
        let number = |name: &str, prefix: &str| name.strip_prefix(prefix)?.parse::<i64>().ok();
        let is_kept = |own: i64| kept.iter().any(|(_, number)| *number == own);
        let stale: BTreeSet<i64> = there
            .sources
            .iter()
            .map(|source| source.how.number)
            .chain(there.functions.keys().filter_map(|name| number(name, "capture_")))
            .chain(there.relations.iter().filter_map(|name| number(name, "change_")))
            .filter(|number| !is_kept(*number))
            .collect();
        for number in stale {
            self.drops.push(vec![
                // Whoever owns a function may drop the triggers that call it, on whosever table.
                format!("DROP FUNCTION IF EXISTS edgepress_capture.{}() CASCADE", function(number)),
                format!("DROP TABLE IF EXISTS edgepress_capture.{}", change_table(number)),
            ]);
        }
        for Source { id, .. } in &there.sources {
            if !kept.iter().any(|(own, _)| own == id) {
                self.drops.push(vec![format!("DELETE FROM {SOURCE} WHERE id = {id}")]);
            }
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
        add(&self.drops.concat());
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

/// How a table is captured, as it is remembered.
fn how(target: &Target<'_>, since: Since) -> String {
    let columns: Vec<&String> = target.columns.iter().map(|(name, _)| name).collect();
    let how = How { columns, number: target.number, since };
    literal(&serde_json::to_string(&how).expect("texts are valid JSON"))
}

/// What captures this table from now on. A new number makes it count as wholly changed.
fn make(table: &Table, target: &Target<'_>) -> Vec<String> {
    let mut statements = vec![
        format!("UPDATE {STATE} SET next = {}", target.number + 1),
        format!(
            "INSERT INTO {SOURCE} (id, table_schema, table_name, columns, shape) VALUES ({}, {}, {}, {}, {})",
            target.id,
            literal(&table.schema),
            literal(&table.name),
            how(target, Since::new()),
            literal(&shape(target))
        ),
    ];
    statements.extend(target.objects());
    statements.extend(target.triggers());
    statements
}

/// What captures this table from now on in another way, under its old number, so that only changes count. Making
/// a trigger waits for all who write to the table, and lets nobody write: only after it are all images there.
fn carry(source: &Source, target: &Target<'_>) -> Vec<String> {
    let How { columns, number, since: before } = &source.how;
    let is_known = |column: &String| columns.contains(column);
    let since = since(target.columns.iter().map(|(name, _)| name), before, is_known, target.number);
    let mut statements = vec![
        format!("UPDATE {STATE} SET next = {}", target.number + 1),
        format!(
            "UPDATE {SOURCE} SET columns = {}, shape = {} WHERE id = {}",
            how(target, since),
            literal(&shape(target)),
            target.id
        ),
    ];
    statements.extend(target.objects());
    statements.extend(target.triggers());
    statements.push(target.take_over(*number, columns));
    statements
}
