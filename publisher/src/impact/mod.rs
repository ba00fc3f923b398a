//! Which documents an edit touches, asked of the site's own queries.
//!
//! Owns: what must be captured; how precisely a change of each table can be followed; the SQL that gives
//! the touched keys. A query is followed only if all of it is on an allow-list; whatever is not makes its
//! collection wholly touched, which is correct and only slower. Refuses to run anything: one function
//! gathers the facts, everything else is made from those.

mod analyse;
mod expression;
mod facts;
mod joins;
mod order;
mod plan;
mod shape;
mod sql;
mod tables;
mod terms;
mod wrong;

use std::collections::{BTreeMap, BTreeSet};

use edgepress_site::definition::{Collection, Definition, Include};
use edgepress_site::version::Digest;
use edgepress_store::database::capture::{Dialect, Reads, Table};
use serde::Serialize;

use crate::key::KeyColumns;

use self::plan::{Asked, Plan};
use self::terms::Writer;
use self::wrong::{Mistake, is_made};

pub(crate) use facts::{Broken, Facts, Refused, gather};
pub(crate) use plan::Caution;
pub(crate) use sql::quoted;

/// Why a change cannot be followed to the keys it touches.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Coarse {
    why: String,
    /// What would make it precise.
    advice: Option<String>,
}

impl Coarse {
    fn of(why: impl Into<String>) -> Self {
        Self { why: why.into(), advice: None }
    }

    fn new(why: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { why: why.into(), advice: Some(advice.into()) }
    }

    /// The same, said of a part.
    fn within(&self, part: &str) -> Self {
        Self { why: format!("{part}: {}", self.why), advice: self.advice.clone() }
    }
}

/// What edits touch, for one definition and one state of the database's schema.
#[derive(Debug)]
pub struct Impact {
    dialect: Dialect,
    collections: Vec<Traced>,
    reads: Reads,
    broken: Broken,
}

/// One collection.
#[derive(Debug)]
struct Traced {
    name: String,
    keys: Vec<String>,
    /// Its own query, if it has one, then its includes; those around others before them.
    places: Vec<Place>,
    fingerprint: String,
}

/// One query of a collection.
#[derive(Debug)]
struct Place {
    /// The path of include names; empty for the collection's own query.
    name: String,
    /// The place around it, if there is a query.
    parent: Option<usize>,
    /// The columns that are its keys.
    keys: Vec<String>,
    /// The columns of the place around it that its keys equal; empty: the whole result belongs to it.
    on: Vec<String>,
    /// Columns of it that compare as their values do.
    typed: BTreeSet<String>,
    plan: Plan,
}

/// How precisely edits of a table are followed in one query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Precision {
    /// The collection.
    pub collection: String,
    /// The path of include names, `a.b`; empty for the collection's own query.
    pub include: String,
    /// The table.
    pub table: String,
    /// Whether an edit of one of its rows touches only the documents that are made from that row.
    pub is_precise: bool,
    /// Why not, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What would make it precise, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// A query that tells whether a collection is wholly touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// A SELECT: if it gives a row, any key may be touched.
    pub sql: String,
    /// Why nothing more precise can be asked.
    pub why: String,
}

/// Which keys of a collection are touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Touched {
    /// None.
    Nothing,
    /// All of them, and perhaps others that are gone.
    Whole(String),
    /// What queries tell; a query that the database refuses makes it whole.
    Asked {
        /// Each may make it whole; to be asked first.
        doubts: Vec<Doubt>,
        /// SELECTs that give key tuples in the order of its key columns, some of them perhaps twice, of
        /// rows that are there and that were. Of a collection without key columns, a row of whatever
        /// columns says that its one key, the empty tuple, is touched.
        keys: Vec<String>,
    },
}

impl Impact {
    /// What edits touch in `site`, given facts gathered for it.
    #[must_use]
    pub fn new(site: &Definition, facts: &Facts) -> Self {
        let traced = |collection| Traced::new(collection, facts);
        let collections: Vec<Traced> = site.collections.iter().map(traced).collect();
        let mut reads = Reads::new();
        for place in collections.iter().flat_map(|collection| &collection.places) {
            for (table, columns) in &place.plan.reads {
                if !place.plan.unseen.contains_key(&table.name) {
                    reads.entry(table.clone()).or_default().extend(columns.iter().cloned());
                }
            }
        }
        let is_seen =
            |table: &Table| facts.catalog.tables.get(table).is_some_and(|facts| facts.uncapturable.is_none());
        reads.retain(|table, _| is_seen(table));
        Self { dialect: facts.catalog.dialect, collections, reads, broken: facts.broken.clone() }
    }

    /// Collections of which a query does not run, each with the database's message. No edit touches them.
    #[must_use]
    pub fn broken(&self) -> &Broken {
        &self.broken
    }

