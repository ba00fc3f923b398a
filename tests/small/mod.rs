//! A small shop that is published in steps, with a clock and names of its own: what the tests of the
//! stored format share.
//!
//! Each step is a whole database: what a row was before does not matter to a full publish.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use edgepress_publisher::progress::Progress;
use edgepress_publisher::{Options, PublishError, Publisher, Report, Source, Verified};
use edgepress_site::release::{Current, Record};
use edgepress_store::bucket::{Bucket, Directory};
use edgepress_store::database::Sqlite;
use edgepress_store::release::{ReleaseError, Releases};
use tempfile::TempDir;

/// The time of the first publish; each later one comes a minute after the one before.
const START: u64 = 1_700_000_000_000;
const MINUTE: u64 = 60_000;

const SITE: &str = include_str!("site.toml");
const PRODUCT: &str = include_str!("product.html");
const HOME: &str = include_str!("home.html");

/// What the shop sells: slug, name, price in cents.
pub(crate) type Product = (&'static str, &'static str, u32);

/// The products of the first release. The paths of two of them end a leaf and a node of level 1.
pub(crate) const PRODUCTS: [Product; 8] = [
    ("mug-9", "Mug", 900),
    ("chair-83", "Chair", 8_300),
    ("käse", "Käse & Brot", 450),
    ("lamp", "Lamp", 2_900),
    ("sofa", "Sofa", 49_900),
    ("table", "Table", 12_000),
    ("vase", "Vase", 1_500),
    ("rug", "Rug", 7_000),
];

/// A shop in a temporary folder.
pub(crate) struct Shop {
    pub(crate) folder: TempDir,
    clock: Arc<AtomicU64>,
}

impl Shop {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let shop = Self { folder, clock: Arc::new(AtomicU64::new(START)) };
        shop.write("site.toml", SITE.as_bytes());
        shop.write("pages/product.html", PRODUCT.as_bytes());
        shop.write("pages/home.html", HOME.as_bytes());
        shop.write("static/style.css", b"p { color: teal }\n");
        shop.write("static/all.bin", &(0..=255).collect::<Vec<u8>>());
        shop
    }

    pub(crate) fn write(&self, name: &str, content: &[u8]) {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("in the folder")).expect("writable");
        std::fs::write(path, content).expect("writable");
    }

    /// Where the bucket lies.
    pub(crate) fn bucket(&self) -> PathBuf {
        self.folder.path().join("bucket")
    }

    /// The same, made if it is not there yet.
    pub(crate) fn bucket_made(&self) -> PathBuf {
        std::fs::create_dir_all(self.bucket()).expect("writable");
        self.bucket()
    }

    /// A publisher that remembers nothing, working on the bucket at `path`.
    pub(crate) async fn publisher_at(&self, path: &Path) -> Publisher {
        let bucket = Directory::open(path, "file:bucket").await.expect("a folder");
        let bucket: Arc<dyn Bucket> = Arc::new(bucket);
        let clock = self.clock.clone();
        Publisher {
            releases: Releases::new(bucket.clone(), 1 << 20),
            objects: Some(bucket),
            clock: Arc::new(move || clock.load(Ordering::SeqCst)),
            writer: "shop".to_owned(),
            consumer: "the bucket".to_owned(),
            threads: 2,
        }
    }

    pub(crate) async fn publisher(&self) -> Publisher {
        self.publisher_at(&self.bucket()).await
    }

    /// A database with these products, made anew.
    pub(crate) async fn database(&self, products: &[Product]) -> Sqlite {
        let file = self.folder.path().join("shop.db");
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", file.display()));
        }
        let mut schema = "CREATE TABLE product (slug TEXT, name TEXT, cents INTEGER);\n".to_owned();
        for (slug, name, cents) in products {
            schema.push_str(&format!("INSERT INTO product VALUES ('{slug}', '{name}', {cents});\n"));
        }
        Sqlite::open(&format!("sqlite:{}", file.display()), Some(&schema)).await.expect("a new database")
    }

    /// Publishes with `publisher` what `database` holds.
    pub(crate) async fn publish_with(
        &self,
        publisher: &Publisher,
        database: &Sqlite,
        options: Options,
    ) -> Result<Report, PublishError> {
        let source = Source::load(&self.folder.path().join("site.toml"), &|_| None)?;
        self.clock.fetch_add(MINUTE, Ordering::SeqCst);
        publisher.publish(&source, database, options, &Progress::default()).await
    }

    /// Publishes these products.
    pub(crate) async fn publish(&self, products: &[Product], options: Options) -> Report {
        let database = self.database(products).await;
        let report = self.publish_with(&self.publisher().await, &database, options).await;
        report.expect("nothing is in the way")
    }

    /// Goes back to a release.
    pub(crate) async fn rollback(&self, number: u64) -> Report {
        self.clock.fetch_add(MINUTE, Ordering::SeqCst);
        edgepress_publisher::rollback(&self.publisher().await, number, None)
            .await
            .expect("nothing is in the way")
    }
}

/// What `verify` finds.
pub(crate) async fn verify(publisher: &Publisher) -> Result<Verified, PublishError> {
    edgepress_publisher::verify(publisher, &Progress::default()).await
}

/// `current`, which is there.
pub(crate) async fn current(releases: &Releases) -> Result<Current, ReleaseError> {
    Ok(releases.current().await?.ok_or(ReleaseError::Unknown(1))?.0)
}

/// A document as it is read: path, and body or why there is none.
pub(crate) type Documents = BTreeMap<String, Result<Vec<u8>, ReleaseError>>;

/// Reads all documents of a release, through the index and the packs.
pub(crate) async fn documents(releases: &Releases, record: &Record) -> Result<Documents, ReleaseError> {
    let index = releases.index(record).await?;
    let nodes = releases.blocking();
    let entries = move || {
        use edgepress_site::release::diff::Entries;
        let trees = index.collections.values();
        let entries = trees.flat_map(|tree| Entries::new(Some(tree), &nodes).collect::<Vec<_>>());
        entries.collect::<Result<Vec<_>, _>>()
    };
    let entries = tokio::task::spawn_blocking(entries).await.expect("reading does not panic")?;
    let mut documents = Documents::new();
    for entry in entries {
        let body = releases.body(&entry.place, entry.version, entry.size).await;
        documents.insert(entry.path.to_string(), body.map(Vec::from));
    }
    Ok(documents)
}

/// All files below `folder`: key to content.
pub(crate) fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut waiting = vec![(String::new(), folder.to_path_buf())];
    while let Some((prefix, folder)) = waiting.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let entry = entry.expect("listed");
            let name = format!("{prefix}{}", entry.file_name().to_str().expect("names are UTF-8"));
            match entry.file_type().expect("known").is_dir() {
                true => waiting.push((name + "/", entry.path())),
                false => drop(files.insert(name, std::fs::read(entry.path()).expect("readable"))),
            }
        }
    }
    files
}

/// Makes a folder of these files.
pub(crate) fn lay_out(folder: &Path, files: &BTreeMap<String, Vec<u8>>) {
    for (name, content) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().expect("in the folder")).expect("writable");
        std::fs::write(path, content).expect("writable");
    }
}
