//! Followers: whatever is kept in step with the releases by applying the difference between two of
//! them.
//!
//! Owns the durable cursor, the order of followers and their retries. A cursor names the release a
//! follower has reached and, while it works, the one it is applying: what was begun is finished before
//! anything newer, so a crash leaves nothing half old. Each follower has a lock of its own, so that none
//! holds up the publisher or another. Refuses to know what a follower does with the difference.

mod objects;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use edgepress_site::release::cursor::Reached;
use edgepress_site::release::definition::ReleaseDefinition;
use edgepress_site::release::diff::Entries;
use edgepress_site::release::sealed::SealError;
use edgepress_site::release::{Current, Cursor, Entry, Index};
use edgepress_store::bucket::{Headers, Put};
use edgepress_store::release::{ReleaseError, Releases, cursor_key};
use futures_util::future::join_all;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::Publisher;
use crate::error::{PublishError, whole};

pub use objects::OBJECTS;
pub(crate) use objects::{key, other};

use self::objects::{BATCH, Objects};

/// A follower that failed tries again after this long,
const RETRY: Duration = Duration::from_millis(100);

/// each time after twice as long, up to this.
const MAX_RETRY: Duration = Duration::from_secs(30);

/// So many characters of an error are kept in a cursor.
const MAX_ERROR: usize = 500;

/// How often a lock that another process holds is tried.
const LOCKED: Duration = Duration::from_millis(20);

/// Something that is kept in step with the releases.
#[async_trait]
pub(crate) trait Follower: Send + Sync {
    /// Names its cursor and its lock.
    fn name(&self) -> &'static str;

    /// Where it is, if its cursor is to be believed for one place only.
    fn place(&self) -> Option<String>;

    /// Followers (by name) that must have reached a release before this one may apply it.
    fn after(&self) -> &'static [&'static str] {
        &[]
    }

    /// Turns what lies there from `old` to the goal; may be repeated.
    async fn apply(&self, old: &Index, goal: &Goal) -> Result<(), PublishError>;

    /// Makes everything anew. `old` is what lies there, if that is known.
    async fn make(&self, old: Option<&Index>, goal: &Goal) -> Result<(), PublishError>;
}

/// A release that a follower is brought to.
pub(crate) struct Goal {
    pub(crate) current: Current,
    pub(crate) index: Index,
    pub(crate) definition: ReleaseDefinition,
}

/// How a follower stands.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Standing {
    /// The follower.
    pub follower: &'static str,
    /// The release it has reached; 0 for none.
    pub reached: u64,
    /// How many releases came since.
    pub behind: u64,
    /// Why it is still behind, if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Where a follower stands; the inner error says that the cursor cannot be believed.
pub(crate) async fn read(
    releases: &Releases,
    follower: &str,
) -> Result<Result<Cursor, SealError>, PublishError> {
    let object = releases.bucket().get(&cursor_key(follower)).await?;
    Ok(object.map_or_else(|| Ok(Cursor::default()), |object| Cursor::decode(&object.body)))
}

/// The greatest release number that a cursor names: numbers are not used twice, even where `current` was
/// lost.
pub(crate) async fn used(releases: &Releases) -> Result<u64, PublishError> {
    // One that was altered names none.
    Ok(read(releases, OBJECTS).await?.map_or(0, |cursor| cursor.number()))
}

async fn write(cursor: &Cursor, releases: &Releases, follower: &str) -> Result<(), PublishError> {
    let headers = Headers {
        content_type: Some("text/plain; charset=utf-8".into()),
        cache_control: Some("no-store".into()),
    };
    let put = Put { key: cursor_key(follower), body: cursor.encode().into(), headers };
    Ok(releases.bucket().put(put).await?)
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
        "a follower is brought along anew, as what it held cannot be told: {what}"
    );
    Ok(None)
}

