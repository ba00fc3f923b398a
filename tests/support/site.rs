//! A site in a temporary folder, and the command run on it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::{BINARY, Ran, run, tool};

/// A small site: two documents for each item, and one list of them all.
pub(crate) const SITE: &str = r#"[site]
name = "Small"
url = "http://small.example"
templates = "pages"

[database]
url = "sqlite:site.db"
schema = "schema.sql"

[storage]
url = "file:bucket"

[origin]
listen = "127.0.0.1:0"
admin = "127.0.0.1:0"

[[collection]]
name = "item"
query = "SELECT id, slug, name FROM item"
  [[collection.document]]
  path = "/items/{slug}.json"
  [[collection.document]]
  path = "/items/{slug}.html"
  template = "item.html"

[[collection]]
name = "list"
  [collection.include.items]
  query = "SELECT slug, name FROM item"
  order_by = "slug"
  [[collection.document]]
  path = "/index.html"
  template = "list.html"
"#;

const ITEM: &str = "<h1>{{ name }}</h1>\n";
const LIST: &str =
    "{% for item in items %}<a href=\"/items/{{ item.slug }}.html\">{{ item.name }}</a>\n{% endfor %}";
const TABLES: &str = "CREATE TABLE item (id INTEGER PRIMARY KEY, slug, name);\n";

/// A site in a temporary folder.
pub(crate) struct Site {
    folder: PathBuf,
    /// Removes it in the end.
    _temporary: Option<TempDir>,
}

impl Site {
    /// An empty folder.
    pub(crate) fn empty() -> Self {
        let folder = tempfile::Builder::new().prefix("edgepress-test-").tempdir().expect("there is room");
        Self { folder: folder.path().to_owned(), _temporary: Some(folder) }
    }

    /// A site in a folder of another.
    pub(crate) fn within(site: &Self, name: &str) -> Self {
        Self { folder: site.path(name), _temporary: None }
    }

    /// The small site with `rows` items: `item-1`, `item-2`, ...
    pub(crate) fn small(rows: usize) -> Self {
        let site = Self::empty();
        site.write("site.toml", SITE);
        site.write("pages/item.html", ITEM);
        site.write("pages/list.html", LIST);
        let fill = format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
             INSERT INTO item SELECT i, 'item-' || i, 'Item ' || i FROM n;"
        );
        site.write("schema.sql", &format!("{TABLES}{}", if rows > 0 { &fill } else { "" }));
        site
    }

    /// The starter shop, which listens wherever there is room.
    pub(crate) fn shop() -> Self {
        let site = Self::empty();
        assert_eq!(site.run("new .").code, Some(0));
        let toml = site.read("site.toml");
        let moved =
            toml.replace("listen = \"127.0.0.1:8080\"", "listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"");
        assert_ne!(toml, moved, "the shop's [origin] is not as this expects");
        site.write("site.toml", &moved);
        site
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    pub(crate) fn bucket(&self) -> PathBuf {
        self.path("bucket")
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Writes a file, and the folders around it.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("files lie in folders")).expect("folders can be made");
        std::fs::write(path, text).unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    /// Replaces a part of a file, which must be there.
    pub(crate) fn edit(&self, name: &str, old: &str, new: &str) {
        let text = self.read(name);
        assert!(text.contains(old), "{name} does not contain {old:?}");
        self.write(name, &text.replace(old, new));
    }

    /// Runs SQL in the site's database.
    pub(crate) fn sql(&self, sql: &str) -> String {
        self.sql_file(if self.path("shop.db").exists() { "shop.db" } else { "site.db" }, sql)
    }

    /// Runs SQL in the program `sqlite3`, as a user would.
    pub(crate) fn sql_file(&self, file: &str, sql: &str) -> String {
        // A publisher may be reading.
        let output = tool(
            Command::new("sqlite3").args(["-cmd", ".timeout 20000", "-bail"]).arg(self.path(file)).arg(sql),
        );
        String::from_utf8(output.stdout).expect("what tests ask for is text")
    }

    /// Runs SQL in a database that may not be there yet.
    pub(crate) fn sql_new(&self, sql: &str) {
        self.json("check");
        self.sql(sql);
    }

    /// The command with `arguments`, separated by spaces.
    pub(crate) fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(BINARY);
        command.current_dir(self.folder()).args(arguments.split_whitespace());
        command.env_remove("DATABASE_URL").env_remove("SITE_URL").env_remove("NO_COLOR");
        command
    }

    pub(crate) fn run(&self, arguments: &str) -> Ran {
        run(&mut self.command(arguments))
    }

    /// Runs a command that succeeds, and gives what it says.
    pub(crate) fn json(&self, arguments: &str) -> Value {
        let ran = self.run(&format!("{arguments} --format json"));
        assert_eq!(ran.code, Some(0), "{arguments}: {}", ran.text());
        one_object(&ran)
    }

    /// Runs a command that fails with `code`, and gives the error.
    pub(crate) fn fails(&self, code: i32, arguments: &str) -> Value {
        let ran = self.run(&format!("{arguments} --format json"));
        assert_eq!(ran.code, Some(code), "{arguments}: {}", ran.text());
        let error = one_object(&ran)["error"].take();
        assert_eq!(error["exit_code"], code, "{error}");
        error
    }

    /// Runs a command that fails with `code`, and gives its message.
    pub(crate) fn refuses(&self, code: i32, arguments: &str) -> String {
        let error = self.fails(code, arguments);
        error["message"].as_str().expect("errors have a message").to_owned()
    }

    /// Reads everything that is stored: nothing may be missing or altered.
    pub(crate) fn verify(&self) {
        let found = self.json("verify");
        assert_eq!(found["bad"], 0, "{found}");
    }
}

/// The one JSON object on the one line of stdout.
fn one_object(ran: &Ran) -> Value {
    assert_eq!(ran.stdout.lines().count(), 1, "{}", ran.stdout);
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", ran.stdout))
}
