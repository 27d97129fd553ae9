//! What hosts were told and what they asked for: held against what a repository holds, at any moment.
//! Every backup that was reported as made and that nobody asked to forget is there, byte for byte. Keeps that to
//! itself: no host can see it.

use crate::repository::given::{Files, read_back, surroundings};
use crate::repository::simulation::site::Site;
use crate::repository::simulation::weather::NOW;
use ccb::model::ids::{BackupId, SessionId};
use ccb::model::units::Period;
use ccb::repository::format::manifest::Manifest;
use ccb::repository::{CheckLevel, ListedBackup, Repository};
use ccb::store::memory::Memory;
use ccb::store::{Backend, Key, Retries, Store};
use jiff::SignedDuration;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

/// What is known of everything that hosts did.
#[derive(Default)]
pub(super) struct Ledger {
    /// What each backup is of, from before it is made.
    contents: Mutex<BTreeMap<BackupId, Files>>,
    /// What hosts saw that may never be.
    wrong: Mutex<Vec<String>>,
    pub(super) counts: Mutex<BTreeMap<&'static str, u64>>,
}

/// What is known of one repository.
#[derive(Default)]
pub(super) struct Promised {
    made: Mutex<BTreeSet<SessionId>>,
    /// Somebody has asked for it; perhaps it came to nothing.
    forgetting: Mutex<BTreeSet<SessionId>>,
    forgotten: Mutex<BTreeSet<SessionId>>,
    /// For how long what was forgotten stays.
    pub(super) trash: Mutex<Option<Period>>,
    /// Locks that hosts hold, by their life.
    holders: Mutex<BTreeMap<u64, Key>>,
    /// Whether anything changed that backups stand on since they were last read.
    has_changed: AtomicBool,
}

impl Ledger {
    pub(super) fn intends(&self, id: BackupId, files: &Files) {
        self.contents.lock().unwrap().insert(id, files.clone());
    }

    pub(super) fn count(&self, what: &'static str, many: u64) {
        *self.counts.lock().unwrap().entry(what).or_default() += many;
    }

    pub(super) fn is_wrong(&self, what: String) {
        self.wrong.lock().unwrap().push(what);
    }

    /// What a backup is of.
    pub(super) fn files(&self, backup: &ListedBackup) -> Files {
        let contents = self.contents.lock().unwrap();
        contents
            .get(&backup.manifest.id)
            .cloned()
            .unwrap_or_default()
    }

    /// What a backup holds must be what it was made of.
    pub(super) fn holds(&self, manifest: &Manifest, files: &Files) -> Result<(), String> {
        let contents = self.contents.lock().unwrap();
        let known = contents.get(&manifest.id);
        let known = known.or_else(|| contents.get(manifest.restored_from.as_ref()?));
        match known {
            Some(known) if known == files => Ok(()),
            Some(_) => Err(format!("backup {} gives other bytes", manifest.id)),
            None => Err(format!("nobody made backup {}", manifest.id)),
        }
    }

    /// One that was brought back holds what the one before did.
    pub(super) fn brought_back(&self, manifest: &Manifest) {
        let mut contents = self.contents.lock().unwrap();
        let before = manifest.restored_from.and_then(|id| contents.get(&id));
        if let Some(files) = before.cloned() {
            contents.insert(manifest.id, files);
        }
    }

    /// Holds everything against what is there now, if that has changed.
    pub(super) async fn check(&self, site: &Site) -> Result<(), String> {
        match site.promised.has_changed.swap(false, Relaxed) {
            true => self.check_all(&site.promised, &site.memory).await,
            false => Ok(()),
        }
    }

    async fn check_all(&self, promised: &Promised, memory: &Memory) -> Result<(), String> {
        let said = |error: ccb::repository::RepositoryError| format!("it can not be read: {error}");
        let repository = open(memory, "look").await;
        let holdings = repository.list().await.map_err(said)?;
        if let Some(first) = holdings.damaged.first() {
            return Err(format!("{} is damaged: {}", first.key, first.cause));
        }
        let reader = repository.reader().await.map_err(said)?;
        let trashed = holdings.trashed.iter().map(|trashed| &trashed.backup);
        for backup in holdings.backups.iter().chain(trashed) {
            let files = read_back(&reader, &backup.manifest).await;
            let files = files.map_err(|e| format!("{} can not be read: {e}", backup.key))?;
            self.holds(&backup.manifest, &files)?;
            self.count("looked through", 1);
            self.brought_back(&backup.manifest);
        }
        let listed = holdings.backups.iter();
        promised.are_kept(&listed.map(|backup| backup.manifest.session).collect())?;
        let trash = *promised.trash.lock().unwrap();
        trash_is_kept(memory, trash).await
    }

    /// What hosts saw.
    pub(super) fn saw(&self) -> Result<(), String> {
        match self.wrong.lock().unwrap().first() {
            Some(wrong) => Err(wrong.clone()),
            None => Ok(()),
        }
    }
}

