//! Whatever is done to a table: its old state and the images explain its new state.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;

use super::*;

/// Tables `t` with columns id, a, b and c; `u` is not captured. In the last, `t` has no column `id`.
const TABLES: [(&str, &[&str]); 11] = [
    ("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT COLLATE NOCASE UNIQUE, b, c REAL, u);", &["id", "a", "b", "c"]),
    ("CREATE TABLE t (id INT, a TEXT COLLATE RTRIM, b UNIQUE, c NUMERIC, u, PRIMARY KEY (a, id)) WITHOUT ROWID;", &["id", "a", "b", "c"]),
    ("CREATE TABLE t (id INT, a, b, c, u); CREATE UNIQUE INDEX i ON t (a, b) WHERE c IS NOT NULL;", &["id", "a", "b", "c", "rowid"]),
    (
        "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, a TEXT NOT NULL DEFAULT 'd', b, c, u,
            g AS (b || c), s AS (a || 'x') STORED UNIQUE); CREATE UNIQUE INDEX i ON t (lower(b), c);",
        &["id", "a", "b", "c", "g", "s"],
    ),
    (
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b REFERENCES t (id) ON DELETE CASCADE ON UPDATE CASCADE, c UNIQUE, u);",
        &["id", "a", "b", "c"],
    ),
    (
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a UNIQUE, b CHECK (b <> 2), c, u);
         CREATE TRIGGER mine AFTER INSERT ON t BEGIN UPDATE t SET c = NEW.a WHERE id = NEW.id; END;
         CREATE TRIGGER also BEFORE UPDATE OF b ON t BEGIN DELETE FROM t WHERE a = NEW.b AND id <> OLD.id; END;",
        &["id", "a", "b", "c"],
    ),
    (
        "CREATE TABLE base (id INTEGER PRIMARY KEY, a UNIQUE, b, c, u); CREATE VIEW t AS SELECT * FROM base;
         CREATE TRIGGER i INSTEAD OF INSERT ON t BEGIN REPLACE INTO base VALUES (NEW.id, NEW.a, NEW.b, NEW.c, 0); END;
         CREATE TRIGGER u INSTEAD OF UPDATE ON t BEGIN UPDATE OR REPLACE base SET a = NEW.a, b = NEW.b WHERE id = OLD.id; END;
         CREATE TRIGGER d INSTEAD OF DELETE ON t BEGIN DELETE FROM base WHERE id = OLD.id; END;",
        &["id", "a", "b", "c"],
    ),
    (
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b NOT NULL, c, u); CREATE UNIQUE INDEX i ON t (abs(a), b -> '$') WHERE c > 0;
         CREATE UNIQUE INDEX j ON t (json_extract(c, '$.x'), b) WHERE json_valid(c);",
        &["id", "a", "b", "c"],
    ),
    (
        "CREATE TABLE t (id INT, a, b TEXT NOT NULL, c, u, PRIMARY KEY (b, id)) WITHOUT ROWID;
         CREATE UNIQUE INDEX i ON t (abs(a) DESC);",
        &["id", "a", "b", "c"],
    ),
    (
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b, c, u, v AS (json_extract(a, '$[0]')), w AS (b || 'x') UNIQUE);
         CREATE UNIQUE INDEX i ON t (v, c) WHERE json_valid(a) AND u > 0;",
        &["id", "a", "b", "c", "w"],
    ),
    ("CREATE TABLE t (rowid, a UNIQUE, oid INT UNIQUE, c, id, b, u);", &["rowid", "a", "oid", "c", "id", "b"]),
];

fn value() -> impl Strategy<Value = &'static str> {
    select(vec![
        "NULL",
        "0",
        "1",
        "2",
        "3",
        "-1",
        "1.0",
        "2.5",
        "'a'",
        "'A'",
        "'a '",
        "'b'",
        "''",
        "x''",
        "x'61'",
        "'1'",
        "'[1]'",
        "'{\"x\":1}'",
        "-9223372036854775808",
    ])
}

fn column() -> impl Strategy<Value = &'static str> {
    select(vec!["id", "a", "b", "c", "a", "b", "u", "rowid"])
}

fn condition() -> impl Strategy<Value = String> {
    let compared = (column(), select(vec!["=", "<>", ">", "IS"]), value());
    prop_oneof![
        Just(String::new()),
        compared.prop_map(|(column, how, value)| format!(" WHERE {column} {how} {value}"))
    ]
}