    /// What must be captured: the columns that the site's queries read. Tables that cannot be captured
    /// are left out.
    #[must_use]
    pub fn reads(&self) -> &Reads {
        &self.reads
    }

    /// Whether a collection reads one of these columns of a table.
    pub(crate) fn reads_any(&self, collection: usize, table: &Table, columns: &BTreeSet<String>) -> bool {
        let places = &self.collections[collection].places;
        let mut reads = places.iter().filter_map(|place| place.plan.reads.get(table)).flatten();
        reads.any(|read| columns.iter().any(|column| column.eq_ignore_ascii_case(read)))
    }

    /// Collections that read tables whose edits cannot be seen, by their numbers, with those tables and
    /// why: such a collection must be rendered wholly in every cycle.
    #[must_use]
    pub fn uncapturable(&self) -> BTreeMap<usize, BTreeMap<String, String>> {
        let numbered = self.collections.iter().enumerate();
        let unseen = numbered.map(|(number, collection)| (number, collection.unseen()));
        unseen.filter(|(_, unseen)| !unseen.is_empty()).collect()
    }

    /// Names the state of everything that a collection reads besides rows: the columns of its tables, its
    /// views' texts. Another one: the whole collection is touched. What a table has besides these columns
    /// touches no collection, nor do its indexes: queries give the same rows with and without them.
    #[must_use]
    pub fn fingerprint(&self, collection: usize) -> &str {
        &self.collections[collection].fingerprint
    }

    /// How precisely edits are followed, for each query and each table that it reads.
    #[must_use]
    pub fn explain(&self) -> Vec<Precision> {
        let mut all = Vec::new();
        for collection in &self.collections {
            for Place { name, plan, .. } in &collection.places {
                let unknown =
                    plan.unseen.keys().filter(|own| !plan.reads.keys().any(|table| table.name == **own));
                let unknown = unknown.map(|name| (name.clone(), Err(Coarse::of(&plan.unseen[name]))));
                let known = plan.reads.keys().map(|table| (table.name.clone(), plan.precision(table)));
                all.extend(known.chain(unknown).map(|(table, precision)| {
                    let coarse = precision.err();
                    Precision {
                        collection: collection.name.clone(),
                        include: name.clone(),
                        table,
                        is_precise: coarse.is_none(),
                        why: coarse.as_ref().map(|coarse| coarse.why.clone()),
                        advice: coarse.and_then(|coarse| coarse.advice),
                    }
                }));
            }
        }
        all
    }

    /// What an owner should know of the queries: collection and path of include names, and what.
    pub(crate) fn cautions(&self) -> impl Iterator<Item = (&str, &str, &Caution)> {
        let places = self.collections.iter().flat_map(|of| of.places.iter().map(move |place| (of, place)));
        places.flat_map(|(of, place)| {
            place.plan.cautions.iter().map(|caution| (of.name.as_str(), place.name.as_str(), caution))
        })
    }

    /// The keys of a collection that changes touch: of any row of the tables in `whole`, and of those
    /// rows of the tables in `changed` that `image` gives. `image` makes a SELECT of the old and new
    /// images of a table's changed rows, for the columns asked for: exactly these, under their names and
    /// with the types and collations that the table gives them. Asked for none, any column will do: what
    /// counts are the rows that came or went.
    #[must_use]
    pub fn touched(
        &self,
        collection: usize,
        whole: &BTreeSet<Table>,
        changed: &BTreeSet<Table>,
        image: &dyn Fn(&Table, &BTreeSet<String>) -> String,
    ) -> Touched {
        let collection = &self.collections[collection];
        if let Some((table, why)) = collection.unseen().iter().next() {
            return Touched::Whole(format!("edits of `{table}` cannot be seen: {why}"));
        }
        let reads =
            |table: &&Table| collection.places.iter().any(|place| place.plan.reads.contains_key(*table));
        if let Some(table) = whole.iter().find(reads) {
            return Touched::Whole(format!("any row of `{table}` may have changed"));
        }
        let mut asking =
            Asking { dialect: self.dialect, collection, image, doubts: Vec::new(), keys: Vec::new() };
        for (number, place) in collection.places.iter().enumerate() {
            asking.place(number, place, changed);
        }
        match (asking.doubts, asking.keys) {
            (doubts, keys) if doubts.is_empty() && keys.is_empty() => Touched::Nothing,
            (doubts, keys) => Touched::Asked { doubts, keys },
        }
    }
}

