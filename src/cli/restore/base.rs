//! Which base backup leads to the moment that is asked for, and whether its WAL is there all the way.

use crate::cli::args::RestoreArguments;
use crate::cli::exit::{Exit, Trouble, chain};
use crate::model::ids::DestinationName;
use crate::model::strategy::{Component, Method};
use crate::model::units::to_minute;
use crate::model::wal::{Archive, BaseFacts, Chain, WalFacts};
use crate::repository::{Holdings, ListedBackup, Repository};
use crate::restore::wal::WalPlace;
use jiff::Timestamp;

/// A destination, its repository, and what that holds.
pub(super) type Held = (DestinationName, Repository, Holdings);

/// A base backup and where it is.
pub(super) struct Base<'a> {
    pub(super) at: &'a Held,
    pub(super) backup: &'a ListedBackup,
    pub(super) facts: BaseFacts,
}

/// All WAL of the component that is held anywhere that is looked at.
pub(super) async fn wal_of(component: &Component, held: &[Held]) -> Result<Vec<WalFacts>, Trouble> {
    let names = std::iter::once(&component.name).chain(&component.moved_from);
    let names: Vec<_> = names.cloned().collect();
    let mut all = Vec::new();
    for (destination, repository, _) in held {
        let mut place = WalPlace::new(repository.clone(), names.clone());
        let facts = place.facts().await.map_err(|e| {
            Trouble::new(
                Exit::Error,
                format!("destination.{destination}: {}", chain(&e)),
            )
        })?;
        all.extend(facts);
    }
    Ok(all)
}

/// Base backups of the component, newest first; the copy at the first destination in `store`.
pub(super) fn bases<'a>(component: &Component, held: &'a [Held]) -> Vec<Base<'a>> {
    let order = |name: &DestinationName| {
        let place = component.store.iter().position(|n| n == name);
        place.unwrap_or(component.store.len())
    };
    let mut all: Vec<Base> = held
        .iter()
        .flat_map(|at| at.2.backups.iter().map(move |backup| (at, backup)))
        .filter(|(_, backup)| {
            let manifest = &backup.manifest;
            let is_ours = manifest.component == component.name
                || component.moved_from.contains(&manifest.component);
            is_ours && manifest.method == Method::Base && manifest.complete
        })
        .filter_map(|(at, backup)| {
            let facts = BaseFacts::of(&backup.manifest)?;
            Some(Base { at, backup, facts })
        })
        .collect();
    all.sort_by_key(|base| {
        let manifest = &base.backup.manifest;
        (
            std::cmp::Reverse(manifest.finished),
            manifest.id,
            order(&base.at.0),
        )
    });
    all.dedup_by_key(|base| base.backup.manifest.id);
    all
}

/// The newest base that leads to where it is to go, and its way there.
pub(super) fn choose<'a>(
    component: &Component,
    held: &'a [Held],
    wal: &[WalFacts],
    arguments: &RestoreArguments,
) -> Result<(Base<'a>, Chain), Trouble> {
    let absent = |words: String| Trouble::new(Exit::Absent, words);
    let all = bases(component, held);
    let Some(oldest) = all.last().map(|base| base.backup.manifest.finished) else {
        let words = format!(
            "there is no base backup of component.{}; `ccb list` shows what there is",
            component.name
        );
        return Err(absent(words));
    };
    let wanted = arguments.backup.as_deref().filter(|text| *text != "latest");
    let mut first_trouble = None;
    for base in all {
        let manifest = &base.backup.manifest;
        let is_meant = wanted.is_none_or(|prefix| manifest.id.to_string().starts_with(prefix));
        let is_before = arguments.time.is_none_or(|time| manifest.finished <= time);
        if !is_meant || !is_before {
            continue;
        }
        match way(&base, wal, arguments) {
            Ok(chain) => return Ok((base, chain)),
            Err(words) => {
                first_trouble.get_or_insert(format!(
                    "from the base {} of {}: {words}",
                    manifest.id.short(),
                    to_minute(manifest.started)
                ));
            }
        }
    }
    Err(absent(match (first_trouble, arguments.time) {
        (Some(words), _) => words,
        (None, Some(time)) => format!(
            "no base backup was finished by {}; the earliest moment that can be restored is {}",
            exactly(time),
            exactly(oldest)
        ),
        (None, None) => format!(
            "no base backup begins with `{}`",
            wanted.unwrap_or_default()
        ),
    }))
}

/// The way from a base to where it is to go, or why there is none.
fn way(base: &Base, wal: &[WalFacts], arguments: &RestoreArguments) -> Result<Chain, String> {
    let facts = &base.facts;
    let (Some(first), Some(last)) = (facts.first_segment(), facts.last_segment()) else {
        return Err("its manifest names no WAL".to_owned());
    };
    let archive = Archive::of(facts.system_identifier, wal)
        .ok_or_else(|| "none of the WAL that it needs is archived".to_owned())?;
    let latest = || archive.latest(facts.timeline, facts.stop_lsn);
    let timeline = arguments.timeline.unwrap_or_else(latest);
    let chain = archive.chain(&first, timeline).ok_or_else(|| {
        format!("timeline {timeline} does not go on from it, or its history is not archived")
    })?;
    let reached = chain
        .reaches
        .and_then(|name| name.number(facts.segment_bytes));
    let is_consistent =
        chain.timeline != facts.timeline || reached >= last.number(facts.segment_bytes);
    let missing = chain.gaps.first().map(|gap| match gap.count {
        1 => format!("the segment {} is missing", gap.first),
        n => format!("{n} segments from {} on are missing", gap.first),
    });
    if reached.is_none() || !is_consistent {
        let missing = missing.unwrap_or_else(|| format!("WAL up to {last} is not archived"));
        return Err(format!("it can not be restored: {missing}"));
    }
    let until = chain.until.map_or_else(|| "its end".to_owned(), exactly);
    match (arguments.time, missing) {
        (Some(time), Some(missing)) if chain.until < Some(time) => Err(format!(
            "{missing}, so that no moment after {until} can be reached"
        )),
        (Some(time), None) if chain.until < Some(time) => Err(format!(
            "the archive ends at {until}, before {}; leave --time out to go to its end",
            exactly(time)
        )),
        (None, Some(missing)) => Err(format!(
            "{missing}, so that its WAL does not lead to the end; --time {until} is the latest moment before"
        )),
        _ => Ok(chain),
    }
}

/// So that it can be pasted after `--time`.
fn exactly(time: Timestamp) -> String {
    time.to_string()
}
