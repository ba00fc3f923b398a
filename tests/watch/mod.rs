//! A watching publisher in bad company: a database that is locked, replaced, robbed of its triggers or
//! shared; a bucket that is gone; rows that are broken; definitions of others. Whatever happens, the
//! watcher lives, and once it is over the rows are live.

mod bed;
mod clock;
mod consumers;
mod followers;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::Arc;

use edgepress_publisher::progress::Progress;
use edgepress_publisher::{Options, Prepared, Session};
use edgepress_store::bucket::Directory;

use self::bed::{Bed, Told, site};
use crate::support::{Guarded, Site, until};

/// How many publishes fail on a lock before it is let go. Each waits for it as long as the database's
/// adapter does.
const LOCKED: usize = 1;

/// Another process that has changed rows, and does not commit.
struct Holder {
    _child: Guarded,
    stdin: ChildStdin,
}

impl Holder {
    /// Runs `before`, then holds the lock of the file.
    fn new(site: &Site, before: &str, begin: &str) -> Self {
        let mut command = Command::new("sqlite3");
        command.args(["-cmd", ".timeout 20000", "-bail"]).arg(site.path("site.db"));
        let mut child = Guarded::spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let mut stdin = child.0.stdin.take().expect("it was piped");
        let text =
            format!("{before}; {begin}; UPDATE item SET name = 'Held' WHERE id = 2; SELECT 'begun';\n");
        stdin.write_all(text.as_bytes()).expect("it reads what it is told");
        let mut said = String::new();
        let stdout = child.0.stdout.take().expect("it was piped");
        BufReader::new(stdout).read_line(&mut said).expect("it answers");
        assert_eq!(said, "begun\n");
        Self { _child: child, stdin }
    }

    fn commit(mut self) {
        self.stdin.write_all(b"COMMIT;\n").expect("it reads what it is told");
        drop(self.stdin);
        assert!(self._child.wait().success());
    }
}

#[test]
fn edits_before_and_under_a_lock_held_for_long_go_live_once_it_is_let_go() {
    let site = site(5);
    // So that the lock is there before the edit is noticed.
    site.edit("site.toml", "quiet = \"5ms\"\nmax_wait = \"50ms\"", "quiet = \"1s\"\nmax_wait = \"3s\"");
    let bed = Bed::new(site);
    let watcher = bed.watch();
    bed.settle("the site is live");
    watcher.take();
    let holder = Holder::new(&bed.site, "UPDATE item SET name = 'Before' WHERE id = 1", "BEGIN IMMEDIATE");
    for _ in 0..LOCKED {
        watcher.fails("locked");
    }
    holder.commit();
    bed.settle("both edits are live");
    assert!(bed.shows("items/item-1.html", "Before"));
    assert!(watcher.lives());
    bed.site.sql("UPDATE item SET name = 'After' WHERE id = 3");
    bed.settle("a later edit is live");
    let is_full = |told: &Told| matches!(told, Told::Published(report) if report.full.is_some());
    assert!(!watcher.take().iter().any(is_full), "a lock is no reason to make everything anew");
}

#[test]
fn a_first_publish_under_a_lock_is_full_and_records_edits_later() {
    let bed = Bed::new(site(5));
    drop(bed.open());
    for (number, begin) in ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"].into_iter().enumerate() {
        let holder = Holder::new(&bed.site, "SELECT 1 WHERE 0", begin);
        let watcher = bed.watch();
        let is_over = |told: &Told| match told {
            Told::Failed(message) => message.contains("locked"),
            Told::Published(report) => report.full.is_some(),
            Told::Follower(_) => false,
        };
        if number == 0 {
            watcher.tells("it meets the lock", is_over);
        }
        holder.commit();
        bed.settle("the rows are live");
        bed.site.sql("UPDATE item SET name = 'Later' WHERE id = 1");
        bed.settle("an edit is live");
        watcher.take();
        bed.site.sql("UPDATE item SET name = 'Last' WHERE id = 1");
        let is_incremental =
            |told: &Told| matches!(told, Told::Published(report) if report.full.is_none() && report.released);
        watcher.tells("an edit goes live by itself", is_incremental);
        bed.settle("the last edit is live");
    }
}

