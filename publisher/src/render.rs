//! Renders batches of rows on all cores, and keeps of each document only what the release needs: its
//! entry, and its frame if the body is new.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use edgepress_site::documents::{KeyError, Maker};
use edgepress_site::policy::PolicyDigest;
use edgepress_site::release::pack::{Compressor, MAX_CONTENT};
use edgepress_site::release::{Child, Entry, Kind, Pack, Place};
use edgepress_site::version::Version;
use edgepress_store::release::Blocking;

use crate::error::PublishError;
use crate::key::{Group, KeyColumns};
use crate::rows::Loaded;
use crate::scope::Key;

/// A document as it was rendered.
pub(crate) struct Candidate {
    /// Its entry. Its place is right if `frame` is absent.
    pub(crate) entry: Entry,
    /// The frame of its body, unless the live release has it.
    pub(crate) frame: Option<Vec<u8>>,
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
    pub(crate) maker: Arc<Maker>,
    /// The key columns of each collection.
    pub(crate) keys: Vec<KeyColumns>,
    /// Whether bodies are compressed for packs: not on a dry run.
    pub(crate) compresses: bool,
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
            compressor: Compressor::new(),
        };
        for mut loaded in job.rows {
            for (number, group) in keys.groups.iter().enumerate().filter(|(_, group)| is_wanted(group)) {
                let kept = rendered.candidates.len();
                let failed = maker.make(&mut loaded, (number, group), &mut rendered.candidates)?;
                if let Some(error) = failed {
                    rendered.candidates.truncate(kept);
                    let key = keys.of_row(&loaded.row);
                    let kept = self.old_paths(job.collection, group, &key, old)?;
                    rendered.failures.push(Failure { error, key, kept });
                }
            }
        }
        for key in &job.gone {
            for group in keys.groups.iter().filter(is_wanted) {
                let paths = self.old_paths(job.collection, group, key, old)?;
                rendered.gone.extend(paths.into_iter().flatten());
            }
        }
        Ok(rendered)
    }

    /// Media type and policy of each document of a collection.
    fn facts(&self, collection: usize) -> Vec<(Arc<str>, PolicyDigest)> {
        let documents = self.maker.definition().site.collections[collection].documents.iter();
        documents.map(|document| (document.media_type.as_str().into(), document.cache.digest())).collect()
    }

    /// The paths that a key's documents of one group have, as far as they may be in the live release;
    /// nothing if it shows no texts, and so cannot say.
    pub(crate) fn old_paths(
        &self,
        collection: usize,
        group: &Group,
        key: &Key,
        old: Old<'_>,
    ) -> Result<Option<Vec<Arc<str>>>, PublishError> {
        let keys = &self.keys[collection];
        let is_shown = |text: Option<Cow<'_, str>>| text.is_some_and(|text| !text.is_empty());
        if !group.columns.iter().all(|position| is_shown(key[*position].path_text())) {
            return Ok(None);
        }
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
        Ok(Some(paths))
    }

    /// Decides whether the body is new, and packs it if so.
    pub(crate) fn candidate(
        &self,
        mut entry: Entry,
        body: &[u8],
        old: Old<'_>,
        compressor: &mut Compressor,
    ) -> Result<Candidate, PublishError> {
        debug_assert!(body.len() <= MAX_CONTENT, "rendering and reading bound what they make");
        let old = old.tree.map(|tree| old.nodes.entry(tree, &entry.path)).transpose()?.flatten();
        if let Some(place) = old.and_then(|old| known_place(&old, entry.version)) {
            entry.place = place;
            return Ok(Candidate { entry, frame: None });
        }
        let frame = self.compresses.then(|| compressor.frame(Kind::Body, body));
        Ok(Candidate { entry, frame })
    }
}

/// Makes one row's documents after the other.
struct RowMaker<'a> {
    renderers: &'a Renderers,
    /// The collection and the documents of it that are wanted.
    job: (usize, &'a BTreeSet<usize>),
    facts: Vec<(Arc<str>, PolicyDigest)>,
    old: Old<'a>,
    compressor: Compressor,
}

impl RowMaker<'_> {
    /// Makes those of a row's documents that belong to one group; or says why one of them cannot be made.
    fn make(
        &mut self,
        loaded: &mut Loaded,
        (number, group): (usize, &Group),
        candidates: &mut Vec<Candidate>,
    ) -> Result<Option<KeyError>, PublishError> {
        let Self { renderers, job: (collection, wanted), facts, old, compressor } = self;
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
                let entry = entry(made.path.as_str().into(), &made.body, media_type, policy);
                match renderers.candidate(entry, &made.body, *old, compressor) {
                    Ok(candidate) => candidates.push(candidate),
                    Err(error) => failed = Err(error),
                }
            }
        });
        failed
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
