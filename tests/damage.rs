//! The damage matrix: every kind of stored object, altered in every way, and what still works then.
//!
//! Whatever was done to an object, `verify` names it, documents read right or not at all, a publish
//! mends it or leaves `current` as it was, and `publish --full` mends everything but history.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use edgepress_publisher::error::whole;
use edgepress_publisher::{Options, PublishError, Publisher, Report, Verified};
use edgepress_store::database::Sqlite;

use crate::small::{self, PRODUCTS, Product, Shop};

const CURRENT: &str = "_edgepress/current";
const CURSOR: &str = "_edgepress/cursors/objects";

/// Documents of a release: path to body.
type Truth = BTreeMap<String, Vec<u8>>;

/// A bucket with a history, as it should be.
struct Bed {
    shop: Shop,
    database: Sqlite,
    files: BTreeMap<String, Vec<u8>>,
    /// Packs: of the first release; of the second, live no more; of records alone; of the live release.
    packs: [String; 4],
    /// `current` and the cursor as they were a release ago.
    older: BTreeMap<String, Vec<u8>>,
    truths: BTreeMap<u64, Truth>,
}

/// One object, altered.
struct Case {
    object: String,
    action: String,
    /// What it now is; nothing: it is removed.
    content: Option<Vec<u8>>,
}

fn full() -> Options {
    Options { full: true, ..Options::default() }
}

fn products(cents: u32) -> Vec<Product> {
    PRODUCTS.map(|product| if product.0 == "lamp" { ("lamp", "Lamp", cents) } else { product }).to_vec()
}

fn is_pack(key: &str) -> bool {
    key.starts_with("_edgepress/packs/")
}

impl Bed {
    async fn new() -> Self {
        let shop = Shop::new();
        let mut truths = BTreeMap::new();
        let mut packs = Vec::new();
        let mut older = BTreeMap::new();
        for step in 1..=5 {
            older = small::files(&shop.bucket_made());
            let report = match step {
                1 | 4 => shop.publish(&products(1), Options { resume: true, ..Options::default() }).await,
                2 => shop.publish(&products(2), Options::default()).await,
                3 => shop.rollback(1).await,
                _ => {
                    shop.write("pages/home.html", b"<title>{{ site.name }}</title>\n");
                    shop.publish(&products(3), Options::default()).await
                }
            };
            assert_eq!(report.release, step);
            let files = small::files(&shop.bucket());
            packs.extend(files.keys().filter(|key| is_pack(key) && !older.contains_key(*key)).cloned());
            let documents = files.into_iter().filter(|(key, _)| !key.starts_with("_edgepress/"));
            truths.insert(step, documents.map(|(key, body)| (format!("/{key}"), body)).collect());
        }
        let mut files = small::files(&shop.bucket());
        files.retain(|key, _| !key.ends_with("lock"));
        let database = shop.database(&products(3)).await;
        let packs = packs.try_into().expect("a rollback alone writes no pack");
        Self { shop, database, files, packs, older, truths }
    }

    fn put(&self, bucket: &Path, key: &str, content: Option<&[u8]>) {
        let path = bucket.join(key);
        match content {
            Some(content) => std::fs::write(path, content).expect("writable"),
            None => std::fs::remove_file(path).expect("it is there"),
        }
    }

    /// What every damage must leave right, and what `verify` finds.
    async fn look(&self, bucket: &Path, case: &Case) -> Verified {
        let publisher = self.shop.publisher_at(bucket).await;
        let verified = small::verify(&publisher).await;
        let verified = verified.unwrap_or_else(|error| panic!("{case}: verify gave up: {}", whole(&error)));
        self.read(&publisher, case).await;
        verified
    }

    /// Documents read right or not at all.
    async fn read(&self, publisher: &Publisher, case: &Case) -> usize {
        let Ok(current) = small::current(&publisher.releases).await else { return 0 };
        let truth = &self.truths[&current.live().number.min(5)];
        let Ok(documents) = small::documents(&publisher.releases, current.live()).await else { return 0 };
        assert!(documents.keys().eq(truth.keys()), "{case}: the index names other documents");
        let mut right = 0;
        for (path, body) in documents {
            match body {
                Ok(body) => assert!(body == truth[&path], "{case}: wrong bytes for {path}"),
                Err(error) => {
                    assert!(whole(&error).contains("_edgepress/"), "{case}: {}", whole(&error));
                    continue;
                }
            }
            right += 1;
        }
        right
    }

