//! Followers: whatever is kept in step with the releases by applying the difference between two of
//! them.
//!
//! Owns the durable cursor and the mirror of current documents at their own paths. A cursor names the
//! release a follower has reached and, while it works, the one it is applying: what was begun is
//! finished before anything newer, so a crash leaves nothing half old.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use edgepress_site::definition::Definition;
use edgepress_site::policy::{Policy, PolicyDigest};
use edgepress_site::release::codec::Reader;
use edgepress_site::release::diff::Entries;
use edgepress_site::release::pack::StoredPlace;
use edgepress_site::release::{Change, Diff, Entry, Index, Record};
use edgepress_site::version::Digest;
use edgepress_store::bucket::{self, Bucket, Headers, Put};
use edgepress_store::release::{Blocking, ReleaseError, Releases, cursor_key};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::Publisher;
use crate::codec;
use crate::error::PublishError;
use crate::sort::{Item, Sorter};

/// Documents that are mirrored together.
const BATCH: usize = 512;

/// Batches at work at the same time.
const BATCHES: usize = 2;

/// The follower that mirrors current documents.
pub const OBJECTS: &str = "objects";

/// A release, as a cursor names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// Its number.
    pub number: u64,
    /// Its root.
    pub root: Digest,
    /// Where its index lies.
    pub index: StoredPlace,
}

/// Where a follower stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The cursor's format.
    pub format: u32,
    /// Where it mirrors to, if that is another bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// The release it has reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<Reached>,
    /// The release it is applying, or was when it was cut off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applying: Option<Reached>,
}

impl Reached {
    fn of(record: &Record) -> Self {
        Self { number: record.number, root: record.root, index: record.index }
    }

    /// The index of this release.
    async fn index(&self, releases: &Releases) -> Result<Index, PublishError> {
        Ok(releases.index_at(&self.index, self.root).await?)
    }
}

impl Cursor {
    /// Where the objects' follower stands.
    ///
    /// # Errors
    /// The cursor cannot be read.
    pub async fn read(releases: &Releases) -> Result<Self, PublishError> {
        let key = cursor_key(OBJECTS);
        let Some(object) = releases.bucket().get(&key).await? else {
            return Ok(Self { format: 1, bucket: None, reached: None, applying: None });
        };
        serde_json::from_slice(&object.body).map_err(|source| PublishError::File {
            what: format!(
                "{key} in {} is not a cursor of this version of edgepress: remove it to mirror anew",
                releases.bucket().name()
            ),
            source: source.into(),
        })
    }

    /// The index of the release that was reached; empty before the first.
    async fn index(&self, releases: &Releases) -> Result<Index, PublishError> {
        match &self.reached {
            Some(reached) => reached.index(releases).await,
            None => Ok(Index::default()),
        }
    }

    async fn write(&self, releases: &Releases) -> Result<(), PublishError> {
        let body = serde_json::to_vec(self).expect("cursors always print as JSON");
        let headers =
            Headers { content_type: Some("application/json".into()), cache_control: Some("no-store".into()) };
        Ok(releases.bucket().put(Put { key: cursor_key(OBJECTS), body: body.into(), headers }).await?)
    }
}

/// Brings the mirror in `objects` to the release of `record`.
pub(crate) async fn follow(
    publisher: &Publisher,
    objects: &Arc<dyn Bucket>,
    record: &Record,
    index: &Index,
    site: &Definition,
) -> Result<(), PublishError> {
    let releases = &publisher.releases;
    let mut cursor = Cursor::read(releases).await?;
    let other = (objects.name() != releases.bucket().name()).then(|| objects.name().to_owned());
    if cursor.bucket != other {
        // Another bucket than before holds nothing of ours yet.
        cursor = Cursor { format: 1, bucket: other, reached: None, applying: None };
    }
    let mirror = Mirror { releases: releases.clone(), objects: objects.clone(), policies: policies(site) };
    let goal = Reached::of(record);
    if let Some(applying) = cursor.applying.take().filter(|applying| *applying != goal) {
        let begun = applying.index(releases).await?;
        mirror.apply(&cursor.index(releases).await?, &begun).await?;
        cursor.reached = Some(applying);
        cursor.write(releases).await?;
    }
    if cursor.reached.as_ref() == Some(&goal) {
        return Ok(());
    }
    if cursor.reached.as_ref().is_none_or(|reached| reached.root != goal.root) {
        cursor.applying = Some(goal.clone());
        cursor.write(releases).await?;
        mirror.apply(&cursor.index(releases).await?, index).await?;
    }
    cursor.reached = Some(goal);
    cursor.applying = None;
    cursor.write(releases).await
}

fn policies(site: &Definition) -> HashMap<PolicyDigest, Policy> {
    let documents = site.collections.iter().flat_map(|collection| &collection.documents);
    let policies = documents.map(|document| document.cache).chain([Policy::default()]);
    policies.map(|policy| (policy.digest(), policy)).collect()
}

/// Current documents at their own paths.
struct Mirror {
    releases: Releases,
    objects: Arc<dyn Bucket>,
    policies: HashMap<PolicyDigest, Policy>,
}

