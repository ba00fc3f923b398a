//! Capturing the edits of a PostgreSQL database.
//!
//! Owns our schema in it: what is installed, who publishes from it, what was seen. Refuses to write
//! anything of the user's, and to let the user's statements wait behind ours for longer than a moment.

mod ddl;
pub(super) mod names;
mod plan;
pub(super) mod seen;
#[cfg(test)]
mod tests;
mod upkeep;

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor as _, Row as _};

use self::names::{CONSUMER, INTENT, LOG, STATE};
use self::plan::{Plan, There};
use self::seen::{Moment, Standing, is_there, unseen_by};
use super::open::{code, is_lock_missed, message};
use super::{Postgres, catalog, failed, refused};
use crate::database::DatabaseError;
use crate::database::capture::{Capture, Consumer, Installed, Intent, Reads, Seen, Status};

/// How long our DDL waits for a lock: the user's statements queue behind it meanwhile.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '200ms'";
/// Tries to get it, and the pause between two; twice as long each time up to the longest.
const LOCK_TRIES: u32 = 12;
const LOCK_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
/// Two installers at once go one after the other.
const ONE_AT_A_TIME: &str = "SELECT pg_advisory_xact_lock(hashtext('edgepress'), 1)";
/// Plans made again because another installer was quicker.
const PLAN_TRIES: u32 = 20;
/// Intents kept for one consumer: one whose publishing keeps failing does not fill the disk.
const MOST_INTENTS: i64 = 64;

/// What was found in place: while the signature stays the same, nothing needs to be looked at.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashMap<String, InPlace>>);

#[derive(Debug)]
struct InPlace {
    signature: String,
    reads: Reads,
    /// The last snapshot after which the consumer was not behind.
    quiet: Option<String>,
}

impl Known {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, InPlace>> {
        // It is only a memory, and every write of it is one step.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn is_quiet(&self, consumer: &str, snapshot: &str) -> bool {
        self.lock().get(consumer).is_some_and(|known| known.quiet.as_deref() == Some(snapshot))
    }

    pub(super) fn is_in_place(&self, consumer: &str, signature: &str, reads: Option<&Reads>) -> bool {
        self.lock().get(consumer).is_some_and(|known| {
            known.signature == signature && reads.is_none_or(|reads| *reads == known.reads)
        })
    }
}

/// The tables that are captured and may be read, and our own, as SQL text.
pub(super) const CAPTURED: &str = "\
        SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
        WHERE has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') AND (\
            (c.relnamespace = (SELECT to_regnamespace('edgepress_capture')) AND c.relkind = 'r') OR c.oid IN (\
                SELECT t.tgrelid FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid \
                WHERE p.pronamespace = (SELECT to_regnamespace('edgepress_capture')))) \
        ORDER BY 1";

pub(super) async fn captured_tables(connection: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(CAPTURED).fetch_all(connection).await
}

/// A text that differs whenever the captured tables, our triggers or any view were altered: made of the
/// transactions that wrote their entries in the system catalogs. Every snapshot asks for it, so what would be done
/// for each of PostgreSQL's own objects is done once (`SELECT to_regnamespace`) or not at all (below 16384).
pub(super) const SIGNATURE: &str = "\
        (WITH ours AS MATERIALIZED (SELECT t.oid, t.xmin, t.tgrelid, t.tgfoid FROM pg_trigger t \
            JOIN pg_proc p ON p.oid = t.tgfoid WHERE p.pronamespace = (SELECT to_regnamespace('edgepress_capture'))), \
        parts(part) AS (\
            SELECT format('t%s.%s', oid, xmin) FROM ours \
            UNION ALL SELECT format('f%s.%s', oid, xmin) FROM pg_proc WHERE oid >= 16384 AND pronamespace = (SELECT to_regnamespace('edgepress_capture')) \
            UNION ALL SELECT format('c%s.%s.%s', oid, xmin, relfilenode) FROM pg_class WHERE oid IN (SELECT tgrelid FROM ours) \
            UNION ALL SELECT format('n%s.%s', oid, xmin) FROM pg_class WHERE oid >= 16384 AND relnamespace = (SELECT to_regnamespace('edgepress_capture')) AND relkind = 'r' \
            UNION ALL SELECT format('a%s.%s.%s', attrelid, attnum, xmin) FROM pg_attribute WHERE attrelid IN (SELECT tgrelid FROM ours) \
            UNION ALL SELECT format('i%s.%s', inhrelid, xmin) FROM pg_inherits \
            UNION ALL SELECT format('e%s.%s', oid, xmin) FROM pg_enum \
            UNION ALL SELECT format('v%s.%s', oid, xmin) FROM pg_rewrite WHERE oid >= 16384) \
        SELECT coalesce(md5(string_agg(part, ',' ORDER BY part)), '') FROM parts)";

