//! Undefined variables.
//!
//! Owns the filters that make them errors in the positions where Tera lets them pass, and the words in
//! which every such error is told, Tera's own included.

use tera::{Error, Kwargs, State, Tera, TeraResult, Value};

use super::emit::strict_filter;
use super::meter::{Failure, Unknown, fail};
use super::scan::{Unit, Use};
use crate::nearest::did_you_mean;

/// What is known of a use when it turns out to be undefined.
#[derive(Debug, Clone)]
struct Watched {
    text: String,
    names: Option<Vec<String>>,
    bound: Vec<String>,
    in_component: bool,
}

/// Registers the strict filter of a use.
pub(super) fn register(tera: &mut Tera, number: usize, path: &Use, unit: &Unit) {
    let watched = Watched {
        text: path.text.clone(),
        names: path.names.clone(),
        bound: unit.names.clone(),
        in_component: unit.component.is_some(),
    };
    tera.register_filter(strict_filter(number), move |value: &Value, _: Kwargs, state: &State<'_>| {
        if value.is_undefined() {
            return Err(watched.refuse(state));
        }
        TeraResult::Ok(value.clone())
    });
}

impl Watched {
    #[cold]
    fn refuse(&self, state: &State<'_>) -> Error {
        fail(self.failure(state))
    }

    fn failure(&self, state: &State<'_>) -> Failure {
        let Some((first, rest)) = self.names.as_deref().and_then(|names| names.split_first()) else {
            return undefined(&self.text, OTHERWISE.to_owned());
        };
        let Ok(Some(mut parent)) = state.get::<Value>(first) else {
            let unknown =
                Unknown { name: first.clone(), bound: self.bound.clone(), in_component: self.in_component };
            return Failure { unknown: Some(unknown), ..undefined(&self.text, String::new()) };
        };
        for name in rest {
            if parent.is_none() {
                return undefined(&self.text, is_null(&self.text));
            }
            match parent.as_map().and_then(|map| map.iter().find(|(key, _)| key.as_str() == Some(name))) {
                Some((_, value)) => parent = value.clone(),
                None => return undefined(&self.text, field_remedy(name, &parent)),
            }
        }
        undefined(&self.text, OTHERWISE.to_owned())
    }
}

const OTHERWISE: &str = "if it may be missing, write `| default(value=…)` or test it with `is defined`";

fn undefined(text: &str, remedy: String) -> Failure {
    Failure { message: format!("`{text}` is not defined"), remedy, unknown: None }
}

fn is_null(text: &str) -> String {
    format!("what stands before the last dot of `{text}` is none (NULL): test it with `{{% if … %}}` first")
}

fn field_remedy(name: &str, parent: &Value) -> String {
    match parent.as_map() {
        Some(map) => {
            let known: Vec<&str> = map.keys().filter_map(tera::value::Key::as_str).collect();
            did_you_mean(name, known.iter().copied(), among(&known))
        }
        None => format!("`{name}` is looked up in a value that has no names in it"),
    }
}

pub(super) fn among(known: &[&str]) -> String {
    match known {
        [] => OTHERWISE.to_owned(),
        _ => format!("known here: {}", known.join(", ")),
    }
}

/// Completes the failure of a name that is undefined at top level, with the names that `row` has.
pub(super) fn complete(failure: Failure, row: &[&str]) -> Failure {
    let Some(Unknown { name, bound, in_component }) = &failure.unknown else {
        return failure;
    };
    let remedy = if *in_component && row.contains(&name.as_str()) {
        format!(
            "a component sees only its own arguments: pass `{name}` to it, or declare it as `@{name}` to take \
             it from where the component is called"
        )
    } else {
        let mut known: Vec<&str> = bound.iter().map(String::as_str).filter(|known| known != name).collect();
        if !in_component {
            known.extend(row);
        }
        known.sort_unstable();
        known.dedup();
        did_you_mean(name, known.iter().copied(), among(&known))
    };
    Failure { remedy, unknown: None, ..failure }
}

/// Tells Tera's own message about an undefined variable in our words. `written` is the path as the
/// template has it.
pub(super) fn retell(message: &str, written: Option<&str>, row: &[&str], unit: &Unit) -> Option<Failure> {
    let quoted = |prefix: &str| message.strip_prefix(prefix)?.split_once('`');
    if let Some((name, _)) = quoted("Variable `") {
        let unknown = Unknown {
            name: name.to_owned(),
            bound: unit.names.clone(),
            in_component: unit.component.is_some(),
        };
        let failure = Failure { unknown: Some(unknown), ..undefined(written.unwrap_or(name), String::new()) };
        return Some(complete(failure, row));
    }
    if let Some((name, rest)) = quoted("Field `") {
        let known: Vec<&str> = rest
            .split_once("Available fields: ")
            .map_or(Vec::new(), |(_, known)| known.split(", ").collect());
        let remedy = did_you_mean(name, known.iter().copied(), among(&known));
        return Some(undefined(written.unwrap_or(name), remedy));
    }
    let silent = ["Tried to render a variable that is undefined", "Cannot index into an undefined value"];
    let written = written.filter(|_| silent.contains(&message))?;
    Some(undefined(written, OTHERWISE.to_owned()))
}
