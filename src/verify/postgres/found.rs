//! What a restored database holds, and what of it speaks against the dump. Asks, and changes nothing.

use crate::model::postgres::{DumpFacts, Schema};
use crate::restore::postgres::count;
use crate::source::postgres::PostgresError;
use crate::source::postgres::connection::Connection;
use crate::verify::chain;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long one look may take.
const LOOK_LIMIT: Duration = Duration::from_secs(3600);

/// What was found in the restored database.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) rows: BTreeMap<String, u64>,
    pub(super) constraints: u64,
    pub(super) sequences_behind: Vec<String>,
    pub(super) large_objects: u64,
    pub(super) server: String,
    pub(super) jobs: usize,
}

/// Constraints, sequences and large objects of a database.
#[derive(Debug, Deserialize)]
struct Looked {
    constraints: u64,
    not_validated: u64,
    large_objects: u64,
    owned: Vec<Owned>,
}

/// A column and the sequence that it takes its numbers from.
#[derive(Debug, Deserialize)]
struct Owned {
    sequence: String,
    table: String,
    column: String,
}

const LOOK: &str = "
SELECT json_build_object(
  'constraints', (SELECT count(*) FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace
                  WHERE c.contype <> 'n' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'),
  'not_validated', (SELECT count(*) FROM pg_constraint WHERE NOT convalidated),
  'large_objects', (SELECT count(*) FROM pg_largeobject_metadata),
  'owned', (SELECT coalesce(json_agg(json_build_object(
      'sequence', format('%I.%I', sn.nspname, s.relname),
      'table', format('%I.%I', tn.nspname, t.relname),
      'column', quote_ident(a.attname)) ORDER BY sn.nspname, s.relname), '[]')
    FROM pg_class s JOIN pg_namespace sn ON sn.oid = s.relnamespace
    JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = s.oid
      AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
    JOIN pg_class t ON t.oid = d.refobjid JOIN pg_namespace tn ON tn.oid = t.relnamespace
    JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
    WHERE s.relkind = 'S' AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)))";

/// Counts what is there and holds it against the dump.
pub(super) fn look(
    connection: &Connection,
    facts: &DumpFacts,
    schema: &Schema,
) -> Result<(Found, Vec<String>), String> {
    let rows = count::rows(connection, |_| true).map_err(|e| chain(&e))?;
    let mut words = count::differences(facts, &rows, |_| true);
    let looked: Looked = connection.ask(LOOK).map_err(|e| chain(&e))?;
    // What the source has not validated is restored as it is.
    let as_source = schema.objects.values().filter(|object| {
        let text = object.definition.as_deref();
        text.is_some_and(|text| text.ends_with("NOT VALID"))
    });
    if looked.not_validated > as_source.count() as u64 {
        words.push(format!(
            "{} constraints were not validated",
            looked.not_validated
        ));
    }
    if looked.large_objects != facts.large_objects.count {
        words.push(format!(
            "{} large objects are there, and {} were dumped",
            looked.large_objects, facts.large_objects.count
        ));
    }
    let behind = behind(connection, &looked.owned).map_err(|e| chain(&e))?;
    let found = Found {
        rows,
        constraints: looked.constraints,
        sequences_behind: behind,
        large_objects: looked.large_objects,
        ..Found::default()
    };
    Ok((found, words))
}

/// Sequences whose next number a row of their column has already. A dump reads them after the rows, so they
/// may be ahead; one that is behind was so at the source.
fn behind(connection: &Connection, owned: &[Owned]) -> Result<Vec<String>, PostgresError> {
    let mut behind = Vec::new();
    for Owned {
        sequence,
        table,
        column,
    } in owned
    {
        let sql = format!(
            "SELECT coalesce((SELECT max({column}) FROM {table}) > CASE WHEN is_called THEN last_value ELSE last_value - 1 END, false) FROM {sequence}"
        );
        let is_behind: bool =
            connection.ask_within(&format!("SELECT to_json(({sql}))"), LOOK_LIMIT)?;
        if is_behind {
            behind.push(sequence.clone());
        }
    }
    Ok(behind)
}
