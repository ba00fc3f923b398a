//! PostgreSQL databases.
//!
//! Owns the connections to one database and what is read through them. Refuses to write, but for our own
//! schema where edits are captured.

/// Reads a row by its columns' names.
macro_rules! from_row {
    ($name:ident: $($field:ident),*) => {
        impl sqlx::FromRow<'_, sqlx::postgres::PgRow> for $name {
            fn from_row(row: &sqlx::postgres::PgRow) -> sqlx::Result<Self> {
                Ok(Self { $($field: sqlx::Row::try_get(row, stringify!($field))?),* })
            }
        }
    };
}

mod capture;
mod catalog;
mod lex;
mod memory;
mod open;
#[cfg(test)]
mod tests;
mod types;
mod values;
mod wrap;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use edgepress_site::row::{Columns, Row, Value};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Column as _, Executor as _, Row as _, Transaction};

use self::capture::seen::Standing;
use self::lex::{order_terms, single_select};
use self::memory::Memory;
use self::open::{Location, code, is_lock_missed, is_refused, located, message};
use self::types::{Form, Type};
use self::wrap::{BEFORE_CHECKED, Described, Include};
use super::capture::{Capture, Catalog, Changes, Keys, Reads, Reference, Seen, Table};
use super::keys::{check_keys, check_names, distinct_keys, failure, hand_out, place, refused};
use super::{Database, DatabaseError, IncludeQuery, Order, Rows, Snapshot};

/// Rows of one batch at most,
const BATCH_ROWS: usize = 500;
/// and about how much memory they may take. The first batch is small: it tells how large rows are.
const BATCH_BYTES: usize = 4 << 20;
const FIRST_BATCH_ROWS: usize = 32;
/// Parents asked for in one statement.
const PARENTS: usize = 1_000;
/// How often tables may vanish between looking for them and locking them.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

const SAVEPOINT: &str = "SAVEPOINT edgepress_start";
/// Nothing that a snapshot does is kept from a statement that failed but what was there at its beginning.
const ROLL_BACK: &str = "ROLLBACK TO SAVEPOINT edgepress_start";

/// A PostgreSQL database.
#[derive(Debug)]
pub struct Postgres {
    location: Location,
    memory: Memory,
    /// What was captured when that was last looked at: it is locked before a snapshot is taken.
    captured: Mutex<Vec<String>>,
    known: Arc<capture::Known>,
}

/// What the first statement of a snapshot says, which takes it.
struct Start {
    /// The server's process.
    process: i32,
    /// The captured tables, and ours, as SQL text.
    captured: Vec<String>,
    /// Whether our tables are there, and may be read.
    is_there: bool,
    /// Differs whenever what is captured, or what captures it, was altered.
    signature: String,
    /// Differs whenever the schema was.
    sign: String,
}

from_row!(Start: process, captured, is_there, signature, sign);

impl Postgres {
    /// Opens the database that `url` (`postgres:` or `postgresql:`) names. TLS follows its `sslmode`.
    ///
    /// # Errors
    /// When the URL is not valid, the server cannot be reached or refuses us, or is too old.
    pub async fn open(url: &str) -> Result<Self, DatabaseError> {
        let location = Location::open(url).await?;
        let (memory, captured, known) = (Memory::default(), Mutex::default(), Arc::default());
        Ok(Self { location, memory, captured, known })
    }

    fn captured(&self) -> MutexGuard<'_, Vec<String>> {
        // It is only a memory, and every write of it is one step.
        self.captured.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn begin(&self) -> Result<PostgresSnapshot, DatabaseError> {
        for _ in 0..LOCK_TRIES {
            let locked = self.captured().clone();
            let Some(snapshot) = self.try_begin(&locked).await? else {
                tokio::time::sleep(LOCK_PAUSE).await;
                let connection = &mut *self.location.pool.acquire().await.map_err(failed)?;
                let captured = capture::captured_tables(connection).await.map_err(failed)?;
                *self.captured() = captured;
                continue;
            };
            self.captured().clone_from(&snapshot.start.captured);
            if snapshot.start.captured.iter().all(|table| locked.contains(table)) {
                return Ok(snapshot);
            }
        }
        Err(refused(
            "the captured tables are dropped and made again without a pause: no moment could be held",
        ))
    }

