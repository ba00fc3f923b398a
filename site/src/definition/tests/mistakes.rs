//! One row for each mistake: what is wrong, its line and its remedy.

use super::{problems, with};

/// What is wrong in `with(rest)`, for every row: `rest` starts in line 4.
#[test]
fn a_mistake_in_a_section_is_named_with_its_line_and_remedy() {
    for (rest, problem) in [
        ("site.tempates = 'x'", "1: `tempates` is not a key of [site] | did you mean `templates`?"),
        ("colour = 1", "4: `colour` is not a key of the site definition | its keys are site, database"),
        ("[colection]", "4: `colection` is not a key of the site definition | did you mean `collection`?"),
        ("site.templates = 5", "1: `templates` must be text, not a number | write templates = \"...\""),
        (
            "site.templates = '/x'",
            "1: `templates`: `/x` is not a path beside the site definition | write a rel",
        ),
        ("site.static = '../x'", "1: `static`: `../x` is not a path beside"),
        ("database.schema = '/x'", "4: `schema`: `/x` is not a path beside"),
        (
            "site.not_found = '404.html'",
            "1: `not_found`: the path `404.html`: it must start with `/` | write the",
        ),
        ("site.not_found = '/{x}.html'", "1: `not_found`: it must be one path, without captures"),
        ("site.static = '${NO}'", "1: `static`: the variable `NO` is not set | set it, or write a default"),
        ("site.static = '${NO'", "1: `static`: `${` has no `}` after it | write `${NAME}`"),
        (
            "storage.objects = 1",
            "4: `objects` must be true, false or a URL, not a number | write objects = true",
        ),
        (
            "storage.objects = 's3://x'",
            "4: `objects`: s3: is not yet supported by this version | write \"file:\"",
        ),
        ("storage.region = 'x'", "4: `region` is not a key of [storage] | its keys are url, objects"),
        ("publish = 1", "4: `publish` must be a table, not a number | write [publish]"),
        ("publish.quiet = 50", "4: `quiet` must be text, not a number | write quiet = \"...\""),
        (
            "publish.quiet = '50'",
            "4: `quiet`: `50` is not a duration | write a whole number and one of ms, s, m",
        ),
        ("publish.quiet = '2s'", "4: `quiet` (2s) is longer than `max_wait` (1s) | make `max_wait` at least"),
        ("publish.guard = 1.5", "4: `guard` cannot be 1.5 | write a share from 0 to 1, such as 0.3"),
        ("publish.guard = nan", "4: `guard` cannot be nan"),
        (
            "publish.guard = '30%'",
            "4: `guard` must be a number, not text | write guard = 0.3, without quotes",
        ),
        (
            "origin.listen = 'localhost:80'",
            "4: `listen`: `localhost:80` is not an address to listen on | write an",
        ),
        (
            "origin.admin = '127.0.0.1:8080'",
            "4: `listen` and `admin` are both 127.0.0.1:8080 | give each a port",
        ),
        (
            "origin.memory = '256MB'",
            "4: `memory`: `256MB` is not a size | write a whole number and one of KiB",
        ),
        ("origin.memory = 1024", "4: `memory` is less than 1MiB | write at least \"1MiB\""),
        ("origin.memory = -1", "4: `memory`: -1 is not a size"),
        ("origin.memory = true", "4: `memory` must be a size, not true or false | write memory = \"256MiB\""),
        ("origin.redis = 'redis://x'", "4: `redis`: Redis is not yet supported by this version"),
        (
            "[collection]",
            "4: `collection` must be a list of tables, not a table | write [[collection]] above each",
        ),
        ("collection = [1]", "4: `collection` must be a table, not a number | write [[collection]]"),
    ] {
        // A key of `site` goes into its inline table.
        let text = match rest.strip_prefix("site.") {
            Some(key) => with("").replace("name = 'x'", &format!("name = 'x', {key}")),
            None => with(rest),
        };
        let found = problems(&text);
        assert!(found.len() == 1 && found[0].starts_with(problem), "{rest}\n{problem}\n{found:#?}");
    }
}

