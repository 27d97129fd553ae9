//! What hosts do: backups of files and of streams, forgetting and bringing back, copies, prunes, restores,
//! all by the program's own code. Says what came of it to the ledger. A host that was disturbed may fail
//! in any clean way; one that was not must get done what it came for.

use crate::repository::given::{
    Files, copied, draft, files, noise, read_back, stream, walk_since, write,
};
use crate::repository::simulation::broken::Role;
use crate::repository::simulation::calls::{Calls, Life};
use crate::repository::simulation::dice::Dice;
use crate::repository::simulation::ledger::Ledger;
use crate::repository::simulation::site::Site;
use ccb::model::holder::{Holder, ProcessMark};
use ccb::model::ids::{BackupId, RunId};
use ccb::model::records::{Shape, Version};
use ccb::model::tree::Previous;
use ccb::repository::format::manifest::Manifest;
use ccb::repository::{Attempt, Commit, ListedBackup, PruneRequest, Repository, RepositoryError};
use std::io::Cursor;
use std::sync::{Arc, atomic::Ordering::Relaxed};

/// Different contents that files can have: few, so that backups share blobs.
const CONTENTS: u64 = 10;

/// Where a database has something that changes from day to day, and how often that is so far apart: long enough
/// for a day to be stored against another one.
const ROWS: usize = 20;
const ROW_LEN_BYTES: usize = 16 << 10;
/// What each of them can be: few, so that days that do not stand on each other share blobs.
const VERSIONS: u64 = 4;

const DUMP: &str = "dump";

/// What a host comes for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    BackUp,
    BackUpStream,
    BackUpLocked,
    Forget,
    Undelete,
    Copy,
    Prune,
    Read,
}

impl Work {
    /// Of a hundred, `prunes` prune.
    pub(super) fn any(dice: &mut Dice, prunes: u64) -> Self {
        if dice.roll(100) < prunes {
            return Self::Prune;
        }
        match dice.roll(18) {
            0..4 => Self::BackUp,
            4..7 => Self::BackUpStream,
            7..9 => Self::BackUpLocked,
            9..13 => Self::Forget,
            13..15 => Self::Undelete,
            15..17 => Self::Copy,
            _ => Self::Read,
        }
    }

    pub(super) fn role(self) -> Role {
        match self {
            Self::BackUp | Self::BackUpStream | Self::BackUpLocked => Role::Writer,
            Self::Undelete => Role::Undeleter,
            Self::Copy => Role::Copier,
            Self::Prune => Role::Pruner,
            Self::Forget => Role::Forgetter,
            Self::Read => Role::Reader,
        }
    }
}

/// A repository, as one host sees it, and what is known of it.
pub(super) struct Place {
    pub(super) repository: Repository,
    /// What is really there.
    pub(super) site: Site,
}

/// One life of a host.
pub(super) struct Host {
    pub(super) life: Arc<Life>,
    pub(super) calls: Calls,
    pub(super) ledger: Arc<Ledger>,
    /// Where it works.
    pub(super) here: Place,
    /// Where it copies from.
    pub(super) elsewhere: Place,
    pub(super) dice: Dice,
    pub(super) prune: PruneRequest,
    /// Whether nobody is in a hurry, so that whoever is not disturbed succeeds.
    pub(super) is_patient: bool,
}

impl Host {
    pub(super) async fn work(mut self, work: Work) {
        let done = match work {
            Work::BackUp => self.back_up().await,
            Work::BackUpStream => self.back_up_stream().await,
            Work::BackUpLocked => self.back_up_locked().await,
            Work::Forget => self.forget().await,
            Work::Undelete => self.undelete().await,
            Work::Copy => self.copy().await,
            Work::Prune => self.forget_and_prune().await,
            Work::Read => self.read().await,
        };
        let Err(error) = done else { return };
        self.ledger.count("failed", 1);
        if self.is_patient && !self.life.is_disturbed.load(Relaxed) {
            let life = self.life.number;
            let what = format!("undisturbed, host life {life} fails to {work:?}: {error}");
            self.ledger.is_wrong(what);
        }
    }

