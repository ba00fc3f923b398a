//! What a publish makes anew: everything, some collections, some documents of all rows, or the documents of
//! some keys.
//!
//! Owns what follows from a changed definition: a template touches the documents that use it, a path those
//! whose paths it may take over. Refuses to look at rows; `impact` says what those touch.

use std::collections::{BTreeMap, BTreeSet};

use edgepress_site::definition::{Collection, Document};
use edgepress_site::documents::Maker;
use edgepress_site::pattern::Pattern;
use edgepress_site::release::definition::ReleaseDefinition;
use edgepress_site::row::Value;

/// The values of a collection's key columns in one row.
pub(crate) type Key = Vec<Value>;

/// What is made anew of one collection.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Part {
    /// Why all documents of all rows are made anew, if they are: what no row makes any more goes.
    pub(crate) whole: Option<String>,
    /// Documents (by index) that are made anew for every row.
    pub(crate) documents: BTreeSet<usize>,
    /// Rows of which all other documents are made anew, too.
    pub(crate) keys: Vec<Key>,
}

/// What is made anew of a site.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Scope {
    /// Why everything is, if it is.
    full: Option<String>,
    parts: BTreeMap<String, Part>,
    /// Static files that came, changed or went.
    pub(crate) static_files: BTreeSet<String>,
}

/// Which old documents of a collection are walked: those that go unless they are made anew.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Walk<'a> {
    Nothing,
    Documents(&'a BTreeSet<usize>),
    All,
}

impl Scope {
    /// Everything, and why.
    pub(crate) fn full(why: impl Into<String>) -> Self {
        Self { full: Some(why.into()), ..Self::default() }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full.is_some()
    }

    /// Whether nothing is made anew.
    pub(crate) fn is_empty(&self) -> bool {
        !self.is_full() && self.parts.is_empty() && self.static_files.is_empty()
    }

    /// Why everything is made anew, if it is.
    pub(crate) fn why(&self) -> Option<&str> {
        self.full.as_deref()
    }

    /// What is made anew of a collection, unless it is everything or nothing.
    pub(crate) fn part(&self, collection: &str) -> Option<&Part> {
        self.parts.get(collection)
    }

    /// Collections that are made anew as a whole, and why.
    pub(crate) fn wholes(&self) -> BTreeMap<String, String> {
        let whole = |(name, part): (&String, &Part)| Some((name.clone(), part.whole.clone()?));
        self.parts.iter().filter_map(whole).collect()
    }

    /// Whether all rows of a collection are read.
    pub(crate) fn is_whole(&self, collection: &str) -> bool {
        self.is_full() || self.part(collection).is_some_and(|part| part.whole.is_some())
    }

    pub(crate) fn walk(&self, collection: &str) -> Walk<'_> {
        match self.part(collection) {
            _ if self.is_full() => Walk::All,
            None => Walk::Nothing,
            Some(Part { whole: Some(_), .. }) => Walk::All,
            Some(part) if part.documents.is_empty() => Walk::Nothing,
            Some(part) => Walk::Documents(&part.documents),
        }
    }

    /// Makes all of a collection anew.
    pub(crate) fn add_whole(&mut self, collection: &str, why: impl Into<String>) {
        let part = self.parts.entry(collection.to_owned()).or_default();
        part.whole.get_or_insert(why.into());
        part.documents.clear();
        part.keys.clear();
    }

    /// Makes one document of every row anew.
    fn add_document(&mut self, collection: &str, document: usize) {
        let part = self.parts.entry(collection.to_owned()).or_default();
        if part.whole.is_none() {
            part.documents.insert(document);
        }
    }

    /// Makes the documents of some rows anew.
    pub(crate) fn add_keys(&mut self, collection: &str, keys: Vec<Key>) {
        if keys.is_empty() {
            return;
        }
        let part = self.parts.entry(collection.to_owned()).or_default();
        if part.whole.is_none() {
            part.keys.extend(keys);
        }
    }

    /// What follows from the difference between what the live release was made with and what the next
    /// one will be.
    pub(crate) fn of_definition(old: &ReleaseDefinition, maker: &Maker) -> Self {
        let new = maker.definition();
        if old.renderer != new.renderer {
            return Self::full("the release was made by another version of edgepress");
        }
        let mut scope = Self::default();
        for collection in &new.site.collections {
            let before = old.site.collections.iter().find(|before| before.name == collection.name);
            scope.add_differences(before, collection, old, maker);
        }
        for before in &old.site.collections {
            if new.site.collections.iter().all(|collection| collection.name != before.name) {
                scope.add_whole(&before.name, "it is no longer defined");
            }
        }
        let files = old.static_files.keys().chain(new.static_files.keys());
        let differs = |path: &&String| old.static_files.get(*path) != new.static_files.get(*path);
        scope.static_files = files.filter(differs).cloned().collect();
        scope.add_paths(old, new)
    }

    /// What differs within a collection.
    fn add_differences(
        &mut self,
        before: Option<&Collection>,
        collection: &Collection,
        old: &ReleaseDefinition,
        maker: &Maker,
    ) {
        let Some(before) = before else { return self.add_whole(&collection.name, "it is new") };
        if before.query != collection.query || before.includes != collection.includes {
            self.add_whole(&collection.name, "its queries changed");
        } else if !before.documents.iter().map(paths).eq(collection.documents.iter().map(paths)) {
            self.add_whole(&collection.name, "its paths changed");
        }
        for (number, (before, document)) in before.documents.iter().zip(&collection.documents).enumerate() {
            if before != document || is_template_touched(document, old, maker) {
                self.add_document(&collection.name, number);
            }
        }
    }

    /// What may belong to another document now that paths came or went.
    fn add_paths(mut self, old: &ReleaseDefinition, new: &ReleaseDefinition) -> Self {
        let (before, after) = (patterns(old), patterns(new));
        let is_in = |slots: &[Slot<'_>], slot: &Slot<'_>| slots.contains(slot);
        let stayed = before.iter().filter(|slot| is_in(&after, slot));
        if !stayed.eq(after.iter().filter(|slot| is_in(&before, slot))) {
            return Self::full("the order of the paths changed");
        }
        let gone = before.iter().filter(|slot| !is_in(&after, slot));
        let moved: Vec<_> = gone.chain(after.iter().filter(|slot| !is_in(&before, slot))).collect();
        let files = old.static_files.keys().chain(new.static_files.keys());
        let files: Vec<_> = files
            .filter(|path| old.static_files.contains_key(*path) != new.static_files.contains_key(*path))
            .collect();
        for (collection, pattern) in &after {
            let is_touched = moved.iter().any(|(_, moved)| overlap(moved, pattern))
                || files.iter().any(|path| pattern.matches(path).is_some());
            if is_touched {
                self.add_whole(collection, "its paths may belong to others");
            }
        }
        self
    }
}

