//! What the owner's statements leave, whatever they are.

use super::*;

#[tokio::test]
async fn a_change_that_commits_late_is_seen_once() {
    let owned = Owned::captured("CREATE TABLE t (id INT PRIMARY KEY)", &[("t", &["id"])]).await;
    let start = owned.seen().await;
    let late = owned.another().await;
    late.execute("BEGIN; INSERT INTO t VALUES (1)").await;
    owned.run("INSERT INTO t VALUES (2)").await;
    assert_eq!(owned.images(&start, "t", &["id"]).await, ints(&[2]));
    let between = owned.publish(1).await;
    assert!(!owned.is_behind().await);
    late.execute("COMMIT").await;
    assert!(owned.is_behind().await);
    assert_eq!(owned.images(&between, "t", &["id"]).await, ints(&[1]));
    assert_eq!(owned.images(&start, "t", &["id"]).await, ints(&[1, 2]));
    let end = owned.publish(2).await;
    assert!(owned.changes(&end).await.is_empty() && !owned.is_behind().await);
}

#[tokio::test]
async fn no_statement_goes_unseen() {
    let owned = Owned::captured(
        "CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, k VARCHAR(9) UNIQUE, n INT);
         INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 3)",
        &[("t", &["id", "n"])],
    )
    .await;
    let row = |id: i64, n: i64| vec![Value::Int(id), Value::Int(n)];
    for (script, expected) in [
        ("REPLACE INTO t VALUES (1, 'b', 9)", vec![row(1, 1), row(1, 9), row(2, 2)]),
        ("INSERT INTO t VALUES (1, 'z', 0) ON DUPLICATE KEY UPDATE n = 10", vec![row(1, 10), row(1, 9)]),
        ("INSERT IGNORE INTO t VALUES (1, 'y', 0)", vec![]),
        ("INSERT INTO t (n) SELECT n + 100 FROM t WHERE id = 3", vec![row(4, 103)]),
        ("UPDATE t, (SELECT 3 AS id) u SET t.n = 33 WHERE t.id = u.id", vec![row(3, 3), row(3, 33)]),
        ("DELETE t FROM t JOIN (SELECT 4 AS id) u ON t.id = u.id", vec![row(4, 103)]),
        ("UPDATE t SET n = 7 WHERE id = 3; UPDATE t SET n = 33 WHERE id = 3", vec![]),
        ("DELETE FROM t WHERE id = 3; INSERT INTO t VALUES (3, 'x', 33)", vec![]),
        (
            "XA START 'x'; UPDATE t SET n = 34 WHERE id = 3; XA END 'x'; XA PREPARE 'x'; XA COMMIT 'x'",
            vec![row(3, 33), row(3, 34)],
        ),
        (
            "SET sql_mode = 'ANSI,NO_BACKSLASH_ESCAPES'; UPDATE \"t\" SET n = 36 WHERE id = 3; SET sql_mode = DEFAULT",
            vec![row(3, 34), row(3, 36)],
        ),
    ] {
        let since = owned.seen().await;
        owned.run(script).await;
        assert_eq!(owned.images(&since, "t", &["id", "n"]).await, expected, "{script}");
    }
}

#[tokio::test]
async fn columns_change_when_their_bytes_do() {
    let owned = Owned::captured(
        "SET NAMES utf8mb4;
         CREATE TABLE t (id INT PRIMARY KEY, s VARCHAR(20), f FLOAT, d DOUBLE, ts TIMESTAMP NULL, b BLOB, e ENUM('x', 'y'),
            dec_ DECIMAL(5,2), dt DATETIME(3)) DEFAULT CHARSET utf8mb4;
         INSERT INTO t VALUES (1, 'a', 16777215, 0.1, NULL, '', 'x', 1, '2024-01-01')",
        &[("t", &["s", "f", "d", "ts", "b", "e", "dec_", "dt"])],
    )
    .await;
    // The clocks of this zone were set back over these moments.
    owned.run("SET time_zone = '+00:00'; UPDATE t SET ts = '2024-10-27 00:30:00'").await;
    for (set, column, is_changed) in [
        ("s = 'A'", "s", true),
        ("s = 'A '", "s", true),
        ("s = 'Ä '", "s", true),
        ("s = NULL", "s", true),
        ("s = NULL", "s", false),
        ("f = 16777214", "f", true),
        ("d = 0.10000000000000002", "d", true),
        ("ts = '2024-10-27 01:30:00'", "ts", true),
        ("b = x'00'", "b", true),
        ("e = 'y'", "e", true),
        ("dec_ = 1.00", "dec_", false),
        ("dt = '2024-01-01 00:00:00.001'", "dt", true),
        ("id = 2", "s", false),
    ] {
        let since = owned.seen().await;
        owned.run(&format!("UPDATE t SET {set}")).await;
        let images = owned.images(&since, "t", &[column]).await;
        assert_eq!(images.len(), if is_changed { 2 } else { 0 }, "{set}: {images:?}");
    }
}

