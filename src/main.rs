//! The `edgepress` command.
//!
//! Owns arguments, wiring, signals, what is printed and exit codes. Refuses to hold any rule of
//! publishing or serving.

mod cli;
mod commands;
mod failure;
mod files;
mod from;
mod output;
mod signals;
mod starter;
mod wire;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::filter::LevelFilter;

use crate::cli::{Cli, Command, Format, Level};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return failure::usage(&error, asked_format()),
    };
    let format = cli.global.format;
    log(&cli);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failure::report(&error.into(), format),
    };
    let result = runtime.block_on(async {
        signals::survive_limits();
        commands::run(cli).await
    });
    runtime.shutdown_background();
    match result {
        Ok(()) if output::is_printed() => ExitCode::SUCCESS,
        Ok(()) => failure::FAILED.into(),
        Err(error) => failure::report(&error, format),
    }
}

/// The format that wrong arguments ask for, as far as it can be told.
fn asked_format() -> Format {
    let arguments = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned());
    let arguments: Vec<String> = arguments.collect();
    let asks = |pair: &[String]| pair[0] == "--format" && pair[1] == "json";
    let is_json =
        arguments.windows(2).any(asks) || arguments.iter().any(|argument| argument == "--format=json");
    if is_json { Format::Json } else { Format::Text }
}

/// Logs to stderr: lines for people, or JSON.
fn log(cli: &Cli) {
    let usual = if matches!(cli.command, Command::Serve) { Level::Info } else { Level::Warn };
    let level = match cli.global.log.unwrap_or(usual) {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    let is_terminal = std::io::stderr().is_terminal();
    let log =
        tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_ansi(is_terminal);
    match cli.global.format {
        Format::Text => log.with_target(false).init(),
        Format::Json => log.json().flatten_event(true).init(),
    }
}
