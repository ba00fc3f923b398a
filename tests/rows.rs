//! Rows that make no documents, or too few: what is refused, what `--keep-going` and `--yes` do.

use crate::history::assert_whole;
use crate::support::{Site, live};

/// What stands in the path of a third row, as SQL; and what the error says of it.
const PATHS: [(&str, &str); 12] = [
    ("NULL", "row slug=NULL: column `slug` has no text to put in the path"),
    ("''", "column `slug` is empty"),
    ("'a/b'", "column `slug` contains `/`"),
    ("'a' || char(7)", "the control character U+0007"),
    ("'a' || char(0) || 'b'", "the control character U+0000"),
    ("'a' || char(10)", "the control character U+000A"),
    ("'..'", "segment"),
    ("'.'", "segment"),
    ("'a\\b'", "backslash"),
    ("printf('%.2048c', 'x')", "it has 2054 bytes, and 900 are the most"),
    ("'cafe' || char(769)", "not in Unicode's normal form NFC"),
    ("1.5", "column `slug` has no text to put in the path"),
];

#[test]
fn a_path_that_cannot_be_is_refused_with_its_row_and_reason() {
    let site = Site::small(2);
    // One segment by itself, so that dots are not hidden by an extension.
    site.edit("site.toml", "\"/items/{slug}.json\"", "\"/rows/{slug}\"\n  type = \"application/json\"");
    site.json("publish");
    let before = live(&site.bucket());
    for (slug, reason) in PATHS {
        site.sql(&format!("INSERT INTO item VALUES (3, {slug}, 'x')"));
        let message = site.refuses(1, "publish");
        assert!(message.contains("could not be made, so nothing was published"), "{slug}: {message}");
        assert!(message.contains("collection `item`, document `/rows/{slug}`"), "{slug}: {message}");
        assert!(message.contains(reason), "{slug}: {message}");
        assert!(message.len() < 2_000, "{slug}: long texts are cut: {}", message.len());
        site.sql("DELETE FROM item WHERE id = 3");
    }
    assert_eq!(live(&site.bucket()).number, before.number);
    assert_whole(&site);
}

#[test]
fn odd_but_possible_paths_are_published_and_served_under_their_own_names() {
    let site = Site::small(1);
    site.sql_new("SELECT 1");
    let slugs = ["a b", "100%", "ü", "日本", "a+b&c=d", "'\"<>", "x?y#z", "%2e%2e", "...", "~", ":", "-1"];
    for (number, slug) in slugs.iter().enumerate() {
        site.sql(&format!("INSERT INTO item VALUES ({}, '{}', 'x')", number + 10, slug.replace('\'', "''")));
    }
    site.sql("INSERT INTO item VALUES (50, 7, 'an integer')");
    assert_eq!(site.json("publish")["documents"], 2 * (1 + slugs.len() + 1) + 1);
    assert_whole(&site);
    let origin = crate::support::Running::start_loaded(&site);
    for path in live(&site.bucket()).documents.keys() {
        let encoded: String = path
            .bytes()
            .map(|byte| if byte == b'/' { "/".to_owned() } else { format!("%{byte:02x}") })
            .collect();
        assert_eq!(origin.client().get(&encoded).status, 200, "{path}");
    }
}

#[test]
fn two_rows_with_one_path_are_refused() {
    let site = Site::small(2);
    site.json("publish");
    site.sql("INSERT INTO item VALUES (3, 'item-1', 'x')");
    let message = site.refuses(1, "publish");
    assert!(message.contains("collection `item`") && message.contains("slug=\"item-1\""), "{message}");
    assert!(message.contains("another row has the same path"), "{message}");
    assert!(message.contains("put a column that tells the rows apart into the path"), "{message}");
    assert_eq!(live(&site.bucket()).number, 1);
    assert_whole(&site);
}

/// Every item also has a document beside the folder `/items`, at its slug alone.
fn with_pages_at_the_root(rows: usize) -> Site {
    let site = Site::small(rows);
    site.edit(
        "site.toml",
        "  [[collection.document]]\n  path = \"/items/{slug}.json\"",
        "  [[collection.document]]\n  path = \"/{slug}\"\n  type = \"application/json\"\n\n  \
         [[collection.document]]\n  path = \"/items/{slug}.json\"",
    );
    site
}

