//! The lock of a repository: keeps two runs from making the same backup. Nothing that is stored depends on
//! it, sessions are safe beside each other without. Built of objects that are created once: lock `n` is over
//! when it has an end, and who creates the start of `n + 1` has the next one. A run that is killed leaves no
//! end; whoever comes next writes it, when the process is gone or has been silent for too long by the store's
//! clock.

use crate::model::holder::{Holder, ProcessMark};
use crate::model::records::Version;
use crate::repository::format::seal::{OpenType, open_signed, sign};
use crate::repository::{Repository, RepositoryError, layout};
use crate::store::{Key, Kind, Meta, Put};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A run that has given no sign of life for this long has lost its lock.
const TTL: SignedDuration = SignedDuration::from_secs(300);
const HEARTBEAT_EVERY: Duration = Duration::from_secs(60);
/// Old locks are kept for so long: nobody who listed them still wants to create the next one then.
const KEPT: SignedDuration = SignedDuration::from_hours(2);
/// Locks that are taken and ended between a listing and a creation, again and again, before giving up.
const TRIES: usize = 10;

/// Says whether a process is surely gone, which only its own machine knows.
pub type IsGone<'a> = &'a (dyn Fn(&ProcessMark) -> bool + Send + Sync);

/// `locks/<n>/start`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Start {
    v: Version<1>,
    holder: Holder,
    ttl_seconds: u64,
}

/// `locks/<n>/hb-<m>`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Heartbeat {
    v: Version<1>,
    number: u64,
}

/// `locks/<n>/end`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct End {
    v: Version<1>,
    why: WhyEnded,
    /// Who ended it, where that was not its own run.
    by: Option<String>,
    /// By the clock of whoever did.
    at: Timestamp,
}

/// How a lock ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WhyEnded {
    /// Its run was over.
    Released,
    /// Its process was gone.
    Gone,
    /// It gave no sign of life.
    Silent,
    /// Somebody removed it.
    Removed,
}

/// A lock that somebody has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldLock {
    number: u64,
    /// Who; `None` when that can not be read.
    pub holder: Option<Holder>,
    /// Its latest sign of life, by the store's clock.
    pub seen: Timestamp,
    /// When it was taken, by the store's clock.
    pub since: Timestamp,
    /// For how long it has given none.
    pub silent_for: SignedDuration,
}

/// What came of trying to take a lock.
pub enum Attempt {
    /// It is ours.
    Taken(RunLock),
    /// Somebody else has it.
    Held(HeldLock),
}

/// A lock that this run has: signs of life go out until it is released or dropped.
pub struct RunLock {
    repository: Repository,
    number: u64,
    /// The lock that was taken over, when its run had not ended it.
    pub after: Option<HeldLock>,
    lost: watch::Receiver<bool>,
    beating: JoinHandle<()>,
}

impl RunLock {
    /// Turns true when the lock is ended by somebody else.
    pub fn lost(&self) -> watch::Receiver<bool> {
        self.lost.clone()
    }

    /// Ends the lock, so that the next run need not wait.
    pub async fn release(self) -> Result<(), RepositoryError> {
        self.beating.abort();
        let end = (WhyEnded::Released, None);
        self.repository.end_lock(self.number, end).await
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        self.beating.abort();
    }
}

