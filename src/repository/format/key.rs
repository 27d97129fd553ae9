//! Keys: the secret that a person holds opens a slot, the slot holds the keyring, and every other key is
//! derived from that. Nothing here can be printed, compared by accident or serialised.

use crate::model::ids::{RepositoryId, hex};
use crate::repository::format::FormatError;
use crate::repository::format::aead::SealingKey;
use crate::repository::format::blob::BlobKind;
use crate::repository::format::config::CipherSuite;
use ring::hkdf;
use std::{collections::BTreeMap, fmt};
use zeroize::Zeroizing;

pub use crate::model::secret::Secret;
pub use crate::repository::format::key::slot::{
    KdfParams, KeyError, SlotFile, make_slot, open_slot,
};

mod slot;

/// One 32-byte key.
pub(crate) type Key32 = Zeroizing<[u8; 32]>;

/// The keys of one `encryption`, shared by all repositories that name it: `root`, which names blobs and
/// places cuts and never changes, and data keys by epoch, the newest of which seals what is written.
#[derive(Clone)]
pub struct Keyring {
    root: Key32,
    epochs: BTreeMap<u16, Key32>,
    id_data: Key32,
    id_tree: Key32,
}

/// The data key of one epoch.
#[derive(Clone, PartialEq)]
pub struct EpochKey {
    number: u16,
    key: Key32,
}

impl EpochKey {
    /// A new one. `fresh` is 32 random bytes.
    pub fn new(number: u16, fresh: [u8; 32]) -> Self {
        let key = Zeroizing::new(fresh);
        Self { number, key }
    }

    /// Its epoch.
    pub fn number(&self) -> u16 {
        self.number
    }
}

/// Tells keyrings apart without saying anything about their keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyringId(pub [u8; 16]);

impl fmt::Display for KeyringId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex(&self.0))
    }
}

/// The key that cut points depend on.
pub struct ChunkerKey(pub(crate) Key32);

/// What a key that belongs to an epoch is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Data,
    Meta,
    Index,
    Manifest,
    LeaseMac,
}

impl Purpose {
    fn info(self) -> &'static str {
        match self {
            Self::Data => "ccb/v1/data",
            Self::Meta => "ccb/v1/meta",
            Self::Index => "ccb/v1/index",
            Self::Manifest => "ccb/v1/manifest",
            Self::LeaseMac => "ccb/v1/lease-mac",
        }
    }
}

const KEYRING: &str = "keyring";

impl Keyring {
    /// A new keyring with one epoch. Both arguments are 32 random bytes.
    pub fn new(root: [u8; 32], first_epoch: [u8; 32]) -> Self {
        let first_epoch = Zeroizing::new(first_epoch);
        Self::assemble(Zeroizing::new(root), BTreeMap::from([(1, first_epoch)]))
    }

    /// The keyring of every repository with `encrypt none`. Its keys are public: they are here so that
    /// both sorts of repository have one layout.
    pub fn public() -> Self {
        Self::new(
            blake3::derive_key("ccb/v1 public root", &[]),
            blake3::derive_key("ccb/v1 public epoch", &[]),
        )
    }

    /// This keyring with `key` as well. An epoch that it has is never replaced: what is sealed under it
    /// could not be read any more.
    pub fn with_epoch(&self, key: &EpochKey) -> Result<Self, FormatError> {
        let mut epochs = self.epochs.clone();
        match epochs.insert(key.number, key.key.clone()) {
            Some(other) if other != key.key => Err(FormatError::malformed(
                KEYRING,
                "it holds another key of that epoch",
            )),
            _ => Ok(Self::assemble(self.root.clone(), epochs)),
        }
    }

    /// This keyring with all keys of `other` as well.
    pub(crate) fn with_all_of(&self, other: &Self) -> Result<Self, FormatError> {
        let mut keys = other.epochs.iter().map(|(number, key)| EpochKey {
            number: *number,
            key: key.clone(),
        });
        keys.try_fold(self.clone(), |ring, key| ring.with_epoch(&key))
    }

    /// Whether it holds this very key.
    pub fn holds(&self, key: &EpochKey) -> bool {
        self.epochs.get(&key.number) == Some(&key.key)
    }

    /// The key that seals what is written now.
    pub fn newest(&self) -> Option<EpochKey> {
        let (number, key) = self.epochs.last_key_value()?;
        let (number, key) = (*number, key.clone());
        Some(EpochKey { number, key })
    }

    /// The lowest epoch, which all keyrings that grew out of one another have.
    pub(crate) fn first_epoch(&self) -> u16 {
        self.epochs.keys().next().copied().unwrap_or_default()
    }

    /// The epoch that seals what is written now.
    pub fn epoch(&self) -> u16 {
        self.epochs.keys().next_back().copied().unwrap_or_default()
    }

