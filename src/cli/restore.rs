//! `ccb restore`: puts a backup back, from the first destination that has it: files whole or in part, a
//! database into a place where its server finds it.

mod redis;

use crate::cli::args::RestoreArguments;
use crate::cli::exit::{Exit, Trouble};
use crate::cli::holdings::{FoundBackup, Reading, Wanted};
use crate::cli::{Context, approve, output, read, restore_cluster};
use crate::model::strategy::{FilesSource, SourceSpec};
use crate::model::tree::printable;
use crate::model::units::{Size, to_minute};
use crate::restore::files::{Intent, Overwrite, OwnersBy, Report, Request, Sameness, restore};
use std::path::{Path, PathBuf};

/// Restores.
pub async fn run(arguments: &RestoreArguments, context: &Context) -> Result<Exit, Trouble> {
    let reading = Reading::open(&arguments.file, context).await?;
    let component = reading.component(&arguments.component)?.clone();
    if let SourceSpec::Postgres(_) = component.source
        && restore_cluster::is_asked_for(&reading, &component, arguments).await?
    {
        return restore_cluster::run(&reading, &component, arguments, context).await;
    }
    let wanted = Wanted {
        component: Some(&component.name),
        backup: arguments.backup.as_deref(),
        at_or_before: arguments.time,
        destination: arguments.from.as_deref(),
    };
    let found = reading.find(&wanted).await?;
    match &component.source {
        SourceSpec::Files(files) => restore_files(files, &found, arguments, context).await,
        SourceSpec::Redis(source) => redis::restore_redis(source, &found, arguments, context).await,
        SourceSpec::Postgres(_) | SourceSpec::S3(_) => {
            let words = format!(
                "this version of ccb restores files and Redis only, and component.{} is {}; `ccb cat` writes its stream",
                component.name,
                component.source.kind()
            );
            Err(Trouble::new(Exit::Error, words))
        }
    }
}

async fn restore_files(
    files: &FilesSource,
    found: &FoundBackup,
    arguments: &RestoreArguments,
    context: &Context,
) -> Result<Exit, Trouble> {
    let in_place = Path::new(&files.path);
    let target: PathBuf = arguments
        .to
        .clone()
        .unwrap_or_else(|| in_place.to_path_buf());
    let manifest = &found.backup.manifest;
    if arguments.to.is_none() && !arguments.dry_run && !arguments.auto_approve {
        let question = format!(
            "Restore {} of {} into `{}`, where it was read from?",
            manifest.id.short(),
            to_minute(manifest.started),
            target.display()
        );
        let how_else = "say where to with --to, or add --auto-approve";
        approve::ask(context.global.input, &question, how_else)?;
    }
    let request = Request {
        target: target.clone(),
        paths: arguments
            .paths
            .iter()
            .map(|path| read::clean(path))
            .collect(),
        overwrite: match arguments.overwrite {
            true => Overwrite::Always,
            false => Overwrite::Never,
        },
        sameness: Sameness::Content,
        owners: OwnersBy::Number,
        dry_run: arguments.dry_run,
    };
    let contents = found.reader().await?;
    let root = manifest.root_node();
    let mut tell = |path: &[u8], intent: Intent| {
        if arguments.dry_run && !context.global.quiet {
            let _ = output::print(&format!("{:<10} {}", word(intent), printable(path)));
        }
    };
    let restored = restore(&contents, &root, &request, &mut tell).await;
    let report = restored.map_err(|e| Trouble::from_error(Exit::Error, &e))?;
    tell_result(&report, &target, arguments.dry_run)?;
    Ok(if report.problem_count == 0 {
        Exit::Ok
    } else {
        Exit::Incomplete
    })
}

fn tell_result(report: &Report, target: &Path, dry_run: bool) -> Result<(), Trouble> {
    for problem in &report.problems {
        output::say(&format!("Error: {}", crate::cli::exit::chain(problem)));
    }
    let verb = if dry_run { "Would restore" } else { "Restored" };
    output::print(&format!(
        "{verb} {} files, {} to `{}`.",
        report.files,
        Size(report.bytes),
        target.display()
    ))
}

fn word(intent: Intent) -> &'static str {
    match intent {
        Intent::Create => "create",
        Intent::Overwrite => "overwrite",
        Intent::Keep => "keep",
        Intent::Refuse => "refuse",
    }
}
