//! Templates that try to confuse the rewriting, and properties that hold for all templates.

use proptest::prelude::*;
use tera::Tera;

use super::*;
use crate::render::context::{context, map};
use crate::render::lexer::tokens;
use crate::render::scan::scan;
use crate::render::{builtin, filters, meter};

/// The templates as Tera alone renders them, with the same filters and functions.
fn plainly(templates: &[(&str, &str)], template: &str) -> Result<String, String> {
    let mut tera = Tera::default();
    tera.autoescape_on([".html"]);
    builtin::register(&mut tera);
    filters::register(&mut tera, &settings(), assets());
    tera.add_raw_templates(templates.iter().copied()).map_err(|error| error.to_string())?;
    let site = map([("name", "Flash Shop".into()), ("url", "https://shop.example".into())]);
    let (context, _) = context(&product(), None, &site);
    meter::begin(Limits::default(), 0);
    tera.render(template, &context).map_err(|error| error.to_string())
}

#[test]
fn tricky_but_legal_templates_render_as_without_us() {
    for template in [
        "",
        "{",
        "}} %} #}",
        "{ { x } }",
        "{{ '}}' }}{{ \"%}\" }}{{ `{#` }}",
        "{{ 'it\\'s' ~ \"\\\"\" ~ '\\\\' }}",
        "{# {{ nope }} {% if %} #}x{#- y -#} z",
        "{#-#}x{# - #}",
        "{% raw %}{{ nope }}{% if %}{# {% endraw %}",
        "{%- raw -%}  {{ a }} {% endfor %} {%- endraw -%}  b",
        "{% raw %}{% endraw %}{%raw%}{%endraw%}",
        "{{ {'a': {'b': 1} } | json }}",
        "{{ {'a': {'b': id} }['a']['b'] }}",
        "{{1}}{{-1-}}{{ - 1 }}{{ 1 -1 }}{{ 1-id }}{{-id-}}",
        "{{ id*2+id**2//3%4 - -id }}",
        "{{ not id == 7 and not (id in [7]) or id not in [1] }}",
        "{{ slug is string and slug is not number }}",
        "{{ slug if id else name if note else 1 }}",
        "{{ id + 1 | abs }} {{ -id | abs }} {{ (id - 9) | abs }}",
        "{{ name | upper | lower | length }}",
        "{{ variants[0].sku ~ variants[-1]['sku'] ~ variants[id - 7].sku }}",
        "{{ variants[1:][0].sku }} {{ slug[::-1] }} {{ slug[1:4] }} {{ slug[: 2] }}",
        "{{ data.list[0] in data['list'] }} {{ data?.a?.deep }} {{ maker?.x?.y is defined }}",
        "{% for k, v in data %}{{ k }}={{ v }};{% endfor %}",
        "{% for v in variants if true else [] %}{{ loop.index }}{{ loop.length }}{% if loop.first %}!{% endif %}{% endfor %}",
        "{% for v in variants %}{% if v.stock == 0 %}{% continue %}{% elif loop.last %}{% break %}{% endif %}{{ v.sku }}{% else %}-{% endfor %}",
        "{% for v in reviews -%}  x {%- else -%}  none  {%- endfor %}",
        "a {%- for v in variants -%}   b   {{- v.sku -}}   c  {%- endfor -%} d",
        "{% for v in variants -%}\n  {# note #}\n  x\n{%- endfor %}",
        "{% for v in variants -%}{%- raw -%} r {% endraw -%} x {% endfor %}",
        "{% set x = 1 %}{% for v in variants %}{% set x = v.sku %}{% set_global y = x %}{{ x }}{% endfor %}{{ x }}{{ y }}",
        "{% set x | upper | replace(from='A', to='b') %}a{{ slug }}{% endset -%}  {{ x }}",
        "{% filter upper | replace(from='A', to=slug) -%} a{{ slug }} {%- endfilter %}",
        "{% set loop = 3 %}",
        "{% set is_x = id %}{% set not_x = is_x %}{{ not_x }}{% set for_ = 1 %}{{ for_ }}",
        "{{ [x ~ '!' for x in data.list if x != 'y'] }}{{ [k for k, v in brand] }}{{ [...data.list, 1, ...[2]] }}",
        "{{ [[1, id], [2]] }}{{ {'a': 1, ...brand, 'id': 2} }}{{ [] }}{{ {} }}{{ [-1, 2] }}",
        "{% component c.d(a, b: integer = 2, @slug, ...rest) {'x': [1, 2]} %}{{ a }}{{ b }}{{ slug }}{{ rest }}{% endcomponent c.d %}{{ <c.d a='x'/> }}{{ <c.d a={id + 1} b=\n{3} {...{'z': 1} } q='w' /> }}",
        "{% component c(slug) %}{{ slug }}{{ body | default(value=1) }}{% endcomponent %}{% <c slug> %}{% if id %}{{ <c slug={1}/> ~ 'x' }}{% endif %}{% </c> %}",
        "{% component c(t) -%}  {{ t }}  {%- endcomponent %}[{{- <c t='a' /> -}}]",
        "{% block a -%} {{ id }} {% block b %}{{ slug }}{% endblock b %} {%- endblock a %}",
        "{% include 'part.html' %}{%- include \"part.html\" -%} x",
        "{{ 'a' ~ 'b' ~ 'c' ~ 1 ~ id ~ slug ~ 'd' ~ 'e' ~ 'f' ~ 'g' ~ (1 + 2) ~ name }}",
        "{{ super_ | default(value=1) }}{{ none }}{{ None }}{{ null }}{{ True }}",
        "{{ 1.5 + 2. }}{{ 1 if 1.0 == 1 else 2 }}",
        "Ünïcödé {{ 'é' ~ slug }} – {{ name }} {% if slug %}ö{% endif %}",
        "{{ <box v={<box v='i'/>} /> }}",
    ] {
        let templates = [
            ("t.html", template),
            ("part.html", "  part {{ id }} "),
            ("box.html", "{% component box(v) %}[{{ v }}]{% endcomponent %}"),
        ];
        match plainly(&templates, "t.html") {
            Ok(text) => {
                assert_eq!(render_in(&templates, "t.html").as_deref(), Ok(text.as_str()), "{template}");
            }
            Err(error) => {
                assert!(template.contains("set loop"), "{template}: {error}");
                problems(&templates);
            }
        }
    }
}