#[test]
fn a_mistake_in_what_must_be_there_is_named_with_its_remedy() {
    for (from, to, problem) in [
        ("name = 'x', ", "", "1: `name` is missing in [site] | write name = \"Flash Shop\""),
        ("name = 'x'", "name = ' '", "1: `name` is empty | write name = \"Flash Shop\""),
        ("http://x", "x", "1: `url`: `x` is not a site's address | write http:// or https:// and the host"),
        (
            "database.url = 'sqlite:x'",
            "",
            "-: the section [database] is missing | write [database] with url = ",
        ),
        ("sqlite:x", "", "2: `url` is empty | write url = \"sqlite:shop.db\""),
        ("sqlite:x", "sqlite:", "2: `url`: there is no file after `sqlite:` | write \"sqlite:\" and"),
        ("sqlite:x", "sqlite::memory:", "2: `url`: a database in memory is gone with its process"),
        ("sqlite:x", "sqlite:x?mode=ro", "2: `url`: the file's name has a `?`, `#` or control character"),
        (
            "sqlite:x",
            "shop.db",
            "2: `url`: it does not say what kind of database this is | write \"sqlite:\"",
        ),
        ("sqlite:x", "mysql://a:pw@h", "2: `url`: it names no database | write"),
        ("sqlite:x", "postgres://a:pw@/x", "2: `url`: it names no host | write"),
        ("sqlite:x", "postgres:a:pw@h/x", "2: `url`: it has no // after its scheme | write"),
        ("sqlite:x", "oracle://a:pw@h/x", "2: `url`: `oracle://***@h/x` is not a database we know | write"),
        (
            "file:x",
            "s3://x'\nstorage.region = 'x",
            "3: `url`: s3: is not yet supported by this version | write",
        ),
        ("file:x", "bucket", "3: `url`: `bucket` is not a bucket we know | write \"file:\" and a folder"),
    ] {
        let found = problems(&with("").replace(from, to));
        assert!(found.len() == 1 && found[0].starts_with(problem), "{to}\n{problem}\n{found:#?}");
    }
}

/// One collection from line 4, its `name` in line 5, and what follows from line 6.
fn collection(rest: &str) -> String {
    with(&format!("[[collection]]\nname = 'some'\n{rest}"))
}

#[test]
fn a_mistake_in_a_collection_is_named_with_its_line_and_remedy() {
    let document = "[[collection.document]]\npath = '/x.html'";
    for (rest, problem) in [
        ("", "4: collection `some` makes no document | add [[collection.document]] with a path"),
        ("querry = 'x'", "6: `querry` is not a key of collection `some` | did you mean `query`?"),
        ("query = 1", "6: `query` must be text, not a number | write query = "),
        ("query = 'SELECT 1; SELECT 2'", "6: `query`: there is more after the `;` | write one SELECT"),
        ("refresh = '10ms'", "6: `refresh`: `10ms` is too short | write at least \"1s\""),
        ("fallback = 'no'", "6: `fallback` must be true or false, not text | write fallback = true, without"),
        (
            "[[collection]]\nname = 'some'",
            "7: there are two collections `some`, one in line 5 | choose another",
        ),
    ] {
        let document = match rest {
            "" => "",
            _ if rest.starts_with("query") => "[[collection.document]]\npath = '/{id}.html'",
            _ => document,
        };
        let found = problems(&collection(&format!("{rest}\n{document}")));
        assert!(found.iter().any(|found| found.starts_with(problem)), "{rest}\n{problem}\n{found:#?}");
        assert!(found.len() == 1 || rest.contains("[["), "{rest}\n{found:#?}");
    }
    for (name, problem) in [
        ("Some", "5: `name`: `Some` is not a name | a name starts with a-z"),
        ("static", "5: a collection cannot be called `static`: static files are | choose another name"),
    ] {
        let found = problems(&collection(document).replace("some", name));
        assert!(found.len() == 1 && found[0].starts_with(problem), "{name}\n{problem}\n{found:#?}");
    }
}

