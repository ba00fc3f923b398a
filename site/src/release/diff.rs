//! The difference of two releases: by path, across collections, walking only what differs.

use std::sync::Arc;

use super::Nodes;
use super::index::Index;
use super::node::{Child, Entry, Node};

/// One document that differs between two releases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What the first release has at this path.
    pub old: Option<Entry>,
    /// What the second has.
    pub new: Option<Entry>,
    /// The collection of `new`, or of `old` where there is none.
    pub collection: Arc<str>,
}

impl Change {
    /// The path.
    #[must_use]
    pub fn path(&self) -> &Arc<str> {
        let entry = self.new.as_ref().or(self.old.as_ref());
        &entry.expect("a change has at least one side").path
    }
}

/// Changes in ascending order of path, up to the first error. A document that moved between collections is one change, even
/// with the same body: its purge tags differ.
pub struct Diff<'a, N> {
    collections: Vec<(Arc<str>, TreeDiff<'a, N>)>,
    /// The next change of each collection.
    heads: Vec<Option<Pair>>,
    is_primed: bool,
}

type Pair = (Option<Entry>, Option<Entry>);

impl<'a, N: Nodes> Diff<'a, N> {
    /// The changes that lead from `old` to `new`.
    pub fn new(old: &Index, new: &Index, nodes: &'a N) -> Self {
        let mut collections = Vec::new();
        let names = old
            .collections
            .keys()
            .chain(new.collections.keys().filter(|name| !old.collections.contains_key(*name)));
        for name in names {
            let (old, new) = (old.collections.get(name), new.collections.get(name));
            collections.push((Arc::from(name.as_str()), TreeDiff::new(old, new, nodes)));
        }
        Self { heads: collections.iter().map(|_| None).collect(), collections, is_primed: false }
    }

    fn advance(&mut self, number: usize) -> Result<(), N::Error> {
        self.heads[number] = self.collections[number].1.next_change()?;
        Ok(())
    }

    fn next_change(&mut self) -> Result<Option<Change>, N::Error> {
        if !self.is_primed {
            self.is_primed = true;
            for number in 0..self.heads.len() {
                self.advance(number)?;
            }
        }
        let Some(path) = self.heads.iter().flatten().map(path_of).min().cloned() else {
            return Ok(None);
        };
        let mut change = Change { old: None, new: None, collection: Arc::from("") };
        for number in 0..self.heads.len() {
            let Some((old, new)) = self.heads[number].take_if(|pair| path_of(pair) == &path) else {
                continue;
            };
            if new.is_some() || change.new.is_none() {
                change.collection = self.collections[number].0.clone();
            }
            change.old = old.or(change.old);
            change.new = new.or(change.new);
            self.advance(number)?;
        }
        Ok(Some(change))
    }
}

fn path_of((old, new): &Pair) -> &Arc<str> {
    &new.as_ref().or(old.as_ref()).expect("a pair has at least one side").path
}

impl<N: Nodes> Iterator for Diff<'_, N> {
    type Item = Result<Change, N::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_change();
        if next.is_err() {
            // Trying again would fail again: whoever collects must come to an end.
            self.collections.clear();
            self.heads.clear();
        }
        next.transpose()
    }
}

/// The changes between two trees of one collection.
struct TreeDiff<'a, N> {
    old: Cursor<'a, N>,
    new: Cursor<'a, N>,
}

/// What lies next under a cursor.
enum Head {
    End,
    Entry,
    Subtree(u8),
}

/// A position in a tree, between two entries or before a whole subtree.
struct Cursor<'a, N> {
    nodes: &'a N,
    /// Nodes on the way down, each with the index of its next item.
    stack: Vec<(Arc<Node>, usize)>,
    root: Option<Child>,
    /// The last path that was passed: everything ahead is greater.
    passed: Arc<str>,
}

impl<'a, N: Nodes> Cursor<'a, N> {
    fn new(root: Option<&Child>, nodes: &'a N) -> Self {
        Self { nodes, stack: Vec::new(), root: root.cloned(), passed: "".into() }
    }

    fn head(&mut self) -> Head {
        if let Some(root) = &self.root {
            return Head::Subtree(root.level);
        }
        while let Some((node, index)) = self.stack.last() {
            match &**node {
                Node::Leaf(entries) if *index < entries.len() => return Head::Entry,
                Node::Inner(children) if *index < children.len() => {
                    return Head::Subtree(children[*index].level);
                }
                _ => self.stack.pop(),
            };
        }
        Head::End
    }

