//! Rows to documents: the one place where a row's documents are made, for publisher and origin alike.
//!
//! Owns paths, pages and the choice of template or JSON. Refuses to load rows or to know what is done
//! with the documents.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::definition::{Collection, Document, PAGE, Pages};
use crate::path::DocPath;
use crate::pattern::{ExpandError, Pattern};
use crate::problem::{Problem, Problems};
use crate::release::definition::ReleaseDefinition;
use crate::render::{self, Limits, Page, RenderError, Renderer, Settings};
use crate::router::{NotOwned, Owner, Router};
use crate::row::{Row, Rows};

/// One document made from a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Its path.
    pub path: DocPath,
    /// Index of the document in the collection's definition.
    pub document: usize,
    /// Its body.
    pub body: Vec<u8>,
}

/// Why a document of a row could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyError {
    /// The collection.
    pub collection: String,
    /// The document's path pattern.
    pub pattern: String,
    /// The row, as `column=value` of the columns in the path.
    pub key: String,
    /// The document's path, if the row has one.
    pub path: Option<DocPath>,
    /// What is wrong.
    pub reason: Box<Reason>,
}

impl KeyError {
    /// Rows with the same key.
    #[must_use]
    pub fn twice(collection: &Collection, document: &Document, row: &Row) -> Self {
        Self {
            collection: collection.name.clone(),
            pattern: document.path.to_string(),
            key: describe(&document.path, row),
            path: None,
            reason: Box::new(Reason::Twice),
        }
    }
}

