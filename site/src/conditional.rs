//! Conditional requests: RFC 9110, section 13, for documents.
//!
//! Owns the comparison of validators and the precedence of the conditions. Refuses to answer: it only
//! says which of three answers is due. It is asked only where the answer without conditions would be
//! 200 (13.2.1), so `*` always matches.
//!
//! Precedence (13.2.2): `If-Match`, or without it `If-Unmodified-Since`; then `If-None-Match`, or
//! without it `If-Modified-Since`. A document has one strong tag for each coding, `"<version>"` and
//! `"<version>.br"`: all of them name the same version, so each of them matches.

use std::time::UNIX_EPOCH;

use crate::version::Version;

/// The methods that conditions tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET and HEAD: what the client has need not be sent again.
    GetOrHead,
    /// All others.
    Other,
}

/// The field lines of one field, in their order. Allocates only from the second line on.
#[derive(Debug, Clone, Default)]
pub struct Lines<'a> {
    first: Option<&'a [u8]>,
    others: Vec<&'a [u8]>,
}

/// The conditions of one request, as they were sent.
#[derive(Debug, Clone)]
pub struct Conditions<'a> {
    /// The request's method.
    pub method: Method,
    /// `If-Match`
    pub if_match: Lines<'a>,
    /// `If-None-Match`
    pub if_none_match: Lines<'a>,
    /// `If-Modified-Since`
    pub if_modified_since: Lines<'a>,
    /// `If-Unmodified-Since`
    pub if_unmodified_since: Lines<'a>,
}

/// The answer that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// As if there were no conditions.
    Send,
    /// 304
    NotModified,
    /// 412
    PreconditionFailed,
}

impl<'a> Lines<'a> {
    /// Whether the field was not sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    fn iter(&self) -> impl Iterator<Item = &'a [u8]> + '_ {
        self.first.into_iter().chain(self.others.iter().copied())
    }

    /// The value of a field that has one line.
    fn only(&self) -> Option<&'a [u8]> {
        self.first.filter(|_| self.others.is_empty())
    }

    /// Whether the field is `*`, which stands alone.
    fn is_any(&self) -> bool {
        self.only().is_some_and(|line| trim(line) == b"*")
    }
}

impl<'a> FromIterator<&'a [u8]> for Lines<'a> {
    fn from_iter<I: IntoIterator<Item = &'a [u8]>>(lines: I) -> Self {
        let mut lines = lines.into_iter();
        Self { first: lines.next(), others: lines.collect() }
    }
}

impl Conditions<'_> {
    /// No conditions.
    #[must_use]
    pub fn none(method: Method) -> Self {
        let [if_match, if_none_match, if_modified_since, if_unmodified_since] = Default::default();
        Self { method, if_match, if_none_match, if_modified_since, if_unmodified_since }
    }
}

/// The answer due to a request for a document that is now `version` and was last modified at
/// `last_modified` (in seconds since 1970; `None` where the answer carries no `Last-Modified`).
#[must_use]
pub fn evaluate(conditions: &Conditions<'_>, version: &Version, last_modified: Option<u64>) -> Outcome {
    let Conditions { method, if_match, if_none_match, if_modified_since, if_unmodified_since } = conditions;
    if !if_match.is_empty() {
        if !if_match.is_any() && !names(if_match, version, Comparison::Strong) {
            return Outcome::PreconditionFailed;
        }
    } else if let Some((modified, since)) = last_modified.zip(date(if_unmodified_since))
        && modified > since
    {
        return Outcome::PreconditionFailed;
    }
    if !if_none_match.is_empty() {
        if !if_none_match.is_any() && !names(if_none_match, version, Comparison::Weak) {
            return Outcome::Send;
        }
        return match method {
            Method::GetOrHead => Outcome::NotModified,
            Method::Other => Outcome::PreconditionFailed,
        };
    }
    match (method, last_modified.zip(date(if_modified_since))) {
        (Method::GetOrHead, Some((modified, since))) if modified <= since => Outcome::NotModified,
        _ => Outcome::Send,
    }
}

/// How tags are compared (8.8.3.2).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    /// A weak tag equals none.
    Strong,
    /// `W/` does not matter.
    Weak,
}

/// Whether one of the listed tags names `version`.
fn names(lines: &Lines<'_>, version: &Version, comparison: Comparison) -> bool {
    let mut tags = lines.iter().flat_map(|line| Tags { rest: line });
    tags.any(|tag| (comparison == Comparison::Weak || !tag.weak) && is_form_of(tag.opaque, version))
}

/// Whether the text between a tag's quotes is the version, or the version, a dot and a coding.
fn is_form_of(opaque: &[u8], version: &Version) -> bool {
    let Some((hex, suffix)) = opaque.split_at_checked(32) else { return false };
    let own = version.0.iter().zip(hex.chunks_exact(2)).all(|(byte, pair)| {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        pair == [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
    });
    own && match suffix.split_first() {
        None => true,
        Some((dot, coding)) => {
            *dot == b'.' && !coding.is_empty() && coding.iter().all(u8::is_ascii_alphanumeric)
        }
    }
}

/// One entity tag of a list.
struct Tag<'a> {
    weak: bool,
    opaque: &'a [u8],
}

/// The well-formed tags of one field line; whatever else stands between commas is passed over.
struct Tags<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Tags<'a> {
    type Item = Tag<'a>;

    fn next(&mut self) -> Option<Tag<'a>> {
        while !self.rest.is_empty() {
            if let Some(tag) = self.member() {
                return Some(tag);
            }
        }
        None
    }
}

impl<'a> Tags<'a> {
    /// Takes one member of the list and the comma after it.
    fn member(&mut self) -> Option<Tag<'a>> {
        let start = trim_start(self.rest);
        match well_formed(start) {
            Some((tag, after)) => {
                self.skip_to_comma(after);
                Some(tag)
            }
            None => {
                self.skip_to_comma(start);
                None
            }
        }
    }

    fn skip_to_comma(&mut self, from: &'a [u8]) {
        let comma = from.iter().position(|byte| *byte == b',');
        self.rest = comma.map_or(&[], |comma| &from[comma + 1..]);
    }
}

/// The tag that `text` starts with, if it is whole and a comma or nothing follows it, and what follows.
fn well_formed(text: &[u8]) -> Option<(Tag<'_>, &[u8])> {
    let (weak, quoted) = match text.strip_prefix(b"W/") {
        Some(quoted) => (true, quoted),
        None => (false, text),
    };
    let inside = quoted.strip_prefix(b"\"")?;
    let (opaque, after) = inside.split_at(inside.iter().position(|byte| *byte == b'"')?);
    let after = trim_start(&after[1..]);
    let plain = opaque.iter().all(|byte| matches!(byte, 0x21..=0x7e | 0x80..));
    (plain && matches!(after.first(), None | Some(b','))).then_some((Tag { weak, opaque }, after))
}

fn trim_start(mut text: &[u8]) -> &[u8] {
    while let Some((b' ' | b'\t', rest)) = text.split_first() {
        text = rest;
    }
    text
}

fn trim(text: &[u8]) -> &[u8] {
    let mut text = trim_start(text);
    while let Some((b' ' | b'\t', rest)) = text.split_last() {
        text = rest;
    }
    text
}

/// The date of a field that has one, in any of HTTP's three forms; an invalid one is ignored.
fn date(lines: &Lines<'_>) -> Option<u64> {
    let text = std::str::from_utf8(trim(lines.only()?)).ok()?;
    let date = httpdate::parse_http_date(text).ok()?;
    date.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

#[cfg(test)]
mod tests;
