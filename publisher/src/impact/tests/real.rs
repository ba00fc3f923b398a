//! A real database whose edits are recorded by comparing it with a copy of itself, and the documents
//! that sites make of it.

use std::collections::{BTreeMap, BTreeSet};

use edgepress_site::definition::{Definition, Include};
use edgepress_site::row::{Row, Value};
use edgepress_store::database::capture::{Keys, Reads, Seen, Table};
use edgepress_store::database::{Database as _, IncludeQuery, Order, Snapshot, Sqlite};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _};

use super::super::{Facts, Impact, Touched, gather};
use super::world::table;
use crate::key::KeyColumns;

/// A table: its name, its columns with their declarations, and what else its declaration says.
pub(super) struct Declared {
    pub(super) name: &'static str,
    pub(super) columns: &'static [(&'static str, &'static str)],
    pub(super) key: &'static str,
}

/// The tables of the test database.
pub(super) const TABLES: [Declared; 6] = [
    Declared {
        name: "product",
        columns: &[
            ("id", "INTEGER"),
            ("slug", "TEXT"),
            ("name", "TEXT COLLATE NOCASE"),
            ("brand_id", "INTEGER"),
            ("parent_id", "INTEGER"),
            ("listed", "INTEGER"),
        ],
        key: ", PRIMARY KEY (id))",
    },
    Declared {
        name: "brand",
        columns: &[("id", "INTEGER"), ("code", "TEXT COLLATE NOCASE"), ("name", "TEXT"), ("country", "TEXT")],
        key: ", PRIMARY KEY (id))",
    },
    Declared {
        name: "variant",
        columns: &[
            ("sku", "TEXT"),
            ("product_id", "INTEGER"),
            ("warehouse_id", "INTEGER"),
            ("stock", "INTEGER"),
            ("brand_code", "TEXT"),
        ],
        key: ")",
    },
    Declared {
        name: "warehouse",
        columns: &[("id", "INTEGER"), ("name", "TEXT COLLATE NOCASE"), ("city", "TEXT")],
        key: ", PRIMARY KEY (id))",
    },
    Declared {
        name: "tag",
        columns: &[("product_id", "INTEGER"), ("name", "TEXT")],
        key: ", PRIMARY KEY (product_id, name)) WITHOUT ROWID",
    },
    Declared { name: "bag", columns: &[("a", ""), ("b", ""), ("c", "")], key: ")" },
];

/// Its views: name, columns, SELECT.
pub(super) const VIEWS: [(&str, &[&str], &str); 7] = [
    ("mixed", &["id", "label"], "SELECT id, name FROM product UNION ALL SELECT product_id, name FROM tag"),
    (
        "listed",
        &["id", "slug", "name", "brand_id"],
        "SELECT id, slug, name, brand_id FROM product WHERE listed = 1",
    ),
    (
        "branded",
        &["pid", "pname", "bname", "code"],
        "SELECT p.id AS pid, p.name AS pname, b.name AS bname, b.code FROM product p \
         LEFT JOIN brand b ON b.id = p.brand_id",
    ),
    (
        "orphan",
        &["id", "slug"],
        "SELECT p.id, p.slug FROM product p LEFT JOIN brand b ON b.id = p.brand_id WHERE b.id IS NULL",
    ),
    ("everything", &["id", "name"], "SELECT id, name FROM product UNION ALL SELECT id, name FROM warehouse"),
    (
        "labelled",
        &["id", "bname", "coded"],
        "SELECT l.id, x.bname, coalesce(x.code, 'none') AS coded FROM listed l JOIN branded x ON x.pid = l.id",
    ),
    ("cities", &["city", "n"], "SELECT city, count(*) AS n FROM warehouse GROUP BY city"),
];

/// Small numbers that come one after the other from a seed.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % end as u64).unwrap()
    }

    pub(super) fn of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }

    /// One time in `of`.
    pub(super) fn once(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }
}

/// Which images the queries get to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Images {
    All,
    Old,
    New,
    /// Those that the database's own capture records.
    Captured,
}

