//! `ccb explain` and `ccb simulate`: what a rule means, why a backup stays or goes, what will be kept over
//! time. Nothing is written.

use crate::cli::args::{ExplainArguments, SimulateArguments};
use crate::cli::exit::{Exit, Trouble};
use crate::cli::holdings::{Reading, Wanted};
use crate::cli::survey::Survey;
use crate::cli::{Context, output};
use crate::model::ids::BackupId;
use crate::model::rules;
use crate::plan::explain::explain as explain_backup;
use crate::plan::simulate::simulate as run_days;
use crate::render::listing::explain::{self, BackupExplained, RuleExplained};
use crate::render::listing::simulation;
use crate::render::output as document;

/// Explains a rule, or a backup.
pub async fn explain(arguments: &ExplainArguments, context: &Context) -> Result<Exit, Trouble> {
    match &arguments.backup {
        Some(backup) => explain_one(arguments, backup, context).await,
        None => explain_rule(arguments, context),
    }
}

/// What a rule says, why, and what to do.
fn explain_rule(arguments: &ExplainArguments, context: &Context) -> Result<Exit, Trouble> {
    let name = &arguments.subject;
    let Some(rule) = rules::find(name).or_else(|| rules::find(&name.to_uppercase())) else {
        let words = format!(
            "there is no rule `{name}`; rules are named like CCB202 or `copies`; for a backup: `ccb explain FILE BACKUP`"
        );
        return Err(Trouble::new(Exit::Error, words));
    };
    output::print(&match arguments.json.json {
        true => document::json(&RuleExplained::from(rule)),
        false => explain::rule(rule, &context.look()),
    })?;
    Ok(Exit::Ok)
}

async fn explain_one(
    arguments: &ExplainArguments,
    backup: &str,
    context: &Context,
) -> Result<Exit, Trouble> {
    let survey = Survey::make(&arguments.subject, arguments.at, context).await?;
    survey.warn_of_unseen()?;
    let id = match in_trash(&survey, backup)? {
        Some(id) => id,
        None => {
            let reading = Reading::open(&arguments.subject, context).await?;
            let wanted = Wanted {
                backup: Some(backup),
                ..Wanted::default()
            };
            reading.choose(&reading.holdings(None).await?, &wanted)?
        }
    };
    let trash = survey.strategy.apply.trash;
    let Some(explained) = explain_backup(&survey.plan, &survey.inventory, trash, &id) else {
        let words = format!("backup {} is gone since it was looked for", id.short());
        return Err(Trouble::new(Exit::Absent, words));
    };
    output::print(&match arguments.json.json {
        true => document::json(&BackupExplained::from(&explained)),
        false => explain::backup(&explained, &context.look()),
    })?;
    Ok(Exit::Ok)
}

/// A forgotten backup whose id begins so, where no live one's does.
fn in_trash(survey: &Survey, prefix: &str) -> Result<Option<BackupId>, Trouble> {
    let begins = |id: &BackupId| id.to_string().starts_with(prefix);
    let holdings = || survey.inventory.destinations.values();
    let mut live = holdings().flat_map(|holding| &holding.backups);
    if live.any(|held| begins(&held.manifest.id)) {
        return Ok(None);
    }
    let trashed = holdings().flat_map(|holding| &holding.trashed);
    let mut ids: Vec<BackupId> = trashed
        .map(|gone| gone.manifest.id)
        .filter(begins)
        .collect();
    ids.sort_unstable();
    ids.dedup();
    match ids.as_slice() {
        [] => Ok(None),
        [id] => Ok(Some(*id)),
        _ => {
            let words =
                format!("several forgotten backups begin with `{prefix}`; type more of the id");
            Err(Trouble::new(Exit::Error, words))
        }
    }
}

/// Runs the planner over the days to come.
pub async fn simulate(arguments: &SimulateArguments, context: &Context) -> Result<Exit, Trouble> {
    let survey = Survey::make(&arguments.file, arguments.at, context).await?;
    let (at, days) = (survey.plan.at, arguments.days);
    let simulated = run_days(&survey.strategy, &survey.inventory, at, days);
    let simulated = simulated.map_err(|e| Trouble::from_error(Exit::Error, &e))?;
    output::print(&match arguments.json.json {
        true => document::json(&simulated),
        false => simulation::simulation(&simulated, &context.look()),
    })?;
    Ok(Exit::Ok)
}
