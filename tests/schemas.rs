//! Three schemas of other shapes, each on every database: native types and composite keys in a schema of its own
//! (booking), a table that refers to itself beside recursive views and names in quotes (wiki), partitions,
//! aggregates, windows and numbers at their limits (ledger). Their documents are committed for each database.
//!
//! `EDGEPRESS_GOLDEN=write` writes `tests/schemas/*/golden/` anew; read the difference before committing it.

use std::path::{Path, PathBuf};
use std::process::Command;

use edgepress_store::database::servers;

use crate::history::assert_whole;
use crate::support::{Files, Site, files, live, tool};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sqlite,
    Postgres,
    Mariadb,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::Mariadb => "mariadb",
        }
    }

    /// SQL with names quoted as this database does.
    fn quoted(self, text: &str) -> String {
        let names = ["order", "group", "page tree"];
        let quoted = |text: String, name| text.replace(&format!("\"{name}\""), &format!("`{name}`"));
        if self == Self::Mariadb { names.into_iter().fold(text.to_owned(), quoted) } else { text.to_owned() }
    }
}

fn folder(schema: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemas").join(schema)
}

/// A site over a new database, and the URL of that.
struct Bed {
    site: Site,
    kind: Kind,
    schema: &'static str,
    url: String,
}

impl Bed {
    fn new(schema: &'static str, kind: Kind) -> Self {
        let site = Site::empty();
        let url = match kind {
            Kind::Sqlite => format!("sqlite:{}", site.path("rows.db").display()),
            Kind::Postgres => run(async { servers::postgres().await.database().await }),
            Kind::Mariadb => run(async { servers::mariadb().await.database().await }),
        };
        let bed = Self { site, kind, schema, url };
        for name in ["schema", "rows"] {
            bed.execute(&bed.script(name));
        }
        let copied = files(&folder(schema));
        for (name, body) in copied.iter().filter(|(name, _)| !name.starts_with("golden/")) {
            bed.site.write(name, std::str::from_utf8(body).expect("fixtures are text"));
        }
        let toml = bed.site.read("site.toml");
        bed.site.write("site.toml", &kind.quoted(&toml.replace("${DATABASE_URL}", &bed.url)));
        bed
    }

    /// A script of the fixture: this database's own, or the one for all.
    fn script(&self, name: &str) -> String {
        let own = folder(self.schema).join(format!("{name}.{}.sql", self.kind.name()));
        let file = if own.exists() { own } else { folder(self.schema).join(format!("{name}.sql")) };
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
        let (_, database) = self.url.rsplit_once('/').expect("URLs have slashes");
        self.kind.quoted(&text.replace("@DATABASE@", database))
    }

    fn execute(&self, sql: &str) {
        if self.kind == Kind::Sqlite {
            tool(Command::new("sqlite3").arg("-bail").arg(self.site.path("rows.db")).arg(sql));
        } else {
            run(servers::execute(&self.url, sql)).unwrap_or_else(|error| panic!("{error}: {sql}"));
        }
    }

    /// The golden documents, written anew if asked to.
    fn golden(&self, made: &Files) -> Files {
        let folder = folder(self.schema).join("golden").join(self.kind.name());
        if std::env::var_os("EDGEPRESS_GOLDEN").is_some_and(|asked| asked == "write") {
            std::fs::remove_dir_all(&folder).ok();
            for (path, body) in made {
                let file = folder.join(&path[1..]);
                std::fs::create_dir_all(file.parent().expect("it lies in a folder")).expect("it can be made");
                std::fs::write(file, body).expect("there is room");
            }
        }
        files(&folder).into_iter().map(|(name, body)| (format!("/{name}"), body)).collect()
    }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().expect("a runtime can be made").block_on(work)
}

/// Publishes a schema's rows, then each of its edits by itself: what is live then is what a full publish makes,
/// and what was committed.
fn publish(schema: &'static str, kind: Kind) {
    let bed = Bed::new(schema, kind);
    let problems = bed.site.json("check")["problems"].take();
    let problems = problems.as_array().expect("a list");
    assert!(problems.iter().all(|problem| problem["level"] == "warning"), "{problems:?}");
    bed.site.json("publish");
    for edit in bed.script("edits").split_inclusive(";\n") {
        bed.execute(edit);
        let report = bed.site.json("publish");
        assert_eq!(report["full"], serde_json::Value::Null, "{edit}: {report}");
        assert_eq!(report["released"], true, "every edit is shown somewhere: {edit}: {report}");
        let after = live(&bed.site.bucket());
        let elsewhere = Site::within(&bed.site, "elsewhere");
        std::fs::remove_dir_all(elsewhere.folder()).ok();
        for (name, body) in
            files(bed.site.folder()).into_iter().filter(|(name, _)| !name.starts_with("bucket"))
        {
            if let Ok(text) = String::from_utf8(body) {
                elsewhere.write(&name, &text);
            }
        }
        let full = elsewhere.json("publish");
        assert_eq!(full["root"], after.root, "{edit}: {full}");
    }
    assert_whole(&bed.site);
    let made = live(&bed.site.bucket()).documents;
    let golden = bed.golden(&made);
    let shown =
        |files: &Files, path: &str| files.get(path).map(|body| String::from_utf8_lossy(body).into_owned());
    for path in golden.keys().chain(made.keys()) {
        assert_eq!(shown(&made, path), shown(&golden, path), "{schema} on {kind:?}: {path}");
    }
}

#[test]
fn schemas_on_sqlite() {
    ["booking", "wiki", "ledger"].into_iter().for_each(|schema| publish(schema, Kind::Sqlite));
}

#[test]
fn schemas_on_postgresql() {
    ["booking", "wiki", "ledger"].into_iter().for_each(|schema| publish(schema, Kind::Postgres));
}

#[test]
fn schemas_on_mariadb() {
    ["booking", "wiki", "ledger"].into_iter().for_each(|schema| publish(schema, Kind::Mariadb));
}