async fn signature(connection: &mut PgConnection) -> sqlx::Result<String> {
    sqlx::query_scalar(AssertSqlSafe(format!("SELECT {SIGNATURE}"))).fetch_one(connection).await
}

/// Whether our tables, which are there, know this consumer.
pub(super) async fn is_registered(connection: &mut PgConnection, consumer: &str) -> sqlx::Result<bool> {
    let sql = format!("SELECT EXISTS (SELECT 1 FROM {CONSUMER} WHERE name = $1)");
    sqlx::query_scalar(AssertSqlSafe(sql)).bind(consumer).fetch_one(connection).await
}

/// What must still be as it was when the plan was made.
#[derive(Clone, Copy)]
enum Expected {
    Anything,
    /// Whether our schema is complete.
    Complete(bool),
    /// The number of the table captured next.
    Next(i64),
}

/// Where a step of installing ended.
enum Step {
    Done,
    /// Another installer was quicker.
    Outdated,
}

impl Postgres {
    async fn plan(&self, consumer: Option<(&str, &Reads)>) -> Result<Plan, DatabaseError> {
        let connection = &mut *self.location.pool.acquire().await.map_err(failed)?;
        let schema = catalog::read(connection).await.map_err(failed)?;
        let there = There::read(connection).await.map_err(failed)?;
        Ok(Plan::new(&schema, &there, consumer))
    }

    /// Runs statements in one transaction, whose locks it does not wait for long: it tries again later.
    async fn run(&self, statements: &[String], expected: Expected) -> Result<Step, DatabaseError> {
        let mut pause = LOCK_PAUSE;
        for number in 1..=LOCK_TRIES {
            match self.try_run(statements, expected).await {
                Err(error) if is_lock_missed(&error) && number < LOCK_TRIES => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(error) if is_lock_missed(&error) => {
                    return Err(refused(format!(
                        "capture cannot be installed now, because a transaction holds a lock and does not \
                         end ({})",
                        message(&error)
                    )));
                }
                Err(error) if code(&error).as_deref() == Some("42501") => {
                    return Err(refused(format!(
                        "{}: to capture edits, this role needs CREATE on the database and TRIGGER on the \
                         tables that are read; or their owner runs the statements once",
                        message(&error)
                    )));
                }
                result => return result.map_err(failed),
            }
        }
        Ok(Step::Outdated)
    }

    async fn try_run(&self, statements: &[String], expected: Expected) -> sqlx::Result<Step> {
        // So that images which are taken over are all that there are once the lock is had.
        let mut transaction = self.location.pool.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
        transaction.execute(LOCK_TIMEOUT).await?;
        transaction.execute(ONE_AT_A_TIME).await?;
        let is_outdated = match expected {
            Expected::Anything => false,
            Expected::Complete(was) => There::read(&mut transaction).await?.is_complete() != was,
            Expected::Next(next) => {
                let sql = format!("SELECT next FROM {STATE} FOR UPDATE");
                let found: Option<i64> =
                    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_optional(&mut *transaction).await?;
                found != Some(next)
            }
        };
        if is_outdated {
            return Ok(Step::Outdated);
        }
        for statement in statements {
            transaction.execute(sqlx::raw_sql(AssertSqlSafe(statement.as_str()))).await?;
        }
        transaction.commit().await?;
        Ok(Step::Done)
    }

