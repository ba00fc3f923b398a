//! Wrong use and wrong sites: each mistake is named with its place and a remedy, and nothing is published.

use std::os::unix::ffi::OsStrExt as _;

use crate::support::{SITE, Site, files, live, run};

#[test]
fn wrong_arguments_are_wrong_use() {
    let site = Site::small(1);
    for (arguments, named) in [
        ("bogus", "unrecognized subcommand 'bogus'"),
        ("publsh", "'publish'"),
        ("publish --bogus", "unexpected argument '--bogus'"),
        ("publish extra", "unexpected argument 'extra'"),
        ("new", "<DIR>"),
        ("diff 1", "<B>"),
        ("rollback x", "invalid value 'x'"),
        ("rollback -1", "unexpected argument '-1'"),
        ("releases --limit 0", "invalid value '0'"),
        ("--site", "--site <FILE>"),
    ] {
        let error = site.fails(2, arguments);
        assert_eq!(error["kind"], "wrong_use");
        assert!(
            error["message"].as_str().is_some_and(|message| message.contains(named)),
            "{arguments}: {error}"
        );
        let ran = site.run(arguments);
        assert!(ran.code == Some(2) && ran.stdout.is_empty() && ran.stderr.contains(named), "{}", ran.text());
    }
    // Arguments need not be text.
    let mut command = site.command("publish --format json");
    command.arg(std::ffi::OsStr::from_bytes(b"\xff"));
    let ran = run(&mut command);
    assert!(ran.code == Some(2) && ran.stdout.contains("unexpected argument"), "{}", ran.text());
    let ran = site.run("check --format yaml");
    assert!(ran.code == Some(2) && ran.stderr.contains("text, json"), "{}", ran.text());
    assert_eq!(site.run("").code, Some(2), "no command at all");
    for arguments in ["--help", "--version", "publish --help"] {
        let ran = site.run(arguments);
        assert!(ran.code == Some(0) && !ran.stdout.is_empty() && ran.stderr.is_empty(), "{}", ran.text());
    }
}

#[test]
fn a_missing_site_is_wrong_use() {
    let site = Site::empty();
    for command in ["check", "publish", "serve", "releases", "verify", "rollback 1", "diff 1 2"] {
        let message = site.refuses(2, command);
        assert!(message.contains("site.toml") && message.contains("edgepress new"), "{message}");
    }
    let message = site.refuses(2, "check --site other/shop.toml");
    assert!(message.contains("other/shop.toml") && message.contains("--site"), "{message}");
    assert_eq!(files(site.folder()).len(), 0, "nothing was written");
}

#[test]
fn what_was_never_published_cannot_be_looked_at() {
    let site = Site::small(1);
    for command in ["verify", "rollback 1", "diff 1 2"] {
        site.refuses(1, command);
    }
    assert!(site.run("releases").stdout.contains("nothing was published yet"));
}

/// Changes `old` to `new` in a file of the small site; the commands then fail with exit code 2 and say
/// all of `named`.
fn check(file: &str, old: &str, new: &str, named: &[&str]) {
    let site = Site::small(2);
    site.json("publish");
    let before = live(&site.bucket()).root;
    site.edit(file, old, new);
    let text = site.run("check");
    assert_eq!(text.code, Some(2), "{new}: {}", text.text());
    for named in named {
        assert!(text.text().contains(named), "{new}: {named}: {}", text.text());
    }
    let published = site.run("publish");
    // Only what shows in rows alone is no mistake of the site's.
    assert!(matches!(published.code, Some(1 | 2)), "{new}: {}", published.text());
    assert_eq!(live(&site.bucket()).root, before, "{new}: nothing was published");
    let checked = site.run("check --format json").stdout;
    assert!(checked.contains("\"problems\":[{"), "{checked}");
}

/// The line of the first line of `SITE` that contains `text`.
fn line(text: &str) -> String {
    let at = SITE.lines().position(|line| line.contains(text)).expect("the small site has such a line");
    format!("site.toml:{}: ", at + 1)
}

