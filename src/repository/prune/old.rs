//! Small objects that have been of no use for long: tombs whose backups are gone, records of runs, records of
//! the log whose packs are gone, old notes. How long is long is part of the format's promises
//! (schemas/repository.md#tidying).

use crate::model::units::Period;
use crate::repository::condemned::Condemned;
use crate::repository::index::{KnownSegments, read_all_segments};
use crate::repository::prune::trash::remove;
use crate::repository::{Repository, RepositoryError, layout};
use crate::store::{Key, Listing, Meta};
use jiff::Timestamp;
use std::collections::BTreeSet;

/// A tomb keeps a late duplicate of its backup from coming back.
const TOMBS_KEPT: Period = Period::days(400);
/// Runs that are kept by age, and how many are kept whatever their age.
const RUNS_KEPT: Period = Period::days(100);
const RUNS_KEPT_MIN: usize = 100;
/// Records of the log are read by every session that begins.
const RECORDS_KEPT: Period = Period::days(30);
/// Of each sort of notes only the newest counts.
const NOTES_KEPT: Period = Period::days(30);
const NOTES_KEPT_MIN: usize = 4;

/// Removes all of them; returns how many objects.
pub(super) async fn remove_old(
    repository: &Repository,
    grace: Period,
) -> Result<u64, RepositoryError> {
    let mut old = tombs(repository).await?;
    let runs = repository.store().list(layout::RUNS).await?;
    let mut by_age = runs.objects.clone();
    by_age.sort_by(|a, b| (a.modified, &a.key).cmp(&(b.modified, &b.key)));
    old.extend(beyond(by_age, runs.server_time, (RUNS_KEPT, RUNS_KEPT_MIN)));
    for prefix in [layout::PROBES, layout::CHECKS] {
        let notes = repository.notes(prefix).await?;
        let kept = (NOTES_KEPT, NOTES_KEPT_MIN);
        old.extend(beyond(notes, runs.server_time, kept));
    }
    old.extend(records(repository, grace).await?);
    let mut removed = 0;
    for key in &old {
        removed += u64::from(remove(repository, key).await?);
    }
    Ok(removed)
}

/// Those of `objects`, oldest first, that are older than the age and beyond the number that is kept.
fn beyond(
    mut objects: Vec<Meta>,
    now: Timestamp,
    (age, kept_min): (Period, usize),
) -> impl Iterator<Item = Key> {
    objects.truncate(objects.len().saturating_sub(kept_min));
    let old = move |meta: &Meta| age.after(meta.modified) <= now;
    objects.into_iter().filter(old).map(|meta| meta.key)
}

/// Tombs of backups whose manifests are gone. While one is there, its tomb is what keeps it forgotten.
async fn tombs(repository: &Repository) -> Result<Vec<Key>, RepositoryError> {
    let Listing {
        objects,
        server_time,
        ..
    } = repository.store().list(layout::TOMBS).await?;
    let backups = repository.store().list(layout::BACKUPS).await?.objects;
    let there: BTreeSet<Key> = backups.into_iter().map(|meta| meta.key).collect();
    let is_old = |meta: &Meta| TOMBS_KEPT.after(meta.modified) <= server_time;
    let is_gone =
        |tomb: &Key| layout::backup_of_tomb(tomb).is_some_and(|key| !there.contains(&key));
    let old = objects.into_iter().filter(is_old).map(|meta| meta.key);
    Ok(old.filter(is_gone).collect())
}

/// Records of the log that condemned what is neither there nor described any more; the newest stays, as its
/// number is what the next one follows.
async fn records(repository: &Repository, grace: Period) -> Result<Vec<Key>, RepositoryError> {
    let log = repository.condemned().await?;
    let listing = repository.store().list(layout::PACKS).await?;
    let kept = grace.max(RECORDS_KEPT);
    let is_old = |at: &Timestamp| kept.after(*at) <= listing.server_time;
    if !log.written.values().any(is_old) {
        // Mostly so, and then nothing else has to be read.
        return Ok(Vec::new());
    }
    let segments = read_all_segments(repository, &KnownSegments::new()).await?;
    let described = segments.iter().flat_map(|(_, segment)| &segment.packs);
    let mut alive: BTreeSet<_> = described.map(|pack| pack.name).collect();
    alive.extend(
        listing
            .objects
            .iter()
            .filter_map(|meta| layout::pack_name(&meta.key)),
    );
    let Condemned {
        seen,
        packs,
        written,
    } = log;
    let in_use: BTreeSet<u64> = packs
        .into_iter()
        .filter(|(pack, _)| alive.contains(pack))
        .map(|(_, record)| record)
        .collect();
    let old = written
        .into_iter()
        .filter(|(number, at)| *number != seen && is_old(at) && !in_use.contains(number));
    Ok(old.map(|(number, _)| layout::prune(number)).collect())
}
