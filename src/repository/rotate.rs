//! Rotation of keys: one more data key, in every key slot of every repository that shares the keyring. Ids of
//! blobs and cut points do not change; what was stored before stays readable. Until every slot holds the new
//! key, nobody uses it, so that a rotation may be killed anywhere and run again. No key is ever dropped.

use crate::model::strategy::Kdf;
use crate::repository::format::FormatError;
use crate::repository::format::config::{CipherSuite, Operation};
use crate::repository::format::key::{EpochKey, KdfParams, Keyring, Secret, make_slot};
use crate::repository::format::manifest::Version;
use crate::repository::format::seal::{OpenType, sign};
use crate::repository::layout::{self, SlotName};
use crate::repository::slots::{EpochRecord, Opened, SlotListing};
use crate::repository::{Repository, RepositoryError};
use crate::store::{Kind, Put};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// How often slots may appear while others are wrapped anew.
const ROUNDS_MAX: usize = 4;

/// What a rotation did in one repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// The epoch that new packs are sealed under.
    pub epoch: u16,
    /// Whether an earlier rotation, which was not completed, had come so far here.
    pub was_done: bool,
    /// Slots, sorted by name.
    pub slots: Vec<String>,
    /// Old slot files that the store does not let go, by key. They open what was stored before.
    pub kept: Vec<String>,
}

/// What rotating found in one repository.
struct State {
    /// The epoch in use.
    active: u16,
    /// The newest data key, and that of a rotation which was not completed.
    known: Vec<EpochKey>,
}

/// Gives all of `repositories`, which share a keyring, a new data key. If an earlier rotation was not
/// completed, completes that instead. `secrets` open all their slots between them; a slot that none of
/// them opens is an error, and nothing is changed.
pub async fn rotate(
    repositories: &[&Repository],
    secrets: &[&Secret],
) -> Result<Vec<Rotated>, RepositoryError> {
    let mut states = Vec::new();
    for repository in repositories {
        if repository.keyring_id() != repositories[0].keyring_id() {
            return Err(RepositoryError::OtherKeyring);
        }
        states.push(repository.rotation_state(secrets).await?);
    }
    let Some(key) = target(repositories, &states)? else {
        return Ok(Vec::new());
    };
    let mut done = Vec::new();
    for (repository, state) in repositories.iter().zip(states) {
        done.push(match state.active == key.number() {
            true => repository.already_rotated().await?,
            false => repository.rotate_to(&key, secrets).await?,
        });
    }
    Ok(done)
}

/// The key that all shall have: the newest one, if not all use it yet, or else a fresh one. Two different
/// keys of one epoch, of rotations that met, are both left behind.
fn target(
    repositories: &[&Repository],
    states: &[State],
) -> Result<Option<EpochKey>, RepositoryError> {
    let known = || states.iter().flat_map(|state| &state.known);
    let Some(newest) = known().max_by_key(|key| key.number()) else {
        return Ok(None);
    };
    let of_newest = known().filter(|key| key.number() == newest.number());
    let is_one = of_newest.into_iter().all(|key| key == newest);
    if is_one && states.iter().any(|state| state.active < newest.number()) {
        return Ok(Some(newest.clone()));
    }
    let next = newest.number().checked_add(1).ok_or_else(|| {
        let why = "it has had as many epochs as it can";
        RepositoryError::object(layout::SLOTS, FormatError::malformed("keyring", why))
    })?;
    Ok(Some(EpochKey::new(next, repositories[0].random())))
}

impl Repository {
    async fn rotation_state(&self, secrets: &[&Secret]) -> Result<State, RepositoryError> {
        self.permits(Operation::Write)?;
        if self.keys().cipher() == CipherSuite::None {
            return Err(RepositoryError::NotEncrypted);
        }
        let listing = SlotListing::of(self.store()).await?;
        let mut unknown = BTreeSet::new();
        for (name, slot) in listing.current() {
            if self.open_with_any(slot, secrets).await?.is_none() {
                unknown.insert(name.to_owned());
            }
        }
        if !unknown.is_empty() {
            let slots = unknown.into_iter().collect();
            return Err(RepositoryError::KeyNeeded { slots });
        }
        let mut known: Vec<EpochKey> = self.keys().keyring().newest().into_iter().collect();
        for slot in listing.slots.iter().filter(|slot| !listing.counts(slot)) {
            if let Some(pending) = self.open_with_any(slot, secrets).await? {
                known.extend(pending.keyring.newest());
            }
        }
        let active = self.key_epoch();
        Ok(State { active, known })
    }

