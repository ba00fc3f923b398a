//! Sorts the entries of a release by path, in bounded memory: sorted runs in temporary files, merged.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use edgepress_site::release::codec::{put_varint, Reader};
use edgepress_site::release::Entry;

use crate::codec;
use crate::error::PublishError;
use crate::spool::{Records, Spool};

/// Entries that stay in memory: about 16 MiB.
const MEMORY: usize = 64 << 10;

/// An entry and the number of its collection.
pub(crate) type Numbered = (u32, Entry);

/// Entries on their way in.
pub(crate) struct Sorter {
    memory: Vec<Numbered>,
    runs: Vec<Records>,
    limit: usize,
}

impl Sorter {
    pub(crate) fn new() -> Self {
        Self { memory: Vec::new(), runs: Vec::new(), limit: MEMORY }
    }

    pub(crate) fn push(&mut self, collection: u32, entry: Entry) -> Result<(), PublishError> {
        self.memory.push((collection, entry));
        if self.memory.len() >= self.limit {
            self.spill()?;
        }
        Ok(())
    }

    fn spill(&mut self) -> Result<(), PublishError> {
        let mut spool = Spool::with_memory(256 << 10);
        let mut record = Vec::new();
        self.memory.sort_by(|(_, a), (_, b)| a.path.cmp(&b.path));
        for (collection, entry) in self.memory.drain(..) {
            record.clear();
            put_varint(&mut record, u64::from(collection));
            codec::put_entry(&mut record, &entry);
            spool.push(&record)?;
        }
        self.runs.push(spool.read()?);
        Ok(())
    }

    /// The entries in ascending order of path; equal paths follow each other.
    pub(crate) fn sorted(mut self) -> Result<Sorted, PublishError> {
        self.memory.sort_by(|(_, a), (_, b)| a.path.cmp(&b.path));
        let mut sorted = Sorted { memory: self.memory.into_iter(), runs: self.runs, heads: BinaryHeap::new() };
        for run in 0..=sorted.runs.len() {
            sorted.advance(run)?;
        }
        Ok(sorted)
    }
}

/// Entries on their way out.
pub(crate) struct Sorted {
    memory: std::vec::IntoIter<Numbered>,
    runs: Vec<Records>,
    /// The next entry of each run; the run after the last is memory.
    heads: BinaryHeap<Reverse<Head>>,
}

struct Head {
    entry: Entry,
    collection: u32,
    run: usize,
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.entry.path.cmp(&other.entry.path).then(self.run.cmp(&other.run))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}

impl Sorted {
    fn advance(&mut self, run: usize) -> Result<(), PublishError> {
        let next = match self.runs.get_mut(run) {
            None => self.memory.next(),
            Some(records) => match records.next().transpose()? {
                None => None,
                Some(record) => {
                    let mut reader = Reader::new(&record);
                    Some((reader.varint32()?, codec::entry(&mut reader)?))
                }
            },
        };
        if let Some((collection, entry)) = next {
            self.heads.push(Reverse(Head { entry, collection, run }));
        }
        Ok(())
    }
}

impl Iterator for Sorted {
    type Item = Result<Numbered, PublishError>;

    fn next(&mut self) -> Option<Self::Item> {
        let Reverse(Head { entry, collection, run }) = self.heads.pop()?;
        Some(self.advance(run).map(|()| (collection, entry)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgepress_site::release::{Pack, Place};
    use edgepress_site::version::Version;

    #[test]
    fn entries_come_out_by_path_however_many_runs_there_were() {
        for limit in [1, 7, 1_000] {
            let mut sorter = Sorter { limit, ..Sorter::new() };
            for number in 0..100u32 {
                let path = format!("/{:02}", number * 37 % 100);
                sorter
                    .push(number, Entry {
                        path: path.as_str().into(),
                        version: Version([0; 16]),
                        media_type: "a/b".into(),
                        size: 0,
                        policy: [0; 16],
                        place: Place { pack: Pack::New(0), offset: 0, length: 0 },
                        changed: 0,
                        previous: Vec::new(),
                    })
                    .expect("the disk has room");
            }
            let sorted: Result<Vec<_>, _> = sorter.sorted().expect("readable").collect();
            let paths: Vec<String> = sorted.expect("readable").iter().map(|(_, entry)| entry.path.to_string()).collect();
            assert_eq!(paths, (0..100).map(|number| format!("/{number:02}")).collect::<Vec<_>>());
        }
    }
}
