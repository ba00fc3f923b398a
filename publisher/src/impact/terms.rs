//! The queries that give the touched keys: the site's own, with the images of changed rows in the place
//! of some occurrences of their tables.
//!
//! When several occurrences changed, a row that came or went may be made of changed rows only in part:
//! one query for each set of occurrences, those in the set standing for their images and the others for
//! the tables as they are now, finds it whichever part changed.

use std::collections::BTreeSet;
use std::ops::Range;

use edgepress_store::database::capture::{Dialect, Table};
use sqlparser::ast::{
    Expr, Join, JoinOperator, ObjectName, ObjectNamePart, TableAlias, TableFactor, TableWithJoins,
};

use super::joins::{Side, sides};
use super::shape::{Branch, Factor, Kind, Output, Shape};
use super::sql;
use super::wrong::{Mistake, is_made};

/// The most occurrences that may stand for images in one query.
const CHANGED: usize = 4;

/// The most queries for one query of the site.
const TERMS: usize = 64;

/// Gives the SELECT that stands for an occurrence.
pub(super) type Image<'a> = dyn Fn(usize) -> String + 'a;

/// The sets of occurrences that stand for images, given those whose tables changed; nothing if they are
/// too many.
pub(super) fn sets(shape: &Shape, changed: &BTreeSet<usize>) -> Option<Vec<BTreeSet<usize>>> {
    let mut all = Vec::new();
    for branch in &shape.branches {
        let mut own = vec![BTreeSet::new()];
        for factor in &branch.factors {
            let choices = match &factor.kind {
                Kind::Table => {
                    let occurrences = factor.occurrences.intersection(changed);
                    occurrences.map(|occurrence| BTreeSet::from([*occurrence])).collect()
                }
                Kind::Nested(shape) => sets(shape, changed)?,
            };
            let product: Vec<BTreeSet<usize>> = own
                .iter()
                .flat_map(|set: &BTreeSet<usize>| choices.iter().map(move |choice| set | choice))
                .collect();
            if !is_made(Mistake::NoProducts) {
                own.extend(product);
            } else {
                own.extend(product.into_iter().filter(|set| set.len() == 1));
            }
            if own.len() > TERMS || own.iter().any(|set| set.len() > CHANGED) {
                return None;
            }
        }
        all.extend(own.into_iter().filter(|set| !set.is_empty()));
    }
    (all.len() <= TERMS).then_some(all)
}

/// Writes queries of a shape.
pub(super) struct Writer<'a> {
    pub(super) dialect: Dialect,
    /// The occurrences that stand for images.
    pub(super) set: &'a BTreeSet<usize>,
    pub(super) image: &'a Image<'a>,
}

impl Writer<'_> {
    /// The query for the set, which gives the `wanted` outputs as `k1` and so on; without any,
    /// one row if there is one.
    pub(super) fn top(&self, shape: &Shape, wanted: &[usize]) -> String {
        let branch = self.branch(shape);
        let mut outputs: Vec<String> = wanted
            .iter()
            .enumerate()
            .map(|(number, output)| format!("{} AS {}", short(&branch.outputs[*output].expr), key(number)))
            .collect();
        let mut end = "";
        if outputs.is_empty() {
            outputs.push(format!("1 AS {}", key(0)));
            end = " LIMIT 1";
        }
        // Keys are told apart by their bytes: SQL may do so only where it compares those.
        let is_bytewise = |output: &usize| {
            branch.outputs[*output].meaning.as_ref().is_ok_and(|meaning| meaning.is_bytewise)
        };
        let distinct = if !wanted.is_empty() && wanted.iter().all(is_bytewise) { "DISTINCT " } else { "" };
        format!("{}{end}", self.select(shape, branch, &format!("{distinct}{}", outputs.join(", "))))
    }

    /// The branch in which the set lies: in different branches no two rows meet.
    fn branch<'s>(&self, shape: &'s Shape) -> &'s Branch {
        let is_meant = |branch: &&Branch| {
            let occurrences: BTreeSet<usize> = branch.occurrences().collect();
            !occurrences.is_disjoint(self.set)
        };
        shape.branches.iter().find(is_meant).expect("sets are made from the shape's branches")
    }

    fn select(&self, shape: &Shape, branch: &Branch, outputs: &str) -> String {
        let mut from = branch.from.clone();
        let mut walk = Walk { writer: self, factors: &branch.factors, next: 0 };
        let is_comma_a_join = sql::is_comma_a_join(self.dialect);
        for tables in &mut from {
            let start = if is_comma_a_join { 0 } else { walk.next };
            walk.tables(tables, start);
        }
        sql::shorten(&mut from);
        let with = shape.with.as_ref().map(|with| format!("{with} ")).unwrap_or_default();
        let from: Vec<String> = from.iter().map(ToString::to_string).collect();
        let mut text = format!("{with}SELECT {outputs} FROM {}", from.join(", "));
        for (index, conjunct) in branch.conjuncts.iter().enumerate() {
            text.push_str(if index == 0 { " WHERE " } else { " AND " });
            text.push_str(&format!("({})", short(conjunct)));
        }
        text
    }

    /// A query in FROM that holds some of the set.
    fn nested(&self, shape: &Shape) -> String {
        let branch = self.branch(shape);
        let named = |output: &Output| {
            let name = sql::quoted(self.dialect, output.name.as_ref()?);
            output.meaning.is_ok().then(|| format!("{} AS {name}", short(&output.expr)))
        };
        let outputs: Vec<String> = branch.outputs.iter().filter_map(named).collect();
        let outputs = if outputs.is_empty() { "1".to_owned() } else { outputs.join(", ") };
        self.select(shape, branch, &outputs)
    }
}

