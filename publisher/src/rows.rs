//! Reads a collection's rows with their includes: each include is one query for a whole batch of rows,
//! never one for each row.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use edgepress_site::definition::{Collection, Include, PAGE};
use edgepress_site::problem::Problem;
use edgepress_site::render::Shape;
use edgepress_site::row::{Columns, Included, Row, Rows, Value};
use edgepress_site::version::Version;
use edgepress_store::database::capture::Keys;
use edgepress_store::database::{Database, DatabaseError, IncludeQuery, Order, Snapshot};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;

use crate::codec;
use crate::error::PublishError;
use crate::key::{Group, KeyColumns, same_texts, twins};
use crate::progress::Progress;
use crate::scope::Key;
use crate::sort::{Item, Sorter};
use crate::spool::{Records, Spool};

/// Rows that are loaded and rendered together.
pub(crate) const BATCH: usize = 500;

/// More rows than this with a key that another row has, and nothing is published.
const MAX_TWICE: usize = 10_000;

/// A row with everything that belongs to it.
pub(crate) struct Loaded {
    pub(crate) row: Row,
    /// Groups (by number) of whose documents another row makes the same.
    pub(crate) twice: Vec<usize>,
}

/// Reads rows from one snapshot.
pub(crate) struct Reader<'p> {
    pub(crate) snapshot: Box<dyn Snapshot>,
    /// Results of the includes that have no `on`, by collection and path of include names.
    whole: HashMap<String, Arc<Vec<Row>>>,
    progress: &'p Progress,
}

/// The rows of one collection, read but without includes.
pub(crate) struct Spooled {
    columns: Columns,
    records: Records,
    /// Digests of keys that several rows have.
    twice: HashSet<Version>,
}

impl<'p> Reader<'p> {
    pub(crate) fn new(snapshot: Box<dyn Snapshot>, progress: &'p Progress) -> Self {
        Self { snapshot, whole: HashMap::new(), progress }
    }

    /// Reads a collection's own query to its end. One connection can run one query at a time, so the
    /// rows wait in a spool while their includes are read from the same snapshot.
    pub(crate) async fn spool(
        &mut self,
        collection: &Collection,
        keys: &KeyColumns,
    ) -> Result<Spooled, PublishError> {
        let mut spool = Spool::default();
        let Some(query) = &collection.query else {
            spool.push(&[])?;
            return Ok(Spooled { columns: Arc::from([]), records: spool.read()?, twice: HashSet::new() });
        };
        let failed = |source| rows_error(collection, "", source);
        let mut rows = self.snapshot.rows(query, Order::Any).await.map_err(failed)?;
        if let Some((_, message)) = missing(collection, &rows.columns).next() {
            return Err(row_error(collection, "", message));
        }
        let mut record = Vec::new();
        let mut digests = Sorter::new();
        while let Some(batch) = rows.batches.next().await {
            let batch = batch.map_err(failed)?;
            self.progress.read(batch.len() as u64);
            for row in batch {
                let key = keys.of_row(&row);
                for (number, group) in keys.groups.iter().enumerate() {
                    group.digest(number, &key).map(|digest| digests.push(digest)).transpose()?;
                }
                record.clear();
                row.values.iter().for_each(|value| codec::put_value(&mut record, value));
                spool.push(&record)?;
            }
        }
        let twice = repeated(collection, digests)?;
        Ok(Spooled { columns: rows.columns, records: spool.read()?, twice })
    }

    /// The next batch of rows, with everything that belongs to them; empty at the end.
    pub(crate) async fn batch(
        &mut self,
        collection: &Collection,
        keys: &KeyColumns,
        spooled: &mut Spooled,
    ) -> Result<Vec<Loaded>, PublishError> {
        let mut rows = Vec::new();
        for record in spooled.records.by_ref().take(BATCH) {
            let values = codec::values(&record?)?;
            rows.push(Row { columns: spooled.columns.clone(), values, includes: Vec::new() });
        }
        if !rows.is_empty() {
            self.include(collection, &collection.name, &collection.includes, &mut rows).await?;
        }
        let loaded = |row| Loaded { twice: spooled.groups_of_others(keys, &row), row };
        Ok(rows.into_iter().map(loaded).collect())
    }