type Slot<'a> = (&'a str, &'a Pattern);

/// All patterns in order of definition, each with its collection.
fn patterns(definition: &ReleaseDefinition) -> Vec<Slot<'_>> {
    let collections = definition.site.collections.iter();
    collections
        .flat_map(|collection| {
            let name = collection.name.as_str();
            let documents = collection.documents.iter();
            documents.flat_map(move |document| paths(document).1.into_iter().map(move |path| (name, path)))
        })
        .collect()
}

/// Whether a document is paged, and its patterns.
fn paths(document: &Document) -> (bool, Vec<&Pattern>) {
    let first = document.pages.as_ref().and_then(|pages| pages.first.as_ref());
    (document.pages.is_some(), std::iter::once(&document.path).chain(first).collect())
}

/// Whether there may be a path that both patterns make. Captures have no slash.
fn overlap(a: &Pattern, b: &Pattern) -> bool {
    let (a, b) = (a.as_str(), b.as_str());
    let start = |pattern: &'_ str| pattern.split('{').next().unwrap_or_default().len();
    let end = |pattern: &'_ str| pattern.rsplit('}').next().unwrap_or_default().len();
    let (start_a, start_b) = (&a[..start(a)], &b[..start(b)]);
    let (end_a, end_b) = (&a[a.len() - end(a)..], &b[b.len() - end(b)..]);
    a.matches('/').count() == b.matches('/').count()
        && (start_a.starts_with(start_b) || start_b.starts_with(start_a))
        && (end_a.ends_with(end_b) || end_b.ends_with(end_a))
}

/// Whether a document's template, what that extends, includes and calls, or what all of these see beside
/// the row, is another.
fn is_template_touched(document: &Document, old: &ReleaseDefinition, maker: &Maker) -> bool {
    let Some(template) = &document.template else { return false };
    let new = maker.definition();
    if (&old.site.name, &old.site.url) != (&new.site.name, &new.site.url) {
        return true;
    }
    let changed = |path: &str| old.static_files.get(path) != new.static_files.get(path);
    maker.renderer().dependencies(template).into_iter().any(|name| {
        let text = new.templates.get(name);
        text != old.templates.get(name)
            || match assets(text.map_or("", String::as_str)) {
                Assets::These(names) => names.iter().any(|name| changed(name)),
                Assets::Any => old.static_files != new.static_files,
            }
    })
}

/// The static files whose versions a template asks for.
#[derive(Debug, PartialEq, Eq)]
enum Assets {
    These(BTreeSet<String>),
    /// Some that only a row can name.
    Any,
}

/// Finds them by `asset(path="...")` in the text; a call of any other form may mean any file.
fn assets(text: &str) -> Assets {
    let mut names = BTreeSet::new();
    for (at, word) in text.match_indices("asset") {
        let rest = text[at + word.len()..].trim_start();
        let Some(call) = rest.strip_prefix('(') else { continue };
        match literal(call) {
            Some(name) => drop(names.insert(format!("/{}", name.trim_start_matches('/')))),
            None => return Assets::Any,
        }
    }
    Assets::These(names)
}

/// The text in `path="text")`.
fn literal(call: &str) -> Option<&str> {
    let value = call.trim_start().strip_prefix("path")?.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\'' | '`'))?;
    let (name, rest) = value[1..].split_once(quote)?;
    (rest.trim_start().starts_with(')') && !name.contains('\\')).then_some(name)
}

#[cfg(test)]
mod tests;
