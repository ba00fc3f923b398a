//! What is remembered of a file between snapshots, for as long as its schema stays the same.
//!
//! Owns no truth: everything here can be read again. Refuses to outlive the schema it was read under.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::catalog::Schema;
use crate::database::capture::{Reads, Table};

/// Queries whose tables are remembered; beyond, all are forgotten.
const MOST_QUERIES: usize = 4_096;

/// What is known under one number of the schema.
#[derive(Debug, Default)]
pub(super) struct Known {
    version: i64,
    schema: Option<Arc<Schema>>,
    tables: HashMap<String, BTreeSet<Table>>,
    /// What was found installed for each consumer.
    installed: BTreeMap<String, Reads>,
}

impl Known {
    /// What is known under this number; what was known under another is forgotten.
    pub(super) fn at(&mut self, version: i64) -> &mut Self {
        if self.version != version {
            *self = Self { version, ..Self::default() };
        }
        self
    }

    pub(super) fn schema(&mut self, version: i64) -> Option<Arc<Schema>> {
        self.at(version).schema.clone()
    }

    pub(super) fn set_schema(&mut self, version: i64, schema: &Arc<Schema>) {
        self.at(version).schema = Some(Arc::clone(schema));
    }

    pub(super) fn tables(&mut self, version: i64, query: &str) -> Option<BTreeSet<Table>> {
        self.at(version).tables.get(query).cloned()
    }

    pub(super) fn set_tables(&mut self, version: i64, query: &str, tables: &BTreeSet<Table>) {
        let known = self.at(version);
        if known.tables.len() >= MOST_QUERIES {
            known.tables.clear();
        }
        known.tables.insert(query.to_owned(), tables.clone());
    }

    /// Whether everything that `consumer` needs was found installed; with other reads if given.
    pub(super) fn is_installed(&mut self, version: i64, consumer: &str, reads: Option<&Reads>) -> bool {
        let found = self.at(version).installed.get(consumer);
        found.is_some_and(|found| reads.is_none_or(|reads| reads == found))
    }

    pub(super) fn set_installed(&mut self, version: i64, consumer: &str, reads: &Reads) {
        self.at(version).installed.insert(consumer.to_owned(), reads.clone());
    }

    pub(super) fn forget_installed(&mut self) {
        self.installed.clear();
    }
}