    /// The rows that show what each of `wanted` shows, with everything that belongs to them: for each of
    /// those none, one, or several where the rows are broken.
    pub(crate) async fn keyed(
        &mut self,
        collection: &Collection,
        keys: &KeyColumns,
        group: &Group,
        wanted: &[Key],
    ) -> Result<Vec<Vec<Row>>, PublishError> {
        let lists = match &collection.query {
            None => vec![vec![Row::empty()]; wanted.len()],
            Some(query) => {
                let on = keys.names(group);
                let query = IncludeQuery { query, on: &on, order_by: None, limit: None };
                let lists = self.showing(query, (keys, group), wanted).await;
                lists.map_err(|source| rows_error(collection, "", source))?
            }
        };
        let lists = self.nested(collection, &collection.name, &collection.includes, lists).await?;
        self.progress.read(lists.iter().map(Vec::len).sum::<usize>() as u64);
        Ok(lists)
    }

    /// The rows of `query` that show the same texts as each of `wanted`.
    async fn showing(
        &mut self,
        query: IncludeQuery<'_>,
        (keys, group): (&KeyColumns, &Group),
        wanted: &[Key],
    ) -> Result<Vec<Vec<Row>>, DatabaseError> {
        let twins: Vec<Vec<Key>> = match self.snapshot.mixes_types() {
            true => wanted.iter().map(|key| twins(key)).collect(),
            false => wanted.iter().map(|key| vec![key.clone()]).collect(),
        };
        let asked: Vec<Key> = twins.iter().flatten().cloned().collect();
        let mut found = self.snapshot.included(query, &asked).await?.into_iter();
        let shown = twins.iter().map(|twins| {
            let mut rows = Vec::new();
            for (key, list) in twins.iter().zip(found.by_ref()) {
                // The database may call more equal than show the same texts, and one row equal to several
                // twins.
                let part = |row: &Row| group.part(&keys.of_row(row));
                let shows = |part: &Key| if twins.len() > 1 { part == key } else { same_texts(part, key) };
                rows.extend(list.into_iter().filter(|row| shows(&part(row))));
            }
            rows
        });
        Ok(shown.collect())
    }

    /// Runs a query that gives keys, at most `most`; nothing if there are more. The error is the database's
    /// own message.
    pub(crate) async fn keys(&mut self, query: &str, most: usize) -> Result<Option<Vec<Key>>, String> {
        match self.snapshot.keys(query, most).await {
            Ok(Keys::All(keys)) => Ok(Some(keys)),
            Ok(Keys::TooMany) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The first rows of a collection, at most `count` of one batch.
    pub(crate) async fn sample(
        &mut self,
        collection: &Collection,
        count: usize,
    ) -> Result<Vec<Row>, PublishError> {
        let mut rows = vec![Row::empty()];
        if let Some(query) = &collection.query {
            let failed = |source| rows_error(collection, "", source);
            let mut found = self.snapshot.rows(query, Order::Any).await.map_err(failed)?;
            rows = found.batches.next().await.transpose().map_err(failed)?.unwrap_or_default();
            rows.truncate(count);
        }
        self.include(collection, &collection.name, &collection.includes, &mut rows).await?;
        Ok(rows)
    }

    /// Loads `includes` for all of `rows`. `place` names the rows around them in messages.
    fn include<'a>(
        &'a mut self,
        collection: &'a Collection,
        place: &'a str,
        includes: &'a [Include],
        rows: &'a mut [Row],
    ) -> BoxFuture<'a, Result<(), PublishError>> {
        Box::pin(async move {
            for include in includes {
                let name: Arc<str> = include.name.as_str().into();
                let place = format!("{place}.{name}");
                if rows.first().is_some_and(|row| row.get(&name).is_some()) {
                    let message = "it has the name of a column of the rows around it: rename one of them";
                    return Err(row_error(collection, &place, message.to_owned()));
                }
                let lists = match include.on.is_empty() {
                    true => self.whole(collection, &place, include, rows.len()).await?,
                    false => self.joined(collection, &place, include, rows).await?,
                };
                for (row, list) in rows.iter_mut().zip(lists) {
                    let rows = match include.one {
                        true => only(include, &list),
                        false => Rows::Many(list),
                    };
                    row.includes.push(Included { name: name.clone(), rows });
                }
            }
            Ok(())
        })
    }

    /// The whole result of an include without `on`, once for each of `count` rows; queried once.
    async fn whole(
        &mut self,
        collection: &Collection,
        place: &str,
        include: &Include,
        count: usize,
    ) -> Result<Vec<Arc<Vec<Row>>>, PublishError> {
        if !self.whole.contains_key(place) {
            let mut rows = self.read_whole(collection, place, include).await?;
            self.include(collection, place, &include.includes, &mut rows).await?;
            self.whole.insert(place.to_owned(), Arc::new(rows));
        }
        Ok(vec![self.whole[place].clone(); count])
    }

