//! Sorts any number of items in bounded memory: sorted runs in temporary files, merged.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::error::PublishError;
use crate::spool::{Records, Spool};

/// Items that stay in memory: some 16 MiB of index entries.
const MEMORY: usize = 64 << 10;

/// What can be sorted.
pub(crate) trait Item: Ord + Sized {
    /// Appends it as bytes.
    fn put(&self, out: &mut Vec<u8>);

    /// Reads it from the bytes.
    fn get(record: &[u8]) -> Result<Self, PublishError>;
}

/// Items on their way in.
pub(crate) struct Sorter<T> {
    memory: Vec<T>,
    runs: Vec<Records>,
    limit: usize,
}

impl<T: Item> Sorter<T> {
    pub(crate) fn new() -> Self {
        Self { memory: Vec::new(), runs: Vec::new(), limit: MEMORY }
    }

    pub(crate) fn push(&mut self, item: T) -> Result<(), PublishError> {
        self.memory.push(item);
        if self.memory.len() >= self.limit {
            self.spill()?;
        }
        Ok(())
    }

    fn spill(&mut self) -> Result<(), PublishError> {
        let mut spool = Spool::with_memory(256 << 10);
        let mut record = Vec::new();
        self.memory.sort();
        for item in self.memory.drain(..) {
            record.clear();
            item.put(&mut record);
            spool.push(&record)?;
        }
        self.runs.push(spool.read()?);
        Ok(())
    }

    /// The items in ascending order.
    pub(crate) fn sorted(mut self) -> Result<Sorted<T>, PublishError> {
        self.memory.sort();
        let mut sorted =
            Sorted { memory: self.memory.into_iter(), runs: self.runs, heads: BinaryHeap::new() };
        for run in 0..=sorted.runs.len() {
            sorted.advance(run)?;
        }
        Ok(sorted)
    }
}

/// Items on their way out.
pub(crate) struct Sorted<T> {
    memory: std::vec::IntoIter<T>,
    runs: Vec<Records>,
    /// The next item of each run; the run after the last is memory.
    heads: BinaryHeap<Reverse<(T, usize)>>,
}

impl<T: Item> Sorted<T> {
    fn advance(&mut self, run: usize) -> Result<(), PublishError> {
        let next = match self.runs.get_mut(run) {
            None => self.memory.next(),
            Some(records) => records.next().transpose()?.map(|record| T::get(&record)).transpose()?,
        };
        self.heads.extend(next.map(|item| Reverse((item, run))));
        Ok(())
    }
}

impl<T: Item> Iterator for Sorted<T> {
    type Item = Result<T, PublishError>;

    fn next(&mut self) -> Option<Self::Item> {
        let Reverse((item, run)) = self.heads.pop()?;
        Some(self.advance(run).map(|()| item))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Item for u64 {
        fn put(&self, out: &mut Vec<u8>) {
            out.extend(self.to_le_bytes());
        }

        fn get(record: &[u8]) -> Result<Self, PublishError> {
            Ok(Self::from_le_bytes(record.try_into().expect("eight bytes")))
        }
    }

    #[test]
    fn items_come_out_in_order_however_many_runs_there_were() {
        for limit in [1, 7, 1_000] {
            let mut sorter = Sorter { limit, ..Sorter::new() };
            for number in 0..100u64 {
                sorter.push(number * 37 % 100).expect("the disk has room");
            }
            let sorted: Result<Vec<_>, _> = sorter.sorted().expect("readable").collect();
            assert_eq!(sorted.expect("readable"), (0..100).collect::<Vec<u64>>());
        }
    }
}
