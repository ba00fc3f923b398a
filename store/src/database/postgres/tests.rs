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

/// The value as JSON, or `!` and why there is none.
fn json(value: &Value) -> String {
    match value {
        Value::Unreadable(why) => format!("!{}", why.split(&[',', ':'][..]).next().unwrap()),
        value => serde_json::to_string(value).unwrap(),
    }
}

/// Every type with a form: an expression, and the JSON it becomes.
const TYPES: &[(&str, &str)] = &[
    ("NULL::int", "null"),
    ("NULL", "null"),
    ("'unknown'", r#""unknown""#),
    ("(-32768)::int2", "-32768"),
    ("2147483647::int4", "2147483647"),
    ("(-9223372036854775808)::int8", "-9223372036854775808"),
    ("4294967295::oid", "4294967295"),
    ("true", "true"),
    ("false", "false"),
    ("0.1::float4", "0.1"),
    ("16777216::float4", "16777216.0"),
    ("0.1::float8 + 0.2::float8", "0.30000000000000004"),
    ("1e300::float8", "1e+300"),
    ("5e-324::float8", "5e-324"),
    ("-0.0::float8", "0.0"),
    ("'NaN'::float8", "!it is NaN"),
    ("'-Infinity'::float4", "!it is -Infinity"),
    ("1.50::numeric", r#""1.50""#),
    ("'1e30'::numeric", r#""1000000000000000000000000000000""#),
    ("0.000::numeric(9,3)", r#""0.000""#),
    ("'NaN'::numeric", "!it is NaN"),
    ("'Infinity'::numeric", "!it is Infinity"),
    ("'a\"b\u{e4}'::text", "\"a\\\"b\u{e4}\""),
    ("'x'::varchar(9)", r#""x""#),
    ("'ab '::char(5)", r#""ab""#),
    ("'c'::\"char\"", r#""c""#),
    ("'n'::name", r#""n""#),
    ("'MiXed'::citext", r#""MiXed""#),
    ("'Top.Science'::ltree", r#""Top.Science""#),
    ("'a => 1'::hstore::text", r#""\"a\"=>\"1\"""#),
    ("'sad'::mood", r#""sad""#),
    ("5::positive", "5"),
    ("'2024-02-29'::birthday", r#""2024-02-29""#),
    ("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid", r#""a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11""#),
    ("'10.0.0.1/8'::inet", r#""10.0.0.1/8""#),
    ("'10.0.0.0/8'::cidr", r#""10.0.0.0/8""#),
    ("'08:00:2b:01:02:03'::macaddr", r#""08:00:2b:01:02:03""#),
    ("'08:00:2b:01:02:03:04:05'::macaddr8", r#""08:00:2b:01:02:03:04:05""#),
    ("'<a>1</a>'::xml", r#""<a>1</a>""#),
    ("'fat:1 cat:2'::tsvector", r#""'cat':2 'fat':1""#),
    ("'fat & cat'::tsquery", r#""'fat' & 'cat'""#),
    ("B'101'::bit(3)", r#""101""#),
    ("B'10'::varbit", r#""10""#),
    ("12.5::money", r#""$12.50""#),
    ("'\\x00ff'::bytea", r#""AP8=""#),
    ("''::bytea", r#""""#),
    (r#"'{"b": 1.5, "a": [null, "x"]}'::json"#, r#"{"b":1.5,"a":[null,"x"]}"#),
    (r#"'{"b": 18446744073709551615, "a": {}}'::jsonb"#, r#"{"a":{},"b":18446744073709551615}"#),
    ("'null'::jsonb", "null"),
    ("'1e999'::json", "!its JSON cannot be read (number out of range at line 1 column 5)"),
    ("'$.a'::jsonpath", r#""$.\"a\"""#),
    ("'2024-02-29'::date", r#""2024-02-29""#),
    ("'0001-01-01'::date", r#""0001-01-01""#),
    ("'9999-12-31'::date", r#""9999-12-31""#),
    ("'10000-01-01'::date", "!its year is not within 1 to 9999"),
    ("'0044-03-15 BC'::date", "!its year is not within 1 to 9999"),
    ("'infinity'::date", "!it is infinite"),
    ("'12:00:00.5'::time", r#""12:00:00.5""#),
    ("'24:00'::time", r#""24:00:00""#),
    ("'12:00+05:30'::timetz", r#""12:00:00+05:30""#),
    ("'2024-02-29 12:00:00.5'::timestamp", r#""2024-02-29T12:00:00.5""#),
    ("'-infinity'::timestamp", "!it is infinite"),
    ("'0044-03-15 00:00 BC'::timestamp", "!its year is not within 1 to 9999"),
    ("'2024-02-29 23:30:00.123456-05'::timestamptz", r#""2024-03-01T04:30:00.123456Z""#),
    ("'infinity'::timestamptz", "!it is infinite"),
    ("'1 year 2 mons 3 days 04:05:06.7'::interval", r#""P1Y2M3DT4H5M6.7S""#),
    ("'-1 day'::interval", r#""P-1D""#),
    ("'0'::interval", r#""PT0S""#),
    ("ARRAY[1, NULL, 3]", "[1,null,3]"),
    ("'{}'::int[]", "[]"),
    ("ARRAY[[1, 2], [3, 4]]", "[[1,2],[3,4]]"),
    ("'[0:1]={7,8}'::int[]", "[7,8]"),
    (r#"ARRAY['a,b', 'NULL', '', 'c"\d', '{e}', NULL]"#, r#"["a,b","NULL","","c\"\\d","{e}",null]"#),
    ("ARRAY[1.50, 2]::numeric[]", r#"["1.50","2"]"#),
    ("ARRAY[true, false]", "[true,false]"),
    ("ARRAY[1, 'NaN']::float8[]", "!it is NaN"),
    ("ARRAY['\\x00ff'::bytea]", r#"["AP8="]"#),
    (r#"ARRAY['{"a": 1}'::jsonb]"#, r#"[{"a":1}]"#),
    ("ARRAY['2024-02-29 12:00+00'::timestamptz]", r#"["2024-02-29T12:00:00Z"]"#),
    ("ARRAY['sad', 'ok']::mood[]", r#"["sad","ok"]"#),
    ("ARRAY[1, 2]::positive[]", "[1,2]"),
    ("'1 2'::int2vector", r#""1 2""#),
    ("'[1,5)'::int4range", r#""[1,5)""#),
    ("'{[1,3),[5,7)}'::int4multirange", r#""{[1,3),[5,7)}""#),
    ("'pg_class'::regclass", r#""pg_class""#),
    ("'16/B374D848'::pg_lsn", r#""16/B374D848""#),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_type_has_its_form() {
    let (_, database, _other) = database(
        "CREATE EXTENSION citext; CREATE EXTENSION ltree; CREATE EXTENSION hstore;
         CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN positive AS int CHECK (VALUE > 0);
         CREATE DOMAIN birth AS date; CREATE DOMAIN birthday AS birth NOT NULL;
         DO $$ BEGIN
             EXECUTE format('ALTER DATABASE %I SET DateStyle = German', current_database());
             EXECUTE format('ALTER DATABASE %I SET bytea_output = escape', current_database());
             EXECUTE format('ALTER DATABASE %I SET TimeZone = %L', current_database(), 'Asia/Tokyo');
         END $$",
    )
    .await;
    let mut snapshot = database.snapshot().await.unwrap();
    for (expression, expected) in TYPES {
        let value = one(&mut *snapshot, &format!("SELECT {expression} AS v")).await;
        assert_eq!(json(&value), *expected, "{expression}");
        // Includes are read by another protocol.
        let query = format!("SELECT 1 AS id, {expression} AS v");
        let lists = snapshot.included(include(&query, &["id"]), &[vec![Value::Int(1)]]).await.unwrap();
        assert_eq!(json(&lists[0][0].values[1]), *expected, "{expression}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn types_without_a_form_are_refused_with_the_remedy() {
    let (_, database, _other) = database("CREATE TYPE pair AS (a int, b text)").await;
    for (expression, kind) in [
        ("'(1,2)'::point", "point"),
        ("ROW(1, 'a')::pair", "pair"),
        ("ROW(1, 2)", "record"),
        ("ARRAY['(1,2)'::point]", "point[]"),
    ] {
        let error = database.columns(&format!("SELECT {expression} AS x")).await.unwrap_err().to_string();
        let expected =
            format!("column `x` has the type `{kind}`, which has no form in JSON: select x::text AS x");
        assert_eq!(error, expected);
    }
    assert!(database.columns("SELECT '(1,2)'::point::text AS x").await.is_ok());
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
    let refused = format!("{secret}?sslmode=s3cret");
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
    let mut last = plain.fingerprint;
    for alter in [
        "ALTER TABLE plain ADD z int",
        "ALTER TABLE plain ALTER z TYPE bigint",
        "TRUNCATE plain",
        "ALTER TABLE plain RENAME z TO y",
        "ALTER TABLE plain DROP y",
    ] {
        other.execute(alter).await;
        let now = facts(&catalog().await, "plain").fingerprint;
        assert_ne!(now, last, "{alter}");
        last = now;
    }
    other.execute("INSERT INTO plain (i, u) VALUES (1, gen_random_uuid()); ANALYZE plain").await;
    assert_eq!(facts(&catalog().await, "plain").fingerprint, last);
}
