//! `ccb wal push` and `ccb wal fetch`: what a PostgreSQL server runs as archive_command and restore_command.
//! A push says yes only when the file is durable. A fetch says that there is no such file only when it is
//! sure, for the server takes that for the end of the log and opens what it has.

use crate::cli::args::{FetchArguments, WalCommand};
use crate::cli::exit::{Exit, Trouble, chain};
use crate::cli::places::{self, Place};
use crate::cli::world::Commands;
use crate::cli::{Context, input, output};
use crate::model::ids::{ComponentName, DestinationName};
use crate::model::strategy::{Component, Strategy};
use crate::model::wal::{Archive, SegmentBytes, SystemId, WalFacts, WalName};
use crate::plan_file::UnsetEnv;
use crate::repository::{NamedBy, OpenError, PackedWal, Repository, RepositoryError};
use crate::restore::wal::WalPlace;
use crate::source::wal;
use crate::store::Kind;
use bytes::Bytes;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Whether these arguments mean a fetch, also when they are wrong: also then it must not look like the end
/// of the archive.
pub fn is_fetch(arguments: impl Iterator<Item = OsString>) -> bool {
    let words: Vec<OsString> = arguments.collect();
    words
        .windows(2)
        .any(|two| two[0] == "wal" && two[1] == "fetch")
}

/// Runs either.
pub async fn run(command: WalCommand, context: &Context) -> Result<Exit, Trouble> {
    match command {
        WalCommand::Push {
            file,
            component,
            path,
            chdir,
        } => {
            let path = from_here(&path)?;
            let (begun, packed) = begin(&path)?;
            let job = Job::read(&file, &component, chdir.as_deref(), context)?;
            push(&job, &path, begun, packed).await
        }
        WalCommand::Fetch(arguments) => fetch(&arguments, context).await,
    }
}

/// A plan file and one of its components.
struct Job {
    strategy: Strategy,
    component: Component,
}

impl Job {
    fn read(
        file: &str,
        component: &str,
        chdir: Option<&Path>,
        context: &Context,
    ) -> Result<Self, Trouble> {
        let wrong = |words: String| Trouble::new(Exit::Error, words);
        if let Some(folder) = chdir {
            std::env::set_current_dir(folder)
                .map_err(|e| wrong(format!("go to `{}`: {e}", folder.display())))?;
        }
        let variables = &context.global.variables;
        let strategy = input::strategy(file, variables, UnsetEnv::Refuse, &context.terminal)?;
        let name = ComponentName::new(component).map_err(|e| wrong(e.to_string()))?;
        let found = strategy.component(&name).cloned();
        let component = found.ok_or_else(|| wrong(format!("{file} has no component `{name}`")))?;
        if component.source.kind() != "postgres" {
            let kind = component.source.kind();
            return Err(wrong(format!(
                "component.{name} is {kind}, which has no WAL"
            )));
        }
        Ok(Self {
            strategy,
            component,
        })
    }

    /// The repository at that destination, or why there is none.
    async fn open(&self, name: &DestinationName) -> Result<Repository, Trouble> {
        let absent =
            |words: String| Trouble::new(Exit::Absent, format!("destination.{name}: {words}"));
        let destination = self.strategy.destination(name);
        let destination =
            destination.ok_or_else(|| absent("it is not in the plan file".to_owned()))?;
        let place: Place = places::open(&self.strategy, destination, Commands::Run).await?;
        place.opened.map_err(|e| match e {
            OpenError::Absent(place) => absent(format!(
                "there is no repository at {place}; `ccb apply` makes it"
            )),
            e => absent(chain(&e)),
        })
    }
}

/// Starts to read and compress a file: that goes on while the plan file is read and the repository is opened, for
/// the server waits for all of it.
fn begin(path: &Path) -> Result<(Begun, PackedWal), Trouble> {
    let file = wal::open(path).map_err(|e| Trouble::from_error(Exit::Error, &e))?;
    let begun = (file.name, file.cluster);
    let path = path.to_path_buf();
    let again = move || wal::open(&path).map_err(io::Error::other);
    Ok((begun, PackedWal::start(file, again)))
}

/// A file's name and the cluster that wrote it.
type Begun = (WalName, (SystemId, SegmentBytes));

/// Archives one file: it is archived when it is durable at the first destination, and not before. Until then
/// the server keeps it and tries again.
async fn push(
    job: &Job,
    path: &Path,
    (name, cluster): Begun,
    packed: PackedWal,
) -> Result<Exit, Trouble> {
    let component = &job.component.name;
    let destination = job.component.store.first().ok_or_else(|| {
        let words = format!("component.{component} is stored nowhere");
        Trouble::new(Exit::Error, words)
    })?;
    let not_archived = |exit: Exit, why: String| {
        let words = format!("{name} is not archived: {why}");
        Trouble::new(exit, words)
    };
    let repository = job.open(destination).await;
    let repository = repository.map_err(|trouble| not_archived(trouble.exit, trouble.message))?;
    let failed_there = |e: RepositoryError| match e {
        RepositoryError::Stream { cause, .. } => {
            not_archived(Exit::Error, format!("read it: {}", chain(&*cause)))
        }
        e => not_archived(
            exit_of(&e),
            format!("destination.{destination}: {}", chain(&e)),
        ),
    };
    let prepared = prepare(&repository, component, path, (&name, cluster)).await;
    prepared.map_err(&failed_there)?;
    let kept = repository.put_wal(component, cluster.0, &name, packed);
    kept.await.map_err(&failed_there)?;
    Ok(Exit::Ok)
}

