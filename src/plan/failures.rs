//! Reads from the records of runs how often in a row backing a component up, or looking at it, failed. Facts only.

use crate::model::ids::Address;
use crate::model::inventory::Inventory;
use crate::model::records::{RunRecord, StepOutcome};
use crate::model::strategy::{Component, Strategy};
use std::collections::BTreeMap;

/// Failures in a row, up to the newest run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Streak {
    /// How many runs.
    pub failures: u64,
    /// What the newest of them said.
    pub last_error: Option<String>,
}

impl Streak {
    /// Runs are recorded at several destinations; each counts once.
    pub(crate) fn of(strategy: &Strategy, inventory: &Inventory, component: &Component) -> Self {
        Self::of_verb("back up", strategy, inventory, component)
    }

    /// The same of another verb.
    pub(crate) fn of_verb(
        verb: &str,
        strategy: &Strategy,
        inventory: &Inventory,
        component: &Component,
    ) -> Self {
        let runs: BTreeMap<_, &RunRecord> = inventory
            .destinations
            .values()
            .flat_map(|holding| &holding.runs)
            .filter(|run| run.plan == strategy.name && run.environment == strategy.environment)
            .map(|run| ((run.started, run.run), run))
            .collect();
        let of = Address::component(&component.name);
        let mut streak = Self::default();
        for run in runs.values().rev() {
            let backups = run
                .steps
                .iter()
                .filter(|s| s.verb == verb && s.address.is_within(&of));
            let (mut failed, mut done) = (None, false);
            for step in backups {
                match step.outcome {
                    StepOutcome::Failed => failed = Some(step.message.clone().unwrap_or_default()),
                    StepOutcome::Done => done = true,
                    StepOutcome::Skipped => {}
                }
            }
            match failed {
                Some(message) => {
                    streak.failures += 1;
                    streak.last_error.get_or_insert(message);
                }
                None if done => break,
                None => {}
            }
        }
        streak
    }
}
