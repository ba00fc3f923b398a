//! Trees out of foreign bytes: in edits that the fuzzer chose, and out of nodes that it made up.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::memory::{Edits, Memory, Writer, entry};
use crate::release::codec::Reader;
use crate::release::diff::Entries;
use crate::release::node::{self, MAX_LEVEL};
use crate::release::{Child, Diff, Kind, Malformed, Node, Sink as _};
use crate::version::Digest;

/// Paths that edits fall on: half of them end a leaf, so that small trees are high.
const PATHS: u32 = 128;

/// At most so many edits and made-up nodes: enough for every shape, and quick.
const MOST: usize = 120;

/// Reads the first byte's choice: parts of a node, edits, or made-up nodes.
///
/// # Panics
/// When the root depends on anything but the content, or a difference is not exactly what differs.
pub fn fuzz_tree(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else { return };
    match choice % 3 {
        0 => parts(data),
        1 => edits(data),
        _ => drop(made_up(data)),
    }
}

/// Both parts of a node, apart.
fn parts(data: &[u8]) {
    let mut reader = Reader::new(data);
    if let Ok(hashed) = reader.bytes() {
        let _ = Node::decode_parts(hashed, reader, Digest([1; 32]));
    }
}

/// All paths; odd ones end a leaf.
static ALL: LazyLock<Vec<String>> = LazyLock::new(|| {
    let find = |number: u32| {
        let folder = ["a", "b", "ab"][number as usize % 3];
        let mut all = (0..).map(|attempt| format!("/{folder}/{number}-{attempt}.html"));
        let found = all.find(|path| (node::level(path) > 0) == (number % 2 == 1));
        found.expect("one path in 32 ends a leaf")
    };
    (0..PATHS).map(find).collect()
});

/// The n-th path.
fn path(number: u32) -> String {
    ALL[(number % PATHS) as usize].clone()
}

/// Edits in two batchings, and the differences between all the releases that they made.
fn edits(data: &[u8]) {
    let (mut memory, mut model) = (Memory::default(), BTreeMap::<String, u32>::new());
    let mut states = vec![(model.clone(), None)];
    let mut batch = Edits::new();
    let mut apply = |batch: &mut Edits, model: &BTreeMap<String, u32>, states: &mut Vec<_>| {
        let (_, old): &(_, Option<Child>) = states.last().expect("one at least");
        let (root, _) = memory.apply(old.as_ref(), batch).expect("memory does not fail");
        batch.clear();
        states.push((model.clone(), root));
    };
    for edit in data.chunks_exact(2).take(MOST) {
        let path = path(u32::from(edit[0]) % PATHS);
        let value = (edit[1] & 3 > 0).then_some(u32::from(edit[1] >> 3));
        match value {
            Some(value) => model.insert(path.clone(), value),
            None => model.remove(&path),
        };
        batch.insert(path, value);
        if edit[1] & 4 > 0 {
            apply(&mut batch, &model, &mut states);
        }
    }
    apply(&mut batch, &model, &mut states);
    let whole: Edits = model.iter().map(|(path, value)| (path.clone(), Some(*value))).collect();
    let (fresh, _) = memory.apply(None, &whole).expect("memory does not fail");
    let (_, last) = states.last().expect("one at least");
    assert_eq!(Memory::index(last.as_ref()).root(), Memory::index(fresh.as_ref()).root());
    let listed = Entries::new(last.as_ref(), &memory).map(|entry| entry.map(|entry| entry.path.to_string()));
    assert!(listed.map(|path| path.expect("readable")).eq(model.keys().cloned()), "all documents are listed");
    for pair in states.windows(2).chain([&[states[0].clone(), (model.clone(), last.clone())][..]]) {
        compare(&memory, &pair[0], &pair[1]);
    }
}

type State = (BTreeMap<String, u32>, Option<Child>);

/// The difference of two trees against the difference of their models.
fn compare(memory: &Memory, (old, old_root): &State, (new, new_root): &State) {
    let diff = Diff::new(&Memory::index(old_root.as_ref()), &Memory::index(new_root.as_ref()), memory);
    let found = diff.map(|change| {
        let change = change.expect("readable");
        (change.path().to_string(), change.old.is_some(), change.new.is_some())
    });
    let paths: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let differing = paths.into_iter().filter(|path| old.get(*path) != new.get(*path));
    let expected = differing.map(|path| (path.clone(), old.contains_key(path), new.contains_key(path)));
    assert!(found.eq(expected), "the difference is exactly what differs");
}

/// A tree of nodes that no publisher would write, under right hashes: whatever is done with it must
/// end, in an error or not.
fn made_up(data: &[u8]) -> Result<(), Malformed> {
    let mut memory = Memory::default();
    let mut children: Vec<Child> = Vec::new();
    let mut batch = Edits::new();
    for bytes in data.chunks_exact(4).take(MOST) {
        let (at, level) = (u32::from(bytes[1]) % PATHS, bytes[2] % (MAX_LEVEL + 1));
        match bytes[0] % 4 {
            0 => drop(batch.insert(path(at), (bytes[3] > 99).then_some(u32::from(bytes[3])))),
            1 => {
                let paths: std::collections::BTreeSet<_> =
                    (at..=at + u32::from(bytes[3]) % 5).map(path).collect();
                let leaf = Node::Leaf(paths.iter().map(|path| entry(path, 7)).collect());
                children.push(store(&mut memory, &leaf)?);
            }
            2 => {
                let from = children.len().saturating_sub(usize::from(bytes[3]) % 6 + 1);
                let of_level = children.split_off(from).into_iter().map(|child| Child { level, ..child });
                let mut inner: Vec<Child> = of_level.collect();
                inner.sort_by(|a, b| a.last.cmp(&b.last));
                inner.dedup_by(|a, b| a.last == b.last);
                if level < MAX_LEVEL && !inner.is_empty() {
                    children.push(store(&mut memory, &Node::Inner(inner))?);
                }
            }
            _ => {
                let Some(child) = children.last_mut() else { continue };
                child.documents = [0, 1, u64::MAX, child.documents][usize::from(bytes[3]) % 4];
            }
        }
    }
    let roots = [children.first(), children.last()];
    let (old, new) = (Memory::index(roots[0]), Memory::index(roots[1]));
    let _ = (old.documents(), new.documents());
    for change in Diff::new(&old, &new, &memory).take(10 * MOST) {
        change?;
    }
    for root in roots {
        memory.apply(root, &batch)?;
    }
    Ok(())
}

/// Stores a node as a pack of its own.
fn store(memory: &mut Memory, node: &Node) -> Result<Child, Malformed> {
    let mut writer = Writer::new(memory);
    let hashed = node.hashed();
    let place = writer.append(Kind::Node, &|writer| Node::encode(&hashed, &node.beside(writer)))?;
    writer.close();
    Ok(Child {
        level: node.level(),
        last: node.last().into(),
        hash: node::hash(&hashed),
        documents: node.documents(),
        place: writer.writer.stored(place)?,
    })
}
