//! Which tables a query may read, whatever its shape: every name anywhere in it, through views.
//!
//! Names too many rather than too few: a WITH query may hide a table of its name.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use edgepress_store::database::capture::{Catalog, Dialect, Table};
use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments, JoinConstraint,
    ObjectName, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, TableFactor, TableWithJoins,
    Visitor,
};

use super::analyse::Scope;
use super::expression::{called, is_of_now};
use super::plan::Caution;
use super::{Coarse, order, sql};

/// What a query reads.
#[derive(Debug, Clone, Default)]
pub(super) struct Read {
    /// Base tables.
    pub(super) tables: BTreeSet<Table>,
    /// Views.
    pub(super) views: BTreeSet<Table>,
    /// Names in FROM that the catalogue does not know.
    pub(super) unknown: BTreeSet<String>,
    /// Functions that are not the database's own.
    pub(super) routines: BTreeSet<String>,
    /// What the owner should know of it.
    pub(super) cautions: BTreeSet<Caution>,
    /// Whether the SELECT of a view does not parse.
    pub(super) is_incomplete: bool,
    /// Tables of which all columns are read.
    pub(super) starred: BTreeSet<Table>,
    /// Names, as they are compared, that may mean columns of a table.
    pub(super) columns: BTreeMap<Table, BTreeSet<String>>,
    /// Pseudo columns that number rows, as they are compared, by their tables; by none if it is not said.
    pub(super) numbers: BTreeSet<(Option<Table>, String)>,
}

/// The base tables that `query` may read, where names may mean `scope`'s WITH queries.
pub(super) fn of(catalog: &Catalog, query: &Query, scope: &Scope) -> BTreeSet<Table> {
    let mut read = Read::default();
    add(catalog, query, &mut read);
    // Whatever WITH queries are around it, it may read them.
    for named in scope.named.values().flatten() {
        add(catalog, &named.query, &mut read);
    }
    read.tables
}

/// Everything that `query` may read.
pub(super) fn read(catalog: &Catalog, query: &Query) -> Read {
    let mut read = Read::default();
    add(catalog, query, &mut read);
    read
}

fn add(catalog: &Catalog, query: &Query, read: &mut Read) {
    let mut names = Names::new(catalog.dialect);
    let flow = sql::walk(query, &mut names);
    debug_assert!(flow.is_continue(), "it is only looked at");
    for name in &names.relations {
        match find(catalog, name) {
            Some(table) => add_found(catalog, table, read),
            None => {
                let own = last(name);
                if !names.with.contains(&sql::folded(catalog.dialect, &own)) {
                    read.unknown.insert(own);
                }
            }
        }
    }
    let tables = names.relations.iter().filter_map(|name| catalog.tables.get(find(catalog, name)?));
    let floats = tables.flat_map(|facts| facts.columns.iter().filter(|column| column.is_float));
    let floats: BTreeSet<String> = floats.map(|column| sql::folded(catalog.dialect, &column.name)).collect();
    let is_summed = |(_, columns): &&(String, BTreeSet<String>)| !columns.is_disjoint(&floats);
    let sums = names.sums.iter().filter(is_summed).map(|(name, _)| Caution::Float(name.clone()));
    read.cautions.extend(sums.chain(names.cautions));
    read.cautions.append(&mut order::cautions(catalog, query));
    let is_called = |routine: &&String| names.functions.contains(&sql::folded(catalog.dialect, routine));
    read.routines.extend(catalog.routines.iter().filter(is_called).cloned());
    if sql::has_whole_rows(catalog.dialect) {
        let whole = names.called.iter().filter(|(called, _)| names.unqualified.contains(called));
        read.starred.extend(whole.filter_map(|(_, table)| find(catalog, table)).cloned());
    }
    let starred = names.starred.iter().filter_map(|name| find(catalog, name)).cloned();
    read.starred.extend(starred);
    // What is qualified is a column of whatever is called so, anywhere in this text; all else may be a
    // column of every table in it.
    let row_numbers = sql::row_numbers(catalog.dialect);
    for (qualifier, name) in &names.qualified {
        let meant = names.called.iter().filter(|(called, _)| called == qualifier);
        for table in meant.filter_map(|(_, table)| find(catalog, table)) {
            if row_numbers.contains(&&**name) {
                read.numbers.insert((Some(table.clone()), name.clone()));
            }
            read.columns.entry(table.clone()).or_default().insert(name.clone());
        }
    }
    for table in names.relations.iter().filter_map(|name| find(catalog, name)) {
        read.columns.entry(table.clone()).or_default().extend(names.unqualified.iter().cloned());
    }
    let numbers = names.unqualified.iter().filter(|name| row_numbers.contains(&&***name));
    read.numbers.extend(numbers.map(|number| (None, number.clone())));
}

