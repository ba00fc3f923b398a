//! For tests of every crate: packs in memory, and the bodies of the fuzz targets.
//!
//! Owns what each target asserts, so that a stable test can replay what the fuzzer found. Refuses to
//! be part of anything that is shipped: it is behind the feature `testing`.

pub mod memory;
mod stored;
mod tree;
mod words;

pub use stored::{fuzz_current, fuzz_pack};
pub use tree::fuzz_tree;
pub use words::{fuzz_request_path, fuzz_site_toml, fuzz_template};

/// A fuzz target: its name, and what it does with bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All targets, by the names of their corpora.
pub const TARGETS: [Target; 6] = [
    ("current", fuzz_current),
    ("pack", fuzz_pack),
    ("request_path", fuzz_request_path),
    ("site_toml", fuzz_site_toml),
    ("template", fuzz_template),
    ("tree", fuzz_tree),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::TARGETS;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn targets_take_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            TARGETS.into_iter().for_each(|(_, target)| target(&bytes));
        }
    }
}
