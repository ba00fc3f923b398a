//! The text of a site's queries: that each is one SELECT that can stand inside another.
//!
//! Owns just enough of SQL's lexical rules to find statement ends, parentheses and comments. Refuses to
//! understand SQL: whether a query is right is for the database to say.

use super::DatabaseError;

/// The query without the semicolon or comments at its end; a SELECT, WITH or VALUES with balanced
/// parentheses, so that nothing in it can end a statement around it.
pub(super) fn single_select(query: &str) -> Result<&str, DatabaseError> {
    let mut span: Option<(usize, usize)> = None;
    let mut ended = false;
    let mut first = None;
    let mut depth = 0_u32;
    for token in tokens(query) {
        let Token { start, end, kind } = token.map_err(refused)?;
        if kind == Kind::Semicolon {
            ended = span.is_some();
            continue;
        }
        if ended {
            return Err(refused("the query holds more than one statement: keep one SELECT"));
        }
        depth = nested(depth, kind)?;
        if kind != Kind::Open && first.is_none() {
            first = Some(&query[start..end]);
        }
        span = Some((span.map_or(start, |(start, _)| start), end));
    }
    balanced(depth)?;
    let (Some((start, end)), Some(first)) = (span, first) else {
        return Err(refused("the query is empty: write one SELECT"));
    };
    if !["select", "with", "values"].iter().any(|word| first.eq_ignore_ascii_case(word)) {
        return Err(refused(format!("the query begins with `{first}`: only a SELECT may be used here")));
    }
    Ok(&query[start..end])
}

/// What stands after ORDER BY, checked so that it cannot reach beyond it.
pub(super) fn order_terms(order_by: &str) -> Result<&str, DatabaseError> {
    let mut span: Option<(usize, usize)> = None;
    let mut depth = 0;
    let mut term_begins = true;
    for token in tokens(order_by) {
        let Token { start, end, kind } = token.map_err(refused)?;
        depth = nested(depth, kind)?;
        match kind {
            Kind::Semicolon => return Err(refused("order_by holds a semicolon: write columns only")),
            // Counted columns would mean another column where the query is joined to its parents.
            Kind::Other if term_begins && order_by[start..].starts_with(|c: char| c.is_ascii_digit()) => {
                return Err(refused("order_by counts columns by number: write their names"));
            }
            _ => {}
        }
        // Parentheses and signs do not make an expression of a number.
        let opens = kind == Kind::Open || matches!(&order_by[start..end], "+" | "-");
        term_begins = (kind == Kind::Comma && depth == 0) || (term_begins && opens);
        span = Some((span.map_or(start, |(start, _)| start), end));
    }
    balanced(depth)?;
    span.map(|(start, end)| &order_by[start..end]).ok_or_else(|| refused("order_by is empty: leave it out"))
}

/// What a text begins with, to say where something is: a name, a number or one other character.
pub(super) fn first_word(text: &str) -> Option<String> {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '"' | '$');
    let length = text.find(|c| !is_part(c)).unwrap_or(text.len());
    Some(text[..length.max(text.chars().next()?.len_utf8())].chars().take(40).collect())
}

/// A name as SQL text.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The SELECT of a view, from its CREATE VIEW.
pub(super) fn view_select(sql: &str) -> Option<&str> {
    let mut depth = 0;
    for (number, token) in tokens(sql).enumerate() {
        let Token { start, end, kind } = token.ok()?;
        depth = nested(depth, kind).ok()?;
        // CREATE VIEW name, then perhaps its columns.
        if number > 2 && depth == 0 && sql[start..end].eq_ignore_ascii_case("as") {
            return single_select(&sql[end..]).ok();
        }
    }
    None
}

