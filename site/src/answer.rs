//! What answers say of documents beyond their cache policy: purge tags and modification times.
//!
//! Owns the form of both, so that what an origin writes is what a purge names. Refuses to know the time.

use std::time::{Duration, SystemTime};

use crate::version::Digest;

/// `Cache-Control` of one version of a document: its bytes never change (RFC 8246).
pub const IMMUTABLE: &str = "max-age=31536000, immutable";

/// The longest purge tag that every CDN takes.
const MAX_TAG: usize = 64;

/// The purge tag of all documents of a collection.
#[must_use]
pub fn collection_tag(name: &str) -> String {
    let tag = format!("c-{name}");
    if tag.len() > MAX_TAG { hashed("c-", name) } else { tag }
}

/// The purge tag of one document.
#[must_use]
pub fn document_tag(path: &str) -> String {
    hashed("d-", path)
}

fn hashed(prefix: &str, text: &str) -> String {
    let hash = Digest::of(text.as_bytes()).to_string();
    format!("{prefix}{}", &hash[..16])
}

/// A document's `Last-Modified`: the second after both `floor` and `changed`, which are in milliseconds
/// since 1970. To be sent only from then on: a body that changed again within its second would share
/// the time, and an old `If-Modified-Since` would keep the wrong body.
#[must_use]
pub fn last_modified(floor: u64, changed: u64) -> SystemTime {
    // Beyond the year 9999 HTTP has no form for a time; such a time is never reached, so never sent.
    const LAST: u64 = 253_402_300_799;
    let seconds = floor.max(changed) / 1000 + 1;
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.min(LAST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_have_the_form_that_every_cdn_takes() {
        let long = "a".repeat(64);
        for tag in [
            collection_tag("product"),
            collection_tag("a_b-c"),
            collection_tag(&long),
            document_tag("/é b.html"),
        ] {
            let (first, rest) = tag.split_at(1);
            assert!(first.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()), "{tag}");
            assert!(rest.len() < 64, "{tag}");
            let fits =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
            assert!(rest.bytes().all(fits), "{tag}");
        }
        assert_eq!(collection_tag("product"), "c-product");
        assert_eq!(document_tag("abc"), "d-ba7816bf8f01cfea");
    }

    #[test]
    fn last_modified_is_the_second_after_the_change_and_never_before_the_floor() {
        let seconds =
            |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
        for (floor, changed, expected) in [
            (0, 0, 1),
            (0, 999, 1),
            (0, 1000, 2),
            (0, 1001, 2),
            (5500, 1001, 6),
            (u64::MAX, 0, 253_402_300_799),
        ] {
            assert_eq!(seconds(last_modified(floor, changed)), expected, "{floor} {changed}");
        }
    }
}
