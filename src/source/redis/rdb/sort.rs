//! Puts any number of keys into order with a bounded amount of memory: what does not fit is written as
//! sorted runs to an unnamed temporary file, and the runs are merged while they are read back.

use crate::source::redis::rdb::record::{INLINE_LEN_MAX_BYTES, Place, Records};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// All runs together are read through buffers of so many bytes,
const MERGE_LEN_BYTES: usize = 16 << 20;
/// each of them within these limits.
const RUN_BUFFER_LEN_BYTES: (usize, usize) = (16 << 10, 1 << 20);
/// What stands before a record in a run: database, lengths of name and record, offset of a long one.
const HEAD_LEN_BYTES: usize = 4 + 4 + 8 + 8;
/// The offset of a record that is not long.
const INLINE: u64 = u64::MAX;

/// Takes keys in any order.
pub(crate) struct Sorter {
    pub(crate) records: Records,
    entries: Vec<Entry>,
    /// The key that is being put.
    open: (u32, usize, usize),
    budget: usize,
    scratch: PathBuf,
    runs: Vec<(u64, u64)>,
    file: Option<File>,
    file_len: u64,
}

#[derive(Clone, Copy)]
struct Entry {
    database: u32,
    name: (usize, usize),
    record: Place,
}

impl Sorter {
    /// Uses about `budget` bytes of memory, and files in `scratch` beyond that.
    pub(crate) fn new(scratch: &Path, budget: usize) -> Self {
        Self {
            records: Records::new(scratch, budget + 2 * INLINE_LEN_MAX_BYTES),
            entries: Vec::new(),
            open: (0, 0, 0),
            budget,
            scratch: scratch.to_path_buf(),
            runs: Vec::new(),
            file: None,
            file_len: 0,
        }
    }

    /// A key begins; its record is put into `records`.
    pub(crate) fn begin(&mut self, database: u32, name: &[u8]) {
        let at = self.records.arena.len();
        self.records.arena.extend_from_slice(name);
        self.open = (database, at, name.len());
        self.records.begin();
    }

    /// All of its record was put.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        let (database, at, len) = self.open;
        let record = self.records.end()?;
        self.entries.push(Entry {
            database,
            name: (at, len),
            record,
        });
        let used = self.records.arena.len() + self.entries.len() * size_of::<Entry>();
        if used > self.budget {
            self.spill()?;
        }
        Ok(())
    }

    /// Everything in order of database and name.
    pub(crate) fn finish(mut self) -> io::Result<Sorted> {
        if !self.runs.is_empty() {
            self.spill()?;
        }
        self.sort();
        let each = (MERGE_LEN_BYTES / self.runs.len().max(1))
            .clamp(RUN_BUFFER_LEN_BYTES.0, RUN_BUFFER_LEN_BYTES.1);
        let runs = self.runs.iter();
        let mut merge = Merge {
            runs: runs.map(|run| Run::new(*run, each)).collect(),
            heads: BinaryHeap::new(),
            file: self.file.take(),
        };
        for run in 0..merge.runs.len() {
            merge.advance(run)?;
        }
        let arena = std::mem::take(&mut self.records.arena);
        Ok(Sorted {
            arena,
            entries: self.entries.into_iter(),
            merge,
            long: self.records.into_long(),
        })
    }

    fn sort(&mut self) {
        let arena = &self.records.arena;
        let name = |entry: &Entry| &arena[entry.name.0..entry.name.0 + entry.name.1];
        let entries = &mut self.entries;
        entries.sort_unstable_by(|a, b| (a.database, name(a)).cmp(&(b.database, name(b))));
    }

    fn spill(&mut self) -> io::Result<()> {
        self.sort();
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile_in(&self.scratch)?),
        };
        let mut out = BufWriter::with_capacity(1 << 20, file);
        let begin = self.file_len;
        for entry in self.entries.drain(..) {
            let (name_at, name_len) = entry.name;
            let (inline, len, offset) = match entry.record {
                Place::Arena(at, len) => (at..at + len, len as u64, INLINE),
                Place::Long(offset, len) => (0..0, len, offset),
            };
            out.write_all(&entry.database.to_le_bytes())?;
            // A name is at most 16 MiB.
            out.write_all(&(name_len as u32).to_le_bytes())?;
            out.write_all(&len.to_le_bytes())?;
            out.write_all(&offset.to_le_bytes())?;
            out.write_all(&self.records.arena[name_at..name_at + name_len])?;
            out.write_all(&self.records.arena[inline.clone()])?;
            self.file_len += (HEAD_LEN_BYTES + name_len + inline.len()) as u64;
        }
        out.flush()?;
        self.records.clear();
        self.runs.push((begin, self.file_len));
        Ok(())
    }
}

/// Keys in order.
pub(crate) struct Sorted {
    /// Filled when all was in memory; otherwise everything is in the runs.
    arena: Vec<u8>,
    entries: std::vec::IntoIter<Entry>,
    merge: Merge,
    long: Option<File>,
}

/// Where the rest of a record is, of which pieces were read.
pub(crate) struct Remaining {
    place: From,
    left: u64,
}

enum From {
    Arena(usize),
    Long(u64),
    Run(usize),
}

