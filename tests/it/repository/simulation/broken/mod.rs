//! Each rule that the protocol stands on, broken from outside: a store that answers one host as if the host
//! did not keep the rule. Every one of them must be found out by the simulation, so that it can fail.

mod changed;
mod forged;
mod shown;

use crate::repository::simulation::site::{Effect, Site};
use bytes::Bytes;
use ccb::store::{Key, Listing};
use std::sync::{Arc, Mutex};

/// Which rule is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// None.
    Nothing,
    /// Of several creators of a key one succeeds: all do, the last one's bytes stay.
    CreatesOver,
    /// A writer's packs are there before its manifest.
    ManifestBeforePacks,
    /// Its index is.
    ManifestBeforeIndex,
    /// A session that was ended can not commit.
    CommitsAfterItsEnd,
    /// What is only in condemned packs counts as absent for who writes.
    RefersToCondemned,
    /// A lease is there before the log of prunes is read.
    LeasesAfterReading,
    /// A prune asks who is working: neither sessions nor pins are seen.
    SeesNoLeases,
    /// It waits for sessions that do not know its record.
    WaitsForNobody,
    /// Condemned packs that are needed after all stay.
    RemovesWhatIsNeeded,
    /// A prune condemns, and another one removes, after asking.
    CondemnsAndRemoves,
}

/// What a host is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Writer,
    Undeleter,
    Copier,
    Pruner,
    Forgetter,
    Reader,
}

/// How one host is answered by one store.
pub(super) struct Tampering {
    broken: Broken,
    role: Role,
    seen: Mutex<Seen>,
}

/// What this host has seen and done so far.
#[derive(Default)]
struct Seen {
    /// What it listed last.
    listed: String,
    held_back: Vec<Effect>,
}

impl Tampering {
    pub(super) fn new(broken: Broken, role: Role) -> Arc<Self> {
        Arc::new(Self {
            broken,
            role,
            seen: Mutex::default(),
        })
    }

    /// What is carried out when the host asks for `effect`, one after the other, others in between.
    pub(super) fn instead_of(&self, site: &Site, effect: Effect) -> Vec<Effect> {
        match effect {
            Effect::Put(key, body, how) => self.instead_of_put(site, (key, body, how)),
            Effect::Delete(key) => self.instead_of_delete(site, key),
        }
    }

    /// What is shown of a listing.
    pub(super) fn shown(&self, prefix: &str, listing: Listing) -> Listing {
        let shown = self.altered(prefix, listing);
        self.seen.lock().unwrap().listed = prefix.to_owned();
        shown
    }

    /// What is given of an object.
    pub(super) fn given(&self, site: &Site, key: &Key, body: Bytes) -> Bytes {
        match (self.broken, self.role) {
            (Broken::RefersToCondemned, Role::Writer | Role::Copier)
                if key.as_str().starts_with("gc/") =>
            {
                forged::record_of_nothing(site, key, &body)
            }
            _ => body,
        }
    }
}
