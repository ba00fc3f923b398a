//! Capturing the edits of a SQLite file.
//!
//! Owns our tables in it: what is installed, who publishes from it, what was seen. Refuses to write
//! anything of the user's, and to hold the file's one write lock for longer than a moment.

mod ddl;
mod displaced;
pub(super) mod names;
pub(super) mod plan;
pub(super) mod seen;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection as _, Row as _, Transaction};
use tokio::sync::MutexGuard;
use tokio::time::Instant;

use self::ddl::MOST_CHANGES;
use self::names::{CONSUMER, INTENT, LOG, STATE, change_table};
use self::plan::{Plan, Remembered, is_there};
use self::seen::{Moment, Standing};
use super::catalog::{Schema, table};
use super::open::{BUSY, Connected, is_busy};
use super::{Sqlite, failed, refused};
use crate::database::DatabaseError;
use crate::database::capture::{Capture, Captured, Consumer, Installed, Intent, Reads, Seen, Status};
use crate::database::text::quoted;

/// Changes deleted in one transaction,
const PRUNED_AT_ONCE: i64 = 4_096;
/// and how long others then have the write lock to themselves.
const PRUNING_PAUSE: Duration = Duration::from_millis(5);
/// Between two tries to change the journal mode.
const MODE_PAUSE: Duration = Duration::from_millis(5);
/// Intents kept for one consumer: one whose publishing keeps failing does not fill the file.
const MOST_INTENTS: i64 = 64;

/// The writer, and what it writes to.
struct Writing<'a> {
    database: &'a Sqlite,
    connection: MutexGuard<'a, Option<SqliteConnection>>,
}

impl<'a> Writing<'a> {
    async fn begin(database: &'a Sqlite, connected: &'a Connected) -> Result<Self, DatabaseError> {
        let mut connection = connected.writer.lock().await;
        if connection.is_none() {
            *connection = Some(database.location.connect_writer().await?);
        }
        Ok(Self { database, connection })
    }

    fn connection(&mut self) -> &mut SqliteConnection {
        self.connection.as_mut().expect("it was opened when the lock was taken")
    }

    fn failed(&self) -> impl Fn(sqlx::Error) -> DatabaseError + use<'a> {
        let database = self.database;
        move |error| database.location.cannot_write(&error)
    }

    /// Waits for the write lock, so that nothing that is read then can be outdated.
    async fn transaction(&mut self) -> Result<Transaction<'_, sqlx::Sqlite>, DatabaseError> {
        let failed = self.failed();
        self.connection().begin_with("BEGIN IMMEDIATE").await.map_err(failed)
    }
}

impl Sqlite {
    /// The schema as this connection's transaction sees it.
    pub(super) async fn schema_of(
        connected: &Connected,
        connection: &mut SqliteConnection,
    ) -> Result<Arc<Schema>, sqlx::Error> {
        let version =
            "SELECT schema_version FROM pragma_schema_version, (SELECT count(*) FROM sqlite_schema)";
        let version: i64 = sqlx::query_scalar(version).fetch_one(&mut *connection).await?;
        if let Some(schema) = connected.known().schema(version) {
            return Ok(schema);
        }
        let schema = Arc::new(Schema::read(connection).await?);
        connected.known().set_schema(version, &schema);
        Ok(schema)
    }

    /// What is missing, as this connection's transaction sees it.
    async fn plan(
        connected: &Connected,
        connection: &mut SqliteConnection,
        consumer: Option<(&str, &Reads)>,
    ) -> Result<Plan, sqlx::Error> {
        let schema = Self::schema_of(connected, connection).await?;
        let remembered = if is_there(&schema) { Some(remembered(connection).await?) } else { None };
        Ok(Plan::new(&schema, remembered.as_ref(), consumer))
    }

