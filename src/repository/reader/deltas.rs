//! Reads delta frames: with all that they stand on, in few requests, ladder by ladder (`ladder.rs`, `climb.rs`). A frame
//! that many stand on is read once and decoded once, as far as they are asked for in the order of the file.

use crate::model::ids::BlobId;
use crate::repository::format::pack::PackKey;
use crate::repository::reader::Reader;
use crate::repository::reader::climb::{Climb, Plain};
use crate::repository::reader::fetch::{
    AT_ONCE, Piece, RANGE_MAX_BYTES, Sinks, WantedFrame, coalesce, refused,
};
use crate::repository::reader::ladder::{Bad, Held, Ladder, WantedDelta};
use crate::repository::{RepositoryError, layout, pipeline};
use crate::store::Kind;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex},
};

/// What was decoded for the last frames of one reading, for one that goes on where it ended.
#[derive(Default)]
pub(crate) struct Carried {
    held: Held,
    plain: HashMap<BlobId, Plain>,
}

/// What a ladder needs of the store: the bytes of its frames, by number, and frames that it did not give.
type Fetched = (HashMap<u32, Bytes>, Bad);

impl Reader {
    /// Blobs parted by how deep their frames are, so that what stands on others comes after them; in the order in which
    /// they lie in packs, which is that of a file, nearly.
    pub(crate) fn by_depth(&self, ids: Vec<BlobId>) -> Vec<Vec<BlobId>> {
        if !self.0.index.has_deltas() {
            return vec![ids];
        }
        let mut levels: BTreeMap<u8, Vec<(u32, u32, BlobId)>> = BTreeMap::new();
        for id in ids {
            let places = self.0.index.places(&id).into_iter();
            let place = places.min_by_key(|place| place.frame.depth);
            let (depth, at) = place.map_or((0, (0, 0)), |place| {
                (place.frame.depth, (place.number, place.offset))
            });
            levels.entry(depth).or_default().push((at.0, at.1, id));
        }
        let in_order = |mut level: Vec<(u32, u32, BlobId)>| {
            level.sort_unstable();
            level.into_iter().map(|(.., id)| id).collect()
        };
        levels.into_values().map(in_order).collect()
    }

    /// Reads delta frames in this order, ladder by ladder, while the next one is on its way. Returns the blobs that can
    /// not be read.
    pub(super) async fn read_deltas(
        &self,
        deltas: Vec<WantedDelta>,
        (sinks, carried): (&Sinks, &mut Carried),
    ) -> Result<Vec<(BlobId, RepositoryError)>, RepositoryError> {
        let (mut failed, mut again) = (Vec::new(), VecDeque::new());
        let mut bad = Bad::new();
        let mut left = VecDeque::from(deltas);
        let mut ladder = Ladder::next(&self.0.index, &mut left, (&bad, &carried.held));
        let (mut sealed, found) = self.fetch(&ladder).await;
        bad.extend(found);
        while !ladder.is_empty() {
            let next = Ladder::next(&self.0.index, &mut left, (&bad, &ladder.tail));
            failed.append(&mut ladder.hopeless);
            let held = std::mem::take(&mut carried.held);
            carried
                .plain
                .retain(|id, _| held.contains_key(id) && ladder.uses.contains_key(id));
            let climb = self.climb((&ladder, &mut bad), sealed, (sinks, carried));
            carried.held.clone_from(&ladder.tail);
            let climbing = pipeline::on_pool(move || climb.up(ladder));
            let (climbed, (next_sealed, found)) = tokio::join!(climbing, self.fetch(&next));
            let climbed = climbed.map_err(refused)?;
            bad.extend(found);
            merge(&mut bad, climbed.bad);
            failed.extend(climbed.failed);
            again.extend(climbed.again);
            carried.plain = climbed.plain;
            carried.held.retain(|id, _| carried.plain.contains_key(id));
            (ladder, sealed) = (next, next_sealed);
        }
        failed.extend(self.read_again(again, bad, sinks).await?);
        Ok(failed)
    }

    /// Reads what could not be read at once, slowly: each base is held against its id. Each round leaves out more of
    /// what is bad, until there is another way or none.
    async fn read_again(
        &self,
        mut left: VecDeque<WantedDelta>,
        mut bad: Bad,
        sinks: &Sinks,
    ) -> Result<Vec<(BlobId, RepositoryError)>, RepositoryError> {
        let mut failed = Vec::new();
        while !left.is_empty() {
            let mut ladder = Ladder::next(&self.0.index, &mut left, (&bad, &Held::new()));
            failed.append(&mut ladder.hopeless);
            let (sealed, found) = self.fetch(&ladder).await;
            bad.extend(found);
            let mut climb = self.climb(
                (&ladder, &mut bad),
                sealed,
                (sinks, &mut Carried::default()),
            );
            climb.are_bases_checked = true;
            let climbed = pipeline::on_pool(move || climb.up(ladder)).await;
            let climbed = climbed.map_err(refused)?;
            merge(&mut bad, climbed.bad);
            failed.extend(climbed.failed);
            left.extend(climbed.again);
        }
        Ok(failed)
    }

    fn climb(
        &self,
        (ladder, bad): (&Ladder, &mut Bad),
        sealed: HashMap<u32, Bytes>,
        (sinks, carried): (&Sinks, &mut Carried),
    ) -> Climb {
        Climb {
            keys: self.0.repository.keys().clone(),
            pack_keys: self.keys_of(ladder, bad),
            index: self.0.index.clone(),
            sealed,
            plain: std::mem::take(&mut carried.plain),
            sinks: sinks.clone(),
            spare: Mutex::default(),
            are_bases_checked: false,
            failed: Vec::new(),
            again: Vec::new(),
            bad: Bad::new(),
        }
    }

    /// The bytes of all rungs that the store gives.
    async fn fetch(&self, ladder: &Ladder) -> Fetched {
        let mut bad = Bad::new();
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
            .flat_map(|(pack, frames)| coalesce(pack, frames, RANGE_MAX_BYTES));
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
        (sealed, bad)
    }

    pub(super) async fn piece_bytes(&self, piece: &Piece) -> Result<Bytes, RepositoryError> {
        let pack = self.0.index.packs[piece.pack as usize];
        let key = layout::pack(pack.header.kind, &pack.name);
        let store = self.0.repository.store();
        let read = store.get(&key, Some(piece.range.clone())).await;
        if read
            .as_ref()
            .is_err_and(|error| error.kind == Kind::NotFound)
        {
            self.lacks(pack.name);
        }
        Ok(read?)
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

/// Why a frame was not fetched says more than that it is not there.
fn merge(bad: &mut Bad, more: Bad) {
    for (number, error) in more {
        bad.entry(number).or_insert(error);
    }
}
