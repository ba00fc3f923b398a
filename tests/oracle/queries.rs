//! Random queries over a random schema, in all the shapes that sites are written in.
//! Refuses to draw what its rows do not determine: two runs over the same rows give the same result.

use edgepress_store::database::capture::Dialect;

use super::draw::Draw;
use super::schema::{Column, Ref, Role, Schema};
use super::types::Kind;
use super::words;

/// A column of a query.
#[derive(Debug, Clone)]
pub(super) struct Out {
    pub(super) expression: String,
    pub(super) name: String,
    /// The table's column that it shows as it is: their indexes.
    pub(super) of: Option<(usize, usize)>,
}

/// A query.
#[derive(Debug, Clone)]
pub(super) struct Query {
    pub(super) sql: String,
    pub(super) columns: Vec<Out>,
    /// The columns that tell its rows apart, mostly.
    pub(super) keys: Vec<String>,
}

/// A view.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) name: String,
    pub(super) query: Query,
}

/// What queries are drawn over.
pub(super) struct Queries<'a> {
    pub(super) draw: &'a mut Draw,
    pub(super) schema: &'a Schema,
    pub(super) views: &'a [View],
}

/// A SELECT that grows.
#[derive(Default)]
pub(super) struct Build {
    pub(super) with: String,
    pub(super) distinct: bool,
    pub(super) columns: Vec<Out>,
    pub(super) keys: usize,
    pub(super) from: String,
    pub(super) filter: Vec<String>,
    pub(super) tail: String,
}

impl Build {
    pub(super) fn from(from: impl Into<String>) -> Self {
        Self { from: from.into(), ..Self::default() }
    }

    /// One more column of the key.
    pub(super) fn key(&mut self, expression: impl Into<String>, of: Option<(usize, usize)>) {
        let name = format!("k{}", self.keys);
        self.columns.push(Out { expression: expression.into(), name, of });
        self.keys += 1;
    }

    /// One more column that is shown.
    pub(super) fn show(&mut self, expression: impl Into<String>, of: Option<(usize, usize)>) {
        let name = format!("c{}", self.columns.len());
        self.columns.push(Out { expression: expression.into(), name, of });
    }

    pub(super) fn done(self) -> Query {
        let select: Vec<String> =
            self.columns.iter().map(|out| format!("{} AS {}", out.expression, out.name)).collect();
        let distinct = if self.distinct { "DISTINCT " } else { "" };
        let filter = if self.filter.is_empty() {
            String::new()
        } else {
            format!(" WHERE {}", self.filter.join(" AND "))
        };
        let sql = format!(
            "{}SELECT {distinct}{} FROM {}{filter}{}",
            self.with,
            select.join(", "),
            self.from,
            self.tail
        );
        let keys = (0..self.keys).map(|number| format!("k{number}")).collect();
        Query { sql, columns: self.columns, keys }
    }
}

