//! Puts blobs into packs, each blob once: what the repository holds already, or another thread has just
//! claimed, is not stored again. Any number of threads call it at once.

use crate::model::ids::BlobId;
use crate::model::tree::Content;
use crate::repository::format::FormatError;
use crate::repository::format::blob::{BlobKind, blob_id};
use crate::repository::format::index::BlobPrefix;
use crate::repository::format::key::Keys;
use crate::repository::format::pack::{DEPTH_MAX, Frame, FrameEncoder, PackWriter, Stored};
use crate::repository::format::tree::{INLINE_MAX_BLOBS, encode_content_lists};
use crate::repository::index::Index;
use crate::repository::pipeline::PackSink;
use crate::repository::writer::Failure;
use crate::repository::writer::effort::{Effort, Gauge};
use crate::repository::writer::group::Group;
use crate::repository::{Random, RepositoryError};
use std::{
    cell::RefCell,
    collections::{HashMap, hash_map::Entry},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// A pack is closed when it has this many blobs, so that its footer stays small.
const PACK_BLOBS_MAX: usize = 10_000;
/// A pack is closed when it has this length. Larger ones would be fewer objects, and more memory than a
/// backup may use: some nine are in memory at a time.
const PACK_LEN_BYTES: usize = 16 << 20;
/// One that is padded is closed where that takes little, from the first of these lengths on, and at the second anyhow:
/// at any length, padding takes 1 to 3 % of it.
const PADDED_LEN_BYTES: (usize, usize) = (12 << 20, 18 << 20);
/// This part of a pack is little.
const PADDING_PART: usize = 512;
/// Claims are spread over this many locks.
const SHARDS: usize = 64;
/// Buffers of uploaded packs that wait to be filled again.
const SPARE_MAX: usize = 2;

/// What a frame stands on decodes to no more than this; readers refuse several times as much.
const WEIGHT_MAX_BYTES: u64 = 64 << 20;
/// The depth of what is claimed and not stored yet.
const NOT_YET: u8 = u8::MAX;

/// How a frame is made.
enum How<'a> {
    /// Of this plaintext.
    Alone(&'a [u8]),
    /// Of this plaintext, and that of what it may stand on.
    Against(&'a [u8], &'a [u8], (&'a [BlobId], u8)),
    /// Likewise, and not at all where it may not.
    OnlyAgainst(&'a [u8], &'a [u8], (&'a [BlobId], u8)),
    /// It is made already.
    AsIs(Stored<'a>),
}

/// Puts blobs into packs.
pub(crate) struct BlobWriter {
    keys: Arc<Keys>,
    index: Arc<Index>,
    /// What this session stores, and how deep it is once it is stored.
    claimed: [Mutex<HashMap<BlobPrefix, u8>>; SHARDS],
    /// Packs that are being filled; nothing once they were closed.
    data: Mutex<Option<Vec<PackWriter>>>,
    trees: Mutex<Option<Vec<PackWriter>>>,
    groups: Mutex<Vec<Group>>,
    sink: Mutex<Option<PackSink>>,
    spare: Mutex<Vec<Vec<u8>>>,
    random: Random,
    is_padded: bool,
    gauge: Gauge,
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
        (effort, is_padded): (Effort, bool),
    ) -> Self {
        Self {
            keys,
            index,
            claimed: std::array::from_fn(|_| Mutex::default()),
            data: Mutex::new(Some(Vec::new())),
            trees: Mutex::new(Some(Vec::new())),
            groups: Mutex::default(),
            sink: Mutex::new(Some(sink)),
            spare: Mutex::default(),
            random,
            is_padded,
            gauge: Gauge::new(effort),
            new_bytes: AtomicU64::new(0),
            stored_bytes: AtomicU64::new(0),
            failure: Failure::default(),
        }
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Bytes of new blobs, and what they took: packs that are closed, and what the index says of them.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (
            self.new_bytes.load(Relaxed),
            self.stored_bytes.load(Relaxed),
        )
    }

    /// Counts what was written for what is stored here.
    pub(crate) fn add_stored(&self, bytes: usize) {
        self.stored_bytes.fetch_add(bytes as u64, Relaxed);
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

    /// Whether the repository holds this blob, or somebody stores it in this session.
    pub(crate) fn is_here(&self, id: &BlobId) -> bool {
        self.is_known(id) || lock(self.shard(id)).contains_key(&BlobPrefix::from(id))
    }

    /// Whether the repository has a place for this blob, from which it can not be read or not for long.
    pub(crate) fn is_lost(&self, id: &BlobId) -> bool {
        !self.is_known(id) && self.index.len_of(id).is_some()
    }

    /// Whether the caller must store this blob: nobody has, and nobody else will.
    pub(crate) fn claim(&self, id: &BlobId) -> bool {
        if self.index.may_refer_to(id) {
            return false;
        }
        match lock(self.shard(id)).entry(BlobPrefix::from(id)) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                place.insert(NOT_YET);
                true
            }
        }
    }

    fn shard(&self, id: &BlobId) -> &Mutex<HashMap<BlobPrefix, u8>> {
        &self.claimed[usize::from(id.0[31]) % SHARDS]
    }

    /// How deep the frame of this blob is for one that is to stand on it; nothing where none may.
    pub(crate) fn depth_of(&self, id: &BlobId) -> Option<u8> {
        let own = lock(self.shard(id)).get(&BlobPrefix::from(id)).copied();
        let own = own.filter(|depth| *depth != NOT_YET);
        self.index.depth_of(id).into_iter().chain(own).min()
    }

    /// How deep a frame is that stands on these; nothing where none may, or it would be too deep.
    pub(crate) fn depth_above(&self, bases: &[BlobId]) -> Option<u8> {
        let depths: Option<Vec<u8>> = bases.iter().map(|base| self.depth_of(base)).collect();
        let depth = depths?.into_iter().max()? + 1;
        (depth <= DEPTH_MAX).then_some(depth)
    }

    /// What a frame may stand on instead of this blob, which is as deep as may be; in order.
    pub(crate) fn below(&self, id: &BlobId) -> Vec<BlobId> {
        self.index.below(id)
    }

    /// Length of a blob that is in the repository.
    pub(crate) fn len_of(&self, id: &BlobId) -> Option<u32> {
        self.index.len_of(id)
    }

    /// Whether what these stand on, all together, is little enough for a frame to stand on them.
    pub(crate) fn is_light(&self, bases: &[BlobId]) -> bool {
        self.index.weight_of(bases) <= WEIGHT_MAX_BYTES
    }

    /// Whether the blob can be read from a pack that stays as soon as what was claimed is stored.
    pub(crate) fn will_stand(&self, id: &BlobId) -> bool {
        self.will_stand_below(id, u8::MAX)
    }

    /// Depth falls with each step, so this ends.
    fn will_stand_below(&self, id: &BlobId, below: u8) -> bool {
        if self.depth_of(id).is_some_and(|depth| depth < below) {
            return true;
        }
        self.index.places(id).into_iter().any(|place| {
            let Frame { depth, bases, .. } = place.frame;
            let is_lasting = !self.index.packs[place.pack as usize].is_condemned;
            let will_stand = |base| self.will_stand_below(base, depth);
            is_lasting && depth > 0 && depth < below && bases.iter().all(will_stand)
        })
    }

    /// Stores claimed blobs as one frame. `plain` is their content, one after the other.
    pub(crate) fn store(
        &self,
        kind: BlobKind,
        blobs: &[(BlobId, u32)],
        plain: &[u8],
    ) -> Result<(), RepositoryError> {
        self.store_as(kind, blobs, How::Alone(plain)).map(drop)
    }

    /// As [`Self::store`], against the plaintext of `bases` where that takes less than half. Returns how deep the
    /// frame is: 0 where it stands alone.
    pub(crate) fn store_against(
        &self,
        kind: BlobKind,
        blobs: &[(BlobId, u32)],
        plain: &[u8],
        (bases, prefix): (&[BlobId], &[u8]),
    ) -> Result<u8, RepositoryError> {
        let how = match self.depth_above(bases) {
            Some(depth) => How::Against(plain, prefix, (bases, depth)),
            None => How::Alone(plain),
        };
        let depth = self.store_as(kind, blobs, how)?;
        Ok(depth.unwrap_or(0))
    }

    /// Stores blobs as a delta frame on `bases` where that takes less than half; or else not, and says so.
    pub(crate) fn store_only_against(
        &self,
        kind: BlobKind,
        blobs: &[(BlobId, u32)],
        plain: &[u8],
        (bases, prefix): (&[BlobId], &[u8]),
    ) -> Result<bool, RepositoryError> {
        let Some(depth) = self.depth_above(bases) else {
            return Ok(false);
        };
        let how = How::OnlyAgainst(plain, prefix, (bases, depth));
        Ok(self.store_as(kind, blobs, how)?.is_some())
    }

    /// Stores claimed blobs as the frame that they are elsewhere.
    pub(crate) fn store_as_is(
        &self,
        kind: BlobKind,
        blobs: &[(BlobId, u32)],
        frame: Stored<'_>,
    ) -> Result<(), RepositoryError> {
        self.store_as(kind, blobs, How::AsIs(frame)).map(drop)
    }

    /// Returns how deep the frame is, if one was stored.
    fn store_as(
        &self,
        kind: BlobKind,
        blobs: &[(BlobId, u32)],
        how: How<'_>,
    ) -> Result<Option<u8>, RepositoryError> {
        self.failure.check()?;
        let level = self.gauge.level();
        let stored = ENCODER.with_borrow_mut(|encoder| {
            if encoder
                .as_ref()
                .is_none_or(|(made_for, _)| *made_for != level)
            {
                *encoder = Some((level, FrameEncoder::new(level)));
            }
            let (_, encoder) = encoder.as_mut().expect("it was set just now");
            let is_only_against = matches!(how, How::OnlyAgainst(..));
            let stored = match how {
                How::Alone(plain) => encoder.encode(plain),
                How::Against(plain, prefix, on) | How::OnlyAgainst(plain, prefix, on) => {
                    encoder.encode_delta(plain, prefix, on)
                }
                How::AsIs(frame) => frame,
            };
            let depth = match stored {
                Stored::Delta(delta) => delta.depth,
                _ if is_only_against => return Ok(None),
                _ => 0,
            };
            self.append(kind, blobs, stored).map(|()| Some(depth))
        });
        if let Err(error) = &stored {
            // Others count on what was claimed here, so none of them may go on.
            self.failure.set(error.clone());
        }
        let Some(depth) = stored? else {
            return Ok(None);
        };
        let len = blobs.iter().map(|(_, len)| u64::from(*len)).sum();
        self.new_bytes.fetch_add(len, Relaxed);
        for (id, _) in blobs {
            lock(self.shard(id)).insert(BlobPrefix::from(id), depth);
        }
        Ok(Some(depth))
    }

    /// Calls `f` with a group that nobody else adds to meanwhile.
    pub(crate) fn with_group<T>(&self, f: impl FnOnce(&mut Group) -> T) -> T {
        let open = lock(&self.groups).pop();
        let mut group = open.unwrap_or_default();
        let result = f(&mut group);
        lock(&self.groups).push(group);
        result
    }

    /// Stores what is in groups so far, so that others may stand on it.
    pub(crate) fn store_groups(&self) -> Result<(), RepositoryError> {
        let open = std::mem::take(&mut *lock(&self.groups));
        open.into_iter().try_for_each(|mut group| group.store(self))
    }

    fn append(
        &self,
        kind: BlobKind,
        blobs: &[(BlobId, u32)],
        stored: Stored<'_>,
    ) -> Result<(), RepositoryError> {
        // A thread has a pack to itself while it seals: there are as many open as threads.
        let open = match &mut *lock(self.open_packs(kind)) {
            Some(open) => open.pop(),
            None => return Err(RepositoryError::Interrupted),
        };
        let mut pack = open.unwrap_or_else(|| self.new_pack(kind));
        let pushed = pack.push(blobs, stored);
        pushed.map_err(|cause| RepositoryError::Encode {
            what: "pack".to_owned(),
            cause,
        })?;
        if self.is_full(&pack) {
            return self.close(pack);
        }
        match &mut *lock(self.open_packs(kind)) {
            Some(open) => open.push(pack),
            None => return Err(RepositoryError::Interrupted),
        }
        Ok(())
    }

    fn is_full(&self, pack: &PackWriter) -> bool {
        let (min, max) = match self.is_padded {
            true => PADDED_LEN_BYTES,
            false => (PACK_LEN_BYTES, PACK_LEN_BYTES),
        };
        let len = pack.len();
        pack.blob_count() >= PACK_BLOBS_MAX
            || len >= max
            || len >= min && pack.padding() <= len / PADDING_PART
    }

    fn open_packs(&self, kind: BlobKind) -> &Mutex<Option<Vec<PackWriter>>> {
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
        // The name was computed while the bytes were sealed, and a checksum with it: equal means that memory has not
        // altered them since, and unequal bytes must not be stored under this name.
        if crc32c::crc32c(&pack.bytes) != pack.crc {
            let cause = FormatError::Authentication("pack");
            return Err(RepositoryError::Encode {
                what: pack.name.to_string(),
                cause,
            });
        }
        self.add_stored(pack.bytes.len());
        let sink = lock(&self.sink).clone();
        let has_waited = sink.ok_or(RepositoryError::Interrupted)?.put(pack)?;
        self.gauge.note(has_waited);
        Ok(())
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
        let grouped = self.store_groups();
        let open = [&self.data, &self.trees].map(|packs| lock(packs).take());
        let open = open.into_iter().flatten().flatten();
        let mut closed = open.filter(|pack| !pack.is_empty());
        let outcome = closed.try_for_each(|pack| self.close(pack));
        self.abandon();
        self.failure.check().and(grouped).and(outcome)
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
