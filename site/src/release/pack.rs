//! Packs: immutable files of frames, named by their SHA-256.
//!
//! A pack is the line `edgepack 1\n` and then frames, each `kind` (1 byte), length of the payload
//! (4 bytes, little-endian), payload. The payload is one zstd frame with content size and checksum; where
//! that needs a dictionary, it follows the place of the dictionary in the same pack, and the line is
//! `edgepack 2\n`.

use std::cell::RefCell;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zstd::zstd_safe::{CParameter, DCtx};

use super::codec::{Malformed, Reader, put_varint};
use super::dictionary::{Dictionary, Trained};
use crate::version::Digest;

/// How a pack without dictionaries begins; the number is the format's.
pub const HEADER: &[u8] = b"edgepack 1\n";

/// How one with dictionaries begins; as long as [`HEADER`].
const HEADER_WITH_DICTIONARIES: &[u8] = b"edgepack 2\n";

/// Bytes of a frame before its payload.
pub const FRAME_HEADER: usize = 5;

/// The largest content of one frame, in bytes: a bound for readers against damaged lengths.
pub const MAX_CONTENT: usize = 256 << 20;

/// The longest frame of a dictionary, in bytes.
const MAX_DICTIONARY: usize = 1 << 20;

/// A pack is closed once it has so many bytes: few requests for much, little to repeat on a failure.
pub const FULL: usize = 4 << 20;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A document's body.
    Body = 1,
    /// A node of a collection's tree.
    Node = 2,
    /// The index's root.
    Index = 3,
    /// The definition a release was made with.
    Definition = 4,
    /// The record of an earlier release.
    Record = 5,
    /// A dictionary for bodies in the same pack.
    Dictionary = 6,
    /// A document's body that is compressed with a dictionary.
    SharedBody = 7,
}

/// Which pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pack {
    /// One that is stored, by its name.
    Named(Digest),
    /// The n-th pack of the writer at work; it has a name once it is closed.
    New(u32),
}

/// Where a frame lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The pack.
    pub pack: Pack,
    /// Offset of the frame in it.
    pub offset: u64,
    /// Length of the frame with its header.
    pub length: u32,
}

/// A place in a stored pack, as records write it. `pack` is absent where it is the pack around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredPlace {
    /// The pack; absent: the one this is read from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pack: Option<Digest>,
    /// Offset of the frame in it.
    pub offset: u64,
    /// Length of the frame with its header.
    pub length: u32,
}

impl StoredPlace {
    /// The place, for something read from the pack `this`.
    #[must_use]
    pub fn resolve(&self, this: Option<Digest>) -> Option<Place> {
        let pack = Pack::Named(self.pack.or(this)?);
        Some(Place { pack, offset: self.offset, length: self.length })
    }
}

impl Place {
    /// The pack's name and the byte range in it.
    ///
    /// # Errors
    /// The pack is not closed yet, so nobody can read from it.
    pub fn stored(&self) -> Result<(Digest, std::ops::Range<u64>), Malformed> {
        let Pack::Named(name) = self.pack else {
            return Err(Malformed("a place in a pack that is not stored yet"));
        };
        let end =
            self.offset.checked_add(u64::from(self.length)).ok_or(Malformed("a place beyond any pack"))?;
        Ok((name, self.offset..end))
    }
}

/// Compresses frames; keeps its working memory between them.
pub struct Compressor<'a> {
    zstd: zstd::bulk::Compressor<'a>,
    dictionary: Option<&'a Arc<Trained>>,
    payload: Vec<u8>,
}

/// A body on its way to a pack, compressed.
pub struct PackedBody {
    payload: Vec<u8>,
    dictionary: Option<Arc<Trained>>,
}

impl<'a> Compressor<'a> {
    /// Pages of a few kB gain little from entropy coding, which is most of the work: this level leaves it
    /// out for literals, and takes half the time of levels 1 to 3 for a quarter more space.
    const LEVEL: i32 = -1;

    /// A compressor with the format's settings.
    #[must_use]
    pub fn new() -> Self {
        Self::set(zstd::bulk::Compressor::new(Self::LEVEL), None)
    }

