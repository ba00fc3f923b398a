//! Paths of documents, and what a request's path asks for.
//!
//! Owns which paths a document may have, how they are encoded on the wire and how a request's path is
//! decoded: once, strictly, to the one spelling under which documents are kept. Refuses to know which
//! documents exist and who owns a path.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use unicode_normalization::{UnicodeNormalization as _, is_nfc};

use crate::version::Version;

/// The longest path of a document, in bytes of UTF-8.
pub const MAX_PATH: usize = 900;
/// The longest segment of such a path.
pub const MAX_SEGMENT: usize = 200;
/// The longest path a request may carry, still encoded.
pub const MAX_REQUEST: usize = 4096;

/// The first segments that no document may have.
const RESERVED: [&str; 2] = ["_edgepress", "_v"];
/// What a request for a folder is answered by.
const INDEX: &str = "index.html";

/// What is encoded on the wire: all but the characters RFC 3986 allows in a path. `'` and `+` are
/// encoded too: the one ends attributes, the other is a space to some object stores.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// A decoded path as it stands in links and request lines: percent-encoded once.
#[must_use]
pub fn encode(path: &str) -> String {
    utf8_percent_encode(path, ENCODED).to_string()
}

/// The absolute path of a document: decoded, in NFC, naming a file and nothing reserved.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocPath(Arc<str>);

/// What is wrong with a path. The messages go on from "the path `...`: ".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// No leading slash.
    #[error("it must start with `/`")]
    NotAbsolute,
    /// A trailing slash.
    #[error("it ends with `/`, but must name a file, such as `/x/index.html`")]
    Folder,
    /// Two slashes in a row.
    #[error("it has two `/` in a row")]
    EmptySegment,
    /// `.` or `..`
    #[error("it has a segment `.` or `..`")]
    DotSegment,
    /// A segment beyond [`MAX_SEGMENT`].
    #[error("one of its segments has {0} bytes, and {MAX_SEGMENT} are the most")]
    LongSegment(usize),
    /// A path beyond [`MAX_PATH`].
    #[error("it has {0} bytes, and {MAX_PATH} are the most")]
    Long(usize),
    /// A request's path beyond [`MAX_REQUEST`].
    #[error("it has {0} bytes as sent, and {MAX_REQUEST} are the most")]
    LongRequest(usize),
    /// A control character, NUL among them.
    #[error("it has the control character U+{:04X}", u32::from(*.0))]
    Control(char),
    /// A backslash.
    #[error("it has a backslash; segments are separated by `/`")]
    Backslash,
    /// Another spelling of the same text exists.
    #[error("it is not in Unicode's normal form NFC; store the text normalised")]
    NotNfc,
    /// Under `/_edgepress` or `/_v`.
    #[error("`/_edgepress` and `/_v` are reserved; choose another first segment")]
    Reserved,
    /// `%` without two hex digits.
    #[error("it has a `%` that two hex digits do not follow")]
    BadEscape,
    /// `%2F` or `%5C`.
    #[error("it has an encoded slash or backslash")]
    EncodedSlash,
    /// Escapes that are not UTF-8.
    #[error("it is not UTF-8 when decoded")]
    NotUtf8,
    /// `/_v/` without a version and a path.
    #[error("`/_v/` must be followed by a version (32 lower-case hex digits) and a document's path")]
    NoVersion,
}

/// What a request's path asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestPath {
    /// A document.
    Document(DocPath),
    /// `/_v/<version>/<path>`: one version of a document.
    Versioned(Version, DocPath),
    /// `/_edgepress/<rest>`: the rest, decoded, without a leading slash; empty for `/_edgepress`.
    Reserved(String),
}

impl DocPath {
    /// Checks `text`, which is decoded and must already be in NFC.
    ///
    /// # Errors
    /// When no document may have this path.
    pub fn new(text: &str) -> Result<Self, PathError> {
        check(text)?;
        Ok(Self(Arc::from(text)))
    }

    /// The decoded path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its key in a bucket: the path without the leading slash.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.0[1..]
    }

    /// The path as it stands in links and request lines, percent-encoded once.
    #[must_use]
    pub fn encode(&self) -> String {
        encode(&self.0)
    }

    /// Whether `other` lies in a folder of this name: the two cannot both be files in a directory.
    #[must_use]
    pub fn is_folder_of(&self, other: &Self) -> bool {
        other.0.strip_prefix(&*self.0).is_some_and(|rest| rest.starts_with('/'))
    }
}

