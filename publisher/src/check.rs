//! Looks at a whole site without publishing it: every mistake found in one run.

use edgepress_site::documents::Maker;
use edgepress_site::problem::{Problem, Problems};
use edgepress_store::database::Database;

use crate::Publisher;
use crate::consumer::{captured, impact_of};
use crate::error::{PublishError, whole};
use crate::impact::Precision;
use crate::prepare::Prepared;
use crate::progress::Progress;
use crate::rows::{self, Reader};
use crate::source::Source;

/// Rows of each collection that are rendered as samples.
const SAMPLES: usize = 20;

/// What was looked at.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Checked {
    /// Collections whose queries run and whose samples render.
    pub collections: usize,
    /// Sample documents that were rendered.
    pub samples: u64,
    /// Mistakes; none of them in a site that can be published.
    pub problems: Vec<Problem>,
    /// How precisely edits of each table are followed in each query.
    pub impact: Vec<Precision>,
    /// The SQL that is still to be run so that edits are recorded: `publish` does, or the owner.
    pub capture: Vec<String>,
}

/// Checks templates, queries and sample rows.
///
/// # Errors
/// The site's files or its database cannot be read at all.
pub async fn check(
    publisher: &Publisher,
    source: &Source,
    database: &dyn Database,
) -> Result<Checked, PublishError> {
    let mut checked = Checked::default();
    let file = source.file.as_str();
    let prepared = match Prepared::new(source.clone()) {
        Ok(prepared) => prepared,
        Err(PublishError::Site(Problems(problems))) => return Ok(Checked { problems, ..checked }),
        Err(error) => return Err(error),
    };
    for (number, collection) in source.site.definition.collections.iter().enumerate() {
        let problems = rows::check(collection, database, file).await;
        let is_right = problems.is_empty();
        checked.problems.extend(problems);
        if is_right {
            checked.collections += 1;
            samples(&prepared.maker, number, file, database, &mut checked).await?;
        }
    }
    if checked.problems.is_empty() {
        let impact = impact_of(&prepared, database).await?;
        checked.impact = impact.explain();
        if let Ok((capture, consumer)) = captured(publisher, database) {
            let statements = capture.statements(consumer, impact.reads()).await;
            checked.capture = statements.map_err(PublishError::Database)?;
        }
    }
    Ok(checked)
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
    let mut failed = None;
    for row in &mut rows {
        maker.make(
            number,
            row,
            |_| true,
            |made| match made {
                Ok(_) => checked.samples += 1,
                Err(error) => drop(failed.get_or_insert(error)),
            },
        );
    }
    if let Some(error) = failed {
        checked.problems.push(Problem::error(file, Some(collection.line), error.to_string(), ""));
    }
    Ok(())
}
