//! What a query shows that is the database's choice, as far as its text tells: which rows a LIMIT takes, and which
//! of several equal values stands for them all.
//!
//! Says nothing in doubt: an owner who is warned of nothing stops reading.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use edgepress_store::database::capture::{Catalog, Facts};
use sqlparser::ast::{
    BinaryOperator, Distinct, Expr, GroupByExpr, LimitClause, OrderBy, OrderByKind, Query, Select,
    SelectItem, SetExpr, SetOperator, SetQuantifier, Visitor,
};

use super::expression::{conjuncts, plain};
use super::plan::Caution;
use super::{Coarse, sql, tables};

/// What the owner should know of a query's order.
pub(super) fn cautions(catalog: &Catalog, query: &Query) -> BTreeSet<Caution> {
    let mut looked = Looked { catalog, with: BTreeSet::new(), cautions: BTreeSet::new() };
    let flow = sql::walk(query, &mut looked);
    debug_assert!(flow.is_continue(), "it is only looked at");
    looked.cautions
}

struct Looked<'c> {
    catalog: &'c Catalog,
    /// Names of WITH queries, as they are compared.
    with: BTreeSet<String>,
    cautions: BTreeSet<Caution>,
}

/// A column as it is named: by its table, if that is said, and its own name; as they are compared.
type Named = (Option<String>, String);

