//! Columns of tables on database servers, whose types say what may stand in them, and values for them.
//! Refuses SQLite's columns, in which anything may stand.

use edgepress_store::database::capture::Dialect;

use super::draw::Draw;
use super::schema::{Column, Role, Table};

/// What may stand in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Integer,
    /// Decimals of one scale.
    Decimal,
    /// Decimals of any scale: 1.0 and 1.00 are equal, and not the same.
    Loose,
    Boolean,
    Uuid,
    /// What only conditions of its own type are put on; in SQLite anything.
    Other,
}

/// A type for notes: its values, and conditions on it.
type Note = (&'static str, &'static [&'static str], &'static [&'static str]);

const POSTGRES: [Note; 14] = [
    (
        "jsonb",
        &["'{\"a\": 1}'", "'{\"b\": [1, null]}'", "'1'", "'1.0'", "'\"a\"'", "NULL"],
        &["@ = '1'", "@ ->> 'a' = '1'", "@ IS NOT NULL", "@ @> '{\"a\": 1}'"],
    ),
    (
        "numeric",
        &["1", "1.0", "1.00", "0.5", "-1", "12345678901234567890.5", "NULL"],
        &["@ = 1", "@ > 0.5", "@ IS NULL", "@ <> 1.0"],
    ),
    (
        "timestamptz",
        &["'2024-01-01 00:00+00'", "'2024-01-01 01:00+01'", "'2024-06-01 12:00:00.5+02'", "NULL"],
        &["@ < '2024-03-01 00:00+00'", "@ IS NOT NULL", "@ = '2024-01-01 00:00+00'"],
    ),
    (
        "uuid",
        &["'00000000-0000-0000-0000-000000000001'", "'0000000000000000000000000000000A'", "NULL"],
        &["@ IS NOT NULL", "@ <> '00000000-0000-0000-0000-000000000001'"],
    ),
    ("text", &["'1'", "'a'", "'A'", "''", "NULL"], &["@ = '1'", "@ <> 'a'", "@ IS NULL"]),
    ("text COLLATE ci", &["'1'", "'a'", "'A'", "''", "NULL"], &["@ = 'a'", "@ <> 'A'", "@ IS NULL"]),
    ("double precision", &["1", "0.5", "1e300", "-1", "0.1", "NULL"], &["@ > 0.5", "@ = 1", "@ IS NOT NULL"]),
    ("bytea", &["'\\x61'", "'\\x'", "'\\x00ff'", "NULL"], &["@ = '\\x61'", "@ IS NOT NULL"]),
    ("date", &["'2024-01-01'", "'2024-02-29'", "NULL"], &["@ > '2024-01-15'", "@ IS NULL"]),
    (
        "timestamp",
        &["'2024-01-01 00:00'", "'2024-01-01 00:00:00.25'", "NULL"],
        &["@ > '2024-01-01'", "@ IS NULL"],
    ),
    ("integer[]", &["'{1,2}'", "'{}'", "'{NULL}'", "NULL"], &["@ = '{1,2}'", "@ IS NOT NULL"]),
    ("json", &["'{\"a\":1}'", "'{\"a\": 1}'", "'[]'", "NULL"], &["@ ->> 'a' = '1'", "@ IS NULL"]),
    (
        "interval",
        &["'1 day'", "'24 hours'", "'1 month'", "NULL"],
        &["@ = '1 day'", "@ > '2 days'", "@ IS NULL"],
    ),
    ("inet", &["'10.0.0.1'", "'10.0.0.1/8'", "NULL"], &["@ = '10.0.0.1'", "@ IS NOT NULL"]),
];

const MYSQL: [Note; 13] = [
    ("DECIMAL(10,3)", &["1", "1.5", "0.125", "-1", "NULL"], &["@ > 0.5", "@ = 1", "@ IS NULL"]),
    (
        "VARCHAR(40) COLLATE utf8mb4_general_ci",
        &["'a'", "'A'", "'a '", "'1'", "''", "NULL"],
        &["@ = 'a'", "@ <> 'A'", "@ = 1", "@ IS NULL"],
    ),
    ("VARCHAR(40) COLLATE utf8mb4_nopad_bin", &["'a'", "'A'", "'a '", "NULL"], &["@ = 'a'", "@ <> 'A'"]),
    (
        "DATETIME(3)",
        &["'2024-01-01 00:00:00'", "'2024-06-01 12:00:00.250'", "NULL"],
        &["@ < '2024-03-01'", "@ IS NOT NULL"],
    ),
    (
        "TIMESTAMP NULL",
        &["'2024-01-01 00:00:00'", "'2024-06-01 12:00:00'", "NULL"],
        &["@ < '2024-03-01'", "@ IS NOT NULL"],
    ),
    (
        "JSON",
        &["'{\"a\": 1}'", "'{\"a\":1}'", "'[1, null]'", "'1'", "NULL"],
        &["json_value(@, '$.a') = 1", "@ IS NOT NULL"],
    ),
    ("VARBINARY(20)", &["x'61'", "x''", "x'6100'", "NULL"], &["@ = 'a'", "@ IS NOT NULL"]),
    ("DOUBLE", &["1", "0.5", "1e300", "0.1", "NULL"], &["@ > 0.5", "@ = 1", "@ IS NULL"]),
    ("DATE", &["'2024-01-01'", "'2024-02-29'", "NULL"], &["@ > '2024-01-15'", "@ IS NULL"]),
    ("TEXT COLLATE utf8mb4_bin", &["'1'", "'a'", "'A'", "'a '", "NULL"], &["@ = 'a'", "@ IS NULL"]),
    ("ENUM('a', 'b', 'c')", &["'a'", "'b'", "'c'", "NULL"], &["@ = 'a'", "@ > 'a'", "@ IS NULL"]),
    ("BIT(3)", &["b'101'", "b'0'", "NULL"], &["@ = 5", "@ IS NULL"]),
    ("TIME", &["'10:00:00'", "'-01:30:00'", "NULL"], &["@ > '09:00:00'", "@ IS NULL"]),
];

fn notes(dialect: Dialect) -> &'static [Note] {
    if dialect == Dialect::Mysql { &MYSQL } else { &POSTGRES }
}

fn note(dialect: Dialect, ty: &str) -> &'static Note {
    notes(dialect).iter().find(|(own, ..)| *own == ty).expect("it was drawn from them")
}

/// Conditions on a column for notes, which `@` stands for.
pub(super) fn note_conditions(dialect: Dialect, ty: &str) -> &'static [&'static str] {
    note(dialect, ty).2
}

