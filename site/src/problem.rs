//! Mistakes in what a user wrote: where, what is wrong, and what to write instead.

use std::fmt;

/// Whether a problem stops the site from being published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing is published until it is mended.
    Error,
    /// Worth knowing; publishing goes on.
    Warning,
}

/// One mistake in `site.toml`, a template or a query.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// Whether it stops the site.
    pub level: Level,
    /// The file, as the user names it.
    pub file: String,
    /// The line in it, from 1, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// What is wrong.
    pub message: String,
    /// What to write or do instead; may be empty when the message says it all.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

impl Problem {
    /// An error at a line of a file.
    pub fn error(
        file: impl Into<String>,
        line: Option<u32>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { level: Level::Error, file: file.into(), line, message: message.into(), remedy: remedy.into() }
    }
}

impl Problem {
    /// Worth knowing about a line of a file.
    pub fn warning(
        file: impl Into<String>,
        line: Option<u32>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { level: Level::Warning, ..Self::error(file, line, message, remedy) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        let level = if self.level == Level::Warning { "warning: " } else { "" };
        write!(f, ": {level}{}", self.message)?;
        if !self.remedy.is_empty() {
            write!(f, "\n  {}", self.remedy)?;
        }
        Ok(())
    }
}

/// All mistakes found in one run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}
