//! A store in ccb's format: what can be done with a repository. Creating and opening it, listing what it
//! holds, writing a backup in a session, reading one. Nothing here decides whether something is due or
//! may go; nothing overwrites an object.

mod annotate;
mod cache;
mod check;
mod condemned;
mod copy;
mod error;
mod facts;
mod footers;
mod forget;
pub mod format;
mod heal;
mod holdings;
mod index;
mod keys;
mod layout;
mod lease;
mod lock;
mod notes;
mod open;
mod pipeline;
mod prune;
mod reach;
mod reader;
mod rotate;
mod session;
mod sessions;
mod slots;
mod transfer;
mod wal;
mod writer;
mod writing;

pub use check::{CheckLevel, CheckReport, Damaged, HitBackup};
pub use copy::copy;
pub use error::{OpenError, RepositoryError};
pub use facts::Facts;
pub use heal::Healed;
pub use holdings::{DamagedObject, Holdings, ListedBackup, ListedExport, Trashed};
pub use keys::KeySlot;
pub use lease::ReadLease;
pub use lock::{Attempt, HeldLock, IsGone, RunLock};
pub use open::{Creation, NewSlot};
pub use prune::{Packs, PruneReport, PruneRequest, Repack};
pub use reader::compare::{Comparison, UnreadDirectory};
pub use reader::content::{ContentReader, ContentsReader};
pub use reader::parent::ParentTree;
pub use reader::versions::{PathVersion, Versions, Wanted};
pub use reader::{BlobSink, Reader};
pub use rotate::{Rotated, rotate};
pub use session::{Commit, Draft, Session};
pub use wal::{ClusterRecord, NamedBy, PackedWal, WalObject, WalPut, WalReader};
pub use writer::effort::Effort;
pub(crate) use writer::fill;
pub use writer::{Progress, TreeStats};

use crate::model::ids::RepositoryId;
use crate::repository::format::config::{CipherSuite, Operation, RepositoryConfig};
use crate::repository::format::key::{KeyringId, Keys};
use crate::store::Store;
use jiff::Timestamp;
use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

/// Fills a slice with random bytes, from a cryptographic source.
pub type Random = Arc<dyn Fn(&mut [u8]) + Send + Sync>;
/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;
/// Tells how long this machine has been on, sleep included.
pub type Uptime = Arc<dyn Fn() -> Duration + Send + Sync>;

/// What a repository needs of the world besides its store. The program passes the real things in, a
/// test fixed ones.
#[derive(Clone)]
pub struct Surroundings {
    /// Where salts and ids come from.
    pub random: Random,
    /// This machine's clock.
    pub now: Clock,
    /// How long it has been on: what a session that slept has missed is told by this.
    pub uptime: Uptime,
    /// This machine's name.
    pub host: String,
    /// Where things that can be fetched again are kept; `None`: nowhere.
    pub cache_dir: Option<PathBuf>,
}

/// An open repository. Clones share it.
#[derive(Clone)]
pub struct Repository(Arc<Inner>);

struct Inner {
    store: Store,
    config: RepositoryConfig,
    keys: Arc<Keys>,
    /// The key slot that opened it.
    slot: Option<String>,
    surroundings: Surroundings,
}

impl Repository {
    fn assemble(
        store: Store,
        config: RepositoryConfig,
        (keys, slot): (Keys, Option<String>),
        surroundings: &Surroundings,
    ) -> Self {
        Self(Arc::new(Inner {
            store,
            config,
            keys: Arc::new(keys),
            slot,
            surroundings: surroundings.clone(),
        }))
    }

    /// Its identity.
    pub fn id(&self) -> RepositoryId {
        self.0.config.repo_id
    }

    /// Its keyring's identity: repositories with the same one have equal blob ids.
    pub fn keyring_id(&self) -> KeyringId {
        self.0.keys.keyring().id()
    }

    /// The epoch of the data key that seals what is written.
    pub fn key_epoch(&self) -> u16 {
        self.0.keys.keyring().epoch()
    }

    /// The key slot that opened it; nothing where there are no keys.
    pub fn opened_with(&self) -> Option<&str> {
        self.0.slot.as_deref()
    }

    /// Whether it can not be read without a key.
    pub fn is_encrypted(&self) -> bool {
        self.0.config.cipher != CipherSuite::None
    }

    /// What it says of itself.
    pub fn config(&self) -> &RepositoryConfig {
        &self.0.config
    }

    /// The store that it is in.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    pub(crate) fn keys(&self) -> &Arc<Keys> {
        &self.0.keys
    }

    pub(crate) fn surroundings(&self) -> &Surroundings {
        &self.0.surroundings
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.0.surroundings.now)()
    }

    pub(crate) fn random<const N: usize>(&self) -> [u8; N] {
        self.0.surroundings.random()
    }

    /// Refuses what the repository's features forbid this version of ccb.
    pub(crate) fn permits(&self, operation: Operation) -> Result<(), RepositoryError> {
        let permitted = self.0.config.permits(operation);
        permitted.map_err(RepositoryError::Refused)
    }
}

impl Surroundings {
    pub(crate) fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.random)(&mut bytes);
        bytes
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Repository({} at {})",
            self.id(),
            self.store().location()
        )
    }
}
