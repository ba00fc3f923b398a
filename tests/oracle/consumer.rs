//! A bucket with the publisher that brings it up to date, and what can be seen of its releases.
//! Refuses to judge them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use edgepress_publisher::progress::Progress;
use edgepress_publisher::{Options, PublishError, Publisher, Report, Source, rollback};
use edgepress_site::definition;
use edgepress_site::release::State;
use edgepress_site::release::diff::Entries;
use edgepress_site::version::Version;
use edgepress_store::bucket::Memory;
use edgepress_store::release::Releases;

use super::case::Site;
use super::lies::{Lie, Lying};
use super::world::Databases;

/// Bytes of index nodes that a publisher keeps.
const NODES: u64 = 1 << 20;

/// Documents by path.
pub(super) type Documents = BTreeMap<String, Bytes>;

/// What a release names: versions by path.
pub(super) type Versions = BTreeMap<String, Version>;

/// A bucket and the publisher that brings it up to date.
pub(super) struct Consumer {
    pub(super) bucket: Arc<Memory>,
    pub(super) publisher: Publisher,
    pub(super) database: Lying,
    lie: Option<Lie>,
    /// The last release that was compared: what it names, and what was said of it.
    pub(super) before: Option<(Versions, Report)>,
}

impl Consumer {
    pub(super) async fn new(databases: &Databases, bucket: Arc<Memory>, lie: Option<Lie>) -> Self {
        let database = Lying::new(databases.open_live().await, lie);
        Self { publisher: publisher(&bucket), bucket, database, lie, before: None }
    }

    /// Goes on as a new process would.
    pub(super) async fn restart(&mut self, databases: &Databases) {
        self.publisher = publisher(&self.bucket);
        self.database = Lying::new(databases.open_live().await, self.lie);
    }

    pub(super) async fn publish(&self, source: &Source, options: Options) -> Result<Report, PublishError> {
        self.database.publishes(source);
        self.publisher.publish(source, &self.database, options, &Progress::default()).await
    }

    /// What the live release names.
    pub(super) async fn versions(&self) -> Versions {
        let releases = &self.publisher.releases;
        let (current, _) = releases.current().await.expect("it can be read").expect("something is live");
        let index = releases.index(current.live()).await.expect("the index is there");
        let nodes = releases.blocking();
        let read = move || {
            let trees = index.collections.values().flat_map(|tree| Entries::new(Some(tree), &nodes));
            let entries = trees.map(|entry| entry.expect("the index is whole"));
            entries.map(|entry| (entry.path.to_string(), entry.version)).collect()
        };
        tokio::task::spawn_blocking(read).await.expect("it does not panic")
    }

    /// Whether the site is held after a rollback.
    pub(super) async fn is_held(&self) -> bool {
        let current = self.publisher.releases.current().await.expect("it can be read");
        current.is_some_and(|(current, _)| current.live().state == State::Held)
    }

    /// Makes the release before the live one live again, if there is one.
    pub(super) async fn roll_back(&self) {
        let current = self.publisher.releases.current().await.expect("it can be read");
        let number = current.map_or(0, |(current, _)| current.live().parent);
        if number > 0 {
            rollback(&self.publisher, number, None).await.expect("what was released can be released again");
        }
    }
}

/// A site as if it lay in a folder.
pub(super) fn source(site: &Site) -> Result<Source, String> {
    Ok(Source {
        site: definition::parse("site.toml", &site.toml(), &|_| None).map_err(|error| error.to_string())?,
        templates: site.templates.clone(),
        static_files: BTreeMap::new(),
        file: "site.toml".to_owned(),
        folder: std::path::PathBuf::new(),
    })
}

/// A publisher that works on one bucket, as if in a process of its own.
pub(super) fn publisher(bucket: &Arc<Memory>) -> Publisher {
    static WRITERS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let number = WRITERS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    Publisher {
        releases: Releases::new(bucket.clone(), NODES),
        objects: Some(bucket.clone()),
        clock: Arc::new(|| 1_700_000_000_000),
        writer: format!("{number:032x}"),
        consumer: format!("{:p}", Arc::as_ptr(bucket)),
        threads: 1,
    }
}

/// The objects that are documents.
pub(super) fn documents(bucket: &Memory) -> Documents {
    let all = bucket.objects().into_iter().filter(|(key, _)| !key.starts_with("_edgepress/"));
    all.map(|(key, body)| (format!("/{key}"), body)).collect()
}

/// The documents that differ, for people to read.
pub(super) fn differences(found: &Documents, expected: &Documents) -> String {
    let paths: BTreeSet<&String> = found.keys().chain(expected.keys()).collect();
    let text = |documents: &Documents, path: &String| {
        documents
            .get(path)
            .map_or_else(|| "(none)".to_owned(), |body| String::from_utf8_lossy(body).into_owned())
    };
    let differing = paths.into_iter().filter(|path| found.get(*path) != expected.get(*path));
    let line =
        |path: &String| format!("{path}\n   is  {}\n   not {}", text(found, path), text(expected, path));
    differing.map(line).collect::<Vec<_>>().join("\n")
}
