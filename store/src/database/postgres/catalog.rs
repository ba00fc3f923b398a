//! The tables and views of a PostgreSQL database, and which of them a query reads.
//!
//! Owns what the system catalogs say. Refuses to look into functions: the tables that one reads are known
//! only where the planner puts its body in the place of its call.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use edgepress_site::version::Version;
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{AssertSqlSafe, Executor as _};

use super::capture::names::SCHEMA;
use super::open::message;
use super::types::Types;
use crate::database::DatabaseError;
use crate::database::capture::{Catalog, Column, Dialect, Facts, Reference, Table, View};
use crate::database::keys::{PREFIX, refused};
use crate::database::text::quoted;

/// PostgreSQL's limit is 1,600, and the table of images has a few of its own.
const MOST_COLUMNS: usize = 1_590;

/// A row of `pg_class`: a table of any kind, or a view.
#[derive(Debug, Clone)]
struct Relation {
    number: i64,
    schema: String,
    name: String,
    kind: String,
    persistence: String,
    /// Where its rows lie; another one after TRUNCATE and whatever else rewrites it.
    file: i64,
    bound: Option<String>,
    /// Or somebody else gave it our triggers.
    can_trigger: bool,
    is_owned: bool,
    /// Rows come from another server by logical replication.
    is_subscribed: bool,
    /// Row-level security hides rows from this role.
    hides_rows: bool,
    /// The SELECT of a view.
    view: Option<String>,
}

from_row!(Relation: number, schema, name, kind, persistence, file, bound, can_trigger, is_owned, is_subscribed, hides_rows, view);

const RELATIONS: &str = "\
    SELECT c.oid::bigint AS number, n.nspname::text AS schema, c.relname::text AS name, \
        c.relkind::text AS kind, c.relpersistence::text AS persistence, c.relfilenode::bigint AS file, \
        pg_catalog.pg_get_expr(c.relpartbound, c.oid) AS bound, \
        pg_catalog.has_table_privilege(c.oid, 'TRIGGER') OR EXISTS (\
            SELECT 1 FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc f ON f.oid = t.tgfoid \
            WHERE t.tgrelid = c.oid AND f.pronamespace = n.ours) AS can_trigger, \
        pg_catalog.pg_has_role(c.relowner, 'USAGE') AS is_owned, \
        EXISTS (SELECT 1 FROM pg_catalog.pg_subscription_rel s WHERE s.srrelid = c.oid) AS is_subscribed, \
        pg_catalog.row_security_active(c.oid) AS hides_rows, \
        CASE WHEN c.relkind = 'v' THEN pg_catalog.pg_get_viewdef(c.oid) END AS view \
    FROM pg_catalog.pg_class c JOIN (SELECT oid, nspname, pg_catalog.to_regnamespace($1) AS ours \
        FROM pg_catalog.pg_namespace) n ON n.oid = c.relnamespace \
    WHERE c.relkind IN ('r', 'p', 'f', 'm', 'v') AND c.relpersistence <> 't' \
        AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', $1)";

/// A row of `pg_attribute`.
#[derive(Debug, Clone)]
struct Attribute {
    relation: i64,
    number: i16,
    name: String,
    kind: i64,
    modifier: i32,
    generated: String,
    /// Nothing where the type has none.
    collation: Option<String>,
    is_deterministic: bool,
    /// The transaction that wrote this row: it may have given the name of another column back.
    written: String,
}

from_row!(Attribute: relation, number, name, kind, modifier, generated, collation, is_deterministic, written);

const ATTRIBUTES: &str = "\
    SELECT a.attrelid::bigint AS relation, a.attnum AS number, a.attname::text AS name, a.atttypid::bigint AS kind, \
        a.atttypmod AS modifier, a.attgenerated::text AS generated, \
        CASE WHEN l.oid IS NOT NULL THEN pg_catalog.format('%I.%I', m.nspname, l.collname) END AS collation, \
        coalesce(l.collisdeterministic, true) AS is_deterministic, a.xmin::text AS written \
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation \
    LEFT JOIN pg_catalog.pg_namespace m ON m.oid = l.collnamespace \
    WHERE c.relkind IN ('r', 'p', 'f', 'm', 'v') AND c.relpersistence <> 't' AND a.attnum > 0 \
        AND NOT a.attisdropped AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', $1) \
    ORDER BY a.attrelid, a.attnum";

const KEYS: &str = "\
    SELECT i.indrelid::bigint, a.attname::text FROM pg_catalog.pg_index i \
    CROSS JOIN LATERAL unnest(i.indkey::smallint[]) WITH ORDINALITY AS k(number, place) \
    JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number \
    WHERE i.indisprimary AND k.place <= i.indnkeyatts ORDER BY i.indrelid, k.place";

