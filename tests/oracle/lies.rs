//! A database that tells its publisher less than it knows: what a mistake in capturing edits, or in asking
//! which documents they touch, would come to. Stands around a real one.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use edgepress_publisher::Source;
use edgepress_site::row::{Columns, Row, Value};
use edgepress_store::database::capture::{
    Capture, Catalog, Changes, Consumer, Images, Installed, Intent, Keys, Reads, Reference, Seen, Status,
    Table,
};
use edgepress_store::database::{Database, DatabaseError, IncludeQuery, Order, Rows, Snapshot};
use tokio::sync::Notify;

/// More rows than any case has.
const ALL: usize = 1_000_000;

/// What is kept from the publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lie {
    /// Nothing.
    Nothing,
    /// What rows were before.
    OldImages,
    /// What they have become.
    NewImages,
    /// Which columns changed: only rows that came or went count.
    Masks,
    /// All changed rows of a table but one.
    Images,
    /// That any row of a table may have changed.
    Marks,
    /// That more than one table changed.
    Tables,
    /// That joins keep rows without a partner.
    OuterJoins,
    /// One of several touched keys.
    Key,
    /// Keys of which there is no row any more.
    Removals,
    /// Keys that differ from another in case alone.
    Case,
    /// What is edited between the snapshot and its release: it counts as seen.
    Meanwhile,
}

/// A publish that has taken its snapshot and waits for an edit.
#[derive(Default)]
pub(super) struct Pause {
    /// The snapshot is taken.
    pub(super) taken: Notify,
    /// The edit is done.
    pub(super) edited: Notify,
}

/// The snapshot of a publish that rows are read from: the first one is for capturing edits.
const SNAPSHOT: usize = 2;

/// A database, and what it keeps to itself.
pub(super) struct Lying {
    inner: Arc<dyn Database>,
    lie: Option<Lie>,
    /// What the publish waits for after so many more snapshots.
    pause: Mutex<Option<(usize, Arc<Pause>)>>,
    /// The queries of the site's collections.
    queries: Mutex<Vec<String>>,
}

impl Lying {
    pub(super) fn new(inner: Arc<dyn Database>, lie: Option<Lie>) -> Self {
        Self { inner, lie, pause: Mutex::default(), queries: Mutex::default() }
    }

    /// Lets the next publish wait after its snapshot.
    pub(super) fn pause(&self) -> Arc<Pause> {
        let pause = Arc::new(Pause::default());
        *self.pause.lock().unwrap_or_else(PoisonError::into_inner) = Some((SNAPSHOT, pause.clone()));
        pause
    }

    /// Notes a snapshot; what to wait for before anything is read from it.
    fn paused(&self) -> Option<Arc<Pause>> {
        let mut pause = self.pause.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, _) = pause.as_mut()?;
        *left -= 1;
        if *left > 0 {
            return None;
        }
        pause.take().map(|(_, pause)| pause)
    }

    /// Tells it which site is published next.
    pub(super) fn publishes(&self, source: &Source) {
        let queries = source.site.definition.collections.iter().filter_map(|own| own.query.clone());
        *self.queries.lock().unwrap_or_else(PoisonError::into_inner) = queries.collect();
    }

    /// What captures edits.
    fn captures(&self) -> &dyn Capture {
        self.inner.capture().expect("only those that do are lied about")
    }

    /// An intent that counts everything as seen that there is now.
    async fn later(&self, intent: &Intent) -> Result<Intent, DatabaseError> {
        let seen = self.inner.snapshot().await?.seen().await?;
        Ok(Intent { seen: seen.unwrap_or_else(|| intent.seen.clone()), ..intent.clone() })
    }
}

#[async_trait]
impl Database for Lying {
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, DatabaseError> {
        let inner = self.inner.snapshot().await?;
        if let Some(pause) = self.paused() {
            pause.taken.notify_one();
            pause.edited.notified().await;
        }
        let lie = self.lie.unwrap_or(Lie::Nothing);
        let queries = self.queries.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_first = self.pause.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        Ok(Box::new(LyingSnapshot { inner, lie, queries, is_first }))
    }

    async fn columns(&self, query: &str) -> Result<Columns, DatabaseError> {
        self.inner.columns(query).await
    }

    async fn data_version(&self) -> Result<i64, DatabaseError> {
        self.inner.data_version().await
    }

    fn capture(&self) -> Option<&dyn Capture> {
        match self.lie {
            Some(Lie::Meanwhile) if self.inner.capture().is_some() => Some(self),
            _ => self.inner.capture(),
        }
    }
}

#[async_trait]
impl Capture for Lying {
    async fn install(&self, consumer: &str, reads: &Reads) -> Result<Installed, DatabaseError> {
        self.captures().install(consumer, reads).await
    }

    async fn statements(&self, consumer: &str, reads: &Reads) -> Result<Vec<String>, DatabaseError> {
        self.captures().statements(consumer, reads).await
    }

    async fn status(&self) -> Result<Status, DatabaseError> {
        self.captures().status().await
    }

    async fn remove(&self) -> Result<bool, DatabaseError> {
        self.captures().remove().await
    }

    async fn is_behind(&self, consumer: &str) -> Result<bool, DatabaseError> {
        self.captures().is_behind(consumer).await
    }

