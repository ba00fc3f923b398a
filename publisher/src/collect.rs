//! Collects what a publish makes: rows are read, rendered on all cores, and their new bodies sent on their
//! way to the bucket while the next rows are read.
//!
//! Owns the order of that, and what becomes of rows that fail. Refuses to compare with the live release.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use edgepress_site::definition::Collection;
use edgepress_site::documents::{KeyError, Maker};
use edgepress_site::media;
use edgepress_site::policy::Policy;
use edgepress_site::release::definition::STATIC;
use edgepress_site::release::pack::Compressor;
use edgepress_site::release::{Child, Index};
use edgepress_store::release::Releases;
use futures_util::stream::{self, Stream, StreamExt as _};

use crate::error::PublishError;
use crate::key::{Group, KeyColumns};
use crate::packs::Packs;
use crate::plan::{Fresh, Keeping};
use crate::prepare::{Prepared, read_static};
use crate::progress::Progress;
use crate::render::{Candidate, Job, Old, Rendered, Renderers, entry};
use crate::rows::{BATCH, Loaded, Reader, Spooled};
use crate::scope::{Key, Scope};
use crate::sort::Sorter;
use crate::state::{Failed, Whole};

/// At most so many failed rows are listed; all are counted.
const MAX_ERRORS: usize = 20;

/// More old documents of failed rows than this are not kept one by one.
const MAX_KEPT: usize = 100_000;

/// Everything in the scope of a publish, rendered; new bodies are on their way to the bucket.
pub(crate) struct Collected {
    pub(crate) sorter: Sorter<Fresh>,
    pub(crate) packs: Packs,
    pub(crate) rendered: u64,
    /// Keys whose documents were made, or found to be gone.
    pub(crate) keys: u64,
    pub(crate) failures: u64,
    /// The first of their errors.
    pub(crate) errors: Vec<String>,
    pub(crate) keeping: Keeping,
    /// By collection: what failed.
    pub(crate) failed: BTreeMap<String, Failed>,
}

/// Collects from one snapshot.
pub(crate) struct Collector<'a> {
    pub(crate) releases: &'a Releases,
    pub(crate) prepared: &'a Prepared,
    pub(crate) scope: &'a Scope,
    /// The live release's index.
    pub(crate) old: &'a Index,
    pub(crate) threads: usize,
    pub(crate) progress: &'a Progress,
    /// Whether bodies go anywhere.
    pub(crate) is_dry: bool,
    /// Collections that the database refuses to read, each with its error: their documents stay.
    pub(crate) unread: &'a BTreeMap<String, String>,
}