/// Unique indexes over columns alone, without a condition.
const UNIQUE: &str = "\
    SELECT i.indrelid::bigint, array_agg(a.attname::text ORDER BY k.place) FROM pg_catalog.pg_index i \
    CROSS JOIN LATERAL unnest(i.indkey::smallint[]) WITH ORDINALITY AS k(number, place) \
    LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number \
    WHERE i.indisunique AND NOT i.indisprimary AND i.indpred IS NULL AND k.place <= i.indnkeyatts \
    GROUP BY i.indexrelid, i.indrelid HAVING bool_and(k.number > 0) ORDER BY i.indexrelid";

/// Functions that are not PostgreSQL's own; those written in C, an extension's mostly, read no tables.
const ROUTINES: &str = "\
    SELECT DISTINCT p.proname::text FROM pg_catalog.pg_proc p \
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
    JOIN pg_catalog.pg_language l ON l.oid = p.prolang \
    WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', $1) AND l.lanname NOT IN ('c', 'internal') \
        AND p.prorettype <> 'pg_catalog.trigger'::regtype";

const REFERENCES: &str = "\
    SELECT n.nspname::text, c.relname::text, m.nspname::text, p.relname::text, \
        (SELECT array_agg(a.attname::text ORDER BY k.place) FROM unnest(f.conkey) WITH ORDINALITY AS k(number, place) \
            JOIN pg_catalog.pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.number), \
        (SELECT array_agg(a.attname::text ORDER BY k.place) FROM unnest(f.confkey) WITH ORDINALITY AS k(number, place) \
            JOIN pg_catalog.pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = k.number) \
    FROM pg_catalog.pg_constraint f \
    JOIN pg_catalog.pg_class c ON c.oid = f.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    JOIN pg_catalog.pg_class p ON p.oid = f.confrelid JOIN pg_catalog.pg_namespace m ON m.oid = p.relnamespace \
    WHERE f.contype = 'f' AND f.conparentid = 0 ORDER BY 1, 2, f.conname";

const PARENTS: &str = "SELECT inhrelid::bigint, inhparent::bigint FROM pg_catalog.pg_inherits ORDER BY 1, 2";

/// A table whose rows are read along with another's, that one among them.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) number: i64,
    /// Its name as SQL text.
    pub(super) name: String,
    /// Whether it has rows of its own.
    pub(super) has_rows: bool,
    /// Whether we may set how its triggers fire.
    pub(super) is_owned: bool,
}

/// A table, beyond what the catalog says of it.
#[derive(Debug, Clone)]
pub(super) struct Details {
    pub(super) number: i64,
    /// Captured columns' names, types and collations.
    pub(super) columns: Vec<(String, String)>,
    pub(super) members: Vec<Member>,
    pub(super) is_partitioned: bool,
    /// Whether changed rows are captured one by one, where no statement's own trigger sees them all.
    pub(super) is_by_row: bool,
}

/// Everything read from the system catalogs at once.
#[derive(Debug)]
pub(super) struct Schema {
    pub(super) catalog: Arc<Catalog>,
    pub(super) details: BTreeMap<Table, Details>,
}

struct Reading {
    relations: BTreeMap<i64, Relation>,
    attributes: HashMap<i64, Vec<Attribute>>,
    children: HashMap<i64, Vec<i64>>,
    parents: HashMap<i64, Vec<i64>>,
    keys: HashMap<i64, Vec<String>>,
    unique: HashMap<i64, Vec<Vec<String>>>,
    routines: BTreeSet<String>,
    types: Types,
}

/// Reads the system catalogs as they are now, which may be later than the transaction's snapshot but for
/// the tables that it locked.
pub(super) async fn read(connection: &mut PgConnection) -> sqlx::Result<Schema> {
    let relations: Vec<Relation> = sqlx::query_as(RELATIONS).bind(SCHEMA).fetch_all(&mut *connection).await?;
    let attributes: Vec<Attribute> =
        sqlx::query_as(ATTRIBUTES).bind(SCHEMA).fetch_all(&mut *connection).await?;
    let keys: Vec<(i64, String)> = sqlx::query_as(KEYS).fetch_all(&mut *connection).await?;
    let unique: Vec<(i64, Vec<String>)> = sqlx::query_as(UNIQUE).fetch_all(&mut *connection).await?;
    let routines: Vec<String> = sqlx::query_scalar(ROUTINES).bind(SCHEMA).fetch_all(&mut *connection).await?;
    let inherited: Vec<(i64, i64)> = sqlx::query_as(PARENTS).fetch_all(&mut *connection).await?;
    let path = "SELECT unnest(current_schemas(false))::text";
    let path: Vec<String> = sqlx::query_scalar(path).fetch_all(&mut *connection).await?;
    let mut types = Types::default();
    let numbers: BTreeSet<i64> = attributes.iter().map(|attribute| attribute.kind).collect();
    types.learn(connection, &Vec::from_iter(numbers)).await?;
    let mut reading = Reading {
        relations: relations.into_iter().map(|relation| (relation.number, relation)).collect(),
        attributes: HashMap::new(),
        children: HashMap::new(),
        parents: HashMap::new(),
        keys: HashMap::new(),
        unique: HashMap::new(),
        routines: routines.into_iter().collect(),
        types,
    };
    for attribute in attributes {
        reading.attributes.entry(attribute.relation).or_default().push(attribute);
    }
    for (relation, name) in keys {
        reading.keys.entry(relation).or_default().push(name);
    }
    for (relation, names) in unique {
        reading.unique.entry(relation).or_default().push(names);
    }
    for (child, parent) in inherited {
        reading.children.entry(parent).or_default().push(child);
        reading.parents.entry(child).or_default().push(parent);
    }
    Ok(reading.schema(path))
}

