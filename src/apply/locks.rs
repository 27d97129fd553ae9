//! The locks that a run has: one in each repository that it writes to. They keep a second run from making
//! the same backup; that they are lost ends the run, and never what it has stored.

use crate::apply::error::StepError;
use crate::model::holder::{Holder, ProcessMark};
use crate::model::ids::DestinationName;
use crate::repository::{Attempt, HeldLock, Repository, RepositoryError, RunLock};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{Mutex, watch};

/// Says whether a process of this machine is surely gone.
pub type IsGone = Arc<dyn Fn(&ProcessMark) -> bool + Send + Sync>;

/// The locks of a run. Clones share them.
#[derive(Clone)]
pub struct Locks(Arc<Inner>);

struct Inner {
    holder: Holder,
    is_gone: IsGone,
    taken: Mutex<BTreeMap<DestinationName, RunLock>>,
    lost: watch::Sender<Option<DestinationName>>,
}

impl Locks {
    /// No lock yet.
    pub fn new(holder: Holder, is_gone: IsGone) -> Self {
        Self(Arc::new(Inner {
            holder,
            is_gone,
            taken: Mutex::default(),
            lost: watch::Sender::new(None),
        }))
    }

    /// Takes the lock of the repository at `name`, if nobody alive has it. Tells the one that a dead run left.
    pub async fn take(
        &self,
        name: &DestinationName,
        repository: &Repository,
    ) -> Result<Option<HeldLock>, LockError> {
        let mut taken = self.0.taken.lock().await;
        if taken.contains_key(name) {
            return Ok(None);
        }
        match repository.try_lock(&self.0.holder, &*self.0.is_gone).await {
            Ok(Attempt::Taken(lock)) => {
                self.watch(name, &lock);
                let after = lock.after.clone();
                taken.insert(name.clone(), lock);
                Ok(after)
            }
            // Two destinations are one place.
            Ok(Attempt::Held(held)) if held.holder.as_ref() == Some(&self.0.holder) => Ok(None),
            Ok(Attempt::Held(held)) => Err(LockError::Held(Box::new(held))),
            Err(error) => Err(LockError::Failed(error)),
        }
    }

    /// Tells the first destination whose lock somebody else ended.
    pub fn lost(&self) -> watch::Receiver<Option<DestinationName>> {
        self.0.lost.subscribe()
    }

    /// Gives all locks back; what could not be ended, and why. It then ends by falling silent.
    pub async fn release(&self) -> Vec<(DestinationName, RepositoryError)> {
        let taken = std::mem::take(&mut *self.0.taken.lock().await);
        let mut failed = Vec::new();
        for (name, lock) in taken {
            if let Err(error) = lock.release().await {
                failed.push((name, error));
            }
        }
        failed
    }

    fn watch(&self, name: &DestinationName, lock: &RunLock) {
        let (mut lost, tell, name) = (lock.lost(), self.0.lost.clone(), name.clone());
        tokio::spawn(async move {
            if lost.wait_for(|lost| *lost).await.is_ok() {
                tell.send_if_modified(|first| {
                    let is_first = first.is_none();
                    first.get_or_insert(name);
                    is_first
                });
            }
        });
    }
}

/// Why a lock was not taken.
#[derive(Debug)]
pub enum LockError {
    /// Somebody else has it.
    Held(Box<HeldLock>),
    /// It could not be read or written.
    Failed(RepositoryError),
}

impl LockError {
    pub(crate) fn of_step(self, destination: &DestinationName) -> StepError {
        let destination = destination.clone();
        match self {
            Self::Held(held) => StepError::Locked {
                destination,
                by: held
                    .holder
                    .map_or("somebody".to_owned(), |h| format!("run {}", h.run.short())),
            },
            Self::Failed(cause) => StepError::Repository {
                doing: "lock",
                what: destination.to_string(),
                cause,
            },
        }
    }
}