impl Traced {
    fn new(collection: &Collection, facts: &Facts) -> Self {
        let keys = KeyColumns::of(collection).columns;
        let mut places = Vec::new();
        if let Some(error) = facts.broken.get(&collection.name) {
            let fingerprint = format!("broken: {error}");
            return Self { name: collection.name.clone(), keys, places, fingerprint };
        }
        if let Some(query) = &collection.query {
            let names: Vec<&str> = keys.iter().map(|key| &**key).collect();
            let asked = Asked { query, order_by: None, keys: &names, is_joined: false };
            let plan = Plan::new(facts, &asked);
            places.push(Place {
                name: String::new(),
                parent: None,
                keys: keys.clone(),
                on: Vec::new(),
                typed: typed(&plan, facts),
                plan,
            });
        }
        let parent = collection.query.as_ref().map(|_| 0);
        add_includes(&collection.includes, parent, facts, &mut places);
        let mut traced = Self { name: collection.name.clone(), keys, places, fingerprint: String::new() };
        traced.fingerprint = traced.state(facts);
        traced
    }

    fn unseen(&self) -> BTreeMap<String, String> {
        let unseen = self.places.iter().flat_map(|place| &place.plan.unseen);
        unseen.map(|(table, why)| (table.clone(), why.clone())).collect()
    }

    fn state(&self, facts: &Facts) -> String {
        let catalog = &facts.catalog;
        let mut parts = BTreeSet::new();
        for Place { plan, .. } in &self.places {
            for table in plan.reads.keys() {
                let state =
                    catalog.tables.get(table).map_or_else(String::new, |facts| plan.state(table, facts));
                parts.insert(format!("table {:?} {:?} {state}\n", table.schema, table.name));
            }
            for view in &plan.views {
                let text = &catalog.views[view].query;
                parts.insert(format!("view {:?} {:?} {text:?}\n", view.schema, view.name));
            }
        }
        Digest::of(parts.into_iter().collect::<String>().as_bytes()).to_string()
    }
}

/// The columns of a query that compare as their values do.
fn typed(plan: &Plan, facts: &Facts) -> BTreeSet<String> {
    let columns = facts.columns.get(&plan.query);
    let all = columns.into_iter().flat_map(|columns| columns.iter().enumerate());
    all.filter(|(output, _)| plan.is_typed(*output)).map(|(_, column)| column.to_string()).collect()
}

fn add_includes(includes: &[Include], parent: Option<usize>, facts: &Facts, places: &mut Vec<Place>) {
    for include in includes {
        let (keys, on): (Vec<&str>, Vec<String>) =
            include.on.iter().map(|(own, parent)| (own.as_str(), parent.clone())).unzip();
        let around = parent.map(|parent| &*places[parent].name).unwrap_or_default();
        let name =
            if around.is_empty() { include.name.clone() } else { format!("{around}.{}", include.name) };
        let plan = Plan::new(facts, &Asked::include(include, &keys));
        let keys = keys.into_iter().map(str::to_owned).collect();
        let typed = typed(&plan, facts);
        places.push(Place { name, parent, keys, on, typed, plan });
        let own = places.len() - 1;
        add_includes(&include.includes, Some(own), facts, places);
    }
}

/// Gathers the questions for one collection.
struct Asking<'a> {
    dialect: Dialect,
    collection: &'a Traced,
    image: &'a dyn Fn(&Table, &BTreeSet<String>) -> String,
    doubts: Vec<Doubt>,
    keys: Vec<String>,
}

