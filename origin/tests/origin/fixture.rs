//! A small shop: releases made by hand in a folder, and the origin in front of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use edgepress_origin::{Crashed, Drained, Origin, Settings};
use edgepress_site::definition::{Collection, Definition, Document};
use edgepress_site::path::DocPath;
use edgepress_site::policy::Policy;
use edgepress_site::release::definition::{RENDERER, ReleaseDefinition, STATIC};
use edgepress_site::release::node::PREVIOUS;
use edgepress_site::release::pack::StoredPlace;
use edgepress_site::release::record::{Counts, Named};
use edgepress_site::release::{
    Child, Current, Edit, Entry, Index, Kind, Malformed, Node, Nodes, PackWriter, Place, Previous, Record,
    Sink, State, edit,
};
use edgepress_site::version::Version;
use edgepress_store::bucket::testing::Faulty;
use edgepress_store::bucket::{Bucket as _, Directory, Headers, Put, Swap};
use edgepress_store::release::{Releases, pack_key};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::client::{Answer, Connection};

/// The time of the first release: a full second.
pub(crate) const START: u64 = 1_700_000_000_000;

/// The policy of JSON documents.
pub(crate) const SHORT: Policy = Policy { browser: 60, cdn: 600, stale: 30 };

/// A bucket with releases.
pub(crate) struct Shop {
    pub(crate) folder: TempDir,
    pub(crate) bucket: Arc<Faulty<Directory>>,
    pub(crate) releases: Releases,
    /// The next release's time, floor and definition; may be changed between releases.
    pub(crate) time: u64,
    pub(crate) floor: u64,
    pub(crate) definition: Definition,
    current: Option<Current>,
    entries: BTreeMap<(&'static str, String), Entry>,
}

/// Appends to one pack in memory.
struct Appending(PackWriter);

impl Sink for Appending {
    type Error = Malformed;

    fn append(&mut self, kind: Kind, content: &dyn Fn(&PackWriter) -> Vec<u8>) -> Result<Place, Malformed> {
        let content = content(&self.0);
        Ok(self.0.append(kind, &content))
    }
}

/// Every release's trees are made anew, so none is loaded.
struct NoNodes;

impl Nodes for NoNodes {
    type Error = Malformed;

    fn load(&self, _: &Child) -> Result<Arc<Node>, Malformed> {
        Err(Malformed("nothing is loaded"))
    }
}

fn collection(name: &str, documents: &[(&str, Policy)]) -> Collection {
    let document = |(path, cache): &(&str, Policy)| Document {
        path: path.parse().expect("a pattern"),
        template: None,
        media_type: "text/html; charset=utf-8".to_owned(),
        cache: *cache,
        pages: None,
        line: 1,
    };
    Collection {
        name: name.to_owned(),
        query: None,
        includes: Vec::new(),
        documents: documents.iter().map(document).collect(),
        refresh: None,
        fallback: true,
        line: 1,
    }
}

fn definition() -> Definition {
    let product = [("/products/{slug}.json", SHORT), ("/products/{slug}.html", Policy::default())];
    Definition {
        name: "Shop".to_owned(),
        url: "https://shop.example".to_owned(),
        not_found: DocPath::new("/404.html").ok(),
        collections: vec![
            collection("product", &product),
            collection(
                "pages",
                &[("/{name}.html", Policy::default()), ("/a/{name}.html", Policy::default())],
            ),
        ],
    }
}

fn owner(path: &str) -> &'static str {
    match path {
        _ if path.starts_with("/products/") => "product",
        _ if path.ends_with(".html") => "pages",
        _ => STATIC,
    }
}

