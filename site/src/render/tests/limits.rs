//! Rendering ends, early, with little memory, at the same place every time.

use super::*;

fn limited(templates: &[(&str, &str)], steps: u64, bytes: usize) -> Result<String, RenderError> {
    let renderer = renderer_within(templates, Limits { steps, bytes }).unwrap_or_else(|e| panic!("{e}"));
    let bytes = renderer.render(templates[0].0, &product(), None)?;
    Ok(String::from_utf8(bytes).expect("UTF-8"))
}

const MANY: &str = "{% for a in range(end=1000) %}{% for b in range(end=1000) %}";
const END: &str = "{% endfor %}{% endfor %}";

#[test]
fn every_round_and_every_component_is_a_step() {
    let rounds = "{% for i in range(end=3) %}{{ i }}{% endfor %}";
    assert_eq!(limited(&[("t.html", rounds)], 6, 1000).as_deref(), Ok("012"));
    let error =
        limited(&[("t.html", rounds)], 5, 1000).expect_err("three for the list, three for the rounds");
    assert_eq!(
        error.to_string(),
        "pages/t.html:1: the template takes more than 5 steps\n  loop over fewer rows: select them in the query, or \
         split the document into pages"
    );
    let component = "{% component c() %}c{% endcomponent %}{{ <c/> }}{{ <c/> }}";
    assert_eq!(limited(&[("t.html", component)], 2, 1000).as_deref(), Ok("cc"));
    limited(&[("t.html", component)], 1, 1000).expect_err("two components are two steps");
    let list = "{{ [v.sku for v in variants] | length }}";
    assert_eq!(limited(&[("t.html", list)], 3, 1000).as_deref(), Ok("3"));
    limited(&[("t.html", list)], 2, 1000).expect_err("three elements are three steps");
    let filtered = "{{ [v.sku for v in variants if false] | length }}";
    limited(&[("t.html", filtered)], 2, 1000).expect_err("three looks are three steps");
}

/// Templates that have to be stopped, and by which limit.
fn runaways() -> Vec<(String, &'static str)> {
    let big =
        "{% set x = 'xxxxxxxxxxxxxxxx' %}{% for i in range(end=14) %}{% set_global x = x ~ x %}{% endfor %}";
    vec![
        (format!("{MANY}{MANY}{MANY}{END}{END}{END}"), "takes more than"),
        (format!("{MANY}<p>some static text</p>{END}{MANY}more and more{END}"), "the document grows beyond"),
        (format!("{MANY}{{{{ name }}}} and {{{{ name }}}}{END}"), "the document grows beyond"),
        (
            "{% set x = 'x' %}{% for i in range(end=99) %}{% set_global x = x ~ x %}{% endfor %}".into(),
            "a value grows",
        ),
        (
            "{% set x = [1] %}{% for i in range(end=99) %}{% set_global x = [x, x] %}{% endfor %}{{ x }}"
                .into(),
            "a value grows",
        ),
        (
            "{% set x = [1] %}{% for i in range(end=99) %}{% set_global x = [...x, ...x] %}{% endfor %}"
                .into(),
            "a value grows",
        ),
        (
            "{% set x = {} %}{% for i in range(end=99) %}{% set_global x = {'a': x, 'b': x} %}{% endfor %}"
                .into(),
            "a value grows",
        ),
        (
            "{% set x = 1 %}{% for i in range(end=9999) %}{% set_global x = [x] %}{% endfor %}".into(),
            "a value nests deeper",
        ),
        (
            format!("{{% set x %}}{MANY}some static text, again and again{END}{{% endset %}}"),
            "captures more than",
        ),
        (format!("{{% set x %}}{MANY}{{{{ name }}}}{END}{{% endset %}}"), "captures more than"),
        (
            format!("{{% filter upper %}}{MANY}{{{{ name | safe }}}}{END}{{% endfilter %}}"),
            "captures more than",
        ),
        (format!("{{% set x %}}{MANY}{{% include 'part.txt' %}}{END}{{% endset %}}"), "captures more than"),
        (format!("{{% set x %}}{MANY}{{{{ <c/> }}}}{END}{{% endset %}}"), "captures more than"),
        (format!("{{% <d> %}}{MANY}{{{{ <c/> }}}}{END}{{% </d> %}}"), "captures more than"),
        ("{% set x = <e/> %}".into(), "captures more than"),
        ("{% set x %}{% include 'loop.txt' %}{% endset %}".into(), "captures more than"),
        (format!("{big}{{{{ x | replace(from='x', to=x) | length }}}}"), "a value grows"),
        (format!("{big}{{{{ x | replace(from='', to=x) | length }}}}"), "a value grows"),
        (format!("{big}{{{{ x | split(pat='') | length }}}}"), "a value grows"),
        (format!("{big}{{{{ x | split(pat='') | join(sep=x) | length }}}}"), "a value grows"),
        (format!("{big}{{{{ range(end=9) | join(sep=x) | length }}}}"), "a value grows"),
        (format!("{big}{{{{ [x, x, x, x, x, x, x, x, x, x] | json | length }}}}"), "a value grows"),
        (format!("{big}{{{{ [[x, x, x], [x, x, x]] }}}}"), "a value grows"),
        (format!("{big}{{{{ x ~ x ~ x ~ x ~ x ~ x ~ x ~ x ~ x ~ x | length }}}}"), "a value grows"),
        (format!("{big}{{{{ <box v={{x ~ x ~ x}} /> }}}}"), "a value grows"),
        (format!("{big}{{% set y %}}{{{{ x }}}}{{{{ x }}}}{{{{ x }}}}{{% endset %}}"), "captures more than"),
        (format!("{big}{{{{ [x ~ i for i in range(end=1000)] | length }}}}"), "captures more than"),
        (
            format!("{big}{{% for i in range(end=16000) %}}{{{{ x | upper | length == 1 }}}}{{% endfor %}}"),
            "takes more than",
        ),
        ("{{ range(end=1000000000000) | length }}".into(), "a value grows"),
        ("{{ range(start=-9223372036854775807, end=9223372036854775807) | length }}".into(), "a value grows"),
        (
            "{{ range(end=15000) | unique | unique | unique | unique | unique | length }}".into(),
            "takes more than",
        ),
    ]
}

