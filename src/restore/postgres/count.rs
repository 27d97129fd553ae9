//! Counts what a database really holds, to be held against what a backup says.

use crate::model::postgres::{DumpFacts, table_name};
use crate::source::postgres::PostgresError;
use crate::source::postgres::connection::{Connection, identifier};
use crate::source::postgres::facts;
use std::collections::BTreeMap;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long counting one table may take.
const LIMIT: Duration = Duration::from_secs(6 * 3600);
/// How long counting may wait for a table that something else has locked.
const LOCK_LIMIT: Duration = Duration::from_secs(10);

/// Rows of each table, by [`table_name`], of those that `wants` names.
pub fn rows(
    connection: &Connection,
    wants: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, u64>, PostgresError> {
    rows_within(connection, wants, LOCK_LIMIT)
}

fn rows_within(
    connection: &Connection,
    wants: impl Fn(&str) -> bool,
    lock_limit: Duration,
) -> Result<BTreeMap<String, u64>, PostgresError> {
    let tables = facts::tables(connection)?;
    // A program that restores goes through them by name and locks the one it is at: from the end it is met once.
    // The very last one may have rows to come.
    let named = tables.iter().rev();
    let named = named.map(|table| (table_name(&table.schema, &table.name), table));
    let mut wanted: Vec<_> = named.filter(|(name, _)| wants(name)).collect();
    let first = wanted.len().min(1);
    wanted.rotate_left(first);
    let questions: Vec<String> = wanted
        .iter()
        .map(|(_, table)| {
            let table = format!("{}.{}", identifier(&table.schema), identifier(&table.name));
            // Rows of tables that inherit from it are their own.
            format!("SELECT count(*) FROM ONLY {table}")
        })
        .collect();
    let counts: Vec<u64> = connection.ask_each(&questions, LIMIT, lock_limit)?;
    let names = wanted.into_iter().map(|(name, _)| name);
    Ok(names.zip(counts).collect())
}

/// Rows that are counted while indexes and constraints are still being made, in a session of its own: a server
/// with more than one processor does both in the time of one.
pub struct Early(JoinHandle<BTreeMap<String, u64>>);

impl Early {
    /// Starts to count what is there by then of the tables that `wants` names. Dropped, it is not waited for: it
    /// ends with its session.
    pub fn start(connection: &Connection, wants: impl Fn(&str) -> bool + Send + 'static) -> Self {
        let connection = connection.clone();
        // What could not be counted now is counted later, where the error is told.
        Self(thread::spawn(move || {
            rows_within(&connection, wants, LIMIT).unwrap_or_default()
        }))
    }

    /// What was counted. A table whose rows were not all there yet has too few.
    pub fn rows(self) -> BTreeMap<String, u64> {
        self.0.join().unwrap_or_default()
    }
}

/// How the rows of a database differ from those of a dump; empty when they are the same. Tables of the dump
/// whose rows were not counted must be there.
pub fn differences(
    facts: &DumpFacts,
    counted: &BTreeMap<String, u64>,
    is_wanted: impl Fn(&str) -> bool,
) -> Vec<String> {
    let wanted = facts.tables.iter().filter(|(name, _)| is_wanted(name));
    wanted
        .filter_map(|(name, table)| match (counted.get(name), table.rows) {
            (None, _) => Some(format!("{name} is not there")),
            (Some(found), Some(rows)) if *found != rows => Some(format!(
                "{name} has {found} rows, and had {rows} when it was dumped"
            )),
            _ => None,
        })
        .collect()
}
