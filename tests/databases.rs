//! A site over a database that was there first: made by `new --from`, published, edited, served.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use edgepress_publisher::progress::Progress;
use edgepress_publisher::{Options, Prepared, Publisher, Session, Source};
use edgepress_store::bucket::Memory;
use edgepress_store::database::{self, servers};
use edgepress_store::release::Releases;

use crate::history::assert_whole;
use crate::support::{Running, Site, live, tool};

/// A shop that others designed: names that need quotes, composite keys, a table that names itself. `"` quotes
/// names.
const FOREIGN: &str = r#"
    CREATE TABLE customer (id INTEGER PRIMARY KEY, "Full Name" VARCHAR(40), email VARCHAR(40));
    CREATE TABLE product (sku VARCHAR(20) PRIMARY KEY, name VARCHAR(40) NOT NULL, price DECIMAL(10,2),
        related VARCHAR(20), FOREIGN KEY (related) REFERENCES product (sku));
    CREATE TABLE "order" (id INTEGER PRIMARY KEY, customer_id INTEGER, site VARCHAR(10), "select" INTEGER,
        FOREIGN KEY (customer_id) REFERENCES customer (id));
    CREATE TABLE line (order_id INTEGER NOT NULL, no INTEGER NOT NULL, sku VARCHAR(20), qty INTEGER,
        PRIMARY KEY (order_id, no), FOREIGN KEY (order_id) REFERENCES "order" (id),
        FOREIGN KEY (sku) REFERENCES product (sku));
    CREATE TABLE log (what VARCHAR(20));
    INSERT INTO customer VALUES (1, 'Ann & Bob', 'a@b'), (2, 'Cy', NULL);
    INSERT INTO product VALUES ('a-1', 'Shelf <b>', 12.50, NULL), ('B 2', 'Chair', 30, 'a-1');
    INSERT INTO "order" VALUES (10, 1, 'x', 1), (11, NULL, 'y', NULL);
    INSERT INTO line VALUES (10, 1, 'B 2', 3), (10, 2, 'a-1', 1);
"#;

/// What every database does with that shop. `execute` runs SQL in it.
fn foreign(site: &Site, url: &str, execute: &dyn Fn(&str)) {
    execute(FOREIGN);
    let written = site.json(&format!("new shop --from {url}"));
    assert_eq!(written["site"]["collections"], serde_json::json!(["customer", "line", "order", "product"]));
    assert!(written["site"]["skipped"]["log"].as_str().is_some_and(|why| why.contains("no primary key")));
    assert!(site.run(&format!("new shop --from {url}")).text().contains("not empty"));
    let toml =
        site.read("shop/site.toml").replace("127.0.0.1:8080\"\n", "127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n");
    site.write("shop/site.toml", &toml);
    let shop = Site::within(site, "shop");

    let problems = shop.json("check")["problems"].take();
    let problems = problems.as_array().expect("a list");
    assert!(problems.iter().all(|problem| problem["level"] == "warning"), "{problems:?}");
    assert_eq!(shop.json("publish")["documents"], 2 * 8 + 4 + 1 + 1);
    assert_whole(&shop);
    let first = live(&shop.bucket()).documents;
    let page = String::from_utf8_lossy(&first["/order/10.html"]).into_owned();
    for shown in
        ["<dt>select</dt><dd>1</dd>", "<a href=\"/customer/1.html\">Ann &amp; Bob</a>", "/line/10/1.html"]
    {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    assert!(String::from_utf8_lossy(&first["/product/index.html"]).contains("/product/B%202.html"));

    execute("UPDATE customer SET \"Full Name\" = 'Ann' WHERE id = 1");
    let report = shop.json("publish");
    assert_eq!((&report["full"], &report["whole"]), (&serde_json::Value::Null, &serde_json::Value::Null));
    let after = live(&shop.bucket()).documents;
    let changed: Vec<&str> = after
        .iter()
        .filter(|(path, body)| first.get(*path) != Some(*body))
        .map(|(path, _)| path.as_str())
        .collect();
    let touched =
        ["/customer/1.html", "/customer/1.json", "/customer/index.html", "/order/10.html", "/order/10.json"];
    assert_eq!(changed, touched, "the row, what names it, and the list");
    assert_whole(&shop);

    let running = Running::start_loaded(&shop);
    assert!(running.body("/customer/1.html").contains("<h1>Ann</h1>"));
    assert_eq!(running.client().get("/order/").status, 200);
}

/// The starter shop's tables and rows in SQL that every database understands.
fn shop_script(site: &Site) -> String {
    let schema = site.read("schema.sql");
    let statements = schema.split(';').map(str::trim).map(|statement| {
        let lines = statement.lines().map(|line| line.split("--").next().unwrap_or_default());
        lines.collect::<Vec<_>>().join("\n").trim().to_owned()
    });
    let made = statements.filter(|statement| statement.starts_with("CREATE "));
    let mut script: Vec<String> =
        made.map(|made| made.replace(" TEXT", " VARCHAR(700)").replace(" WITHOUT ROWID", "")).collect();
    let tables = "category brand flash_sale product variant promotion product_promotion setting";
    for table in tables.split(' ') {
        let rows = site.sql(&format!(".dump --data-only {table}"));
        script.extend(
            rows.lines()
                .filter(|line| line.starts_with("INSERT"))
                .map(|line| line.trim_end_matches(';').to_owned()),
        );
    }
    script.join(";\n")
}

/// Equal rows give equal documents, whatever database they lie in, to the last byte: one root.
#[test]
fn the_starter_shop_is_the_same_on_every_database() {
    let edit = "UPDATE product SET price_cents = 4242 WHERE id = 7; UPDATE brand SET place = 'Ö' WHERE id = 3; \
                UPDATE flash_sale SET percent = 40 WHERE is_open = 1; DELETE FROM variant WHERE product_id = 9";
    let sqlite = Site::shop();
    let mut roots = vec![sqlite.json("publish")["root"].clone()];
    let script = shop_script(&sqlite);
    sqlite.sql(edit);
    roots.push(sqlite.json("publish")["root"].clone());
    assert_ne!(roots[0], roots[1]);
    for is_postgres in [true, false] {
        let (url, execute) = served(is_postgres);
        execute(&script);
        let site = Site::shop();
        let mut toml = site.read("site.toml").replace("${DATABASE_URL:-sqlite:shop.db}", &url);
        if !is_postgres {
            // Its `/` and `sum` give decimals.
            toml = toml.replace("/ 1000 * 10", "DIV 1000 * 10");
            toml = toml.replace("sum(v.stock)", "CAST(sum(v.stock) AS SIGNED)");
        }
        site.write("site.toml", &toml);
        assert_eq!(site.json("check")["problems"], serde_json::json!([]));
        assert_eq!(site.json("publish")["root"], roots[0], "{url}");
        execute(edit);
        let report = site.json("publish");
        assert_eq!(
            (&report["root"], &report["full"]),
            (&roots[1], &serde_json::Value::Null),
            "{url}: {report}"
        );
        assert!(report["rendered"].as_u64() < report["documents"].as_u64(), "{report}");
        assert_whole(&site);
    }
}

#[test]
fn a_site_over_a_foreign_sqlite_file() {
    let site = Site::empty();
    let execute = |sql: &str| drop(tool(Command::new("sqlite3").arg(site.path("foreign.db")).arg(sql)));
    foreign(&site, "sqlite:foreign.db", &execute);
}

/// A server's new database, and how SQL is run in it.
fn served(is_postgres: bool) -> (String, impl Fn(&str)) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    let url = runtime.block_on(async {
        match is_postgres {
            true => servers::postgres().await.database().await,
            false => servers::mariadb().await.database().await,
        }
    });
    let at = url.clone();
    let execute = move |sql: &str| {
        let sql = if is_postgres { sql.to_owned() } else { sql.replace('"', "`") };
        runtime.block_on(servers::execute(&at, &sql)).unwrap_or_else(|error| panic!("{error}: {sql:.200}"));
    };
    (url, execute)
}

