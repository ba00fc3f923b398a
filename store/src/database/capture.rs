//! Capturing edits: what a database keeps for its publishers beside its rows.
//!
//! Owns the words that adapters and publishers share: which columns are captured, what a snapshot saw,
//! what changed since. Refuses to know which documents that touches.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use edgepress_site::row::Value;
use serde::{Deserialize, Serialize};

use super::DatabaseError;

/// A table or a view, as the database names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Table {
    /// The schema it lies in; `main` in SQLite.
    pub schema: String,
    /// Its name, in the database's own spelling.
    pub name: String,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The columns that queries read, by table: what is captured.
pub type Reads = BTreeMap<Table, BTreeSet<String>>;

/// The SQL of a database, as far as it differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
    /// MariaDB and MySQL.
    Mysql,
}

/// What is known of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name, in the database's own spelling.
    pub name: String,
    /// Whether two of its values are equal in SQL only if they are the same bytes of the same type.
    pub is_bytewise: bool,
    /// Whether values that are equal in SQL are known to print differently: in case, accents, digits.
    pub prints_apart: bool,
    /// Whether its values are floating-point numbers, whose sum depends on their order.
    pub is_float: bool,
    /// Whether it is computed whenever it is read, by what may fail: then a trigger that read it could fail
    /// the owner's statement, so it is never captured.
    pub is_computed: bool,
    /// Differs whenever DDL may have given it other values, or its values another meaning.
    pub fingerprint: String,
}

/// What is known of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its columns, in order; generated ones among them.
    pub columns: Vec<Column>,
    /// Its primary key; empty if it has none.
    pub key: Vec<String>,
    /// Sets of columns that no two rows have equal (its key aside), where NULLs do not count.
    pub unique: Vec<Vec<String>>,
    /// Why edits of it cannot be captured, if they cannot; said to the owner.
    pub uncapturable: Option<String>,
    /// Differs whenever DDL may have given the table other rows, or other values in any of its columns.
    pub fingerprint: String,
}

/// A foreign key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// The table that has it.
    pub table: Table,
    /// Its columns.
    pub columns: Vec<String>,
    /// The table whose rows it names.
    pub parent: Table,
    /// The columns there, in the order of `columns`.
    pub parent_columns: Vec<String>,
}

/// The tables and views of a database at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalog {
    /// Whose SQL it speaks.
    pub dialect: Dialect,
    /// The schemas where a name without one is looked for, the first one first; where there are none, there
    /// is only one schema.
    pub path: Vec<String>,
    /// Base tables; those of Edgepress itself are left out.
    pub tables: BTreeMap<Table, Facts>,
    /// Views, each with the SELECT behind it.
    pub views: BTreeMap<Table, View>,
    /// Functions that are not the database's own, by name: what they read is not known.
    pub routines: BTreeSet<String>,
}

/// What is known of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Its SELECT.
    pub query: String,
    /// Its column names, in order.
    pub columns: Vec<String>,
}

impl Catalog {
    /// What a name in a query means, if it is a table or a view: names are found as the database finds
    /// them, in the schema given or on the path; but one that differs in case only is found too, if there is
    /// no other.
    #[must_use]
    pub fn find(&self, schema: Option<&str>, name: &str) -> Option<&Table> {
        let all = || self.tables.keys().chain(self.views.keys());
        let same: [fn(&str, &str) -> bool; 2] = [|one, other| one == other, str::eq_ignore_ascii_case];
        same.into_iter().find_map(|is_same| {
            let find = |schema: Option<&str>| {
                let is_there = |table: &&Table| schema.is_none_or(|schema| is_same(&table.schema, schema));
                all().find(|table| is_same(&table.name, name) && is_there(table))
            };
            match schema {
                None if !self.path.is_empty() => self.path.iter().find_map(|schema| find(Some(schema))),
                schema => find(schema),
            }
        })
    }
}

/// What a snapshot saw of the changes, in the adapter's own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seen(pub String);

/// What changed between two snapshots.
#[derive(Debug, Clone)]
pub struct Changes {
    /// What the later snapshot saw.
    pub seen: Seen,
    /// Why everything may have changed, if it may: another database, changes that were dropped or not
    /// recorded.
    pub everything: Option<String>,
    /// Tables of which any row may have changed.
    pub whole: BTreeSet<Table>,
    /// Columns of other tables that were not recorded all the time: whatever reads one of them cannot tell by the
    /// images which rows changed.
    pub fresh: BTreeMap<Table, BTreeSet<String>>,
    /// Tables with changed rows, each with the images of those.
    pub tables: BTreeMap<Table, Images>,
    /// When the oldest of these changes was made: milliseconds since 1970 by the database's clock.
    pub oldest: Option<u64>,
}

