//! Small objects of a repository, each read on its own, so that a damaged one hides no other; and packs
//! as far as a listing shows them.

use crate::model::ids::Digest;
use crate::repository::check::CheckReport;
use crate::repository::condemned::Condemned;
use crate::repository::format::FormatError;
use crate::repository::format::index::{BlobPrefix, PackRef, Segment};
use crate::repository::format::key::SlotFile;
use crate::repository::index::read_segments;
use crate::repository::sessions::Part;
use crate::repository::slots::{read_epoch, read_slot};
use crate::repository::{Packs, Repository, RepositoryError, layout};
use crate::store::{Key, Listing};
use futures_util::{StreamExt, stream};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// WAL files in memory at once.
const AT_ONCE: usize = 2;

/// Key slots, epoch records and leases.
pub(super) async fn check_small(
    repository: &Repository,
    report: &mut CheckReport,
) -> Result<(), RepositoryError> {
    for object in repository.store().list(layout::SLOTS).await?.objects {
        if let Some(Err(cause)) = check_key(repository, &object.key).await? {
            report.add(&object.key, RepositoryError::object(&object.key, cause));
        }
    }
    for session in repository.sessions().await?.all {
        let parts = [
            ("start", matches!(session.start, Part::Unreadable)),
            ("view", matches!(session.view, Part::Unreadable)),
        ];
        for (part, _) in parts.into_iter().filter(|(_, is_damaged)| *is_damaged) {
            let key = format!("{}{}/{part}", layout::LEASES, session.id);
            let cause = FormatError::Authentication("lease record");
            report.add(&key, RepositoryError::object(&key, cause));
        }
    }
    Ok(())
}

/// What stands under one key of `keys/`; nothing when it is not there any more.
async fn check_key(
    repository: &Repository,
    key: &Key,
) -> Result<Option<Result<(), FormatError>>, RepositoryError> {
    let store = repository.store();
    if let Some(epoch) = layout::epoch_number(key) {
        let record = read_epoch(store, repository.keys(), epoch).await?;
        return Ok(record.map(|record| record.map(drop)));
    }
    let Some(slot) = layout::slot_name(key) else {
        let why = "its name is neither that of a slot nor of an epoch";
        return Ok(Some(Err(FormatError::malformed("key slot", why))));
    };
    let file = read_slot(store, &slot).await?;
    let is_its_own = |file: SlotFile| match file.slot == slot.stem() {
        true => Ok(()),
        false => {
            let why = "it has another name than its file";
            Err(FormatError::malformed("key slot", why))
        }
    };
    Ok(file.map(|file| file.and_then(is_its_own)))
}

/// WAL that was handed over: every byte of it.
pub(super) async fn check_wal(
    repository: &Repository,
    report: &mut CheckReport,
) -> Result<(), RepositoryError> {
    let objects = repository.list_wal(None).await?;
    let mut reading = stream::iter(objects)
        .map(|object| async move {
            let read = repository.get_wal(&object.component, object.system, &object.name);
            (read.await, object.key)
        })
        .buffer_unordered(AT_ONCE);
    while let Some((read, key)) = reading.next().await {
        match read {
            Err(error @ RepositoryError::Object { .. }) => report.add(&key, error),
            read => drop(read?),
        }
    }
    Ok(())
}

/// The log of condemned packs, or nothing when it can not be read.
pub(super) async fn log(
    repository: &Repository,
    report: &mut CheckReport,
) -> Result<Condemned, RepositoryError> {
    match repository.condemned().await {
        Err(RepositoryError::Object { key, cause }) => {
            report.add(&key, RepositoryError::object(&key, cause));
            Ok(Condemned::default())
        }
        log => log,
    }
}

/// Every segment that can be read.
pub(super) async fn segments(
    repository: &Repository,
    report: &mut CheckReport,
) -> Result<Vec<Arc<Segment>>, RepositoryError> {
    let mut segments = Vec::new();
    for (meta, segment) in read_segments(repository).await? {
        match segment {
            Ok(segment) => segments.push(segment),
            Err(error) => {
                report.wounds.segments.insert(meta.key.to_string());
                report.add(&meta.key, error);
            }
        }
    }
    Ok(segments)
}

/// Compares what segments say with what is listed. Returns what the packs that are not there held.
pub(super) fn check_packs(
    segments: &[Arc<Segment>],
    listing: &Listing,
    log: &Condemned,
    report: &mut CheckReport,
) -> BTreeMap<BlobPrefix, Digest> {
    let mut sizes = BTreeMap::new();
    for meta in &listing.objects {
        report.packs.add(meta.size);
        match layout::pack_name(&meta.key) {
            Some(name) => drop(sizes.insert(name, meta.size)),
            None => {
                let cause = FormatError::malformed("pack", "its name is no name of a pack");
                report.add(&meta.key, RepositoryError::object(&meta.key, cause));
            }
        }
    }
    let (mut described, mut lost) = (BTreeSet::new(), BTreeMap::new());
    for segment in segments {
        let mut gone = BTreeMap::new();
        for (number, pack) in segment.packs.iter().enumerate() {
            let is_new = described.insert(pack.name);
            let found = sizes.get(&pack.name).copied();
            // A segment may name for a while what was condemned: removed by now, or cut, and of no use.
            if found == Some(pack.size) || log.packs.contains_key(&pack.name) {
                continue;
            }
            gone.insert(number as u32, pack.name);
            if is_new {
                report.wounds.packs.insert(pack.name);
                let key = layout::pack(pack.header.kind, &pack.name);
                report.add(
                    &key,
                    RepositoryError::object(&key, wrong_length(pack, found)),
                );
            }
        }
        for entry in &segment.entries {
            let frame = &segment.frames[entry.frame as usize];
            if let Some(pack) = gone.get(&frame.pack) {
                lost.insert(entry.id, *pack);
            }
        }
    }
    let mut undescribed = Packs::default();
    let rest = sizes.iter().filter(|(name, _)| !described.contains(*name));
    rest.for_each(|(_, size)| undescribed.add(*size));
    report.undescribed = undescribed;
    lost
}

fn wrong_length(pack: &PackRef, found: Option<u64>) -> FormatError {
    match found {
        None => FormatError::malformed("pack", "it is missing"),
        Some(found) => {
            let why = format!("it has {found} bytes and was written with {}", pack.size);
            FormatError::malformed("pack", why)
        }
    }
}
