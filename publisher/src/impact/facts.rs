//! What impact must know of the database, gathered from one snapshot.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use edgepress_site::definition::{Definition, Include};
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
}

/// Gathers the facts about a site's queries.
pub(crate) async fn gather(snapshot: &mut dyn Snapshot, site: &Definition) -> Result<Facts, DatabaseError> {
    let mut facts =
        Facts { catalog: snapshot.catalog().await?, tables: HashMap::new(), columns: HashMap::new() };
    let mut queries: Vec<(&str, Option<&str>)> = Vec::new();
    let mut includes: Vec<&Include> = Vec::new();
    for collection in &site.collections {
        queries.extend(collection.query.as_deref().map(|query| (query, None)));
        includes.extend(&collection.includes);
    }
    while let Some(include) = includes.pop() {
        queries.push((&include.query, include.order_by.as_deref()));
        includes.extend(&include.includes);
    }
    for (query, order_by) in queries {
        let text = super::plan::ordered(query, order_by);
        if let Entry::Vacant(vacant) = facts.tables.entry(text) {
            let tables = snapshot.tables(vacant.key()).await?;
            vacant.insert(tables);
        }
        if let Entry::Vacant(unknown) = facts.columns.entry(query.to_owned()) {
            unknown.insert(snapshot.rows(query, Order::Any).await?.columns);
        }
    }
    Ok(facts)
}
