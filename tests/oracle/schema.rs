//! Random schemas: tables with all kinds of keys, references between them, and values for their columns.
//! Refuses to query them.

use super::case::Statement;
use super::draw::Draw;

/// What a column is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// A part of the primary key.
    Key,
    /// A text that tells rows apart, mostly.
    Slug,
    /// One part of the key of another table, or of this one.
    Ref {
        table: usize,
        part: usize,
    },
    Name,
    Quantity,
    Flag,
    /// Anything: it has no declared type.
    Note,
    Generated,
}

#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) role: Role,
    /// Its declaration, without the name.
    pub(super) declared: String,
    pub(super) is_text: bool,
    pub(super) is_nocase: bool,
    pub(super) is_nullable: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    /// Whether no two rows have the same slug.
    pub(super) has_unique_slug: bool,
    /// Its CREATE TABLE.
    pub(super) statement: String,
}

/// Columns of `child` that name a row of `parent`.
#[derive(Debug, Clone)]
pub(super) struct Ref {
    pub(super) child: usize,
    pub(super) parent: usize,
    /// Indexes of (a column of the child, a column of the parent).
    pub(super) pairs: Vec<(usize, usize)>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Schema {
    pub(super) tables: Vec<Table>,
    pub(super) refs: Vec<Ref>,
    /// Whether references are declared and so enforced, where the connection says so.
    pub(super) has_foreign_keys: bool,
    /// Whether all of them are checked at the end of a transaction only.
    is_deferred: bool,
}

/// How many values keys are drawn from.
const KEYS: u64 = 7;

const TEXTS: [&str; 9] = ["a", "b", "c", "d", "ab", "A", "B", "10", "é"];
const NAMES: [&str; 9] = ["'a'", "'A'", "'b'", "'B'", "'c'", "'x y'", "''", "NULL", "'10'"];
const NOTES: [&str; 11] =
    ["1", "1.0", "'1'", "'a'", "'A'", "NULL", "x'61'", "0.5", "9007199254740993", "-1", "2"];

impl Table {
    pub(super) fn key(&self) -> Vec<usize> {
        self.with(|role| role == Role::Key)
    }

    /// The columns that tell rows apart, mostly.
    pub(super) fn ident(&self) -> Vec<usize> {
        let key = self.key();
        if key.is_empty() { self.with(|role| role == Role::Slug) } else { key }
    }

    pub(super) fn with(&self, is_it: impl Fn(Role) -> bool) -> Vec<usize> {
        (0..self.columns.len()).filter(|index| is_it(self.columns[*index].role)).collect()
    }

    pub(super) fn find(&self, is_it: impl Fn(Role) -> bool) -> Option<&Column> {
        self.columns.iter().find(|column| is_it(column.role))
    }
}

impl Schema {
    pub(super) fn draw(draw: &mut Draw) -> Self {
        let has_foreign_keys = draw.rarely(30, "schema: foreign keys");
        let is_deferred = has_foreign_keys && draw.rarely(25, "schema: deferred foreign keys");
        let mut schema = Self { has_foreign_keys, is_deferred, ..Self::default() };
        for number in 0..draw.within(2, 4) as usize {
            schema.add(draw, number);
        }
        schema
    }

    fn add(&mut self, draw: &mut Draw, number: usize) {
        let mut table = Table {
            name: format!("t{number}"),
            columns: key(draw),
            has_unique_slug: false,
            statement: String::new(),
        };
        if table.columns.is_empty() || draw.chance(50) {
            let is_nocase = draw.rarely(25, "schema: slug NOCASE");
            table.has_unique_slug = draw.chance(85);
            table.columns.push(column("slug", Role::Slug, "TEXT", is_nocase, true));
        }
        self.tables.push(table);
        let mut clauses = Vec::new();
        for parent in 0..=number {
            let chance = if parent == number { 25 } else { 60 };
            if !self.tables[parent].key().is_empty() && draw.chance(chance) {
                self.reference(draw, number, parent, &mut clauses);
            }
        }
        let table = &mut self.tables[number];
        values(draw, table);
        let part = |column: &Column| match column.role {
            // Queries name it in lower case.
            Role::Quantity if draw.rarely(15, "schema: name in another case") => "Qty INTEGER".to_owned(),
            _ => format!("{} {}", column.name, column.declared),
        };
        let mut parts: Vec<String> = table.columns.iter().map(part).collect();
        if draw.rarely(10, "schema: name with quotes") {
            parts.push("\"odd \"\"one\"\"\" DEFAULT 7".to_owned());
        }
        let key: Vec<&str> = table.key().into_iter().map(|index| &*table.columns[index].name).collect();
        if key.len() > 1 {
            parts.push(format!("PRIMARY KEY ({})", key.join(", ")));
        }
        parts.extend(clauses);
        let is_autoincrement = table.columns[0].declared.contains("AUTOINCREMENT");
        let rowid = if !key.is_empty() && !is_autoincrement && draw.rarely(25, "schema: WITHOUT ROWID") {
            let key = table.key();
            key.into_iter().for_each(|index| table.columns[index].is_nullable = false);
            " WITHOUT ROWID"
        } else {
            ""
        };
        table.statement = format!("CREATE TABLE {} ({}){rowid}", table.name, parts.join(", "));
    }

