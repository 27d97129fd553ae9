//! The canonical form of an RDB: keys in order, strings not compressed, elements of sets and hashes in
//! order, without what differs between two saves of the same data (times of last use, the save's own
//! time, replication positions). Redis loads it to the same data. Two servers with the same data, or one
//! before and after a restart, give the same bytes, so that days de-duplicate.

use crate::source::redis::rdb::crc64::crc64;
use crate::source::redis::rdb::input::{Input, put_length, put_text};
use crate::source::redis::rdb::record::Records;
use crate::source::redis::rdb::sort::{Remaining, Sorted, Sorter};
use crate::source::redis::rdb::walk::{Checksum, KeyFacts, Visitor, walk};
use crate::source::redis::rdb::{RdbError, RdbFacts};
use std::io::{self, Read};
use std::path::Path;

/// What is made at once.
const PIECE_LEN_BYTES: usize = 256 << 10;

/// A canonical RDB, to be read.
pub struct Canonical {
    sorted: Sorted,
    facts: RdbFacts,
    /// The record that is being read.
    open: Option<Remaining>,
    database: Option<u32>,
    /// Made and not read yet: `piece[taken..]`.
    piece: Vec<u8>,
    taken: usize,
    crc: u64,
    at_end: bool,
}

/// Reads one RDB to its end, and gives back its canonical form and what it holds. Sorts in about
/// `budget` bytes of memory; what is more goes to unnamed files in `scratch`.
pub fn canonical(
    source: impl Read,
    scratch: &Path,
    budget: usize,
) -> Result<(Canonical, RdbFacts), RdbError> {
    canonical_in(&mut Input::new(source), scratch, budget)
}

pub(crate) fn canonical_in<R: Read>(
    input: &mut Input<R>,
    scratch: &Path,
    budget: usize,
) -> Result<(Canonical, RdbFacts), RdbError> {
    let mut collecting = Collecting {
        facts: RdbFacts::default(),
        sorter: Sorter::new(scratch, budget),
        aux: Vec::new(),
        functions: Vec::new(),
    };
    let checksum = walk(input, &mut collecting)?;
    let Collecting {
        mut facts,
        sorter,
        aux,
        mut functions,
    } = collecting;
    facts.has_checksum = checksum == Checksum::Right;
    functions.sort();
    let mut head = format!("REDIS{:04}", facts.version).into_bytes();
    for (name, value) in &aux {
        head.push(0xfa);
        put_text(name, &mut head)?;
        put_text(value, &mut head)?;
    }
    for code in &functions {
        head.push(0xf5);
        put_text(code, &mut head)?;
    }
    let canonical = Canonical {
        sorted: sorter.finish().map_err(RdbError::Scratch)?,
        facts: facts.clone(),
        open: None,
        database: None,
        crc: crc64(0, &head),
        piece: head,
        taken: 0,
        at_end: false,
    };
    Ok((canonical, facts))
}

struct Collecting {
    facts: RdbFacts,
    sorter: Sorter,
    aux: Vec<(Vec<u8>, Vec<u8>)>,
    functions: Vec<Vec<u8>>,
}

impl Visitor for Collecting {
    type Record = Records;
    fn version(&mut self, version: u32) {
        self.facts.version = version;
    }
    fn aux(&mut self, name: &[u8], value: &[u8], is_volatile: bool) {
        self.facts.aux(name, value);
        if !is_volatile {
            self.aux.push((name.to_vec(), value.to_vec()));
        }
    }
    fn function(&mut self, code: &[u8]) {
        self.facts.functions += 1;
        self.functions.push(code.to_vec());
    }
    fn key(&mut self, name: &[u8], facts: KeyFacts) -> io::Result<&mut Records> {
        self.facts.key(facts);
        self.sorter.begin(facts.database, name);
        Ok(&mut self.sorter.records)
    }
    fn key_end(&mut self) -> io::Result<()> {
        self.sorter.end()
    }
}

impl Canonical {
    /// Makes the next piece.
    fn advance(&mut self) -> Result<(), RdbError> {
        self.piece.clear();
        self.taken = 0;
        while self.piece.len() < PIECE_LEN_BYTES && !self.at_end {
            if let Some(open) = &mut self.open {
                let read = self.sorted.read(open, PIECE_LEN_BYTES, &mut self.piece);
                if read.map_err(RdbError::Scratch)? {
                    self.open = None;
                }
                continue;
            }
            match self.sorted.next().map_err(RdbError::Scratch)? {
                Some((database, record)) => {
                    self.select(database)?;
                    self.open = Some(record);
                }
                None => {
                    self.piece.push(0xff);
                    self.at_end = true;
                }
            }
        }
        self.crc = crc64(self.crc, &self.piece);
        if self.at_end {
            self.piece.extend_from_slice(&self.crc.to_le_bytes());
        }
        Ok(())
    }

    fn select(&mut self, database: u32) -> Result<(), RdbError> {
        if self.database == Some(database) {
            return Ok(());
        }
        self.database = Some(database);
        let keys = self.facts.databases.get(&database).copied();
        let keys = keys.unwrap_or_default();
        self.piece.push(0xfe);
        put_length(database.into(), &mut self.piece)?;
        self.piece.push(0xfb);
        put_length(keys.keys, &mut self.piece)?;
        put_length(keys.expires, &mut self.piece)
    }
}

impl Read for Canonical {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.piece.len() {
            if self.at_end {
                return Ok(0);
            }
            self.advance().map_err(RdbError::into_io)?;
        }
        let len = to.len().min(self.piece.len() - self.taken);
        to[..len].copy_from_slice(&self.piece[self.taken..self.taken + len]);
        self.taken += len;
        Ok(len)
    }
}
