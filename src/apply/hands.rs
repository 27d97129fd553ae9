//! What a run works with: the strategy, open destinations, secrets by reference, and the world's clock
//! and randomness. Holds no decision.

use crate::apply::destinations::Destinations;
use crate::apply::error::StepError;
use crate::apply::locks::Locks;
use crate::model::ids::{BackupId, ComponentName, DestinationName, RunId};
use crate::model::records::PlanRef;
use crate::model::strategy::{BucketSource, Component, SecretRef, Strategy};
use crate::plan::{BackupRef, StepId};
use crate::repository::format::key::Secret;
use crate::repository::{ListedBackup, Repository, Surroundings};
use crate::source::bucket::Access;
use crate::store::Store;
use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Reads a secret when it is needed: from the environment, a file or a command.
pub type Secrets = Arc<dyn Fn(&SecretRef) -> io::Result<Secret> + Send + Sync>;

/// Finds how a bucket that is protected is spoken to, and whose rights are used.
pub type Buckets =
    Arc<dyn Fn(&BucketSource) -> BoxFuture<'static, io::Result<Access>> + Send + Sync>;

/// What a run works with. Clones share it.
#[derive(Clone)]
pub struct Hands(Arc<Inner>);

struct Inner {
    strategy: Arc<Strategy>,
    run: RunId,
    surroundings: Surroundings,
    secrets: Secrets,
    buckets: Buckets,
    base: PathBuf,
    scratch: PathBuf,
    destinations: Destinations,
    initializing: tokio::sync::Mutex<()>,
    locks: OnceLock<Locks>,
    /// Backups that steps of this run made.
    made: Mutex<BTreeMap<StepId, BackupId>>,
}

impl Hands {
    /// `base` is what relative paths of the plan file start from, `scratch` where restore tests make their
    /// directories; `stores` are the destinations that can be used, with their repository where it is
    /// open.
    pub fn new(
        strategy: Arc<Strategy>,
        run: RunId,
        surroundings: Surroundings,
        (secrets, buckets): (Secrets, Buckets),
        (base, scratch): (PathBuf, PathBuf),
        stores: BTreeMap<DestinationName, (Store, Option<Repository>)>,
    ) -> Self {
        Self(Arc::new(Inner {
            strategy,
            run,
            surroundings,
            secrets,
            buckets,
            base,
            scratch,
            destinations: Destinations::new(stores),
            initializing: tokio::sync::Mutex::default(),
            locks: OnceLock::new(),
            made: Mutex::default(),
        }))
    }

    /// From now on the run locks repositories that it makes, too.
    pub fn use_locks(&self, locks: Locks) {
        // A second call would be about the same run.
        let _ = self.0.locks.set(locks);
    }
    pub(crate) fn locks(&self) -> Option<&Locks> {
        self.0.locks.get()
    }

    /// The strategy that is applied.
    pub fn strategy(&self) -> &Strategy {
        &self.0.strategy
    }
    /// This run.
    pub fn run(&self) -> RunId {
        self.0.run
    }
    /// Clock, randomness, host name.
    pub fn surroundings(&self) -> &Surroundings {
        &self.0.surroundings
    }
    pub(crate) fn secrets(&self) -> &Secrets {
        &self.0.secrets
    }
    /// How the bucket of a component is spoken to.
    pub(crate) async fn bucket(
        &self,
        component: &ComponentName,
        spec: &BucketSource,
    ) -> Result<Access, StepError> {
        let found = (self.0.buckets)(spec).await;
        found.map_err(|cause| StepError::SourceSecret {
            component: component.clone(),
            cause,
        })
    }
    pub(crate) fn destinations(&self) -> &Destinations {
        &self.0.destinations
    }
    /// A path of the plan file, from where relative ones start.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.0.base.join(path)
    }
    pub(crate) fn scratch(&self) -> PathBuf {
        self.0.scratch.clone()
    }
    pub(crate) fn plan_ref(&self) -> PlanRef {
        PlanRef {
            name: self.0.strategy.name.clone(),
            digest: self.0.strategy.digest(),
        }
    }
    pub(crate) fn component(&self, name: &ComponentName) -> Result<&Component, StepError> {
        self.0
            .strategy
            .component(name)
            .ok_or_else(|| StepError::Unknown(format!("component.{name}")))
    }
    pub(crate) fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.0.surroundings.random)(&mut bytes);
        bytes
    }

    /// The repositories that are open now, those that this run made among them.
    pub async fn repositories(&self) -> Vec<(DestinationName, Repository)> {
        self.0.destinations.repositories().await
    }
    /// Held while a repository is made.
    pub(crate) async fn initializing(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.0.initializing.lock().await
    }
    pub(crate) fn record_made(&self, step: StepId, backup: BackupId) {
        let mut made = self.0.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.insert(step, backup);
    }
    /// The backup that a step is about.
    pub(crate) fn resolve(&self, backup: &BackupRef) -> Result<BackupId, StepError> {
        match backup {
            BackupRef::Id(id) => Ok(*id),
            BackupRef::Of(step) => {
                let made = self.0.made.lock().unwrap_or_else(PoisonError::into_inner);
                made.get(step).copied().ok_or(StepError::NoBackupMade)
            }
        }
    }
    /// The backup that a step is about, as `destination` lists it.
    pub(crate) async fn find(
        &self,
        backup: &BackupRef,
        destination: &DestinationName,
    ) -> Result<(Repository, ListedBackup), StepError> {
        let id = self.resolve(backup)?;
        let repository = self.0.destinations.repository(destination).await?;
        let found = self.0.destinations.find(destination, &id).await?;
        let listed = found.ok_or_else(|| StepError::BackupGone {
            id,
            destination: destination.clone(),
        })?;
        Ok((repository, listed))
    }
}
