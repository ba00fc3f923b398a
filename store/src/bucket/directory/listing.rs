//! Listing a folder tree in byte order of keys.

use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;

use super::SWAP_LOCK;
use super::failure::Failure;
use super::folders::TEMPORARY;
use crate::bucket::{Listed, is_safe_key};

/// One page of a listing as it grows.
pub(super) struct Page<'a> {
    /// Only keys after this one.
    pub(super) after: Option<&'a str>,
    /// At most so many.
    pub(super) limit: usize,
    /// What was found.
    pub(super) found: Vec<Listed>,
}

impl Page<'_> {
    /// Adds what lies in `folder`, whose keys begin with `prefix`.
    pub(super) fn add(&mut self, folder: BorrowedFd<'_>, prefix: &str) -> Result<(), Failure> {
        for key in self.entries(folder, prefix)? {
            if self.found.len() >= self.limit {
                break;
            }
            let name = &key[prefix.len()..];
            if let Some(name) = name.strip_suffix('/') {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                match openat(folder, name, flags, Mode::empty()) {
                    Ok(inner) => self.add(rustix::fd::AsFd::as_fd(&inner), &key)?,
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                    Err(errno) => return Err(errno.into()),
                }
            } else {
                match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => {
                        self.found.push(Listed { size: u64::try_from(stat.st_size).unwrap_or(0), key });
                    }
                    Err(Errno::NOENT) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
        }
        Ok(())
    }

    /// The keys directly in `folder`, those of folders ending in `/`: so they sort as what lies in them.
    fn entries(&self, folder: BorrowedFd<'_>, prefix: &str) -> Result<Vec<String>, Failure> {
        let mut keys = Vec::new();
        for entry in Dir::read_from(folder)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if matches!(name, "." | "..") {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                    Err(_) => continue,
                },
                kind => kind,
            };
            let mut key = format!("{prefix}{name}");
            if !is_safe_key(&key) || key == TEMPORARY || key == SWAP_LOCK {
                continue;
            }
            let wanted = match kind {
                FileType::Directory => {
                    key.push('/');
                    self.after.is_none_or(|after| key.as_str() > after || after.starts_with(&key))
                }
                FileType::RegularFile => self.after.is_none_or(|after| key.as_str() > after),
                _ => false,
            };
            if wanted {
                keys.push(key);
            }
        }
        keys.sort_unstable();
        Ok(keys)
    }
}