impl Relation {
    fn table(&self) -> Table {
        Table { schema: self.schema.clone(), name: self.name.clone() }
    }

    fn sql(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.name))
    }
}

impl Reading {
    fn schema(&self, path: Vec<String>) -> Schema {
        let mut catalog = Catalog {
            dialect: Dialect::Postgres,
            path,
            tables: BTreeMap::new(),
            views: BTreeMap::new(),
            routines: self.routines.clone(),
        };
        let mut details = BTreeMap::new();
        for relation in self.relations.values() {
            if let Some(query) = &relation.view {
                let query = query.trim().trim_end_matches(';').to_owned();
                let columns = self.attributes(relation).iter().map(|column| column.name.clone()).collect();
                catalog.views.insert(relation.table(), View { query, columns });
                continue;
            }
            let members = self.members(relation.number);
            catalog.tables.insert(relation.table(), self.facts(relation, &members));
            details.insert(relation.table(), self.details(relation, &members));
        }
        Schema { catalog: Arc::new(catalog), details }
    }

    fn attributes(&self, relation: &Relation) -> &[Attribute] {
        self.attributes.get(&relation.number).map_or(&[], Vec::as_slice)
    }

    /// The table itself, its partitions and those that inherit from it.
    fn members(&self, number: i64) -> Vec<&Relation> {
        let (mut found, mut open) = (BTreeSet::new(), vec![number]);
        while let Some(number) = open.pop() {
            if found.insert(number) {
                open.extend(self.children.get(&number).into_iter().flatten());
            }
        }
        found.iter().filter_map(|number| self.relations.get(number)).collect()
    }

    fn facts(&self, relation: &Relation, members: &[&Relation]) -> Facts {
        let attributes = self.attributes(relation);
        let column = |attribute: &Attribute| Column {
            name: attribute.name.clone(),
            is_bytewise: attribute.is_deterministic && self.types.is_bytewise(attribute.kind),
            prints_apart: !attribute.is_deterministic
                || self.types.prints_apart(attribute.kind, attribute.modifier),
            is_float: self.types.is_float(attribute.kind),
            // Generated columns are stored.
            is_computed: false,
            fingerprint: self.column_fingerprint(&attribute.name, members),
        };
        Facts {
            columns: attributes.iter().map(column).collect(),
            key: self.keys.get(&relation.number).cloned().unwrap_or_default(),
            unique: self.unique.get(&relation.number).cloned().unwrap_or_default(),
            uncapturable: self.uncapturable(relation, members),
            fingerprint: Self::fingerprint(members),
        }
    }

    /// Another file: PostgreSQL wrote all rows anew, perhaps as others, or none.
    fn fingerprint(members: &[&Relation]) -> String {
        let mut text = String::new();
        for member in members {
            let Relation { number, file, kind, bound, hides_rows, .. } = member;
            text += &format!("{number} {file} {kind} {bound:?} {hides_rows}\n");
        }
        Version::of(text.as_bytes()).to_string()
    }

    /// Of a column, with those that are read as it. A number is never used again: not by a column that gets the
    /// name of one which was dropped or renamed.
    fn column_fingerprint(&self, name: &str, members: &[&Relation]) -> String {
        let mut text = String::new();
        for member in members {
            for attribute in self.attributes(member).iter().filter(|attribute| attribute.name == name) {
                let Attribute { number, kind, modifier, generated, collation, written, .. } = attribute;
                let labels = self.types.labels(*kind);
                text +=
                    &format!("{number} {kind} {modifier} {generated} {collation:?} {labels:?} {written}\n");
            }
        }
        Version::of(text.as_bytes()).to_string()
    }

