//! Backups in a table: those that are kept, those in the trash; and the keys of a repository.

use crate::model::ids::{BackupId, ComponentName, DestinationName, Tag};
use crate::model::inventory::{Held, Inventory};
use crate::model::records::{Check, Manifest, Slot, Stats};
use crate::model::strategy::{Method, Strategy};
use crate::model::units::{Period, Size};
use crate::plan::document::{KeptBecause, Plan};
use crate::render::Look;
use crate::render::escape::line;
use crate::render::output::Document;
use crate::render::table::Table;
use crate::render::words;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What there is, for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Backups {
    /// By component, then oldest first.
    pub backups: Vec<BackupRow>,
}

impl Document for Backups {
    const KIND: &'static str = "backups";
}

/// One backup and what is known of it over all destinations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct BackupRow {
    /// Its id.
    pub id: BackupId,
    /// What of.
    pub component: ComponentName,
    /// How.
    pub method: Method,
    /// When reading began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
    /// Whether everything that was asked for is in it.
    pub complete: bool,
    /// How many things could not be read.
    pub left_out: u64,
    /// The slots that it was made for.
    pub slots: Vec<Slot>,
    /// Its tags.
    pub tags: Vec<Tag>,
    /// What was read and stored.
    pub stats: Stats,
    /// Where it is, in the order of the file.
    pub destinations: Vec<DestinationName>,
    /// What keeps it, a word each: `daily`, `newest`.
    pub kept_as: Vec<String>,
    /// Who holds it.
    pub held_by: Option<HeldBy>,
    /// Checks that passed, and did not fail since, at any destination.
    pub passed: Vec<Check>,
    /// Checks whose newest result is a failure, at any destination.
    pub failed: Vec<Check>,
}

/// Who holds a backup, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[allow(missing_docs)]
pub struct HeldBy {
    pub by: String,
    pub reason: String,
}

impl BackupRow {
    fn new(manifest: &Manifest) -> Self {
        Self {
            id: manifest.id,
            component: manifest.component.clone(),
            method: manifest.method,
            started: manifest.started,
            finished: manifest.finished,
            complete: manifest.complete,
            left_out: manifest.error_count,
            slots: manifest.slots.clone(),
            tags: manifest.tags.clone(),
            stats: manifest.stats.clone(),
            destinations: Vec::new(),
            kept_as: Vec::new(),
            held_by: None,
            passed: Vec::new(),
            failed: Vec::new(),
        }
    }

    fn add_copy(&mut self, at: &DestinationName, held: &Held) {
        self.destinations.push(at.clone());
        if let (None, Some((by, reason))) = (&self.held_by, held.hold()) {
            let (by, reason) = (by.to_owned(), reason.to_owned());
            self.held_by = Some(HeldBy { by, reason });
        }
        let checks: BTreeSet<Check> = held.evidence().map(|evidence| evidence.check).collect();
        for check in checks {
            let list = match held.newest(check).is_some_and(|evidence| evidence.passed) {
                true => &mut self.passed,
                false => &mut self.failed,
            };
            list.push(check);
        }
    }
}

/// Everything in the inventory, with what `plan`, made of it, says of each. `component`: only of that one.
pub fn backups(
    strategy: &Strategy,
    inventory: &Inventory,
    plan: &Plan,
    component: Option<&ComponentName>,
) -> Backups {
    let mut rows = BTreeMap::new();
    for destination in &strategy.destinations {
        let holding = inventory.destinations.get(&destination.name);
        for held in holding.iter().flat_map(|holding| &holding.backups) {
            let manifest = &held.manifest;
            let key = (&manifest.component, manifest.started, manifest.id);
            let row = rows.entry(key).or_insert_with(|| BackupRow::new(manifest));
            row.add_copy(&destination.name, held);
        }
    }
    let mut rows: Vec<BackupRow> = rows.into_values().collect();
    rows.retain(|row| component.is_none_or(|name| row.component == *name));
    let kept: BTreeMap<BackupId, Vec<&KeptBecause>> = plan
        .kept
        .iter()
        .map(|kept| (kept.backup, kept.because.iter().collect()))
        .chain(
            plan.held
                .iter()
                .map(|held| (held.backup, vec![&held.because])),
        )
        .collect();
    for row in &mut rows {
        let because = kept.get(&row.id).into_iter().flatten();
        let words: BTreeSet<_> = because
            .filter(|because| !matches!(because, KeptBecause::Hold { .. }))
            .map(|because| words::keeper(because))
            .collect();
        row.kept_as = words.into_iter().map(|(_, word)| word.to_owned()).collect();
        row.failed.sort_unstable();
        row.failed.dedup();
        row.passed.sort_unstable();
        row.passed.dedup();
        row.passed.retain(|check| !row.failed.contains(check));
    }
    Backups { backups: rows }
}

