//! Schemas and definitions that change: what they touch is made anew, and no more. Counted as `rendered`, on every
//! database.

use std::process::Command;

use edgepress_store::database::servers::{self, Server};
use serde_json::Value;

use crate::support::{Site, tool};

/// A document for each of five rows, and one list of them.
const ITEMS: &str = r#"
[[collection]]
name = "item"
query = "SELECT id, slug, name FROM item"
  [[collection.document]]
  path = "/items/{slug}.json"
[[collection]]
name = "list"
  [collection.include.items]
  query = "SELECT slug, name FROM item"
  order_by = "slug"
  [[collection.document]]
  path = "/index.json"
"#;

const ROWS: u64 = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sqlite,
    Postgres,
    Mariadb,
}

const KINDS: [Kind; 3] = [Kind::Sqlite, Kind::Postgres, Kind::Mariadb];

/// A site over a new database.
struct Bed {
    site: Site,
    url: String,
    runtime: tokio::runtime::Runtime,
    /// One of its own: what others alter on a server counts there.
    _server: Option<Server>,
}

impl Bed {
    /// With all of it published.
    fn new(kind: Kind) -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
        let site = Site::empty();
        let (url, server) = runtime.block_on(async {
            match kind {
                Kind::Sqlite => (format!("sqlite:{}", site.path("site.db").display()), None),
                Kind::Postgres => (servers::postgres().await.database().await, None),
                Kind::Mariadb => {
                    let (server, _) = servers::mariadb_with_tls().await;
                    (server.database().await, Some(server))
                }
            }
        });
        let bed = Self { site, url, runtime, _server: server };
        bed.site.write("pages/none.html", "");
        bed.define(ITEMS);
        bed.execute(
            "CREATE TABLE item (id INTEGER PRIMARY KEY, slug VARCHAR(9), unread INTEGER, name VARCHAR(9), extra INTEGER);
             INSERT INTO item VALUES (1, 'a', 1, 'A', 10), (2, 'b', 2, 'B', 20), (3, 'c', 3, 'C', 30),
             (4, 'd', 4, 'D', 40), (5, 'e', 5, 'E', 50)",
        );
        assert_eq!(bed.publish()["rendered"], ROWS + 1);
        assert_eq!(bed.publish()["rendered"], 0);
        bed
    }

    fn define(&self, collections: &str) {
        let head = "[site]\nname = \"Items\"\nurl = \"http://items.example\"\ntemplates = \"pages\"\n";
        let storage = "[storage]\nurl = \"file:bucket\"\nobjects = false\n[publish]\nguard = 1.0\n";
        let database = format!("[database]\nurl = \"{}\"\n", self.url);
        self.site.write("site.toml", &format!("{head}{database}{storage}{collections}"));
    }

    fn execute(&self, sql: &str) {
        if self.url.starts_with("sqlite:") {
            tool(Command::new("sqlite3").arg("-bail").arg(self.site.path("site.db")).arg(sql));
        } else {
            let done = self.runtime.block_on(servers::execute(&self.url, sql));
            done.unwrap_or_else(|error| panic!("{error}: {sql}"));
        }
    }

    /// Publishes what changed. It is what a full publish of the same rows makes.
    fn publish(&self) -> Value {
        let report = self.site.json("publish");
        let elsewhere = Site::within(&self.site, "elsewhere");
        std::fs::remove_dir_all(elsewhere.folder()).ok();
        elsewhere.write("pages/none.html", "");
        elsewhere.write("site.toml", &self.site.read("site.toml"));
        // By a dry run it would not be known here: it publishes under another name.
        assert_eq!(elsewhere.json("publish --yes")["root"], report["root"], "{report}");
        report
    }

    /// Runs statements; how many documents are rendered then.
    fn rendered(&self, sql: &str) -> u64 {
        self.execute(sql);
        let report = self.publish();
        assert_eq!(report["full"], Value::Null, "{sql}: {report}");
        report["rendered"].as_u64().expect("it is a number")
    }
}

#[test]
fn what_no_query_reads_may_be_altered() {
    for kind in KINDS {
        let bed = Bed::new(kind);
        // MariaDB says of a table only that columns were added or dropped.
        let columns = if kind == Kind::Mariadb { ROWS + 1 } else { 0 };
        let drop = |index: &str| match kind {
            Kind::Mariadb => format!("DROP INDEX {index} ON item"),
            _ => format!("DROP INDEX {index}"),
        };
        for (ddl, rendered) in [
            ("ALTER TABLE item ADD COLUMN more INTEGER DEFAULT 1".to_owned(), columns),
            ("ALTER TABLE item RENAME COLUMN unread TO other".to_owned(), 0),
            ("ALTER TABLE item DROP COLUMN other".to_owned(), columns),
            ("CREATE INDEX named ON item (name)".to_owned(), 0),
            (drop("named"), 0),
            ("CREATE UNIQUE INDEX one ON item (slug)".to_owned(), 0),
            (drop("one"), 0),
            ("CREATE TABLE another (id INTEGER PRIMARY KEY)".to_owned(), 0),
            ("UPDATE item SET name = 'x' WHERE id = 1".to_owned(), 2),
            ("CREATE INDEX named ON item (name); UPDATE item SET name = 'y' WHERE id = 1".to_owned(), 2),
        ] {
            assert_eq!(bed.rendered(&ddl), rendered, "{kind:?}: {ddl}");
        }
        if kind == Kind::Sqlite {
            assert_eq!(bed.rendered("VACUUM"), 0);
        }
    }
}

