//! Which delta frames stand: a frame counts only where each of its bases is in a frame of less depth that
//! counts itself. So what stands can be decoded, no circle ever counts, and what stands on a lost pack is lost
//! with it. Looked up when it is asked for, each frame once.

use crate::model::ids::BlobId;
use crate::repository::index::Index;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// A delta that takes more than so many times what the one below it takes goes far back.
const FAR_TIMES: u64 = 3;

/// What a frame is to stand on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ground {
    /// On what is there, condemned or not: enough for reading.
    There,
    /// On what is not condemned: what a new backup may refer to.
    Lasting,
}

/// The delta frames of an index, and what is known of each by now.
#[derive(Default)]
pub(in crate::repository) struct Deltas {
    /// Numbers of the frames, ascending.
    frames: Vec<u32>,
    /// Where the bases of each end.
    ends: Vec<u32>,
    bases: Vec<BlobId>,
    known: Vec<AtomicU8>,
}

impl Deltas {
    /// Adds a frame, if it has bases. Frames come in order of their numbers.
    pub(super) fn add(&mut self, frame: u32, bases: &[BlobId]) {
        if bases.is_empty() {
            return;
        }
        self.frames.push(frame);
        self.bases.extend_from_slice(bases);
        self.ends.push(self.bases.len() as u32);
        self.known.push(AtomicU8::new(0));
    }

    /// The bases of a frame; none of one that stands alone.
    pub(super) fn bases_of(&self, frame: u32) -> &[BlobId] {
        match self.frames.binary_search(&frame) {
            Ok(at) => self.bases_at(at),
            Err(_) => &[],
        }
    }

    fn bases_at(&self, at: usize) -> &[BlobId] {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bases[start as usize..self.ends[at] as usize]
    }
}

impl Index {
    /// Whether there are delta frames.
    pub(crate) fn has_deltas(&self) -> bool {
        !self.deltas.frames.is_empty()
    }

    /// Whether the frame and all that it stands on is on such ground.
    pub(super) fn stands(&self, frame: u32, on: Ground) -> bool {
        if on == Ground::Lasting && self.pack_of(frame).is_condemned {
            return false;
        }
        let Ok(at) = self.deltas.frames.binary_search(&frame) else {
            return true;
        };
        let (yes, no) = match on {
            Ground::There => (1, 2),
            Ground::Lasting => (4, 8),
        };
        let known = self.deltas.known[at].load(Relaxed);
        if known & (yes | no) != 0 {
            return known & yes != 0;
        }
        // Depth falls with each step, so this ends.
        let depth = self.depth_of_frame(frame);
        let stands = self.deltas.bases_at(at).iter().all(|base| {
            self.entries_of(base).iter().any(|entry| {
                self.depth_of_frame(entry.frame) < depth && self.stands(entry.frame, on)
            })
        });
        // Others that ask meanwhile come to the same answer.
        self.deltas.known[at].fetch_or(if stands { yes } else { no }, Relaxed);
        stands
    }

    /// What a new frame may stand on in place of this blob, whose frame is too deep: on what that one stands on, or
    /// where it goes far back already, on the blobs that stand alone at the bottom. In order.
    pub(crate) fn below(&self, id: &BlobId) -> Vec<BlobId> {
        if let Some(frame) = self.lasting_frame(id)
            && !self.is_far(frame)
        {
            return self.deltas.bases_of(frame).to_vec();
        }
        let (mut roots, mut seen) = (Vec::new(), HashSet::new());
        self.add_roots(id, &mut seen, &mut roots);
        roots
    }

    /// Whether a delta spans several times as much change as the one right below it: a row of them that all stand on
    /// the same costs more with each.
    fn is_far(&self, frame: u32) -> bool {
        let below = self.deltas.bases_of(frame).iter();
        let below = below.filter_map(|base| self.lasting_frame(base));
        let Some(below) = below.max_by_key(|frame| self.depth_of_frame(*frame)) else {
            return true;
        };
        let (above, below) = (self.frames[frame as usize], self.frames[below as usize]);
        let share = |of: u32, plain: u32| u64::from(of) * u64::from(plain);
        share(above.stored_len, below.plain_len)
            > FAR_TIMES * share(below.stored_len, above.plain_len)
    }

    fn add_roots(&self, id: &BlobId, seen: &mut HashSet<BlobId>, roots: &mut Vec<BlobId>) {
        if !seen.insert(*id) {
            return;
        }
        match self.lasting_frame(id) {
            Some(frame) if self.depth_of_frame(frame) == 0 => roots.push(*id),
            Some(frame) => {
                for base in self.deltas.bases_of(frame) {
                    self.add_roots(base, seen, roots);
                }
            }
            None => {}
        }
    }

    /// What the frames decode to that have to be decoded for these blobs, each once.
    pub(crate) fn weight_of(&self, blobs: &[BlobId]) -> u64 {
        let mut weight = 0;
        let mut seen = HashSet::new();
        let mut rest: Vec<BlobId> = blobs.to_vec();
        while let Some(id) = rest.pop() {
            if let Some(frame) = self.lasting_frame(&id)
                && seen.insert(frame)
            {
                weight += u64::from(self.plain_len_of(frame));
                rest.extend_from_slice(self.deltas.bases_of(frame));
            }
        }
        weight
    }

    /// The least deep frame that holds the blob and may be referred to.
    pub(super) fn lasting_frame(&self, id: &BlobId) -> Option<u32> {
        let frames = self.entries_of(id).iter().map(|entry| entry.frame);
        frames
            .filter(|frame| self.stands(*frame, Ground::Lasting))
            .min_by_key(|frame| self.depth_of_frame(*frame))
    }

    /// Whether the blob can be read where some packs can not. `known` is for calls with the same packs.
    pub(crate) fn stands_without(
        &self,
        id: &BlobId,
        is_bad: &dyn Fn(u32) -> bool,
        known: &mut HashMap<u32, bool>,
    ) -> bool {
        let entries = self.entries_of(id).iter();
        let mut frames = entries.map(|entry| entry.frame);
        frames.any(|frame| self.frame_stands_without(frame, is_bad, known))
    }

    fn frame_stands_without(
        &self,
        frame: u32,
        is_bad: &dyn Fn(u32) -> bool,
        known: &mut HashMap<u32, bool>,
    ) -> bool {
        let bases = self.deltas.bases_of(frame);
        if is_bad(self.pack_number(frame)) || bases.is_empty() {
            return !is_bad(self.pack_number(frame));
        }
        if let Some(stands) = known.get(&frame) {
            return *stands;
        }
        let depth = self.depth_of_frame(frame);
        let stands = bases.iter().all(|base| {
            self.entries_of(base).iter().any(|entry| {
                self.depth_of_frame(entry.frame) < depth
                    && self.frame_stands_without(entry.frame, is_bad, known)
            })
        });
        known.insert(frame, stands);
        stands
    }
}
