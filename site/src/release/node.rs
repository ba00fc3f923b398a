//! Nodes of a collection's tree: leaves with entries, inner nodes with children.
//!
//! A node is two parts: what is hashed, which says what the documents are, and beside it where things
//! lie. Equal content has equal hashes whatever its history. Which path ends a node is decided by the
//! path alone ([`level`]), so the shape of a tree depends only on its entries.

use std::sync::Arc;

use super::codec::{Malformed, Reader, put_bytes, put_varint};
use super::pack::{Pack, PackWriter, Place};
use crate::policy::PolicyDigest;
use crate::version::{Digest, Version};

/// How many earlier versions of a document stay readable.
pub const PREVIOUS: usize = 3;

/// A tree is never higher: 2^60 documents.
pub const MAX_LEVEL: u8 = 12;

/// One document in the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path, decoded.
    pub path: Arc<str>,
    /// Names its body.
    pub version: Version,
    /// Its media type.
    pub media_type: Arc<str>,
    /// Size of its body in bytes.
    pub size: u64,
    /// Names its cache policy.
    pub policy: PolicyDigest,
    /// Where its body lies.
    pub place: Place,
    /// When its body last changed: milliseconds since 1970.
    pub changed: u64,
    /// Its last few versions, newest first; at most [`PREVIOUS`].
    pub previous: Vec<Previous>,
}

/// An earlier version of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Previous {
    /// Names its body.
    pub version: Version,
    /// Its media type.
    pub media_type: Arc<str>,
    /// Size of its body in bytes.
    pub size: u64,
    /// Where its body lies.
    pub place: Place,
}

impl Entry {
    /// Whether both say the same of their document: what the hash covers.
    #[must_use]
    pub fn same_content(&self, other: &Self) -> bool {
        self.version == other.version
            && self.size == other.size
            && self.policy == other.policy
            && self.path == other.path
            && self.media_type == other.media_type
    }
}

/// A pointer to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// The node's level; leaves are 0.
    pub level: u8,
    /// The last path under it.
    pub last: Arc<str>,
    /// The hash of its hashed part.
    pub hash: Digest,
    /// Documents under it.
    pub documents: u64,
    /// Where it lies.
    pub place: Place,
}

/// A node, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// Entries in order of their paths.
    Leaf(Vec<Entry>),
    /// Children of one level, in order of their paths.
    Inner(Vec<Child>),
}

/// The level of a path: a node at level n ends with the first path whose level exceeds n. One path in
/// 32 has a level above 0, one in 1,024 above 1, and so on.
#[must_use]
pub fn level(path: &str) -> u8 {
    let Digest(hash) = Digest::of(path.as_bytes());
    let mut head = [0; 8];
    head.copy_from_slice(&hash[..8]);
    (u64::from_be_bytes(head).trailing_zeros() / 5).min(u32::from(MAX_LEVEL)) as u8
}

/// A node's hash, from its hashed part.
#[must_use]
pub fn hash(hashed: &[u8]) -> Digest {
    Digest::of_parts(&[b"edgepress node 1\n", hashed])
}

/// Texts or packs that many entries share, written once.
struct Table<T>(Vec<T>);

impl<T: PartialEq + Clone> Table<T> {
    fn index(&mut self, item: &T) -> u64 {
        let found = self.0.iter().position(|known| known == item);
        found.unwrap_or_else(|| {
            self.0.push(item.clone());
            self.0.len() - 1
        }) as u64
    }
}

fn put_path<'a>(out: &mut Vec<u8>, before: &mut &'a str, path: &'a str) {
    let shared = before.bytes().zip(path.bytes()).take_while(|(a, b)| a == b).count();
    put_varint(out, shared as u64);
    put_bytes(out, &path.as_bytes()[shared..]);
    *before = path;
}

/// Reads paths that [`put_path`] wrote: strictly ascending, each in its only form.
fn path(reader: &mut Reader<'_>, before: &mut Vec<u8>, first: bool) -> Result<Arc<str>, Malformed> {
    let shared = reader.varint()? as usize;
    let suffix = reader.bytes()?;
    let tail = before.get(shared..).ok_or(Malformed("a path shares more than there is"))?;
    if !first && suffix <= tail || !tail.is_empty() && tail.first() == suffix.first() {
        return Err(Malformed("paths are not in ascending order or not in their only form"));
    }
    before.truncate(shared);
    before.extend_from_slice(suffix);
    Ok(std::str::from_utf8(before).map_err(|_| Malformed("a path is not UTF-8"))?.into())
}

/// A list of packs: what a place's number stands for. 0 is the pack the node lies in.
fn put_place(out: &mut Vec<u8>, packs: &mut Table<Digest>, place: &Place, name: Option<Digest>) {
    put_varint(out, name.map_or(0, |name| packs.index(&name) + 1));
    put_varint(out, place.offset);
    put_varint(out, u64::from(place.length));
}

fn place(reader: &mut Reader<'_>, packs: &[Digest], this: Digest) -> Result<Place, Malformed> {
    let pack = match reader.varint()? {
        0 => this,
        number => *packs.get(number as usize - 1).ok_or(Malformed("a place names an unknown pack"))?,
    };
    Ok(Place { pack: Pack::Named(pack), offset: reader.varint()?, length: reader.varint32()? })
}

