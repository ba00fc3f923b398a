//! A bucket that fails at any one operation, before or after it took effect, or stops working there.
//!
//! What is asserted each time: a success or an error that names the fault; `current` names only what is
//! wholly stored; the next publish completes, with the content it would have had, and an exact mirror.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use edgepress_publisher::error::whole;
use edgepress_publisher::progress::Progress;
use edgepress_publisher::{Options, PublishError, Publisher, Report, Source, rollback, verify};
use edgepress_store::bucket::testing::{Fate, Faulty};
use edgepress_store::bucket::{Bucket, Directory, Kind};
use edgepress_store::database::Sqlite;
use edgepress_store::release::Releases;
use tokio::runtime::Runtime;

use crate::support::{Site, files, live, mirror};

/// Tells writers apart.
static WRITERS: AtomicU64 = AtomicU64::new(0);

type Published = Result<Report, PublishError>;

/// A site, and a bucket before the operation under test.
struct Rig {
    site: Site,
    before: tempfile::TempDir,
    runtime: Runtime,
    /// What is done to the bucket.
    act: fn(&Rig, &Publisher) -> Published,
    /// The root after it, where nothing fails.
    root: String,
}

fn publisher(bucket: Arc<dyn Bucket>) -> Publisher {
    Publisher {
        releases: Releases::new(bucket.clone(), 8 << 20),
        objects: Some(bucket),
        clock: Arc::new(|| 1_800_000_000_000),
        writer: format!("writer-{}", WRITERS.fetch_add(1, Ordering::Relaxed)),
        consumer: "the bucket".to_owned(),
        threads: 2,
    }
}

impl Rig {
    /// `prepare` brings the site's own bucket to where `act` begins.
    fn new(act: fn(&Self, &Publisher) -> Published, prepare: fn(&Site)) -> Self {
        let site = Site::small(9);
        prepare(&site);
        let before = tempfile::tempdir().expect("there is room");
        if site.bucket().exists() {
            copy(&site.bucket(), before.path());
        }
        let runtime = Runtime::new().expect("a runtime can be made");
        let mut rig = Self { site, before, runtime, act, root: String::new() };
        let folder = rig.folder();
        rig.act(&rig.bucket(folder.path())).expect("nothing fails");
        rig.root = live(folder.path()).root;
        rig
    }

