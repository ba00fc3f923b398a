//! The last steps of every release: archive waiting records, swap `current`.

use std::collections::BTreeMap;

use edgepress_site::release::current::MAX_RECORDS;
use edgepress_site::release::pack::StoredPlace;
use edgepress_site::release::record::{Counts, Named, Skip};
use edgepress_site::release::{Current, Kind, Malformed, PackWriter, Place, Record, State};
use edgepress_site::version::Digest;
use edgepress_store::bucket::{Swap, Tag};
use edgepress_store::release::Releases;

use crate::error::PublishError;

/// What the live release was when the publisher began.
pub(crate) type Live = Option<(Current, Tag)>;

/// A release about to be committed.
pub(crate) struct Next {
    pub(crate) root: Digest,
    pub(crate) index: StoredPlace,
    pub(crate) definition: Named,
    pub(crate) counts: Counts,
    pub(crate) cause: String,
    pub(crate) state: State,
    /// Milliseconds since 1970.
    pub(crate) time: u64,
    /// Milliseconds since 1970.
    pub(crate) floor: u64,
    /// Numbers up to this one were given away, even if `current` no longer says so.
    pub(crate) used: u64,
}

/// Records that were written into the open pack: number to place, as that pack itself writes it.
pub(crate) type Archived = BTreeMap<u64, StoredPlace>;

/// Writes the records that wait in `current` into the open pack, oldest first.
pub(crate) fn archive(writer: &mut PackWriter, live: &Live) -> Archived {
    let mut archived = Archived::new();
    for record in live.iter().flat_map(|(current, _)| current.records.iter().rev()) {
        let mut record = record.clone();
        for skip in &mut record.skips {
            skip.place = skip.place.or_else(|| archived.get(&skip.number).copied());
        }
        let place = writer.append(Kind::Record, &record.encode());
        archived
            .insert(record.number, StoredPlace { pack: None, offset: place.offset, length: place.length });
    }
    archived
}

/// Whether `current` has no room for one more record.
pub(crate) fn is_crowded(live: &Live) -> bool {
    live.as_ref().is_some_and(|(current, _)| current.records.len() >= MAX_RECORDS)
}

/// A place as `current` writes it.
pub(crate) fn stored(writer: &PackWriter, place: Place) -> Result<StoredPlace, Malformed> {
    let pack = writer.pack_name(place.pack).ok_or(Malformed("a place in a pack that is still open"))?;
    Ok(StoredPlace { pack: Some(pack), offset: place.offset, length: place.length })
}

/// The `current` that makes `next` live. `archived` are the waiting records that the pack called `pack`
/// holds; without them they go on waiting in `current`.
pub(crate) fn successor(
    live: &Live,
    next: Next,
    writer: &str,
    archived: Option<(&Archived, Digest)>,
) -> Current {
    let before = live.as_ref().map(|(current, _)| current.live());
    let mut skips: Vec<Skip> = before.map_or_else(Vec::new, Record::skips_of_next);
    if let Some((archived, pack)) = archived {
        for skip in skips.iter_mut().filter(|skip| skip.place.is_none()) {
            let place = archived.get(&skip.number);
            skip.place = place.map(|place| StoredPlace { pack: Some(pack), ..*place });
        }
    }
    let number = before.map_or(0, |before| before.number).max(next.used) + 1;
    let record = Record {
        number,
        ordinal: before.map_or(0, |before| before.ordinal + 1),
        root: next.root,
        index: next.index,
        definition: next.definition,
        parent: before.map_or(0, |before| before.number),
        writer: format!("{writer}-{number}"),
        time: next.time,
        cause: next.cause,
        counts: next.counts,
        state: next.state,
        floor: next.floor,
        skips,
    };
    let waiting = match archived {
        Some(_) => &[],
        None => live.as_ref().map_or(&[][..], |(current, _)| &current.records),
    };
    Current { records: std::iter::once(record).chain(waiting.iter().cloned()).collect() }
}

/// Makes `new` current, if what was live when the publisher began still is.
pub(crate) async fn swap(releases: &Releases, live: &Live, new: Current) -> Result<Current, PublishError> {
    let swapped = releases.swap(live.as_ref().map(|(_, tag)| tag), &new).await;
    if let Ok(Swap::Done(_)) = swapped {
        return Ok(new);
    }
    // A lost reply looks like a failure or a lost race: what lies there now, or has followed, decides.
    let number = new.live().number;
    let Some((now, _)) = releases.current().await? else {
        return Err(swapped.err().map_or(PublishError::Lost(0), PublishError::from));
    };
    match releases.record(&now, number).await {
        Ok(record) if record.writer == new.live().writer => Ok(new),
        _ => Err(swapped.err().map_or(PublishError::Lost(now.live().number), PublishError::from)),
    }
}
