//! Watch: edits go live by themselves.
//!
//! Owns when a publish begins: as soon as rows or files have changed and the storm pauses, when something
//! is due by the clock, and again after a failure, later and later. Whatever fails is told and tried again;
//! nothing but the caller ends it. Followers run beside it, each at its own pace.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use edgepress_site::problem::{Problem, Problems};
use edgepress_store::database::Database;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::Publisher;
use crate::error::{PublishError, whole};
use crate::follower::{self, Standing};
use crate::prepare::Prepared;
use crate::progress::Progress;
use crate::publish::Session;
use crate::report::{Options, Report};
use crate::source::Source;

/// How often rows and files are looked at as long as somebody edits,
const POLL: Duration = Duration::from_millis(5);

/// and how often when nobody did for a while: to look costs more than the wait matters then.
const IDLE_POLL: Duration = Duration::from_millis(20);

/// How long somebody who edited is likely to edit again.
const ACTIVE: Duration = Duration::from_secs(60);

/// After a failure the next try comes after this long,
const RETRY: Duration = Duration::from_millis(250);

/// each time after twice as long, up to this.
const MAX_RETRY: Duration = Duration::from_secs(30);

/// The site's files, as whoever watches them knows them.
#[async_trait]
pub trait Files: Send {
    /// Whether one changed since this was last asked.
    fn changed(&mut self) -> bool;

    /// Reads the site as it is now, and opens its database.
    async fn load(&mut self) -> Result<(Source, Arc<dyn Database>), PublishError>;
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// A publish ended well, after so many milliseconds. It may have had nothing to release.
    Published(Box<Report>, u64),
    /// A publish failed, and will be tried again.
    Failed(PublishError),
    /// A follower reached a release, or failed to.
    Follower(Standing),
}

/// A watching publisher.
pub struct Watch<'a> {
    publisher: Publisher,
    files: &'a mut dyn Files,
    progress: Arc<Progress>,
    working: Option<Working>,
    /// Whether the site's files changed since they were read.
    is_outdated: bool,
    /// For the next publish only: what was asked for at the start.
    options: Options,
    /// How long to wait after the failure that came last.
    pause: Option<Duration>,
    /// The failure that was told last: what keeps failing in the same way is told once.
    told: String,
    /// What the database said of itself before the last publish.
    tried: Option<i64>,
    /// When something last changed.
    changed: Instant,
}

/// The site as it was last read without mistakes.
struct Working {
    session: Session,
    database: Arc<dyn Database>,
    /// What the database said of itself before rows were last read.
    version: Option<i64>,
}

impl<'a> Watch<'a> {
    /// Gets ready to watch. The first publish behaves as `options` say; later ones release what changed.
    pub fn new(
        publisher: Publisher,
        files: &'a mut dyn Files,
        options: Options,
        progress: Arc<Progress>,
    ) -> Self {
        Self {
            publisher,
            files,
            progress,
            working: None,
            is_outdated: false,
            options,
            pause: None,
            told: String::new(),
            tried: None,
            changed: Instant::now(),
        }
    }

    /// Publishes until `stop`; tells of everything that happens.
    pub async fn run(mut self, stop: impl Future<Output = ()>, mut tell: impl FnMut(Event)) {
        let mut stop = std::pin::pin!(stop);
        let (released, releases) = watch::channel(0);
        let (sender, mut standings) = mpsc::channel(16);
        let mut followers = JoinSet::new();
        for follower in self.publisher.followers() {
            let sender = sender.clone();
            // A standing that nobody has read yet is as good as the next one.
            let tell = move |standing| drop(sender.try_send(standing));
            followers.spawn(follower::keep(
                self.publisher.releases.clone(),
                follower,
                releases.clone(),
                tell,
            ));
        }
        let mut is_first = true;
        loop {
            let work = async {
                if !std::mem::take(&mut is_first) {
                    self.wait().await;
                }
                self.cycle().await
            };
            let mut work = std::pin::pin!(work);
            let events = loop {
                tokio::select! {
                    () = &mut stop => return,
                    Some(standing) = standings.recv() => tell(Event::Follower(standing)),
                    events = &mut work => break events,
                }
            };
            for event in events {
                if let Event::Published(report, _) = &event {
                    released.send_replace(report.release);
                }
                tell(event);
            }
        }
    }

