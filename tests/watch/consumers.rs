//! Several publishers that share a database: none takes another's changes, and none waits for one that
//! stays away.

use edgepress_store::database::capture::Capture as _;

use super::bed::{Bed, site};

/// Two beds on one file.
fn two(second: Bed, first: &Bed) -> Bed {
    Bed { database: first.database.clone(), ..second }
}

#[test]
fn one_that_lags_too_far_publishes_in_full_and_the_other_does_not() {
    let busy = Bed::new(site(6));
    let lazy = two(Bed::new(site(6)), &busy);
    busy.publish_right("the first publish");
    lazy.publish_right("the first publish");
    for round in 0..3 {
        for edit in 0..10 {
            busy.site.sql(&format!(
                "UPDATE item SET name = '{round} {edit}' WHERE id = 1 + {edit} % 4; DELETE FROM item WHERE id = 6;
                 INSERT INTO item VALUES (6, 'six-{round}-{edit}', '{edit}')"
            ));
            let report = busy.publish_right("the busy one");
            assert_eq!(report.full, None, "round {round}, edit {edit}");
            // A limit so small that whoever missed more than a few changes is not waited for.
            let database = busy.open();
            busy.runtime.block_on(database.prune(4)).expect("it can be written");
        }
        let report = lazy.publish_right("the lazy one");
        let why = report.full.unwrap_or_default();
        assert!(why.contains("deleted before they were seen"), "round {round}: {why:?}");
        busy.site.sql(&format!("UPDATE item SET name = 'round {round}' WHERE id = 2"));
        assert_eq!(lazy.publish_right("the lazy one, in time").full, None);
        assert_eq!(busy.publish_right("the busy one, later").full, None);
    }
}

#[test]
fn two_sites_on_one_database_do_not_take_each_others_changes() {
    let items = Bed::new(site(6));
    let tables = "\nCREATE TABLE note (slug, item INTEGER, text);\nINSERT INTO note VALUES ('a', 1, 'A'), ('b', 2, 'B');\n";
    items.site.write("schema.sql", &format!("{}{tables}", items.site.read("schema.sql")));
    let other = site(0);
    other.edit(
        "site.toml",
        "SELECT id, slug, name FROM item",
        "SELECT note.slug, text AS name, item.slug AS of FROM note LEFT JOIN item ON item.id = note.item",
    );
    other.edit("site.toml", "SELECT slug, name FROM item", "SELECT slug, text AS name FROM note");
    let notes = two(Bed::new(other), &items);
    items.publish_right("items");
    notes.publish_right("notes");
    // What the second one reads made capture record more.
    items.publish_right("items");
    let edits = [
        ("UPDATE item SET name = 'New' WHERE id = 1", true, false),
        ("UPDATE note SET text = 'New' WHERE slug = 'a'", false, true),
        ("UPDATE item SET slug = 'moved' WHERE id = 2", true, true),
        ("DELETE FROM note WHERE slug = 'b'; INSERT INTO note VALUES ('c', 9, 'C')", false, true),
        ("INSERT INTO item VALUES (9, 'nine', 'Nine')", true, true),
        ("UPDATE note SET item = 3; UPDATE item SET name = 'Last' WHERE id = 3", true, true),
        ("DELETE FROM item WHERE id = 3", true, true),
    ];
    for turn in 0..2 {
        for (edit, of_items, of_notes) in edits {
            let again = || edit.replace("New", "Newer").replace('9', "19").replace("'c'", "'d'");
            let sql = if turn == 0 { edit.to_owned() } else { again().replace("nine", "ten") };
            items.site.sql(&sql);
            let (first, second) = if turn == 0 { (&items, &notes) } else { (&notes, &items) };
            let (first, second) = (first.publish_right(&sql), second.publish_right(&sql));
            assert!(first.full.is_none() && second.full.is_none(), "{sql}");
            assert!(first.whole.is_empty() && second.whole.is_empty(), "{sql}: {:?}", second.whole);
            let (of_items_now, of_notes_now) = if turn == 0 { (&first, &second) } else { (&second, &first) };
            if turn == 0 {
                assert_eq!((of_items_now.released, of_notes_now.released), (of_items, of_notes), "{sql}");
            }
            assert!(of_items || of_items_now.keys == 0, "{sql}: {}", of_items_now.keys);
        }
    }
}
