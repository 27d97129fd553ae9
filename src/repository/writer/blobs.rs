//! Puts blobs into packs, each blob once: what the repository holds already, or another thread has just
//! claimed, is not stored again. Any number of threads call it at once.

use crate::model::ids::{BlobId, Digest};
use crate::model::tree::Content;
use crate::repository::format::FormatError;
use crate::repository::format::blob::{BlobKind, blob_id};
use crate::repository::format::index::BlobPrefix;
use crate::repository::format::key::Keys;
use crate::repository::format::pack::{FrameEncoder, PackWriter, Stored};
use crate::repository::format::tree::{INLINE_MAX_BLOBS, encode_content_lists};
use crate::repository::index::Index;
use crate::repository::pipeline::PackSink;
use crate::repository::writer::Failure;
use crate::repository::{Random, RepositoryError};
use std::{
    cell::RefCell,
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// A pack is closed when it has this many blobs, so that its footer stays small.
const PACK_BLOBS_MAX: usize = 10_000;
/// A pack is closed when it has this length. Larger ones would be fewer objects, and more memory than a
/// backup may use: some eight are in memory at a time.
const PACK_LEN_BYTES: usize = 16 << 20;
/// Claims are spread over this many locks.
const SHARDS: usize = 64;
/// Buffers of uploaded packs that wait to be filled again.
const SPARE_MAX: usize = 2;

/// Puts blobs into packs.
pub(crate) struct BlobWriter {
    keys: Arc<Keys>,
    index: Arc<Index>,
    claimed: [Mutex<HashSet<BlobPrefix>>; SHARDS],
    data: Mutex<Vec<PackWriter>>,
    trees: Mutex<Vec<PackWriter>>,
    sink: Mutex<Option<PackSink>>,
    spare: Mutex<Vec<Vec<u8>>>,
    random: Random,
    is_padded: bool,
    level: i32,
    new_bytes: AtomicU64,
    stored_bytes: AtomicU64,
    /// Where whoever stops says why.
    pub(crate) failure: Failure,
}

thread_local! {
    /// A thread's compressor and its level: making one costs more than a small file.
    static ENCODER: RefCell<Option<(i32, FrameEncoder)>> = const { RefCell::new(None) };
}

impl BlobWriter {
    pub(crate) fn new(
        keys: Arc<Keys>,
        index: Arc<Index>,
        sink: PackSink,
        random: Random,
        (level, is_padded): (i32, bool),
    ) -> Self {
        Self {
            keys,
            index,
            claimed: std::array::from_fn(|_| Mutex::default()),
            data: Mutex::default(),
            trees: Mutex::default(),
            sink: Mutex::new(Some(sink)),
            spare: Mutex::default(),
            random,
            is_padded,
            level,
            new_bytes: AtomicU64::new(0),
            stored_bytes: AtomicU64::new(0),
            failure: Failure::default(),
        }
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Bytes of new blobs, and what they took in packs.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (
            self.new_bytes.load(Relaxed),
            self.stored_bytes.load(Relaxed),
        )
    }

    /// Names `content` and stores it unless it is known.
    pub(crate) fn put(&self, kind: BlobKind, content: &[u8]) -> Result<BlobId, RepositoryError> {
        let id = blob_id(self.keys.keyring(), kind, content);
        if self.claim(&id) {
            self.store(kind, &[(id, content.len() as u32)], content)?;
        }
        Ok(id)
    }

    /// Whether the repository holds this blob, and a backup may refer to it.
    pub(crate) fn is_known(&self, id: &BlobId) -> bool {
        self.index.may_refer_to(id)
    }

    /// Whether the caller must store this blob: nobody has, and nobody else will.
    pub(crate) fn claim(&self, id: &BlobId) -> bool {
        if self.index.may_refer_to(id) {
            return false;
        }
        let shard = &self.claimed[usize::from(id.0[31]) % SHARDS];
        lock(shard).insert(BlobPrefix::from(id))
    }

    /// Stores claimed blobs as one frame. `plain` is their content, one after the other.
    pub(crate) fn store(
        &self,
        kind: BlobKind,
        blobs: &[(BlobId, u32)],
        plain: &[u8],
    ) -> Result<(), RepositoryError> {
        self.failure.check()?;
        let stored = ENCODER.with_borrow_mut(|encoder| {
            if encoder
                .as_ref()
                .is_none_or(|(level, _)| *level != self.level)
            {
                *encoder = Some((self.level, FrameEncoder::new(self.level)));
            }
            let (_, encoder) = encoder.as_mut().expect("it was set just now");
            self.append(kind, blobs, encoder.encode(plain))
        });
        if let Err(error) = &stored {
            // Others count on what was claimed here, so none of them may go on.
            self.failure.set(error.clone());
        }
        self.new_bytes.fetch_add(plain.len() as u64, Relaxed);
        stored
    }

    fn append(
        &self,
        kind: BlobKind,
        blobs: &[(BlobId, u32)],
        stored: Stored<'_>,
    ) -> Result<(), RepositoryError> {
        // A thread has a pack to itself while it seals: there are as many open as threads.
        let open = lock(self.open_packs(kind)).pop();
        let mut pack = open.unwrap_or_else(|| self.new_pack(kind));
        let before = pack.len();
        let pushed = pack.push(blobs, stored);
        pushed.map_err(|cause| RepositoryError::Encode {
            what: "pack".to_owned(),
            cause,
        })?;
        self.stored_bytes
            .fetch_add((pack.len() - before) as u64, Relaxed);
        if pack.len() >= PACK_LEN_BYTES || pack.blob_count() >= PACK_BLOBS_MAX {
            return self.close(pack);
        }
        lock(self.open_packs(kind)).push(pack);
        Ok(())
    }

    fn open_packs(&self, kind: BlobKind) -> &Mutex<Vec<PackWriter>> {
        match kind {
            BlobKind::Data => &self.data,
            BlobKind::Tree => &self.trees,
        }
    }

    fn new_pack(&self, kind: BlobKind) -> PackWriter {
        let mut salt = [0; 32];
        (self.random)(&mut salt);
        let spare = lock(&self.spare).pop().unwrap_or_default();
        PackWriter::new(&self.keys, kind, salt, spare)
    }

    /// Closes a pack and hands it to the uploads; waits while they are behind.
    fn close(&self, pack: PackWriter) -> Result<(), RepositoryError> {
        let pack = pack.finish(self.is_padded);
        // The name was computed while the bytes were sealed: equal means that memory has not altered
        // them since, and unequal bytes must not be stored under this name.
        if Digest::of(&pack.bytes) != pack.name {
            let cause = FormatError::Authentication("pack");
            return Err(RepositoryError::Encode {
                what: pack.name.to_string(),
                cause,
            });
        }
        let sink = lock(&self.sink).clone();
        sink.ok_or(RepositoryError::Interrupted)?.put(pack)
    }

    /// Takes back the buffer of a pack that was uploaded.
    pub(crate) fn recycle(&self, buffer: Vec<u8>) {
        let mut spare = lock(&self.spare);
        if spare.len() < SPARE_MAX {
            spare.push(buffer);
        }
    }

    /// Closes every open pack, and the way to the uploads. Nothing can be stored afterwards.
    pub(crate) fn finish(&self) -> Result<(), RepositoryError> {
        let open = [&self.data, &self.trees].map(|packs| std::mem::take(&mut *lock(packs)));
        let mut closed = open.into_iter().flatten().filter(|pack| !pack.is_empty());
        let outcome = closed.try_for_each(|pack| self.close(pack));
        self.abandon();
        self.failure.check().and(outcome)
    }

    /// Closes the way to the uploads.
    pub(crate) fn abandon(&self) {
        lock(&self.sink).take();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Collects the blobs of one file, however many: only ids that are not yet in a list blob are kept.
#[derive(Default)]
pub(crate) struct ContentBuilder {
    pending: Vec<BlobId>,
    lists: Vec<BlobId>,
}

/// Collected before lists are cut: twice what the longest list holds, so that one is complete.
const PENDING_MAX: usize = 8192;

impl ContentBuilder {
    pub(crate) fn extend(
        &mut self,
        writer: &BlobWriter,
        ids: &[BlobId],
    ) -> Result<(), RepositoryError> {
        self.pending.extend_from_slice(ids);
        if self.pending.len() < PENDING_MAX {
            return Ok(());
        }
        let mut lists = encode_content_lists(&self.pending);
        // The last one may go on with ids to come.
        lists.pop();
        for list in lists {
            // A list is a header of a few bytes and its ids.
            self.pending.drain(..list.len() / 32);
            self.lists.push(writer.put(BlobKind::Tree, &list)?);
        }
        Ok(())
    }

    pub(crate) fn finish(mut self, writer: &BlobWriter) -> Result<Content, RepositoryError> {
        if self.lists.is_empty() && self.pending.len() <= INLINE_MAX_BLOBS {
            return Ok(Content {
                blobs: self.pending,
                is_list: false,
            });
        }
        for list in encode_content_lists(&self.pending) {
            self.lists.push(writer.put(BlobKind::Tree, &list)?);
        }
        Ok(Content {
            blobs: self.lists,
            is_list: true,
        })
    }
}