    /// Reads the site if its files changed, then publishes; what both came to. A site with mistakes does not
    /// keep rows from going live as it was before.
    async fn cycle(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        if self.files_changed() || self.working.is_none() {
            events.extend(self.load().await.err().map(Event::Failed));
        }
        let begun = Instant::now();
        match self.publish().await {
            Some(Ok(report)) => {
                self.pause = None;
                self.told.clear();
                let yes = self.options.yes;
                self.options = Options { keep_going: true, patient: true, yes, ..Options::default() };
                events.push(Event::Published(Box::new(report), begun.elapsed().as_millis() as u64));
            }
            failed => {
                self.pause = Some(self.pause.map_or(RETRY, |pause| (pause * 2).min(MAX_RETRY)));
                let error = failed.and_then(Result::err);
                let is_new = |error: &PublishError| {
                    let text = whole(error);
                    std::mem::replace(&mut self.told, text.clone()) != text
                };
                events.extend(error.filter(is_new).map(Event::Failed));
            }
        }
        events
    }

    /// Publishes once; nothing if the site was never read.
    async fn publish(&mut self) -> Option<Result<Report, PublishError>> {
        // Read first: an edit during the publish is seen afterwards.
        let version = self.working.as_ref()?.database.data_version().await;
        let working = self.working.as_mut()?;
        self.tried = version.as_ref().ok().copied();
        let version = match version {
            Ok(version) => version,
            Err(error) => return Some(Err(PublishError::Database(error))),
        };
        let report = working.session.publish(&*working.database, self.options, &self.progress).await;
        working.version = report.is_ok().then_some(version);
        Some(report)
    }

    /// Reads the site anew. Where it has mistakes, what was read before stays at work: rows go on going live.
    async fn load(&mut self) -> Result<(), PublishError> {
        // Before it is read: what changes meanwhile is read again.
        self.is_outdated = false;
        let (source, database) = self.files.load().await?;
        if let Some(working) = &self.working {
            same_storage(&working.session.prepared().source, &source)?;
        }
        let prepared = tokio::task::spawn_blocking(|| Prepared::new(source)).await??;
        match &mut self.working {
            Some(working) => {
                working.session.replace(prepared);
                working.database = database;
                working.version = None;
            }
            None => {
                let session = Session::new(self.publisher.clone(), prepared);
                self.working = Some(Working { session, database, version: None });
            }
        }
        Ok(())
    }

    /// Waits until there is something to publish, and changes pause.
    async fn wait(&mut self) {
        let begun = Instant::now();
        loop {
            let is_active = self.changed.elapsed() < ACTIVE;
            tokio::time::sleep(if is_active { POLL } else { IDLE_POLL }).await;
            if self.files_changed() {
                break;
            }
            if let Some(pause) = self.pause {
                // Whatever was in the way may be gone once somebody has written to the database.
                let is_over = begun.elapsed() >= pause;
                if is_over || begun.elapsed() >= RETRY && self.data_version().await != self.tried {
                    return;
                }
            } else if self.is_due() {
                return;
            } else if self.rows_changed().await {
                break;
            }
        }
        self.changed = Instant::now();
        let Some(working) = &self.working else { return };
        let publish = working.session.prepared().source.site.publish.clone();
        let noticed = Instant::now();
        let mut last = self.data_version().await;
        while noticed.elapsed() < publish.max_wait {
            tokio::time::sleep(publish.quiet.min(publish.max_wait)).await;
            let (now, files) = (self.data_version().await, self.files.changed());
            self.is_outdated |= files;
            if !files && now == last {
                break;
            }
            last = now;
        }
    }

    /// Whether files changed since the site was read.
    fn files_changed(&mut self) -> bool {
        self.is_outdated |= self.files.changed();
        self.is_outdated
    }

    /// Whether something is due by the clock.
    fn is_due(&self) -> bool {
        self.working.as_ref().is_some_and(|working| working.session.is_due())
    }

    /// What the database says of itself; nothing if it does not answer.
    async fn data_version(&self) -> Option<i64> {
        self.working.as_ref()?.database.data_version().await.ok()
    }

    /// Whether rows may have changed that no publish has seen. A database that does not answer is one to
    /// look at: the publish tells why.
    async fn rows_changed(&mut self) -> bool {
        let now = self.data_version().await;
        let Some(working) = &mut self.working else { return true };
        if now.is_some() && now == working.version {
            return false;
        }
        let is_behind = now.is_none() || working.session.is_behind(&*working.database).await;
        if !is_behind {
            working.version = now;
        }
        is_behind
    }
}

/// What is released into one bucket cannot go on in another.
fn same_storage(old: &Source, new: &Source) -> Result<(), PublishError> {
    let (was, storage) = (&old.site.storage, &new.site.storage);
    if (&was.url, &was.objects) == (&storage.url, &storage.objects) {
        return Ok(());
    }
    let message = format!("[storage] is another one than {}, which is published to until a restart", was.url);
    Err(Problems(vec![Problem::error(&new.file, Some(storage.line), message, "restart")]).into())
}
