//! The key slots of an open repository: who can open it. Whoever had a slot has seen the keyring, so that
//! removing one shuts out who has yet to come, not who was there. The last slot that is known to open is
//! never removed.

use crate::repository::format::FormatError;
use crate::repository::format::config::Operation;
use crate::repository::format::key::{KdfParams, KeyError, Secret, make_slot};
use crate::repository::layout::{self, SlotName};
use crate::repository::slots::{SlotListing, is_outdated, read_epoch, read_slot};
use crate::repository::{NewSlot, Repository, RepositoryError};
use crate::store::{Kind, Put};
use bytes::Bytes;
use jiff::Timestamp;

/// A slot, as anyone can read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySlot {
    /// Its name.
    pub name: String,
    /// When its key was added. A rotation does not change that.
    pub created: Timestamp,
    /// How its secret becomes a key.
    pub kdf: KdfParams,
    /// Tells keys apart: 8 bytes in hexadecimal that say nothing of the key. Another one in each
    /// repository, and after each rotation.
    pub key_id: String,
    /// Whether keys were rotated since without it: what was stored since can not be read with it.
    pub is_stale: bool,
}

impl Repository {
    /// Its slots that are whole and count, sorted by name. `ccb check` names the others.
    pub async fn key_slots(&self) -> Result<Vec<KeySlot>, RepositoryError> {
        let listing = SlotListing::of(self.store()).await?;
        let newest = self.key_epoch();
        let mut slots = Vec::new();
        for (name, slot) in listing.current() {
            if let Some(Ok(file)) = read_slot(self.store(), slot).await?
                && file.slot == slot.stem()
            {
                slots.push(KeySlot {
                    name: name.to_owned(),
                    created: file.created,
                    key_id: file.key_id().to_owned(),
                    kdf: file.kdf,
                    is_stale: slot.generation != 0 && slot.generation < newest,
                });
            }
        }
        Ok(slots)
    }

    /// When the data key that seals what is written was made; nothing where there are no keys.
    pub async fn key_since(&self) -> Result<Option<Timestamp>, RepositoryError> {
        if !self.is_encrypted() {
            return Ok(None);
        }
        let record = read_epoch(self.store(), self.keys(), self.key_epoch()).await?;
        let record = record.and_then(Result::ok);
        Ok(Some(
            record.map_or(self.config().created, |record| record.created),
        ))
    }

    /// The name of the slot that `secret` opens.
    pub async fn slot_of(&self, secret: &Secret) -> Result<Option<String>, RepositoryError> {
        let listing = SlotListing::of(self.store()).await?;
        for (name, slot) in listing.current() {
            match self.open_with_any(slot, &[secret]).await {
                Ok(Some(opened)) if opened.keyring.epoch() >= self.key_epoch() => {
                    return Ok(Some(name.to_owned()));
                }
                // A damaged one opens for nobody.
                Ok(_) | Err(RepositoryError::Object { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Adds a slot for another secret. A name that is taken is an error: nothing is overwritten.
    pub async fn add_key(&self, slot: &NewSlot<'_>) -> Result<(), RepositoryError> {
        self.permits(Operation::Write)?;
        if !self.is_encrypted() {
            return Err(RepositoryError::NotEncrypted);
        }
        let name = slot_name(slot.name)?;
        let taken = SlotListing::of(self.store()).await?;
        if taken.current().contains_key(slot.name) {
            return Err(RepositoryError::KeyExists {
                name: name.name.clone(),
            });
        }
        let made = make_slot(
            self.keys().keyring(),
            slot.secret,
            slot.kdf,
            &name.stem(),
            self.sealed_for(),
            self.random(),
            self.now(),
        );
        let file = made.map_err(RepositoryError::Key)?;
        let (key, bytes) = (layout::slot(&name), Bytes::from(file.encode()));
        match self.store().put(&key, bytes, Put::New).await {
            Err(e) if e.kind == Kind::AlreadyExists => {
                let name = name.name;
                return Err(RepositoryError::KeyExists { name });
            }
            put => put?,
        }
        // A rotation that did not see it has left it behind: it would not open what is stored from now on.
        let listing = SlotListing::of(self.store()).await?;
        if is_outdated(self.store(), &listing, self.keys()).await? {
            self.store().delete(&key).await?;
            return Err(RepositoryError::KeysChanged);
        }
        Ok(())
    }

    /// Tells whether [`Repository::remove_key`] would remove the slot, without removing it.
    pub async fn may_remove_key(&self, name: &str, own: &Secret) -> Result<(), RepositoryError> {
        let listing = SlotListing::of(self.store()).await?;
        if !listing.slots.iter().any(|slot| slot.name == name) {
            return Err(RepositoryError::NoSuchKey {
                name: name.to_owned(),
                slots: listing.current().into_keys().map(str::to_owned).collect(),
            });
        }
        let name = || name.to_owned();
        if self
            .key_slots()
            .await?
            .iter()
            .all(|slot| slot.name == name())
        {
            return Err(RepositoryError::LastKey { name: name() });
        }
        for slot in listing
            .current()
            .into_values()
            .filter(|slot| slot.name != name())
        {
            match self.open_with_any(slot, &[own]).await {
                Ok(Some(opened)) if opened.keyring.epoch() >= self.key_epoch() => return Ok(()),
                Ok(_) | Err(RepositoryError::Object { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(RepositoryError::OnlyOwnKey { name: name() })
    }

    /// Removes a slot. `own` is the proof that the repository stays open: it opens another one.
    pub async fn remove_key(&self, name: &str, own: &Secret) -> Result<(), RepositoryError> {
        self.permits(Operation::Remove)?;
        self.may_remove_key(name, own).await?;
        let listing = SlotListing::of(self.store()).await?;
        // Oldest first: whoever is killed in between leaves the one that counts, and runs again.
        for slot in listing.slots.iter().filter(|slot| slot.name == name) {
            self.store().delete(&layout::slot(slot)).await?;
        }
        Ok(())
    }
}

fn slot_name(name: &str) -> Result<SlotName, RepositoryError> {
    let why = "its name is not a-z, 0-9 and -, starting with a letter";
    let cause = || KeyError::Format(FormatError::malformed("key slot", why));
    SlotName::added(name).ok_or_else(|| RepositoryError::Key(cause()))
}
