//! What a moment has seen of the changes, and what changed since.
//!
//! Owns the comparison of two moments: in doubt everything, or a whole table, may have changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::{AssertSqlSafe, FromRow, Row as _};

use super::ddl::{Target, TriggerText, images};
use super::names::{LOG, SOURCE, STATE};
use super::plan::is_there;
use super::ranges::Ranges;
use crate::database::capture::{Changes, Images, Seen};
use crate::database::mysql::catalog::{Altered, ColumnDetails, Counted, Schema};
use crate::database::since::{How, Since, fresh};

/// Gaps that are remembered at most; with more, the next look finds everything changed.
const MOST_GAPS: usize = 20_000;

/// What [`Seen`] holds, as JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Moment {
    /// Made at random when capture was installed.
    pub(super) identity: String,
    /// No change with a higher number was seen,
    pub(super) high: i64,
    /// nor any of these: of transactions that went on or were undone, or deleted since.
    pub(super) gaps: Ranges,
    /// How often changes were lost.
    pub(super) lost: i64,
    /// By captured table; differs when any of its rows may have changed without a record.
    pub(super) marks: BTreeMap<String, String>,
    /// By captured table, from when on some of its columns were captured.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) since: BTreeMap<String, Since>,
    /// By captured table.
    #[serde(default)]
    altered: BTreeMap<String, Altered>,
    /// How often columns were added and dropped, if the server counts that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    instant: Option<Counted>,
    /// How often tables were emptied at once, where the marks do not tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) emptied: Option<Counted>,
}

impl Moment {
    /// Whether no table can have been emptied at once between the two without a mark that tells it.
    pub(super) fn none_emptied_since(&self, then: &Self) -> bool {
        match (&self.emptied, &then.emptied) {
            (None, _) => true,
            (Some(now), Some(then)) => now.is_same(then),
            (Some(_), None) => false,
        }
    }

    /// Whether each column of a table surely holds what it held `then`, but for edits, under whatever name. All
    /// that the server tells of a table which was altered is when: a column may have been dropped and another
    /// added under its name, unless no column was added or dropped on the whole server. (DDL that writes all rows
    /// anew gives the table another number.)
    fn keeps_columns(&self, then: &Self, table: &str) -> bool {
        let is_altered = match (self.altered.get(table), then.altered.get(table)) {
            (Some(now), Some(then)) => !now.is_same(then),
            _ => true,
        };
        let is_counted = self.instant.as_ref().zip(then.instant.as_ref());
        !is_altered || is_counted.is_some_and(|(now, then)| now.is_same(then))
    }

    pub(in super::super) fn seen(&self) -> Seen {
        Seen(serde_json::to_string(self).expect("numbers and texts are valid JSON"))
    }

    /// Nothing in a text that is not ours: then it equals no moment.
    pub(super) fn of(seen: &str) -> Self {
        serde_json::from_str(seen).unwrap_or_default()
    }

    /// All changes up to this one were seen, as far as there are any.
    fn level(&self) -> i64 {
        self.gaps.first().map_or(self.high, |first| first - 1)
    }

    /// Which of `changes` were not seen.
    pub(super) fn unseen(&self, changes: &Ranges) -> Ranges {
        let mut unseen = changes.and(&self.gaps);
        unseen.0.extend(changes.without(&Ranges(vec![(i64::MIN, self.high)])).0);
        unseen
    }
}

/// A captured table.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) how: How<ColumnDetails>,
}

/// How our tables stand at one moment.
#[derive(Debug, Clone)]
pub(in super::super) struct Standing {
    pub(in super::super) moment: Moment,
    /// The highest change that was deleted.
    pub(super) pruned: i64,
    pub(super) sources: Vec<Source>,
    /// The number of the table captured next.
    pub(super) next: i64,
    /// The changes that are there with higher numbers than this one.
    from: i64,
    pub(super) there: Ranges,
}