    async fn publish(&self, bucket: &Path, options: Options) -> Result<Report, PublishError> {
        let publisher = self.shop.publisher_at(bucket).await;
        self.shop.publish_with(&publisher, &self.database, options).await
    }

    /// Publishes after the damage, plainly and then in full, each on a copy.
    async fn publish_on(&self, case: &Case) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let bucket = folder.path();
        small::lay_out(bucket, &self.files);
        self.put(bucket, &case.object, case.content.as_deref());
        let before = std::fs::read(bucket.join(CURRENT)).ok();
        let plain = self.publish(bucket, Options::default()).await;
        let after = std::fs::read(bucket.join(CURRENT)).ok();
        match &plain {
            Err(error) => {
                assert_eq!(before, after, "{case}: a failed publish changed `current`");
                assert!(whole(error).contains("_edgepress/"), "{case}: {}", whole(error));
            }
            Ok(report) if !report.released => assert_eq!(before, after, "{case}: nothing was released"),
            Ok(report) => assert!(report.release > 5, "{case}: release {} came again", report.release),
        }
        let publisher = self.shop.publisher_at(bucket).await;
        self.read(&publisher, case).await;
        if case.object == CURRENT && case.content.is_some() && plain.is_err() {
            // As its error says.
            std::fs::remove_file(bucket.join(CURRENT)).expect("it is there");
        }
        let mended = self.publish(bucket, full()).await;
        mended.unwrap_or_else(|error| panic!("{case}: publish --full: {}", whole(&error)));
        let publisher = self.shop.publisher_at(bucket).await;
        assert_eq!(self.read(&publisher, case).await, self.truths[&5].len(), "{case}: all can be read again");
        for (path, body) in &self.truths[&5] {
            let mirrored = std::fs::read(bucket.join(&path[1..])).ok();
            assert!(mirrored.as_ref() == Some(body), "{case}: {path} is not mirrored again");
        }
        let verified = small::verify(&publisher).await.expect("there is a release");
        let rest = verified.problems.iter().filter(|bad| bad.object != case.object || !is_pack(&bad.object));
        let rest: Vec<_> = rest.filter(|bad| !bad.problem.contains("is not at its place")).collect();
        assert!(rest.is_empty(), "{case}: still bad: {rest:?}");
        let again = self.publish(bucket, full()).await.expect("mended");
        assert!(!again.released, "{case}: what is mended stays as it is");
    }

    /// Every case of one object. `most`: at most so many flipped bits.
    fn cases(&self, key: &str, most: usize, swapped: Vec<u8>) -> Vec<Case> {
        let content = &self.files[key];
        let case = |action: String, content| Case { object: key.to_owned(), action, content };
        let step = content.len().div_ceil(most);
        let flips = (0..content.len()).step_by(step).map(|at| {
            let mut flipped = content.clone();
            flipped[at] ^= 1 << (at / step % 8);
            case(format!("bit {} of byte {at} flipped", at / step % 8), Some(flipped))
        });
        let length = content.len();
        let cuts = [1, 5, 11, 16, length / 3, length / 2, length - 5, length - 1];
        let cuts = cuts.into_iter().filter(|cut| *cut < length);
        let cuts = cuts.map(|cut| case(format!("cut to {cut} bytes"), Some(content[..cut].to_vec())));
        let noise = (0..length as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let others = [
            case("emptied".to_owned(), Some(Vec::new())),
            case("removed".to_owned(), None),
            case("swapped for another of its kind".to_owned(), Some(swapped)),
            case("replaced by noise".to_owned(), Some(noise)),
            case("replaced by text".to_owned(), Some(b"404 not found\n".to_vec())),
            case("one byte longer".to_owned(), Some([content, &b"\n"[..]].concat())),
        ];
        others.into_iter().chain(cuts).chain(flips).collect()
    }

    /// Goes through the cases of one object; publishes after every `every`th flipped bit and after all else.
    async fn go_through(&self, cases: Vec<Case>, every: usize, names: impl Fn(&Case, &Verified) -> bool) {
        let bucket = self.shop.bucket();
        for (number, case) in cases.iter().enumerate() {
            self.put(&bucket, &case.object, case.content.as_deref());
            let verified = self.look(&bucket, case).await;
            assert!(verified.bad > 0, "{case}: verify finds nothing");
            assert!(names(case, &verified), "{case}: verify names {:?}", verified.problems);
            self.put(&bucket, &case.object, Some(&self.files[&case.object]));
            if !case.action.contains("flipped") || number.is_multiple_of(every) {
                self.publish_on(case).await;
            }
        }
        let verified = small::verify(&self.shop.publisher().await).await.expect("there is a release");
        assert_eq!((verified.bad, verified.release), (0, 5), "the bed is whole again");
        assert_eq!(*PANICS.lock().expect("no test panics while it holds this"), 0, "a task panicked");
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {}", self.object, self.action)
    }
}

