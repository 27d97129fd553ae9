//! What every session that stores blobs has: a lease, the index as it may refer to it, and the way of blobs
//! into packs and of packs into the store. Commits nothing: what a session that is dropped has uploaded is
//! used by the next one.

use crate::model::ids::{Digest, SessionId};
use crate::repository::index::Index;
use crate::repository::lease::{Lease, LeaseKind, Pin};
use crate::repository::pipeline::{self, PackSink};
use crate::repository::writer::blobs::BlobWriter;
use crate::repository::writer::uploads::upload_all;
use crate::repository::{Effort, Repository, RepositoryError};
use crate::store::Key;
use std::{collections::BTreeSet, sync::Arc};
use tokio::task::JoinHandle;

/// How a session stores blobs.
pub(crate) struct Wanted<'a> {
    /// The key whose creation ends the session.
    pub(crate) fence: &'a Key,
    /// Backups that it stands on.
    pub(crate) pins: Vec<Pin>,
    /// Packs that it does not refer to, besides the condemned ones: their blobs are stored again.
    pub(crate) avoid: BTreeSet<Digest>,
    /// How hard zstd tries.
    pub(crate) effort: Effort,
}

/// A session that stores blobs.
pub(crate) struct Writing {
    pub(crate) lease: Arc<Lease>,
    pub(crate) index: Arc<Index>,
    pub(crate) blobs: Arc<BlobWriter>,
    uploads: Option<JoinHandle<Result<(), RepositoryError>>>,
}

impl Writing {
    pub(crate) async fn begin(
        repository: &Repository,
        session: SessionId,
        wanted: Wanted<'_>,
    ) -> Result<Self, RepositoryError> {
        let fence = Some(wanted.fence.to_string());
        let lease = Lease::take(repository, session, LeaseKind::Write, fence, wanted.pins).await?;
        let lease = Arc::new(lease);
        let mut unusable = lease.condemned.clone();
        let seen = unusable.seen;
        unusable
            .packs
            .extend(wanted.avoid.into_iter().map(|pack| (pack, seen)));
        let (index, adopted) = Index::load_for_writing(repository, &unusable, session).await?;
        let index = Arc::new(index);
        let (sink, packs) = PackSink::new();
        let blobs = Arc::new(BlobWriter::new(
            repository.keys().clone(),
            index.clone(),
            sink,
            repository.surroundings().random.clone(),
            (wanted.effort, repository.is_encrypted()),
        ));
        let uploads = upload_all(
            repository.clone(),
            lease.clone(),
            blobs.clone(),
            packs,
            adopted,
        );
        Ok(Self {
            lease,
            index,
            blobs,
            uploads: Some(tokio::spawn(uploads)),
        })
    }

    /// Uploads what is left, and the index of it. Nothing can be stored afterwards.
    pub(crate) async fn finish(&mut self) -> Result<(), RepositoryError> {
        let blobs = self.blobs.clone();
        let closed = pipeline::on_pool(move || blobs.finish()).await;
        if let Some(uploads) = self.uploads.take() {
            uploads.await.map_err(|_| RepositoryError::Interrupted)??;
        }
        closed.and(self.blobs.failure.check())
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if let Some(uploads) = self.uploads.take() {
            // Given up: whoever still reads stops at the next blob.
            self.blobs.failure.set(RepositoryError::Interrupted);
            self.blobs.abandon();
            uploads.abort();
        }
    }
}
