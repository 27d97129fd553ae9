//! Redis's own snapshot format: read, counted, and brought into a form that is the same for the same
//! data. What is given back is always a valid RDB. Reads streams of any length in bounded memory; knows
//! no server.

mod canonical;
mod crc64;
pub(crate) mod input;
mod lzf;
mod raw;
mod record;
mod sort;
mod value;
mod walk;

pub(crate) use crate::source::redis::rdb::canonical::canonical_in;
pub use crate::source::redis::rdb::canonical::{Canonical, canonical};
pub use crate::source::redis::rdb::raw::Raw;
pub(crate) use crate::source::redis::rdb::raw::written_at;

use crate::source::redis::rdb::input::{Input, Nothing};
use crate::source::redis::rdb::walk::{Checksum, KeyFacts, Visitor, walk};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, Read};

/// Memory that sorting uses before it writes to temporary files.
pub const SORT_BUDGET_BYTES: usize = 64 << 20;

/// Why an RDB could not be read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum RdbError {
    #[error("read it")]
    Read(#[source] io::Error),
    #[error("it is no RDB: it does not begin with `REDIS` and a version")]
    NotAnRdb,
    #[error("it ends in the middle, after {at} bytes")]
    Ends { at: u64 },
    #[error("{what} at byte {at}: it is damaged")]
    Malformed { what: String, at: u64 },
    #[error("its checksum is {stored:016x} and its bytes give {computed:016x}: it is damaged")]
    Checksum { stored: u64, computed: u64 },
    /// Another version of Redis, or a module, may know it.
    #[error("{what} is not understood by this version of ccb")]
    Unknown { what: String },
    #[error("keep what was read in a temporary file")]
    Scratch(#[source] io::Error),
}

impl RdbError {
    pub(crate) fn malformed(what: impl Into<String>, at: u64) -> Self {
        let what = what.into();
        Self::Malformed { what, at }
    }

    /// As the error of a stream.
    pub(crate) fn into_io(self) -> io::Error {
        io::Error::other(self)
    }
}

/// Keys of one database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Keys {
    /// All.
    pub keys: u64,
    /// Those that expire at some time.
    pub expires: u64,
}

/// What an RDB holds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RdbFacts {
    /// Version of the format.
    pub version: u32,
    /// Version of the server that wrote it.
    pub server: Option<String>,
    /// By that server's clock, seconds since the Unix epoch.
    pub written_at: Option<i64>,
    /// By number of the database; those that are empty are not in it.
    pub databases: BTreeMap<u32, Keys>,
    /// Keys by type: `string`, `list`, `set`, `zset`, `hash`, `stream`.
    pub types: BTreeMap<String, u64>,
    /// Libraries of functions.
    pub functions: u64,
    /// Whether it has a checksum, which was right.
    pub has_checksum: bool,
}

impl RdbFacts {
    /// Keys of all databases.
    pub fn keys(&self) -> u64 {
        self.databases.values().map(|keys| keys.keys).sum()
    }

    fn aux(&mut self, name: &[u8], value: &[u8]) {
        let text = || String::from_utf8_lossy(value).into_owned();
        match name {
            b"redis-ver" | b"valkey-ver" => self.server = Some(text()),
            b"ctime" => self.written_at = text().parse().ok(),
            _ => {}
        }
    }

    fn key(&mut self, facts: KeyFacts) {
        let keys = self.databases.entry(facts.database).or_default();
        keys.keys += 1;
        keys.expires += u64::from(facts.expires_ms.is_some());
        match self.types.get_mut(facts.kind) {
            Some(count) => *count += 1,
            None => {
                self.types.insert(facts.kind.to_owned(), 1);
            }
        }
    }
}

/// What an RDB holds, counted while it is read to its end, and how many of its keys have expired at
/// `as_of_ms`, in milliseconds since the Unix epoch. What follows it in `source` is not looked at.
pub fn count(source: impl Read, as_of_ms: i64) -> Result<(RdbFacts, u64), RdbError> {
    count_in(&mut Input::new(source), as_of_ms)
}

/// Like [`count`], of a source that holds one RDB and nothing else.
pub fn count_alone(source: impl Read, as_of_ms: i64) -> Result<(RdbFacts, u64), RdbError> {
    let mut input = Input::new(source);
    let counted = count_in(&mut input, as_of_ms)?;
    check_end(&mut input)?;
    Ok(counted)
}

/// Nothing may follow. Also waits for the end that proves a stream.
pub(crate) fn check_end<R: Read>(input: &mut Input<R>) -> Result<(), RdbError> {
    match input.peek()?.is_empty() {
        true => Ok(()),
        false => Err(RdbError::malformed("more behind its end,", input.offset())),
    }
}

pub(crate) fn count_in<R: Read>(
    input: &mut Input<R>,
    as_of_ms: i64,
) -> Result<(RdbFacts, u64), RdbError> {
    let mut counting = Counting {
        facts: RdbFacts::default(),
        as_of_ms,
        expired: 0,
        nothing: Nothing,
    };
    let checksum = walk(input, &mut counting)?;
    counting.facts.has_checksum = checksum == Checksum::Right;
    Ok((counting.facts, counting.expired))
}

struct Counting {
    facts: RdbFacts,
    as_of_ms: i64,
    expired: u64,
    nothing: Nothing,
}

impl Visitor for Counting {
    type Record = Nothing;
    fn version(&mut self, version: u32) {
        self.facts.version = version;
    }
    fn aux(&mut self, name: &[u8], value: &[u8], _: bool) {
        self.facts.aux(name, value);
    }
    fn function(&mut self, _: &[u8]) {
        self.facts.functions += 1;
    }
    fn key(&mut self, _: &[u8], facts: KeyFacts) -> io::Result<&mut Nothing> {
        self.facts.key(facts);
        self.expired += u64::from(facts.expires_ms.is_some_and(|at| at <= self.as_of_ms));
        Ok(&mut self.nothing)
    }
    fn key_end(&mut self) -> io::Result<()> {
        Ok(())
    }
}
