//! Tera's own filters and functions that have to be replaced.
//!
//! Owns the ones whose result can be far larger than what they get, or take far longer (`replace`,
//! `join`, `indent`, `split`, `truncate`, `escape_html`, `escape_xml`, `unique`, `range`), now within the
//! limits, `group_by`, whose groups Tera returns in random order, and `round`, which can leave no number.
//! Otherwise they do what Tera's do.

#![expect(clippy::needless_pass_by_value, reason = "Tera hands its values over")]

use std::borrow::Cow;

use tera::value::Key;
use tera::{Kwargs, Map, State, StringInput, Tera, TeraResult, Value};

use super::meter::{charge, check_size, stop};

pub(super) fn register(tera: &mut Tera) {
    tera.register_filter("replace", replace);
    tera.register_filter("join", join);
    tera.register_filter("indent", indent);
    tera.register_filter("split", split);
    tera.register_filter("truncate", truncate);
    tera.register_filter("escape_html", escape_html);
    tera.register_filter("escape_xml", escape_xml);
    tera.register_filter("unique", unique);
    tera.register_filter("group_by", group_by);
    tera.register_filter("round", round);
    tera.register_function("range", range);
}

fn text(text: &str, safe: bool) -> Value {
    if safe { Value::safe_string(text) } else { Value::from(text) }
}

fn replace(value: StringInput<'_>, kwargs: Kwargs, state: &State<'_>) -> TeraResult<Value> {
    let from = kwargs.must_get::<&str>("from")?;
    let to = kwargs.must_get::<StringInput<'_>>("to")?;
    let safe = state.autoescaping_enabled() && (value.is_safe() || to.is_safe());
    let (value, to) = match safe {
        true => (value.rendered(state)?, to.rendered(state)?),
        false => (Cow::Borrowed(value.as_str()), Cow::Borrowed(to.as_str())),
    };
    let times = value.matches(from).count();
    check_size(value.len().saturating_add(times.saturating_mul(to.len())))?;
    Ok(text(&value.replace(from, &to), safe))
}

fn join(values: &[Value], kwargs: Kwargs, state: &State<'_>) -> TeraResult<Value> {
    let separator = kwargs.get::<StringInput<'_>>("sep")?;
    let safe = state.autoescaping_enabled()
        && (values.iter().any(|value| value.is_string() && value.is_safe())
            || separator.as_ref().is_some_and(StringInput::is_safe));
    let separator = match &separator {
        Some(separator) if safe => separator.rendered(state)?,
        Some(separator) => Cow::Borrowed(separator.as_str()),
        None => Cow::Borrowed(""),
    };
    let mut joined = String::new();
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            joined.push_str(&separator);
        }
        match value.as_str() {
            Some(text) if !safe => joined.push_str(text),
            _ if safe => joined.push_str(&state.escape_if_needed(value)?),
            _ => joined.push_str(&value.to_string()),
        }
        check_size(joined.len())?;
    }
    Ok(text(&joined, safe))
}

fn indent(value: StringInput<'_>, kwargs: Kwargs, state: &State<'_>) -> TeraResult<Value> {
    let width = kwargs.get::<usize>("width")?.unwrap_or(4).min(1000);
    let filler = kwargs.get::<StringInput<'_>>("indentation")?;
    let first = kwargs.get::<bool>("first")?.unwrap_or(false);
    let blank = kwargs.get::<bool>("blank")?.unwrap_or(false);
    if filler.as_ref().is_some_and(|filler| filler.as_str().chars().count() != 1) {
        return Err(stop(
            "`indentation` must be one character",
            "write `indentation=\" \"`, and how many of them as `width`",
        ));
    }
    let safe = state.autoescaping_enabled()
        && (value.is_safe() || filler.as_ref().is_some_and(StringInput::is_safe));
    let value = if safe { value.rendered(state)? } else { Cow::Borrowed(value.as_str()) };
    let filler = match &filler {
        Some(filler) if safe => filler.rendered(state)?,
        Some(filler) => Cow::Borrowed(filler.as_str()),
        None => Cow::Borrowed(" "),
    };
    let filler = filler.repeat(width);
    check_size(value.len().saturating_add(value.lines().count().saturating_mul(filler.len() + 1)))?;
    let mut indented = String::with_capacity(value.len());
    for (index, line) in value.lines().enumerate() {
        if index > 0 {
            indented.push('\n');
        }
        if if index == 0 { first } else { blank || !line.is_empty() } {
            indented.push_str(&filler);
        }
        indented.push_str(line);
    }
    if value.ends_with('\n') {
        indented.push('\n');
    }
    Ok(text(&indented, safe))
}

fn split(value: &str, kwargs: Kwargs, _: &State<'_>) -> TeraResult<Vec<Value>> {
    let pattern = kwargs.must_get::<&str>("pat")?;
    check_size(value.matches(pattern).count().saturating_mul(32))?;
    Ok(value.split(pattern).map(Value::from).collect())
}

