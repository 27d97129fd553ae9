//! Small commands: `fmt`, `schema`, `graph`, `check`, `undelete`. Each is one call and its words.

use crate::cli::args::{GraphFormat, PlanArguments, SchemaFormat};
use crate::cli::exit::{Exit, Trouble, chain};
use crate::cli::holdings::Reading;
use crate::cli::{Context, input, output, plan, world};
use crate::model::ids::{DestinationName, RunId};
use crate::model::units::to_minute;
use crate::plan_file::{self, schema};
use crate::render;
use crate::render::listing::checks::{self, Checked, CheckedRepository, DamagedObject, HitBackup};
use crate::repository::{CheckLevel, CheckReport};
use std::fs;

/// Writes plan files in the usual layout. A file whose meaning or comments would change is left alone.
pub fn fmt(files: &[String], check: bool, diff: bool, context: &Context) -> Result<Exit, Trouble> {
    let mut exit = Exit::Ok;
    for path in files {
        let text = input::read_text(path).map_err(|e| input::read_failed(path, &e))?;
        let wrong = |e| input::show_error(path, &e, &context.terminal);
        if diff {
            if let Some(difference) = plan_file::format_diff(path, &text).map_err(wrong)? {
                output::print(&difference)?;
                exit = exit.and(Exit::Difference);
            }
            continue;
        }
        let formatted = plan_file::format(path, &text).map_err(wrong)?;
        if path == "-" {
            output::print(&formatted)?;
        } else if formatted != text {
            output::print(path)?;
            match check {
                true => exit = exit.and(Exit::Difference),
                false => fs::write(path, formatted)
                    .map_err(|e| Trouble::new(Exit::Error, format!("write `{path}`: {e}")))?,
            }
        }
    }
    Ok(exit)
}

/// Prints the plan language.
pub fn print_schema(format: SchemaFormat) -> Result<Exit, Trouble> {
    output::print(&match format {
        SchemaFormat::Kdl => schema::kdl(),
        SchemaFormat::Json => schema::json(),
        SchemaFormat::Markdown => schema::markdown(),
    })?;
    Ok(Exit::Ok)
}

/// Draws the steps of a plan.
pub async fn graph(
    arguments: &PlanArguments,
    format: GraphFormat,
    context: &Context,
) -> Result<Exit, Trouble> {
    let (plan, _) = plan::planned(arguments, context).await?;
    output::print(&match format {
        GraphFormat::Dot => render::graph::dot(&plan),
        GraphFormat::Mermaid => render::graph::mermaid(&plan),
        GraphFormat::Json => render::graph::json(&plan),
    })?;
    Ok(Exit::Ok)
}

/// Checks repositories: 0 all objects are there, 1 their structure, 2 a part of the bytes, 3 every byte.
pub async fn check(
    file: &str,
    destination: Option<&str>,
    (level, percent): (u8, u8),
    as_json: bool,
    context: &Context,
) -> Result<Exit, Trouble> {
    let depth = match level {
        0 => CheckLevel::Presence,
        1 => CheckLevel::Structure,
        2 => CheckLevel::Sample {
            percent: crate::model::units::Percent(percent.min(100)),
        },
        _ => CheckLevel::Full,
    };
    let reading = Reading::open(file, context).await?;
    let mut repositories = Vec::new();
    for (name, repository, _) in reading.holdings(destination).await? {
        let report = repository.check(depth).await;
        let report = report.map_err(|e| Trouble::from_error(Exit::Error, &e))?;
        repositories.push(checked(name, &report));
    }
    let is_clean = |one: &CheckedRepository| one.damaged.is_empty() && one.hit.is_empty();
    let all = Checked {
        clean: repositories.iter().all(is_clean),
        level,
        repositories,
    };
    output::print(&match as_json {
        true => render::output::json(&all),
        false => checks::checked(&all, &context.look()),
    })?;
    Ok(match all.clean {
        true => Exit::Ok,
        false => Exit::Damaged,
    })
}

fn checked(destination: DestinationName, report: &CheckReport) -> CheckedRepository {
    CheckedRepository {
        destination,
        backups: report.backups,
        packs: report.packs.count,
        pack_bytes: report.packs.bytes,
        packs_read: report.packs_read.count,
        read_bytes: report.packs_read.bytes,
        damaged: report
            .damaged
            .iter()
            .map(|damaged| DamagedObject {
                key: damaged.key.clone(),
                why: chain(&damaged.cause),
            })
            .collect(),
        hit: report
            .hit
            .iter()
            .map(|hit| HitBackup {
                backup: hit.backup,
                component: hit.component.clone(),
                paths: hit.paths.clone(),
                path_count: hit.path_count,
            })
            .collect(),
    }
}

/// Brings a forgotten backup back, at every destination whose trash still has it.
pub async fn undelete(file: &str, backup: &str, context: &Context) -> Result<Exit, Trouble> {
    let reading = Reading::open(file, context).await?;
    let run = RunId(world::random());
    let mut found = 0;
    for (name, repository, holdings) in reading.holdings(None).await? {
        let is_meant = |id: String| id.starts_with(backup);
        let meant: Vec<_> = holdings
            .trashed
            .iter()
            .filter(|trashed| is_meant(trashed.backup.manifest.id.to_string()))
            .collect();
        if meant.len() > 1 {
            let words =
                format!("several forgotten backups begin with `{backup}`; type more of the id");
            return Err(Trouble::new(Exit::Error, words));
        }
        for trashed in meant {
            let made = repository.undelete(trashed, run).await;
            let made = made.map_err(|e| Trouble::new(Exit::Error, chain(&e)))?;
            let (old, new) = (trashed.backup.manifest.id.short(), made.id.short());
            let taken = to_minute(made.started);
            output::print(&format!(
                "{old} of {taken} is back at destination.{name} as {new}"
            ))?;
            found += 1;
        }
    }
    if found == 0 {
        let words = format!(
            "no trash holds a backup `{backup}`; `ccb list --deleted` shows what can come back"
        );
        return Err(Trouble::new(Exit::Absent, words));
    }
    Ok(Exit::Ok)
}
