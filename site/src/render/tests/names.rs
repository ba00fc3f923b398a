//! Names that rows lack, found without rendering.

use crate::render::{Shape, lacking};

use super::texts;

fn shape() -> Shape {
    let columns = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let rows = |names: &[&str]| Shape { columns: columns(names), includes: Vec::new() };
    let mut variant = rows(&["sku", "stock"]);
    variant.includes.push(("colour".to_owned(), true, rows(&["hex"])));
    let mut shape = rows(&["slug", "name", "data"]);
    shape.includes.push(("variants".to_owned(), false, variant));
    shape.includes.push(("brand".to_owned(), true, rows(&["title"])));
    shape
}

fn found(templates: &[(&str, &str)], is_paged: bool) -> Vec<String> {
    let problems = lacking("pages", &texts(templates), templates[0].0, &shape(), is_paged);
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn names_that_rows_lack_are_found_wherever_they_stand() {
    for (text, told) in [
        ("{% if slug %}\n{{ nmae }}{% endif %}", "pages/t:2: `nmae` is not defined\n  did you mean `name`?"),
        ("{{ brand.titel }}", "pages/t:1: `brand.titel` is not defined\n  did you mean `title`?"),
        (
            "{% for v in variants %}{{ v.skuu }}{% endfor %}",
            "pages/t:1: `v.skuu` is not defined\n  did you mean `sku`?",
        ),
        (
            "{% for v in variants %}{{ v.colour.hexx }}{% endfor %}",
            "pages/t:1: `v.colour.hexx` is not defined\n  did you mean `hex`?",
        ),
        ("{{ [v.skuu for v in variants] | length }}", "`v.skuu` is not defined"),
        ("{% set x = 1 if slug else nope %}", "`nope` is not defined\n  known here: brand, data"),
        ("{{ site.nmae }}", "did you mean `name`?"),
        ("{{ page.number }}", "`page.number` is not defined"),
        ("{% if nope.x %}{{ nope.x }}{% endif %}", "`nope.x` is not defined"),
    ] {
        let found = found(&[("t", text)], false).join("\n");
        assert!(found.contains(told), "{text}: {found}");
    }
}

#[test]
fn what_only_rendering_can_tell_is_not_told() {
    for text in [
        "{{ slug }}{{ data.any.thing }}{{ brand.title }}{{ site.url }}{{ variants | length }}",
        "{% for v in variants %}{{ loop.index }}{{ v.sku }}{{ v.colour.hex }}{% endfor %}",
        "{% for k, v in data %}{{ k }}{{ v.x }}{% endfor %}",
        "{% set n = brand %}{{ n.anything }}{% for c in n.list %}{{ c.x }}{% endfor %}",
        "{% if promo is defined %}{{ promo.x }}{% endif %}",
        "{{ promo | default(value=1) }}{{ brand.x | default(value=1) }}",
        "{% for v in variants %}{{ v.x }}{% endfor %}{% for v in data %}{{ v.x }}{% endfor %}",
        "{% component card(title) %}{{ title }}{% endcomponent %}{{ <card title={name} /> }}",
        "{{ variants[0].anything }}{{ data['x'].y }}",
    ] {
        assert_eq!(found(&[("t", text)], false), [""; 0], "{text}");
    }
    assert_eq!(found(&[("t", "{{ page.number }}{{ page.next }}")], true), [""; 0]);
}

#[test]
fn parents_and_parts_are_followed_and_overridden_blocks_are_not() {
    let base = "{% block head %}{{ headline }}{% endblock %}{% block foot %}{{ fotter }}{% endblock %}";
    let templates = [
        ("t", "{% extends 'base' %}{% block head %}{% include 'part' %}{% endblock %}{{ never }}"),
        ("base", base),
        ("part", "{{ lost }}{{ slug }}"),
        ("other", "{{ elsewhere }}"),
    ];
    let found = found(&templates, false);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("pages/base:1: `fotter`") && found[1].contains("pages/part:1: `lost`"));
}

#[test]
fn a_part_sees_what_its_caller_binds() {
    let templates = [
        ("t", "{% set mood = 'x' %}{% for v in variants %}{% include 'part' %}{% endfor %}"),
        ("part", "{{ mood }}{{ v.sku }}{{ v.skuu }}"),
    ];
    let found = found(&templates, false);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("`v.skuu`"));
}
