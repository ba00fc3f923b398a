//! Explains impact: which documents one row touches, and through which queries.
//!
//! Owns the question as its owner asks it, by table and primary key. Refuses to publish anything.

use std::collections::BTreeSet;

use edgepress_site::release::Index;
use edgepress_store::database::Database;
use edgepress_store::database::capture::{Catalog, Facts as TableFacts, Table};

use crate::Publisher;
use crate::error::PublishError;
use crate::impact::{Broken, Impact, Precision, gather, quoted};
use crate::prepare::Prepared;
use crate::progress::Progress;
use crate::render::{Old, Renderers};
use crate::rows::Reader;
use crate::scope::Key;
use crate::touch::{Asking, touched};

/// What a row touches in one collection.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Affected {
    /// The collection.
    pub collection: String,
    /// The queries that read the row's table: `its query`, or the names of includes.
    pub through: Vec<String>,
    /// Why all documents of the collection are made anew, if they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub whole: Option<String>,
    /// The documents, by path; empty where all are.
    pub documents: Vec<String>,
}

/// The row that is asked about does not exist, or cannot be named.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoRow(String);

/// What can keep a row from being explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The row is not there.
    #[error(transparent)]
    Row(#[from] NoRow),
    /// The site, the database or the bucket cannot be read.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

/// The documents that the row of `table` with the primary key `key` touches.
///
/// # Errors
/// There is no such row, or something cannot be read.
pub async fn explain(
    publisher: &Publisher,
    prepared: &Prepared,
    database: &dyn Database,
    table: &str,
    key: &[String],
) -> Result<Vec<Affected>, ExplainError> {
    let site = &prepared.maker.definition().site;
    let mut snapshot = database.snapshot().await.map_err(PublishError::Database)?;
    let facts = gather(&mut *snapshot, site, &Broken::default()).await;
    let facts = facts.map_err(|refused| PublishError::Database(refused.into()))?;
    let catalog = snapshot.catalog().await.map_err(PublishError::Database)?;
    let impact = Impact::new(site, &facts);
    let (table, filter) = row(&catalog, table, key)?;
    let progress = Progress::default();
    let mut reader = Reader::new(snapshot, &progress);
    let exists = format!("SELECT 1 AS edgepress_1 FROM {filter}");
    let found = reader.keys(&exists, 1).await.map_err(NoRow)?;
    if found.is_some_and(|found| found.is_empty()) {
        return Err(NoRow(format!("the table {table} has no row {}", key.join(", "))).into());
    }
    let live = publisher.releases.current().await.map_err(PublishError::from)?;
    let index = match &live {
        Some((current, _)) => publisher.releases.index(current.live()).await.map_err(PublishError::from)?,
        None => Index::default(),
    };
    let asking = Asking {
        whole: &BTreeSet::new(),
        changed: &BTreeSet::from([table.clone()]),
        image: &|_: &Table, columns: &BTreeSet<String>| select(&catalog, columns, &filter),
    };
    let plan = impact.explain();
    let mut all = Vec::new();
    for (number, collection) in site.collections.iter().enumerate() {
        let through = through(&plan, &collection.name, &table);
        if through.is_empty() {
            continue;
        }
        let affected = |whole, documents| Affected {
            collection: collection.name.clone(),
            through: through.clone(),
            whole,
            documents,
        };
        match touched(&impact, prepared, number, &asking, &mut reader).await {
            Err(why) => all.push(affected(Some(why), Vec::new())),
            Ok(keys) if keys.is_empty() => {}
            Ok(keys) => {
                let paths = paths(publisher, prepared, &index, number, keys).await?;
                all.push(affected(None, paths));
            }
        }
    }
    Ok(all)
}

/// The queries of a collection that read a table.
fn through(plan: &[Precision], collection: &str, table: &Table) -> Vec<String> {
    let reading = plan.iter().filter(|place| place.collection == collection && place.table == table.name);
    let name = |include: &str| if include.is_empty() { "its query" } else { include }.to_owned();
    reading.map(|place| name(&place.include)).collect()
}

/// The table that a name means: as a query would find it, in a schema that is named, or the only one of its name.
fn named<'c>(catalog: &'c Catalog, name: &str) -> Option<&'c Table> {
    let qualified = || name.split_once('.').and_then(|(schema, name)| catalog.find(Some(schema), name));
    let only = || {
        let mut all = catalog.tables.keys().filter(|table| table.name == name);
        all.next().filter(|_| all.next().is_none())
    };
    catalog.find(None, name).or_else(qualified).or_else(only)
}

/// A table and what stands after FROM to select one of its rows.
fn row(catalog: &Catalog, name: &str, key: &[String]) -> Result<(Table, String), NoRow> {
    let found = named(catalog, name).and_then(|table| Some((table, catalog.tables.get(table)?)));
    let Some((table, TableFacts { key: columns, .. })) = found else {
        let tables = catalog.tables.keys().filter(|table| !table.name.starts_with("sqlite_"));
        let shown = |table: &Table| match catalog.find(None, &table.name) == Some(table) {
            true => table.name.clone(),
            false => format!("{}.{}", table.schema, table.name),
        };
        let known: Vec<String> = tables.map(shown).collect();
        return Err(NoRow(format!("there is no table `{name}`; the tables are: {}", known.join(", "))));
    };
    if columns.is_empty() {
        return Err(NoRow(format!("the table {table} has no primary key to tell its rows apart by")));
    }
    if columns.len() != key.len() {
        return Err(NoRow(format!(
            "the primary key of {table} is {}: give a value for each",
            columns.join(", ")
        )));
    }
    let literal = |text: &String| format!("'{}'", text.replace('\'', "''"));
    let terms = columns
        .iter()
        .zip(key)
        .map(|(column, text)| format!("{} = {}", quoted(catalog.dialect, column), literal(text)));
    let terms: Vec<String> = terms.collect();
    let [schema, name] = [&table.schema, &table.name].map(|name| quoted(catalog.dialect, name));
    let filter = format!("{schema}.{name} WHERE {}", terms.join(" AND "));
    Ok((table.clone(), filter))
}

fn select(catalog: &Catalog, columns: &BTreeSet<String>, filter: &str) -> String {
    let columns: Vec<String> =
        columns.iter().map(|column| quoted(catalog.dialect, column).to_string()).collect();
    format!("SELECT {} FROM {filter}", columns.join(", "))
}

/// The paths of the documents of some keys; pages as far as the live release has them.
async fn paths(
    publisher: &Publisher,
    prepared: &Prepared,
    index: &Index,
    number: usize,
    keys: Vec<Key>,
) -> Result<Vec<String>, PublishError> {
    let renderers = Renderers::new(prepared, false);
    let collection = &prepared.maker.definition().site.collections[number];
    let tree = index.collections.get(&collection.name).cloned();
    let nodes = publisher.releases.blocking();
    let job = move || {
        let old = Old { tree: tree.as_ref(), nodes: &nodes };
        let mut paths = BTreeSet::new();
        for key in &keys {
            for group in &renderers.keys[number].groups {
                let found = renderers.old_paths(number, group, key, old)?;
                paths.extend(found.into_iter().map(|path| path.to_string()));
            }
        }
        Ok(paths.into_iter().collect())
    };
    tokio::task::spawn_blocking(job).await?
}
