//! What an expression is made from: the columns that its names mean, and whether they are enough to know
//! its value.
//!
//! Owns the allow-list of expressions. Refuses subqueries, aggregates and everything it does not know.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use edgepress_store::database::capture::Dialect;
use sqlparser::ast::{
    BinaryOperator, Expr, Function as Call, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Query,
    Value, Visitor,
};

use super::Coarse;
use super::shape::{Branch, Factor, Loose, Meaning};
use super::sql::{self, Function};

/// The names that an expression can use.
#[derive(Clone, Copy)]
pub(super) struct Names<'a> {
    pub(super) dialect: Dialect,
    pub(super) factors: &'a [Factor],
    /// Columns that USING made one of, as they are compared.
    pub(super) using: &'a BTreeSet<String>,
}

impl Names<'_> {
    /// What `expr` means.
    pub(super) fn understand(&self, expr: &Expr) -> Result<Meaning, Coarse> {
        let mut inputs = Inputs { names: self, columns: Vec::new(), is_clock: false };
        if let ControlFlow::Break(coarse) = sql::walk(expr, &mut inputs) {
            return Err(coarse);
        }
        let Inputs { columns, is_clock, .. } = inputs;
        let loose = |at: &(usize, usize)| Branch::loose(self.factors, *at);
        let (column, is_literal) = match plain(expr) {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => (columns.first().copied(), false),
            Expr::Value(_) => (None, true),
            _ => (None, false),
        };
        let loosest = columns.iter().map(loose).max().unwrap_or(Loose::No);
        let loose = match (column, loosest, is_clock) {
            (Some(_), loosest, _) => loosest,
            (None, Loose::No, false) => Loose::No,
            (None, ..) => Loose::Computed,
        };
        let is_bytewise =
            column.is_some_and(|(factor, column)| self.factors[factor].columns[column].is_bytewise);
        Ok(Meaning { column, is_literal, is_bytewise, loose })
    }

    /// The column that a name means.
    pub(super) fn find(&self, parts: &[Ident]) -> Result<(usize, usize), Coarse> {
        let (qualifier, column) = match parts {
            [column] => (None, column),
            [qualifier, column] | [_, qualifier, column] => (Some(sql::name(qualifier)), column),
            _ => return Err(unknown_name(parts)),
        };
        let column = sql::name(column);
        let is_meant = |factor: &Factor| match (&qualifier, &factor.name) {
            (None, _) => true,
            (Some(qualifier), Some(name)) => sql::is_same(self.dialect, qualifier, name),
            (Some(_), None) => false,
        };
        let mut found = Vec::new();
        for (index, factor) in self.factors.iter().enumerate().filter(|(_, factor)| is_meant(factor)) {
            let own = factor.columns.iter().enumerate();
            // Unqualified, a row's number is known only where there is one table.
            let may_be_hidden = qualifier.is_some() || self.factors.len() == 1;
            let own = own.filter(|(_, own)| !own.is_hidden || may_be_hidden);
            found.extend(
                own.filter(|(_, own)| sql::is_same(self.dialect, &own.name, &column))
                    .map(|(own, _)| (index, own)),
            );
        }
        match *found {
            [one] => Ok(one),
            // The leftmost of those that USING made one: joins that may set it to NULL are refused.
            [first, ..]
                if qualifier.is_none() && self.using.contains(&sql::folded(self.dialect, &column)) =>
            {
                Ok(first)
            }
            _ => Err(unknown_name(parts)),
        }
    }
}

fn unknown_name(parts: &[Ident]) -> Coarse {
    let name: Vec<String> = parts.iter().map(sql::name).collect();
    let name = name.join(".");
    let advice = format!("qualify `{name}` with its table, and repeat an expression instead of its alias");
    Coarse::new(format!("what `{name}` means is not known"), advice)
}

/// The expression within parentheses.
pub(super) fn plain(mut expr: &Expr) -> &Expr {
    while let Expr::Nested(inner) = expr {
        expr = inner;
    }
    expr
}

/// The parts of a condition that AND joins.
pub(super) fn conjuncts(expr: &Expr) -> Vec<&Expr> {
    match plain(expr) {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            let mut all = conjuncts(left);
            all.extend(conjuncts(right));
            all
        }
        expr => vec![expr],
    }
}

/// Gathers what an expression is made from.
struct Inputs<'n, 'a> {
    names: &'n Names<'a>,
    columns: Vec<(usize, usize)>,
    is_clock: bool,
}

