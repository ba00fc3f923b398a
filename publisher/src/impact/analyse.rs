//! From a syntax tree to its shape: which occurrences of tables there are, and what of the query holds
//! whichever rows stand for them.
//!
//! Owns the allow-list of queries. Whatever is not known to be followed makes the whole query coarse.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use edgepress_store::database::capture::{Catalog, Dialect, Table};
use sqlparser::ast::{
    Distinct, Expr, GroupByExpr, OrderBy, Query, Select, SelectFlavor, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, SetOperator, SetQuantifier, Visit, Visitor,
    WildcardAdditionalOptions, With,
};

use super::Coarse;
use super::expression::{Names, called, conjuncts, plain, unknown_function};
use super::joins::From;
use super::shape::{Branch, Factor, Grouping, Loose, Meaning, Output, Shape};
use super::sql::{self, Function};
use super::tables;
use super::wrong::{Mistake, is_made};

/// How deep views, WITH queries and derived tables may lie in each other.
const DEPTH: usize = 16;

/// The most occurrences that are followed in one query.
const OCCURRENCES: usize = 256;

/// Analyses one query.
pub(super) struct Analyser<'a> {
    pub(super) catalog: &'a Catalog,
    /// The table of each occurrence in FROM.
    pub(super) occurrences: Vec<Table>,
    /// Tables that are read outside FROM.
    pub(super) elsewhere: BTreeSet<Table>,
    pub(super) depth: usize,
}

/// What names in FROM mean besides tables and views.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    /// WITH queries by their names, as they are compared; nothing where a reference is not followed.
    pub(super) named: BTreeMap<String, Option<Arc<Named>>>,
    /// Names that mean something else here than where the text at hand was written.
    pub(super) hidden: BTreeSet<String>,
}

/// A WITH query.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) query: Query,
    pub(super) columns: Vec<String>,
    pub(super) scope: Scope,
}

impl<'a> Analyser<'a> {
    pub(super) fn new(catalog: &'a Catalog) -> Self {
        Self { catalog, occurrences: Vec::new(), elsewhere: BTreeSet::new(), depth: 0 }
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.catalog.dialect
    }

    /// A number for one more occurrence of `table`.
    pub(super) fn occurrence(&mut self, table: &Table) -> Result<usize, Coarse> {
        if self.occurrences.len() == OCCURRENCES {
            return Err(Coarse::of(format!("it reads more than {OCCURRENCES} tables")));
        }
        self.occurrences.push(table.clone());
        Ok(self.occurrences.len() - 1)
    }

    /// The shape of a query. `is_existence`: only whether its result changed is of interest, so that it
    /// may do at its top whatever it likes with the rows that its branches gather.
    pub(super) fn query(
        &mut self,
        query: &Query,
        scope: &Scope,
        is_existence: bool,
    ) -> Result<Shape, Coarse> {
        if self.depth == DEPTH {
            return Err(Coarse::of(format!("its queries lie in each other more than {DEPTH} deep")));
        }
        self.depth += 1;
        let Query { with, body, order_by, limit_clause, fetch, .. } = query;
        if !query.locks.is_empty()
            || query.for_clause.is_some()
            || query.settings.is_some()
            || query.format_clause.is_some()
            || !query.pipe_operators.is_empty()
        {
            return Err(Coarse::of("what follows its SELECT is not followed"));
        }
        if !is_existence && (limit_clause.is_some() || fetch.is_some()) {
            let advice = "use `limit` of an include, or a WHERE that says which rows";
            return Err(Coarse::new("it has a LIMIT", advice));
        }
        let mut outside = Outside::new(self.dialect());
        limit_clause.iter().for_each(|limit| outside.look(limit));
        if !outside.queries.is_empty() {
            return Err(Coarse::of("its LIMIT holds a subquery"));
        }
        let scope = match with {
            Some(with) => Self::with(self.dialect(), with, scope)?,
            None => scope.clone(),
        };
        let mut selects = Vec::new();
        let is_distinct = branches(body, &mut selects)?;
        let mut shape = Shape { with: with.clone(), branches: Vec::new() };
        for select in selects {
            let order_by = order_by.as_ref();
            let mut branch = self.select(select, &scope, order_by)?;
            branch.is_distinct |= is_distinct;
            shape.branches.push(branch);
        }
        self.depth -= 1;
        Ok(shape)
    }

