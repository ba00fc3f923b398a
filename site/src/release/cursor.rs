//! `_edgepress/cursors/<follower>`: where a follower stands; a [`sealed`] object.

use serde::{Deserialize, Serialize};

use super::pack::StoredPlace;
use super::record::Record;
use super::sealed::{self, SealError};
use crate::version::Digest;

/// What its first line calls it.
const KIND: &str = "cursor";

/// A release, as a cursor names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// Its number.
    pub number: u64,
    /// Its root.
    pub root: Digest,
    /// Where its index lies.
    pub index: StoredPlace,
}

impl Reached {
    /// The release of `record`.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        Self { number: record.number, root: record.root, index: record.index }
    }
}

/// Where a follower stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Where it mirrors to, if that is another bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// The release it has reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<Reached>,
    /// The release it is applying, or was when it was cut off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applying: Option<Reached>,
    /// Why it failed last, if it has not come along since; for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Cursor {
    /// The object's content.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        sealed::seal(KIND, self)
    }

    /// Reads the object's content.
    ///
    /// # Errors
    /// It was altered, or is of an unknown format.
    pub fn decode(bytes: &[u8]) -> Result<Self, SealError> {
        sealed::open(KIND, bytes)
    }

    /// The greatest number it names; 0 if it names none.
    #[must_use]
    pub fn number(&self) -> u64 {
        let named = [&self.reached, &self.applying].into_iter().flatten();
        named.map(|reached| reached.number).max().unwrap_or(0)
    }
}
