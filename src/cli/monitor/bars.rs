//! For a terminal: one line per running step that is redrawn, with its rate and what is left; what ended
//! stays above.

use crate::cli::monitor::Show;
use crate::cli::world;
use crate::plan::report::StepReport;
use crate::plan::{Plan, Step, StepId};
use crate::render::event::Progress;
use crate::render::{Look, report};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const REDRAWN_EVERY: Duration = Duration::from_millis(250);

/// Redraws lines on standard error.
pub struct Bars {
    bars: MultiProgress,
    plan: Plan,
    look: Look,
    running: Mutex<BTreeMap<StepId, ProgressBar>>,
}

impl Bars {
    /// Nothing is drawn before the first step.
    pub fn new(plan: Plan, look: Look) -> Self {
        Self {
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(8)),
            plan,
            look,
            running: Mutex::default(),
        }
    }

    /// What diagnostics go through while lines are redrawn, so that neither hides the other.
    pub fn above(&self) -> impl Fn(&str) + Send + Sync + use<> {
        let bars = self.bars.clone();
        move |text| {
            let _ = bars.println(text);
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<StepId, ProgressBar>) -> T) -> T {
        work(&mut self.running.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Show for Bars {
    fn started(&self, step: &Step) {
        let bar = self.bars.add(ProgressBar::new_spinner());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
            bar.set_style(style);
        }
        bar.set_message(report::start_line(
            world::now(),
            &self.plan,
            step,
            &self.look,
        ));
        self.with(|running| running.insert(step.id, bar));
    }
    fn goes_on(&self, step: &Step, progress: &Progress) {
        let line = report::progress_line(world::now(), &self.plan, step, progress, &self.look);
        self.with(|running| {
            if let Some(bar) = running.get(&step.id) {
                bar.set_message(line);
                bar.tick();
            }
        });
    }
    fn ended(&self, step: &Step, done: &StepReport) {
        if let Some(bar) = self.with(|running| running.remove(&step.id)) {
            bar.finish_and_clear();
        }
        let line = report::run_line(world::now(), done, &self.look);
        let _ = self.bars.println(line);
    }
    fn every(&self) -> Option<Duration> {
        Some(REDRAWN_EVERY)
    }
}
