//! Answers in memory, bounded in bytes.
//!
//! Owns what an answer weighs and which are too large to keep. Refuses to decide whether an answer is
//! still right: each carries the number of the release it was looked up under.

use std::sync::Arc;

use http::HeaderValue;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use crate::answer::Content;

/// What an entry takes beside its texts and its body: the structures, and their share of the cache's.
const OVERHEAD: u64 = 768;

/// A typical answer, from which the cache sizes its tables.
const TYPICAL: u64 = 8 << 10;

/// An answer as it was looked up.
#[derive(Clone)]
pub(crate) struct Kept {
    /// The release it was looked up under.
    pub(crate) release: u64,
    /// The same, as the value of `Edgepress-Release`.
    pub(crate) number: HeaderValue,
    pub(crate) content: Arc<Content>,
}

#[derive(Clone)]
struct Weight;

impl Weighter<Arc<str>, Kept> for Weight {
    fn weight(&self, key: &Arc<str>, kept: &Kept) -> u64 {
        weight(key, kept)
    }
}

fn weight(key: &str, kept: &Kept) -> u64 {
    OVERHEAD + key.len() as u64 + kept.content.bytes()
}

/// The answers in memory, by request path.
pub(crate) struct Memory {
    cache: Cache<Arc<str>, Kept, Weight>,
    largest: u64,
}

impl Memory {
    pub(crate) fn new(bytes: u64) -> Self {
        // Each shard has its own share of the bytes, so few of them let large answers in.
        let options = OptionsBuilder::new()
            .shards(4)
            .estimated_items_capacity((bytes / TYPICAL).max(1) as usize)
            .weight_capacity(bytes)
            .build()
            .expect("both capacities are given");
        let cache =
            Cache::with_options(options, Weight, DefaultHashBuilder::default(), DefaultLifecycle::default());
        // A shard keeps a small part of its bytes for newcomers.
        let largest = (cache.shard_capacity() / 16 * 15).min(bytes / 4);
        Self { cache, largest }
    }

    pub(crate) fn get(&self, key: &str) -> Option<Kept> {
        self.cache.get(key)
    }

    /// Keeps the answer unless it is too large; an older one under the key goes in any case. Whether it
    /// was kept.
    pub(crate) fn keep(&self, key: &Arc<str>, kept: &Kept) -> bool {
        let fits = weight(key, kept) <= self.largest;
        if fits {
            self.cache.insert(Arc::clone(key), kept.clone());
        } else {
            self.forget(key);
        }
        fits
    }

    pub(crate) fn forget(&self, key: &str) {
        self.cache.remove(key);
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.cache.weight()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(release: u64, size: usize) -> Kept {
        Kept { release, number: release.into(), content: Arc::new(Content::of_size(size)) }
    }

    #[test]
    fn memory_never_exceeds_its_bytes() {
        let memory = Memory::new(100 << 10);
        for number in 0..1_000_u64 {
            memory.keep(&format!("/{number}.html").into(), &kept(1, 3_000));
            assert!(memory.bytes() <= 100 << 10);
        }
        assert!(memory.bytes() > 50 << 10, "and is used: {}", memory.bytes());
    }

    #[test]
    fn what_is_too_large_is_not_kept_and_nothing_older_stays_in_its_place() {
        let memory = Memory::new(100 << 10);
        let key: Arc<str> = "/a.html".into();
        for (size, fits) in [(22 << 10, true), (25 << 10, false), (200 << 10, false)] {
            assert!(memory.keep(&key, &kept(1, 10)));
            assert_eq!(memory.keep(&key, &kept(2, size)), fits, "{size}");
            assert_eq!(memory.get(&key).map(|kept| kept.release), fits.then_some(2), "{size}");
        }
    }
}
