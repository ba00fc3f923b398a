use std::path::Path;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use super::*;
use crate::database::Order;
use crate::database::conformance::{self, Writer, include, read, text};

struct Other(Mutex<SqliteConnection>);

#[async_trait]
impl Writer for Other {
    async fn execute(&self, script: &str) {
        sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut *self.0.lock().await).await.unwrap();
    }
}

impl Other {
    async fn open(path: &Path) -> Self {
        Self(Mutex::new(
            SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await.unwrap(),
        ))
    }
}

/// A new database made by `schema`.
async fn database(schema: &str) -> (tempfile::TempDir, Sqlite, Other) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.db");
    let database = Sqlite::open(&format!("sqlite:{}", path.display()), Some(schema)).await.unwrap();
    let other = Other::open(&path).await;
    (folder, database, other)
}

async fn rows(database: &Sqlite, query: &str) -> Vec<Vec<Value>> {
    read(&mut *database.snapshot().await.unwrap(), query, None).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_is_a_database() {
    let (_folder, database, other) = database("PRAGMA user_version = 1").await;
    other.execute("PRAGMA journal_mode = WAL").await;
    conformance::all(&database, &other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_captures_edits() {
    let (_folder, database, other) = database("PRAGMA user_version = 1").await;
    conformance::capture::all(&database, &other).await;
}

#[tokio::test]
async fn a_database_in_rollback_journal_mode_stays_so() {
    let (_folder, database, other) = database("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1)").await;
    let mut snapshot = database.snapshot().await.unwrap();
    assert_eq!(read(&mut *snapshot, "SELECT id FROM t", None).await.unwrap(), [[Value::Int(1)]]);
    drop(snapshot);
    conformance::the_data_version_follows_commits(&database, &other).await;
    assert_eq!(
        rows(&database, "SELECT journal_mode AS mode FROM pragma_journal_mode").await,
        [[text("delete")]]
    );
}

#[tokio::test]
async fn values_are_what_is_stored_not_what_is_declared() {
    let (_folder, database, _other) = database(
        "CREATE TABLE v (n INTEGER PRIMARY KEY, b BOOLEAN, d DATETIME, r REAL, j JSON, x);
         INSERT INTO v VALUES (1, 1, '2024-01-02', 1, '{\"a\":1}', x'00ff'),
            (2, 'yes', 1700000000, 1.5, NULL, ''), (3, NULL, 2.5, 9e999, 7, x''),
            (4, 9223372036854775807, 'a' || char(0) || 'b', 'text', 0.1, -9223372036854775808);",
    )
    .await;
    let blob = |bytes: &[u8]| Value::Bytes(bytes.into());
    let max = Value::Int(i64::MAX);
    assert_eq!(
        rows(&database, "SELECT b, d, r, j, x FROM v WHERE n <> 3 ORDER BY n").await,
        [
            [Value::Int(1), text("2024-01-02"), Value::Float(1.0), text("{\"a\":1}"), blob(&[0, 255])],
            [text("yes"), Value::Int(1_700_000_000), Value::Float(1.5), Value::Null, text("")],
            [max, text("a\0b"), text("text"), Value::Float(0.1), Value::Int(i64::MIN)],
        ]
    );
    assert_eq!(rows(&database, "SELECT x, d FROM v WHERE n = 3").await, [[blob(b""), Value::Float(2.5)]]);
    let zero = rows(&database, "SELECT -0.0 AS zero, 9e999 - 9e999 AS nan").await;
    assert_eq!(zero, [[Value::Float(0.0), Value::Null]]);
    let Value::Float(zero) = zero[0][0] else { panic!("{zero:?}") };
    assert!(zero.is_sign_positive(), "SQLite holds the zeros equal, so they print alike");
}

#[tokio::test]
async fn values_without_a_faithful_form_say_why() {
    let (_folder, database, _other) = database("CREATE TABLE t (id INTEGER PRIMARY KEY, v)").await;
    for (value, expected) in [
        ("9e999", "it is infinite"),
        ("-9e999", "it is infinite"),
        ("CAST(x'ff41' AS TEXT)", "its text is not valid UTF-8"),
    ] {
        let query = format!("SELECT 1 AS id, 'fine' AS v UNION ALL SELECT 2, {value} ORDER BY 1");
        let mut snapshot = database.snapshot().await.unwrap();
        let rows = read(&mut *snapshot, &query, None).await.unwrap();
        assert_eq!(rows[0], [Value::Int(1), text("fine")]);
        assert!(matches!(&rows[1][1], Value::Unreadable(why) if why.starts_with(expected)), "{rows:?}");
        // As a key it equals nothing.
        let include = include(&query, &["v"]);
        let lists = snapshot.included(include, &[vec![rows[1][1].clone()]]).await.unwrap();
        assert_eq!(lists, [[]]);
    }
}

#[tokio::test]
async fn text_of_a_utf_16_database_arrives_as_utf_8() {
    let (_folder, database, _other) = database("CREATE TABLE t (v TEXT)").await;
    drop(database);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wide.db");
    let other = Other::open(&path).await;
    other.execute("PRAGMA encoding = 'UTF-16'; CREATE TABLE t (v TEXT); INSERT INTO t VALUES ('gr\u{fc}n \u{1f600}')").await;
    let database = Sqlite::open(&format!("sqlite://{}", path.display()), None).await.unwrap();
    assert_eq!(rows(&database, "SELECT v FROM t").await, [[text("gr\u{fc}n \u{1f600}")]]);
}

#[tokio::test]
async fn keys_compare_by_the_column_s_own_collation_and_affinity() {
    let (_folder, database, _other) = database(
        "CREATE TABLE t (code TEXT COLLATE NOCASE, number INTEGER, label TEXT, any);
         INSERT INTO t VALUES ('ABC', 5, '5', 5), ('abd', 6, '05', '5');",
    )
    .await;
    let mut snapshot = database.snapshot().await.unwrap();
    for (on, key, expected) in [
        ("code", text("abc"), vec!["5"]),
        ("code", text("ABD"), vec!["05"]),
        ("CODE", text("abc"), vec!["5"]),
        ("number", text("5"), vec!["5"]),
        ("number", Value::Float(6.0), vec!["05"]),
        ("label", Value::Int(5), vec!["5"]),
        ("label", text("05"), vec!["05"]),
        ("any", Value::Int(5), vec!["5"]),
        ("any", text("5"), vec!["05"]),
    ] {
        // Once merged with the parents, once evaluated as a whole.
        for query in
            ["SELECT label, code, number, any FROM t", "SELECT DISTINCT label, code, number, any FROM t"]
        {
            for limit in [None, Some(9)] {
                let on = [on];
                let include = IncludeQuery { limit, ..include(query, &on) };
                let lists = snapshot.included(include, &[vec![key.clone()]]).await.unwrap();
                let labels: Vec<_> = lists[0].iter().map(|row| row.values[0].clone()).collect();
                assert_eq!(
                    labels,
                    expected.iter().map(|label| text(label)).collect::<Vec<_>>(),
                    "{on:?} = {key:?}: {query}"
                );
            }
        }
    }
}

#[tokio::test]
async fn equal_rows_that_print_differently_have_one_order() {
    let rows_of = ["(1, 'A', 1)", "(1, 'a', 1.0)", "(1, 'a', 1)", "(1, 'A', 1.0)"];
    let back: Vec<_> = rows_of.into_iter().rev().collect();
    let table = |name: &str, rows: &str| {
        format!(
            "CREATE TABLE {name} (owner INTEGER, name TEXT COLLATE NOCASE, n); INSERT INTO {name} VALUES {rows};"
        )
    };
    let schema = table("forth", &rows_of.join(", ")) + &table("back", &back.join(", "));
    let (_folder, database, _other) = database(&schema).await;
    let mut snapshot = database.snapshot().await.unwrap();
    let mut all = Vec::new();
    for table in ["forth", "back"] {
        let query = format!("SELECT owner, name, n FROM {table}");
        let mut lists = vec![read(&mut *snapshot, &query, Some("name")).await.unwrap()];
        for limit in [None, Some(2)] {
            let include = IncludeQuery { query: &query, on: &["owner"], order_by: Some("name"), limit };
            let included = snapshot.included(include, &[vec![Value::Int(1)]]).await.unwrap().remove(0);
            lists.push(included.into_iter().map(|row| row.values).collect());
        }
        all.push(lists);
    }
    assert_eq!(all[0], all[1]);
}

/// The plan of an include's query, as it would be run for 64 parents.
async fn plan(database: &Sqlite, include: IncludeQuery<'_>) -> String {
    let mut snapshot = database.begin().await.unwrap();
    let columns = snapshot.describe(include.query).await.unwrap();
    let IncludeQuery { query, on, order_by, limit } = include;
    let include = Include { query, columns: &columns, on, order_by, limit };
    let narrow = snapshot.is_whole(&include).await.unwrap();
    let sql = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", included(&include, 64, narrow)));
    let lines = sqlx::query(sql).fetch_all(&mut *snapshot.transaction).await.unwrap();
    lines.iter().map(|line| line.get::<String, _>("detail") + "\n").collect()
}

#[tokio::test]
async fn an_include_uses_the_index_on_its_key() {
    let (_folder, database, _other) = database(
        "CREATE TABLE warehouse (id INTEGER PRIMARY KEY, name TEXT);
         CREATE TABLE variant (id INTEGER PRIMARY KEY, product_id INTEGER, sku TEXT, warehouse_id INTEGER);
         CREATE INDEX variant_product ON variant (product_id);",
    )
    .await;
    for query in [
        "SELECT product_id, sku FROM variant",
        "SELECT v.product_id, v.sku, w.name FROM variant v JOIN warehouse w ON w.id = v.warehouse_id",
        "SELECT v.product_id, v.sku, w.name FROM variant v LEFT JOIN warehouse w ON w.id = v.warehouse_id",
        "SELECT product_id, count(*) AS n FROM variant GROUP BY product_id",
        "SELECT DISTINCT product_id, sku FROM variant",
        "SELECT product_id, sku FROM variant UNION ALL SELECT product_id, 'x' FROM variant WHERE sku IS NULL",
        "WITH v AS (SELECT * FROM variant WHERE sku <> '') SELECT product_id, sku FROM v",
        "SELECT product_id, row_number() OVER (PARTITION BY product_id ORDER BY sku) AS sku FROM variant",
    ] {
        for limit in [None, Some(3)] {
            let plan = plan(&database, IncludeQuery { limit, ..include(query, &["product_id"]) }).await;
            assert!(plan.contains("variant_product (product_id=?)"), "{query}\n{plan}");
            assert!(!plan.contains("SCAN v"), "{query}\n{plan}");
        }
    }
}

#[tokio::test]
async fn prepared_statements_do_not_outlive_their_schema() {
    let (_folder, database, other) = database("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1)").await;
    let query = include("SELECT * FROM t", &["id"]);
    for width in 1..4 {
        let columns = database.columns("SELECT * FROM t").await.unwrap();
        assert_eq!(columns.len(), width);
        assert_eq!(rows(&database, "SELECT * FROM t").await[0].len(), width);
        let mut snapshot = database.snapshot().await.unwrap();
        let lists = snapshot.included(query, &[vec![Value::Int(1)]]).await.unwrap();
        assert_eq!(lists[0][0].values.len(), width);
        drop(snapshot);
        other.execute(&format!("ALTER TABLE t ADD COLUMN c{width}")).await;
    }
}

#[tokio::test]
async fn snapshots_cannot_write_whatever_the_query() {
    let (_folder, database, _other) = database("CREATE TABLE t (id INTEGER)").await;
    let mut snapshot = database.begin().await.unwrap();
    let error =
        sqlx::query("INSERT INTO t VALUES (1)").execute(&mut *snapshot.transaction).await.unwrap_err();
    assert!(error.to_string().contains("readonly"), "{error}");
}

#[tokio::test]
async fn queries_with_parameters_or_our_names_are_refused() {
    let (_folder, database, _other) = database("CREATE TABLE t (id INTEGER)").await;
    for query in ["SELECT ? AS a", "SELECT :a AS a", "SELECT id FROM t WHERE id = $1"] {
        let error = database.columns(query).await.unwrap_err().to_string();
        assert!(error.contains("parameters"), "{error}");
    }
    let error = database.columns("SELECT 1 AS Edgepress_n").await.unwrap_err().to_string();
    assert!(error.contains("names beginning with edgepress_ are taken"), "{error}");
    let error = database.columns("SELECT true").await.unwrap_err().to_string();
    assert!(error.contains("give it another name"), "{error}");
    let error = database.columns("SELECT 1 AS name, 2 AS Name").await.unwrap_err().to_string();
    assert!(error.contains("two columns called `Name`"), "{error}");
}

#[tokio::test]
async fn odd_column_names_are_quoted() {
    let (_folder, database, _other) =
        database("CREATE TABLE t (\"a\"\"b\" INTEGER, \"select\", \"x y\")").await;
    let mut snapshot = database.snapshot().await.unwrap();
    let query = "SELECT *, 1 + 1 FROM t UNION ALL SELECT 7, 8, 9, 2";
    let lists = snapshot.included(include(query, &["a\"b"]), &[vec![Value::Int(7)]]).await.unwrap();
    assert_eq!(lists[0][0].values, [7, 8, 9, 2].map(Value::Int));
    let names: Vec<_> = lists[0][0].columns.iter().map(|name| &**name).collect();
    assert_eq!(names, ["a\"b", "select", "x y", "1 + 1"]);
    assert_eq!(read(&mut *snapshot, query, Some("\"select\" DESC")).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_schema_runs_once_and_wholly_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("new.db").display());
    let missing = Sqlite::open(&url, None).await.unwrap_err().to_string();
    assert!(missing.contains("no database at") && missing.contains("set [database] schema"), "{missing}");
    assert!(!folder.path().join("new.db").exists(), "nothing is made without a schema");
    let error =
        Sqlite::open(&url, Some("CREATE TABLE t (id); CREATE TABLE t (id)")).await.unwrap_err().to_string();
    assert!(error.contains("table t already exists"), "{error}");
    let error = Sqlite::open(&url, Some("BEGIN; CREATE TABLE t (id); COMMIT")).await.unwrap_err().to_string();
    assert!(error.contains("remove BEGIN and COMMIT"), "{error}");
    let schema = "CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)";
    let opened = futures_util::future::join_all((0..4).map(|_| Sqlite::open(&url, Some(schema)))).await;
    for database in opened {
        assert_eq!(rows(&database.unwrap(), "SELECT count(*) AS n FROM t").await, [[Value::Int(1)]]);
    }
    let again = Sqlite::open(&url, Some("this is not even SQL")).await.unwrap();
    assert_eq!(rows(&again, "SELECT id FROM t").await, [[Value::Int(1)]]);
}

#[tokio::test]
async fn what_is_not_a_database_is_a_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, "this is a text, not a database".repeat(100)).unwrap();
    let at = |path: &Path| format!("sqlite:{}", path.display());
    for (url, reason) in [
        (at(&path), "file is not a database"),
        (at(folder.path()), "it is a folder"),
        ("sqlite::memory:".to_owned(), "in memory"),
        ("sqlite:".to_owned(), "names no file"),
        ("postgres://me@there/db".to_owned(), "does not begin with sqlite:"),
    ] {
        let error = Sqlite::open(&url, None).await.unwrap_err().to_string();
        assert!(error.starts_with("cannot open the database") && error.contains(reason), "{error}");
    }
    let deep = at(&folder.path().join("no/such/new.db"));
    let error = Sqlite::open(&deep, Some("CREATE TABLE t (id)")).await.unwrap_err().to_string();
    assert!(error.contains("does not exist: create it"), "{error}");
}

#[tokio::test]
async fn another_file_moved_into_place_is_read_and_noticed() {
    let (folder, database, _other) = database("CREATE TABLE t (id); INSERT INTO t VALUES ('old')").await;
    let before = database.data_version().await.unwrap();
    let backup = folder.path().join("backup.db");
    let other = Other::open(&backup).await;
    other.execute("CREATE TABLE t (id); INSERT INTO t VALUES ('restored')").await;
    other.0.into_inner().close().await.unwrap();
    std::fs::rename(&backup, folder.path().join("test.db")).unwrap();
    assert_eq!(rows(&database, "SELECT id FROM t").await, [[text("restored")]]);
    assert_ne!(database.data_version().await.unwrap(), before);
}

#[tokio::test]
async fn snapshots_beyond_the_pool_wait_and_dropped_ones_make_room() {
    let (_folder, database, _other) = database("CREATE TABLE t (id); INSERT INTO t VALUES (1)").await;
    for _ in 0..50 {
        let mut snapshot = database.snapshot().await.unwrap();
        let mut rows = snapshot.rows("SELECT a.id FROM t a", Order::Any).await.unwrap();
        assert!(rows.batches.next().await.is_some());
    }
    let held = futures_util::future::join_all((0..8).map(|_| database.snapshot())).await;
    assert!(held.iter().all(Result::is_ok));
    let ninth = tokio::time::timeout(Duration::from_millis(50), database.snapshot()).await;
    assert!(ninth.is_err(), "it waits");
    drop(held);
    assert!(database.snapshot().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn both_connections_of_a_snapshot_read_the_same_moment() {
    for mode in ["WAL", "DELETE"] {
        let (_folder, database, other) = database("CREATE TABLE t (n); INSERT INTO t VALUES (1)").await;
        other.execute(&format!("PRAGMA journal_mode = {mode}; PRAGMA busy_timeout = 5000")).await;
        other.execute("PRAGMA synchronous = OFF").await;
        let writer = tokio::spawn(async move {
            loop {
                other.execute("UPDATE t SET n = n + 1").await;
            }
        });
        let mut moments = BTreeSet::new();
        for _ in 0..100 {
            let mut snapshot = database.begin().await.unwrap();
            let small: i64 =
                sqlx::query_scalar("SELECT n FROM t").fetch_one(&mut *snapshot.transaction).await.unwrap();
            assert_eq!(read(&mut snapshot, "SELECT n FROM t", None).await.unwrap(), [[Value::Int(small)]]);
            moments.insert(small);
        }
        writer.abort();
        assert!(moments.len() > 1, "nothing was written meanwhile");
    }
}

#[tokio::test]
async fn parameters_of_the_url_hold_for_both_connections() {
    let (folder, database, _other) = database("CREATE TABLE t (n); INSERT INTO t VALUES (1)").await;
    drop(database);
    let odd = folder.path().join("50% off?#1.db");
    std::fs::rename(folder.path().join("test.db"), &odd).unwrap();
    let escaped = odd.display().to_string().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    for parameters in ["", "?mode=ro", "?mode=rwc", "?mode=ro&immutable=true"] {
        let database = Sqlite::open(&format!("sqlite:{escaped}{parameters}"), None).await.unwrap();
        assert_eq!(rows(&database, "SELECT n FROM t").await, [[Value::Int(1)]], "{parameters}");
    }
}

#[tokio::test]
async fn big_rows_make_small_batches() {
    let schema =
        "CREATE TABLE t (v); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40)
                  INSERT INTO t SELECT zeroblob(1000000) FROM n";
    let (_folder, database, _other) = database(schema).await;
    let mut snapshot = database.snapshot().await.unwrap();
    let rows = snapshot.rows("SELECT v FROM t", Order::Any).await.unwrap();
    let lengths: Vec<usize> = rows.batches.map(|batch| batch.unwrap().len()).collect().await;
    assert!(lengths.len() == 8 && lengths.iter().all(|length| *length == 5), "{lengths:?}");
}

#[tokio::test]
async fn a_query_nobody_waits_for_is_interrupted() {
    let (_folder, database, _other) = database("CREATE TABLE t (id)").await;
    let endless =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) AS most FROM n";
    let soon = Duration::from_millis(20);
    for _ in 0..12 {
        let mut snapshot = database.snapshot().await.unwrap();
        assert!(tokio::time::timeout(soon, read(&mut *snapshot, endless, None)).await.is_err(), "it runs");
    }
    let held = futures_util::future::join_all((0..8).map(|_| database.snapshot())).await;
    assert!(held.iter().all(Result::is_ok), "their connections are free again");
}