    /// A backup's id, told to the ledger together with what it is of.
    fn id_of(&mut self, files: &Files) -> BackupId {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.dice.roll(u64::MAX).to_be_bytes());
        id[8..].copy_from_slice(&self.life.number.to_be_bytes());
        self.ledger.intends(BackupId(id), files);
        BackupId(id)
    }

    /// It reads what it backs up, or does something else, while others go on.
    async fn dawdle(&mut self) {
        let turns = self.dice.any(&[0, 0, 10, 40, 120]);
        if turns > 0 {
            self.calls.dawdle(turns).await;
        }
    }

    /// Each has a length of its own: by that a file is taken for unchanged.
    fn content(&mut self) -> Vec<u8> {
        let which = self.dice.roll(CONTENTS);
        noise(&which.to_string(), 2000 + which as usize)
    }

    async fn back_up(&mut self) -> Result<(), RepositoryError> {
        let held = self.here.repository.list().await?.backups;
        let has_parent = !self.dice.once_in(4);
        let parent = has_parent.then(|| self.dice.pick(&held)).flatten();
        let mut tree = files(&[("a", self.content())]);
        for name in ["b", "directory/c", "directory/d"] {
            if self.dice.once_in(2) {
                tree.insert(name.to_owned(), self.content());
            }
        }
        // Some of it is as it was.
        for (name, was) in parent.map_or_else(Files::new, |parent| self.ledger.files(parent)) {
            if self.dice.once_in(2) {
                tree.insert(name, was);
            }
        }
        let mut mine = draft("files");
        mine.id = self.id_of(&tree);
        self.dawdle().await;
        let mut session = self.here.repository.begin(mine, parent).await?;
        self.dawdle().await;
        let (previous, walked) = (session.parent_tree(), tree);
        let walk = tokio::task::spawn_blocking(move || {
            let previous = previous.map(|tree| Box::new(tree) as Box<dyn Previous>);
            walk_since(&walked, previous)
        });
        write(&mut session, walk.await.unwrap()).await?;
        self.dawdle().await;
        let manifest = session.commit(Commit::default()).await?;
        self.here.site.promised.made(&manifest);
        self.ledger.count("backed up", 1);
        Ok(())
    }

    /// A day of a database, stored against another one, which may leave meanwhile.
    async fn back_up_stream(&mut self) -> Result<(), RepositoryError> {
        let mut held = self.here.repository.list().await?.backups;
        held.retain(|backup| backup.manifest.shape == Shape::Stream);
        let previous = self.dice.pick(&held).cloned();
        let bytes = self.day_after(previous.as_ref());
        let mut mine = draft("database");
        mine.id = self.id_of(&files(&[(DUMP, bytes.clone())]));
        let mut session = self.here.repository.begin(mine, None).await?;
        if let Some(previous) = previous {
            session.stand_on(previous);
        }
        self.dawdle().await;
        let walk = stream(DUMP, move || Ok(Box::new(Cursor::new(bytes))));
        session.write_tree(walk, Arc::new(())).await?;
        self.dawdle().await;
        let manifest = session.commit(Commit::default()).await?;
        self.here.site.promised.made(&manifest);
        self.ledger.count("streamed", 1);
        self.ledger.count("deltas stored", has_deltas(&manifest));
        Ok(())
    }

    /// A few rows all over it are others than the day before.
    fn day_after(&mut self, before: Option<&ListedBackup>) -> Vec<u8> {
        let before = before.and_then(|before| self.ledger.files(before).remove(DUMP));
        let mut day = before.unwrap_or_else(|| noise("database", ROWS * ROW_LEN_BYTES));
        for row in day.chunks_exact_mut(ROW_LEN_BYTES) {
            if self.dice.once_in(3) {
                row[..8].copy_from_slice(&self.dice.roll(VERSIONS).to_be_bytes());
            }
        }
        day
    }

    /// As a run does it: with the lock, which it may lose meanwhile.
    async fn back_up_locked(&mut self) -> Result<(), RepositoryError> {
        let holder = self.holder();
        let attempt = self.here.repository.try_lock(&holder, &|_| false).await;
        let lock = match attempt? {
            Attempt::Held(_) => return Ok(()),
            Attempt::Taken(lock) => lock,
        };
        let number = self.life.number;
        let key = self.life.lock.lock().unwrap().clone().unwrap();
        let Site {
            promised, memory, ..
        } = &self.here.site;
        if let Err(wrong) = promised.takes_lock(number, &key, memory).await {
            self.ledger.is_wrong(wrong);
        }
        self.ledger.count("locked", 1);
        let mut lost = lock.lost();
        let done = tokio::select! {
            biased;
            done = self.back_up() => done,
            _ = lost.changed() => Ok(()),
        };
        self.here.site.promised.leaves_lock(number);
        lock.release().await?;
        done
    }

    fn holder(&self) -> Holder {
        Holder {
            v: Version,
            run: RunId([7; 16]),
            plan: "shop / production".to_owned(),
            user: "ana".to_owned(),
            host: format!("host {}", self.life.number),
            process: ProcessMark {
                pid: 1,
                boot: String::new(),
                namespace: String::new(),
                started: 0,
            },
            since: "2026-01-01T00:00:00Z".parse().unwrap(),
        }
    }

    /// Most of what is there, so that new backups do not only find what old ones keep.
    async fn forget(&mut self) -> Result<(), RepositoryError> {
        let held = self.here.repository.list().await?.backups;
        for one in held.iter().filter(|_| !self.dice.once_in(4)) {
            self.here.site.promised.is_forgetting(&one.manifest);
            let why = self.here.repository.forget(one, "simulated", None);
            why.await?;
            self.here.site.promised.is_forgotten(&one.manifest);
            self.ledger.count("forgotten", 1);
        }
        Ok(())
    }

    async fn undelete(&mut self) -> Result<(), RepositoryError> {
        let trashed = self.here.repository.list().await?.trashed;
        let Some(one) = self.dice.pick(&trashed) else {
            return Ok(());
        };
        self.dawdle().await;
        let run = RunId([4; 16]);
        match self.here.repository.undelete(one, run).await {
            // A prune has emptied the trash meanwhile.
            Err(RepositoryError::Gone { .. }) => Ok(()),
            brought => {
                let manifest = brought?;
                self.ledger.brought_back(&manifest);
                self.here.site.promised.made(&manifest);
                self.ledger.count("brought back", 1);
                Ok(())
            }
        }
    }

    async fn copy(&mut self) -> Result<(), RepositoryError> {
        let held = self.elsewhere.repository.list().await?.backups;
        let Some(one) = self.dice.pick(&held) else {
            return Ok(());
        };
        self.dawdle().await;
        let (from, to) = (&self.elsewhere, &self.here);
        match copied(&from.repository, one, &to.repository).await {
            // It was forgotten, and the trash was emptied, before it was pinned.
            Err(RepositoryError::Gone { .. }) => Ok(()),
            copied => {
                let manifest = copied?;
                to.site.promised.made(&manifest);
                self.ledger.count("copied", 1);
                self.ledger.count("deltas copied", has_deltas(&manifest));
                Ok(())
            }
        }
    }

    /// As a run does it, or only what is left to do of another one.
    async fn forget_and_prune(&mut self) -> Result<(), RepositoryError> {
        if self.dice.once_in(2) {
            self.forget().await?;
        }
        self.prune().await
    }

    async fn prune(&mut self) -> Result<(), RepositoryError> {
        let report = self.here.repository.prune(self.prune).await?;
        self.ledger.count("pruned", 1);
        self.ledger.count("revoked", report.revoked);
        self.ledger.count("packs removed", report.deleted.count);
        self.ledger.count("packs repacked", report.repacked.count);
        Ok(())
    }

    /// A restore: what is pinned, and was there after that, can be read to its end.
    async fn read(&mut self) -> Result<(), RepositoryError> {
        let held = self.here.repository.list().await?.backups;
        let Some(one) = self.dice.pick(&held) else {
            return Ok(());
        };
        let _pinned = self.here.repository.pin(&[one]).await?;
        if !self.is_listed(one).await? {
            return Ok(());
        }
        let reader = self.here.repository.reader().await?;
        self.dawdle().await;
        let read = read_back(&reader, &one.manifest).await?;
        if let Err(wrong) = self.ledger.holds(&one.manifest, &read) {
            self.ledger.is_wrong(wrong);
        }
        self.ledger.count("restored", 1);
        Ok(())
    }

    async fn is_listed(&self, one: &ListedBackup) -> Result<bool, RepositoryError> {
        let held = self.here.repository.list().await?.backups;
        Ok(held.iter().any(|held| held.key == one.key))
    }
}

/// Whether a backup was stored against another one, as 0 or 1: nothing in it compresses by itself.
fn has_deltas(manifest: &Manifest) -> u64 {
    u64::from(manifest.stats.stored_bytes * 2 < manifest.stats.new_bytes)
}
