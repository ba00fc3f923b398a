//! Editing a collection's tree: the old tree and a sorted stream of edits in, the new tree out, in one
//! pass that loads and writes only nodes that an edit touches. A full publish is the same pass.

use std::iter::Peekable;
use std::sync::Arc;

use super::codec::Malformed;
use super::node::{self, Child, Entry, Node};
use super::pack::{Kind, Place};
use super::{Nodes, Sink};

/// One edit of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// This document is added, or replaces the one at its path.
    Put(Entry),
    /// The document at this path goes.
    Remove(Arc<str>),
}

impl Edit {
    /// The path it edits.
    #[must_use]
    pub fn path(&self) -> &Arc<str> {
        match self {
            Self::Put(entry) => &entry.path,
            Self::Remove(path) => path,
        }
    }
}

/// Applies `edits`, strictly ascending by path, to the tree under `old`. Leaves are written as they are
/// completed, inner nodes at the end, level by level, so that they lie together at the end of a pack.
///
/// # Errors
/// A node cannot be loaded, a frame cannot be written, or an edit failed to arrive.
pub fn edit<E, N, S>(
    old: Option<&Child>,
    edits: impl Iterator<Item = Result<Edit, E>>,
    nodes: &N,
    sink: &mut S,
) -> Result<Option<Child>, E>
where
    N: Nodes,
    S: Sink,
    E: From<N::Error> + From<S::Error> + From<Malformed>,
{
    let mut pass = Pass { edits: edits.peekable(), nodes, builder: Builder::new(sink) };
    if let Some(old) = old {
        pass.walk(old, true)?;
    }
    while let Some(edit) = pass.next_edit(None)? {
        if let Edit::Put(entry) = edit {
            pass.builder.push_entry(entry)?;
        }
    }
    pass.builder.finish(nodes)
}

struct Pass<'a, I: Iterator, N, S> {
    edits: Peekable<I>,
    nodes: &'a N,
    builder: Builder<'a, S>,
}

impl<E, I, N, S> Pass<'_, I, N, S>
where
    I: Iterator<Item = Result<Edit, E>>,
    N: Nodes,
    S: Sink,
    E: From<N::Error> + From<S::Error> + From<Malformed>,
{
    /// The next edit, if it is not beyond `last`.
    fn next_edit(&mut self, last: Option<&str>) -> Result<Option<Edit>, E> {
        let due = |edit: &Result<Edit, E>| match (edit, last) {
            (Ok(edit), Some(last)) => **edit.path() <= *last,
            _ => true,
        };
        self.edits.next_if(due).transpose()
    }

    /// Whether an edit falls into a subtree that ends with `last` (`None`: with the tree).
    fn is_touched(&mut self, last: Option<&str>) -> Result<bool, E> {
        match (self.edits.peek(), last) {
            (None, _) => Ok(false),
            (Some(Ok(edit)), Some(last)) => Ok(**edit.path() <= *last),
            (Some(Ok(_)), None) => Ok(true),
            (Some(Err(_)), _) => match self.edits.next() {
                Some(Err(error)) => Err(error),
                _ => Ok(false),
            },
        }
    }

    /// Takes over the old subtree under `child` with its edits. `is_last`: it ends the old tree, so all
    /// later edits belong to it.
    fn walk(&mut self, child: &Child, is_last: bool) -> Result<(), E> {
        let last = if is_last { None } else { Some(&*child.last) };
        if !self.is_touched(last)? && self.builder.is_aligned(child.level) {
            return self.builder.push_subtree(child.clone()).map_err(E::from);
        }
        match &*self.nodes.load(child)? {
            Node::Inner(children) => {
                for (number, child) in children.iter().enumerate() {
                    self.walk(child, is_last && number + 1 == children.len())?;
                }
            }
            Node::Leaf(entries) => {
                for entry in entries {
                    self.merge(entry)?;
                }
            }
        }
        Ok(())
    }

    /// Takes over one old entry, after the edits before it, unless an edit replaces it.
    fn merge(&mut self, entry: &Entry) -> Result<(), E> {
        let mut keep = true;
        while let Some(edit) = self.next_edit(Some(&entry.path))? {
            keep = edit.path() != &entry.path;
            if let Edit::Put(new) = edit {
                self.builder.push_entry(new)?;
            }
        }
        if keep {
            self.builder.push_entry(entry.clone())?;
        }
        Ok(())
    }
}

/// What an inner node that is not written yet points to.
enum Pointer {
    Stored(Child),
    /// The n-th new inner node of the level below; its last path and documents.
    New(usize, Arc<str>, u64),
}

impl Pointer {
    fn last(&self) -> &Arc<str> {
        match self {
            Self::Stored(child) => &child.last,
            Self::New(_, last, _) => last,
        }
    }

    fn documents(&self) -> u64 {
        match self {
            Self::Stored(child) => child.documents,
            Self::New(_, _, documents) => *documents,
        }
    }
}