    fn uncapturable(&self, relation: &Relation, members: &[&Relation]) -> Option<String> {
        let whose = |member: &Relation| match member.number == relation.number {
            true => "it".to_owned(),
            false => format!("{}, which is read with it,", member.name),
        };
        for member in members {
            let reason = match (&*member.kind, &*member.persistence) {
                ("m", _) => {
                    "is a materialized view, which is refreshed without triggers: read its tables instead"
                }
                ("f", _) => "is a foreign table, which others edit on their own server",
                (_, "u") => "is unlogged: a crash empties it without a trigger: ALTER TABLE … SET LOGGED",
                _ if member.hides_rows => {
                    "hides rows from this role by row-level security, as a policy says, which nobody records: \
                     give the role BYPASSRLS"
                }
                _ if !member.can_trigger => {
                    "may not be given a trigger by this role: GRANT TRIGGER ON it to this role"
                }
                _ => continue,
            };
            return Some(format!("{} {reason}", whose(member)));
        }
        let attributes = self.attributes(relation);
        if attributes.len() > MOST_COLUMNS {
            return Some(format!("it has more than {MOST_COLUMNS} columns: split it"));
        }
        if let Some(column) = attributes.iter().find(|column| column.name.starts_with(PREFIX)) {
            return Some(format!(
                "its column `{}` has a name that begins with {PREFIX}, which is taken: rename it",
                column.name
            ));
        }
        let is_virtual = attributes.iter().find(|column| column.generated == "v")?;
        Some(format!("its column `{}` is generated when it is read: make it STORED", is_virtual.name))
    }

    fn details(&self, relation: &Relation, members: &[&Relation]) -> Details {
        let column = |attribute: &Attribute| {
            let kind = self.types.declared(attribute.kind);
            let collation =
                attribute.collation.as_ref().map_or_else(String::new, |name| format!(" COLLATE {name}"));
            (attribute.name.clone(), format!("{kind}{collation}"))
        };
        let member = |member: &&Relation| Member {
            number: member.number,
            name: member.sql(),
            has_rows: member.kind == "r",
            is_owned: member.is_owned,
        };
        let has_parents = self.parents.contains_key(&relation.number);
        Details {
            number: relation.number,
            columns: self.attributes(relation).iter().map(column).collect(),
            members: members.iter().map(member).collect(),
            is_partitioned: relation.kind == "p",
            is_by_row: has_parents || members.len() > 1 || relation.kind == "p" || relation.is_subscribed,
        }
    }
}

/// The base tables that PostgreSQL must know to answer `query`, one SELECT: those that it locks while it
/// analyses and plans it. So views, inlined functions and what the plan leaves out are seen through. Of
/// partitions and tables that inherit, those whose parent is read as well are left out.
///
/// In a transaction of its own, where nothing else is locked.
pub(super) async fn tables(pool: &PgPool, query: &str) -> Result<BTreeSet<Table>, DatabaseError> {
    let failed = |error: sqlx::Error| refused(message(&error));
    let mut transaction = pool.begin_with("BEGIN READ ONLY").await.map_err(failed)?;
    let explain = format!("EXPLAIN SELECT * FROM ({query}\n) AS edgepress_q");
    let explain = sqlx::query(AssertSqlSafe(explain)).persistent(false);
    transaction.execute(explain).await.map_err(failed)?;
    let locked = "\
        WITH locked AS (SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_locks l \
            JOIN pg_catalog.pg_class c ON c.oid = l.relation \
            JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
            WHERE l.locktype = 'relation' AND l.pid = pg_catalog.pg_backend_pid() \
                AND c.relkind IN ('r', 'p', 'f', 'm') AND n.nspname NOT IN ('pg_catalog', 'pg_toast', $1)) \
        SELECT l.nspname::text, l.relname::text FROM locked l WHERE NOT EXISTS (\
            SELECT 1 FROM pg_catalog.pg_inherits i JOIN locked p ON p.oid = i.inhparent WHERE i.inhrelid = l.oid)";
    let found: Vec<(String, String)> =
        sqlx::query_as(locked).bind(SCHEMA).fetch_all(&mut *transaction).await.map_err(failed)?;
    transaction.rollback().await.map_err(failed)?;
    Ok(found.into_iter().map(|(schema, name)| Table { schema, name }).collect())
}

/// All foreign keys.
pub(super) async fn references(connection: &mut PgConnection) -> sqlx::Result<Vec<Reference>> {
    type Found = (String, String, String, String, Vec<String>, Vec<String>);
    let found: Vec<Found> = sqlx::query_as(REFERENCES).fetch_all(connection).await?;
    let reference = |(schema, name, parent_schema, parent, columns, parent_columns): Found| Reference {
        table: Table { schema, name },
        columns,
        parent: Table { schema: parent_schema, name: parent },
        parent_columns,
    };
    Ok(found.into_iter().map(reference).collect())
}
