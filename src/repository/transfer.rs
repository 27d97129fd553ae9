//! Blobs from a reader into packs: each is read, checked, and sealed anew; a frame of which all is wanted is not
//! compressed anew. Used by copies, and to take what is needed out of packs that are used in part.

use crate::model::ids::BlobId;
use crate::repository::format::blob::BlobKind;
use crate::repository::format::pack::{Delta, Encoding, Stored};
use crate::repository::format::tree::References;
use crate::repository::reach::children;
use crate::repository::reader::deltas::Carried;
use crate::repository::reader::fetch::{FrameRead, FrameSink, Sinks};
use crate::repository::writer::blobs::BlobWriter;
use crate::repository::writer::group;
use crate::repository::{BlobSink, Progress, Reader, RepositoryError, pipeline};
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
    pub(crate) children: References,
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
        // It may have to wait for the uploads, which no thread of the runtime may.
        let writer = into.clone();
        pipeline::on_pool(move || writer.store_groups()).await?;
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
        let frames: FrameSink = Arc::new(move |frame| {
            let stored = transfer.take_frame(frame);
            stored.map_err(|error| transfer.fail(error))
        });
        let sinks = Sinks {
            blobs: sink,
            frames: Some(frames),
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

    /// Takes over a frame as it is where all of it is to be stored, and where what it stands on is there too, no deeper
    /// than it was: to compress it again costs most, and saves next to nothing.
    fn take_frame(&self, read: &FrameRead<'_>) -> Result<(), RepositoryError> {
        let mut fresh = Vec::with_capacity(read.wanted.len());
        for (id, offset, len) in read.wanted {
            let content = &read.plain[*offset as usize..][..*len as usize];
            if self.is_to_store(id, content)? {
                fresh.push((*offset, *id, content));
            }
        }
        fresh.sort_unstable_by_key(|(offset, ..)| *offset);
        let depth = match read.frame.encoding {
            Encoding::Delta => {
                let depth = self.into.depth_above(&read.frame.bases);
                depth.filter(|depth| *depth <= read.frame.depth)
            }
            _ => None,
        };
        let blobs: Vec<_> = fresh
            .iter()
            .map(|(_, id, content)| (*id, content.len() as u32))
            .collect();
        if is_all(&fresh, read.plain)
            && let Some(stored) = self.as_is(read, depth)
        {
            return self.into.store_as_is(self.kind, &blobs, stored);
        }
        if depth.is_some() && !fresh.is_empty() {
            // A part of it is not needed any more, or there already.
            let plain: Vec<&[u8]> = fresh.iter().map(|(.., content)| *content).collect();
            let on = (read.frame.bases.as_slice(), read.prefix);
            let stored = self
                .into
                .store_against(self.kind, &blobs, &plain.concat(), on);
            return stored.map(drop);
        }
        fresh
            .into_iter()
            .try_for_each(|(_, id, content)| self.store(&id, content))
    }

    /// The frame, where it can be stored as it is. `depth` is that of a delta where it would be.
    fn as_is<'a>(&self, read: &FrameRead<'a>, depth: Option<u8>) -> Option<Stored<'a>> {
        let stands =
            self.kind == BlobKind::Tree || group::would_stand(read.wanted.len(), read.plain.len());
        match read.frame.encoding {
            Encoding::Raw => stands.then_some(Stored::Raw(read.stored)),
            Encoding::Zstd => stands.then_some(Stored::Zstd(read.stored)),
            Encoding::Zeros => stands.then_some(Stored::Zeros),
            Encoding::Delta => Some(Stored::Delta(Delta {
                bytes: read.stored,
                bases: &read.frame.bases,
                depth: depth?,
            })),
        }
    }

    /// Notes what was read, and whether it is to be stored.
    fn is_to_store(&self, id: &BlobId, content: &[u8]) -> Result<bool, RepositoryError> {
        if self.kind == BlobKind::Tree {
            let below = children(id, content)?;
            lock(&self.done).children.extend(below);
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

/// Whether these parts, in order, are all of `plain`.
fn is_all(parts: &[(u32, BlobId, &[u8])], plain: &[u8]) -> bool {
    let mut end = 0;
    for (offset, _, content) in parts {
        if *offset as usize != end {
            return false;
        }
        end += content.len();
    }
    end == plain.len() && end > 0
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
