//! Capturing the edits of a MariaDB or MySQL database.
//!
//! Owns our tables and triggers in it: what is installed, who publishes from it, what was seen. Refuses to
//! write anything of the user's, and to hold up their statements for longer than a moment.

pub(super) mod ddl;
pub(super) mod names;
mod plan;
mod prune;
mod ranges;
mod seen;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use edgepress_site::version::Version;
use sqlx::mysql::{MySqlConnection, MySqlDatabaseError, MySqlRow};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _};
use tokio::time::Instant;

use self::names::{CONSUMER, INTENT, LOG};
use self::plan::{Plan, Remembered, drops};
use self::ranges::Ranges;
use self::seen::Moment;
pub(super) use self::seen::{Standing, changes};
use super::catalog::Schema;
use super::open::message;
use super::{Mysql, failed, refused};
use crate::database::DatabaseError;
use crate::database::capture::{Capture, Captured, Consumer, Installed, Intent, Reads, Seen, Status};

/// Our DDL waits so many seconds for a table that is in use, since all who come later wait behind it,
const LOCK_WAIT: u32 = 1;
/// and is tried again after pauses that grow, until so much time has passed.
const INSTALLING: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Intents kept for one consumer: one whose publishing keeps failing does not fill the table.
const MOST_INTENTS: i64 = 64;

/// What the owner should know about TRUNCATE.
const NO_PROCESS: &str = "without the PROCESS privilege a TRUNCATE or ALTER TABLE of any table of the server counts \
    as a change of all tables: grant it, and only the one counts";

/// The schema under which each consumer's capture was last found in place.
#[derive(Debug, Clone, Default)]
pub(super) struct Found(Arc<Mutex<HashMap<String, Version>>>);

impl Found {
    pub(super) fn found(&self, consumer: &str, schema: &Schema) {
        self.lock().insert(consumer.to_owned(), schema.digest());
    }

