//! The little that must be known of a query before a database sees it.
//!
//! Owns telling code from strings, quoted names and comments. Refuses to parse SQL: whether a query is
//! right is for its database to say.

use super::words::{Wrong, wrong};

/// One SELECT, without what follows its last word: it will stand inside another query.
pub(super) fn one_select(sql: &str) -> Result<String, Wrong> {
    let query = statement(sql)?;
    if query.is_empty() {
        return wrong("the query is empty", "write one SELECT");
    }
    let code = code(&query);
    let first = top_level_words(&code).next().unwrap_or_default().to_lowercase();
    if code.trim_start().starts_with('(') || matches!(&*first, "select" | "with" | "values") {
        return Ok(query);
    }
    wrong("the query is not a SELECT", "write one SELECT (or WITH ... SELECT)")
}

/// What stands after ORDER BY.
pub(super) fn order(sql: &str) -> Result<String, Wrong> {
    let order = statement(sql)?;
    let code = code(&order);
    let mut words = top_level_words(&code);
    match words.next() {
        None if order.is_empty() => wrong("`order_by` is empty", "name columns, or leave it out"),
        Some(word) if word.eq_ignore_ascii_case("order") && words.next().is_some() => {
            wrong("`order_by` repeats ORDER BY", "write only what stands after ORDER BY")
        }
        _ if limits(&order) => {
            wrong("`order_by` has a LIMIT", "write `limit = 10` as a key of its own beside `order_by`")
        }
        _ => Ok(order),
    }
}

/// Whether the query as a whole, not a part of it in parentheses, is cut by LIMIT or FETCH.
pub(super) fn limits(sql: &str) -> bool {
    let code = code(sql);
    let words: Vec<&str> = top_level_words(&code).collect();
    words.iter().enumerate().any(|(index, word)| {
        let next = words.get(index + 1).copied().unwrap_or_default();
        word.eq_ignore_ascii_case("limit")
            || word.eq_ignore_ascii_case("fetch")
                && (next.eq_ignore_ascii_case("first") || next.eq_ignore_ascii_case("next"))
    })
}

/// The text up to its `;` and without comments after it.
fn statement(sql: &str) -> Result<String, Wrong> {
    let code = code(sql);
    let (first, rest) = code.split_once(';').unwrap_or((&code, ""));
    if !rest.trim_matches([' ', ';']).is_empty() {
        return wrong("there is more after the `;`", "write one SELECT and nothing else");
    }
    let end = first.trim_end().len();
    Ok(sql[..end].trim_start().to_owned())
}

/// The same text, byte for byte, with comments as spaces, and strings and quoted names as `'`.
fn code(sql: &str) -> String {
    let mut code = Vec::with_capacity(sql.len());
    let mut rest = sql;
    while let Some(first) = rest.bytes().next() {
        let (length, mask) = match first {
            b'\'' | b'"' | b'`' => (quoted(rest, first), Some(b'\'')),
            b'[' => (rest.find(']').map_or(rest.len(), |end| end + 1), Some(b'\'')),
            b'-' if rest.starts_with("--") => (rest.find('\n').unwrap_or(rest.len()), Some(b' ')),
            b'/' if rest.starts_with("/*") => {
                (rest[2..].find("*/").map_or(rest.len(), |end| end + 4), Some(b' '))
            }
            b'$' if !code.last().copied().is_some_and(is_word) => match dollar_quoted(rest) {
                Some(length) => (length, Some(b'\'')),
                None => (1, None),
            },
            _ if first.is_ascii_whitespace() => (1, Some(b' ')),
            _ => (1, None),
        };
        match mask {
            Some(mask) => code.resize(code.len() + length, mask),
            None => code.push(first),
        }
        // Only ASCII ends a masked part; outside of one, a character's further bytes are code too.
        rest = next_part(rest, length, &mut code);
    }
    String::from_utf8(code).expect("whole characters are kept or masked")
}

fn next_part<'a>(rest: &'a str, length: usize, code: &mut Vec<u8>) -> &'a str {
    let mut end = length;
    while !rest.is_char_boundary(end) {
        code.push(rest.as_bytes()[end]);
        end += 1;
    }
    &rest[end..]
}

/// The length of a quoted part; a doubled quote does not end it.
fn quoted(text: &str, quote: u8) -> usize {
    let bytes = text.as_bytes();
    let mut index = 1;
    while let Some(byte) = bytes.get(index) {
        if *byte == quote {
            if bytes.get(index + 1) != Some(&quote) {
                return index + 1;
            }
            index += 1;
        }
        index += 1;
    }
    bytes.len()
}

