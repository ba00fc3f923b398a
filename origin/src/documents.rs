//! From a path to its answer, through the tiers: memory, then the index and the packs of the release
//! being served.
//!
//! Owns the order of the tiers and that answers never go back: what is in memory is of the release being
//! served, or is looked up again. Refuses to know HTTP.

use std::sync::Arc;
use std::time::Duration;

use edgepress_site::answer::last_modified;
use edgepress_site::path::DocPath;
use edgepress_site::release::{Entry, Place};
use edgepress_site::version::Version;
use edgepress_store::release::{ReleaseError, Releases};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::answer::{Content, Source};
use crate::fills::Fills;
use crate::live::{Follower, Live};
use crate::memory::{Kept, Memory};

/// Bodies on their way from packs to memory are counted in units of so many bytes.
const UNIT: u64 = 16 << 10;
/// They may take a quarter of what memory has, or so many bytes if that is more.
const LEAST_ON_THE_WAY: u64 = 16 << 20;
/// An answer that releases overtake so many times is given as it is.
const ATTEMPTS: usize = 4;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A document as it is now.
    Document(DocPath),
    /// One of its last few versions.
    Versioned(Version, DocPath),
}

/// What was found, and where.
pub(crate) struct Found {
    pub(crate) kept: Kept,
    pub(crate) source: Source,
}

/// Nothing can be said about a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unavailable {
    /// No release was read yet.
    NotReady,
    /// The bucket failed; the log says how.
    Bucket,
}

/// What a fill gave.
#[derive(Clone)]
enum Filled {
    /// The answer, and whether memory keeps it.
    Answer(Kept, bool),
    /// This release has nothing there.
    Absent(u64),
    Failed(Unavailable),
}

#[derive(Clone)]
pub(crate) struct Documents(Arc<Inner>);

struct Inner {
    releases: Releases,
    follower: Arc<Follower>,
    memory: Memory,
    fills: Fills<Filled>,
    on_the_way: Semaphore,
    units: u32,
    read_timeout: Duration,
}

impl Wanted {
    /// The request path that asks for it in its only form: the key in memory.
    fn key(&self) -> Arc<str> {
        match self {
            Self::Document(path) => path.as_str().into(),
            Self::Versioned(version, path) => format!("/_v/{version}{path}").into(),
        }
    }

    fn path(&self) -> &str {
        match self {
            Self::Document(path) | Self::Versioned(_, path) => path.as_str(),
        }
    }
}

impl Documents {
    pub(crate) fn new(
        releases: Releases,
        follower: Arc<Follower>,
        memory: u64,
        read_timeout: Duration,
    ) -> Self {
        let units = ((memory / 4).max(LEAST_ON_THE_WAY) / UNIT).min(u64::from(u32::MAX)) as u32;
        let units = units.min(Semaphore::MAX_PERMITS as u32);
        Self(Arc::new(Inner {
            releases,
            follower,
            memory: Memory::new(memory),
            fills: Fills::new(),
            on_the_way: Semaphore::new(units as usize),
            units,
            read_timeout,
        }))
    }

    pub(crate) fn memory_used(&self) -> u64 {
        self.0.memory.bytes()
    }

    /// The answer to a request's path as it was sent, if memory has it for the release being served.
    pub(crate) fn in_memory(&self, raw: &str) -> Option<Kept> {
        // Keys are decoded: a path without escapes that equals one asks for it.
        if raw.contains('%') { None } else { self.0.current(raw) }
    }

    /// The answer; `None` if the release being served has none.
    pub(crate) async fn find(&self, wanted: &Wanted) -> Result<Option<Found>, Unavailable> {
        let key = wanted.key();
        let mut attempt = 1;
        loop {
            if let Some(kept) = self.0.current(&key) {
                return Ok(Some(Found { kept, source: Source::Memory }));
            }
            let fill = || {
                let (inner, wanted, key) = (Arc::clone(&self.0), wanted.clone(), Arc::clone(&key));
                Box::pin(async move { inner.fill(&wanted, &key).await }) as _
            };
            let (filled, joined) = self.0.fills.join(&key, fill).await;
            let release = match &filled {
                Filled::Answer(kept, _) => kept.release,
                Filled::Absent(release) => *release,
                Filled::Failed(unavailable) => return self.0.stale(&key, *unavailable).map(Some),
            };
            // A release may have come while the fill was under way: the answer must not be older than one
            // that somebody else may have got meanwhile.
            if self.0.follower.number().is_none_or(|live| live <= release) || attempt == ATTEMPTS {
                return Ok(found(filled, joined));
            }
            attempt += 1;
        }
    }
}

