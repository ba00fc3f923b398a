//! What is known of one query of the site: what it reads, and how precisely a change can be followed.

use std::collections::{BTreeMap, BTreeSet};

use edgepress_site::definition::Include;
use edgepress_store::database::capture::{Catalog, Column, Facts as TableFacts, Reads, Table};

use super::analyse::{Analyser, Scope};
use super::joins::check_distinct;
use super::shape::{Branch, Grouping, Loose, Meaning, Output, Shape};
use super::tables::{self, Read};
use super::wrong::{Mistake, is_made};
use super::{Coarse, Facts, sql};

/// Why a query that calls a function of the owner's cannot be followed.
const ROUTINE: &str = "it is a function of the database's owner, and may read any table";

/// One query of the site.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) query: String,
    /// Every table that it may read, with the columns.
    pub(super) reads: Reads,
    pub(super) views: BTreeSet<Table>,
    /// Names of tables whose edits cannot be seen, and why.
    pub(super) unseen: BTreeMap<String, String>,
    pub(super) shape: Result<Shape, Coarse>,
    /// The outputs that are its keys.
    pub(super) wanted: Vec<usize>,
    /// The table of each occurrence.
    pub(super) occurrences: Vec<Table>,
    /// Tables that it reads outside FROM.
    elsewhere: BTreeSet<Table>,
    /// Tables of which it reads a column that no image has.
    computed: BTreeMap<Table, String>,
    /// What the owner should know of it.
    pub(super) cautions: Vec<Caution>,
}

/// What an owner should know of a query.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Caution {
    /// It calls this function, which tells the time.
    Clock(String),
    /// It calls this function with `localtime`, the time zone of the machine.
    Local(String),
    /// It calls this function, which gives something else each time.
    Random(String),
    /// It calls this aggregate function on floating-point numbers.
    Float(String),
    /// With this clause it takes some of its rows, in no order.
    Limited(&'static str),
    /// It takes the first of its rows in this order, which leaves rows tied.
    LimitTied(String),
    /// With this clause it shows one of several values of this column that are equal, and print differently.
    MadeOne(&'static str, String),
    /// It calls this aggregate function, whose result depends on the order of rows.
    Unordered(String),
    /// This order leaves rows tied.
    Tied(String),
}

/// A query of the site, with what is asked of it.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) query: &'a str,
    /// What stands after ORDER BY in the definition.
    pub(super) order_by: Option<&'a str>,
    /// The columns that are its keys; without any, only whether its result changed is asked.
    pub(super) keys: &'a [&'a str],
    /// Whether its keys are compared by the database, and not by their bytes.
    pub(super) is_joined: bool,
}

/// The text of a query with its order, as the database runs it: what it reads is that of both.
pub(super) fn ordered(query: &str, order_by: Option<&str>) -> String {
    match order_by {
        None => query.to_owned(),
        Some(order_by) => {
            format!("WITH edgepress_q AS ({query}\n) SELECT * FROM edgepress_q ORDER BY {order_by}")
        }
    }
}

impl<'a> Asked<'a> {
    pub(super) fn include(include: &'a Include, keys: &'a [&'a str]) -> Self {
        Self { query: &include.query, order_by: include.order_by.as_deref(), keys, is_joined: true }
    }
}

impl Plan {
    pub(super) fn new(facts: &Facts, asked: &Asked<'_>) -> Self {
        let catalog = &*facts.catalog;
        let listed = facts.tables.get(&ordered(asked.query, asked.order_by));
        let mut plan = Self {
            query: asked.query.to_owned(),
            reads: Reads::new(),
            views: BTreeSet::new(),
            unseen: BTreeMap::new(),
            shape: Err(Coarse::of("it is not known")),
            wanted: Vec::new(),
            occurrences: Vec::new(),
            elsewhere: BTreeSet::new(),
            computed: BTreeMap::new(),
            cautions: Vec::new(),
        };
        match sql::parse(catalog.dialect, asked.query) {
            Ok(query) => {
                let mut read = tables::read(catalog, &query);
                let ordered =
                    asked.order_by.map_or(Ok(()), |order_by| plan.order(catalog, order_by, &mut read));
                plan.cautions.extend(read.cautions.iter().cloned());
                let complete = plan.read(catalog, &read, listed);
                plan.shape = ordered.and(complete).and_then(|()| {
                    let mut analyser = Analyser::new(catalog);
                    let shape = analyser.query(&query, &Scope::default(), asked.keys.is_empty())?;
                    plan.elsewhere.append(&mut analyser.elsewhere);
                    plan.occurrences = analyser.occurrences;
                    plan.wanted = keys(facts, asked, &shape)?;
                    Ok(shape)
                });
            }
            Err(coarse) => {
                plan.unparsed(catalog, asked, listed);
                plan.shape = Err(coarse);
            }
        }
        plan.see(catalog);
        plan.history(catalog, &ordered(asked.query, asked.order_by));
        if let Some(order_by) = asked.order_by
            && plan.is_tied(catalog, order_by, asked.keys)
        {
            plan.cautions.push(Caution::Tied(order_by.to_owned()));
        }
        plan
    }

