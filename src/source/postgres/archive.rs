//! Reads `pg_dump`'s custom format while it streams past: the table of contents, and of every block of data
//! its rows, bytes and digest. An archive counts as whole only when every entry that must have data has its
//! block, each block ends as `pg_dump` ends it, and nothing follows. `pg_restore --list` proves none of that:
//! it is content with a file cut off anywhere behind the table of contents.
//!
//! Never needs the whole archive in memory, never writes, and never trusts a length it reads.

mod blocks;
mod entry;
mod scanner;

pub use crate::source::postgres::archive::blocks::{Data, LargeObjects};
pub use crate::source::postgres::archive::entry::Entry;
pub use crate::source::postgres::archive::scanner::Scanner;

use crate::model::ids::Digest;
use std::collections::BTreeMap;

/// The newest version of the format that is known here, `pg_dump` 17 and 18 write it.
const NEWEST: (u8, u8) = (1, 16);
/// The oldest, since PostgreSQL 9.0.
const OLDEST: (u8, u8) = (1, 12);

/// What a whole archive holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// What its first bytes say.
    pub header: Header,
    /// Its table of contents, in its order.
    pub entries: Vec<Entry>,
    /// What the blocks of tables hold, by entry.
    pub data: BTreeMap<i64, Data>,
    /// All large objects.
    pub large_objects: LargeObjects,
    /// Of everything in it but the time and the versions of who made it: equal for two dumps of a database that
    /// did not change.
    pub content: Digest,
    /// Its length.
    pub len_bytes: u64,
}

/// What an archive says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Version of the format.
    pub version: (u8, u8),
    /// Whether its data is compressed: then rows can not be counted.
    pub is_compressed: bool,
    /// The database.
    pub database: String,
    /// Version of the server.
    pub server: String,
    /// Version of `pg_dump`.
    pub pg_dump: String,
}

impl Archive {
    /// What each table holds, by entry: schema and name as they are, not quoted.
    pub fn tables(&self) -> impl Iterator<Item = (&Entry, &Data)> {
        let entries = self.entries.iter().filter(|entry| entry.is_table_data());
        entries.filter_map(|entry| Some((entry, self.data.get(&entry.id)?)))
    }
}

/// Why bytes are no whole archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum ArchiveError {
    #[error("it does not begin as an archive of `pg_dump` does")]
    NotAnArchive,
    #[error(
        "its format {}.{} is not known here, {}.{} to {}.{} are: use the `pg_dump` of another version",
        .0.0, .0.1, OLDEST.0, OLDEST.1, NEWEST.0, NEWEST.1
    )]
    Version((u8, u8)),
    #[error("it ends after {at_bytes} bytes, within {within}")]
    Truncated { at_bytes: u64, within: String },
    #[error("byte {at_bytes} of it is damaged: {what}")]
    Damaged { at_bytes: u64, what: String },
    #[error("it has no data of {0}")]
    NoData(String),
    #[error("the data of {table} does not end as `pg_dump` ends it, at byte {at_bytes}")]
    NotEnded { table: String, at_bytes: u64 },
}
