//! The SQL of each database, as far as impact must know it: how a query is parsed, how names are quoted
//! and compared, what its functions are.
//!
//! Owns everything that differs between databases. Refuses to follow a query: only its words are known here.

use std::ops::ControlFlow;

use edgepress_store::database::capture::Dialect;
use sqlparser::ast::{
    Expr, Ident, ObjectName, OrderByExpr, OrderByKind, Query, Select, Value, Visit, VisitMut, Visitor,
    VisitorMut,
};
use sqlparser::dialect::{MySqlDialect, PostgreSqlDialect, SQLiteDialect};
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
    let unknown = |what: &dyn std::fmt::Display| {
        Coarse::new(format!("its SQL is not understood ({what})"), "write it in plainer SQL")
    };
    // Names and texts stay as they were written, doubled quotes and all: printed again they are the same.
    let options = ParserOptions::new().with_unescape(false);
    let parser = Parser::new(words(dialect)).with_options(options);
    let mut parser = parser.try_with_sql(text).map_err(|error| unknown(&error))?;
    let mut query = parser.parse_query().map_err(|error| unknown(&error))?;
    while parser.consume_token(&Token::SemiColon) {}
    if parser.peek_token_ref().token != Token::EOF {
        return Err(unknown(&format!("near `{}`", parser.peek_token_ref())));
    }
    match (significant(dialect, text), significant(dialect, &query.to_string())) {
        (Some(written), Some(printed)) if written == printed => {}
        _ => return Err(unknown(&"the parser does not give back what was written")),
    }
    if dialect == Dialect::Postgres {
        let flow = VisitMut::visit(&mut *query, &mut Rewrite { folds: true, shortens: false });
        debug_assert!(flow.is_continue(), "nothing stops it");
    }
    check_names(dialect, &query)?;
    Ok(*query)
}

fn words(dialect: Dialect) -> &'static dyn sqlparser::dialect::Dialect {
    match dialect {
        Dialect::Sqlite => &SQLiteDialect {},
        Dialect::Postgres => &PostgreSqlDialect {},
        Dialect::Mysql => &MySqlDialect {},
    }
}

/// Names of MariaDB's and MySQL's are compared without regard to case, which says too much where the server tells
/// them apart: only a WITH query and a table may be taken for each other by that.
fn check_names(dialect: Dialect, query: &Query) -> Result<(), Coarse> {
    if dialect != Dialect::Mysql {
        return Ok(());
    }
    let mut names = FromNames::default();
    if let ControlFlow::Break(coarse) = walk(query, &mut names) {
        return Err(coarse);
    }
    let is_alike = |one: &String, other: &String| one != other && is_same(dialect, one, other);
    match names
        .with
        .iter()
        .find(|with| names.relations.iter().chain(&names.with).any(|name| is_alike(with, name)))
    {
        Some(name) => Err(Coarse::new(
            format!("the name of its WITH query `{name}` differs from another in case only"),
            "rename it",
        )),
        None => Ok(()),
    }
}

/// Names of WITH queries, and those in FROM.
#[derive(Default)]
struct FromNames {
    with: Vec<String>,
    relations: Vec<String>,
}

impl Visitor for FromNames {
    type Break = Coarse;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Coarse> {
        self.with
            .extend(query.with.iter().flat_map(|with| &with.cte_tables).map(|cte| name(&cte.alias.name)));
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<Coarse> {
        self.relations.extend(relation.0.last().and_then(|part| part.as_ident()).map(name));
        ControlFlow::Continue(())
    }
}

/// Takes the schemas away from columns: images lie in none.
pub(super) fn shorten(tree: &mut impl VisitMut) {
    let flow = tree.visit(&mut Rewrite { folds: false, shortens: true });
    debug_assert!(flow.is_continue(), "nothing stops it");
}

/// All changes that we make to trees: as with [`Walk`], one type for all of them.
struct Rewrite {
    /// Names without quotes become what PostgreSQL reads them as.
    folds: bool,
    /// Columns lose the schemas of their tables.
    shortens: bool,
}

impl VisitorMut for Rewrite {
    type Break = ();

