//! Encrypts as `gpg --symmetric --cipher-algo AES256` does, so that every `gpg --decrypt` reads it.

use crate::export::gpg::cfb::Cfb;
use crate::export::gpg::packet::{PART_LEN_BYTES, PART_MARK, length};
use crate::export::gpg::s2k::S2k;
use crate::export::gpg::{
    AES_256, CODE_HEADER, PREFIX_LEN_BYTES, TAG_ENCRYPTED, TAG_LITERAL, TAG_SESSION_KEY,
};
use crate::model::secret::Secret;
use sha1::{Digest, Sha1};
use std::io::{self, Write};

/// What must be another for everything that is encrypted under the same passphrase.
#[derive(Debug, Clone, Copy)]
pub struct Fresh {
    /// Goes into the key.
    pub salt: [u8; 8],
    /// Goes before what is encrypted.
    pub prefix: [u8; 16],
}

/// Encrypts what is written to it. Without [`Self::finish`], no program takes what it wrote for whole.
pub struct Encrypt<W> {
    to: W,
    cfb: Cfb,
    code: Sha1,
    /// Of the literal packet's body, not yet encrypted.
    plain: Vec<u8>,
    /// Of the encrypted packet's body, not yet written.
    sealed: Vec<u8>,
}

impl<W: Write> Encrypt<W> {
    /// Writes the head.
    pub fn new(mut to: W, passphrase: &Secret, fresh: Fresh) -> io::Result<Self> {
        let s2k = S2k::new(fresh.salt);
        let key = s2k.key(passphrase, 32)?;
        let session_key = [&[4, AES_256][..], &s2k.encode()].concat();
        to.write_all(&[0xc0 | TAG_SESSION_KEY])?;
        to.write_all(&length(session_key.len()))?;
        to.write_all(&session_key)?;
        to.write_all(&[0xc0 | TAG_ENCRYPTED])?;
        let mut encrypt = Self {
            to,
            cfb: Cfb::new(&key)?,
            code: Sha1::new(),
            // Binary, no name, no time.
            plain: vec![b'b', 0, 0, 0, 0, 0],
            // The version.
            sealed: vec![1],
        };
        let mut prefix = [0; PREFIX_LEN_BYTES];
        prefix[..16].copy_from_slice(&fresh.prefix);
        prefix.copy_within(14..16, 16);
        encrypt.seal(&prefix);
        encrypt.seal(&[0xc0 | TAG_LITERAL]);
        Ok(encrypt)
    }

    /// Writes the rest and the code.
    pub fn finish(mut self) -> io::Result<W> {
        let plain = std::mem::take(&mut self.plain);
        self.seal(&length(plain.len()));
        self.seal(&plain);
        self.code.update(CODE_HEADER);
        let code: [u8; 20] = self.code.clone().finalize().into();
        let start = self.sealed.len();
        self.sealed.extend(CODE_HEADER);
        self.sealed.extend(code);
        self.cfb.encrypt(&mut self.sealed[start..]);
        self.write_parts()?;
        self.to.write_all(&length(self.sealed.len()))?;
        self.to.write_all(&self.sealed)?;
        Ok(self.to)
    }

    fn seal(&mut self, bytes: &[u8]) {
        self.code.update(bytes);
        let start = self.sealed.len();
        self.sealed.extend_from_slice(bytes);
        self.cfb.encrypt(&mut self.sealed[start..]);
    }

    fn write_parts(&mut self) -> io::Result<()> {
        while self.sealed.len() >= PART_LEN_BYTES {
            self.to.write_all(&[PART_MARK])?;
            self.to.write_all(&self.sealed[..PART_LEN_BYTES])?;
            self.sealed.drain(..PART_LEN_BYTES);
        }
        Ok(())
    }
}

impl<W: Write> Write for Encrypt<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = bytes.len().min(PART_LEN_BYTES - self.plain.len());
        self.plain.extend_from_slice(&bytes[..len]);
        if self.plain.len() == PART_LEN_BYTES {
            let mut plain = std::mem::take(&mut self.plain);
            self.seal(&[PART_MARK]);
            self.seal(&plain);
            plain.clear();
            self.plain = plain;
            self.write_parts()?;
        }
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
