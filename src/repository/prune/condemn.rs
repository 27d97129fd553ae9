//! Condemning: one more record in the log, naming the packs that nothing needs. Removes nothing and waits
//! for nobody. Condemnation is never taken back; a pack that turns out to be needed stays all the same.

use crate::model::ids::Digest;
use crate::repository::condemned::PruneRecord;
use crate::repository::format::manifest::Version;
use crate::repository::format::seal::{OpenType, sign};
use crate::repository::prune::PruneReport;
use crate::repository::prune::survey::{Known, Survey};
use crate::repository::sessions::Seen;
use crate::repository::{Repository, RepositoryError, layout};
use crate::store::{Kind, Put};
use jiff::Timestamp;
use std::collections::BTreeSet;

/// How often others may be first with their record. Then what there is to condemn is theirs.
const ATTEMPTS_MAX: usize = 8;

/// Condemns every pack that is not needed. `survey` is what was seen lately; the record is to follow it.
pub(super) async fn condemn(
    repository: &Repository,
    mut survey: Survey,
    known: &mut Known,
    report: &mut PruneReport,
) -> Result<(), RepositoryError> {
    for _ in 0..ATTEMPTS_MAX {
        let packs = dispensable(&survey);
        if packs.is_empty() || put_record(repository, survey.log.seen + 1, &packs).await? {
            for pack in &packs {
                report.condemned.add(survey.packs[pack].size);
            }
            report.unused_bytes = survey.usage().unused_bytes();
            return Ok(());
        }
        survey = Survey::for_condemning(repository, known).await?;
    }
    Ok(())
}

/// Packs that hold nothing that is needed, or nothing that is not in a chosen pack too.
fn dispensable(survey: &Survey) -> Vec<Digest> {
    let (running, oldest_start) = running(survey);
    let mut described = BTreeSet::new();
    let mut spared = survey.usage().kept(survey);
    for (_, segment) in &survey.segments {
        let names = segment.packs.iter().map(|pack| pack.name);
        described.extend(names.clone());
        // Only to spare the work of storing them again: safety does not depend on it.
        if running.contains(&segment.session.to_string()) {
            spared.extend(names);
        }
    }
    let is_on_its_way = |pack: &Digest, written| {
        !described.contains(pack) && oldest_start.is_some_and(|start| written >= start)
    };
    survey
        .packs
        .iter()
        .filter(|(pack, meta)| {
            !spared.contains(*pack)
                && !survey.log.packs.contains_key(*pack)
                && !is_on_its_way(pack, meta.modified)
        })
        .map(|(pack, _)| *pack)
        .collect()
}

/// Sessions that are still writing, and when the first of them started.
fn running(survey: &Survey) -> (BTreeSet<String>, Option<Timestamp>) {
    let (sessions, ends) = (&survey.sessions, &survey.ends);
    let has_ended = |one: &Seen| one.fence().is_some_and(|fence| ends.of(&fence).is_some());
    let live = sessions
        .all
        .iter()
        .filter(|one| !one.is_reader() && one.is_alive(sessions.server_time) && !has_ended(one));
    let oldest = live.clone().map(|one| one.oldest).min();
    (live.map(|one| one.id.clone()).collect(), oldest)
}

/// Appends a record; `false` when somebody else was first.
pub(crate) async fn put_record(
    repository: &Repository,
    number: u64,
    packs: &[Digest],
) -> Result<bool, RepositoryError> {
    let record = PruneRecord {
        v: Version,
        number,
        at: repository.now(),
        packs: packs.to_vec(),
    };
    let key = layout::prune(number);
    let bytes = sign(repository.keys(), OpenType::Prune, key.as_str(), &record);
    match repository.store().put(&key, bytes.into(), Put::New).await {
        Err(e) if e.kind == Kind::AlreadyExists => Ok(false),
        put => Ok(put.map(|()| true)?),
    }
}
