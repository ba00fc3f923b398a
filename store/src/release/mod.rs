//! The release store: reads `current`, records, index nodes and bodies from a bucket.
//!
//! Owns the keys under `_edgepress/`, the cache of index nodes and the checking of every hash. Refuses
//! to decide what is released; it only swaps `current` when told to.

mod read;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use edgepress_site::release::dictionary::Dictionary;
use edgepress_site::release::node::Found;
use edgepress_site::release::sealed::SealError;
use edgepress_site::release::{Child, Current, Entry, Malformed, Node, Nodes};
use edgepress_site::version::Digest;
use quick_cache::sync::Cache;
use tokio::runtime::Handle;

use crate::bucket::{Bucket, BucketError, Headers, Kind, Put, Swap, Tag};

/// The one small mutable object that names the live release.
pub const CURRENT: &str = "_edgepress/current";

/// The lock of a bucket's publisher.
pub const LOCK: &str = "_edgepress/lock";

/// The key of a pack.
#[must_use]
pub fn pack_key(name: Digest) -> String {
    format!("_edgepress/packs/{name}")
}

/// The key of a follower's cursor.
#[must_use]
pub fn cursor_key(follower: &str) -> String {
    format!("_edgepress/cursors/{follower}")
}

/// A release could not be read or swapped.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The bucket failed.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// An object is not what its name or its hash says.
    #[error(
        "{object} in {bucket} is damaged ({}): restore it from a copy, or run `edgepress publish --full`; `edgepress verify` lists what is affected",
        .what.0
    )]
    Damaged {
        /// The bucket.
        bucket: String,
        /// The object's key.
        object: String,
        /// What is wrong.
        what: Malformed,
    },
    /// `current` cannot be believed.
    #[error("cannot read {CURRENT} in {bucket}")]
    Current {
        /// The bucket.
        bucket: String,
        /// Why.
        source: SealError,
    },
    /// There is no release with this number.
    #[error("there is no release {0}: `edgepress releases` lists them")]
    Unknown(u64),
    /// There is none at all.
    #[error("nothing was published to {bucket} yet: run `edgepress publish`")]
    None {
        /// The bucket.
        bucket: String,
    },
}

impl ReleaseError {
    /// The stored object that is missing or altered, and how; nothing if the bucket is out of reach.
    #[must_use]
    pub fn damage(&self) -> Option<(&str, String)> {
        match self {
            Self::Damaged { object, what, .. } => Some((object, what.0.to_owned())),
            Self::Current { source, .. } => Some((CURRENT, source.to_string())),
            Self::Bucket(error) if matches!(error.kind, Kind::NotFound | Kind::TooShort) => {
                Some((&error.object, error.message.clone()))
            }
            Self::Bucket(_) | Self::Unknown(_) | Self::None { .. } => None,
        }
    }
}

/// Something the format itself rules out, outside any object.
impl From<Malformed> for ReleaseError {
    fn from(what: Malformed) -> Self {
        Self::Damaged { bucket: String::new(), object: "a release".to_owned(), what }
    }
}

/// Node cache entries weigh what they take in memory.
#[derive(Clone)]
struct NodeWeight;

impl quick_cache::Weighter<(Digest, u64), Arc<Node>> for NodeWeight {
    fn weight(&self, _: &(Digest, u64), node: &Arc<Node>) -> u64 {
        let of_entry = |entry: &Entry| 240 + entry.path.len() + entry.previous.len() * 96;
        let of_child = |child: &Child| 140 + child.last.len();
        let bytes: usize = match &**node {
            Node::Leaf(entries) => entries.iter().map(of_entry).sum(),
            Node::Inner(children) => children.iter().map(of_child).sum(),
        };
        bytes as u64 + 128
    }
}

/// The releases in one bucket.
#[derive(Clone)]
pub struct Releases {
    bucket: Arc<dyn Bucket>,
    nodes: Arc<Cache<(Digest, u64), Arc<Node>, NodeWeight>>,
    /// Dictionaries by where they lie.
    dictionaries: Arc<Cache<(Digest, u64), Arc<Dictionary>>>,
    tail: Arc<Mutex<Option<Tail>>>,
}

