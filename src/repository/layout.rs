//! Names of objects in a repository, the same on every store (schemas/repository.md#layout). Never
//! reads or writes anything.

use crate::model::ids::{BackupId, ComponentName, Digest, RunId, SessionId, hex};
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
pub(crate) const LOCKS: &str = "locks/";

/// What stands under the key of a backup whose session was ended by a prune.
pub(crate) const REVOKED: &[u8] = b"REVOKED\n";

fn key(text: String) -> Key {
    Key::new(text).expect("names, ids and numbers make keys")
}

pub(crate) fn config() -> Key {
    key(crate::repository::format::config::CONFIG_KEY.to_owned())
}

pub(crate) fn slot(name: &str) -> Option<Key> {
    Key::new(format!("{SLOTS}{name}.json")).ok()
}

/// The name of the slot that is stored under `key`.
pub(crate) fn slot_name(key: &Key) -> Option<&str> {
    key.as_str().strip_prefix(SLOTS)?.strip_suffix(".json")
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
    key(format!(
        "{ANNOTATIONS}{backup}/{}-{}",
        instant(at),
        hex(&random)
    ))
}

/// The backup that the annotation under `key` is about.
pub(crate) fn annotated(key: &Key) -> Option<BackupId> {
    let rest = key.as_str().strip_prefix(ANNOTATIONS)?;
    rest.split_once('/')?.0.parse().ok()
}

pub(crate) fn run(started: Timestamp, run: &RunId) -> Key {
    key(format!("{RUNS}{}-{run}", instant(started)))
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
    use crate::repository::layout;

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
