//! Answers made of documents: 200, 304 and the page that goes with 404.
//!
//! Owns which headers each of them has. Everything that takes work is prepared once, when a document
//! enters memory: an answer then only puts shared values together. Refuses to know where they came from.

use std::time::SystemTime;

use bytes::Bytes;
use edgepress_site::answer::{IMMUTABLE, collection_tag, document_tag};
use edgepress_site::version::Version;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, CONTENT_TYPE, ETAG,
    LAST_MODIFIED, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::Full;

use crate::connection::Response;
use crate::live::CacheHeaders;
use crate::memory::Kept;

pub(crate) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");
const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");
const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
const EDGEPRESS_RELEASE: HeaderName = HeaderName::from_static("edgepress-release");

const ANY: HeaderValue = HeaderValue::from_static("*");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const ACCEPT_ENCODING: HeaderValue = HeaderValue::from_static("Accept-Encoding");
const EXPOSED: HeaderValue = HeaderValue::from_static("ETag, Cache-Status, Edgepress-Release");
/// A path that does not exist may exist with the next release.
pub(crate) const SHORTLY: HeaderValue = HeaderValue::from_static("max-age=5");
/// What is older than the release served may be passed on, but not be kept.
const STALE: CacheHeaders =
    CacheHeaders { all: HeaderValue::from_static("max-age=0, must-revalidate"), cdn: Some(SHORTLY) };

/// Where an answer came from, as `Cache-Status` (RFC 9211) and the log name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// Memory.
    Memory,
    /// A pack, and memory has it now.
    Pack,
    /// A pack; another request had asked for it first.
    Shared,
    /// A pack; it is too large for memory.
    Passed,
    /// Memory, of an earlier release, because the bucket fails.
    Stale,
    /// The release's index, which does not have the path.
    Index,
    /// None of them.
    Nowhere,
}

impl Source {
    /// The value of `Cache-Status`.
    pub(crate) fn status(self) -> Option<HeaderValue> {
        Some(HeaderValue::from_static(match self {
            Self::Memory => "edgepress; hit; detail=memory",
            Self::Pack => "edgepress; fwd=miss; stored; detail=pack",
            Self::Shared => "edgepress; fwd=miss; collapsed; detail=pack",
            Self::Passed => "edgepress; fwd=miss; detail=pack",
            Self::Stale => "edgepress; hit; detail=stale",
            Self::Index => "edgepress; hit; detail=index",
            Self::Nowhere => return None,
        }))
    }

    /// Its name in the log.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pack => "pack",
            Self::Shared => "shared pack read",
            Self::Passed => "pack, not kept",
            Self::Stale => "stale memory",
            Self::Index => "index",
            Self::Nowhere => "none",
        }
    }
}

/// A document, or one version of it, with the headers of its answers.
pub(crate) struct Content {
    pub(crate) version: Version,
    pub(crate) body: Bytes,
    /// `Last-Modified`, and the time it stands for: not to be sent before.
    pub(crate) modified: Option<(SystemTime, HeaderValue)>,
    etag: HeaderValue,
    media_type: HeaderValue,
    cache: CacheHeaders,
    /// `Surrogate-Key` and `Cache-Tag`.
    tags: Option<[HeaderValue; 2]>,
}

impl Content {
    /// A document as it is now.
    pub(crate) fn document(
        (version, body): (Version, Bytes),
        media_type: &str,
        cache: CacheHeaders,
        modified: SystemTime,
        (collection, path): (&str, &str),
    ) -> Self {
        let modified = (modified, value(httpdate::fmt_http_date(modified)));
        Self {
            modified: Some(modified),
            cache,
            tags: Some(tags(Some(collection), path)),
            ..Self::version(version, body, media_type)
        }
    }

    /// One version of a document, for ever.
    pub(crate) fn version(version: Version, body: Bytes, media_type: &str) -> Self {
        Self {
            version,
            body,
            modified: None,
            etag: value(format!("\"{version}\"")),
            media_type: HeaderValue::try_from(media_type)
                .unwrap_or(HeaderValue::from_static(edgepress_site::media::UNKNOWN)),
            cache: CacheHeaders { all: HeaderValue::from_static(IMMUTABLE), cdn: None },
            tags: None,
        }
    }

