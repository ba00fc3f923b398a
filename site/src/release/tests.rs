//! Properties of the tree, the difference and the chain of records, over packs in memory.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::diff::Entries;
use super::node::{self, Found};
use super::pack::{StoredPlace, content, frames};
use super::record::Counts;
use super::*;
use crate::testing::memory::{Memory, entry};
use crate::version::Digest;

/// Checks every node's shape below `child`.
fn check(memory: &Memory, child: &Child, is_root: bool) {
    let node = memory.load(child).expect("what was written can be read");
    node.check_shape().expect("nodes end where their paths say");
    if let Node::Inner(children) = &*node {
        assert!(!is_root || children.len() > 1, "no tree begins with a node of one child");
        children.iter().for_each(|child| check(memory, child, false));
    }
}

type Model = BTreeMap<String, u32>;

/// Paths from a small space, so that edits meet; half of them close a leaf, so that small trees are
/// high.
fn paths() -> Vec<String> {
    let all = |number: u32| format!("/{}/{number}.html", ["a", "b", "product", "x-y"][number as usize % 4]);
    let closing = (0..20_000).map(all).filter(|path| node::level(path) > 0).take(60);
    (0..60).map(|number| all(number * 1000 + 7)).chain(closing).collect()
}

fn batches() -> impl Strategy<Value = Vec<BTreeMap<String, Option<u32>>>> {
    let paths = paths();
    let one = (0..paths.len(), proptest::option::weighted(0.7, 0u32..20));
    let edit = one.prop_map(move |(path, value)| (paths[path].clone(), value));
    let batch = proptest::collection::vec(edit, 0..60).prop_map(|edits| edits.into_iter().collect());
    proptest::collection::vec(batch, 1..8)
}

fn change(model: &mut Model, edits: &BTreeMap<String, Option<u32>>) {
    for (path, value) in edits {
        match value {
            Some(value) => model.insert(path.clone(), *value),
            None => model.remove(path),
        };
    }
}

