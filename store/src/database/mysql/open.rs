//! Connecting: the URL, and what is the same on every connection.
//!
//! Owns the session's settings. Refuses to print a password.

use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlDatabaseError, MySqlPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, MySqlPool};

use crate::database::DatabaseError;
use crate::database::text::first_word;
use crate::database::url::{is_postgres, unknown_parameter, wrong_protocol, wrong_tls_mode};

/// What a URL may say behind its `?`.
const PARAMETERS: [&str; 14] = [
    "charset",
    "collation",
    "socket",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "sslca",
    "sslcert",
    "sslkey",
    "sslmode",
    "statement-cache-capacity",
    "time-zone",
    "timezone",
];

/// Connections at most,
const CONNECTIONS: u32 = 8;
/// and how long one is waited for.
const ACQUIRE: Duration = Duration::from_secs(10);
/// A server that has said nothing for so long is looked at closer.
const PROMPT: Duration = Duration::from_secs(1);
/// One that served so recently is taken to be alive: asking costs a round trip each time.
const RECENT: Duration = Duration::from_secs(1);

/// What `ssl-mode` may be.
const TLS_MODES: [&str; 5] = ["DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY"];

/// Prepared statements kept for each connection.
const STATEMENTS: usize = 512;

/// Errors for which no statement is to blame: of memory, disk, limits of connections, a server that shuts
/// down, networks, locks, and whatever was killed or took too long.
const OTHERS: [u16; 18] = [
    1021, 1037, 1038, 1040, 1041, 1053, 1078, 1079, 1158, 1159, 1160, 1161, 1205, 1213, 1317, 1927, 1969,
    3024,
];

/// Whatever the server or the user set: rows read the same on every connection. No ANSI_QUOTES and no
/// PIPES_AS_CONCAT: the site's queries are written for the default. `/*M! */` is read by MariaDB only,
/// `/*!80000 */` by MySQL only.
const SETTINGS: [&str; 3] = [
    "SET SESSION sql_mode = 'STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00', autocommit = 1, group_concat_max_len = 1073741824, \
     sql_select_limit = 18446744073709551615, sql_big_selects = 1, sql_safe_updates = 0, lock_wait_timeout = 60, \
     lc_time_names = 'en_US', div_precision_increment = 4 \
     /*M!100101 , max_statement_time = 0 */ \
     /*!80000 , max_execution_time = 0, information_schema_stats_expiry = 0 */",
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "SET NAMES utf8mb4",
];

/// A database of a server.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) pool: MySqlPool,
    /// The database's name.
    pub(super) schema: String,
}

/// Opens the database that `url` names.
pub(super) async fn open(url: &str) -> Result<Opened, DatabaseError> {
    let database = shown(url);
    let failed = |message: String| DatabaseError::Open { database: database.clone(), message };
    if let Some(unknown) = unknown_parameter(url, &PARAMETERS) {
        return Err(failed(unknown));
    }
    // What is wrong with it may be the password: its text stays out of the message.
    let options: MySqlConnectOptions = url.parse().map_err(|_: sqlx::Error| {
        let invalid = "its URL is not valid: write mysql://USER:PASSWORD@HOST/DATABASE, with special characters of the password percent-encoded";
        failed(wrong_tls_mode(url, &TLS_MODES).unwrap_or_else(|| invalid.to_owned()))
    })?;
    let Some(named) = options.get_database().filter(|name| !name.is_empty()).map(ToOwned::to_owned) else {
        return Err(failed(
            "its URL names no database: write mysql://USER:PASSWORD@HOST/DATABASE".to_owned(),
        ));
    };
    // Prepared statements are kept: closing one costs the next a delayed acknowledgement, about 40 ms.
    let options = options
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .statement_cache_capacity(STATEMENTS)
        .disable_statement_logging();
    let mut connection = connect(&options).await.map_err(failed)?;
    let schema = sqlx::query_scalar("SELECT CAST(DATABASE() AS CHAR)").fetch_one(&mut connection).await;
    let schema = schema.unwrap_or(named);
    let closed = connection.close().await;
    closed.map_err(|error| failed(message(&error)))?;
    let pool = MySqlPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(ACQUIRE)
        .test_before_acquire(false)
        .before_acquire(|connection, of| {
            Box::pin(async move { Ok(of.idle_for < RECENT || connection.ping().await.is_ok()) })
        })
        .after_connect(|connection, _| Box::pin(set_up(connection)))
        .connect_lazy_with(options);
    Ok(Opened { pool, schema })
}

