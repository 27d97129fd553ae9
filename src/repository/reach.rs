//! Which blobs backups stand on: everything that can be reached from their roots. Directories are read,
//! file contents are not. What can not be read is told apart from what is there, and never passed over.

use crate::model::ids::BlobId;
use crate::repository::format::tree::{References, references};
use crate::repository::{BlobSink, Reader, RepositoryError, pipeline};
use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

/// What is reachable from some roots.
#[derive(Default)]
pub(crate) struct Reach {
    /// Directories, their leaves and lists of blobs.
    pub(crate) trees: HashSet<BlobId>,
    /// Bytes of files: sorted, each once.
    pub(crate) data: Vec<BlobId>,
    /// Trees that can not be read: what is below them is not known.
    pub(crate) unreadable: BTreeMap<BlobId, RepositoryError>,
}

impl Reach {
    /// All blobs.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = &BlobId> {
        self.trees.iter().chain(&self.data)
    }
}

/// Reads all trees below `roots`, level by level, each once.
pub(crate) async fn reach(
    reader: &Reader,
    roots: impl IntoIterator<Item = BlobId>,
) -> Result<Reach, RepositoryError> {
    let mut reach = Reach::default();
    let mut level: Vec<BlobId> = roots.into_iter().collect();
    level.retain(|id| reach.trees.insert(*id));
    let mut unique_len = 0;
    while !level.is_empty() {
        let found = Arc::new(Mutex::new((References::default(), Vec::new())));
        let into = found.clone();
        let sink: BlobSink = Arc::new(move |id, content| {
            let below = content
                .map_err(RepositoryError::clone)
                .and_then(|content| children(id, content));
            let mut found = into.lock().unwrap_or_else(PoisonError::into_inner);
            match below {
                Ok(below) => found.0.extend(below),
                Err(error) => found.1.push((*id, error)),
            }
            Ok(())
        });
        reader.read_blobs(level, sink).await?;
        let (below, unreadable) =
            std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner));
        reach.unreadable.extend(unreadable);
        reach.data.extend(below.data);
        level = below.trees;
        level.retain(|id| reach.trees.insert(*id));
        if reach.data.len() > 2 * unique_len.max(UNIQUE_MIN) {
            reach.data = unique(reach.data).await;
            unique_len = reach.data.len();
        }
    }
    reach.data = unique(reach.data).await;
    Ok(reach)
}

/// Backups of a large file that changes a little name most of its blobs again: they are made unique whenever there are
/// twice as many as before, so that they never take much more than they must. Not for fewer than this.
const UNIQUE_MIN: usize = 1 << 20;

async fn unique(mut blobs: Vec<BlobId>) -> Vec<BlobId> {
    pipeline::on_pool(move || {
        pipeline::sort(&mut blobs, BlobId::words);
        blobs.dedup();
        blobs.shrink_to_fit();
        blobs
    })
    .await
}

/// What the tree blob `id` names: a directory's entries, its leaves, or the blobs of a long file.
pub(crate) fn children(id: &BlobId, content: &[u8]) -> Result<References, RepositoryError> {
    references(content).map_err(|cause| RepositoryError::object(format!("tree {id}"), cause))
}
