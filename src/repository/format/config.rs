//! The `CCB` object: what makes a directory or a prefix a repository. Plain JSON, written once, so that
//! an operator and a program without keys can tell what it is. It never holds a secret.

use crate::model::ids::RepositoryId;
use crate::model::strategy::Cipher;
use crate::repository::format::FormatError;
use crate::repository::format::manifest::{from_json, to_json};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Name of the object.
pub const CONFIG_KEY: &str = "CCB";
const WHAT: &str = "repository description";
const FORMAT: u32 = 1;
const CHUNKER_VERSION: u32 = 1;

/// What a repository says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryConfig {
    magic: String,
    format: u32,
    /// Its identity: bound into every sealed object.
    pub repo_id: RepositoryId,
    /// How objects are sealed.
    pub cipher: CipherSuite,
    chunker_version: u32,
    /// Additions to the format that are in use here.
    pub features: Features,
    /// When it was created.
    pub created: Timestamp,
}

/// How objects are sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CipherSuite {
    /// AES-256-GCM.
    #[serde(rename = "aes256gcm")]
    Aes256Gcm,
    /// ChaCha20-Poly1305.
    #[serde(rename = "chacha20poly1305")]
    ChaCha20Poly1305,
    /// Not encrypted: 16-byte tags under a public key show damage, not forgery.
    #[serde(rename = "none")]
    None,
}

impl From<Cipher> for CipherSuite {
    fn from(cipher: Cipher) -> Self {
        match cipher {
            Cipher::Aes256Gcm => Self::Aes256Gcm,
            Cipher::ChaCha20Poly1305 => Self::ChaCha20Poly1305,
        }
    }
}

impl CipherSuite {
    /// The name in the `CCB` object, which slots are bound to.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Aes256Gcm => "aes256gcm",
            Self::ChaCha20Poly1305 => "chacha20poly1305",
            Self::None => "none",
        }
    }
}

/// Names of additions to the format, by what a program without them must not do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Features {
    /// Without these, nothing may be read.
    #[serde(default)]
    pub read: Vec<String>,
    /// Without these, nothing may be written.
    #[serde(default)]
    pub write: Vec<String>,
    /// Without these, nothing may be removed.
    #[serde(default)]
    pub gc: Vec<String>,
    /// Without these, a verification proves nothing.
    #[serde(default)]
    pub verify: Vec<String>,
}

/// What one is about to do with a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// List and restore.
    Read,
    /// Back up, copy, annotate.
    Write,
    /// Forget and prune.
    Remove,
    /// Verify and check.
    Verify,
}

impl RepositoryConfig {
    /// A repository of this version of the format.
    pub fn new(repo_id: RepositoryId, cipher: CipherSuite, created: Timestamp) -> Self {
        Self {
            magic: CONFIG_KEY.to_owned(),
            format: FORMAT,
            repo_id,
            cipher,
            chunker_version: CHUNKER_VERSION,
            features: Features::default(),
            created,
        }
    }

    /// The object's bytes.
    pub fn encode(&self) -> Vec<u8> {
        to_json(self)
    }

    /// Reads the object: [`FormatError::Foreign`] when it is something else, [`FormatError::Version`]
    /// when it was written by a later ccb.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        #[derive(Deserialize)]
        struct Outline {
            magic: String,
            format: u32,
        }
        let outline: Outline =
            serde_json::from_slice(bytes).map_err(|_| FormatError::Foreign(WHAT))?;
        if outline.magic != CONFIG_KEY {
            return Err(FormatError::Foreign(WHAT));
        }
        known_version(outline.format, FORMAT)?;
        let config: Self = from_json(WHAT, bytes)?;
        known_version(config.chunker_version, CHUNKER_VERSION)?;
        Ok(config)
    }

    /// Whether this version of ccb may do `operation` here. It knows no additions yet, so each named
    /// one refuses what it is named for; reading is a part of everything.
    pub fn permits(&self, operation: Operation) -> Result<(), FormatError> {
        let own = match operation {
            Operation::Read => &[][..],
            Operation::Write => &self.features.write,
            Operation::Remove => &self.features.gc,
            Operation::Verify => &self.features.verify,
        };
        match self.features.read.iter().chain(own).next() {
            None => Ok(()),
            Some(feature) => Err(FormatError::Feature {
                what: "repository",
                feature: format!("`{feature}`"),
            }),
        }
    }
}

fn known_version(found: u32, known: u32) -> Result<(), FormatError> {
    if found == known {
        return Ok(());
    }
    let what = WHAT;
    Err(FormatError::Version { what, found, known })
}