fn whole(model: &Model) -> BTreeMap<String, Option<u32>> {
    model.iter().map(|(path, value)| (path.clone(), Some(*value))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn the_root_depends_on_content_alone(batches in batches()) {
        let (mut memory, mut model, mut root) = (Memory::default(), Model::new(), None);
        for edits in &batches {
            root = memory.apply(root.as_ref(), edits).expect("memory does not fail").0;
            change(&mut model, edits);
        }
        let (fresh, _) = memory.apply(None, &whole(&model)).expect("memory does not fail");
        prop_assert_eq!(Memory::index(root.as_ref()).root(), Memory::index(fresh.as_ref()).root());
        if let Some(root) = &root {
            check(&memory, root, true);
            prop_assert_eq!(root.documents, model.len() as u64);
        }
        let listed: Vec<String> = Entries::new(root.as_ref(), &memory)
            .map(|entry| entry.map(|entry| entry.path.to_string()))
            .collect::<Result<_, _>>()
            .expect("memory does not fail");
        prop_assert_eq!(listed, model.keys().cloned().collect::<Vec<_>>());
    }

    #[test]
    fn the_difference_is_exactly_what_differs(batches in batches()) {
        let mut memory = Memory::default();
        let mut states: Vec<(Model, Option<Child>)> = vec![(Model::new(), None)];
        for edits in &batches {
            let (mut model, root) = states.last().expect("one at least").clone();
            change(&mut model, edits);
            let (root, _) = memory.apply(root.as_ref(), edits).expect("memory does not fail");
            states.push((model, root));
        }
        let (last, last_root) = states.last().expect("one at least");
        for (model, root) in &states {
            let diff = Diff::new(&Memory::index(root.as_ref()), &Memory::index(last_root.as_ref()), &memory);
            let found: Vec<_> = diff
                .map(|change| change.map(|change| (change.path().to_string(), change.old.is_some(), change.new.is_some())))
                .collect::<Result<_, _>>()
                .expect("memory does not fail");
            let paths: std::collections::BTreeSet<&String> = model.keys().chain(last.keys()).collect();
            let expected: Vec<_> = paths
                .into_iter()
                .filter(|path| model.get(*path) != last.get(*path))
                .map(|path| (path.clone(), model.contains_key(path), last.contains_key(path)))
                .collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn foreign_bytes_are_refused_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let name = Digest([1; 32]);
        let _ = content(Kind::Node, &bytes);
        let _ = frames(name, &bytes);
        let _ = Index::decode(&bytes, name, name);
        let _ = Current::decode(&bytes);
        let mut reader = codec::Reader::new(&bytes);
        if let Ok(hashed) = reader.bytes() {
            let _ = Node::decode_parts(hashed, reader, name);
        }
    }

    #[test]
    fn a_node_that_decodes_encodes_to_the_same_hash(values in proptest::collection::btree_map("[a-c/é]{1,6}", 0u32..9, 1..40)) {
        let node = Node::Leaf(values.iter().map(|(path, value)| entry(path, *value)).collect());
        let (hashed, beside) = (node.hashed(), node.beside(&PackWriter::new()));
        let again = Node::decode_parts(&hashed, codec::Reader::new(&beside), Digest([9; 32]));
        prop_assert_eq!(again, Ok(node));
    }
}

#[test]
fn an_edit_loads_and_writes_only_the_nodes_on_its_way() {
    let mut memory = Memory::default();
    let everything: BTreeMap<_, _> =
        (0..20_000).map(|number| (format!("/products/{number:06}.html"), Some(number))).collect();
    let (root, _) = memory.apply(None, &everything).expect("memory does not fail");
    let root = root.expect("not empty");
    let height = usize::from(root.level) + 1;
    for number in [0, 9_999, 19_999, 30_000] {
        let edits = BTreeMap::from([(format!("/products/{number:06}.html"), Some(5))]);
        let (_, written) = memory.apply(Some(&root), &edits).expect("memory does not fail");
        assert!(written <= height + 2, "one edit wrote {written} nodes at height {height}");
        assert!(memory.loads.get() <= height + 2, "one edit loaded {} nodes", memory.loads.get());
    }
}

#[test]
fn a_path_is_found_through_the_nodes_on_its_way() {
    let mut memory = Memory::default();
    let everything: BTreeMap<_, _> =
        (0..3_000).map(|number| (format!("/{number}.html"), Some(number))).collect();
    let (root, _) = memory.apply(None, &everything).expect("memory does not fail");
    let root = root.expect("not empty");
    for (path, expected) in
        [("/17.html", Some(17)), ("/2999.html", Some(2999)), ("/", None), ("/z", None), ("/17.htm", None)]
    {
        let mut node = memory.load(&root).expect("readable");
        let found = loop {
            let next = match node.find(path) {
                Found::Entry(entry) => break Some(entry.size as u32),
                Found::Nothing => break None,
                Found::Child(child) => memory.load(child).expect("readable"),
            };
            node = next;
        };
        assert_eq!(found, expected, "{path}");
    }
}

#[test]
fn walking_a_tree_of_which_a_node_is_lost_ends_with_one_error() {
    let mut memory = Memory::default();
    let everything: BTreeMap<_, _> =
        (0..300).map(|number| (format!("/{number}.html"), Some(number))).collect();
    let root = memory.apply(None, &everything).expect("memory does not fail").0.expect("not empty");
    memory.packs.pop_first();
    let diff = Diff::new(&Index::default(), &Memory::index(Some(&root)), &memory);
    assert_eq!(diff.filter(Result::is_err).take(2).count(), 1);
    assert_eq!(Entries::new(Some(&root), &memory).filter(Result::is_err).take(2).count(), 1);
}

fn chain(count: u64) -> Vec<Record> {
    let place = StoredPlace { pack: Some(Digest([1; 32])), offset: 0, length: 0 };
    let mut chain: Vec<Record> = Vec::new();
    for ordinal in 0..count {
        chain.push(Record {
            number: ordinal * 3 + 1,
            ordinal,
            root: Digest([0; 32]),
            index: place,
            definition: record::Named { hash: Digest([0; 32]), place },
            parent: chain.last().map_or(0, |last| last.number),
            writer: String::new(),
            time: 0,
            cause: String::new(),
            counts: Counts::default(),
            state: State::Live,
            floor: 0,
            skips: chain.last().map_or_else(Vec::new, Record::skips_of_next),
        });
    }
    chain
}

#[test]
fn any_earlier_release_is_a_few_steps_away() {
    let chain = chain(1_000);
    let last = chain.last().expect("a thousand");
    assert!(last.skips.len() <= 12, "{} pointers", last.skips.len());
    for target in &chain {
        let (mut at, mut steps) = (last, 0);
        while at.number != target.number {
            let skip = at.toward(target.number).expect("there is a way");
            at = &chain[skip.ordinal as usize];
            steps += 1;
        }
        assert!(steps <= 20, "{steps} steps to {}", target.number);
    }
}

#[test]
fn a_record_that_does_not_lead_back_is_refused() {
    let right = chain(8).pop().expect("eight");
    assert_eq!(right.check(), Ok(()));
    let wrong: [fn(&mut Record); 6] = [
        |record| record.number = 1 << 53,
        |record| record.parent = record.number,
        |record| record.ordinal = record.number,
        |record| record.skips[0].number = record.number,
        |record| record.skips[0].ordinal = record.ordinal,
        |record| record.skips.reverse(),
    ];
    for (number, change) in wrong.into_iter().enumerate() {
        let mut record = right.clone();
        change(&mut record);
        assert!(Record::decode(&record.encode(), Digest([1; 32])).is_err(), "change {number}");
        assert!(Current::decode(&Current { records: vec![record] }.encode()).is_err(), "change {number}");
    }
}
