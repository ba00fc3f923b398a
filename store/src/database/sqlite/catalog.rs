//! The tables and views of a SQLite file, and which of them a query reads.
//!
//! Owns what the schema says, and what SQLite's own compiler says about it: collations, affinities, plans.
//! Refuses to parse CREATE TABLE: its text is only compared.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use edgepress_site::version::Version;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Row as _};

use super::capture::names::{is_our_table, is_our_trigger};
use super::failing::{Fails, fails, may_fail};
use crate::database::capture::{Catalog, Column, Dialect, Facts, Reference, Table, View};
use crate::database::text::{index_parts, names_in, quoted, view_select};

/// The only schema whose tables we see: temporary and attached ones are the owner's connection's.
pub(super) const MAIN: &str = "main";
/// Names under which SQLite lets a query read a row's number, unless a column is called so.
pub(super) const ROWID_NAMES: [&str; 3] = ["rowid", "oid", "_rowid_"];

/// SQLite's limit is 2,000, and the table of images has a few of its own.
const MOST_COLUMNS: usize = 1_990;

/// How SQLite treats the values of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Affinity {
    Integer,
    Real,
    Numeric,
    Text,
    None,
}

/// A column, beyond what the catalog says of it.
#[derive(Debug, Clone)]
pub(super) struct ColumnDetails {
    pub(super) name: String,
    pub(super) affinity: Affinity,
    /// Unknown when this connection lacks it.
    pub(super) collation: Option<String>,
    pub(super) is_generated: bool,
    /// Whether it is computed whenever it is read, by what may fail.
    pub(super) is_computed: bool,
    pub(super) is_not_null: bool,
    /// Whether REPLACE stores a default where NULL was given.
    pub(super) defaults: bool,
}

/// One term of a unique index.
#[derive(Debug, Clone)]
pub(super) struct Term {
    pub(super) content: TermContent,
    pub(super) collation: String,
}

/// What a term of an index is made of.
#[derive(Debug, Clone)]
pub(super) enum TermContent {
    Column(String),
    /// The text of an expression over the table's columns.
    Expression(String),
}

/// What must be unique in a table: REPLACE removes rows because of it.
#[derive(Debug, Clone)]
pub(super) struct Unique {
    /// The name of its index, and the text that made that; empty where a constraint did.
    pub(super) index: [String; 2],
    pub(super) terms: Vec<Term>,
    /// The condition of a partial index.
    pub(super) predicate: Option<String>,
    /// When a new row cannot be asked for its condition,
    pub(super) predicate_fails: Fails,
    /// and when for its terms.
    pub(super) terms_fail: Fails,
    /// Whether stored rows may not be asked for its terms but through the index, which has asked them.
    pub(super) needs_index: bool,
    pub(super) is_primary: bool,
}

/// A table, beyond what the catalog says of it.
#[derive(Debug, Clone)]
pub(super) struct Details {
    pub(super) columns: Vec<ColumnDetails>,
    /// The name that means a row's number; none in a WITHOUT ROWID table, or when columns took all names.
    pub(super) rowid: Option<String>,
    /// The column that is the row's number (INTEGER PRIMARY KEY).
    pub(super) integer_key: Option<String>,
    pub(super) unique: Vec<Unique>,
    /// Whether a CHECK or a trigger of the owner's may refuse a row before its keys are computed.
    pub(super) refuses: bool,
}

impl Details {
    /// Whether a trigger that reads an old value far to the right makes SQLite compute what may fail: it
    /// remembers for 32 columns which of them are read, and then reads all.
    pub(super) fn is_wide(&self) -> bool {
        self.columns.len() > 32 && self.columns.iter().any(|column| column.is_computed)
    }
}

/// Everything read from the schema at once.
#[derive(Debug)]
pub(super) struct Schema {
    pub(super) catalog: Arc<Catalog>,
    pub(super) details: BTreeMap<Table, Details>,
    /// What lies in the schema under names of ours: kind, name, table, text.
    pub(super) ours: Vec<[String; 4]>,
    /// In which order the tables were made, those of ours among them: VACUUM and ALTER TABLE keep it.
    made: HashMap<String, usize>,
    /// Whose pages begin at this page.
    roots: HashMap<i64, String>,
    virtuals: BTreeSet<Table>,
}