/// Brings a follower to the live release, and says which that was. `anew`: makes everything, whatever the
/// cursor says.
async fn advance(releases: &Releases, follower: &dyn Follower, anew: bool) -> Result<u64, PublishError> {
    let Some((current, _)) = releases.current().await? else { return Ok(0) };
    let goal = Reached::of(current.live());
    let mut cursor = believed(releases, follower, anew).await?;
    let failed = cursor.error.take().is_some();
    if cursor.reached.as_ref() == Some(&goal) && cursor.applying.is_none() && !anew {
        if failed {
            write(&cursor, releases, follower.name()).await?;
        }
        return Ok(goal.number);
    }
    // Whoever made all of the release anew that was reached already was cut off.
    let anew = anew || cursor.reached.as_ref() == Some(&goal) && cursor.applying.as_ref() == Some(&goal);
    let name = follower.name();
    let definition = releases.definition(current.live()).await?;
    let new = Goal { index: releases.index(current.live()).await?, definition, current };
    // What lies there, if that is known.
    let mut old = match &cursor.reached {
        Some(reached) => index(releases, reached).await?,
        None if new.current.live().parent == 0 => Some(Index::default()),
        None => None,
    };
    if let Some(applying) = cursor.applying.take().filter(|applying| *applying != goal)
        && let Some(reached) = old.take()
    {
        old = index(releases, &applying).await?;
        if let Some(begun) = old.take() {
            let begun =
                Goal { index: begun, definition: new.definition.clone(), current: new.current.clone() };
            follower.apply(&reached, &begun).await?;
            cursor.reached = Some(applying);
            write(&cursor, releases, name).await?;
            old = Some(begun.index);
        }
    }
    if cursor.reached.as_ref() == Some(&goal) && old.is_some() && !anew {
        return Ok(goal.number);
    }
    if anew || old.as_ref().is_none_or(|old| old.root() != goal.root) {
        cursor.reached.take_if(|_| old.is_none());
        cursor.applying = Some(goal.clone());
        write(&cursor, releases, name).await?;
        match &old {
            Some(old) if !anew => follower.apply(old, &new).await?,
            old => follower.make(old.as_ref(), &new).await?,
        }
    }
    let number = goal.number;
    cursor.reached = Some(goal);
    cursor.applying = None;
    write(&cursor, releases, name).await?;
    Ok(number)
}

/// A follower's cursor, or a new one where that is of another place or was altered.
async fn believed(releases: &Releases, follower: &dyn Follower, anew: bool) -> Result<Cursor, PublishError> {
    let (name, bucket) = (follower.name(), follower.place());
    match read(releases, name).await? {
        Ok(cursor) if cursor.bucket == bucket => Ok(cursor),
        Ok(_) => Ok(Cursor { bucket, ..Cursor::default() }),
        Err(error @ SealError::Later(_)) if !anew => {
            let what = format!("{} in {}", cursor_key(name), releases.bucket().name());
            Err(PublishError::File { what, source: std::io::Error::other(error) })
        }
        Err(error) => {
            tracing::warn!(
                follower = name,
                "it is brought along anew, as its cursor cannot be believed: {error}"
            );
            Ok(Cursor { bucket, ..Cursor::default() })
        }
    }
}

/// Brings a follower to the live release while nobody else does, after those it has to wait for.
async fn step(releases: &Releases, follower: &dyn Follower, anew: bool) -> Result<u64, PublishError> {
    let _lock = loop {
        if let Some(lock) = releases.bucket().try_lock(&lock_key(follower.name())).await? {
            break lock;
        }
        tokio::time::sleep(LOCKED).await;
    };
    for earlier in follower.after() {
        let reached = read(releases, earlier).await?.ok().and_then(|cursor| cursor.reached);
        let live = releases.current().await?.map_or(0, |(current, _)| current.live().number);
        if reached.map_or(0, |reached| reached.number) < live {
            return Err(PublishError::Task(format!("it waits for `{earlier}`")));
        }
    }
    let advanced = advance(releases, follower, anew).await;
    if let Err(error) = &advanced {
        remember(&whole(error), releases, follower.name()).await;
    }
    advanced
}

/// Notes in the cursor why a follower failed, where others can read it. That may fail for the same reason.
async fn remember(error: &str, releases: &Releases, follower: &str) {
    let error: String = error.chars().take(MAX_ERROR).collect();
    if let Ok(Ok(mut cursor)) = read(releases, follower).await
        && cursor.error.as_ref() != Some(&error)
    {
        cursor.error = Some(error);
        let _ = write(&cursor, releases, follower).await;
    }
}

fn lock_key(follower: &str) -> String {
    format!("_edgepress/lock-{follower}")
}

