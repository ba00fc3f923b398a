//! Replays the corpora of the fuzz targets: what the fuzzer found stays mended, without a fuzzer.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use edgepress_site::testing::TARGETS;

/// All corpora together stay this small.
const LARGEST: u64 = 200 << 10;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
}

fn names(folder: &Path) -> BTreeSet<String> {
    let listed = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.expect("listed").file_name().into_string().expect("names are UTF-8")
    };
    listed.map(name).collect()
}

#[test]
fn every_target_has_a_program_and_a_corpus() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let programs = targets.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(names(&folder("fuzz_targets")), programs);
    assert_eq!(names(&folder("corpus")), targets);
}

#[test]
fn no_target_fails_on_its_corpus() {
    let mut bytes = 0;
    for (target, run) in TARGETS {
        let corpus = folder("corpus").join(target);
        let samples = names(&corpus);
        assert!(samples.len() > 3, "the corpus of {target} has {} samples", samples.len());
        for sample in samples {
            let data = std::fs::read(corpus.join(&sample)).expect("readable");
            bytes += data.len() as u64;
            // A failure's output ends with the sample it is about.
            eprintln!("{target}/{sample}");
            run(&data);
        }
    }
    assert!(bytes < LARGEST, "the corpora have {bytes} bytes, {LARGEST} are the most");
}
