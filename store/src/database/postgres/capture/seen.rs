//! What a moment has seen of the changes, and what changed since.
//!
//! Owns the comparison of two moments. Every entry bears the number of its transaction, and a moment is the
//! database's own snapshot: what was not visible in the one and is in the other came between them, however
//! late it was committed. In doubt everything, or a whole table, may have changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row as _};

use super::ddl::images;
use super::names::{LOG, SOURCE, STATE};
use crate::database::capture::{Changes, Images, Seen, Table};
use crate::database::since::{How, Since, fresh};

/// What [`Seen`] holds, as JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Moment {
    /// Made at random when capture was installed.
    pub(super) identity: String,
    /// Which database of which cluster this is, and how often a replica took its place.
    pub(super) cluster: String,
    /// `pg_current_snapshot()`.
    pub(super) snapshot: String,
    /// By schema and name, the numbers of the captured tables; a table that is captured anew has another.
    pub(super) sources: BTreeMap<String, BTreeMap<String, i64>>,
    /// By these numbers, from when on some columns were captured.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) since: BTreeMap<i64, Since>,
}

impl Moment {
    pub(in super::super) fn seen(&self) -> Seen {
        Seen(serde_json::to_string(self).expect("numbers and texts are valid JSON"))
    }

    /// Nothing in a text that is not ours: then it equals no moment.
    pub(super) fn of(seen: &str) -> Self {
        let moment: Self = serde_json::from_str(seen).unwrap_or_default();
        let is_snapshot = moment.snapshot.bytes().all(|byte| byte.is_ascii_digit() || b":,".contains(&byte));
        if is_snapshot { moment } else { Self::default() }
    }

    /// Whether two moments are of one database.
    pub(super) fn is_comparable(&self, other: &Self) -> bool {
        self.identity == other.identity && self.cluster == other.cluster
    }

    fn source(&self, table: &Table) -> Option<i64> {
        self.sources.get(&table.schema)?.get(&table.name).copied()
    }
}

/// A captured table.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) id: i64,
    pub(super) table: Table,
    pub(super) how: How<String>,
    /// What was installed for it.
    pub(super) shape: String,
}

/// How our tables stand at one moment.
#[derive(Debug, Clone)]
pub(in super::super) struct Standing {
    pub(in super::super) moment: Moment,
    /// A replica's snapshots do not say all that they see.
    is_replica: bool,
    /// In the order of their numbers; of one table the last counts.
    pub(super) sources: Vec<Source>,
}

/// Whether the snapshot `$1` sees all that `other` does.
pub(super) fn sees(one: &str, other: &str) -> String {
    format!(
        "(pg_snapshot_xmax({one}) >= pg_snapshot_xmax({other}) AND NOT EXISTS (SELECT 1 FROM \
         pg_snapshot_xip({one}) AS x WHERE pg_visible_in_snapshot(x, {other})))"
    )
}

impl Standing {
    /// Of our tables, which are there and may be read; nothing where nothing is in them.
    pub(in super::super) async fn read(
        connection: &mut PgConnection,
        has_system_identifier: bool,
    ) -> sqlx::Result<Option<Self>> {
        let system = match has_system_identifier {
            true => "(SELECT system_identifier::text FROM pg_control_system())",
            false => "''",
        };
        let state = format!(
            "SELECT identity, pg_current_snapshot()::text, pg_is_in_recovery(), {system} || '/' || \
             (SELECT oid::text FROM pg_database WHERE datname = current_database()) || '/' || \
             CASE WHEN pg_is_in_recovery() THEN '' \
             ELSE left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) END FROM {STATE}"
        );
        // Made after this moment: it is not there yet.
        let Some(row) = sqlx::query(AssertSqlSafe(state)).fetch_optional(&mut *connection).await? else {
            return Ok(None);
        };
        let mut moment = Moment {
            identity: row.try_get(0)?,
            cluster: row.try_get(3)?,
            snapshot: row.try_get(1)?,
            sources: BTreeMap::new(),
            since: BTreeMap::new(),
        };
        let sources = sources(connection).await?;
        for Source { id, table, how, .. } in &sources {
            if !how.since.is_empty() {
                moment.since.insert(*id, how.since.clone());
            }
            moment.sources.entry(table.schema.clone()).or_default().insert(table.name.clone(), *id);
        }
        Ok(Some(Self { moment, is_replica: row.try_get(2)?, sources }))
    }

