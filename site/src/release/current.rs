//! `_edgepress/current`: the record of the live release, and earlier ones no pack holds yet; a
//! [`sealed`] object.

use serde::{Deserialize, Serialize};

use super::record::Record;
use super::sealed::{self, SealError};

/// What its first line calls it.
const KIND: &str = "current";

/// At most so many records wait for a pack.
pub const MAX_RECORDS: usize = 16;

/// The content of `_edgepress/current`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Current {
    /// The live release's record first, then earlier ones that no pack holds yet, newest first.
    pub records: Vec<Record>,
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
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        sealed::seal(KIND, self)
    }

    /// Reads the object's content.
    ///
    /// # Errors
    /// It was altered, or is of an unknown format.
    pub fn decode(bytes: &[u8]) -> Result<Self, SealError> {
        let current: Self = sealed::open(KIND, bytes)?;
        let is_descending = current.records.is_sorted_by(|a, b| a.number > b.number);
        let count = current.records.len();
        if !is_descending || count == 0 || count > MAX_RECORDS {
            let message = format!("{count} records, which must be 1 to {MAX_RECORDS} in order");
            return Err(SealError::Nonsense(message));
        }
        for record in &current.records {
            record.check().map_err(|error| SealError::Nonsense(error.0.to_owned()))?;
        }
        Ok(current)
    }
}
