//! Verify: reads everything that is stored, and says what is missing or altered.
//!
//! Packs are named by their hash, so one whose hash is right is as it was written. Beyond that every
//! index node and body of the live release is decoded at the place that names it, and every mirrored
//! object compared. Of every earlier release the record, the definition and whatever differs from the
//! one after it are read. Memory stays bounded at any size.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use edgepress_site::release::codec::{Reader, put_bytes, put_varint};
use edgepress_site::release::dictionary::Dictionary;
use edgepress_site::release::pack;
use edgepress_site::release::{Child, Current, Diff, Entry, Index, Node, Nodes as _, Pack, Place};
use edgepress_site::version::{Digest, Version};
use edgepress_store::bucket::Bucket;
use edgepress_store::release::{Blocking, CURRENT, ReleaseError, Releases, cursor_key, pack_key};

use crate::Publisher;
use crate::error::PublishError;
use crate::follower;
use crate::progress::Progress;
use crate::sort::{Item, Sorted, Sorter};

/// At most so many bad objects are listed; all are counted.
const MAX_LISTED: usize = 100;

/// Bytes of index nodes kept while reading.
const NODES: u64 = 8 << 20;

/// Packs that one listing asks for.
const LISTED: usize = 1_000;

/// One object that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Bad {
    /// The object's key.
    pub object: String,
    /// What is wrong with it.
    pub problem: String,
}

/// What `verify` found.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Verified {
    /// The live release.
    pub release: u64,
    /// The root hash that names its content.
    pub root: String,
    /// Documents in it.
    pub documents: u64,
    /// Packs in the bucket.
    pub packs: u64,
    /// Objects that are missing or altered.
    pub bad: u64,
    /// The first of them.
    pub problems: Vec<Bad>,
}

impl Verified {
    /// Notes a bad object, once.
    fn bad(&mut self, object: impl Into<String>, problem: impl Into<String>) {
        let object = object.into();
        if self.problems.iter().any(|bad| bad.object == object) {
            return;
        }
        self.bad += 1;
        if self.problems.len() < MAX_LISTED {
            self.problems.push(Bad { object, problem: problem.into() });
        }
    }

    /// What was read, or nothing after damage was noted.
    fn read<T>(&mut self, read: Result<T, ReleaseError>) -> Result<Option<T>, PublishError> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(error) => self.note(error).map(|()| None),
        }
    }

    /// Notes damage; passes on what is no damage but a bucket out of reach.
    fn note(&mut self, error: ReleaseError) -> Result<(), PublishError> {
        let Some((object, what)) = error.damage() else { return Err(error.into()) };
        self.bad(object, what);
        Ok(())
    }
}

/// A body that the index names.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Expected {
    place: Place,
    version: Version,
    size: u64,
    path: String,
}

impl Item for Expected {
    fn put(&self, out: &mut Vec<u8>) {
        let Pack::Named(pack) = self.place.pack else { unreachable!("only stored places are verified") };
        out.extend(pack.0);
        put_varint(out, self.place.offset);
        put_varint(out, u64::from(self.place.length));
        out.extend(self.version.0);
        put_varint(out, self.size);
        put_bytes(out, self.path.as_bytes());
    }

    fn get(record: &[u8]) -> Result<Self, PublishError> {
        let mut reader = Reader::new(record);
        let pack = Pack::Named(Digest(reader.array()?));
        let place = Place { pack, offset: reader.varint()?, length: reader.varint32()? };
        Ok(Self {
            place,
            version: Version(reader.array()?),
            size: reader.varint()?,
            path: reader.text()?.into(),
        })
    }
}

/// Reads everything.
///
/// # Errors
/// The bucket is out of reach, or nothing was ever published. Damage is no error but a finding.
pub async fn verify(publisher: &Publisher, progress: &Progress) -> Result<Verified, PublishError> {
    // Nodes in memory would hide that they are lost.
    let releases = Releases::new(publisher.releases.bucket().clone(), NODES);
    let publisher = &Publisher { releases, ..publisher.clone() };
    let mut found = Verified::default();
    let read = publisher.releases.current().await;
    let is_absent = matches!(read, Ok(None));
    let current = found.read(read)?.flatten().map(|(current, _)| current);
    let mut expected = Sorter::new();
    if let Some(current) = &current {
        progress.begin("reading the index");
        found.release = current.live().number;
        found.root = current.live().root.to_string();
        let index = found.read(publisher.releases.index(current.live()).await)?;
        found.read(publisher.releases.definition(current.live()).await)?;
        if let Some(index) = &index {
            found.documents = index.documents();
            (found, expected) = trees(publisher, index.clone(), found, expected).await?;
        }
        (found, expected) = earlier(publisher, current, index, found, expected).await?;
    }
    progress.begin("reading packs");
    packs(publisher, expected.sorted()?, &mut found, progress).await?;
    if is_absent && found.packs == 0 {
        return Err(ReleaseError::None { bucket: publisher.releases.bucket().name().to_owned() }.into());
    }
    if is_absent {
        found.bad(
            CURRENT,
            "it is missing, although there are packs: restore it from a copy, or publish again",
        );
    }
    if current.is_some()
        && let Some(objects) = &publisher.objects
    {
        progress.begin("reading objects");
        mirror(publisher, objects, &mut found, progress).await?;
    }
    Ok(found)
}

