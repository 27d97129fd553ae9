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
    let keys = Keys::new(Keyring::public(), site.id, CipherSuite::None);
    sign(&keys, OpenType::Prune, key.as_str(), &record).into()
}

/// The JSON of a signed object.
pub(super) fn json_of(object: &[u8]) -> Value {
    let line = object.split(|byte| *byte == b'\n').next();
    serde_json::from_slice(line.unwrap_or_default()).unwrap_or_default()
}