#[test]
fn a_document_that_is_the_folder_of_another_is_refused_with_its_row() {
    let site = with_pages_at_the_root(2);
    site.sql_new("INSERT INTO item VALUES (3, 'items', 'x')");
    let message = site.refuses(1, "publish");
    assert!(message.contains("/items is a document, and would have to be a folder for /items/"), "{message}");
    assert!(message.contains("collection `item`, document `"), "{message}");
    assert!(message.contains("give one of them another path"), "{message}");
    assert_eq!(crate::support::mirror(&site.bucket()).len(), 0);
}

#[test]
fn one_document_in_the_way_of_others_does_not_stop_them() {
    let site = with_pages_at_the_root(3);
    site.json("publish");
    let before = live(&site.bucket());
    // `/items` would have to be a folder for what is live: neither what is live goes, nor do edits wait.
    site.sql("INSERT INTO item VALUES (9, 'items', 'x'); UPDATE item SET name = 'New' WHERE id = 1");
    let message = site.refuses(1, "publish");
    assert!(message.starts_with("1 document could not be made, so nothing was published"), "{message}");
    assert!(
        message.contains("collection `item`, document `/{slug}`, row slug=\"items\": /items is"),
        "{message}"
    );
    for (again, sql) in ["", "UPDATE item SET name = 'Newer' WHERE id = 2"].into_iter().enumerate() {
        site.sql(if sql.is_empty() { "SELECT 1" } else { sql });
        let report = site.json("publish --keep-going");
        assert_eq!((&report["failed"], &report["released"]), (&1.into(), &true.into()), "{again}: {report}");
        let after = live(&site.bucket()).documents;
        assert!(!after.contains_key("/items"));
        assert!(before.documents.keys().all(|path| after.contains_key(path)), "what is live stays");
        assert!(String::from_utf8_lossy(&after["/items/item-1.html"]).contains("New"));
    }
    assert!(site.refuses(1, "publish").contains("/items is a document"), "it is not forgotten");
    assert_whole(&site);

    site.sql("UPDATE item SET slug = 'other' WHERE id = 9");
    assert_eq!(site.json("publish")["failed"], 0);
    assert!(live(&site.bucket()).documents.contains_key("/other"));
    assert_whole(&site);
}

#[test]
fn a_document_in_the_way_is_made_as_soon_as_the_other_is_gone() {
    let site = with_pages_at_the_root(1);
    site.sql_new("DELETE FROM item; INSERT INTO item VALUES (1, 'items', 'x')");
    // Everything else of the row is below the document at its slug.
    let report = site.json("publish --keep-going");
    assert_eq!(report["failed"], 2, "the longer paths give way where nothing is live: {report}");
    let first = live(&site.bucket()).documents;
    assert!(first.contains_key("/items") && !first.contains_key("/items/items.html"));
    site.edit("site.toml", "path = \"/{slug}\"", "path = \"/at/{slug}\"");
    assert_eq!(site.json("publish --yes")["failed"], 0);
    let after = live(&site.bucket()).documents;
    assert!(after.contains_key("/at/items") && after.contains_key("/items/items.html"));
    assert_whole(&site);
}

#[test]
fn what_failed_is_tried_and_told_again_by_every_publish() {
    let site = Site::small(1);
    site.edit(
        "site.toml",
        "SELECT id, slug, name FROM item",
        "SELECT id, slug, name FROM item WHERE id < 100",
    );
    site.edit(
        "site.toml",
        "[[collection]]\nname = \"list\"",
        "[[collection]]\nname = \"place\"\nquery = \"SELECT slug AS at FROM item WHERE id >= 100\"\n  \
         [[collection.document]]\n  path = \"/{at}\"\n  type = \"application/json\"\n\n\
         [[collection]]\nname = \"list\"",
    );
    site.json("publish");
    site.sql("INSERT INTO item VALUES (100, 'items', 'x')");
    for _ in 0..2 {
        let report = site.json("publish --keep-going");
        assert_eq!(
            (&report["failed"], report["errors"].as_array().map(Vec::len)),
            (&1.into(), Some(1)),
            "{report}"
        );
    }
    // What was in the way goes; the row that failed is not edited.
    site.sql("DELETE FROM item WHERE id = 1");
    assert_eq!(site.json("publish --keep-going --yes")["failed"], 0);
    assert!(live(&site.bucket()).documents.contains_key("/items"));
    assert_whole(&site);
}

