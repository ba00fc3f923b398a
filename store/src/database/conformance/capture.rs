//! What every database that captures edits must do.

use std::collections::{BTreeMap, BTreeSet};

use edgepress_site::row::Value;

use super::{Writer, snapshot, text};
use crate::database::Database;
use crate::database::capture::{Capture, Changes, Consumer, Installed, Intent, Keys, Reads, Seen, Table};

/// Runs every function of this suite; the database's capture must not be installed yet.
pub async fn all(database: &dyn Database, writer: &dyn Writer) {
    nothing_is_seen_before_capture_is_installed(database, writer).await;
    edits_leave_images_of_what_is_read(database, writer).await;
    what_was_rolled_back_was_not(database, writer).await;
    a_snapshot_sees_its_own_moment_s_changes(database, writer).await;
    images_stand_in_for_their_table(database, writer).await;
    columns_come_and_go(database, writer).await;
    consumers_are_remembered(database, writer).await;
    changes_wait_for_every_consumer(database, writer).await;
    tables_behind_views_are_found(database, writer).await;
    capture_can_be_removed(database, writer).await;
}

fn capture(database: &dyn Database) -> &dyn Capture {
    database.capture().expect("edits can be captured")
}

async fn find(database: &dyn Database, name: &str) -> Table {
    let catalog = snapshot(database).await.catalog().await.expect("the catalog can be read");
    catalog.find(None, name).expect("the table was made").clone()
}

async fn reads(database: &dyn Database, wanted: &[(&str, &[&str])]) -> Reads {
    let mut reads = Reads::new();
    for (name, columns) in wanted {
        reads.insert(find(database, name).await, names(columns));
    }
    reads
}

fn names(columns: &[&str]) -> BTreeSet<String> {
    columns.iter().map(|&column| column.to_owned()).collect()
}

async fn install(database: &dyn Database, consumer: &str, wanted: &[(&str, &[&str])]) -> Installed {
    let reads = reads(database, wanted).await;
    capture(database).install(consumer, &reads).await.expect("capture can be installed")
}

async fn seen(database: &dyn Database) -> Seen {
    snapshot(database).await.seen().await.expect("it can be read").expect("capture is installed")
}

async fn changes(database: &dyn Database, since: &Seen) -> Changes {
    snapshot(database).await.changes(since).await.expect("changes can be read")
}

/// The distinct images of a table since then, in order.
async fn images(database: &dyn Database, since: &Seen, name: &str, columns: &[&str]) -> Vec<Vec<Value>> {
    let table = find(database, name).await;
    let mut snapshot = snapshot(database).await;
    let changes = snapshot.changes(since).await.expect("changes can be read");
    assert!(changes.everything.is_none() && changes.whole.is_empty(), "{changes:?}");
    let Some(images) = changes.tables.get(&table) else { return Vec::new() };
    let source = images.source(&names(columns));
    let keys = snapshot.keys(&format!("SELECT {} FROM ({source}) q", columns.join(", ")), 1_000).await;
    let Keys::All(mut keys) = keys.expect("images can be read") else { panic!("there are not so many") };
    keys.sort_by_key(|key| format!("{key:?}"));
    keys
}

/// And what is asked for then is everything.
pub async fn nothing_is_seen_before_capture_is_installed(database: &dyn Database, writer: &dyn Writer) {
    writer.execute("CREATE TABLE unseen (id INTEGER PRIMARY KEY, name VARCHAR(9))").await;
    assert_eq!(snapshot(database).await.seen().await.expect("it can be read"), None);
    assert_eq!(capture(database).consumer("me").await.expect("it can be read"), None);
    assert!(capture(database).is_behind("me").await.expect("it can be read"));
    assert!(changes(database, &Seen("anything".to_owned())).await.everything.is_some());
    let reads = reads(database, &[("unseen", &["id"])]).await;
    let statements = capture(database).statements("me", &reads).await.expect("they can be said");
    assert!(!statements.is_empty());
    assert_eq!(capture(database).install("me", &reads).await.expect("it works").tables.len(), 1);
    assert_eq!(capture(database).install("me", &reads).await.expect("it works"), Installed::default());
    assert!(capture(database).statements("me", &reads).await.expect("they can be said").is_empty());
}

