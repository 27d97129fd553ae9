//! Calls that change something, under a broken rule: what is carried out in their stead.

use crate::repository::simulation::broken::{Broken, Role, Tampering};
use crate::repository::simulation::site::{Effect, Site};
use bytes::Bytes;
use ccb::store::{Key, Put};

impl Tampering {
    pub(super) fn instead_of_put(
        &self,
        site: &Site,
        (key, body, how): (Key, Bytes, Put),
    ) -> Vec<Effect> {
        let name = key.as_str();
        if self.holds_back(name) {
            let effect = Effect::Put(key, body, how);
            self.seen.lock().unwrap().held_back.push(effect);
            return Vec::new();
        }
        let how = match self.creates_over(site, &key) {
            true => Put::Replace,
            false => how,
        };
        if self.broken == Broken::CondemnsAndRemoves && name.starts_with("gc/") {
            // Before anybody can read the record.
            for pack in named_by(site, &body) {
                site.lose(&pack);
            }
        }
        let comes_before = self.broken == Broken::LeasesAfterReading;
        let is_due = name.starts_with("backups/") || comes_before && name.starts_with("packs/");
        let own = Effect::Put(key, body, how);
        let held_back = match is_due {
            true => std::mem::take(&mut self.seen.lock().unwrap().held_back),
            false => Vec::new(),
        };
        match comes_before {
            true => held_back.into_iter().chain([own]).collect(),
            false => [own].into_iter().chain(held_back).collect(),
        }
    }

    pub(super) fn instead_of_delete(&self, site: &Site, key: Key) -> Vec<Effect> {
        let mut effects = vec![Effect::Delete(key.clone())];
        let is_pack = key.as_str().starts_with("packs/");
        if self.broken == Broken::RemovesWhatIsNeeded && self.role == Role::Pruner && is_pack {
            for record in site.keys("gc/") {
                let record = site.body(&record).unwrap_or_default();
                let packs = named_by(site, &record);
                if packs.contains(&key) {
                    effects.extend(packs.into_iter().map(Effect::Delete));
                }
            }
        }
        effects
    }

    /// Whether an object is to be there only after what should come after it.
    fn holds_back(&self, name: &str) -> bool {
        match (self.broken, self.role) {
            (Broken::ManifestBeforePacks, Role::Writer) => name.starts_with("packs/"),
            (Broken::ManifestBeforeIndex, Role::Writer) => name.starts_with("index/"),
            (Broken::LeasesAfterReading, Role::Writer) => {
                name.starts_with("leases/") && (name.ends_with("/start") || name.ends_with("/view"))
            }
            _ => false,
        }
    }

    /// Whether this key may be created although it is there.
    fn creates_over(&self, site: &Site, key: &Key) -> bool {
        let name = key.as_str();
        match self.broken {
            Broken::CreatesOver => true,
            Broken::CommitsAfterItsEnd if self.role != Role::Pruner => {
                let there = site.body(key);
                name.starts_with("backups/")
                    && there.is_some_and(|there| there.starts_with(b"REVOKED"))
            }
            _ => false,
        }
    }
}

/// Every pack that this prune record names, where it is there.
fn named_by(site: &Site, record: &[u8]) -> Vec<Key> {
    let text = String::from_utf8_lossy(record);
    let packs = site.keys("packs/");
    let is_named = |pack: &Key| text.contains(pack.last_part());
    packs.into_iter().filter(is_named).collect()
}
