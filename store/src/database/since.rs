//! From when on the columns of a table are captured.
//!
//! Owns what is remembered so that a table of which other columns are captured from now on goes on as the same:
//! whoever reads none of those that came need not know. Refuses to run anything.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Images that are kept when a table is captured in another way, so that nobody waits long meanwhile. Where more
/// changes wait, it is captured anew.
pub(super) const MOST_CARRIED: i64 = 100_000;

/// By column, a number for the moment from which on it was captured, if that was later than its table's.
pub(super) type Since = BTreeMap<String, i64>;

/// What of a table's `columns` was not captured all the time from `then` to `now`.
pub(super) fn fresh<'a>(
    columns: impl Iterator<Item = &'a String>,
    now: Option<&Since>,
    then: Option<&Since>,
) -> BTreeSet<String> {
    let of = |since: Option<&Since>, column: &String| since.and_then(|since| since.get(column)).copied();
    columns.filter(|column| of(now, column) != of(then, column)).cloned().collect()
}

/// From when on each of `columns` is captured if it is from `number` on where `is_known` does not say that it was
/// before. One that was captured once, and not for a while, is new.
pub(super) fn since<'a>(
    columns: impl Iterator<Item = &'a String>,
    before: &Since,
    is_known: impl Fn(&String) -> bool,
    number: i64,
) -> Since {
    let of = |column: &String| if is_known(column) { before.get(column).copied() } else { Some(number) };
    columns.filter_map(|column| Some((column.clone(), of(column)?))).collect()
}

/// How a table is captured on a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct How<C> {
    /// The captured columns.
    pub(super) columns: Vec<C>,
    /// The number in the names of what captures it. Its changes keep the number under which it was captured
    /// first.
    pub(super) number: i64,
    pub(super) since: Since,
}

impl<C: DeserializeOwned> How<C> {
    /// What was remembered of the captured table `id`. What another version wrote captures nothing, so that it is
    /// made anew.
    pub(super) fn read(remembered: &str, id: i64) -> Self {
        let nothing = |_| Self { columns: Vec::new(), number: id, since: Since::new() };
        serde_json::from_str(remembered).unwrap_or_else(nothing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_fresh_until_it_was_captured_at_both_moments() {
        let names = |names: &str| names.split(' ').map(ToOwned::to_owned).collect::<Vec<String>>();
        let begin = |columns: &[String], of: &Since, before: &[String], number| {
            since(columns.iter(), of, |column| before.contains(column), number)
        };
        let news = |columns: &[String], now: &Since, then: &Since| {
            fresh(columns.iter(), Some(now), Some(then)).into_iter().collect::<Vec<_>>().join(" ")
        };
        let (ab, abc) = (names("a b"), names("a b c"));
        let first = Since::new();
        let second = begin(&abc, &first, &ab, 5);
        assert_eq!(
            (news(&abc, &second, &first), news(&abc, &second, &second)),
            ("c".to_owned(), String::new())
        );
        let third = begin(&ab, &second, &abc, 6);
        assert_eq!(news(&ab, &third, &second), "");
        let fourth = begin(&abc, &third, &ab, 7);
        assert_eq!(news(&abc, &fourth, &second), "c", "for a while nobody recorded it");
        assert_eq!(fresh(abc.iter(), None, Some(&second)), BTreeSet::from(["c".to_owned()]));
    }
}