/// Old images and new ones; none for columns that nobody reads, or values that stay.
pub async fn edits_leave_images_of_what_is_read(database: &dyn Database, writer: &dyn Writer) {
    writer
        .execute(
            "CREATE TABLE imaged (id INTEGER PRIMARY KEY, name VARCHAR(9), price INTEGER, views INTEGER);
             INSERT INTO imaged VALUES (1, 'ant', 10, 0), (2, 'bee', NULL, 0)",
        )
        .await;
    install(database, "me", &[("imaged", &["id", "name", "price"])]).await;
    let since = seen(database).await;
    let columns = ["id", "name", "price"];
    writer.execute("UPDATE imaged SET views = views + 1; UPDATE imaged SET name = name").await;
    assert!(changes(database, &since).await.is_empty());
    writer
        .execute("UPDATE imaged SET price = 20 WHERE id = 2; INSERT INTO imaged VALUES (3, '', 30, 0)")
        .await;
    writer.execute("DELETE FROM imaged WHERE id = 1; UPDATE imaged SET id = 4 WHERE id = 3").await;
    let int = Value::Int;
    assert_eq!(
        images(database, &since, "imaged", &columns).await,
        [
            [int(1), text("ant"), int(10)],
            [int(2), text("bee"), int(20)],
            [int(2), text("bee"), Value::Null],
            [int(4), text(""), int(30)],
        ]
    );
    assert_eq!(images(database, &since, "imaged", &["name"]).await, [[text("")], [text("ant")]]);
    assert!(changes(database, &since).await.oldest.is_some());
    assert!(changes(database, &seen(database).await).await.is_empty());
}

/// Neither is it waited for.
pub async fn what_was_rolled_back_was_not(database: &dyn Database, writer: &dyn Writer) {
    writer.execute("CREATE TABLE undone (id INTEGER PRIMARY KEY); INSERT INTO undone VALUES (1)").await;
    install(database, "me", &[("undone", &["id"])]).await;
    let since = seen(database).await;
    writer.execute("BEGIN; DELETE FROM undone; INSERT INTO undone VALUES (7); ROLLBACK").await;
    assert!(changes(database, &since).await.is_empty());
    writer.execute("BEGIN; DELETE FROM undone; INSERT INTO undone VALUES (7); COMMIT").await;
    let expected = [[Value::Int(1)], [Value::Int(7)]];
    assert_eq!(images(database, &since, "undone", &["id"]).await, expected);
}

/// Not those that came later.
pub async fn a_snapshot_sees_its_own_moment_s_changes(database: &dyn Database, writer: &dyn Writer) {
    writer.execute("CREATE TABLE timely (id INTEGER PRIMARY KEY)").await;
    install(database, "me", &[("timely", &["id"])]).await;
    let since = seen(database).await;
    let mut before = snapshot(database).await;
    writer.execute("INSERT INTO timely VALUES (1)").await;
    let changes = before.changes(&since).await.expect("changes can be read");
    assert!(changes.is_empty() && changes.seen == since, "{changes:?}");
    drop(before);
    assert_eq!(images(database, &since, "timely", &["id"]).await, [[Value::Int(1)]]);
}

