//! Faults that the oracle must find, each within a few cases: what finds nothing proves nothing.

use super::case::{Case, Statement, Step};
use super::lies::Lie;

/// A way of publishing wrongly.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fault {
    pub(super) name: &'static str,
    wrong: Wrong,
}

#[derive(Debug, Clone, Copy)]
enum Wrong {
    /// Edits that go unnoticed: nothing is published when all statements since the last time are such.
    Misses(fn(&Statement) -> bool),
    /// What the database keeps from the publisher.
    Told(Lie),
}

const fn misses(name: &'static str, misses: fn(&Statement) -> bool) -> Fault {
    Fault { name, wrong: Wrong::Misses(misses) }
}

const fn lie(name: &'static str, lie: Lie) -> Fault {
    Fault { name, wrong: Wrong::Told(lie) }
}

/// What must not be found: the database that lies, when it does not.
pub(super) const NONE: Fault = lie("nothing is wrong", Lie::Nothing);

/// All faults.
pub(super) const FAULTS: [Fault; 15] = [
    misses("deletes go unnoticed", |statement| statement.head.starts_with("DELETE")),
    misses("a change of case goes unnoticed", |statement| {
        [" = upper(", " = lower("].iter().any(|set| statement.head.contains(set))
    }),
    misses("edits of one table go unnoticed", |statement| statement.head.contains(" t1 ")),
    misses("replacing rows goes unnoticed", |statement| statement.head.contains("REPLACE")),
    lie("old images are lost", Lie::OldImages),
    lie("new images are lost", Lie::NewImages),
    lie("masks are zero", Lie::Masks),
    lie("all images but one pair are lost", Lie::Images),
    lie("marks of whole tables are forgotten", Lie::Marks),
    lie("one of several changed tables is forgotten", Lie::Tables),
    lie("outer joins are narrowed", Lie::OuterJoins),
    lie("one of several keys is lost", Lie::Key),
    lie("removed keys are skipped", Lie::Removals),
    lie("keys are told apart without their case", Lie::Case),
    lie("edits during a publish count as seen", Lie::Meanwhile),
];

impl Fault {
    /// What the database keeps from the publisher.
    pub(super) fn lie(&self) -> Option<Lie> {
        match self.wrong {
            Wrong::Told(lie) => Some(lie),
            Wrong::Misses(_) => None,
        }
    }

    /// Whether a case has anything that this fault could spoil.
    pub(super) fn concerns(&self, case: &Case) -> bool {
        case.steps.iter().any(|step| match (self.wrong, step) {
            (Wrong::Misses(misses), Step::Edit(edit)) => edit.statements.iter().any(misses),
            (Wrong::Told(Lie::Meanwhile), step) => matches!(step, Step::Meanwhile(..)),
            (wrong, _) => matches!(wrong, Wrong::Told(_)),
        })
    }

    /// Whether nothing of a step is noticed; what is no edit of rows always is.
    pub(super) fn misses(&self, step: &Step) -> bool {
        let Wrong::Misses(misses) = self.wrong else { return false };
        match step {
            Step::Edit(edit) => edit.statements.iter().all(misses),
            Step::Restart(_) | Step::Publish(_) => true,
            _ => false,
        }
    }
}
