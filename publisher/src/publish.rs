//! One publish: read, render, plan, guard, write, swap, bring followers along.
//!
//! Owns the order of these steps. `current` is read first and swapped last; whatever fails between
//! leaves the live release as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use edgepress_site::definition::Definition;
use edgepress_site::documents::{KeyError, Maker};
use edgepress_site::media;
use edgepress_site::policy::Policy;
use edgepress_site::problem::{Problem, Problems};
use edgepress_site::release::definition::{RENDERER, ReleaseDefinition, STATIC};
use edgepress_site::release::pack::Compressor;
use edgepress_site::release::record::{Counts, Named};
use edgepress_site::release::{Current, Index, Kind, Record, State, edit};
use edgepress_site::render::Limits;
use edgepress_site::version::Version;
use edgepress_store::database::{Database, Snapshot};
use edgepress_store::release::LOCK;
use futures_util::stream::{self, StreamExt as _};

use crate::commit::{self, Live, Next};
use crate::error::PublishError;
use crate::packs::Packs;
use crate::plan::{Difference, Fresh, Plan, Planner};
use crate::progress::Progress;
use crate::render::{Candidate, Rendered, Renderers, entry};
use crate::rows::{Reader, Spooled};
use crate::sort::Sorter;
use crate::sound::{Sound, sound};
use crate::source::{MAX_STATIC, Source};
use crate::{Publisher, codec, follower};

/// How late after planning new bodies count as changed, in milliseconds: `Last-Modified` must not lie
/// before the swap, or a client that read the old body in between keeps it.
const STAMP: u64 = 5_000;

/// At most so many failed documents are listed; all are counted.
const MAX_ERRORS: usize = 20;

/// How a publish is to behave.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Believe nothing that is stored: read all of the live release, store anew whatever is missing or
    /// altered, and write every object of the mirror.
    pub full: bool,
    /// Only say what would change.
    pub dry_run: bool,
    /// Go ahead whatever the guard says.
    pub yes: bool,
    /// Release although the site is held, and hold it no longer.
    pub resume: bool,
    /// Publish what can be made; documents that cannot keep their old content.
    pub keep_going: bool,
    /// List up to so many differences.
    pub list: usize,
}

impl Options {
    /// Why there is a new release, in a few words.
    fn cause(self) -> &'static str {
        match self {
            Self { resume: true, .. } => "publish --resume",
            Self { full: true, .. } => "publish --full",
            _ => "publish",
        }
    }
}

/// What a publish did.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Report {
    /// The release that is live now.
    pub release: u64,
    /// The root hash that names its content.
    pub root: String,
    /// What changed.
    #[serde(flatten)]
    pub counts: Counts,
    /// Documents that were rendered.
    pub rendered: u64,
    /// Bytes that were written to the bucket as packs.
    pub bytes_uploaded: u64,
    /// Whether there was a new release.
    pub released: bool,
    /// Whether nothing was written because it was a dry run.
    pub dry_run: bool,
    /// Documents that could not be made and keep their old content.
    pub failed: u64,
    /// The first of their errors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    /// Differences, where they were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
}

/// All documents of a site, rendered; new bodies are on their way to the bucket.
struct Collected {
    sorter: Sorter<Fresh>,
    packs: Packs,
    rendered: u64,
    failed: u64,
    errors: Vec<KeyError>,
    /// Collections with a document that could not be made.
    failing: BTreeSet<Arc<str>>,
}

impl Publisher {
    /// Renders the whole site and releases what changed.
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
        let _lock = if options.dry_run { None } else { Some(self.lock().await?) };
        let live = self.releases.current().await?;
        let before = live.as_ref().map(|(current, _)| current.live());
        if let Some(before) = before.filter(|before| before.state == State::Held && !options.resume) {
            return Err(PublishError::Held(before.number));
        }
        let sound = match before {
            Some(before) if options.full => sound(&self.releases, before).await?,
            Some(before) => Sound { index: self.releases.index(before).await?, ..Sound::default() },
            None => Sound::default(),
        };
        let old = &sound.index;
        let (maker, files) = prepare(source)?;
        let maker = Arc::new(maker);

