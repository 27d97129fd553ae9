//! Cipher feedback as OpenPGP uses it: a stream, with a vector of zeros, because what is encrypted first is random.

use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes::{Aes128Enc, Aes192Enc, Aes256Enc};
use std::io;

const BLOCK: usize = 16;

enum Aes {
    Of128(Aes128Enc),
    Of192(Aes192Enc),
    Of256(Aes256Enc),
}

/// Length of the key of a cipher, as OpenPGP numbers them.
pub(crate) fn key_len_bytes(cipher: u8) -> io::Result<usize> {
    match cipher {
        7 => Ok(16),
        8 => Ok(24),
        9 => Ok(32),
        other => {
            let words = format!(
                "it is encrypted with the cipher {other}, and only AES is read; `gpg --decrypt` reads it"
            );
            Err(io::Error::other(words))
        }
    }
}

/// A stream that is being encrypted or decrypted.
pub(crate) struct Cfb {
    aes: Aes,
    /// The block that the next bytes are combined with, and how many of it are used.
    feedback: [u8; BLOCK],
    used: usize,
}

impl Cfb {
    /// Starts with this key.
    pub(crate) fn new(key: &[u8]) -> io::Result<Self> {
        let aes = match key.len() {
            16 => Aes128Enc::new_from_slice(key).map(Aes::Of128),
            24 => Aes192Enc::new_from_slice(key).map(Aes::Of192),
            _ => Aes256Enc::new_from_slice(key).map(Aes::Of256),
        };
        let mut cfb = Self {
            aes: aes.map_err(|_| io::Error::other("the key has another length"))?,
            feedback: [0; BLOCK],
            used: 0,
        };
        cfb.next_block();
        Ok(cfb)
    }

    fn next_block(&mut self) {
        let block = (&mut self.feedback).into();
        match &self.aes {
            Aes::Of128(aes) => aes.encrypt_block(block),
            Aes::Of192(aes) => aes.encrypt_block(block),
            Aes::Of256(aes) => aes.encrypt_block(block),
        }
        self.used = 0;
    }

    /// Encrypts the next bytes in place.
    pub(crate) fn encrypt(&mut self, bytes: &mut [u8]) {
        self.combine(bytes, |byte, feedback| {
            *byte ^= *feedback;
            *feedback = *byte;
        });
    }

    /// Decrypts the next bytes in place.
    pub(crate) fn decrypt(&mut self, bytes: &mut [u8]) {
        self.combine(bytes, |byte, feedback| {
            let encrypted = *byte;
            *byte ^= *feedback;
            *feedback = encrypted;
        });
    }

    fn combine(&mut self, bytes: &mut [u8], one: impl Fn(&mut u8, &mut u8)) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.used == BLOCK {
                self.next_block();
            }
            let (now, later) = rest.split_at_mut(rest.len().min(BLOCK - self.used));
            let feedback = &mut self.feedback[self.used..];
            now.iter_mut().zip(feedback).for_each(|(b, f)| one(b, f));
            self.used += now.len();
            rest = later;
        }
    }
}
