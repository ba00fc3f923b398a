//! What a site is: the model that the reader fills and everybody else uses.
//!
//! Owns the types, their equality and how they print without secrets. Refuses to check: whoever builds
//! them by hand answers for them.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::path::DocPath;
use crate::pattern::Pattern;
use crate::policy::Policy;

/// The capture that stands for a page's number in the path of a paged document.
pub const PAGE: &str = "page";

/// Everything one `site.toml` defines.
#[derive(Debug, Clone)]
pub struct Site {
    /// What documents are made from: stored with every release, free of secrets and of local paths.
    pub definition: Definition,
    /// Folder of the templates, relative to `site.toml`.
    pub templates: String,
    /// Folder of the static files, relative to `site.toml`.
    pub static_files: Option<String>,
    /// `[database]`
    pub database: Database,
    /// `[storage]`
    pub storage: Storage,
    /// `[publish]`
    pub publish: Publish,
    /// `[origin]`
    pub origin: Origin,
}

/// The part of a site that decides what its documents are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// The site's name.
    pub name: String,
    /// Its address without a trailing slash, for absolute links.
    pub url: String,
    /// The document served with 404.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_found: Option<DocPath>,
    /// The collections, in order of definition.
    pub collections: Vec<Collection>,
}

/// A named query and the documents made from each of its rows; without a query, made once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Collection {
    /// Unique name, `[a-z][a-z0-9_-]*`, at most 64 bytes: names a purge tag too.
    pub name: String,
    /// One SELECT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Related rows.
    pub includes: Vec<Include>,
    /// What is made from each row; at least one.
    pub documents: Vec<Document>,
    /// Re-render at least this often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<Duration>,
    /// Whether the origin may answer absent documents from the database.
    pub fallback: bool,
    /// Line of its `[[collection]]` in `site.toml`; not part of its content.
    #[serde(skip)]
    pub line: u32,
}

/// Rows that belong to each row of the collection or include around it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Include {
    /// The name under which the rows appear.
    pub name: String,
    /// One SELECT.
    pub query: String,
    /// Pairs of (column of this query, column of the row around it); empty: the whole result.
    pub on: Vec<(String, String)>,
    /// What stands after ORDER BY.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_by: Option<String>,
    /// At most so many rows for each row around it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// An object or null instead of a list.
    pub one: bool,
    /// Rows that belong to each of these rows.
    pub includes: Vec<Self>,
    /// Line in `site.toml`; not part of its content.
    #[serde(skip)]
    pub line: u32,
}

/// One document made from each row, or several when split into pages.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Document {
    /// Its path.
    pub path: Pattern,
    /// The template; without one, the row as compact JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Its media type, with a charset where one belongs.
    pub media_type: String,
    /// How long it may be kept.
    pub cache: Policy,
    /// Splits it into pages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pages: Option<Pages>,
    /// Line of its `[[collection.document]]`; not part of its content.
    #[serde(skip)]
    pub line: u32,
}

/// How a document is split into pages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pages {
    /// The include whose rows are spread over the pages.
    pub of: String,
    /// Rows on a page; at least 1.
    pub size: u32,
    /// Page one's own path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Pattern>,
}

/// `[database]`
#[derive(Clone)]
pub struct Database {
    /// Where it is; may hold a password, so never print it whole.
    pub url: String,
    /// A script run once when an embedded database is new, relative to `site.toml`.
    pub schema: Option<String>,
    /// Line of `url`.
    pub line: u32,
}

/// `[storage]`
#[derive(Debug, Clone)]
pub struct Storage {
    /// The bucket: `file:FOLDER`, relative to `site.toml`.
    pub url: String,
    /// Where current documents lie at their own paths.
    pub objects: Objects,
    /// Line of `url`.
    pub line: u32,
}

/// `storage.objects`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Objects {
    /// Nowhere.
    Off,
    /// In the bucket itself.
    Same,
    /// In another bucket.
    Other(String),
}

/// `[publish]`
#[derive(Debug, Clone, PartialEq)]
pub struct Publish {
    /// How long to wait for an edit storm to pause.
    pub quiet: Duration,
    /// The longest such wait.
    pub max_wait: Duration,
    /// The share of documents (0 to 1) that a release may remove or empty without `--yes`.
    pub guard: f64,
}

/// `[origin]`
#[derive(Clone)]
pub struct Origin {
    /// Where it listens for the public.
    pub listen: String,
    /// Where it listens for its owner.
    pub admin: String,
    /// What the owner's requests must bear; empty: nothing, which is allowed on the loopback alone.
    pub token: String,
    /// Memory for bodies and index nodes, in bytes.
    pub memory: u64,
    /// The shared cache; empty: none. May hold a password.
    pub redis: String,
}

