//! Healing: what a check found damaged or missing is stored again, from what is whole here and from other
//! repositories of the same keyring, in a write session that commits no backup. Every blob is held against
//! its id on the way. Removes no pack: damaged ones are condemned, so that nothing refers to them any more.

use crate::model::ids::{BlobId, Digest, SessionId};
use crate::repository::check::{CheckReport, Wounds};
use crate::repository::format::blob::BlobKind;
use crate::repository::format::config::Operation;
use crate::repository::prune::put_record;
use crate::repository::transfer::{Unreadable, transfer};
use crate::repository::writer::blobs::BlobWriter;
use crate::repository::writing::{Wanted, Writing};
use crate::repository::{Effort, Progress, Reader, Repository, RepositoryError, layout};
use crate::store::Kind;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

/// Packs are compressed once and kept long.
const LEVEL: i32 = 3;
/// How often others may be first with their record of condemned packs.
const ATTEMPTS_MAX: usize = 8;

/// What was healed.
#[derive(Debug, Clone, Default)]
pub struct Healed {
    /// Blobs that were stored again.
    pub blobs: u64,
    /// What they took.
    pub stored_bytes: u64,
    /// How many damaged packs were condemned.
    pub condemned: u64,
    /// Damaged index segments that were removed; what they said is in the packs too.
    pub segments: u64,
    /// Blobs that are whole nowhere that was looked at, and why.
    pub left: Vec<(BlobId, RepositoryError)>,
}

impl Repository {
    /// Stores again what `report` says is hurt here. `from` are other repositories, the best first; those of
    /// another keyring know none of these blobs.
    pub async fn heal(
        &self,
        report: &CheckReport,
        from: &[Repository],
    ) -> Result<Healed, RepositoryError> {
        self.permits(Operation::Write)?;
        let mut healed = Healed::default();
        let wounds = &report.wounds;
        if wounds.is_empty() {
            return Ok(healed);
        }
        let mut readers = vec![self.reader().await?];
        for other in from.iter().filter(|other| self.is_kin_of(other)) {
            readers.push(other.reader().await?);
        }
        let session = SessionId(self.random());
        let fence = layout::repack(self.now(), &session);
        let wanted = Wanted {
            fence: &fence,
            pins: Vec::new(),
            avoid: wounds.packs.clone(),
            effort: Effort::always(LEVEL),
        };
        let mut writing = Writing::begin(self, session, wanted).await?;
        let mut missing = Missing::of(wounds);
        for reader in &readers {
            missing = missing.store(reader, &writing.blobs).await?;
        }
        writing.finish().await?;
        healed.blobs = missing.stored;
        healed.stored_bytes = writing.blobs.counts().1;
        healed.left = missing.why;
        // After what replaces them, so that nobody is without either.
        healed.condemned = self.condemn_damaged(&wounds.packs).await?;
        self.revoke(&fence).await?;
        healed.segments = self.remove_segments(&wounds.segments).await?;
        Ok(healed)
    }

    /// Whether blobs have the same ids in both.
    fn is_kin_of(&self, other: &Repository) -> bool {
        self.keyring_id() == other.keyring_id()
    }

    /// Condemns damaged packs, those that are missing included: whoever writes stores again what is in them.
    /// A pack of which something is whole nowhere stays all the same, for nothing that is needed is removed.
    async fn condemn_damaged(&self, damaged: &BTreeSet<Digest>) -> Result<u64, RepositoryError> {
        for _ in 0..ATTEMPTS_MAX {
            let log = self.condemned().await?;
            let is_new = |pack: &&Digest| !log.packs.contains_key(*pack);
            let packs: Vec<Digest> = damaged.iter().filter(is_new).copied().collect();
            if !packs.is_empty() && !put_record(self, log.seen + 1, &packs).await? {
                continue;
            }
            return Ok(packs.len() as u64);
        }
        Ok(0)
    }

    /// The packs that a damaged segment described were described anew when the session began.
    async fn remove_segments(&self, names: &BTreeSet<String>) -> Result<u64, RepositoryError> {
        let mut removed = 0;
        for name in names {
            let Ok(key) = name.parse() else { continue };
            match self.store().delete(&key).await {
                Ok(()) => removed += 1,
                // Whoever may not delete leaves it: it is of no harm.
                Err(e) if e.kind == Kind::Denied => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(removed)
    }
}

/// Blobs that are to be stored again.
#[derive(Default)]
struct Missing {
    trees: Vec<BlobId>,
    data: Vec<BlobId>,
    why: Vec<(BlobId, RepositoryError)>,
    /// How many were stored by now.
    stored: u64,
}

impl Missing {
    fn of(wounds: &Wounds) -> Self {
        Self {
            trees: wounds.trees.iter().copied().collect(),
            data: wounds.data.iter().copied().collect(),
            ..Self::default()
        }
    }

    /// Stores what this reader can read, and gives what it can not. What a tree names is not known before the
    /// tree is: it may be missing too.
    async fn store(self, reader: &Reader, into: &Arc<BlobWriter>) -> Result<Self, RepositoryError> {
        let progress: Arc<dyn Progress> = Arc::new(());
        let mut left = Self {
            stored: self.stored,
            ..Self::default()
        };
        let mut level = self.trees;
        let mut seen: HashSet<BlobId> = level.iter().copied().collect();
        let mut data = self.data;
        while !level.is_empty() {
            let of = (BlobKind::Tree, Unreadable::Noted);
            let moved = transfer(of, reader, level, into, &progress).await?;
            left.stored += moved.stored;
            left.trees
                .extend(moved.unreadable.iter().map(|(id, _)| *id));
            left.why.extend(moved.unreadable);
            level = moved.children.trees;
            level.retain(|id| !into.is_known(id) && seen.insert(*id));
            data.extend(moved.children.data);
        }
        data.retain(|id| !into.is_known(id) && seen.insert(*id));
        // What only stands on something damaged is whole again when that is.
        for level in reader.by_depth(data) {
            let missing = level
                .into_iter()
                .filter(|id| !into.will_stand(id))
                .collect();
            let of = (BlobKind::Data, Unreadable::Noted);
            let moved = transfer(of, reader, missing, into, &progress).await?;
            left.stored += moved.stored;
            left.data.extend(moved.unreadable.iter().map(|(id, _)| *id));
            left.why.extend(moved.unreadable);
        }
        Ok(left)
    }
}