#[test]
fn a_bucket_that_cannot_be_reached_for_a_while_gets_every_edit_afterwards() {
    let mut bed = Bed::new(site(5));
    let folder = bed.site.bucket();
    let directory = bed.runtime.block_on(Directory::open(&folder, "file:bucket")).expect("it can be made");
    bed.bucket = Arc::new(directory);
    bed.objects = bed.bucket.clone();
    let watcher = bed.watch();
    bed.settle("the site is live");
    for (round, stands_in) in [true, false].into_iter().enumerate() {
        watcher.take();
        let away = bed.site.path("away");
        std::fs::rename(&folder, &away).expect("it can be moved");
        if stands_in {
            std::fs::write(&folder, "no folder").expect("writable");
        }
        bed.site.sql(&format!("UPDATE item SET name = 'Away {round}' WHERE id = 1"));
        watcher.tells("it fails", |told| matches!(told, Told::Failed(_)));
        assert!(stands_in || !folder.exists(), "a bucket that is gone is made anew without being asked");
        if stands_in {
            std::fs::remove_file(&folder).expect("it can be removed");
        }
        std::fs::rename(&away, &folder).expect("it can be moved back");
        bed.settle("the edit is live");
        assert!(watcher.lives());
    }
}

/// Copies the database as it is.
fn back_up(bed: &Bed, name: &str) {
    bed.site.sql(&format!("VACUUM INTO '{}'", bed.site.path(name).display()));
}

#[test]
fn a_restored_backup_is_noticed_and_published_in_full() {
    let bed = Bed::new(site(6));
    let watcher = bed.watch();
    bed.settle("the site is live");
    back_up(&bed, "old.db");
    bed.site.sql("UPDATE item SET name = 'Lost' WHERE id < 3; DELETE FROM item WHERE id = 6");
    bed.settle("the edits are live");
    watcher.take();
    // Into the same file, as `sqlite3` does it.
    bed.site.sql(&format!(".restore '{}'", bed.site.path("old.db").display()));
    watcher.publishes_all("");
    bed.settle("the backup is live");
    assert!(bed.body("items/item-6.html").is_some());
    bed.site.sql("UPDATE item SET name = 'New' WHERE id = 2");
    bed.settle("an edit of it is live");
    back_up(&bed, "older.db");
    bed.site.sql("UPDATE item SET name = 'Lost' WHERE id = 4; INSERT INTO item VALUES (9, 'lost', 'Lost')");
    bed.settle("the edits are live");
    watcher.take();
    // Another file in its place. What was written ahead belongs to the old one.
    for suffix in ["wal", "shm"] {
        let _ = std::fs::remove_file(bed.site.path(&format!("site.db-{suffix}")));
    }
    std::fs::rename(bed.site.path("older.db"), bed.site.path("site.db")).expect("it can be moved");
    watcher.publishes_all("");
    bed.settle("the backup is live");
    bed.site.sql("UPDATE item SET name = 'Newer' WHERE id = 2");
    bed.settle("an edit of it is live");
}

#[test]
fn dropped_triggers_and_removed_capture_lose_no_edit() {
    let bed = Bed::new(site(5));
    let watcher = bed.watch();
    bed.settle("the site is live");
    for (number, trigger) in
        ["edgepress_insert_item", "edgepress_update_item", "edgepress_delete_item"].iter().enumerate()
    {
        bed.site.sql(&format!(
            "BEGIN; DROP TRIGGER {trigger}; UPDATE item SET name = '{trigger}' WHERE id = 1; \
             INSERT INTO item VALUES ({0}, 'new-{0}', 'x'); DELETE FROM item WHERE id = {1}; COMMIT",
            100 + number,
            3 + number
        ));
        bed.settle("what no trigger saw is live");
        bed.site.sql(&format!("UPDATE item SET name = '{number}' WHERE id = 2"));
        bed.settle("an edit later is live");
    }
    watcher.take();
    assert_eq!(bed.site.json("capture remove")["removed"], true);
    bed.site.sql("UPDATE item SET name = 'Unseen' WHERE id = 1");
    bed.settle("an edit after capture was removed is live");
    // Capture and edits at the same time.
    for number in 0..5 {
        bed.site.json("capture remove");
        bed.site.sql(&format!("UPDATE item SET name = 'Number {number}' WHERE id = 2"));
    }
    bed.settle("the last of them is live");
    bed.site.sql("UPDATE item SET name = 'Seen' WHERE id = 1");
    bed.settle("an edit is live");
    assert!(watcher.lives());
}

