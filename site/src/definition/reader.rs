//! Reads tables key by key and collects every mistake on the way.
//!
//! Owns lines, types, variables and unknown keys. Refuses to know what the keys mean. After a mistake
//! the value counts as absent and reading goes on; whoever asks gets a default that nobody will use.

use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::words::{self, Wrong};
use crate::nearest::nearest;
use crate::problem::Problem;

/// A value and the line it stands in.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) line: u32,
}

/// true or false, or text.
pub(super) enum Choice {
    Switch(bool),
    Text(String),
}

/// A table being read.
pub(super) struct Table<'t> {
    /// How messages call it.
    pub(super) title: String,
    pub(super) line: u32,
    keys: &'t DeTable<'t>,
    /// The keys asked for: all that there may be.
    known: Vec<&'static str>,
}

/// Reads one `site.toml`.
pub(super) struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    env: &'a dyn Fn(&str) -> Option<String>,
    /// Lines that are not TOML: what else is wrong with them follows from that.
    broken: Vec<u32>,
    problems: Vec<Problem>,
}

impl Table<'_> {
    /// Whether the key is there, right or wrong.
    pub(super) fn has(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a str, text: &'a str, env: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { file, text, env, broken: Vec::new(), problems: Vec::new() }
    }

    /// Reports what is not TOML.
    pub(super) fn syntax(&mut self, error: &toml::de::Error) {
        let line = error.span().map(|span| self.line(&span));
        // The first mistake in a line begets the others.
        if line.is_some_and(|line| self.broken.contains(&line)) {
            return;
        }
        let found = error.span().and_then(|span| self.text.get(span)).unwrap_or_default();
        let (message, remedy) = if error.message() == "duplicate key" {
            (format!("`{found}` is defined twice"), "keep one of the two, or rename one")
        } else {
            (format!("this is not TOML: {}", error.message()), "")
        };
        self.problems.push(Problem::error(self.file, line, message, remedy));
        self.broken.extend(line);
    }

    /// All mistakes in the order of their lines, if there are any.
    pub(super) fn finish(mut self) -> Vec<Problem> {
        self.problems.sort_by_key(|problem| problem.line);
        self.problems
    }

    /// Reports a mistake.
    pub(super) fn wrong(&mut self, line: u32, message: impl Into<String>, remedy: impl Into<String>) {
        if !self.broken.contains(&line) {
            self.problems.push(Problem::error(self.file, Some(line), message, remedy));
        }
    }

    /// Reports that something is not there, unless it may only be unreadable.
    pub(super) fn missing(
        &mut self,
        line: Option<u32>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        if !self.is_broken() {
            self.problems.push(Problem::error(self.file, line, message, remedy));
        }
    }

    /// The value of a check, or its complaint about `key`.
    pub(super) fn checked<T>(&mut self, line: u32, key: &str, result: Result<T, Wrong>) -> Option<T> {
        let (message, remedy) = match result {
            Ok(value) => return Some(value),
            Err(wrong) => wrong,
        };
        self.wrong(line, format!("`{key}`: {message}"), remedy);
        None
    }

    fn line(&self, span: &Range<usize>) -> u32 {
        let before = &self.text.as_bytes()[..span.start.min(self.text.len())];
        u32::try_from(before.iter().filter(|byte| **byte == b'\n').count() + 1).unwrap_or(u32::MAX)
    }

    /// Whether something is not TOML, so that what is absent may only be unreadable.
    pub(super) fn is_broken(&self) -> bool {
        !self.broken.is_empty()
    }

    /// The whole file as a table.
    pub(super) fn root<'t>(keys: &'t DeTable<'t>) -> Table<'t> {
        Table { title: "the site definition".to_owned(), line: 1, keys, known: Vec::new() }
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn done(&mut self, table: &Table<'_>) {
        for key in table.keys.keys().filter(|key| !table.known.contains(&&**key.get_ref())) {
            let remedy = match nearest(key.get_ref(), table.known.iter().copied()) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("its keys are {}", table.known.join(", ")),
            };
            let message = format!("`{}` is not a key of {}", key.get_ref(), table.title);
            self.wrong(self.line(&key.span()), message, remedy);
        }
    }

    fn get<'t>(&self, table: &mut Table<'t>, key: &'static str) -> Option<(&'t DeValue<'t>, u32)> {
        table.known.push(key);
        let value = table.keys.get(key)?;
        Some((value.get_ref(), self.line(&value.span())))
    }

    fn mistyped(&mut self, line: u32, key: &str, value: &DeValue<'_>, wanted: &str, example: &str) {
        let kind = match value {
            DeValue::String(_) => "text",
            DeValue::Integer(_) | DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.wrong(line, format!("`{key}` must be {wanted}, not {kind}"), format!("write {example}"));
    }

    /// Text with its variables put in.
    pub(super) fn string(&mut self, table: &mut Table<'_>, key: &'static str) -> Option<At<String>> {
        let (value, line) = self.get(table, key)?;
        self.text_of(key, value, line)
    }

    fn text_of(&mut self, key: &str, value: &DeValue<'_>, line: u32) -> Option<At<String>> {
        let DeValue::String(text) = value else {
            self.mistyped(line, key, value, "text", &format!("{key} = \"...\""));
            return None;
        };
        match words::expand(text, self.env) {
            Ok(value) => Some(At { value, line }),
            Err(problems) => {
                for (message, remedy) in problems {
                    self.wrong(line, format!("`{key}`: {message}"), remedy);
                }
                None
            }
        }
    }

    /// Text that must be there and not empty; `example` shows how to write it.
    pub(super) fn required(
        &mut self,
        table: &mut Table<'_>,
        key: &'static str,
        example: &str,
    ) -> Option<At<String>> {
        if !table.has(key) {
            table.known.push(key);
            self.missing(
                Some(table.line),
                format!("`{key}` is missing in {}", table.title),
                format!("write {example}"),
            );
            return None;
        }
        let text = self.string(table, key)?;
        if text.value.trim().is_empty() {
            self.wrong(text.line, format!("`{key}` is empty"), format!("write {example}"));
            return None;
        }
        Some(text)
    }

    /// Text that may be absent and passes a check.
    pub(super) fn parsed<T>(
        &mut self,
        table: &mut Table<'_>,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Option<At<T>> {
        let text = self.string(table, key);
        self.refined(text, key, parse)
    }

    /// What a check makes of text, if there is any.
    pub(super) fn refined<T>(
        &mut self,
        text: Option<At<String>>,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Option<At<T>> {
        let text = text?;
        let value = self.checked(text.line, key, parse(&text.value))?;
        Some(At { value, line: text.line })
    }

    pub(super) fn duration(&mut self, table: &mut Table<'_>, key: &'static str) -> Option<At<Duration>> {
        self.parsed(table, key, words::duration)
    }

    /// A size as text, or a number of bytes.
    pub(super) fn size(&mut self, table: &mut Table<'_>, key: &'static str) -> Option<At<u64>> {
        match self.get(table, key)? {
            (DeValue::String(_), _) => self.parsed(table, key, words::size),
            (DeValue::Integer(number), line) => {
                let size = u64::from_str_radix(number.as_str(), number.radix());
                let size =
                    size.or_else(|_| words::wrong(format!("{number} is not a size"), "write \"256MiB\""));
                self.checked(line, key, size).map(|value| At { value, line })
            }
            (value, line) => {
                self.mistyped(line, key, value, "a size", &format!("{key} = \"256MiB\""));
                None
            }
        }
    }

    pub(super) fn boolean(&mut self, table: &mut Table<'_>, key: &'static str) -> Option<At<bool>> {
        match self.get(table, key)? {
            (DeValue::Boolean(value), line) => Some(At { value: *value, line }),
            (value, line) => {
                self.mistyped(line, key, value, "true or false", &format!("{key} = true, without quotes"));
                None
            }
        }
    }

    /// true or false, or text.
    pub(super) fn boolean_or_string(
        &mut self,
        table: &mut Table<'_>,
        key: &'static str,
    ) -> Option<At<Choice>> {
        match self.get(table, key)? {
            (DeValue::Boolean(value), line) => Some(At { value: Choice::Switch(*value), line }),
            (value @ DeValue::String(_), line) => {
                self.text_of(key, value, line).map(|text| At { value: Choice::Text(text.value), line })
            }
            (value, line) => {
                self.mistyped(line, key, value, "true, false or a URL", &format!("{key} = true"));
                None
            }
        }
    }

    /// A whole number from 1.
    pub(super) fn count(&mut self, table: &mut Table<'_>, key: &'static str) -> Option<At<u32>> {
        let (value, line) = self.get(table, key)?;
        let DeValue::Integer(number) = value else {
            self.mistyped(line, key, value, "a whole number", &format!("{key} = 50, without quotes"));
            return None;
        };
        match u32::from_str_radix(number.as_str(), number.radix()) {
            Ok(value) if value > 0 => Some(At { value, line }),
            _ => {
                let remedy = format!("write a whole number from 1 to {}", u32::MAX);
                self.wrong(line, format!("`{key}` cannot be {number}"), remedy);
                None
            }
        }
    }

    /// A number from 0 to 1.
    pub(super) fn share(&mut self, table: &mut Table<'_>, key: &'static str) -> Option<At<f64>> {
        let (value, line) = self.get(table, key)?;
        let (text, number) = match value {
            DeValue::Float(number) => (number.to_string(), number.as_str().parse()),
            DeValue::Integer(number) => (number.to_string(), number.as_str().parse()),
            _ => {
                self.mistyped(line, key, value, "a number", &format!("{key} = 0.3, without quotes"));
                return None;
            }
        };
        match number {
            Ok(value) if (0.0..=1.0).contains(&value) => Some(At { value, line }),
            _ => {
                self.wrong(
                    line,
                    format!("`{key}` cannot be {text}"),
                    "write a share from 0 to 1, such as 0.3",
                );
                None
            }
        }
    }

    /// A table inside `table`; `title` is how messages call it.
    pub(super) fn table<'t>(
        &mut self,
        table: &mut Table<'t>,
        key: &'static str,
        title: impl Into<String>,
        example: &str,
    ) -> Option<Table<'t>> {
        let (value, line) = self.get(table, key)?;
        self.as_table(key, value, line, title, example)
    }

    fn as_table<'t>(
        &mut self,
        key: &str,
        value: &'t DeValue<'t>,
        line: u32,
        title: impl Into<String>,
        example: &str,
    ) -> Option<Table<'t>> {
        if let DeValue::Table(keys) = value {
            return Some(Table { title: title.into(), line, keys, known: Vec::new() });
        }
        self.mistyped(line, key, value, "a table", example);
        None
    }

    /// A section that must be there.
    pub(super) fn section<'t>(
        &mut self,
        root: &mut Table<'t>,
        key: &'static str,
        example: &str,
    ) -> Option<Table<'t>> {
        if !root.has(key) {
            root.known.push(key);
            self.missing(
                None,
                format!("the section [{key}] is missing"),
                format!("write [{key}] with {example}"),
            );
            return None;
        }
        self.table(root, key, format!("[{key}]"), &format!("[{key}]"))
    }

    /// The tables of a list.
    pub(super) fn tables<'t>(
        &mut self,
        table: &mut Table<'t>,
        key: &'static str,
        title: &str,
        header: &str,
    ) -> Vec<Table<'t>> {
        let Some((value, line)) = self.get(table, key) else { return Vec::new() };
        let DeValue::Array(items) = value else {
            self.mistyped(line, key, value, "a list of tables", &format!("{header} above each of them"));
            return Vec::new();
        };
        let mut tables = Vec::with_capacity(items.len());
        for item in items {
            let line = self.line(&item.span());
            tables.extend(self.as_table(key, item.get_ref(), line, title, header));
        }
        tables
    }

    /// The tables inside a table of free names, with those names, in the order of the file.
    pub(super) fn named_tables<'t>(
        &mut self,
        table: &mut Table<'t>,
        key: &'static str,
        header: &str,
    ) -> Vec<(At<String>, Table<'t>)> {
        let example = format!("{header}.NAME]");
        let Some(names) = self.table(table, key, key, &example) else { return Vec::new() };
        let mut tables = Vec::new();
        for (name, value) in in_order(names.keys) {
            let line = self.line(&name.span());
            let name = At { value: name.get_ref().to_string(), line };
            let title = format!("{key} `{}`", name.value);
            let example = format!("{header}.{}]", name.value);
            let table = self.as_table(&name.value, value.get_ref(), line, title, &example);
            tables.extend(table.map(|table| (name, table)));
        }
        tables
    }

    /// The pairs of a table whose keys are free and whose values are text, in the order of the file.
    pub(super) fn pairs(
        &mut self,
        table: &mut Table<'_>,
        key: &'static str,
        example: &str,
    ) -> Option<At<Vec<(String, String)>>> {
        let pairs = self.table(table, key, key, example)?;
        let entries = in_order(pairs.keys);
        let mut value = Vec::with_capacity(entries.len());
        for (name, text) in &entries {
            let line = self.line(&text.span());
            let text = self.text_of(name.get_ref(), text.get_ref(), line);
            value.extend(text.map(|text| (name.get_ref().to_string(), text.value)));
        }
        (value.len() == entries.len()).then_some(At { value, line: pairs.line })
    }
}

/// The entries of a table in the order of the file.
fn in_order<'t>(
    keys: &'t DeTable<'t>,
) -> Vec<(&'t Spanned<toml::de::DeString<'t>>, &'t Spanned<DeValue<'t>>)> {
    let mut entries: Vec<_> = keys.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}
