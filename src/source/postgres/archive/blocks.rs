//! What a block of data holds: rows, bytes and a digest, counted as its pieces go by.

use crate::model::ids::Digest;

/// What `pg_dump` writes after the last row of a table.
const END: &[u8] = b"\\.\n\n\n";
/// Line breaks in it.
const END_LINES: u64 = 3;
/// Pieces are collected up to this, because hashing a row at a time is several times slower.
const STAGED_MAX_BYTES: usize = 128 << 10;

/// The data of one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data {
    /// Rows; `None` when the data is compressed.
    pub rows: Option<u64>,
    /// Bytes, as they are in the archive.
    pub bytes: u64,
    /// BLAKE3 of those bytes.
    pub digest: Digest,
}

/// All large objects of an archive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LargeObjects {
    /// How many.
    pub count: u64,
    /// Their bytes, as they are in the archive.
    pub bytes: u64,
}

/// Counts one block.
pub(crate) struct Counter {
    hasher: blake3::Hasher,
    staged: Vec<u8>,
    bytes: u64,
    lines: u64,
    /// The last bytes that were hashed, at most as many as `END` and the line break before it.
    tail: Vec<u8>,
}

impl Counter {
    pub(crate) fn new() -> Self {
        Self {
            hasher: blake3::Hasher::new(),
            staged: Vec::with_capacity(STAGED_MAX_BYTES),
            bytes: 0,
            lines: 0,
            tail: Vec::with_capacity(2 * END.len()),
        }
    }

    /// To be used for the next block: its buffer stays.
    pub(crate) fn restart(&mut self) {
        self.hasher.reset();
        self.staged.clear();
        self.tail.clear();
        (self.bytes, self.lines) = (0, 0);
    }

    /// Takes the next bytes.
    pub(crate) fn add(&mut self, mut bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        while self.staged.len() + bytes.len() >= STAGED_MAX_BYTES {
            let (now, later) = bytes.split_at(STAGED_MAX_BYTES - self.staged.len());
            self.staged.extend_from_slice(now);
            self.flush();
            bytes = later;
        }
        self.staged.extend_from_slice(bytes);
    }

    fn flush(&mut self) {
        self.hasher.update(&self.staged);
        // A row is a line: line breaks in values are written as `\n`.
        self.lines += self.staged.iter().filter(|byte| **byte == b'\n').count() as u64;
        let from = self.staged.len().saturating_sub(END.len() + 1);
        self.tail.extend_from_slice(&self.staged[from..]);
        let too_many = self.tail.len().saturating_sub(END.len() + 1);
        self.tail.drain(..too_many);
        self.staged.clear();
    }

    /// What it held; `None` when it is the data of a table and does not end like that.
    pub(crate) fn finish(&mut self, what: Block) -> Option<Data> {
        self.flush();
        let digest = Digest(*self.hasher.finalize().as_bytes());
        let rows = match what {
            Block::Rows => {
                let before = self.tail.strip_suffix(END)?;
                if !matches!(before, [] | [b'\n']) {
                    return None;
                }
                Some(self.lines - END_LINES)
            }
            Block::Other => None,
        };
        Some(Data {
            rows,
            bytes: self.bytes,
            digest,
        })
    }
}

/// What a block is expected to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Block {
    /// Rows as text.
    Rows,
    /// Something that is not looked into: large objects, compressed rows.
    Other,
}

#[cfg(test)]
mod tests {
    use crate::source::postgres::archive::blocks::{Block, Counter, END, STAGED_MAX_BYTES};

    fn rows(bytes: &[u8], at_once: usize) -> Option<u64> {
        let mut counter = Counter::new();
        bytes.chunks(at_once).for_each(|piece| counter.add(piece));
        let data = counter.finish(Block::Rows)?;
        assert_eq!(data.digest.0, *blake3::hash(bytes).as_bytes());
        assert_eq!(data.bytes, bytes.len() as u64);
        data.rows
    }

    #[test]
    fn rows_are_counted_however_the_bytes_arrive() {
        for at_once in [1, 2, 3, 5, 1000, STAGED_MAX_BYTES, usize::MAX] {
            assert_eq!(rows(END, at_once), Some(0));
            assert_eq!(rows(b"1\ta\n\\.\n\n\n", at_once), Some(1));
            // A table without columns has empty rows.
            assert_eq!(rows(b"\n\n\\.\n\n\n", at_once), Some(2));
            let many = ["x\n".repeat(STAGED_MAX_BYTES - 3).as_bytes(), END].concat();
            if at_once > 5 {
                assert_eq!(rows(&many, at_once), Some(STAGED_MAX_BYTES as u64 - 3));
            }
        }
    }

    #[test]
    fn data_that_does_not_end_as_it_must_is_not_taken() {
        for bytes in [
            &b""[..],
            b"1\n",
            b"1\n\\.\n\n",
            b"1\\.\n\n\n",
            b"1\n\\.\n\n\n2\n",
        ] {
            assert_eq!(rows(bytes, 4), None, "{bytes:?}");
        }
    }
}
