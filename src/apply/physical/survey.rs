//! What WAL there is before it is taken over: at the destinations, in the archive directory, and in backups.

use crate::apply::capture::waiting;
use crate::apply::error::StepError;
use crate::apply::hands::Hands;
use crate::apply::physical::taking::{File, Place, capture};
use crate::apply::physical::{Cluster, name_cluster};
use crate::model::ids::ComponentName;
use crate::model::records::ReadError;
use crate::model::strategy::{Component, Method};
use crate::model::wal::{BaseFacts, SegmentBytes, SegmentName, SystemId, WalFacts, WalName};
use crate::repository::{ListedBackup, NamedBy, PackedWal, Repository, RepositoryError, WalObject};
use crate::restore::wal::{WalPlace, path_of};
use crate::source::Capture;
use crate::source::postgres::connection::Connection;
use crate::source::wal::{self as source_wal, Archived};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// Everything that is known before reading begins.
#[derive(Default)]
pub(super) struct Survey {
    /// What is to be taken over, by path in the backup.
    pub(super) files: BTreeMap<String, File>,
    /// What backups have.
    pub(super) kept: Vec<WalFacts>,
    /// Where bases begin.
    pub(super) bases: Vec<(SystemId, SegmentName)>,
    /// What was asked for and is not in the backup.
    pub(super) lacking: Vec<ReadError>,
}

/// Starts taking WAL over. `archive` is a directory that the server archives into.
pub(super) async fn start(
    component: &Component,
    archive: Option<&Path>,
    connection: Connection,
    hands: &Hands,
) -> Result<Capture, StepError> {
    let failed = |cause| StepError::Repository {
        doing: "read the WAL of",
        what: component.name.to_string(),
        cause,
    };
    let mut survey = Survey::default();
    let names: Vec<ComponentName> = std::iter::once(&component.name)
        .chain(&component.moved_from)
        .cloned()
        .collect();
    for destination in &component.store {
        let Ok(repository) = hands.destinations().repository(destination).await else {
            continue;
        };
        let held = hands.destinations().held(destination).await?;
        survey
            .add_repository(&repository, &held.backups, &names)
            .await
            .map_err(failed)?;
    }
    if let Some(archive) = archive {
        let at = archive.to_path_buf();
        let listed = waiting(&component.name, move || Ok(source_wal::list(&at)?)).await?;
        survey.add_archive(listed, component, hands).await?;
    }
    Ok(capture(survey, connection, hands))
}

impl Survey {
    async fn add_repository(
        &mut self,
        repository: &Repository,
        backups: &[ListedBackup],
        names: &[ComponentName],
    ) -> Result<(), RepositoryError> {
        let is_ours = |backup: &&ListedBackup| names.contains(&backup.manifest.component);
        let mut kept = Vec::new();
        for backup in backups.iter().filter(is_ours) {
            match backup.manifest.method {
                Method::Wal => {
                    let facts = WalFacts::all_of(&backup.manifest);
                    kept.extend(facts.into_iter().map(|facts| (backup.committed, facts)));
                }
                Method::Base => {
                    let base = BaseFacts::of(&backup.manifest);
                    let first = base.and_then(|b| Some((b.system_identifier, b.first_segment()?)));
                    self.bases.extend(first);
                }
                _ => {}
            }
        }
        let reader = Arc::new(repository.wal_reader());
        let mut place = WalPlace::new(repository.clone(), names.to_vec());
        for name in names {
            let clusters = repository.wal_clusters(name).await?;
            let clusters: BTreeMap<SystemId, SegmentBytes> = clusters
                .into_iter()
                .map(|record| (record.system_identifier, record.segment_bytes))
                .collect();
            for object in repository.list_wal(Some(name)).await? {
                let bytes = clusters.get(&object.system).copied();
                let cluster = (object.system, bytes.unwrap_or(SegmentBytes::USUAL));
                let of = |facts: &WalFacts| {
                    facts.system_identifier == object.system && facts.holds(&object.name)
                };
                let is_history = matches!(object.name, WalName::History(_));
                let holding = kept.iter().find(|(_, facts)| of(facts));
                match holding.filter(|_| !is_history) {
                    Some((committed, _)) if object.archived < *committed => {}
                    Some(_) => self.compare(repository, &mut place, &object).await?,
                    None => self.add(
                        cluster,
                        object.name,
                        object.archived,
                        Place::Handed(reader.clone(), name.clone()),
                    ),
                }
            }
        }
        self.kept.extend(kept.into_iter().map(|(_, facts)| facts));
        Ok(())
    }

    /// A file that was handed over again after a backup had taken it over: it must be the same.
    async fn compare(
        &mut self,
        repository: &Repository,
        place: &mut WalPlace,
        object: &WalObject,
    ) -> Result<(), RepositoryError> {
        let again = repository
            .get_wal(&object.component, object.system, &object.name)
            .await?;
        let before = place.in_backups(object.system, &object.name).await?;
        if again.is_some() && before.is_some() && again != before {
            self.lacking.push(ReadError {
                path: path_of(object.system, &object.name),
                message: "it was handed over again with other bytes than a backup has: two servers write this log".to_owned(),
            });
        }
        Ok(())
    }

    async fn add_archive(
        &mut self,
        listed: Vec<Archived>,
        component: &Component,
        hands: &Hands,
    ) -> Result<(), StepError> {
        let mut seen = BTreeSet::new();
        for Archived {
            cluster,
            name,
            at,
            path,
        } in listed
        {
            if seen.insert(cluster) {
                name_cluster(component, cluster, NamedBy::Archive, hands).await?;
            }
            if let WalName::History(_) = name {
                self.hand_over(component, &path, hands).await?;
            }
            let is_kept =
                |facts: &WalFacts| facts.system_identifier == cluster.0 && facts.holds(&name);
            let is_history = matches!(name, WalName::History(_));
            if is_history || !self.kept.iter().any(is_kept) {
                self.add(cluster, name, at, Place::Archived(path));
            }
        }
        Ok(())
    }

    /// Histories are kept for good: whoever cleans the directory may remove them.
    async fn hand_over(
        &self,
        component: &Component,
        path: &Path,
        hands: &Hands,
    ) -> Result<(), StepError> {
        let at = path.to_path_buf();
        let file = waiting(&component.name, move || Ok(source_wal::read(&at)?)).await?;
        for destination in &component.store {
            let Ok(repository) = hands.destinations().repository(destination).await else {
                continue;
            };
            let (system, name) = (file.cluster.0, file.name);
            let put = repository
                .put_wal(
                    &component.name,
                    system,
                    &name,
                    PackedWal::of(file.bytes.clone()),
                )
                .await;
            put.map_err(|cause| StepError::Repository {
                doing: "keep",
                what: file.name.to_string(),
                cause,
            })?;
        }
        Ok(())
    }

    fn add(&mut self, cluster: Cluster, name: WalName, archived: Timestamp, place: Place) {
        let file = self.files.entry(path_of(cluster.0, &name));
        let file = file.or_insert_with(|| File {
            cluster,
            name,
            archived,
            places: Vec::new(),
        });
        file.archived = file.archived.min(archived);
        file.places.push(place);
    }
}