#[test]
fn broken_templates_get_teras_message_with_the_right_line() {
    for (template, line) in [
        ("\n{{ ", 2),
        ("\n\n{{ x", 3),
        ("{{ x }\n}", 1),
        ("\n{% if x %}", 2),
        ("{% if x %}\n\n{% endfor %}", 3),
        ("\n{# never closed", 2),
        ("\n{% raw %}{{ x", 2),
        ("\n{{ 'never closed }}", 2),
        ("\n{{ \"a' }}", 2),
        ("\n{{ a..b }}", 2),
        ("\n{{ é }}", 2),
        ("\n{{ a | }}", 2),
        ("\n{{ a[ }}", 2),
        ("\n{{ a b }}", 2),
        ("\n{% unknown %}", 2),
        ("\n{% for in x %}{% endfor %}", 2),
        ("\n{{ <c }}", 2),
        ("\n{% <c> %}", 2),
        ("\n{% set x = %}", 2),
        ("\n{{ a not b }}", 2),
        ("\n{{ 99999999999999999999 }}", 2),
        ("{{ x }}\n{{ __v1 | __bounded }}", 2),
    ] {
        let told = problems(&[("t.html", template)]);
        assert!(told.starts_with(&format!("pages/t.html:{line}: ")), "{template}: {told}");
    }
}

/// Fragments of templates, tags and text that together make many legal and more illegal templates.
#[rustfmt::skip]
const FRAGMENTS: [&str; 85] = [
    "{{ ", " }}", "{% ", " %}", "{%- ", " -%}", "{{- ", " -}}", "{# ", " #}", "id", "slug", "brand.name",
    "variants", "nope", "v", "v.sku", " ", "\n", "x", "é", "'a'", "\"b\"", "`c`", "'", "\"", "\\", "1",
    "2.5", "-", "+", "~", "|", "==", "<", ">", "/", "=", "(", ")", "[", "]", "{", "}", ",", ":", ".",
    "?.", "?[", "...", "@", " and ", " or ", " not ", " is ", " in ", "defined", " if ", " else ",
    "default(value=1)", "upper", "length", "{% if id %}", "{% else %}", "{% elif slug %}", "{% endif %}",
    "{% for v in variants %}", "{% endfor %}", "{% set x = id %}", "{% set x %}", "{% endset %}",
    "{% raw %}", "{% endraw %}", "{% block b %}", "{% endblock %}", "{% component c(v=1) %}",
    "{% endcomponent %}", "{{ <c/> }}", "{% <c v> %}", "{% </c> %}", "{% filter upper %}",
    "{% endfilter %}", "{% include 'part.html' %}", "{{ slug }}", "[v for v in variants]",
];

