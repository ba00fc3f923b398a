//! MariaDB and MySQL databases.
//!
//! Owns the connections to one database of a server and what is read through them. Refuses to write, but
//! for our own tables and triggers where edits are captured.

mod capture;
mod catalog;
mod include;
mod open;
#[cfg(test)]
mod tests;
mod text;
mod types;
mod version;
mod wrap;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use edgepress_site::row::{Columns, Row, Value};
use futures_util::stream::{self, BoxStream, StreamExt as _};
use sqlx::mysql::MySqlRow;
use sqlx::{
    AssertSqlSafe, Column as _, Executor as _, Row as _, SqlSafeStr as _, Statement as _, Transaction,
    TypeInfo as _,
};

use self::include::Joined;
use self::open::{Opened, is_refused, located, message};
use self::text::{order_terms, single_select};
use self::types::{Described, Kind, Sent};
use self::version::Versions;
use super::capture::{Capture, Catalog, Changes, Keys, Reads, Reference, Seen, Table};
use super::keys::{check_keys, check_names, distinct_keys, failure, hand_out, refused};
use super::{Database, DatabaseError, IncludeQuery, Order, Rows, Snapshot};

/// Rows in a batch at most,
const BATCH_ROWS: usize = 500;
/// and about how much memory they take.
const BATCH_BYTES: usize = 4 << 20;
/// Parents asked for in one statement.
const MOST_PARENTS: usize = 10_000;
/// Takes its snapshot now, not at the first read.
const BEGIN: &str = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";

/// A database of a MariaDB or MySQL server.
#[derive(Debug)]
pub struct Mysql {
    opened: Arc<Opened>,
    versions: Versions,
    found: capture::Found,
}

impl Mysql {
    /// Opens the database that `url` (`mysql://user:password@host/database`, `mariadb:` too) names.
    ///
    /// # Errors
    /// When the URL names no database, when the server cannot be reached or refuses the user.
    pub async fn open(url: &str) -> Result<Self, DatabaseError> {
        let opened = Arc::new(open::open(url).await?);
        Ok(Self { opened, versions: Versions::default(), found: capture::Found::default() })
    }

    async fn begin(&self) -> Result<MysqlSnapshot, DatabaseError> {
        let transaction = self.opened.pool.begin_with(BEGIN).await.map_err(failed)?;
        Ok(MysqlSnapshot {
            opened: Arc::clone(&self.opened),
            transaction,
            found: self.found.clone(),
            described: HashMap::new(),
            catalog: None,
            standing: None,
        })
    }
}

#[async_trait]
impl Database for Mysql {
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, DatabaseError> {
        Ok(Box::new(self.begin().await?))
    }

    async fn columns(&self, query: &str) -> Result<Columns, DatabaseError> {
        Ok(self.begin().await?.describe(&single_select(query)?).await?.columns)
    }

    async fn data_version(&self) -> Result<i64, DatabaseError> {
        self.versions.now(&self.opened.pool).await.map_err(failed)
    }

    fn capture(&self) -> Option<&dyn Capture> {
        Some(self)
    }
}

/// One moment of a database; rolled back when dropped. What a reader leaves unread of a query is read to
/// its end, and thrown away, before the next one: the protocol knows no other way.
struct MysqlSnapshot {
    opened: Arc<Opened>,
    transaction: Transaction<'static, sqlx::MySql>,
    found: capture::Found,
    /// The queries seen so far.
    described: HashMap<String, Described>,
    catalog: Option<Arc<catalog::Schema>>,
    /// How our tables stand; nothing within where capture is not installed.
    standing: Option<Option<capture::Standing>>,
}

impl MysqlSnapshot {
    /// The columns of `query`, a [`single_select`].
    async fn describe(&mut self, query: &str) -> Result<Described, DatabaseError> {
        if let Some(described) = self.described.get(query) {
            return Ok(described.clone());
        }
        let described = self.describe_any(query, true).await?;
        self.described.insert(query.to_owned(), described.clone());
        Ok(described)
    }