/// A row of the schema.
struct Entry {
    kind: String,
    name: String,
    table: String,
    root: i64,
    sql: String,
}

pub(super) fn table(name: &str) -> Table {
    Table { schema: MAIN.to_owned(), name: name.to_owned() }
}

impl Schema {
    /// Reads the schema as this connection's transaction sees it.
    pub(super) async fn read(connection: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let entries = entries(connection).await?;
        let mut catalog = Catalog {
            dialect: Dialect::Sqlite,
            path: Vec::new(),
            tables: BTreeMap::new(),
            views: BTreeMap::new(),
            // Its functions live in programs; those of others are unknown to it.
            routines: BTreeSet::new(),
        };
        let mut schema = Self {
            catalog: Arc::new(catalog.clone()),
            details: BTreeMap::new(),
            ours: Vec::new(),
            made: HashMap::new(),
            roots: HashMap::from([(1, "sqlite_schema".to_owned())]),
            virtuals: BTreeSet::new(),
        };
        for (place, entry) in entries.iter().enumerate() {
            if entry.kind == "table" {
                schema.made.insert(entry.name.clone(), place);
            }
            if entry.root > 0 {
                schema.roots.insert(entry.root, entry.table.clone());
            }
            let is_ours = match entry.kind.as_str() {
                "table" => is_our_table(&entry.name),
                "trigger" => is_our_trigger(&entry.name),
                _ => false,
            };
            if is_ours {
                let Entry { kind, name, table, sql, .. } = entry;
                schema.ours.push([kind.clone(), name.clone(), table.clone(), sql.clone()]);
            }
        }
        let list = "SELECT name, type, wr, strict FROM pragma_table_list WHERE schema = 'main'";
        for row in sqlx::query(list).persistent(false).fetch_all(&mut *connection).await? {
            let (name, kind): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            if is_our_table(&name) {
                continue;
            }
            if kind == "view" {
                catalog.views.insert(table(&name), view(connection, &entries, &name).await?);
                continue;
            }
            if kind == "virtual" {
                schema.virtuals.insert(table(&name));
            }
            let (facts, details) = facts(connection, &entries, &name, &kind, row.try_get(2)?).await?;
            catalog.tables.insert(table(&name), facts);
            schema.details.insert(table(&name), details);
        }
        schema.catalog = Arc::new(catalog);
        Ok(schema)
    }

    /// Whether a table was made after another, as it is after what captures it once it was rebuilt: its triggers
    /// may have been put back by whoever did it.
    pub(super) fn is_made_after(&self, table: &str, other: &str) -> bool {
        self.made.get(other).is_some_and(|other| self.made.get(table).is_some_and(|own| own > other))
    }

    /// The base tables that `query`, one SELECT, reads.
    pub(super) async fn tables(
        &self,
        connection: &mut SqliteConnection,
        query: &str,
    ) -> Result<BTreeSet<Table>, sqlx::Error> {
        let explain = format!("EXPLAIN {query}");
        let mut tables = BTreeSet::new();
        let mut reads_virtual = false;
        for step in steps(connection, &explain).await? {
            match (step.opcode.as_str(), step.p3) {
                ("OpenRead" | "ReopenIdx", 0) => {
                    let name = self.roots.get(&step.p2).cloned();
                    tables.extend(name.map(|name| table(&name)));
                }
                ("VOpen", _) => reads_virtual = true,
                _ => {}
            }
        }
        if reads_virtual {
            tables.extend(self.virtuals_named_in(query));
        }
        Ok(tables)
    }

    /// The plan does not say which virtual table it opens: all that the query or its views name.
    fn virtuals_named_in(&self, query: &str) -> BTreeSet<Table> {
        let mut found = BTreeSet::new();
        let mut views = BTreeSet::new();
        let mut texts = vec![query];
        while let Some(text) = texts.pop() {
            for name in names_in(text) {
                let is_it = |table: &&Table| table.name.eq_ignore_ascii_case(&name);
                found.extend(self.virtuals.iter().find(is_it).cloned());
                if let Some(view) = self.catalog.views.keys().find(is_it).filter(|view| views.insert(*view)) {
                    texts.push(&self.catalog.views[view].query);
                }
            }
        }
        found
    }
}

