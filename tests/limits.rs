//! Templates and rows that ask for too much: refused quickly, with a clear message, in bounded memory.

use std::process::Command;

use crate::support::{BINARY, Site, live, run};

/// What a publisher of a few rows may take at most, in KiB: some twenty times the largest document.
const MEMORY: u64 = 320 << 10;

/// Publishes under a watch: exit code, what it printed, and the most memory it had, in KiB.
fn publish(site: &Site) -> (Option<i32>, String, u64) {
    let mut command = Command::new("/usr/bin/env");
    // The shell waits for the command, and reads its peak from the kernel before it is gone.
    command.args(["sh", "-c", "\"$0\" publish & child=$!; while [ -d /proc/$child ] && grep VmHWM /proc/$child/status >> peak 2>/dev/null; do sleep 0.02; done; wait $child", BINARY]);
    let ran = run(command.current_dir(site.folder()));
    let peaks = site.read("peak");
    let kib = |line: &str| line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok());
    let peak = peaks.lines().filter_map(kib).max().expect("it lived long enough to be seen");
    (ran.code, ran.text(), peak)
}

#[test]
fn a_template_that_never_ends_or_makes_far_too_much_is_stopped() {
    let long = "x".repeat(1_000);
    let site = Site::small(3);
    site.json("publish");
    for (template, named) in [
        (
            "{% for a in range(end=100000) %}{% for b in range(end=100000) %}{% for c in range(end=100000) %}{% endfor %}{% endfor %}{% endfor %}",
            "takes more than 2000000 steps",
        ),
        (
            &*format!("{{% for a in range(end=100000) %}}{long}{{% endfor %}}"),
            "the document grows beyond 16777216 bytes",
        ),
        (
            "{% set_global x = \"0123456789\" %}{% for a in range(end=40) %}{% set_global x = x ~ x %}{% endfor %}{{ x }}",
            "a value grows beyond 16777216 bytes",
        ),
        (
            &*format!(
                "{{% set x %}}{{% for a in range(end=100000) %}}{long}{{% endfor %}}{{% endset %}}{{{{ x }}}}"
            ),
            "captures more than 16777216 bytes",
        ),
        (
            "{{ <deep n={1} /> }}{% component deep(n) %}{{ <deep n={n + 1} /> }}{% endcomponent deep %}",
            "circle",
        ),
    ] {
        site.write("pages/item.html", template);
        let (code, text, peak) = publish(&site);
        assert!(matches!(code, Some(1 | 2)), "{code:?} {text}");
        assert!(text.contains("pages/item.html") && text.contains(named), "{text}");
        assert!(peak < MEMORY, "{peak} KiB for {named}");
    }
    assert_eq!(live(&site.bucket()).number, 1);
}

#[test]
fn a_document_that_is_as_large_as_allowed_is_published() {
    let site = Site::small(3);
    // 16,000 times 1,000 bytes for each row.
    site.write(
        "pages/item.html",
        &format!("{{% for a in range(end=16000) %}}{}{{% endfor %}}", "x".repeat(1_000)),
    );
    let (code, text, peak) = publish(&site);
    assert_eq!(code, Some(0), "{text}");
    assert!(peak < MEMORY, "{peak} KiB");
    assert!(live(&site.bucket()).documents["/items/item-1.html"].len() == 16_000_000);
    site.verify();
}

#[test]
fn rows_that_every_document_has_are_kept_once() {
    let site = Site::small(600);
    site.edit(
        "site.toml",
        "  [[collection.document]]\n  path = \"/items/{slug}.json\"\n",
        "  [collection.include.numbers]\n  query = \"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) SELECT i FROM n\"\n",
    );
    // 500 rows are read at a time: a copy for each would take some 200 MB.
    let (code, text, peak) = publish(&site);
    assert_eq!(code, Some(0), "{text}");
    assert!(peak < 128 << 10, "{peak} KiB");
}

#[test]
fn a_row_too_large_for_a_document_is_refused() {
    let site = Site::small(1);
    site.json("publish");
    site.sql("INSERT INTO item VALUES (2, 'large', printf('%.40000000c', 'x'))");
    let (code, text, peak) = publish(&site);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("row slug=\"large\"") && text.contains("grows beyond 16777216 bytes"), "{text}");
    // Some copies of the row: the database's, on the way to the renderer, and there.
    assert!(peak < 16 * 40_000, "{peak} KiB");
}
