//! Keys by name: the `encryption` node, and where a secret of any node is found (never the secret).

use crate::model::ids::EncryptionName;
use crate::model::units::Period;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a secret is found; never the secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretRef {
    /// An environment variable.
    Env(String),
    /// A file, read whole, one trailing newline removed.
    File(String),
    /// A shell command whose standard output is the secret, one trailing newline removed.
    Command(String),
}

/// A named key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encryption {
    /// Its name.
    pub name: EncryptionName,
    /// AEAD for what is stored.
    pub cipher: Cipher,
    /// Where the key or passphrase is found.
    pub key: SecretRef,
    /// How the secret becomes a key.
    pub kdf: Kdf,
    /// Warn when the key is older.
    pub rotate_after: Option<Period>,
}

/// Authenticated ciphers that a repository can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum Cipher {
    #[serde(rename = "aes-256-gcm")]
    Aes256Gcm,
    #[serde(rename = "chacha20-poly1305")]
    ChaCha20Poly1305,
}

/// How a secret becomes a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kdf {
    /// `raw` when the secret is 64 hex or 44 base64 characters, else `argon2id`.
    Auto,
    /// A passphrase, stretched.
    Argon2id,
    /// 32 bytes in hex or base64.
    Raw,
}
