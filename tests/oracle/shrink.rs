//! Makes a failing case smaller as long as it fails in the same way.
//! Refuses to know why it fails.

use edgepress_store::database::capture::Dialect;

use super::case::{Case, How, Include, Statement, Step};
use super::faults::Fault;
use super::run::{Failure, Seen, run};

/// So many smaller cases are tried at most.
const TRIES: usize = 3_000;

/// So many on servers, where each takes two new databases.
const SERVER_TRIES: usize = 300;

/// A failing case that is made smaller.
pub(super) struct Shrink<'a> {
    fault: Option<&'a Fault>,
    case: Case,
    failure: Failure,
    tries: usize,
}

/// Lists in a case of which parts can be left out.
type List<T> = fn(&mut Case, usize) -> Option<&mut Vec<T>>;

/// The smallest case found that fails as `case` does, and its failure.
pub(super) fn shrink(case: &Case, failure: Failure, fault: Option<&Fault>) -> (Case, Failure) {
    let tries = if case.dialect == Dialect::Sqlite { TRIES } else { SERVER_TRIES };
    let mut shrink = Shrink { fault, case: case.clone(), failure, tries };
    loop {
        let before = shrink.tries;
        let size = size(&shrink.case);
        shrink.round();
        if self::size(&shrink.case) == size || shrink.tries == 0 || shrink.tries == before {
            return (shrink.case, shrink.failure);
        }
    }
}

/// How much there is to read.
fn size(case: &Case) -> usize {
    case.to_string().len()
}

impl Shrink<'_> {
    /// Whether a smaller case fails in the same way; it is the one to go on with then.
    fn keeps(&mut self, case: Case) -> bool {
        if self.tries == 0 {
            return false;
        }
        self.tries -= 1;
        match run(&case, self.fault, &mut Seen::default()) {
            Err(failure) if failure.kind == self.failure.kind => {
                (self.case, self.failure) = (case, failure);
                true
            }
            _ => false,
        }
    }

    /// Tries everything once.
    fn round(&mut self) {
        let mut cut = self.case.clone();
        cut.steps.truncate(self.failure.step + 1);
        self.keeps(cut);
        self.list::<Step>(0, |case, _| Some(&mut case.steps));
        self.list(0, |case, _| Some(&mut case.site.collections));
        for number in 0..self.case.steps.len() {
            self.list::<Statement>(number, |case, number| statements(case.steps.get_mut(number)?, false));
            self.list::<Statement>(number, |case, number| statements(case.steps.get_mut(number)?, true));
        }
        for number in 0..self.case.site.collections.len() {
            self.list(number, |case, number| Some(&mut case.site.collections.get_mut(number)?.documents));
            self.list(number, |case, number| Some(&mut case.site.collections.get_mut(number)?.includes));
            self.includes(number);
        }
        self.list(0, |case, _| Some(&mut case.rows));
        for number in 0..self.case.rows.len() {
            self.list(number, |case, number| Some(&mut case.rows.get_mut(number)?.rows));
        }
        self.list(0, |case, _| Some(&mut case.schema));
        self.list(0, |case, _| Some(&mut case.pragmas));
        self.list(0, |case, _| Some(&mut case.mend));
        self.rows_of_statements();
        self.plainer();
    }

    /// Leaves out parts of a list: halves first, then smaller ones, in the end single items.
    fn list<T: Clone>(&mut self, number: usize, list: List<T>) {
        let length = |case: &Case| list(&mut case.clone(), number).map_or(0, |list| list.len());
        let mut size = length(&self.case).div_ceil(2);
        while size > 0 {
            // From the end: what comes later leans on what came before.
            let mut end = length(&self.case);
            while end > 0 {
                let start = end.saturating_sub(size);
                let mut smaller = self.case.clone();
                if let Some(list) = list(&mut smaller, number) {
                    list.drain(start..end.min(list.len()));
                }
                self.keeps(smaller);
                end = start;
            }
            size = if size == 1 { 0 } else { size.div_ceil(2) };
        }
    }

    /// Leaves out nested includes, and what includes need not have.
    fn includes(&mut self, collection: usize) {
        let count = self.case.site.collections.get(collection).map_or(0, |own| own.includes.len());
        let plainer: [fn(&mut Include); 4] = [
            |include| include.includes.clear(),
            |include| include.limit = None,
            |include| include.order_by = None,
            |include| include.one = false,
        ];
        for number in 0..count {
            for change in plainer {
                let mut smaller = self.case.clone();
                change(&mut smaller.site.collections[collection].includes[number]);
                self.keeps(smaller);
            }
        }
    }

    /// Leaves out rows of statements that insert several.
    fn rows_of_statements(&mut self) {
        for step in 0..self.case.steps.len() {
            for second in [false, true] {
                let mut number = 0;
                while let Some(count) = statements(&mut self.case.clone().steps[step], second)
                    .and_then(|statements| statements.get(number).map(|statement| statement.rows.len()))
                {
                    for row in (0..count).rev().filter(|_| count > 1) {
                        let mut smaller = self.case.clone();
                        if let Some(statements) = statements(&mut smaller.steps[step], second)
                            && statements[number].rows.len() > row
                        {
                            statements[number].rows.remove(row);
                        }
                        self.keeps(smaller);
                    }
                    number += 1;
                }
            }
        }
    }

    /// Replaces what is special by what is plain.
    fn plainer(&mut self) {
        for number in 0..self.case.steps.len() {
            let mut smaller = self.case.clone();
            match &mut smaller.steps[number] {
                Step::Publish(publish) => {
                    publish.bucket = 0;
                    publish.how = How::Plain;
                }
                Step::Edit(edit) => edit.commits = true,
                Step::Both(edit, _) | Step::Late(edit, ..) | Step::Meanwhile(edit, _) => {
                    smaller.steps[number] = Step::Edit(edit.clone());
                }
                _ => continue,
            }
            self.keeps(smaller);
        }
        for collection in 0..self.case.site.collections.len() {
            let mut smaller = self.case.clone();
            for document in &mut smaller.site.collections[collection].documents {
                document.template = None;
            }
            self.keeps(smaller);
        }
        let mut smaller = self.case.clone();
        let documents = self.case.site.collections.iter().flat_map(|own| &own.documents);
        let used: Vec<&String> = documents.filter_map(|document| document.template.as_ref()).collect();
        smaller.site.templates.retain(|name, _| used.contains(&name));
        self.keeps(smaller);
    }
}

/// The statements of a step.
fn statements(step: &mut Step, second: bool) -> Option<&mut Vec<Statement>> {
    match (step, second) {
        (Step::Edit(edit) | Step::Both(edit, _) | Step::Late(edit, ..) | Step::Meanwhile(edit, _), false)
        | (Step::Both(_, edit) | Step::Late(_, edit, _), true) => Some(&mut edit.statements),
        _ => None,
    }
}