    async fn consumer(&self, consumer: &str) -> Result<Option<Consumer>, DatabaseError> {
        self.captures().consumer(consumer).await
    }

    async fn intend(&self, consumer: &str, intent: &Intent) -> Result<(), DatabaseError> {
        self.captures().intend(consumer, &self.later(intent).await?).await
    }

    async fn consume(&self, consumer: &str, intent: &Intent) -> Result<(), DatabaseError> {
        self.captures().consume(consumer, &self.later(intent).await?).await
    }

    async fn prune(&self, most: u64) -> Result<(), DatabaseError> {
        self.captures().prune(most).await
    }
}

/// One moment of it.
struct LyingSnapshot {
    inner: Box<dyn Snapshot>,
    lie: Lie,
    queries: Vec<String>,
    /// Whether another one is to follow in this publish: then it does not say that capture is in place.
    is_first: bool,
}

impl LyingSnapshot {
    /// Keys of which there is a row now.
    async fn present(&mut self, keys: Vec<Vec<Value>>) -> Result<Vec<Vec<Value>>, DatabaseError> {
        let mut rows = Vec::new();
        for query in &self.queries {
            if let Keys::All(all) = self.inner.keys(query, ALL).await? {
                rows.extend(all);
            }
        }
        let is_there = |key: &Vec<Value>| rows.iter().any(|row| key.iter().all(|value| row.contains(value)));
        Ok(keys.into_iter().filter(is_there).collect())
    }

    async fn told(&mut self, mut keys: Vec<Vec<Value>>) -> Result<Vec<Vec<Value>>, DatabaseError> {
        match self.lie {
            Lie::Key if keys.len() > 1 => drop(keys.pop()),
            Lie::Removals => return self.present(keys).await,
            Lie::Case => {
                let folded = |key: &[Value]| {
                    let texts = key.iter().map(|value| value.path_text().unwrap_or_default().to_lowercase());
                    texts.collect::<Vec<String>>()
                };
                let mut told = std::collections::HashSet::new();
                keys.retain(|key| told.insert(folded(key)));
            }
            _ => {}
        }
        Ok(keys)
    }
}

/// Images of a table of which a part is kept back.
fn fewer(images: Images, only: &'static str) -> Images {
    let Images { count, source } = images;
    Images { count, source: Arc::new(move |columns| format!("{}{only}", source(columns))) }
}

#[async_trait]
impl Snapshot for LyingSnapshot {
    fn mixes_types(&self) -> bool {
        self.inner.mixes_types()
    }

    async fn rows<'a>(&'a mut self, query: &'a str, order: Order<'a>) -> Result<Rows<'a>, DatabaseError> {
        self.inner.rows(query, order).await
    }

    async fn included(
        &mut self,
        include: IncludeQuery<'_>,
        parents: &[Vec<Value>],
    ) -> Result<Vec<Vec<Row>>, DatabaseError> {
        self.inner.included(include, parents).await
    }

    async fn catalog(&mut self) -> Result<Arc<Catalog>, DatabaseError> {
        self.inner.catalog().await
    }

    async fn lacks_index(&mut self, include: IncludeQuery<'_>) -> Result<bool, DatabaseError> {
        self.inner.lacks_index(include).await
    }

    async fn references(&mut self) -> Result<Vec<Reference>, DatabaseError> {
        self.inner.references().await
    }

    async fn tables(&mut self, query: &str) -> Result<std::collections::BTreeSet<Table>, DatabaseError> {
        self.inner.tables(query).await
    }

    async fn is_captured(&mut self, consumer: &str, reads: &Reads) -> Result<bool, DatabaseError> {
        Ok(!self.is_first && self.inner.is_captured(consumer, reads).await?)
    }

    async fn changes(&mut self, seen: &Seen) -> Result<Changes, DatabaseError> {
        let mut changes = self.inner.changes(seen).await?;
        let only = match self.lie {
            Lie::OldImages => " AND edgepress_c.edgepress_id % 2 = 1",
            Lie::NewImages => " AND edgepress_c.edgepress_id % 2 = 0",
            Lie::Masks => " AND edgepress_c.edgepress_mask < 0",
            Lie::Images => " LIMIT 2",
            _ => "",
        };
        changes.tables =
            changes.tables.into_iter().map(|(table, images)| (table, fewer(images, only))).collect();
        match self.lie {
            Lie::Marks => changes.whole.clear(),
            Lie::Tables if changes.tables.len() > 1 => drop(changes.tables.pop_first()),
            _ => {}
        }
        Ok(changes)
    }

    async fn seen(&mut self) -> Result<Option<Seen>, DatabaseError> {
        self.inner.seen().await
    }

    async fn keys(&mut self, query: &str, most: usize) -> Result<Keys, DatabaseError> {
        let query = match self.lie {
            Lie::OuterJoins => query.replace("LEFT OUTER JOIN", "JOIN").replace("LEFT JOIN", "JOIN"),
            _ => query.to_owned(),
        };
        match self.inner.keys(&query, most).await? {
            Keys::All(keys) => Ok(Keys::All(self.told(keys).await?)),
            Keys::TooMany => Ok(Keys::TooMany),
        }
    }
}
