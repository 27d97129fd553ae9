//! A run from beginning to end: look, plan, lock, look again, ask, carry out, leave a record. Each part is
//! somewhere else; here stands their order.

use crate::apply::{self, Hands, Locks};
use crate::cli::access;
use crate::cli::apply::notifying::{self, Hearers};
use crate::cli::apply::{Job, approval, record, shows};
use crate::cli::args::LogFormat;
use crate::cli::exit::{Exit, Trouble, chain};
use crate::cli::journal::{self, Journal, Left};
use crate::cli::monitor::{self, Show, Watch};
use crate::cli::output::Listener;
use crate::cli::places::{self, Places};
use crate::cli::signals::Signals;
use crate::cli::world::{self, Commands};
use crate::cli::{
    Context, around, input, lock, output, plan as planning, process, refresh, sources,
};
use crate::model::holder::Holder;
use crate::model::ids::{DestinationName, RunId};
use crate::model::inventory::Inventory;
use crate::model::strategy::Strategy;
use crate::model::units::AsOf;
use crate::notify::{Summary, prometheus};
use crate::plan::report::{Counts, RunReport};
use crate::plan::{Plan, Step, StepId};
use crate::plan_file::UnsetEnv;
use crate::render::{self, Look, event, event::Event};
use crate::repository::Repository;
use crate::store::Store;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const NOTHING: &str = "No changes. The inventory matches the plan.";

/// One run of `ccb apply`.
struct Run<'a> {
    job: &'a Job,
    context: &'a Context,
    strategy: Arc<Strategy>,
    signals: Signals,
    id: RunId,
    listeners: Vec<Listener>,
    journals: Option<PathBuf>,
    left: Vec<Left>,
    hearers: Mutex<Option<Hearers>>,
    /// The newest plan, and what it was made on.
    newest: Mutex<Option<(Plan, Inventory)>>,
    holder: Holder,
}

/// What was seen, and what is to be done about it.
struct Seen {
    places: Places,
    inventory: Inventory,
    plan: Plan,
    /// Steps that are left out because somebody must agree to them.
    waits: Vec<Step>,
}

/// How a run ended: its exit code, and what became of its steps if any was tried.
struct Ended {
    exit: Exit,
    report: Option<RunReport>,
}

/// Carries a job out.
pub async fn run(job: &Job, context: &Context) -> Result<Exit, Trouble> {
    let signals = Signals::listen()
        .map_err(|e| Trouble::new(Exit::Error, format!("listen for signals: {e}")))?;
    let variables = &context.global.variables;
    let strategy = input::strategy(&job.file, variables, UnsetEnv::Refuse, &context.terminal)?;
    let id = RunId(world::random());
    let journals = journal::folder(&job.file, &strategy);
    let mut listeners = shows::listeners(job, id);
    listeners.extend(notifying::logs(&strategy, id));
    output::begin_run(id, listeners.clone());
    let run = Run {
        job,
        context,
        signals,
        id,
        listeners,
        left: journals.as_deref().map(journal::left).unwrap_or_default(),
        journals,
        hearers: Mutex::new(Some(Hearers::of(&strategy, id))),
        newest: Mutex::default(),
        holder: process::holder(id, &strategy),
        strategy: Arc::new(strategy),
    };
    run.begin();
    let outcome = run.attempt().await;
    Ok(run.conclude(outcome).await)
}

