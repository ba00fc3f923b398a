//! Connections to a PostgreSQL server, and what its errors say.
//!
//! Owns the URL, whose password is in no message, and the settings that every connection is pinned to, so
//! that a value prints alike whatever the server, the database or the role prefer.

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::postgres::{
    PgConnectOptions, PgConnection, PgDatabaseError, PgErrorPosition, PgPool, PgPoolOptions,
};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

use crate::database::DatabaseError;
use crate::database::text::first_word;
use crate::database::url::{unknown_parameter, wrong_protocol, wrong_tls_mode};

/// Connections held open at most.
const CONNECTIONS: u32 = 8;
/// How long to wait for one, or for the server to answer.
const ACQUIRE: Duration = Duration::from_secs(10);
/// One that served so recently is taken to be alive: asking costs a round trip each time.
const RECENT: Duration = Duration::from_secs(1);
/// The oldest server whose snapshots can be told apart (`pg_current_snapshot`, `xid8`).
const OLDEST: i32 = 130_000;

/// What `sslmode` may be.
const TLS_MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// What a URL may say behind its `?`.
const PARAMETERS: [&str; 18] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

/// Texts of values are the same on every connection. A snapshot is read for as long as it takes, rendering
/// in between; and a cursor is read to its end, so its plan is to be good for all rows.
const SETTINGS: &str = "\
    SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'iso_8601'; \
    SET extra_float_digits = 1; SET bytea_output = 'hex'; SET standard_conforming_strings = on; \
    SET client_encoding = 'UTF8'; SET xmlbinary = 'base64'; SET cursor_tuple_fraction = 1; \
    SET lc_monetary = 'C'; SET lc_time = 'C'; SET lc_numeric = 'C'; SET transform_null_equals = off; \
    SET quote_all_identifiers = off; \
    SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET lock_timeout = '10s'; \
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

/// An open database.
#[derive(Debug)]
pub(super) struct Location {
    pub(super) pool: PgPool,
    /// Whether we may ask which cluster this is.
    pub(super) has_system_identifier: bool,
}

impl Location {
    pub(super) async fn open(url: &str) -> Result<Self, DatabaseError> {
        let name = shown(url);
        let error = |message: String| DatabaseError::Open { database: name.clone(), message };
        if !["postgres:", "postgresql:"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(error("its URL begins with neither postgres: nor postgresql:".to_owned()));
        }
        if let Some(unknown) = unknown_parameter(url, &PARAMETERS) {
            return Err(error(unknown));
        }
        // What is wrong with it may be the password: its text stays out of the message.
        let options = PgConnectOptions::from_str(url).map_err(|_| {
            let invalid = "its URL is not valid: write postgres://USER:PASSWORD@HOST/DATABASE, with special characters of the password percent-encoded";
            error(wrong_tls_mode(url, &TLS_MODES).unwrap_or_else(|| invalid.to_owned()))
        })?;
        let options = options.application_name("edgepress").disable_statement_logging();
        // Alone, because a pool tries again and again where a server refuses, and says nothing of why.
        let connect = tokio::time::timeout(ACQUIRE, options.connect()).await;
        let connect = connect.map_err(|_| error(message(&sqlx::Error::PoolTimedOut)))?;
        let mut connection = connect.map_err(|failure| {
            error(match failure {
                sqlx::Error::Protocol(_) => wrong_protocol("PostgreSQL", ("MariaDB or MySQL", "mysql://")),
                failure => message(&failure),
            })
        })?;
        let facts = "SELECT current_setting('server_version_num')::int, current_setting('server_version'), \
                     has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')";
        let facts = sqlx::query_as(facts).fetch_one(&mut connection).await;
        let (number, version, has_system_identifier): (i32, String, bool) =
            facts.map_err(|failure| error(message(&failure)))?;
        if number < OLDEST {
            return Err(error(format!("it is PostgreSQL {version}: 13 or newer is needed")));
        }
        connection.close().await.map_err(|failure| error(message(&failure)))?;
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(ACQUIRE)
            .test_before_acquire(false)
            .before_acquire(|connection, of| {
                Box::pin(async move { Ok(of.idle_for < RECENT || connection.ping().await.is_ok()) })
            })
            .after_connect(|connection, _| Box::pin(pin_settings(connection)))
            .connect_lazy_with(options);
        Ok(Self { pool, has_system_identifier })
    }
}

