//! Whether a dump lists what it should: it is read through again from where it is stored, every table is counted
//! and hashed as when it was made, and the tables that are expected are in it, with rows where an earlier
//! backup had some.

use crate::model::postgres::{DumpFacts, Schema, TableFacts};
use crate::model::records::{Check, Manifest};
use crate::model::strategy::ContentsCheck;
use crate::model::tree::Node;
use crate::repository::Reader;
use crate::restore::postgres::file;
use crate::source::postgres::{Held, Reading};
use crate::verify::postgres::{facts_of, stored_schema};
use crate::verify::{Against, Finding, chain};
use std::io::Read;

/// Checks the dump of `manifest`. `earlier` are the facts of older backups of the same component, newest first.
pub async fn contents(
    settings: &ContentsCheck,
    manifest: &Manifest,
    earlier: &[DumpFacts],
    reader: &Reader,
) -> Finding {
    let facts = match facts_of(manifest, Check::Contents) {
        Ok(facts) => facts,
        Err(finding) => return finding,
    };
    let mut against = Against::default();
    match read(&facts, reader, &manifest.root_node()).await {
        Ok((held, schema)) => {
            compare(settings, &facts, &held, &mut against);
            for wanted in &settings.tables {
                if let Some(words) = expected(wanted, &facts, &schema, earlier) {
                    against.push(words);
                }
            }
        }
        Err(words) => against.push(words),
    }
    let rows = facts.rows();
    let evidence = [
        ("tables", facts.tables.len().into()),
        ("rows", rows.into()),
        ("entries", facts.entries.into()),
        ("large_objects", facts.large_objects.count.into()),
        ("bytes", manifest.stats.bytes.into()),
        ("left_out", facts.left_out.clone().into()),
    ];
    let counted = rows.map_or(String::new(), |rows| format!(" of {rows} rows"));
    let good = format!("{} tables{counted}, as in the source", facts.tables.len());
    Finding::new(Check::Contents, evidence, &against, good)
}

/// What the stored dump holds, and its schema.
async fn read(facts: &DumpFacts, reader: &Reader, root: &Node) -> Result<(Held, Schema), String> {
    let found = file(reader, root, &facts.file)
        .await
        .map_err(|e| chain(&e))?;
    let mut dump = found.ok_or_else(|| format!("`{}` is not in it", facts.file))?;
    let mut reading = Reading::of(&facts.format);
    let read = move || {
        let mut buffer = vec![0; 256 << 10];
        loop {
            match dump.stream.read(&mut buffer).map_err(|e| chain(&e))? {
                0 => break,
                len => reading.feed(&buffer[..len]).map_err(|e| chain(&e))?,
            }
        }
        reading.finish().map_err(|e| chain(&e))
    };
    let read = tokio::task::spawn_blocking(read).await;
    let read = read.unwrap_or_else(|error| Err(format!("the check ended in the middle: {error}")));
    match read? {
        (held, Some(schema)) => Ok((held, schema)),
        (held, None) => Ok((held, stored_schema(facts, reader, root).await?)),
    }
}

fn compare(settings: &ContentsCheck, facts: &DumpFacts, held: &Held, against: &mut Against) {
    for (name, was) in &facts.tables {
        match held.tables.get(name) {
            None => against.push(format!("{name} is not in the dump")),
            Some(is) => {
                if let Some(words) = differs(settings, name, was, is) {
                    against.push(words);
                }
            }
        }
    }
    for name in held
        .tables
        .keys()
        .filter(|name| !facts.tables.contains_key(*name))
    {
        against.push(format!(
            "{name} is in the dump, and was not when it was made"
        ));
    }
    if held.entries != facts.entries {
        against.push(format!(
            "the dump lists {} entries, and listed {} when it was made",
            held.entries, facts.entries
        ));
    }
    if held.large_objects != facts.large_objects {
        against.push("the large objects of the dump are others than when it was made".to_owned());
    }
    if against.count == 0 && held.content != facts.content {
        against.push("the dump is another one than when it was made".to_owned());
    }
}

fn differs(
    settings: &ContentsCheck,
    name: &str,
    was: &TableFacts,
    is: &TableFacts,
) -> Option<String> {
    if settings.counts && is.rows != was.rows {
        let rows = |rows: Option<u64>| rows.map_or("uncounted".to_owned(), |rows| rows.to_string());
        return Some(format!(
            "{name} has {} rows in the dump, and had {} when it was made",
            rows(is.rows),
            rows(was.rows)
        ));
    }
    if settings.sizes && is.bytes != was.bytes {
        return Some(format!(
            "{name} has {} bytes in the dump, and had {} when it was made",
            is.bytes, was.bytes
        ));
    }
    (is.blake3 != was.blake3).then(|| format!("{name} holds other bytes than when it was made"))
}

/// What is wrong with a table that must be in the dump.
fn expected(
    wanted: &str,
    facts: &DumpFacts,
    schema: &Schema,
    earlier: &[DumpFacts],
) -> Option<String> {
    let mut found = facts.named(wanted).peekable();
    if found.peek().is_none() {
        // One in partitions has no rows of its own.
        let is_there = schema.has_table(wanted);
        return (!is_there).then(|| format!("the dump lacks table \"{wanted}\""));
    }
    let is_empty = found.all(|(_, table)| table.rows == Some(0));
    let had = |facts: &&DumpFacts| {
        let mut tables = facts.named(wanted);
        tables.any(|(_, table)| table.rows.is_some_and(|rows| rows > 0))
    };
    let before = earlier.iter().find(had);
    match (is_empty, before) {
        (true, Some(_)) => Some(format!(
            "table \"{wanted}\" is empty, and an earlier backup has rows of it"
        )),
        _ => None,
    }
}
