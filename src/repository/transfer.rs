//! Blobs from a reader into packs: each is read, checked, and sealed anew. Used by copies, and to take what is
//! needed out of packs that are used in part.

use crate::model::ids::BlobId;
use crate::repository::format::blob::BlobKind;
use crate::repository::format::pack::Delta;
use crate::repository::reach::{Children, children};
use crate::repository::reader::deltas::{Carried, DeltaRead};
use crate::repository::reader::fetch::{DeltaSink, Sinks};
use crate::repository::writer::blobs::BlobWriter;
use crate::repository::{BlobSink, Progress, Reader, RepositoryError};
use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

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
    // What others stand on comes first.
    for level in reader.by_depth(ids) {
        transfer.run(reader, level).await?;
        into.store_groups()?;
    }
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
            stored.map_err(|error| transfer.fail(error))
        });
        let transfer = self.clone();
        let deltas: DeltaSink = Arc::new(move |delta| {
            let stored = transfer.take_delta(delta);
            stored.map_err(|error| transfer.fail(error))
        });
        let sinks = Sinks {
            blobs: sink,
            deltas: Some(deltas),
        };
        let read = reader.read_into(ids, sinks, &mut Carried::default()).await;
        match lock(&self.failed).take() {
            Some(error) => Err(error),
            None => read,
        }
    }

    fn fail(&self, error: RepositoryError) -> io::Error {
        lock(&self.failed).get_or_insert(error);
        io::Error::other("a blob was not copied")
    }

    fn take(&self, id: &BlobId, content: &[u8]) -> Result<(), RepositoryError> {
        match self.is_to_store(id, content)? {
            true => self.store(id, content),
            false => Ok(()),
        }
    }

    /// Takes a delta frame over where what it stands on is there too, no deeper than it was.
    fn take_delta(&self, delta: &DeltaRead<'_>) -> Result<(), RepositoryError> {
        let mut fresh = Vec::with_capacity(delta.wanted.len());
        for (id, offset, len) in delta.wanted {
            let content = &delta.plain[*offset as usize..][..*len as usize];
            if self.is_to_store(id, content)? {
                fresh.push((*id, content));
            }
        }
        let bases = &delta.frame.bases;
        let depth = self.into.depth_above(bases);
        let Some(depth) = depth.filter(|depth| *depth <= delta.frame.depth) else {
            return fresh
                .into_iter()
                .try_for_each(|(id, content)| self.store(&id, content));
        };
        let blobs: Vec<_> = fresh
            .iter()
            .map(|(id, content)| (*id, content.len() as u32))
            .collect();
        let fresh: Vec<&[u8]> = fresh.into_iter().map(|(_, content)| content).collect();
        let fresh = fresh.concat();
        match fresh.len() {
            0 => Ok(()),
            len if len == delta.plain.len() && fresh == delta.plain => {
                let delta = Delta {
                    bytes: delta.stored,
                    bases,
                    depth,
                };
                self.into.store_delta(self.kind, &blobs, delta)
            }
            // A part of it is not needed any more, or there already.
            _ => {
                let on = (bases.as_slice(), delta.prefix);
                let stored = self.into.store_against(self.kind, &blobs, &fresh, on);
                stored.map(drop)
            }
        }
    }

    /// Notes what was read, and whether it is to be stored.
    fn is_to_store(&self, id: &BlobId, content: &[u8]) -> Result<bool, RepositoryError> {
        if self.kind == BlobKind::Tree {
            let below = children(id, content)?;
            lock(&self.done).children.add(below);
        }
        self.progress.advance(0, content.len() as u64);
        let is_new = self.into.claim(id);
        lock(&self.done).stored += u64::from(is_new);
        Ok(is_new)
    }

    fn store(&self, id: &BlobId, content: &[u8]) -> Result<(), RepositoryError> {
        match self.kind {
            BlobKind::Tree => {
                let blob = (*id, content.len() as u32);
                self.into.store(self.kind, &[blob], content)
            }
            BlobKind::Data => {
                let into = &self.into;
                into.with_group(|group| group.add(into, id, content))
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
