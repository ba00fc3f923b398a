//! A number that changes with every commit, of which MariaDB and MySQL have none.
//!
//! Owns the comparison of two of the server's counters. A commit moves both: InnoDB's log, which the
//! server's own cleaning moves too, and the number of commits, which reading moves too. Refuses to change
//! unless both moved since the last change; of a number too many a closer look is all that comes.

use sqlx::MySqlPool;
use tokio::sync::Mutex;

/// MariaDB's name of the log's end, MySQL's, and what both have; then the commits.
const COUNTERS: &str = "SHOW GLOBAL STATUS WHERE Variable_name IN ('Innodb_lsn_current', \
    'Innodb_redo_log_current_lsn', 'Innodb_os_log_written', 'Handler_commit')";

#[derive(Debug, Default)]
pub(super) struct Versions(Mutex<Last>);

#[derive(Debug, Default)]
struct Last {
    log: Vec<(String, String)>,
    commits: String,
    number: i64,
}

impl Versions {
    pub(super) async fn now(&self, pool: &MySqlPool) -> Result<i64, sqlx::Error> {
        let mut last = self.0.lock().await;
        let mut log: Vec<(String, String)> = sqlx::query_as(COUNTERS).fetch_all(pool).await?;
        let is_commits = |(name, _): &(String, String)| name.eq_ignore_ascii_case("Handler_commit");
        let commits = log.iter().position(is_commits).map(|place| log.swap_remove(place).1);
        let commits = commits.unwrap_or_default();
        // What was written to the log's file follows its end only sooner or later.
        if log.iter().any(|(name, _)| {
            name.to_ascii_lowercase().ends_with("lsn_current")
                || name.to_ascii_lowercase().ends_with("current_lsn")
        }) {
            log.retain(|(name, _)| !name.eq_ignore_ascii_case("Innodb_os_log_written"));
        }
        log.sort();
        if log != last.log && commits != last.commits {
            *last = Last { log, commits, number: last.number + 1 };
        }
        Ok(last.number)
    }
}
