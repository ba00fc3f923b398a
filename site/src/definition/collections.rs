//! Collections, their includes and their documents.
//!
//! Owns their keys, their defaults and which of them fit together. Refuses to judge SQL: that is for
//! the database.

use std::collections::HashMap;
use std::time::Duration;

use super::model::{Collection, Document, Include, PAGE, Pages};
use super::reader::{At, Reader, Table};
use super::sql;
use super::words::{self, Wrong, wrong};
use crate::media;
use crate::nearest::nearest;
use crate::pattern::Pattern;
use crate::policy::Policy;

/// Names that the site itself has in its tags.
const RESERVED: [&str; 1] = ["static"];
/// Names that a template has at its top level already.
const TAKEN: [&str; 2] = ["site", "page"];

/// A pattern without its names, and which of its captures is the page's number.
type Shape = (String, Option<usize>);
/// The patterns so far, as written and where.
type Paths = HashMap<Shape, At<String>>;

/// All `[[collection]]`.
pub(super) fn collections(reader: &mut Reader<'_>, root: &mut Table<'_>) -> Vec<Collection> {
    let mut names: HashMap<String, u32> = HashMap::new();
    let mut paths = Paths::new();
    let mut collections = Vec::new();
    for mut table in reader.tables(root, "collection", "[[collection]]", "[[collection]]") {
        let name = name(reader, &mut table, &mut names);
        if !name.is_empty() {
            table.title = format!("collection `{name}`");
        }
        collections.push(collection(reader, table, name, &mut paths));
    }
    collections
}

fn name(reader: &mut Reader<'_>, table: &mut Table<'_>, names: &mut HashMap<String, u32>) -> String {
    let Some(At { value: name, line }) = reader.required(table, "name", "name = \"product\"") else {
        return String::new();
    };
    reader.checked(line, "name", words::check_name(&name));
    if RESERVED.contains(&&*name) {
        reader.wrong(
            line,
            format!("a collection cannot be called `{name}`: static files are"),
            "choose another name",
        );
    }
    if let Some(first) = names.insert(name.clone(), line) {
        let message = format!("there are two collections `{name}`, one in line {first}");
        reader.wrong(line, message, "choose another name for one of them");
    }
    name
}

fn collection(reader: &mut Reader<'_>, mut table: Table<'_>, name: String, paths: &mut Paths) -> Collection {
    let query = reader.parsed(&mut table, "query", sql::one_select);
    let has_query = table.has("query");
    let refresh = reader.parsed(&mut table, "refresh", refresh);
    let fallback = reader.boolean(&mut table, "fallback").is_none_or(|fallback| fallback.value);
    let includes = includes(reader, &mut table, "[collection.include");
    for include in includes.iter().filter(|include| TAKEN.contains(&&*include.name)) {
        let message = format!(
            "an include of a collection cannot be called `{}`: templates have that already",
            include.name
        );
        reader.wrong(include.line, message, "choose another name");
    }
    let header = "[[collection.document]]";
    let title = format!("a document of {}", table.title);
    let tables = reader.tables(&mut table, "document", &title, header);
    if tables.is_empty() && !table.has("document") {
        let message = format!("{} makes no document", table.title);
        reader.missing(Some(table.line), message, format!("add {header} with a path"));
    }
    let mut documents = Vec::new();
    for document in tables {
        documents.extend(self::document(reader, document, has_query, &includes, paths));
    }
    reader.done(&table);
    Collection {
        name,
        query: query.map(|query| query.value),
        includes,
        documents,
        refresh: refresh.map(|refresh| refresh.value),
        fallback,
        line: table.line,
    }
}

fn refresh(text: &str) -> Result<Duration, Wrong> {
    let refresh = words::duration(text)?;
    if refresh < Duration::from_secs(1) {
        return wrong(format!("`{text}` is too short"), "write at least \"1s\"");
    }
    Ok(refresh)
}

fn includes(reader: &mut Reader<'_>, table: &mut Table<'_>, header: &str) -> Vec<Include> {
    let mut includes = Vec::new();
    for (name, table) in reader.named_tables(table, "include", header) {
        reader.checked(name.line, &name.value, words::check_name(&name.value));
        let header = format!("{header}.{}.include", name.value);
        includes.push(include(reader, table, name, &header));
    }
    includes
}

