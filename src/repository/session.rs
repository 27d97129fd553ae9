//! A write session: one lease, one backup. Packs and index go up while it runs; [`Session::commit`] is
//! the last write and makes the backup exist. A session that is dropped before leaves no backup, and
//! what it uploaded is used by the next one.

use crate::model::ids::{BackupId, BlobId, ComponentName, Digest, RunId, SessionId, Tag};
use crate::model::strategy::Method;
use crate::model::tree::{Found, Problem};
use crate::repository::format::config::Operation;
use crate::repository::format::manifest::{
    ERRORS_MAX, Manifest, Payload, PlanRef, ReadError, Shape, Slot, Stats, Subtotal, Version,
};
use crate::repository::format::seal::{ObjectType, seal};
use crate::repository::lease::Pin;
use crate::repository::pipeline;
use crate::repository::writer::blobs::BlobWriter;
use crate::repository::writer::versions::Versions;
use crate::repository::writer::{self, Order, Progress, TreeStats, Walk};
use crate::repository::writing::{Wanted, Writing};
use crate::repository::{
    Effort, ListedBackup, ParentTree, Reader, Repository, RepositoryError, layout,
};
use crate::store::{Key, Kind, Put};
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What is known of a backup before it is made.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The same at every destination; random for a new backup.
    pub id: BackupId,
    /// What is backed up.
    pub component: ComponentName,
    /// How.
    pub method: Method,
    /// The slots that it is made for.
    pub slots: Vec<Slot>,
    /// Tags.
    pub tags: Vec<Tag>,
    /// The run that makes it.
    pub run: RunId,
    /// The plan file that it is asked for in.
    pub plan: PlanRef,
    /// `production`, `staging`, …
    pub environment: String,
    /// How hard zstd tries.
    pub effort: Effort,
}

impl Draft {
    /// What a manifest says of a backup that is made again.
    pub(crate) fn of(known: &Manifest, effort: Effort) -> Self {
        Self {
            id: known.id,
            component: known.component.clone(),
            method: known.method,
            slots: known.slots.clone(),
            tags: known.tags.clone(),
            run: known.run,
            plan: known.plan.clone(),
            environment: known.environment.clone(),
            effort,
        }
    }
}

/// What is known when all was read.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// What the source said of itself.
    pub source: BTreeMap<String, Value>,
    /// Versions of the programs that took part.
    pub tools: BTreeMap<String, String>,
    /// What could not be read, besides what [`TreeStats::errors`] lists.
    pub errors: Vec<ReadError>,
    /// The instant until which its objects are locked.
    pub retain_until: Option<Timestamp>,
}

/// A backup being written.
pub struct Session {
    repository: Repository,
    writing: Writing,
    draft: Draft,
    backup_key: Key,
    started: Timestamp,
    parent: Option<ListedBackup>,
    previous: Option<ListedBackup>,
    written: Option<Written>,
}

/// What was written so far.
struct Written {
    shape: Shape,
    root: BlobId,
    stats: Stats,
    directories: BTreeMap<String, Subtotal>,
    content: Option<Digest>,
    errors: Vec<ReadError>,
    error_count: u64,
    finished: Timestamp,
}

impl Repository {
    /// Begins a session. The parent is pinned if it is still there: see [`Session::parent`].
    pub async fn begin(
        &self,
        draft: Draft,
        parent: Option<&ListedBackup>,
    ) -> Result<Session, RepositoryError> {
        let pins = parent.iter().map(|parent| parent.pin()).collect();
        let mut session = self.begin_at(draft, self.now(), pins).await?;
        session.parent = match parent {
            // Forgotten before the pin was seen: a prune may have passed over it already.
            Some(parent) if self.is_live(&parent.key).await? => Some(parent.clone()),
            _ => None,
        };
        Ok(session)
    }

    /// Begins a session for a backup whose reading began at `started`.
    pub(crate) async fn begin_at(
        &self,
        mut draft: Draft,
        started: Timestamp,
        pins: Vec<Pin>,
    ) -> Result<Session, RepositoryError> {
        self.permits(Operation::Write)?;
        draft.tags.sort();
        let session = SessionId(self.random());
        let backup_key = layout::backup(&draft.component, started, &session);
        let wanted = Wanted {
            fence: &backup_key,
            pins,
            avoid: BTreeSet::new(),
            effort: draft.effort,
        };
        let writing = Writing::begin(self, session, wanted).await?;
        Ok(Session {
            repository: self.clone(),
            writing,
            draft,
            backup_key,
            started,
            parent: None,
            previous: None,
            written: None,
        })
    }

    /// Whether there is such a backup, and it was not forgotten.
    pub(crate) async fn is_live(&self, backup: &Key) -> Result<bool, RepositoryError> {
        let there = self.store().list(backup.as_str()).await?;
        let tomb = layout::tomb(backup);
        let forgotten = self.store().list(tomb.as_str()).await?;
        Ok(there.objects.iter().any(|object| object.key == *backup)
            && !forgotten.objects.iter().any(|object| object.key == tomb))
    }
}

impl Session {
    /// The parent, if it is pinned: only then may a walk take files over from it.
    pub fn parent(&self) -> Option<&ListedBackup> {
        self.parent.as_ref()
    }

    /// The parent's tree for a walk, if there is a parent and it is pinned.
    pub fn parent_tree(&self) -> Option<ParentTree> {
        let reader = self.reader();
        self.parent
            .as_ref()
            .map(|parent| reader.parent_tree(parent))
    }

    /// Long files and streams are stored against their version in this backup, where that takes less. It need not
    /// be pinned: what may be referred to is told by the index, as for every blob.
    pub fn stand_on(&mut self, previous: ListedBackup) {
        self.previous = Some(previous);
    }

