//! The same on database servers: a publisher killed at every one of its writes, each time on the rows that the
//! one before it left; and at random.

use edgepress_publisher::error::whole;
use edgepress_publisher::{Options, Source};
use edgepress_site::release::State;
use edgepress_store::database::servers;

use super::steps::{ROWS, check_publish, check_stored, check_whole, kill_at_random, source};
use super::world::{Act, World};
use crate::edits;
use crate::support::{Stop, YES};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Postgres,
    Mariadb,
}

/// What is done again and again while publishers are killed.
const ACTS: [(&str, Option<Options>); 4] = [
    ("publish", Some(YES)),
    ("full publish", Some(Options { full: true, ..YES })),
    ("rollback", None),
    ("resume", Some(Options { resume: true, ..YES })),
];

fn world(kind: Kind) -> World {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    let url = runtime.block_on(async {
        match kind {
            Kind::Postgres => servers::postgres().await.database().await,
            Kind::Mariadb => servers::mariadb().await.database().await,
        }
    });
    World::served(url, &format!("{}{ROWS}", edits::SCHEMA.replace("TEXT", "VARCHAR(40)")))
}

/// SQLite's edits in SQL that servers understand: what is in the way goes first.
fn portable(sql: &str) -> String {
    let words = |word: &str| sql.strip_prefix(word);
    let replaced = words("INSERT OR REPLACE INTO ").or_else(|| words("INSERT OR IGNORE INTO "));
    if let Some(rest) = replaced {
        let (table, values) = rest.split_once(" VALUES (").expect("it has values");
        let (key, _) = values.split_once(',').expect("it has several");
        let column = if table == "variant" { "sku" } else { "slug" };
        return format!("DELETE FROM {table} WHERE {column} = {key}; INSERT INTO {rest}");
    }
    if let Some(rest) = words("UPDATE OR REPLACE product SET slug = ") {
        let (to, from) = rest.split_once(" WHERE slug = ").expect("it has both");
        return format!(
            "DELETE FROM product WHERE slug = {to} AND {to} <> {from}; UPDATE product SET slug = {rest}"
        );
    }
    sql.to_owned()
}

/// Kills whoever does this at each of its writes, one after the other; how many were killed.
fn strike(world: &mut World, source: &Source, (name, options): (&str, Option<Options>)) -> usize {
    let mut killed = 0;
    for number in 1.. {
        // Killed before a write is as good as after the one before it.
        let stop = Stop::After(number);
        let place = format!("{name}, killed {stop:?}");
        world.sql(&format!(
            "UPDATE product SET price = price + 1, slug = 'moved{killed}' WHERE slug LIKE 'moved%' OR slug = 'p0'; \
             UPDATE brand SET name = '{name} {killed}' WHERE slug = 'b1'; DELETE FROM variant WHERE sku = 'x'; \
             INSERT INTO variant VALUES ('x', 'p2', {killed})"
        ));
        let live = world.live().expect("it was published before");
        if options.is_some_and(|options| options.resume) && live.state == State::Live {
            let (outcome, _) = world.act(source, Act::Rollback(live.parent), None);
            outcome.expect("nobody kills it").unwrap_or_else(|error| panic!("{}", whole(&error)));
        }
        let act = options.map_or(Act::Rollback(live.parent), Act::Publish);
        let (outcome, writes) = world.act(source, act, Some(stop));
        let is_killed = outcome.is_none();
        killed += usize::from(is_killed);
        check_stored(world, &place);
        check_publish(world, source, &world.full(source), &place);
        check_whole(world, &place);
        if !is_killed {
            assert!(writes.len() < number, "{place}: {writes:?}");
            return killed;
        }
    }
    killed
}

fn check(kind: Kind) {
    let (_site, source) = source();
    let mut killed = 0;
    // A first publish has a new database each time.
    for number in 1.. {
        let world = world(kind);
        let (outcome, _) = world.act(&source, Act::Publish(YES), Some(Stop::After(number)));
        check_publish(
            &world,
            &source,
            &world.full(&source),
            &format!("{kind:?}, first publish, write {number}"),
        );
        if outcome.is_some() {
            break;
        }
        killed += 1;
    }
    let mut world = world(kind);
    world.publish(&source, "first publish");
    world.sql(
        "UPDATE product SET price = 50 WHERE slug = 'p3'; UPDATE product SET price = 50 WHERE slug = 'p2'",
    );
    world.publish(&source, "second publish");
    killed += ACTS.map(|act| strike(&mut world, &source, act)).iter().sum::<usize>();
    println!("{kind:?}: {killed} publishers were killed, each at another write");
    assert!(killed > 50, "only {killed} states were tried on {kind:?}");
    let world = self::world(kind);
    let killed = kill_at_random(world, &source, 1, 40, portable);
    println!("{kind:?}: {killed} publishers were killed at random");
    assert!(killed > 20, "only {killed} publishers were killed on {kind:?}");
}

#[test]
fn publishers_from_postgresql_killed_at_any_write_lose_nothing() {
    check(Kind::Postgres);
}

#[test]
fn publishers_from_mariadb_killed_at_any_write_lose_nothing() {
    check(Kind::Mariadb);
}