    /// Tells this keyring from others; equal for all repositories that share it, in every epoch.
    pub fn id(&self) -> KeyringId {
        let mut id = [0; 16];
        id.copy_from_slice(&self.root_subkey("ccb/v1/keyring-id")[..16]);
        KeyringId(id)
    }

    /// The key that cut points depend on.
    pub fn chunker_key(&self) -> ChunkerKey {
        ChunkerKey(self.root_subkey("ccb/v1/chunker"))
    }

    pub(crate) fn id_key(&self, kind: BlobKind) -> &[u8; 32] {
        match kind {
            BlobKind::Data => &self.id_data,
            BlobKind::Tree => &self.id_tree,
        }
    }

    fn assemble(root: Key32, epochs: BTreeMap<u16, Key32>) -> Self {
        let id_data = hkdf_sha256(&[], &*root, &[b"ccb/v1/id-data"]);
        let id_tree = hkdf_sha256(&[], &*root, &[b"ccb/v1/id-tree"]);
        Self {
            root,
            epochs,
            id_data,
            id_tree,
        }
    }

    fn root_subkey(&self, info: &str) -> Key32 {
        hkdf_sha256(&[], &*self.root, &[info.as_bytes()])
    }

    /// Version, number of epochs, root, then number and key of each epoch.
    fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let len = 3 + 32 + self.epochs.len() * 34;
        // Reserved at once: a growing vector would leave copies of keys behind.
        let mut out = Zeroizing::new(Vec::with_capacity(len));
        out.push(1);
        out.extend_from_slice(&(self.epochs.len() as u16).to_le_bytes());
        out.extend_from_slice(&*self.root);
        for (epoch, key) in &self.epochs {
            out.extend_from_slice(&epoch.to_le_bytes());
            out.extend_from_slice(&**key);
        }
        out
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = crate::repository::format::wire::Reader::new(bytes, KEYRING);
        let version = reader.u8()?;
        if version != 1 {
            let found = u32::from(version);
            return Err(FormatError::Version {
                what: KEYRING,
                found,
                known: 1,
            });
        }
        let count = reader.u16()?;
        let root = Zeroizing::new(reader.array()?);
        let mut epochs = BTreeMap::new();
        for _ in 0..count {
            let epoch = reader.u16()?;
            let newest = epochs.keys().next_back().copied().unwrap_or(0);
            if epoch <= newest {
                return Err(reader.wrong("its epochs are not in order"));
            }
            epochs.insert(epoch, Zeroizing::new(reader.array()?));
        }
        reader.end()?;
        if epochs.is_empty() {
            return Err(reader.wrong("it has no epoch"));
        }
        Ok(Self::assemble(root, epochs))
    }
}

/// All that sealing and opening in one repository takes.
pub struct Keys {
    keyring: Keyring,
    repo_id: RepositoryId,
    cipher: CipherSuite,
}

impl Keys {
    /// The keys of the repository `repo_id`.
    pub fn new(keyring: Keyring, repo_id: RepositoryId, cipher: CipherSuite) -> Self {
        Self {
            keyring,
            repo_id,
            cipher,
        }
    }

    /// The keyring.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// The repository.
    pub fn repo_id(&self) -> RepositoryId {
        self.repo_id
    }

    /// How it seals.
    pub fn cipher(&self) -> CipherSuite {
        self.cipher
    }

    /// The key for one object or pack, from its random salt.
    pub(crate) fn sealing_key(
        &self,
        what: &'static str,
        (purpose, epoch): (Purpose, u16),
        salt: &[u8; 32],
        info: &[&[u8]],
    ) -> Result<SealingKey, FormatError> {
        let subkey = self.subkey(what, purpose, epoch)?;
        let key = hkdf_sha256(salt, &*subkey, info);
        Ok(SealingKey::new(self.cipher, &key))
    }

    pub(crate) fn subkey(
        &self,
        what: &'static str,
        purpose: Purpose,
        epoch: u16,
    ) -> Result<Key32, FormatError> {
        let missing = FormatError::NoKey { what, epoch };
        let key = self.keyring.epochs.get(&epoch).ok_or(missing)?;
        Ok(hkdf_sha256(&[], &**key, &[purpose.info().as_bytes()]))
    }
}

struct Len32;
impl hkdf::KeyType for Len32 {
    fn len(&self) -> usize {
        32
    }
}

/// HKDF-SHA256 (RFC 5869) to 32 bytes; an empty salt is 32 zero bytes, as there.
pub(crate) fn hkdf_sha256(salt: &[u8], key: &[u8], info: &[&[u8]]) -> Key32 {
    let mut out = Zeroizing::new([0; 32]);
    hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
        .extract(key)
        .expand(info, Len32)
        .and_then(|okm| okm.fill(&mut *out))
        .expect("32 bytes are within HKDF's limit");
    out
}
