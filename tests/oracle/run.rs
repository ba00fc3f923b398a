//! Runs a case: edits both databases, publishes the live one, and after each publish holds it against a
//! full publish of its twin into an empty bucket.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use edgepress_publisher::error::whole;
use edgepress_publisher::progress::Progress;
use edgepress_publisher::{Options, PublishError, Publisher, Report, Source, verify};
use edgepress_site::version::Version;
use edgepress_store::bucket::Memory;
use edgepress_store::database::Database;

use super::case::{Case, How, Publish, Site, Step, Transaction};
use super::consumer::{Consumer, Documents, Versions, differences, documents, publisher, source};
use super::faults::Fault;
use super::precision::{self, Precision};
use super::world::{Databases, Disturbed};
use crate::support::YES;

/// What went wrong, in kinds that shrinking must not mix up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A panic.
    Panic,
    /// The site cannot be: a mistake of the oracle's own.
    Definition,
    /// A statement did something else because of capture, or rows differ.
    Disturbed,
    /// One publish failed, and the other did not.
    Outcome,
    /// The releases differ.
    Root,
    /// The mirror differs from the release.
    Mirror,
    /// Something stored is missing or altered.
    Stored,
}

/// A case failed.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) kind: Kind,
    /// The step at which it did.
    pub(super) step: usize,
    pub(super) message: String,
}

/// What happened in cases that did not fail.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) publishes: u64,
    /// Publishes that failed, in full as well.
    pub(super) refused: u64,
    pub(super) incremental: u64,
    /// Releases that differed from the one before.
    pub(super) changed: u64,
    pub(super) documents: u64,
    /// Why publishes were refused: the beginnings of messages.
    pub(super) reasons: BTreeMap<String, u64>,
    pub(super) precision: Precision,
    /// Why everything or a whole collection was rendered.
    pub(super) wholes: BTreeMap<String, u64>,
}

impl Seen {
    /// Adds what happened elsewhere.
    pub(super) fn add(&mut self, other: Self) {
        self.publishes += other.publishes;
        self.refused += other.refused;
        self.incremental += other.incremental;
        self.changed += other.changed;
        self.documents += other.documents;
        self.precision.rendered += other.precision.rendered;
        self.precision.changed += other.precision.changed;
        for (why, count) in other.wholes {
            *self.wholes.entry(why).or_default() += count;
        }
        for (reason, count) in other.reasons {
            *self.reasons.entry(reason).or_default() += count;
        }
    }
}

/// What a full publish of the twin into an empty bucket gives.
type Full = Arc<Result<Report, String>>;

/// A case that runs.
struct Running<'a> {
    case: &'a Case,
    fault: Option<&'a Fault>,
    databases: Databases,
    site: Site,
    source: Option<Source>,
    twin: Arc<dyn Database>,
    consumers: Vec<Consumer>,
    /// The full publish of what the rows and the definition are now.
    full: Option<Full>,
    seen: &'a mut Seen,
    /// Whether the fault overlooks everything that happened since the last publish.
    is_missed: bool,
    /// What the error is about.
    step: usize,
}

/// Runs a case on this thread.
pub(super) fn run(case: &Case, fault: Option<&Fault>, seen: &mut Seen) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be made");
    let ran = std::panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on(steps(case, fault, seen))));
    ran.unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<String>().cloned();
        let message = message.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let message = message.unwrap_or_else(|| "a panic".to_owned());
        Err(Failure { kind: Kind::Panic, step: case.steps.len(), message })
    })
}

async fn steps(case: &Case, fault: Option<&Fault>, seen: &mut Seen) -> Result<(), Failure> {
    let disturbed = |Disturbed(message)| Failure { kind: Kind::Disturbed, step: 0, message };
    let databases = Databases::new(case).await.map_err(disturbed)?;
    let twin = databases.open_twin().await;
    let mut running = Running {
        case,
        fault,
        databases,
        site: case.site.clone(),
        source: None,
        twin,
        consumers: Vec::new(),
        full: None,
        seen,
        is_missed: false,
        step: 0,
    };
    let ran = running.all().await;
    let Running { databases, .. } = running;
    databases.drop().await;
    ran
}

