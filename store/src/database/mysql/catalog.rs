//! The tables and views of a database, and which of them a query names.
//!
//! Owns what the information schema says. It says it of now, not of the snapshot: a table altered in
//! between is one that the snapshot can no longer read, and the server says so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use edgepress_site::version::Version;
use serde::{Deserialize, Serialize};
use sqlx::mysql::{MySqlColumn, MySqlConnection};
use sqlx::{Column as _, Row as _};

use super::capture::ddl::RECORD_BODY;
use super::capture::names::{RECORD, is_our_table, is_our_trigger};
use super::text::normal;
use super::types::Kind;
use crate::database::capture::{Catalog, Column, Dialect, Facts, Reference, Table, View};
use crate::database::text::{Kind as TokenKind, tokens};

const TABLES: &str = "SELECT CAST(TABLE_NAME AS CHAR), CAST(TABLE_TYPE AS CHAR), CAST(ENGINE AS CHAR), \
    CAST(CREATE_TIME AS CHAR), COALESCE(CREATE_TIME < FROM_UNIXTIME(?), FALSE) \
    FROM information_schema.TABLES WHERE TABLE_SCHEMA = ?";
/// InnoDB's own numbers, of each partition: TRUNCATE gives new ones. MariaDB's name of the table, and MySQL's.
const NUMBERS: &str = "SELECT CONVERT(CONVERT(CAST(SUBSTRING_INDEX(SUBSTRING(NAME, LOCATE('/', NAME) + 1), \
    '#P#', 1) AS BINARY) USING filename) USING utf8mb4), CAST(TABLE_ID AS CHAR) \
    FROM information_schema./*M! INNODB_SYS_TABLES */ /*!80000 INNODB_TABLES */ WHERE SUBSTRING_INDEX(NAME, '/', 1) = \
    CONVERT(CAST(CONVERT(CONVERT(? USING utf8mb4) USING filename) AS BINARY) USING utf8mb4) ORDER BY TABLE_ID";
/// Of DDL, what gives a column other values without writing rows anew: dropping it and adding one of its name.
/// Only MariaDB counts it.
const INSTANT: &str = "SHOW GLOBAL STATUS WHERE Variable_name IN ('Innodb_instant_alter_column', 'Uptime')";
/// What tells of TRUNCATE without the right to see those: how often the server did it, and since when it counts.
const COUNTERS: &str =
    "SHOW GLOBAL STATUS WHERE Variable_name IN ('Com_truncate', 'Com_alter_table', 'Uptime')";
const COLUMNS: &str = "SELECT CAST(TABLE_NAME AS CHAR), CAST(COLUMN_NAME AS CHAR), \
    CAST(COLUMN_TYPE AS CHAR), CAST(CHARACTER_SET_NAME AS CHAR), CAST(COLLATION_NAME AS CHAR), \
    CAST(COALESCE(GENERATION_EXPRESSION, '') AS CHAR), EXTRA LIKE '%VIRTUAL%' FROM information_schema.COLUMNS \
    WHERE TABLE_SCHEMA = ? ORDER BY TABLE_NAME, ORDINAL_POSITION";
/// The primary key, too.
const UNIQUE: &str = "SELECT CAST(TABLE_NAME AS CHAR), CAST(INDEX_NAME AS CHAR), CAST(COLUMN_NAME AS CHAR) \
    FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = ? AND NON_UNIQUE = 0 \
    ORDER BY TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX";
const REFERENCES: &str = "SELECT CAST(CONSTRAINT_NAME AS CHAR), CAST(TABLE_NAME AS CHAR), \
    CAST(COLUMN_NAME AS CHAR), CAST(REFERENCED_TABLE_NAME AS CHAR), CAST(REFERENCED_COLUMN_NAME AS CHAR) \
    FROM information_schema.KEY_COLUMN_USAGE WHERE TABLE_SCHEMA = ? AND REFERENCED_TABLE_SCHEMA = TABLE_SCHEMA \
    ORDER BY TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION";
