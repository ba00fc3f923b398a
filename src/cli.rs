//! The command line: what can be typed. Refuses to do any of it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Publishes a database to the edge, and serves what the CDN misses.
#[derive(Debug, Parser)]
#[command(name = "edgepress", version, about, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// The site's definition
    #[arg(long, global = true, value_name = "FILE", default_value = "site.toml")]
    pub(crate) site: PathBuf,
    /// How results are printed
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: Format,
    /// The least important log lines to print on stderr [default: info for `serve`, else warn]
    #[arg(long, global = true, value_name = "LEVEL")]
    pub(crate) log: Option<Level>,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// One JSON object on one line of stdout; logs as JSON too
    Json,
}

/// How important a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write the starter site into a new folder
    New {
        /// The folder
        dir: PathBuf,
        /// Make a first site from the tables of this database instead: sqlite:, postgres:// or mysql://
        #[arg(long, value_name = "DATABASE_URL")]
        from: Option<String>,
    },
    /// Publish, serve, and publish every edit of rows or templates: one process, no services
    Dev(Dev),
    /// Look for mistakes in the site without publishing anything
    Check,
    /// Render the site and release what changed
    Publish(Publish),
    /// Serve the live release
    Serve,
    /// List the documents that a row touches, and why
    Impact {
        /// The row's table
        table: String,
        /// The values of its primary key
        #[arg(required = true, allow_negative_numbers = true)]
        key: Vec<String>,
    },
    /// Install, look at or remove what records edits in the database
    Capture {
        #[command(subcommand)]
        action: Capture,
    },
    /// Show how far the mirror and whatever else follows the releases has come
    Followers,
    /// List the latest releases
    Releases {
        /// How many
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=10_000))]
        limit: u64,
    },
    /// List the documents that differ between two releases
    Diff {
        /// The earlier release
        a: u64,
        /// The later release
        b: u64,
    },
    /// Make an old release live again, at once, and hold the site until `publish --resume`
    Rollback {
        /// The release to go back to
        release: u64,
    },
    /// Read everything that is stored, and say what is missing or altered
    Verify,
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum Capture {
    /// Record edits of what the site's queries read; `publish` does the same
    Install,
    /// Show what is recorded, and who has not seen it yet
    Status,
    /// Remove everything of Edgepress from the database
    Remove,
}

#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// The site's folder; the starter site is written into it if it is new
    #[arg(value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Listen here instead of where the site says
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
}

#[derive(Debug, Args)]
pub(crate) struct Publish {
    /// Trust nothing that is stored: read it all, and store anew what is missing or altered
    #[arg(long)]
    pub(crate) full: bool,
    /// Print what would change, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Release although the site is held after a rollback
    #[arg(long)]
    pub(crate) resume: bool,
    /// Go ahead even if much would be removed
    #[arg(long)]
    pub(crate) yes: bool,
    /// Publish what can be made; documents that cannot be made keep their old content
    #[arg(long)]
    pub(crate) keep_going: bool,
    /// Go on publishing every edit of rows or files, until ended
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) watch: bool,
    /// How long to wait for what follows the releases, such as the objects at their own paths
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub(crate) wait: Duration,
    /// Do not wait for what follows the releases: the next publish brings it along
    #[arg(long, conflicts_with = "wait")]
    pub(crate) no_wait: bool,
}

/// How long a command waits for the followers unless told otherwise.
pub(crate) const WAIT: Duration = Duration::from_secs(60);

fn duration(text: &str) -> Result<Duration, String> {
    edgepress_site::definition::duration(text)
        .ok_or_else(|| "write a time such as `500ms`, `30s` or `5m`".to_owned())
}
