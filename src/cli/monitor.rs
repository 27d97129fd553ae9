//! Shows a run while it goes on: on a terminal a line per running step that is redrawn, elsewhere a line
//! when a step starts, every 30 seconds, and when it ends. Never writes escape codes into a log.

use crate::apply::Monitor;
use crate::cli::{output, world};
use crate::model::units::Size;
use crate::plan::report::StepReport;
use crate::plan::{Plan, Step, StepId};
use crate::render::{self, Look};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const QUIET_FOR_AT_MOST: Duration = Duration::from_secs(30);

/// Shows what happens on standard error.
pub struct Screen {
    bars: MultiProgress,
    is_terminal: bool,
    plan: Plan,
    look: Look,
    running: Mutex<BTreeMap<StepId, Running>>,
}

struct Running {
    line: String,
    bar: ProgressBar,
    files: u64,
    bytes: u64,
    began: Instant,
    last_line: Instant,
}

impl Screen {
    /// Redraws when standard error is a terminal.
    pub fn new(plan: &Plan, look: Look) -> Arc<Self> {
        let is_terminal = world::stderr_is_terminal();
        let target = match is_terminal {
            true => ProgressDrawTarget::stderr_with_hz(8),
            false => ProgressDrawTarget::hidden(),
        };
        Arc::new(Self {
            bars: MultiProgress::with_draw_target(target),
            is_terminal,
            plan: plan.clone(),
            look,
            running: Mutex::default(),
        })
    }

    fn line(&self, line: &str) {
        if self.is_terminal {
            let _ = self.bars.println(line);
        } else {
            output::say(line);
        }
    }
}

impl Monitor for Screen {
    fn started(&self, step: &Step) {
        let line = render::report::start_line(world::now(), &self.plan, step, &self.look);
        if !self.is_terminal {
            output::say(&line);
        }
        let bar = self.bars.add(ProgressBar::new_spinner());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        bar.set_message(line.clone());
        bar.enable_steady_tick(Duration::from_millis(200));
        let now = Instant::now();
        let running = Running {
            line,
            bar,
            files: 0,
            bytes: 0,
            began: now,
            last_line: now,
        };
        let mut all = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(step.id, running);
    }

    fn advanced(&self, step: StepId, files: u64, bytes: u64) {
        let mut all = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(running) = all.get_mut(&step) else {
            return;
        };
        running.files += files;
        running.bytes += bytes;
        let is_due = running.last_line.elapsed() >= QUIET_FOR_AT_MOST;
        if !self.is_terminal && !is_due {
            return;
        }
        let line = running.progress();
        if self.is_terminal {
            running.bar.set_message(line);
        } else {
            running.last_line = Instant::now();
            output::say(&line);
        }
    }

    fn ended(&self, step: &Step, report: &StepReport) {
        let mut all = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = all.remove(&step.id) {
            running.bar.finish_and_clear();
        }
        drop(all);
        self.line(&render::report::run_line(world::now(), report, &self.look));
    }
}

impl Running {
    fn progress(&self) -> String {
        let seconds = self.began.elapsed().as_secs_f64().max(0.001);
        let rate = Size((self.bytes as f64 / seconds) as u64);
        format!(
            "{}  {} files, {}, {rate}/s",
            self.line,
            self.files,
            Size(self.bytes)
        )
    }
}