/// What can be wrong with a document of a row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The row gives no path.
    #[error(transparent)]
    Path(#[from] ExpandError),
    /// The path belongs to another document.
    #[error(transparent)]
    Owner(#[from] NotOwned),
    /// The body could not be made.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// Another row makes the same document.
    #[error(
        "another row has the same path: put a column that tells the rows apart into the path, or mend the rows"
    )]
    Twice,
    /// A value has no faithful form.
    #[error("{0}")]
    Value(String),
    /// The path is a folder of another document's, or that one's of this.
    #[error(
        "{folder} is a document, and would have to be a folder for {document}: \
         many buckets cannot hold both, so give one of them another path"
    )]
    Folder {
        /// The shorter path.
        folder: String,
        /// The longer path.
        document: String,
    },
    /// The paged include is no list.
    #[error("`pages.of` names `{0}`, which is not a list of this row")]
    NoList(String),
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "collection `{}`, document `{}`", self.collection, self.pattern)?;
        if !self.key.is_empty() {
            write!(f, ", row {}", self.key)?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl std::error::Error for KeyError {}

/// Makes the documents of one site definition.
pub struct Maker {
    definition: ReleaseDefinition,
    renderer: Renderer,
    router: Router,
    limits: Limits,
}

impl Maker {
    /// Gets templates and paths ready. `folder` is how messages call the folder of the templates.
    ///
    /// # Errors
    /// A template has a mistake.
    pub fn new(definition: ReleaseDefinition, folder: &str, limits: Limits) -> Result<Self, Problems> {
        match Self::read(definition, folder, limits) {
            (maker, problems) if problems.is_empty() => Ok(maker),
            (_, problems) => Err(Problems(problems)),
        }
    }

    /// As [`Self::new`], with those templates that are right, whatever is wrong with others.
    #[must_use]
    pub fn read(definition: ReleaseDefinition, folder: &str, limits: Limits) -> (Self, Vec<Problem>) {
        let settings =
            Settings { site_name: definition.site.name.clone(), site_url: definition.site.url.clone() };
        let (renderer, problems) =
            Renderer::read(folder, &definition.templates, &settings, &definition.static_files, limits);
        let static_files = definition.static_files.keys().filter_map(|path| DocPath::new(path).ok());
        let router = Router::new(static_files, &definition.site.collections);
        (Self { definition, renderer, router, limits }, problems)
    }

    /// What the documents are made with.
    #[must_use]
    pub fn definition(&self) -> &ReleaseDefinition {
        &self.definition
    }

    /// Who owns which path.
    #[must_use]
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// The templates.
    #[must_use]
    pub fn renderer(&self) -> &Renderer {
        &self.renderer
    }

    /// Makes the documents of one row of a collection (by index), those that `wanted` takes (by index).
    /// `row` is the same afterwards.
    pub fn make(
        &self,
        collection: usize,
        row: &mut Row,
        wanted: impl Fn(usize) -> bool,
        mut each: impl FnMut(Result<Made, KeyError>),
    ) {
        let defined = &self.definition.site.collections[collection];
        let documents = defined.documents.iter().enumerate().filter(|(document, _)| wanted(*document));
        if let Some(why) = row.unreadable() {
            for (_, of) in documents {
                let failed = Failed::new(None, Reason::Value(why.clone()));
                each(Err(self.error(defined, of, row, failed)));
            }
            return;
        }
        for (document, of) in documents {
            match &of.pages {
                None => {
                    let made = self.one(row, (collection, document, false), &of.path, None);
                    each(made.map_err(|failed| self.error(defined, of, row, failed)));
                }
                Some(pages) => self.pages((collection, document), pages, row, &mut each),
            }
        }
    }

    /// The path that a document (by its indexes) has for a row with these column texts, or the path of one of
    /// its pages; nothing if such a row has none, or it belongs to somebody else.
    pub fn path<'t>(
        &self,
        (collection, document): (usize, usize),
        page: Option<u32>,
        text: impl Fn(&str) -> Option<Cow<'t, str>>,
    ) -> Option<DocPath> {
        let of = &self.definition.site.collections[collection].documents[document];
        let first = of.pages.as_ref().and_then(|pages| pages.first.as_ref()).filter(|_| page == Some(1));
        let text = |column: &str| match page {
            Some(number) if column == PAGE => Some(number.to_string().into()),
            _ => text(column),
        };
        let path = first.unwrap_or(&of.path).expand(text).ok()?;
        self.router.owns(&path, (collection, document, first.is_some()), text).ok()?;
        Some(path)
    }

    /// Makes the pages of one document: the row has each page's rows in turn, and in the end all again.
    fn pages(
        &self,
        (collection, document): (usize, usize),
        pages: &Pages,
        row: &mut Row,
        each: &mut impl FnMut(Result<Made, KeyError>),
    ) {
        let defined = &self.definition.site.collections[collection];
        let of = &defined.documents[document];
        let Some(place) = row.includes.iter().position(|included| *included.name == *pages.of) else {
            let failed = Failed::new(None, Reason::NoList(pages.of.clone()));
            return each(Err(self.error(defined, of, row, failed)));
        };
        let Rows::Many(all) = &mut row.includes[place].rows else {
            let failed = Failed::new(None, Reason::NoList(pages.of.clone()));
            return each(Err(self.error(defined, of, row, failed)));
        };
        let all = std::mem::take(all);
        let size = pages.size.max(1) as usize;
        let count = all.len().div_ceil(size).max(1) as u32;
        let mut rest = all.chunks(size);
        for number in 1..=count {
            // An empty list makes one empty page.
            let page = rest.next().unwrap_or_default();
            row.includes[place].rows = Rows::Many(Arc::new(page.to_vec()));
            let made = self.page((collection, document), of, pages, row, (number, count));
            each(made.map_err(|failed| self.error(defined, of, row, failed)));
        }
        row.includes[place].rows = Rows::Many(all);
    }

    fn page(
        &self,
        (collection, document): (usize, usize),
        of: &Document,
        pages: &Pages,
        row: &Row,
        (number, count): (u32, u32),
    ) -> Result<Made, Failed> {
        let pattern = |number| match &pages.first {
            Some(first) if number == 1 => first,
            _ => &of.path,
        };
        let link = |number| {
            let path = expand(pattern(number), row, Some(number));
            path.map(|path| path.encode()).map_err(|error| Failed::new(None, error))
        };
        let page = Page {
            number,
            count,
            previous: (number > 1).then(|| link(number - 1)).transpose()?,
            next: (number < count).then(|| link(number + 1)).transpose()?,
        };
        let first = pages.first.is_some() && number == 1;
        self.one(row, (collection, document, first), pattern(number), Some(&page))
    }

    fn one(
        &self,
        row: &Row,
        owner: (usize, usize, bool),
        pattern: &Pattern,
        page: Option<&Page>,
    ) -> Result<Made, Failed> {
        let number = page.map(|page| page.number);
        let path = expand(pattern, row, number).map_err(|error| Failed::new(None, error))?;
        // A path that another document owns is not this row's: its old document is not kept for it.
        let owns = self.router.owns(&path, owner, |column| text(row, number, column));
        owns.map_err(|error| Failed::new(None, error))?;
        let template = &self.definition.site.collections[owner.0].documents[owner.1].template;
        let body = match template {
            Some(template) => self.renderer.render(template, row, page),
            None => render::json(row, page, self.limits),
        };
        let body = body.map_err(|error| Failed::new(Some(&path), error))?;
        Ok(Made { path, document: owner.1, body })
    }

    /// Why `path` cannot be made while `other` is there, one of them being a folder of the other; nothing
    /// if no row makes it.
    #[must_use]
    pub fn in_the_way(&self, path: &str, other: &str) -> Option<KeyError> {
        let Some(Owner::Document(route)) = self.router.owner(path) else { return None };
        let collection = &self.definition.site.collections[route.collection];
        let (folder, document) = if path.len() < other.len() { (path, other) } else { (other, path) };
        let captures = route.captures.iter().filter(|(column, _)| *column != PAGE);
        let key = captures.map(|(column, text)| format!("{column}={}", shortened(&format!("{text:?}"))));
        Some(KeyError {
            collection: collection.name.clone(),
            pattern: collection.documents[route.document].path.to_string(),
            key: key.collect::<Vec<_>>().join(", "),
            path: DocPath::new(path).ok(),
            reason: Box::new(Reason::Folder { folder: folder.to_owned(), document: document.to_owned() }),
        })
    }

    fn error(&self, collection: &Collection, document: &Document, row: &Row, failed: Failed) -> KeyError {
        KeyError {
            collection: collection.name.clone(),
            pattern: document.path.to_string(),
            key: describe(&document.path, row),
            path: failed.path,
            reason: failed.reason,
        }
    }
}