    fn pre_visit_ident(&mut self, ident: &mut Ident) -> ControlFlow<()> {
        if self.folds && ident.quote_style.is_none() {
            ident.value.make_ascii_lowercase();
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::CompoundIdentifier(parts) = expr
            && self.shortens
            && parts.len() == 3
        {
            parts.remove(0);
        }
        ControlFlow::Continue(())
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
    Tokenizer::new(words(dialect), text).with_unescape(false).tokenize().ok()
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

/// A name as it is compared: in a parsed query of PostgreSQL's byte for byte, elsewhere without regard to the
/// case of ASCII letters.
pub(super) fn folded(dialect: Dialect, name: &str) -> String {
    match dialect {
        Dialect::Postgres => name.to_owned(),
        Dialect::Sqlite | Dialect::Mysql => name.to_ascii_lowercase(),
    }
}

/// Whether two names are the same one.
pub(super) fn is_same(dialect: Dialect, one: &str, other: &str) -> bool {
    match dialect {
        Dialect::Postgres => one == other,
        Dialect::Sqlite | Dialect::Mysql => one.eq_ignore_ascii_case(other),
    }
}

/// An identifier for a name.
pub(crate) fn quoted(dialect: Dialect, name: &str) -> Ident {
    let quote = if dialect == Dialect::Mysql { '`' } else { '"' };
    Ident::with_quote(quote, name.replace(quote, &format!("{quote}{quote}")))
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
    match dialect {
        Dialect::Sqlite => "CROSS JOIN",
        // Their planners know how few the images are.
        Dialect::Postgres | Dialect::Mysql => "JOIN",
    }
}

/// Names of the pseudo column that numbers a table's rows.
pub(super) fn row_numbers(dialect: Dialect) -> &'static [&'static str] {
    match dialect {
        Dialect::Sqlite => &["rowid", "oid", "_rowid_"],
        Dialect::Postgres | Dialect::Mysql => &[],
    }
}

/// The word by which a query reads the history of tables WITH SYSTEM VERSIONING, if it does.
pub(super) fn of_history(dialect: Dialect, text: &str) -> Option<&'static str> {
    let words: &[&str] = match dialect {
        Dialect::Mysql => &["system_time", "row_start", "row_end"],
        Dialect::Sqlite | Dialect::Postgres => &[],
    };
    let text = text.to_ascii_lowercase();
    words.iter().find(|word| text.contains(**word)).copied()
}

/// Whether a name in FROM that is no table is a function of its arguments alone.
pub(super) fn is_pure_table(dialect: Dialect, name: &str) -> bool {
    let known = match dialect {
        Dialect::Sqlite => "json_each json_tree jsonb_each jsonb_tree generate_series",
        Dialect::Postgres => POSTGRES_TABLES,
        Dialect::Mysql => "",
    };
    known.split_ascii_whitespace().any(|known| is_same(dialect, known, name))
}

/// Whether the whole row of a table stands where its name does.
pub(super) fn has_whole_rows(dialect: Dialect) -> bool {
    dialect == Dialect::Postgres
}

/// Whether two columns are compared otherwise than the first of them and a value of the other, as a
/// condition; nothing where the first decides alone.
pub(super) fn compared_otherwise(dialect: Dialect, one: &str, other: &str) -> Option<String> {
    match dialect {
        Dialect::Sqlite => None,
        // Of two collations one by bytes wins.
        Dialect::Mysql => Some(format!("COLLATION({one}) <> COLLATION({other})")),
        // Beside text it is text.
        Dialect::Postgres => Some(format!(
            "(pg_typeof({one}) <> pg_typeof({other}) AND CAST(pg_typeof({one}) AS text) LIKE '%citext')"
        )),
    }
}

/// Whether a value of a row, compared where rows are included, has another type than its column.
pub(super) fn loses_types(dialect: Dialect) -> bool {
    dialect == Dialect::Sqlite
}

/// What a built-in function does, called with so many arguments; nothing if it is not known.
pub(super) fn function(dialect: Dialect, name: &str, arguments: usize) -> Option<Function> {
    let name = folded(dialect, name);
    let is_in = |list: &str| list.split_ascii_whitespace().any(|known| known == name);
    let (pure, aggregate, clock) = match dialect {
        Dialect::Sqlite => (SQLITE_PURE, SQLITE_AGGREGATE, SQLITE_CLOCK),
        Dialect::Postgres => (POSTGRES_PURE, POSTGRES_AGGREGATE, POSTGRES_CLOCK),
        Dialect::Mysql => (MYSQL_PURE, MYSQL_AGGREGATE, MYSQL_CLOCK),
    };
    match &*name {
        "min" | "max" if arguments < 2 => Some(Function::Aggregate),
        _ if is_in(pure) => Some(Function::Pure),
        _ if is_in(aggregate) => Some(Function::Aggregate),
        _ if is_in(WINDOW) => Some(Function::Window),
        _ if is_in(clock) => Some(Function::Clock),
        _ => None,
    }
}

/// The columns that stand alone in an ORDER BY; nothing if it is not understood.
pub(super) fn named_in_order(dialect: Dialect, order_by: &str) -> Option<Vec<String>> {
    let query = parse(dialect, &format!("SELECT 1 ORDER BY {order_by}")).ok()?;
    let OrderByKind::Expressions(terms) = query.order_by?.kind else { return None };
    let column = |term: OrderByExpr| match term.expr {
        Expr::Identifier(ident) => Some(name(&ident)),
        Expr::CompoundIdentifier(parts) => parts.last().map(name),
        _ => None,
    };
    Some(terms.into_iter().filter_map(column).collect())
}

/// Whether an aggregate function's result depends on the order of the rows.
pub(super) fn is_order_dependent(name: &str) -> bool {
    const ALL: &str = "
        group_concat string_agg json_group_array jsonb_group_array json_group_object jsonb_group_object array_agg
        json_agg jsonb_agg json_object_agg jsonb_object_agg xmlagg json_arrayagg json_objectagg";
    ALL.split_ascii_whitespace().any(|known| known == name)
}

/// Whether a function gives something else each time.
pub(super) fn is_random(name: &str) -> bool {
    const ALL: &str = "
        random randomblob rand random_bytes random_normal gen_random_uuid gen_random_bytes uuid uuidv4 uuidv7
        uuid_generate_v1 uuid_generate_v4 uuid_short sys_guid";
    ALL.split_ascii_whitespace().any(|known| known == name)
}

/// Whether a number in SQL is a floating-point one. Only SQLite takes one with a point for that.
pub(super) fn is_float_number(dialect: Dialect, value: &Value) -> bool {
    let Value::Number(text, _) = value else { return false };
    text.contains(['e', 'E']) || dialect == Dialect::Sqlite && text.contains('.')
}

/// Whether a type, as SQL writes it, is one of floating-point numbers.
pub(super) fn is_float(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["real", "float", "double"].iter().any(|float| name.starts_with(float))
}

/// Whether an aggregate function adds up: of floating-point numbers, the sum depends on their order.
pub(super) fn is_sum(name: &str) -> bool {
    const ALL: &str = "
        sum avg total std stddev stddev_pop stddev_samp variance var_pop var_samp corr covar_pop covar_samp
        regr_avgx regr_avgy regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy";
    ALL.split_ascii_whitespace().any(|known| known == name)
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

/// Window functions that are no aggregates.
const WINDOW: &str = "
    row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value last_value nth_value";

/// SQLite's functions of the date. Even with an argument: it may be the text `now`.
const SQLITE_CLOCK: &str = "
    date time datetime julianday unixepoch strftime timediff current_date current_time current_timestamp";

/// PostgreSQL's functions of their arguments alone, settings of the session aside, which are pinned.
const POSTGRES_PURE: &str = "
    abs ascii array_append array_cat array_dims array_length array_lower array_ndims array_position
    array_positions array_prepend array_remove array_replace array_to_json array_to_string array_upper
    bit_length btrim cardinality cbrt ceil ceiling char_length character_length chr coalesce concat concat_ws
    convert_from convert_to cos acos asin atan atan2 sin tan cot degrees radians date_bin date_part date_trunc
    decode div encode exp extract factorial floor format gcd get_byte greatest initcap isfinite
    json_array_length json_build_array json_build_object json_extract_path json_extract_path_text json_object
    json_strip_nulls json_typeof jsonb_array_length jsonb_build_array jsonb_build_object jsonb_extract_path
    jsonb_extract_path_text jsonb_insert jsonb_object jsonb_path_exists jsonb_path_match
    jsonb_path_query_array jsonb_path_query_first jsonb_pretty jsonb_set jsonb_strip_nulls jsonb_typeof
    justify_days justify_hours justify_interval lcm least left length ln log log10 lower lpad ltrim
    make_date make_interval make_time make_timestamp make_timestamptz md5 mod normalize nullif num_nonnulls
    num_nulls numnode octet_length overlay pi position power quote_ident quote_literal quote_nullable
    regexp_count regexp_instr regexp_like regexp_match regexp_replace regexp_split_to_array regexp_substr
    repeat replace reverse right round row_to_json rpad rtrim scale sha224 sha256 sha384 sha512 sign
    split_part sqrt starts_with string_to_array strip strpos substr substring text to_ascii to_char to_date
    to_hex to_json to_jsonb to_number to_timestamp translate trim trim_array trim_scale trunc upper
    width_bucket isempty lower_inc lower_inf upper_inc upper_inf range_merge host masklen netmask network
    family broadcast abbrev";

/// PostgreSQL's aggregate functions.
const POSTGRES_AGGREGATE: &str = "
    array_agg avg bit_and bit_or bit_xor bool_and bool_or count every json_agg jsonb_agg json_object_agg
    jsonb_object_agg string_agg sum xmlagg range_agg corr covar_pop covar_samp regr_avgx regr_avgy regr_count
    regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy stddev stddev_pop stddev_samp var_pop
    var_samp variance mode percentile_cont percentile_disc any_value";

/// PostgreSQL's functions of the clock.
const POSTGRES_CLOCK: &str = "
    now age clock_timestamp current_date current_time current_timestamp localtime localtimestamp
    statement_timestamp timeofday transaction_timestamp";

/// PostgreSQL's functions of their arguments alone that stand in FROM.
const POSTGRES_TABLES: &str = "
    generate_series generate_subscripts unnest json_array_elements json_array_elements_text json_each
    json_each_text json_object_keys json_populate_record json_populate_recordset json_to_record
    json_to_recordset jsonb_array_elements jsonb_array_elements_text jsonb_each jsonb_each_text
    jsonb_object_keys jsonb_path_query jsonb_populate_record jsonb_populate_recordset jsonb_to_record
    jsonb_to_recordset regexp_matches regexp_split_to_table string_to_table xmltable json_table";

/// Functions of their arguments alone of MariaDB and MySQL.
const MYSQL_PURE: &str = "
    abs acos adddate addtime ascii asin atan atan2 bin bit_count bit_length cast ceil ceiling char char_length
    character_length charset chr coalesce coercibility collation compress concat concat_ws conv convert cos
    cot crc32 date date_add date_format date_sub datediff day dayname dayofmonth dayofweek dayofyear degrees
    elt exp export_set extract field find_in_set floor format from_base64 from_days from_unixtime greatest
    hex hour if ifnull inet_aton inet_ntoa inet6_aton inet6_ntoa insert instr isnull json_array
    json_compact json_contains json_contains_path json_depth json_detailed json_exists
    json_extract json_insert json_keys json_length json_loose json_merge_patch json_merge_preserve
    json_object json_query json_quote json_remove json_replace json_search json_set json_type json_unquote
    json_valid json_value last_day lcase least left length lengthb ln locate log log10 log2 lower lpad ltrim
    make_set makedate maketime md5 microsecond mid minute mod month monthname nullif nvl nvl2 oct
    octet_length ord period_add period_diff pi position pow power quarter quote radians regexp_instr
    regexp_replace regexp_substr repeat replace reverse right round rpad rtrim sec_to_time second sha sha1
    sha2 sign sin soundex space sqrt str_to_date strcmp subdate substr substring substring_index subtime tan
    time time_format time_to_sec timediff timestampadd timestampdiff to_base64 to_char to_days to_seconds
    trim truncate ucase uncompress unhex upper week weekday weekofyear weight_string year yearweek";

/// Aggregate functions of MariaDB and MySQL.
const MYSQL_AGGREGATE: &str = "
    avg bit_and bit_or bit_xor count group_concat json_arrayagg json_objectagg std stddev stddev_pop
    stddev_samp sum var_pop var_samp variance any_value median percentile_cont percentile_disc";

/// Functions of the clock of MariaDB and MySQL; some only without an argument.
const MYSQL_CLOCK: &str = "
    curdate current_date current_time current_timestamp curtime localtime localtimestamp now sysdate
    timestamp unix_timestamp utc_date utc_time utc_timestamp";
