//! Two databases that take the same edits: one whose publisher may capture and publish incrementally,
//! and its twin, which only ever is published in full into an empty bucket.
//! Refuses to judge the releases.

use std::path::Path;

use edgepress_store::database::Sqlite;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _};

use super::case::{Case, Statement, Transaction};
use super::lies::Pause;
use crate::support::memory_folder;

/// One of the two, with the connections that edit it.
struct Side {
    url: String,
    first: SqliteConnection,
    second: SqliteConnection,
}

/// What a statement did: rows changed, or nothing if it failed.
type Effect = Result<u64, String>;

/// The two databases.
pub(super) struct Databases {
    _folder: tempfile::TempDir,
    live: Side,
    twin: Side,
}

/// One statement had two effects: capturing changed what it does.
#[derive(Debug)]
pub(super) struct Disturbed(pub(super) String);

impl Side {
    async fn new(folder: &Path, name: &str) -> Self {
        let path = folder.join(name);
        let connect = async || {
            let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
            let options = options.foreign_keys(false).disable_statement_logging();
            options.connect().await.expect("the file can be opened")
        };
        let (first, second) = (connect().await, connect().await);
        Self { url: format!("sqlite:{}", path.display()), first, second }
    }
}

async fn run(connection: &mut SqliteConnection, sql: &str) -> Effect {
    let sql = sqlx::raw_sql(AssertSqlSafe(sql));
    sql.execute(connection).await.map(|done| done.rows_affected()).map_err(|error| error.to_string())
}

/// Runs a transaction; each statement with its effect.
async fn transaction(connection: &mut SqliteConnection, edit: &Transaction) -> Vec<(String, Effect)> {
    let statements = edit.statements.iter().map(Statement::sql);
    let all = std::iter::once("BEGIN".to_owned()).chain(statements);
    let mut effects = Vec::new();
    for sql in all.chain(edit.end().iter().map(|end| (*end).to_owned())) {
        let effect = run(connection, &sql).await;
        effects.push((sql, effect));
    }
    effects
}

impl Databases {
    /// Makes both from the schema and the rows of `case`.
    pub(super) async fn new(case: &Case) -> Result<Self, Disturbed> {
        let folder = memory_folder();
        let live = Side::new(folder.path(), "live.db").await;
        let twin = Side::new(folder.path(), "twin.db").await;
        let mut databases = Self { _folder: folder, live, twin };
        // Writers do not wait for readers then, on either side.
        databases.statement("PRAGMA journal_mode = WAL", false).await?;
        databases.settings(case).await?;
        for statements in [case.schema.iter().cloned().map(Statement::new).collect(), case.rows.clone()] {
            databases.transaction(&Transaction { statements, commits: true }).await?;
        }
        Ok(databases)
    }

    /// What the connections that edit are set to.
    pub(super) async fn settings(&mut self, case: &Case) -> Result<(), Disturbed> {
        for pragma in &case.pragmas {
            self.statement(pragma, false).await?;
            self.statement(pragma, true).await?;
        }
        Ok(())
    }

    /// The database whose edits may be captured, as a publisher opens it.
    pub(super) async fn open_live(&self) -> Sqlite {
        Sqlite::open(&self.live.url, None).await.expect("it is there")
    }

    /// Its twin, where nobody can write anything.
    pub(super) async fn open_twin(&self) -> Sqlite {
        Sqlite::open(&format!("{}?mode=ro", self.twin.url), None).await.expect("it is there")
    }

    /// Runs a statement on both, on their second connections if `second`.
    async fn statement(&mut self, sql: &str, second: bool) -> Result<(), Disturbed> {
        let Self { live, twin, .. } = self;
        let (live, twin) = match second {
            true => (&mut live.second, &mut twin.second),
            false => (&mut live.first, &mut twin.first),
        };
        same(sql, &run(live, sql).await, &run(twin, sql).await)
    }

    /// Runs a transaction on both.
    pub(super) async fn transaction(&mut self, edit: &Transaction) -> Result<(), Disturbed> {
        self.meanwhile(edit, None, async {}).await
    }

