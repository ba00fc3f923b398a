use super::*;

/// A role that may log in, once in a server.
const ROLE: &str = "DO $$ BEGIN CREATE ROLE ROLE LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;";

async fn as_role(role: &str, schema: &str) -> (Postgres, Other) {
    let (url, _, other) =
        database(&format!("{}{}", ROLE.replace("ROLE ROLE", &format!("ROLE {role}")), schema)).await;
    (Postgres::open(&url.replace("edgepress@", &format!("{role}@"))).await.unwrap(), other)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_only_read_publishes_in_full() {
    let (database, _other) = as_role(
        "reader",
        "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1); GRANT SELECT ON t TO reader",
    )
    .await;
    let mut snapshot = database.snapshot().await.unwrap();
    assert_eq!(snapshot.seen().await.unwrap(), None);
    let rows = crate::database::conformance::read(&mut *snapshot, "SELECT id FROM t", None).await.unwrap();
    assert_eq!(rows, ints(&[1]));
    let catalog = snapshot.catalog().await.unwrap();
    let facts = &catalog.tables[catalog.find(None, "t").unwrap()];
    assert!(facts.uncapturable.as_ref().unwrap().contains("GRANT TRIGGER"));
    let reads: Reads = [(table(&database, "t").await, ["id".to_owned()].into())].into();
    let error = database.install("me", &reads).await.unwrap_err().to_string();
    assert!(error.contains("permission denied") && error.contains("needs CREATE on the database"), "{error}");
    assert_eq!(database.consumer("me").await.unwrap(), None);
    assert!(database.is_behind("me").await.unwrap());
    assert!(!database.remove().await.unwrap());
    database.prune(1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_may_run_the_statements_instead() {
    let (database, other) = as_role(
        "publisher",
        "CREATE TABLE t (id int PRIMARY KEY, name text); GRANT SELECT, TRIGGER ON t TO publisher",
    )
    .await;
    let reads: Reads = [(table(&database, "t").await, ["id".to_owned()].into())].into();
    for statement in database.statements("me", &reads).await.unwrap() {
        other.execute(&statement).await;
    }
    assert!(database.statements("me", &reads).await.unwrap().is_empty());
    assert_eq!(database.install("me", &reads).await.unwrap(), Installed::default());
    let since = seen(&database).await;
    other.execute("INSERT INTO t VALUES (1); UPDATE t SET name = 'a'").await;
    assert_eq!(images(&database, &since, "t", &["id"]).await, ints(&[1]));
    let intent = Intent { number: 1, seen: seen(&database).await, state: "{}".to_owned() };
    database.intend("me", &intent).await.unwrap();
    database.consume("me", &intent).await.unwrap();
    assert!(!database.is_behind("me").await.unwrap());
    database.prune(1).await.unwrap();
    // What another role reads beside it.
    other.execute("REVOKE TRIGGER ON t FROM publisher").await;
    assert_eq!(database.install("me", &reads).await.unwrap(), Installed::default());
    assert_eq!(database.status().await.unwrap().tables.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_cannot_reach_beyond_their_quotes() {
    let (_, database, other) = database(
        "CREATE TABLE \"it's \"\" $edgepress$ \\ t\" (\"a'$edgepress$; DROP TABLE safe; \\\" int, \"b\"\"c\" int);
         CREATE TABLE safe (id int)",
    )
    .await;
    let (name, columns) = ("it's \" $edgepress$ \\ t", ["a'$edgepress$; DROP TABLE safe; \\", "b\"c"]);
    install(&database, &[(name, &columns)]).await;
    assert_eq!(install(&database, &[(name, &columns)]).await, Installed::default());
    let since = seen(&database).await;
    other.execute("INSERT INTO \"it's \"\" $edgepress$ \\ t\" VALUES (1, 2); SELECT * FROM safe").await;
    assert_eq!(images(&database, &since, name, &columns).await, [[Value::Int(1), Value::Int(2)]]);
}