    /// Locks what is captured against DDL and TRUNCATE, whose effects older snapshots see, and takes the
    /// snapshot only then; nothing if a table went away in between.
    async fn try_begin(&self, tables: &[String]) -> Result<Option<PostgresSnapshot>, DatabaseError> {
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        let mut transaction = self.location.pool.begin_with(begin).await.map_err(failed)?;
        if !tables.is_empty() {
            let lock = format!("LOCK TABLE {} IN ACCESS SHARE MODE", tables.join(", "));
            match transaction.execute(sqlx::raw_sql(AssertSqlSafe(lock))).await {
                Ok(_) => {}
                // undefined_table, invalid_schema_name, insufficient_privilege
                Err(error) if matches!(code(&error).as_deref(), Some("42P01" | "3F000" | "42501")) => {
                    return Ok(None);
                }
                Err(error) if is_lock_missed(&error) => {
                    return Err(refused(format!(
                        "{}: a table is being altered or emptied by a transaction that does not end",
                        message(&error)
                    )));
                }
                Err(error) => return Err(failed(error)),
            }
        }
        // The first query takes the snapshot.
        let start = format!(
            "SELECT pg_backend_pid() AS process, ARRAY({}) AS captured, {} AS is_there, {} AS signature, {} AS sign",
            capture::CAPTURED,
            capture::seen::IS_THERE,
            capture::SIGNATURE,
            memory::SIGN
        );
        let start: Start =
            sqlx::query_as(AssertSqlSafe(start)).fetch_one(&mut *transaction).await.map_err(failed)?;
        transaction.execute(sqlx::raw_sql(SAVEPOINT)).await.map_err(failed)?;
        Ok(Some(PostgresSnapshot {
            transaction: Some(transaction),
            has_system_identifier: self.location.has_system_identifier,
            pool: self.location.pool.clone(),
            state: State::Clean,
            schema: self.memory.under(&start.sign),
            start,
            known: Arc::clone(&self.known),
            standing: None,
        }))
    }
}

#[async_trait]
impl Database for Postgres {
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, DatabaseError> {
        Ok(Box::new(self.begin().await?))
    }

    async fn columns(&self, query: &str) -> Result<Columns, DatabaseError> {
        Ok(self.begin().await?.describe(single_select(query)?).await?.columns)
    }

    async fn data_version(&self) -> Result<i64, DatabaseError> {
        // Every transaction that wrote is in progress in the snapshots before its end, and in none after:
        // the text differs whenever one ended, anywhere in the cluster. A replica tells how far it got.
        let text = "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()::text \
                    ELSE pg_current_snapshot()::text END";
        let text: Option<String> =
            sqlx::query_scalar(text).fetch_one(&self.location.pool).await.map_err(failed)?;
        Ok(hash(text.unwrap_or_default().as_bytes()))
    }

    fn capture(&self) -> Option<&dyn Capture> {
        Some(self)
    }
}

/// FNV-1a: two texts of one number in a row would hide a commit from one look.
fn hash(bytes: &[u8]) -> i64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step).cast_signed()
}

/// In which state the transaction is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Clean,
    /// Rows of a cursor are left, or a setting.
    Left,
    /// A statement runs, failed, or was not waited for.
    Busy,
}

/// One moment of a PostgreSQL database; rolled back when dropped.
struct PostgresSnapshot {
    /// Taken only when this is dropped.
    transaction: Option<Transaction<'static, sqlx::Postgres>>,
    start: Start,
    has_system_identifier: bool,
    pool: sqlx::PgPool,
    /// Unless it is clean, the transaction works again only when it is rolled back to its start, which keeps
    /// the snapshot.
    state: State,
    /// What is known of the schema.
    schema: Arc<memory::Known>,
    known: Arc<capture::Known>,
    /// How our tables stand; nothing within where capture is not installed.
    standing: Option<Option<Standing>>,
}

/// A query that still runs then is cancelled: nobody waits for it.
impl Drop for PostgresSnapshot {
    fn drop(&mut self) {
        let (Some(transaction), Ok(runtime)) =
            (self.transaction.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        if self.state != State::Busy {
            return;
        }
        let (pool, process) = (self.pool.clone(), self.start.process);
        runtime.spawn(async move {
            // As long as the connection is ours, the process serves nobody else.
            let cancelled = sqlx::query("SELECT pg_cancel_backend($1)").bind(process).execute(&pool).await;
            if let Err(error) = cancelled {
                tracing::debug!(%error, "a query that nobody waits for could not be cancelled");
            }
            drop(transaction);
        });
    }
}

impl PostgresSnapshot {
    fn connection(&mut self) -> &mut PgConnection {
        self.transaction.as_mut().expect("it is taken only when this is dropped")
    }

