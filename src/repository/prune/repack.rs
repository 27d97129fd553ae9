//! Repacking: takes what is needed out of packs that are used in part, in a write session that commits no
//! backup. Removes nothing: afterwards the old packs hold nothing that is not elsewhere too, and are
//! condemned like any other.

use crate::model::ids::{BlobId, Digest, SessionId};
use crate::model::units::Percent;
use crate::repository::check::Damaged;
use crate::repository::format::blob::BlobKind;
use crate::repository::format::config::Operation;
use crate::repository::prune::survey::{Place, Survey};
use crate::repository::prune::usage::Usage;
use crate::repository::prune::{PruneReport, Repack};
use crate::repository::transfer::{Unreadable, transfer};
use crate::repository::writing::{Wanted, Writing};
use crate::repository::{Effort, Progress, Reader, Repository, RepositoryError, layout};
use crate::store::Kind;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Packs are compressed once and kept long.
const LEVEL: i32 = 3;

/// A pack of which more is used than this is not worth it: moving takes more than four bytes for each that is freed then. It
/// is left alone until twice as much of the repository as may be is of no use.
const FULL: Percent = Percent(80);

/// Moves what is needed out of the packs that are worth it. Returns whether anything was moved: then
/// `survey` is not what is there any more.
pub(super) async fn repack(
    repository: &Repository,
    survey: &Survey,
    limits: Repack,
    report: &mut PruneReport,
) -> Result<bool, RepositoryError> {
    let chosen = worthwhile(survey.usage(), limits);
    // It writes packs, which pruning by itself does not.
    if chosen.is_empty() || repository.permits(Operation::Write).is_err() {
        return Ok(false);
    }
    let session = SessionId(repository.random());
    let fence = layout::repack(repository.now(), &session);
    let packs = &survey.index.packs;
    let avoid: BTreeSet<Digest> = chosen
        .iter()
        .map(|pack| packs[*pack as usize].name)
        .collect();
    let wanted = Wanted {
        fence: &fence,
        pins: Vec::new(),
        avoid,
        effort: Effort::always(LEVEL),
    };
    let mut writing = Writing::begin(repository, session, wanted).await?;
    let reader = Reader::new(repository.clone(), survey.index.clone());
    for kind in [BlobKind::Tree, BlobKind::Data] {
        let is_in_chosen = |place: &Place| {
            let at = place.pack;
            chosen.contains(&at) && packs[at as usize].header.kind == kind
        };
        let moving = survey
            .needed()
            .filter(|(_, places)| places.iter().any(is_in_chosen));
        let ids: Vec<BlobId> = moving.map(|(id, _)| *id).collect();
        let ids = ids
            .into_iter()
            .filter(|id| !writing.blobs.is_known(id))
            .collect();
        let progress: Arc<dyn Progress> = Arc::new(());
        let of = (kind, Unreadable::Noted);
        let moved = transfer(of, &reader, ids, &writing.blobs, &progress).await?;
        note_unreadable(moved.unreadable, report)?;
    }
    writing.finish().await?;
    let (_, written) = writing.blobs.counts();
    // There is nothing to commit; by this everybody sees that the session is over.
    repository.revoke(&fence).await?;
    for pack in chosen {
        report.repacked.add(packs[pack as usize].size);
    }
    report.rewritten_bytes += written;
    Ok(true)
}

/// A blob that is gone was needed by nobody any more; another one that can not be read is damage. A store
/// that does not answer ends it.
fn note_unreadable(
    unreadable: Vec<(BlobId, RepositoryError)>,
    report: &mut PruneReport,
) -> Result<(), RepositoryError> {
    for (id, cause) in unreadable {
        match cause {
            RepositoryError::Store(error) if error.kind == Kind::NotFound => {}
            RepositoryError::Store(error) if error.kind != Kind::Corrupt => {
                return Err(error.into());
            }
            cause => report.damaged.push(Damaged {
                key: format!("blob {id}"),
                cause,
            }),
        }
    }
    Ok(())
}

/// Packs by number: those that are condemned and still needed, and, when too much of the repository is of no
/// use, those that are used least, until little enough is left or the budget is spent.
fn worthwhile(usage: &Usage, limits: Repack) -> BTreeSet<u32> {
    let mut chosen = BTreeSet::new();
    let mut left = limits.budget_bytes;
    let numbered = || {
        usage
            .packs
            .iter()
            .enumerate()
            .map(|(n, pack)| (n as u32, pack))
    };
    for (number, pack) in numbered().filter(|(_, pack)| pack.is_stranded) {
        if left == 0 {
            return chosen;
        }
        left = left.saturating_sub(pack.bytes);
        chosen.insert(number);
    }
    let mut staying = u128::from(usage.staying_bytes());
    let mut unused = u128::from(usage.unused_bytes());
    let mut partly: Vec<_> = numbered()
        .filter(|(_, pack)| pack.is_used() && pack.unused_bytes() > 0)
        .collect();
    let used_share = |pack: &crate::repository::prune::usage::PackUse| {
        u128::from(pack.used_bytes) * 1_000_000 / u128::from(pack.bytes.max(1))
    };
    partly.sort_by_key(|(number, pack)| (used_share(pack), *number));
    for (number, pack) in partly {
        let is_full = used_share(pack) > u128::from(FULL.0) * 10_000;
        let unused_max = u128::from(limits.unused_max.0) * if is_full { 2 } else { 1 };
        // Of what there will be: or else the next prune finds a little too much again.
        if unused * 100 <= staying * unused_max || left == 0 {
            break;
        }
        left = left.saturating_sub(pack.used_bytes);
        unused -= u128::from(pack.unused_bytes());
        staying -= u128::from(pack.unused_bytes());
        chosen.insert(number);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use crate::model::units::Percent;
    use crate::repository::prune::Repack;
    use crate::repository::prune::repack::worthwhile;
    use crate::repository::prune::usage::{PackUse, Usage};

    #[test]
    fn what_is_left_is_little_of_what_there_is_afterwards() {
        let of = |unused: u64| PackUse {
            bytes: 1000,
            used_blobs: 1,
            used_bytes: 1000 - unused,
            is_stranded: false,
        };
        let packs: Vec<PackUse> = (0..100)
            .map(|n| of(if n < 10 { 900 } else { 52 }))
            .collect();
        let limits = Repack {
            unused_max: Percent(5),
            budget_bytes: u64::MAX,
        };
        let chosen = worthwhile(
            &Usage {
                packs: packs.clone(),
            },
            limits,
        );
        assert!(chosen.len() < 100);
        // What is needed in the chosen ones is in packs of their own afterwards, which are of use as a whole.
        let after = packs.into_iter().enumerate().map(|(n, pack)| {
            let bytes = match chosen.contains(&(n as u32)) {
                true => pack.used_bytes,
                false => pack.bytes,
            };
            PackUse { bytes, ..pack }
        });
        let packs = after.collect();
        assert!(worthwhile(&Usage { packs }, limits).is_empty());
    }
}
