//! The triggers that record, before a statement writes a row, the rows which REPLACE would remove for it.
//!
//! Owns the conditions under which a stored row has the new row's key. Refuses to ask a row for anything
//! that SQLite itself might not ask it for, if that may fail: the table counts as wholly changed instead.

use std::collections::{BTreeMap, BTreeSet};

use edgepress_site::version::Version;

use super::ddl::{PERHAPS, Target, balanced};
use super::names::{LOG, change_table};
use super::plan::literal;
use crate::database::sqlite::catalog::{ColumnDetails, Term, TermContent, Unique};
use crate::database::sqlite::failing::Fails;
use crate::database::text::{names_in, quoted};

/// One unique key, in a trigger.
struct Key {
    /// A condition on edgepress_t: it is another row that has the new row's key.
    same: String,
    /// A condition without which nothing may be asked.
    gate: Option<String>,
    /// A condition under which rows may be removed that cannot be told.
    doubt: Option<String>,
    /// The columns that it is made of.
    columns: Vec<String>,
}

impl Key {
    /// FROM and WHERE that give the row, as edgepress_t.
    fn from(&self, on: &str) -> String {
        // With LIMIT the gate stays a loop of its own, around the other: while it is shut, the other is not
        // even prepared for, which a condition beside others would not guarantee.
        let gate = self.gate.as_ref().map_or_else(String::new, |gate| {
            format!("(SELECT 1 AS edgepress_g WHERE {gate} LIMIT 1) AS edgepress_g CROSS JOIN ")
        });
        format!("FROM {gate}{on} AS edgepress_t WHERE {} LIMIT 1", self.same)
    }
}