/// Reads every release before the live one, whose index is `newer`, back to the first.
async fn earlier(
    publisher: &Publisher,
    current: &Current,
    mut newer: Option<Index>,
    mut found: Verified,
    mut expected: Sorter<Expected>,
) -> Result<Findings, PublishError> {
    let releases = &publisher.releases;
    let mut record = current.live().clone();
    while record.parent != 0 {
        let Some(before) = found.read(releases.record_before(current, &record).await)? else { break };
        if before.definition != record.definition {
            found.read(releases.definition(&before).await)?;
        }
        if (before.index, before.root) != (record.index, record.root)
            && let Some(index) = found.read(releases.index(&before).await)?
        {
            let after = newer.replace(index.clone()).unwrap_or_default();
            (found, expected) = differing(publisher, index, after, found, expected).await?;
        }
        record = before;
    }
    Ok((found, expected))
}

/// Reads the nodes of `old` that are not among those of `new`, and notes the bodies they name.
async fn differing(
    publisher: &Publisher,
    old: Index,
    new: Index,
    mut found: Verified,
    mut expected: Sorter<Expected>,
) -> Result<Findings, PublishError> {
    let nodes = publisher.releases.blocking();
    let job = move || {
        for change in Diff::new(&old, &new, &nodes) {
            let Some(change) = found.read(change)? else { break };
            if let Some(Entry { place, version, size, path, .. }) = change.old {
                expected.push(Expected { place, version, size, path: path.to_string() })?;
            }
        }
        Ok((found, expected))
    };
    tokio::task::spawn_blocking(job).await?
}

type Findings = (Verified, Sorter<Expected>);

/// Reads every node of the index.
async fn trees(
    publisher: &Publisher,
    index: Index,
    mut found: Verified,
    mut expected: Sorter<Expected>,
) -> Result<Findings, PublishError> {
    let nodes = publisher.releases.blocking();
    let job = move || {
        for tree in index.collections.values() {
            node(tree, &nodes, &mut found, &mut expected)?;
        }
        Ok((found, expected))
    };
    tokio::task::spawn_blocking(job).await?
}

fn node(
    child: &Child,
    nodes: &Blocking,
    found: &mut Verified,
    expected: &mut Sorter<Expected>,
) -> Result<(), PublishError> {
    let loaded = match nodes.load(child) {
        Ok(node) => node,
        Err(error) => return found.note(error),
    };
    if let Err(error) = loaded.check_shape() {
        found.bad(format!("index of {}", child.last), error.to_string());
    }
    match &*loaded {
        Node::Inner(children) => children.iter().try_for_each(|child| node(child, nodes, found, expected)),
        Node::Leaf(entries) => entries.iter().try_for_each(|entry| {
            let path = entry.path.to_string();
            for previous in &entry.previous {
                let (version, size) = (previous.version, previous.size);
                expected.push(Expected { place: previous.place, version, size, path: path.clone() })?;
            }
            expected.push(Expected { place: entry.place, version: entry.version, size: entry.size, path })
        }),
    }
}

