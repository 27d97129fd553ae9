//! A secret in memory: a passphrase, a key, a password. It is wiped when dropped and can not be printed,
//! compared or serialised; it reaches a child process by its environment or standard input, never by argv.

use zeroize::{Zeroize, ZeroizeOnDrop};

/// What a person or a secret store holds.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes the secret over.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Its bytes, for whoever must hand it on.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}
