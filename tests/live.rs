//! Edits go live by themselves, and can be asked about: `publish --watch`, `impact`, `capture`, `followers`,
//! and the plan that `check` prints.

use serde_json::Value;

use crate::history::assert_whole;
use crate::support::{Running, Site, live, until};

#[test]
fn a_watching_publisher_releases_each_edit_and_says_how_long_it_took() {
    let site = Site::small(5);
    let watch = Running::start_silent(&site, "publish --watch --format json");
    let first = watch.next();
    assert_eq!((&first["release"], first["full"].is_string()), (&1.into(), true), "{first}");
    site.sql("UPDATE item SET name = 'Edited' WHERE id = 2");
    let second = watch.next();
    assert_eq!(
        (&second["release"], &second["keys"], &second["changed"]),
        (&2.into(), &2.into(), &3.into()),
        "the row's two documents, and the list: {second}"
    );
    assert!(second["latency_ms"].is_u64() && second["requests"].as_u64() < Some(30), "{second}");
    assert!(second["full"].is_null() && second["whole"].is_null(), "{second}");
    // Another publish takes its turn, and finds nothing to do.
    let beside = site.json("publish");
    assert_eq!((&beside["release"], &beside["released"]), (&2.into(), &false.into()), "{beside}");
    site.sql("UPDATE item SET slug = NULL WHERE id = 3; UPDATE item SET name = 'More' WHERE id = 4");
    let third = watch.next();
    assert_eq!((&third["release"], &third["failed"]), (&3.into(), &1.into()), "{third}");
    let documents = live(&site.bucket()).documents;
    assert!(documents.contains_key("/items/item-3.json"), "what fails keeps its old documents");
    assert!(String::from_utf8_lossy(&documents["/items/item-4.json"]).contains("More"));
    site.sql("UPDATE item SET slug = 'mended' WHERE id = 3");
    let fourth = watch.next();
    assert_eq!((&fourth["failed"], &fourth["removed"]), (&0.into(), &2.into()), "{fourth}");
    until("the mirror has it", || site.json("followers")["followers"][0]["behind"] == 0);
    assert_eq!(watch.stop().code(), Some(0));
    assert_whole(&site);
}

#[test]
fn edits_that_nobody_shows_release_nothing() {
    let site = Site::small(3);
    site.json("publish");
    site.sql("ALTER TABLE item ADD COLUMN note TEXT");
    site.json("publish");
    site.sql("UPDATE item SET note = 'x'; UPDATE item SET name = name; CREATE TABLE other (a); INSERT INTO other VALUES (1)");
    let report = site.json("publish");
    assert_eq!(
        (&report["released"], &report["keys"], &report["full"]),
        (&false.into(), &0.into(), &Value::Null)
    );
    site.sql("UPDATE item SET name = 'x' || name; UPDATE item SET name = substr(name, 2)");
    let report = site.json("publish");
    assert_eq!(
        (&report["released"], &report["keys"]),
        (&false.into(), &0.into()),
        "an edit undone: {report}"
    );
}

#[test]
fn a_row_can_be_asked_which_documents_it_touches() {
    let site = Site::small(3);
    site.json("publish");
    let touched = site.json("impact item 2");
    let of = |collection: usize| &touched["touched"][collection];
    assert_eq!(of(0)["collection"], "item", "{touched}");
    assert_eq!(of(0)["documents"], serde_json::json!(["/items/item-2.html", "/items/item-2.json"]));
    assert_eq!(of(1)["documents"], serde_json::json!(["/index.html"]), "{touched}");
    let ran = site.run("impact item 2");
    assert!(
        ran.stdout.contains("collection `item`, through its query:\n  /items/item-2.html"),
        "{}",
        ran.text()
    );
    for (asked, named) in [
        ("impact itm 2", "there is no table `itm`"),
        ("impact item 99", "the table item has no row 99"),
        ("impact item -7", "the table item has no row -7"),
        ("impact item 1 2", "the primary key of item is id"),
    ] {
        let message = site.refuses(2, asked);
        assert!(message.contains(named), "{asked}: {message}");
    }
}

