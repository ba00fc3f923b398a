//! Every stored format there ever was stays readable: each folder `tests/fixtures/format-*` is a bucket
//! that some version wrote, with what must be read from it.
//!
//! A fixture is made once and never changed. A version that changes the format adds one: raise
//! [`NEWEST`], list it, and run the ignored test that makes it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use edgepress_publisher::{Difference, Options, history};
use edgepress_site::release::definition::RENDERER;
use edgepress_site::release::{Record, State};
use edgepress_site::version::Version;
use edgepress_store::bucket::{Bucket, Counted, Directory};
use edgepress_store::release::Releases;
use serde_json::{Value, json};

use crate::small::{self, PRODUCTS, Product, Shop};

/// All fixtures.
const FIXTURES: [&str; 2] = ["format-1", "format-2"];

/// The one that today's version would write.
const NEWEST: &str = "format-2";

/// The most bytes a fixture has.
const LARGEST: usize = 100 << 10;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// A copy of a fixture's bucket, which reading must not change but locks might.
struct Fixture {
    shop: Shop,
    expected: Value,
}

impl Fixture {
    fn open(name: &str) -> Self {
        let shop = Shop::new();
        let files = small::files(&folder().join(name).join("bucket"));
        small::lay_out(&shop.bucket(), &files);
        let expected = std::fs::read(folder().join(name).join("expected.json")).expect("what must be read");
        Self { shop, expected: serde_json::from_slice(&expected).expect("JSON") }
    }

    async fn releases(&self) -> Releases {
        self.shop.publisher().await.releases
    }
}

/// A body as JSON: text, or the hex of bytes that are none.
fn printed(body: Vec<u8>) -> Value {
    let hex = |body: &[u8]| body.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    String::from_utf8(body).map_or_else(|error| json!({ "hex": hex(error.as_bytes()) }), Value::from)
}

/// What is written down of a release.
fn summary(record: &Record, documents: BTreeMap<String, Vec<u8>>) -> Value {
    let documents: BTreeMap<String, Value> =
        documents.into_iter().map(|(path, body)| (path, printed(body))).collect();
    json!({
        "number": record.number,
        "ordinal": record.ordinal,
        "parent": record.parent,
        "root": record.root,
        "definition": record.definition.hash,
        "time": record.time,
        "floor": record.floor,
        "cause": record.cause,
        "held": record.state == State::Held,
        "counts": record.counts,
        "documents": documents,
    })
}

async fn differences(releases: &Releases, a: u64, b: u64) -> Vec<Difference> {
    let mut received = history::diff(releases, a, b).await.expect("both releases are there");
    let mut differences = Vec::new();
    while let Some(difference) = received.recv().await {
        differences.push(difference.expect("readable"));
    }
    differences
}

/// Pairs of releases whose difference is written down.
fn pairs(count: usize) -> impl Iterator<Item = (u64, u64)> {
    let count = count as u64;
    (1..count).map(|number| (number, number + 1)).chain([(1, count), (count, 1)])
}

