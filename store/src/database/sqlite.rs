//! SQLite databases.
//!
//! Owns the connections to one file and what is read through them. Refuses to write, but for the schema
//! script of a new database and our own tables where edits are captured; until then the journal mode stays
//! as it is.

mod bulk;
mod capture;
mod catalog;
mod failing;
mod known;
mod open;
#[cfg(test)]
mod tests;
mod values;
mod wrap;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::iter::repeat_n;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use edgepress_site::row::{Columns, Row, Value};
use sqlx::{
    AssertSqlSafe, Column as _, Connection as _, Executor as _, Row as _, SqlSafeStr as _, Statement as _,
    Transaction,
};
use tokio::sync::Mutex;

use self::bulk::Bulk;
use self::open::{Connected, Location, is_refused, message};
use self::wrap::{Include, distinct, included, is_whole, most_parents, ordered, scans};
use super::capture::{Capture, Catalog, Changes, Keys, Reference, Seen, Table};
use super::keys::{check_keys, check_names, distinct_keys, failure, hand_out, refused};
use super::text::{order_terms, single_select};
use super::{Database, DatabaseError, IncludeQuery, Order, Rows, Snapshot};

/// SQLite's own steps between two looks at whether anybody still waits: about a millisecond.
const PROGRESS_STEPS: i32 = 10_000;
/// How often the two connections of a snapshot may miss the same moment, and the pause after that.
const SAME_MOMENT_TRIES: u32 = 200;
/// So many tries hope that nobody commits meanwhile.
const HOPEFUL_TRIES: u32 = 20;
const SAME_MOMENT_PAUSE: Duration = Duration::from_millis(1);
/// BEGIN alone takes no snapshot: the first read does. That it reads a table makes SQLite load a
/// changed schema now, not only after statements were prepared for the old one.
const FIRST_READ: &str =
    "SELECT schema_version FROM pragma_schema_version, (SELECT count(*) FROM sqlite_schema)";

/// A SQLite database.
#[derive(Debug)]
pub struct Sqlite {
    location: Location,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    connected: Arc<Connected>,
    /// How often the file was replaced by another.
    replaced: i64,
}

impl Sqlite {
    /// Opens the file that `url` (`sqlite:FILE`) names. If there is none, or nothing is in it, `schema`,
    /// the text of a script, makes it in one transaction.
    ///
    /// # Errors
    /// When there is no file and no schema, when the schema fails, when it is not a database.
    pub async fn open(url: &str, schema: Option<&str>) -> Result<Self, DatabaseError> {
        let location = Location::parse(url)?;
        if let Some(schema) = schema {
            location.apply_schema(schema).await?;
        }
        let connected = Arc::new(location.connect().await?);
        Ok(Self { location, current: Mutex::new(Current { connected, replaced: 0 }) })
    }

    /// The connections to the file that is there now: a backup moved into its place is read from then on.
    async fn connected(&self) -> Result<(Arc<Connected>, i64), DatabaseError> {
        let mut current = self.current.lock().await;
        if self.location.identity()? != current.connected.identity {
            tracing::warn!(database = %self.location.name, "the database file was replaced by another");
            current.connected = Arc::new(self.location.connect().await?);
            current.replaced += 1;
        }
        Ok((Arc::clone(&current.connected), current.replaced))
    }

    async fn begin(&self) -> Result<SqliteSnapshot, DatabaseError> {
        let (connected, _) = self.connected().await?;
        for number in 0..SAME_MOMENT_TRIES {
            let begun = match number < HOPEFUL_TRIES {
                true => self.try_begin(&connected).await?,
                false => self.try_begin_undisturbed(&connected).await?,
            };
            if let Some(snapshot) = begun {
                return Ok(snapshot);
            }
            tokio::time::sleep(SAME_MOMENT_PAUSE).await;
        }
        Err(refused("the database is written without a pause: no moment of it could be held"))
    }

