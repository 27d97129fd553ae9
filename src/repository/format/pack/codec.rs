//! What happens to the bytes of a frame before they are sealed and after they are opened. Both sides
//! keep their buffers, so a thread allocates once.

use crate::model::ids::BlobId;
use crate::repository::format::FormatError;
use crate::repository::format::blob::blob_id;
use crate::repository::format::key::Keys;
use crate::repository::format::pack::{
    Encoding, Frame, PackFooter, PackKey, WHAT, read_pack_footer,
};

/// The bytes of a frame as they will be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored<'a> {
    /// As they are.
    Raw(&'a [u8]),
    /// One zstd frame.
    Zstd(&'a [u8]),
    /// All zero.
    Zeros,
}

/// Compresses frames, one at a time.
pub struct FrameEncoder {
    zstd: zstd::bulk::Compressor<'static>,
    buffer: Vec<u8>,
}

impl FrameEncoder {
    /// An encoder at this zstd level.
    pub fn new(level: i32) -> Self {
        let zstd =
            zstd::bulk::Compressor::new(level).expect("zstd clamps every level to its range");
        let buffer = Vec::new();
        Self { zstd, buffer }
    }

    /// The smallest of the ways to store `plain`; raw where zstd would save less than 3 %.
    pub fn encode<'a>(&'a mut self, plain: &'a [u8]) -> Stored<'a> {
        if is_zero(plain) {
            return Stored::Zeros;
        }
        if self.seems_random(plain) {
            return Stored::Raw(plain);
        }
        let worthwhile = plain.len() - plain.len() / 32;
        self.buffer.clear();
        self.buffer
            .reserve(zstd::zstd_safe::compress_bound(plain.len()));
        match self.zstd.compress_to_buffer(plain, &mut self.buffer) {
            Ok(len) if len < worthwhile => Stored::Zstd(&self.buffer),
            _ => Stored::Raw(plain),
        }
    }
}

impl FrameEncoder {
    /// Whether samples from all over a long frame say that nothing in it compresses: to try media as a whole costs more
    /// than to encrypt it. What compresses must be shorter than the distance of two samples not to be seen.
    fn seems_random(&mut self, plain: &[u8]) -> bool {
        if plain.len() < SAMPLED_MIN_BYTES {
            return false;
        }
        let distance = (plain.len() - SAMPLE_LEN_BYTES) / (SAMPLES - 1);
        let samples = (0..SAMPLES).flat_map(|n| &plain[n * distance..][..SAMPLE_LEN_BYTES]);
        let samples: Vec<u8> = samples.copied().collect();
        self.buffer.clear();
        self.buffer
            .reserve(zstd::zstd_safe::compress_bound(samples.len()));
        let packed = self.zstd.compress_to_buffer(&samples, &mut self.buffer);
        packed.is_ok_and(|len| len > samples.len() - samples.len() / 64)
    }
}

/// Shorter frames are tried as they are.
const SAMPLED_MIN_BYTES: usize = 128 << 10;
const SAMPLES: usize = 16;
const SAMPLE_LEN_BYTES: usize = 1 << 10;

fn is_zero(bytes: &[u8]) -> bool {
    bytes
        .chunks(4096)
        .all(|block| block.iter().fold(0, |all, byte| all | byte) == 0)
}

/// Decompresses frames, one at a time.
pub struct FrameDecoder {
    zstd: zstd::bulk::Decompressor<'static>,
    buffer: Vec<u8>,
}

impl FrameDecoder {
    /// A decoder.
    pub fn new() -> Self {
        let zstd = zstd::bulk::Decompressor::new().expect("zstd makes a context from memory alone");
        let buffer = Vec::new();
        Self { zstd, buffer }
    }
}

impl Default for FrameDecoder {
    fn default() -> Self {
        Self::new()
    }
}

/// Opens and decodes a frame. `sealed` are the bytes of [`Frame::range`]; they are overwritten. What
/// comes out is the plaintext of all its blobs, whose ids are for the caller to check with [`blob_id`]:
/// a frame's tag says that it is whole, an id that it is the right one.
pub fn open_frame<'a>(
    key: &PackKey,
    frame: &Frame,
    sealed: &'a mut [u8],
    decoder: &'a mut FrameDecoder,
) -> Result<&'a [u8], FormatError> {
    frame.check(WHAT)?;
    let stored = key.unseal_frame(frame, sealed)?;
    let plain_len = frame.plain_len as usize;
    let buffer = &mut decoder.buffer;
    match frame.encoding {
        Encoding::Raw => Ok(stored),
        Encoding::Zeros => {
            buffer.clear();
            buffer.resize(plain_len, 0);
            Ok(buffer)
        }
        Encoding::Zstd => {
            buffer.clear();
            buffer.reserve_exact(plain_len);
            // zstd writes up to the capacity, which may be that of a longer frame before.
            let len = decoder.zstd.decompress_to_buffer(stored, buffer);
            match len {
                Ok(len) if len == plain_len => Ok(buffer),
                Ok(_) => Err(FormatError::malformed(
                    WHAT,
                    "a frame has another length than it says",
                )),
                Err(_) => Err(FormatError::malformed(WHAT, "a frame does not decompress")),
            }
        }
        Encoding::Delta => Err(FormatError::Feature {
            what: WHAT,
            feature: "delta frames".to_owned(),
        }),
    }
}

