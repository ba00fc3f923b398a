//! Documents as they were once read through and committed: equal input gives equal bytes, for ever.
//!
//! `EDGEPRESS_GOLDEN=write` writes `tests/golden/` anew, for whoever means to change documents; read the
//! difference before committing it.

use std::path::{Path, PathBuf};

use crate::support::{Files, Live, Site, files, live, mirror, run};

/// Names the content of `tests/golden/`: paths, bytes, media types and cache policies. If only this
/// changes, types or policies did, or the hash of equal content: then every bucket in use would be
/// released anew.
const ROOT: &str = "3daf61df5da7b019413b14732fb1dace8003673671d23b171726cab903d50ba5";

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

/// The fixture with its rows inserted in an order of one's own.
fn site(order: impl FnOnce(&mut Vec<&str>)) -> Site {
    let site = Site::empty();
    for (name, body) in files(&folder("golden-site")) {
        site.write(&name, std::str::from_utf8(&body).expect("fixtures are text"));
    }
    let (schema, rows) = (site.read("schema.sql"), site.read("rows.sql"));
    let mut rows: Vec<&str> = rows.lines().collect();
    order(&mut rows);
    site.write("schema.sql", &format!("{schema}{}", rows.join("\n")));
    site
}

fn published(site: &Site) -> Live {
    site.json("publish");
    let live = live(&site.bucket());
    assert!(mirror(&site.bucket()) == live.documents, "the mirror has the same bytes");
    live
}

/// Writes the golden files, if asked to.
fn write(documents: &Files) {
    if std::env::var_os("EDGEPRESS_GOLDEN").is_none_or(|asked| asked != "write") {
        return;
    }
    for name in files(&folder("golden")).keys() {
        std::fs::remove_file(folder("golden").join(name)).expect("it is there");
    }
    for (path, body) in documents {
        let file = folder("golden").join(&path[1..]);
        std::fs::create_dir_all(file.parent().expect("it lies in a folder")).expect("folders can be made");
        std::fs::write(file, body).expect("there is room");
    }
}

#[test]
fn documents_are_byte_for_byte_as_they_were_committed() {
    let live = published(&site(|_| ()));
    write(&live.documents);
    let golden: Files =
        files(&folder("golden")).into_iter().map(|(name, body)| (format!("/{name}"), body)).collect();
    for (path, body) in &live.documents {
        let Some(expected) = golden.get(path) else { panic!("{path} is not in tests/golden") };
        let shown = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
        assert_eq!(shown(body), shown(expected), "{path}");
        assert_eq!(body, expected, "{path}");
    }
    for path in golden.keys() {
        assert!(live.documents.contains_key(path), "{path} was not made");
    }
    assert_eq!(live.root, ROOT);
}

#[test]
fn the_order_in_which_rows_were_inserted_leaves_no_trace() {
    let orders: [fn(&mut Vec<&str>); 3] =
        [|rows| rows.reverse(), |rows| rows.sort_unstable(), |rows| rows.rotate_left(17)];
    for order in orders {
        let site = site(order);
        let live = published(&site);
        assert_eq!(live.root, ROOT);
        site.sql_file("golden.db", "UPDATE value SET value = 1 WHERE name = 'zero'");
        assert_ne!(published(&site).root, ROOT);
        site.sql_file("golden.db", "UPDATE value SET value = 0 WHERE name = 'zero'");
        assert_eq!(published(&site).root, ROOT, "equal content has an equal root, whatever came between");
    }
}

#[test]
fn the_number_of_threads_leaves_no_trace() {
    let of_many = Site::small(2_600);
    of_many.json("publish");
    let of_one = Site::small(2_600);
    of_one.edit(
        "schema.sql",
        "SELECT i, 'item-' || i, 'Item ' || i FROM n",
        "SELECT i, 'item-' || i, 'Item ' || i FROM n ORDER BY i * 7919 % 2600",
    );
    of_one.edit("schema.sql", "id INTEGER PRIMARY KEY", "id INTEGER");
    // Allowed one processor only, the publisher renders on one thread.
    let command = of_one.command("publish");
    let mut one = std::process::Command::new("taskset");
    one.args(["-c", &first_processor()])
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(of_one.folder());
    let ran = run(&mut one);
    assert_eq!(ran.code, Some(0), "{}", ran.text());
    assert_eq!(live(&of_one.bucket()).root, live(&of_many.bucket()).root);
}

/// A processor that this process may use.
fn first_processor() -> String {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has /proc");
    let allowed =
        status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("it has this line");
    allowed.trim().split([',', '-']).next().expect("there is one").to_owned()
}