#[test]
fn a_site_over_a_foreign_postgresql_database() {
    let (url, execute) = served(true);
    foreign(&Site::empty(), &url, &execute);
}

#[test]
fn a_site_over_a_foreign_mariadb_database() {
    let (url, execute) = served(false);
    foreign(&Site::empty(), &url, &execute);
}

/// Keys that no path takes: of `page`, which has no other; of `item`, which has.
const ODD_KEYS: &str = "
    CREATE TABLE page (url VARCHAR(400) PRIMARY KEY, title VARCHAR(40));
    CREATE TABLE item (code VARCHAR(40) PRIMARY KEY, no INTEGER NOT NULL UNIQUE, page VARCHAR(400),
        FOREIGN KEY (page) REFERENCES page (url));
    CREATE TABLE tag (page VARCHAR(400) NOT NULL, tag VARCHAR(40) NOT NULL, PRIMARY KEY (page, tag),
        FOREIGN KEY (page) REFERENCES page (url));
    CREATE TABLE plain (slug VARCHAR(40) PRIMARY KEY);
    INSERT INTO page VALUES ('a/b', 'slash'), ('', 'empty'), ('..', 'dots'), ('index', 'list');
    INSERT INTO item VALUES ('1/2', 1, 'a/b'), ('3', 2, '');
    INSERT INTO tag VALUES ('a/b', 'x'), ('', 'y');
    INSERT INTO plain VALUES ('a-b')";

#[test]
fn a_first_site_is_published_whatever_the_keys_are() {
    let sqlite = Site::empty();
    let at = sqlite.path("odd.db");
    let execute = |sql: &str| drop(tool(Command::new("sqlite3").arg(&at).arg(sql)));
    odd_keys(&format!("sqlite:{}", at.display()), "'e' || char(10) || 'd'", &execute);
    let (url, execute) = served(true);
    odd_keys(&url, "'e' || chr(10) || repeat('d', 250)", &execute);
    let (url, execute) = served(false);
    odd_keys(&url, "concat('e', char(10), repeat('d', 250))", &execute);
}

fn odd_keys(url: &str, odd: &str, execute: &dyn Fn(&str)) {
    execute(ODD_KEYS);
    execute(&format!("INSERT INTO page VALUES ({odd}, 'odd')"));
    let site = Site::empty();
    let written = site.json(&format!("new shop --from {url}"));
    assert_eq!(written["site"]["skipped"], serde_json::json!({}));
    let shop = Site::within(&site, "shop");
    let toml = shop.read("site.toml");
    for told in [
        "# paths show `url_path`, made of the key `url`: `url` of a row is ",
        "# paths show `no` in place of the key `code`: `code` of a row is \"1/2\", which cannot be a part of its path",
        "path = \"/plain/{slug}.html\"",
    ] {
        assert!(toml.contains(told), "{told}: {toml}");
    }
    let checked = shop.json("check");
    let places = checked["impact"].as_array().expect("a list");
    assert!(
        places
            .iter()
            .filter(|place| place["table"] == "page")
            .all(|place| place["is_precise"] == true || place["collection"] == "page-list"),
        "{checked}"
    );
    assert_eq!(shop.json("publish")["documents"], 2 * (5 + 2 + 2 + 1) + 4 + 1 + 1);
    let page = live(&shop.bucket()).documents["/item/1.html"].clone();
    assert!(String::from_utf8_lossy(&page).contains(".html\">slash</a>"), "it links to its page");
    execute("UPDATE page SET title = 'other' WHERE url = 'a/b'");
    let report = shop.json("publish");
    assert_eq!((&report["full"], &report["whole"]), (&serde_json::Value::Null, &serde_json::Value::Null));
    assert_whole(&shop);
}

