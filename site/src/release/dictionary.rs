//! Dictionaries: what the bodies of a collection have in common, stored once in each pack that needs it.
//!
//! Owns training one, and reading with one. Refuses to decide which bodies are compressed with it.

use zstd::dict::{DecoderDictionary, EncoderDictionary, from_samples};

use super::codec::Malformed;
use super::pack::{Compressor, Kind, content};

/// So many bodies make a dictionary.
pub const SAMPLES: usize = 100;

/// The fewest bodies that say anything about others.
const FEWEST: usize = 8;

/// Of each body, so many bytes are looked at.
const SAMPLE: usize = 8 << 10;

/// Bytes of a dictionary. Larger ones gain next to nothing.
const SIZE: usize = 8 << 10;

/// A dictionary to compress with.
pub struct Trained {
    frame: Vec<u8>,
    encoder: EncoderDictionary<'static>,
}

impl Trained {
    /// Entropy coding costs little here, because the dictionary brings its tables.
    const LEVEL: i32 = 1;

    /// What the bodies have in common; nothing if that is not worth a dictionary.
    #[must_use]
    pub fn of<'a>(bodies: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let samples: Vec<&[u8]> = bodies.map(|body| &body[..body.len().min(SAMPLE)]).collect();
        if samples.len() < FEWEST {
            return None;
        }
        let dictionary = from_samples(&samples, SIZE).ok()?;
        let encoder = EncoderDictionary::try_copy(&dictionary, Self::LEVEL).ok()?;
        Some(Self { frame: Compressor::new().frame(Kind::Dictionary, &dictionary), encoder })
    }

    /// It as a pack has it: a whole frame.
    pub(super) fn frame(&self) -> &[u8] {
        &self.frame
    }

    pub(super) fn encoder(&self) -> &EncoderDictionary<'static> {
        &self.encoder
    }
}

/// A dictionary to read with.
pub struct Dictionary(DecoderDictionary<'static>);

impl Dictionary {
    /// The dictionary in a frame.
    ///
    /// # Errors
    /// It is not exactly one frame of that kind, or is damaged.
    pub fn of(frame: &[u8]) -> Result<Self, Malformed> {
        let dictionary = DecoderDictionary::try_copy(&content(Kind::Dictionary, frame)?);
        dictionary.map(Self).map_err(|_| Malformed("a dictionary is none"))
    }

    pub(super) fn decoder(&self) -> &DecoderDictionary<'static> {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::release::pack::{body, dictionary_of, frames};
    use crate::release::{Pack, PackWriter, Place};
    use crate::version::Digest;

    fn bodies(count: usize) -> Vec<String> {
        let page = |n: usize| {
            let (hash, again) = (Digest::of(&n.to_le_bytes()), Digest::of(&[n as u8, 7]));
            format!(
                "<!doctype html><title>Lamp {hash}</title><main class=\"lamp\">{again}</main><footer>Shop"
            )
        };
        (0..count).map(page).collect()
    }

    fn trained(bodies: &[String]) -> Option<Trained> {
        Trained::of(bodies.iter().map(String::as_bytes))
    }

    fn slice<'a>(pack: &'a [u8], place: &Place) -> &'a [u8] {
        &pack[place.offset as usize..][..place.length as usize]
    }

    #[test]
    fn bodies_come_back_from_every_pack_with_the_dictionary_in_it() {
        let bodies = bodies(SAMPLES);
        let dictionary = Arc::new(trained(&bodies).expect("they have much in common"));
        let mut writer = PackWriter::new();
        let mut compressor = Compressor::sharing(&dictionary);
        for _ in 0..2 {
            let first = writer.append_body(&Compressor::new().body(b"alone"));
            let places: Vec<Place> =
                bodies.iter().map(|body| writer.append_body(&compressor.body(body.as_bytes()))).collect();
            let (name, pack) = writer.close().expect("it is not empty");
            assert!(pack.starts_with(b"edgepack 2\n"));
            assert_eq!(frames(name, &pack).expect("a pack just written").len(), bodies.len() + 2);
            assert_eq!(dictionary_of(first.pack, slice(&pack, &first)), Ok(None));
            assert_eq!(body(slice(&pack, &first), None).as_deref(), Ok(&b"alone"[..]));
            for (place, expected) in places.iter().zip(&bodies) {
                let frame = slice(&pack, place);
                let of = dictionary_of(Pack::Named(name), frame).expect("a body").expect("it shares");
                let dictionary = Dictionary::of(slice(&pack, &of)).expect("a dictionary just written");
                assert_eq!(body(frame, Some(&dictionary)).as_deref(), Ok(expected.as_bytes()));
                assert!(body(frame, None).is_err(), "it needs its dictionary");
                assert!(frame.len() < expected.len(), "{} of {}", frame.len(), expected.len());
            }
        }
    }

    #[test]
    fn damage_and_another_dictionary_are_noticed() {
        let (ours, theirs) = (bodies(SAMPLES), (0..SAMPLES).map(|n| format!("another {n}").repeat(n + 9)));
        let ours_trained = Arc::new(trained(&ours).expect("much in common"));
        let theirs = trained(&theirs.collect::<Vec<_>>()).expect("much in common");
        let mut writer = PackWriter::new();
        let place = writer.append_body(&Compressor::sharing(&ours_trained).body(ours[0].as_bytes()));
        let (_, pack) = writer.close().expect("it is not empty");
        let frame = slice(&pack, &place);
        let dictionary = Dictionary::of(ours_trained.frame()).expect("whole");
        let other = Dictionary::of(theirs.frame()).expect("whole");
        assert!(body(frame, Some(&other)).is_err());
        for length in 0..frame.len() {
            assert!(body(&frame[..length], Some(&dictionary)).is_err());
        }
        for bit in 0..frame.len() * 8 {
            let mut damaged = frame.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let read = body(&damaged, Some(&dictionary));
            assert!(read.is_err() || read.as_deref() == Ok(ours[0].as_bytes()), "bit {bit}");
        }
        let mut damaged = ours_trained.frame().to_vec();
        *damaged.last_mut().expect("it is not empty") ^= 1;
        assert!(Dictionary::of(&damaged).is_err());
    }

    #[test]
    fn few_bodies_make_no_dictionary() {
        assert!(trained(&bodies(FEWEST - 1)).is_none());
        assert!(trained(&vec![String::new(); SAMPLES]).is_none());
    }
}