    /// Bytes it takes in memory, beside its structures.
    pub(crate) fn bytes(&self) -> u64 {
        let tags = self.tags.iter().flatten().map(HeaderValue::len).sum::<usize>();
        let modified = self.modified.as_ref().map_or(0, |(_, text)| text.len());
        (self.body.len() + self.etag.len() + self.media_type.len() + tags + modified) as u64
    }

    #[cfg(test)]
    pub(crate) fn of_size(size: usize) -> Self {
        let body = Bytes::from(vec![b'x'; size]);
        Self::version(Version::of(&body), body, "text/html")
    }
}

/// Texts made of hex digits, dates and names that were checked when the definition was read.
fn value(text: String) -> HeaderValue {
    HeaderValue::from_maybe_shared(Bytes::from(text)).unwrap_or(HeaderValue::from_static("invalid"))
}

fn tags(collection: Option<&str>, path: &str) -> [HeaderValue; 2] {
    let document = document_tag(path);
    let Some(collection) = collection.map(collection_tag) else {
        return [value(document.clone()), value(document)];
    };
    [value(format!("{collection} {document}")), value(format!("{collection},{document}"))]
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: Option<&HeaderValue>) {
    if let Some(value) = value {
        headers.insert(name, value.clone());
    }
}

/// What 200 and 304 share: all that RFC 9110, 15.4.5 wants repeated, and what browsers and purges need.
fn shared(kept: &Kept, source: Source) -> HeaderMap {
    let content = &*kept.content;
    let mut headers = HeaderMap::with_capacity(16);
    let cache = if source == Source::Stale { &STALE } else { &content.cache };
    headers.insert(ETAG, content.etag.clone());
    headers.insert(CACHE_CONTROL, cache.all.clone());
    put(&mut headers, CDN_CACHE_CONTROL, cache.cdn.as_ref());
    headers.insert(VARY, ACCEPT_ENCODING);
    put(&mut headers, CACHE_STATUS, source.status().as_ref());
    if let Some([surrogate, tag]) = &content.tags {
        headers.insert(SURROGATE_KEY, surrogate.clone());
        headers.insert(CACHE_TAG, tag.clone());
        headers.insert(EDGEPRESS_RELEASE, kept.number.clone());
    }
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    headers
}

/// The document. `modified`: whether `Last-Modified` may be sent by now.
pub(crate) fn ok(kept: &Kept, source: Source, modified: bool) -> Response {
    let content = &*kept.content;
    let mut headers = shared(kept, source);
    if modified && let Some((_, text)) = &content.modified {
        headers.insert(LAST_MODIFIED, text.clone());
    }
    headers.insert(CONTENT_TYPE, content.media_type.clone());
    headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    response(StatusCode::OK, headers, content.body.clone())
}

/// The client has it already.
pub(crate) fn not_modified(kept: &Kept, source: Source) -> Response {
    response(StatusCode::NOT_MODIFIED, shared(kept, source), Bytes::new())
}

/// The site's own page for `path`, which does not exist. It can be purged by the tag that the document
/// would have, so that a new document shows at once.
pub(crate) fn not_found(page: &Content, path: &str) -> Response {
    let mut headers = HeaderMap::with_capacity(16);
    let [surrogate, tag] = tags(None, path);
    headers.insert(CONTENT_TYPE, page.media_type.clone());
    headers.insert(CACHE_CONTROL, SHORTLY);
    headers.insert(VARY, ACCEPT_ENCODING);
    put(&mut headers, CACHE_STATUS, Source::Index.status().as_ref());
    headers.insert(SURROGATE_KEY, surrogate);
    headers.insert(CACHE_TAG, tag);
    headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    response(StatusCode::NOT_FOUND, headers, page.body.clone())
}

/// What the origin says of itself: JSON that anybody may read.
pub(crate) fn json(body: Bytes, etag: &HeaderValue) -> Response {
    let mut response = of_itself(StatusCode::OK, etag, body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    response
}

/// The same, if the client has it already.
pub(crate) fn json_not_modified(etag: &HeaderValue) -> Response {
    of_itself(StatusCode::NOT_MODIFIED, etag, Bytes::new())
}

fn of_itself(status: StatusCode, etag: &HeaderValue, body: Bytes) -> Response {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(ETAG, etag.clone());
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=1"));
    put(&mut headers, CACHE_STATUS, Source::Memory.status().as_ref());
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    response(status, headers, body)
}

fn response(status: StatusCode, headers: HeaderMap, body: Bytes) -> Response {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
