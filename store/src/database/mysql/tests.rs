mod values;

use async_trait::async_trait;
use edgepress_site::row::Value;
use sqlx::{AssertSqlSafe, Connection as _, MySqlConnection};
use tokio::sync::Mutex;

use super::*;
use crate::database::conformance::{self, Writer, include, read, text};
use crate::database::servers;

/// Somebody else's connection, with their own ideas of time zones and modes.
pub(super) struct Other(Mutex<MySqlConnection>);

#[async_trait]
impl Writer for Other {
    async fn execute(&self, script: &str) {
        self.try_execute(script).await.unwrap_or_else(|error| panic!("{script}: {error}"));
    }
}

impl Other {
    pub(super) async fn open(url: &str) -> Self {
        Self(Mutex::new(MySqlConnection::connect(url).await.unwrap()))
    }

    pub(super) async fn try_execute(&self, script: &str) -> sqlx::Result<()> {
        let script = sqlx::raw_sql(AssertSqlSafe(script.to_owned()));
        script.execute(&mut *self.0.lock().await).await.map(|_| ())
    }
}

/// A new database made by `schema`.
pub(super) async fn database(schema: &str) -> (String, Mysql, Other) {
    at(servers::mariadb().await.database().await, schema).await
}

/// The same on a server of its own, where nobody else's DDL is counted.
pub(super) async fn alone(schema: &str) -> (servers::Server, String, Mysql, Other) {
    let (server, _) = servers::mariadb_with_tls().await;
    let (url, database, other) = at(server.database().await, schema).await;
    (server, url, database, other)
}

async fn at(url: String, schema: &str) -> (String, Mysql, Other) {
    let other = Other::open(&url).await;
    if !schema.is_empty() {
        other.execute(schema).await;
    }
    (url.clone(), Mysql::open(&url).await.unwrap(), other)
}

async fn rows(database: &Mysql, query: &str) -> Vec<Vec<Value>> {
    read(&mut *database.snapshot().await.unwrap(), query, None).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_is_a_database() {
    let (_url, database, other) = database("").await;
    conformance::all(&database, &other).await;
}

#[tokio::test]
async fn queries_are_one_select_by_mysqls_own_rules() {
    let (_url, database, _other) = database("CREATE TABLE t (id INT); INSERT INTO t VALUES (1)").await;
    for query in [
        "SELECT 1 AS a /*! INTO OUTFILE '/tmp/x' */",
        "SELECT id FROM t INTO OUTFILE '/tmp/x'",
        "SELECT id INTO @x FROM t",
        "SELECT id FROM t WHERE id = ?",
        "SELECT '\\\\'; DELETE FROM t; -- ' AS a; SELECT 1",
        "SELECT 1 AS a) edgepress_q; DELETE FROM t; #",
        "SELECT 1 AS a) edgepress_q WHERE FALSE UNION SELECT 2 #",
    ] {
        assert!(database.columns(query).await.is_err(), "{query}");
    }
    let query = "SELECT 'it\\'s; -- ' AS a, \"x\\\"\" AS b # all; of it\n FROM t -- one";
    assert_eq!(rows(&database, query).await, [[text("it's; -- "), text("x\"")]]);
    let error = database.columns("SELECT id FROM t WHERE id = ?").await.expect_err("no parameters");
    assert!(error.to_string().contains("parameters"), "{error}");
}

#[tokio::test]
async fn includes_compare_as_their_own_column_does() {
    let (_url, database, _other) = database(
        "CREATE TABLE part (id INT PRIMARY KEY, ci VARCHAR(20) CHARACTER SET latin1, bin VARCHAR(20) COLLATE utf8mb4_bin,
            uca VARCHAR(20) COLLATE utf8mb4_unicode_ci, dec_ DECIMAL(9,2), f FLOAT, d DATE, ts TIMESTAMP(2) NULL, b VARBINARY(9),
            u UUID, bu BIGINT UNSIGNED, t TINYINT(1), e ENUM('x', 'y')) DEFAULT CHARSET utf8mb4;
         INSERT INTO part VALUES (1, 'Ärger', 'Ärger', 'Straße', 1.5, 0.1, '2024-02-29', '2024-02-29 12:00:00', x'00ff',
            '123e4567-e89b-12d3-a456-426655440000', 7, 1, 'y')",
    )
    .await;
    for (on, key, expected) in [
        ("ci", text("ÄRGER"), true),
        ("ci", text("ärger  "), true),
        ("ci", text("?rger"), false),
        ("ci", text("😀rger"), false),
        ("bin", text("ärger"), false),
        ("bin", text("Ärger"), true),
        ("uca", text("STRASSE"), true),
        ("dec_", text("1.500"), true),
        ("dec_", text("x"), false),
        ("f", Value::Float(0.1), true),
        ("d", text("2024-02-29"), true),
        ("d", text("nonsense"), false),
        ("ts", text("2024-02-29T12:00:00.00Z"), true),
        ("b", Value::Bytes([0, 255].into()), true),
        ("u", text("123E4567-e89b-12d3-a456-426655440000"), true),
        ("bu", Value::Int(7), true),
        ("bu", Value::Int(-7), false),
        ("t", Value::Bool(true), true),
        ("e", text("y"), true),
        ("id", text("1"), true),
        ("id", Value::Unreadable("it is".into()), false),
    ] {
        let mut snapshot = database.snapshot().await.unwrap();
        let query = format!("SELECT {on} FROM part");
        let lists = snapshot.included(include(&query, &[on]), &[vec![key.clone()]]).await.unwrap();
        assert_eq!(lists[0].len(), usize::from(expected), "{on} {key:?}");
    }
}

