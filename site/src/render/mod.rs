//! Rows to the bytes of documents.
//!
//! Owns Tera and everything around it: escaping, strictness (an undefined variable is an error wherever
//! it stands), limits, and the filters and functions of a shop. Refuses files, clock, randomness and
//! environment: templates come in as text, and equal input gives equal bytes.
//!
//! Strictness and limits are written into the templates before Tera sees them: [`scan`] reads a template
//! with Tera's grammar and finds the places, [`graph`] looks at all templates together, and [`emit`]
//! inserts calls to the filters and functions of [`undefined`] and [`meter`].

mod builtin;
mod context;
mod date;
mod emit;
mod expression;
mod filters;
mod graph;
mod lexer;
mod load;
mod meter;
mod money;
mod names;
mod scan;
mod undefined;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;
use tera::{ErrorKind, Tera};

pub use self::context::json;
pub use self::meter::Limits;
use self::meter::{Failure, Output};
pub use self::names::{Shape, lacking};
use self::scan::Unit;
use crate::problem::{Problem, Problems};
use crate::row::Row;
use crate::version::Version;

/// What templates see as `site`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `site.name`
    pub site_name: String,
    /// `site.url`, without a trailing slash.
    pub site_url: String,
}

/// The static files: their paths, such as `/style.css`, and versions.
pub type Assets = BTreeMap<String, Version>;

/// Which of a document's pages is rendered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Page {
    /// From 1.
    pub number: u32,
    /// How many there are.
    pub count: u32,
    /// The path of the page before, percent-encoded.
    pub previous: Option<String>,
    /// The path of the page after, percent-encoded.
    pub next: Option<String>,
}

/// All templates of a site, ready to render. Immutable, and shared by threads.
pub struct Renderer {
    tera: Tera,
    folder: String,
    limits: Limits,
    site: tera::Value,
    templates: BTreeMap<String, Template>,
}

/// What stays known of a template.
struct Template {
    dependencies: BTreeSet<String>,
    units: Vec<Unit>,
    /// Its variable paths: where they begin and end in the text that Tera has, their unit and their words.
    uses: Vec<(usize, usize, usize, String)>,
}

/// Why a document could not be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct RenderError {
    /// The template, as the user names it; empty for a document without one.
    pub template: String,
    /// The line in it, from 1, where known.
    pub line: Option<u32>,
    /// What is wrong.
    pub message: String,
    /// What to write or do instead; may be empty.
    pub remedy: String,
}

impl fmt::Display for RenderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { template, line, message, remedy } = self;
        match line {
            Some(line) => write!(f, "{template}:{line}: ")?,
            None if template.is_empty() => {}
            None => write!(f, "{template}: ")?,
        }
        write!(f, "{message}")?;
        if !remedy.is_empty() {
            write!(f, "\n  {remedy}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Renderer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renderer").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Renderer {
    /// Reads all templates (name, then text). `folder` is where they are, for messages.
    ///
    /// # Errors
    ///
    /// Everything that is wrong in them: syntax, unknown names, circles.
    pub fn new(
        folder: &str,
        templates: &BTreeMap<String, String>,
        settings: &Settings,
        assets: &Assets,
        limits: Limits,
    ) -> Result<Self, Problems> {
        match Self::read(folder, templates, settings, assets, limits) {
            (renderer, problems) if problems.is_empty() => Ok(renderer),
            (_, problems) => Err(Problems(problems)),
        }
    }

    /// As [`Self::new`], with those templates that are right, whatever is wrong with others.
    #[must_use]
    pub fn read(
        folder: &str,
        templates: &BTreeMap<String, String>,
        settings: &Settings,
        assets: &Assets,
        limits: Limits,
    ) -> (Self, Vec<Problem>) {
        load::load(folder, templates, settings, assets, limits)
    }

    /// Whether there is such a template.
    #[must_use]
    pub fn contains(&self, template: &str) -> bool {
        self.templates.contains_key(template)
    }

    /// A template, what it extends and includes, and where the components it calls are defined, all the
    /// way down; empty if there is no such template.
    #[must_use]
    pub fn dependencies(&self, template: &str) -> BTreeSet<&str> {
        let template = self.templates.get(template);
        template.into_iter().flat_map(|template| template.dependencies.iter().map(String::as_str)).collect()
    }

    /// The names that a template, what it extends and what it includes read from the row, as far as can
    /// be told without rendering; components are not looked into.
    #[must_use]
    pub fn variables(&self, template: &str) -> BTreeSet<&str> {
        self.tera.get_template_variables(template).map(BTreeSet::from_iter).unwrap_or_default()
    }

    /// Renders one document. The include that a paged document is split over holds the page's rows only.
    ///
    /// # Errors
    ///
    /// An undefined variable, a filter that cannot do its work, a limit, or no such template.
    pub fn render(&self, template: &str, row: &Row, page: Option<&Page>) -> Result<Vec<u8>, RenderError> {
        let (context, longest) = context::context(row, page, &self.site);
        meter::begin(self.limits, longest);
        let mut output = Output::new(self.limits.bytes, 4096);
        match self.tera.render_to(template, &context, &mut output) {
            Ok(()) => Ok(output.into_bytes()),
            Err(error) => Err(self.explain(template, row, page, error.kind())),
        }
    }

    #[cold]
    fn explain(&self, template: &str, row: &Row, page: Option<&Page>, error: &ErrorKind) -> RenderError {
        let mut known: Vec<&str> = row.columns.iter().map(|column| &**column).collect();
        known.extend(row.includes.iter().map(|included| &*included.name));
        known.push("site");
        known.extend(page.map(|_| "page"));
        let ours = meter::take_failure().map(|failure| undefined::complete(failure, &known));
        let plain = |message: String| Failure { message, remedy: String::new(), unknown: None };
        let (template, line, failure) = match error {
            ErrorKind::RenderingError(report) => {
                let failure = ours
                    .or_else(|| self.retell(report, &known))
                    .unwrap_or_else(|| plain(load::without_reserved_names(report.message())));
                (report.filename(), u32::try_from(report.span().start_line).ok(), failure)
            }
            ErrorKind::Io(_) => (template, None, meter::document_too_large(self.limits.bytes)),
            ErrorKind::TemplateNotFound(name) => {
                let known = self.templates.keys().map(String::as_str);
                let remedy = crate::nearest::did_you_mean(name, known, "write it, or name another");
                (template, None, Failure { remedy, ..plain("there is no such template".to_owned()) })
            }
            other => (template, None, ours.unwrap_or_else(|| plain(other.to_string()))),
        };
        let Failure { message, remedy, .. } = failure;
        RenderError { template: format!("{}/{template}", self.folder), line, message, remedy }
    }

    /// Tera's own report of an undefined variable, in our words.
    fn retell(&self, report: &tera::ReportError, known: &[&str]) -> Option<Failure> {
        let template = self.templates.get(report.filename())?;
        let at = report.span().range.start;
        let path = template
            .uses
            .iter()
            .filter(|(start, end, ..)| (*start..*end).contains(&at))
            .min_by_key(|(start, end, ..)| end - start);
        let unit = path.map_or(0, |(_, _, unit, _)| *unit);
        let written = path.map(|(.., text)| text.as_str());
        undefined::retell(report.message(), written, known, &template.units[unit])
    }
}
