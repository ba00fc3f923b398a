//! What the owner, a restore or time does to our tables is noticed; nothing grows without bound.

use super::*;

const WANTED: [(&str, &[&str]); 1] = [("product", &["id", "name"])];

/// Everything of ours in the schema.
const OURS: &str =
    "SELECT count(*) FROM sqlite_schema WHERE name LIKE '%edgepress%' OR sql LIKE '%edgepress%'";

async fn owned() -> Owned {
    Owned::captured(PRODUCT, &WANTED).await
}

#[tokio::test]
async fn whatever_is_missing_is_mended_and_its_table_counts_as_changed() {
    for damage in [
        "DROP TRIGGER edgepress_insert_product",
        "DROP TRIGGER edgepress_delete_product",
        "DROP TRIGGER edgepress_update_product",
        "DROP TRIGGER edgepress_replace_product",
        "DROP TRIGGER edgepress_displace_product",
        "DROP TABLE edgepress_change_product",
        "ALTER TABLE edgepress_change_product RENAME COLUMN name TO label",
        "DROP TRIGGER edgepress_update_product; \
         CREATE TRIGGER edgepress_update_product AFTER UPDATE ON product BEGIN SELECT 1; END",
        // By its triggers, an UPDATE of this column is not seen.
        "CREATE UNIQUE INDEX one ON product (price)",
        // Whoever rebuilds a table by the manual puts its triggers back.
        "CREATE TABLE edgepress_past AS SELECT sql FROM sqlite_schema WHERE tbl_name = 'product' AND type = 'trigger'; \
         CREATE TABLE new (id INTEGER PRIMARY KEY, name TEXT, price INTEGER, views INTEGER); DROP TABLE product; \
         ALTER TABLE new RENAME TO product; PRAGMA writable_schema = ON; \
         INSERT INTO sqlite_schema SELECT 'trigger', substr(sql, 17, instr(substr(sql, 17), '\"') - 1), 'product', 0, sql \
         FROM edgepress_past; PRAGMA writable_schema = RESET",
        // How ALTER TABLE is done by hand, and by many tools.
        "CREATE TABLE new (id INTEGER PRIMARY KEY, name TEXT, price REAL); \
         INSERT INTO new SELECT id, name, price FROM product; DROP TABLE product; ALTER TABLE new RENAME TO product",
        "ALTER TABLE product RENAME TO old; CREATE TABLE product (id INTEGER PRIMARY KEY, name TEXT)",
        "ALTER TABLE product RENAME COLUMN name TO title; ALTER TABLE product ADD COLUMN name TEXT",
    ] {
        let owned = owned().await;
        owned.publish(1).await;
        let seen = owned.seen().await;
        owned.run(damage);
        assert!(owned.capture().is_behind(ME).await.unwrap(), "{damage}");
        let problem = owned.capture().status().await.unwrap().tables[0].problem.clone();
        assert!(problem.is_some(), "{damage}");
        let installed = owned.capture().install(ME, &reads(&WANTED)).await.unwrap();
        assert_eq!((installed.tables, installed.notes), (vec![table("product")], vec![]), "{damage}");
        assert_eq!(owned.capture().status().await.unwrap().tables[0].problem, None);
        assert_eq!(owned.changes(&seen).await.whole, BTreeSet::from([table("product")]), "{damage}");
        let seen = owned.seen().await;
        owned.run("INSERT INTO product (id, name) VALUES (9, 'z')");
        assert_eq!(owned.images(&seen, "product", &["id", "name"]).await, ["9|'z'"], "{damage}");
        assert_eq!(owned.capture().install(ME, &reads(&WANTED)).await.unwrap(), Installed::default());
    }
}