impl Publisher {
    /// All followers of the site.
    pub(crate) fn followers(&self) -> Vec<Arc<dyn Follower>> {
        let objects = self.objects.iter().map(|objects| {
            let (releases, objects) = (self.releases.clone(), objects.clone());
            Arc::new(Objects { releases, objects }) as Arc<dyn Follower>
        });
        objects.collect()
    }

    /// Brings all followers to the live release, each on its own; tries again until `wait` is over, or
    /// without one tries once. `anew`: makes everything, whatever the cursors say.
    ///
    /// # Errors
    /// [`PublishError::Lagging`] names one that is still behind.
    pub async fn follow(&self, anew: bool, wait: Option<Duration>) -> Result<(), PublishError> {
        let followers = self.followers();
        let all = followers.iter().map(|follower| async move {
            let stepped = match wait {
                None => step(&self.releases, &**follower, anew).await.map(drop),
                Some(wait) => self.follow_until(&**follower, anew, Instant::now() + wait).await,
            };
            match stepped {
                Ok(()) => Ok(()),
                Err(source) => Err(self.lagging(follower.name(), source).await),
            }
        });
        join_all(all).await.into_iter().collect()
    }

    /// Brings one follower along, however often that fails before the deadline.
    async fn follow_until(
        &self,
        follower: &dyn Follower,
        anew: bool,
        deadline: Instant,
    ) -> Result<(), PublishError> {
        let mut pause = RETRY;
        let mut last = None;
        loop {
            match tokio::time::timeout_at(deadline, step(&self.releases, follower, anew)).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => last = Some(error),
                Err(_) => {
                    let late = || PublishError::Waited;
                    return Err(last.unwrap_or_else(late));
                }
            }
            tokio::time::sleep_until(deadline.min(Instant::now() + pause)).await;
            pause = (pause * 2).min(MAX_RETRY);
        }
    }

    async fn lagging(&self, follower: &'static str, source: PublishError) -> PublishError {
        let reached = read(&self.releases, follower).await.ok().and_then(Result::ok);
        let live = self.releases.current().await.ok().flatten();
        PublishError::Lagging {
            release: live.map_or(0, |(current, _)| current.live().number),
            follower,
            reached: reached.and_then(|cursor| cursor.reached).map_or(0, |reached| reached.number),
            source: Box::new(source),
        }
    }

    /// How the followers stand, as their cursors say.
    ///
    /// # Errors
    /// The bucket cannot be read.
    pub async fn standings(&self) -> Result<Vec<Standing>, PublishError> {
        let live = self.releases.current().await?.map(|(current, _)| current);
        let mut standings = Vec::new();
        for follower in self.followers() {
            let cursor = read(&self.releases, follower.name()).await?;
            let (reached, error) = match cursor {
                Ok(cursor) => (cursor.reached, cursor.error),
                Err(error) => (None, Some(error.to_string())),
            };
            let reached = reached.map_or(0, |reached| reached.number);
            let behind = live.as_ref().map_or(0, |live| live.live().number.saturating_sub(reached));
            standings.push(Standing { follower: follower.name(), reached, behind, error });
        }
        Ok(standings)
    }
}

/// Keeps a follower in step until `released`, which tells of every release, is dropped; whatever fails is
/// tried again. `tell` is told how it stands whenever that changes.
pub(crate) async fn keep(
    releases: Releases,
    follower: Arc<dyn Follower>,
    mut released: watch::Receiver<u64>,
    tell: impl Fn(Standing),
) {
    let mut pause = RETRY;
    let mut reached = 0;
    loop {
        let goal = *released.borrow_and_update();
        let error = match step(&releases, &*follower, false).await {
            Ok(number) => {
                (reached, pause) = (number, RETRY);
                None
            }
            Err(error) => Some(whole(&error)),
        };
        let failed = error.is_some();
        tell(Standing { follower: follower.name(), reached, behind: goal.saturating_sub(reached), error });
        if failed {
            // A new release is no reason to hammer what is broken.
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = closed(&released) => return,
            }
            pause = (pause * 2).min(MAX_RETRY);
        } else if released.changed().await.is_err() {
            return;
        }
    }
}

async fn closed(released: &watch::Receiver<u64>) {
    let mut released = released.clone();
    while released.changed().await.is_ok() {}
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