impl Repository {
    /// Takes the lock, if nobody alive has it.
    pub async fn try_lock(
        &self,
        holder: &Holder,
        is_gone: IsGone<'_>,
    ) -> Result<Attempt, RepositoryError> {
        let mut after = None;
        for _ in 0..TRIES {
            let newest = self.newest_lock().await?;
            if let Some(Newest::Held(held)) = &newest {
                let Some(why) = over(held, is_gone) else {
                    return Ok(Attempt::Held(HeldLock::clone(held)));
                };
                let by = format!("run {} on {}", holder.run, holder.host);
                self.end_lock(held.number, (why, Some(by))).await?;
                after = Some(HeldLock::clone(held));
            }
            let number = newest.map_or(0, |newest| newest.number()) + 1;
            let start = Start {
                v: Version,
                holder: holder.clone(),
                ttl_seconds: TTL.as_secs().unsigned_abs(),
            };
            match self.put_lock_part(number, "start", &start).await {
                Ok(()) => return Ok(Attempt::Taken(self.keep(number, after))),
                // Somebody was faster: look who.
                Err(RepositoryError::Store(e)) if e.kind == Kind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(RepositoryError::LockContended)
    }

    /// Who has the lock, if anybody does. One whose holder is long silent or gone is still told.
    pub async fn held_lock(&self) -> Result<Option<HeldLock>, RepositoryError> {
        Ok(match self.newest_lock().await? {
            Some(Newest::Held(held)) => Some(*held),
            Some(Newest::Ended(_)) | None => None,
        })
    }

    /// Ends a lock that somebody else has; his run stops at its next sign of life.
    pub async fn remove_lock(&self, held: &HeldLock, by: &str) -> Result<(), RepositoryError> {
        let end = (WhyEnded::Removed, Some(by.to_owned()));
        self.end_lock(held.number, end).await
    }

    /// Removes what is left of old locks. The newest one stays: it says which number comes next.
    pub(crate) async fn remove_old_locks(&self) -> Result<(), RepositoryError> {
        let listing = self.store().list(layout::LOCKS).await?;
        let locks = by_number(listing.objects);
        let Some(newest) = locks.keys().last().copied() else {
            return Ok(());
        };
        for meta in locks.range(..newest).flat_map(|(_, parts)| parts) {
            if listing.server_time.duration_since(meta.modified) <= KEPT {
                continue;
            }
            match self.store().delete(&meta.key).await {
                // Under an object lock: it goes with a later prune.
                Err(e) if e.kind == Kind::Denied => {}
                deleted => deleted?,
            }
        }
        Ok(())
    }

    async fn newest_lock(&self) -> Result<Option<Newest>, RepositoryError> {
        let listing = self.store().list(layout::LOCKS).await?;
        let Some((number, parts)) = by_number(listing.objects).pop_last() else {
            return Ok(None);
        };
        let is_there = |name: &str| parts.iter().any(|meta| meta.key.last_part() == name);
        if is_there("end") {
            return Ok(Some(Newest::Ended(number)));
        }
        let times = || parts.iter().map(|meta| meta.modified);
        let seen = times().max().unwrap_or(listing.server_time);
        let start: Option<Start> = self.lock_part(&layout::lock(number, "start")).await?;
        Ok(Some(Newest::Held(Box::new(HeldLock {
            number,
            holder: start.map(|start| start.holder),
            seen,
            since: times().min().unwrap_or(seen),
            silent_for: listing.server_time.duration_since(seen),
        }))))
    }

    /// A part that is damaged, or of a later version of ccb, says nothing; its age still counts.
    async fn lock_part<T: DeserializeOwned>(
        &self,
        key: &Key,
    ) -> Result<Option<T>, RepositoryError> {
        match self.store().get(key, None).await {
            Ok(bytes) => Ok(open_signed(self.keys(), OpenType::Lease, key.as_str(), &bytes).ok()),
            Err(e) if e.kind == Kind::NotFound => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    async fn put_lock_part<T: Serialize>(
        &self,
        number: u64,
        part: &str,
        record: &T,
    ) -> Result<(), RepositoryError> {
        let key = layout::lock(number, part);
        let bytes = sign(self.keys(), OpenType::Lease, key.as_str(), record);
        Ok(self.store().put(&key, bytes.into(), Put::New).await?)
    }

    /// One end is as good as another: that somebody was faster is no failure.
    async fn end_lock(
        &self,
        number: u64,
        (why, by): (WhyEnded, Option<String>),
    ) -> Result<(), RepositoryError> {
        let end = End {
            v: Version,
            why,
            by,
            at: self.now(),
        };
        match self.put_lock_part(number, "end", &end).await {
            Err(RepositoryError::Store(e)) if e.kind == Kind::AlreadyExists => Ok(()),
            put => put,
        }
    }

    fn keep(&self, number: u64, after: Option<HeldLock>) -> RunLock {
        let (tell, lost) = watch::channel(false);
        RunLock {
            repository: self.clone(),
            number,
            after,
            lost,
            beating: tokio::spawn(beat(self.clone(), number, tell)),
        }
    }
}

/// Gives signs of life until the lock is ended.
async fn beat(repository: Repository, lock: u64, tell: watch::Sender<bool>) {
    for number in 1.. {
        tokio::time::sleep(HEARTBEAT_EVERY).await;
        let heartbeat = Heartbeat { v: Version, number };
        // One that fails is made up for by the next.
        let part = format!("hb-{number}");
        let _ = repository.put_lock_part(lock, &part, &heartbeat).await;
        let end = layout::lock(lock, "end");
        if let Ok(listing) = repository.store().list(end.as_str()).await
            && !listing.objects.is_empty()
        {
            let _ = tell.send(true);
            return;
        }
    }
}

enum Newest {
    Held(Box<HeldLock>),
    Ended(u64),
}

impl Newest {
    fn number(&self) -> u64 {
        match self {
            Self::Held(held) => held.number,
            Self::Ended(number) => *number,
        }
    }
}

/// Why a lock counts as over although nobody ended it; `None` when it does not.
fn over(held: &HeldLock, is_gone: IsGone<'_>) -> Option<WhyEnded> {
    match &held.holder {
        Some(holder) if is_gone(&holder.process) => Some(WhyEnded::Gone),
        _ => (held.silent_for > TTL).then_some(WhyEnded::Silent),
    }
}

/// The parts of each lock. Names that no ccb writes are passed over.
fn by_number(objects: Vec<Meta>) -> BTreeMap<u64, Vec<Meta>> {
    let mut locks: BTreeMap<u64, Vec<Meta>> = BTreeMap::new();
    for meta in objects {
        if let Some(number) = layout::lock_number(&meta.key) {
            locks.entry(number).or_default().push(meta);
        }
    }
    locks
}
