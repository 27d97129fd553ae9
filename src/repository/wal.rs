//! WAL as a server hands it over: each file one sealed object that is created once, under its own name. That
//! is all a push does, so that it costs one durable write; no index is read and no lease taken. A WAL backup
//! takes the files over later, and only then may a prune remove them (schemas/repository.md#wal).

mod packed;
mod waiting;

pub use packed::PackedWal;

use crate::model::ids::ComponentName;
use crate::model::wal::{SegmentBytes, SystemId, WalName};
use crate::repository::format::config::Operation;
use crate::repository::format::manifest::{Version, from_json, to_json};
use crate::repository::format::parts::open_parts;
use crate::repository::pipeline::Asker;
use crate::repository::{Repository, RepositoryError, layout, pipeline};
use crate::store::{Key, Kind, Put};
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Which cluster a component's WAL is of. The newest of these records counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterRecord {
    /// Version of this payload.
    pub v: Version<1>,
    /// The cluster.
    pub system_identifier: SystemId,
    /// How long its segments are.
    pub segment_bytes: SegmentBytes,
    /// Who said so.
    pub named_by: NamedBy,
    /// On which host.
    pub host: String,
    /// When, by that host's clock.
    pub at: Timestamp,
}

/// How a cluster came to be a component's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NamedBy {
    /// It was the first whose WAL was handed over.
    Push,
    /// ccb took a base backup of it.
    Base,
    /// Its WAL was in the archive directory that the plan file names.
    Archive,
}

/// What became of a file that was handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalPut {
    /// It is there now.
    New,
    /// It was there already, with the same bytes.
    Same,
}

/// A file that was handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalObject {
    /// Whose.
    pub component: ComponentName,
    /// Of which cluster.
    pub system: SystemId,
    /// Which file.
    pub name: WalName,
    /// Where it is.
    pub key: Key,
    /// What it takes there.
    pub size: u64,
    /// When it was handed over, by the store's clock.
    pub archived: Timestamp,
}

type Question = (ComponentName, SystemId, WalName);

/// Reads files for threads that may wait. Not to be used from async code.
pub struct WalReader(Asker<Question, Result<Option<Bytes>, RepositoryError>>);

impl WalReader {
    /// See [`Repository::get_wal`].
    pub fn get(
        &self,
        component: &ComponentName,
        system: SystemId,
        name: &WalName,
    ) -> Result<Option<Bytes>, RepositoryError> {
        let question = (component.clone(), system, *name);
        let answer = self.0.ask(question);
        answer.unwrap_or(Err(RepositoryError::Interrupted))
    }
}

impl Repository {
    /// Keeps `file` as the file `name` of that cluster. Returns when they are durable.
    pub async fn put_wal(
        &self,
        component: &ComponentName,
        system: SystemId,
        name: &WalName,
        file: PackedWal,
    ) -> Result<WalPut, RepositoryError> {
        let key = layout::wal(component, system, name);
        match self.put_wal_object(&key, &file).await {
            Err(RepositoryError::Store(e)) if e.kind == Kind::AlreadyExists => {
                // The server hands a file over again when it was stopped before it knew the outcome.
                match self.get_wal_object(&key).await? {
                    Some(there) => {
                        let compare = move || file.is(&there);
                        match pipeline::on_thread("compare WAL", compare).await?? {
                            true => Ok(WalPut::Same),
                            false => Err(RepositoryError::OtherWal {
                                key: key.to_string(),
                            }),
                        }
                    }
                    // Removed just now, by a prune.
                    None => self.put_wal_object(&key, &file).await.map(|()| WalPut::New),
                }
            }
            put => put.map(|()| WalPut::New),
        }
    }

    /// The file `name`, as it was handed over; `None` when it is not there.
    pub async fn get_wal(
        &self,
        component: &ComponentName,
        system: SystemId,
        name: &WalName,
    ) -> Result<Option<Bytes>, RepositoryError> {
        let key = layout::wal(component, system, name);
        self.get_wal_object(&key).await
    }

