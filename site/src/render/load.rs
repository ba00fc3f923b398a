//! Templates from text to a [`Renderer`].
//!
//! Owns the order in which templates are checked, so that every mistake is told with its file and line:
//! first each by itself, by Tera's parser, in the user's own text; then all together; then Tera's
//! checks of the rewritten text. A template that we cannot read although Tera can is refused: it would
//! be neither strict nor bounded.

use std::collections::{BTreeMap, BTreeSet};

use tera::{ErrorKind, Tera};

use super::emit::{Emitted, Plan, emit};
use super::filters::{self, FILTERS, FUNCTIONS, TESTS};
use super::graph::{File, Graph};
use super::scan::{Call, Callee, Edge, Target, line, scan};
use super::{Assets, Limits, Renderer, Settings, Template, builtin, context, meter, undefined};
use crate::nearest::did_you_mean;
use crate::problem::Problem;

/// Templates whose output is escaped.
const ESCAPED: [&str; 7] = [".html", ".htm", ".xml", ".svg", ".xhtml", ".rss", ".atom"];

/// Reads all templates: those that are right are ready to render, whatever is wrong with the others.
pub(super) fn load(
    folder: &str,
    templates: &BTreeMap<String, String>,
    settings: &Settings,
    assets: &Assets,
    limits: Limits,
) -> (Renderer, Vec<Problem>) {
    let (mut files, mut problems) = read(folder, templates);
    loop {
        let left_out = templates.keys().filter(|name| !files.iter().any(|file| file.name == *name));
        let left_out = left_out.map(String::as_str).collect();
        let before = (problems.len(), files.len());
        let graph = Graph::new(folder, &files, &mut problems);
        graph.check(&left_out, &mut problems);
        keep_right(folder, &mut files, &problems);
        if before != (problems.len(), files.len()) {
            continue;
        }
        match compile(folder, &files, (settings, assets)) {
            Ok((tera, mut known)) => {
                for File { name, scan, .. } in files {
                    if let Some(template) = known.get_mut(name) {
                        template.units = scan.units;
                    }
                }
                let Settings { site_name, site_url } = settings.clone();
                let site = context::map([("name", site_name.into()), ("url", site_url.into())]);
                let renderer = Renderer { tera, folder: folder.to_owned(), limits, site, templates: known };
                return (renderer, problems);
            }
            Err(found) => {
                problems.extend(found);
                keep_right(folder, &mut files, &problems);
                if files.len() == before.1 {
                    // Whose mistake it is was not said.
                    files.clear();
                }
            }
        }
    }
}

/// Leaves out templates that have mistakes, and those that need one that is left out.
fn keep_right(folder: &str, files: &mut Vec<File<'_>>, problems: &[Problem]) {
    let wrong: BTreeSet<&str> = problems.iter().map(|problem| problem.file.as_str()).collect();
    files.retain(|file| !wrong.contains(&*format!("{folder}/{}", file.name)));
    loop {
        let names: BTreeSet<&str> = files.iter().map(|file| file.name).collect();
        let units = files.iter().flat_map(|file| &file.scan.units);
        let components: BTreeSet<String> = units.filter_map(|unit| unit.component.clone()).collect();
        let is_there = |edge: &Edge| match &edge.to {
            Target::Extends(name) | Target::Include(name) => names.contains(name.as_str()),
            Target::Component(name) => components.contains(name),
            Target::Super => true,
        };
        let before = files.len();
        files.retain(|file| file.scan.edges.iter().all(is_there));
        if files.len() == before {
            return;
        }
    }
}

