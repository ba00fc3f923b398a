//! Looking at releases and going back: dry runs, differences, rollback, the mirror beside it all.

use serde_json::Value;

use crate::support::{Files, SITE, Site, files, live, mirror};

/// The mirror holds the live release, and nothing else; all that is stored is whole.
pub(crate) fn assert_whole(site: &Site) {
    let live = live(&site.bucket());
    let (mirror, documents) = (mirror(&site.bucket()), &live.documents);
    let names = |files: &Files| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&mirror), names(documents));
    assert!(mirror == *documents, "release {} and its mirror differ", live.number);
    site.verify();
}

#[test]
fn a_dry_run_tells_the_difference_and_writes_nothing() {
    let site = Site::small(12);
    site.json("publish");
    site.sql("UPDATE item SET name = 'New' WHERE id = 1; DELETE FROM item WHERE id = 2; INSERT INTO item VALUES (99, 'x', 'X')");
    let before = files(&site.bucket());
    let told = site.json("publish --dry-run");
    assert_eq!(files(&site.bucket()), before);
    assert_eq!(
        (&told["dry_run"], &told["released"], &told["release"]),
        (&true.into(), &false.into(), &1.into())
    );
    let listed: Vec<_> = told["differences"]
        .as_array()
        .expect("a dry run lists differences")
        .iter()
        .map(|difference| (difference["change"].as_str(), difference["path"].as_str()))
        .map(|(change, path)| format!("{} {}", change.unwrap_or_default(), path.unwrap_or_default()))
        .collect();
    let expected = [
        "changed /index.html",
        "changed /items/item-1.html",
        "changed /items/item-1.json",
        "removed /items/item-2.html",
        "removed /items/item-2.json",
        "added /items/x.html",
        "added /items/x.json",
    ];
    assert_eq!(listed, expected);
    let text = site.run("publish --dry-run").stdout;
    assert!(text.starts_with("~ /index.html\n~ /items/item-1.html\n"), "{text}");
    assert!(text.contains("nothing was changed: 2 documents would be added, 3 changed, 2 removed"), "{text}");

    let published = site.json("publish");
    for field in ["added", "changed", "removed", "documents"] {
        assert_eq!(published[field], told[field], "a publish does what the dry run told");
    }
    assert_eq!(site.json("diff 1 2")["differences"], told["differences"]);
    assert_whole(&site);
}

#[test]
fn a_dry_run_of_a_new_site_publishes_nothing() {
    let site = Site::small(3);
    let told = site.json("publish --dry-run");
    assert_eq!((&told["release"], &told["added"]), (&0.into(), &7.into()));
    assert_eq!(site.json("releases")["releases"], Value::Array(Vec::new()));
    for arguments in ["check", "impact item 1", "followers", "capture status"] {
        site.json(arguments);
    }
    for arguments in ["verify", "diff 1 2"] {
        site.refuses(1, arguments);
    }
    assert!(!site.bucket().exists(), "whoever only looks makes no folder");
}

#[test]
fn a_result_that_cannot_be_printed_is_a_failure_and_a_reader_who_left_is_none() {
    let site = Site::small(3);
    site.json("publish");
    let printing = |arguments: &str, stdout: std::process::Stdio| {
        let ran = site.command(arguments).stdout(stdout).output().expect("it can be started");
        (ran.status.code(), String::from_utf8_lossy(&ran.stderr).into_owned())
    };
    for (arguments, code) in
        [("releases", 1), ("releases --format json", 1), ("check", 1), ("bogus --format json", 2)]
    {
        let full = std::fs::File::options().write(true).open("/dev/full").expect("Linux has it");
        let (ended, told) = printing(arguments, full.into());
        assert!(ended == Some(code) && told.contains("cannot print the result"), "{arguments}: {told}");
    }
    let (reader, writer) = std::io::pipe().expect("there are pipes");
    drop(reader);
    assert_eq!(printing("releases", writer.into()).0, Some(0));
}

#[test]
fn the_mirror_loses_what_was_removed_and_follows_what_was_renamed() {
    let site = Site::small(8);
    site.json("publish");
    assert_whole(&site);
    site.sql("DELETE FROM item WHERE id = 3; UPDATE item SET slug = 'renamed' WHERE id = 4");
    site.json("publish");
    let mirror = mirror(&site.bucket());
    for (path, is_there) in [
        ("/items/item-3.json", false),
        ("/items/item-4.html", false),
        ("/items/renamed.html", true),
        ("/items/item-5.json", true),
    ] {
        assert_eq!(mirror.contains_key(path), is_there, "{path}");
    }
    assert_whole(&site);
    // The last document of a folder takes the folder with it.
    site.sql("DELETE FROM item");
    site.json("publish --yes");
    assert!(!site.path("bucket/items").exists());
    assert_whole(&site);
}

#[test]
fn a_path_may_turn_from_a_document_into_a_folder_and_back() {
    let site = Site::small(3);
    let moved = SITE
        .replace("\"/items/{slug}.json\"", "\"/items/{slug}\"\n  type = \"application/json\"")
        .replace("/items/{slug}.html", "/pages/{slug}.html");
    site.write("site.toml", &moved);
    site.json("publish");
    for pattern in ["/items/{slug}/row.json", "/items/{slug}"] {
        site.write("site.toml", &moved.replace("\"/items/{slug}\"", &format!("\"{pattern}\"")));
        assert_eq!(site.json("publish --yes")["removed"], 3);
        assert_whole(&site);
    }
}

