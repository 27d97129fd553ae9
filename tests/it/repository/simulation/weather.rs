//! What a schedule is like: how much goes wrong in it, how fast time passes, how much is pruned. By its seed.

use crate::repository::simulation::broken::Broken;
use crate::repository::simulation::dice::Dice;
use ccb::model::units::{Percent, Period};
use ccb::repository::{PruneRequest, Repack};

/// Everything goes at once.
pub(super) const NOW: PruneRequest = PruneRequest {
    trash: Period::hours(0),
    grace: Period::hours(0),
    repack: Repack {
        unused_max: Percent(0),
        budget_bytes: u64::MAX,
    },
};

const NEVER: u64 = u64::MAX;

/// How a schedule is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    pub(super) seed: u64,
    pub(super) broken: Broken,
    /// How many calls are let through.
    pub(super) turns: u32,
}

/// What a schedule is like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weather {
    /// One call in so many goes wrong.
    pub(super) faults: u64,
    /// One call in so many arrives once more, later.
    pub(super) echoes: u64,
    /// One host in so many turns is killed.
    pub(super) deaths: u64,
    /// One turn in so many, time passes.
    pub(super) jumps: u64,
    /// So many seconds pass then: one of these.
    pub(super) seconds: &'static [i64],
    /// One listing in so many takes a while.
    pub(super) slow: u64,
    /// Of a hundred lives, so many prune.
    pub(super) prunes: u64,
    pub(super) prune: PruneRequest,
    /// How many hosts there are at most.
    pub(super) hosts_max: usize,
    /// How many calls a host has on their way at most.
    pub(super) at_once_max: usize,
}

impl Weather {
    pub(super) fn of(dice: &mut Dice) -> Self {
        match dice.roll(5) {
            // Everybody is quick and healthy, and everything that nobody needs goes at once: most of what
            // can go wrong between hosts needs no trouble but their order.
            0..3 => Self {
                faults: NEVER,
                echoes: dice.any(&[NEVER, NEVER, 8]),
                deaths: dice.any(&[400, 1200]),
                jumps: dice.any(&[30, 60, 200]),
                seconds: &[1200, 1200, 1200, 9000],
                slow: dice.any(&[NEVER, 8]),
                prunes: dice.any(&[35, 50]),
                prune: PruneRequest {
                    trash: Period::hours(dice.any(&[0, 0, 0, 2])),
                    ..NOW
                },
                hosts_max: dice.any(&[2, 3, 4]) as usize,
                at_once_max: 1,
            },
            _ => Self::rough(dice),
        }
    }

    /// The same, and nothing happens any more.
    pub(super) fn calmed(self) -> Self {
        Self {
            faults: NEVER,
            echoes: NEVER,
            deaths: NEVER,
            jumps: NEVER,
            ..self
        }
    }

    fn rough(dice: &mut Dice) -> Self {
        let (faults, deaths) = (
            dice.any(&[40, 150, 500, NEVER]),
            dice.any(&[150, 400, 1200, NEVER]),
        );
        let grace = Period::hours(dice.any(&[0, 0, 0, 1, 24]));
        Self {
            faults,
            echoes: dice.any(&[NEVER, 20]),
            deaths,
            jumps: dice.any(&[25, 40, 100, 300]),
            seconds: &[30, 310, 1200, 1200, 4000, 90_000],
            slow: dice.any(&[4, 10, 40]),
            prunes: dice.any(&[25, 40]),
            prune: PruneRequest {
                trash: Period::hours(dice.any(&[0, 0, 0, 3])),
                grace,
                ..NOW
            },
            hosts_max: dice.any(&[3, 4]) as usize,
            at_once_max: dice.any(&[1, 1, 4]) as usize,
        }
    }
}