    /// The scope within a query that begins with `with`.
    fn with(dialect: Dialect, with: &With, outer: &Scope) -> Result<Scope, Coarse> {
        if with.recursive {
            return Err(Coarse::of("it has WITH RECURSIVE"));
        }
        let mut scope = outer.clone();
        let names: Vec<String> =
            with.cte_tables.iter().map(|cte| sql::folded(dialect, &sql::name(&cte.alias.name))).collect();
        for name in &names {
            // Itself and those that follow: SQLite lets them be named before they are written.
            if scope.hidden.contains(name) || scope.named.insert(name.clone(), None).is_some() {
                return Err(Coarse::new(
                    format!("two of its WITH queries are called `{name}`"),
                    "rename one",
                ));
            }
        }
        for (cte, name) in with.cte_tables.iter().zip(names) {
            if cte.from.is_some() || cte.alias.at.is_some() {
                return Err(Coarse::of(format!("its WITH query `{name}` is not followed")));
            }
            let columns = cte.alias.columns.iter().map(|column| sql::name(&column.name)).collect();
            let named = Named { query: (*cte.query).clone(), columns, scope: scope.clone() };
            scope.named.insert(name, Some(Arc::new(named)));
        }
        Ok(scope)
    }

    fn select(
        &mut self,
        select: &Select,
        scope: &Scope,
        order_by: Option<&OrderBy>,
    ) -> Result<Branch, Coarse> {
        check_clauses(select)?;
        let mut from = From { analyser: self, scope, factors: Vec::new(), using: BTreeSet::new() };
        from.clause(&select.from)?;
        let From { factors, using, .. } = from;
        let names = Names { dialect: self.dialect(), factors: &factors, using: &using };
        let kept = |conjunct: &&Expr| {
            let is_kept = |Meaning { loose, .. }| loose == Loose::No || is_made(Mistake::KeepPredicates);
            names.understand(conjunct).is_ok_and(is_kept)
        };
        let conjuncts = select.selection.iter().flat_map(conjuncts).filter(kept).cloned().collect();
        let outputs = outputs(&names, &select.projection)?;
        let grouping = grouping(&names, &select.group_by, &outputs);
        let entangled = self.rest(select, order_by, scope)?;
        Ok(Branch {
            from: select.from.clone(),
            conjuncts,
            grouping,
            is_distinct: matches!(select.distinct, Some(Distinct::Distinct)),
            entangled,
            outputs,
            factors,
        })
    }

    /// What stands outside FROM: the tables of its subqueries are noted, and why rows depend on each
    /// other, if they do, is told.
    fn rest(
        &mut self,
        select: &Select,
        order_by: Option<&OrderBy>,
        scope: &Scope,
    ) -> Result<Option<Coarse>, Coarse> {
        let mut outside = Outside::new(self.dialect());
        let Select { projection, selection, having, group_by, named_window, .. } = select;
        outside.look(projection);
        outside.look(selection);
        outside.look(having);
        outside.look(group_by);
        outside.look(named_window);
        order_by.into_iter().for_each(|order_by| outside.look(order_by));
        for query in &outside.queries {
            self.elsewhere.extend(tables::of(self.catalog, query, scope));
        }
        let mut entangled = None;
        for found in outside.found {
            match found {
                Ok(Function::Window) => {
                    entangled = Some(Coarse::of("it has a window function"));
                }
                Ok(Function::Aggregate) if !is_grouped(group_by) => {
                    let advice = "GROUP BY the columns that its documents' paths or `on` name";
                    entangled = Some(Coarse::new("it aggregates all of its rows", advice));
                }
                Ok(_) => {}
                Err(coarse) => return Err(coarse),
            }
        }
        if having.is_some() && !is_grouped(group_by) {
            entangled = Some(Coarse::of("it has a HAVING without GROUP BY"));
        }
        Ok(entangled)
    }
}

