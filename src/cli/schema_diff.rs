//! What `ccb diff` says of two backups of a database besides their files: what became of the schema, and of the rows
//! of each table; of a Redis server, how many keys there are.

use crate::cli::exit::{Exit, Trouble};
use crate::model::postgres::drift::{Drift, drift};
use crate::model::postgres::{DumpFacts, Schema};
use crate::model::records::Manifest;
use crate::render::listing::differences::{KeysDifference, TableDifference};
use crate::repository::Reader;
use crate::restore::postgres::schema;
use crate::source::redis::facts::RedisFacts;
use std::collections::{BTreeMap, BTreeSet};

/// How two databases differ.
#[derive(Debug, Default)]
pub struct DumpDifferences {
    /// Objects of the schema.
    pub schema: Vec<Drift>,
    /// Tables with other rows.
    pub tables: Vec<TableDifference>,
    /// Numbers of keys that are others.
    pub keys: Vec<KeysDifference>,
}

/// Compares two backups; nothing when they are not both of a database.
pub async fn of(
    before: (&Reader, &Manifest),
    after: (&Reader, &Manifest),
) -> Result<Option<DumpDifferences>, Trouble> {
    let (Some(was), Some(is)) = (DumpFacts::of(before.1), DumpFacts::of(after.1)) else {
        let redis = |manifest: &Manifest| RedisFacts::of(&manifest.source);
        let both = redis(before.1).zip(redis(after.1));
        return Ok(both.map(|(was, is)| DumpDifferences {
            keys: keys(&was, &is),
            ..DumpDifferences::default()
        }));
    };
    let schema = drift(&read(&was, before).await?, &read(&is, after).await?);
    let tables = was.tables.iter().filter_map(|(name, old)| {
        let new = is.tables.get(name)?;
        (old.blake3 != new.blake3).then(|| TableDifference {
            table: name.clone(),
            rows_before: old.rows,
            rows_after: new.rows,
        })
    });
    Ok(Some(DumpDifferences {
        tables: tables.collect(),
        schema,
        ..DumpDifferences::default()
    }))
}

fn keys(was: &RedisFacts, is: &RedisFacts) -> Vec<KeysDifference> {
    let (before, after) = (counts(was), counts(is));
    let all: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let of = |name: &String| {
        let count = |counts: &BTreeMap<String, u64>| counts.get(name).copied();
        // What only one of them knows of itself is no difference.
        let known = |facts: &RedisFacts| facts.rdb.is_some() || name.starts_with(DATABASE);
        let (before, after) = (count(&before).unwrap_or(0), count(&after).unwrap_or(0));
        (before != after && known(was) && known(is)).then(|| KeysDifference {
            of: name.clone(),
            before,
            after,
        })
    };
    all.into_iter().filter_map(of).collect()
}

const DATABASE: &str = "database ";

/// Keys by database, and by type where each was looked at.
fn counts(facts: &RedisFacts) -> BTreeMap<String, u64> {
    let rdb = facts.rdb.as_ref();
    let databases = rdb.map_or(&facts.keys_after, |rdb| &rdb.databases);
    let databases = databases
        .iter()
        .map(|(number, keys)| (format!("{DATABASE}{number}"), keys.keys));
    let types = rdb.into_iter().flat_map(|rdb| &rdb.types);
    let types = types.map(|(kind, count)| (format!("type {kind}"), *count));
    databases.chain(types).collect()
}

async fn read(
    facts: &DumpFacts,
    (reader, manifest): (&Reader, &Manifest),
) -> Result<Schema, Trouble> {
    let read = schema(facts, reader, &manifest.root_node()).await;
    read.map_err(|e| Trouble::from_error(Exit::Damaged, &e))
}
