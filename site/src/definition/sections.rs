//! The sections that stand once: `[site]`, `[database]`, `[storage]`, `[publish]`, `[origin]`.
//!
//! Owns their keys and defaults. Refuses to open what they name.

use std::net::SocketAddr;
use std::time::Duration;

use super::collections;
use super::model::{Database, Definition, Objects, Origin, Publish, Site, Storage, file_of, redact};
use super::reader::{At, Choice, Reader, Table};
use super::words::{self, Wrong, wrong};
use crate::path::DocPath;

/// Memory below this holds nothing worth the name.
const LEAST_TOKEN: usize = 16;
const LEAST_MEMORY: u64 = 1 << 20;

/// The whole file. After a mistake the site has defaults in its place; the reader knows.
pub(super) fn site(reader: &mut Reader<'_>, root: &mut Table<'_>) -> Site {
    let mut definition =
        Definition { name: String::new(), url: String::new(), not_found: None, collections: Vec::new() };
    let (mut templates, mut static_files) = (None, None);
    if let Some(mut table) = reader.section(root, "site", "name = \"...\" and url = \"https://...\"") {
        definition.name = value(reader.required(&mut table, "name", "name = \"Flash Shop\""));
        let url = reader.required(&mut table, "url", "url = \"https://shop.example\"");
        definition.url = value(reader.refined(url, "url", words::site_url));
        templates = reader.parsed(&mut table, "templates", words::relative);
        static_files = reader.parsed(&mut table, "static", words::relative);
        definition.not_found = reader.parsed(&mut table, "not_found", not_found).map(|path| path.value);
        reader.done(&table);
    }
    let database = database(reader, root);
    let storage = storage(reader, root);
    let publish = publish(reader, root);
    let origin = origin(reader, root);
    definition.collections = collections::collections(reader, root);
    Site {
        definition,
        templates: templates.map_or_else(|| "pages".to_owned(), |path| path.value),
        static_files: static_files.map(|path| path.value),
        database,
        storage,
        publish,
        origin,
    }
}

fn value<T: Default>(found: Option<At<T>>) -> T {
    found.map(|found| found.value).unwrap_or_default()
}

fn not_found(text: &str) -> Result<DocPath, Wrong> {
    let remedy = "write the path of one document or static file, such as \"/404.html\"";
    if text.contains(['{', '}']) {
        return wrong("it must be one path, without captures", remedy);
    }
    DocPath::new(text).or_else(|error| wrong(format!("the path `{text}`: {error}"), remedy))
}

fn database(reader: &mut Reader<'_>, root: &mut Table<'_>) -> Database {
    let example = "url = \"sqlite:shop.db\"";
    let Some(mut table) = reader.section(root, "database", example) else {
        return Database { url: String::new(), schema: None, line: 0 };
    };
    let url = reader.required(&mut table, "url", example);
    let url = reader.refined(url, "url", database_url);
    let schema = reader.parsed(&mut table, "schema", words::relative);
    reader.done(&table);
    let line = url.as_ref().map_or(table.line, |url| url.line);
    Database { url: value(url), schema: schema.map(|path| path.value), line }
}

fn database_url(text: &str) -> Result<String, Wrong> {
    let remedy = "write \"sqlite:\" and the database's file, such as \"sqlite:shop.db\"; or \
                  postgres://USER:PASSWORD@HOST/DATABASE, or mysql:// and the same for MariaDB and MySQL";
    match text.split_once(':') {
        Some(("sqlite", _)) if file_of(text, "sqlite:").starts_with(':') => {
            wrong("a database in memory is gone with its process, so nobody could edit it", remedy)
        }
        Some(("sqlite", _)) => file_url(text, "sqlite:", remedy),
        Some(("postgres" | "postgresql" | "mysql" | "mariadb", rest)) => match server_url(rest) {
            Ok(()) => Ok(text.to_owned()),
            // It may hold a password anywhere.
            Err(lacks) => wrong(format!("it {lacks}"), remedy),
        },
        Some((_, rest)) if rest.starts_with("//") => {
            wrong(format!("`{}` is not a database we know", redact(text)), remedy)
        }
        // What looks like a plain file may be anything, a password too: it is not repeated.
        _ => wrong("it does not say what kind of database this is", remedy),
    }
}

/// Whether a URL without its scheme names a server and a database.
fn server_url(rest: &str) -> Result<(), &'static str> {
    let Some(rest) = rest.strip_prefix("//") else { return Err("has no // after its scheme") };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (place, database) = rest.split_once('/').unwrap_or((rest, ""));
    match (place.rsplit('@').next(), database) {
        (None | Some(""), _) => Err("names no host"),
        (_, "") => Err("names no database"),
        _ => Ok(()),
    }
}

fn storage(reader: &mut Reader<'_>, root: &mut Table<'_>) -> Storage {
    let example = "url = \"file:bucket\"";
    let Some(mut table) = reader.section(root, "storage", example) else {
        return Storage { url: String::new(), objects: Objects::Same, line: 0 };
    };
    let url = reader.required(&mut table, "url", example);
    let remote = url.as_ref().is_some_and(|url| url.value.starts_with("s3:"));
    let url = reader.refined(url, "url", bucket_url);
    if remote {
        // Their section is refused as a whole already.
        let _ = (reader.string(&mut table, "endpoint"), reader.string(&mut table, "region"));
        let _ = reader.boolean(&mut table, "path_style");
    }
    let objects = match reader.boolean_or_string(&mut table, "objects") {
        None => Objects::Same,
        Some(At { value: Choice::Switch(true), .. }) => Objects::Same,
        Some(At { value: Choice::Switch(false), .. }) => Objects::Off,
        Some(At { value: Choice::Text(text), line }) => {
            let other = reader.checked(line, "objects", bucket_url(&text)).unwrap_or_default();
            match url.as_ref().is_some_and(|url| file_of(&url.value, "file:") == file_of(&other, "file:")) {
                true => Objects::Same,
                false => Objects::Other(other),
            }
        }
    };
    reader.done(&table);
    let line = url.as_ref().map_or(table.line, |url| url.line);
    Storage { url: value(url), objects, line }
}

