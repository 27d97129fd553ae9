//! Names of objects in a repository, the same on every store (schemas/repository.md#layout). Never
//! reads or writes anything.

use crate::model::ids::{BackupId, ComponentName, Digest, RunId, SessionId, hex, is_name};
use crate::model::wal::{SystemId, WalName};
use crate::repository::format::blob::BlobKind;
use crate::store::Key;
use jiff::Timestamp;

pub(crate) const SLOTS: &str = "keys/";
pub(crate) const PACKS: &str = "packs/";
pub(crate) const INDEX: &str = "index/";
pub(crate) const BACKUPS: &str = "backups/";
pub(crate) const LEASES: &str = "leases/";
pub(crate) const ANNOTATIONS: &str = "annotations/";
pub(crate) const PRUNES: &str = "gc/";
pub(crate) const TOMBS: &str = "tombs/";
pub(crate) const RUNS: &str = "runs/";
pub(crate) const PROBES: &str = "probes/";
pub(crate) const CHECKS: &str = "checks/";
/// Ends of sessions that tidy up and commit no backup. No component is called so.
pub(crate) const REPACKS: &str = "backups/_repack/";
pub(crate) const LOCKS: &str = "locks/";
pub(crate) const WAL: &str = "wal/";
pub(crate) const EXPORTS: &str = "exports/";

/// What stands under the key of a backup whose session was ended by a prune.
pub(crate) const REVOKED: &[u8] = b"REVOKED\n";

fn key(text: String) -> Key {
    Key::new(text).expect("names, ids and numbers make keys")
}

pub(crate) fn config() -> Key {
    key(crate::repository::format::config::CONFIG_KEY.to_owned())
}

/// What a key slot's file is called: its name, and after a rotation of keys the generation, which is the
/// newest epoch that it holds. 0: the slot was not made by a rotation, and holds any.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SlotName {
    pub(crate) name: String,
    pub(crate) generation: u16,
}

impl SlotName {
    /// The slot that was added under this name; nothing when it is no name.
    pub(crate) fn added(name: &str) -> Option<Self> {
        is_name(name).then(|| Self {
            name: name.to_owned(),
            generation: 0,
        })
    }

    /// The same slot in another generation.
    pub(crate) fn in_generation(&self, generation: u16) -> Self {
        let name = self.name.clone();
        Self { name, generation }
    }

    /// How it is written: `main`, `main.2`. The slot's own text says the same.
    pub(crate) fn stem(&self) -> String {
        match self.generation {
            0 => self.name.clone(),
            n => format!("{}.{n}", self.name),
        }
    }

    fn parse(stem: &str) -> Option<Self> {
        let (name, generation) = match stem.split_once('.') {
            Some((name, generation)) => (name, generation.parse().ok()?),
            None => (stem, 0),
        };
        let slot = Self::added(name)?.in_generation(generation);
        (slot.stem() == stem).then_some(slot)
    }
}

pub(crate) fn slot(slot: &SlotName) -> Key {
    key(format!("{SLOTS}{}.json", slot.stem()))
}

/// The slot that is stored under `key`.
pub(crate) fn slot_name(key: &Key) -> Option<SlotName> {
    SlotName::parse(key.as_str().strip_prefix(SLOTS)?.strip_suffix(".json")?)
}

/// Under this key it stands that slots of generation `epoch` count.
pub(crate) fn epoch(epoch: u16) -> Key {
    key(format!("{SLOTS}epoch-{epoch}"))
}

/// The epoch whose record is stored under `key`.
pub(crate) fn epoch_number(key: &Key) -> Option<u16> {
    let number = key.as_str().strip_prefix(SLOTS)?.strip_prefix("epoch-")?;
    let number = number.parse().ok()?;
    (epoch(number) == *key).then_some(number)
}

pub(crate) fn pack(kind: BlobKind, name: &Digest) -> Key {
    let kind = match kind {
        BlobKind::Data => 'd',
        BlobKind::Tree => 'm',
    };
    key(format!("{PACKS}{kind}/{}/{name}", hex(&name.0[..1])))
}

/// The pack that is stored under `key`.
pub(crate) fn pack_name(key: &Key) -> Option<Digest> {
    key.last_part().parse().ok()
}

/// The kind of the pack that is stored under `key`.
pub(crate) fn pack_kind(key: &Key) -> Option<BlobKind> {
    let rest = key.as_str().strip_prefix(PACKS)?;
    match rest.split_once('/')?.0 {
        "d" => Some(BlobKind::Data),
        "m" => Some(BlobKind::Tree),
        _ => None,
    }
}

pub(crate) fn segment(name: &Digest) -> Key {
    key(format!("{INDEX}{name}"))
}

/// The backup's key sorts by time within its component, and names the session, of which it is the fence.
pub(crate) fn backup(component: &ComponentName, started: Timestamp, session: &SessionId) -> Key {
    key(format!(
        "{BACKUPS}{component}/{}-{session}",
        instant(started)
    ))
}

/// What ends a session that moves blobs to other packs.
pub(crate) fn repack(started: Timestamp, session: &SessionId) -> Key {
    key(format!("{REPACKS}{}-{session}", instant(started)))
}

/// A new object whose place tells when it was written.
pub(crate) fn noted(prefix: &str, at: Timestamp, random: [u8; 8]) -> Key {
    key(format!("{prefix}{}-{}", instant(at), hex(&random)))
}

