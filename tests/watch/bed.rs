//! A site with a watching publisher in this process: its clock, its buckets and its database are the
//! test's, and everything it tells is kept. Refuses to judge.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use edgepress_publisher::error::whole;
use edgepress_publisher::progress::Progress;
use edgepress_publisher::watch::{Event, Files, Watch};
use edgepress_publisher::{Options, PublishError, Publisher, Report, Source, Standing};
use edgepress_site::release::diff::Entries;
use edgepress_site::version::Version;
use edgepress_store::bucket::{Bucket, Memory};
use edgepress_store::database::{Database, Sqlite};
use edgepress_store::release::Releases;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::support::{Site, StoppedDatabase, Writes, until};

/// Tells publishers apart.
static WRITERS: AtomicU64 = AtomicU64::new(0);

/// When the clock begins.
const START: u64 = 1_800_000_000_000;

/// The small site, in a hurry.
pub(super) fn site(rows: usize) -> Site {
    let site = Site::small(rows);
    let publish = "[publish]\nquiet = \"5ms\"\nmax_wait = \"50ms\"\nguard = 1\n\n[origin]";
    site.edit("site.toml", "[origin]", publish);
    site
}

/// A site and where it is published.
pub(super) struct Bed {
    pub(super) site: Site,
    /// The file with the rows, in the site's folder unless it is shared.
    pub(super) database: PathBuf,
    pub(super) bucket: Arc<dyn Bucket>,
    pub(super) objects: Arc<dyn Bucket>,
    pub(super) consumer: String,
    pub(super) clock: Arc<AtomicU64>,
    pub(super) runtime: Runtime,
}

impl Bed {
    /// Publishes `site` into memory.
    pub(super) fn new(site: Site) -> Self {
        let bucket = Arc::new(Memory::new("memory:watched"));
        Self {
            database: site.path("site.db"),
            objects: bucket.clone(),
            consumer: format!("{:p}", Arc::as_ptr(&bucket)),
            bucket,
            clock: Arc::new(AtomicU64::new(START)),
            runtime: Runtime::new().expect("a runtime can be made"),
            site,
        }
    }

    /// A publisher that knows nothing yet.
    pub(super) fn publisher(&self) -> Publisher {
        let clock = self.clock.clone();
        Publisher {
            releases: Releases::new(self.bucket.clone(), 1 << 20),
            objects: Some(self.objects.clone()),
            clock: Arc::new(move || clock.load(Ordering::SeqCst)),
            writer: format!("writer-{}", WRITERS.fetch_add(1, Ordering::Relaxed)),
            consumer: self.consumer.clone(),
            threads: 1,
        }
    }

    pub(super) fn source(&self) -> Source {
        Source::load(&self.site.path("site.toml"), &|_| None).expect("the site is right")
    }

    pub(super) fn open(&self) -> Sqlite {
        let (url, schema) = (format!("sqlite:{}", self.database.display()), self.site.read("schema.sql"));
        self.runtime.block_on(Sqlite::open(&url, Some(&schema))).expect("the database is right")
    }

    /// Publishes once.
    pub(super) fn publish(&self) -> Report {
        let (source, database) = (self.source(), self.open());
        let (publisher, progress) = (self.publisher(), Progress::default());
        let publish = publisher.publish(&source, &database, Options::default(), &progress);
        self.runtime.block_on(publish).unwrap_or_else(|error| panic!("{}", whole(&error)))
    }

    /// The root of a full publish of the rows into an empty bucket.
    pub(super) fn full(&self) -> String {
        let bucket = Arc::new(Memory::new("memory:full"));
        let publisher =
            Publisher { releases: Releases::new(bucket, 1 << 20), objects: None, ..self.publisher() };
        let inner = Arc::new(self.open());
        let database = StoppedDatabase { inner, writes: Writes::new(None), captures: false };
        let (source, options) = (self.source(), Options { keep_going: true, ..Options::default() });
        let progress = Progress::default();
        let report = self.runtime.block_on(publisher.publish(&source, &database, options, &progress));
        report.unwrap_or_else(|error| panic!("{}", whole(&error))).root
    }

    /// Publishes once, which gives what a full publish does.
    pub(super) fn publish_right(&self, place: &str) -> Report {
        let (report, full) = (self.publish(), self.full());
        assert_eq!(report.root, full, "{place}: {report:?}");
        assert!(self.is_mirrored(), "{place}: the mirror is not the release");
        report
    }

    /// The live root, if something is live.
    pub(super) fn root(&self) -> Option<String> {
        let current = self.runtime.block_on(self.publisher().releases.current()).ok()??;
        Some(current.0.live().root.to_string())
    }

    /// Whether the objects are exactly the live release's documents.
    pub(super) fn is_mirrored(&self) -> bool {
        self.runtime.block_on(async {
            let releases = self.publisher().releases;
            let Ok(Some((current, _))) = releases.current().await else { return false };
            let index = releases.index(current.live()).await.expect("the index is there");
            let nodes = releases.blocking();
            let read = move || {
                let trees = index.collections.values().flat_map(|tree| Entries::new(Some(tree), &nodes));
                let entries = trees.map(|entry| entry.expect("the index is whole"));
                entries.map(|entry| (entry.path.trim_start_matches('/').to_owned(), entry.version)).collect()
            };
            let documents: Vec<(String, Version)> =
                tokio::task::spawn_blocking(read).await.expect("it does not panic");
            let listed = self.objects.list("", None, 10_000).await.expect("objects can be listed");
            let mut objects = Vec::new();
            for object in listed.into_iter().filter(|object| !object.key.starts_with("_edgepress/")) {
                let Ok(Some(body)) = self.objects.get(&object.key).await else { return false };
                objects.push((object.key, Version::of(&body.body)));
            }
            let mut documents = documents;
            documents.sort();
            documents == objects
        })
    }

