//! Builds one pack in one buffer: frames are sealed where they stand and hashed as they come.

use crate::model::ids::{BlobId, Digest};
use crate::repository::format::FormatError;
use crate::repository::format::blob::BlobKind;
use crate::repository::format::key::Keys;
use crate::repository::format::pack::{
    BlobAt, Delta, Encoding, FRAME_MAX_BYTES, Frame, HEADER_LEN, PackFooter, PackHeader, PackKey,
    Stored, WHAT, footer,
};

/// BLAKE3 is fast on long pieces, memory on those that the cache still holds.
const HASH_STEP_BYTES: usize = 256 << 10;

/// A pack being built. One that is dropped leaves nothing.
pub struct PackWriter {
    key: PackKey,
    pack: Vec<u8>,
    hasher: blake3::Hasher,
    /// How many bytes of the pack the hasher has seen, and a checksum of them.
    hashed: usize,
    crc: u32,
    contents: PackFooter,
}

/// A pack ready to be stored under its name.
pub struct FinishedPack {
    /// Its name.
    pub name: Digest,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// CRC-32C of the bytes that the name was computed of: much quicker to compute again than the name.
    pub crc: u32,
    /// What it holds.
    pub footer: PackFooter,
}

impl PackWriter {
    /// Starts a pack in `buffer`, which is cleared and may be one of an earlier pack. `salt` is 32
    /// random bytes, never used before.
    pub fn new(keys: &Keys, kind: BlobKind, salt: [u8; 32], buffer: Vec<u8>) -> Self {
        let epoch = keys.keyring().epoch();
        let header = PackHeader { kind, epoch, salt };
        let key = PackKey::new(keys, header).expect("the keyring holds its own newest epoch");
        let mut pack = buffer;
        pack.clear();
        pack.extend_from_slice(&header.encode());
        Self {
            key,
            pack,
            hasher: blake3::Hasher::new(),
            hashed: 0,
            crc: 0,
            contents: PackFooter {
                header,
                frames: Vec::new(),
                blobs: Vec::new(),
            },
        }
    }

    /// Appends a frame that holds `blobs`, in order: the plaintext of all, as `stored` by a
    /// [`FrameEncoder`](crate::repository::format::pack::FrameEncoder). Returns where it is.
    pub fn push(
        &mut self,
        blobs: &[(BlobId, u32)],
        stored: Stored<'_>,
    ) -> Result<Frame, FormatError> {
        let (encoding, bytes, bases, depth) = match stored {
            Stored::Raw(bytes) => (Encoding::Raw, bytes, &[][..], 0),
            Stored::Zstd(bytes) => (Encoding::Zstd, bytes, &[][..], 0),
            Stored::Zeros => (Encoding::Zeros, &[][..], &[][..], 0),
            Stored::Delta(Delta {
                bytes,
                bases,
                depth,
            }) => (Encoding::Delta, bytes, bases, depth),
        };
        let plain_len = blobs.iter().map(|(_, len)| u64::from(*len)).sum::<u64>();
        let too_large = |_| FormatError::TooLarge {
            what: WHAT,
            limit_bytes: u64::from(FRAME_MAX_BYTES),
        };
        let frame = Frame {
            offset: u32::try_from(self.pack.len()).map_err(too_large)?,
            stored_len: u32::try_from(bytes.len()).map_err(too_large)?,
            plain_len: u32::try_from(plain_len).map_err(too_large)?,
            encoding,
            depth,
            bases: bases.to_vec(),
        };
        frame.check(WHAT)?;
        if blobs.iter().any(|(_, len)| *len == 0) || blobs.is_empty() {
            return Err(FormatError::malformed(
                WHAT,
                "a frame needs blobs with bytes",
            ));
        }
        let start = self.pack.len();
        self.pack.extend_from_slice(bytes);
        let tag = self.key.seal_frame(&frame, &mut self.pack[start..]);
        self.pack.extend_from_slice(&tag);
        if self.pack.len() - self.hashed >= HASH_STEP_BYTES {
            self.hash();
        }
        self.list(blobs);
        self.contents.frames.push(frame.clone());
        Ok(frame)
    }

    fn hash(&mut self) {
        let fresh = &self.pack[self.hashed..];
        // The checksum first: what memory alters between the two is of another name then, and is found out.
        self.crc = crc32c::crc32c_append(self.crc, fresh);
        self.hasher.update(fresh);
        self.hashed = self.pack.len();
    }

    fn list(&mut self, blobs: &[(BlobId, u32)]) {
        let frame = self.contents.frames.len() as u32;
        let mut offset = 0;
        for &(id, len) in blobs {
            self.contents.blobs.push(BlobAt {
                id,
                frame,
                offset,
                len,
            });
            offset += len;
        }
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.pack.len()
    }

    /// Bytes of padding, if the pack were closed now.
    pub fn padding(&self) -> usize {
        footer::padding(&self.contents, self.pack.len())
    }

    /// Whether no frame was appended.
    pub fn is_empty(&self) -> bool {
        self.pack.len() == HEADER_LEN
    }

    /// How many blobs it holds.
    pub fn blob_count(&self) -> usize {
        self.contents.blobs.len()
    }

    /// Closes the pack; with `pad`, its length says little about what is in it.
    pub fn finish(mut self, pad: bool) -> FinishedPack {
        footer::append(&self.key, &self.contents, &mut self.pack, pad);
        self.hash();
        FinishedPack {
            name: Digest(*self.hasher.finalize().as_bytes()),
            bytes: self.pack,
            crc: self.crc,
            footer: self.contents,
        }
    }
}