    /// Whether rows may be equal in what they are ordered by, as far as one table's own rows can tell. `on`:
    /// columns that are equal anyway.
    fn is_tied(&self, catalog: &Catalog, order_by: &str, on: &[&str]) -> bool {
        let Ok(Shape { branches, .. }) = &self.shape else { return false };
        let ([branch], [table]) = (&**branches, &*self.occurrences) else { return false };
        let Some(facts) = catalog.tables.get(table).filter(|_| branch.factors.len() == 1) else {
            return false;
        };
        let Some(named) = sql::named_in_order(catalog.dialect, order_by) else { return false };
        let is_fixed = |column: &String| {
            let of = |output: &&Output| match &output.meaning {
                Ok(Meaning { column: Some((_, own)), .. }) => {
                    sql::is_same(catalog.dialect, &branch.factors[0].columns[*own].name, column)
                }
                _ => false,
            };
            let names = branch.outputs.iter().filter(of).filter_map(|output| output.name.as_deref());
            let is_named = |name: &str| {
                let all = named.iter().map(String::as_str).chain(on.iter().copied());
                all.into_iter().any(|known| sql::is_same(catalog.dialect, known, name))
            };
            names.into_iter().any(is_named)
        };
        let mut sets = facts.unique.iter().chain(std::iter::once(&facts.key)).filter(|set| !set.is_empty());
        !facts.key.is_empty() && !sets.any(|set| set.iter().all(is_fixed))
    }

    /// Adds what ORDER BY reads: through a subquery it may read tables.
    fn order(&mut self, catalog: &Catalog, order_by: &str, read: &mut Read) -> Result<(), Coarse> {
        let query = sql::parse(catalog.dialect, &format!("SELECT 1 ORDER BY {order_by}"))
            .map_err(|coarse| coarse.within("order_by"))?;
        let own = tables::read(catalog, &query);
        self.elsewhere.extend(own.tables.iter().cloned());
        read.tables.extend(own.tables);
        read.views.extend(own.views);
        read.unknown.extend(own.unknown);
        read.routines.extend(own.routines);
        read.starred.extend(own.starred);
        read.cautions.extend(own.cautions);
        for (table, names) in own.columns {
            read.columns.entry(table).or_default().extend(names);
        }
        read.numbers.extend(own.numbers);
        read.is_incomplete |= own.is_incomplete;
        Ok(())
    }

    /// Notes what the query reads; refuses to follow it if that is not all that the database says.
    fn read(
        &mut self,
        catalog: &Catalog,
        read: &Read,
        listed: Option<&BTreeSet<Table>>,
    ) -> Result<(), Coarse> {
        for table in &read.tables {
            let facts = &catalog.tables[table];
            let names = read.columns.get(table);
            let is_starred = read.starred.contains(table);
            let is_read = |name: &str| {
                is_starred || names.is_some_and(|names| names.contains(&sql::folded(catalog.dialect, name)))
            };
            self.columns(table, facts, is_read);
        }
        self.views.clone_from(&read.views);
        for name in read.unknown.iter().filter(|name| !sql::is_pure_table(catalog.dialect, name)) {
            self.unseen.insert(name.clone(), "it is no table or view of the database".to_owned());
        }
        for name in &read.routines {
            self.unseen.insert(format!("{name}()"), ROUTINE.to_owned());
        }
        self.numbers(catalog, read);
        // What is not understood may read any column of a table, also of one whose name stands elsewhere.
        let is_known = |table: &Table| self.reads.contains_key(table) && !read.is_incomplete;
        let is_new = |table: &&Table| !is_known(table) && !catalog.views.contains_key(*table);
        let missed: Vec<Table> = listed.into_iter().flatten().filter(is_new).cloned().collect();
        missed.iter().for_each(|table| self.all_of(catalog, table));
        match (&*missed, listed) {
            _ if read.is_incomplete => Err(Coarse::of("a view that it reads is not understood")),
            ([table, ..], _) => {
                Err(Coarse::of(format!("it reads the table `{table}`, which does not stand in its text")))
            }
            (_, None) => Err(Coarse::of("the database did not tell which tables it reads")),
            ([], Some(_)) => Ok(()),
        }
    }

