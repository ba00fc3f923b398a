//! `publish --watch`, killed again and again while somebody edits all the time, and whose own edits are
//! killed, too: every committed edit goes live, and no more is made anew than that takes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::history::assert_whole;
use crate::support::{Guarded, Random, Running, Site, live, read_all, until};

/// Sites at once: each waits most of the time.
const SITES: u64 = 4;

/// Watchers of each that are killed.
const KILLS: u64 = 55;

const ROWS: u64 = 40;

/// What killed watchers of a site had to say.
#[derive(Default)]
struct Said {
    lives: u64,
    /// Those that had released something.
    releasing: u64,
    /// Killed editors, and those of them that were in the middle of a transaction.
    editors: u64,
    unfinished: u64,
}

fn site(number: u64) -> Site {
    let site = Site::small(ROWS as usize);
    let publish = "[publish]\nquiet = \"2ms\"\nmax_wait = \"20ms\"\nguard = 1\n\n[origin]";
    site.edit("site.toml", "[origin]", publish);
    site.edit("site.toml", "\"Small\"", &format!("\"Small {number}\""));
    // The same site, with a bucket of its own.
    site.write("full.toml", &site.read("site.toml").replace("file:bucket", "file:full"));
    site
}

/// An edit like no other.
fn edit(random: &mut Random, number: u64) -> String {
    let (id, added) = (1 + random.below(ROWS), 1_000 + number);
    match random.below(6) {
        0 => format!("INSERT INTO item VALUES ({added}, 'new-{number}', 'Edit {number}')"),
        1 => format!("DELETE FROM item WHERE id = (SELECT min(id) FROM item WHERE id > {ROWS})"),
        2 => format!("UPDATE item SET slug = 'moved-{number}' WHERE id = {id}"),
        3 => format!("UPDATE item SET name = 'Edit {number}' WHERE id BETWEEN {id} AND {id} + 3"),
        _ => format!("UPDATE item SET name = 'Edit {number}' WHERE id = {id}"),
    }
}

/// Starts an editor that is killed: before it can commit, or at any moment. Whether it was surely before.
fn kill_editor(site: &Site, random: &mut Random, number: u64) -> bool {
    let mut command = Command::new("sqlite3");
    command.args(["-cmd", ".timeout 20000", "-bail"]).arg(site.path("site.db"));
    let mut editor = Guarded::spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
    let commits = random.below(2) == 0;
    let (name, end) = if commits { ("Edit", "COMMIT;") } else { ("Never", "") };
    let text = format!(
        "BEGIN IMMEDIATE; UPDATE item SET name = '{name} {number}'; \
         INSERT INTO item VALUES ({}, 'killed-{number}', '{name}'); SELECT 'begun';\n{end}\n",
        2_000_000 + number
    );
    let mut stdin = editor.0.stdin.take().expect("it was piped");
    stdin.write_all(text.as_bytes()).expect("it reads what it is told");
    let mut said = String::new();
    BufReader::new(editor.0.stdout.take().expect("it was piped")).read_line(&mut said).expect("it answers");
    assert_eq!(said, "begun\n");
    if commits {
        std::thread::sleep(Duration::from_micros(random.below(1_500)));
    }
    editor.0.kill().expect("a child of ours can be killed");
    editor.wait();
    !commits
}

/// Edits until it is told to end.
fn keep_editing(site: &Site, mut random: Random, ends: &AtomicBool) -> (u64, u64) {
    let (mut killed, mut unfinished) = (0, 0);
    let mut number = 0;
    while !ends.load(Ordering::Relaxed) {
        number += 1;
        if random.below(8) == 0 {
            killed += 1;
            unfinished += u64::from(kill_editor(site, &mut random, number));
        } else {
            let parts = 0..=random.below(3);
            let edits: Vec<String> = parts.map(|part| edit(&mut random, 4 * number + part)).collect();
            site.sql(&format!("BEGIN IMMEDIATE; {}; COMMIT", edits.join("; ")));
        }
        std::thread::sleep(Duration::from_millis(random.below(25)));
    }
    (killed, unfinished)
}

