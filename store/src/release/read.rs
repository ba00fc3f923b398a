//! Reading frames: index, records, definition, nodes, bodies. Every hash is checked here.

use std::ops::Range;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use edgepress_site::release::definition::ReleaseDefinition;
use edgepress_site::release::dictionary::Dictionary;
use edgepress_site::release::node::Found;
use edgepress_site::release::pack::{self, StoredPlace};
use edgepress_site::release::record::Skip;
use edgepress_site::release::{Child, Current, Entry, Index, Kind, Malformed, Node, Pack, Place, Record};
use edgepress_site::version::{Digest, Version};

use super::{CURRENT, ReleaseError, Releases, Tail, pack_key};
use crate::bucket;

/// Frames at most this far apart are read in one request: a request costs more than so many bytes.
const GAP: u64 = 64 << 10;

/// One request reads at most so many bytes.
const READ: u64 = 4 << 20;

/// So many bytes before an index are read with it. In a full publish of 80,000 documents this holds all
/// nodes above the leaves.
const TAIL: u64 = 128 << 10;

impl Releases {
    /// The index of a release.
    ///
    /// # Errors
    /// It cannot be read, or is damaged.
    pub async fn index(&self, record: &Record) -> Result<Index, ReleaseError> {
        self.index_at(&record.index, record.root).await
    }

    /// The index called `root`, which lies at `place`.
    ///
    /// # Errors
    /// It cannot be read, or is damaged.
    pub async fn index_at(&self, place: &StoredPlace, root: Digest) -> Result<Index, ReleaseError> {
        let place = self.resolve(place)?;
        self.read_tail(&place).await?;
        let (pack, content) = self.content(Kind::Index, &place).await?;
        Index::decode(&content, pack, root).map_err(|what| self.damaged(pack_key(pack), what))
    }

    /// The definition a release was made with.
    ///
    /// # Errors
    /// It cannot be read, or is damaged.
    pub async fn definition(&self, record: &Record) -> Result<ReleaseDefinition, ReleaseError> {
        let place = self.resolve(&record.definition.place)?;
        let (pack, content) = self.content(Kind::Definition, &place).await?;
        ReleaseDefinition::decode(&content, record.definition.hash)
            .map_err(|what| self.damaged(pack_key(pack), what))
    }

