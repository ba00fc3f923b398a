//! A query as far as impact follows it: the branches of its UNION, what each reads, what each gives.
//!
//! Owns the model only; `analyse` makes it, `terms` asks it.

use std::collections::BTreeSet;

use sqlparser::ast::{Expr, TableWithJoins, With};

use super::Coarse;

/// A query, at the top or in FROM.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    /// Its WITH, printed before each of its branches.
    pub(super) with: Option<With>,
    /// The branches of its `UNION [ALL]`; one without.
    pub(super) branches: Vec<Branch>,
}

/// One SELECT.
#[derive(Debug, Clone)]
pub(super) struct Branch {
    /// FROM, as it was written.
    pub(super) from: Vec<TableWithJoins>,
    /// What stands in FROM, in the order in which it is written, nested joins taken apart.
    pub(super) factors: Vec<Factor>,
    /// The parts of WHERE that hold for every row that the SELECT ever gave.
    pub(super) conjuncts: Vec<Expr>,
    /// The columns it gives.
    pub(super) outputs: Vec<Output>,
    /// How its rows are grouped.
    pub(super) grouping: Grouping,
    /// Whether equal rows are one: DISTINCT, or a plain UNION around it.
    pub(super) is_distinct: bool,
    /// Why its rows depend on each other in ways that impact does not follow, if they do.
    pub(super) entangled: Option<Coarse>,
}

/// A table, a view, a WITH query or a derived table in FROM.
#[derive(Debug, Clone)]
pub(super) struct Factor {
    /// The name that qualifies its columns, if it has one.
    pub(super) name: Option<String>,
    /// Its columns.
    pub(super) columns: Vec<Column>,
    /// What it is.
    pub(super) kind: Kind,
    /// Whether a join around it gives rows of NULLs in its place.
    pub(super) is_null_supplied: bool,
    /// The occurrences in it.
    pub(super) occurrences: BTreeSet<usize>,
}

/// What a factor is.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// A base table.
    Table,
    /// A query.
    Nested(Shape),
}

/// A column of a factor.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    /// Whether it is a column of a table, unchanged, and equal in SQL only if its bytes are.
    pub(super) is_bytewise: bool,
    pub(super) loose: Loose,
    /// Whether it only numbers the rows: `*` does not give it.
    pub(super) is_hidden: bool,
}

/// Whether a value, or how it compares, may differ from what the rows say that it was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Loose {
    /// It may not.
    No,
    /// It comes from a UNION in FROM. What is equal there is equal in each branch alone, but SQL may
    /// order it otherwise: types that differ between branches are converted otherwise.
    Mixed,
    /// It comes from a UNION in FROM, and compares as one of the branches says, which need not be its own.
    Vague,
    /// It is a column that an outer join sets to NULL.
    Column,
    /// It is made from any of these, or from the clock.
    Computed,
}

impl Loose {
    /// The same where an outer join may set it to NULL.
    fn filled(self) -> Self {
        match self {
            Self::No | Self::Mixed | Self::Column => Self::Column,
            Self::Vague | Self::Computed => Self::Computed,
        }
    }

    /// Whether its values are those that the rows give.
    pub(super) fn is_certain(self) -> bool {
        self < Self::Column
    }

    /// Whether a plain `=` to another column can be followed.
    pub(super) fn is_comparable(self) -> bool {
        matches!(self, Self::No | Self::Mixed | Self::Column)
    }
}

/// A column that a SELECT gives.
#[derive(Debug, Clone)]
pub(super) struct Output {
    /// Its name, if it has one that can be written.
    pub(super) name: Option<String>,
    pub(super) expr: Expr,
    /// What is known of its value; why nothing is.
    pub(super) meaning: Result<Meaning, Coarse>,
}

/// What is known of an expression.
#[derive(Debug, Clone)]
pub(super) struct Meaning {
    /// The column that it is, if it is nothing else: factor and column.
    pub(super) column: Option<(usize, usize)>,
    /// Whether it is a literal.
    pub(super) is_literal: bool,
    /// See [`Column::is_bytewise`].
    pub(super) is_bytewise: bool,
    pub(super) loose: Loose,
}

/// How rows are grouped.
#[derive(Debug, Clone)]
pub(super) enum Grouping {
    /// Not at all.
    None,
    /// By these columns (factor and column), all of them compared by their bytes.
    By(Vec<(usize, usize)>),
    /// In a way that is not followed.
    Unknown(Coarse),
}

impl Shape {
    /// The occurrences in it.
    pub(super) fn occurrences(&self) -> BTreeSet<usize> {
        self.branches.iter().flat_map(Branch::occurrences).collect()
    }
}

impl Branch {
    /// The occurrences in it.
    pub(super) fn occurrences(&self) -> impl Iterator<Item = usize> {
        self.factors.iter().flat_map(|factor| factor.occurrences.iter().copied())
    }

    /// How certain a column of a factor is.
    pub(super) fn loose(factors: &[Factor], (factor, column): (usize, usize)) -> Loose {
        let factor = &factors[factor];
        let own = factor.columns[column].loose;
        if factor.is_null_supplied { own.filled() } else { own }
    }
}
