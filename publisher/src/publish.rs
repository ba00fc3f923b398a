//! One publish: read what changed, render, plan, guard, write, swap.
//!
//! Owns the order of these steps. `current` is read first and swapped last; whatever fails between
//! leaves the live release as it was. Followers come afterwards, and without the publisher's lock.

use std::collections::BTreeMap;
use std::sync::Arc;

use edgepress_site::documents::KeyError;
use edgepress_site::release::definition::{RENDERER, ReleaseDefinition, STATIC};
use edgepress_site::release::record::{Counts, Named};
use edgepress_site::release::{Current, Index, Kind, Record, State, edit};
use edgepress_site::version::Digest;
use edgepress_store::database::{Database, DatabaseError};
use edgepress_store::release::{LOCK, Releases};

use crate::collect::{Collected, Collector};
use crate::commit::{self, Live, Next};
use crate::consumer::{Consumer, Known, Memory, Moment, Since};
use crate::error::{PublishError, whole};
use crate::impact::Impact;
use crate::packs::Packs;
use crate::plan::{Plan, Planner};
use crate::prepare::Prepared;
use crate::progress::Progress;
use crate::report::{Options, Report};
use crate::rows::{self, Reader};
use crate::scope::Scope;
use crate::sound::{Sound, sound};
use crate::source::Source;
use crate::state::Release;
use crate::touch::{Made, Touch, milliseconds};
use crate::{Publisher, codec, follower};

/// How late after planning new bodies count as changed, in milliseconds: `Last-Modified` must not lie
/// before the swap, or a client that read the old body in between keeps it.
const STAMP: u64 = 5_000;

/// A publisher at work on one site: keeps what it learnt from one publish to the next.
pub struct Session {
    publisher: Publisher,
    prepared: Prepared,
    known: Known,
    /// What this publisher released last with the site as it is now: the definition's hash.
    released: Option<Digest>,
    /// What the live release was made with, by its hash.
    definition: Option<(Digest, Arc<ReleaseDefinition>)>,
    /// When something is due by the clock, if anything is, and when that was found out: milliseconds since
    /// 1970.
    due: Option<(u64, u64)>,
    /// Whether every edit that matters is recorded.
    sees_all: bool,
}

/// One publish under way.
struct Under {
    options: Options,
    live: Live,
    sound: Sound,
    so_far: Arc<SoFar>,
}

/// What earlier attempts at a publish found out.
#[derive(Debug, Clone, Default)]
struct SoFar {
    /// Why only a full publish will do, if that is so.
    full: Option<String>,
    /// Documents that cannot be there because of others, by path.
    refused: BTreeMap<Arc<str>, KeyError>,
    /// Collections that cannot be read, each with its error.
    unread: BTreeMap<String, String>,
    /// Why the database cannot be told of releases, if it cannot.
    unwritable: Option<String>,
    /// Static files that are left out, each with what is wrong with it.
    left_out: BTreeMap<Arc<str>, String>,
}

impl SoFar {
    /// What is known once a collection could not be read; any other error remains one.
    fn unread(&self, error: PublishError) -> Result<Self, PublishError> {
        match &error {
            PublishError::Rows { collection, source: DatabaseError::Query { .. }, .. }
            | PublishError::Row { collection, .. }
                if !self.unread.contains_key(collection) =>
            {
                let mut so_far = self.clone();
                so_far.unread.insert(collection.clone(), whole(&error));
                Ok(so_far)
            }
            _ => Err(error),
        }
    }
}

impl Under {
    fn before(&self) -> Option<&Record> {
        self.live.as_ref().map(|(current, _)| current.live())
    }
}

/// What one attempt came to.
enum Outcome {
    Done(Box<Report>),
    /// It must be made again with what was found out.
    Again(SoFar),
}

impl Publisher {
    /// Releases what changed in a site since the last publish; everything, the first time.
    ///
    /// # Errors
    /// Nothing was released, unless the error is [`PublishError::Lagging`].
    pub async fn publish(
        &self,
        source: &Source,
        database: &dyn Database,
        options: Options,
        progress: &Progress,
    ) -> Result<Report, PublishError> {
        let prepared = Prepared::new(source.clone())?;
        let mut session = Session::new(self.clone(), prepared);
        let report = session.publish(database, options, progress).await?;
        if !options.dry_run {
            progress.begin("mirroring");
            self.follow(options.full, options.wait).await?;
        }
        Ok(report)
    }