pub(super) fn column(name: &str, role: Role, ty: &str, kind: Kind) -> Column {
    Column {
        name: name.to_owned(),
        role,
        declared: ty.to_owned(),
        ty: ty.to_owned(),
        kind,
        is_text: kind == Kind::Text,
        is_nocase: false,
        is_nullable: true,
    }
}

/// A column for texts.
pub(super) fn text(draw: &mut Draw, name: &str, role: Role, is_nocase: bool) -> Column {
    let types: &[&'static str] = match (draw.dialect, is_nocase) {
        (Dialect::Mysql, true) => &["VARCHAR(40) COLLATE utf8mb4_general_ci"],
        (Dialect::Mysql, false) => {
            &["VARCHAR(40) COLLATE utf8mb4_bin", "VARCHAR(40) COLLATE utf8mb4_nopad_bin"]
        }
        (_, true) => &["text COLLATE ci", "citext"],
        (_, false) => &["text", "text", "varchar(40)"],
    };
    let ty = draw.pick(types);
    Column { is_nocase, ..column(name, role, ty, Kind::Text) }
}

/// The columns of a primary key; none if there is none.
pub(super) fn key(draw: &mut Draw) -> Vec<Column> {
    let is_mysql = draw.dialect == Dialect::Mysql;
    let named = |postgres: &'static str, mysql: &'static str| if is_mysql { mysql } else { postgres };
    let id = |ty: &str, kind: Kind, more: &str| {
        let declared = format!("{ty}{more} PRIMARY KEY");
        vec![Column { declared, is_nullable: false, ..column("id", Role::Key, ty, kind) }]
    };
    match draw.below(20) {
        0..=4 => id(named("integer", "INT"), Kind::Integer, ""),
        5..=6 => {
            draw.saw("schema: counted key");
            let more = named(" GENERATED BY DEFAULT AS IDENTITY", " AUTO_INCREMENT");
            id(named("bigint", "BIGINT"), Kind::Integer, more)
        }
        7 => {
            draw.saw("schema: decimal key");
            id(named("numeric(6,2)", "DECIMAL(6,2)"), Kind::Decimal, "")
        }
        8..=11 => {
            draw.saw("schema: text key");
            let is_nocase = draw.rarely(40, "schema: key NOCASE");
            let code = text(draw, "code", Role::Key, is_nocase);
            vec![Column { declared: format!("{} PRIMARY KEY", code.ty), is_nullable: false, ..code }]
        }
        12 => {
            draw.saw("schema: UUID key");
            id(named("uuid", "UUID"), Kind::Uuid, "")
        }
        13..=16 => {
            draw.saw("schema: composite key");
            let is_nocase = draw.rarely(30, "schema: key NOCASE");
            let a = column("a", Role::Key, named("integer", "INT"), Kind::Integer);
            let b = text(draw, "b", Role::Key, is_nocase);
            vec![Column { is_nullable: false, ..a }, Column { is_nullable: false, ..b }]
        }
        _ => {
            draw.saw("schema: no key");
            Vec::new()
        }
    }
}