impl Sorted {
    /// The database of the next key, and how to read its record; the one before must be read to its end.
    pub(crate) fn next(&mut self) -> io::Result<Option<(u32, Remaining)>> {
        if let Some(entry) = self.entries.next() {
            let (place, left) = match entry.record {
                Place::Arena(at, len) => (From::Arena(at), len as u64),
                Place::Long(offset, len) => (From::Long(offset), len),
            };
            return Ok(Some((entry.database, Remaining { place, left })));
        }
        Ok(self.merge.next()?.map(|(head, run)| {
            let place = match head.offset {
                INLINE => From::Run(run),
                offset => From::Long(offset),
            };
            let left = head.record_len;
            (head.database, Remaining { place, left })
        }))
    }

    /// Appends the name of the next key, of keys that have no records; gives back whether there was one.
    pub(crate) fn next_name(&mut self, out: &mut Vec<u8>) -> io::Result<bool> {
        if let Some(entry) = self.entries.next() {
            let (at, len) = entry.name;
            out.extend_from_slice(&self.arena[at..at + len]);
            return Ok(true);
        }
        let Some(Reverse((_, name, run, ..))) = self.merge.heads.pop() else {
            return Ok(false);
        };
        out.extend_from_slice(&name);
        self.merge.advance(run)?;
        Ok(true)
    }

    /// Appends at most `len_max` bytes of the record to `out`; gives back whether that was all of it.
    pub(crate) fn read(
        &mut self,
        from: &mut Remaining,
        len_max: usize,
        out: &mut Vec<u8>,
    ) -> io::Result<bool> {
        let len = from.left.min(len_max as u64) as usize;
        match &mut from.place {
            From::Arena(at) => {
                out.extend_from_slice(&self.arena[*at..*at + len]);
                *at += len;
            }
            From::Long(offset) => {
                let begin = out.len();
                out.resize(begin + len, 0);
                let file = self.long.as_ref().ok_or_else(lost)?;
                file.read_exact_at(&mut out[begin..], *offset)?;
                *offset += len as u64;
            }
            From::Run(run) => self.merge.read(*run, len, out)?,
        }
        from.left -= len as u64;
        if from.left > 0 {
            return Ok(false);
        }
        if let From::Run(run) = from.place {
            self.merge.advance(run)?;
        }
        Ok(true)
    }
}

fn lost() -> io::Error {
    io::Error::other("a temporary file of the sort is lost")
}

/// The next key of a run: database, name, index of the run, length of the record, offset of a long one.
type Next = (u32, Vec<u8>, usize, u64, u64);

/// Several sorted runs, read together.
struct Merge {
    runs: Vec<Run>,
    heads: BinaryHeap<Reverse<Next>>,
    file: Option<File>,
}

struct Head {
    database: u32,
    record_len: u64,
    offset: u64,
}

impl Merge {
    /// The least key of all runs. A long record's run goes on at once: nothing of it is left there.
    fn next(&mut self) -> io::Result<Option<(Head, usize)>> {
        let Some(Reverse((database, _, run, record_len, offset))) = self.heads.pop() else {
            return Ok(None);
        };
        if offset != INLINE {
            self.advance(run)?;
        }
        let head = Head {
            database,
            record_len,
            offset,
        };
        Ok(Some((head, run)))
    }

    /// Reads the next key of a run.
    fn advance(&mut self, index: usize) -> io::Result<()> {
        let file = self.file.as_ref().ok_or_else(lost)?;
        let run = &mut self.runs[index];
        if run.is_empty() {
            return Ok(());
        }
        let mut head = Vec::with_capacity(HEAD_LEN_BYTES);
        run.read(file, HEAD_LEN_BYTES, &mut head)?;
        let (database, rest) = head.split_first_chunk().ok_or_else(lost)?;
        let (name_len, rest) = rest.split_first_chunk().ok_or_else(lost)?;
        let (record_len, rest) = rest.split_first_chunk().ok_or_else(lost)?;
        let (offset, _) = rest.split_first_chunk().ok_or_else(lost)?;
        let mut name = Vec::new();
        run.read(file, u32::from_le_bytes(*name_len) as usize, &mut name)?;
        self.heads.push(Reverse((
            u32::from_le_bytes(*database),
            name,
            index,
            u64::from_le_bytes(*record_len),
            u64::from_le_bytes(*offset),
        )));
        Ok(())
    }

    fn read(&mut self, run: usize, len: usize, out: &mut Vec<u8>) -> io::Result<()> {
        let file = self.file.as_ref().ok_or_else(lost)?;
        self.runs[run].read(file, len, out)
    }
}

/// A stretch of the file, read through a buffer.
struct Run {
    next: u64,
    end: u64,
    buffer: Vec<u8>,
    taken: usize,
    buffer_len: usize,
}

impl Run {
    fn new((next, end): (u64, u64), buffer_len: usize) -> Self {
        Self {
            next,
            end,
            buffer: Vec::new(),
            taken: 0,
            buffer_len,
        }
    }

    fn is_empty(&self) -> bool {
        self.taken == self.buffer.len() && self.next == self.end
    }

    fn read(&mut self, file: &File, mut len: usize, out: &mut Vec<u8>) -> io::Result<()> {
        while len > 0 {
            if self.taken == self.buffer.len() {
                let fill = (self.end - self.next).min(self.buffer_len as u64) as usize;
                if fill == 0 {
                    return Err(lost());
                }
                self.buffer.resize(fill, 0);
                file.read_exact_at(&mut self.buffer, self.next)?;
                (self.taken, self.next) = (0, self.next + fill as u64);
            }
            let piece = len.min(self.buffer.len() - self.taken);
            out.extend_from_slice(&self.buffer[self.taken..self.taken + piece]);
            self.taken += piece;
            len -= piece;
        }
        Ok(())
    }
}
