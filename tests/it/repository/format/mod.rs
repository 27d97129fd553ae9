//! Tests of `repository::format`: what is written reads back, and nothing else is taken for it.

mod chunk;
mod index;
mod key;
mod manifest;
mod pack;
mod seal;
mod tree;
mod vectors;

use ccb::model::ids::RepositoryId;
use ccb::repository::format::config::CipherSuite;
use ccb::repository::format::key::{Keyring, Keys};

const REPO: RepositoryId = RepositoryId(*b"repository-test!");
const SUITES: [CipherSuite; 3] = [
    CipherSuite::Aes256Gcm,
    CipherSuite::ChaCha20Poly1305,
    CipherSuite::None,
];

fn keys(cipher: CipherSuite) -> Keys {
    keys_of(REPO, cipher)
}

fn keys_of(repo: RepositoryId, cipher: CipherSuite) -> Keys {
    let keyring = match cipher {
        CipherSuite::None => Keyring::public(),
        _ => Keyring::new([1; 32], [2; 32]),
    };
    Keys::new(keyring, repo, cipher)
}

/// Bytes that look random and are the same everywhere.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    let mut stream = blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof();
    stream.fill(&mut out);
    out
}
