//! A publisher killed at any moment: what was live stays whole, and the next publish finishes the work.

mod servers;
mod steps;
mod watch;
mod world;

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::history::assert_whole;
use crate::support::{Guarded, Live, Site, files, live};

const KILLS: u32 = 40;
const ROWS: usize = 1_500;

/// Changes every document, removes some and adds others.
fn edit(site: &Site, round: u32) {
    let (from, to) = (10_000 + round * 10, 10_000 + (round + 1) * 10);
    site.sql(&format!(
        "BEGIN; UPDATE item SET name = 'Round {round}'; DELETE FROM item WHERE id BETWEEN {from} AND {to} OR id > {to};
         WITH RECURSIVE n(i) AS (SELECT {to} + 1 UNION ALL SELECT i + 1 FROM n WHERE i < {to} + 9)
         INSERT INTO item SELECT i, 'new-' || i, 'Round {round}' FROM n; COMMIT"
    ));
}

/// The one round that all documents of a release show.
fn round(live: &Live) -> u32 {
    let mut rounds: Vec<u32> = live
        .documents
        .iter()
        .filter(|(path, _)| path.ends_with(".json"))
        .map(|(path, body)| {
            let text = String::from_utf8_lossy(body);
            let round = text
                .split("Round ")
                .nth(1)
                .and_then(|rest| rest.split('"').next())
                .and_then(|round| round.parse().ok());
            round.unwrap_or_else(|| panic!("{path}: {text}"))
        })
        .collect();
    rounds.dedup();
    assert_eq!(rounds.len(), 1, "release {} mixes rounds {rounds:?}", live.number);
    rounds[0]
}

/// Starts a publish and kills it after `moment`; whether it was still at work.
fn kill(site: &Site, moment: Duration) -> bool {
    let mut publish = Guarded::spawn(site.command("publish").stdin(Stdio::null()).stdout(Stdio::null()));
    std::thread::sleep(moment);
    let was_at_work = publish.0.try_wait().expect("a child of ours can be waited for").is_none();
    publish.0.kill().expect("a child of ours can be killed");
    publish.wait();
    was_at_work
}

/// Nothing that is stored is bad, but that the mirror may be waiting for the next publish.
fn verify(site: &Site) {
    let ran = site.run("verify --format json");
    let found: serde_json::Value = serde_json::from_str(&ran.stdout).expect("it prints JSON");
    for bad in found["problems"].as_array().unwrap_or_else(|| panic!("{}", ran.text())) {
        let problem = bad["problem"].as_str().unwrap_or_default();
        assert!(problem.contains("`edgepress publish` finishes it"), "{found}");
    }
    assert_eq!(ran.code, Some(i32::from(found["bad"] != 0)), "{found}");
}

/// Kills publishes one after the other, the later the higher their number; `numbers` count from 2.
fn kill_all(numbers: impl Iterator<Item = u32>) -> u32 {
    let site = Site::small(ROWS);
    site.edit("schema.sql", "'Item ' || i", "'Round 0'");
    site.json("publish");
    edit(&site, 1);
    let begun = Instant::now();
    site.json("publish");
    let mut whole = begun.elapsed();
    let (mut killed, mut before) = (0, 1);
    for (turn, number) in numbers.enumerate() {
        edit(&site, number);
        if kill(&site, whole * (number - 2) / KILLS) {
            killed += 1;
        } else {
            // The machine is less busy than it was.
            whole = whole * 4 / 5;
        }
        // Sometimes the next one is killed too, so that what is left adds up.
        if turn % 4 != 3 {
            let now = round(&live(&site.bucket()));
            assert!(now == before || now == number, "round {now} is live between {before} and {number}");
            verify(&site);
            before = now;
            continue;
        }
        let left = files(&site.path("bucket/_edgepress/tmp")).len();
        site.json("publish");
        let still = files(&site.path("bucket/_edgepress/tmp"));
        assert!(still.is_empty(), "{:?} were left by killed publishers, of {left}", still.keys());
        assert_eq!(round(&live(&site.bucket())), number);
        assert_whole(&site);
        before = number;
    }
    killed
}

#[test]
fn a_publisher_killed_at_any_moment_leaves_a_whole_release_and_nothing_to_wait_for() {
    let killed: u32 = std::thread::scope(|scope| {
        // Two sites at once: each waits for the disk most of the time.
        let halves = [0, 1].map(|half| scope.spawn(move || kill_all((2..KILLS + 2).skip(half).step_by(2))));
        halves.into_iter().map(|half| half.join().expect("nothing is left broken")).sum()
    });
    assert!(killed > KILLS / 2, "only {killed} were killed at work");
}

#[test]
fn a_publisher_killed_during_the_first_publish_leaves_a_new_site() {
    let site = Site::small(600);
    let begun = Instant::now();
    let other = Site::small(600);
    let expected = other.json("publish")["root"].clone();
    let whole = begun.elapsed();
    for number in 0..8 {
        for folder in ["bucket", "site.db"] {
            let path = site.path(folder);
            let _ = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
        }
        kill(&site, whole * number / 8);
        assert_eq!(site.json("publish")["root"], expected);
        assert_whole(&site);
    }
}
