//! `publish --watch`, and what `dev` shares with it: telling what a watching publisher does.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use edgepress_origin::Origin;
use edgepress_publisher::progress::Progress;
use edgepress_publisher::watch::{Event, Watch};
use edgepress_publisher::{Options, PublishError, Report};
use serde_json::json;
use tokio::sync::watch;

use super::publish::{print, text};
use super::serve::stopped;
use crate::cli::Format;
use crate::files::SiteFiles;
use crate::output::{self, Bar};
use crate::wire::Wired;
use crate::{failure, signals};

/// How long a new release may take to reach the origin beside us before its address is printed.
const SERVED: Duration = Duration::from_secs(5);

pub(crate) async fn watch(options: Options, site: &Path, format: Format) -> Result<()> {
    let wired = Wired::open(site).await?;
    run(wired, None, options, site, format, signals::stop()).await
}

/// An origin in the same process.
pub(crate) struct Beside {
    pub(crate) origin: Arc<Origin>,
    /// Where it is served.
    pub(crate) address: String,
}

/// Watches until `stop`.
pub(crate) async fn run(
    wired: Wired,
    beside: Option<Beside>,
    options: Options,
    site: &Path,
    format: Format,
    stop: watch::Receiver<bool>,
) -> Result<()> {
    let mut files = SiteFiles::new(site)?;
    let progress = Arc::new(Progress::default());
    let watch = Watch::new(wired.publisher.clone(), &mut files, options, progress.clone());
    let database = &wired.source.site.database;
    let database = match database.file() {
        Some(file) => wired.source.resolve(file).display().to_string(),
        None => database.redacted(),
    };
    let bar = Bar::draw(&progress, format);
    let mut teller =
        Teller { wired, beside, database, format, failed: None, requests: 0, is_first: true, bar: Some(bar) };
    watch.run(stopped(stop), |event| teller.tell(event)).await;
    Ok(())
}

/// Tells what happens: releases on stdout, failures on stderr, each failure once.
struct Teller {
    wired: Wired,
    beside: Option<Beside>,
    /// What the database is called.
    database: String,
    format: Format,
    /// The failure that was told last.
    failed: Option<String>,
    /// Requests to the buckets when a release was last told of.
    requests: u64,
    is_first: bool,
    bar: Option<Bar>,
}

impl Teller {
    fn tell(&mut self, event: Event) {
        match event {
            Event::Published(report, elapsed_ms) => self.published(&report, elapsed_ms),
            Event::Failed(error) => self.failed(error),
            Event::Follower(standing) => match standing.error {
                Some(error) => tracing::warn!(
                    follower = standing.follower,
                    reached = standing.reached,
                    behind = standing.behind,
                    "a follower lags and tries again: {error}"
                ),
                None => tracing::debug!(follower = standing.follower, reached = standing.reached, "followed"),
            },
        }
    }

    fn published(&mut self, report: &Report, elapsed_ms: u64) {
        drop(self.bar.take());
        let is_first = std::mem::take(&mut self.is_first);
        let failures = report.errors.join("\n");
        if !failures.is_empty() && self.failed.as_ref() != Some(&failures) {
            match self.format {
                Format::Text => eprintln!("{failures}\nthese keep their old documents until they are mended"),
                Format::Json => tracing::warn!(
                    failed = report.failed,
                    "documents that cannot be made keep their old content: {failures}"
                ),
            }
        }
        self.failed = Some(failures).filter(|failures| !failures.is_empty());
        if !is_first && !report.released {
            return;
        }
        match &self.beside {
            None => {
                let requests = self.wired.requests();
                let since = requests - std::mem::replace(&mut self.requests, requests);
                print(report, since, elapsed_ms, self.format);
            }
            Some(beside) => {
                self.serve(beside, report);
                let Beside { address, .. } = beside;
                let object = json!({ "url": address, "elapsed_ms": elapsed_ms, "report": report });
                let text = text(report, elapsed_ms);
                let text = match is_first {
                    false => text,
                    true => format!(
                        "{text}\n\n  {address}/\n\nedit rows in {} or files beside it, and see them live; Ctrl-C ends",
                        self.database
                    ),
                };
                output::result(self.format, &object, &text);
            }
        }
    }

    /// Waits until the origin beside us serves a release, so that an address that is printed works.
    fn serve(&self, beside: &Beside, report: &Report) {
        beside.origin.follow_now();
        let served = tokio::time::timeout(SERVED, beside.origin.wait_for(report.release));
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(served)).ok();
    }

    fn failed(&mut self, error: PublishError) {
        drop(self.bar.take());
        let error = anyhow::Error::from(error);
        let message = format!("{error:#}");
        if self.failed.as_ref() == Some(&message) {
            return;
        }
        failure::report(&error, self.format);
        self.failed = Some(message);
        if let Some(beside) = self.beside.as_ref().filter(|_| self.is_first) {
            eprintln!("serving what is live on {}/ until that is mended", beside.address);
        }
    }
}
