//! Draws whole cases.

use edgepress_store::database::capture::Dialect;

use super::case::{Case, How, Publish, Site, Step};
use super::draw::{Draw, Drawn};
use super::edits::Edits;
use super::queries::{Queries, View};
use super::schema::Schema;
use super::sites;

/// The case of a seed, and what was drawn for it.
pub(super) fn case(dialect: Dialect, seed: u64) -> (Case, Drawn) {
    let mut draw = Draw::new(dialect, seed);
    let schema = Schema::draw(&mut draw);
    let views = views(&mut draw, &schema);
    let site = sites::site(&mut Queries { draw: &mut draw, schema: &schema, views: &views });
    let mut statements = schema.before();
    statements.extend(schema.tables.iter().map(|table| table.statement.clone()));
    statements.extend(schema.extras(&mut draw));
    let named: Vec<(String, String)> =
        views.iter().map(|view| (view.name.clone(), view.query.sql.clone())).collect();
    statements.extend(named.iter().map(|(name, query)| format!("CREATE VIEW {name} AS {query}")));
    let mut pragmas = Vec::new();
    if dialect == Dialect::Sqlite {
        pragmas.push(format!("PRAGMA foreign_keys = {}", u8::from(schema.has_foreign_keys)));
        if draw.rarely(10, "schema: recursive triggers") {
            pragmas.push("PRAGMA recursive_triggers = 1".to_owned());
        }
    }
    let rows = schema.rows(&mut draw);
    let steps = steps(&mut draw, &schema, &views, &named, &site);
    let case = Case { dialect, pragmas, schema: statements, rows, site, steps, mend: schema.mend() };
    (case, draw.drawn)
}

fn views(draw: &mut Draw, schema: &Schema) -> Vec<View> {
    let mut views: Vec<View> = Vec::new();
    for number in 0..draw.choose(&[0, 1, 1, 2]) {
        let mut queries = Queries { draw, schema, views: &views };
        let query = match number {
            0 => queries.simple(),
            _ if queries.draw.rarely(40, "schema: view over a view") => queries.view(),
            _ => queries.simple(),
        };
        views.push(View { name: format!("v{number}"), query });
    }
    views
}

/// Publishes, with edits and what else may happen between them.
fn steps(
    draw: &mut Draw,
    schema: &Schema,
    views: &[View],
    named: &[(String, String)],
    site: &Site,
) -> Vec<Step> {
    let mut steps = Vec::new();
    let has_two = draw.rarely(15, "publish: two buckets");
    steps.push(Step::Publish(Publish { bucket: 0, how: How::Plain }));
    let mut site = site.clone();
    for _ in 0..draw.within(3, 6) {
        for _ in 0..draw.choose(&[1, 1, 1, 1, 1, 2, 3, 8]) {
            steps.push(between(draw, schema, views, named, &mut site));
        }
        let bucket = usize::from(has_two && draw.chance(40));
        if draw.rarely(6, "publish: while somebody edits") {
            steps.push(Step::Meanwhile(edits(draw, schema, true).transaction(), bucket));
        }
        if draw.rarely(8, "publish: by a new process") {
            steps.push(Step::Restart(bucket));
        }
        steps.push(Step::Publish(Publish { bucket, how: how(draw) }));
        if draw.dialect != Dialect::Sqlite && draw.rarely(20, "publish: before an earlier transaction ends") {
            let mut edits = edits(draw, schema, true);
            steps.push(Step::Late(edits.transaction(), edits.transaction(), bucket));
            steps.push(Step::Publish(Publish { bucket, how: How::Plain }));
        }
    }
    steps
}

fn edits<'a>(draw: &'a mut Draw, schema: &'a Schema, is_shared: bool) -> Edits<'a> {
    Edits { draw, schema, is_shared }
}

fn how(draw: &mut Draw) -> How {
    draw.weighted(&[
        (75, "publish: plain", How::Plain),
        (8, "publish: keep going", How::KeepGoing),
        (3, "publish: full", How::Full),
        (4, "publish: dry run first", How::DryRun),
        (4, "publish: after a rollback", How::RollBack),
        (6, "publish: then verify", How::Verify),
    ])
}

/// What happens before the next publish.
fn between(
    draw: &mut Draw,
    schema: &Schema,
    views: &[View],
    named: &[(String, String)],
    site: &mut Site,
) -> Step {
    let kinds: [(u64, &str, u8); 5] = [
        (84, "step: transaction", 0),
        (4, "step: two connections", 1),
        (5, "step: DDL", 2),
        (3, "step: capture trigger dropped", 3),
        (4, "step: definition changed", 4),
    ];
    match draw.weighted(&kinds) {
        0 => Step::Edit(edits(draw, schema, false).transaction()),
        1 => {
            let mut edits = edits(draw, schema, true);
            Step::Both(edits.transaction(), edits.transaction())
        }
        2 => Step::Alter(edits(draw, schema, false).alter(named)),
        3 => Step::LoseTrigger(draw.below(100)),
        _ => {
            let change = sites::change(&mut Queries { draw, schema, views }, site);
            site.change(&change);
            Step::Define(change)
        }
    }
}