/// Where it stands in the file is no part of what it says.
impl PartialEq for Collection {
    fn eq(&self, other: &Self) -> bool {
        let Self { name, query, includes, documents, refresh, fallback, line: _ } = self;
        (name, query, includes) == (&other.name, &other.query, &other.includes)
            && (documents, refresh, fallback) == (&other.documents, &other.refresh, &other.fallback)
    }
}

/// Where it stands in the file is no part of what it says.
impl PartialEq for Include {
    fn eq(&self, other: &Self) -> bool {
        let Self { name, query, on, order_by, limit, one, includes, line: _ } = self;
        (name, query, on, order_by) == (&other.name, &other.query, &other.on, &other.order_by)
            && (limit, one, includes) == (&other.limit, &other.one, &other.includes)
    }
}

/// Where it stands in the file is no part of what it says.
impl PartialEq for Document {
    fn eq(&self, other: &Self) -> bool {
        let Self { path, template, media_type, cache, pages, line: _ } = self;
        (path, template, media_type) == (&other.path, &other.template, &other.media_type)
            && (cache, pages) == (&other.cache, &other.pages)
    }
}

impl Database {
    /// The URL as it may be printed: without passwords and parameters.
    #[must_use]
    pub fn redacted(&self) -> String {
        redact(&self.url)
    }

    /// The file of an embedded database, relative to `site.toml` unless absolute; nothing if it is a server's.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        self.url.starts_with("sqlite:").then(|| file_of(&self.url, "sqlite:"))
    }
}

/// The folder that a bucket's URL (`file:FOLDER`) names.
#[must_use]
pub fn folder(url: &str) -> &str {
    file_of(url, "file:")
}

/// What follows the scheme of a URL that names a file, with or without `//`.
pub(super) fn file_of<'a>(url: &'a str, scheme: &str) -> &'a str {
    let rest = url.strip_prefix(scheme).unwrap_or(url);
    rest.strip_prefix("//").unwrap_or(rest)
}

/// A URL as it may be printed. Hides too much rather than too little: everything between the scheme's
/// `//` and the last `@`, and all parameters.
pub(super) fn redact(url: &str) -> String {
    let mut printed =
        match url.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?))) {
            Some((scheme, (_, host))) => format!("{scheme}://***@{host}"),
            None => url.to_owned(),
        };
    if let Some(parameters) = printed.find('?') {
        printed.replace_range(parameters + 1.., "***");
    }
    printed
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url: _, schema, line } = self;
        f.debug_struct("Database")
            .field("url", &self.redacted())
            .field("schema", schema)
            .field("line", line)
            .finish()
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { listen, admin, token: _, memory, redis } = self;
        f.debug_struct("Origin")
            .field("listen", listen)
            .field("admin", admin)
            .field("memory", memory)
            .field("redis", &redact(redis))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_never_print() {
        for (url, printed) in [
            ("sqlite:shop.db", "sqlite:shop.db"),
            ("sqlite:/home/a@b/shop.db", "sqlite:/home/a@b/shop.db"),
            ("postgres://me:secret@host/db", "postgres://***@host/db"),
            ("postgres://me:se/c@ret@host/db", "postgres://***@host/db"),
            ("postgres://host/db?password=secret", "postgres://host/db?***"),
            ("postgres://me:sec?ret@host/db", "postgres://***@host/db"),
            ("redis://:secret@a,redis://:secret@b", "redis://***@b"),
        ] {
            let database = Database { url: url.to_owned(), schema: None, line: 1 };
            let origin = Origin {
                listen: String::new(),
                admin: String::new(),
                token: "s3cr3t".to_owned(),
                memory: 1,
                redis: url.to_owned(),
            };
            assert!(!format!("{origin:?}").contains("s3cr3t"));
            assert_eq!(database.redacted(), printed);
            assert!(format!("{database:?}").contains(&format!("\"{printed}\"")));
            assert!(format!("{origin:?}").contains(&format!("\"{printed}\"")));
        }
    }

    #[test]
    fn a_file_url_may_have_slashes_after_its_scheme() {
        for (url, file) in [
            ("sqlite:a.db", "a.db"),
            ("sqlite:///a.db", "/a.db"),
            ("sqlite:/a.db", "/a.db"),
            ("sqlite://a.db", "a.db"),
        ] {
            assert_eq!(Database { url: url.to_owned(), schema: None, line: 1 }.file(), Some(file));
        }
    }
}
