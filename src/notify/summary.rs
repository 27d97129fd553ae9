//! What a run came to, for others: the document that a webhook gets (`schemas/notification.v1.json`), and
//! which events it was.

use crate::model::ids::{Address, RunId};
use crate::model::strategy::Event;
use crate::plan::report::{Counts, Outcome, RunReport};
use crate::plan::{Cause, Plan};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeSet;

/// A run that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Version of this document.
    pub format_version: String,
    /// `run`.
    pub kind: String,
    /// The run.
    pub run: RunId,
    /// Name of the plan.
    pub plan: String,
    /// `production`, `staging`, …
    pub environment: String,
    /// Where it ran.
    pub host: String,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
    /// Its exit code.
    pub exit: u8,
    /// What it was.
    pub events: BTreeSet<Event>,
    /// What kept it from doing anything, when something did.
    pub message: Option<String>,
    /// What was done.
    pub counts: Counts,
    /// What failed: each step with its causes.
    pub failures: Vec<String>,
    /// What was due and was only done after its window.
    pub missed: Vec<Address>,
    /// Rules with level deny that are violated.
    pub violations: Vec<String>,
}

impl Summary {
    /// With what is known before anything was planned.
    pub fn new(
        run: RunId,
        (plan, environment): (&str, &str),
        host: &str,
        started: Timestamp,
    ) -> Self {
        Self {
            format_version: "1.0".to_owned(),
            kind: "run".to_owned(),
            run,
            plan: plan.to_owned(),
            environment: environment.to_owned(),
            host: host.to_owned(),
            started,
            finished: started,
            exit: 0,
            events: BTreeSet::new(),
            message: None,
            counts: Counts::default(),
            failures: Vec::new(),
            missed: Vec::new(),
            violations: Vec::new(),
        }
    }

    /// Adds what the plan says.
    pub fn planned(&mut self, plan: &Plan) {
        let missed = plan.steps.iter().filter(|step| step.cause == Cause::Missed);
        let missed: BTreeSet<Address> = missed.map(|step| step.address.clone()).collect();
        self.missed = missed.into_iter().collect();
        let violated = plan.findings.iter().filter(|finding| finding.blocks());
        self.violations = violated
            .map(|finding| format!("{} {}: {}", finding.rule, finding.name, finding.message))
            .collect();
    }

    /// Adds what became of the steps.
    pub fn carried_out(&mut self, report: &RunReport) {
        self.counts = Counts::of(report);
        self.failures = report
            .steps
            .iter()
            .filter_map(|step| match &step.outcome {
                Outcome::Failed(failure) => {
                    let why = failure.chain.join(": ");
                    Some(format!("{} {}: {why}", step.verb, step.what))
                }
                _ => None,
            })
            .collect();
    }

    /// Closes it.
    pub fn ended(&mut self, finished: Timestamp, exit: u8, message: Option<String>) {
        (self.finished, self.exit, self.message) = (finished, exit, message);
        self.events = events(self);
    }

    /// The document, with one newline at its end.
    pub fn json(&self) -> String {
        // Plain data with string keys has no way to fail.
        let value = serde_json::to_value(self).expect("a summary is plain data");
        value.to_string() + "\n"
    }
}

/// What a run was. One can be several.
fn events(summary: &Summary) -> BTreeSet<Event> {
    let violated = !summary.violations.is_empty();
    let facts = [
        (Event::Success, summary.exit == 0),
        (Event::Failure, summary.exit != 0 && !violated),
        (Event::Violation, violated),
        (Event::Missed, !summary.missed.is_empty()),
        (Event::Forget, summary.counts.forgotten > 0),
    ];
    let happened = facts.into_iter().filter(|(_, is_so)| *is_so);
    happened.map(|(event, _)| event).collect()
}