    async fn read_whole(
        &mut self,
        collection: &Collection,
        place: &str,
        include: &Include,
    ) -> Result<Vec<Row>, PublishError> {
        let failed = |source| rows_error(collection, place, source);
        let order = include.order_by.as_deref().map_or(Order::Columns, Order::By);
        let mut rows = self.snapshot.rows(&include.query, order).await.map_err(failed)?;
        let limit = include.limit.map_or(usize::MAX, |limit| limit as usize);
        let mut all = Vec::new();
        while let Some(batch) = rows.batches.next().await {
            all.append(&mut batch.map_err(failed)?);
            if all.len() >= limit {
                all.truncate(limit);
                break;
            }
        }
        Ok(all)
    }

    /// The rows of an include for each of `rows`, in one query.
    async fn joined(
        &mut self,
        collection: &Collection,
        place: &str,
        include: &Include,
        rows: &[Row],
    ) -> Result<Vec<Arc<Vec<Row>>>, PublishError> {
        let (on, parents): (Vec<&str>, Vec<&str>) =
            include.on.iter().map(|(own, parent)| (own.as_str(), parent.as_str())).unzip();
        let keys: Result<Vec<_>, _> = rows.iter().map(|row| key(collection, place, row, &parents)).collect();
        let query = IncludeQuery {
            query: &include.query,
            on: &on,
            order_by: include.order_by.as_deref(),
            limit: include.limit,
        };
        let lists = self.snapshot.included(query, &keys?).await;
        let lists = lists.map_err(|source| rows_error(collection, place, source))?;
        let lists = match include.includes.is_empty() {
            true => lists,
            false => self.nested(collection, place, &include.includes, lists).await?,
        };
        Ok(lists.into_iter().map(Arc::new).collect())
    }

    /// Loads the includes of included rows, for all lists at once.
    async fn nested(
        &mut self,
        collection: &Collection,
        place: &str,
        includes: &[Include],
        lists: Vec<Vec<Row>>,
    ) -> Result<Vec<Vec<Row>>, PublishError> {
        let lengths: Vec<usize> = lists.iter().map(Vec::len).collect();
        let mut flat: Vec<Row> = lists.into_iter().flatten().collect();
        if !flat.is_empty() {
            self.include(collection, place, includes, &mut flat).await?;
        }
        let mut flat = flat.into_iter();
        Ok(lengths.into_iter().map(|length| flat.by_ref().take(length).collect()).collect())
    }
}

impl Spooled {
    fn groups_of_others(&self, keys: &KeyColumns, row: &Row) -> Vec<usize> {
        if self.twice.is_empty() {
            return Vec::new();
        }
        let key = keys.of_row(row);
        let is_twice = |(number, group): (usize, &Group)| {
            group.digest(number, &key).is_some_and(|digest| self.twice.contains(&digest)).then_some(number)
        };
        keys.groups.iter().enumerate().filter_map(is_twice).collect()
    }
}

/// Digests that come more than once.
fn repeated(collection: &Collection, digests: Sorter<Version>) -> Result<HashSet<Version>, PublishError> {
    let mut twice = HashSet::new();
    let mut last = None;
    for digest in digests.sorted()? {
        let digest = digest?;
        if last.replace(digest) == Some(digest) {
            twice.insert(digest);
        }
        if twice.len() > MAX_TWICE {
            let message = "thousands of rows have a key that another row has: \
                           put a column that tells the rows apart into the path";
            return Err(row_error(collection, "", message.to_owned()));
        }
    }
    Ok(twice)
}

impl Item for Version {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.0);
    }

    fn get(record: &[u8]) -> Result<Self, PublishError> {
        Ok(Self(edgepress_site::release::codec::Reader::new(record).array()?))
    }
}

/// The row of an include with `one = true`.
fn only(include: &Include, list: &[Row]) -> Rows {
    if list.len() > 1 && include.order_by.is_none() && include.limit != Some(1) {
        let why = "more than one row matches, but `one = true` takes one: \
                   say which with `order_by`, or narrow the query";
        return Rows::Unreadable(why.into());
    }
    Rows::One(list.first().cloned().map(Box::new))
}

fn key(
    collection: &Collection,
    place: &str,
    row: &Row,
    parents: &[&str],
) -> Result<Vec<Value>, PublishError> {
    let value = |column: &&str| {
        row.get(column).cloned().ok_or_else(|| {
            let message = format!("`on` names the column `{column}`, which the rows around it do not have");
            row_error(collection, place, message)
        })
    };
    parents.iter().map(value).collect()
}

