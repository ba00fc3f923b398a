//! Statements that work without capture work with it, whatever a key or a column is computed of.

use super::*;

/// A schema, and statements of which each is run by itself.
struct Case {
    schema: &'static str,
    script: &'static [&'static str],
    /// Whether the table may count as wholly changed afterwards.
    is_whole: bool,
}

/// What the statements say, and what `t` holds then: with capture as without; and that capture knows it.
async fn check(case: &Case, columns: &[&str]) {
    let with = Owned::new(case.schema).await;
    let without = Owned::new(case.schema).await;
    with.database.install(ME, &reads(&[("t", columns)])).await.unwrap();
    let rows = "SELECT quote(id) || '|' || quote(doc) || '|' || quote(n) FROM t ORDER BY id, doc, n";
    let before = without.run(rows);
    let seen = with.seen().await;
    for statement in case.script {
        let expected = without.try_run(statement);
        assert_eq!(with.try_run(statement), expected, "{}\n{statement}", case.schema);
        assert_eq!(with.run(rows), without.run(rows), "{}\n{statement}", case.schema);
    }
    let changes = with.changes(&seen).await;
    let is_whole = changes.whole.contains(&table("t"));
    assert_eq!(is_whole, case.is_whole, "{}\n{:?}", case.schema, case.script);
    if is_whole {
        return;
    }
    let after = without.run(rows);
    let images = with.images(&seen, "t", &["id", "doc", "n"]).await;
    let differ = before.lines().filter(|row| !after.lines().any(|now| now == *row));
    let differ = differ.chain(after.lines().filter(|row| !before.lines().any(|then| then == *row)));
    for row in differ {
        assert!(
            images.iter().any(|image| image == row),
            "{}\n{:?}\nno image of {row}: {images:?}",
            case.schema,
            case.script
        );
    }
}

const T: &str = "CREATE TABLE t (id INTEGER PRIMARY KEY, doc TEXT, n INT);";

const PARTIAL: &str = "CREATE TABLE t (id INTEGER PRIMARY KEY, doc TEXT, n INT);
    CREATE UNIQUE INDEX ti ON t (json_extract(doc, '$.sku')) WHERE json_valid(doc);
    INSERT INTO t VALUES (7, 'old', 0), (8, '{\"sku\":1}', 0), (9, '{\"sku\":2}', 0);";

