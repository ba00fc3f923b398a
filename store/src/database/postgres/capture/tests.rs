mod random;
mod rights;

use std::collections::{BTreeMap, BTreeSet};

use edgepress_site::row::Value;

use super::*;
use crate::database::Database as _;
use crate::database::capture::{Changes, Keys};
use crate::database::conformance::{Writer as _, text};
use crate::database::postgres::tests::{Other, database};

async fn table(database: &Postgres, name: &str) -> crate::database::capture::Table {
    let catalog = database.snapshot().await.unwrap().catalog().await.unwrap();
    catalog.find(None, name).unwrap().clone()
}

async fn install(database: &Postgres, wanted: &[(&str, &[&str])]) -> Installed {
    let mut reads = Reads::new();
    for (name, columns) in wanted {
        reads.insert(table(database, name).await, columns.iter().map(|&name| name.to_owned()).collect());
    }
    database.install("me", &reads).await.unwrap()
}

async fn seen(database: &Postgres) -> Seen {
    database.snapshot().await.unwrap().seen().await.unwrap().unwrap()
}

async fn changes(database: &Postgres, since: &Seen) -> Changes {
    database.snapshot().await.unwrap().changes(since).await.unwrap()
}

/// The tables of which anything may have changed.
async fn whole(database: &Postgres, since: &Seen) -> Vec<String> {
    let changes = changes(database, since).await;
    assert_eq!(changes.everything, None);
    changes.whole.into_iter().map(|table| table.name).collect()
}

async fn images(database: &Postgres, since: &Seen, name: &str, columns: &[&str]) -> Vec<Vec<Value>> {
    let table = table(database, name).await;
    let mut snapshot = database.snapshot().await.unwrap();
    let changes = snapshot.changes(since).await.unwrap();
    assert!(changes.everything.is_none() && changes.whole.is_empty(), "{changes:?}");
    let Some(images) = changes.tables.get(&table) else { return Vec::new() };
    let names: BTreeSet<String> = columns.iter().map(|&name| name.to_owned()).collect();
    let columns: Vec<String> = names.iter().map(|name| crate::database::text::quoted(name)).collect();
    let query = format!("SELECT {} FROM ({}) q", columns.join(", "), images.source(&names));
    let Keys::All(mut keys) = snapshot.keys(&query, 1_000).await.unwrap() else {
        panic!("there are not so many")
    };
    keys.sort_by_key(|key| format!("{key:?}"));
    keys
}

