//! From what changed to what is made anew: the definition's differences, the keys that changed rows touch,
//! what failed before, what depends on the clock.
//!
//! Owns that sum, and the rule that whatever cannot be told exactly is made anew as a whole.

use std::collections::{BTreeSet, HashSet};

use edgepress_site::definition::Collection;
use edgepress_site::release::definition::ReleaseDefinition;
use edgepress_store::database::capture::Table;

use crate::collect::Collected;
use crate::consumer::Since;
use crate::impact::{Doubt, Impact, Touched};
use crate::prepare::Prepared;
use crate::rows::Reader;
use crate::scope::{Key, Scope};
use crate::state::{Failed, State, Whole};

/// More touched keys of a collection than this, and all of its rows are read instead.
const MOST_KEYS: usize = 100_000;

/// What a publish of changes makes anew, as it is put together.
pub(crate) struct Touch<'a> {
    pub(crate) prepared: &'a Prepared,
    pub(crate) impact: &'a Impact,
    pub(crate) since: &'a Since,
    /// Milliseconds since 1970.
    pub(crate) now: u64,
    /// Whether what failed before is tried again whatever the clock says.
    pub(crate) retries: bool,
}

impl Touch<'_> {
    /// Everything that must be made anew. `old` is what the live release was made with.
    pub(crate) async fn scope(&self, old: &ReleaseDefinition, reader: &mut Reader<'_>) -> Scope {
        let mut scope = Scope::of_definition(old, &self.prepared.maker);
        let collections = &self.prepared.maker.definition().site.collections;
        for (number, collection) in collections.iter().enumerate() {
            if !scope.is_whole(&collection.name) {
                self.add(&mut scope, (number, collection), reader).await;
            }
        }
        if !scope.is_empty() {
            let blocked = |failed: &Failed| failed.whole == Some(Whole::Paths);
            for (name, _) in self.since.state.failed.iter().filter(|(_, failed)| blocked(failed)) {
                scope.add_whole(name, "what was in the way of its documents may be gone");
            }
        }
        scope
    }

    async fn add(
        &self,
        scope: &mut Scope,
        (number, collection): (usize, &Collection),
        reader: &mut Reader<'_>,
    ) {
        let name = collection.name.as_str();
        let Since { state, changes, .. } = self.since;
        if let Some(why) = self.whole(number, collection) {
            return scope.add_whole(name, why);
        }
        if (self.retries || state.retries(self.now))
            && let Some(failed) = state.failed.get(name)
        {
            if failed.whole.is_some() {
                return scope.add_whole(name, "rows that failed are tried again");
            }
            scope.add_keys(name, failed.keys());
        }
        let fresh =
            changes.fresh.iter().filter(|(table, columns)| self.impact.reads_any(number, table, columns));
        let asking = Asking {
            whole: &changes.whole.iter().chain(fresh.map(|(table, _)| table)).cloned().collect(),
            changed: &changes.tables.keys().cloned().collect(),
            image: &|table, columns| changes.tables[table].source(columns),
        };
        let fails_whole = state.failed.get(name).is_some_and(|failed| failed.whole >= Some(Whole::Query));
        match touched(self.impact, self.prepared, number, &asking, reader).await {
            Ok(keys) if fails_whole && !keys.is_empty() => {
                scope.add_whole(name, "what failed may be mended");
            }
            Ok(keys) => scope.add_keys(name, keys),
            Err(why) => scope.add_whole(name, why),
        }
    }

    /// Why a collection is made anew as a whole whatever rows changed, if it is.
    fn whole(&self, number: usize, collection: &Collection) -> Option<String> {
        let state = &self.since.state;
        let name = collection.name.as_str();
        let refresh = collection.refresh.map(milliseconds);
        if state.fingerprints.get(name).map(String::as_str) != Some(self.impact.fingerprint(number)) {
            return Some("the tables it reads are others than before".to_owned());
        }
        if refresh.is_some_and(|refresh| state.is_stale(name, refresh, self.now)) {
            return Some("it is due by the clock".to_owned());
        }
        None
    }

    /// What is remembered after this scope was made anew.
    pub(crate) fn remember(before: Option<&State>, made: &Made<'_>) -> State {
        let Made { prepared, impact, scope, collected, now } = made;
        let mut state = before.filter(|_| !scope.is_full()).cloned().unwrap_or_default();
        let mut tried = false;
        state.failed.retain(|name, failed| {
            let part = scope.part(name);
            let keys = part.map_or(&[][..], |part| &part.keys);
            tried |= part.is_some();
            !scope.is_whole(name) && failed.forget(keys)
        });
        for (name, failed) in &collected.failed {
            tried = true;
            state.failed.entry(name.clone()).or_default().merge(failed);
        }
        state.set_retry(*now, tried);
        let collections = &prepared.maker.definition().site.collections;
        state.fingerprints = collections
            .iter()
            .enumerate()
            .map(|(number, collection)| (collection.name.clone(), impact.fingerprint(number).to_owned()))
            .collect();
        let refreshed = collections.iter().filter(|collection| collection.refresh.is_some());
        state.refreshed = refreshed
            .map(|collection| {
                let before = state.refreshed.get(&collection.name).copied();
                let last = before.filter(|_| !scope.is_whole(&collection.name)).unwrap_or(*now);
                (collection.name.clone(), last)
            })
            .collect();
        state
    }
}

