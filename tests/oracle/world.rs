//! Two databases that take the same edits: one whose publisher may capture and publish incrementally,
//! and its twin, which only ever is published in full into an empty bucket.
//! Refuses to judge the releases.

use std::path::Path;
use std::sync::Arc;

use edgepress_store::database::capture::Dialect;
use edgepress_store::database::{Database, Mysql, Postgres, Sqlite, servers};

use super::case::{Case, Statement, Transaction};
use super::connection::{Connection, Effect, Patience};
use super::lies::Pause;
use crate::support::memory_folder;

/// One of the two, with the connections that edit it.
struct Side {
    url: String,
    dialect: Dialect,
    /// The database on its server, by the URL it was made with.
    made: String,
    first: Connection,
    second: Connection,
}

/// The two databases.
pub(super) struct Databases {
    _folder: Option<tempfile::TempDir>,
    dialect: Dialect,
    live: Side,
    twin: Side,
}

/// One statement had two effects: capturing changed what it does.
#[derive(Debug)]
pub(super) struct Disturbed(pub(super) String);

impl Side {
    async fn new(dialect: Dialect, folder: Option<&Path>, name: &str) -> Self {
        let made = match (dialect, folder) {
            (Dialect::Postgres, _) => servers::postgres().await.database().await,
            (Dialect::Mysql, _) => servers::mariadb().await.database().await,
            (Dialect::Sqlite, folder) => {
                format!("sqlite:{}", folder.expect("files lie in one").join(name).display())
            }
        };
        let url = match dialect {
            Dialect::Mysql => socket(&made).await,
            Dialect::Sqlite | Dialect::Postgres => made.clone(),
        };
        let first = Connection::open(&url, dialect).await;
        let second = Connection::open(&url, dialect).await;
        Self { url, dialect, made, first, second }
    }

    /// Makes room on the server.
    async fn drop(self) {
        let (base, name) = self.made.rsplit_once('/').expect("databases have names");
        let (other, how) = match self.dialect {
            Dialect::Postgres => ("postgres", " WITH (FORCE)"),
            Dialect::Mysql => ("mysql", ""),
            Dialect::Sqlite => return,
        };
        let (url, sql) = (format!("{base}/{other}"), format!("DROP DATABASE {name}{how}"));
        servers::execute(&url, &sql).await.expect("databases can be dropped");
    }
}

/// The URL of a database by its server's socket. Over TCP the driver waits 40 ms whenever it closed a
/// statement before.
async fn socket(url: &str) -> String {
    let socket = Connection::open(url, Dialect::Mysql).await.texts("SELECT @@socket").await;
    let socket = socket.expect("it has one").into_iter().flatten().next().expect("it has a name");
    format!("{url}?socket={socket}")
}

/// A database as a publisher opens it.
async fn open(dialect: Dialect, url: &str) -> Arc<dyn Database> {
    match dialect {
        Dialect::Sqlite => Arc::new(Sqlite::open(url, None).await.expect("it is there")),
        Dialect::Postgres => Arc::new(Postgres::open(url).await.expect("it is there")),
        Dialect::Mysql => Arc::new(Mysql::open(url).await.expect("it is there")),
    }
}

/// Runs the statements of a transaction, not its end; each with its effect.
async fn begin(connection: &mut Connection, edit: &Transaction) -> Vec<(String, Effect)> {
    let begun = connection.run("BEGIN").await;
    let mut effects = vec![("BEGIN".to_owned(), begun)];
    for sql in edit.statements.iter().map(Statement::sql) {
        // A single one writes as the transaction itself, others as parts of it.
        let effect = match &edit.statements[..] {
            [_] => connection.run(&sql).await,
            _ => connection.within(&sql).await,
        };
        effects.push((sql, effect));
    }
    effects
}

/// Runs a transaction; each statement with its effect.
async fn transaction(connection: &mut Connection, edit: &Transaction) -> Vec<(String, Effect)> {
    let mut effects = begin(connection, edit).await;
    for end in edit.end() {
        effects.push(((*end).to_owned(), connection.run(end).await));
    }
    effects
}

