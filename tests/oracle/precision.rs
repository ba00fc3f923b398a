//! How many keys were rendered for how many keys with a changed document.
//! Refuses to count publishes that promised nothing.

use std::collections::BTreeSet;

use edgepress_publisher::{Report, Source};
use edgepress_site::definition::PAGE;
use edgepress_site::router::{Owner, Router};

use super::consumer::Versions;

/// Sums over publishes.
#[derive(Debug, Default)]
pub(super) struct Precision {
    /// Keys that were rendered.
    pub(super) rendered: u64,
    /// Keys with a document that changed.
    pub(super) changed: u64,
}

/// Whether a publish read only what changed.
pub(super) fn is_incremental(report: &Report) -> bool {
    report.full.is_none()
}

/// How many keys were rendered, if all collections that the edits touch have promised precision.
fn rendered_keys(report: &Report) -> Option<u64> {
    (is_incremental(report) && report.whole.is_empty()).then_some(report.keys)
}

impl Precision {
    /// Adds a publish after which `changed` keys have a document that changed.
    pub(super) fn add(&mut self, report: &Report, changed: u64) {
        // Edits that change nothing shown may be rendered in vain.
        if let Some(rendered) = rendered_keys(report).filter(|_| changed > 0) {
            self.rendered += rendered;
            self.changed += changed;
        }
    }
}

/// How many keys have a document that differs: came, went, or changed. Pages of one document have one key.
pub(super) fn changed_keys(source: &Source, before: &Versions, after: &Versions) -> u64 {
    let router = Router::new([], &source.site.definition.collections);
    let mut keys = BTreeSet::new();
    let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for path in paths.into_iter().filter(|path| before.get(*path) != after.get(*path)) {
        // A path that nobody owns any more was a document of another definition.
        let Some(Owner::Document(route)) = router.owner(path) else { continue };
        let captures = route.captures.iter().filter(|(column, _)| *column != PAGE);
        let captures: BTreeSet<(String, String)> =
            captures.map(|(column, text)| (column.to_owned(), text.to_owned())).collect();
        keys.insert((route.collection, captures));
    }
    keys.len() as u64
}
