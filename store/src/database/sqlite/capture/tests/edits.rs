//! Every way to edit a row leaves the images of what was and what is; the user notices nothing.

use super::*;

/// Captures all of `t`'s `columns`, runs `script` in the shell and compares all images.
async fn check(schema: &str, columns: &[&str], script: &str, expected: &[&str]) {
    let owned = Owned::captured(schema, &[("t", columns)]).await;
    let seen = owned.seen().await;
    owned.run(script);
    assert_eq!(owned.images(&seen, "t", columns).await, expected, "{schema}\n{script}");
}

#[tokio::test]
async fn replace_records_the_rows_it_removes() {
    let row = "INSERT INTO t VALUES (1, 'a', 'x'), (2, 'b', 'y'), (3, 'c', 'z');";
    for schema in [
        "CREATE TABLE t (id INTEGER PRIMARY KEY, code TEXT UNIQUE, v);",
        "CREATE TABLE t (id INTEGER, code TEXT PRIMARY KEY, v, UNIQUE (id));",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, code TEXT UNIQUE, v) WITHOUT ROWID;",
        "CREATE TABLE t (id INTEGER UNIQUE, code TEXT, v, PRIMARY KEY (code, id), UNIQUE (code)) WITHOUT ROWID;",
        "CREATE TABLE t (id INTEGER UNIQUE, code TEXT, v); CREATE UNIQUE INDEX i ON t (code COLLATE NOCASE DESC);",
        "CREATE TABLE t (id INTEGER UNIQUE, code TEXT, v); CREATE UNIQUE INDEX i ON t (code) WHERE v <> 'q' -- all;",
        "CREATE TABLE t (id INTEGER UNIQUE, code TEXT, v);\nCREATE UNIQUE INDEX \"i (\" ON \"t\" (lower(code), ('(' || 1) ASC);",
    ] {
        let schema = schema.replace("-- all;", "-- all\n;") + row;
        let columns = ["id", "code", "v"];
        for replace in ["INSERT OR REPLACE", "REPLACE"] {
            let script = format!("{replace} INTO t VALUES (1, 'b', 'new')");
            check(&schema, &columns, &script, &["1|'a'|'x'", "1|'b'|'new'", "2|'b'|'y'"]).await;
        }
        let script = "UPDATE OR REPLACE t SET code = 'a', v = 'new' WHERE id = 3";
        check(&schema, &columns, script, &["1|'a'|'x'", "3|'a'|'new'", "3|'c'|'z'"]).await;
        // Over the whole of many rows, with recursive triggers and without.
        for recursive in ["OFF", "ON"] {
            let script = format!(
                "PRAGMA recursive_triggers = {recursive}; PRAGMA trusted_schema = OFF; \
                 INSERT OR REPLACE INTO t SELECT id + 1, code, v FROM t ORDER BY id DESC"
            );
            let owned = Owned::captured(&schema, &[("t", &columns)]).await;
            let seen = owned.seen().await;
            owned.run(&script);
            let images = owned.images(&seen, "t", &columns).await;
            for gone in ["1|'a'|'x'", "2|'b'|'y'", "3|'c'|'z'", "2|'a'|'x'", "3|'b'|'y'", "4|'c'|'z'"] {
                assert!(images.iter().any(|image| image == gone), "{schema} {gone}: {images:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_row_s_number_may_be_replaced_where_no_column_is_it() {
    let schema = "CREATE TABLE t (v); INSERT INTO t (rowid, v) VALUES (7, 'old'), (8, 'b');";
    check(schema, &["v"], "INSERT OR REPLACE INTO t (rowid, v) VALUES (7, 'new')", &["'new'", "'old'"]).await;
    check(schema, &["v"], "UPDATE OR REPLACE t SET _rowid_ = 7 WHERE rowid = 8", &["'old'"]).await;
    check(schema, &["v", "rowid"], "UPDATE t SET oid = 9 WHERE rowid = 8", &["'b'|8", "'b'|9"]).await;
    let schema = "CREATE TABLE t (id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (7, 'old'), (8, 'b');";
    check(schema, &["id"], "UPDATE t SET rowid = 9 WHERE id = 8", &["8", "9"]).await;
    check(schema, &["id", "oid"], "UPDATE t SET rowid = 9 WHERE id = 8", &["8|8", "9|9"]).await;
    check(schema, &["v"], "UPDATE OR REPLACE t SET oid = 7 WHERE id = 8", &["'old'"]).await;
}

#[tokio::test]
async fn conditions_of_partial_indexes_conflict_when_other_columns_change() {
    let schema = "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, live INT);
        CREATE UNIQUE INDEX i ON t (name) WHERE live; INSERT INTO t VALUES (1, 'a', 1), (2, 'a', 0);";
    check(schema, &["id", "name"], "UPDATE OR REPLACE t SET live = 1 WHERE id = 2", &["1|'a'"]).await;
}

#[tokio::test]
async fn a_null_that_replace_makes_a_default_marks_the_whole_table() {
    let schema =
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT NOT NULL DEFAULT 'd', b, s AS (a || 'x') UNIQUE);
        INSERT INTO t VALUES (1, 'd', 0), (2, 'e', 0);";
    for (script, is_whole) in [
        ("INSERT OR REPLACE INTO t VALUES (3, NULL, 1)", true),
        ("UPDATE OR REPLACE t SET a = NULL WHERE id = 2", true),
        ("INSERT OR REPLACE INTO t (id) VALUES (3)", false),
        ("UPDATE t SET b = NULL; INSERT INTO t VALUES (3, 'f', NULL)", false),
    ] {
        let owned = Owned::captured(schema, &[("t", &["id", "a"])]).await;
        owned.publish(1).await;
        let seen = owned.seen().await;
        owned.run(script);
        let changes = owned.changes(&seen).await;
        assert_eq!(changes.whole.contains(&table("t")), is_whole, "{script}: {changes:?}");
        assert!(owned.capture().is_behind(ME).await.unwrap() || !is_whole);
        assert_eq!(
            owned.capture().install(ME, &reads(&[("t", &["id", "a"])])).await.unwrap(),
            Installed::default()
        );
        if script.contains("(id)") {
            assert_eq!(owned.images(&seen, "t", &["id", "a"]).await, ["1|'d'", "3|'d'"]);
        }
    }
}

#[tokio::test]
async fn upserts_and_ignored_rows_are_explained() {
    let schema = "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'a'), (2, 'b');";
    let upsert = "INSERT INTO t VALUES (1, 'n'), (3, 'c') ON CONFLICT (id) DO UPDATE SET v = excluded.v || v";
    // The first is the row that REPLACE would have removed.
    check(schema, &["id", "v"], upsert, &["1|'a'", "1|'na'", "3|'c'"]).await;
    let nothing =
        "INSERT INTO t VALUES (1, 'n') ON CONFLICT DO NOTHING; INSERT OR IGNORE INTO t VALUES (2, 'n')";
    check(schema, &["id", "v"], nothing, &["1|'a'", "2|'b'"]).await;
}

#[tokio::test]
async fn foreign_keys_that_cascade_are_captured() {
    let schema = "CREATE TABLE p (id INTEGER PRIMARY KEY, code UNIQUE);
        CREATE TABLE t (id INTEGER PRIMARY KEY, p REFERENCES p (id) ON DELETE CASCADE ON UPDATE CASCADE,
            c REFERENCES p (code) ON DELETE SET NULL ON UPDATE SET DEFAULT);
        INSERT INTO p VALUES (1, 'a'), (2, 'b'); INSERT INTO t VALUES (10, 1, 'b'), (20, 2, 'b');";
    let on = "PRAGMA foreign_keys = ON;";
    for (script, expected) in [
        ("DELETE FROM p WHERE id = 1", vec!["10|1|'b'"]),
        ("UPDATE p SET id = 3 WHERE id = 1", vec!["10|1|'b'", "10|3|'b'"]),
        ("UPDATE p SET code = 'c' WHERE id = 2", vec!["10|1|'b'", "10|1|NULL", "20|2|'b'", "20|2|NULL"]),
        ("DELETE FROM p WHERE id = 2", vec!["10|1|'b'", "10|1|NULL", "20|2|'b'"]),
        // The row that REPLACE removes takes its children with it.
        ("INSERT OR REPLACE INTO p VALUES (1, 'a')", vec!["10|1|'b'"]),
    ] {
        check(schema, &["id", "p", "c"], &format!("{on} {script}"), &expected).await;
    }
}

#[tokio::test]
async fn generated_columns_change_with_what_they_are_made_of() {
    let schema = "CREATE TABLE t (a INT, v TEXT AS (a || '!') VIRTUAL, s INT AS (a * 2) STORED, u INT);
        INSERT INTO t (a, u) VALUES (1, 0);";
    check(schema, &["v", "s"], "UPDATE t SET a = 2", &["'1!'|2", "'2!'|4"]).await;
    check(schema, &["s"], "UPDATE t SET u = 9; UPDATE t SET a = a", &[]).await;
    check(schema, &["v"], "INSERT INTO t (a) VALUES (5); DELETE FROM t WHERE a = 1", &["'1!'", "'5!'"]).await;
    let unique = schema.replace("u INT)", "u INT, UNIQUE (s))");
    check(&unique, &["a", "v"], "REPLACE INTO t (a, u) VALUES (1, 7)", &["1|'1!'"]).await;
}

#[tokio::test]
async fn a_change_of_type_or_case_alone_is_one() {
    for (column, old, new) in [
        ("v", "1", "1.0"),
        ("v TEXT COLLATE NOCASE", "'a'", "'A'"),
        ("v TEXT COLLATE RTRIM", "'a'", "'a '"),
        ("v TEXT", "''", "NULL"),
        ("v BLOB", "x'61'", "'a'"),
        ("v", "x''", "''"),
        ("v NUMERIC", "2", "2.5"),
        ("v REAL", "1.0", "0.1"),
        ("v TEXT", "'a' || char(0) || 'b'", "'a' || char(0) || 'c'"),
    ] {
        let schema =
            format!("CREATE TABLE t (id INTEGER PRIMARY KEY, {column}); INSERT INTO t VALUES (1, {old})");
        let owned = Owned::captured(&schema, &[("t", &["v"])]).await;
        let seen = owned.seen().await;
        owned.run(&format!("UPDATE t SET v = {old}"));
        assert!(owned.changes(&seen).await.is_empty(), "{column} is {old}, and stays");
        owned.run(&format!("UPDATE t SET v = {new}"));
        let images = owned.images(&seen, "t", &["v"]).await;
        assert_eq!(images.len(), 2, "{column} from {old} to {new}: {images:?}");
        let same = "SELECT count(*) FROM edgepress_change_t c, t WHERE c.edgepress_id % 2 AND \
                    c.v COLLATE BINARY IS t.v AND typeof(c.v) = typeof(t.v) AND hex(c.v) = hex(t.v)";
        assert_eq!(owned.run(same), "1", "the image is what is stored: {column} {new}");
    }
}

#[tokio::test]
async fn odd_names_are_names_like_any_other() {
    let table_name = "sel\"ect [ü] 'NEW'; --";
    let columns = ["order", "a\"b", "c d", "schlüssel", "NEW", "'", "rowid"];
    let list: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
    let on = quoted(table_name);
    let owned = Owned::captured(
        &format!("CREATE TABLE {on} ({}, PRIMARY KEY ({}, {}))", list.join(", "), list[0], list[4]),
        &[(table_name, &columns)],
    )
    .await;
    let seen = owned.seen().await;
    owned.run(&format!(
        "REPLACE INTO {on} VALUES (1, 2, 3, 4, 5, 6, 7); REPLACE INTO {on} VALUES (1, 0, 3, 4, 5, 6, 7)"
    ));
    owned.run(&format!("UPDATE {on} SET {} = 9", list[1]));
    let images = owned.images(&seen, table_name, &columns).await;
    assert_eq!(images, ["1|2|3|4|5|6|7", "1|9|3|4|5|6|7"], "what came and went cancels out");
    for name in ["new", "old", "edgepress_t", "t"] {
        let owned = Owned::captured(
            &format!("CREATE TABLE {name} (id INTEGER PRIMARY KEY, v UNIQUE); INSERT INTO {name} VALUES (1, 'a'), (2, 'b')"),
            &[(name, &["ID", "V"])],
        )
        .await;
        let seen = owned.seen().await;
        owned.run(&format!("REPLACE INTO {name} VALUES (3, 'a')"));
        assert_eq!(owned.images(&seen, name, &["Id", "v"]).await, ["1|'a'", "3|'a'"]);
    }
}

#[tokio::test]
async fn a_table_of_very_many_columns_is_captured_column_by_column() {
    let names: Vec<String> = (0..1_500).map(|number| format!("c{number}")).collect();
    let columns: Vec<&str> = names.iter().map(String::as_str).collect();
    let schema = format!("CREATE TABLE t ({}); INSERT INTO t DEFAULT VALUES", names.join(", "));
    let owned = Owned::captured(&schema, &[("t", &columns)]).await;
    let seen = owned.seen().await;
    owned.run("UPDATE t SET c1499 = 'last'");
    assert_eq!(owned.images(&seen, "t", &["c1499"]).await, ["'last'", "NULL"]);
    assert_eq!(owned.images(&seen, "t", &["c0"]).await, [] as [&str; 0], "another bit of the mask");
    let shared = owned.images(&seen, "t", &["c11"]).await;
    assert_eq!(shared, [] as [&str; 0], "1499 and 11 share a bit, but its images cancel out");
}

#[tokio::test]
async fn huge_values_are_captured_as_they_are() {
    let schema = "CREATE TABLE t (id INTEGER PRIMARY KEY, v)";
    let owned = Owned::captured(schema, &[("t", &["v"])]).await;
    let seen = owned.seen().await;
    owned.run("INSERT INTO t VALUES (1, zeroblob(20000000)); UPDATE t SET v = 9223372036854775807");
    let lengths = "SELECT group_concat(length(v)) FROM edgepress_change_t";
    assert_eq!(owned.run(lengths), "20000000,20000000,19");
    assert_eq!(owned.changes(&seen).await.tables[&table("t")].count, 2);
}

#[tokio::test]
async fn a_query_that_reads_no_column_sees_rows_come_and_go() {
    let schema = "CREATE TABLE t (id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 'a')";
    let owned = Owned::captured(schema, &[("t", &[])]).await;
    let seen = owned.seen().await;
    owned.run("UPDATE t SET v = 'b'");
    assert!(owned.changes(&seen).await.is_empty());
    owned.run("DELETE FROM t");
    let mut snapshot = owned.snapshot().await;
    let changes = snapshot.changes(&seen).await.unwrap();
    let source = changes.tables[&table("t")].source(&BTreeSet::new());
    assert_eq!(
        read(&mut *snapshot, &format!("SELECT count(*) AS n FROM ({source})"), None).await.unwrap(),
        [[Value::Int(1)]]
    );
    // As text that SQLite would quietly take for a value: a column that is not captured is an error.
    let source = changes.tables[&table("t")].source(&BTreeSet::from(["nope".to_owned()]));
    let error = owned.database.columns(&source).await.unwrap_err().to_string();
    assert!(error.contains("no such column"), "{error}");
}

#[tokio::test]
async fn the_user_s_connection_counts_as_without_us() {
    let schema = "CREATE TABLE t (id INTEGER PRIMARY KEY, v UNIQUE); INSERT INTO t VALUES (1, 'a'), (2, 'b');
        CREATE TABLE audit (n); CREATE TRIGGER mine AFTER UPDATE ON t BEGIN INSERT INTO audit VALUES (NEW.v); END;";
    let script = "INSERT INTO t (v) VALUES ('c'), ('d'); SELECT changes(), last_insert_rowid();
        UPDATE t SET v = v || '!'; SELECT changes(), last_insert_rowid();
        REPLACE INTO t VALUES (9, 'a!'); SELECT changes(), last_insert_rowid();
        INSERT INTO t VALUES (9, 'q') ON CONFLICT DO UPDATE SET v = 'z' RETURNING v; SELECT changes(), last_insert_rowid();
        DELETE FROM t; SELECT changes(), last_insert_rowid(); SELECT count(*) FROM audit;";
    let without = Owned::new(schema).await;
    let with = Owned::captured(schema, &[("t", &["id", "v"])]).await;
    assert_eq!(with.run(script), without.run(script));
}

#[tokio::test]
async fn conflict_clauses_and_failures_do_what_they_did() {
    let schema =
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v UNIQUE NOT NULL); INSERT INTO t VALUES (1, 'a'), (2, 'b')";
    for verb in ["ABORT", "FAIL", "IGNORE", "REPLACE", "ROLLBACK"] {
        for script in [
            format!("INSERT OR {verb} INTO t VALUES (3, 'c'), (4, 'a'), (5, 'e')"),
            format!("UPDATE OR {verb} t SET v = 'b'"),
            format!("BEGIN; DELETE FROM t WHERE id = 1; INSERT OR {verb} INTO t VALUES (7, 'b'); COMMIT"),
            format!(
                "SAVEPOINT s; UPDATE t SET v = 'x' WHERE id = 1; ROLLBACK TO s; INSERT OR {verb} INTO t VALUES (8, 'h'); RELEASE s"
            ),
        ] {
            let without = Owned::new(schema).await;
            let with = Owned::captured(schema, &[("t", &["id", "v"])]).await;
            let seen = with.seen().await;
            assert_eq!(with.try_run(&script), without.try_run(&script), "{script}");
            let rows = "SELECT group_concat(id || v) FROM (SELECT * FROM t ORDER BY id)";
            assert_eq!(with.run(rows), without.run(rows), "{script}");
            let images = with.images(&seen, "t", &["id", "v"]).await;
            assert!(!images.iter().any(|image| image == "1|'x'"), "what was rolled back was not: {images:?}");
        }
    }
}

#[tokio::test]
async fn rows_to_be_removed_are_looked_up_by_index() {
    let schema = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT COLLATE NOCASE, b, c);
        CREATE UNIQUE INDEX i1 ON t (a, b); CREATE UNIQUE INDEX i2 ON t (lower(b)); CREATE UNIQUE INDEX i3 ON t (c) WHERE b > 1;
        CREATE UNIQUE INDEX i4 ON t (b COLLATE RTRIM DESC);";
    let owned = Owned::captured(schema, &[("t", &["id", "a"])]).await;
    for edit in ["INSERT INTO t VALUES (1, 2, 3, 4)", "UPDATE t SET b = 1 WHERE id = 1"] {
        let output =
            Command::new("sqlite3").arg(&owned.path).args(["-cmd", ".eqp trigger", edit]).output().unwrap();
        let plan = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(plan.contains("SEARCH") && !plan.contains("SCAN edgepress_t"), "{plan}");
        for index in ["i1", "i2", "i3", "i4", "INTEGER PRIMARY KEY"] {
            assert!(plan.contains(&format!("INDEX {index}")) || plan.contains(index), "{index}: {plan}");
        }
    }
}

