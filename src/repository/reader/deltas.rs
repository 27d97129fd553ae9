//! Reads delta frames: with all that they stand on, in few requests, and decoded from the bottom up. A base is
//! held against its id like any other blob, and dropped when nothing more stands on it.

use crate::model::ids::BlobId;
use crate::repository::format::FormatError;
use crate::repository::format::blob::blob_id;
use crate::repository::format::key::Keys;
use crate::repository::format::pack::{Frame, PackKey, decode_frame, unseal_frame};
use crate::repository::index::{Index, IndexedPack};
use crate::repository::reader::Reader;
use crate::repository::reader::fetch::{
    AT_ONCE, DECODER, Piece, Sinks, WantedBlob, WantedFrame, coalesce, refused,
};
use crate::repository::reader::ladder::{Bad, Ladder, Rung, WantedDelta};
use crate::repository::{RepositoryError, layout, pipeline};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::Arc,
};

/// Delta frames and their bases are decoded in batches of about so much.
const BATCH_BYTES: u64 = 4 << 20;

/// A delta frame that was read: for those who can use it as it is.
pub(crate) struct DeltaRead<'a> {
    pub(crate) frame: &'a Frame,
    /// Its bytes as they were sealed.
    pub(crate) stored: &'a [u8],
    /// What it stands on.
    pub(crate) prefix: &'a [u8],
    /// What it decodes to.
    pub(crate) plain: &'a [u8],
    /// The blobs that were asked for.
    pub(crate) wanted: &'a [WantedBlob],
}

/// Puts frames together that are read at once.
pub(crate) fn batches(index: &Index, deltas: Vec<WantedDelta>) -> Vec<Vec<WantedDelta>> {
    let mut batches: Vec<Vec<WantedDelta>> = Vec::new();
    let mut len_bytes = u64::MAX;
    for delta in deltas {
        let frame = &delta.wanted.frame;
        let bases = frame.bases.iter().filter_map(|base| index.len_of(base));
        let len = u64::from(frame.plain_len) + bases.map(u64::from).sum::<u64>();
        match batches.last_mut() {
            Some(batch) if len_bytes + len <= BATCH_BYTES => {
                batch.push(delta);
                len_bytes += len;
            }
            _ => {
                batches.push(vec![delta]);
                len_bytes = len;
            }
        }
    }
    batches
}

impl Reader {
    /// Blobs parted by how deep their frames are, so that what stands on others comes after them.
    pub(crate) fn by_depth(&self, ids: Vec<BlobId>) -> Vec<Vec<BlobId>> {
        if !self.0.index.has_deltas() {
            return vec![ids];
        }
        let mut levels: BTreeMap<u8, Vec<BlobId>> = BTreeMap::new();
        for id in ids {
            let places = self.0.index.places(&id);
            let depth = places.iter().map(|place| place.frame.depth).min();
            let depth = depth.unwrap_or(0);
            levels.entry(depth).or_default().push(id);
        }
        levels.into_values().collect()
    }

    /// Reads one batch. Returns the blobs that can not be read.
    pub(super) async fn read_batch(
        &self,
        batch: Vec<WantedDelta>,
        sinks: Sinks,
    ) -> Result<Vec<(BlobId, RepositoryError)>, RepositoryError> {
        let mut failed = Vec::new();
        let mut bad = Bad::new();
        let mut left = batch;
        while !left.is_empty() {
            let ladder = Ladder::of(&self.0.index, left, &bad);
            failed.extend(ladder.hopeless.iter().cloned());
            let sealed = self.fetch(&ladder, &mut bad).await;
            let climb = Climb {
                keys: self.0.repository.keys().clone(),
                pack_keys: self.keys_of(&ladder, &mut bad),
                index: self.0.index.clone(),
                sealed,
                plain: HashMap::new(),
                sinks: sinks.clone(),
                failed: Vec::new(),
                bad: Bad::new(),
            };
            let climbed = pipeline::on_pool(move || climb.up(ladder)).await;
            let (more, found_bad, again) = climbed.map_err(refused)?;
            failed.extend(more);
            // Each round leaves out more of what is bad, until there is another way or none.
            bad.extend(found_bad);
            left = again;
        }
        Ok(failed)
    }