impl Databases {
    /// Makes both from the schema and the rows of `case`.
    pub(super) async fn new(case: &Case) -> Result<Self, Disturbed> {
        let dialect = case.dialect;
        let folder = (dialect == Dialect::Sqlite).then(memory_folder);
        let path = folder.as_ref().map(tempfile::TempDir::path);
        let live = Side::new(dialect, path, "live.db").await;
        let twin = Side::new(dialect, path, "twin.db").await;
        let mut databases = Self { _folder: folder, dialect, live, twin };
        if dialect == Dialect::Sqlite {
            // Writers do not wait for readers then, on either side.
            databases.statement("PRAGMA journal_mode = WAL", false).await?;
        }
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
    pub(super) async fn open_live(&self) -> Arc<dyn Database> {
        open(self.dialect, &self.live.url).await
    }

    /// Its twin, to which a publisher writes nothing.
    pub(super) async fn open_twin(&self) -> Arc<dyn Database> {
        let mode = if self.dialect == Dialect::Sqlite { "?mode=ro" } else { "" };
        open(self.dialect, &format!("{}{mode}", self.twin.url)).await
    }

    /// Removes both.
    pub(super) async fn drop(self) {
        self.live.drop().await;
        self.twin.drop().await;
    }

    /// The connections that take a statement: of the live database, and of its twin.
    fn connections(&mut self, second: bool) -> (&mut Connection, &mut Connection) {
        let Self { live, twin, .. } = self;
        match second {
            true => (&mut live.second, &mut twin.second),
            false => (&mut live.first, &mut twin.first),
        }
    }

    /// Runs a statement on both, on their second connections if `second`.
    async fn statement(&mut self, sql: &str, second: bool) -> Result<(), Disturbed> {
        let (live, twin) = self.connections(second);
        same(sql, &live.run(sql).await, &twin.run(sql).await)
    }

    /// As [`Databases::statement`], within a transaction that goes on whatever comes of it.
    async fn within(&mut self, sql: &str, second: bool) -> Result<(), Disturbed> {
        let (live, twin) = self.connections(second);
        same(sql, &live.within(sql).await, &twin.within(sql).await)
    }

    /// Says on both sides for how long statements wait for others.
    async fn wait(&mut self, patience: Patience) {
        let Self { live, twin, .. } = self;
        for connection in [&mut live.first, &mut live.second, &mut twin.first, &mut twin.second] {
            connection.wait(patience).await;
        }
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
        alike(live, transaction(&mut twin.first, edit).await)
    }

    /// Begins one transaction and runs another while it is not ended. Whoever would have to wait is
    /// refused.
    pub(super) async fn begin(&mut self, one: &Transaction, other: &Transaction) -> Result<(), Disturbed> {
        self.wait(Patience::None).await;
        let (live, twin) = self.connections(false);
        alike(begin(live, one).await, begin(twin, one).await)?;
        let (live, twin) = self.connections(true);
        alike(transaction(live, other).await, transaction(twin, other).await)
    }

    /// Ends what was begun.
    pub(super) async fn end(&mut self, one: &Transaction) -> Result<(), Disturbed> {
        for end in one.end() {
            self.statement(end, false).await?;
        }
        self.wait(Patience::Long).await;
        Ok(())
    }

    /// Two connections take turns. Whoever comes second to write the same is refused: in SQLite any row.
    pub(super) async fn both(&mut self, one: &Transaction, other: &Transaction) -> Result<(), Disturbed> {
        // Nobody lets go of a lock while the other waits for it.
        self.wait(Patience::None).await;
        for second in [false, true] {
            self.statement("BEGIN", second).await?;
        }
        for number in 0..one.statements.len().max(other.statements.len()) {
            for (edit, second) in [(one, false), (other, true)] {
                if let Some(statement) = edit.statements.get(number) {
                    self.within(&statement.sql(), second).await?;
                }
            }
        }
        for (edit, second) in [(one, false), (other, true)] {
            for end in edit.end() {
                self.statement(end, second).await?;
            }
        }
        self.wait(Patience::Long).await;
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
            let live = self.live.first.run(sql).await;
            if live.as_ref().is_err_and(|error| error.contains("edgepress")) {
                continue;
            }
            same(sql, &live, &self.twin.first.run(sql).await)?;
        }
        // A script whose COMMIT fails.
        self.statement("ROLLBACK", false).await
    }

