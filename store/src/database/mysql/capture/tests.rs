mod edits;
mod schema;
mod upkeep;

use std::collections::BTreeSet;

use edgepress_site::row::Value;

use super::*;
use crate::database::Database as _;
use crate::database::capture::{Changes, Keys, Table};
use crate::database::conformance::{self, Writer as _};
use crate::database::mysql::tests::{Other, alone, database};

const ME: &str = "shop";

/// A database whose owner edits it.
struct Owned {
    url: String,
    database: Mysql,
    owner: Other,
}

impl Owned {
    /// With these columns captured.
    async fn captured(schema: &str, wanted: &[(&str, &[&str])]) -> Self {
        let (url, database, owner) = database(schema).await;
        let owned = Self { url, database, owner };
        owned.install(wanted).await;
        owned
    }

    fn table(&self, name: &str) -> Table {
        Table { schema: self.database.opened.schema.clone(), name: name.to_owned() }
    }

    fn reads(&self, wanted: &[(&str, &[&str])]) -> Reads {
        wanted.iter().map(|(name, columns)| (self.table(name), names(columns))).collect()
    }

    async fn install(&self, wanted: &[(&str, &[&str])]) -> Installed {
        self.database.install(ME, &self.reads(wanted)).await.unwrap()
    }

    async fn run(&self, script: &str) {
        self.owner.execute(script).await;
    }

    async fn another(&self) -> Other {
        Other::open(&self.url).await
    }

    async fn seen(&self) -> Seen {
        self.database.snapshot().await.unwrap().seen().await.unwrap().expect("capture is installed")
    }

    /// What [`ME`] published last is what there is now.
    async fn publish(&self, number: u64) -> Seen {
        let seen = self.seen().await;
        let intent = Intent { number, seen: seen.clone(), state: String::new() };
        self.database.consume(ME, &intent).await.unwrap();
        seen
    }

    async fn changes(&self, seen: &Seen) -> Changes {
        self.database.snapshot().await.unwrap().changes(seen).await.unwrap()
    }

    /// Whether exactly these tables count as wholly changed.
    async fn whole(&self, seen: &Seen) -> Vec<String> {
        let changes = self.changes(seen).await;
        assert_eq!(changes.everything, None);
        changes.whole.into_iter().map(|table| table.name).collect()
    }

    /// The images of one table since `seen`, sorted; nothing else may have changed.
    async fn images(&self, seen: &Seen, name: &str, columns: &[&str]) -> Vec<Vec<Value>> {
        let mut snapshot = self.database.snapshot().await.unwrap();
        let changes = snapshot.changes(seen).await.unwrap();
        assert!(changes.everything.is_none() && changes.whole.is_empty(), "{changes:?}");
        let Some(images) = changes.tables.get(&self.table(name)) else { return Vec::new() };
        let Keys::All(mut keys) = snapshot.keys(&images.source(&names(columns)), 10_000).await.unwrap()
        else {
            panic!("there are not so many")
        };
        keys.sort_by_key(|key| format!("{key:?}"));
        keys
    }

    async fn is_behind(&self) -> bool {
        self.database.is_behind(ME).await.unwrap()
    }
}

fn names(columns: &[&str]) -> BTreeSet<String> {
    columns.iter().map(|&column| column.to_owned()).collect()
}

fn ints(numbers: &[i64]) -> Vec<Vec<Value>> {
    numbers.iter().map(|number| vec![Value::Int(*number)]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_captures_edits() {
    let (_server, _url, database, other) = alone("").await;
    conformance::capture::all(&database, &other).await;
}
