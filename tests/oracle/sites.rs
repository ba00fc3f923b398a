//! Random sites over a schema: collections, their includes and their documents.

use std::collections::BTreeMap;

use edgepress_store::database::capture::Dialect;

use super::case::{Change, Collection, Document, Include, Pages, Site};
use super::queries::{Build, Out, Queries, Query};
use super::schema::{Ref, Role};

/// Draws a site of one to four collections.
pub(super) fn site(queries: &mut Queries<'_>) -> Site {
    let mut site = Site { collections: Vec::new(), templates: BTreeMap::new() };
    for number in 0..queries.draw.within(1, 4) {
        let collection = collection(queries, &format!("c{number}"), &mut site.templates);
        site.collections.push(collection);
    }
    if queries.draw.rarely(3, "site: a literal path beats a pattern") {
        let path = "/c0/d0/s1.json".to_owned();
        let document = Document { path, template: None, pages: None };
        let name = "literal".to_owned();
        site.collections.push(Collection {
            name,
            query: None,
            includes: Vec::new(),
            documents: vec![document],
        });
    }
    site
}

/// Draws a change of a site.
pub(super) fn change(queries: &mut Queries<'_>, site: &Site) -> Change {
    let own = if site.collections.is_empty() { "c0" } else { &queries.draw.choose(&site.collections).name };
    let own = own.to_owned();
    let kinds: [(u64, &str, u8); 6] = [
        (4, "change: a collection is new or another", 0),
        (2, "change: a collection goes", 1),
        (2, "change: one document more", 2),
        (2, "change: a collection is renamed", 3),
        (2, "change: collections change places", 4),
        (6, "change: a template's text", 5),
    ];
    match queries.draw.weighted(&kinds) {
        0 => {
            let name = if queries.draw.chance(50) { own } else { "c9".to_owned() };
            // Templates are part of the site: a changed collection does without.
            let mut collection = collection(queries, &name, &mut BTreeMap::new());
            collection.documents.iter_mut().for_each(|document| document.template = None);
            Change::Collection(collection)
        }
        1 => Change::Remove(own),
        2 => {
            let of = site.collections.iter().find(|of| of.name == own);
            let path = of.map_or("/new.json", |of| &of.documents[0].path).replacen("/d0", "/new", 1);
            let pages = of.and_then(|of| of.documents[0].pages.clone());
            let pages = pages.map(|pages| Pages { first: None, ..pages });
            Change::Document(own, Document { path, template: None, pages })
        }
        3 => Change::Rename(own, "renamed".to_owned()),
        4 => Change::Turn,
        _ => match site.templates.keys().next() {
            Some(name) => Change::Template(name.clone(), "{{ site.name }} has another text".to_owned()),
            None => Change::Turn,
        },
    }
}

fn collection(queries: &mut Queries<'_>, name: &str, templates: &mut BTreeMap<String, String>) -> Collection {
    let query = (!queries.draw.rarely(10, "collection: no query")).then(|| queries.any());
    let columns = query.as_ref().map_or(&[][..], |query| &query.columns);
    let count =
        if query.is_none() { queries.draw.within(1, 2) } else { queries.draw.choose(&[0, 0, 1, 1, 2]) };
    let includes: Vec<Include> =
        (0..count).map(|number| include(queries, &format!("i{number}"), columns, 1)).collect();
    let mut documents = Vec::new();
    for number in 0..queries.draw.choose(&[1, 1, 1, 2, 3]) {
        documents.push(document(queries, name, number, query.as_ref(), &includes));
    }
    for document in &mut documents {
        if queries.draw.rarely(15, "document: template") {
            let template = format!("{name}-{}.html", templates.len());
            templates.insert(template.clone(), text(queries, columns, &includes));
            document.template = Some(template);
        }
    }
    Collection { name: name.to_owned(), query: query.map(|query| query.sql), includes, documents }
}

/// A template that shows some of what there is.
fn text(queries: &mut Queries<'_>, columns: &[Out], includes: &[Include]) -> String {
    let mut text = "{{ site.name }}".to_owned();
    for out in columns {
        if queries.draw.chance(60) {
            text.push_str(&format!("|{{{{ {} | json }}}}", out.name));
        }
    }
    for Include { name, one, .. } in includes {
        if queries.draw.chance(80) {
            text.push_str(&match one {
                true => format!("|{{{{ {name} | json }}}}"),
                false => format!("{{% for row in {name} %}}[{{{{ row | json }}}}]{{% endfor %}}"),
            });
        }
    }
    if let Some(out) = columns.first()
        && queries.draw.rarely(15, "document: template that fails for some rows")
    {
        let name = &out.name;
        text.push_str(&format!(
            "{{% if {name} == \"s3\" or {name} == 4 %}}{{{{ [1] | date }}}}{{% endif %}}"
        ));
    }
    text
}

