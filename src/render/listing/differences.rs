//! How two backups differ: a line for each path, and counts. Names are escaped, and stand before what is
//! said of them.

use crate::model::difference::{Difference, How};
use crate::model::ids::{BackupId, ComponentName};
use crate::model::postgres::drift::Drift;
use crate::model::tree::printable;
use crate::model::units::Size;
use crate::render::Look;
use crate::render::listing::contents::{Path, name};
use crate::render::output::Document;
use crate::render::paint::Tint;
use crate::render::words;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

/// One of two backups that are compared.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Side {
    /// Which.
    pub backup: BackupId,
    /// What of.
    pub component: ComponentName,
    /// When it was taken.
    pub taken: Timestamp,
}

/// One path that differs, for programs.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PathDifference {
    #[serde(flatten)]
    path: Path,
    /// `added`, `removed` or `changed`.
    how: &'static str,
    /// What of it changed: `type`, `content`, `holes`, `target`, `device`, `mode`, `owner`, `time`, `attributes`, `links`.
    changed: Vec<&'static str>,
    /// Bytes of the file before.
    size_before: Option<u64>,
    /// Bytes of the file after.
    size_after: Option<u64>,
}

impl From<&Difference> for PathDifference {
    fn from(difference: &Difference) -> Self {
        let (how, changed) = match &difference.how {
            How::Added => ("added", Vec::new()),
            How::Removed => ("removed", Vec::new()),
            How::Changed(what) => ("changed", what.clone()),
        };
        Self {
            path: Path::new(&difference.path),
            how,
            changed,
            size_before: difference.before,
            size_after: difference.after,
        }
    }
}

/// A table whose rows are others, for programs.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TableDifference {
    /// Its name.
    pub table: String,
    /// Its rows before, where they were counted.
    pub rows_before: Option<u64>,
    /// Its rows after, likewise.
    pub rows_after: Option<u64>,
}

/// How many keys a Redis server had, for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct KeysDifference {
    /// Which keys: `database 0`, `type hash`.
    pub of: String,
    /// How many before.
    pub before: u64,
    /// How many after.
    pub after: u64,
}

/// How two backups differ, for programs.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Differences {
    /// The first backup.
    pub before: Side,
    /// The second.
    pub after: Side,
    /// By path, a directory before what is in it.
    pub differences: Vec<PathDifference>,
    /// Counts.
    pub summary: Counts,
    /// What became of the schema of a database; empty for what is none.
    pub schema: Vec<Drift>,
    /// Tables of a database whose rows are others.
    pub tables: Vec<TableDifference>,
    /// Numbers of keys of a Redis server that are others.
    pub keys: Vec<KeysDifference>,
    /// Directories that can not be read, so that what is in them was not compared, with why.
    pub unread: Vec<String>,
}

impl Document for Differences {
    const KIND: &'static str = "differences";
}

/// How many paths differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[allow(missing_docs)]
pub struct Counts {
    pub added: u64,
    pub removed: u64,
    pub changed: u64,
}

impl Counts {
    /// One more.
    pub fn add(&mut self, how: &How) {
        match how {
            How::Added => self.added += 1,
            How::Removed => self.removed += 1,
            How::Changed(_) => self.changed += 1,
        }
    }
}

/// The line above the differences: what is compared with what. No newline.
pub fn sides(before: &Side, after: &Side, look: &Look) -> String {
    let one = |side: &Side| {
        format!(
            "{} {} {}",
            side.component,
            side.backup.short(),
            words::instant(side.taken)
        )
    };
    look.paint(Tint::Bold, &format!("{} -> {}", one(before), one(after)))
}

/// One difference. No newline.
pub fn difference(one: &Difference, look: &Look) -> String {
    let (sign, what) = match &one.how {
        How::Added => (
            '+',
            one.after
                .map_or(String::new(), |len| format!("  ({})", Size(len))),
        ),
        How::Removed => ('-', String::new()),
        How::Changed(what) => ('~', format!("  ({}{})", what.join(", "), sizes(one, what))),
    };
    let sign = look.paint(Tint::of_sign(sign), &sign.to_string());
    format!("{sign} {}{what}", name(&one.path))
}

fn sizes(one: &Difference, what: &[&str]) -> String {
    match (one.before, one.after) {
        (Some(before), Some(after)) if what.contains(&"content") => {
            let (short, long) = (Size(before).to_string(), Size(after).to_string());
            match short == long && before != after {
                true => format!(": {before} B -> {after} B"),
                false => format!(": {short} -> {long}"),
            }
        }
        _ => String::new(),
    }
}

/// What became of a database: a line above, one for each object of its schema and each table with other rows.
/// Without newlines; nothing where nothing changed.
pub fn database(schema: &[Drift], tables: &[TableDifference], look: &Look) -> Vec<String> {
    let mut lines = Vec::new();
    if !schema.is_empty() {
        lines.push(look.paint(Tint::Bold, "In the schema:"));
        lines.extend(schema.iter().map(|drift| object(drift, look)));
    }
    if !tables.is_empty() {
        lines.push(look.paint(Tint::Bold, "In the rows:"));
        lines.extend(tables.iter().map(|table| rows(table, look)));
    }
    lines
}

/// What became of the keys of a Redis server, likewise.
pub fn keys(keys: &[KeysDifference], look: &Look) -> Vec<String> {
    if keys.is_empty() {
        return Vec::new();
    }
    let sign = look.paint(Tint::of_sign('~'), "~");
    let line = |one: &KeysDifference| {
        let of = printable(one.of.as_bytes());
        format!("{sign} {of}: {} -> {} keys", one.before, one.after)
    };
    let above = look.paint(Tint::Bold, "In the keys:");
    std::iter::once(above)
        .chain(keys.iter().map(line))
        .collect()
}

fn object(drift: &Drift, look: &Look) -> String {
    let line = printable(drift.to_string().as_bytes());
    let sign = line.chars().next().unwrap_or(' ');
    let painted = look.paint(Tint::of_sign(sign), &sign.to_string());
    format!("{painted}{}", &line[sign.len_utf8()..])
}

fn rows(one: &TableDifference, look: &Look) -> String {
    let sign = look.paint(Tint::of_sign('~'), "~");
    let table = printable(one.table.as_bytes());
    match (one.rows_before, one.rows_after) {
        (Some(before), Some(after)) if before != after => {
            format!("{sign} {table}: {before} -> {after} rows")
        }
        (_, Some(rows)) => format!("{sign} {table}: {rows} rows, others than before"),
        _ => format!("{sign} {table}: other rows than before"),
    }
}

/// The line below the differences. No newline.
pub fn counts(counts: &Counts) -> String {
    let Counts {
        added,
        removed,
        changed,
    } = counts;
    format!("{added} added, {removed} removed, {changed} changed.")
}