#[test]
fn a_mistake_in_a_document_is_named_with_its_line_and_remedy() {
    for (rest, problem) in [
        ("template = 'x'", "6: `path` is missing in a document of collection `some` | write path = "),
        (
            "path = '/{id}.html'",
            "7: `{id}` stands in `/{id}.html`, but the collection has no query | add a q",
        ),
        ("path = 'x.html'", "7: `path`: `x.html`: it must start with `/` | write a path such as"),
        ("path = '/{x.html'", "7: `path`: `/{x.html`: `{` has no `}` after it; write captures as"),
        ("path = '/x'", "7: the media type of `/x` is not known by its extension | write its type"),
        ("path = '/x'\ntype = 'html'", "8: `type`: `html` is not a media type | write one such as"),
        ("path = '/x.js'\ntemplate = '../x'", "8: `template`: `../x` is not a path beside"),
        (
            "path = '/x.js'\ntempalte = 'x'",
            "8: `tempalte` is not a key of document `/x.js` | did you mean `tem",
        ),
        ("path = '/x.js'\ncache = '1d'", "8: `cache` must be a table, not text | write cache = { browser"),
        ("path = '/x.js'\ncache.cdn = '50ms'", "8: `cdn`: `50ms` is not in whole seconds | caches count"),
        (
            "path = '/x.js'\ncache.edge = '1d'",
            "8: `edge` is not a key of `cache` | its keys are browser, cdn",
        ),
        (
            "path = '/x.js'\n[[collection.document]]\npath = '/x.js'",
            "9: `/x.js` makes the same paths as `/x.js` in line 7 | choose another path",
        ),
    ] {
        let found = problems(&collection(&format!("[[collection.document]]\n{rest}")));
        assert!(found.len() == 1 && found[0].starts_with(problem), "{rest}\n{problem}\n{found:#?}");
    }
    for (rest, problem) in [
        (
            "query = 'SELECT id FROM x'\n[[collection.document]]\npath = '/x.js'",
            "8: every row would get the same path `/x.js` | put a column into the path",
        ),
        (
            "query = 'SELECT a, b FROM x'\ndocument = [{ path = '/{a}.js' }, { path = '/{b}.js' }]",
            "7: `/{b}.js` makes the same paths as `/{a}.js` in line 7 | choose another path",
        ),
        (
            "[collection.document]\npath = '/x.html'",
            "6: `document` must be a list of tables, not a table | write [[collection.document]] above",
        ),
    ] {
        let found = problems(&collection(rest));
        assert!(found.len() == 1 && found[0].starts_with(problem), "{rest}\n{problem}\n{found:#?}");
    }
}