    /// The bytes of all rungs that the store gives, by number.
    async fn fetch(&self, ladder: &Ladder, bad: &mut Bad) -> HashMap<u32, Bytes> {
        let mut packs: BTreeMap<u32, BTreeMap<u32, WantedFrame>> = BTreeMap::new();
        let mut numbers = HashMap::new();
        for ((_, number), rung) in &ladder.rungs {
            let frame = rung.frame.clone();
            numbers.insert((rung.pack, frame.offset), *number);
            let blobs = Vec::new();
            packs
                .entry(rung.pack)
                .or_default()
                .insert(frame.offset, WantedFrame { frame, blobs });
        }
        let pieces = packs
            .into_iter()
            .flat_map(|(pack, frames)| coalesce(pack, frames));
        let mut reading = stream::iter(pieces.collect::<Vec<_>>())
            .map(|piece| async move { (self.piece_bytes(&piece).await, piece) })
            .buffer_unordered(AT_ONCE);
        let mut sealed = HashMap::new();
        while let Some((read, piece)) = reading.next().await {
            for WantedFrame { frame, .. } in &piece.frames {
                let number = numbers[&(piece.pack, frame.offset)];
                let range = frame.range();
                let start = (range.start - piece.range.start) as usize;
                let end = (range.end - piece.range.start) as usize;
                match &read {
                    Ok(bytes) if end <= bytes.len() => {
                        sealed.insert(number, bytes.slice(start..end));
                    }
                    // What is cut short fails when it is opened.
                    Ok(_) => drop(sealed.insert(number, Bytes::new())),
                    Err(error) => drop(bad.insert(number, error.clone())),
                }
            }
        }
        sealed
    }

    pub(super) async fn piece_bytes(&self, piece: &Piece) -> Result<Bytes, RepositoryError> {
        let pack = self.0.index.packs[piece.pack as usize];
        let key = layout::pack(pack.header.kind, &pack.name);
        let store = self.0.repository.store();
        Ok(store.get(&key, Some(piece.range.clone())).await?)
    }

    fn keys_of(&self, ladder: &Ladder, bad: &mut Bad) -> HashMap<u32, Arc<PackKey>> {
        let mut keys = HashMap::new();
        for ((_, number), rung) in &ladder.rungs {
            match self.pack_key(rung.pack) {
                Ok(key) => drop(keys.insert(rung.pack, key)),
                Err(cause) => {
                    let pack = &self.0.index.packs[rung.pack as usize];
                    let key = layout::pack(pack.header.kind, &pack.name);
                    bad.insert(*number, RepositoryError::object(key, cause));
                }
            }
        }
        keys
    }
}

/// The way up a ladder, on one thread.
struct Climb {
    keys: Arc<Keys>,
    pack_keys: HashMap<u32, Arc<PackKey>>,
    index: Arc<Index>,
    sealed: HashMap<u32, Bytes>,
    /// Bases that something above stands on.
    plain: HashMap<BlobId, Vec<u8>>,
    sinks: Sinks,
    failed: Vec<(BlobId, RepositoryError)>,
    bad: Bad,
}

type Climbed = (Vec<(BlobId, RepositoryError)>, Bad, Vec<WantedDelta>);

impl Climb {
    fn up(mut self, mut ladder: Ladder) -> io::Result<Climbed> {
        let mut again = Vec::new();
        for ((_, number), rung) in std::mem::take(&mut ladder.rungs) {
            let prefix = self.prefix(&rung.frame, &mut ladder.uses);
            let done = match prefix {
                // It was not fetched, or a base can not be read.
                Some(prefix) => self.step(number, &rung, &prefix)?,
                None => false,
            };
            if !done && !rung.wanted.is_empty() {
                again.push(WantedDelta {
                    pack: rung.pack,
                    number,
                    wanted: WantedFrame {
                        frame: rung.frame,
                        blobs: rung.wanted,
                    },
                });
            }
        }
        Ok((self.failed, self.bad, again))
    }

