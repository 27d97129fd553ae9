//! What can go wrong in a repository. A caller learns whether the store, the bytes, the protocol or its
//! own side failed; a store's own error is passed through as it is.

use crate::model::ids::{BackupId, BlobId, Digest};
use crate::repository::format::FormatError;
use crate::store::StoreError;
use std::{io, sync::Arc};

/// Why something in a repository did not work.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RepositoryError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An object is damaged, or not what its name says.
    #[error("read `{key}`")]
    Object {
        /// Its key.
        key: String,
        /// What is wrong with it.
        #[source]
        cause: FormatError,
    },
    /// The repository uses something that this version of ccb does not know.
    #[error("use this repository")]
    Refused(#[source] FormatError),
    /// No confirmed pack holds a blob that is needed.
    #[error("blob {id} is in no pack of this repository; `ccb check` shows what else is missing")]
    BlobMissing {
        /// The blob.
        id: BlobId,
    },
    /// A blob is there and can not be read.
    #[error("read blob {id} from pack {pack}")]
    BlobDamaged {
        /// The blob.
        id: BlobId,
        /// The pack that should hold it.
        pack: Digest,
        /// What is wrong.
        #[source]
        cause: FormatError,
    },
    /// Something can not be written in this format.
    #[error("encode `{what}`")]
    Encode {
        /// Path or name.
        what: String,
        /// Why.
        #[source]
        cause: FormatError,
    },
    /// A prune took this session for dead and ended it.
    #[error(
        "this backup was not recorded: its session did not show a sign of life for so long that a prune ended it; run again, what was uploaded is used"
    )]
    Revoked,
    /// The parent of this session is not pinned, so that nothing may be taken over from it.
    #[error("take over unchanged files: the parent backup is not there any more; run again")]
    NotPinned,
    /// The stream that is being stored ended with an error.
    #[error("read the stream `{name}`")]
    Stream {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        cause: Arc<io::Error>,
    },
    /// Whoever took the bytes that were read could not.
    #[error("pass on what was read")]
    Sink(#[source] Arc<io::Error>),
    /// There was nothing to back up, not even an empty directory.
    #[error("record a backup: nothing was read")]
    NothingThere,
    /// A backup that something was asked of is not there any more.
    #[error("backup {id} is not there any more: it was forgotten, or the trash was emptied")]
    Gone {
        /// The backup.
        id: BackupId,
    },
    /// A copy between repositories that name the same content differently.
    #[error(
        "the two repositories have different keyrings, so that equal content has different names in them; create destinations that copy from one another with the same `encryption`"
    )]
    OtherKeyring,
    /// A prune found that it can not tell what is needed, and removed nothing.
    #[error(
        "nothing was removed, because not all that backups need can be read: {what}; `ccb check` shows which backups are hit"
    )]
    PruneStopped {
        /// The first thing that can not be read.
        what: String,
        /// Why, where something was read.
        #[source]
        cause: Option<Box<RepositoryError>>,
    },
    /// A prune found a session that pinned a backup which is not there any more, nor all that it stood on: it came
    /// too late with its pin, or knows more than the store shows now. Nothing is removed until its backup is made or its
    /// lease is gone.
    #[error("sessions on {} stand on a backup that is gone", hosts.join(", "))]
    PinGone {
        /// Where they run.
        hosts: Vec<String>,
    },
    /// A key slot that can not be made or named so.
    #[error("change the keys of the repository")]
    Key(#[source] crate::repository::format::key::KeyError),
    /// A key for a repository that has none.
    #[error("this repository is not encrypted, so it has no keys")]
    NotEncrypted,
    /// Without this slot nobody could open the repository ever again.
    #[error(
        "`{name}` is the last key slot that is whole: add another one first, with `ccb key add`"
    )]
    LastKey {
        /// The slot.
        name: String,
    },
    /// A name of a slot that is taken.
    #[error("there is a key slot `{name}` already; choose another name")]
    KeyExists {
        /// The slot.
        name: String,
    },
    /// Whether anybody could open the repository without this slot is not known.
    #[error(
        "the key at hand opens no slot but `{name}`, and it is not certain that anybody has the key of another one; put the key that is to stay into the plan file first"
    )]
    OnlyOwnKey {
        /// The slot.
        name: String,
    },
    /// There is no such slot.
    #[error("there is no key slot `{name}`; there are {}", slots.join(", "))]
    NoSuchKey {
        /// The name that was asked for.
        name: String,
        /// Those that there are.
        slots: Vec<String>,
    },
    /// A slot can only be wrapped anew with its own key.
    #[error(
        "rotate the keys: nobody gave the key of {}; name it with --key, or remove the slot with `ccb key remove`",
        slots.join(", ")
    )]
    KeyNeeded {
        /// The slots whose keys are not at hand.
        slots: Vec<String>,
    },
    /// Somebody else changed the keys at the same time.
    #[error("the keys were rotated by somebody else meanwhile; run again")]
    KeysChanged,
    /// Others took and gave back the lock so often meanwhile that it was never free.
    #[error("take the lock: others are always faster; run again")]
    LockContended,
    /// Another file is archived under the name of one that is handed over.
    #[error(
        "`{key}` is there already with other bytes; nothing was replaced. Two servers archive under one name, or the log was written twice: give each its own component"
    )]
    OtherWal {
        /// Where the other one is.
        key: String,
    },
    /// WAL of a cluster that is not the component's.
    #[error(
        "component.{component} archives the database cluster {known}, and this is WAL of {found}: another server archives under this component. If the server was replaced, make a base backup of it first: ccb backup FILE {component} --method base"
    )]
    OtherCluster {
        /// Whose WAL it was to be.
        component: crate::model::ids::ComponentName,
        /// The cluster that is archived.
        known: crate::model::wal::SystemId,
        /// The cluster that wrote it.
        found: crate::model::wal::SystemId,
    },
    /// The work was given up before its end.
    #[error("interrupted")]
    Interrupted,
}

