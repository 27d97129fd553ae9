//! What of a plan may be carried out: a saved plan must still hold, no rule may forbid it, and somebody must
//! have agreed. Does nothing of it.

use crate::cli::apply::Job;
use crate::cli::exit::{Exit, Trouble};
use crate::cli::signals::Signals;
use crate::cli::{Context, approve, output};
use crate::model::strategy::Strategy;
use crate::model::units::AsOf;
use crate::plan::{Action, Plan, Step, Summary, saved};
use crate::render;
use crate::render::event::Level;
use tokio::sync::oneshot;

/// What of `fresh` is to be done: all, or what of a saved plan that still holds is still needed; and
/// what waits for somebody to agree.
pub fn wanted(job: &Job, fresh: Plan, at: AsOf) -> Result<(Plan, Vec<Step>), Trouble> {
    let Some(saved) = &job.saved else {
        return Ok(match job.auto_approve {
            true => unattended(fresh),
            false => (fresh, Vec::new()),
        });
    };
    if let Some(stale) = saved::staleness(saved, &fresh, at) {
        let words = format!("the saved plan is stale: {stale}; plan again");
        return Err(Trouble::new(Exit::Stale, words));
    }
    Ok((saved::still_needed(saved, &fresh).plan, Vec::new()))
}

/// Leaves out what makes a source remove things, and what needs that: `--auto-approve` is no word for it.
fn unattended(mut plan: Plan) -> (Plan, Vec<Step>) {
    let mut left: Vec<Step> = Vec::new();
    for step in &plan.steps {
        let waits = step
            .needs
            .iter()
            .any(|need| left.iter().any(|step| step.id == *need));
        if waits || matches!(step.action, Action::Configure { removes: true, .. }) {
            left.push(step.clone());
        }
    }
    plan.steps.retain(|step| !left.contains(step));
    plan.summary = Summary::of(&plan.steps, &plan.held);
    (plan, left)
}

/// Says what waits for somebody to agree; a run without it is not complete.
pub fn say_waiting(waiting: &[Step]) -> Exit {
    for step in waiting {
        if matches!(step.action, Action::Configure { .. }) {
            output::say(&format!(
                "Warning: not changed: {}. The bucket would remove what it keeps now, and --auto-approve is not enough for that: `ccb plan FILE --out plan.json`, then `ccb apply plan.json`",
                step.action.what()
            ));
        }
    }
    match waiting.is_empty() {
        true => Exit::Ok,
        false => Exit::Incomplete,
    }
}

/// Refuses what a rule forbids, and shows what it is about.
pub fn refuse_violations(
    job: &Job,
    plan: &Plan,
    strategy: &Strategy,
    context: &Context,
) -> Result<(), Trouble> {
    if plan.violations() == 0 {
        return Ok(());
    }
    let shown = render::text::plan(plan, strategy, &context.look());
    match job.json {
        true => output::report(Level::Error, &shown),
        false => output::offer(&shown),
    }
    let words = "nothing was done: a rule with level deny is violated";
    Err(Trouble::new(Exit::Violation, words))
}

/// Returns when everybody who must agree has.
pub async fn agree(
    job: &Job,
    plan: &Plan,
    strategy: &Strategy,
    signals: &Signals,
    context: &Context,
) -> Result<(), Trouble> {
    if job.saved.is_some() {
        return Ok(());
    }
    check_forgets(job, plan)?;
    say_allowance(job, plan, strategy);
    if !context.global.quiet && !job.json {
        output::offer(&render::text::plan(plan, strategy, &context.look()));
    }
    if job.auto_approve {
        return Ok(());
    }
    let removing = plan
        .steps
        .iter()
        .find(|step| matches!(step.action, Action::Configure { removes: true, .. }));
    let question = match plan.summary.forget {
        0 if let Some(step) = removing => format!(
            "Change {}, so that the bucket removes what it keeps now, and carry out {} other steps?",
            step.action.what(),
            plan.steps.len() - 1
        ),
        0 => format!("Carry out these {} steps?", plan.steps.len()),
        n => format!(
            "Forget {n} backups and carry out {} other steps?",
            plan.steps.len() as u64 - n
        ),
    };
    ask(context.global.input, question, signals).await
}

/// Waits for the answer on a thread of its own, so that a signal ends the wait.
async fn ask(may: bool, question: String, signals: &Signals) -> Result<(), Trouble> {
    let (tell, answer) = oneshot::channel();
    std::thread::spawn(move || {
        let how_else = "add --auto-approve, or apply a plan saved by `ccb plan --out`";
        // Nobody listens any more when a signal came first.
        let _ = tell.send(approve::ask(may, &question, how_else));
    });
    tokio::select! {
        answer = answer => answer.unwrap_or_else(|_| {
            Err(Trouble::new(Exit::NotApproved, "not approved, nothing was done"))
        }),
        exit = signals.ended() => Err(Trouble::new(exit, "nothing was done")),
    }
}

/// A limit that was lifted is said each time.
fn say_allowance(job: &Job, plan: &Plan, strategy: &Strategy) {
    if let Some(most) = job.allow_forget
        && plan.summary.forget > 0
    {
        let (count, percent) = (
            strategy.apply.forget_limit_count,
            strategy.apply.forget_limit_percent,
        );
        output::say(&format!(
            "Warning: this run may forget {most} backups (--allow-forget) instead of {count} or {percent} (apply.forget-limit)"
        ));
    }
}

/// Without a saved plan that shows them, many forgets need a number that says so.
fn check_forgets(job: &Job, plan: &Plan) -> Result<(), Trouble> {
    let Some(most) = job.allow_forget else {
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
