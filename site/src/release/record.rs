//! Records: what a release is, beside its content, and the way to earlier ones.

use serde::{Deserialize, Serialize};

use super::codec::Malformed;
use super::pack::StoredPlace;
use crate::version::Digest;

/// The largest integer that every reader of JSON reads exactly.
const MAX_NUMBER: u64 = (1 << 53) - 1;

/// Whether new edits may go live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// They may.
    Live,
    /// They are collected, but nothing is released until `publish --resume`.
    Held,
}

/// How a release differs from the one before it, in documents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Documents in the release.
    pub documents: u64,
    /// Documents that the one before did not have.
    pub added: u64,
    /// Documents that differ.
    pub changed: u64,
    /// Documents that it no longer has.
    pub removed: u64,
}

/// A frame outside the index, named by the hash of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// SHA-256 of its content.
    pub hash: Digest,
    /// Where it lies.
    #[serde(flatten)]
    pub place: StoredPlace,
}

/// What one release is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its number; greater than every earlier one.
    pub number: u64,
    /// How many releases came before it.
    pub ordinal: u64,
    /// The hash that names its content.
    pub root: Digest,
    /// Where its index lies.
    pub index: StoredPlace,
    /// The definition it was made with.
    pub definition: Named,
    /// The number of the release before it; 0 for the first.
    pub parent: u64,
    /// Who wrote it: tells our own swap from another's.
    pub writer: String,
    /// When it was committed: milliseconds since 1970.
    pub time: u64,
    /// Why, in a few words.
    pub cause: String,
    /// What changed.
    #[serde(flatten)]
    pub counts: Counts,
    /// Whether the site is held.
    pub state: State,
    /// No document was last modified before this: milliseconds since 1970. Set by rollback, inherited.
    pub floor: u64,
    /// Earlier releases: from any of them to any earlier one takes O(log n) steps.
    pub skips: Vec<Skip>,
}

/// A pointer to an earlier record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skip {
    /// The release's number.
    pub number: u64,
    /// How many releases came before it.
    pub ordinal: u64,
    /// Where its record lies; absent while it is in `current`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<StoredPlace>,
}

impl Record {
    /// The content of its frame.
    ///
    /// # Panics
    /// Never: records always print as JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("records always print as JSON")
    }

    /// Reads a record's content from the pack `this`; its own places become absolute.
    ///
    /// # Errors
    /// It is not a record.
    pub fn decode(content: &[u8], this: Digest) -> Result<Self, Malformed> {
        let record: Result<Self, _> = serde_json::from_slice(content);
        let mut record = record.map_err(|_| Malformed("a record is not what it should be"))?;
        record.check()?;
        for place in record.skips.iter_mut().filter_map(|skip| skip.place.as_mut()) {
            place.pack.get_or_insert(this);
        }
        Ok(record)
    }

    /// Checks what following its pointers relies on: they lead back, each further than the one before.
    ///
    /// # Errors
    /// They do not, or a number is too large for every reader of JSON.
    pub fn check(&self) -> Result<(), Malformed> {
        let largest = [self.number, self.ordinal, self.time, self.floor].into_iter().max();
        if largest > Some(MAX_NUMBER) {
            return Err(Malformed("a record has a number beyond 2^53"));
        }
        let this = Skip { number: self.number, ordinal: self.ordinal, place: None };
        let is_back = |a: &Skip, b: &Skip| a.number > b.number && a.ordinal > b.ordinal;
        let leads_back = std::iter::once(&this).chain(&self.skips).is_sorted_by(|a, b| is_back(a, b));
        if !leads_back || self.parent >= self.number || self.ordinal >= self.number {
            return Err(Malformed("a record does not follow the ones it points to"));
        }
        Ok(())
    }

    /// The pointers of the release that follows this one. For each power of two there is one to the last
    /// earlier release whose ordinal it divides; `numbers` may have gaps, ordinals have none.
    #[must_use]
    pub fn skips_of_next(&self) -> Vec<Skip> {
        let this = Skip { number: self.number, ordinal: self.ordinal, place: None };
        let zeros = |skip: &Skip| if skip.ordinal == 0 { u32::MAX } else { skip.ordinal.trailing_zeros() };
        let mut kept: Vec<Skip> = Vec::new();
        for skip in std::iter::once(&this).chain(&self.skips) {
            if kept.last().is_none_or(|last| zeros(skip) > zeros(last)) {
                kept.push(*skip);
            }
        }
        kept
    }

    /// The pointer that leads furthest back without passing `number`.
    #[must_use]
    pub fn toward(&self, number: u64) -> Option<&Skip> {
        self.skips.iter().filter(|skip| skip.number >= number).min_by_key(|skip| skip.number)
    }
}
