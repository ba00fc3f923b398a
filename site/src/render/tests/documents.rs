//! Whole documents, escaping, filters and messages.

use super::*;
use crate::render::json;

#[test]
fn inheritance_includes_and_components_work_across_files() {
    let templates = [
        (
            "base.html",
            "<!doctype html>\n<title>{% block title %}{{ site.name }}{% endblock %}</title>\n\
             {%- block main %}none{% endblock %}\n{% include \"parts/foot.html\" %}\n",
        ),
        ("parts/foot.html", "<footer>{{ site.url }} {{ slug }}</footer>"),
        (
            "parts/components.html",
            "{% component card(title, @site) %}<h2>{{ title }}</h2>{{ body }}<i>{{ site.name }}</i>{% endcomponent \
             card %}\n{% component tag(text: string, class=\"plain\") %}<b class=\"{{ class }}\">{{ text }}</b>\
             {%- endcomponent tag %}",
        ),
        (
            "product.html",
            "{% extends \"base.html\" %}\n{% block title %}{{ name }} – {{ super() }}{% endblock title %}\n\
             {% block main %}\n{%- for v in variants -%}\n  {{ <tag text={v.sku} /> }}\n{%- endfor -%}\n\
             {% <card title={brand.name}> %}{{ price_cents | money }} {{ 'x' if sold_out else 'y' }}{% </card> %}\
             {% endblock %}",
        ),
    ];
    let renderer = renderer(&templates);
    let page = renderer.render("product.html", &product(), None).expect("it renders");
    assert_eq!(
        String::from_utf8(page).expect("UTF-8"),
        "<!doctype html>\n<title>Red &lt;Shoe&gt; &amp; &quot;Co&quot; &#39;x&#39; – Flash Shop</title>\
         <b class=\"plain\">S</b><b class=\"plain\">M</b><b class=\"plain\">L</b>\
         <h2>Acme</h2>€1,234.50 y<i>Flash Shop</i>\n<footer>https://shop.example red-shoe</footer>\n"
    );
    let dependencies: Vec<&str> = renderer.dependencies("product.html").into_iter().collect();
    assert_eq!(dependencies, ["base.html", "parts/components.html", "parts/foot.html", "product.html"]);
    assert!(renderer.dependencies("none.html").is_empty());
    let variables: Vec<&str> = renderer.variables("product.html").into_iter().collect();
    assert_eq!(variables, ["brand", "name", "price_cents", "site", "slug", "sold_out", "variants"]);
    assert!(renderer.contains("parts/foot.html") && !renderer.contains("foot.html"));
}

#[test]
fn markup_is_escaped_and_other_text_is_not() {
    let escaped = "Red &lt;Shoe&gt; &amp; &quot;Co&quot; &#39;x&#39;";
    let plain = "Red <Shoe> & \"Co\" 'x'";
    for (file, expected) in [
        ("t.html", escaped),
        ("t.htm", escaped),
        ("t.xml", escaped),
        ("t.svg", escaped),
        ("t.xhtml", escaped),
        ("t.rss", escaped),
        ("t.atom", escaped),
        ("t.txt", plain),
        ("t.json", plain),
        ("t.csv", plain),
    ] {
        assert_eq!(render_in(&[(file, "{{ name }}")], file).as_deref(), Ok(expected), "{file}");
        let part = [(file, "{% include 'p.html' %}"), ("p.html", "{% set x = name %}{{ x }}")];
        assert_eq!(render_in(&part, file).as_deref(), Ok(expected), "included by {file}");
    }
}

