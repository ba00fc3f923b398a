//! A publisher that is killed at one of its writes: a bucket and a database that count what is written to
//! them, and stop the world there.
//!
//! Owns the counting and the stop. Refuses to store anything: both stand around real ones.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use edgepress_site::row::Columns;
use edgepress_store::bucket::{Bucket, BucketError, Listed, Lock, Object, Put, Swap, Tag};
use edgepress_store::database::capture::{Capture, Consumer, Installed, Intent, Reads, Status};
use edgepress_store::database::{Database, DatabaseError, Snapshot};
use tokio::sync::Notify;

/// Where the world stops: at a write, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It has no effect.
    Before(usize),
    /// It has taken effect, but nobody is told.
    After(usize),
}

/// What one process writes. From its stop on nothing has an effect, and nobody is answered.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    stop: Option<Stop>,
    begun: Mutex<Vec<String>>,
    stopped: Notify,
}

impl Writes {
    pub(crate) fn new(stop: Option<Stop>) -> Arc<Self> {
        Arc::new(Self { stop, ..Self::default() })
    }

    /// What was written, in order; what stopped among it.
    pub(crate) fn begun(&self) -> Vec<String> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn write<T>(&self, what: String, run: impl Future<Output = T>) -> T {
        let number = {
            let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
            begun.push(what);
            begun.len()
        };
        let (Some(Stop::Before(at) | Stop::After(at)), stop) = (self.stop, self.stop) else {
            return run.await;
        };
        if number < at {
            return run.await;
        }
        // A lock that was taken is held as long as the process lives.
        let _answer = match stop == Some(Stop::After(number)) {
            true => Some(run.await),
            false => None,
        };
        if number == at {
            self.stopped.notify_one();
        }
        std::future::pending().await
    }

    /// Runs `work` as if in a process of its own, which is killed where the world stops; what it came to
    /// unless it was killed.
    pub(crate) fn run<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime can be made");
        let outcome = runtime.block_on(async {
            tokio::select! {
                outcome = work => Some(outcome),
                () = self.stopped.notified() => None,
            }
        });
        runtime.shutdown_background();
        outcome
    }
}

/// A bucket whose writes are counted.
#[derive(Debug)]
pub(crate) struct StoppedBucket {
    pub(crate) inner: Arc<dyn Bucket>,
    pub(crate) writes: Arc<Writes>,
}

#[async_trait]
impl Bucket for StoppedBucket {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn get(&self, key: &str) -> Result<Option<Object>, BucketError> {
        self.inner.get(key).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, BucketError> {
        self.inner.get_range(key, range).await
    }

    async fn put(&self, put: Put) -> Result<(), BucketError> {
        self.writes.write(format!("put {}", put.key), self.inner.put(put)).await
    }

    async fn put_many(&self, puts: Vec<Put>) -> Vec<Result<(), BucketError>> {
        let mut answers = Vec::new();
        for put in puts {
            let what = format!("mirror {}", put.key);
            answers.extend(self.writes.write(what, self.inner.put_many(vec![put])).await);
        }
        answers
    }

    async fn compare_and_set(&self, expected: Option<&Tag>, put: Put) -> Result<Swap, BucketError> {
        let what = format!("swap {}", put.key);
        self.writes.write(what, self.inner.compare_and_set(expected, put)).await
    }

    async fn delete_many(&self, keys: Vec<String>) -> Vec<Result<(), BucketError>> {
        let mut answers = Vec::new();
        for key in keys {
            let what = format!("delete {key}");
            answers.extend(self.writes.write(what, self.inner.delete_many(vec![key])).await);
        }
        answers
    }

    async fn sync(&self) -> Result<(), BucketError> {
        self.writes.write("sync".to_owned(), self.inner.sync()).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Listed>, BucketError> {
        self.inner.list(prefix, after, limit).await
    }

    async fn try_lock(&self, name: &str) -> Result<Option<Box<dyn Lock>>, BucketError> {
        self.writes.write(format!("lock {name}"), self.inner.try_lock(name)).await
    }
}

/// A database of which what is written to capture edits is counted.
pub(crate) struct StoppedDatabase {
    pub(crate) inner: Arc<dyn Database>,
    pub(crate) writes: Arc<Writes>,
    /// Whether edits are captured at all.
    pub(crate) captures: bool,
}

#[async_trait]
impl Database for StoppedDatabase {
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, DatabaseError> {
        self.inner.snapshot().await
    }

    async fn columns(&self, query: &str) -> Result<Columns, DatabaseError> {
        self.inner.columns(query).await
    }

    async fn data_version(&self) -> Result<i64, DatabaseError> {
        self.inner.data_version().await
    }

    fn capture(&self) -> Option<&dyn Capture> {
        self.captures.then_some(self)
    }
}

impl StoppedDatabase {
    fn recorder(&self) -> &dyn Capture {
        self.inner.capture().expect("every database of ours records edits")
    }
}

#[async_trait]
impl Capture for StoppedDatabase {
    async fn install(&self, consumer: &str, reads: &Reads) -> Result<Installed, DatabaseError> {
        self.writes.write("install".to_owned(), self.recorder().install(consumer, reads)).await
    }

    async fn statements(&self, consumer: &str, reads: &Reads) -> Result<Vec<String>, DatabaseError> {
        self.recorder().statements(consumer, reads).await
    }

    async fn status(&self) -> Result<Status, DatabaseError> {
        self.recorder().status().await
    }

    async fn remove(&self) -> Result<bool, DatabaseError> {
        self.writes.write("remove".to_owned(), self.recorder().remove()).await
    }

    async fn is_behind(&self, consumer: &str) -> Result<bool, DatabaseError> {
        self.recorder().is_behind(consumer).await
    }

    async fn consumer(&self, consumer: &str) -> Result<Option<Consumer>, DatabaseError> {
        self.recorder().consumer(consumer).await
    }

    async fn intend(&self, consumer: &str, intent: &Intent) -> Result<(), DatabaseError> {
        self.writes.write("intend".to_owned(), self.recorder().intend(consumer, intent)).await
    }

    async fn consume(&self, consumer: &str, intent: &Intent) -> Result<(), DatabaseError> {
        self.writes.write("consume".to_owned(), self.recorder().consume(consumer, intent)).await
    }

    async fn prune(&self, most: u64) -> Result<(), DatabaseError> {
        self.writes.write("prune".to_owned(), self.recorder().prune(most)).await
    }
}
