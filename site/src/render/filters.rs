//! What templates can call beside Tera's own filters. All of it is pure: same input, same output, with
//! no clock, randomness or environment (Tera 2 has no `now`, `get_random` or `get_env`).
//!
//! | call | gives |
//! | --- | --- |
//! | `money(currency="EUR", major=false)` | `123450` as `€1,234.50`; `$12.00`, `¥1,200`, `CHF 12.00`, `-€1.00`. Minor units (cents), or with `major=true` whole ones: for decimal columns such as `1234.50` |
//! | `date(format="%Y-%m-%d", zone="UTC")` | a date, a time (`2026-01-31 12:30:00` and without zone: UTC) or seconds since 1970 by a `strftime` format |
//! | `rfc3339(zone="UTC")`, `rfc2822(zone="UTC")` | the same for Atom feeds and sitemaps, and for RSS |
//! | `absolute` | `/a b.html` as `https://shop.example/a%20b.html` |
//! | `asset(path="style.css")`, a function | `/_v/<version>/style.css`, which may be kept for ever |
//! | `json` | compact JSON of any value, safe inside `<script>` |
//! | `slug` | `Crème Brûlée` as `creme-brulee`; empty if nothing is left |
//! | `urlencode` | one path segment or query value, percent-encoded |

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize as _;
use tera::{Error, Kwargs, State, Tera, TeraResult, Value};
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

use super::date::{self, Moment};
use super::meter::{Output, bytes_limit, check_size, document_too_large, fail, stop};
use super::money::{Unit, money};
use super::{Assets, Settings};
use crate::nearest::did_you_mean;
use crate::path;

/// Everything but what RFC 3986 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Tera's filters and ours, with their arguments.
pub(super) const FILTERS: [(&str, &[&str]); 44] = [
    ("abs", &[]),
    ("absolute", &[]),
    ("capitalize", &[]),
    ("date", &["format", "zone"]),
    ("default", &["value", "boolean"]),
    ("escape", &[]),
    ("escape_html", &[]),
    ("escape_xml", &[]),
    ("first", &[]),
    ("float", &[]),
    ("get", &["key", "default"]),
    ("group_by", &["attribute"]),
    ("indent", &["width", "indentation", "first", "blank"]),
    ("int", &["base"]),
    ("join", &["sep"]),
    ("json", &[]),
    ("keys", &[]),
    ("last", &[]),
    ("length", &[]),
    ("lower", &[]),
    ("money", &["currency", "major"]),
    ("newlines_to_br", &[]),
    ("nth", &["n"]),
    ("pairs", &[]),
    ("pluralize", &["singular", "plural"]),
    ("replace", &["from", "to"]),
    ("reverse", &[]),
    ("rfc2822", &["zone"]),
    ("rfc3339", &["zone"]),
    ("round", &["method", "precision"]),
    ("safe", &[]),
    ("slug", &[]),
    ("sort", &["attribute"]),
    ("split", &["pat"]),
    ("str", &[]),
    ("title", &[]),
    ("trim", &["pat"]),
    ("trim_end", &["pat"]),
    ("trim_start", &["pat"]),
    ("truncate", &["length", "end"]),
    ("unique", &[]),
    ("upper", &[]),
    ("urlencode", &[]),
    ("values", &[]),
];

/// Tera's tests, with their arguments.
pub(super) const TESTS: [(&str, &[&str]); 17] = [
    ("array", &[]),
    ("bool", &[]),
    ("containing", &["pat"]),
    ("defined", &[]),
    ("divisible_by", &["divisor"]),
    ("ending_with", &["pat"]),
    ("even", &[]),
    ("float", &[]),
    ("integer", &[]),
    ("iterable", &[]),
    ("map", &[]),
    ("none", &[]),
    ("number", &[]),
    ("odd", &[]),
    ("starting_with", &["pat"]),
    ("string", &[]),
    ("undefined", &[]),
];

/// The functions, with their arguments.
pub(super) const FUNCTIONS: [(&str, &[&str]); 4] =
    [("asset", &["path"]), ("range", &["start", "end", "step_by"]), ("super", &[]), ("throw", &["message"])];

pub(super) fn register(tera: &mut Tera, settings: &Settings, assets: Assets) {
    tera.register_filter("money", money_filter);
    tera.register_filter("date", |value: &Value, kwargs: Kwargs, _: &State<'_>| {
        let format = kwargs.get::<&str>("format")?.unwrap_or("%Y-%m-%d");
        date_text(value, &kwargs, "date", |moment, zone| date::date(moment, format, zone))
    });
    tera.register_filter("rfc2822", |value: &Value, kwargs: Kwargs, _: &State<'_>| {
        date_text(value, &kwargs, "rfc2822", |moment, zone| date::date(moment, date::RFC_2822, zone))
    });
    tera.register_filter("rfc3339", |value: &Value, kwargs: Kwargs, _: &State<'_>| {
        date_text(value, &kwargs, "rfc3339", date::rfc3339)
    });
    tera.register_filter("json", json);
    tera.register_filter("slug", |value: &Value, _: Kwargs, _: &State<'_>| {
        check_size(text_of(value, "slug")?.len().saturating_mul(4))?;
        Ok::<_, Error>(slug(text_of(value, "slug")?))
    });
    tera.register_filter("urlencode", |value: &Value, _: Kwargs, _: &State<'_>| {
        let text = value.to_string();
        check_size(text.len().saturating_mul(3))?;
        Ok::<_, Error>(utf8_percent_encode(&text, RESERVED).to_string())
    });
    let site = settings.site_url.trim_end_matches('/').to_owned();
    tera.register_filter("absolute", move |value: &Value, _: Kwargs, _: &State<'_>| {
        let path = text_of(value, "absolute")?;
        if !path.starts_with('/') {
            return Err(stop(
                format!("`absolute` needs a path that begins with `/`, not `{}`", excerpt(path)),
                "write the document's path, such as `/index.html`; addresses of other sites stay as they are",
            ));
        }
        check_size(path.len().saturating_mul(3))?;
        Ok(format!("{site}{}", encoded(path)))
    });
    tera.register_function("asset", move |kwargs: Kwargs, _: &State<'_>| {
        let path = kwargs.get::<&str>("path")?.ok_or_else(|| {
            stop("`asset` needs the path of a static file", "write `asset(path=\"style.css\")`")
        })?;
        asset(&assets, path)
    });
}

