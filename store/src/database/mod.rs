//! Databases that sites are published from.
//!
//! Owns the traits, the mapping of native types to [`Value`]s, and the SQL around the site's own
//! queries. Refuses to know what is made of the rows.

pub mod capture;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod keys;
mod mysql;
mod postgres;
#[cfg(any(test, feature = "testing"))]
pub mod servers;
mod since;
mod sqlite;
mod text;
mod url;

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use edgepress_site::row::{Columns, Row, Value};
use futures_util::stream::BoxStream;

pub use mysql::Mysql;
pub use postgres::Postgres;
pub use sqlite::Sqlite;

use self::capture::{Capture, Catalog, Changes, Keys, Reads, Reference, Seen, Table};

/// A failed operation on the database.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// It cannot be reached or opened.
    #[error("cannot open the database {database}: {message}")]
    Open {
        /// The database, without its password.
        database: String,
        /// What went wrong and what to do.
        message: String,
    },
    /// It refused a statement, or failed in it: it will again as long as its rows and tables are the same.
    #[error("{message}")]
    Query {
        /// The database's own message.
        message: String,
    },
    /// It could not attend to a statement: the connection is gone, the file locked, the disk full.
    #[error("{message}")]
    Lost {
        /// The database's own message.
        message: String,
    },
}

/// Opens the database that a URL names, by its scheme. `schema` is the text of a script that makes a new
/// SQLite file.
///
/// # Errors
/// It cannot be reached, or its scheme is not known.
pub async fn open(url: &str, schema: Option<&str>) -> Result<Arc<dyn Database>, DatabaseError> {
    match url.split_once(':').map(|(scheme, _)| scheme) {
        Some("sqlite") => Ok(Arc::new(Sqlite::open(url, schema).await?)),
        Some("postgres" | "postgresql") => Ok(Arc::new(Postgres::open(url).await?)),
        Some("mysql" | "mariadb") => Ok(Arc::new(Mysql::open(url).await?)),
        _ => {
            let message = "its kind is not known: write sqlite:, postgres:// or mysql://".to_owned();
            Err(DatabaseError::Open { database: String::new(), message })
        }
    }
}

/// The rows an include asks for.
#[derive(Debug, Clone, Copy)]
pub struct IncludeQuery<'a> {
    /// The include's own SELECT.
    pub query: &'a str,
    /// Its columns that must equal the parents' key values, in their order; not empty.
    pub on: &'a [&'a str],
    /// What stands after ORDER BY; ties are broken by all columns.
    pub order_by: Option<&'a str>,
    /// At most so many rows for each parent.
    pub limit: Option<u32>,
}

/// In which order a query's rows come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order<'a> {
    /// As the database pleases.
    Any,
    /// By all columns, from the first.
    Columns,
    /// By what stands after ORDER BY; ties are broken by all columns.
    By(&'a str),
}

/// The result of a query: its columns (known even without rows) and its rows in batches.
pub struct Rows<'a> {
    /// Column names, in order.
    pub columns: Columns,
    /// Batches of rows without includes.
    pub batches: BoxStream<'a, Result<Vec<Row>, DatabaseError>>,
}

/// A database.
#[async_trait]
pub trait Database: Send + Sync {
    /// Begins a read transaction: everything read through it is the state of one moment.
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, DatabaseError>;

    /// The columns of a query, without running it.
    async fn columns(&self, query: &str) -> Result<Columns, DatabaseError>;

    /// A number that changes whenever somebody else has committed to the database.
    async fn data_version(&self) -> Result<i64, DatabaseError>;

    /// Records edits, where the database can.
    fn capture(&self) -> Option<&dyn Capture>;
}

/// One moment of a database.
#[async_trait]
pub trait Snapshot: Send {
    /// Runs a SELECT and streams its rows.
    async fn rows<'a>(&'a mut self, query: &'a str, order: Order<'a>) -> Result<Rows<'a>, DatabaseError>;

    /// The rows of an include for a batch of parents, in one query: one list for each of `parents`,
    /// whose values stand in the order of `include.on`. Compared and ordered by the database.
    async fn included(
        &mut self,
        include: IncludeQuery<'_>,
        parents: &[Vec<Value>],
    ) -> Result<Vec<Vec<Row>>, DatabaseError>;

    /// Whether one column may have values of several types, which the database tells apart although they show
    /// the same text.
    fn mixes_types(&self) -> bool {
        false
    }

    /// Whether the database has no index by which to find an include's rows for a parent, so that it goes
    /// through all of them.
    async fn lacks_index(&mut self, include: IncludeQuery<'_>) -> Result<bool, DatabaseError>;

    /// The tables and views as they are at this moment.
    async fn catalog(&mut self) -> Result<Arc<Catalog>, DatabaseError>;

    /// All foreign keys, in a fixed order.
    async fn references(&mut self) -> Result<Vec<Reference>, DatabaseError>;

    /// The base tables that the database reads to answer `query`, as its own planner says; virtual tables
    /// among them.
    async fn tables(&mut self, query: &str) -> Result<BTreeSet<Table>, DatabaseError>;

    /// Whether everything was in place at this moment that records what `consumer`, who reads `reads`, needs to
    /// see. False when in doubt: [`Capture::install`] looks closer then.
    async fn is_captured(&mut self, _consumer: &str, _reads: &Reads) -> Result<bool, DatabaseError> {
        Ok(false)
    }

    /// What changed since `seen`, up to this moment.
    async fn changes(&mut self, seen: &Seen) -> Result<Changes, DatabaseError>;

    /// What this moment has seen of the changes; nothing if nothing is captured.
    async fn seen(&mut self) -> Result<Option<Seen>, DatabaseError>;

    /// The distinct rows of `query`, told apart by bytes and types, never by collation; at most `most`.
    async fn keys(&mut self, query: &str, most: usize) -> Result<Keys, DatabaseError>;
}
