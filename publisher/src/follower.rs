//! Followers: whatever is kept in step with the releases by applying the difference between two of
//! them.
//!
//! Owns the durable cursor and the mirror of current documents at their own paths. A cursor names the
//! release a follower has reached and, while it works, the one it is applying: what was begun is
//! finished before anything newer, so a crash leaves nothing half old.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use edgepress_site::definition::Definition;
use edgepress_site::policy::{Policy, PolicyDigest};
use edgepress_site::release::codec::Reader;
use edgepress_site::release::cursor::Reached;
use edgepress_site::release::diff::Entries;
use edgepress_site::release::sealed::SealError;
use edgepress_site::release::{Change, Current, Cursor, Diff, Entry, Index};
use edgepress_store::bucket::{self, Bucket, Headers, Put};
use edgepress_store::release::{Blocking, ReleaseError, Releases, cursor_key};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
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

/// Where the objects' follower stands; the inner error says that the cursor cannot be believed.
pub(crate) async fn read(releases: &Releases) -> Result<Result<Cursor, SealError>, PublishError> {
    let object = releases.bucket().get(&cursor_key(OBJECTS)).await?;
    Ok(object.map_or_else(|| Ok(Cursor::default()), |object| Cursor::decode(&object.body)))
}

/// The greatest release number that the cursor names: numbers are not used twice, even where `current`
/// was lost.
pub(crate) async fn used(releases: &Releases) -> Result<u64, PublishError> {
    Ok(read(releases).await?.map_or(0, |cursor| cursor.number()))
}

async fn write(cursor: &Cursor, releases: &Releases) -> Result<(), PublishError> {
    let headers = Headers {
        content_type: Some("text/plain; charset=utf-8".into()),
        cache_control: Some("no-store".into()),
    };
    let put = Put { key: cursor_key(OBJECTS), body: cursor.encode().into(), headers };
    Ok(releases.bucket().put(put).await?)
}

/// The mirror's bucket as a cursor names it: only if it is not the releases' own.
pub(crate) fn other(releases: &Releases, objects: &dyn Bucket) -> Option<String> {
    (objects.name() != releases.bucket().name()).then(|| objects.name().to_owned())
}

/// The index of a release that a cursor names, or `None` if it cannot be believed.
async fn index(releases: &Releases, named: &Reached) -> Result<Option<Index>, PublishError> {
    let error = match releases.index_at(&named.index, named.root).await {
        Ok(index) => return Ok(Some(index)),
        Err(error) => error,
    };
    let Some((object, what)) = error.damage() else { return Err(error.into()) };
    tracing::warn!(
        release = named.number,
        object,
        "the mirror is made anew, as what it held cannot be told: {what}"
    );
    Ok(None)
}

/// Brings the mirror in `objects` to the live release. `anew`: writes every object, whatever the cursor
/// says.
pub(crate) async fn follow(
    publisher: &Publisher,
    objects: &Arc<dyn Bucket>,
    (current, new): (&Current, &Index),
    site: &Definition,
    anew: bool,
) -> Result<(), PublishError> {
    let releases = &publisher.releases;
    let bucket = other(releases, objects);
    let mut cursor = match read(releases).await? {
        Ok(cursor) if cursor.bucket == bucket => cursor,
        Ok(_) => Cursor { bucket, ..Cursor::default() },
        Err(error @ SealError::Later(_)) if !anew => {
            let what = format!("{} in {}", cursor_key(OBJECTS), releases.bucket().name());
            return Err(PublishError::File { what, source: std::io::Error::other(error) });
        }
        Err(error) => {
            tracing::warn!("the mirror is made anew, as its cursor cannot be believed: {error}");
            Cursor { bucket, ..Cursor::default() }
        }
    };
    let mirror = Mirror { releases: releases.clone(), objects: objects.clone(), policies: policies(site) };
    // What lies in the mirror, if that is known.
    let mut old = match &cursor.reached {
        Some(reached) => index(releases, reached).await?,
        None if current.live().parent == 0 => Some(Index::default()),
        None => None,
    };
    let goal = Reached::of(current.live());
    if let Some(applying) = cursor.applying.take().filter(|applying| *applying != goal)
        && let Some(reached) = old.take()
    {
        old = index(releases, &applying).await?;
        if let Some(begun) = &old {
            mirror.apply(&reached, begun).await?;
            cursor.reached = Some(applying);
            write(&cursor, releases).await?;
        }
    }
    if cursor.reached.as_ref() == Some(&goal) && old.is_some() && !anew {
        return Ok(());
    }
    if anew || old.as_ref().is_none_or(|old| old.root() != goal.root) {
        cursor.reached.take_if(|_| old.is_none());
        cursor.applying = Some(goal.clone());
        write(&cursor, releases).await?;
        match &old {
            Some(old) if !anew => mirror.apply(old, new).await?,
            old => mirror.make(old.as_ref(), current, new).await?,
        }
    }
    cursor.reached = Some(goal);
    cursor.applying = None;
    write(&cursor, releases).await
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
