//! A bucket in memory: for tests that publish thousands of times, and ask nothing of a disk.
//!
//! Owns its objects until it is dropped. Refuses to be durable. Unlike a folder it holds an object below
//! another one, as S3 does.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, Range};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use edgepress_site::version::Digest;

use super::{Bucket, BucketError, Kind, Listed, Lock, Object, Put, Swap, Tag, is_safe_key};

/// Objects in memory.
#[derive(Debug)]
pub struct Memory {
    name: String,
    objects: Mutex<BTreeMap<String, Bytes>>,
    locks: Arc<Mutex<BTreeSet<String>>>,
}

/// A lock of a bucket in memory.
#[derive(Debug)]
struct Held {
    name: String,
    locks: Arc<Mutex<BTreeSet<String>>>,
}

impl Lock for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        open(&self.locks).remove(&self.name);
    }
}

/// What the mutex guards is whole at any time, also after a panic elsewhere.
fn open<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tag(body: &Bytes) -> Tag {
    Tag(Digest::of(body).to_string())
}

impl Memory {
    /// An empty bucket.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), objects: Mutex::default(), locks: Arc::default() }
    }

    /// All objects, by their keys.
    #[must_use]
    pub fn objects(&self) -> BTreeMap<String, Bytes> {
        open(&self.objects).clone()
    }

    fn error(&self, kind: Kind, operation: &'static str, key: &str, message: &str) -> BucketError {
        let (object, bucket) = (key.to_owned(), self.name.clone());
        BucketError { kind, operation, object, bucket, message: message.to_owned(), source: None }
    }

    fn check(&self, operation: &'static str, key: &str) -> Result<(), BucketError> {
        if is_safe_key(key) {
            return Ok(());
        }
        Err(self.error(Kind::Other, operation, key, "this cannot be a key"))
    }
}

#[async_trait]
impl Bucket for Memory {
    fn name(&self) -> &str {
        &self.name
    }

    async fn get(&self, key: &str) -> Result<Option<Object>, BucketError> {
        self.check("read", key)?;
        let body = open(&self.objects).get(key).cloned();
        Ok(body.map(|body| Object { tag: tag(&body), body }))
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, BucketError> {
        self.check("read", key)?;
        let Some(body) = open(&self.objects).get(key).cloned() else {
            return Err(self.error(Kind::NotFound, "read", key, "it is not there"));
        };
        if range.start > range.end || range.end > body.len() as u64 {
            return Err(self.error(Kind::TooShort, "read", key, "it ends before the range does"));
        }
        Ok(body.slice(range.start as usize..range.end as usize))
    }

    async fn put(&self, put: Put) -> Result<(), BucketError> {
        self.check("write", &put.key)?;
        open(&self.objects).insert(put.key, put.body);
        Ok(())
    }

    async fn put_many(&self, puts: Vec<Put>) -> Vec<Result<(), BucketError>> {
        let mut answers = Vec::with_capacity(puts.len());
        for put in puts {
            answers.push(self.put(put).await);
        }
        answers
    }

    async fn compare_and_set(&self, expected: Option<&Tag>, put: Put) -> Result<Swap, BucketError> {
        self.check("replace", &put.key)?;
        let mut objects = open(&self.objects);
        if objects.get(&put.key).map(tag).as_ref() != expected {
            return Ok(Swap::Lost);
        }
        let new = tag(&put.body);
        objects.insert(put.key, put.body);
        Ok(Swap::Done(new))
    }

    async fn delete_many(&self, keys: Vec<String>) -> Vec<Result<(), BucketError>> {
        let delete = |key: String| {
            self.check("delete", &key)?;
            open(&self.objects).remove(&key);
            Ok(())
        };
        keys.into_iter().map(delete).collect()
    }

    async fn sync(&self) -> Result<(), BucketError> {
        Ok(())
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Listed>, BucketError> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let objects = open(&self.objects);
        let below = objects.range::<str, _>((from, Bound::Unbounded));
        let below = below.take_while(|(key, _)| key.starts_with(prefix)).take(limit);
        Ok(below.map(|(key, body)| Listed { key: key.clone(), size: body.len() as u64 }).collect())
    }

    async fn try_lock(&self, name: &str) -> Result<Option<Box<dyn Lock>>, BucketError> {
        self.check("lock", name)?;
        let is_free = open(&self.locks).insert(name.to_owned());
        let held = || Held { name: name.to_owned(), locks: self.locks.clone() };
        Ok(is_free.then(|| Box::new(held()) as Box<dyn Lock>))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket::conformance;

    #[tokio::test]
    async fn memory_is_a_bucket() {
        conformance::all(&Memory::new("memory:")).await;
    }
}
