//! Calls that change something, under a broken rule: what is carried out in their stead.

use crate::repository::simulation::broken::{Broken, Role, Tampering, forged};
use crate::repository::simulation::site::{Effect, Site};
use bytes::Bytes;
use ccb::store::{Key, Put};

/// When something that was held back is carried out.
#[derive(PartialEq, Eq)]
enum Due {
    Before,
    After,
    NotYet,
}

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
        if self.never_comes(name, &body) {
            return Vec::new();
        }
        let due = self.is_due(name);
        let mut effects = match due {
            Due::NotYet => Vec::new(),
            _ => std::mem::take(&mut self.seen.lock().unwrap().held_back),
        };
        let own = self.instead_of_own(site, (key, body, how));
        match due {
            Due::Before => effects.extend(own),
            _ => effects = own.into_iter().chain(effects).collect(),
        }
        effects
    }

    fn instead_of_own(&self, site: &Site, (key, body, how): (Key, Bytes, Put)) -> Vec<Effect> {
        let name = key.as_str();
        let is_pruner = self.role == Role::Pruner;
        match self.broken {
            Broken::CondemnsAndRemoves if name.starts_with("gc/") => {
                // Before anybody can read the record.
                for pack in named_by(site, &body) {
                    site.lose(&pack);
                }
            }
            Broken::CondemnsUnread if name.starts_with("gc/") => {
                let (key, record) = forged::record_of_next_number(site, &body);
                return vec![Effect::Put(key, record, how)];
            }
            Broken::PinsAfterLooking if name.ends_with("/view") && !is_pruner => {
                let view = forged::view_without_pins(site, &key, &body);
                let later = Effect::Put(key.clone(), body, Put::Replace);
                self.seen.lock().unwrap().held_back.push(later);
                return vec![Effect::Put(key, view, how)];
            }
            Broken::LeasesGoAtOnce if name.starts_with("backups/") && !is_pruner => {
                let session = name.rsplit_once('-').unwrap_or_default().1;
                let lease = site.keys(&format!("leases/{session}/")).into_iter();
                let own = [Effect::Put(key, body, how)].into_iter();
                return own.chain(lease.map(Effect::Delete)).collect();
            }
            _ => {}
        }
        let how = match self.creates_over(site, &key) {
            true => Put::Replace,
            false => how,
        };
        vec![Effect::Put(key, body, how)]
    }

    pub(super) fn instead_of_delete(&self, site: &Site, key: Key) -> Vec<Effect> {
        let own = Effect::Delete(key.clone());
        let is_pack = key.as_str().starts_with("packs/");
        if self.role != Role::Pruner {
            return vec![own];
        }
        let records = site.keys("gc/").into_iter();
        let named = |record: &Key| named_by(site, &site.body(record).unwrap_or_default());
        match self.broken {
            Broken::RemovesWhatIsNeeded if is_pack => {
                let named = records.map(|record| named(&record));
                let with = named.filter(|packs| packs.contains(&key)).flatten();
                [own].into_iter().chain(with.map(Effect::Delete)).collect()
            }
            Broken::RecordsGoFirst if is_pack => {
                let of = records.filter(|record| named(record).contains(&key));
                of.map(Effect::Delete).chain([own]).collect()
            }
            Broken::NewestRecordGoes if is_pack => {
                let newest = records.max_by_key(forged::number);
                let is_over = |record: &Key| named(record).iter().all(|pack| *pack == key);
                let over = newest.filter(is_over).map(Effect::Delete);
                [own].into_iter().chain(over).collect()
            }
            Broken::EndsForAWhile if key.last_part() == "start" => {
                let fence = forged::fence(site, &key);
                let is_mark = |fence: &Key| is_revoked(&site.body(fence).unwrap_or_default());
                let fence = fence.filter(is_mark).map(Effect::Delete);
                [own].into_iter().chain(fence).collect()
            }
            _ => vec![own],
        }
    }

    /// Whether an object is to be there only after what should come after it.
    fn holds_back(&self, name: &str) -> bool {
        let is_start = name.starts_with("leases/") && name.ends_with("/start");
        let is_view = name.starts_with("leases/") && name.ends_with("/view");
        match (self.broken, self.role) {
            (Broken::ManifestBeforePacks | Broken::IndexBeforePacks, Role::Writer) => {
                name.starts_with("packs/")
            }
            (Broken::ManifestBeforeIndex, Role::Writer) => name.starts_with("index/"),
            (Broken::LeasesAfterReading, Role::Writer) => is_start || is_view,
            (Broken::StartAfterLog, Role::Writer | Role::Copier | Role::Undeleter) => is_start,
            _ => false,
        }
    }

    /// Whether what was held back is carried out with this.
    fn is_due(&self, name: &str) -> Due {
        let is = |of: &str| name.starts_with(of);
        let is_commit = is("backups/");
        match self.broken {
            Broken::StartAfterLog if name.ends_with("/view") => Due::Before,
            Broken::LeasesAfterReading if is("packs/") || is_commit => Due::Before,
            Broken::PinsAfterLooking if is("packs/") || is("index/") || is_commit => Due::Before,
            Broken::IndexBeforePacks if is("index/") || is_commit => Due::After,
            _ if is_commit => Due::After,
            _ => Due::NotYet,
        }
    }

    /// Whether it is answered, and nothing is done.
    fn never_comes(&self, name: &str, body: &[u8]) -> bool {
        match (self.broken, self.role) {
            (Broken::EndsNobody, Role::Pruner) => is_revoked(body),
            (Broken::SilentOnesGoOn, role) if role != Role::Pruner => {
                name.starts_with("leases/") && name.contains("/hb-")
            }
            (Broken::LocksNotEnded, _) => {
                let is_end = name.starts_with("locks/") && name.ends_with("/end");
                is_end && forged::json_of(body)["why"] == "silent"
            }
            _ => false,
        }
    }

    /// Whether this key may be created although it is there.
    fn creates_over(&self, site: &Site, key: &Key) -> bool {
        let name = key.as_str();
        match self.broken {
            Broken::CreatesOver => true,
            Broken::LocksOver => name.starts_with("locks/"),
            Broken::CommitsAfterItsEnd if self.role != Role::Pruner => {
                let there = site.body(key);
                name.starts_with("backups/") && there.is_some_and(|there| is_revoked(&there))
            }
            _ => false,
        }
    }
}

fn is_revoked(body: &[u8]) -> bool {
    body.starts_with(b"REVOKED")
}

/// Every pack that this prune record names, where it is there.
fn named_by(site: &Site, record: &[u8]) -> Vec<Key> {
    let text = String::from_utf8_lossy(record);
    let packs = site.keys("packs/");
    let is_named = |pack: &Key| text.contains(pack.last_part());
    packs.into_iter().filter(is_named).collect()
}