#[test]
fn a_template_that_would_run_for_ever_or_fill_the_memory_stops_soon() {
    for (template, message) in runaways() {
        let templates = [
            ("t.html", template.as_str()),
            ("part.txt", "a part that is included very often"),
            ("loop.txt", &format!("{MANY}some static text, again and again{END}")),
            ("c.html", "{% component c() %}a component with some text{% endcomponent %}"),
            ("d.html", "{% component d() %}{{ body }}{% endcomponent %}"),
            ("e.html", &format!("{{% component e() %}}{MANY}static text{END}{{% endcomponent %}}")),
            ("box.html", "{% component box(v) %}{{ v | length }}{% endcomponent %}"),
        ];
        let error = limited(&templates, 100_000, 512 * 1024).expect_err(&template);
        assert!(error.message.contains(message), "{template}: {error}");
        assert!(!error.remedy.is_empty(), "{template}: {error}");
        let again = limited(&templates, 100_000, 512 * 1024).expect_err(&template);
        assert_eq!(error, again, "limits are deterministic");
    }
}

#[test]
fn captured_blocks_of_parents_and_children_are_counted() {
    let parent = "{% block b %}{% for a in range(end=1000) %}{{ name }}{% for b in range(end=100) %}static text \
                  {%- endfor %}{% endfor %}{% endblock %}";
    let child = "{% extends 'p.html' %}{% block b %}{{ super() | length }}{% endblock %}";
    let error = limited(&[("t.html", child), ("p.html", parent)], 2_000_000, 100_000).expect_err("too large");
    assert!(error.message.contains("captures more than"), "{error}");
    assert_eq!(error.template, "pages/p.html");
    let parent = "{% set x %}{% block b %}{% endblock %}{% endset %}";
    let child = "{% extends 'p.html' %}{% block b %}{% for a in range(end=1000) %}{{ name }}{% endfor %}{% endblock %}";
    let error = limited(&[("t.html", child), ("p.html", parent)], 2_000_000, 40_000).expect_err("too large");
    assert!(error.message.contains("captures more than"), "{error}");
}

