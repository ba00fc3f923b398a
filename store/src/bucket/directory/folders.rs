//! Folders of a bucket, opened one component at a time so that no symbolic link is ever followed out
//! of it. Refuses to know what the files in them mean.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fstat, mkdirat, open, openat, statat, unlinkat};
use rustix::io::Errno;

use super::failure::Failure;
use crate::bucket::Kind;

/// Where objects are written before they are renamed to their keys.
pub(super) const TEMPORARY: &str = "_edgepress/tmp";
/// The folder that is never pruned.
pub(super) const OWN: &str = "_edgepress";

/// More open folders than this are not kept during a batch.
const KEPT: usize = 128;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The folders that one operation or batch has open.
pub(super) struct Folders {
    root: OwnedFd,
    open: HashMap<String, OwnedFd>,
    temporary: Option<Rc<OwnedFd>>,
}

impl Folders {
    /// Opens the bucket's root, afresh for each operation: a root that was replaced is noticed.
    pub(super) fn open(root: &Path) -> Result<Self, Failure> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match open(root, flags, Mode::empty()) {
            Ok(root) => Ok(Self { root, open: HashMap::new(), temporary: None }),
            Err(Errno::NOENT) => Err(Failure::new(
                Kind::Other,
                "the bucket's folder is gone: put it back, or start again to have a new one made",
            )),
            Err(errno) => Err(errno.into()),
        }
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The folder at `path` (`""`: the root), if it is there.
    pub(super) fn find(&mut self, path: &str) -> Result<Option<BorrowedFd<'_>>, Failure> {
        match self.walk(path, false) {
            Ok(()) => Ok(Some(self.get(path))),
            // An object where a folder would be: so nothing lies under it.
            Err(failure) if matches!(failure.kind, Kind::NotFound | Kind::Blocked) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// The folder at `path`, made if need be.
    pub(super) fn make(&mut self, path: &str) -> Result<BorrowedFd<'_>, Failure> {
        self.walk(path, true)?;
        Ok(self.get(path))
    }

    /// Drops what is known: somebody removed a folder meanwhile.
    pub(super) fn forget(&mut self) {
        self.open.clear();
        self.temporary = None;
    }

    /// The folder for temporary files.
    pub(super) fn temporary(&mut self) -> Result<Rc<OwnedFd>, Failure> {
        if let Some(temporary) = &self.temporary {
            return Ok(Rc::clone(temporary));
        }
        let temporary = Rc::new(self.make(TEMPORARY)?.try_clone_to_owned()?);
        self.temporary = Some(Rc::clone(&temporary));
        Ok(temporary)
    }

    /// A folder that [`Folders::walk`] has opened.
    fn get(&self, path: &str) -> BorrowedFd<'_> {
        if path.is_empty() { self.root.as_fd() } else { self.open[path].as_fd() }
    }

    fn walk(&mut self, path: &str, make: bool) -> Result<(), Failure> {
        if path.is_empty() || self.open.contains_key(path) {
            return Ok(());
        }
        if self.open.len() >= KEPT {
            self.open.clear();
        }
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        let mut parent = "";
        for end in ends {
            let here = &path[..end];
            if !self.open.contains_key(here) {
                let name = if parent.is_empty() { here } else { &here[parent.len() + 1..] };
                let folder = step(self.get(parent), name, here, make)?;
                self.open.insert(here.to_owned(), folder);
            }
            parent = here;
        }
        Ok(())
    }
}

/// Opens the folder `name` in `parent`; `path` names it in messages.
fn step(parent: BorrowedFd<'_>, name: &str, path: &str, make: bool) -> Result<OwnedFd, Failure> {
    let mut attempts = 0;
    loop {
        match openat(parent, name, FOLDER, Mode::empty()) {
            Ok(folder) => return Ok(folder),
            Err(Errno::NOENT) if make && attempts < 8 => {
                match mkdirat(parent, name, Mode::from_raw_mode(0o777)) {
                    Ok(()) | Err(Errno::EXIST) => attempts += 1,
                    Err(errno) => return Err(errno.into()),
                }
            }
            Err(Errno::NOTDIR | Errno::LOOP) => {
                let link = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
                    .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_symlink());
                return Err(if link { Failure::symlink(path) } else { Failure::blocked(path) });
            }
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Opens the object `leaf` in `folder` for reading, and its size; `key` names it in messages.
pub(super) fn open_object(
    folder: BorrowedFd<'_>,
    leaf: &str,
    key: &str,
) -> Result<Option<(File, u64)>, Failure> {
    // Without NONBLOCK, opening a named pipe would wait for its other end.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(folder, leaf, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => return Err(Failure::symlink(key)),
        Err(errno) => return Err(errno.into()),
    };
    let stat = fstat(&file)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(Some((File::from(file), u64::try_from(stat.st_size).unwrap_or(0)))),
        FileType::Directory => Ok(None),
        _ => Err(Failure::new(Kind::Other, "it is neither a file nor a folder: remove it")),
    }
}

/// Removes the folder `name` in `parent` if nothing but empty folders lie in it.
pub(super) fn remove_if_empty(parent: BorrowedFd<'_>, name: &str) -> Result<bool, Errno> {
    match unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => return Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    let folder = openat(parent, name, FOLDER, Mode::empty())?;
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        let Ok(inner) = entry.file_name().to_str() else { return Ok(false) };
        if matches!(inner, "." | "..") {
            continue;
        }
        let is_folder = match entry.file_type() {
            FileType::Unknown => {
                let stat = statat(&folder, inner, AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(stat.st_mode).is_dir()
            }
            kind => kind.is_dir(),
        };
        if !is_folder || !remove_if_empty(folder.as_fd(), inner)? {
            return Ok(false);
        }
    }
    unlinkat(parent, name, AtFlags::REMOVEDIR).map(|()| true)
}

/// A key's folder and its name in that folder.
pub(super) fn split(key: &str) -> (&str, &str) {
    key.rsplit_once('/').unwrap_or(("", key))
}
