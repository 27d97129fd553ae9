//! How hard zstd tries, by what a backup waits for. While finished packs wait for the store, cores have nothing to do: a
//! higher level costs no time then, and leaves less to upload. Otherwise the cores are what everything waits for.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// So many packs in a row had to wait: the store is the slow part, and not only this one pack.
const WAITS_MIN: u32 = 4;

/// zstd's levels for one session. Level 1 gives nearly the ratio of 3 at much more speed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    /// As a rule.
    pub level: i32,
    /// While the store is the slow part.
    pub while_waiting: i32,
}

impl Effort {
    /// The same level whatever is waited for: what is stored does not depend on time.
    pub const fn always(level: i32) -> Self {
        Self {
            level,
            while_waiting: level,
        }
    }
}

/// Notes what packs wait for, and says which level is right now.
pub(crate) struct Gauge {
    effort: Effort,
    waits: AtomicU32,
}

impl Gauge {
    pub(crate) fn new(effort: Effort) -> Self {
        let waits = AtomicU32::new(0);
        Self { effort, waits }
    }

    pub(crate) fn level(&self) -> i32 {
        match self.waits.load(Relaxed) {
            0..WAITS_MIN => self.effort.level,
            _ => self.effort.while_waiting,
        }
    }

    /// A pack was handed to the uploads, and had to wait or not.
    pub(crate) fn note(&self, has_waited: bool) {
        match has_waited {
            true => drop(self.waits.fetch_add(1, Relaxed)),
            false => self.waits.store(0, Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::repository::writer::effort::{Effort, Gauge};

    #[test]
    fn the_level_rises_while_packs_wait_and_falls_when_they_do_not() {
        let gauge = Gauge::new(Effort {
            level: 1,
            while_waiting: 3,
        });
        for has_waited in [true, true, true] {
            gauge.note(has_waited);
            assert_eq!(gauge.level(), 1);
        }
        gauge.note(true);
        assert_eq!(gauge.level(), 3);
        gauge.note(true);
        assert_eq!(gauge.level(), 3);
        gauge.note(false);
        assert_eq!(gauge.level(), 1);
    }
}