impl Mirror {
    /// Turns the documents of `old` into those of `new`: adds before it removes. May be repeated.
    async fn apply(&self, old: &Index, new: &Index) -> Result<(), PublishError> {
        let blocked = self.put(old, new).await?;
        self.remove(old, new).await?;
        for batch in blocked.chunks(BATCH) {
            let late = self.write(batch.to_vec()).await?;
            if let Some((_, error)) = late.into_iter().next() {
                return Err(error.into());
            }
        }
        Ok(self.objects.sync().await?)
    }

    /// Writes what `new` has and `old` does not. Documents that something still blocks, because a folder
    /// becomes a file or a file a folder, wait until that is removed.
    async fn put(&self, old: &Index, new: &Index) -> Result<Vec<Entry>, PublishError> {
        let batches = self.batches(old, new, |change| change.new);
        let writes = batches.map(|batch| async { self.write(batch?).await });
        let blocked: Vec<_> = writes.buffer_unordered(BATCHES).try_concat().await?;
        Ok(blocked.into_iter().map(|(entry, _)| entry).collect())
    }

    /// Writes a batch; gives back what was blocked.
    async fn write(&self, batch: Vec<Entry>) -> Result<Vec<(Entry, bucket::BucketError)>, PublishError> {
        let wanted: Vec<_> = batch.iter().map(|entry| (entry.place, entry.version, entry.size)).collect();
        let bodies: Vec<Bytes> = self.releases.bodies(&wanted).await?;
        let puts = batch.iter().zip(bodies).map(|(entry, body)| Put {
            key: key(entry).to_owned(),
            body,
            headers: Headers {
                content_type: Some(entry.media_type.clone()),
                cache_control: self.policies.get(&entry.policy).map(|policy| policy.cache_control().into()),
            },
        });
        let results = self.objects.put_many(puts.collect()).await;
        let mut blocked = Vec::new();
        for (entry, result) in batch.into_iter().zip(results) {
            match result {
                Ok(()) => {}
                Err(error) if error.kind == bucket::Kind::Blocked => blocked.push((entry, error)),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(blocked)
    }

    /// Removes what `old` has and `new` does not.
    async fn remove(&self, old: &Index, new: &Index) -> Result<(), PublishError> {
        let mut batches = std::pin::pin!(self.batches(old, new, |change| if change.new.is_none() {
            change.old
        } else {
            None
        }));
        while let Some(batch) = batches.next().await {
            let keys = batch?.iter().map(|entry| key(entry).to_owned()).collect();
            for result in self.objects.delete_many(keys).await {
                result?;
            }
        }
        Ok(())
    }

    /// What `pick` takes of each difference, in batches, in the order in which bodies lie in packs: so
    /// neighbours are read together. The difference is walked on a thread of its own.
    fn batches(
        &self,
        old: &Index,
        new: &Index,
        pick: fn(Change) -> Option<Entry>,
    ) -> impl stream::Stream<Item = Result<Vec<Entry>, PublishError>> + use<> {
        let (sender, receiver) = mpsc::channel(BATCHES);
        let (old, new, nodes) = (old.clone(), new.clone(), self.releases.blocking());
        tokio::task::spawn_blocking(move || {
            let send = |batch| sender.blocking_send(Ok(batch)).is_ok();
            if let Err(error) = walk(&old, &new, &nodes, pick, send) {
                // Whoever is gone needs no error.
                let _ = sender.blocking_send(Err(error));
            }
        });
        stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)))
    }
}

/// Hands what `pick` takes of each difference to `send`, until that says no.
fn walk(
    old: &Index,
    new: &Index,
    nodes: &Blocking,
    pick: fn(Change) -> Option<Entry>,
    mut send: impl FnMut(Vec<Entry>) -> bool,
) -> Result<(), PublishError> {
    let mut sorter = Sorter::new();
    for change in Diff::new(old, new, nodes) {
        if let Some(entry) = pick(change?) {
            sorter.push(Placed(entry))?;
        }
    }
    let mut batch = Vec::new();
    for placed in sorter.sorted()? {
        batch.push(placed?.0);
        if batch.len() == BATCH && !send(std::mem::take(&mut batch)) {
            return Ok(());
        }
    }
    if !batch.is_empty() {
        send(batch);
    }
    Ok(())
}

/// An entry, ordered by where its body lies.
struct Placed(Entry);

impl Item for Placed {
    fn put(&self, out: &mut Vec<u8>) {
        codec::put_entry(out, &self.0);
    }

    fn get(record: &[u8]) -> Result<Self, PublishError> {
        Ok(Self(codec::entry(&mut Reader::new(record))?))
    }
}

impl Ord for Placed {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.place.cmp(&other.0.place).then_with(|| self.0.path.cmp(&other.0.path))
    }
}

impl PartialOrd for Placed {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Placed {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Placed {}

/// The key of a document's own path.
pub(crate) fn key(entry: &Entry) -> &str {
    entry.path.strip_prefix('/').unwrap_or(&entry.path)
}

/// All documents of a release, as they are found.
pub(crate) fn entries(releases: &Releases, index: Index) -> mpsc::Receiver<Result<Entry, ReleaseError>> {
    let (sender, receiver) = mpsc::channel(BATCH);
    let nodes = releases.blocking();
    tokio::task::spawn_blocking(move || {
        for tree in index.collections.values() {
            for entry in Entries::new(Some(tree), &nodes) {
                let is_end = entry.is_err();
                if sender.blocking_send(entry).is_err() || is_end {
                    return;
                }
            }
        }
    });
    receiver
}
