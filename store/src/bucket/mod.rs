//! Buckets: S3-compatible storage and what stands in for it.
//!
//! Owns the trait, its few error kinds and the choice of an adapter by URL. Refuses to know what the
//! objects mean.

#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod counted;
mod directory;
#[cfg(any(test, feature = "testing"))]
mod memory;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

pub use counted::Counted;
pub use directory::Directory;
#[cfg(any(test, feature = "testing"))]
pub use memory::Memory;

/// Names the content of one object at one moment, for compare-and-set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag(pub String);

/// An object as it was read.
#[derive(Debug, Clone)]
pub struct Object {
    /// Its content.
    pub body: Bytes,
    /// Names this content.
    pub tag: Tag,
}

/// What an object says of itself to whoever reads it from the bucket directly.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers {
    /// `Content-Type`
    pub content_type: Option<Arc<str>>,
    /// `Cache-Control`
    pub cache_control: Option<Arc<str>>,
}

/// One object to be written.
#[derive(Debug, Clone)]
pub struct Put {
    /// Its key.
    pub key: String,
    /// Its content.
    pub body: Bytes,
    /// Its headers, where the bucket keeps such.
    pub headers: Headers,
}

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The object's key.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
}

/// How a compare-and-set ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swap {
    /// The object now has the new content.
    Done(Tag),
    /// Somebody else changed it first; nothing was written.
    Lost,
}

/// What a caller can do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The object is not there.
    NotFound,
    /// The object ends before the range that was asked for.
    TooShort,
    /// Another object stands in the way: one key is a folder of the other.
    Blocked,
    /// The bucket refuses us.
    Denied,
    /// No space is left.
    Full,
    /// Anything else.
    Other,
}

/// A failed operation on one object.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {object} in {bucket}: {message}")]
pub struct BucketError {
    /// What a caller can do about it.
    pub kind: Kind,
    /// What was tried: "read", "write", ...
    pub operation: &'static str,
    /// The object's key.
    pub object: String,
    /// The bucket, as the user names it.
    pub bucket: String,
    /// What went wrong and, where we know it, what to do.
    pub message: String,
    /// The cause.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Held by the one publisher of a bucket; released when dropped or when the process dies.
pub trait Lock: Send + Sync + fmt::Debug {}

/// Where releases and objects are kept.
///
/// Keys are `/`-separated without a leading slash; callers pass only keys that [`is_safe_key`] accepts.
#[async_trait]
pub trait Bucket: Send + Sync + fmt::Debug {
    /// The bucket as the user names it, without secrets.
    fn name(&self) -> &str;

    /// The whole object, if it is there.
    async fn get(&self, key: &str) -> Result<Option<Object>, BucketError>;

    /// The bytes `range` of an object: all of them or an error ([`Kind::NotFound`] if there is no such
    /// object, [`Kind::TooShort`] if it is shorter).
    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, BucketError>;

    /// Writes an object, whole or not at all; durable when it returns.
    async fn put(&self, put: Put) -> Result<(), BucketError>;

    /// Writes many objects, each whole or not at all; durable only after [`Bucket::sync`].
    /// One answer for each, in order.
    async fn put_many(&self, puts: Vec<Put>) -> Vec<Result<(), BucketError>>;

    /// Replaces an object if its content is still the one named by `expected` (`None`: if it is absent).
    async fn compare_and_set(&self, expected: Option<&Tag>, put: Put) -> Result<Swap, BucketError>;

    /// Removes objects; those already absent count as removed. Durable only after [`Bucket::sync`].
    async fn delete_many(&self, keys: Vec<String>) -> Vec<Result<(), BucketError>>;

    /// Makes everything written or removed before durable.
    async fn sync(&self) -> Result<(), BucketError>;

    /// The objects under `prefix` (a folder ending in `/`, or empty) whose keys follow `after`, in byte
    /// order of their keys, at most `limit`.
    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize)
    -> Result<Vec<Listed>, BucketError>;

    /// Takes the lock called `name` (a key), or `None` while somebody else holds it.
    async fn try_lock(&self, name: &str) -> Result<Option<Box<dyn Lock>>, BucketError>;
}

#[async_trait]
impl<B: Bucket + ?Sized> Bucket for Arc<B> {
    fn name(&self) -> &str {
        (**self).name()
    }

    async fn get(&self, key: &str) -> Result<Option<Object>, BucketError> {
        (**self).get(key).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, BucketError> {
        (**self).get_range(key, range).await
    }

    async fn put(&self, put: Put) -> Result<(), BucketError> {
        (**self).put(put).await
    }

    async fn put_many(&self, puts: Vec<Put>) -> Vec<Result<(), BucketError>> {
        (**self).put_many(puts).await
    }

    async fn compare_and_set(&self, expected: Option<&Tag>, put: Put) -> Result<Swap, BucketError> {
        (**self).compare_and_set(expected, put).await
    }

    async fn delete_many(&self, keys: Vec<String>) -> Vec<Result<(), BucketError>> {
        (**self).delete_many(keys).await
    }

    async fn sync(&self) -> Result<(), BucketError> {
        (**self).sync().await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Listed>, BucketError> {
        (**self).list(prefix, after, limit).await
    }

    async fn try_lock(&self, name: &str) -> Result<Option<Box<dyn Lock>>, BucketError> {
        (**self).try_lock(name).await
    }
}

/// Whether `key` may be used: not empty, at most 1,024 bytes, segments of 1 to 255 bytes none of which
/// is `.` or `..`, no control characters, no backslash.
#[must_use]
pub fn is_safe_key(key: &str) -> bool {
    let segment = |segment: &str| !matches!(segment, "" | "." | "..") && segment.len() <= 255;
    key.len() <= 1024 && !key.contains(|c: char| c.is_control() || c == '\\') && key.split('/').all(segment)
}