fn bucket_url(text: &str) -> Result<String, Wrong> {
    let remedy = "write \"file:\" and a folder, such as \"file:bucket\"";
    match text.split_once(':') {
        Some(("file", _)) => file_url(text, "file:", remedy),
        Some(("s3", _)) => wrong("s3: is not yet supported by this version", remedy),
        _ => wrong(format!("`{}` is not a bucket we know", redact(text)), remedy),
    }
}

/// A URL that names a file or folder. They may lie anywhere, so only what cannot be meant is refused.
fn file_url(text: &str, scheme: &str, remedy: &str) -> Result<String, Wrong> {
    let file = file_of(text, scheme);
    if file.is_empty() {
        return wrong(format!("there is no file after `{scheme}`"), remedy);
    }
    if file.contains(|c: char| matches!(c, '?' | '#') || c.is_control()) {
        return wrong("the file's name has a `?`, `#` or control character; there are no parameters", remedy);
    }
    Ok(text.to_owned())
}

fn publish(reader: &mut Reader<'_>, root: &mut Table<'_>) -> Publish {
    let mut publish =
        Publish { quiet: Duration::from_millis(50), max_wait: Duration::from_secs(1), guard: 0.3 };
    let Some(mut table) = reader.table(root, "publish", "[publish]", "[publish]") else { return publish };
    let quiet = reader.duration(&mut table, "quiet");
    let max_wait = reader.duration(&mut table, "max_wait");
    let guard = reader.share(&mut table, "guard");
    reader.done(&table);
    let line = quiet.as_ref().or(max_wait.as_ref()).map_or(table.line, |wait| wait.line);
    publish.quiet = quiet.map_or(publish.quiet, |quiet| quiet.value);
    publish.max_wait = max_wait.map_or(publish.max_wait, |max_wait| max_wait.value);
    publish.guard = guard.map_or(publish.guard, |guard| guard.value);
    if publish.quiet > publish.max_wait {
        let Publish { quiet, max_wait, .. } = publish;
        let message = format!("`quiet` ({quiet:?}) is longer than `max_wait` ({max_wait:?})");
        reader.wrong(line, message, "make `max_wait` at least as long as `quiet`");
    }
    publish
}

fn origin(reader: &mut Reader<'_>, root: &mut Table<'_>) -> Origin {
    let mut origin = Origin {
        listen: "127.0.0.1:8080".to_owned(),
        admin: "127.0.0.1:8081".to_owned(),
        token: String::new(),
        memory: 256 << 20,
        redis: String::new(),
    };
    let Some(mut table) = reader.table(root, "origin", "[origin]", "[origin]") else { return origin };
    let listen = reader.parsed(&mut table, "listen", address);
    let admin = reader.parsed(&mut table, "admin", address);
    let token = reader.parsed(&mut table, "token", token);
    let memory = reader.size(&mut table, "memory");
    let redis = reader.parsed(&mut table, "redis", redis_url);
    reader.done(&table);
    let line = admin.as_ref().or(listen.as_ref()).map_or(table.line, |address| address.line);
    origin.listen = listen.map_or(origin.listen, |listen| listen.value);
    origin.admin = admin.map_or(origin.admin, |admin| admin.value);
    origin.token = token.map_or(origin.token, |token| token.value);
    let is_open = origin.admin.parse().is_ok_and(|admin: SocketAddr| !admin.ip().is_loopback());
    if is_open && origin.token.is_empty() {
        let message =
            format!("`admin` ({}) can be reached from elsewhere, and asks for no token", origin.admin);
        let remedy = "listen on the loopback, such as \"127.0.0.1:8081\", or give it a secret: token = \"${EDGEPRESS_TOKEN}\"";
        reader.wrong(line, message, remedy);
    }
    if origin.listen == origin.admin && !origin.listen.ends_with(":0") {
        let message = format!("`listen` and `admin` are both {}", origin.listen);
        reader.wrong(line, message, "give each a port of its own");
    }
    if let Some(memory) = memory {
        if memory.value < LEAST_MEMORY {
            reader.wrong(
                memory.line,
                "`memory` is less than 1MiB",
                "write at least \"1MiB\"; \"256MiB\" is usual",
            );
        }
        origin.memory = memory.value;
    }
    origin.redis = value(redis);
    origin
}

fn address(text: &str) -> Result<String, Wrong> {
    match text.parse::<SocketAddr>() {
        Ok(address) => Ok(address.to_string()),
        Err(_) => wrong(
            format!("`{text}` is not an address to listen on"),
            "write an IP address and a port, such as \"127.0.0.1:8080\", \"0.0.0.0:8080\" or \"[::]:8080\"",
        ),
    }
}

/// A bearer token: RFC 6750, 2.1.
fn token(text: &str) -> Result<String, Wrong> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    match text.bytes().all(is_token) && (text.is_empty() || text.len() >= LEAST_TOKEN) {
        true => Ok(text.to_owned()),
        false => wrong(
            format!("`token` must have at least {LEAST_TOKEN} letters, digits or signs of `-._~+/=`"),
            "make one with: openssl rand -hex 32",
        ),
    }
}

fn redis_url(text: &str) -> Result<String, Wrong> {
    match text.is_empty() {
        true => Ok(String::new()),
        false => wrong("Redis is not yet supported by this version", "write redis = \"\", or leave it out"),
    }
}
