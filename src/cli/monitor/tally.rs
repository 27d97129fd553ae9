//! What is done of each running step. Called for each file of a backup from several threads, so that adding
//! takes no lock that another adder holds.

use crate::plan::{Step, StepId};
use crate::render::event::Progress;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

pub(super) struct Tally {
    totals: BTreeMap<StepId, u64>,
    running: RwLock<BTreeMap<StepId, Running>>,
}

struct Running {
    step: Step,
    began: Instant,
    files: AtomicU64,
    bytes: AtomicU64,
}

impl Tally {
    pub(super) fn new(totals: BTreeMap<StepId, u64>) -> Self {
        Self {
            totals,
            running: RwLock::default(),
        }
    }

    pub(super) fn begin(&self, step: &Step) {
        let mut running = self.running.write().unwrap_or_else(PoisonError::into_inner);
        let fresh = Running {
            step: step.clone(),
            began: Instant::now(),
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        };
        running.insert(step.id, fresh);
    }

    pub(super) fn add(&self, step: StepId, files: u64, bytes: u64) {
        let running = self.running.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = running.get(&step) {
            running.files.fetch_add(files, Relaxed);
            running.bytes.fetch_add(bytes, Relaxed);
        }
    }

    pub(super) fn end(&self, step: StepId) {
        let mut running = self.running.write().unwrap_or_else(PoisonError::into_inner);
        running.remove(&step);
    }

    /// Steps that have been running for at least so long, and how far they are.
    pub(super) fn running(&self, since: Duration) -> Vec<(Step, Progress)> {
        let running = self.running.read().unwrap_or_else(PoisonError::into_inner);
        let progress = |it: &Running| {
            let took = it.began.elapsed();
            let counted = (it.files.load(Relaxed), it.bytes.load(Relaxed));
            let total = self.totals.get(&it.step.id).copied();
            let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            (took >= since).then(|| Progress::new(it.step.id, counted, total, ms))
        };
        let all = running.values();
        all.filter_map(|it| Some((it.step.clone(), progress(it)?)))
            .collect()
    }
}