    /// Every file that was handed over and not yet removed: of one component, or of all.
    pub async fn list_wal(
        &self,
        component: Option<&ComponentName>,
    ) -> Result<Vec<WalObject>, RepositoryError> {
        let prefix = component.map_or_else(|| layout::WAL.to_owned(), layout::wal_of);
        let listing = self.store().list(&prefix).await?;
        let objects = listing.objects.into_iter().filter_map(|meta| {
            let (component, system, name) = layout::wal_name(&meta.key)?;
            Some(WalObject {
                component,
                system,
                name,
                key: meta.key,
                size: meta.size,
                archived: meta.modified,
            })
        });
        Ok(objects.collect())
    }

    /// The clusters that a component's WAL was of, oldest first.
    pub async fn wal_clusters(
        &self,
        component: &ComponentName,
    ) -> Result<Vec<ClusterRecord>, RepositoryError> {
        let mut clusters = Vec::new();
        for number in 1.. {
            let key = layout::wal_cluster(component, number);
            let Some(bytes) = self.get_wal_object(&key).await? else {
                break;
            };
            let record = from_json(packed::WHAT, &bytes);
            clusters.push(record.map_err(|cause| RepositoryError::object(&key, cause))?);
        }
        Ok(clusters)
    }

    /// Says that from now on a component's WAL is of the cluster `system`. `after` are the records that the
    /// caller has seen; `false`: somebody else has added one meanwhile.
    async fn name_wal_cluster(
        &self,
        component: &ComponentName,
        after: &[ClusterRecord],
        (system, segment_bytes): (SystemId, SegmentBytes),
        named_by: NamedBy,
    ) -> Result<bool, RepositoryError> {
        let record = ClusterRecord {
            v: Version,
            system_identifier: system,
            segment_bytes,
            named_by,
            host: self.surroundings().host.clone(),
            at: self.now(),
        };
        let number = u32::try_from(after.len()).unwrap_or(u32::MAX - 1) + 1;
        let key = layout::wal_cluster(component, number);
        let record = PackedWal::of(to_json(&record).into());
        match self.put_wal_object(&key, &record).await {
            Err(RepositoryError::Store(e)) if e.kind == Kind::AlreadyExists => Ok(false),
            put => put.map(|()| true),
        }
    }

    /// Makes sure that a component's WAL is of that cluster. The first one that is seen is; another one only
    /// comes in its place by a base backup, for which ccb asked the server itself.
    pub async fn accept_wal_of(
        &self,
        component: &ComponentName,
        cluster: (SystemId, SegmentBytes),
        named_by: NamedBy,
    ) -> Result<(), RepositoryError> {
        loop {
            let known = self.wal_clusters(component).await?;
            match known.last() {
                Some(last) if (last.system_identifier, last.segment_bytes) == cluster => {
                    return Ok(());
                }
                Some(last) if named_by != NamedBy::Base => {
                    return Err(RepositoryError::OtherCluster {
                        component: component.clone(),
                        known: last.system_identifier,
                        found: cluster.0,
                    });
                }
                _ => {}
            }
            if self
                .name_wal_cluster(component, &known, cluster, named_by)
                .await?
            {
                return Ok(());
            }
        }
    }

    /// Reads files for a thread that waits for them.
    pub fn wal_reader(&self) -> WalReader {
        let repository = self.clone();
        WalReader(pipeline::asker(
            move |(component, system, name): Question| {
                let repository = repository.clone();
                async move { repository.get_wal(&component, system, &name).await }
            },
        ))
    }

    async fn put_wal_object(&self, key: &Key, file: &PackedWal) -> Result<(), RepositoryError> {
        self.permits(Operation::Write)?;
        let surroundings = self.clone();
        let salt = move || surroundings.random();
        let sealed = file.sealed(self.keys().clone(), key, salt);
        let put = self.store().put_parts(key, &sealed, Put::New).await;
        match file.failure() {
            Some(cause) => Err(packed::unreadable(cause)),
            None => Ok(put?),
        }
    }

    async fn get_wal_object(&self, key: &Key) -> Result<Option<Bytes>, RepositoryError> {
        let sealed = match self.store().get(key, None).await {
            Err(e) if e.kind == Kind::NotFound => return Ok(None),
            got => got?,
        };
        let (keys, name) = (self.keys().clone(), key.to_string());
        let opening = move || open_parts(&keys, &name, &sealed);
        // Not on the pool: its threads may be the ones that wait for this, as readers of what they store.
        let opened = pipeline::on_thread("open WAL", opening).await?;
        let bytes = opened.map_err(|cause| RepositoryError::object(key, cause))?;
        Ok(Some(bytes.into()))
    }
}