fn conflict() -> impl Strategy<Value = &'static str> {
    select(vec!["", "OR REPLACE", "OR REPLACE", "OR IGNORE", "OR ABORT", "OR FAIL", "OR ROLLBACK"])
}

fn statement() -> impl Strategy<Value = String> {
    let row = prop::array::uniform5(value()).prop_map(|row| format!("({})", row.join(", ")));
    let rows = prop::collection::vec(row, 1..4).prop_map(|rows| rows.join(", "));
    let upsert = select(vec![
        "",
        "",
        "ON CONFLICT DO NOTHING",
        "ON CONFLICT (id) DO UPDATE SET a = excluded.a, b = b || 1",
        "ON CONFLICT (a) DO UPDATE SET id = id + 1, c = excluded.c",
    ]);
    let set = (column(), value(), column(), value());
    prop_oneof![
        3 => (conflict(), rows, upsert).prop_map(|(or, rows, upsert)| format!("INSERT {or} INTO t (id, a, b, c, u) VALUES {rows} {upsert}")),
        1 => (conflict(), value(), value()).prop_map(|(or, id, a)| format!("INSERT {or} INTO t (rowid, a) VALUES ({id}, {a})")),
        1 => (conflict(), condition()).prop_map(|(or, only)| format!("INSERT {or} INTO t (id, a, b, c) SELECT b, c, id, a FROM t{only}")),
        3 => (conflict(), set, condition()).prop_map(|(or, (one, v, other, w), only)| {
            let also = if one == other { String::new() } else { format!(", {other} = {w}") };
            format!("UPDATE {or} t SET {one} = {v}{also}{only}")
        }),
        1 => (conflict(), condition()).prop_map(|(or, only)| format!("UPDATE {or} t SET id = id + 1, a = b, b = a{only}")),
        1 => condition().prop_map(|only| format!("UPDATE t SET u = u + 1, a = a{only}")),
        1 => condition().prop_map(|only| format!("DELETE FROM t{only}")),
    ]
}

/// One or more statements, of which some may be undone.
fn script() -> impl Strategy<Value = String> {
    let several = || prop::collection::vec(statement(), 1..4).prop_map(|all| all.join("; "));
    prop_oneof![
        6 => statement(),
        1 => several().prop_map(|all| format!("BEGIN; {all}; COMMIT")),
        1 => several().prop_map(|all| format!("BEGIN; {all}; ROLLBACK")),
        1 => (several(), several()).prop_map(|(kept, undone)| format!("BEGIN; {kept}; SAVEPOINT s; {undone}; ROLLBACK TO s; COMMIT")),
    ]
}

type Rows = BTreeMap<String, i64>;

/// How often each row is there, told apart by bytes and types.
async fn rows(connection: &mut SqliteConnection, columns: &[&str], from: &str) -> Rows {
    let of = |column: &&str| {
        let column = quoted(column);
        format!("typeof({column}) || ':' || coalesce(hex({column}), '')")
    };
    let row = columns.iter().map(of).collect::<Vec<_>>().join(" || ' ' || ");
    let sql = format!("SELECT {row}, count(*) FROM ({from}) GROUP BY 1");
    let rows: Vec<(String, i64)> =
        sqlx::query_as(AssertSqlSafe(sql)).persistent(false).fetch_all(connection).await.unwrap();
    rows.into_iter().collect()
}

/// What of `before` is not, or not so often, in `after`.
fn missing<'a>(before: &'a Rows, after: &'a Rows) -> impl Iterator<Item = &'a String> {
    before.iter().filter(|(row, count)| after.get(*row).unwrap_or(&0) < count).map(|(row, _)| row)
}

struct Run {
    owned: Owned,
    table: &'static str,
    columns: &'static [&'static str],
    connection: SqliteConnection,
    /// The same without capture.
    plain: SqliteConnection,
    is_partial: bool,
    has_doubts: bool,
    /// Keys to itself are checked more often once there is any trigger.
    is_itself: bool,
    _plain: Owned,
}

