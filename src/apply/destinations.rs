//! The destinations of a run: their stores, their repositories once open, and what those held when it was
//! last asked. Listing is repeated only when something is looked for that was not there.

use crate::apply::error::StepError;
use crate::model::ids::{BackupId, DestinationName};
use crate::repository::{Holdings, ListedBackup, Repository};
use crate::store::Store;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Mutex;

pub(crate) struct Destinations(BTreeMap<DestinationName, Mutex<Place>>);

struct Place {
    store: Store,
    repository: Option<Repository>,
    held: Option<Arc<Holdings>>,
}

impl Destinations {
    pub(crate) fn new(stores: BTreeMap<DestinationName, (Store, Option<Repository>)>) -> Self {
        let place = |(store, repository)| {
            Mutex::new(Place {
                store,
                repository,
                held: None,
            })
        };
        Self(
            stores
                .into_iter()
                .map(|(name, of)| (name, place(of)))
                .collect(),
        )
    }

    fn place(&self, name: &DestinationName) -> Result<&Mutex<Place>, StepError> {
        self.0
            .get(name)
            .ok_or_else(|| StepError::Unknown(format!("destination.{name}")))
    }

    pub(crate) async fn store(&self, name: &DestinationName) -> Result<Store, StepError> {
        Ok(self.place(name)?.lock().await.store.clone())
    }

    /// The open repository; there is none before its `initialize` step was done.
    pub(crate) async fn repository(&self, name: &DestinationName) -> Result<Repository, StepError> {
        let place = self.place(name)?.lock().await;
        place
            .repository
            .clone()
            .ok_or_else(|| StepError::NoRepository(name.clone()))
    }

    pub(crate) async fn opened(&self, name: &DestinationName, repository: Repository) {
        if let Some(place) = self.0.get(name) {
            place.lock().await.repository = Some(repository);
        }
    }

    /// The backup with that id, looking again when it was not there before.
    pub(crate) async fn find(
        &self,
        name: &DestinationName,
        id: &BackupId,
    ) -> Result<Option<ListedBackup>, StepError> {
        let mut place = self.place(name)?.lock().await;
        let in_holdings = |held: &Holdings| {
            held.backups
                .iter()
                .find(|backup| backup.manifest.id == *id)
                .cloned()
        };
        if let Some(found) = place.held.as_deref().and_then(in_holdings) {
            return Ok(Some(found));
        }
        let held = place.list(name).await?;
        Ok(in_holdings(&held))
    }

    /// What the destination held when it was last listed.
    pub(crate) async fn held(&self, name: &DestinationName) -> Result<Arc<Holdings>, StepError> {
        let mut place = self.place(name)?.lock().await;
        match &place.held {
            Some(held) => Ok(held.clone()),
            None => place.list(name).await,
        }
    }

    pub(crate) async fn repositories(&self) -> Vec<(DestinationName, Repository)> {
        let mut open = Vec::new();
        for (name, place) in &self.0 {
            if let Some(repository) = &place.lock().await.repository {
                open.push((name.clone(), repository.clone()));
            }
        }
        open
    }
}

impl Place {
    /// Lists what is there now.
    async fn list(&mut self, name: &DestinationName) -> Result<Arc<Holdings>, StepError> {
        let Some(repository) = &self.repository else {
            return Err(StepError::NoRepository(name.clone()));
        };
        let held = repository.list().await;
        let held = held.map_err(|cause| StepError::Repository {
            doing: "list the backups at",
            what: name.to_string(),
            cause,
        })?;
        Ok(self.held.insert(Arc::new(held)).clone())
    }
}
