//! Names that templates use and rows lack, found without rendering: in branches that no sample takes, too.
//!
//! Owns following what a template extends and includes, the blocks that are overridden and the names that
//! loops bind. Refuses to guess: what only rendering can tell is not told.

use std::collections::{BTreeMap, BTreeSet};

use super::scan::{Scan, Target, Use, line, scan};
use super::undefined::among;
use crate::nearest::did_you_mean;
use crate::problem::Problem;

/// Loops over loops over loops: followed so far.
const MAX_LOOPS: usize = 8;

/// The names in a row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shape {
    /// Its columns.
    pub columns: Vec<String>,
    /// Its includes: the name, whether it is one row rather than a list, and the names in its rows.
    pub includes: Vec<(String, bool, Self)>,
}

impl Shape {
    fn names(&self) -> impl Iterator<Item = &str> {
        let includes = self.includes.iter().map(|(name, ..)| name.as_str());
        self.columns.iter().map(String::as_str).chain(includes)
    }

    fn plain(columns: &[&str]) -> Self {
        Self { columns: columns.iter().map(|column| (*column).to_owned()).collect(), includes: Vec::new() }
    }
}

/// What a name stands for, as far as can be told.
#[derive(Clone, Copy)]
enum Meaning<'s> {
    /// One row, or none.
    Row(&'s Shape),
    /// A list of rows.
    Rows(&'s Shape),
    /// Something else.
    Other,
}

/// A template that takes part in a document, with the blocks in it that others override.
struct Part<'t> {
    name: &'t str,
    source: &'t str,
    scan: Scan,
    overridden: BTreeSet<String>,
}

impl Part<'_> {
    /// Whether what stands at this byte is rendered, or may be.
    fn is_live(&self, at: usize) -> bool {
        let is_around = |start: usize, end: usize| (start..end).contains(&at);
        let mut blocks = self.scan.blocks.iter().filter(|block| is_around(block.start, block.end)).peekable();
        let extends = self.scan.edges.iter().any(|edge| matches!(edge.to, Target::Extends(_)));
        (!extends || blocks.peek().is_some()) && blocks.all(|block| !self.overridden.contains(&block.name))
    }

    fn uses(&self) -> impl Iterator<Item = (&Use, &[String])> {
        let is_own = |path: &&Use| path.unit == 0 && self.is_live(path.start);
        self.scan.uses.iter().filter(is_own).filter_map(|path| Some((path, path.names.as_deref()?)))
    }
}

/// Where a template, rendered for rows with these names, uses others: each mistake once. Nothing for a
/// template that cannot be read; nothing within components, which see only their arguments.
#[must_use]
pub fn lacking(
    folder: &str,
    templates: &BTreeMap<String, String>,
    template: &str,
    shape: &Shape,
    is_paged: bool,
) -> Vec<Problem> {
    let Some(parts) = parts(templates, template) else { return Vec::new() };
    let mut top = shape.clone();
    top.includes.push(("site".to_owned(), true, Shape::plain(&["name", "url"])));
    if is_paged {
        let page = Shape::plain(&["number", "count", "previous", "next"]);
        top.includes.push(("page".to_owned(), true, page));
    }
    let scope = Scope::new(&top, &parts);
    let mut problems = BTreeMap::new();
    for part in &parts {
        for (path, names) in part.uses() {
            if let Some(remedy) = scope.mistake(names) {
                let place = format!("{folder}/{}", part.name);
                let line = line(part.source, path.start);
                let message = format!("`{}` is not defined", path.text);
                let key = (place.clone(), line, message.clone());
                problems.entry(key).or_insert_with(|| Problem::error(place, Some(line), message, remedy));
            }
        }
    }
    problems.into_values().collect()
}