#[test]
fn a_table_that_cannot_be_shown_is_left_out_with_the_reason() {
    for is_postgres in [true, false] {
        let (url, execute) = served(is_postgres);
        let (_, name) = url.rsplit_once('/').expect("it has a database");
        execute(
            "CREATE TABLE secret (id INTEGER PRIMARY KEY, v INTEGER);
             CREATE TABLE shown (id INTEGER PRIMARY KEY, v INTEGER); INSERT INTO shown VALUES (1, 1)",
        );
        let (grant, own) = match is_postgres {
            true => (
                format!(
                    "CREATE ROLE few_{name} LOGIN; GRANT INSERT ON secret TO few_{name}; \
                GRANT CREATE ON DATABASE {name} TO few_{name}; GRANT SELECT, TRIGGER ON shown TO few_{name}"
                ),
                "edgepress@",
            ),
            false => (
                format!(
                    "CREATE USER few_{name}; GRANT INSERT ON secret TO few_{name}; \
                GRANT SELECT ON shown TO few_{name}"
                ),
                "root@",
            ),
        };
        execute(&grant);
        let site = Site::empty();
        let written = site.json(&format!("new shop --from {}", url.replace(own, &format!("few_{name}@"))));
        assert_eq!(written["site"]["collections"], serde_json::json!(["shown"]));
        let why = written["site"]["skipped"]["secret"].as_str().expect("it is left out");
        assert!(why.starts_with("it cannot be read: ") && why.contains("denied"), "{why}");
        assert!(why.ends_with("; GRANT SELECT on it to this user"), "{why}");
        assert!(site.read("shop/site.toml").contains(&format!("#   secret: {why}\n")));
    }
}

#[test]
fn a_database_that_cannot_be_read_leaves_no_folder() {
    let site = Site::empty();
    for (url, message) in [
        ("sqlite:nothing.db", "no database at"),
        ("oracle://host/x", "its kind is not known: write sqlite:, postgres:// or mysql://"),
    ] {
        let error = site.refuses(1, &format!("new shop --from {url}"));
        assert!(error.contains(message), "{error}");
        assert!(!Path::new(&site.path("shop")).exists());
    }
    site.sql_file("empty.db", "CREATE TABLE log (what)");
    let error = site.refuses(1, "new shop --from sqlite:empty.db");
    assert!(error.contains("no table of the database can be shown\n  log: it has no primary key"), "{error}");
}

/// A site of items, each with a maker and with parts that have a maker of their own.
const INCLUDED: &str = r#"
[[collection]]
name = "item"
query = "SELECT id, name, maker_id FROM item"
  [collection.include.maker]
  query = "SELECT id, name FROM maker"
  on = { id = "maker_id" }
  one = true
  [collection.include.parts]
  query = "SELECT item_id, no, maker_id FROM part"
  on = { item_id = "id" }
  order_by = "no"
    [collection.include.parts.include.maker]
    query = "SELECT id, name FROM maker"
    on = { id = "maker_id" }
    one = true
  [[collection.document]]
  path = "/items/{id}.json"
"#;

/// A site of so many items in PostgreSQL, which counts statements: its database's URL, and what runs SQL there.
fn parts(rows: u64) -> (Site, String, impl Fn(&str)) {
    let (url, execute) = served(true);
    let numbers = format!("FROM generate_series(1, {rows}) n");
    execute(&format!(
        "CREATE EXTENSION pg_stat_statements;
         CREATE TABLE maker (id INTEGER PRIMARY KEY, name VARCHAR(20));
         CREATE TABLE item (id INTEGER PRIMARY KEY, name VARCHAR(20), maker_id INTEGER);
         CREATE TABLE part (item_id INTEGER, no INTEGER, maker_id INTEGER, PRIMARY KEY (item_id, no));
         INSERT INTO maker SELECT n, 'm' {numbers}; INSERT INTO item SELECT n, 'i', n % 97 {numbers};
         INSERT INTO part SELECT n, 1, n % 89 {numbers}; INSERT INTO part SELECT n, 2, n % 83 {numbers}"
    ));
    let site = Site::empty();
    site.write("pages/none.html", "");
    let head = "[site]\nname = \"Parts\"\nurl = \"http://parts.example\"\ntemplates = \"pages\"\n";
    let storage = "[storage]\nurl = \"file:bucket\"\nobjects = false\n";
    site.write("site.toml", &format!("{head}[database]\nurl = \"{url}\"\n{storage}{INCLUDED}"));
    (site, url, execute)
}

/// How many statements a database of PostgreSQL's was given so far.
fn count(url: &str) -> u64 {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    let counted = "SELECT sum(calls)::bigint FROM pg_stat_statements WHERE dbid = \
                   (SELECT oid FROM pg_database WHERE datname = current_database())";
    let count = runtime.block_on(servers::number(url, counted)).expect("the server counts");
    u64::try_from(count).expect("it counts up")
}

/// The statements that PostgreSQL counts while a site of so many items is published in full.
fn statements(rows: u64) -> u64 {
    let (site, url, _execute) = parts(rows);
    site.json("publish");
    let before = count(&url);
    assert_eq!(site.json("publish --full")["rendered"], rows);
    count(&url) - before
}