#[tokio::test]
async fn whatever_is_renamed_editing_goes_on() {
    let schema = "CREATE TABLE product (id INTEGER PRIMARY KEY, name TEXT UNIQUE, code, live);
        CREATE UNIQUE INDEX one ON product (lower(code), live); CREATE UNIQUE INDEX two ON product (code) WHERE live > 0;
        INSERT INTO product VALUES (1, 'a', 'x', 1);";
    let owned = Owned::captured(schema, &[("product", &["id", "name", "code"])]).await;
    for rename in [
        "ALTER TABLE product RENAME COLUMN code TO \"the code\"",
        "ALTER TABLE product RENAME COLUMN live TO id2",
        "ALTER TABLE product RENAME COLUMN id TO number",
        "ALTER TABLE product RENAME TO \"all products\"",
        "ALTER TABLE \"all products\" RENAME COLUMN name TO title",
    ] {
        owned.run(rename);
        let on = if rename.contains("all products") { "\"all products\"" } else { "product" };
        owned.run(&format!(
            "REPLACE INTO {on} VALUES (1, 'b', 'X', 1), (2, 'a', 'y', 1); UPDATE {on} SET \"the code\" = 'q' WHERE 0; \
             UPDATE OR REPLACE {on} SET \"the code\" = 'X' WHERE \"the code\" = 'y'; DELETE FROM {on}"
        ));
    }
    let wanted = reads(&[("all products", &["number", "title", "the code"])]);
    let installed = owned.capture().install(ME, &wanted).await.unwrap();
    assert_eq!(installed.tables, [table("all products")]);
    let ours = "SELECT count(*) FROM sqlite_schema WHERE name LIKE '%_product' OR tbl_name LIKE '%_product'";
    assert_eq!(owned.run(ours), "0", "nothing is left under the old name");
}

#[tokio::test]
async fn schema_changes_that_do_not_touch_capture_leave_it_alone() {
    let owned = owned().await;
    for (number, ddl) in [
        "CREATE TABLE other (id)",
        "CREATE INDEX i ON product (price)",
        "ALTER TABLE product ADD COLUMN more",
        "VACUUM",
    ]
    .into_iter()
    .enumerate()
    {
        owned.publish(number as u64 + 1).await;
        let seen = owned.seen().await;
        owned.run(ddl);
        assert!(owned.capture().is_behind(ME).await.unwrap(), "in doubt: {ddl}");
        assert_eq!(owned.capture().install(ME, &reads(&WANTED)).await.unwrap(), Installed::default());
        assert!(owned.changes(&seen).await.is_empty(), "{ddl}");
    }
    owned.publish(9).await;
    assert!(!owned.capture().is_behind(ME).await.unwrap());
}

/// A key of columns that nobody records may have been there, and an UPDATE OR REPLACE of them.
#[tokio::test]
async fn after_two_changes_of_the_schema_nothing_is_sure() {
    let owned = owned().await;
    owned.run("ALTER TABLE product ADD COLUMN unread; UPDATE product SET unread = id");
    owned.capture().install(ME, &reads(&WANTED)).await.unwrap();
    let seen = owned.seen().await;
    owned.run(
        "CREATE UNIQUE INDEX one ON product (unread); \
         UPDATE OR REPLACE product SET unread = 2 WHERE id = 1; DROP INDEX one",
    );
    assert_eq!(owned.capture().install(ME, &reads(&WANTED)).await.unwrap(), Installed::default());
    assert_eq!(owned.changes(&seen).await.whole, BTreeSet::from([table("product")]));
}

/// What REPLACE writes into it instead of NULL is in no key.
#[tokio::test]
async fn a_column_with_a_default_that_is_in_no_key_can_be_dropped() {
    let schema = "CREATE TABLE product (id INTEGER PRIMARY KEY, name TEXT UNIQUE, code TEXT NOT NULL DEFAULT 'x' UNIQUE,
        qty INTEGER NOT NULL DEFAULT 0);";
    let owned = Owned::captured(schema, &WANTED).await;
    owned.run(
        "INSERT OR REPLACE INTO product VALUES (1, 'a', 'b', NULL); ALTER TABLE product DROP COLUMN qty",
    );
    let seen = owned.seen().await;
    owned.run("INSERT OR REPLACE INTO product VALUES (2, 'b', NULL)");
    assert_eq!(
        owned.changes(&seen).await.whole,
        BTreeSet::from([table("product")]),
        "which key it has is not seen"
    );
}

#[tokio::test]
async fn installing_what_is_there_writes_nothing() {
    let owned = owned().await;
    let version = owned.database.data_version().await.unwrap();
    for _ in 0..3 {
        assert_eq!(owned.capture().install(ME, &reads(&WANTED)).await.unwrap(), Installed::default());
        let again = Sqlite::open(&format!("sqlite:{}", owned.path.display()), None).await.unwrap();
        assert_eq!(again.install(ME, &reads(&WANTED)).await.unwrap(), Installed::default());
    }
    assert_eq!(owned.database.data_version().await.unwrap(), version);
}

