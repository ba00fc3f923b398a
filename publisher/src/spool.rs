//! A queue of byte records that stays in memory while it is small and goes to a temporary file when it
//! is not: what keeps a publish of any size in bounded memory.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, Write};

use edgepress_site::release::codec::put_varint;

use crate::error::{PublishError, temporary};

/// Records on their way in.
pub(crate) struct Spool {
    memory: Vec<u8>,
    /// Bytes that stay in memory.
    limit: usize,
    file: Option<BufWriter<File>>,
    count: u64,
}

impl Default for Spool {
    fn default() -> Self {
        Self::with_memory(8 << 20)
    }
}

impl Spool {
    /// A spool that keeps up to `limit` bytes in memory.
    pub(crate) fn with_memory(limit: usize) -> Self {
        Self { memory: Vec::new(), limit, file: None, count: 0 }
    }

    pub(crate) fn push(&mut self, record: &[u8]) -> Result<(), PublishError> {
        self.count += 1;
        put_varint(&mut self.memory, record.len() as u64);
        self.memory.extend_from_slice(record);
        if self.memory.len() > self.limit {
            self.flush().map_err(temporary)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let file = match self.file.take() {
            Some(file) => file,
            None => BufWriter::new(tempfile::tempfile()?),
        };
        let file = self.file.insert(file);
        file.write_all(&self.memory)?;
        self.memory.clear();
        Ok(())
    }

    /// The records, in the order they came.
    pub(crate) fn read(mut self) -> Result<Records, PublishError> {
        let bytes: Box<dyn Read + Send> = match self.file.take() {
            None => Box::new(std::io::Cursor::new(self.memory)),
            Some(mut file) => {
                let rewound =
                    file.write_all(&self.memory).and_then(|()| file.flush()).and_then(|()| file.rewind());
                rewound.map_err(temporary)?;
                let file = file.into_inner().map_err(|error| temporary(error.into_error()))?;
                Box::new(BufReader::with_capacity(256 << 10, file))
            }
        };
        Ok(Records { bytes, left: self.count })
    }
}

/// Records on their way out.
pub(crate) struct Records {
    bytes: Box<dyn Read + Send>,
    left: u64,
}

impl Records {
    fn record(&mut self) -> std::io::Result<Vec<u8>> {
        let mut length = 0u64;
        for shift in (0..64).step_by(7) {
            let mut byte = [0];
            self.bytes.read_exact(&mut byte)?;
            length |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] & 0x80 == 0 {
                break;
            }
        }
        let mut record = vec![0; length as usize];
        self.bytes.read_exact(&mut record)?;
        Ok(record)
    }
}

impl Iterator for Records {
    type Item = Result<Vec<u8>, PublishError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        Some(self.record().map_err(temporary))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_in_order_from_memory_and_from_a_file() {
        for size in [3, 200_000] {
            let mut spool = Spool::default();
            for number in 0..100u8 {
                spool.push(&vec![number; size + usize::from(number)]).expect("the disk has room");
            }
            let records: Result<Vec<_>, _> = spool.read().expect("readable").collect();
            for (number, record) in records.expect("readable").into_iter().enumerate() {
                assert_eq!(record, vec![number as u8; size + number]);
            }
        }
    }
}
