//! What can keep a release from going live.

use edgepress_site::problem::Problems;
use edgepress_site::release::Malformed;
use edgepress_store::bucket::BucketError;
use edgepress_store::database::DatabaseError;
use edgepress_store::release::ReleaseError;

/// Nothing was released; what is live stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Mistakes in the site.
    #[error(transparent)]
    Site(#[from] Problems),
    /// The database failed while a collection was read.
    #[error("collection `{collection}`{include}")]
    Rows {
        /// The collection.
        collection: String,
        /// The include, as `, include ...`; or empty.
        include: String,
        /// Why.
        source: DatabaseError,
    },
    /// The database cannot be used at all.
    #[error("the site's database")]
    Database(#[source] DatabaseError),
    /// A row does not have what its collection needs.
    #[error("collection `{collection}`{include}: {message}")]
    Row {
        /// The collection.
        collection: String,
        /// The include, as `, include ...`; or empty.
        include: String,
        /// What is wrong and what to do.
        message: String,
    },
    /// Documents that could not be made.
    #[error("{}", list(.0, *.1))]
    Keys(Vec<String>, u64),
    /// Two documents cannot lie side by side.
    #[error("{0}")]
    Paths(String),
    /// The release would remove or empty more than the guard allows.
    #[error(
        "the release would remove {removed} and empty {emptied} of {documents} documents, more than the guard of {guard} allows: look at `edgepress publish --dry-run`, then repeat with `--yes`"
    )]
    Guard {
        /// Documents that would go.
        removed: u64,
        /// Documents that would become empty.
        emptied: u64,
        /// Documents in the live release.
        documents: u64,
        /// The share that is allowed.
        guard: f64,
    },
    /// The site is held.
    #[error(
        "the site is held since release {0}, a rollback: `edgepress publish --resume` releases what was edited since"
    )]
    Held(u64),
    /// Somebody else released first.
    #[error("another publisher released {0} first, so nothing was changed: publish again")]
    Lost(u64),
    /// The live release was made by a later version.
    #[error("release {0} was made by a later version of edgepress: publish with that one, or with `--full`")]
    Newer(u64),
    /// Somebody else released the site as it is defined elsewhere.
    #[error(
        "release {0} was made by another publisher, with another site.toml or other templates or static files: this \
         one waits until its own files change; end one of the two, or give both the same files"
    )]
    Other(u64),
    /// Somebody else is publishing.
    #[error("another publisher is at work on {0}: wait for it, or end it")]
    Locked(String),
    /// The releases cannot be read or written.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// A local file failed.
    #[error("{what}")]
    File {
        /// What was done with which file.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A follower did not reach the release, which is live all the same.
    #[error(
        "release {release} is live, but `{follower}` is still at {reached}; the next publish tries again"
    )]
    Lagging {
        /// The live release.
        release: u64,
        /// The follower.
        follower: &'static str,
        /// The release it has reached; 0 for none.
        reached: u64,
        /// Why.
        source: Box<Self>,
    },
    /// A follower needs more time than it was given.
    #[error("it needs more time than `--wait` gave it")]
    Waited,
    /// A thread of ours ended early.
    #[error("an internal task ended early: {0}")]
    Task(String),
}

impl From<BucketError> for PublishError {
    fn from(error: BucketError) -> Self {
        Self::Release(error.into())
    }
}

impl From<Malformed> for PublishError {
    fn from(error: Malformed) -> Self {
        Self::Release(error.into())
    }
}

impl From<tokio::task::JoinError> for PublishError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Task(error.to_string())
    }
}

/// Errors of the temporary files that keep memory bounded.
pub(crate) fn temporary(source: std::io::Error) -> PublishError {
    PublishError::File { what: "a temporary file, in the folder that TMPDIR names".to_owned(), source }
}

/// An error with its causes, on one line.
#[must_use]
pub fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn list(errors: &[String], count: u64) -> String {
    use std::fmt::Write as _;
    let documents = if count == 1 { "document" } else { "documents" };
    let mut text = format!("{count} {documents} could not be made, so nothing was published");
    for error in errors {
        write!(text, "\n  {error}").expect("strings take what is written");
    }
    if count > errors.len() as u64 {
        write!(text, "\n  and {} more", count - errors.len() as u64).expect("strings take what is written");
    }
    text.push_str("\n  mend the rows, or publish everything else with `--keep-going`");
    text
}
