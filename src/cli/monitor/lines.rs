//! For logs of people: a line when a step starts, one every 30 seconds while it goes on, one when it ends.
//! Never writes escape codes that move.

use crate::cli::monitor::{LINES_EVERY, Show};
use crate::cli::{output, world};
use crate::plan::report::StepReport;
use crate::plan::{Plan, Step};
use crate::render::event::Progress;
use crate::render::{Look, report};
use std::time::Duration;

/// Writes lines to standard error.
pub struct Lines {
    /// What is carried out.
    pub plan: Plan,
    /// How lines look.
    pub look: Look,
}

impl Show for Lines {
    fn started(&self, step: &Step) {
        output::tell(&report::start_line(
            world::now(),
            &self.plan,
            step,
            &self.look,
        ));
    }
    fn goes_on(&self, step: &Step, progress: &Progress) {
        let (now, look) = (world::now(), &self.look);
        output::tell(&report::progress_line(
            now, &self.plan, step, progress, look,
        ));
    }
    fn ended(&self, _step: &Step, done: &StepReport) {
        output::tell(&report::run_line(world::now(), done, &self.look));
    }
    fn every(&self) -> Option<Duration> {
        Some(LINES_EVERY)
    }
}