/// The length of `$tag$ ... $tag$`, if that is what starts here.
fn dollar_quoted(text: &str) -> Option<usize> {
    let tag = text[1..].find('$').map(|end| &text[..end + 2])?;
    let name = &tag[1..tag.len() - 1];
    if !name.bytes().all(is_word) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let end = text[tag.len()..].find(tag)?;
    Some(tag.len() + end + tag.len())
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// The words of code outside parentheses, without those after a dot: they are columns.
fn top_level_words(code: &str) -> impl Iterator<Item = &str> {
    let bytes = code.as_bytes();
    let (mut index, mut depth) = (0, 0usize);
    std::iter::from_fn(move || {
        while let Some(byte) = bytes.get(index) {
            let start = index;
            index += 1;
            match byte {
                b'(' => depth += 1,
                b')' => depth = depth.saturating_sub(1),
                byte if is_word(*byte) => {
                    while bytes.get(index).copied().is_some_and(is_word) {
                        index += 1;
                    }
                    if depth == 0 && (start == 0 || bytes[start - 1] != b'.') {
                        return Some(&code[start..index]);
                    }
                }
                _ => {}
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_limit_on_the_whole_query_is_seen() {
        for (sql, limited) in [
            ("SELECT a FROM t LIMIT 3", true),
            ("SELECT a FROM t\nlimit\n3", true),
            ("SELECT a FROM t FETCH FIRST 3 ROWS ONLY", true),
            ("SELECT a FROM t fetch /* x */ next row only", true),
            ("SELECT a FROM (SELECT a FROM t LIMIT 3) q", false),
            ("SELECT (SELECT a FROM t LIMIT 1) FROM (SELECT 1)", false),
            ("SELECT 'LIMIT', \"limit\", `limit`, [limit] FROM t", false),
            ("SELECT 'it''s LIMIT' FROM t -- LIMIT", false),
            ("SELECT a FROM t /* ' LIMIT */", false),
            ("SELECT $$ LIMIT $$, $q$ $$ LIMIT $q$ FROM t", false),
            ("SELECT $1 LIMIT $2", true),
            ("SELECT t.limit, fetch, limited, a_limit, limit_ FROM t", false),
            ("SELECT ')' LIMIT 1", true),
            ("SELECT '\u{e9}', \u{e9}limit FROM t", false),
        ] {
            assert_eq!(limits(sql), limited, "{sql}");
        }
    }

    #[test]
    fn a_query_is_one_select_without_what_follows_it() {
        for (sql, query) in [
            ("SELECT 1", Ok("SELECT 1")),
            ("  select 1 ;  ", Ok("select 1")),
            ("SELECT 1; -- done", Ok("SELECT 1")),
            ("SELECT 1 -- done", Ok("SELECT 1")),
            ("SELECT 1 /* done", Ok("SELECT 1")),
            ("-- first\nSELECT ';' -- \u{e9}", Ok("-- first\nSELECT ';'")),
            ("(SELECT 1) UNION (SELECT 2)", Ok("(SELECT 1) UNION (SELECT 2)")),
            ("(SELECT 1)", Ok("(SELECT 1)")),
            ("WITH q AS (SELECT 1) SELECT * FROM q", Ok("WITH q AS (SELECT 1) SELECT * FROM q")),
            ("VALUES (1)", Ok("VALUES (1)")),
            ("", Err("the query is empty")),
            (" -- nothing", Err("the query is empty")),
            (";", Err("the query is empty")),
            ("DELETE FROM t", Err("the query is not a SELECT")),
            ("SELECT 1; DELETE FROM t", Err("there is more after the `;`")),
        ] {
            let found = one_select(sql).map_err(|(message, _)| message);
            assert_eq!(found, query.map(str::to_owned).map_err(str::to_owned), "{sql}");
        }
    }

    #[test]
    fn an_order_is_only_what_stands_after_order_by() {
        for (sql, order_by) in [
            ("sku, price DESC", Ok("sku, price DESC")),
            ("lower(\"limit\")", Ok("lower(\"limit\")")),
            ("\"order\"", Ok("\"order\"")),
            ("", Err("`order_by` is empty")),
            ("ORDER BY sku", Err("`order_by` repeats ORDER BY")),
            ("sku LIMIT 3", Err("`order_by` has a LIMIT")),
            ("sku; DROP TABLE t", Err("there is more after the `;`")),
        ] {
            let found = order(sql).map_err(|(message, _)| message);
            assert_eq!(found, order_by.map(str::to_owned).map_err(str::to_owned), "{sql}");
        }
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_text_never_panics(sql in "[a-z'\"`$;() \\[\\]./*\u{e9}\u{4e00}-]{0,40}") {
            let _ = (one_select(&sql), order(&sql), limits(&sql));
        }
    }
}
