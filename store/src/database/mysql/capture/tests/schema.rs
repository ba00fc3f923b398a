//! What changes around the rows.

use super::*;

#[tokio::test]
async fn truncate_is_noticed() {
    let owned =
        Owned::captured("CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1)", &[("t", &["id"])])
            .await;
    for number in 0..2 {
        let since = owned.publish(number).await;
        assert!(!owned.is_behind().await);
        owned.run("TRUNCATE t; INSERT INTO t VALUES (1)").await;
        assert!(owned.is_behind().await);
        assert_eq!(owned.whole(&since).await, ["t"]);
        owned.install(&[("t", &["id"])]).await;
        let since = owned.publish(number).await;
        assert!(owned.changes(&since).await.is_empty() && !owned.is_behind().await);
    }
}

#[tokio::test]
async fn what_foreign_keys_change_is_noticed() {
    let owned = Owned::captured(
        "CREATE TABLE top (id INT PRIMARY KEY, name VARCHAR(9));
         CREATE TABLE middle (id INT PRIMARY KEY, top_id INT, FOREIGN KEY (top_id) REFERENCES top (id) ON DELETE CASCADE ON UPDATE CASCADE);
         CREATE TABLE low (id INT PRIMARY KEY, middle_id INT, FOREIGN KEY (middle_id) REFERENCES middle (id) ON DELETE SET NULL);
         CREATE TABLE tree (id INT PRIMARY KEY, up INT, FOREIGN KEY (up) REFERENCES tree (id) ON DELETE CASCADE);
         INSERT INTO top VALUES (1, 'x'), (2, 'y'), (3, 'z'); INSERT INTO middle VALUES (1, 1), (2, 2), (3, 3);
         INSERT INTO low VALUES (1, 1), (2, 2), (3, 3); INSERT INTO tree VALUES (1, NULL), (2, 1), (3, 2)",
        &[("middle", &["id", "top_id"]), ("low", &["id", "middle_id"]), ("tree", &["id"])],
    )
    .await;
    for (script, expected) in [
        ("UPDATE top SET name = 'other' WHERE id = 1", vec![]),
        ("UPDATE top SET id = 9 WHERE id = 1", vec!["low", "middle"]),
        ("DELETE FROM top WHERE id = 2", vec!["low", "middle"]),
        ("DELETE FROM middle WHERE id = 3", vec!["low"]),
        ("DELETE FROM tree WHERE id = 1", vec!["tree"]),
    ] {
        let since = owned.seen().await;
        owned.run(script).await;
        assert_eq!(owned.whole(&since).await, expected, "{script}");
    }
}

#[tokio::test]
async fn a_dropped_column_fails_no_edit() {
    let wanted: &[(&str, &[&str])] = &[("t", &["id", "name"])];
    let owned = Owned::captured(
        "CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(9)); INSERT INTO t VALUES (1, 'x')",
        wanted,
    )
    .await;
    let since = owned.publish(1).await;
    owned.run("ALTER TABLE t DROP COLUMN name; UPDATE t SET id = 2; INSERT INTO t VALUES (3); DELETE FROM t WHERE id = 2").await;
    assert!(owned.is_behind().await);
    assert_eq!(owned.whole(&since).await, ["t"]);
    let since = owned.seen().await;
    owned.run("UPDATE t SET id = 4").await;
    assert_eq!(owned.whole(&since).await, ["t"], "until it is installed again, nothing is known");
    assert_eq!(owned.install(wanted).await.tables, [owned.table("t")]);
    let since = owned.seen().await;
    owned.run("UPDATE t SET id = 5").await;
    assert_eq!(owned.images(&since, "t", &["id"]).await, ints(&[4, 5]));
}

#[tokio::test]
async fn a_dropped_or_altered_trigger_is_noticed() {
    let wanted: &[(&str, &[&str])] = &[("t", &["id"])];
    let owned = Owned::captured("CREATE TABLE t (id INT PRIMARY KEY)", wanted).await;
    for script in [
        "DROP TRIGGER edgepress_on_1_insert",
        "DROP TRIGGER edgepress_on_2_delete; CREATE TRIGGER edgepress_on_2_delete AFTER DELETE ON t FOR EACH ROW SET @x = 1",
        "DROP TABLE edgepress_change_3",
        "RENAME TABLE t TO u; CREATE TABLE t (id INT PRIMARY KEY)",
    ] {
        let since = owned.publish(1).await;
        owned.run(script).await;
        owned.run("INSERT INTO t VALUES (1); UPDATE t SET id = 2; DELETE FROM t").await;
        assert!(owned.is_behind().await, "{script}");
        let status = owned.database.status().await.unwrap();
        assert!(status.tables[0].problem.is_some(), "{script}");
        assert_eq!(owned.install(wanted).await.tables, [owned.table("t")], "{script}");
        assert_eq!(owned.whole(&since).await, ["t"], "{script}");
        assert_eq!(owned.database.status().await.unwrap().tables[0].problem, None, "{script}");
    }
    owned.run("DROP TABLE edgepress_log; INSERT INTO t VALUES (7)").await;
    let since = owned.database.snapshot().await.unwrap().seen().await.unwrap();
    assert_eq!(since, None);
    owned.install(wanted).await;
    assert!(owned.changes(&Seen(String::new())).await.everything.is_some());
}

