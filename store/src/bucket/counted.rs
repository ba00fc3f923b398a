//! A bucket that counts what is asked of it: what a publish reports, and tests assert.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Bucket, BucketError, Listed, Lock, Object, Put, Swap, Tag};

/// Counts requests to the bucket inside.
#[derive(Debug)]
pub struct Counted {
    inner: Arc<dyn Bucket>,
    requests: AtomicU64,
}

impl Counted {
    /// Counts requests to `inner`, from none.
    #[must_use]
    pub fn new(inner: Arc<dyn Bucket>) -> Self {
        Self { inner, requests: AtomicU64::new(0) }
    }

    /// Requests so far. An object of a batch is one.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    fn count(&self, requests: usize) -> &dyn Bucket {
        self.requests.fetch_add(requests as u64, Ordering::Relaxed);
        &*self.inner
    }
}

#[async_trait]
impl Bucket for Counted {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn get(&self, key: &str) -> Result<Option<Object>, BucketError> {
        self.count(1).get(key).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, BucketError> {
        self.count(1).get_range(key, range).await
    }

    async fn put(&self, put: Put) -> Result<(), BucketError> {
        self.count(1).put(put).await
    }

    async fn put_many(&self, puts: Vec<Put>) -> Vec<Result<(), BucketError>> {
        self.count(puts.len()).put_many(puts).await
    }

    async fn compare_and_set(&self, expected: Option<&Tag>, put: Put) -> Result<Swap, BucketError> {
        self.count(1).compare_and_set(expected, put).await
    }

    async fn delete_many(&self, keys: Vec<String>) -> Vec<Result<(), BucketError>> {
        self.count(keys.len()).delete_many(keys).await
    }

    async fn sync(&self) -> Result<(), BucketError> {
        self.inner.sync().await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Listed>, BucketError> {
        self.count(1).list(prefix, after, limit).await
    }

    async fn try_lock(&self, name: &str) -> Result<Option<Box<dyn Lock>>, BucketError> {
        self.inner.try_lock(name).await
    }
}
