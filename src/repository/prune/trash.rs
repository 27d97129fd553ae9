//! What is over for good: backups whose time in the trash has passed, and leases of ended sessions. A tomb
//! stays, and so does the mark of a session that was ended: both say that a key is taken.

use crate::model::units::Period;
use crate::repository::prune::PruneReport;
use crate::repository::prune::survey::LEASES_KEPT_MIN;
use crate::repository::sessions::{Seen, Sessions};
use crate::repository::{Holdings, Repository, RepositoryError, Trashed, layout};
use crate::store::{Key, Kind};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;

/// Removes the manifests of backups that were forgotten long enough ago, by the store's clock.
pub(super) async fn empty(
    repository: &Repository,
    trash: Period,
    report: &mut PruneReport,
) -> Result<(), RepositoryError> {
    let holdings = repository.list().await?;
    for trashed in &holdings.trashed {
        if trash.after(trashed.since) > holdings.server_time {
            continue;
        }
        let is_locked = !remove(repository, &trashed.backup.key).await?;
        if is_locked {
            continue;
        }
        report.emptied.push(trashed.backup.manifest.id);
        if !is_listed_elsewhere(&holdings, trashed) {
            let said = format!("{}{}/", layout::ANNOTATIONS, trashed.backup.manifest.id);
            for object in repository.store().list(&said).await?.objects {
                remove(repository, &object.key).await?;
            }
        }
    }
    Ok(())
}

fn is_listed_elsewhere(holdings: &Holdings, trashed: &Trashed) -> bool {
    let in_trash = holdings.trashed.iter().map(|other| &other.backup);
    let others = holdings.backups.iter().chain(in_trash);
    let gone = &trashed.backup;
    others
        .filter(|other| other.key != gone.key)
        .any(|other| other.manifest.id == gone.manifest.id)
}

/// Removes leases that nobody asks for any more. For how long they are kept is part of the proof: see
/// [`LEASES_KEPT_MIN`].
pub(super) async fn remove_sessions(
    repository: &Repository,
    grace: Period,
) -> Result<(), RepositoryError> {
    let sessions = repository.sessions().await?;
    let ends = repository.ends().await?;
    let grace = i64::try_from(grace.seconds).unwrap_or(i64::MAX);
    let kept = SignedDuration::from_secs(grace.saturating_mul(2)).max(LEASES_KEPT_MIN);
    let now = sessions.server_time;
    for session in &sessions.all {
        if let Some(fence) = session.fence()
            && ends.of(&fence).is_none()
            && now.duration_since(session.newest) > kept
        {
            // Dead for so long that what it pinned should not be kept for its sake.
            repository.revoke(&fence).await?;
            continue;
        }
        let over = over_since(session, now, |fence| ends.of(fence));
        if over.is_none_or(|since| now.duration_since(since) <= kept) {
            continue;
        }
        for key in &session.objects {
            remove(repository, key).await?;
        }
    }
    remove_repacks(repository, &sessions, kept).await
}

/// Removes the ends of sessions that moved blobs to other packs, once nobody asks whether they ended. They
/// fence nothing: such a session commits no backup.
async fn remove_repacks(
    repository: &Repository,
    sessions: &Sessions,
    kept: SignedDuration,
) -> Result<(), RepositoryError> {
    let leased: BTreeSet<Key> = sessions.all.iter().filter_map(Seen::fence).collect();
    let ends = repository.store().list(layout::REPACKS).await?;
    for end in &ends.objects {
        let is_over = ends.server_time.duration_since(end.modified) > kept;
        if is_over && !leased.contains(&end.key) {
            remove(repository, &end.key).await?;
        }
    }
    Ok(())
}

/// Since when a session is over: a writer has ended, a reader is dead.
fn over_since(
    session: &Seen,
    now: Timestamp,
    ended: impl Fn(&Key) -> Option<Timestamp>,
) -> Option<Timestamp> {
    match session.fence() {
        Some(fence) => ended(&fence).map(|at| at.max(session.newest)),
        None => (!session.is_alive(now)).then_some(session.newest),
    }
}

/// Removes an object; `false` when the store keeps it under a lock.
pub(super) async fn remove(repository: &Repository, key: &Key) -> Result<bool, RepositoryError> {
    match repository.store().delete(key).await {
        Err(e) if e.kind == Kind::Denied => Ok(false),
        deleted => Ok(deleted.map(|()| true)?),
    }
}
