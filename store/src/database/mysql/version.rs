//! A number that changes with every commit, of which MariaDB and MySQL have none.
//!
//! Owns the comparison of the server's counters. A commit moves two of them: InnoDB's log, which the
//! server's own cleaning moves too, and the number of commits, which reading moves too. DDL
//! is counted apart: it need not be a commit. Of a number too many a closer look is all that comes.

use std::collections::BTreeMap;

use sqlx::MySqlPool;
use tokio::sync::Mutex;

/// MariaDB's name of the log's end, MySQL's, and what both have; the commits; then DDL.
const COUNTERS: &str = "SHOW GLOBAL STATUS WHERE Variable_name IN ('Innodb_lsn_current', \
    'Innodb_redo_log_current_lsn', 'Innodb_os_log_written', 'Handler_commit', 'Com_create_view', \
    'Com_drop_view', 'Com_create_function', 'Com_drop_function', 'Com_create_trigger', 'Com_drop_trigger', \
    'Com_create_table', 'Com_alter_table', 'Com_rename_table', 'Com_drop_table', 'Com_truncate')";
/// Where the log ends, the surest first: what was written to its file follows only sooner or later.
const LOGS: [&str; 3] = ["innodb_lsn_current", "innodb_redo_log_current_lsn", "innodb_os_log_written"];
const COMMITS: &str = "handler_commit";

#[derive(Debug, Default)]
pub(super) struct Versions(Mutex<Last>);

/// The counters when the number changed last.
#[derive(Debug, Default)]
struct Last {
    log: Option<String>,
    commits: Option<String>,
    ddl: BTreeMap<String, String>,
    number: i64,
}

impl Versions {
    pub(super) async fn now(&self, pool: &MySqlPool) -> Result<i64, sqlx::Error> {
        let mut last = self.0.lock().await;
        let counters: Vec<(String, String)> = sqlx::query_as(COUNTERS).fetch_all(pool).await?;
        let counters = counters.into_iter().map(|(name, count)| (name.to_ascii_lowercase(), count));
        let mut counters: BTreeMap<String, String> = counters.collect();
        let commits = counters.remove(COMMITS);
        let logs: Vec<String> = LOGS.iter().filter_map(|name| counters.remove(*name)).collect();
        let log = logs.into_iter().next();
        let has_commits = log != last.log && commits != last.commits;
        if has_commits || counters != last.ddl {
            *last = Last { log, commits, ddl: counters, number: last.number + 1 };
        }
        Ok(last.number)
    }
}