async fn entries(connection: &mut SqliteConnection) -> Result<Vec<Entry>, sqlx::Error> {
    let sql = "SELECT type, name, tbl_name, coalesce(rootpage, 0), coalesce(sql, '') FROM sqlite_schema \
               ORDER BY rowid";
    let rows = sqlx::query(sql).persistent(false).fetch_all(connection).await?;
    let entry = |row: SqliteRow| {
        Ok(Entry {
            kind: row.try_get(0)?,
            name: row.try_get(1)?,
            table: row.try_get(2)?,
            root: row.try_get(3)?,
            sql: row.try_get(4)?,
        })
    };
    rows.into_iter().map(entry).collect()
}

fn find<'a>(entries: &'a [Entry], kind: &str, name: &str) -> Option<&'a Entry> {
    entries.iter().find(|entry| entry.kind == kind && entry.name.eq_ignore_ascii_case(name))
}

async fn view(connection: &mut SqliteConnection, entries: &[Entry], name: &str) -> Result<View, sqlx::Error> {
    let sql = find(entries, "view", name).map_or("", |entry| &entry.sql);
    let columns = "SELECT name FROM pragma_table_xinfo(?) ORDER BY cid";
    // A view that is broken has no columns; whoever reads it gets SQLite's own message.
    let columns = sqlx::query_scalar(columns).bind(name).fetch_all(connection).await.unwrap_or_default();
    Ok(View { query: view_select(sql).unwrap_or_default().to_owned(), columns })
}

/// What the schema says of a column.
struct Declared {
    name: String,
    kind: String,
    key: i64,
    hidden: i64,
    is_not_null: bool,
    default: Option<String>,
}

impl Declared {
    fn is_generated(&self) -> bool {
        matches!(self.hidden, 2 | 3)
    }
}

async fn facts(
    connection: &mut SqliteConnection,
    entries: &[Entry],
    name: &str,
    kind: &str,
    without_rowid: bool,
) -> Result<(Facts, Details), sqlx::Error> {
    let columns = "SELECT name, type, pk, hidden, \"notnull\", dflt_value \
                   FROM pragma_table_xinfo(?) ORDER BY cid";
    // The module behind a virtual table may be missing here: then nothing is known of its columns.
    let rows = sqlx::query(columns).bind(name).fetch_all(&mut *connection).await;
    let rows = if kind == "virtual" { rows.unwrap_or_default() } else { rows? };
    let mut declared = Vec::with_capacity(rows.len());
    for row in rows {
        declared.push(Declared {
            name: row.try_get(0)?,
            kind: row.try_get(1)?,
            key: row.try_get(2)?,
            hidden: row.try_get(3)?,
            is_not_null: row.try_get(4)?,
            default: row.try_get(5)?,
        });
    }
    let mut key: Vec<&Declared> = declared.iter().filter(|column| column.key > 0).collect();
    key.sort_by_key(|column| column.key);
    let uncapturable = uncapturable(entries, name, kind, &declared);
    let refuses = may_refuse(entries, name);
    let mut details =
        Details { columns: Vec::new(), rowid: None, integer_key: None, unique: Vec::new(), refuses };
    let mut columns = Vec::with_capacity(declared.len());
    let text = find(entries, "table", name).map_or("", |entry| &entry.sql);
    for column in &declared {
        let Comparison { affinity, collation, may_fail } = match kind {
            "virtual" => Comparison::UNKNOWN,
            _ => comparison(connection, name, &column.name).await?,
        };
        // In a real table this is VIRTUAL; STORED is 3.
        let is_computed = may_fail && kind != "virtual" && column.hidden == 2;
        columns.push(Column {
            name: column.name.clone(),
            is_bytewise: affinity != Affinity::None && collation.as_deref() == Some("BINARY"),
            prints_apart: collation.as_deref().is_some_and(|collation| collation != "BINARY"),
            is_float: affinity == Affinity::Real,
            is_computed,
            fingerprint: fingerprint(column, affinity, collation.as_deref(), text),
        });
        details.columns.push(ColumnDetails {
            name: column.name.clone(),
            affinity,
            collation,
            is_generated: column.is_generated(),
            is_computed,
            is_not_null: column.is_not_null,
            defaults: column.is_not_null && column.default.is_some(),
        });
    }
    if kind != "virtual" {
        let (unique, has_primary_index) = unique(connection, entries, name, &details.columns).await?;
        details.unique = unique;
        if !without_rowid {
            let is_number = |key: &[&Declared]| {
                key.len() == 1 && key[0].kind.eq_ignore_ascii_case("INTEGER") && !has_primary_index
            };
            details.integer_key = is_number(&key).then(|| key[0].name.clone());
            let is_free = |name: &str| !declared.iter().any(|column| column.name.eq_ignore_ascii_case(name));
            let free = ROWID_NAMES.into_iter().find(|name| is_free(name)).map(ToOwned::to_owned);
            details.rowid = free.or_else(|| details.integer_key.clone());
        }
    }
    let key = key.into_iter().map(|column| column.name.clone()).collect();
    // One that was rebuilt or replaced is captured anew: its triggers went, or are older than it.
    let fingerprint = format!("{kind} {without_rowid}");
    let unique = details.unique.iter().filter_map(Unique::columns).collect();
    Ok((Facts { columns, key, unique, uncapturable, fingerprint }, details))
}

