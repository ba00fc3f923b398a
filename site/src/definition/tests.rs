mod mistakes;

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::path::DocPath;
use crate::policy::Policy;

/// The example of the design, word for word but for its ellipses.
const EXAMPLE: &str = r##"
[site]
name = "Flash Shop"
url = "https://shop.example"            # for absolute links and purges
templates = "pages"
static = "static"                       # files published with the site; {{ asset(path="style.css") }} gives the versioned, immutable URL
not_found = "/404.html"                 # the document served with 404

[database]
url = "${DATABASE_URL:-sqlite:shop.db}" # sqlite:, postgres:, mysql: (MariaDB too)
schema = "schema.sql"                   # optional: run once when an embedded database is new

[storage]
url = "file:bucket"                     # or s3://bucket/prefix with endpoint, region, path_style
objects = true                          # (default) also keep each current document at its own path; or the URL of another bucket, if packs shall not be public

[publish]
quiet = "50ms"                          # wait for an edit storm to pause, at most max_wait
max_wait = "1s"
guard = 0.3                             # share of documents a release may remove or empty without --yes

[origin]
listen = "127.0.0.1:8080"
admin = "127.0.0.1:8081"
memory = "256MiB"
redis = ""                              # redis://, sentinel or several nodes of a cluster

[[collection]]
name = "product"
query = "SELECT id, slug, name, price_cents, brand_id FROM product WHERE listed"
  [collection.include.variants]         # each row's related rows, loaded for a whole batch at once
  query = "SELECT product_id, sku, stock FROM variant"
  on = { product_id = "id" }            # included column = this row's column
  order_by = "sku"
  limit = 50                            # per parent row; LIMIT inside an include with `on` is refused
  [collection.include.brand]
  query = "SELECT id, name FROM brand"
  on = { id = "brand_id" }
  one = true                            # an object or null instead of a list
  [[collection.document]]
  path = "/products/{slug}.json"        # no template: the row, then its includes, as compact JSON in column order
  [[collection.document]]
  path = "/products/{slug}.html"
  template = "product.html"
  cache = { browser = "0s", cdn = "1d", stale = "1h" }     # the default

[[collection]]                          # no query: made once
name = "home"
  [collection.include.featured]         # no `on`: the whole result
  query = "SELECT slug, name FROM product WHERE featured"
  order_by = "slug"
  [[collection.document]]
  path = "/index.html"
  template = "home.html"

[[collection]]
name = "category"
query = "SELECT id, slug FROM category"
refresh = "1h"
fallback = false
  [collection.include.products]
  query = "SELECT id, category_id FROM product"
  on = { category_id = "id" }
  [collection.include.products.include.a]
  query = "SELECT product_id, url FROM image"
  on = { product_id = "id" }
  [[collection.document]]
  path = "/category/{slug}-{page}.html"
  template = "category.html"
  pages = { of = "products", size = 40, first = "/category/{slug}.html" }
  [[collection.document]]
  path = "/category/{slug}"
  type = "text/html"
"##;

fn no_variables(_: &str) -> Option<String> {
    None
}

