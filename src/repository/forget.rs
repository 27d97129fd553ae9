//! Forgetting a backup, and taking that back. A tomb hides a backup from then on; its manifest and all
//! that it stands on stay until the trash is emptied. Nothing is ever revived in place: what is brought
//! back is a new backup of the same content.

use crate::model::ids::{BackupId, RunId};
use crate::repository::format::config::Operation;
use crate::repository::format::manifest::{Manifest, Payload, Tomb, Version};
use crate::repository::format::seal::ObjectType;
use crate::repository::{
    Draft, Effort, ListedBackup, Repository, RepositoryError, Trashed, layout,
};
use crate::store::{Key, Kind};

/// Nothing is compressed by a session that stores no blob.
const LEVEL: i32 = 1;

impl Repository {
    /// Moves a backup to the trash. One that is there already stays as it is, which is a success.
    pub async fn forget(
        &self,
        backup: &ListedBackup,
        reason: &str,
        run: Option<RunId>,
    ) -> Result<(), RepositoryError> {
        self.permits(Operation::Remove)?;
        let tomb = Tomb {
            v: Version,
            backup: backup.manifest.id,
            at: self.now(),
            run,
            reason: reason.to_owned(),
        };
        let key = layout::tomb(&backup.key);
        match self
            .put_sealed(ObjectType::Tomb, &key, &tomb.encode())
            .await
        {
            Err(RepositoryError::Store(e)) if e.kind == Kind::AlreadyExists => Ok(()),
            put => put,
        }
    }

    /// Makes a new backup of what one in the trash holds.
    pub async fn undelete(
        &self,
        trashed: &Trashed,
        run: RunId,
    ) -> Result<Manifest, RepositoryError> {
        let old = &trashed.backup;
        let known = Manifest {
            id: BackupId(self.random()),
            parent: None,
            restored_from: Some(old.manifest.id),
            run,
            ..old.manifest.clone()
        };
        let draft = Draft::of(&known, Effort::always(LEVEL));
        let session = self.begin_at(draft, known.started, vec![old.pin()]).await?;
        // After the pin: a prune that has emptied the trash before may have overlooked it.
        if !self.is_there(&old.key).await? {
            return Err(RepositoryError::Gone {
                id: old.manifest.id,
            });
        }
        session.commit_known(known).await
    }

    /// Whether the store lists this very key.
    pub(crate) async fn is_there(&self, key: &Key) -> Result<bool, RepositoryError> {
        let listing = self.store().list(key.as_str()).await?;
        Ok(listing.objects.iter().any(|object| object.key == *key))
    }
}