#[test]
fn what_records_edits_is_installed_shown_and_removed() {
    let site = Site::small(3);
    let checked = site.json("check");
    assert!(checked["capture"].as_array().is_some_and(|statements| statements.len() > 5), "{checked}");
    assert!(
        checked["impact"].as_array().is_some_and(|plan| plan.iter().all(|place| place["is_precise"] == true))
    );
    let installed = site.json("capture install");
    assert_eq!(installed["tables"].as_array().map(Vec::len), Some(1), "{installed}");
    assert_eq!(site.json("capture install")["tables"], serde_json::json!([]));
    assert_eq!(site.json("check")["capture"], serde_json::json!([]), "nothing is left to be run");
    let status = site.json("capture status");
    assert_eq!(status["tables"][0]["table"]["name"], "item", "{status}");
    assert_eq!(site.json("publish")["release"], 1);
    site.sql("UPDATE item SET name = 'Seen'");
    assert_eq!(site.json("capture status")["tables"][0]["waiting"], 3);
    assert_eq!(site.json("capture remove")["removed"], true);
    assert_eq!(site.sql("SELECT count(*) FROM sqlite_schema WHERE name LIKE 'edgepress%'").trim(), "0");
    let report = site.json("publish");
    assert!(report["full"].is_string() && report["changed"].as_u64() > Some(0), "{report}");
    assert_whole(&site);
}

#[test]
fn the_sql_that_check_prints_is_all_that_is_needed() {
    let site = Site::small(3);
    let checked = site.json("check");
    let statements: Vec<&str> =
        checked["capture"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    site.sql(&(statements.join(";\n") + ";"));
    assert_eq!(site.json("check")["capture"], serde_json::json!([]));
    assert_eq!(site.json("capture install")["tables"], serde_json::json!([]));
}

#[test]
fn two_sites_on_one_database_never_take_each_others_changes() {
    let site = Site::small(4);
    site.json("publish");
    let other = site.read("site.toml").replace("file:bucket", "file:other");
    site.write("other.toml", &other);
    let publish_other = || site.json("publish --site other.toml");
    assert_eq!(publish_other()["documents"], site.json("publish")["documents"]);
    for round in 0..3 {
        site.sql(&format!("UPDATE item SET name = 'Round {round}' WHERE id = 1"));
        let (one, two) = (site.json("publish"), publish_other());
        assert_eq!((&one["keys"], &two["keys"]), (&2.into(), &2.into()), "{one} {two}");
        assert_eq!(one["root"], two["root"]);
    }
    assert_whole(&site);
}

#[test]
fn a_restored_backup_is_noticed() {
    let site = Site::small(4);
    site.json("publish");
    site.sql(&format!("VACUUM INTO '{}'", site.path("backup.db").display()));
    let root = site.json("publish")["root"].clone();
    site.sql("UPDATE item SET name = 'Later' WHERE id = 1");
    assert_ne!(site.json("publish")["root"], root);
    site.sql("PRAGMA wal_checkpoint(TRUNCATE)");
    std::fs::rename(site.path("backup.db"), site.path("site.db")).expect("it can be moved");
    let report = site.json("publish");
    assert!(report["full"].is_string(), "{report}");
    assert_eq!(report["root"], root);
    assert_whole(&site);
}

#[test]
fn a_row_without_a_path_loses_its_old_documents_as_soon_as_it_has_a_new_one() {
    let site = Site::small(3);
    let watch = Running::start_silent(&site, "publish --watch --format json");
    assert_eq!(watch.next()["release"], 1);
    site.sql("UPDATE item SET slug = '' WHERE id = 1; UPDATE item SET name = 'x' WHERE id = 2");
    let second = watch.next();
    assert_eq!((&second["failed"], &second["removed"]), (&1.into(), &0.into()), "{second}");
    until("it is told", || watch.stderr().contains("column `slug` is empty"));
    site.sql("UPDATE item SET slug = 'a/b' WHERE id = 1; UPDATE item SET name = 'y' WHERE id = 2");
    let third = watch.next();
    assert_eq!((&third["failed"], &third["removed"]), (&1.into(), &0.into()), "{third}");
    site.sql("UPDATE item SET slug = 'mended' WHERE id = 1");
    let fourth = watch.next();
    assert_eq!((&fourth["failed"], &fourth["added"], &fourth["removed"]), (&0.into(), &2.into(), &2.into()));
    until("the mirror has it", || site.json("followers")["followers"][0]["behind"] == 0);
    assert_eq!(watch.stop().code(), Some(0));
    assert_whole(&site);
}

#[test]
fn a_mistake_in_the_files_keeps_no_edit_of_rows_from_being_released_and_told() {
    let site = Site::small(3);
    let watch = Running::start_silent(&site, "publish --watch --format json");
    assert_eq!(watch.next()["release"], 1);
    site.write("pages/item.html", "{% if %}");
    site.sql("UPDATE item SET name = 'Edited' WHERE id = 1");
    let mut told = vec![watch.next(), watch.next()];
    told.sort_by_key(|line| line["error"].is_object());
    assert_eq!((&told[0]["release"], &told[0]["changed"]), (&2.into(), &3.into()), "{told:?}");
    assert_eq!(told[1]["error"]["kind"], "site", "{told:?}");
    assert_eq!(watch.stop().code(), Some(0));
}
