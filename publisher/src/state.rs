//! What a publisher wants to find again with the release it made: stored beside what the release's snapshot
//! saw, in the same transaction.
//!
//! Owns its form, and when broken keys and collections that depend on the clock are due again. Refuses to
//! know where it is kept.

use std::collections::BTreeMap;

use edgepress_site::release::Record;
use edgepress_site::row::Value;
use edgepress_site::version::Digest;
use serde::{Deserialize, Serialize};

use crate::scope::Key;

/// More broken keys of a collection than this are not remembered one by one.
const MAX_FAILED: usize = 1_000;

/// Broken keys are tried again after so many milliseconds,
const RETRY: u64 = 1_000;

/// each time after twice as many, up to this.
const MAX_RETRY: u64 = 300_000;

/// What is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// The release that was current then.
    pub(crate) release: Option<Release>,
    /// By collection: a fingerprint of the tables and views it reads.
    pub(crate) fingerprints: BTreeMap<String, String>,
    /// By collection: when it was last made anew as a whole, in milliseconds since 1970. Only those that
    /// depend on the clock.
    pub(crate) refreshed: BTreeMap<String, u64>,
    /// What could not be made, and keeps its old documents.
    pub(crate) failed: BTreeMap<String, Failed>,
    /// How often it was tried in vain.
    pub(crate) tries: u32,
    /// When it is due again: milliseconds since 1970.
    pub(crate) retry: u64,
}

/// A release, told apart from every other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Release {
    pub(crate) number: u64,
    pub(crate) root: Digest,
    pub(crate) writer: String,
}

impl Release {
    pub(crate) fn of(record: &Record) -> Self {
        Self { number: record.number, root: record.root, writer: record.writer.clone() }
    }
}

/// The part of a key that a path shows: nothing else makes a document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
enum Part {
    Int(i64),
    Text(String),
}

/// What of a collection could not be made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failed {
    /// Why keys do not say what, if they do not: only a look at all rows can tell what is mended.
    pub(crate) whole: Option<Whole>,
    keys: Vec<Vec<Part>>,
}

/// Why a collection's failures are not remembered by their keys; later ones outweigh earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Whole {
    /// They are too many, or have no paths. An edit that mends one touches its key, or a key without a
    /// path, which makes the collection anew.
    Keys,
    /// The database refuses to read the collection, because of any of its rows.
    Query,
    /// Other documents are in the way of some: an edit of any collection may take those away.
    Paths,
}

/// A key as it is remembered, if paths show all of it.
fn parts(key: &Key) -> Option<Vec<Part>> {
    let part = |value: &Value| match value {
        Value::Int(number) => Some(Part::Int(*number)),
        Value::Text(text) => Some(Part::Text(text.to_string())),
        _ => None,
    };
    key.iter().map(part).collect()
}

impl Failed {
    /// Remembers a row by its key.
    pub(crate) fn add(&mut self, key: &Key) {
        match parts(key) {
            Some(key) if self.keys.len() < MAX_FAILED => self.keys.push(key),
            _ => self.add_whole(Whole::Keys),
        }
    }

    /// Remembers the collection as a whole.
    pub(crate) fn add_whole(&mut self, why: Whole) {
        self.whole = self.whole.max(Some(why));
    }

    /// The keys that are remembered one by one.
    pub(crate) fn keys(&self) -> Vec<Key> {
        let value = |part: &Part| match part {
            Part::Int(number) => Value::Int(*number),
            Part::Text(text) => Value::Text(text.as_str().into()),
        };
        self.keys.iter().map(|key| key.iter().map(value).collect()).collect()
    }

    /// Forgets keys that were made anew; whether anything is left.
    pub(crate) fn forget(&mut self, made: &[Key]) -> bool {
        let made: std::collections::HashSet<Vec<Part>> = made.iter().filter_map(parts).collect();
        self.keys.retain(|key| !made.contains(key));
        self.whole.is_some() || !self.keys.is_empty()
    }

