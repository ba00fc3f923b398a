//! What impact must know of the database, gathered from one snapshot.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use edgepress_site::definition::{Collection, Definition, Include};
use edgepress_site::row::Columns;
use edgepress_store::database::capture::{Catalog, Table};
use edgepress_store::database::{DatabaseError, Order, Snapshot};

/// What is known of the database and of the site's queries.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Its tables and views.
    pub catalog: Arc<Catalog>,
    /// The tables that each query reads, by its text (with its `order_by` around it), as the database says.
    pub tables: HashMap<String, BTreeSet<Table>>,
    /// The columns of each query, by its own text.
    pub columns: HashMap<String, Columns>,
    /// Collections of which a query does not run, and the database's message: nothing is known of them.
    pub broken: Broken,
}

/// Collections of which a query does not run, each with the database's message.
pub(crate) type Broken = BTreeMap<String, String>;

/// A query that does not run.
#[derive(Debug)]
pub(crate) struct Refused {
    /// Its collection.
    pub(crate) collection: String,
    pub(crate) source: DatabaseError,
}

impl From<Refused> for DatabaseError {
    fn from(refused: Refused) -> Self {
        refused.source
    }
}

/// Gathers the facts about a site's queries, those of `broken` collections left out.
///
/// # Errors
/// A query does not run: nothing more may be asked of the snapshot.
pub(crate) async fn gather(
    snapshot: &mut dyn Snapshot,
    site: &Definition,
    broken: &Broken,
) -> Result<Facts, Refused> {
    let refused = |collection: &str| {
        let collection = collection.to_owned();
        |source| Refused { collection, source }
    };
    let mut facts = Facts {
        catalog: snapshot.catalog().await.map_err(refused(""))?,
        tables: HashMap::new(),
        columns: HashMap::new(),
        broken: broken.clone(),
    };
    for collection in site.collections.iter().filter(|collection| !broken.contains_key(&collection.name)) {
        for (query, order_by) in queries(collection) {
            let text = super::plan::ordered(query, order_by);
            if let Entry::Vacant(vacant) = facts.tables.entry(text) {
                let tables = snapshot.tables(vacant.key()).await.map_err(refused(&collection.name))?;
                vacant.insert(tables);
            }
            if let Entry::Vacant(unknown) = facts.columns.entry(query.to_owned()) {
                let rows = snapshot.rows(query, Order::Any).await.map_err(refused(&collection.name))?;
                unknown.insert(rows.columns);
            }
        }
    }
    Ok(facts)
}

/// The queries of a collection, each with its `order_by`.
fn queries(collection: &Collection) -> Vec<(&str, Option<&str>)> {
    let mut queries: Vec<_> = collection.query.iter().map(|query| (query.as_str(), None)).collect();
    let mut includes: Vec<&Include> = collection.includes.iter().collect();
    while let Some(include) = includes.pop() {
        queries.push((&include.query, include.order_by.as_deref()));
        includes.extend(&include.includes);
    }
    queries
}
