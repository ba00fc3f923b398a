//! Foreign text: paths of requests, site definitions, templates.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use crate::definition::{self, Collection, Definition};
use crate::path::{DocPath, RequestPath, request_path};
use crate::render::{Limits, Page, Renderer, Settings};
use crate::router::{Owner, Router};
use crate::row::{Columns, Included, Row, Rows, Value};
use crate::version::Version;

/// Steps and bytes of one rendering: little, so that a target is quick.
const LIMITS: Limits = Limits { steps: 5_000, bytes: 64 << 10 };

/// A site with every kind of path.
const SITE: &str = r#"
[site]
name = "Fuzz"
url = "https://fuzz.example"
[database]
url = "sqlite:fuzz.db"
[storage]
url = "file:bucket"
[[collection]]
name = "things"
query = "SELECT id, slug, name FROM thing"
  [collection.include.parts]
  query = "SELECT thing_id, name FROM part"
  on = { thing_id = "id" }
  [[collection.document]]
  path = "/things/{slug}-{id}.json"
  [[collection.document]]
  path = "/{slug}.html"
  [[collection.document]]
  path = "/list/{slug}/{page}.json"
  pages = { of = "parts", size = 2, first = "/list/{slug}.json" }
[[collection]]
name = "home"
  [[collection.document]]
  path = "/index.html"
"#;

static COLLECTIONS: LazyLock<Vec<Collection>> = LazyLock::new(|| {
    let site = definition::parse("site.toml", SITE, &|_| None).expect("the site is right");
    site.definition.collections
});

static ROUTER: LazyLock<Router> = LazyLock::new(|| {
    let static_files = ["/style.css", "/a/b.html"].map(|path| DocPath::new(path).expect("a path"));
    Router::new(static_files, &COLLECTIONS)
});

/// A request's path: what it asks for survives encoding, and whoever owns it makes it again.
///
/// # Panics
/// When it does not.
pub fn fuzz_request_path(data: &[u8]) {
    let raw = String::from_utf8_lossy(data);
    let path = match request_path(&raw) {
        Ok(RequestPath::Document(path)) => path,
        Ok(RequestPath::Versioned(version, path)) => {
            let again = request_path(&format!("/_v/{version}{}", path.encode()));
            assert_eq!(again, Ok(RequestPath::Versioned(version, path)));
            return;
        }
        _ => return,
    };
    assert_eq!(DocPath::new(path.as_str()).as_ref(), Ok(&path), "a document's path is a path");
    assert_eq!(request_path(&path.encode()), Ok(RequestPath::Document(path.clone())), "encoded once");
    let Some(Owner::Document(route)) = ROUTER.owner(path.as_str()) else { return };
    let document = &COLLECTIONS[route.collection].documents[route.document];
    let first = document.pages.as_ref().and_then(|pages| pages.first.as_ref());
    let pattern = first.filter(|_| route.first_page).unwrap_or(&document.path);
    let made = pattern.expand(|column| route.captures.get(column).map(Into::into));
    assert_eq!(made.as_ref(), Ok(&path), "what a path is read as makes the path");
}

/// A `site.toml`: an answer, and if it is a site, one that can be stored with a release.
///
/// # Panics
/// When it cannot.
pub fn fuzz_site_toml(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let variables = |name: &str| (name == "NAME").then(|| "value".to_owned());
    match definition::parse("site.toml", &text, &variables) {
        Ok(site) => {
            let json = serde_json::to_string(&site.definition).expect("definitions print");
            let again: Definition = serde_json::from_str(&json).expect("what was printed");
            assert_eq!(again, site.definition);
            drop(Router::new([], &site.definition.collections));
        }
        Err(problems) => assert!(!problems.to_string().is_empty()),
    }
}

/// A row with something of every kind.
fn row() -> Row {
    let columns = |names: &[&str]| -> Columns { names.iter().map(|name| Arc::from(*name)).collect() };
    let part = |name: &str| Row {
        columns: columns(&["name", "price"]),
        values: vec![Value::Text(name.into()), Value::Int(1_250)],
        includes: Vec::new(),
    };
    let json = serde_json::json!({"a": [1, "two", null], "b": {"c": true}});
    Row {
        columns: columns(&["id", "name", "x", "y", "data", "when"]),
        values: vec![
            Value::Int(7),
            Value::Text("<Name> & \"é\"".into()),
            Value::Null,
            Value::Float(1.5),
            Value::Json(Arc::new(json)),
            Value::Text("2024-02-29T12:00:00Z".into()),
        ],
        includes: vec![
            Included { name: "parts".into(), rows: Rows::Many(vec![part("one"), part("two")].into()) },
            Included { name: "maker".into(), rows: Rows::One(Some(Box::new(part("maker")))) },
        ],
    }
}

/// Templates, apart at NUL: they are read or refused, and what is read renders or fails within limits.
///
/// # Panics
/// Never, if all is well.
pub fn fuzz_template(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let names = ["a.html", "b.html", "c.json"];
    let templates: BTreeMap<String, String> = names
        .iter()
        .zip(text.split('\0'))
        .map(|(name, text)| ((*name).to_owned(), text.to_owned()))
        .collect();
    let settings = Settings { site_name: "Fuzz".to_owned(), site_url: "https://fuzz.example".to_owned() };
    let assets = [("/style.css".to_owned(), Version::of(b"p{}"))].into();
    let renderer = match Renderer::new("pages", &templates, &settings, &assets, LIMITS) {
        Ok(renderer) => renderer,
        Err(problems) => return assert!(!problems.to_string().is_empty()),
    };
    let page = Page { number: 2, count: 3, previous: Some("/1.html".to_owned()), next: None };
    for name in templates.keys() {
        let _ = (renderer.dependencies(name), renderer.variables(name));
        for page in [None, Some(&page)] {
            let once = renderer.render(name, &row(), page);
            assert_eq!(once, renderer.render(name, &row(), page), "equal input gives equal bytes");
            if let Ok(body) = once {
                assert!(body.len() <= LIMITS.bytes, "{} bytes", body.len());
            }
        }
    }
}