    /// Installs what is missing; whether anything was done, so that it is to be looked at again.
    async fn try_install(
        &self,
        consumer: &str,
        reads: &Reads,
        installed: &mut Installed,
    ) -> Result<bool, DatabaseError> {
        let plan = self.plan(Some((consumer, reads))).await?;
        if let Some(reason) = plan.refused {
            return Err(refused(reason));
        }
        let mut is_done = !plan.first.is_empty() || !plan.makes.is_empty();
        if !plan.first.is_empty() {
            let expected = Expected::Complete(plan.is_complete);
            if let Step::Outdated = self.run(&plan.first, expected).await? {
                return Ok(true);
            }
        }
        for make in plan.makes {
            match self.run(&make.statements, Expected::Next(make.number)).await? {
                Step::Done if make.is_carried => {}
                Step::Done => installed.tables.push(make.table),
                Step::Outdated => return Ok(true),
            }
        }
        // What is left over costs a little, but nobody waits for it: a snapshot may hold its tables for long.
        for drop in plan.drops {
            match self.try_run(&drop, Expected::Anything).await {
                Ok(_) => is_done = true,
                Err(error) if is_lock_missed(&error) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        installed.notes = plan.notes;
        Ok(is_done)
    }

    async fn signature(&self) -> Result<String, DatabaseError> {
        let connection = &mut *self.location.pool.acquire().await.map_err(failed)?;
        signature(connection).await.map_err(failed)
    }

    /// Whether everything was in place before, and nothing was altered since.
    async fn is_in_place(&self, consumer: &str, reads: &Reads) -> Result<bool, DatabaseError> {
        let connection = &mut *self.location.pool.acquire().await.map_err(failed)?;
        let signature = signature(connection).await.map_err(failed)?;
        if !self.known.is_in_place(consumer, &signature, Some(reads)) {
            return Ok(false);
        }
        Ok(is_registered(connection, consumer).await.unwrap_or(false))
    }

    async fn standing(&self, connection: &mut PgConnection) -> Result<Option<Standing>, DatabaseError> {
        if !is_there(connection).await.map_err(failed)? {
            return Ok(None);
        }
        Standing::read(connection, self.location.has_system_identifier).await.map_err(failed)
    }

    async fn is_behind_now(
        &self,
        connection: &mut PgConnection,
        consumer: &str,
    ) -> Result<bool, DatabaseError> {
        if !self.known.is_in_place(consumer, &signature(connection).await.map_err(failed)?, None) {
            return Ok(true);
        }
        let Some(standing) = self.standing(connection).await? else { return Ok(true) };
        let sql = format!("SELECT seen FROM {CONSUMER} WHERE name = $1");
        let seen: Option<Option<String>> = sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(consumer)
            .fetch_optional(&mut *connection)
            .await
            .map_err(failed)?;
        let Some(seen) = seen.flatten() else { return Ok(true) };
        let then = Moment::of(&seen);
        if !then.is_comparable(&standing.moment) || then.sources != standing.moment.sources {
            return Ok(true);
        }
        Self::is_anything_unseen(connection, &then).await.map_err(failed)
    }

    /// Runs a statement about an intent; how many rows it touched.
    async fn remember(&self, sql: String, consumer: &str, intent: &Intent) -> Result<u64, DatabaseError> {
        let query = sqlx::query(AssertSqlSafe(sql)).bind(consumer).bind(number(intent)?);
        let query = query.bind(&intent.seen.0).bind(&intent.state);
        Ok(query.execute(&self.location.pool).await.map_err(failed)?.rows_affected())
    }

    /// Whether something came that the snapshot has not seen.
    async fn is_anything_unseen(connection: &mut PgConnection, moment: &Moment) -> sqlx::Result<bool> {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {LOG} WHERE {})", unseen_by("$1"));
        sqlx::query_scalar(AssertSqlSafe(sql)).bind(&moment.snapshot).fetch_one(connection).await
    }
}

#[async_trait]
impl Capture for Postgres {
    async fn install(&self, consumer: &str, reads: &Reads) -> Result<Installed, DatabaseError> {
        let mut installed = Installed::default();
        if self.is_in_place(consumer, reads).await? {
            return Ok(installed);
        }
        for _ in 0..PLAN_TRIES {
            // Before it is looked at what is there: whatever is altered after this is noticed later.
            let before = self.signature().await?;
            if !self.try_install(consumer, reads, &mut installed).await? {
                let known = InPlace { signature: before, reads: reads.clone(), quiet: None };
                self.known.lock().insert(consumer.to_owned(), known);
                return Ok(installed);
            }
        }
        Err(refused(
            "capture is altered by somebody else all the time: is another version publishing from here?",
        ))
    }

    async fn statements(&self, consumer: &str, reads: &Reads) -> Result<Vec<String>, DatabaseError> {
        let plan = self.plan(Some((consumer, reads))).await?;
        match plan.refused {
            Some(reason) => Err(refused(reason)),
            None if plan.is_empty() => Ok(Vec::new()),
            None => {
                let role = sqlx::query_scalar("SELECT current_user::text").fetch_one(&self.location.pool);
                let role: String = role.await.map_err(failed)?;
                Ok(plan.statements(&role))
            }
        }
    }

    async fn status(&self) -> Result<Status, DatabaseError> {
        self.read_status().await
    }

    async fn remove(&self) -> Result<bool, DatabaseError> {
        let connection = &mut *self.location.pool.acquire().await.map_err(failed)?;
        let there = There::read(connection).await.map_err(failed)?;
        if !there.is_ours() {
            return Ok(false);
        }
        self.known.lock().clear();
        self.run(&["DROP SCHEMA edgepress_capture CASCADE".to_owned()], Expected::Anything).await?;
        Ok(true)
    }