impl Target<'_> {
    /// REPLACE removes rows without telling anybody, unless `PRAGMA recursive_triggers` is on. An old image
    /// of a row that stays does no harm.
    pub(super) fn replace(&self) -> Option<String> {
        let keys = self.keys(None);
        let removed = self.record_removed(&keys, self.unnumbered());
        (!keys.is_empty()).then(|| format!("BEFORE INSERT ON {} WHEN {removed}", self.on()))
    }

    /// UPDATE OR REPLACE does the same.
    pub(super) fn displace(&self) -> Option<String> {
        let keys = self.keys(Some(&self.is_other()));
        let of: BTreeSet<String> =
            self.details.unique.iter().flat_map(|unique| self.columns_of(unique)).collect();
        let is_key = |name: &String| of.contains(name) || self.details.integer_key.as_ref() == Some(name);
        let names = self.details.columns.iter().map(|column| column.name.clone());
        let mut of: Vec<String> = names.filter(is_key).collect();
        of.extend(self.details.rowid.iter().filter(|_| self.details.integer_key.is_none()).cloned());
        // Columns that a BEFORE trigger does not name are NULL in it, and so is what is generated of them.
        let is_generated = self.details.columns.iter().any(|column| column.is_generated);
        let named: Vec<String> = self
            .real_columns()
            .filter(|_| is_generated)
            .map(|column| format!("NEW.{0} IS NEW.{0}", quoted(&column.name)))
            .collect();
        let named = if named.is_empty() { String::new() } else { balanced(&named, " AND ") + " AND " };
        let removed = self.record_removed(&keys, None);
        (!keys.is_empty())
            .then(|| format!("BEFORE UPDATE{} ON {} WHEN {named}{removed}", self.update_of(&of), self.on()))
    }

    /// What tells edgepress_t from the row that is updated.
    fn is_other(&self) -> String {
        if let Some(rowid) = &self.details.rowid {
            return format!("edgepress_t.{0} <> OLD.{0}", quoted(rowid));
        }
        let primary = self.details.unique.iter().find(|unique| unique.is_primary);
        let Some(primary) = primary.filter(|_| !self.details.is_wide()) else { return "1".to_owned() };
        let key = primary.terms.iter().filter_map(|term| match &term.content {
            TermContent::Column(name) => {
                Some(format!("edgepress_t.{0} = OLD.{0} COLLATE {1}", quoted(name), quoted(&term.collation)))
            }
            TermContent::Expression(_) => None,
        });
        format!("NOT ({})", key.collect::<Vec<_>>().join(" AND "))
    }

    /// `others`: of an update, what holds for rows other than its own.
    fn keys(&self, others: Option<&str>) -> Vec<Key> {
        let and = |others: Option<&str>| others.map_or_else(String::new, |others| format!(" AND {others}"));
        let rowid = self.details.rowid.as_ref().map(|rowid| quoted(rowid));
        let numbered = rowid.iter().map(|rowid| Key {
            same: format!("edgepress_t.{rowid} = NEW.{rowid}{}", and(others)),
            gate: None,
            doubt: None,
            columns: vec![rowid.clone()],
        });
        let mut keys: Vec<Key> = numbered.collect();
        // Of an insert, the row with its number is recorded already.
        let recorded = rowid.map(|rowid| format!("edgepress_t.{rowid} <> NEW.{rowid}"));
        let and = and(others.or(recorded.as_deref()));
        let (risky, plain): (Vec<&Unique>, Vec<&Unique>) =
            self.details.unique.iter().partition(|unique| unique.needs_index);
        for unique in plain {
            let columns = self.columns_of(unique);
            keys.push(Key { same: self.same_key(unique) + &and, gate: None, doubt: None, columns });
        }
        let conflicts: Vec<String> = keys.iter().map(|key| self.exists(key)).collect();
        for unique in &risky {
            // Which of several is asked first is for SQLite to choose.
            let is_alone = risky.len() == 1 && !self.details.refuses;
            let is_safe = self.is_safe(unique, is_alone.then_some(&*conflicts));
            let (mut gate, mut doubt) = self.gate(unique, &is_safe);
            if let Some(changed) = self.changed(unique).filter(|_| others.is_some()) {
                gate = lazy(&changed, &gate);
                doubt = doubt.map(|doubt| lazy(&changed, &doubt));
            }
            let columns = self.columns_of(unique);
            keys.push(Key { same: self.same_key(unique) + &and, gate: Some(gate), doubt, columns });
        }
        keys
    }

    /// What names each key that is looked up, by an INSERT and by an UPDATE, with the columns it is made of.
    pub(super) fn looked_up(&self) -> BTreeMap<String, Vec<String>> {
        let (on, is_other) = (self.on(), self.is_other());
        let both = self.keys(None).into_iter().zip(self.keys(Some(&is_other)));
        let name = |(one, other): (Key, Key)| {
            let texts = format!("{} {} {:?} {:?}", one.from(&on), other.from(&on), one.doubt, other.doubt);
            (Version::of(texts.as_bytes()).to_string(), one.columns)
        };
        both.map(name).collect()
    }

    fn exists(&self, key: &Key) -> String {
        format!("EXISTS (SELECT 1 {})", key.from(&self.on()))
    }

    fn same_key(&self, unique: &Unique) -> String {
        let terms = unique.terms.iter().map(|term| self.same_term(term)).collect::<Vec<_>>().join(" AND ");
        // In its own words, so that the index is used; a comment at its end must not go on. First: without
        // the index, terms are not asked of rows outside of it.
        match &unique.predicate {
            Some(predicate) => format!("({predicate}\n) AND {terms}"),
            None => terms,
        }
    }

    fn same_term(&self, term: &Term) -> String {
        let collation = quoted(&term.collation);
        match &term.content {
            TermContent::Column(name) => {
                let name = quoted(name);
                format!("edgepress_t.{name} = NEW.{name} COLLATE {collation}")
            }
            TermContent::Expression(text) => {
                format!("({text}\n) = {} COLLATE {collation}", self.of_new(text))
            }
        }
    }

    /// An expression, of the new row. The names in it have no table before them.
    fn of_new(&self, text: &str) -> String {
        let row = self.details.columns.iter().map(|column| {
            let name = quoted(&column.name);
            format!("NEW.{name} AS {name}")
        });
        format!("(SELECT {text}\n FROM (SELECT {}))", row.collect::<Vec<_>>().join(", "))
    }

    /// When the new row may be asked for the key, and stored rows by its index; when it may have the key but
    /// may not be asked.
    fn gate(&self, unique: &Unique, is_safe: &str) -> (String, Option<String>) {
        let [name, sql] = &unique.index;
        let is_there = format!(
            "EXISTS (SELECT 1 FROM sqlite_schema WHERE name = {} AND coalesce(sql, '') = {})",
            literal(name),
            literal(sql)
        );
        let unsafe_ = (is_safe != "1").then(|| format!("NOT ({is_safe})"));
        let Some(predicate) = &unique.predicate else { return (lazy(is_safe, &is_there), unsafe_) };
        let holds = self.of_new(&format!("({predicate}\n)"));
        match unique.predicate_fails {
            Fails::Never => {
                (lazy(&holds, &lazy(is_safe, &is_there)), unsafe_.map(|doubt| lazy(&holds, &doubt)))
            }
            _ => (lazy(is_safe, &lazy(&holds, &is_there)), unsafe_),
        }
    }

    /// A condition under which a new row can be asked for a key, or SQLite itself asks for it. `conflicts`:
    /// the other keys, if nothing else may keep SQLite from it.
    fn is_safe(&self, unique: &Unique, conflicts: Option<&[String]>) -> String {
        let conditions: Vec<String> =
            match (unique.predicate_fails.clone().or(unique.terms_fail.clone()), conflicts) {
                (Fails::Never, _) => Vec::new(),
                // What may be JSON in newer versions of SQLite only is none here.
                (Fails::OnBadJson(columns), _) => columns
                    .iter()
                    .map(|name| format!("NEW.{}", quoted(name)))
                    .map(|new| format!("({new} IS NULL OR typeof({new}) <> 'blob' AND json_valid({new}))"))
                    .collect(),
                (Fails::Perhaps, None) => vec!["0".to_owned()],
                (Fails::Perhaps, Some(conflicts)) => {
                    let is_number =
                        |column: &&ColumnDetails| self.details.integer_key.as_ref() == Some(&column.name);
                    let columns = self.details.columns.iter();
                    let columns = columns.filter(|column| column.is_not_null && !is_number(column));
                    let set = columns.map(|column| format!("NEW.{} IS NOT NULL", quoted(&column.name)));
                    set.chain(conflicts.iter().map(|conflict| format!("NOT {conflict}"))).collect()
                }
            };
        if conditions.is_empty() { "1".to_owned() } else { balanced(&conditions, " AND ") }
    }

    fn real_columns(&self) -> impl Iterator<Item = &ColumnDetails> {
        self.details.columns.iter().filter(|column| !column.is_generated)
    }

    /// The columns that a key reads, in the table's order: one that is renamed keeps its place.
    fn columns_of(&self, unique: &Unique) -> Vec<String> {
        let mut names: Vec<String> = unique.predicate.iter().flat_map(|text| names_in(text)).collect();
        for term in &unique.terms {
            match &term.content {
                TermContent::Column(name) => names.push(name.clone()),
                TermContent::Expression(text) => names.extend(names_in(text)),
            }
        }
        let is_named =
            |column: &&ColumnDetails| names.iter().any(|name| column.name.eq_ignore_ascii_case(name));
        self.details.columns.iter().filter(is_named).map(|column| column.name.clone()).collect()
    }

    /// Whether an update changes what a key is made of: otherwise it was asked for when the row was written.
    fn changed(&self, unique: &Unique) -> Option<String> {
        let columns = self.columns_of(unique);
        let is_generated = |name: &String| self.detail(name).is_some_and(|column| column.is_generated);
        let changed: Vec<String> = if columns.iter().any(is_generated) {
            self.real_columns().map(|column| self.is_changed(&column.name)).collect()
        } else {
            columns.iter().map(|name| self.is_changed(name)).collect()
        };
        (!self.details.is_wide() && !changed.is_empty()).then(|| balanced(&changed, " OR "))
    }

    /// Conditions under which REPLACE stores another key than the trigger sees: NULL in a column that is NOT
    /// NULL becomes its default.
    fn unseen_keys(&self) -> Vec<String> {
        let of: BTreeSet<String> =
            self.details.unique.iter().flat_map(|unique| self.columns_of(unique)).collect();
        // What is generated may be made of any.
        let of_any = of.iter().any(|name| self.detail(name).is_some_and(|column| column.is_generated));
        let columns = self.details.columns.iter().filter(|column| column.defaults);
        let columns = columns.filter(|column| of_any || of.contains(&column.name));
        columns.map(|column| format!("NEW.{} IS NULL", quoted(&column.name))).collect()
    }

    /// The same of an INSERT: a number that SQLite gives is -1 until then, also where a key is computed of it.
    fn unnumbered(&self) -> Option<String> {
        let number = self.details.integer_key.as_ref()?;
        let computed = |unique: &Unique| {
            let terms = unique.terms.iter().filter_map(|term| match &term.content {
                TermContent::Column(_) => None,
                TermContent::Expression(text) => Some(text.clone()),
            });
            terms.chain(unique.predicate.clone().filter(|_| unique.needs_index)).collect::<Vec<_>>()
        };
        let mut texts = self.details.unique.iter().flat_map(computed);
        let reads_it = |text: String| names_in(&text).any(|name| name.eq_ignore_ascii_case(number));
        texts.any(reads_it).then(|| format!("NEW.{} = -1", quoted(number)))
    }

    fn record_removed(&self, keys: &[Key], unseen: Option<String>) -> String {
        let on = self.on();
        let mut when: Vec<String> = keys.iter().map(|key| self.exists(key)).collect();
        let values: String = self
            .columns
            .iter()
            .map(|column| format!(", edgepress_t.{}", quoted(self.source(column))))
            .collect();
        let into = quoted(&change_table(self.table));
        let mut body = String::new();
        let doubts = keys.iter().filter_map(|key| key.doubt.clone());
        let unseen: Vec<String> = self.unseen_keys().into_iter().chain(unseen).chain(doubts).collect();
        if !unseen.is_empty() {
            // So rare that the whole table may count as changed.
            body.push_str(&self.mark(&balanced(&unseen, " OR ")));
            body.push(' ');
            when.extend(unseen);
        }
        for key in keys {
            let from = key.from(&on);
            body.push_str(&format!(
                "INSERT INTO {LOG} (source, at) SELECT {}, julianday('now') {from}; \
                 INSERT OR REPLACE INTO {into} SELECT 2 * last_insert_rowid(), {PERHAPS}{values} {from}; ",
                self.id
            ));
        }
        format!("({}) AND {} BEGIN {body}END", balanced(&when, " OR "), Self::has_room())
    }
}

/// `then` where `condition` holds, which is asked first.
fn lazy(condition: &str, then: &str) -> String {
    format!("CASE WHEN {condition} THEN {then} END")
}