const CASES: &[Case] = &[
    Case {
        schema: PARTIAL,
        script: &[
            "INSERT INTO t VALUES (1, 'not json', 1)",
            "UPDATE t SET doc = '{' WHERE id = 8",
            "UPDATE t SET n = n + 1",
            "REPLACE INTO t VALUES (2, '{\"sku\":2}', 2)",
            "UPDATE OR REPLACE t SET doc = '{\"sku\":2}' WHERE id = 7",
            "INSERT INTO t VALUES (7, 'no', 1) ON CONFLICT (id) DO UPDATE SET doc = excluded.doc",
            "INSERT OR IGNORE INTO t VALUES (7, 'none', 1)",
            "DELETE FROM t",
        ],
        is_whole: false,
    },
    // The index is there for no longer: whatever it was asked is asked no more.
    Case {
        schema: PARTIAL,
        script: &[
            "DROP INDEX ti",
            "INSERT INTO t VALUES (1, '{\"sku\":1}', 1)",
            "UPDATE OR REPLACE t SET doc = '{\"sku\":2}' WHERE id = 7",
        ],
        is_whole: false,
    },
    Case {
        schema: "CREATE TABLE t (id INTEGER PRIMARY KEY, doc TEXT, n INT);
            CREATE UNIQUE INDEX ti ON t (json_extract(doc, '$.sku')); INSERT INTO t VALUES (1, '{\"sku\":1}', 1);",
        script: &[
            "DROP INDEX ti",
            "UPDATE t SET doc = '{' WHERE id = 1",
            "INSERT INTO t VALUES (3, '{\"sku\":3}', 1)",
            "UPDATE t SET doc = '{\"sku\":1}' WHERE id = 3",
        ],
        is_whole: true,
    },
    Case {
        schema: "CREATE TABLE t (id INTEGER PRIMARY KEY, doc TEXT, n INT);
            CREATE UNIQUE INDEX ti ON t (abs(n)) WHERE n > -100; INSERT INTO t VALUES (1, 'a', -1), (2, 'b', 2);",
        script: &[
            "INSERT INTO t VALUES (3, 'a', -9223372036854775808)",
            "UPDATE t SET doc = 'z' WHERE id = 3",
            "REPLACE INTO t VALUES (4, 'd', 1)",
            "UPDATE OR REPLACE t SET n = -2 WHERE id = 3",
            "UPDATE t SET n = -9223372036854775808",
        ],
        is_whole: false,
    },
    Case {
        schema: "CREATE TABLE t (id INTEGER PRIMARY KEY, doc TEXT NOT NULL, n INT NOT NULL, k TEXT UNIQUE);
            CREATE UNIQUE INDEX ti ON t (json_extract(doc, '$.sku')); INSERT INTO t VALUES (1, '{\"sku\":1}', 1, 'k');",
        script: &[
            "INSERT OR IGNORE INTO t VALUES (2, 'bad', NULL, 'l')",
            "INSERT OR IGNORE INTO t VALUES (1, 'bad', 3, 'l')",
            "INSERT INTO t VALUES (2, 'bad', 3, 'k') ON CONFLICT DO NOTHING",
            "INSERT INTO t VALUES (2, 'bad', 3, 'k') ON CONFLICT (k) DO UPDATE SET n = 4",
            "UPDATE OR IGNORE t SET doc = 'bad', n = NULL",
            "INSERT INTO t VALUES (2, 'bad', 3, 'm')",
            "INSERT INTO t VALUES (2, '{\"sku\":2}', 3, 'm')",
            "UPDATE OR IGNORE t SET doc = 'bad', k = 'k'",
            "UPDATE t SET doc = 'bad'",
        ],
        is_whole: true,
    },
    Case {
        schema: "CREATE TABLE t (id INTEGER PRIMARY KEY, doc TEXT NOT NULL, n INT NOT NULL);
            CREATE UNIQUE INDEX ti ON t (abs(n)); INSERT INTO t VALUES (1, 'a', 1);",
        script: &[
            "INSERT OR IGNORE INTO t VALUES (1, 'b', -9223372036854775808)",
            "INSERT OR IGNORE INTO t VALUES (2, NULL, -9223372036854775808)",
            "INSERT INTO t VALUES (2, 'b', -9223372036854775808)",
            "INSERT INTO t VALUES (1, 'b', -9223372036854775808) ON CONFLICT (id) DO UPDATE SET doc = 'c'",
        ],
        is_whole: true,
    },
    Case {
        schema: "CREATE TABLE t (id INTEGER PRIMARY KEY, doc TEXT NOT NULL, n INT NOT NULL);
            CREATE UNIQUE INDEX ti ON t (abs(n)); INSERT INTO t VALUES (1, 'a', 1);",
        script: &["REPLACE INTO t VALUES (2, 'b', -1)", "UPDATE t SET doc = 'd'", "INSERT OR IGNORE INTO t VALUES (3, 'c', 2)"],
        is_whole: false,
    },
    Case {
        schema: "CREATE TABLE t (id INTEGER PRIMARY KEY, doc TEXT, n INT CHECK (n > 0));
            CREATE UNIQUE INDEX ti ON t (json_extract(doc, '$.sku')); CREATE UNIQUE INDEX tj ON t (abs(n));
            INSERT INTO t VALUES (1, '{\"sku\":1}', 1);",
        script: &[
            "INSERT OR IGNORE INTO t VALUES (2, 'bad', -9223372036854775808)",
            "INSERT INTO t VALUES (2, 'bad', -9223372036854775808)",
            "UPDATE OR IGNORE t SET n = -9223372036854775808",
        ],
        is_whole: true,
    },
    // The owner's own trigger lets a row pass silently, or stops it.
    Case {
        schema: "CREATE TABLE t (id INTEGER PRIMARY KEY, doc TEXT, n INT); CREATE UNIQUE INDEX ti ON t (abs(n));
            CREATE TRIGGER mine BEFORE INSERT ON t WHEN NEW.n < -100 BEGIN SELECT RAISE(IGNORE); END;",
        script: &["INSERT INTO t VALUES (2, 'b', -9223372036854775808)", "INSERT INTO t VALUES (3, 'c', 3)"],
        is_whole: true,
    },
    Case {
        schema: "CREATE TABLE t (id INTEGER PRIMARY KEY, doc TEXT, n INT);
            CREATE UNIQUE INDEX ti ON t (n) WHERE json_extract(doc, '$.x') = 1;
            INSERT INTO t VALUES (1, '{\"x\":1}', 1), (2, '{\"x\":0}', 1);",
        script: &[
            "INSERT OR IGNORE INTO t VALUES (1, 'bad', 1)",
            "INSERT INTO t VALUES (3, 'bad', 1)",
            "REPLACE INTO t VALUES (4, '{\"x\":1}', 1)",
        ],
        is_whole: true,
    },
    Case {
        schema: "CREATE TABLE t (id INTEGER PRIMARY KEY, doc TEXT, n INT);
            CREATE UNIQUE INDEX ti ON t (n) WHERE json_extract(doc, '$.x') = 1;
            INSERT INTO t VALUES (1, '{\"x\":1}', 1), (2, '{\"x\":0}', 1);",
        script: &[
            "REPLACE INTO t VALUES (4, '{\"x\":1}', 1)",
            "UPDATE OR REPLACE t SET doc = '{\"x\":1}' WHERE id = 2",
            "UPDATE t SET doc = NULL",
        ],
        is_whole: false,
    },
    // Several such keys, in other orders and collations, and no row numbers.
    Case {
        schema: "CREATE TABLE t (id INT, doc TEXT, n INT, PRIMARY KEY (n, id)) WITHOUT ROWID;
            CREATE UNIQUE INDEX ti ON t (doc ->> '$.sku' COLLATE NOCASE DESC, lower(n));
            CREATE UNIQUE INDEX tj ON t (json_extract(doc, '$.code') DESC) WHERE json_valid(doc) AND n > 0;
            INSERT INTO t VALUES (1, '{\"sku\":\"a\"}', 1), (2, '{\"code\":7}', 2), (3, '{\"code\":7}', 0);",
        script: &[
            "REPLACE INTO t VALUES (4, '{\"sku\":\"A\"}', 1)",
            "REPLACE INTO t VALUES (5, '{\"code\":7}', 4)",
            "UPDATE OR REPLACE t SET n = 9 WHERE id = 3",
            "INSERT INTO t VALUES (6, '{\"sku\":\"b\"}', 1), (7, '{\"sku\":\"c\"}', 1)",
            "UPDATE OR REPLACE t SET doc = '{\"sku\":\"B\"}' WHERE id = 7",
        ],
        is_whole: false,
    },
    Case {
        schema: "CREATE TABLE t (id INTEGER PRIMARY KEY, doc ANY, n INT NOT NULL) STRICT;
            CREATE UNIQUE INDEX ti ON t (json_extract(doc, '$.sku')) WHERE json_valid(doc); CREATE UNIQUE INDEX tj ON t (-n);",
        script: &[
            "INSERT INTO t VALUES (1, 'bad', 'text')",
            "INSERT OR IGNORE INTO t VALUES (1, 'bad', 'text')",
            "INSERT OR IGNORE INTO t VALUES (1, 'bad', NULL)",
            "INSERT INTO t VALUES (1, 'bad', 1), (2, 5, 2), (3, x'7b', 3)",
            "REPLACE INTO t VALUES (4, '{\"sku\":1}', 2)",
            "UPDATE t SET n = 'x'",
        ],
        is_whole: false,
    },
    // What is not JSON to every version of SQLite.
    Case {
        schema: "CREATE TABLE t (id INTEGER PRIMARY KEY, doc, n INT);
            CREATE UNIQUE INDEX ti ON t (json_extract(doc, '$.sku')); INSERT INTO t VALUES (1, '{\"sku\":1}', 1);",
        script: &["REPLACE INTO t VALUES (2, CAST('{\"sku\":1}' AS BLOB), 2)"],
        is_whole: true,
    },
    // A key computed of a number that is not known yet.
    Case {
        schema: "CREATE TABLE t (id INTEGER PRIMARY KEY, doc TEXT, n INT);
            CREATE UNIQUE INDEX ti ON t (id % 4); INSERT INTO t VALUES (1, 'a', 1), (4, 'd', 4);",
        script: &["REPLACE INTO t (doc) VALUES ('e')"],
        is_whole: true,
    },
];

