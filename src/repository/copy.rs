//! Copying a backup to another repository of the same keyring: an ordinary session there, which stores
//! the blobs it lacks in packs of its own. Everything is read, checked and sealed anew on the way; nothing
//! is ever deleted, and the copy keeps the backup's id.

use crate::model::ids::BlobId;
use crate::repository::format::blob::BlobKind;
use crate::repository::format::manifest::{Manifest, Note};
use crate::repository::reach::{Children, children};
use crate::repository::writer::blobs::BlobWriter;
use crate::repository::{
    BlobSink, Draft, ListedBackup, Progress, Reader, Repository, RepositoryError,
};
use std::{
    collections::HashSet,
    io,
    sync::{Arc, Mutex, PoisonError},
};

/// Smaller blobs are stored in groups of this many bytes, so that they compress together.
const GROUP_LEN_BYTES: usize = 256 << 10;
const GROUPED_MAX_BYTES: usize = 64 << 10;

/// Copies `backup` from one repository to another, with what was said of it for people: holds and
/// releases. A repository that has the backup already gets only those that it lacks.
pub async fn copy(
    from: &Repository,
    backup: &ListedBackup,
    to: &Repository,
    compression_level: i32,
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
    let draft = Draft::of(&known, compression_level);
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
        let trees = Transfer::new(BlobKind::Tree, into, &progress);
        trees.run(reader, level).await?;
        let found = std::mem::take(&mut *lock(&trees.found));
        level = found.trees;
        level.retain(|id| seen.insert(*id));
        data.extend(found.data.into_iter().filter(|id| seen.insert(*id)));
    }
    data.retain(|id| !into.is_known(id));
    let transfer = Transfer::new(BlobKind::Data, into, &progress);
    transfer.run(reader, data).await?;
    let rest = std::mem::take(&mut *lock(&transfer.group));
    rest.store(into)
}

/// One reading of many blobs, each of which is stored as it comes.
struct Transfer {
    kind: BlobKind,
    into: Arc<BlobWriter>,
    progress: Arc<dyn Progress>,
    found: Mutex<Children>,
    group: Mutex<Group>,
    failed: Mutex<Option<RepositoryError>>,
}

impl Transfer {
    fn new(kind: BlobKind, into: &Arc<BlobWriter>, progress: &Arc<dyn Progress>) -> Arc<Self> {
        Arc::new(Self {
            kind,
            into: into.clone(),
            progress: progress.clone(),
            found: Mutex::default(),
            group: Mutex::default(),
            failed: Mutex::default(),
        })
    }

    async fn run(
        self: &Arc<Self>,
        reader: &Reader,
        ids: Vec<BlobId>,
    ) -> Result<(), RepositoryError> {
        let transfer = self.clone();
        let sink: BlobSink = Arc::new(move |id, content| {
            let stored = content
                .map_err(RepositoryError::clone)
                .and_then(|content| transfer.take(id, content));
            stored.map_err(|error| {
                lock(&transfer.failed).get_or_insert(error);
                io::Error::other("a blob was not copied")
            })
        });
        let read = reader.read_blobs(ids, sink).await;
        match lock(&self.failed).take() {
            Some(error) => Err(error),
            None => read,
        }
    }

    fn take(&self, id: &BlobId, content: &[u8]) -> Result<(), RepositoryError> {
        if self.kind == BlobKind::Tree {
            let below = children(id, content)?;
            lock(&self.found).add(below);
        }
        self.progress.advance(0, content.len() as u64);
        if !self.into.claim(id) {
            return Ok(());
        }
        if self.kind == BlobKind::Tree || content.len() > GROUPED_MAX_BYTES {
            return self
                .into
                .store(self.kind, &[(*id, content.len() as u32)], content);
        }
        let full = lock(&self.group).add(id, content);
        full.map_or(Ok(()), |group| group.store(&self.into))
    }
}

/// Small data blobs that are to be one frame.
#[derive(Default)]
struct Group {
    blobs: Vec<(BlobId, u32)>,
    plain: Vec<u8>,
}

impl Group {
    /// Adds a blob; what is long enough then comes out.
    fn add(&mut self, id: &BlobId, content: &[u8]) -> Option<Self> {
        self.blobs.push((*id, content.len() as u32));
        self.plain.extend_from_slice(content);
        (self.plain.len() >= GROUP_LEN_BYTES).then(|| std::mem::take(self))
    }

    fn store(self, into: &BlobWriter) -> Result<(), RepositoryError> {
        if self.blobs.is_empty() {
            return Ok(());
        }
        into.store(BlobKind::Data, &self.blobs, &self.plain)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