#[test]
fn every_fixture_is_listed() {
    let found: BTreeSet<String> = std::fs::read_dir(folder())
        .expect("there are fixtures")
        .map(|entry| entry.expect("listed").file_name().into_string().expect("names are UTF-8"))
        .filter(|name| name.starts_with("format-"))
        .collect();
    assert_eq!(found, FIXTURES.iter().map(|name| (*name).to_owned()).collect());
    assert_eq!(FIXTURES.last(), Some(&NEWEST));
    for name in FIXTURES {
        let bytes: usize = small::files(&folder().join(name)).values().map(Vec::len).sum();
        assert!(bytes < LARGEST, "{name} has {bytes} bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_release_of_every_fixture_reads_as_it_was_written() {
    for name in FIXTURES {
        let fixture = Fixture::open(name);
        let releases = fixture.releases().await;
        let mut found = Vec::new();
        for record in history::releases(&releases, 100).await.expect("records are readable").iter().rev() {
            let documents = small::documents(&releases, record).await.expect("the index is readable");
            let body =
                |(path, body): (String, Result<Vec<u8>, _>)| (path, body.expect("bodies are readable"));
            releases.definition(record).await.expect("the definition is readable");
            found.push(summary(record, documents.into_iter().map(body).collect()));
        }
        let expected = fixture.expected["releases"].as_array().expect("a list");
        for (found, expected) in found.iter().zip(expected) {
            assert_eq!(found, expected, "{name}, release {}", expected["number"]);
        }
        assert_eq!(found.len(), expected.len(), "{name}");
        for number in 1..=found.len() as u64 {
            let (current, _) = releases.current().await.expect("readable").expect("there");
            let record = releases.record(&current, number).await.expect("found by its number");
            assert_eq!(record.number, number, "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn differences_between_releases_of_every_fixture_are_as_they_were() {
    for name in FIXTURES {
        let fixture = Fixture::open(name);
        let releases = fixture.releases().await;
        for expected in fixture.expected["differences"].as_array().expect("a list") {
            let number = |key: &str| expected[key].as_u64().expect("a number");
            let found = differences(&releases, number("from"), number("to")).await;
            assert_eq!(json!(found), expected["documents"], "{name}: {} to {}", number("from"), number("to"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn earlier_versions_of_documents_of_every_fixture_are_readable() {
    for name in FIXTURES {
        let fixture = Fixture::open(name);
        let releases = fixture.releases().await;
        let current = small::current(&releases).await.expect("readable");
        let index = releases.index(current.live()).await.expect("readable");
        for (path, expected) in fixture.expected["previous"].as_object().expect("an object") {
            let mut found = Vec::new();
            for tree in index.collections.values() {
                let Some(entry) = releases.entry(tree, path).await.expect("readable") else { continue };
                for previous in entry.previous {
                    let body = releases.body(&previous.place, previous.version, previous.size).await;
                    found.push(printed(body.expect("earlier bodies are readable").into()));
                }
            }
            assert_eq!(&Value::from(found), expected, "{name}: {path}");
        }
    }
}

#[test]
fn the_newest_fixture_has_both_kinds_of_packs() {
    let files = small::files(&folder().join(NEWEST).join("bucket/_edgepress/packs"));
    let heads: BTreeSet<&[u8]> = files.values().map(|pack| &pack[..11]).collect();
    assert_eq!(heads, BTreeSet::from([&b"edgepack 1\n"[..], b"edgepack 2\n"]));
}

/// What a fresh origin does until its first answer.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_body_of_a_release_takes_at_most_five_requests() {
    let shop = Shop::new();
    let product = |n: u32| -> Product { (format!("item-{n}").leak(), "Item", n) };
    let products: Vec<Product> = (0..1_500).map(product).collect();
    shop.publish(&products, Options::default()).await;
    let bucket: Arc<dyn Bucket> =
        Arc::new(Directory::open(shop.bucket(), "file:bucket").await.expect("a folder"));
    for path in ["/index.html", "/products/item-0.html", "/products/item-1499.json"] {
        let counted = Arc::new(Counted::new(bucket.clone()));
        let releases = Releases::new(counted.clone(), 1 << 20);
        let current = small::current(&releases).await.expect("readable");
        let index = releases.index(current.live()).await.expect("readable");
        releases.definition(current.live()).await.expect("readable");
        let collection = if path == "/index.html" { "home" } else { "product" };
        let entry = releases.entry(&index.collections[collection], path).await.expect("readable");
        let entry = entry.expect("it is published");
        releases.body(&entry.place, entry.version, entry.size).await.expect("readable");
        assert!(counted.requests() <= 5, "{path}: {}", counted.requests());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fixture_is_whole() {
    for name in FIXTURES {
        let fixture = Fixture::open(name);
        let before = small::files(&fixture.shop.bucket());
        let found = small::verify(&fixture.shop.publisher().await).await.expect("there is a release");
        assert_eq!((found.bad, &*found.problems), (0, &[][..]), "{name}");
        assert_eq!(before, small::files(&fixture.shop.bucket()), "verifying changes nothing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fixture_can_be_published_on() {
    for name in FIXTURES {
        let Fixture { shop, expected } = Fixture::open(name);
        let count = expected["releases"].as_array().expect("a list").len() as u64;
        let report =
            shop.publish(&PRODUCTS[1..], Options { resume: true, yes: true, ..Options::default() }).await;
        assert_eq!(report.release, count + 1, "{name}");
        let found = small::verify(&shop.publisher().await).await.expect("there is a release");
        assert_eq!((found.bad, &*found.problems), (0, &[][..]), "{name}");
    }
}

/// One step of the shop's history.
enum Step {
    Publish(Vec<Product>),
    Rollback(u64),
    Resume(Vec<Product>),
}

/// The history of a fixture.
fn history(fixture: &str) -> Vec<Step> {
    match fixture {
        "format-1" => small_history(),
        _ => many_documents(),
    }
}

/// So many documents that their bodies share a dictionary, and then an edit of one of them.
fn many_documents() -> Vec<Step> {
    let some = |n: u32| -> Product { (format!("item-{n}").leak(), "Item", n * 100) };
    let all = |cents: u32| {
        let lamp = |product: Product| if product.0 == "lamp" { (product.0, "Lamp", cents) } else { product };
        Step::Publish(PRODUCTS.map(lamp).into_iter().chain((1..50).map(some)).collect())
    };
    vec![all(2_900), all(2_800)]
}

/// Documents that come, change, go and come back; a body with more earlier versions than are kept;
/// records in packs and, after the last step, waiting in `current`.
fn small_history() -> Vec<Step> {
    let with = |slug: &str, name: &'static str, cents: u32| {
        let price = |product: Product| if product.0 == slug { (product.0, name, cents) } else { product };
        PRODUCTS.map(price).to_vec()
    };
    vec![
        Step::Publish(PRODUCTS.to_vec()),
        Step::Publish(with("lamp", "Lamp", 2_800)),
        Step::Publish(with("lamp", "Lamp, blue", 2_700)),
        Step::Publish(
            with("lamp", "Lamp, blue", 2_600).into_iter().filter(|product| product.0 != "rug").collect(),
        ),
        Step::Rollback(2),
        Step::Resume(with("lamp", "Lamp, red", 2_500)),
        Step::Publish(with("lamp", "Lamp, red", 2_400)),
        Step::Rollback(4),
    ]
}

async fn take(shop: &Shop, step: Step) -> u64 {
    let report = match step {
        Step::Publish(products) => shop.publish(&products, Options::default()).await,
        Step::Rollback(number) => shop.rollback(number).await,
        Step::Resume(products) => {
            shop.publish(&products, Options { resume: true, ..Options::default() }).await
        }
    };
    report.release
}

/// The mirror is read as plain files: nothing of the stored format is needed for what is expected.
fn mirrored(shop: &Shop) -> BTreeMap<String, Vec<u8>> {
    let files = small::files(&shop.bucket()).into_iter();
    let documents = files.filter(|(key, _)| !key.starts_with("_edgepress/"));
    documents.map(|(key, body)| (format!("/{key}"), body)).collect()
}

async fn releases_of(shop: &Shop) -> Releases {
    let bucket: Arc<dyn Bucket> =
        Arc::new(Directory::open(shop.bucket(), "file:bucket").await.expect("a folder"));
    Releases::new(bucket, 1 << 20)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_rows_still_give_the_roots_of_every_fixture() {
    for name in FIXTURES {
        the_same_rows_still_give_the_roots_of(name).await;
    }
}

async fn the_same_rows_still_give_the_roots_of(name: &str) {
    let fixture = Fixture::open(name);
    let releases = fixture.releases().await;
    let current = small::current(&releases).await.expect("readable");
    let definition = releases.definition(current.live()).await.expect("readable");
    if definition.renderer != RENDERER {
        // Rendering was changed on purpose.
        return;
    }
    let shop = Shop::new();
    for (step, expected) in
        history(name).into_iter().zip(fixture.expected["releases"].as_array().expect("a list"))
    {
        let number = take(&shop, step).await;
        let current = small::current(&releases_of(&shop).await).await.expect("readable");
        let root = current.live().root.to_string();
        assert_eq!(
            (number, &*root),
            (expected["number"].as_u64().expect("a number"), expected["root"].as_str().expect("a root")),
            "the same rows give other bytes: if that is meant, raise RENDERER"
        );
    }
}

#[ignore = "makes the newest fixture, if its folder is not there"]
#[tokio::test(flavor = "multi_thread")]
async fn make_the_newest_fixture() {
    let target = folder().join(NEWEST);
    if target.exists() {
        return;
    }
    let shop = Shop::new();
    let (mut found, mut bodies) = (Vec::new(), BTreeMap::<Version, Vec<u8>>::new());
    for step in history(NEWEST) {
        let number = take(&shop, step).await;
        let current = small::current(&releases_of(&shop).await).await.expect("readable");
        assert_eq!(current.live().number, number);
        let documents = mirrored(&shop);
        bodies.extend(documents.values().map(|body| (Version::of(body), body.clone())));
        found.push(summary(current.live(), documents));
    }
    let releases = releases_of(&shop).await;
    let mut differing = Vec::new();
    for (from, to) in pairs(found.len()) {
        let documents = differences(&releases, from, to).await;
        differing.push(json!({ "from": from, "to": to, "documents": documents }));
    }
    let current = small::current(&releases).await.expect("readable");
    let tree = releases.index(current.live()).await.expect("readable").collections["product"].clone();
    let entry = releases.entry(&tree, "/products/lamp.json").await.expect("readable").expect("there");
    let previous: Vec<Value> =
        entry.previous.iter().map(|previous| printed(bodies[&previous.version].clone())).collect();
    let expected = json!({
        "releases": found,
        "differences": differing,
        "previous": { "/products/lamp.json": previous },
    });
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for (key, content) in small::files(&shop.bucket()) {
        // What the folder keeps for itself is not part of the format.
        if !matches!(&*key, "_edgepress/lock" | "_edgepress/cas.lock") {
            files.insert(format!("bucket/{key}"), content);
        }
    }
    let expected = serde_json::to_string_pretty(&expected).expect("prints") + "\n";
    files.insert("expected.json".to_owned(), expected.into_bytes());
    small::lay_out(&target, &files);
}
