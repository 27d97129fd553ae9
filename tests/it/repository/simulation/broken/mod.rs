//! Each rule that the protocol stands on, broken from outside: a store that answers one host as if the host
//! did not keep the rule. Every one of them must be found out by the simulation, so that it can fail. Where nothing
//! was lost although a rule was broken, another one stands behind it, or it takes more to meet than schedules bring:
//!
//! | broken | what stands behind it |
//! |---|---|
//! | `IndexBeforePacks` | an entry counts only when its pack is listed; checks tell of the pack all the same |
//! | `ParentMayBeForgotten` | what is in the trash is needed too; a parent whose manifest is gone is none |
//! | `SilentOnesGoOn` | who seems dead is ended, so that it can not commit (`CommitsAfterItsEnd`) |
//! | `CondemnsUnread` | what is in condemned packs only stays (`RemovesWhatIsNeeded`) |
//! | `NoGrace` | who does not know a record is waited for or ended, whatever its age (`WaitsForNobody`) |
//! | pins: those of `SeesNoPins` to `LeasesBeforeBackups`, `PinsAfterLooking`, `ParentNotLookedFor` | new references are to packs that the session's own `seen` protects; a pin counts where a parent was in condemned packs only before the session began, and repacking moves that first |
//! | `StartAfterLog`, `TrashNotLookedFor`, `EndsForAWhile`, `SurveysBeforeAsking`, `CountsOnCondemned`, `RecordsGoFirst`, `NewestRecordGoes` | nothing that is known: longer searches are to find them |
//!
//! Not broken here: what guards against damage (lengths of packs, leases and manifests that can not be read, surveys
//! that take hours) and what only spares work (packs of running sessions are not condemned).

mod changed;
mod forged;
mod shown;

use crate::repository::simulation::site::{Effect, Site};
use bytes::Bytes;
use ccb::store::{Key, Kind, Listing, StoreError};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, atomic::AtomicI64};

/// Which rule is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// None.
    Nothing,
    /// Of several creators of a key one succeeds: all do, the last one's bytes stay.
    CreatesOver,
    /// A writer's packs are there before its manifest.
    ManifestBeforePacks,
    /// Its index is.
    ManifestBeforeIndex,
    /// Its packs are there before its index.
    IndexBeforePacks,
    /// A session that was ended can not commit.
    CommitsAfterItsEnd,
    /// Who finds its key taken looks by whom.
    TakenForOwn,
    /// What is only in condemned packs counts as absent for who writes.
    RefersToCondemned,
    /// Who has seen a record has read the one before.
    GapInLog,
    /// A lease is there before the log of prunes is read.
    LeasesAfterReading,
    /// A session is known from before it reads the log, not only from when it says what it has seen.
    StartAfterLog,
    /// A parent, or what is brought back, is pinned before it is looked for.
    PinsAfterLooking,
    /// A parent is looked for when it is pinned.
    ParentNotLookedFor,
    /// A parent that was forgotten is not used.
    ParentMayBeForgotten,
    /// What is brought back is looked for when it is pinned.
    TrashNotLookedFor,
    /// Who gave no sign of life lately stores nothing.
    SilentOnesGoOn,
    /// Names of packs never come twice.
    NamesComeTwice,
    /// A prune asks who is working: neither sessions nor pins are seen.
    SeesNoLeases,
    /// What sessions pin is needed.
    SeesNoPins,
    /// Also what those have pinned that have ended since backups were listed.
    SeesNoPinsOfEnded,
    /// Those that have ended keep their leases for a while.
    LeasesGoAtOnce,
    /// A survey lists backups before leases.
    LeasesBeforeBackups,
    /// Whose pins do not count had ended before backups were listed.
    EndsAfterBackups,
    /// It waits for sessions that do not know its record.
    WaitsForNobody,
    /// It ends those that are dead.
    EndsNobody,
    /// Whom it has ended stays so.
    EndsForAWhile,
    /// What is needed is found out when sessions were asked.
    SurveysBeforeAsking,
    /// Condemned packs that are needed after all stay.
    RemovesWhatIsNeeded,
    /// What is in condemned packs only is needed there, in whichever.
    CountsOnCondemned,
    /// A prune condemns, and another one removes, after asking.
    CondemnsAndRemoves,
    /// Who writes a record has read all before it.
    CondemnsUnread,
    /// A record stays at least as long as its packs.
    RecordsGoFirst,
    /// The newest record stays.
    NewestRecordGoes,
    /// Condemned packs have a time of grace.
    NoGrace,
    /// All ages are by the store's clock.
    OwnClock,
    /// What was forgotten can be brought back for a while.
    TrashWithoutPeriod,
    /// The lock of runs is created once.
    LocksOver,
    /// Who takes a lock over ends the one before.
    LocksNotEnded,
}