    /// The subtree ahead. Only after [`Head::Subtree`].
    fn subtree(&self) -> &Child {
        match (&self.root, self.stack.last()) {
            (Some(root), _) => root,
            (None, Some((node, index))) => match &**node {
                Node::Inner(children) => &children[*index],
                Node::Leaf(_) => unreachable!("the head is a subtree"),
            },
            (None, None) => unreachable!("the head is a subtree"),
        }
    }

    /// The entry ahead. Only after [`Head::Entry`].
    fn entry(&self) -> &Entry {
        match self.stack.last().map(|(node, index)| (&**node, index)) {
            Some((Node::Leaf(entries), index)) => &entries[*index],
            _ => unreachable!("the head is an entry"),
        }
    }

    fn take_entry(&mut self) -> Entry {
        let entry = self.entry().clone();
        self.passed = entry.path.clone();
        self.step();
        entry
    }

    fn skip_subtree(&mut self) {
        self.passed = self.subtree().last.clone();
        self.step();
    }

    fn step(&mut self) {
        if self.root.take().is_none()
            && let Some((_, index)) = self.stack.last_mut()
        {
            *index += 1;
        }
    }

    /// Nothing is ahead any more.
    fn stop(&mut self) {
        self.root = None;
        self.stack.clear();
    }

    fn descend(&mut self) -> Result<(), N::Error> {
        let node = self.nodes.load(self.subtree())?;
        self.step();
        self.stack.push((node, 0));
        Ok(())
    }
}

impl<'a, N: Nodes> TreeDiff<'a, N> {
    fn new(old: Option<&Child>, new: Option<&Child>, nodes: &'a N) -> Self {
        Self { old: Cursor::new(old, nodes), new: Cursor::new(new, nodes) }
    }

    fn next_change(&mut self) -> Result<Option<Pair>, N::Error> {
        loop {
            let (old, new) = (&mut self.old, &mut self.new);
            match (old.head(), new.head()) {
                (Head::End, Head::End) => return Ok(None),
                (Head::Subtree(_), Head::Subtree(_)) if old.subtree().hash == new.subtree().hash => {
                    old.skip_subtree();
                    new.skip_subtree();
                }
                (Head::Subtree(a), Head::Subtree(b)) => {
                    if a >= b {
                        old.descend()?;
                    }
                    if b >= a {
                        new.descend()?;
                    }
                }
                (Head::Entry, Head::Entry) => {
                    let pair = match old.entry().path.cmp(&new.entry().path) {
                        std::cmp::Ordering::Less => (Some(old.take_entry()), None),
                        std::cmp::Ordering::Greater => (None, Some(new.take_entry())),
                        std::cmp::Ordering::Equal => (Some(old.take_entry()), Some(new.take_entry())),
                    };
                    match &pair {
                        (Some(old), Some(new)) if old.same_content(new) => {}
                        _ => return Ok(Some(pair)),
                    }
                }
                // Everything ahead in the other tree is greater than what it passed: no need to look.
                (Head::Entry, Head::Subtree(_)) if old.entry().path <= new.passed => {
                    return Ok(Some((Some(old.take_entry()), None)));
                }
                (Head::Subtree(_), Head::Entry) if new.entry().path <= old.passed => {
                    return Ok(Some((None, Some(new.take_entry()))));
                }
                (Head::Entry, Head::End) => return Ok(Some((Some(old.take_entry()), None))),
                (Head::End, Head::Entry) => return Ok(Some((None, Some(new.take_entry())))),
                (Head::Subtree(_), _) => old.descend()?,
                (_, Head::Subtree(_)) => new.descend()?,
            }
        }
    }
}

/// The entries of one tree in order of their paths, up to the first error.
pub struct Entries<'a, N>(Cursor<'a, N>);

impl<'a, N: Nodes> Entries<'a, N> {
    /// All entries under `root`.
    pub fn new(root: Option<&Child>, nodes: &'a N) -> Self {
        Self(Cursor::new(root, nodes))
    }
}

impl<N: Nodes> Iterator for Entries<'_, N> {
    type Item = Result<Entry, N::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.0.head() {
                Head::End => return None,
                Head::Entry => return Some(Ok(self.0.take_entry())),
                Head::Subtree(_) => {
                    if let Err(error) = self.0.descend() {
                        self.0.stop();
                        return Some(Err(error));
                    }
                }
            }
        }
    }
}