/// Draws a query of one shape.
pub(super) type Shape = fn(&mut Queries<'_>) -> Query;

/// Shapes that views may have too.
pub(super) const SIMPLE: [(u64, &str, Shape); 8] = [
    (12, "query: one table", |queries| queries.single()),
    (10, "query: inner join", |queries| queries.joined(Join::Inner)),
    (10, "query: left join", |queries| queries.joined(Join::Left)),
    (5, "query: left join, filtered on the null side", |queries| queries.joined(Join::LeftFiltered)),
    (6, "query: anti-join", |queries| queries.anti()),
    (6, "query: UNION ALL", |queries| queries.union(true)),
    (3, "query: UNION", |queries| queries.union(false)),
    (8, "query: GROUP BY", |queries| queries.grouped()),
];

pub(super) const SHAPES: [(u64, &str, Shape); 15] = [
    (50, "query: simple shapes", |queries| queries.simple()),
    (4, "query: bare names", |queries| queries.bare(false)),
    (4, "query: star", |queries| queries.bare(true)),
    (9, "query: view", |queries| queries.view()),
    (5, "query: GROUP BY beyond a left join", |queries| queries.grouped_left()),
    (4, "query: DISTINCT", |queries| queries.distinct()),
    (4, "query: EXISTS, NOT EXISTS", |queries| queries.exists()),
    (3, "query: IN (subquery)", |queries| queries.within()),
    (4, "query: scalar subquery", |queries| queries.scalar()),
    (3, "query: LIMIT", |queries| queries.limited()),
    (4, "query: CTE", |queries| queries.cte()),
    (2, "query: recursive CTE", |queries| queries.recursive()),
    (4, "query: derived table", |queries| queries.derived()),
    (2, "query: window", |queries| queries.window()),
    (3, "query: EXCEPT, INTERSECT", |queries| queries.except()),
];

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Join {
    Inner,
    Left,
    LeftFiltered,
}

impl Queries<'_> {
    /// A query of any shape.
    pub(super) fn any(&mut self) -> Query {
        let shape = self.draw.weighted(&SHAPES);
        shape(self)
    }

    /// A query of a shape that views may have.
    pub(super) fn simple(&mut self) -> Query {
        let shape = self.draw.weighted(&SIMPLE);
        shape(self)
    }

    pub(super) fn table(&mut self) -> usize {
        self.draw.below(self.schema.tables.len() as u64) as usize
    }

    pub(super) fn name(&self, table: usize) -> &str {
        &self.schema.tables[table].name
    }

    /// A table as FROM may name it.
    fn named(&mut self, table: usize, alias: &str) -> String {
        let name = self.name(table).to_owned();
        let dialect = self.draw.dialect;
        let is_quoted = words::bare(&name) != name;
        match self.draw.below(12) {
            0 if dialect == Dialect::Sqlite => format!("main.{name} {alias}"),
            0 if dialect == Dialect::Postgres => format!("public.{name} {alias}"),
            1 if !is_quoted => format!("{} AS {alias}", words::quoted(dialect, &name)),
            2 if !is_quoted && dialect != Dialect::Mysql => format!("{} AS {alias}", name.to_uppercase()),
            _ => format!("{name} {alias}"),
        }
    }

    /// A reference, if there are any.
    fn reference(&mut self) -> Option<Ref> {
        let refs = &self.schema.refs;
        (!refs.is_empty()).then(|| self.draw.choose(refs))
    }

    /// The column that `out` shows as it is.
    pub(super) fn shown(&self, out: &Out) -> Option<&Column> {
        out.of.map(|(table, column)| &self.schema.tables[table].columns[column])
    }

    /// The key of `table`, or of what stands for it.
    fn ident(&mut self, build: &mut Build, table: usize, alias: &str) {
        for index in self.schema.tables[table].ident() {
            let column = &self.schema.tables[table].columns[index];
            let own = format!("{alias}.{}", column.name);
            if column.is_nullable && self.draw.chance(95) {
                build.filter.push(format!("{own} IS NOT NULL"));
            }
            let dialect = self.draw.dialect;
            let is_number = matches!(column.kind, Kind::Integer | Kind::Decimal);
            let (expression, of) = match (self.draw.below(20), column.is_text) {
                (0, true) => (format!("lower({own})"), None),
                (1, _) => (words::concat(dialect, &["'x'", &own]), None),
                (2, false) if is_number => (format!("{own} + 100"), None),
                (3, false) if dialect != Dialect::Sqlite => {
                    (format!("coalesce({}, 'none')", words::text(dialect, &own)), None)
                }
                (3, _) => (format!("coalesce({own}, 'none')"), None),
                (4, false) if dialect == Dialect::Sqlite => (format!("printf('%03d', {own})"), None),
                (4, false) => (format!("lpad({}, 3, '0')", words::text(dialect, &own)), None),
                _ => (own, Some((table, index))),
            };
            if of.is_none() {
                self.draw.saw("query: key is an expression");
            } else if column.is_nocase {
                self.draw.saw("query: key is NOCASE");
            }
            build.key(expression, of);
        }
    }

    /// Some of what a row of `table` has to show.
    pub(super) fn values(&mut self, build: &mut Build, table: usize, alias: &str) {
        for (index, column) in self.schema.tables[table].columns.iter().enumerate() {
            let chance = match column.role {
                Role::Key => 25,
                Role::Slug => 40,
                Role::Ref { .. } => 60,
                _ => 45,
            };
            if self.draw.chance(chance) {
                build.show(format!("{alias}.{}", column.name), Some((table, index)));
            }
        }
    }

    /// A condition on the columns of `table`.
    pub(super) fn predicate(&mut self, table: usize, alias: &str) -> String {
        let table = &self.schema.tables[table];
        let column = &table.columns[self.draw.below(table.columns.len() as u64) as usize];
        let own = format!("{alias}.{}", column.name);
        self.draw.pick(words::conditions(self.draw.dialect, column)).replace('@', &own)
    }

    fn filter(&mut self, build: &mut Build, percent: u64, table: usize, alias: &str) {
        if self.draw.rarely(percent, "query: WHERE") {
            let predicate = self.predicate(table, alias);
            build.filter.push(predicate);
        }
    }

    fn single(&mut self) -> Query {
        let table = self.table();
        let mut build = Build::from(self.named(table, "a"));
        self.ident(&mut build, table, "a");
        self.values(&mut build, table, "a");
        self.filter(&mut build, 60, table, "a");
        build.done()
    }

    /// One table without aliases.
    fn bare(&mut self, star: bool) -> Query {
        let table = self.table();
        let own = &self.schema.tables[table];
        let ident = own.ident();
        let outs = own.columns.iter().enumerate().map(|(index, column)| Out {
            expression: column.name.clone(),
            name: words::bare(&column.name).to_owned(),
            of: Some((table, index)),
        });
        let columns: Vec<Out> = outs
            .filter(|out| {
                star || out.of.is_some_and(|(_, index)| ident.contains(&index)) || self.draw.chance(70)
            })
            .collect();
        let names: Vec<&str> = columns.iter().map(|out| out.expression.as_str()).collect();
        let select = if star { "*".to_owned() } else { names.join(", ") };
        let keys: Vec<String> = ident.iter().map(|index| own.columns[*index].name.clone()).collect();
        let filter = keys.iter().map(|key| format!("{key} IS NOT NULL")).collect::<Vec<_>>().join(" AND ");
        let mut sql = format!("SELECT {select} FROM {} WHERE {filter}", own.name);
        if self.draw.chance(50) {
            let predicate = self.predicate(table, self.name(table).to_owned().as_str());
            sql = format!("{sql} AND {predicate}");
        }
        Query { sql, columns, keys }
    }

    /// Rows, each with the one that it refers to.
    fn joined(&mut self, join: Join) -> Query {
        let Some(of) = self.reference() else { return self.single() };
        if of.child == of.parent {
            self.draw.saw("query: self-join");
        }
        let on = self.schema.pairs(&of, "a", "b");
        let (child, parent) = (self.named(of.child, "a"), self.named(of.parent, "b"));
        let mut build = match join {
            Join::Inner if self.draw.rarely(20, "query: comma join") => {
                let mut build = Build::from(format!("{child}, {parent}"));
                build.filter.push(on);
                build
            }
            Join::Inner => Build::from(format!("{child} JOIN {parent} ON {on}")),
            _ if self.draw.rarely(15, "query: right join") => {
                Build::from(format!("{parent} RIGHT JOIN {child} ON {on}"))
            }
            _ => {
                let more = self.draw.rarely(30, "query: ON with more than the keys");
                let more =
                    if more { format!(" AND {}", self.predicate(of.parent, "b")) } else { String::new() };
                Build::from(format!("{child} LEFT JOIN {parent} ON {on}{more}"))
            }
        };
        self.ident(&mut build, of.child, "a");
        self.values(&mut build, of.child, "a");
        self.values(&mut build, of.parent, "b");
        self.filter(&mut build, 40, of.child, "a");
        if join != Join::Left {
            self.filter(&mut build, if join == Join::Inner { 40 } else { 100 }, of.parent, "b");
        }
        self.third(&mut build, &of);
        build.done()
    }

    /// A third table beyond the second.
    fn third(&mut self, build: &mut Build, of: &Ref) {
        let further =
            self.schema.refs.iter().find(|next| next.child == of.parent && next.parent != of.parent);
        let Some(next) = further.cloned() else { return };
        if build.from.contains(',') || !self.draw.rarely(50, "query: three tables") {
            return;
        }
        let on = self.schema.pairs(&next, "b", "c");
        let join = self.draw.pick(&["JOIN", "LEFT JOIN"]);
        build.from = format!("{} {join} {} c ON {on}", build.from, self.name(next.parent));
        self.values(build, next.parent, "c");
    }

    /// Rows that no other refers to; or, the other way round, that refer to nothing.
    fn anti(&mut self) -> Query {
        let Some(of) = self.reference() else { return self.single() };
        let is_child = self.draw.chance(50);
        let on = if is_child { self.schema.pairs(&of, "a", "b") } else { self.schema.pairs(&of, "b", "a") };
        let (own, other) = if is_child { (of.child, of.parent) } else { (of.parent, of.child) };
        let (from, to) = (self.named(own, "a"), self.named(other, "b"));
        let mut build = Build::from(format!("{from} LEFT JOIN {to} ON {on}"));
        let index = if is_child { of.pairs[0].1 } else { of.pairs[0].0 };
        build.filter.push(format!("b.{} IS NULL", self.schema.tables[other].columns[index].name));
        self.ident(&mut build, own, "a");
        self.values(&mut build, own, "a");
        self.filter(&mut build, 20, own, "a");
        build.done()
    }

    /// Two tables, or the same twice, one after the other.
    fn union(&mut self, all: bool) -> Query {
        let (one, other) = (self.table(), self.table());
        let branch = |queries: &mut Self, table: usize, mark: &str| {
            let own = &queries.schema.tables[table];
            let keys = own.ident().into_iter().map(|index| format!("a.{}", own.columns[index].name));
            let keys: Vec<String> = keys.collect();
            let mut build = Build::from(format!("{} a", own.name));
            build.filter.extend(keys.iter().map(|key| format!("{key} IS NOT NULL")));
            let name = own.with(|role| role == Role::Name)[0];
            let dialect = queries.draw.dialect;
            let mark = format!("'{mark}'");
            let parts = keys.iter().flat_map(|key| [if keys[0] == *key { &*mark } else { "'.'" }, &**key]);
            let key = words::concat(dialect, &parts.collect::<Vec<_>>());
            // What is the same but for its case would be one row of these, of the database's choice.
            let exact = |own: &str| match dialect {
                Dialect::Sqlite => own.to_owned(),
                _ => words::exact(dialect, own),
            };
            build.key(if all { key } else { exact(&key) }, None);
            build.show(exact("a.name"), Some((table, name)));
            queries.filter(&mut build, 40, table, "a");
            build.done()
        };
        let (one, other) = (branch(self, one, "m"), branch(self, other, "n"));
        let union = if all { "UNION ALL" } else { "UNION" };
        let columns = one.columns.into_iter().map(|out| Out { of: None, ..out }).collect();
        Query { sql: format!("{} {union} {}", one.sql, other.sql), columns, keys: one.keys }
    }

    /// Rows counted by what they refer to.
    pub(super) fn aggregates(&mut self, build: &mut Build, table: usize, alias: &str) {
        let has_quantity = self.schema.tables[table].find(|role| role == Role::Quantity).is_some();
        if !has_quantity || self.draw.chance(60) {
            build.show("count(*)", None);
        }
        if has_quantity {
            let is_loose = self.schema.tables[table].find(|role| role == Role::Quantity);
            let is_loose = is_loose.is_some_and(|column| column.kind == Kind::Loose);
            let function = match (self.draw.dialect, is_loose) {
                (Dialect::Sqlite, _) => self.draw.pick(&["sum", "min", "max", "avg", "total"]),
                (_, true) => self.draw.pick(&["sum", "avg", "count"]),
                (_, false) => self.draw.pick(&["sum", "min", "max", "avg"]),
            };
            build.show(format!("{function}({alias}.qty)"), None);
        }
        if self.draw.chance(20) {
            build.show(format!("count(DISTINCT {alias}.name)"), None);
        }
    }

    fn grouped(&mut self) -> Query {
        let Some(of) = self.reference() else { return self.single() };
        let child = &self.schema.tables[of.child];
        let mut build = Build::from(self.named(of.child, "a"));
        let mut by = Vec::new();
        for (own, _) in &of.pairs {
            let column = &child.columns[*own];
            build.filter.push(format!("a.{} IS NOT NULL", column.name));
            // Which of several spellings stands for a group is the database's choice: fix it.
            let expression = match column.is_nocase {
                true => words::folded(self.draw.dialect, &format!("a.{}", column.name)),
                false => format!("a.{}", column.name),
            };
            by.push(expression.clone());
            build.key(expression, (!column.is_nocase).then_some((of.child, *own)));
        }
        self.aggregates(&mut build, of.child, "a");
        self.filter(&mut build, 40, of.child, "a");
        build.tail = format!(" GROUP BY {}", by.join(", "));
        if self.draw.rarely(30, "query: HAVING") {
            build.tail.push_str(self.draw.pick(&[" HAVING count(*) > 1", " HAVING max(a.name) <> 'b'"]));
        }
        build.done()
    }

    /// All rows, with the number of those that refer to them.
    fn grouped_left(&mut self) -> Query {
        let Some(of) = self.reference() else { return self.single() };
        let on = self.schema.pairs(&of, "b", "a");
        let mut build =
            Build::from(format!("{} a LEFT JOIN {} b ON {on}", self.name(of.parent), self.name(of.child)));
        if self.draw.chance(30) {
            let more = self.predicate(of.child, "b");
            build.from = format!("{} AND {more}", build.from);
        }
        let parent = &self.schema.tables[of.parent];
        let mut by = Vec::new();
        for index in parent.key() {
            let name = format!("a.{}", parent.columns[index].name);
            build.filter.push(format!("{name} IS NOT NULL"));
            build.key(name.clone(), Some((of.parent, index)));
            by.push(name);
        }
        build.show("a.name", None);
        build.show("count(b.name)", None);
        self.aggregates(&mut build, of.child, "b");
        if self.draw.chance(50) || parent.is_inherited {
            by.push("a.name".to_owned());
        }
        build.tail = format!(" GROUP BY {}", by.join(", "));
        build.done()
    }
}