/// A column that refers to `target`.
pub(super) fn reference(draw: &mut Draw, name: &str, role: Role, target: &Column, is_bound: bool) -> Column {
    let ty = match &*target.ty {
        // A reference may be compared by another collation than the key it names.
        "citext" | "text COLLATE ci" if !is_bound && draw.rarely(30, "schema: reference of another type") => {
            "text"
        }
        ty => ty,
    };
    Column { is_nocase: target.is_nocase && ty == target.ty, ..column(name, role, ty, target.kind) }
}

/// Columns that hold what documents show.
pub(super) fn values(draw: &mut Draw, table: &mut Table) {
    let is_mysql = draw.dialect == Dialect::Mysql;
    let is_nocase = draw.rarely(35, "schema: name NOCASE");
    let name = text(draw, "name", Role::Name, is_nocase);
    // Texts of most collations are equal there, whatever spaces follow.
    let is_padded = is_mysql && !name.ty.contains("nopad");
    let mut columns = vec![Column { is_nocase: is_nocase || is_padded, ..name }];
    if draw.chance(75) {
        columns.push(quantity(draw));
    }
    if draw.chance(60) {
        let ty = if is_mysql { "TINYINT(1)" } else { "boolean" };
        let name = if draw.rarely(15, "schema: name in another case") { "Flag" } else { "flag" };
        let name = super::words::quoted(draw.dialect, name);
        columns.push(column(&name, Role::Flag, ty, Kind::Boolean));
    }
    if draw.rarely(60, "schema: note of another type") {
        let (ty, ..) = draw.choose(notes(draw.dialect));
        columns.push(column("note", Role::Note, ty, Kind::Other));
    }
    if draw.rarely(20, "schema: generated column") {
        let declared = draw.pick(match is_mysql {
            true => &[
                "VARCHAR(60) AS (lower(name)) STORED",
                "VARCHAR(60) AS (upper(name)) VIRTUAL",
                "INT AS (length(name)) VIRTUAL",
            ],
            false => &[
                "text GENERATED ALWAYS AS (lower(name)) STORED",
                "text GENERATED ALWAYS AS (name || '!') STORED",
                "integer GENERATED ALWAYS AS (length(name)) STORED",
            ],
        });
        let kind = if declared.to_lowercase().starts_with("int") { Kind::Integer } else { Kind::Text };
        columns.push(column("gen", Role::Generated, declared, kind));
    }
    table.columns.append(&mut columns);
}

fn quantity(draw: &mut Draw) -> Column {
    let types: &[(&str, Kind)] = match draw.dialect {
        Dialect::Mysql => &[
            ("INT", Kind::Integer),
            ("BIGINT", Kind::Integer),
            ("INT UNSIGNED", Kind::Integer),
            ("DECIMAL(8,2)", Kind::Decimal),
        ],
        Dialect::Sqlite | Dialect::Postgres => &[
            ("integer", Kind::Integer),
            ("bigint", Kind::Integer),
            ("numeric(8,2)", Kind::Decimal),
            ("numeric", Kind::Loose),
        ],
    };
    let (ty, kind) = draw.choose(types);
    column("qty", Role::Quantity, ty, kind)
}

/// A value for a column that is neither key nor reference.
pub(super) fn value(draw: &mut Draw, column: &Column) -> String {
    let from: &[&'static str] = match (column.role, column.kind, draw.dialect) {
        (Role::Note, ..) => note(draw.dialect, &column.ty).1,
        (_, Kind::Boolean, Dialect::Postgres) => &["false", "true", "true", "NULL"],
        (_, Kind::Boolean, _) => &["0", "1", "1", "NULL"],
        (_, Kind::Loose | Kind::Decimal, _) => &["0", "1", "1.0", "1.00", "1.5", "2.50", "3", "NULL"],
        (_, Kind::Integer, _) => &["0", "1", "2", "3", "4", "5", "6", "NULL"],
        (.., Dialect::Mysql) => &["'a'", "'A'", "'a '", "'b'", "'B'", "'c'", "'x y'", "''", "NULL", "'10'"],
        _ => &["'a'", "'A'", "'b'", "'B'", "'c'", "'x y'", "''", "NULL", "'10'"],
    };
    draw.pick(from).to_owned()
}

/// A value of a kind for the `number`th key.
pub(super) fn identity(kind: Kind, number: u64) -> String {
    match kind {
        Kind::Uuid => format!("'00000000-0000-0000-0000-{number:012}'"),
        _ => number.to_string(),
    }
}

/// What is equal to a column, and not always the same.
pub(super) fn other_form(dialect: Dialect, column: &Column) -> String {
    let name = &column.name;
    match (column.kind, dialect) {
        (Kind::Loose, _) => format!("{name} + 0.00"),
        (Kind::Text, Dialect::Mysql) if column.role == Role::Name => format!("concat({name}, ' ')"),
        (Kind::Other, Dialect::Postgres) if column.ty == "numeric" => format!("{name} * 1.0"),
        (Kind::Other, Dialect::Postgres) if column.ty == "interval" => format!("justify_hours({name})"),
        _ => name.clone(),
    }
}