#[test]
fn what_a_query_reads_is_made_anew_when_it_is_altered() {
    for kind in KINDS {
        let bed = Bed::new(kind);
        let every = "[[collection]]\nname = \"every\"\nquery = \"SELECT * FROM item\"\n\
                     [[collection.document]]\npath = \"/every/{id}.json\"\n";
        bed.define(&format!("{ITEMS}{every}"));
        assert_eq!(bed.publish()["rendered"], ROWS, "{kind:?}: only the collection that is new");
        let all = if kind == Kind::Mariadb { 2 * ROWS + 1 } else { ROWS };
        assert_eq!(bed.rendered("ALTER TABLE item ADD COLUMN more INTEGER DEFAULT 7"), all, "{kind:?}");
        // Whoever records edits knows a captured column by its name: the table is captured anew.
        assert_eq!(bed.rendered("ALTER TABLE item RENAME COLUMN more TO most"), 2 * ROWS + 1, "{kind:?}");
        assert_eq!(bed.rendered("UPDATE item SET most = 8 WHERE id = 2"), 1, "{kind:?}");
        // Another column under the name of one that is read.
        bed.define(ITEMS);
        bed.publish();
        let same = if kind == Kind::Postgres { "varchar(9)" } else { "VARCHAR(9)" };
        let swap =
            "ALTER TABLE item RENAME COLUMN name TO past; ALTER TABLE item RENAME COLUMN label TO name";
        assert!(
            bed.rendered(&format!("ALTER TABLE item ADD COLUMN label {same} DEFAULT 'L'; {swap}")) > ROWS
        );
    }
}

#[test]
fn a_definition_that_reads_more_of_a_table_makes_no_other_collection_anew() {
    for kind in KINDS {
        let bed = Bed::new(kind);
        let priced = "[[collection]]\nname = \"priced\"\nquery = \"SELECT id, extra FROM item\"\n\
                      [[collection.document]]\npath = \"/priced/{id}.json\"\n";
        bed.define(&format!("{ITEMS}{priced}"));
        // A row that was edited meanwhile is seen all the same.
        assert_eq!(bed.rendered("UPDATE item SET name = 'x' WHERE id = 1"), ROWS + 2, "{kind:?}");
        assert_eq!(bed.rendered("UPDATE item SET extra = 11 WHERE id = 1"), 1, "{kind:?}");
        bed.define(&format!("{ITEMS}{}", priced.replace("id, extra", "id, extra, unread")));
        assert_eq!(bed.publish()["rendered"], ROWS, "{kind:?}: a column came");
        assert_eq!(bed.rendered("UPDATE item SET unread = 12 WHERE id = 2"), 1, "{kind:?}");
        bed.define(ITEMS);
        assert_eq!(bed.publish()["rendered"], 0, "{kind:?}: a collection went");
        assert_eq!(bed.rendered("UPDATE item SET extra = 13 WHERE id = 3"), 0, "{kind:?}");
        bed.define(&format!("{ITEMS}{priced}"));
        assert_eq!(bed.rendered("UPDATE item SET slug = 'z' WHERE id = 5"), ROWS + 2, "{kind:?}");
    }
}

/// SQLite tells nobody of a row that REPLACE removes, and the triggers did not know of the key yet.
#[test]
fn rows_that_a_new_key_of_sqlites_removed_are_gone() {
    let gone = "REPLACE INTO item (id, slug, name) VALUES (9, 'b', 'N'); DROP INDEX one";
    for (index, edit) in [
        ("slug", gone),
        ("slug", "REPLACE INTO item (id, slug, name) VALUES (9, 'b', 'N')"),
        ("extra", "UPDATE OR REPLACE item SET extra = 20 WHERE id = 1"),
        ("lower(name)", "INSERT OR REPLACE INTO item VALUES (9, 'n', 0, 'b', 0)"),
    ] {
        let bed = Bed::new(Kind::Sqlite);
        let report_all = bed.rendered(&format!("CREATE UNIQUE INDEX one ON item ({index}); {edit}"));
        assert_eq!(
            report_all,
            bed.site.json("publish --dry-run")["documents"].as_u64().expect("a number"),
            "{edit}"
        );
    }
}