/// Mistakes in the queries of a collection, each with its line in `file`: queries that do not run,
/// columns that paths or includes need and nobody gives.
pub(crate) async fn check(
    collection: &Collection,
    database: &dyn Database,
    file: &str,
) -> Result<Shape, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut columns: Columns = Arc::from([]);
    if let Some(query) = &collection.query {
        match database.columns(query).await {
            Ok(found) => columns = found,
            Err(error) => {
                let message = format!("the query of collection `{}` does not run: {error}", collection.name);
                return Err(vec![Problem::error(file, Some(collection.line), message, "")]);
            }
        }
    }
    problems.extend(missing(collection, &columns).map(|(line, message)| {
        let remedy = format!("the columns are: {}; add it to the query", list(&columns));
        Problem::error(file, Some(line), message, remedy)
    }));
    let shape = check_includes(&collection.includes, &columns, database, file, &mut problems).await;
    if problems.is_empty() { Ok(shape) } else { Err(problems) }
}

/// Mistakes in includes, whose rows belong to rows with `columns`.
fn check_includes<'a>(
    includes: &'a [Include],
    columns: &'a Columns,
    database: &'a dyn Database,
    file: &'a str,
    problems: &'a mut Vec<Problem>,
) -> BoxFuture<'a, Shape> {
    Box::pin(async move {
        let columns_of = |columns: &Columns| columns.iter().map(|column| (**column).to_owned()).collect();
        let mut shape = Shape { columns: columns_of(columns), includes: Vec::new() };
        for include in includes {
            let mut problem = |message: String, remedy: String| {
                problems.push(Problem::error(file, Some(include.line), message, remedy));
            };
            if columns.iter().any(|column| **column == *include.name) {
                let message =
                    format!("the include `{}` has the name of a column of the rows around it", include.name);
                problem(message, "rename one of them".to_owned());
            }
            let own = match database.columns(&include.query).await {
                Ok(own) => own,
                Err(error) => {
                    problem(
                        format!("the query of include `{}` does not run: {error}", include.name),
                        String::new(),
                    );
                    continue;
                }
            };
            for (column, parent) in &include.on {
                for (name, of, which) in
                    [(column, &own, "its own query"), (parent, columns, "the rows around it")]
                {
                    if !of.iter().any(|column| **column == **name) {
                        let message = format!("`on` names the column `{name}`, which {which} does not have",);
                        problem(message, format!("the columns are: {}", list(of)));
                    }
                }
            }
            let rows = check_includes(&include.includes, &own, database, file, problems).await;
            shape.includes.push((include.name.clone(), include.one, rows));
        }
        shape
    })
}

fn list(columns: &Columns) -> String {
    if columns.is_empty() { "none".to_owned() } else { columns.join(", ") }
}

/// Columns that the paths of a collection need and its query does not give, each with its line.
fn missing<'a>(collection: &'a Collection, columns: &'a Columns) -> impl Iterator<Item = (u32, String)> + 'a {
    collection.documents.iter().flat_map(move |document| {
        let first = document.pages.as_ref().and_then(|pages| pages.first.as_ref());
        let patterns = std::iter::once(&document.path).chain(first);
        patterns.flat_map(move |pattern| {
            let is_page = |column: &&str| document.pages.is_some() && *column == PAGE;
            let has = |name: &&str| columns.iter().any(|column| **column == **name);
            pattern.columns().filter(move |column| !is_page(column) && !has(column)).map(move |column| {
                let name = &collection.name;
                let message =
                    format!("the path `{pattern}` names the column `{column}`, which collection `{name}` does not have");
                (document.line, message)
            })
        })
    })
}

fn include_text(collection: &Collection, place: &str) -> String {
    match place.strip_prefix(&collection.name).and_then(|rest| rest.strip_prefix('.')) {
        Some(include) => format!(", include `{include}`"),
        None => String::new(),
    }
}

/// The error of a collection of which a query does not run.
pub(crate) fn refused(collection: &str, message: &str) -> PublishError {
    PublishError::Rows {
        collection: collection.to_owned(),
        include: String::new(),
        source: DatabaseError::Query { message: message.to_owned() },
    }
}

fn rows_error(collection: &Collection, place: &str, source: DatabaseError) -> PublishError {
    PublishError::Rows {
        collection: collection.name.clone(),
        include: include_text(collection, place),
        source,
    }
}

fn row_error(collection: &Collection, place: &str, message: String) -> PublishError {
    PublishError::Row {
        collection: collection.name.clone(),
        include: include_text(collection, place),
        message,
    }
}