    /// Notes which tables' rows are numbered by the database.
    fn numbers(&mut self, catalog: &Catalog, read: &Read) {
        for (table, number) in &read.numbers {
            let lacks = |table: &Table| {
                let columns = catalog.tables.get(table).map(|facts| &facts.columns);
                columns.is_some_and(|columns| {
                    !columns.iter().any(|own| sql::is_same(catalog.dialect, &own.name, number))
                })
            };
            let tables: Vec<Table> = match table {
                Some(table) => vec![table.clone()],
                None => self.reads.keys().cloned().collect(),
            };
            let is_ambiguous = table.is_none() && tables.len() > 1;
            for table in tables.into_iter().filter(lacks) {
                if is_ambiguous {
                    let why = format!("`{number}` is read without the name of its table: qualify it");
                    self.unseen.insert(table.name, why);
                } else if let Some(columns) = self.reads.get_mut(&table) {
                    columns.insert(number.clone());
                }
            }
        }
    }

    /// Notes what a query reads that does not parse: all of the tables that the database names.
    fn unparsed(&mut self, catalog: &Catalog, asked: &Asked<'_>, listed: Option<&BTreeSet<Table>>) {
        let Some(listed) = listed else {
            let why = "which tables are read is not known".to_owned();
            self.unseen.insert("?".to_owned(), why);
            return;
        };
        let is_view = |table: &&Table| catalog.views.contains_key(*table);
        self.views = listed.iter().filter(is_view).cloned().collect();
        let text = ordered(asked.query, asked.order_by).to_ascii_lowercase();
        for name in catalog.routines.iter().filter(|name| text.contains(&name.to_ascii_lowercase())) {
            self.unseen.insert(format!("{name}()"), ROUTINE.to_owned());
        }
        let is_numbered = sql::row_numbers(catalog.dialect).iter().any(|number| text.contains(number));
        for table in listed.iter().filter(|table| !is_view(table)) {
            self.all_of(catalog, table);
            if is_numbered {
                let why = "its rows' numbers may be read by a query that is not understood".to_owned();
                self.unseen.insert(table.name.clone(), why);
            }
        }
    }

    /// All columns of a table are read.
    fn all_of(&mut self, catalog: &Catalog, table: &Table) {
        match catalog.tables.get(table) {
            Some(facts) => self.columns(table, facts, |_| true),
            None => {
                self.reads.insert(table.clone(), BTreeSet::new());
                self.unseen.insert(table.name.clone(), "it is no table of the site".to_owned());
            }
        }
    }

    /// Notes which columns of a table are read. In place of one that no trigger may read stand all that it
    /// may be computed of.
    fn columns(&mut self, table: &Table, facts: &TableFacts, is_read: impl Fn(&str) -> bool) {
        let computed = facts.columns.iter().find(|column| column.is_computed && is_read(&column.name));
        let columns = facts.columns.iter().filter(|column| !column.is_computed);
        let columns = columns.filter(|column| computed.is_some() || is_read(&column.name));
        self.reads.insert(table.clone(), columns.map(|column| column.name.clone()).collect());
        self.computed.extend(computed.map(|column| (table.clone(), column.name.clone())));
    }

    /// Notes which of its tables cannot be captured.
    fn see(&mut self, catalog: &Catalog) {
        for table in self.reads.keys() {
            let why = catalog.tables.get(table).and_then(|facts| facts.uncapturable.clone());
            if let Some(why) = why {
                self.unseen.insert(table.name.clone(), why);
            }
        }
    }

    /// Rows of a table's history go without a trigger, and those that are current get their times from the server.
    fn history(&mut self, catalog: &Catalog, query: &str) {
        let views = self.views.iter().map(|view| catalog.views[view].query.as_str());
        let Some(word) =
            std::iter::once(query).chain(views).find_map(|text| sql::of_history(catalog.dialect, text))
        else {
            return;
        };
        let is_column = |table: &Table| {
            let columns = catalog.tables.get(table).map(|facts| &facts.columns);
            columns.is_some_and(|columns| {
                columns.iter().any(|own| sql::is_same(catalog.dialect, &own.name, word))
            })
        };
        if !self.reads.keys().any(is_column) {
            let why = format!("the query reads its history (`{word}`), which changes without a trigger");
            self.unseen.extend(self.reads.keys().map(|table| (table.name.clone(), why.clone())));
        }
    }

    /// Names the state of what is read of a table besides its rows: which columns, in their order, since `*`
    /// gives them in it, and what each of them is. So a column that comes under a name which the query mentions
    /// is seen, too.
    pub(super) fn state(&self, table: &Table, facts: &TableFacts) -> String {
        let reads = &self.reads[table];
        // One that is computed may be made of any other.
        let is_read = |column: &&Column| self.computed.contains_key(table) || reads.contains(&column.name);
        let columns = facts.columns.iter().filter(is_read);
        let columns: Vec<_> = columns.map(|column| (&column.name, &column.fingerprint)).collect();
        format!("{:?} {reads:?} {columns:?}", facts.fingerprint)
    }

