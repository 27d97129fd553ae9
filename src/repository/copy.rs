//! Copying a backup to another repository of the same keyring: an ordinary session there, which stores
//! the blobs it lacks in packs of its own. Everything is read, checked and sealed anew on the way; nothing
//! is ever deleted, and the copy keeps the backup's id.

use crate::model::ids::BlobId;
use crate::repository::format::blob::BlobKind;
use crate::repository::format::manifest::{Manifest, Note};
use crate::repository::transfer::{Unreadable, transfer};
use crate::repository::writer::blobs::BlobWriter;
use crate::repository::{
    Draft, Effort, ListedBackup, Progress, Reader, Repository, RepositoryError,
};
use std::{collections::HashSet, sync::Arc};

/// Copies `backup` from one repository to another, with what was said of it for people: holds and
/// releases. A repository that has the backup already gets only those that it lacks.
pub async fn copy(
    from: &Repository,
    backup: &ListedBackup,
    to: &Repository,
    effort: Effort,
    progress: Arc<dyn Progress>,
) -> Result<Manifest, RepositoryError> {
    if from.keyring_id() != to.keyring_id() {
        return Err(RepositoryError::OtherKeyring);
    }
    let id = backup.manifest.id;
    let there = to.list().await?.backups;
    if let Some(there) = there.into_iter().find(|there| there.manifest.id == id) {
        copy_notes(backup, to, Some(&there)).await?;
        return Ok(there.manifest);
    }
    let _pinned = from.pin(&[backup]).await?;
    if !from.is_there(&backup.key).await? {
        return Err(RepositoryError::Gone { id });
    }
    let reader = from.reader().await?;
    // The lock at the destination is its own: it is set there, when the copy is written.
    let known = Manifest {
        retain_until: None,
        parent: None,
        ..backup.manifest.clone()
    };
    let draft = Draft::of(&known, effort);
    let session = to.begin_at(draft, known.started, Vec::new()).await?;
    copy_blobs(&reader, known.root, session.blobs(), progress).await?;
    let manifest = session.commit_known(known).await?;
    copy_notes(backup, to, None).await?;
    Ok(manifest)
}

async fn copy_notes(
    backup: &ListedBackup,
    to: &Repository,
    there: Option<&ListedBackup>,
) -> Result<(), RepositoryError> {
    let said = there.map_or(&[][..], |there| &there.annotations);
    for annotation in &backup.annotations {
        // What was verified and exported is true of one copy only.
        let is_for_people = matches!(annotation.note, Note::Hold { .. } | Note::Release { .. });
        if is_for_people && !said.contains(annotation) {
            to.annotate(annotation).await?;
        }
    }
    Ok(())
}

/// Stores every blob below `root` that the destination may not refer to. Directories first, level by
/// level: that a directory is there does not tell that what it names is.
async fn copy_blobs(
    reader: &Reader,
    root: BlobId,
    into: &Arc<BlobWriter>,
    progress: Arc<dyn Progress>,
) -> Result<(), RepositoryError> {
    let mut level = vec![root];
    let mut seen: HashSet<BlobId> = level.iter().copied().collect();
    let mut data = Vec::new();
    while !level.is_empty() {
        let of = (BlobKind::Tree, Unreadable::Ends);
        let found = transfer(of, reader, level, into, &progress).await?.children;
        level = found.trees;
        level.retain(|id| seen.insert(*id));
        data.extend(found.data.into_iter().filter(|id| seen.insert(*id)));
    }
    data.retain(|id| !into.is_known(id));
    let of = (BlobKind::Data, Unreadable::Ends);
    transfer(of, reader, data, into, &progress).await?;
    Ok(())
}
