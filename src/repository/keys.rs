//! The key slots of an open repository: who can open it. Whoever had a slot has seen the keyring, so that
//! removing one shuts out who has yet to come, not who was there. The last slot is never removed.

use crate::repository::format::config::Operation;
use crate::repository::format::key::{KdfParams, KeyError, SlotFile, make_slot};
use crate::repository::{NewSlot, Repository, RepositoryError, layout};
use crate::store::{Key, Kind, Put};
use bytes::Bytes;
use jiff::Timestamp;

/// A slot, as anyone can read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySlot {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// How its secret becomes a key.
    pub kdf: KdfParams,
}

impl Repository {
    /// Its slots that are whole, sorted by name. `ccb check` names the others.
    pub async fn key_slots(&self) -> Result<Vec<KeySlot>, RepositoryError> {
        let mut slots = Vec::new();
        for object in self.store().list(layout::SLOTS).await?.objects {
            let bytes = match self.store().get(&object.key, None).await {
                Err(e) if e.kind == Kind::NotFound => continue,
                read => read?,
            };
            if let Ok(file) = SlotFile::decode(&bytes)
                && layout::slot_name(&object.key) == Some(&file.slot)
            {
                slots.push(KeySlot {
                    name: file.slot,
                    created: file.created,
                    kdf: file.kdf,
                });
            }
        }
        Ok(slots)
    }

    /// Adds a slot for another secret. A name that is taken is an error: nothing is overwritten.
    pub async fn add_key(&self, slot: &NewSlot<'_>) -> Result<(), RepositoryError> {
        self.permits(Operation::Write)?;
        if !self.is_encrypted() {
            return Err(RepositoryError::NotEncrypted);
        }
        let key = slot_key(slot.name)?;
        let made = make_slot(
            self.keys().keyring(),
            slot.secret,
            slot.kdf,
            slot.name,
            (self.id(), self.keys().cipher()),
            self.random(),
            self.now(),
        );
        let file = made.map_err(RepositoryError::Key)?;
        let bytes = Bytes::from(file.encode());
        Ok(self.store().put(&key, bytes, Put::New).await?)
    }

    /// Removes a slot, if another one is left.
    pub async fn remove_key(&self, name: &str) -> Result<(), RepositoryError> {
        self.permits(Operation::Remove)?;
        let key = slot_key(name)?;
        if self.key_slots().await?.iter().all(|slot| slot.name == name) {
            let name = name.to_owned();
            return Err(RepositoryError::LastKey { name });
        }
        Ok(self.store().delete(&key).await?)
    }
}

fn slot_key(name: &str) -> Result<Key, RepositoryError> {
    use crate::repository::format::FormatError;
    let cause = || FormatError::malformed("key slot", "its name is no name");
    layout::slot(name).ok_or_else(|| RepositoryError::Key(KeyError::Format(cause())))
}