fn include(reader: &mut Reader<'_>, mut table: Table<'_>, name: At<String>, header: &str) -> Include {
    let query = reader.required(&mut table, "query", "query = \"SELECT ...\"");
    let query = reader.refined(query, "query", sql::one_select);
    let example = "on = { their_column = \"our_column\" }";
    let on = reader.pairs(&mut table, "on", example);
    let order_by = reader.parsed(&mut table, "order_by", sql::order);
    let limit = reader.count(&mut table, "limit");
    let one = reader.boolean(&mut table, "one").is_some_and(|one| one.value);
    let includes = includes(reader, &mut table, header);
    reader.done(&table);
    if let Some(on) = &on {
        if on.value.is_empty() && !reader.is_broken() {
            reader.wrong(
                on.line,
                "`on` is empty",
                format!("write {example}, or leave it out for the whole result"),
            );
        }
        if on.value.iter().any(|(theirs, ours)| theirs.trim().is_empty() || ours.trim().is_empty()) {
            reader.wrong(on.line, "`on` names an empty column", format!("write {example}"));
        }
    }
    if let Some(query) = query.as_ref().filter(|query| on.is_some() && sql::limits(&query.value)) {
        reader.wrong(
            query.line,
            "`query`: LIMIT or FETCH would cut the rows of all parents together",
            "leave it out and write `limit = 10` beside the query: it counts for each parent",
        );
    }
    Include {
        name: name.value,
        query: query.map(|query| query.value).unwrap_or_default(),
        on: on.map(|on| on.value).unwrap_or_default(),
        order_by: order_by.map(|order_by| order_by.value),
        limit: limit.map(|limit| limit.value),
        one,
        includes,
        line: name.line,
    }
}

fn document(
    reader: &mut Reader<'_>,
    mut table: Table<'_>,
    has_query: bool,
    includes: &[Include],
    paths: &mut Paths,
) -> Option<Document> {
    let path = reader.required(&mut table, "path", "path = \"/products/{slug}.html\"");
    if let Some(path) = &path {
        table.title = format!("document `{}`", path.value);
    }
    let path = reader.refined(path, "path", pattern);
    let template = reader.parsed(&mut table, "template", words::relative);
    let given = reader.parsed(&mut table, "type", media_type);
    let cache = cache(reader, &mut table);
    let pages = pages(reader, &mut table, includes);
    let paged = table.has("pages");
    if let Some(path) = &path {
        check_path(reader, path, has_query, paged);
        claim(reader, path, paged, paths);
        if let Some(first) = pages.as_ref().and_then(|pages| pages.first.as_ref()) {
            check_first(reader, first, &path.value);
            claim(reader, first, false, paths);
        }
    }
    let known = path.as_ref().and_then(|path| media::media_type(path.value.as_str()));
    if let (Some(path), None, false) = (&path, known, table.has("type")) {
        let message = format!("the media type of `{}` is not known by its extension", path.value);
        reader.wrong(path.line, message, "write its type, such as type = \"text/html\"");
    }
    reader.done(&table);
    Some(Document {
        path: path?.value,
        template: template.map(|template| template.value),
        media_type: given.map(|given| given.value).or(known.map(str::to_owned)).unwrap_or_default(),
        cache,
        pages: pages.map(|pages| Pages {
            of: pages.of,
            size: pages.size,
            first: pages.first.map(|first| first.value),
        }),
        line: table.line,
    })
}

fn pattern(text: &str) -> Result<Pattern, Wrong> {
    let error = match Pattern::parse(text) {
        Ok(pattern) => return Ok(pattern),
        Err(error) => error,
    };
    wrong(format!("`{text}`: {error}"), "write a path such as \"/products/{slug}.html\"")
}

fn media_type(text: &str) -> Result<String, Wrong> {
    if media::is_media_type(text) {
        return Ok(media::with_charset(text));
    }
    wrong(format!("`{text}` is not a media type"), "write one such as \"text/html\"")
}

fn cache(reader: &mut Reader<'_>, table: &mut Table<'_>) -> Policy {
    let mut policy = Policy::default();
    let example = "cache = { browser = \"0s\", cdn = \"1d\", stale = \"1h\" }";
    let Some(mut table) = reader.table(table, "cache", "`cache`", example) else { return policy };
    for (key, seconds) in
        [("browser", &mut policy.browser), ("cdn", &mut policy.cdn), ("stale", &mut policy.stale)]
    {
        if let Some(found) = reader.parsed(&mut table, key, whole_seconds) {
            *seconds = found.value;
        }
    }
    reader.done(&table);
    policy
}

