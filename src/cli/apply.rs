//! `ccb apply` and `ccb backup`: observes, plans with the same pure function as `ccb plan`, asks, and
//! carries the plan out. A saved plan is consent: what it approved and is still needed is done.

use crate::apply::{self, Hands, Monitor, Secrets};
use crate::cli::args::ApplyArguments;
use crate::cli::exit::{Exit, Trouble};
use crate::cli::monitor::Screen;
use crate::cli::places::{self, Places};
use crate::cli::signals::Signals;
use crate::cli::world::{self, Commands};
use crate::cli::{Context, approve, input, output, plan as planning};
use crate::model::ids::{ComponentName, RunId, Tag};
use crate::model::records::{PlanText, RunRecord, StepOutcome, StepRecord, Version};
use crate::model::strategy::{Method, Strategy};
use crate::model::units::AsOf;
use crate::plan::report::{FailureKind, Outcome, RunReport};
use crate::plan::{self, Plan, saved};
use crate::plan_file::UnsetEnv;
use crate::render;
use std::path::PathBuf;
use std::sync::Arc;

/// Applies a plan file or a saved plan.
pub async fn run(arguments: &ApplyArguments, context: &Context) -> Result<Exit, Trouble> {
    let text =
        input::read_text(&arguments.file).map_err(|e| input::read_failed(&arguments.file, &e))?;
    let saved = match text.trim_start().starts_with('{') {
        true => Some(saved::from_json(&text).map_err(|e| Trouble::from_error(Exit::Error, &e))?),
        false => None,
    };
    let file = match &saved {
        Some(plan) => plan.file.clone(),
        None => arguments.file.clone(),
    };
    let job = Job {
        file,
        saved,
        request: planning::request(&arguments.selection),
        auto_approve: arguments.auto_approve,
        allow_forget: arguments.allow_forget,
        parallelism: arguments.parallelism,
        json: arguments.json.json,
    };
    job.run(context).await
}

/// Makes one backup now.
pub async fn backup(
    file: &str,
    component: &str,
    method: Option<&str>,
    tag: Option<&str>,
    context: &Context,
) -> Result<Exit, Trouble> {
    let wrong = |e: crate::model::ids::IdError| Trouble::from_error(Exit::Error, &e);
    let component = ComponentName::new(component).map_err(wrong)?;
    let tag = tag.map(Tag::new).transpose().map_err(wrong)?;
    let method = method.map(|word| {
        let known = Method::ALL.into_iter().find(|m| m.as_str() == word);
        known.ok_or_else(|| Trouble::new(Exit::Error, format!("there is no method `{word}`")))
    });
    let variables = &context.global.variables;
    let strategy = input::strategy(file, variables, UnsetEnv::Refuse, &context.terminal)?;
    let known = strategy.component(&component).ok_or_else(|| {
        Trouble::new(
            Exit::Error,
            format!("there is no component `{component}` in {file}"),
        )
    })?;
    let wanted = plan::OnDemand {
        component,
        method: method.transpose()?.unwrap_or(known.source.methods()[0]),
        tag,
    };
    let job = Job {
        file: file.to_owned(),
        saved: None,
        request: plan::Request {
            backups: vec![wanted],
            ..plan::Request::default()
        },
        auto_approve: true,
        allow_forget: Some(0),
        parallelism: None,
        json: false,
    };
    job.run(context).await
}

/// One run.
struct Job {
    file: String,
    saved: Option<Plan>,
    request: plan::Request,
    auto_approve: bool,
    allow_forget: Option<u64>,
    parallelism: Option<usize>,
    json: bool,
}

impl Job {
    async fn run(self, context: &Context) -> Result<Exit, Trouble> {
        let signals = Signals::listen()
            .map_err(|e| Trouble::new(Exit::Error, format!("listen for signals: {e}")))?;
        let variables = &context.global.variables;
        let strategy = input::strategy(&self.file, variables, UnsetEnv::Refuse, &context.terminal)?;
        let places = places::open_all(&strategy, Commands::Run).await?;
        let stores = stores(&places);
        let inventory = planning::observe(places).await;
        let base = planning::base(None, &inventory, context)?;
        let at = AsOf(world::now());
        let fresh = planning::make(&strategy, base.as_ref(), &inventory, at, &self.request)?;
        let plan = self.approved(fresh, &strategy, at, context)?;
        let unreached = say_unreached(&plan, &strategy);
        if plan.is_empty() {
            output::print("No changes. The inventory matches the plan.")?;
            return Ok(unreached);
        }
        let strategy = Arc::new(strategy);
        let secrets: Secrets = Arc::new(|reference| world::secret(reference, Commands::Run));
        let run = RunId(world::random());
        let hands = Hands::new(
            strategy.clone(),
            run,
            world::surroundings(),
            secrets,
            (PathBuf::new(), std::env::temp_dir()),
            stores,
        );
        let at_once = self.parallelism.unwrap_or(strategy.apply.parallelism);
        let monitor: Arc<dyn Monitor> = match context.global.quiet || self.json {
            true => Arc::new(apply::Quiet),
            false => Screen::new(&plan, context.look_err()),
        };
        let report = apply::run(&plan, &hands, at_once, monitor, signals.interrupted.clone()).await;
        record(&report, &strategy, &plan, &hands).await;
        match self.json {
            true => output::print(&render::report::json(&report))?,
            false => output::print(&render::report::summary(&report, &context.look()))?,
        }
        Ok(exit_of(&report, signals.exit()).and(unreached))
    }

