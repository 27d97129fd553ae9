//! Proves base backups and WAL: takes the right check and gives it what else the destination holds.

use crate::apply::error::StepError;
use crate::apply::hands::Hands;
use crate::model::ids::DestinationName;
use crate::model::strategy::{Component, Method};
use crate::model::wal::{BaseFacts, WalFacts};
use crate::plan::CheckSpec;
use crate::repository::{ListedBackup, Reader, Repository};
use crate::verify::{self, Finding, cluster::Around};
use futures_util::FutureExt;

pub(crate) async fn check(
    component: &Component,
    (destination, repository): (&DestinationName, &Repository),
    listed: &ListedBackup,
    check: &CheckSpec,
    reader: &Reader,
    hands: &Hands,
) -> Result<Finding, StepError> {
    let manifest = &listed.manifest;
    let root = manifest.root_node();
    match (manifest.method, check) {
        (Method::Base, CheckSpec::Contents) => {
            let checked = verify::cluster::base(manifest, reader, &root);
            Ok(checked.boxed().await)
        }
        (Method::Wal, CheckSpec::Contents) => {
            let around = around(component, destination, repository, hands).await?;
            let checked = verify::cluster::wal(manifest, &around, reader, &root);
            Ok(checked.boxed().await)
        }
        _ => Err(StepError::NotInThisVersion {
            verb: "verify",
            component: component.name.clone(),
        }),
    }
}

/// All other WAL and the bases that are at the destination.
async fn around(
    component: &Component,
    destination: &DestinationName,
    repository: &Repository,
    hands: &Hands,
) -> Result<Around, StepError> {
    let mut around = Around::default();
    let held = hands.destinations().held(destination).await?;
    let names = || std::iter::once(&component.name).chain(&component.moved_from);
    let manifests = held.backups.iter().map(|backup| &backup.manifest);
    for manifest in manifests.filter(|m| names().any(|name| *name == m.component)) {
        around.wal.extend(WalFacts::all_of(manifest));
        let base = BaseFacts::of(manifest).filter(|_| manifest.complete);
        let first = base.and_then(|base| Some((base.system_identifier, base.first_segment()?)));
        around.bases.extend(first);
    }
    for name in names() {
        let waiting = repository.waiting_wal(Some(name)).await;
        let (waiting, _) = waiting.map_err(|cause| StepError::Repository {
            doing: "look at the WAL of",
            what: name.to_string(),
            cause,
        })?;
        around
            .wal
            .extend(waiting.into_iter().map(|waiting| waiting.facts));
    }
    Ok(around)
}
