//! The starter shop: written, checked, published, edited with the `sqlite3` program.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::{Running, Site, live, mirror};

/// A product without a sale, and a price that nothing else in the shop has.
const EDIT: &str = "UPDATE product SET price_cents = 1234567 WHERE slug = 'alder-harbour-sandals'";
const SHOWN: [&str; 2] = ["1234567", "12,345.67"];

/// Paths of the differences that a command printed.
fn paths(differences: &Value) -> BTreeSet<String> {
    let listed = differences.as_array().expect("differences are a list").iter();
    listed.map(|difference| difference["path"].as_str().expect("differences have paths").to_owned()).collect()
}

#[test]
fn the_starter_shop_is_written_into_new_folders_only() {
    let site = Site::empty();
    let wrote = site.json("new shop");
    assert_eq!(wrote["dir"], "shop");
    let message = site.refuses(2, "new shop");
    assert!(message.contains("shop is not empty: name a new folder"), "{message}");
    site.write("full/notes.txt", "mine");
    site.refuses(2, "new full");
    assert_eq!(std::fs::read_dir(site.path("full")).expect("it is there").count(), 1, "nothing was written");
}

#[test]
fn an_edited_price_changes_exactly_the_documents_that_show_it() {
    let site = Site::shop();
    let checked = site.json("check");
    assert_eq!((&checked["problems"], &checked["collections"]), (&Value::Array(Vec::new()), &Value::from(9)));

    let first = site.json("publish");
    for (field, least) in [
        ("documents", 3_000),
        ("rendered", 3_000),
        ("added", 3_000),
        ("bytes_uploaded", 1_000_000),
        ("requests", 10),
        ("elapsed_ms", 1),
    ] {
        assert!(first[field].as_u64().is_some_and(|value| value >= least), "{field} in {first}");
    }
    for (field, value) in [("release", 1), ("changed", 0), ("removed", 0)] {
        assert_eq!(first[field], value, "{field}");
    }
    let before = mirror(&site.bucket());
    assert_eq!(live(&site.bucket()).documents, before);

    let again = site.json("publish");
    for (field, value) in
        [("release", 1), ("added", 0), ("changed", 0), ("removed", 0), ("bytes_uploaded", 0)]
    {
        assert_eq!(again[field], value, "{field}");
    }
    assert_eq!(again["root"], first["root"]);

    site.sql(EDIT);
    let edited = site.json("publish");
    assert_eq!((&edited["release"], &edited["added"], &edited["removed"]), (&2.into(), &0.into(), &0.into()));
    let after = mirror(&site.bucket());
    let shows = |body: &[u8]| SHOWN.iter().any(|price| String::from_utf8_lossy(body).contains(price));
    let showing: BTreeSet<String> =
        after.iter().filter(|(_, body)| shows(body)).map(|(path, _)| path.clone()).collect();
    assert!(showing.len() > 10, "{showing:?}");
    let diff = site.json("diff 1 2");
    assert_eq!(paths(&diff["differences"]), showing, "each document that shows the price, and no other");
    assert_eq!(edited["changed"], showing.len());
    for (path, body) in &before {
        assert_eq!(after[path] == *body, !showing.contains(path), "{path}");
    }
    site.verify();
    served_as_mirrored(&site);
}

/// What the origin serves, what lies at its own path and what the index names are the same bytes.
fn served_as_mirrored(site: &Site) {
    let live = live(&site.bucket());
    assert_eq!(live.documents, mirror(&site.bucket()));
    let origin = Running::start_loaded(site);
    let mut client = origin.client();
    for (path, body) in &live.documents {
        let answer = client.get(path);
        assert!(answer.status == 200 && answer.body == *body, "{path}: {}", answer.status);
        assert_eq!(answer.header("edgepress-release"), live.number.to_string());
    }
}