const VIEWS: &str = "SELECT CAST(TABLE_NAME AS CHAR), CAST(COALESCE(VIEW_DEFINITION, '') AS CHAR) \
    FROM information_schema.VIEWS WHERE TABLE_SCHEMA = ?";
/// Each table's schema is given as a value: else the server opens the tables of all databases.
const CASCADES: &str = "SELECT CAST(r.TABLE_NAME AS CHAR), CAST(r.REFERENCED_TABLE_NAME AS CHAR), \
    CAST(k.REFERENCED_COLUMN_NAME AS CHAR), CAST(r.UPDATE_RULE AS CHAR), CAST(r.DELETE_RULE AS CHAR) \
    FROM information_schema.REFERENTIAL_CONSTRAINTS r JOIN information_schema.KEY_COLUMN_USAGE k \
    ON k.TABLE_SCHEMA = ? AND k.CONSTRAINT_NAME = r.CONSTRAINT_NAME AND k.TABLE_NAME = r.TABLE_NAME \
    WHERE r.CONSTRAINT_SCHEMA = ? AND r.UNIQUE_CONSTRAINT_SCHEMA = ?";
const TRIGGERS: &str = "SELECT CAST(TRIGGER_NAME AS CHAR), CAST(EVENT_OBJECT_TABLE AS CHAR), \
    CAST(EVENT_MANIPULATION AS CHAR), CAST(ACTION_STATEMENT AS CHAR) FROM information_schema.TRIGGERS \
    WHERE TRIGGER_SCHEMA = ? AND TRIGGER_NAME LIKE 'edgepress%'";
/// All functions, and our procedure with its text.
const ROUTINES: &str = "SELECT CAST(ROUTINE_NAME AS CHAR), CAST(ROUTINE_TYPE AS CHAR), CAST(IF(ROUTINE_NAME = \
    'edgepress_record', COALESCE(ROUTINE_DEFINITION, ''), '') AS CHAR) FROM information_schema.ROUTINES \
    WHERE ROUTINE_SCHEMA = ? AND (ROUTINE_TYPE = 'FUNCTION' OR ROUTINE_NAME = 'edgepress_record')";
/// MariaDB's JSON is a text with a check; MySQL, which has the type, does not read `/*M! */`.
const ORIGIN: &str = "SELECT CAST(COLUMN_TYPE AS CHAR), /*M!100201 EXISTS (SELECT 1 FROM \
    information_schema.CHECK_CONSTRAINTS k WHERE k.CONSTRAINT_SCHEMA = c.TABLE_SCHEMA AND \
    k.TABLE_NAME = c.TABLE_NAME AND k.CHECK_CLAUSE = CONCAT('json_valid(`', c.COLUMN_NAME, '`)')) + */ 0 \
    FROM information_schema.COLUMNS c WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? AND COLUMN_NAME = ?";

/// A column, beyond what the catalog says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ColumnDetails {
    pub(super) name: String,
    /// As it is written in CREATE TABLE.
    pub(super) column_type: String,
    pub(super) charset: Option<String>,
    pub(super) collation: Option<String>,
}

/// A column that a foreign key refers to, if the key changes rows of its own table.
#[derive(Debug, Clone)]
struct Cascade {
    child: String,
    parent: String,
    column: String,
    on_update: bool,
    on_delete: bool,
}

/// A table whose edits change rows of another without firing a trigger there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ancestor {
    pub(super) table: String,
    /// Columns whose change does.
    pub(super) columns: BTreeSet<String>,
    /// Whether a row that goes does.
    pub(super) on_delete: bool,
}

/// A trigger of ours.
#[derive(Debug, Clone)]
pub(super) struct FoundTrigger {
    pub(super) name: String,
    pub(super) table: String,
    pub(super) event: String,
    pub(super) body: String,
}

/// How often something was done on the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counted {
    /// When the server began to count: seconds since 1970, give or take one.
    pub(super) since: i64,
    pub(super) counts: Vec<String>,
}

/// By so many seconds two reckonings of when the server began may differ.
const CLOCK_STEP: u64 = 2;

