//! The release being served, and the following of new ones.
//!
//! Owns when another release takes its place: only a higher number ever does, and only once its index
//! and definition are in memory. Refuses to go back, and to stop serving because `current` cannot be
//! read.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use edgepress_site::path::DocPath;
use edgepress_site::policy::{Policy, PolicyDigest};
use edgepress_site::release::definition::{ReleaseDefinition, STATIC};
use edgepress_site::release::{Index, Record, State};
use edgepress_site::router::{Owner, Router};
use edgepress_site::version::Digest;
use edgepress_store::release::{CURRENT, ReleaseError, Releases};
use http::HeaderValue;
use serde::Serialize;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

/// The same complaint is logged again after so long.
const REPEAT: Duration = Duration::from_secs(60);

/// One release, ready to be served.
pub(crate) struct Live {
    pub(crate) record: Record,
    pub(crate) index: Index,
    pub(crate) made_with: Arc<MadeWith>,
    /// The value of `Edgepress-Release`.
    pub(crate) number: HeaderValue,
    /// The answer to `/_edgepress/release`, and its ETag.
    pub(crate) summary: (Bytes, HeaderValue),
}

/// What a release was made with, ready for questions.
pub(crate) struct MadeWith {
    hash: Digest,
    definition: ReleaseDefinition,
    router: Router,
    policies: HashMap<PolicyDigest, CacheHeaders>,
    unknown_policy: CacheHeaders,
    told_unknown: AtomicBool,
}

/// A cache policy as headers.
#[derive(Debug, Clone)]
pub(crate) struct CacheHeaders {
    pub(crate) all: HeaderValue,
    /// `None`: CDNs do as everybody does.
    pub(crate) cdn: Option<HeaderValue>,
}

impl CacheHeaders {
    fn of(policy: Policy) -> Self {
        let value =
            |text: String| HeaderValue::from_maybe_shared(Bytes::from(text)).expect("digits and words");
        Self { all: value(policy.cache_control()), cdn: Some(value(policy.cdn_cache_control())) }
    }
}

impl MadeWith {
    fn new(hash: Digest, definition: ReleaseDefinition) -> Self {
        let paths = definition.static_files.keys().filter_map(|path| DocPath::new(path).ok());
        let router = Router::new(paths, &definition.site.collections);
        let documents = definition.site.collections.iter().flat_map(|collection| &collection.documents);
        let defined = documents.map(|document| document.cache).chain([Policy::default()]);
        let policies = defined.map(|policy| (policy.digest(), CacheHeaders::of(policy))).collect();
        let unknown_policy = CacheHeaders::of(Policy::default());
        Self { hash, definition, router, policies, unknown_policy, told_unknown: AtomicBool::new(false) }
    }

    /// The name of the collection that owns `path`.
    pub(crate) fn collection(&self, path: &str) -> Option<&str> {
        match self.router.owner(path)? {
            Owner::Static => Some(STATIC),
            Owner::Document(route) => {
                self.definition.site.collections.get(route.collection).map(|collection| &*collection.name)
            }
        }
    }

    /// The document served with 404.
    pub(crate) fn not_found(&self) -> Option<&DocPath> {
        self.definition.site.not_found.as_ref()
    }

    /// The headers of a policy that the index names.
    pub(crate) fn cache_headers(&self, policy: &PolicyDigest, path: &str) -> &CacheHeaders {
        self.policies.get(policy).unwrap_or_else(|| {
            if !self.told_unknown.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    path,
                    definition = %self.hash,
                    "a document's cache policy is not in its release's definition; the default is used, \
                     there and wherever else this happens: run `edgepress publish --full`"
                );
            }
            &self.unknown_policy
        })
    }
}

#[derive(Serialize)]
struct Summary {
    release: u64,
    root: Digest,
    documents: u64,
    time: u64,
    state: State,
}

impl Live {
    fn new(record: Record, index: Index, made_with: Arc<MadeWith>) -> Self {
        let summary = Summary {
            release: record.number,
            root: record.root,
            documents: index.documents(),
            time: record.time,
            state: record.state,
        };
        let json = serde_json::to_vec(&summary).expect("numbers and words always print as JSON");
        let etag = HeaderValue::try_from(format!("\"{}\"", record.root)).expect("hex digits in quotes");
        let number = HeaderValue::from(record.number);
        Self { record, index, made_with, number, summary: (json.into(), etag) }
    }
}