/// Inner nodes of one level.
#[derive(Default)]
struct Level {
    /// Children of the node that is still growing.
    open: Vec<Pointer>,
    /// Completed nodes.
    done: Vec<Vec<Pointer>>,
}

/// Builds a tree from left to right out of entries and whole subtrees.
struct Builder<'a, S> {
    sink: &'a mut S,
    /// Entries of the leaf that is still growing.
    leaf: Vec<Entry>,
    /// Inner nodes; `levels[0]` holds those of level 1.
    levels: Vec<Level>,
}

impl<'a, S: Sink> Builder<'a, S> {
    fn new(sink: &'a mut S) -> Self {
        Self { sink, leaf: Vec::new(), levels: Vec::new() }
    }

    /// Whether a whole subtree of this level may follow: nothing lower is growing.
    fn is_aligned(&self, level: u8) -> bool {
        self.leaf.is_empty() && self.levels.iter().take(usize::from(level)).all(|level| level.open.is_empty())
    }

    fn push_entry(&mut self, entry: Entry) -> Result<(), S::Error> {
        let level = node::level(&entry.path);
        self.leaf.push(entry);
        if level > 0 {
            self.close_leaf()?;
            self.close_inner(1, level);
        }
        Ok(())
    }

    fn push_subtree(&mut self, child: Child) -> Result<(), S::Error> {
        let (from, level) = (child.level + 1, node::level(&child.last));
        self.point(from, Pointer::Stored(child));
        self.close_inner(from, level);
        Ok(())
    }

    /// Adds a pointer to the growing node of `level`.
    fn point(&mut self, level: u8, pointer: Pointer) {
        let index = usize::from(level) - 1;
        if self.levels.len() <= index {
            self.levels.resize_with(index + 1, Level::default);
        }
        self.levels[index].open.push(pointer);
    }

    fn close_leaf(&mut self) -> Result<(), S::Error> {
        let leaf = Node::Leaf(std::mem::take(&mut self.leaf));
        let child = write(self.sink, &leaf)?;
        self.point(1, Pointer::Stored(child));
        Ok(())
    }

    /// Completes the growing nodes of the levels `from..below`.
    fn close_inner(&mut self, from: u8, below: u8) {
        for level in from..below {
            let Level { open, done } = &mut self.levels[usize::from(level) - 1];
            let node = std::mem::take(open);
            let last =
                node.last().expect("a node is closed right after its last child was added").last().clone();
            let documents = node.iter().fold(0u64, |sum, pointer| sum.saturating_add(pointer.documents()));
            done.push(node);
            let number = done.len() - 1;
            self.point(level + 1, Pointer::New(number, last, documents));
        }
    }

    /// Completes whatever is growing and writes the inner nodes. The root is the lowest node that has
    /// everything under it: no tree begins with nodes of one child.
    fn finish<E, N>(mut self, nodes: &N) -> Result<Option<Child>, E>
    where
        N: Nodes,
        E: From<N::Error> + From<S::Error>,
    {
        if !self.leaf.is_empty() {
            self.close_leaf()?;
        }
        let mut level = 1;
        while usize::from(level) < self.levels.len() {
            if !self.levels[usize::from(level) - 1].open.is_empty() {
                self.close_inner(level, level + 1);
            }
            level += 1;
        }
        let Some(mut top) = self.levels.pop() else { return Ok(None) };
        let (mut at, mut root) = (self.levels.len(), top.open);
        while root.len() == 1 {
            match root.remove(0) {
                Pointer::Stored(child) => return unwrap(child, nodes).map(Some).map_err(E::from),
                Pointer::New(number, ..) => {
                    top = self.levels.pop().expect("a new node lies on the level below");
                    at -= 1;
                    root = top.done.swap_remove(number);
                }
            }
        }
        let root = Level { open: Vec::new(), done: vec![root] };
        self.levels.truncate(at);
        self.levels.push(root);
        let mut written: Vec<Child> = Vec::new();
        for level in self.levels {
            let below = written;
            written = Vec::with_capacity(level.done.len());
            for pointers in level.done {
                let child = |pointer| match pointer {
                    Pointer::Stored(child) => child,
                    Pointer::New(number, ..) => below[number].clone(),
                };
                written.push(write(self.sink, &Node::Inner(pointers.into_iter().map(child).collect()))?);
            }
        }
        Ok(written.pop())
    }
}

/// The lowest node with everything that is under `child`.
fn unwrap<N: Nodes>(mut child: Child, nodes: &N) -> Result<Child, N::Error> {
    while child.level > 0 {
        match &*nodes.load(&child)? {
            Node::Inner(children) if children.len() == 1 => child = children[0].clone(),
            _ => break,
        }
    }
    Ok(child)
}

fn write<S: Sink>(sink: &mut S, node: &Node) -> Result<Child, S::Error> {
    let hashed = node.hashed();
    let place: Place = sink.append(Kind::Node, &|writer| Node::encode(&hashed, &node.beside(writer)))?;
    Ok(Child {
        level: node.level(),
        last: node.last().into(),
        hash: node::hash(&hashed),
        documents: node.documents(),
        place,
    })
}
