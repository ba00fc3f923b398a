//! Packs in memory, with counts of what is loaded and written.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::release::pack::content;
use crate::release::{
    Child, Edit, Entry, Index, Kind, Malformed, Node, Nodes, Pack, PackWriter, Place, Sink, edit,
};
use crate::version::{Digest, Version};

/// Frames until a pack is closed: few, so that trees span packs.
const FRAMES: usize = 7;

/// What each path is to become: a value, or nothing.
pub type Edits = BTreeMap<String, Option<u32>>;

/// Packs in memory.
#[derive(Debug, Default)]
pub struct Memory {
    /// By name.
    pub packs: BTreeMap<Digest, Arc<Vec<u8>>>,
    /// Nodes that were loaded since this was last set to 0.
    pub loads: Cell<usize>,
}

impl Nodes for Memory {
    type Error = Malformed;

    fn load(&self, child: &Child) -> Result<Arc<Node>, Malformed> {
        self.loads.set(self.loads.get() + 1);
        let (name, range) = child.place.stored()?;
        let pack = self.packs.get(&name).ok_or(Malformed("there is no such pack"))?;
        let frame = pack.get(range.start as usize..range.end as usize);
        let frame = frame.ok_or(Malformed("the pack is shorter"))?;
        Node::decode(&content(Kind::Node, frame)?, name, child).map(Arc::new)
    }
}

/// Adds packs to a [`Memory`].
pub struct Writer<'a> {
    memory: &'a mut Memory,
    /// The open pack.
    pub writer: PackWriter,
    /// Frames that were written.
    pub frames: usize,
}

impl Sink for Writer<'_> {
    type Error = Malformed;

    fn append(&mut self, kind: Kind, content: &dyn Fn(&PackWriter) -> Vec<u8>) -> Result<Place, Malformed> {
        self.frames += 1;
        let content = content(&self.writer);
        let place = self.writer.append(kind, &content);
        if self.frames.is_multiple_of(FRAMES) {
            self.close();
        }
        Ok(place)
    }
}

impl<'a> Writer<'a> {
    /// A writer with an empty pack.
    pub fn new(memory: &'a mut Memory) -> Self {
        Self { memory, writer: PackWriter::new(), frames: 0 }
    }

    /// Closes the open pack.
    pub fn close(&mut self) {
        self.memory.packs.extend(self.writer.close().map(|(name, pack)| (name, Arc::new(pack))));
    }
}

/// An entry whose content is one number.
#[must_use]
pub fn entry(path: &str, value: u32) -> Entry {
    Entry {
        path: path.into(),
        version: Version::of(&value.to_le_bytes()),
        media_type: if value.is_multiple_of(3) { "text/html" } else { "application/json" }.into(),
        size: u64::from(value),
        policy: [(value % 2) as u8; 16],
        place: Place { pack: Pack::Named(Digest([9; 32])), offset: u64::from(value), length: 10 },
        changed: 1_700_000_000_000,
        previous: vec![],
    }
}

impl Memory {
    /// Applies edits as one release; gives the new tree and how many frames were written.
    ///
    /// # Errors
    /// The old tree is damaged.
    pub fn apply(&mut self, old: Option<&Child>, edits: &Edits) -> Result<(Option<Child>, usize), Malformed> {
        let edits = edits.iter().map(|(path, value)| {
            Ok::<_, Malformed>(match value {
                Some(value) => Edit::Put(entry(path, *value)),
                None => Edit::Remove(path.as_str().into()),
            })
        });
        let source = Self { packs: self.packs.clone(), loads: Cell::new(0) };
        let mut writer = Writer::new(self);
        let root = edit(old, edits, &source, &mut writer)?;
        writer.close();
        let frames = writer.frames;
        let stored =
            |child: Child| writer.writer.stored(child.place).map(|place| Child { place, ..child.clone() });
        let root = root.map(stored).transpose()?;
        self.loads.set(source.loads.get());
        Ok((root, frames))
    }

    /// An index with one collection.
    #[must_use]
    pub fn index(root: Option<&Child>) -> Index {
        Index { collections: root.map(|root| ("things".to_owned(), root.clone())).into_iter().collect() }
    }
}
