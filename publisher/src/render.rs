//! Renders batches of rows on all cores, and keeps of each document only what the release needs: its
//! entry, and its compressed body if that is new.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use edgepress_site::documents::{KeyError, Maker};
use edgepress_site::policy::PolicyDigest;
use edgepress_site::release::dictionary::{SAMPLES, Trained};
use edgepress_site::release::pack::{Compressor, MAX_CONTENT, PackedBody};
use edgepress_site::release::{Child, Entry, Pack, Place};
use edgepress_site::version::Version;
use edgepress_store::release::Blocking;

use crate::error::PublishError;
use crate::key::{Group, KeyColumns};
use crate::prepare::Prepared;
use crate::rows::Loaded;
use crate::scope::Key;

/// Bytes of bodies that wait until it is known what they have in common.
const MAX_WAITING: usize = 1 << 20;

/// A document as it was rendered.
pub(crate) struct Candidate {
    /// Its entry. Its place is right if `body` is absent.
    pub(crate) entry: Entry,
    /// Its body, unless the live release has it.
    pub(crate) body: Option<PackedBody>,
}

/// Rows whose documents are to be made, or are known to be gone.
pub(crate) struct Job {
    /// The collection, by number.
    pub(crate) collection: usize,
    /// The documents that are made, by index.
    pub(crate) wanted: Arc<BTreeSet<usize>>,
    pub(crate) rows: Vec<Loaded>,
    /// Keys whose documents go unless they are made anew.
    pub(crate) gone: Vec<Key>,
}

/// What became of a job.
#[derive(Default)]
pub(crate) struct Rendered {
    pub(crate) rows: u64,
    /// Keys that were looked at: those of the rows, and those without one.
    pub(crate) keys: u64,
    pub(crate) candidates: Vec<Candidate>,
    /// Paths whose documents go unless they are made anew.
    pub(crate) gone: Vec<Arc<str>>,
    pub(crate) failures: Vec<Failure>,
}

/// Documents of a row that could not be made: all those that show the same columns.
pub(crate) struct Failure {
    pub(crate) error: KeyError,
    pub(crate) key: Key,
    /// The paths of its old documents; nothing if it cannot say which those are.
    pub(crate) kept: Option<Vec<Arc<str>>>,
}

/// What rendering needs to know; shared by all threads.
pub(crate) struct Renderers {
    maker: Arc<Maker>,
    /// The key columns of each collection.
    pub(crate) keys: Arc<[KeyColumns]>,
    /// Whether bodies are compressed for packs: not on a dry run.
    compresses: bool,
    /// What the bodies of each collection have in common, once enough of them are known.
    dictionaries: Vec<OnceLock<Option<Arc<Trained>>>>,
}

/// A collection's tree in the live release, if it has one there.
#[derive(Clone, Copy)]
pub(crate) struct Old<'a> {
    pub(crate) tree: Option<&'a Child>,
    pub(crate) nodes: &'a Blocking,
}

/// A place that is not known yet.
pub(crate) const NOWHERE: Place = Place { pack: Pack::New(u32::MAX), offset: 0, length: 0 };

impl Renderers {
    pub(crate) fn new(prepared: &Prepared, compresses: bool) -> Self {
        let (maker, keys) = (prepared.maker.clone(), prepared.keys.clone());
        let dictionaries = keys.iter().map(|_| OnceLock::new()).collect();
        Self { maker, keys, compresses, dictionaries }
    }

