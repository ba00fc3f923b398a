//! What stands in FROM: which factors there are, which of them a join fills with NULLs, and whether the
//! joins' conditions can be followed.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use edgepress_store::database::capture::Table;
use sqlparser::ast::{
    BinaryOperator, Expr, Ident, Join, JoinConstraint, JoinOperator, ObjectName, TableAlias, TableFactor,
    TableWithJoins,
};

use super::Coarse;
use super::analyse::{Analyser, Named, Scope};
use super::expression::{Names, conjuncts, plain};
use super::shape::{Branch, Column, Factor, Grouping, Kind, Loose, Meaning, Shape};
use super::sql;
use super::wrong::{Mistake, is_made};

/// Reads a FROM clause.
pub(super) struct From<'s, 'a> {
    pub(super) analyser: &'s mut Analyser<'a>,
    pub(super) scope: &'s Scope,
    pub(super) factors: Vec<Factor>,
    /// Columns that USING made one of, as they are compared.
    pub(super) using: BTreeSet<String>,
}

/// What a join does to its sides.
pub(super) enum Side {
    /// Nothing.
    Neither,
    /// Fills the left with NULLs.
    Left,
    /// Fills the right with NULLs.
    Right,
}

/// What a join does to its sides, and under which condition it joins; nothing if it is not followed.
pub(super) fn sides(join: &JoinOperator) -> Option<(Side, &JoinConstraint)> {
    match join {
        JoinOperator::Join(on) | JoinOperator::Inner(on) | JoinOperator::CrossJoin(on) => {
            Some((Side::Neither, on))
        }
        JoinOperator::Left(on) | JoinOperator::LeftOuter(on) => Some((Side::Right, on)),
        JoinOperator::Right(on) | JoinOperator::RightOuter(on) => Some((Side::Left, on)),
        _ => None,
    }
}

impl From<'_, '_> {
    /// The whole clause.
    pub(super) fn clause(&mut self, from: &[TableWithJoins]) -> Result<(), Coarse> {
        let is_comma_a_join = sql::is_comma_a_join(self.analyser.dialect());
        for tables in from {
            let start = if is_comma_a_join { 0 } else { self.factors.len() };
            self.tables(tables, start)?;
        }
        let has_right = from.iter().any(has_right);
        if has_right && !self.using.is_empty() {
            let advice = "write ON instead of USING";
            return Err(Coarse::new("it has a RIGHT JOIN beside USING", advice));
        }
        Ok(())
    }

    /// Tables and the joins between them; `start`: the first factor on the left of the first join.
    fn tables(&mut self, tables: &TableWithJoins, start: usize) -> Result<(), Coarse> {
        self.factor(&tables.relation)?;
        for Join { relation, global, join_operator } in &tables.joins {
            let middle = self.factors.len();
            self.factor(relation)?;
            let right = middle..self.factors.len();
            let sides = sides(join_operator).filter(|_| !global);
            let Some((side, on)) = sides else {
                let join = join_operator_text(join_operator);
                return Err(Coarse::new(format!("it has {join}"), "use inner, LEFT or RIGHT joins"));
            };
            self.constraint(on, start..middle, right.clone())?;
            let filled = match side {
                Side::Neither => continue,
                Side::Left => start..middle,
                Side::Right => right,
            };
            self.factors[filled].iter_mut().for_each(|factor| factor.is_null_supplied = true);
        }
        Ok(())
    }

    fn constraint(
        &mut self,
        constraint: &JoinConstraint,
        left: Range<usize>,
        right: Range<usize>,
    ) -> Result<(), Coarse> {
        match constraint {
            JoinConstraint::None => Ok(()),
            JoinConstraint::On(expr) => conjuncts(expr).into_iter().try_for_each(|part| self.on(part)),
            JoinConstraint::Using(columns) => {
                columns.iter().try_for_each(|column| self.using(column, left.clone(), right.clone()))
            }
            JoinConstraint::Natural => {
                let advice = "name the columns with USING or ON";
                Err(Coarse::new("it has a NATURAL join", advice))
            }
        }
    }

    /// One part of a join's condition: what it says must not depend on a side that another join may have
    /// filled with NULLs, unless those NULLs make it false.
    fn on(&self, part: &Expr) -> Result<(), Coarse> {
        let dialect = self.analyser.dialect();
        let names = Names { dialect, factors: &self.factors, using: &self.using };
        if names.understand(part)?.loose == Loose::No || is_made(Mistake::AnyOn) {
            return Ok(());
        }
        if let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = part {
            let is_column = |expr: &Expr| {
                let meaning = names.understand(plain(expr));
                meaning.is_ok_and(|Meaning { column, loose, .. }| column.is_some() && loose.is_comparable())
            };
            if is_column(left) && is_column(right) {
                return Ok(());
            }
        }
        Err(Coarse::new(
            format!(
                "the condition `{part}` of a join depends on what another outer join fills with NULLs, or on how a UNION compares"
            ),
            "compare such columns with a plain `=` to another column, or use inner joins and one type",
        ))
    }

