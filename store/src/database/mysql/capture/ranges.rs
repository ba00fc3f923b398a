//! Sets of change numbers, as ranges: numbers are given before transactions commit, so that a moment may
//! have seen a later one and not an earlier one.

use serde::{Deserialize, Serialize};

/// A set of numbers: ranges with both ends in it, in order, apart from each other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Ranges(pub(super) Vec<(i64, i64)>);

impl Ranges {
    /// What lies between `first` and `last` and not in this set.
    pub(super) fn gaps(&self, first: i64, last: i64) -> Self {
        let mut gaps = Vec::new();
        let mut next = first;
        for &(start, end) in &self.0 {
            if start > last {
                break;
            }
            if start > next {
                gaps.push((next, start - 1));
            }
            next = next.max(end.saturating_add(1));
        }
        if next <= last {
            gaps.push((next, last));
        }
        Self(gaps)
    }

    /// What is in both.
    pub(super) fn and(&self, other: &Self) -> Self {
        let (mut here, mut there) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut both = Vec::new();
        while let (Some(&&(a, b)), Some(&&(c, d))) = (here.peek(), there.peek()) {
            if a.max(c) <= b.min(d) {
                both.push((a.max(c), b.min(d)));
            }
            if b < d {
                here.next()
            } else {
                there.next()
            };
        }
        Self(both)
    }

    /// What is in this set and not in the other.
    pub(super) fn without(&self, other: &Self) -> Self {
        match (self.first(), self.last()) {
            (Some(first), Some(last)) => self.and(&other.gaps(first, last)),
            _ => Self::default(),
        }
    }

    pub(super) fn first(&self) -> Option<i64> {
        self.0.first().map(|(start, _)| *start)
    }

    pub(super) fn last(&self) -> Option<i64> {
        self.0.last().map(|(_, end)| *end)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(|(start, end)| end.abs_diff(*start) + 1).sum()
    }

    /// Pieces of at most `most` numbers.
    pub(super) fn pieces(&self, most: i64) -> impl Iterator<Item = (i64, i64)> {
        self.0.iter().flat_map(move |&(start, end)| {
            let size = usize::try_from(most).unwrap_or(usize::MAX);
            (start..=end).step_by(size).map(move |start| (start, end.min(start.saturating_add(most - 1))))
        })
    }

    /// The rows of the images of these changes.
    pub(super) fn rows(&self) -> Self {
        Self(self.0.iter().map(|(start, end)| (2 * start, 2 * end + 1)).collect())
    }

    /// The condition that `column` is in this set.
    pub(super) fn condition(&self, column: &str) -> String {
        let ranges = self.0.iter().map(|(start, end)| match start == end {
            true => format!("{column} = {start}"),
            false => format!("{column} BETWEEN {start} AND {end}"),
        });
        let ranges: Vec<String> = ranges.collect();
        if ranges.is_empty() { "FALSE".to_owned() } else { format!("({})", ranges.join(" OR ")) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranges(numbers: &[bool]) -> Ranges {
        let mut all: Vec<(i64, i64)> = Vec::new();
        for (number, _) in (0_i64..).zip(numbers).filter(|(_, is_in)| **is_in) {
            match all.last_mut() {
                Some((_, end)) if *end == number - 1 => *end = number,
                _ => all.push((number, number)),
            }
        }
        Ranges(all)
    }

    fn numbers(ranges: &Ranges) -> Vec<bool> {
        (0..20).map(|number| ranges.0.iter().any(|(start, end)| (start..=end).contains(&&number))).collect()
    }

    proptest! {
        #[test]
        fn sets_are_what_sets_of_numbers_are(
            one in proptest::collection::vec(any::<bool>(), 20),
            other in proptest::collection::vec(any::<bool>(), 20),
        ) {
            let (a, b) = (ranges(&one), ranges(&other));
            let pairs = || one.iter().zip(&other);
            prop_assert_eq!(numbers(&a.and(&b)), pairs().map(|(x, y)| *x && *y).collect::<Vec<_>>());
            prop_assert_eq!(numbers(&a.without(&b)), pairs().map(|(x, y)| *x && !*y).collect::<Vec<_>>());
            prop_assert_eq!(numbers(&a.gaps(0, 19)), one.iter().map(|x| !x).collect::<Vec<_>>());
            prop_assert_eq!(a.count(), one.iter().filter(|x| **x).count() as u64);
            prop_assert_eq!(numbers(&Ranges(a.pieces(3).collect())), one);
        }
    }
}
