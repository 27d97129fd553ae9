//! A store in memory and what is known of it. Does what it is asked, at once and once.

use crate::repository::given::{memory, surroundings};
use crate::repository::simulation::ledger::Promised;
use bytes::Bytes;
use ccb::model::ids::RepositoryId;
use ccb::repository::format::config::CipherSuite;
use ccb::repository::{Creation, Repository};
use ccb::store::memory::Memory;
use ccb::store::{Backend, Key, Put, Retries, Store, StoreError};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

/// A store, and what is known of the repository in it.
#[derive(Clone)]
pub(super) struct Site {
    pub(super) name: &'static str,
    pub(super) id: RepositoryId,
    pub(super) memory: Memory,
    pub(super) promised: Arc<Promised>,
    /// What is there: reading this takes no time.
    bodies: Arc<Mutex<BTreeMap<Key, Bytes>>>,
}

impl Site {
    /// A new repository, in plain text.
    pub(super) async fn new(name: &'static str) -> Self {
        let memory = memory();
        let creation = Creation {
            cipher: CipherSuite::None,
            slot: None,
            keyring_of: None,
        };
        let store = Store::with_retries(Arc::new(memory.clone()), 1, Retries::NONE);
        let created = Repository::create(store, &creation, &surroundings(name)).await;
        let mut bodies = BTreeMap::new();
        for meta in memory.list("").await.unwrap().objects {
            let body = memory.get(&meta.key, None).await.unwrap();
            bodies.insert(meta.key, body);
        }
        Self {
            name,
            id: created.unwrap().id(),
            memory,
            promised: Arc::default(),
            bodies: Arc::new(Mutex::new(bodies)),
        }
    }

    pub(super) fn body(&self, key: &Key) -> Option<Bytes> {
        self.bodies.lock().unwrap().get(key).cloned()
    }

    /// Those that are there and begin with `prefix`.
    pub(super) fn keys(&self, prefix: &str) -> Vec<Key> {
        let bodies = self.bodies.lock().unwrap();
        let keys = bodies.keys().filter(|key| key.as_str().starts_with(prefix));
        keys.cloned().collect()
    }

    /// Takes an object away behind everybody's back.
    pub(super) fn lose(&self, key: &Key) {
        self.promised.is_touched(key);
        self.bodies.lock().unwrap().remove(key);
        self.memory.lose(key);
    }

    /// Carries out what arrives.
    pub(super) async fn arrive(&self, effect: Effect) -> Result<(), StoreError> {
        match effect {
            Effect::Put(key, body, how) => {
                self.memory.put(&key, body.clone(), how).await?;
                self.promised.is_touched(&key);
                self.bodies.lock().unwrap().insert(key, body);
                Ok(())
            }
            Effect::Delete(key) => {
                self.promised.is_touched(&key);
                self.bodies.lock().unwrap().remove(&key);
                self.memory.delete(&key).await
            }
        }
    }
}

/// A call that has an effect: it may arrive late, or twice.
#[derive(Debug, Clone)]
pub(super) enum Effect {
    Put(Key, Bytes, Put),
    Delete(Key),
}

impl Effect {
    pub(super) fn key(&self) -> &Key {
        match self {
            Self::Put(key, ..) | Self::Delete(key) => key,
        }
    }
}