/// Tera with these templates, which need no others, as they are rewritten; and what stays known of them.
fn compile(
    folder: &str,
    files: &[File<'_>],
    (settings, assets): (&Settings, &Assets),
) -> Result<(Tera, BTreeMap<String, Template>), Vec<Problem>> {
    let mut tera = Tera::default();
    tera.autoescape_on(ESCAPED);
    meter::register(&mut tera);
    builtin::register(&mut tera);
    filters::register(&mut tera, settings, assets.clone());
    let sizes: BTreeMap<&str, usize> = files.iter().map(|file| (file.name, file.source.len())).collect();
    let size = |name: &str| sizes.get(name).copied().unwrap_or_default();
    let graph = Graph::new(folder, files, &mut Vec::new());
    let captured = graph.captured();
    let mut known = BTreeMap::new();
    let mut texts = Vec::new();
    let mut first = 0;
    for (index, File { name, source, scan }) in files.iter().enumerate() {
        let plan = Plan { captured: &captured[index], first, size: &size };
        let Emitted { text, places, strict } = emit(source, scan, &plan);
        for path in strict {
            undefined::register(&mut tera, first + path, &scan.uses[path], &scan.units[scan.uses[path].unit]);
        }
        let uses = places.iter().zip(&scan.uses);
        let uses = uses.map(|((start, end), path)| (*start, *end, path.unit, path.text.clone())).collect();
        let dependencies = graph.dependencies(index);
        known.insert((*name).to_owned(), Template { dependencies, units: Vec::new(), uses });
        texts.push((*name, text));
        first += scan.uses.len();
    }
    tera.add_raw_templates(texts).map_err(|error| explain(folder, error.kind()))?;
    Ok((tera, known))
}

/// Reads each template by itself: those that can be read, and what is wrong with any.
fn read<'t>(folder: &str, templates: &'t BTreeMap<String, String>) -> (Vec<File<'t>>, Vec<Problem>) {
    let (mut files, mut problems) = (Vec::new(), Vec::new());
    let mut parser = Tera::default();
    // Extends itself: after parsing, Tera refuses both templates and keeps neither.
    let refused = (" ", "{% extends ' ' %}");
    for (name, source) in templates {
        let place = format!("{folder}/{name}");
        if let Err(error) = parser.add_raw_templates([(name.as_str(), source.as_str()), refused])
            && let ErrorKind::SyntaxError(report) = error.kind()
        {
            problems.push(syntax_problem(place, report));
            continue;
        }
        let Some(scan) = scan(source) else {
            let message = "the template is not understood, and so cannot be checked for undefined variables";
            problems.push(Problem::error(place, None, message, "write its tags in a simpler way"));
            continue;
        };
        for (at, name) in &scan.reserved {
            let message = format!("`{name}` is not for templates: its name is reserved");
            let remedy = "use another name, one that does not begin with two underscores";
            problems.push(Problem::error(&place, Some(line(source, *at)), message, remedy));
        }
        problems.extend(mistaken(&scan.calls, &place, source));
        files.push(File { name, source, scan });
    }
    (files, problems)
}

fn syntax_problem(place: String, report: &tera::ReportError) -> Problem {
    let message = without_reserved_names(report.message());
    let line = u32::try_from(report.span().start_line).ok();
    let remedy = match message.as_str() {
        "Unexpected end of input" => "a tag or block that was opened is not closed",
        "The expression is too complex" => "split it: `{% set part = … %}` first, then use `part`",
        _ => "",
    };
    Problem::error(place, line, message, remedy)
}

/// What Tera says of all templates together. Its reports look like
/// `error: Unknown filter …`, a line ` --> file:line:column`, then an excerpt.
fn explain(folder: &str, error: &ErrorKind) -> Vec<Problem> {
    let text = match error {
        ErrorKind::SyntaxError(report) => {
            return vec![syntax_problem(format!("{folder}/{}", report.filename()), report)];
        }
        other => other.to_string(),
    };
    let mut problems = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(first) = lines.next() {
        let Some(message) = first.strip_prefix("error: ") else { continue };
        let Some(place) = lines.peek().and_then(|line| line.trim_start().strip_prefix("--> ")) else {
            continue;
        };
        let mut parts = place.rsplitn(3, ':');
        let line = parts.nth(1).and_then(|line| line.parse().ok());
        let file = parts.next().unwrap_or(place);
        problems.push(Problem::error(format!("{folder}/{file}"), line, message, remedy_for(message)));
    }
    if problems.is_empty() {
        problems.push(Problem::error(folder, None, text, ""));
    }
    problems
}

fn remedy_for(message: &str) -> String {
    for callee in [Callee::Filter, Callee::Test, Callee::Function] {
        let (word, known) = signatures(callee);
        let name = message.strip_prefix(&format!("Unknown {word} `")).and_then(|rest| rest.strip_suffix('`'));
        if let Some(name) = name {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            return did_you_mean(name, names.iter().copied(), format!("known: {}", names.join(", ")));
        }
    }
    String::new()
}

/// What templates can call, with the arguments.
fn signatures(callee: Callee) -> (&'static str, &'static [(&'static str, &'static [&'static str])]) {
    match callee {
        Callee::Filter => ("filter", &FILTERS),
        Callee::Test => ("test", &TESTS),
        Callee::Function => ("function", &FUNCTIONS),
    }
}

/// Arguments that Tera would pass over: no filter, test or function takes them.
fn mistaken<'s>(calls: &'s [Call], place: &'s str, source: &'s str) -> impl Iterator<Item = Problem> + 's {
    calls.iter().flat_map(move |call| {
        let (word, known) = signatures(call.callee);
        let takes = known.iter().find(|(name, _)| *name == call.name).map(|(_, takes)| *takes);
        let unknown = call.arguments.iter().filter(move |(_, name)| {
            // An unknown name is told by Tera.
            takes.is_some_and(|takes| !takes.contains(&name.as_str()))
        });
        unknown.map(move |(at, argument)| {
            let takes = takes.unwrap_or_default();
            let otherwise = match takes {
                [] => "leave it out: it takes none".to_owned(),
                _ => format!("it takes {}", takes.join(", ")),
            };
            let message = format!("the {word} `{}` has no argument `{argument}`", call.name);
            let remedy = did_you_mean(argument, takes.iter().copied(), otherwise);
            Problem::error(place, Some(line(source, *at)), message, remedy)
        })
    })
}

/// A message without names that only the rewriting uses.
pub(super) fn without_reserved_names(message: &str) -> String {
    message.replace("__tera_loop_", "loop.")
}
