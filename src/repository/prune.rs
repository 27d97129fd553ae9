//! Removing what no backup needs, beside running sessions, on a store that knows no more than "create if
//! absent" (schemas/repository.md#pruning). Packs are condemned first and removed by a later call, after a
//! time of grace. A session that does not know that a pack is condemned is over before the pack goes, for
//! the key that it would commit is taken; no clock but the store's is ever asked. What can not be read
//! stops everything: then nobody knows what is needed.

mod condemn;
mod segments;
mod survey;
mod sweep;
mod trash;

use crate::model::ids::BackupId;
use crate::model::units::Period;
use crate::repository::format::config::Operation;
use crate::repository::{Repository, RepositoryError};
use jiff::Timestamp;

/// How long what is not needed is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PruneRequest {
    /// How long forgotten backups can be brought back.
    pub trash: Period,
    /// How long condemned packs stay. Sessions that are slower than this are ended, so it should be
    /// hours; 24 by default.
    pub grace: Period,
}

impl Default for PruneRequest {
    fn default() -> Self {
        Self {
            trash: Period::days(7),
            grace: Period::hours(24),
        }
    }
}

/// A number of packs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Packs {
    /// How many.
    pub count: u64,
    /// Their length together.
    pub bytes: u64,
}

impl Packs {
    pub(crate) fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }
}

/// What a prune did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PruneReport {
    /// Backups that left the trash, and can not be brought back.
    pub emptied: Vec<BackupId>,
    /// Packs that were condemned now.
    pub condemned: Packs,
    /// Packs that were removed.
    pub deleted: Packs,
    /// Condemned packs that the store refused to remove: they are locked.
    pub retained: Packs,
    /// Condemned packs that will be removed by a later prune.
    pub waiting: Packs,
    /// When the first of these have had their grace, by the store's clock.
    pub waiting_until: Option<Timestamp>,
    /// Hosts of live sessions that some packs wait for, sorted.
    pub waiting_for: Vec<String>,
    /// Sessions that were dead, and can not commit any more.
    pub revoked: u64,
}

impl Repository {
    /// Empties the trash, condemns what nothing needs, and removes what was condemned before the grace.
    /// May be interrupted at any point and run again, and by several at once.
    pub async fn prune(&self, request: PruneRequest) -> Result<PruneReport, RepositoryError> {
        self.permits(Operation::Remove)?;
        let mut report = PruneReport::default();
        trash::empty(self, request.trash, &mut report).await?;
        condemn::condemn(self, &mut report).await?;
        sweep::sweep(self, request.grace, &mut report).await?;
        segments::remove_superseded(self, request.grace).await?;
        trash::remove_sessions(self, request.grace).await?;
        self.remove_old_locks().await?;
        Ok(report)
    }
}
