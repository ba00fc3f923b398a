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
async fn a_column_s_fingerprint_follows_what_it_holds_without_edits() {
    let schema = "CREATE TABLE product (id INTEGER PRIMARY KEY, name TEXT, price INTEGER DEFAULT 5, twice AS (price * 2))";
    let owned = Owned::captured(schema, &[("product", &["id"])]).await;
    let prints = async || {
        let facts = facts(&*catalog(&owned).await, "product").clone();
        let of =
            |name: &str| facts.columns.iter().find(|column| column.name == name).unwrap().fingerprint.clone();
        (facts.fingerprint.clone(), [of("id"), of("name"), of("price"), of("twice")])
    };
    let alter = |from: &str, to: &str| {
        format!(
            "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, '{from}', '{to}') \
             WHERE name = 'product'; PRAGMA writable_schema = RESET; CREATE TABLE \"{to}\" (id)"
        )
    };
    let mut last = prints().await;
    for (altered, changes) in [
        ("CREATE TABLE other (id)".to_owned(), [false; 4]),
        ("CREATE INDEX i ON product (price); CREATE UNIQUE INDEX u ON product (name)".to_owned(), [false; 4]),
        ("UPDATE product SET price = 1; VACUUM".to_owned(), [false; 4]),
        // What a generated column is made of is not told apart from the rest of the table.
        ("ALTER TABLE product ADD COLUMN more DEFAULT 7".to_owned(), [false, false, false, true]),
        ("ALTER TABLE product RENAME COLUMN more TO most".to_owned(), [false, false, false, true]),
        ("ALTER TABLE product DROP COLUMN most".to_owned(), [false, false, false, true]),
        (alter("price * 2", "price * 3"), [false, false, false, true]),
        (alter("DEFAULT 5", "DEFAULT 6"), [false, false, true, true]),
        (alter("name TEXT", "name TEXT COLLATE NOCASE"), [false, true, false, true]),
    ] {
        owned.run(&altered);
        let now = prints().await;
        assert_eq!(now.0, last.0, "{altered}");
        let differs = now.1.iter().zip(&last.1).map(|(now, last)| now != last);
        assert!(differs.eq(changes), "{altered}");
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
