//! Backups in a table, and the keys of a repository.

use crate::model::ids::DestinationName;
use crate::model::records::{Check, Manifest};
use crate::model::units::{Period, Size};
use crate::render::Look;
use crate::render::escape::line;
use crate::render::table::Table;
use crate::render::words::{self, check_word};
use jiff::Timestamp;

/// One backup and what is known of it over all destinations.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// What it is.
    pub manifest: &'a Manifest,
    /// Where it is, in the order of `store`.
    pub at: &'a [DestinationName],
    /// Why it stays or who holds it, a few words each.
    pub reasons: &'a [String],
    /// Checks that it passed.
    pub passed: &'a [Check],
}

/// A row for each, in the order given.
pub fn backups(rows: &[Row<'_>], look: &Look) -> String {
    if rows.is_empty() {
        return "No backups.\n".to_owned();
    }
    let mut table = Table::new(&[
        "backup",
        "component",
        "method",
        "taken",
        ">size",
        ">new",
        "at",
        "kept as",
        "tags",
        "verified",
        "notes",
    ]);
    for row in rows {
        let manifest = row.manifest;
        let at: Vec<&str> = row.at.iter().map(DestinationName::as_str).collect();
        let reasons: Vec<String> = row.reasons.iter().map(|reason| line(reason)).collect();
        let tags: Vec<&str> = manifest.tags.iter().map(|tag| tag.as_str()).collect();
        let passed: Vec<&str> = row.passed.iter().map(|check| check_word(*check)).collect();
        let notes = match manifest.complete {
            true => String::new(),
            false => format!("incomplete: {} left out", manifest.error_count),
        };
        table.row(vec![
            manifest.id.short(),
            manifest.component.to_string(),
            manifest.method.to_string(),
            words::instant(manifest.started),
            Size(manifest.stats.bytes).to_string(),
            Size(manifest.stats.stored_bytes).to_string(),
            at.join(" "),
            reasons.join(", "),
            tags.join(" "),
            passed.join(" "),
            notes,
        ]);
    }
    table.render(look)
}

/// One way to open a repository.
#[derive(Debug, Clone, Copy)]
pub struct Key<'a> {
    /// Its id, as it stands in the repository.
    pub id: &'a str,
    /// `passphrase` or `raw`.
    pub kind: &'a str,
    /// What people call it.
    pub label: &'a str,
    /// When it was added.
    pub created: Timestamp,
    /// How long ago that is.
    pub age: Period,
    /// Whether it is the one that opened the repository now.
    pub in_use: bool,
    /// Whether keys were rotated without it: what was stored since can not be read with it.
    pub is_stale: bool,
}

/// A row for each key of the repository at `destination`.
pub fn keys(destination: &DestinationName, keys: &[Key<'_>], look: &Look) -> String {
    let mut table = Table::new(&[
        "destination",
        "name",
        "key",
        "kind",
        "added",
        ">age",
        "notes",
    ]);
    for key in keys {
        let notes = match (key.in_use, key.is_stale) {
            (_, true) => "from before a rotation",
            (true, false) => "in use now",
            (false, false) => "",
        };
        table.row(vec![
            destination.to_string(),
            line(key.label),
            line(key.id),
            line(key.kind),
            words::instant(key.created),
            key.age.to_string(),
            notes.to_owned(),
        ]);
    }
    table.render(look)
}