#[test]
fn circles_are_refused_with_their_place() {
    for (templates, told) in [
        (
            &[("a.html", "\n{% include 'a.html' %}")][..],
            "pages/a.html:2: including `a.html` goes in a circle",
        ),
        (
            &[
                ("a.html", "{% include 'b.html' %}"),
                ("b.html", "\n\n{% if x %}{% include 'a.html' %}{% endif %}"),
            ],
            "pages/b.html:3: including `a.html` goes in a circle",
        ),
        (&[("a.html", "{% extends 'a.html' %}")], "pages/a.html:1: extending `a.html` goes in a circle"),
        (
            &[("a.html", "{% extends 'b.html' %}"), ("b.html", "{% extends 'a.html' %}")],
            "pages/b.html:1: extending `a.html` goes in a circle",
        ),
        (
            &[("a.html", "{% component c() %}\n{{ <c/> }}{% endcomponent %}")],
            "pages/a.html:2: the component `c` here goes in a circle",
        ),
        (
            &[(
                "a.html",
                "{% component c() %}{% <d> %}{% </d> %}{% endcomponent %}{% component d() %}\n{{ <c/> }}{% endcomponent %}",
            )],
            "pages/a.html:2: the component `c` here goes in a circle",
        ),
        (
            &[
                ("a.html", "{% component c() %}{% include 'b.html' %}{% endcomponent %}"),
                ("b.html", "{{ <c/> }}"),
            ],
            "pages/b.html:1: the component `c` here goes in a circle",
        ),
    ] {
        let problems = problems(templates);
        assert!(problems.starts_with(told), "{problems}");
    }
}

#[test]
fn a_component_in_the_body_of_itself_is_no_circle() {
    let text = "{% component c() %}[{{ body }}]{% endcomponent %}{% <c> %}{% <c> %}x{% </c> %}{% </c> %}";
    assert_eq!(render(text).as_deref(), Ok("[[x]]"));
}

fn chain(length: usize, link: impl Fn(usize) -> String, last: &str) -> Vec<(String, String)> {
    let mut files: Vec<_> = (0..length).map(|index| (format!("{index}.html"), link(index + 1))).collect();
    files.push((format!("{length}.html"), last.to_owned()));
    files
}

#[test]
fn deep_chains_render_up_to_a_bound_and_are_refused_beyond() {
    let includes = |next: usize| format!("{{% include '{next}.html' %}}");
    let blocks = |next: usize| format!("{{% block b %}}{{% include '{next}.html' %}}{{% endblock %}}");
    let extends = |next: usize| {
        format!("{{% extends '{next}.html' %}}{{% block b %}}{{{{ super() }}}}{{% endblock %}}")
    };
    let components = |next: usize| {
        let this = next - 1;
        format!(
            "{{% component c{this}() %}}{{{{ <c{next}/> }}}}{{% endcomponent %}}{{% include 'last.html' %}}"
        )
    };
    let last = "{% block b %}x{% endblock %}";
    for (good, bad) in [
        (chain(22, includes, last), chain(23, includes, last)),
        (chain(11, blocks, last), chain(12, blocks, last)),
        (chain(22, extends, last), chain(23, extends, last)),
        (chain(9, extends, last), chain(3_000, extends, last)),
        (chain(9, includes, last), chain(3_000, includes, last)),
        (
            chain(19, components, "{% component c19() %}x{% endcomponent %}"),
            chain(21, components, "{% component c21() %}x{% endcomponent %}"),
        ),
    ] {
        let mut good: Vec<(&str, &str)> = good.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        good.push(("last.html", "{{ <c0/> }}"));
        good.push(("c.html", "{% component c0() %}x{% endcomponent %}"));
        if good[0].1.contains("component") {
            good.pop();
        }
        assert_eq!(render_in(&good, "0.html").as_deref(), Ok("x"));
        let mut bad: Vec<(&str, &str)> = bad.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        bad.push(("last.html", ""));
        let told = problems(&bad);
        assert!(told.contains("deeper than"), "{told}");
    }
}

#[test]
fn deeply_nested_tags_and_expressions_are_refused_by_the_parser_not_by_the_stack() {
    for (open, close) in [("{% if x %}", "{% endif %}"), ("{{ ", " }}"), ("{% set x %}", "{% endset %}")] {
        for (left, right) in [("", ""), ("(", ")"), ("[", "]"), ("{'a': ", "}"), ("-(", ")")] {
            let text = format!("{}1{}", left.repeat(500), right.repeat(500));
            let template = match open {
                "{{ " => format!("{open}{text}{close}"),
                _ => format!("{}{}{}", open.repeat(500), text, close.repeat(500)),
            };
            let refused = renderer_within(&[("t.html", &template)], Limits::default()).is_err();
            assert_eq!(refused, !(open == "{{ " && left.is_empty()), "{open}{left}");
        }
    }
}