fn truncate(value: &str, kwargs: Kwargs, _: &State<'_>) -> TeraResult<String> {
    let length = kwargs.must_get::<usize>("length")?;
    let end = kwargs.get::<&str>("end")?.unwrap_or("…");
    let Some((at, _)) = value.char_indices().nth(length) else {
        return Ok(value.to_owned());
    };
    check_size(at.saturating_add(end.len()))?;
    Ok(format!("{}{end}", &value[..at]))
}

/// Numbers have 17 digits: a precision beyond that means nothing, and soon makes them infinite.
fn round(value: f64, kwargs: Kwargs, _: &State<'_>) -> TeraResult<f64> {
    let precision = kwargs.get::<i32>("precision")?.unwrap_or(0);
    if !(-17..=17).contains(&precision) {
        return Err(stop(format!("`round` to a precision of {precision}"), "write one from -17 to 17"));
    }
    let scale = 10_f64.powi(precision);
    let round = match kwargs.get::<&str>("method")? {
        None => f64::round,
        Some("ceil") => f64::ceil,
        Some("floor") => f64::floor,
        Some(other) => {
            let remedy = "write `ceil` or `floor`, or leave it out";
            return Err(stop(format!("`round` has no method `{other}`"), remedy));
        }
    };
    let rounded = round(value * scale) / scale;
    // So large that it has no digits to round away.
    Ok(if rounded.is_finite() { rounded } else { value })
}

fn escape_html(value: &str, _: Kwargs, _: &State<'_>) -> TeraResult<String> {
    let mut escaped = Vec::with_capacity(value.len());
    tera::escape_html(value, &mut escaped)?;
    check_size(escaped.len())?;
    Ok(String::from_utf8(escaped)?)
}

fn escape_xml(value: &str, _: Kwargs, _: &State<'_>) -> TeraResult<String> {
    let mut escaped = String::with_capacity(value.len());
    for character in value.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            other => escaped.push(other),
        }
    }
    check_size(escaped.len())?;
    Ok(escaped)
}

fn unique(values: &[Value], _: Kwargs, _: &State<'_>) -> TeraResult<Vec<Value>> {
    let mut kept: Vec<Value> = Vec::new();
    for value in values {
        charge(kept.len() / 64)?;
        if !kept.contains(value) {
            kept.push(value.clone());
        }
    }
    Ok(kept)
}

/// The elements by one of their attributes, the groups in the order in which they first appear.
fn group_by(values: &[Value], kwargs: Kwargs, _: &State<'_>) -> TeraResult<Value> {
    let mut groups: Map = Map::new();
    if values.is_empty() {
        return Ok(Value::from(groups));
    }
    let attribute = kwargs.must_get::<&str>("attribute")?;
    let mut members: Vec<Vec<Value>> = Vec::new();
    for (index, value) in values.iter().enumerate() {
        let Some(by) = value.get_from_path(attribute) else {
            return Err(stop(
                format!("element {index} of the list has no `{attribute}` to group by"),
                "name an attribute that every element has",
            ));
        };
        if by.is_none() {
            continue;
        }
        let Some(key) = key_of(by) else {
            return Err(stop(
                format!(
                    "element {index} cannot be grouped by its `{attribute}`: it is of type {}",
                    by.name()
                ),
                "group by text, integers or truth values",
            ));
        };
        let next = members.len();
        let group = groups.entry(key).or_insert_with(|| Value::from(next as u64));
        let group = group.as_u64().and_then(|group| usize::try_from(group).ok()).unwrap_or(next);
        if group == next {
            members.push(Vec::new());
        }
        members[group].push(value.clone());
    }
    for (group, members) in groups.values_mut().zip(members) {
        *group = Value::from(members);
    }
    Ok(Value::from(groups))
}

fn key_of(value: &Value) -> Option<Key<'static>> {
    if let Some(text) = value.as_str() {
        return Some(Key::String(text.into()));
    }
    if let Some(truth) = value.as_bool() {
        return Some(Key::Bool(truth));
    }
    if value.is_f64() {
        return None;
    }
    value.as_i64().map(Key::I64).or_else(|| value.as_u64().map(Key::U64))
}

/// Tera's `range`, charged by its length.
fn range(kwargs: Kwargs, _: &State<'_>) -> TeraResult<Vec<i64>> {
    let start = kwargs.get::<i64>("start")?.unwrap_or_default();
    let end = kwargs.must_get::<i64>("end")?;
    let step = kwargs.get::<i64>("step_by")?.unwrap_or(1);
    if step == 0 {
        return Err(stop("`range` cannot go in steps of 0", "leave `step_by` out, or give another number"));
    }
    if start > end && step > 0 {
        return Err(stop(
            format!("`range` cannot count up from {start} to {end}"),
            "swap `start` and `end`, or give a negative `step_by`",
        ));
    }
    let mut numbers = Vec::new();
    let mut number = start;
    while if step > 0 { number < end } else { number > end } {
        charge(1)?;
        check_size(numbers.len().saturating_mul(32))?;
        numbers.push(number);
        match number.checked_add(step) {
            Some(next) => number = next,
            None => break,
        }
    }
    Ok(numbers)
}
