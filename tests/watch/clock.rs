//! What goes live because time passes, and a clock that jumps.

use std::sync::atomic::Ordering;

use super::bed::{Bed, Told, site};
use crate::support::until;

const HOUR: u64 = 3_600_000;

/// A document that is another one whenever it is made.
const TICKING: &str = r#"
[[collection]]
name = "clock"
refresh = "1h"
  [collection.include.now]
  query = "SELECT hex(randomblob(8)) AS token"
  one = true
  [[collection.document]]
  path = "/clock.json"
"#;

#[test]
fn a_collection_that_depends_on_the_clock_goes_live_on_the_clock_even_if_that_jumps() {
    let site = site(3);
    site.write("site.toml", &format!("{}{TICKING}", site.read("site.toml")));
    let bed = Bed::new(site);
    let watcher = bed.watch();
    until("the site is live", || bed.body("clock.json").is_some());
    for (what, from, to) in [
        ("an hour has passed", HOUR, 0),
        ("a day has passed", 24 * HOUR, 0),
        ("the clock went back a year", 0, 365 * 24 * HOUR),
        ("an hour has passed by the new clock", HOUR, 0),
        ("the clock went back a second", 0, 1_000),
    ] {
        let before = bed.body("clock.json");
        watcher.take();
        bed.clock.fetch_add(from, Ordering::SeqCst);
        bed.clock.fetch_sub(to, Ordering::SeqCst);
        until(what, || bed.body("clock.json") != before);
        bed.site.sql(&format!("UPDATE item SET name = '{what}' WHERE id = 1"));
        until("an edit is live", || bed.shows("items/item-1.html", what));
        let failed = watcher.take().into_iter().find(|told| matches!(told, Told::Failed(_)));
        assert!(failed.is_none() && watcher.lives(), "{failed:?}");
    }
}