#[tokio::test]
async fn keys_are_computed_only_where_sqlite_does_it_too() {
    for case in CASES {
        check(case, &["id", "doc", "n"]).await;
    }
}

const COMPUTED: &[Case] = &[
    Case {
        schema: "CREATE TABLE t (id INTEGER PRIMARY KEY, doc TEXT, n INT); INSERT INTO t VALUES (1, '{bad', 1), (2, '{', 2);
            ALTER TABLE t ADD COLUMN sku AS (json_extract(doc, '$.sku'));
            INSERT INTO t VALUES (3, '{\"sku\":3}', 3);",
        script: &[
            "UPDATE t SET n = 5 WHERE id = 1",
            "UPDATE t SET doc = '{}' WHERE id = 1",
            "UPDATE t SET n = 6 WHERE id = 1",
            "REPLACE INTO t VALUES (2, '{\"sku\":2}', 2)",
            "INSERT INTO t VALUES (4, 'bad', 2)",
            "DELETE FROM t",
        ],
        is_whole: false,
    },
    Case {
        schema: "CREATE TABLE t (id INTEGER PRIMARY KEY, doc TEXT, n INT); INSERT INTO t VALUES (1, '{bad', 1), (2, '{}', 2);
            ALTER TABLE t ADD COLUMN sku TEXT COLLATE NOCASE AS (json_extract(doc, '$.sku'));
            CREATE UNIQUE INDEX ti ON t (sku) WHERE n > 1;",
        script: &[
            "UPDATE t SET doc = '{\"sku\":\"a\"}' WHERE id = 2",
            "REPLACE INTO t VALUES (3, '{\"sku\":\"A\"}', 3)",
            "UPDATE OR REPLACE t SET n = 2, doc = '{\"sku\":\"A\"}' WHERE id = 1",
            "DROP INDEX ti",
            "INSERT INTO t VALUES (5, '{\"sku\":\"A\"}', 3)",
            "DELETE FROM t",
        ],
        is_whole: false,
    },
];