    /// The plan that may be carried out, after everybody who must agree has.
    fn approved(
        &self,
        fresh: Plan,
        strategy: &Strategy,
        at: AsOf,
        context: &Context,
    ) -> Result<Plan, Trouble> {
        let look = context.look();
        let plan = match &self.saved {
            None => fresh,
            Some(saved) => {
                if let Some(stale) = saved::staleness(saved, &fresh, at) {
                    let words = format!("the saved plan is stale: {stale}; plan again");
                    return Err(Trouble::new(Exit::Stale, words));
                }
                saved::still_needed(saved, &fresh).plan
            }
        };
        if plan.violations() > 0 {
            output::print(&render::text::plan(&plan, strategy, &look))?;
            return Err(Trouble::new(
                Exit::Violation,
                "nothing was done: a rule with level deny is violated",
            ));
        }
        if plan.is_empty() || self.saved.is_some() {
            return Ok(plan);
        }
        self.check_forgets(&plan)?;
        if !context.global.quiet && !self.json {
            output::print(&render::text::plan(&plan, strategy, &look))?;
        }
        if !self.auto_approve {
            let question = match plan.summary.forget {
                0 => format!("Carry out these {} steps?", plan.steps.len()),
                n => format!(
                    "Forget {n} backups and carry out {} other steps?",
                    plan.steps.len() as u64 - n
                ),
            };
            approve::ask(
                &question,
                "add --auto-approve, or apply a plan saved by `ccb plan --out`",
            )?;
        }
        Ok(plan)
    }

    /// Without a saved plan that shows them, many forgets need a number that says so.
    fn check_forgets(&self, plan: &Plan) -> Result<(), Trouble> {
        let Some(most) = self.allow_forget else {
            return Ok(());
        };
        if plan.summary.forget > most {
            let words = format!(
                "this plan forgets {} backups and --allow-forget is {most}; nothing was done",
                plan.summary.forget
            );
            return Err(Trouble::new(Exit::NotApproved, words));
        }
        Ok(())
    }
}

type Stores = std::collections::BTreeMap<
    crate::model::ids::DestinationName,
    (crate::store::Store, Option<crate::repository::Repository>),
>;

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

/// Leaves a record of the run at every destination that is open, for the next plan. A run is not less
/// done when its record can not be written; that is said.
async fn record(report: &RunReport, strategy: &Strategy, plan: &Plan, hands: &Hands) {
    let record = RunRecord {
        v: Version,
        run: report.run,
        started: report.started,
        finished: report.finished,
        plan: strategy.name.clone(),
        environment: strategy.environment.clone(),
        config: plan.config,
        files: strategy
            .files
            .iter()
            .map(|file| PlanText {
                path: file.path.clone(),
                text: file.text.clone(),
            })
            .collect(),
        steps: report.steps.iter().map(step_record).collect(),
    };
    for (name, repository) in hands.repositories().await {
        if let Err(error) = repository.record_run(&record).await {
            let words = crate::cli::exit::chain(&error);
            output::say(&format!(
                "Warning: the record of this run is not at destination.{name}: {words}"
            ));
        }
    }
}

fn step_record(step: &plan::report::StepReport) -> StepRecord {
    let (outcome, message, backup) = match &step.outcome {
        Outcome::Done(done) => (StepOutcome::Done, None, done.backup),
        Outcome::Failed(failure) => (StepOutcome::Failed, Some(failure.chain.join(" > ")), None),
        Outcome::Skipped { .. } | Outcome::NotReached => (StepOutcome::Skipped, None, None),
    };
    StepRecord {
        address: step.address.clone(),
        verb: step.verb.clone(),
        outcome,
        message,
        backup,
    }
}

fn exit_of(report: &RunReport, signal: Option<Exit>) -> Exit {
    let mut exit = match report.is_complete() {
        true => Exit::Ok,
        false => Exit::Incomplete,
    };
    for step in &report.steps {
        if let Outcome::Failed(failure) = &step.outcome {
            exit = exit.and(match failure.kind {
                FailureKind::Verification => Exit::Damaged,
                FailureKind::Key => Exit::Key,
                FailureKind::Unreachable => Exit::Absent,
                FailureKind::Locked => Exit::Locked,
                FailureKind::Other => Exit::Incomplete,
            });
        }
    }
    signal.map_or(exit, |signal| exit.and(signal))
}