async fn pin_settings(connection: &mut PgConnection) -> sqlx::Result<()> {
    connection.execute(sqlx::raw_sql(SETTINGS)).await?;
    Ok(())
}

/// The URL without user, password and parameters.
fn shown(url: &str) -> String {
    let (scheme, rest) =
        url.split_once("://").unwrap_or_else(|| url.split_once(':').unwrap_or(("postgres", url)));
    let (user, place) = rest.rsplit_once('@').map_or(("", rest), |(_, place)| ("***@", place));
    let place = place.split(['?', '#']).next().unwrap_or_default();
    format!("{scheme}://{user}{place}")
}

/// The database's own code of an error, `42P01` for example.
pub(super) fn code(error: &sqlx::Error) -> Option<String> {
    let sqlx::Error::Database(error) = error else { return None };
    error.code().map(std::borrow::Cow::into_owned)
}

/// Whether a lock was not to be had in time, or deadlocked with others.
pub(super) fn is_lock_missed(error: &sqlx::Error) -> bool {
    matches!(code(error).as_deref(), Some("55P03" | "40P01"))
}

/// The database's own message where there is one, with its hint.
pub(super) fn message(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => {
            let hint = error.try_downcast_ref::<PgDatabaseError>().and_then(PgDatabaseError::hint);
            let hint = hint.map_or_else(String::new, |hint| format!(": {}", hint.trim_end_matches('.')));
            format!("{}{hint}", error.message())
        }
        sqlx::Error::PoolTimedOut => format!(
            "no connection was to be had within {} seconds: either the server does not answer, or all \
             {CONNECTIONS} connections are busy with queries that run very long",
            ACQUIRE.as_secs()
        ),
        error => error.to_string(),
    }
}

/// Whether a statement is to blame for an error, or the rows it reads: by the class of its SQLSTATE
/// (PostgreSQL manual, appendix A), connections, transactions, resources, locks, operators and the server's own faults
/// are not.
pub(super) fn is_refused(error: &sqlx::Error) -> bool {
    match error {
        // A transaction that may only read.
        sqlx::Error::Database(_) if code(error).as_deref() == Some("25006") => true,
        sqlx::Error::Database(_) => code(error).is_some_and(|code| {
            let classes = ["08", "25", "40", "53", "55", "57", "58", "F0", "XX"];
            !classes.iter().any(|class| code.starts_with(class))
        }),
        error => matches!(error, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_)),
    }
}

/// The database's message, and where in `query` the fault lies, if it was sent behind `before`.
pub(super) fn located(error: &sqlx::Error, before: &str, query: &str) -> String {
    let position = || {
        let sqlx::Error::Database(error) = error else { return None };
        let error = error.try_downcast_ref::<PgDatabaseError>()?;
        let Some(PgErrorPosition::Original(position)) = error.position() else { return None };
        // Counted in characters, from one.
        let index = position.checked_sub(1 + before.chars().count())?;
        let (at, _) = query.char_indices().nth(index)?;
        let line = 1 + query[..at].matches('\n').count();
        Some(format!(" (at line {line}, near `{}`)", first_word(&query[at..])?))
    };
    message(error) + &position().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_secrets() {
        for (url, expected) in [
            (
                "postgres://me:secret@db.example:5433/shop?sslmode=require",
                "postgres://***@db.example:5433/shop",
            ),
            ("postgresql://me:se/c?r#et@host/shop", "postgresql://***@host/shop"),
            ("postgres://me:a@b@host/shop", "postgres://***@host/shop"),
            ("postgres:///shop?host=/run&password=secret", "postgres:///shop"),
            ("postgres:secret@host", "postgres://***@host"),
        ] {
            assert_eq!(shown(url), expected, "{url}");
        }
    }
}
