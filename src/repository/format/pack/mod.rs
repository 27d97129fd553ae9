//! Packs: files of sealed frames with a sealed footer that says what is in them. A frame is one blob, or
//! a group of consecutive blobs compressed and sealed as one. A pack is named by the unkeyed BLAKE3 of
//! its bytes, so that any machine can tell whether it is whole.

use crate::model::ids::{BlobId, Digest};
use crate::repository::format::FormatError;
use crate::repository::format::aead::{SealingKey, TAG_LEN};
use crate::repository::format::blob::BlobKind;
use crate::repository::format::key::{Keys, Purpose};
use crate::repository::format::wire::Reader;

pub use crate::repository::format::pack::codec::{
    Delta, FrameDecoder, FrameEncoder, Stored, check_pack, decode_frame, unseal_frame,
};
pub use crate::repository::format::pack::footer::{
    PackFooter, TRAILER_LEN, read_footer, read_pack_footer, sealed_footer_len,
};
pub use crate::repository::format::pack::writer::{FinishedPack, PackWriter};

mod codec;
mod footer;
mod writer;

pub(crate) const WHAT: &str = "pack";
const MAGIC: &[u8; 4] = b"CCBP";
const VERSION: u8 = 1;
/// Length of what stands before the first frame.
pub const HEADER_LEN: usize = 40;
/// What a frame may decode to.
pub const FRAME_MAX_BYTES: u32 = 32 << 20;
/// How many blobs a delta frame may stand on. Together they are no longer than a frame.
pub const BASES_MAX: usize = 128;
/// How long a chain of delta frames may be.
pub const DEPTH_MAX: u8 = 8;

/// The first bytes of a pack, which are not secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackHeader {
    /// What it holds.
    pub kind: BlobKind,
    /// Epoch of its key.
    pub epoch: u16,
    /// 32 random bytes its key is derived with.
    pub salt: [u8; 32],
}

impl PackHeader {
    pub(crate) fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[..4].copy_from_slice(MAGIC);
        out[4] = VERSION;
        out[5] = self.kind.code();
        out[6..8].copy_from_slice(&self.epoch.to_le_bytes());
        out[8..].copy_from_slice(&self.salt);
        out
    }

    /// Reads the header off the front of a pack.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes, WHAT);
        if reader.take(4)? != MAGIC {
            return Err(FormatError::Foreign(WHAT));
        }
        let version = reader.u8()?;
        if version != VERSION {
            let (found, known) = (u32::from(version), u32::from(VERSION));
            return Err(FormatError::Version {
                what: WHAT,
                found,
                known,
            });
        }
        let code = reader.u8()?;
        let unknown = || FormatError::Feature {
            what: WHAT,
            feature: format!("pack kind {code}"),
        };
        Ok(Self {
            kind: BlobKind::from_code(code).ok_or_else(unknown)?,
            epoch: reader.u16()?,
            salt: reader.array()?,
        })
    }
}

/// How the bytes of a frame are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As they are.
    Raw,
    /// One zstd frame.
    Zstd,
    /// All are zero, and none is stored.
    Zeros,
    /// One zstd frame against the plaintext of the frame's bases.
    Delta,
}

impl Encoding {
    pub(crate) fn flags(self) -> u8 {
        match self {
            Self::Raw => 0,
            Self::Zstd => 1,
            Self::Zeros => 2,
            Self::Delta => 5,
        }
    }

    pub(crate) fn from_flags(what: &'static str, flags: u8) -> Result<Self, FormatError> {
        match flags {
            0 => Ok(Self::Raw),
            1 => Ok(Self::Zstd),
            2 => Ok(Self::Zeros),
            5 => Ok(Self::Delta),
            _ => Err(FormatError::Feature {
                what,
                feature: format!("frame flags {flags:#04x}"),
            }),
        }
    }
}

/// Where a frame is in its pack, and how to decode it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Offset in the pack of its first byte.
    pub offset: u32,
    /// Length as stored, without its tag.
    pub stored_len: u32,
    /// Length decoded.
    pub plain_len: u32,
    /// How it is stored.
    pub encoding: Encoding,
    /// 0 for a frame that stands alone, else one more than the deepest of its bases, at most 8.
    pub depth: u8,
    /// Blobs that it is a delta against, at most [`BASES_MAX`]; empty for a frame that stands alone.
    pub bases: Vec<BlobId>,
}