    /// Why everything may have changed since `then`, if it may.
    async fn everything_since(
        &self,
        connection: &mut PgConnection,
        then: &Moment,
    ) -> sqlx::Result<Option<String>> {
        let now = &self.moment;
        if then.identity != now.identity {
            return Ok(Some("capture was installed anew, or this is another database".to_owned()));
        }
        if then.cluster != now.cluster {
            return Ok(Some("the database was copied, restored, or replaced by its replica".to_owned()));
        }
        if self.is_replica {
            return Ok(Some("it is a replica, which does not tell changes apart".to_owned()));
        }
        let compare = format!(
            "SELECT {}, pruned IS NULL OR {} FROM {STATE}",
            sees("$1::text::pg_snapshot", "$2::text::pg_snapshot"),
            sees("$2::text::pg_snapshot", "pruned"),
        );
        let (is_later, is_whole): (bool, bool) = sqlx::query_as(AssertSqlSafe(compare))
            .bind(&now.snapshot)
            .bind(&then.snapshot)
            .fetch_one(connection)
            .await?;
        Ok(if !is_later {
            Some("the database is older than what was published: a backup was restored".to_owned())
        } else if !is_whole {
            Some("changes were deleted before they were seen".to_owned())
        } else {
            None
        })
    }
}

/// Whether our tables are there, and may be read.
pub(in super::super) const IS_THERE: &str = "coalesce((SELECT has_schema_privilege(n.oid, 'USAGE') \
               AND (SELECT coalesce(bool_and(has_table_privilege(c.oid, 'SELECT')), false) FROM pg_class c \
                    WHERE c.relnamespace = n.oid AND c.relname IN ('state', 'source', 'consumer', 'intent', 'log')) \
               FROM pg_namespace n WHERE n.nspname = 'edgepress_capture'), false)";

pub(super) async fn is_there(connection: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar(AssertSqlSafe(format!("SELECT {IS_THERE}"))).fetch_one(connection).await
}

pub(super) async fn sources(connection: &mut PgConnection) -> sqlx::Result<Vec<Source>> {
    let sql = format!("SELECT id, table_schema, table_name, columns, shape FROM {SOURCE} ORDER BY id");
    let rows: Vec<(i64, String, String, String, String)> =
        sqlx::query_as(AssertSqlSafe(sql)).fetch_all(connection).await?;
    let source = |(id, schema, name, columns, shape): (i64, String, String, String, String)| Source {
        id,
        table: Table { schema, name },
        how: How::read(&columns, id),
        shape,
    };
    Ok(rows.into_iter().map(source).collect())
}

/// Which entries of the log a snapshot, given as a text, has not seen.
pub(super) fn unseen_by(snapshot: &str) -> String {
    format!(
        "xid >= pg_snapshot_xmin({snapshot}::text::pg_snapshot) \
         AND NOT pg_visible_in_snapshot(xid, {snapshot}::text::pg_snapshot)"
    )
}

/// What changed between `seen` and the moment of the connection's transaction.
pub(in super::super) async fn changes(
    connection: &mut PgConnection,
    standing: Option<Standing>,
    seen: &Seen,
) -> sqlx::Result<Changes> {
    let Some(standing) = standing else {
        return Ok(Changes {
            seen: Seen(String::new()),
            everything: Some("edits of the database are not captured".to_owned()),
            whole: BTreeSet::new(),
            fresh: BTreeMap::new(),
            tables: BTreeMap::new(),
            oldest: None,
        });
    };
    let then = Moment::of(&seen.0);
    let now = &standing.moment;
    let mut changes = Changes {
        seen: now.seen(),
        everything: standing.everything_since(connection, &then).await?,
        whole: BTreeSet::new(),
        fresh: BTreeMap::new(),
        tables: BTreeMap::new(),
        oldest: None,
    };
    if !then.is_comparable(now) {
        return Ok(changes);
    }
    let log = format!(
        "SELECT source, bool_or(whole), sum(edits)::bigint, floor(extract(epoch FROM min(at)) * 1000)::bigint \
         FROM {LOG} WHERE {} GROUP BY source",
        unseen_by("$1")
    );
    let log: Vec<(i64, bool, i64, i64)> =
        sqlx::query_as(AssertSqlSafe(log)).bind(&then.snapshot).fetch_all(connection).await?;
    changes.oldest = log.iter().filter_map(|(.., at)| u64::try_from(*at).ok()).min();
    if changes.everything.is_some() {
        return Ok(changes);
    }
    for Source { id, table, how, .. } in standing.sources {
        if now.source(&table) != Some(id) {
            continue;
        }
        let entry = log.iter().find(|(source, ..)| *source == id);
        if then.source(&table) != Some(id) || entry.is_some_and(|(_, is_whole, ..)| *is_whole) {
            changes.whole.insert(table);
            continue;
        }
        let fresh = fresh(how.columns.iter(), now.since.get(&id), then.since.get(&id));
        if !fresh.is_empty() {
            changes.fresh.insert(table.clone(), fresh);
        }
        if let Some((.., count, _)) = entry {
            let count = count.unsigned_abs();
            let since = then.snapshot.clone();
            let number = how.number;
            let source = Arc::new(move |wanted: &BTreeSet<String>| images(number, &since, wanted));
            changes.tables.insert(table, Images { count, source });
        }
    }
    if changes.is_empty() && (&then.sources, &then.since) == (&now.sources, &now.since) {
        // Nothing that is recorded tells the two moments apart: transactions elsewhere ended.
        changes.seen = seen.clone();
    }
    Ok(changes)
}
