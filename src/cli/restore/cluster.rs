//! `ccb restore` of a whole PostgreSQL server: chooses the base backup that leads to the moment that is asked
//! for, proves that its WAL is there, and makes a data directory that recovers when it is started.

use crate::cli::args::RestoreArguments;
use crate::cli::exit::{Exit, Trouble};
use crate::cli::holdings::{FoundBackup, Reading};
use crate::cli::restore::base::{Held, bases, choose, wal_of};
use crate::cli::{Context, output};
use crate::model::strategy::{Component, Method, SecretRef};
use crate::model::units::{Size, to_minute};
use crate::model::wal::Chain;
use crate::repository::ListedBackup;
use crate::restore::cluster::{Recovery, Until, command_line, restore, settings};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Whether a server's files are asked for rather than a dump: a base is named, or there are bases, and a
/// moment or a directory is, or there is no dump.
pub async fn is_asked_for(
    reading: &Reading,
    component: &Component,
    arguments: &RestoreArguments,
) -> Result<bool, Trouble> {
    let held = reading.holdings(arguments.from.as_deref()).await?;
    let named = arguments.backup.as_deref().filter(|text| *text != "latest");
    if let Some(prefix) = named {
        let backups = held.iter().flat_map(|(_, _, holdings)| &holdings.backups);
        let mut named = backups.filter(|b| b.manifest.id.to_string().starts_with(prefix));
        return Ok(named.any(|b| matches!(b.manifest.method, Method::Base | Method::Wal)));
    }
    let mut backups = held.iter().flat_map(|(_, _, holdings)| &holdings.backups);
    let is_dump = |b: &ListedBackup| {
        b.manifest.component == component.name && b.manifest.method == Method::Dump
    };
    let to = arguments.to.as_deref();
    let is_file = |to: &Path| {
        to.extension()
            .is_some_and(|end| end == "dump" || end == "sql")
    };
    let is_path = to.is_some_and(|to| {
        (to.is_absolute() || to.starts_with(".") || to.starts_with("..")) && !is_file(to)
    });
    let is_clear = arguments.time.is_some() || is_path || !backups.any(is_dump);
    Ok(is_clear && !bases(component, &held).is_empty())
}

/// Restores.
pub async fn run(
    reading: &Reading,
    component: &Component,
    arguments: &RestoreArguments,
    context: &Context,
) -> Result<Exit, Trouble> {
    let Some(to) = &arguments.to else {
        let words =
            "say into which directory with --to: a running server's own files are never replaced";
        return Err(Trouble::new(Exit::Error, words));
    };
    if !arguments.paths.is_empty() || arguments.overwrite {
        let words = "a server is restored as a whole, into an empty directory: leave paths and --overwrite out";
        return Err(Trouble::new(Exit::Error, words));
    }
    let held = reading.holdings(arguments.from.as_deref()).await?;
    let wal = wal_of(component, &held).await?;
    let (base, chain) = choose(component, &held, &wal, arguments)?;
    let until = arguments.time.map_or(Until::End, Until::Time);
    let recovery = Recovery {
        restore_command: fetch_command(component, &held, arguments, context)?,
        until,
        timeline: chain.timeline,
    };
    let manifest = &base.backup.manifest;
    let from = format!("{} of {}", manifest.id.short(), to_minute(manifest.started));
    let target = absolute(to)?;
    if arguments.dry_run {
        output::print(&format!(
            "Would restore the base {from} to `{}`, {}.",
            target.display(),
            going(&chain, until)
        ))?;
        return Ok(Exit::Ok);
    }
    let found = FoundBackup {
        repository: base.at.1.clone(),
        destination: base.at.0.clone(),
        backup: base.backup.clone(),
    };
    let _pinned = found
        .repository
        .pin(&[base.backup])
        .await
        .map_err(|e| Trouble::from_error(Exit::Error, &e))?;
    let reader = found.reader().await?;
    let restored = restore(
        &reader,
        &manifest.root_node(),
        &target,
        &settings(&recovery),
    )
    .await;
    let report = restored.map_err(|e| Trouble::from_error(Exit::Error, &e))?;
    output::print(&format!(
        "Restored the base {from} to `{}`: {} files, {}.\nWhen it is started, it recovers by itself, {}.",
        target.display(),
        report.files,
        Size(report.bytes),
        going(&chain, until)
    ))?;
    let alone = looked_at(component, &held, arguments);
    if arguments.from.is_none() && !alone.is_empty() {
        output::print(&format!(
            "It looks for WAL at {} alone, as no other destination of component.{} showed a repository.",
            alone.join(", "),
            component.name
        ))?;
    }
    tell_how_to_start(reading, component, &target)?;
    Ok(Exit::Ok)
}

