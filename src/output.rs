//! What is printed: results on stdout, progress on stderr while it is a terminal.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use edgepress_publisher::progress::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::cli::Format;

/// Prints a result: `text` for people, the object for programs. A closed stdout is no error of ours.
pub(crate) fn result(format: Format, object: &impl Serialize, text: &str) {
    let line = match format {
        Format::Text => text.to_owned(),
        Format::Json => serde_json::to_string(object).expect("results always print as JSON"),
    };
    line_out(&line);
}

/// Whether a result could not be printed, so that nobody has it.
static UNPRINTED: AtomicBool = AtomicBool::new(false);

/// Prints one line on stdout.
pub(crate) fn line_out(line: &str) {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("error: cannot print the result: {error}");
            UNPRINTED.store(true, Ordering::Relaxed);
        }
        _ => {}
    }
}

/// Whether everything that was to be printed was.
pub(crate) fn is_printed() -> bool {
    !UNPRINTED.load(Ordering::Relaxed)
}

/// A number with commas.
pub(crate) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in the unit that suits them.
pub(crate) fn bytes(value: u64) -> String {
    match value {
        0..10_000 => format!("{value} bytes"),
        10_000..10_000_000 => format!("{:.1} kB", value as f64 / 1e3),
        _ => format!("{:.1} MB", value as f64 / 1e6),
    }
}

/// A count and its noun.
pub(crate) fn count(value: u64, noun: &str) -> String {
    let plural = if value == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", number(value))
}

/// Draws the progress of a long work until it is dropped.
pub(crate) struct Bar {
    bar: ProgressBar,
    task: tokio::task::JoinHandle<()>,
}

impl Bar {
    /// Draws `progress` on a terminal, and nothing elsewhere.
    pub(crate) fn draw(progress: &Arc<Progress>, format: Format) -> Self {
        let is_drawn = format == Format::Text && std::io::stderr().is_terminal();
        let target =
            if is_drawn { ProgressDrawTarget::stderr_with_hz(10) } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let style =
            ProgressStyle::with_template("{spinner} {msg:<24} {wide_bar} {pos}/{len} rows  {elapsed}");
        bar.set_style(style.expect("the template is right"));
        let (drawn, progress) = (bar.clone(), progress.clone());
        let task = tokio::spawn(async move {
            loop {
                drawn.set_message(format!("{} ({} documents)", progress.phase(), progress.documents()));
                drawn.set_length(progress.rows().max(1));
                drawn.set_position(progress.rendered_rows());
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        Self { bar, task }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.task.abort();
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (value, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(number(value), text);
        }
    }
}
