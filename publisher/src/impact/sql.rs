//! The SQL of each database, as far as impact must know it: how a query is parsed, how names are quoted
//! and compared, what its functions are.
//!
//! Owns everything that differs between databases. Refuses to follow a query: only its words are known here.

use std::ops::ControlFlow;

use edgepress_store::database::capture::Dialect;
use sqlparser::ast::{Expr, Ident, ObjectName, Query, Select, Visit, Visitor};
use sqlparser::dialect::SQLiteDialect;
use sqlparser::parser::{Parser, ParserOptions};
use sqlparser::tokenizer::{Token, Tokenizer};

use super::Coarse;

/// What a function gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    /// The same for the same arguments, always.
    Pure,
    /// One value for several rows.
    Aggregate,
    /// One value for each row, out of several rows: needs OVER.
    Window,
    /// What depends on the clock, or may.
    Clock,
}

/// Parses one SELECT.
pub(super) fn parse(dialect: Dialect, text: &str) -> Result<Query, Coarse> {
    let Dialect::Sqlite = dialect;
    let unknown = |what: &dyn std::fmt::Display| {
        Coarse::new(format!("its SQL is not understood ({what})"), "write it in plainer SQL")
    };
    // Names and texts stay as they were written, doubled quotes and all: printed again they are the same.
    let options = ParserOptions::new().with_unescape(false);
    let parser = Parser::new(&SQLiteDialect {}).with_options(options);
    let mut parser = parser.try_with_sql(text).map_err(|error| unknown(&error))?;
    let query = parser.parse_query().map_err(|error| unknown(&error))?;
    while parser.consume_token(&Token::SemiColon) {}
    if parser.peek_token_ref().token != Token::EOF {
        return Err(unknown(&format!("near `{}`", parser.peek_token_ref())));
    }
    match (significant(dialect, text), significant(dialect, &query.to_string())) {
        (Some(written), Some(printed)) if written == printed => Ok(*query),
        _ => Err(unknown(&"the parser does not give back what was written")),
    }
}

/// Shows a tree to a visitor, of those steps that ours look at.
pub(super) fn walk(tree: &impl Visit, visitor: &mut dyn Visitor<Break = Coarse>) -> ControlFlow<Coarse> {
    tree.visit(&mut Walk(visitor))
}

/// Any of our visitors: the way through all of SQL is compiled for each type of visitor, and takes its
/// time to compile.
struct Walk<'v>(&'v mut dyn Visitor<Break = Coarse>);

