mod types;

use async_trait::async_trait;
use sqlx::Connection as _;
use tokio::sync::Mutex;

use super::*;
use crate::database::conformance::{self, Writer, include, read, text};
use crate::database::servers;

/// Somebody else, on a connection of their own.
pub(super) struct Other(Mutex<PgConnection>);

#[async_trait]
impl Writer for Other {
    async fn execute(&self, script: &str) {
        self.0.lock().await.execute(sqlx::raw_sql(AssertSqlSafe(script))).await.unwrap();
    }
}

impl Other {
    pub(super) async fn open(url: &str) -> Self {
        Self(Mutex::new(PgConnection::connect(url).await.unwrap()))
    }

    /// Runs statements that may fail.
    pub(super) async fn attempt(&self, script: &str) -> sqlx::Result<()> {
        self.0.lock().await.execute(sqlx::raw_sql(AssertSqlSafe(script))).await.map(drop)
    }
}

/// A new database made by `schema`.
pub(super) async fn database(schema: &str) -> (String, Postgres, Other) {
    let url = servers::postgres().await.database().await;
    let other = Other::open(&url).await;
    other.execute(schema).await;
    (url.clone(), Postgres::open(&url).await.unwrap(), other)
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_is_a_database() {
    let (_, database, other) = database("").await;
    conformance::all(&database, &other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_captures_edits() {
    let (_, database, other) = database("").await;
    conformance::capture::all(&database, &other).await;
}

async fn one(snapshot: &mut dyn Snapshot, query: &str) -> Value {
    let mut rows = read(snapshot, query, None).await.unwrap();
    rows.swap_remove(0).swap_remove(0)
}

async fn values(database: &Postgres, query: &str) -> Vec<Vec<Value>> {
    read(&mut *database.snapshot().await.unwrap(), query, None).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_query_leaves_the_snapshot_as_it_was() {
    let (_, database, other) =
        database("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (0)").await;
    let mut snapshot = database.snapshot().await.unwrap();
    other.execute("INSERT INTO t VALUES (2)").await;
    for query in ["SELECT nothing FROM t", "SELECT 1 / id AS x FROM t", "SELECT pg_sleep(-1) FROM t, nowhere"]
    {
        assert!(read(&mut *snapshot, query, None).await.is_err(), "{query}");
        let count = one(&mut *snapshot, "SELECT count(*) AS n FROM t").await;
        assert_eq!(count, Value::Int(2), "{query}");
    }
    assert!(snapshot.keys("SELECT 1 / id FROM t", 9).await.is_err());
    let keys = snapshot.keys("SELECT id, id FROM t WHERE id = 1", 9).await.unwrap();
    assert_eq!(keys, Keys::All(vec![vec![Value::Int(1), Value::Int(1)]]));
    // A query that nobody waits for any more.
    let slow = read(&mut *snapshot, "SELECT id FROM t, pg_sleep(0.3)", None);
    assert!(tokio::time::timeout(Duration::from_millis(50), slow).await.is_err());
    assert_eq!(one(&mut *snapshot, "SELECT count(*) AS n FROM t").await, Value::Int(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_say_where() {
    let (_, database, _other) = database("CREATE TABLE t (id int)").await;
    for (query, expected) in [
        ("SELECT id\n  FROM nowhere", "relation \"nowhere\" does not exist (at line 2, near `nowhere`)"),
        (
            "SELECT 'ä', idd FROM t",
            "column \"idd\" does not exist: Perhaps you meant to reference the column \"t.id\" (at line 1, near `idd`)",
        ),
        ("SELECT id FROM t WHERE id = $1", "the query has parameters ($1, $2): write their values"),
        ("SELECT id FROM t GROUP BY (", "an opening parenthesis has no closing one"),
        (
            "SELECT id AS edgepress_id FROM t",
            "names beginning with edgepress_ are taken: give `edgepress_id` an alias with AS",
        ),
        ("SELECT FROM t", "the query has no columns: select one"),
    ] {
        let error = database.columns(query).await.unwrap_err().to_string();
        assert_eq!(error, expected, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_message_says_the_password() {
    let url = servers::postgres().await.database().await;
    let secret = url.replace("edgepress@", "nobody:s3cret@");
    let bad_port = secret.replace("127.0.0.1:", "127.0.0.1:x");
    let refused = secret.replace(":s3cret@", ":?sslmode=s3cret@");
    for url in [
        &*secret,
        &bad_port,
        &refused,
        "postgres://me:s3cret@127.0.0.1:1/shop",
        "mysql://me:s3cret@host/shop",
    ] {
        let error = Postgres::open(url).await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
        assert!(error.to_string().contains("***@"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_mean_what_they_mean_to_postgres() {
    let (_, database, _other) = database(
        "CREATE SCHEMA shop; CREATE SCHEMA \"Other\";
         CREATE TABLE public.item (id int); CREATE TABLE shop.item (id int, \"select\" text, \"Mixed\" int);
         INSERT INTO shop.item VALUES (1, 'a', 2); CREATE TABLE \"Other\".\"Item\" (\"a\"\"b\" int);
         CREATE TABLE shop.\"ITEM\" (id int);
         DO $$ BEGIN
             EXECUTE format('ALTER DATABASE %I SET search_path = nowhere, shop, public', current_database());
         END $$",
    )
    .await;
    let catalog = database.snapshot().await.unwrap().catalog().await.unwrap();
    let find = |schema: Option<&str>, name: &str| {
        catalog.find(schema, name).map(|table| format!("{}.{}", table.schema, table.name))
    };
    for (schema, name, expected) in [
        (None, "item", Some("shop.item")),
        (None, "ITEM", Some("shop.ITEM")),
        (Some("public"), "item", Some("public.item")),
        (Some("PUBLIC"), "Item", Some("public.item")),
        (Some("Other"), "Item", Some("Other.Item")),
        (Some("other"), "item", Some("Other.Item")),
        (None, "nothing", None),
    ] {
        assert_eq!(find(schema, name).as_deref(), expected, "{schema:?} {name}");
    }
    let query = "SELECT \"select\", \"Mixed\", id FROM item";
    assert_eq!(values(&database, query).await, [[text("a"), Value::Int(2), Value::Int(1)]]);
    let mut snapshot = database.snapshot().await.unwrap();
    let ordered = read(&mut *snapshot, query, Some("\"Mixed\" DESC, \"select\"")).await.unwrap();
    assert_eq!(ordered.len(), 1);
    let lists =
        snapshot.included(include(query, &["Mixed", "select"]), &[vec![Value::Int(2), text("a")]]).await;
    assert_eq!(lists.unwrap()[0].len(), 1);
    let tables = snapshot.tables("SELECT i.id FROM item i, \"Other\".\"Item\"").await.unwrap();
    assert_eq!(tables.iter().map(|table| &*table.schema).collect::<Vec<_>>(), ["Other", "shop"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_compared_by_the_columns_own_type() {
    let (_, database, _other) = database(
        "CREATE EXTENSION citext; CREATE TYPE mood AS ENUM ('sad', 'ok');
         CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         CREATE TABLE k (s int2, i int, l bigint, n numeric(9,2), d date, z timestamptz, c citext, u uuid,
             b bytea, f float4, m mood, v varchar(9), p char(5), x text COLLATE blind, o bool);
         INSERT INTO k VALUES (7, 7, 7, 1.50, '2024-02-29', '2024-02-29 12:00+00', 'Ant',
             'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '\\x00ff', 0.1, 'ok', 'v', 'p', 'Text', true)",
    )
    .await;
    let mut snapshot = database.snapshot().await.unwrap();
    for (column, key, is_found) in [
        ("s", Value::Int(7), true),
        ("s", Value::Int(1 << 40), false),
        ("i", text("7"), true),
        ("i", text("7.00"), true),
        ("i", text("7.50"), false),
        ("i", Value::Float(7.0), true),
        ("l", Value::Int(i64::MAX), false),
        ("n", text("1.5"), true),
        ("n", Value::Float(1.5), true),
        ("d", text("2024-02-29"), true),
        ("z", text("2024-02-29T13:00:00+01:00"), true),
        ("c", text("aNT"), true),
        ("u", text("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"), true),
        ("b", Value::Bytes([0, 255].as_slice().into()), true),
        ("f", Value::Float(0.1), true),
        ("m", text("ok"), true),
        ("v", text("v"), true),
        ("v", text("v "), false),
        ("p", text("p"), true),
        ("x", text("tEXT"), true),
        ("o", Value::Bool(true), true),
    ] {
        let on = [column];
        for limit in [None, Some(1)] {
            let include = IncludeQuery { limit, ..include("SELECT * FROM k", &on) };
            let lists = snapshot.included(include, &[vec![key.clone()]]).await.unwrap();
            assert_eq!(lists[0].len(), usize::from(is_found), "{column} {key:?}");
        }
    }
    for (column, key) in [("i", text("seven")), ("m", text("angry")), ("u", text("u"))] {
        let on = [column];
        let error = snapshot.included(include("SELECT * FROM k", &on), &[vec![key]]).await.unwrap_err();
        let expected =
            format!("the parents' keys must be values that the column `{column}` of the include can have");
        assert!(error.to_string().contains(&expected), "{error}");
    }
    assert_eq!(one(&mut *snapshot, "SELECT count(*) AS n FROM k").await, Value::Int(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn few_parents_cost_an_index_scan_and_many_no_nested_loop() {
    let (_, _database, other) = database(
        "CREATE TABLE part (id int PRIMARY KEY, owner int, name text);
         INSERT INTO part SELECT n, n % 20000, 'name ' || n FROM generate_series(1, 100000) n;
         CREATE INDEX ON part (owner); ANALYZE part",
    )
    .await;
    let int = Type { form: Form::Int, key: "int8".to_owned(), is_ordered: true };
    let types = vec![int.clone(), int.clone()];
    let described = Described { columns: ["id".into(), "owner".into()].into_iter().collect(), types };
    for (query, limit) in [
        ("SELECT id, owner FROM part", None),
        ("SELECT id, owner FROM part", Some(3)),
        ("SELECT count(*) AS id, owner FROM part GROUP BY owner", None),
    ] {
        let key = [int.clone()];
        let include =
            Include { query, described: &described, on: &["owner"], key: &key, order_by: None, limit };
        for parents in [1, 500] {
            let explain = format!("EXPLAIN (COSTS OFF) {}", wrap::included(&include));
            let keys: Vec<String> = (0..parents).map(|number| number.to_string()).collect();
            let lines: Vec<String> = sqlx::query_scalar(AssertSqlSafe(explain))
                .bind(keys)
                .fetch_all(&mut *other.0.lock().await)
                .await
                .unwrap();
            let plan = lines.join("\n");
            assert!(
                plan.contains("part_owner_idx") && !plan.contains("Seq Scan on part"),
                "{parents}: {plan}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn altered_tables_are_read_as_they_are_now() {
    let (_, database, other) = database("CREATE TABLE t (id int, v int); INSERT INTO t VALUES (1, 2)").await;
    for (alter, columns) in [
        ("SELECT 1", vec!["id", "v"]),
        ("ALTER TABLE t ADD w text DEFAULT 'x'", vec!["id", "v", "w"]),
        ("ALTER TABLE t ALTER v TYPE text", vec!["id", "v", "w"]),
        ("ALTER TABLE t DROP v", vec!["id", "w"]),
    ] {
        other.execute(alter).await;
        for _ in 0..3 {
            let found = database.columns("SELECT * FROM t").await.unwrap();
            assert!(found.iter().map(|name| &**name).eq(columns.iter().copied()), "{alter}");
            assert_eq!(values(&database, "SELECT * FROM t").await[0].len(), columns.len(), "{alter}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_of_a_schema_goes_with_every_change_of_it() {
    let (url, database, other) = database(
        "CREATE SCHEMA one; CREATE TYPE mood AS ENUM ('glad', 'sad'); CREATE DOMAIN price AS int;
         CREATE TABLE t (id int NOT NULL, v text, m mood, p price, l mood[]); CREATE TABLE one.u (id int, v text);
         CREATE TABLE parted (id int, v text) PARTITION BY RANGE (id); CREATE TABLE part (id int, v text);
         CREATE VIEW w AS SELECT id, v FROM t; INSERT INTO t VALUES (1, 'a', 'glad', 2, '{sad}');
         CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    )
    .await;
    let read = async |database: &Postgres| {
        let mut snapshot = database.snapshot().await.unwrap();
        let catalog = snapshot.catalog().await.unwrap();
        let mut types = Vec::new();
        for query in ["SELECT * FROM t", "SELECT * FROM w", "SELECT f() AS f"] {
            types.push(values(database, query).await);
        }
        (catalog, format!("{types:?}"))
    };
    let mut before = read(&database).await;
    for alter in [
        "ALTER TABLE t ADD n int",
        "ALTER TABLE t ALTER n TYPE bigint",
        "ALTER TABLE t RENAME n TO m2",
        "ALTER TABLE t DROP m2",
        "ALTER TABLE one.u ALTER v TYPE text COLLATE \"C\"",
        "ALTER TABLE t ADD g int GENERATED ALWAYS AS (id + 1) STORED",
        "ALTER TABLE t ADD PRIMARY KEY (id)",
        "ALTER TABLE t DROP CONSTRAINT t_pkey",
        "CREATE UNIQUE INDEX t_v ON t (v)",
        "DROP INDEX t_v",
        "CREATE UNIQUE INDEX t_v ON t (v) WHERE id > 0; CREATE UNIQUE INDEX t_i ON t (id)",
        "TRUNCATE t; INSERT INTO t VALUES (1, 'a', 'glad', 2, '{sad}')",
        "ALTER TABLE t SET UNLOGGED",
        "ALTER TABLE t SET LOGGED",
        "ALTER TYPE mood ADD VALUE 'so' BEFORE 'sad'",
        "ALTER TYPE mood RENAME VALUE 'so' TO 'so so'",
        "CREATE OR REPLACE VIEW w AS SELECT id, v FROM t WHERE id > 0",
        "ALTER VIEW w RENAME v TO v2",
        "ALTER TABLE one.u RENAME TO u2",
        "ALTER TABLE one.u2 SET SCHEMA public",
        "CREATE TABLE one.y (id int); ALTER SCHEMA one RENAME TO two",
        "CREATE TABLE two.x (id int)",
        "DROP TABLE two.x",
        "ALTER TABLE parted ATTACH PARTITION part FOR VALUES FROM (1) TO (9)",
        "ALTER TABLE parted DETACH PARTITION part",
        "CREATE TABLE child () INHERITS (t)",
        "ALTER TABLE child NO INHERIT t",
        "DROP FUNCTION f; CREATE FUNCTION f() RETURNS bool LANGUAGE sql AS 'SELECT true'",
        "CREATE FUNCTION f2() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ALTER FUNCTION f2 RENAME TO f3",
        "ALTER FUNCTION f3 SET SCHEMA two; CREATE SCHEMA three; ALTER FUNCTION two.f3 RENAME TO f4",
        "CREATE MATERIALIZED VIEW mv AS SELECT * FROM t",
        "BEGIN; ALTER TABLE t ADD a int; ALTER TABLE t DROP a; ALTER TABLE t ADD b int; COMMIT",
    ] {
        other.execute(alter).await;
        let now = read(&database).await;
        let fresh = read(&Postgres::open(&url).await.unwrap()).await;
        assert_eq!(now, fresh, "{alter}");
        assert_ne!(now, before, "{alter}");
        before = now;
    }
    // The first one notes that tables have no children any more.
    other.execute("VACUUM ANALYZE").await;
    before = read(&database).await;
    // What does not concern it is no reason to read it again.
    for other_than_that in
        ["INSERT INTO t (id) VALUES (7); CREATE TEMP TABLE n (id int); DROP TABLE n", "VACUUM ANALYZE"]
    {
        other.execute(other_than_that).await;
    }
    assert!(Arc::ptr_eq(&read(&database).await.0, &before.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn large_rows_come_in_small_batches() {
    let (_, database, _other) = database(
        "CREATE TABLE t (id int, v text);
         INSERT INTO t SELECT n, repeat('x', 100000) FROM generate_series(1, 400) n",
    )
    .await;
    let mut snapshot = database.snapshot().await.unwrap();
    let mut rows = snapshot.rows("SELECT * FROM t", Order::Columns).await.unwrap();
    let mut count = 0;
    while let Some(batch) = rows.batches.next().await {
        let batch = batch.unwrap();
        assert!(batch.len() <= 64, "{}", batch.len());
        for row in batch {
            count += 1;
            assert_eq!(row.values[0], Value::Int(count));
        }
    }
    assert_eq!(count, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalog_says_what_cannot_be_captured_and_which_columns_are_bytewise() {
    let (_, database, other) = database(
        "CREATE EXTENSION citext; CREATE EXTENSION file_fdw;
         CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         CREATE DOMAIN code AS text;
         CREATE TABLE plain (i int, t text, c code, n numeric, f float8, x citext, b text COLLATE blind,
             j jsonb, p char(3), u uuid, d date, PRIMARY KEY (u, i));
         CREATE MATERIALIZED VIEW stale AS SELECT i FROM plain; CREATE UNLOGGED TABLE light (id int);
         CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
         CREATE FOREIGN TABLE abroad (id int) SERVER files OPTIONS (program 'true');
         CREATE TABLE named (edgepress_id int); CREATE VIEW seen AS SELECT i, t FROM plain;
         CREATE TEMPORARY TABLE mine (id int)",
    )
    .await;
    let catalog = async || database.snapshot().await.unwrap().catalog().await.unwrap();
    let before = catalog().await;
    let facts =
        |catalog: &Arc<Catalog>, name: &str| catalog.tables[catalog.find(None, name).unwrap()].clone();
    let plain = facts(&before, "plain");
    let bytewise: Vec<&str> =
        plain.columns.iter().filter(|column| column.is_bytewise).map(|column| &*column.name).collect();
    assert_eq!(bytewise, ["i", "t", "c", "u", "d"]);
    assert_eq!(plain.key, ["u", "i"]);
    assert_eq!(plain.uncapturable, None);
    for (name, reason) in [
        ("stale", "materialized view"),
        ("light", "unlogged"),
        ("abroad", "foreign table"),
        ("named", "rename it"),
    ] {
        let why = facts(&before, name).uncapturable.unwrap();
        assert!(why.contains(reason), "{why}");
    }
    assert_eq!(before.find(None, "mine"), None);
    let print = |name: &str, facts: &crate::database::capture::Facts| {
        facts.columns.iter().find(|column| column.name == name).map(|column| column.fingerprint.clone())
    };
    let mut last = plain;
    for (alter, is_rewritten, name, changes) in [
        ("ALTER TABLE plain ADD z int", false, "i", false),
        ("CREATE UNIQUE INDEX unread ON plain (z)", false, "z", false),
        ("ALTER TABLE plain ALTER z TYPE bigint", true, "z", true),
        ("TRUNCATE plain", true, "i", false),
        // It may have had another name in the meantime.
        ("ALTER TABLE plain ALTER t SET DEFAULT 'x'", false, "t", true),
        ("ALTER TABLE plain RENAME t TO s", false, "i", false),
        ("ALTER TABLE plain RENAME s TO t", false, "i", false),
        ("ALTER TABLE plain RENAME z TO y", false, "t", false),
        // Another column under the name of one that is gone.
        ("ALTER TABLE plain DROP y, ADD y bigint", false, "y", true),
        ("ALTER TABLE plain DROP y", false, "i", false),
    ] {
        other.execute(alter).await;
        let now = facts(&catalog().await, "plain");
        assert_eq!(now.fingerprint != last.fingerprint, is_rewritten, "{alter}");
        assert_eq!(print(name, &now) != print(name, &last), changes, "{alter}");
        last = now;
    }
    other.execute("INSERT INTO plain (i, u) VALUES (1, gen_random_uuid()); ANALYZE plain").await;
    assert_eq!(facts(&catalog().await, "plain"), last);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_nobody_waits_for_is_cancelled() {
    let (_, database, other) = database("").await;
    let running = async || -> i64 {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' \
                   AND query LIKE 'FETCH%' AND pid <> pg_backend_pid()";
        sqlx::query_scalar(sql).fetch_one(&mut *other.0.lock().await).await.unwrap()
    };
    let mut snapshot = database.snapshot().await.unwrap();
    let slow = read(&mut *snapshot, "SELECT pg_sleep(60)::text AS x", None);
    assert!(tokio::time::timeout(Duration::from_millis(300), slow).await.is_err());
    assert_eq!(running().await, 1);
    drop(snapshot);
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if running().await == 0 {
            // Its connection serves others again, or was closed.
            for _ in 0..10 {
                assert_eq!(values(&database, "SELECT 1 AS x").await, [[Value::Int(1)]]);
            }
            return;
        }
    }
    panic!("it still runs");
}
