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

/// Delta frames are read in batches of about so much: what they stand on is decoded once for all of a batch.
const BATCH_BYTES: u64 = 8 << 20;

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
pub(crate) fn batches(deltas: Vec<WantedDelta>) -> Vec<Vec<WantedDelta>> {
    let mut batches: Vec<Vec<WantedDelta>> = Vec::new();
    let mut len_bytes = 0;
    for delta in deltas {
        let len = u64::from(delta.wanted.frame.plain_len);
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
            let mut ladder = Ladder::of(&self.0.index, left, &bad);
            let rest = std::mem::take(&mut ladder.left);
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
            for (number, error) in found_bad {
                // Why it was not fetched says more than that it is not there.
                bad.entry(number).or_insert(error);
            }
            left = rest;
            left.extend(again);
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

/// The way up a ladder: one depth after the other, the frames of one depth on all threads of the pool.
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

/// What became of a frame.
enum Step {
    /// It was decoded, and what was asked for was passed on.
    Done {
        /// Blobs that others stand on.
        kept: Vec<(BlobId, Vec<u8>)>,
        /// Blobs that have other content than they should.
        failed: Vec<(BlobId, RepositoryError)>,
    },
    /// It can not be read, or was not fetched.
    Bad(RepositoryError),
    /// A base can not be read.
    Stuck,
}

impl Climb {
    fn up(mut self, ladder: Ladder) -> io::Result<Climbed> {
        let Ladder {
            mut rungs,
            mut uses,
            ..
        } = ladder;
        let mut again = Vec::new();
        while let Some(((depth, _), _)) = rungs.first_key_value() {
            let above = rungs.split_off(&(depth.saturating_add(1), 0));
            let level: Vec<((u8, u32), Rung)> =
                std::mem::replace(&mut rungs, above).into_iter().collect();
            let steps = pipeline::map_in_order(level, |((_, number), rung)| {
                let step = self.step(number, &rung);
                (number, rung, step)
            });
            for (number, rung, step) in steps {
                self.let_go(&rung.frame, &mut uses);
                match step? {
                    Step::Done { kept, failed } => {
                        self.plain.extend(kept);
                        self.failed.extend(failed);
                        continue;
                    }
                    Step::Bad(error) => drop(self.bad.insert(number, error)),
                    Step::Stuck => {}
                }
                if !rung.wanted.is_empty() {
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
        }
        Ok((self.failed, self.bad, again))
    }

    /// Drops the bases of a frame on which nothing more stands.
    fn let_go(&mut self, frame: &Frame, uses: &mut HashMap<BlobId, u32>) {
        for base in &frame.bases {
            if let Some(left) = uses.get_mut(base) {
                *left -= 1;
                if *left == 0 {
                    self.plain.remove(base);
                }
            }
        }
    }

    /// The plaintext of the bases of a frame, if all were read.
    fn prefix(&self, frame: &Frame) -> Option<Vec<u8>> {
        let bases = frame.bases.iter().map(|base| self.plain.get(base));
        let bases: Vec<&[u8]> = bases
            .map(|base| base.map(Vec::as_slice))
            .collect::<Option<_>>()?;
        Some(bases.concat())
    }

    /// Decodes one frame and passes its blobs on.
    fn step(&self, number: u32, rung: &Rung) -> io::Result<Step> {
        // A rung is there for a blob.
        let id = rung.kept.iter().chain(&rung.wanted).next();
        let id = id.map_or(BlobId([0; 32]), |(id, ..)| *id);
        let bad = |cause| Ok(Step::Bad(damaged(id, self.pack(rung), cause)));
        let (Some(sealed), Some(key)) = (self.sealed.get(&number), self.pack_keys.get(&rung.pack))
        else {
            return bad(FormatError::Truncated("pack"));
        };
        let Some(prefix) = self.prefix(&rung.frame) else {
            return Ok(Step::Stuck);
        };
        let mut sealed = sealed.to_vec();
        DECODER.with_borrow_mut(|decoder| {
            let opened = unseal_frame(key, &rung.frame, &mut sealed).and_then(|stored| {
                let plain = decode_frame(&rung.frame, stored, &prefix, decoder)?;
                Ok((stored, plain))
            });
            let (stored, plain) = match opened {
                Ok(opened) => opened,
                Err(cause) => return bad(cause),
            };
            let mut kept = Vec::with_capacity(rung.kept.len());
            for blob in &rung.kept {
                match self.checked(rung, blob, plain) {
                    Ok(content) => kept.push((blob.0, content.to_vec())),
                    Err(error) => return Ok(Step::Bad(error)),
                }
            }
            let failed = self.pass_on(rung, (stored, &prefix), plain)?;
            Ok(Step::Done { kept, failed })
        })
    }

    /// Passes on what was asked for. Returns the blobs that have other content.
    fn pass_on(
        &self,
        rung: &Rung,
        (stored, prefix): (&[u8], &[u8]),
        plain: &[u8],
    ) -> io::Result<Vec<(BlobId, RepositoryError)>> {
        let mut failed = Vec::new();
        let mut whole = Vec::with_capacity(rung.wanted.len());
        for blob in &rung.wanted {
            match self.checked(rung, blob, plain) {
                Ok(content) => whole.push((blob, content)),
                Err(error) => failed.push((blob.0, error)),
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
                })?;
            }
            _ => {
                for (blob, content) in whole {
                    (self.sinks.blobs)(&blob.0, Ok(content))?;
                }
            }
        }
        Ok(failed)
    }

    /// The content of a blob, if it is the one that was asked for.
    fn checked<'a>(
        &self,
        rung: &Rung,
        (id, offset, len): &WantedBlob,
        plain: &'a [u8],
    ) -> Result<&'a [u8], RepositoryError> {
        let pack = self.pack(rung);
        let kind = pack.header.kind;
        plain
            .get(*offset as usize..*offset as usize + *len as usize)
            .filter(|content| blob_id(self.keys.keyring(), kind, content) == *id)
            .ok_or_else(|| damaged(*id, pack, FormatError::Authentication("blob")))
    }

    fn pack(&self, rung: &Rung) -> &IndexedPack {
        &self.index.packs[rung.pack as usize]
    }
}

fn damaged(id: BlobId, pack: &IndexedPack, cause: FormatError) -> RepositoryError {
    let pack = pack.name;
    RepositoryError::BlobDamaged { id, pack, cause }
}