    /// The plaintext of the bases of a frame, if all were read.
    fn prefix(&mut self, frame: &Frame, uses: &mut HashMap<BlobId, u32>) -> Option<Vec<u8>> {
        let mut prefix = Vec::new();
        let mut is_whole = true;
        for base in &frame.bases {
            match self.plain.get(base) {
                Some(plain) => prefix.extend_from_slice(plain),
                None => is_whole = false,
            }
            if let Some(left) = uses.get_mut(base) {
                *left -= 1;
                if *left == 0 {
                    self.plain.remove(base);
                }
            }
        }
        is_whole.then_some(prefix)
    }

    /// Decodes one frame and passes its blobs on. `false` where it can not be read; then it is bad.
    fn step(&mut self, number: u32, rung: &Rung, prefix: &[u8]) -> io::Result<bool> {
        let (Some(sealed), Some(key)) = (
            self.sealed.remove(&number),
            self.pack_keys.get(&rung.pack).cloned(),
        ) else {
            return Ok(false);
        };
        let mut sealed = sealed.to_vec();
        DECODER.with_borrow_mut(|decoder| {
            let opened = unseal_frame(&key, &rung.frame, &mut sealed).and_then(|stored| {
                let plain = decode_frame(&rung.frame, stored, prefix, decoder)?;
                Ok((stored, plain))
            });
            let checked = opened.and_then(|(stored, plain)| {
                let kept = rung.kept.iter().map(|blob| self.checked(rung, blob, plain));
                Ok((kept.collect::<Result<Vec<_>, _>>()?, stored, plain))
            });
            let (kept, stored, plain) = match checked {
                Ok(checked) => checked,
                Err(cause) => {
                    let id = rung.kept.iter().chain(&rung.wanted).next();
                    let id = id.map_or(BlobId([0; 32]), |(id, ..)| *id);
                    self.bad.insert(number, damaged(id, self.pack(rung), cause));
                    return Ok(false);
                }
            };
            let kept: Vec<_> = rung
                .kept
                .iter()
                .zip(kept)
                .map(|((id, ..), plain)| (*id, plain.to_vec()))
                .collect();
            self.plain.extend(kept);
            self.pass_on(rung, (stored, prefix), plain)?;
            Ok(true)
        })
    }

    fn pass_on(
        &mut self,
        rung: &Rung,
        (stored, prefix): (&[u8], &[u8]),
        plain: &[u8],
    ) -> io::Result<()> {
        let mut whole = Vec::with_capacity(rung.wanted.len());
        for blob in &rung.wanted {
            match self.checked(rung, blob, plain) {
                Ok(content) => whole.push((blob, content)),
                Err(cause) => {
                    let error = damaged(blob.0, self.pack(rung), cause);
                    self.failed.push((blob.0, error));
                }
            }
        }
        match &self.sinks.deltas {
            Some(sink) if !whole.is_empty() && whole.len() == rung.wanted.len() => {
                sink(&DeltaRead {
                    frame: &rung.frame,
                    stored,
                    prefix,
                    plain,
                    wanted: &rung.wanted,
                })
            }
            _ => whole
                .into_iter()
                .try_for_each(|(blob, content)| (self.sinks.blobs)(&blob.0, Ok(content))),
        }
    }

    fn checked<'a>(
        &self,
        rung: &Rung,
        (id, offset, len): &WantedBlob,
        plain: &'a [u8],
    ) -> Result<&'a [u8], FormatError> {
        let kind = self.pack(rung).header.kind;
        plain
            .get(*offset as usize..*offset as usize + *len as usize)
            .filter(|content| blob_id(self.keys.keyring(), kind, content) == *id)
            .ok_or(FormatError::Authentication("blob"))
    }

    fn pack(&self, rung: &Rung) -> &IndexedPack {
        &self.index.packs[rung.pack as usize]
    }
}

fn damaged(id: BlobId, pack: &IndexedPack, cause: FormatError) -> RepositoryError {
    let pack = pack.name;
    RepositoryError::BlobDamaged { id, pack, cause }
}