/// What a host is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Writer,
    Undeleter,
    Copier,
    Pruner,
    Forgetter,
    Reader,
}

/// How one host is answered by one store.
pub(super) struct Tampering {
    pub(super) broken: Broken,
    pub(super) role: Role,
    /// The host's life.
    pub(super) life: u64,
    /// How far the host's clock is off.
    pub(super) skew_seconds: Arc<AtomicI64>,
    pub(super) seen: Mutex<Seen>,
}

/// What this host has seen and done so far.
#[derive(Default)]
pub(super) struct Seen {
    /// What it listed last.
    listed: String,
    held_back: Vec<Effect>,
    /// What was there at some time before.
    before: BTreeSet<Key>,
    is_sweeping: bool,
    /// How many listings of backups are answered before one shows less.
    passing: Option<u32>,
}

impl Tampering {
    /// What is carried out when the host asks for `effect`, one after the other, others in between.
    pub(super) fn instead_of(&self, site: &Site, effect: Effect) -> Vec<Effect> {
        match effect {
            Effect::Put(key, body, how) => self.instead_of_put(site, (key, body, how)),
            Effect::Delete(key) => self.instead_of_delete(site, key),
        }
    }

    /// What is shown of a listing.
    pub(super) fn shown(&self, site: &Site, prefix: &str, listing: Listing) -> Listing {
        let shown = self.altered(site, prefix, listing);
        self.seen.lock().unwrap().listed = prefix.to_owned();
        shown
    }

    /// What is given of an object.
    pub(super) fn given(&self, site: &Site, key: &Key, body: Bytes) -> Bytes {
        let is_of = |prefix: &str| key.as_str().starts_with(prefix);
        match (self.broken, self.role) {
            (Broken::RefersToCondemned, Role::Writer | Role::Copier) if is_of("gc/") => {
                forged::record_of_nothing(site, key, &body)
            }
            (Broken::CountsOnCondemned, Role::Pruner) if is_of("gc/") && self.passes_over(key) => {
                forged::record_of_nothing(site, key, &body)
            }
            (Broken::SeesNoPins, Role::Pruner) if key.last_part() == "view" => {
                forged::view_without_pins(site, key, &body)
            }
            (Broken::SeesNoPinsOfEnded, Role::Pruner)
                if key.last_part() == "view" && forged::has_ended(site, key) =>
            {
                forged::view_without_pins(site, key, &body)
            }
            _ => body,
        }
    }

    /// What the host hears of its call.
    pub(super) fn answered(
        &self,
        key: &Key,
        outcome: Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        match outcome {
            Err(error)
                if self.broken == Broken::TakenForOwn
                    && self.role != Role::Pruner
                    && error.kind == Kind::AlreadyExists
                    && key.as_str().starts_with("backups/") =>
            {
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// Random bytes, where they are salts, when names may come twice.
    pub(super) fn salts(broken: Broken, out: &mut [u8]) {
        if broken == Broken::NamesComeTwice && out.len() == SALT_LEN {
            out.fill(0);
        }
    }

    /// Whether a prune that is about to sweep does not see this record: half of them, and others the other half.
    fn passes_over(&self, record: &Key) -> bool {
        let is_other_half = (forged::number(record) + self.life).is_multiple_of(2);
        self.seen.lock().unwrap().is_sweeping && is_other_half
    }
}

/// Other random numbers are shorter.
const SALT_LEN: usize = 32;