    /// A compressor for bodies that have much in common.
    #[must_use]
    pub fn sharing(dictionary: &'a Arc<Trained>) -> Self {
        let zstd = zstd::bulk::Compressor::with_prepared_dictionary(dictionary.encoder());
        Self::set(zstd, Some(dictionary))
    }

    fn set(made: std::io::Result<zstd::bulk::Compressor<'a>>, dictionary: Option<&'a Arc<Trained>>) -> Self {
        let mut zstd = made.expect("every zstd has this level, and it takes some memory only");
        zstd.set_parameter(CParameter::ChecksumFlag(true)).expect("every zstd has checksums");
        zstd.set_parameter(CParameter::ContentSizeFlag(true)).expect("every zstd has content sizes");
        Self { zstd, dictionary, payload: Vec::new() }
    }

    fn payload(&mut self, content: &[u8]) -> &[u8] {
        debug_assert!(content.len() <= MAX_CONTENT, "callers bound what they store");
        self.payload.clear();
        self.payload.reserve(zstd::zstd_safe::compress_bound(content.len()));
        let compressed = self.zstd.compress_to_buffer(content, &mut self.payload);
        compressed.expect("compressing memory to memory has no way to fail");
        &self.payload
    }

    /// A body, which must not exceed [`MAX_CONTENT`].
    pub fn body(&mut self, body: &[u8]) -> PackedBody {
        PackedBody { payload: self.payload(body).to_vec(), dictionary: self.dictionary.cloned() }
    }
}

impl Compressor<'static> {
    /// A whole frame around `content`, which must not exceed [`MAX_CONTENT`].
    pub fn frame(&mut self, kind: Kind, content: &[u8]) -> Vec<u8> {
        let payload = self.payload(content);
        let mut frame = Vec::with_capacity(FRAME_HEADER + payload.len());
        put_frame(&mut frame, kind, &[payload]);
        frame
    }
}

/// Appends a frame whose payload comes in parts.
fn put_frame(out: &mut Vec<u8>, kind: Kind, payload: &[&[u8]]) {
    let length: usize = payload.iter().map(|part| part.len()).sum();
    out.push(kind as u8);
    out.extend_from_slice(&(length as u32).to_le_bytes());
    payload.iter().for_each(|part| out.extend_from_slice(part));
}

impl Default for Compressor<'_> {
    fn default() -> Self {
        Self::new()
    }
}

/// The zstd frame inside a frame of the given kind.
///
/// # Errors
/// The bytes are not exactly one such frame.
pub fn payload(kind: Kind, frame: &[u8]) -> Result<&[u8], Malformed> {
    let (header, payload) = frame.split_at_checked(FRAME_HEADER).ok_or(Malformed("a frame is cut short"))?;
    if header[0] != kind as u8 {
        return Err(Malformed("a frame is not of the expected kind"));
    }
    let length = u32::from_le_bytes(header[1..].try_into().expect("four bytes follow the kind"));
    if length as usize != payload.len() {
        return Err(Malformed("a frame has another length than its place says"));
    }
    Ok(payload)
}

thread_local! {
    /// A thread's own, for all frames it reads: making one asks the processor what it can do, which on a
    /// virtual machine takes longer than decompressing a page.
    static DECOMPRESSOR: RefCell<DCtx<'static>> = RefCell::new(DCtx::create());
}

/// The content of a frame of the given kind.
///
/// # Errors
/// The bytes are not exactly one such frame, or are damaged.
pub fn content(kind: Kind, frame: &[u8]) -> Result<Vec<u8>, Malformed> {
    decompress(payload(kind, frame)?, None)
}

/// The place of the dictionary that a body's frame, read from `pack`, needs; nothing if it needs none.
///
/// # Errors
/// The bytes are not exactly one frame of a body.
pub fn dictionary_of(pack: Pack, frame: &[u8]) -> Result<Option<Place>, Malformed> {
    if frame.first() != Some(&(Kind::SharedBody as u8)) {
        return Ok(None);
    }
    let mut reader = Reader::new(payload(Kind::SharedBody, frame)?);
    let place = Place { pack, offset: reader.varint()?, length: reader.varint32()? };
    if place.length as usize > MAX_DICTIONARY {
        return Err(Malformed("a body says that its dictionary is larger than any"));
    }
    Ok(Some(place))
}