#[tokio::test]
async fn a_trigger_that_may_skip_ours_makes_its_table_uncapturable() {
    let schema = "CREATE TABLE t (id INTEGER PRIMARY KEY); CREATE TABLE fine (id INTEGER PRIMARY KEY);
        CREATE TRIGGER stop AFTER INSERT ON t WHEN NEW.id > 5 BEGIN SELECT raise ( ignore ); END;
        CREATE TRIGGER early BEFORE INSERT ON fine WHEN NEW.id > 5 BEGIN SELECT RAISE(IGNORE); END;
        CREATE TRIGGER \"odd \"\" name\" INSERT ON fine WHEN NEW.id > 7 BEGIN SELECT RAISE(IGNORE); END;";
    let owned = Owned::new(schema).await;
    let catalog = owned.snapshot().await.catalog().await.unwrap();
    let reason = catalog.tables[&table("t")].uncapturable.as_deref().unwrap();
    assert!(reason.contains("`stop`") && reason.contains("RAISE(IGNORE)"), "{reason}");
    assert_eq!(catalog.tables[&table("fine")].uncapturable, None);
    let installed = owned.capture().install(ME, &reads(&[("t", &["id"]), ("fine", &["id"])])).await.unwrap();
    assert_eq!(installed.tables, [table("fine")]);
    assert!(installed.notes.iter().any(|note| note.contains("table t cannot be captured")), "{installed:?}");
    let seen = owned.seen().await;
    owned.run("INSERT INTO fine VALUES (1), (6)");
    assert_eq!(owned.images(&seen, "fine", &["id"]).await, ["1"]);
}

