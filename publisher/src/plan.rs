//! What a release changes: the documents made anew beside the old ones, in order of path, each once.
//!
//! Owns the comparison, which paths cannot lie side by side, and the edits of each
//! collection's tree. Refuses to write any of it. Looks at no document outside the scope of the publish.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashSet};
use std::sync::Arc;

use edgepress_site::documents::{KeyError, Maker};
use edgepress_site::release::codec::{Reader, put_bytes, put_varint};
use edgepress_site::release::definition::STATIC;
use edgepress_site::release::diff::Entries;
use edgepress_site::release::node::PREVIOUS;
use edgepress_site::release::record::Counts;
use edgepress_site::release::{Change, Edit, Entry, Index, Previous};
use edgepress_site::router::Owner;
use edgepress_store::release::Blocking;

use crate::codec;
use crate::error::PublishError;
use crate::scope::{Scope, Walk};
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

/// More documents than this that are in the way of others, and nothing is published.
const MAX_REFUSED: usize = 10_000;

/// Bytes of a body that says nothing: the end of a line, `{}`, `[]`.
const EMPTY: u64 = 2;

/// What a release would change.
pub(crate) struct Plan {
    pub(crate) counts: Counts,
    /// Documents that would lose all their content.
    pub(crate) emptied: u64,
    /// Edits of each collection's tree, in order of path.
    pub(crate) edits: BTreeMap<Arc<str>, Spool>,
    /// The first differences, where they were asked for.
    pub(crate) differences: Vec<Difference>,
    /// Whether only a look at all documents can tell if this can be released.
    pub(crate) needs_full: bool,
    /// Documents that cannot be there because of others, each with one of those.
    pub(crate) refused: BTreeMap<Arc<str>, Arc<str>>,
    /// Static files that would drive out live documents, each with one of those.
    pub(crate) left_out: BTreeMap<Arc<str>, Arc<str>>,
}

/// What is decided anew about a path of a collection (by number); ordered by path.
pub(crate) struct Fresh {
    pub(crate) collection: u32,
    pub(crate) path: Arc<str>,
    /// The document made anew. Without one, what lies at the path goes, unless another of the path's has
    /// one.
    pub(crate) entry: Option<Entry>,
}

impl Item for Fresh {
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, u64::from(self.collection));
        match &self.entry {
            None => put_bytes(out, self.path.as_bytes()),
            // No path is empty.
            Some(entry) => {
                put_bytes(out, &[]);
                codec::put_entry(out, entry);
            }
        }
    }

    fn get(record: &[u8]) -> Result<Self, PublishError> {
        let mut reader = Reader::new(record);
        let collection = reader.varint32()?;
        match reader.text()? {
            "" => {
                let entry = codec::entry(&mut reader)?;
                Ok(Self { collection, path: entry.path.clone(), entry: Some(entry) })
            }
            path => Ok(Self { collection, path: path.into(), entry: None }),
        }
    }
}

impl Ord for Fresh {
    fn cmp(&self, other: &Self) -> Ordering {
        self.path.cmp(&other.path).then(self.collection.cmp(&other.collection))
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

/// Old documents that stay although they were not made anew, because a row failed.
#[derive(Debug, Default)]
pub(crate) struct Keeping {
    /// Collections with a row that cannot say which documents are its own: all of theirs stay.
    pub(crate) collections: BTreeSet<Arc<str>>,
    /// Documents of rows that can.
    pub(crate) paths: HashSet<Arc<str>>,
}

/// What a plan is made from.
pub(crate) struct Planner<'a> {
    /// The live release's index; empty before the first.
    pub(crate) old: &'a Index,
    pub(crate) nodes: &'a Blocking,
    pub(crate) maker: &'a Maker,
    /// Names of the new collections by their numbers in the sorter.
    pub(crate) collections: &'a [Arc<str>],
    pub(crate) scope: &'a Scope,
    pub(crate) keeping: &'a Keeping,
    /// Documents made anew that must not be there.
    pub(crate) refused: &'a BTreeMap<Arc<str>, KeyError>,
    /// When new bodies count as changed: milliseconds since 1970.
    pub(crate) stamp: u64,
    /// How many differences to list.
    pub(crate) list: usize,
}

impl Planner<'_> {
    /// Walks all documents in the scope, of both releases, once.
    pub(crate) fn plan(&self, mut new: Sorted<Fresh>) -> Result<Plan, PublishError> {
        let mut plan = Plan {
            counts: Counts { documents: self.old.documents(), ..Counts::default() },
            emptied: 0,
            edits: BTreeMap::new(),
            differences: Vec::new(),
            needs_full: false,
            refused: BTreeMap::new(),
            left_out: BTreeMap::new(),
        };
        let mut old = OldEntries::new(self)?;
        let mut folders = Folders::default();
        let mut ahead = new.next().transpose()?;
        loop {
            let path = match (old.path(), &ahead) {
                (Some(a), Some(b)) => a.min(&b.path).clone(),
                (Some(a), None) => a.clone(),
                (None, Some(b)) => b.path.clone(),
                (None, None) => return Ok(plan),
            };
            let mut before = old.take(&path)?;
            let (mut after, mut decides) = (None, None);
            while let Some(Fresh { collection, entry, .. }) = ahead.take_if(|fresh| fresh.path == path) {
                let collection = &self.collections[collection as usize];
                ahead = new.next().transpose()?;
                decides = Some(collection);
                if let Some(entry) = entry.filter(|entry| !self.refused.contains_key(&entry.path)) {
                    if after.is_some() {
                        return Err(twice(&path, collection));
                    }
                    after = Some((collection.clone(), entry));
                }
            }
            if let Some(collection) = decides.filter(|_| before.is_none()) {
                before = self.look_up(collection, &path)?;
            }
            match after.take() {
                Some((collection, entry)) => after = Some((collection, self.inherit(entry, before.as_ref()))),
                None if before.as_ref().is_some_and(|before| self.stays(before)) => after.clone_from(&before),
                None => {}
            }
            if let Some((_, entry)) = &after {
                let is_new = before.is_none();
                for (folder, folder_is_new) in folders.around(&entry.path) {
                    // What is live stays so.
                    match folder_is_new && !is_new {
                        true => self.refuse(&mut plan, folder, (&entry.path, true))?,
                        false => self.refuse(&mut plan, &entry.path, (folder, !folder_is_new))?,
                    }
                }
                folders.enter(&entry.path, is_new);
                if is_new {
                    self.look_around(&mut plan, &entry.path)?;
                }
            }
            self.step(&mut plan, before, after)?;
        }
    }

