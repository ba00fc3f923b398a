//! What a release changes: the new documents beside the old ones, in order of path, each once.
//!
//! Owns the comparison, the refusal of paths that cannot lie side by side, and the edits of each
//! collection's tree. Refuses to write any of it.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use edgepress_site::release::codec::{Reader, put_varint};
use edgepress_site::release::diff::Entries;
use edgepress_site::release::node::PREVIOUS;
use edgepress_site::release::record::Counts;
use edgepress_site::release::{Change, Edit, Entry, Index, Previous};
use edgepress_store::release::Blocking;

use crate::codec;
use crate::error::PublishError;
use crate::sort::{Item, Sorted};
use crate::spool::Spool;

/// How a document differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Only the later release has it.
    Added,
    /// Both have it, differently.
    Changed,
    /// Only the earlier release has it.
    Removed,
}

/// One document that differs.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// How.
    pub change: Kind,
    /// Its path.
    pub path: String,
    /// Its collection.
    pub collection: String,
    /// Its size before, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_size: Option<u64>,
    /// Its size after, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_size: Option<u64>,
}

impl Difference {
    pub(crate) fn new(change: &Change) -> Self {
        let kind = match (&change.old, &change.new) {
            (None, _) => Kind::Added,
            (_, None) => Kind::Removed,
            _ => Kind::Changed,
        };
        Self {
            change: kind,
            path: change.path().to_string(),
            collection: change.collection.to_string(),
            old_size: change.old.as_ref().map(|old| old.size),
            new_size: change.new.as_ref().map(|new| new.size),
        }
    }
}

/// What a release would change.
pub(crate) struct Plan {
    pub(crate) counts: Counts,
    /// Documents that would lose all their content.
    pub(crate) emptied: u64,
    /// Edits of each collection's tree, in order of path.
    pub(crate) edits: BTreeMap<Arc<str>, Spool>,
    /// The first differences, where they were asked for.
    pub(crate) differences: Vec<Difference>,
}

/// A document made anew, with the number of its collection; ordered by path.
pub(crate) struct Fresh {
    pub(crate) collection: u32,
    pub(crate) entry: Entry,
}

impl Item for Fresh {
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, u64::from(self.collection));
        codec::put_entry(out, &self.entry);
    }

    fn get(record: &[u8]) -> Result<Self, PublishError> {
        let mut reader = Reader::new(record);
        Ok(Self { collection: reader.varint32()?, entry: codec::entry(&mut reader)? })
    }
}

impl Ord for Fresh {
    fn cmp(&self, other: &Self) -> Ordering {
        self.entry.path.cmp(&other.entry.path).then(self.collection.cmp(&other.collection))
    }
}

impl PartialOrd for Fresh {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Fresh {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Fresh {}

/// A document in one of the two releases: its collection and its entry.
type Side = (Arc<str>, Entry);

/// What a plan is made from.
pub(crate) struct Planner<'a> {
    /// The live release's index; empty before the first.
    pub(crate) old: &'a Index,
    pub(crate) nodes: &'a Blocking,
    /// Names of the new collections by their numbers in the sorter.
    pub(crate) collections: &'a [Arc<str>],
    /// Collections that keep old documents which were not made anew, because a row failed that may have
    /// made them.
    pub(crate) keeping: &'a BTreeSet<Arc<str>>,
    /// When new bodies count as changed: milliseconds since 1970.
    pub(crate) stamp: u64,
    /// How many differences to list.
    pub(crate) list: usize,
}

impl Planner<'_> {
    /// Walks all documents of both releases once.
    pub(crate) fn plan(&self, mut new: Sorted<Fresh>) -> Result<Plan, PublishError> {
        let mut plan =
            Plan { counts: Counts::default(), emptied: 0, edits: BTreeMap::new(), differences: Vec::new() };
        let mut old = OldEntries::new(self.old, self.nodes)?;
        let mut folders = Folders::default();
        let mut ahead = new.next().transpose()?;
        loop {
            let path = match (old.path(), &ahead) {
                (Some(a), Some(b)) => a.min(&b.entry.path).clone(),
                (Some(a), None) => a.clone(),
                (None, Some(b)) => b.entry.path.clone(),
                (None, None) => return Ok(plan),
            };
            let before = old.take(&path)?;
            let mut after = None;
            if let Some(Fresh { collection, entry }) = ahead.take_if(|fresh| fresh.entry.path == path) {
                let collection = &self.collections[collection as usize];
                ahead = new.next().transpose()?;
                if ahead.as_ref().is_some_and(|next| next.entry.path == path) {
                    return Err(twice(&path, collection));
                }
                after = Some((collection.clone(), self.inherit(entry, before.as_ref())));
            } else if let Some((collection, _)) = &before
                && self.keeping.contains(&**collection)
            {
                after.clone_from(&before);
            }
            if let Some((_, entry)) = &after {
                folders.check(&entry.path)?;
            }
            self.step(&mut plan, before, after)?;
        }
    }

    /// Counts one document.
    fn step(&self, plan: &mut Plan, before: Option<Side>, after: Option<Side>) -> Result<(), PublishError> {
        plan.counts.documents += u64::from(after.is_some());
        match (&before, &after) {
            (Some((a, before)), Some((b, after))) if a == b && before.same_content(after) => return Ok(()),
            (Some((_, before)), Some((_, after))) => {
                plan.counts.changed += 1;
                plan.emptied += u64::from(after.size == 0 && before.size > 0);
            }
            (None, _) => plan.counts.added += 1,
            (Some(_), None) => plan.counts.removed += 1,
        }
        self.record(plan, before, after)
    }

