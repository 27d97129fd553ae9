//! Listings under a broken rule: what the host sees of them.

use crate::repository::simulation::broken::{Broken, Role, Tampering, forged};
use crate::repository::simulation::site::Site;
use ccb::store::{Key, Listing, Meta};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Relaxed;

impl Tampering {
    pub(super) fn altered(&self, site: &Site, prefix: &str, listing: Listing) -> Listing {
        match self.role {
            Role::Pruner => self.shown_to_prune(site, prefix, listing),
            Role::Writer | Role::Copier | Role::Undeleter => self.shown_to_session(prefix, listing),
            Role::Forgetter | Role::Reader => listing,
        }
    }

    fn shown_to_prune(&self, site: &Site, prefix: &str, mut listing: Listing) -> Listing {
        let mut seen = self.seen.lock().unwrap();
        // A prune asks whom it has to wait for when it has just listed packs. For what is pinned, it asks after it has
        // listed backups.
        let is_asking = prefix == "leases/" && seen.listed == "packs/";
        let is_looking = prefix == "leases/" && !is_asking;
        if is_asking || prefix == "index/" {
            seen.is_sweeping = is_asking;
        }
        match self.broken {
            Broken::SeesNoLeases if prefix == "leases/" => listing.objects.clear(),
            Broken::WaitsForNobody if is_asking => listing.objects.clear(),
            Broken::LeasesBeforeBackups if prefix == "backups/" => {
                seen.before = there(site, "leases/")
            }
            Broken::LeasesBeforeBackups if is_looking => only(&mut listing, &seen.before),
            // A survey asks who has ended, and then for backups; before it, a prune that sweeps asks once more.
            Broken::EndsAfterBackups if is_asking => {
                (seen.before, seen.passing) = (there(site, "backups/"), Some(2));
            }
            Broken::EndsAfterBackups if prefix == "leases/" => seen.passing = None,
            Broken::EndsAfterBackups if prefix == "gc/" && seen.listed != "leases/" => {
                (seen.before, seen.passing) = (there(site, "backups/"), Some(1));
            }
            Broken::EndsAfterBackups if prefix == "backups/" => match seen.passing {
                Some(0) => only(&mut listing, &seen.before),
                passing => seen.passing = passing.map(|left| left - 1),
            },
            Broken::SurveysBeforeAsking if is_asking => seen.before = there(site, "backups/"),
            // First it looks which sessions have ended.
            Broken::SurveysBeforeAsking
                if prefix == "backups/" && seen.is_sweeping && seen.listed != "leases/" =>
            {
                only(&mut listing, &seen.before);
            }
            Broken::NoGrace if prefix == "gc/" => all_are_old(&mut listing),
            Broken::TrashWithoutPeriod if prefix == "tombs/" => all_are_old(&mut listing),
            Broken::OwnClock => {
                let skew = SignedDuration::from_secs(self.skew_seconds.load(Relaxed));
                listing.server_time = listing.server_time.checked_add(skew).unwrap();
            }
            _ => {}
        }
        listing
    }

    fn shown_to_session(&self, prefix: &str, mut listing: Listing) -> Listing {
        let is_one = |of: &str| prefix.starts_with(of) && !prefix.ends_with('/');
        match (self.broken, self.role) {
            (Broken::GapInLog, _) if prefix == "gc/" && listing.objects.len() > 1 => {
                listing
                    .objects
                    .sort_by_key(|meta| forged::number(&meta.key));
                let last = listing.objects.pop();
                listing.objects.pop();
                listing.objects.extend(last);
            }
            (Broken::ParentNotLookedFor, Role::Writer)
            | (Broken::TrashNotLookedFor, Role::Undeleter)
                if is_one("backups/") && listing.objects.is_empty() =>
            {
                listing.objects.push(Meta {
                    key: Key::new(prefix).unwrap(),
                    size: 1,
                    modified: listing.server_time,
                });
            }
            (Broken::ParentNotLookedFor | Broken::ParentMayBeForgotten, Role::Writer)
                if is_one("tombs/") =>
            {
                listing.objects.clear();
            }
            _ => {}
        }
        listing
    }
}

fn there(site: &Site, prefix: &str) -> BTreeSet<Key> {
    site.keys(prefix).into_iter().collect()
}

fn only(listing: &mut Listing, keys: &BTreeSet<Key>) {
    listing.objects.retain(|meta| keys.contains(&meta.key));
}

fn all_are_old(listing: &mut Listing) {
    for meta in &mut listing.objects {
        meta.modified = Timestamp::UNIX_EPOCH;
    }
}