    /// Gives `child` the columns of a reference to `parent`.
    fn reference(&mut self, draw: &mut Draw, child: usize, parent: usize, clauses: &mut Vec<String>) {
        let key = self.tables[parent].key();
        let mut pairs = Vec::new();
        for (part, index) in key.iter().copied().enumerate() {
            let target = &self.tables[parent].columns[index];
            let declared = if target.is_text { "TEXT" } else { "INTEGER" };
            // A reference may be compared by another collation than the key it names.
            let is_nocase = target.is_text && draw.rarely(20, "schema: reference NOCASE");
            let name = match (parent == child, part) {
                (true, part) => format!("p{part}"),
                (false, part) => format!("r{parent}_{part}"),
            };
            let role = Role::Ref { table: parent, part };
            pairs.push((self.tables[child].columns.len(), index));
            self.tables[child].columns.push(column(&name, role, declared, is_nocase, true));
        }
        if self.has_foreign_keys {
            let names = |table: usize, indexes: &mut dyn Iterator<Item = usize>| {
                let columns = &self.tables[table].columns;
                indexes.map(|index| columns[index].name.as_str()).collect::<Vec<_>>().join(", ")
            };
            let own = names(child, &mut pairs.iter().map(|(own, _)| *own));
            let key = names(parent, &mut key.iter().copied());
            let actions = [
                " ON DELETE SET NULL",
                "",
                " ON DELETE CASCADE",
                " ON DELETE CASCADE ON UPDATE CASCADE",
                " ON UPDATE CASCADE",
            ];
            // Where no trigger writes, SQLite lets INSERT OR REPLACE break a reference to the same table
            // that sets NULL, and a statement that fails for one reference still counts as a breach of
            // deferred ones. With triggers it does neither: what is compared keeps away from both.
            let action = draw.pick(&actions[usize::from(parent == child)..]);
            let deferred = if self.is_deferred { " DEFERRABLE INITIALLY DEFERRED" } else { "" };
            clauses.push(format!("FOREIGN KEY ({own}) REFERENCES t{parent} ({key}){action}{deferred}"));
        }
        self.refs.push(Ref { child, parent, pairs });
    }

    /// Indexes, and a trigger of the owner's.
    pub(super) fn extras(&self, draw: &mut Draw) -> Vec<String> {
        let mut extras = Vec::new();
        for Table { name, has_unique_slug, columns, .. } in &self.tables {
            if *has_unique_slug {
                extras.push(format!("CREATE UNIQUE INDEX {name}_slug ON {name} (slug)"));
            }
            for column in columns {
                if matches!(column.role, Role::Ref { .. }) && draw.rarely(50, "schema: index on a reference")
                {
                    let column = &column.name;
                    extras.push(format!("CREATE INDEX {name}_{column} ON {name} ({column})"));
                }
            }
        }
        let quantity = |table: usize| self.tables[table].find(|role| role == Role::Quantity);
        if draw.chance(10)
            && let Some(of) =
                self.refs.iter().find(|of| of.child != of.parent && quantity(of.child).is_some())
        {
            draw.saw("schema: a trigger of the owner's");
            let (child, parent) = (&self.tables[of.child], &self.tables[of.parent]);
            let (own, key) = (&child.columns[of.pairs[0].0].name, &parent.columns[of.pairs[0].1].name);
            extras.push(format!(
                "CREATE TRIGGER touch AFTER UPDATE ON {} BEGIN \
                 UPDATE {} SET qty = coalesce(qty, 0) + 1 WHERE {own} = NEW.{key}; END",
                parent.name, child.name
            ));
        }
        extras
    }

    /// A value for a column, as SQL.
    pub(super) fn value(&self, draw: &mut Draw, table: usize, column: usize) -> String {
        let column = &self.tables[table].columns[column];
        match column.role {
            Role::Key | Role::Slug => {
                let number = draw.below(KEYS);
                identity(draw, column, number)
            }
            Role::Ref { table, part } => {
                if draw.chance(15) {
                    return "NULL".to_owned();
                }
                let parent = &self.tables[table];
                let number = draw.below(KEYS);
                plain_identity(&parent.columns[parent.key()[part]], number)
            }
            Role::Name => draw.pick(&NAMES).to_owned(),
            Role::Quantity => match draw.below(8) {
                7 => "NULL".to_owned(),
                number => number.to_string(),
            },
            Role::Flag => draw.pick(&["0", "1", "1", "NULL"]).to_owned(),
            Role::Note => draw.pick(&NOTES).to_owned(),
            Role::Generated => unreachable!("nobody writes generated columns"),
        }
    }