#[test]
fn values_keep_their_types() {
    for (template, text) in [
        ("{{ id }} {{ id is integer }} {{ id + 1 }}", "7 true 8"),
        ("{{ rating }} {{ rating is float }}", "4.5 true"),
        ("{{ sold_out }} {{ sold_out is bool }}", "false true"),
        ("[{{ note }}] {{ note is none }}", "[] true"),
        ("{{ blob }}", "Zm9vYg=="),
        ("{{ data | json }}", r#"{"z":[1,2.5,null],"a":{"deep":true},"list":["x","y"]}"#),
        ("{{ brand | json }} {{ maker | json }}", r#"{"id":1,"name":"Acme"} null"#),
        ("{{ variants | length }} {{ reviews | length }}", "3 0"),
        ("{{ data.z[1] + 1 }}", "3.5"),
        ("{{ site.name }} {{ site.url }}", "Flash Shop https://shop.example"),
    ] {
        assert_eq!(render(template).as_deref(), Ok(text), "{template}");
    }
}

#[test]
fn a_page_is_there_for_templates_and_json() {
    let renderer =
        renderer(&[("t.html", "{{ page.number }}/{{ page.count }} {{ page.previous }} {{ page.next }}")]);
    let row = Row { columns: columns(&["id"]), values: vec![Value::Int(1)], includes: Vec::new() };
    let bytes = renderer.render("t.html", &row, Some(&second_page())).expect("it renders");
    assert_eq!(bytes, b"2/3 /list.html /list-3.html");
    let error = renderer.render("t.html", &row, None).expect_err("there is no page");
    assert_eq!(error.message, "`page.number` is not defined");
    let document = json(&row, Some(&second_page()), Limits::default()).expect("it is small");
    assert_eq!(
        String::from_utf8(document).expect("UTF-8"),
        r#"{"id":1,"page":{"number":2,"count":3,"previous":"/list.html","next":"/list-3.html"}}"#
    );
    let whole = json(&row, None, Limits { steps: 0, bytes: 8 }).expect("it just fits");
    assert_eq!(whole, br#"{"id":1}"#);
    let error = json(&row, None, Limits { steps: 0, bytes: 7 }).expect_err("it does not fit");
    assert_eq!(error.message, "the document grows beyond 7 bytes");
}

#[test]
fn filters_do_what_a_shop_needs() {
    let version = Version::of(b"body{}");
    let image = Version::of(b"png");
    for (template, text) in [
        ("{{ price_cents | money }}", "€1,234.50".to_owned()),
        ("{{ price_cents | money(currency='CHF') }}", "CHF 1,234.50".to_owned()),
        ("{{ '19.90' | money(major=true) }}", "€19.90".to_owned()),
        ("{{ 1200.0 | money(currency='JPY') }}", "¥1,200".to_owned()),
        ("{{ made_at | date }}", "2026-07-01".to_owned()),
        (
            "{{ made_at | date(format='%d.%m.%Y %H:%M', zone='Europe/Berlin') }}",
            "01.07.2026 14:30".to_owned(),
        ),
        ("{{ 0 | rfc3339 }}", "1970-01-01T00:00:00Z".to_owned()),
        ("{{ made_at | rfc2822 }}", "Wed, 01 Jul 2026 12:30:00 +0000".to_owned()),
        ("{{ '/a b/é.html' | absolute }}", "https://shop.example/a%20b/%C3%A9.html".to_owned()),
        ("{{ asset(path='style.css') }}", format!("/_v/{version}/style.css")),
        ("{{ asset(path='/style.css') }}", format!("/_v/{version}/style.css")),
        ("{{ asset(path='img/a b&c.png') }}", format!("/_v/{image}/img/a%20b&amp;c.png")),
        ("{{ 'Crème Brûlée, Straße & Ærø – Łódź' | slug }}", "creme-brulee-strasse-aero-lodz".to_owned()),
        ("{{ \"Men's  100% Ｗool--ﬁne!\" | slug }}", "mens-100-wool-fine".to_owned()),
        ("[{{ '日本' | slug }}]", "[]".to_owned()),
        ("{{ 'a/b c&d=é?' | urlencode }}", "a%2Fb%20c%26d%3D%C3%A9%3F".to_owned()),
        ("{{ 12 | urlencode }}", "12".to_owned()),
        (
            "<script>{{ '</script><!--&\\'' | json }}</script>",
            r#"<script>"\u003c/script\u003e\u003c!--\u0026'"</script>"#.to_owned(),
        ),
        (
            "{{ [1, 1.5, none, true, 'x', {'a': [1]}] | json }}",
            r#"[1,1.5,null,true,"x",{"a":[1]}]"#.to_owned(),
        ),
        (
            "{{ range(end=3) | json }}{{ range(start=3, end=0, step_by=-2) | json }}",
            "[0,1,2][3,1]".to_owned(),
        ),
        (
            "{% for k, v in variants | group_by(attribute='stock') %}{{ k }}:{{ v | length }} {% endfor %}",
            "3:1 0:1 12:1 ".to_owned(),
        ),
        (
            "{{ 'a\nb' | indent(width=2, first=true) }}|{{ ['a', 1, note] | join(sep=', ') }}",
            "  a\n  b|a, 1, ".to_owned(),
        ),
        (
            "{{ 'aXbX' | replace(from='X', to='-') }} {{ 'a,b' | split(pat=',') | json }}",
            "a-b- [\"a\",\"b\"]".to_owned(),
        ),
        (
            "{{ 2.5 | round }} {{ 1234.567 | round(precision=2) }} {{ 1234.5 | round(precision=-2) }} \
             {{ 1.21 | round(method='ceil', precision=1) }} {{ (10.0 ** 300) | round(precision=17) }}",
            format!("3.0 1234.57 1200.0 1.3 {:?}", 1e300_f64),
        ),
        ("{{ 'abcdef' | truncate(length=3) }} {{ [1, 2, 1] | unique | json }}", "abc… [1,2]".to_owned()),
    ] {
        assert_eq!(render(template).as_deref(), Ok(text.as_str()), "{template}");
    }
    let renderer = renderer(&[("t.html", "{{ name | json }}")]);
    let row =
        Row { columns: columns(&["name"]), values: vec![text("\u{2028}\u{2029}")], includes: Vec::new() };
    assert_eq!(renderer.render("t.html", &row, None).expect("it renders"), br#""\u2028\u2029""#);
}

#[test]
fn filters_say_what_is_wrong_and_what_to_write() {
    for (template, message, remedy) in [
        ("{{ note | money }}", "`money` needs an integer or a decimal text, not none (NULL)", "minor units"),
        ("{{ rating | money }}", "`money` needs an integer or a decimal text, not `4.5`", "minor units"),
        (
            "{{ '19.90' | money }}",
            "`19.90` has a fraction of the minor unit of EUR: round it in the query",
            "major=true",
        ),
        ("{{ id | money(currency='euro') }}", "`euro` is not a currency", ""),
        ("{{ note | date }}", "`date` needs a date, not none (NULL)", "date(format"),
        ("{{ slug | date }}", "`red-shoe` is not a date", ""),
        ("{{ made_at | date(zone='Mars/Base') }}", "there is no time zone `Mars/Base`", ""),
        ("{{ made_at | date(format='%!') }}", "the date format `%!` is wrong", ""),
        ("{{ asset(path='stlye.css') }}", "there is no static file `stlye.css`", "did you mean `style.css`?"),
        ("{{ asset() }}", "`asset` needs the path of a static file", "asset(path"),
        ("{{ 'x.html' | absolute }}", "`absolute` needs a path that begins with `/`, not `x.html`", ""),
        ("{{ id | slug }}", "`slug` needs text, not `7`", "| str"),
        ("{{ throw(message='no stock') }}", "no stock", ""),
        ("{{ 1.5 | round(precision=400) }}", "`round` to a precision of 400", "-17 to 17"),
        ("{{ 1.5 | round(method='up') }}", "`round` has no method `up`", "ceil"),
    ] {
        let error = render(template).expect_err(template);
        assert!(error.message.starts_with(message), "{template}: {error}");
        assert!(error.remedy.contains(remedy), "{template}: {error}");
        assert_eq!((error.template.as_str(), error.line), ("pages/t.html", Some(1)), "{template}");
    }
}

#[test]
fn nothing_reads_clock_randomness_or_environment() {
    for call in ["now()", "get_random(start=0, end=1)", "get_env(name='HOME')", "load_data(path='x')"] {
        assert!(problems(&[("t.html", &format!("{{{{ {call} }}}}"))]).contains("Unknown function"), "{call}");
    }
    for filter in ["now", "shuffle", "random"] {
        assert!(
            problems(&[("t.html", &format!("{{{{ 1 | {filter} }}}}"))]).contains("Unknown filter"),
            "{filter}"
        );
    }
    // Tera would print the variables in random order.
    assert!(
        problems(&[("t.html", "{{ __tera_context }}")]).contains("`__tera_context` is not for templates")
    );
}

#[test]
fn every_known_filter_test_and_function_exists() {
    for (filter, _) in crate::render::filters::FILTERS {
        renderer(&[("t.html", &format!("{{{{ 1 | {filter} }}}}"))]);
    }
    for (test, _) in crate::render::filters::TESTS {
        renderer(&[("t.html", &format!("{{{{ 1 is {test} }}}}"))]);
    }
    for (function, _) in crate::render::filters::FUNCTIONS {
        renderer(&[("t.html", &format!("{{% block b %}}{{{{ {function}() }}}}{{% endblock %}}"))]);
    }
}

#[test]
fn mistakes_in_templates_are_told_with_file_line_and_remedy() {
    for (templates, told) in [
        (
            &[("a.html", "\n{{ x | uper }}")][..],
            "pages/a.html:2: Unknown filter `uper`\n  did you mean `upper`?",
        ),
        (
            &[("a.html", "{{ x |\nmoney(curency='USD') }}")],
            "pages/a.html:2: the filter `money` has no argument `curency`\n  did you mean `currency`?",
        ),
        (
            &[("a.html", "{% filter upper(all=true) %}x{% endfilter %}")],
            "pages/a.html:1: the filter `upper` has no argument `all`\n  leave it out: it takes none",
        ),
        (
            &[("a.html", "{{ x is strign }}")],
            "pages/a.html:1: Unknown test `strign`\n  did you mean `string`?",
        ),
        (
            &[("a.html", "{{ rnage(end=1) }}")],
            "pages/a.html:1: Unknown function `rnage`\n  did you mean `range`?",
        ),
        (
            &[("a.html", "\n\n{% include 'bse.html' %}"), ("base.html", "")],
            "pages/a.html:3: there is no template `bse.html`\n  did you mean `base.html`?",
        ),
        (
            &[("a.html", "{% extends 'x' %}")],
            "pages/a.html:1: there is no template `x`\n  names are relative to the folder pages/",
        ),
        (
            &[("a.html", "{{ <buton/> }}"), ("b.html", "{% component button() %}{% endcomponent %}")],
            "pages/a.html:1: there is no component `buton`\n  did you mean `button`?",
        ),
        (
            &[
                ("a.html", "{% component b() %}{% endcomponent %}"),
                ("b.html", "\n{% component b() %}{% endcomponent %}"),
            ],
            "pages/b.html:2: the component `b` is defined in pages/a.html:1 too\n  rename one of them: components are \
             known to all templates",
        ),
        (
            &[("a.html", "{% extends 'b.html' %}\n{% block nope %}{% endblock %}"), ("b.html", "")],
            "pages/a.html:2: Block `nope` is not defined in any parent template",
        ),
        (
            &[("a.html", "{{ 1 + }}"), ("b.html", "ok"), ("c.html", "\n{% if %}")],
            "pages/a.html:1: Found `}}` but expected one of: integer, float, string, bool, ident, `-`, `not`, `<`, `{`, \
             `[` or `(`\npages/c.html:2: Found `%}` but expected one of: integer, float, string, bool, ident, `-`, \
             `not`, `<`, `{`, `[` or `(`",
        ),
    ] {
        assert_eq!(problems(templates), told, "{templates:?}");
    }
    let error = render_in(&[("a.html", "")], "b.html").expect_err("there is none");
    assert_eq!(error.to_string(), "pages/b.html: there is no such template\n  did you mean `a.html`?");
}

#[test]
fn the_error_of_a_part_names_the_part() {
    for (part, line) in [("\n{{ nope }}", 2), ("\n\n{% if nope %}{% endif %}", 3), ("{{ id | slug }}", 1)] {
        let error = render_in(&[("a.html", "x\ny{% include 'p.html' %}"), ("p.html", part)], "a.html")
            .expect_err(part);
        assert_eq!((error.template.as_str(), error.line), ("pages/p.html", Some(line)), "{part}");
        let component = format!("{{% component c() %}}{part}{{% endcomponent %}}").replace("id", "1");
        let error = render_in(&[("a.html", "{{ <c/> }}"), ("p.html", &component)], "a.html").expect_err(part);
        assert_eq!((error.template.as_str(), error.line), ("pages/p.html", Some(line)), "{part}");
    }
}

#[test]
fn many_threads_share_one_renderer() {
    let renderer = renderer(&[("t.html", "{% for v in variants %}{{ v.sku }}{% endfor %}")]);
    std::thread::scope(|scope| {
        let renders: Vec<_> =
            (0..4).map(|_| scope.spawn(|| renderer.render("t.html", &product(), None))).collect();
        for render in renders {
            assert_eq!(render.join().expect("no panic"), Ok(b"SML".to_vec()));
        }
    });
}