/// The tomb of the backup that is stored under `backup`.
pub(crate) fn tomb(backup: &Key) -> Key {
    let name = backup.as_str().strip_prefix(BACKUPS);
    key(format!("{TOMBS}{}", name.unwrap_or(backup.as_str())))
}

/// The key of the backup that the tomb under `tomb` is for.
pub(crate) fn backup_of_tomb(tomb: &Key) -> Option<Key> {
    Key::new(format!("{BACKUPS}{}", tomb.as_str().strip_prefix(TOMBS)?)).ok()
}

pub(crate) fn lease(session: &SessionId, part: &str) -> Key {
    key(format!("{LEASES}{session}/{part}"))
}

pub(crate) fn prune(number: u64) -> Key {
    key(format!("{PRUNES}{number}"))
}

/// Unlike a number, a random end needs no listing, and two writers never want the same.
pub(crate) fn annotation(backup: &BackupId, at: Timestamp, random: [u8; 8]) -> Key {
    noted(&format!("{ANNOTATIONS}{backup}/"), at, random)
}

/// The backup that the annotation under `key` is about.
pub(crate) fn annotated(key: &Key) -> Option<BackupId> {
    let rest = key.as_str().strip_prefix(ANNOTATIONS)?;
    rest.split_once('/')?.0.parse().ok()
}

pub(crate) fn run(started: Timestamp, run: &RunId) -> Key {
    key(format!("{RUNS}{}-{run}", instant(started)))
}

/// Every WAL file of a component starts so.
pub(crate) fn wal_of(component: &ComponentName) -> String {
    format!("{WAL}{component}/")
}

pub(crate) fn wal(component: &ComponentName, system: SystemId, name: &WalName) -> Key {
    let timeline = name.timeline();
    key(format!("{WAL}{component}/{system}/{timeline:08X}/{name}"))
}

/// The file that is stored under `key`.
pub(crate) fn wal_name(key: &Key) -> Option<(ComponentName, SystemId, WalName)> {
    let mut parts = key.as_str().strip_prefix(WAL)?.split('/');
    let component = parts.next()?.parse().ok()?;
    let (system, _, name) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
    let name = name.parse().ok()?;
    (*key == wal(&component, system, &name)).then_some((component, system, name))
}

/// The record of a component's cluster, counted from 1.
pub(crate) fn wal_cluster(component: &ComponentName, number: u32) -> Key {
    key(format!("{WAL}{component}/clusters/{number}"))
}

pub(crate) fn lock(number: u64, part: &str) -> Key {
    key(format!("{LOCKS}{number}/{part}"))
}

/// The number of the lock that the object under `key` is a part of.
pub(crate) fn lock_number(key: &Key) -> Option<u64> {
    let (number, _) = key.as_str().strip_prefix(LOCKS)?.split_once('/')?;
    number.parse().ok()
}

/// `20260131T235959Z`: sorts as time does.
fn instant(at: Timestamp) -> String {
    at.strftime("%Y%m%dT%H%M%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use crate::model::ids::SessionId;
    use crate::repository::layout::{self, SlotName};

    #[test]
    fn a_slot_has_one_spelling() {
        for (stem, generation) in [("main", 0), ("main.2", 2), ("ci-host.65535", 65_535)] {
            let slot = SlotName::parse(stem).unwrap();
            assert_eq!((slot.generation, slot.stem().as_str()), (generation, stem));
            assert_eq!(layout::slot_name(&layout::slot(&slot)), Some(slot));
        }
        for stem in [
            "",
            "Main",
            "main.",
            "main.0",
            "main.02",
            "main.2.3",
            "main.65536",
            ".2",
        ] {
            assert_eq!(SlotName::parse(stem), None, "{stem}");
        }
        assert_eq!(layout::epoch_number(&layout::epoch(12)), Some(12));
    }

    #[test]
    fn nothing_is_exported_to_where_a_repository_has_its_objects() {
        use crate::model::strategy::RESERVED;
        let own = [
            layout::SLOTS,
            layout::PACKS,
            layout::INDEX,
            layout::BACKUPS,
            layout::LEASES,
            layout::ANNOTATIONS,
            layout::PRUNES,
            layout::TOMBS,
            layout::RUNS,
            layout::PROBES,
            layout::CHECKS,
            layout::LOCKS,
            layout::WAL,
            layout::EXPORTS,
            layout::config().as_str(),
        ]
        .map(|prefix| prefix.trim_end_matches('/').to_owned());
        let mut own = own.to_vec();
        own.sort();
        assert_eq!(own, RESERVED);
    }

    #[test]
    fn a_tomb_names_its_backup_and_keys_sort_by_time() {
        let component = "db".parse().unwrap();
        let at =
            |text: &str| layout::backup(&component, text.parse().unwrap(), &SessionId([7; 16]));
        let (old, new) = (at("2025-12-31T23:59:59Z"), at("2026-01-01T00:00:00Z"));
        assert!(old < new);
        assert_eq!(
            old.as_str(),
            format!("backups/db/20251231T235959Z-{}", "07".repeat(16))
        );
        assert_eq!(layout::backup_of_tomb(&layout::tomb(&old)), Some(old));
    }
}
