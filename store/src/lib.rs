//! Where things are kept.
//!
//! Owns: the small traits behind which buckets and databases stand, each adapter with the mapping of
//! its errors, and the release store built on a bucket. Refuses to decide what is published when, or
//! what may be served.

pub mod bucket;
pub mod database;
pub mod release;