/// Differs whenever a column may have other values although no row was edited: rows that were stored before it
/// was have its default. What a generated one is made of stands in the table's text alone.
fn fingerprint(column: &Declared, affinity: Affinity, collation: Option<&str>, text: &str) -> String {
    let Declared { kind, hidden, default, .. } = column;
    let text = if column.is_generated() { text } else { "" };
    let all = format!("{kind:?} {hidden} {default:?} {affinity:?} {collation:?} {text}");
    Version::of(all.as_bytes()).to_string()
}

impl Unique {
    /// Its columns, if it is made of columns and holds for all rows.
    fn columns(&self) -> Option<Vec<String>> {
        let column = |term: &Term| match &term.content {
            TermContent::Column(name) => Some(name.clone()),
            TermContent::Expression(_) => None,
        };
        self.predicate.is_none().then(|| self.terms.iter().map(column).collect()).flatten()
    }
}

fn uncapturable(entries: &[Entry], name: &str, kind: &str, columns: &[Declared]) -> Option<String> {
    if name.starts_with("sqlite_") {
        return Some("it is SQLite's own: no trigger can be set on it".to_owned());
    }
    match kind {
        "virtual" => return Some("it is a virtual table: no trigger can be set on it".to_owned()),
        "shadow" => {
            return Some("it belongs to a virtual table, which writes it without triggers".to_owned());
        }
        _ => {}
    }
    if columns.len() > MOST_COLUMNS {
        return Some(format!("it has more than {MOST_COLUMNS} columns: split it"));
    }
    let is_taken = |column: &&Declared| column.name.to_ascii_lowercase().starts_with("edgepress_");
    if let Some(column) = columns.iter().find(is_taken) {
        return Some(format!(
            "its column `{}` has a name that begins with edgepress_, which is taken: rename it",
            column.name
        ));
    }
    let skips = entries.iter().find(|entry| {
        let is_its = entry.kind == "trigger" && entry.table.eq_ignore_ascii_case(name);
        is_its && !is_our_trigger(&entry.name) && skips_later_triggers(&entry.sql)
    })?;
    Some(format!(
        "its trigger `{}` may end a statement with RAISE(IGNORE) after the row was written, which skips the \
         trigger that captures it: use a BEFORE trigger",
        skips.name
    ))
}