type Image = dyn Fn(&Table, &BTreeSet<String>) -> String;

/// What changed.
pub(super) struct Changed {
    whole: BTreeSet<Table>,
    tables: BTreeSet<Table>,
    image: Box<Image>,
}

/// The database.
pub(super) struct Real {
    _folder: tempfile::TempDir,
    pub(super) database: Sqlite,
    writer: SqliteConnection,
    seen: Option<Seen>,
}

fn names(declared: &Declared) -> Vec<&'static str> {
    declared.columns.iter().map(|(name, _)| *name).collect()
}

fn identity(declared: &Declared) -> &'static str {
    if declared.name == "tag" { "product_id || ':' || name" } else { "rowid" }
}

/// Whether columns of two rows have the same bytes.
fn same(columns: &[&str], one: &str, other: &str) -> String {
    let same = |column: &&str| {
        format!(
            "{one}.{column} IS ({other}.{column} COLLATE BINARY) AND typeof({one}.{column}) = typeof({other}.{column})"
        )
    };
    let all: Vec<String> = columns.iter().map(same).collect();
    if all.is_empty() { "1".to_owned() } else { all.join(" AND ") }
}

impl Real {
    pub(super) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.db");
        let mut schema = String::new();
        for declared in &TABLES {
            let columns: Vec<String> =
                declared.columns.iter().map(|(name, kind)| format!("{name} {kind}")).collect();
            let columns = columns.join(", ");
            let Declared { name, key, .. } = declared;
            schema.push_str(&format!("CREATE TABLE {name} ({columns}{key};\n"));
            schema.push_str(&format!("CREATE TABLE before_{name} (r INTEGER, {columns});\n"));
            schema.push_str(&format!("CREATE TABLE changed_{name} (r INTEGER, s, {columns});\n"));
        }
        for (name, columns, query) in &VIEWS {
            schema.push_str(&format!("CREATE VIEW {name} ({}) AS {query};\n", columns.join(", ")));
        }
        schema.push_str("CREATE INDEX product_brand ON product (brand_id);");
        let url = format!("sqlite:{}", path.display());
        let database = Sqlite::open(&url, Some(&schema)).await.unwrap();
        let mut writer = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
        let script = "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF";
        sqlx::raw_sql(script).execute(&mut writer).await.unwrap();
        Self { _folder: folder, database, writer, seen: None }
    }

    pub(super) async fn execute(&mut self, script: &str) {
        sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut self.writer).await.unwrap();
    }

    /// Runs a statement that may be refused.
    pub(super) async fn attempt(&mut self, statement: &str) {
        drop(sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut self.writer).await);
    }

    pub(super) async fn plan(&mut self, query: &str) -> Vec<String> {
        let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {query}"));
        let plan = sqlx::query(explain).fetch_all(&mut self.writer).await.unwrap();
        plan.iter().map(|row| row.get::<String, _>(3)).collect()
    }

    /// Whether all queries of a site run.
    pub(super) async fn runs(&self, site: &Definition) -> bool {
        for query in queries(site) {
            if self.database.columns(query).await.is_err() {
                return false;
            }
        }
        true
    }

    pub(super) async fn facts(&self, site: &Definition) -> Facts {
        gather(&mut *self.database.snapshot().await.unwrap(), site, &<_>::default()).await.unwrap()
    }

    /// Captures what sites read.
    pub(super) async fn capture(&self, all: impl Iterator<Item = &Reads>) {
        let mut reads = Reads::new();
        for (table, columns) in all.flatten() {
            reads.entry(table.clone()).or_default().extend(columns.iter().cloned());
        }
        self.database.capture().unwrap().install("test", &reads).await.unwrap();
    }

    /// Forgets what changed.
    pub(super) async fn begin(&mut self) {
        self.seen = self.database.snapshot().await.unwrap().seen().await.unwrap();
        let mut script = "BEGIN;".to_owned();
        for declared in &TABLES {
            let (name, columns) = (declared.name, names(declared).join(", "));
            script.push_str(&format!("DELETE FROM before_{name}; DELETE FROM changed_{name};"));
            let identity = identity(declared);
            script.push_str(&format!("INSERT INTO before_{name} SELECT {identity}, {columns} FROM {name};"));
        }
        script.push_str("COMMIT;");
        self.execute(&script).await;
    }

    /// What changed since it began.
    pub(super) async fn end(&mut self, images: Images) -> Changed {
        if images == Images::Captured {
            let mut snapshot = self.database.snapshot().await.unwrap();
            let changes = snapshot.changes(self.seen.as_ref().unwrap()).await.unwrap();
            assert_eq!(changes.everything, None);
            return Changed {
                whole: changes.whole,
                tables: changes.tables.keys().cloned().collect(),
                image: Box::new(move |table, columns| changes.tables[table].source(columns)),
            };
        }
        let image = move |table: &Table, columns: &BTreeSet<String>| image(table, columns, images);
        Changed { whole: BTreeSet::new(), tables: self.record().await, image: Box::new(image) }
    }

    /// Records what changed since it began: the tables.
    async fn record(&mut self) -> BTreeSet<Table> {
        let mut script = "BEGIN;".to_owned();
        for declared in &TABLES {
            let columns = names(declared);
            let (name, list, identity) = (declared.name, columns.join(", "), identity(declared));
            let now = format!("(SELECT {identity} AS r, {list} FROM {name})");
            let same = same(&columns, "a", "b");
            for (side, own, other) in
                [(0, format!("before_{name}"), now.clone()), (1, now, format!("before_{name}"))]
            {
                script.push_str(&format!(
                    "INSERT INTO changed_{name} SELECT r, {side}, {list} FROM {own} AS a \
                     WHERE NOT EXISTS (SELECT 1 FROM {other} AS b WHERE b.r = a.r AND {same});"
                ));
            }
        }
        script.push_str("COMMIT;");
        self.execute(&script).await;
        let mut changed = BTreeSet::new();
        for declared in &TABLES {
            let count = AssertSqlSafe(format!("SELECT count(*) FROM changed_{}", declared.name));
            let count: i64 = sqlx::query_scalar(count).fetch_one(&mut self.writer).await.unwrap();
            if count > 0 {
                changed.insert(table(declared.name));
            }
        }
        changed
    }

    /// The keys that the changes touch; nothing if that is all of them.
    pub(super) async fn touched(&mut self, impact: &Impact, changed: &Changed) -> Option<BTreeSet<String>> {
        let (doubts, keys) = match impact.touched(0, &changed.whole, &changed.tables, &changed.image) {
            Touched::Nothing => return Some(BTreeSet::new()),
            Touched::Whole(_) => return None,
            Touched::Asked { doubts, keys } => (doubts, keys),
        };
        let mut snapshot = self.database.snapshot().await.unwrap();
        for doubt in doubts {
            if !matches!(snapshot.keys(&doubt.sql, 1).await.unwrap(), Keys::All(rows) if rows.is_empty()) {
                return None;
            }
        }
        let mut touched = BTreeSet::new();
        for key in keys {
            let found = snapshot.keys(&key, usize::MAX).await;
            let Keys::All(found) = found.unwrap_or_else(|error| panic!("{error}: {key}")) else {
                panic!("there are no more than all");
            };
            touched.extend(found.iter().map(|key| key_text(key.iter())));
        }
        Some(touched)
    }

    /// The rows of a site's one collection with everything that is included, by key.
    pub(super) async fn documents(&self, site: &Definition) -> BTreeMap<String, Vec<String>> {
        let collection = &site.collections[0];
        let mut snapshot = self.database.snapshot().await.unwrap();
        let mut found = vec![Row::empty()];
        if let Some(query) = &collection.query {
            found = rows(&mut *snapshot, query, Order::Any).await;
        }
        let included = include(&mut *snapshot, &collection.includes, &found).await;
        let keys = KeyColumns::of(collection).columns;
        let mut documents: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (row, included) in found.iter().zip(included) {
            let key = key_text(keys.iter().map(|key| row.get(key).unwrap()));
            documents.entry(key).or_default().push(format!("{:?} {included}", row.values));
        }
        documents.values_mut().for_each(|rows| rows.sort());
        documents
    }
}

