//! Walks the plan's graph: a step starts when all it needs is done, and is skipped when one of them was
//! not. At most so many run at once; the plan's order decides who is first.

use crate::apply::{Hands, StepError, perform};
use crate::plan::report::{Outcome, RunReport, StepReport};
use crate::plan::{Action, Plan, Step, StepId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Hears of a run while it goes on, from several threads.
pub trait Monitor: Send + Sync {
    /// A step begins.
    fn started(&self, step: &Step);
    /// So many more files and bytes of it are done.
    fn advanced(&self, step: StepId, files: u64, bytes: u64);
    /// A step ended, or will not be tried.
    fn ended(&self, step: &Step, report: &StepReport);
}

/// Watches nothing.
pub struct Quiet;

impl Monitor for Quiet {
    fn started(&self, _step: &Step) {}
    fn advanced(&self, _step: StepId, _files: u64, _bytes: u64) {}
    fn ended(&self, _step: &Step, _report: &StepReport) {}
}

/// Carries `plan` out, `at_once` steps at a time, until it is done or `interrupted` turns true: then
/// running steps are dropped, which leaves no half backup, and the rest is not reached.
pub async fn run(
    plan: &Plan,
    hands: &Hands,
    at_once: usize,
    monitor: Arc<dyn Monitor>,
    mut interrupted: watch::Receiver<bool>,
) -> RunReport {
    let started = (hands.surroundings().now)();
    let mut walk = Walk::new(plan, monitor);
    let mut running = JoinSet::new();
    let mut was_interrupted = *interrupted.borrow();
    while !was_interrupted {
        walk.skip_hopeless();
        while running.len() < at_once.max(1) {
            let Some(step) = walk.next_ready() else { break };
            let (step, hands, monitor) = (step.clone(), hands.clone(), walk.monitor.clone());
            monitor.started(&step);
            let began = tokio::time::Instant::now();
            running.spawn(async move {
                let outcome = perform(&step, &hands, &monitor).await;
                (step.id, outcome, began.elapsed())
            });
        }
        tokio::select! {
            ended = running.join_next_with_id() => match ended {
                None => break,
                Some(Ok((_, (id, outcome, took)))) => walk.end(id, outcome, took),
                Some(Err(crash)) => walk.end_crashed(&crash.to_string()),
            },
            _ = interrupted.wait_for(|on| *on) => was_interrupted = true,
        }
    }
    running.shutdown().await;
    RunReport {
        run: hands.run(),
        config: plan.config,
        started,
        finished: (hands.surroundings().now)(),
        interrupted: was_interrupted,
        steps: walk.into_reports(),
    }
}

struct Walk<'a> {
    plan: &'a Plan,
    monitor: Arc<dyn Monitor>,
    running: Vec<StepId>,
    ended: BTreeMap<StepId, StepReport>,
}

impl<'a> Walk<'a> {
    fn new(plan: &'a Plan, monitor: Arc<dyn Monitor>) -> Self {
        Self {
            plan,
            monitor,
            running: Vec::new(),
            ended: BTreeMap::new(),
        }
    }

    fn is_done(&self, id: &StepId) -> bool {
        let ended = self.ended.get(id);
        ended.is_some_and(|report| matches!(report.outcome, Outcome::Done(_)))
    }

    /// The first step of the plan that has not begun and whose needs are all done.
    fn next_ready(&mut self) -> Option<&'a Step> {
        let step = self.plan.steps.iter().find(|step| {
            !self.ended.contains_key(&step.id)
                && !self.running.contains(&step.id)
                && step.needs.iter().all(|need| self.is_done(need))
                && !self.stores_what_another_stores(step)
        })?;
        self.running.push(step.id);
        Some(step)
    }

    /// Whether a backup of the same component is on its way to the same place: what the two share would be read, and
    /// stored there, twice.
    fn stores_what_another_stores(&self, step: &Step) -> bool {
        let copied = |action: &'a Action| match action {
            Action::Copy { component, to, .. } => Some((component, to)),
            _ => None,
        };
        let running = self.running.iter().filter_map(|id| self.plan.step(*id));
        let mut running = running.filter_map(|step| copied(&step.action));
        let mine = self
            .plan
            .step(step.id)
            .and_then(|step| copied(&step.action));
        mine.is_some_and(|mine| running.any(|other| other == mine))
    }

    /// Marks what can not be done any more. Needs come before what needs them, so one pass is enough.
    fn skip_hopeless(&mut self) {
        for step in &self.plan.steps {
            if self.ended.contains_key(&step.id) || self.running.contains(&step.id) {
                continue;
            }
            let bad = step
                .needs
                .iter()
                .find(|need| self.ended.contains_key(need) && !self.is_done(need));
            if let Some(because_of) = bad.copied() {
                self.finish(step, Outcome::Skipped { because_of }, Duration::ZERO);
            }
        }
    }

    fn end(
        &mut self,
        id: StepId,
        outcome: Result<crate::plan::report::Done, StepError>,
        took: Duration,
    ) {
        self.running.retain(|running| *running != id);
        let Some(step) = self.plan.step(id) else {
            return;
        };
        let outcome = match outcome {
            Ok(done) => Outcome::Done(done),
            Err(error) => Outcome::Failed(error.into_failure()),
        };
        self.finish(step, outcome, took);
    }

    /// A step panicked. Which one is not told, so all that are running count as failed: none of them may
    /// be taken for done.
    fn end_crashed(&mut self, words: &str) {
        for id in std::mem::take(&mut self.running) {
            self.end(
                id,
                Err(StepError::Crashed(words.to_owned())),
                Duration::ZERO,
            );
        }
    }

    fn finish(&mut self, step: &Step, outcome: Outcome, took: Duration) {
        let report = report(self.plan, step, outcome, took);
        self.monitor.ended(step, &report);
        // A crash may have been counted before the step's own end came in.
        self.ended.entry(step.id).or_insert(report);
    }

    fn into_reports(mut self) -> Vec<StepReport> {
        let plan = self.plan;
        plan.steps
            .iter()
            .map(|step| {
                let ended = self.ended.remove(&step.id);
                ended.unwrap_or_else(|| report(plan, step, Outcome::NotReached, Duration::ZERO))
            })
            .collect()
    }
}

fn report(plan: &Plan, step: &Step, outcome: Outcome, took: Duration) -> StepReport {
    StepReport {
        id: step.id,
        address: step.address.clone(),
        verb: step.action.verb().to_owned(),
        what: step.action.what_with(|backup| plan.name_of(backup)),
        outcome,
        took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    }
}