/// What is found outside FROM.
struct Outside {
    dialect: Dialect,
    /// Subqueries, those within them too.
    queries: Vec<Query>,
    /// In how many subqueries the visitor is.
    depth: usize,
    found: Vec<Result<Function, Coarse>>,
}

impl Outside {
    fn new(dialect: Dialect) -> Self {
        Self { dialect, queries: Vec::new(), depth: 0, found: Vec::new() }
    }

    fn look(&mut self, tree: &impl Visit) {
        let flow = sql::walk(tree, self);
        debug_assert!(flow.is_continue(), "nothing stops it");
    }
}

impl Visitor for Outside {
    type Break = Coarse;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Coarse> {
        self.queries.push(query.clone());
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<Coarse> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Coarse> {
        if let Expr::Function(call) = expr {
            match called(self.dialect, call) {
                Some(function) if self.depth == 0 => self.found.push(Ok(function)),
                Some(_) => {}
                None => self.found.push(Err(unknown_function(call))),
            }
        }
        ControlFlow::Continue(())
    }
}

/// The SELECTs that UNION joins, from the first; whether a UNION makes equal rows one.
fn branches<'q>(body: &'q SetExpr, selects: &mut Vec<&'q Select>) -> Result<bool, Coarse> {
    match body {
        SetExpr::Select(select) => {
            selects.push(select);
            Ok(false)
        }
        SetExpr::Query(query) if is_bare(query) => branches(&query.body, selects),
        SetExpr::SetOperation { left, op: SetOperator::Union, set_quantifier, right } => {
            let own = match set_quantifier {
                SetQuantifier::All => false,
                SetQuantifier::None | SetQuantifier::Distinct => true,
                _ => return Err(Coarse::of(format!("it has a UNION {set_quantifier}"))),
            };
            Ok(branches(left, selects)? | branches(right, selects)? | own)
        }
        SetExpr::SetOperation { op, .. } => Err(Coarse::new(
            format!("it has an {op}"),
            "say it with joins and WHERE, or as a column and a `featured`-like flag",
        )),
        SetExpr::Values(_) => Err(Coarse::of("it has VALUES")),
        _ => Err(Coarse::of("its SELECT is not followed")),
    }
}

fn is_bare(query: &Query) -> bool {
    query.with.is_none() && query.order_by.is_none() && query.limit_clause.is_none() && query.fetch.is_none()
}

/// Refuses the clauses of a SELECT that are not followed.
fn check_clauses(select: &Select) -> Result<(), Coarse> {
    let is_plain = select.top.is_none()
        && select.exclude.is_none()
        && select.into.is_none()
        && select.lateral_views.is_empty()
        && select.prewhere.is_none()
        && select.connect_by.is_empty()
        && select.cluster_by.is_empty()
        && select.distribute_by.is_empty()
        && select.sort_by.is_empty()
        && select.qualify.is_none()
        && select.value_table_mode.is_none()
        && select.select_modifiers.is_none()
        && select.flavor == SelectFlavor::Standard;
    if !is_plain {
        return Err(Coarse::of("its SELECT has clauses that are not followed"));
    }
    match &select.distinct {
        Some(Distinct::On(_)) => Err(Coarse::of("it has DISTINCT ON")),
        _ => Ok(()),
    }
}

fn is_grouped(group_by: &GroupByExpr) -> bool {
    !matches!(group_by, GroupByExpr::Expressions(columns, modifiers) if columns.is_empty() && modifiers.is_empty())
}