    async fn is_behind(&self, consumer: &str) -> Result<bool, DatabaseError> {
        let connection = &mut *self.location.pool.acquire().await.map_err(failed)?;
        // As long as the snapshot stays the same, no transaction that wrote anything has ended. A replica's
        // does not say so.
        let look = format!(
            "SELECT CASE WHEN pg_is_in_recovery() THEN '' ELSE pg_current_snapshot()::text END, EXISTS (\
             SELECT 1 FROM {CONSUMER}, LATERAL (SELECT seen::json ->> 'snapshot' AS seen) AS moment, {LOG} \
             WHERE name = $1 AND {})",
            unseen_by("moment.seen")
        );
        let look = sqlx::query_as(AssertSqlSafe(look)).bind(consumer).fetch_one(&mut *connection).await;
        // Where our tables are not as they should be, the closer look tells.
        let (snapshot, is_unseen): (String, bool) = look.unwrap_or_default();
        if is_unseen {
            return Ok(true);
        }
        if !snapshot.is_empty() && self.known.is_quiet(consumer, &snapshot) {
            return Ok(false);
        }
        let is_behind = self.is_behind_now(connection, consumer).await?;
        if let Some(known) = self.known.lock().get_mut(consumer) {
            known.quiet = (!is_behind).then_some(snapshot);
        }
        Ok(is_behind)
    }

    async fn consumer(&self, consumer: &str) -> Result<Option<Consumer>, DatabaseError> {
        // One statement: consumption and intents are of one moment.
        let sql = format!(
            "SELECT true, 0::bigint, number, seen, state FROM {CONSUMER} WHERE name = $1 \
             UNION ALL SELECT false, id, number, seen, state FROM {INTENT} WHERE consumer = $1 ORDER BY 1 DESC, 2"
        );
        let rows = match sqlx::query(AssertSqlSafe(sql)).bind(consumer).fetch_all(&self.location.pool).await {
            // undefined_table, invalid_schema_name, insufficient_privilege
            Err(error) if matches!(code(&error).as_deref(), Some("42P01" | "3F000" | "42501")) => {
                return Ok(None);
            }
            rows => rows.map_err(failed)?,
        };
        let mut found = None;
        for row in rows {
            let intent = match row.try_get::<Option<i64>, _>(2).map_err(failed)? {
                Some(number) => Some(Intent {
                    number: u64::try_from(number).unwrap_or_default(),
                    seen: Seen(row.try_get::<Option<String>, _>(3).map_err(failed)?.unwrap_or_default()),
                    state: row.try_get::<Option<String>, _>(4).map_err(failed)?.unwrap_or_default(),
                }),
                None => None,
            };
            match (row.try_get(0).map_err(failed)?, &mut found) {
                (true, _) => found = Some(Consumer { consumed: intent, intents: Vec::new() }),
                (false, Some(found)) => found.intents.extend(intent),
                (false, None) => {}
            }
        }
        Ok(found)
    }

    async fn intend(&self, consumer: &str, intent: &Intent) -> Result<(), DatabaseError> {
        // Parts of one statement do not see what the others do.
        let sql = format!(
            "WITH added AS (INSERT INTO {INTENT} (consumer, number, seen, state) VALUES ($1, $2, $3, $4)) \
             DELETE FROM {INTENT} WHERE consumer = $1 AND id <= (SELECT id FROM {INTENT} \
             WHERE consumer = $1 ORDER BY id DESC LIMIT 1 OFFSET {MOST_INTENTS} - 1)"
        );
        self.remember(sql, consumer, intent).await.map(drop)
    }

    async fn consume(&self, consumer: &str, intent: &Intent) -> Result<(), DatabaseError> {
        let sql = format!(
            "WITH forgotten AS (DELETE FROM {INTENT} USING {CONSUMER} WHERE consumer = $1 AND name = $1) \
             UPDATE {CONSUMER} SET number = $2, seen = $3, state = $4 WHERE name = $1"
        );
        match self.remember(sql, consumer, intent).await? {
            0 => Err(refused(format!("nobody called {consumer} is registered here: publish again"))),
            _ => Ok(()),
        }
    }

    async fn prune(&self, most: u64) -> Result<(), DatabaseError> {
        self.prune_changes(most).await
    }
}

fn number(intent: &Intent) -> Result<i64, DatabaseError> {
    i64::try_from(intent.number).map_err(|_| refused("a release's number is at most 2^63 - 1"))
}