#[tokio::test]
async fn consumers_share_what_is_captured() {
    let owned = owned().await;
    let other = [("product", ["NAME", "price"].as_slice()), ("edgepress_log", &["id"]), ("gone", &["id"])];
    let seen = owned.seen().await;
    owned.run("UPDATE product SET name = 'ape' WHERE id = 1; UPDATE product SET price = 9 WHERE id = 2");
    let installed = owned.capture().install("other", &reads(&other)).await.unwrap();
    assert_eq!(installed.tables, [], "what was captured still is");
    let status = owned.capture().status().await.unwrap();
    assert_eq!(status.tables.len(), 1);
    assert!(status.tables[0].columns.iter().eq(["id", "name", "price"]));
    owned.run("UPDATE product SET price = 10 WHERE id = 2");
    let fresh = |changes: &Changes| changes.fresh.get(&table("product")).cloned().unwrap_or_default();
    assert!(fresh(&owned.changes(&seen).await).iter().eq(["price"]));
    assert_eq!(owned.images(&seen, "product", &["id", "name"]).await, ["1|'ant'", "1|'ape'"]);
    let later = owned.seen().await;
    for (consumer, wanted) in [(ME, reads(&WANTED)), ("other", reads(&other))] {
        assert_eq!(owned.capture().install(consumer, &wanted).await.unwrap(), Installed::default());
    }
    owned.publish(1).await;
    assert!(owned.capture().is_behind("other").await.unwrap(), "it published nothing yet");
    assert!(!owned.capture().is_behind(ME).await.unwrap());
    // One that reads less, and with it the last that read the price.
    let less = [("product", ["name"].as_slice())];
    assert_eq!(owned.capture().install("other", &reads(&less)).await.unwrap().tables, []);
    assert!(owned.capture().status().await.unwrap().tables[0].columns.iter().eq(["id", "name"]));
    assert!(owned.changes(&later).await.is_empty());
    owned.run("UPDATE product SET price = 11 WHERE id = 2");
    owned.capture().install("other", &reads(&other)).await.unwrap();
    assert!(fresh(&owned.changes(&later).await).iter().eq(["price"]), "for a while nobody recorded it");
    assert!(fresh(&owned.changes(&owned.seen().await).await).is_empty());
}

/// Images keep their columns' places, however many there are and whichever come and go.
#[tokio::test]
async fn images_outlive_the_columns_that_are_captured_with_them() {
    let names: Vec<String> = (0..70).map(|number| format!("c{number}")).collect();
    let schema = format!(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, {0}); INSERT INTO t (id) VALUES (1)",
        names.join(", ")
    );
    let of = |wanted: &[&str]| {
        let mut all: Vec<&str> = wanted.to_vec();
        all.push("id");
        reads(&[("t", &all)])
    };
    let owned = Owned::new(&schema).await;
    owned.database.install(ME, &of(&["c5", "c6", "c7"])).await.unwrap();
    let seen = owned.seen().await;
    owned.run("UPDATE t SET c6 = 'x'");
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    for wanted in [all.as_slice(), &["c6", "c7", "c69"], &["c1", "c6"]] {
        assert_eq!(owned.database.install(ME, &of(wanted)).await.unwrap().tables, []);
        assert_eq!(owned.images(&seen, "t", &["id", "c6"]).await, ["1|'x'", "1|NULL"], "{}", wanted.len());
        let others = if wanted.contains(&"c7") { vec!["id", "c7"] } else { vec!["id"] };
        assert!(owned.images(&seen, "t", &others).await.is_empty(), "no other column changed");
    }
    owned.run("UPDATE t SET c6 = NULL");
    assert!(owned.images(&seen, "t", &["id", "c6"]).await.is_empty(), "it was undone");
}

