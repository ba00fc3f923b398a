//! Which document owns a path.
//!
//! Owns the one rule of ownership: static files, then literal paths, then patterns in order of
//! definition; the first match owns the path. Refuses to know whether a row stands behind it.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use crate::definition::{Collection, PAGE};
use crate::path::DocPath;
use crate::pattern::{Captures, Pattern};

/// Finds the owners of paths.
#[derive(Debug, Clone, Default)]
pub struct Router {
    static_files: HashSet<DocPath>,
    /// Their folders, without the root.
    static_folders: HashSet<String>,
    literals: HashMap<DocPath, usize>,
    /// In order of definition; a paged document's pattern stands before its `first`.
    slots: Vec<Slot>,
}

/// One pattern of the definition.
#[derive(Debug, Clone)]
struct Slot {
    pattern: Pattern,
    collection: usize,
    document: usize,
    first_page: bool,
    pages: Option<FirstPage>,
    /// The pattern's beginnings that end before one of its slashes.
    folders: Vec<Pattern>,
}

/// What the pattern's `{page}` starts with.
#[derive(Debug, Clone, Copy)]
enum FirstPage {
    /// Page one is here.
    Here,
    /// Page one has its own path.
    Elsewhere,
}

/// Who owns a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner<'a> {
    /// A static file.
    Static,
    /// A document.
    Document(Route<'a>),
}

/// The document that a path belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route<'a> {
    /// Index of the collection in the definition.
    pub collection: usize,
    /// Index of the document in the collection.
    pub document: usize,
    /// Whether the path is page one's own (`pages.first`).
    pub first_page: bool,
    /// The column texts in the path; `page` among them in the paths of pages.
    pub captures: Captures<'a>,
}

/// Why a path that a row made is not that row's. The messages stand alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotOwned {
    /// A static file owns it.
    #[error("the path `{path}` belongs to a static file; rename the file or change the row")]
    Static {
        /// The path.
        path: String,
    },
    /// A document that comes first owns it.
    #[error(
        "the path `{path}` belongs to the document `{owner}`, which comes first; change the row or the paths"
    )]
    Other {
        /// The path.
        path: String,
        /// The owner's pattern.
        owner: String,
    },
    /// The path reads as other texts than it was made from.
    #[error(
        "the path `{path}` reads as {column} `{read}`, but was made from `{made}`; \
         change the row, or put another separator into the path `{pattern}`"
    )]
    Ambiguous {
        /// The path.
        path: String,
        /// The pattern that made it.
        pattern: String,
        /// The first column that differs.
        column: String,
        /// What the path reads as.
        read: String,
        /// What it was made from.
        made: String,
    },
    /// No document owns it: its page number is not one that the pattern makes.
    #[error("the path `{path}` belongs to no document")]
    Nobody {
        /// The path.
        path: String,
    },
}

impl Router {
    /// Knows the static files and the collections of one site.
    #[must_use]
    pub fn new(static_files: impl IntoIterator<Item = DocPath>, collections: &[Collection]) -> Self {
        let mut router = Self { static_files: static_files.into_iter().collect(), ..Self::default() };
        for file in &router.static_files {
            let slashes = file.as_str().match_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
            router.static_folders.extend(slashes.map(|at| file.as_str()[..at].to_owned()));
        }
        for (collection, defined) in collections.iter().enumerate() {
            for (document, defined) in defined.documents.iter().enumerate() {
                let slot = |pattern: &Pattern, first_page, pages| Slot {
                    pattern: pattern.clone(),
                    collection,
                    document,
                    first_page,
                    pages,
                    folders: folders(pattern),
                };
                let first = defined.pages.as_ref().and_then(|pages| pages.first.as_ref());
                let from = if first.is_some() { FirstPage::Elsewhere } else { FirstPage::Here };
                router.add(slot(&defined.path, false, defined.pages.is_some().then_some(from)));
                if let Some(first) = first {
                    router.add(slot(first, true, None));
                }
            }
        }
        router
    }

