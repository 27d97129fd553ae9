//! Removing what no backup needs, beside running sessions, on a store that knows no more than "create if
//! absent" (schemas/repository.md#pruning). Packs are condemned first and removed by a later call, after a
//! time of grace. A session that does not know that a pack is condemned is over before the pack goes, for
//! the key that it would commit is taken; no clock but the store's is ever asked. What can not be read
//! stops everything: then nobody knows what is needed.

mod condemn;
mod old;
mod repack;
mod segments;
mod survey;
mod sweep;
mod trash;
mod usage;
mod wal;

pub(crate) use condemn::put_record;

use crate::model::ids::BackupId;
use crate::model::units::{Percent, Period};
use crate::repository::check::Damaged;
use crate::repository::format::config::Operation;
use crate::repository::prune::survey::{Known, Survey};
use crate::repository::{Repository, RepositoryError};
use crate::store::Kind;
use jiff::Timestamp;

/// How long what is not needed is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PruneRequest {
    /// How long forgotten backups can be brought back.
    pub trash: Period,
    /// How long condemned packs stay. Sessions that are slower than this are ended, so it should be
    /// hours; 24 by default.
    pub grace: Period,
    /// What may be moved out of packs that are used in part.
    pub repack: Repack,
}

/// When and how much is moved out of packs that are used in part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repack {
    /// More of the repository than this is not to be of no use, as far as packs are used in so small a part that moving is
    /// worth it; more than twice this in no case, if the budget is enough.
    pub unused_max: Percent,
    /// So much is read and stored again by one prune; 0: nothing.
    pub budget_bytes: u64,
}

/// The grace where two writers at once could harm one another: longer than any of them runs.
const GRACE_SINGLE_WRITER: Period = Period::hours(72);

impl Default for PruneRequest {
    fn default() -> Self {
        Self {
            trash: Period::days(7),
            grace: Period::hours(24),
            repack: Repack {
                unused_max: Percent(5),
                budget_bytes: 1 << 30,
            },
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
#[derive(Debug, Clone, Default)]
pub struct PruneReport {
    /// Backups that left the trash, and can not be brought back.
    pub emptied: Vec<BackupId>,
    /// Packs out of which what is needed was moved; they are condemned then.
    pub repacked: Packs,
    /// What was stored again for that.
    pub rewritten_bytes: u64,
    /// What takes room in packs that stay, and is of no use.
    pub unused_bytes: u64,
    /// What was found to be damaged on the way.
    pub damaged: Vec<Damaged>,
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
    /// Hosts of sessions that packs wait for, sorted.
    pub waiting_for: Vec<String>,
    /// Sessions that were dead, and can not commit any more.
    pub revoked: u64,
    /// Small objects that were of no use any more: old tombs, records of runs and prunes.
    pub tidied: u64,
    /// WAL files that a backup has taken over, and that are not needed twice.
    pub wal_removed: Packs,
}

impl Repository {
    /// Empties the trash, moves what is needed out of packs that are used too little, condemns what nothing
    /// needs, and removes what was condemned before the grace. May be interrupted at any point and run
    /// again, and by several at once.
    pub async fn prune(&self, request: PruneRequest) -> Result<PruneReport, RepositoryError> {
        self.permits(Operation::Remove)?;
        let mut report = PruneReport::default();
        match self.prune_into(request, &mut report).await {
            Err(RepositoryError::PinGone { hosts }) => report.waiting_for = hosts,
            pruned => pruned?,
        }
        Ok(report)
    }

    async fn prune_into(
        &self,
        request: PruneRequest,
        report: &mut PruneReport,
    ) -> Result<(), RepositoryError> {
        unless_full(self.probe().await)?;
        let grace = match self.is_single_writer().await? {
            true => request.grace.max(GRACE_SINGLE_WRITER),
            false => request.grace,
        };
        // Who died after it pinned what had just been removed must not stop this for ever.
        trash::remove_sessions(self, grace).await?;
        trash::empty(self, request.trash, report).await?;
        let mut known = Known::default();
        let mut survey = Survey::for_condemning(self, &mut known).await?;
        let moved = repack::repack(self, &survey, request.repack, report).await;
        if unless_full(moved)?.unwrap_or(true) {
            // One at a time: each holds the places of all that is needed.
            drop(survey);
            survey = Survey::for_condemning(self, &mut known).await?;
        }
        let supersedes = segments::supersedes(&survey);
        let condemned = unless_full(condemn::condemn(self, survey, &mut known, report).await)?;
        sweep::sweep(self, grace, &mut known, report).await?;
        if condemned.is_none() {
            // Perhaps there is room for a record now.
            let survey = Survey::for_condemning(self, &mut known).await?;
            condemn::condemn(self, survey, &mut known, report).await?;
        }
        drop(known);
        segments::remove_superseded(self, grace, supersedes).await?;
        trash::remove_sessions(self, grace).await?;
        self.remove_old_locks().await?;
        wal::remove_taken_over(self, grace, report).await?;
        report.tidied = old::remove_old(self, grace).await?;
        Ok(())
    }
}

/// What was done; nothing where the store is full. A prune is what makes room, so it goes on without.
fn unless_full<T>(done: Result<T, RepositoryError>) -> Result<Option<T>, RepositoryError> {
    match done {
        Err(RepositoryError::Store(error)) if error.kind == Kind::Full => Ok(None),
        done => done.map(Some),
    }
}