impl Changes {
    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.everything.is_none() && self.whole.is_empty() && self.fresh.is_empty() && self.tables.is_empty()
    }
}

/// Makes the SELECT of a table's images, for the columns that a query reads.
pub type ImageSource = Arc<dyn Fn(&BTreeSet<String>) -> String + Send + Sync>;

/// The old and new images of a table's changed rows.
#[derive(Clone)]
pub struct Images {
    /// How many changes there were.
    pub count: u64,
    /// The SELECT that gives them, for the columns that a query reads.
    pub source: ImageSource,
}

impl Images {
    /// A SELECT without parameters that gives the images, old ones and new, of the rows in which one of
    /// `columns` changed or which came or went: exactly these columns, under their names.
    #[must_use]
    pub fn source(&self, columns: &BTreeSet<String>) -> String {
        (self.source)(columns)
    }
}

impl fmt::Debug for Images {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Images").field("count", &self.count).finish_non_exhaustive()
    }
}

/// A release that its publisher is about to make current.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// The release's number.
    pub number: u64,
    /// What its snapshot saw.
    pub seen: Seen,
    /// What the publisher wants to find again, in its own words.
    pub state: String,
}

/// One (site, bucket) pair, as the database remembers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumer {
    /// The last release whose changes count as seen, if there is one.
    pub consumed: Option<Intent>,
    /// Releases that were about to be made current since.
    pub intents: Vec<Intent>,
}

/// What installing did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Installed {
    /// Tables whose capture was installed or mended; each counts as wholly changed.
    pub tables: Vec<Table>,
    /// What the owner should know: that the journal mode was changed, for example.
    pub notes: Vec<String>,
}

/// How a table is captured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Captured {
    /// The table.
    pub table: Table,
    /// The captured columns.
    pub columns: BTreeSet<String>,
    /// What is missing or altered, if anything is.
    pub problem: Option<String>,
    /// Changes that wait for a consumer.
    pub waiting: u64,
}

/// How capture stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The captured tables.
    pub tables: Vec<Captured>,
    /// The consumers: name, and how many changes each has not seen.
    pub consumers: BTreeMap<String, u64>,
}

/// A database that records edits for its publishers. Everything is written in transactions so small
/// that they hold up nobody.
#[async_trait]
pub trait Capture: Send + Sync {
    /// Makes sure that exactly the columns are captured which `consumer` (that reads `reads`) and all
    /// other consumers need. Cheap when nothing is missing. Repeatable.
    async fn install(&self, consumer: &str, reads: &Reads) -> Result<Installed, DatabaseError>;

    /// The SQL that [`Capture::install`] would run, for owners who run it themselves; empty when nothing
    /// is missing.
    async fn statements(&self, consumer: &str, reads: &Reads) -> Result<Vec<String>, DatabaseError>;

    /// How capture stands.
    async fn status(&self) -> Result<Status, DatabaseError>;

    /// Removes everything of ours from the database; whether there was anything.
    async fn remove(&self) -> Result<bool, DatabaseError>;

    /// Whether a change may have come that `consumer` has not seen: one cheap look, true when in doubt.
    async fn is_behind(&self, consumer: &str) -> Result<bool, DatabaseError>;

    /// What is remembered of a consumer; nothing if it was never installed.
    async fn consumer(&self, consumer: &str) -> Result<Option<Consumer>, DatabaseError>;

    /// Remembers that `intent` is about to become current. Durable when it returns, as far as the
    /// database's own commits are.
    async fn intend(&self, consumer: &str, intent: &Intent) -> Result<(), DatabaseError>;

    /// `intent` is current (or, with the number of the release before, nothing had to be released): what
    /// its snapshot saw counts as seen, and all intents of the consumer are forgotten.
    async fn consume(&self, consumer: &str, intent: &Intent) -> Result<(), DatabaseError>;

    /// Deletes changes that every consumer has seen, and those that some consumer has not seen although
    /// more than `most` have come since: for that one everything may have changed then. In small steps.
    async fn prune(&self, most: u64) -> Result<(), DatabaseError>;
}

/// Key tuples that a query gave.
#[derive(Debug, Clone, PartialEq)]
pub enum Keys {
    /// All of them, each once by its bytes.
    All(Vec<Vec<Value>>),
    /// There are more than were asked for.
    TooMany,
}
