//! Who is shown a run: people on standard error, programs on either stream, the journal.

use crate::cli::Context;
use crate::cli::apply::Job;
use crate::cli::args::LogFormat;
use crate::cli::monitor::{Bars, Lines, Show, Stream};
use crate::cli::output::{self, Listener};
use crate::cli::world;
use crate::model::ids::RunId;
use crate::plan::Plan;
use crate::render::event::{self, Event};
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
    let stream = |take: Arc<dyn Fn(Event) + Send + Sync>| -> Arc<dyn Show> {
        let plan = plan.clone();
        Arc::new(Stream { plan, take })
    };
    for listener in listeners {
        let listener = listener.clone();
        shows.push(stream(Arc::new(move |event| listener(&event))));
    }
    let log_format = context.global.log_format;
    if context.global.quiet || (job.json && log_format == LogFormat::Text) {
        return shows;
    }
    shows.push(match log_format {
        LogFormat::Json => stream(Arc::new(move |event| {
            output::tell(&event::line(world::now(), Some(run), &event));
        })),
        LogFormat::Text if world::stderr_is_terminal() => {
            let bars = Bars::new(plan.clone(), context.look_err());
            output::redraw(Some(Arc::new(bars.above())));
            Arc::new(bars)
        }
        LogFormat::Text => Arc::new(Lines {
            plan: plan.clone(),
            look: context.look_err(),
        }),
    });
    shows
}