fn ints(numbers: &[i64]) -> Vec<Vec<Value>> {
    numbers.iter().map(|number| vec![Value::Int(*number)]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_commits_late_is_seen_once() {
    let (url, database, one) = database("CREATE TABLE t (id int PRIMARY KEY)").await;
    install(&database, &[("t", &["id"])]).await;
    let other = Other::open(&url).await;
    let start = seen(&database).await;
    one.execute("BEGIN").await;
    one.execute("INSERT INTO t VALUES (1)").await;
    other.execute("INSERT INTO t VALUES (2)").await;
    assert_eq!(images(&database, &start, "t", &["id"]).await, ints(&[2]));
    let middle = changes(&database, &start).await.seen;
    assert!(changes(&database, &middle).await.is_empty());
    one.execute("COMMIT").await;
    assert_eq!(images(&database, &middle, "t", &["id"]).await, ints(&[1]));
    assert_eq!(images(&database, &start, "t", &["id"]).await, ints(&[1, 2]));
    let end = changes(&database, &middle).await.seen;
    assert!(changes(&database, &end).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_commits_late_is_not_pruned_before_it_is_seen() {
    let (url, database, one) = database("CREATE TABLE t (id int PRIMARY KEY)").await;
    install(&database, &[("t", &["id"])]).await;
    let other = Other::open(&url).await;
    one.execute("BEGIN; INSERT INTO t VALUES (1)").await;
    other.execute("INSERT INTO t VALUES (2)").await;
    let middle = seen(&database).await;
    let intent = Intent { number: 1, seen: middle.clone(), state: String::new() };
    database.consume("me", &intent).await.unwrap();
    assert!(!database.is_behind("me").await.unwrap());
    one.execute("COMMIT").await;
    assert!(database.is_behind("me").await.unwrap());
    database.prune(1_000).await.unwrap();
    assert_eq!(images(&database, &middle, "t", &["id"]).await, ints(&[1]));
    let status = database.status().await.unwrap();
    assert_eq!(status.consumers, BTreeMap::from([("me".to_owned(), 1)]));
    let intent = Intent { number: 2, seen: seen(&database).await, state: String::new() };
    database.consume("me", &intent).await.unwrap();
    database.prune(0).await.unwrap();
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM edgepress_capture.log")
        .fetch_one(&database.location.pool)
        .await
        .unwrap();
    assert_eq!(left, 0);
    assert!(changes(&database, &middle).await.everything.unwrap().contains("deleted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn emptied_and_altered_tables_are_wholly_changed() {
    let (_, database, other) = database(
        "CREATE TABLE t (id int PRIMARY KEY, name text, note text); INSERT INTO t VALUES (1, 'a', 'b');
         CREATE TABLE u (id int PRIMARY KEY, name text)",
    )
    .await;
    install(&database, &[("t", &["id", "name"]), ("u", &["id"])]).await;
    let since = seen(&database).await;
    other.execute("TRUNCATE t").await;
    assert_eq!(whole(&database, &since).await, ["t"]);
    let since = seen(&database).await;
    // The owner's statements work whatever became of what is captured.
    other
        .execute(
            "INSERT INTO t VALUES (1, 'a', 'b'); ALTER TABLE t DROP COLUMN name; UPDATE t SET note = 'c'",
        )
        .await;
    assert_eq!(whole(&database, &since).await, ["t"]);
    let note = install(&database, &[("t", &["id", "name"]), ("u", &["id"])]).await;
    assert_eq!(note.tables.len(), 1);
    for alter in [
        "ALTER TABLE t RENAME note TO remark; UPDATE t SET remark = 'd'",
        "DROP TABLE edgepress_capture.change_1, edgepress_capture.change_2, edgepress_capture.change_3; INSERT INTO t VALUES (2)",
        "DROP TABLE edgepress_capture.log CASCADE; INSERT INTO t VALUES (3)",
        "DROP SCHEMA edgepress_capture CASCADE; INSERT INTO t VALUES (4)",
    ] {
        other.attempt(alter).await.unwrap_or_default();
        other.execute("DELETE FROM t; INSERT INTO u VALUES (1); DELETE FROM u").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_is_missing_or_disabled_is_noticed() {
    let (_, database, other) = database("CREATE TABLE t (id int PRIMARY KEY, name text)").await;
    let wanted: &[(&str, &[&str])] = &[("t", &["id"])];
    install(&database, wanted).await;
    for (damage, problem) in [
        ("DROP TRIGGER zz_edgepress_ID_insert ON t", "is missing"),
        ("ALTER TABLE t DISABLE TRIGGER zz_edgepress_ID_delete", "was disabled"),
        ("ALTER TABLE t DISABLE TRIGGER ALL", "was disabled"),
        ("ALTER TABLE t ENABLE TRIGGER zz_edgepress_ID_update", "was disabled"),
        ("DROP FUNCTION edgepress_capture.capture_ID CASCADE", "is missing"),
        (
            "CREATE OR REPLACE FUNCTION edgepress_capture.capture_ID() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
            "was altered",
        ),
        ("DROP TABLE edgepress_capture.change_ID", "is missing"),
        ("ALTER TABLE t ALTER id TYPE bigint", "the table was altered"),
    ] {
        let since = seen(&database).await;
        let intent = Intent { number: 1, seen: since.clone(), state: String::new() };
        database.consume("me", &intent).await.unwrap();
        assert!(!database.is_behind("me").await.unwrap(), "{damage}");
        let id: i64 = sqlx::query_scalar("SELECT max(id) FROM edgepress_capture.source")
            .fetch_one(&database.location.pool)
            .await
            .unwrap();
        other.execute(&damage.replace("ID", &id.to_string())).await;
        assert!(database.is_behind("me").await.unwrap(), "{damage}");
        let found = database.status().await.unwrap().tables[0].problem.clone().unwrap();
        assert!(found.contains(problem), "{damage}: {found}");
        assert_eq!(install(&database, wanted).await.tables.len(), 1, "{damage}");
        assert_eq!(install(&database, wanted).await, Installed::default());
        assert_eq!(whole(&database, &since).await, ["t"], "{damage}");
        let since = seen(&database).await;
        other
            .execute("INSERT INTO t VALUES (1); UPDATE t SET id = 2; DELETE FROM t; INSERT INTO t VALUES (3)")
            .await;
        assert_eq!(images(&database, &since, "t", &["id"]).await, ints(&[3]));
        other.execute("DELETE FROM t").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_captured_however_they_are_written() {
    let (_, database, other) = database(
        "CREATE TABLE m (id int, day int, note text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
         CREATE TABLE m1 PARTITION OF m FOR VALUES FROM (0) TO (10);
         CREATE TABLE m2 (note text, day int NOT NULL, id int NOT NULL);
         ALTER TABLE m ATTACH PARTITION m2 FOR VALUES FROM (10) TO (20)",
    )
    .await;
    let wanted: &[(&str, &[&str])] = &[("m", &["id", "note"]), ("m2", &["id"])];
    install(&database, wanted).await;
    let since = seen(&database).await;
    other
        .execute(
            "INSERT INTO m VALUES (1, 1, 'x'), (2, 11, 'y'); INSERT INTO m1 VALUES (3, 3, 'z');
             INSERT INTO m2 (id, day, note) VALUES (4, 14, 'w')",
        )
        .await;
    assert_eq!(images(&database, &since, "m", &["id"]).await, ints(&[1, 2, 3, 4]));
    assert_eq!(images(&database, &since, "m2", &["id"]).await, ints(&[2, 4]));
    let since = seen(&database).await;
    // From one partition to the other: the whole has as many rows as before, the parts have not.
    other.execute("UPDATE m SET day = 12 WHERE id = 1; UPDATE m SET note = 'q' WHERE id = 2").await;
    assert_eq!(images(&database, &since, "m", &["id"]).await, ints(&[]));
    assert_eq!(images(&database, &since, "m", &["note"]).await, [[text("q")], [text("y")]]);
    assert_eq!(images(&database, &since, "m2", &["id"]).await, ints(&[1]));
    let since = seen(&database).await;
    other.execute("TRUNCATE m1").await;
    assert_eq!(whole(&database, &since).await, ["m"]);
    // A partition that comes later has the parent's trigger at once.
    let since = seen(&database).await;
    other
        .execute(
            "CREATE TABLE m3 PARTITION OF m FOR VALUES FROM (20) TO (30); INSERT INTO m3 VALUES (7, 27, '')",
        )
        .await;
    assert_eq!(images(&database, &since, "m", &["id"]).await, ints(&[7]));
    assert_eq!(install(&database, wanted).await.tables.len(), 1);
    let mut snapshot = database.snapshot().await.unwrap();
    let read = snapshot.tables("SELECT id FROM m WHERE day = 11").await.unwrap();
    assert_eq!(read.into_iter().map(|table| table.name).collect::<Vec<_>>(), ["m"]);
    let read = snapshot.tables("SELECT id FROM m2 WHERE false").await.unwrap();
    assert_eq!(read.into_iter().map(|table| table.name).collect::<Vec<_>>(), ["m2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn inherited_rows_are_captured() {
    let (_, database, other) =
        database("CREATE TABLE p (id int PRIMARY KEY, name text); CREATE TABLE c (extra int) INHERITS (p)")
            .await;
    install(&database, &[("p", &["id", "name"])]).await;
    let since = seen(&database).await;
    other
        .execute(
            "INSERT INTO p VALUES (1, 'a'); INSERT INTO c VALUES (2, 'b', 9); INSERT INTO c VALUES (3, 'c')",
        )
        .await;
    assert_eq!(images(&database, &since, "p", &["id"]).await, ints(&[1, 2, 3]));
    let since = seen(&database).await;
    other.execute("UPDATE p SET name = 'B' WHERE id = 2; UPDATE c SET extra = 1; DELETE FROM ONLY p").await;
    assert_eq!(images(&database, &since, "p", &["id", "name"]).await.len(), 3);
    let since = seen(&database).await;
    other.execute("TRUNCATE c").await;
    assert_eq!(whole(&database, &since).await, ["p"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_without_rights_on_our_schema_edit_as_before() {
    let (url, database, _other) = database(
        "CREATE TABLE t (id int PRIMARY KEY, name text);
         DO $$ BEGIN CREATE ROLE editor LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
         GRANT SELECT, INSERT, UPDATE, DELETE ON t TO editor; CREATE SCHEMA trap; GRANT ALL ON SCHEMA trap TO editor",
    )
    .await;
    install(&database, &[("t", &["id"])]).await;
    let since = seen(&database).await;
    let editor = Other::open(&url.replace("edgepress@", "editor@")).await;
    assert!(editor.attempt("SELECT * FROM edgepress_capture.log").await.is_err());
    assert!(editor.attempt("SELECT edgepress_capture.mark(1)").await.is_err());
    // Names that would mean something else to a function that trusts the session.
    editor
        .execute(
            "CREATE FUNCTION trap.pg_current_xact_id() RETURNS xid8 LANGUAGE sql AS 'SELECT ''5''::xid8';
             CREATE TEMPORARY TABLE log (source bigint, edits bigint); CREATE TEMPORARY TABLE edgepress_new (id text);
             SET search_path = trap, pg_temp, pg_catalog; SET extra_float_digits = -15; SET DateStyle = German",
        )
        .await
        ;
    editor.execute("INSERT INTO public.t VALUES (1), (2); UPDATE public.t SET id = 3 WHERE id = 2").await;
    assert_eq!(images(&database, &since, "t", &["id"]).await, ints(&[1, 3]));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_edit_leaves_its_images() {
    let (_, database, other) = database(
        "CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a VALUES (1), (2);
         CREATE TABLE b (id int PRIMARY KEY, a_id int REFERENCES a ON DELETE CASCADE ON UPDATE CASCADE, f float8, j json);
         INSERT INTO b VALUES (10, 1, 0.1, '{}'), (20, 2, 0.1, '{}')",
    )
    .await;
    install(&database, &[("a", &["id"]), ("b", &["id", "a_id", "f", "j"])]).await;
    let b = async |script: &str| {
        let since = seen(&database).await;
        other.execute(script).await;
        images(&database, &since, "b", &["id"]).await.into_iter().flatten().collect::<Vec<_>>()
    };
    let int = Value::Int;
    assert_eq!(b("DELETE FROM a WHERE id = 1").await, [int(10)]);
    assert_eq!(b("COPY b (id) FROM PROGRAM 'echo 30; echo 40'").await, [int(30), int(40)]);
    assert_eq!(
        b("INSERT INTO b VALUES (20, 2), (50, 2) ON CONFLICT (id) DO UPDATE SET f = excluded.f").await,
        [int(50)]
    );
    assert_eq!(b("MERGE INTO b USING (VALUES (50), (60)) v(id) ON b.id = v.id WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (v.id, 2)").await, [int(50), int(60)]);
    let since = seen(&database).await;
    other.execute("UPDATE b SET f = 0.10000000000000002, j = '{ }'").await;
    assert_eq!(images(&database, &since, "b", &["id"]).await, ints(&[]));
    assert_eq!(images(&database, &since, "b", &["f"]).await.len(), 2);
    assert_eq!(images(&database, &since, "b", &["j"]).await.len(), 3);
    let since = seen(&database).await;
    other.execute("SET session_replication_role = replica; INSERT INTO b VALUES (70, 2); RESET session_replication_role").await;
    assert_eq!(images(&database, &since, "b", &["id"]).await, ints(&[70]));
    let since = seen(&database).await;
    other
        .execute("BEGIN; SAVEPOINT s; DELETE FROM b; ROLLBACK TO s; INSERT INTO b VALUES (80, 2); COMMIT")
        .await;
    assert_eq!(images(&database, &since, "b", &["id"]).await, ints(&[80]));
    let since = seen(&database).await;
    other.execute("INSERT INTO b SELECT n, 2 FROM generate_series(1000, 200000) n").await;
    assert_eq!(whole(&database, &since).await, ["b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_waits_for_an_owner_for_long() {
    let (url, database, one) =
        database("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let other = Other::open(&url).await;
    one.execute("BEGIN; INSERT INTO t VALUES (2)").await;
    let reads: Reads = [(table(&database, "t").await, ["id".to_owned()].into())].into();
    let installing = tokio::spawn({
        let database = Postgres::open(&url).await.unwrap();
        async move { database.install("me", &reads).await }
    });
    let begun = tokio::time::Instant::now();
    for number in 10..30 {
        other.execute(&format!("INSERT INTO t VALUES ({number})")).await;
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    one.execute("COMMIT").await;
    assert_eq!(installing.await.unwrap().unwrap().tables.len(), 1);
    // A snapshot keeps TRUNCATE away from what it reads.
    let mut snapshot = database.snapshot().await.unwrap();
    assert!(other.attempt("SET lock_timeout = '100ms'; TRUNCATE t").await.is_err());
    let rows = crate::database::conformance::read(&mut *snapshot, "SELECT id FROM t", None).await.unwrap();
    assert_eq!(rows.len(), 22);
    drop(snapshot);
    other.execute("TRUNCATE t").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_ours_stays() {
    let (_, database, other) = database("CREATE SCHEMA edgepress_capture; CREATE TABLE edgepress_capture.mine (id int); CREATE TABLE t (id int)").await;
    let reads: Reads = [(table(&database, "t").await, ["id".to_owned()].into())].into();
    let error = database.install("me", &reads).await.unwrap_err().to_string();
    assert!(error.contains("not Edgepress's own"), "{error}");
    assert!(!database.remove().await.unwrap());
    other.execute("INSERT INTO edgepress_capture.mine VALUES (1)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_the_database_is_another_one() {
    let (url, database, other) = database("CREATE TABLE t (id int PRIMARY KEY)").await;
    install(&database, &[("t", &["id"])]).await;
    let since = seen(&database).await;
    drop(database);
    drop(other);
    let name = url.rsplit('/').next().unwrap();
    let base = Other::open(&url.replace(name, "postgres")).await;
    base.execute(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"))
        .await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    base.execute(&format!("CREATE DATABASE {name}_copy TEMPLATE {name}")).await;
    let copy = Postgres::open(&format!("{url}_copy")).await.unwrap();
    assert!(changes(&copy, &since).await.everything.unwrap().contains("copied"));
    let original = Postgres::open(&url).await.unwrap();
    assert!(changes(&original, &since).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_a_publisher_does_not_fill_up() {
    let (_, database, other) = database("CREATE TABLE t (id int)").await;
    install(&database, &[("t", &["id"])]).await;
    let since = seen(&database).await;
    other.execute("INSERT INTO t VALUES (1); SELECT setval('edgepress_capture.change_id', 2000000)").await;
    for number in 0..50 {
        other
            .execute(&format!("BEGIN; INSERT INTO t VALUES ({number}); DELETE FROM t WHERE id = 3; COMMIT"))
            .await;
    }
    let entries = async || -> (i64, i64) {
        let sql = "SELECT (SELECT count(*) FROM edgepress_capture.log), (SELECT count(*) FROM edgepress_capture.change_1)";
        sqlx::query_as(sql).fetch_one(&database.location.pool).await.unwrap()
    };
    assert_eq!(entries().await, (2, 1));
    assert_eq!(whole(&database, &since).await, ["t"]);
    let middle = seen(&database).await;
    database.prune(0).await.unwrap();
    assert_eq!(entries().await, (0, 0));
    assert!(changes(&database, &middle).await.is_empty());
    other.execute("INSERT INTO t VALUES (100)").await;
    assert_eq!(images(&database, &middle, "t", &["id"]).await, ints(&[100]));
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_of_every_isolation_are_captured_and_do_not_fail_each_other() {
    let (url, database, one) = database("CREATE TABLE t (id int); CREATE TABLE u (id int)").await;
    install(&database, &[("t", &["id"]), ("u", &["id"])]).await;
    let other = Other::open(&url).await;
    for isolation in ["SERIALIZABLE", "REPEATABLE READ", "READ COMMITTED"] {
        let begin = format!("BEGIN ISOLATION LEVEL {isolation}");
        for writer in [&one, &other] {
            writer.execute(&begin).await;
        }
        one.execute("INSERT INTO t VALUES (1)").await;
        other.execute("INSERT INTO u VALUES (2)").await;
        let middle = seen(&database).await;
        let intent = Intent { number: 1, seen: middle.clone(), state: String::new() };
        database.consume("me", &intent).await.unwrap();
        database.prune(10).await.unwrap();
        one.execute("INSERT INTO t VALUES (3); COMMIT").await;
        other.execute("INSERT INTO u VALUES (4); COMMIT").await;
        assert_eq!(images(&database, &middle, "t", &["id"]).await, ints(&[1, 3]), "{isolation}");
        assert_eq!(images(&database, &middle, "u", &["id"]).await, ints(&[2, 4]), "{isolation}");
    }
}
