//! A publisher killed at every one of its writes: before it took effect, and after it did, but without an
//! answer. In process, so that every state in between is seen.
//!
//! What is asserted each time: what is live is wholly stored; the next publisher, which knows nothing of
//! the one before it, gives the release and the mirror of a full publish; it looks at the changes alone
//! unless a rollback holds the site; and so does the one after it.

use std::sync::atomic::{AtomicUsize, Ordering};

use edgepress_publisher::error::whole;
use edgepress_publisher::{Options, Source};
use edgepress_site::release::State;

use super::world::{Act, Full, World};
use crate::edits;
use crate::support::{Random, Stop, YES};

pub(super) const ROWS: &str = "
INSERT INTO brand VALUES ('b0', 'Brand 0'), ('b1', 'Brand 1'), ('b2', 'Brand 2');
INSERT INTO product VALUES ('p0', 'Product 0', 1, 'b0', 1), ('p1', 'Product 1', 2, 'b0', 1),
  ('p2', 'Product 2', 3, 'b1', 1), ('p3', 'Product 3', 4, 'b1', 0), ('p4', 'Product 4', 5, NULL, 1);
INSERT INTO variant VALUES ('s0', 'p0', 1), ('s1', 'p0', 2), ('s2', 'p1', 3), ('s3', 'p3', 4);";

/// The edit after the kill, and after what came of that.
const LATER: &str = "UPDATE variant SET stock = stock + 7 WHERE sku IN ('s1', 's2'); \
    UPDATE brand SET name = name || '!' WHERE slug = 'b1'; INSERT INTO product VALUES ('late', 'Late', 9, 'b1', 1)";

/// What happens: to the rows, to a template, and then the act during which publishers are killed.
struct Step {
    name: &'static str,
    sql: &'static str,
    template: Option<&'static str>,
    act: Act,
}

const fn step(name: &'static str, sql: &'static str, act: Act) -> Step {
    Step { name, sql, template: None, act }
}

const PUBLISH: Act = Act::Publish(YES);

const STEPS: [Step; 16] = [
    step("first publish", "", PUBLISH),
    step(
        "insert",
        "INSERT INTO product VALUES ('p5', 'Product 5', 6, 'b2', 1); INSERT INTO variant VALUES ('s5', 'p5', 1)",
        PUBLISH,
    ),
    step(
        "update",
        "UPDATE product SET name = 'New' WHERE slug = 'p0'; UPDATE variant SET stock = 0 WHERE sku = 's2'",
        PUBLISH,
    ),
    step("delete", "DELETE FROM product WHERE slug = 'p4'; DELETE FROM variant WHERE sku = 's5'", PUBLISH),
    step(
        "key change",
        "UPDATE product SET slug = 'moved' WHERE slug = 'p1'; UPDATE variant SET product = 'moved' WHERE product = 'p1'",
        PUBLISH,
    ),
    step(
        "list membership",
        "UPDATE product SET listed = 1 - listed WHERE slug IN ('p2', 'p3'); UPDATE product SET brand = 'b2' WHERE slug = 'p0'",
        PUBLISH,
    ),
    step("nothing that is published", "INSERT INTO product VALUES ('p6', 'Hidden', 6, 'b2', 0)", PUBLISH),
    Step {
        name: "template",
        sql: "UPDATE product SET price = 77 WHERE slug = 'p5'",
        template: Some("<h2>{{ name }}</h2>{{ price }}\n"),
        act: PUBLISH,
    },
    step(
        "schema",
        "ALTER TABLE variant ADD COLUMN note TEXT; UPDATE variant SET stock = 8 WHERE sku = 's0'",
        PUBLISH,
    ),
    step("full publish", "DELETE FROM brand WHERE slug = 'b0'", Act::Publish(Options { full: true, ..YES })),
    step("full publish of what is live", "", Act::Publish(Options { full: true, ..YES })),
    step("another update", "UPDATE product SET price = price + 1", PUBLISH),
    step("rollback", "", Act::Rollback(3)),
    step(
        "resume",
        "UPDATE product SET name = 'Held' WHERE slug = 'p2'; DELETE FROM variant WHERE sku = 's0'",
        Act::Publish(Options { resume: true, ..YES }),
    ),
    step("update after the resume", "UPDATE product SET price = 5 WHERE slug = 'p2'", PUBLISH),
    step("rows renewed", "DELETE FROM variant; INSERT INTO variant VALUES ('s9', 'p2', 1, '')", PUBLISH),
];

pub(super) fn source() -> (crate::support::Site, Source) {
    let site = edits::site(edits::SCHEMA);
    let source = Source::load(&site.path("site.toml"), &|_| None).expect("the site is right");
    (site, source)
}

/// Nothing is missing or altered but what the next publish mends.
pub(super) fn check_stored(world: &World, place: &str) {
    for bad in world.verify().into_iter().flat_map(|found| found.problems) {
        assert!(bad.problem.contains("`edgepress publish` finishes it"), "{place}: {bad:?}");
    }
}

/// The next publish gives what a full one does.
pub(super) fn check_publish(world: &World, source: &Source, expected: &Full, place: &str) {
    let live = world.live();
    let report = world.publish(source, place);
    assert_eq!(report.root, expected.root, "{place}: {report:?}");
    assert!(world.mirror() == expected.documents, "{place}: the mirror is not the release");
    let is_known = live.is_some_and(|live| live.state == State::Live);
    assert_eq!(report.full.is_none(), is_known, "{place}: {:?}", report.full);
}

