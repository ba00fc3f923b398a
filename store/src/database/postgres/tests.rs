use async_trait::async_trait;
use sqlx::Connection as _;
use tokio::sync::Mutex;

use super::*;
use crate::database::conformance::{self, Writer};
use crate::database::servers;

/// Somebody else, on a connection of their own.
pub(super) struct Other(Mutex<PgConnection>);

#[async_trait]
impl Writer for Other {
    async fn execute(&self, script: &str) {
        self.0.lock().await.execute(sqlx::raw_sql(AssertSqlSafe(script))).await.unwrap();
    }
}

impl Other {
    pub(super) async fn open(url: &str) -> Self {
        Self(Mutex::new(PgConnection::connect(url).await.unwrap()))
    }

    /// Runs statements that may fail.
    pub(super) async fn attempt(&self, script: &str) -> sqlx::Result<()> {
        self.0.lock().await.execute(sqlx::raw_sql(AssertSqlSafe(script))).await.map(drop)
    }
}

/// A new database made by `schema`.
pub(super) async fn database(schema: &str) -> (String, Postgres, Other) {
    let url = servers::postgres().await.database().await;
    let other = Other::open(&url).await;
    other.execute(schema).await;
    (url.clone(), Postgres::open(&url).await.unwrap(), other)
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_is_a_database() {
    let (_, database, other) = database("").await;
    conformance::all(&database, &other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_captures_edits() {
    let (_, database, other) = database("").await;
    conformance::capture::all(&database, &other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn debug_it() {
    let (_, database, other) = database("CREATE TABLE unseen (id INTEGER PRIMARY KEY)").await;
    let catalog = database.snapshot().await.unwrap().catalog().await.unwrap();
    let reads = [(catalog.find(None, "unseen").unwrap().clone(), ["id".to_owned()].into())].into();
    eprintln!("{:?}", database.statements("me", &reads).await.unwrap());
    eprintln!("{:?}", database.install("me", &reads).await);
    other.execute("CREATE TABLE imaged (id INTEGER PRIMARY KEY); INSERT INTO imaged VALUES (1)").await;
    let catalog = database.snapshot().await.unwrap().catalog().await.unwrap();
    eprintln!("{catalog:?}");
}
