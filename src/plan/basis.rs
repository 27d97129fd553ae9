//! The fingerprint of what a plan was made on.

use crate::model::ids::Digest;
use crate::model::inventory::Inventory;
use jiff::Timestamp;

/// Fingerprint of what the destinations hold. The moment at which a store was read is not part of it: two
/// looks at the same things give the same digest. Nor is WAL that waits: a server hands it over all the time,
/// and no saved plan gets stale by that.
pub fn inventory_digest(inventory: &Inventory) -> Digest {
    let mut held = inventory.clone();
    for holding in held.destinations.values_mut() {
        holding.wal.clear();
        if let Some(repository) = &mut holding.repository {
            repository.server_time = Timestamp::UNIX_EPOCH;
        }
    }
    // Maps are sorted and lists keep their order, so equal values give equal bytes.
    Digest::of(&serde_json::to_vec(&held).expect("an inventory is plain data with string keys"))
}
