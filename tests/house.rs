//! The rules of the house: which crate may use which, and under what licences others' code comes.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// What each crate of ours may use of ours. Arrows run one way.
const ARROWS: [(&str, &[&str]); 5] = [
    ("edgepress-site", &[]),
    ("edgepress-store", &["edgepress-site"]),
    ("edgepress-publisher", &["edgepress-site", "edgepress-store"]),
    ("edgepress-origin", &["edgepress-site", "edgepress-store"]),
    ("edgepress", &["edgepress-site", "edgepress-store", "edgepress-publisher", "edgepress-origin"]),
];

/// What the shared language must not use: runtimes, files, sockets, the clock.
const NOT_IN_SITE: [&str; 8] = ["tokio", "hyper", "sqlx", "notify", "clap", "tempfile", "rustix", "tracing"];

/// Licences that let anybody use, change and sell the whole.
const PERMISSIVE: [&str; 12] = [
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "0BSD",
    "Unlicense",
    "CC0-1.0",
    "Unicode-3.0",
    "MIT-0",
];

/// The platform that cargo builds for; crates that only others need may not have been downloaded.
fn platform() -> String {
    let output = Command::new(env!("CARGO")).arg("-vV").output().expect("cargo runs, as it runs this test");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().find_map(|line| line.strip_prefix("host: ")).expect("cargo says its host").to_owned()
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--filter-platform", &platform()])
        .arg("--manifest-path")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .expect("cargo runs, as it runs this test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

fn packages(metadata: &Value) -> &[Value] {
    metadata["packages"].as_array().expect("metadata lists packages")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Names of the dependencies of a package, without those of its tests.
fn dependencies(package: &Value) -> BTreeSet<&str> {
    let all = package["dependencies"].as_array().expect("packages list dependencies").iter();
    all.filter(|dependency| text(dependency, "kind") != "dev")
        .map(|dependency| text(dependency, "name"))
        .collect()
}

#[test]
fn arrows_run_one_way() {
    let metadata = metadata();
    let ours: BTreeMap<&str, &Value> = packages(&metadata)
        .iter()
        .filter(|package| package["source"].is_null())
        .map(|package| (text(package, "name"), package))
        .collect();
    assert_eq!(ours.keys().copied().collect::<BTreeSet<_>>(), ARROWS.iter().map(|(name, _)| *name).collect());
    for (name, allowed) in ARROWS {
        for dependency in dependencies(ours[name]) {
            let is_fine = !dependency.starts_with("edgepress") || allowed.contains(&dependency);
            assert!(is_fine, "{name} must not use {dependency}");
        }
    }
}

#[test]
fn the_shared_language_has_no_io() {
    let metadata = metadata();
    let site = packages(&metadata).iter().find(|package| text(package, "name") == "edgepress-site");
    let used = dependencies(site.expect("the crate is there"));
    for name in NOT_IN_SITE {
        assert!(!used.contains(name), "edgepress-site must not use {name}");
    }
}

/// Whether some alternative of an SPDX expression is permissive throughout.
fn is_permissive(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ").replace(['(', ')'], " ");
    expression.split(" OR ").any(|all| all.split(" AND ").all(|licence| PERMISSIVE.contains(&licence.trim())))
}

#[test]
fn every_dependency_is_permissive_and_from_the_registry() {
    let metadata = metadata();
    for package in packages(&metadata).iter().filter(|package| !package["source"].is_null()) {
        let name = text(package, "name");
        assert!(is_permissive(text(package, "license")), "{name} has the licence {:?}", package["license"]);
        assert!(text(package, "source").starts_with("registry+"), "{name} comes from {}", package["source"]);
    }
}

#[test]
fn licence_expressions_are_read_right() {
    for (expression, expected) in [
        ("MIT", true),
        ("MIT/Apache-2.0", true),
        ("GPL-3.0 OR MIT", true),
        ("MIT AND GPL-3.0", false),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("LGPL-2.1", false),
        ("", false),
    ] {
        assert_eq!(is_permissive(expression), expected, "{expression}");
    }
}