    fn using(&mut self, column: &ObjectName, left: Range<usize>, right: Range<usize>) -> Result<(), Coarse> {
        let [part] = &*column.0 else { return Err(Coarse::of("its USING is not followed")) };
        let name = part.as_ident().map(sql::name).unwrap_or_default();
        let dialect = self.analyser.dialect();
        for side in [left, right] {
            let mut found = false;
            for factor in &self.factors[side] {
                for own in factor.columns.iter().filter(|own| sql::is_same(dialect, &own.name, &name)) {
                    found = true;
                    if !own.loose.is_comparable() {
                        let why =
                            format!("it joins by `{name}`, which is computed or compares in several ways");
                        return Err(Coarse::of(why));
                    }
                }
            }
            if !found {
                return Err(Coarse::of(format!("what `{name}` means is not known")));
            }
        }
        self.using.insert(sql::folded(dialect, &name));
        Ok(())
    }

    fn factor(&mut self, factor: &TableFactor) -> Result<(), Coarse> {
        match factor {
            TableFactor::Table {
                name,
                alias,
                args: None,
                with_hints,
                version: None,
                with_ordinality: false,
                partitions,
                json_path: None,
                sample: None,
                index_hints,
            } if with_hints.is_empty() && partitions.is_empty() && index_hints.is_empty() => {
                self.named(name, alias.as_ref())
            }
            TableFactor::Derived { lateral: false, subquery, alias, sample: None } => {
                let name = alias_name(alias.as_ref())?;
                let shape = self.analyser.query(subquery, self.scope, false)?;
                self.nested(name, shape, &[])
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                let start = self.factors.len();
                self.tables(table_with_joins, start)
            }
            _ => Err(Coarse::new(
                format!("`{factor}` in FROM is not followed"),
                "read tables, views and plain SELECTs in FROM",
            )),
        }
    }

    fn named(&mut self, name: &ObjectName, alias: Option<&TableAlias>) -> Result<(), Coarse> {
        let unknown = || Coarse::of(format!("what `{name}` in FROM means is not known"));
        let parts: Option<Vec<&Ident>> = name.0.iter().map(|part| part.as_ident()).collect();
        let (schema, own) = match parts.as_deref() {
            Some([own]) => (None, sql::name(own)),
            Some([schema, own]) => (Some(sql::name(schema)), sql::name(own)),
            _ => return Err(unknown()),
        };
        let called = alias_name(alias)?.unwrap_or_else(|| own.clone());
        if schema.is_none() {
            let folded = sql::folded(self.analyser.dialect(), &own);
            match self.scope.named.get(&folded) {
                Some(Some(named)) => return self.with_query(called, &Arc::clone(named)),
                Some(None) => {
                    return Err(Coarse::of(format!(
                        "its WITH query `{own}` refers to itself or a later one"
                    )));
                }
                None if self.scope.hidden.contains(&folded) => {
                    let advice = format!("rename the WITH query `{own}`");
                    return Err(Coarse::new(format!("`{own}` is both a WITH query and a table"), advice));
                }
                None => {}
            }
        }
        let catalog = self.analyser.catalog;
        let table = catalog.find(schema.as_deref(), &own).ok_or_else(unknown)?;
        match (catalog.tables.get(table), catalog.views.get(table)) {
            (Some(_), _) => self.table(called, table),
            (_, Some(view)) => {
                let query = sql::parse(self.analyser.dialect(), &view.query)
                    .map_err(|coarse| coarse.within(&format!("view `{table}`")))?;
                let names = self.scope.named.keys().chain(&self.scope.hidden);
                let scope = Scope { hidden: names.cloned().collect(), ..Scope::default() };
                let shape = self.analyser.query(&query, &scope, false);
                let shape = shape.map_err(|coarse| coarse.within(&format!("view `{table}`")))?;
                self.nested(Some(called), shape, &view.columns)
            }
            (None, None) => Err(unknown()),
        }
    }

    fn table(&mut self, name: String, table: &Table) -> Result<(), Coarse> {
        let facts = &self.analyser.catalog.tables[table];
        let column = |name: &str, is_bytewise, is_hidden| Column {
            name: name.to_owned(),
            is_bytewise,
            loose: Loose::No,
            is_hidden,
        };
        let mut columns: Vec<Column> = facts
            .columns
            .iter()
            .map(|own| column(&own.name, own.is_bytewise || is_made(Mistake::Bytes), false))
            .collect();
        for number in sql::row_numbers(self.analyser.dialect()) {
            if !columns.iter().any(|own| sql::is_same(self.analyser.dialect(), &own.name, number)) {
                columns.push(column(number, true, true));
            }
        }
        let occurrences = BTreeSet::from([self.analyser.occurrence(table)?]);
        let kind = Kind::Table;
        self.factors.push(Factor { name: Some(name), columns, kind, is_null_supplied: false, occurrences });
        Ok(())
    }

    fn with_query(&mut self, called: String, named: &Named) -> Result<(), Coarse> {
        let mut scope = named.scope.clone();
        let names = self.scope.named.keys().chain(&self.scope.hidden);
        scope.hidden.extend(names.filter(|name| !named.scope.named.contains_key(*name)).cloned());
        let shape = self.analyser.query(&named.query, &scope, false)?;
        self.nested(Some(called), shape, &named.columns)
    }