    /// Waits until the rows as they are now are live.
    pub(super) fn settle(&self, what: &str) {
        let full = self.full();
        until(what, || self.root().as_ref() == Some(&full));
        until(&format!("{what} in the mirror"), || self.standing().behind == 0 && self.is_mirrored());
    }

    /// How the mirror stands.
    pub(super) fn standing(&self) -> Standing {
        let standings = self.runtime.block_on(self.publisher().standings());
        standings.expect("the bucket can be read").remove(0)
    }

    /// The text of an object.
    pub(super) fn body(&self, key: &str) -> Option<String> {
        let object = self.runtime.block_on(self.objects.get(key)).expect("it can be read");
        object.map(|object| String::from_utf8(object.body.to_vec()).expect("it is text"))
    }

    /// Whether an object is there and contains this.
    pub(super) fn shows(&self, key: &str, text: &str) -> bool {
        self.body(key).is_some_and(|body| body.contains(text))
    }

    /// Begins to watch.
    pub(super) fn watch(&self) -> Watcher {
        let (stop, stopped) = oneshot::channel::<()>();
        let (events, changed) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (told, publisher) = (events.clone(), self.publisher());
        let mut files = BedFiles {
            folder: self.site.folder().to_path_buf(),
            database: self.database.clone(),
            changed: changed.clone(),
        };
        let thread = std::thread::spawn(move || {
            let runtime = Runtime::new().expect("a runtime can be made");
            let options = Options { keep_going: true, patient: true, ..Options::default() };
            let watch = Watch::new(publisher, &mut files, options, Arc::new(Progress::default()));
            let stopped = async { drop(stopped.await) };
            runtime.block_on(watch.run(stopped, |event| {
                told.lock().unwrap_or_else(PoisonError::into_inner).push(Told::of(event));
            }));
            runtime.shutdown_background();
        });
        Watcher { stop: Some(stop), thread: Some(thread), events, changed }
    }
}

/// The site's files, which change when a test says so.
struct BedFiles {
    folder: PathBuf,
    database: PathBuf,
    changed: Arc<AtomicBool>,
}

#[async_trait]
impl Files for BedFiles {
    fn changed(&mut self) -> bool {
        self.changed.swap(false, Ordering::SeqCst)
    }

    async fn load(&mut self) -> Result<(Source, Arc<dyn Database>), PublishError> {
        let source = Source::load(&self.folder.join("site.toml"), &|_| None)?;
        let schema = std::fs::read_to_string(self.folder.join("schema.sql")).expect("it is there");
        let url = format!("sqlite:{}", self.database.display());
        let database = Sqlite::open(&url, Some(&schema)).await.map_err(PublishError::Database)?;
        Ok((source, Arc::new(database)))
    }
}

/// What a watcher told.
#[derive(Debug, Clone)]
pub(super) enum Told {
    Published(Box<Report>),
    Failed(String),
    Follower(Standing),
}

impl Told {
    fn of(event: Event) -> Self {
        match event {
            Event::Published(report, _) => Self::Published(report),
            Event::Failed(error) => Self::Failed(whole(&error)),
            Event::Follower(standing) => Self::Follower(standing),
        }
    }
}

/// A watcher at work; ends with the test.
pub(super) struct Watcher {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    events: Arc<Mutex<Vec<Told>>>,
    changed: Arc<AtomicBool>,
}

impl Watcher {
    /// What it told since this was last asked.
    pub(super) fn take(&self) -> Vec<Told> {
        std::mem::take(&mut *self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until it tells of something like this.
    pub(super) fn tells(&self, what: &str, mut is_it: impl FnMut(&Told) -> bool) {
        let mut all = Vec::new();
        until(what, || {
            all.extend(self.take());
            all.iter().any(&mut is_it)
        });
    }

    /// Waits for a publish that failed like this.
    pub(super) fn fails(&self, with: &str) {
        let fails = |told: &Told| matches!(told, Told::Failed(message) if message.contains(with));
        self.tells(&format!("it fails with {with:?}"), fails);
    }

    /// Waits for a publish of everything, for a reason like this.
    pub(super) fn publishes_all(&self, why: &str) {
        self.tells(&format!("it publishes everything: {why}"), |told| match told {
            Told::Published(report) => report.full.as_ref().is_some_and(|full| full.contains(why)),
            _ => false,
        });
    }

    /// Waits until it reports a row or a document that cannot be made, like this.
    pub(super) fn reports(&self, error: &str) {
        self.tells(&format!("{error} is reported"), |told| match told {
            Told::Published(report) => report.errors.iter().any(|message| message.contains(error)),
            _ => false,
        });
    }

    /// Tells it that the site's files changed.
    pub(super) fn change(&self) {
        self.changed.store(true, Ordering::SeqCst);
    }

    /// Whether it still works.
    pub(super) fn lives(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the watcher panicked");
        }
    }
}
