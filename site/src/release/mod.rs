//! The stored form of releases: packs, index, records. `docs/FORMAT.md` states it with its reasons.
//!
//! Owns every byte under `_edgepress/packs/`, in `_edgepress/current` and in the cursors. Refuses to read
//! or write them: nodes are loaded through [`Nodes`], frames leave through [`Sink`].

pub mod codec;
pub mod current;
pub mod cursor;
pub mod definition;
pub mod dictionary;
pub mod diff;
pub mod index;
pub mod node;
pub mod pack;
pub mod record;
pub mod sealed;
pub mod tree;

use std::sync::Arc;

pub use codec::Malformed;
pub use current::Current;
pub use cursor::Cursor;
pub use diff::{Change, Diff};
pub use index::Index;
pub use node::{Child, Entry, Node, Previous};
pub use pack::{Kind, Pack, PackWriter, Place};
pub use record::{Record, State};
pub use tree::{Edit, edit};

/// Loads index nodes for the tree algorithms.
pub trait Nodes {
    /// What can go wrong while loading.
    type Error: From<Malformed>;

    /// The node that `child` points to, its hash checked.
    ///
    /// # Errors
    /// The node cannot be read or is not the one that was named.
    fn load(&self, child: &Child) -> Result<Arc<Node>, Self::Error>;
}

/// Takes the frames that a new release adds.
pub trait Sink {
    /// What can go wrong while writing.
    type Error;

    /// Appends one frame to the open pack. `content` is given the writer, because what a node says of
    /// its pack depends on which pack is open.
    ///
    /// # Errors
    /// The pack could not be handed on.
    fn append(&mut self, kind: Kind, content: &dyn Fn(&PackWriter) -> Vec<u8>) -> Result<Place, Self::Error>;
}

#[cfg(test)]
mod tests;
