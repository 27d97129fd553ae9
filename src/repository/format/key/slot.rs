//! Key slots: `keys/<slot>.json`, each the keyring wrapped under one secret. A wrong secret, a damaged
//! slot and a slot of another repository are three different answers.

use crate::model::ids::{RepositoryId, hex, unhex};
use crate::model::strategy::Kdf;
use crate::repository::format::FormatError;
use crate::repository::format::aead::SealingKey;
use crate::repository::format::config::CipherSuite;
use crate::repository::format::key::{Key32, Keyring, Secret, hkdf_sha256};
use crate::repository::format::manifest::{from_json, to_json};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

const WHAT: &str = "key slot";
const VERSION: u32 = 1;
/// Bounds on what a slot may ask for: opening one must not exhaust the machine.
const MEMORY_KIB_MAX: u32 = 1 << 20;
const PASSES_MAX: u32 = 32;
const LANES_MAX: u32 = 16;

/// Why a secret does not open a slot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The slot is whole, and this is not its secret.
    #[error("wrong key for slot `{0}`")]
    WrongKey(String),
    /// `kdf raw` was asked for, and the secret is not a key.
    #[error("the secret is not a raw key: write 64 hexadecimal digits or 44 characters of base64")]
    NotRaw,
    /// A passphrase of no characters.
    #[error("the secret is empty")]
    Empty,
    /// The slot asks for more than any slot should.
    #[error("the key slot asks for {what} beyond the limit of this ccb")]
    Excessive {
        /// Which of its parameters.
        what: &'static str,
    },
    /// The slot is damaged, or belongs to another repository.
    #[error(transparent)]
    Format(#[from] FormatError),
}

/// How a slot's secret becomes a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kdf", rename_all = "lowercase")]
pub enum KdfParams {
    /// The secret is the key.
    Raw,
    /// The secret is a passphrase.
    Argon2id {
        /// Memory in KiB.
        memory_kib: u32,
        /// Passes over it.
        passes: u32,
        /// Lanes.
        lanes: u32,
    },
}

impl KdfParams {
    /// What new slots with passphrases use: 64 MiB, three passes, one lane.
    pub const PASSPHRASE: Self = Self::Argon2id {
        memory_kib: 65_536,
        passes: 3,
        lanes: 1,
    };
}

/// One slot. Its file is this as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotFile {
    v: u32,
    kind: String,
    /// Its name, also in the file's name.
    pub slot: String,
    /// When it was made.
    pub created: Timestamp,
    /// How its secret becomes a key.
    #[serde(flatten)]
    pub kdf: KdfParams,
    salt: String,
    commitment: String,
    wrapped: String,
    /// Unkeyed, over all of the above: tells damage from a wrong key.
    checksum: String,
}

/// Wraps `keyring` under `secret`. `salt` is 32 random bytes, never used before. `kdf` says how to take
/// the secret; [`KdfParams::PASSPHRASE`] is used where it is none of hex or base64.
pub fn make_slot(
    keyring: &Keyring,
    secret: &Secret,
    kdf: Kdf,
    slot: &str,
    (repo_id, cipher): (RepositoryId, CipherSuite),
    salt: [u8; 32],
    created: Timestamp,
) -> Result<SlotFile, KeyError> {
    let kdf = match kdf {
        Kdf::Raw => KdfParams::Raw,
        Kdf::Argon2id => KdfParams::PASSPHRASE,
        Kdf::Auto if raw_key(secret.expose()).is_some() => KdfParams::Raw,
        Kdf::Auto => KdfParams::PASSPHRASE,
    };
    let kek = key_encryption_key(secret, &kdf, &salt, repo_id)?;
    let mut wrapped = keyring.to_bytes();
    let key = SealingKey::new(cipher, &kek);
    let tag = key.seal([0; 12], &aad(repo_id, cipher, slot), &mut wrapped);
    let mut file = SlotFile {
        v: VERSION,
        kind: "secret".to_owned(),
        slot: slot.to_owned(),
        created,
        kdf,
        salt: hex(&salt),
        commitment: hex(&commitment(&kek)),
        wrapped: hex(&wrapped) + &hex(&tag),
        checksum: String::new(),
    };
    file.checksum = file.checksum();
    Ok(file)
}

/// Unwraps the keyring of `file`, which was found under the name `slot` in the repository `repo_id`.
pub fn open_slot(
    file: &SlotFile,
    secret: &Secret,
    slot: &str,
    (repo_id, cipher): (RepositoryId, CipherSuite),
) -> Result<Keyring, KeyError> {
    let damaged = || KeyError::Format(FormatError::Authentication(WHAT));
    if file.slot != slot {
        return Err(damaged());
    }
    let salt: [u8; 32] = unhex(&file.salt).map_err(|_| damaged())?;
    let wrong = || KeyError::WrongKey(slot.to_owned());
    let kek = match key_encryption_key(secret, &file.kdf, &salt, repo_id) {
        Err(KeyError::NotRaw) => return Err(wrong()),
        other => other?,
    };
    // Both are public values, so how long the comparison takes tells nothing.
    if hex(&commitment(&kek)) != file.commitment {
        return Err(wrong());
    }
    let mut wrapped = Zeroizing::new(unhex_any(&file.wrapped).ok_or_else(damaged)?);
    let ring = SealingKey::new(cipher, &kek)
        .open([0; 12], &aad(repo_id, cipher, slot), &mut wrapped)
        .map_err(|_| damaged())?;
    Ok(Keyring::from_bytes(ring)?)
}

