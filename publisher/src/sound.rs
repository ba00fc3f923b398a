//! What of the live release can be believed: found by reading all of it, for `publish --full`.
//!
//! Refuses to mend anything. What is not taken over from the live release is published as if it had
//! never been, and so is mended: equal content gives the equal root.

use std::collections::{BTreeMap, BTreeSet};

use edgepress_site::release::{Child, Index, Malformed, Node, Nodes as _, Place, Record};
use edgepress_site::version::Digest;
use edgepress_store::release::{Blocking, ReleaseError, Releases, pack_key};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use crate::error::PublishError;

/// Bytes of index nodes kept while reading. Those that a publisher remembers are not asked: they may
/// have been lost since.
const NODES: u64 = 8 << 20;

/// Packs that are read at the same time.
const READS: usize = 4;

/// What a publish takes over from the live release.
#[derive(Default)]
pub(crate) struct Sound {
    /// Its index, without the collections of which anything is missing or altered.
    pub(crate) index: Index,
    /// Whether anything is, so that there must be a new release even if nothing else changed.
    pub(crate) is_damaged: bool,
    /// Whether its definition must be stored anew.
    pub(crate) lacks_definition: bool,
}

/// Packs, by the collection that needs them.
type Needed = BTreeMap<String, BTreeSet<Digest>>;

/// Reads everything that the release of `record` needs.
pub(crate) async fn sound(releases: &Releases, record: &Record) -> Result<Sound, PublishError> {
    let releases = &Releases::new(releases.bucket().clone(), NODES);
    let index = believed(releases.index(record).await)?;
    let definition = believed(releases.definition(record).await)?;
    let collections = index.as_ref().map(|index| index.collections.len());
    let (mut index, needed) = readable(releases, index.unwrap_or_default()).await?;
    let places = [record.index.pack, record.definition.place.pack];
    let all: BTreeSet<Digest> =
        needed.values().flatten().copied().chain(places.into_iter().flatten()).collect();
    let bad = altered(releases, all).await?;
    let is_bad = |pack: Option<Digest>| pack.is_none_or(|pack| bad.contains(&pack));
    index.collections.retain(|name, _| needed[name].is_disjoint(&bad));
    let lacks_definition = definition.is_none() || is_bad(places[1]);
    let lacks_index = is_bad(places[0]) || collections != Some(index.collections.len());
    Ok(Sound { index, is_damaged: lacks_index || lacks_definition, lacks_definition })
}

/// What was read; nothing if it is missing or altered.
fn believed<T>(read: Result<T, ReleaseError>) -> Result<Option<T>, ReleaseError> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) => match error.damage() {
            None => Err(error),
            Some((object, what)) => {
                tracing::warn!(object, "what was here is published anew: {what}");
                Ok(None)
            }
        },
    }
}

/// The collections whose trees can be read, and the packs they need.
async fn readable(releases: &Releases, mut index: Index) -> Result<(Index, Needed), PublishError> {
    let nodes = releases.blocking();
    let job = move || {
        let mut needed = Needed::new();
        for (name, tree) in &index.collections {
            let mut packs = BTreeSet::new();
            if believed(walk(tree, &nodes, &mut packs))?.is_some() {
                needed.insert(name.clone(), packs);
            }
        }
        index.collections.retain(|name, _| needed.contains_key(name));
        Ok((index, needed))
    };
    tokio::task::spawn_blocking(job).await?
}

/// Notes the packs of a tree's nodes and bodies.
fn walk(child: &Child, nodes: &Blocking, packs: &mut BTreeSet<Digest>) -> Result<(), ReleaseError> {
    let mut note = |place: &Place| {
        place.stored().map(|(pack, _)| {
            packs.insert(pack);
        })
    };
    note(&child.place)?;
    let node = nodes.load(child)?;
    node.check_shape()?;
    match &*node {
        Node::Inner(children) => children.iter().try_for_each(|child| walk(child, nodes, packs)),
        Node::Leaf(entries) => entries.iter().try_for_each(|entry| {
            entry.previous.iter().map(|previous| &previous.place).try_for_each(&mut note)?;
            note(&entry.place).map_err(|what: Malformed| what.into())
        }),
    }
}

/// Those of the packs that are missing or not what their names say.
async fn altered(releases: &Releases, packs: BTreeSet<Digest>) -> Result<BTreeSet<Digest>, PublishError> {
    let read = async |name: Digest| {
        let object = releases.bucket().get(&pack_key(name)).await?;
        let is_whole = object.is_some_and(|object| Digest::of(&object.body) == name);
        if !is_whole {
            tracing::warn!(
                object = pack_key(name),
                "what was here is published anew: it is missing or was altered"
            );
        }
        Ok::<_, PublishError>((!is_whole).then_some(name))
    };
    let reads = stream::iter(packs).map(read).buffer_unordered(READS);
    reads.try_filter_map(async |bad| Ok(bad)).try_collect().await
}