/// Goes through FROM in the order in which its factors were numbered.
struct Walk<'w, 'a> {
    writer: &'w Writer<'a>,
    factors: &'w [Factor],
    next: usize,
}

impl Walk<'_, '_> {
    fn tables(&mut self, tables: &mut TableWithJoins, start: usize) {
        self.factor(&mut tables.relation);
        for Join { relation, join_operator, .. } in &mut tables.joins {
            let middle = self.next;
            self.factor(relation);
            let (side, on) = sides(join_operator).expect("other joins are refused before");
            // Only rows made with an image are asked for, none with NULLs in its place.
            let is_inner = match side {
                Side::Neither => false,
                Side::Left => self.is_changed(start..middle),
                Side::Right => self.is_changed(middle..self.next),
            };
            let is_hint = matches!(join_operator, JoinOperator::CrossJoin(_))
                && sql::is_cross_join_a_hint(self.writer.dialect);
            if is_inner {
                *join_operator = JoinOperator::Inner(on.clone());
            } else if is_hint {
                *join_operator = JoinOperator::Join(on.clone());
            }
        }
    }

    fn is_changed(&self, factors: Range<usize>) -> bool {
        self.factors[factors].iter().any(|factor| !factor.occurrences.is_disjoint(self.writer.set))
    }

    fn factor(&mut self, factor: &mut TableFactor) {
        if let TableFactor::NestedJoin { table_with_joins, .. } = factor {
            let start = self.next;
            self.tables(table_with_joins, start);
            return;
        }
        let own = &self.factors[self.next];
        self.next += 1;
        if own.occurrences.is_disjoint(self.writer.set) {
            return;
        }
        let text = match &own.kind {
            Kind::Table => {
                let occurrence = own.occurrences.first().expect("a table occurs once");
                (self.writer.image)(*occurrence)
            }
            Kind::Nested(shape) => self.writer.nested(shape),
        };
        let alias = own.name.as_ref().map(|name| TableAlias {
            explicit: true,
            name: sql::quoted(self.writer.dialect, name),
            columns: Vec::new(),
            at: None,
        });
        *factor = TableFactor::Table {
            name: ObjectName(vec![ObjectNamePart::Identifier(sql::raw(format!("({text})")))]),
            alias,
            args: None,
            with_hints: Vec::new(),
            version: None,
            with_ordinality: false,
            partitions: Vec::new(),
            json_path: None,
            sample: None,
            index_hints: Vec::new(),
        };
    }
}

/// The name of a key column, from 0.
pub(super) fn key(number: usize) -> String {
    format!("k{}", number + 1)
}

/// The columns in `expr` without the schemas of their tables: images lie in none.
fn short(expr: &Expr) -> Expr {
    let mut expr = expr.clone();
    sql::shorten(&mut expr);
    expr
}

/// The occurrences of the tables that changed.
pub(super) fn changed(occurrences: &[Table], is_changed: impl Fn(&Table) -> bool) -> BTreeSet<usize> {
    let numbered = occurrences.iter().enumerate();
    numbered.filter(|(_, table)| is_changed(table)).map(|(number, _)| number).collect()
}
