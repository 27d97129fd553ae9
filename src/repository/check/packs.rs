//! The packs themselves: their footers against the index, or every byte of them.

use crate::model::ids::BlobId;
use crate::repository::check::sample::Sample;
use crate::repository::check::{CheckReport, State};
use crate::repository::format::FormatError;
use crate::repository::format::pack::{
    FrameDecoder, PackFooter, PackKey, TRAILER_LEN, check_pack, pack_name, read_footer,
    sealed_footer_len,
};
use crate::repository::index::{Index, IndexedPack};
use crate::repository::{BlobSink, Reader, Repository, RepositoryError, layout, pipeline};
use crate::store::Kind;
use futures_util::{StreamExt, stream};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

/// Packs being read; each is in memory.
const AT_ONCE: usize = 3;
/// Footers being read.
const FOOTERS_AT_ONCE: usize = 8;
/// Nearly all footers are within so many bytes of the end.
const TAIL_LEN_BYTES: u64 = 64 << 10;

/// Reads the end of each pack, and compares it with what the index says.
pub(super) async fn check_footers(
    repository: &Repository,
    state: &mut State,
    report: &mut CheckReport,
) -> Result<(), RepositoryError> {
    let index = state.index.clone();
    let mut reading = stream::iter(0..index.packs.len() as u32)
        .map(|number| {
            let index = index.clone();
            async move { (number, check_footer(repository, index, number).await) }
        })
        .buffer_unordered(FOOTERS_AT_ONCE);
    while let Some((number, found)) = reading.next().await {
        note(state, report, number, found.map(|_| ()))?;
    }
    Ok(())
}

async fn check_footer(
    repository: &Repository,
    index: Arc<Index>,
    number: u32,
) -> Result<(), RepositoryError> {
    let pack = index.packs[number as usize];
    let footer = footer(repository, &pack).await?;
    compare(&index, number, &footer)
}

async fn footer(
    repository: &Repository,
    pack: &IndexedPack,
) -> Result<PackFooter, RepositoryError> {
    let key = layout::pack(pack.header.kind, &pack.name);
    let wrong = |cause| RepositoryError::object(&key, cause);
    let read = async |len: u64| {
        let range = pack.size.saturating_sub(len)..pack.size;
        repository.store().get(&key, Some(range)).await
    };
    let mut tail = read(TAIL_LEN_BYTES).await?;
    let trailer = tail.len().checked_sub(TRAILER_LEN);
    let trailer = trailer.ok_or_else(|| wrong(FormatError::Truncated("pack")))?;
    let len = sealed_footer_len(&tail[trailer..], pack.size).map_err(wrong)?;
    if len > trailer {
        tail = read((len + TRAILER_LEN) as u64).await?;
    }
    let end = tail.len() - TRAILER_LEN;
    let pack_key = PackKey::new(repository.keys(), pack.header).map_err(wrong)?;
    read_footer(&pack_key, &mut tail[end - len..end].to_vec(), pack.size).map_err(wrong)
}

/// Whether the index finds every blob of the footer in this very pack.
fn compare(index: &Index, number: u32, footer: &PackFooter) -> Result<(), RepositoryError> {
    let pack = &index.packs[number as usize];
    for blob in &footer.blobs {
        let frame = &footer.frames[blob.frame as usize];
        let is_here = |place: &crate::repository::index::Location| {
            let where_it_is = (place.pack, place.frame.offset, place.offset, place.len);
            where_it_is == (number, frame.offset, blob.offset, blob.len)
        };
        if !index.places(&blob.id).iter().any(is_here) {
            let cause = unindexed(&blob.id);
            let key = layout::pack(pack.header.kind, &pack.name);
            return Err(RepositoryError::object(key, cause));
        }
    }
    Ok(())
}

fn unindexed(id: &BlobId) -> FormatError {
    let why = format!("the index does not say that it holds the blob {id}");
    FormatError::malformed("pack", why)
}