fn found(filled: Filled, joined: bool) -> Option<Found> {
    let Filled::Answer(kept, is_kept) = filled else { return None };
    let source = match (joined, is_kept) {
        (true, _) => Source::Shared,
        (false, true) => Source::Pack,
        (false, false) => Source::Passed,
    };
    Some(Found { kept, source })
}

impl Inner {
    /// What memory has under `key`, if it was looked up under the release being served.
    fn current(&self, key: &str) -> Option<Kept> {
        let kept = self.memory.get(key)?;
        (kept.release >= self.follower.number()?).then_some(kept)
    }

    /// Stale beats an error: what memory has of an earlier release. It is never older than what was
    /// answered before, because every fill leaves the newest answer in memory or none.
    fn stale(&self, key: &str, unavailable: Unavailable) -> Result<Found, Unavailable> {
        let kept = self.memory.get(key).ok_or(unavailable)?;
        Ok(Found { kept, source: Source::Stale })
    }

    async fn fill(&self, wanted: &Wanted, key: &Arc<str>) -> Filled {
        let Some(live) = self.follower.live() else { return Filled::Failed(Unavailable::NotReady) };
        let (path, release) = (wanted.path(), live.record.number);
        match timeout(self.read_timeout, self.read(&live, wanted, key)).await {
            Ok(Ok(Some(content))) => {
                let kept = Kept { release, number: live.number.clone(), content: Arc::new(content) };
                let is_kept = self.memory.keep(key, &kept);
                Filled::Answer(kept, is_kept)
            }
            Ok(Ok(None)) => {
                self.memory.forget(key);
                Filled::Absent(release)
            }
            Ok(Err(error)) => {
                tracing::error!(path, release, "cannot read a document: {error}");
                Filled::Failed(Unavailable::Bucket)
            }
            Err(_) => {
                tracing::error!(
                    path,
                    release,
                    "cannot read a document: the bucket took over {:?}",
                    self.read_timeout
                );
                Filled::Failed(Unavailable::Bucket)
            }
        }
    }

    async fn read(&self, live: &Live, wanted: &Wanted, key: &str) -> Result<Option<Content>, ReleaseError> {
        let path = wanted.path();
        let Some(collection) = live.made_with.collection(path) else { return Ok(None) };
        let Some(tree) = live.index.collections.get(collection) else { return Ok(None) };
        let Some(entry) = self.releases.entry(tree, path).await? else { return Ok(None) };
        let Some((version, media_type, size, place)) = choose(&entry, wanted) else { return Ok(None) };
        let known = self.memory.get(key).filter(|kept| kept.content.version == version);
        let body = match known {
            Some(kept) => kept.content.body.clone(),
            None => {
                let units = size.div_ceil(UNIT).clamp(1, u64::from(self.units)) as u32;
                let _room = self.on_the_way.acquire_many(units).await.expect("never closed");
                self.releases.body(&place, version, size).await?
            }
        };
        Ok(Some(match wanted {
            Wanted::Versioned(..) => Content::version(version, body, media_type),
            Wanted::Document(_) => {
                let cache = live.made_with.cache_headers(&entry.policy, path).clone();
                let modified = last_modified(live.record.floor, entry.changed);
                Content::document((version, body), media_type, cache, modified, (collection, path))
            }
        }))
    }
}

/// What the entry says of the version that is wanted, if it still has it.
fn choose<'a>(entry: &'a Entry, wanted: &Wanted) -> Option<(Version, &'a str, u64, Place)> {
    let now = (entry.version, &*entry.media_type, entry.size, entry.place);
    match wanted {
        Wanted::Document(_) => Some(now),
        Wanted::Versioned(version, _) if *version == entry.version => Some(now),
        Wanted::Versioned(version, _) => {
            let previous = entry.previous.iter().find(|previous| previous.version == *version)?;
            Some((previous.version, &previous.media_type, previous.size, previous.place))
        }
    }
}
