//! Opening a SQLite file: what its URL means, its schema script, and its connections.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::pool::PoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqlitePool};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use tokio::sync::Mutex;

use super::bulk::Idle;
use super::known::Known;
use crate::database::DatabaseError;

/// Connections for snapshots; whoever wants more waits.
const CONNECTIONS: u32 = 8;
/// How long to wait for one of them.
const ACQUIRE: Duration = Duration::from_secs(10);
/// How long to wait for somebody else's lock on the file.
pub(super) const BUSY: Duration = Duration::from_secs(5);

/// A SQLite file as its URL names it.
#[derive(Debug, Clone)]
pub(super) struct Location {
    pub(super) path: PathBuf,
    pub(super) name: String,
    /// The same for SQLite itself: its own kind of URI.
    pub(super) uri: String,
    options: SqliteConnectOptions,
}

/// One file that was found at the location, and the connections to it.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) pool: SqlitePool,
    /// Connections for many rows that no snapshot uses; there are never more than of the pool.
    pub(super) idle: Idle,
    /// Only ever asked for its data version, which counts the commits of all other connections.
    pub(super) watch: Mutex<SqliteConnection>,
    /// Device and inode: another file at the same path is another database.
    pub(super) identity: (u64, u64),
    /// The one connection that writes, only to what is ours; opened when first needed.
    pub(super) writer: Mutex<Option<SqliteConnection>>,
    /// What is known of the schema, by its number.
    pub(super) known: std::sync::Mutex<Known>,
}

impl Location {
    pub(super) fn parse(url: &str) -> Result<Self, DatabaseError> {
        let wrong = |message: String| DatabaseError::Open { database: url.to_owned(), message };
        if !url.starts_with("sqlite:") {
            return Err(wrong("its URL does not begin with sqlite:".to_owned()));
        }
        if url.contains(":memory:") || url.contains("mode=memory") {
            return Err(wrong("a database in memory is empty for every reader: name a file".to_owned()));
        }
        let options = SqliteConnectOptions::from_str(url).map_err(|error| wrong(error.to_string()))?;
        let options = options.create_if_missing(false).busy_timeout(BUSY).disable_statement_logging();
        let path = options.get_filename().to_owned();
        if path.as_os_str().is_empty() {
            return Err(wrong("it names no file: write sqlite:FILE".to_owned()));
        }
        let uri = uri(&path, url).ok_or_else(|| wrong("its file's name is not UTF-8".to_owned()))?;
        Ok(Self { name: format!("sqlite:{}", path.display()), path, uri, options })
    }

    pub(super) fn error(&self, message: impl Into<String>) -> DatabaseError {
        DatabaseError::Open { database: self.name.clone(), message: message.into() }
    }