    fn reader(&self) -> Reader {
        Reader::new(self.repository.clone(), self.writing.index.clone())
    }

    /// Writes a tree of files, or of streams.
    pub async fn write_tree(
        &mut self,
        walk: Box<dyn Iterator<Item = Result<Found, Problem>> + Send>,
        progress: Arc<dyn Progress>,
    ) -> Result<TreeStats, RepositoryError> {
        self.write_in_order((walk, Order::DepthFirst), progress)
            .await
    }

    /// Writes a tree whose nodes come in the order in which a server sends them: the root first, each node
    /// once. All of them are in memory meanwhile, their bytes are not.
    pub async fn write_arrivals(
        &mut self,
        walk: Box<dyn Iterator<Item = Result<Found, Problem>> + Send>,
        progress: Arc<dyn Progress>,
    ) -> Result<TreeStats, RepositoryError> {
        self.write_in_order((walk, Order::Arrival), progress).await
    }

    async fn write_in_order(
        &mut self,
        walk: (Walk, Order),
        progress: Arc<dyn Progress>,
    ) -> Result<TreeStats, RepositoryError> {
        let (writer, is_pinned) = (self.writing.blobs.clone(), self.parent.is_some());
        let previous = self.previous.as_ref().or(self.parent.as_ref());
        let versions = previous.map(|backup| Versions::of(&self.reader(), backup));
        let work = move || writer::write_tree(writer, walk, (is_pinned, versions), progress);
        let tree = pipeline::on_thread("write tree", work).await??;
        self.written = Some(Written {
            shape: match tree.content {
                Some(_) => Shape::Stream,
                None => Shape::Tree,
            },
            root: tree.root,
            stats: tree.stats.clone(),
            directories: tree.directories.clone(),
            content: tree.content,
            errors: tree.errors.clone(),
            error_count: tree.error_count,
            finished: self.repository.now(),
        });
        Ok(tree)
    }

    /// Uploads what is left, then the manifest: from then on the backup exists.
    pub async fn commit(mut self, commit: Commit) -> Result<Manifest, RepositoryError> {
        let written = self.written.take().ok_or(RepositoryError::NothingThere)?;
        self.writing.finish().await?;
        let manifest = self.manifest(written, commit).await?;
        self.put_manifest(manifest).await
    }

    /// Commits what is known from another manifest: of the same backup elsewhere, or of one in the trash.
    pub(crate) async fn commit_known(
        mut self,
        known: Manifest,
    ) -> Result<Manifest, RepositoryError> {
        self.writing.finish().await?;
        let (new_bytes, stored_bytes) = self.writing.blobs.counts();
        let manifest = Manifest {
            session: self.writing.lease.session,
            epoch: self.repository.keys().keyring().epoch(),
            server_time: self.server_time().await?,
            stats: Stats {
                new_bytes,
                stored_bytes,
                ..known.stats
            },
            ..known
        };
        self.put_manifest(manifest).await
    }

    /// Takes blobs that were not cut here.
    pub(crate) fn blobs(&self) -> &Arc<BlobWriter> {
        &self.writing.blobs
    }

    /// The last write of the session, and the one that counts.
    async fn put_manifest(&self, manifest: Manifest) -> Result<Manifest, RepositoryError> {
        let key = &self.backup_key;
        let (keys, salt) = (self.repository.keys(), self.repository.random());
        let sealed = seal(
            keys,
            ObjectType::Manifest,
            key.as_str(),
            &manifest.encode(),
            salt,
        );
        self.writing.lease.confirm().await?;
        let object = Bytes::from(sealed);
        let store = self.repository.store();
        match store.put(key, object.clone(), Put::New).await {
            Err(e) if e.kind == Kind::AlreadyExists => self.who_was_first(&object).await?,
            put => put?,
        }
        Ok(manifest)
    }

    /// The store's clock.
    async fn server_time(&self) -> Result<Timestamp, RepositoryError> {
        let lease = layout::lease(&self.writing.lease.session, "start");
        Ok(self
            .repository
            .store()
            .list(lease.as_str())
            .await?
            .server_time)
    }

    async fn manifest(
        &self,
        written: Written,
        commit: Commit,
    ) -> Result<Manifest, RepositoryError> {
        let (new_bytes, stored_bytes) = self.writing.blobs.counts();
        let error_count = written.error_count + commit.errors.len() as u64;
        let mut errors = written.errors;
        errors.extend(commit.errors);
        errors.truncate(ERRORS_MAX);
        let draft = &self.draft;
        Ok(Manifest {
            v: Version,
            id: draft.id,
            component: draft.component.clone(),
            method: draft.method,
            shape: written.shape,
            slots: draft.slots.clone(),
            tags: draft.tags.clone(),
            parent: self.parent.as_ref().map(|parent| parent.manifest.id),
            restored_from: None,
            run: draft.run,
            plan: draft.plan.clone(),
            environment: draft.environment.clone(),
            host: self.repository.surroundings().host.clone(),
            started: self.started,
            finished: written.finished,
            server_time: self.server_time().await?,
            root: written.root,
            session: self.writing.lease.session,
            epoch: self.repository.keys().keyring().epoch(),
            stats: Stats {
                new_bytes,
                stored_bytes,
                ..written.stats
            },
            directories: written.directories,
            source: commit.source,
            tools: commit.tools,
            content: written.content,
            complete: error_count == 0,
            errors,
            error_count,
            retain_until: commit.retain_until,
        })
    }

    /// The key was taken: by this very manifest, whose answer was lost, or by a prune.
    async fn who_was_first(&self, own: &Bytes) -> Result<(), RepositoryError> {
        let there = self.repository.store().get(&self.backup_key, None).await?;
        if there == own {
            Ok(())
        } else {
            Err(RepositoryError::Revoked)
        }
    }
}