        progress.begin("reading and rendering");
        let snapshot = database.snapshot().await.map_err(PublishError::Database)?;
        let collected = self.collect(&maker, &files, snapshot, old, options, progress).await?;
        if collected.failed > 0 && !options.keep_going {
            return Err(PublishError::Keys(collected.errors, collected.failed));
        }
        let mut report = Report {
            rendered: collected.rendered,
            failed: collected.failed,
            errors: collected.errors.iter().map(ToString::to_string).collect(),
            dry_run: options.dry_run,
            ..Report::default()
        };

        progress.begin("comparing");
        let stamp = (self.clock)() + STAMP;
        let (mut plan, packs) = self.plan(&maker, collected, old, stamp, options.list).await?;
        report.counts = plan.counts;
        report.differences = std::mem::take(&mut plan.differences);
        if options.dry_run {
            report.release = before.map_or(0, |before| before.number);
            report.root = before.map_or_else(String::new, |before| before.root.to_string());
            return Ok(report);
        }
        guard(&plan, before, source.site.publish.guard, options.yes)?;

        progress.begin("writing");
        let released = self.write(&maker, live, &sound, plan, packs, stamp, options).await?;
        let (current, index) = (released.current, released.index);
        report.counts = released.counts;
        report.bytes_uploaded = released.bytes;
        report.released = released.is_new;
        report.release = current.live().number;
        report.root = current.live().root.to_string();

        progress.begin("mirroring");
        self.follow(&current, &index, &maker.definition().site, options.full).await?;
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

    /// Renders everything, static files first.
    async fn collect(
        &self,
        maker: &Arc<Maker>,
        files: &StaticFiles,
        snapshot: Box<dyn Snapshot>,
        old: &Index,
        options: Options,
        progress: &Progress,
    ) -> Result<Collected, PublishError> {
        let renderers = Arc::new(Renderers::new(maker.clone(), !options.dry_run));
        let bucket = (!options.dry_run).then(|| self.releases.bucket().clone());
        let mut collected = Collected {
            sorter: Sorter::new(),
            packs: Packs::new(bucket),
            rendered: 0,
            failed: 0,
            errors: Vec::new(),
            failing: BTreeSet::new(),
        };
        let collections = &maker.definition().site.collections;
        for candidate in self.static_files(&renderers, files, old).await? {
            collected.add(collections.len(), candidate).await?;
        }
        let mut reader = Reader::new(snapshot, progress);
        for (number, collection) in collections.iter().enumerate() {
            let spooled = reader.spool(collection).await?;
            let old = old.collections.get(&collection.name).cloned();
            let batches = stream::unfold(
                (&mut reader, spooled),
                async |(reader, mut spooled): (&mut Reader<'_>, Spooled)| {
                    let rows = reader.batch(collection, &mut spooled).await;
                    let is_end = rows.as_ref().is_ok_and(Vec::is_empty);
                    (!is_end).then_some((rows, (reader, spooled)))
                },
            );
            let jobs = batches.map(|rows| {
                let (renderers, old, nodes) = (renderers.clone(), old.clone(), self.releases.blocking());
                async move {
                    let rows = rows?;
                    tokio::task::spawn_blocking(move || renderers.render(number, rows, old.as_ref(), &nodes))
                        .await?
                }
            });
            let mut rendered = std::pin::pin!(jobs.buffered(self.threads.max(1)));
            while let Some(batch) = rendered.next().await {
                let batch = batch?;
                progress.rendered(batch.rows, batch.candidates.len() as u64);
                collected.take(number, &collection.name, batch).await?;
            }
        }
        Ok(collected)
    }

    async fn static_files(
        &self,
        renderers: &Arc<Renderers>,
        files: &StaticFiles,
        old: &Index,
    ) -> Result<Vec<Candidate>, PublishError> {
        let (renderers, files, nodes) = (renderers.clone(), files.clone(), self.releases.blocking());
        let old = old.collections.get(STATIC).cloned();
        let job = move || {
            let mut compressor = Compressor::new();
            let mut candidates = Vec::new();
            for (path, (file, version)) in &*files {
                let body = read_static(file)?;
                let media_type = media::media_type(path).unwrap_or("application/octet-stream");
                let entry = entry(path.as_str().into(), &body, media_type.into(), Policy::default().digest());
                if entry.version != *version {
                    return Err(PublishError::File {
                        what: file.display().to_string(),
                        source: std::io::Error::other("it changed while it was read; publish again"),
                    });
                }
                candidates.push(renderers.candidate(entry, &body, old.as_ref(), &nodes, &mut compressor)?);
            }
            Ok(candidates)
        };
        tokio::task::spawn_blocking(job).await?
    }