impl Frame {
    /// The range of the pack that holds it with its tag.
    pub fn range(&self) -> std::ops::Range<u64> {
        let start = u64::from(self.offset);
        start..start + u64::from(self.stored_len) + TAG_LEN as u64
    }

    /// Checks what holds for every frame, wherever it is described.
    pub(crate) fn check(&self, what: &'static str) -> Result<(), FormatError> {
        let wrong = |why: &str| Err(FormatError::malformed(what, why));
        if self.plain_len > FRAME_MAX_BYTES || self.stored_len > FRAME_MAX_BYTES {
            return Err(FormatError::TooLarge {
                what,
                limit_bytes: u64::from(FRAME_MAX_BYTES),
            });
        }
        let is_delta = self.encoding == Encoding::Delta;
        if is_delta != (self.depth > 0) || is_delta == self.bases.is_empty() {
            return wrong("a frame's bases do not fit its flags");
        }
        if self.depth > DEPTH_MAX || self.bases.len() > BASES_MAX {
            return wrong("a frame has too many bases");
        }
        match self.encoding {
            Encoding::Raw if self.stored_len != self.plain_len => {
                wrong("a raw frame has two lengths")
            }
            Encoding::Zeros if self.stored_len != 0 => wrong("a frame of zeros stores bytes"),
            _ => Ok(()),
        }
    }
}

/// A blob of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobAt {
    /// Its id.
    pub id: BlobId,
    /// Number of its frame in the pack.
    pub frame: u32,
    /// Offset within the decoded frame.
    pub offset: u32,
    /// Length in bytes, never 0.
    pub len: u32,
}

/// The key of one pack.
pub struct PackKey {
    key: SealingKey,
    /// What every frame's additional data starts with.
    prefix: Vec<u8>,
    header: PackHeader,
}

impl PackKey {
    /// Derives it; worth keeping while frames of the same pack are read.
    pub fn new(keys: &Keys, header: PackHeader) -> Result<Self, FormatError> {
        let purpose = match header.kind {
            BlobKind::Data => Purpose::Data,
            BlobKind::Tree => Purpose::Meta,
        };
        let kind = [header.kind.code()];
        let repo_id = keys.repo_id().0;
        let info: [&[u8]; 3] = [b"ccb/v1/pack", &repo_id, &kind];
        Ok(Self {
            key: keys.sealing_key(WHAT, (purpose, header.epoch), &header.salt, &info)?,
            prefix: [b"ccb/v1/frame", &repo_id[..], &kind].concat(),
            header,
        })
    }

    fn seal_frame(&self, frame: &Frame, content: &mut [u8]) -> [u8; TAG_LEN] {
        self.key.seal(nonce(frame), &self.frame_aad(frame), content)
    }

    fn unseal_frame<'a>(
        &self,
        frame: &Frame,
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], FormatError> {
        if sealed.len() as u64 != u64::from(frame.stored_len) + TAG_LEN as u64 {
            return Err(FormatError::Truncated(WHAT));
        }
        self.key
            .open(nonce(frame), &self.frame_aad(frame), sealed)
            .map_err(|_| FormatError::Authentication(WHAT))
    }

    fn frame_aad(&self, frame: &Frame) -> Vec<u8> {
        let mut aad = Vec::with_capacity(self.prefix.len() + 7 + frame.bases.len() * 32);
        aad.extend_from_slice(&self.prefix);
        aad.extend_from_slice(&frame.plain_len.to_le_bytes());
        aad.extend_from_slice(&[frame.encoding.flags(), frame.depth, frame.bases.len() as u8]);
        for base in &frame.bases {
            aad.extend_from_slice(&base.0);
        }
        aad
    }
}

/// Frames of a pack have different offsets, for each is followed by its tag: no nonce comes twice.
fn nonce(frame: &Frame) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&u64::from(frame.offset).to_le_bytes());
    nonce
}

/// The footer's nonce; no offset reaches it.
const FOOTER_NONCE: [u8; 12] = [255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0];

/// The name of a pack with these bytes.
pub fn pack_name(pack: &[u8]) -> Digest {
    Digest::of(pack)
}
