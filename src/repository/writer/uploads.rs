//! Uploads finished packs, several at a time, and tells where their blobs are once they are there. The
//! index is written every so often, so that a run that is killed has not uploaded in vain. Never waits
//! for the pool, whose threads wait for this.

use crate::model::ids::Digest;
use crate::repository::format::index::{Segment, encode};
use crate::repository::format::pack::{FinishedPack, PackFooter};
use crate::repository::format::seal::{ObjectType, seal};
use crate::repository::lease::Lease;
use crate::repository::writer::blobs::BlobWriter;
use crate::repository::{Repository, RepositoryError, layout};
use crate::store::{Key, Kind, Put};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc::Receiver, time::Instant};

/// A segment is written when it has this many blobs, or is this old.
const SEGMENT_BLOBS: usize = 50_000;
const SEGMENT_AGE: Duration = Duration::from_secs(300);
/// Packs on their way at a time; each is in memory.
const AT_ONCE: usize = 3;

/// A pack that is in the store.
struct Stored {
    name: Digest,
    size: u64,
    footer: PackFooter,
    buffer: Bytes,
}

/// Uploads what comes out of `packs` until it is closed, and then the rest of the index. `adopted`
/// describes packs that an earlier session left without an index.
pub(crate) async fn upload_all(
    repository: Repository,
    lease: Arc<Lease>,
    writer: Arc<BlobWriter>,
    mut packs: Receiver<FinishedPack>,
    adopted: Segment,
) -> Result<(), RepositoryError> {
    let uploaded = upload(&repository, &lease, &writer, &mut packs, adopted).await;
    if let Err(error) = &uploaded {
        // Before the receiver goes: whoever then fails to hand in a pack finds the reason.
        writer.failure.set(error.clone());
    }
    uploaded
}

async fn upload(
    repository: &Repository,
    lease: &Lease,
    writer: &BlobWriter,
    packs: &mut Receiver<FinishedPack>,
    adopted: Segment,
) -> Result<(), RepositoryError> {
    let mut segment = OpenSegment::new(adopted);
    // The index is on its way beside packs, never instead: a pack that nobody asks how far it is may hold what
    // the index waits for, such as the only connection, or the heartbeat that both need.
    let mut flight: FuturesUnordered<BoxFuture<'_, Result<Option<Stored>, RepositoryError>>> =
        FuturesUnordered::new();
    let mut is_open = true;
    while is_open || !flight.is_empty() {
        tokio::select! {
            // In one order, so that what a session does can be told again: what has landed comes first.
            biased;
            Some(landed) = flight.next(), if !flight.is_empty() => {
                let Some(stored) = landed? else { continue };
                segment.add(&stored);
                if let Ok(buffer) = stored.buffer.try_into_mut() {
                    writer.recycle(buffer.into());
                }
                if segment.is_due() {
                    let due = put_segment(repository, lease, writer, segment.take(lease));
                    flight.push(due.map(|put| put.map(|()| None)).boxed());
                }
            }
            pack = packs.recv(), if is_open && flight.len() < AT_ONCE => match pack {
                Some(pack) => flight.push(put_pack(repository, lease, pack).map(some).boxed()),
                None => is_open = false,
            },
        }
    }
    put_segment(repository, lease, writer, segment.take(lease)).await
}

fn some(stored: Result<Stored, RepositoryError>) -> Result<Option<Stored>, RepositoryError> {
    stored.map(Some)
}

async fn put_pack(
    repository: &Repository,
    lease: &Lease,
    pack: FinishedPack,
) -> Result<Stored, RepositoryError> {
    let key = layout::pack(pack.footer.header.kind, &pack.name);
    let size = pack.bytes.len() as u64;
    let buffer = Bytes::from(pack.bytes);
    put_named_by_content(repository, lease, &key, buffer.clone()).await?;
    Ok(Stored {
        name: pack.name,
        size,
        footer: pack.footer,
        buffer,
    })
}

/// The name is a digest of the bytes: when there is such an object already, it is this one.
async fn put_named_by_content(
    repository: &Repository,
    lease: &Lease,
    key: &Key,
    bytes: Bytes,
) -> Result<(), RepositoryError> {
    lease.confirm().await?;
    match repository.store().put(key, bytes, Put::New).await {
        Err(e) if e.kind == Kind::AlreadyExists => Ok(()),
        put => Ok(put?),
    }
}

/// Packs that are in the store and not yet in its index.
struct OpenSegment {
    segment: Segment,
    since: Instant,
}

impl OpenSegment {
    fn new(segment: Segment) -> Self {
        Self {
            segment,
            since: Instant::now(),
        }
    }

    fn add(&mut self, pack: &Stored) {
        self.segment.add(pack.name, pack.size, &pack.footer);
    }

    fn is_due(&self) -> bool {
        self.segment.entries.len() >= SEGMENT_BLOBS || self.since.elapsed() >= SEGMENT_AGE
    }

    /// What there is to describe; another one is open then.
    fn take(&mut self, lease: &Lease) -> Segment {
        let empty = Segment::new(lease.session, lease.condemned.seen);
        std::mem::replace(self, Self::new(empty)).segment
    }
}

async fn put_segment(
    repository: &Repository,
    lease: &Lease,
    writer: &BlobWriter,
    full: Segment,
) -> Result<(), RepositoryError> {
    if full.packs.is_empty() {
        return Ok(());
    }
    let (keys, salt) = (repository.keys().clone(), repository.random());
    let sealing = tokio::task::spawn_blocking(move || {
        seal(&keys, ObjectType::Index, "", &encode(&full), salt)
    });
    let sealed = Bytes::from(sealing.await.map_err(|_| RepositoryError::Interrupted)?);
    writer.add_stored(sealed.len());
    let name = Digest::of(&sealed);
    let key = layout::segment(&name);
    put_named_by_content(repository, lease, &key, sealed.clone()).await?;
    if let Some(cache) = repository.cache() {
        cache.keep_segment(key.last_part(), &sealed).await;
    }
    Ok(())
}
