pub(super) mod names;
use super::*;
use crate::database::capture::*;
#[derive(Debug, Default)]
pub(super) struct Found;
pub(super) async fn changes(
    _c: &mut MySqlConnection,
    _s: &catalog::Schema,
    _seen: &Seen,
) -> Result<Changes, sqlx::Error> {
    unimplemented!()
}
pub(super) async fn seen(
    _c: &mut MySqlConnection,
    _s: &catalog::Schema,
) -> Result<Option<Seen>, sqlx::Error> {
    Ok(None)
}
#[async_trait]
impl Capture for Mysql {
    async fn install(&self, _: &str, _: &Reads) -> Result<Installed, DatabaseError> {
        unimplemented!()
    }
    async fn statements(&self, _: &str, _: &Reads) -> Result<Vec<String>, DatabaseError> {
        unimplemented!()
    }
    async fn status(&self) -> Result<Status, DatabaseError> {
        unimplemented!()
    }
    async fn remove(&self) -> Result<bool, DatabaseError> {
        unimplemented!()
    }
    async fn is_behind(&self, _: &str) -> Result<bool, DatabaseError> {
        unimplemented!()
    }
    async fn consumer(&self, _: &str) -> Result<Option<Consumer>, DatabaseError> {
        unimplemented!()
    }
    async fn intend(&self, _: &str, _: &Intent) -> Result<(), DatabaseError> {
        unimplemented!()
    }
    async fn consume(&self, _: &str, _: &Intent) -> Result<(), DatabaseError> {
        unimplemented!()
    }
    async fn prune(&self, _: u64) -> Result<(), DatabaseError> {
        unimplemented!()
    }
}
