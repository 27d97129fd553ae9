//! `ccb restore` of a whole PostgreSQL server: chooses the base backup that leads to the moment that is asked
//! for, proves that its WAL is there, and makes a data directory that recovers when it is started.

use crate::cli::args::RestoreArguments;
use crate::cli::exit::{Exit, Trouble, chain};
use crate::cli::holdings::{FoundBackup, Reading};
use crate::cli::{Context, output};
use crate::model::ids::DestinationName;
use crate::model::strategy::{Component, Method, SecretRef};
use crate::model::units::{Size, to_minute};
use crate::model::wal::{Archive, BaseFacts, Chain, WalFacts};
use crate::repository::{Holdings, ListedBackup, Repository};
use crate::restore::cluster::{Recovery, Until, command_line, restore, settings};
use crate::restore::wal::WalPlace;
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

type Held = (DestinationName, Repository, Holdings);

/// A base backup and where it is.
struct Base<'a> {
    at: &'a Held,
    backup: &'a ListedBackup,
    facts: BaseFacts,
}

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
        restore_command: fetch_command(component, arguments, context)?,
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
    let keys = destinations.filter_map(|d| reading.strategy.encryption(d.encrypt.as_ref()?));
    let of_keys = keys.filter_map(|encryption| match &encryption.key {
        SecretRef::Env(name) => Some(name.as_str()),
        _ => None,
    });
    let in_values = reading
        .strategy
        .env_in_values
        .iter()
        .map(|used| used.name.as_str());
    let names: BTreeSet<&str> = of_keys.chain(in_values).collect();
    if !names.is_empty() {
        let names: Vec<&str> = names.into_iter().collect();
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

/// All WAL of the component that is held anywhere that is looked at.
async fn wal_of(component: &Component, held: &[Held]) -> Result<Vec<WalFacts>, Trouble> {
    let names = std::iter::once(&component.name).chain(&component.moved_from);
    let names: Vec<_> = names.cloned().collect();
    let mut all = Vec::new();
    for (destination, repository, _) in held {
        let mut place = WalPlace::new(repository.clone(), names.clone());
        let facts = place.facts().await.map_err(|e| {
            Trouble::new(
                Exit::Error,
                format!("destination.{destination}: {}", chain(&e)),
            )
        })?;
        all.extend(facts);
    }
    Ok(all)
}

/// Base backups of the component, newest first; the copy at the first destination in `store`.
fn bases<'a>(component: &Component, held: &'a [Held]) -> Vec<Base<'a>> {
    let order = |name: &DestinationName| {
        let place = component.store.iter().position(|n| n == name);
        place.unwrap_or(component.store.len())
    };
    let mut all: Vec<Base> = held
        .iter()
        .flat_map(|at| at.2.backups.iter().map(move |backup| (at, backup)))
        .filter(|(_, backup)| {
            let manifest = &backup.manifest;
            let is_ours = manifest.component == component.name
                || component.moved_from.contains(&manifest.component);
            is_ours && manifest.method == Method::Base && manifest.complete
        })
        .filter_map(|(at, backup)| {
            let facts = BaseFacts::of(&backup.manifest)?;
            Some(Base { at, backup, facts })
        })
        .collect();
    all.sort_by_key(|base| {
        let manifest = &base.backup.manifest;
        (
            std::cmp::Reverse(manifest.finished),
            manifest.id,
            order(&base.at.0),
        )
    });
    all.dedup_by_key(|base| base.backup.manifest.id);
    all
}

