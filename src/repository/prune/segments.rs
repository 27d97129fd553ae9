//! Index segments after a prune: new ones describe what is left, and name those that they stand in for,
//! which go when every reader that listed before has moved on. Never drops a pack that is still there.

use crate::model::ids::{Digest, SessionId};
use crate::model::units::Period;
use crate::repository::format::index::{Segment, encode};
use crate::repository::format::seal::{ObjectType, seal};
use crate::repository::index::read_segment;
use crate::repository::prune::survey::Survey;
use crate::repository::{Repository, RepositoryError, layout, pipeline};
use crate::store::{Key, Kind, Meta, Put};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A reader lists segments, and fetches them, within this time.
const READERS_TAKE: Period = Period::hours(1);
/// More small segments than this are put together.
const SEGMENTS_MAX: usize = 32;
const SMALL_BLOBS: usize = 50_000;
const MERGED_BLOBS_MAX: usize = 1_000_000;

/// Writes segments for what is left of those that describe packs in `gone`, and of many small ones.
pub(super) async fn rewrite(
    repository: &Repository,
    survey: &Survey,
    gone: &BTreeSet<Digest>,
) -> Result<(), RepositoryError> {
    // Removed by an earlier prune, which could not finish.
    let is_dropped = |pack: &Digest| {
        gone.contains(pack)
            || (survey.log.packs.contains_key(pack) && !survey.packs.contains_key(pack))
    };
    let current = current(&survey.segments);
    let are_many = current.len() > SEGMENTS_MAX;
    let mut merged = Segment::new(SessionId([0; 16]), u64::MAX);
    for (name, segment) in current {
        let shrinks = segment.packs.iter().any(|pack| is_dropped(&pack.name));
        let is_merged = are_many && segment.entries.len() < SMALL_BLOBS;
        if !(shrinks || is_merged) {
            continue;
        }
        if merged.entries.len() + segment.entries.len() > MERGED_BLOBS_MAX {
            let fresh = Segment::new(SessionId([0; 16]), u64::MAX);
            put(repository, std::mem::replace(&mut merged, fresh)).await?;
        }
        append(&mut merged, segment, is_dropped);
        merged.supersedes.push(name);
    }
    put(repository, merged).await
}

/// Segments that no other one stands in for.
fn current(segments: &[(Meta, Arc<Segment>)]) -> Vec<(Digest, &Segment)> {
    let superseded: BTreeSet<Digest> = segments
        .iter()
        .flat_map(|(_, segment)| segment.supersedes.iter().copied())
        .collect();
    let named = segments.iter().filter_map(|(meta, segment)| {
        let name: Digest = meta.key.last_part().parse().ok()?;
        Some((name, &**segment))
    });
    named
        .filter(|(name, _)| !superseded.contains(name))
        .collect()
}

/// Adds what `segment` describes to `merged`, without the packs that are dropped.
fn append(merged: &mut Segment, segment: &Segment, is_dropped: impl Fn(&Digest) -> bool) {
    merged.prune_seen = merged.prune_seen.min(segment.prune_seen);
    let mut packs = BTreeMap::new();
    for (number, pack) in segment.packs.iter().enumerate() {
        if !is_dropped(&pack.name) {
            packs.insert(number as u32, merged.packs.len() as u32);
            merged.packs.push(*pack);
        }
    }
    let mut frames = BTreeMap::new();
    for (number, frame) in segment.frames.iter().enumerate() {
        if let Some(pack) = packs.get(&frame.pack) {
            frames.insert(number as u32, merged.frames.len() as u32);
            let mut frame = frame.clone();
            frame.pack = *pack;
            merged.frames.push(frame);
        }
    }
    for entry in &segment.entries {
        if let Some(frame) = frames.get(&entry.frame) {
            let mut entry = *entry;
            entry.frame = *frame;
            merged.entries.push(entry);
        }
    }
}

async fn put(repository: &Repository, segment: Segment) -> Result<(), RepositoryError> {
    if segment.supersedes.is_empty() {
        return Ok(());
    }
    let (keys, salt) = (repository.keys().clone(), repository.random());
    let sealing = move || Bytes::from(seal(&keys, ObjectType::Index, "", &encode(&segment), salt));
    let sealed = pipeline::on_pool(sealing).await;
    let key = layout::segment(&Digest::of(&sealed));
    Ok(repository.store().put(&key, sealed, Put::New).await?)
}

/// Which segments a segment stands in for, by its key.
pub(super) type Supersedes = BTreeMap<Key, Vec<Digest>>;

/// Of the segments that were read for this survey.
pub(super) fn supersedes(survey: &Survey) -> Supersedes {
    let segments = survey.segments.iter();
    segments
        .map(|(meta, segment)| (meta.key.clone(), segment.supersedes.clone()))
        .collect()
}

/// Removes segments that another one has stood in for long enough. `known` was read before, and needs not be again.
pub(super) async fn remove_superseded(
    repository: &Repository,
    grace: Period,
    mut known: Supersedes,
) -> Result<(), RepositoryError> {
    let listing = repository.store().list(layout::INDEX).await?;
    let age = grace.min(READERS_TAKE);
    let there: BTreeSet<&str> = listing
        .objects
        .iter()
        .map(|meta| meta.key.last_part())
        .collect();
    let is_old = |meta: &&Meta| age.after(meta.modified) <= listing.server_time;
    for meta in listing.objects.iter().filter(is_old) {
        let supersedes = match known.remove(&meta.key) {
            Some(supersedes) => supersedes,
            None => match read_segment(repository, meta).await {
                // Another prune was here meanwhile.
                Err(RepositoryError::Store(error)) if error.kind == Kind::NotFound => continue,
                read => read?.supersedes,
            },
        };
        for name in supersedes {
            if !there.contains(name.to_string().as_str()) {
                continue;
            }
            match repository.store().delete(&layout::segment(&name)).await {
                Err(e) if e.kind == Kind::Denied => {}
                deleted => deleted?,
            }
        }
    }
    Ok(())
}
