//! For programs: each event as a line of JSON, handed to whoever takes it.

use crate::cli::monitor::{LINES_EVERY, Show};
use crate::plan::report::StepReport;
use crate::plan::{Plan, Step};
use crate::render::event::{Event, Progress, Started};
use std::sync::Arc;
use std::time::Duration;

/// Passes events on.
pub struct Stream {
    /// What is carried out.
    pub plan: Plan,
    /// Who takes them.
    pub take: Arc<dyn Fn(Event) + Send + Sync>,
}

impl Show for Stream {
    fn started(&self, step: &Step) {
        (self.take)(Event::ActionStart(Started::of(&self.plan, step)));
    }
    fn goes_on(&self, _step: &Step, progress: &Progress) {
        (self.take)(Event::ActionProgress(*progress));
    }
    fn ended(&self, _step: &Step, report: &StepReport) {
        (self.take)(Event::ActionDone(report.clone()));
    }
    fn every(&self) -> Option<Duration> {
        Some(LINES_EVERY)
    }
}
