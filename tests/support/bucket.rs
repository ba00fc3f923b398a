//! What lies in a bucket's folder, seen from outside: its files, and the documents of the live release.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use edgepress_site::release::diff::Entries;
use edgepress_store::bucket::Directory;
use edgepress_store::release::Releases;

/// Contents by name.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// Every file below a folder; names have `/` between folders.
pub(crate) fn files(folder: &Path) -> Files {
    let mut found = Files::new();
    let mut waiting = vec![folder.to_path_buf()];
    while let Some(inner) = waiting.pop() {
        for entry in std::fs::read_dir(&inner).unwrap_or_else(|error| panic!("{}: {error}", inner.display()))
        {
            let path = entry.expect("folders can be read").path();
            if path.is_dir() {
                waiting.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).expect("it lies below").display().to_string();
            found.insert(name, std::fs::read(&path).expect("files can be read"));
        }
    }
    found
}

/// The current documents at their own paths: every file that is not under `_edgepress`.
pub(crate) fn mirror(folder: &Path) -> Files {
    let all = files(folder).into_iter().filter(|(name, _)| !name.starts_with("_edgepress/"));
    all.map(|(name, body)| (format!("/{name}"), body)).collect()
}

/// The live release.
pub(crate) struct Live {
    pub(crate) number: u64,
    pub(crate) root: String,
    /// Bodies by path.
    pub(crate) documents: Files,
}

/// Reads the live release from its index and packs.
pub(crate) fn live(folder: &Path) -> Live {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    runtime.block_on(async {
        let bucket = Directory::open(folder, "the bucket").await.expect("it is there");
        let releases = Releases::new(Arc::new(bucket), 8 << 20);
        let (current, _) = releases.current().await.expect("readable").expect("something is live");
        let index = releases.index(current.live()).await.expect("the index is there");
        let nodes = releases.blocking();
        let entries = tokio::task::spawn_blocking(move || {
            let trees = index.collections.values().flat_map(|tree| Entries::new(Some(tree), &nodes));
            trees.collect::<Result<Vec<_>, _>>().expect("the index is whole")
        });
        let entries = entries.await.expect("it does not panic");
        let wanted: Vec<_> = entries.iter().map(|entry| (entry.place, entry.version, entry.size)).collect();
        let bodies = releases.bodies(&wanted).await.expect("the packs are whole");
        let paths = entries.iter().map(|entry| entry.path.to_string());
        let documents = paths.zip(bodies.into_iter().map(|body| body.to_vec())).collect();
        Live { number: current.live().number, root: current.live().root.to_string(), documents }
    })
}