/// The columns that a SELECT gives.
fn outputs(names: &Names<'_>, projection: &[SelectItem]) -> Result<Vec<Output>, Coarse> {
    let mut all = Vec::new();
    for item in projection {
        match item {
            SelectItem::UnnamedExpr(expr) => {
                let name = match plain(expr) {
                    Expr::Identifier(name) => Some(sql::name(name)),
                    Expr::CompoundIdentifier(parts) => parts.last().map(sql::name),
                    _ => None,
                };
                all.push(output(names, name, expr.clone()));
            }
            SelectItem::ExprWithAlias { expr, alias } => {
                all.push(output(names, Some(sql::name(alias)), expr.clone()));
            }
            SelectItem::Wildcard(options) if is_plain_wildcard(options) => {
                for factor in 0..names.factors.len() {
                    star(names, factor, true, &mut all)?;
                }
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(of), options)
                if is_plain_wildcard(options) =>
            {
                let of = of.0.last().and_then(|part| part.as_ident()).map(sql::name);
                let is_meant = |factor: &Factor| match (&factor.name, &of) {
                    (Some(name), Some(of)) => sql::is_same(names.dialect, name, of),
                    _ => false,
                };
                let factor = names.factors.iter().position(is_meant);
                let factor = factor.ok_or_else(|| Coarse::of(format!("what `{item}` means is not known")))?;
                star(names, factor, false, &mut all)?;
            }
            _ => return Err(Coarse::of(format!("`{item}` in its SELECT is not followed"))),
        }
    }
    Ok(all)
}

fn is_plain_wildcard(options: &WildcardAdditionalOptions) -> bool {
    options.opt_ilike.is_none()
        && options.opt_exclude.is_none()
        && options.opt_except.is_none()
        && options.opt_replace.is_none()
        && options.opt_rename.is_none()
        && options.opt_alias.is_none()
}

fn output(names: &Names<'_>, name: Option<String>, expr: Expr) -> Output {
    Output { name, meaning: names.understand(&expr), expr }
}

/// The columns of one factor that `*` gives: of those that USING made one, only the first.
fn star(names: &Names<'_>, factor: usize, is_all: bool, all: &mut Vec<Output>) -> Result<(), Coarse> {
    let Factor { name, columns, .. } = &names.factors[factor];
    for column in columns.iter().filter(|column| !column.is_hidden) {
        let own = sql::quoted(names.dialect, &column.name);
        let is_joined = is_all && names.using.contains(&sql::folded(names.dialect, &column.name));
        if is_joined && names.find(std::slice::from_ref(&own))?.0 != factor {
            continue;
        }
        let expr = match name {
            Some(name) => Expr::CompoundIdentifier(vec![sql::quoted(names.dialect, name), own]),
            None => Expr::Identifier(own),
        };
        all.push(output(names, Some(column.name.clone()), expr));
    }
    Ok(())
}

/// The columns that rows are grouped by.
fn grouping(names: &Names<'_>, group_by: &GroupByExpr, outputs: &[Output]) -> Grouping {
    let GroupByExpr::Expressions(exprs, modifiers) = group_by else {
        return Grouping::Unknown(Coarse::of("it has GROUP BY ALL"));
    };
    if !modifiers.is_empty() {
        return Grouping::Unknown(Coarse::of("its GROUP BY has modifiers"));
    }
    if exprs.is_empty() {
        return Grouping::None;
    }
    let mut columns = Vec::new();
    for expr in exprs {
        let meaning = match names.understand(expr) {
            // A number counts the columns, and what is no column may be an alias.
            Ok(Meaning { is_literal: true, .. }) => {
                let number = expr.to_string().parse().ok().and_then(|number: usize| number.checked_sub(1));
                number.and_then(|number| outputs.get(number)).map(|output| output.meaning.clone())
            }
            Ok(meaning) => Some(Ok(meaning)),
            Err(_) => {
                let alias = expr.to_string();
                let alias = match plain(expr) {
                    Expr::Identifier(name) => sql::name(name),
                    _ => alias,
                };
                let is_meant = |output: &&Output| {
                    output.name.as_ref().is_some_and(|name| sql::is_same(names.dialect, name, &alias))
                };
                outputs.iter().find(is_meant).map(|output| output.meaning.clone())
            }
        };
        match meaning {
            Some(Ok(Meaning { column: Some(column), is_bytewise: true, .. })) => columns.push(column),
            _ => {
                return Grouping::Unknown(Coarse::new(
                    format!("it groups by `{expr}`, whose equality may not be that of its bytes"),
                    "GROUP BY columns of tables that compare by their bytes (COLLATE BINARY)",
                ));
            }
        }
    }
    Grouping::By(columns)
}
