//! Many schedules, a few one after another in each of several processes. Tells how far it is, sums up what happened,
//! and tells of each violation how to see it again; one does not end the others.

use crate::repository::simulation::Outcome;
use crate::repository::simulation::alone::{Prints, beside, do_alone, processors};
use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use std::sync::Mutex;

/// So many schedules are run by one process at most.
const BLOCK_MAX: u64 = 25;
/// So many parts there are for each processor at least, so that none is idle for long in the end.
const BLOCKS_EACH: u64 = 8;

/// What came of many schedules.
#[derive(Default)]
pub(super) struct Sum {
    pub(super) done: u64,
    pub(super) counts: BTreeMap<String, u64>,
    pub(super) violations: Vec<String>,
}

/// Runs the schedules of these seeds by the test `name`. What happens is told at once if it is asked for.
pub(super) fn run_all(name: &str, seeds: Range<u64>, is_told: bool) -> Sum {
    let many = seeds.end - seeds.start;
    let parts = processors().len() as u64 * BLOCKS_EACH;
    let block = (many / parts).clamp(1, BLOCK_MAX);
    let blocks = seeds.clone().step_by(block as usize);
    let blocks = blocks.map(|first| first..seeds.end.min(first + block));
    let sum = Mutex::new(Sum::default());
    beside(blocks, |block, processor| {
        run_block((name, processor), block, &|seed, outcome| {
            let mut sum = sum.lock().unwrap();
            let said = sum.add(seed, outcome);
            if is_told {
                tell(said);
                tell(sum.done.is_multiple_of(1000).then(|| sum.how_far(many)));
            }
        });
    });
    let sum = sum.into_inner().unwrap();
    if is_told {
        tell(Some(sum.how_far(many)));
        for (what, count) in &sum.counts {
            tell(Some(format!("{count:>10} {what}")));
        }
    }
    sum
}

/// Runs schedules one after another. A process that ends before it should has ended by the one it was at.
fn run_block((name, processor): (&str, usize), mut seeds: Range<u64>, add: &dyn Fn(u64, Outcome)) {
    while !seeds.is_empty() {
        let job = format!("{}..{}", seeds.start, seeds.end);
        let output = do_alone(name, &job, processor, Prints::ToBeRead);
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let outcome = line.split_once(Outcome::MARK).map(|(_, rest)| rest);
            if let Some(outcome) = outcome.and_then(|rest| serde_json::from_str(rest).ok()) {
                add(seeds.start, outcome);
                seeds.start += 1;
            }
        }
        if !seeds.is_empty() {
            let said = String::from_utf8_lossy(&output.stderr);
            let broken = Some(format!("its process ended: {}: {said}", output.status));
            let outcome = Outcome {
                broken,
                ..Outcome::default()
            };
            add(seeds.start, outcome);
            seeds.start += 1;
        }
    }
}

impl Sum {
    /// Adds what came of one. Returns what to say if it may never be.
    fn add(&mut self, seed: u64, outcome: Outcome) -> Option<String> {
        self.done += 1;
        for (what, count) in outcome.counts {
            *self.counts.entry(what).or_default() += count;
        }
        let what = outcome.broken?;
        let given = ["CCB_BROKEN", "CCB_TURNS"].map(|name| match std::env::var(name) {
            Ok(value) => format!("{name}={value} "),
            Err(_) => String::new(),
        });
        let given = given.concat();
        let said =
            format!("seed {seed}: {what}\n  replay: {given}CCB_SEED={seed} tests/run simulation");
        self.violations.push(said.clone());
        Some(said)
    }

    fn how_far(&self, many: u64) -> String {
        let violations = self.violations.len();
        format!("{} of {many} schedules, {violations} violations", self.done)
    }
}

/// Past what keeps the output of a test that goes well.
fn tell(what: Option<String>) {
    if let Some(what) = what {
        let _ = writeln!(std::io::stdout(), "{what}");
    }
}