#[test]
fn a_static_file_in_the_way_of_documents_is_refused() {
    let site = Site::small(2);
    site.json("publish");
    std::fs::remove_dir_all(site.path("static")).ok();
    site.write("static/items", "in the way");
    site.edit("site.toml", "templates = \"pages\"", "templates = \"pages\"\nstatic = \"static\"");
    site.write("static/other", "not in the way");
    for arguments in ["publish", "publish --full"] {
        let message = site.refuses(1, arguments);
        assert!(message.contains("the static file /items") && message.contains("another path"), "{message}");
    }
    assert_eq!(live(&site.bucket()).number, 1);
    // Everything else goes on without it.
    for edited in 1..3 {
        site.sql(&format!("UPDATE item SET name = 'Edited {edited}' WHERE id = 1"));
        let ran = site.run("publish --keep-going");
        assert!(ran.code == Some(0) && ran.text().contains("the static file /items"), "{}", ran.text());
        let documents = live(&site.bucket()).documents;
        assert!(documents.contains_key("/other") && !documents.contains_key("/items"));
        let page = String::from_utf8_lossy(&documents["/items/item-1.html"]).into_owned();
        assert!(page.contains(&format!("Edited {edited}")), "{page}");
    }
    assert_whole(&site);
    site.sql("DELETE FROM item");
    assert_eq!(site.json("publish --keep-going --yes")["failed"], 0, "nothing is in its way any more");
    assert!(live(&site.bucket()).documents.contains_key("/items"));
    assert_whole(&site);
}

#[test]
fn a_query_that_does_not_run_keeps_its_collection_and_makes_nothing_else_anew() {
    let site = Site::small(3);
    site.sql_new("CREATE TABLE note (id INTEGER PRIMARY KEY, text)");
    site.sql("INSERT INTO note VALUES (1, 'a'), (2, 'b')");
    let notes = "[[collection]]\nname = \"note\"\nquery = \"SELECT id, text FROM note\"\n  \
                 [[collection.document]]\n  path = \"/notes/{id}.json\"\n\n[[collection]]\nname = \"list\"";
    site.edit("site.toml", "[[collection]]\nname = \"list\"", notes);
    site.json("publish");
    site.sql("ALTER TABLE note RENAME COLUMN text TO words; UPDATE item SET name = 'New' WHERE id = 1");
    assert!(site.refuses(1, "publish").contains("collection `note`: no such column: text"));
    let report = site.json("publish --keep-going");
    assert_eq!((&report["full"], &report["failed"]), (&serde_json::Value::Null, &1.into()), "{report}");
    assert_eq!((&report["rendered"], &report["changed"]), (&3.into(), &3.into()), "{report}");
    assert!(live(&site.bucket()).documents.contains_key("/notes/1.json"), "what is live stays");
    site.sql("UPDATE note SET words = 'c' WHERE id = 1; ALTER TABLE note RENAME COLUMN words TO text");
    let report = site.json("publish");
    assert_eq!((&report["full"], &report["failed"]), (&serde_json::Value::Null, &0.into()), "{report}");
    assert_eq!((&report["rendered"], &report["changed"]), (&2.into(), &1.into()), "{report}");
    assert_whole(&site);
}