#[tokio::test]
async fn columns_computed_when_they_are_read_are_never_read() {
    for case in COMPUTED {
        check(case, &["id", "sku"]).await;
    }
    let owned = Owned::new(COMPUTED[0].schema).await;
    let catalog = owned.snapshot().await.catalog().await.unwrap();
    let computed: Vec<bool> =
        catalog.tables[&table("t")].columns.iter().map(|column| column.is_computed).collect();
    assert_eq!(computed, [false, false, false, true]);
}

#[tokio::test]
async fn columns_that_can_always_be_computed_are_captured() {
    let schema =
        "CREATE TABLE t (id INTEGER PRIMARY KEY, doc TEXT, v AS (lower(doc) || id * 2 || coalesce(doc, 'x')),
            s AS (json_extract(doc, '$.s')) STORED, i AS (abs(id)));";
    let owned = Owned::new(schema).await;
    let catalog = owned.snapshot().await.catalog().await.unwrap();
    let computed: Vec<bool> =
        catalog.tables[&table("t")].columns.iter().map(|column| column.is_computed).collect();
    assert_eq!(computed, [false, false, false, false, true]);
}

/// SQLite reads all old values once a trigger reads one beyond the first 32.
#[tokio::test]
async fn a_wide_table_with_a_computed_column_counts_as_wholly_changed() {
    let many: Vec<String> = (0..40).map(|number| format!("c{number}")).collect();
    let schema = format!(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, doc TEXT, n INT, {}); INSERT INTO t (id, doc) VALUES (1, 'bad'), (2, 'bad');
         ALTER TABLE t ADD COLUMN sku AS (json_extract(doc, '$.sku'));",
        many.join(", ")
    );
    for script in [
        "DELETE FROM t WHERE id = 1",
        "UPDATE t SET doc = '{}', c39 = 4 WHERE id = 1",
        "REPLACE INTO t (id, doc) VALUES (1, '{}')",
    ] {
        let owned = Owned::captured(&schema, &[("t", &["id", "doc", "c39"])]).await;
        let seen = owned.seen().await;
        owned.run(script);
        let is_replaced = script.starts_with("REPLACE");
        assert_eq!(owned.changes(&seen).await.whole.contains(&table("t")), !is_replaced, "{script}");
    }
}

