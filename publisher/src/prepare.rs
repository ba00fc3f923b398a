//! A site made ready: its definition parsed, its templates compiled, its static files' versions known.
//!
//! Owns the mistakes that can be found without rows. Refuses to read the database.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use edgepress_site::documents::Maker;
use edgepress_site::problem::{Problem, Problems};
use edgepress_site::release::definition::{RENDERER, ReleaseDefinition};
use edgepress_site::render::Limits;
use edgepress_site::version::Version;

use crate::error::PublishError;
use crate::key::KeyColumns;
use crate::source::{MAX_STATIC, Source};

/// Static files by path: where each lies, and its version.
pub(crate) type StaticFiles = Arc<BTreeMap<String, (PathBuf, Version)>>;

/// A site made ready to publish.
#[derive(Clone)]
pub struct Prepared {
    /// The site as it was read.
    pub source: Source,
    pub(crate) maker: Arc<Maker>,
    /// The key columns of each collection.
    pub(crate) keys: Arc<[KeyColumns]>,
    pub(crate) files: StaticFiles,
}

impl Prepared {
    /// Makes a site ready.
    ///
    /// # Errors
    /// The site has mistakes, or a static file cannot be read.
    pub fn new(source: Source) -> Result<Self, PublishError> {
        match Self::read(source)? {
            (prepared, problems) if problems.is_empty() => Ok(prepared),
            (_, problems) => Err(Problems(problems).into()),
        }
    }

    /// Makes a site with mistakes ready as far as it is right: with those templates that are.
    ///
    /// # Errors
    /// A static file cannot be read.
    pub(crate) fn read(source: Source) -> Result<(Self, Vec<Problem>), PublishError> {
        let (definition, files) = definition(&source)?;
        let mut problems = templates(&source);
        let (maker, found) = Maker::read(definition, &source.site.templates, Limits::default());
        problems.extend(found);
        problems.extend(not_found(&source, &maker));
        let keys = maker.definition().site.collections.iter().map(KeyColumns::of).collect();
        Ok((Self { source, maker: Arc::new(maker), keys, files }, problems))
    }

    /// The site without some of its static files, by their paths.
    pub(crate) fn without<'p>(
        &self,
        paths: impl Iterator<Item = &'p Arc<str>>,
    ) -> Result<Self, PublishError> {
        let paths: BTreeSet<&str> = paths.map(|path| &**path).collect();
        let mut source = self.source.clone();
        source.static_files.retain(|path, _| !paths.contains(path.as_str()));
        Self::new(source)
    }
}

/// What the release is made with, and its static files.
fn definition(source: &Source) -> Result<(ReleaseDefinition, StaticFiles), PublishError> {
    let mut files = BTreeMap::new();
    for (path, file) in &source.static_files {
        let version = Version::of(&read_static(file)?);
        files.insert(path.as_str().to_owned(), (file.clone(), version));
    }
    let definition = ReleaseDefinition {
        renderer: RENDERER,
        site: source.site.definition.clone(),
        templates: source.templates.clone(),
        static_files: files.iter().map(|(path, (_, version))| (path.clone(), *version)).collect(),
    };
    Ok((definition, Arc::new(files)))
}

/// A static file's content.
pub(crate) fn read_static(file: &Path) -> Result<Vec<u8>, PublishError> {
    let failed = |source| PublishError::File {
        what: format!("cannot read the static file {}", file.display()),
        source,
    };
    let size = std::fs::metadata(file).map_err(failed)?.len();
    if size > MAX_STATIC {
        let message = format!("it has {size} bytes; static files have at most {MAX_STATIC}");
        return Err(failed(std::io::Error::other(message)));
    }
    std::fs::read(file).map_err(failed)
}

/// Templates that the definition names and nobody wrote.
fn templates(source: &Source) -> Vec<Problem> {
    let documents = source.site.definition.collections.iter().flat_map(|collection| &collection.documents);
    let named = documents.filter_map(|document| Some((document.line, document.template.as_ref()?)));
    let missing = named.filter(|(_, template)| !source.templates.contains_key(*template));
    let known: Vec<&str> = source.templates.keys().map(String::as_str).collect();
    let problem = |(line, template)| {
        Problem::error(
            &source.file,
            Some(line),
            format!("there is no template `{template}` in the folder {}", source.site.templates),
            format!("write it, or name one of: {}", known.join(", ")),
        )
    };
    missing.map(problem).collect()
}

/// Whether no document and no static file is what is to be served with 404.
fn not_found(source: &Source, maker: &Maker) -> Option<Problem> {
    let path = source.site.definition.not_found.as_ref()?;
    (!maker.router().is_literal(path.as_str())).then(|| {
        Problem::error(
            &source.file,
            None,
            format!("`not_found` names {path}, but no document and no static file has exactly this path"),
            "add a collection without a query that makes it, or remove `not_found`",
        )
    })
}
