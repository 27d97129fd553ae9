//! Names what was cut, and joins chunks that follow one another to longer blobs. A chunk of a dump is short, so that a
//! change costs little where nothing stood before; where it is stored as the difference to what stood there, its
//! length does not matter, and what it costs is its name: in the pack, in the index, in the file's list. So what is
//! stored as a delta is one blob from one landmark to the next, the chunks in it that are known included. What is in
//! it alone decides where it ends, so that it is found again when nothing has changed in it; landmarks are blobs by
//! themselves, so that two versions are laid side by side at them.

use crate::model::ids::BlobId;
use crate::repository::format::blob::{BlobKind, blob_id};
use crate::repository::writer::blobs::BlobWriter;
use crate::repository::writer::previous::Named;
use std::ops::Range;

/// What is joined is no longer.
const JOINED_MAX_BYTES: usize = 256 << 10;
/// A chunk is a landmark when these bits of its id are 0: one of sixteen.
const LANDMARK_MASK: u8 = 0x0f;

/// What is in a buffer: blobs, each of which is one chunk or several.
pub(crate) struct Names {
    pub(crate) named: Vec<Named>,
    /// All chunks, and where those of each blob end.
    chunks: Vec<(BlobId, u32)>,
    ends: Vec<usize>,
}

impl Names {
    /// The chunks of these blobs.
    pub(crate) fn chunks_of(&self, blobs: Range<usize>) -> &[(BlobId, u32)] {
        let end = |number: usize| number.checked_sub(1).map_or(0, |last| self.ends[last]);
        &self.chunks[end(blobs.start)..end(blobs.end)]
    }

    /// How long these blobs are.
    pub(crate) fn len_of(&self, blobs: Range<usize>) -> usize {
        self.named[blobs].iter().map(|blob| blob.len as usize).sum()
    }

    fn add(&mut self, id: BlobId, len: usize, is_new: bool, end: usize) {
        let len = len as u32;
        self.named.push(Named { id, len, is_new });
        self.ends.push(end);
    }
}

/// Names consecutive chunks of these lengths.
pub(crate) fn name(writer: &BlobWriter, bytes: &[u8], lens: &[usize]) -> Names {
    let id_of = |bytes: &[u8]| blob_id(writer.keys().keyring(), BlobKind::Data, bytes);
    let mut from = 0;
    let mut chunks = Vec::with_capacity(lens.len());
    for len in lens {
        chunks.push((id_of(&bytes[from..from + len]), *len as u32));
        from += len;
    }
    let mut names = Names {
        named: Vec::new(),
        chunks: Vec::new(),
        ends: Vec::new(),
    };
    let is_here: Vec<bool> = chunks.iter().map(|(id, _)| writer.is_here(id)).collect();
    let (mut start, mut from) = (0, 0);
    while start < chunks.len() {
        let end = end_of(&chunks, start);
        let len = lens[start..end].iter().sum();
        if is_here[start..end].iter().all(|is_here| *is_here) {
            // Named as it was when it was stored first.
            for at in start..end {
                names.add(chunks[at].0, lens[at], false, at + 1);
            }
        } else {
            let id = match end - start {
                1 => chunks[start].0,
                _ => id_of(&bytes[from..from + len]),
            };
            names.add(id, len, !writer.is_here(&id), end);
        }
        (start, from) = (end, from + len);
    }
    names.chunks = chunks;
    names
}

/// Where the blob ends that begins with the chunk `start`, if it is joined.
fn end_of(chunks: &[(BlobId, u32)], start: usize) -> usize {
    let is_landmark = |at: usize| chunks[at].0.0[8] & LANDMARK_MASK == 0;
    let (mut end, mut len) = (start + 1, chunks[start].1 as usize);
    if is_landmark(start) {
        return end;
    }
    while end < chunks.len()
        && !is_landmark(end)
        && len + chunks[end].1 as usize <= JOINED_MAX_BYTES
    {
        len += chunks[end].1 as usize;
        end += 1;
    }
    end
}
