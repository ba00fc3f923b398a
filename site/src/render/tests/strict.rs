//! Undefined variables are errors in every position, and defined ones are not.

use super::*;

/// Templates in which `NAME` stands in each position where Tera evaluates an expression.
const POSITIONS: [&str; 86] = [
    "{{ NAME }}",
    "{{- NAME -}}",
    "{{ (NAME) }}",
    "{{ NAME ~ 'x' }}",
    "{{ 'x' ~ NAME }}",
    "{{ 'x' ~ (NAME) }}",
    "{{ NAME == 1 }}",
    "{{ 1 != NAME }}",
    "{{ NAME < 'z' or true }}",
    "{{ NAME and true }}",
    "{{ false or NAME }}",
    "{{ true and NAME }}",
    "{{ NAME or true }}",
    "{{ not NAME }}",
    "{{ 'a' in NAME }}",
    "{{ NAME in ['a'] }}",
    "{{ NAME not in ['a'] }}",
    "{{ NAME is string }}",
    "{{ NAME is not none }}",
    "{{ NAME is starting_with(pat='x') }}",
    "{{ 'abc' is starting_with(pat=NAME) }}",
    "{{ 1 if NAME else 2 }}",
    "{{ NAME if true else 2 }}",
    "{{ 1 if false else NAME }}",
    "{{ NAME | upper }}",
    "{{ NAME | str }}",
    "{{ NAME | json }}",
    "{{ NAME | slug }}",
    "{{ NAME | upper | default(value='x') }}",
    "{{ 'a' | replace(from='a', to=NAME) }}",
    "{{ note | default(value=NAME) }}",
    "{{ missing | default(value=NAME) }}",
    "{{ missing | default(value=NAME ~ 'x') }}",
    "{{ (NAME ~ 'x') | default(value='y') }}",
    "{{ NAME ~ missing | default(value='y') }}",
    "{{ [NAME] | length }}",
    "{{ [1, NAME,] | length }}",
    "{{ [...[NAME]] | length }}",
    "{{ {'k': NAME} | length }}",
    "{{ {...{'k': NAME} } | length }}",
    "{{ {'NAME': 1}[NAME] | default(value=1) }}",
    "{{ data[NAME] | default(value=1) }}",
    "{{ data?[NAME] | default(value=1) }}",
    "{{ data[NAME] is defined }}",
    "{{ 'abc'[0:NAME | length] }}",
    "{{ variants[NAME | length - 1:] | length }}",
    "{{ variants[::NAME | length] | length }}",
    "{{ [NAME][0] }}",
    "{{ [NAME][0][0] }}",
    "{{ [v for v in NAME] | length }}",
    "{{ [NAME for v in [1]] | length }}",
    "{{ [v for v in [1] if NAME] | length }}",
    "{{ [v for v in [1] if v == NAME] | length }}",
    "{{ range(end=NAME | length) | length }}",
    "{{ asset(path='style.css' if NAME else 'no') }}",
    "{% if NAME %}a{% endif %}",
    "{% if not NAME %}a{% else %}b{% endif %}",
    "{% if false %}{% elif NAME %}a{% endif %}",
    "{% if (NAME or true) and 1 %}a{% endif %}",
    "{%- if NAME -%} a {%- endif -%}",
    "{% for v in NAME %}a{% endfor %}",
    "{% for v in [NAME] %}a{% else %}b{% endfor %}",
    "{% for k, v in {'k': NAME} %}{{ k }}{% endfor %}",
    "{% for v in [] %}{% else %}{{ NAME }}{% endfor %}",
    "{% for v in [] %}{% else %}{% if NAME %}{% endif %}{% endfor %}",
    "{% for v in [1] %}{% if loop.first and NAME %}a{% endif %}{% endfor %}",
    "{% set x = NAME %}a",
    "{% set_global x = NAME %}a",
    "{% set x = [NAME] %}a",
    "{% set x %}{{ NAME }}{% endset %}a",
    "{% set x | replace(from='a', to=NAME) %}b{% endset %}a",
    "{% filter upper %}{{ NAME }}{% endfilter %}",
    "{% filter replace(from='a', to=NAME) %}a{% endfilter %}",
    "{% block b %}{% if NAME %}a{% endif %}{% endblock %}",
    "{{ <box v={NAME} /> }}",
    "{{ <box v={NAME ~ 'x'}/> }}",
    "{{ <box {...{'v': NAME} } /> }}",
    "{{ <box v='{{' w={NAME} /> }}",
    "{% <box v={NAME}> %}b{% </box> %}",
    "{% <box> %}{{ NAME }}{% </box> %}",
    "{% <box> %}{% if NAME %}{% endif %}{% </box> %}",
    "{{ <box v={[NAME]} /> ~ 'x' }}",
    "{% if true %}{# {{ no }} #}{% raw %}{{ no }}{% endraw %}{% endif %}{% if NAME %}{% endif %}",
    "{{ '{{' ~ \"%}\" ~ `'` ~ NAME }}",
    "{{\n  'x'\n  ~ NAME\n}}",
    "{% include 'part.html' %}{{ NAME }}",
];

