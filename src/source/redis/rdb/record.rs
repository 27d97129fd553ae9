//! One key's record while it is read: in memory while it is short, in a file when it is long. Puts
//! elements that have no order into one, however many there are; only of elements that are long themselves
//! the order stays what it was.

use crate::source::redis::rdb::input::Sink;
use crate::source::redis::rdb::sort::Sorter;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A longer record goes to the file in pieces of this length.
pub(crate) const INLINE_LEN_MAX_BYTES: usize = 4 << 20;

/// Memory in which the elements of one long record are sorted before they go to a file.
const ELEMENTS_BUDGET_BYTES: usize = 32 << 20;

/// Takes records, one after the other, at the end of `arena`.
pub(crate) struct Records {
    /// Names and short records.
    pub(crate) arena: Vec<u8>,
    /// Where the record begins that is being put.
    begin: usize,
    /// Where the elements begin that have no order, once they are known; the last entry is their end.
    elements: Vec<usize>,
    sorting: bool,
    /// The elements of a long record.
    many: Option<Box<Many>>,
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
            many: None,
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
        Ok(())
    }

    /// From now on the elements are sorted apart, and what stands before them is in the file.
    fn sort_apart(&mut self) -> io::Result<()> {
        let mut many = Many {
            sorter: Sorter::new(&self.scratch, ELEMENTS_BUDGET_BYTES),
            open: Vec::new(),
        };
        for pair in self.elements.windows(2) {
            many.sorter.begin(0, &self.arena[pair[0]..pair[1]]);
            many.sorter.end()?;
        }
        // There is one: it is what made the record long.
        let last = self.elements.last().copied().unwrap_or(self.arena.len());
        many.open.extend_from_slice(&self.arena[last..]);
        self.arena
            .truncate(self.elements.first().copied().unwrap_or(last));
        self.move_to_file()?;
        self.many = Some(Box::new(many));
        Ok(())
    }

    /// Writes the elements that are sorted apart, in order; what follows is written as it comes.
    fn join(&mut self) -> io::Result<()> {
        let Some(many) = self.many.take() else {
            return Ok(());
        };
        let mut sorted = many.sorter.finish()?;
        while sorted.next_name(&mut self.arena)? {
            if self.arena.len() - self.begin > INLINE_LEN_MAX_BYTES {
                self.move_to_file()?;
            }
        }
        self.arena.extend_from_slice(&many.open);
        self.move_to_file()
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

/// Elements of one record that are sorted apart from it.
struct Many {
    sorter: Sorter,
    /// The one that is being put.
    open: Vec<u8>,
}

impl Many {
    fn close(&mut self) -> io::Result<()> {
        self.sorter.begin(0, &self.open);
        self.open.clear();
        self.sorter.end()
    }
}

impl Sink for Records {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(many) = &mut self.many {
            many.open.extend_from_slice(bytes);
            if many.open.len() > INLINE_LEN_MAX_BYTES {
                // Too long to be held: from here on the order is what it is.
                self.sorting = false;
                self.join()?;
            }
            return Ok(());
        }
        self.arena.extend_from_slice(bytes);
        if self.arena.len() - self.begin <= INLINE_LEN_MAX_BYTES {
            return Ok(());
        }
        match self.sorting && !self.elements.is_empty() {
            true => self.sort_apart(),
            false => self.move_to_file(),
        }
    }

    fn unordered_begin(&mut self) {
        self.elements.clear();
        self.sorting = true;
    }

    fn element(&mut self) -> io::Result<()> {
        match &mut self.many {
            Some(many) => many.close(),
            None => {
                if self.sorting {
                    self.elements.push(self.arena.len());
                }
                Ok(())
            }
        }
    }

    fn unordered_end(&mut self) -> io::Result<()> {
        if let Some(many) = &mut self.many {
            many.close()?;
            self.join()?;
        } else if self.sorting && self.elements.len() > 1 {
            self.sort();
        }
        self.sorting = false;
        Ok(())
    }
}
