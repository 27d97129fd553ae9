//! Shows a run while it goes on, in every way that was asked for: lines or redrawn lines for people, JSON for
//! programs, the log of runs, the journal. Counting is cheap, because it happens for each file; showing
//! happens when something begins or ends, and at a pace of its own in between.

mod bars;
mod lines;
mod stream;
mod tally;

use bars::Bars;
use lines::Lines;
use stream::Stream;

use crate::apply::Monitor;
use crate::cli::args::LogFormat;
use crate::cli::monitor::tally::Tally;
use crate::cli::{Context, output, world};
use crate::model::ids::RunId;
use crate::model::inventory::Inventory;
use crate::plan::report::StepReport;
use crate::plan::{Action, BackupRef, Plan, Step, StepId};
use crate::render::event::{self, Event, Progress};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How often a step that goes on is shown where lines stay.
pub const LINES_EVERY: Duration = Duration::from_secs(30);

/// One way to show a run.
pub trait Show: Send + Sync {
    /// A step begins.
    fn started(&self, step: &Step);
    /// A step goes on.
    fn goes_on(&self, step: &Step, progress: &Progress);
    /// A step ended, or will not be tried.
    fn ended(&self, step: &Step, report: &StepReport);
    /// How often it wants to hear of steps that go on; `None`: never.
    fn every(&self) -> Option<Duration>;
}

/// Watches a run for all that show it.
pub struct Watch {
    tally: Arc<Tally>,
    shows: Vec<Arc<dyn Show>>,
    _ticking: JoinSet<()>,
}

impl Watch {
    /// Shows go on being told until this is dropped.
    pub fn new(shows: Vec<Arc<dyn Show>>, totals: BTreeMap<StepId, u64>) -> Self {
        let tally = Arc::new(Tally::new(totals));
        let mut ticking = JoinSet::new();
        for show in &shows {
            if let Some(every) = show.every() {
                ticking.spawn(tick(tally.clone(), show.clone(), every));
            }
        }
        Self {
            tally,
            shows,
            _ticking: ticking,
        }
    }
}

impl Monitor for Watch {
    fn started(&self, step: &Step) {
        self.tally.begin(step);
        for show in &self.shows {
            show.started(step);
        }
    }
    fn advanced(&self, step: StepId, files: u64, bytes: u64) {
        self.tally.add(step, files, bytes);
    }
    fn ended(&self, step: &Step, report: &StepReport) {
        self.tally.end(step.id);
        for show in &self.shows {
            show.ended(step, report);
        }
    }
}

async fn tick(tally: Arc<Tally>, show: Arc<dyn Show>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        for (step, progress) in tally.running(every) {
            show.goes_on(&step, &progress);
        }
    }
}

/// Hands every event of a run on.
pub fn stream(plan: &Plan, take: impl Fn(Event) + Send + Sync + 'static) -> Arc<dyn Show> {
    let (plan, take) = (plan.clone(), Arc::new(take));
    Arc::new(Stream { plan, take })
}

/// What is shown on standard error: lines, redrawn lines on a terminal, JSON where that was asked for. Nothing
/// when only results are wanted, or when a program reads the result and did not ask for more.
pub fn on_standard_error(
    context: &Context,
    plan: &Plan,
    run: RunId,
    result_is_json: bool,
) -> Option<Arc<dyn Show>> {
    let log_format = context.global.log_format;
    if context.global.quiet || (result_is_json && log_format == LogFormat::Text) {
        return None;
    }
    Some(match log_format {
        LogFormat::Json => stream(plan, move |event| {
            output::tell(&event::line(world::now(), Some(run), &event));
        }),
        LogFormat::Text if world::stderr_is_terminal() => {
            let bars = Bars::new(plan.clone(), context.look_err());
            output::redraw(Some(Arc::new(bars.above())));
            Arc::new(bars)
        }
        LogFormat::Text => Arc::new(Lines {
            plan: plan.clone(),
            look: context.look_err(),
        }),
    })
}

/// How many bytes each step of `plan` will go through, where earlier backups tell.
pub fn totals(plan: &Plan, inventory: &Inventory) -> BTreeMap<StepId, u64> {
    let manifests = || {
        let held = inventory.destinations.values().flat_map(|it| &it.backups);
        held.map(|held| &held.manifest)
    };
    let total = |step: &Step| match &step.action {
        Action::BackUp {
            component, method, ..
        } => {
            let same = manifests()
                .filter(|m| m.component == *component && m.method == *method && m.complete);
            same.max_by_key(|m| m.started).map(|m| m.stats.bytes)
        }
        Action::Copy {
            backup: BackupRef::Id(id),
            ..
        } => manifests().find(|m| m.id == *id).map(|m| m.stats.bytes),
        _ => None,
    };
    let steps = plan.steps.iter();
    steps
        .filter_map(|step| Some((step.id, total(step)?)))
        .collect()
}