const BOX: &str = "{% component box(v=none, w=none, body=none) %}[{{ v }}{{ w }}]{% endcomponent %}";

fn with(position: &str, name: &str) -> Result<String, RenderError> {
    let boxed = BOX.replace(", body=none", "");
    let text = position.replace("NAME", name);
    render_in(&[("t.html", &text), ("box.html", &boxed), ("part.html", "part")], "t.html")
}

#[test]
fn an_undefined_variable_is_an_error_in_every_position_and_a_defined_one_is_not() {
    for position in POSITIONS {
        for name in ["nmae", "brand.nmae", "data.list[9]", "data['no']", "brand?.nope", "maker?.name"] {
            if position.contains("'NAME'") && name.contains('\'') {
                continue;
            }
            let error = with(position, name).expect_err(&format!("{position} with {name}"));
            assert_eq!(error.template, "pages/t.html", "{position}");
            assert_eq!(error.message, format!("`{name}` is not defined"), "{position}");
            let line = 1 + position[..position.find("NAME").expect("it is there")].matches('\n').count();
            if !position.contains("'NAME'") {
                assert_eq!(error.line, u32::try_from(line).ok(), "{position}");
            }
        }
        for name in
            ["slug", "brand.name", "data.list[0]", "data['list'][1]", "brand?.name", "variants[-1].sku"]
        {
            if position.contains("'NAME'") && name.contains('\'') {
                continue;
            }
            if let Err(error) = with(position, name) {
                let other = ["Iteration not possible", "Cannot compare", "Key/value"];
                assert!(
                    other.iter().any(|start| error.message.starts_with(start)),
                    "{position} {name}: {error}"
                );
            }
        }
    }
}

#[test]
fn what_may_be_missing_can_be_asked_for() {
    for (template, text) in [
        ("{{ nope is defined }}", "false"),
        ("{{ nope is undefined }}", "true"),
        ("{{ nope is not defined }}", "true"),
        ("{{ not nope is defined }}", "true"),
        ("{{ (nope) is defined }}", "false"),
        ("{{ true and nope is defined }}", "false"),
        ("{{ brand.nope is defined }}", "false"),
        ("{{ maker?.name is defined }}", "false"),
        ("{{ data['nope'] is defined }}", "false"),
        ("{{ data.list[7] is defined }}", "false"),
        ("{{ nope | default(value='x') }}", "x"),
        ("{{ (nope) | default(value='x') }}", "x"),
        ("{{ ((nope)) | default(value='x') | upper }}", "X"),
        ("{{ 'a' ~ nope | default(value='x') }}", "ax"),
        ("{{ brand.nope | default(value=slug) }}", "red-shoe"),
        ("{{ maker?.name | default(value='x') }}", "x"),
        ("{{ data?.nope?.deeper | default(value='x') }}", "x"),
        ("{{ ('a,b' | split(pat=','))[5] | default(value='x') }}", "x"),
        ("{{ 'abc'[7] | default(value='x') }}", "x"),
        ("{% if nope is defined and nope %}a{% else %}b{% endif %}", "b"),
        ("{{ nope if nope is defined else 'x' }}", "x"),
        ("{{ note | default(value='x') }}", ""),
        ("{{ note or 'x' }}", "x"),
        ("{% set x = 1 %}{% if x %}{{ x }}{% endif %}", "1"),
        ("{% for k, v in brand %}{{ k }}={{ v }},{% endfor %}", "id=1,name=Acme,"),
        ("{% for v in variants %}{{ v.sku }}{% if not loop.last %},{% endif %}{% endfor %}", "S,M,L"),
        ("{{ [v.sku for v in variants if v.stock > 1] | join(sep='+') }}", "S+L"),
    ] {
        assert_eq!(render(template).as_deref(), Ok(text), "{template}");
    }
}

