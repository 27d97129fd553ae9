//! What each pack is good for: for every needed blob one pack is chosen that keeps it, and what is in no use in
//! that pack is told. Pure: from a survey.

use crate::model::ids::Digest;
use crate::repository::prune::survey::{Place, Survey};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

/// What packs are good for, by their number in the index.
pub(super) struct Usage {
    pub(super) packs: Vec<PackUse>,
}

/// What one pack is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct PackUse {
    /// What its frames take.
    pub(super) bytes: u64,
    /// What those take that it was chosen for. 0: nothing needs it.
    pub(super) used_bytes: u64,
    /// It is condemned, and holds what is in no pack that is not.
    pub(super) is_stranded: bool,
}

impl Usage {
    pub(super) fn of(survey: &Survey) -> Self {
        let packs = &survey.index.packs;
        let mut usage = Self {
            packs: vec![PackUse::default(); packs.len()],
        };
        let sizes: Vec<(u32, u64)> = survey.index.frame_sizes().collect();
        for (pack, size) in &sizes {
            usage.packs[*pack as usize].bytes += size;
        }
        for (_, places) in survey.needed() {
            let is_condemned = |place: &Place| packs[place.pack as usize].is_condemned;
            if places.iter().all(is_condemned) {
                usage.strand(places);
            }
        }
        Cover::of(survey, &sizes).choose(survey, &mut usage.packs);
        usage
    }

    fn strand(&mut self, places: &[Place]) {
        for place in places {
            self.packs[place.pack as usize].is_stranded = true;
        }
    }

    /// The packs that were chosen.
    pub(super) fn kept(&self, survey: &Survey) -> BTreeSet<Digest> {
        let packs = self.packs.iter().zip(&survey.index.packs);
        packs
            .filter(|(usage, _)| usage.used_bytes > 0)
            .map(|(_, pack)| pack.name)
            .collect()
    }

    /// What takes room in packs that stay, and is of no use.
    pub(super) fn unused_bytes(&self) -> u64 {
        self.staying().map(PackUse::unused_bytes).sum()
    }

    /// What packs that stay take.
    pub(super) fn staying_bytes(&self) -> u64 {
        self.staying().map(|pack| pack.bytes).sum()
    }

    fn staying(&self) -> impl Iterator<Item = &PackUse> {
        self.packs.iter().filter(|pack| pack.used_bytes > 0)
    }
}

impl PackUse {
    pub(super) fn unused_bytes(&self) -> u64 {
        self.bytes - self.used_bytes
    }
}

/// Needed blobs that no chosen pack holds yet. Packs are chosen one after the other: always the one of which
/// the largest part holds such blobs. So what was moved out of a pack is found in the new one, which is of use
/// as a whole, and not in the old one, however full that is of what others hold as well.
struct Cover<'a> {
    /// The pack of each frame, and what it takes.
    frames: &'a [(u32, u64)],
    /// How many blobs of each frame are still to be held.
    wanted: Vec<u32>,
    /// What those frames of each pack take.
    gains: Vec<u64>,
    /// Where each needed blob is; nowhere once a chosen pack holds it.
    places: Vec<&'a [Place]>,
    /// The needed blobs of each pack, by number.
    blobs: Vec<Vec<u32>>,
}

impl<'a> Cover<'a> {
    fn of(survey: &'a Survey, frames: &'a [(u32, u64)]) -> Self {
        let packs = &survey.index.packs;
        let mut cover = Self {
            frames,
            wanted: vec![0; frames.len()],
            gains: vec![0; packs.len()],
            places: Vec::new(),
            blobs: vec![Vec::new(); packs.len()],
        };
        for (_, places) in survey.needed() {
            let number = cover.places.len() as u32;
            cover.places.push(places);
            for place in places {
                if packs[place.pack as usize].is_condemned {
                    continue;
                }
                let wanted = &mut cover.wanted[place.frame as usize];
                if *wanted == 0 {
                    cover.gains[place.pack as usize] += frames[place.frame as usize].1;
                }
                *wanted += 1;
                cover.blobs[place.pack as usize].push(number);
            }
        }
        cover
    }

    /// Chooses until every blob is held that a pack holds which is not condemned.
    fn choose(mut self, survey: &Survey, packs: &mut [PackUse]) {
        let worth = |pack: usize, gain: u64, of: &PackUse| {
            let share = u128::from(gain) * 1_000_000 / u128::from(of.bytes.max(1));
            (share, gain, Reverse(survey.index.packs[pack].name), pack)
        };
        let gains = self.gains.iter().enumerate();
        let mut best: BinaryHeap<_> = gains
            .filter(|(_, gain)| **gain > 0)
            .map(|(pack, gain)| worth(pack, *gain, &packs[pack]))
            .collect();
        while let Some(promised) = best.pop() {
            let pack = promised.3;
            let gain = self.gains[pack];
            let now = worth(pack, gain, &packs[pack]);
            if gain > 0 && now < promised {
                // Others hold a part of it by now.
                best.push(now);
            } else if gain > 0 {
                packs[pack].used_bytes = gain;
                self.take(pack);
            }
        }
    }

    /// What this pack holds is to be held by no other.
    fn take(&mut self, pack: usize) {
        for blob in std::mem::take(&mut self.blobs[pack]) {
            for place in std::mem::take(&mut self.places[blob as usize]) {
                // Condemned packs were not counted.
                let Some(left) = self.wanted[place.frame as usize].checked_sub(1) else {
                    continue;
                };
                self.wanted[place.frame as usize] = left;
                if left == 0 {
                    self.gains[place.pack as usize] -= self.frames[place.frame as usize].1;
                }
            }
        }
    }
}
