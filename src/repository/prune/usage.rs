//! What each pack is good for: for every needed blob one pack is chosen that keeps it, and what is in no use in
//! that pack is told: of a frame that holds several blobs, as much as they have of it. Pure: from a survey.

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
    /// For how many blobs it was chosen. 0: nothing needs it.
    pub(super) used_blobs: u32,
    /// Their share of that.
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
        for (pack, size) in survey.index.frame_sizes() {
            usage.packs[pack as usize].bytes += size;
        }
        for (_, places) in survey.needed() {
            let is_condemned = |place: &Place| packs[place.pack as usize].is_condemned;
            if places.iter().all(is_condemned) {
                usage.strand(places);
            }
        }
        Cover::of(survey).choose(survey, &mut usage.packs);
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
            .filter(|(usage, _)| usage.is_used())
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
        self.packs.iter().filter(|pack| pack.is_used())
    }
}

impl PackUse {
    /// Whether it was chosen for anything.
    pub(super) fn is_used(&self) -> bool {
        self.used_blobs > 0
    }

    pub(super) fn unused_bytes(&self) -> u64 {
        self.bytes.saturating_sub(self.used_bytes)
    }
}

/// Needed blobs that no chosen pack holds yet. Packs are chosen one after the other: always the one of which
/// the largest part holds such blobs. So what was moved out of a pack is found in the new one, which is of use
/// as a whole, and not in the old one, however full that is of what others hold as well.
struct Cover<'a> {
    /// What is still to be held, of each pack.
    gains: Vec<Gain>,
    /// Where each needed blob is; nowhere once a chosen pack holds it.
    places: Vec<&'a [Place]>,
    /// The needed blobs of each pack, by number.
    blobs: Vec<Vec<u32>>,
}

/// Blobs that are still to be held, and their share of what a pack takes.
#[derive(Clone, Copy, Default)]
struct Gain {
    blobs: u32,
    bytes: u64,
}

impl<'a> Cover<'a> {
    fn of(survey: &'a Survey) -> Self {
        let packs = &survey.index.packs;
        let mut cover = Self {
            gains: vec![Gain::default(); packs.len()],
            places: Vec::new(),
            blobs: vec![Vec::new(); packs.len()],
        };
        for (_, places) in survey.needed() {
            let number = cover.places.len() as u32;
            cover.places.push(places);
            for place in places {
                let pack = place.pack as usize;
                if packs[pack].is_condemned {
                    continue;
                }
                cover.gains[pack].blobs += 1;
                cover.gains[pack].bytes += u64::from(place.share);
                cover.blobs[pack].push(number);
            }
        }
        cover
    }

    /// Chooses until every blob is held that a pack holds which is not condemned.
    fn choose(mut self, survey: &Survey, packs: &mut [PackUse]) {
        let worth = |pack: usize, gain: Gain, of: &PackUse| {
            let share = u128::from(gain.bytes) * 1_000_000 / u128::from(of.bytes.max(1));
            let name = Reverse(survey.index.packs[pack].name);
            (share, gain.bytes, gain.blobs, name, pack)
        };
        let gains = self.gains.iter().enumerate();
        let mut best: BinaryHeap<_> = gains
            .filter(|(_, gain)| gain.blobs > 0)
            .map(|(pack, gain)| worth(pack, *gain, &packs[pack]))
            .collect();
        while let Some(promised) = best.pop() {
            let pack = promised.4;
            let gain = self.gains[pack];
            if gain.blobs == 0 {
                continue;
            }
            let now = worth(pack, gain, &packs[pack]);
            if now < promised {
                // Others hold a part of it by now.
                best.push(now);
            } else {
                packs[pack].used_blobs = gain.blobs;
                packs[pack].used_bytes = gain.bytes;
                self.take(pack);
            }
        }
    }

    /// What this pack holds is to be held by no other.
    fn take(&mut self, pack: usize) {
        for blob in std::mem::take(&mut self.blobs[pack]) {
            for place in std::mem::take(&mut self.places[blob as usize]) {
                let gain = &mut self.gains[place.pack as usize];
                // Condemned packs were not counted.
                gain.blobs = gain.blobs.saturating_sub(1);
                gain.bytes = gain.bytes.saturating_sub(u64::from(place.share));
            }
        }
    }
}
