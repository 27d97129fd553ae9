//! What a run leaves behind at the destinations, and the exit code that it comes to.

use crate::cli::exit::{Exit, chain};
use crate::cli::output;
use crate::model::holder::Holder;
use crate::model::ids::DestinationName;
use crate::model::records::{PlanText, RunRecord, StepOutcome, StepRecord, Version};
use crate::model::strategy::{SourceFile, Strategy};
use crate::plan::report::{FailureKind, Outcome, RunReport, StepReport};
use crate::plan::{Action, BackupRef, CheckSpec, Plan, Step, StepId};
use crate::repository::Repository;

/// The run as the repositories keep it.
pub fn run_record(report: &RunReport, strategy: &Strategy) -> RunRecord {
    RunRecord {
        v: Version,
        run: report.run,
        started: report.started,
        finished: report.finished,
        plan: strategy.name.clone(),
        environment: strategy.environment.clone(),
        config: report.config,
        files: texts(strategy),
        steps: report.steps.iter().map(step_record).collect(),
    }
}

/// The record that a run would leave if it did nothing.
pub fn not_begun(holder: &Holder, plan: &Plan, strategy: &Strategy) -> RunRecord {
    let step = |step: &Step| StepRecord {
        address: step.address.clone(),
        verb: step.action.verb().to_owned(),
        outcome: StepOutcome::Skipped,
        message: None,
        backup: None,
    };
    RunRecord {
        v: Version,
        run: holder.run,
        started: holder.since,
        finished: holder.since,
        plan: strategy.name.clone(),
        environment: strategy.environment.clone(),
        config: plan.config,
        files: texts(strategy),
        steps: plan.steps.iter().map(step).collect(),
    }
}

fn texts(strategy: &Strategy) -> Vec<PlanText> {
    let text = |file: &SourceFile| PlanText {
        path: file.path.clone(),
        text: file.text.clone(),
    };
    strategy.files.iter().map(text).collect()
}

/// Leaves the record of a run at every destination that is open, for the next plan. A run is not less done
/// when its record can not be written; that is said.
pub async fn leave(record: &RunRecord, repositories: &[(DestinationName, Repository)]) {
    for (name, repository) in repositories {
        if let Err(error) = repository.record_run(record).await {
            let (run, why) = (record.run.short(), chain(&error));
            output::say(&format!(
                "Warning: the record of run {run} is not at destination.{name}: {why}"
            ));
        }
    }
}

/// What became of a step, for a record.
pub fn step_record(step: &StepReport) -> StepRecord {
    let (outcome, message, backup) = match &step.outcome {
        Outcome::Done(done) => (StepOutcome::Done, None, done.backup),
        Outcome::Failed(failure) => (StepOutcome::Failed, Some(failure.chain.join(" > ")), None),
        Outcome::Skipped { .. } | Outcome::NotReached => (StepOutcome::Skipped, None, None),
    };
    StepRecord {
        address: step.address.clone(),
        verb: step.verb.clone(),
        outcome,
        message,
        backup,
    }
}

/// The exit code of a run that was carried out; `ended` is why it was ended early.
pub fn exit_of(report: &RunReport, plan: &Plan, ended: Option<Exit>) -> Exit {
    let mut exit = match report.is_complete() {
        true => Exit::Ok,
        false => Exit::Incomplete,
    };
    for step in &report.steps {
        if let Outcome::Failed(failure) = &step.outcome {
            exit = exit.and(match failure.kind {
                FailureKind::Verification if is_known_incomplete(report, plan, step.id) => {
                    Exit::Incomplete
                }
                FailureKind::Verification => Exit::Damaged,
                FailureKind::Key => Exit::Key,
                FailureKind::Unreachable => Exit::Absent,
                FailureKind::Locked => Exit::Locked,
                FailureKind::Other => Exit::Incomplete,
            });
        }
    }
    ended.map_or(exit, |ended| exit.and(ended))
}

/// Whether a check of contents failed on a backup that this run made and marked incomplete: what it misses is
/// said, and nothing is damaged.
fn is_known_incomplete(report: &RunReport, plan: &Plan, check: StepId) -> bool {
    let Some(Action::Verify {
        backup: BackupRef::Of(of),
        check: CheckSpec::Contents,
        ..
    }) = plan.step(check).map(|step| &step.action)
    else {
        return false;
    };
    let made = report.steps.iter().find(|step| step.id == *of);
    made.is_some_and(|step| matches!(&step.outcome, Outcome::Done(done) if done.left_out_count > 0))
}