impl Node {
    /// The hashed part.
    #[must_use]
    pub fn hashed(&self) -> Vec<u8> {
        match self {
            Self::Leaf(entries) => hashed_leaf(entries),
            Self::Inner(children) => hashed_inner(children),
        }
    }

    /// The part beside the hash, as written into the open pack of `writer`.
    #[must_use]
    pub fn beside(&self, writer: &PackWriter) -> Vec<u8> {
        let mut packs = Table(Vec::new());
        let mut types: Table<Arc<str>> = Table(Vec::new());
        let mut body = Vec::new();
        match self {
            Self::Leaf(entries) => {
                for entry in entries {
                    put_place(&mut body, &mut packs, &entry.place, writer.pack_name(entry.place.pack));
                    put_varint(&mut body, entry.changed);
                    put_varint(&mut body, entry.previous.len() as u64);
                    for previous in &entry.previous {
                        body.extend_from_slice(&previous.version.0);
                        put_varint(&mut body, types.index(&previous.media_type));
                        put_varint(&mut body, previous.size);
                        put_place(
                            &mut body,
                            &mut packs,
                            &previous.place,
                            writer.pack_name(previous.place.pack),
                        );
                    }
                }
            }
            Self::Inner(children) => {
                for child in children {
                    put_place(&mut body, &mut packs, &child.place, writer.pack_name(child.place.pack));
                }
            }
        }
        let mut out = Vec::with_capacity(body.len() + packs.0.len() * 32 + 16);
        put_varint(&mut out, packs.0.len() as u64);
        packs.0.iter().for_each(|pack| out.extend_from_slice(&pack.0));
        put_varint(&mut out, types.0.len() as u64);
        types.0.iter().for_each(|text| put_bytes(&mut out, text.as_bytes()));
        out.extend_from_slice(&body);
        out
    }

    /// The content of the node's frame.
    #[must_use]
    pub fn encode(hashed: &[u8], beside: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(hashed.len() + beside.len() + 4);
        put_bytes(&mut out, hashed);
        out.extend_from_slice(beside);
        out
    }

    /// Reads a node's content from the pack `this`, and checks that it is the node `child` points to.
    ///
    /// # Errors
    /// It is damaged, or another node.
    pub fn decode(content: &[u8], this: Digest, child: &Child) -> Result<Self, Malformed> {
        let mut reader = Reader::new(content);
        let hashed = reader.bytes()?;
        if hash(hashed) != child.hash {
            return Err(Malformed("an index node is not the one that was named"));
        }
        let node = Self::decode_parts(hashed, reader, this)?;
        if node.level() != child.level || node.last() != &*child.last || node.documents() != child.documents {
            return Err(Malformed("an index node is not what its parent says"));
        }
        Ok(node)
    }

    /// Reads both parts of a node from the pack `this`.
    ///
    /// # Errors
    /// They are not what [`Node::hashed`] and [`Node::beside`] write.
    pub fn decode_parts(hashed: &[u8], mut beside: Reader<'_>, this: Digest) -> Result<Self, Malformed> {
        let packs: Vec<Digest> =
            (0..beside.count(32)?).map(|_| beside.array().map(Digest)).collect::<Result<_, _>>()?;
        let types: Vec<Arc<str>> =
            (0..beside.count(1)?).map(|_| beside.text().map(Arc::from)).collect::<Result<_, _>>()?;
        let mut reader = Reader::new(hashed);
        let node = match reader.byte()? {
            0 => Self::Leaf(decode_leaf(&mut reader, &mut beside, &packs, &types, this)?),
            level if level <= MAX_LEVEL => {
                Self::Inner(decode_inner(level, &mut reader, &mut beside, &packs, this)?)
            }
            _ => return Err(Malformed("an index node is higher than any")),
        };
        if node.documents() == 0 {
            return Err(Malformed("an index node is empty"));
        }
        if !reader.is_empty() || !beside.is_empty() {
            return Err(Malformed("an index node is longer than its content"));
        }
        Ok(node)
    }

    /// Checks that the node ends exactly where the paths say. Readers need not: the hash vouches for
    /// the writer's shape. `verify` does.
    ///
    /// # Errors
    /// Some path before the last should have ended it.
    pub fn check_shape(&self) -> Result<(), Malformed> {
        let at = self.level();
        let inside = |path: &str| level(path) == at;
        let right = match self {
            Self::Leaf(entries) => entries.iter().rev().skip(1).all(|entry| inside(&entry.path)),
            Self::Inner(children) => children.iter().rev().skip(1).all(|child| inside(&child.last)),
        };
        if right { Ok(()) } else { Err(Malformed("an index node does not end where its paths say")) }
    }

    /// Its level; leaves are 0.
    #[must_use]
    pub fn level(&self) -> u8 {
        match self {
            Self::Leaf(_) => 0,
            Self::Inner(children) => children.first().map_or(1, |child| child.level + 1),
        }
    }

