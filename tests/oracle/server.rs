//! Random edits that SQLite has no way to say: by two tables at once, by the name of a part, by no rows.
//! Refuses what changes a schema.

use edgepress_store::database::capture::Dialect;

use super::case::Statement;
use super::edits::Edits;
use super::rows::BEYOND;
use super::schema::{Ref, Role};

/// Edits of `@c`, whose rows refer to those of `@p` where `@=`.
const POSTGRES: [&str; 4] = [
    "UPDATE @c c SET name = p.name FROM @p p WHERE @=",
    "DELETE FROM @c c USING @p p WHERE @= AND p.name = 'a'",
    "MERGE INTO @c c USING @p p ON @= WHEN MATCHED AND p.name = 'b' THEN DELETE \
     WHEN MATCHED THEN UPDATE SET name = 'merged'",
    "WITH gone AS (DELETE FROM @c c USING @p p WHERE @= AND p.name <> 'a' RETURNING c.*) \
     UPDATE @p SET name = 'gone' WHERE EXISTS (SELECT 1 FROM gone)",
];

const MYSQL: [&str; 4] = [
    "UPDATE @c c JOIN @p p ON @= SET c.name = p.name",
    "UPDATE @c c JOIN @p p ON @= SET c.name = 'j', p.name = 'k'",
    "DELETE c FROM @c c JOIN @p p ON @= WHERE p.name = 'a'",
    "DELETE c, p FROM @c c JOIN @p p ON @= WHERE p.name = 'b'",
];

impl Edits<'_> {
    /// One of them.
    pub(super) fn server(&mut self, table: usize, to: &mut Vec<Statement>) {
        let is_postgres = self.schema.dialect == Dialect::Postgres;
        let name = self.name(table).to_owned();
        let parts = &self.schema.tables[table].parts;
        let part = if parts.is_empty() { None } else { Some(self.draw.choose(parts)) };
        if let Some(part) = &part
            && self.draw.chance(70)
        {
            return self.part(table, part, to);
        }
        if !self.is_shared && self.draw.rarely(40, "edit: truncate") {
            let cascade = if is_postgres && self.draw.chance(30) { " CASCADE" } else { "" };
            let name = part.unwrap_or(name);
            return to.push(Statement::new(format!("TRUNCATE TABLE {name}{cascade}")));
        }
        let is_single = |of: &&Ref| of.child == table && of.parent != table && of.pairs.len() == 1;
        let Some(of) = self.schema.refs.iter().find(is_single) else { return to.push(self.update(table)) };
        self.draw.saw("edit: two tables joined");
        let statement = self.draw.pick(if is_postgres { &POSTGRES } else { &MYSQL });
        let (pair, parent) = (self.schema.pair(of, of.pairs[0], "c", "p"), self.name(of.parent));
        let statement = statement.replace("@c", &name).replace("@p", parent).replace("@=", &pair);
        to.push(Statement::new(statement));
    }

    /// Rows of a table that are written by the name of the table that holds them.
    fn part(&mut self, table: usize, part: &str, to: &mut Vec<Statement>) {
        self.draw.saw("edit: part of a table");
        let own = &self.schema.tables[table];
        let number = self.draw.below(4) + if own.is_inherited { BEYOND } else { 0 };
        let row = self.schema.row(self.draw, table, Some(number));
        let which = self.which(table);
        let last = match self.draw.below(4) {
            0 => format!("DELETE FROM {part}{which}"),
            1 => format!("UPDATE {part} SET name = 'part'{which}"),
            _ => {
                // There is no key that keeps it from coming twice.
                let key = own.ident()[0];
                let written = own.with(|role| role != Role::Generated);
                let place = written.iter().position(|index| *index == key).unwrap_or_default();
                let key = &own.columns[key].name;
                to.push(Statement::new(format!("DELETE FROM {part} WHERE {key} = {}", row[place])));
                format!("INSERT INTO {part} ({}) VALUES ({})", self.schema.written(table), row.join(", "))
            }
        };
        to.push(Statement::new(last));
    }
}
