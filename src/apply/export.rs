//! Writes a copy that restores without ccb, reads it back, records it, and takes earlier ones away that the plan
//! lists. Nothing that ccb did not record as its own export is ever removed.

use crate::apply::error::StepError;
use crate::apply::hands::Hands;
use crate::apply::walk::Monitor;
use crate::export::{self, ExportError, Payload, Placed, Recipe, Removed, Seed, Spool};
use crate::model::ids::{ComponentName, DestinationName};
use crate::model::records::{ExportRecord, Version};
use crate::model::secret::Secret;
use crate::model::strategy::Export;
use crate::plan::report::Done;
use crate::plan::{Action, Step};
use crate::repository::{ListedBackup, Repository};
use crate::store::Key;
use std::collections::BTreeSet;
use std::sync::Arc;

pub(crate) async fn export(
    step: &Step,
    hands: &Hands,
    monitor: &Arc<dyn Monitor>,
) -> Result<Done, StepError> {
    let Action::Export {
        component,
        backup,
        from,
        to,
        name,
        key,
        tiers,
        removes,
        ..
    } = &step.action
    else {
        return Err(StepError::Unknown(step.id.to_string()));
    };
    let spec = hands.component(component)?;
    let asked = spec
        .exports
        .iter()
        .find(|e| e.name() == *name && e.to == *to);
    let asked = asked.ok_or_else(|| StepError::Unknown(format!("component.{component}.{name}")))?;
    let (repository, listed) = hands.find(backup, from).await?;
    let failed = |cause| StepError::Export {
        what: step.action.what(),
        cause,
    };
    let text = key.replace("{id}", &listed.manifest.id.short());
    let key = export::key(&text).map_err(failed)?;
    let recipe = Recipe::of(asked, passphrase(asked, component, hands)?).map_err(failed)?;
    let spool = spool(&repository, &listed, recipe, &key, hands).await;
    let spool = spool.map_err(failed)?;
    monitor.advanced(step.id, 0, spool.len_bytes());
    let store = hands.destinations().store(to).await?;
    let placed = export::put(&store, &key, &spool).await.map_err(failed)?;
    drop(spool);
    let record = ExportRecord {
        v: Version,
        component: component.clone(),
        backup: listed.manifest.id,
        method: listed.manifest.method,
        started: listed.manifest.started,
        name: name.clone(),
        tiers: tiers.clone(),
        destination: to.clone(),
        key: text,
        at: (hands.surroundings().now)(),
        bytes: placed.bytes,
        digest: placed.digest,
    };
    keeper(to, &repository, hands)
        .await
        .record_export(&record)
        .await
        .map_err(|cause| StepError::Repository {
            doing: "record the export",
            what: key.to_string(),
            cause,
        })?;
    let gone = remove(removes, to, from, hands).await?;
    Ok(Done {
        backup: Some(listed.manifest.id),
        stored_bytes: if placed.was_there { 0 } else { placed.bytes },
        read_bytes: 0,
        note: note(&placed, &key, gone),
        ..Done::default()
    })
}

fn passphrase(
    asked: &Export,
    component: &ComponentName,
    hands: &Hands,
) -> Result<Option<Secret>, StepError> {
    let read = asked
        .key
        .as_ref()
        .map(|reference| (hands.secrets())(reference));
    read.transpose().map_err(|cause| StepError::ExportSecret {
        what: format!("component.{component}.export.{}", asked.kind.as_str()),
        cause,
    })
}

/// The whole export, in a private file.
async fn spool(
    repository: &Repository,
    listed: &ListedBackup,
    recipe: Recipe,
    key: &Key,
    hands: &Hands,
) -> Result<Spool, ExportError> {
    let _pinned = repository.pin(&[listed]).await.map_err(ExportError::Read)?;
    let reader = repository.reader().await.map_err(ExportError::Read)?;
    let payload = Payload::of(&reader, &listed.manifest, recipe.is_of_all()).await?;
    let seed = Seed::of(&listed.manifest.id, key.as_str());
    Spool::of(payload, recipe, seed, hands.scratch()).await
}

/// The repository that keeps the record: the one beside the export, or the backup's own where there is none.
async fn keeper(to: &DestinationName, own: &Repository, hands: &Hands) -> Repository {
    let beside = hands.destinations().repository(to).await;
    beside.unwrap_or_else(|_| own.clone())
}

/// Removes exports that are recorded under these keys at `to`, then their records.
async fn remove(
    keys: &[String],
    to: &DestinationName,
    from: &DestinationName,
    hands: &Hands,
) -> Result<Gone, StepError> {
    let mut gone = Gone::default();
    if keys.is_empty() {
        return Ok(gone);
    }
    let store = hands.destinations().store(to).await?;
    for place in [to, from].into_iter().collect::<BTreeSet<_>>() {
        let repository = match hands.destinations().repository(place).await {
            Ok(repository) => repository,
            Err(StepError::NoRepository(_)) => continue,
            Err(error) => return Err(error),
        };
        let held = repository.list().await;
        let held = held.map_err(|cause| StepError::Repository {
            doing: "list the exports at",
            what: place.to_string(),
            cause,
        })?;
        let meant = held
            .exports
            .iter()
            .filter(|listed| listed.record.destination == *to && keys.contains(&listed.record.key));
        for listed in meant {
            let record = &listed.record;
            let failed = |cause| StepError::RemoveExport {
                key: record.key.clone(),
                cause,
            };
            let key = export::key(&record.key).map_err(failed)?;
            match export::remove(&store, &key, record.bytes)
                .await
                .map_err(failed)?
            {
                Removed::Gone => gone.keys.insert(record.key.clone()),
                Removed::Changed => gone.left.insert(record.key.clone()),
            };
            let dropped = repository.drop_export(listed).await;
            dropped.map_err(|cause| StepError::Repository {
                doing: "take away the record of",
                what: record.key.clone(),
                cause,
            })?;
        }
    }
    Ok(gone)
}

#[derive(Default)]
struct Gone {
    keys: BTreeSet<String>,
    /// Something else is there now.
    left: BTreeSet<String>,
}

fn note(placed: &Placed, key: &Key, gone: Gone) -> String {
    let mut words = match placed.was_there {
        true => format!("{key} was there already, and reads back as it should"),
        false => format!("{key}, read back"),
    };
    if !gone.keys.is_empty() {
        words.push_str(&format!("; {} removed", gone.keys.len()));
    }
    for key in &gone.left {
        words.push_str(&format!(
            "; {key} is not what ccb wrote any more, and is left alone"
        ));
    }
    words
}