/// What captures a table follows its unique keys. Where nothing can have been missed meanwhile, nothing counts as
/// changed.
#[tokio::test]
async fn unique_keys_come_and_go_and_no_change_is_missed() {
    let schema = "CREATE TABLE product (id INTEGER PRIMARY KEY, name TEXT, code TEXT, twice AS (id * 2));
        CREATE UNIQUE INDEX coded ON product (code); INSERT INTO product VALUES (1, 'a', 'x'), (2, 'b', 'y');";
    for ddl in [
        "DROP INDEX coded",
        "CREATE INDEX plain ON product (name)",
        "CREATE UNIQUE INDEX named ON product (name)",
        "CREATE UNIQUE INDEX named ON product (lower(name)) WHERE id > 0",
        "ALTER TABLE product RENAME COLUMN code TO sku",
        "ALTER TABLE product ADD COLUMN more NOT NULL DEFAULT 1",
        "CREATE UNIQUE INDEX named ON product (name, id)",
        "VACUUM",
    ] {
        let owned = Owned::captured(schema, &WANTED).await;
        owned.publish(1).await;
        let seen = owned.seen().await;
        owned.run(ddl);
        assert_eq!(
            owned.capture().install(ME, &reads(&WANTED)).await.unwrap(),
            Installed::default(),
            "{ddl}"
        );
        assert!(owned.changes(&seen).await.is_empty(), "{ddl}");
        assert_eq!(
            owned.capture().install(ME, &reads(&WANTED)).await.unwrap(),
            Installed::default(),
            "{ddl}"
        );
        let seen = owned.seen().await;
        owned.run(
            "INSERT OR REPLACE INTO product (id, name) VALUES (3, 'a'); DELETE FROM product WHERE id > 1",
        );
        let there = owned.run("SELECT count(*) FROM product WHERE id = 1");
        let images = owned.images(&seen, "product", &["id", "name"]).await;
        assert_eq!(images.contains(&"1|'a'".to_owned()), there == "0", "{ddl}: {images:?}");
        assert!(images.contains(&"2|'b'".to_owned()), "{ddl}: {images:?}");
    }
    // Edits that came beside a key which was not looked up yet, or is gone again, may have removed other rows.
    for edit in [
        "UPDATE product SET name = 'c' WHERE id = 1; CREATE UNIQUE INDEX named ON product (name)",
        "CREATE UNIQUE INDEX named ON product (name); REPLACE INTO product VALUES (3, 'a', 'n')",
        "CREATE UNIQUE INDEX named ON product (name); REPLACE INTO product VALUES (3, 'a', 'n'); DROP INDEX named",
        "REPLACE INTO product VALUES (5, 'c', 'x'); DROP INDEX coded",
    ] {
        let owned = Owned::captured(schema, &WANTED).await;
        let seen = owned.seen().await;
        owned.run(edit);
        assert_eq!(owned.capture().install(ME, &reads(&WANTED)).await.unwrap().tables, [], "{edit}");
        assert_eq!(owned.changes(&seen).await.whole, BTreeSet::from([table("product")]), "{edit}");
        let seen = owned.seen().await;
        owned.run("INSERT INTO product VALUES (9, 'z', 'z')");
        assert_eq!(owned.images(&seen, "product", &["id"]).await, ["9"], "{edit}");
    }
}

#[tokio::test]
async fn a_table_captured_anew_counts_as_changed_even_if_nothing_was() {
    let owned = owned().await;
    let seen = owned.seen().await;
    owned.capture().install(ME, &Reads::new()).await.unwrap();
    assert!(owned.capture().status().await.unwrap().tables.is_empty());
    owned.run("UPDATE product SET name = 'unseen'");
    owned.capture().install(ME, &reads(&WANTED)).await.unwrap();
    assert_eq!(owned.changes(&seen).await.whole, BTreeSet::from([table("product")]));
}

#[tokio::test]
async fn changes_are_deleted_once_every_consumer_has_seen_them() {
    let owned = owned().await;
    let capture = owned.capture();
    capture.install("other", &reads(&WANTED)).await.unwrap();
    let count = "SELECT (SELECT count(*) FROM edgepress_log) || ' ' || (SELECT count(*) FROM edgepress_change_product)";
    owned.publish(1).await;
    capture
        .consume("other", &Intent { number: 1, seen: owned.seen().await, state: String::new() })
        .await
        .unwrap();
    let before = owned.seen().await;
    owned.run("UPDATE product SET name = name || '!'");
    owned.publish(2).await;
    capture.prune(100).await.unwrap();
    assert_eq!(owned.run(count), "2 4", "the other has not seen them");
    assert!(owned.changes(&before).await.everything.is_none());
    owned.run("UPDATE product SET name = name || '?'");
    owned.publish(3).await;
    capture.prune(1).await.unwrap();
    assert_eq!(owned.run(count), "1 0", "the other lags by more than that; the last number is kept");
    let everything = owned.changes(&before).await.everything;
    assert_eq!(everything.as_deref(), Some("changes were deleted before they were seen"));
    assert!(owned.changes(&owned.seen().await).await.is_empty());
    assert!(!capture.is_behind(ME).await.unwrap());
    assert!(capture.is_behind("other").await.unwrap());
    owned.run("DELETE FROM product WHERE id = 1");
    assert_eq!(owned.run("SELECT max(id) FROM edgepress_log"), "5", "no number is used again");
}