#[tokio::test]
async fn images_are_what_was_there_in_every_type() {
    let owned = Owned::captured(
        "SET NAMES utf8mb4, sql_mode = '';
         CREATE TABLE t (id INT UNSIGNED PRIMARY KEY, u BIGINT UNSIGNED, t TINYINT(1), b BIT(9), f FLOAT, d DOUBLE, m DECIMAL(30,10),
            c CHAR(9) CHARACTER SET latin1, s VARCHAR(20) COLLATE utf8mb4_bin, x LONGTEXT, e ENUM('it''s', 'b\\\\'), st SET('a','b'),
            bi BINARY(3), bl BLOB, j JSON, da DATE, ti TIME(3), dt DATETIME(6), ts TIMESTAMP(3) NULL, y YEAR, uu UUID, i6 INET6,
            gs INT AS (t + 7) STORED) DEFAULT CHARSET utf8mb4;
         INSERT INTO t (id) VALUES (0)",
        &[],
    )
    .await;
    let mut columns =
        "id u t b f d m c s x e st bi bl j da ti dt ts y uu i6 gs".split(' ').collect::<Vec<_>>();
    columns.sort_unstable();
    let id = columns.iter().position(|column| *column == "id").unwrap();
    owned.install(&[("t", &columns)]).await;
    let since = owned.seen().await;
    owned
        .run(
            "SET time_zone = '-07:00';
             INSERT INTO t (id, u, t, b, f, d, m, c, s, x, e, st, bi, bl, j, da, ti, dt, ts, y, uu, i6) VALUES
             (4294967295, 18446744073709551614, 1, b'101010101', 0.1, 1e300, 12345678901234567890.0123456789, 'é', '😀 ', repeat('x', 100000),
              'it''s', 'a,b', x'0001', x'00', '{\"a\": 1.0}', '2024-02-29', '-838:59:59', '2024-02-29 12:00:00.000001', '2024-02-29 12:00:00.001',
              2024, '123e4567-e89b-12d3-a456-426655440000', '::1'),
             (1, 0, 0, 0, -0e0, 0, 0, '', '', '', 'nothing such', '', '', '', '[]', '0000-00-00', 0, '2024-00-00', 0, 0, NULL, NULL)",
        )
        .await;
    let query = format!("SELECT {} FROM t WHERE id > 0", columns.join(", "));
    let mut snapshot = owned.database.snapshot().await.unwrap();
    let Keys::All(mut expected) = snapshot.keys(&query, 9).await.unwrap() else { panic!("there are two") };
    expected.retain(|key| key[id] != Value::Int(0));
    expected.sort_by_key(|key| format!("{key:?}"));
    drop(snapshot);
    let images = owned.images(&since, "t", &columns).await;
    assert_eq!(images.len(), 2);
    assert_eq!(expected.len(), 2);
    for (image, expected) in images.iter().zip(&expected) {
        for (place, column) in columns.iter().enumerate() {
            assert_eq!(image[place], expected[place], "{column}");
        }
    }
    let since = owned.seen().await;
    owned.run("DELETE FROM t WHERE id > 0").await;
    assert_eq!(owned.images(&since, "t", &columns).await, expected);
}