pub(super) fn find<'c>(catalog: &'c Catalog, name: &ObjectName) -> Option<&'c Table> {
    let parts: Option<Vec<String>> = name.0.iter().map(|part| part.as_ident().map(sql::name)).collect();
    match parts.as_deref() {
        Some([name]) => catalog.find(None, name),
        Some([schema, name]) => catalog.find(Some(schema), name),
        _ => None,
    }
}

pub(super) fn last(name: &ObjectName) -> String {
    name.0.last().and_then(|part| part.as_ident()).map(sql::name).unwrap_or_default()
}

fn add_found(catalog: &Catalog, table: &Table, read: &mut Read) {
    let Some(view) = catalog.views.get(table) else {
        read.tables.insert(table.clone());
        return;
    };
    if read.views.insert(table.clone()) {
        match sql::parse(catalog.dialect, &view.query) {
            Ok(query) => add(catalog, &query, read),
            Err(_) => read.is_incomplete = true,
        }
    }
}

/// The names in a query, as they are compared.
struct Names {
    relations: Vec<ObjectName>,
    /// Names of WITH queries.
    with: BTreeSet<String>,
    /// What tables are called where they stand in FROM.
    called: Vec<(String, ObjectName)>,
    starred: Vec<ObjectName>,
    /// Columns with what qualifies them.
    qualified: BTreeSet<(String, String)>,
    /// Columns without.
    unqualified: BTreeSet<String>,
    /// Functions.
    functions: BTreeSet<String>,
    dialect: Dialect,
    cautions: BTreeSet<Caution>,
    /// Functions that add up, and the names of columns in what they add.
    sums: Vec<(String, BTreeSet<String>)>,
    /// Whether there are floating-point numbers: written so, or made by a cast.
    has_floats: bool,
}