    async fn already_rotated(&self) -> Result<Rotated, RepositoryError> {
        let listing = SlotListing::of(self.store()).await?;
        let epoch = self.key_epoch();
        Ok(Rotated {
            epoch,
            was_done: true,
            slots: listing.current().into_keys().map(str::to_owned).collect(),
            kept: self.drop_old_slots(epoch).await?,
        })
    }

    async fn rotate_to(
        &self,
        key: &EpochKey,
        secrets: &[&Secret],
    ) -> Result<Rotated, RepositoryError> {
        let slots = self.wrap_all(key, secrets).await?;
        let record = EpochRecord {
            v: Version,
            epoch: key.number(),
            created: self.now(),
        };
        let place = layout::epoch(key.number());
        let bytes = sign(self.keys(), OpenType::Epoch, place.as_str(), &record);
        match self.store().put(&place, bytes.into(), Put::New).await {
            Err(e) if e.kind == Kind::AlreadyExists => {}
            put => put?,
        }
        Ok(Rotated {
            epoch: key.number(),
            was_done: false,
            slots: slots.into_iter().collect(),
            kept: self.drop_old_slots(key.number()).await?,
        })
    }

    /// Makes a slot of the new generation for each that counts, and reads every one back.
    async fn wrap_all(
        &self,
        key: &EpochKey,
        secrets: &[&Secret],
    ) -> Result<BTreeSet<String>, RepositoryError> {
        let generation = key.number();
        for _ in 0..ROUNDS_MAX {
            let listing = SlotListing::of(self.store()).await?;
            let current = listing.current();
            let is_new = |slot: &SlotName| listing.slots.contains(&slot.in_generation(generation));
            if current.values().all(|slot| is_new(slot)) {
                return self.read_all_back(key, &current, secrets).await;
            }
            for slot in current.into_values().filter(|slot| !is_new(slot)) {
                let opened = self.open_with_any(slot, secrets).await?;
                let opened = opened.ok_or_else(|| RepositoryError::KeyNeeded {
                    slots: vec![slot.name.clone()],
                })?;
                let into = slot.in_generation(generation);
                self.wrap(&opened, secrets[opened.secret], key, &into)
                    .await?;
            }
        }
        Err(RepositoryError::KeysChanged)
    }

    async fn wrap(
        &self,
        old: &Opened,
        secret: &Secret,
        key: &EpochKey,
        into: &SlotName,
    ) -> Result<(), RepositoryError> {
        let place = layout::slot(into);
        let grown = |ring: &Keyring| ring.with_epoch(key);
        // Both have every key that anything here may be sealed under; neither may lose one.
        let keyring = grown(self.keys().keyring()).and_then(|ring| ring.with_all_of(&old.keyring));
        let kdf = match old.file.kdf {
            KdfParams::Raw => Kdf::Raw,
            KdfParams::Argon2id { .. } => Kdf::Argon2id,
        };
        let made = make_slot(
            &keyring.map_err(|cause| RepositoryError::object(&place, cause))?,
            secret,
            kdf,
            &into.stem(),
            self.sealed_for(),
            self.random(),
            old.file.created,
        );
        let file = made.map_err(RepositoryError::Key)?;
        match self
            .store()
            .put(&place, Bytes::from(file.encode()), Put::New)
            .await
        {
            // Read back later, with all the others.
            Err(e) if e.kind == Kind::AlreadyExists => Ok(()),
            put => Ok(put?),
        }
    }

    async fn read_all_back(
        &self,
        key: &EpochKey,
        current: &BTreeMap<&str, &SlotName>,
        secrets: &[&Secret],
    ) -> Result<BTreeSet<String>, RepositoryError> {
        for slot in current.values() {
            let new = slot.in_generation(key.number());
            match self.open_with_any(&new, secrets).await? {
                Some(opened) if opened.keyring.holds(key) => {}
                _ => return Err(RepositoryError::KeysChanged),
            }
        }
        Ok(current.keys().map(|name| (*name).to_owned()).collect())
    }

    /// Removes what slots of `generation` stand in for; returns what the store keeps.
    async fn drop_old_slots(&self, generation: u16) -> Result<Vec<String>, RepositoryError> {
        let listing = SlotListing::of(self.store()).await?;
        let mut kept = Vec::new();
        for slot in &listing.slots {
            let stands_in = slot.in_generation(generation);
            if slot.generation >= generation || !listing.slots.contains(&stands_in) {
                continue;
            }
            let place = layout::slot(slot);
            match self.store().delete(&place).await {
                Err(e) if e.kind == Kind::Denied => kept.push(place.to_string()),
                deleted => deleted?,
            }
        }
        Ok(kept)
    }
}