impl Visitor for Inputs<'_, '_> {
    type Break = Coarse;

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<Coarse> {
        ControlFlow::Break(subquery())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Coarse> {
        match self.add(expr) {
            Ok(()) => ControlFlow::Continue(()),
            Err(coarse) => ControlFlow::Break(coarse),
        }
    }
}

impl Inputs<'_, '_> {
    fn add(&mut self, expr: &Expr) -> Result<(), Coarse> {
        match expr {
            Expr::Identifier(name) => self.columns.push(self.names.find(std::slice::from_ref(name))?),
            Expr::CompoundIdentifier(parts) => self.columns.push(self.names.find(parts)?),
            Expr::Function(call) => self.call(call)?,
            Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => return Err(subquery()),
            Expr::Value(value) if matches!(value.value, Value::Placeholder(_)) => return Err(strange(expr)),
            Expr::BinaryOp { op: BinaryOperator::Match | BinaryOperator::Regexp, .. } => {
                return Err(strange(expr));
            }
            Expr::BinaryOp { op: BinaryOperator::PGCustomBinaryOperator(_), .. } => {
                return Err(strange(expr));
            }
            Expr::Like { any: false, .. }
            | Expr::ILike { any: false, .. }
            | Expr::SimilarTo { .. }
            | Expr::RLike { .. }
            | Expr::AllOp { .. }
            | Expr::AnyOp { .. }
            | Expr::Array(_)
            | Expr::AtTimeZone { .. }
            | Expr::Convert { .. }
            | Expr::Extract { .. }
            | Expr::Interval(_)
            | Expr::Overlay { .. }
            | Expr::Position { .. }
            | Expr::TypedString(_)
            | Expr::Between { .. }
            | Expr::BinaryOp { .. }
            | Expr::Case { .. }
            | Expr::Cast { .. }
            | Expr::Collate { .. }
            | Expr::InList { .. }
            | Expr::IsDistinctFrom(..)
            | Expr::IsFalse(_)
            | Expr::IsNotDistinctFrom(..)
            | Expr::IsNotFalse(_)
            | Expr::IsNotNull(_)
            | Expr::IsNotTrue(_)
            | Expr::IsNull(_)
            | Expr::IsTrue(_)
            | Expr::Nested(_)
            | Expr::Substring { .. }
            | Expr::Trim { .. }
            | Expr::Ceil { .. }
            | Expr::Floor { .. }
            | Expr::Tuple(_)
            | Expr::UnaryOp { .. }
            | Expr::Value(_) => {}
            _ => return Err(strange(expr)),
        }
        Ok(())
    }

    fn call(&mut self, call: &Call) -> Result<(), Coarse> {
        let name = call.name.to_string();
        match called(self.names.dialect, call) {
            Some(Function::Pure) => {}
            Some(Function::Clock) => self.is_clock |= is_of_now(call, &name),
            Some(Function::Aggregate) => return Err(Coarse::of(format!("it aggregates with `{name}`"))),
            Some(Function::Window) => return Err(Coarse::of(format!("it has the window function `{name}`"))),
            None => return Err(unknown_function(call)),
        }
        let is_plain = call.over.is_none()
            && call.filter.is_none()
            && call.within_group.is_empty()
            && call.null_treatment.is_none()
            && matches!(call.parameters, FunctionArguments::None);
        if is_plain { Ok(()) } else { Err(strange(&call.to_string())) }
    }
}

/// What the function called is.
pub(super) fn called(dialect: Dialect, call: &Call) -> Option<Function> {
    let [part] = &*call.name.0 else { return None };
    let kind = sql::function(dialect, &sql::name(part.as_ident()?), arguments(call).len())?;
    Some(match kind {
        Function::Aggregate if call.over.is_some() => Function::Window,
        kind => kind,
    })
}

pub(super) fn unknown_function(call: &Call) -> Coarse {
    let advice = "only the database's own functions are followed";
    Coarse::new(format!("the function `{}` is not known", call.name), advice)
}

fn arguments(call: &Call) -> &[FunctionArg] {
    match &call.args {
        FunctionArguments::List(list) => &list.args,
        _ => &[],
    }
}

/// Whether a function of the date may mean now. (A column may hold the text `now`: documents made from
/// it depend on the clock however they are made, and need `refresh`.)
pub(super) fn is_of_now(call: &Call, name: &str) -> bool {
    let arguments = arguments(call);
    let least = if name.eq_ignore_ascii_case("strftime") { 2 } else { 1 };
    let is_now = |argument: &FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => match plain(expr) {
            Expr::Value(value) => value.to_string().eq_ignore_ascii_case("'now'"),
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => false,
            expr => expr.to_string().to_ascii_lowercase().contains("now"),
        },
        _ => true,
    };
    arguments.len() < least || arguments.iter().any(is_now)
}

fn subquery() -> Coarse {
    Coarse::new("it holds a subquery outside FROM", "join the table in FROM instead")
}

fn strange(expr: &dyn std::fmt::Display) -> Coarse {
    Coarse::of(format!("`{expr}` is not followed"))
}
