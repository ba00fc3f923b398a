//! The rarer shapes of queries: views, subqueries, CTEs, windows, sets.

use super::queries::{Build, Out, Queries, Query};
use super::schema::Role;

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
            build.filter.push("v.k0 <> 's2'".to_owned());
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
                build.key("lower(a.name)", None);
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
        let column = |table: usize, index: usize| &self.schema.tables[table].columns[index].name;
        let pairs = of
            .pairs
            .iter()
            .map(|(own, key)| format!("b.{} = a.{}", column(of.child, *own), column(of.parent, *key)));
        let on = pairs.collect::<Vec<_>>().join(" AND ");
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
        let own = &self.schema.tables[of.child].columns[own].name;
        let key = &self.schema.tables[of.parent].columns[key].name;
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
        let (own, key) = of.pairs[0];
        let own = &self.schema.tables[of.child].columns[own].name;
        let key = &self.schema.tables[of.parent].columns[key].name;
        let name = self.name(of.child).to_owned();
        let of = self.draw.pick(&["count(*)", "max(lower(b.name))", "count(DISTINCT b.name)"]);
        build.show(format!("(SELECT {of} FROM {name} b WHERE b.{own} = a.{key})"), None);
        build.done()
    }

    /// The first few rows, in an order that leaves no choice.
    pub(super) fn limited(&mut self) -> Query {
        let table = self.table();
        let mut build = self.plain(table);
        self.values(&mut build, table, "a");
        let keys: Vec<&str> = build.columns[..build.keys].iter().map(|out| &*out.expression).collect();
        // A slug may stand in several rows.
        let by = keys.iter().map(|key| format!("{key} COLLATE BINARY")).collect::<Vec<_>>().join(", ");
        let all = build.columns.iter().map(|out| format!("{} COLLATE BINARY", out.expression));
        let types = build.columns.iter().map(|out| format!("typeof({})", out.expression));
        let ties = all.chain(types).collect::<Vec<_>>().join(", ");
        let first = self.draw.pick(&["a.name DESC, ", "", "length(a.name), "]);
        let limit = self.draw.within(1, 4);
        let offset = self.draw.pick(&["", "", " OFFSET 1"]);
        build.tail = format!(" ORDER BY {first}{by}, {ties} LIMIT {limit}{offset}");
        build.done()
    }

    pub(super) fn cte(&mut self) -> Query {
        let inner = self.simple();
        let is_materialized = self.draw.pick(&["", "", "MATERIALIZED ", "NOT MATERIALIZED "]);
        let mut build = Build::from("q");
        build.with = format!("WITH q AS {is_materialized}({}) ", inner.sql);
        around(&mut build, &inner);
        if self.draw.chance(30) {
            build.filter.push("q.k0 <> 's1'".to_owned());
        }
        build.done()
    }

    pub(super) fn derived(&mut self) -> Query {
        let inner = self.simple();
        let mut build = Build::from(format!("({}) q", inner.sql));
        around(&mut build, &inner);
        if self.draw.chance(30) {
            build.filter.push("q.k0 <> 's1'".to_owned());
        }
        build.done()
    }

    /// How deep each row lies below those that refer to nothing.
    pub(super) fn recursive(&mut self) -> Query {
        let own = self.schema.refs.iter().find(|of| of.child == of.parent && of.pairs.len() == 1);
        let Some(of) = own else { return self.simple() };
        let table = &self.schema.tables[of.child];
        let (up, key) = (&table.columns[of.pairs[0].0], &table.columns[of.pairs[0].1]);
        if up.is_nocase || key.is_nocase {
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
        let keys: Vec<&str> = build.columns[..build.keys].iter().map(|out| &*out.expression).collect();
        let by = keys.iter().map(|key| format!("{key} COLLATE BINARY")).collect::<Vec<_>>().join(", ");
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
            out.expression = format!("lower({})", out.expression);
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
