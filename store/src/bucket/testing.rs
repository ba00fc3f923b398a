//! A bucket that counts what is asked of it and fails on demand.
//!
//! Owns the counting and the faults. Refuses to store anything: it stands around any other bucket.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Notify;

use super::{Bucket, BucketError, Kind, Listed, Lock, Object, Put, Swap, Tag};

/// What is asked of a bucket. Each object of a batch counts as one operation of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// [`Bucket::get`]
    Get,
    /// [`Bucket::get_range`]
    GetRange,
    /// [`Bucket::put`]
    Put,
    /// One object of [`Bucket::put_many`]
    PutMany,
    /// [`Bucket::compare_and_set`]
    CompareAndSet,
    /// One object of [`Bucket::delete_many`]
    Delete,
    /// [`Bucket::sync`]
    Sync,
    /// [`Bucket::list`]
    List,
    /// [`Bucket::try_lock`]
    Lock,
}

/// One operation as a hook sees it, before it takes place.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// What is asked.
    pub operation: Operation,
    /// The object; empty for [`Operation::Sync`].
    pub key: &'a str,
    /// How many operations there have been, this one included.
    pub number: u64,
}

/// What becomes of an operation.
#[derive(Debug, Clone, Default)]
pub enum Fate {
    /// It takes place.
    #[default]
    Pass,
    /// It fails without having taken place.
    FailBefore(Kind),
    /// It takes place, but its answer is lost.
    FailAfter(Kind),
    /// It takes place once notified. In a batch, the whole batch waits.
    Wait(Arc<Notify>),
}

/// How often each operation was asked for, and the bytes that went over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// [`Operation::Get`]
    pub gets: u64,
    /// [`Operation::GetRange`]
    pub ranges: u64,
    /// [`Operation::Put`]
    pub puts: u64,
    /// [`Operation::PutMany`]
    pub batch_puts: u64,
    /// [`Operation::CompareAndSet`]
    pub swaps: u64,
    /// [`Operation::Delete`]
    pub deletes: u64,
    /// [`Operation::Sync`]
    pub syncs: u64,
    /// [`Operation::List`]
    pub lists: u64,
    /// [`Operation::Lock`]
    pub locks: u64,
    /// Bytes of bodies that were read.
    pub bytes_read: u64,
    /// Bytes of bodies that were to be written.
    pub bytes_written: u64,
}

impl Counts {
    /// Puts, batch puts, swaps and deletes together.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.puts + self.batch_puts + self.swaps + self.deletes
    }

    /// Gets and range reads together.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.gets + self.ranges
    }
}

type Hook = Box<dyn FnMut(Call<'_>) -> Fate + Send>;

#[derive(Default)]
struct State {
    number: u64,
    counts: Counts,
    hook: Option<Hook>,
}

/// Any bucket, counted and made to fail.
pub struct Faulty<B> {
    inner: B,
    state: Mutex<State>,
}

impl<B: fmt::Debug> fmt::Debug for Faulty<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Faulty").field(&self.inner).finish()
    }
}

impl<B> Faulty<B> {
    /// Stands around `inner`, failing nothing yet.
    pub fn new(inner: B) -> Self {
        Self { inner, state: Mutex::new(State::default()) }
    }

    /// The bucket inside.
    pub fn inner(&self) -> &B {
        &self.inner
    }

    /// What was asked since the start or the last [`Faulty::reset`].
    pub fn counts(&self) -> Counts {
        self.state().counts
    }

    /// Counts anew, operation numbers too; faults stay.
    pub fn reset(&self) {
        let mut state = self.state();
        state.counts = Counts::default();
        state.number = 0;
    }

    /// How many operations there have been.
    pub fn operations(&self) -> u64 {
        self.state().number
    }