/// Connects alone, because a pool tries again and again where a server refuses, and says nothing of why.
async fn connect(options: &MySqlConnectOptions) -> Result<MySqlConnection, String> {
    let connecting = async {
        let mut connection = options.connect().await?;
        set_up(&mut connection).await?;
        Ok(connection)
    };
    let mut connecting = std::pin::pin!(tokio::time::timeout(ACQUIRE, connecting));
    let connected = match tokio::time::timeout(PROMPT, connecting.as_mut()).await {
        Ok(connected) => connected,
        // It waits for us to speak, as we do for it.
        Err(_)
            if options.get_socket().is_none()
                && is_postgres(options.get_host(), options.get_port()).await =>
        {
            return Err(wrong_protocol("MariaDB or MySQL", ("PostgreSQL", "postgres://")));
        }
        Err(_) => connecting.await,
    };
    connected.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(|error| match error {
        sqlx::Error::Protocol(_) => wrong_protocol("MariaDB or MySQL", ("PostgreSQL", "postgres://")),
        error => format!("{}: is the server up, and the URL right?", message(&error)),
    })
}

async fn set_up(connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
    for setting in SETTINGS {
        connection.execute(setting).await?;
    }
    Ok(())
}

/// The URL without who connects and how: a password may hold any character, so all up to the last `@` is
/// left out.
pub(super) fn shown(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("mysql", url));
    let (user, rest) = match rest.rsplit_once('@') {
        Some((_, rest)) => ("***@", rest),
        None => ("", rest),
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    format!("{scheme}://{user}{rest}")
}

/// Whether a statement is to blame for an error, or the rows it reads; not connections that end, locks, or a
/// server that has too little of something.
pub(super) fn is_refused(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => {
            let number = error.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number);
            number.is_some_and(|number| !OTHERS.contains(&number))
        }
        error => matches!(error, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_)),
    }
}

/// What went wrong, in the database's own words if it said something.
pub(super) fn message(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => match Syntax::of(error.message()) {
            Some(Syntax { said, near, .. }) => format!("{said} {near}"),
            None => error.message().to_owned(),
        },
        sqlx::Error::PoolTimedOut => format!("no connection was free within {} s", ACQUIRE.as_secs()),
        error => error.to_string(),
    }
}

/// As [`message`]; what is wrong in the syntax of a query that the statement began with on its first line is
/// placed in it.
pub(super) fn located(error: &sqlx::Error) -> String {
    let syntax = error.as_database_error().and_then(|error| Syntax::of(error.message()));
    match syntax {
        Some(Syntax { said, near, line: Some(line) }) => format!("{said} (at line {line}, {near})"),
        _ => message(error),
    }
}

/// What the server says of wrong syntax. It quotes all that follows, and so what stands around the query.
struct Syntax<'m> {
    said: &'m str,
    near: String,
    /// Nothing behind the query.
    line: Option<u32>,
}

impl<'m> Syntax<'m> {
    fn of(message: &'m str) -> Option<Self> {
        let (said, rest) = message.split_once(" near '")?;
        let (rest, line) = rest.rsplit_once("' at line ")?;
        let is_behind =
            rest.starts_with(") edgepress_") || rest.starts_with(", ") && rest.contains("edgepress_");
        let word = first_word(rest).filter(|_| !is_behind);
        let line = line.parse().ok().filter(|_| word.is_some());
        let near = word.map_or_else(|| "at its end".to_owned(), |word| format!("near `{word}`"));
        Some(Self { said, near, line })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_password() {
        for (url, expected) in [
            ("mysql://root:secret@host:3306/shop?ssl-mode=REQUIRED", "mysql://***@host:3306/shop"),
            ("mariadb://root:se/cr?e@t@host/shop", "mariadb://***@host/shop"),
            ("mysql://host/shop", "mysql://host/shop"),
        ] {
            assert_eq!(shown(url), expected);
        }
    }
}