    /// The old document at a path that is decided anew, if its collection is not walked as a whole.
    fn look_up(&self, collection: &Arc<str>, path: &str) -> Result<Option<Side>, PublishError> {
        let tree = match self.scope.walk(collection) {
            Walk::All => None,
            Walk::Nothing | Walk::Documents(_) => self.old.collections.get(&**collection),
        };
        let entry = tree.map(|tree| self.nodes.entry(tree, path)).transpose()?.flatten();
        Ok(entry.map(|entry| (collection.clone(), entry)))
    }

    /// Whether an old document stays because its row failed. Not if its path belongs to another collection by
    /// now, whose row may have failed: the document would lie there a second time once that is mended.
    fn stays(&self, (collection, entry): &Side) -> bool {
        let is_kept =
            || self.keeping.collections.contains(collection) || self.keeping.paths.contains(&entry.path);
        let owner = self.maker.router().owner(&entry.path);
        let owns = |owner| match owner {
            Owner::Document(route) => self.collections[route.collection] == *collection,
            Owner::Static => false,
        };
        owner.is_some_and(owns) && is_kept()
    }

    /// Looks at the documents outside the walk that are in the way of one that is new at `path`, because one
    /// would be the other's folder.
    fn look_around(&self, plan: &mut Plan, path: &Arc<str>) -> Result<(), PublishError> {
        if self.scope.is_full() {
            return Ok(());
        }
        for (collection, other) in self.old_around(path)? {
            let is_static = collection == STATIC;
            match self.scope.part(collection) {
                _ if is_static && self.scope.static_files.contains(&*other) => plan.needs_full = true,
                None => self.refuse(plan, path, (&other, true))?,
                // It is walked, and its folders are seen there.
                Some(part) if part.whole.is_some() => {}
                Some(_) => plan.needs_full = true,
            }
        }
        Ok(())
    }

    /// Live documents, with their collections, of which `path` would be a folder or that would be one of its:
    /// of each tree at most the first below `path`.
    fn old_around(&self, path: &str) -> Result<Vec<(&str, Arc<str>)>, PublishError> {
        let mut around = Vec::new();
        let router = self.maker.router();
        for (slash, _) in path.match_indices('/').filter(|(at, _)| *at > 0) {
            let folder = &path[..slash];
            let collection = match router.owner(folder) {
                None => continue,
                Some(Owner::Static) => STATIC,
                Some(Owner::Document(route)) => &*self.collections[route.collection],
            };
            if let Some(tree) = self.old.collections.get(collection)
                && let Some(entry) = self.nodes.entry(tree, folder)?
            {
                around.push((collection, entry.path));
            }
        }
        if router.is_folder(path) {
            let folder = format!("{path}/");
            for (collection, tree) in &self.old.collections {
                let first = self.nodes.first_from(tree, &folder)?;
                let first = first.filter(|entry| entry.path.starts_with(&folder));
                around.extend(first.map(|entry| (collection.as_str(), entry.path)));
            }
        }
        Ok(around)
    }