/// The terms of an index and, if it is partial, its condition, from its CREATE INDEX.
pub(super) fn index_parts(sql: &str) -> Option<(Vec<&str>, Option<&str>)> {
    let mut depth = 0;
    let mut terms = Vec::new();
    let mut term: Option<(usize, usize)> = None;
    let mut closed = false;
    for token in tokens(sql) {
        let Token { start, end, kind } = token.ok()?;
        let before = depth;
        depth = nested(depth, kind).ok()?;
        if closed {
            let is_where = sql[start..end].eq_ignore_ascii_case("where");
            return is_where.then(|| (terms, Some(sql[end..].trim())));
        }
        let ends = (kind == Kind::Comma && depth == 1) || (kind == Kind::Close && depth == 0);
        if ends {
            terms.push(&sql[term?.0..term?.1]);
            term = None;
            closed = depth == 0;
        } else if before > 0 && !["asc", "desc"].iter().any(|word| sql[start..end].eq_ignore_ascii_case(word))
        {
            term = Some((term.map_or(start, |(start, _)| start), end));
        }
    }
    closed.then_some((terms, None))
}

/// Everything in a text that may be a name, without its quotes.
pub(super) fn names_in(text: &str) -> impl Iterator<Item = String> {
    tokens(text).filter_map(|token| {
        let Token { start, end, kind } = token.ok()?;
        let token = &text[start..end];
        let first = token.chars().next()?;
        match first {
            '\'' | '"' | '`' | '[' => Some(token[1..token.len() - 1].to_owned()),
            _ if kind == Kind::Other && is_word(first) => Some(token.to_owned()),
            _ => None,
        }
    })
}

/// An expression with the column in place of each look into it as JSON, where JSON it is nothing can fail
/// there: `json_extract(COLUMN, '$.path')`, `COLUMN -> 'path'`; and the names of those columns.
pub(super) fn json_calls(text: &str) -> (String, Vec<String>) {
    let Ok(tokens) = tokens(text).collect::<Result<Vec<_>, _>>() else {
        return (text.to_owned(), Vec::new());
    };
    let words: Vec<&str> = tokens.iter().map(|token| &text[token.start..token.end]).collect();
    let (mut rest, mut names, mut at) = (String::new(), Vec::new(), 0);
    while at < words.len() {
        // An operator before the column would be evaluated first.
        let begins = at == 0 || matches!(tokens[at - 1].kind, Kind::Open | Kind::Comma);
        let (name, length) = match &words[at..] {
            [call, "(", name, ",", path, ")", ..]
                if call.eq_ignore_ascii_case("json_extract") && is_plain_path(path, true) =>
            {
                (Some(name), 6)
            }
            [name, "-", ">", ">", path, ..] if begins && is_plain_path(path, false) => (Some(name), 5),
            [name, "-", ">", path, ..] if begins && is_plain_path(path, false) => (Some(name), 4),
            _ => (None, 1),
        };
        match name.and_then(|name| names_in(name).next().filter(|_| !name.starts_with('\''))) {
            Some(name) => {
                rest.push_str(&format!(" {} ", quoted(&name)));
                names.push(name);
                at += length;
            }
            None => {
                let end = tokens.get(at + 1).map_or(text.len(), |next| next.start);
                rest.push_str(&text[tokens[at].start..end]);
                at += 1;
            }
        }
    }
    (rest, names)
}

/// Whether a literal is a path into JSON that is surely well-formed.
fn is_plain_path(literal: &str, is_rooted: bool) -> bool {
    let path = literal.strip_prefix('\'').and_then(|path| path.strip_suffix('\''));
    let is_plain =
        |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    path.is_some_and(|path| match path.strip_prefix("$.") {
        Some(path) => path.split('.').all(is_plain),
        None => !is_rooted && is_plain(path),
    })
}

fn refused(message: impl Into<String>) -> DatabaseError {
    DatabaseError::Query { message: message.into() }
}

fn nested(depth: u32, kind: Kind) -> Result<u32, DatabaseError> {
    match kind {
        Kind::Open => Ok(depth + 1),
        Kind::Close => {
            depth.checked_sub(1).ok_or_else(|| refused("a closing parenthesis has no opening one"))
        }
        _ => Ok(depth),
    }
}

