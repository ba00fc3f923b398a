#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| edgepress_site::testing::fuzz_tree(data));
