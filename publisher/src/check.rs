//! Looks at a whole site without publishing it: every mistake found in one run.

use edgepress_site::definition::{Collection, Include};
use edgepress_site::documents::{KeyError, Maker, Reason};
use edgepress_site::problem::{Level, Problem};
use edgepress_site::render::{self, RenderError, Shape};
use edgepress_store::database::capture::Dialect;
use edgepress_store::database::{Database, IncludeQuery};

use crate::consumer::impact_of_what_runs;
use crate::error::{PublishError, whole};
use crate::impact::{Caution, Impact, Precision, quoted};
use crate::key::KeyColumns;
use crate::prepare::Prepared;
use crate::progress::Progress;
use crate::rows::{self, Reader};
use crate::source::Source;

/// Rows of each collection that are rendered as samples.
const SAMPLES: usize = 20;

/// At most so many mistakes in sample documents of a collection are told.
const ERRORS: usize = 10;

/// Rows with a key that others have, of which so many are looked at.
const TWINS: usize = 20;

/// What was looked at.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Checked {
    /// Collections whose queries run and whose samples render.
    pub collections: usize,
    /// Sample documents that were rendered.
    pub samples: u64,
    /// Mistakes, none of them in a site that can be published; and what is worth knowing.
    pub problems: Vec<Problem>,
    /// How precisely edits of each table are followed in each query.
    pub impact: Vec<Precision>,
    /// The SQL that is still to be run so that edits are recorded: `publish` does, or the owner.
    pub capture: Vec<String>,
}

impl Checked {
    /// How many mistakes there are.
    #[must_use]
    pub fn mistakes(&self) -> usize {
        self.problems.iter().filter(|problem| problem.level == Level::Error).count()
    }
}

/// Checks templates, queries and sample rows: a mistake in one does not hide those in the others. `problems`
/// are those that were found when the site was read; with any, nothing is rendered. Nor are documents whose
/// template has mistakes.
///
/// # Errors
/// The site's files cannot be read at all.
pub async fn check(
    consumer: Option<&str>,
    source: &Source,
    problems: Vec<Problem>,
    database: Result<&dyn Database, String>,
) -> Result<Checked, PublishError> {
    let is_read = problems.is_empty();
    let mut checked = Checked { problems, ..Checked::default() };
    let (prepared, problems) = Prepared::read(source.clone())?;
    let is_elsewhere = |problem: &Problem| is_read || problem.file != source.file;
    checked.problems.extend(problems.into_iter().filter(is_elsewhere));
    let file = source.file.as_str();
    let database = match database {
        Ok(database) => database,
        // Its URL may be one of the mistakes.
        Err(_) if !is_read => return Ok(checked),
        Err(message) => {
            let line = Some(source.site.database.line);
            checked.problems.push(Problem::error(file, line, message, "start it, or mend [database] url"));
            return Ok(checked);
        }
    };
    for (number, collection) in source.site.definition.collections.iter().enumerate() {
        match rows::check(collection, database, file).await {
            Ok(shape) => names(collection, source, &shape, &mut checked),
            Err(problems) => {
                checked.problems.extend(problems);
                continue;
            }
        }
        if is_read {
            checked.collections += 1;
            samples(&prepared.maker, number, file, database, &mut checked).await?;
        }
    }
    let impact = impact_of_what_runs(&prepared, database).await?;
    checked.impact = impact.explain();
    // What is to be recorded is known once all of the site is right.
    let capture = database.capture().filter(|_| checked.mistakes() == 0);
    if let (Some(capture), Some(consumer)) = (capture, consumer) {
        match capture.statements(consumer, impact.reads()).await {
            Ok(statements) => checked.capture = statements,
            // A publish does without: whoever may not look makes everything anew.
            Err(error) => {
                let line = Some(source.site.database.line);
                let message =
                    format!("edits cannot be recorded, so every publish makes everything anew: {error}");
                let remedy = "give this user the right to it, or let the database's owner publish";
                checked.problems.push(Problem::warning(file, line, message, remedy));
            }
        }
    }
    cautions(&impact, source, &mut checked);
    if is_read {
        deeper(&prepared, &impact, database, &mut checked).await?;
    }
    Ok(checked)
}

