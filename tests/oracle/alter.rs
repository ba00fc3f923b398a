//! Random changes of a schema, and what its owner does to keep it in order.
//! Refuses edits of rows.

use edgepress_store::database::capture::Dialect;

use super::edits::Edits;
use super::schema::Role;
use super::words::bare;

impl Edits<'_> {
    /// DDL that leaves a database on which the site's queries mostly still run.
    pub(super) fn alter(&mut self, views: &[(String, String)]) -> Vec<String> {
        if self.schema.dialect != Dialect::Sqlite {
            return self.alter_server(views);
        }
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
                let drop = format!("DROP INDEX IF EXISTS {name}_more");
                match self.draw.chance(70) {
                    true => vec![drop, format!("CREATE INDEX {name}_more ON {name} (name)")],
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
            script.push(schema.unique_slug(name));
        }
        if self.draw.chance(30) {
            script.push(format!("UPDATE {name} SET name = 'rebuilt'"));
        }
        script.push("COMMIT".to_owned());
        script.push("PRAGMA legacy_alter_table = OFF".to_owned());
        script
    }

    /// As [`Edits::alter`], on a server.
    fn alter_server(&mut self, views: &[(String, String)]) -> Vec<String> {
        let table = self.draw.below(self.schema.tables.len() as u64) as usize;
        let name = self.schema.tables[table].name.clone();
        let is_mysql = self.schema.dialect == Dialect::Mysql;
        let kinds: [(u64, &str, u8); 9] = [
            (4, "alter: column added", 0),
            (if views.is_empty() { 0 } else { 4 }, "alter: view made anew", 1),
            (3, "alter: table rebuilt", 2),
            (2, "alter: index added or dropped", 3),
            (1, "alter: table renamed and back", 4),
            (1, "alter: column renamed and back", 5),
            (2, "alter: table dropped and made anew", 6),
            (3, "alter: maintenance", 7),
            (3, "alter: type of a column", 8),
        ];
        match self.draw.weighted(&kinds) {
            0 => {
                let number = self.draw.below(1000);
                vec![format!("ALTER TABLE {name} ADD COLUMN more{number} integer DEFAULT {number}")]
            }
            1 => {
                let (view, query) = self.draw.choose(views);
                match self.draw.chance(50) {
                    true => vec![format!("CREATE OR REPLACE VIEW {view} AS {query}")],
                    false => {
                        vec![format!("DROP VIEW IF EXISTS {view}"), format!("CREATE VIEW {view} AS {query}")]
                    }
                }
            }
            2 => self.rebuild_server(table),
            3 => {
                let index = format!("{}_more", bare(&name));
                let on = if is_mysql { format!(" ON {name}") } else { String::new() };
                let drop = format!("DROP INDEX IF EXISTS {index}{on}");
                match self.draw.chance(70) {
                    true => vec![drop, format!("CREATE INDEX {index} ON {name} (name)")],
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
            6 => {
                let mut script =
                    vec![format!("DROP TABLE {name}"), self.schema.tables[table].statement.clone()];
                if is_mysql {
                    script.insert(0, "SET foreign_key_checks = 0".to_owned());
                    script.push("SET foreign_key_checks = 1".to_owned());
                }
                script
            }
            7 => vec![self.maintenance(&name)],
            _ => self.retype(table),
        }
    }

    fn maintenance(&mut self, name: &str) -> String {
        let postgres =
            ["VACUUM", "VACUUM FULL @", "ANALYZE @", "REINDEX TABLE @", "CHECKPOINT", "TRUNCATE @ CASCADE"];
        let mysql =
            ["OPTIMIZE TABLE @", "ANALYZE TABLE @", "ALTER TABLE @ FORCE", "CHECK TABLE @", "TRUNCATE @"];
        let is_mysql = self.schema.dialect == Dialect::Mysql;
        self.draw.pick(if is_mysql { &mysql } else { &postgres }).replace('@', name)
    }

    /// All rows move to a new table of the same name.
    fn rebuild_server(&mut self, table: usize) -> Vec<String> {
        let schema = self.schema;
        let (name, statement) = (&schema.tables[table].name, &schema.tables[table].statement);
        let written = schema.written(table);
        let is_mysql = schema.dialect == Dialect::Mysql;
        let statement = statement.split("; ").next().unwrap_or_default();
        let mut script = vec![
            statement.replacen(&format!("CREATE TABLE {name} "), "CREATE TABLE rebuilt ", 1),
            format!("INSERT INTO rebuilt ({written}) SELECT {written} FROM {name}"),
        ];
        if is_mysql {
            script.insert(0, "SET foreign_key_checks = 0".to_owned());
            script.push(format!("RENAME TABLE {name} TO past, rebuilt TO {name}"));
            script.push("DROP TABLE past".to_owned());
        } else {
            script.insert(0, "BEGIN".to_owned());
            script.push(format!("DROP TABLE {name}"));
            script.push(format!("ALTER TABLE rebuilt RENAME TO {name}"));
        }
        if schema.tables[table].has_unique_slug {
            script.push(schema.unique_slug(name));
        }
        if self.draw.chance(30) {
            script.push(format!("UPDATE {name} SET name = 'rebuilt'"));
        }
        script.push(if is_mysql { "SET foreign_key_checks = 1" } else { "COMMIT" }.to_owned());
        script
    }

    /// Rows get other values without being edited.
    fn retype(&mut self, table: usize) -> Vec<String> {
        let own = &self.schema.tables[table];
        let name = &own.name;
        let is_mysql = self.schema.dialect == Dialect::Mysql;
        let Some(quantity) = own.find(|role| role == Role::Quantity) else {
            return vec![match is_mysql {
                true => format!("ALTER TABLE {name} MODIFY name VARCHAR(50) COLLATE utf8mb4_general_ci"),
                false => format!("ALTER TABLE {name} ALTER COLUMN name TYPE varchar(50)"),
            }];
        };
        vec![match is_mysql {
            true => format!("ALTER TABLE {name} MODIFY qty DECIMAL(12,3)"),
            false => {
                format!("ALTER TABLE {name} ALTER COLUMN qty TYPE {} USING qty * 2", quantity.ty)
            }
        }]
    }
}