#[test]
fn static_files_come_before_rows_that_want_their_paths() {
    let site = with_pages_at_the_root(2);
    std::fs::remove_dir_all(site.path("static")).ok();
    site.write("static/deep/down", "a file");
    site.edit("site.toml", "templates = \"pages\"", "templates = \"pages\"\nstatic = \"static\"");
    // Published into nothing, or later: the row that would be the file's folder fails.
    site.sql_new("INSERT INTO item VALUES (3, 'deep', 'x')");
    let message = site.refuses(1, "publish");
    assert!(message.contains("row slug=\"deep\": /deep is a document"), "{message}");
    assert_eq!(site.json("publish --keep-going")["failed"], 1);
    assert!(live(&site.bucket()).documents.contains_key("/deep/down"));
    site.sql("UPDATE item SET slug = 'item-3' WHERE id = 3");
    assert_eq!(site.json("publish")["failed"], 0);
    site.sql("UPDATE item SET slug = 'deep' WHERE id = 3");
    assert_eq!(site.json("publish --keep-going --yes")["failed"], 1);
    assert!(!live(&site.bucket()).documents.contains_key("/deep"));
    assert_whole(&site);
}

#[test]
fn a_path_that_goes_from_a_file_to_a_row_never_stands_twice() {
    let site = with_pages_at_the_root(2);
    let breaks = "{% if name == 'Broken' %}{{ nothing }}{% endif %}{{ name }}";
    site.write("pages/item.html", breaks);
    site.edit(
        "site.toml",
        "\"/{slug}\"\n  type = \"application/json\"",
        "\"/{slug}\"\n  template = \"item.html\"\n  type = \"text/html\"",
    );
    site.write("static/file", "a file");
    site.edit("site.toml", "templates = \"pages\"", "templates = \"pages\"\nstatic = \"static\"");
    site.json("publish");
    // The row cannot have the path while the file has it, nor after the file went, because it is broken.
    site.sql("INSERT INTO item VALUES (3, 'file', 'Broken')");
    assert_eq!(site.json("publish --keep-going")["failed"], 1);
    std::fs::remove_file(site.path("static/file")).expect("it is there");
    assert_eq!(site.json("publish --keep-going")["failed"], 1);
    assert!(!live(&site.bucket()).documents.contains_key("/file"), "it is nobody's");
    site.sql("UPDATE item SET name = 'Mended' WHERE id = 3");
    site.json("publish --keep-going");
    assert_whole(&site);
    site.json("publish --full");
    assert_eq!(live(&site.bucket()).documents["/file"], b"Mended");
    assert_whole(&site);
}

#[test]
fn rows_that_show_one_path_with_values_of_two_types_are_refused() {
    // `slug` has no type: 3 and '3' are different to SQLite.
    let site = Site::small(2);
    site.json("publish");
    site.sql("INSERT INTO item VALUES (8, 3, 'The number'), (9, 'x', 'The text')");
    site.json("publish");
    for text in ["UPDATE item SET slug = '3' WHERE id = 9", "UPDATE item SET name = 'Edited' WHERE id = 8"] {
        site.sql(text);
        assert!(site.refuses(1, "publish").contains("another row has the same path"), "{text}");
    }
    assert_eq!(site.json("publish --keep-going")["failed"], 2);
    site.sql("UPDATE item SET slug = 'y' WHERE id = 8");
    assert_eq!(site.json("publish")["failed"], 0);
    let documents = live(&site.bucket()).documents;
    assert!(String::from_utf8_lossy(&documents["/items/3.html"]).contains("The text"));
    assert!(String::from_utf8_lossy(&documents["/items/y.html"]).contains("Edited"));
    assert_eq!(site.json("publish --full")["changed"], 0);
    assert_whole(&site);
}

#[test]
fn several_rows_where_one_is_wanted_fail_the_row_alone() {
    let site = Site::small(3);
    site.sql_new("CREATE TABLE brand (id INTEGER PRIMARY KEY, item, brand); INSERT INTO brand (item, brand) VALUES (1, 'a'), (2, 'b')");
    site.edit(
        "site.toml",
        "query = \"SELECT id, slug, name FROM item\"",
        "query = \"SELECT id, slug, name FROM item\"\n  [collection.include.brand]\n  \
         query = \"SELECT item, brand FROM brand\"\n  on = { item = \"id\" }\n  one = true",
    );
    site.json("publish");
    let before = live(&site.bucket()).documents;
    site.sql(
        "INSERT INTO brand (item, brand) VALUES (1, 'c'); UPDATE brand SET brand = 'new' WHERE item = 2",
    );
    let message = site.refuses(1, "publish");
    assert!(message.contains("row slug=\"item-1\": include `brand`: more than one row matches"), "{message}");
    let report = site.json("publish --keep-going");
    assert_eq!((&report["failed"], &report["changed"]), (&1.into(), &1.into()), "{report}");
    let after = live(&site.bucket()).documents;
    assert_eq!(before["/items/item-1.json"], after["/items/item-1.json"], "what is live stays");
    assert!(String::from_utf8_lossy(&after["/items/item-2.json"]).contains("new"));
    site.sql("DELETE FROM brand WHERE brand = 'a'");
    assert_eq!(site.json("publish")["failed"], 0);
    assert_whole(&site);
}