    /// The connection, ready for a statement. Whoever is done with it calls [`Self::settle`].
    async fn ready(&mut self) -> Result<&mut PgConnection, DatabaseError> {
        let before = std::mem::replace(&mut self.state, State::Busy);
        let connection = self.connection();
        if before != State::Clean {
            connection.execute(sqlx::raw_sql(ROLL_BACK)).await.map_err(failed)?;
        }
        Ok(connection)
    }

    fn settle(&mut self) {
        self.state = State::Clean;
    }

    /// A row that says the columns of `query`, a [`single_select`], whatever their names and types.
    async fn described_row(&mut self, query: &str) -> Result<Option<PgRow>, DatabaseError> {
        // As plain text: sqlx asks for no types then that it does not know, with statements that take the
        // place of this one.
        let sql = wrap::described(query);
        let row = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_optional(self.ready().await?).await;
        let row = row.map_err(failed)?;
        self.settle();
        Ok(row)
    }

    /// Whether PostgreSQL itself takes `query` for one SELECT: only one statement can be prepared.
    async fn check(&mut self, query: &str) -> Result<(), DatabaseError> {
        let sql = wrap::checked(query);
        // Not kept as a prepared statement: it would drive out those that are used again.
        let checked = sqlx::query(AssertSqlSafe(sql)).persistent(false).execute(self.ready().await?);
        checked.await.map_err(|error| match code(&error).as_deref() {
            Some("08P01") => refused("the query has parameters ($1, $2): write their values"),
            _ => refused(located(&error, BEFORE_CHECKED, query)),
        })?;
        self.settle();
        Ok(())
    }

    /// The types of a row's columns.
    async fn types(&mut self, row: &PgRow) -> Result<Vec<Type>, DatabaseError> {
        let numbers: Vec<i64> = row
            .columns()
            .iter()
            .map(|column| column.type_info().oid().map_or(0, |oid| i64::from(oid.0)))
            .collect();
        let mut types = self.schema.types();
        types.learn(self.ready().await?, &numbers).await.map_err(failed)?;
        self.settle();
        self.schema.set_types(types.clone());
        let kind = |(column, number): (&sqlx::postgres::PgColumn, &i64)| {
            types.find(*number).map_err(|shown| {
                let name = column.name();
                refused(format!(
                    "column `{name}` has the type `{shown}`, which has no form in JSON: select {name}::text AS {name}"
                ))
            })
        };
        row.columns().iter().zip(&numbers).map(kind).collect()
    }

    /// The columns of `query`, a [`single_select`].
    async fn describe(&mut self, query: &str) -> Result<Described, DatabaseError> {
        if let Some(described) = self.schema.described(query) {
            return Ok(described);
        }
        self.check(query).await?;
        let described = self.describe_any(query, true).await?;
        self.schema.set_described(query, &described);
        Ok(described)
    }

    async fn standing(&mut self) -> Result<Option<Standing>, DatabaseError> {
        if let Some(standing) = &self.standing {
            return Ok(standing.clone());
        }
        let mut standing = None;
        if self.start.is_there {
            let has_identifier = self.has_system_identifier;
            standing = Standing::read(self.ready().await?, has_identifier).await.map_err(failed)?;
            self.settle();
        }
        self.standing = Some(standing.clone());
        Ok(standing)
    }

    async fn describe_any(&mut self, query: &str, is_checked: bool) -> Result<Described, DatabaseError> {
        let row = self.described_row(query).await?.ok_or_else(|| refused("the query gives no columns"))?;
        let columns: Columns = row.columns().iter().map(|column| Arc::from(column.name())).collect();
        if is_checked {
            check_names(&columns, str::eq)?;
        }
        if columns.is_empty() {
            return Err(refused("the query has no columns: select one"));
        }
        let types = self.types(&row).await?;
        Ok(Described { columns, types })
    }