#[tokio::test]
async fn edits_through_other_doors_are_captured() {
    let schema = "CREATE TABLE t (id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 'a'), (2, 'b')";
    let owned = Owned::captured(schema, &[("t", &["id", "v"])]).await;
    let path = owned.path.display();
    let csv = owned.path.with_file_name("rows.csv");
    std::fs::write(&csv, "3,imported\n").unwrap();
    for (script, expected) in [
        (format!("ATTACH '{path}' AS shop; UPDATE shop.t SET v = 'x' WHERE id = 1"), vec!["1|'a'", "1|'x'"]),
        // Tables of the owner's connection that hide ours, or the captured one.
        (
            "CREATE TEMP TABLE edgepress_log (id); CREATE TEMP TABLE edgepress_change_t (id); CREATE TEMP TABLE t (id); \
             DELETE FROM main.t WHERE id = 1; INSERT INTO t VALUES (9)"
                .to_owned(),
            vec!["1|'x'"],
        ),
        ("UPDATE t SET v = n.v FROM (SELECT 2 AS id, 'from' AS v) n WHERE n.id = t.id".to_owned(), vec!["2|'b'", "2|'from'"]),
        (format!(".import --csv '{}' t", csv.display()), vec!["3|'imported'"]),
        ("DELETE FROM t".to_owned(), vec!["2|'from'", "3|'imported'"]),
    ] {
        let seen = owned.seen().await;
        if script.starts_with("ATTACH") {
            let output = Command::new("sqlite3").args([":memory:", &script]).output().unwrap();
            assert!(output.status.success(), "{output:?}");
        } else {
            owned.run(&script);
        }
        assert_eq!(owned.images(&seen, "t", &["id", "v"]).await, expected, "{script}");
    }
}