#[test]
fn mistakes_in_the_definition_are_named_with_file_line_and_remedy() {
    for (old, new, named) in [
        ("[storage]", "[stroage]", &[&*line("[storage]"), "did you mean `storage`?"][..]),
        ("url = \"file:bucket\"", "url = \"ftp:bucket\"", &[&*line("file:bucket"), "write \"file:\""]),
        ("name = \"Small\"", "name = Small", &[&*line("name = \"Small\"")]),
        ("name = \"list\"", "name = \"item\"", &[&*line("name = \"list\""), "two collections `item`"]),
        ("{slug}.json", "{slug.json", &[&*line("{slug}.json"), "write captures as `{column}`"]),
        ("/index.html", "index.html", &[&*line("/index.html"), "must start with `/`"]),
        ("/index.html", "/_edgepress/x", &[&*line("/index.html"), "reserved"]),
    ] {
        check_definition(old, new, named);
    }
}

/// As [`check`], for mistakes that already reading the site finds.
fn check_definition(old: &str, new: &str, named: &[&str]) {
    let site = Site::small(1);
    site.edit("site.toml", old, new);
    for command in ["check", "publish", "serve"] {
        let ran = site.run(command);
        assert_eq!(ran.code, Some(2), "{new}: {}", ran.text());
        for named in named {
            assert!(ran.text().contains(named), "{new}: {named}: {}", ran.text());
        }
    }
    let error = site.fails(2, "publish");
    assert!(error["problems"][0]["file"] == "site.toml", "{error}");
    assert!(!site.bucket().exists(), "nothing was written");
}

#[test]
fn mistakes_in_templates_are_named_with_file_line_and_remedy() {
    for (new, named) in [
        ("\n{% if name %}", &["pages/item.html:", "is not closed"][..]),
        ("\n{{ nmae }}", &["pages/item.html:2: ", "did you mean `name`?"]),
        ("\n\n{{ name | uper }}", &["pages/item.html:3: ", "did you mean `upper`?"]),
        ("{% include \"itm.html\" %}", &["pages/item.html:1: ", "itm.html"]),
        ("{% include \"item.html\" %}", &["pages/item.html:1: ", "circle"]),
        ("{{ name | date }}", &["pages/item.html:1: ", "Item 1"]),
        ("{{ asset(path=\"style.css\") }}", &["pages/item.html:1: ", "there is no static file `style.css`"]),
    ] {
        check("pages/item.html", "<h1>{{ name }}</h1>\n", new, named);
    }
    check(
        "site.toml",
        "template = \"item.html\"",
        "template = \"itm.html\"",
        &["site.toml:", "there is no template `itm.html`", "item.html"],
    );
}

#[test]
fn what_would_be_published_with_the_static_files_by_mistake_is_named() {
    for (old, new, named) in [
        ("url = \"file:bucket\"", "url = \"file:files/../files/b\"", "the bucket ("),
        (
            "url = \"file:bucket\"",
            "url = \"file:bucket\"\nobjects = \"file:files\"",
            "the bucket of objects (",
        ),
        ("url = \"sqlite:site.db\"", "url = \"sqlite:files/site.db\"", "the database ("),
    ] {
        let site = Site::small(1);
        site.write("files/style.css", "");
        site.edit("site.toml", "templates = \"pages\"", "templates = \"pages\"\nstatic = \"files\"");
        site.edit("site.toml", old, new);
        for command in ["check", "publish"] {
            let ran = site.run(command);
            assert_eq!(ran.code, Some(2), "{new}: {}", ran.text());
            assert!(ran.text().contains(named), "{new}: {}", ran.text());
        }
        assert!(!site.bucket().exists(), "nothing was written");
    }
}

#[test]
fn names_in_branches_that_no_row_takes_are_checked_too() {
    let site = Site::small(3);
    site.write("pages/item.html", "{% if slug == 'nope' %}\n{{ nmae }}{% endif %}");
    site.write(
        "pages/list.html",
        "{% for item in items %}{% if false %}{{ item.nmae }}{% endif %}{% endfor %}",
    );
    let ran = site.run("check");
    assert_eq!(ran.code, Some(2), "{}", ran.text());
    for named in [
        "pages/item.html:2: `nmae` is not defined in a document of collection `item`\n  did you mean `name`?",
        "pages/list.html:1: `item.nmae` is not defined in a document of collection `list`\n  did you mean `name`?",
        "2 mistakes",
    ] {
        assert!(ran.stdout.contains(named), "{named}: {}", ran.text());
    }
}