/// Reads a whole pack as a reader of any of its blobs would: every frame opens, every blob has its id.
/// What is about to be stored is read so once, and what is checked in full.
pub fn check_pack(
    keys: &Keys,
    pack: &[u8],
    decoder: &mut FrameDecoder,
) -> Result<PackFooter, FormatError> {
    let footer = read_pack_footer(keys, pack)?;
    let key = PackKey::new(keys, footer.header)?;
    let mut sealed = Vec::new();
    let mut blobs = footer.blobs.iter().peekable();
    for (number, frame) in footer.frames.iter().enumerate() {
        let range = frame.range();
        sealed.clear();
        sealed.extend_from_slice(&pack[range.start as usize..range.end as usize]);
        let plain = open_frame(&key, frame, &mut sealed, decoder)?;
        while let Some(blob) = blobs.next_if(|blob| blob.frame as usize == number) {
            let content = &plain[blob.offset as usize..][..blob.len as usize];
            if blob_id(keys.keyring(), footer.header.kind, content) != blob.id {
                return Err(misnamed(blob.id));
            }
        }
    }
    Ok(footer)
}

fn misnamed(id: BlobId) -> FormatError {
    FormatError::malformed(WHAT, format!("the blob {} has other content", id.short()))
}

#[cfg(test)]
mod tests {
    use crate::model::ids::{BlobId, RepositoryId};
    use crate::repository::format::FormatError;
    use crate::repository::format::blob::BlobKind;
    use crate::repository::format::config::CipherSuite;
    use crate::repository::format::key::{Keyring, Keys};
    use crate::repository::format::pack::{
        Encoding, Frame, FrameDecoder, PackHeader, PackKey, open_frame,
    };

    #[test]
    fn a_delta_frame_authenticates_and_is_refused_by_name() {
        let ring = Keyring::new([1; 32], [2; 32]);
        let keys = Keys::new(ring, RepositoryId([3; 16]), CipherSuite::Aes256Gcm);
        let (kind, epoch, salt) = (BlobKind::Data, 1, [8; 32]);
        let key = PackKey::new(&keys, PackHeader { kind, epoch, salt }).unwrap();
        let frame = Frame {
            offset: 40,
            stored_len: 3,
            plain_len: 9,
            encoding: Encoding::Delta,
            depth: 1,
            bases: vec![BlobId([1; 32])],
        };
        let mut sealed = b"abc".to_vec();
        let tag = key.seal_frame(&frame, &mut sealed);
        sealed.extend_from_slice(&tag);
        let other_base = Frame {
            bases: vec![BlobId([2; 32])],
            ..frame.clone()
        };
        let mut decoder = FrameDecoder::new();
        let mut bytes = sealed.clone();
        let refused = open_frame(&key, &other_base, &mut bytes, &mut decoder);
        assert_eq!(refused, Err(FormatError::Authentication("pack")));
        let refused = open_frame(&key, &frame, &mut sealed, &mut decoder).unwrap_err();
        assert!(refused.to_string().contains("delta frames"), "{refused}");
    }
}
