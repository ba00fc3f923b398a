//! What the file system's errors mean for a bucket, and what to do about them.

use std::io;

use rustix::io::Errno;

use crate::bucket::{BucketError, Kind};

/// A failure that does not yet know which operation and object it belongs to.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: Kind,
    /// With the system's own words, so there is no source to be printed beside it.
    pub(super) message: String,
}

impl Failure {
    pub(super) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// `prefix` is an object, so nothing can lie under it.
    pub(super) fn blocked(prefix: &str) -> Self {
        Self::new(
            Kind::Blocked,
            format!(
                "another object lies at {prefix}: one path cannot be the folder of another, rename one of them"
            ),
        )
    }

    pub(super) fn symlink(path: &str) -> Self {
        Self::new(
            Kind::Denied,
            format!("{path} is a symbolic link, which is never followed: put a folder or file in its place"),
        )
    }

    /// Completes the failure with what was tried on which object.
    pub(super) fn of(self, operation: &'static str, object: &str, bucket: &str) -> BucketError {
        BucketError {
            kind: self.kind,
            operation,
            object: object.to_owned(),
            bucket: bucket.to_owned(),
            message: self.message,
            source: None,
        }
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        io::Error::from(errno).into()
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let (kind, remedy) = match Errno::from_io_error(&error) {
            Some(Errno::NOENT) => (Kind::NotFound, ""),
            Some(Errno::NOTDIR | Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST) => {
                (Kind::Blocked, "another object lies in the way, remove one of them")
            }
            Some(Errno::ACCESS | Errno::PERM) => {
                (Kind::Denied, "give the user that runs this command the right to write there")
            }
            Some(Errno::ROFS) => {
                (Kind::Denied, "mount it writable or choose another folder in [storage] url")
            }
            Some(Errno::NOSPC | Errno::DQUOT) => {
                (Kind::Full, "free some space or move the bucket to a larger disk")
            }
            Some(Errno::FBIG) => (Kind::Full, "raise the limit of file sizes (ulimit -f)"),
            Some(Errno::XDEV) => (Kind::Other, "the whole bucket must lie on one file system"),
            Some(Errno::MFILE | Errno::NFILE) => (Kind::Other, "raise the limit of open files"),
            _ => (Kind::Other, ""),
        };
        let message = if remedy.is_empty() { error.to_string() } else { format!("{error}: {remedy}") };
        Self { kind, message }
    }
}