impl SlotFile {
    /// Tells keys apart: the first half of what the slot says of its key in public.
    pub fn key_id(&self) -> &str {
        self.commitment.get(..16).unwrap_or(&self.commitment)
    }

    /// The file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        to_json(self)
    }

    /// Reads a slot and checks that it is whole.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        #[derive(Deserialize)]
        struct Outline {
            v: u32,
            kind: String,
        }
        let outline: Outline = from_json(WHAT, bytes)?;
        if outline.v != VERSION {
            return Err(FormatError::Version {
                what: WHAT,
                found: outline.v,
                known: VERSION,
            });
        }
        if outline.kind != "secret" {
            return Err(FormatError::Feature {
                what: WHAT,
                feature: format!("slot kind `{}`", outline.kind.escape_debug()),
            });
        }
        let file: Self = from_json(WHAT, bytes)?;
        if file.checksum() != file.checksum {
            return Err(FormatError::Authentication(WHAT));
        }
        Ok(file)
    }

    fn checksum(&self) -> String {
        let bare = Self {
            checksum: String::new(),
            ..self.clone()
        };
        hex(&blake3::hash(&to_json(&bare)).as_bytes()[..16])
    }
}

fn key_encryption_key(
    secret: &Secret,
    kdf: &KdfParams,
    salt: &[u8; 32],
    repo_id: RepositoryId,
) -> Result<Key32, KeyError> {
    let key = match *kdf {
        KdfParams::Raw => raw_key(secret.expose()).ok_or(KeyError::NotRaw)?,
        KdfParams::Argon2id {
            memory_kib,
            passes,
            lanes,
        } => stretched(secret.expose(), salt, (memory_kib, passes, lanes))?,
    };
    Ok(hkdf_sha256(salt, &*key, &[b"ccb/v1/kek", &repo_id.0]))
}

fn stretched(
    secret: &[u8],
    salt: &[u8; 32],
    (memory_kib, passes, lanes): (u32, u32, u32),
) -> Result<Key32, KeyError> {
    if secret.is_empty() {
        return Err(KeyError::Empty);
    }
    for (what, asked, limit) in [
        ("memory", memory_kib, MEMORY_KIB_MAX),
        ("passes", passes, PASSES_MAX),
        ("lanes", lanes, LANES_MAX),
    ] {
        if asked > limit {
            return Err(KeyError::Excessive { what });
        }
    }
    let wrong = |cause: argon2::Error| FormatError::malformed(WHAT, cause.to_string());
    let params = argon2::Params::new(memory_kib, passes, lanes, Some(32)).map_err(wrong)?;
    let mut key = Zeroizing::new([0; 32]);
    argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
        .hash_password_into(secret, salt, &mut *key)
        .map_err(wrong)?;
    Ok(key)
}

fn commitment(kek: &Key32) -> [u8; 32] {
    blake3::derive_key("ccb/v1 key commitment", &**kek)
}

fn aad(repo_id: RepositoryId, cipher: CipherSuite, slot: &str) -> Vec<u8> {
    [
        b"ccb/v1/slot",
        &repo_id.0[..],
        cipher.as_str().as_bytes(),
        b"\0",
        slot.as_bytes(),
    ]
    .concat()
}

/// The 32 bytes that 64 hexadecimal digits or 44 characters of base64 stand for.
fn raw_key(secret: &[u8]) -> Option<Key32> {
    let mut key = Zeroizing::new([0; 32]);
    match secret.len() {
        64 => {
            for (byte, pair) in key.iter_mut().zip(secret.chunks_exact(2)) {
                *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
            }
        }
        44 if secret[43] == b'=' => {
            let mut bits = 0u32;
            let mut held = 0;
            let mut out = key.iter_mut();
            for &digit in &secret[..43] {
                bits = bits << 6 | sextet(digit)?;
                held += 6;
                if held >= 8 {
                    held -= 8;
                    *out.next()? = (bits >> held) as u8;
                    bits &= (1 << held) - 1;
                }
            }
            if bits != 0 {
                return None; // not what any encoder writes
            }
        }
        _ => return None,
    }
    Some(key)
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

fn sextet(digit: u8) -> Option<u32> {
    let value = match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

fn unhex_any(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let pair = |pair: &[u8]| Some(nibble(pair[0])? << 4 | nibble(pair[1])?);
    digits.chunks_exact(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use crate::repository::format::key::slot::raw_key;

    #[test]
    fn hex_and_base64_of_the_same_key_are_the_same_key() {
        let hex = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
        let base64 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        assert_eq!(raw_key(hex.as_bytes()), raw_key(base64.as_bytes()));
        assert_eq!(raw_key(hex.as_bytes()).unwrap()[31], 31);
        assert!(raw_key(&hex.as_bytes()[1..]).is_none());
        assert!(raw_key(&[b'x'; 64]).is_none() && raw_key(&[b'!'; 44]).is_none());
    }
}