#[tokio::test]
async fn names_may_need_quotes() {
    let columns: &[&str] = &["a b", "it`s", "Group", "\u{e4}'\\"];
    let owned = Owned::captured(
        "SET NAMES utf8mb4; CREATE TABLE `select` (`a b` INT, `it``s` INT, `Group` INT, `\u{e4}'\\` INT);
         CREATE TABLE `SELECT` (`a b` INT)",
        &[("select", columns), ("SELECT", &["a b"])],
    )
    .await;
    let since = owned.seen().await;
    owned.run("INSERT INTO `select` VALUES (1, 2, 3, 4)").await;
    assert_eq!(owned.images(&since, "select", columns).await.len(), 1);
    assert_eq!(owned.images(&since, "SELECT", &["a b"]).await.len(), 0);
}

#[tokio::test]
async fn tables_without_transactions_are_refused() {
    let wanted: &[(&str, &[&str])] = &[("t", &["id"])];
    let (url, database, owner) = database("CREATE TABLE t (id INT PRIMARY KEY) ENGINE=MyISAM").await;
    let owned = Owned { url, database, owner };
    let installed = owned.install(wanted).await;
    assert!(installed.tables.is_empty());
    assert!(installed.notes[0].contains("ALTER TABLE `t` ENGINE=InnoDB"), "{installed:?}");
    let catalog = owned.database.snapshot().await.unwrap().catalog().await.unwrap();
    assert!(catalog.tables[&owned.table("t")].uncapturable.is_some());
    owned.run("ALTER TABLE t ENGINE=InnoDB").await;
    assert_eq!(owned.install(wanted).await.tables.len(), 1);
}

#[tokio::test]
async fn truncate_is_noticed_without_the_right_to_see_numbers() {
    let wanted: &[(&str, &[&str])] = &[("t", &["id"])];
    let (url, database, owner) =
        database("CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let schema = database.opened.schema.clone();
    owner
        .execute(&format!(
            "CREATE OR REPLACE USER plain_{schema} IDENTIFIED BY 'x'; GRANT ALL ON {schema}.* TO plain_{schema}"
        ))
        .await;
    let database = Mysql::open(&url.replace("root@", &format!("plain_{schema}:x@"))).await.unwrap();
    let owned = Owned { url, database, owner };
    let installed = owned.install(wanted).await;
    assert!(installed.notes[0].contains("grant"), "{installed:?}");
    let since = owned.publish(1).await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    owned.run("TRUNCATE t").await;
    assert_eq!(owned.whole(&since).await, ["t"]);
}

#[tokio::test]
async fn another_view_is_looked_at() {
    let wanted: &[(&str, &[&str])] = &[("t", &["id"])];
    let owned =
        Owned::captured("CREATE TABLE t (id INT PRIMARY KEY); CREATE VIEW v AS SELECT id FROM t", wanted)
            .await;
    owned.publish(1).await;
    assert!(!owned.is_behind().await);
    owned.run("CREATE OR REPLACE VIEW v AS SELECT id + 1 AS id FROM t").await;
    assert!(owned.is_behind().await);
    owned.install(wanted).await;
    assert!(!owned.is_behind().await);
}

#[tokio::test]
async fn ddl_that_leaves_the_captured_columns_alone_counts_as_no_change() {
    let wanted: &[(&str, &[&str])] = &[("t", &["id", "name"])];
    let schema = "CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(9), more INT DEFAULT 5); INSERT INTO t VALUES (1, 'x', 7)";
    let (_server, url, database, owner) = alone(schema).await;
    let owned = Owned { url, database, owner };
    owned.install(wanted).await;
    for (ddl, expected) in [
        ("CREATE INDEX named ON t (name)", &[][..]),
        ("CREATE UNIQUE INDEX one ON t (more)", &[]),
        ("ALTER TABLE t RENAME COLUMN more TO most; DROP INDEX one ON t", &[]),
        ("ALTER TABLE t ALTER COLUMN most SET DEFAULT 6", &[]),
        ("INSERT INTO t VALUES (2, 'y', 8)", &[]),
        // That a column was added is not told apart from that one was dropped and added back, or renamed.
        ("ALTER TABLE t ADD COLUMN other INT", &["t"]),
        ("ALTER TABLE t DROP COLUMN most", &["t"]),
        ("ALTER TABLE t DROP COLUMN name, ADD COLUMN name VARCHAR(9)", &["t"]),
        ("ALTER TABLE t FORCE", &["t"]),
    ] {
        let since = owned.publish(1).await;
        owned.run(ddl).await;
        owned.install(wanted).await;
        assert_eq!(owned.whole(&since).await, expected, "{ddl}");
    }
    // Under a name that another had.
    let print = async || {
        let catalog = owned.database.snapshot().await.unwrap().catalog().await.unwrap();
        catalog.tables[&owned.table("t")].columns.iter().find(|column| column.name == "name").unwrap().clone()
    };
    owned.run("ALTER TABLE t ADD COLUMN label VARCHAR(9)").await;
    let before = print().await;
    owned.run("ALTER TABLE t RENAME COLUMN name TO old, RENAME COLUMN label TO name").await;
    assert_ne!(print().await.fingerprint, before.fingerprint);
}
