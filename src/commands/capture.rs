//! `capture`, `impact` and `followers`: what is recorded, what it touches, how far it has come.

use std::path::Path;

use anyhow::{Context as _, Result};
use edgepress_publisher::explain::{Affected, explain};
use edgepress_publisher::{Prepared, captured, impact_of};
use edgepress_store::database::capture::Status;
use serde_json::json;

use crate::cli::{Capture, Format};
use crate::failure::WrongUse;
use crate::output;
use crate::wire::Wired;

pub(crate) async fn capture(action: Capture, site: &Path, format: Format) -> Result<()> {
    let wired = Wired::look(site).await?;
    let database = wired.database().await?;
    let (capture, consumer) = captured(&wired.publisher, &*database)?;
    match action {
        Capture::Install => {
            let prepared = Prepared::new(wired.source.clone())?;
            let impact = impact_of(&prepared, &*database).await?;
            let installed = capture.install(consumer, impact.reads()).await?;
            let mut text = match installed.tables.len() {
                0 => "nothing was missing".to_owned(),
                count => format!("edits of {} are recorded now", output::count(count as u64, "table")),
            };
            for note in &installed.notes {
                text.push_str(&format!("\n{note}"));
            }
            output::result(format, &installed, &text);
        }
        Capture::Status => {
            let status = capture.status().await?;
            output::result(format, &status, &status_text(&status));
        }
        Capture::Remove => {
            let removed = capture.remove().await?;
            let text = match removed {
                true => "everything of Edgepress was removed from the database; the next publish is full",
                false => "there was nothing to remove",
            };
            output::result(format, &json!({ "removed": removed }), text);
        }
    }
    Ok(())
}

fn status_text(status: &Status) -> String {
    let mut lines = Vec::new();
    for table in &status.tables {
        let columns: Vec<&str> = table.columns.iter().map(String::as_str).collect();
        let waiting = output::count(table.waiting, "change");
        lines.push(format!("{}: {} ({waiting} waiting)", table.table, columns.join(", ")));
        lines.extend(table.problem.iter().map(|problem| format!("  {problem}")));
    }
    for (consumer, behind) in &status.consumers {
        lines.push(format!("{consumer} has not seen {}", output::count(*behind, "change")));
    }
    if lines.is_empty() {
        lines.push(
            "nothing is recorded: `edgepress publish` or `edgepress capture install` begins it".to_owned(),
        );
    }
    lines.join("\n")
}

pub(crate) async fn impact(table: &str, key: &[String], site: &Path, format: Format) -> Result<()> {
    let wired = Wired::look(site).await?;
    let database = wired.database().await?;
    let prepared = Prepared::new(wired.source.clone())?;
    let affected =
        explain(&wired.publisher, &prepared, &*database, table, key).await.map_err(|error| match error {
            edgepress_publisher::explain::ExplainError::Row(error) => WrongUse(error.to_string()).into(),
            edgepress_publisher::explain::ExplainError::Publish(error) => anyhow::Error::from(error),
        })?;
    let text = match affected.is_empty() {
        true => "this row touches no document".to_owned(),
        false => affected.iter().map(affected_text).collect::<Vec<_>>().join("\n"),
    };
    output::result(format, &json!({ "table": table, "key": key, "touched": affected }), &text);
    Ok(())
}

fn affected_text(affected: &Affected) -> String {
    let through = affected.through.join(", ");
    let mut text = format!("collection `{}`, through {through}:", affected.collection);
    if let Some(why) = &affected.whole {
        text.push_str(&format!(" all documents, because {why}"));
    }
    for path in &affected.documents {
        text.push_str(&format!("\n  {path}"));
    }
    text
}

pub(crate) async fn followers(site: &Path, format: Format) -> Result<()> {
    let wired = Wired::look(site).await?;
    let standings = wired.publisher.standings().await.context("cannot read where the followers stand")?;
    let line = |standing: &edgepress_publisher::Standing| {
        let mut line = match standing.behind {
            0 => format!("{}: at release {}", standing.follower, standing.reached),
            behind => format!(
                "{}: at release {}, {} behind",
                standing.follower,
                standing.reached,
                output::count(behind, "release")
            ),
        };
        if let Some(error) = &standing.error {
            line.push_str(&format!(": {error}"));
        }
        line
    };
    let text = match standings.is_empty() {
        true => "nothing follows the releases".to_owned(),
        false => standings.iter().map(line).collect::<Vec<_>>().join("\n"),
    };
    output::result(format, &json!({ "followers": standings }), &text);
    Ok(())
}