#[test]
fn one_broken_row_is_reported_and_holds_up_nobody() {
    let bed = Bed::new(site(5));
    let breaks = "{% if name == 'Broken' %}{{ nothing }}{% endif %}<h1>{{ name }}</h1>\n";
    bed.site.write("pages/item.html", breaks);
    let watcher = bed.watch();
    bed.settle("the site is live");
    // The template does not take it.
    bed.site.sql("UPDATE item SET name = 'Broken' WHERE id = 1; UPDATE item SET name = 'Fine' WHERE id = 2");
    watcher.reports("`nothing`");
    until("the other row is live", || bed.shows("items/item-2.html", "Fine"));
    assert!(bed.shows("items/item-1.html", "Item 1"), "the old page stays");
    bed.site.sql("UPDATE item SET name = 'Still fine' WHERE id = 3");
    until("edits go on", || bed.shows("items/item-3.html", "Still fine"));
    bed.site.sql("UPDATE item SET name = 'Mended' WHERE id = 1");
    bed.settle("the mended row is live");
    // No path can say this.
    bed.site
        .sql("UPDATE item SET slug = 'a/b' WHERE id = 1; UPDATE item SET name = 'Fine again' WHERE id = 2");
    watcher.reports("`slug`");
    until("the other row is live", || bed.shows("items/item-2.html", "Fine again"));
    bed.site.sql("UPDATE item SET slug = 'mended' WHERE id = 1");
    bed.settle("the mended row is live, and its old page gone");
    assert!(bed.body("items/item-1.html").is_none() && bed.shows("items/mended.html", "Mended"));
    // Broken by the template, mended by the template.
    bed.site.write(
        "pages/item.html",
        "{% if name == 'Fine again' %}{{ nothing }}{% endif %}<h1>{{ name }}</h1>\n",
    );
    watcher.change();
    watcher.reports("nothing");
    bed.site.write("pages/item.html", "<h2>{{ name }}</h2>\n");
    watcher.change();
    bed.settle("the mended template is live");
}

#[test]
fn publishers_with_definitions_of_different_age_each_release_their_own() {
    let bed = Bed::new(site(5));
    let database = bed.open();
    let session = || Session::new(bed.publisher(), Prepared::new(bed.source()).expect("the site is right"));
    let publish = |session: &mut Session| {
        let progress = Progress::default();
        let report = bed.runtime.block_on(session.publish(&database, Options::default(), &progress));
        report.expect("nothing is in the way")
    };
    let mut old = session();
    let old_root = bed.full();
    assert_eq!(publish(&mut old).root, old_root);
    let definition = bed.site.read("site.toml");
    bed.site.edit("site.toml", "\"/items/{slug}.json\"", "\"/rows/{slug}.json\"");
    bed.site.write("pages/item.html", "<h3>{{ name }}</h3>\n");
    let new_definition = bed.site.read("site.toml");
    let mut new = session();
    for round in 0..3 {
        bed.site.sql(&format!("UPDATE item SET name = 'Round {round}' WHERE id = {}", round + 1));
        let report = publish(&mut new);
        assert_eq!((report.root, report.full), (bed.full(), None), "round {round}, the new definition");
        bed.site.write("site.toml", &definition);
        bed.site.write("pages/item.html", "<h1>{{ name }}</h1>\n");
        let report = publish(&mut old);
        assert_eq!((report.root, report.full), (bed.full(), None), "round {round}, the old definition");
        bed.site.write("site.toml", &new_definition);
        bed.site.write("pages/item.html", "<h3>{{ name }}</h3>\n");
    }
}

#[test]
fn a_value_that_cannot_be_read_is_told_and_stops_nothing_else() {
    let bed = Bed::new(site(5));
    let watcher = bed.watch();
    bed.settle("the site is live");
    for (value, named) in [("9e999", "infinite"), ("cast(x'ff' as text)", "not valid UTF-8")] {
        bed.site.sql(&format!("UPDATE item SET name = {value} WHERE id = 1"));
        watcher.reports(named);
        bed.site.sql(&format!("UPDATE item SET name = 'Beside {named}' WHERE id = 2"));
        until("another row is live", || bed.shows("items/item-2.html", &format!("Beside {named}")));
        bed.site.sql("UPDATE item SET name = 'Mended' WHERE id = 1");
        bed.settle("the mended row is live");
    }
    assert!(watcher.lives());
}