#[tokio::test]
async fn numbers_go_on_after_a_statement_that_failed_halfway() {
    let owned = Owned::captured(
        "CREATE TABLE product (id INTEGER PRIMARY KEY, name TEXT UNIQUE); INSERT INTO product VALUES (1, 'a'), (2, 'b')",
        &WANTED,
    )
    .await;
    for name in ["x", "y", "z"] {
        let seen = owned.seen().await;
        // The first row is changed, and stays so; sqlite_sequence would not know.
        owned.try_run(&format!("UPDATE OR FAIL product SET name = '{name}'")).unwrap_err();
        let images = owned.images(&seen, "product", &["id", "name"]).await;
        assert!(images.contains(&format!("1|'{name}'")), "{images:?}");
        owned.publish(1).await;
        owned.capture().prune(100).await.unwrap();
    }
    let seen = owned.seen().await;
    owned.run("DELETE FROM edgepress_log");
    assert!(owned.changes(&seen).await.everything.is_some());
    owned.publish(2).await;
    owned.capture().prune(100).await.unwrap();
    owned.publish(3).await;
    let seen = owned.seen().await;
    owned.run("DELETE FROM product WHERE id = 1");
    assert_eq!(owned.images(&seen, "product", &["name"]).await, ["'z'"]);
}

#[tokio::test]
async fn many_changes_are_deleted_in_small_steps() {
    let owned = owned().await;
    owned.publish(1).await;
    let rows = PRUNED_AT_ONCE * 2 + 100;
    owned.run(&format!(
        "WITH RECURSIVE n (i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < {rows} + 9)
         INSERT INTO product SELECT i, 'p' || i, i, 0 FROM n"
    ));
    let seen = owned.seen().await;
    owned.run("DELETE FROM product WHERE id = 10");
    owned.capture().consume(ME, &Intent { number: 2, seen, state: String::new() }).await.unwrap();
    owned.capture().prune(1_000_000).await.unwrap();
    assert_eq!(owned.run("SELECT count(*) FROM edgepress_log"), "1");
    assert_eq!(owned.run("SELECT count(*) FROM edgepress_change_product"), "1");
    owned.publish(3).await;
    owned.capture().prune(1_000_000).await.unwrap();
    assert_eq!(owned.run("SELECT count(*) FROM edgepress_change_product"), "0");
}

#[tokio::test]
async fn a_publisher_that_stays_away_costs_a_bounded_file() {
    let owned = owned().await;
    owned.publish(1).await;
    let seen = owned.seen().await;
    owned.run("UPDATE product SET name = 'first' WHERE id = 1");
    owned.run(&format!("INSERT INTO edgepress_log (id) VALUES ({MOST_CHANGES} + 1)"));
    let count = "SELECT count(*) FROM edgepress_change_product";
    assert_eq!(owned.run(count), "2");
    owned.run("UPDATE product SET name = 'second'; REPLACE INTO product VALUES (1, 'third', 0, 0); DELETE FROM product WHERE id = 2");
    assert_eq!(owned.run(count), "2", "nothing further is recorded");
    let full = owned.seen().await;
    let everything = owned.changes(&seen).await.everything;
    assert_eq!(everything.as_deref(), Some("more changes are waiting than are recorded"));
    // A cycle makes room before it looks, so that one full publish is enough.
    owned.publish(2).await;
    assert!(owned.capture().is_behind(ME).await.unwrap());
    owned.capture().install(ME, &reads(&WANTED)).await.unwrap();
    for before in [&seen, &full] {
        let everything = owned.changes(before).await.everything;
        assert_eq!(everything.as_deref(), Some("more changes came than are recorded"));
    }
    let seen = owned.seen().await;
    owned.run("UPDATE product SET name = 'fourth'");
    assert_eq!(owned.images(&seen, "product", &["name"]).await, ["'fourth'", "'third'"]);
}

