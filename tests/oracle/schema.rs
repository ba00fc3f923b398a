//! Random schemas: tables with all kinds of keys, references between them, and values for their columns.
//! Refuses to query them.

use edgepress_store::database::capture::Dialect;

use super::draw::Draw;
use super::types::{self, Kind};
use super::words::{self, bare, quoted};

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
    /// Its type, as far as a reference to it must have it.
    pub(super) ty: String,
    pub(super) kind: Kind,
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
    /// Tables that hold some of its rows.
    pub(super) parts: Vec<String>,
    /// Whether these have rows beside its own, which its key says nothing of.
    pub(super) is_inherited: bool,
}

/// Columns of `child` that name a row of `parent`.
#[derive(Debug, Clone)]
pub(super) struct Ref {
    pub(super) child: usize,
    pub(super) parent: usize,
    /// Indexes of (a column of the child, a column of the parent).
    pub(super) pairs: Vec<(usize, usize)>,
}

#[derive(Debug, Clone)]
pub(super) struct Schema {
    pub(super) dialect: Dialect,
    pub(super) tables: Vec<Table>,
    pub(super) refs: Vec<Ref>,
    /// Whether references are declared and so enforced, where the connection says so.
    pub(super) has_foreign_keys: bool,
    /// Whether all of them are checked at the end of a transaction only.
    is_deferred: bool,
}

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
        let can_defer = has_foreign_keys && draw.dialect != Dialect::Mysql;
        let is_deferred = can_defer && draw.rarely(25, "schema: deferred foreign keys");
        let dialect = draw.dialect;
        let mut schema =
            Self { dialect, tables: Vec::new(), refs: Vec::new(), has_foreign_keys, is_deferred };
        for number in 0..draw.within(2, 4) as usize {
            schema.add(draw, number);
        }
        schema
    }

    fn add(&mut self, draw: &mut Draw, number: usize) {
        let is_sqlite = self.dialect == Dialect::Sqlite;
        let name = match !is_sqlite && draw.rarely(12, "schema: table's name in another case") {
            true => quoted(self.dialect, &format!("T{number}")),
            false => format!("t{number}"),
        };
        let mut table = Table {
            name,
            columns: if is_sqlite { key(draw) } else { types::key(draw) },
            has_unique_slug: false,
            statement: String::new(),
            parts: Vec::new(),
            is_inherited: false,
        };
        if table.columns.is_empty() || draw.chance(50) {
            let is_nocase = draw.rarely(25, "schema: slug NOCASE");
            table.has_unique_slug = draw.chance(85);
            table.columns.push(match is_sqlite {
                true => column("slug", Role::Slug, "TEXT", is_nocase, true),
                false => types::text(draw, "slug", Role::Slug, is_nocase),
            });
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
        if is_sqlite {
            values(draw, table);
        } else {
            types::values(draw, table);
        }
        let part = |column: &Column| match column.role {
            // Queries name it in lower case.
            Role::Quantity if draw.rarely(15, "schema: name in another case") => {
                format!("Qty {}", column.declared)
            }
            _ => format!("{} {}", column.name, column.declared),
        };
        let mut parts: Vec<String> = table.columns.iter().map(part).collect();
        if draw.rarely(10, "schema: name with quotes") {
            parts.push(match self.dialect {
                Dialect::Sqlite => "\"odd \"\"one\"\"\" DEFAULT 7".to_owned(),
                Dialect::Postgres => "\"odd \"\"one\"\"\" integer DEFAULT 7".to_owned(),
                Dialect::Mysql => "`odd \"``one\"` INT DEFAULT 7".to_owned(),
            });
        }
        let key: Vec<&str> = table.key().into_iter().map(|index| &*table.columns[index].name).collect();
        if key.len() > 1 {
            parts.push(format!("PRIMARY KEY ({})", key.join(", ")));
        }
        parts.extend(clauses);
        if is_sqlite {
            let rowid = without_rowid(draw, table);
            table.statement = format!("CREATE TABLE {} ({}){rowid}", table.name, parts.join(", "));
        } else {
            table.statement = format!("CREATE TABLE {} ({})", table.name, parts.join(", "));
            self.parts(draw, number);
        }
    }

    /// Lets other tables hold some of a table's rows.
    fn parts(&mut self, draw: &mut Draw, number: usize) {
        let table = &mut self.tables[number];
        let Some(key) = table.key().first().map(|index| table.columns[*index].clone()) else { return };
        let is_counted = key.declared.contains("IDENTITY");
        if self.dialect == Dialect::Mysql {
            if key.kind == Kind::Integer && !self.has_foreign_keys && draw.rarely(6, "schema: partitions") {
                table.has_unique_slug = false;
                table.statement.push_str(&format!(" PARTITION BY HASH ({}) PARTITIONS 2", key.name));
            }
            return;
        }
        let name = format!("{}_part", bare(&table.name).to_lowercase());
        let has_nocase = table.columns.iter().any(|column| column.is_nocase);
        if !is_counted && draw.rarely(6, "schema: partitions") {
            table.has_unique_slug = false;
            table.statement.push_str(&format!(" PARTITION BY HASH ({})", key.name));
            for part in 0..2 {
                table.statement.push_str(&format!(
                    "; CREATE TABLE {name}{part} PARTITION OF {} FOR VALUES WITH (MODULUS 2, REMAINDER {part})",
                    table.name
                ));
                table.parts.push(format!("{name}{part}"));
            }
        } else if !has_nocase && !self.has_foreign_keys && draw.rarely(6, "schema: inheritance") {
            table.is_inherited = true;
            let own = &table.name;
            table.statement.push_str(&format!("; CREATE TABLE {name} (extra integer) INHERITS ({own})"));
            table.parts.push(name);
        }
    }

    /// Gives `child` the columns of a reference to `parent`.
    fn reference(&mut self, draw: &mut Draw, child: usize, parent: usize, clauses: &mut Vec<String>) {
        let key = self.tables[parent].key();
        let mut pairs = Vec::new();
        for (part, index) in key.iter().copied().enumerate() {
            let target = &self.tables[parent].columns[index];
            let name = match (parent == child, part) {
                (true, part) => format!("p{part}"),
                (false, part) => format!("r{parent}_{part}"),
            };
            let role = Role::Ref { table: parent, part };
            pairs.push((self.tables[child].columns.len(), index));
            let column = match self.dialect {
                Dialect::Sqlite => {
                    let declared = if target.is_text { "TEXT" } else { "INTEGER" };
                    // A reference may be compared by another collation than the key it names.
                    let is_nocase = target.is_text && draw.rarely(20, "schema: reference NOCASE");
                    column(&name, role, declared, is_nocase, true)
                }
                _ => types::reference(draw, &name, role, target, self.has_foreign_keys),
            };
            self.tables[child].columns.push(column);
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
            let parent = &self.tables[parent].name;
            clauses.push(format!("FOREIGN KEY ({own}) REFERENCES {parent} ({key}){action}{deferred}"));
        }
        self.refs.push(Ref { child, parent, pairs });
    }

    /// Indexes, and a trigger of the owner's.
    pub(super) fn extras(&self, draw: &mut Draw) -> Vec<String> {
        let mut extras = Vec::new();
        for Table { name, has_unique_slug, columns, .. } in &self.tables {
            if *has_unique_slug {
                extras.push(self.unique_slug(name));
            }
            for column in columns {
                if matches!(column.role, Role::Ref { .. }) && draw.rarely(50, "schema: index on a reference")
                {
                    let column = &column.name;
                    extras.push(format!("CREATE INDEX {}_{column} ON {name} ({column})", bare(name)));
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
            let update =
                format!("UPDATE {} SET qty = coalesce(qty, 0) + 1 WHERE {own} = NEW.{key}", child.name);
            let when = format!("CREATE TRIGGER touch AFTER UPDATE ON {}", parent.name);
            match self.dialect {
                Dialect::Sqlite => extras.push(format!("{when} BEGIN {update}; END")),
                Dialect::Mysql => extras.push(format!("{when} FOR EACH ROW {update}")),
                Dialect::Postgres => {
                    extras.push(format!(
                        "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS \
                         $$ BEGIN {update}; RETURN NULL; END $$"
                    ));
                    extras.push(format!("{when} FOR EACH ROW EXECUTE FUNCTION touch()"));
                }
            }
        }
        extras
    }

    /// What lets no two rows of `table` have the same slug.
    pub(super) fn unique_slug(&self, table: &str) -> String {
        format!("CREATE UNIQUE INDEX {}_slug ON {table} (slug)", bare(table))
    }

    /// Statements that tables may lean on.
    pub(super) fn before(&self) -> Vec<String> {
        let uses = |ty: &str| self.tables.iter().any(|table| table.statement.contains(ty));
        let mut before = Vec::new();
        if uses(" citext") {
            before.push("CREATE EXTENSION citext".to_owned());
        }
        if uses("COLLATE ci") {
            let options = "provider = icu, locale = 'und-u-ks-level2', deterministic = false";
            before.push(format!("CREATE COLLATION ci ({options})"));
        }
        before
    }

    /// That a row of `child` refers to one of `parent`: the condition for one pair of columns.
    pub(super) fn pair(&self, of: &Ref, pair: (usize, usize), child: &str, parent: &str) -> String {
        let (own, key) = (&self.tables[of.child].columns[pair.0], &self.tables[of.parent].columns[pair.1]);
        words::equal(self.dialect, (child, own), (parent, key))
    }

    /// That a row of `child`, an alias, refers to one of `parent`.
    pub(super) fn pairs(&self, of: &Ref, child: &str, parent: &str) -> String {
        let pair = |pair: &(usize, usize)| self.pair(of, *pair, child, parent);
        of.pairs.iter().map(pair).collect::<Vec<_>>().join(" AND ")
    }
}

/// How a table is declared that has no row numbers of its own; nothing if it has.
fn without_rowid(draw: &mut Draw, table: &mut Table) -> &'static str {
    let key = table.key();
    let is_autoincrement = table.columns[0].declared.contains("AUTOINCREMENT");
    if key.is_empty() || is_autoincrement || !draw.rarely(25, "schema: WITHOUT ROWID") {
        return "";
    }
    key.into_iter().for_each(|index| table.columns[index].is_nullable = false);
    " WITHOUT ROWID"
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
    let is_text = declared.starts_with("TEXT");
    Column {
        name: name.to_owned(),
        role,
        declared: format!("{declared}{collate}"),
        ty: declared.to_owned(),
        kind: if is_text { Kind::Text } else { Kind::Integer },
        is_text,
        is_nocase,
        is_nullable,
    }
}
