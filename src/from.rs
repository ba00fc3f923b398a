//! `new --from`: a first site over a database that is there already.
//!
//! Owns what such a site is made of: a collection for each table with a primary key, its foreign keys as
//! includes, a list in pages, JSON and plain HTML. Refuses to guess what the owner wants to show: it shows all.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result};
use edgepress_site::path::DocPath;
use edgepress_site::row::Row;
use edgepress_store::database::capture::{Catalog, Dialect, Facts, Reference, Table};
use edgepress_store::database::{self, Database, DatabaseError, Order};
use futures_util::StreamExt as _;

use crate::starter;

/// Rows of a list beyond this are left out: a list is read as a whole.
const LISTED: u32 = 4_000;

/// Rows on a page of a list.
const PAGE: u32 = 40;

/// Rows that refer to a row, of each other table.
const CHILDREN: u32 = 100;

/// Names that mean something else in templates or queries.
const TAKEN: [&str; 16] = [
    "site", "page", "true", "false", "not", "and", "or", "in", "is", "if", "for", "set", "loop", "none",
    "body", "rows",
];

/// What was written.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Written {
    /// Collections, in order.
    pub(crate) collections: Vec<String>,
    /// Tables that are not shown, and why.
    pub(crate) skipped: BTreeMap<String, String>,
}