    /// The columns of `query`; `is_site` if it is the site's own, whose names are checked, and of which it is
    /// looked where they come from. It is not prepared: what is known of a prepared statement's columns outlives
    /// the schema.
    async fn describe_any(&mut self, query: &str, is_site: bool) -> Result<Described, DatabaseError> {
        if text::has_parameters(query) {
            return Err(refused("the query has parameters (?): write their values"));
        }
        let connection = &mut *self.transaction;
        let nothing = sqlx::raw_sql(AssertSqlSafe(wrap::nothing(query))).fetch_one(&mut *connection).await;
        let refused = |error: sqlx::Error| {
            duplicate_name(&error).unwrap_or_else(|| failure(is_refused(&error), located(&error)))
        };
        let nothing = nothing.map_err(refused)?;
        let names = || nothing.columns().iter().map(|column| column.name());
        let columns: Columns = names().map(Arc::from).collect();
        if is_site {
            check_names(&columns, str::eq_ignore_ascii_case)?;
        }
        let collations = AssertSqlSafe(wrap::collations(query, names()));
        let collations = sqlx::raw_sql(collations).fetch_one(&mut *connection).await.map_err(failed)?;
        let collations = pairs(&collations, columns.len()).map_err(failed)?;
        let mut kinds = Vec::with_capacity(columns.len());
        for (column, (charset, _)) in nothing.columns().iter().zip(&collations) {
            kinds.push(Kind::of(column.name(), column.type_info().name(), charset)?);
        }
        if is_site && kinds.iter().any(|kind| kind.is_unsure()) {
            // Only this tells where a column comes from. The digest makes it another statement whenever the
            // schema is another one.
            let digest = self.schema().await?.digest();
            let sql = AssertSqlSafe(format!("/* {digest} */ {query}")).into_sql_str();
            let connection = &mut *self.transaction;
            let statement = connection.prepare(sql).await.map_err(failed)?;
            catalog::refine(connection, statement.columns(), &mut kinds).await.map_err(failed)?;
        }
        Ok(Described { columns, kinds: kinds.into(), collations: collations.into() })
    }

    /// What `query` is once its columns have names that differ, and those columns.
    async fn describe_keys(&mut self, query: String) -> Result<(String, Described), DatabaseError> {
        if let Ok(described) = self.describe_any(&query, false).await {
            return Ok((query, described));
        }
        // Two of them may be called the same: then only preparing it tells how many there are.
        let sql = AssertSqlSafe(query.as_str()).into_sql_str();
        let width = self.transaction.prepare(sql).await.map_err(failed)?.columns().len();
        let query = wrap::numbered(&query, width);
        let described = self.describe_any(&query, false).await?;
        Ok((query, described))
    }

    async fn schema(&mut self) -> Result<Arc<catalog::Schema>, DatabaseError> {
        if let Some(schema) = &self.catalog {
            return Ok(Arc::clone(schema));
        }
        let schema =
            catalog::Schema::read(&mut self.transaction, &self.opened.schema).await.map_err(failed)?;
        let schema = Arc::new(schema);
        self.catalog = Some(Arc::clone(&schema));
        Ok(schema)
    }

    async fn standing(&mut self) -> Result<Option<capture::Standing>, DatabaseError> {
        if let Some(standing) = &self.standing {
            return Ok(standing.clone());
        }
        let schema = self.schema().await?;
        let standing = capture::Standing::read(&mut self.transaction, Some(&schema)).await.map_err(failed)?;
        self.standing = Some(standing.clone());
        Ok(standing)
    }