/// In a join, with the table's own comparisons.
pub async fn images_stand_in_for_their_table(database: &dyn Database, writer: &dyn Writer) {
    writer
        .execute(
            "CREATE TABLE house (id INTEGER PRIMARY KEY, name VARCHAR(9));
             CREATE TABLE item (sku INTEGER PRIMARY KEY, house_id INTEGER);
             INSERT INTO house VALUES (1, 'north'), (2, 'south');
             INSERT INTO item VALUES (10, 1), (11, 1), (20, 2), (30, NULL)",
        )
        .await;
    install(database, "me", &[("house", &["id", "name"]), ("item", &["sku", "house_id"])]).await;
    let since = seen(database).await;
    writer.execute("UPDATE house SET name = 'far north' WHERE id = 1").await;
    let house = find(database, "house").await;
    let mut snapshot = snapshot(database).await;
    let changes = snapshot.changes(&since).await.expect("changes can be read");
    let source = changes.tables[&house].source(&names(&["id", "name"]));
    let query = format!("SELECT i.sku FROM item i JOIN ({source}) h ON h.id = i.house_id");
    for (most, expected) in
        [(2, Keys::All(vec![vec![Value::Int(10)], vec![Value::Int(11)]])), (1, Keys::TooMany)]
    {
        let mut keys = snapshot.keys(&query, most).await.expect("the query is right");
        if let Keys::All(keys) = &mut keys {
            keys.sort_by_key(|key| format!("{key:?}"));
        }
        assert_eq!(keys, expected);
    }
}

/// Whoever reads other columns need not know; whoever reads those that come is told.
pub async fn columns_come_and_go(database: &dyn Database, writer: &dyn Writer) {
    writer
        .execute(
            "CREATE TABLE growing (id INTEGER PRIMARY KEY, name VARCHAR(9), price INTEGER);
             INSERT INTO growing VALUES (1, 'a', 1), (2, 'b', 2)",
        )
        .await;
    install(database, "me", &[("growing", &["id", "name"])]).await;
    let since = seen(database).await;
    let table = find(database, "growing").await;
    let (more, less): (&[&str], &[&str]) = (&["id", "price"], &["id"]);
    let touched = [[Value::Int(1), text("a")], [Value::Int(1), text("x")]];
    let mut moments = vec![since.clone()];
    writer.execute("UPDATE growing SET name = 'x' WHERE id = 1").await;
    for (number, wanted) in [more, less, more, more].into_iter().enumerate() {
        let installed = install(database, "other", &[("growing", wanted)]).await;
        assert_eq!(installed.tables, [], "nothing was missed");
        let is_fresh = async |then: &Seen| changes(database, then).await.fresh.contains_key(&table);
        assert_eq!(is_fresh(&since).await, wanted == more, "{number}");
        let last = moments.last().expect("there is one");
        assert_eq!(is_fresh(last).await, wanted == more && number != 3, "{number}");
        let images = images(database, &since, "growing", &["id", "name"]).await;
        assert!(touched.iter().all(|image| images.contains(&image.to_vec())), "{images:?}");
        moments.push(seen(database).await);
        writer.execute(&format!("UPDATE growing SET price = {number} WHERE id = 2")).await;
    }
    let images = images(database, &moments[4], "growing", &["id", "price"]).await;
    assert_eq!(images, [[Value::Int(2), Value::Int(2)], [Value::Int(2), Value::Int(3)]]);
    writer.execute("INSERT INTO growing VALUES (3, 'c', 3); DELETE FROM growing WHERE id = 3").await;
    assert_eq!(changes(database, &moments[4]).await.fresh, BTreeMap::new());
}

/// What they consumed, and what they were about to.
pub async fn consumers_are_remembered(database: &dyn Database, writer: &dyn Writer) {
    writer.execute("CREATE TABLE consumed (id INTEGER PRIMARY KEY)").await;
    install(database, "it's \"me\"", &[("consumed", &["id"])]).await;
    let (name, capture) = ("it's \"me\"", capture(database));
    let consumer = async || capture.consumer(name).await.expect("it can be read").expect("it is registered");
    let is_behind = async || capture.is_behind(name).await.expect("it can be read");
    assert_eq!(consumer().await, Consumer { consumed: None, intents: Vec::new() });
    assert!(is_behind().await);
    let first = Intent { number: 1, seen: seen(database).await, state: "{\"root\": 'x'}".to_owned() };
    let second = Intent { number: 2, ..first.clone() };
    capture.intend(name, &first).await.expect("it can be written");
    capture.intend(name, &second).await.expect("it can be written");
    assert_eq!(consumer().await, Consumer { consumed: None, intents: vec![first, second.clone()] });
    capture.consume(name, &second).await.expect("it can be written");
    assert_eq!(consumer().await, Consumer { consumed: Some(second.clone()), intents: Vec::new() });
    assert!(!is_behind().await);
    writer.execute("INSERT INTO consumed VALUES (1)").await;
    assert!(is_behind().await);
    install(database, name, &[("consumed", &["id"])]).await;
    assert_eq!(consumer().await.consumed, Some(second), "installing again forgets nothing");
    assert!(
        capture
            .consume("nobody", &Intent { number: 1, seen: seen(database).await, state: String::new() })
            .await
            .is_err()
    );
}

