//! Stored objects out of foreign bytes.

use std::sync::{Arc, LazyLock};

use crate::release::codec::Reader;
use crate::release::definition::ReleaseDefinition;
use crate::release::dictionary::{Dictionary, Trained};
use crate::release::pack::{Compressor, FRAME_HEADER, HEADER, body, content, dictionary_of, frames};
use crate::release::{Current, Cursor, Index, Kind, Malformed, Node, Pack, PackWriter, Record};
use crate::version::Digest;

/// The pack that foreign bytes are said to come from.
const THIS: Digest = Digest([1; 32]);

/// All kinds of frames.
const KINDS: [Kind; 6] =
    [Kind::Body, Kind::Node, Kind::Index, Kind::Definition, Kind::Record, Kind::Dictionary];

/// A whole pack, one frame, and the content of one frame of each kind: whatever is accepted comes back
/// as it was.
///
/// # Panics
/// When it does not.
pub fn fuzz_pack(data: &[u8]) {
    if let Ok(found) = frames(THIS, data) {
        let bytes: usize = found.iter().map(|(_, _, frame)| frame.len()).sum();
        assert_eq!(HEADER.len() + bytes, data.len(), "frames fill a pack without gaps");
        for (place, kind, frame) in found {
            assert_eq!(place.length as usize, frame.len());
            for known in KINDS.into_iter().filter(|known| *known as u8 == kind) {
                if let Ok(content) = content(known, frame) {
                    of_kind(known, &content);
                }
            }
        }
    }
    for kind in KINDS {
        let _ = content(kind, data);
    }
    let (_, dictionary) = (dictionary_of(Pack::Named(THIS), data), Dictionary::of(data));
    let _ = body(data, dictionary.as_ref().ok());
    of_dictionary(data);
    let Some((kind, inner)) = data.split_first() else { return };
    let kind = KINDS[usize::from(*kind) % KINDS.len()];
    of_kind(kind, inner);
    let frame = Compressor::new().frame(kind, inner);
    assert!(frame.len() > FRAME_HEADER);
    assert_eq!(content(kind, &frame).as_deref(), Ok(inner), "what was framed comes back");
}

/// Some dictionary.
static TRAINED: LazyLock<Arc<Trained>> = LazyLock::new(|| {
    let bodies = (0..100).map(|n| format!("body {n} is like others, but {}", Digest::of(&[n])));
    let bodies: Vec<String> = bodies.collect();
    let trained = Trained::of(bodies.iter().map(String::as_bytes));
    Arc::new(trained.expect("they have much in common"))
});

/// A body's frame around foreign bytes, read with a dictionary.
fn of_dictionary(data: &[u8]) {
    let mut writer = PackWriter::new();
    writer.append_body(&Compressor::sharing(&TRAINED).body(data));
    let (name, pack) = writer.close().expect("it is not empty");
    let found = frames(name, &pack).expect("a pack just written");
    let dictionary = Dictionary::of(found[0].2).expect("just written");
    assert_eq!(dictionary_of(Pack::Named(name), found[1].2), Ok(Some(found[0].0)));
    assert_eq!(body(found[1].2, Some(&dictionary)).as_deref(), Ok(data), "what was packed comes back");
    let foreign = [&found[1].2[..FRAME_HEADER], data].concat();
    let _ = (body(&foreign, Some(&dictionary)), dictionary_of(Pack::Named(name), &foreign));
}

/// Reads content of a kind, by whatever hash it has.
fn of_kind(kind: Kind, content: &[u8]) {
    match kind {
        Kind::Body | Kind::Dictionary | Kind::SharedBody => {}
        Kind::Node => drop(node(content)),
        Kind::Index => drop(index(content)),
        Kind::Definition => {
            if let Ok(definition) = ReleaseDefinition::decode(content, Digest::of(content)) {
                let (hash, again) = definition.encode();
                assert_eq!(ReleaseDefinition::decode(&again, hash), Ok(definition));
            }
        }
        Kind::Record => {
            if let Ok(record) = Record::decode(content, THIS) {
                assert_eq!(Record::decode(&record.encode(), THIS), Ok(record));
            }
        }
    }
}

/// A node, and that it comes back.
fn node(content: &[u8]) -> Result<Node, Malformed> {
    let mut reader = Reader::new(content);
    let hashed = reader.bytes()?;
    let node = Node::decode_parts(hashed, reader, THIS)?;
    let _ = (node.check_shape(), node.documents(), node.find("/"), node.find(node.last()));
    if let Node::Leaf(entries) = &node {
        assert!(entries.is_sorted_by(|a, b| a.path < b.path), "paths ascend");
    }
    let (hashed, beside) = (node.hashed(), node.beside(&PackWriter::new()));
    let again = Node::decode_parts(&hashed, Reader::new(&beside), Digest([2; 32]));
    assert_eq!(again.as_ref(), Ok(&node), "a node comes back");
    Ok(node)
}

/// An index, and that it comes back.
fn index(content: &[u8]) -> Result<Index, Malformed> {
    let hashed = Reader::new(content).bytes()?;
    let root = Digest::of_parts(&[b"edgepress index 1\n", hashed]);
    let index = Index::decode(content, THIS, root)?;
    let _ = index.documents();
    let again = Index::decode(&index.encode(&PackWriter::new()), Digest([2; 32]), root);
    assert_eq!(again.as_ref(), Ok(&index), "an index comes back");
    Ok(index)
}

/// `current`, a record and a cursor: as they are, and under the hash that they would have.
///
/// # Panics
/// When what is accepted does not come back, or a record does not lead back to earlier ones.
pub fn fuzz_current(data: &[u8]) {
    let _ = (Current::decode(data), Cursor::decode(data), Record::decode(data, THIS));
    let sealed = |kind: &str| {
        let header = format!("edgepress {kind} 1 {}\n", Digest::of(data));
        [header.as_bytes(), data, b"\n"].concat()
    };
    if let Ok(cursor) = Cursor::decode(&sealed("cursor")) {
        assert_eq!(Cursor::decode(&cursor.encode()), Ok(cursor));
    }
    let Ok(current) = Current::decode(&sealed("current")) else { return };
    assert_eq!(Current::decode(&current.encode()).as_ref(), Ok(&current), "current comes back");
    for record in &current.records {
        assert_eq!(Record::decode(&record.encode(), THIS).map(|record| record.number), Ok(record.number));
        let next = record.skips_of_next();
        assert_eq!(next.first().map(|skip| skip.number), Some(record.number));
        for number in [0, 1, record.parent, record.number, u64::MAX] {
            assert!(record.toward(number).is_none_or(|skip| skip.number < record.number));
        }
    }
}