#[tokio::test]
async fn intents_of_one_that_never_succeeds_are_bounded() {
    let owned = owned().await;
    let seen = owned.seen().await;
    for number in 1..=MOST_INTENTS.unsigned_abs() + 10 {
        owned
            .capture()
            .intend(ME, &Intent { number, seen: seen.clone(), state: String::new() })
            .await
            .unwrap();
    }
    let intents = owned.capture().consumer(ME).await.unwrap().unwrap().intents;
    assert_eq!((intents.len(), intents[0].number), (64, 11));
    owned.publish(75).await;
    assert!(owned.capture().consumer(ME).await.unwrap().unwrap().intents.is_empty());
}

#[tokio::test]
async fn a_restored_backup_is_noticed() {
    let owned = owned().await;
    owned.publish(1).await;
    let backup = owned.path.with_file_name("backup.db");
    owned.run(&format!("VACUUM INTO '{}'", backup.display()));
    owned.run("UPDATE product SET name = 'later'");
    let seen = owned.seen().await;
    assert!(owned.changes(&seen).await.is_empty());
    // Copied over the open database by SQLite itself, as `.restore` does.
    owned.run(&format!(".restore '{}'", backup.display()));
    let changes = owned.changes(&seen).await;
    assert!(changes.everything.as_deref().unwrap().contains("a backup was restored"), "{changes:?}");
    assert!(owned.capture().is_behind(ME).await.unwrap());
    assert!(owned.changes(&changes.seen).await.is_empty());
}

#[tokio::test]
async fn a_dump_read_into_a_new_file_carries_its_capture() {
    let owned = owned().await;
    owned.publish(1).await;
    let seen = owned.seen().await;
    let dump = owned.path.with_file_name("dump.sql");
    std::fs::write(&dump, owned.run(".dump")).unwrap();
    let copy = owned.path.with_file_name("copy.db");
    let read = format!(".read '{}'", dump.display());
    assert!(Command::new("sqlite3").arg(&copy).arg(read).status().unwrap().success());
    let database = Sqlite::open(&format!("sqlite:{}", copy.display()), None).await.unwrap();
    let installed = database.install(ME, &reads(&WANTED)).await.unwrap();
    assert_eq!(installed.tables, [], "its triggers are there");
    assert!(installed.notes[0].contains("WAL"), "{installed:?}");
    assert!(database.snapshot().await.unwrap().changes(&seen).await.unwrap().is_empty());
    assert!(!database.is_behind(ME).await.unwrap());
}

#[tokio::test]
async fn another_database_at_the_same_path_is_noticed() {
    let owned = owned().await;
    let seen = owned.seen().await;
    let other = self::owned().await;
    std::fs::rename(&other.path, &owned.path).unwrap();
    for suffix in ["-wal", "-shm"] {
        let of = |path: &PathBuf| PathBuf::from(format!("{}{suffix}", path.display()));
        std::fs::remove_file(of(&owned.path)).ok();
        std::fs::rename(of(&other.path), of(&owned.path)).ok();
    }
    let changes = owned.changes(&seen).await;
    assert!(changes.everything.as_deref().unwrap().contains("another database"), "{changes:?}");
}

#[tokio::test]
async fn what_another_version_left_is_replaced() {
    let owned = owned().await;
    owned.publish(1).await;
    let seen = owned.seen().await;
    owned.run("ALTER TABLE edgepress_consumer ADD COLUMN more");
    assert_eq!(owned.capture().consumer(ME).await.unwrap(), None);
    assert!(owned.snapshot().await.seen().await.unwrap().is_none());
    assert!(owned.changes(&seen).await.everything.is_some());
    owned.capture().install(ME, &reads(&WANTED)).await.unwrap();
    assert!(owned.changes(&seen).await.everything.unwrap().contains("installed anew"));
    assert_eq!(
        owned.capture().consumer(ME).await.unwrap(),
        Some(Consumer { consumed: None, intents: vec![] })
    );
}

