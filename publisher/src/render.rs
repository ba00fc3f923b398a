//! Renders batches of rows on all cores, and keeps of each document only what the release needs: its
//! entry, and its frame if the body is new.

use std::sync::Arc;

use edgepress_site::documents::{KeyError, Maker};
use edgepress_site::release::pack::{Compressor, MAX_CONTENT};
use edgepress_site::release::{Child, Entry, Kind, Pack, Place};
use edgepress_site::row::Row;
use edgepress_site::version::Version;
use edgepress_store::release::Blocking;

use crate::error::PublishError;

/// A document as it was rendered.
pub(crate) struct Candidate {
    /// Its entry. Its place is right if `frame` is absent.
    pub(crate) entry: Entry,
    /// The frame of its body, unless the live release has it.
    pub(crate) frame: Option<Vec<u8>>,
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
    pub(crate) maker: Arc<Maker>,
    /// Whether bodies are compressed for packs: not on a dry run.
    pub(crate) compresses: bool,
}

/// A place that is not known yet.
pub(crate) const NOWHERE: Place = Place { pack: Pack::New(u32::MAX), offset: 0, length: 0 };

impl Renderers {
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
        let mut compressor = Compressor::new();
        let mut failed = None;
        for mut row in rows {
            self.maker.make(collection, &mut row, |made| match made {
                Err(error) => rendered.errors.push(error),
                Ok(made) => {
                    let (media_type, policy) = facts[made.document].clone();
                    let entry = entry(made.path.as_str().into(), &made.body, media_type, policy);
                    match self.candidate(entry, &made.body, old, nodes, &mut compressor) {
                        Ok(candidate) => rendered.candidates.push(candidate),
                        Err(error) => failed = Some(error),
                    }
                }
            });
            if let Some(error) = failed {
                return Err(error);
            }
        }
        Ok(rendered)
    }

    /// Decides whether the body is new, and packs it if so.
    pub(crate) fn candidate(
        &self,
        mut entry: Entry,
        body: &[u8],
        old: Option<&Child>,
        nodes: &Blocking,
        compressor: &mut Compressor,
    ) -> Result<Candidate, PublishError> {
        debug_assert!(body.len() <= MAX_CONTENT, "rendering and reading bound what they make");
        let old = old.map(|old| nodes.entry(old, &entry.path)).transpose()?.flatten();
        if let Some(place) = old.and_then(|old| known_place(&old, entry.version)) {
            entry.place = place;
            return Ok(Candidate { entry, frame: None });
        }
        let frame = self.compresses.then(|| compressor.frame(Kind::Body, body));
        Ok(Candidate { entry, frame })
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
