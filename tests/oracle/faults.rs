//! Faults that the oracle must find, each within a few cases: what finds nothing proves nothing.

use super::case::{Statement, Step};

/// A way of publishing wrongly.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fault {
    pub(super) name: &'static str,
    /// Edits that go unnoticed: nothing is published when all statements since the last time are such.
    misses: fn(&Statement) -> bool,
}

/// All faults.
pub(super) const FAULTS: [Fault; 4] = [
    Fault { name: "deletes go unnoticed", misses: |statement| statement.head.starts_with("DELETE") },
    Fault {
        name: "a change of case goes unnoticed",
        misses: |statement| [" = upper(", " = lower("].iter().any(|set| statement.head.contains(set)),
    },
    Fault { name: "edits of one table go unnoticed", misses: |statement| statement.head.contains(" t1 ") },
    Fault { name: "replacing rows goes unnoticed", misses: |statement| statement.head.contains("REPLACE") },
];

impl Fault {
    /// Whether nothing of a step is noticed; what is no edit of rows always is.
    pub(super) fn misses(&self, step: &Step) -> bool {
        match step {
            Step::Edit(edit) => edit.statements.iter().all(self.misses),
            Step::Restart(_) | Step::Publish(_) => true,
            _ => false,
        }
    }
}