impl Asking<'_> {
    fn place(&mut self, number: usize, place: &Place, changed: &BTreeSet<Table>) {
        let plan = &place.plan;
        let mut coarse = None;
        for table in changed.iter().filter(|table| plan.reads.contains_key(*table)) {
            match plan.precision(table) {
                Ok(()) => {}
                Err(why) => coarse = Some(why),
            }
        }
        let occurrences = terms::changed(&plan.occurrences, |table| changed.contains(table));
        let sets = match (&plan.shape, coarse) {
            (Ok(shape), None) => {
                terms::sets(shape, &occurrences).map(|sets| (shape, sets)).ok_or_else(|| {
                    Coarse::of("more of the tables that it joins changed at once than can be followed")
                })
            }
            (_, Some(coarse)) => Err(coarse),
            (Err(coarse), None) => Err(coarse.clone()),
        };
        let (shape, sets) = match sets {
            Ok(sets) => sets,
            Err(coarse) => return self.doubt(place, changed, &coarse),
        };
        let image = |occurrence: usize| {
            let table = &plan.occurrences[occurrence];
            (self.image)(table, &plan.reads[table])
        };
        let writer = |set| Writer { dialect: self.dialect, set, image: &image };
        let queries: Vec<String> = sets.iter().map(|set| writer(set).top(shape, &plan.wanted)).collect();
        queries.into_iter().for_each(|query| self.upward(number, query));
    }

    /// A change of one of the tables touches everything, if one of its columns changed that are read.
    fn doubt(&mut self, place: &Place, changed: &BTreeSet<Table>, coarse: &Coarse) {
        for (table, columns) in place.plan.reads.iter().filter(|(table, _)| changed.contains(*table)) {
            let what = match &*place.name {
                "" => "its query".to_owned(),
                name => format!("its include `{name}`"),
            };
            let why = format!("`{table}` changed, and {what} cannot be followed: {}", coarse.why);
            let images = (self.image)(table, columns);
            let sql = format!("SELECT 1 AS {} FROM ({images}) AS edgepress_i LIMIT 1", terms::key(0));
            if self.collection.keys.is_empty() {
                self.keys.push(sql);
            } else {
                self.doubts.push(Doubt { sql, why });
            }
        }
    }

    /// From the keys of one place, or their existence, to those of the collection: through the rows
    /// around it as they are now. (Those that are no longer are touched by their own images.)
    fn upward(&mut self, number: usize, query: String) {
        let place = &self.collection.places[number];
        let Some(parent) = place.parent else {
            let is_own = place.name.is_empty();
            debug_assert!(is_own || self.collection.keys.is_empty(), "a collection with keys has a query");
            self.keys.push(query);
            return;
        };
        if place.on.is_empty() {
            // Every row around it has all of it.
            if self.collection.keys.is_empty() {
                self.keys.push(query);
            } else {
                let why = format!("its include `{}` is the same for all of its rows", place.name);
                self.doubts.push(Doubt { sql: query, why });
            }
            return;
        }
        let around = &self.collection.places[parent];
        if let Some(sql) = self.compared_otherwise(place, around, &query) {
            if self.collection.keys.is_empty() {
                self.keys.push(sql);
            } else {
                let why = format!(
                    "the database compares columns of its include `{}` otherwise than values",
                    place.name
                );
                self.doubts.push(Doubt { sql, why });
            }
        }
        self.upward(parent, self.joined(place, around, &query));
    }

    /// A query with a row if two columns are compared by another collation or type than the include's column
    /// and a value are, which is how rows are included.
    fn compared_otherwise(&self, place: &Place, around: &Place, query: &str) -> Option<String> {
        let differ = place.on.iter().enumerate().map(|(number, column)| {
            let one = format!("edgepress_i.{}", terms::key(number));
            let other = format!("edgepress_p.{}", quoted(self.dialect, column));
            sql::compared_otherwise(self.dialect, &one, &other)
        });
        let differ: Vec<String> = differ.collect::<Option<_>>()?;
        // All rows have the same types: one of each side says it.
        Some(format!(
            "SELECT 1 AS {} FROM (SELECT * FROM ({query}) AS edgepress_j LIMIT 1) AS edgepress_i \
             JOIN (SELECT * FROM ({}\n) AS edgepress_q LIMIT 1) AS edgepress_p ON {} LIMIT 1",
            terms::key(0),
            around.plan.query,
            differ.join(" OR ")
        ))
    }

    /// The keys of the rows of `around` to which rows of `place` with the keys that `query` gives belong.
    fn joined(&self, place: &Place, around: &Place, query: &str) -> String {
        let quoted = |column: &str| quoted(self.dialect, column).to_string();
        let outputs: Vec<String> = around
            .keys
            .iter()
            .enumerate()
            .map(|(number, column)| format!("edgepress_p.{} AS {}", quoted(column), terms::key(number)))
            .collect();
        // The include's column on the left: there its collation decides, as where rows are included.
        let on: Vec<String> = place
            .on
            .iter()
            .enumerate()
            .map(|(number, column)| {
                // Where rows are included the other side is a value and has no type of its own. `+` takes
                // the column's type away, and with it indexes: only where the type may matter.
                let is_typed = around.typed.contains(column)
                    || !sql::loses_types(self.dialect)
                    || is_made(Mistake::Affinity);
                let plus = if is_typed { "" } else { "+" };
                format!("edgepress_i.{} = {plus}edgepress_p.{}", terms::key(number), quoted(column))
            })
            .collect();
        // By an index of the rows around it, the few touched ones lead; without, the planner may prefer
        // to go through the rows around them once.
        let is_indexed = place.on.iter().all(|column| around.typed.contains(column));
        let join = if is_indexed { sql::ordered_join(self.dialect) } else { "JOIN" };
        let join = format!(
            "FROM ({query}) AS edgepress_i {} ({}\n) AS edgepress_p ON {}",
            join,
            around.plan.query,
            on.join(" AND ")
        );
        if outputs.is_empty() {
            return format!("SELECT 1 AS {} {join} LIMIT 1", terms::key(0));
        }
        let distinct = if around.plan.is_bytewise() { "DISTINCT " } else { "" };
        format!("SELECT {distinct}{} {join}", outputs.join(", "))
    }
}

#[cfg(test)]
mod tests;