#[test]
fn an_edit_costs_few_statements() {
    let (site, url, execute) = parts(100);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    let database = runtime.block_on(database::open(&url, None)).expect("it can be opened");
    let source = Source::load(&site.path("site.toml"), &|_| None).expect("the site is right");
    let publisher = Publisher {
        releases: Releases::new(Arc::new(Memory::new("memory:statements")), 1 << 20),
        objects: None,
        clock: Arc::new(|| 1_800_000_000_000),
        writer: "writer".to_owned(),
        consumer: "statements".to_owned(),
        threads: 1,
    };
    let mut session = Session::new(publisher, Prepared::new(source).expect("the site is right"));
    let mut publish = || {
        let progress = Progress::default();
        runtime.block_on(session.publish(&*database, Options::default(), &progress)).expect("it is released")
    };
    assert_eq!(publish().rendered, 100);
    let mut fewest = u64::MAX;
    for edit in 0..6 {
        execute(&format!("UPDATE item SET name = 'edit {edit}' WHERE id = 7"));
        let before = count(&url);
        let report = publish();
        // A new connection has settings of its own.
        fewest = fewest.min(count(&url) - before);
        assert_eq!((report.rendered, report.full), (1, None));
    }
    // The catalogue alone would be eight more, and every query that is described anew two.
    assert!(fewest <= 36, "{fewest}");
}

#[test]
fn an_include_is_one_query_for_a_batch_of_rows() {
    let (few, many) = (statements(2_000), statements(6_000));
    // Eight batches more: each is fetched, and has three includes; and what goes on beside.
    assert!(few < many && many <= few + 8 * 4 + 40, "{few} statements for 2,000 rows, {many} for 6,000");
}

/// Whether a check finds no mistake, and what it says.
fn checks(site: &Site, url: &str) -> (bool, String) {
    let toml = site.read("site.toml");
    let (start, rest) = toml.split_once("[database]\nurl = \"").expect("it has a database");
    let (_, end) = rest.split_once('"').expect("the URL ends");
    site.write("site.toml", &format!("{start}[database]\nurl = \"{url}\"{end}"));
    let ran = site.run("check");
    (ran.code == Some(0), ran.text())
}

#[test]
fn servers_are_reached_by_tls_and_known_by_their_certificates() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    let (postgres, postgres_authority) = runtime.block_on(servers::postgres_with_tls());
    let (mariadb, mariadb_authority) = runtime.block_on(servers::mariadb_with_tls());
    let table = "CREATE TABLE one (id INTEGER PRIMARY KEY, v INTEGER)";
    for (server, [mode, root], [weak, strong], own, other) in [
        (
            &postgres,
            ["sslmode", "sslrootcert"],
            ["require", "verify-full"],
            &postgres_authority,
            &mariadb_authority,
        ),
        (
            &mariadb,
            ["ssl-mode", "ssl-ca"],
            ["REQUIRED", "VERIFY_IDENTITY"],
            &mariadb_authority,
            &postgres_authority,
        ),
    ] {
        let url = runtime.block_on(server.database());
        runtime.block_on(servers::execute(&url, table)).expect("it is a database");
        let site = one(&url, "SELECT id, v FROM one", "/{id}.json");
        let (is_right, said) = checks(&site, &format!("{url}?{mode}={weak}"));
        assert!(is_right, "{said}");
        let (is_right, said) = checks(&site, &format!("{url}?{mode}={strong}&{root}={}", own.display()));
        assert!(is_right, "{said}");
        let (is_right, said) = checks(&site, &format!("{url}?{mode}={strong}&{root}={}", other.display()));
        assert!(
            !is_right && said.contains("cannot open the database") && said.contains("certificate"),
            "{said}"
        );
        let elsewhere =
            format!("{}?{mode}={strong}&{root}={}", url.replace("127.0.0.1", "localhost"), own.display());
        let (is_right, said) = checks(&site, &elsewhere);
        assert!(!is_right && said.contains("certificate"), "the name is not the certificate's: {said}");
    }
    // Servers that do not speak it.
    for (is_postgres, mode) in [(true, "sslmode=require"), (false, "ssl-mode=REQUIRED")] {
        let (url, execute) = served(is_postgres);
        execute(table);
        let site = one(&url, "SELECT id, v FROM one", "/{id}.json");
        let (is_right, said) = checks(&site, &format!("{url}?{mode}"));
        assert!(!is_right && said.to_lowercase().contains("tls"), "{said}");
    }
}

/// A site of one table.
fn one(url: &str, query: &str, path: &str) -> Site {
    let site = Site::empty();
    site.write("pages/none.html", "");
    site.write(
        "site.toml",
        &format!(
            "[site]\nname = \"One\"\nurl = \"http://one.example\"\ntemplates = \"pages\"\n[database]\nurl = \"{url}\"\n\
             [storage]\nurl = \"file:bucket\"\n[[collection]]\nname = \"one\"\nquery = '''{query}'''\n\
             [[collection.document]]\npath = \"{path}\"\n"
        ),
    );
    site
}

#[test]
fn wide_tables_long_texts_and_odd_names_are_published() {
    for is_postgres in [true, false] {
        let (url, execute) = served(is_postgres);
        let columns: Vec<String> =
            (1..=500).map(|number| format!("c{number} INTEGER DEFAULT {number}")).collect();
        execute(&format!(
            "CREATE TABLE wide (id INTEGER PRIMARY KEY, \"select\" VARCHAR(20), \"a b\" INTEGER, {},
             big {}); INSERT INTO wide (id, \"select\", \"a b\", big) VALUES (1, 'it''s', 7, repeat('é', 5000000))",
            columns.join(", "),
            if is_postgres { "TEXT" } else { "LONGTEXT" }
        ));
        let site = one(&url, "SELECT * FROM wide", "/{id}.json");
        assert_eq!(site.json("publish")["documents"], 1, "{url}");
        let body = &live(&site.bucket()).documents["/1.json"];
        let json: serde_json::Value = serde_json::from_slice(body).expect("it is JSON");
        assert_eq!((&json["select"], &json["a b"], &json["c500"]), (&"it's".into(), &7.into(), &500.into()));
        assert_eq!(json["big"].as_str().map(str::len), Some(10_000_000));
        execute("UPDATE wide SET c250 = 0");
        let report = site.json("publish");
        assert_eq!((&report["changed"], &report["full"]), (&1.into(), &serde_json::Value::Null), "{report}");
        assert_whole(&site);
    }
}