fn example() -> Site {
    parse("site.toml", EXAMPLE, &no_variables).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The required sections in three lines, and `rest` from line 4.
fn with(rest: &str) -> String {
    let head = "site = { name = 'x', url = 'http://x' }\ndatabase.url = 'sqlite:x'\nstorage.url = 'file:x'\n";
    format!("{head}{rest}")
}

/// Each problem as `line: message | remedy`.
fn problems(text: &str) -> Vec<String> {
    match parse("site.toml", text, &no_variables) {
        Ok(_) => Vec::new(),
        Err(Problems(problems)) => problems
            .into_iter()
            .map(|problem| {
                assert_eq!(problem.file, "site.toml");
                let line = problem.line.map_or("-".to_owned(), |line| line.to_string());
                format!("{line}: {} | {}", problem.message, problem.remedy)
            })
            .collect(),
    }
}

#[test]
fn every_key_of_the_design_is_read() {
    let site = example();
    assert_eq!(site.templates, "pages");
    assert_eq!(site.static_files.as_deref(), Some("static"));
    assert_eq!(site.database.url, "sqlite:shop.db");
    assert_eq!(site.database.file(), Some("shop.db"));
    assert_eq!(site.database.schema.as_deref(), Some("schema.sql"));
    assert_eq!((folder(&site.storage.url), &site.storage.objects), ("bucket", &Objects::Same));
    let publish = Publish { quiet: Duration::from_millis(50), max_wait: Duration::from_secs(1), guard: 0.3 };
    assert_eq!(site.publish, publish);
    assert_eq!((&*site.origin.listen, &*site.origin.admin), ("127.0.0.1:8080", "127.0.0.1:8081"));
    assert_eq!((site.origin.memory, &*site.origin.redis), (256 << 20, ""));

    let definition = site.definition;
    assert_eq!((&*definition.name, &*definition.url), ("Flash Shop", "https://shop.example"));
    assert_eq!(definition.not_found, DocPath::new("/404.html").ok());
    let [product, home, category] = &definition.collections[..] else { panic!("three collections") };
    assert_eq!((product.name.as_str(), product.fallback, product.refresh), ("product", true, None));
    let [variants, brand] = &product.includes[..] else { panic!("in the order of the file, not of names") };
    assert_eq!((variants.name.as_str(), variants.limit, variants.one), ("variants", Some(50), false));
    assert_eq!(variants.on, [("product_id".to_owned(), "id".to_owned())]);
    assert_eq!((brand.name.as_str(), brand.limit, brand.one), ("brand", None, true));
    assert_eq!(product.documents[0].media_type, "application/json");
    assert_eq!((&product.documents[0].template, product.documents[1].cache), (&None, Policy::default()));
    assert_eq!(product.documents[1].template.as_deref(), Some("product.html"));
    assert_eq!(product.documents[1].media_type, "text/html; charset=utf-8");
    assert_eq!((&home.query, home.includes[0].on.len()), (&None, 0));
    assert_eq!((category.fallback, category.refresh), (false, Some(Duration::from_secs(3600))));
    assert_eq!(category.includes[0].includes[0].name, "a");
    let pages = category.documents[0].pages.as_ref().expect("split into pages");
    assert_eq!((pages.of.as_str(), pages.size), ("products", 40));
    assert_eq!(pages.first.as_ref().map(|first| first.as_str()), Some("/category/{slug}.html"));
    assert_eq!(category.documents[1].media_type, "text/html; charset=utf-8");
    assert_eq!((product.line, variants.line, product.documents[1].line), (28, 31, 42));
}

#[test]
fn what_is_left_out_has_the_designs_defaults() {
    let site = parse("site.toml", &with(""), &no_variables).expect("the least that there must be");
    assert_eq!((&*site.templates, site.static_files, site.database.schema), ("pages", None, None));
    assert_eq!(site.storage.objects, Objects::Same);
    assert_eq!(site.publish, example().publish);
    assert_eq!(format!("{:?}", site.origin), format!("{:?}", example().origin));
    assert_eq!((site.definition.not_found, site.definition.collections), (None, vec![]));
}

#[test]
fn a_definition_comes_back_from_json_equal() {
    let definition = example().definition;
    let json = serde_json::to_string(&definition).expect("definitions print");
    assert!(!json.contains("line"), "{json}");
    assert_eq!(serde_json::from_str::<Definition>(&json).expect("what was printed"), definition);
}

#[test]
fn variables_stand_in_every_string_and_secrets_do_not_print() {
    let text = EXAMPLE.replace("Flash Shop", "${NAME} $${NAME}");
    let env = |name: &str| match name {
        "NAME" => Some("Flash".to_owned()),
        "DATABASE_URL" => Some("postgres://me:secret@host/shop".to_owned()),
        _ => None,
    };
    let site = parse("site.toml", &text, &env).expect("the example");
    assert_eq!((site.database.url.as_str(), site.database.file()), ("postgres://me:secret@host/shop", None));
    let printed = format!("{:?} {}", site.database, site.database.redacted());
    assert!(printed.contains("postgres://***@host/shop") && !printed.contains("secret"), "{printed}");
    let text = text.replace("DATABASE_URL", "OTHER");
    let site = parse("site.toml", &text, &env).expect("the example");
    assert_eq!(site.definition.name, "Flash ${NAME}");
}

#[test]
fn storage_objects_may_be_off_or_in_another_bucket() {
    for (objects, expected) in [
        ("true", Objects::Same),
        ("false", Objects::Off),
        ("'file:objects'", Objects::Other("file:objects".to_owned())),
        ("'file://x'", Objects::Same),
    ] {
        let site = parse("site.toml", &with(&format!("storage.objects = {objects}")), &no_variables);
        assert_eq!(site.expect("a valid site").storage.objects, expected, "{objects}");
    }
}

#[test]
fn all_mistakes_are_found_in_one_run_in_the_order_of_their_lines() {
    let text = EXAMPLE
        .replace("https://shop.example", "shop.example")
        .replace("guard = 0.3", "guard = 3")
        .replace("\"256MiB\"", "\"256\"")
        .replace("one = true", "only = true")
        .replace("type = \"text/html\"", "");
    let found = problems(&text);
    let lines: Vec<&str> = found.iter().filter_map(|problem| problem.split(':').next()).collect();
    assert_eq!(lines, ["4", "20", "25", "39", "72"], "{found:#?}");
}

#[test]
fn what_is_not_toml_is_told_without_mistakes_that_only_follow_from_it() {
    for (text, lines) in [
        (with("site = 1\nx = = 2\n[publish\nquiet = '1s'\n[origin]\nlisten = 'x'"), vec!["4", "5", "6", "9"]),
        (EXAMPLE.replace("name = \"product\"", "name ="), vec!["29"]),
        (EXAMPLE.replace("[database]", "[database"), vec!["9"]),
        (EXAMPLE.replace("path = \"/index.html\"", "path = \"/index.html"), vec!["53"]),
    ] {
        let found = problems(&text);
        let found_lines: Vec<&str> = found.iter().filter_map(|problem| problem.split(':').next()).collect();
        assert_eq!(found_lines, lines, "{found:#?}");
    }
    assert!(
        problems("[site]\n[site]")
            .iter()
            .any(|problem| problem.starts_with("2: `site` is defined twice | keep"))
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_damaged_definition_never_panics(cuts in proptest::collection::vec((0..EXAMPLE.len(), 0..40usize, "[\\[\\]{}='\"\\$a-z0-9.\u{e9}\n]{0,4}"), 1..5)) {
        let mut text = EXAMPLE.to_owned();
        for (start, length, inserted) in cuts {
            let start = start.min(text.len());
            let end = (start + length).min(text.len());
            if text.is_char_boundary(start) && text.is_char_boundary(end) {
                text.replace_range(start..end, &inserted);
            }
        }
        let _ = parse("site.toml", &text, &no_variables);
    }
}