    /// The last path under it; empty for an empty node, which is never stored.
    #[must_use]
    pub fn last(&self) -> &str {
        match self {
            Self::Leaf(entries) => entries.last().map_or("", |entry| &entry.path),
            Self::Inner(children) => children.last().map_or("", |child| &child.last),
        }
    }

    /// Documents under it.
    #[must_use]
    pub fn documents(&self) -> u64 {
        match self {
            Self::Leaf(entries) => entries.len() as u64,
            Self::Inner(children) => {
                children.iter().fold(0, |sum, child| sum.saturating_add(child.documents))
            }
        }
    }

    /// In a leaf, the entry of `path`; in an inner node, the child it would be under.
    #[must_use]
    pub fn find(&self, path: &str) -> Found<'_> {
        match self {
            Self::Leaf(entries) => match entries.binary_search_by(|entry| (*entry.path).cmp(path)) {
                Ok(index) => Found::Entry(&entries[index]),
                Err(_) => Found::Nothing,
            },
            Self::Inner(children) => {
                let index = children.partition_point(|child| &*child.last < path);
                children.get(index).map_or(Found::Nothing, Found::Child)
            }
        }
    }
}

/// What a node knows of a path.
#[derive(Debug)]
pub enum Found<'a> {
    /// The document.
    Entry(&'a Entry),
    /// The child to look into.
    Child(&'a Child),
    /// There is no such document.
    Nothing,
}

fn hashed_leaf(entries: &[Entry]) -> Vec<u8> {
    let mut types = Table(Vec::new());
    let mut policies = Table(Vec::new());
    let mut body = Vec::with_capacity(entries.len() * 48);
    let mut before = "";
    for entry in entries {
        put_path(&mut body, &mut before, &entry.path);
        body.extend_from_slice(&entry.version.0);
        put_varint(&mut body, types.index(&entry.media_type));
        put_varint(&mut body, policies.index(&entry.policy));
        put_varint(&mut body, entry.size);
    }
    let mut out = vec![0];
    put_varint(&mut out, types.0.len() as u64);
    types.0.iter().for_each(|text| put_bytes(&mut out, text.as_bytes()));
    put_varint(&mut out, policies.0.len() as u64);
    policies.0.iter().for_each(|policy| out.extend_from_slice(policy));
    put_varint(&mut out, entries.len() as u64);
    out.extend_from_slice(&body);
    out
}

fn hashed_inner(children: &[Child]) -> Vec<u8> {
    let mut out = vec![children.first().map_or(1, |child| child.level + 1)];
    put_varint(&mut out, children.len() as u64);
    let mut before = "";
    for child in children {
        put_path(&mut out, &mut before, &child.last);
        out.extend_from_slice(&child.hash.0);
        put_varint(&mut out, child.documents);
    }
    out
}

fn decode_leaf(
    reader: &mut Reader<'_>,
    beside: &mut Reader<'_>,
    packs: &[Digest],
    old_types: &[Arc<str>],
    this: Digest,
) -> Result<Vec<Entry>, Malformed> {
    let unknown = Malformed("an entry names an unknown media type or policy");
    let types: Vec<Arc<str>> =
        (0..reader.count(1)?).map(|_| reader.text().map(Arc::from)).collect::<Result<_, _>>()?;
    let policies: Vec<PolicyDigest> =
        (0..reader.count(16)?).map(|_| reader.array()).collect::<Result<_, _>>()?;
    let count = reader.count(21)?;
    let mut entries = Vec::with_capacity(count);
    let mut before = Vec::new();
    for number in 0..count {
        let path = path(reader, &mut before, number == 0)?;
        let version = Version(reader.array()?);
        let media_type = types.get(reader.varint()? as usize).ok_or(unknown)?.clone();
        let policy = *policies.get(reader.varint()? as usize).ok_or(unknown)?;
        let size = reader.varint()?;
        let place_of_body = place(beside, packs, this)?;
        let changed = beside.varint()?;
        let count = beside.count(21)?;
        if count > PREVIOUS {
            return Err(Malformed("an entry has more earlier versions than are kept"));
        }
        let mut previous = Vec::with_capacity(count);
        for _ in 0..count {
            previous.push(Previous {
                version: Version(beside.array()?),
                media_type: old_types.get(beside.varint()? as usize).ok_or(unknown)?.clone(),
                size: beside.varint()?,
                place: place(beside, packs, this)?,
            });
        }
        entries.push(Entry {
            path,
            version,
            media_type,
            size,
            policy,
            place: place_of_body,
            changed,
            previous,
        });
    }
    Ok(entries)
}

fn decode_inner(
    level: u8,
    reader: &mut Reader<'_>,
    beside: &mut Reader<'_>,
    packs: &[Digest],
    this: Digest,
) -> Result<Vec<Child>, Malformed> {
    let count = reader.count(35)?;
    let mut children = Vec::with_capacity(count);
    let mut before = Vec::new();
    for number in 0..count {
        children.push(Child {
            level: level - 1,
            last: path(reader, &mut before, number == 0)?,
            hash: Digest(reader.array()?),
            documents: reader.varint()?,
            place: place(beside, packs, this)?,
        });
    }
    Ok(children)
}
