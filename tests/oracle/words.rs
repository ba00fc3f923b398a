//! What databases spell differently: the same thing said in each one's SQL.
//! Refuses to draw anything.

use edgepress_store::database::capture::Dialect;

use super::schema::{Column, Role};
use super::types::{self, Kind};

/// A name in quotes.
pub(super) fn quoted(dialect: Dialect, name: &str) -> String {
    match dialect {
        Dialect::Mysql => format!("`{name}`"),
        Dialect::Sqlite | Dialect::Postgres => format!("\"{name}\""),
    }
}

/// A name without its quotes.
pub(super) fn bare(name: &str) -> &str {
    name.trim_matches(['"', '`'])
}

/// Texts, one after the other.
pub(super) fn concat(dialect: Dialect, parts: &[&str]) -> String {
    match dialect {
        Dialect::Mysql => format!("concat({})", parts.join(", ")),
        Dialect::Sqlite | Dialect::Postgres => parts.join(" || "),
    }
}

/// The text of any value.
pub(super) fn text(dialect: Dialect, expression: &str) -> String {
    match dialect {
        Dialect::Mysql => format!("CAST({expression} AS CHAR)"),
        Dialect::Sqlite | Dialect::Postgres => format!("CAST({expression} AS text)"),
    }
}

/// What is equal only where the bytes are.
pub(super) fn exact(dialect: Dialect, expression: &str) -> String {
    match dialect {
        Dialect::Sqlite => format!("{expression} COLLATE BINARY"),
        Dialect::Postgres => format!("CAST({expression} AS text) COLLATE \"C\""),
        Dialect::Mysql => format!("CAST({expression} AS CHAR) COLLATE utf8mb4_nopad_bin"),
    }
}

/// One spelling for all that are equal by the collations that are drawn.
pub(super) fn folded(dialect: Dialect, expression: &str) -> String {
    match dialect {
        // It overlooks trailing spaces, too.
        Dialect::Mysql => format!("lower(rtrim({expression}))"),
        Dialect::Sqlite | Dialect::Postgres => format!("lower({expression})"),
    }
}

/// That two columns are equal; each stands behind its alias.
pub(super) fn equal(dialect: Dialect, one: (&str, &Column), other: (&str, &Column)) -> String {
    let equal = format!("{}.{} = {}.{}", one.0, one.1.name, other.0, other.1.name);
    format!("{equal}{}", common(dialect, one.1, other.1))
}

/// By which collation two columns are compared, where that must be said.
pub(super) fn common(dialect: Dialect, one: &Column, other: &Column) -> &'static str {
    let is_same = one.ty.contains("COLLATE") == other.ty.contains("COLLATE");
    if dialect == Dialect::Postgres && !is_same { " COLLATE \"C\"" } else { "" }
}

/// That an expression is not `s1`, `s2` or the like; `of` is the column that it shows, if it does.
pub(super) fn is_not(dialect: Dialect, expression: &str, of: Option<&Column>, number: u64) -> String {
    let is_text = of.is_some_and(|of| of.is_text);
    match (dialect, of) {
        (Dialect::Postgres, Some(of)) if of.kind == Kind::Integer => format!("{expression} <> {number}"),
        (Dialect::Postgres, _) if !is_text => format!("{} <> 's{number}'", text(dialect, expression)),
        _ => format!("{expression} <> 's{number}'"),
    }
}

/// Conditions on a column, which `@` stands for.
pub(super) fn conditions(dialect: Dialect, column: &Column) -> &'static [&'static str] {
    if dialect != Dialect::Sqlite {
        return typed_conditions(dialect, column);
    }
    match (column.role, column.is_text) {
        (Role::Flag, _) => &["@ = 1", "@", "NOT @", "coalesce(@, 0) = 0", "@ IS NOT NULL"],
        (Role::Note, _) => &["@ = 1", "@ <> 'a'", "typeof(@) = 'integer'", "@ IS NOT '1'", "@ > 0.5"],
        (Role::Slug, _) => &["@ <> 's3'", "@ LIKE 's%'", "@ IN ('s1', 's2', 's5')", "@ = lower(@)"],
        (_, true) => &["@ <> 'a'", "@ = 'a'", "@ LIKE 'a%'", "@ IS NOT NULL", "length(@) < 2"],
        (_, false) => &["@ > 2", "@ IS NOT NULL", "@ BETWEEN 1 AND 4", "(@ < 3 OR @ > 5)", "@ % 2 = 0"],
    }
}

fn typed_conditions(dialect: Dialect, column: &Column) -> &'static [&'static str] {
    // PostgreSQL looks for no patterns where different bytes may be equal.
    let has_patterns = dialect == Dialect::Mysql || !column.ty.contains("COLLATE");
    match (column.role, column.kind) {
        (Role::Note, _) => types::note_conditions(dialect, &column.ty),
        (Role::Slug, _) if has_patterns => {
            &["@ <> 's3'", "@ LIKE 's%'", "@ IN ('s1', 's2', 's5')", "@ = lower(@)"]
        }
        (Role::Slug, _) => &["@ <> 's3'", "@ >= 's2'", "@ IN ('s1', 's2', 's5')", "@ = lower(@)"],
        (_, Kind::Text) if has_patterns => {
            &["@ <> 'a'", "@ = 'a'", "@ LIKE 'a%'", "@ IS NOT NULL", "length(@) < 2", "@ IN ('a', 'b')"]
        }
        (_, Kind::Text) => &["@ <> 'a'", "@ = 'a'", "@ > 'a'", "@ IS NOT NULL", "length(@) < 2"],
        (_, Kind::Boolean) if dialect == Dialect::Postgres => &[
            "@",
            "NOT @",
            "coalesce(@, false) = false",
            "@ IS NOT NULL",
            "@ IS TRUE",
            "@ IS DISTINCT FROM true",
        ],
        (_, Kind::Boolean) => {
            &["@ = 1", "@", "NOT @", "coalesce(@, 0) = 0", "@ IS NOT NULL", "@ IS TRUE", "NOT (@ <=> 1)"]
        }
        (_, Kind::Uuid) => &["@ IS NOT NULL", "@ <> '00000000-0000-0000-0000-000000000003'"],
        _ => &["@ > 2", "@ IS NOT NULL", "@ BETWEEN 1 AND 4", "(@ < 3 OR @ > 5)", "@ % 2 = 0"],
    }
}