impl Counted {
    /// With the server's time: seconds since 1970.
    async fn read(
        connection: &mut MySqlConnection,
        counters: &'static str,
    ) -> Result<(Self, i64), sqlx::Error> {
        let mut counts: Vec<(String, String)> = sqlx::query_as(counters).fetch_all(&mut *connection).await?;
        let uptime = counts.iter().position(|(name, _)| name.eq_ignore_ascii_case("Uptime"));
        let uptime = uptime.and_then(|place| counts.swap_remove(place).1.parse::<i64>().ok());
        let now: i64 = sqlx::query_scalar("SELECT UNIX_TIMESTAMP(SYSDATE())").fetch_one(connection).await?;
        counts.sort();
        let counts = counts.into_iter().map(|(_, count)| count).collect();
        Ok((Self { since: now - uptime.unwrap_or_default(), counts }, now))
    }

    /// Whether nothing was done between the two.
    pub(super) fn is_same(&self, then: &Self) -> bool {
        self.counts == then.counts && self.since.abs_diff(then.since) <= CLOCK_STEP
    }
}

/// When a table was made or altered last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Altered {
    /// In whole seconds.
    at: String,
    /// Whether that second was over: if not, it may have been altered again in it.
    is_past: bool,
}

impl Altered {
    /// Whether it was not altered again since `then`.
    pub(super) fn is_same(&self, then: &Self) -> bool {
        self.at == then.at && then.is_past
    }
}

/// Everything read from the information schema at once.
#[derive(Debug)]
pub(super) struct Schema {
    pub(super) catalog: Arc<Catalog>,
    pub(super) details: BTreeMap<Table, Vec<ColumnDetails>>,
    cascades: Vec<Cascade>,
    /// Tables of ours.
    pub(super) ours: BTreeSet<String>,
    pub(super) triggers: Vec<FoundTrigger>,
    /// Whether the procedure of ours is there, as we make it;
    pub(super) has_record: bool,
    /// or in any form.
    pub(super) any_record: bool,
    altered: BTreeMap<Table, Altered>,
    /// How often columns were added and dropped at once on this server, if it counts that.
    pub(super) instant: Option<Counted>,
    /// How often tables were emptied on this server, where that does not show in each table's fingerprint.
    pub(super) emptied: Option<Counted>,
    name: String,
}

impl Schema {
    /// Reads what is there now.
    pub(super) async fn read(connection: &mut MySqlConnection, name: &str) -> Result<Self, sqlx::Error> {
        let mut catalog = Catalog {
            dialect: Dialect::Mysql,
            path: Vec::new(),
            tables: BTreeMap::new(),
            views: BTreeMap::new(),
            routines: BTreeSet::new(),
        };
        let mut schema = Self {
            catalog: Arc::new(catalog.clone()),
            details: BTreeMap::new(),
            cascades: Vec::new(),
            ours: BTreeSet::new(),
            triggers: Vec::new(),
            has_record: false,
            any_record: false,
            altered: BTreeMap::new(),
            instant: None,
            emptied: None,
            name: name.to_owned(),
        };
        // First: what is altered later is counted then.
        let (instant, now) = Counted::read(connection, INSTANT).await?;
        schema.instant = Some(instant).filter(|instant| !instant.counts.is_empty());
        let mut views = schema.read_tables(connection, now, &mut catalog).await?;
        schema.read_numbers(connection, &mut catalog).await?;
        schema.read_columns(connection, &mut catalog, &mut views).await?;
        let mut last = None;
        for [table, index, column] in texts::<3>(connection, UNIQUE, name).await? {
            let Some(facts) = catalog.tables.get_mut(&schema.table(&table)) else { continue };
            if index == "PRIMARY" {
                facts.key.push(column);
                continue;
            }
            if last.as_ref() != Some(&(table.clone(), index.clone())) {
                facts.unique.push(Vec::new());
                last = Some((table, index));
            }
            facts.unique.last_mut().into_iter().for_each(|set| set.push(column.clone()));
        }
        // An index over an expression has terms without a column.
        catalog.tables.values_mut().for_each(|facts| {
            facts.unique.retain(|set| set.iter().all(|column| !column.is_empty()));
        });
        for [view, query] in texts::<2>(connection, VIEWS, name).await? {
            let view = schema.table(&view);
            if let Some(columns) = views.remove(&view) {
                catalog.views.insert(view, View { query, columns });
            }
        }
        schema.read_cascades(connection).await?;
        for [name, table, event, body] in texts::<4>(connection, TRIGGERS, name).await? {
            if is_our_trigger(&name) {
                schema.triggers.push(FoundTrigger { name, table, event, body });
            }
        }
        for [name, kind, body] in texts::<3>(connection, ROUTINES, name).await? {
            // Names of routines are compared without case.
            if name.eq_ignore_ascii_case(RECORD) {
                schema.any_record = true;
                // Who may not see it sees nothing.
                schema.has_record = body.is_empty() || body == RECORD_BODY;
            }
            if kind == "FUNCTION" {
                catalog.routines.insert(name);
            }
        }
        schema.catalog = Arc::new(catalog);
        Ok(schema)
    }