#[test]
fn an_admin_listener_that_anybody_can_reach_needs_a_token() {
    for (admin, named) in [
        ("admin = \"0.0.0.0:0\"", "asks for no token"),
        ("admin = \"0.0.0.0:0\"\ntoken = \"short\"", "at least 16"),
    ] {
        check_definition("admin = \"127.0.0.1:0\"", admin, &[&*line("admin = ").replace(": ", ":"), named]);
    }
}

#[test]
fn mistakes_in_queries_are_named_with_file_line_and_the_databases_own_words() {
    for (old, new, named) in [
        (
            "SELECT id, slug, name",
            "SELECT id, slog, name",
            &["site.toml:17: the query of collection `item` does not run: no such column: slog"][..],
        ),
        (
            "SELECT id, slug, name",
            "SELECT id, name",
            &["names the column `slug`", "the columns are: id, name"],
        ),
        ("name FROM item\"\n  [[", "name FROM itm\"\n  [[", &["no such table: itm"]),
        ("SELECT id, slug, name", "SELEC id, slug, name", &["SELEC"]),
        ("SELECT id, slug, name", "SELECT id, id, slug, name", &["two columns called `id`", "AS"]),
        ("SELECT slug, name FROM item", "SELECT slug FROM itm", &["include `items`", "no such table: itm"]),
        ("SELECT id, slug, name", "SELECT id, slug, ?1 AS name", &["parameters"]),
    ] {
        check("site.toml", old, new, named);
    }
}

#[test]
fn an_include_that_joins_what_is_not_there_is_named() {
    let include = |on: &str| {
        format!(
            "[collection.include.others]\n query = \"SELECT id, name FROM item\"\n on = {{ {on} }}\n  [[collection.document]]\n  path = \"/items/{{slug}}.json\""
        )
    };
    for (on, named) in [
        ("id = \"nope\"", &["`nope`", "the rows around it"][..]),
        ("nope = \"id\"", &["`nope`", "its own query"]),
    ] {
        check("site.toml", "[[collection.document]]\n  path = \"/items/{slug}.json\"", &include(on), named);
    }
}

#[test]
fn a_schema_that_fails_leaves_no_half_database() {
    let site = Site::small(1);
    let right = site.read("schema.sql");
    for (wrong, named) in [
        ("CREATE TABLE other (id);\nINSERT INTO nowhere VALUES (1);", "no such table: nowhere"),
        ("CREATE TABLE other (id);\nCREATE TABLE (", "syntax error"),
        ("BEGIN; CREATE TABLE other (id); COMMIT;", "remove BEGIN and COMMIT"),
    ] {
        site.write("schema.sql", &format!("{right}{wrong}"));
        let message = site.refuses(1, "publish");
        assert!(
            message.contains("schema failed, nothing was created") && message.contains(named),
            "{message}"
        );
        assert_eq!(site.sql("SELECT count(*) FROM sqlite_schema").trim(), "0");
    }
    site.write("schema.sql", &right);
    assert_eq!(site.json("publish")["documents"], 3, "a mended schema is run");
    site.write("schema.sql", "DROP TABLE item;");
    assert_eq!(site.json("publish")["documents"], 3, "a database that is not new is left alone");
}

#[test]
fn what_is_no_database_is_named() {
    let site = Site::small(1);
    site.write("site.db", "certainly not a database, but long enough to be looked at: it has more than a hundred bytes, as here\n");
    let message = site.refuses(1, "publish");
    assert!(message.contains("site.db") && message.contains("not a database"), "{message}");
    std::fs::remove_file(site.path("site.db")).expect("it is there");
    site.edit("site.toml", "schema = \"schema.sql\"\n", "");
    let message = site.refuses(1, "publish");
    assert!(
        message.contains("site.db") && message.contains("set [database] schema or create it"),
        "{message}"
    );
    assert!(!site.path("site.db").exists());
}

