//! Sweeping: removes condemned packs that have had their grace. First every session that may not know of
//! their condemnation has ended, or the packs wait; then what is needed is found out anew, and of a blob
//! that is in condemned packs only, all copies stay.

use crate::model::ids::Digest;
use crate::model::units::Period;
use crate::repository::condemned::Condemned;
use crate::repository::prune::condemn::put_record;
use crate::repository::prune::survey::{Known, Place, Survey};
use crate::repository::prune::{Packs, PruneReport, segments, unless_full};
use crate::repository::{Repository, RepositoryError, layout};
use crate::store::{Kind, Meta};
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// Removals on their way.
const AT_ONCE: usize = 8;

/// Removes the packs of every record that is older than the grace.
pub(super) async fn sweep(
    repository: &Repository,
    grace: Period,
    known: &mut Known,
    report: &mut PruneReport,
) -> Result<(), RepositoryError> {
    let log = repository.condemned().await?;
    let listing = repository.store().list(layout::PACKS).await?;
    let now = listing.server_time;
    let there: BTreeMap<Digest, u64> = listing
        .objects
        .iter()
        .filter_map(|meta| Some((layout::pack_name(&meta.key)?, meta.size)))
        .collect();
    let due: BTreeSet<u64> = records_with(&log, &there)
        .filter(|record| {
            log.written
                .get(record)
                .is_some_and(|at| grace.after(*at) <= now)
        })
        .collect();
    let mut gone = BTreeSet::new();
    let mut needed = BTreeSet::new();
    if let Some(last) = due.last() {
        let known_to_all = end_sessions(repository, *last, report).await?;
        let survey = Survey::take(repository, known, None, now).await?;
        needed = still_needed(&survey);
        let dead: Vec<(Digest, Meta)> = survey
            .packs
            .iter()
            .filter(|(pack, _)| {
                let record = survey.log.packs.get(*pack);
                record.is_some_and(|record| due.contains(record) && *record <= known_to_all)
                    && !needed.contains(*pack)
            })
            .map(|(pack, meta)| (*pack, meta.clone()))
            .collect();
        gone = dead.iter().map(|(pack, _)| *pack).collect();
        if !dead.is_empty() {
            // What a segment says of a pack that is not there does not count, so that on a store which is
            // full the packs go first.
            unless_full(segments::rewrite(repository, &survey, &gone).await)?;
            delete(repository, dead, report).await?;
        }
    }
    let rest = log
        .packs
        .iter()
        .filter(|(pack, _)| !gone.contains(*pack) && !needed.contains(*pack));
    note_waiting(rest, &log, &there, grace, report);
    let newest = log.written.values().max();
    let is_quiet = newest.is_some_and(|at| grace.after(*at) <= now);
    if report.waiting.count + report.retained.count > 0 && is_quiet {
        // Says when somebody was here last; else the next plan would ask for a prune at once.
        unless_full(put_record(repository, log.seen + 1, &[]).await)?;
    }
    Ok(())
}

fn records_with(log: &Condemned, there: &BTreeMap<Digest, u64>) -> impl Iterator<Item = u64> {
    let packs = log.packs.iter();
    packs
        .filter(|(pack, _)| there.contains_key(*pack))
        .map(|(_, record)| *record)
}

/// Makes sure that each session that has not read record `last` is over. A dead one is ended for good;
/// for a live one, the records that it has not read wait. Returns the last record that all have read.
async fn end_sessions(
    repository: &Repository,
    last: u64,
    report: &mut PruneReport,
) -> Result<u64, RepositoryError> {
    let sessions = repository.sessions().await?;
    let ends = repository.ends().await?;
    let mut known_to_all = u64::MAX;
    let mut hosts = BTreeSet::new();
    for session in sessions.all.iter().filter(|session| !session.is_reader()) {
        let fence = session.fence();
        let has_ended = fence.as_ref().is_some_and(|fence| ends.of(fence).is_some());
        let seen = session.view.read().map_or(0, |view| view.seen);
        if has_ended || (session.view.read().is_some() && seen >= last) {
            continue;
        }
        if session.is_alive(sessions.server_time) {
            known_to_all = known_to_all.min(seen);
            hosts.insert(session.host());
        } else if let Some(fence) = fence {
            repository.revoke(&fence).await?;
            report.revoked += 1;
        }
    }
    report.waiting_for = hosts.into_iter().collect();
    Ok(known_to_all)
}

/// Condemned packs that hold what is in no other pack. All copies: which one another prune is about to
/// remove is not known here.
fn still_needed(survey: &Survey) -> BTreeSet<Digest> {
    let packs = &survey.index.packs;
    let mut kept = BTreeSet::new();
    for (_, places) in survey.needed() {
        let pack = |place: &Place| &packs[place.pack as usize];
        if places.iter().all(|place| pack(place).is_condemned) {
            kept.extend(places.iter().map(|place| pack(place).name));
        }
    }
    kept
}

async fn delete(
    repository: &Repository,
    dead: Vec<(Digest, Meta)>,
    report: &mut PruneReport,
) -> Result<(), RepositoryError> {
    let mut removing = stream::iter(dead)
        .map(|(_, meta)| async move { (repository.store().delete(&meta.key).await, meta.size) })
        .buffer_unordered(AT_ONCE);
    while let Some((outcome, size)) = removing.next().await {
        match outcome {
            Ok(()) => report.deleted.add(size),
            // Under an object lock: the store keeps it for as long as it was told to.
            Err(e) if e.kind == Kind::Denied => report.retained.add(size),
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

fn note_waiting<'a>(
    rest: impl Iterator<Item = (&'a Digest, &'a u64)>,
    log: &Condemned,
    there: &BTreeMap<Digest, u64>,
    grace: Period,
    report: &mut PruneReport,
) {
    let mut waiting = Packs::default();
    let mut until: Option<Timestamp> = None;
    for (pack, record) in rest {
        let Some(size) = there.get(pack) else {
            continue;
        };
        waiting.add(*size);
        if let Some(written) = log.written.get(record) {
            let over = grace.after(*written);
            until = Some(until.map_or(over, |until| until.min(over)));
        }
    }
    (report.waiting, report.waiting_until) = (waiting, until);
}