/// Whether something besides keys may refuse or alter a row of the table; in doubt it does.
fn may_refuse(entries: &[Entry], table: &str) -> bool {
    entries.iter().filter(|entry| entry.table.eq_ignore_ascii_case(table)).any(|entry| {
        let words = || names_in(&entry.sql).map(|word| word.to_ascii_lowercase());
        match entry.kind.as_str() {
            "table" => words().any(|word| word == "check"),
            "trigger" => {
                !is_our_trigger(&entry.name)
                    && !words().take_while(|word| word != "begin").any(|word| word == "after")
            }
            _ => false,
        }
    })
}

/// Whether a trigger may keep those after it from firing although the row is written.
fn skips_later_triggers(sql: &str) -> bool {
    let words: Vec<String> = names_in(sql).map(|word| word.to_ascii_lowercase()).collect();
    let ignores = words.windows(2).any(|pair| pair == ["raise", "ignore"]);
    // BEFORE is what a trigger is that does not say when.
    ignores && words.iter().take_while(|word| *word != "begin").any(|word| word == "after")
}

/// How a column is compared, and whether reading it may fail.
struct Comparison {
    affinity: Affinity,
    collation: Option<String>,
    may_fail: bool,
}

impl Comparison {
    const UNKNOWN: Self = Self { affinity: Affinity::None, collation: None, may_fail: true };
}

/// How a column is compared: asked of SQLite's compiler, since no pragma says it.
async fn comparison(
    connection: &mut SqliteConnection,
    table: &str,
    column: &str,
) -> Result<Comparison, sqlx::Error> {
    // An index may have computed the column already: that is not asked.
    let sql = format!(
        "EXPLAIN SELECT edgepress_t.{} = ?1 FROM {} AS edgepress_t NOT INDEXED",
        quoted(column),
        quoted(table)
    );
    let steps = match steps(connection, &sql).await {
        Ok(steps) => steps,
        // A collation or function that only the owner's program has.
        Err(sqlx::Error::Database(_)) => return Ok(Comparison::UNKNOWN),
        Err(error) => return Err(error),
    };
    // What a generated column is made of is compiled before the comparison itself.
    let compared =
        steps.iter().take_while(|step| step.opcode != "ResultRow").filter(|step| step.opcode == "Eq");
    let may_fail = may_fail(&steps);
    let Some(compared) = compared.last() else { return Ok(Comparison { may_fail, ..Comparison::UNKNOWN }) };
    let affinity = match u8::try_from(compared.p5 & 0x47) {
        Ok(b'B') => Affinity::Text,
        Ok(b'C') => Affinity::Numeric,
        Ok(b'D') => Affinity::Integer,
        Ok(b'E') => Affinity::Real,
        _ => Affinity::None,
    };
    // "NOCASE-8": the name, then the encoding.
    let collation = compared.p4.rsplit_once('-').map(|(name, _)| name.to_owned());
    let is_number = matches!(affinity, Affinity::Integer);
    let collation = collation.or_else(|| is_number.then(|| "BINARY".to_owned()));
    Ok(Comparison { affinity, collation, may_fail })
}

