//! What is deleted, who may edit, who waits.

use super::*;

#[tokio::test]
async fn whoever_may_edit_a_table_may_still() {
    let owned = Owned::captured("CREATE TABLE t (id INT PRIMARY KEY)", &[("t", &["id"])]).await;
    let schema = &owned.database.opened.schema;
    owned
        .run(&format!(
            "CREATE OR REPLACE USER clerk_{schema} IDENTIFIED BY 'x'; GRANT SELECT, INSERT, DELETE ON t TO clerk_{schema}"
        ))
        .await;
    let since = owned.seen().await;
    let clerk = Other::open(&owned.url.replace("root@", &format!("clerk_{schema}:x@"))).await;
    clerk.execute("INSERT INTO t VALUES (1), (2); DELETE FROM t WHERE id = 2").await;
    assert!(clerk.try_execute("DELETE FROM edgepress_log").await.is_err());
    assert_eq!(owned.images(&since, "t", &["id"]).await, ints(&[1]));
    // It may not write: it is told so, with a remedy.
    let reader = Mysql::open(&owned.url.replace("root@", &format!("clerk_{schema}:x@"))).await.unwrap();
    let error =
        reader.install("clerk", &owned.reads(&[("t", &["id"])])).await.expect_err("no right").to_string();
    assert!(error.contains("denied") && error.contains("grant CREATE"), "{error}");
    let mut snapshot = reader.snapshot().await.unwrap();
    assert_eq!(conformance::read(&mut *snapshot, "SELECT id FROM t", None).await.unwrap(), ints(&[1]));
}

#[tokio::test]
async fn what_commits_during_pruning_is_kept() {
    let owned = Owned::captured("CREATE TABLE t (id INT PRIMARY KEY)", &[("t", &["id"])]).await;
    let late = owned.another().await;
    owned.run("INSERT INTO t VALUES (1)").await;
    late.execute("BEGIN; INSERT INTO t VALUES (2)").await;
    owned
        .run("INSERT INTO t VALUES (3); BEGIN; INSERT INTO t VALUES (4); ROLLBACK; INSERT INTO t VALUES (5)")
        .await;
    let since = owned.publish(1).await;
    owned.database.prune(1_000).await.unwrap();
    let later = owned.seen().await;
    late.execute("INSERT INTO t VALUES (6); COMMIT").await;
    for since in [&since, &later] {
        assert_eq!(owned.images(since, "t", &["id"]).await, ints(&[2, 6]));
    }
    owned.database.prune(1_000).await.unwrap();
    assert_eq!(owned.images(&since, "t", &["id"]).await, ints(&[2, 6]));
    let end = owned.publish(2).await;
    owned.database.prune(1_000).await.unwrap();
    assert!(owned.changes(&end).await.is_empty() && !owned.is_behind().await);
    let mut snapshot = owned.database.snapshot().await.unwrap();
    for table in ["edgepress_log", "edgepress_change_1"] {
        let left =
            conformance::read(&mut *snapshot, &format!("SELECT count(*) AS n FROM {table}"), None).await;
        assert_eq!(left.unwrap(), ints(&[0]), "{table}");
    }
}

#[tokio::test]
async fn gaps_are_closed_when_nothing_can_fill_them() {
    let owned = Owned::captured("CREATE TABLE t (id INT PRIMARY KEY)", &[("t", &["id"])]).await;
    let gaps = async || Moment::of(&owned.seen().await.0).gaps.count();
    let late = owned.another().await;
    owned.run("BEGIN; INSERT INTO t VALUES (1); ROLLBACK; INSERT INTO t VALUES (2)").await;
    late.execute("BEGIN; INSERT INTO t VALUES (3)").await;
    owned.run("INSERT INTO t VALUES (4)").await;
    assert_eq!(gaps().await, 2);
    // The first look remembers how far numbers were given, the next one, a minute later, looks whose are still out.
    for _ in 0..2 {
        owned.database.settle().await.unwrap();
        owned.run("UPDATE edgepress_state SET candidate_at = candidate_at - INTERVAL 61 SECOND").await;
    }
    assert_eq!(gaps().await, 1, "one transaction goes on");
    let since = owned.seen().await;
    late.execute("COMMIT").await;
    assert_eq!(owned.images(&since, "t", &["id"]).await, ints(&[3]));
    owned.database.settle().await.unwrap();
    assert_eq!(gaps().await, 0);
    assert_eq!(owned.images(&since, "t", &["id"]).await, ints(&[3]), "whoever has not seen it still may");
}

