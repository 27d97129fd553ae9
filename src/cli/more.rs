//! Small commands: `fmt`, `schema`, `graph`, `undelete`. Each is one call and its words.

use crate::cli::args::{GraphFormat, PlanArguments, SchemaFormat};
use crate::cli::exit::{Exit, Trouble, chain};
use crate::cli::holdings::Reading;
use crate::cli::{Context, input, output, plan, world};
use crate::model::ids::RunId;
use crate::model::units::to_minute;
use crate::plan_file::{self, schema};
use crate::render;
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
