//! What `ccb diff` says of two dumps of a database besides their files: what became of the schema, and of the rows
//! of each table.

use crate::cli::exit::{Exit, Trouble};
use crate::model::postgres::drift::{Drift, drift};
use crate::model::postgres::{DumpFacts, Schema};
use crate::model::records::Manifest;
use crate::render::listing::differences::TableDifference;
use crate::repository::Reader;
use crate::restore::postgres::schema;

/// How two databases differ.
#[derive(Debug, Default)]
pub struct DumpDifferences {
    /// Objects of the schema.
    pub schema: Vec<Drift>,
    /// Tables with other rows.
    pub tables: Vec<TableDifference>,
}

/// Compares two backups; nothing when one of them is no dump.
pub async fn of(
    before: (&Reader, &Manifest),
    after: (&Reader, &Manifest),
) -> Result<Option<DumpDifferences>, Trouble> {
    let (Some(was), Some(is)) = (DumpFacts::of(before.1), DumpFacts::of(after.1)) else {
        return Ok(None);
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
    }))
}

async fn read(
    facts: &DumpFacts,
    (reader, manifest): (&Reader, &Manifest),
) -> Result<Schema, Trouble> {
    let read = schema(facts, reader, &manifest.root_node()).await;
    read.map_err(|e| Trouble::from_error(Exit::Damaged, &e))
}