/// Why the live release stays what it is.
#[derive(Debug, thiserror::Error)]
enum Complaint {
    #[error("no release has been published yet: run `edgepress publish`")]
    Unpublished,
    #[error(
        "{CURRENT} is gone; release {serving} goes on being served: restore it from a copy, or publish again"
    )]
    Gone { serving: u64 },
    #[error(
        "{CURRENT} names release {found} with root {root}, but release {serving} was served before it, and \
         releases never go back; {serving} goes on being served: publish again, or restart this origin if \
         the bucket was restored on purpose"
    )]
    Back { found: u64, root: Digest, serving: u64 },
    #[error("the bucket did not answer within {0:?}; what was read before goes on being served")]
    TimedOut(Duration),
    #[error(transparent)]
    Unreadable(#[from] ReleaseError),
}

/// Follows the releases of one bucket.
pub(crate) struct Follower {
    releases: Releases,
    live: ArcSwapOption<Live>,
    number: watch::Sender<u64>,
    wake: Notify,
}

impl Follower {
    pub(crate) fn new(releases: Releases) -> Self {
        let number = watch::Sender::new(0);
        Self { releases, live: ArcSwapOption::empty(), number, wake: Notify::new() }
    }

    /// The live release.
    pub(crate) fn live(&self) -> Option<Arc<Live>> {
        self.live.load_full()
    }

    /// Its number.
    pub(crate) fn number(&self) -> Option<u64> {
        self.live.load().as_ref().map(|live| live.record.number)
    }

    pub(crate) async fn wait_for(&self, number: u64) {
        let mut served = self.number.subscribe();
        served.wait_for(|served| *served >= number).await.expect("the sender lives as long as this follower");
    }

    pub(crate) fn follow_now(&self) {
        self.wake.notify_one();
    }

    /// Follows for ever; `patience` is how long one step may take.
    pub(crate) async fn follow(&self, poll: Duration, patience: Duration) {
        let mut told: Option<(String, Instant)> = None;
        loop {
            let step = timeout(patience, self.step()).await;
            match step.unwrap_or(Err(Complaint::TimedOut(patience))) {
                Ok(()) if told.take().is_some() => tracing::info!("releases can be followed again"),
                Ok(()) => {}
                Err(complaint) => {
                    let text = complaint.to_string();
                    let known =
                        told.as_ref().is_some_and(|(known, at)| *known == text && at.elapsed() < REPEAT);
                    if !known {
                        complain(&complaint);
                        told = Some((text, Instant::now()));
                    }
                }
            }
            tokio::select! {
                () = sleep(poll) => {}
                () = self.wake.notified() => {}
            }
        }
    }

    /// Reads `current`, and serves what it names if that is later than what is served.
    async fn step(&self) -> Result<(), Complaint> {
        let before = self.live();
        let serving = before.as_ref().map_or(0, |live| live.record.number);
        let Some((current, _)) = self.releases.current().await? else {
            return Err(if before.is_some() { Complaint::Gone { serving } } else { Complaint::Unpublished });
        };
        let record = current.live();
        if let Some(before) = &before {
            if record.number == serving && record.root == before.record.root {
                return Ok(());
            }
            if record.number <= serving {
                return Err(Complaint::Back { found: record.number, root: record.root, serving });
            }
        }
        let index = self.releases.index(record).await?;
        let made_with = match before.map(|live| Arc::clone(&live.made_with)) {
            Some(same) if same.hash == record.definition.hash => same,
            _ => {
                let definition = self.releases.definition(record).await?;
                Arc::new(MadeWith::new(record.definition.hash, definition))
            }
        };
        let (release, root) = (record.number, record.root);
        self.live.store(Some(Arc::new(Live::new(record.clone(), index, made_with))));
        self.number.send_replace(release);
        tracing::info!(release, %root, "serving a new release");
        Ok(())
    }
}

fn complain(complaint: &Complaint) {
    match complaint {
        // Usual where both are started together.
        Complaint::Unpublished => tracing::info!("{complaint}"),
        Complaint::Gone { .. }
        | Complaint::Back { .. }
        | Complaint::TimedOut(_)
        | Complaint::Unreadable(_) => {
            tracing::error!("cannot follow the releases: {complaint}");
        }
    }
}