#[test]
fn a_subscript_of_any_value_is_an_error_when_it_is_out_of_bounds() {
    for (template, message) in [
        ("{% if 'abc'[7] %}{% endif %}", "`'abc'[7]` is not defined"),
        ("{% set x = ('a,b' | split(pat=','))[5] %}", "`('a,b' | split(pat=','))[5]` is not defined"),
        ("{% set x = slug | split(pat=',')[5] %}", "`slug | split(pat=',')[5]` is not defined"),
        ("{{ range(end=2)[2] == 1 }}", "`range(end=2)[2]` is not defined"),
        ("{{ [1, 2][2] == 1 }}", "`[1, 2][2]` is not defined"),
        ("{% if data[ 'no' ] %}{% endif %}", "`data[ 'no' ]` is not defined"),
    ] {
        assert_eq!(render(template).expect_err(template).message, message);
    }
}

#[test]
fn an_undefined_path_before_its_last_name_is_an_error_even_where_the_last_may_be_missing() {
    for template in [
        "{{ brand.nope.name | default(value='x') }}",
        "{{ nope.name is defined }}",
        "{{ nope[0] is defined }}",
    ] {
        render(template).expect_err(template);
    }
}

#[test]
fn the_error_names_the_place_and_the_nearest_known_name() {
    for (template, text) in [
        ("\n{{ nmae }}", "pages/t.html:2: `nmae` is not defined\n  did you mean `name`?"),
        ("\n\n{% if nmae %}{% endif %}", "pages/t.html:3: `nmae` is not defined\n  did you mean `name`?"),
        ("{{ brand.nmae }}", "pages/t.html:1: `brand.nmae` is not defined\n  did you mean `name`?"),
        (
            "{% if brand.nmae %}{% endif %}",
            "pages/t.html:1: `brand.nmae` is not defined\n  did you mean `name`?",
        ),
        (
            "{% if brand.xyz %}{% endif %}",
            "pages/t.html:1: `brand.xyz` is not defined\n  known here: id, name",
        ),
        ("{{ brand.xyz }}", "pages/t.html:1: `brand.xyz` is not defined\n  known here: id, name"),
        (
            "{% for variant in variants %}\n{{ varaint.sku }}{% endfor %}",
            "pages/t.html:2: `varaint.sku` is not defined\n  did you mean `variant`?",
        ),
        (
            "{% for variant in variants %}\n{% if varaint %}{% endif %}{% endfor %}",
            "pages/t.html:2: `varaint` is not defined\n  did you mean `variant`?",
        ),
        (
            "{% if maker.name %}{% endif %}",
            "pages/t.html:1: `maker.name` is not defined\n  what stands before the last dot of `maker.name` is \
             none (NULL): test it with `{% if … %}` first",
        ),
        (
            "{% if slug.name %}{% endif %}",
            "pages/t.html:1: `slug.name` is not defined\n  `name` is looked up in a value that has no names in it",
        ),
        (
            "{% component c() %}{% if site %}{% endif %}{% endcomponent %}{{ <c/> }}",
            "pages/t.html:1: `site` is not defined\n  a component sees only its own arguments: pass `site` to it, \
             or declare it as `@site` to take it from where the component is called",
        ),
        (
            "{% component c() %}{{ slug }}{% endcomponent %}{{ <c/> }}",
            "pages/t.html:1: `slug` is not defined\n  a component sees only its own arguments: pass `slug` to it, \
             or declare it as `@slug` to take it from where the component is called",
        ),
        (
            "{% component c(title) %}{% if tilte %}{% endif %}{% endcomponent %}{{ <c title='x'/> }}",
            "pages/t.html:1: `tilte` is not defined\n  did you mean `title`?",
        ),
    ] {
        assert_eq!(render(template).expect_err(template).to_string(), text);
    }
}

#[test]
fn shorthand_arguments_are_strict_too() {
    let component = ("c.html", "{% component c(slug=none, nope=none) %}{{ slug }}{% endcomponent %}");
    let call = |text: &str| render_in(&[component, ("t.html", text)], "t.html");
    assert_eq!(call("{{ <c slug/> }}").as_deref(), Ok("red-shoe"));
    assert_eq!(call("{% <c slug nope={1}> %}{% </c> %}").as_deref(), Ok("red-shoe"));
    let error = call("{{ <c slug nope /> }}").expect_err("`nope` is not there");
    assert_eq!(error.message, "`nope` is not defined");
}
