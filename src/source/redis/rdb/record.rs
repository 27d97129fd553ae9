//! One key's record while it is read: in memory while it is short, in a file when it is long. Puts
//! elements that have no order into one, as long as they are in memory.

use crate::source::redis::rdb::input::Sink;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A longer record goes to the file in pieces of this length.
pub(crate) const INLINE_LEN_MAX_BYTES: usize = 4 << 20;

/// Takes records, one after the other, at the end of `arena`.
pub(crate) struct Records {
    /// Names and short records.
    pub(crate) arena: Vec<u8>,
    /// Where the record begins that is being put.
    begin: usize,
    /// Where the elements begin that have no order, once they are known; the last entry is their end.
    elements: Vec<usize>,
    sorting: bool,
    scratch: PathBuf,
    long: Option<File>,
    long_len: u64,
    /// Where the record begins in the file of long ones, when it is there.
    long_begin: Option<u64>,
}

/// Where a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the arena: `(start, length)`.
    Arena(usize, usize),
    /// In the file of long records: `(offset, length)`.
    Long(u64, u64),
}

impl Records {
    /// Long ones go to an unnamed file in `scratch`.
    pub(crate) fn new(scratch: &Path, capacity: usize) -> Self {
        Self {
            // Reserved once: what is not touched takes no memory, and growing would copy it all.
            arena: Vec::with_capacity(capacity),
            begin: 0,
            elements: Vec::new(),
            sorting: false,
            scratch: scratch.to_path_buf(),
            long: None,
            long_len: 0,
            long_begin: None,
        }
    }

    /// The next record begins at the end of the arena.
    pub(crate) fn begin(&mut self) {
        self.begin = self.arena.len();
        self.long_begin = None;
    }

    /// All of the record was put.
    pub(crate) fn end(&mut self) -> io::Result<Place> {
        match self.long_begin {
            None => Ok(Place::Arena(self.begin, self.arena.len() - self.begin)),
            Some(offset) => {
                self.move_to_file()?;
                Ok(Place::Long(offset, self.long_len - offset))
            }
        }
    }

    /// The file of long records, if there is one.
    pub(crate) fn into_long(self) -> Option<File> {
        self.long
    }

    /// Gives up the memory of all records so far.
    pub(crate) fn clear(&mut self) {
        self.arena.clear();
    }

    fn move_to_file(&mut self) -> io::Result<()> {
        let file = match &mut self.long {
            Some(file) => file,
            none => none.insert(tempfile::tempfile_in(&self.scratch)?),
        };
        let piece = &self.arena[self.begin..];
        file.write_all(piece)?;
        self.long_begin.get_or_insert(self.long_len);
        self.long_len += piece.len() as u64;
        self.arena.truncate(self.begin);
        // What is partly in the file stays in the order it came in.
        self.sorting = false;
        Ok(())
    }

    fn sort(&mut self) {
        self.elements.push(self.arena.len());
        let first = self.elements[0];
        let mut slices: Vec<&[u8]> = self
            .elements
            .windows(2)
            .map(|pair| &self.arena[pair[0]..pair[1]])
            .collect();
        if slices.is_sorted() {
            return;
        }
        slices.sort_unstable();
        let sorted = slices.concat();
        self.arena[first..].copy_from_slice(&sorted);
    }
}

impl Sink for Records {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.arena.extend_from_slice(bytes);
        if self.arena.len() - self.begin > INLINE_LEN_MAX_BYTES {
            self.move_to_file()?;
        }
        Ok(())
    }

    fn unordered_begin(&mut self) {
        self.elements.clear();
        self.sorting = self.long_begin.is_none();
    }

    fn element(&mut self) {
        if self.sorting {
            self.elements.push(self.arena.len());
        }
    }

    fn unordered_end(&mut self) {
        if self.sorting && self.elements.len() > 1 {
            self.sort();
        }
        self.sorting = false;
    }
}