    /// Runs an include for `keys`; one list for each.
    async fn included_chunk(
        &mut self,
        include: &Include<'_>,
        keys: &[&[Value]],
    ) -> Result<Vec<Vec<Row>>, DatabaseError> {
        let sql = wrap::included(include);
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        for (index, kind) in include.key.iter().enumerate() {
            let texts: Vec<Option<String>> =
                keys.iter().map(|key| values::key(&kind.form, &key[index])).collect();
            query = query.bind(texts);
        }
        let on = include.on.join(", ");
        let failed = |error: sqlx::Error| match code(&error) {
            // data_exception: most likely of a key, which the query's own rows have not seen.
            Some(code) if code.starts_with("22") => refused(format!(
                "{}: the parents' keys must be values that the column `{on}` of the include can have",
                message(&error)
            )),
            _ => failed(error),
        };
        let forms = include.described.forms();
        let mut lists = vec![Vec::new(); keys.len()];
        let mut rows = query.fetch(self.ready().await?);
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            let (decoded, _) = values::decode(&row, &include.described.columns, &forms).map_err(failed)?;
            let ordinal: i64 = row.try_get(forms.len()).map_err(failed)?;
            let list = usize::try_from(ordinal - 1).ok().and_then(|ordinal| lists.get_mut(ordinal));
            list.ok_or_else(|| refused("the database numbered the parents wrongly"))?.push(decoded);
        }
        drop(rows);
        self.settle();
        Ok(lists)
    }
}

/// The types of an include's `on`.
fn key_types(on: &[&str], described: &Described) -> Result<Vec<Type>, DatabaseError> {
    let kind = |name: &&str| {
        let place = place(&described.columns, name);
        let kind = &described.types[place.expect("it was checked that there is such a column")];
        match kind.form {
            Form::Array(_) | Form::Json => Err(refused(format!(
                "`on` names `{name}`, which is JSON or an array: parents are found by plain values"
            ))),
            _ => Ok(kind.clone()),
        }
    };
    on.iter().map(kind).collect()
}

/// Rows that a cursor still has to give.
struct Cursor<'a> {
    snapshot: &'a mut PostgresSnapshot,
    columns: Columns,
    forms: Vec<Form>,
    /// How many rows are asked for next; nothing at the end.
    next: Option<usize>,
}

impl Cursor<'_> {
    /// The next batch; empty at the end.
    async fn fetch(&mut self) -> Result<Vec<Row>, DatabaseError> {
        let Some(count) = self.next.take() else { return Ok(Vec::new()) };
        // Plain text, which sqlx sends and reads in one round trip.
        let fetch = format!("FETCH FORWARD {count} FROM edgepress_cursor");
        self.snapshot.state = State::Busy;
        let mut rows = sqlx::raw_sql(AssertSqlSafe(fetch)).fetch(self.snapshot.connection());
        let (mut batch, mut bytes) = (Vec::with_capacity(count), 0);
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            let (row, size) = values::decode(&row, &self.columns, &self.forms).map_err(failed)?;
            bytes += size;
            batch.push(row);
        }
        drop(rows);
        if batch.len() < count {
            let close = sqlx::raw_sql("CLOSE edgepress_cursor");
            self.snapshot.connection().execute(close).await.map_err(failed)?;
            self.snapshot.settle();
        } else {
            self.snapshot.state = State::Left;
            let average = (bytes / count).max(1);
            self.next = Some((BATCH_BYTES / average).clamp(1, BATCH_ROWS));
        }
        Ok(batch)
    }
}