    /// A copy of the bucket before the operation.
    fn folder(&self) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("there is room");
        copy(self.before.path(), folder.path());
        folder
    }

    fn bucket(&self, folder: &Path) -> Arc<Faulty<Directory>> {
        let directory = self.runtime.block_on(Directory::open(folder, "file:test"));
        Arc::new(Faulty::new(directory.expect("it is there")))
    }

    fn act(&self, bucket: &Arc<Faulty<Directory>>) -> Published {
        (self.act)(self, &publisher(bucket.clone()))
    }

    fn publish(&self, publisher: &Publisher, options: Options) -> Published {
        self.runtime.block_on(async {
            let source = Source::load(&self.site.path("site.toml"), &|_| None).expect("the site is right");
            let url = format!("sqlite:{}", self.site.path("site.db").display());
            let schema = self.site.read("schema.sql");
            let database = Sqlite::open(&url, Some(&schema)).await.expect("the database is right");
            publisher.publish(&source, &database, options, &Progress::default()).await
        })
    }

    /// Lets operation `number` meet its fate; whether there was such an operation.
    fn strike(&self, number: u64, fate: &Fate, stops: bool) -> bool {
        let place = format!("operation {number}, {fate:?}, stops: {stops}");
        let folder = self.folder();
        let bucket = self.bucket(folder.path());
        let before = current(folder.path());
        if stops {
            bucket.stop_at(number, fate.clone());
        } else {
            bucket.fail_nth(number, fate.clone());
        }
        let outcome = self.act(&bucket);
        let was_struck = bucket.operations() >= number;
        bucket.heal();
        if let Err(error) = &outcome {
            let text = whole(error);
            assert!(text.contains("a fault was injected"), "{place}: {text}");
            let is_lagging = matches!(error, PublishError::Lagging { .. });
            let is_released = current(folder.path()) != before;
            assert!(!is_lagging || is_released, "{place}: {text}");
            assert!(is_lagging || !is_released || is_unknown(error), "{place}: {text}");
        }
        self.check_stored(&bucket, &place);
        let next =
            self.publish(&publisher(bucket), Options { resume: true, yes: true, ..Options::default() });
        next.unwrap_or_else(|error| panic!("{place}: {}", whole(&error)));
        let live = live(folder.path());
        assert!(mirror(folder.path()) == live.documents, "{place}: the mirror is not the release");
        was_struck
    }

    /// Everything that `current` names is stored.
    fn check_stored(&self, bucket: &Arc<Faulty<Directory>>, place: &str) {
        match self.runtime.block_on(verify(&publisher(bucket.clone()), &Progress::default())) {
            Ok(found) => {
                // Packs of a first publish that was cut off name nothing.
                let is_known = |problem: &str| {
                    problem.contains("`edgepress publish` finishes it")
                        || found.release == 0 && problem.contains("or publish again")
                };
                assert!(found.problems.iter().all(|bad| is_known(&bad.problem)), "{place}: {found:?}");
            }
            Err(error) => {
                let text = whole(&error);
                assert!(text.contains("nothing was published"), "{place}: {text}");
            }
        }
    }

    /// Strikes every operation, one after the other, in every way. There are at least `least`.
    fn strike_all(&self, least: u64) {
        let fates = [Fate::FailBefore(Kind::Other), Fate::FailAfter(Kind::Other)];
        for (fate, stops) in fates.iter().flat_map(|fate| [(fate, false), (fate, true)]) {
            let mut number = 1;
            while self.strike(number, fate, stops) {
                number += 1;
            }
            assert!(number > least, "only {} operations were struck", number - 1);
        }
    }
}

/// The swap itself failed, and so did looking what became of it.
fn is_unknown(error: &PublishError) -> bool {
    whole(error).contains("_edgepress/current")
}

/// What `current` says.
fn current(folder: &Path) -> Option<Vec<u8>> {
    std::fs::read(folder.join("_edgepress/current")).ok()
}

fn copy(from: &Path, to: &Path) {
    let mut made = BTreeSet::new();
    for (name, body) in files(from) {
        let file = to.join(&name);
        let folder = file.parent().expect("files lie in folders").to_path_buf();
        if !made.contains(&folder) {
            std::fs::create_dir_all(&folder).expect("folders can be made");
            made.insert(folder);
        }
        std::fs::write(file, body).expect("there is room");
    }
}

fn edit(site: &Site) {
    site.json("publish");
    site.sql("UPDATE item SET name = 'New' WHERE id < 3; DELETE FROM item WHERE id = 4; INSERT INTO item VALUES (20, 'new', 'x')");
}

#[test]
fn a_first_publish_survives_every_fault_of_the_bucket() {
    Rig::new(|rig, publisher| rig.publish(publisher, Options::default()), |site| drop(site.json("check")))
        .strike_all(10);
}

#[test]
fn a_publish_of_edits_survives_every_fault_of_the_bucket() {
    Rig::new(|rig, publisher| rig.publish(publisher, Options::default()), edit).strike_all(10);
}

#[test]
fn a_rollback_survives_every_fault_of_the_bucket() {
    let prepare = |site: &Site| {
        edit(site);
        site.json("publish");
    };
    Rig::new(|rig, publisher| rig.runtime.block_on(rollback(publisher, 1, None)), prepare).strike_all(10);
}

#[test]
fn a_publish_that_archives_records_survives_every_fault_of_the_bucket() {
    let prepare = |site: &Site| {
        site.json("publish");
        for number in 0..16 {
            site.json(&format!("rollback {}", number % 2 + 1));
        }
    };
    Rig::new(|rig, publisher| rig.runtime.block_on(rollback(publisher, 1, None)), prepare).strike_all(8);
}
