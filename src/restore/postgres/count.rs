//! Counts what a database really holds, to be held against what a backup says.

use crate::model::postgres::{DumpFacts, table_name};
use crate::source::postgres::PostgresError;
use crate::source::postgres::connection::{Connection, identifier};
use crate::source::postgres::facts;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long counting may take in all.
const LIMIT: Duration = Duration::from_secs(6 * 3600);
/// Tables asked about in one question: a function takes at most a hundred arguments.
const AT_ONCE: usize = 90;

/// Rows of each table, by [`table_name`], of those that `wants` names.
pub fn rows(
    connection: &Connection,
    wants: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, u64>, PostgresError> {
    let tables = facts::tables(connection)?;
    let named = tables.iter().map(|t| (table_name(&t.schema, &t.name), t));
    let wanted: Vec<_> = named.filter(|(name, _)| wants(name)).collect();
    let mut counted = BTreeMap::new();
    for some in wanted.chunks(AT_ONCE) {
        let counts: Vec<String> = some
            .iter()
            .map(|(_, table)| {
                let table = format!("{}.{}", identifier(&table.schema), identifier(&table.name));
                // Rows of tables that inherit from it are their own.
                format!("(SELECT count(*) FROM ONLY {table})")
            })
            .collect();
        let sql = format!("SELECT json_build_array({})", counts.join(","));
        let counts: Vec<u64> = connection.ask_within(&sql, LIMIT)?;
        counted.extend(some.iter().map(|(name, _)| name.clone()).zip(counts));
    }
    Ok(counted)
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
