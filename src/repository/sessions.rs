//! The sessions of others, as their leases show them: who is alive, what they have seen, what they have
//! pinned. Ages are by the store's clock, taken from the listing itself. Only reads, save for ending a
//! session that is dead.

use crate::model::ids::BlobId;
use crate::repository::format::seal::{OpenType, open_signed};
use crate::repository::lease::{LeaseKind, LeaseStart, LeaseView};
use crate::repository::{Repository, RepositoryError, layout};
use crate::store::{Key, Kind, Meta, Put};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};

/// Silence beyond a lease's time to live after which a session is dead.
const MARGIN: SignedDuration = SignedDuration::from_secs(60);
/// A lease that can not be read is taken for a live session for so long.
const UNREADABLE_LIVES: SignedDuration = SignedDuration::from_hours(24);
const AT_ONCE: usize = 8;

/// All sessions that have a lease.
pub(crate) struct Sessions {
    pub(crate) all: Vec<Seen>,
    /// The store's clock when they were listed.
    pub(crate) server_time: Timestamp,
}

/// One session.
pub(crate) struct Seen {
    pub(crate) id: String,
    /// Every object of its lease.
    pub(crate) objects: Vec<Key>,
    /// Its latest sign of life.
    pub(crate) newest: Timestamp,
    pub(crate) oldest: Timestamp,
    pub(crate) start: Part<LeaseStart>,
    pub(crate) view: Part<LeaseView>,
}

/// A part of a lease.
pub(crate) enum Part<T> {
    Read(T),
    Absent,
    Unreadable,
}

impl<T> Part<T> {
    pub(crate) fn read(&self) -> Option<&T> {
        match self {
            Self::Read(part) => Some(part),
            Self::Absent | Self::Unreadable => None,
        }
    }
}

impl Seen {
    /// The key whose creation ends it; a reader has none.
    pub(crate) fn fence(&self) -> Option<Key> {
        let key = self.start.read()?.backup_key.as_ref()?;
        Key::new(key.clone()).ok()
    }

    /// What it has pinned.
    pub(crate) fn roots(&self) -> impl Iterator<Item = BlobId> {
        let views = self.view.read().into_iter();
        views.flat_map(|view| view.pins.iter().map(|pin| pin.root))
    }

    /// Where it runs.
    pub(crate) fn host(&self) -> String {
        let host = self.start.read().map(|start| start.host.clone());
        host.unwrap_or_else(|| format!("session {}", self.id))
    }

    /// Whether it only reads. One whose start can not be read may be writing.
    pub(crate) fn is_reader(&self) -> bool {
        matches!(&self.start, Part::Read(start) if start.kind == LeaseKind::Read)
    }

    /// Whether it has given a sign of life lately.
    pub(crate) fn is_alive(&self, now: Timestamp) -> bool {
        let silence = now.duration_since(self.newest);
        match &self.start {
            Part::Read(start) => {
                let ttl = i64::try_from(start.ttl_seconds).unwrap_or(i64::MAX);
                silence <= SignedDuration::from_secs(ttl).saturating_add(MARGIN)
            }
            Part::Absent | Part::Unreadable => silence <= UNREADABLE_LIVES,
        }
    }

    /// Whether it may have pinned something that can not be read.
    pub(crate) fn hides_pins(&self, now: Timestamp) -> bool {
        matches!(self.view, Part::Unreadable) && now.duration_since(self.newest) <= UNREADABLE_LIVES
    }
}

/// What stands under the keys that end sessions.
pub(crate) struct Ends {
    /// When each was written, by the store's clock.
    keys: BTreeMap<Key, Timestamp>,
}

impl Ends {
    /// When the session with this fence ended.
    pub(crate) fn of(&self, fence: &Key) -> Option<Timestamp> {
        let (key, tomb) = (self.keys.get(fence), self.keys.get(&layout::tomb(fence)));
        key.max(tomb).copied()
    }
}

impl Repository {
    pub(crate) async fn sessions(&self) -> Result<Sessions, RepositoryError> {
        let listing = self.store().list(layout::LEASES).await?;
        let mut parts: BTreeMap<String, Vec<Meta>> = BTreeMap::new();
        for meta in listing.objects {
            let name = meta.key.as_str().strip_prefix(layout::LEASES);
            if let Some((session, _)) = name.and_then(|name| name.split_once('/')) {
                parts.entry(session.to_owned()).or_default().push(meta);
            }
        }
        let all = stream::iter(parts)
            .map(|(id, objects)| self.session_of(id, objects))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(Sessions {
            all,
            server_time: listing.server_time,
        })
    }

    async fn session_of(&self, id: String, objects: Vec<Meta>) -> Result<Seen, RepositoryError> {
        let part = |name: &str| {
            let found = objects.iter().find(|meta| meta.key.last_part() == name);
            found.map(|meta| meta.key.clone())
        };
        let times: BTreeSet<Timestamp> = objects.iter().map(|meta| meta.modified).collect();
        Ok(Seen {
            id,
            newest: times.last().copied().unwrap_or(Timestamp::MIN),
            oldest: times.first().copied().unwrap_or(Timestamp::MIN),
            start: self.lease_part(part("start")).await?,
            view: self.lease_part(part("view")).await?,
            objects: objects.iter().map(|meta| meta.key.clone()).collect(),
        })
    }

    async fn lease_part<T: DeserializeOwned>(
        &self,
        key: Option<Key>,
    ) -> Result<Part<T>, RepositoryError> {
        let Some(key) = key else {
            return Ok(Part::Absent);
        };
        let bytes = match self.store().get(&key, None).await {
            Ok(bytes) => bytes,
            // Removed since, by another prune, because its session is long over.
            Err(e) if e.kind == Kind::NotFound => return Ok(Part::Absent),
            Err(e) => return Err(e.into()),
        };
        let part = open_signed(self.keys(), OpenType::Lease, key.as_str(), &bytes);
        Ok(part.map_or(Part::Unreadable, Part::Read))
    }

    pub(crate) async fn ends(&self) -> Result<Ends, RepositoryError> {
        let backups = self.store().list(layout::BACKUPS).await?.objects;
        let tombs = self.store().list(layout::TOMBS).await?.objects;
        let both = backups.into_iter().chain(tombs);
        Ok(Ends {
            keys: both.map(|meta| (meta.key, meta.modified)).collect(),
        })
    }

    /// Takes the key that the session would commit under. If it has committed meanwhile, it has ended too.
    pub(crate) async fn revoke(&self, fence: &Key) -> Result<(), RepositoryError> {
        let marker = Bytes::from_static(layout::REVOKED);
        match self.store().put(fence, marker, Put::New).await {
            Err(e) if e.kind == Kind::AlreadyExists => Ok(()),
            put => Ok(put?),
        }
    }
}