impl Promised {
    /// Whether it changes what backups stand on.
    pub(super) fn is_touched(&self, key: &Key) {
        let matters = ["backups/", "index/", "packs/", "tombs/"];
        if matters.iter().any(|of| key.as_str().starts_with(of)) {
            self.has_changed.store(true, Relaxed);
        }
    }

    pub(super) fn made(&self, manifest: &Manifest) {
        self.made.lock().unwrap().insert(manifest.session);
    }

    pub(super) fn is_forgetting(&self, manifest: &Manifest) {
        self.forgetting.lock().unwrap().insert(manifest.session);
    }

    pub(super) fn is_forgotten(&self, manifest: &Manifest) {
        self.forgotten.lock().unwrap().insert(manifest.session);
    }

    fn are_kept(&self, listed: &BTreeSet<SessionId>) -> Result<(), String> {
        let forgetting = self.forgetting.lock().unwrap();
        for session in self.made.lock().unwrap().iter() {
            if !listed.contains(session) && !forgetting.contains(session) {
                return Err(format!(
                    "the backup of session {session} was made and is gone"
                ));
            }
        }
        for session in self.forgotten.lock().unwrap().iter() {
            if listed.contains(session) {
                return Err(format!(
                    "the backup of session {session} was forgotten and is there"
                ));
            }
        }
        Ok(())
    }

    /// A host has a lock: nobody else has it, and whoever had one before has lost it by then.
    pub(super) async fn takes_lock(
        &self,
        life: u64,
        lock: &Key,
        memory: &Memory,
    ) -> Result<(), String> {
        let holders: Vec<(u64, Key)> = {
            let mut holders = self.holders.lock().unwrap();
            let others = holders.clone().into_iter().collect();
            holders.insert(life, lock.clone());
            others
        };
        for (other, held) in holders {
            let end = held.as_str().replace("/start", "/end");
            // An old one is removed with its end.
            let has_ended = memory.get(&Key::new(end).unwrap(), None).await.is_ok()
                || memory.get(&held, None).await.is_err();
            if held == *lock || !has_ended {
                return Err(format!("host lives {other} and {life} both have the lock"));
            }
        }
        Ok(())
    }

    /// The lock is given back, or its host is dead.
    pub(super) fn leaves_lock(&self, life: u64) {
        self.holders.lock().unwrap().remove(&life);
    }
}

/// What was forgotten lately can be brought back.
async fn trash_is_kept(memory: &Memory, trash: Option<Period>) -> Result<(), String> {
    let tombs = memory.list("tombs/").await.unwrap();
    let backups = memory.list("backups/").await.unwrap().objects;
    let there: BTreeSet<&str> = backups.iter().map(|meta| meta.key.as_str()).collect();
    for tomb in &tombs.objects {
        let backup = tomb.key.as_str().replacen("tombs/", "backups/", 1);
        let is_kept = trash.is_some_and(|trash| trash.after(tomb.modified) > tombs.server_time);
        if is_kept && !there.contains(backup.as_str()) {
            return Err(format!("{backup} was in the trash and left it too early"));
        }
    }
    Ok(())
}

async fn open(memory: &Memory, seed: &str) -> Repository {
    let store = Store::with_retries(Arc::new(memory.clone()), 4, Retries::NONE);
    Repository::open(store, None, &surroundings(seed))
        .await
        .unwrap()
}

/// When everybody is gone and the time has come, prunes come to an end: nothing is left to do, nothing
/// is left over, and nothing is missing.
pub(super) async fn settles(site: &Site, ledger: &Ledger) -> Result<(), String> {
    let memory = site.memory.fork();
    let repository = open(&memory, "settle").await;
    let mut last = String::new();
    for prune in 0..PRUNES_MAX {
        memory.advance(SignedDuration::from_hours(80));
        let report = match repository.prune(NOW).await {
            Ok(report) => report,
            // What the dead have pinned may have been removed before: first they are ended, and then forgotten.
            Err(error) if prune < STOPPED_MAX => {
                last = error.to_string();
                continue;
            }
            Err(error) => return Err(format!("a prune in peace fails: {error}")),
        };
        let left = [
            report.condemned.count,
            report.deleted.count,
            report.waiting.count,
            report.repacked.count,
            report.emptied.len() as u64,
            memory.list("leases/").await.unwrap().objects.len() as u64,
        ];
        last = format!("{report:?}");
        if left == [0; 6] {
            ledger.check_all(&site.promised, &memory).await?;
            let checked = repository.check(CheckLevel::Full).await;
            let checked = checked.map_err(|error| format!("a check in peace fails: {error}"))?;
            let is_clean = checked.is_clean() && checked.undescribed.count == 0;
            return match is_clean {
                true => Ok(()),
                false => Err(format!("a check finds {checked:?}")),
            };
        }
    }
    Err(format!("prunes do not come to an end: {last}"))
}

const PRUNES_MAX: usize = 8;
/// So many prunes may be stopped by what the dead have pinned.
const STOPPED_MAX: usize = 2;