fn whole_seconds(text: &str) -> Result<u32, Wrong> {
    let duration = words::duration(text)?;
    match u32::try_from(duration.as_secs()) {
        Ok(seconds) if duration.subsec_nanos() == 0 => Ok(seconds),
        _ => wrong(
            format!("`{text}` is not in whole seconds"),
            "caches count in seconds: write \"0s\" or \"1s\"",
        ),
    }
}

/// `pages` as it is read.
struct Paged {
    of: String,
    size: u32,
    first: Option<At<Pattern>>,
}

fn pages(reader: &mut Reader<'_>, table: &mut Table<'_>, includes: &[Include]) -> Option<Paged> {
    let example = "pages = { of = \"products\", size = 40 }";
    let mut table = reader.table(table, "pages", "`pages`", example)?;
    let of = reader.required(&mut table, "of", example);
    let size = reader.count(&mut table, "size");
    if !table.has("size") {
        reader.missing(Some(table.line), "`size` is missing in `pages`", format!("write {example}"));
    }
    let first = reader.parsed(&mut table, "first", pattern);
    reader.done(&table);
    let At { value: of, line } = of?;
    let lists: Vec<&str> =
        includes.iter().filter(|include| !include.one).map(|include| &*include.name).collect();
    if !lists.contains(&&*of) {
        let message = match includes.iter().any(|include| include.name == of) {
            true => format!("`pages.of`: the include `{of}` is one row, not a list"),
            false => format!("`pages.of`: this collection has no include `{of}`"),
        };
        let remedy = match (nearest(&of, lists.iter().copied()), lists.is_empty()) {
            (Some(known), _) => format!("did you mean `{known}`?"),
            (None, true) => "add an include to the collection: pages spread its rows".to_owned(),
            (None, false) => format!("name one of {}", lists.join(", ")),
        };
        reader.wrong(line, message, remedy);
    }
    Some(Paged { of, size: size.map_or(1, |size| size.value), first })
}

/// Whether the captures suit the collection: every row its own path, and every page.
fn check_path(reader: &mut Reader<'_>, path: &At<Pattern>, has_query: bool, paged: bool) {
    let At { value: pattern, line } = path;
    match (pattern.has(PAGE), paged) {
        (false, true) => {
            let message = format!("`{pattern}` is split into pages, but `{{page}}` does not stand in it");
            reader.wrong(*line, message, "put the page's number into the path: \"/list-{page}.html\"");
        }
        (true, false) => {
            let message = format!("`{{page}}` stands in `{pattern}`, which is not split into pages");
            let remedy = "add pages = { of = \"...\", size = 40 }, or rename the column with AS in the query";
            reader.wrong(*line, message, remedy);
        }
        _ => {}
    }
    let column = pattern.columns().find(|column| *column != PAGE);
    match (column, has_query) {
        (None, true) => {
            let message = format!("every row would get the same path `{pattern}`");
            reader.wrong(*line, message, "put a column into the path, such as \"/products/{id}.html\"");
        }
        (Some(column), false) => {
            let message = format!("`{{{column}}}` stands in `{pattern}`, but the collection has no query");
            reader.wrong(*line, message, "add a query with this column, or write a path without captures");
        }
        _ => {}
    }
}

/// Page one's own path has the captures of the others, but for the page's number.
fn check_first(reader: &mut Reader<'_>, first: &At<Pattern>, path: &Pattern) {
    let At { value: pattern, line } = first;
    let mut own: Vec<&str> = pattern.columns().collect();
    let mut others: Vec<&str> = path.columns().filter(|column| *column != PAGE).collect();
    own.sort_unstable();
    others.sort_unstable();
    if own != others {
        let message = format!("`first`: `{pattern}` must have the captures of `{path}`, but for `{{page}}`");
        let wanted: Vec<String> = others.iter().map(|column| format!("{{{column}}}")).collect();
        let remedy = match wanted.is_empty() {
            true => "write a path without captures".to_owned(),
            false => format!("write a path with {}", wanted.join(" and ")),
        };
        reader.wrong(*line, message, remedy);
    }
}

/// Of two documents with the same paths, the second would never get one.
fn claim(reader: &mut Reader<'_>, path: &At<Pattern>, paged: bool, paths: &mut Paths) {
    let At { value: pattern, line } = path;
    let number = pattern.columns().position(|column| column == PAGE).filter(|_| paged);
    let own = At { value: pattern.to_string(), line: *line };
    let Some(first) = paths.insert((pattern.shape(), number), own) else { return };
    let message = format!("`{pattern}` makes the same paths as `{}` in line {}", first.value, first.line);
    reader.wrong(*line, message, "choose another path for one of them");
}