    async fn plan(
        &self,
        maker: &Arc<Maker>,
        collected: Collected,
        old: &Index,
        stamp: u64,
        list: usize,
    ) -> Result<(Plan, Packs), PublishError> {
        let names =
            maker.definition().site.collections.iter().map(|collection| Arc::from(collection.name.as_str()));
        let collections: Vec<Arc<str>> = names.chain([Arc::from(STATIC)]).collect();
        let (old, nodes) = (old.clone(), self.releases.blocking());
        let job = move || {
            let Collected { sorter, packs, failing: keeping, .. } = collected;
            let planner = Planner {
                old: &old,
                nodes: &nodes,
                collections: &collections,
                keeping: &keeping,
                stamp,
                list,
            };
            Ok((planner.plan(sorter.sorted()?)?, packs))
        };
        tokio::task::spawn_blocking(job).await?
    }

    /// Writes the new index and swaps `current`.
    #[expect(clippy::too_many_arguments, reason = "the one place where all results of a publish meet")]
    async fn write(
        &self,
        maker: &Arc<Maker>,
        live: Live,
        sound: &Sound,
        plan: Plan,
        packs: Packs,
        stamp: u64,
        options: Options,
    ) -> Result<Released, PublishError> {
        let mut counts = plan.counts;
        let (mut index, mut packs) = self.edit_trees(&sound.index, plan, packs).await?;
        let (hash, content) = maker.definition().encode();
        let before = live.as_ref().map(|(current, _)| current.live());
        let root = index.root();
        let is_same_root = before.is_some_and(|before| before.root == root);
        let is_same_definition = before.is_some_and(|before| before.definition.hash == hash);
        let resumes = before.is_some_and(|before| before.state == State::Held);
        if is_same_root {
            counts = Counts { documents: counts.documents, ..Counts::default() };
        }
        if is_same_root && is_same_definition && !resumes && !sound.is_damaged {
            let (_, bytes) = packs.finish().await?;
            let (current, _) =
                live.ok_or_else(|| PublishError::Task("nothing is live, but the same".to_owned()))?;
            return Ok(Released { current, index, counts, bytes, is_new: false });
        }
        let archived = commit::archive(&mut packs.writer, &live);
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
        let time = (self.clock)();
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
            used: follower::used(&self.releases).await?,
        };
        let last = writer.last_closed();
        let new = commit::successor(&live, next, &self.writer, last.map(|pack| (&archived, pack)));
        let current = commit::swap(&self.releases, &live, new).await?;
        Ok(Released { current, index, counts, bytes, is_new: true })
    }

    async fn edit_trees(
        &self,
        old: &Index,
        plan: Plan,
        mut packs: Packs,
    ) -> Result<(Index, Packs), PublishError> {
        let (mut index, nodes) = (old.clone(), self.releases.blocking());
        let job = move || {
            for (name, spool) in plan.edits {
                let edits = spool.read()?.map(|record| Ok(codec::edit(&record?)?));
                let tree =
                    edit::<PublishError, _, _>(index.collections.get(&*name), edits, &nodes, &mut packs)?;
                match tree {
                    Some(tree) => drop(index.collections.insert(name.to_string(), tree)),
                    None => drop(index.collections.remove(&*name)),
                }
            }
            Ok((index, packs))
        };
        tokio::task::spawn_blocking(job).await?
    }

    /// Brings the followers up to the live release; `anew`: whatever their cursors say.
    pub(crate) async fn follow(
        &self,
        current: &Current,
        index: &Index,
        site: &Definition,
        anew: bool,
    ) -> Result<(), PublishError> {
        let Some(objects) = &self.objects else { return Ok(()) };
        let followed = follower::follow(self, objects, (current, index), site, anew).await;
        let Err(source) = followed else { return Ok(()) };
        let cursor = follower::read(&self.releases).await.ok().and_then(Result::ok);
        Err(PublishError::Lagging {
            release: current.live().number,
            follower: follower::OBJECTS,
            reached: cursor.and_then(|cursor| cursor.reached).map_or(0, |reached| reached.number),
            source: Box::new(source),
        })
    }
}

