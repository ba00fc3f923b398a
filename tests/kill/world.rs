//! A site, its database and its bucket, at a moment that can be copied; and what is done to them, by
//! processes that may be killed. Refuses to judge what comes of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use edgepress_publisher::error::whole;
use edgepress_publisher::progress::Progress;
use edgepress_publisher::{Options, PublishError, Publisher, Report, Source, Verified, rollback, verify};
use edgepress_site::release::{Record, State};
use edgepress_store::bucket::{Bucket as _, Headers, Memory, Put};
use edgepress_store::database::{self, Database, servers};
use edgepress_store::release::Releases;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _};
use tokio::runtime::Runtime;

use crate::support::{Files, Stop, StoppedBucket, StoppedDatabase, Writes, memory_folder};

/// Tells publishers apart.
static WRITERS: AtomicU64 = AtomicU64::new(0);

/// What a process does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    Publish(Options),
    Rollback(u64),
}

/// What it came to; nothing if it was killed.
pub(super) type Outcome = Option<Result<Report, PublishError>>;

/// A full publish of the same rows into an empty bucket.
pub(super) struct Full {
    pub(super) root: String,
    pub(super) documents: Files,
}

/// The database and the bucket at one moment.
pub(super) struct World {
    rows: Rows,
    runtime: Runtime,
    pub(super) bucket: Arc<Memory>,
}

/// Where the rows are.
enum Rows {
    File {
        folder: tempfile::TempDir,
        /// Stays open, so that no other connection is the last one, which would tidy up while files are
        /// copied.
        editor: SqliteConnection,
    },
    Server {
        url: String,
    },
}

fn runtime() -> Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be made")
}

impl World {
    fn open(folder: tempfile::TempDir, objects: BTreeMap<String, bytes::Bytes>) -> Self {
        let runtime = runtime();
        let options = SqliteConnectOptions::new().filename(folder.path().join("site.db"));
        let options = options.create_if_missing(true).foreign_keys(false).disable_statement_logging();
        let bucket = Arc::new(Memory::new("memory:killed"));
        let editor = runtime.block_on(async {
            for (key, body) in objects {
                let put = Put { key, body, headers: Headers::default() };
                bucket.put(put).await.expect("there is room");
            }
            options.connect().await.expect("the file can be opened")
        });
        Self { rows: Rows::File { folder, editor }, runtime, bucket }
    }

    /// The empty database of a server that a URL names, and an empty bucket.
    pub(super) fn served(url: String, schema: &str) -> Self {
        let bucket = Arc::new(Memory::new("memory:killed"));
        let mut world = Self { rows: Rows::Server { url }, runtime: runtime(), bucket };
        world.sql(schema);
        world
    }

    /// The database, as a process of its own opens it.
    async fn database(&self) -> Arc<dyn Database> {
        let url = match &self.rows {
            Rows::File { folder, .. } => format!("sqlite:{}", folder.path().join("site.db").display()),
            Rows::Server { url } => url.clone(),
        };
        database::open(&url, None).await.expect("the database is there")
    }

    /// A new database of this schema, and an empty bucket.
    pub(super) fn new(schema: &str) -> Self {
        let mut world = Self::open(memory_folder(), BTreeMap::new());
        world.sql("PRAGMA journal_mode = WAL");
        world.sql(schema);
        world
    }

    /// The same moment, to go on from in another way. (A server's database that is copied is another one.)
    pub(super) fn copy(&self) -> Self {
        let Rows::File { folder: own, .. } = &self.rows else { panic!("only files are copied") };
        let folder = memory_folder();
        for name in ["site.db", "site.db-wal"] {
            let from = own.path().join(name);
            if from.exists() {
                std::fs::copy(from, folder.path().join(name)).expect("there is room");
            }
        }
        Self::open(folder, self.bucket.objects())
    }