#[tokio::test]
async fn names_may_need_quotes() {
    let (_url, database, _other) = database(
        "CREATE TABLE `select` (`a b` INT PRIMARY KEY, `it``s` VARCHAR(9), `Group` INT);
         INSERT INTO `select` VALUES (1, 'x', 2), (2, 'y', 1)",
    )
    .await;
    let query = "SELECT `a b`, `it``s`, `Group` FROM `select`";
    let mut snapshot = database.snapshot().await.unwrap();
    let all = read(&mut *snapshot, query, Some("`Group`")).await.unwrap();
    assert_eq!(all[0], [Value::Int(2), text("y"), Value::Int(1)]);
    let lists = snapshot.included(include(query, &["it`s"]), &[vec![text("x")]]).await.unwrap();
    assert_eq!(lists[0].len(), 1);
    let tables = snapshot.tables(query).await.unwrap();
    assert_eq!(tables.into_iter().map(|table| table.name).collect::<Vec<_>>(), ["select"]);
}

#[tokio::test]
async fn a_few_parents_use_the_index() {
    let (_url, database, _other) = database(
        "CREATE TABLE part (id INT PRIMARY KEY, owner INT, name VARCHAR(20) CHARACTER SET latin1, KEY (owner), KEY (name));
         INSERT INTO part SELECT seq, seq, concat('n', seq) FROM seq_1_to_20000; ANALYZE TABLE part",
    )
    .await;
    for (on, key) in [("owner", Value::Int(7)), ("name", text("N7"))] {
        let query = "SELECT owner, name FROM part";
        let mut snapshot = database.begin().await.unwrap();
        let described = snapshot.describe(query).await.unwrap();
        let joined = Joined::new(&described, &[on], &[&[key]]);
        let sql = format!("EXPLAIN {}", wrap::included(query, &described, &joined, None, Some(3)));
        let plan = sqlx::query(AssertSqlSafe(sql)).bind(&joined.keys).fetch_all(&mut *snapshot.transaction);
        let plan = plan.await.unwrap();
        let used = |row: &MySqlRow| row.try_get::<Option<String>, _>("key").unwrap();
        assert!(plan.iter().filter_map(used).any(|key| key == on), "{on}");
    }
}

