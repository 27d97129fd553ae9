//! The key slots of a repository as its store lists them: which of them count, and which one a secret opens.
//! Only reads. A slot of a rotation that was not completed does not count, so that nothing is ever sealed
//! under a key that some slot does not hold (schemas/repository.md#rotation).

use crate::model::ids::RepositoryId;
use crate::repository::format::FormatError;
use crate::repository::format::config::{CipherSuite, RepositoryConfig};
use crate::repository::format::key::{KeyError, Keyring, Keys, Secret, SlotFile, open_slot};
use crate::repository::format::manifest::Version;
use crate::repository::format::seal::{OpenType, open_signed};
use crate::repository::layout::{self, SlotName};
use crate::repository::{OpenError, Repository, RepositoryError};
use crate::store::{Kind, Store, StoreError};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How often slots are listed anew because one went away: a rotation is under way.
const LISTINGS_MAX: usize = 4;

/// `keys/epoch-<n>`: from here on slots of generation `n` count, and what is written is sealed under epoch `n`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EpochRecord {
    pub(crate) v: Version<1>,
    pub(crate) epoch: u16,
    pub(crate) created: Timestamp,
}

/// What is under `keys/`.
pub(crate) struct SlotListing {
    pub(crate) slots: BTreeSet<SlotName>,
    /// Epochs that have a record.
    pub(crate) epochs: BTreeSet<u16>,
}

impl SlotListing {
    pub(crate) async fn of(store: &Store) -> Result<Self, StoreError> {
        let listing = store.list(layout::SLOTS).await?;
        let keys = || listing.objects.iter().map(|object| &object.key);
        Ok(Self {
            slots: keys().filter_map(layout::slot_name).collect(),
            epochs: keys().filter_map(layout::epoch_number).collect(),
        })
    }

    pub(crate) fn counts(&self, slot: &SlotName) -> bool {
        slot.generation == 0 || self.epochs.contains(&slot.generation)
    }

    /// Slots that count, the newest generation first.
    fn candidates(&self) -> Vec<&SlotName> {
        let mut slots: Vec<&SlotName> = self.slots.iter().filter(|s| self.counts(s)).collect();
        slots.sort_by_key(|slot| std::cmp::Reverse(slot.generation));
        slots
    }

    /// Of each name the newest slot that counts.
    pub(crate) fn current(&self) -> BTreeMap<&str, &SlotName> {
        let counting = self.slots.iter().filter(|slot| self.counts(slot));
        // In order of generation, so that the newest one stays.
        counting.map(|slot| (slot.name.as_str(), slot)).collect()
    }
}

/// A slot's file; `None` when it is not there any more.
pub(crate) async fn read_slot(
    store: &Store,
    slot: &SlotName,
) -> Result<Option<Result<SlotFile, FormatError>>, StoreError> {
    match store.get(&layout::slot(slot), None).await {
        Err(e) if e.kind == Kind::NotFound => Ok(None),
        read => Ok(Some(SlotFile::decode(&read?))),
    }
}

/// The keyring that `secret` opens, and the name of its slot.
pub(crate) async fn open_keyring(
    store: &Store,
    config: &RepositoryConfig,
    secret: &Secret,
) -> Result<(Keyring, String), OpenError> {
    let mut search = Search::default();
    for _ in 0..LISTINGS_MAX {
        search = Search::default();
        let listing = SlotListing::of(store).await?;
        for slot in listing.candidates() {
            let tried = search.try_slot(store, config, secret, slot).await?;
            if let Some(keyring) = tried {
                let keys = Keys::new(keyring.clone(), config.repo_id, config.cipher);
                if !is_outdated(store, &listing, &keys).await? {
                    return Ok((keyring, slot.name.clone()));
                }
                search.stale.get_or_insert_with(|| slot.name.clone());
            }
        }
        if !search.has_vanished {
            break;
        }
    }
    Err(search.why_not(store.location()))
}