    /// Takes over what `other` remembers.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.whole = self.whole.max(other.whole);
        self.keys.extend(other.keys.iter().cloned());
        self.keys.sort();
        self.keys.dedup();
        if self.keys.len() > MAX_FAILED {
            self.add_whole(Whole::Keys);
            self.keys.clear();
        }
    }
}

impl State {
    pub(crate) fn decode(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    pub(crate) fn encode(&self) -> String {
        serde_json::to_string(self).expect("what is remembered always prints as JSON")
    }

    /// Whether what failed is due again. A clock that went back makes nothing wait for ever.
    pub(crate) fn retries(&self, now: u64) -> bool {
        !self.failed.is_empty() && (now >= self.retry || self.retry > now + MAX_RETRY)
    }

    /// Notes that what is in `failed` failed at `now`.
    pub(crate) fn set_retry(&mut self, now: u64, tried: bool) {
        if self.failed.is_empty() {
            (self.tries, self.retry) = (0, 0);
        } else if tried || self.retry == 0 {
            self.retry = now + (RETRY << self.tries.min(16)).min(MAX_RETRY);
            self.tries += 1;
        }
    }

    /// Whether a collection with this `refresh` (milliseconds) is due. A clock that went back makes it due.
    pub(crate) fn is_stale(&self, collection: &str, refresh: u64, now: u64) -> bool {
        self.refreshed.get(collection).is_none_or(|last| now < *last || now - last >= refresh)
    }

    /// When something is due, if anything ever is: milliseconds since 1970.
    pub(crate) fn due(&self, refreshes: impl Iterator<Item = (String, u64)>) -> Option<u64> {
        let retry = (!self.failed.is_empty()).then_some(self.retry);
        let refresh = refreshes
            .map(|(name, every)| self.refreshed.get(&name).map_or(0, |last| last.saturating_add(every)))
            .min();
        retry.into_iter().chain(refresh).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_keys_come_back_as_they_were_and_too_many_stand_for_their_collection() {
        let key = |number| vec![Value::Int(number), Value::Text("a".into())];
        let mut failed = Failed::default();
        (0..3).for_each(|number| failed.add(&key(number)));
        let state = State { failed: [("c".to_owned(), failed.clone())].into(), ..State::default() };
        let back = State::decode(&state.encode()).expect("it is ours");
        assert_eq!(back, state);
        assert_eq!(back.failed["c"].keys(), (0..3).map(key).collect::<Vec<_>>());
        failed.add(&vec![Value::Null]);
        assert_eq!(failed.whole, Some(Whole::Keys));
        let mut many = Failed::default();
        (0..2_000).for_each(|number| many.add(&key(number)));
        assert!(many.whole.is_some() && many.keys().len() <= MAX_FAILED);
    }

    #[test]
    fn what_failed_is_tried_again_later_and_later() {
        let mut state = State::default();
        state.failed.entry("c".to_owned()).or_default().add_whole(Whole::Keys);
        state.set_retry(1_000, true);
        assert!(!state.retries(1_999) && state.retries(2_000));
        state.set_retry(2_000, true);
        assert!(!state.retries(3_999) && state.retries(4_000));
        state.tries = 40;
        state.set_retry(5_000, true);
        assert_eq!(state.retry, 5_000 + MAX_RETRY);
        assert!(state.retries(1), "a clock that went back");
        state.failed.clear();
        state.set_retry(6_000, true);
        assert_eq!((state.tries, state.retry), (0, 0));
    }

    #[test]
    fn a_collection_that_depends_on_the_clock_is_due_by_the_clock() {
        let mut state = State::default();
        assert!(state.is_stale("c", 100, 5));
        state.refreshed.insert("c".to_owned(), 1_000);
        assert!(!state.is_stale("c", 100, 1_099) && state.is_stale("c", 100, 1_100));
        assert!(state.is_stale("c", 100, 900), "a clock that went back");
        assert_eq!(state.due([("c".to_owned(), 100)].into_iter()), Some(1_100));
    }
}