/// Writes a site over the database at `url` into `dir`, which must be absent or empty.
pub(crate) async fn write(dir: &Path, url: &str) -> Result<Written> {
    starter::check_new(dir)?;
    let url = absolute(url)?;
    let database = database::open(&url, None).await?;
    let mut snapshot = database.snapshot().await?;
    let catalog = snapshot.catalog().await?;
    let references = snapshot.references().await?;
    drop(snapshot);
    let mut plan = Plan { dialect: catalog.dialect, shown: BTreeMap::new(), skipped: BTreeMap::new() };
    let is_own = |table: &Table| catalog.dialect != Dialect::Sqlite || !table.name.starts_with("sqlite_");
    for (table, facts) in catalog.tables.iter().filter(|(table, _)| is_own(table)) {
        match shown(&*database, &catalog, table, facts, &plan).await? {
            Ok(shown) => drop(plan.shown.insert(table.clone(), shown)),
            Err(why) => drop(plan.skipped.insert(table.to_string(), why)),
        }
    }
    anyhow::ensure!(
        !plan.shown.is_empty(),
        "no table of the database can be shown{}",
        plan.skipped.iter().map(|(table, why)| format!("\n  {table}: {why}")).collect::<String>()
    );
    starter::create(dir)?;
    for (name, text) in plan.files(&references, &url) {
        let path = dir.join(name);
        let folder = path.parent().context("a file lies in a folder")?;
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let collections = plan.shown.values().map(|shown| shown.name.clone()).collect();
    Ok(Written { collections, skipped: plan.skipped })
}

/// The same URL wherever the site lies.
fn absolute(url: &str) -> Result<String> {
    let Some(file) = url.strip_prefix("sqlite:") else { return Ok(url.to_owned()) };
    let file = Path::new(file.strip_prefix("//").unwrap_or(file));
    let file = std::path::absolute(file).with_context(|| format!("cannot find {}", file.display()))?;
    Ok(format!("sqlite:{}", file.display()))
}

/// A table that is shown.
struct Shown {
    /// Its collection.
    name: String,
    /// The table, as queries name it.
    from: String,
    /// Its columns: what stands for them in SQL, and what they are called in the database and in the site.
    columns: Vec<Shows>,
    /// The columns that its lists are ordered by, its primary key, as the site calls them.
    order: Vec<String>,
    /// The columns in its paths, as the site calls them.
    key: Vec<String>,
    /// Why those are others, if they are; a comment for the owner.
    note: Option<String>,
    /// The column that people know a row by, as the site calls it.
    title: String,
}

/// A column that is shown.
#[derive(Clone)]
struct Shows {
    /// What gives it, as SQL text.
    sql: String,
    /// The database's name of it; nothing if it is made for paths.
    own: Option<String>,
    /// The site's.
    called: String,
}

/// Finds out how a table can be shown; or why not.
async fn shown(
    database: &dyn Database,
    catalog: &Catalog,
    table: &Table,
    facts: &Facts,
    plan: &Plan,
) -> Result<Result<Shown, String>> {
    if facts.key.is_empty() {
        return Ok(Err("it has no primary key".to_owned()));
    }
    if let Some(why) = facts.uncapturable.as_ref().filter(|_| catalog.dialect == Dialect::Sqlite) {
        return Ok(Err(why.clone()));
    }
    let is_default = catalog.find(None, &table.name) == Some(table);
    let quote = |name: &str| quoted(catalog.dialect, name);
    let from = match is_default {
        true => quote(&table.name),
        false => format!("{}.{}", quote(&table.schema), quote(&table.name)),
    };
    let mut columns: Vec<Shows> = Vec::new();
    for column in &facts.columns {
        let sql = quote(&column.name);
        match unless_refused(database.columns(&format!("SELECT {sql} FROM {from}")).await)? {
            Ok(_) => {
                let called = called(&column.name, &taken(&columns));
                columns.push(Shows { sql, own: Some(column.name.clone()), called });
            }
            Err(why) if facts.key.contains(&column.name) => return Ok(Err(why)),
            // The rest of the table can be shown without it.
            Err(_) => {}
        }
    }
    let names: BTreeSet<&str> = plan.shown.values().map(|shown| shown.name.as_str()).collect();
    let name = collection(table, is_default, &names);
    let mut shown =
        Shown { name, from, columns, order: Vec::new(), key: Vec::new(), note: None, title: String::new() };
    shown.order = shown.all(&facts.key).context("the key's columns were read")?;
    shown.key.clone_from(&shown.order);
    if let Err(why) = paths(database, catalog.dialect, facts, &mut shown).await? {
        return Ok(Err(why));
    }
    let known = ["name", "title", "label", "subject", "slug", "email", "code", "sku"];
    let ends = |own: &str, known: &str| own.to_ascii_lowercase().trim_end_matches('_').ends_with(known);
    let mut all = known.iter().flat_map(|known| shown.columns.iter().map(move |column| (known, column)));
    let by_name = all.find(|(known, column)| ends(&column.called, known)).map(|(_, column)| &column.called);
    shown.title = by_name.unwrap_or(&shown.order[0]).clone();
    Ok(Ok(shown))
}

/// The names that the site has given so far.
fn taken(columns: &[Shows]) -> BTreeSet<&str> {
    columns.iter().map(|column| column.called.as_str()).collect()
}

/// What the database gave; or what it said of a table that cannot be read, which only this table is left out for.
fn unless_refused<T>(given: Result<T, DatabaseError>) -> Result<Result<T, String>, DatabaseError> {
    match given {
        Ok(given) => Ok(Ok(given)),
        Err(DatabaseError::Query { message }) => {
            let grant = if message.contains("denied") { "; GRANT SELECT on it to this user" } else { "" };
            Ok(Err(format!("it cannot be read: {message}{grant}")))
        }
        Err(error) => Err(error),
    }
}

/// Chooses the columns in a table's paths: its primary key where paths take every value of it; else another
/// unique key of which that is true; else what SQL makes of the primary key. Or why there is no such path.
async fn paths(
    database: &dyn Database,
    dialect: Dialect,
    facts: &Facts,
    shown: &mut Shown,
) -> Result<Result<(), String>> {
    let Err(why) = fits(database, dialect, shown).await? else { return Ok(Ok(())) };
    let of = shown.order.join("`, `");
    for unique in &facts.unique {
        let Some(key) = shown.all(unique) else { continue };
        shown.key = key;
        if fits(database, dialect, shown).await?.is_ok() {
            let by = shown.key.join("`, `");
            shown.note = Some(format!("paths show `{by}` in place of the key `{of}`: {why}"));
            return Ok(Ok(()));
        }
    }
    shown.key.clear();
    for own in &facts.key {
        let called = called(&format!("{own}_path"), &taken(&shown.columns));
        let sql = as_path(dialect, &quoted(dialect, own));
        shown.key.push(called.clone());
        shown.columns.push(Shows { sql, own: None, called });
    }
    let by = shown.key.join("`, `");
    shown.note = Some(format!("paths show `{by}`, made of the key `{of}`: {why}"));
    Ok(fits(database, dialect, shown).await?.map_err(|_| why))
}

/// A text that any path takes, another one for each value of a key's column.
fn as_path(dialect: Dialect, column: &str) -> String {
    match dialect {
        // It has no digests. NULL stays NULL.
        Dialect::Sqlite => format!("CASE WHEN {column} IS NOT NULL THEN 'x' || hex({column}) END"),
        Dialect::Postgres => format!("md5(CAST({column} AS text))"),
        Dialect::Mysql => format!("md5({column})"),
    }
}

/// Whether paths take the keys of all rows that are there; or why not. Memory is bounded, and a publish reads more.
async fn fits(database: &dyn Database, dialect: Dialect, shown: &Shown) -> Result<Result<(), String>> {
    let query = shown.select(dialect, |called| shown.key.iter().any(|key| key == called));
    let mut snapshot = database.snapshot().await?;
    let mut rows = match unless_refused(snapshot.rows(&query, Order::Any).await)? {
        Ok(rows) => rows,
        Err(why) => return Ok(Err(why)),
    };
    while let Some(batch) = rows.batches.next().await {
        let batch = match unless_refused(batch)? {
            Ok(batch) => batch,
            Err(why) => return Ok(Err(why)),
        };
        if let Some(why) = batch.iter().find_map(|row| unfit(shown, row)) {
            return Ok(Err(why));
        }
    }
    Ok(Ok(()))
}

/// Why a row's documents can have no path, if they cannot.
fn unfit(shown: &Shown, row: &Row) -> Option<String> {
    let mut path = format!("/{}", shown.name);
    for (place, key) in shown.key.iter().enumerate() {
        let value = row.get(key)?;
        let Some(text) = value.path_text() else {
            return Some(format!("`{key}` of a row is {}, which no path can show", value.kind()));
        };
        // The list of the table lies there.
        let is_taken = place == 0 && matches!(&*text, "index" | "index.html" | "pages");
        if is_taken || text.is_empty() || text.contains('/') {
            let text: String = text.chars().take(40).collect();
            return Some(format!("`{key}` of a row is {text:?}, which cannot be a part of its path"));
        }
        path.push('/');
        path.push_str(&text);
    }
    let wrong = DocPath::new(&format!("{path}.html")).err()?;
    let path: String = path.chars().take(60).collect();
    Some(format!("the path of a row would be {path:?}, but {wrong}"))
}

/// A name as SQL text, with quotes where it needs them.
fn quoted(dialect: Dialect, name: &str) -> String {
    let is_plain = name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && !is_reserved(name);
    match (is_plain, dialect) {
        (true, _) => name.to_owned(),
        (false, Dialect::Mysql) => format!("`{}`", name.replace('`', "``")),
        (false, _) => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

/// Whether a word may mean something in one of the databases' SQL: quoted too often does no harm.
fn is_reserved(word: &str) -> bool {
    const WORDS: &str = "
        all alter analyze and any array as asc between both by case cast check collate column condition
        constraint create cross current current_date current_time current_timestamp current_user database default
        delete desc describe distinct div do drop each else end except exists explain false fetch for foreign
        from full grant group groups having if ignore in index inner insert intersect interval into is join key
        keys kill lateral leading left like limit lines load lock match mod natural not null of offset on only
        option or order outer over overlaps partition placing primary procedure range rank read references
        release rename repeat replace return returning right rlike row rows schema select session_user set show
        similar some sql system table then to trailing trigger true union unique unlock update usage use user
        using values variadic verbose view when where window with write";
    WORDS.split_ascii_whitespace().any(|reserved| reserved == word)
}

/// What the site calls a column: a word that templates and paths take.
fn called(column: &str, taken: &BTreeSet<&str>) -> String {
    let word = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let mut name: String = column.chars().map(word).collect();
    if !name.starts_with(|first: char| first.is_ascii_alphabetic()) {
        name.insert_str(0, "c_");
    }
    while TAKEN.contains(&name.as_str()) || taken.contains(name.as_str()) {
        name.push('_');
    }
    name
}

/// What a table's collection is called.
fn collection(table: &Table, is_default: bool, taken: &BTreeSet<&str>) -> String {
    let full = if is_default { table.name.clone() } else { format!("{}_{}", table.schema, table.name) };
    let word = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c.to_ascii_lowercase() } else { '_' };
    let mut name: String = full.chars().map(word).take(50).collect();
    if !name.starts_with(|first: char| first.is_ascii_lowercase()) {
        name.insert_str(0, "t_");
    }
    // Its list and its templates have names made from it.
    while taken.contains(name.as_str())
        || name.ends_with("-list")
        || matches!(&*name, "base" | "index" | "static" | "assets")
    {
        name.push('_');
    }
    name
}

impl Shown {
    fn select(&self, dialect: Dialect, wanted: impl Fn(&str) -> bool) -> String {
        let column = |Shows { sql, own, called }: &Shows| match own.as_ref() == Some(called) {
            true => sql.clone(),
            false => format!("{sql} AS {}", quoted(dialect, called)),
        };
        let columns = self.columns.iter().filter(|column| wanted(&column.called)).map(column);
        format!("SELECT {} FROM {}", columns.collect::<Vec<_>>().join(", "), self.from)
    }

    fn query(&self, dialect: Dialect) -> String {
        self.select(dialect, |_| true)
    }

    /// What a link and its place in a list need.
    fn short(&self, dialect: Dialect, also: &[String]) -> String {
        let wanted = |called: &str| self.key.iter().chain(&self.order).chain(also).any(|key| key == called);
        self.select(dialect, |called| wanted(called) || called == self.title)
    }

    /// What the site calls a column of the table.
    fn find(&self, column: &str) -> Option<&String> {
        self.columns.iter().find(|shows| shows.own.as_deref() == Some(column)).map(|shows| &shows.called)
    }

    /// As [`Self::find`], for several; nothing if one of them is not shown.
    fn all(&self, columns: &[String]) -> Option<Vec<String>> {
        columns.iter().map(|column| self.find(column).cloned()).collect()
    }

    fn path(&self) -> String {
        let key: Vec<String> = self.key.iter().map(|key| format!("{{{key}}}")).collect();
        format!("/{}/{}", self.name, key.join("/"))
    }

    /// A link to the page of a row that a template calls `row`.
    fn link(&self, row: &str) -> String {
        let key = |key: &String| format!("{{{{ {row}.{key} | urlencode }}}}");
        let key: Vec<String> = self.key.iter().map(key).collect();
        format!("<a href=\"/{}/{}.html\">{{{{ {row}.{} }}}}</a>", self.name, key.join("/"), self.title)
    }
}

/// The site, as it is put together.
struct Plan {
    dialect: Dialect,
    shown: BTreeMap<Table, Shown>,
    skipped: BTreeMap<String, String>,
}

/// A foreign key between two tables that are shown, as its include is called on one of the two sides.
struct Link<'p> {
    name: String,
    /// The table at the other end.
    other: &'p Shown,
    /// Pairs of (its column, this table's column), as the site calls them.
    on: Vec<(&'p String, &'p String)>,
}

impl Plan {
    /// All files of the site, by their paths in its folder.
    fn files(&self, references: &[Reference], url: &str) -> Vec<(String, String)> {
        let mut toml = head(url);
        if !self.skipped.is_empty() {
            toml.push_str("\n# Tables that are not here:\n");
            for (table, why) in &self.skipped {
                toml.push_str(&comment(&format!("  {table}: {why}")));
            }
        }
        let mut files = vec![
            ("pages/base.html".to_owned(), BASE.to_owned()),
            ("pages/index.html".to_owned(), self.index()),
            ("static/style.css".to_owned(), STYLE.to_owned()),
        ];
        for (table, shown) in &self.shown {
            let parents = self.links(table, references, false);
            let children = self.links(table, references, true);
            toml.push_str(&self.collection(shown, &parents, &children));
            files.push((format!("pages/{}.html", shown.name), page(shown, &parents, &children)));
            files.push((format!("pages/{}-list.html", shown.name), list(shown)));
        }
        toml.push_str(INDEX);
        files.push(("site.toml".to_owned(), toml));
        files
    }

    /// The foreign keys of `table`; or those of others that name it.
    fn links<'p>(&'p self, table: &Table, references: &'p [Reference], back: bool) -> Vec<Link<'p>> {
        let Some(own) = self.shown.get(table) else { return Vec::new() };
        let mut taken: BTreeSet<String> = own.columns.iter().map(|column| column.called.clone()).collect();
        if back {
            taken.extend(self.links(table, references, false).into_iter().map(|link| link.name));
        }
        let mut links = Vec::new();
        for reference in references {
            let (here, there) = match back {
                false => (&reference.table, &reference.parent),
                true => (&reference.parent, &reference.table),
            };
            let (true, Some(other)) = (here == table, self.shown.get(there)) else { continue };
            let pairs = reference.columns.iter().zip(&reference.parent_columns);
            let on = pairs.map(|(child, parent)| match back {
                false => Some((other.find(parent)?, own.find(child)?)),
                true => Some((other.find(child)?, own.find(parent)?)),
            });
            let Some(on) = on.collect::<Option<Vec<_>>>() else { continue };
            let wish = match (back, &*reference.columns) {
                (false, [column]) if column.len() > 3 && column.to_ascii_lowercase().ends_with("_id") => {
                    column[..column.len() - 3].to_owned()
                }
                _ => other.name.clone(),
            };
            let known: BTreeSet<&str> = taken.iter().map(String::as_str).collect();
            let name = called(&wish.to_ascii_lowercase(), &known);
            taken.insert(name.clone());
            links.push(Link { name, other, on });
        }
        links
    }

    fn collection(&self, shown: &Shown, parents: &[Link<'_>], children: &[Link<'_>]) -> String {
        let Shown { name, note, .. } = shown;
        let note = note.as_deref().map_or_else(String::new, comment);
        let mut toml = format!("\n[[collection]]\n{note}name = \"{name}\"\n");
        let mut put = |line: String| toml.push_str(&format!("{line}\n"));
        put(format!("query = {}", text(&shown.query(self.dialect))));
        for (link, is_list) in
            parents.iter().map(|link| (link, false)).chain(children.iter().map(|link| (link, true)))
        {
            let Link { name, other, on } = link;
            let also: Vec<String> = on.iter().map(|(column, _)| (*column).clone()).collect();
            let pairs: Vec<String> = on.iter().map(|(own, here)| format!("{own} = \"{here}\"")).collect();
            put(format!("  [collection.include.{name}]"));
            put(format!("  query = {}", text(&other.short(self.dialect, &also))));
            put(format!("  on = {{ {} }}", pairs.join(", ")));
            if is_list {
                put(format!("  order_by = {}", text(&self.order(&other.order))));
                put(format!("  limit = {CHILDREN}"));
            } else {
                put("  one = true".to_owned());
            }
        }
        let path = shown.path();
        put(format!("  [[collection.document]]\n  path = \"{path}.json\""));
        put(format!("  [[collection.document]]\n  path = \"{path}.html\"\n  template = \"{name}.html\""));
        put(format!("\n[[collection]] # the list, in pages\nname = \"{name}-list\""));
        put("  [collection.include.rows]".to_owned());
        put(format!("  query = {}", text(&shown.short(self.dialect, &[]))));
        put(format!("  order_by = {}", text(&self.order(&shown.order))));
        put(format!("  limit = {LISTED} # a list is read as a whole: raise this with care"));
        put(format!("  [[collection.document]]\n  path = \"/{name}/pages/{{page}}.html\""));
        put(format!("  pages = {{ of = \"rows\", size = {PAGE}, first = \"/{name}/index.html\" }}"));
        put(format!("  template = \"{name}-list.html\""));
        toml
    }

    fn order(&self, key: &[String]) -> String {
        key.iter().map(|key| quoted(self.dialect, key)).collect::<Vec<_>>().join(", ")
    }

    fn index(&self) -> String {
        let link = |shown: &Shown| format!("<li><a href=\"/{0}/\">{0}</a></li>\n", shown.name);
        let links: String = self.shown.values().map(link).collect();
        format!("{{% extends \"base.html\" %}}\n{{% block main %}}<ul>\n{links}</ul>{{% endblock %}}\n")
    }
}

/// A comment of one line, whatever is in it.
fn comment(text: &str) -> String {
    format!("# {}\n", text.replace(char::is_control, " "))
}

/// A text as TOML writes it; what looks like a variable is none.
fn text(text: &str) -> String {
    written(&text.replace("${", "$${"))
}

fn written(text: &str) -> String {
    let is_odd = |c: char| c.is_control() || c == '"' || c == '\\';
    match text.contains(is_odd) {
        false => format!("\"{text}\""),
        true if !text.contains(|c: char| c.is_control() || c == '\'') => format!("'{text}'"),
        true => {
            let escaped = text.chars().map(|c| match c {
                '"' | '\\' => format!("\\{c}"),
                c if c.is_control() => format!("\\u{:04X}", u32::from(c)),
                c => c.to_string(),
            });
            format!("\"{}\"", escaped.collect::<String>())
        }
    }
}

/// The URL without its password, if it has one: before the host, or among the parameters.
fn without_password(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let bare = rest.rsplit_once('@').and_then(|(user, host)| Some((user.split_once(':')?.0, host)));
    let rest = bare.map_or_else(|| rest.to_owned(), |(user, host)| format!("{user}@{host}"));
    let (place, parameters) = rest.split_once('?').unwrap_or((&rest, ""));
    let is_secret = |parameter: &&str| parameter.to_ascii_lowercase().starts_with("password=");
    let (secret, others): (Vec<&str>, Vec<&str>) = parameters.split('&').partition(is_secret);
    let is_told = bare.is_some() || !secret.is_empty();
    let others = if others.concat().is_empty() { String::new() } else { format!("?{}", others.join("&")) };
    is_told.then(|| format!("{scheme}://{place}{others}"))
}

fn head(url: &str) -> String {
    let url = match without_password(url) {
        None => written(&format!("${{DATABASE_URL:-{url}}}")),
        Some(bare) => format!(
            "{} # the password belongs into the environment, not into this file",
            written(&format!("${{DATABASE_URL:-{bare}}}"))
        ),
    };
    HEAD.replace("{database}", &url)
}

/// The page of a row.
fn page(shown: &Shown, parents: &[Link<'_>], children: &[Link<'_>]) -> String {
    let mut html = format!(
        "{{% extends \"base.html\" %}}\n{{% block title %}}{{{{ {} }}}}{{% endblock %}}\n{{% block main %}}\n\
         <p><a href=\"/{1}/\">{1}</a></p>\n<h1>{{{{ {0} }}}}</h1>\n<dl>\n",
        shown.title, shown.name
    );
    let mut put = |line: String| html.push_str(&format!("{line}\n"));
    for Shows { own, called, .. } in &shown.columns {
        if let Some(own) = own {
            put(format!("<dt>{}</dt><dd>{{{{ {called} }}}}</dd>", escaped(own)));
        }
    }
    for Link { name, other, .. } in parents {
        put(format!("<dt>{name}</dt><dd>{{% if {name} %}}{}{{% endif %}}</dd>", other.link(name)));
    }
    put("</dl>".to_owned());
    for Link { name, other, .. } in children {
        put(format!("{{% if {name} %}}<h2>{name}</h2>\n<ul>"));
        put(format!(
            "{{% for row in {name} %}}<li>{}</li>\n{{% endfor %}}</ul>{{% endif %}}",
            other.link("row")
        ));
    }
    html.push_str("{% endblock %}\n");
    html
}

/// A page of a table's list.
fn list(shown: &Shown) -> String {
    format!(
        "{{% extends \"base.html\" %}}\n{{% block title %}}{0}{{% endblock %}}\n{{% block main %}}\n<h1>{0}</h1>\n<ul>\n\
         {{% for row in rows %}}<li>{1}</li>\n{{% endfor %}}</ul>\n\
         <nav>{{% if page.previous %}}<a href=\"{{{{ page.previous }}}}\">previous</a> {{% endif %}}\
         page {{{{ page.number }}}} of {{{{ page.count }}}}\
         {{% if page.next %}} <a href=\"{{{{ page.next }}}}\">next</a>{{% endif %}}</nav>\n{{% endblock %}}\n",
        shown.name,
        shown.link("row")
    )
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('{', "&#123;").replace('}', "&#125;")
}

const HEAD: &str = r#"# Made from the database's tables and foreign keys, as a start: change whatever you like.
# `edgepress check` looks for mistakes, `edgepress dev` publishes and serves, and follows every edit.

[site]
name = "First site"
url = "${SITE_URL:-http://127.0.0.1:8080}" # for absolute links
templates = "pages"
static = "static"

[database]
url = {database}

[storage]
url = "file:bucket"

[origin]
listen = "127.0.0.1:8080"
"#;

const INDEX: &str = r#"
[[collection]]
name = "index"
  [[collection.document]]
  path = "/index.html"
  template = "index.html"
"#;

const BASE: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{% block title %}{{ site.name }}{% endblock %}</title>
<link rel="stylesheet" href="{{ asset(path="style.css") }}">
</head>
<body>
<header><a href="/">{{ site.name }}</a></header>
<main>
{% block main %}{% endblock -%}
</main>
</body>
</html>
"#;

const STYLE: &str = r#":root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }
body { max-width: 46rem; margin: 0 auto; padding: 1rem; }
header { border-bottom: 1px solid color-mix(in srgb, currentcolor 25%, transparent); padding-bottom: .5rem; }
h1 { line-height: 1.2; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; }
dt { opacity: .7; }
dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 30rem) { dl { grid-template-columns: 1fr; } dd { margin-bottom: .5rem; } }
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_stays_out_of_the_file() {
        assert_eq!(
            without_password("postgres://me:p@ss:w@host:1/shop?x=y").as_deref(),
            Some("postgres://me@host:1/shop?x=y")
        );
        assert_eq!(
            without_password("postgres://host/shop?user=me&password=secret&sslmode=require").as_deref(),
            Some("postgres://host/shop?user=me&sslmode=require")
        );
        assert_eq!(without_password("mysql://host/shop?password=x").as_deref(), Some("mysql://host/shop"));
        assert_eq!(without_password("postgres://me@host/shop"), None);
        assert!(!head("mysql://me:secret@host/shop").contains("secret"));
    }

    #[test]
    fn texts_are_written_so_that_toml_and_variables_leave_them_alone() {
        for (plain, toml) in [
            ("a", "\"a\""),
            ("a \"b\"", "'a \"b\"'"),
            ("'a' \"b\\", "\"'a' \\\"b\\\\\""),
            ("a\nb", "\"a\\u000Ab\""),
            ("${HOME}", "\"$${HOME}\""),
        ] {
            assert_eq!(text(plain), toml);
        }
    }

    #[test]
    fn collections_do_not_take_the_names_of_templates() {
        let table = |name: &str| Table { schema: "main".to_owned(), name: name.to_owned() };
        for (name, called) in
            [("base", "base_"), ("product-list", "product-list_"), ("Index", "index_"), ("9", "t_9")]
        {
            assert_eq!(collection(&table(name), true, &BTreeSet::new()), called);
        }
        assert!(collection(&table(&"x".repeat(300)), true, &BTreeSet::new()).len() < 60);
    }

    #[test]
    fn names_become_words_that_templates_take() {
        let taken = BTreeSet::from(["price__"]);
        for (column, name) in [
            ("id", "id"),
            ("userId", "userId"),
            ("Price €", "Price__"),
            ("price €", "price___"),
            ("2nd", "c_2nd"),
            ("site", "site_"),
        ] {
            assert_eq!(called(column, &taken), name, "{column}");
        }
    }

    #[test]
    fn names_are_quoted_where_they_must_be() {
        for (name, dialect, text) in [
            ("id", Dialect::Postgres, "id"),
            ("order", Dialect::Postgres, "\"order\""),
            ("userId", Dialect::Sqlite, "\"userId\""),
            ("a`b", Dialect::Mysql, "`a``b`"),
        ] {
            assert_eq!(quoted(dialect, name), text);
        }
    }
}