impl Visitor for Names {
    type Break = Coarse;

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<Coarse> {
        self.relations.push(relation.clone());
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Coarse> {
        let with = query.with.iter().flat_map(|with| &with.cte_tables);
        self.with.extend(with.map(|cte| sql::folded(self.dialect, &sql::name(&cte.alias.name))));
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Coarse> {
        let mut called = Vec::new();
        let (dialect, using) = (self.dialect, &mut self.unqualified);
        let is_natural =
            select.from.iter().fold(false, |is, tables| in_from(dialect, tables, &mut called, using) | is);
        for item in &select.projection {
            match item {
                SelectItem::Wildcard(_) => {
                    self.starred.extend(called.iter().map(|(_, name)| name.clone()));
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(of), _) => {
                    let of = sql::folded(self.dialect, &last(of));
                    let meant = called.iter().filter(|(called, _)| *called == of);
                    self.starred.extend(meant.map(|(_, name)| name.clone()));
                }
                _ => {}
            }
        }
        if is_natural {
            self.starred.extend(called.iter().map(|(_, name)| name.clone()));
        }
        self.called.append(&mut called);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Coarse> {
        let parts = match expr {
            Expr::Identifier(name) => std::slice::from_ref(name),
            Expr::CompoundIdentifier(parts) => parts,
            Expr::Cast { data_type, .. } => {
                self.has_floats |= sql::is_float(&data_type.to_string());
                return ControlFlow::Continue(());
            }
            Expr::Value(value) => {
                self.has_floats |= sql::is_float_number(self.dialect, &value.value);
                return ControlFlow::Continue(());
            }
            Expr::Function(call) => {
                self.functions.insert(sql::folded(self.dialect, &last(&call.name)));
                self.whole_rows(call);
                self.caution(call);
                return ControlFlow::Continue(());
            }
            _ => return ControlFlow::Continue(()),
        };
        let mut parts = parts.iter().rev().map(|part| sql::folded(self.dialect, &sql::name(part)));
        match (parts.next(), parts.next()) {
            (Some(name), Some(qualifier)) => drop(self.qualified.insert((qualifier, name))),
            (Some(name), None) => drop(self.unqualified.insert(name)),
            (None, _) => {}
        }
        ControlFlow::Continue(())
    }
}

impl Names {
    fn new(dialect: Dialect) -> Self {
        Self {
            relations: Vec::new(),
            with: BTreeSet::new(),
            called: Vec::new(),
            starred: Vec::new(),
            qualified: BTreeSet::new(),
            unqualified: BTreeSet::new(),
            functions: BTreeSet::new(),
            dialect,
            cautions: BTreeSet::new(),
            sums: Vec::new(),
            has_floats: false,
        }
    }

    /// What the owner should know of a function.
    fn caution(&mut self, call: &Function) {
        let dialect = self.dialect;
        let name = sql::folded(self.dialect, &last(&call.name));
        if called(dialect, call) == Some(sql::Function::Clock) {
            if is_of_now(call, &name) {
                self.cautions.insert(Caution::Clock(name.clone()));
            }
            let text = call.to_string().to_ascii_lowercase();
            if text.contains("'localtime'") || text.contains("'utc'") {
                self.cautions.insert(Caution::Local(name.clone()));
            }
        }
        let FunctionArguments::List(list) = &call.args else { return };
        let is_ordered =
            list.clauses.iter().any(|clause| matches!(clause, FunctionArgumentClause::OrderBy(_)));
        if sql::is_order_dependent(&name) && !is_ordered && call.within_group.is_empty() {
            self.cautions.insert(Caution::Unordered(name.clone()));
        }
        if sql::is_random(&name) {
            self.cautions.insert(Caution::Random(name.clone()));
        }
        if sql::is_sum(&name) {
            let mut added = Self::new(dialect);
            let flow = list.args.iter().try_for_each(|argument| sql::walk(argument, &mut added));
            debug_assert!(flow.is_continue(), "it is only looked at");
            let qualified = added.qualified.into_iter().map(|(_, column)| column);
            let columns = qualified.chain(added.unqualified).collect();
            match added.has_floats {
                true => drop(self.cautions.insert(Caution::Float(name))),
                false => self.sums.push((name, columns)),
            }
        }
    }

    /// `f(t.*)` reads what `f(t)` does.
    fn whole_rows(&mut self, call: &Function) {
        let FunctionArguments::List(list) = &call.args else { return };
        for argument in &list.args {
            if let FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(of)) = argument {
                self.unqualified.insert(sql::folded(self.dialect, &last(of)));
            }
        }
    }
}

/// Gathers the tables that stand in FROM, not in queries there, and the columns that USING names; whether
/// some are joined by the names of their columns.
pub(super) fn in_from(
    dialect: Dialect,
    tables: &TableWithJoins,
    called: &mut Vec<(String, ObjectName)>,
    using: &mut BTreeSet<String>,
) -> bool {
    let mut is_natural = in_factor(dialect, &tables.relation, called, using);
    for join in &tables.joins {
        is_natural |= in_factor(dialect, &join.relation, called, using);
        match super::joins::sides(&join.join_operator).map(|(_, constraint)| constraint) {
            Some(JoinConstraint::Using(columns)) => {
                using.extend(columns.iter().map(|column| sql::folded(dialect, &last(column))));
            }
            Some(JoinConstraint::On(_) | JoinConstraint::None) => {}
            // What is not followed may be anything.
            Some(JoinConstraint::Natural) | None => is_natural = true,
        }
    }
    is_natural
}

fn in_factor(
    dialect: Dialect,
    factor: &TableFactor,
    called: &mut Vec<(String, ObjectName)>,
    using: &mut BTreeSet<String>,
) -> bool {
    match factor {
        TableFactor::Table { name, alias, .. } => {
            let own = alias.as_ref().map_or_else(|| last(name), |alias| sql::name(&alias.name));
            called.push((sql::folded(dialect, &own), name.clone()));
            false
        }
        TableFactor::NestedJoin { table_with_joins, .. } => in_from(dialect, table_with_joins, called, using),
        _ => false,
    }
}