    /// Runs a transaction on both; on the live one while something else goes on, where that pauses.
    pub(super) async fn meanwhile(
        &mut self,
        edit: &Transaction,
        pause: Option<&Pause>,
        other: impl Future<Output = ()>,
    ) -> Result<(), Disturbed> {
        let Self { live, twin, .. } = self;
        let edited = async {
            if let Some(pause) = pause {
                pause.taken.notified().await;
            }
            let effects = transaction(&mut live.first, edit).await;
            if let Some(pause) = pause {
                pause.edited.notify_one();
            }
            effects
        };
        let (live, ()) = tokio::join!(edited, other);
        let twin = transaction(&mut twin.first, edit).await;
        live.into_iter().zip(twin).try_for_each(|((sql, live), (_, twin))| same(&sql, &live, &twin))
    }

    /// Two connections take turns. Whoever comes second to write is refused, as SQLite has it.
    pub(super) async fn both(&mut self, one: &Transaction, other: &Transaction) -> Result<(), Disturbed> {
        // Nobody lets go of a lock while the other waits for it.
        for second in [false, true] {
            self.statement("PRAGMA busy_timeout = 0", second).await?;
            self.statement("BEGIN", second).await?;
        }
        for number in 0..one.statements.len().max(other.statements.len()) {
            for (edit, second) in [(one, false), (other, true)] {
                if let Some(statement) = edit.statements.get(number) {
                    self.statement(&statement.sql(), second).await?;
                }
            }
        }
        for (edit, second) in [(one, false), (other, true)] {
            for end in edit.end() {
                self.statement(end, second).await?;
            }
            self.statement("PRAGMA busy_timeout = 5000", second).await?;
        }
        Ok(())
    }

    /// Runs a statement by itself on both.
    pub(super) async fn mend(&mut self, statement: &Statement) -> Result<(), Disturbed> {
        self.statement(&statement.sql(), false).await
    }

    /// Runs DDL on both. What the live database refuses because of its triggers is not done at all: that
    /// much a trigger may do.
    pub(super) async fn alter(&mut self, script: &[String]) -> Result<(), Disturbed> {
        for sql in script {
            let live = run(&mut self.live.first, sql).await;
            if live.as_ref().is_err_and(|error| error.contains("edgepress")) {
                continue;
            }
            same(sql, &live, &run(&mut self.twin.first, sql).await)?;
        }
        // A script whose COMMIT fails.
        self.statement("ROLLBACK", false).await
    }

    /// Drops the `number`th trigger that captures edits, if there are any.
    pub(super) async fn lose_trigger(&mut self, number: u64) {
        let triggers =
            "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND name LIKE 'edgepress%' ORDER BY name";
        let names = sqlx::query(triggers).fetch_all(&mut self.live.first).await.expect("it can be read");
        if !names.is_empty() {
            let name: String = names[number as usize % names.len()].get(0);
            let dropped = run(&mut self.live.first, &format!("DROP TRIGGER \"{name}\"")).await;
            dropped.expect("triggers can be dropped");
        }
    }

    /// Whether both hold the same rows.
    pub(super) async fn compare(&mut self) -> Result<(), Disturbed> {
        let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 't%' ORDER BY name";
        for table in sqlx::query(tables).fetch_all(&mut self.twin.first).await.expect("it can be read") {
            let table: String = table.get(0);
            let columns = format!(
                "SELECT 'SELECT ' || group_concat(printf('quote(\"%w\")', name), ' || '','' || ') || ' FROM \"{table}\" ORDER BY 1' \
                 FROM pragma_table_xinfo('{table}')"
            );
            let columns = sqlx::query(AssertSqlSafe(columns)).fetch_one(&mut self.twin.first).await;
            let select: String = columns.expect("it can be read").get(0);
            let mut both = Vec::new();
            for connection in [&mut self.live.first, &mut self.twin.first] {
                let rows =
                    sqlx::query(AssertSqlSafe(select.clone())).persistent(false).fetch_all(connection).await;
                let rows = rows.map_err(|error| Disturbed(format!("{table}: {error}")))?;
                both.push(rows.iter().map(|row| row.get(0)).collect::<Vec<Option<String>>>());
            }
            if both[0] != both[1] {
                return Err(Disturbed(format!("{table} holds {:?} instead of {:?}", both[0], both[1])));
            }
        }
        Ok(())
    }
}

fn same(sql: &str, live: &Effect, twin: &Effect) -> Result<(), Disturbed> {
    match (live, twin) {
        (Ok(live), Ok(twin)) if live == twin => Ok(()),
        (Err(_), Err(_)) => Ok(()),
        _ => Err(Disturbed(format!("{sql}: {live:?} instead of {twin:?}"))),
    }
}