impl Shop {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let directory = Directory::open(folder.path(), "file:bucket").await.expect("a new folder");
        let bucket = Arc::new(Faulty::new(directory));
        let releases = Releases::new(Arc::clone(&bucket) as _, 1 << 20);
        Self {
            folder,
            bucket,
            releases,
            time: START,
            floor: 0,
            definition: definition(),
            current: None,
            entries: BTreeMap::new(),
        }
    }

    /// A shop with a few documents in release 1.
    pub(crate) async fn open() -> Self {
        let mut shop = Self::new().await;
        let documents = [
            ("/index.html", "home"),
            ("/404.html", "no such page"),
            ("/products/shoe.json", "{\"shoe\":1}"),
            ("/products/shoe.html", "<p>shoe</p>"),
            ("/a/index.html", "folder"),
            ("/a/Käse 1%.html", "cheese"),
            ("/style.css", "p{}"),
        ];
        shop.release(1, &documents).await;
        shop
    }

    /// Puts these documents (an empty body removes one) and makes the outcome release `number`.
    pub(crate) async fn release(&mut self, number: u64, documents: &[(&str, &str)]) {
        let mut sink = Appending(PackWriter::new());
        for (path, body) in documents {
            self.put(&mut sink, path, body.as_bytes());
        }
        self.commit(number, sink).await;
    }

    fn put(&mut self, sink: &mut Appending, path: &str, body: &[u8]) {
        let key = (owner(path), path.to_owned());
        let old = self.entries.remove(&key);
        if body.is_empty() {
            return;
        }
        let mut previous = old.as_ref().map(|old| old.previous.clone()).unwrap_or_default();
        if let Some(old) = old {
            let Entry { version, media_type, size, place, .. } = old;
            previous.insert(0, Previous { version, media_type, size, place });
            previous.truncate(PREVIOUS);
        }
        let policy = if path.ends_with(".json") { SHORT } else { Policy::default() };
        let entry = Entry {
            path: path.into(),
            version: Version::of(body),
            media_type: edgepress_site::media::media_type(path).expect("a known extension").into(),
            size: body.len() as u64,
            policy: policy.digest(),
            place: sink.0.append(Kind::Body, body),
            changed: self.time,
            previous,
        };
        self.entries.insert(key, entry);
    }

    async fn commit(&mut self, number: u64, mut sink: Appending) {
        let mut index = Index::default();
        for name in ["pages", "product", STATIC] {
            let entries = self.entries.iter().filter(|((collection, _), _)| *collection == name);
            let edits = entries.map(|(_, entry)| Ok::<_, Malformed>(Edit::Put(entry.clone())));
            let tree = edit(None, edits, &NoNodes, &mut sink).expect("memory does not fail");
            index.collections.extend(tree.map(|tree| (name.to_owned(), tree)));
        }
        let static_files = self.entries.values().filter(|entry| owner(&entry.path) == STATIC);
        let (hash, definition) = ReleaseDefinition {
            renderer: RENDERER,
            site: self.definition.clone(),
            templates: BTreeMap::new(),
            static_files: static_files.map(|entry| (entry.path.to_string(), entry.version)).collect(),
        }
        .encode();
        let definition = sink.0.append(Kind::Definition, &definition);
        let content = index.encode(&sink.0);
        let place = sink.0.append(Kind::Index, &content);
        let (name, pack) = sink.0.close().expect("a pack with an index");
        let put = Put { key: pack_key(name), body: Bytes::from(pack), headers: Headers::default() };
        self.bucket.put(put).await.expect("the folder can be written");
        for entry in self.entries.values_mut() {
            entry.place = sink.0.stored(entry.place).expect("the pack is closed");
        }
        let stored =
            |place: Place| StoredPlace { pack: Some(name), offset: place.offset, length: place.length };
        let parent = self.current.as_ref().map(|current| current.live().clone());
        let record = Record {
            number,
            ordinal: parent.as_ref().map_or(0, |parent| parent.ordinal + 1),
            root: index.root(),
            index: stored(place),
            definition: Named { hash, place: stored(definition) },
            parent: parent.as_ref().map_or(0, |parent| parent.number),
            writer: "test".to_owned(),
            time: self.time,
            cause: "test".to_owned(),
            counts: Counts::default(),
            state: State::Live,
            floor: self.floor,
            skips: Vec::new(),
        };
        self.swap(Current { records: vec![record] }).await;
    }

    /// Makes `current` what it never should be, or what it was.
    pub(crate) async fn swap(&mut self, current: Current) {
        let tag = self.releases.current().await.expect("readable").map(|(_, tag)| tag);
        let swap = self.releases.swap(tag.as_ref(), &current).await.expect("writable");
        assert!(matches!(swap, Swap::Done(_)), "nobody else writes");
        self.current = Some(current);
    }

    pub(crate) fn current(&self) -> Current {
        self.current.clone().expect("a release was made")
    }

    pub(crate) fn version(&self, path: &str) -> Version {
        self.entries[&(owner(path), path.to_owned())].version
    }

    pub(crate) async fn serve(&self) -> Server {
        self.serve_with(settings()).await
    }

    pub(crate) async fn serve_with(&self, settings: Settings) -> Server {
        let server = Server::start(self, settings).await;
        if let Some(current) = &self.current {
            server.origin.wait_for(current.live().number).await;
        }
        server
    }
}

pub(crate) fn settings() -> Settings {
    Settings { memory: 8 << 20, poll: Duration::from_millis(10), ..Settings::default() }
}

/// An origin at work.
pub(crate) struct Server {
    pub(crate) origin: Arc<Origin>,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// Milliseconds since 1970.
    pub(crate) clock: Arc<AtomicU64>,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<Result<Drained, Crashed>>,
}

impl Server {
    async fn start(shop: &Shop, settings: Settings) -> Self {
        let clock = Arc::new(AtomicU64::new(START + 10_000));
        let own = Arc::clone(&clock);
        let now = move || SystemTime::UNIX_EPOCH + Duration::from_millis(own.load(Ordering::SeqCst));
        let origin = Arc::new(Origin::new(shop.releases.clone(), settings, Arc::new(now)));
        let bind = || TcpListener::bind("127.0.0.1:0");
        let public = bind().await.expect("a free port");
        let admin = bind().await.expect("a free port");
        let addresses = (public.local_addr().expect("bound"), admin.local_addr().expect("bound"));
        let (stop, stopped) = oneshot::channel();
        let stopped = async { drop(stopped.await) };
        let serving = tokio::spawn(Arc::clone(&origin).serve(public, Some(admin), stopped));
        Self { origin, address: addresses.0, admin: addresses.1, clock, stop: Some(stop), serving }
    }

    pub(crate) async fn connect(&self) -> Connection {
        Connection::open(self.address).await
    }

    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.request("GET", target, "").await
    }

    pub(crate) async fn request(&self, method: &str, target: &str, headers: &str) -> Answer {
        self.connect().await.request(method, target, headers).await
    }

    /// Tells it to stop.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
    }

    /// How it ended.
    pub(crate) async fn ended(self) -> Drained {
        self.serving.await.expect("serving does not panic").expect("no part of the origin crashes")
    }
}
