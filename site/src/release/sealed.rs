//! The small mutable objects, `_edgepress/current` and the cursors, as two lines of text.
//!
//! The first line is `edgepress`, what it is, its format's number and the SHA-256 of the second line;
//! the second line is JSON. The hash tells an edit by hand or a flipped bit from what a publisher
//! wrote. Refuses to know what the JSON says.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::version::Digest;

/// The number of the format that is written; readers know all up to it.
const FORMAT: u32 = 1;

/// A small object cannot be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It is of a later format.
    #[error(
        "it is of format {0}, which this version of edgepress does not read; use the version that wrote it, or a later one"
    )]
    Later(u32),
    /// Its content is not what its hash says.
    #[error(
        "its content was altered after it was written; restore it from a copy, or remove it and publish again"
    )]
    Altered,
    /// Its content makes no sense, although it is what was written.
    #[error("its content does not make sense: {0}")]
    Nonsense(String),
}

/// The object's bytes; `kind` is one word.
///
/// # Panics
/// When `content` does not print as JSON: only for types that always do.
#[must_use]
pub fn seal(kind: &str, content: &impl Serialize) -> Vec<u8> {
    let json = serde_json::to_string(content).expect("what is sealed always prints as JSON");
    format!("edgepress {kind} {FORMAT} {}\n{json}\n", Digest::of(json.as_bytes())).into_bytes()
}

/// The content of what [`seal`] made.
///
/// # Errors
/// It was altered, or is of another kind or a later format.
pub fn open<T: DeserializeOwned>(kind: &str, bytes: &[u8]) -> Result<T, SealError> {
    let header = format!("edgepress {kind} {FORMAT} ");
    let Some(rest) = bytes.strip_prefix(header.as_bytes()) else {
        return Err(number(kind, bytes).map_or(SealError::Altered, SealError::Later));
    };
    let (hash, rest) = rest.split_at_checked(64).ok_or(SealError::Altered)?;
    let json =
        rest.strip_prefix(b"\n").and_then(|rest| rest.strip_suffix(b"\n")).ok_or(SealError::Altered)?;
    if Digest::of(json).to_string().as_bytes() != hash {
        return Err(SealError::Altered);
    }
    serde_json::from_slice(json).map_err(|error| SealError::Nonsense(error.to_string()))
}

/// The number of the format that the first line names.
fn number(kind: &str, bytes: &[u8]) -> Option<u32> {
    let known = format!("edgepress {kind} ");
    let number = bytes.strip_prefix(known.as_bytes())?.split(|byte| *byte == b' ').next()?;
    std::str::from_utf8(number).ok()?.parse().ok().filter(|number| *number > FORMAT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_and_every_flipped_bit_and_cut_is_noticed() {
        let sealed = seal("thing", &[1, 2, 3]);
        assert_eq!(open("thing", &sealed), Ok(vec![1, 2, 3]));
        for bit in 0..sealed.len() * 8 {
            let mut damaged = sealed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(open::<Vec<u32>>("thing", &damaged).is_err(), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert!(open::<Vec<u32>>("thing", &sealed[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn a_later_format_is_told_from_damage() {
        let read = |text: &str| open::<Vec<u32>>("thing", text.as_bytes());
        assert_eq!(read("edgepress thing 2 whatever"), Err(SealError::Later(2)));
        for damaged in
            ["", "something else", "edgepress thinG 1 ", "edgepress thing 0 ", "edgepress thing x "]
        {
            assert_eq!(read(damaged), Err(SealError::Altered));
        }
        assert_eq!(read("edgepress thing 1 abc"), Err(SealError::Altered));
    }
}