    fn is_found(&self, consumer: &str, schema: &Schema) -> bool {
        self.lock().get(consumer) == Some(&schema.digest())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Version>> {
        // It is only a memory, and every write of it is one step.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The server's errors that are told apart.
mod number {
    pub(super) const LOCK_WAIT_TIMEOUT: u16 = 1205;
    pub(super) const DEADLOCK: u16 = 1213;
    pub(super) const NO_SUCH_TABLE: u16 = 1146;
    pub(super) const BINLOG_NEEDS_SUPER: u16 = 1419;
    pub(super) const DENIED: [u16; 4] = [1044, 1142, 1143, 1227];
}

fn number_of(error: &sqlx::Error) -> u16 {
    let error = error.as_database_error().and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>());
    error.map_or(0, MySqlDatabaseError::number)
}

/// Why our tables or triggers could not be written, with a remedy.
fn cannot_write(error: &sqlx::Error) -> DatabaseError {
    let remedy = match number_of(error) {
        number::BINLOG_NEEDS_SUPER => {
            ": set log_bin_trust_function_creators = 1, or let a user with SUPER run the statements"
        }
        number if number::DENIED.contains(&number) => {
            ": grant CREATE, DROP, TRIGGER, CREATE ROUTINE, ALTER ROUTINE, EXECUTE, SELECT, INSERT, UPDATE and \
             DELETE on the database, or let a user who has them run the statements"
        }
        number::LOCK_WAIT_TIMEOUT => ": a table is in use without a pause; publish again later",
        _ => "",
    };
    refused(format!("{}{remedy}", message(error)))
}

/// A connection of its own for DDL, with patience of its own; what it holds ends with it.
struct Installing {
    connection: MySqlConnection,
    until: Instant,
}

impl Installing {
    /// Waits until nobody else installs here.
    async fn begin(database: &Mysql) -> Result<Self, DatabaseError> {
        let mut connection = database.opened.pool.acquire().await.map_err(failed)?.detach();
        // The mode is kept with each trigger: it must take any date that was stored.
        let waits = format!(
            "SET SESSION lock_wait_timeout = {LOCK_WAIT}, innodb_lock_wait_timeout = {LOCK_WAIT}, \
             sql_mode = CONCAT(@@sql_mode, ',ALLOW_INVALID_DATES')"
        );
        connection.execute(AssertSqlSafe(waits)).await.map_err(failed)?;
        let lock = "SELECT GET_LOCK(LEFT(CONCAT('edgepress ', SHA1(DATABASE())), 64), ?)";
        let got: Option<i64> = sqlx::query_scalar(lock)
            .bind(INSTALLING.as_secs())
            .fetch_one(&mut connection)
            .await
            .map_err(failed)?;
        if got != Some(1) {
            return Err(refused(
                "somebody else has been installing capture for a minute: publish again later",
            ));
        }
        Ok(Self { connection, until: Instant::now() + INSTALLING })
    }

    async fn run(&mut self, statements: &[String]) -> Result<(), DatabaseError> {
        for statement in statements {
            let mut pause = FIRST_PAUSE;
            while let Err(error) = self.connection.execute(AssertSqlSafe(statement.as_str())).await {
                let is_busy = [number::LOCK_WAIT_TIMEOUT, number::DEADLOCK].contains(&number_of(&error));
                if !is_busy || Instant::now() > self.until {
                    return Err(cannot_write(&error));
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
        Ok(())
    }

    async fn end(self) {
        // It ends either way.
        let _ = self.connection.close().await;
    }
}

impl Mysql {
    /// What is missing, as this connection sees it; and the schema.
    async fn plan(
        &self,
        connection: &mut MySqlConnection,
        consumer: Option<(&str, &Reads)>,
    ) -> Result<(Plan, Schema, Option<Standing>), sqlx::Error> {
        let schema = Schema::read(connection, &self.opened.schema).await?;
        let standing = Standing::read(connection, Some(&schema)).await?;
        let remembered = remembered(connection, standing.as_ref()).await?;
        Ok((Plan::new(&schema, remembered.as_ref(), consumer), schema, standing))
    }
}

#[async_trait]
impl Capture for Mysql {
    async fn install(&self, consumer: &str, reads: &Reads) -> Result<Installed, DatabaseError> {
        let mut connection = self.opened.pool.acquire().await.map_err(failed)?;
        let (plan, schema, _) = self.plan(&mut connection, Some((consumer, reads))).await.map_err(failed)?;
        drop(connection);
        let mut installed = Installed { tables: Vec::new(), notes: plan.notes.clone() };
        if !plan.statements.is_empty() {
            let mut installing = Installing::begin(self).await?;
            let (plan, ..) =
                self.plan(&mut installing.connection, Some((consumer, reads))).await.map_err(failed)?;
            let result = installing.run(&plan.statements).await;
            installing.end().await;
            result?;
            installed = Installed { tables: plan.tables, notes: plan.notes };
            if schema.emptied.is_some() {
                installed.notes.push(NO_PROCESS.to_owned());
            }
        }
        self.found.found(consumer, &schema);
        Ok(installed)
    }

    async fn statements(&self, consumer: &str, reads: &Reads) -> Result<Vec<String>, DatabaseError> {
        let mut connection = self.opened.pool.acquire().await.map_err(failed)?;
        let (plan, ..) = self.plan(&mut connection, Some((consumer, reads))).await.map_err(failed)?;
        Ok(plan.statements)
    }

    async fn status(&self) -> Result<Status, DatabaseError> {
        let mut snapshot = self.begin().await?;
        let mut status = Status::default();
        let schema = snapshot.schema().await?;
        let Some(standing) = snapshot.standing().await? else { return Ok(status) };
        let connection = &mut *snapshot.transaction;
        let remembered = remembered(connection, Some(&standing)).await.map_err(failed)?;
        let there = seen::there(connection, 0).await.map_err(failed)?;
        let mut waiting = Ranges::default();
        for (name, moments) in moments(connection, &standing).await.map_err(failed)? {
            let unseen = moments.iter().map(|then| then.unseen(&there)).max_by_key(Ranges::count);
            let unseen = unseen.unwrap_or_else(|| there.clone());
            status.consumers.insert(name, unseen.count());
            if unseen.count() > waiting.count() {
                waiting = unseen;
            }
        }
        let counts =
            format!("SELECT source, COUNT(*) FROM {LOG} WHERE {} GROUP BY source", waiting.condition("id"));
        let counts: Vec<(i64, i64)> = seen::plain(connection, counts).await.map_err(failed)?;
        let counts: BTreeMap<i64, i64> = counts.into_iter().collect();
        let plan = Plan::new(&schema, remembered.as_ref(), None);
        for (name, columns) in &plan.captured {
            let source = standing.sources.iter().find(|source| source.name == *name);
            let waiting = source.and_then(|source| counts.get(&source.id)).copied().unwrap_or_default();
            status.tables.push(Captured {
                table: schema.table(name),
                columns: columns.iter().cloned().collect(),
                problem: plan.problems.get(name).cloned(),
                waiting: waiting.unsigned_abs(),
            });
        }
        Ok(status)
    }

    async fn remove(&self) -> Result<bool, DatabaseError> {
        let mut installing = Installing::begin(self).await?;
        let schema = Schema::read(&mut installing.connection, &self.opened.schema).await.map_err(failed)?;
        let drops = drops(&schema);
        let result = installing.run(&drops).await;
        installing.end().await;
        result.map(|()| !drops.is_empty())
    }

    async fn is_behind(&self, consumer: &str) -> Result<bool, DatabaseError> {
        let mut connection = self.opened.pool.acquire().await.map_err(failed)?;
        let look = format!("SELECT c.seen, (SELECT MAX(id) FROM {LOG}) FROM {CONSUMER} c WHERE c.name = ?");
        let row = sqlx::query(AssertSqlSafe(look)).bind(consumer).fetch_optional(&mut *connection).await;
        // Whatever fails here, a closer look will tell.
        let Ok(Some(row)) = row else { return Ok(true) };
        let Some(then) = row.try_get::<Option<String>, _>(0).map_err(failed)? else { return Ok(true) };
        let then = Moment::of(&then);
        if row.try_get::<Option<i64>, _>(1).map_err(failed)?.is_some_and(|last| last > then.high) {
            return Ok(true);
        }
        let (plan, schema, standing) = self.plan(&mut connection, None).await.map_err(failed)?;
        if !self.found.is_found(consumer, &schema) || !plan.statements.is_empty() {
            return Ok(true);
        }
        let Some(mut standing) = standing else { return Ok(true) };
        let unseen = standing.unseen(&mut connection, &then).await.map_err(failed)?;
        let now = &standing.moment;
        Ok(now.identity != then.identity
            || now.lost != then.lost
            || (&now.marks, &now.since) != (&then.marks, &then.since)
            || !now.none_emptied_since(&then)
            || standing.pruned > then.high
            || !unseen.is_empty())
    }

    async fn consumer(&self, consumer: &str) -> Result<Option<Consumer>, DatabaseError> {
        // One statement: consumption and intents are of one moment.
        let sql = format!(
            "SELECT number, seen, state, 0 AS id FROM {CONSUMER} WHERE name = ? \
             UNION ALL SELECT number, seen, state, id FROM {INTENT} WHERE consumer = ? ORDER BY id"
        );
        let rows = sqlx::query(AssertSqlSafe(sql)).bind(consumer).bind(consumer);
        let rows = match rows.fetch_all(&self.opened.pool).await {
            Err(error) if number_of(&error) == number::NO_SUCH_TABLE => return Ok(None),
            rows => rows.map_err(failed)?,
        };
        let id = |row: &MySqlRow| row.try_get::<i64, _>(3).map_err(failed);
        let Some((row, rows)) = rows.split_first() else { return Ok(None) };
        if id(row)? != 0 {
            return Ok(None);
        }
        let is_consumed = row.try_get::<Option<i64>, _>(0).map_err(failed)?.is_some();
        let consumed = if is_consumed { Some(intent(row)?) } else { None };
        Ok(Some(Consumer { consumed, intents: rows.iter().map(intent).collect::<Result<_, _>>()? }))
    }

    async fn intend(&self, consumer: &str, intent: &Intent) -> Result<(), DatabaseError> {
        let mut connection = self.opened.pool.acquire().await.map_err(failed)?;
        let add = format!("INSERT INTO {INTENT} (consumer, number, seen, state) VALUES (?, ?, ?, ?)");
        let add = sqlx::query(AssertSqlSafe(add))
            .bind(consumer)
            .bind(release_number(intent)?)
            .bind(&intent.seen.0)
            .bind(&intent.state);
        add.execute(&mut *connection).await.map_err(|error| cannot_write(&error))?;
        let last = format!(
            "SELECT id FROM {INTENT} WHERE consumer = ? ORDER BY id DESC LIMIT 1 OFFSET {MOST_INTENTS}"
        );
        let last: Option<i64> = sqlx::query_scalar(AssertSqlSafe(last))
            .bind(consumer)
            .fetch_optional(&mut *connection)
            .await
            .map_err(failed)?;
        if let Some(last) = last {
            let cut = format!("DELETE FROM {INTENT} WHERE consumer = ? AND id <= ?");
            let cut = sqlx::query(AssertSqlSafe(cut)).bind(consumer).bind(last);
            cut.execute(&mut *connection).await.map_err(|error| cannot_write(&error))?;
        }
        Ok(())
    }

    async fn consume(&self, consumer: &str, intent: &Intent) -> Result<(), DatabaseError> {
        let mut transaction = self.opened.pool.begin().await.map_err(failed)?;
        let is_there = format!("SELECT 1 FROM {CONSUMER} WHERE name = ? FOR UPDATE");
        let is_there: Option<i64> = sqlx::query_scalar(AssertSqlSafe(is_there))
            .bind(consumer)
            .fetch_optional(&mut *transaction)
            .await
            .map_err(|error| cannot_write(&error))?;
        if is_there.is_none() {
            return Err(refused(format!("nobody called {consumer} is registered here: publish again")));
        }
        let set = format!("UPDATE {CONSUMER} SET number = ?, seen = ?, state = ? WHERE name = ?");
        let set = sqlx::query(AssertSqlSafe(set))
            .bind(release_number(intent)?)
            .bind(&intent.seen.0)
            .bind(&intent.state)
            .bind(consumer);
        set.execute(&mut *transaction).await.map_err(|error| cannot_write(&error))?;
        let forget = format!("DELETE FROM {INTENT} WHERE consumer = ?");
        let forget = sqlx::query(AssertSqlSafe(forget)).bind(consumer);
        forget.execute(&mut *transaction).await.map_err(|error| cannot_write(&error))?;
        transaction.commit().await.map_err(failed)
    }

    async fn prune(&self, most: u64) -> Result<(), DatabaseError> {
        self.prune_seen(most).await?;
        self.settle().await
    }
}

fn release_number(intent: &Intent) -> Result<i64, DatabaseError> {
    i64::try_from(intent.number).map_err(|_| refused("a release's number is at most 2^63 - 1"))
}

/// An intent of a row with its number, what was seen, and its state.
fn intent(row: &MySqlRow) -> Result<Intent, DatabaseError> {
    let text = |place: usize| row.try_get::<Option<String>, _>(place).map(Option::unwrap_or_default);
    let number: i64 = row.try_get(0).map_err(failed)?;
    Ok(Intent {
        number: u64::try_from(number).unwrap_or_default(),
        seen: Seen(text(1).map_err(failed)?),
        state: text(2).map_err(failed)?,
    })
}

/// Whether everything is in place, as this connection sees it, so that `consumer` sees the edits of what it
/// reads; and nothing is to be said of it.
pub(super) async fn is_in_place(
    connection: &mut MySqlConnection,
    schema: &Schema,
    standing: Option<&Standing>,
    (consumer, reads): (&str, &Reads),
) -> Result<bool, sqlx::Error> {
    let remembered = remembered(connection, standing).await?;
    let plan = Plan::new(schema, remembered.as_ref(), Some((consumer, reads)));
    Ok(plan.statements.is_empty() && plan.notes.is_empty())
}

/// What our tables say of who reads what; nothing where they are not all there.
async fn remembered(
    connection: &mut MySqlConnection,
    standing: Option<&Standing>,
) -> Result<Option<Remembered>, sqlx::Error> {
    let Some(standing) = standing else { return Ok(None) };
    let consumers = format!("SELECT name, reads_ FROM {CONSUMER}");
    let consumers: Vec<(String, String)> =
        sqlx::query_as(AssertSqlSafe(consumers)).fetch_all(connection).await?;
    Ok(Some(Remembered {
        consumers: consumers.into_iter().collect(),
        sources: standing.sources.clone(),
        next: standing.next,
        waiting: standing.moment.high - standing.pruned,
    }))
}

/// What each consumer has seen, or its intents have if it never consumed; only of this very capture.
async fn moments(
    connection: &mut MySqlConnection,
    standing: &Standing,
) -> Result<BTreeMap<String, Vec<Moment>>, sqlx::Error> {
    let sql = format!(
        "SELECT name, seen FROM {CONSUMER} UNION ALL SELECT consumer, seen FROM {INTENT} \
         WHERE consumer IN (SELECT name FROM {CONSUMER} WHERE seen IS NULL)"
    );
    let rows: Vec<(String, Option<String>)> =
        sqlx::query_as(AssertSqlSafe(sql)).fetch_all(connection).await?;
    let mut moments: BTreeMap<String, Vec<Moment>> = BTreeMap::new();
    for (name, seen) in rows {
        let all = moments.entry(name).or_default();
        let moment = seen.map(|seen| Moment::of(&seen));
        all.extend(moment.filter(|then| then.identity == standing.moment.identity));
    }
    Ok(moments)
}
