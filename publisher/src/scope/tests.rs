//! What follows from a changed definition.

use std::collections::BTreeMap;

use edgepress_site::definition;
use edgepress_site::release::definition::RENDERER;
use edgepress_site::render::Limits;
use edgepress_site::version::Version;

use super::*;

const SITE: &str = r#"
[site]
name = "Test"
url = "http://test.example"
templates = "pages"
[database]
url = "sqlite:site.db"
[storage]
url = "file:bucket"
[[collection]]
name = "product"
query = "SELECT slug, brand FROM product"
  [[collection.document]]
  path = "/p/{slug}.json"
  [[collection.document]]
  path = "/p/{slug}.html"
  template = "product.html"
  [[collection.document]]
  path = "/p/{slug}.xml"
  template = "plain.xml"
[[collection]]
name = "brand"
query = "SELECT brand, count(*) AS products FROM product GROUP BY brand"
  [[collection.document]]
  path = "/b/{brand}.html"
  template = "brand.html"
"#;

fn release(
    edit: impl FnOnce(&mut String, &mut BTreeMap<String, String>, &mut BTreeMap<String, Version>),
) -> ReleaseDefinition {
    let mut text = SITE.to_owned();
    let templates = [
        ("base.html", "{% block body %}{% endblock %}"),
        ("price.html", "{% component price() %}1{% endcomponent %}"),
        ("product.html", r#"{% extends "base.html" %}{% block body %}{{ slug }}<price/>{% endblock %}"#),
        ("plain.xml", r#"<a href="{{ asset(path="style.css") }}">{{ slug }}</a>"#),
        ("brand.html", "{{ brand }}"),
    ];
    let mut templates: BTreeMap<_, _> =
        templates.map(|(name, text)| (name.to_owned(), text.replace("<price/>", ""))).into();
    let mut files: BTreeMap<_, _> =
        ["/style.css", "/other.css"].map(|path| (path.to_owned(), Version::of(path.as_bytes()))).into();
    edit(&mut text, &mut templates, &mut files);
    let site = definition::parse("site.toml", &text, &|_| None).expect("it has no mistakes").definition;
    ReleaseDefinition { renderer: RENDERER, site, templates, static_files: files }
}

fn maker(definition: ReleaseDefinition) -> Maker {
    Maker::new(definition, "pages", Limits::default()).expect("it has no mistakes")
}

/// What is made anew after an edit: collections with `*`, or with the documents' indexes.
fn touched(
    edit: impl FnOnce(&mut String, &mut BTreeMap<String, String>, &mut BTreeMap<String, Version>),
) -> String {
    let scope = Scope::of_definition(&release(|_, _, _| {}), &maker(release(edit)));
    if scope.is_full() {
        return "everything".to_owned();
    }
    let part = |(name, part): (&String, &Part)| match part.whole {
        Some(_) => format!("{name}*"),
        None => format!("{name}{:?}", part.documents.iter().collect::<Vec<_>>()),
    };
    let parts = scope.parts.iter().map(part).chain(scope.static_files.iter().cloned());
    parts.collect::<Vec<_>>().join(" ")
}

fn template(name: &str, text: &str) -> String {
    touched(|_, templates, _| {
        templates.insert(name.to_owned(), text.to_owned());
    })
}

fn site(from: &str, to: &str) -> String {
    touched(|text, _, _| {
        assert!(text.contains(from));
        *text = text.replacen(from, to, 1);
    })
}

#[test]
fn a_template_touches_the_documents_that_use_it_and_no_more() {
    assert_eq!(template("brand.html", "<b>{{ brand }}</b>"), "brand[0]");
    assert_eq!(template("base.html", "<p>{% block body %}{% endblock %}</p>"), "product[1]");
    assert_eq!(template("unused.html", "{{ never }}"), "");
}

#[test]
fn a_static_file_touches_itself_and_those_who_name_its_version() {
    let change = |path: &'static str| {
        touched(move |_, _, files| {
            files.insert(path.to_owned(), Version::of(b"another"));
        })
    };
    assert_eq!(change("/style.css"), "product[2] /style.css");
    assert_eq!(change("/other.css"), "/other.css");
    assert_eq!(change("/new.css"), "/new.css");
    assert_eq!(change("/b/x.html"), "brand* /b/x.html", "it takes a path that a brand may have");
}

#[test]
fn queries_and_paths_touch_whole_collections() {
    assert_eq!(
        site("SELECT slug, brand FROM product", "SELECT slug, brand FROM product WHERE 1"),
        "product*"
    );
    assert_eq!(site("/b/{brand}.html", "/brands/{brand}.html"), "brand*");
    assert_eq!(site("/b/{brand}.html", "/p/{brand}-brand.html"), "brand* product*");
    assert_eq!(site("http://test.example", "http://test2.example"), "brand[0] product[1, 2]");
    let added = "[[collection]]\nname = \"home\"\n[[collection.document]]\npath = \"/p/home.html\"\n";
    assert_eq!(site("[[collection]]", &format!("{added}[[collection]]")), "home* product*");
    assert_eq!(site("name = \"brand\"", "name = \"maker\""), "brand* maker*");
}

#[test]
fn asset_calls_are_found_in_any_spelling() {
    let these = |names: &[&str]| Assets::These(names.iter().map(|name| (*name).to_owned()).collect());
    for (text, expected) in [
        (r#"{{ asset(path="a.css") }}{{ asset( path = '/b.css' ) }}"#, these(&["/a.css", "/b.css"])),
        ("{{ asset(path=file) }}", Assets::Any),
        (r#"{{ asset(path="a" ~ file) }}"#, Assets::Any),
        ("our assets (all)", Assets::These(BTreeSet::new())),
        ("the asset (all)", Assets::Any),
    ] {
        assert_eq!(assets(text), expected, "{text}");
    }
}