fn balanced(depth: u32) -> Result<(), DatabaseError> {
    if depth == 0 { Ok(()) } else { Err(refused("an opening parenthesis has no closing one")) }
}

/// What a token is, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Semicolon,
    Open,
    Close,
    Comma,
    Other,
}

/// A token, and where it stands.
#[derive(Clone, Copy)]
pub(super) struct Token {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) kind: Kind,
}

/// The tokens of `text`, without white space and comments. A word, a number or a quoted text is one.
pub(super) fn tokens(text: &str) -> impl Iterator<Item = Result<Token, &'static str>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let rest = &text[at..];
            let space = rest.len() - rest.trim_start().len();
            if space > 0 {
                at += space;
                continue;
            }
            let skipped = if rest.starts_with("--") {
                rest.find('\n').unwrap_or(rest.len())
            } else if let Some(comment) = rest.strip_prefix("/*") {
                match comment.find("*/") {
                    Some(end) => end + 4,
                    None => {
                        at = text.len();
                        return Some(Err("a comment is not closed: add */"));
                    }
                }
            } else {
                break;
            };
            at += skipped;
        }
        let rest = &text[at..];
        let first = rest.chars().next()?;
        let start = at;
        let (length, kind) = match first {
            '\'' | '"' | '`' | '[' => match rest[1..].find(if first == '[' { ']' } else { first }) {
                // A doubled quote reads as two quoted texts next to each other, which is as good.
                Some(end) => (end + 2, Kind::Other),
                None => {
                    at = text.len();
                    return Some(Err("a quoted text or name is not closed"));
                }
            },
            ';' => (1, Kind::Semicolon),
            '(' => (1, Kind::Open),
            ')' => (1, Kind::Close),
            ',' => (1, Kind::Comma),
            _ if is_word(first) => (rest.find(|c| !is_word(c)).unwrap_or(rest.len()), Kind::Other),
            _ => (first.len_utf8(), Kind::Other),
        };
        at += length;
        Some(Ok(Token { start, end: at, kind }))
    })
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$') || !c.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_cut_to_its_one_statement() {
        for (query, expected) in [
            ("SELECT 1", "SELECT 1"),
            (" select 1 ; ", "select 1"),
            ("SELECT 1;;\n;", "SELECT 1"),
            ("SELECT 1 -- one; two", "SELECT 1"),
            ("SELECT 1; -- done; really", "SELECT 1"),
            (
                "/* first; */ WITH a AS (SELECT ';') SELECT * FROM a /* last */",
                "WITH a AS (SELECT ';') SELECT * FROM a",
            ),
            ("VALUES (1), (2)", "VALUES (1), (2)"),
            (
                "SELECT 'it''s; -- fine', \"a;b\", [c;d], `e;f`",
                "SELECT 'it''s; -- fine', \"a;b\", [c;d], `e;f`",
            ),
            ("SELECT a -- (\n FROM t", "SELECT a -- (\n FROM t"),
            (";SELECT 1", "SELECT 1"),
        ] {
            assert_eq!(single_select(query).unwrap(), expected, "{query}");
        }
    }

    #[test]
    fn a_query_that_is_not_one_select_is_refused() {
        for (query, reason) in [
            ("", "empty"),
            ("  -- nothing\n;", "empty"),
            ("SELECT 1; SELECT 2", "more than one statement"),
            ("SELECT 1); DELETE FROM t; SELECT (2", "closing parenthesis"),
            ("SELECT (1", "opening parenthesis"),
            ("SELECT 'a", "not closed"),
            ("SELECT 1 /* a", "not closed"),
            ("DELETE FROM t", "begins with `DELETE`"),
            ("pragma user_version", "begins with `pragma`"),
            ("EXPLAIN SELECT 1", "begins with `EXPLAIN`"),
        ] {
            let error = single_select(query).unwrap_err().to_string();
            assert!(error.contains(reason), "{query}: {error}");
        }
    }

    #[test]
    fn order_terms_stay_within_their_clause() {
        for (terms, expected) in [
            ("name", Some("name")),
            (
                "name COLLATE NOCASE DESC NULLS LAST, price * 2 -- cheap first",
                Some("name COLLATE NOCASE DESC NULLS LAST, price * 2"),
            ),
            ("coalesce(a, 1), substr(b, 2)", Some("coalesce(a, 1), substr(b, 2)")),
            ("2", None),
            ("name, (+2) DESC", None),
            ("-1", None),
            ("name; DROP TABLE t", None),
            ("name) OR (1", None),
            (" ", None),
        ] {
            assert_eq!(order_terms(terms).ok(), expected, "{terms}");
        }
    }

    #[test]
    fn a_view_is_cut_to_its_select() {
        for (sql, expected) in [
            ("CREATE VIEW v AS SELECT 1", Some("SELECT 1")),
            (
                "CREATE VIEW \"as\" (a, \"as\") as -- here\n WITH q AS (SELECT 1) SELECT * FROM q;",
                Some("WITH q AS (SELECT 1) SELECT * FROM q"),
            ),
            ("CREATE VIEW [a b]AS SELECT 1 AS x -- done", Some("SELECT 1 AS x")),
            ("CREATE VIEW v", None),
        ] {
            assert_eq!(view_select(sql), expected, "{sql}");
        }
    }

    #[test]
    fn an_index_is_cut_to_its_terms_and_condition() {
        for (sql, terms, condition) in [
            ("CREATE UNIQUE INDEX i ON t (a)", vec!["a"], None),
            (
                "CREATE INDEX \"i (\" ON \"t)\" (lower(a) DESC, (b + 1), c COLLATE NOCASE asc)",
                vec!["lower(a)", "(b + 1)", "c COLLATE NOCASE"],
                None,
            ),
            ("CREATE INDEX i ON t(a) WHERE b IN (1, 2) -- some", vec!["a"], Some("b IN (1, 2) -- some")),
        ] {
            assert_eq!(index_parts(sql), Some((terms, condition)), "{sql}");
        }
        assert_eq!(index_parts(""), None);
    }

    #[test]
    fn looks_into_json_are_taken_out_where_they_are_plain() {
        for (text, rest, names) in [
            ("json_extract(doc, '$.sku')", "\"doc\"", vec!["doc"]),
            ("lower( JSON_EXTRACT(\"a b\",'$.x.y_1') ) = 1", "lower ( \"a b\" ) = 1", vec!["a b"]),
            ("doc ->> 'sku' = 'x'", "\"doc\" = 'x'", vec!["doc"]),
            ("([doc]->'$.a')", "( \"doc\" )", vec!["doc"]),
            ("a || doc -> 'b'", "a || doc -> 'b'", vec![]),
            ("doc -> 'a' ->> 'b'", "\"doc\" ->> 'b'", vec!["doc"]),
            ("json_extract(doc, '$.a[')", "json_extract ( doc , '$.a[' )", vec![]),
            ("json_extract(doc, '$.a', '$.b')", "json_extract ( doc , '$.a' , '$.b' )", vec![]),
            ("json_extract('{', '$.a')", "json_extract ( '{' , '$.a' )", vec![]),
            ("json_extract(doc, path)", "json_extract ( doc , path )", vec![]),
        ] {
            let (found, columns) = json_calls(text);
            let words = |text: &str| text.split_ascii_whitespace().collect::<String>();
            assert_eq!(
                (words(&found), columns),
                (words(rest), names.into_iter().map(str::to_owned).collect()),
                "{text}"
            );
        }
    }

    #[test]
    fn names_are_found_whatever_their_quotes() {
        let text = "SELECT a.\"b c\", 'd' FROM [e], `f` -- g";
        let names: Vec<_> = names_in(text).collect();
        assert_eq!(names, ["SELECT", "a", "b c", "d", "FROM", "e", "f"]);
    }

    #[test]
    fn quotes_in_names_are_doubled() {
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
    }
}