/// The template, what it extends and what these include.
fn parts<'t>(templates: &'t BTreeMap<String, String>, template: &str) -> Option<Vec<Part<'t>>> {
    let mut parts: Vec<Part<'t>> = Vec::new();
    let mut open = vec![(template.to_owned(), BTreeSet::new())];
    while let Some((name, overridden)) = open.pop() {
        let (name, source) = templates.get_key_value(&name)?;
        if parts.iter().any(|part| part.name == name && part.overridden == overridden) {
            continue;
        }
        let part = Part { name, source, scan: scan(source)?, overridden };
        for edge in part.scan.edges.iter().filter(|edge| edge.from == 0) {
            match &edge.to {
                Target::Extends(parent) => {
                    let own = part.scan.blocks.iter().map(|block| block.name.clone());
                    open.push((parent.clone(), part.overridden.iter().cloned().chain(own).collect()));
                }
                Target::Include(included) if part.is_live(edge.at) => {
                    open.push((included.clone(), BTreeSet::new()));
                }
                Target::Include(_) | Target::Component(_) | Target::Super => {}
            }
        }
        parts.push(part);
    }
    Some(parts)
}

/// What the names of a document's templates stand for.
struct Scope<'s> {
    top: &'s Shape,
    /// Bound names, and the paths of what their loops go over: `None` if it is something else.
    bound: BTreeMap<&'s str, Vec<Option<&'s [String]>>>,
    /// Paths that may be undefined.
    forgiven: Vec<&'s [String]>,
}

impl<'s> Scope<'s> {
    fn new(top: &'s Shape, parts: &'s [Part<'s>]) -> Self {
        let mut scope = Self { top, bound: BTreeMap::new(), forgiven: Vec::new() };
        for Part { scan, .. } in parts {
            for binding in scan.bindings.iter().filter(|binding| binding.unit == 0) {
                let over = binding.over.and_then(|over| scan.uses[over].names.as_deref());
                scope.bound.entry(&binding.name).or_default().push(over);
            }
            let forgiven = scan.uses.iter().filter(|path| path.may_be_undefined);
            scope.forgiven.extend(forgiven.filter_map(|path| path.names.as_deref()));
        }
        scope
    }

    /// What to write instead, if a path is surely undefined.
    fn mistake(&self, names: &[String]) -> Option<String> {
        if self.forgiven.iter().any(|forgiven| names.starts_with(forgiven)) {
            return None;
        }
        self.meaning(names, 0).err()
    }

    /// What a path stands for; the remedy if nothing.
    fn meaning(&self, names: &[String], loops: usize) -> Result<Meaning<'s>, String> {
        let Some((first, rest)) = names.split_first() else { return Ok(Meaning::Other) };
        let mut meaning = match self.bound.get(first.as_str()) {
            Some(over) => self.element(over, loops),
            None if first == "loop" => Meaning::Other,
            None => member(self.top, first).ok_or_else(|| self.nearest(first))?,
        };
        for name in rest {
            let Meaning::Row(shape) = meaning else { return Ok(Meaning::Other) };
            meaning = member(shape, name).ok_or_else(|| nearest(name, shape.names()))?;
        }
        Ok(meaning)
    }

    /// What a bound name stands for: a row, if all its loops go over the same rows.
    fn element(&self, over: &[Option<&'s [String]>], loops: usize) -> Meaning<'s> {
        let [Some(path), others @ ..] = over else { return Meaning::Other };
        if loops == MAX_LOOPS || others.iter().any(|other| *other != Some(*path)) {
            return Meaning::Other;
        }
        match self.meaning(path, loops + 1) {
            Ok(Meaning::Rows(shape)) => Meaning::Row(shape),
            _ => Meaning::Other,
        }
    }

    fn nearest(&self, name: &str) -> String {
        nearest(name, self.top.names().chain(self.bound.keys().copied()))
    }
}

fn member<'s>(shape: &'s Shape, name: &str) -> Option<Meaning<'s>> {
    if let Some((_, is_one, rows)) = shape.includes.iter().find(|(include, ..)| include == name) {
        return Some(if *is_one { Meaning::Row(rows) } else { Meaning::Rows(rows) });
    }
    shape.columns.iter().any(|column| column == name).then_some(Meaning::Other)
}

fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> String {
    let mut known: Vec<&str> = known.collect();
    known.sort_unstable();
    known.dedup();
    did_you_mean(name, known.iter().copied(), among(&known))
}