    /// A row of values for all columns that can be written; the `number`th, where that matters.
    pub(super) fn row(&self, draw: &mut Draw, table: usize, number: Option<u64>) -> Vec<String> {
        let columns = &self.tables[table].columns;
        let written = (0..columns.len()).filter(|index| columns[*index].role != Role::Generated);
        let value = |index: usize| match (columns[index].role, number) {
            (Role::Key | Role::Slug, Some(number)) => plain_identity(&columns[index], number),
            _ => self.value(draw, table, index),
        };
        written.map(value).collect()
    }

    /// The names of all columns that can be written.
    pub(super) fn written(&self, table: usize) -> String {
        let columns = self.tables[table].columns.iter();
        let written = columns.filter(|column| column.role != Role::Generated);
        written.map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Rows for every table.
    pub(super) fn rows(&self, draw: &mut Draw) -> Vec<Statement> {
        let fill = |table: usize| {
            let count = draw.within(2, 7);
            let row = |number| format!("({})", self.row(draw, table, Some(number)).join(", "));
            Statement {
                head: format!(
                    "INSERT OR IGNORE INTO {} ({}) VALUES ",
                    self.tables[table].name,
                    self.written(table)
                ),
                rows: (0..count).map(row).collect(),
                tail: String::new(),
            }
        };
        (0..self.tables.len()).map(fill).collect()
    }

    /// Statements that take away the rows no path can be made of.
    pub(super) fn mend(&self) -> Vec<Statement> {
        let mend = |table: &Table| {
            let column = |index: usize| {
                let name = &table.columns[index].name;
                format!("{name} IS NULL OR {name} = '' OR {name} LIKE '%/%' OR {name} LIKE '%-%'")
            };
            let slug = table.with(|role| role == Role::Slug);
            let columns: Vec<String> = table.key().into_iter().chain(slug).map(column).collect();
            Statement::new(format!("DELETE FROM {} WHERE {}", table.name, columns.join(" OR ")))
        };
        self.tables.iter().map(mend).collect()
    }
}

/// The columns of a primary key; none if there is none.
fn key(draw: &mut Draw) -> Vec<Column> {
    let integer = |declared| column("id", Role::Key, declared, false, false);
    match draw.below(20) {
        0..=5 => vec![integer("INTEGER PRIMARY KEY")],
        6 => vec![integer("INTEGER PRIMARY KEY AUTOINCREMENT")],
        7 => {
            draw.saw("schema: INT key beside the rowid");
            vec![column("id", Role::Key, "INT PRIMARY KEY", false, true)]
        }
        8..=12 => {
            draw.saw("schema: text key");
            let is_nocase = draw.rarely(40, "schema: key NOCASE");
            vec![column("code", Role::Key, "TEXT PRIMARY KEY", is_nocase, true)]
        }
        13..=16 => {
            draw.saw("schema: composite key");
            let is_nocase = draw.rarely(30, "schema: key NOCASE");
            vec![
                column("a", Role::Key, "INTEGER", false, true),
                column("b", Role::Key, "TEXT", is_nocase, true),
            ]
        }
        _ => {
            draw.saw("schema: no key");
            Vec::new()
        }
    }
}

/// Columns that hold what documents show.
fn values(draw: &mut Draw, table: &mut Table) {
    let is_nocase = draw.rarely(35, "schema: name NOCASE");
    table.columns.push(column("name", Role::Name, "TEXT", is_nocase, true));
    if draw.chance(75) {
        table.columns.push(column("qty", Role::Quantity, "INTEGER", false, true));
    }
    if draw.chance(60) {
        table.columns.push(column("flag", Role::Flag, "INTEGER", false, true));
    }
    if draw.rarely(50, "schema: column without a type") {
        table.columns.push(column("note", Role::Note, "", false, true));
    }
    if draw.rarely(20, "schema: generated column") {
        let declared = draw.pick(&[
            "TEXT AS (lower(name))",
            "AS (name || '!')",
            "TEXT GENERATED ALWAYS AS (upper(name)) STORED",
        ]);
        table.columns.push(column("gen", Role::Generated, declared, false, true));
    }
}

fn column(name: &str, role: Role, declared: &str, is_nocase: bool, is_nullable: bool) -> Column {
    let collate = if is_nocase { " COLLATE NOCASE" } else { "" };
    Column {
        name: name.to_owned(),
        role,
        declared: format!("{declared}{collate}"),
        is_text: declared.starts_with("TEXT"),
        is_nocase,
        is_nullable,
    }
}

/// The `number`th value of a key or slug, sometimes one that no path can have.
fn identity(draw: &mut Draw, column: &Column, number: u64) -> String {
    if draw.chance(1) {
        let broken = draw.pick(&["NULL", "''", "'x/y'", "'x-1'"]);
        if column.is_text || broken == "NULL" {
            return broken.to_owned();
        }
    }
    let value = plain_identity(column, number);
    if column.role == Role::Slug && draw.chance(15) { value.to_uppercase() } else { value }
}

fn plain_identity(column: &Column, number: u64) -> String {
    match (column.role, column.is_text) {
        (Role::Slug, _) => format!("'s{}'", number + 1),
        (_, true) => format!("'{}'", TEXTS[number as usize % TEXTS.len()]),
        (_, false) => (number + 1).to_string(),
    }
}
