//! Finds backups by what people type: an id, its beginning, `latest`, a time, a component, a destination.
//! Reads only; destinations are tried in the order of the component's `store`.

use crate::cli::exit::{Exit, Trouble};
use crate::cli::places::{self, Places};
use crate::cli::world::Commands;
use crate::cli::{Context, input};
use crate::model::ids::{ComponentName, DestinationName};
use crate::model::strategy::{Component, Strategy};
use crate::model::units::to_minute;
use crate::plan_file::UnsetEnv;
use crate::repository::{Holdings, ListedBackup, OpenError, Reader, Repository};
use jiff::Timestamp;

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
    /// An id, its beginning, or `latest`, which is also the default.
    pub backup: Option<&'a str>,
    /// The newest that is not younger.
    pub at_or_before: Option<Timestamp>,
    /// Only there.
    pub destination: Option<&'a str>,
}

/// A backup, and the repository that it was found in.
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
        let found = self
            .strategy
            .components
            .iter()
            .find(|c| c.name.as_str() == name);
        found.ok_or_else(|| {
            let names: Vec<&str> = self
                .strategy
                .components
                .iter()
                .map(|c| c.name.as_str())
                .collect();
            let words = format!(
                "there is no component `{name}`; there are {}",
                names.join(", ")
            );
            Trouble::new(Exit::Error, words)
        })
    }

    /// The open repositories and what they hold, in the order of the plan file. One that can not be
    /// listed is said and passed over, unless it is the only one.
    pub async fn holdings(
        &self,
        only: Option<&str>,
    ) -> Result<Vec<(DestinationName, Repository, Holdings)>, Trouble> {
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
                true => "there is no repository at any destination yet; `ccb apply` makes the first backup".to_owned(),
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
        let newest_or_prefix = wanted.backup.filter(|text| *text != "latest");
        let matches = |backup: &&ListedBackup| {
            let manifest = &backup.manifest;
            wanted
                .component
                .is_none_or(|name| manifest.component == *name)
                && newest_or_prefix.is_none_or(|prefix| manifest.id.to_string().starts_with(prefix))
                && wanted.at_or_before.is_none_or(|at| manifest.started <= at)
        };
        let candidates = all
            .iter()
            .flat_map(|(_, _, holdings)| holdings.backups.iter().filter(matches));
        let mut ids: Vec<_> = candidates
            .map(|backup| {
                (
                    !backup.manifest.complete,
                    backup.manifest.started,
                    backup.manifest.id,
                )
            })
            .collect();
        ids.sort();
        ids.dedup();
        let id = if newest_or_prefix.is_some() {
            if ids.len() > 1 {
                let text: Vec<String> = ids.iter().map(|(_, _, id)| id.short()).collect();
                let words = format!(
                    "several backups begin so: {}; type more of the id",
                    text.join(", ")
                );
                return Err(Trouble::new(Exit::Error, words));
            }
            ids.first().map(|(_, _, id)| *id)
        } else {
            // Complete ones first; of those the newest.
            let best_is_complete = ids.iter().any(|(incomplete, _, _)| !incomplete);
            let of_best = ids
                .iter()
                .filter(|(incomplete, _, _)| *incomplete != best_is_complete);
            of_best
                .max_by_key(|(_, started, _)| *started)
                .map(|(_, _, id)| *id)
        };
        let Some(id) = id else {
            return Err(Trouble::new(Exit::Absent, nothing_found(wanted)));
        };
        let order = wanted
            .component
            .and_then(|name| self.strategy.component(name))
            .map_or(&[][..], |component| &component.store);
        let place =
            |name: &DestinationName| order.iter().position(|n| n == name).unwrap_or(order.len());
        let mut holders: Vec<FoundBackup> = all
            .into_iter()
            .filter_map(|(destination, repository, holdings)| {
                let backup = holdings.backups.into_iter().find(|b| b.manifest.id == id)?;
                Some(FoundBackup {
                    repository,
                    destination,
                    backup,
                })
            })
            .collect();
        holders.sort_by_key(|found| place(&found.destination));
        match holders.into_iter().next() {
            Some(found) => Ok(found),
            None => Err(Trouble::new(Exit::Absent, nothing_found(wanted))),
        }
    }
}

fn nothing_found(wanted: &Wanted<'_>) -> String {
    let mut words = match wanted.backup.filter(|text| *text != "latest") {
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