    /// Deletes changes up to `boundary`, a few thousand at a time.
    async fn prune_to(&self, writing: &mut Writing<'_>, boundary: i64) -> Result<(), DatabaseError> {
        let failed = writing.failed();
        loop {
            let mut transaction = writing.transaction().await?;
            let standing = Standing::read(&mut transaction).await.map_err(&failed)?;
            let last = standing.moment.last;
            // A log that somebody emptied counts from one again.
            let was_emptied = last < standing.pruned;
            let pruned = if was_emptied { 0 } else { standing.pruned };
            let boundary = boundary.min(last);
            if boundary <= pruned && !was_emptied {
                return Ok(());
            }
            let end = boundary.min(pruned.saturating_add(PRUNED_AT_ONCE));
            // As long as the log was full, changes came that nobody recorded.
            let was_lossy = i32::from(standing.is_full || was_emptied);
            let mut statements = vec![
                format!("UPDATE {STATE} SET pruned = {end}, lost = lost + {was_lossy}"),
                format!("DELETE FROM {LOG} WHERE id <= {end} AND id < {last}"),
            ];
            for source in &standing.sources {
                let images = quoted(&change_table(&source.name));
                statements.push(format!("DELETE FROM {images} WHERE edgepress_id <= {}", 2 * end + 1));
            }
            run(&mut transaction, &statements).await.map_err(&failed)?;
            transaction.commit().await.map_err(&failed)?;
            if end < boundary {
                tokio::time::sleep(PRUNING_PAUSE).await;
            }
        }
    }

    /// Whether everything is installed that the consumer needs. Nothing but a few rows is read as long as
    /// the schema stays the same.
    async fn is_in_place(&self, consumer: &str, reads: &Reads) -> Result<bool, DatabaseError> {
        let mut snapshot = self.begin().await?;
        let (connected, version) = (Arc::clone(&snapshot.connected), snapshot.schema);
        let connection = &mut *snapshot.transaction;
        if connected.known().is_installed(version, consumer, Some(reads)) {
            return Ok(is_registered(connection, consumer).await);
        }
        if journal_mode(connection).await.map_err(failed)? != "wal" {
            return Ok(false);
        }
        let plan = Self::plan(&connected, connection, Some((consumer, reads))).await.map_err(failed)?;
        let is_in_place = plan.statements.is_empty();
        if is_in_place {
            connected.known().set_installed(version, consumer, reads);
        }
        Ok(is_in_place)
    }

    async fn install_missing(&self, consumer: &str, reads: &Reads) -> Result<Installed, DatabaseError> {
        let (connected, _) = self.connected().await?;
        let mut writing = Writing::begin(self, &connected).await?;
        let failed = writing.failed();
        let mut installed = Installed::default();
        installed.notes.extend(use_wal(writing.connection()).await.map_err(&failed)?);
        let mut transaction = writing.transaction().await?;
        let plan =
            Self::plan(&connected, &mut transaction, Some((consumer, reads))).await.map_err(&failed)?;
        let before = broken(&mut transaction, &plan).await;
        let altered = schema_version(&mut transaction).await.map_err(&failed)?;
        run(&mut transaction, &plan.statements).await.map_err(&failed)?;
        let after = broken(&mut transaction, &plan).await;
        // Whatever it is, the user's own statements must not fail for it.
        if let Some((table, message)) = after.iter().find(|(table, _)| !before.contains_key(*table)) {
            return Err(refused(format!("edits of the table {table} cannot be captured: {message}")));
        }
        let version = schema_version(&mut transaction).await.map_err(&failed)?;
        let ours = format!("UPDATE {STATE} SET ours = ours + {}", version.wrapping_sub(altered));
        run(&mut transaction, &[ours]).await.map_err(&failed)?;
        transaction.commit().await.map_err(&failed)?;
        connected.known().set_installed(version, consumer, reads);
        installed.notes.extend(plan.notes);
        installed.tables = plan.tables;
        Ok(installed)
    }
}

#[async_trait]
impl Capture for Sqlite {
    async fn install(&self, consumer: &str, reads: &Reads) -> Result<Installed, DatabaseError> {
        let installed = if self.is_in_place(consumer, reads).await? {
            Installed::default()
        } else {
            self.install_missing(consumer, reads).await?
        };
        let standing = self.begin().await?.standing().await?;
        if standing.is_some_and(|standing| standing.is_full) {
            // So that the snapshot taken next is followed by changes that are recorded.
            self.prune(MOST_CHANGES.unsigned_abs() / 2).await?;
        }
        Ok(installed)
    }

