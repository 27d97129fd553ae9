//! Blobs from a reader into packs: each is read, checked, and sealed anew. Used by copies, and to take what is
//! needed out of packs that are used in part.

use crate::model::ids::BlobId;
use crate::repository::format::blob::BlobKind;
use crate::repository::reach::{Children, children};
use crate::repository::writer::blobs::BlobWriter;
use crate::repository::{BlobSink, Progress, Reader, RepositoryError};
use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

/// Smaller blobs are stored in groups of this many bytes, so that they compress together.
const GROUP_LEN_BYTES: usize = 256 << 10;
const GROUPED_MAX_BYTES: usize = 64 << 10;

/// What becomes of a transfer when a blob can not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// It ends: what would come out is not whole.
    Ends,
    /// It goes on, and says so.
    Noted,
}

/// What was transferred.
#[derive(Default)]
pub(crate) struct Transferred {
    /// What trees among the blobs name.
    pub(crate) children: Children,
    /// How many blobs were stored.
    pub(crate) stored: u64,
    /// Blobs that could not be read, and why.
    pub(crate) unreadable: Vec<(BlobId, RepositoryError)>,
}

/// Stores those of `ids`, blobs of one kind, that `into` may not refer to.
pub(crate) async fn transfer(
    (kind, unreadable): (BlobKind, Unreadable),
    reader: &Reader,
    ids: Vec<BlobId>,
    into: &Arc<BlobWriter>,
    progress: &Arc<dyn Progress>,
) -> Result<Transferred, RepositoryError> {
    let transfer = Transfer::new(kind, unreadable, into, progress);
    transfer.run(reader, ids).await?;
    let rest = std::mem::take(&mut *lock(&transfer.group));
    rest.store(into)?;
    let done = std::mem::take(&mut *lock(&transfer.done));
    Ok(done)
}

/// One reading of many blobs, each of which is stored as it comes.
struct Transfer {
    kind: BlobKind,
    unreadable: Unreadable,
    into: Arc<BlobWriter>,
    progress: Arc<dyn Progress>,
    done: Mutex<Transferred>,
    group: Mutex<Group>,
    failed: Mutex<Option<RepositoryError>>,
}

impl Transfer {
    fn new(
        kind: BlobKind,
        unreadable: Unreadable,
        into: &Arc<BlobWriter>,
        progress: &Arc<dyn Progress>,
    ) -> Arc<Self> {
        Arc::new(Self {
            kind,
            unreadable,
            into: into.clone(),
            progress: progress.clone(),
            done: Mutex::default(),
            group: Mutex::default(),
            failed: Mutex::default(),
        })
    }

    async fn run(
        self: &Arc<Self>,
        reader: &Reader,
        ids: Vec<BlobId>,
    ) -> Result<(), RepositoryError> {
        let transfer = self.clone();
        let sink: BlobSink = Arc::new(move |id, content| {
            let stored = match content {
                Ok(content) => transfer.take(id, content),
                Err(error) if transfer.unreadable == Unreadable::Noted => {
                    lock(&transfer.done).unreadable.push((*id, error.clone()));
                    Ok(())
                }
                Err(error) => Err(error.clone()),
            };
            stored.map_err(|error| {
                lock(&transfer.failed).get_or_insert(error);
                io::Error::other("a blob was not copied")
            })
        });
        let read = reader.read_blobs(ids, sink).await;
        match lock(&self.failed).take() {
            Some(error) => Err(error),
            None => read,
        }
    }

    fn take(&self, id: &BlobId, content: &[u8]) -> Result<(), RepositoryError> {
        if self.kind == BlobKind::Tree {
            let below = children(id, content)?;
            lock(&self.done).children.add(below);
        }
        self.progress.advance(0, content.len() as u64);
        if !self.into.claim(id) {
            return Ok(());
        }
        lock(&self.done).stored += 1;
        if self.kind == BlobKind::Tree || content.len() > GROUPED_MAX_BYTES {
            return self
                .into
                .store(self.kind, &[(*id, content.len() as u32)], content);
        }
        let full = lock(&self.group).add(id, content);
        full.map_or(Ok(()), |group| group.store(&self.into))
    }
}

/// Small data blobs that are to be one frame.
#[derive(Default)]
struct Group {
    blobs: Vec<(BlobId, u32)>,
    plain: Vec<u8>,
}

impl Group {
    /// Adds a blob; what is long enough then comes out.
    fn add(&mut self, id: &BlobId, content: &[u8]) -> Option<Self> {
        self.blobs.push((*id, content.len() as u32));
        self.plain.extend_from_slice(content);
        (self.plain.len() >= GROUP_LEN_BYTES).then(|| std::mem::take(self))
    }

    fn store(self, into: &BlobWriter) -> Result<(), RepositoryError> {
        if self.blobs.is_empty() {
            return Ok(());
        }
        into.store(BlobKind::Data, &self.blobs, &self.plain)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