/// What was made anew.
pub(crate) struct Made<'a> {
    pub(crate) prepared: &'a Prepared,
    pub(crate) impact: &'a Impact,
    pub(crate) scope: &'a Scope,
    pub(crate) collected: &'a Collected,
    /// Milliseconds since 1970.
    pub(crate) now: u64,
}

/// A duration as the clock counts.
pub(crate) fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What changed, as impact asks for it.
pub(crate) struct Asking<'a> {
    /// Tables of which any row may have changed.
    pub(crate) whole: &'a BTreeSet<Table>,
    /// Tables with changed rows.
    pub(crate) changed: &'a BTreeSet<Table>,
    /// A SELECT of the old and new images of a table's changed rows, for the columns asked for.
    pub(crate) image: &'a (dyn Fn(&Table, &BTreeSet<String>) -> String + Sync),
}

/// The keys of a collection that changes touch; or why all of its rows must be read.
pub(crate) async fn touched(
    impact: &Impact,
    prepared: &Prepared,
    number: usize,
    asking: &Asking<'_>,
    reader: &mut Reader<'_>,
) -> Result<Vec<Key>, String> {
    let (doubts, queries) = match impact.touched(number, asking.whole, asking.changed, asking.image) {
        Touched::Nothing => return Ok(Vec::new()),
        Touched::Whole(why) => return Err(why),
        Touched::Asked { doubts, keys } => (doubts, keys),
    };
    let refused = |error| format!("the database refuses to say which keys: {error}");
    for Doubt { sql, why } in doubts {
        if reader.keys(&sql, 1).await.map_err(refused)?.is_none_or(|found| !found.is_empty()) {
            return Err(why);
        }
    }
    let (maker, columns) = (&prepared.maker, &prepared.keys[number]);
    let width = columns.columns.len();
    let mut keys = Distinct::default();
    for query in queries {
        let found = reader.keys(&query, MOST_KEYS).await.map_err(refused)?;
        let too_many = || "more keys are touched than are worth telling apart".to_owned();
        for mut key in found.ok_or_else(too_many)? {
            key.truncate(width);
            // Its row cannot say which documents it had before, or will have.
            if !columns.groups.iter().all(|group| columns.has_paths(maker, number, group, &key)) {
                return Err("a key without a path was touched".to_owned());
            }
            keys.add(key);
        }
        if keys.keys.len() > MOST_KEYS {
            return Err(too_many());
        }
    }
    let has_query = maker.definition().site.collections[number].query.is_some();
    if width == 0 && has_query && !keys.keys.is_empty() {
        return Err("its rows have no key".to_owned());
    }
    Ok(keys.keys)
}

/// Keys, each once.
#[derive(Default)]
struct Distinct {
    keys: Vec<Key>,
    /// By the texts that a path shows.
    texts: HashSet<Vec<String>>,
}

impl Distinct {
    /// Adds a key unless one that shows the same is there.
    fn add(&mut self, key: Key) {
        let texts = key.iter().map(|value| value.path_text().unwrap_or_default().into_owned());
        if self.texts.insert(texts.collect()) {
            self.keys.push(key);
        }
    }
}
