//! Path patterns: literal text and `{column}` captures.
//!
//! Owns how a pattern is written, how column texts make a path of it, and how a path gives the texts
//! back. Refuses to know which collection a pattern belongs to and what `{page}` means.
//!
//! A capture is at least one character and never contains `/`. Where a segment can be cut in several
//! ways, the earlier capture takes as much as it can: `/{slug}-{id}` cuts `/red-shoe-7` into `red-shoe`
//! and `7`. Matching is linear in the path: from the right, each literal is looked for once.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use unicode_normalization::is_nfc;

use crate::path::{DocPath, PathError};

/// The pattern of a document's path.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    source: Box<str>,
    /// Literals around the captures, one more than those; the first starts with `/`, none between two
    /// captures is empty.
    literals: Vec<Box<str>>,
    columns: Vec<Box<str>>,
}

/// What is wrong with a pattern. The messages go on from "the path `...`: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A `{` without its `}`.
    #[error("`{{` has no `}}` after it; write captures as `{{column}}`")]
    Unclosed,
    /// A `}` without its `{`.
    #[error("`}}` has no `{{` before it; write captures as `{{column}}`")]
    Unopened,
    /// `{}`
    #[error("`{{}}` names no column; write `{{column}}`")]
    Empty,
    /// A name that is no column's.
    #[error("`{{{0}}}` is not a column's name; write `{{column}}`")]
    Name(String),
    /// The same column twice.
    #[error("`{{{0}}}` stands in it twice; once is enough")]
    Duplicate(String),
    /// Nothing between two captures.
    #[error("`{{{0}}}{{{1}}}` cannot be told apart; put a character between them")]
    Adjacent(String, String),
    /// The literal text alone cannot be in a path.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// Why a row has no path. The messages stand alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// The row has no text for the capture.
    #[error("column `{column}` has no text to put in the path: it must be an integer or text, and not NULL")]
    Missing {
        /// The column.
        column: String,
    },
    /// The text is empty.
    #[error("column `{column}` is empty, and stands in the path")]
    Empty {
        /// The column.
        column: String,
    },
    /// The text contains a slash.
    #[error("column `{column}` contains `/`, and stands in one segment of the path")]
    Slash {
        /// The column.
        column: String,
    },
    /// The text cannot stand in a path.
    #[error("column `{column}` stands in the path: {error}")]
    Text {
        /// The column.
        column: String,
        /// What is wrong with its text.
        error: PathError,
    },
    /// The path as a whole cannot be a document's.
    #[error("the path `{path}`: {error}")]
    Path {
        /// The path that was made, or its beginning.
        path: String,
        /// What is wrong with it.
        error: PathError,
    },
}