    /// Drops the `number`th trigger that captures edits, if there are any.
    pub(super) async fn lose_trigger(&mut self, number: u64) {
        let drops = match self.dialect {
            Dialect::Sqlite => {
                "SELECT 'DROP TRIGGER \"' || name || '\"' FROM sqlite_schema \
                 WHERE type = 'trigger' AND name LIKE 'edgepress%' ORDER BY name"
            }
            Dialect::Postgres => {
                "SELECT format('DROP TRIGGER %I ON %s', tgname, tgrelid::regclass) FROM pg_trigger \
                 WHERE NOT tgisinternal AND tgparentid = 0 AND tgname LIKE 'edgepress%' ORDER BY 1"
            }
            Dialect::Mysql => {
                "SELECT concat('DROP TRIGGER `', trigger_name, '`') FROM information_schema.triggers \
                 WHERE trigger_schema = database() AND trigger_name LIKE 'edgepress%' ORDER BY 1"
            }
        };
        let drops = self.live.first.texts(drops).await.expect("it can be read");
        if !drops.is_empty() {
            let drop = drops[number as usize % drops.len()].as_ref().expect("triggers have names");
            self.live.first.run(drop).await.expect("triggers can be dropped");
        }
    }

    /// Whether both hold the same rows.
    pub(super) async fn compare(&mut self) -> Result<(), Disturbed> {
        let selects = self.twin.first.texts(self.dialect.rows()).await.expect("it can be read");
        for select in selects.into_iter().flatten() {
            let mut both = Vec::new();
            for connection in [&mut self.live.first, &mut self.twin.first] {
                let rows = connection.texts(&select).await;
                both.push(rows.map_err(|error| Disturbed(format!("{select}: {error}")))?);
            }
            if both[0] != both[1] {
                return Err(Disturbed(format!("{select} gives {:?} instead of {:?}", both[0], both[1])));
            }
        }
        Ok(())
    }
}

/// The SQL that only this module needs.
trait Rows {
    /// A query of queries: one for each of the owner's tables, that gives its rows as texts in order.
    fn rows(&self) -> &'static str;
}

impl Rows for Dialect {
    fn rows(&self) -> &'static str {
        match self {
            Self::Sqlite => {
                "SELECT 'SELECT ' || (SELECT group_concat(printf('quote(\"%w\")', name), ' || '','' || ') \
                 FROM pragma_table_xinfo(t.name)) || ' FROM \"' || t.name || '\" ORDER BY 1' \
                 FROM sqlite_schema t WHERE type = 'table' AND name LIKE 't%' ORDER BY name"
            }
            Self::Postgres => {
                "SELECT format('SELECT CAST(t.* AS text) COLLATE \"C\" FROM %s t ORDER BY 1', oid::regclass) \
                 FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') \
                 AND lower(relname) LIKE 't%' ORDER BY relname"
            }
            Self::Mysql => {
                "SELECT concat('SELECT concat_ws('','', ', \
                 group_concat('coalesce(hex(`', replace(column_name, '`', '``'), '`), ''NULL'')' \
                 ORDER BY ordinal_position), \
                 ') FROM `', table_name, '` ORDER BY 1') FROM information_schema.columns c \
                 JOIN information_schema.tables t USING (table_schema, table_name) \
                 WHERE table_schema = database() AND table_type = 'BASE TABLE' AND table_name LIKE 't%' \
                 GROUP BY table_name ORDER BY table_name"
            }
        }
    }
}

/// Whether statements did the same on both sides.
fn alike(live: Vec<(String, Effect)>, twin: Vec<(String, Effect)>) -> Result<(), Disturbed> {
    live.into_iter().zip(twin).try_for_each(|((sql, live), (_, twin))| same(&sql, &live, &twin))
}

fn same(sql: &str, live: &Effect, twin: &Effect) -> Result<(), Disturbed> {
    match (live, twin) {
        (Ok(live), Ok(twin)) if live == twin => Ok(()),
        (Err(_), Err(_)) => Ok(()),
        _ => Err(Disturbed(format!("{sql}: {live:?} instead of {twin:?}"))),
    }
}
