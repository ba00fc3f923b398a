//! Who extends, includes and calls whom among the templates.
//!
//! Owns finding what is missing, what goes in circles and what nests too deep (rendering is recursive,
//! so depth is stack), which parts are rendered into captures, and each template's dependencies.

use std::collections::{BTreeMap, BTreeSet};

use super::scan::{Edge, Scan, Target, line};
use crate::nearest::did_you_mean;
use crate::problem::Problem;

/// A chain of templates, blocks and components may be this long: each costs some 75 kB of stack in a build
/// without optimisation, and threads have 2 MB.
const MAX_DEPTH: usize = 24;

/// Tera renders components within components no deeper.
const MAX_COMPONENTS: usize = 20;

/// A template that was read.
pub(super) struct File<'t> {
    pub(super) name: &'t str,
    pub(super) source: &'t str,
    pub(super) scan: Scan,
}

/// A unit of a file, both by index.
type Node = (usize, usize);

/// All templates and where things are in them.
pub(super) struct Graph<'t> {
    files: &'t [File<'t>],
    by_name: BTreeMap<&'t str, usize>,
    components: BTreeMap<&'t str, Node>,
    folder: &'t str,
}

/// What stands below a node, at most.
#[derive(Debug, Clone, Copy, Default)]
struct Depth {
    all: usize,
    components: usize,
}

impl Depth {
    /// The depth of a template whose blocks are rendered inside those of `parent`.
    fn within(self, parent: Self) -> Self {
        let shared = usize::from(parent.all > 0);
        Self { all: self.all + parent.all - shared, components: self.components + parent.components }
    }
}

enum Visit {
    Open,
    Done(Depth),
}

