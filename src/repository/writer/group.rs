//! Small data blobs that are stored together, as one frame: what lies side by side in a directory has much in common,
//! and a frame by itself costs a start of the compressor, a tag, and its line in the pack and in the index. Each blob
//! keeps its own name, so each is found and taken over by itself. Never holds blobs that others may stand on yet.

use crate::model::ids::BlobId;
use crate::repository::RepositoryError;
use crate::repository::format::blob::{BlobKind, blob_id};
use crate::repository::writer::blobs::BlobWriter;

/// A group is stored when it has this length. Whoever wants one file reads and decodes no more than this besides.
const GROUP_LEN_BYTES: usize = 128 << 10;
/// Nor does it hold more than this: each blob has its line in the pack's footer.
const GROUP_BLOBS_MAX: usize = 1024;
/// A longer blob is a frame by itself.
const GROUPED_MAX_BYTES: usize = 64 << 10;

/// Whether a data frame as it was read is stored as it is; or else what is in it grows together with others.
pub(crate) fn would_stand(blobs: usize, len: usize) -> bool {
    len > GROUPED_MAX_BYTES || blobs > 1 && len >= GROUP_LEN_BYTES / 4
}

/// Claimed blobs that are to be one frame.
#[derive(Default)]
pub(crate) struct Group {
    blobs: Vec<(BlobId, u32)>,
    plain: Vec<u8>,
}

impl Group {
    /// Names `content` and stores it, now or with what comes next, unless it is known.
    pub(crate) fn put(
        &mut self,
        writer: &BlobWriter,
        content: &[u8],
    ) -> Result<BlobId, RepositoryError> {
        let id = blob_id(writer.keys().keyring(), BlobKind::Data, content);
        if writer.claim(&id) {
            self.add(writer, &id, content)?;
        }
        Ok(id)
    }

    /// Stores a claimed blob, now or with what comes next.
    pub(crate) fn add(
        &mut self,
        writer: &BlobWriter,
        id: &BlobId,
        content: &[u8],
    ) -> Result<(), RepositoryError> {
        let blob = (*id, content.len() as u32);
        if content.len() > GROUPED_MAX_BYTES {
            return writer.store(BlobKind::Data, &[blob], content);
        }
        self.blobs.push(blob);
        self.plain.extend_from_slice(content);
        let is_full = self.plain.len() >= GROUP_LEN_BYTES || self.blobs.len() >= GROUP_BLOBS_MAX;
        match is_full {
            true => self.store(writer),
            false => Ok(()),
        }
    }

    /// Stores what there is.
    pub(crate) fn store(&mut self, writer: &BlobWriter) -> Result<(), RepositoryError> {
        if !self.blobs.is_empty() {
            writer.store(BlobKind::Data, &self.blobs, &self.plain)?;
        }
        self.blobs.clear();
        self.plain.clear();
        Ok(())
    }
}
