//! `dev`: publish, serve, and publish again whenever rows, templates, static files or `site.toml` change.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use edgepress_origin::Origin;
use edgepress_publisher::progress::Progress;
use edgepress_publisher::{Options, Report, Source};
use edgepress_store::database::{Database as _, Sqlite};
use notify::{RecursiveMode, Watcher as _};
use serde_json::json;
use tokio::sync::{mpsc, watch};

use super::publish::text;
use super::serve::{bind, origin, stopped};
use crate::cli::{Dev, Format};
use crate::output::{self, Bar};
use crate::wire::{self, Wired};
use crate::{failure, signals, starter};

/// How often rows are looked at.
const POLL: Duration = Duration::from_millis(50);

pub(crate) async fn dev(options: Dev, site: &Path, format: Format) -> Result<()> {
    let site = match &options.dir {
        Some(dir) => dir.join("site.toml"),
        None => site.to_path_buf(),
    };
    if !site.exists() {
        let dir = site.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        starter::write(dir)?;
        eprintln!("wrote the starter site into {}", dir.display());
    }
    let wired = Wired::open(&site).await?;
    let settings = wired.source.site.origin.clone();
    let public = bind(options.listen.as_deref().unwrap_or(&settings.listen), "listen").await?;
    let listen = public.local_addr()?;
    let origin = origin(wired.bucket.clone(), &settings);
    let stop = signals::stop();
    let mut developing = Developing {
        watcher: Watcher::new(&site)?,
        database: None,
        version: None,
        origin,
        wired,
        site,
        format,
    };
    // The first publish comes first, so that there is something to serve; if it fails, what is live is
    // served all the same.
    let first = tokio::select! {
        () = stopped(stop.clone()) => return Ok(()),
        first = developing.publish() => first,
    };
    let serving = tokio::spawn(developing.origin.clone().serve(public, None, stopped(stop.clone())));
    developing.run(first, stop, &format!("http://{listen}")).await?;
    serving.await??;
    Ok(())
}

/// A site under development.
struct Developing {
    site: PathBuf,
    format: Format,
    wired: Wired,
    origin: Arc<Origin>,
    database: Option<Sqlite>,
    /// What the database said of itself when rows were last read.
    version: Option<i64>,
    watcher: Watcher,
}

impl Developing {
    async fn run(
        &mut self,
        mut released: Result<(Report, u64)>,
        stop: watch::Receiver<bool>,
        address: &str,
    ) -> Result<()> {
        let mut stopped = std::pin::pin!(stopped(stop));
        let mut is_first = true;
        loop {
            match released {
                Ok(report) => self.tell(&report, is_first, address).await,
                Err(error) => {
                    // One broken row or template does not stop the shop: what is live stays.
                    failure::report(&error, self.format);
                    if is_first {
                        eprintln!("serving what is live on {address}/ until that is mended");
                    }
                }
            }
            is_first = false;
            tokio::select! {
                () = &mut stopped => return Ok(()),
                changed = self.changed() => changed?,
            }
            released = tokio::select! {
                () = &mut stopped => return Ok(()),
                released = self.publish() => released,
            };
        }
    }

    /// Reads the site anew and publishes it.
    async fn publish(&mut self) -> Result<(Report, u64)> {
        let begun = Instant::now();
        let source = wire::load(&self.site)?;
        self.watcher.watch(&source);
        let is_same = self.wired.source.site.database.url == source.site.database.url;
        self.wired.source = source;
        if !is_same {
            self.database = None;
        }
        let database = match &self.database {
            Some(database) => database,
            None => self.database.insert(self.wired.database().await?),
        };
        // Read first: an edit during the publish is seen afterwards.
        self.version = Some(database.data_version().await?);
        let progress = Arc::new(Progress::default());
        let bar = Bar::draw(&progress, self.format);
        let report =
            self.wired.publisher.publish(&self.wired.source, database, Options::default(), &progress).await;
        drop(bar);
        Ok((report?, begun.elapsed().as_millis() as u64))
    }

    async fn tell(&self, (report, elapsed_ms): &(Report, u64), is_first: bool, address: &str) {
        self.origin.follow_now();
        self.origin.wait_for(report.release).await;
        match self.format {
            Format::Json => output::result(
                self.format,
                &json!({ "url": address, "elapsed_ms": elapsed_ms, "report": report }),
                "",
            ),
            Format::Text if is_first => {
                output::line_out(&text(report, *elapsed_ms));
                output::line_out(&format!("\n  {address}/\n"));
                let database = &self.wired.source.site.database;
                let file = self.wired.source.resolve(database.file());
                output::line_out(&format!(
                    "edit rows in {} or files beside it, and see them live; Ctrl-C ends",
                    file.display()
                ));
            }
            Format::Text if report.released => output::line_out(&text(report, *elapsed_ms)),
            Format::Text => {}
        }
    }

    /// Waits until rows or files have changed, and the changes pause.
    async fn changed(&mut self) -> Result<()> {
        let publish = self.wired.source.site.publish.clone();
        loop {
            if self.watcher.take() || self.rows_changed().await {
                break;
            }
            tokio::time::sleep(POLL).await;
        }
        let begun = Instant::now();
        while begun.elapsed() < publish.max_wait {
            tokio::time::sleep(publish.quiet).await;
            if !(self.watcher.take() || self.rows_changed().await) {
                break;
            }
        }
        Ok(())
    }

    /// Whether somebody committed since this was last asked. A database that cannot say so counts as
    /// unchanged: the next publish reports it.
    async fn rows_changed(&mut self) -> bool {
        let Some(database) = &self.database else { return false };
        match database.data_version().await {
            Ok(version) => self.version.replace(version) != Some(version),
            Err(_) => false,
        }
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
