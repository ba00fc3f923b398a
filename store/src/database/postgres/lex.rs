//! The text of a site's queries by PostgreSQL's own lexical rules.
//!
//! Owns what the shared rules do not know: dollar quotes, backslashes in E'' texts, comments in comments.
//! It writes those as something plainer of the same length, and lets the shared rules judge that.

use crate::database::DatabaseError;
use crate::database::text;

/// As [`text::single_select`].
pub(super) fn single_select(query: &str) -> Result<&str, DatabaseError> {
    cut(query, text::single_select)
}

/// As [`text::order_terms`].
pub(super) fn order_terms(order_by: &str) -> Result<&str, DatabaseError> {
    cut(order_by, text::order_terms)
}

fn cut(original: &str, judge: fn(&str) -> Result<&str, DatabaseError>) -> Result<&str, DatabaseError> {
    let plain = plain(original)?;
    let part = judge(&plain)?;
    let start = part.as_ptr() as usize - plain.as_ptr() as usize;
    // The plain text differs in ASCII only, byte for byte: what is a boundary there is one here.
    Ok(&original[start..start + part.len()])
}

/// `text` with comments blanked, and every quoted text and name made one quoted text of `x`.
fn plain(text: &str) -> Result<String, DatabaseError> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = ' ';
    while let Some(first) = rest.chars().next() {
        let (length, filling) = match first {
            '-' if rest.starts_with("--") => (rest.find(['\n', '\r']).unwrap_or(rest.len()), Some(' ')),
            '/' if rest.starts_with("/*") => (comment(rest)?, Some(' ')),
            '\'' => (quoted(rest, matches!(before, 'e' | 'E') && is_prefix(&plain))?, Some('x')),
            '"' => (quoted(rest, false)?, Some('x')),
            '$' if !is_identifier(before) => match tag(rest) {
                Some(tag) => (dollar_quoted(rest, tag)?, Some('x')),
                None => (1, None),
            },
            // These quote nothing here, though they do elsewhere.
            '[' | ']' | '`' => (1, Some('+')),
            _ => (first.len_utf8(), None),
        };
        let (part, remaining) = rest.split_at(length);
        match filling {
            Some('x') => plain.extend(["'", &"x".repeat(length - 2), "'"]),
            Some(filling) => plain.extend(std::iter::repeat_n(filling, length)),
            None => plain.push_str(part),
        }
        before = part.chars().next_back().unwrap_or(' ');
        rest = remaining;
    }
    Ok(plain)
}

/// Whether the E at the end of `plain` stands alone: it begins a text with backslashes then.
fn is_prefix(plain: &str) -> bool {
    let mut last = plain.chars().rev();
    last.next();
    !last.next().is_some_and(is_identifier)
}

fn is_identifier(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '$') || !c.is_ascii()
}

fn unclosed(what: &str) -> DatabaseError {
    DatabaseError::Query { message: format!("{what} is not closed") }
}

/// The length of a comment, with those inside it.
fn comment(text: &str) -> Result<usize, DatabaseError> {
    let mut depth = 0_usize;
    let mut at = 0;
    loop {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return Ok(at);
            }
        } else if rest.is_empty() {
            return Err(unclosed("a comment"));
        } else {
            at += 1;
        }
    }
}

/// The length of what is quoted by its first character. A doubled quote reads as two texts, which is as good.
fn quoted(text: &str, has_escapes: bool) -> Result<usize, DatabaseError> {
    let bytes = text.as_bytes();
    let mut at = 1;
    while let Some(&byte) = bytes.get(at) {
        if has_escapes && byte == b'\\' {
            at += 2;
            continue;
        }
        at += 1;
        if byte != bytes[0] {
            continue;
        }
        // A text goes on behind a quote that follows at once, or on a later line.
        let rest = &text[at..];
        let space = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_whitespace()).len();
        let goes_on = has_escapes
            && rest[space..].starts_with('\'')
            && (space == 0 || rest[..space].contains(['\n', '\r']));
        if !goes_on {
            return Ok(at);
        }
        at += space + 1;
    }
    Err(unclosed("a quoted text or name"))
}

/// The tag that opens a dollar quote: `$$` or `$word$`.
fn tag(text: &str) -> Option<&str> {
    let end = 1 + text[1..].find('$')?;
    let word = &text[1..end];
    let is_word =
        word.chars().all(|c| c != '$' && is_identifier(c)) && !word.starts_with(|c: char| c.is_ascii_digit());
    is_word.then_some(&text[..=end])
}

fn dollar_quoted(text: &str, tag: &str) -> Result<usize, DatabaseError> {
    let content = &text[tag.len()..];
    let end = content.find(tag).ok_or_else(|| unclosed("a dollar-quoted text"))?;
    Ok(end + 2 * tag.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postgres_quotes_and_comments_are_passed_over() {
        for (query, expected) in [
            ("SELECT $$a;b)$$, $t$ $$ ; $t$ ;", "SELECT $$a;b)$$, $t$ $$ ; $t$"),
            (r"SELECT E'it\'s; (' -- ;", r"SELECT E'it\'s; ('"),
            ("SELECT E'a'\n'\\';('", "SELECT E'a'\n'\\';('"),
            (r"SELECT 'C:\', name ;", r"SELECT 'C:\', name"),
            ("/* a /* b; */ c; */ SELECT 1 /* ; /* */ */", "SELECT 1"),
            ("SELECT a[1], \"b;c\", 'ü;'", "SELECT a[1], \"b;c\", 'ü;'"),
            ("SELECT 1 -- one\r, 2 -- two", "SELECT 1 -- one\r, 2"),
            ("SELECT a$1$b FROM t", "SELECT a$1$b FROM t"),
        ] {
            assert_eq!(single_select(query).unwrap(), expected, "{query}");
        }
    }

    #[test]
    fn what_they_hide_elsewhere_is_seen_here() {
        for query in [
            r"SELECT 'a\'; DELETE FROM t; --'",
            "SELECT 1 -- \r; DELETE FROM t",
            "SELECT [; DELETE FROM t; SELECT ]",
            "SELECT `; DELETE FROM t; SELECT `",
            "SELECT fee'\\'; DELETE FROM t --'",
            "SELECT $1$; DELETE FROM t; SELECT $1$",
            "SELECT 1 /* /* */",
            "SELECT $$a",
            "DELETE FROM t",
        ] {
            assert!(single_select(query).is_err(), "{query}");
        }
        assert!(order_terms("a [ ; b ]").is_err());
        assert_eq!(order_terms("data->$$a,1$$ DESC -- so").unwrap(), "data->$$a,1$$ DESC");
    }
}
