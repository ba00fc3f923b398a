//! Followers that lag and fail: they hold up no release, try again, and say where they stand.

use std::sync::Arc;

use edgepress_store::bucket::testing::{Call, Fate, Faulty, Operation};
use edgepress_store::bucket::{Kind, Memory};
use tokio::sync::Notify;

use super::bed::{Bed, Told, site};
use crate::support::{Site, until};

/// A bed whose mirror is a bucket of its own.
fn bed() -> (Bed, Arc<Faulty<Memory>>) {
    let mut bed = Bed::new(site(4));
    let mirror = Arc::new(Faulty::new(Memory::new("memory:mirror")));
    bed.objects = mirror.clone();
    (bed, mirror)
}

fn writes(call: Call<'_>) -> bool {
    matches!(call.operation, Operation::PutMany | Operation::Delete)
}

#[test]
fn a_mirror_that_hangs_holds_up_no_release() {
    let (bed, mirror) = bed();
    let gate = Arc::new(Notify::new());
    let closed = gate.clone();
    let watcher = bed.watch();
    bed.settle("the site is live");
    let reached = bed.standing().reached;
    mirror.hook(move |call| if writes(call) { Fate::Wait(closed.clone()) } else { Fate::Pass });
    for number in 0..4 {
        bed.site.sql(&format!(
            "UPDATE item SET name = 'Number {number}' WHERE id = 1; DELETE FROM item WHERE id = 4"
        ));
        let full = bed.full();
        until("the edit is live", || bed.root().as_ref() == Some(&full));
    }
    let standing = bed.standing();
    assert_eq!((standing.reached, standing.behind), (reached, 4));
    assert!(bed.shows("items/item-1.html", "Item 1"));
    mirror.heal();
    until("the mirror has come along", || {
        gate.notify_waiters();
        bed.standing().behind == 0
    });
    bed.settle("the last edit is live");
    drop(watcher);
}

#[test]
fn a_mirror_that_fails_is_told_of_and_tried_again() {
    let (bed, mirror) = bed();
    let watcher = bed.watch();
    bed.settle("the site is live");
    let reached = bed.standing().reached;
    watcher.take();
    mirror.hook(|call| if writes(call) { Fate::FailBefore(Kind::Denied) } else { Fate::Pass });
    bed.site.sql("UPDATE item SET name = 'Edited' WHERE id = 1");
    let full = bed.full();
    until("the edit is live", || bed.root().as_ref() == Some(&full));
    let mut failures = 0;
    watcher.tells("it fails again and again", |told| match told {
        Told::Follower(standing) => {
            let error = standing.error.as_deref().unwrap_or_default();
            failures += u64::from(error.contains("a fault was injected") && standing.behind > 0);
            assert_eq!((standing.follower, standing.reached), ("objects", reached));
            failures >= 3
        }
        _ => false,
    });
    let standing = bed.standing();
    assert_eq!((standing.reached, standing.behind), (reached, 1));
    bed.site.sql("UPDATE item SET name = 'Again' WHERE id = 2");
    let full = bed.full();
    until("a failing mirror holds up nobody", || bed.root().as_ref() == Some(&full));
    mirror.heal();
    watcher.tells(
        "it has come along",
        |told| matches!(told, Told::Follower(standing) if standing.error.is_none() && standing.behind == 0),
    );
    bed.settle("both edits are live");
}

#[test]
fn the_command_says_how_far_a_mirror_is_behind() {
    let site = Site::small(3);
    site.edit("site.toml", "url = \"file:bucket\"", "url = \"file:bucket\"\nobjects = \"file:mirror\"");
    site.json("publish");
    let followers = |site: &Site| site.json("followers")["followers"][0].clone();
    let standing = followers(&site);
    assert_eq!((&standing["follower"], &standing["behind"]), (&"objects".into(), &0.into()));
    let taken = "items/item-1.html";
    let mirror = site.path("mirror");
    std::fs::remove_file(mirror.join(taken)).expect("it is there");
    site.write(&format!("mirror/{taken}/in/the/way"), "x");
    site.sql("UPDATE item SET name = 'Edited' WHERE id = 1");
    let error = site.refuses(1, "publish --wait 1s");
    assert!(error.contains("is live, but `objects` is still at 1"), "{error}");
    let standing = followers(&site);
    assert_eq!((&standing["reached"], &standing["behind"]), (&1.into(), &1.into()));
    assert!(standing["error"].as_str().is_some_and(|error| error.contains(taken)), "{standing}");
    assert!(site.run("followers").stdout.contains("1 release behind: "));
    std::fs::remove_dir_all(mirror.join(taken)).expect("it can be removed");
    assert_eq!(site.json("publish")["released"], false);
    let standing = followers(&site);
    assert_eq!((&standing["behind"], standing.get("error")), (&0.into(), None));
    assert!(site.read(&format!("mirror/{taken}")).contains("Edited"));
    site.verify();
}
