mod edits;
mod random;
mod schema;
mod unharmed;
mod upkeep;

use std::path::PathBuf;
use std::process::Command;

use edgepress_site::row::Value;

use super::*;
use crate::database::capture::{Changes, Keys};
use crate::database::conformance::{read, text};
use crate::database::{Database as _, Snapshot};

const ME: &str = "shop";

/// A database file whose owner edits it with the sqlite3 shell.
struct Owned {
    _folder: tempfile::TempDir,
    path: PathBuf,
    database: Sqlite,
}

impl Owned {
    async fn new(schema: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.db");
        let database = Sqlite::open(&format!("sqlite:{}", path.display()), Some(schema)).await.unwrap();
        Self { _folder: folder, path, database }
    }

    /// With these columns captured.
    async fn captured(schema: &str, wanted: &[(&str, &[&str])]) -> Self {
        let owned = Self::new(schema).await;
        owned.database.install(ME, &reads(wanted)).await.unwrap();
        owned
    }

    /// Runs statements in the shell; what it prints.
    fn run(&self, script: &str) -> String {
        self.try_run(script).unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// Runs statements in the shell; what it prints, or complains of.
    fn try_run(&self, script: &str) -> Result<String, String> {
        let output = Command::new("sqlite3")
            .args(["-bail", "-cmd", ".timeout 20000"])
            .arg(&self.path)
            .arg(script)
            .output()
            .expect("the sqlite3 shell is installed by ./test");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim_end().to_owned();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    fn capture(&self) -> &dyn Capture {
        self.database.capture().expect("SQLite can")
    }

    /// What [`ME`] published last is what there is now.
    async fn publish(&self, number: u64) {
        let intent = Intent { number, seen: self.seen().await, state: String::new() };
        self.capture().consume(ME, &intent).await.unwrap();
    }

    async fn snapshot(&self) -> Box<dyn Snapshot> {
        self.database.snapshot().await.unwrap()
    }

    async fn seen(&self) -> Seen {
        self.snapshot().await.seen().await.unwrap().expect("capture is installed")
    }

    async fn changes(&self, seen: &Seen) -> Changes {
        self.snapshot().await.changes(seen).await.unwrap()
    }

    /// The images of one table since `seen`, each as one text, sorted.
    async fn images(&self, seen: &Seen, table_name: &str, columns: &[&str]) -> Vec<String> {
        let mut snapshot = self.snapshot().await;
        let changes = snapshot.changes(seen).await.unwrap();
        assert_eq!((&changes.everything, &changes.whole), (&None, &BTreeSet::new()));
        let Some(images) = changes.tables.get(&table(table_name)) else { return Vec::new() };
        let source = images.source(&columns.iter().map(|&column| column.to_owned()).collect());
        let names: Vec<String> = columns.iter().map(|column| format!("quote({})", quoted(column))).collect();
        let query = format!("SELECT {} AS image FROM ({source})", names.join(" || '|' || "));
        let mut rows: Vec<String> = read(&mut *snapshot, &query, None)
            .await
            .unwrap()
            .into_iter()
            .map(|row| match &row[0] {
                Value::Text(text) => text.to_string(),
                other => panic!("{other:?}"),
            })
            .collect();
        rows.sort();
        rows
    }
}

fn reads(wanted: &[(&str, &[&str])]) -> Reads {
    let columns = |columns: &[&str]| columns.iter().map(|&column| column.to_owned()).collect();
    wanted.iter().map(|(name, names)| (table(name), columns(names))).collect()
}

const PRODUCT: &str =
    "CREATE TABLE product (id INTEGER PRIMARY KEY, name TEXT, price INTEGER, views INTEGER);
    INSERT INTO product VALUES (1, 'ant', 10, 0), (2, 'bee', 20, 0);";

#[tokio::test]
async fn edits_leave_old_and_new_images_of_what_is_read() {
    let owned = Owned::captured(PRODUCT, &[("product", &["id", "name", "price"])]).await;
    let seen = owned.seen().await;
    assert!(owned.changes(&seen).await.is_empty());
    owned.run("UPDATE product SET price = 11 WHERE id = 1");
    owned.run("INSERT INTO product VALUES (3, 'cat', 30, 0)");
    owned.run("DELETE FROM product WHERE id = 2");
    owned.run("UPDATE product SET views = views + 1; UPDATE product SET price = price");
    assert_eq!(
        owned.images(&seen, "product", &["id", "name", "price"]).await,
        ["1|'ant'|10", "1|'ant'|11", "2|'bee'|20", "3|'cat'|30"]
    );
    let only_named = owned.images(&seen, "product", &["ID", "Name"]).await;
    assert_eq!(only_named, ["2|'bee'", "3|'cat'"], "the price is not read: its change is none");
    let changes = owned.changes(&seen).await;
    assert_eq!(changes.tables[&table("product")].count, 3);
    assert!(changes.oldest.is_some_and(|oldest| oldest > 1_700_000_000_000), "{changes:?}");
    assert!(owned.changes(&changes.seen).await.is_empty());
}

#[tokio::test]
async fn consumers_are_behind_until_they_consume() {
    let owned = Owned::new(PRODUCT).await;
    let capture = owned.database.capture().unwrap();
    assert!(capture.is_behind(ME).await.unwrap(), "it is not even registered");
    assert_eq!(capture.consumer(ME).await.unwrap(), None);
    let reads = reads(&[("product", &["id", "name"])]);
    let installed = capture.install(ME, &reads).await.unwrap();
    assert_eq!(installed.tables, [table("product")]);
    assert!(installed.notes[0].contains("changed to WAL"), "{installed:?}");
    assert_eq!(capture.install(ME, &reads).await.unwrap(), Installed::default());
    assert_eq!(capture.consumer(ME).await.unwrap(), Some(Consumer { consumed: None, intents: vec![] }));
    assert!(capture.is_behind(ME).await.unwrap());

    let first = Intent { number: 1, seen: owned.seen().await, state: "one".to_owned() };
    capture.intend(ME, &first).await.unwrap();
    assert_eq!(capture.consumer(ME).await.unwrap().unwrap().intents, std::slice::from_ref(&first));
    capture.consume(ME, &first).await.unwrap();
    let expected = Consumer { consumed: Some(first.clone()), intents: vec![] };
    assert_eq!(capture.consumer(ME).await.unwrap(), Some(expected));
    assert!(!capture.is_behind(ME).await.unwrap());
    owned.run("UPDATE product SET name = 'ape' WHERE id = 1");
    assert!(capture.is_behind(ME).await.unwrap());
    assert_eq!(capture.status().await.unwrap().consumers, BTreeMap::from([(ME.to_owned(), 1)]));
    let second = Intent { number: 1, seen: owned.seen().await, state: "still one".to_owned() };
    capture.consume(ME, &second).await.unwrap();
    assert!(!capture.is_behind(ME).await.unwrap());
}

#[tokio::test]
async fn keys_are_distinct_by_bytes_and_types() {
    let owned = Owned::new(
        "CREATE TABLE t (k TEXT COLLATE NOCASE, n); INSERT INTO t VALUES
         ('a', 1), ('A', 1), ('a', 1.0), ('a', 1), (NULL, NULL), (NULL, NULL), ('', x''), ('', '')",
    )
    .await;
    let mut snapshot = owned.snapshot().await;
    let Keys::All(mut keys) = snapshot.keys("SELECT k, n FROM t", 7).await.unwrap() else { panic!() };
    keys.sort_by_key(|key| format!("{key:?}"));
    let blob = Value::Bytes([].as_slice().into());
    let mut expected = vec![
        vec![text("a"), Value::Int(1)],
        vec![text("A"), Value::Int(1)],
        vec![text("a"), Value::Float(1.0)],
        vec![Value::Null, Value::Null],
        vec![text(""), blob],
        vec![text(""), text("")],
    ];
    expected.sort_by_key(|key| format!("{key:?}"));
    assert_eq!(keys, expected);
    let Keys::All(exactly) = snapshot.keys("SELECT k, n FROM t;", 6).await.unwrap() else { panic!() };
    assert_eq!(exactly.len(), 6);
    assert_eq!(snapshot.keys("SELECT k, n FROM t", 5).await.unwrap(), Keys::TooMany);
    assert_eq!(snapshot.keys("SELECT k FROM t WHERE 0", 0).await.unwrap(), Keys::All(vec![]));
}
