//! Whether a dump really comes back: it is restored where nothing else is, and every table is counted there. The
//! source is never touched: a test database on it would write, archive and replicate as much WAL again.

use crate::model::postgres::DumpFacts;
use crate::model::records::{Check, Manifest};
use crate::model::tree::Node;
use crate::repository::Reader;
use crate::restore::postgres::feed::List;
use crate::restore::postgres::{Stored, feed, file, listed, select, text};
use crate::source::postgres::connection::Connection;
use crate::source::postgres::{GLOBALS, PLAIN};
use crate::source::program::Program;
use crate::verify::postgres::found::{Found, look};
use crate::verify::postgres::place::Place;
use crate::verify::postgres::{facts_of, stored_schema};
use crate::verify::temporary::remove_stale;
use crate::verify::{Against, Finding, chain, waiting};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::available_parallelism;

/// A restore through standard input writes rows and their WAL; one in several jobs the rows only, and needs the
/// dump as a file.
const NEED_STDIN_PERCENT: u64 = 200;
const NEED_JOBS_PERCENT: u64 = 120;

/// How to test.
#[derive(Clone)]
pub struct DumpTest {
    /// Makes names that nobody else has.
    pub random: u64,
    /// Where the server is made.
    pub parent: PathBuf,
    /// A server that is there for tests, and is used instead.
    pub server: Option<Connection>,
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
    let mut title = String::new();
    match make(&facts, reader, root, request).await {
        Ok(place) => {
            title = place.title();
            found.server = place.version().to_owned();
            let from = (reader, root);
            let tested = test(&place, &facts, from, &request.parent, &mut found).await;
            match tested {
                Ok(words) => words.into_iter().for_each(|words| against.push(words)),
                Err(words) => against.push(words),
            }
            if let Err(error) = waiting(move || place.remove()).await {
                against.push(format!("remove {title}: {error}"));
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
        "restored into {title}: {} tables of {rows} rows, {} constraints hold",
        found.rows.len(),
        found.constraints
    );
    Finding::new(Check::RestoreTest, evidence, &against, good)
}

async fn make(
    facts: &Arc<DumpFacts>,
    reader: &Reader,
    root: &Node,
    request: &DumpTest,
) -> Result<Place, String> {
    let globals = match facts.left_out.iter().any(|what| what == GLOBALS) {
        true => String::new(),
        false => text(reader, root, GLOBALS).await.map_err(|e| chain(&e))?,
    };
    let (facts, request) = (facts.clone(), request.clone());
    waiting(move || Place::make(&facts, &request, &globals)).await
}

/// What speaks against the dump; an error when that could not be found out.
async fn test(
    place: &Place,
    facts: &Arc<DumpFacts>,
    (reader, root): (&Reader, &Node),
    scratch: &Path,
    found: &mut Found,
) -> Result<Vec<String>, String> {
    let connection = place.connection();
    let list = list(facts, reader, root, scratch).await?;
    let dump = file(reader, root, &facts.file)
        .await
        .map_err(|e| chain(&e))?;
    let dump = dump.ok_or_else(|| format!("`{}` is not in it", facts.file))?;
    let program = program(&connection, list.as_ref());
    found.jobs = restore(place.folder(), &connection, program, facts, dump).await?;
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

/// What of a dump that is not of the whole database can be restored.
async fn list(
    facts: &DumpFacts,
    reader: &Reader,
    root: &Node,
    scratch: &Path,
) -> Result<Option<List>, String> {
    if facts.left_out.iter().all(|what| what == GLOBALS) {
        return Ok(None);
    }
    let entries = listed(reader, root, facts).await.map_err(|e| chain(&e))?;
    let chosen = select::without_dangling(&entries);
    let list = chosen.map(|chosen| List::of(&chosen.ids, scratch));
    list.transpose().map_err(|e| chain(&e))
}

/// `pg_restore` of what can be proven here; neither who owns it nor where it lies is.
fn program(connection: &Connection, list: Option<&List>) -> Program {
    let program = feed::pg_restore(connection, true).args([
        "--no-tablespaces",
        "--no-publications",
        "--no-subscriptions",
    ]);
    match list {
        Some(list) => program.arg(list.argument()),
        None => program,
    }
}

/// Restores, in several jobs where the server is this machine's and has room for the dump as a file. Gives back
/// how many.
async fn restore(
    folder: Option<&Path>,
    connection: &Connection,
    program: Program,
    facts: &DumpFacts,
    dump: Stored,
) -> Result<usize, String> {
    let at = connection.title();
    let jobs = match folder {
        Some(folder) => jobs(folder, facts, dump.len_bytes)?,
        None => 1,
    };
    if facts.format == PLAIN {
        let psql = connection
            .script()
            .args(["--single-transaction", "--file=-"]);
        let fed = feed::stdin(dump, psql, at, || ()).await;
        return fed.map(|()| 1).map_err(|e| chain(&e));
    }
    match folder {
        Some(folder) if jobs > 1 => {
            let file = feed::as_file(dump, folder).await.map_err(|e| chain(&e))?;
            let program = program.arg(format!("--jobs={jobs}")).arg(file.path());
            feed::run(program, at).await.map_err(|e| chain(&e))?;
        }
        _ => {
            let fed = feed::stdin(dump, program, at, || ()).await;
            fed.map_err(|e| chain(&e))?;
        }
    }
    Ok(jobs)
}

/// Jobs for a dump of `bytes` in a server whose data is in `folder`.
fn jobs(folder: &Path, facts: &DumpFacts, bytes: u64) -> Result<usize, String> {
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
    let jobs = available_parallelism().map_or(1, usize::from).min(8);
    let has_room = free >= bytes + database / 100 * NEED_JOBS_PERCENT;
    Ok(if has_room { jobs } else { 1 })
}

fn free_bytes(path: &Path) -> std::io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
