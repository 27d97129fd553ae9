//! What is said after the fact: annotations on a backup, and the record of a run. Nothing that was said
//! is ever changed; a later word counts.

use crate::repository::format::config::Operation;
use crate::repository::format::manifest::{Annotation, Payload, RunRecord};
use crate::repository::format::seal::{ObjectType, seal};
use crate::repository::{Repository, RepositoryError, layout};
use crate::store::{Key, Kind, Put};

impl Repository {
    /// Says `annotation` of its backup.
    pub async fn annotate(&self, annotation: &Annotation) -> Result<(), RepositoryError> {
        self.permits(Operation::Write)?;
        let key = layout::annotation(&annotation.backup, annotation.at, self.random());
        self.put_sealed(ObjectType::Annotation, &key, &annotation.encode())
            .await
    }

    /// Records what a run did. A run that was recorded before stays as it was recorded first.
    pub async fn record_run(&self, run: &RunRecord) -> Result<(), RepositoryError> {
        self.permits(Operation::Write)?;
        let key = layout::run(run.started, &run.run);
        match self.put_sealed(ObjectType::Run, &key, &run.encode()).await {
            Err(RepositoryError::Store(e)) if e.kind == Kind::AlreadyExists => Ok(()),
            put => put,
        }
    }

    pub(crate) async fn put_sealed(
        &self,
        kind: ObjectType,
        key: &Key,
        payload: &[u8],
    ) -> Result<(), RepositoryError> {
        let object = seal(self.keys(), kind, key.as_str(), payload, self.random());
        Ok(self.store().put(key, object.into(), Put::New).await?)
    }
}
