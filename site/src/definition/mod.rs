//! The site definition: what `site.toml` says, checked.
//!
//! Owns the model and its reading from text. Refuses to read files or the environment: the text and
//! the variables come in as arguments.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::path::DocPath;
use crate::pattern::Pattern;
use crate::policy::Policy;

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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// Memory for bodies and index nodes, in bytes.
    pub memory: u64,
    /// The shared cache; empty: none. May hold a password.
    pub redis: String,
}
