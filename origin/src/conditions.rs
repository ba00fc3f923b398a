//! The conditions of a request, handed to the rules in [`edgepress_site::conditional`].
//!
//! Refuses to have rules of its own, but for the one tag that is no document's: a release's root.

use std::time::{SystemTime, UNIX_EPOCH};

use edgepress_site::conditional::{Conditions, Lines, Method, Outcome, evaluate};
use edgepress_site::version::Version;
use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
use http::{HeaderMap, HeaderName, HeaderValue};

/// What a GET or HEAD with these headers is due. `modified`: the `Last-Modified` that is sent with it.
pub(crate) fn of_document(headers: &HeaderMap, version: &Version, modified: Option<SystemTime>) -> Outcome {
    let lines =
        |name: HeaderName| headers.get_all(name).iter().map(HeaderValue::as_bytes).collect::<Lines<'_>>();
    let conditions = Conditions {
        method: Method::GetOrHead,
        if_match: lines(IF_MATCH),
        if_none_match: lines(IF_NONE_MATCH),
        if_modified_since: lines(IF_MODIFIED_SINCE),
        if_unmodified_since: lines(IF_UNMODIFIED_SINCE),
    };
    let seconds = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map(|since| since.as_secs());
    evaluate(&conditions, version, seconds)
}

/// Whether the client has what `etag`, a tag without commas, names.
pub(crate) fn has(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let lines = headers.get_all(IF_NONE_MATCH).iter();
    let mut tags = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    tags.any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == etag.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_known_by_its_root_in_any_list() {
        let etag = HeaderValue::from_static("\"ab\"");
        for (sent, expected) in [
            ("\"ab\"", true),
            ("W/\"ab\"", true),
            ("\"cd\" ,\"ab\"", true),
            ("*", true),
            ("ab", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::from_static(sent))]);
            assert_eq!(has(&headers, &etag), expected, "{sent}");
        }
    }
}