/// Reads every pack: those that the index names, with the bodies in them, and all others in the bucket.
async fn packs(
    publisher: &Publisher,
    mut expected: Sorted<Expected>,
    found: &mut Verified,
    progress: &Progress,
) -> Result<(), PublishError> {
    let bucket = publisher.releases.bucket();
    let mut seen = BTreeSet::new();
    let mut ahead = expected.next().transpose()?;
    while let Some(first) = ahead.take() {
        let (name, _) = first.place.stored()?;
        seen.insert(name);
        let content = bucket.get(&pack_key(name)).await?.map(|object| object.body);
        check_pack(name, content.as_deref(), found);
        let mut dictionaries = BTreeMap::new();
        let mut next = Some(first);
        while let Some(body) = next.take_if(|body| body.place.pack == Pack::Named(name)) {
            if let Some(pack) = &content {
                check_body(&body, pack, &mut dictionaries, found);
                progress.rendered(0, 1);
            }
            next = expected.next().transpose()?;
        }
        ahead = next;
    }
    let mut after: Option<String> = None;
    loop {
        let listed = bucket.list("_edgepress/packs/", after.as_deref(), LISTED).await?;
        for object in &listed {
            let name = object.key.rsplit('/').next().and_then(|name| name.parse::<Digest>().ok());
            match name {
                Some(name) if !seen.contains(&name) => {
                    let content = bucket.get(&object.key).await?.map(|object| object.body);
                    check_pack(name, content.as_deref(), found);
                }
                Some(_) => {}
                None => found.bad(object.key.clone(), "its name is not a pack's"),
            }
        }
        found.packs += listed.len() as u64;
        match listed.last() {
            Some(last) if listed.len() == LISTED => after = Some(last.key.clone()),
            _ => return Ok(()),
        }
    }
}

fn check_pack(name: Digest, content: Option<&[u8]>, found: &mut Verified) {
    match content {
        None => found.bad(pack_key(name), "it is missing"),
        Some(pack) if Digest::of(pack) != name => {
            found.bad(
                pack_key(name),
                format!("it was altered: its {} bytes hash to {}", pack.len(), Digest::of(pack)),
            );
        }
        Some(_) => {}
    }
}

/// The dictionaries of a pack, by where they lie; nothing where one is damaged.
type Dictionaries = BTreeMap<u64, Option<Dictionary>>;

fn check_body(body: &Expected, pack: &[u8], dictionaries: &mut Dictionaries, found: &mut Verified) {
    let right = content(body, pack, dictionaries)
        .is_some_and(|content| content.len() as u64 == body.size && Version::of(&content) == body.version);
    if !right {
        found.bad(body.path.clone(), format!("its version {} is not at its place", body.version));
    }
}

fn content(body: &Expected, pack: &[u8], dictionaries: &mut Dictionaries) -> Option<Vec<u8>> {
    let slice = |place: &Place| pack.get(place.offset as usize..)?.get(..place.length as usize);
    let frame = slice(&body.place)?;
    let dictionary = match pack::dictionary_of(body.place.pack, frame).ok()? {
        None => None,
        Some(place) => {
            let read = || Dictionary::of(slice(&place)?).ok();
            Some(dictionaries.entry(place.offset).or_insert_with(read).as_ref()?)
        }
    };
    pack::body(frame, dictionary).ok()
}

/// Compares every object at its own path with the release that the mirror has reached.
async fn mirror(
    publisher: &Publisher,
    objects: &Arc<dyn Bucket>,
    found: &mut Verified,
    progress: &Progress,
) -> Result<(), PublishError> {
    let cursor = match follower::read(&publisher.releases, follower::OBJECTS).await? {
        Ok(cursor) => cursor,
        Err(error) => {
            found.bad(cursor_key(follower::OBJECTS), error.to_string());
            return Ok(());
        }
    };
    if cursor.bucket != follower::other(&publisher.releases, objects) {
        let problem = "it is of a mirror in another bucket: `edgepress publish` makes the one here";
        found.bad(cursor_key(follower::OBJECTS), problem);
        return Ok(());
    }
    if cursor.number() > found.release {
        let problem = format!(
            "it was put back to release {}: the mirror has reached {}",
            found.release,
            cursor.number()
        );
        found.bad(CURRENT, problem);
    }
    let (Some(reached), None) = (&cursor.reached, &cursor.applying) else {
        let problem =
            "the mirror was cut off while it was brought up to date: `edgepress publish` finishes it";
        found.bad(cursor_key(follower::OBJECTS), problem);
        return Ok(());
    };
    let index = publisher.releases.index_at(&reached.index, reached.root).await;
    let Some(index) = found.read(index)? else { return Ok(()) };
    let mut entries = follower::entries(&publisher.releases, index);
    while let Some(entry) = entries.recv().await {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => return found.note(error),
        };
        let key = follower::key(&entry);
        match objects.get(key).await? {
            None => found.bad(key, "it is missing"),
            Some(object) if Version::of(&object.body) != entry.version => found.bad(key, "it was altered"),
            Some(_) => progress.rendered(0, 1),
        }
    }
    Ok(())
}