/// Starts a watcher and kills it after `moment`; what it printed, and what it warned of.
fn kill_watcher(site: &Site, moment: Duration) -> (Vec<Value>, String) {
    let mut command = site.command("publish --watch --format json");
    let mut watcher =
        Guarded::spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()));
    let stdout = read_all(watcher.0.stdout.take().expect("it was piped"));
    let stderr = read_all(watcher.0.stderr.take().expect("it was piped"));
    std::thread::sleep(moment);
    let ended = watcher.0.try_wait().expect("a child of ours can be waited for");
    assert!(ended.is_none(), "a watcher ended by itself: {ended:?}");
    watcher.0.kill().expect("a child of ours can be killed");
    watcher.wait();
    let text = |reader: std::thread::JoinHandle<Vec<u8>>| {
        String::from_utf8(reader.join().expect("readers do not panic")).expect("JSON is text")
    };
    let (said, warned) = (text(stdout), text(stderr));
    // The last line may be cut off.
    (said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect(), warned)
}

/// Kills watchers one after the other, as long into their lives as makes about half of them release.
fn kill_watchers(site: &Site, random: &mut Random, said: &mut Said) {
    let (mut longest, mut warnings) = (400.0, String::new());
    for _ in 0..KILLS {
        let moment = Duration::from_micros(random.below((longest * 1e3) as u64));
        let (lines, warned) = kill_watcher(site, moment);
        warnings.push_str(&warned);
        for line in &lines {
            assert!(line["error"].is_null(), "{line}\n{warnings}");
            let full = line["full"].as_str().unwrap_or("nothing was published yet");
            assert_eq!(full, "nothing was published yet", "{line}\n{warnings}");
        }
        let releases = !lines.is_empty();
        longest = f64::clamp(longest * if releases { 0.93 } else { 1.07 }, 30.0, 3_000.0);
        said.lives += 1;
        said.releasing += u64::from(releases);
    }
}

fn check(number: u64) -> Said {
    let site = site(number);
    site.json("check");
    let (ends, mut said) = (AtomicBool::new(false), Said::default());
    let mut random = Random(number);
    (said.editors, said.unfinished) = std::thread::scope(|scope| {
        let editor = scope.spawn(|| keep_editing(&site, Random(100 + number), &ends));
        // Whatever comes of this, the editor is to end.
        let killed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            kill_watchers(&site, &mut random, &mut said);
        }));
        ends.store(true, Ordering::Relaxed);
        let edited = editor.join().expect("editing goes on whatever is killed");
        killed.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        edited
    });
    let watcher = Running::start_silent(&site, "publish --watch --format json");
    let root = site.json("publish --site full.toml")["root"].clone();
    until("every edit is live", || {
        site.path("bucket/_edgepress/current").exists() && live(&site.bucket()).root == root
    });
    until("the mirror has come along", || site.json("followers")["followers"][0]["behind"] == 0);
    assert_eq!(watcher.stop().code(), Some(0));
    assert_whole(&site);
    let documents = live(&site.bucket()).documents;
    let never = documents.values().any(|body| String::from_utf8_lossy(body).contains("Never"));
    assert!(!never, "an edit is live that was not committed");
    said
}

#[test]
fn watchers_and_editors_killed_at_any_moment_lose_no_committed_edit() {
    let mut all = Said::default();
    std::thread::scope(|scope| {
        let sites: Vec<_> = (1..=SITES).map(|number| scope.spawn(move || check(number))).collect();
        for site in sites {
            let said = site.join().expect("every edit goes live");
            all.lives += said.lives;
            all.releasing += said.releasing;
            all.editors += said.editors;
            all.unfinished += said.unfinished;
        }
    });
    let Said { lives, releasing, editors, unfinished } = all;
    println!("{lives} watchers were killed, {releasing} of them after they had released something");
    println!("{editors} editors were killed, {unfinished} of them before they could commit");
    assert!(lives >= 200 && releasing > lives / 8 && unfinished > 0);
}