impl RepositoryError {
    /// Whether something that is stored is damaged or missing.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Object { .. } | Self::BlobMissing { .. } | Self::BlobDamaged { .. } => true,
            Self::PruneStopped { cause, .. } => {
                cause.as_ref().is_some_and(|cause| cause.is_damage())
            }
            _ => false,
        }
    }

    /// Whether a prune was stopped by something that is not there, and not by what could not be read now.
    pub(crate) fn is_missing(&self) -> bool {
        match self {
            Self::PruneStopped { cause, .. } => {
                cause.as_ref().is_some_and(|cause| cause.is_missing())
            }
            Self::BlobMissing { .. } => true,
            _ => false,
        }
    }

    pub(crate) fn object(key: impl ToString, cause: FormatError) -> Self {
        let key = key.to_string();
        Self::Object { key, cause }
    }
}

impl OpenError {
    /// Whether the repository is there, and it is the key that does not fit or is missing.
    pub fn is_about_the_key(&self) -> bool {
        matches!(
            self,
            Self::KeyMissing(_) | Self::WrongKey { .. } | Self::StaleKey { .. } | Self::Key { .. }
        )
    }
}

/// Why a repository can not be opened or created. Callers match on the variant.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpenError {
    /// Nothing is there: it can be created.
    #[error("there is no repository at {0}")]
    Absent(String),
    /// Something else is there.
    #[error(
        "{0} is not empty and holds no ccb repository; choose another place, or empty it if nothing there is needed"
    )]
    Foreign(String),
    /// A repository is there already.
    #[error("there is already a repository at {0}")]
    Exists(String),
    /// It was made by a later ccb.
    #[error("open the repository at {location}")]
    UnknownFormat {
        /// Where.
        location: String,
        /// What is unknown.
        #[source]
        cause: FormatError,
    },
    /// It is encrypted, and no key was given.
    #[error("the repository at {0} is encrypted, and no key was given")]
    KeyMissing(String),
    /// The key that was given opens none of its slots.
    #[error("the key does not open the repository at {location}: it fits none of its slots ({})", slots.join(", "))]
    WrongKey {
        /// Where.
        location: String,
        /// The slots that were tried.
        slots: Vec<String>,
    },
    /// The key that was given opens a slot from before keys were rotated.
    #[error(
        "the key opens slot `{slot}` of the repository at {location}, which is from before its keys were rotated and does not read what was stored since; use a key that was there at the rotation, and `ccb key add` this one again with it"
    )]
    StaleKey {
        /// Where.
        location: String,
        /// The slot.
        slot: String,
    },
    /// What makes it a repository is damaged.
    #[error("the repository at {location} is damaged: `{object}`")]
    Damaged {
        /// Where.
        location: String,
        /// Which object.
        object: String,
        /// How.
        #[source]
        cause: FormatError,
    },
    /// The key can not be used.
    #[error("use the key for the repository at {location}")]
    Key {
        /// Where.
        location: String,
        /// Why.
        #[source]
        cause: crate::repository::format::key::KeyError,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}
