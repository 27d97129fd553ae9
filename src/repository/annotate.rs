//! What is said after the fact: annotations on a backup, the record of a run, that of an export. Nothing that
//! was said is ever changed; a later word counts.

use crate::repository::format::config::Operation;
use crate::repository::format::manifest::{Annotation, ExportRecord, Payload, RunRecord};
use crate::repository::format::seal::{ObjectType, seal};
use crate::repository::{ListedExport, Repository, RepositoryError, layout};
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

    /// Records a copy that restores without ccb.
    pub async fn record_export(&self, export: &ExportRecord) -> Result<(), RepositoryError> {
        self.permits(Operation::Write)?;
        let key = layout::noted(layout::EXPORTS, export.at, self.random());
        self.put_sealed(ObjectType::Export, &key, &export.encode())
            .await
    }

    /// Takes the record of an export away, which must be gone itself.
    pub async fn drop_export(&self, export: &ListedExport) -> Result<(), RepositoryError> {
        self.permits(Operation::Remove)?;
        Ok(self.store().delete(&export.key).await?)
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