#[test]
fn a_query_that_fails_over_one_row_keeps_its_collection_and_stops_no_other() {
    let site = Site::small(3);
    site.sql_new("UPDATE item SET name = json_quote(name)");
    site.edit(
        "site.toml",
        "SELECT id, slug, name FROM item",
        "SELECT id, slug, json(name) AS name FROM item",
    );
    site.json("publish");
    let before = live(&site.bucket()).documents;
    site.sql("UPDATE item SET name = 'no JSON' WHERE id = 1; UPDATE item SET name = '\"New\"' WHERE id = 2");
    let message = site.refuses(1, "publish");
    assert!(message.contains("collection `item`: malformed JSON"), "{message}");
    let ran = site.run("publish --keep-going");
    assert_eq!(ran.code, Some(0), "{}", ran.text());
    assert!(ran.text().contains("collection `item`: malformed JSON"), "{}", ran.text());
    let after = live(&site.bucket()).documents;
    assert_eq!(before["/items/item-2.html"], after["/items/item-2.html"], "its collection stays");
    assert!(String::from_utf8_lossy(&after["/index.html"]).contains("New"), "the list needs no JSON");
    // The next edits of it look at all of its rows, until it can be read.
    site.sql("UPDATE item SET name = '1' WHERE id = 3");
    assert_eq!(site.json("publish --keep-going")["failed"], 1);
    site.sql("UPDATE item SET name = '2' WHERE id = 1");
    assert_eq!(site.json("publish")["failed"], 0);
    let after = live(&site.bucket()).documents;
    assert!(String::from_utf8_lossy(&after["/items/item-2.html"]).contains("New"));
    assert_whole(&site);
    assert_eq!(site.json("publish --full")["changed"], 0);
}

#[test]
fn a_value_that_json_cannot_say_fails_its_row_alone() {
    let site = Site::small(1_200);
    site.json("publish");
    for (release, (value, named)) in [
        ("9e999", "column `name`: it is infinite, which JSON cannot say: select NULL or a text instead"),
        ("cast(x'ff' as text)", "column `name`: its text is not valid UTF-8"),
    ]
    .into_iter()
    .enumerate()
    {
        let before = live(&site.bucket()).documents;
        site.sql(&format!(
            "UPDATE item SET name = {value} WHERE id = 7; UPDATE item SET name = 'New {release}' WHERE id = 8"
        ));
        for arguments in ["publish", "publish --full"] {
            let message = site.refuses(1, arguments);
            assert!(
                message.contains("collection `item`") && message.contains("slug=\"item-7\""),
                "{message}"
            );
            assert!(message.contains(named), "{message}");
        }
        let report = site.json("publish --keep-going");
        // The row, and the list that shows it.
        assert_eq!((&report["failed"], &report["released"]), (&2.into(), &true.into()), "{report}");
        let after = live(&site.bucket()).documents;
        assert_eq!(after["/index.html"], before["/index.html"]);
        assert_eq!(after["/items/item-7.html"], before["/items/item-7.html"], "it failed, so it stays");
        assert_ne!(after["/items/item-8.html"], before["/items/item-8.html"]);
        site.sql("UPDATE item SET name = 'Mended' WHERE id = 7");
        assert_eq!(site.json("publish")["failed"], 0);
    }
    assert_whole(&site);
}