    /// Asks `hook` about every operation from now on.
    pub fn hook(&self, hook: impl FnMut(Call<'_>) -> Fate + Send + 'static) {
        self.state().hook = Some(Box::new(hook));
    }

    /// Nothing fails any more.
    pub fn heal(&self) {
        self.state().hook = None;
    }

    /// Operation `number`, counted from 1 now on, meets `fate`; all others pass.
    pub fn fail_nth(&self, number: u64, fate: Fate) {
        let number = self.state().number + number;
        self.hook(move |call| if call.number == number { fate.clone() } else { Fate::Pass });
    }

    /// Operation `number`, counted from 1 now on, meets `fate`, and nothing works from then on: what a
    /// killed process leaves behind.
    pub fn stop_at(&self, number: u64, fate: Fate) {
        let number = self.state().number + number;
        self.hook(move |call| match call.number.cmp(&number) {
            std::cmp::Ordering::Less => Fate::Pass,
            std::cmp::Ordering::Equal => fate.clone(),
            std::cmp::Ordering::Greater => Fate::FailBefore(Kind::Other),
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fate(&self, operation: Operation, key: &str, written: usize) -> Fate {
        let mut state = self.state();
        state.number += 1;
        let counts = &mut state.counts;
        let count = match operation {
            Operation::Get => &mut counts.gets,
            Operation::GetRange => &mut counts.ranges,
            Operation::Put => &mut counts.puts,
            Operation::PutMany => &mut counts.batch_puts,
            Operation::CompareAndSet => &mut counts.swaps,
            Operation::Delete => &mut counts.deletes,
            Operation::Sync => &mut counts.syncs,
            Operation::List => &mut counts.lists,
            Operation::Lock => &mut counts.locks,
        };
        *count += 1;
        counts.bytes_written += written as u64;
        let call = Call { operation, key, number: state.number };
        state.hook.as_mut().map(|hook| hook(call)).unwrap_or_default()
    }

    fn read(&self, bytes: usize) {
        self.state().counts.bytes_read += bytes as u64;
    }
}

fn injected(kind: Kind, operation: &'static str, key: &str, bucket: &str) -> BucketError {
    let message = "a fault was injected".to_owned();
    BucketError { kind, operation, object: key.to_owned(), bucket: bucket.to_owned(), message, source: None }
}

impl<B: Bucket> Faulty<B> {
    /// Runs one operation as its fate has it.
    async fn single<T>(
        &self,
        fate: Fate,
        operation: &'static str,
        key: &str,
        run: impl Future<Output = Result<T, BucketError>>,
    ) -> Result<T, BucketError> {
        match fate {
            Fate::Pass => run.await,
            Fate::FailBefore(kind) => Err(injected(kind, operation, key, self.inner.name())),
            Fate::FailAfter(kind) => {
                run.await?;
                Err(injected(kind, operation, key, self.inner.name()))
            }
            Fate::Wait(gate) => {
                gate.notified().await;
                run.await
            }
        }
    }

    /// Runs a batch of which each item has its own fate.
    async fn batch<I, F: Future<Output = Vec<Result<(), BucketError>>>>(
        &self,
        operation: &'static str,
        items: Vec<(I, String, Fate)>,
        run: impl FnOnce(Vec<I>) -> F,
    ) -> Vec<Result<(), BucketError>> {
        let mut passed = Vec::new();
        let mut fates = Vec::with_capacity(items.len());
        for (item, key, fate) in items {
            if let Fate::Wait(gate) = &fate {
                gate.notified().await;
            }
            if !matches!(fate, Fate::FailBefore(_)) {
                passed.push(item);
            }
            fates.push((key, fate));
        }
        let mut answers = run(passed).await.into_iter();
        let answer = |(key, fate): (String, Fate)| match fate {
            Fate::FailBefore(kind) => Err(injected(kind, operation, &key, self.inner.name())),
            Fate::FailAfter(kind) => {
                answers.next().expect("one answer for each item")?;
                Err(injected(kind, operation, &key, self.inner.name()))
            }
            Fate::Pass | Fate::Wait(_) => answers.next().expect("one answer for each item"),
        };
        fates.into_iter().map(answer).collect()
    }
}

#[async_trait]
impl<B: Bucket> Bucket for Faulty<B> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn get(&self, key: &str) -> Result<Option<Object>, BucketError> {
        let fate = self.fate(Operation::Get, key, 0);
        let object = self.single(fate, "read", key, self.inner.get(key)).await?;
        self.read(object.as_ref().map_or(0, |object| object.body.len()));
        Ok(object)
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, BucketError> {
        let fate = self.fate(Operation::GetRange, key, 0);
        let bytes = self.single(fate, "read", key, self.inner.get_range(key, range)).await?;
        self.read(bytes.len());
        Ok(bytes)
    }

    async fn put(&self, put: Put) -> Result<(), BucketError> {
        let fate = self.fate(Operation::Put, &put.key, put.body.len());
        let key = put.key.clone();
        self.single(fate, "write", &key, self.inner.put(put)).await
    }

    async fn put_many(&self, puts: Vec<Put>) -> Vec<Result<(), BucketError>> {
        let fated = |put: Put| {
            let fate = self.fate(Operation::PutMany, &put.key, put.body.len());
            (put.key.clone(), put, fate)
        };
        let items = puts.into_iter().map(fated).map(|(key, put, fate)| (put, key, fate)).collect();
        self.batch("write", items, |puts| self.inner.put_many(puts)).await
    }

    async fn compare_and_set(&self, expected: Option<&Tag>, put: Put) -> Result<Swap, BucketError> {
        let fate = self.fate(Operation::CompareAndSet, &put.key, put.body.len());
        let key = put.key.clone();
        self.single(fate, "replace", &key, self.inner.compare_and_set(expected, put)).await
    }

    async fn delete_many(&self, keys: Vec<String>) -> Vec<Result<(), BucketError>> {
        let fated = |key: String| {
            let fate = self.fate(Operation::Delete, &key, 0);
            (key.clone(), key, fate)
        };
        let items = keys.into_iter().map(fated).collect();
        self.batch("delete", items, |keys| self.inner.delete_many(keys)).await
    }

    async fn sync(&self) -> Result<(), BucketError> {
        let fate = self.fate(Operation::Sync, "", 0);
        self.single(fate, "make durable", "what was written", self.inner.sync()).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Listed>, BucketError> {
        let fate = self.fate(Operation::List, prefix, 0);
        self.single(fate, "list", prefix, self.inner.list(prefix, after, limit)).await
    }

    async fn try_lock(&self, name: &str) -> Result<Option<Box<dyn Lock>>, BucketError> {
        let fate = self.fate(Operation::Lock, name, 0);
        self.single(fate, "lock", name, self.inner.try_lock(name)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket::{Directory, Headers};

    fn put(key: &str) -> Put {
        Put { key: key.to_owned(), body: Bytes::from_static(b"body"), headers: Headers::default() }
    }

    async fn faulty(folder: &std::path::Path) -> Faulty<Directory> {
        Faulty::new(Directory::open(folder, "file:test").await.unwrap())
    }

    #[tokio::test]
    async fn a_fault_before_leaves_no_trace_and_one_after_does() {
        let folder = tempfile::tempdir().unwrap();
        let bucket = faulty(folder.path()).await;
        bucket.fail_nth(2, Fate::FailBefore(Kind::Full));
        let answers = bucket.put_many(vec![put("a"), put("b"), put("c")]).await;
        let kinds: Vec<_> =
            answers.iter().map(|answer| answer.as_ref().err().map(|error| error.kind)).collect();
        assert_eq!(kinds, [None, Some(Kind::Full), None]);
        assert!(bucket.get("b").await.unwrap().is_none());
        bucket.fail_nth(1, Fate::FailAfter(Kind::Other));
        assert_eq!(bucket.put(put("b")).await.unwrap_err().kind, Kind::Other);
        assert!(bucket.get("b").await.unwrap().is_some(), "the fault struck after the write");
        let counts = bucket.counts();
        assert_eq!((counts.batch_puts, counts.puts, counts.gets), (3, 1, 2));
        assert_eq!((counts.bytes_written, counts.bytes_read), (16, 4));
    }

    #[tokio::test]
    async fn a_stopped_bucket_answers_nothing_until_it_is_healed() {
        let folder = tempfile::tempdir().unwrap();
        let bucket = faulty(folder.path()).await;
        bucket.stop_at(2, Fate::FailBefore(Kind::Denied));
        bucket.put(put("a")).await.unwrap();
        assert_eq!(bucket.put(put("b")).await.unwrap_err().kind, Kind::Denied);
        assert_eq!(bucket.get("a").await.unwrap_err().kind, Kind::Other);
        bucket.heal();
        assert!(bucket.get("a").await.unwrap().is_some());
    }

    #[tokio::test]
    async fn an_operation_waits_for_its_gate() {
        let folder = tempfile::tempdir().unwrap();
        let bucket = Arc::new(faulty(folder.path()).await);
        let gate = Arc::new(Notify::new());
        bucket.fail_nth(1, Fate::Wait(Arc::clone(&gate)));
        let waiting = tokio::spawn({
            let bucket = Arc::clone(&bucket);
            async move { bucket.put(put("a")).await }
        });
        while bucket.operations() == 0 {
            tokio::task::yield_now().await;
        }
        assert!(bucket.get("a").await.unwrap().is_none());
        gate.notify_one();
        waiting.await.unwrap().unwrap();
        assert!(bucket.get("a").await.unwrap().is_some());
    }
}