/// A row for each, in the order given. Columns in which no row has anything are left out.
pub fn table(all: &Backups, look: &Look) -> String {
    if all.backups.is_empty() {
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
    for row in &all.backups {
        let at: Vec<&str> = row
            .destinations
            .iter()
            .map(DestinationName::as_str)
            .collect();
        let tags: Vec<&str> = row.tags.iter().map(|tag| tag.as_str()).collect();
        // What reads and compares the most says the most.
        let strongest = row
            .passed
            .iter()
            .filter(|check| **check != Check::Encrypted);
        let verified = strongest
            .max()
            .map_or(String::new(), |c| c.as_str().to_owned());
        table.row(vec![
            row.id.short(),
            row.component.to_string(),
            row.method.to_string(),
            words::instant(row.started),
            Size(row.stats.bytes).to_string(),
            Size(row.stats.stored_bytes).to_string(),
            at.join(" "),
            row.kept_as.join(" "),
            tags.join(" "),
            verified,
            notes(row),
        ]);
    }
    table.without_empty_columns().render(look)
}

fn notes(row: &BackupRow) -> String {
    let mut notes = Vec::new();
    if !row.complete {
        notes.push(format!("incomplete: {} left out", row.left_out));
    }
    if !row.failed.is_empty() {
        let failed: Vec<&str> = row.failed.iter().map(|check| check.as_str()).collect();
        notes.push(format!("FAILED: {}", failed.join(" ")));
    }
    if let Some(HeldBy { by, reason }) = &row.held_by {
        notes.push(format!("held by {}: {}", line(by), line(reason)));
    }
    notes.join("; ")
}

/// What can be brought back, for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Trash {
    /// By component, then oldest first.
    pub backups: Vec<TrashRow>,
}

impl Document for Trash {
    const KIND: &'static str = "trash";
}

/// A forgotten backup that can be brought back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TrashRow {
    /// Its id.
    pub id: BackupId,
    /// What of.
    pub component: ComponentName,
    /// How.
    pub method: Method,
    /// When reading began.
    pub started: Timestamp,
    /// What was read and stored.
    pub stats: Stats,
    /// When it was forgotten.
    pub forgotten: Timestamp,
    /// Until when it can surely be brought back.
    pub until: Timestamp,
    /// Why it was forgotten.
    pub reason: String,
    /// Where it still is.
    pub destinations: Vec<DestinationName>,
}

/// Everything in the trash. `component`: only of that one.
pub fn trash(
    strategy: &Strategy,
    inventory: &Inventory,
    component: Option<&ComponentName>,
) -> Trash {
    let mut rows = BTreeMap::new();
    for destination in &strategy.destinations {
        let holding = inventory.destinations.get(&destination.name);
        for gone in holding.iter().flat_map(|holding| &holding.trashed) {
            let manifest = &gone.manifest;
            let key = (&manifest.component, manifest.started, manifest.id);
            let row = rows.entry(key).or_insert_with(|| TrashRow {
                id: manifest.id,
                component: manifest.component.clone(),
                method: manifest.method,
                started: manifest.started,
                stats: manifest.stats.clone(),
                forgotten: gone.tomb.at,
                until: strategy.apply.trash.after(gone.tomb.at),
                reason: gone.tomb.reason.clone(),
                destinations: Vec::new(),
            });
            row.destinations.push(destination.name.clone());
        }
    }
    let mut rows: Vec<TrashRow> = rows.into_values().collect();
    rows.retain(|row| component.is_none_or(|name| row.component == *name));
    Trash { backups: rows }
}

/// A row for each, in the order given.
pub fn trash_table(all: &Trash, look: &Look) -> String {
    if all.backups.is_empty() {
        return "The trash is empty.\n".to_owned();
    }
    let mut table = Table::new(&[
        "backup",
        "component",
        "method",
        "taken",
        ">size",
        "forgotten",
        "until",
        "at",
        "because",
    ]);
    for row in &all.backups {
        let at: Vec<&str> = row
            .destinations
            .iter()
            .map(DestinationName::as_str)
            .collect();
        table.row(vec![
            row.id.short(),
            row.component.to_string(),
            row.method.to_string(),
            words::instant(row.started),
            Size(row.stats.bytes).to_string(),
            words::instant(row.forgotten),
            words::instant(row.until),
            at.join(" "),
            line(&row.reason),
        ]);
    }
    table.render(look) + "`ccb undelete FILE BACKUP` brings one back.\n"
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
