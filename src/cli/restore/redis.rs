//! `ccb restore` of a Redis backup: into a data directory, while no server runs there.

use crate::cli::args::RestoreArguments;
use crate::cli::exit::{Exit, Trouble};
use crate::cli::holdings::FoundBackup;
use crate::cli::world::{self, Commands};
use crate::cli::{Context, approve, output};
use crate::model::strategy::RedisSource;
use crate::model::units::{Size, to_minute};
use crate::restore::redis::{Conf, Report, Request, answers, restore};
use crate::source::redis::Target;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Restores.
pub async fn restore_redis(
    source: &RedisSource,
    found: &FoundBackup,
    arguments: &RestoreArguments,
    context: &Context,
) -> Result<Exit, Trouble> {
    if !arguments.paths.is_empty() {
        let words = "a Redis backup is restored whole: a server needs all its files";
        return Err(Trouble::new(Exit::Error, words));
    }
    let target = target(source, arguments)?;
    let manifest = &found.backup.manifest;
    if arguments.to.is_none() && !arguments.dry_run && !arguments.auto_approve {
        let question = format!(
            "Restore {} of {} into `{}`, the server's data directory?",
            manifest.id.short(),
            to_minute(manifest.started),
            target.display()
        );
        approve::ask(
            context.global.input,
            &question,
            "say where to with --to, or add --auto-approve",
        )?;
    }
    check_server(source, &target)?;
    let conf = match &arguments.redis_conf {
        Some(path) => Conf::read(path).map_err(|e| Trouble::from_error(Exit::Error, &e))?,
        None => Conf::default(),
    };
    let request = Request {
        target,
        conf,
        replace: arguments.overwrite,
        dry_run: arguments.dry_run,
    };
    let reader = found.reader().await?;
    let restored = restore(manifest, &reader, &request).await;
    let report = restored.map_err(|e| Trouble::from_error(Exit::Error, &e))?;
    if arguments.json.json {
        output::print(&as_json(&report, &request))?;
    } else if !context.global.quiet {
        output::print(&words(&report, &request))?;
    }
    Ok(Exit::Ok)
}

fn target(source: &RedisSource, arguments: &RestoreArguments) -> Result<PathBuf, Trouble> {
    if let Some(to) = &arguments.to {
        return Ok(to.clone());
    }
    match &source.data_dir {
        Some(data_dir) if source.via.is_empty() => Ok(data_dir.into()),
        Some(_) => Err(Trouble::new(
            Exit::Error,
            "the server lives on the far side of `via`: say with --to where its volume is on this machine",
        )),
        None => Err(Trouble::new(
            Exit::Error,
            "the plan file names no `data-dir`: say where to with --to",
        )),
    }
}

/// Refuses while the component's own server runs in the target.
fn check_server(source: &RedisSource, target: &Path) -> Result<(), Trouble> {
    // Without its URL the server can not be asked; whether a process uses the target is seen anyway.
    let Ok(url) = world::secret(&source.url, Commands::Run) else {
        return Ok(());
    };
    let server = Target::new(&url, &source.via);
    let server = server.map_err(|e| Trouble::from_error(Exit::Error, &e))?;
    let is_its_data_dir = source
        .data_dir
        .as_ref()
        .is_some_and(|dir| Path::new(dir) == target);
    match answers(&server, target, is_its_data_dir) {
        None => Ok(()),
        Some(place) => {
            let words = format!(
                "Redis at {place} is running, and `{}` is its data directory: stop it first, it would overwrite what is restored",
                target.display()
            );
            Err(Trouble::new(Exit::Error, words))
        }
    }
}

fn words(report: &Report, request: &Request) -> String {
    let target = request.target.display();
    let mut lines = Vec::new();
    let (would, names) = (request.dry_run, report.files.join(", "));
    if let Some(aside) = &report.moved_aside {
        let verb = if would { "would be moved" } else { "is now" };
        lines.push(format!(
            "What Redis had there {verb} in `{}`.",
            aside.display()
        ));
    }
    lines.push(match would {
        true => format!("Would restore {names} to `{target}`."),
        false => format!("Restored {names}, {} to `{target}`.", Size(report.bytes)),
    });
    let appendonly = if report.appendonly { "yes" } else { "no" };
    let mut settings = format!("--appendonly {appendonly}");
    for (name, value) in &report.settings {
        settings.push_str(&format!(" --{name} {value}"));
    }
    lines.push(format!(
        "Start the server with these settings, as its service or by hand: redis-server --dir {target} {settings}"
    ));
    if let Some(keys) = report.keys {
        lines.push(format!(
            "It then has {keys} keys, less those that have expired since: redis-cli INFO keyspace"
        ));
    }
    lines.extend(report.cautions.iter().cloned());
    lines.join("\n")
}

fn as_json(report: &Report, request: &Request) -> String {
    let document = json!({
        "target": request.target,
        "files": report.files,
        "bytes": report.bytes,
        "moved_aside": report.moved_aside,
        "appendonly": report.appendonly,
        "settings": report.settings,
        "keys": report.keys,
        "cautions": report.cautions,
    });
    format!("{document:#}")
}
