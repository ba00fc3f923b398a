//! `releases` and `diff`.

use std::path::Path;

use anyhow::Result;
use edgepress_publisher::{Difference, Kind, history};
use edgepress_site::release::{Record, State};
use serde::Serialize;
use serde_json::json;

use super::publish::line;
use crate::cli::Format;
use crate::output;
use crate::wire::Wired;

pub(crate) async fn releases(site: &Path, format: Format, limit: u64) -> Result<()> {
    let wired = Wired::look(site).await?;
    let records = history::releases(&wired.publisher.releases, limit as usize).await?;
    let lines: Vec<String> = records.iter().map(row).collect();
    let text = if lines.is_empty() { "nothing was published yet".to_owned() } else { lines.join("\n") };
    let releases: Vec<_> = records.iter().map(object).collect();
    output::result(format, &json!({ "releases": releases }), &text);
    Ok(())
}

fn object(record: &Record) -> serde_json::Value {
    json!({
        "release": record.number,
        "root": record.root,
        "parent": record.parent,
        "time": record.time,
        "cause": record.cause,
        "state": record.state,
        "documents": record.counts.documents,
        "added": record.counts.added,
        "changed": record.counts.changed,
        "removed": record.counts.removed,
    })
}

fn row(record: &Record) -> String {
    let counts = &record.counts;
    let held = if record.state == State::Held { "  held" } else { "" };
    let root = record.root.to_string();
    format!(
        "{:>6}  {}  {}  {} documents, +{} ~{} -{}  {}{held}",
        record.number,
        time(record.time),
        &root[..12],
        output::number(counts.documents),
        output::number(counts.added),
        output::number(counts.changed),
        output::number(counts.removed),
        record.cause,
    )
}

/// A time in UTC.
fn time(milliseconds: u64) -> String {
    let time = i64::try_from(milliseconds).ok().and_then(|time| jiff::Timestamp::from_millisecond(time).ok());
    time.map_or_else(|| milliseconds.to_string(), |time| time.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
}

/// How many documents differ, and how.
#[derive(Default, Serialize)]
struct Counted {
    added: u64,
    changed: u64,
    removed: u64,
}

/// Prints differences as they are found; as JSON they are one object, written piece by piece.
pub(crate) async fn diff(site: &Path, format: Format, a: u64, b: u64) -> Result<()> {
    let wired = Wired::look(site).await?;
    let mut differences = history::diff(&wired.publisher.releases, a, b).await?;
    let mut counted = Counted::default();
    let mut all: Vec<Difference> = Vec::new();
    while let Some(difference) = differences.recv().await {
        let difference = difference?;
        match difference.change {
            Kind::Added => counted.added += 1,
            Kind::Changed => counted.changed += 1,
            Kind::Removed => counted.removed += 1,
        }
        match format {
            Format::Text => output::line_out(&line(&difference)),
            Format::Json => all.push(difference),
        }
    }
    let Counted { added, changed, removed } = counted;
    let text = format!("{added} added, {changed} changed, {removed} removed");
    output::result(
        format,
        &json!({ "from": a, "to": b, "added": added, "changed": changed, "removed": removed, "differences": all }),
        &text,
    );
    Ok(())
}