    /// Keeps every other publisher of this bucket away; ends with the process.
    pub(crate) async fn lock(&self) -> Result<Box<dyn edgepress_store::bucket::Lock>, PublishError> {
        let bucket = self.releases.bucket();
        for _ in 0..100 {
            if let Some(lock) = bucket.try_lock(LOCK).await? {
                return Ok(lock);
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        Err(PublishError::Locked(bucket.name().to_owned()))
    }
}

impl Session {
    /// Begins to work on a site.
    #[must_use]
    pub fn new(publisher: Publisher, prepared: Prepared) -> Self {
        Self {
            publisher,
            prepared,
            known: Known::default(),
            released: None,
            definition: None,
            due: None,
            sees_all: false,
        }
    }

    /// The site as it was made ready.
    #[must_use]
    pub fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    /// Works with another state of the site's files from now on.
    pub fn replace(&mut self, prepared: Prepared) {
        let hash = |prepared: &Prepared| prepared.maker.definition().encode().0;
        if hash(&self.prepared) != hash(&prepared) {
            self.released = None;
        }
        self.prepared = prepared;
        self.known = Known::default();
    }

    /// Whether something is due by the clock. One that went back may have come to before it was due last.
    pub(crate) fn is_due(&self) -> bool {
        let now = (self.publisher.clock)();
        self.due.is_some_and(|(due, found)| due <= now || now < found)
    }

    /// Whether there may be changes that no publish has seen: true when in doubt.
    pub(crate) async fn is_behind(&self, database: &dyn Database) -> bool {
        match database.capture().filter(|_| self.sees_all) {
            Some(capture) => capture.is_behind(&self.publisher.consumer).await.unwrap_or(true),
            None => true,
        }
    }

    /// Releases what changed. Leaves the followers to the caller.
    ///
    /// # Errors
    /// Nothing was released.
    pub async fn publish(
        &mut self,
        database: &dyn Database,
        options: Options,
        progress: &Progress,
    ) -> Result<Report, PublishError> {
        let publisher = self.publisher.clone();
        let _lock = if options.dry_run { None } else { Some(publisher.lock().await?) };
        let (mut all, mut so_far) = (None, Arc::<SoFar>::default());
        let report = loop {
            match self.attempt(database, options, so_far.clone(), progress).await {
                Ok(Outcome::Done(report)) => break Ok(*report),
                Ok(Outcome::Again(found)) => {
                    if found.left_out.len() > so_far.left_out.len() {
                        let all = all.get_or_insert_with(|| self.prepared.clone());
                        match all.without(found.left_out.keys()) {
                            Ok(less) => self.prepared = less,
                            Err(error) => break Err(error),
                        }
                    }
                    so_far = Arc::new(found);
                }
                Err(error) => break Err(error),
            }
        };
        if let Some(all) = all {
            self.prepared = all;
        }
        report
    }

    async fn attempt(
        &mut self,
        database: &dyn Database,
        options: Options,
        so_far: Arc<SoFar>,
        progress: &Progress,
    ) -> Result<Outcome, PublishError> {
        let under = self.begin(options, so_far).await?;
        let name = self.publisher.consumer.clone();
        let consumer = Consumer { database, name: &name };
        progress.begin("reading and rendering");
        let live = under.before().map(Release::of);
        let Moment { snapshot, impact, since, seen, used } = match &under.so_far.unwritable {
            _ if options.dry_run => consumer.without_capture("it is a dry run".to_owned()).await?,
            Some(why) => consumer.without_capture(why.clone()).await?,
            None => consumer.moment(&mut self.known, &self.prepared, live.as_ref()).await?,
        };
        let mut unread = under.so_far.unread.clone();
        for (collection, message) in impact.iter().flat_map(|impact| impact.broken()) {
            let error = rows::refused(collection, message);
            if !options.keep_going {
                return Err(error);
            }
            unread.entry(collection.clone()).or_insert_with(|| whole(&error));
        }
        let mut reader = Reader::new(snapshot, progress);
        let scope = self.scope(&under, impact.as_deref(), &since, &mut reader).await?;
        let collector = Collector {
            releases: &self.publisher.releases,
            prepared: &self.prepared,
            scope: &scope,
            old: &under.sound.index,
            threads: self.publisher.threads,
            progress,
            is_dry: options.dry_run,
            unread: &unread,
        };
        let mut collected = match collector.collect(&mut reader).await {
            Err(error) if options.keep_going => return Ok(Outcome::Again(under.so_far.unread(error)?)),
            collected => collected?,
        };
        drop(reader);
        collected.refuse(&under.so_far.refused);
        under.so_far.left_out.values().for_each(|message| collected.fail(message));
        if collected.failures > 0 && !options.keep_going {
            return Err(PublishError::Keys(collected.errors, collected.failures));
        }
        let now = (self.publisher.clock)();
        let remembered = impact.as_deref().map(|impact| {
            let before = since.as_ref().ok().map(|since| &since.state);
            let prepared = &self.prepared;
            Touch::remember(before, &Made { prepared, impact, scope: &scope, collected: &collected, now })
        });
        let site = &self.prepared.maker.definition().site;
        self.sees_all = impact.as_deref().is_some_and(|impact| impact.uncapturable().is_empty());
        let refreshes = site
            .collections
            .iter()
            .filter_map(|collection| Some((collection.name.clone(), milliseconds(collection.refresh?))));
        self.due = remembered.as_ref().and_then(|state| state.due(refreshes)).map(|due| (due, now));
        let memory = Memory { consumer, since: since.ok(), seen, used, remembered };
        self.release(under, memory, collected, scope, progress).await
    }

    /// Releases what was made.
    async fn release(
        &mut self,
        under: Under,
        memory: Memory<'_>,
        mut collected: Collected,
        scope: Scope,
        progress: &Progress,
    ) -> Result<Outcome, PublishError> {
        let mut report = Report {
            rendered: collected.rendered,
            keys: collected.keys,
            full: scope.why().map(ToOwned::to_owned),
            whole: scope.wholes(),
            failed: collected.failures,
            errors: std::mem::take(&mut collected.errors),
            dry_run: under.options.dry_run,
            ..Report::default()
        };
        progress.begin("comparing");
        let stamp = (self.publisher.clock)() + STAMP;
        let (mut plan, packs) = self.plan(&under, collected, scope, stamp).await?;
        if !plan.left_out.is_empty() {
            let mut so_far = (*under.so_far).clone();
            for (path, other) in plan.left_out {
                let message = format!(
                    "the static file {path} and the document {other} are in each other's way, \
                     because one would have to be a folder for the other: give one of them another path"
                );
                if !under.options.keep_going {
                    return Err(PublishError::Paths(message));
                }
                so_far.left_out.insert(path, message);
            }
            return Ok(Outcome::Again(so_far));
        }
        if plan.needs_full {
            let why = "documents may be in the way of others".to_owned();
            return Ok(Outcome::Again(SoFar { full: Some(why), ..(*under.so_far).clone() }));
        }
        if !plan.refused.is_empty() {
            return Ok(Outcome::Again(self.without(&plan.refused, &under.so_far)));
        }
        report.counts = plan.counts;
        report.differences = std::mem::take(&mut plan.differences);
        if under.options.dry_run {
            let live = under.before();
            report.release = live.map_or(0, |live| live.number);
            report.root = live.map_or_else(String::new, |live| live.root.to_string());
            return Ok(Outcome::Done(Box::new(report)));
        }
        guard(&plan, under.before(), self.prepared.source.site.publish.guard, under.options.yes)?;
        progress.begin("writing");
        let mut staged = self.stage(&under, plan, packs, stamp, memory.used).await?;
        report.bytes_uploaded = staged.bytes;
        report.counts = staged.counts;
        report.released = staged.is_new;
        if staged.is_new {
            match memory.intend(staged.current.live()).await {
                // It was written before: perhaps this is its replica, or the role may only read by now.
                Err(PublishError::Database(error @ DatabaseError::Query { .. }))
                    if under.so_far.unwritable.is_none() =>
                {
                    let why = format!("the database may not be written: {error}");
                    return Ok(Outcome::Again(SoFar { unwritable: Some(why), ..(*under.so_far).clone() }));
                }
                intended => intended?,
            }
            staged.current = commit::swap(&self.publisher.releases, &under.live, staged.current).await?;
            report.latency_ms = memory.oldest().map(|oldest| (self.publisher.clock)().saturating_sub(oldest));
        }
        memory.consume(staged.current.live(), staged.is_new).await;
        self.released = Some(staged.current.live().definition.hash);
        report.release = staged.current.live().number;
        report.root = staged.current.live().root.to_string();
        Ok(Outcome::Done(Box::new(report)))
    }

    /// What is known once these documents were found to be in the way of others.
    fn without(&self, found: &BTreeMap<Arc<str>, Arc<str>>, so_far: &SoFar) -> SoFar {
        let mut so_far = so_far.clone();
        // Nothing is in the way of what is not there: the longer path gave way to the shorter for nothing.
        for (path, other) in found.iter().filter(|(_, other)| !found.contains_key(*other)) {
            let error = self.prepared.maker.in_the_way(path, other);
            so_far.refused.insert(path.clone(), error.expect("only documents of rows are refused"));
        }
        so_far
    }

    /// Reads `current` and what it names.
    async fn begin(&self, options: Options, so_far: Arc<SoFar>) -> Result<Under, PublishError> {
        let releases = &self.publisher.releases;
        let live = releases.current().await?;
        let before = live.as_ref().map(|(current, _)| current.live());
        if let Some(before) = before.filter(|before| before.state == State::Held && !options.resume) {
            return Err(PublishError::Held(before.number));
        }
        // Both would release their own for ever: whoever was started last, or changed its files, goes on.
        let other = |before: &&Record| self.released.is_some_and(|own| own != before.definition.hash);
        if let Some(before) = before.filter(other).filter(|_| options.patient) {
            return Err(PublishError::Other(before.number));
        }
        let sound = match before {
            Some(before) if options.full => sound(releases, before).await?,
            Some(before) => Sound { index: releases.index(before).await?, ..Sound::default() },
            None => Sound::default(),
        };
        Ok(Under { options, live, sound, so_far })
    }

    /// What is made anew.
    async fn scope(
        &mut self,
        under: &Under,
        impact: Option<&Impact>,
        since: &Result<Since, String>,
        reader: &mut Reader<'_>,
    ) -> Result<Scope, PublishError> {
        let before = match under.before() {
            _ if under.options.full => return Ok(Scope::full("`--full` asks for it")),
            _ if under.options.resume => return Ok(Scope::full("`--resume` always does")),
            _ if under.so_far.full.is_some() => {
                return Ok(Scope::full(under.so_far.full.clone().unwrap_or_default()));
            }
            None => return Ok(Scope::full("nothing was published yet")),
            Some(before) => before,
        };
        let (impact, since) = match (impact, since) {
            (Some(impact), Ok(since)) => (impact, since),
            (_, Err(why)) => return Ok(Scope::full(why)),
            (None, _) => return Ok(Scope::full("the database records no edits")),
        };
        let old = match &self.definition {
            Some((hash, definition)) if *hash == before.definition.hash => definition.clone(),
            _ => Arc::new(self.publisher.releases.definition(before).await?),
        };
        self.definition = Some((before.definition.hash, old.clone()));
        if old.renderer > RENDERER {
            return Err(PublishError::Newer(before.number));
        }
        let now = (self.publisher.clock)();
        // Whoever publishes once must be told of what still fails, and may have mended it by another row.
        let retries = !under.options.patient;
        Ok(Touch { prepared: &self.prepared, impact, since, now, retries }.scope(&old, reader).await)
    }

    async fn plan(
        &self,
        under: &Under,
        collected: Collected,
        scope: Scope,
        stamp: u64,
    ) -> Result<(Plan, Packs), PublishError> {
        let maker = self.prepared.maker.clone();
        let names =
            maker.definition().site.collections.iter().map(|collection| Arc::from(collection.name.as_str()));
        let collections: Vec<Arc<str>> = names.chain([Arc::from(STATIC)]).collect();
        let (old, nodes) = (under.sound.index.clone(), self.publisher.releases.blocking());
        let (list, so_far) = (under.options.list, under.so_far.clone());
        let job = move || {
            let Collected { sorter, packs, keeping, .. } = collected;
            let planner = Planner {
                old: &old,
                nodes: &nodes,
                maker: &maker,
                collections: &collections,
                scope: &scope,
                keeping: &keeping,
                refused: &so_far.refused,
                stamp,
                list,
            };
            Ok((planner.plan(sorter.sorted()?)?, packs))
        };
        tokio::task::spawn_blocking(job).await?
    }

    /// Writes what the new release adds, so that nothing but the swap is left.
    async fn stage(
        &self,
        under: &Under,
        plan: Plan,
        packs: Packs,
        stamp: u64,
        used: u64,
    ) -> Result<Staged, PublishError> {
        let Under { live, sound, options, .. } = under;
        let releases = &self.publisher.releases;
        let mut counts = plan.counts;
        let (mut index, mut packs) = edit_trees(releases, &sound.index, plan, packs).await?;
        let (hash, content) = self.prepared.maker.definition().encode();
        let before = under.before();
        let root = index.root();
        let is_same_root = before.is_some_and(|before| before.root == root);
        let is_same_definition = before.is_some_and(|before| before.definition.hash == hash);
        let resumes = before.is_some_and(|before| before.state == State::Held);
        if is_same_root {
            counts = Counts { documents: counts.documents, ..Counts::default() };
        }
        if let Some((current, _)) = live
            && is_same_root
            && is_same_definition
            && !resumes
            && !sound.is_damaged
        {
            let (_, bytes) = packs.finish().await?;
            return Ok(Staged { current: current.clone(), is_new: false, counts, bytes });
        }
        let archived = commit::archive(&mut packs.writer, live);
        let definition = match before {
            Some(before) if is_same_definition && !sound.lacks_definition => {
                Place::Known(before.definition.place)
            }
            _ => Place::New(packs.writer.append(Kind::Definition, &content)),
        };
        let place = match before {
            Some(before) if is_same_root && !sound.is_damaged => Place::Known(before.index),
            _ => {
                let content = index.encode(&packs.writer);
                Place::New(packs.writer.append(Kind::Index, &content))
            }
        };
        let (writer, bytes) = packs.finish().await?;
        for tree in index.collections.values_mut() {
            tree.place = writer.stored(tree.place)?;
        }
        let time = (self.publisher.clock)();
        let next = Next {
            root,
            index: place.stored(&writer)?,
            definition: Named { hash, place: definition.stored(&writer)? },
            counts,
            cause: options.cause().to_owned(),
            state: State::Live,
            time,
            // A publish so slow that its stamp has passed: no document may look older than the swap.
            floor: before.map_or(0, |before| before.floor).max(if time + 1_000 > stamp {
                time + STAMP
            } else {
                0
            }),
            used: follower::used(releases).await?.max(used),
        };
        let last = writer.last_closed();
        let next = commit::successor(live, next, &self.publisher.writer, last.map(|pack| (&archived, pack)));
        Ok(Staged { current: next, is_new: true, counts, bytes })
    }
}

/// The index after the plan's edits; new nodes are on their way to the bucket.
async fn edit_trees(
    releases: &Releases,
    old: &Index,
    plan: Plan,
    mut packs: Packs,
) -> Result<(Index, Packs), PublishError> {
    let (mut index, nodes) = (old.clone(), releases.blocking());
    let job = move || {
        for (name, spool) in plan.edits {
            let edits = spool.read()?.map(|record| Ok(codec::edit(&record?)?));
            let tree = edit::<PublishError, _, _>(index.collections.get(&*name), edits, &nodes, &mut packs)?;
            match tree {
                Some(tree) => drop(index.collections.insert(name.to_string(), tree)),
                None => drop(index.collections.remove(&*name)),
            }
        }
        Ok((index, packs))
    };
    tokio::task::spawn_blocking(job).await?
}

/// A release of which everything is stored, but that is not current yet.
struct Staged {
    /// The `current` that makes it so.
    current: Current,
    /// Whether it is new: if not, nothing has changed.
    is_new: bool,
    counts: Counts,
    bytes: u64,
}

/// Where a frame of the release lies: in a pack of before, or in one just written.
enum Place {
    Known(edgepress_site::release::pack::StoredPlace),
    New(edgepress_site::release::Place),
}

impl Place {
    fn stored(
        self,
        writer: &edgepress_site::release::PackWriter,
    ) -> Result<edgepress_site::release::pack::StoredPlace, PublishError> {
        match self {
            Self::Known(place) => Ok(place),
            Self::New(place) => Ok(commit::stored(writer, place)?),
        }
    }
}

fn guard(plan: &Plan, before: Option<&Record>, guard: f64, yes: bool) -> Result<(), PublishError> {
    let documents = before.map_or(0, |before| before.counts.documents);
    // Where the old index could not be read, only the numbers tell what goes.
    let removed = plan.counts.removed.max(documents.saturating_sub(plan.counts.documents));
    let lost = removed + plan.emptied;
    if yes || lost == 0 || lost as f64 <= documents as f64 * guard {
        return Ok(());
    }
    Err(PublishError::Guard { removed, emptied: plan.emptied, documents, guard })
}
