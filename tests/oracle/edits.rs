//! Random edits: every way in which SQL changes rows, of rows that are there and of some that are not.

use edgepress_store::database::capture::Dialect;

use super::case::{Statement, Transaction};
use super::draw::Draw;
use super::schema::{Column, Role, Schema};
use super::types::{self, Kind};
use super::words;

/// Draws edits of the rows of a schema.
pub(super) struct Edits<'a> {
    pub(super) draw: &'a mut Draw,
    pub(super) schema: &'a Schema,
    /// Whether others read or write at the same time: nothing may wait for them then.
    pub(super) is_shared: bool,
}

impl Edits<'_> {
    /// A transaction of one to six statements.
    pub(super) fn transaction(&mut self) -> Transaction {
        let mut statements = Vec::new();
        for _ in 0..self.draw.choose(&[1, 1, 1, 1, 2, 2, 3, 6]) {
            self.statements(&mut statements);
        }
        if self.draw.rarely(10, "edit: savepoint") {
            let at = self.draw.below(statements.len() as u64 + 1) as usize;
            statements.insert(at, Statement::new("SAVEPOINT one"));
            self.statements(&mut statements);
            let end = self.draw.pick(&["ROLLBACK TO one", "ROLLBACK TO one", "RELEASE one"]);
            statements.push(Statement::new(end));
            if self.draw.chance(50) {
                self.statements(&mut statements);
            }
        }
        Transaction { statements, commits: !self.draw.rarely(6, "edit: rolled back") }
    }

    /// One statement, or a few that belong together.
    fn statements(&mut self, to: &mut Vec<Statement>) {
        let table = self.draw.below(self.schema.tables.len() as u64) as usize;
        let kinds: [(u64, &str, u8); 8] = [
            (28, "edit: insert", 0),
            (40, "edit: update", 1),
            (14, "edit: delete", 2),
            (6, "edit: upsert", 3),
            (4, "edit: swap of keys", 4),
            (5, "edit: row with its children deleted", 5),
            (4, "edit: insert from a select", 6),
            (3, "edit: update from another table", 7),
        ];
        if self.schema.dialect != Dialect::Sqlite && self.draw.chance(8) {
            return self.server(table, to);
        }
        let statement = match self.draw.weighted(&kinds) {
            0 => self.insert(table),
            1 => self.update(table),
            2 => self.delete(table),
            3 => self.upsert(table),
            4 => return self.swap(table, to),
            5 => return self.family(to),
            6 => self.select(table),
            _ => self.from(table),
        };
        to.push(statement);
    }

    pub(super) fn name(&self, table: usize) -> &str {
        &self.schema.tables[table].name
    }

    fn rows(&mut self, table: usize, most: u64) -> Vec<String> {
        let count = self.draw.within(1, most);
        (0..count).map(|_| format!("({})", self.schema.row(self.draw, table, None).join(", "))).collect()
    }

    fn insert(&mut self, table: usize) -> Statement {
        let or = self.draw.pick(match self.schema.dialect {
            Dialect::Sqlite => &[
                "INSERT INTO",
                "INSERT INTO",
                "INSERT OR REPLACE INTO",
                "INSERT OR REPLACE INTO",
                "REPLACE INTO",
                "INSERT OR IGNORE INTO",
                "INSERT OR FAIL INTO",
            ],
            Dialect::Postgres => &["INSERT INTO"],
            Dialect::Mysql => &["INSERT INTO", "REPLACE INTO", "REPLACE INTO", "INSERT IGNORE INTO"],
        });
        if or.contains("REPLACE") {
            self.draw.saw("edit: insert or replace");
        }
        let head = format!("{or} {} ({}) VALUES ", self.name(table), self.schema.written(table));
        let rows = self.rows(table, 3);
        let ignores = self.schema.dialect == Dialect::Postgres && self.draw.chance(40);
        let tail = if ignores { " ON CONFLICT DO NOTHING" } else { "" };
        Statement { head, rows, tail: tail.to_owned() }
    }

    fn upsert(&mut self, table: usize) -> Statement {
        let own = &self.schema.tables[table];
        let key = own.key();
        let target: Vec<&str> = key.iter().map(|index| own.columns[*index].name.as_str()).collect();
        let target = if target.is_empty() { String::new() } else { format!("({})", target.join(", ")) };
        let head = format!("INSERT INTO {} ({}) VALUES ", own.name, self.schema.written(table));
        if self.schema.dialect == Dialect::Mysql {
            let update = self.draw.pick(&[
                "name = VALUES(name)",
                "name = concat(name, 'x')",
                "name = if(VALUES(name) = 'b', name, VALUES(name))",
            ]);
            let tail = format!(" ON DUPLICATE KEY UPDATE {update}");
            return Statement { head, rows: self.rows(table, 2), tail };
        }
        let name = if self.schema.dialect == Dialect::Postgres { "old.name" } else { "name" };
        let update = self.draw.pick(&[
            "DO NOTHING",
            "DO UPDATE SET name = excluded.name",
            "DO UPDATE SET name = excluded.name WHERE excluded.name <> 'b'",
            "DO UPDATE SET name = name || 'x'",
        ]);
        let update = update.replace("name ||", &format!("{name} ||"));
        let head = match self.schema.dialect {
            Dialect::Postgres => head.replacen(&own.name, &format!("{} AS old", own.name), 1),
            _ => head,
        };
        // What is to be done about a conflict must say with which.
        let update = match target.is_empty() && name == "old.name" {
            true => "DO NOTHING".to_owned(),
            false => update,
        };
        Statement { head, rows: self.rows(table, 2), tail: format!(" ON CONFLICT {target} {update}") }
    }

    /// Which rows: mostly those with one key.
    pub(super) fn which(&mut self, table: usize) -> String {
        let own = &self.schema.tables[table];
        if self.draw.chance(5) {
            return String::new();
        }
        let references = own.with(|role| matches!(role, Role::Ref { .. } | Role::Flag | Role::Name));
        let ident = own.ident();
        let among = if self.draw.chance(70) { ident } else { references };
        let mut conditions = Vec::new();
        for index in among {
            let name = &own.columns[index].name;
            let value = self.schema.value(self.draw, table, index);
            conditions.push(match value.as_str() {
                "NULL" => format!("{name} IS NULL"),
                _ if self.draw.chance(15) => format!("{name} >= {value}"),
                _ => format!("{name} = {value}"),
            });
            if self.draw.chance(50) {
                break;
            }
        }
        if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) }
    }

    pub(super) fn update(&mut self, table: usize) -> Statement {
        let own = &self.schema.tables[table];
        let writable = own.with(|role| role != Role::Generated);
        let mut sets = Vec::new();
        for _ in 0..self.draw.choose(&[1, 1, 1, 2]) {
            let kinds: [(u64, &str, u8); 6] = [
                (56, "set: another value", 0),
                (8, "set: NULL", 1),
                (8, "set: the same", 2),
                (14, "set: another case", 3),
                (8, "set: another type", 4),
                (6, "set: arithmetic", 5),
            ];
            let kind = self.draw.weighted(&kinds);
            let fit: Vec<usize> =
                writable.iter().copied().filter(|index| self.fits(kind, &own.columns[*index])).collect();
            let index = self.draw.choose(&fit);
            let column = &own.columns[index];
            let name = &column.name;
            let value = match kind {
                0 => self.schema.value(self.draw, table, index),
                1 => "NULL".to_owned(),
                2 => name.clone(),
                3 => format!("{}({name})", self.draw.pick(&["upper", "upper", "lower"])),
                4 if self.schema.dialect != Dialect::Sqlite => types::other_form(self.schema.dialect, column),
                4 => {
                    format!("CAST({name} AS {})", self.draw.pick(&["TEXT", "REAL", "INTEGER", "BLOB"]))
                }
                _ if column.is_text => words::concat(self.schema.dialect, &[name, "'z'"]),
                _ => format!("{name} + {}", self.draw.choose(&[1, 10])),
            };
            match column.role {
                Role::Key | Role::Slug => self.draw.saw("set: key column"),
                Role::Ref { .. } => self.draw.saw("set: join column"),
                _ => {}
            }
            let set = format!("{name} = ");
            // A column is set twice in SQLite only.
            if self.schema.dialect == Dialect::Sqlite
                || !sets.iter().any(|own: &String| own.starts_with(&set))
            {
                sets.push(format!("{set}{value}"));
            }
        }
        let or = self.draw.pick(match self.schema.dialect {
            Dialect::Sqlite => {
                &["", "", "", " OR REPLACE", " OR REPLACE", " OR IGNORE", " OR ROLLBACK", " OR FAIL"]
            }
            Dialect::Postgres => &[""],
            Dialect::Mysql => &["", "", " IGNORE"],
        });
        // With recursive triggers and any trigger for DELETE, SQLite refuses an UPDATE that replaces the row which
        // the updated one refers to, and so, by a cascade, deletes what it updates.
        let refers_to_itself = self.schema.refs.iter().any(|of| (of.child, of.parent) == (table, table));
        let or = if or == " OR REPLACE" && refers_to_itself { "" } else { or };
        if or == " OR REPLACE" {
            self.draw.saw("edit: update or replace");
        }
        Statement::new(format!("UPDATE{or} {} SET {}{}", own.name, sets.join(", "), self.which(table)))
    }

    /// Whether a column can be set in this way.
    fn fits(&self, kind: u8, column: &Column) -> bool {
        let is_number = matches!(column.kind, Kind::Integer | Kind::Decimal | Kind::Loose);
        match kind {
            3 => column.is_text,
            5 => self.schema.dialect == Dialect::Sqlite || column.is_text || is_number,
            _ => true,
        }
    }

    fn delete(&mut self, table: usize) -> Statement {
        let which = self.which(table);
        if which.is_empty() {
            self.draw.saw("edit: all rows deleted");
        }
        Statement::new(format!("DELETE FROM {}{which}", self.name(table)))
    }

    /// Two rows exchange their keys, by way of a third.
    fn swap(&mut self, table: usize, to: &mut Vec<Statement>) {
        let own = &self.schema.tables[table];
        let index = self.draw.choose(&own.ident());
        let name = own.columns[index].name.clone();
        let (one, other) =
            (self.schema.value(self.draw, table, index), self.schema.value(self.draw, table, index));
        let between = match own.columns[index].kind {
            Kind::Uuid => "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
            _ if own.columns[index].is_text => "'between'",
            _ => "1000",
        };
        for (from, into) in
            [(one.as_str(), between), (other.as_str(), one.as_str()), (between, other.as_str())]
        {
            let table = &own.name;
            to.push(Statement::new(format!("UPDATE {table} SET {name} = {into} WHERE {name} = {from}")));
        }
    }

    /// A row goes, and all that refer to it.
    fn family(&mut self, to: &mut Vec<Statement>) {
        if self.schema.refs.is_empty() {
            return to.push(self.delete(0));
        }
        let of = self.draw.choose(&self.schema.refs);
        let parent = &self.schema.tables[of.parent];
        let (own, key) = of.pairs[0];
        let value = self.schema.value(self.draw, of.parent, key);
        let child = &self.schema.tables[of.child];
        let mut both = [
            format!("DELETE FROM {} WHERE {} = {value}", child.name, child.columns[own].name),
            format!("DELETE FROM {} WHERE {} = {value}", parent.name, parent.columns[key].name),
        ];
        if self.draw.chance(40) {
            both.reverse();
        }
        to.extend(both.map(Statement::new));
    }

    /// Rows made from rows of the same table.
    fn select(&mut self, table: usize) -> Statement {
        let own = &self.schema.tables[table];
        let select =
            own.columns.iter().filter(|column| column.role != Role::Generated).map(|column| {
                match (column.role, column.is_text) {
                    (Role::Key, false) if column.kind != Kind::Uuid => format!("{} + 5", column.name),
                    (Role::Key | Role::Slug, true) => {
                        words::concat(self.schema.dialect, &[&column.name, "'n'"])
                    }
                    _ => column.name.clone(),
                }
            });
        let select = select.collect::<Vec<_>>().join(", ");
        let or = self.draw.pick(&["IGNORE", "REPLACE"]);
        let (insert, tail) = match (self.schema.dialect, or) {
            (Dialect::Postgres, _) => ("INSERT".to_owned(), " ON CONFLICT DO NOTHING"),
            (Dialect::Mysql, "IGNORE") => ("INSERT IGNORE".to_owned(), ""),
            (Dialect::Mysql, _) => ("REPLACE".to_owned(), ""),
            (Dialect::Sqlite, or) => (format!("INSERT OR {or}"), ""),
        };
        let (name, written) = (&own.name, self.schema.written(table));
        let which = self.which(table);
        Statement::new(format!("{insert} INTO {name} ({written}) SELECT {select} FROM {name}{which}{tail}"))
    }

    fn from(&mut self, table: usize) -> Statement {
        let Some(of) = self.schema.refs.iter().find(|of| of.child == table && of.parent != table) else {
            return self.update(table);
        };
        let (own, key) = of.pairs[0];
        let own = &self.schema.tables[table].columns[own];
        let key = &self.schema.tables[of.parent].columns[key];
        let (child, parent, dialect) = (self.name(table), self.name(of.parent), self.schema.dialect);
        let (max, common) = (words::folded(dialect, "p.name"), words::common(dialect, own, key));
        let (own, key) = (&own.name, &key.name);
        // Which of several rows is taken would be the database's choice.
        Statement::new(format!(
            "UPDATE {child} SET name = (SELECT max({max}) FROM {parent} p WHERE p.{key} = {child}.{own}{common})"
        ))
    }
}