/// What lies before the index that was read last: the nodes written with it, and often the definition.
struct Tail {
    pack: Digest,
    start: u64,
    bytes: Bytes,
}

/// Dictionaries in memory, of some 40 KiB each.
const DICTIONARIES: usize = 32;

impl Releases {
    /// The releases in `bucket`, keeping index nodes of up to `memory` bytes.
    #[must_use]
    pub fn new(bucket: Arc<dyn Bucket>, memory: u64) -> Self {
        let nodes = Cache::with_weighter((memory / 8_192) as usize, memory, NodeWeight);
        Self {
            bucket,
            nodes: Arc::new(nodes),
            dictionaries: Arc::new(Cache::new(DICTIONARIES)),
            tail: Arc::default(),
        }
    }

    /// The bucket.
    #[must_use]
    pub fn bucket(&self) -> &Arc<dyn Bucket> {
        &self.bucket
    }

    /// Bytes of index nodes in memory.
    #[must_use]
    pub fn node_bytes(&self) -> u64 {
        self.nodes.weight()
    }

    /// `current` and what names its content, or `None` where nothing was ever published.
    ///
    /// # Errors
    /// It cannot be read, or was altered.
    pub async fn current(&self) -> Result<Option<(Current, Tag)>, ReleaseError> {
        let Some(object) = self.bucket.get(CURRENT).await? else { return Ok(None) };
        let bucket = || self.bucket.name().to_owned();
        let current = Current::decode(&object.body)
            .map_err(|source| ReleaseError::Current { bucket: bucket(), source })?;
        Ok(Some((current, object.tag)))
    }

    /// Makes `new` current if `expected` still names what is there.
    ///
    /// # Errors
    /// The bucket failed; whether the swap took effect is then unknown.
    pub async fn swap(&self, expected: Option<&Tag>, new: &Current) -> Result<Swap, ReleaseError> {
        let put = Put {
            key: CURRENT.to_owned(),
            body: Bytes::from(new.encode()),
            headers: Headers {
                content_type: Some("text/plain; charset=utf-8".into()),
                cache_control: Some("no-store".into()),
            },
        };
        Ok(self.bucket.compare_and_set(expected, put).await?)
    }

    /// For the tree algorithms, which run on blocking threads: loads nodes by waiting for them.
    ///
    /// # Panics
    /// Outside an async runtime.
    #[must_use]
    pub fn blocking(&self) -> Blocking {
        Blocking { releases: self.clone(), runtime: Handle::current() }
    }
}

/// Loads nodes from a blocking thread. Must not be used from async code.
pub struct Blocking {
    releases: Releases,
    runtime: Handle,
}

impl Nodes for Blocking {
    type Error = ReleaseError;

    fn load(&self, child: &Child) -> Result<Arc<Node>, ReleaseError> {
        match self.releases.cached(child) {
            Some(node) => Ok(node),
            None => self.runtime.block_on(self.releases.node(child)),
        }
    }
}

impl Blocking {
    /// The entry of `path` in the tree under `root`.
    ///
    /// # Errors
    /// A node cannot be read.
    pub fn entry(&self, root: &Child, path: &str) -> Result<Option<Entry>, ReleaseError> {
        let mut child = root.clone();
        loop {
            let node = self.load(&child)?;
            child = match node.find(path) {
                Found::Entry(entry) => return Ok(Some(entry.clone())),
                Found::Nothing => return Ok(None),
                Found::Child(child) => child.clone(),
            };
        }
    }

    /// The first entry of the tree under `root` whose path is `path` or comes after it.
    ///
    /// # Errors
    /// A node cannot be read.
    pub fn first_from(&self, root: &Child, path: &str) -> Result<Option<Entry>, ReleaseError> {
        let mut child = root.clone();
        loop {
            let node = self.load(&child)?;
            child = match &*node {
                Node::Leaf(entries) => return Ok(entries.iter().find(|entry| &*entry.path >= path).cloned()),
                Node::Inner(children) => match children.iter().find(|child| &*child.last >= path) {
                    Some(child) => child.clone(),
                    None => return Ok(None),
                },
            };
        }
    }
}