fn asset(assets: &Assets, path: &str) -> TeraResult<String> {
    let wanted = format!("/{}", path.strip_prefix('/').unwrap_or(path));
    let Some(version) = assets.get(&wanted) else {
        let known = assets.keys().map(|path| path.strip_prefix('/').unwrap_or(path));
        let remedy = did_you_mean(&wanted[1..], known, "put the file into the folder of static files");
        return Err(stop(format!("there is no static file `{}`", excerpt(&wanted[1..])), remedy));
    };
    Ok(format!("/_v/{version}{}", encoded(&wanted)))
}

/// A path, stored decoded, as it stands in an address.
fn encoded(path: &str) -> String {
    let normal: String = path.nfc().collect();
    path::encode(&normal)
}

fn text_of<'v>(value: &'v Value, filter: &str) -> TeraResult<&'v str> {
    value.as_str().ok_or_else(|| {
        stop(format!("`{filter}` needs text, not {}", kind(value)), "give it text, or use `| str` before it")
    })
}

/// What a value is, for messages.
fn kind(value: &Value) -> String {
    match value.name() {
        "none" => "none (NULL)".to_owned(),
        "array" => "a list".to_owned(),
        "map/struct" => "a map".to_owned(),
        "string" => format!("the text `{}`", excerpt(&value.to_string())),
        _ => format!("`{}`", excerpt(&value.to_string())),
    }
}

/// The beginning of a text, for messages.
fn excerpt(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "Tera hands its values over")]
fn money_filter(value: &Value, kwargs: Kwargs, _: &State<'_>) -> TeraResult<String> {
    let currency = kwargs.get::<&str>("currency")?.unwrap_or("EUR");
    let unit = if kwargs.get::<bool>("major")?.unwrap_or(false) { Unit::Major } else { Unit::Minor };
    let whole = value.as_number().and_then(|number| number.as_integer());
    let printed = match (value.as_str(), whole) {
        (Some(text), _) => money(text.trim(), currency, unit),
        (None, Some(number)) => money(&number.to_string(), currency, unit),
        (None, None) => Err(format!("`money` needs an integer or a decimal text, not {}", kind(value))),
    };
    printed.map_err(|message| {
        stop(message, "`money` takes minor units such as cents; for `1234.50` write `money(major=true)`")
    })
}

fn date_text(
    value: &Value,
    kwargs: &Kwargs,
    filter: &str,
    print: impl Fn(Moment<'_>, &str) -> Result<String, String>,
) -> TeraResult<String> {
    let zone = kwargs.get::<&str>("zone")?.unwrap_or("UTC");
    let printed = match (value.as_str(), value.as_i64()) {
        (Some(text), _) => print(Moment::Text(text), zone),
        (None, Some(seconds)) => print(Moment::Seconds(seconds), zone),
        (None, None) => Err(format!("`{filter}` needs a date, not {}", kind(value))),
    };
    printed.map_err(|message| stop(message, format!("see `{filter}(format=…, zone=…)` in the documentation")))
}

/// Compact JSON in which nothing can end a `<script>` element or a line of JavaScript.
fn json(value: &Value, _: Kwargs, _: &State<'_>) -> TeraResult<Value> {
    let limit = bytes_limit();
    let mut output = Output::new(limit, 128);
    let mut serializer = serde_json::Serializer::new(&mut output);
    value.serialize(&mut serializer).map_err(|_| fail(document_too_large(limit)))?;
    let plain = String::from_utf8(output.into_bytes())?;
    let mut safe = String::with_capacity(plain.len());
    for character in plain.chars() {
        match character {
            '<' => safe.push_str("\\u003c"),
            '>' => safe.push_str("\\u003e"),
            '&' => safe.push_str("\\u0026"),
            '\u{2028}' => safe.push_str("\\u2028"),
            '\u{2029}' => safe.push_str("\\u2029"),
            other => safe.push(other),
        }
    }
    check_size(safe.len())?;
    Ok(Value::safe_string(&safe))
}

/// Lower-case ASCII letters and digits with single hyphens between.
fn slug(text: &str) -> String {
    let mut slug = String::with_capacity(text.len());
    let mut gap = false;
    for character in text.nfkd().filter(|character| !is_combining_mark(*character)) {
        let mut letter = [0; 4];
        let plain: &str = match character {
            'ß' | 'ẞ' => "ss",
            'æ' | 'Æ' => "ae",
            'œ' | 'Œ' => "oe",
            'ø' | 'Ø' => "o",
            'đ' | 'Đ' | 'ð' | 'Ð' => "d",
            'ł' | 'Ł' => "l",
            'þ' | 'Þ' => "th",
            'ħ' | 'Ħ' => "h",
            'ı' => "i",
            '\'' | '’' | 'ʼ' => continue,
            _ if character.is_ascii_alphanumeric() => character.to_ascii_lowercase().encode_utf8(&mut letter),
            _ => "",
        };
        if plain.is_empty() {
            gap = !slug.is_empty();
            continue;
        }
        if std::mem::take(&mut gap) {
            slug.push('-');
        }
        slug.push_str(plain);
    }
    slug
}