pub(super) fn check_whole(world: &World, place: &str) {
    let verified = world.verify().expect("something is live");
    assert_eq!(verified.bad, 0, "{place}: {verified:?}");
}

/// Kills whoever does this step at each of its writes; how many states that were.
fn strike_all(world: &World, source: &Source, step: &Step) -> usize {
    let clean = world.copy();
    let expected = clean.full(source);
    let (outcome, writes) = clean.act(source, step.act, None);
    if let Err(error) = outcome.expect("nobody kills it") {
        panic!("{}: {}", step.name, whole(&error));
    }
    let mut later = clean.copy();
    later.sql(LATER);
    let after = later.full(source);
    for (number, what) in (1..).zip(&writes) {
        for stop in [Stop::Before(number), Stop::After(number)] {
            let place = format!("{}, killed {stop:?} of {} ({what})", step.name, writes.len());
            let mut world = world.copy();
            let (outcome, _) = world.act(source, step.act, Some(stop));
            assert!(outcome.is_none(), "{place}: it was not killed");
            check_stored(&world, &place);
            check_publish(&world, source, &expected, &place);
            check_whole(&world, &place);
            // Whatever was in the way of the first one is no more: every other state is enough.
            if stop == Stop::After(number) {
                world.sql(LATER);
                check_publish(&world, source, &after, &format!("{place}, and an edit later"));
            }
        }
    }
    2 * writes.len()
}

#[test]
fn a_publisher_killed_at_any_write_loses_nothing() {
    let (_site, mut source) = source();
    let mut world = World::new(&format!("{}{ROWS}", edits::SCHEMA));
    let mut moments = Vec::new();
    for step in &STEPS {
        world.sql(step.sql);
        if let Some(template) = step.template {
            source.templates.insert("product.html".to_owned(), template.to_owned());
        }
        moments.push((world.copy(), source.clone(), step));
        let (outcome, _) = world.act(&source, step.act, None);
        outcome.expect("nobody kills it").unwrap_or_else(|error| panic!("{}: {}", step.name, whole(&error)));
    }
    let moments = std::sync::Mutex::new(moments.into_iter());
    let (next, states) = (|| moments.lock().expect("nobody panics with it").next(), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((world, source, step)) = next() {
                    let number = strike_all(&world, &source, step);
                    println!("{}: {number} states", step.name);
                    states.fetch_add(number, Ordering::Relaxed);
                }
            });
        }
    });
    let states = states.into_inner();
    println!("{states} states");
    assert!(states > 300, "only {states} states were tried");
}

/// Sites whose publishers are killed at random, one after the other, so that what they leave adds up.
const SITES: u64 = 8;

/// Publishers of each.
const LIVES: u64 = 60;

/// Edits, publishes, rolls back and kills whoever does it; how many were killed. `of` makes SQL that the
/// database understands.
pub(super) fn kill_at_random(
    mut world: World,
    source: &Source,
    seed: u64,
    lives: u64,
    of: impl Fn(&str) -> String,
) -> usize {
    let (mut random, mut killed) = (Random(seed), 0);
    for life in 0..lives {
        let place = format!("seed {seed}, life {life}");
        let edited: Vec<String> = (0..random.below(4)).map(|_| of(&edits::edit(&mut random))).collect();
        if !edited.is_empty() {
            world.sql(&format!("BEGIN; {}; COMMIT", edited.join("; ")));
        }
        let number = 1 + random.below(25) as usize;
        let stop = if random.below(2) == 0 { Stop::Before(number) } else { Stop::After(number) };
        let live = world.live();
        let resume = live.as_ref().is_some_and(|live| live.state == State::Held);
        let act = match (random.below(8), live) {
            (0, Some(live)) if live.parent > 0 => Act::Rollback(live.parent),
            (1, _) => Act::Publish(Options { full: true, resume, ..YES }),
            _ => Act::Publish(Options { resume, ..YES }),
        };
        match world.act(source, act, Some(stop)) {
            (None, _) => killed += 1,
            (Some(Ok(_)), _) => {}
            (Some(Err(error)), _) => panic!("{place}: {}", whole(&error)),
        }
        if life % 6 == 5 || life + 1 == lives {
            check_stored(&world, &place);
            let expected = world.full(source);
            check_publish(&world, source, &expected, &place);
            check_whole(&world, &place);
        }
    }
    killed
}

#[test]
fn publishers_killed_at_random_one_after_the_other_lose_nothing() {
    let (_site, source) = source();
    let killed = AtomicUsize::new(0);
    let run = |seed: u64| {
        let world = World::new(&format!("{}{ROWS}", edits::SCHEMA));
        let number = kill_at_random(world, &source, seed, LIVES, |sql| sql.to_owned());
        killed.fetch_add(number, Ordering::Relaxed);
    };
    std::thread::scope(|scope| {
        let run = &run;
        for half in 0..2 {
            scope.spawn(move || (1..=SITES).filter(|seed| seed % 2 == half).for_each(run));
        }
    });
    let killed = killed.into_inner();
    println!("{killed} publishers were killed");
    assert!(killed > 300, "only {killed} publishers were killed");
}
