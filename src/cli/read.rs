//! Commands that read backups: `list`, `ls`, `cat`, and the notes people put on them: `hold`, `release`.

use crate::cli::Context;
use crate::cli::exit::{Exit, Trouble};
use crate::cli::holdings::{FoundBackup, Reading, Wanted};
use crate::cli::{output, world};
use crate::model::ids::{BackupId, DestinationName};
use crate::model::inventory::hold as hold_of;
use crate::model::records::{Annotation, Manifest, Note, Version};
use crate::model::tree::{Node, NodeKind, printable};
use crate::model::units::{Size, to_minute};
use crate::repository::Reader;
use serde_json::json;
use std::collections::BTreeMap;

/// A backup with the destinations that have it.
struct Listed {
    manifest: Manifest,
    held_by: Option<String>,
    at: Vec<DestinationName>,
}

/// Lists backups over all destinations, newest last.
pub async fn list(
    file: &str,
    component: Option<&str>,
    deleted: bool,
    as_json: bool,
    context: &Context,
) -> Result<Exit, Trouble> {
    let reading = Reading::open(file, context).await?;
    if let Some(name) = component {
        reading.component(name)?;
    }
    let mut all: BTreeMap<BackupId, Listed> = BTreeMap::new();
    for (destination, _, holdings) in reading.holdings(None).await? {
        for object in &holdings.damaged {
            output::say(&format!(
                "Warning: {} at destination.{destination} can not be read: {}",
                object.key, object.cause
            ));
        }
        let trashed = holdings.trashed.into_iter().map(|trashed| trashed.backup);
        let backups: Vec<_> = match deleted {
            true => trashed.collect(),
            false => holdings.backups,
        };
        for backup in backups {
            let held_by = hold_of(&backup.annotations).map(|(by, why)| format!("{by}: {why}"));
            let listed = all.entry(backup.manifest.id).or_insert_with(|| Listed {
                manifest: backup.manifest,
                held_by: None,
                at: Vec::new(),
            });
            listed.at.push(destination.clone());
            listed.held_by = listed.held_by.take().or(held_by);
        }
    }
    let mut rows: Vec<Listed> = all.into_values().collect();
    rows.retain(|row| component.is_none_or(|name| row.manifest.component.as_str() == name));
    rows.sort_by_key(|row| (row.manifest.component.clone(), row.manifest.started));
    match as_json {
        true => print_json(&json!(rows.iter().map(listed_json).collect::<Vec<_>>())),
        false => print_rows(&rows),
    }?;
    Ok(Exit::Ok)
}

fn print_rows(rows: &[Listed]) -> Result<(), Trouble> {
    output::print(&format!(
        "{:<8}  {:<16}  {:<11}  {:<17}  {:>9}  {:>9}  {}",
        "backup", "component", "method", "taken", "size", "new", "at"
    ))?;
    for row in rows {
        let manifest = &row.manifest;
        let at: Vec<&str> = row.at.iter().map(DestinationName::as_str).collect();
        let mut notes = at.join(" ");
        if !manifest.complete {
            notes.push_str(&format!("  incomplete: {} left out", manifest.error_count));
        }
        if let Some(held_by) = &row.held_by {
            notes.push_str(&format!(
                "  held by {}",
                crate::render::escape::line(held_by)
            ));
        }
        output::print(&format!(
            "{:<8}  {:<16}  {:<11}  {:<17}  {:>9}  {:>9}  {notes}",
            manifest.id.short(),
            manifest.component,
            manifest.method,
            to_minute(manifest.started),
            Size(manifest.stats.bytes).to_string(),
            Size(manifest.stats.stored_bytes).to_string(),
        ))?;
    }
    Ok(())
}

fn listed_json(row: &Listed) -> serde_json::Value {
    json!({
        "id": row.manifest.id,
        "component": row.manifest.component,
        "method": row.manifest.method,
        "started": row.manifest.started,
        "finished": row.manifest.finished,
        "complete": row.manifest.complete,
        "tags": row.manifest.tags,
        "stats": row.manifest.stats,
        "held_by": row.held_by,
        "destinations": row.at,
    })
}

fn print_json(value: &serde_json::Value) -> Result<(), Trouble> {
    let text = serde_json::to_string_pretty(value);
    output::print(&text.map_err(|e| Trouble::from_error(Exit::Error, &e))?)
}

async fn find(reading: &Reading, backup: &str) -> Result<FoundBackup, Trouble> {
    let wanted = Wanted {
        backup: Some(backup),
        ..Wanted::default()
    };
    reading.find(&wanted).await
}