/// Names that the templates of a collection use and its rows lack.
fn names(collection: &Collection, source: &Source, shape: &Shape, checked: &mut Checked) {
    for document in &collection.documents {
        let Some(template) = &document.template else { continue };
        let (folder, is_paged) = (&source.site.templates, document.pages.is_some());
        for mut problem in render::lacking(folder, &source.templates, template, shape, is_paged) {
            problem.message =
                format!("{} in a document of collection `{}`", problem.message, collection.name);
            if !checked.problems.contains(&problem) {
                checked.problems.push(problem);
            }
        }
    }
}

/// What is worth knowing of the queries, as their text tells.
fn cautions(impact: &Impact, source: &Source, checked: &mut Checked) {
    for (name, include, caution) in impact.cautions() {
        let collections = &source.site.definition.collections;
        let Some(collection) = collections.iter().find(|collection| collection.name == name) else {
            continue;
        };
        let of = match include {
            "" => format!("the query of collection `{name}`"),
            include => format!("the include `{include}` of collection `{name}`"),
        };
        let (message, remedy) = match caution {
            Caution::Clock(function) if collection.refresh.is_none() => (
                format!("{of} tells the time with `{function}`, but only an edit makes its documents anew"),
                "add refresh = \"1h\", or whatever it needs, to the collection".to_owned(),
            ),
            Caution::Clock(_) => continue,
            Caution::Local(function) => (
                format!(
                    "{of} calls `{function}` with 'localtime' or 'utc': it asks for the zone of whichever machine publishes"
                ),
                "keep UTC here, and write the zone in the template: the filter `date` takes one".to_owned(),
            ),
            Caution::Random(function) => (
                format!("{of} calls `{function}`, which gives something else each time it is read"),
                "let the row hold the value".to_owned(),
            ),
            Caution::Float(function) => (
                format!(
                    "{of} has a `{function}` of floating-point numbers, whose last digits depend on the order \
                     in which the database adds them"
                ),
                "keep the numbers as decimals or integers, such as cents".to_owned(),
            ),
            Caution::Limited(clause) => (
                format!("{of} has a {clause} without an ORDER BY, which takes whatever rows come first"),
                "write an ORDER BY that leaves no ties".to_owned(),
            ),
            Caution::LimitTied(order_by) => (
                format!(
                    "{of} takes the first rows by `{order_by}`, which may leave rows tied: any of them may be taken"
                ),
                "end the ORDER BY with a column that tells them apart, such as the key".to_owned(),
            ),
            Caution::MadeOne(clause, column) => (
                format!(
                    "{of} shows `{column}` once by {clause} for values that are equal to the database but print differently: any of them may be shown"
                ),
                "show what is the same for all of them, such as lower(…) or round(…), or name the key too"
                    .to_owned(),
            ),
            Caution::Unordered(function) => (
                format!("{of} calls `{function}`, which takes rows in whatever order they come"),
                "write an ORDER BY within it, or make the rows an include".to_owned(),
            ),
            Caution::Tied(order_by) => (
                format!(
                    "{of} is ordered by `{order_by}`, which may leave rows tied: they are ordered by all columns"
                ),
                "add a column that tells them apart, such as the key".to_owned(),
            ),
        };
        let line = line(collection, include);
        checked.problems.push(Problem::warning(&source.file, Some(line), message, remedy));
    }
}

/// The line of an include, by its path of names; or of the collection.
fn line(collection: &Collection, path: &str) -> u32 {
    let (mut line, mut includes) = (collection.line, &collection.includes);
    for name in path.split('.') {
        let Some(include) = includes.iter().find(|include| include.name == name) else { break };
        (line, includes) = (include.line, &include.includes);
    }
    line
}

