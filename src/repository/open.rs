//! Creating and opening a repository, and telling apart why that fails. Creation is two objects, the
//! description and a key slot; whoever is killed between them is completed by the next run.

use crate::model::ids::RepositoryId;
use crate::model::strategy::Kdf;
use crate::repository::format::FormatError;
use crate::repository::format::config::{CipherSuite, Operation, RepositoryConfig};
use crate::repository::format::key::{
    KeyError, Keyring, Keys, Secret, SlotFile, make_slot, open_slot,
};
use crate::repository::{OpenError, Repository, Surroundings, layout};
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
        Self::open(
            store,
            creation.slot.as_ref().map(|slot| slot.secret),
            surroundings,
        )
        .await
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
        let keyring = match (config.cipher, secret) {
            (CipherSuite::None, _) => Keyring::public(),
            (_, _) if is_unfinished(&store, &config).await? => {
                return Err(OpenError::Absent(store.location()));
            }
            (_, None) => return Err(OpenError::KeyMissing(store.location())),
            (_, Some(secret)) => open_any_slot(&store, &config, secret).await?,
        };
        let keys = Keys::new(keyring, config.repo_id, config.cipher);
        Ok(Self::assemble(store, config, keys, surroundings))
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
    if config.cipher == CipherSuite::None || !slots(store).await?.is_empty() {
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
    let key = layout::slot(slot.name).ok_or_else(|| OpenError::Key {
        location: location(),
        cause: KeyError::Format(FormatError::malformed("key slot", "its name is no name")),
    })?;
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

async fn slots(store: &Store) -> Result<Vec<Key>, OpenError> {
    let listing = store.list(layout::SLOTS).await?;
    let keys = listing.objects.into_iter().map(|object| object.key);
    Ok(keys
        .filter(|key| layout::slot_name(key).is_some())
        .collect())
}

/// Tries the secret on each slot. A damaged slot matters only when no other one opens.
async fn open_any_slot(
    store: &Store,
    config: &RepositoryConfig,
    secret: &Secret,
) -> Result<Keyring, OpenError> {
    let mut tried = Vec::new();
    let mut first_damage = None;
    for key in slots(store).await? {
        let bytes = store.get(&key, None).await?;
        let name = layout::slot_name(&key).unwrap_or_default().to_owned();
        let opened = SlotFile::decode(&bytes)
            .map_err(KeyError::from)
            .and_then(|file| open_slot(&file, secret, &name, (config.repo_id, config.cipher)));
        match opened {
            Ok(keyring) => return Ok(keyring),
            Err(KeyError::Format(cause)) => {
                first_damage.get_or_insert_with(|| damaged(store, &key, cause));
            }
            Err(KeyError::Excessive { what }) => {
                let cause =
                    FormatError::malformed("key slot", format!("{what} is beyond the limit"));
                first_damage.get_or_insert_with(|| damaged(store, &key, cause));
            }
            Err(KeyError::Empty) => {
                let (location, cause) = (store.location(), KeyError::Empty);
                return Err(OpenError::Key { location, cause });
            }
            Err(KeyError::WrongKey(_) | KeyError::NotRaw) => tried.push(name),
        }
    }
    let location = store.location();
    match first_damage {
        Some(damage) if tried.is_empty() => Err(damage),
        None if tried.is_empty() => {
            let cause = FormatError::malformed("repository", "it has no key slot");
            Err(OpenError::Damaged {
                location,
                object: layout::SLOTS.to_owned(),
                cause,
            })
        }
        _ => Err(OpenError::WrongKey {
            location,
            slots: tried,
        }),
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