    /// Runs an include for keys that are few enough; one list for each.
    async fn included_chunk(
        &mut self,
        include: &IncludeQuery<'_>,
        described: &Described,
        keys: &[&[Value]],
    ) -> Result<Vec<Vec<Row>>, DatabaseError> {
        let joined = Joined::new(described, include.on, keys);
        let sql = wrap::included(include.query, described, &joined, include.order_by, include.limit);
        let mut lists = vec![Vec::new(); keys.len()];
        let mut rows = sqlx::query(AssertSqlSafe(sql)).bind(joined.keys).fetch(&mut *self.transaction);
        while let Some(row) = rows.next().await {
            let row = row.map_err(failed)?;
            let place = Kind::Int.value(&row, described.kinds.len(), Sent::Binary)?;
            let Value::Int(ordinal) = place else { continue };
            let list = usize::try_from(ordinal - 1).ok().and_then(|place| lists.get_mut(place));
            list.ok_or_else(|| refused("the server gave a row to no parent"))?
                .push(described.row(&row, Sent::Binary)?.0);
        }
        Ok(lists)
    }
}

/// What the server says of two columns of one name, with the remedy.
fn duplicate_name(error: &sqlx::Error) -> Option<DatabaseError> {
    let said = error.as_database_error()?.message();
    let name = said.strip_prefix("Duplicate column name '")?.strip_suffix('\'')?;
    Some(refused(format!("the query has two columns called `{name}`: give one an alias with AS")))
}

fn pairs(row: &MySqlRow, count: usize) -> Result<Vec<(String, String)>, sqlx::Error> {
    let text = |place: usize| row.try_get::<Option<String>, _>(place).map(Option::unwrap_or_default);
    (0..count).map(|place| Ok((text(2 * place)?, text(2 * place + 1)?))).collect()
}

/// A query's rows that come one after the other, in batches.
fn batches<'a>(
    rows: BoxStream<'a, Result<MySqlRow, sqlx::Error>>,
    described: Described,
) -> BoxStream<'a, Result<Vec<Row>, DatabaseError>> {
    let batches = stream::try_unfold(Some(rows), move |rows| {
        let described = described.clone();
        async move {
            let Some(mut rows) = rows else { return Ok(None) };
            let (mut batch, mut bytes) = (Vec::new(), 0);
            while batch.len() < BATCH_ROWS && bytes < BATCH_BYTES {
                let Some(row) = rows.next().await else {
                    return Ok((!batch.is_empty()).then_some((batch, None)));
                };
                let (row, size) = described.row(&row.map_err(failed)?, Sent::Binary)?;
                batch.push(row);
                bytes += size;
            }
            Ok(Some((batch, Some(rows))))
        }
    });
    batches.boxed()
}