#[test]
fn values_without_a_form_fail_their_rows_alone() {
    for (is_postgres, kind, value, named) in [
        (true, "numeric", "'NaN'", "column `v`: it is NaN"),
        (true, "double precision", "'-Infinity'", "column `v`: it is "),
        (true, "date", "'infinity'", "column `v`: it is "),
        (true, "timestamptz", "'0044-03-15 BC'", "column `v`: "),
        (false, "date", "'0000-00-00'", "column `v`: it is the zero date"),
        (false, "bigint unsigned", "18446744073709551615", "column `v`: 18446744073709551615 is larger than"),
    ] {
        let (url, execute) = served(is_postgres);
        let mode = if is_postgres { "" } else { "SET sql_mode = ''; " };
        execute(&format!(
            "{mode}CREATE TABLE one (id INTEGER PRIMARY KEY, v {kind}); INSERT INTO one VALUES (1, NULL), (2, {value})"
        ));
        let site = one(&url, "SELECT id, v FROM one", "/{id}.json");
        let message = site.refuses(1, "publish");
        assert!(message.contains("collection `one`, document `/{id}.json`, row id=\"2\""), "{message}");
        assert!(message.contains(named), "{kind} {value}: {message}");
        let report = site.json("publish --keep-going");
        assert_eq!((&report["failed"], &report["documents"]), (&1.into(), &1.into()), "{report}");
        execute("UPDATE one SET v = NULL");
        assert_eq!(site.json("publish")["failed"], 0);
        assert_whole(&site);
    }
}

#[test]
fn a_type_without_a_form_is_named_with_the_cast_to_write() {
    for (is_postgres, kind, named) in [
        (true, "point", "column `v` has the type `point`, which has no form in JSON: select v::text AS v"),
        (false, "geometry", "column `v` is of the type GEOMETRY"),
    ] {
        let (url, execute) = served(is_postgres);
        execute(&format!("CREATE TABLE one (id INTEGER PRIMARY KEY, v {kind})"));
        let site = one(&url, "SELECT id, v FROM one", "/{id}.json");
        for command in ["publish", "check"] {
            let text = site.run(command).text();
            assert!(text.contains(named), "{text}");
        }
    }
}

/// Whoever may only read publishes in full every time, and is told why.
#[test]
fn a_database_that_may_not_be_written_is_published_in_full() {
    for is_postgres in [true, false] {
        let (url, execute) = served(is_postgres);
        let name = url.rsplit('/').next().expect("it names a database").to_owned();
        execute("CREATE TABLE one (id INTEGER PRIMARY KEY, v INTEGER); INSERT INTO one VALUES (1, 1)");
        execute(&match is_postgres {
            true => format!(
                "CREATE ROLE reader_{name} LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC; \
                 GRANT SELECT ON one TO reader_{name}"
            ),
            false => format!("CREATE USER reader_{name}; GRANT SELECT ON {name}.* TO reader_{name}"),
        });
        let url = match is_postgres {
            true => url.replace("edgepress@", &format!("reader_{name}@")),
            false => url.replace("root@", &format!("reader_{name}@")),
        };
        let site = one(&url, "SELECT id, v FROM one", "/{id}.json");
        assert_eq!(site.json("publish")["documents"], 1);
        execute("UPDATE one SET v = 2");
        let report = site.json("publish");
        assert_eq!((&report["released"], &report["changed"]), (&true.into(), &1.into()), "{report}");
        assert!(report["full"].as_str().is_some_and(|why| !why.is_empty()), "{report}");
        assert_whole(&site);
    }
}

