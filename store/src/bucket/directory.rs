//! A folder of the local file system as a bucket.
//!
//! Owns the syscalls: whole-or-not-at-all writes, their durability, the locks, and that nothing
//! outside the folder is ever touched. Refuses to keep headers: whoever serves the folder makes them
//! from the path.

mod failure;
mod folders;
mod listing;
#[cfg(test)]
mod tests;
mod writing;

use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::io::Read as _;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use edgepress_site::version::Digest;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, fstat, fsync, openat, statat, unlinkat};
use rustix::io::Errno;

use self::failure::Failure;
use self::folders::{Folders, OWN, TEMPORARY, open_object, split};
use self::listing::Page;
use self::writing::{clean, place};
use super::{Bucket, BucketError, Kind, Listed, Lock, Object, Put, Swap, Tag, is_safe_key};

/// Held while an object is compared and set.
const SWAP_LOCK: &str = "_edgepress/cas.lock";
/// How often a compare-and-set tries to get that lock, [`SWAP_PAUSE`] apart.
const SWAP_TRIES: u32 = 10_000;
const SWAP_PAUSE: Duration = Duration::from_millis(1);
/// Folders remembered as durable; beyond that they are synced again.
const DURABLE_FOLDERS: usize = 4096;

/// One for each object of a batch, in order.
type Answers = Vec<Result<(), Failure>>;

/// A folder of the local file system.
#[derive(Debug, Clone)]
pub struct Directory {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    name: String,
    /// Whether a folder that is not there is an empty one, rather than one that was lost.
    may_be_absent: bool,
    /// One compare-and-set of this process at a time: only other processes are waited for by polling.
    swap: Mutex<()>,
    /// Folders whose own entries this process has made durable.
    durable: Mutex<HashSet<String>>,
}

impl Directory {
    /// Opens the folder at `path`, making it if it is not there; `name` is what the user calls it.
    /// A folder that may only be read can be opened, and read.
    ///
    /// # Errors
    /// When it cannot be made or opened.
    pub async fn open(path: impl Into<PathBuf>, name: impl Into<String>) -> Result<Self, BucketError> {
        let directory = Self::new(path, name, false);
        let object = format!("the folder {}", directory.inner.path.display());
        directory.run("open", &object, Inner::prepare).await?;
        Ok(directory)
    }

    /// The same to look at only: makes and cleans nothing. As long as the folder is not there, nothing is in it.
    #[must_use]
    pub fn look(path: impl Into<PathBuf>, name: impl Into<String>) -> Self {
        Self::new(path, name, true)
    }

    fn new(path: impl Into<PathBuf>, name: impl Into<String>, may_be_absent: bool) -> Self {
        let inner = Inner {
            path: path.into(),
            name: name.into(),
            may_be_absent,
            swap: Mutex::new(()),
            durable: Mutex::new(HashSet::new()),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Runs `work` where it may block. It goes on if the caller is dropped.
    async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        object: &str,
        work: impl FnOnce(&Inner) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, BucketError> {
        let inner = Arc::clone(&self.inner);
        let result =
            finish(tokio::task::spawn_blocking(move || work(&inner)).await).and_then(|result| result);
        result.map_err(|failure| failure.of(operation, object, &self.inner.name))
    }

    /// Runs `work` on every one of `items` in one batch.
    async fn run_many<I: Send + 'static>(
        &self,
        operation: &'static str,
        items: Vec<I>,
        key: fn(&I) -> &str,
        work: fn(&Inner, &[I]) -> Answers,
    ) -> Vec<Result<(), BucketError>> {
        let inner = Arc::clone(&self.inner);
        let keys: Vec<String> = items.iter().map(|item| key(item).to_owned()).collect();
        let results = match finish(tokio::task::spawn_blocking(move || work(&inner, &items)).await) {
            Ok(results) => results,
            Err(failure) => keys.iter().map(|_| Err(Failure::new(failure.kind, &failure.message))).collect(),
        };
        let named = |(result, key): (Result<(), Failure>, &String)| {
            result.map_err(|failure| failure.of(operation, key, &self.inner.name))
        };
        results.into_iter().zip(&keys).map(named).collect()
    }
}

/// A task's result; its panic goes on in the caller.
fn finish<T>(joined: Result<T, tokio::task::JoinError>) -> Result<T, Failure> {
    joined.map_err(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(error) => Failure::new(Kind::Other, format!("the program is shutting down: {error}")),
    })
}