    /// Makes the documents of a job.
    pub(crate) fn render(&self, job: Job, old: Old<'_>) -> Result<Rendered, PublishError> {
        let (rows, keys) = (job.rows.len(), job.rows.len().max(job.gone.len()));
        let mut rendered = Rendered { rows: rows as u64, keys: keys as u64, ..Rendered::default() };
        let keys = &self.keys[job.collection];
        let is_wanted = |group: &&Group| group.documents.iter().any(|number| job.wanted.contains(number));
        let mut maker = RowMaker {
            renderers: self,
            job: (job.collection, &job.wanted),
            facts: self.facts(job.collection),
            old,
            bodies: Bodies::new(&self.dictionaries[job.collection]),
        };
        for mut loaded in job.rows {
            for (number, group) in keys.groups.iter().enumerate().filter(|(_, group)| is_wanted(group)) {
                let kept = rendered.candidates.len();
                let failed = maker.make(&mut loaded, (number, group), &mut rendered.candidates)?;
                if let Some(error) = failed {
                    rendered.candidates.truncate(kept);
                    maker.bodies.forget(kept);
                    let key = keys.of_row(&loaded.row);
                    let kept = match keys.has_paths(&self.maker, job.collection, group, &key) {
                        true => Some(self.old_paths(job.collection, group, &key, old)?),
                        false => None,
                    };
                    rendered.failures.push(Failure { error, key, kept });
                }
            }
        }
        maker.bodies.finish(&mut rendered.candidates);
        for key in &job.gone {
            for group in keys.groups.iter().filter(is_wanted) {
                rendered.gone.extend(self.old_paths(job.collection, group, key, old)?);
            }
        }
        Ok(rendered)
    }

    /// Media type and policy of each document of a collection.
    fn facts(&self, collection: usize) -> Vec<(Arc<str>, PolicyDigest)> {
        let documents = self.maker.definition().site.collections[collection].documents.iter();
        documents.map(|document| (document.media_type.as_str().into(), document.cache.digest())).collect()
    }

    /// The paths that a key's documents of one group have, as far as they may be in the live release.
    pub(crate) fn old_paths(
        &self,
        collection: usize,
        group: &Group,
        key: &Key,
        old: Old<'_>,
    ) -> Result<Vec<Arc<str>>, PublishError> {
        let keys = &self.keys[collection];
        let mut paths = Vec::new();
        for document in group.documents.iter().copied() {
            let is_paged =
                self.maker.definition().site.collections[collection].documents[document].pages.is_some();
            let path = |page| {
                let path = self.maker.path((collection, document), page, |column| keys.text(key, column));
                path.map(|path| Arc::<str>::from(path.as_str()))
            };
            if !is_paged {
                paths.extend(path(None));
                continue;
            }
            let mut number = 1;
            while let (Some(path), Some(tree)) = (path(Some(number)), old.tree)
                && old.nodes.entry(tree, &path)?.is_some()
            {
                paths.push(path);
                number += 1;
            }
        }
        Ok(paths)
    }

    /// A document that has nothing in common with others: decides whether its body is new, and packs it
    /// if so.
    pub(crate) fn candidate(
        &self,
        mut entry: Entry,
        body: &[u8],
        old: Old<'_>,
        compressor: &mut Compressor<'_>,
    ) -> Result<Candidate, PublishError> {
        debug_assert!(body.len() <= MAX_CONTENT, "rendering and reading bound what they make");
        let body = (is_new(&mut entry, old)? && self.compresses).then(|| compressor.body(body));
        Ok(Candidate { entry, body })
    }
}

/// Whether the live release lacks the body of `entry`; if it has it, the entry gets its place.
fn is_new(entry: &mut Entry, old: Old<'_>) -> Result<bool, PublishError> {
    let old = old.tree.map(|tree| old.nodes.entry(tree, &entry.path)).transpose()?.flatten();
    let known = old.and_then(|old| known_place(&old, entry.version));
    entry.place = known.unwrap_or(NOWHERE);
    Ok(known.is_none())
}

/// Makes one row's documents after the other.
struct RowMaker<'a> {
    renderers: &'a Renderers,
    /// The collection and the documents of it that are wanted.
    job: (usize, &'a BTreeSet<usize>),
    facts: Vec<(Arc<str>, PolicyDigest)>,
    old: Old<'a>,
    bodies: Bodies<'a>,
}