/// A key as it is compared; that of a collection without key columns is the same whatever the row.
fn key_text<'a>(values: impl Iterator<Item = &'a Value>) -> String {
    format!("{:?}", values.collect::<Vec<_>>())
}

/// The texts of a site's queries.
fn queries(site: &Definition) -> Vec<&str> {
    let mut queries: Vec<&str> = Vec::new();
    let mut includes: Vec<&Include> = Vec::new();
    for collection in &site.collections {
        queries.extend(collection.query.as_deref());
        includes.extend(&collection.includes);
    }
    while let Some(include) = includes.pop() {
        queries.push(&include.query);
        includes.extend(&include.includes);
    }
    queries
}

fn image(table: &Table, columns: &BTreeSet<String>, images: Images) -> String {
    let list: Vec<String> = columns
        .iter()
        .map(|name| if name == "rowid" { "c.r AS rowid".to_owned() } else { format!("c.{name}") })
        .collect();
    let list = if list.is_empty() { "1".to_owned() } else { list.join(", ") };
    let compared: Vec<&str> = columns.iter().map(|name| &**name).filter(|name| *name != "rowid").collect();
    let side = match images {
        Images::All | Images::Captured => "",
        Images::Old => " AND c.s = 0",
        Images::New => " AND c.s = 1",
    };
    format!(
        "SELECT {list} FROM changed_{table} AS c WHERE NOT EXISTS (SELECT 1 FROM changed_{table} AS o \
         WHERE o.r = c.r AND o.s <> c.s AND {}){side}",
        same(&compared, "c", "o")
    )
}

