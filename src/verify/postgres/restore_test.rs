//! Whether a dump really comes back: it is restored into a server that is made for it and gone afterwards, with
//! its roles, and every table is counted there. The source is never touched: a test database on it would
//! write, archive and replicate as much WAL again.

use crate::model::postgres::{DumpFacts, Schema};
use crate::model::records::{Check, Manifest};
use crate::model::tree::Node;
use crate::repository::Reader;
use crate::restore::postgres::{Stored, count, feed, file, roles, target, text};
use crate::source::postgres::connection::Connection;
use crate::source::postgres::{GLOBALS, PLAIN, PostgresError};
use crate::verify::postgres::server::{Make, Server};
use crate::verify::postgres::{facts_of, stored_schema};
use crate::verify::temporary::{TemporaryDirectory, remove_stale};
use crate::verify::{Against, Finding, chain, waiting};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

/// The database that is made.
const DATABASE: &str = "ccb_restore_test";
/// Roles take no time to make.
const ROLES_LIMIT: Duration = Duration::from_secs(120);
/// A restore through standard input writes rows and their WAL; one in several jobs the rows only, and needs the
/// dump as a file.
const NEED_STDIN_PERCENT: u64 = 200;
const NEED_JOBS_PERCENT: u64 = 120;

/// How to test.
#[derive(Debug, Clone)]
pub struct DumpTest {
    /// Makes names that nobody else has.
    pub random: u64,
    /// Where the server is made.
    pub parent: PathBuf,
}

/// What was found in the restored database.
#[derive(Debug, Default)]
struct Found {
    rows: BTreeMap<String, u64>,
    constraints: u64,
    sequences_behind: Vec<String>,
    large_objects: u64,
    server: String,
    jobs: usize,
}

/// Restores, counts, and removes everything.
pub async fn restore_test(manifest: &Manifest, reader: &Reader, request: &DumpTest) -> Finding {
    let root = &manifest.root_node();
    let facts = match facts_of(manifest, Check::RestoreTest) {
        Ok(facts) => Arc::new(facts),
        Err(finding) => return finding,
    };
    let mut against = Against::default();
    if let Err(error) = remove_stale(&request.parent) {
        against.push(format!("remove what earlier tests left: {error}"));
    }
    let mut found = Found::default();
    match start(&facts, request).await {
        Ok(server) => {
            let tested = test(&server, &facts, reader, root, &mut found).await;
            match tested {
                Ok(words) => words.into_iter().for_each(|words| against.push(words)),
                Err(words) => against.push(words),
            }
            let removed = waiting(move || server.remove().map_err(|e| chain(&e))).await;
            if let Err(error) = removed {
                against.push(format!("remove the test server: {error}"));
            }
        }
        Err(words) => against.push(words),
    }
    let rows: u64 = found.rows.values().sum();
    let evidence = [
        ("tables", found.rows.len().into()),
        ("rows", rows.into()),
        ("constraints", found.constraints.into()),
        ("large_objects", found.large_objects.into()),
        ("sequences_behind", found.sequences_behind.into()),
        ("server", found.server.into()),
        ("jobs", found.jobs.into()),
    ];
    let good = format!(
        "restored into a temporary server: {} tables of {rows} rows, {} constraints hold",
        found.rows.len(),
        found.constraints
    );
    Finding::new(Check::RestoreTest, evidence, &against, good)
}

async fn start(facts: &Arc<DumpFacts>, request: &DumpTest) -> Result<Server, String> {
    let (facts, parent, random) = (facts.clone(), request.parent.clone(), request.random);
    waiting(move || {
        let directory = TemporaryDirectory::new(&parent, random);
        let directory = directory.map_err(|e| format!("make a temporary directory: {e}"))?;
        let make = Make {
            major: facts.server.major(),
            encoding: &facts.server.encoding,
            locale: (&facts.server.collate, &facts.server.ctype),
        };
        Server::start(directory, &make).map_err(|e| chain(&e))
    })
    .await
}

