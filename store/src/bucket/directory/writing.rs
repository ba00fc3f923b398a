//! Writing an object whole or not at all: to a file without its name first.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, Dir, FlockOperation, Mode, OFlags, flock, openat, renameat, unlinkat};
use rustix::io::Errno;

use super::failure::Failure;
use super::folders::{Folders, remove_if_empty, split};
use crate::bucket::Put;

/// Tells the temporary files of this process apart.
static SERIAL: AtomicU64 = AtomicU64::new(0);

/// Writes `put` whole, replacing what is at its key. The folder is not synced.
pub(super) fn place(folders: &mut Folders, put: &Put, durable: bool) -> Result<(), Failure> {
    let (folder, leaf) = split(&put.key);
    if !durable && add(folders.make(folder)?, leaf, &put.body)? {
        return Ok(());
    }
    let mut attempts = 0;
    loop {
        attempts += 1;
        let from = folders.temporary()?;
        let temporary = Temporary::write(from.as_fd(), &put.body, durable)?;
        let to = folders.make(folder)?;
        match renameat(&from, &temporary.name, to, leaf) {
            Ok(()) => {
                temporary.keep();
                return Ok(());
            }
            // Somebody pruned the folder, or took the temporary file for left over.
            Err(Errno::NOENT) if attempts < 8 => folders.forget(),
            Err(Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST) => {
                if attempts >= 8 || !remove_if_empty(to, leaf)? {
                    return Err(Failure::blocked(&format!("{}/…", put.key)));
                }
            }
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Writes a file without a name and gives it one, which costs a third less than renaming; only where
/// nothing has that name, and where the system can. Otherwise nothing happened.
#[cfg(target_os = "linux")]
fn add(folder: BorrowedFd<'_>, leaf: &str, body: &[u8]) -> Result<bool, Failure> {
    use std::os::fd::AsRawFd as _;

    use rustix::fs::{CWD, linkat, statat};

    if !matches!(statat(folder, leaf, AtFlags::SYMLINK_NOFOLLOW), Err(Errno::NOENT)) {
        return Ok(false);
    }
    let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
    let Ok(file) = openat(folder, c".", flags, Mode::from_raw_mode(0o666)) else { return Ok(false) };
    let mut file = File::from(file);
    file.write_all(body)?;
    let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(linkat(CWD, &*unnamed, folder, leaf, AtFlags::SYMLINK_FOLLOW).is_ok())
}

#[cfg(not(target_os = "linux"))]
fn add(_: BorrowedFd<'_>, _: &str, _: &[u8]) -> Result<bool, Failure> {
    Ok(false)
}

/// A file that is removed again unless it was renamed. It is locked as long as its writer lives, which
/// tells it from what a killed process left.
pub(super) struct Temporary<'a> {
    folder: BorrowedFd<'a>,
    pub(super) name: String,
    kept: bool,
    file: File,
}

impl<'a> Temporary<'a> {
    pub(super) fn write(folder: BorrowedFd<'a>, body: &[u8], durable: bool) -> Result<Self, Failure> {
        let mut temporary = Self::create(folder)?;
        temporary.file.write_all(body)?;
        if durable {
            temporary.file.sync_all()?;
        }
        Ok(temporary)
    }

    fn create(folder: BorrowedFd<'a>) -> Result<Self, Failure> {
        // Some file systems lock only what is open for reading and writing.
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        loop {
            let name = format!("{}-{}", std::process::id(), SERIAL.fetch_add(1, Ordering::Relaxed));
            let file = match openat(folder, &name, flags, Mode::from_raw_mode(0o666)) {
                Ok(file) => File::from(file),
                // Left by an earlier process with our number.
                Err(Errno::EXIST) => continue,
                Err(errno) => return Err(errno.into()),
            };
            // File systems without such locks never clean up, which is safe.
            if flock(&file, FlockOperation::NonBlockingLockShared) != Err(Errno::WOULDBLOCK) {
                return Ok(Self { folder, name, kept: false, file });
            }
        }
    }

    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if !self.kept {
            // What cannot be removed now is left over, and cleaned when the bucket is opened next.
            let _ = unlinkat(self.folder, &self.name, AtFlags::empty());
        }
    }
}

/// Removes the temporary files that no living process holds.
pub(super) fn clean(temporary: BorrowedFd<'_>) -> Result<(), Failure> {
    for entry in Dir::read_from(temporary)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(file) = openat(temporary, name, flags, Mode::empty()) else { continue };
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            match unlinkat(temporary, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
    Ok(())
}
