//! What a moment has seen of the changes, and what changed since.
//!
//! Owns the comparison of two moments: in doubt everything, or a whole table, may have changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use edgepress_site::version::Version;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Row as _};

use super::ddl::{MOST_CHANGES, images};
use super::names::{LOG, SOURCE, STATE};
use crate::database::capture::{Changes, Images, Seen};
use crate::database::since::{Since, fresh};
use crate::database::sqlite::catalog::table;

/// What [`Seen`] holds, as JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Moment {
    /// Made at random when capture was installed.
    pub(super) identity: String,
    /// The last change.
    pub(super) last: i64,
    /// How often changes were lost.
    pub(super) lost: i64,
    /// By captured table; differs when any of its rows may have changed without a record.
    pub(super) marks: BTreeMap<String, String>,
    /// By captured table, from when on some of its columns were captured.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) since: BTreeMap<String, Since>,
    /// By captured table, a name for the keys by which rows are looked up that REPLACE may remove.
    #[serde(default)]
    pub(super) keys: BTreeMap<String, String>,
    /// The number of the schema, without the changes that we made: differs once somebody altered any of it.
    #[serde(default)]
    pub(super) schema: i64,
}

impl Moment {
    pub(super) fn seen(&self) -> Seen {
        Seen(serde_json::to_string(self).expect("numbers and texts are valid JSON"))
    }

    /// Nothing in a text that is not ours: then it equals no moment.
    pub(super) fn of(seen: &str) -> Self {
        serde_json::from_str(seen).unwrap_or_default()
    }
}

/// A captured table.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) columns: Vec<String>,
    /// What was installed for it.
    pub(super) made: Made,
}

/// What captures a table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Made {
    /// Names the texts of the tables and triggers.
    pub(super) texts: String,
    /// Names the keys for which rows are looked up that REPLACE may remove.
    pub(super) keys: BTreeSet<String>,
    pub(super) since: Since,
}

impl Made {
    /// A name for what captures a table, made of its texts.
    pub(super) fn name(texts: &[String]) -> String {
        Version::of(texts.join("\n").as_bytes()).to_string()
    }
}

/// How our tables stand at one moment.
#[derive(Debug, Clone)]
pub(in super::super) struct Standing {
    pub(in super::super) moment: Moment,
    /// Changes up to this one were deleted.
    pub(super) pruned: i64,
    /// How many changes the log spans.
    pub(super) span: i64,
    /// Whether the log spans so many changes that triggers record no more.
    pub(super) is_full: bool,
    pub(super) sources: Vec<Source>,
    /// The number of the schema.
    pub(super) version: i64,
    /// The number of the table captured next.
    pub(super) next: i64,
}