impl Standing {
    /// Nothing where capture is not installed. Without a schema no marks are known. Of the changes, those that
    /// are not settled.
    pub(in super::super) async fn read(
        connection: &mut MySqlConnection,
        schema: Option<&Schema>,
    ) -> Result<Option<Self>, sqlx::Error> {
        if schema.is_some_and(|schema| !is_there(schema)) {
            return Ok(None);
        }
        let state = format!("SELECT identity, pruned, lost, next, settled FROM {STATE}");
        let row = sqlx::query(AssertSqlSafe(state)).fetch_optional(&mut *connection).await?;
        let Some(row) = row else { return Ok(None) };
        let (pruned, settled): (i64, i64) = (row.try_get(1)?, row.try_get(4)?);
        let there = there(connection, settled).await?;
        let high = there.last().unwrap_or_default().max(pruned).max(settled);
        let mut standing = Self {
            moment: Moment {
                identity: row.try_get(0)?,
                high,
                gaps: there.gaps(settled + 1, high),
                lost: row.try_get(2)?,
                marks: BTreeMap::new(),
                since: BTreeMap::new(),
                altered: BTreeMap::new(),
                instant: schema.and_then(|schema| schema.instant.clone()),
                emptied: schema.and_then(|schema| schema.emptied.clone()),
            },
            pruned,
            sources: Vec::new(),
            next: row.try_get(3)?,
            from: settled,
            there,
        };
        if standing.moment.gaps.0.len() > MOST_GAPS {
            // Such a moment has seen nothing of this capture.
            standing.moment.identity.push_str(" with too many gaps");
            standing.moment.gaps = Ranges::default();
        }
        standing.read_sources(connection, schema).await?;
        Ok(Some(standing))
    }

    /// Which changes `then` has not seen.
    pub(super) async fn unseen(
        &mut self,
        connection: &mut MySqlConnection,
        then: &Moment,
    ) -> Result<Ranges, sqlx::Error> {
        if then.level() < self.from {
            self.from = then.level();
            self.there = there(connection, self.from).await?;
        }
        Ok(then.unseen(&self.there))
    }

