//! `_edgepress/current`: the record of the live release, and earlier ones no pack holds yet.
//!
//! Two lines of text: `edgepress current 1 ` and the SHA-256 of the second; then JSON. The hash tells
//! an edit by hand or a flipped bit from what a publisher wrote.

use serde::{Deserialize, Serialize};

use super::record::Record;
use crate::version::Digest;

/// The first words of the object; the number is the format's.
const HEADER: &str = "edgepress current 1 ";

/// At most so many records wait for a pack.
pub const MAX_RECORDS: usize = 16;

/// The content of `_edgepress/current`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Current {
    /// The live release's record first, then earlier ones that no pack holds yet, newest first.
    pub records: Vec<Record>,
}

/// `current` cannot be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CurrentError {
    /// Its format is of a later version, or it is something else.
    #[error(
        "it is not of a format this version of edgepress reads: it begins with {0:?}; use the version that wrote it, or a later one"
    )]
    Unknown(String),
    /// Its content is not what its hash says.
    #[error(
        "its content was altered after it was written; restore it from a copy, or remove it and publish again"
    )]
    Altered,
    /// Its content is no list of records.
    #[error("its records do not make sense: {0}")]
    Nonsense(String),
}

impl Current {
    /// The live release.
    ///
    /// # Panics
    /// Never: a decoded or newly made `Current` has at least one record.
    #[must_use]
    pub fn live(&self) -> &Record {
        &self.records[0]
    }

    /// The object's content.
    ///
    /// # Panics
    /// Never: records always print as JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let json = serde_json::to_string(self).expect("records always print as JSON");
        format!("{HEADER}{}\n{json}\n", Digest::of(json.as_bytes())).into_bytes()
    }

    /// Reads the object's content.
    ///
    /// # Errors
    /// It was altered, or is of an unknown format.
    pub fn decode(bytes: &[u8]) -> Result<Self, CurrentError> {
        let begin =
            || CurrentError::Unknown(String::from_utf8_lossy(&bytes[..bytes.len().min(32)]).into_owned());
        let rest = bytes.strip_prefix(HEADER.as_bytes()).ok_or_else(begin)?;
        let (hash, rest) = rest.split_at_checked(64).ok_or(CurrentError::Altered)?;
        let json = rest
            .strip_prefix(b"\n")
            .and_then(|rest| rest.strip_suffix(b"\n"))
            .ok_or(CurrentError::Altered)?;
        if Digest::of(json).to_string().as_bytes() != hash {
            return Err(CurrentError::Altered);
        }
        let current: Self =
            serde_json::from_slice(json).map_err(|error| CurrentError::Nonsense(error.to_string()))?;
        let is_descending = current.records.is_sorted_by(|a, b| a.number > b.number);
        let count = current.records.len();
        if !is_descending || count == 0 || count > MAX_RECORDS {
            return Err(CurrentError::Nonsense(format!(
                "{count} records, which must be 1 to {MAX_RECORDS} in order"
            )));
        }
        Ok(current)
    }
}