#[async_trait]
impl Bucket for Directory {
    fn name(&self) -> &str {
        &self.inner.name
    }

    async fn get(&self, key: &str) -> Result<Option<Object>, BucketError> {
        let owned = key.to_owned();
        let read = move |inner: &Inner| {
            let body = inner.read(&owned)?;
            Ok(body.map(|body| Object { tag: tag(&body), body }))
        };
        self.run("read", key, read).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, BucketError> {
        let owned = key.to_owned();
        self.run("read", key, move |inner| inner.read_range(&owned, range)).await
    }

    async fn put(&self, put: Put) -> Result<(), BucketError> {
        let key = put.key.clone();
        self.run("write", &key, move |inner| inner.put(&put)).await
    }

    async fn put_many(&self, puts: Vec<Put>) -> Vec<Result<(), BucketError>> {
        self.run_many("write", puts, |put| &put.key, Inner::put_many).await
    }

    async fn compare_and_set(&self, expected: Option<&Tag>, put: Put) -> Result<Swap, BucketError> {
        let (key, expected) = (put.key.clone(), expected.cloned());
        self.run("replace", &key, move |inner| inner.compare_and_set(expected.as_ref(), &put)).await
    }

    async fn delete_many(&self, keys: Vec<String>) -> Vec<Result<(), BucketError>> {
        self.run_many("delete", keys, String::as_str, Inner::delete_many).await
    }

    async fn sync(&self) -> Result<(), BucketError> {
        self.run("make durable", "what was written", Inner::sync).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Listed>, BucketError> {
        let (owned, after) = (prefix.to_owned(), after.map(str::to_owned));
        let object = if prefix.is_empty() { "the objects" } else { prefix };
        self.run("list", object, move |inner| inner.list(&owned, after.as_deref(), limit)).await
    }

    async fn try_lock(&self, name: &str) -> Result<Option<Box<dyn Lock>>, BucketError> {
        let owned = name.to_owned();
        let held = self.run("lock", name, move |inner| inner.try_lock(&owned)).await?;
        Ok(held.map(|file| Box::new(Held { _file: file }) as Box<dyn Lock>))
    }
}

/// A lock on an open file: the system releases it when the file is closed, so also when we die.
#[derive(Debug)]
struct Held {
    _file: File,
}

impl Lock for Held {}

impl Inner {
    /// Makes the bucket's folder and clears away what killed processes left.
    fn prepare(&self) -> Result<(), Failure> {
        let missing: Vec<&Path> = self.path.ancestors().take_while(|path| !path.exists()).collect();
        std::fs::create_dir_all(&self.path)?;
        for made in missing.into_iter().rev() {
            let parent = match made.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
            File::open(parent)?.sync_all()?;
        }
        let mut folders = Folders::open(&self.path)?;
        match folders.find(TEMPORARY) {
            Ok(Some(temporary)) => {
                if let Err(failure) = clean(temporary) {
                    tracing::debug!(bucket = %self.name, "left-over temporary files stay: {}", failure.message);
                }
            }
            Ok(None) => {}
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    fn folders(&self, key: &str) -> Result<Folders, Failure> {
        check(key)?;
        Folders::open(&self.path)
    }

    /// The folders to read from.
    fn readable(&self) -> Result<Option<Folders>, Failure> {
        if self.may_be_absent && !self.path.exists() {
            return Ok(None);
        }
        Folders::open(&self.path).map(Some)
    }

    fn open(&self, key: &str) -> Result<Option<(File, u64)>, Failure> {
        check(key)?;
        let Some(mut folders) = self.readable()? else { return Ok(None) };
        let (folder, leaf) = split(key);
        match folders.find(folder)? {
            Some(folder) => open_object(folder, leaf, key),
            None => Ok(None),
        }
    }

    fn read(&self, key: &str) -> Result<Option<Bytes>, Failure> {
        let Some((mut file, size)) = self.open(key)? else { return Ok(None) };
        let mut body = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        file.read_to_end(&mut body)?;
        Ok(Some(body.into()))
    }

    fn read_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, Failure> {
        let Some((file, size)) = self.open(key)? else {
            return Err(Failure::new(Kind::NotFound, "it is not there"));
        };
        let length = range.end.checked_sub(range.start).and_then(|length| usize::try_from(length).ok());
        let Some(length) = length.filter(|_| range.end <= size) else {
            let message =
                format!("it has {size} bytes, wanted were those from {} to {}", range.start, range.end);
            return Err(Failure::new(Kind::TooShort, message));
        };
        let mut body = vec![0; length];
        file.read_exact_at(&mut body, range.start)?;
        Ok(body.into())
    }

    fn put(&self, put: &Put) -> Result<(), Failure> {
        let mut folders = self.folders(&put.key)?;
        place(&mut folders, put, true)?;
        self.make_durable(&mut folders, &put.key)
    }

    fn put_many(&self, puts: &[Put]) -> Answers {
        let mut folders = None;
        let mut put_one = |put: &Put| {
            check(&put.key)?;
            if folders.is_none() {
                folders = Some(Folders::open(&self.path)?);
            }
            place(folders.as_mut().expect("opened just above"), put, false)
        };
        puts.iter().map(&mut put_one).collect()
    }

    /// Syncs the folder of `key`, and the entries of the folders around it.
    fn make_durable(&self, folders: &mut Folders, key: &str) -> Result<(), Failure> {
        let (mut folder, _) = split(key);
        fsync(folders.make(folder)?)?;
        while !folder.is_empty() && !self.durable().contains(folder) {
            let (parent, _) = split(folder);
            fsync(folders.make(parent)?)?;
            let mut durable = self.durable();
            if durable.len() >= DURABLE_FOLDERS {
                durable.clear();
            }
            durable.insert(folder.to_owned());
            folder = parent;
        }
        Ok(())
    }

    fn durable(&self) -> MutexGuard<'_, HashSet<String>> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn compare_and_set(&self, expected: Option<&Tag>, put: &Put) -> Result<Swap, Failure> {
        let mut folders = self.folders(&put.key)?;
        let _turn = self.swap.lock().unwrap_or_else(PoisonError::into_inner);
        let _held = wait_for_swap_lock(folders.make(OWN)?)?;
        let current = self.read(&put.key)?.map(|body| tag(&body));
        if current.as_ref() != expected {
            return Ok(Swap::Lost);
        }
        place(&mut folders, put, true)?;
        self.make_durable(&mut folders, &put.key)?;
        Ok(Swap::Done(tag(&put.body)))
    }

    fn delete_many(&self, keys: &[String]) -> Answers {
        let mut folders = match Folders::open(&self.path) {
            Ok(folders) => folders,
            Err(failure) => {
                return keys.iter().map(|_| Err(Failure::new(failure.kind, &failure.message))).collect();
            }
        };
        let mut emptied = BTreeSet::new();
        let mut delete_one = |key: &String| {
            check(key)?;
            let (folder, leaf) = split(key);
            let Some(open) = folders.find(folder)? else { return Ok(()) };
            match unlinkat(open, leaf, AtFlags::empty()) {
                Ok(()) => {
                    if !emptied.contains(folder) {
                        emptied.insert(folder.to_owned());
                    }
                    Ok(())
                }
                Err(Errno::NOENT | Errno::ISDIR) => Ok(()),
                Err(errno) => Err(errno.into()),
            }
        };
        let results = keys.iter().map(&mut delete_one).collect();
        // Inner folders come after the ones around them.
        for folder in emptied.iter().rev() {
            self.prune(&mut folders, folder);
        }
        results
    }

    /// Removes `folder` and the folders around it as far as they are empty. A folder that stays by
    /// accident does no harm, so failures end the pruning only.
    fn prune(&self, folders: &mut Folders, folder: &str) {
        let mut folder = folder;
        while !folder.is_empty() && folder != OWN {
            let (parent, name) = split(folder);
            let Ok(Some(around)) = folders.find(parent) else { return };
            if unlinkat(around, name, AtFlags::REMOVEDIR).is_err() {
                return;
            }
            self.durable().remove(folder);
            folder = parent;
        }
    }

    fn sync(&self) -> Result<(), Failure> {
        let folders = Folders::open(&self.path)?;
        #[cfg(target_os = "linux")]
        rustix::fs::syncfs(folders.root())?;
        #[cfg(not(target_os = "linux"))]
        {
            drop(folders);
            rustix::fs::sync();
        }
        Ok(())
    }

    fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, Failure> {
        let folder = match prefix.strip_suffix('/') {
            Some(folder) if is_safe_key(folder) => folder,
            None if prefix.is_empty() => "",
            _ => return Err(Failure::new(Kind::Other, "it is not a folder's key followed by a slash")),
        };
        let Some(mut folders) = self.readable()? else { return Ok(Vec::new()) };
        let mut page = Page { after, limit, found: Vec::new() };
        if let Some(folder) = folders.find(folder)? {
            page.add(folder, prefix)?;
        }
        Ok(page.found)
    }

    fn try_lock(&self, key: &str) -> Result<Option<File>, Failure> {
        let mut folders = self.folders(key)?;
        let (folder, leaf) = split(key);
        let folder = folders.make(folder)?;
        loop {
            let file = open_lock(folder, leaf)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(errno) => return Err(errno.into()),
            }
            // Somebody may have removed the file between opening and locking it.
            let (ours, there) = (fstat(&file)?, statat(folder, leaf, AtFlags::SYMLINK_NOFOLLOW));
            if there.is_ok_and(|there| (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)) {
                return Ok(Some(file));
            }
        }
    }
}

/// Names the content `body`.
fn tag(body: &[u8]) -> Tag {
    Tag(Digest::of(body).to_string())
}

fn check(key: &str) -> Result<(), Failure> {
    if !is_safe_key(key) {
        return Err(Failure::new(
            Kind::Other,
            "this cannot be a key: empty, `.`, `..`, too long or control characters",
        ));
    }
    if key == SWAP_LOCK
        || key == TEMPORARY
        || key.strip_prefix(TEMPORARY).is_some_and(|rest| rest.starts_with('/'))
    {
        return Err(Failure::new(Kind::Other, "the bucket keeps this key for itself"));
    }
    Ok(())
}

fn open_lock(folder: BorrowedFd<'_>, leaf: &str) -> Result<File, Failure> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(openat(folder, leaf, flags, Mode::from_raw_mode(0o666))?))
}

fn wait_for_swap_lock(own: BorrowedFd<'_>) -> Result<File, Failure> {
    let (_, leaf) = split(SWAP_LOCK);
    let file = open_lock(own, leaf)?;
    for _ in 0..SWAP_TRIES {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(Errno::WOULDBLOCK) => std::thread::sleep(SWAP_PAUSE),
            Err(errno) => return Err(errno.into()),
        }
    }
    let message = format!("another process holds {SWAP_LOCK} and does not let go: is it stopped?");
    Err(Failure::new(Kind::Other, message))
}
