//! What each pack is good for: for every needed blob one pack is chosen that keeps it, and what is in no use in
//! that pack is told. Pure: from a survey.

use crate::model::ids::Digest;
use crate::repository::prune::survey::{Place, Survey};
use std::cmp::Reverse;
use std::collections::BTreeSet;

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
        let useful = useful_bytes(survey, &sizes);
        let mut counted = vec![false; sizes.len()];
        for (_, places) in survey.needed() {
            let kept = places
                .iter()
                .filter(|place| !packs[place.pack as usize].is_condemned);
            // The fullest pack: it stays longest as it is, and what moved out of another is found in it.
            let best = kept.min_by_key(|place| {
                let at = place.pack as usize;
                let waste = usage.packs[at].bytes - useful[at];
                let share = waste.saturating_mul(1_000_000) / usage.packs[at].bytes.max(1);
                (share, Reverse(useful[at]), packs[at].name)
            });
            let Some(best) = best else {
                usage.strand(places);
                continue;
            };
            if !std::mem::replace(&mut counted[best.frame as usize], true) {
                usage.packs[best.pack as usize].used_bytes += sizes[best.frame as usize].1;
            }
        }
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

/// What the frames take in each pack that hold anything needed, whichever pack is chosen for it.
fn useful_bytes(survey: &Survey, sizes: &[(u32, u64)]) -> Vec<u64> {
    let mut useful = vec![0; survey.index.packs.len()];
    let mut counted = vec![false; sizes.len()];
    for place in survey.needed().flat_map(|(_, places)| places) {
        if !std::mem::replace(&mut counted[place.frame as usize], true) {
            useful[place.pack as usize] += sizes[place.frame as usize].1;
        }
    }
    useful
}