#[tokio::test]
async fn removing_leaves_no_trace() {
    let owned = Owned::new(PRODUCT).await;
    assert!(!owned.capture().remove().await.unwrap());
    let wanted = reads(&WANTED);
    owned.capture().install(ME, &wanted).await.unwrap();
    assert_ne!(owned.run(OURS), "0");
    owned.run("UPDATE product SET name = 'x'");
    assert!(owned.capture().remove().await.unwrap());
    assert_eq!(owned.run(OURS), "0");
    assert_eq!(owned.run("SELECT count(*) FROM sqlite_schema"), "1", "only the owner's table");
    assert_eq!(owned.run("PRAGMA integrity_check"), "ok");
    owned.run("UPDATE product SET name = 'y'; DROP TABLE product");
    assert!(!owned.capture().remove().await.unwrap());
    assert_eq!(owned.capture().status().await.unwrap(), Status::default());
    assert!(owned.capture().prune(1).await.is_ok());
    let error = owned
        .capture()
        .intend(ME, &Intent { number: 1, seen: Seen(String::new()), state: String::new() })
        .await;
    assert!(error.unwrap_err().to_string().contains("edgepress_intent"));
}

#[tokio::test]
async fn the_owner_may_run_the_statements_by_hand() {
    let owned = Owned::new(PRODUCT).await;
    let wanted = reads(&WANTED);
    let statements = owned.capture().statements(ME, &wanted).await.unwrap();
    assert_eq!(statements[..2], ["PRAGMA journal_mode = WAL", "BEGIN IMMEDIATE"]);
    assert_eq!(owned.run(OURS), "0", "they were only shown");
    owned.run(&(statements.join(";\n") + ";"));
    assert!(owned.capture().statements(ME, &wanted).await.unwrap().is_empty());
    assert_eq!(owned.capture().install(ME, &wanted).await.unwrap(), Installed::default());
    owned.run("DROP TRIGGER edgepress_update_product");
    let statements = owned.capture().statements(ME, &wanted).await.unwrap();
    owned.run(&(statements.join(";\n") + ";"));
    assert_eq!(owned.capture().install(ME, &wanted).await.unwrap(), Installed::default());
}

#[tokio::test]
async fn a_database_that_may_not_be_written_is_a_clear_error() {
    let owned = Owned::new(PRODUCT).await;
    let url = format!("sqlite:{}?mode=ro", owned.path.display());
    let database = Sqlite::open(&url, None).await.unwrap();
    let error = database.install(ME, &reads(&WANTED)).await.unwrap_err().to_string();
    assert!(error.contains("shop.db and its folder may be written"), "{error}");
    assert!(database.snapshot().await.unwrap().seen().await.unwrap().is_none(), "it can still be read");
}

#[tokio::test]
async fn a_lock_that_is_held_too_long_is_a_clear_error() {
    let owned = owned().await;
    let mut other = owned.database.location.connect_writer().await.unwrap();
    let held = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let seen = owned.seen().await;
    let intent = Intent { number: 1, seen, state: String::new() };
    let error = owned.capture().intend(ME, &intent).await.unwrap_err().to_string();
    assert!(error.contains("another process has held") && error.contains("shop.db locked"), "{error}");
    assert_eq!(
        owned.capture().install(ME, &reads(&WANTED)).await.unwrap(),
        Installed::default(),
        "it only reads"
    );
    drop(held);
    owned.capture().intend(ME, &intent).await.unwrap();
}

#[tokio::test]
async fn capture_is_installed_beside_somebody_who_edits_all_the_time() {
    for _ in 0..20 {
        let owned = Owned::new(PRODUCT).await;
        let mut other = owned.database.location.connect_writer().await.unwrap();
        let edits = async {
            for _ in 0..20 {
                let held = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
                tokio::time::sleep(Duration::from_millis(1)).await;
                held.commit().await.unwrap();
            }
        };
        let wanted = reads(&WANTED);
        let ((), installed) = tokio::join!(edits, owned.capture().install(ME, &wanted));
        installed.unwrap();
    }
}

#[tokio::test]
async fn a_column_that_is_captured_cannot_be_dropped_until_no_query_reads_it() {
    let owned = owned().await;
    let error = owned.try_run("ALTER TABLE product DROP COLUMN name").unwrap_err();
    assert!(error.contains("edgepress_"), "SQLite says whose trigger it is: {error}");
    owned.run("ALTER TABLE product DROP COLUMN views");
    owned.capture().install(ME, &reads(&[("product", &["id"])])).await.unwrap();
    owned.run("ALTER TABLE product DROP COLUMN name");
    assert_eq!(
        owned.capture().install(ME, &reads(&[("product", &["id"])])).await.unwrap(),
        Installed::default()
    );
}