fn document(
    queries: &mut Queries<'_>,
    collection: &str,
    number: u64,
    query: Option<&Query>,
    includes: &[Include],
) -> Document {
    let folder = format!("/{collection}/d{number}");
    let list = includes.iter().find(|include| !include.one);
    let Some(query) = query else {
        let pages = pages(queries, list, &folder, "all");
        let page = if pages.is_some() { "{page}" } else { "all" };
        return Document { path: format!("{folder}/{page}.json"), template: None, pages };
    };
    let captures: Vec<String> = query.keys.iter().map(|key| format!("{{{key}}}")).collect();
    let mut key = match queries.draw.below(4) {
        0 => captures.join("/"),
        1 => captures.iter().rev().cloned().collect::<Vec<_>>().join("-"),
        _ => captures.join("-"),
    };
    if captures.len() > 1 {
        queries.draw.saw("document: several columns in the path");
    }
    // A column that is no part of the key: a changed value moves the document.
    let is_integer = |out: &&Out| {
        let of = out.of.map(|(table, column)| &queries.schema.tables[table].columns[column]);
        out.expression.starts_with("count") || of.is_some_and(|of| of.role == Role::Slug)
    };
    let further = query.columns.iter().filter(|out| !query.keys.contains(&out.name)).find(is_integer);
    if let Some(out) = further
        && queries.draw.rarely(35, "document: path with more than the key")
    {
        key = match queries.draw.chance(50) {
            // A slug alone may tell rows apart, too.
            true if out.of.is_some() => format!("{{{}}}", out.name),
            _ => format!("{{{}}}/{key}", out.name),
        };
    }
    let pages = pages(queries, list, &folder, &key);
    let page = if pages.is_some() { "/{page}" } else { "" };
    Document { path: format!("{folder}/{key}{page}.json"), template: None, pages }
}

fn pages(queries: &mut Queries<'_>, list: Option<&Include>, folder: &str, key: &str) -> Option<Pages> {
    let list = list?;
    if !queries.draw.rarely(35, "document: pages") {
        return None;
    }
    let first = queries.draw.rarely(50, "document: pages with a first");
    let first = first.then(|| format!("{folder}/{key}.html"));
    Some(Pages { of: list.name.clone(), size: queries.draw.within(1, 3), first })
}

/// Draws an include for rows with `columns`.
fn include(queries: &mut Queries<'_>, name: &str, columns: &[Out], depth: u64) -> Include {
    let mut drawn = match related(queries, columns) {
        Some(mut related) if !queries.draw.chance(10) => {
            related.include.name = name.to_owned();
            related
        }
        _ => whole(queries, name),
    };
    if depth < 2 && queries.draw.rarely(30, "include: nested") {
        let nested = include(queries, &format!("{name}n"), &drawn.columns, depth + 1);
        drawn.include.includes.push(nested);
    }
    drawn.include
}

/// An include with the columns that its own includes can be joined to.
struct Drawn {
    include: Include,
    columns: Vec<Out>,
}

/// The result of a query, for every row.
fn whole(queries: &mut Queries<'_>, name: &str) -> Drawn {
    queries.draw.saw("include: without on");
    let Query { sql: query, columns, .. } = queries.any();
    let limit = queries.draw.rarely(30, "include: limit").then(|| queries.draw.within(1, 3));
    let one = limit == Some(1) && queries.draw.chance(50);
    let order_by = queries.draw.chance(40).then(|| format!("{} DESC", columns[0].name));
    let name = name.to_owned();
    Drawn {
        include: Include { name, query, on: Vec::new(), order_by, limit, one, includes: Vec::new() },
        columns,
    }
}

