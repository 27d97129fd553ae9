//! Finds backups by what people type: an id, its beginning, `latest`, a component, a time, a destination.
//! Reads only; destinations are tried in the order of the component's `store`.

use crate::cli::exit::{Exit, Trouble};
use crate::cli::places::{self, Places};
use crate::cli::survey::NOTHING_YET;
use crate::cli::world::Commands;
use crate::cli::{Context, input};
use crate::model::ids::{BackupId, ComponentName, DestinationName};
use crate::model::strategy::{Component, Destination, Method, Strategy};
use crate::model::units::to_minute;
use crate::plan_file::UnsetEnv;
use crate::repository::{Holdings, ListedBackup, OpenError, Reader, Repository};
use jiff::Timestamp;
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// A destination that could be listed.
pub type Seen = (DestinationName, Repository, Holdings);

/// A plan file with its destinations open.
pub struct Reading {
    /// What the plan file asks for.
    pub strategy: Strategy,
    /// The destinations.
    pub places: Places,
}

/// Which backup is meant.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// Only of this component.
    pub component: Option<&'a ComponentName>,
    /// An id, its beginning, a component's name or `latest`, which is also the default; `~2` goes back.
    pub backup: Option<&'a str>,
    /// Only of this method, unless an id says which.
    pub method: Option<Method>,
    /// The newest that is not younger.
    pub at_or_before: Option<Timestamp>,
    /// Only there.
    pub destination: Option<&'a str>,
}

/// A backup, and the repository that it was found in.
#[derive(Clone)]
pub struct FoundBackup {
    /// The repository.
    pub repository: Repository,
    /// The destination it is at.
    pub destination: DestinationName,
    /// The backup.
    pub backup: ListedBackup,
}

impl FoundBackup {
    /// A reader of its repository.
    pub async fn reader(&self) -> Result<Reader, Trouble> {
        let reader = self.repository.reader().await;
        reader.map_err(|e| Trouble::from_error(Exit::Error, &e))
    }
}

impl Reading {
    /// Reads the plan file and opens its destinations.
    pub async fn open(file: &str, context: &Context) -> Result<Self, Trouble> {
        let variables = &context.global.variables;
        let strategy = input::strategy(file, variables, UnsetEnv::Warn, &context.terminal)?;
        let places = places::open_all(&strategy, Commands::Run).await?;
        Ok(Self { strategy, places })
    }

    /// The component of that name.
    pub fn component(&self, name: &str) -> Result<&Component, Trouble> {
        let mut all = self.strategy.components.iter();
        let found = all.find(|c| c.name.as_str() == name);
        found.ok_or_else(|| unknown_component(&self.strategy, name))
    }

    /// The destination of that name.
    pub fn destination(&self, name: &str) -> Result<&Destination, Trouble> {
        let all = &self.strategy.destinations;
        let names = all.iter().map(|d| d.name.as_str());
        let found = all.iter().find(|d| d.name.as_str() == name);
        found.ok_or_else(|| unknown("destination", name, names))
    }

    /// The other repositories that are open, in the order of the file.
    pub fn others(&self, name: &DestinationName) -> Vec<(DestinationName, Repository)> {
        let names = self.strategy.destinations.iter().map(|other| &other.name);
        let open = names.filter(|other| *other != name).filter_map(|other| {
            let opened = self.places.get(other)?.opened.as_ref().ok()?;
            Some((other.clone(), opened.clone()))
        });
        open.collect()
    }

    /// The open repositories and what they hold, in the order of the plan file. One that can not be
    /// listed is said and passed over, unless it is the only one.
    pub async fn holdings(&self, only: Option<&str>) -> Result<Vec<Seen>, Trouble> {
        if let Some(only) = only {
            self.destination(only)?;
        }
        let mut all = Vec::new();
        let mut troubles = Vec::new();
        for destination in &self.strategy.destinations {
            let name = &destination.name;
            let Some(place) = self.places.get(name) else {
                continue;
            };
            if only.is_some_and(|only| only != name.as_str()) {
                continue;
            }
            match &place.opened {
                Ok(repository) => match repository.list().await {
                    Ok(holdings) => all.push((name.clone(), repository.clone(), holdings)),
                    Err(e) => troubles.push(format!(
                        "destination.{name}: {}",
                        crate::cli::exit::chain(&e)
                    )),
                },
                Err(OpenError::Absent(_)) => {}
                Err(e) => troubles.push(format!(
                    "destination.{name}: {}",
                    crate::cli::exit::chain(e)
                )),
            }
        }
        if all.is_empty() {
            let words = match troubles.is_empty() {
                true => NOTHING_YET.to_owned(),
                false => troubles.join("; "),
            };
            return Err(Trouble::new(Exit::Absent, words));
        }
        for trouble in troubles {
            crate::cli::output::say(&format!("Warning: {trouble}"));
        }
        Ok(all)
    }

    /// The backup that is meant, from the first destination that has it.
    pub async fn find(&self, wanted: &Wanted<'_>) -> Result<FoundBackup, Trouble> {
        let all = self.holdings(wanted.destination).await?;
        let id = self.choose(&all, wanted)?;
        let mut holders = self.holders(&all, &id);
        match holders.is_empty() {
            true => Err(Trouble::new(Exit::Absent, nothing_found(wanted))),
            false => Ok(holders.remove(0)),
        }
    }

