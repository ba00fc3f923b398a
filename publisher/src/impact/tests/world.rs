//! A small database, described by hand, and sites over it.

use std::collections::BTreeSet;
use std::sync::Arc;

use edgepress_site::definition::{self, Definition};
use edgepress_store::database::capture::{Catalog, Column, Dialect, Facts as TableFacts, Table, View};

use super::super::facts::Facts;

pub(super) fn table(name: &str) -> Table {
    Table { schema: "main".to_owned(), name: name.to_owned() }
}

/// A catalogue: tables as `name(column column …)`, where a column that ends with `~` compares otherwise
/// than by its bytes, and one that ends with `!` is computed when it is read; views as `name(column …) = SELECT …`.
pub(super) fn catalog(tables: &[&str], views: &[(&str, &str)]) -> Catalog {
    let parts = |text: &str| -> (Table, Vec<String>) {
        let (name, columns) = text.trim_end_matches(')').split_once('(').unwrap();
        (table(name), columns.split_ascii_whitespace().map(str::to_owned).collect())
    };
    let facts = |text: &&str| {
        let (table, columns) = parts(text);
        let column = |name: &String| Column {
            name: name.trim_end_matches(['~', '!']).to_owned(),
            is_bytewise: !name.ends_with('~'),
            prints_apart: false,
            is_float: false,
            is_computed: name.ends_with('!'),
            fingerprint: name.clone(),
        };
        let columns: Vec<Column> = columns.iter().map(column).collect();
        let key = columns.first().map(|column| column.name.clone()).into_iter().collect();
        let fingerprint = String::new();
        (table, TableFacts { columns, key, unique: Vec::new(), uncapturable: None, fingerprint })
    };
    let view = |(text, query): &(&str, &str)| {
        let (table, columns) = parts(text);
        (table, View { query: (*query).to_owned(), columns })
    };
    Catalog {
        dialect: Dialect::Sqlite,
        path: Vec::new(),
        routines: <_>::default(),
        tables: tables.iter().map(facts).collect(),
        views: views.iter().map(view).collect(),
    }
}

/// A site of these collections.
pub(super) fn site(collections: &str) -> Definition {
    let text = format!(
        "[site]\nname = \"Test\"\nurl = \"https://test.example\"\ntemplates = \"pages\"\n\
         [database]\nurl = \"sqlite:test.db\"\n[storage]\nurl = \"file:bucket\"\n{collections}"
    );
    definition::parse("site.toml", &text, &|_| None).unwrap().definition
}

/// A site of one collection.
pub(super) fn one(query: &str, path: &str, includes: &str) -> Definition {
    let query = if query.is_empty() { String::new() } else { format!("query = '''{query}'''\n") };
    site(&format!(
        "[[collection]]\nname = \"one\"\n{query}{includes}\n[[collection.document]]\npath = \"{path}\"\n"
    ))
}

/// Facts told by hand: for each query, its columns and the tables it reads.
pub(super) fn facts(catalog: Catalog, queries: &[(&str, &[&str], &[&str])]) -> Facts {
    let mut tables = std::collections::HashMap::new();
    let mut columns = std::collections::HashMap::new();
    for (query, own, read) in queries {
        let read: BTreeSet<Table> = read.iter().map(|name| table(name)).collect();
        tables.insert((*query).to_owned(), read);
        columns.insert((*query).to_owned(), own.iter().map(|name| Arc::from(*name)).collect());
    }
    Facts { catalog: Arc::new(catalog), tables, columns, broken: <_>::default() }
}
