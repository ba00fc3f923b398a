//! The rarer shapes of queries: views, subqueries, CTEs, windows, sets.

use edgepress_store::database::capture::Dialect;

use super::queries::{Build, Out, Queries, Query};
use super::schema::Role;
use super::words;

impl Queries<'_> {
    pub(super) fn view(&mut self) -> Query {
        if self.views.is_empty() {
            return self.simple();
        }
        let view = self.draw.choose(self.views);
        let mut build = Build::from(format!("{} v", view.name));
        for out in &view.query.columns {
            match view.query.keys.contains(&out.name) {
                true => build.key(format!("v.{}", out.name), out.of),
                false => build.show(format!("v.{}", out.name), out.of),
            }
        }
        if self.draw.chance(30) {
            let of = self.shown(&build.columns[0]);
            let filter = words::is_not(self.draw.dialect, "v.k0", of, 2);
            build.filter.push(filter);
        }
        if self.draw.rarely(20, "query: view beside a table") {
            let table = self.table();
            let name = self.name(table);
            build.show(format!("(SELECT count(*) FROM {name})"), None);
        }
        build.done()
    }

    /// The ident of a table, plainly, with its rows filtered to those that have one.
    fn plain(&mut self, table: usize) -> Build {
        let own = &self.schema.tables[table];
        let mut build = Build::from(format!("{} a", own.name));
        for index in own.ident() {
            let name = format!("a.{}", own.columns[index].name);
            build.filter.push(format!("{name} IS NOT NULL"));
            build.key(name, Some((table, index)));
        }
        build
    }

    pub(super) fn distinct(&mut self) -> Query {
        let table = self.table();
        let own = &self.schema.tables[table];
        let mut build = Build::from(format!("{} a", own.name));
        build.distinct = true;
        let reference = own.with(|role| matches!(role, Role::Ref { .. }));
        match reference.first() {
            Some(index) if !own.columns[*index].is_nocase => {
                let name = format!("a.{}", own.columns[*index].name);
                build.filter.push(format!("{name} IS NOT NULL"));
                build.key(name, Some((table, *index)));
            }
            _ => {
                build.filter.push("length(a.name) > 0".to_owned());
                build.key(words::folded(self.draw.dialect, "a.name"), None);
            }
        }
        build.done()
    }

    pub(super) fn exists(&mut self) -> Query {
        let refs = &self.schema.refs;
        if refs.is_empty() {
            return self.simple();
        }
        let of = self.draw.choose(refs);
        let mut build = self.plain(of.parent);
        if build.keys == 0 {
            return self.simple();
        }
        self.values(&mut build, of.parent, "a");
        let on = self.schema.pairs(&of, "b", "a");
        let name = self.name(of.child).to_owned();
        let predicate = self.predicate(of.child, "b");
        let not = self.draw.pick(&["", "NOT "]);
        build.filter.push(format!("{not}EXISTS (SELECT 1 FROM {name} b WHERE {on} AND {predicate})"));
        build.done()
    }

    pub(super) fn within(&mut self) -> Query {
        let refs = &self.schema.refs;
        if refs.is_empty() {
            return self.simple();
        }
        let of = self.draw.choose(refs);
        let mut build = self.plain(of.child);
        if build.keys == 0 {
            return self.simple();
        }
        self.values(&mut build, of.child, "a");
        let (own, key) = of.pairs[0];
        let own = &self.schema.tables[of.child].columns[own];
        let key = &self.schema.tables[of.parent].columns[key];
        let (own, key) = (&own.name, format!("{}{}", key.name, words::common(self.draw.dialect, own, key)));
        let name = self.name(of.parent).to_owned();
        let predicate = self.predicate(of.parent, "b");
        build.filter.push(format!("a.{own} IN (SELECT b.{key} FROM {name} b WHERE {predicate})"));
        build.done()
    }

    pub(super) fn scalar(&mut self) -> Query {
        let refs = &self.schema.refs;
        if refs.is_empty() {
            return self.simple();
        }
        let of = self.draw.choose(refs);
        let mut build = self.plain(of.parent);
        self.values(&mut build, of.parent, "a");
        let on = self.schema.pair(&of, of.pairs[0], "b", "a");
        let name = self.name(of.child).to_owned();
        let max = format!("max({})", words::folded(self.draw.dialect, "b.name"));
        let of = self.draw.choose(&["count(*)", &max, "count(DISTINCT b.name)"]);
        build.show(format!("(SELECT {of} FROM {name} b WHERE {on})"), None);
        build.done()
    }

    /// The first few rows, in an order that leaves no choice.
    pub(super) fn limited(&mut self) -> Query {
        let table = self.table();
        let mut build = self.plain(table);
        self.values(&mut build, table, "a");
        // A slug may stand in several rows.
        let by = self.exactly(&build.columns[..build.keys]);
        let mut ties = self.exactly(&build.columns);
        if self.draw.dialect == Dialect::Sqlite {
            let types = build.columns.iter().map(|out| format!("typeof({})", out.expression));
            ties = format!("{ties}, {}", types.collect::<Vec<_>>().join(", "));
        }
        let first = self.draw.pick(&["a.name DESC, ", "", "length(a.name), "]);
        let limit = self.draw.within(1, 4);
        let offset = self.draw.pick(&["", "", " OFFSET 1"]);
        build.tail = format!(" ORDER BY {first}{by}, {ties} LIMIT {limit}{offset}");
        build.done()
    }

    /// Columns as ORDER BY takes them, so that only equal bytes are tied.
    fn exactly(&self, columns: &[Out]) -> String {
        let exact = |out: &Out| words::exact(self.draw.dialect, &out.expression);
        columns.iter().map(exact).collect::<Vec<_>>().join(", ")
    }

    pub(super) fn cte(&mut self) -> Query {
        let inner = self.simple();
        let is_materialized = match self.draw.dialect {
            Dialect::Mysql => "",
            _ => self.draw.pick(&["", "", "MATERIALIZED ", "NOT MATERIALIZED "]),
        };
        let mut build = Build::from("q");
        build.with = format!("WITH q AS {is_materialized}({}) ", inner.sql);
        around(&mut build, &inner);
        if self.draw.chance(30) {
            let of = self.shown(&build.columns[0]);
            let filter = words::is_not(self.draw.dialect, "q.k0", of, 1);
            build.filter.push(filter);
        }
        build.done()
    }

    pub(super) fn derived(&mut self) -> Query {
        let inner = self.simple();
        let mut build = Build::from(format!("({}) q", inner.sql));
        around(&mut build, &inner);
        if self.draw.chance(30) {
            let of = self.shown(&build.columns[0]);
            let filter = words::is_not(self.draw.dialect, "q.k0", of, 1);
            build.filter.push(filter);
        }
        build.done()
    }

    /// How deep each row lies below those that refer to nothing.
    pub(super) fn recursive(&mut self) -> Query {
        let own = self.schema.refs.iter().find(|of| of.child == of.parent && of.pairs.len() == 1);
        let Some(of) = own else { return self.simple() };
        let table = &self.schema.tables[of.child];
        let (up, key) = (&table.columns[of.pairs[0].0], &table.columns[of.pairs[0].1]);
        if up.is_nocase || key.is_nocase || (self.draw.dialect != Dialect::Sqlite && up.ty != key.ty) {
            return self.simple();
        }
        let (name, up, key) = (&table.name, &up.name, &key.name);
        let mut build = Build::from("tree");
        build.with = format!(
            "WITH RECURSIVE tree(k, depth) AS (SELECT {key}, 0 FROM {name} WHERE {up} IS NULL \
             UNION SELECT a.{key}, tree.depth + 1 FROM {name} a JOIN tree ON a.{up} = tree.k WHERE tree.depth < 4) "
        );
        build.key("tree.k", Some((of.child, of.pairs[0].1)));
        build.show("min(tree.depth)", None);
        build.filter.push("tree.k IS NOT NULL".to_owned());
        build.tail = " GROUP BY tree.k".to_owned();
        build.done()
    }

    /// The place of each row among those of the same name.
    pub(super) fn window(&mut self) -> Query {
        let table = self.table();
        let mut build = self.plain(table);
        let by = self.exactly(&build.columns[..build.keys]);
        build.show(format!("rank() OVER (PARTITION BY a.name ORDER BY {by})"), None);
        build.show("count(*) OVER ()", None);
        build.done()
    }

    pub(super) fn except(&mut self) -> Query {
        let table = self.table();
        let mut one = self.plain(table);
        one.columns.iter_mut().for_each(|out| out.of = None);
        for out in &mut one.columns {
            // What is the same but for its case is one row of these, of the database's choice.
            let dialect = self.draw.dialect;
            out.expression = match dialect {
                Dialect::Sqlite => format!("lower({})", out.expression),
                _ => words::folded(dialect, &words::text(dialect, &out.expression)),
            };
        }
        let one = one.done();
        let predicate = self.predicate(table, "a");
        let set = self.draw.pick(&["EXCEPT", "INTERSECT"]);
        let other = format!("{} AND {predicate}", one.sql);
        let columns = one.columns.into_iter().map(|out| Out { of: None, ..out }).collect();
        Query { sql: format!("{} {set} {other}", one.sql), columns, keys: one.keys }
    }
}

/// All columns of `inner`, which is called `q`.
fn around(build: &mut Build, inner: &Query) {
    for out in &inner.columns {
        match inner.keys.contains(&out.name) {
            true => build.key(format!("q.{}", out.name), out.of),
            false => build.show(format!("q.{}", out.name), out.of),
        }
    }
}
