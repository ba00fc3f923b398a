//! The oracle of the incremental publisher: after any sequence of edits the release has the same root
//! hash as a full publish of the same rows into an empty bucket.
//!
//! Each seed is a case: a schema, a site over it, edits and publishes, all drawn at random. In the same
//! process, on buckets in memory, so that thousands of them can be run. A failing case is made smaller
//! and printed. `EDGEPRESS_ORACLE=20000,1` runs 20,000 cases from seed 1 on.

mod alter;
mod case;
mod connection;
mod consumer;
mod draw;
mod edits;
mod faults;
mod generate;
mod lies;
mod precision;
mod queries;
mod rows;
mod run;
mod schema;
mod server;
mod shapes;
mod shrink;
mod sites;
mod types;
mod words;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use edgepress_store::database::capture::Dialect;

use case::{Case, Step};
use draw::Drawn;
use faults::{FAULTS, Fault, NONE};
use run::{Failure, Kind, Seen, run};

/// Cases that are always run.
const CASES: u64 = 2_000;

/// Cases that are always run on servers, where making a database takes longer than all that is done to it.
const SERVER_CASES: u64 = 32;

/// Within so many cases every fault must be found.
const FAULT_CASES: u64 = 600;

/// Cases and the first seed, if nothing else is asked for.
fn asked(cases: u64) -> (u64, u64) {
    let Ok(asked) = std::env::var("EDGEPRESS_ORACLE") else { return (cases, 1) };
    let (cases, first) = asked.split_once(',').unwrap_or((&asked, "1"));
    let number = |text: &str| {
        text.trim().parse().unwrap_or_else(|_| panic!("EDGEPRESS_ORACLE is {asked:?}, not CASES,FIRST_SEED"))
    };
    (number(cases), number(first))
}

/// Runs the case of a seed.
fn check(dialect: Dialect, seed: u64, (drawn, seen): &mut (Drawn, Seen)) -> Option<(Case, Failure)> {
    let (case, own) = generate::case(dialect, seed);
    own.into_iter().for_each(|(name, count)| *drawn.entry(name).or_default() += count);
    run(&case, None, seen).err().map(|failure| (case, failure))
}

/// Makes a failing case smaller, prints it and fails.
fn fail(seed: u64, case: &Case, failure: Failure) -> ! {
    println!("seed {seed} fails at step {}: {:?}: {}", failure.step, failure.kind, failure.message);
    println!("making it smaller");
    let (case, Failure { kind, step, message }) = shrink::shrink(case, failure, None);
    println!("{case}");
    panic!("seed {seed} (EDGEPRESS_ORACLE=1,{seed}): {kind:?} at step {step}: {message}");
}

#[test]
fn after_any_edits_the_release_is_that_of_a_full_publish() {
    hold(Dialect::Sqlite, CASES);
}

#[test]
fn after_any_edits_the_release_is_that_of_a_full_publish_on_postgresql() {
    hold(Dialect::Postgres, SERVER_CASES);
}

#[test]
fn after_any_edits_the_release_is_that_of_a_full_publish_on_mariadb() {
    hold(Dialect::Mysql, SERVER_CASES);
}