/// Expressions of which all variables are defined.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "id",
        "slug",
        "name",
        "note",
        "brand.name",
        "brand['id']",
        "variants[0].sku",
        "data.list",
        "data.list[1]",
        "maker?.x",
        "1",
        "-2",
        "'it'",
        "\"}}\"",
        "true",
        "none",
        "variants",
        "site.name",
        "data?.a?.deep",
        "[]",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(4, 24, 3, |inner| {
        let two = (inner.clone(), inner.clone());
        let binary =
            prop::sample::select(vec!["~", "==", "!=", "and", "or", "+", "-", "*", "<", "in", "not in"]);
        let filter = prop::sample::select(vec![
            "upper",
            "str",
            "length",
            "default(value=1)",
            "json",
            "first",
            "replace(from='e', to=slug)",
            "slug",
        ]);
        prop_oneof![
            (two.clone(), binary).prop_map(|((a, b), operator)| format!("{a} {operator} {b}")),
            (inner.clone(), filter).prop_map(|(a, filter)| format!("{a} | {filter}")),
            inner.clone().prop_map(|a| format!("({a})")),
            inner.clone().prop_map(|a| format!("not {a}")),
            inner.clone().prop_map(|a| format!("({a})[0]")),
            inner.clone().prop_map(|a| format!("{a} is string")),
            inner.clone().prop_map(|a| format!("{a} is defined")),
            two.clone().prop_map(|(a, b)| format!("[{a}, {b}]")),
            two.clone().prop_map(|(a, b)| format!("{{'k': {a}, \"l\": {b} }}")),
            two.clone().prop_map(|(a, b)| format!("[x ~ {a} for x in [1, {b}] if {a}]")),
            (two, inner).prop_map(|((a, b), c)| format!("{a} if {b} else {c}")),
        ]
    })
}

/// Templates of which all variables are defined.
fn legal_template() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        expression().prop_map(|value| format!("{{{{ {value} }}}}")),
        expression().prop_map(|value| format!("{{{{- {value} -}}}}")),
        expression().prop_map(|value| format!("{{% set s = {value} %}}{{{{ s | json }}}}")),
        expression().prop_map(|value| format!("{{{{ <box v={{ {value} }} /> }}}}")),
        prop::sample::select(vec![
            " text ",
            "\n  ",
            "{# {{ x }} #}",
            "{% raw %}{{ x }}{% endraw %}",
            "{%- include 'part.html' -%}"
        ])
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let body = prop::collection::vec(inner, 0..4).prop_map(|parts| parts.concat());
        prop_oneof![
            (expression(), body.clone(), body.clone())
                .prop_map(|(test, a, b)| format!("{{% if {test} -%}} {a} {{% else %}} {b} {{%- endif %}}")),
            body.clone().prop_map(|a| format!(
                "{{% for v in variants -%}} {a}{{{{ v.sku ~ loop.index }}}} {{% endfor %}}"
            )),
            (expression(), body.clone()).prop_map(|(list, a)| format!(
                "{{% for v in [{list}] %}} {a} {{%- else -%}} {a} {{% endfor %}}"
            )),
            body.clone().prop_map(|a| format!("{{% set c -%}} {a} {{%- endset %}}{{{{ c }}}}")),
            body.clone().prop_map(|a| format!("{{% filter upper %}} {a} {{% endfilter -%}} ")),
            body.prop_map(|a| format!("{{% <wrap slug> -%}} {a} {{% </wrap> %}}")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_either_teras_error_or_understood(parts in prop::collection::vec(prop::sample::select(&FRAGMENTS[..]), 0..16)) {
        let text = parts.concat();
        let _ = tokens(&text);
        let _ = scan(&text);
        let templates = [("t.html", text.as_str()), ("part.html", "part {{ id }}")];
        match renderer_within(&templates, Limits::default()) {
            Ok(renderer) => {
                let ours = renderer.render("t.html", &product(), None);
                let plain = plainly(&templates, "t.html");
                if let Ok(ours) = ours {
                    prop_assert_eq!(Ok(String::from_utf8(ours).expect("UTF-8")), plain);
                }
            }
            Err(problems) => {
                prop_assert!(!problems.to_string().contains("not understood"), "{} {}", problems, text);
                prop_assert!(plainly(&templates, "t.html").is_err() || problems.to_string().contains("circle"));
            }
        }
    }

    #[test]
    fn legal_templates_render_as_without_us(parts in prop::collection::vec(legal_template(), 1..4)) {
        let text = parts.concat();
        let templates = [
            ("t.html", text.as_str()),
            ("part.html", "  part {{ id }} "),
            ("c.html", "{% component box(v) -%} [{{ v | json }}] {% endcomponent %}\
                        {% component wrap(slug) %}<{{ slug }}>{{ body }}{% endcomponent %}"),
        ];
        let plain = plainly(&templates, "t.html");
        match renderer_within(&templates, Limits::default()) {
            Err(problems) => prop_assert!(problems.to_string().contains("too complex") || plain.is_err(), "{problems} {text}"),
            Ok(renderer) => match (renderer.render("t.html", &product(), None), plain) {
                (Ok(ours), plain) => prop_assert_eq!(Ok(String::from_utf8(ours).expect("UTF-8")), plain, "{}", text),
                (Err(ours), Ok(_)) => prop_assert!(ours.message.ends_with("is not defined"), "{ours} {text}"),
                (Err(_), Err(_)) => {}
            },
        }
    }
}