impl Collector<'_> {
    fn maker(&self) -> &Arc<Maker> {
        &self.prepared.maker
    }

    /// Renders everything in the scope, static files first.
    pub(crate) async fn collect(&self, reader: &mut Reader<'_>) -> Result<Collected, PublishError> {
        let collections = &self.maker().definition().site.collections;
        let renderers = Arc::new(Renderers::new(self.prepared, !self.is_dry));
        let mut collected = Collected {
            sorter: Sorter::new(),
            packs: Packs::new((!self.is_dry).then(|| self.releases.bucket().clone())),
            rendered: 0,
            keys: 0,
            failures: 0,
            errors: Vec::new(),
            keeping: Keeping::default(),
            failed: BTreeMap::new(),
        };
        self.static_files(&renderers, &mut collected).await?;
        for (number, collection) in collections.iter().enumerate() {
            let all: BTreeSet<usize> = (0..collection.documents.len()).collect();
            let part = self.scope.part(&collection.name);
            let whole = match part {
                _ if self.scope.is_whole(&collection.name) => all.clone(),
                Some(part) => part.documents.clone(),
                None => continue,
            };
            if let Some(error) = self.unread.get(&collection.name) {
                collected.keep(&collection.name, error);
                continue;
            }
            if !whole.is_empty() {
                let spooled = reader.spool(collection, &renderers.keys[number]).await?;
                let jobs = self.all_rows(reader, spooled, (number, collection), &renderers, &whole);
                self.render(jobs, (number, collection), &renderers, &mut collected).await?;
            }
            let rest: BTreeSet<usize> = all.difference(&whole).copied().collect();
            if let Some(part) = part.filter(|part| !part.keys.is_empty() && !rest.is_empty()) {
                for group in &renderers.keys[number].groups {
                    let jobs = self.rows_of(
                        reader,
                        &part.keys,
                        (number, collection),
                        (&renderers.keys[number], group),
                        &rest,
                    );
                    self.render(jobs, (number, collection), &renderers, &mut collected).await?;
                }
            }
        }
        Ok(collected)
    }

    /// All rows of a collection, batch after batch.
    fn all_rows<'s, 'p>(
        &'s self,
        reader: &'s mut Reader<'p>,
        spooled: Spooled,
        (number, collection): (usize, &'s Collection),
        renderers: &'s Renderers,
        wanted: &BTreeSet<usize>,
    ) -> impl Stream<Item = Result<Job, PublishError>> + use<'s, 'p> {
        let wanted = Arc::new(wanted.clone());
        stream::unfold((reader, spooled), move |(reader, mut spooled)| {
            let wanted = wanted.clone();
            async move {
                let rows = match reader.batch(collection, &renderers.keys[number], &mut spooled).await {
                    Ok(rows) if rows.is_empty() => return None,
                    rows => rows,
                };
                let job = rows.map(|rows| Job { collection: number, wanted, rows, gone: Vec::new() });
                Some((job, (reader, spooled)))
            }
        })
    }

    /// The rows of `keys`, of whose documents those of one group are made; batch after batch.
    fn rows_of<'s, 'p>(
        &'s self,
        reader: &'s mut Reader<'p>,
        keys: &'s [Key],
        (number, collection): (usize, &'s Collection),
        (columns, group): (&'s KeyColumns, &'s Group),
        rest: &BTreeSet<usize>,
    ) -> impl Stream<Item = Result<Job, PublishError>> + use<'s, 'p> {
        let of_group = group.documents.iter().filter(|document| rest.contains(document));
        let wanted: Arc<BTreeSet<usize>> = Arc::new(of_group.copied().collect());
        let mut seen = HashSet::new();
        let is_new = |key: &&Key| group.digest(0, key).is_none_or(|digest| seen.insert(digest));
        let keys: Vec<&Key> = keys.iter().filter(is_new).collect();
        let batches: Vec<Vec<Key>> = match wanted.is_empty() {
            true => Vec::new(),
            false => keys.chunks(BATCH).map(|keys| keys.iter().copied().cloned().collect()).collect(),
        };
        stream::unfold((reader, batches.into_iter()), move |(reader, mut batches)| {
            let wanted = wanted.clone();
            async move {
                let gone = batches.next()?;
                let parts: Vec<Key> = gone.iter().map(|key| group.part(key)).collect();
                let lists = reader.keyed(collection, columns, group, &parts).await;
                let job = lists.map(|lists| {
                    let rows = lists.into_iter().flat_map(|list| {
                        let twice: Vec<usize> = match list.len() {
                            0 | 1 => Vec::new(),
                            _ => (0..columns.groups.len()).collect(),
                        };
                        list.into_iter().map(move |row| Loaded { row, twice: twice.clone() })
                    });
                    Job { collection: number, wanted, rows: rows.collect(), gone }
                });
                Some((job, (reader, batches)))
            }
        })
    }

    /// Renders jobs on all cores, in their order.
    async fn render(
        &self,
        jobs: impl Stream<Item = Result<Job, PublishError>>,
        (number, collection): (usize, &Collection),
        renderers: &Arc<Renderers>,
        collected: &mut Collected,
    ) -> Result<(), PublishError> {
        let tree = self.old.collections.get(&collection.name);
        let running = jobs.map(|job| {
            let (renderers, tree, nodes) = (renderers.clone(), tree.cloned(), self.releases.blocking());
            async move {
                let job = job?;
                let old = move |tree: Option<&Child>| renderers.render(job, Old { tree, nodes: &nodes });
                tokio::task::spawn_blocking(move || old(tree.as_ref())).await?
            }
        });
        let mut rendered = std::pin::pin!(running.buffered(self.threads.max(1)));
        while let Some(batch) = rendered.next().await {
            let batch = batch?;
            self.progress.rendered(batch.rows, batch.candidates.len() as u64);
            collected.take((number, &collection.name), batch).await?;
        }
        Ok(())
    }

    /// The static files in the scope.
    async fn static_files(
        &self,
        renderers: &Arc<Renderers>,
        collected: &mut Collected,
    ) -> Result<(), PublishError> {
        let number = self.maker().definition().site.collections.len();
        let (renderers, files, nodes) =
            (renderers.clone(), self.prepared.files.clone(), self.releases.blocking());
        let only = (!self.scope.is_full()).then(|| self.scope.static_files.clone());
        let gone = only.iter().flatten().filter(|path| !files.contains_key(*path)).cloned();
        let gone: Vec<Arc<str>> = gone.map(Arc::from).collect();
        if only.as_ref().is_some_and(BTreeSet::is_empty) {
            return Ok(());
        }
        let tree = self.old.collections.get(STATIC).cloned();
        let job = move || {
            let mut compressor = Compressor::new();
            let mut candidates = Vec::new();
            let is_wanted = |path: &String| only.as_ref().is_none_or(|only| only.contains(path));
            for (path, (file, version)) in files.iter().filter(|(path, _)| is_wanted(path)) {
                let body = read_static(file)?;
                let media_type = media::media_type(path).unwrap_or("application/octet-stream");
                let entry = entry(path.as_str().into(), &body, media_type.into(), Policy::default().digest());
                if entry.version != *version {
                    return Err(PublishError::File {
                        what: file.display().to_string(),
                        source: std::io::Error::other("it changed while it was read; publish again"),
                    });
                }
                let old = Old { tree: tree.as_ref(), nodes: &nodes };
                candidates.push(renderers.candidate(entry, &body, old, &mut compressor)?);
            }
            Ok::<_, PublishError>(candidates)
        };
        for candidate in tokio::task::spawn_blocking(job).await?? {
            collected.add(number, candidate).await?;
        }
        gone.into_iter().try_for_each(|path| collected.go(number, path))
    }
}

impl Collected {
    async fn take(&mut self, (number, name): (usize, &str), batch: Rendered) -> Result<(), PublishError> {
        self.rendered += batch.candidates.len() as u64;
        self.keys += batch.keys;
        for path in batch.gone {
            self.go(number, path)?;
        }
        for candidate in batch.candidates {
            self.add(number, candidate).await?;
        }
        for failure in batch.failures {
            let failed = self.failed.entry(name.to_owned()).or_default();
            match failure.kept {
                Some(paths) if self.keeping.paths.len() < MAX_KEPT => {
                    failed.add(&failure.key);
                    self.keeping.paths.extend(paths);
                }
                _ => {
                    failed.add_whole(Whole::Keys);
                    self.keeping.collections.insert(name.into());
                }
            }
            self.fail(&failure.error);
        }
        Ok(())
    }

    /// Counts something that could not be made.
    pub(crate) fn fail(&mut self, error: &dyn std::fmt::Display) {
        self.failures += 1;
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(error.to_string());
        }
    }

    /// Keeps all documents of a collection that cannot be read.
    fn keep(&mut self, name: &str, error: &str) {
        self.failed.entry(name.to_owned()).or_default().add_whole(Whole::Query);
        self.keeping.collections.insert(name.into());
        self.fail(&error);
    }

    /// Counts documents that were made but must not be there as failures. What their rows' keys are is not
    /// told by their paths, so that all rows are looked at again.
    pub(crate) fn refuse(&mut self, refused: &BTreeMap<Arc<str>, KeyError>) {
        for error in refused.values() {
            self.failed.entry(error.collection.clone()).or_default().add_whole(Whole::Paths);
            self.fail(error);
        }
    }

    /// Whatever lies at a path goes, unless it is made anew.
    fn go(&mut self, number: usize, path: Arc<str>) -> Result<(), PublishError> {
        self.sorter.push(Fresh { collection: number as u32, path, entry: None })
    }

    async fn add(&mut self, number: usize, candidate: Candidate) -> Result<(), PublishError> {
        let mut entry = candidate.entry;
        if let Some(body) = candidate.body {
            entry.place = self.packs.append_body(&body).await?;
        }
        self.sorter.push(Fresh { collection: number as u32, path: entry.path.clone(), entry: Some(entry) })
    }
}