/// Reads packs from their first byte to their last: those of a sample, or all.
pub(super) async fn check_bytes(
    repository: &Repository,
    state: &mut State,
    sample: Option<&Sample>,
    report: &mut CheckReport,
) -> Result<(), RepositoryError> {
    let index = state.index.clone();
    let is_chosen = |number: &u32| {
        let name = &index.packs[*number as usize].name;
        sample.is_none_or(|sample| sample.includes(name))
    };
    let chosen = (0..index.packs.len() as u32).filter(is_chosen);
    let mut reading = stream::iter(chosen)
        .map(|number| {
            let index = index.clone();
            async move { (number, check_whole(repository, index, number).await) }
        })
        .buffer_unordered(AT_ONCE);
    let mut deltas = Vec::new();
    while let Some((number, found)) = reading.next().await {
        report.packs_read.add(index.packs[number as usize].size);
        let found = found.map(|more| deltas.extend(more));
        note(state, report, number, found)?;
    }
    drop(reading);
    check_deltas(state, deltas, report).await
}

/// Decodes what stands on other packs, when all packs were read that are to be read.
async fn check_deltas(
    state: &mut State,
    deltas: Vec<BlobId>,
    report: &mut CheckReport,
) -> Result<(), RepositoryError> {
    let failed = failures(&state.reader, deltas).await?;
    for error in failed.into_values() {
        match &error {
            RepositoryError::BlobDamaged { pack, .. } => {
                let number = state.index.packs.iter().position(|one| one.name == *pack);
                if let Some(number) = number {
                    note(state, report, number as u32, Err(error))?;
                }
            }
            // What was not read was not checked.
            RepositoryError::Store(e) if !matches!(e.kind, Kind::NotFound | Kind::Corrupt) => {
                return Err(error);
            }
            // What is missing was found in the listing, and what is cut when the packs were read.
            _ => {}
        }
    }
    Ok(())
}

/// Reads one pack. Returns the blobs that can only be decoded with what they stand on.
async fn check_whole(
    repository: &Repository,
    index: Arc<Index>,
    number: u32,
) -> Result<Vec<BlobId>, RepositoryError> {
    let pack = index.packs[number as usize];
    let key = layout::pack(pack.header.kind, &pack.name);
    let bytes = repository.store().get(&key, None).await?;
    let keys = repository.keys().clone();
    let read = move || {
        if pack_name(&bytes) != pack.name {
            return Err(FormatError::malformed(
                "pack",
                "its bytes are not those that it is named by",
            ));
        }
        check_pack(&keys, &bytes, &mut FrameDecoder::new())
    };
    let footer = pipeline::on_pool(read).await;
    let footer = footer.map_err(|cause| RepositoryError::object(&key, cause))?;
    compare(&index, number, &footer)?;
    let blobs = footer.blobs.iter();
    let deltas = blobs.filter(|blob| footer.frames[blob.frame as usize].depth > 0);
    Ok(deltas.map(|blob| blob.id).collect())
}

/// Those of `blobs` that can not be read.
pub(super) async fn unreadable(
    reader: &Reader,
    blobs: Vec<BlobId>,
) -> Result<HashSet<BlobId>, RepositoryError> {
    let failed = failures(reader, blobs).await?;
    Ok(failed.into_keys().collect())
}

/// Those of `blobs` that can not be read, and why.
async fn failures(
    reader: &Reader,
    blobs: Vec<BlobId>,
) -> Result<HashMap<BlobId, RepositoryError>, RepositoryError> {
    let failed: Arc<Mutex<HashMap<BlobId, RepositoryError>>> = Arc::default();
    let into = failed.clone();
    let sink: BlobSink = Arc::new(move |id, content| {
        if let Err(error) = content {
            into.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(*id, error.clone());
        }
        Ok(())
    });
    reader.read_blobs(blobs, sink).await?;
    let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(std::mem::take(&mut *failed))
}

/// Writes down what was found of a pack. A store that does not answer ends the check.
fn note(
    state: &mut State,
    report: &mut CheckReport,
    number: u32,
    found: Result<(), RepositoryError>,
) -> Result<(), RepositoryError> {
    let Err(error) = found else {
        return Ok(());
    };
    let pack = state.index.packs[number as usize];
    match &error {
        // Swept since it was listed.
        RepositoryError::Store(e) if e.kind == Kind::NotFound && pack.is_condemned => return Ok(()),
        RepositoryError::Store(e) if !matches!(e.kind, Kind::NotFound | Kind::Corrupt) => {
            return Err(error);
        }
        _ => {}
    }
    if state.bad.insert(number) {
        report.wounds.packs.insert(pack.name);
        report.add(layout::pack(pack.header.kind, &pack.name), error);
    }
    Ok(())
}