impl<'t> Graph<'t> {
    /// Collects the names; two components of one name are a problem.
    pub(super) fn new(folder: &'t str, files: &'t [File<'t>], problems: &mut Vec<Problem>) -> Self {
        let by_name = files.iter().enumerate().map(|(index, file)| (file.name, index)).collect();
        let mut graph = Self { files, by_name, components: BTreeMap::new(), folder };
        for (index, file) in files.iter().enumerate() {
            for (unit, component) in file.scan.units.iter().enumerate() {
                let Some(name) = component.component.as_deref() else { continue };
                if let Some(first) = graph.components.insert(name, (index, unit)) {
                    let other = graph.place(first.0, files[first.0].scan.units[first.1].at);
                    problems.push(graph.problem(
                        index,
                        component.at,
                        format!("the component `{name}` is defined in {other} too"),
                        "rename one of them: components are known to all templates",
                    ));
                }
            }
        }
        graph
    }

    fn place(&self, file: usize, at: usize) -> String {
        let File { name, source, .. } = &self.files[file];
        format!("{}/{name}:{}", self.folder, line(source, at))
    }

    fn problem(
        &self,
        file: usize,
        at: usize,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Problem {
        let File { name, source, .. } = &self.files[file];
        Problem::error(format!("{}/{name}", self.folder), Some(line(source, at)), message, remedy)
    }

    fn target(&self, to: &Target) -> Option<Node> {
        match to {
            Target::Extends(name) | Target::Include(name) => {
                self.by_name.get(name.as_str()).map(|file| (*file, 0))
            }
            Target::Component(name) => self.components.get(name.as_str()).copied(),
            Target::Super => None,
        }
    }

    fn edges(&self, (file, unit): Node) -> impl Iterator<Item = &'t Edge> {
        self.files[file].scan.edges.iter().filter(move |edge| edge.from == unit)
    }

    /// Everything that is wrong with the graph. Templates that were `left_out` have mistakes of their own, which
    /// were told: that others need them is none.
    pub(super) fn check(&self, left_out: &BTreeSet<&str>, problems: &mut Vec<Problem>) {
        let may_be_left_out = |to: &Target| match to {
            Target::Extends(name) | Target::Include(name) => left_out.contains(name.as_str()),
            Target::Component(_) => !left_out.is_empty(),
            Target::Super => true,
        };
        for (file, File { scan, .. }) in self.files.iter().enumerate() {
            for edge in &scan.edges {
                if self.target(&edge.to).is_none() && !may_be_left_out(&edge.to) {
                    problems.push(self.missing(file, edge));
                }
            }
        }
        let mut visited = BTreeMap::new();
        for (file, File { scan, .. }) in self.files.iter().enumerate() {
            for unit in 0..scan.units.len() {
                if self.depth((file, unit), &mut visited, 0, problems).is_none() {
                    return;
                }
            }
        }
    }

    fn missing(&self, file: usize, edge: &Edge) -> Problem {
        let (message, remedy) = match &edge.to {
            Target::Component(name) => (
                format!("there is no component `{name}`"),
                did_you_mean(
                    name,
                    self.components.keys().copied(),
                    format!("define it: {{% component {name}() %}}…{{% endcomponent %}}"),
                ),
            ),
            Target::Extends(name) | Target::Include(name) => (
                format!("there is no template `{name}`"),
                did_you_mean(
                    name,
                    self.by_name.keys().copied(),
                    format!("names are relative to the folder {}/", self.folder),
                ),
            ),
            Target::Super => unreachable!("nothing is missing for `super()`"),
        };
        self.problem(file, edge.at, message, remedy)
    }

    /// How deep rendering may nest below `node`; `None` once that is a problem.
    fn depth(
        &self,
        node: Node,
        visited: &mut BTreeMap<Node, Visit>,
        above: usize,
        problems: &mut Vec<Problem>,
    ) -> Option<Depth> {
        if let Some(Visit::Done(depth)) = visited.get(&node) {
            return Some(*depth);
        }
        visited.insert(node, Visit::Open);
        let unit = &self.files[node.0].scan.units[node.1];
        let (mut own, mut parent) = (Depth { all: 1 + unit.blocks, components: 0 }, Depth::default());
        if own.all > MAX_DEPTH {
            problems.push(self.too_deep(node, unit.at, false));
            return None;
        }
        for edge in self.edges(node) {
            let Some(to) = self.target(&edge.to) else { continue };
            if matches!(visited.get(&to), Some(Visit::Open)) {
                problems.push(self.circle(node, edge));
                return None;
            }
            let below = match above >= MAX_DEPTH {
                true => Depth { all: MAX_DEPTH, components: 0 },
                false => self.depth(to, visited, above + 1, problems)?,
            };
            let extends = matches!(edge.to, Target::Extends(_));
            let below = Depth {
                all: below.all + if extends { 0 } else { edge.blocks + 1 },
                components: below.components + usize::from(matches!(edge.to, Target::Component(_))),
            };
            let deepest = if extends { &mut parent } else { &mut own };
            deepest.all = deepest.all.max(below.all);
            deepest.components = deepest.components.max(below.components);
            let depth = own.within(parent);
            if depth.all > MAX_DEPTH || depth.components > MAX_COMPONENTS {
                problems.push(self.too_deep(node, edge.at, depth.components > MAX_COMPONENTS));
                return None;
            }
        }
        let depth = own.within(parent);
        visited.insert(node, Visit::Done(depth));
        Some(depth)
    }

    fn circle(&self, node: Node, edge: &Edge) -> Problem {
        let (what, remedy) = match &edge.to {
            Target::Extends(name) => (format!("extending `{name}`"), "extend another template"),
            Target::Include(name) => (format!("including `{name}`"), "write a loop instead"),
            Target::Component(name) => (format!("the component `{name}` here"), "write a loop instead"),
            Target::Super => unreachable!("`super()` has no target"),
        };
        let message = format!("{what} goes in a circle: that renders this place again, for ever");
        self.problem(node.0, edge.at, message, remedy)
    }

    fn too_deep(&self, node: Node, at: usize, components: bool) -> Problem {
        let message = match components {
            true => format!("components nest deeper than {MAX_COMPONENTS} here"),
            false => format!("templates, blocks and components nest deeper than {MAX_DEPTH} here"),
        };
        self.problem(node.0, at, message, "flatten the chain: let one template do the work of several")
    }

    /// For each file and unit: whether it may be rendered into a capture.
    pub(super) fn captured(&self) -> Vec<Vec<bool>> {
        let mut captured: Vec<Vec<bool>> =
            self.files.iter().map(|file| vec![false; file.scan.units.len()]).collect();
        let mut open: Vec<Node> = Vec::new();
        let mark = |node: Node, captured: &mut Vec<Vec<bool>>, open: &mut Vec<Node>| {
            if !std::mem::replace(&mut captured[node.0][node.1], true) {
                open.push(node);
            }
        };
        for (index, File { scan, .. }) in self.files.iter().enumerate() {
            for edge in &scan.edges {
                if edge.to == Target::Super {
                    self.parents(index).for_each(|parent| mark((parent, 0), &mut captured, &mut open));
                }
                if let Some(to) = self.target(&edge.to).filter(|_| edge.captured) {
                    mark(to, &mut captured, &mut open);
                }
            }
            if self.parents(index).any(|parent| self.files[parent].scan.captured_block) {
                mark((index, 0), &mut captured, &mut open);
            }
        }
        while let Some(node) = open.pop() {
            for to in self.edges(node).filter_map(|edge| self.target(&edge.to)) {
                mark(to, &mut captured, &mut open);
            }
        }
        captured
    }

    /// The templates that a file extends, nearest first. Only for graphs without circles.
    fn parents(&self, file: usize) -> impl Iterator<Item = usize> {
        let parent = |file: usize| {
            self.edges((file, 0)).find_map(|edge| match &edge.to {
                Target::Extends(_) => self.target(&edge.to).map(|(parent, _)| parent),
                _ => None,
            })
        };
        std::iter::successors(parent(file), move |file| parent(*file)).take(MAX_DEPTH)
    }

    /// A template and all the templates that its documents depend on.
    pub(super) fn dependencies(&self, file: usize) -> BTreeSet<String> {
        let mut found: BTreeSet<Node> = BTreeSet::new();
        let mut open: Vec<Node> = vec![(file, 0)];
        while let Some(node) = open.pop() {
            if found.insert(node) {
                open.extend(self.edges(node).filter_map(|edge| self.target(&edge.to)));
            }
        }
        found.into_iter().map(|(file, _)| self.files[file].name.to_owned()).collect()
    }
}
