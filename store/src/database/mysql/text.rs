//! How MySQL and MariaDB read a text: backslashes in quotes, `#` for comments, comments that are run.
//!
//! Owns the step from their lexical rules to those that all databases share. Refuses what would be read
//! differently afterwards.

use super::refused;
use crate::database::DatabaseError;
use crate::database::text;

/// The one SELECT that `query` is, as both rules read it.
pub(super) fn single_select(query: &str) -> Result<String, DatabaseError> {
    text::single_select(&normal(query)?).map(ToOwned::to_owned)
}

/// What stands after ORDER BY, as both rules read it.
pub(super) fn order_terms(order_by: &str) -> Result<String, DatabaseError> {
    text::order_terms(&normal(order_by)?).map(ToOwned::to_owned)
}

/// Whether a [`single_select`] holds a `?` that stands for a value.
pub(super) fn has_parameters(query: &str) -> bool {
    text::tokens(query).any(|token| token.is_ok_and(|token| &query[token.start..token.end] == "?"))
}

/// A name as SQL text.
pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A text as SQL text: without a backslash, which some modes take as it is.
pub(super) fn literal(text: &str) -> String {
    if text.contains(['\\', '\0']) {
        let hex: String = text.bytes().map(|byte| format!("{byte:02X}")).collect();
        return format!("CONVERT(X'{hex}' USING utf8mb4)");
    }
    format!("'{}'", text.replace('\'', "''"))
}

/// `sql` without comments, and with quotes doubled where a backslash stood before them.
pub(super) fn normal(sql: &str) -> Result<String, DatabaseError> {
    let mut out = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\'' | '"' | '`' => copy_quoted(rest, first, &mut out)?,
            '#' => skip_line(rest, &mut out),
            '-' if rest.starts_with("--") => match rest[2..].chars().next() {
                // Minus a negative number, where other databases see a comment.
                Some(next) if !next.is_whitespace() && !next.is_control() => {
                    out.push_str("- ");
                    1
                }
                _ => skip_line(rest, &mut out),
            },
            '/' if rest.starts_with("/*") => copy_comment(rest, &mut out)?,
            '[' => return Err(refused("the query holds `[` outside of quotes: remove it")),
            _ => {
                out.push(first);
                first.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    Ok(out)
}

/// How much of `rest` the quoted text at its beginning takes.
fn copy_quoted(rest: &str, quote: char, out: &mut String) -> Result<usize, DatabaseError> {
    out.push(quote);
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == quote {
            // A doubled quote reads as two quoted texts next to each other, which is as good.
            out.push(quote);
            return Ok(at + 1);
        }
        match c {
            '\\' if quote != '`' => match chars.next() {
                Some((_, escaped)) if escaped == quote => out.extend([quote, quote]),
                Some((_, escaped @ ('\'' | '"'))) => out.push(escaped),
                Some((_, escaped)) => out.extend(['\\', escaped]),
                None => break,
            },
            c => out.push(c),
        }
    }
    Err(refused("a quoted text or name is not closed"))
}

fn skip_line(rest: &str, out: &mut String) -> usize {
    out.push(' ');
    rest.find('\n').unwrap_or(rest.len())
}

fn copy_comment(rest: &str, out: &mut String) -> Result<usize, DatabaseError> {
    let inner = &rest[2..];
    if inner.starts_with('!') || inner.starts_with("M!") {
        return Err(refused("the query holds a comment that is run (/*! */): write it as plain SQL"));
    }
    let end = inner.find("*/").ok_or_else(|| refused("a comment is not closed: add */"))?;
    let length = end + 4;
    // Hints to the optimizer stay; and lines, by which the server says where something is.
    match inner.starts_with('+') {
        true => out.push_str(&rest[..length]),
        false => out.extend(std::iter::once(' ').chain(inner[..end].chars().filter(|c| *c == '\n'))),
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_what_all_rules_read_alike() {
        for (sql, expected) in [
            ("SELECT 'it\\'s; -- fine' # a ; b", "SELECT 'it''s; -- fine'"),
            ("SELECT \"a\\'b\\\"c\\\\\" -- d", "SELECT \"a'b\"\"c\\\\\""),
            ("SELECT 5--3", "SELECT 5- -3"),
            ("SELECT 5 --\n, 3", "SELECT 5  \n, 3"),
            ("SELECT /* a ; */ 1 /*", ""),
            ("SELECT /*+ MAX_EXECUTION_TIME(9) */ 1", "SELECT /*+ MAX_EXECUTION_TIME(9) */ 1"),
            ("SELECT `a\\` FROM `b``;`", "SELECT `a\\` FROM `b``;`"),
            ("SELECT 1 /*! ; DELETE FROM t */", ""),
            ("SELECT 1 /*M!100100 INTO OUTFILE 'x' */", ""),
            ("SELECT '\\'; DELETE FROM t; -- '", "SELECT '''; DELETE FROM t; -- '"),
            ("SELECT 'a' /* ' */; DELETE FROM t -- '", ""),
            ("SELECT 1 [;]", ""),
            ("SELECT 'a\\", ""),
        ] {
            assert_eq!(single_select(sql).unwrap_or_default(), expected, "{sql}");
        }
    }

    #[test]
    fn names_and_texts_are_quoted() {
        assert_eq!(quoted("a`b"), "`a``b`");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("\\'"), "CONVERT(X'5C27' USING utf8mb4)");
    }
}