    /// Notes that a document must not be there because of another, which may be live. A static file is there
    /// whatever rows say; but one that would drive out what is live is a mistake of the site's.
    fn refuse(
        &self,
        plan: &mut Plan,
        path: &Arc<str>,
        (other, is_live): (&Arc<str>, bool),
    ) -> Result<(), PublishError> {
        let (path, other) = match self.maker.router().is_static(path) {
            true if is_live => {
                plan.left_out.insert(path.clone(), other.clone());
                return Ok(());
            }
            true => (other, path),
            false => (path, other),
        };
        if plan.refused.len() >= MAX_REFUSED {
            return Err(PublishError::Paths(format!(
                "thousands of documents would have to be folders for others, {path} or {other} among them: \
                 give the documents of one collection other paths"
            )));
        }
        plan.refused.entry(path.clone()).or_insert_with(|| other.clone());
        Ok(())
    }

    /// Counts one document.
    fn step(&self, plan: &mut Plan, before: Option<Side>, after: Option<Side>) -> Result<(), PublishError> {
        match (&before, &after) {
            (Some((a, before)), Some((b, after))) if a == b && before.same_content(after) => return Ok(()),
            (Some((_, before)), Some((_, after))) => {
                plan.counts.changed += 1;
                plan.emptied += u64::from(after.size <= EMPTY && before.size > EMPTY);
            }
            (None, None) => return Ok(()),
            (None, Some(_)) => {
                plan.counts.added += 1;
                plan.counts.documents += 1;
            }
            (Some(_), None) => {
                plan.counts.removed += 1;
                plan.counts.documents = plan.counts.documents.saturating_sub(1);
            }
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

/// Finds documents whose paths are folders of others. Paths come in byte order, so all that begin with an
/// earlier one follow it in one run.
#[derive(Default)]
struct Folders {
    /// Earlier paths that the last one begins with, and whether they are new.
    prefixes: Vec<(Arc<str>, bool)>,
}

impl Folders {
    /// Those that would have to be folders for `path`, and whether they are new.
    fn around(&mut self, path: &str) -> impl Iterator<Item = (&Arc<str>, bool)> {
        while self.prefixes.last().is_some_and(|(prefix, _)| !path.starts_with(&**prefix)) {
            self.prefixes.pop();
        }
        let is_folder = |prefix: &str| path.as_bytes().get(prefix.len()) == Some(&b'/');
        let found = self.prefixes.iter().filter(move |(prefix, _)| is_folder(prefix));
        found.map(|(prefix, is_new)| (prefix, *is_new))
    }

    /// `path` comes after those around it.
    fn enter(&mut self, path: &Arc<str>, is_new: bool) {
        self.prefixes.push((path.clone(), is_new));
    }
}

/// The live release's documents that are walked, in order of path.
struct OldEntries<'a> {
    planner: &'a Planner<'a>,
    collections: Vec<(Arc<str>, Walk<'a>, Entries<'a, Blocking>)>,
    heads: BinaryHeap<Reverse<(Arc<str>, usize)>>,
    entries: Vec<Option<Entry>>,
}

impl<'a> OldEntries<'a> {
    fn new(planner: &'a Planner<'a>) -> Result<Self, PublishError> {
        let walked = planner.old.collections.iter().filter_map(|(name, tree)| {
            let walk = planner.scope.walk(name);
            let entries = || Entries::new(Some(tree), planner.nodes);
            (!matches!(walk, Walk::Nothing)).then(|| (Arc::from(name.as_str()), walk, entries()))
        });
        let collections: Vec<_> = walked.collect();
        let mut old = Self {
            planner,
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
        let (_, walk, entries) = &mut self.collections[number];
        while let Some(entry) = entries.next().transpose()? {
            let is_walked = match walk {
                Walk::Documents(documents) => match self.planner.maker.router().owner(&entry.path) {
                    Some(Owner::Document(route)) => documents.contains(&route.document),
                    _ => false,
                },
                Walk::All | Walk::Nothing => true,
            };
            if is_walked {
                self.heads.push(Reverse((entry.path.clone(), number)));
                self.entries[number] = Some(entry);
                break;
            }
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

    fn folder(paths: &[&str]) -> Option<String> {
        let mut folders = Folders::default();
        paths.iter().find_map(|path| {
            let found = folders.around(path).next().map(|(folder, _)| folder.to_string());
            folders.enter(&Arc::from(*path), true);
            found
        })
    }

    #[test]
    fn a_document_that_would_be_the_folder_of_another_is_found() {
        assert_eq!(folder(&["/a", "/a/b"]).as_deref(), Some("/a"));
        assert_eq!(folder(&["/a", "/a-b", "/a.html", "/a/b"]).as_deref(), Some("/a"));
        assert_eq!(folder(&["/a", "/a-b", "/a-b.html", "/ab/c"]), None);
        assert_eq!(folder(&["/x/a", "/x/a.json", "/x/a/b/c"]).as_deref(), Some("/x/a"));
    }
}