    /// Begins a snapshot while nobody else can commit, if we may write: where somebody commits all the
    /// time there is no other way. That holds others up for about a millisecond.
    async fn try_begin_undisturbed(
        &self,
        connected: &Arc<Connected>,
    ) -> Result<Option<SqliteSnapshot>, DatabaseError> {
        // Held by whom it may be: it writes for us, and ends soon.
        let Ok(mut writer) = connected.writer.try_lock() else { return self.try_begin(connected).await };
        if writer.is_none() {
            *writer = self.location.connect_writer().await.ok();
        }
        let lock = match writer.as_mut() {
            Some(writer) => writer.begin_with("BEGIN IMMEDIATE").await.ok(),
            None => None,
        };
        let snapshot = self.try_begin(connected).await;
        if let Some(lock) = lock {
            lock.rollback().await.map_err(failed)?;
        }
        snapshot
    }

    /// Begins the two transactions of a snapshot; nothing if somebody may have committed between them.
    async fn try_begin(&self, connected: &Arc<Connected>) -> Result<Option<SqliteSnapshot>, DatabaseError> {
        let mut transaction = connected.pool.begin().await.map_err(failed)?;
        let (idle, uri) = (Arc::clone(&connected.idle), self.location.uri.clone());
        let opened = blocking(move || {
            let bulk = Bulk::new(&idle, &uri)?;
            Ok((bulk.version()?, bulk))
        });
        let (version, bulk) = opened.await?;

        let abandoned = Arc::new(AtomicBool::new(false));
        let goes_on = Arc::clone(&abandoned);
        let mut handle = transaction.lock_handle().await.map_err(failed)?;
        handle.set_progress_handler(PROGRESS_STEPS, move || !goes_on.load(Ordering::Relaxed));
        drop(handle);
        let schema = sqlx::query_scalar(FIRST_READ).fetch_one(&mut *transaction).await;
        let schema = schema.map_err(failed)?;

        let also = Arc::clone(&abandoned);
        let begun = blocking(move || Ok(bulk.begin(version, also)?.then_some(bulk)));
        let Some(bulk) = begun.await? else { return Ok(None) };
        Ok(Some(SqliteSnapshot {
            connected: Arc::clone(connected),
            abandoned,
            transaction,
            bulk: Arc::new(bulk),
            schema,
            described: HashMap::new(),
            whole: HashMap::new(),
        }))
    }
}

/// Runs `work` where it may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DatabaseError> + Send + 'static,
) -> Result<T, DatabaseError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(refused(format!("the program is shutting down: {error}"))),
        },
    }
}

#[async_trait]
impl Database for Sqlite {
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, DatabaseError> {
        Ok(Box::new(self.begin().await?))
    }

    async fn columns(&self, query: &str) -> Result<Columns, DatabaseError> {
        self.begin().await?.describe(single_select(query)?).await
    }

    async fn data_version(&self) -> Result<i64, DatabaseError> {
        let (connected, replaced) = self.connected().await?;
        let mut watch = connected.watch.lock().await;
        let version: i64 =
            sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut *watch).await.map_err(failed)?;
        Ok(replaced << 32 | version & 0xffff_ffff)
    }

    fn capture(&self) -> Option<&dyn Capture> {
        Some(self)
    }
}

/// One moment of a SQLite database, on two connections; rolled back when dropped.
struct SqliteSnapshot {
    connected: Arc<Connected>,
    /// Set when this is dropped: a query that still runs then is interrupted.
    abandoned: Arc<AtomicBool>,
    /// Reads whatever is small.
    transaction: Transaction<'static, sqlx::Sqlite>,
    /// Reads the rows that documents are made of.
    bulk: Arc<Bulk>,
    /// Changes with every DDL statement.
    schema: i64,
    /// Columns of the queries seen so far.
    described: HashMap<String, Columns>,
    /// Whether an include's query is evaluated as a whole unless narrowed, by its statement.
    whole: HashMap<String, bool>,
}

impl Drop for SqliteSnapshot {
    fn drop(&mut self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }
}

impl SqliteSnapshot {
    async fn schema(&mut self) -> Result<Arc<catalog::Schema>, DatabaseError> {
        Sqlite::schema_of(&self.connected, &mut self.transaction).await.map_err(failed)
    }

    /// How our tables stand, if they are there.
    async fn standing(&mut self) -> Result<Option<capture::seen::Standing>, DatabaseError> {
        if !capture::plan::is_there(&*self.schema().await?) {
            return Ok(None);
        }
        capture::seen::Standing::read(&mut self.transaction).await.map(Some).map_err(failed)
    }

