//! The mirror: current documents at their own paths.
//!
//! Owns how they are written and removed: adds before removals, neighbours read together. Refuses to know
//! from which release to which; the cursor says.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use edgepress_site::definition::Definition;
use edgepress_site::policy::{Policy, PolicyDigest};
use edgepress_site::release::codec::Reader;
use edgepress_site::release::definition::ReleaseDefinition;
use edgepress_site::release::{Change, Current, Diff, Entry, Index};
use edgepress_store::bucket::{self, Bucket, Headers, Put};
use edgepress_store::release::{Blocking, Releases};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::sync::mpsc;

use super::{Follower, Goal};
use crate::codec;
use crate::error::PublishError;
use crate::sort::{Item, Sorter};

/// Documents that are mirrored together.
pub(super) const BATCH: usize = 512;

/// Batches at work at the same time.
const BATCHES: usize = 2;

/// The follower that mirrors current documents.
pub const OBJECTS: &str = "objects";

/// The mirror in one bucket.
pub(crate) struct Objects {
    pub(crate) releases: Releases,
    pub(crate) objects: Arc<dyn Bucket>,
}

/// A mirror's bucket as a cursor names it: only if it is not the releases' own.
pub(crate) fn other(releases: &Releases, objects: &dyn Bucket) -> Option<String> {
    (objects.name() != releases.bucket().name()).then(|| objects.name().to_owned())
}

impl Objects {
    fn mirror(&self, definition: &ReleaseDefinition) -> Mirror {
        Mirror {
            releases: self.releases.clone(),
            objects: self.objects.clone(),
            policies: policies(&definition.site),
        }
    }
}

#[async_trait]
impl Follower for Objects {
    fn name(&self) -> &'static str {
        OBJECTS
    }

    fn place(&self) -> Option<String> {
        other(&self.releases, &*self.objects)
    }

    async fn apply(&self, old: &Index, goal: &Goal) -> Result<(), PublishError> {
        self.mirror(&goal.definition).apply(old, &goal.index).await
    }

    async fn make(&self, old: Option<&Index>, goal: &Goal) -> Result<(), PublishError> {
        self.mirror(&goal.definition).make(old, &goal.current, &goal.index).await
    }
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
        self.finish(&blocked).await
    }

    /// Writes every document of `new`, and removes what `old` or else any earlier release left behind.
    async fn make(&self, old: Option<&Index>, current: &Current, new: &Index) -> Result<(), PublishError> {
        let blocked = self.put(&Index::default(), new).await?;
        match old {
            Some(old) => self.remove(old, new).await?,
            None => self.sweep(current, new).await?,
        }
        self.finish(&blocked).await
    }

    /// Removes whatever earlier releases had and `new` does not, as far back as they can be read.
    async fn sweep(&self, current: &Current, new: &Index) -> Result<(), PublishError> {
        let mut record = current.live().clone();
        let mut swept = BTreeSet::from([record.root]);
        while record.parent != 0 {
            let before = async {
                let before = self.releases.record_before(current, &record).await?;
                let index = self.releases.index(&before).await?;
                Ok::<_, PublishError>((before, index))
            };
            let removed = match before.await {
                Ok((before, _)) if !swept.insert(before.root) => Ok(before),
                Ok((before, index)) => self.remove(&index, new).await.map(|()| before),
                Err(error) => Err(error),
            };
            match removed {
                Ok(before) => record = before,
                Err(error) => {
                    let PublishError::Release(damaged) = &error else { return Err(error) };
                    let Some((object, what)) = damaged.damage() else { return Err(error) };
                    let release = record.parent;
                    tracing::warn!(
                        release,
                        object,
                        "what this and earlier releases left in the mirror may stay: {what}"
                    );
                    break;
                }
            }
        }
        Ok(())
    }

    /// Writes what was blocked, and makes everything durable.
    async fn finish(&self, blocked: &[Entry]) -> Result<(), PublishError> {
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
