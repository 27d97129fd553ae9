//! What a dump holds, found by reading it through: while it is made, and again wherever it is stored.

use crate::model::ids::Digest;
use crate::model::postgres::{LargeObjectFacts, Schema, TableFacts, table_name};
use crate::source::postgres::archive::{Archive, Scanner};
use crate::source::postgres::plain::PlainScanner;
use crate::source::postgres::{PostgresError, schema};
use std::collections::BTreeMap;

/// How the facts of a dump call the custom format.
pub const CUSTOM: &str = "custom";
/// How they call SQL text.
pub const PLAIN: &str = "plain";

/// What a dump holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Entries of the table of contents; 0 where there is none.
    pub entries: u64,
    /// Of everything that was dumped: see [`crate::model::postgres::DumpFacts::content`].
    pub content: Digest,
    /// Each table.
    pub tables: BTreeMap<String, TableFacts>,
    /// Large objects.
    pub large_objects: LargeObjectFacts,
}

impl Held {
    fn of(archive: &Archive) -> Self {
        let tables = archive.tables().map(|(entry, data)| {
            let facts = TableFacts {
                rows: data.rows,
                bytes: data.bytes,
                blake3: data.digest,
            };
            (table_name(&entry.schema, &entry.name), facts)
        });
        Self {
            entries: archive.entries.len() as u64,
            content: archive.content,
            tables: tables.collect(),
            large_objects: LargeObjectFacts {
                count: archive.large_objects.count,
                bytes: archive.large_objects.bytes,
            },
        }
    }
}

/// Reads a dump through.
pub enum Reading {
    /// In the custom format.
    Custom(Box<Scanner>),
    /// As SQL text.
    Plain(Box<PlainScanner>),
}

impl Reading {
    /// Of a dump in a format, as its facts call it.
    pub fn of(format: &str) -> Self {
        match format {
            PLAIN => Self::Plain(Box::default()),
            _ => Self::Custom(Box::default()),
        }
    }

    /// Takes the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), PostgresError> {
        match self {
            Self::Custom(scanner) => scanner.feed(bytes).map_err(PostgresError::NotWhole),
            Self::Plain(scanner) => {
                scanner.feed(bytes);
                Ok(())
            }
        }
    }

    /// What it held, when it was whole, and its schema where the format tells.
    pub fn finish(self) -> Result<(Held, Option<Schema>), PostgresError> {
        match self {
            Self::Custom(scanner) => {
                let archive = scanner.finish().map_err(PostgresError::NotWhole)?;
                Ok((Held::of(&archive), Some(schema::schema(&archive.entries))))
            }
            Self::Plain(scanner) => {
                let held = scanner.finish().ok_or(PostgresError::NotEnded {
                    what: "the dump",
                    program: "pg_dump",
                })?;
                Ok((held, None))
            }
        }
    }
}
