//! The site's files: noticed when they change, read anew.
//!
//! Owns which folders are watched. Refuses to judge what is in them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use edgepress_publisher::watch::Files;
use edgepress_publisher::{PublishError, Source};
use edgepress_store::database::Database;
use notify::{RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use crate::wire;

/// A site's files and the database that they name.
pub(crate) struct SiteFiles {
    site: PathBuf,
    watcher: Watcher,
    /// The database that is open, and its URL.
    database: Option<(String, Arc<dyn Database>)>,
}

impl SiteFiles {
    /// Begins to watch the site that `site` (a `site.toml`) defines.
    pub(crate) fn new(site: &Path) -> Result<Self> {
        Ok(Self { site: site.to_path_buf(), watcher: Watcher::new(site)?, database: None })
    }
}

#[async_trait]
impl Files for SiteFiles {
    fn changed(&mut self) -> bool {
        self.watcher.take()
    }

    async fn load(&mut self) -> Result<(Source, Arc<dyn Database>), PublishError> {
        let source = wire::load(&self.site)?;
        self.watcher.watch(&source);
        let url = &source.site.database.url;
        let database = match self.database.take().filter(|(open, _)| open == url) {
            Some((_, database)) => database,
            None => wire::open_database(&source).await?,
        };
        self.database = Some((url.clone(), database.clone()));
        Ok((source, database))
    }
}

/// Notices changed files.
struct Watcher {
    events: mpsc::Receiver<()>,
    watcher: notify::RecommendedWatcher,
    watched: Vec<Watched>,
}

/// A folder that is watched with all that is in it. What is watched is the folder itself: another one
/// put in its place must be watched anew.
struct Watched {
    /// As the site names it.
    path: PathBuf,
    /// As it was when it was last watched.
    canonical: PathBuf,
    identity: Option<Identity>,
    /// Whether another folder has come into its place since.
    is_stale: bool,
}

/// Device and inode.
type Identity = (u64, u64);

fn identity(folder: &Path) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(folder).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

impl Watcher {
    /// Watches the folder of `site.toml`, for that file alone.
    fn new(site: &Path) -> Result<Self> {
        // One waiting event says as much as a thousand.
        let (sender, events) = mpsc::channel(1);
        let folder = site.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = folder.canonicalize().with_context(|| format!("cannot find {}", folder.display()))?;
        let (own, site) = (folder.clone(), folder.join(site.file_name().unwrap_or_default()));
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let concerns = |path: &PathBuf| path.parent() != Some(&own) || *path == site;
            let is_change =
                |event: &notify::Event| !event.kind.is_access() && event.paths.iter().any(concerns);
            if event.as_ref().map_or(true, is_change) {
                let _ = sender.try_send(());
            }
        });
        let mut watcher = watcher.context("cannot watch files")?;
        watcher.watch(&folder, RecursiveMode::NonRecursive).context("cannot watch the site's folder")?;
        Ok(Self { events, watcher, watched: Vec::new() })
    }

    /// Watches the site's folders too, as they are now.
    fn watch(&mut self, source: &Source) {
        let static_files = source.site.static_files.as_deref();
        let folders = std::iter::once(source.site.templates.as_str()).chain(static_files);
        let folders: Vec<PathBuf> = folders.map(|name| source.resolve(name)).collect();
        let (kept, left): (Vec<_>, Vec<_>) =
            self.watched.drain(..).partition(|folder| folders.contains(&folder.path) && !folder.is_stale);
        self.watched = kept;
        for folder in left {
            // A folder that is gone is watched no more.
            let _ = self.watcher.unwatch(&folder.canonical);
        }
        for path in folders {
            if self.watched.iter().any(|folder| folder.path == path) {
                continue;
            }
            let identity = identity(&path);
            let mut folder = Watched { canonical: path.clone(), path, identity, is_stale: false };
            if let Ok(canonical) = folder.path.canonicalize() {
                if let Err(error) = self.watcher.watch(&canonical, RecursiveMode::Recursive) {
                    eprintln!("cannot watch {}: {error}", canonical.display());
                }
                folder.canonical = canonical;
            }
            self.watched.push(folder);
        }
    }

    /// Whether a file changed since this was last asked, or another folder stands in a watched one's place.
    fn take(&mut self) -> bool {
        let mut is_changed = self.events.try_recv().is_ok();
        for folder in &mut self.watched {
            let now = identity(&folder.path);
            if folder.identity != now {
                folder.identity = now;
                folder.is_stale = true;
                is_changed = true;
            }
        }
        is_changed
    }
}