#[test]
fn a_role_that_may_only_read_by_now_publishes_in_full() {
    let (url, execute) = served(true);
    let name = url.rsplit('/').next().expect("it names a database").to_owned();
    execute("CREATE TABLE one (id INTEGER PRIMARY KEY, v INTEGER); INSERT INTO one VALUES (1, 1)");
    let site = one(&url, "SELECT id, v FROM one", "/{id}.json");
    assert_eq!(site.json("publish")["documents"], 1);
    execute(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on"));
    execute("SET transaction_read_only = off; UPDATE one SET v = 2");
    let report = site.json("publish");
    assert_eq!((&report["released"], &report["changed"]), (&true.into(), &1.into()), "{report}");
    assert!(report["full"].as_str().is_some_and(|why| why.contains("may not be written")), "{report}");
    assert_whole(&site);
}

#[test]
fn whoever_owns_a_partitioned_table_may_go_on_making_partitions() {
    let (url, execute) = served(true);
    let name = url.rsplit('/').next().expect("it names a database").to_owned();
    execute(&format!(
        "CREATE ROLE owner_{name} LOGIN; GRANT CREATE ON SCHEMA public TO owner_{name}; SET ROLE owner_{name}; \
         CREATE TABLE part (id INTEGER PRIMARY KEY, v TEXT) PARTITION BY RANGE (id); \
         CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (10); INSERT INTO part VALUES (1, 'a')"
    ));
    let site = one(&url, "SELECT id, v FROM part", "/{id}.json");
    site.json("publish");
    execute(&format!(
        "SET ROLE owner_{name}; CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM (10) TO (20); \
         ALTER TABLE part DETACH PARTITION part_1; ALTER TABLE part ATTACH PARTITION part_1 FOR VALUES FROM (0) TO (10); \
         INSERT INTO part VALUES (12, 'b')"
    ));
    assert_eq!(site.json("publish")["documents"], 2);
    let explained = site.json("impact public.part 12");
    assert!(explained.to_string().contains("/12.json"), "{explained}");
    assert_whole(&site);
}

#[test]
fn rows_that_row_level_security_hides_by_now_are_published_no_more() {
    let (url, execute) = served(true);
    let name = url.rsplit('/').next().expect("it names a database").to_owned();
    execute(&format!(
        "CREATE ROLE bound_{name} LOGIN; GRANT CREATE ON DATABASE {name} TO bound_{name}; \
         CREATE TABLE one (id INTEGER PRIMARY KEY, v INTEGER); INSERT INTO one VALUES (1, 1), (2, 2); \
         GRANT SELECT, TRIGGER ON one TO bound_{name}"
    ));
    let url = url.replace("edgepress@", &format!("bound_{name}@"));
    let site = one(&url, "SELECT id, v FROM one", "/{id}.json");
    assert_eq!(site.json("publish")["documents"], 2);
    for (sql, documents) in [
        ("CREATE POLICY shown ON one USING (id = 1); ALTER TABLE one ENABLE ROW LEVEL SECURITY", 1),
        ("ALTER POLICY shown ON one USING (id > 0)", 2),
        ("ALTER POLICY shown ON one USING (id = 2)", 1),
        ("ALTER TABLE one DISABLE ROW LEVEL SECURITY", 2),
    ] {
        execute(sql);
        assert_eq!(site.json("publish --yes")["documents"], documents, "{sql}");
        assert_whole(&site);
    }
}

#[test]
fn settings_of_the_server_do_not_matter() {
    let (url, execute) = served(false);
    execute(
        "CREATE TABLE one (id INTEGER PRIMARY KEY, v INTEGER); INSERT INTO one VALUES (1, 1), (2, 2), (3, 3)",
    );
    let query = "SELECT id, v / 3 AS third, date_format('2026-05-01', '%M') AS month FROM one";
    let site = one(&url, query, "/{id}.json");
    execute(
        "SET GLOBAL sql_select_limit = 2, GLOBAL div_precision_increment = 9, GLOBAL lc_time_names = 'ja_JP'",
    );
    let published = site.run("publish --format json");
    execute(
        "SET GLOBAL sql_select_limit = DEFAULT, GLOBAL div_precision_increment = DEFAULT, GLOBAL lc_time_names = DEFAULT",
    );
    assert_eq!(published.code, Some(0), "{}", published.text());
    let documents = live(&site.bucket()).documents;
    assert_eq!(documents.len(), 3);
    assert_eq!(documents["/1.json"], br#"{"id":1,"third":"0.3333","month":"May"}"#);
}

#[test]
fn a_server_that_goes_away_leaves_the_live_release() {
    for is_postgres in [true, false] {
        let (url, execute) = served(is_postgres);
        execute("CREATE TABLE one (id INTEGER PRIMARY KEY, v INTEGER); INSERT INTO one VALUES (1, 1)");
        let site = one(&url, "SELECT id, v FROM one", "/{id}.json");
        site.json("publish");
        let before = live(&site.bucket()).root;
        let toml = site.read("site.toml");
        let (_, port) = url.rsplit_once(':').expect("it has a port");
        let (port, _) = port.split_once('/').expect("and a database");
        site.write("site.toml", &toml.replace(&format!(":{port}/"), ":1/"));
        let message = site.refuses(1, "publish");
        assert!(message.contains("cannot open the database"), "{message}");
        assert_eq!(live(&site.bucket()).root, before);
        site.write("site.toml", &toml);
        execute("DROP TABLE one");
        let message = site.refuses(1, "publish");
        assert!(message.contains("collection `one`"), "{message}");
        assert_eq!(live(&site.bucket()).root, before);
        assert_whole(&site);
    }
}

/// PostgreSQL tells names apart that differ in case alone: so do sites over them.
#[test]
fn columns_and_tables_that_differ_in_case_alone_are_told_apart() {
    let (url, execute) = served(true);
    execute(
        "CREATE TABLE twin (id INTEGER PRIMARY KEY, \"B\" TEXT, b TEXT);
         CREATE TABLE \"Twin\" (\"Id\" INTEGER PRIMARY KEY, id INTEGER REFERENCES twin, \"ID\" TEXT);
         INSERT INTO twin VALUES (1, 'B1', 'b1'), (2, 'B2', 'b2');
         INSERT INTO \"Twin\" VALUES (7, 1, 'seven'), (8, 2, 'eight')",
    );
    let site = Site::empty();
    let written = site.json(&format!("new shop --from {url}"));
    assert_eq!(written["site"]["skipped"], serde_json::json!({}));
    let shop = Site::within(&site, "shop");
    // Only `b` of `twin` is read here, and one of its rows by another's `id`.
    let own = "\n[[collection]]\nname = \"own\"\nquery = 'SELECT q.\"Id\", t.b FROM \"Twin\" q JOIN twin t USING (id)'\n  \
               [collection.include.twins]\n  query = 'SELECT \"ID\", \"Id\", id FROM \"Twin\"'\n  on = { Id = \"Id\" }\n  \
               [[collection.document]]\n  path = \"/own/{Id}.json\"\n";
    shop.write("site.toml", &(shop.read("site.toml") + own));
    let checked = shop.json("check");
    assert!(
        checked["impact"].as_array().expect("a list").iter().all(|place| place["is_precise"] == true),
        "{checked}"
    );
    shop.json("publish");
    let documents = live(&shop.bucket()).documents;
    assert_eq!(documents["/own/8.json"], br#"{"Id":8,"b":"b2","twins":[{"ID":"eight","Id":8,"id":2}]}"#);
    for (edit, rendered) in [
        ("UPDATE twin SET \"B\" = 'other' WHERE id = 1", "/twin_/1.json"),
        ("UPDATE twin SET b = 'other' WHERE id = 2", "/own/8.json"),
        ("UPDATE \"Twin\" SET \"ID\" = 'other' WHERE \"Id\" = 7", "/own/7.json"),
        ("UPDATE \"Twin\" SET id = 2 WHERE \"Id\" = 7", "/own/7.json"),
    ] {
        let before = live(&shop.bucket()).documents;
        execute(edit);
        let report = shop.json("publish");
        assert_eq!((&report["full"], &report["whole"]), (&serde_json::Value::Null, &serde_json::Value::Null));
        assert_ne!(live(&shop.bucket()).documents[rendered], before[rendered], "{edit}");
        assert_whole(&shop);
    }
}

#[test]
fn mistakes_are_placed_in_the_users_own_query() {
    for (is_postgres, query, placed) in [
        (true, "SELECT id, v\nFROM one WHERE id = = 1", "(at line 2, near `=`)"),
        (false, "SELECT id, v\nFROM one WHERE id = = 1", "right syntax to use (at line 2, near `=`)"),
        (false, "SELECT id, v /* of\nours */\nFROM FROM one", "right syntax to use (at line 3, near `FROM`)"),
        (false, "SELECT id, v FROM one ORDER", "right syntax to use at its end"),
        (false, "SELECT id, nope FROM one", "Unknown column 'nope' in 'SELECT'"),
    ] {
        let (url, execute) = served(is_postgres);
        execute("CREATE TABLE one (id INTEGER PRIMARY KEY, v INTEGER); INSERT INTO one VALUES (1, 1)");
        let site = one(&url, query, "/{id}.json");
        let said = site.run("check").stdout;
        assert!(said.contains(placed) && !said.contains("edgepress_"), "{query}: {said}");
        let include = |order_by: &str| {
            format!(
                "query = 'SELECT id FROM one'\n [collection.include.x]\n query = 'SELECT v FROM one'\n order_by = '{order_by}'"
            )
        };
        for order_by in ["v v v", "v +"] {
            let site = one(&url, "SELECT 1", "/{id}.json");
            site.edit("site.toml", "query = '''SELECT 1'''", &include(order_by));
            let said = site.run("check").stdout;
            assert!(said.contains("syntax") && !said.contains("edgepress_"), "{order_by}: {said}");
        }
    }
}

#[test]
fn a_url_with_a_mistake_is_told_which() {
    let ((postgres, _keep), (mariadb, _keeps)) = (served(true), served(false));
    let swap = |url: &str, of: &str, scheme: &str| url.replacen(of, scheme, 1);
    let with_password = |url: &str| {
        let (scheme, rest) = url.split_once("://").expect("it has a scheme");
        let (user, place) = rest.split_once('@').expect("it has a user");
        format!("{scheme}://{user}:secret@{place}")
    };
    for (url, named) in [
        (
            format!("{postgres}?sslmode=bogus"),
            "its parameter `sslmode` is `bogus`: write one of disable, allow, prefer, require, verify-ca, verify-full",
        ),
        (
            format!("{mariadb}?ssl-mode=require"),
            "its parameter `ssl-mode` is `require`: write one of DISABLED, PREFERRED, REQUIRED, VERIFY_CA, VERIFY_IDENTITY",
        ),
        (
            swap(&with_password(&postgres), "postgres:", "mysql:"),
            "does not speak as MariaDB or MySQL does: if it is PostgreSQL, write postgres://",
        ),
        (
            swap(&with_password(&mariadb), "mysql:", "postgres:"),
            "does not speak as PostgreSQL does: if it is MariaDB or MySQL, write mysql://",
        ),
        (
            format!("{}?sslmode=disable", swap(&mariadb, "mysql:", "postgres:")),
            "does not speak as PostgreSQL does",
        ),
    ] {
        let begun = std::time::Instant::now();
        let message = Site::empty().refuses(1, &format!("new shop --from {url}"));
        assert!(message.contains(named) && !message.contains("secret"), "{url}: {message}");
        assert!(begun.elapsed().as_secs() < 9, "{url} waits for nothing");
    }
}

const TIED: &str = "takes the first rows by `";
const MADE_ONE: &str = "for values that are equal to the database but print differently";

/// Queries, and what is worth knowing of them: that the database may choose rows or values.
const CHOSEN: [(&str, Option<&str>); 20] = [
    ("SELECT DISTINCT label AS id FROM item", Some(MADE_ONE)),
    ("SELECT label AS id, count(*) AS n FROM item GROUP BY label", Some(MADE_ONE)),
    ("SELECT q.label AS id FROM item q JOIN brand b ON b.id = q.brand_id GROUP BY 1", Some(MADE_ONE)),
    ("SELECT label AS id FROM item UNION SELECT name FROM brand WHERE id > 3", Some(MADE_ONE)),
    ("SELECT DISTINCT plain AS id FROM item", None),
    ("SELECT DISTINCT lower(label) AS id FROM item", None),
    ("SELECT DISTINCT id, label FROM item", None),
    (
        "SELECT q.id, b.name, count(*) AS n FROM item q JOIN brand b ON b.id = q.brand_id GROUP BY q.id, b.name",
        None,
    ),
    ("SELECT name AS id, count(*) AS n FROM brand GROUP BY name", None),
    ("SELECT count(*) AS id FROM item GROUP BY label", None),
    ("SELECT id, label FROM item ORDER BY price DESC LIMIT 3", Some(TIED)),
    (
        "SELECT id FROM item WHERE id IN (SELECT id FROM (SELECT id FROM item ORDER BY brand_id LIMIT 3) x)",
        Some(TIED),
    ),
    ("SELECT label AS id, count(*) AS n FROM item GROUP BY label ORDER BY n DESC LIMIT 3", Some(TIED)),
    ("SELECT id, label FROM item ORDER BY price DESC, id LIMIT 3", None),
    ("SELECT id AS n, label AS id FROM item ORDER BY price, n LIMIT 3", None),
    ("SELECT id, name FROM brand ORDER BY name LIMIT 3", None),
    ("SELECT price AS id FROM item ORDER BY price LIMIT 3", None),
    ("SELECT id, label FROM item WHERE brand_id = 3 AND id = 4 ORDER BY price LIMIT 1", None),
    (
        "SELECT b.id, (SELECT i.label FROM item i WHERE i.id = b.id ORDER BY price LIMIT 1) AS l FROM brand b",
        None,
    ),
    ("SELECT plain AS id, count(*) AS n FROM item GROUP BY plain ORDER BY n DESC, plain LIMIT 3", None),
];

/// What `check` warns of in a query, beside missing indexes.
fn warned(site: &Site) -> Vec<String> {
    let problems = site.json("check")["problems"].take();
    let messages = problems.as_array().expect("a list").iter();
    messages.map(|problem| problem["message"].as_str().expect("a text").to_owned()).collect()
}

#[test]
fn what_the_database_may_choose_is_worth_knowing() {
    let sqlite = Site::empty();
    let (postgres, on_postgres) = served(true);
    let (mariadb, on_mariadb) = served(false);
    let tables = |label: &str, price: &str| {
        format!(
            "CREATE TABLE item (id INTEGER PRIMARY KEY, label {label}, plain {plain}, price {price}, brand_id INTEGER);
             CREATE TABLE brand (id INTEGER PRIMARY KEY, name {label}, UNIQUE (name))",
            plain = if label == "citext" { "text" } else { "INTEGER" }
        )
    };
    sqlite.sql_file("one.db", &tables("TEXT COLLATE NOCASE", "INTEGER"));
    on_postgres(&format!("CREATE EXTENSION citext; {}", tables("citext", "numeric")));
    on_mariadb(&tables("VARCHAR(40)", "DECIMAL(10,2)"));
    let all = [format!("sqlite:{}", sqlite.path("one.db").display()), postgres.clone(), mariadb];
    for (query, named) in CHOSEN {
        for url in &all {
            let warned = warned(&one_at(url, query));
            match named {
                Some(named) => {
                    assert!(warned.iter().any(|said| said.contains(named)), "{url} {query}: {warned:?}");
                }
                None => assert_eq!(warned, [""; 0], "{url}: {query}"),
            }
        }
    }
    for (query, named) in [
        ("SELECT DISTINCT price AS id FROM item WHERE price > 1", MADE_ONE),
        ("SELECT DISTINCT ON (brand_id) brand_id AS id, price FROM item ORDER BY brand_id", TIED),
        (
            "SELECT DISTINCT ON (brand_id) brand_id AS id, price FROM item",
            "has a DISTINCT ON without an ORDER BY",
        ),
    ] {
        let warned = warned(&one_at(&postgres, query));
        assert!(warned.iter().any(|said| said.contains(named)), "{query}: {warned:?}");
    }
    for (url, random) in all.iter().zip(["random()", "random()", "rand()"]) {
        let site = one_at(url, "SELECT id FROM item");
        let include = format!(
            "[collection.include.brands]\nquery = \"SELECT id FROM brand\"\norder_by = \"{random}\"\nlimit = 2\n"
        );
        site.edit("site.toml", "[[collection.document]]", &format!("{include}[[collection.document]]"));
        assert!(warned(&site).iter().any(|said| said.contains("gives something else each time")), "{url}");
    }
}

fn one_at(url: &str, query: &str) -> Site {
    one(url, query, "/{id}.json")
}

#[test]
fn history_that_is_deleted_is_not_shown_any_more() {
    for (query, is_precise) in [
        ("SELECT v AS id, id AS item FROM one FOR SYSTEM_TIME ALL", false),
        ("SELECT v AS id, id AS item FROM past", false),
        ("SELECT v AS id, id AS item FROM one", true),
    ] {
        let (url, execute) = served(false);
        execute(
            "CREATE TABLE one (id INTEGER PRIMARY KEY, v INTEGER) WITH SYSTEM VERSIONING;
             INSERT INTO one VALUES (1, 1); UPDATE one SET v = 2;
             CREATE VIEW past AS SELECT id, v FROM one FOR SYSTEM_TIME ALL",
        );
        let site = one(&url, query, "/{id}.json");
        let checked = site.run("check").stdout;
        let told = "the query reads its history (`system_time`), which changes without a trigger";
        assert_eq!(checked.contains(told), !is_precise, "{checked}");
        assert_eq!(checked.contains("touches exactly its documents"), is_precise, "{checked}");
        site.json("publish");
        execute("UPDATE one SET v = 3");
        let documents = if is_precise { 1 } else { 3 };
        assert_eq!(site.json("publish --yes")["documents"], documents, "{query}");
        execute("DELETE HISTORY FROM one");
        assert_eq!(site.json("publish --yes")["documents"], 1, "{query}");
        assert_whole(&site);
    }
}
