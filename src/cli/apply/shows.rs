//! Who is shown a run: people on standard error, programs on either stream, the journal.

use crate::cli::Context;
use crate::cli::apply::Job;
use crate::cli::monitor::{self, Show};
use crate::cli::output::{self, Listener};
use crate::cli::world;
use crate::model::ids::RunId;
use crate::plan::Plan;
use crate::render::event;
use std::sync::Arc;

/// What takes every event of a run, diagnostics too, besides standard error.
pub fn listeners(job: &Job, run: RunId) -> Vec<Listener> {
    let mut all: Vec<Listener> = Vec::new();
    if job.json {
        all.push(Arc::new(move |event| {
            output::offer(&event::line(world::now(), Some(run), event));
        }));
    }
    all
}

/// What shows the steps of a run.
pub fn shows(
    job: &Job,
    context: &Context,
    plan: &Plan,
    run: RunId,
    listeners: &[Listener],
) -> Vec<Arc<dyn Show>> {
    let mut shows: Vec<Arc<dyn Show>> = Vec::new();
    for listener in listeners {
        let listener = listener.clone();
        shows.push(monitor::stream(plan, move |event| listener(&event)));
    }
    shows.extend(monitor::on_standard_error(context, plan, run, job.json));
    shows
}
