//! Listings under a broken rule: what the host sees of them.

use crate::repository::simulation::broken::{Broken, Role, Tampering, forged};
use crate::repository::simulation::site::Site;
use ccb::store::{Key, Listing};
use std::collections::BTreeSet;

impl Tampering {
    pub(super) fn altered(&self, site: &Site, prefix: &str, mut listing: Listing) -> Listing {
        match (self.broken, self.role) {
            (Broken::SeesNoLeases, Role::Pruner) if prefix == "leases/" => listing.objects.clear(),
            (Broken::WaitsForNobody, Role::Pruner) if prefix == "leases/" && self.is_asking() => {
                listing.objects.clear();
            }
            (Broken::SeesNoPins, Role::Pruner) if prefix == "leases/" && !self.is_asking() => {
                listing.objects.clear();
            }
            (Broken::SeesNoPinsOfEnded, Role::Pruner)
                if prefix == "leases/" && !self.is_asking() =>
            {
                let ended = ended(site);
                listing
                    .objects
                    .retain(|meta| !ended.contains(session_of(&meta.key)));
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

fn session_of(lease: &Key) -> &str {
    lease.as_str().split('/').nth(1).unwrap_or_default()
}

/// Sessions whose key is taken.
fn ended(site: &Site) -> BTreeSet<String> {
    let mut ended = BTreeSet::new();
    let taken = site.keys("backups/");
    for lease in site.keys("leases/") {
        if lease.last_part() != "start" {
            continue;
        }
        let start = forged::json_of(&site.body(&lease).unwrap_or_default());
        let key = start["backup_key"].as_str().unwrap_or_default();
        if taken.iter().any(|taken| taken.as_str() == key) {
            ended.insert(session_of(&lease).to_owned());
        }
    }
    ended
}