#[test]
fn a_rollback_uploads_nothing_and_holds_the_site_until_it_is_resumed() {
    let site = Site::small(8);
    let first = site.json("publish");
    site.sql("UPDATE item SET name = 'New' WHERE id = 1; DELETE FROM item WHERE id = 2; INSERT INTO item VALUES (99, 'x', 'X')");
    let second = site.json("publish");
    let packs = files(&site.path("bucket/_edgepress/packs"));

    let back = site.json("rollback 1");
    assert_eq!(
        (&back["release"], &back["root"], &back["bytes_uploaded"]),
        (&3.into(), &first["root"], &0.into())
    );
    assert_eq!((&back["added"], &back["changed"], &back["removed"]), (&2.into(), &3.into(), &2.into()));
    assert_eq!(files(&site.path("bucket/_edgepress/packs")), packs);
    assert_whole(&site);

    for arguments in ["publish", "publish --full", "publish --yes", "publish --dry-run"] {
        let error = site.fails(3, arguments);
        assert_eq!(error["kind"], "held");
        assert!(
            error["message"].as_str().is_some_and(|message| message.contains("edgepress publish --resume")),
            "{error}"
        );
    }
    assert_eq!(live(&site.bucket()).number, 3);

    site.sql("UPDATE item SET name = 'Newer' WHERE id = 5");
    let resumed = site.json("publish --resume");
    assert_eq!(resumed["release"], 4);
    assert_whole(&site);
    assert_eq!(site.json("diff 2 4")["changed"], 3, "the edits before and after the rollback are live");
    site.sql("UPDATE item SET name = 'Item 5' WHERE id = 5");
    let after = site.json("publish");
    assert_eq!(
        (&after["release"], &after["root"]),
        (&5.into(), &second["root"]),
        "equal content has an equal root"
    );
    assert_whole(&site);
}

#[test]
fn resuming_without_an_edit_releases_again_and_holds_no_longer() {
    let site = Site::small(4);
    site.json("publish");
    site.json("rollback 1");
    assert_eq!(site.json("publish --resume")["release"], 3);
    assert_eq!(site.json("publish")["release"], 3);
    assert_whole(&site);
}

#[test]
fn releases_are_listed_and_compared_however_many_there_are() {
    let site = Site::small(4);
    let mut roots = vec![site.json("publish")["root"].clone()];
    for number in 2..=40 {
        site.sql(&format!("UPDATE item SET name = 'Name {number}' WHERE id = {}", number % 4 + 1));
        roots.push(site.json("publish")["root"].clone());
    }
    let listed = site.json("releases --limit 100");
    let listed = listed["releases"].as_array().expect("releases are a list");
    let numbers: Vec<_> = listed.iter().filter_map(|release| release["release"].as_u64()).collect();
    assert_eq!(numbers, (1..=40).rev().collect::<Vec<_>>());
    for (release, root) in listed.iter().rev().zip(&roots) {
        assert_eq!(release["root"], *root);
    }
    assert_eq!(site.json("releases")["releases"].as_array().map(Vec::len), Some(20));
    assert_eq!(site.run("releases --limit 2").stdout.lines().count(), 2);
    assert_eq!(site.json("diff 1 40")["changed"], 9);
    assert_eq!(site.json("diff 40 1")["changed"], 9);
    assert_eq!(site.json("diff 7 7")["differences"], Value::Array(Vec::new()));
    assert_eq!(site.json("rollback 2")["root"], roots[1]);
    assert_whole(&site);
    for arguments in ["rollback 99", "diff 1 99", "diff 0 1"] {
        let message = site.refuses(1, arguments);
        assert!(message.contains("there is no release"), "{message}");
    }
}

#[test]
fn the_mirror_may_lie_in_another_bucket_or_nowhere() {
    let site = Site::small(4);
    site.edit("site.toml", "url = \"file:bucket\"", "url = \"file:bucket\"\nobjects = \"file:public\"");
    site.json("publish");
    assert!(mirror(&site.bucket()).is_empty());
    assert_eq!(mirror(&site.path("public")), live(&site.bucket()).documents);
    site.verify();
    site.edit("site.toml", "file:public", "file:elsewhere");
    assert_eq!(site.json("publish")["released"], false, "no release is needed to mirror anew");
    assert_eq!(mirror(&site.path("elsewhere")), live(&site.bucket()).documents);
    site.edit("site.toml", "objects = \"file:elsewhere\"", "objects = false");
    site.sql("DELETE FROM item WHERE id = 1");
    site.json("publish");
    assert!(mirror(&site.bucket()).is_empty());
    assert_eq!(mirror(&site.path("elsewhere")).len(), 9, "nobody follows there any more");
    site.edit("site.toml", "objects = false", "objects = true");
    site.json("publish");
    assert_whole(&site);
    // What is left from an earlier time as the mirror is brought up to date.
    for (objects, id) in [("\"file:public\"", 2), ("true", 3)] {
        let line = site
            .read("site.toml")
            .lines()
            .find(|line| line.starts_with("objects"))
            .unwrap_or_default()
            .to_owned();
        site.edit("site.toml", &line, &format!("objects = {objects}"));
        site.sql(&format!("DELETE FROM item WHERE id = {id}"));
        site.json("publish --yes");
        let folder = if id == 2 { site.path("public") } else { site.bucket() };
        assert_eq!(
            mirror(&folder).into_keys().collect::<Vec<_>>(),
            live(&site.bucket()).documents.into_keys().collect::<Vec<_>>()
        );
    }
}

#[test]
fn two_publishers_of_one_bucket_take_turns() {
    let site = Site::small(400);
    let publish = || site.json("publish");
    let reports = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(publish)).collect();
        threads.into_iter().map(|thread| thread.join().expect("all succeed")).collect::<Vec<_>>()
    });
    assert!(reports.iter().all(|report| report["release"] == 1), "{reports:?}");
    assert_eq!(reports.iter().filter(|report| report["released"] == true).count(), 1);
    assert_whole(&site);
}
