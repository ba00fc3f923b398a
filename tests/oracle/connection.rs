//! A connection that edits a database, whatever its kind.
//! Refuses to know which databases are alike.

use edgepress_store::database::capture::Dialect;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, MySqlConnection, PgConnection, Row as _,
    SqliteConnection,
};

/// What a statement did: rows changed, or nothing if it failed.
pub(super) type Effect = Result<u64, String>;

/// A connection.
pub(super) enum Connection {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
    Mysql(MySqlConnection),
}

/// How long a connection waits for others.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// Until they are done.
    Long,
    /// Not at all: whoever it would wait for waits for it.
    None,
}

impl Connection {
    pub(super) async fn open(url: &str, dialect: Dialect) -> Self {
        let mut connection = match dialect {
            Dialect::Sqlite => {
                let path = url.trim_start_matches("sqlite:");
                let options =
                    sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
                let options = options.foreign_keys(false).disable_statement_logging();
                return Self::Sqlite(options.connect().await.expect("the file can be opened"));
            }
            Dialect::Postgres => {
                Self::Postgres(PgConnection::connect(url).await.expect("the server takes connections"))
            }
            Dialect::Mysql => {
                Self::Mysql(MySqlConnection::connect(url).await.expect("the server takes connections"))
            }
        };
        connection.wait(Patience::Long).await;
        connection
    }

    /// Says for how long its statements wait for others.
    pub(super) async fn wait(&mut self, patience: Patience) {
        let is_long = patience == Patience::Long;
        let sql = match self {
            Self::Sqlite(_) => format!("PRAGMA busy_timeout = {}", if is_long { 5000 } else { 0 }),
            Self::Postgres(_) => format!("SET lock_timeout = {}", if is_long { 5000 } else { 20 }),
            Self::Mysql(_) => {
                let seconds = if is_long { 5 } else { 0 };
                format!("SET innodb_lock_wait_timeout = {seconds}, lock_wait_timeout = {seconds}")
            }
        };
        self.run(&sql).await.expect("it can be said");
    }

    pub(super) async fn run(&mut self, sql: &str) -> Effect {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql));
        let done = match self {
            Self::Sqlite(connection) => sql.execute(connection).await.map(|done| done.rows_affected()),
            Self::Postgres(connection) => sql.execute(connection).await.map(|done| done.rows_affected()),
            Self::Mysql(connection) => sql.execute(connection).await.map(|done| done.rows_affected()),
        };
        done.map_err(|error| error.to_string())
    }

    /// Runs a statement within a transaction, which goes on if it fails.
    pub(super) async fn within(&mut self, sql: &str) -> Effect {
        let is_own = ["SAVEPOINT", "ROLLBACK", "RELEASE"].iter().any(|word| sql.starts_with(word));
        if !matches!(self, Self::Postgres(_)) || is_own {
            return self.run(sql).await;
        }
        let done = self.run(&format!("SAVEPOINT oracle; {sql}; RELEASE oracle")).await;
        if done.is_err() {
            // It fails where there is no transaction any more.
            let _ = self.run("ROLLBACK TO oracle; RELEASE oracle").await;
        }
        done
    }

    /// The first column of a query's rows: texts.
    pub(super) async fn texts(&mut self, sql: &str) -> sqlx::Result<Vec<Option<String>>> {
        let query = sqlx::raw_sql(AssertSqlSafe(sql));
        match self {
            Self::Sqlite(connection) => {
                let rows = query.fetch_all(connection).await?;
                rows.iter().map(|row| row.try_get(0)).collect()
            }
            Self::Postgres(connection) => {
                let rows = query.fetch_all(connection).await?;
                rows.iter().map(|row| row.try_get(0)).collect()
            }
            Self::Mysql(connection) => {
                let rows = query.fetch_all(connection).await?;
                rows.iter().map(|row| row.try_get(0)).collect()
            }
        }
    }
}
