//! `publish`, `rollback` and `verify`.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use edgepress_publisher::progress::Progress;
use edgepress_publisher::{Difference, Kind, Options, Prepared, Report, Session};
use serde::Serialize;

use super::watch::watch;
use crate::cli::{self, Format, WAIT};
use crate::failure::{FAILED, Told};
use crate::output::{self, Bar};
use crate::wire::Wired;

/// At most so many differences of a dry run are printed.
const LISTED: usize = 10_000;

/// A publish, as it is printed.
#[derive(Serialize)]
pub(crate) struct Printed<'a> {
    #[serde(flatten)]
    report: &'a Report,
    requests: u64,
    elapsed_ms: u64,
}

pub(crate) async fn publish(options: &cli::Publish, site: &Path, format: Format) -> Result<()> {
    let begun = Instant::now();
    let asked = Options {
        full: options.full,
        dry_run: options.dry_run,
        yes: options.yes,
        resume: options.resume,
        keep_going: options.keep_going || options.watch,
        patient: options.watch,
        list: if options.dry_run { LISTED } else { 0 },
        wait: Some(options.wait),
    };
    if options.watch {
        return watch(asked, site, format).await;
    }
    let wired = if options.dry_run { Wired::look(site).await? } else { Wired::open(site).await? };
    let database = wired.database().await?;
    let progress = Arc::new(Progress::default());
    let bar = Bar::draw(&progress, format);
    let mut session = Session::new(wired.publisher.clone(), Prepared::new(wired.source.clone())?);
    let report = session.publish(&*database, asked, &progress).await;
    drop(bar);
    let report = report?;
    let followed = match options.dry_run || options.no_wait {
        true => Ok(()),
        false => wired.publisher.follow(options.full, asked.wait).await,
    };
    followed?;
    print(&report, wired.requests(), begun.elapsed().as_millis() as u64, format);
    Ok(())
}

pub(crate) async fn rollback(site: &Path, format: Format, release: u64) -> Result<()> {
    let begun = Instant::now();
    let wired = Wired::open(site).await?;
    let report = edgepress_publisher::rollback(&wired.publisher, release, Some(WAIT)).await?;
    print(&report, wired.requests(), begun.elapsed().as_millis() as u64, format);
    if format == Format::Text {
        eprintln!("the site is held: `edgepress publish --resume` releases edits again");
    }
    Ok(())
}

/// Prints a report.
pub(crate) fn print(report: &Report, requests: u64, elapsed_ms: u64, format: Format) {
    let printed = Printed { report, requests, elapsed_ms };
    output::result(format, &printed, &text(report, elapsed_ms));
}

/// A report for people.
pub(crate) fn text(report: &Report, elapsed_ms: u64) -> String {
    let counts = report.counts;
    let (added, changed, removed) =
        (output::number(counts.added), output::number(counts.changed), output::number(counts.removed));
    let documents = output::count(counts.documents, "document");
    let seconds = elapsed_ms as f64 / 1e3;
    let mut text: String = report.differences.iter().map(|difference| line(difference) + "\n").collect();
    for error in &report.errors {
        text.push_str(&format!("failed: {error}\n"));
    }
    text.push_str(&if report.dry_run {
        format!("nothing was changed: {added} documents would be added, {changed} changed, {removed} removed ({seconds:.2} s)")
    } else if report.released {
        let uploaded = output::bytes(report.bytes_uploaded);
        format!(
            "release {} is live: {documents}; {added} added, {changed} changed, {removed} removed; {uploaded} written in {seconds:.2} s",
            report.release
        )
    } else {
        format!("nothing to do: release {} is up to date with {documents} ({seconds:.2} s)", report.release)
    });
    text
}

/// A difference for people.
pub(crate) fn line(difference: &Difference) -> String {
    let sign = match difference.change {
        Kind::Added => '+',
        Kind::Changed => '~',
        Kind::Removed => '-',
    };
    format!("{sign} {}", difference.path)
}

pub(crate) async fn verify(site: &Path, format: Format) -> Result<()> {
    let wired = Wired::look(site).await?;
    let progress = Arc::new(Progress::default());
    let bar = Bar::draw(&progress, format);
    let found = edgepress_publisher::verify(&wired.publisher, &progress).await;
    drop(bar);
    let found = found?;
    let mut text: String =
        found.problems.iter().map(|bad| format!("bad: {}: {}\n", bad.object, bad.problem)).collect();
    let (documents, packs) = (output::count(found.documents, "document"), output::count(found.packs, "pack"));
    text.push_str(&match found.bad {
        0 => format!("release {} is whole: {documents}, {packs}", found.release),
        bad => {
            format!("release {}: {} bad among {documents} and {packs}", found.release, output::number(bad))
        }
    });
    output::result(format, &found, &text);
    if found.bad == 0 { Ok(()) } else { Err(Told(FAILED).into()) }
}