#[tokio::test]
async fn rows_that_vacuum_renumbers_count_as_changed_where_numbers_are_read() {
    for (key, is_whole) in [("id INTEGER", true), ("id INTEGER PRIMARY KEY", false)] {
        let schema = format!("CREATE TABLE t ({key}, v); INSERT INTO t VALUES (1, 'a'), (2, 'b')");
        let owned = Owned::captured(&schema, &[("t", &["rowid", "v"])]).await;
        owned.run("DELETE FROM t WHERE v = 'a'");
        let seen = owned.seen().await;
        owned.run("VACUUM");
        let changes = owned.changes(&seen).await;
        assert_eq!(!changes.whole.is_empty(), is_whole, "{key}: {changes:?}");
    }
}

/// Brings `mirror` up to what a snapshot sees by its changes alone, and compares.
async fn follow(owned: &Owned, mirror: &mut BTreeMap<i64, String>, seen: Seen) -> Seen {
    let mut snapshot = owned.snapshot().await;
    let changes = snapshot.changes(&seen).await.unwrap();
    let all = "SELECT id, name FROM product";
    let pair = |row: &Vec<Value>| match (&row[0], &row[1]) {
        (Value::Int(id), Value::Text(name)) => (*id, name.to_string()),
        other => panic!("{other:?}"),
    };
    if changes.everything.is_some() || !changes.whole.is_empty() {
        mirror.clear();
        mirror.extend(read(&mut *snapshot, all, None).await.unwrap().iter().map(pair));
    } else if let Some(images) = changes.tables.get(&table("product")) {
        let source = images.source(&BTreeSet::from(["id".to_owned(), "name".to_owned()]));
        let keys = snapshot.keys(&format!("SELECT id FROM ({source})"), usize::MAX).await.unwrap();
        let Keys::All(keys) = keys else { panic!() };
        for key in keys {
            let Value::Int(id) = key[0] else { panic!("{key:?}") };
            mirror.remove(&id);
            let one = format!("{all} WHERE id = {id}");
            mirror.extend(read(&mut *snapshot, &one, None).await.unwrap().iter().map(pair));
        }
    }
    let rows = read(&mut *snapshot, all, None).await.unwrap();
    assert_eq!(*mirror, rows.iter().map(pair).collect());
    changes.seen
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_follows_the_changes_knows_every_row_at_every_moment() {
    let owned = owned().await;
    owned.publish(1).await;
    let seen = owned.seen().await;
    let mut mirror = BTreeMap::from([(1, "ant".to_owned()), (2, "bee".to_owned())]);
    let mut editor = Command::new("sqlite3");
    editor.args(["-cmd", ".timeout 20000"]).arg(&owned.path);
    let mut edits = String::new();
    for number in 0..400 {
        let id = number * 7 % 40;
        edits.push_str(match number % 5 {
            0 => "BEGIN; DELETE FROM product WHERE id % 9 = 1; ",
            1 => "ROLLBACK; ",
            2 => "COMMIT; BEGIN; ",
            3 => "SAVEPOINT s; DELETE FROM product; ROLLBACK TO s; COMMIT; ",
            _ => "",
        });
        edits.push_str(&format!(
            "REPLACE INTO product (id, name) VALUES ({id}, 'n{number}'); \
             UPDATE OR REPLACE product SET id = id + 1, name = name || '.' WHERE id = {id} + 3;\n"
        ));
    }
    // Some of these fail, for there is no transaction then: it goes on.
    let mut editor =
        editor.arg(edits.replace("; ", ";\n")).stderr(std::process::Stdio::null()).spawn().unwrap();
    let (mut seen, mut rounds) = (seen, 0);
    loop {
        let is_over = editor.try_wait().unwrap().is_some();
        seen = follow(&owned, &mut mirror, seen).await;
        rounds += 1;
        if rounds % 3 == 0 {
            let intent = Intent { number: rounds, seen: seen.clone(), state: String::new() };
            owned.capture().consume(ME, &intent).await.unwrap();
            owned.capture().prune(20).await.unwrap();
        }
        if is_over {
            break;
        }
    }
    assert!(mirror.len() > 2 && rounds > 1, "{rounds} rounds: {mirror:?}");
}