/// Holds releases against full publishes.
fn hold(dialect: Dialect, cases: u64) {
    let (cases, first) = asked(cases);
    let next = AtomicU64::new(first);
    let failed = Mutex::new(None);
    let all = Mutex::new((Drawn::new(), Seen::default()));
    let work = || {
        let mut own = (Drawn::new(), Seen::default());
        let mut seed = next.fetch_add(1, Ordering::Relaxed);
        while seed < first + cases {
            if let Some((case, failure)) = check(dialect, seed, &mut own) {
                next.store(first + cases, Ordering::Relaxed);
                *failed.lock().expect("nobody panics with it") = Some((seed, case, failure));
            }
            seed = next.fetch_add(1, Ordering::Relaxed);
        }
        let mut all = all.lock().expect("nobody panics with it");
        own.0.into_iter().for_each(|(name, count)| *all.0.entry(name).or_default() += count);
        all.1.add(own.1);
    };
    std::thread::scope(|scope| {
        // Twice as many as there are cores: each waits for its database now and then.
        for _ in 0..2 * std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    if let Some((seed, case, failure)) = failed.into_inner().expect("nobody panicked with it") {
        fail(seed, &case, failure);
    }
    let (drawn, seen) = all.into_inner().expect("nobody panicked with it");
    report(&drawn, &seen);
    let Seen { publishes, refused, changed, precision, .. } = seen;
    assert!(refused * 4 < publishes && changed * 8 > publishes, "the cases are of no use: see above");
    // A few cases may have a row or two that many others refer to.
    let few = if dialect == Dialect::Sqlite { 0 } else { 20 };
    let most = precision.changed + precision.changed / 5 + few;
    assert!(precision.rendered <= most, "{} keys rendered; at most {most} were promised", precision.rendered);
}

/// The first case from seed 1 on that gives another release with a fault.
fn found(fault: &Fault) -> (Case, Failure) {
    let fails = |seed| {
        let (case, _) = generate::case(Dialect::Sqlite, seed);
        if !fault.concerns(&case) {
            return None;
        }
        let failure = run(&case, Some(fault), &mut Seen::default()).err()?;
        (failure.kind == Kind::Root).then(|| {
            println!("{}: seed {seed} finds it", fault.name);
            (case, failure)
        })
    };
    let name = fault.name;
    (1..=FAULT_CASES).find_map(fails).unwrap_or_else(|| panic!("{name}: {FAULT_CASES} cases find nothing"))
}

#[test]
fn every_shape_of_query_is_drawn() {
    let mut drawn = Drawn::new();
    for seed in 1..=200 {
        generate::case(Dialect::Sqlite, seed)
            .1
            .into_iter()
            .for_each(|(name, count)| *drawn.entry(name).or_default() += count);
    }
    for (_, name, _) in queries::SHAPES.iter().chain(&queries::SIMPLE) {
        assert!(drawn.contains_key(name), "{name}: 200 cases do without");
    }
}

/// Otherwise the oracle would blame the publisher for what a query leaves to chance.
#[test]
fn queries_are_determined_by_their_rows() {
    for seed in 1..=CASES / 3 {
        let (mut case, _) = generate::case(Dialect::Sqlite, seed);
        // Of more rows some have the same key but for its case: which of them stays depends on the order.
        case.rows.iter_mut().for_each(|statement| statement.rows.truncate(5));
        let mut other = case.clone();
        other.schema.retain(|statement| !statement.starts_with("CREATE INDEX"));
        other.rows.iter_mut().for_each(|statement| statement.rows.reverse());
        let (one, other) = (run::first_root(&case), run::first_root(&other));
        if one.is_ok() || other.is_ok() {
            assert_eq!(
                one, other,
                "seed {seed}: other indexes and other rowids give another release\n{case}"
            );
        }
    }
}

#[test]
fn where_nothing_is_wrong_nothing_is_found() {
    for seed in 1..=CASES / 10 {
        if let Err(failure) = run(&generate::case(Dialect::Sqlite, seed).0, Some(&NONE), &mut Seen::default())
        {
            panic!("seed {seed}: {failure:?}");
        }
    }
}

#[test]
fn every_fault_is_found() {
    let faults = Mutex::new(FAULTS.iter());
    let next = || faults.lock().expect("nobody panics with it").next();
    let work = || {
        while let Some(fault) = next() {
            found(fault);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(work);
        }
    });
}

#[test]
fn a_failing_case_is_made_small() {
    let fault = &FAULTS[0];
    let (case, failure) = found(fault);
    let (small, failure) = shrink::shrink(&case, failure, Some(fault));
    println!("{}\n{small}\nstep {}: {}", fault.name, failure.step, failure.message);
    let edits = small.steps.iter().filter(|step| matches!(step, Step::Edit(_)));
    assert_eq!((small.site.collections.len(), edits.count(), small.steps.len()), (1, 1, 3));
    let rows: usize = small.rows.iter().map(|statement| statement.rows.len()).sum();
    assert!(rows <= 2 && small.schema.len() <= 2, "{small}");
}

/// Prints what was drawn and what came of it.
fn report(drawn: &Drawn, seen: &Seen) {
    for (name, count) in drawn {
        println!("{count:8} {name}");
    }
    let Seen { publishes, refused, incremental, changed, documents, reasons, precision, wholes } = seen;
    println!("{publishes:8} publishes: {refused} refused, {incremental} incremental, {changed} with changes");
    println!("{documents:8} documents compared");
    println!("{:8} keys rendered for {} that changed", precision.rendered, precision.changed);
    for (why, count) in wholes {
        println!("{count:8} rendered whole: {why}");
    }
    let mut reasons: Vec<_> = reasons.iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    for (reason, count) in reasons.into_iter().take(40) {
        println!("{count:8} refused: {reason}");
    }
}