    /// Notes one difference and the edits that make it.
    fn record(&self, plan: &mut Plan, old: Option<Side>, new: Option<Side>) -> Result<(), PublishError> {
        if plan.differences.len() < self.list
            && let Some((collection, _)) = new.as_ref().or(old.as_ref())
        {
            let entry = |side: &Option<Side>| side.as_ref().map(|(_, entry)| entry.clone());
            let change = Change { old: entry(&old), new: entry(&new), collection: collection.clone() };
            plan.differences.push(Difference::new(&change));
        }
        let mut edits = Vec::with_capacity(2);
        if let Some((collection, entry)) = old
            && new.as_ref().is_none_or(|(other, _)| *other != collection)
        {
            edits.push((collection, Edit::Remove(entry.path)));
        }
        if let Some((collection, entry)) = new {
            edits.push((collection, Edit::Put(entry)));
        }
        for (collection, edit) in edits {
            let mut record = Vec::new();
            codec::put_edit(&mut record, &edit);
            plan.edits.entry(collection).or_default().push(&record)?;
        }
        Ok(())
    }

    /// What a new entry takes over from the one before it at the same path: its times and versions.
    fn inherit(&self, mut new: Entry, old: Option<&Side>) -> Entry {
        match old.map(|(_, old)| old) {
            Some(old) if old.version == new.version => {
                new.changed = old.changed;
                new.place = old.place;
                new.previous.clone_from(&old.previous);
            }
            Some(old) => {
                new.changed = self.stamp;
                let last = Previous {
                    version: old.version,
                    media_type: old.media_type.clone(),
                    size: old.size,
                    place: old.place,
                };
                let earlier = std::iter::once(last).chain(old.previous.iter().cloned());
                new.previous =
                    earlier.filter(|previous| previous.version != new.version).take(PREVIOUS).collect();
            }
            None => new.changed = self.stamp,
        }
        new
    }
}

fn twice(path: &str, collection: &str) -> PublishError {
    PublishError::Paths(format!(
        "two rows of collection `{collection}` make the document {path}: \
         paths must be unique, so put a column that tells the rows apart into the path, or mend the rows"
    ))
}

/// Refuses a document whose path is a folder of another's. Paths come in byte order, so all that begin
/// with an earlier one follow it in one run.
#[derive(Default)]
struct Folders {
    /// Earlier paths that the last one begins with.
    prefixes: Vec<Arc<str>>,
}

impl Folders {
    fn check(&mut self, path: &Arc<str>) -> Result<(), PublishError> {
        while self.prefixes.last().is_some_and(|prefix| !path.starts_with(&**prefix)) {
            self.prefixes.pop();
        }
        let is_folder = |prefix: &&Arc<str>| path.as_bytes().get(prefix.len()) == Some(&b'/');
        if let Some(folder) = self.prefixes.iter().find(is_folder) {
            return Err(PublishError::Paths(format!(
                "{folder} is a document, and would have to be a folder for {path}: \
                 many buckets cannot hold both, so give one of them another path"
            )));
        }
        self.prefixes.push(path.clone());
        Ok(())
    }
}

/// The live release's documents in order of path.
struct OldEntries<'a> {
    collections: Vec<(Arc<str>, Entries<'a, Blocking>)>,
    heads: BinaryHeap<Reverse<(Arc<str>, usize)>>,
    entries: Vec<Option<Entry>>,
}

impl<'a> OldEntries<'a> {
    fn new(index: &Index, nodes: &'a Blocking) -> Result<Self, PublishError> {
        let collections: Vec<_> = index
            .collections
            .iter()
            .map(|(name, tree)| (Arc::from(name.as_str()), Entries::new(Some(tree), nodes)))
            .collect();
        let mut old = Self {
            entries: collections.iter().map(|_| None).collect(),
            collections,
            heads: BinaryHeap::new(),
        };
        for number in 0..old.collections.len() {
            old.advance(number)?;
        }
        Ok(old)
    }

    fn advance(&mut self, number: usize) -> Result<(), PublishError> {
        if let Some(entry) = self.collections[number].1.next().transpose()? {
            self.heads.push(Reverse((entry.path.clone(), number)));
            self.entries[number] = Some(entry);
        }
        Ok(())
    }

    fn path(&self) -> Option<&Arc<str>> {
        self.heads.peek().map(|Reverse((path, _))| path)
    }

    /// The entry of `path` and its collection, if it is the next.
    fn take(&mut self, path: &Arc<str>) -> Result<Option<Side>, PublishError> {
        if self.path() != Some(path) {
            return Ok(None);
        }
        let Some(Reverse((_, number))) = self.heads.pop() else { return Ok(None) };
        let entry = self.entries[number].take().map(|entry| (self.collections[number].0.clone(), entry));
        self.advance(number)?;
        Ok(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(paths: &[&str]) -> Result<(), PublishError> {
        let mut folders = Folders::default();
        paths.iter().try_for_each(|path| folders.check(&Arc::from(*path)))
    }

    #[test]
    fn a_document_cannot_be_the_folder_of_another() {
        assert!(check(&["/a", "/a/b"]).is_err());
        assert!(check(&["/a", "/a-b", "/a.html", "/a/b"]).is_err());
        assert!(check(&["/a", "/a-b", "/a-b.html", "/ab/c"]).is_ok());
        assert!(check(&["/x/a", "/x/a.json", "/x/a/b/c"]).is_err());
    }
}
