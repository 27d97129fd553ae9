//! What `openssl enc -aes-256-cbc` writes and reads: `Salted__`, eight bytes of salt, and blocks chained by CBC
//! with the padding of PKCS #7. The format has no authentication: a wrong password shows by its padding only,
//! and not always. Holds one chunk in memory, whatever passes through.

use crate::model::secret::Secret;
use crate::repository::fill;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{Array, BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use ring::{digest, pbkdf2};
use std::io::{self, Read, Write};
use std::num::NonZeroU32;
use zeroize::Zeroizing;

/// What such a file begins with.
pub const MAGIC: &[u8; 8] = b"Salted__";
/// Salt, after the magic.
pub const SALT_LEN_BYTES: usize = 8;
const BLOCK: usize = 16;
/// Encrypted at a time; whole blocks.
const CHUNK: usize = 1 << 18;

/// How a passphrase becomes a key, and the first block's vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Derivation {
    /// One round of EVP_BytesToKey with SHA-256, the default of `openssl enc`.
    Sha256,
    /// One round of EVP_BytesToKey with MD5, the default before OpenSSL 1.1.0. Only read.
    Md5,
    /// `-pbkdf2 -iter N`, with HMAC-SHA-256.
    Pbkdf2(NonZeroU32),
}

impl Derivation {
    /// The one that a plan file names by its rounds of PBKDF2, or by none.
    pub fn of(rounds: Option<u32>) -> Self {
        match rounds.and_then(NonZeroU32::new) {
            Some(rounds) => Self::Pbkdf2(rounds),
            None => Self::Sha256,
        }
    }

    fn key(self, passphrase: &Secret, salt: &[u8; SALT_LEN_BYTES]) -> Zeroizing<[u8; 48]> {
        let mut out = Zeroizing::new([0; 48]);
        match self {
            Self::Pbkdf2(rounds) => pbkdf2::derive(
                pbkdf2::PBKDF2_HMAC_SHA256,
                rounds,
                salt,
                passphrase.expose(),
                &mut out[..],
            ),
            Self::Sha256 => bytes_to_key(&mut out, passphrase, salt, |text| {
                digest::digest(&digest::SHA256, text).as_ref().to_vec()
            }),
            Self::Md5 => bytes_to_key(&mut out, passphrase, salt, |text| {
                use md5::Digest;
                md5::Md5::digest(text).to_vec()
            }),
        }
        out
    }
}

/// EVP_BytesToKey with a count of one: each digest is of the one before, the passphrase and the salt.
fn bytes_to_key(
    out: &mut [u8; 48],
    passphrase: &Secret,
    salt: &[u8; SALT_LEN_BYTES],
    hash: impl Fn(&[u8]) -> Vec<u8>,
) {
    let mut before = Zeroizing::new(Vec::new());
    let mut filled = 0;
    while filled < out.len() {
        let text = Zeroizing::new([&before[..], passphrase.expose(), salt].concat());
        before = Zeroizing::new(hash(&text));
        let len = before.len().min(out.len() - filled);
        out[filled..filled + len].copy_from_slice(&before[..len]);
        filled += len;
    }
}

/// Encrypts what is written to it. Without [`Self::finish`], what it wrote can not be decrypted to its end.
pub struct Encrypt<W> {
    to: W,
    cipher: cbc::Encryptor<aes::Aes256>,
    waiting: Vec<u8>,
}

impl<W: Write> Encrypt<W> {
    /// `salt` must be another for everything that is encrypted under the same passphrase.
    pub fn new(
        mut to: W,
        passphrase: &Secret,
        how: Derivation,
        salt: [u8; SALT_LEN_BYTES],
    ) -> io::Result<Self> {
        let key = how.key(passphrase, &salt);
        to.write_all(MAGIC)?;
        to.write_all(&salt)?;
        let cipher = cbc::Encryptor::new_from_slices(&key[..32], &key[32..]);
        Ok(Self {
            to,
            cipher: cipher.map_err(|_| io::Error::other("the key has another length"))?,
            waiting: Vec::with_capacity(CHUNK + BLOCK),
        })
    }

