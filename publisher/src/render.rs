//! Renders batches of rows on all cores, and keeps of each document only what the release needs: its
//! entry, and its compressed body if that is new.

use std::sync::{Arc, OnceLock};

use edgepress_site::documents::{KeyError, Maker};
use edgepress_site::release::dictionary::{SAMPLES, Trained};
use edgepress_site::release::pack::{Compressor, MAX_CONTENT, PackedBody};
use edgepress_site::release::{Child, Entry, Pack, Place};
use edgepress_site::row::Row;
use edgepress_site::version::Version;
use edgepress_store::release::Blocking;

use crate::error::PublishError;

/// Bytes of bodies that wait until it is known what they have in common.
const MAX_WAITING: usize = 1 << 20;

/// A document as it was rendered.
pub(crate) struct Candidate {
    /// Its entry. Its place is right if `body` is absent.
    pub(crate) entry: Entry,
    /// Its body, unless the live release has it.
    pub(crate) body: Option<PackedBody>,
}

/// What became of a batch.
#[derive(Default)]
pub(crate) struct Rendered {
    pub(crate) rows: u64,
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) errors: Vec<KeyError>,
}

/// What rendering needs to know; shared by all threads.
pub(crate) struct Renderers {
    maker: Arc<Maker>,
    /// Whether bodies are compressed for packs: not on a dry run.
    compresses: bool,
    /// What the bodies of each collection have in common, once enough of them are known.
    dictionaries: Vec<OnceLock<Option<Arc<Trained>>>>,
}

/// A place that is not known yet.
pub(crate) const NOWHERE: Place = Place { pack: Pack::New(u32::MAX), offset: 0, length: 0 };

impl Renderers {
    pub(crate) fn new(maker: Arc<Maker>, compresses: bool) -> Self {
        let dictionaries = maker.definition().site.collections.iter().map(|_| OnceLock::new()).collect();
        Self { maker, compresses, dictionaries }
    }

    /// Renders the rows of a batch. `old` is the collection's tree in the live release.
    pub(crate) fn render(
        &self,
        collection: usize,
        rows: Vec<Row>,
        old: Option<&Child>,
        nodes: &Blocking,
    ) -> Result<Rendered, PublishError> {
        let defined = &self.maker.definition().site.collections[collection];
        let facts: Vec<(Arc<str>, _)> = defined
            .documents
            .iter()
            .map(|document| (Arc::from(document.media_type.as_str()), document.cache.digest()))
            .collect();
        let mut rendered = Rendered { rows: rows.len() as u64, ..Rendered::default() };
        let mut bodies = Bodies::new(&self.dictionaries[collection]);
        let mut failed = None;
        for mut row in rows {
            self.maker.make(collection, &mut row, |made| match made {
                Err(error) => rendered.errors.push(error),
                Ok(made) => {
                    let (media_type, policy) = facts[made.document].clone();
                    let mut entry = entry(made.path.as_str().into(), &made.body, media_type, policy);
                    match is_new(&mut entry, old, nodes) {
                        Ok(is_new) => {
                            rendered.candidates.push(Candidate { entry, body: None });
                            if is_new && self.compresses {
                                bodies.add(made.body, &mut rendered.candidates);
                            }
                        }
                        Err(error) => failed = Some(error),
                    }
                }
            });
            if let Some(error) = failed {
                return Err(error);
            }
        }
        bodies.finish(&mut rendered.candidates);
        Ok(rendered)
    }

    /// A document that has nothing in common with others: decides whether its body is new, and packs it
    /// if so.
    pub(crate) fn candidate(
        &self,
        mut entry: Entry,
        body: &[u8],
        old: Option<&Child>,
        nodes: &Blocking,
        compressor: &mut Compressor<'_>,
    ) -> Result<Candidate, PublishError> {
        debug_assert!(body.len() <= MAX_CONTENT, "rendering and reading bound what they make");
        let body = (is_new(&mut entry, old, nodes)? && self.compresses).then(|| compressor.body(body));
        Ok(Candidate { entry, body })
    }
}

/// Whether the live release lacks the body of `entry`; if it has it, the entry gets its place.
fn is_new(entry: &mut Entry, old: Option<&Child>, nodes: &Blocking) -> Result<bool, PublishError> {
    let old = old.map(|old| nodes.entry(old, &entry.path)).transpose()?.flatten();
    let known = old.and_then(|old| known_place(&old, entry.version));
    entry.place = known.unwrap_or(NOWHERE);
    Ok(known.is_none())
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
