//! The index's root: the collections of a release, each with its tree.

use std::collections::BTreeMap;

use super::codec::{Malformed, Reader, put_bytes, put_varint};
use super::node::{Child, MAX_LEVEL};
use super::pack::{Pack, PackWriter, Place};
use crate::version::Digest;

/// The root of a release's index. Collections without documents are absent, so that equal content has
/// an equal root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index {
    /// Collection name to the root of its tree.
    pub collections: BTreeMap<String, Child>,
}

impl Index {
    /// The hashed part: its hash is the release's root.
    #[must_use]
    pub fn hashed(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, self.collections.len() as u64);
        for (name, tree) in &self.collections {
            put_bytes(&mut out, name.as_bytes());
            out.push(tree.level);
            put_bytes(&mut out, tree.last.as_bytes());
            out.extend_from_slice(&tree.hash.0);
            put_varint(&mut out, tree.documents);
        }
        out
    }

    /// The release's root hash: names its content.
    #[must_use]
    pub fn root(&self) -> Digest {
        Digest::of_parts(&[b"edgepress index 1\n", &self.hashed()])
    }

    /// The content of its frame in the open pack of `writer`.
    #[must_use]
    pub fn encode(&self, writer: &PackWriter) -> Vec<u8> {
        let mut out = Vec::new();
        put_bytes(&mut out, &self.hashed());
        for tree in self.collections.values() {
            match writer.pack_name(tree.place.pack) {
                None => out.push(0),
                Some(name) => {
                    out.push(1);
                    out.extend_from_slice(&name.0);
                }
            }
            put_varint(&mut out, tree.place.offset);
            put_varint(&mut out, u64::from(tree.place.length));
        }
        out
    }

    /// Reads an index's content from the pack `this`, and checks that it is the one called `root`.
    ///
    /// # Errors
    /// It is damaged, or another index.
    pub fn decode(content: &[u8], this: Digest, root: Digest) -> Result<Self, Malformed> {
        let mut beside = Reader::new(content);
        let mut reader = Reader::new(beside.bytes()?);
        let count = reader.count(36)?;
        let mut collections = BTreeMap::new();
        for _ in 0..count {
            let name = reader.text()?.to_owned();
            let level = reader.byte()?;
            if level > MAX_LEVEL {
                return Err(Malformed("an index names a tree that is higher than any"));
            }
            let last = reader.text()?.into();
            let hash = Digest(reader.array()?);
            let documents = reader.varint()?;
            let pack = match beside.byte()? {
                0 => this,
                1 => Digest(beside.array()?),
                _ => return Err(Malformed("an index names a pack in an unknown way")),
            };
            let place =
                Place { pack: Pack::Named(pack), offset: beside.varint()?, length: beside.varint32()? };
            collections.insert(name, Child { level, last, hash, documents, place });
        }
        let index = Self { collections };
        if !reader.is_empty() || !beside.is_empty() || index.root() != root {
            return Err(Malformed("an index is not the one that was named"));
        }
        Ok(index)
    }

    /// Documents in all collections.
    #[must_use]
    pub fn documents(&self) -> u64 {
        self.collections.values().fold(0, |sum, tree| sum.saturating_add(tree.documents))
    }
}
