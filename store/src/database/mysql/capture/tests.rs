use crate::database::conformance;
use crate::database::mysql::tests::database;

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_captures_edits() {
    let (_url, database, other) = database("").await;
    conformance::capture::all(&database, &other).await;
}