#[test]
fn all_mistakes_are_told_in_one_run() {
    let site = Site::small(2);
    site.write("pages/item.html", "{{ name }");
    site.edit("site.toml", "SELECT slug, name FROM item\"\n", "SELECT slug, nam FROM item\"\n");
    let ran = site.run("check");
    assert_eq!(ran.code, Some(2), "{}", ran.text());
    for named in ["pages/item.html:1", "no such column: nam", "2 mistakes"] {
        assert!(ran.stdout.contains(named), "{named}: {}", ran.text());
    }
    let site = Site::small(2);
    site.sql_new("INSERT INTO item VALUES (3, 'item-1', 'twin')");
    let ran = site.run("check");
    assert!(ran.code == Some(2) && ran.stdout.contains("another row has the same path"), "{}", ran.text());
}

#[test]
fn a_mistake_hides_neither_others_nor_what_is_worth_knowing() {
    let site = Site::small(2);
    // Does not parse; needs that one; has a filter that is not there; a name that is not there; is right.
    site.write("pages/item.html", "{{ name }");
    site.write("pages/extends.html", "{% extends \"item.html\" %}{% block main %}{{ nobody }}{% endblock %}");
    site.write("pages/filter.html", "{{ name | uper }}");
    site.write("pages/name.html", "{{ nmae }}");
    site.write("pages/circle.html", "{% include \"circle.html\" %}");
    site.write("pages/missing.html", "{% include \"item.html\" %}{% include \"nowhere.html\" %}");
    let documents: String = ["extends", "filter", "name"]
        .map(|name| {
            format!("  [[collection.document]]\n  path = \"/{name}/{{slug}}.html\"\n  template = \"{name}.html\"\n")
        })
        .concat();
    site.edit(
        "site.toml",
        "\n[[collection]]\nname = \"list\"\n",
        &format!(
            "{documents}\n[[collection]]\nname = \"broken\"\nquery = \"SELECT nope FROM item\"\n  [[collection.document]]\n  \
             path = \"/{{nope}}.json\"\n[[collection]]\nname = \"list\"\n"
        ),
    );
    site.edit("site.toml", "SELECT slug, name FROM item", "SELECT slug, name, random() AS r FROM item");
    let ran = site.run("check");
    assert_eq!(ran.code, Some(2), "{}", ran.text());
    for named in [
        "pages/item.html:1: Found `}`",
        "pages/filter.html:1: Unknown filter `uper`",
        "pages/name.html:1: `nmae`",
        "pages/circle.html:1: including `circle.html` goes in a circle",
        "pages/missing.html:1: there is no template `nowhere.html`",
        "the query of collection `broken` does not run: no such column: nope",
        "warning: the include `items` of collection `list` calls `random`",
        "6 mistakes",
    ] {
        assert!(ran.stdout.contains(named), "{named}: {}", ran.text());
    }
    site.edit("site.toml", "[storage]", "[stroage]");
    let ran = site.run("check");
    for named in ["`stroage` is not a key", "pages/item.html:1: ", "column: nope", "calls `random`"] {
        assert!(ran.stdout.contains(named), "{named}: {}", ran.text());
    }
}

#[test]
fn an_unreachable_database_is_one_mistake_among_others() {
    let site = Site::small(2);
    site.write("pages/item.html", "{{ name }");
    for (url, named) in [
        ("sqlite:nothing.db", "no database at"),
        ("postgres://me:secret@127.0.0.1:1/shop", "postgres://***@127.0.0.1:1/shop"),
        ("mysql://me:secret@127.0.0.1:1/shop", "mysql://***@127.0.0.1:1/shop"),
    ] {
        let toml = site.read("site.toml").replace("schema = \"schema.sql\"\n", "");
        let (start, rest) = toml.split_once("[database]\nurl = \"").expect("it has a database");
        let (_, end) = rest.split_once('"').expect("the URL ends");
        site.write("site.toml", &format!("{start}[database]\nurl = \"{url}\"{end}"));
        let ran = site.run("check");
        assert!(ran.code == Some(2) && ran.stdout.contains("2 mistakes"), "{}", ran.text());
        assert!(ran.stdout.contains(named) && ran.stdout.contains("pages/item.html:1"), "{}", ran.text());
        assert!(!ran.text().contains("secret"), "{}", ran.text());
    }
}