#[tokio::test]
async fn the_owner_sees_nothing_of_it() {
    let owned = Owned::captured(
        "CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, n INT); CREATE TABLE kept (a BIGINT, b BIGINT, c INT)",
        &[("t", &["id", "n"])],
    )
    .await;
    owned.run("INSERT INTO t (n) VALUES (1); INSERT INTO t (n) VALUES (1)").await;
    owned
        .run(
            "INSERT INTO t (n) VALUES (1), (2); SET @id = LAST_INSERT_ID(); UPDATE t SET n = n + 1 WHERE id > 2;
             SET @count = ROW_COUNT(), @errors = @@warning_count; INSERT INTO kept VALUES (@id, @count, @errors)",
        )
        .await;
    let mut snapshot = owned.database.snapshot().await.unwrap();
    let kept = conformance::read(&mut *snapshot, "SELECT * FROM kept", None).await.unwrap();
    assert_eq!(kept, [ints(&[3, 2, 0]).concat()]);
}

#[tokio::test]
async fn edits_do_not_wait_for_each_other() {
    let owned = Owned::captured(
        "CREATE TABLE a (id INT PRIMARY KEY, n INT); CREATE TABLE b (id INT PRIMARY KEY, n INT);
         INSERT INTO a VALUES (1, 1), (2, 2); INSERT INTO b VALUES (1, 1)",
        &[("a", &["n"]), ("b", &["n"])],
    )
    .await;
    let (one, other) = (owned.another().await, owned.another().await);
    other.execute("BEGIN; UPDATE a SET n = 9 WHERE id = 2").await;
    // It has changed one row, and waits for the other.
    let waiting = tokio::spawn(async move { one.execute("UPDATE a SET n = 8").await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    other.execute("UPDATE b SET n = 5; COMMIT").await;
    waiting.await.unwrap();
}

#[tokio::test]
async fn edits_of_locked_tables_are_noticed() {
    let owned = Owned::captured(
        "CREATE TABLE t (id INT PRIMARY KEY, n INT); INSERT INTO t VALUES (1, 1); CREATE TABLE u (id INT PRIMARY KEY)",
        &[("t", &["id", "n"]), ("u", &["id"])],
    )
    .await;
    for script in [
        "LOCK TABLES t WRITE; UPDATE t SET n = n + 1; UNLOCK TABLES",
        "LOCK TABLES t WRITE, u WRITE; UPDATE t SET n = n + 1; UNLOCK TABLES",
        "LOCK TABLES t WRITE; INSERT INTO t VALUES (2, 2), (3, 3); DELETE FROM t WHERE id > 1; UNLOCK TABLES",
    ] {
        let since = owned.seen().await;
        // Whoever read our tables leaves them as MariaDB lets no trigger write to them under LOCK TABLES.
        owned.run("SELECT * FROM edgepress_log; SELECT * FROM edgepress_change_1").await;
        owned.run(script).await;
        let changes = owned.changes(&since).await;
        let t = owned.table("t");
        assert!(changes.whole.contains(&t) || changes.tables.contains_key(&t), "{script}: {changes:?}");
    }
}

/// In a trigger they would fail an UPDATE which without it works.
#[tokio::test]
async fn virtual_columns_are_never_read() {
    for column in ["INT AS (10 / n)", "TINYINT AS (n + 1000)", "VARCHAR(2) AS (doc)"] {
        let owned = Owned::captured(
            &format!(
                "CREATE TABLE t (id INT PRIMARY KEY, doc LONGTEXT, n INT);
                 INSERT INTO t VALUES (1, '{{bad', 0), (2, '{{bad', 0);
                 ALTER TABLE t ADD COLUMN v {column} VIRTUAL"
            ),
            &[("t", &["id", "v"])],
        )
        .await;
        let since = owned.seen().await;
        owned.run("UPDATE t SET n = 0, doc = 'worse' WHERE id = 1; DELETE FROM t WHERE id = 2").await;
        assert_eq!(owned.images(&since, "t", &["id", "doc", "n"]).await.len(), 3, "{column}");
        let changes = owned.changes(&since).await;
        assert!(changes.whole.is_empty(), "{changes:?}");
        let catalog = owned.database.snapshot().await.unwrap().catalog().await.unwrap();
        let computed: Vec<bool> =
            catalog.tables[&owned.table("t")].columns.iter().map(|column| column.is_computed).collect();
        assert_eq!(computed, [false, false, false, true]);
    }
}
