//! Content hashes and the versions of documents. Refuses to know what is hashed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// A SHA-256 hash: names packs, index nodes and release roots.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

/// A document's version: the SHA-256 of its body cut to 128 bits. Same bytes, same version; it is the ETag.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub [u8; 16]);

impl Digest {
    /// The hash of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The hash of several parts, as if they were one.
    #[must_use]
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }
}

impl Version {
    /// The version of a document whose body is `body`.
    #[must_use]
    pub fn of(body: &[u8]) -> Self {
        let Digest(hash) = Digest::of(body);
        let mut version = [0; 16];
        version.copy_from_slice(&hash[..16]);
        Self(version)
    }
}

/// The text is not the lower-case hex of a hash of this length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a hash: expected {0} lower-case hex digits")]
pub struct NotAHash(usize);

fn parse<const N: usize>(text: &str) -> Result<[u8; N], NotAHash> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        _ => Err(NotAHash(N * 2)),
    };
    let text = text.as_bytes();
    if text.len() != N * 2 {
        return Err(NotAHash(N * 2));
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Ok(bytes)
}

fn write(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 64];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    f.pad(std::str::from_utf8(&text[..bytes.len() * 2]).expect("hex digits are ASCII"))
}

macro_rules! hex_text {
    ($($kind:ident),*) => {$(
        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write(&self.0, f)
            }
        }
        impl fmt::Debug for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write(&self.0, f)
            }
        }
        impl FromStr for $kind {
            type Err = NotAHash;
            fn from_str(text: &str) -> Result<Self, NotAHash> {
                parse(text).map(Self)
            }
        }
        impl Serialize for $kind {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
hex_text!(Digest, Version);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_the_first_half_of_the_sha_256_in_lower_case_hex() {
        assert_eq!(Version::of(b"abc").to_string(), "ba7816bf8f01cfea414140de5dae2223");
        assert_eq!(
            Digest::of(b"abc").to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(Digest::of_parts(&[b"a", b"bc"]), Digest::of(b"abc"));
    }

    #[test]
    fn text_that_is_not_exactly_a_hash_is_refused() {
        for text in [
            "",
            "ba7816bf8f01cfea414140de5dae222",
            "BA7816BF8F01CFEA414140DE5DAE2223",
            "ba7816bf8f01cfea414140de5dae222\u{e9}",
        ] {
            assert!(text.parse::<Version>().is_err(), "{text:?}");
        }
        assert_eq!("ba7816bf8f01cfea414140de5dae2223".parse(), Ok(Version::of(b"abc")));
    }
}
