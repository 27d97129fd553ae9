//! What killed runs left, as their journals tell. A line that was cut off is passed over; nothing here can
//! stop a run.

use crate::cli::journal::{Line, Planned, append, journals};
use crate::cli::{process, world};
use crate::model::holder::Holder;
use crate::model::ids::RunId;
use crate::model::records::{RunRecord, StepOutcome};
use crate::model::units::to_minute;
use crate::plan::StepId;
use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

/// What is recorded of a step that was under way when its run was killed.
const KILLED: &str =
    "the run was killed while this was under way; what it had uploaded is used by the next one";
/// Steps that are named; the rest are counted.
const NAMED: usize = 5;

/// A run that was killed.
#[derive(Debug)]
pub struct Left {
    path: PathBuf,
    holder: Holder,
    steps: Vec<Planned>,
    begun: BTreeSet<StepId>,
    ended: BTreeSet<StepId>,
    /// What it did, for the destinations.
    pub record: RunRecord,
}

/// Runs of a plan file that were killed, and that nobody has told of yet; oldest first.
pub fn left(folder: &Path) -> Vec<Left> {
    journals(folder)
        .iter()
        .filter_map(|path| read(path))
        .collect()
}

fn read(path: &Path) -> Option<Left> {
    let text = fs::read_to_string(path).ok()?;
    let mut lines = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let Line::Begin {
        holder,
        record,
        steps,
    } = lines.next()?
    else {
        return None;
    };
    let mut left = Left {
        path: path.to_owned(),
        holder,
        steps,
        begun: BTreeSet::new(),
        ended: BTreeSet::new(),
        record,
    };
    for line in lines {
        left.take(line)?;
    }
    left.mark_killed();
    process::has_ended(&left.holder).then_some(left)
}

impl Left {
    /// `None` when the run ended by itself, or was told of.
    fn take(&mut self, line: Line) -> Option<()> {
        match line {
            Line::Begin { .. } | Line::Finish { .. } | Line::Told { .. } => return None,
            Line::Start { at, id } => {
                self.record.finished = at;
                self.begun.insert(id);
            }
            Line::End { at, step } => {
                self.record.finished = at;
                self.ended.insert(step.id);
                let place = self.steps.iter().position(|planned| planned.id == step.id);
                if let Some(record) = place.and_then(|at| self.record.steps.get_mut(at)) {
                    *record = crate::cli::apply::step_record(&step);
                }
            }
        }
        Some(())
    }

    fn mark_killed(&mut self) {
        for (planned, record) in self.steps.iter().zip(&mut self.record.steps) {
            if self.begun.contains(&planned.id) && !self.ended.contains(&planned.id) {
                record.outcome = StepOutcome::Failed;
                record.message = Some(KILLED.to_owned());
            }
        }
    }

    /// What happened, in a sentence.
    pub fn words(&self) -> String {
        let done = self.record.steps.iter();
        let done = done
            .filter(|step| step.outcome == StepOutcome::Done)
            .count();
        let cut = self.steps.iter().zip(&self.record.steps);
        let cut: Vec<String> = cut
            .filter(|(planned, _)| {
                self.begun.contains(&planned.id) && !self.ended.contains(&planned.id)
            })
            .map(|(planned, step)| format!("{} {}", step.verb, planned.what))
            .collect();
        let more = match cut.len().saturating_sub(NAMED) {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        let cut = match cut.is_empty() {
            true => String::new(),
            false => format!(
                ", under way: {}{more}",
                cut[..cut.len().min(NAMED)].join(", ")
            ),
        };
        format!(
            "Warning: run {} of {} was ended in the middle: {done} of {} steps done{cut}. Nothing of that is lost; this run goes on from there.",
            self.holder.run.short(),
            to_minute(self.holder.since),
            self.steps.len()
        )
    }

    /// Notes that `by` has told of it, so that no later run does.
    pub fn told(&self, by: RunId) {
        let at = world::now();
        let file = OpenOptions::new().append(true).open(&self.path);
        // If that fails it is told once more.
        let _ = file.and_then(|mut file| append(&mut file, &Line::Told { at, by }));
    }
}