#[tokio::test]
async fn a_password_is_never_printed() {
    let url = servers::mariadb().await.database().await;
    let with_password = url.replacen("root@", "nobody:se%40cret@", 1);
    for url in [
        with_password.clone(),
        with_password.replace("test_", "none_"),
        "mysql://me:secret@127.0.0.1:1/x".to_owned(),
        "mysql://me:secret@host".to_owned(),
    ] {
        let error = Mysql::open(&url).await.expect_err("it cannot be opened").to_string();
        assert!(!error.contains("cret") && error.contains("***@"), "{error}");
    }
    let database = Mysql::open(&url).await.unwrap();
    assert!(!format!("{database:?}").contains("secret"));
}

#[tokio::test]
async fn the_data_version_follows_ddl() {
    let (_url, database, other) = database("CREATE TABLE t (id INT PRIMARY KEY)").await;
    let mut last = database.data_version().await.unwrap();
    for script in [
        "INSERT INTO t VALUES (1)",
        "UPDATE t SET id = 2",
        "BEGIN; DELETE FROM t; COMMIT",
        "ALTER TABLE t ADD COLUMN name VARCHAR(9)",
        "TRUNCATE t",
        "CREATE VIEW v AS SELECT id FROM t",
        "CREATE OR REPLACE VIEW v AS SELECT id, name FROM t",
        "RENAME TABLE t TO u",
        "DROP TABLE u",
    ] {
        other.execute(script).await;
        let now = database.data_version().await.unwrap();
        assert_ne!(now, last, "{script}");
        last = now;
    }
}

#[tokio::test]
async fn altered_columns_are_read_as_they_are_now() {
    let (_url, database, other) =
        database("CREATE TABLE t (id INT, b BIT(1)); INSERT INTO t VALUES (7, b'1')").await;
    let json = |text: &str| Value::Json(Arc::new(serde_json::from_str(text).unwrap()));
    for (alter, expected) in [
        ("SELECT 1", vec![Value::Int(7), Value::Bool(true)]),
        ("ALTER TABLE t MODIFY id VARCHAR(9)", vec![text("7"), Value::Bool(true)]),
        ("ALTER TABLE t MODIFY b BIT(2)", vec![text("7"), Value::Int(1)]),
        ("ALTER TABLE t ADD j JSON FIRST", vec![Value::Null, text("7"), Value::Int(1)]),
        ("UPDATE t SET j = '[]'", vec![json("[]"), text("7"), Value::Int(1)]),
        (
            "ALTER TABLE t MODIFY j LONGTEXT, MODIFY b TINYINT(1)",
            vec![text("[]"), text("7"), Value::Bool(true)],
        ),
    ] {
        other.execute(alter).await;
        assert_eq!(rows(&database, "SELECT * FROM t").await, [expected], "{alter}");
    }
}

/// With what is left of the query read to its end.
#[tokio::test]
async fn a_snapshot_goes_on_after_a_reader_left() {
    let (_url, database, _other) = database(
        "CREATE TABLE t (id INT PRIMARY KEY, x VARCHAR(1000));
         INSERT INTO t SELECT seq, repeat('x', 1000) FROM seq_1_to_20000",
    )
    .await;
    let mut snapshot = database.snapshot().await.unwrap();
    for _ in 0..3 {
        let mut rows = snapshot.rows("SELECT id, x FROM t", Order::By("id")).await.unwrap();
        let batch = rows.batches.next().await.unwrap().unwrap();
        assert!(!batch.is_empty() && batch.len() <= BATCH_ROWS);
    }
    let count = read(&mut *snapshot, "SELECT count(*) AS n FROM t", None).await.unwrap();
    assert_eq!(count, [[Value::Int(20_000)]]);
    let mut left = snapshot.rows("SELECT id, x FROM t", Order::Any).await.unwrap();
    left.batches.next().await.unwrap().unwrap();
    drop(left);
    drop(snapshot);
    assert_eq!(rows(&database, "SELECT 1 AS n").await, [[Value::Int(1)]]);
}