/// Rows that refer to the row around them, or that it refers to.
fn related(queries: &mut Queries<'_>, columns: &[Out]) -> Option<Drawn> {
    // Each way of joining: the table, pairs of (its column, name of a column around), whether it is one row.
    let mut ways = Vec::new();
    let shown =
        |table, index| columns.iter().find(|out| out.of == Some((table, index))).map(|out| out.name.clone());
    for Ref { child, parent, pairs } in &queries.schema.refs {
        let down: Option<Vec<_>> =
            pairs.iter().map(|(own, key)| Some((*own, shown(*parent, *key)?))).collect();
        let up: Option<Vec<_>> = pairs.iter().map(|(own, key)| Some((*key, shown(*child, *own)?))).collect();
        ways.extend(down.map(|on| (*child, on, false)));
        ways.extend(up.map(|on| (*parent, on, true)));
        // One part of two.
        if pairs.len() > 1
            && let Some(name) = shown(*parent, pairs[0].1)
        {
            ways.push((*child, vec![(pairs[0].0, name)], false));
        }
    }
    for out in columns {
        let Some((table, index)) = out.of else { continue };
        if queries.schema.tables[table].columns[index].role == Role::Name {
            let other = queries.table();
            let name = queries.schema.tables[other].with(|role| role == Role::Name)[0];
            ways.push((other, vec![(name, out.name.clone())], false));
        }
    }
    if ways.is_empty() {
        return None;
    }
    let (table, on, one) = queries.draw.choose(&ways);
    if on.len() > 1 {
        queries.draw.saw("include: on two columns");
    }
    let is_spelled = on.iter().all(|(own, _)| !queries.schema.tables[table].columns[*own].is_nocase);
    let kinds: [(u64, &str, u8); 4] = [
        (50, "include: one table", 0),
        (25, "include: joined", 1),
        (if is_spelled { 15 } else { 0 }, "include: aggregated", 2),
        (8, "include: UNION ALL", 3),
    ];
    let kind = queries.draw.weighted(&kinds);
    let mut build = Build::from(format!("{} a", queries.name(table)));
    for (own, _) in &on {
        let column = &queries.schema.tables[table].columns[*own].name;
        build.key(format!("a.{column}"), Some((table, *own)));
    }
    Some(finish(queries, table, on.into_iter().map(|(_, around)| around).collect(), one, kind, build))
}

/// Draws what an include has beyond its keys.
fn finish(
    queries: &mut Queries<'_>,
    table: usize,
    around: Vec<String>,
    one: bool,
    kind: u8,
    mut build: Build,
) -> Drawn {
    let keys: Vec<String> = build.columns.iter().map(|out| out.expression.clone()).collect();
    match kind {
        1 => join(queries, table, &mut build),
        2 => {
            queries.aggregates(&mut build, table, "a");
            build.tail = format!(" GROUP BY {}", keys.join(", "));
        }
        3 => build.show("a.name", None),
        _ => queries.values(&mut build, table, "a"),
    }
    if queries.draw.rarely(35, "include: WHERE") {
        let predicate = queries.predicate(table, "a");
        build.filter.push(predicate);
    }
    let mut query = build.done();
    if kind == 3 {
        query.sql = format!("{} UNION ALL {}", query.sql, query.sql);
    }
    let order_by = queries.draw.rarely(40, "include: order_by").then(|| {
        let out = queries.draw.choose(&query.columns);
        let how: &[&str] = match queries.draw.dialect {
            Dialect::Sqlite => &["", " DESC", " COLLATE NOCASE"],
            // It can order neither by JSON nor by text that it knows no collation of.
            Dialect::Postgres if queries.shown(&out).is_none_or(|column| column.ty == "json") => &[],
            Dialect::Postgres => &["", " DESC", " DESC NULLS LAST", " NULLS FIRST"],
            Dialect::Mysql => &["", " DESC", " IS NULL"],
        };
        let name = if how.is_empty() { &query.columns[0].name } else { &out.name };
        format!("{name}{}", if how.is_empty() { "" } else { queries.draw.pick(how) })
    });
    // Without an order, one of several is a mistake.
    let one = match kind {
        2 => queries.draw.chance(80),
        3 => false,
        _ if one => queries.draw.chance(80),
        _ => order_by.is_some() && queries.draw.chance(15),
    };
    if one {
        queries.draw.saw("include: one");
    }
    let limit = (!one && queries.draw.rarely(20, "include: limit")).then(|| queries.draw.within(1, 3));
    let on = query.keys.iter().cloned().zip(around).collect();
    let include =
        Include { name: String::new(), query: query.sql, on, order_by, limit, one, includes: Vec::new() };
    Drawn { include, columns: query.columns }
}

/// What the rows of an include refer to.
fn join(queries: &mut Queries<'_>, table: usize, build: &mut Build) {
    let schema = queries.schema;
    queries.values(build, table, "a");
    let Some(of) = schema.refs.iter().find(|of| of.child == table) else { return };
    let on = schema.pairs(of, "a", "b");
    let join = queries.draw.pick(&["JOIN", "LEFT JOIN"]);
    build.from = format!("{} {join} {} b ON {on}", build.from, schema.tables[of.parent].name);
    queries.values(build, of.parent, "b");
    if queries.draw.chance(25) {
        let predicate = queries.predicate(of.parent, "b");
        build.filter.push(predicate);
    }
}