fn going(chain: &Chain, until: Until) -> String {
    match (until, &chain.reaches) {
        (Until::Time(time), _) => format!("to {}", time.strftime("%F %T%.f UTC")),
        (_, Some(last)) => format!("to the end of its WAL, which is now in {last}"),
        (_, None) => "to the end of its WAL".to_owned(),
    }
}

/// What the server needs that ccb does not know.
fn tell_how_to_start(
    reading: &Reading,
    component: &Component,
    target: &Path,
) -> Result<(), Trouble> {
    let destinations = component
        .store
        .iter()
        .filter_map(|name| reading.strategy.destination(name));
    let prefixes = destinations
        .clone()
        .filter_map(|d| d.credentials.as_ref()?.env_prefix.as_deref());
    let of_access = prefixes.flat_map(|prefix| {
        ["ACCESS_KEY_ID", "SECRET_ACCESS_KEY"].map(|name| format!("{prefix}{name}"))
    });
    let keys = destinations.filter_map(|d| reading.strategy.encryption(d.encrypt.as_ref()?));
    let of_keys = keys.filter_map(|encryption| match &encryption.key {
        SecretRef::Env(name) => Some(name.clone()),
        _ => None,
    });
    let in_values = reading
        .strategy
        .env_in_values
        .iter()
        .map(|used| used.name.clone());
    let names: BTreeSet<String> = of_access.chain(of_keys).chain(in_values).collect();
    if !names.is_empty() {
        let names: Vec<String> = names.into_iter().collect();
        output::print(&format!(
            "It gets its WAL with `ccb wal fetch`, which needs in the server's environment: {}",
            names.join(", ")
        ))?;
    }
    if !target.join("postgresql.conf").exists() {
        output::print(&format!(
            "The backup has no postgresql.conf, because the server's lay elsewhere: start it with one, as in\n  pg_ctl -D '{}' -o \"-c config_file=/etc/postgresql/…/postgresql.conf\" start",
            target.display()
        ))?;
    }
    Ok(())
}

/// The destinations that the server is to look at alone: the one that was asked for, or those that were seen
/// where others were not. Those could be gone for good, and a recovery that asks them never comes to its end.
fn looked_at(component: &Component, held: &[Held], arguments: &RestoreArguments) -> Vec<String> {
    if let Some(from) = &arguments.from {
        return vec![from.clone()];
    }
    let is_seen = |name: &&_| held.iter().any(|(seen, _, _)| seen == *name);
    let seen: Vec<_> = component.store.iter().filter(is_seen).collect();
    match seen.len() == component.store.len() {
        true => Vec::new(),
        false => seen.into_iter().map(|name| name.to_string()).collect(),
    }
}

/// The restore_command: this very program, with what it was given.
fn fetch_command(
    component: &Component,
    held: &[Held],
    arguments: &RestoreArguments,
    context: &Context,
) -> Result<String, Trouble> {
    let failed = |words: String| Trouble::new(Exit::Error, words);
    if arguments.file == "-" {
        let words =
            "the plan file must be a file: the restored server reads it too, to get its WAL";
        return Err(failed(words.to_owned()));
    }
    let program = std::env::current_exe().map_err(|e| failed(format!("find this program: {e}")))?;
    let here = std::env::current_dir().map_err(|e| failed(format!("find this directory: {e}")))?;
    let text = |path: PathBuf| {
        let text = path.to_str().map(str::to_owned);
        text.ok_or_else(|| {
            failed(format!(
                "`{}` is no text, and a server can not be given it",
                path.display()
            ))
        })
    };
    let file = absolute(Path::new(&arguments.file))?;
    let mut words = vec![text(program)?, "wal".to_owned(), "fetch".to_owned()];
    words.push(text(file)?);
    words.push(component.name.to_string());
    words.extend(["%f", "%p"].map(str::to_owned));
    words.extend(["--chdir".to_owned(), text(here)?]);
    for from in looked_at(component, held, arguments) {
        words.extend(["--from".to_owned(), from]);
    }
    words.extend(context.global.variables.as_arguments()?);
    Ok(command_line(&words))
}

fn absolute(path: &Path) -> Result<PathBuf, Trouble> {
    let made = std::path::absolute(path);
    made.map_err(|e| Trouble::new(Exit::Error, format!("find `{}`: {e}", path.display())))
}
