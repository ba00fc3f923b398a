//! How capture stands, and what of it nobody needs any more.
//!
//! Owns the deletion of changes. Refuses to delete in large steps, or what a consumer that keeps up has not
//! seen.

use std::collections::BTreeMap;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor as _};

use super::names::{CHANGE_ID, CONSUMER, INTENT, LOG, PRUNED_ID, STATE, change_table};
use super::plan::{Plan, There};
use super::seen::{Moment, Standing, sees, unseen_by};
use super::{Postgres, catalog, failed};
use crate::database::DatabaseError;
use crate::database::capture::{Captured, Status};

/// Changes deleted in one transaction.
const PRUNED_AT_ONCE: i64 = 4_096;

/// The earliest of the snapshots in `$1`: what it sees, all others see.
const EARLIEST: &str = "SELECT s FROM unnest($1::text[]) AS s ORDER BY pg_snapshot_xmax(s::pg_snapshot)::text::numeric, \
                        (SELECT count(*) FROM pg_snapshot_xip(s::pg_snapshot)) DESC, s LIMIT 1";

/// The snapshots that each consumer has seen, or that its intents have, where it never consumed.
async fn moments(
    connection: &mut PgConnection,
    standing: &Standing,
) -> sqlx::Result<BTreeMap<String, Vec<String>>> {
    let sql = format!(
        "SELECT name, seen FROM {CONSUMER} UNION ALL SELECT consumer, seen FROM {INTENT} \
         WHERE consumer IN (SELECT name FROM {CONSUMER} WHERE seen IS NULL)"
    );
    let rows: Vec<(String, Option<String>)> =
        sqlx::query_as(AssertSqlSafe(sql)).fetch_all(connection).await?;
    let mut moments: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, seen) in rows {
        let all = moments.entry(name).or_default();
        // Of another database, or of this one before it was restored: it will be published in full.
        let moment = seen.map(|seen| Moment::of(&seen)).filter(|then| then.is_comparable(&standing.moment));
        all.extend(moment.map(|moment| moment.snapshot));
    }
    Ok(moments)
}

async fn earliest(connection: &mut PgConnection, snapshots: &[String]) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar(EARLIEST).bind(snapshots).fetch_optional(connection).await
}

/// By captured table, how many changes the snapshot has not seen; without one, all.
async fn unseen(
    connection: &mut PgConnection,
    snapshot: Option<&String>,
) -> sqlx::Result<BTreeMap<i64, u64>> {
    let condition = snapshot.map_or_else(|| "$1::text IS NULL".to_owned(), |_| unseen_by("$1"));
    let sql = format!("SELECT source, sum(edits)::bigint FROM {LOG} WHERE {condition} GROUP BY source");
    let counts: Vec<(i64, i64)> =
        sqlx::query_as(AssertSqlSafe(sql)).bind(snapshot).fetch_all(connection).await?;
    Ok(counts.into_iter().map(|(source, count)| (source, count.unsigned_abs())).collect())
}

impl Postgres {
    pub(super) async fn read_status(&self) -> Result<Status, DatabaseError> {
        let connection = &mut *self.location.pool.acquire().await.map_err(failed)?;
        let mut status = Status::default();
        let Some(standing) = self.standing(connection).await? else { return Ok(status) };
        let mut first = Vec::new();
        let mut is_all = false;
        for (name, snapshots) in moments(connection, &standing).await.map_err(failed)? {
            let snapshot = earliest(connection, &snapshots).await.map_err(failed)?;
            let counts = unseen(connection, snapshot.as_ref()).await.map_err(failed)?;
            status.consumers.insert(name, counts.values().sum());
            is_all |= snapshot.is_none();
            first.extend(snapshot);
        }
        let first = earliest(connection, &first).await.map_err(failed)?.filter(|_| !is_all);
        let waiting = unseen(connection, first.as_ref()).await.map_err(failed)?;
        let schema = catalog::read(connection).await.map_err(failed)?;
        let there = There::read(connection).await.map_err(failed)?;
        let plan = Plan::new(&schema, &there, None);
        for (table, columns) in plan.captured {
            let source = standing.sources.iter().rev().find(|source| source.table == table);
            let waiting = source.and_then(|source| waiting.get(&source.id)).copied().unwrap_or_default();
            let problem = plan.problems.get(&table).cloned();
            status.tables.push(Captured { columns: columns.into_iter().collect(), table, problem, waiting });
        }
        Ok(status)
    }