#[async_trait]
impl Snapshot for MysqlSnapshot {
    async fn rows<'a>(&'a mut self, query: &'a str, order: Order<'a>) -> Result<Rows<'a>, DatabaseError> {
        let query = single_select(query)?;
        let described = self.describe(&query).await?;
        let terms = if let Order::By(order_by) = order { order_terms(order_by)? } else { String::new() };
        let order = if let Order::By(_) = order { Order::By(&terms) } else { order };
        let sql = AssertSqlSafe(wrap::rows(&query, &described, order));
        let columns = Arc::clone(&described.columns);
        let rows = sqlx::query(sql).fetch(&mut *self.transaction);
        Ok(Rows { columns, batches: batches(rows, described) })
    }

    async fn included(
        &mut self,
        include: IncludeQuery<'_>,
        parents: &[Vec<Value>],
    ) -> Result<Vec<Vec<Row>>, DatabaseError> {
        let query = single_select(include.query)?;
        let order_by = include.order_by.map(order_terms).transpose()?;
        let described = self.describe(&query).await?;
        check_keys(include.on, &described.columns, parents)?;
        let include = IncludeQuery { query: &query, order_by: order_by.as_deref(), ..include };
        let (keys, wanted) = distinct_keys(parents);
        let mut lists = Vec::with_capacity(keys.len());
        for chunk in keys.chunks(MOST_PARENTS) {
            lists.extend(self.included_chunk(&include, &described, chunk).await?.into_iter().map(Some));
        }
        Ok(hand_out(lists, &wanted))
    }

    async fn catalog(&mut self) -> Result<Arc<Catalog>, DatabaseError> {
        Ok(Arc::clone(&self.schema().await?.catalog))
    }

    async fn lacks_index(&mut self, include: IncludeQuery<'_>) -> Result<bool, DatabaseError> {
        let query = single_select(include.query)?;
        let described = self.describe(&query).await?;
        check_keys(include.on, &described.columns, &[])?;
        let key: Vec<Value> = include.on.iter().map(|_| Value::Int(0)).collect();
        let joined = Joined::new(&described, include.on, &[&key]);
        let sql = format!("EXPLAIN {}", wrap::included(&query, &described, &joined, None, None));
        let plan = sqlx::query(AssertSqlSafe(sql)).bind(joined.keys).fetch_all(&mut *self.transaction).await;
        let mut tables = Vec::new();
        for line in plan.map_err(failed)? {
            let column = |name: &str| line.try_get::<Option<String>, _>(name).map_err(failed);
            let table = column("table")?.unwrap_or_default();
            if !table.starts_with("edgepress_") && !table.starts_with('<') && !table.is_empty() {
                // A small table is gone through although it has an index.
                let has_index = column("possible_keys")?.is_some();
                tables.push((column("type")?.unwrap_or_default(), has_index));
            }
        }
        // Of several tables, small ones may rightly be gone through.
        Ok(matches!(&*tables, [(kind, false)] if matches!(&**kind, "ALL" | "index")))
    }

    async fn references(&mut self) -> Result<Vec<Reference>, DatabaseError> {
        let schema = self.schema().await?;
        schema.references(&mut self.transaction).await.map_err(failed)
    }

    async fn tables(&mut self, query: &str) -> Result<BTreeSet<Table>, DatabaseError> {
        let query = single_select(query)?;
        self.describe(&query).await?;
        Ok(self.schema().await?.tables(&query))
    }

    /// What is read of the information schema is later than this moment: a table that was captured anew in
    /// between has another mark.
    async fn is_captured(&mut self, consumer: &str, reads: &Reads) -> Result<bool, DatabaseError> {
        let (schema, standing) = (self.schema().await?, self.standing().await?);
        let of = (consumer, reads);
        let is_in_place = capture::is_in_place(&mut self.transaction, &schema, standing.as_ref(), of);
        let is_in_place = is_in_place.await.map_err(failed)?;
        if is_in_place {
            self.found.found(consumer, &schema);
        }
        Ok(is_in_place)
    }

    async fn changes(&mut self, seen: &Seen) -> Result<Changes, DatabaseError> {
        let (schema, standing) = (self.schema().await?, self.standing().await?);
        capture::changes(&mut self.transaction, &schema, standing, seen).await.map_err(failed)
    }

    async fn seen(&mut self) -> Result<Option<Seen>, DatabaseError> {
        Ok(self.standing().await?.map(|standing| standing.moment.seen()))
    }

    async fn keys(&mut self, query: &str, most: usize) -> Result<Keys, DatabaseError> {
        let (query, described) = self.describe_keys(single_select(query)?).await?;
        let sql = AssertSqlSafe(wrap::distinct(&query, &described, most));
        // Its text differs every time: prepared, it would have to be closed, and the server's late
        // acknowledgement of that holds up the next statement by 40 ms.
        let is_inexact = described.kinds.iter().any(|kind| kind.is_inexact_as_text());
        let (rows, sent) = match is_inexact {
            true => {
                (sqlx::query(sql).persistent(false).fetch_all(&mut *self.transaction).await, Sent::Binary)
            }
            false => (sqlx::raw_sql(sql).fetch_all(&mut *self.transaction).await, Sent::Text),
        };
        let rows = rows.map_err(failed)?;
        if rows.len() > most {
            return Ok(Keys::TooMany);
        }
        let keys = rows.iter().map(|row| Ok(described.row(row, sent)?.0.values));
        Ok(Keys::All(keys.collect::<Result<_, DatabaseError>>()?))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is handed to map_err")]
fn failed(error: sqlx::Error) -> DatabaseError {
    failure(is_refused(&error), message(&error))
}
