//! A connection for many rows.
//!
//! Owns reading values straight out of SQLite's own memory, on a thread of its own. (The connection of
//! a snapshot's transaction copies each value and hands each row over to another thread, which costs
//! several times what SQLite itself does for it.) Refuses to know what the statements mean.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use edgepress_site::row::{Columns, Row, Value};
use futures_util::stream::{self, BoxStream, StreamExt as _};
use rusqlite::{CachedStatement, Connection, ErrorCode};
use tokio::sync::mpsc;

use super::open::{BUSY, is_statements};
use super::values::{bound, decode};
use super::{FIRST_READ, PROGRESS_STEPS, failure, refused};
use crate::database::DatabaseError;

/// A batch ends after so many rows,
const BATCH_ROWS: usize = 500;
/// or when its values take about so much memory.
const BATCH_BYTES: usize = 4 << 20;
/// Batches that wait for their reader.
const BATCHES_AHEAD: usize = 1;
/// Prepared statements that are kept.
const STATEMENTS: usize = 100;

/// Connections that no snapshot uses.
pub(super) type Idle = Arc<Mutex<Vec<Connection>>>;

/// A connection while a snapshot uses it; idle again when the snapshot and its last query are gone.
pub(super) struct Bulk {
    /// Absent only while this is dropped.
    connection: Mutex<Option<Connection>>,
    idle: Idle,
}

impl Drop for Bulk {
    fn drop(&mut self) {
        let connection = self.connection.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let Some(connection) = connection else { return };
        connection.progress_handler(0, None::<fn() -> bool>).ok();
        if connection.is_autocommit() || connection.execute_batch("ROLLBACK").is_ok() {
            locked(&self.idle).push(connection);
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Bulk {
    /// An idle connection, or else a new one to the database at `uri`; outside any transaction.
    pub(super) fn new(idle: &Idle, uri: &str) -> Result<Self, DatabaseError> {
        let kept = locked(idle).pop();
        let connection = match kept {
            Some(connection) => connection,
            None => connect(uri).map_err(failed)?,
        };
        Ok(Self { connection: Mutex::new(Some(connection)), idle: Arc::clone(idle) })
    }

    fn with<T>(&self, work: impl FnOnce(&Connection) -> T) -> T {
        work(locked(&self.connection).as_ref().expect("it is there until it is dropped"))
    }

    /// A number that is another whenever somebody has committed; outside any transaction.
    pub(super) fn version(&self) -> Result<i64, DatabaseError> {
        self.with(|connection| {
            connection.busy_timeout(BUSY)?;
            data_version(connection)
        })
        .map_err(failed)
    }

    /// Begins a read transaction: whether nobody has committed since it was at `version`. Waits for
    /// nobody's lock: who holds one may wait for the other half of this snapshot. From now on, setting
    /// `abandoned` interrupts whatever query runs.
    pub(super) fn begin(&self, version: i64, abandoned: Arc<AtomicBool>) -> Result<bool, DatabaseError> {
        let begin = |connection: &Connection| -> rusqlite::Result<bool> {
            connection.busy_timeout(std::time::Duration::ZERO)?;
            connection.execute_batch("BEGIN")?;
            connection.query_row(FIRST_READ, [], |_| Ok(()))?;
            connection.progress_handler(PROGRESS_STEPS, Some(move || abandoned.load(Ordering::Relaxed)))?;
            Ok(data_version(connection)? == version)
        };
        match self.with(begin) {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(false),
            begun => begun.map_err(failed),
        }
    }

    /// Runs a statement and decodes its rows in batches, as they are asked for.
    pub(super) fn rows(
        self: &Arc<Self>,
        sql: String,
        columns: Columns,
    ) -> BoxStream<'static, Result<Vec<Row>, DatabaseError>> {
        let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
        let bulk = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let sent = bulk.with(|connection| {
                each_batch(connection, &sql, &columns, |batch| sender.blocking_send(Ok(batch)).is_ok())
            });
            if let Err(error) = sent {
                // Whoever is gone needs no error.
                let _ = sender.blocking_send(Err(error));
            }
        });
        stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver))).boxed()
    }

    /// Runs a statement that nobody will run again; the values of its rows.
    pub(super) fn once(&self, sql: &str, columns: &Columns) -> Result<Vec<Vec<Value>>, DatabaseError> {
        self.with(|connection| {
            let mut statement = connection.prepare(sql).map_err(failed)?;
            let mut rows = statement.raw_query();
            let mut all = Vec::new();
            while let Some(row) = rows.next().map_err(failed)? {
                all.push(decode(row, columns).map_err(failed)?.0.values);
            }
            Ok(all)
        })
    }

    /// Runs a statement for `parameters`, whose rows end with the ordinal of one of so many lists.
    pub(super) fn lists(
        &self,
        sql: &str,
        parameters: &[Value],
        columns: &Columns,
        lists: usize,
    ) -> Result<Vec<Vec<Row>>, DatabaseError> {
        self.with(|connection| {
            let mut statement = prepared(connection, sql)?;
            for (index, value) in parameters.iter().enumerate() {
                statement.raw_bind_parameter(index + 1, bound(value)).map_err(failed)?;
            }
            let mut lists = vec![Vec::new(); lists];
            let mut rows = statement.raw_query();
            while let Some(row) = rows.next().map_err(failed)? {
                let ordinal: i64 = row.get(columns.len()).map_err(failed)?;
                let list = usize::try_from(ordinal).ok().and_then(|ordinal| lists.get_mut(ordinal));
                list.expect("only keys that were asked for match")
                    .push(decode(row, columns).map_err(failed)?.0);
            }
            Ok(lists)
        })
    }
}

fn connect(uri: &str) -> rusqlite::Result<Connection> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE
        | rusqlite::OpenFlags::SQLITE_OPEN_URI
        | rusqlite::OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri, flags)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // Whatever is in the site's queries, this connection cannot write.
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA data_version", [], |row| row.get(0))
}

fn prepared<'c>(connection: &'c Connection, sql: &str) -> Result<CachedStatement<'c>, DatabaseError> {
    connection.prepare_cached(sql).map_err(failed)
}

/// Hands the rows of a statement to `send` in batches, until that says no.
fn each_batch(
    connection: &Connection,
    sql: &str,
    columns: &Columns,
    mut send: impl FnMut(Vec<Row>) -> bool,
) -> Result<(), DatabaseError> {
    let mut statement = prepared(connection, sql)?;
    let mut rows = statement.raw_query();
    let mut batch = Vec::with_capacity(BATCH_ROWS);
    let mut size = 0;
    while let Some(row) = rows.next().map_err(failed)? {
        let (row, bytes) = decode(row, columns).map_err(failed)?;
        size += bytes;
        batch.push(row);
        if batch.len() == BATCH_ROWS || size >= BATCH_BYTES {
            size = 0;
            if !send(std::mem::replace(&mut batch, Vec::with_capacity(BATCH_ROWS))) {
                return Ok(());
            }
        }
    }
    if !batch.is_empty() {
        send(batch);
    }
    Ok(())
}

/// SQLite's own message where there is one.
#[expect(clippy::needless_pass_by_value, reason = "it is handed to map_err")]
fn failed(error: rusqlite::Error) -> DatabaseError {
    match error {
        rusqlite::Error::SqliteFailure(code, ref message) => {
            let message = message.clone().unwrap_or_else(|| code.to_string());
            failure(is_statements(code.extended_code), message)
        }
        ref error => refused(error.to_string()),
    }
}