impl Standing {
    /// Fails where capture is not installed.
    pub(in super::super) async fn read(connection: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let state = format!(
            "SELECT identity, pruned, lost, coalesce((SELECT max(id) FROM {LOG}), 0), \
             (SELECT min(id) FROM {LOG}), (SELECT schema_version FROM pragma_schema_version), next, ours FROM {STATE}"
        );
        let row = sqlx::query(AssertSqlSafe(state)).fetch_one(&mut *connection).await?;
        let last: i64 = row.try_get(3)?;
        let first: Option<i64> = row.try_get(4)?;
        let (version, ours): (i64, i64) = (row.try_get(5)?, row.try_get(7)?);
        let mut standing = Self {
            moment: Moment {
                identity: row.try_get(0)?,
                last,
                lost: row.try_get(2)?,
                marks: BTreeMap::new(),
                since: BTreeMap::new(),
                keys: BTreeMap::new(),
                schema: version.wrapping_sub(ours),
            },
            pruned: row.try_get(1)?,
            span: first.map_or(0, |first| last.saturating_sub(first)),
            is_full: first.is_some_and(|first| last.saturating_sub(first) >= MOST_CHANGES),
            sources: Vec::new(),
            version,
            next: row.try_get(6)?,
        };
        let sources = format!("SELECT id, name, columns, mark, moves, made FROM {SOURCE} ORDER BY id");
        for row in sqlx::query(AssertSqlSafe(sources)).fetch_all(connection).await? {
            let (id, name, columns): (i64, String, String) =
                (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            let (mark, moves): (i64, bool) = (row.try_get(3)?, row.try_get(4)?);
            // VACUUM may give rows new numbers, and the schema one with them.
            let moved = if moves { format!("@{}", standing.version) } else { String::new() };
            standing.moment.marks.insert(name.clone(), format!("{id}.{mark}{moved}"));
            let columns = serde_json::from_str(&columns).unwrap_or_default();
            let made: String = row.try_get(5)?;
            let made: Made = serde_json::from_str(&made).unwrap_or_default();
            let keys = Made::name(&made.keys.iter().cloned().collect::<Vec<_>>());
            standing.moment.keys.insert(name.clone(), keys);
            if !made.since.is_empty() {
                standing.moment.since.insert(name.clone(), made.since.clone());
            }
            standing.sources.push(Source { id, name, columns, made });
        }
        Ok(standing)
    }

    /// What this moment has seen.
    pub(in super::super) fn seen(&self) -> Seen {
        self.moment.seen()
    }

    /// Why everything may have changed since `then`, if it may.
    pub(super) fn everything_since(&self, then: &Moment) -> Option<String> {
        let now = &self.moment;
        let reason = if then.identity != now.identity {
            "capture was installed anew, or this is another database"
        } else if then.last > now.last {
            "the database is older than what was published: a backup was restored"
        } else if self.is_full {
            "more changes are waiting than are recorded"
        } else if then.lost != now.lost {
            "more changes came than are recorded"
        } else if then.last < self.pruned {
            "changes were deleted before they were seen"
        } else {
            return None;
        };
        Some(reason.to_owned())
    }
}

/// What changed between `seen` and what `standing`, read in the same transaction, says.
pub(in super::super) async fn changes(
    connection: &mut SqliteConnection,
    standing: Standing,
    seen: &Seen,
) -> Result<Changes, sqlx::Error> {
    let then = Moment::of(&seen.0);
    let everything = standing.everything_since(&then);
    let now = &standing.moment;
    let mut changes = Changes {
        seen: now.seen(),
        everything,
        whole: BTreeSet::new(),
        fresh: BTreeMap::new(),
        tables: BTreeMap::new(),
        oldest: None,
    };
    let oldest = format!(
        "SELECT CAST(round((at - 2440587.5) * 86400000) AS INTEGER) FROM {LOG} WHERE id > ? ORDER BY id LIMIT 1"
    );
    let oldest: Option<i64> =
        sqlx::query_scalar(AssertSqlSafe(oldest)).bind(then.last).fetch_optional(&mut *connection).await?;
    changes.oldest = oldest.and_then(|oldest| u64::try_from(oldest).ok());
    if changes.everything.is_some() {
        return Ok(changes);
    }
    let counts = format!("SELECT source, count(*) FROM {LOG} WHERE id > ? GROUP BY source");
    let counts: Vec<(i64, i64)> =
        sqlx::query_as(AssertSqlSafe(counts)).bind(then.last).fetch_all(connection).await?;
    let counts: BTreeMap<i64, i64> = counts.into_iter().collect();
    let range = (then.last + 1, now.last);
    // A unique key may have come, and rows that REPLACE removed by it were not looked up. Once it is gone again, which
    // takes two statements, no key tells of it, and it may have been one of columns whose edits nobody records.
    let altered = now.schema.wrapping_sub(then.schema);
    for Source { id, name, columns, .. } in standing.sources {
        let count = counts.get(&id);
        let has_other_keys = then.keys.get(&name) != now.keys.get(&name);
        let may_lack_rows = !matches!(altered, 0 | 1) || count.is_some() && has_other_keys;
        if may_lack_rows || then.marks.get(&name) != now.marks.get(&name) {
            changes.whole.insert(table(&name));
            continue;
        }
        let fresh = fresh(columns.iter(), now.since.get(&name), then.since.get(&name));
        if !fresh.is_empty() {
            changes.fresh.insert(table(&name), fresh);
        }
        if let Some(count) = count {
            let count = u64::try_from(*count).unwrap_or_default();
            let key = table(&name);
            let source = Arc::new(move |wanted: &BTreeSet<String>| images(&name, &columns, range, wanted));
            changes.tables.insert(key, Images { count, source });
        }
    }
    Ok(changes)
}
