//! Which packs a sample reads: an arc of the circle of their names, that begins where the last one ended. As
//! names are digests, an arc of a tenth of the circle holds about a tenth of the bytes.

use crate::model::ids::Digest;
use crate::model::units::Percent;
use crate::repository::check::State;
use crate::repository::format::manifest::Version;
use crate::repository::{Repository, RepositoryError, layout};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Names are told apart by their first two bytes.
const CIRCLE: u32 = 1 << 16;

/// `checks/…`: where the last sample ended, and what was damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct CheckNote {
    v: Version<1>,
    at: Timestamp,
    until: u16,
    damaged: Vec<Digest>,
}

/// Packs that a sample reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sample {
    from: u16,
    len: u32,
    /// Read besides, as they were damaged when they were last read.
    again: BTreeSet<Digest>,
}

impl Sample {
    fn new(from: u16, percent: Percent, again: BTreeSet<Digest>) -> Self {
        let len = (CIRCLE * u32::from(percent.0.min(100))).div_ceil(100);
        Self { from, len, again }
    }

    pub(super) fn includes(&self, pack: &Digest) -> bool {
        let place = u16::from_be_bytes([pack.0[0], pack.0[1]]);
        u32::from(place.wrapping_sub(self.from)) < self.len || self.again.contains(pack)
    }

    fn until(&self) -> u16 {
        // A whole turn ends where it began.
        self.from.wrapping_add(self.len as u16)
    }
}

impl Repository {
    /// The sample that follows the last one; somewhere, if none is remembered.
    pub(super) async fn next_sample(&self, percent: Percent) -> Result<Sample, RepositoryError> {
        let last: Option<CheckNote> = self.newest_note(layout::CHECKS).await?;
        Ok(match last {
            Some(last) => Sample::new(last.until, percent, last.damaged.into_iter().collect()),
            None => Sample::new(u16::from_be_bytes(self.random()), percent, BTreeSet::new()),
        })
    }

    /// Remembers what was read and found. `false` where nothing may be written, which is no reason for a
    /// check to fail.
    pub(super) async fn remember(
        &self,
        sample: Option<&Sample>,
        state: &State,
    ) -> Result<bool, RepositoryError> {
        let until = match sample {
            Some(sample) => sample.until(),
            None => {
                let last: Option<CheckNote> = self.newest_note(layout::CHECKS).await?;
                last.map_or(0, |last| last.until)
            }
        };
        let bad = state.bad.iter();
        let note = CheckNote {
            v: Version,
            at: self.now(),
            until,
            damaged: bad
                .map(|pack| state.index.packs[*pack as usize].name)
                .collect(),
        };
        match self.note(layout::CHECKS, &note).await {
            Ok(()) => Ok(true),
            Err(RepositoryError::Store(e)) if e.kind.is_refusal() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::model::ids::Digest;
    use crate::model::units::Percent;
    use crate::repository::check::sample::Sample;
    use std::collections::BTreeSet;

    #[test]
    fn a_hundred_percent_in_samples_read_each_pack_once_wherever_they_begin() {
        for (percent, start) in [(1, 7), (10, 65_000), (25, 0), (30, 1), (100, 9)] {
            let mut times = vec![0_u32; 1 << 16];
            let mut from = start;
            let turns = 100_u8.div_ceil(percent);
            for _ in 0..turns {
                let sample = Sample::new(from, Percent(percent), BTreeSet::new());
                for (place, times) in times.iter_mut().enumerate() {
                    let mut name = [0; 32];
                    name[..2].copy_from_slice(&(place as u16).to_be_bytes());
                    *times += u32::from(sample.includes(&Digest(name)));
                }
                from = sample.until();
            }
            assert!(times.iter().all(|n| *n >= 1), "{percent} %");
            // What is read twice is where the turn began, when it does not come out even.
            let twice = times.iter().filter(|n| **n > 1).count();
            let most = usize::from(turns) * usize::from(percent) * 656 - (1 << 16);
            assert!(twice <= most, "{percent} %: {twice}");
        }
    }
}