/// Reads the path part of a request's target, without its query.
///
/// Escapes are decoded exactly once, the text is brought to NFC, and a folder becomes its
/// `index.html`. Characters that a client left unencoded are taken as they are.
///
/// # Errors
/// When no document can be meant: malformed or hidden characters, dot segments, too long.
pub fn request_path(raw: &str) -> Result<RequestPath, PathError> {
    if raw.len() > MAX_REQUEST {
        return Err(PathError::LongRequest(raw.len()));
    }
    let path = normalised(decoded(raw)?);
    let Some(relative) = path.strip_prefix('/') else { return Err(PathError::NotAbsolute) };
    match relative.split_once('/').unwrap_or((relative, "")) {
        ("_edgepress", rest) => {
            // A trailing slash is kept: the endpoints have no folders, so it names nothing.
            rest.strip_suffix('/')
                .unwrap_or(rest)
                .split('/')
                .try_for_each(|segment| if rest.is_empty() { Ok(()) } else { check_segment(segment) })?;
            Ok(RequestPath::Reserved(rest.to_owned()))
        }
        ("_v", rest) => {
            let Some((version, _)) = rest.split_once('/') else { return Err(PathError::NoVersion) };
            let document = document(&rest[version.len()..])?;
            let version = version.parse().map_err(|_| PathError::NoVersion)?;
            Ok(RequestPath::Versioned(version, document))
        }
        _ => document(&path).map(RequestPath::Document),
    }
}

/// The document that a decoded path asks for.
fn document(path: &str) -> Result<DocPath, PathError> {
    if path.ends_with('/') { DocPath::new(&[path, INDEX].concat()) } else { DocPath::new(path) }
}

fn decoded(raw: &str) -> Result<Cow<'_, str>, PathError> {
    let Some(first) = raw.find('%') else { return Ok(Cow::Borrowed(raw)) };
    let mut bytes = Vec::with_capacity(raw.len());
    bytes.extend_from_slice(&raw.as_bytes()[..first]);
    let mut rest = &raw.as_bytes()[first..];
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (&[high, low], after) = rest.split_first_chunk().ok_or(PathError::BadEscape)?;
        let byte = hex(high)? << 4 | hex(low)?;
        if matches!(byte, b'/' | b'\\') {
            return Err(PathError::EncodedSlash);
        }
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| PathError::NotUtf8)
}

fn hex(digit: u8) -> Result<u8, PathError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(PathError::BadEscape),
    }
}

fn normalised(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.is_ascii() || is_nfc(&text) { text } else { Cow::Owned(text.nfc().collect()) }
}

fn check(path: &str) -> Result<(), PathError> {
    let Some(relative) = path.strip_prefix('/') else { return Err(PathError::NotAbsolute) };
    if path.len() > MAX_PATH {
        return Err(PathError::Long(path.len()));
    }
    if path.ends_with('/') {
        return Err(PathError::Folder);
    }
    relative.split('/').try_for_each(check_segment)?;
    let first = relative.split('/').next().unwrap_or_default();
    if RESERVED.contains(&first) {
        return Err(PathError::Reserved);
    }
    if path.is_ascii() || is_nfc(path) { Ok(()) } else { Err(PathError::NotNfc) }
}

fn check_segment(segment: &str) -> Result<(), PathError> {
    match segment {
        "" => return Err(PathError::EmptySegment),
        "." | ".." => return Err(PathError::DotSegment),
        _ if segment.len() > MAX_SEGMENT => return Err(PathError::LongSegment(segment.len())),
        _ => {}
    }
    match segment.chars().find(|c| c.is_control() || *c == '\\') {
        None => Ok(()),
        Some('\\') => Err(PathError::Backslash),
        Some(control) => Err(PathError::Control(control)),
    }
}

impl fmt::Display for DocPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for DocPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl AsRef<str> for DocPath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Hashes, compares and orders as its text does, so maps can be asked with a `&str`.
impl Borrow<str> for DocPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for DocPath {
    type Err = PathError;
    fn from_str(text: &str) -> Result<Self, PathError> {
        Self::new(text)
    }
}

impl Serialize for DocPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for DocPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <Cow<'_, str>>::deserialize(deserializer)?;
        Self::new(&text).map_err(|error| serde::de::Error::custom(format_args!("the path `{text}`: {error}")))
    }
}

#[cfg(test)]
mod tests;