    /// All foreign keys.
    pub(super) async fn references(
        &self,
        connection: &mut MySqlConnection,
    ) -> Result<Vec<Reference>, sqlx::Error> {
        let mut all: Vec<Reference> = Vec::new();
        let mut last = None;
        for [name, table, column, parent, parent_column] in
            texts::<5>(connection, REFERENCES, &self.name).await?
        {
            let own = (table, name);
            if last.as_ref() != Some(&own) {
                let (table, parent) = (self.table(&own.0), self.table(&parent));
                all.push(Reference { table, columns: Vec::new(), parent, parent_columns: Vec::new() });
                last = Some(own);
            }
            let Some(reference) = all.last_mut() else { continue };
            reference.columns.push(column);
            reference.parent_columns.push(parent_column);
        }
        Ok(all)
    }

    /// The details of a column, if it is there.
    pub(super) fn column(&self, table: &Table, name: &str) -> Option<&ColumnDetails> {
        self.details.get(table)?.iter().find(|column| column.name == name)
    }

    /// Differs whenever a table or a view was altered, made or dropped.
    pub(super) fn digest(&self) -> Version {
        let columns = |facts: &Facts| facts.columns.iter().map(|column| column.fingerprint.clone()).collect();
        let tables = self.catalog.tables.iter().map(|(table, facts)| {
            let columns: Vec<String> = columns(facts);
            (&table.name, &facts.fingerprint, &self.altered[table].at, columns)
        });
        let views = self.catalog.views.iter().map(|(table, view)| (&table.name, &view.query));
        let all = (tables.collect::<Vec<_>>(), views.collect::<Vec<_>>());
        Version::of(format!("{all:?}").as_bytes())
    }

    /// When a table was altered last.
    pub(super) fn altered(&self, table: &Table) -> Altered {
        self.altered.get(table).cloned().unwrap_or_default()
    }

    pub(super) fn table(&self, name: &str) -> Table {
        Table { schema: self.name.clone(), name: name.to_owned() }
    }

    /// The base tables; and the views, still without columns. `now`: seconds since 1970.
    async fn read_tables(
        &mut self,
        connection: &mut MySqlConnection,
        now: i64,
        catalog: &mut Catalog,
    ) -> Result<BTreeMap<Table, Vec<String>>, sqlx::Error> {
        let mut views = BTreeMap::new();
        for row in sqlx::query(TABLES).bind(now).bind(&self.name).fetch_all(connection).await? {
            let (name, kind): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            let engine: Option<String> = row.try_get(2)?;
            let table = self.table(&name);
            if is_our_table(&name) {
                self.ours.insert(name);
            } else if kind.contains("VIEW") {
                views.insert(table, Vec::new());
            } else if kind != "SEQUENCE" {
                let (at, is_past): (Option<String>, bool) = (row.try_get(3)?, row.try_get(4)?);
                self.altered.insert(table.clone(), Altered { at: at.unwrap_or_default(), is_past });
                let fingerprint = format!("{engine:?}");
                let uncapturable = uncapturable(&name, engine.as_deref());
                let (columns, key, unique) = (Vec::new(), Vec::new(), Vec::new());
                let facts = Facts { columns, key, unique, uncapturable, fingerprint };
                catalog.tables.insert(table, facts);
            }
        }
        Ok(views)
    }

