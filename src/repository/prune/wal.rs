//! WAL that was handed over and that a backup has taken over. It goes when a live backup at this very
//! repository has held it for the grace, by the store's clock; what is in no backup is never touched.

use crate::model::ids::ComponentName;
use crate::model::strategy::Method;
use crate::model::units::Period;
use crate::model::wal::{WalFacts, WalName};
use crate::repository::prune::PruneReport;
use crate::repository::{Repository, RepositoryError, WalObject};
use crate::store::Kind;
use futures_util::{StreamExt, stream};
use jiff::Timestamp;

/// Removals on their way.
const AT_ONCE: usize = 8;

/// A backup that has taken WAL over.
struct Taker {
    component: ComponentName,
    committed: Timestamp,
    facts: Vec<WalFacts>,
}

impl Taker {
    /// Whether it has that very object: one that came under the same name later is another matter.
    fn has(&self, object: &WalObject) -> bool {
        let of_cluster = |facts: &&WalFacts| facts.system_identifier == object.system;
        self.component == object.component
            && object.archived < self.committed
            && self
                .facts
                .iter()
                .filter(of_cluster)
                .any(|facts| facts.holds(&object.name))
    }
}

/// Removes what backups have taken over.
pub(super) async fn remove_taken_over(
    repository: &Repository,
    grace: Period,
    report: &mut PruneReport,
) -> Result<(), RepositoryError> {
    let objects = repository.list_wal(None).await?;
    if objects.is_empty() {
        return Ok(());
    }
    let holdings = repository.list().await?;
    let now = holdings.server_time;
    let takers: Vec<Taker> = holdings
        .backups
        .iter()
        .filter(|backup| backup.manifest.method == Method::Wal)
        .filter(|backup| grace.after(backup.committed) <= now)
        .map(|backup| Taker {
            component: backup.manifest.component.clone(),
            committed: backup.committed,
            facts: WalFacts::all_of(&backup.manifest),
        })
        .collect();
    // Histories are few and small, and every later WAL backup holds them all.
    let is_taken = |object: &WalObject| {
        !matches!(object.name, WalName::History(_)) && takers.iter().any(|taker| taker.has(object))
    };
    let mut removing = stream::iter(objects.into_iter().filter(is_taken))
        .map(|object| async move { (repository.store().delete(&object.key).await, object.size) })
        .buffer_unordered(AT_ONCE);
    while let Some((outcome, size)) = removing.next().await {
        match outcome {
            Ok(()) => report.wal_removed.add(size),
            // Under an object lock: it stays for as long as the store was told to keep it.
            Err(e) if e.kind == Kind::Denied => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}