impl RowMaker<'_> {
    /// Makes those of a row's documents that belong to one group; or says why one of them cannot be made.
    fn make(
        &mut self,
        loaded: &mut Loaded,
        (number, group): (usize, &Group),
        candidates: &mut Vec<Candidate>,
    ) -> Result<Option<KeyError>, PublishError> {
        let Self { renderers, job: (collection, wanted), facts, old, bodies } = self;
        let defined = &renderers.maker.definition().site.collections[*collection];
        if loaded.twice.contains(&number) {
            let first = &defined.documents[group.documents[0]];
            return Ok(Some(KeyError::twice(defined, first, &loaded.row)));
        }
        let is_wanted = |document: usize| wanted.contains(&document) && group.documents.contains(&document);
        let mut failed = Ok(None);
        renderers.maker.make(*collection, &mut loaded.row, is_wanted, |made| match made {
            _ if !matches!(failed, Ok(None)) => {}
            Err(error) => failed = Ok(Some(error)),
            Ok(made) => {
                let (media_type, policy) = facts[made.document].clone();
                let mut entry = entry(made.path.as_str().into(), &made.body, media_type, policy);
                match is_new(&mut entry, *old) {
                    Ok(is_new) => {
                        candidates.push(Candidate { entry, body: None });
                        if is_new && renderers.compresses {
                            bodies.add(made.body, candidates);
                        }
                    }
                    Err(error) => failed = Err(error),
                }
            }
        });
        failed
    }
}

/// The new bodies of a batch on their way to be compressed. As long as nobody knows what the bodies of
/// their collection have in common, they wait, until there are enough of them to tell.
struct Bodies<'r> {
    dictionary: &'r OnceLock<Option<Arc<Trained>>>,
    compressor: Option<Compressor<'r>>,
    /// Each with the number of its candidate.
    waiting: Vec<(usize, Vec<u8>)>,
    bytes: usize,
}

impl<'r> Bodies<'r> {
    fn new(dictionary: &'r OnceLock<Option<Arc<Trained>>>) -> Self {
        Self { dictionary, compressor: None, waiting: Vec::new(), bytes: 0 }
    }

    /// Adds the body of the last candidate.
    fn add(&mut self, body: Vec<u8>, candidates: &mut [Candidate]) {
        self.bytes += body.len();
        self.waiting.push((candidates.len() - 1, body));
        if self.compressor.is_some() || self.dictionary.get().is_some() {
            self.compress(candidates);
        } else if self.waiting.len() >= SAMPLES || self.bytes >= MAX_WAITING {
            let bodies = self.waiting.iter().map(|(_, body)| body.as_slice());
            self.dictionary.get_or_init(|| Trained::of(bodies).map(Arc::new));
            self.compress(candidates);
        }
    }

    /// Drops the bodies of candidates from this number on: their row failed.
    fn forget(&mut self, from: usize) {
        self.waiting.retain(|(number, _)| *number < from);
    }

    fn compress(&mut self, candidates: &mut [Candidate]) {
        let compressor = self.compressor.get_or_insert_with(|| match self.dictionary.get() {
            Some(Some(dictionary)) => Compressor::sharing(dictionary),
            _ => Compressor::new(),
        });
        for (number, body) in self.waiting.drain(..) {
            candidates[number].body = Some(compressor.body(&body));
        }
    }

    /// Those that still wait are too few to make a dictionary.
    fn finish(mut self, candidates: &mut [Candidate]) {
        if !self.waiting.is_empty() {
            self.compress(candidates);
        }
    }
}

/// Where a version of a document already lies: it may be one that comes back.
fn known_place(old: &Entry, version: Version) -> Option<Place> {
    if old.version == version {
        return Some(old.place);
    }
    old.previous.iter().find(|previous| previous.version == version).map(|previous| previous.place)
}

/// The entry of a body whose place is not known yet.
pub(crate) fn entry(path: Arc<str>, body: &[u8], media_type: Arc<str>, policy: [u8; 16]) -> Entry {
    Entry {
        path,
        version: Version::of(body),
        media_type,
        size: body.len() as u64,
        policy,
        place: NOWHERE,
        changed: 0,
        previous: Vec::new(),
    }
}