/// But not for ever for one that lags.
pub async fn changes_wait_for_every_consumer(database: &dyn Database, writer: &dyn Writer) {
    writer.execute("CREATE TABLE awaited (id INTEGER PRIMARY KEY)").await;
    let capture = capture(database);
    capture.remove().await.expect("it can be removed");
    for consumer in ["quick", "slow"] {
        install(database, consumer, &[("awaited", &["id"])]).await;
        let intent = Intent { number: 1, seen: seen(database).await, state: String::new() };
        capture.consume(consumer, &intent).await.expect("it can be written");
    }
    let since = seen(database).await;
    writer.execute("INSERT INTO awaited VALUES (1); INSERT INTO awaited VALUES (2)").await;
    let intent = Intent { number: 2, seen: seen(database).await, state: String::new() };
    capture.consume("quick", &intent).await.expect("it can be written");
    let status = capture.status().await.expect("it can be read");
    assert_eq!(status.consumers, BTreeMap::from([("quick".to_owned(), 0), ("slow".to_owned(), 2)]));
    assert_eq!(status.tables.iter().map(|table| table.waiting).collect::<Vec<_>>(), [2]);
    capture.prune(10).await.expect("it can be written");
    assert_eq!(images(database, &since, "awaited", &["id"]).await.len(), 2);
    capture.prune(1).await.expect("it can be written");
    assert!(changes(database, &since).await.everything.is_some());
    assert!(changes(database, &intent.seen).await.is_empty(), "the quick one has seen them");
}

/// All base tables, none that is only named.
pub async fn tables_behind_views_are_found(database: &dyn Database, writer: &dyn Writer) {
    writer
        .execute(
            "CREATE TABLE behind (id INTEGER PRIMARY KEY, name VARCHAR(9));
             CREATE TABLE beside (id INTEGER PRIMARY KEY, behind_id INTEGER);
             CREATE VIEW before_both AS SELECT b.name, a.id FROM behind b JOIN beside a ON a.behind_id = b.id",
        )
        .await;
    let catalog = snapshot(database).await.catalog().await.expect("the catalog can be read");
    let view = catalog.find(None, "before_both").expect("the view was made");
    assert_eq!(catalog.views[view].columns, ["name", "id"]);
    assert!(catalog.views[view].query.trim_start().to_ascii_lowercase().starts_with("select"));
    assert_eq!(catalog.tables[&find(database, "behind").await].key, ["id"]);
    let expected = BTreeSet::from([find(database, "behind").await, find(database, "beside").await]);
    for query in [
        "SELECT name FROM before_both",
        "WITH behind2 AS (SELECT 1 AS x) SELECT v.id FROM before_both v, behind2",
    ] {
        let tables = snapshot(database).await.tables(query).await.expect("the query is right");
        assert_eq!(tables, expected, "{query}");
    }
}

/// Wholly; the user's rows stay, and can be edited.
pub async fn capture_can_be_removed(database: &dyn Database, writer: &dyn Writer) {
    writer.execute("CREATE TABLE freed (id INTEGER PRIMARY KEY)").await;
    install(database, "me", &[("freed", &["id"])]).await;
    let since = seen(database).await;
    assert!(capture(database).remove().await.expect("it can be removed"));
    assert!(!capture(database).remove().await.expect("nothing is left"));
    writer.execute("INSERT INTO freed VALUES (1)").await;
    assert!(capture(database).is_behind("me").await.expect("it can be read"));
    install(database, "me", &[("freed", &["id"])]).await;
    assert!(changes(database, &since).await.everything.is_some(), "it is another capture");
}