    async fn statements(&self, consumer: &str, reads: &Reads) -> Result<Vec<String>, DatabaseError> {
        let mut snapshot = self.begin().await?;
        let connection = &mut *snapshot.transaction;
        let is_wal = journal_mode(connection).await.map_err(failed)? == "wal";
        let plan =
            Self::plan(&snapshot.connected, connection, Some((consumer, reads))).await.map_err(failed)?;
        let mut statements: Vec<String> =
            (!is_wal).then(|| "PRAGMA journal_mode = WAL".to_owned()).into_iter().collect();
        if !plan.statements.is_empty() {
            statements.push("BEGIN IMMEDIATE".to_owned());
            statements.extend(plan.statements);
            statements.push("COMMIT".to_owned());
        }
        Ok(statements)
    }

    async fn status(&self) -> Result<Status, DatabaseError> {
        let mut snapshot = self.begin().await?;
        let mut status = Status::default();
        let Some(standing) = snapshot.standing().await? else { return Ok(status) };
        let connection = &mut *snapshot.transaction;
        let plan = Self::plan(&snapshot.connected, connection, None).await.map_err(failed)?;
        let mut first = standing.moment.last;
        for (name, lasts) in lasts(connection, &standing).await.map_err(failed)? {
            let last = lasts.first().copied().unwrap_or_default();
            first = first.min(last);
            status.consumers.insert(name, standing.moment.last.abs_diff(last));
        }
        let counts = format!("SELECT source, count(*) FROM {LOG} WHERE id > ? GROUP BY source");
        let counts: Vec<(i64, i64)> =
            sqlx::query_as(AssertSqlSafe(counts)).bind(first).fetch_all(connection).await.map_err(failed)?;
        let counts: BTreeMap<i64, i64> = counts.into_iter().collect();
        for (name, columns) in &plan.captured {
            let source = standing.sources.iter().find(|source| source.name == *name);
            let waiting = source.and_then(|source| counts.get(&source.id)).copied().unwrap_or_default();
            status.tables.push(Captured {
                table: table(name),
                columns: columns.iter().cloned().collect(),
                problem: plan.problems.get(name).cloned(),
                waiting: waiting.unsigned_abs(),
            });
        }
        Ok(status)
    }

    async fn remove(&self) -> Result<bool, DatabaseError> {
        if self.begin().await?.schema().await?.ours.is_empty() {
            return Ok(false);
        }
        let (connected, _) = self.connected().await?;
        connected.known().forget_installed();
        let mut writing = Writing::begin(self, &connected).await?;
        let failed = writing.failed();
        let mut transaction = writing.transaction().await?;
        let schema = Self::schema_of(&connected, &mut transaction).await.map_err(&failed)?;
        let drops: Vec<String> = schema
            .ours
            .iter()
            .rev()
            .map(|[kind, name, ..]| format!("DROP {kind} IF EXISTS {}", quoted(name)))
            .collect();
        run(&mut transaction, &drops).await.map_err(&failed)?;
        transaction.commit().await.map_err(&failed)?;
        Ok(true)
    }

    async fn is_behind(&self, consumer: &str) -> Result<bool, DatabaseError> {
        let (connected, _) = self.connected().await?;
        let mut watch = connected.watch.lock().await;
        // Whatever fails here, a closer look will tell.
        let Ok(standing) = Standing::read(&mut watch).await else { return Ok(true) };
        let seen = format!("SELECT seen FROM {CONSUMER} WHERE name = ?");
        let seen: Option<Option<String>> = sqlx::query_scalar(AssertSqlSafe(seen))
            .bind(consumer)
            .fetch_optional(&mut *watch)
            .await
            .map_err(failed)?;
        let Some(seen) = seen.flatten() else { return Ok(true) };
        let is_installed = connected.known().is_installed(standing.version, consumer, None);
        Ok(!is_installed || standing.is_full || Moment::of(&seen) != standing.moment)
    }

    async fn consumer(&self, consumer: &str) -> Result<Option<Consumer>, DatabaseError> {
        let mut snapshot = self.begin().await?;
        if !is_there(&*snapshot.schema().await?) {
            return Ok(None);
        }
        let connection = &mut *snapshot.transaction;
        let consumed = format!("SELECT number, seen, state FROM {CONSUMER} WHERE name = ?");
        let row = sqlx::query(AssertSqlSafe(consumed)).bind(consumer).fetch_optional(&mut *connection);
        let Some(row) = row.await.map_err(failed)? else { return Ok(None) };
        let consumed = match row.try_get::<Option<i64>, _>(0).map_err(failed)? {
            Some(number) => Some(intent(number, row.try_get(1), row.try_get(2))?),
            None => None,
        };
        let intents = format!("SELECT number, seen, state FROM {INTENT} WHERE consumer = ? ORDER BY rowid");
        let rows = sqlx::query(AssertSqlSafe(intents)).bind(consumer).fetch_all(connection);
        let mut intents = Vec::new();
        for row in rows.await.map_err(failed)? {
            intents.push(intent(row.try_get(0).map_err(failed)?, row.try_get(1), row.try_get(2))?);
        }
        Ok(Some(Consumer { consumed, intents }))
    }

