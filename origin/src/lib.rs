//! Request to answer: the HTTP server behind the CDN.
//!
//! Owns the listeners, the requests it takes, the release it serves and the order in which the tiers are
//! asked: memory, then the release's packs. Refuses to write anything, to know the publisher, and to
//! answer from anything but what a release names.

mod admin;
mod answer;
mod conditions;
mod connection;
mod documents;
mod fills;
mod handler;
mod listener;
mod live;
mod memory;
mod problem;
mod request;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use edgepress_store::release::Releases;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::documents::Documents;
use crate::listener::{Limits, Service};
use crate::live::Follower;

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// The limits an origin keeps.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Bytes of answers kept in memory, beside what [`Releases`] keeps of the index.
    pub memory: u64,
    /// Connections served at once; further ones wait to be accepted.
    pub max_connections: usize,
    /// How long a client may take to send a request's head, once it has begun or newly connected.
    pub header_timeout: Duration,
    /// How long a connection may stay open without a request.
    pub idle_timeout: Duration,
    /// How long a client may take none of an answer, or send none of a body.
    pub stall_timeout: Duration,
    /// How long a read from the bucket may take before its requests are told to come back.
    pub read_timeout: Duration,
    /// How long running requests may take to finish once the origin is told to stop.
    pub drain: Duration,
    /// How often `current` is read.
    pub poll: Duration,
    /// What requests to the admin listener must bear; empty: nothing.
    pub token: String,
}

impl Default for Settings {
    /// 256 MiB; 1,000 connections, so that files stay below the usual limit of 1,024.
    fn default() -> Self {
        Self {
            memory: 256 << 20,
            max_connections: 1_000,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            stall_timeout: Duration::from_secs(30),
            read_timeout: Duration::from_secs(10),
            drain: Duration::from_secs(15),
            poll: Duration::from_millis(250),
            token: String::new(),
        }
    }
}

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were cut because their requests did not finish in time.
    pub cut: usize,
}

/// A part of the origin ended that never should.
#[derive(Debug, thiserror::Error)]
#[error("the origin's {part} ended unexpectedly; its log says why")]
pub struct Crashed {
    part: &'static str,
}

/// The origin of one site.
pub struct Origin {
    settings: Settings,
    clock: Clock,
    follower: Arc<Follower>,
    documents: Documents,
}

impl Origin {
    /// An origin that serves what `releases` has; it reads nothing before [`Origin::serve`].
    #[must_use]
    pub fn new(releases: Releases, settings: Settings, clock: Clock) -> Self {
        let follower = Arc::new(Follower::new(releases.clone()));
        let documents =
            Documents::new(releases, Arc::clone(&follower), settings.memory, settings.read_timeout);
        Self { settings, clock, follower, documents }
    }

    /// The number of the release being served, if there is one.
    #[must_use]
    pub fn release(&self) -> Option<u64> {
        self.follower.number()
    }

    /// Waits until this release, or a later one, is being served.
    pub async fn wait_for(&self, number: u64) {
        self.follower.wait_for(number).await;
    }

    /// Reads `current` now instead of at the next turn: somebody knows of a new release.
    pub fn follow_now(&self) {
        self.follower.follow_now();
    }

    /// Bytes of answers in memory.
    #[must_use]
    pub fn memory_used(&self) -> u64 {
        self.documents.memory_used()
    }

    /// Serves until `stop` is done; then lets running requests finish, but no longer than
    /// [`Settings::drain`]. The admin listener answers until the end.
    ///
    /// # Errors
    /// A part of the origin ended that never should; everything else was then stopped too.
    pub async fn serve(
        self: Arc<Self>,
        public: TcpListener,
        admin: Option<TcpListener>,
        stop: impl Future<Output = ()> + Send,
    ) -> Result<Drained, Crashed> {
        // Dropped with this future, so that nothing outlives it.
        let mut background = JoinSet::new();
        let origin = Arc::clone(&self);
        background.spawn(async move {
            origin.follower.follow(origin.settings.poll, origin.settings.read_timeout).await;
            "follower of releases"
        });
        let (stopping, stopped) = watch::channel(false);
        if let Some(admin) = admin {
            let (origin, stopped) = (Arc::clone(&self), stopped.clone());
            background.spawn(async move {
                let service = Arc::new(admin::Admin { origin, stopping: stopped });
                // Never told to stop: it ends with this future.
                let (_never, forever) = watch::channel(false);
                listener::listen(admin, service.origin.admin_limits(), service, forever).await;
                "admin listener"
            });
        }
        let limits = self.limits();
        let mut listening = tokio::spawn(listener::listen(public, limits, self, stopped));
        let abort = AbortOnDrop(listening.abort_handle());
        tokio::select! {
            () = stop => {}
            part = background.join_next() => {
                return Err(Crashed { part: part.and_then(Result::ok).unwrap_or("background work") });
            }
            _ = &mut listening => return Err(Crashed { part: "listener" }),
        }
        stopping.send_replace(true);
        let cut = listening.await.map_err(|_| Crashed { part: "listener" })?;
        drop(abort);
        Ok(Drained { cut })
    }

    fn limits(&self) -> Limits {
        let Settings { max_connections, header_timeout, idle_timeout, stall_timeout, drain, .. } =
            self.settings;
        Limits { connections: max_connections, header_timeout, idle_timeout, stall_timeout, drain }
    }

    /// The owner's few connections keep the public's timeouts.
    fn admin_limits(&self) -> Limits {
        Limits { connections: 32, ..self.limits() }
    }
}

impl Service for Origin {
    async fn answer(&self, request: connection::Request) -> connection::Response {
        self.handle(request).await
    }
}

/// Ends a task with the future that started it.
struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