/// What speaks against the dump; an error when that could not be found out.
async fn test(
    server: &Server,
    facts: &Arc<DumpFacts>,
    reader: &Reader,
    root: &Node,
    found: &mut Found,
) -> Result<Vec<String>, String> {
    let connection = server.connection(DATABASE);
    let globals = match facts.left_out.iter().any(|what| what == GLOBALS) {
        true => String::new(),
        false => text(reader, root, GLOBALS).await.map_err(|e| chain(&e))?,
    };
    found.server = {
        let (connection, facts) = (connection.clone(), facts.clone());
        waiting(move || prepare(&connection, &facts, &globals)).await?
    };
    let dump = file(reader, root, &facts.file)
        .await
        .map_err(|e| chain(&e))?;
    let dump = dump.ok_or_else(|| format!("`{}` is not in it", facts.file))?;
    found.jobs = restore(server, &connection, facts, dump).await?;
    let schema = stored_schema(facts, reader, root).await?;
    let facts = facts.clone();
    let (filled, words) = waiting(move || look(&connection, &facts, &schema)).await?;
    *found = Found {
        server: std::mem::take(&mut found.server),
        jobs: found.jobs,
        ..filled
    };
    Ok(words)
}

/// Makes roles and the database; the version of the server.
fn prepare(connection: &Connection, facts: &DumpFacts, globals: &str) -> Result<String, String> {
    let there = target::look(connection).map_err(|e| chain(&e))?;
    let extensions = facts.server.extensions.keys();
    let lacking: Vec<&str> = extensions
        .filter(|name| !there.extensions.contains(name))
        .map(String::as_str)
        .collect();
    if !lacking.is_empty() {
        return Err(format!(
            "not tested: this machine's PostgreSQL lacks the extensions {}",
            lacking.join(", ")
        ));
    }
    let roles = roles::missing(globals, &there.roles);
    let server = target::maintenance(connection);
    let made = server.run(&roles.sql, ROLES_LIMIT);
    made.map_err(|e| format!("make the roles of globals.sql: {}", chain(&e)))?;
    target::create(connection, &facts.server).map_err(|e| chain(&e))?;
    Ok(there.version())
}

/// Restores, in several jobs where there is room for the dump as a file. Gives back how many.
async fn restore(
    server: &Server,
    connection: &Connection,
    facts: &DumpFacts,
    dump: Stored,
) -> Result<usize, String> {
    let bytes = dump.len_bytes;
    let folder = server.folder();
    let free = free_bytes(folder).map_err(|e| format!("see how much room there is: {e}"))?;
    let database = facts.server.database_bytes;
    let room = |percent: u64| free >= database / 100 * percent;
    let is_enough = room(NEED_STDIN_PERCENT) || room(NEED_JOBS_PERCENT) && free >= bytes;
    if !is_enough {
        return Err(format!(
            "not tested: a database of {database} bytes needs more room than the {free} bytes in `{}`",
            folder.display()
        ));
    }
    let at = connection.title();
    if facts.format == PLAIN {
        let psql = connection
            .script()
            .args(["--single-transaction", "--file=-"]);
        let fed = feed::stdin(dump, psql, at).await;
        return fed.map(|()| 1).map_err(|e| chain(&e));
    }
    let program = feed::pg_restore(connection, false).args([
        "--no-owner",
        "--no-privileges",
        "--no-tablespaces",
        "--no-publications",
        "--no-subscriptions",
    ]);
    let jobs = available_parallelism().map_or(1, usize::from).min(8);
    let has_room = free >= bytes + database / 100 * NEED_JOBS_PERCENT;
    if jobs == 1 || !has_room {
        let fed = feed::stdin(dump, program, at).await;
        return fed.map(|()| 1).map_err(|e| chain(&e));
    }
    let file = feed::as_file(dump, folder).await.map_err(|e| chain(&e))?;
    let program = program.arg(format!("--jobs={jobs}")).arg(file.path());
    feed::run(program, at).await.map_err(|e| chain(&e))?;
    Ok(jobs)
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
fn look(
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

/// How long one look may take.
const LOOK_LIMIT: Duration = Duration::from_secs(3600);

fn free_bytes(path: &Path) -> std::io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
