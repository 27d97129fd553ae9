//! The fingerprint of what a plan was made on.

use crate::model::ids::Digest;
use crate::model::inventory::{Inventory, RepositoryFacts};
use jiff::Timestamp;
use serde::Serialize;
use std::io::{BufWriter, Write as _};

/// Fingerprint of what the destinations hold. The moment at which a store was read is not part of it: two
/// looks at the same things give the same digest. Nor is WAL that waits: a server hands it over all the time,
/// and no saved plan gets stale by that.
pub fn inventory_digest(inventory: &Inventory) -> Digest {
    Digest(*Hashing::of(inventory).0.finalize().as_bytes())
}

/// Fingerprint of everything that was seen, but for the moment at which it was.
pub fn seen_digest(inventory: &Inventory) -> Digest {
    let mut into = Hashing::of(inventory);
    for holding in inventory.destinations.values() {
        into.add(&holding.wal);
        into.add(&holding.exports);
    }
    into.add(&inventory.destination_buckets);
    Digest(*into.0.finalize().as_bytes())
}

/// BLAKE3 of JSON, a value a line. Maps are sorted and lists keep their order, so equal values give equal
/// bytes; no line end can stand in a value.
#[derive(Default)]
struct Hashing(blake3::Hasher);

impl Hashing {
    fn of(inventory: &Inventory) -> Self {
        let mut into = Self::default();
        for (name, holding) in &inventory.destinations {
            let repository = holding.repository.clone().map(|facts| RepositoryFacts {
                server_time: Timestamp::UNIX_EPOCH,
                ..facts
            });
            into.add(name);
            into.add(&repository);
            into.add(&holding.coverage);
            into.add(&holding.backups);
            into.add(&holding.trashed);
            into.add(&holding.damaged);
            into.add(&holding.runs);
        }
        if !inventory.sources.is_empty() {
            into.add(&inventory.sources);
        }
        into
    }

    fn add(&mut self, value: &impl Serialize) {
        let mut buffered = BufWriter::with_capacity(64 << 10, &mut self.0);
        serde_json::to_writer(&mut buffered, value)
            .expect("an inventory is plain data with string keys");
        buffered.write_all(b"\n").expect("a hasher takes all");
        buffered.flush().expect("a hasher takes all");
    }
}
