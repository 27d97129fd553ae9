//! Whether a base backup really comes back: it is restored with the WAL that it needs, and a server of its own
//! is started on it, recovers until it is consistent, and counts every row of every table. Gone afterwards. The
//! source is never touched.

use crate::model::records::{Check, Manifest};
use crate::model::tree::Node;
use crate::model::wal::{BaseFacts, SegmentName, WalName};
use crate::repository::Reader;
use crate::restore::cluster::{Recovery, Until, restore, settings};
use crate::restore::postgres::count;
use crate::restore::wal::WalPlace;
use crate::source::postgres::PostgresError;
use crate::source::wal as source_wal;
use crate::verify::postgres::server::{SUPERUSER, Server};
use crate::verify::temporary::{TemporaryDirectory, remove_stale};
use crate::verify::{Against, Finding, chain, waiting};
use bytes::Bytes;
use std::fs;
use std::path::{Path, PathBuf};

/// How to test.
pub struct BaseTest {
    /// Makes names that nobody else has.
    pub random: u64,
    /// Where the server is made.
    pub parent: PathBuf,
    /// Where WAL is looked for, in this order.
    pub places: Vec<WalPlace>,
    /// A directory that the server archives into.
    pub archive: Option<PathBuf>,
}

/// What was found in the restored server.
#[derive(Debug, Default)]
struct Found {
    segments: u64,
    databases: u64,
    tables: u64,
    rows: u64,
}

/// Restores, recovers, counts, and removes everything.
pub async fn restore_test(
    manifest: &Manifest,
    reader: &Reader,
    root: &Node,
    mut request: BaseTest,
) -> Finding {
    let mut against = Against::default();
    if let Err(error) = remove_stale(&request.parent) {
        against.push(format!("remove what earlier tests left: {error}"));
    }
    let mut found = Found::default();
    if let Err(words) = test(manifest, reader, root, &mut request, &mut found).await {
        against.push(words);
    }
    let evidence = [
        ("segments", found.segments.into()),
        ("databases", found.databases.into()),
        ("tables", found.tables.into()),
        ("rows", found.rows.into()),
    ];
    let good = format!(
        "restored and recovered in a temporary server: {} databases, {} tables of {} rows",
        found.databases, found.tables, found.rows
    );
    Finding::new(Check::RestoreTest, evidence, &against, good)
}

async fn test(
    manifest: &Manifest,
    reader: &Reader,
    root: &Node,
    request: &mut BaseTest,
    found: &mut Found,
) -> Result<(), String> {
    let facts = BaseFacts::of(manifest);
    let facts = facts.ok_or("its manifest does not say which WAL it needs")?;
    let directory = TemporaryDirectory::new(&request.parent, request.random);
    let directory = directory.map_err(|e| format!("make a temporary directory: {e}"))?;
    let data = directory.path().join("data");
    let recovery = settings(&Recovery {
        // All that it needs lies in its own folder.
        restore_command: "false".to_owned(),
        until: Until::Consistent,
        timeline: facts.timeline,
    });
    let restored = restore(reader, root, &data, &recovery).await;
    restored.map_err(|e| chain(&e))?;
    // What its administrators set besides may name files and addresses that are the original's.
    let own = data.join("postgresql.auto.conf");
    fs::write(own, recovery).map_err(|e| format!("write the test server's settings: {e}"))?;
    for segment in needed(&facts) {
        bring(&segment, &facts, request, &data.join("pg_wal")).await?;
        found.segments += 1;
    }
    let superuser = facts.superuser.unwrap_or_else(|| SUPERUSER.to_owned());
    let major = facts.server_version.split(['.', ' ']).next();
    let major = major.and_then(|text| text.parse().ok());
    let major = major.ok_or("its manifest does not say of which version the server was")?;
    let looked = waiting(move || {
        let server = Server::of_files(directory, major, superuser).map_err(|e| chain(&e))?;
        let counted = count_all(&server).map_err(|e| chain(&e));
        let removed = server.remove().map_err(|e| format!("remove it: {e}"));
        counted.and_then(|counted| removed.map(|()| counted))
    });
    (found.databases, found.tables, found.rows) = looked.await?;
    Ok(())
}

/// The segments without which it is not consistent.
fn needed(facts: &BaseFacts) -> Vec<SegmentName> {
    let number = |name: Option<SegmentName>| name?.number(facts.segment_bytes);
    let ends = (number(facts.first_segment()), number(facts.last_segment()));
    let (Some(first), Some(last)) = ends else {
        return Vec::new();
    };
    let all = first..=last;
    all.filter_map(|number| SegmentName::new(facts.timeline, number, facts.segment_bytes))
        .collect()
}

/// Puts a segment beside the restored files, where its server finds it.
async fn bring(
    segment: &SegmentName,
    facts: &BaseFacts,
    request: &mut BaseTest,
    pg_wal: &Path,
) -> Result<(), String> {
    let name = WalName::Segment(*segment);
    let mut troubles = String::new();
    for place in &mut request.places {
        match place.find(facts.system_identifier, &name).await {
            Ok(Some(bytes)) => return write(pg_wal, segment, &bytes),
            Ok(None) => {}
            Err(error) => troubles = format!(" ({})", chain(&error)),
        }
    }
    if let Some(archive) = &request.archive {
        match source_wal::read(&archive.join(name.to_string())) {
            Ok(file) if file.cluster.0 == facts.system_identifier => {
                return write(pg_wal, segment, &file.bytes);
            }
            _ => {}
        }
    }
    Err(format!(
        "the segment {segment} was found nowhere{troubles}, and without it this base restores nothing"
    ))
}

fn write(pg_wal: &Path, segment: &SegmentName, bytes: &Bytes) -> Result<(), String> {
    let to = pg_wal.join(segment.to_string());
    fs::write(&to, bytes).map_err(|e| format!("write `{}`: {e}", to.display()))
}

/// Databases, tables and rows of a server: every row is read.
fn count_all(server: &Server) -> Result<(u64, u64, u64), PostgresError> {
    let names: Vec<String> = server.connection("template1").ask(
        "SELECT coalesce(json_agg(datname ORDER BY datname), '[]'::json) FROM pg_database WHERE datallowconn AND NOT datistemplate",
    )?;
    let (mut tables, mut rows) = (0, 0);
    for name in &names {
        let counted = count::rows(&server.connection(name), |_| true)?;
        tables += counted.len() as u64;
        rows += counted.values().sum::<u64>();
    }
    Ok((names.len() as u64, tables, rows))
}