#[test]
fn a_row_without_a_path_makes_no_edit_of_others_dearer() {
    let bed = Bed::new(site(20));
    let watcher = bed.watch();
    bed.settle("the site is live");
    bed.site.sql("UPDATE item SET slug = NULL WHERE id = 1");
    watcher.reports("`slug`");
    for id in 2..6 {
        bed.site.sql(&format!("UPDATE item SET name = 'Edited {id}' WHERE id = {id}"));
        let path = format!("items/item-{id}.html");
        until("the edit is live", || bed.shows(&path, &format!("Edited {id}")));
    }
    for told in watcher.take() {
        if let Told::Published(report) = told {
            assert_eq!((report.rendered, report.whole.len()), (3, 0), "one row and the list: {report:?}");
        }
    }
    bed.site.sql("UPDATE item SET slug = 'mended' WHERE id = 1");
    bed.settle("the mended row is live, and its old documents are gone");
}

#[test]
fn a_document_in_the_way_of_another_collections_is_awaited_without_a_pause() {
    let bed = Bed::new(site(3));
    let more = "[[collection]]\nname = \"page\"\nquery = \"SELECT slug FROM page\"\n  \
                [[collection.document]]\n  path = \"/{slug}\"\n  type = \"application/json\"\n\n\
                [[collection]]\nname = \"list\"";
    bed.site.edit("site.toml", "[[collection]]\nname = \"list\"", more);
    let schema = bed.site.read("schema.sql");
    bed.site.write("schema.sql", &format!("{schema}\nCREATE TABLE page (id INTEGER PRIMARY KEY, slug);"));
    let watcher = bed.watch();
    bed.settle("the site is live");
    bed.site.sql("INSERT INTO page VALUES (1, 'items')");
    watcher.reports("/items is a document");
    // The clock stands still: nothing is tried again for its time has come.
    bed.site.sql("DELETE FROM item");
    until("the page is live", || bed.body("items").is_some());
    bed.settle("all of it is live");
    assert!(watcher.lives());
}

#[test]
fn a_static_file_in_the_way_of_what_is_live_is_told_and_keeps_no_edit_back() {
    let bed = Bed::new(site(3));
    bed.site.write("static/harmless", "x");
    bed.site.edit("site.toml", "templates = \"pages\"", "templates = \"pages\"\nstatic = \"static\"");
    let watcher = bed.watch();
    bed.settle("the site is live");
    bed.site.write("static/items", "in the way");
    watcher.change();
    watcher.reports("the static file /items");
    drop(watcher);
    // One that begins with it, too.
    let watcher = bed.watch();
    bed.site.sql("UPDATE item SET name = 'Edited' WHERE id = 1");
    watcher.reports("the static file /items");
    until("the edit is live", || bed.shows("items/item-1.html", "Edited"));
    std::fs::remove_file(bed.site.path("static/items")).expect("it is there");
    bed.site.write("static/other", "not in the way");
    watcher.change();
    bed.settle("the mended site is live");
    assert!(bed.body("other").is_some());
}

#[test]
fn of_two_watchers_with_different_sites_the_one_that_began_last_goes_on() {
    let bed = Bed::new(site(3));
    let old = bed.watch();
    bed.settle("the site is live");
    bed.site.write("pages/item.html", "<h2>{{ name }}</h2>\n");
    let new = bed.watch();
    bed.settle("the other site is live");
    bed.site.sql("UPDATE item SET name = 'Edited' WHERE id = 1");
    old.fails("was made by another publisher, with another site.toml");
    bed.settle("the edit is live");
    let number = || bed.runtime.block_on(bed.publisher().releases.current()).expect("it can be read");
    let live = number().expect("something is live").0.live().number;
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(number().expect("something is live").0.live().number, live, "nobody takes it back");
    assert!(bed.shows("items/item-1.html", "<h2>Edited"));
    // Its files are the same by now: it goes on when it reads them.
    old.take();
    old.change();
    drop(new);
    bed.site.sql("UPDATE item SET name = 'Again' WHERE id = 1");
    bed.settle("the next edit is live");
    assert!(old.lives());
}
