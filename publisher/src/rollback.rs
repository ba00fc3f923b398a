//! Rollback: an old root under a new number, at once and without an upload.

use edgepress_site::release::record::Counts;
use edgepress_site::release::{Diff, Index, State};

use crate::Publisher;
use crate::commit::{self, Next};
use crate::error::PublishError;
use crate::packs::Packs;
use crate::publish::Report;

/// Makes release `number` live again under a new number, and holds the site.
///
/// # Errors
/// Nothing was released, unless the error is [`PublishError::Lagging`].
pub async fn rollback(publisher: &Publisher, number: u64) -> Result<Report, PublishError> {
    let releases = &publisher.releases;
    let _lock = publisher.lock().await?;
    let live = releases.current().await?;
    let Some((current, _)) = &live else {
        return Err(edgepress_store::release::ReleaseError::Unknown(number).into());
    };
    let target = releases.record(current, number).await?;
    let (old, index) = (releases.index(current.live()).await?, releases.index(&target).await?);
    let definition = releases.definition(&target).await?;
    let counts = count(publisher, &old, &index).await?;
    let time = (publisher.clock)();
    let next = Next {
        number: publisher.next_number(Some(current.live())).await?,
        root: target.root,
        index: target.index,
        definition: target.definition,
        counts,
        cause: format!("rollback to {number}"),
        state: State::Held,
        time,
        floor: time + 1_000,
    };
    let mut archived = None;
    if commit::is_crowded(&live) {
        let mut packs = Packs::new(Some(releases.bucket().clone()));
        let places = commit::archive(&mut packs.writer, &live);
        let (writer, _) = packs.finish().await?;
        archived = writer.last_closed().map(|pack| (places, pack));
    }
    let archived = archived.as_ref().map(|(places, pack)| (places, *pack));
    let new = commit::successor(&live, next, &publisher.writer, archived);
    let current = commit::swap(releases, &live, new).await?;
    publisher.follow(current.live(), &index, &definition.site).await?;
    Ok(Report {
        release: current.live().number,
        root: current.live().root.to_string(),
        counts,
        released: true,
        ..Report::default()
    })
}

/// How `new` differs from `old`.
async fn count(publisher: &Publisher, old: &Index, new: &Index) -> Result<Counts, PublishError> {
    let (old, new, nodes) = (old.clone(), new.clone(), publisher.releases.blocking());
    let job = move || {
        let mut counts = Counts { documents: new.documents(), ..Counts::default() };
        for change in Diff::new(&old, &new, &nodes) {
            let change = change?;
            match (change.old, change.new) {
                (None, _) => counts.added += 1,
                (_, None) => counts.removed += 1,
                _ => counts.changed += 1,
            }
        }
        Ok(counts)
    };
    tokio::task::spawn_blocking(job).await?
}