    /// The record of release `number`.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub async fn record(&self, current: &Current, number: u64) -> Result<Record, ReleaseError> {
        let mut record = current.live().clone();
        while record.number != number {
            let skip = record.toward(number).filter(|_| record.number > number);
            record = self.skip(current, *skip.ok_or(ReleaseError::Unknown(number))?).await?;
        }
        Ok(record)
    }

    /// The record of the release before `record`, which must not be the first.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn record_before(&self, current: &Current, record: &Record) -> Result<Record, ReleaseError> {
        let nearest = record.skips.first().ok_or(ReleaseError::Unknown(record.parent))?;
        self.skip(current, *nearest).await
    }

    /// The record that a pointer leads to. Records have no hash, so one that another pack put at this
    /// place is told by its number: without that, following pointers might never end.
    async fn skip(&self, current: &Current, skip: Skip) -> Result<Record, ReleaseError> {
        if let Some(waiting) = current.records.iter().find(|record| record.number == skip.number) {
            return Ok(waiting.clone());
        }
        let Some(place) = &skip.place else {
            let what = Malformed("a record points to one that is nowhere");
            return Err(self.damaged(CURRENT.to_owned(), what));
        };
        let (pack, content) = self.content(Kind::Record, &self.resolve(place)?).await?;
        let record = Record::decode(&content, pack).map_err(|what| self.damaged(pack_key(pack), what))?;
        if (record.number, record.ordinal) != (skip.number, skip.ordinal) {
            return Err(self.damaged(pack_key(pack), Malformed("a record is not the one that was named")));
        }
        Ok(record)
    }

    /// The node, if it is in memory.
    #[must_use]
    pub fn cached(&self, child: &Child) -> Option<Arc<Node>> {
        let (pack, range) = child.place.stored().ok()?;
        self.nodes.get(&(pack, range.start))
    }

    /// An index node.
    ///
    /// # Errors
    /// It cannot be read, or is not the one that was named.
    pub async fn node(&self, child: &Child) -> Result<Arc<Node>, ReleaseError> {
        let (pack, range) = child.place.stored()?;
        let read = async {
            let (_, content) = self.content(Kind::Node, &child.place).await?;
            let node =
                Node::decode(&content, pack, child).map_err(|what| self.damaged(pack_key(pack), what))?;
            Ok(Arc::new(node))
        };
        self.nodes.get_or_insert_async(&(pack, range.start), read).await
    }

    /// The entry of `path` in the tree under `root`.
    ///
    /// # Errors
    /// A node cannot be read.
    pub async fn entry(&self, root: &Child, path: &str) -> Result<Option<Entry>, ReleaseError> {
        let mut child = root.clone();
        loop {
            let node = match self.cached(&child) {
                Some(node) => node,
                None => self.node(&child).await?,
            };
            child = match node.find(path) {
                Found::Entry(entry) => return Ok(Some(entry.clone())),
                Found::Nothing => return Ok(None),
                Found::Child(child) => child.clone(),
            };
        }
    }

    /// A document's body.
    ///
    /// # Errors
    /// It cannot be read, or does not have this version.
    pub async fn body(&self, place: &Place, version: Version, size: u64) -> Result<Bytes, ReleaseError> {
        let (pack, range) = place.stored()?;
        let frame = self.range(pack, range).await?;
        self.decode_body(pack, &frame, version, size).await
    }

    /// Many bodies, neighbours in one request; in the order asked for.
    ///
    /// # Errors
    /// One of them cannot be read, or does not have its version.
    pub async fn bodies(&self, wanted: &[(Place, Version, u64)]) -> Result<Vec<Bytes>, ReleaseError> {
        let mut order: Vec<usize> = (0..wanted.len()).collect();
        order.sort_by_key(|number| wanted[*number].0);
        let mut bodies = vec![Bytes::new(); wanted.len()];
        let mut rest = &order[..];
        while let Some(first) = rest.first() {
            let (pack, mut range) = wanted[*first].0.stored()?;
            let mut count = 1;
            for number in &rest[1..] {
                let (next_pack, next) = wanted[*number].0.stored()?;
                if next_pack != pack
                    || next.start > range.end + GAP
                    || next.end.max(range.end) - range.start > READ
                {
                    break;
                }
                range.end = range.end.max(next.end);
                count += 1;
            }
            let (now, later) = rest.split_at(count);
            let bytes = self.range(pack, range.clone()).await?;
            for number in now {
                let (place, version, size) = &wanted[*number];
                let within = within(&range, place);
                bodies[*number] = self.decode_body(pack, &bytes[within], *version, *size).await?;
            }
            rest = later;
        }
        Ok(bodies)
    }

    async fn decode_body(
        &self,
        pack: Digest,
        frame: &[u8],
        version: Version,
        size: u64,
    ) -> Result<Bytes, ReleaseError> {
        let damaged = |what| self.damaged(pack_key(pack), what);
        let dictionary = match pack::dictionary_of(Pack::Named(pack), frame).map_err(damaged)? {
            Some(place) => Some(self.dictionary(&place).await?),
            None => None,
        };
        let body = pack::body(frame, dictionary.as_deref()).map_err(damaged)?;
        if body.len() as u64 != size || Version::of(&body) != version {
            return Err(damaged(Malformed("a body is not of the version that was named")));
        }
        Ok(body.into())
    }

    async fn dictionary(&self, place: &Place) -> Result<Arc<Dictionary>, ReleaseError> {
        let (pack, range) = place.stored()?;
        let key = (pack, range.start);
        let read = async {
            let frame = self.range(pack, range).await?;
            let dictionary = Dictionary::of(&frame).map_err(|what| self.damaged(pack_key(pack), what))?;
            Ok(Arc::new(dictionary))
        };
        self.dictionaries.get_or_insert_async(&key, read).await
    }

    /// The content of a frame and the pack it was read from.
    async fn content(&self, kind: Kind, place: &Place) -> Result<(Digest, Vec<u8>), ReleaseError> {
        let (pack, range) = place.stored()?;
        let frame = match self.kept(pack, &range) {
            Some(kept) => kept,
            None => self.range(pack, range).await?,
        };
        let content = pack::content(kind, &frame).map_err(|what| self.damaged(pack_key(pack), what))?;
        Ok((pack, content))
    }

    /// Checks that a pack is there and has at least `length` bytes.
    ///
    /// # Errors
    /// It does not, or cannot be reached.
    pub async fn reaches(&self, pack: Digest, length: u64) -> Result<(), ReleaseError> {
        self.range(pack, length.saturating_sub(1)..length).await.map(drop)
    }

    /// Reads an index with what lies before it, in one request: whoever begins with a release needs the
    /// upper nodes next, and often the definition.
    async fn read_tail(&self, index: &Place) -> Result<(), ReleaseError> {
        let (pack, Range { start, end }) = index.stored()?;
        let start = start.saturating_sub(TAIL);
        let bytes = self.range(pack, start..end).await?;
        *self.tail.lock().unwrap_or_else(PoisonError::into_inner) = Some(Tail { pack, start, bytes });
        Ok(())
    }

    /// Bytes of a pack that are in memory.
    fn kept(&self, pack: Digest, range: &Range<u64>) -> Option<Bytes> {
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let tail = tail.as_ref().filter(|tail| tail.pack == pack)?;
        let start = usize::try_from(range.start.checked_sub(tail.start)?).ok()?;
        let end = usize::try_from(range.end.checked_sub(tail.start)?).ok()?;
        (start <= end && end <= tail.bytes.len()).then(|| tail.bytes.slice(start..end))
    }

    /// Bytes of a pack. One that is gone or cut short is damage like any other.
    async fn range(&self, pack: Digest, range: Range<u64>) -> Result<Bytes, ReleaseError> {
        let key = pack_key(pack);
        self.bucket.get_range(&key, range).await.map_err(|error| match error.kind {
            bucket::Kind::NotFound => self.damaged(key, Malformed("it is missing")),
            bucket::Kind::TooShort => self.damaged(key, Malformed("it is cut short")),
            _ => error.into(),
        })
    }

    fn resolve(&self, place: &StoredPlace) -> Result<Place, ReleaseError> {
        let unnamed = || self.damaged(CURRENT.to_owned(), Malformed("a record does not name its pack"));
        place.resolve(None).ok_or_else(unnamed)
    }

    fn damaged(&self, object: String, what: Malformed) -> ReleaseError {
        ReleaseError::Damaged { bucket: self.bucket.name().to_owned(), object, what }
    }
}

/// Where a frame lies within the bytes of `range`.
fn within(range: &Range<u64>, place: &Place) -> Range<usize> {
    let start = (place.offset - range.start) as usize;
    start..start + place.length as usize
}