    pub(super) fn sql(&mut self, sql: &str) {
        let ran = match &mut self.rows {
            Rows::File { editor, .. } => {
                self.runtime.block_on(sqlx::raw_sql(AssertSqlSafe(sql)).execute(editor)).map(drop)
            }
            Rows::Server { url } => self.runtime.block_on(servers::execute(url, sql)),
        };
        ran.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// A publisher in a process of its own, which writes under the eyes of `writes`.
    fn publisher(&self, writes: &Arc<Writes>) -> Publisher {
        let inner = self.bucket.clone();
        let bucket = Arc::new(StoppedBucket { inner, writes: writes.clone() });
        Publisher {
            releases: Releases::new(bucket.clone(), 1 << 20),
            objects: Some(bucket),
            clock: Arc::new(|| 1_800_000_000_000),
            writer: format!("writer-{}", WRITERS.fetch_add(1, Ordering::Relaxed)),
            consumer: "the bucket".to_owned(),
            threads: 1,
        }
    }

    /// Does something in a process that is killed at `stop`; what it began to write, in order.
    pub(super) fn act(&self, source: &Source, act: Act, stop: Option<Stop>) -> (Outcome, Vec<String>) {
        let writes = Writes::new(stop);
        let publisher = self.publisher(&writes);
        let outcome = writes.run(async {
            match act {
                Act::Rollback(number) => rollback(&publisher, number, None).await,
                Act::Publish(options) => {
                    let inner = self.database().await;
                    let database = StoppedDatabase { inner, writes: writes.clone(), captures: true };
                    publisher.publish(source, &database, options, &Progress::default()).await
                }
            }
        });
        (outcome, writes.begun())
    }

    /// Publishes, as whoever comes next does.
    pub(super) fn publish(&self, source: &Source, place: &str) -> Report {
        let resume = self.live().is_some_and(|live| live.state == State::Held);
        let options = Options { resume, yes: true, ..Options::default() };
        let (outcome, _) = self.act(source, Act::Publish(options), None);
        let outcome = outcome.expect("nobody kills it");
        outcome.unwrap_or_else(|error| panic!("{place}: {}", whole(&error)))
    }

    /// What a full publish of the rows as they are now gives in an empty bucket.
    pub(super) fn full(&self, source: &Source) -> Full {
        let writes = Writes::new(None);
        let bucket = Arc::new(Memory::new("memory:full"));
        let publisher = Publisher {
            releases: Releases::new(bucket.clone(), 1 << 20),
            objects: Some(bucket.clone()),
            ..self.publisher(&writes)
        };
        let report = writes.run(async {
            let inner = self.database().await;
            let database = StoppedDatabase { inner, writes: writes.clone(), captures: false };
            publisher.publish(source, &database, Options::default(), &Progress::default()).await
        });
        let report = report.expect("nobody kills it").unwrap_or_else(|error| panic!("{}", whole(&error)));
        Full { root: report.root, documents: documents(&bucket) }
    }

    /// The live release.
    pub(super) fn live(&self) -> Option<Record> {
        let releases = Releases::new(self.bucket.clone(), 1 << 20);
        let current = self.runtime.block_on(releases.current()).expect("it can be read");
        current.map(|(current, _)| current.live().clone())
    }

    /// The mirrored documents.
    pub(super) fn mirror(&self) -> Files {
        documents(&self.bucket)
    }

    /// What `verify` finds, if something is live.
    pub(super) fn verify(&self) -> Option<Verified> {
        self.live()?;
        let publisher = self.publisher(&Writes::new(None));
        let verified = self.runtime.block_on(verify(&publisher, &Progress::default()));
        Some(verified.unwrap_or_else(|error| panic!("{}", whole(&error))))
    }
}

fn documents(bucket: &Memory) -> Files {
    let all = bucket.objects().into_iter().filter(|(key, _)| !key.starts_with("_edgepress/"));
    all.map(|(key, body)| (format!("/{key}"), body.to_vec())).collect()
}
