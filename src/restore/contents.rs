//! What a restore needs of a backup: its directories, and its bytes by id. A repository's reader gives
//! it; so does anything that wants to see what a restore makes of a backup that means harm.

use crate::model::ids::BlobId;
use crate::model::tree::{Content, Node};
use crate::repository::{Reader, RepositoryError};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::sync::{Arc, Mutex, PoisonError};

/// Takes blobs as they arrive, on any thread, several at once.
pub type Sink = Arc<dyn Fn(&BlobId, &[u8]) + Send + Sync>;

/// Reads one backup. What it gives has been verified against its id.
pub trait Contents: Send + Sync {
    /// The entries of a directory, sorted by name.
    fn entries<'a>(&'a self, tree: &'a BlobId)
    -> BoxFuture<'a, Result<Vec<Node>, RepositoryError>>;

    /// The data blobs of `content`, each with its length in bytes.
    fn blobs<'a>(
        &'a self,
        content: &'a Content,
    ) -> BoxFuture<'a, Result<Vec<(BlobId, u64)>, RepositoryError>>;

    /// Gives each blob to the sink, in whatever order reads least. Gives back those that could not be
    /// read, with the reason.
    fn read(&self, ids: Vec<BlobId>, sink: Sink) -> BoxFuture<'_, Result<Unread, RepositoryError>>;

    /// The id that `data` has in this repository.
    fn id_of(&self, data: &[u8]) -> BlobId;
}

/// Blobs that could not be read.
pub type Unread = Vec<(BlobId, RepositoryError)>;

impl Contents for Reader {
    fn entries<'a>(
        &'a self,
        tree: &'a BlobId,
    ) -> BoxFuture<'a, Result<Vec<Node>, RepositoryError>> {
        Reader::entries(self, tree).boxed()
    }

    fn blobs<'a>(
        &'a self,
        content: &'a Content,
    ) -> BoxFuture<'a, Result<Vec<(BlobId, u64)>, RepositoryError>> {
        async move {
            let with_length = |id: BlobId| match self.blob_len(&id) {
                Some(len) => Ok((id, u64::from(len))),
                None => Err(RepositoryError::BlobMissing { id }),
            };
            let ids = self.blobs_of(content).await?;
            ids.into_iter().map(with_length).collect()
        }
        .boxed()
    }

    fn read(&self, ids: Vec<BlobId>, sink: Sink) -> BoxFuture<'_, Result<Unread, RepositoryError>> {
        async move {
            let unread = Arc::new(Mutex::new(Vec::new()));
            let failed = unread.clone();
            let pass_on = move |id: &BlobId, data: Result<&[u8], &RepositoryError>| {
                match data {
                    Ok(data) => sink(id, data),
                    Err(error) => {
                        let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                        failed.push((*id, error.clone()));
                    }
                }
                Ok(())
            };
            self.read_blobs(ids, Arc::new(pass_on)).await?;
            Ok(std::mem::take(
                &mut *unread.lock().unwrap_or_else(PoisonError::into_inner),
            ))
        }
        .boxed()
    }

    fn id_of(&self, data: &[u8]) -> BlobId {
        Reader::id_of(self, data)
    }
}