    /// Whether the keys that an edit of `table` touches can be asked for; why not.
    pub(super) fn precision(&self, table: &Table) -> Result<(), Coarse> {
        if let Some(why) = self.unseen.get(&table.name) {
            return Err(Coarse::of(format!("edits of it cannot be seen: {why}")));
        }
        if let Some(column) = self.computed.get(table) {
            let why = format!("its column `{column}` is computed when it is read, which may fail");
            return Err(Coarse::new(why, "declare it STORED"));
        }
        if self.elsewhere.contains(table) && !is_made(Mistake::Subqueries) {
            let advice = "join it in FROM, or make it an include";
            return Err(Coarse::new("it is read in a subquery outside FROM", advice));
        }
        self.shape.as_ref().map(|_| ()).map_err(Clone::clone)
    }

    /// Whether SQL compares an output as it compares its value: it is a column of a table that compares
    /// by its bytes, and those have a type. (Columns without one are not converted to another's.)
    pub(super) fn is_typed(&self, output: usize) -> bool {
        let Ok(Shape { branches, .. }) = &self.shape else { return false };
        let [branch] = &**branches else { return false };
        let meaning = branch.outputs.get(output).map(|output| &output.meaning);
        let is_typed = |meaning: &Meaning| meaning.is_bytewise && meaning.loose != Loose::Mixed;
        meaning.is_some_and(|meaning| meaning.as_ref().is_ok_and(is_typed))
    }

    /// Whether equal keys may be made one by SQL.
    pub(super) fn is_bytewise(&self) -> bool {
        let is_one = |branch: &Branch, output: &usize| {
            branch.outputs[*output].meaning.as_ref().is_ok_and(|meaning| meaning.is_bytewise)
        };
        self.shape.as_ref().is_ok_and(|shape| {
            shape.branches.iter().all(|branch| self.wanted.iter().all(|output| is_one(branch, output)))
        })
    }
}

/// Which outputs the keys are; refuses those that an image cannot give.
fn keys(facts: &Facts, asked: &Asked<'_>, shape: &Shape) -> Result<Vec<usize>, Coarse> {
    let columns = facts.columns.get(asked.query);
    let columns = columns.ok_or_else(|| Coarse::of("the database did not tell its columns"))?;
    if shape.branches.iter().any(|branch| branch.outputs.len() != columns.len()) {
        return Err(Coarse::of("what its `*` means is not known"));
    }
    let position = |key: &&str| {
        let position = columns.iter().position(|column| **column == **key);
        position.ok_or_else(|| Coarse::of(format!("it has no column `{key}`")))
    };
    let wanted: Vec<usize> = asked.keys.iter().map(position).collect::<Result<_, _>>()?;
    if wanted.is_empty() {
        return Ok(wanted);
    }
    for branch in &shape.branches {
        check_branch(branch)?;
        for (key, output) in asked.keys.iter().zip(&wanted) {
            let meaning = branch.outputs[*output].meaning.as_ref();
            let meaning = meaning.map_err(|coarse| coarse.within(&format!("its key `{key}`")))?;
            check_key(key, meaning, branch)?;
            let is_vague = match &*shape.branches {
                [_] => meaning.loose == Loose::Vague && !is_made(Mistake::Unions),
                _ => !meaning.is_bytewise,
            };
            if asked.is_joined && is_vague {
                return Err(Coarse::new(
                    format!("a UNION gives `{key}`, by which it is joined, and its equality may differ"),
                    "give columns of tables that compare by their bytes (COLLATE BINARY)",
                ));
            }
        }
    }
    Ok(wanted)
}

fn check_branch(branch: &Branch) -> Result<(), Coarse> {
    if let Some(entangled) = &branch.entangled {
        return Err(entangled.clone());
    }
    if let Grouping::Unknown(coarse) = &branch.grouping {
        return Err(coarse.clone());
    }
    check_distinct(branch)
}

fn check_key(key: &str, meaning: &Meaning, branch: &Branch) -> Result<(), Coarse> {
    if !meaning.loose.is_certain() && !is_made(Mistake::NullKeys) {
        return Err(Coarse::new(
            format!(
                "its key `{key}` comes from the clock or from a side that an outer join fills with NULLs"
            ),
            "take it from the other side, or use an inner join",
        ));
    }
    match &branch.grouping {
        Grouping::By(columns) if meaning.column.is_none_or(|column| !columns.contains(&column)) => {
            Err(Coarse::new(
                format!("its GROUP BY does not name its key `{key}`"),
                format!("add `{key}` to GROUP BY"),
            ))
        }
        _ => Ok(()),
    }
}