#[async_trait]
impl Snapshot for PostgresSnapshot {
    async fn rows<'a>(&'a mut self, query: &'a str, order: Order<'a>) -> Result<Rows<'a>, DatabaseError> {
        let query = single_select(query)?;
        let order = match order {
            Order::Any => None,
            Order::Columns => Some(None),
            Order::By(order_by) => Some(Some(order_terms(order_by)?)),
        };
        let described = self.describe(query).await?;
        let sql = wrap::rows(query, &described, order);
        let declare = format!("DECLARE edgepress_cursor NO SCROLL CURSOR FOR {sql}");
        // Not as plain text: only one statement can be prepared.
        let declare = sqlx::query(AssertSqlSafe(declare)).persistent(false);
        declare.execute(self.ready().await?).await.map_err(failed)?;
        self.state = State::Left;
        let columns = Arc::clone(&described.columns);
        let forms = described.forms();
        let cursor =
            Cursor { snapshot: self, columns: Arc::clone(&columns), forms, next: Some(FIRST_BATCH_ROWS) };
        let batches = stream::try_unfold(cursor, |mut cursor| async move {
            let batch = cursor.fetch().await?;
            Ok((!batch.is_empty()).then_some((batch, cursor)))
        });
        Ok(Rows { columns, batches: batches.boxed() })
    }

    async fn included(
        &mut self,
        include: IncludeQuery<'_>,
        parents: &[Vec<Value>],
    ) -> Result<Vec<Vec<Row>>, DatabaseError> {
        let query = single_select(include.query)?;
        let order_by = include.order_by.map(order_terms).transpose()?;
        let described = self.describe(query).await?;
        let IncludeQuery { on, limit, .. } = include;
        check_keys(on, &described.columns, parents)?;
        let key = key_types(on, &described)?;
        let include = Include { query, described: &described, on, key: &key, order_by, limit };
        let (keys, wanted) = distinct_keys(parents);
        let mut lists = Vec::with_capacity(keys.len());
        for chunk in keys.chunks(PARENTS) {
            lists.extend(self.included_chunk(&include, chunk).await?.into_iter().map(Some));
        }
        Ok(hand_out(lists, &wanted))
    }

    async fn catalog(&mut self) -> Result<Arc<Catalog>, DatabaseError> {
        if let Some(catalog) = self.schema.catalog() {
            return Ok(catalog);
        }
        let catalog = catalog::read(self.ready().await?).await.map_err(failed)?.catalog;
        self.settle();
        self.schema.set_catalog(&catalog);
        Ok(catalog)
    }

    async fn lacks_index(&mut self, include: IncludeQuery<'_>) -> Result<bool, DatabaseError> {
        let query = single_select(include.query)?;
        let described = self.describe(query).await?;
        check_keys(include.on, &described.columns, &[])?;
        let key = key_types(include.on, &described)?;
        let include =
            Include { query, described: &described, on: include.on, key: &key, order_by: None, limit: None };
        self.ready().await?.execute(sqlx::raw_sql("SET LOCAL enable_seqscan = off")).await.map_err(failed)?;
        let planned = AssertSqlSafe(wrap::planned(&include));
        let plan = sqlx::query_scalar(planned).persistent(false).fetch_all(self.connection()).await;
        // The setting is undone before the next statement.
        self.state = State::Left;
        Ok(wrap::scans(&plan.map_err(failed)?))
    }

    async fn references(&mut self) -> Result<Vec<Reference>, DatabaseError> {
        let references = catalog::references(self.ready().await?).await.map_err(failed)?;
        self.settle();
        Ok(references)
    }

    async fn tables(&mut self, query: &str) -> Result<BTreeSet<Table>, DatabaseError> {
        let query = single_select(query)?;
        // Checked here, so that nothing but one SELECT is explained.
        self.check(query).await?;
        catalog::tables(&self.pool, query).await
    }

    async fn is_captured(&mut self, consumer: &str, reads: &Reads) -> Result<bool, DatabaseError> {
        let is_known = self.known.is_in_place(consumer, &self.start.signature, Some(reads));
        if !is_known || !self.start.is_there {
            return Ok(false);
        }
        let is_registered = capture::is_registered(self.ready().await?, consumer).await.map_err(failed)?;
        self.settle();
        Ok(is_registered)
    }

    async fn changes(&mut self, seen: &Seen) -> Result<Changes, DatabaseError> {
        let standing = self.standing().await?;
        let changes = capture::seen::changes(self.ready().await?, standing, seen).await.map_err(failed)?;
        self.settle();
        Ok(changes)
    }

    async fn seen(&mut self) -> Result<Option<Seen>, DatabaseError> {
        Ok(self.standing().await?.map(|standing| standing.moment.seen()))
    }

    async fn keys(&mut self, query: &str, most: usize) -> Result<Keys, DatabaseError> {
        let query = single_select(query)?;
        let described = self.describe_any(query, false).await?;
        let forms = described.forms();
        let sql = wrap::distinct(query, &described, most);
        let rows = sqlx::query(AssertSqlSafe(sql)).persistent(false).fetch_all(self.ready().await?).await;
        let rows = rows.map_err(failed)?;
        self.settle();
        if rows.len() > most {
            return Ok(Keys::TooMany);
        }
        let mut keys = Vec::with_capacity(rows.len());
        for row in rows {
            keys.push(values::decode(&row, &described.columns, &forms).map_err(failed)?.0.values);
        }
        Ok(Keys::All(keys))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is handed to map_err")]
fn failed(error: sqlx::Error) -> DatabaseError {
    failure(is_refused(&error), message(&error))
}
