//! Draws from a seed, and remembers by name what was drawn. Refuses to know what the names mean.

use std::collections::BTreeMap;

use edgepress_store::database::capture::Dialect;

use crate::support::Random;

/// How often what was drawn.
pub(super) type Drawn = BTreeMap<&'static str, u64>;

/// Decisions that are the same for the same seed.
pub(super) struct Draw {
    random: Random,
    /// Whose SQL is drawn.
    pub(super) dialect: Dialect,
    pub(super) drawn: Drawn,
}

impl Draw {
    pub(super) fn new(dialect: Dialect, seed: u64) -> Self {
        Self { random: Random(seed), dialect, drawn: Drawn::new() }
    }

    /// The next number below `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.random.below(end)
    }

    /// A number from `from` to `to`, both included.
    pub(super) fn within(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }

    /// True in `percent` of 100 cases.
    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// As [`Draw::chance`], remembered by `name` when true.
    pub(super) fn rarely(&mut self, percent: u64, name: &'static str) -> bool {
        let is_so = self.chance(percent);
        if is_so {
            self.saw(name);
        }
        is_so
    }

    /// One of several texts.
    pub(super) fn pick(&mut self, from: &[&'static str]) -> &'static str {
        from[self.below(from.len() as u64) as usize]
    }

    /// One of several.
    pub(super) fn choose<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize].clone()
    }

    /// One of several, each with its weight and name; remembered by its name.
    pub(super) fn weighted<T: Copy>(&mut self, from: &[(u64, &'static str, T)]) -> T {
        let mut left = self.below(from.iter().map(|(weight, ..)| weight).sum());
        for (weight, name, value) in from {
            if left < *weight {
                self.saw(name);
                return *value;
            }
            left -= weight;
        }
        unreachable!("what is left is below the sum of all weights")
    }

    /// Remembers that `name` was drawn.
    pub(super) fn saw(&mut self, name: &'static str) {
        *self.drawn.entry(name).or_default() += 1;
    }
}
