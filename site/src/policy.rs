//! How long browsers and CDNs may keep a document, and the headers that say so.

use serde::{Deserialize, Serialize};

use crate::version::Digest;

/// A document's cache policy, from `cache = { browser, cdn, stale }`. All times in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Policy {
    /// How long a browser may use it without asking.
    pub browser: u32,
    /// How long a CDN may.
    pub cdn: u32,
    /// How long after that a CDN may serve it while it fetches a new one, or while the origin fails
    /// (RFC 5861).
    pub stale: u32,
}

impl Default for Policy {
    /// `{ browser = "0s", cdn = "1d", stale = "1h" }`
    fn default() -> Self {
        Self { browser: 0, cdn: 86_400, stale: 3_600 }
    }
}

/// Cut to 128 bits, the digest of a policy stands for it in the release index.
pub type PolicyDigest = [u8; 16];

impl Policy {
    /// Names the policy in the release index: part of the hashed content, so a changed policy is a
    /// changed document.
    #[must_use]
    pub fn digest(&self) -> PolicyDigest {
        let text = format!("policy 1 {} {} {}", self.browser, self.cdn, self.stale);
        let mut digest = [0; 16];
        digest.copy_from_slice(&Digest::of(text.as_bytes()).0[..16]);
        digest
    }

    /// `Cache-Control`, for browsers and whoever does not know `CDN-Cache-Control`.
    #[must_use]
    pub fn cache_control(&self) -> String {
        match self.browser {
            0 => "max-age=0, must-revalidate".to_owned(),
            seconds => format!("max-age={seconds}"),
        }
    }

    /// `CDN-Cache-Control` (RFC 9213).
    #[must_use]
    pub fn cdn_cache_control(&self) -> String {
        let Self { cdn, stale, .. } = self;
        format!("max-age={cdn}, stale-while-revalidate={stale}, stale-if-error={stale}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_policy_has_another_digest() {
        let policy = Policy::default();
        assert_eq!(policy.digest(), Policy { browser: 0, cdn: 86_400, stale: 3_600 }.digest());
        assert_ne!(policy.digest(), Policy { browser: 1, ..policy }.digest());
        assert_ne!(policy.digest(), Policy { stale: 1, ..policy }.digest());
    }
}