impl Visitor for Looked<'_> {
    type Break = Coarse;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Coarse> {
        let with = query.with.iter().flat_map(|with| &with.cte_tables);
        self.with.extend(with.map(|cte| sql::folded(self.catalog.dialect, &sql::name(&cte.alias.name))));
        let select = if let SetExpr::Select(select) = &*query.body { Some(select) } else { None };
        let takes_some = match &query.fetch {
            Some(fetch) => !fetch.with_ties,
            None => matches!(&query.limit_clause, Some(limit) if !is_all(limit)),
        };
        let is_on = select.is_some_and(|select| matches!(select.distinct, Some(Distinct::On(_))));
        if takes_some || is_on {
            let clause = if is_on { "DISTINCT ON" } else { "LIMIT" };
            self.first_rows(clause, query.order_by.as_ref(), select.map(|select| &**select));
        }
        if let SetExpr::SetOperation { op: SetOperator::Union, set_quantifier, left, right } = &*query.body
            && matches!(set_quantifier, SetQuantifier::None | SetQuantifier::Distinct)
        {
            for side in [left, right] {
                if let SetExpr::Select(select) = &**side {
                    self.made_one(select, "UNION", &self.shown(select));
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Coarse> {
        if matches!(select.distinct, Some(Distinct::Distinct)) {
            self.made_one(select, "DISTINCT", &self.shown(select));
        }
        let grouped = self.grouped(select);
        if !grouped.is_empty() {
            self.made_one(select, "GROUP BY", &grouped);
        }
        ControlFlow::Continue(())
    }
}

/// `LIMIT ALL`, or only an OFFSET of none: every row is taken.
fn is_all(limit: &LimitClause) -> bool {
    matches!(limit, LimitClause::LimitOffset { limit: None, offset: None, .. })
}

impl<'c> Looked<'c> {
    /// The tables that a SELECT reads in FROM, as they are called there; views and queries are left out.
    fn tables(&self, select: &Select) -> Vec<(String, &'c Facts)> {
        let (dialect, mut called) = (self.catalog.dialect, Vec::new());
        for tables in &select.from {
            tables::in_from(dialect, tables, &mut called, &mut BTreeSet::new());
        }
        let table = |(own, name)| {
            let is_with = self.with.contains(&sql::folded(dialect, &tables::last(&name)));
            let table = tables::find(self.catalog, &name).filter(|_| !is_with)?;
            Some((own, self.catalog.tables.get(table)?))
        };
        called.into_iter().filter_map(table).collect()
    }

    /// The column that stands here, by itself, its alias or its number.
    fn named(&self, select: Option<&Select>, expr: &Expr) -> Option<Named> {
        let folded = |ident| sql::folded(self.catalog.dialect, &sql::name(ident));
        let items = select.map(|select| &*select.projection).unwrap_or_default();
        match plain(expr) {
            Expr::Identifier(ident) => {
                let aliased = items.iter().find_map(|item| match item {
                    SelectItem::ExprWithAlias { expr, alias } if folded(alias) == folded(ident) => Some(expr),
                    _ => None,
                });
                match aliased {
                    Some(aliased) => self.named(None, aliased),
                    None => Some((None, folded(ident))),
                }
            }
            Expr::CompoundIdentifier(parts) => {
                let mut parts = parts.iter().rev().map(folded);
                let name = parts.next()?;
                Some((parts.next(), name))
            }
            number @ Expr::Value(_) => {
                let place: usize = number.to_string().parse().ok()?;
                self.named(None, shown(items.get(place.checked_sub(1)?)?)?)
            }
            _ => None,
        }
    }

    /// The columns that a SELECT shows as they are.
    fn shown(&self, select: &Select) -> Vec<Named> {
        select.projection.iter().filter_map(|item| self.named(None, shown(item)?)).collect()
    }

    /// The columns that a SELECT groups by.
    fn grouped(&self, select: &Select) -> Vec<Named> {
        let GroupByExpr::Expressions(grouped, _) = &select.group_by else { return Vec::new() };
        grouped.iter().filter_map(|expr| self.named(Some(select), expr)).collect()
    }

    /// Rows that are equal in `columns` are made one: of those that it shows, one is chosen.
    fn made_one(&mut self, select: &Select, clause: &'static str, columns: &[Named]) {
        let tables = self.tables(select);
        // Rows with a key of their own are seldom equal, and then in all of their table's columns.
        if tables
            .iter()
            .any(|(called, facts)| self.tells_apart(facts, |name| is_there(columns, called, name)))
        {
            return;
        }
        let shown = self.shown(select);
        for (called, facts) in tables {
            for column in facts.columns.iter().filter(|column| column.prints_apart) {
                let name = sql::folded(self.catalog.dialect, &column.name);
                if is_there(columns, &called, &name) && is_there(&shown, &called, &name) {
                    self.cautions.insert(Caution::MadeOne(clause, column.name.clone()));
                }
            }
        }
    }

    /// Only the first rows in this order are taken.
    fn first_rows(&mut self, clause: &'static str, order_by: Option<&OrderBy>, select: Option<&Select>) {
        // Of rows that all show the same, any will do.
        let shows = |item: &SelectItem| !matches!(item, SelectItem::UnnamedExpr(Expr::Value(_)));
        if select.is_some_and(|select| !select.projection.iter().any(shows)) {
            return;
        }
        let Some(order_by) = order_by else {
            self.cautions.insert(Caution::Limited(clause));
            return;
        };
        if let (OrderByKind::Expressions(terms), Some(select)) = (&order_by.kind, select) {
            let ordered = terms.iter().filter_map(|term| self.named(Some(select), &term.expr)).collect();
            if self.is_tied(select, ordered) {
                let terms: Vec<String> = terms.iter().map(ToString::to_string).collect();
                self.cautions.insert(Caution::LimitTied(terms.join(", ")));
            }
        }
    }

    /// Whether rows of a SELECT may be equal in these columns, and show something else, as far as its one table
    /// or its GROUP BY tells.
    fn is_tied(&self, select: &Select, mut ordered: Vec<Named>) -> bool {
        let tables = self.tables(select);
        let [(called, facts)] = &*tables else { return false };
        let is_alone = matches!(&*select.from, [tables] if tables.joins.is_empty());
        if !is_alone || facts.key.is_empty() {
            return false;
        }
        ordered.extend(self.fixed(select, called));
        let is_ordered = |(_, name): &Named| is_there(&ordered, called, name);
        let grouped = self.grouped(select);
        let shown = self.shown(select);
        let shows_no_more = shown.len() == select.projection.len() && shown.iter().all(is_ordered);
        match grouped.is_empty() {
            true => !shows_no_more && !self.tells_apart(facts, |name| is_there(&ordered, called, name)),
            false => !grouped.iter().all(is_ordered),
        }
    }

    /// Columns of the table that WHERE sets equal to what is no column of it.
    fn fixed(&self, select: &Select, called: &str) -> Vec<Named> {
        let equal = |part: &Expr| {
            let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = plain(part) else { return None };
            let is_own = |side: &Named| side.0.as_deref().is_none_or(|of| of == called);
            match (plain(left), plain(right)) {
                (Expr::Value(_), column) | (column, Expr::Value(_)) => self.named(None, column),
                (one, other) => match (self.named(None, one)?, self.named(None, other)?) {
                    (one, other) if is_own(&one) && !is_own(&other) => Some(one),
                    (one, other) if is_own(&other) && !is_own(&one) => Some(other),
                    _ => None,
                },
            }
        };
        select.selection.iter().flat_map(conjuncts).filter_map(equal).collect()
    }

    /// Whether rows of a table that are equal in these columns are one row.
    fn tells_apart(&self, facts: &Facts, is_there: impl Fn(&str) -> bool) -> bool {
        let mut sets = facts.unique.iter().chain([&facts.key]).filter(|set| !set.is_empty());
        sets.any(|set| set.iter().all(|name| is_there(&sql::folded(self.catalog.dialect, name))))
    }
}

fn is_there(columns: &[Named], called: &str, name: &str) -> bool {
    columns.iter().any(|(of, own)| own == name && of.as_deref().is_none_or(|of| of == called))
}

fn shown(item: &SelectItem) -> Option<&Expr> {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    }
}