    pub(super) async fn prune_changes(&self, most: u64) -> Result<(), DatabaseError> {
        let connection = &mut *self.location.pool.acquire().await.map_err(failed)?;
        let Some(standing) = self.standing(connection).await? else { return Ok(()) };
        let boundary = boundary(connection, &standing, most).await.map_err(failed)?;
        let seen = "pg_visible_in_snapshot(xid, $1::text::pg_snapshot)";
        let below = "xid < pg_snapshot_xmax($1::text::pg_snapshot)";
        let is_any = format!("SELECT EXISTS (SELECT 1 FROM {LOG} WHERE {below} AND {seen})");
        let is_any: bool = sqlx::query_scalar(AssertSqlSafe(is_any))
            .bind(&boundary)
            .fetch_one(&mut *connection)
            .await
            .map_err(failed)?;
        if !is_any {
            return Ok(());
        }
        // First, so that nobody takes what is left of the changes for all of them.
        let set = format!(
            "UPDATE {STATE} SET pruned = $1::text::pg_snapshot WHERE pruned IS NULL OR {}",
            sees("$1::text::pg_snapshot", "pruned")
        );
        sqlx::query(AssertSqlSafe(set)).bind(&boundary).execute(&mut *connection).await.map_err(failed)?;
        let last = format!("SELECT last_value FROM {CHANGE_ID}");
        let last: i64 =
            sqlx::query_scalar(AssertSqlSafe(last)).fetch_one(&mut *connection).await.map_err(failed)?;
        for source in &standing.sources {
            let table = format!("edgepress_capture.{}", change_table(source.how.number));
            delete(connection, &table, "edgepress_xid", &boundary).await.map_err(failed)?;
        }
        delete(connection, LOG, "xid", &boundary).await.map_err(failed)?;
        let set = format!(
            "SELECT setval('{PRUNED_ID}', greatest(0, least({last}, (SELECT min(id) - 1 FROM {LOG}))))"
        );
        connection.execute(sqlx::raw_sql(AssertSqlSafe(set))).await.map_err(failed)?;
        Ok(())
    }
}

/// The snapshot whose changes are not needed any more: the earliest of the consumers that keep up, else the
/// current one. One whose changes were deleted holds those that came since all the same: while it publishes
/// in full, the moment that it reads is not to be lost again.
async fn boundary(connection: &mut PgConnection, standing: &Standing, most: u64) -> sqlx::Result<String> {
    let mut held = Vec::new();
    for snapshots in moments(connection, standing).await?.into_values() {
        for snapshot in snapshots {
            let lag: u64 = unseen(connection, Some(&snapshot)).await?.values().sum();
            if lag <= most {
                held.push(snapshot);
            }
        }
    }
    Ok(earliest(connection, &held).await?.unwrap_or_else(|| standing.moment.snapshot.clone()))
}

/// Deletes what the snapshot has seen, a few thousand at a time.
async fn delete(connection: &mut PgConnection, table: &str, xid: &str, boundary: &str) -> sqlx::Result<()> {
    let sql = format!(
        "DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table} \
         WHERE {xid} < pg_snapshot_xmax($1::text::pg_snapshot) \
         AND pg_visible_in_snapshot({xid}, $1::text::pg_snapshot) LIMIT {PRUNED_AT_ONCE}))"
    );
    loop {
        let deleted =
            sqlx::query(AssertSqlSafe(sql.as_str())).bind(boundary).execute(&mut *connection).await?;
        if deleted.rows_affected() < PRUNED_AT_ONCE.unsigned_abs() {
            return Ok(());
        }
    }
}