    /// A query in FROM, whose columns are renamed to `renamed` unless that is empty.
    fn nested(&mut self, name: Option<String>, mut shape: Shape, renamed: &[String]) -> Result<(), Coarse> {
        for branch in &mut shape.branches {
            check_nested(branch)?;
            if !renamed.is_empty() && branch.outputs.len() != renamed.len() {
                return Err(Coarse::of("a query in FROM does not give the columns it should"));
            }
            for (output, renamed) in branch.outputs.iter_mut().zip(renamed) {
                output.name = Some(renamed.clone());
            }
        }
        let columns = columns(&mut shape)?;
        let occurrences = shape.occurrences();
        let kind = Kind::Nested(shape);
        self.factors.push(Factor { name, columns, kind, is_null_supplied: false, occurrences });
        Ok(())
    }
}

/// The columns of a query in FROM; its branches are made to call theirs alike.
fn columns(shape: &mut Shape) -> Result<Vec<Column>, Coarse> {
    let names: Vec<Option<String>> = match &*shape.branches {
        [first, ..] => first.outputs.iter().map(|output| output.name.clone()).collect(),
        [] => Vec::new(),
    };
    let mut columns: Vec<Column> = Vec::new();
    for branch in &mut shape.branches {
        if branch.outputs.len() != names.len() {
            return Err(Coarse::of("the parts of its UNION give different columns"));
        }
        for (output, name) in branch.outputs.iter_mut().zip(&names) {
            output.name.clone_from(name);
        }
    }
    for (index, name) in names.into_iter().enumerate() {
        // What has no name, or is not understood, cannot be referred to.
        let Some(name) = name else { continue };
        let all: Result<Vec<&Meaning>, &Coarse> =
            shape.branches.iter().map(|branch| branch.outputs[index].meaning.as_ref()).collect();
        let Ok(all) = all else { continue };
        let is_bytewise = all.iter().all(|meaning| meaning.is_bytewise);
        // One branch at a time is asked, but all of them decide how the column compares.
        let mixed = match (&*all, is_bytewise) {
            ([_], _) => Loose::No,
            (_, true) => Loose::Mixed,
            (_, false) if is_made(Mistake::Unions) => Loose::No,
            (_, false) => Loose::Vague,
        };
        let loosest = all.iter().map(|meaning| meaning.loose).max().unwrap_or(Loose::No);
        columns.push(Column {
            name,
            is_bytewise,
            loose: if (mixed, loosest) == (Loose::Vague, Loose::Column) {
                Loose::Computed
            } else {
                loosest.max(mixed)
            },
            is_hidden: false,
        });
    }
    Ok(columns)
}

/// Refuses what is followed at the top of a query only.
fn check_nested(branch: &Branch) -> Result<(), Coarse> {
    let within = |coarse: &Coarse| coarse.within("a query in FROM");
    if let Some(entangled) = &branch.entangled {
        return Err(within(entangled));
    }
    match &branch.grouping {
        Grouping::None => {}
        Grouping::By(_) => {
            return Err(within(&Coarse::new("it has a GROUP BY", "make it an include of its own")));
        }
        Grouping::Unknown(coarse) => return Err(within(coarse)),
    }
    check_distinct(branch).map_err(|coarse| within(&coarse))
}

/// Refuses to make rows one that SQL holds equal although their bytes differ.
pub(super) fn check_distinct(branch: &Branch) -> Result<(), Coarse> {
    let is_fine = |meaning: &Meaning| meaning.is_bytewise || meaning.is_literal;
    if branch.is_distinct && !branch.outputs.iter().all(|output| output.meaning.as_ref().is_ok_and(is_fine)) {
        return Err(Coarse::new(
            "it has DISTINCT, or UNION without ALL, over what may be equal although its bytes are not",
            "use UNION ALL, or give only columns of tables that compare by their bytes (COLLATE BINARY)",
        ));
    }
    Ok(())
}

fn alias_name(alias: Option<&TableAlias>) -> Result<Option<String>, Coarse> {
    match alias {
        None => Ok(None),
        Some(TableAlias { name, columns, at: None, .. }) if columns.is_empty() => Ok(Some(sql::name(name))),
        Some(alias) => Err(Coarse::of(format!("the alias `{alias}` is not followed"))),
    }
}

fn has_right(tables: &TableWithJoins) -> bool {
    let is_right = |join: &Join| matches!(sides(&join.join_operator), Some((Side::Left, _)));
    let mut relations =
        std::iter::once(&tables.relation).chain(tables.joins.iter().map(|join| &join.relation));
    tables.joins.iter().any(is_right)
        || relations.any(|relation| match relation {
            TableFactor::NestedJoin { table_with_joins, .. } => has_right(table_with_joins),
            _ => false,
        })
}

fn join_operator_text(join: &JoinOperator) -> &'static str {
    match join {
        JoinOperator::FullOuter(_) => "a FULL JOIN",
        JoinOperator::CrossApply | JoinOperator::OuterApply => "an APPLY",
        _ => "a join that is not followed",
    }
}
