//! Listings under a broken rule: what the host sees of them.

use crate::repository::simulation::broken::{Broken, Role, Tampering};
use ccb::store::Listing;

impl Tampering {
    pub(super) fn altered(&self, prefix: &str, mut listing: Listing) -> Listing {
        match (self.broken, self.role) {
            (Broken::SeesNoLeases, Role::Pruner) if prefix == "leases/" => listing.objects.clear(),
            (Broken::WaitsForNobody, Role::Pruner) if prefix == "leases/" && self.is_asking() => {
                listing.objects.clear();
            }
            _ => {}
        }
        listing
    }

    /// Whether a prune asks whom it has to wait for: then it has just listed packs. For what is pinned, it
    /// asks after it has listed backups.
    fn is_asking(&self) -> bool {
        self.seen.lock().unwrap().listed == "packs/"
    }
}
