//! Records that a host reads or writes, with something else in them: the key of a repository without a cipher
//! is public.

use crate::repository::simulation::site::Site;
use bytes::Bytes;
use ccb::repository::format::config::CipherSuite;
use ccb::repository::format::key::{Keyring, Keys};
use ccb::repository::format::seal::{OpenType, sign};
use ccb::store::Key;
use serde_json::{Value, json};

/// The prune record, with its number and without packs.
pub(super) fn record_of_nothing(site: &Site, key: &Key, record: &Bytes) -> Bytes {
    let mut record = json_of(record);
    record["packs"] = json!([]);
    signed(site, OpenType::Prune, key, &record)
}

/// The prune record, as the first whose number is free.
pub(super) fn record_of_next_number(site: &Site, record: &Bytes) -> (Key, Bytes) {
    let next = site
        .keys("gc/")
        .iter()
        .map(number)
        .max()
        .unwrap_or_default()
        + 1;
    let key = Key::new(format!("gc/{next}")).unwrap();
    let mut record = json_of(record);
    record["number"] = json!(next);
    let record = signed(site, OpenType::Prune, &key, &record);
    (key, record)
}

/// The number of a prune record.
pub(super) fn number(record: &Key) -> u64 {
    record.last_part().parse().unwrap_or_default()
}

/// What a session has seen, without what it has pinned.
pub(super) fn view_without_pins(site: &Site, key: &Key, view: &Bytes) -> Bytes {
    let mut view = json_of(view);
    view["pins"] = json!([]);
    signed(site, OpenType::Lease, key, &view)
}

/// Whether the key of the session is taken that this part of a lease is of.
pub(super) fn has_ended(site: &Site, part: &Key) -> bool {
    fence(site, part).is_some_and(|fence| site.body(&fence).is_some())
}

/// The key that ends the session that this part of a lease is of.
pub(super) fn fence(site: &Site, part: &Key) -> Option<Key> {
    let (lease, _) = part.as_str().rsplit_once('/')?;
    let start = site.body(&Key::new(format!("{lease}/start")).ok()?)?;
    Key::new(json_of(&start)["backup_key"].as_str()?).ok()
}

/// The JSON of a signed object.
pub(super) fn json_of(object: &[u8]) -> Value {
    let line = object.split(|byte| *byte == b'\n').next();
    serde_json::from_slice(line.unwrap_or_default()).unwrap_or_default()
}

fn signed(site: &Site, kind: OpenType, key: &Key, record: &Value) -> Bytes {
    let keys = Keys::new(Keyring::public(), site.id, CipherSuite::None);
    sign(&keys, kind, key.as_str(), record).into()
}