#[test]
fn a_mistake_in_an_include_is_named_with_its_line_and_remedy() {
    let document = "[[collection.document]]\npath = '/x.html'\n";
    for (rest, problem) in [
        ("a]", "8: `query` is missing in include `a` | write query = \"SELECT ...\""),
        ("A]\nquery = 'SELECT 1'", "8: `A`: `A` is not a name | a name starts with a-z"),
        (
            "page]\nquery = 'SELECT 1'",
            "8: an include of a collection cannot be called `page`: templates have",
        ),
        ("a]\nquery = 'UPDATE x'", "9: `query`: the query is not a SELECT | write one SELECT"),
        (
            "a]\nquery = 'SELECT 1'\non = 'id'",
            "10: `on` must be a table, not text | write on = { their_column",
        ),
        ("a]\nquery = 'SELECT 1'\non = {}", "10: `on` is empty | write on = { their_column"),
        ("a]\nquery = 'SELECT 1'\non = { a = '' }", "10: `on` names an empty column"),
        ("a]\nquery = 'SELECT 1'\non = { a = 1 }", "10: `a` must be text, not a number | write a = \"...\""),
        (
            "a]\nquery = 'SELECT 1 LIMIT 1'\non = { a = 'a' }",
            "9: `query`: LIMIT or FETCH would cut the rows of all",
        ),
        ("a]\nquery = 'SELECT 1'\norder_by = 'ORDER BY a'", "10: `order_by`: `order_by` repeats ORDER BY"),
        ("a]\nquery = 'SELECT 1'\nlimit = 0", "10: `limit` cannot be 0 | write a whole number from 1 to"),
        (
            "a]\nquery = 'SELECT 1'\nlimit = '5'",
            "10: `limit` must be a whole number, not text | write limit = 50",
        ),
        (
            "a]\nquery = 'SELECT 1'\nlimits = 5",
            "10: `limits` is not a key of include `a` | did you mean `limit`?",
        ),
        ("a.include.b]\nquery = 'SELECT 1'", "8: `query` is missing in include `a`"),
        (
            "a]\nquery = 'SELECT 1'\ninclude.b = 1",
            "10: `b` must be a table, not a number | write [collection.include",
        ),
        ("a]\nquery = 'SELECT 1'\n[collection.include.a]", "10: `a` is defined twice | keep one of the two"),
    ] {
        let found = problems(&collection(&format!("{document}[collection.include.{rest}")));
        assert!(found.len() == 1 && found[0].starts_with(problem), "{rest}\n{problem}\n{found:#?}");
    }
    let limited = "[collection.include.a]\nquery = 'SELECT 1 LIMIT 1'";
    assert_eq!(problems(&collection(&format!("{document}{limited}"))), [""; 0], "without `on` it may be cut");
}

#[test]
fn a_mistake_in_pages_is_named_with_its_line_and_remedy() {
    let includes = "include.list.query = 'SELECT 1'\ninclude.row = { query = 'SELECT 1', one = true }\n";
    for (path, pages, problem) in [
        (
            "/{page}.html",
            "",
            "9: `{page}` stands in `/{page}.html`, which is not split into pages | add pages",
        ),
        (
            "/x.html",
            "of = 'list', size = 2",
            "9: `/x.html` is split into pages, but `{page}` does not stand in it",
        ),
        (
            "/{page}.html",
            "of = 'lists', size = 2",
            "10: `pages.of`: this collection has no include `lists` | did",
        ),
        (
            "/{page}.html",
            "of = 'other', size = 2",
            "10: `pages.of`: this collection has no include `other` | name",
        ),
        ("/{page}.html", "of = 'row', size = 2", "10: `pages.of`: the include `row` is one row, not a list"),
        ("/{page}.html", "of = 'list'", "10: `size` is missing in `pages` | write pages = { of"),
        ("/{page}.html", "size = 2", "10: `of` is missing in `pages` | write pages = { of"),
        ("/{page}.html", "of = 'list', size = 0", "10: `size` cannot be 0 | write a whole number from 1"),
        (
            "/{page}.html",
            "of = 'list', size = 2, last = 'x'",
            "10: `last` is not a key of `pages` | its keys are",
        ),
        (
            "/{page}.html",
            "of = 'list', size = 2, first = '/{slug}.html'",
            "10: `first`: `/{slug}.html` must have the captures of `/{page}.html`, but for `{page}` | write a path w",
        ),
        (
            "/{page}.html",
            "of = 'list', size = 2, first = '/{page}.html'",
            "10: `first`: `/{page}.html` must have the captures of",
        ),
    ] {
        let pages = if pages.is_empty() { String::new() } else { format!("pages = {{ {pages} }}") };
        let text = collection(&format!("{includes}[[collection.document]]\npath = '{path}'\n{pages}"));
        let found = problems(&text);
        assert!(found.len() == 1 && found[0].starts_with(problem), "{path} {pages}\n{problem}\n{found:#?}");
    }
}
