//! Where timelines came from. A server that is promoted, or that has recovered to a moment, goes on on a new
//! timeline and leaves a file that says at which place of which older ones it left off.

use crate::model::wal::name::Lsn;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The ancestors of one timeline.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct History {
    /// The timeline.
    pub timeline: u32,
    /// Its ancestors, oldest first.
    pub forks: Vec<Fork>,
}

/// One ancestor.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub struct Fork {
    /// The ancestor.
    pub timeline: u32,
    /// Where it was left.
    pub until: Lsn,
}

impl History {
    /// Reads the text of `<timeline>.history`; `None` when it is none.
    pub fn read(timeline: u32, text: &str) -> Option<Self> {
        let mut forks: Vec<Fork> = Vec::new();
        let lines = text.lines().map(str::trim);
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let mut words = line.split_whitespace();
            let fork = Fork {
                timeline: words.next()?.parse().ok()?,
                until: words.next()?.parse().ok()?,
            };
            let follows = forks
                .last()
                .is_none_or(|last| last.timeline < fork.timeline);
            if !follows || fork.timeline >= timeline {
                return None;
            }
            forks.push(fork);
        }
        (!forks.is_empty()).then_some(Self { timeline, forks })
    }
}

#[cfg(test)]
mod tests {
    use crate::model::wal::{Fork, History, Lsn};

    #[test]
    fn a_history_names_its_ancestors_in_order() {
        let text =
            "1\t0/5000148\tno recovery target specified\n\n2\t0/70000A0\tbefore 2026-11-26\n";
        let fork = |timeline, until| Fork {
            timeline,
            until: Lsn(until),
        };
        let want = History {
            timeline: 3,
            forks: vec![fork(1, 0x500_0148), fork(2, 0x700_00A0)],
        };
        assert_eq!(History::read(3, text), Some(want));
        for wrong in ["", "x", "1", "3\t0/1\t", "2\t0/1\t\n1\t0/2\t"] {
            assert_eq!(History::read(3, wrong), None, "{wrong}");
        }
    }
}