/// Whether a newer keyring than that of `keys` is in use here. A record that does not verify is no proof.
pub(crate) async fn is_outdated(
    store: &Store,
    listing: &SlotListing,
    keys: &Keys,
) -> Result<bool, StoreError> {
    let own = keys.keyring().epoch();
    for epoch in listing.epochs.iter().filter(|epoch| **epoch > own) {
        if matches!(read_epoch(store, keys, *epoch).await?, Some(Ok(_))) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The record of an epoch, or what is wrong with it; `None` when there is none.
pub(crate) async fn read_epoch(
    store: &Store,
    keys: &Keys,
    epoch: u16,
) -> Result<Option<Result<EpochRecord, FormatError>>, StoreError> {
    let key = layout::epoch(epoch);
    let bytes = match store.get(&key, None).await {
        Err(e) if e.kind == Kind::NotFound => return Ok(None),
        read => read?,
    };
    let record = open_signed(keys, OpenType::Epoch, key.as_str(), &bytes);
    Ok(Some(record.and_then(|record: EpochRecord| {
        match record.epoch == epoch {
            true => Ok(record),
            false => Err(FormatError::malformed(
                "epoch record",
                "it has another number than its key",
            )),
        }
    })))
}

/// What was found while a secret was tried.
#[derive(Default)]
struct Search {
    wrong_for: Vec<String>,
    damaged: Option<(String, FormatError)>,
    unusable: Option<KeyError>,
    stale: Option<String>,
    has_vanished: bool,
}

impl Search {
    async fn try_slot(
        &mut self,
        store: &Store,
        config: &RepositoryConfig,
        secret: &Secret,
        slot: &SlotName,
    ) -> Result<Option<Keyring>, OpenError> {
        let Some(read) = read_slot(store, slot).await? else {
            self.has_vanished = true;
            return Ok(None);
        };
        let of = (config.repo_id, config.cipher);
        let opened = match read {
            Ok(file) => open_slot(&file, secret, &slot.stem(), of),
            Err(cause) => Err(KeyError::Format(cause)),
        };
        match opened {
            Ok(keyring) => return Ok(Some(keyring)),
            Err(KeyError::WrongKey(_) | KeyError::NotRaw) => self.wrong_for.push(slot.name.clone()),
            Err(KeyError::Empty) => self.unusable = Some(KeyError::Empty),
            Err(KeyError::Format(cause)) => self.note_damage(slot, cause),
            Err(KeyError::Excessive { what }) => {
                let why = format!("{what} is beyond the limit");
                self.note_damage(slot, FormatError::malformed("key slot", why));
            }
        }
        Ok(None)
    }

    fn note_damage(&mut self, slot: &SlotName, cause: FormatError) {
        let key = layout::slot(slot).to_string();
        self.damaged.get_or_insert((key, cause));
    }

    /// Why no slot opened. A damaged slot matters only when no other one was tried.
    fn why_not(self, location: String) -> OpenError {
        if let Some(cause) = self.unusable {
            return OpenError::Key { location, cause };
        }
        if let Some(slot) = self.stale {
            return OpenError::StaleKey { location, slot };
        }
        let mut slots = self.wrong_for;
        slots.dedup();
        match self.damaged {
            Some((object, cause)) if slots.is_empty() => OpenError::Damaged {
                location,
                object,
                cause,
            },
            None if slots.is_empty() => OpenError::Damaged {
                location,
                object: layout::SLOTS.to_owned(),
                cause: FormatError::malformed("repository", "it has no key slot"),
            },
            _ => OpenError::WrongKey { location, slots },
        }
    }
}

impl Repository {
    pub(crate) fn sealed_for(&self) -> (RepositoryId, CipherSuite) {
        (self.id(), self.keys().cipher())
    }

    /// The keyring in one slot, if one of `secrets` opens it. A slot that is damaged is an error.
    pub(crate) async fn open_with_any(
        &self,
        slot: &SlotName,
        secrets: &[&Secret],
    ) -> Result<Option<Opened>, RepositoryError> {
        let key = layout::slot(slot);
        let Some(read) = read_slot(self.store(), slot).await? else {
            return Ok(None);
        };
        let file = read.map_err(|cause| RepositoryError::object(&key, cause))?;
        for (number, secret) in secrets.iter().enumerate() {
            match open_slot(&file, secret, &slot.stem(), self.sealed_for()) {
                Ok(keyring) => {
                    return Ok(Some(Opened {
                        file,
                        keyring,
                        secret: number,
                    }));
                }
                Err(KeyError::WrongKey(_) | KeyError::NotRaw | KeyError::Empty) => {}
                Err(KeyError::Format(cause)) => return Err(RepositoryError::object(&key, cause)),
                Err(cause) => return Err(RepositoryError::Key(cause)),
            }
        }
        Ok(None)
    }
}

/// A slot that was opened, and by which of the secrets.
pub(crate) struct Opened {
    pub(crate) file: SlotFile,
    pub(crate) keyring: Keyring,
    pub(crate) secret: usize,
}
