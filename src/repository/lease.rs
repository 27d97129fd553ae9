//! Leases: the record that a session is alive, what it has seen and what it has pinned, so that a prune
//! leaves alone what it stands on. All parts are created once; a lease ends by falling silent.

use crate::model::ids::{BlobId, SessionId};
use crate::repository::condemned::Condemned;
use crate::repository::format::manifest::Version;
use crate::repository::format::seal::{OpenType, sign};
use crate::repository::{ListedBackup, Repository, RepositoryError, layout};
use crate::store::Put;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};
use tokio::{sync::Mutex, task::JoinHandle};

/// A session that has given no sign of life for this long, and a minute, is dead to a prune.
pub(crate) const TTL: Duration = Duration::from_secs(900);
const HEARTBEAT_EVERY: Duration = Duration::from_secs(300);

/// `leases/<session>/start`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeaseStart {
    pub(crate) v: Version<1>,
    pub(crate) kind: LeaseKind,
    /// The key that this session will commit, and that a prune takes to end it; none for a reader.
    pub(crate) backup_key: Option<String>,
    pub(crate) host: String,
    pub(crate) pid: u32,
    pub(crate) started: Timestamp,
    pub(crate) ttl_seconds: u64,
}

/// What a session does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LeaseKind {
    Write,
    Read,
}

/// `leases/<session>/view`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeaseView {
    pub(crate) v: Version<1>,
    /// The newest prune record that it has read.
    pub(crate) seen: u64,
    pub(crate) pins: Vec<Pin>,
}

/// A backup whose blobs a session uses: as good a root as the backup itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pin {
    pub(crate) backup_key: String,
    pub(crate) root: BlobId,
}

/// `leases/<session>/hb-<n>`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Heartbeat {
    v: Version<1>,
    number: u64,
}

/// A lease that is held: heartbeats go out until it is dropped.
pub(crate) struct Lease {
    pub(crate) session: SessionId,
    pub(crate) condemned: Condemned,
    pulse: Arc<Pulse>,
    beating: JoinHandle<()>,
}

struct Pulse {
    repository: Repository,
    session: SessionId,
    /// Held while a heartbeat is on its way, so that there is one at a time.
    last: Mutex<LastBeat>,
}

struct LastBeat {
    number: u64,
    confirmed_at: Duration,
}

impl Lease {
    /// Takes a lease: start, then the log of condemned packs, then the view. That order is what the
    /// safety of pruning rests on (schemas/repository.md#sessions).
    pub(crate) async fn take(
        repository: &Repository,
        session: SessionId,
        kind: LeaseKind,
        backup_key: Option<String>,
        pins: Vec<Pin>,
    ) -> Result<Self, RepositoryError> {
        // Before the first call: the store's clock for this session starts no earlier.
        let confirmed_at = (repository.surroundings().uptime)();
        let start = LeaseStart {
            v: Version,
            kind,
            backup_key,
            host: repository.surroundings().host.clone(),
            pid: std::process::id(),
            started: repository.now(),
            ttl_seconds: TTL.as_secs(),
        };
        put_part(repository, &session, "start", &start).await?;
        let condemned = match kind {
            LeaseKind::Write => repository.condemned().await?,
            LeaseKind::Read => repository.condemned_or_damage().await?.0,
        };
        let seen = condemned.seen;
        let view = LeaseView {
            v: Version,
            seen,
            pins,
        };
        put_part(repository, &session, "view", &view).await?;
        let pulse = Arc::new(Pulse {
            repository: repository.clone(),
            session,
            last: Mutex::new(LastBeat {
                number: 0,
                confirmed_at,
            }),
        });
        let beating = tokio::spawn(beat(pulse.clone()));
        Ok(Self {
            session,
            condemned,
            pulse,
            beating,
        })
    }

    /// Returns once this session is known to be alive to every prune: at once when a heartbeat was
    /// confirmed lately, else after one more. Nothing may be uploaded before.
    pub(crate) async fn confirm(&self) -> Result<(), RepositoryError> {
        self.pulse.at_most_old(TTL / 2).await
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.beating.abort();
    }
}

async fn beat(pulse: Arc<Pulse>) {
    loop {
        tokio::time::sleep(HEARTBEAT_EVERY).await;
        // A beat that fails is made up for by the next one, or by the next upload, which needs one.
        let _ = pulse.at_most_old(Duration::ZERO).await;
    }
}

impl Pulse {
    async fn at_most_old(&self, age_max: Duration) -> Result<(), RepositoryError> {
        let mut last = self.last.lock().await;
        let now = (self.repository.surroundings().uptime)();
        if now.saturating_sub(last.confirmed_at) <= age_max && age_max > Duration::ZERO {
            return Ok(());
        }
        // A number is never used twice: a beat whose answer was lost may be there.
        last.number += 1;
        let number = last.number;
        let part = format!("hb-{number}");
        let heartbeat = Heartbeat { v: Version, number };
        put_part(&self.repository, &self.session, &part, &heartbeat).await?;
        last.confirmed_at = now;
        Ok(())
    }
}

async fn put_part<T: Serialize>(
    repository: &Repository,
    session: &SessionId,
    part: &str,
    record: &T,
) -> Result<(), RepositoryError> {
    let key = layout::lease(session, part);
    let bytes = sign(repository.keys(), OpenType::Lease, key.as_str(), record);
    Ok(repository.store().put(&key, bytes.into(), Put::New).await?)
}

/// Keeps backups from being pruned while they are read. Losing it costs a clean error, never data.
pub struct ReadLease(#[allow(dead_code, reason = "held for its heartbeats")] Option<Lease>);

impl Repository {
    /// Pins `backups` for reading until the lease is dropped. Where nothing may be written they are read
    /// without: what keeps a lease out keeps a backup from being read only if it is forgotten meanwhile.
    pub async fn pin(&self, backups: &[&ListedBackup]) -> Result<ReadLease, RepositoryError> {
        let pins = backups.iter().map(|backup| backup.pin()).collect();
        let session = SessionId(self.random());
        match Lease::take(self, session, LeaseKind::Read, None, pins).await {
            Err(RepositoryError::Store(e)) if e.kind.is_refusal() => Ok(ReadLease(None)),
            lease => Ok(ReadLease(Some(lease?))),
        }
    }
}