#[tokio::test]
async fn installing_waits_for_tables_in_use_without_holding_up_their_users() {
    let (url, database, owner) =
        database("CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let owned = Owned { url, database, owner };
    let (user, another) = (owned.another().await, owned.another().await);
    user.execute("BEGIN; SELECT * FROM t").await;
    let reads = owned.reads(&[("t", &["id"])]);
    let installing = async { owned.database.install(ME, &reads).await.unwrap() };
    let using = async {
        for _ in 0..8 {
            let begun = Instant::now();
            another.execute("UPDATE t SET id = id + 1").await;
            assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
        user.execute("COMMIT").await;
    };
    let (installed, ()) = tokio::join!(installing, using);
    assert_eq!(installed.tables.len(), 1);
}

#[tokio::test]
async fn statements_can_be_run_by_the_owner() {
    let (url, database, owner) = database("CREATE TABLE t (id INT PRIMARY KEY)").await;
    let owned = Owned { url, database, owner };
    let reads = owned.reads(&[("t", &["id"])]);
    for statement in owned.database.statements(ME, &reads).await.unwrap() {
        owned.run(&statement).await;
    }
    assert!(owned.database.statements(ME, &reads).await.unwrap().is_empty());
    assert_eq!(owned.database.install(ME, &reads).await.unwrap(), Installed::default());
}

/// Writers that commit in any order, or not at all, while others publish and prune.
#[tokio::test(flavor = "multi_thread")]
async fn every_committed_change_is_seen_once() {
    let owned = Owned::captured("CREATE TABLE t (id BIGINT PRIMARY KEY)", &[("t", &["id"])]).await;
    let mut seen = owned.publish(0).await;
    let writers = (0..4_u64).map(|writer| {
        let url = owned.url.clone();
        tokio::spawn(async move {
            let connection = Other::open(&url).await;
            for round in 0..25 {
                let first = writer * 10_000 + round * 10;
                connection.execute(&format!("BEGIN; INSERT INTO t VALUES ({first})")).await;
                tokio::time::sleep(Duration::from_millis((writer * 7 + round * 3) % 20)).await;
                let end = if (writer + round) % 4 == 0 { "ROLLBACK" } else { "COMMIT" };
                connection.execute(&format!("INSERT INTO t VALUES ({}); {end}", first + 1)).await;
            }
        })
    });
    let mut writers: Vec<_> = writers.collect();
    let mut found = Vec::new();
    for number in 1.. {
        let is_last = writers.iter().all(tokio::task::JoinHandle::is_finished);
        let mut snapshot = owned.database.snapshot().await.unwrap();
        let changes = snapshot.changes(&seen).await.unwrap();
        assert!(changes.everything.is_none() && changes.whole.is_empty(), "{changes:?}");
        if let Some(images) = changes.tables.get(&owned.table("t")) {
            let keys = snapshot.keys(&images.source(&names(&["id"])), 10_000).await.unwrap();
            let Keys::All(keys) = keys else { panic!("there are not so many") };
            found.extend(keys);
        }
        drop(snapshot);
        seen = changes.seen;
        let intent = Intent { number, seen: seen.clone(), state: String::new() };
        owned.database.consume(ME, &intent).await.unwrap();
        owned.database.prune(100_000).await.unwrap();
        if is_last {
            break;
        }
    }
    for writer in writers.drain(..) {
        writer.await.unwrap();
    }
    let mut snapshot = owned.database.snapshot().await.unwrap();
    let mut there = conformance::read(&mut *snapshot, "SELECT id FROM t", None).await.unwrap();
    there.sort_by_key(|key| format!("{key:?}"));
    found.sort_by_key(|key| format!("{key:?}"));
    assert_eq!(found, there);
}