/// What only the database can tell of queries that run: keys that rows share, includes without an index.
async fn deeper(
    prepared: &Prepared,
    impact: &Impact,
    database: &dyn Database,
    checked: &mut Checked,
) -> Result<(), PublishError> {
    let source = &prepared.source;
    let progress = Progress::default();
    let snapshot = database.snapshot().await.map_err(PublishError::Database)?;
    let mut reader = Reader::new(snapshot, &progress);
    let dialect = reader.snapshot.catalog().await.map_err(PublishError::Database)?.dialect;
    let collections = source.site.definition.collections.iter().zip(&*prepared.keys);
    for (collection, keys) in collections.filter(|(of, _)| !impact.broken().contains_key(&of.name)) {
        twins((collection, keys), &source.file, dialect, &mut reader, checked).await?;
        let mut includes: Vec<&Include> = collection.includes.iter().collect();
        while let Some(include) = includes.pop() {
            includes.extend(&include.includes);
            let on: Vec<&str> = include.on.iter().map(|(own, _)| own.as_str()).collect();
            let query = IncludeQuery { query: &include.query, on: &on, order_by: None, limit: None };
            // What cannot be told needs no warning.
            if !on.is_empty() && reader.snapshot.lacks_index(query).await.unwrap_or(false) {
                let (name, on) = (&include.name, on.join("`, `"));
                checked.problems.push(Problem::warning(
                    &source.file,
                    Some(include.line),
                    format!("the include `{name}` has no index to find its rows by `{on}`: all rows are read for each batch and each edit"),
                    "create an index on these columns of its table",
                ));
            }
        }
    }
    Ok(())
}

/// Rows of a collection with one path.
async fn twins(
    (collection, keys): (&Collection, &KeyColumns),
    file: &str,
    dialect: Dialect,
    reader: &mut Reader<'_>,
    checked: &mut Checked,
) -> Result<(), PublishError> {
    let Some(query) = &collection.query else { return Ok(()) };
    for group in &keys.groups {
        let names = keys.names(group);
        if names.is_empty() {
            continue;
        }
        let columns: Vec<String> = names.iter().map(|name| quoted(dialect, name).to_string()).collect();
        let by = columns.join(", ");
        let sql = format!("SELECT {by} FROM ({query}\n) AS edgepress_t GROUP BY {by} HAVING count(*) > 1");
        // The database may call more rows equal than show the same texts: those that do are found by reading.
        let Ok(Some(found)) = reader.keys(&sql, TWINS).await else { continue };
        // Rows that cannot be read are no twins; the samples told of them.
        let Ok(lists) = reader.keyed(collection, keys, group, &found).await else { continue };
        if let Some(row) = lists.iter().find(|list| list.len() > 1).and_then(|list| list.first()) {
            let document = &collection.documents[group.documents[0]];
            let error = KeyError::twice(collection, document, row);
            checked.problems.push(Problem::error(file, Some(document.line), error.to_string(), ""));
        }
    }
    Ok(())
}

/// Renders the first rows of a collection.
async fn samples(
    maker: &Maker,
    number: usize,
    file: &str,
    database: &dyn Database,
    checked: &mut Checked,
) -> Result<(), PublishError> {
    let collection = &maker.definition().site.collections[number];
    let progress = Progress::default();
    let snapshot = database.snapshot().await.map_err(PublishError::Database)?;
    let mut problem = |message: String| {
        checked.problems.push(Problem::error(file, Some(collection.line), message, ""));
    };
    let mut rows = match Reader::new(snapshot, &progress).sample(collection, SAMPLES).await {
        Ok(rows) => rows,
        Err(error) => {
            problem(whole(&error));
            return Ok(());
        }
    };
    let mut failed: Vec<KeyError> = Vec::new();
    let told: Vec<_> = checked.problems.iter().map(|problem| (problem.file.clone(), problem.line)).collect();
    let is_told = |error: &KeyError| match &*error.reason {
        Reason::Render(RenderError { template, line, .. }) => {
            told.iter().any(|(file, at)| file == template && at == line)
        }
        _ => false,
    };
    let is_right = |document: usize| {
        let template = collection.documents[document].template.as_ref();
        template.is_none_or(|template| maker.renderer().contains(template))
    };
    for row in &mut rows {
        maker.make(number, row, is_right, |made| match made {
            Ok(_) => checked.samples += 1,
            Err(error) if is_told(&error) => {}
            Err(error) => failed.push(error),
        });
    }
    // One document of each kind of mistake: other rows likely have the same.
    failed.sort_by_cached_key(|error| (error.pattern.clone(), error.reason.to_string()));
    failed.dedup_by(|one, other| one.pattern == other.pattern && one.reason == other.reason);
    let more = failed.len().saturating_sub(ERRORS);
    for error in failed.iter().take(ERRORS) {
        checked.problems.push(Problem::error(file, Some(collection.line), error.to_string(), ""));
    }
    if more > 0 {
        let message =
            format!("collection `{}`: {more} more of its documents have other mistakes", collection.name);
        checked.problems.push(Problem::error(file, Some(collection.line), message, ""));
    }
    Ok(())
}