async fn rows(snapshot: &mut dyn Snapshot, query: &str, order: Order<'_>) -> Vec<Row> {
    let failed = |error: &dyn std::fmt::Display| -> ! { panic!("{error}: {query}") };
    let mut all = Vec::new();
    let mut found = match snapshot.rows(query, order).await {
        Ok(found) => found,
        Err(error) => failed(&error),
    };
    while let Some(batch) = found.batches.next().await {
        all.extend(batch.unwrap_or_else(|error| failed(&error)));
    }
    all
}

/// What is included in each of `around`, as text.
fn include<'a>(
    snapshot: &'a mut dyn Snapshot,
    includes: &'a [Include],
    around: &'a [Row],
) -> BoxFuture<'a, Vec<String>> {
    Box::pin(async move {
        let mut texts = vec![String::new(); around.len()];
        for include in includes {
            let lists: Vec<Vec<Row>> = if include.on.is_empty() {
                let order = include.order_by.as_deref().map_or(Order::Columns, Order::By);
                let mut all = rows(snapshot, &include.query, order).await;
                all.truncate(include.limit.map_or(usize::MAX, |limit| limit as usize));
                vec![all; around.len()]
            } else {
                let (on, parents): (Vec<&str>, Vec<&str>) =
                    include.on.iter().map(|(own, parent)| (own.as_str(), parent.as_str())).unzip();
                let key = |row: &Row| parents.iter().map(|name| row.get(name).unwrap().clone()).collect();
                let keys: Vec<Vec<Value>> = around.iter().map(key).collect();
                let query = IncludeQuery {
                    query: &include.query,
                    on: &on,
                    order_by: include.order_by.as_deref(),
                    limit: include.limit,
                };
                snapshot.included(query, &keys).await.unwrap()
            };
            for (text, list) in texts.iter_mut().zip(lists) {
                let nested = self::include(snapshot, &include.includes, &list).await;
                let values: Vec<String> = list
                    .iter()
                    .zip(nested)
                    .map(|(row, nested)| format!("{:?} {nested}", row.values))
                    .collect();
                text.push_str(&format!("{}: {values:?}; ", include.name));
            }
        }
        texts
    })
}
