//! Arbitrary collections over the test database.

use super::real::{Random, TABLES, VIEWS};

/// A factor of FROM: its alias and its columns.
struct Factor {
    alias: String,
    columns: Vec<String>,
}

/// A query, the path that names its keys, its includes as TOML. Not every query that comes out of it is
/// one: the database says so.
pub(super) fn collection(random: &mut Random) -> (String, String, String) {
    let keys = 1 + random.below(2);
    let query = query(random, keys, "c");
    let path: Vec<String> = (0..keys).map(|key| format!("{{c{key}}}")).collect();
    let mut includes = String::new();
    if random.once(2) {
        include(random, "collection.include.i", "c", "d", &mut includes);
    }
    (query, format!("/{}.json", path.join("/")), includes)
}

fn include(random: &mut Random, name: &str, around: &str, own: &str, text: &mut String) {
    let query = loop {
        let query = query(random, 1, own);
        if !query.contains("LIMIT") {
            break query;
        }
    };
    let limit = if random.once(4) { "limit = 2\n" } else { "" };
    let on = if random.once(12) { String::new() } else { format!("on = {{ {own}0 = '{around}0' }}\n") };
    text.push_str(&format!("[{name}]\nquery = '''{query}'''\n{on}{limit}"));
    if random.once(3) && own == "d" {
        include(random, &format!("{name}.include.j"), own, "e", text);
    }
}

/// A query whose first `keys` columns, and perhaps others, are called `prefix` and their number.
fn query(random: &mut Random, keys: usize, prefix: &str) -> String {
    let width = keys + random.below(3);
    if random.once(7) {
        let all = if random.once(4) { "" } else { " ALL" };
        let (one, other) = (select(random, keys, width, prefix), select(random, keys, width, prefix));
        return format!("{one} UNION{all} {other}");
    }
    let order = if random.once(40) { " ORDER BY 1, 2 LIMIT 3" } else { "" };
    format!("{}{order}", select(random, keys, width.max(2), prefix))
}

fn select(random: &mut Random, keys: usize, width: usize, prefix: &str) -> String {
    let mut factors = Vec::new();
    let from = from(random, &mut factors);
    let is_grouped = random.once(8);
    let mut outputs = Vec::new();
    let mut grouped = Vec::new();
    for number in 0..width {
        // Keys come from the first factor more often: outer joins do not fill it.
        let factor = if number < keys && !random.once(4) { 0 } else { random.below(factors.len()) };
        let column = column(random, &factors[factor]);
        let output = match random.below(if number < keys { 14 } else { 9 }) {
            _ if is_grouped && number < keys => column.clone(),
            _ if is_grouped => match random.below(3) {
                0 => "count(*)".to_owned(),
                1 => format!("max({column})"),
                _ => format!("total({column})"),
            },
            0 => format!("coalesce({column}, 0)"),
            1 => format!("upper({column})"),
            2 if number >= keys && random.once(3) => {
                let (table, of) = table(random);
                format!("(SELECT count(*) FROM {table} AS s WHERE s.{} = {column})", random.of(&refs(&of)))
            }
            _ => column.clone(),
        };
        if is_grouped && number < keys {
            grouped.push(column);
        }
        outputs.push(format!("{output} AS {prefix}{number}"));
    }
    let distinct = if !is_grouped && random.once(9) { "DISTINCT " } else { "" };
    let mut text = format!("SELECT {distinct}{} FROM {from}", outputs.join(", "));
    let conditions: Vec<String> = (0..random.below(3)).map(|_| condition(random, &factors)).collect();
    if !conditions.is_empty() {
        text.push_str(&format!(" WHERE {}", conditions.join(" AND ")));
    }
    if is_grouped {
        text.push_str(&format!(" GROUP BY {}", grouped.join(", ")));
        if random.once(3) {
            text.push_str(" HAVING count(*) > 1");
        }
    }
    text
}

fn from(random: &mut Random, factors: &mut Vec<Factor>) -> String {
    let mut text = factor(random, factors, 0);
    for _ in 0..random.below(3) {
        let join = random.of(&[
            "JOIN",
            "JOIN",
            "LEFT JOIN",
            "LEFT JOIN",
            "LEFT JOIN",
            "RIGHT JOIN",
            ",",
            "CROSS JOIN",
        ]);
        let left = factors.len();
        let own = factor(random, factors, 0);
        if join == "," {
            text.push_str(&format!(", {own}"));
            continue;
        }
        let left_of = random.below(left);
        let mut on = format!("{} = {}", column(random, &factors[left_of]), column(random, &factors[left]));
        if random.once(4) {
            on.push_str(&format!(" AND {}", condition(random, factors)));
        }
        text.push_str(&format!(" {join} {own} ON {on}"));
    }
    text
}

fn table(random: &mut Random) -> (String, Vec<String>) {
    let number = random.below(TABLES.len() + VIEWS.len());
    match TABLES.get(number) {
        Some(table) => {
            (table.name.to_owned(), table.columns.iter().map(|(name, _)| (*name).to_owned()).collect())
        }
        None => {
            let (name, columns, _) = &VIEWS[number - TABLES.len()];
            ((*name).to_owned(), columns.iter().map(|name| (*name).to_owned()).collect())
        }
    }
}

fn factor(random: &mut Random, factors: &mut Vec<Factor>, depth: usize) -> String {
    let alias = format!("t{}", factors.len());
    if depth < 2 && random.once(7) {
        let mut own = Vec::new();
        let from = match random.once(2) {
            true => from(random, &mut own),
            false => factor(random, &mut own, depth + 1),
        };
        let columns: Vec<String> = (0..2)
            .map(|number| {
                let factor = random.below(own.len());
                let column = column(random, &own[factor]);
                let output = if random.once(5) { format!("coalesce({column}, 1)") } else { column };
                format!("{output} AS n{number}")
            })
            .collect();
        let condition =
            if random.once(2) { format!(" WHERE {}", condition(random, &own)) } else { String::new() };
        factors.push(Factor { alias: alias.clone(), columns: vec!["n0".to_owned(), "n1".to_owned()] });
        return format!("(SELECT {} FROM {from}{condition}) AS {alias}", columns.join(", "));
    }
    let (name, columns) = table(random);
    factors.push(Factor { alias: alias.clone(), columns });
    format!("{name} AS {alias}")
}

fn refs(all: &[String]) -> Vec<&str> {
    all.iter().map(String::as_str).collect()
}

fn column(random: &mut Random, factor: &Factor) -> String {
    format!("{}.{}", factor.alias, random.of(&refs(&factor.columns)))
}

fn condition(random: &mut Random, factors: &[Factor]) -> String {
    let any = |random: &mut Random| {
        let factor = random.below(factors.len());
        column(random, &factors[factor])
    };
    let (one, other) = (any(random), any(random));
    let value = random.of(&["1", "2", "'a'", "'b'", "3"]);
    match random.below(10) {
        0 => format!("{one} IS NULL"),
        1 => format!("{one} IS NOT NULL"),
        2 => format!("{one} = {value}"),
        3 => format!("({one} > {value} OR {other} IS NULL)"),
        4 => format!("coalesce({one}, {value}) = {value}"),
        5 => format!("{one} <> {other}"),
        6 => format!("{one} IN (1, 2, 'a', 'b')"),
        7 => format!("NOT {one} = {value}"),
        8 if random.once(3) => {
            let (table, columns) = table(random);
            let own = random.of(&refs(&columns)).to_owned();
            format!("EXISTS (SELECT 1 FROM {table} AS s WHERE s.{own} = {one})")
        }
        _ => format!("{one} <= {value}"),
    }
}