struct Failed {
    path: Option<DocPath>,
    reason: Box<Reason>,
}

impl Failed {
    fn new(path: Option<&DocPath>, reason: impl Into<Reason>) -> Self {
        Self { path: path.cloned(), reason: Box::new(reason.into()) }
    }
}

fn expand(pattern: &Pattern, row: &Row, page: Option<u32>) -> Result<DocPath, ExpandError> {
    pattern.expand(|column| text(row, page, column))
}

/// The text of a capture: the page's number, or the row's column.
fn text<'r>(row: &'r Row, page: Option<u32>, column: &str) -> Option<Cow<'r, str>> {
    match page {
        Some(number) if column == PAGE => Some(number.to_string().into()),
        _ => row.get(column)?.path_text(),
    }
}

/// The row's key for messages, each value cut to a readable length.
fn describe(pattern: &Pattern, row: &Row) -> String {
    let value = |column: &str| match row.get(column) {
        None => "(no such column)".to_owned(),
        Some(value) => {
            shortened(&value.path_text().map_or_else(|| value.kind().to_owned(), |text| format!("{text:?}")))
        }
    };
    let columns = pattern.columns().filter(|column| *column != PAGE);
    columns.map(|column| format!("{column}={}", value(column))).collect::<Vec<_>>().join(", ")
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