/// What must be there before a file of that cluster is.
async fn prepare(
    repository: &Repository,
    component: &ComponentName,
    path: &Path,
    (name, cluster): (&WalName, (SystemId, SegmentBytes)),
) -> Result<(), RepositoryError> {
    repository
        .accept_wal_of(component, cluster, NamedBy::Push)
        .await?;
    keep_history(repository, component, cluster.0, path, name).await
}

/// A server that was promoted while it archived nothing never hands over where its timeline came from; without
/// that, nothing on it could be found again.
async fn keep_history(
    repository: &Repository,
    component: &ComponentName,
    system: SystemId,
    path: &Path,
    name: &WalName,
) -> Result<(), RepositoryError> {
    let history = WalName::History(name.timeline());
    let beside = path.with_file_name(history.to_string());
    if name.segment().is_none() || name.timeline() == 1 || !beside.exists() {
        return Ok(());
    }
    let known = repository.get_wal(component, system, &history).await?;
    if let (None, Ok(file)) = (known, wal::read(&beside)) {
        repository
            .put_wal(component, system, &history, PackedWal::of(file.bytes))
            .await?;
    }
    Ok(())
}

fn exit_of(error: &RepositoryError) -> Exit {
    match error {
        RepositoryError::Store(e) if e.kind == Kind::Unreachable => Exit::Absent,
        _ => Exit::Error,
    }
}

/// What a look for a file at all destinations came to.
#[derive(Default)]
struct Search {
    places: Vec<WalPlace>,
    /// What could not be looked at.
    troubles: Vec<String>,
}

/// Gets one file. Every trouble is one that recovery must stop for.
async fn fetch(arguments: &FetchArguments, context: &Context) -> Result<Exit, Trouble> {
    let stop = |words: String| Trouble::new(Exit::Stop, words);
    let path = from_here(&arguments.path)?;
    let name: WalName = arguments.name.parse().map_err(|e| stop(format!("{e}")))?;
    let system = wal::system_around(&path).map_err(|e| Trouble::from_error(Exit::Stop, &e))?;
    let (file, component) = (&arguments.file, &arguments.component);
    let job = Job::read(file, component, arguments.chdir.as_deref(), context)?;
    let mut search = Search::default();
    for destination in &job.component.store {
        let from = &arguments.from;
        if !from.is_empty() && !from.iter().any(|from| from == destination.as_str()) {
            continue;
        }
        if let Some(bytes) = search.look(&job, destination, system, &name).await {
            write(&path, &bytes).map_err(|e| stop(format!("write `{}`: {e}", path.display())))?;
            return Ok(Exit::Ok);
        }
    }
    let found = search.prove_the_end(system, &name).await.map_err(stop)?;
    if let Some(bytes) = found {
        write(&path, &bytes).map_err(|e| stop(format!("write `{}`: {e}", path.display())))?;
        return Ok(Exit::Ok);
    }
    if let WalName::Segment(_) = name {
        output::say(&format!(
            "{name} is not archived, and nothing after it: the archive ends here"
        ));
    }
    Ok(Exit::Error)
}

impl Search {
    async fn look(
        &mut self,
        job: &Job,
        destination: &DestinationName,
        system: SystemId,
        name: &WalName,
    ) -> Option<Bytes> {
        let repository = match job.open(destination).await {
            Ok(repository) => repository,
            Err(trouble) => {
                self.troubles.push(trouble.message);
                return None;
            }
        };
        let names = std::iter::once(&job.component.name).chain(&job.component.moved_from);
        let mut place = WalPlace::new(repository, names.cloned().collect());
        match place.find(system, name).await {
            Ok(Some(bytes)) => return Some(bytes),
            Ok(None) => self.places.push(place),
            Err(e) => {
                let words = format!("destination.{destination}: {}", chain(&e));
                self.troubles.push(words);
                self.places.push(place);
            }
        }
        None
    }

    /// Nothing has the file: whether that is the end, or something is lost or out of sight. Gives it after all when
    /// it came meanwhile.
    async fn prove_the_end(
        mut self,
        system: SystemId,
        name: &WalName,
    ) -> Result<Option<Bytes>, String> {
        if self.places.is_empty() && self.troubles.is_empty() {
            return Err("no destination was looked at; check --from".to_owned());
        }
        let mut facts = Vec::new();
        for place in &mut self.places {
            match place.facts().await {
                Ok(held) => facts.extend(held),
                Err(e) => self.troubles.push(chain(&e)),
            }
        }
        let archive = Archive::of(system, &facts);
        let later = archive.and_then(|archive| archive.comes_later(name));
        let is_of = |held: &WalFacts| held.system_identifier == system && held.holds(name);
        if later.is_some() || facts.iter().any(is_of) {
            // A server that runs goes on handing over: when a later one is there by now, so may this one be, which it
            // hands over first.
            for place in &mut self.places {
                if let Ok(Some(bytes)) = place.find(system, name).await {
                    return Ok(Some(bytes));
                }
            }
        }
        let missing = match later {
            Some(later) => format!("{name} is missing, and {later} after it is there"),
            None if self.troubles.is_empty() => return Ok(None),
            None => format!("{name} was not found, and not all could be looked at"),
        };
        let (why, way_out) = match self.troubles.is_empty() {
            true => (String::new(), ""),
            false => (
                format!(" ({})", self.troubles.join("; ")),
                ". If what is away is lost for good: ccb wal fetch --from DESTINATION looks at that one only",
            ),
        };
        Err(format!(
            "{missing}{why}; recovery stops here, so that nothing after it is lost{way_out}"
        ))
    }
}

/// A path that stays the same when the current directory changes.
fn from_here(path: &Path) -> Result<PathBuf, Trouble> {
    std::path::absolute(path)
        .map_err(|e| Trouble::new(Exit::Error, format!("find `{}`: {e}", path.display())))
}

/// The file has its name only when it is whole.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".ccb-{}", std::process::id()));
    let written = fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}