    async fn intend(&self, consumer: &str, intent: &Intent) -> Result<(), DatabaseError> {
        let (connected, _) = self.connected().await?;
        let mut writing = Writing::begin(self, &connected).await?;
        let failed = writing.failed();
        let mut transaction = writing.transaction().await?;
        let add = format!("INSERT INTO {INTENT} (consumer, number, seen, state) VALUES (?, ?, ?, ?)");
        sqlx::query(AssertSqlSafe(add))
            .bind(consumer)
            .bind(number(intent)?)
            .bind(&intent.seen.0)
            .bind(&intent.state)
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        let cut = format!(
            "DELETE FROM {INTENT} WHERE consumer = ?1 AND rowid <= (SELECT rowid FROM {INTENT} \
             WHERE consumer = ?1 ORDER BY rowid DESC LIMIT 1 OFFSET {MOST_INTENTS})"
        );
        sqlx::query(AssertSqlSafe(cut)).bind(consumer).execute(&mut *transaction).await.map_err(&failed)?;
        transaction.commit().await.map_err(&failed)
    }

    async fn consume(&self, consumer: &str, intent: &Intent) -> Result<(), DatabaseError> {
        let (connected, _) = self.connected().await?;
        let mut writing = Writing::begin(self, &connected).await?;
        let failed = writing.failed();
        let mut transaction = writing.transaction().await?;
        let set = format!("UPDATE {CONSUMER} SET number = ?2, seen = ?3, state = ?4 WHERE name = ?1");
        let result = sqlx::query(AssertSqlSafe(set))
            .bind(consumer)
            .bind(number(intent)?)
            .bind(&intent.seen.0)
            .bind(&intent.state)
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        if result.rows_affected() == 0 {
            return Err(refused(format!("nobody called {consumer} is registered here: publish again")));
        }
        let forget = format!("DELETE FROM {INTENT} WHERE consumer = ?");
        sqlx::query(AssertSqlSafe(forget))
            .bind(consumer)
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        transaction.commit().await.map_err(&failed)
    }

    async fn prune(&self, most: u64) -> Result<(), DatabaseError> {
        let mut snapshot = self.begin().await?;
        let Some(standing) = snapshot.standing().await? else { return Ok(()) };
        let last = standing.moment.last;
        let oldest = last.saturating_sub(i64::try_from(most).unwrap_or(i64::MAX));
        let lasts = lasts(&mut snapshot.transaction, &standing).await.map_err(failed)?;
        let held = lasts.into_values().flatten().filter(|last| *last >= oldest).min();
        let boundary = held.unwrap_or(last);
        drop(snapshot);
        if boundary <= standing.pruned && standing.pruned <= last {
            return Ok(());
        }
        let (connected, _) = self.connected().await?;
        let mut writing = Writing::begin(self, &connected).await?;
        self.prune_to(&mut writing, boundary).await
    }
}

fn number(intent: &Intent) -> Result<i64, DatabaseError> {
    i64::try_from(intent.number).map_err(|_| refused("a release's number is at most 2^63 - 1"))
}

fn intent(
    number: i64,
    seen: Result<Option<String>, sqlx::Error>,
    state: Result<Option<String>, sqlx::Error>,
) -> Result<Intent, DatabaseError> {
    let seen = Seen(seen.map_err(failed)?.unwrap_or_default());
    let state = state.map_err(failed)?.unwrap_or_default();
    Ok(Intent { number: u64::try_from(number).unwrap_or_default(), seen, state })
}

async fn run(connection: &mut SqliteConnection, statements: &[String]) -> Result<(), sqlx::Error> {
    for statement in statements {
        sqlx::raw_sql(AssertSqlSafe(statement.as_str())).execute(&mut *connection).await?;
    }
    Ok(())
}

