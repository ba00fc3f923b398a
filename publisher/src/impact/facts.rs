//! What impact must know of the database, gathered from one snapshot.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use edgepress_site::row::Columns;
use edgepress_store::database::capture::{Catalog, Table};

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