    /// What changes when a table is emptied at once.
    async fn read_numbers(
        &mut self,
        connection: &mut MySqlConnection,
        catalog: &mut Catalog,
    ) -> Result<(), sqlx::Error> {
        if let Ok(numbers) = texts::<2>(connection, NUMBERS, &self.name).await {
            for [name, number] in numbers {
                if let Some(facts) = catalog.tables.get_mut(&self.table(&name)) {
                    facts.fingerprint.push_str(&format!(" {number}"));
                }
            }
            return Ok(());
        }
        self.emptied = Some(Counted::read(connection, COUNTERS).await?.0);
        Ok(())
    }

    async fn read_columns(
        &mut self,
        connection: &mut MySqlConnection,
        catalog: &mut Catalog,
        views: &mut BTreeMap<Table, Vec<String>>,
    ) -> Result<(), sqlx::Error> {
        let (mut last, mut place) = (None, 0);
        for row in sqlx::query(COLUMNS).bind(&self.name).fetch_all(connection).await? {
            let table = self.table(&row.try_get::<String, _>(0)?);
            let name: String = row.try_get(1)?;
            if let Some(columns) = views.get_mut(&table) {
                columns.push(name);
            } else if let Some(facts) = catalog.tables.get_mut(&table) {
                let (column_type, charset, collation): (String, Option<String>, Option<String>) =
                    (row.try_get(2)?, row.try_get(3)?, row.try_get(4)?);
                let generated: String = row.try_get(5)?;
                let is_bytewise = is_bytewise(&column_type, collation.as_deref());
                let is_float = ["float", "double"].iter().any(|kind| column_type.starts_with(kind));
                // A value that its type cannot hold fails an UPDATE once any trigger reads the column, and
                // before that trigger could catch it.
                let is_computed: bool = row.try_get(6)?;
                let prints_apart = collation.as_ref().is_some_and(|collation| !collation.ends_with("_bin"));
                if last.as_ref() != Some(&table) {
                    (last, place) = (Some(table.clone()), 0);
                }
                // Its place among the stored ones: a column that only gets the name of another has another.
                place += i32::from(!is_computed);
                let of_now = format!("{place} {column_type:?} {charset:?} {collation:?} {generated:?}");
                let fingerprint = Version::of(of_now.as_bytes()).to_string();
                facts.columns.push(Column {
                    name: name.clone(),
                    is_bytewise,
                    prints_apart,
                    is_float,
                    is_computed,
                    fingerprint,
                });
                let details = self.details.entry(table).or_default();
                details.push(ColumnDetails { name, column_type, charset, collation });
            }
        }
        for facts in catalog.tables.values_mut() {
            facts.fingerprint = Version::of(facts.fingerprint.as_bytes()).to_string();
        }
        Ok(())
    }

    async fn read_cascades(&mut self, connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
        for [child, parent, column, update, delete] in texts::<5>(connection, CASCADES, &self.name).await? {
            let changes = |rule: &str| rule == "CASCADE" || rule.starts_with("SET ");
            let (on_update, on_delete) = (changes(&update), changes(&delete));
            if on_update || on_delete {
                self.cascades.push(Cascade { child, parent, column, on_update, on_delete });
            }
        }
        Ok(())
    }

    /// The tables whose edits change rows of `child`, over however many foreign keys.
    pub(super) fn ancestors(&self, child: &str) -> Vec<Ancestor> {
        let mut found: BTreeMap<&str, Ancestor> = BTreeMap::new();
        let mut open = vec![child];
        while let Some(next) = open.pop() {
            for cascade in self.cascades.iter().filter(|cascade| cascade.child == next) {
                let ancestor = found.entry(&cascade.parent).or_insert_with(|| {
                    open.push(&cascade.parent);
                    Ancestor { table: cascade.parent.clone(), ..Ancestor::default() }
                });
                ancestor.on_delete |= cascade.on_delete;
                if cascade.on_update {
                    ancestor.columns.insert(cascade.column.clone());
                }
            }
        }
        found.into_values().collect()
    }