/// Lists what is in a backup, below a path: one line for each entry, directories before what is in them.
pub async fn ls(
    file: &str,
    backup: &str,
    path: Option<&str>,
    as_json: bool,
    context: &Context,
) -> Result<Exit, Trouble> {
    let reading = Reading::open(file, context).await?;
    let found = find(&reading, backup).await?;
    let reader = found.reader().await?;
    let path = clean(path.unwrap_or(""));
    let start = start(&reader, &found, &path).await?;
    let mut rows = Vec::new();
    let mut left = vec![(path, start)];
    while let Some((path, node)) = left.pop() {
        if let NodeKind::Directory { tree: Some(tree) } = &node.kind {
            let entries = reader.entries(tree).await.map_err(|e| damaged(&e))?;
            for entry in entries.into_iter().rev() {
                let below = join(&path, &entry.name);
                left.push((below, entry));
            }
        }
        if path.is_empty() {
            continue;
        }
        match as_json {
            true => rows.push(node_json(&path, &node)),
            false => output::print(&node_line(&path, &node))?,
        }
    }
    if as_json {
        print_json(&json!(rows))?;
    }
    Ok(Exit::Ok)
}

/// The node at `path`; the root when that is empty.
async fn start(reader: &Reader, found: &FoundBackup, path: &[u8]) -> Result<Node, Trouble> {
    let root = found.backup.manifest.root;
    if path.is_empty() {
        return Ok(found.backup.manifest.root_node());
    }
    let node = reader.lookup(&root, path).await.map_err(|e| damaged(&e))?;
    node.ok_or_else(|| {
        let id = found.backup.manifest.id.short();
        let words = format!(
            "backup {id} has no `{}`; `ccb ls` shows what it has",
            printable(path)
        );
        Trouble::new(Exit::Absent, words)
    })
}

fn node_line(path: &[u8], node: &Node) -> String {
    let (kind, size, target) = match &node.kind {
        NodeKind::File { size, .. } => ('-', *size, String::new()),
        NodeKind::Directory { .. } => ('d', 0, String::new()),
        NodeKind::Symlink { target } => ('l', 0, format!(" -> {}", printable(target))),
        NodeKind::Special { .. } => ('s', 0, String::new()),
    };
    let seconds = node.mtime_ns.div_euclid(1_000_000_000);
    let changed = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .map_or_else(|| "-".to_owned(), to_minute);
    format!(
        "{kind}{:04o} {:>6} {:>6} {size:>12} {changed:<17} {}{target}",
        node.mode,
        node.uid,
        node.gid,
        printable(path)
    )
}

fn node_json(path: &[u8], node: &Node) -> serde_json::Value {
    let (kind, size) = match &node.kind {
        NodeKind::File { size, .. } => ("file", Some(*size)),
        NodeKind::Directory { .. } => ("directory", None),
        NodeKind::Symlink { .. } => ("symlink", None),
        NodeKind::Special { .. } => ("special", None),
    };
    json!({
        "path": printable(path),
        "kind": kind,
        "size": size,
        "mode": format!("{:04o}", node.mode),
        "uid": node.uid,
        "gid": node.gid,
        "mtime_ns": i64::try_from(node.mtime_ns).ok(),
    })
}

/// Writes one file to standard output.
pub async fn cat(file: &str, backup: &str, path: &str, context: &Context) -> Result<Exit, Trouble> {
    let reading = Reading::open(file, context).await?;
    let found = find(&reading, backup).await?;
    let reader = found.reader().await?;
    let node = start(&reader, &found, &clean(path)).await?;
    let NodeKind::File { content, .. } = &node.kind else {
        return Err(Trouble::new(
            Exit::Error,
            format!("`{path}` is no regular file"),
        ));
    };
    let mut bytes = reader.content(content);
    while let Some(part) = bytes.next().await.map_err(|e| damaged(&e))? {
        output::print_bytes(&part)?;
    }
    Ok(Exit::Ok)
}

/// Puts a hold on a backup, or ends it, at every destination that has it.
pub async fn hold(
    file: &str,
    backup: &str,
    reason: &str,
    hold: bool,
    context: &Context,
) -> Result<Exit, Trouble> {
    let reading = Reading::open(file, context).await?;
    let id = find(&reading, backup).await?.backup.manifest.id;
    let (by, reason) = (world::user(), reason.to_owned());
    let annotation = Annotation {
        v: Version,
        backup: id,
        at: world::now(),
        note: match hold {
            true => Note::Hold { by, reason },
            false => Note::Release { by, reason },
        },
    };
    let mut at = Vec::new();
    for (destination, repository, holdings) in reading.holdings(None).await? {
        if holdings
            .backups
            .iter()
            .any(|backup| backup.manifest.id == id)
        {
            let noted = repository.annotate(&annotation).await;
            noted.map_err(|e| Trouble::from_error(Exit::Error, &e))?;
            at.push(destination.to_string());
        }
    }
    let verb = if hold { "Held" } else { "Released" };
    output::print(&format!("{verb} {} at {}.", id.short(), at.join(", ")))?;
    Ok(Exit::Ok)
}

fn damaged(error: &dyn std::error::Error) -> Trouble {
    Trouble::from_error(Exit::Damaged, error)
}

/// A path as people type it: without `./` before and `/` after.
pub(crate) fn clean(path: &str) -> Vec<u8> {
    let path = path.trim_start_matches("./").trim_matches('/');
    path.as_bytes().to_vec()
}

fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    match path.is_empty() {
        true => name.to_vec(),
        false => [path, b"/", name].concat(),
    }
}
