//! Deleting changes that were seen, and closing the gaps among their numbers.
//!
//! Owns the only deletes in our log. They lock single rows of it and no gaps, so that no edit waits for
//! them.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Executor as _};

use super::names::{LOG, STATE, change_table};
use super::ranges::Ranges;
use super::seen::{Moment, Standing, there};
use super::{cannot_write, moments, number, number_of};
use crate::database::DatabaseError;
use crate::database::mysql::text::quoted;
use crate::database::mysql::{Mysql, failed};

/// Changes deleted in one transaction,
const PRUNED_AT_ONCE: i64 = 2_048;
/// and the pause after it.
const PAUSE: Duration = Duration::from_millis(5);
/// How long after its number was given a change is surely at least written, if not committed: seconds.
const WRITTEN_AFTER: u32 = 60;

/// What may be deleted.
struct Prunable {
    changes: Ranges,
    /// Whether some of it lies in a gap of a consumer that lags: nothing else would tell it.
    is_lossy: bool,
    sources: Vec<i64>,
}

/// `all` are the changes that are there; those that came before the last `most` wait for nobody.
fn prunable(all: &Ranges, moments: &[Moment], most: u64) -> (Ranges, bool) {
    let last = all.last().unwrap_or_default();
    let oldest = last.saturating_sub(i64::try_from(most).unwrap_or(i64::MAX));
    let lags = |then: &&Moment| then.high < oldest || then.unseen(all).first().is_some_and(|id| id < oldest);
    let mut seen = all.clone();
    for then in moments.iter().filter(|then| !lags(then)) {
        seen = seen.without(&then.unseen(all));
    }
    let is_lossy = moments.iter().filter(lags).any(|then| !seen.and(&then.gaps).is_empty());
    (seen, is_lossy)
}

impl Mysql {
    async fn prunable(&self, most: u64) -> Result<Option<Prunable>, DatabaseError> {
        let mut snapshot = self.begin().await?;
        let connection = &mut *snapshot.transaction;
        let standing = match Standing::read(connection, None).await {
            Err(error) if number_of(&error) == number::NO_SUCH_TABLE => return Ok(None),
            standing => standing.map_err(failed)?,
        };
        let Some(standing) = standing else { return Ok(None) };
        let all = there(connection, 0).await.map_err(failed)?;
        let moments: Vec<Moment> =
            moments(connection, &standing).await.map_err(failed)?.into_values().flatten().collect();
        let (changes, is_lossy) = prunable(&all, &moments, most);
        let sources = standing.sources.iter().map(|source| source.how.number).collect();
        Ok(Some(Prunable { changes, is_lossy, sources }))
    }

    /// Deletes what every consumer has seen, a few thousand at a time.
    pub(super) async fn prune_seen(&self, most: u64) -> Result<(), DatabaseError> {
        let Some(prunable) = self.prunable(most).await? else { return Ok(()) };
        let mut connection = self.opened.pool.acquire().await.map_err(failed)?;
        let mut lost = i64::from(prunable.is_lossy);
        for (first, last) in prunable.changes.pieces(PRUNED_AT_ONCE) {
            let mut statements = vec![
                "SET TRANSACTION ISOLATION LEVEL READ COMMITTED".to_owned(),
                "START TRANSACTION".to_owned(),
                format!("UPDATE {STATE} SET pruned = GREATEST(pruned, {last}), lost = lost + {lost}"),
                delete(LOG, "id", first..=last),
            ];
            for (source, changes) in sources(&mut connection, first, last).await.map_err(failed)? {
                if prunable.sources.contains(&source) {
                    let rows = changes.into_iter().flat_map(|id| [2 * id, 2 * id + 1]);
                    statements.push(delete(&quoted(&change_table(source)), "edgepress_row", rows));
                }
            }
            statements.push("COMMIT".to_owned());
            if let Err(error) = run(&mut connection, &statements).await {
                let _ = connection.execute("ROLLBACK").await;
                return Err(cannot_write(&error));
            }
            lost = 0;
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Remembers up to which number no transaction can still add a change: gaps below are for ever. A number
    /// is given a moment before its row is written, and from then on those who read what is not committed
    /// see it. Where several servers give numbers, nothing is ever settled.
    pub(super) async fn settle(&self) -> Result<(), DatabaseError> {
        let mut connection = self.opened.pool.acquire().await.map_err(failed)?;
        let look = format!(
            "SELECT candidate, COALESCE(candidate_at < NOW(3) - INTERVAL {WRITTEN_AFTER} SECOND, 1) + 0, settled \
             FROM {STATE} WHERE @@auto_increment_increment = 1"
        );
        let look = sqlx::query_as(AssertSqlSafe(look)).fetch_optional(&mut *connection).await;
        // Without our tables there is nothing to settle.
        let Ok(Some((candidate, is_due, settled))): Result<Option<(i64, i64, i64)>, _> = look else {
            return Ok(());
        };
        if is_due == 0 {
            return Ok(());
        }
        let isolated = async |connection: &mut MySqlConnection, level: &str| {
            let level = format!("SET TRANSACTION ISOLATION LEVEL {level}");
            connection.execute(AssertSqlSafe(level)).await?;
            there(connection, settled).await
        };
        let written = isolated(&mut connection, "READ UNCOMMITTED").await.map_err(failed)?;
        let committed = isolated(&mut connection, "READ COMMITTED").await.map_err(failed)?;
        let going_on = written.without(&committed).first().unwrap_or(i64::MAX);
        let settled = settled.max(candidate.min(going_on - 1));
        // Read by itself: within an UPDATE it would wait for whoever has just written.
        let last = format!("SELECT COALESCE(MAX(id), 0) FROM {LOG}");
        let last: i64 =
            sqlx::query_scalar(AssertSqlSafe(last)).fetch_one(&mut *connection).await.map_err(failed)?;
        let set = format!(
            "UPDATE {STATE} SET settled = GREATEST(settled, {settled}), candidate_at = NOW(3), \
             candidate = GREATEST(pruned, {last})"
        );
        connection.execute(AssertSqlSafe(set)).await.map_err(|error| cannot_write(&error))?;
        Ok(())
    }
}

/// Deletes rows by their keys, one by one: a range would look at the row behind it, and wait if somebody has
/// just written that.
fn delete(table: &str, key: &str, ids: impl Iterator<Item = i64>) -> String {
    let ids: Vec<String> = ids.map(|id| id.to_string()).collect();
    format!(
        "DELETE doomed FROM JSON_TABLE('[{}]', '$[*]' COLUMNS (id BIGINT PATH '$')) ids \
         STRAIGHT_JOIN {table} doomed FORCE INDEX (PRIMARY) ON doomed.{key} = ids.id",
        ids.join(",")
    )
}

/// The changes in a range, by captured table.
async fn sources(
    connection: &mut MySqlConnection,
    first: i64,
    last: i64,
) -> Result<BTreeMap<i64, Vec<i64>>, sqlx::Error> {
    let sql = format!("SELECT source, id FROM {LOG} WHERE id BETWEEN ? AND ?");
    let rows = sqlx::query_as(AssertSqlSafe(sql)).bind(first).bind(last).fetch_all(connection);
    let rows: Vec<(i64, i64)> = rows.await?;
    let mut sources: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for (source, id) in rows {
        sources.entry(source).or_default().push(id);
    }
    Ok(sources)
}

async fn run(connection: &mut MySqlConnection, statements: &[String]) -> Result<(), sqlx::Error> {
    for statement in statements {
        connection.execute(AssertSqlSafe(statement.as_str())).await?;
    }
    Ok(())
}