impl Visitor for Walk<'_> {
    type Break = Coarse;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Coarse> {
        self.0.pre_visit_query(query)
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<Coarse> {
        self.0.post_visit_query(query)
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Coarse> {
        self.0.pre_visit_select(select)
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<Coarse> {
        self.0.pre_visit_relation(relation)
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Coarse> {
        self.0.pre_visit_expr(expr)
    }
}

/// The tokens that say what a text means; nothing if they are not known for certain.
fn significant(dialect: Dialect, text: &str) -> Option<Vec<String>> {
    let mut all = Vec::new();
    for token in tokens(dialect, text)? {
        match token {
            Token::Whitespace(_) | Token::SemiColon => {}
            Token::Word(word) if word.quote_style.is_none() => {
                let word = word.value.to_ascii_uppercase();
                if word != "AS" {
                    all.push(word);
                }
            }
            // A number in hexadecimal would be printed as bytes.
            Token::HexStringLiteral(_) if text.to_ascii_lowercase().contains("0x") => return None,
            Token::DoubleEq => all.push("=".to_owned()),
            token => all.push(token.to_string()),
        }
    }
    Some(all)
}

fn tokens(dialect: Dialect, text: &str) -> Option<Vec<Token>> {
    let Dialect::Sqlite = dialect;
    Tokenizer::new(&SQLiteDialect {}, text).with_unescape(false).tokenize().ok()
}

fn unescaped(value: &str, quote: Option<char>) -> String {
    match quote {
        Some(quote @ ('"' | '`' | '\'')) => value.replace(&format!("{quote}{quote}"), &quote.to_string()),
        _ => value.to_owned(),
    }
}

/// The name that an identifier means.
pub(super) fn name(ident: &Ident) -> String {
    unescaped(&ident.value, ident.quote_style)
}

/// A name as it is compared: SQLite's names are equal if they differ in the case of ASCII letters only.
pub(super) fn folded(name: &str) -> String {
    name.to_ascii_lowercase()
}

/// Whether two names are the same one.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// An identifier for a name.
pub(crate) fn quoted(dialect: Dialect, name: &str) -> Ident {
    let Dialect::Sqlite = dialect;
    Ident::with_quote('"', name.replace('"', "\"\""))
}

/// SQL text that stands where a name would.
pub(super) fn raw(text: impl Into<String>) -> Ident {
    Ident { value: text.into(), quote_style: None, span: sqlparser::tokenizer::Span::empty() }
}

/// Whether `FROM a, b RIGHT JOIN c` joins all of `a, b` to `c`, as SQLite has it, and not only `b`.
pub(super) fn is_comma_a_join(dialect: Dialect) -> bool {
    dialect == Dialect::Sqlite
}

/// Whether CROSS JOIN forbids the planner to change the order of tables, as SQLite has it.
pub(super) fn is_cross_join_a_hint(dialect: Dialect) -> bool {
    dialect == Dialect::Sqlite
}

/// An inner join whose left side is to be gone through first: it is the smaller one.
pub(super) fn ordered_join(dialect: Dialect) -> &'static str {
    let Dialect::Sqlite = dialect;
    "CROSS JOIN"
}

/// Names of the pseudo column that numbers a table's rows.
pub(super) fn row_numbers(dialect: Dialect) -> &'static [&'static str] {
    let Dialect::Sqlite = dialect;
    &["rowid", "oid", "_rowid_"]
}

/// Whether a name in FROM that is no table is a function of its arguments alone.
pub(super) fn is_pure_table(dialect: Dialect, name: &str) -> bool {
    let Dialect::Sqlite = dialect;
    ["json_each", "json_tree", "jsonb_each", "jsonb_tree", "generate_series"]
        .iter()
        .any(|known| is_same(known, name))
}

/// What a built-in function does, called with so many arguments; nothing if it is not known.
pub(super) fn function(dialect: Dialect, name: &str, arguments: usize) -> Option<Function> {
    let Dialect::Sqlite = dialect;
    let name = folded(name);
    let is_in = |list: &str| list.split_ascii_whitespace().any(|known| known == name);
    match &*name {
        "min" | "max" if arguments < 2 => Some(Function::Aggregate),
        _ if is_in(SQLITE_PURE) => Some(Function::Pure),
        _ if is_in(SQLITE_AGGREGATE) => Some(Function::Aggregate),
        _ if is_in(SQLITE_WINDOW) => Some(Function::Window),
        _ if is_in(SQLITE_CLOCK) => Some(Function::Clock),
        _ => None,
    }
}

/// SQLite's functions of their arguments alone, those of its mathematics and JSON extensions among them.
const SQLITE_PURE: &str = "
    abs char coalesce concat concat_ws format glob hex if ifnull iif instr length like likelihood likely
    lower ltrim max min nullif octet_length printf quote replace round rtrim sign soundex substr substring
    trim typeof unhex unicode unistr unistr_quote unlikely upper zeroblob
    acos acosh asin asinh atan atan2 atanh ceil ceiling cos cosh degrees exp floor ln log log10 log2 mod pi
    pow power radians sin sinh sqrt tan tanh trunc
    json jsonb json_array jsonb_array json_array_length json_array_insert jsonb_array_insert
    json_error_position json_extract jsonb_extract json_insert jsonb_insert json_object jsonb_object
    json_patch jsonb_patch json_pretty json_quote json_remove jsonb_remove json_replace jsonb_replace
    json_set jsonb_set json_type json_valid";

/// SQLite's aggregate functions.
const SQLITE_AGGREGATE: &str = "
    avg count group_concat string_agg sum total median percentile percentile_cont percentile_disc
    json_group_array jsonb_group_array json_group_object jsonb_group_object";

/// SQLite's window functions that are no aggregates.
const SQLITE_WINDOW: &str = "
    row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value last_value nth_value";

/// SQLite's functions of the date. Even with an argument: it may be the text `now`.
const SQLITE_CLOCK: &str = "
    date time datetime julianday unixepoch strftime timediff current_date current_time current_timestamp";
