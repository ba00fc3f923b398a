//! Wiring: from `site.toml` to the bucket, the database and the publisher it names.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use edgepress_publisher::{PublishError, Publisher, Source};
use edgepress_site::definition::Objects;
use edgepress_site::problem::Problem;
use edgepress_store::bucket::{Bucket, Counted, Directory};
use edgepress_store::database::{self, Database};
use edgepress_store::release::Releases;

/// Bytes of index nodes that a publisher keeps in memory.
const NODES: u64 = 48 << 20;

/// A site with everything it names.
pub(crate) struct Wired {
    pub(crate) source: Source,
    pub(crate) publisher: Publisher,
    pub(crate) bucket: Arc<Counted>,
    pub(crate) objects: Option<Arc<Counted>>,
}

impl Wired {
    /// Reads the site and opens its storage to write to it, making what is not there.
    pub(crate) async fn open(site: &Path) -> Result<Self> {
        Self::with(site, true).await
    }

    /// The same to look at it only: nothing is made.
    pub(crate) async fn look(site: &Path) -> Result<Self> {
        Self::with(site, false).await
    }

    async fn with(site: &Path, writes: bool) -> Result<Self> {
        let source = load(site)?;
        let bucket = open_bucket(&source, &source.site.storage.url, writes).await?;
        let bucket = Arc::new(Counted::new(bucket));
        let objects = match &source.site.storage.objects {
            Objects::Off => None,
            Objects::Same => Some(bucket.clone()),
            Objects::Other(url) => Some(Arc::new(Counted::new(open_bucket(&source, url, writes).await?))),
        };
        let publisher = Publisher {
            releases: Releases::new(bucket.clone(), NODES),
            objects: objects.clone().map(|objects| objects as Arc<dyn Bucket>),
            clock: Arc::new(milliseconds),
            writer: writer()?,
            consumer: consumer(&source),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
        };
        Ok(Self { source, publisher, bucket, objects })
    }

    /// Opens the site's database.
    pub(crate) async fn database(&self) -> Result<Arc<dyn Database>> {
        Ok(open_database(&self.source).await?)
    }

    /// Requests to the buckets so far.
    pub(crate) fn requests(&self) -> u64 {
        let apart = self.objects.iter().filter(|objects| !Arc::ptr_eq(objects, &self.bucket));
        self.bucket.requests() + apart.map(|objects| objects.requests()).sum::<u64>()
    }
}

/// Reads the site.
pub(crate) fn load(site: &Path) -> Result<Source, PublishError> {
    Source::load(site, &|name| std::env::var(name).ok())
}

/// Reads a site with mistakes as far as it can be read.
pub(crate) fn read(site: &Path) -> Result<(Source, Vec<Problem>), PublishError> {
    Source::read(site, &|name| std::env::var(name).ok())
}

/// Opens a bucket by its URL.
async fn open_bucket(source: &Source, url: &str, writes: bool) -> Result<Arc<dyn Bucket>> {
    let folder = source.resolve(edgepress_site::definition::folder(url));
    Ok(Arc::new(if writes { Directory::open(folder, url).await? } else { Directory::look(folder, url) }))
}

/// Opens the site's database, making a new one from its schema.
pub(crate) async fn open_database(source: &Source) -> Result<Arc<dyn Database>, PublishError> {
    let database = &source.site.database;
    let schema = match database.schema.as_ref().filter(|_| database.file().is_some()) {
        Some(name) => {
            let path = source.resolve(name);
            let text = std::fs::read_to_string(&path);
            let failed = |source| PublishError::File {
                what: format!("cannot read the schema {}", path.display()),
                source,
            };
            Some(text.map_err(failed)?)
        }
        None => None,
    };
    let url = match database.file() {
        Some(file) => format!("sqlite:{}", source.resolve(file).display()),
        None => database.url.clone(),
    };
    database::open(&url, schema.as_deref()).await.map_err(PublishError::Database)
}

#[expect(clippy::disallowed_methods, reason = "the clock comes from here")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// Milliseconds since 1970.
pub(crate) fn milliseconds() -> u64 {
    let since = now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// What the database calls us: the bucket, by a name that is the same from everywhere.
fn consumer(source: &Source) -> String {
    let folder = source.canonical(edgepress_site::definition::folder(&source.site.storage.url));
    format!("file:{}", folder.display())
}

/// A name that no other publisher has: 128 random bits.
fn writer() -> Result<String> {
    use std::io::Read as _;
    let mut bytes = [0; 16];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.context("cannot read /dev/urandom")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