    /// Writes the last block.
    pub fn finish(mut self) -> io::Result<W> {
        let len = self.waiting.len();
        self.waiting.resize(len + BLOCK, 0);
        let last = self.cipher.encrypt_padded::<Pkcs7>(&mut self.waiting, len);
        let last = last.map_err(|_| io::Error::other("the last block has no room"))?;
        self.to.write_all(last)?;
        Ok(self.to)
    }
}

impl<W: Write> Write for Encrypt<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = bytes.len().min(CHUNK - self.waiting.len());
        self.waiting.extend_from_slice(&bytes[..len]);
        if self.waiting.len() == CHUNK {
            self.cipher.encrypt_blocks(blocks(&mut self.waiting));
            self.to.write_all(&self.waiting)?;
            self.waiting.clear();
        }
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Decrypts what it is read from.
pub struct Decrypt<R> {
    from: R,
    cipher: Option<cbc::Decryptor<aes::Aes256>>,
    /// What was decrypted, and from where on it was not given out.
    ready: Vec<u8>,
    given: usize,
    /// Read, and not decrypted: the last one of all is told by what follows.
    next: Vec<u8>,
}

impl<R: Read> Decrypt<R> {
    /// Reads the header and the first chunk.
    pub fn new(mut from: R, passphrase: &Secret, how: Derivation) -> io::Result<Self> {
        let mut header = [0; MAGIC.len() + SALT_LEN_BYTES];
        let len = fill(&mut from, &mut header)?;
        let (magic, salt) = header.split_at(MAGIC.len());
        let Ok(salt) = salt.try_into() else {
            return Err(io::Error::other("the salt has another length"));
        };
        if len < header.len() || magic != MAGIC {
            return Err(io::Error::other("it is nothing that `openssl enc` wrote"));
        }
        let key = how.key(passphrase, salt);
        let cipher = cbc::Decryptor::new_from_slices(&key[..32], &key[32..]);
        let cipher = cipher.map_err(|_| io::Error::other("the key has another length"))?;
        let next = chunk(&mut from)?;
        Ok(Self {
            from,
            cipher: Some(cipher),
            ready: Vec::new(),
            given: 0,
            next,
        })
    }

    fn decrypt_next(&mut self) -> io::Result<()> {
        let following = chunk(&mut self.from)?;
        let mut now = std::mem::replace(&mut self.next, following);
        if now.is_empty() || !now.len().is_multiple_of(BLOCK) {
            return Err(io::Error::other("the file ends in the middle of a block"));
        }
        let Some(mut cipher) = self.cipher.take() else {
            return Ok(());
        };
        if self.next.is_empty() {
            let len = cipher.decrypt_padded::<Pkcs7>(&mut now).map(<[u8]>::len);
            let len = len.map_err(|_| io::Error::other(BAD_DECRYPT))?;
            now.truncate(len);
        } else {
            cipher.decrypt_blocks(blocks(&mut now));
            self.cipher = Some(cipher);
        }
        (self.ready, self.given) = (now, 0);
        Ok(())
    }
}

/// What `openssl enc -d` says of it too.
pub const BAD_DECRYPT: &str =
    "bad decrypt: the password or its derivation is another one, or the file is damaged";

impl<R: Read> Read for Decrypt<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.given == self.ready.len() && self.cipher.is_some() {
            self.decrypt_next()?;
        }
        let len = to.len().min(self.ready.len() - self.given);
        to[..len].copy_from_slice(&self.ready[self.given..self.given + len]);
        self.given += len;
        Ok(len)
    }
}

fn chunk(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut chunk = vec![0; CHUNK];
    let len = fill(from, &mut chunk)?;
    chunk.truncate(len);
    Ok(chunk)
}

fn blocks<N: cbc::cipher::array::ArraySize>(bytes: &mut [u8]) -> &mut [Array<u8, N>] {
    Array::slice_as_chunks_mut(bytes).0
}
