//! A site as it lies in its folder: the definition, the templates' texts, the static files' names.
//! Refuses to judge them; parsing and rendering do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use edgepress_site::definition::{self, Objects, Site};
use edgepress_site::path::DocPath;
use edgepress_site::problem::{Problem, Problems};

use crate::error::PublishError;

/// Static files are read whole, so they are bounded: 64 MiB.
pub const MAX_STATIC: u64 = 64 << 20;

/// A template's size is bounded: 4 MiB.
const MAX_TEMPLATE: u64 = 4 << 20;

/// A site, read from its folder.
#[derive(Debug, Clone)]
pub struct Source {
    /// The definition.
    pub site: Site,
    /// Templates: name (path below their folder) to text.
    pub templates: BTreeMap<String, String>,
    /// Static files: their document paths and where they lie.
    pub static_files: BTreeMap<DocPath, PathBuf>,
    /// What messages call `site.toml`.
    pub file: String,
    /// The folder of `site.toml`.
    pub folder: PathBuf,
}

impl Source {
    /// Reads the site that `file` (a `site.toml`) defines.
    ///
    /// # Errors
    /// A file cannot be read, or the definition has mistakes.
    pub fn load(file: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, PublishError> {
        match Self::read(file, env)? {
            (source, problems) if problems.is_empty() => Ok(source),
            (_, problems) => Err(Problems(problems).into()),
        }
    }

    /// Reads a site with mistakes as far as it can be read.
    ///
    /// # Errors
    /// There is no definition.
    pub fn read(
        file: &Path,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(Self, Vec<Problem>), PublishError> {
        let name = file.display().to_string();
        let text = std::fs::read_to_string(file).map_err(|error| {
            let remedy = match error.kind() {
                std::io::ErrorKind::NotFound => {
                    "write a first site with `edgepress new DIR`, or name yours with `--site FILE`"
                }
                _ => "name the site's definition, a text in UTF-8, with `--site FILE`",
            };
            Problems(vec![Problem::error(&name, None, format!("cannot be read: {error}"), remedy)])
        })?;
        let (site, mut problems) = definition::read(&name, &text, env);
        let folder = file.parent().unwrap_or(Path::new("")).to_path_buf();
        let mut templates = BTreeMap::new();
        for (template, path) in files(&folder.join(&site.templates), &mut problems) {
            match read_template(&path) {
                Ok(text) => drop(templates.insert(template, text)),
                Err(message) => problems.push(Problem::error(path.display().to_string(), None, message, "")),
            }
        }
        let mut static_files = BTreeMap::new();
        if let Some(of) = &site.static_files {
            for (name, path) in files(&folder.join(of), &mut problems) {
                match DocPath::new(&format!("/{name}")) {
                    Ok(document) => drop(static_files.insert(document, path)),
                    Err(error) => problems.push(Problem::error(
                        path.display().to_string(),
                        None,
                        format!("cannot be published under its name: {error}"),
                        "rename it",
                    )),
                }
            }
        }
        let source = Self { site, templates, static_files, file: name, folder };
        problems.extend(source.unpublishable());
        Ok((source, problems))
    }

    /// What must not be among the static files: it would be published.
    fn unpublishable(&self) -> Vec<Problem> {
        let Some(published) = &self.site.static_files else { return Vec::new() };
        let published = self.canonical(published);
        let storage = &self.site.storage;
        let mut others = vec![(self.canonical(definition::folder(&storage.url)), storage.line, "the bucket")];
        if let Objects::Other(url) = &storage.objects {
            others.push((self.canonical(definition::folder(url)), storage.line, "the bucket of objects"));
        }
        if let Some(file) = self.site.database.file() {
            others.push((self.canonical(file), self.site.database.line, "the database"));
        }
        let inside = others.into_iter().filter(|(path, ..)| path.starts_with(&published));
        let problem = |(path, line, what): (PathBuf, u32, &str)| {
            let message = format!(
                "{what} ({}) lies in the folder of static files, so it would be published",
                path.display()
            );
            Problem::error(&self.file, Some(line), message, "give `static` in [site] a folder of its own")
        };
        inside.map(problem).collect()
    }

    /// A path of `site.toml`, seen from where we are.
    #[must_use]
    pub fn resolve(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    /// The same without links and `..`, even if its end is not there yet.
    #[must_use]
    pub fn canonical(&self, path: &str) -> PathBuf {
        canonical(&self.resolve(path))
    }
}

fn canonical(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = path.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)));
    match there.and_then(|(above, there)| Some(there.join(path.strip_prefix(above).ok()?))) {
        Some(canonical) => canonical,
        None => path,
    }
}

fn read_template(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > MAX_TEMPLATE {
        return Err(format!("a template of {size} bytes; at most {MAX_TEMPLATE} are read"));
    }
    std::fs::read_to_string(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidData => {
            "is not UTF-8 text: move it out of the templates' folder".to_owned()
        }
        _ => error.to_string(),
    })
}

/// All files below `folder` with their names, `/` between folders. What editors leave beside them is
/// passed over: names that begin with `.` or end with `~`.
fn files(folder: &Path, problems: &mut Vec<Problem>) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    let mut waiting = vec![(String::new(), folder.to_path_buf())];
    while let Some((prefix, folder)) = waiting.pop() {
        let mut problem = |path: &Path, error: &dyn std::fmt::Display| {
            let remedy = "create it, or name another folder in site.toml";
            problems.push(Problem::error(
                path.display().to_string(),
                None,
                format!("cannot be read: {error}"),
                remedy,
            ));
        };
        let listed = match std::fs::read_dir(&folder) {
            Ok(listed) => listed,
            Err(error) => {
                problem(&folder, &error);
                continue;
            }
        };
        for entry in listed.flatten() {
            let path = entry.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                problem(&path, &"its name is not UTF-8");
                continue;
            };
            if name.starts_with('.') || name.ends_with('~') {
                continue;
            }
            let name = format!("{prefix}{name}");
            // Follows links: a folder of links to shared templates works.
            match std::fs::metadata(&path) {
                Ok(kind) if kind.is_dir() && prefix.matches('/').count() < 32 => {
                    waiting.push((format!("{name}/"), path));
                }
                Ok(kind) if kind.is_file() => found.push((name, path)),
                Ok(_) => problem(&path, &"neither a file nor a folder, or too deep"),
                Err(error) => problem(&path, &error),
            }
        }
    }
    found
}