    /// Prepared statements are kept by their text, across snapshots; with the schema's number in it, none
    /// outlives the schema it was prepared under.
    fn tagged(&self, sql: &str) -> String {
        format!("/* schema {} */ {sql}", self.schema)
    }

    /// The columns of `query`, a [`single_select`].
    async fn describe(&mut self, query: &str) -> Result<Columns, DatabaseError> {
        if let Some(columns) = self.described.get(query) {
            return Ok(Arc::clone(columns));
        }
        // Only a SELECT can stand in parentheses: WITH … INSERT cannot.
        let wrapped = self.tagged(&format!("SELECT * FROM ({query}\n)"));
        let plain = self.tagged(query);
        self.transaction.prepare(AssertSqlSafe(wrapped).into_sql_str()).await.map_err(failed)?;
        let statement =
            self.transaction.prepare(AssertSqlSafe(plain).into_sql_str()).await.map_err(failed)?;
        if statement.parameters().is_some_and(|parameters| parameters.either(<[_]>::len, |count| count) > 0) {
            return Err(refused("the query has parameters (?, :name, @name, $name): write their values"));
        }
        let columns: Columns = statement.columns().iter().map(|column| Arc::from(column.name())).collect();
        check_names(&columns, str::eq_ignore_ascii_case)?;
        if let Some(column) =
            columns.iter().find(|column| matches!(&*column.to_lowercase(), "true" | "false"))
        {
            let message =
                format!("SQLite cannot refer to a column called {column}: give it another name with AS");
            return Err(refused(message));
        }
        self.described.insert(query.to_owned(), Arc::clone(&columns));
        Ok(columns)
    }

    /// Whether SQLite evaluates the include's whole query although only some keys are wanted.
    async fn is_whole(&mut self, include: &Include<'_>) -> Result<bool, DatabaseError> {
        let one = included(include, 1, false);
        if let Some(whole) = self.whole.get(&one) {
            return Ok(*whole);
        }
        let whole = self.plan(&one).await?.iter().any(|line| is_whole(line));
        self.whole.insert(one, whole);
        Ok(whole)
    }

    /// The lines of a statement's plan.
    async fn plan(&mut self, sql: &str) -> Result<Vec<String>, DatabaseError> {
        let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
        let plan =
            sqlx::query(explain).persistent(false).fetch_all(&mut *self.transaction).await.map_err(failed)?;
        plan.iter().map(|line| line.try_get("detail").map_err(failed)).collect()
    }

    /// Runs an include for `keys`, few enough for one statement; one list for each.
    async fn included_chunk(
        &mut self,
        include: &Include<'_>,
        keys: &[&[Value]],
        narrow: bool,
    ) -> Result<Vec<Vec<Row>>, DatabaseError> {
        // Few sizes, so that prepared statements are used again; NULL keys match nothing.
        let size = keys.len().next_power_of_two().min(most_parents(include, narrow));
        let sql = self.tagged(&included(include, size, narrow));
        let padding = size - keys.len();
        let columns = Arc::clone(include.columns);
        let mut parameters = Vec::with_capacity(size * include.on.len() * 2);
        parameters.extend(keys.iter().copied().flatten().cloned());
        parameters.extend(repeat_n(Value::Null, padding * include.on.len()));
        for column in 0..if narrow { include.on.len() } else { 0 } {
            parameters.extend(keys.iter().map(|key| key[column].clone()));
            parameters.extend(repeat_n(Value::Null, padding));
        }
        let (bulk, count) = (Arc::clone(&self.bulk), keys.len());
        blocking(move || bulk.lists(&sql, &parameters, &columns, count)).await
    }
}

#[async_trait]
impl Snapshot for SqliteSnapshot {
    fn mixes_types(&self) -> bool {
        true
    }