impl Run<'_> {
    fn begin(&self) {
        self.emit(&Event::Version {
            ccb: env!("CARGO_PKG_VERSION").to_owned(),
            format_version: event::FORMAT_VERSION.to_owned(),
            plan: self.strategy.name.clone(),
            environment: self.strategy.environment.clone(),
        });
        for left in &self.left {
            output::say(&left.words());
        }
    }

    async fn conclude(&self, outcome: Result<Ended, Trouble>) -> Exit {
        let (ended, message) = match outcome {
            Ok(ended) => (ended, None),
            Err(trouble) => {
                if !trouble.message.is_empty() {
                    output::say(&format!("Error: {}", trouble.message));
                }
                let (exit, report) = (trouble.exit, None);
                (Ended { exit, report }, Some(trouble.message))
            }
        };
        // Nobody agreed: there was no run.
        if ended.exit != Exit::NotApproved {
            self.tell(&ended, message).await;
        }
        let report = ended.report.as_ref();
        self.emit(&Event::Summary {
            exit: ended.exit as u8,
            complete: ended.exit == Exit::Ok,
            counts: report.map(Counts::of).unwrap_or_default(),
            report: report.map(render::report::value),
        });
        ended.exit
    }

    /// Tells everybody who is to hear of it how the run ended.
    async fn tell(&self, ended: &Ended, message: Option<String>) {
        let (plan, environment) = (&self.strategy.name, &self.strategy.environment);
        let (host, since) = (&self.holder.host, self.holder.since);
        let mut summary = Summary::new(self.id, (plan, environment), host, since);
        let text = match (&ended.report, &message) {
            (Some(report), _) => render::report::summary(report, &Look::PLAIN),
            (None, Some(message)) => format!("Error: {message}"),
            (None, None) => NOTHING.to_owned(),
        };
        let newest = lock_of(&self.newest).take();
        if let Some((plan, _)) = &newest {
            summary.planned(plan);
        }
        if let Some(report) = &ended.report {
            summary.carried_out(report);
        }
        summary.ended(world::now(), ended.exit as u8, message);
        if let Some((plan, inventory)) = &newest {
            let done = ended.report.as_ref().map(|report| (plan, report));
            let newest = prometheus::newest(&self.strategy, inventory, done);
            notifying::metrics(&self.strategy, &summary, &newest);
        } else {
            notifying::metrics(&self.strategy, &summary, &prometheus::Newest::new());
        }
        let hearers = lock_of(&self.hearers).take();
        if let Some(hearers) = hearers {
            let is_hurried = self.signals.exit().is_some();
            hearers.ended(&summary, &text, is_hurried).await;
        }
    }

    /// A run that has nothing to do takes no lock and writes nothing.
    async fn attempt(&self) -> Result<Ended, Trouble> {
        let places = places::open_all(&self.strategy, Commands::Run).await?;
        let seen = self.look(places).await?;
        if seen.plan.is_empty() {
            return Ok(self.nothing_to_do(&seen).await);
        }
        if !self.job.locking.lock {
            return self.carry_out(seen, None).await;
        }
        let locks = Locks::new(self.holder.clone(), Arc::new(process::is_gone));
        let outcome = self.under(&locks, seen.places).await;
        for (name, error) in locks.release().await {
            let why = chain(&error);
            output::say(&format!(
                "Warning: the lock of destination.{name} is left behind and ends by itself: {why}"
            ));
        }
        outcome
    }

    /// Looks and plans anew once nobody else changes anything.
    async fn under(&self, locks: &Locks, places: Places) -> Result<Ended, Trouble> {
        let asked = self.job.locking.lock_timeout;
        let wait = asked.unwrap_or(self.strategy.apply.lock_timeout);
        lock::take_all(locks, &places, wait, &self.signals).await?;
        let places = match places.values().all(|place| place.opened.is_ok()) {
            true => places,
            // What was not there may have been made meanwhile.
            false => {
                let places = places::open_all(&self.strategy, Commands::Run).await?;
                lock::take_all(locks, &places, wait, &self.signals).await?;
                places
            }
        };
        self.end_when_lost(locks);
        let seen = self.look(places).await?;
        if seen.plan.is_empty() {
            return Ok(self.nothing_to_do(&seen).await);
        }
        self.carry_out(seen, Some(locks)).await
    }

    async fn look(&self, places: Places) -> Result<Seen, Trouble> {
        let inventory = planning::observe_all(&self.strategy, &places).await;
        refresh::keep(&self.job.file, &self.strategy, &inventory);
        let base = planning::base(None, &inventory, self.context)?;
        let at = AsOf(world::now());
        let request = &self.job.request;
        let mut around = around::look(&self.strategy);
        if self.job.sources {
            around.live = sources::look(&self.strategy, &inventory, &places).await;
        }
        let (strategy, base) = (&self.strategy, base.as_ref());
        let fresh = planning::make(strategy, base, &inventory, &around, at, request)?;
        let (plan, waits) = approval::wanted(self.job, fresh, at)?;
        *lock_of(&self.newest) = Some((plan.clone(), inventory.clone()));
        approval::refuse_violations(self.job, &plan, &self.strategy, self.context)?;
        Ok(Seen {
            places,
            inventory,
            plan,
            waits,
        })
    }

    async fn nothing_to_do(&self, seen: &Seen) -> Ended {
        let open = seen.places.iter();
        let open = open.filter_map(|(name, at)| Some((name.clone(), at.opened.clone().ok()?)));
        self.tell_left(&open.collect::<Vec<_>>()).await;
        let exit =
            say_unreached(&seen.plan, &self.strategy).and(approval::say_waiting(&seen.waits));
        if !self.job.json && seen.waits.is_empty() {
            output::offer(&render::words::last_line(&seen.plan));
        }
        Ended { exit, report: None }
    }

    async fn carry_out(&self, seen: Seen, locks: Option<&Locks>) -> Result<Ended, Trouble> {
        let (job, context, plan) = (self.job, self.context, &seen.plan);
        approval::agree(job, plan, &self.strategy, &self.signals, context).await?;
        let unreached = say_unreached(plan, &self.strategy).and(approval::say_waiting(&seen.waits));
        if let Some(hearers) = lock_of(&self.hearers).as_mut() {
            hearers.started();
        }
        let hands = self.hands(&seen.places, locks);
        let asked = job.parallelism.and_then(|n| usize::try_from(n).ok());
        let at_once = asked.unwrap_or(self.strategy.apply.parallelism);
        let journal = self.journal(plan);
        let mut shows = shows::shows(job, context, plan, self.id, &self.listeners);
        shows.extend(journal.iter().map(|it| it.clone() as Arc<dyn Show>));
        let watch = Arc::new(Watch::new(shows, monitor::totals(plan, &seen.inventory)));
        let interrupted = self.signals.interrupted.clone();
        let report = apply::run(plan, &hands, at_once, watch, interrupted).await;
        output::redraw(None);
        let open = hands.repositories().await;
        record::leave(&record::run_record(&report, &self.strategy), &open).await;
        self.tell_left(&open).await;
        let exit = record::exit_of(&report, plan, self.signals.exit()).and(unreached);
        if let Some(journal) = journal {
            journal.finish(exit);
        }
        if !job.json {
            output::offer(&render::report::summary(&report, &context.look()));
        }
        let report = Some(report);
        Ok(Ended { exit, report })
    }

    fn hands(&self, places: &Places, locks: Option<&Locks>) -> Hands {
        let hands = Hands::new(
            self.strategy.clone(),
            self.id,
            world::surroundings(),
            access::world(),
            (PathBuf::new(), std::env::temp_dir()),
            stores(places),
        );
        if let Some(locks) = locks {
            hands.use_locks(locks.clone());
        }
        hands
    }

    fn journal(&self, plan: &Plan) -> Option<Arc<Journal>> {
        let folder = self.journals.as_deref()?;
        let record = record::not_begun(&self.holder, plan, &self.strategy);
        let what = |step: &Step| (step.id, render::report::what(plan, step));
        let steps: Vec<(StepId, String)> = plan.steps.iter().map(what).collect();
        let journal = Journal::begin(folder, self.holder.clone(), record, steps);
        output::detail(&format!("Journal: {}", journal.path().display()));
        Some(Arc::new(journal))
    }

    /// Records at the destinations what killed runs did, which they could not do themselves.
    async fn tell_left(&self, open: &[(DestinationName, Repository)]) {
        for left in &self.left {
            record::leave(&left.record, open).await;
            left.told(self.id);
        }
    }

    fn emit(&self, event: &Event) {
        for listener in &self.listeners {
            listener(event);
        }
        if self.context.global.log_format == LogFormat::Json {
            output::tell(&event::line(world::now(), Some(self.id), event));
        }
    }

    /// A run whose lock was taken from it must not go on beside the one that has it now.
    fn end_when_lost(&self, locks: &Locks) {
        let (mut lost, signals) = (locks.lost(), self.signals.clone());
        tokio::spawn(async move {
            if let Ok(name) = lost.wait_for(Option::is_some).await
                && let Some(name) = name.as_ref()
            {
                output::say(&format!(
                    "Error: the lock of destination.{name} was ended by somebody else; this run ends, what it stored is kept"
                ));
                signals.end(Exit::Locked);
            }
        });
    }
}

fn lock_of<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

type Stores = BTreeMap<DestinationName, (Store, Option<Repository>)>;

fn stores(places: &Places) -> Stores {
    let usable = places.iter().filter_map(|(name, place)| {
        let repository = place.opened.as_ref().ok().cloned();
        Some((name.clone(), (place.store.clone()?, repository)))
    });
    usable.collect()
}

/// A destination that is not optional and was not seen is an error, however well the rest goes.
fn say_unreached(plan: &Plan, strategy: &Strategy) -> Exit {
    let mut exit = Exit::Ok;
    for (name, why) in &plan.unseen_sources {
        output::say(&format!("Warning: component.{name}: {why}"));
    }
    for (name, why) in &plan.unseen {
        let is_optional = strategy.destination(name).is_none_or(|d| d.optional);
        let word = if is_optional { "Warning" } else { "Error" };
        output::say(&format!("{word}: destination.{name}: {why}"));
        if !is_optional {
            exit = Exit::Absent;
        }
    }
    exit
}
