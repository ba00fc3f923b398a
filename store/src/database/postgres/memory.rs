//! What is known of a schema, kept for as long as it surely is the same.
//!
//! Owns the sign that tells: it differs whenever anything was altered that the catalogue, or the columns of a
//! query, are made of. Every entry of the system catalogs bears the number of the transaction that wrote it,
//! and those numbers are never used again while a server runs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::types::Types;
use super::wrap::Described;
use crate::database::capture::Catalog;

/// The sign, as an SQL expression. Rights that are granted to roles are looked at themselves, since what tells
/// of them may not be read by everybody. Objects of PostgreSQL's own have lower numbers than 16384.
pub(super) const SIGN: &str = "\
    (WITH names AS MATERIALIZED (SELECT oid, xmin, nspname FROM pg_catalog.pg_namespace \
        WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND nspname !~ '^pg_(toast_)?temp_'), \
    relations AS MATERIALIZED (SELECT c.oid, c.xmin, c.relname, c.relowner, c.relfilenode FROM pg_catalog.pg_class c \
        WHERE c.relnamespace IN (SELECT oid FROM names WHERE nspname <> 'edgepress_capture') \
        AND c.relkind IN ('r', 'p', 'f', 'm', 'v') AND c.relpersistence <> 't'), \
    parts(part) AS (\
        SELECT format('%s %s', pg_catalog.pg_postmaster_start_time(), current_schemas(false)) \
        UNION ALL SELECT format('n%s.%s.%s', oid, xmin, nspname) FROM names \
        UNION ALL SELECT format('c%s.%s.%s.%s.%s.%s.%s', oid, xmin, relname, relfilenode, \
            pg_catalog.has_table_privilege(oid, 'TRIGGER'), pg_catalog.pg_has_role(relowner, 'USAGE'), \
            pg_catalog.row_security_active(oid)) FROM relations \
        UNION ALL SELECT a.part FROM relations r, LATERAL (\
            SELECT format('a%s.%s.%s.%s.%s', attrelid, attnum, xmin, attname, atttypid) AS part \
            FROM pg_catalog.pg_attribute WHERE attrelid = r.oid AND attnum > 0 OFFSET 0) a \
        UNION ALL SELECT format('i%s.%s', indexrelid, xmin) FROM pg_catalog.pg_index \
            WHERE indrelid IN (SELECT oid FROM relations) \
        UNION ALL SELECT format('h%s.%s.%s', inhrelid, inhparent, xmin) FROM pg_catalog.pg_inherits \
        UNION ALL SELECT format('g%s.%s', t.oid, t.xmin) FROM pg_catalog.pg_trigger t \
            JOIN pg_catalog.pg_proc f ON f.oid = t.tgfoid JOIN names n ON n.oid = f.pronamespace \
            WHERE n.nspname = 'edgepress_capture' \
        UNION ALL SELECT format('p%s.%s', oid, xmin) FROM pg_catalog.pg_proc WHERE oid >= 16384 \
        UNION ALL SELECT format('l%s.%s', oid, xmin) FROM pg_catalog.pg_language \
        UNION ALL SELECT format('v%s.%s', oid, xmin) FROM pg_catalog.pg_rewrite WHERE oid >= 16384 \
        UNION ALL SELECT format('t%s.%s', oid, xmin) FROM pg_catalog.pg_type WHERE oid >= 16384 \
        UNION ALL SELECT format('e%s.%s', oid, xmin) FROM pg_catalog.pg_enum \
        UNION ALL SELECT format('k%s.%s', oid, xmin) FROM pg_catalog.pg_collation WHERE oid >= 16384 \
        UNION ALL SELECT format('o%s.%s', oid, xmin) FROM pg_catalog.pg_operator WHERE oid >= 16384 \
        UNION ALL SELECT format('q%s.%s', oid, xmin) FROM pg_catalog.pg_cast WHERE oid >= 16384 \
        UNION ALL SELECT format('s%s.%s.%s', srsubid, srrelid, xmin) FROM pg_catalog.pg_subscription_rel) \
    SELECT md5(string_agg(part, ',' ORDER BY part COLLATE \"C\")) FROM parts)";

/// What was learnt under one sign.
#[derive(Debug, Default)]
pub(super) struct Known {
    sign: String,
    learnt: Mutex<Learnt>,
}

#[derive(Debug, Default)]
struct Learnt {
    catalog: Option<Arc<Catalog>>,
    /// The site's own queries.
    described: HashMap<String, Described>,
    types: Types,
}

fn lock<T>(memory: &Mutex<T>) -> MutexGuard<'_, T> {
    // It is only a memory, and every write of it is one step.
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Known {
    pub(super) fn catalog(&self) -> Option<Arc<Catalog>> {
        lock(&self.learnt).catalog.clone()
    }

    pub(super) fn set_catalog(&self, catalog: &Arc<Catalog>) {
        lock(&self.learnt).catalog = Some(Arc::clone(catalog));
    }

    pub(super) fn described(&self, query: &str) -> Option<Described> {
        lock(&self.learnt).described.get(query).cloned()
    }

    pub(super) fn set_described(&self, query: &str, described: &Described) {
        lock(&self.learnt).described.insert(query.to_owned(), described.clone());
    }

    pub(super) fn types(&self) -> Types {
        lock(&self.learnt).types.clone()
    }

    pub(super) fn set_types(&self, types: Types) {
        lock(&self.learnt).types = types;
    }
}

/// What is known of the schema seen last.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Arc<Known>>);

impl Memory {
    /// What is known under this sign; nothing yet, if it is a new one.
    pub(super) fn under(&self, sign: &str) -> Arc<Known> {
        let mut last = lock(&self.0);
        if last.sign != sign {
            *last = Arc::new(Known { sign: sign.to_owned(), learnt: Mutex::default() });
        }
        Arc::clone(&last)
    }
}