#[test]
fn keep_going_publishes_the_rest_and_keeps_what_failing_rows_had() {
    let site = Site::small(6);
    site.write(
        "pages/item.html",
        "{% if name == \"Broken\" %}{{ name | date }}{% endif %}<h1>{{ name }}</h1>\n",
    );
    site.json("publish");
    let before = live(&site.bucket()).documents;
    site.sql("UPDATE item SET name = 'Broken' WHERE id = 1; UPDATE item SET name = 'New' WHERE id = 2; INSERT INTO item VALUES (9, 'a/b', 'x')");
    let message = site.refuses(1, "publish");
    assert!(message.starts_with("2 documents could not be made, so nothing was published"), "{message}");
    assert_eq!(live(&site.bucket()).number, 1);

    let report = site.json("publish --keep-going");
    assert_eq!(
        (&report["release"], &report["failed"], &report["released"]),
        (&2.into(), &2.into(), &true.into())
    );
    assert_eq!(report["errors"].as_array().map(Vec::len), Some(2), "{report}");
    let after = live(&site.bucket()).documents;
    assert_eq!(after["/items/item-1.html"], before["/items/item-1.html"], "it failed, so it stays");
    assert_eq!(after["/items/item-1.json"], before["/items/item-1.json"], "a key keeps all of its documents");
    assert_ne!(after["/items/item-2.html"], before["/items/item-2.html"]);
    assert_whole(&site);

    site.sql("UPDATE item SET name = 'Mended' WHERE id = 1; DELETE FROM item WHERE id = 9");
    assert_eq!(site.json("publish")["failed"], 0);
    assert_eq!(live(&site.bucket()).documents["/items/item-1.html"], b"<h1>Mended</h1>\n");
    assert_whole(&site);
}

#[test]
fn a_release_that_would_lose_much_is_refused_until_confirmed() {
    let site = Site::small(10);
    site.json("publish");
    let before = live(&site.bucket());
    let files = crate::support::files(&site.path("bucket/_edgepress/packs"));
    for (sql, named) in [
        ("DELETE FROM item WHERE id > 6", "would remove 8 and empty 0 of 21 documents"),
        ("DELETE FROM item", "would remove 20 and empty 1 of 21 documents"),
    ] {
        site.sql(sql);
        let error = site.fails(3, "publish");
        assert_eq!(error["kind"], "guard");
        let message = error["message"].as_str().unwrap_or_default();
        assert!(message.contains(named) && message.contains("`--yes`"), "{message}");
        site.fails(3, "publish --full");
        site.fails(3, "publish --keep-going");
        assert_eq!(live(&site.bucket()).root, before.root);
        assert_whole(&site);
    }
    assert_eq!(site.json("publish --dry-run")["removed"], 20, "a dry run shows what the guard is about");
    let left = crate::support::files(&site.path("bucket/_edgepress/packs"));
    assert!(files.keys().all(|pack| left.contains_key(pack)));
    let report = site.json("publish --yes");
    assert_eq!(
        (&report["release"], &report["removed"], &report["documents"]),
        (&2.into(), &20.into(), &1.into())
    );
    assert_whole(&site);
}

#[test]
fn emptied_documents_count_as_lost() {
    let site = Site::small(10);
    site.json("publish");
    for nothing in ["\n", "{% if false %}{{ name }}{% endif %}"] {
        site.write("pages/item.html", nothing);
        let message = site.refuses(3, "publish");
        assert!(message.contains("would remove 0 and empty 10 of 21 documents"), "{message}");
    }
    site.json("publish --yes");
    assert_whole(&site);
    assert_eq!(live(&site.bucket()).documents["/items/item-1.html"], b"");
}

#[test]
fn the_guards_share_is_the_sites_to_choose() {
    let site = Site::small(10);
    site.edit("site.toml", "[origin]", "[publish]\nguard = 0\n\n[origin]");
    site.json("publish");
    site.sql("DELETE FROM item WHERE id = 1");
    site.refuses(3, "publish");
    site.edit("site.toml", "guard = 0", "guard = 1");
    site.sql("DELETE FROM item");
    site.json("publish");
    assert_whole(&site);
}
