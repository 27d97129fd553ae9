//! `ccb restore`: puts a backup back, from the first destination that has it: files whole or in part, a
//! database's dump into a database, Redis' files into a place where their server finds them.

mod base;
mod bucket;
mod cluster;
mod postgres;
mod redis;
mod told;

use crate::cli::args::RestoreArguments;
use crate::cli::exit::{Exit, Trouble, chain};
use crate::cli::holdings::{FoundBackup, Reading, Wanted};
use crate::cli::restore::told::{Sum, Teller};
use crate::cli::{Context, approve, read};
use crate::model::strategy::{Method, SourceSpec};
use crate::model::units::{Size, counted, to_minute};
use crate::restore::files::{Intent, Overwrite, OwnersBy, Report, Request, Sameness, restore};
use std::path::{Path, PathBuf};

/// Restores.
pub async fn run(arguments: &RestoreArguments, context: &Context) -> Result<Exit, Trouble> {
    if arguments.versions || arguments.object_version.is_some() {
        return bucket::restore_versions(arguments, context).await;
    }
    let reading = Reading::open(&arguments.file, context).await?;
    let component = reading.component(&arguments.component)?.clone();
    if let SourceSpec::Postgres(_) = component.source
        && cluster::is_asked_for(&reading, &component, arguments).await?
    {
        return cluster::run(&reading, &component, arguments, context).await;
    }
    let wanted = Wanted {
        component: Some(&component.name),
        backup: arguments.backup.as_deref(),
        // A server's files are restored above; what else there is of a database is dumps.
        method: matches!(component.source, SourceSpec::Postgres(_)).then_some(Method::Dump),
        at_or_before: arguments.time,
        destination: arguments.from.as_deref(),
    };
    let found = reading.find(&wanted).await?;
    match &component.source {
        SourceSpec::Files(files) => {
            let in_place = Some(files.path.as_str());
            restore_files(in_place, &found, arguments, context).await
        }
        SourceSpec::Postgres(source) if found.backup.manifest.method == Method::Dump => {
            let restored = postgres::restore_postgres(source, &found, arguments, context).await?;
            match restored {
                Some(exit) => Ok(exit),
                None => restore_files(None, &found, arguments, context).await,
            }
        }
        SourceSpec::Redis(source) => redis::restore_redis(source, &found, arguments, context).await,
        SourceSpec::S3(source) => bucket::restore_mirror(source, &found, arguments, context).await,
        SourceSpec::Postgres(_) => {
            let words = format!(
                "this version of ccb does not restore component.{}, a {} taken by {}; `ccb cat` writes what is in it",
                component.name,
                component.source.kind(),
                found.backup.manifest.method
            );
            Err(Trouble::new(Exit::Error, words))
        }
    }
}

async fn restore_files(
    in_place: Option<&str>,
    found: &FoundBackup,
    arguments: &RestoreArguments,
    context: &Context,
) -> Result<Exit, Trouble> {
    let target = arguments.to.clone().or(in_place.map(PathBuf::from));
    let target = target.ok_or_else(|| Trouble::new(Exit::Error, "say where to with --to"))?;
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
    let mut teller = Teller::new(arguments, context);
    let mut tell = |path: &[u8], intent: Intent| teller.hear(path, word(intent));
    let restored = restore(&contents, &root, &request, &mut tell).await;
    let report = restored.map_err(|e| Trouble::from_error(Exit::Error, &e))?;
    tell_result(teller, &report, &target, arguments)
}

fn tell_result(
    teller: Teller,
    report: &Report,
    target: &Path,
    arguments: &RestoreArguments,
) -> Result<Exit, Trouble> {
    let problems = report.problems.iter();
    let sum = Sum {
        target: target.display().to_string(),
        written: report.files,
        bytes: report.bytes,
        kept: report.kept,
        problems: problems.map(|problem| chain(problem)).collect(),
        problem_count: report.problem_count,
    };
    let verb = match arguments.dry_run {
        true => "Would restore",
        false => "Restored",
    };
    let words = format!(
        "{verb} {}, {} to `{}`.",
        counted(report.files, "file", "files"),
        Size(report.bytes),
        target.display()
    );
    teller.end(sum, &words, arguments)
}

fn word(intent: Intent) -> &'static str {
    match intent {
        Intent::Create => "create",
        Intent::Overwrite => "overwrite",
        Intent::Keep => "keep",
        Intent::Refuse => "refuse",
    }
}