impl Run {
    async fn new(schema: &str, columns: &'static [&'static str], recursive: bool) -> Self {
        let table = if schema.contains("TABLE base") { "base" } else { "t" };
        let (owned, _plain) = (Owned::captured(schema, &[(table, columns)]).await, Owned::new(schema).await);
        let connect = async |owned: &Owned| {
            let options = SqliteConnectOptions::new().filename(&owned.path);
            let recursive = if recursive { "ON" } else { "OFF" };
            options.foreign_keys(true).pragma("recursive_triggers", recursive).connect().await.unwrap()
        };
        let (connection, plain) = (connect(&owned).await, connect(&_plain).await);
        let (is_partial, has_doubts) = (
            schema.contains("WHERE"),
            schema.contains("DEFAULT") || schema.contains("abs(") || schema.contains("json"),
        );
        let is_itself = schema.contains("REFERENCES t");
        Self { owned, table, columns, connection, plain, is_partial, has_doubts, is_itself, _plain }
    }

    fn table(&self, columns: &[&str]) -> String {
        let list: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
        format!("SELECT {} FROM {}", list.join(", "), self.table)
    }

    async fn state(&mut self, columns: &[&str]) -> Rows {
        let from = self.table(columns);
        rows(&mut self.connection, columns, &from).await
    }

    /// What SQLite complained of.
    async fn run(connection: &mut SqliteConnection, script: &str) -> Option<String> {
        let said = sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut *connection).await;
        sqlx::raw_sql("ROLLBACK").execute(connection).await.ok();
        said.err().map(|error| error.to_string())
    }

    async fn step(&mut self, script: &str) {
        let columns = self.columns;
        let (before, seen) = (self.state(columns).await, self.owned.seen().await);
        let some: Vec<&str> = columns.iter().copied().skip(script.len() % columns.len()).step_by(2).collect();
        let some_before = self.state(&some).await;
        // Many fail, some halfway through: what they did until then counts.
        let said = Self::run(&mut self.connection, script).await;
        if !self.is_itself {
            assert_eq!(said, Self::run(&mut self.plain, script).await, "{script}");
            let from = self.table(columns);
            let plain = rows(&mut self.plain, columns, &from).await;
            assert_eq!(self.state(columns).await, plain, "{script}");
        }
        let (after, some_after) = (self.state(columns).await, self.state(&some).await);

        let changes = self.owned.changes(&seen).await;
        assert!(changes.everything.is_none(), "{changes:?}");
        if !changes.whole.is_empty() {
            assert!(self.has_doubts, "only where another key may be stored than is seen: {script}");
            return;
        }
        let last = Moment::of(&seen.0).last;
        let images = |kind| {
            let from = quoted(&change_table(self.table));
            format!(
                "SELECT * FROM {from} WHERE edgepress_id > {} AND edgepress_id % 2 = {kind}",
                2 * last + 1
            )
        };
        let old = rows(&mut self.connection, columns, &images(0)).await;
        let new = rows(&mut self.connection, columns, &images(1)).await;
        for row in missing(&before, &after) {
            assert!(old.contains_key(row), "{script}\nwent without an image: {row}\nold images: {old:?}");
        }
        for row in missing(&after, &before) {
            assert!(new.contains_key(row), "{script}\ncame without an image: {row}\nnew images: {new:?}");
        }
        for row in old.keys() {
            let is_known = before.contains_key(row) || new.contains_key(row);
            assert!(is_known, "{script}\nwas never a row: {row}");
        }
        // Except where a partial index may have removed a row: its condition is asked of that row only.
        if script.starts_with("UPDATE t SET u") && self.table == "t" && !self.is_partial {
            assert!(changes.is_empty(), "{script}\nchanged nothing that is captured: {changes:?}");
        }
        let wanted = some.iter().map(|&column| column.to_owned()).collect();
        if let Some(images) = changes.tables.get(&table(self.table)) {
            let given = rows(&mut self.connection, &some, &images.source(&wanted)).await;
            let gone = missing(&some_before, &some_after).chain(missing(&some_after, &some_before));
            for row in gone {
                assert!(given.contains_key(row), "{script}\nno image of {some:?}: {row}\nimages: {given:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn images_explain_every_change(
        design in select(TABLES.to_vec()),
        recursive in any::<bool>(),
        scripts in prop::collection::vec(script(), 1..30),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut run = Run::new(design.0, design.1, recursive).await;
            for script in &scripts {
                run.step(script).await;
            }
        });
    }
}