/// The body in a frame, which needs the dictionary that [`dictionary_of`] tells.
///
/// # Errors
/// The bytes are not exactly one such frame, or are damaged; or it is another dictionary.
pub fn body(frame: &[u8], dictionary: Option<&Dictionary>) -> Result<Vec<u8>, Malformed> {
    let Some(dictionary) = dictionary else { return content(Kind::Body, frame) };
    let mut reader = Reader::new(payload(Kind::SharedBody, frame)?);
    let _place = (reader.varint()?, reader.varint32()?);
    decompress(reader.rest(), Some(dictionary))
}

fn decompress(payload: &[u8], dictionary: Option<&Dictionary>) -> Result<Vec<u8>, Malformed> {
    let size = match zstd::zstd_safe::get_frame_content_size(payload) {
        Ok(Some(size)) if size <= MAX_CONTENT as u64 => size as usize,
        _ => return Err(Malformed("a frame does not say a possible content size")),
    };
    if zstd::zstd_safe::find_frame_compressed_size(payload) != Ok(payload.len()) {
        return Err(Malformed("a frame holds something beside its one zstd frame"));
    }
    // A damaged size would make us allocate in vain: zstd expands by less than this.
    if size / 100_000 > payload.len() {
        return Err(Malformed("a frame claims a content far larger than itself"));
    }
    let mut content = Vec::with_capacity(size);
    let decompressed = DECOMPRESSOR.with_borrow_mut(|context| match dictionary {
        None => context.decompress(&mut content, payload),
        Some(dictionary) => {
            context.decompress_using_ddict(&mut content, payload, dictionary.decoder().as_ddict())
        }
    });
    decompressed.map_err(|_| Malformed("a frame's checksum or form is wrong"))?;
    if content.len() != size {
        return Err(Malformed("a frame's content is cut short"));
    }
    Ok(content)
}

/// A frame as it was found in a pack: its place, the byte that tells its kind, itself.
pub type Found<'a> = (Place, u8, &'a [u8]);

/// Walks all frames of a whole pack.
///
/// # Errors
/// The pack's header or a frame's length is wrong.
pub fn frames(name: Digest, pack: &[u8]) -> Result<Vec<Found<'_>>, Malformed> {
    let rest = [HEADER, HEADER_WITH_DICTIONARIES].iter().find_map(|header| pack.strip_prefix(*header));
    let mut rest = rest.ok_or(Malformed("not a pack of a known format"))?;
    let mut offset = HEADER.len();
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let header = rest.get(..FRAME_HEADER).ok_or(Malformed("a pack ends within a frame"))?;
        let length = u32::from_le_bytes(header[1..].try_into().expect("four bytes follow the kind")) as usize;
        let (frame, after) =
            rest.split_at_checked(FRAME_HEADER + length).ok_or(Malformed("a pack ends within a frame"))?;
        let place = Place { pack: Pack::Named(name), offset: offset as u64, length: frame.len() as u32 };
        frames.push((place, frame[0], frame));
        offset += frame.len();
        rest = after;
    }
    Ok(frames)
}

/// Builds the packs of one release. Holds the open pack only; closed ones leave with their names.
pub struct PackWriter {
    open: Vec<u8>,
    closed: Vec<Digest>,
    compressor: Compressor<'static>,
    /// Dictionaries in the open pack, and their places.
    dictionaries: Vec<(Arc<Trained>, Place)>,
}

impl PackWriter {
    /// A writer with an empty open pack.
    #[must_use]
    pub fn new() -> Self {
        Self { open: Vec::new(), closed: Vec::new(), compressor: Compressor::new(), dictionaries: Vec::new() }
    }

    /// Appends content as a frame.
    pub fn append(&mut self, kind: Kind, content: &[u8]) -> Place {
        let mut frame = self.compressor.frame(kind, content);
        self.place(|open| open.append(&mut frame))
    }