    /// The tables that stand where `query`, or a view in it, names one. The server's plan tells aliases and
    /// leaves out what it has read already, so the text is asked: rather too many than too few.
    pub(super) fn tables(&self, query: &str) -> BTreeSet<Table> {
        let mut tables = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut open = vec![query.to_owned()];
        while let Some(text) = open.pop() {
            for (schema, name) in named_tables(&text) {
                let found = self.catalog.find(schema.as_deref(), &name).cloned();
                match (found, schema) {
                    (Some(table), _) => match self.catalog.views.get(&table) {
                        Some(view) if seen.insert(table.clone()) => {
                            open.push(normal(&view.query).unwrap_or_default());
                        }
                        Some(_) => {}
                        None => _ = tables.insert(table),
                    },
                    (None, Some(schema)) => _ = tables.insert(Table { schema, name }),
                    (None, None) => {}
                }
            }
        }
        tables
    }
}

/// Rows of texts; every parameter is the schema.
async fn texts<const N: usize>(
    connection: &mut MySqlConnection,
    sql: &'static str,
    schema: &str,
) -> Result<Vec<[String; N]>, sqlx::Error> {
    let mut all = Vec::new();
    let query = sql.matches('?').fold(sqlx::query(sql), |query, _| query.bind(schema));
    for row in query.fetch_all(connection).await? {
        let mut texts = [const { String::new() }; N];
        for (place, text) in texts.iter_mut().enumerate() {
            *text = row.try_get::<Option<String>, _>(place)?.unwrap_or_default();
        }
        all.push(texts);
    }
    Ok(all)
}

fn uncapturable(name: &str, engine: Option<&str>) -> Option<String> {
    match engine {
        Some(engine) if engine.eq_ignore_ascii_case("InnoDB") => None,
        Some(engine) => Some(format!(
            "its engine is {engine}, which has no transactions: ALTER TABLE {} ENGINE=InnoDB",
            super::text::quoted(name)
        )),
        None => Some("the server cannot read it: mend or drop it".to_owned()),
    }
}

/// Whether equal values of a column of this type have equal bytes.
fn is_bytewise(column_type: &str, collation: Option<&str>) -> bool {
    let is = |prefixes: &[&str]| prefixes.iter().any(|prefix| column_type.starts_with(prefix));
    if is(&["float", "double", "decimal", "json"]) {
        return false;
    }
    match collation {
        None => is(&[
            "tinyint",
            "smallint",
            "mediumint",
            "int",
            "bigint",
            "bit",
            "year",
            "date",
            "time",
            "binary",
            "varbinary",
            "tinyblob",
            "blob",
            "mediumblob",
            "longblob",
            "uuid",
            "inet",
        ]),
        Some(_) if is(&["enum", "set"]) => true,
        // Spaces at the end of a VARCHAR do not count in most of them; a CHAR has none.
        Some(collation) if is(&["char"]) => collation.ends_with("_bin"),
        Some(collation) => collation.ends_with("nopad_bin") || collation == "utf8mb4_0900_bin",
    }
}

/// Looks closer at columns that come as they are from a table: JSON and BIT(1) show only there.
pub(super) async fn refine(
    connection: &mut MySqlConnection,
    columns: &[MySqlColumn],
    kinds: &mut [Kind],
) -> Result<(), sqlx::Error> {
    for (column, kind) in columns.iter().zip(kinds) {
        let sqlx::ColumnOrigin::Table(origin) = column.origin() else { continue };
        if !matches!(kind, Kind::LongText | Kind::Bits) {
            continue;
        }
        let Some((schema, table)) = origin.table.split_once('.') else { continue };
        let found = sqlx::query(ORIGIN).bind(schema).bind(table).bind(&*origin.name);
        if let Some(row) = found.fetch_optional(&mut *connection).await? {
            *kind = kind.refined(&row.try_get::<String, _>(0)?, row.try_get::<i64, _>(1)? != 0);
        }
    }
    Ok(())
}