/// The texts that a path has where its pattern has captures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captures<'a> {
    pattern: &'a Pattern,
    /// One for each of the pattern's columns.
    texts: Vec<&'a str>,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When it is malformed, or its literal text can stand in no document's path.
    pub fn parse(source: &str) -> Result<Self, PatternError> {
        let (mut literals, mut columns): (Vec<Box<str>>, Vec<Box<str>>) = (Vec::new(), Vec::new());
        let mut rest = source;
        while let Some((literal, after)) = rest.split_once('{') {
            let (column, after) = after.split_once('}').ok_or(PatternError::Unclosed)?;
            if column.is_empty() {
                return Err(PatternError::Empty);
            }
            if column.contains(|c: char| c.is_control() || matches!(c, '/' | '{')) || column.trim() != column
            {
                return Err(PatternError::Name(column.to_owned()));
            }
            if columns.iter().any(|other| &**other == column) {
                return Err(PatternError::Duplicate(column.to_owned()));
            }
            if let Some(before) = columns.last().filter(|_| literal.is_empty()) {
                return Err(PatternError::Adjacent(before.to_string(), column.to_owned()));
            }
            literals.push(literal.into());
            columns.push(column.into());
            rest = after;
        }
        literals.push(rest.into());
        if literals.iter().any(|literal| literal.contains('}')) {
            return Err(PatternError::Unopened);
        }
        // The shortest text that a capture can have: what fails with it fails with every other.
        DocPath::new(&literals.join("x"))?;
        Ok(Self { source: source.into(), literals, columns })
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// Whether it has no captures, and so is one path.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        self.columns.is_empty()
    }

    /// The names of its captures, in order.
    pub fn columns(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        self.columns.iter().map(|column| &**column)
    }

    /// Whether it has a capture of this name.
    #[must_use]
    pub fn has(&self, column: &str) -> bool {
        self.columns().any(|own| own == column)
    }

    /// The pattern without the names of its captures: equal for two that make the same paths.
    #[must_use]
    pub fn shape(&self) -> String {
        self.literals.join("{}")
    }

    /// The path that these texts make: `text` is asked for each capture's.
    ///
    /// # Errors
    /// When a text is absent or unfit, or the path as a whole is not a document's.
    pub fn expand<'t>(
        &self,
        mut text: impl FnMut(&str) -> Option<Cow<'t, str>>,
    ) -> Result<DocPath, ExpandError> {
        let mut path = String::with_capacity(self.source.len() + 32);
        for (literal, column) in self.literals.iter().zip(&self.columns) {
            path.push_str(literal);
            let text = text(column).ok_or_else(|| ExpandError::Missing { column: column.to_string() })?;
            check_text(column, &text)?;
            path.push_str(&text);
        }
        path.push_str(self.literals.last().expect("there is one literal more than captures"));
        DocPath::new(&path).map_err(|error| ExpandError::Path { path: shown(path), error })
    }

    /// The texts of the captures with which this pattern makes `path`, if it can.
    #[must_use]
    pub fn matches<'a>(&'a self, path: &'a str) -> Option<Captures<'a>> {
        let (first, others) = self.literals.split_first().expect("there is one literal more than captures");
        let mut rest = path.strip_prefix(&**first)?;
        let Some((last, between)) = others.split_last() else {
            return rest.is_empty().then(|| Captures { pattern: self, texts: Vec::new() });
        };
        rest = rest.strip_suffix(&**last)?;
        let mut texts = Vec::with_capacity(self.columns.len());
        for literal in between.iter().rev() {
            // The capture after the literal takes one character at least.
            let (end, _) = rest.char_indices().next_back()?;
            let start = rest[..end].rfind(&**literal)?;
            texts.push(&rest[start + literal.len()..]);
            rest = &rest[..start];
        }
        texts.push(rest);
        texts.reverse();
        let fit = texts.iter().all(|text| !text.is_empty() && !text.contains('/'));
        fit.then_some(Captures { pattern: self, texts })
    }
}

/// A path as messages show it: a column's text may be of any length.
fn shown(mut path: String) -> String {
    if let Some((end, _)) = path.char_indices().nth(120) {
        path.truncate(end);
        path.push('…');
    }
    path
}

fn check_text(column: &str, text: &str) -> Result<(), ExpandError> {
    let column = || column.to_owned();
    if text.is_empty() {
        return Err(ExpandError::Empty { column: column() });
    }
    match text.chars().find(|c| c.is_control() || matches!(c, '/' | '\\')) {
        Some('/') => return Err(ExpandError::Slash { column: column() }),
        Some('\\') => return Err(ExpandError::Text { column: column(), error: PathError::Backslash }),
        Some(c) => return Err(ExpandError::Text { column: column(), error: PathError::Control(c) }),
        None => {}
    }
    if text.is_ascii() || is_nfc(text) {
        Ok(())
    } else {
        Err(ExpandError::Text { column: column(), error: PathError::NotNfc })
    }
}

impl<'a> Captures<'a> {
    /// The text of one capture.
    #[must_use]
    pub fn get(&self, column: &str) -> Option<&'a str> {
        self.iter().find(|(own, _)| *own == column).map(|(_, text)| text)
    }

    /// Columns and their texts, in the pattern's order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + '_ {
        self.pattern.columns().zip(self.texts.iter().copied())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.source)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.source, f)
    }
}

impl FromStr for Pattern {
    type Err = PatternError;
    fn from_str(source: &str) -> Result<Self, PatternError> {
        Self::parse(source)
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.source)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let source = <Cow<'_, str>>::deserialize(deserializer)?;
        Self::parse(&source)
            .map_err(|error| serde::de::Error::custom(format_args!("the path `{source}`: {error}")))
    }
}

#[cfg(test)]
mod tests;