impl Running<'_> {
    fn failure(&self, kind: Kind, message: impl Into<String>) -> Failure {
        Failure { kind, step: self.step, message: message.into() }
    }

    async fn all(&mut self) -> Result<(), Failure> {
        for (number, step) in self.case.steps.iter().enumerate() {
            self.step = number;
            self.step(step).await?;
        }
        self.step = self.case.steps.len();
        let compared = self.databases.compare().await;
        compared.map_err(|Disturbed(message)| self.failure(Kind::Disturbed, message))
    }

    async fn step(&mut self, step: &Step) -> Result<(), Failure> {
        self.is_missed &= self.fault.is_some_and(|fault| fault.misses(step));
        let (number, databases) = (self.step, &mut self.databases);
        let done = match step {
            Step::Publish(publish) => {
                let published = self.publish(*publish).await;
                self.is_missed = self.fault.is_some();
                return published;
            }
            Step::Late(one, other, bucket) => return self.late(one, other, *bucket).await,
            Step::Meanwhile(edit, bucket) => return self.meanwhile(edit, *bucket).await,
            Step::Restart(bucket) => {
                if let Some(consumer) = self.consumers.get_mut(*bucket) {
                    consumer.restart(databases).await;
                }
                return Ok(());
            }
            Step::Define(change) => {
                self.site.change(change);
                self.source = None;
                Ok(())
            }
            Step::Edit(edit) => databases.transaction(edit).await,
            Step::Both(one, other) => databases.both(one, other).await,
            Step::Alter(script) => match databases.alter(script).await {
                Ok(()) => databases.settings(self.case).await,
                disturbed => disturbed,
            },
            Step::LoseTrigger(trigger) => {
                databases.lose_trigger(*trigger).await;
                Ok(())
            }
        };
        self.full = None;
        done.map_err(|Disturbed(message)| Failure { kind: Kind::Disturbed, step: number, message })
    }

    /// The site as it is defined now.
    fn source(&mut self) -> Result<Source, Failure> {
        let source = match self.source.take() {
            Some(source) => source,
            None => source(&self.site).map_err(|error| self.failure(Kind::Definition, error))?,
        };
        self.source = Some(source.clone());
        Ok(source)
    }

    /// Publishes; rows that no document can be made of are taken away, and it is tried again.
    async fn publish(&mut self, publish: Publish) -> Result<(), Failure> {
        if self.once(publish).await? {
            return Ok(());
        }
        for statement in &self.case.mend {
            let mended = self.databases.mend(statement).await;
            mended.map_err(|Disturbed(message)| self.failure(Kind::Disturbed, message))?;
        }
        self.full = None;
        self.once(Publish { how: How::Plain, ..publish }).await.map(|_| ())
    }

    /// Publishes once and compares; whether everything could be published.
    async fn once(&mut self, Publish { bucket, how }: Publish) -> Result<bool, Failure> {
        let source = self.source()?;
        let full = self.full(&source).await;
        self.consumers(bucket).await;
        let consumer = &self.consumers[bucket];
        // A rollback holds the site until a publish succeeds.
        if how == How::RollBack {
            consumer.roll_back().await;
        }
        let mut options = Options { resume: consumer.is_held().await, ..YES };
        match how {
            How::KeepGoing => options.keep_going = true,
            How::Full => options.full = true,
            How::DryRun => {
                let dry = consumer.publish(&source, Options { dry_run: true, ..options }).await;
                self.agree(&dry, &full)?;
            }
            How::Plain | How::Verify | How::RollBack => {}
        }
        let outcome = match &self.consumers[bucket].before {
            Some((_, last)) if self.is_missed => Ok(last.clone()),
            _ => self.consumers[bucket].publish(&source, options).await,
        };
        self.seen.publishes += 1;
        if how == How::KeepGoing {
            return self.kept((bucket, &source), outcome, &full).await;
        }
        self.agree(&outcome, &full)?;
        let Ok(report) = &outcome else {
            self.seen.refused += 1;
            return Ok(false);
        };
        self.same((bucket, &source), report, &full).await?;
        if how == How::Verify {
            let verified = verify(&self.consumers[bucket].publisher, &Progress::default()).await;
            let verified = verified.map_err(|error| self.failure(Kind::Stored, whole(&error)))?;
            if verified.bad > 0 {
                return Err(self.failure(Kind::Stored, format!("{:?}", verified.problems)));
            }
        }
        Ok(true)
    }

    /// Publishes while somebody edits, after the snapshot was taken.
    async fn meanwhile(&mut self, edit: &Transaction, bucket: usize) -> Result<(), Failure> {
        let source = self.source()?;
        self.consumers(bucket).await;
        self.full = None;
        let (databases, consumer) = (&mut self.databases, &mut self.consumers[bucket]);
        consumer.before = None;
        let pause = consumer.database.pause();
        let publish = async {
            // Rows that no document can be made of may be there, or not yet.
            let resume = consumer.is_held().await;
            let _ = consumer.publish(&source, Options { resume, ..YES }).await;
            // One that failed early, or that records no edits, took no such snapshot.
            pause.taken.notify_one();
        };
        let edited = databases.meanwhile(edit, Some(&pause), publish).await;
        edited.map_err(|Disturbed(message)| self.failure(Kind::Disturbed, message))
    }

    /// Publishes while a transaction is not ended that began before another which is.
    async fn late(&mut self, one: &Transaction, other: &Transaction, bucket: usize) -> Result<(), Failure> {
        let disturbed = |step| move |Disturbed(message)| Failure { kind: Kind::Disturbed, step, message };
        self.databases.begin(one, other).await.map_err(disturbed(self.step))?;
        self.full = None;
        // What cannot be published now is mended before the next publish, when nobody has to wait.
        let published = self.once(Publish { bucket, how: How::Plain }).await;
        self.full = None;
        let ended = self.databases.end(one).await;
        published?;
        ended.map_err(disturbed(self.step))
    }

    /// Makes the consumer of `bucket`, and those before it.
    async fn consumers(&mut self, bucket: usize) {
        while self.consumers.len() <= bucket {
            let bucket = Arc::new(Memory::new(format!("memory:live-{}", self.consumers.len())));
            let lie = self.fault.and_then(Fault::lie);
            self.consumers.push(Consumer::new(&self.databases, bucket, lie).await);
        }
    }

    /// One publish succeeds if and only if the other does.
    fn agree(&mut self, outcome: &Result<Report, PublishError>, full: &Full) -> Result<(), Failure> {
        match (outcome, &**full) {
            (Ok(_), Ok(_)) => Ok(()),
            (Err(_), Err(error)) => {
                let reason = shortened(error);
                *self.seen.reasons.entry(reason).or_default() += 1;
                Ok(())
            }
            (Ok(_), Err(error)) => {
                Err(self
                    .failure(Kind::Outcome, format!("it was released, but a full publish fails: {error}")))
            }
            (Err(error), Ok(_)) => {
                let message = format!("it failed, but a full publish does not: {}", whole(error));
                Err(self.failure(Kind::Outcome, message))
            }
        }
    }

    /// The release is the full publish's, and the mirror is the release's.
    async fn same(
        &mut self,
        (bucket, source): (usize, &Source),
        report: &Report,
        full: &Full,
    ) -> Result<(), Failure> {
        let mirror = documents(&self.consumers[bucket].bucket);
        if full.as_ref().as_ref().is_ok_and(|full| full.root != report.root) {
            let differing = differences(&mirror, &self.documents(source).await);
            return Err(
                self.failure(Kind::Root, format!("the root differs; of the objects these:\n{differing}"))
            );
        }
        let versions = self.consumers[bucket].versions().await;
        let mirrored: Versions =
            mirror.iter().map(|(path, body)| (path.clone(), Version::of(body))).collect();
        if mirrored != versions {
            let differing = differences(&mirror, &self.documents(source).await);
            return Err(self.failure(Kind::Mirror, format!("the mirror differs:\n{differing}")));
        }
        self.seen.documents += versions.len() as u64;
        self.seen.incremental += u64::from(precision::is_incremental(report));
        for why in report.full.iter().chain(report.whole.values()) {
            let why = why.split('`').step_by(2).collect::<Vec<_>>().join("`..`");
            *self.seen.wholes.entry(why).or_default() += 1;
        }
        let before = self.consumers[bucket].before.replace((versions.clone(), report.clone()));
        if let Some((before, _)) = before {
            let keys = precision::changed_keys(source, &before, &versions);
            self.seen.changed += u64::from(keys > 0);
            self.seen.precision.add(report, keys);
        }
        Ok(())
    }

    /// With documents that could not be made, everything else is as in the full publish. Whether nothing
    /// failed.
    async fn kept(
        &mut self,
        (bucket, source): (usize, &Source),
        outcome: Result<Report, PublishError>,
        full: &Full,
    ) -> Result<bool, Failure> {
        let report = match (outcome, &**full) {
            (Ok(report), Ok(_)) => {
                self.same((bucket, source), &report, full).await?;
                return Ok(true);
            }
            (Ok(report), Err(_)) if report.failed > 0 => report,
            // What no keeping helps with: two documents at one path, rows that cannot be read.
            (outcome, _) => return self.agree(&outcome, full).map(|()| false),
        };
        let names: BTreeSet<&str> =
            report.errors.iter().filter_map(|error| error.split('`').nth(1)).collect();
        let collections = self.site.collections.iter().filter(|own| names.contains(&*own.name));
        let folder = |path: &str| path.split('/').nth(1).unwrap_or_default().to_owned();
        let failing: BTreeSet<String> =
            collections.flat_map(|own| &own.documents).map(|document| folder(&document.path)).collect();
        let is_kept =
            |path: &str| report.failed > report.errors.len() as u64 || failing.contains(&folder(path));
        let expected = self.documents(source).await;
        let mirror = documents(&self.consumers[bucket].bucket);
        let more = mirror.iter().filter(|(path, _)| !is_kept(path) || expected.contains_key(*path));
        let more: Documents = more.map(|(path, body)| (path.clone(), body.clone())).collect();
        let differing = differences(&more, &expected);
        self.consumers[bucket].before = None;
        match differing.is_empty() {
            true => Ok(false),
            false => Err(self.failure(Kind::Root, format!("beyond what failed, these differ:\n{differing}"))),
        }
    }

    /// The full publish of the twin as it is now.
    async fn full(&mut self, source: &Source) -> Full {
        if let Some(full) = &self.full {
            return full.clone();
        }
        let bucket = Arc::new(Memory::new("memory:full"));
        let publisher = Publisher { objects: None, ..publisher(&bucket) };
        let published = publisher.publish(source, &*self.twin, YES, &Progress::default()).await;
        let full = Arc::new(published.map_err(|error| whole(&error)));
        self.full = Some(full.clone());
        full
    }

    /// The documents that can be made of the twin as it is now.
    async fn documents(&self, source: &Source) -> Documents {
        let bucket = Arc::new(Memory::new("memory:documents"));
        let options = Options { keep_going: true, ..YES };
        // What cannot be published at all has no documents.
        let _ = publisher(&bucket).publish(source, &*self.twin, options, &Progress::default()).await;
        documents(&bucket)
    }
}

/// The root of a full publish of the rows that a case begins with, or why there is none.
pub(super) fn first_root(case: &Case) -> Result<String, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be made").block_on(async {
        let databases = Databases::new(case).await.map_err(|Disturbed(message)| message)?;
        let (source, twin) = (source(&case.site)?, databases.open_twin().await);
        let publisher = publisher(&Arc::new(Memory::new("memory:first")));
        let report = publisher.publish(&source, &*twin, YES, &Progress::default()).await;
        databases.drop().await;
        report.map(|report| report.root).map_err(|error| whole(&error))
    })
}

/// What kind of failure a message tells of: without rows, names and numbers.
fn shortened(error: &str) -> String {
    let line = error.lines().find(|line| line.starts_with("  ")).unwrap_or(error);
    let reason = if line.contains(", row ") { line.rsplit(": ").next().unwrap_or(line) } else { line };
    let reason = reason.split('`').step_by(2).collect::<Vec<_>>().join("`..`");
    reason.replace(|c: char| c.is_ascii_digit(), "#").chars().take(100).collect()
}