#[test]
fn a_mistake_in_the_definition_hides_none_in_templates_and_queries() {
    let site = Site::small(1);
    site.edit("site.toml", "[database]", "[databse]\nx = 1\n\n[database]");
    site.edit("site.toml", "SELECT id, slug, name FROM item", "SELECT id, slug, nam FROM item");
    site.edit("site.toml", "template = \"list.html\"", "template = \"missing.html\"");
    site.write("pages/item.html", "{{ name }");
    let ran = site.run("check");
    assert_eq!(ran.code, Some(2), "{}", ran.text());
    for named in [
        "site.toml:6: `databse` is not a key",
        "did you mean `database`",
        "pages/item.html:1",
        "no such column: nam",
        "3 mistakes",
    ] {
        assert!(ran.stdout.contains(named), "{named}: {}", ran.text());
    }
}

#[test]
fn what_is_worth_knowing_is_told_and_is_no_mistake() {
    let site = Site::small(3);
    site.sql_new("CREATE TABLE part (id INTEGER PRIMARY KEY, item_id INTEGER, name, n INTEGER, weight REAL)");
    site.edit(
        "site.toml",
        "SELECT id, slug, name FROM item\"\n",
        "SELECT id, slug, name, date('now') AS today FROM item\"\n  [collection.include.parts]\n  \
         query = \"SELECT item_id, name FROM part\"\n  on = { item_id = \"id\" }\n  order_by = \"name\"\n  \
         [collection.include.names]\n  query = \"SELECT group_concat(name) AS all_names FROM part\"\n  \
         [collection.include.sums]\n  query = \"SELECT sum(n) AS n, sum(p.weight * 2) AS s, avg(n * 1.5) AS a FROM part p\"\n  \
         [collection.include.some]\n  query = \"SELECT * FROM (SELECT random() AS r, \
         date(id, 'localtime') AS d FROM part LIMIT 3)\"\n",
    );
    let ran = site.run("check");
    assert_eq!(ran.code, Some(0), "{}", ran.text());
    for named in [
        "site.toml:17: warning: the query of collection `item` tells the time with `date`",
        "site.toml:20: warning: the include `parts` of collection `item` is ordered by `name`, which may leave rows tied",
        "site.toml:20: warning: the include `parts` has no index to find its rows by `item_id`",
        "site.toml:24: warning: the include `names` of collection `item` calls `group_concat`, which takes rows in whatever order",
        "site.toml:26: warning: the include `sums` of collection `item` has a `avg` of floating-point numbers",
        "site.toml:26: warning: the include `sums` of collection `item` has a `sum` of floating-point numbers",
        "site.toml:28: warning: the include `some` of collection `item` calls `random`, which gives something else",
        "site.toml:28: warning: the include `some` of collection `item` calls `date` with 'localtime' or 'utc'",
        "site.toml:28: warning: the include `some` of collection `item` has a LIMIT without an ORDER BY",
        "no mistakes: ",
    ] {
        assert!(ran.stdout.contains(named), "{named}: {}", ran.text());
    }
    site.sql(
        "CREATE INDEX part_item ON part (item_id); CREATE UNIQUE INDEX part_name ON part (item_id, name); \
         CREATE UNIQUE INDEX item_slug ON item (slug)",
    );
    site.edit("site.toml", "name = \"item\"\n", "name = \"item\"\nrefresh = \"1h\"\n");
    site.edit("site.toml", "group_concat(name) AS", "group_concat(name ORDER BY name) AS");
    site.edit("site.toml", "sum(p.weight * 2) AS s, avg(n * 1.5)", "max(p.weight) AS s, avg(n)");
    site.edit(
        "site.toml",
        "random() AS r, date(id, 'localtime') AS d FROM part LIMIT 3",
        "id FROM part ORDER BY id LIMIT 3",
    );
    let checked = site.json("check");
    assert_eq!(checked["problems"], serde_json::json!([]));
}
