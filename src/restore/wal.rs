//! Finds WAL files wherever a repository holds them: as they were handed over, or in a WAL backup. What is
//! found is checked against its name before it is given out.

use crate::model::ids::ComponentName;
use crate::model::strategy::Method;
use crate::model::tree::NodeKind;
use crate::model::wal::{SystemId, WalError, WalFacts, WalName, check_segment};
use crate::repository::{ListedBackup, Reader, Repository, RepositoryError};
use bytes::{Bytes, BytesMut};

/// The WAL of one component at one repository. What is listed is listed once.
pub struct WalPlace {
    repository: Repository,
    /// The component's name, and earlier ones.
    components: Vec<ComponentName>,
    backups: Option<Vec<(ListedBackup, Vec<WalFacts>)>>,
    reader: Option<Reader>,
}

/// Why a WAL file can not be given out.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum FetchError {
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    #[error(transparent)]
    NotItself(#[from] WalError),
    #[error("`{name}` is of the cluster {found}, not of {system}")]
    OtherCluster {
        name: WalName,
        found: SystemId,
        system: SystemId,
    },
}

impl WalPlace {
    /// The WAL of a component that has, or had, these names.
    pub fn new(repository: Repository, components: Vec<ComponentName>) -> Self {
        Self {
            repository,
            components,
            backups: None,
            reader: None,
        }
    }

    /// The file `name` of that cluster; `None` when it is not here.
    pub async fn find(
        &mut self,
        system: SystemId,
        name: &WalName,
    ) -> Result<Option<Bytes>, FetchError> {
        let found = match self.handed_over(system, name).await {
            Ok(Some(bytes)) => Ok(Some(bytes)),
            Ok(None) => self.in_backups(system, name).await,
            // A backup may have it whole.
            Err(damaged @ RepositoryError::Object { .. }) => {
                match self.in_backups(system, name).await {
                    Ok(None) => Err(damaged),
                    found => found,
                }
            }
            Err(error) => Err(error),
        };
        let found = found?;
        if let (Some(bytes), Some(segment)) = (&found, name.segment()) {
            let header = check_segment(segment, bytes.len() as u64, bytes)?;
            if header.system != system {
                return Err(FetchError::OtherCluster {
                    name: *name,
                    found: header.system,
                    system,
                });
            }
        }
        Ok(found)
    }

    /// What is held here, as facts. Looks anew, and so does [`WalPlace::find`] afterwards.
    pub async fn facts(&mut self) -> Result<Vec<WalFacts>, RepositoryError> {
        (self.backups, self.reader) = (None, None);
        let mut all = Vec::new();
        for component in &self.components {
            let (waiting, damaged) = self.repository.waiting_wal(Some(component)).await?;
            if let Some(object) = damaged.into_iter().next() {
                return Err(RepositoryError::object(&object.key, object.cause));
            }
            all.extend(waiting.into_iter().map(|waiting| waiting.facts));
        }
        let backups = self.backups().await?;
        all.extend(backups.iter().flat_map(|(_, facts)| facts.iter().cloned()));
        Ok(all)
    }

    async fn handed_over(
        &self,
        system: SystemId,
        name: &WalName,
    ) -> Result<Option<Bytes>, RepositoryError> {
        for component in &self.components {
            let found = self.repository.get_wal(component, system, name).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The file `name` of that cluster, as backups have it.
    pub async fn in_backups(
        &mut self,
        system: SystemId,
        name: &WalName,
    ) -> Result<Option<Bytes>, RepositoryError> {
        let is_of = |facts: &WalFacts| facts.system_identifier == system && facts.holds(name);
        let backups = self.backups().await?.iter().rev();
        let holding: Vec<_> = backups
            .filter(|(_, facts)| facts.iter().any(is_of))
            .map(|(backup, _)| backup.manifest.root)
            .collect();
        let path = path_of(system, name);
        for root in holding {
            let reader = self.reader().await?;
            if let Some(node) = reader.lookup(&root, path.as_bytes()).await?
                && let NodeKind::File { content, size, .. } = &node.kind
            {
                let mut bytes = BytesMut::with_capacity(usize::try_from(*size).unwrap_or(0));
                let mut reading = reader.content(content);
                while let Some(part) = reading.next().await? {
                    bytes.extend_from_slice(&part);
                }
                return Ok(Some(bytes.freeze()));
            }
        }
        Ok(None)
    }

    async fn backups(&mut self) -> Result<&[(ListedBackup, Vec<WalFacts>)], RepositoryError> {
        if self.backups.is_none() {
            let held = self.repository.list().await?;
            let of_wal = held.backups.into_iter().filter(|backup| {
                let manifest = &backup.manifest;
                manifest.method == Method::Wal && self.components.contains(&manifest.component)
            });
            let with_facts = of_wal.map(|backup| {
                let facts = WalFacts::all_of(&backup.manifest);
                (backup, facts)
            });
            self.backups = Some(with_facts.collect());
        }
        Ok(self.backups.as_deref().unwrap_or_default())
    }

    async fn reader(&mut self) -> Result<Reader, RepositoryError> {
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.repository.reader().await?,
        };
        Ok(self.reader.insert(reader).clone())
    }
}

/// Where a WAL backup has a file: one directory for each cluster.
pub fn path_of(system: SystemId, name: &WalName) -> String {
    format!("{system}/{name}")
}
