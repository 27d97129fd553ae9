//! What a blob is called: keyed BLAKE3 of its plaintext, under one key for data and another for trees,
//! so that content can not be guessed from names and no file can pose as a directory.

use crate::model::ids::BlobId;
use crate::repository::format::key::Keyring;

/// What a blob holds, and so which packs it is in and which key names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlobKind {
    /// Bytes of files and streams.
    Data,
    /// Trees, tree lists and content lists.
    Tree,
}

impl BlobKind {
    /// The byte that stands for it in packs and index segments.
    pub fn code(self) -> u8 {
        match self {
            Self::Data => 1,
            Self::Tree => 2,
        }
    }

    /// The kind that `code` stands for.
    pub fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Data),
            2 => Some(Self::Tree),
            _ => None,
        }
    }
}

/// The id of a blob with this content.
pub fn blob_id(keyring: &Keyring, kind: BlobKind, content: &[u8]) -> BlobId {
    BlobId(*blake3::keyed_hash(keyring.id_key(kind), content).as_bytes())
}
