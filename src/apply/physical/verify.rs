//! Proves base backups and WAL: takes the right check and gives it what else the destination holds.

use crate::apply::error::StepError;
use crate::apply::hands::Hands;
use crate::model::ids::DestinationName;
use crate::model::strategy::{Component, Method, SourceSpec};
use crate::model::wal::{BaseFacts, WalFacts};
use crate::plan::CheckSpec;
use crate::repository::{ListedBackup, Reader, Repository};
use crate::restore::wal::WalPlace;
use crate::verify::cluster::{Around, BaseTest};
use crate::verify::{self, Finding};
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
        (Method::Base, CheckSpec::RestoreTest { .. }) => {
            let request = base_test(component, destination, hands).await;
            let tested = verify::cluster::restore_test(manifest, reader, &root, request);
            Ok(tested.boxed().await)
        }
        _ => Err(StepError::NotInThisVersion {
            verb: "verify",
            component: component.name.clone(),
        }),
    }
}

/// A base needs its WAL, wherever that is: first where the base is itself, then in the order of `store`.
async fn base_test(component: &Component, at: &DestinationName, hands: &Hands) -> BaseTest {
    let names: Vec<_> = std::iter::once(&component.name)
        .chain(&component.moved_from)
        .cloned()
        .collect();
    let others = component.store.iter().filter(|name| *name != at);
    let mut places = Vec::new();
    for name in std::iter::once(at).chain(others) {
        if let Ok(repository) = hands.destinations().repository(name).await {
            places.push(WalPlace::new(repository, names.clone()));
        }
    }
    let archive = match &component.source {
        SourceSpec::Postgres(spec) => spec.wal.as_ref().and_then(|wal| wal.archive_dir.as_ref()),
        _ => None,
    };
    BaseTest {
        random: u64::from_le_bytes(hands.random()),
        parent: hands.scratch(),
        places,
        archive: archive.map(|path| hands.path(path)),
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