/// What stands in `sql` where FROM and its commas, JOIN or TABLE ask for a table; with the schema before it.
fn named_tables(sql: &str) -> Vec<(Option<String>, String)> {
    let mut found: Vec<(Option<String>, String)> = Vec::new();
    // For each open parenthesis: whether a comma in it asks for another table.
    let mut from = vec![false];
    let (mut is_asked, mut is_after_dot, mut may_qualify) = (false, false, false);
    for token in tokens(sql) {
        let Ok(token) = token else { return found };
        let text = &sql[token.start..token.end];
        let word = text.to_ascii_uppercase();
        let depth = from.len() - 1;
        let was_asked = std::mem::take(&mut is_asked);
        let could_qualify = std::mem::take(&mut may_qualify);
        match token.kind {
            TokenKind::Open => {
                from.push(was_asked);
                is_asked = was_asked;
            }
            TokenKind::Close => {
                from.pop();
                if from.is_empty() {
                    return found;
                }
            }
            TokenKind::Comma => is_asked = from[depth],
            _ if text == "." => {
                is_after_dot = could_qualify;
                continue;
            }
            _ if is_after_dot => {
                if let Some((schema, name)) = found.last_mut() {
                    *schema = Some(std::mem::replace(name, unquoted(text)));
                }
            }
            _ => match &*word {
                "FROM" => (is_asked, from[depth]) = (true, true),
                "JOIN" | "STRAIGHT_JOIN" | "TABLE" => is_asked = true,
                "SELECT" | "WHERE" | "GROUP" | "HAVING" | "ORDER" | "LIMIT" | "WINDOW" | "UNION"
                | "EXCEPT" | "INTERSECT" => from[depth] = false,
                "LATERAL" => is_asked = was_asked,
                _ if was_asked => {
                    found.push((None, unquoted(text)));
                    may_qualify = true;
                }
                _ => {}
            },
        }
        is_after_dot = false;
    }
    found
}

fn unquoted(text: &str) -> String {
    match text.chars().next() {
        Some(quote @ ('`' | '"')) => {
            text[1..text.len() - 1].replace(&format!("{quote}{quote}"), &quote.to_string())
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_named_where_from_and_join_ask_for_them() {
        for (sql, expected) in [
            (
                "SELECT brand FROM product p, `a b` AS c JOIN d ON d.x = (1, brand) , e WHERE x IN (y, z)",
                "product a b d e",
            ),
            ("SELECT 1 FROM (a JOIN (b, c) ON f(a.x, b.y)) GROUP BY d, e", "a b c"),
            ("WITH w AS (SELECT id, x FROM t) SELECT w.id, (SELECT max(i) FROM u) FROM w", "t u w"),
            (
                "SELECT x FROM shop.product UNION SELECT y FROM `my shop`.`or der` o",
                "shop.product my shop.or der",
            ),
            ("select `a`.`id` AS `id` from (`s`.`b` left join `s`.`a` on(`s`.`a`.`x` = `b`.`y`))", "s.b s.a"),
            ("SELECT 1 WHERE x IN (TABLE t)", "t"),
            ("SELECT EXTRACT(YEAR FROM d), x FROM t FORCE INDEX (a, b), u", "d t u"),
        ] {
            let tables: Vec<String> = named_tables(sql)
                .into_iter()
                .map(|(schema, name)| schema.map_or(name.clone(), |schema| format!("{schema}.{name}")))
                .collect();
            assert_eq!(tables.join(" "), expected, "{sql}");
        }
    }

    #[test]
    fn bytes_decide_where_the_collation_says_so() {
        for (column_type, collation, expected) in [
            ("int(11)", None, true),
            ("decimal(5,2)", None, false),
            ("datetime(6)", None, true),
            ("varchar(9)", Some("utf8mb4_bin"), false),
            ("char(9)", Some("utf8mb4_bin"), true),
            ("varchar(9)", Some("utf8mb4_nopad_bin"), true),
            ("varchar(9)", Some("latin1_swedish_ci"), false),
            ("enum('a','b')", Some("latin1_swedish_ci"), true),
            ("geometry", None, false),
        ] {
            assert_eq!(is_bytewise(column_type, collation), expected, "{column_type} {collation:?}");
        }
    }
}
