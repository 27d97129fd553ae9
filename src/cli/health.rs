//! `ccb status` and `ccb verify`: how things stand, and proof of it now.

use crate::apply::{self, Hands};
use crate::cli::access;
use crate::cli::args::{StatusArguments, VerifyArguments, VerifyLevel};
use crate::cli::exit::{Exit, Trouble};
use crate::cli::holdings::{Reading, Wanted};
use crate::cli::monitor::{self, Watch};
use crate::cli::signals::Signals;
use crate::cli::survey::Survey;
use crate::cli::world;
use crate::cli::{Context, output, places, plan as planning};
use crate::model::ids::{BackupId, ComponentName, RunId};
use crate::model::records::Check;
use crate::model::units::AsOf;
use crate::plan::proving::{self, CheckRequest, checks_now};
use crate::plan::report::{FailureKind, Outcome, RunReport};
use crate::plan::status::status as stand;
use crate::plan::{Action, BackupRef, Plan};
use crate::render::listing::checks::{self, NotChecked, Verified, VerifiedCopy};
use crate::render::listing::health;
use crate::render::output as document;
use std::path::PathBuf;
use std::sync::Arc;

/// Tells how things stand. Ends with 6 when a check had found fault, 10 when a destination can not be seen, 2 when
/// something else needs attention.
pub async fn status(arguments: &StatusArguments, context: &Context) -> Result<Exit, Trouble> {
    let survey = Survey::make(&arguments.file, None, context).await?;
    let status = stand(&survey.strategy, &survey.inventory, &survey.plan);
    output::print(&match arguments.json.json {
        true => document::json(&status),
        false => health::status(&status, &context.look()),
    })?;
    let needs_attention = [
        (status.is_damaged(), Exit::Damaged),
        (status.is_blind(), Exit::Absent),
        (status.attention() > 0, Exit::Difference),
    ];
    let codes = needs_attention.into_iter().filter(|(is_so, _)| *is_so);
    Ok(codes.fold(Exit::Ok, |exit, (_, code)| exit.and(code)))
}

/// Checks backups now, at each destination, and keeps what comes out with them.
pub async fn verify(arguments: &VerifyArguments, context: &Context) -> Result<Exit, Trouble> {
    let signals = Signals::listen()
        .map_err(|e| Trouble::new(Exit::Error, format!("listen for signals: {e}")))?;
    let reading = Reading::open(&arguments.file, context).await?;
    let request = CheckRequest {
        component: match &arguments.component {
            Some(name) => Some(reading.component(name)?.name.clone()),
            None => None,
        },
        backup: match &arguments.backup {
            Some(backup) => Some(chosen(&reading, arguments, backup).await?),
            None => None,
        },
        check: arguments.level.map(check),
    };
    let Reading { strategy, places } = reading;
    let inventory = planning::observe(&places).await;
    let stores = places::stores(&places);
    let (plan, left_out) = checks_now(&strategy, &inventory, AsOf(world::now()), &request);
    let at_once = strategy.apply.parallelism;
    let run = RunId(world::random());
    let hands = Hands::new(
        Arc::new(strategy),
        run,
        world::surroundings(),
        access::world(),
        (PathBuf::new(), std::env::temp_dir()),
        stores,
    );
    let show = monitor::on_standard_error(context, &plan, run, arguments.json.json);
    let totals = monitor::totals(&plan, &inventory);
    let watch = Arc::new(Watch::new(show.into_iter().collect(), totals));
    let report = apply::run(&plan, &hands, at_once, watch, signals.interrupted.clone()).await;
    output::redraw(None);
    let verified = verified(&plan, &report, left_out);
    output::print(&match arguments.json.json {
        true => document::json(&verified),
        false => checks::verified(&verified, &context.look()),
    })?;
    let exit = exit_of(&verified, &report);
    Ok(signals.exit().map_or(exit, |signal| exit.and(signal)))
}

/// The backup that is meant, of the component if one is named.
async fn chosen(
    reading: &Reading,
    arguments: &VerifyArguments,
    backup: &str,
) -> Result<BackupId, Trouble> {
    let component = arguments.component.as_deref();
    let component = component.map(|name| reading.component(name)).transpose()?;
    let wanted = Wanted {
        component: component.map(|component| &component.name),
        backup: Some(backup),
        ..Wanted::default()
    };
    reading.choose(&reading.holdings(None).await?, &wanted)
}

fn check(level: VerifyLevel) -> Check {
    match level {
        VerifyLevel::Presence => Check::Presence,
        VerifyLevel::Integrity => Check::Integrity,
        VerifyLevel::Contents => Check::Contents,
        VerifyLevel::RestoreTest => Check::RestoreTest,
    }
}

/// What came out, by check. One that failed to be made has not failed.
fn verified(plan: &Plan, report: &RunReport, left_out: Vec<proving::NotChecked>) -> Verified {
    let mut checks = Vec::new();
    let mut not_checked: Vec<NotChecked> = left_out
        .into_iter()
        .map(|one| NotChecked {
            component: one.component,
            backup: one.backup,
            destination: one.destination,
            check: None,
            why: one.why,
        })
        .collect();
    for (step, ended) in plan.steps.iter().zip(&report.steps) {
        let Action::Verify {
            component,
            backup: BackupRef::Id(backup),
            destination,
            check,
        } = &step.action
        else {
            continue;
        };
        let copy = |passed, message: String| VerifiedCopy {
            component: component.clone(),
            backup: *backup,
            destination: destination.clone(),
            check: check.check(),
            passed,
            message,
        };
        let unmade = |component: &ComponentName, why: String| NotChecked {
            component: component.clone(),
            backup: Some(*backup),
            destination: Some(destination.clone()),
            check: Some(check.check()),
            why,
        };
        match &ended.outcome {
            Outcome::Done(done) => checks.push(copy(true, done.note.clone())),
            Outcome::Failed(failure) if failure.kind == FailureKind::Verification => {
                checks.push(copy(false, failure.chain.join(": ")));
            }
            Outcome::Failed(failure) => {
                not_checked.push(unmade(component, failure.chain.join(": ")));
            }
            Outcome::Skipped { .. } | Outcome::NotReached => {
                not_checked.push(unmade(component, "the run was interrupted".to_owned()));
            }
        }
    }
    Verified {
        ok: not_checked.is_empty() && checks.iter().all(|one| one.passed),
        checks,
        not_checked,
    }
}

fn exit_of(verified: &Verified, report: &RunReport) -> Exit {
    let mut exit = match verified.not_checked.is_empty() {
        true => Exit::Ok,
        false => Exit::Incomplete,
    };
    if verified.checks.iter().any(|one| !one.passed) {
        exit = exit.and(Exit::Damaged);
    }
    for step in &report.steps {
        if let Outcome::Failed(failure) = &step.outcome
            && failure.kind == FailureKind::Key
        {
            exit = exit.and(Exit::Key);
        }
    }
    exit
}
