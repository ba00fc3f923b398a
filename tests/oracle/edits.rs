//! Random edits: every way in which SQL changes rows, of rows that are there and of some that are not.

use super::case::{Statement, Transaction};
use super::draw::Draw;
use super::schema::{Role, Schema};

/// Draws edits of the rows of a schema.
pub(super) struct Edits<'a> {
    pub(super) draw: &'a mut Draw,
    pub(super) schema: &'a Schema,
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

    fn name(&self, table: usize) -> &str {
        &self.schema.tables[table].name
    }

    /// The name of a column with this role.
    fn column(&self, table: usize, is_it: impl Fn(Role) -> bool) -> Option<(usize, String)> {
        let index = self.schema.tables[table].with(is_it).first().copied()?;
        Some((index, self.schema.tables[table].columns[index].name.clone()))
    }

    fn rows(&mut self, table: usize, most: u64) -> Vec<String> {
        let count = self.draw.within(1, most);
        (0..count).map(|_| format!("({})", self.schema.row(self.draw, table, None).join(", "))).collect()
    }

    fn insert(&mut self, table: usize) -> Statement {
        let or = self.draw.choose(&[
            "INSERT INTO",
            "INSERT INTO",
            "INSERT OR REPLACE INTO",
            "INSERT OR REPLACE INTO",
            "REPLACE INTO",
            "INSERT OR IGNORE INTO",
            "INSERT OR FAIL INTO",
        ]);
        if or.contains("REPLACE") {
            self.draw.saw("edit: insert or replace");
        }
        let head = format!("{or} {} ({}) VALUES ", self.name(table), self.schema.written(table));
        Statement { head, rows: self.rows(table, 3), tail: String::new() }
    }

    fn upsert(&mut self, table: usize) -> Statement {
        let own = &self.schema.tables[table];
        let key = own.key();
        let target: Vec<&str> = key.iter().map(|index| own.columns[*index].name.as_str()).collect();
        let target = if target.is_empty() { String::new() } else { format!("({})", target.join(", ")) };
        let update = self.draw.pick(&[
            "DO NOTHING",
            "DO UPDATE SET name = excluded.name",
            "DO UPDATE SET name = excluded.name WHERE excluded.name <> 'b'",
            "DO UPDATE SET name = name || 'x'",
        ]);
        let head = format!("INSERT INTO {} ({}) VALUES ", own.name, self.schema.written(table));
        Statement { head, rows: self.rows(table, 2), tail: format!(" ON CONFLICT {target} {update}") }
    }

    /// Which rows: mostly those with one key.
    fn which(&mut self, table: usize) -> String {
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

    fn update(&mut self, table: usize) -> Statement {
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
            let has_text = |index: &usize| kind != 3 || own.columns[*index].is_text;
            let fit: Vec<usize> = writable.iter().copied().filter(has_text).collect();
            let index = self.draw.choose(&fit);
            let column = &own.columns[index];
            let name = &column.name;
            let value = match kind {
                0 => self.schema.value(self.draw, table, index),
                1 => "NULL".to_owned(),
                2 => name.clone(),
                3 => format!("{}({name})", self.draw.pick(&["upper", "upper", "lower"])),
                4 => {
                    format!("CAST({name} AS {})", self.draw.pick(&["TEXT", "REAL", "INTEGER", "BLOB"]))
                }
                _ if column.is_text => format!("{name} || 'z'"),
                _ => format!("{name} + {}", self.draw.choose(&[1, 10])),
            };
            match column.role {
                Role::Key | Role::Slug => self.draw.saw("set: key column"),
                Role::Ref { .. } => self.draw.saw("set: join column"),
                _ => {}
            }
            sets.push(format!("{name} = {value}"));
        }
        let or = self.draw.choose(&[
            "",
            "",
            "",
            " OR REPLACE",
            " OR REPLACE",
            " OR IGNORE",
            " OR ROLLBACK",
            " OR FAIL",
        ]);
        if or == " OR REPLACE" {
            self.draw.saw("edit: update or replace");
        }
        Statement::new(format!("UPDATE{or} {} SET {}{}", own.name, sets.join(", "), self.which(table)))
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
        let between = if own.columns[index].is_text { "'between'" } else { "1000" };
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
                    (Role::Key, false) => format!("{} + 5", column.name),
                    (Role::Key | Role::Slug, true) => format!("{} || 'n'", column.name),
                    _ => column.name.clone(),
                }
            });
        let select = select.collect::<Vec<_>>().join(", ");
        let or = self.draw.pick(&["IGNORE", "REPLACE"]);
        let (name, written) = (&own.name, self.schema.written(table));
        let which = self.which(table);
        Statement::new(format!("INSERT OR {or} INTO {name} ({written}) SELECT {select} FROM {name}{which}"))
    }

    fn from(&mut self, table: usize) -> Statement {
        let Some(of) = self.schema.refs.iter().find(|of| of.child == table && of.parent != table) else {
            return self.update(table);
        };
        let (own, key) = of.pairs[0];
        let own = &self.schema.tables[table].columns[own].name;
        let key = &self.schema.tables[of.parent].columns[key].name;
        let (child, parent) = (self.name(table), self.name(of.parent));
        // Which of several rows is taken would be the database's choice.
        Statement::new(format!(
            "UPDATE {child} SET name = (SELECT max(lower(p.name)) FROM {parent} p WHERE p.{key} = {child}.{own})"
        ))
    }

    /// DDL that leaves a database on which the site's queries mostly still run.
    pub(super) fn alter(&mut self, views: &[(String, String)]) -> Vec<String> {
        let table = self.draw.below(self.schema.tables.len() as u64) as usize;
        let name = self.name(table).to_owned();
        let kinds: [(u64, &str, u8); 8] = [
            (4, "alter: column added", 0),
            (if views.is_empty() { 0 } else { 4 }, "alter: view made anew", 1),
            (4, "alter: table rebuilt", 2),
            (2, "alter: index added or dropped", 3),
            (1, "alter: table renamed and back", 4),
            (1, "alter: column renamed and back", 5),
            (2, "alter: table dropped and made anew", 6),
            (3, "alter: maintenance", 7),
        ];
        match self.draw.weighted(&kinds) {
            0 => {
                let number = self.draw.below(1000);
                vec![format!("ALTER TABLE {name} ADD COLUMN more{number} DEFAULT {number}")]
            }
            1 => {
                let (view, query) = self.draw.choose(views);
                vec![format!("DROP VIEW IF EXISTS {view}"), format!("CREATE VIEW {view} AS {query}")]
            }
            2 => self.rebuild(table),
            3 => {
                let (_, column) = self.column(table, |role| role == Role::Name).unwrap_or_default();
                let drop = format!("DROP INDEX IF EXISTS {name}_more");
                match self.draw.chance(70) {
                    true => vec![drop, format!("CREATE INDEX {name}_more ON {name} ({column})")],
                    false => vec![drop],
                }
            }
            4 => vec![
                format!("ALTER TABLE {name} RENAME TO other"),
                format!("ALTER TABLE other RENAME TO {name}"),
            ],
            5 => vec![
                format!("ALTER TABLE {name} RENAME COLUMN name TO other"),
                format!("ALTER TABLE {name} RENAME COLUMN other TO name"),
            ],
            7 => vec![
                self.draw
                    .pick(&["VACUUM", "ANALYZE", "REINDEX", "PRAGMA wal_checkpoint(TRUNCATE)"])
                    .to_owned(),
            ],
            _ => vec![
                "PRAGMA foreign_keys = OFF".to_owned(),
                format!("DROP TABLE {name}"),
                self.schema.tables[table].statement.clone(),
            ],
        }
    }

    /// The way that SQLite's own manual recommends for what ALTER TABLE cannot do.
    fn rebuild(&mut self, table: usize) -> Vec<String> {
        let Self { schema, .. } = self;
        let (name, statement) = (&schema.tables[table].name, &schema.tables[table].statement);
        let written = schema.written(table);
        let mut script = vec![
            "PRAGMA foreign_keys = OFF".to_owned(),
            "PRAGMA legacy_alter_table = ON".to_owned(),
            "BEGIN".to_owned(),
            statement.replacen(&format!("CREATE TABLE {name} "), "CREATE TABLE rebuilt ", 1),
            format!("INSERT INTO rebuilt ({written}) SELECT {written} FROM {name}"),
            format!("DROP TABLE {name}"),
            format!("ALTER TABLE rebuilt RENAME TO {name}"),
        ];
        if schema.tables[table].has_unique_slug {
            script.push(format!("CREATE UNIQUE INDEX {name}_slug ON {name} (slug)"));
        }
        if self.draw.chance(30) {
            script.push(format!("UPDATE {name} SET name = 'rebuilt'"));
        }
        script.push("COMMIT".to_owned());
        script.push("PRAGMA legacy_alter_table = OFF".to_owned());
        script
    }
}
