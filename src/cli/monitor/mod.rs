//! Shows a run while it goes on, in every way that was asked for: lines or redrawn lines for people, JSON for
//! programs, the log of runs, the journal. Counting is cheap, because it happens for each file; showing
//! happens when something begins or ends, and at a pace of its own in between.

mod bars;
mod lines;
mod stream;
mod tally;

pub use bars::Bars;
pub use lines::Lines;
pub use stream::Stream;

use crate::apply::Monitor;
use crate::cli::monitor::tally::Tally;
use crate::model::inventory::Inventory;
use crate::plan::report::StepReport;
use crate::plan::{Action, BackupRef, Plan, Step, StepId};
use crate::render::event::Progress;
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