    fn add(&mut self, slot: Slot) {
        if slot.pattern.is_literal() {
            let path = slot.pattern.expand(|_| None).expect("a literal pattern is a valid path");
            self.literals.entry(path).or_insert(self.slots.len());
        }
        self.slots.push(slot);
    }

    /// Whether a static file has this path.
    #[must_use]
    pub fn is_static(&self, path: &str) -> bool {
        self.static_files.contains(path)
    }

    /// Whether exactly one document or static file has this path, whatever the rows.
    #[must_use]
    pub fn is_literal(&self, path: &str) -> bool {
        self.is_static(path) || self.literals.contains_key(path)
    }

    /// Whether a document or static file could have a path for which `path` would be a folder.
    #[must_use]
    pub fn is_folder(&self, path: &str) -> bool {
        let mut folders = self.slots.iter().flat_map(|slot| &slot.folders);
        self.static_folders.contains(path) || folders.any(|folder| folder.matches(path).is_some())
    }

    /// Who owns `path`, if anybody does.
    #[must_use]
    pub fn owner<'a>(&'a self, path: &'a str) -> Option<Owner<'a>> {
        if self.is_static(path) {
            return Some(Owner::Static);
        }
        self.find(path).map(|(slot, captures)| {
            let Slot { collection, document, first_page, .. } = *slot;
            Owner::Document(Route { collection, document, first_page, captures })
        })
    }

    fn find<'a>(&'a self, path: &'a str) -> Option<(&'a Slot, Captures<'a>)> {
        if let Some(slot) = self.literals.get(path).and_then(|index| self.slots.get(*index)) {
            return Some((slot, slot.pattern.matches(path)?));
        }
        let patterns = self.slots.iter().filter(|slot| !slot.pattern.is_literal());
        patterns.filter_map(|slot| Some((slot, slot.matches(path)?))).next()
    }

    /// Checks that a path made by a document belongs to it, and gives back exactly the texts it was
    /// made from: `text` is asked for each capture's, the page's number among them.
    ///
    /// # Errors
    /// When somebody else owns the path, or it reads as other texts.
    pub fn owns<'t>(
        &self,
        path: &DocPath,
        (collection, document, first_page): (usize, usize, bool),
        mut text: impl FnMut(&str) -> Option<Cow<'t, str>>,
    ) -> Result<(), NotOwned> {
        let made = || path.to_string();
        if self.is_static(path.as_str()) {
            return Err(NotOwned::Static { path: made() });
        }
        let Some((slot, captures)) = self.find(path.as_str()) else {
            return Err(NotOwned::Nobody { path: made() });
        };
        if (slot.collection, slot.document, slot.first_page) != (collection, document, first_page) {
            return Err(NotOwned::Other { path: made(), owner: slot.pattern.to_string() });
        }
        for (column, read) in captures.iter() {
            let expected = text(column).unwrap_or_default();
            if expected != read {
                return Err(NotOwned::Ambiguous {
                    path: made(),
                    pattern: slot.pattern.to_string(),
                    column: column.to_owned(),
                    read: read.to_owned(),
                    made: expected.into_owned(),
                });
            }
        }
        Ok(())
    }
}

impl Slot {
    fn matches<'a>(&'a self, path: &'a str) -> Option<Captures<'a>> {
        let captures = self.pattern.matches(path)?;
        let Some(from) = self.pages else { return Some(captures) };
        let page = page_number(captures.get(PAGE)?)?;
        (page > 1 || matches!(from, FirstPage::Here)).then_some(captures)
    }
}

/// Beginnings of a pattern, each up to one of its slashes but the first.
fn folders(pattern: &Pattern) -> Vec<Pattern> {
    let text = pattern.as_str();
    let slashes = text.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
    // Whatever stands before a slash can be a path: names of columns have no slash.
    slashes.filter_map(|at| Pattern::parse(&text[..at]).ok()).collect()
}

/// The number of a page as a path writes it: decimal from 1, without leading zeros.
#[must_use]
pub fn page_number(text: &str) -> Option<u32> {
    let canonical = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| canonical)
}

#[cfg(test)]
mod tests;
