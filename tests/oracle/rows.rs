//! Values for the columns of a random schema, and the rows that a case begins with.
//! Refuses to edit them.

use edgepress_store::database::capture::Dialect;

use super::case::Statement;
use super::draw::Draw;
use super::schema::{Column, Role, Schema, Table};
use super::types;

/// How many values keys are drawn from.
const KEYS: u64 = 7;

/// Keys from this number on are those of rows that lie in tables of their own.
pub(super) const BEYOND: u64 = 20;

const TEXTS: [&str; 9] = ["a", "b", "c", "d", "ab", "A", "B", "10", "é"];
const NAMES: [&str; 9] = ["'a'", "'A'", "'b'", "'B'", "'c'", "'x y'", "''", "NULL", "'10'"];
const NOTES: [&str; 11] =
    ["1", "1.0", "'1'", "'a'", "'A'", "NULL", "x'61'", "0.5", "9007199254740993", "-1", "2"];

impl Schema {
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
            Role::Name | Role::Quantity | Role::Flag | Role::Note if self.dialect != Dialect::Sqlite => {
                types::value(draw, column)
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
        let (insert, tail) = match self.dialect {
            Dialect::Sqlite => ("INSERT OR IGNORE INTO", ""),
            Dialect::Postgres => ("INSERT INTO", " ON CONFLICT DO NOTHING"),
            Dialect::Mysql => ("INSERT IGNORE INTO", ""),
        };
        let mut statements = Vec::new();
        for table in 0..self.tables.len() {
            let count = draw.within(2, 7);
            let row = |number| format!("({})", self.row(draw, table, Some(number)).join(", "));
            let rows: Vec<String> = (0..count).map(row).collect();
            let head = format!("{insert} {} ({}) VALUES ", self.tables[table].name, self.written(table));
            // One row that refers to none would take all others with it.
            let alone = self.has_foreign_keys && self.dialect != Dialect::Sqlite;
            let chunks = rows.chunks(if alone { 1 } else { rows.len() });
            statements.extend(chunks.map(|rows| Statement {
                head: head.clone(),
                rows: rows.to_vec(),
                tail: tail.to_owned(),
            }));
        }
        statements
    }

    /// Statements that take away the rows no path can be made of.
    pub(super) fn mend(&self) -> Vec<Statement> {
        let mend = |table: &Table| {
            let column = |index: usize| {
                let column = &table.columns[index];
                let name = &column.name;
                let text = match self.dialect {
                    Dialect::Postgres => format!("{name} COLLATE \"C\""),
                    _ => name.clone(),
                };
                match self.dialect != Dialect::Sqlite && !column.is_text {
                    true => format!("{name} IS NULL"),
                    false => {
                        format!("{name} IS NULL OR {name} = '' OR {text} LIKE '%/%' OR {text} LIKE '%-%'")
                    }
                }
            };
            let slug = table.with(|role| role == Role::Slug);
            let columns: Vec<String> = table.key().into_iter().chain(slug).map(column).collect();
            Statement::new(format!("DELETE FROM {} WHERE {}", table.name, columns.join(" OR ")))
        };
        self.tables.iter().map(mend).collect()
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
        (_, true) if number >= BEYOND => format!("'h{number}'"),
        (_, true) => format!("'{}'", TEXTS[number as usize % TEXTS.len()]),
        (_, false) => types::identity(column.kind, number + 1),
    }
}