/// A BEFORE trigger sees NULL in columns that it does not name, also where others are generated of them.
#[tokio::test]
async fn what_is_generated_is_generated_of_all_columns() {
    let schema = "CREATE TABLE t (id INTEGER PRIMARY KEY, doc TEXT NOT NULL, n INT, k INT, j AS (json_object(doc, 1)) STORED,
            s AS (doc || 'x'), UNIQUE (s, k)); INSERT INTO t VALUES (1, 'a', 1, 1), (2, 'a', 1, 2);";
    let case = Case {
        schema,
        script: &["UPDATE OR REPLACE t SET k = 1 WHERE id = 2", "UPDATE t SET k = 5"],
        is_whole: false,
    };
    check(&case, &["id", "doc", "n"]).await;
}

#[tokio::test]
async fn what_never_fails_is_known_of_functions_and_operators() {
    let owned = Owned::new(&format!("{T} CREATE UNIQUE INDEX a ON t (lower(doc), n + 1, substr(doc, 2) || 'x');
        CREATE UNIQUE INDEX b ON t (json_extract(doc, '$.a'), lower(doc ->> 'x')) WHERE doc IS NOT NULL;
        CREATE UNIQUE INDEX c ON t (abs(n)); CREATE UNIQUE INDEX d ON t (n) WHERE json_extract(doc, '$.a') = 'x';
        CREATE UNIQUE INDEX e ON t (json_extract(doc, '$.a', '$.b')); CREATE UNIQUE INDEX f ON t (doc -> n);")).await;
    let mut snapshot = owned.database.begin().await.unwrap();
    let schema = snapshot.schema().await.unwrap();
    use crate::database::sqlite::failing::Fails;
    let json = || Fails::OnBadJson(BTreeSet::from(["doc".to_owned()]));
    let found: Vec<(Fails, Fails)> = schema.details[&table("t")]
        .unique
        .iter()
        .map(|unique| (unique.predicate_fails.clone(), unique.terms_fail.clone()))
        .collect();
    let (never, perhaps) = (Fails::Never, Fails::Perhaps);
    assert_eq!(
        found,
        [
            (never.clone(), never.clone()),
            (never.clone(), json()),
            (never.clone(), perhaps.clone()),
            (json(), never.clone()),
            (never.clone(), perhaps.clone()),
            (never, perhaps),
        ]
    );
}