    async fn read_sources(
        &mut self,
        connection: &mut MySqlConnection,
        schema: Option<&Schema>,
    ) -> Result<(), sqlx::Error> {
        let sources = format!("SELECT id, name, columns_ FROM {SOURCE} ORDER BY id");
        for row in sqlx::query(AssertSqlSafe(sources)).fetch_all(connection).await? {
            let (id, name, columns): (i64, String, String) =
                (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            let how = How::<ColumnDetails>::read(&columns, id);
            if !how.since.is_empty() {
                self.moment.since.insert(name.clone(), how.since.clone());
            }
            if let Some(schema) = schema {
                let table = schema.table(&name);
                let facts = schema.catalog.tables.get(&table);
                let fingerprint = facts.map_or("none", |facts| facts.fingerprint.as_str());
                let lacking = lacking(schema, &name, &how);
                self.moment.marks.insert(name.clone(), format!("{id} {lacking} {fingerprint}"));
                self.moment.altered.insert(name.clone(), schema.altered(&table));
            }
            self.sources.push(Source { id, name, how });
        }
        Ok(())
    }

    /// Why everything may have changed since `then`, if it may.
    fn everything_since(&self, then: &Moment) -> Option<String> {
        let now = &self.moment;
        let reason = if then.identity != now.identity {
            "capture was installed anew, or this is another database"
        } else if then.high > now.high {
            "the database is older than what was published: a backup was restored"
        } else if then.lost != now.lost || then.high < self.pruned {
            "changes were deleted before they were seen"
        } else {
            return None;
        };
        Some(reason.to_owned())
    }
}

/// How many of the triggers that capture a table are not there.
fn lacking(schema: &Schema, name: &str, how: &How<ColumnDetails>) -> usize {
    let columns = how.columns.iter().collect();
    let target =
        Target { table: name, id: 0, number: how.number, columns, ancestors: schema.ancestors(name) };
    let is_there = |trigger: &TriggerText| schema.triggers.iter().any(|found| found.name == trigger.name);
    target.triggers().iter().filter(|trigger| !is_there(trigger)).count()
}

/// The changes with higher numbers than `from` that this transaction sees.
pub(super) async fn there(connection: &mut MySqlConnection, from: i64) -> Result<Ranges, sqlx::Error> {
    let islands = format!(
        "SELECT MIN(id), MAX(id) FROM (SELECT id, id - ROW_NUMBER() OVER (ORDER BY id) AS island \
         FROM {LOG} WHERE id > ?) changes GROUP BY island ORDER BY 1"
    );
    let islands = sqlx::query_as(AssertSqlSafe(islands)).bind(from).fetch_all(connection);
    islands.await.map(Ranges)
}

/// The rows of a statement whose text differs every time. It is not prepared: it would have to be closed, and
/// the server's late acknowledgement of that holds up the next statement by 40 ms.
pub(super) async fn plain<T>(connection: &mut MySqlConnection, sql: String) -> Result<Vec<T>, sqlx::Error>
where
    T: for<'r> FromRow<'r, MySqlRow>,
{
    let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(connection).await?;
    rows.iter().map(T::from_row).collect()
}

/// What changed between `seen` and now, read in one transaction.
pub(in super::super) async fn changes(
    connection: &mut MySqlConnection,
    schema: &Schema,
    standing: Option<Standing>,
    seen: &Seen,
) -> Result<Changes, sqlx::Error> {
    let then = Moment::of(&seen.0);
    let mut changes = Changes {
        seen: Seen(String::new()),
        everything: Some("edits of the database are not captured".to_owned()),
        whole: BTreeSet::new(),
        fresh: BTreeMap::new(),
        tables: BTreeMap::new(),
        oldest: None,
    };
    let Some(mut standing) = standing else { return Ok(changes) };
    if let Some((now, then)) = standing.moment.instant.as_mut().zip(then.instant.as_ref())
        && now.is_same(then)
    {
        // Told apart only by how exact clocks are.
        now.clone_from(then);
    }
    let none_emptied = standing.moment.none_emptied_since(&then);
    if none_emptied && standing.moment.emptied.is_some() {
        standing.moment.emptied.clone_from(&then.emptied);
    }
    changes.seen = standing.moment.seen();
    changes.everything = standing.everything_since(&then);
    let unseen = standing.unseen(connection, &then).await?;
    let counts = format!(
        "SELECT source, COUNT(*), CAST(MAX(is_whole) AS SIGNED), \
         CAST(UNIX_TIMESTAMP(MIN(at)) * 1000 AS SIGNED) FROM {LOG} WHERE {} GROUP BY source",
        unseen.condition("id")
    );
    let counts: Vec<(i64, i64, i64, i64)> = match unseen.is_empty() {
        true => Vec::new(),
        false => plain(connection, counts).await?,
    };
    let oldest = counts.iter().map(|(.., at)| *at).min();
    changes.oldest = oldest.and_then(|oldest| u64::try_from(oldest).ok());
    if changes.everything.is_some() {
        return Ok(changes);
    }
    let now = &standing.moment;
    for Source { id, name, how } in standing.sources {
        let table = schema.table(&name);
        let found = counts.iter().find(|(source, ..)| *source == id);
        let is_marked = found.is_some_and(|(_, _, is_whole, _)| *is_whole != 0);
        let is_same = then.marks.get(&name) == now.marks.get(&name) && now.keeps_columns(&then, &name);
        if is_marked || !none_emptied || !is_same {
            changes.whole.insert(table);
            continue;
        }
        let columns = how.columns.iter().map(|column| &column.name);
        let fresh = fresh(columns, now.since.get(&name), then.since.get(&name));
        if !fresh.is_empty() {
            changes.fresh.insert(table.clone(), fresh);
        }
        if let Some((_, count, ..)) = found {
            let unseen = unseen.clone();
            let How { columns, number, .. } = how;
            let source = Arc::new(move |wanted: &BTreeSet<String>| images(number, &columns, &unseen, wanted));
            changes.tables.insert(table, Images { count: count.unsigned_abs(), source });
        }
    }
    Ok(changes)
}