    /// The file's device and inode.
    pub(super) fn identity(&self) -> Result<(u64, u64), DatabaseError> {
        match std::fs::metadata(&self.path) {
            Ok(metadata) if metadata.is_dir() => Err(self.error("it is a folder: name a file")),
            Ok(metadata) => Ok((metadata.dev(), metadata.ino())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(self.error(format!(
                "no database at {}: set [database] schema or create it",
                self.path.display()
            ))),
            Err(error) => Err(self.error(error.to_string())),
        }
    }

    /// Runs `script` in one transaction if nothing is in the database yet.
    pub(super) async fn apply_schema(&self, script: &str) -> Result<(), DatabaseError> {
        let folder =
            self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !folder.is_dir() {
            return Err(self.error(format!("the folder {} does not exist: create it", folder.display())));
        }
        // As the sqlite3 shell has it, so that a script may fill its tables in any order.
        let options = self.options.clone().create_if_missing(true).foreign_keys(false);
        let mut connection = options.connect().await.map_err(|error| self.cannot_open(&error))?;
        let result = self.run_schema(&mut connection, script).await;
        if let Err(error) = connection.close().await {
            tracing::debug!(database = %self.name, "closing: {error}");
        }
        result
    }

    async fn run_schema(&self, connection: &mut SqliteConnection, script: &str) -> Result<(), DatabaseError> {
        let failed = |error: sqlx::Error| {
            let message = message(&error);
            let remedy = if message.contains("transaction") {
                ": it runs in one transaction already, remove BEGIN and COMMIT"
            } else {
                ""
            };
            self.error(format!("its [database] schema failed, nothing was created: {message}{remedy}"))
        };
        let count = "SELECT count(*) FROM sqlite_schema";
        let existing: i64 = sqlx::query_scalar(count)
            .fetch_one(&mut *connection)
            .await
            .map_err(|error| self.cannot_open(&error))?;
        if existing > 0 {
            return Ok(());
        }
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        // Somebody else may have been quicker.
        let existing: i64 = sqlx::query_scalar(count).fetch_one(&mut *transaction).await.map_err(failed)?;
        if existing == 0 {
            sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut *transaction).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }

    /// Connects to the file that is there now.
    pub(super) async fn connect(&self) -> Result<Connected, DatabaseError> {
        let identity = self.identity()?;
        // Whatever is in the site's queries, these connections cannot write.
        let options = self.options.clone().pragma("query_only", "1");
        let failed = |error: sqlx::Error| self.cannot_open(&error);
        let mut watch = options.connect().await.map_err(failed)?;
        sqlx::query("SELECT count(*) FROM sqlite_schema").fetch_one(&mut watch).await.map_err(failed)?;
        let pool = PoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(ACQUIRE)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_lazy_with(options);
        Ok(Connected {
            pool,
            idle: Idle::default(),
            watch: Mutex::new(watch),
            identity,
            writer: Mutex::default(),
            known: <_>::default(),
        })
    }

    /// A connection that may write.
    pub(super) async fn connect_writer(&self) -> Result<SqliteConnection, DatabaseError> {
        let options = self.options.clone().foreign_keys(false);
        options.connect().await.map_err(|error| self.cannot_write(&error))
    }

    /// Why the file cannot be read at all, and what to do.
    fn cannot_open(&self, error: &sqlx::Error) -> DatabaseError {
        let reason = message(error);
        match reason.contains("readonly") || reason.contains("unable to open") {
            true => self.error(format!(
                "{reason}: whoever reads a database in WAL mode writes beside it, so give the user that \
                 runs this command the right to write {} and its folder",
                self.path.display()
            )),
            false => self.error(reason),
        }
    }

    /// Why our own tables cannot be written, and what to do.
    pub(super) fn cannot_write(&self, error: &sqlx::Error) -> DatabaseError {
        let path = self.path.display();
        let reason = message(error);
        // SQLITE_BUSY, _LOCKED, _READONLY, _CANTOPEN, _FULL.
        match code(error) {
            Some(5 | 6) => self.error(format!(
                "{reason}: another process has held {path} locked for {} seconds; let it end its \
                 transaction and try again",
                BUSY.as_secs()
            )),
            Some(8 | 14) => self.error(format!(
                "{reason}: edits cannot be captured unless {path} and its folder may be written; give this \
                 user write access to both"
            )),
            Some(13) => self.error(format!("{reason}: make space on the disk of {path}")),
            _ => self.error(reason),
        }
    }
}

impl Connected {
    /// What is known of the schema.
    pub(super) fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        // It is only a memory: one that a panic left half written is no worse than none.
        self.known.lock().unwrap_or_else(|poisoned| {
            let mut known = poisoned.into_inner();
            *known = Known::default();
            known
        })
    }
}

/// The file at `path` as SQLite's own URI, with the parameters of `url` but for `mode=rwc`: what only reads
/// makes no database.
fn uri(path: &Path, url: &str) -> Option<String> {
    let path = path.to_str()?.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let parameters = url.split_once('?').map_or("", |(_, parameters)| parameters);
    let parameters: Vec<&str> = parameters.split('&').filter(|parameter| *parameter != "mode=rwc").collect();
    Some(format!("file:{path}?{}", parameters.join("&")))
}

/// SQLite's own code: the low byte of an extended one.
fn code(error: &sqlx::Error) -> Option<i32> {
    let sqlx::Error::Database(error) = error else { return None };
    error.code()?.parse::<i32>().ok().map(|code| code & 0xff)
}

/// Whether somebody else holds a lock that is needed.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    code(error) == Some(5)
}

/// Whether a statement is to blame for an error, or the rows it reads.
pub(super) fn is_refused(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(_) => code(error).is_some_and(is_statements),
        error => matches!(error, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_)),
    }
}

/// Whether SQLite's code (sqlite.org/rescode.html), extended or not, tells of a statement or of the rows it
/// reads, rather than of the file: SQLITE_ERROR, SQLITE_TOOBIG, SQLITE_MISMATCH.
pub(super) fn is_statements(code: i32) -> bool {
    matches!(code & 0xff, 1 | 18 | 20)
}

/// The database's own message where there is one.
pub(super) fn message(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::PoolTimedOut => format!(
            "all {CONNECTIONS} connections were busy for {} seconds: are there queries that run very long?",
            ACQUIRE.as_secs()
        ),
        error => error.to_string(),
    }
}