    async fn rows<'a>(&'a mut self, query: &'a str, order: Order<'a>) -> Result<Rows<'a>, DatabaseError> {
        let query = single_select(query)?;
        let columns = self.describe(query).await?;
        let sql = match order {
            Order::Any => self.tagged(query),
            Order::Columns => self.tagged(&ordered(query, &columns, None)),
            Order::By(order_by) => self.tagged(&ordered(query, &columns, Some(order_terms(order_by)?))),
        };
        Ok(Rows { batches: self.bulk.rows(sql, Arc::clone(&columns)), columns })
    }

    async fn included(
        &mut self,
        include: IncludeQuery<'_>,
        parents: &[Vec<Value>],
    ) -> Result<Vec<Vec<Row>>, DatabaseError> {
        let query = single_select(include.query)?;
        let order_by = include.order_by.map(order_terms).transpose()?;
        let columns = self.describe(query).await?;
        let IncludeQuery { on, limit, .. } = include;
        check_keys(on, &columns, parents)?;
        let include = Include { query, columns: &columns, on, order_by, limit };

        let (keys, wanted) = distinct_keys(parents);
        let mut lists = Vec::with_capacity(keys.len());
        let narrow = !keys.is_empty() && self.is_whole(&include).await?;
        for chunk in keys.chunks(most_parents(&include, narrow)) {
            lists.extend(self.included_chunk(&include, chunk, narrow).await?.into_iter().map(Some));
        }
        Ok(hand_out(lists, &wanted))
    }

    async fn lacks_index(&mut self, include: IncludeQuery<'_>) -> Result<bool, DatabaseError> {
        let query = single_select(include.query)?;
        let columns = self.describe(query).await?;
        check_keys(include.on, &columns, &[])?;
        let include = Include { query, columns: &columns, on: include.on, order_by: None, limit: None };
        let plan = self.plan(&included(&include, 1, true)).await?;
        Ok(scans(&plan))
    }

    async fn catalog(&mut self) -> Result<Arc<Catalog>, DatabaseError> {
        Ok(Arc::clone(&self.schema().await?.catalog))
    }

    async fn references(&mut self) -> Result<Vec<Reference>, DatabaseError> {
        let catalog = self.catalog().await?;
        catalog::references(&mut self.transaction, &catalog).await.map_err(failed)
    }

    async fn tables(&mut self, query: &str) -> Result<BTreeSet<Table>, DatabaseError> {
        let query = single_select(query)?;
        if let Some(tables) = self.connected.known().tables(self.schema, query) {
            return Ok(tables);
        }
        let schema = self.schema().await?;
        let tables = schema.tables(&mut self.transaction, query).await.map_err(failed)?;
        self.connected.known().set_tables(self.schema, query, &tables);
        Ok(tables)
    }

    async fn changes(&mut self, seen: &Seen) -> Result<Changes, DatabaseError> {
        let Some(standing) = self.standing().await? else {
            return Ok(Changes {
                seen: Seen(String::new()),
                everything: Some("edits of the database are not captured".to_owned()),
                whole: BTreeSet::new(),
                fresh: BTreeMap::new(),
                tables: <_>::default(),
                oldest: None,
            });
        };
        capture::seen::changes(&mut self.transaction, standing, seen).await.map_err(failed)
    }

    async fn seen(&mut self) -> Result<Option<Seen>, DatabaseError> {
        Ok(self.standing().await?.map(|standing| standing.seen()))
    }

    async fn keys(&mut self, query: &str, most: usize) -> Result<Keys, DatabaseError> {
        let query = single_select(query)?;
        let explain = format!("EXPLAIN SELECT * FROM ({query}\n)");
        let steps = catalog::steps(&mut self.transaction, &explain).await.map_err(failed)?;
        let width = steps.iter().find(|step| step.opcode == "ResultRow").map_or(0, |step| step.p2);
        let width = usize::try_from(width).unwrap_or_default();
        let columns: Columns = (1..=width).map(|number| format!("edgepress_k{number}").into()).collect();
        // Their texts differ every time: kept, they would drive out those that are used again.
        let (bulk, sql) = (Arc::clone(&self.bulk), distinct(query, &columns, most));
        let keys = blocking(move || bulk.once(&sql, &columns)).await?;
        Ok(if keys.len() > most { Keys::TooMany } else { Keys::All(keys) })
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is handed to map_err")]
fn failed(error: sqlx::Error) -> DatabaseError {
    failure(is_refused(&error), message(&error))
}
