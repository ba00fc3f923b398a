//! Edit to live: reads rows, renders documents, commits releases, brings followers along.
//!
//! Owns: what is released and when; the order of reading, writing and swapping; guards; the mirror.
//! Refuses to serve anything.

pub mod check;
mod codec;
mod collect;
mod commit;
mod consumer;
pub mod error;
pub mod explain;
pub mod follower;
pub mod history;
mod impact;
mod key;
mod packs;
mod plan;
mod prepare;
pub mod progress;
mod publish;
mod render;
mod report;
mod rollback;
mod rows;
mod scope;
mod sort;
mod sound;
pub mod source;
mod spool;
mod state;
mod touch;
mod verify;
pub mod watch;

use std::sync::Arc;

use edgepress_store::bucket::Bucket;
use edgepress_store::release::Releases;

pub use consumer::{captured, impact_of};
pub use error::{PublishError, whole};
pub use follower::Standing;
pub use impact::{Impact, Precision};
pub use plan::{Difference, Kind};
pub use prepare::Prepared;
pub use publish::Session;
pub use report::{Options, Report};
pub use rollback::rollback;
pub use source::Source;
pub use verify::{Verified, verify};

/// The clock: milliseconds since 1970.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What a publisher works with.
#[derive(Clone)]
pub struct Publisher {
    /// The releases it adds to.
    pub releases: Releases,
    /// Where current documents lie at their own paths, if anywhere.
    pub objects: Option<Arc<dyn Bucket>>,
    /// The clock.
    pub clock: Clock,
    /// Unique to this process: tells our own swap from another's.
    pub writer: String,
    /// What the database calls the consumer of its changes: another name for each bucket that releases go
    /// to, whatever site or machine they come from.
    pub consumer: String,
    /// Rendering threads.
    pub threads: usize,
}