/// What must be unique, and whether the primary key has an index of its own.
async fn unique(
    connection: &mut SqliteConnection,
    entries: &[Entry],
    table: &str,
    columns: &[ColumnDetails],
) -> Result<(Vec<Unique>, bool), sqlx::Error> {
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let computed = |name: &str| {
        columns.iter().any(|column| column.is_computed && column.name.eq_ignore_ascii_case(name))
    };
    let list = "SELECT name, origin, partial FROM pragma_index_list(?) WHERE \"unique\" ORDER BY name";
    let mut all = Vec::new();
    let mut has_primary = false;
    for index in sqlx::query(list).bind(table).fetch_all(&mut *connection).await? {
        let (name, origin, partial): (String, String, bool) =
            (index.try_get(0)?, index.try_get(1)?, index.try_get(2)?);
        let is_primary = origin == "pk";
        has_primary |= is_primary;
        let sql = find(entries, "index", &name).map_or("", |entry| &entry.sql);
        let (expressions, predicate) = index_parts(sql).unwrap_or_default();
        let info = "SELECT name, coll FROM pragma_index_xinfo(?) WHERE key ORDER BY seqno";
        let mut terms = Vec::new();
        for (place, term) in
            sqlx::query(info).bind(&name).fetch_all(&mut *connection).await?.into_iter().enumerate()
        {
            let column: Option<String> = term.try_get(0)?;
            let content = column.map_or_else(
                || TermContent::Expression(expressions.get(place).copied().unwrap_or("NULL").to_owned()),
                TermContent::Column,
            );
            terms.push(Term { content, collation: term.try_get(1)? });
        }
        let predicate = predicate.filter(|_| partial).map(ToOwned::to_owned);
        let predicate_fails = match &predicate {
            Some(predicate) => fails(connection, &format!("({predicate}\n)"), &names).await,
            None => Fails::Never,
        };
        let (mut terms_fail, mut reads_computed) = (Fails::Never, false);
        for term in &terms {
            match &term.content {
                TermContent::Column(name) => reads_computed |= computed(name),
                TermContent::Expression(text) => {
                    reads_computed |= names_in(text).any(|name| computed(&name));
                    terms_fail = terms_fail.or(fails(connection, text, &names).await);
                }
            }
        }
        reads_computed |= predicate.iter().flat_map(|text| names_in(text)).any(|name| computed(&name));
        let needs_index = reads_computed || predicate_fails != Fails::Never || terms_fail != Fails::Never;
        let index = [name, sql.to_owned()];
        all.push(Unique { index, terms, predicate, predicate_fails, terms_fail, needs_index, is_primary });
    }
    Ok((all, has_primary))
}

/// One step of a compiled statement.
pub(super) struct Step {
    pub(super) opcode: String,
    pub(super) p2: i64,
    pub(super) p3: i64,
    pub(super) p4: String,
    pub(super) p5: i64,
}

/// The steps that `explain`, an EXPLAIN, gives.
pub(super) async fn steps(
    connection: &mut SqliteConnection,
    explain: &str,
) -> Result<Vec<Step>, sqlx::Error> {
    let rows = sqlx::query(AssertSqlSafe(explain)).persistent(false).fetch_all(connection).await?;
    let step = |row: SqliteRow| {
        Ok(Step {
            opcode: row.try_get("opcode")?,
            p2: row.try_get("p2")?,
            p3: row.try_get("p3")?,
            p4: row.try_get::<Option<String>, _>("p4")?.unwrap_or_default(),
            p5: row.try_get("p5")?,
        })
    };
    rows.into_iter().map(step).collect()
}

/// The foreign keys between tables of `catalog`.
pub(super) async fn references(
    connection: &mut SqliteConnection,
    catalog: &Catalog,
) -> sqlx::Result<Vec<Reference>> {
    let sql = "SELECT s.name AS own, f.id AS id, f.\"table\" AS parent, f.\"from\" AS child_column, \
               f.\"to\" AS parent_column, f.seq AS seq FROM sqlite_schema s, pragma_foreign_key_list(s.name) f \
               WHERE s.type = 'table' ORDER BY own, id, seq";
    let mut all: Vec<Reference> = Vec::new();
    let mut last = None;
    for row in sqlx::query(sql).fetch_all(connection).await? {
        let (own, parent): (String, String) = (row.try_get("own")?, row.try_get("parent")?);
        let (Some(table), Some(parent)) = (catalog.find(None, &own), catalog.find(None, &parent)) else {
            continue;
        };
        let id: i64 = row.try_get("id")?;
        if last.as_ref() != Some(&(own.clone(), id)) {
            let (table, parent) = (table.clone(), parent.clone());
            all.push(Reference { table, columns: Vec::new(), parent, parent_columns: Vec::new() });
            last = Some((own, id));
        }
        let Some(reference) = all.last_mut() else { continue };
        let seq: i64 = row.try_get("seq")?;
        // Without a column it names the key.
        let key = catalog.tables.get(&reference.parent).map(|facts| facts.key.as_slice()).unwrap_or_default();
        let named: Option<String> = row.try_get("parent_column")?;
        let named = named.or_else(|| key.get(usize::try_from(seq).ok()?).cloned());
        reference.columns.push(row.try_get("child_column")?);
        reference.parent_columns.extend(named);
    }
    all.retain(|reference| reference.columns.len() == reference.parent_columns.len());
    Ok(all)
}
