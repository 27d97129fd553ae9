//! Tree blobs, read with their neighbours: who reads one directory reads the next ones soon, and a walk
//! writes them next to one another.

use crate::model::ids::BlobId;
use crate::repository::format::blob::{BlobKind, blob_id};
use crate::repository::format::pack::{Encoding, Frame};
use crate::repository::index::Location;
use crate::repository::reader::Reader;
use crate::repository::reader::fetch::Opener;
use crate::repository::{RepositoryError, layout, pipeline};
use bytes::BytesMut;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

/// Neighbours are those in the same stretch of so many bytes of a pack.
const STRETCH_LEN_BYTES: u32 = 512 << 10;
/// What is kept, decoded.
const KEPT_MAX_BYTES: usize = 24 << 20;

/// Tree blobs that were read lately.
#[derive(Default)]
pub(crate) struct TreeCache(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    blobs: HashMap<BlobId, Arc<[u8]>>,
    /// Oldest first.
    order: VecDeque<BlobId>,
    len_bytes: usize,
}

impl TreeCache {
    fn get(&self, id: &BlobId) -> Option<Arc<[u8]>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.blobs.get(id).cloned()
    }

    fn keep(&self, blobs: Vec<(BlobId, Arc<[u8]>)>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, blob) in blobs {
            kept.len_bytes += blob.len();
            match kept.blobs.insert(id, blob) {
                Some(before) => kept.len_bytes -= before.len(),
                None => kept.order.push_back(id),
            }
        }
        while kept.len_bytes > KEPT_MAX_BYTES
            && let Some(oldest) = kept.order.pop_front()
        {
            let len = kept.blobs.remove(&oldest).map_or(0, |blob| blob.len());
            kept.len_bytes -= len;
        }
    }
}

impl Reader {
    /// A tree blob or a list blob, if it was read lately.
    pub(crate) fn kept_tree_blob(&self, id: &BlobId) -> Option<Arc<[u8]>> {
        self.0.trees.get(id)
    }

    /// A tree blob or a list blob.
    pub(crate) async fn tree_blob(&self, id: &BlobId) -> Result<Arc<[u8]>, RepositoryError> {
        if let Some(blob) = self.0.trees.get(id) {
            return Ok(blob);
        }
        if let Some(place) = self.0.index.locations(id).into_iter().next()
            && place.frame.encoding != Encoding::Delta
            && let Some(blob) = self.read_stretch(id, place).await
        {
            return Ok(blob);
        }
        // Where one has looked again since, and reads a stretch too.
        if let Some(successor) = self.0.successor.get()
            && let Ok(blob) = Box::pin(successor.tree_blob(id)).await
        {
            return Ok(blob);
        }
        // Alone, and from wherever else it is: this knows why it fails.
        Ok(self.read_blob(id).await?.into())
    }

    /// Reads the stretch around `place`, keeps what is in it, and returns the blob if it is there whole.
    async fn read_stretch(&self, id: &BlobId, place: Location) -> Option<Arc<[u8]>> {
        let frames = self.0.index.frames_around(&place, STRETCH_LEN_BYTES);
        let start = frames.first()?.range().start;
        let end = frames.last()?.range().end;
        let pack = self.0.index.packs[place.pack as usize];
        let key = layout::pack(pack.header.kind, &pack.name);
        let sealed = self
            .0
            .repository
            .store()
            .get(&key, Some(start..end))
            .await
            .ok()?;
        let (key, keys) = (
            self.pack_key(place.pack).ok()?,
            self.0.repository.keys().clone(),
        );
        let open = move || {
            let opener = Opener {
                keys: &keys,
                key: &key,
                kind: BlobKind::Tree,
            };
            open_all(&opener, &frames, start, &mut BytesMut::from(sealed))
        };
        let blobs = pipeline::on_pool(open).await;
        let wanted = blobs
            .iter()
            .find(|(found, _)| found == id)
            .map(|(_, blob)| blob.clone());
        self.0.trees.keep(blobs);
        wanted
    }
}

/// Opens frames of one blob each. Its id is computed from its content, so it is the right one.
fn open_all(
    opener: &Opener<'_>,
    frames: &[Frame],
    start: u64,
    sealed: &mut [u8],
) -> Vec<(BlobId, Arc<[u8]>)> {
    let mut blobs = Vec::with_capacity(frames.len());
    for frame in frames
        .iter()
        .filter(|frame| frame.encoding != Encoding::Delta)
    {
        opener.open_frame(frame, start, sealed, |opened| {
            let plain = opened.map(|(_, plain)| plain);
            if let Ok(plain) = plain {
                blobs.push((
                    blob_id(opener.keys.keyring(), opener.kind, plain),
                    plain.into(),
                ));
            }
        });
    }
    blobs
}