/// A release as it was committed.
struct Released {
    current: Current,
    index: Index,
    counts: Counts,
    bytes: u64,
    is_new: bool,
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

impl Collected {
    async fn take(&mut self, number: usize, name: &str, batch: Rendered) -> Result<(), PublishError> {
        self.rendered += batch.candidates.len() as u64;
        for candidate in batch.candidates {
            self.add(number, candidate).await?;
        }
        for error in batch.errors {
            self.failed += 1;
            self.failing.insert(name.into());
            if self.errors.len() < MAX_ERRORS {
                self.errors.push(error);
            }
        }
        Ok(())
    }

    async fn add(&mut self, number: usize, candidate: Candidate) -> Result<(), PublishError> {
        let mut entry = candidate.entry;
        if let Some(body) = candidate.body {
            entry.place = self.packs.append_body(&body).await?;
        }
        self.sorter.push(Fresh { collection: number as u32, entry })
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

type StaticFiles = Arc<BTreeMap<String, (std::path::PathBuf, Version)>>;

/// What the release is made with, and its static files.
fn definition(source: &Source) -> Result<(ReleaseDefinition, StaticFiles), PublishError> {
    let mut files = BTreeMap::new();
    for (path, file) in &source.static_files {
        let version = Version::of(&read_static(file)?);
        files.insert(path.as_str().to_owned(), (file.clone(), version));
    }
    let definition = ReleaseDefinition {
        renderer: RENDERER,
        site: source.site.definition.clone(),
        templates: source.templates.clone(),
        static_files: files.iter().map(|(path, (_, version))| (path.clone(), *version)).collect(),
    };
    Ok((definition, Arc::new(files)))
}

fn read_static(file: &std::path::Path) -> Result<Vec<u8>, PublishError> {
    let failed = |source| PublishError::File {
        what: format!("cannot read the static file {}", file.display()),
        source,
    };
    let size = std::fs::metadata(file).map_err(failed)?.len();
    if size > MAX_STATIC {
        let message = format!("it has {size} bytes; static files have at most {MAX_STATIC}");
        return Err(failed(std::io::Error::other(message)));
    }
    std::fs::read(file).map_err(failed)
}

/// The maker of a site. `file` is what messages call `site.toml`.
///
/// # Errors
/// The site has mistakes.
pub(crate) fn maker(source: &Source) -> Result<Maker, PublishError> {
    prepare(source).map(|(maker, _)| maker)
}

/// The maker of a site and its static files.
fn prepare(source: &Source) -> Result<(Maker, StaticFiles), PublishError> {
    let (definition, files) = definition(source)?;
    let maker = Maker::new(definition, &source.site.templates, Limits::default())?;
    let problems = names(source, &maker);
    if problems.is_empty() { Ok((maker, files)) } else { Err(Problems(problems).into()) }
}

/// Names in the definition that nothing has: templates, the document served with 404.
fn names(source: &Source, maker: &Maker) -> Vec<Problem> {
    let mut problems = Vec::new();
    let site = &source.site.definition;
    for document in site.collections.iter().flat_map(|collection| &collection.documents) {
        if let Some(template) =
            document.template.as_ref().filter(|template| !maker.renderer().contains(template))
        {
            let known: Vec<&str> = source.templates.keys().map(String::as_str).collect();
            problems.push(Problem::error(
                &source.file,
                Some(document.line),
                format!("there is no template `{template}` in the folder {}", source.site.templates),
                format!("write it, or name one of: {}", known.join(", ")),
            ));
        }
    }
    if let Some(path) = site.not_found.as_ref().filter(|path| !maker.router().is_literal(path.as_str())) {
        problems.push(Problem::error(
            &source.file,
            None,
            format!("`not_found` names {path}, but no document and no static file has exactly this path"),
            "add a collection without a query that makes it, or remove `not_found`",
        ));
    }
    problems
}