    /// Which backup is meant.
    pub fn choose(&self, all: &[Seen], wanted: &Wanted<'_>) -> Result<BackupId, Trouble> {
        let name = Name::read(wanted.backup.unwrap_or(LATEST));
        let of_component = match wanted.component {
            Some(component) => Some(component),
            None => self.component_named(all, name.text)?,
        };
        let is_prefix = name.text != LATEST && of_component.is_none_or(|c| c.as_str() != name.text);
        let matches = |backup: &&ListedBackup| {
            let manifest = &backup.manifest;
            of_component.is_none_or(|name| manifest.component == *name)
                && (!is_prefix || manifest.id.to_string().starts_with(name.text))
                && (is_prefix || wanted.method.is_none_or(|method| manifest.method == method))
                && wanted.at_or_before.is_none_or(|at| manifest.started <= at)
        };
        let candidates = all.iter().flat_map(|(_, _, holdings)| &holdings.backups);
        let newest_first: BTreeSet<_> = candidates
            .filter(matches)
            .map(|backup| {
                let manifest = &backup.manifest;
                // Complete ones first; of those the newest.
                let order = (!manifest.complete, Reverse(manifest.started));
                (order, manifest.id)
            })
            .collect();
        if is_prefix && newest_first.len() > 1 {
            let text: Vec<String> = newest_first.iter().map(|(_, id)| id.short()).collect();
            let words = format!(
                "several backups begin so: {}; type more of the id",
                text.join(", ")
            );
            return Err(Trouble::new(Exit::Error, words));
        }
        let found = newest_first.into_iter().nth(name.back).map(|(_, id)| id);
        found.ok_or_else(|| Trouble::new(Exit::Absent, nothing_found(wanted)))
    }

    /// The component that `text` names, unless a backup's id begins so too.
    fn component_named(&self, all: &[Seen], text: &str) -> Result<Option<&ComponentName>, Trouble> {
        let names = self.strategy.components.iter().map(|c| &c.name);
        let Some(name) = names.into_iter().find(|name| name.as_str() == text) else {
            return Ok(None);
        };
        let mut backups = all.iter().flat_map(|(_, _, holdings)| &holdings.backups);
        if let Some(backup) = backups.find(|b| b.manifest.id.to_string().starts_with(text)) {
            let words = format!(
                "`{text}` is a component, and backup {} begins so; type more of the id",
                backup.manifest.id.short()
            );
            return Err(Trouble::new(Exit::Error, words));
        }
        Ok(Some(name))
    }

    /// The copies of a backup, in the order of its component's `store`.
    pub fn holders(&self, all: &[Seen], id: &BackupId) -> Vec<FoundBackup> {
        let mut holders: Vec<FoundBackup> = all
            .iter()
            .filter_map(|(destination, repository, holdings)| {
                let backup = holdings.backups.iter().find(|b| b.manifest.id == *id)?;
                Some(FoundBackup {
                    repository: repository.clone(),
                    destination: destination.clone(),
                    backup: backup.clone(),
                })
            })
            .collect();
        let component = holders
            .first()
            .map(|found| &found.backup.manifest.component);
        let component = component.and_then(|name| self.strategy.component(name));
        let order = component.map_or(Vec::new(), |component| component.store.clone());
        let place =
            |name: &DestinationName| order.iter().position(|n| n == name).unwrap_or(order.len());
        holders.sort_by_key(|found| place(&found.destination));
        holders
    }
}

/// The newest backup.
const LATEST: &str = "latest";

/// How people name a backup: `latest`, a component, or the beginning of an id, and `~2` for the second before.
struct Name<'a> {
    text: &'a str,
    back: usize,
}

impl<'a> Name<'a> {
    fn read(text: &'a str) -> Self {
        let parts = text.split_once('~');
        match parts.and_then(|(text, back)| Some((text, back.parse().ok()?))) {
            Some((text, back)) => Self { text, back },
            None => Self { text, back: 0 },
        }
    }
}

/// The trouble of a component that the plan file does not have.
pub fn unknown_component(strategy: &Strategy, name: &str) -> Trouble {
    let names = strategy.components.iter().map(|c| c.name.as_str());
    unknown("component", name, names)
}

/// A name that the plan file does not have, and those that it has.
fn unknown<'a>(kind: &str, name: &str, names: impl Iterator<Item = &'a str>) -> Trouble {
    let names: Vec<&str> = names.collect();
    let words = format!(
        "there is no {kind} `{name}`; there are {}",
        names.join(", ")
    );
    Trouble::new(Exit::Error, words)
}

fn nothing_found(wanted: &Wanted<'_>) -> String {
    let mut words = match wanted.backup.filter(|text| *text != LATEST) {
        Some(prefix) => format!("there is no backup `{prefix}`"),
        None => "there is no backup".to_owned(),
    };
    if let Some(component) = wanted.component {
        words.push_str(&format!(" of component.{component}"));
    }
    if let Some(at) = wanted.at_or_before {
        words.push_str(&format!(" from {} or before", to_minute(at)));
    }
    if let Some(destination) = wanted.destination {
        words.push_str(&format!(" at destination.{destination}"));
    }
    words.push_str("; `ccb list` shows what there is");
    words
}
