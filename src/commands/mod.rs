//! The commands: each reads its arguments, calls one crate, prints the result.

mod capture;
mod dev;
mod history;
mod publish;
mod serve;
mod watch;

use std::path::Path;

use anyhow::Result;
use edgepress_publisher::whole;
use edgepress_site::problem::Problem;
use edgepress_store::bucket::Bucket as _;
use edgepress_store::release::CURRENT;
use serde_json::json;

use crate::cli::{Cli, Command, Format};
use crate::failure::{Told, WRONG_USE};
use crate::wire::Wired;
use crate::{from, output, starter, wire};

/// Runs a command.
pub(crate) async fn run(cli: Cli) -> Result<()> {
    let (site, format) = (cli.global.site, cli.global.format);
    match cli.command {
        Command::New { dir, from } => new(&dir, from.as_deref(), format).await,
        Command::Dev(options) => dev::dev(options, &site, format).await,
        Command::Check => check(&site, format).await,
        Command::Publish(options) => publish::publish(&options, &site, format).await,
        Command::Serve => serve::serve(&site, format).await,
        Command::Impact { table, key } => capture::impact(&table, &key, &site, format).await,
        Command::Capture { action } => capture::capture(action, &site, format).await,
        Command::Followers => capture::followers(&site, format).await,
        Command::Releases { limit } => history::releases(&site, format, limit).await,
        Command::Diff { a, b } => history::diff(&site, format, a, b).await,
        Command::Rollback { release } => publish::rollback(&site, format, release).await,
        Command::Verify => publish::verify(&site, format).await,
    }
}

async fn new(dir: &Path, url: Option<&str>, format: Format) -> Result<()> {
    let shown = dir.display();
    if let Some(url) = url {
        let written = from::write(dir, url).await?;
        let skipped = written.skipped.iter().map(|(table, why)| format!("\nleft out {table}: {why}"));
        let text = format!(
            "wrote a site of {} into {shown}; see it live with `edgepress dev {shown}`{}",
            output::count(written.collections.len() as u64, "table"),
            skipped.collect::<String>()
        );
        output::result(format, &json!({ "dir": dir, "site": written }), &text);
        return Ok(());
    }
    starter::write(dir)?;
    let text = format!("wrote the starter site into {shown}; see it live with `edgepress dev {shown}`");
    output::result(format, &json!({ "dir": dir }), &text);
    Ok(())
}

async fn check(site: &Path, format: Format) -> Result<()> {
    let (source, problems) = wire::read(site)?;
    let is_read = problems.is_empty();
    let bucket = readable(site).await;
    let database = wire::open_database(&source).await;
    let database = database.as_deref().map_err(|error| whole(error));
    let consumer = bucket.as_ref().ok().map(|wired| wired.publisher.consumer.as_str());
    let mut checked = edgepress_publisher::check::check(consumer, &source, problems, database).await?;
    // What cannot be read of the definition was told already.
    if let Some(error) = bucket.err().filter(|_| is_read) {
        let line = Some(source.site.storage.line);
        checked.problems.push(Problem::error(&source.file, line, format!("{error:#}"), "mend [storage]"));
    }
    let problems: String = checked.problems.iter().map(|problem| format!("{problem}\n")).collect();
    let mistakes = checked.mistakes();
    let text = if mistakes == 0 {
        let collections = output::count(checked.collections as u64, "collection");
        let samples = output::count(checked.samples, "sample document");
        format!("{}{problems}no mistakes: {collections}, {samples} rendered", plan(&checked))
    } else {
        format!("{problems}{}", output::count(mistakes as u64, "mistake"))
    };
    output::result(format, &checked, &text);
    if mistakes == 0 { Ok(()) } else { Err(Told(WRONG_USE).into()) }
}

/// The site's storage, if it can be read.
async fn readable(site: &Path) -> Result<Wired> {
    let wired = Wired::look(site).await?;
    for bucket in [Some(&wired.bucket), wired.objects.as_ref()].into_iter().flatten() {
        bucket.get(CURRENT).await?;
    }
    Ok(wired)
}

/// The impact plan for people, each collection's queries together, then the SQL that is still to be run.
fn plan(checked: &edgepress_publisher::check::Checked) -> String {
    let mut text = String::new();
    for place in &checked.impact {
        let include = if place.include.is_empty() { String::new() } else { format!(".{}", place.include) };
        let precision = match (&place.why, &place.advice) {
            (None, _) => "an edit touches exactly its documents".to_owned(),
            (Some(why), None) => format!("an edit touches all documents: {why}"),
            (Some(why), Some(advice)) => format!("an edit touches all documents: {why}; {advice}"),
        };
        text.push_str(&format!("{}{include} reads {}: {precision}\n", place.collection, place.table));
    }
    if !checked.capture.is_empty() {
        text.push_str("\n-- to record edits, `edgepress publish` runs this, or you do:\n");
        for statement in &checked.capture {
            text.push_str(&format!("{statement};\n"));
        }
        text.push('\n');
    }
    text
}