    /// Appends a body, after its dictionary if the open pack lacks it.
    pub fn append_body(&mut self, body: &PackedBody) -> Place {
        let Some(trained) = &body.dictionary else {
            return self.place(|open| put_frame(open, Kind::Body, &[&body.payload]));
        };
        let known = self.dictionaries.iter().find(|(known, _)| Arc::ptr_eq(known, trained));
        let Place { offset, length, .. } = match known {
            Some((_, place)) => *place,
            None => {
                let place = self.place(|open| open.extend_from_slice(trained.frame()));
                self.open[..HEADER.len()].copy_from_slice(HEADER_WITH_DICTIONARIES);
                self.dictionaries.push((Arc::clone(trained), place));
                place
            }
        };
        let mut place = Vec::with_capacity(8);
        put_varint(&mut place, offset);
        put_varint(&mut place, u64::from(length));
        self.place(|open| put_frame(open, Kind::SharedBody, &[&place, &body.payload]))
    }

    /// Where the frame lies that `put` appends.
    fn place(&mut self, put: impl FnOnce(&mut Vec<u8>)) -> Place {
        if self.open.is_empty() {
            self.open.extend_from_slice(HEADER);
        }
        let start = self.open.len();
        put(&mut self.open);
        let length = (self.open.len() - start) as u32;
        Place { pack: Pack::New(self.closed.len() as u32), offset: start as u64, length }
    }

    /// Whether the open pack has reached its size.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.open.len() >= FULL
    }

    /// Closes the open pack: its name and bytes, unless it is empty.
    pub fn close(&mut self) -> Option<(Digest, Vec<u8>)> {
        if self.open.is_empty() {
            return None;
        }
        let pack = std::mem::take(&mut self.open);
        self.dictionaries.clear();
        let name = Digest::of(&pack);
        self.closed.push(name);
        Some((name, pack))
    }

    /// The pack that was closed last, if any was.
    #[must_use]
    pub fn last_closed(&self) -> Option<Digest> {
        self.closed.last().copied()
    }

    /// The place as a frame in the open pack writes it: the pack's name, or `None` for the open pack.
    #[must_use]
    pub fn pack_name(&self, pack: Pack) -> Option<Digest> {
        match pack {
            Pack::Named(name) => Some(name),
            Pack::New(number) => self.closed.get(number as usize).copied(),
        }
    }

    /// The place with its pack's name, for whoever reads it after all packs are closed.
    ///
    /// # Errors
    /// Its pack is still open.
    pub fn stored(&self, place: Place) -> Result<Place, Malformed> {
        let name = self.pack_name(place.pack).ok_or(Malformed("a place in a pack that is still open"))?;
        Ok(Place { pack: Pack::Named(name), ..place })
    }
}

impl Default for PackWriter {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_from_a_pack_and_name_their_places() {
        let mut writer = PackWriter::new();
        let body = writer.append(Kind::Body, b"hello");
        let node = writer.append(Kind::Node, &[7; 3000]);
        assert_eq!(writer.pack_name(body.pack), None);
        let (name, pack) = writer.close().expect("two frames were written");
        assert_eq!(name, Digest::of(&pack));
        let found = frames(name, &pack).expect("a pack just written");
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].0, writer.stored(body).expect("closed"));
        assert_eq!(found[1].0, writer.stored(node).expect("closed"));
        assert_eq!(content(Kind::Body, found[0].2).as_deref(), Ok(&b"hello"[..]));
        assert!(content(Kind::Node, found[0].2).is_err(), "a body is not taken for a node");
    }

    #[test]
    fn every_flipped_bit_and_every_cut_of_a_frame_is_noticed() {
        let frame =
            Compressor::new().frame(Kind::Body, b"a body that is long enough to be compressed, compressed");
        for bit in 0..frame.len() * 8 {
            let mut damaged = frame.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let read = content(Kind::Body, &damaged);
            assert!(read.is_err() || read == content(Kind::Body, &frame), "bit {bit}");
        }
        for length in 0..frame.len() {
            assert!(content(Kind::Body, &frame[..length]).is_err());
        }
    }
}
