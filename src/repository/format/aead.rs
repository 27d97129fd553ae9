//! One authenticated cipher in place: AES-256-GCM or ChaCha20-Poly1305 by ring, or, for repositories
//! with `encrypt none`, the bytes as they are under a tag that shows damage and mix-ups. Callers see to
//! it that a nonce is never used twice under one key: every key here comes from a fresh random salt.

use crate::repository::format::config::CipherSuite;
use ring::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, Tag, UnboundKey};

/// Length of every tag in bytes.
pub(crate) const TAG_LEN: usize = 16;

/// A key for one object or one pack.
pub(crate) enum SealingKey {
    Encrypting(Box<LessSafeKey>),
    /// `cipher none`: a keyed BLAKE3 over nonce, additional data and content, cut to 16 bytes.
    Tagging([u8; 32]),
}

/// The bytes do not belong to this tag, key, nonce and additional data.
#[derive(Debug)]
pub(crate) struct Refused;

impl SealingKey {
    pub(crate) fn new(suite: CipherSuite, key: &[u8; 32]) -> Self {
        let algorithm = match suite {
            CipherSuite::Aes256Gcm => &AES_256_GCM,
            CipherSuite::ChaCha20Poly1305 => &CHACHA20_POLY1305,
            CipherSuite::None => return Self::Tagging(*key),
        };
        let key = UnboundKey::new(algorithm, key).expect("both ciphers take keys of 32 bytes");
        Self::Encrypting(Box::new(LessSafeKey::new(key)))
    }

    /// Encrypts `content` where it is and returns its tag.
    pub(crate) fn seal(&self, nonce: [u8; 12], aad: &[u8], content: &mut [u8]) -> [u8; TAG_LEN] {
        match self {
            Self::Tagging(key) => plain_tag(key, &nonce, aad, content),
            Self::Encrypting(key) => {
                let nonce = Nonce::assume_unique_for_key(nonce);
                let tag = key
                    .seal_in_place_separate_tag(nonce, Aad::from(aad), content)
                    .expect("content is below the 64 GiB that one nonce can carry");
                let mut out = [0; TAG_LEN];
                out.copy_from_slice(tag.as_ref());
                out
            }
        }
    }

    /// Decrypts `sealed`, ciphertext and tag, where it is; returns the content.
    pub(crate) fn open<'a>(
        &self,
        nonce: [u8; 12],
        aad: &[u8],
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], Refused> {
        let len = sealed.len().checked_sub(TAG_LEN).ok_or(Refused)?;
        let (content, end) = sealed.split_at_mut(len);
        let mut tag = [0; TAG_LEN];
        tag.copy_from_slice(end);
        match self {
            Self::Tagging(key) => {
                let expected = plain_tag(key, &nonce, aad, content);
                if expected != tag {
                    return Err(Refused);
                }
            }
            Self::Encrypting(key) => {
                let nonce = Nonce::assume_unique_for_key(nonce);
                let (aad, tag) = (Aad::from(aad), Tag::from(tag));
                key.open_in_place_separate_tag(nonce, aad, tag, content, 0..)
                    .map_err(|_| Refused)?;
            }
        }
        Ok(content)
    }
}

fn plain_tag(key: &[u8; 32], nonce: &[u8; 12], aad: &[u8], content: &[u8]) -> [u8; TAG_LEN] {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(nonce);
    hasher.update(&(aad.len() as u64).to_le_bytes());
    hasher.update(aad);
    hasher.update(content);
    let mut tag = [0; TAG_LEN];
    tag.copy_from_slice(&hasher.finalize().as_bytes()[..TAG_LEN]);
    tag
}
