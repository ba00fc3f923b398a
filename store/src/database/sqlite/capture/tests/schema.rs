//! What the schema says, and which tables a query reads.

use super::*;
use crate::database::capture::{Catalog, Facts};

async fn catalog(owned: &Owned) -> Arc<Catalog> {
    owned.snapshot().await.catalog().await.unwrap()
}

fn facts<'a>(catalog: &'a Catalog, name: &str) -> &'a Facts {
    &catalog.tables[&table(name)]
}

async fn tables(owned: &Owned, query: &str) -> Vec<String> {
    let tables = owned.snapshot().await.tables(query).await.unwrap();
    tables.into_iter().map(|table| table.name).collect()
}

#[tokio::test]
async fn columns_are_bytewise_where_equal_means_the_same_bytes() {
    let owned = Owned::new(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, i INT, big BIGINT, r REAL, d DECIMAL(10,2), s VARCHAR(9), b BLOB,
            none, nocase TEXT COLLATE NOCASE, rtrim TEXT COLLATE \"RTRIM\", bin TEXT COLLATE BINARY, y ANY,
            virtual TEXT AS (nocase = s || (1 = 1)), stored INT COLLATE nocase AS (i) STORED);
         CREATE UNIQUE INDEX i ON t (nocase COLLATE BINARY);
         CREATE TABLE strict (a ANY, i INT) STRICT;",
    )
    .await;
    let catalog = catalog(&owned).await;
    let bytewise: Vec<_> =
        facts(&catalog, "t").columns.iter().map(|c| (c.name.as_str(), c.is_bytewise)).collect();
    assert_eq!(
        bytewise,
        [
            ("id", true),
            ("i", true),
            ("big", true),
            ("r", true),
            ("d", true),
            ("s", true),
            ("b", false),
            ("none", false),
            ("nocase", false),
            ("rtrim", false),
            ("bin", true),
            ("y", true),
            ("virtual", true),
            ("stored", false),
        ]
    );
    let strict: Vec<_> = facts(&catalog, "strict").columns.iter().map(|column| column.is_bytewise).collect();
    assert_eq!(strict, [false, true]);
}

#[tokio::test]
async fn the_catalog_names_keys_views_and_what_cannot_be_captured() {
    let owned = Owned::captured(
        "CREATE TABLE Product (b, a, PRIMARY KEY (a, b)) WITHOUT ROWID; CREATE TABLE keyless (v);
         CREATE TABLE taken (id INTEGER PRIMARY KEY, Edgepress_mask); CREATE TABLE edgepress_notes (id);
         CREATE VIRTUAL TABLE words USING fts5(body); CREATE TABLE seq (id INTEGER PRIMARY KEY AUTOINCREMENT);
         CREATE VIEW \"the as\" (x, \"as y\") AS SELECT a, b FROM product; CREATE VIEW bad AS SELECT * FROM nowhere;",
        &[("Product", &["a"])],
    )
    .await;
    let catalog = catalog(&owned).await;
    assert_eq!(facts(&catalog, "Product").key, ["a", "b"]);
    assert!(facts(&catalog, "keyless").key.is_empty());
    assert_eq!(catalog.find(Some("MAIN"), "pRODUCT"), Some(&table("Product")));
    assert_eq!(catalog.find(None, "edgepress_log"), None, "ours are left out");
    assert!(catalog.find(None, "edgepress_notes").is_some(), "and only ours");
    let why = |name| facts(&catalog, name).uncapturable.clone().unwrap_or_default();
    assert_eq!(why("Product"), "");
    assert_eq!(why("edgepress_notes"), "");
    for (name, reason) in [
        ("taken", "`Edgepress_mask`"),
        ("words", "virtual table"),
        ("words_data", "belongs to a virtual table"),
        ("sqlite_sequence", "SQLite's own"),
    ] {
        assert!(why(name).contains(reason), "{name}: {}", why(name));
    }
    let view = &catalog.views[&table("the as")];
    assert_eq!(
        (view.query.as_str(), view.columns.as_slice()),
        ("SELECT a, b FROM product", ["x".to_owned(), "as y".to_owned()].as_slice())
    );
    assert!(catalog.views[&table("bad")].columns.is_empty());
    assert!(Arc::ptr_eq(&catalog, &self::catalog(&owned).await), "it is read once for each schema");
    owned.run("CREATE TABLE later (id)");
    assert!(self::catalog(&owned).await.find(None, "later").is_some());
}

#[tokio::test]
async fn a_table_s_fingerprint_follows_its_own_schema_only() {
    let owned = Owned::captured(PRODUCT, &[("product", &["id"])]).await;
    let fingerprint = async || facts(&*catalog(&owned).await, "product").fingerprint.clone();
    let mut last = fingerprint().await;
    for same in
        ["CREATE TABLE other (id)", "CREATE INDEX i ON product (price)", "UPDATE product SET price = 1"]
    {
        owned.run(same);
        assert_eq!(fingerprint().await, last, "{same}");
    }
    for altered in [
        "ALTER TABLE product ADD COLUMN more DEFAULT 7",
        "ALTER TABLE product RENAME COLUMN more TO most",
        "ALTER TABLE product DROP COLUMN most",
        "CREATE TABLE filler (id); CREATE TABLE new (id INTEGER PRIMARY KEY, name TEXT, price INTEGER, views INTEGER);
         DROP TABLE product; ALTER TABLE new RENAME TO product",
    ] {
        owned.run(altered);
        let now = fingerprint().await;
        assert_ne!(now, last, "{altered}");
        last = now;
    }
}

#[tokio::test]
async fn the_tables_of_a_query_are_those_the_database_reads() {
    let owned = Owned::new(
        "CREATE TABLE a (id INTEGER PRIMARY KEY, x, y); CREATE TABLE \"b c\" (id PRIMARY KEY, x) WITHOUT ROWID;
         CREATE INDEX covering ON a (x, y); CREATE VIEW v AS SELECT a.x, b.id FROM a JOIN \"b c\" b ON b.x = a.x;
         CREATE VIEW vv AS SELECT x FROM v; CREATE VIRTUAL TABLE words USING fts5(body); CREATE VIRTUAL TABLE more USING fts5(body);
         CREATE VIEW found AS SELECT rowid FROM words WHERE words MATCH 'x';",
    )
    .await;
    for (query, expected) in [
        ("SELECT x, y FROM a WHERE x = 1", vec!["a"]),
        ("SELECT count(*) FROM A", vec!["a"]),
        ("SELECT 1 AS one", vec![]),
        ("SELECT x FROM vv", vec!["a", "b c"]),
        (
            "WITH q AS (SELECT id FROM \"b c\") SELECT * FROM q WHERE id IN (SELECT y FROM a); -- done",
            vec!["a", "b c"],
        ),
        ("SELECT y AS \"words\" FROM a, json_each('[1]')", vec!["a", "words"]),
        ("SELECT * FROM words", vec!["words"]),
        ("SELECT rowid FROM found UNION ALL SELECT id FROM a", vec!["a", "words"]),
        ("SELECT name FROM sqlite_master", vec!["sqlite_schema"]),
        ("SELECT max(id) AS m FROM a WHERE EXISTS (SELECT 1 FROM \"b c\")", vec!["a", "b c"]),
    ] {
        assert_eq!(tables(&owned, query).await, expected, "{query}");
    }
    let mut snapshot = owned.snapshot().await;
    assert!(snapshot.tables("DELETE FROM a").await.is_err());
    assert!(snapshot.tables("SELECT nothing FROM a").await.unwrap_err().to_string().contains("nothing"));
}
