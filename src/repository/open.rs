//! Creating and opening a repository, and telling apart why that fails. Creation is two objects, the
//! description and a key slot; whoever is killed between them is completed by the next run.

use crate::model::ids::RepositoryId;
use crate::model::strategy::Kdf;
use crate::repository::format::FormatError;
use crate::repository::format::config::{CipherSuite, Operation, RepositoryConfig};
use crate::repository::format::key::{KeyError, Keyring, Keys, Secret, make_slot};
use crate::repository::layout::{self, SlotName};
use crate::repository::slots::{SlotListing, open_keyring};
use crate::repository::{OpenError, Repository, RepositoryError, Surroundings};
use crate::store::{Key, Kind, Put, Store};
use bytes::Bytes;

/// What a new repository is like.
pub struct Creation<'a> {
    /// How it seals.
    pub cipher: CipherSuite,
    /// Its first key slot; `None` only with [`CipherSuite::None`].
    pub slot: Option<NewSlot<'a>>,
    /// A repository to share the keyring with, so that blobs have the same ids in both.
    pub keyring_of: Option<&'a Repository>,
}

/// A key slot to make.
pub struct NewSlot<'a> {
    /// Its name, of letters, digits and `-`.
    pub name: &'a str,
    /// What opens it.
    pub secret: &'a Secret,
    /// How that becomes a key.
    pub kdf: Kdf,
}

impl Repository {
    /// Creates a repository in an empty store and opens it.
    pub async fn create(
        store: Store,
        creation: &Creation<'_>,
        surroundings: &Surroundings,
    ) -> Result<Self, OpenError> {
        let config = match find_config(&store).await {
            Ok(config) if is_unfinished(&store, &config).await? => config,
            Ok(_) => return Err(OpenError::Exists(store.location())),
            Err(OpenError::Absent(_)) => put_config(&store, creation, surroundings).await?,
            Err(other) => return Err(other),
        };
        if let Some(slot) = &creation.slot {
            put_first_slot(&store, &config, slot, creation, surroundings).await?;
        }
        let secret = creation.slot.as_ref().map(|slot| slot.secret);
        let created = Self::open(store, secret, surroundings).await?;
        match created.probe().await {
            Err(RepositoryError::Store(error)) => Err(error.into()),
            // Only what can not be noted is left: the next prune probes again.
            _ => Ok(created),
        }
    }

    /// Opens the repository in `store`.
    pub async fn open(
        store: Store,
        secret: Option<&Secret>,
        surroundings: &Surroundings,
    ) -> Result<Self, OpenError> {
        let config = find_config(&store).await?;
        config
            .permits(Operation::Read)
            .map_err(|cause| unknown_format(&store, cause))?;
        let opened = match (config.cipher, secret) {
            (CipherSuite::None, _) => Ok((Keyring::public(), None)),
            (_, None) => Err(OpenError::KeyMissing(store.location())),
            (_, Some(secret)) => open_keyring(&store, &config, secret)
                .await
                .map(|(keyring, slot)| (keyring, Some(slot))),
        };
        let (keyring, slot) = match opened {
            Ok(opened) => opened,
            Err(OpenError::Store(error)) => return Err(error.into()),
            // Only now: whoever has the key is not kept waiting for one more listing.
            Err(_) if is_unfinished(&store, &config).await? => {
                return Err(OpenError::Absent(store.location()));
            }
            Err(error) => return Err(error),
        };
        let keys = Keys::new(keyring, config.repo_id, config.cipher);
        Ok(Self::assemble(store, config, (keys, slot), surroundings))
    }
}

async fn find_config(store: &Store) -> Result<RepositoryConfig, OpenError> {
    let location = store.location();
    let bytes = match store.get(&layout::config(), None).await {
        Ok(bytes) => bytes,
        Err(e) if e.kind == Kind::NotFound => {
            let listing = store.list("").await?;
            let is_empty = listing.objects.is_empty() && listing.strays == 0;
            return Err(if is_empty {
                OpenError::Absent(location)
            } else {
                OpenError::Foreign(location)
            });
        }
        Err(e) => return Err(e.into()),
    };
    RepositoryConfig::decode(&bytes).map_err(|cause| match cause {
        FormatError::Foreign(_) => OpenError::Foreign(location),
        FormatError::Version { .. } | FormatError::Feature { .. } => unknown_format(store, cause),
        cause => damaged(store, &layout::config(), cause),
    })
}

/// Whether its creator was killed before it could write the key slot: the description is all there is.
async fn is_unfinished(store: &Store, config: &RepositoryConfig) -> Result<bool, OpenError> {
    let slots = || SlotListing::of(store);
    if config.cipher == CipherSuite::None || !slots().await?.slots.is_empty() {
        return Ok(false);
    }
    Ok(store.list("").await?.objects.len() == 1)
}

async fn put_config(
    store: &Store,
    creation: &Creation<'_>,
    surroundings: &Surroundings,
) -> Result<RepositoryConfig, OpenError> {
    let id = RepositoryId(surroundings.random());
    let config = RepositoryConfig::new(id, creation.cipher, (surroundings.now)());
    match store
        .put(&layout::config(), config.encode().into(), Put::New)
        .await
    {
        Err(e) if e.kind == Kind::AlreadyExists => Err(OpenError::Exists(store.location())),
        put => Ok(put.map(|()| config)?),
    }
}

async fn put_first_slot(
    store: &Store,
    config: &RepositoryConfig,
    slot: &NewSlot<'_>,
    creation: &Creation<'_>,
    surroundings: &Surroundings,
) -> Result<(), OpenError> {
    let location = || store.location();
    let fresh;
    let keyring = match creation.keyring_of {
        Some(other) => other.keys().keyring(),
        None => {
            fresh = Keyring::new(surroundings.random(), surroundings.random());
            &fresh
        }
    };
    let file = SlotName::added(slot.name).ok_or_else(|| OpenError::Key {
        location: location(),
        cause: KeyError::Format(FormatError::malformed("key slot", "its name is no name")),
    })?;
    let key = layout::slot(&file);
    let made = make_slot(
        keyring,
        slot.secret,
        slot.kdf,
        slot.name,
        (config.repo_id, config.cipher),
        surroundings.random(),
        (surroundings.now)(),
    );
    let file = made.map_err(|cause| OpenError::Key {
        location: location(),
        cause,
    })?;
    match store.put(&key, Bytes::from(file.encode()), Put::New).await {
        Err(e) if e.kind == Kind::AlreadyExists => Err(OpenError::Exists(location())),
        put => Ok(put?),
    }
}

fn unknown_format(store: &Store, cause: FormatError) -> OpenError {
    let location = store.location();
    OpenError::UnknownFormat { location, cause }
}

fn damaged(store: &Store, object: &Key, cause: FormatError) -> OpenError {
    let (location, object) = (store.location(), object.to_string());
    OpenError::Damaged {
        location,
        object,
        cause,
    }
}