async fn schema_version(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT schema_version FROM pragma_schema_version").fetch_one(connection).await
}

async fn journal_mode(connection: &mut SqliteConnection) -> Result<String, sqlx::Error> {
    sqlx::query_scalar("SELECT journal_mode FROM pragma_journal_mode").fetch_one(connection).await
}

/// Readers and writers do not wait for each other then; what the owner should know about it.
async fn use_wal(connection: &mut SqliteConnection) -> Result<Option<String>, sqlx::Error> {
    if journal_mode(connection).await? == "wal" {
        return Ok(None);
    }
    // SQLite itself does not wait for all the locks that this takes.
    let begun = Instant::now();
    let mode: String = loop {
        match sqlx::query_scalar("PRAGMA journal_mode = WAL").fetch_one(&mut *connection).await {
            Err(error) if is_busy(&error) && begun.elapsed() < BUSY => tokio::time::sleep(MODE_PAUSE).await,
            mode => break mode?,
        }
    };
    Ok(Some(if mode == "wal" {
        "the database's journal mode was changed to WAL, so that publishing and editing do not wait for \
         each other"
            .to_owned()
    } else {
        format!("the journal mode stays {mode}: editing may wait while a publish reads")
    }))
}

async fn is_registered(connection: &mut SqliteConnection, consumer: &str) -> bool {
    let sql = format!("SELECT 1 FROM {CONSUMER} WHERE name = ?");
    let found: Result<Option<i64>, _> =
        sqlx::query_scalar(AssertSqlSafe(sql)).bind(consumer).fetch_optional(connection).await;
    found.is_ok_and(|found| found.is_some())
}

async fn remembered(connection: &mut SqliteConnection) -> Result<Remembered, sqlx::Error> {
    let consumers = format!("SELECT name, coalesce(reads, '{{}}') FROM {CONSUMER}");
    let consumers: Vec<(String, String)> =
        sqlx::query_as(AssertSqlSafe(consumers)).fetch_all(&mut *connection).await?;
    let standing = Standing::read(connection).await?;
    Ok(Remembered {
        consumers: consumers.into_iter().collect(),
        sources: standing.sources,
        next: standing.next,
        span: standing.span,
    })
}

/// The last changes that each consumer has seen, or that its intents have; the lowest first.
async fn lasts(
    connection: &mut SqliteConnection,
    standing: &Standing,
) -> Result<BTreeMap<String, BTreeSet<i64>>, sqlx::Error> {
    let sql = format!(
        "SELECT name, seen FROM {CONSUMER} UNION ALL SELECT consumer, seen FROM {INTENT} \
         WHERE consumer IN (SELECT name FROM {CONSUMER} WHERE seen IS NULL)"
    );
    let rows: Vec<(String, Option<String>)> =
        sqlx::query_as(AssertSqlSafe(sql)).fetch_all(connection).await?;
    let mut lasts: BTreeMap<String, BTreeSet<i64>> = BTreeMap::new();
    for (name, seen) in rows {
        let all = lasts.entry(name).or_default();
        let moment = seen.map(|seen| Moment::of(&seen));
        // Of another database, or of this one before it was restored: it will be published in full.
        all.extend(moment.filter(|then| then.identity == standing.moment.identity).map(|then| then.last));
    }
    Ok(lasts)
}

/// The tables that were just captured and whose edits fail to compile, each with the reason.
async fn broken(connection: &mut SqliteConnection, plan: &Plan) -> BTreeMap<String, String> {
    let mut broken = BTreeMap::new();
    for table in plan.tables.iter().chain(&plan.carried) {
        let on = quoted(&table.name);
        let column = plan.captured.get(&table.name).and_then(|columns| columns.first());
        let mut edits =
            vec![format!("EXPLAIN INSERT INTO {on} DEFAULT VALUES"), format!("EXPLAIN DELETE FROM {on}")];
        edits.extend(column.map(|name| format!("EXPLAIN UPDATE {on} SET {0} = {0}", quoted(name))));
        for edit in edits {
            let explained =
                sqlx::query(AssertSqlSafe(edit)).persistent(false).fetch_all(&mut *connection).await;
            if let Err(error) = explained {
                broken.insert(table.name.clone(), super::message(&error));
            }
        }
    }
    broken
}
