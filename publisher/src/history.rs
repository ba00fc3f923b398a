//! Looking back: the list of releases, the difference of two. Refuses to change anything.

use edgepress_site::release::{Diff, Record};
use edgepress_store::release::Releases;
use tokio::sync::mpsc;

use crate::error::PublishError;
use crate::plan::Difference;

/// The latest `limit` releases, newest first.
///
/// # Errors
/// A record cannot be read.
pub async fn releases(releases: &Releases, limit: usize) -> Result<Vec<Record>, PublishError> {
    let Some((current, _)) = releases.current().await? else { return Ok(Vec::new()) };
    let mut records = vec![current.live().clone()];
    while records.len() < limit {
        let last = records.last().expect("the live release is there");
        if last.parent == 0 {
            break;
        }
        // The parent is always the nearest pointer of a record.
        records.push(releases.record_before(&current, last).await?);
    }
    Ok(records)
}

/// The documents that differ between the releases `a` and `b`, in order of path, as they are found.
///
/// # Errors
/// There is no such release, or it cannot be read.
pub async fn diff(
    releases: &Releases,
    a: u64,
    b: u64,
) -> Result<mpsc::Receiver<Result<Difference, PublishError>>, PublishError> {
    let Some((current, _)) = releases.current().await? else {
        return Err(edgepress_store::release::ReleaseError::Unknown(a).into());
    };
    let (old, new) = (releases.record(&current, a).await?, releases.record(&current, b).await?);
    let (old, new) = (releases.index(&old).await?, releases.index(&new).await?);
    let (sender, receiver) = mpsc::channel(256);
    let nodes = releases.blocking();
    tokio::task::spawn_blocking(move || {
        for change in Diff::new(&old, &new, &nodes) {
            let difference = change.map(|change| Difference::new(&change)).map_err(PublishError::from);
            let is_end = difference.is_err();
            if sender.blocking_send(difference).is_err() || is_end {
                return;
            }
        }
    });
    Ok(receiver)
}