fn names_it(case: &Case, verified: &Verified) -> bool {
    verified.problems.iter().any(|bad| bad.object == case.object)
}

/// Panics of tasks, which a caller may not notice.
static PANICS: Mutex<usize> = Mutex::new(0);

fn count_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if std::thread::current().name().is_some_and(|name| name.starts_with("tokio")) {
                *PANICS.lock().expect("no test panics while it holds this") += 1;
            }
            before(info);
        }));
    });
}

async fn bed() -> Bed {
    count_panics();
    Bed::new().await
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_to_current_is_named_and_never_overwritten() {
    let bed = bed().await;
    let cases = bed.cases(CURRENT, 2_000, bed.older[CURRENT].clone());
    bed.go_through(cases, 251, names_it).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_to_a_pack_is_named_and_mended_by_a_full_publish() {
    let bed = bed().await;
    for (number, pack) in bed.packs.iter().enumerate() {
        let other = bed.files[&bed.packs[(number + 1) % bed.packs.len()]].clone();
        bed.go_through(bed.cases(pack, 150, other), 40, names_it).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_to_the_cursor_is_named_and_mended_by_any_publish() {
    let bed = bed().await;
    let older = bed.older[CURSOR].clone();
    let cases = bed.cases(CURSOR, 2_000, older.clone());
    bed.go_through(cases, 97, |case, verified| {
        // An older one is right by itself: what differs is the mirror.
        names_it(case, verified) || case.content.as_ref() == Some(&older)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_to_a_mirrored_object_is_named_and_mended_by_a_full_publish() {
    let bed = bed().await;
    for (key, other) in [("products/lamp.json", "products/sofa.json"), ("all.bin", "style.css")] {
        let cases = bed.cases(key, 60, bed.files[other].clone());
        bed.go_through(cases, 30, names_it).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_to_what_is_no_longer_stored_changes_nothing() {
    let shop = Shop::new();
    // Larger than a pack, so that its body lies alone.
    let noise = (0..5u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8 ^ (at >> 3) as u8);
    shop.write("static/noise.bin", &noise.collect::<Vec<u8>>());
    shop.publish(&PRODUCTS, Options::default()).await;
    shop.write("static/noise.bin", b"less");
    shop.publish(&PRODUCTS, Options::default()).await;
    let files = small::files(&shop.bucket());
    let (largest, _) =
        files.iter().filter(|(key, _)| is_pack(key)).max_by_key(|(_, pack)| pack.len()).expect("some");
    std::fs::remove_file(shop.bucket().join(largest)).expect("it is there");
    let error =
        edgepress_publisher::rollback(&shop.publisher().await, 1, None).await.expect_err("a body is missing");
    assert!(whole(&error).contains(largest.as_str()), "{}", whole(&error));
    assert_eq!(std::fs::read(shop.bucket().join(CURRENT)).expect("it is there"), files[CURRENT]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_without_a_cursor_keeps_nothing_that_earlier_releases_had() {
    let shop = Shop::new();
    shop.publish(&PRODUCTS, Options::default()).await;
    shop.publish(&PRODUCTS[1..], Options::default()).await;
    let gone = "products/mug-9.json";
    shop.write(&format!("bucket/{gone}"), b"left by a release before the last");
    std::fs::remove_file(shop.bucket().join(CURSOR)).expect("it is there");
    shop.publish(&PRODUCTS[2..], Options::default()).await;
    let files = small::files(&shop.bucket());
    for (slug, ..) in &PRODUCTS {
        let is_there = files.contains_key(&format!("products/{slug}.json"));
        assert_eq!(is_there, PRODUCTS[2..].iter().any(|(other, ..)| other == slug), "{slug}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guard_holds_where_the_old_index_is_lost() {
    let bed = bed().await;
    let bucket = bed.shop.bucket();
    bed.put(&bucket, &bed.packs[3], None);
    let empty = bed.shop.database(&[]).await;
    let publisher = bed.shop.publisher().await;
    let refused =
        bed.shop.publish_with(&publisher, &empty, full()).await.expect_err("most documents would go");
    assert!(matches!(refused, PublishError::Guard { removed: 16, .. }), "{refused}");
}
