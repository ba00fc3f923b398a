//! What a publish is asked for, and what it tells of itself.

use std::collections::BTreeMap;

use edgepress_site::release::record::Counts;

use crate::plan::Difference;

/// How a publish is to behave.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Believe nothing that is stored: read all of the live release, store anew whatever is missing or
    /// altered, and write every object of the mirror.
    pub full: bool,
    /// Only say what would change.
    pub dry_run: bool,
    /// Go ahead whatever the guard says.
    pub yes: bool,
    /// Release although the site is held, and hold it no longer.
    pub resume: bool,
    /// Publish what can be made; documents that cannot keep their old content.
    pub keep_going: bool,
    /// Try what failed before only when it is due by the clock, as a watcher does; otherwise always.
    pub patient: bool,
    /// List up to so many differences.
    pub list: usize,
    /// How long to try to bring the followers along; without one, once.
    pub wait: Option<std::time::Duration>,
}

impl Options {
    /// Why there is a new release, in a few words.
    pub(crate) fn cause(self) -> &'static str {
        match self {
            Self { resume: true, .. } => "publish --resume",
            Self { full: true, .. } => "publish --full",
            _ => "publish",
        }
    }
}

/// What a publish did.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Report {
    /// The release that is live now.
    pub release: u64,
    /// The root hash that names its content.
    pub root: String,
    /// What changed.
    #[serde(flatten)]
    pub counts: Counts,
    /// Documents that were rendered.
    pub rendered: u64,
    /// Keys whose documents were rendered, or found to be gone.
    pub keys: u64,
    /// Why everything was rendered, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full: Option<String>,
    /// Collections that were rendered as a whole, and why; where not everything was.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub whole: BTreeMap<String, String>,
    /// From the oldest edit in it to the swap, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u64>,
    /// Bytes that were written to the bucket as packs.
    pub bytes_uploaded: u64,
    /// Whether there was a new release.
    pub released: bool,
    /// Whether nothing was written because it was a dry run.
    pub dry_run: bool,
    /// Documents that could not be made and keep their old content.
    pub failed: u64,
    /// The first of their errors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    /// Differences, where they were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
}
