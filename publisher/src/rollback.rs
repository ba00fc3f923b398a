//! Rollback: an old root under a new number, at once and without an upload.

use std::collections::BTreeMap;
use std::time::Duration;

use edgepress_site::release::record::Counts;
use edgepress_site::release::{Diff, Index, State};
use edgepress_site::version::Digest;
use edgepress_store::release::Releases;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use crate::Publisher;
use crate::commit::{self, Next};
use crate::error::PublishError;
use crate::follower;
use crate::packs;
use crate::report::Report;

/// Packs that are checked at the same time.
const CHECKS: usize = 8;

/// Makes release `number` live again under a new number, and holds the site. Brings the
/// followers along until `wait` is over, or without one tries once.
///
/// # Errors
/// Nothing was released, unless the error is [`PublishError::Lagging`].
pub async fn rollback(
    publisher: &Publisher,
    number: u64,
    wait: Option<Duration>,
) -> Result<Report, PublishError> {
    let releases = &publisher.releases;
    let lock = publisher.lock().await?;
    let live = releases.current().await?;
    let Some((current, _)) = &live else {
        return Err(edgepress_store::release::ReleaseError::Unknown(number).into());
    };
    let target = releases.record(current, number).await?;
    let (old, index) = (releases.index(current.live()).await?, releases.index(&target).await?);
    // An origin must be able to serve it.
    releases.definition(&target).await?;
    let (counts, packs) = count(publisher, &old, &index).await?;
    whole(releases, packs).await?;
    let time = (publisher.clock)();
    let next = Next {
        root: target.root,
        index: target.index,
        definition: target.definition,
        counts,
        cause: format!("rollback to {number}"),
        state: State::Held,
        time,
        floor: time + 1_000,
        used: follower::used(releases).await?,
    };
    let mut archived = None;
    if commit::is_crowded(&live) {
        let mut packs = packs::Packs::new(Some(releases.bucket().clone()));
        let places = commit::archive(&mut packs.writer, &live);
        let (writer, _) = packs.finish().await?;
        archived = writer.last_closed().map(|pack| (places, pack));
    }
    let archived = archived.as_ref().map(|(places, pack)| (places, *pack));
    let new = commit::successor(&live, next, &publisher.writer, archived);
    let current = commit::swap(releases, &live, new).await?;
    drop(lock);
    publisher.follow(false, wait).await?;
    Ok(Report {
        release: current.live().number,
        root: current.live().root.to_string(),
        counts,
        released: true,
        ..Report::default()
    })
}

/// How far packs are in use.
type Packs = BTreeMap<Digest, u64>;

/// How `new` differs from `old`, and the packs that hold the bodies in which it does.
async fn count(publisher: &Publisher, old: &Index, new: &Index) -> Result<(Counts, Packs), PublishError> {
    let (old, new, nodes) = (old.clone(), new.clone(), publisher.releases.blocking());
    let job = move || {
        let mut counts = Counts { documents: new.documents(), ..Counts::default() };
        let mut packs = Packs::new();
        for change in Diff::new(&old, &new, &nodes) {
            let change = change?;
            if let Some(new) = &change.new {
                let (pack, range) = new.place.stored()?;
                let end = packs.entry(pack).or_default();
                *end = range.end.max(*end);
            }
            match (change.old, change.new) {
                (None, _) => counts.added += 1,
                (_, None) => counts.removed += 1,
                _ => counts.changed += 1,
            }
        }
        Ok((counts, packs))
    };
    tokio::task::spawn_blocking(job).await?
}

/// Checks that packs are there: `current` must not name what is not stored.
async fn whole(releases: &Releases, packs: Packs) -> Result<(), PublishError> {
    let checks = stream::iter(packs).map(|(pack, end)| releases.reaches(pack, end));
    checks.buffer_unordered(CHECKS).try_collect::<()>().await?;
    Ok(())
}