/// The newest base that leads to where it is to go, and its way there.
fn choose<'a>(
    component: &Component,
    held: &'a [Held],
    wal: &[WalFacts],
    arguments: &RestoreArguments,
) -> Result<(Base<'a>, Chain), Trouble> {
    let absent = |words: String| Trouble::new(Exit::Absent, words);
    let all = bases(component, held);
    let Some(oldest) = all.last().map(|base| base.backup.manifest.finished) else {
        let words = format!(
            "there is no base backup of component.{}; `ccb list` shows what there is",
            component.name
        );
        return Err(absent(words));
    };
    let wanted = arguments.backup.as_deref().filter(|text| *text != "latest");
    let mut first_trouble = None;
    for base in all {
        let manifest = &base.backup.manifest;
        let is_meant = wanted.is_none_or(|prefix| manifest.id.to_string().starts_with(prefix));
        let is_before = arguments.time.is_none_or(|time| manifest.finished <= time);
        if !is_meant || !is_before {
            continue;
        }
        match way(&base, wal, arguments) {
            Ok(chain) => return Ok((base, chain)),
            Err(words) => {
                first_trouble.get_or_insert(format!(
                    "from the base {} of {}: {words}",
                    manifest.id.short(),
                    to_minute(manifest.started)
                ));
            }
        }
    }
    Err(absent(match (first_trouble, arguments.time) {
        (Some(words), _) => words,
        (None, Some(time)) => format!(
            "no base backup was finished by {}; the earliest moment that can be restored is {}",
            exactly(time),
            exactly(oldest)
        ),
        (None, None) => format!(
            "no base backup begins with `{}`",
            wanted.unwrap_or_default()
        ),
    }))
}

/// The way from a base to where it is to go, or why there is none.
fn way(base: &Base, wal: &[WalFacts], arguments: &RestoreArguments) -> Result<Chain, String> {
    let facts = &base.facts;
    let (Some(first), Some(last)) = (facts.first_segment(), facts.last_segment()) else {
        return Err("its manifest names no WAL".to_owned());
    };
    let archive = Archive::of(facts.system_identifier, wal)
        .ok_or_else(|| "none of the WAL that it needs is archived".to_owned())?;
    let latest = || archive.latest(facts.timeline, facts.stop_lsn);
    let timeline = arguments.timeline.unwrap_or_else(latest);
    let chain = archive.chain(&first, timeline).ok_or_else(|| {
        format!("timeline {timeline} does not go on from it, or its history is not archived")
    })?;
    let reached = chain
        .reaches
        .and_then(|name| name.number(facts.segment_bytes));
    let is_consistent =
        chain.timeline != facts.timeline || reached >= last.number(facts.segment_bytes);
    let missing = chain.gaps.first().map(|gap| match gap.count {
        1 => format!("the segment {} is missing", gap.first),
        n => format!("{n} segments from {} on are missing", gap.first),
    });
    if reached.is_none() || !is_consistent {
        let missing = missing.unwrap_or_else(|| format!("WAL up to {last} is not archived"));
        return Err(format!("it can not be restored: {missing}"));
    }
    let until = chain.until.map_or_else(|| "its end".to_owned(), exactly);
    match (arguments.time, missing) {
        (Some(time), Some(missing)) if chain.until < Some(time) => Err(format!(
            "{missing}, so that no moment after {until} can be reached"
        )),
        (Some(time), None) if chain.until < Some(time) => Err(format!(
            "the archive ends at {until}, before {}; leave --time out to go to its end",
            exactly(time)
        )),
        (None, Some(missing)) => Err(format!(
            "{missing}, so that its WAL does not lead to the end; --time {until} is the latest moment before"
        )),
        _ => Ok(chain),
    }
}

/// So that it can be pasted after `--time`.
fn exactly(time: Timestamp) -> String {
    time.to_string()
}

/// The restore_command: this very program, with what it was given.
fn fetch_command(
    component: &Component,
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
    if let Some(from) = &arguments.from {
        words.extend(["--from".to_owned(), from.clone()]);
    }
    words.extend(context.global.variables.as_arguments()?);
    Ok(command_line(&words))
}

fn absolute(path: &Path) -> Result<PathBuf, Trouble> {
    let made = std::path::absolute(path);
    made.map_err(|e| Trouble::new(Exit::Error, format!("find `{}`: {e}", path.display())))
}
