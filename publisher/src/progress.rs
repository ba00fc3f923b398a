//! How far a publish has come, for whoever draws it. Refuses to draw.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one publish; shared, and read while they move.
#[derive(Debug, Default)]
pub struct Progress {
    rows: AtomicU64,
    rendered_rows: AtomicU64,
    documents: AtomicU64,
    phase: Mutex<&'static str>,
}

impl Progress {
    /// Rows that were read.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Rows whose documents were made.
    #[must_use]
    pub fn rendered_rows(&self) -> u64 {
        self.rendered_rows.load(Ordering::Relaxed)
    }

    /// Documents that were made.
    #[must_use]
    pub fn documents(&self) -> u64 {
        self.documents.load(Ordering::Relaxed)
    }

    /// What is being done, in a few words.
    #[must_use]
    pub fn phase(&self) -> &'static str {
        *self.phase.lock().expect("no holder of this lock can panic")
    }

    pub(crate) fn begin(&self, phase: &'static str) {
        *self.phase.lock().expect("no holder of this lock can panic") = phase;
    }

    pub(crate) fn read(&self, rows: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }

    pub(crate) fn rendered(&self, rows: u64, documents: u64) {
        self.rendered_rows.fetch_add(rows, Ordering::Relaxed);
        self.documents.fetch_add(documents, Ordering::Relaxed);
    }
}
