//! Whether two files hold equal bytes though they name other blobs: a blob is a chunk, or several that were joined, so
//! the names alone do not tell. Where both have a blob of one length at one place, its names do; only what is parted
//! in two ways is read.

use crate::model::ids::BlobId;
use crate::model::tree::Content;
use crate::repository::RepositoryError;
use crate::repository::reader::Reader;
use std::collections::VecDeque;

/// A file's blobs with their lengths, in order.
type Blobs = VecDeque<(BlobId, u64)>;

/// A stretch that both files have, and that is parted in two ways.
#[derive(Default)]
struct Stretch([Vec<BlobId>; 2]);

/// Compares two files of one length. Both readers must be of repositories with the same keyring.
pub(super) async fn are_same(
    readers: &[Reader; 2],
    [before, after]: [&Content; 2],
) -> Result<bool, RepositoryError> {
    let blobs = [
        blobs_of(&readers[0], before).await?,
        blobs_of(&readers[1], after).await?,
    ];
    let Some(stretches) = apart(blobs) else {
        return Ok(false);
    };
    for Stretch([before, after]) in stretches {
        if !read_alike(readers, [before, after]).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn blobs_of(reader: &Reader, content: &Content) -> Result<Blobs, RepositoryError> {
    let with_length = |id: BlobId| match reader.blob_len(&id) {
        Some(len) => Ok((id, u64::from(len))),
        None => Err(RepositoryError::BlobMissing { id }),
    };
    let ids = reader.blobs_of(content).await?;
    ids.into_iter().map(with_length).collect()
}

/// The stretches that only reading can compare; `None` where the names say that the files differ.
fn apart([mut before, mut after]: [Blobs; 2]) -> Option<Vec<Stretch>> {
    let mut stretches = Vec::new();
    loop {
        let (one, other) = match (before.pop_front(), after.pop_front()) {
            (Some(one), Some(other)) => (one, other),
            (None, None) => return Some(stretches),
            _ => return None,
        };
        if one.1 == other.1 {
            if one.0 != other.0 {
                return None;
            }
            continue;
        }
        let mut ends = [one.1, other.1];
        let mut stretch = Stretch([vec![one.0], vec![other.0]]);
        while ends[0] != ends[1] {
            let behind = usize::from(ends[0] > ends[1]);
            let (id, len) = match behind {
                0 => before.pop_front()?,
                _ => after.pop_front()?,
            };
            stretch.0[behind].push(id);
            ends[behind] += len;
        }
        stretches.push(stretch);
    }
}

/// Whether these blobs of one and of the other, end to end, are the same bytes.
async fn read_alike(
    readers: &[Reader; 2],
    [before, after]: [Vec<BlobId>; 2],
) -> Result<bool, RepositoryError> {
    let content = |blobs| Content {
        blobs,
        is_list: false,
    };
    let mut before = readers[0].content(&content(before));
    let mut after = readers[1].content(&content(after));
    let (mut one, mut other) = (bytes::Bytes::new(), bytes::Bytes::new());
    loop {
        if one.is_empty() {
            one = before.next().await?.unwrap_or_default();
        }
        if other.is_empty() {
            other = after.next().await?.unwrap_or_default();
        }
        let len = one.len().min(other.len());
        if len == 0 {
            return Ok(one.is_empty() && other.is_empty());
        }
        if one.split_to(len) != other.split_to(len) {
            return Ok(false);
        }
    }
}
