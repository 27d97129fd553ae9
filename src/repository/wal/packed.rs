//! A file on its way to a repository: compressed part by part while it is read, on all cores, so that a server
//! waits no longer than it must and no more than a few parts are in memory as they were.

use crate::repository::format::FormatError;
use crate::repository::format::seal::{Packer, unpack};
use crate::repository::pipeline;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::mpsc::Receiver;

/// zstd's level: a server waits for every push, and a WAL backup compresses anew what it takes over. -3 takes half
/// the time of 1, and more room until then.
const LEVEL: i32 = -3;
/// Parts of this length are compressed on their own: they stay in a processor's cache.
const PART_LEN_BYTES: usize = 512 << 10;
/// Parts that are read ahead of those that are compressed.
const AHEAD: usize = 3;
const WHAT: &str = "WAL file";

thread_local! {
    static PACKER: RefCell<Packer> = RefCell::new(Packer::new(LEVEL));
}

/// A compressed file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedWal {
    parts: Vec<Vec<u8>>,
    len_bytes: u64,
}

impl PackedWal {
    /// Reads all of `from`, and waits for it and for the pool.
    pub fn read(mut from: impl Read) -> io::Result<Self> {
        let mut packing: VecDeque<Receiver<Packing>> = VecDeque::new();
        // Memory that the system hands out anew costs more time than what is read into it.
        let mut spare: Vec<Vec<u8>> = Vec::new();
        let mut packed = Self {
            parts: Vec::new(),
            len_bytes: 0,
        };
        loop {
            let mut part = spare.pop().unwrap_or_else(|| vec![0; PART_LEN_BYTES]);
            let len = fill(&mut from, &mut part)?;
            let is_last = len < PART_LEN_BYTES;
            packed.len_bytes += len as u64;
            if len > 0 {
                packing.push_back(pipeline::start(move || Packing {
                    packed: PACKER.with_borrow_mut(|packer| packer.pack(&part[..len])),
                    part,
                }));
            }
            while packing.len() > if is_last { 0 } else { AHEAD } {
                if let Some(done) = take_first(&mut packing)? {
                    packed.parts.push(done.packed);
                    spare.push(done.part);
                }
            }
            if is_last {
                return Ok(packed);
            }
        }
    }

    /// A file that is in memory.
    pub fn of(bytes: &[u8]) -> Self {
        Self::read(bytes).expect("memory can be read, and the pool lives as long as the process")
    }

    /// How long the file is.
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    pub(super) fn parts(&self) -> &[Vec<u8>] {
        &self.parts
    }

    /// Whether the file is these bytes.
    pub(super) fn is(&self, bytes: &[u8]) -> Result<bool, FormatError> {
        let mut rest = bytes;
        for part in &self.parts {
            let part = unpack(WHAT, part, PART_LEN_BYTES as u64)?;
            match rest.strip_prefix(part.as_slice()) {
                Some(after) => rest = after,
                None => return Ok(false),
            }
        }
        Ok(rest.is_empty())
    }
}

/// Reads until `part` is full or `from` ends, in as few steps as it gives; how much there was.
fn fill(from: &mut impl Read, part: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < part.len() {
        match from.read(&mut part[len..]) {
            Ok(0) => break,
            Ok(more) => len += more,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(len)
}

/// A part that was compressed, and the memory that it was read into.
struct Packing {
    packed: Vec<u8>,
    part: Vec<u8>,
}

fn take_first(packing: &mut VecDeque<Receiver<Packing>>) -> io::Result<Option<Packing>> {
    let first = packing.pop_front().map(|part| part.recv());
    let ended = |_| io::Error::other("the work was given up");
    first.transpose().map_err(ended)
}
