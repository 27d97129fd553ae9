//! PostgreSQL's own files, for recovery to any moment: base backups of a running server, and the WAL that it
//! hands over meanwhile.

mod conclude;
mod survey;
mod taking;
mod verify;

pub(crate) use verify::check;

use crate::apply::capture::{password, waiting};
use crate::apply::error::StepError;
use crate::apply::hands::Hands;
use crate::model::strategy::{Component, PostgresSource};
use crate::model::wal::{SegmentBytes, SystemId};
use crate::repository::NamedBy;
use crate::source::postgres::connection::Connection;
use crate::source::{Capture, SourceError, cluster};
use std::time::Duration;

type Cluster = (SystemId, SegmentBytes);

/// A server that sends nothing for so long is asked whether it waits for its own archiving.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts a base backup.
pub(crate) async fn base(
    component: &Component,
    spec: &PostgresSource,
    hands: &Hands,
) -> Result<Capture, StepError> {
    let connection = connection(component, spec, hands)?;
    let asked = connection.clone();
    let server = waiting(&component.name, move || cluster::server::ask(&asked)).await?;
    // Before the backup, which ends when its WAL is archived: that of a new cluster would be refused.
    let of = (server.system, server.segment_bytes);
    name_cluster(component, of, NamedBy::Base, hands).await?;
    let request = cluster::base::Request {
        connection,
        label: format!("ccb {}", component.name),
        is_fast: true,
        has_archive: spec.wal.is_some(),
        patience: PATIENCE,
    };
    waiting(&component.name, move || {
        cluster::base::start(request, server)
    })
    .await
}

/// Starts taking over the WAL that no backup has yet.
pub(crate) async fn wal(
    component: &Component,
    spec: &PostgresSource,
    hands: &Hands,
) -> Result<Capture, StepError> {
    let connection = connection(component, spec, hands)?;
    let source = spec.wal.as_ref();
    if source.is_some_and(|source| source.slot.is_some()) {
        let words = "this version of ccb does not read WAL from a replication slot: run pg_receivewal with that slot into a directory and name it with archive-dir, or let the server call `ccb wal push`";
        return Err(StepError::Source {
            component: component.name.clone(),
            cause: SourceError::Refused(words.to_owned()),
        });
    }
    let archive = source.and_then(|source| source.archive_dir.as_ref());
    let archive = archive.map(|path| hands.path(path));
    survey::start(component, archive.as_deref(), connection, hands).await
}

fn connection(
    component: &Component,
    spec: &PostgresSource,
    hands: &Hands,
) -> Result<Connection, StepError> {
    let password = password(component, spec.password.as_ref(), hands)?;
    Ok(Connection::new(spec, password))
}

/// Makes sure at every destination that is open that the component's WAL is of that cluster.
async fn name_cluster(
    component: &Component,
    cluster: Cluster,
    named_by: NamedBy,
    hands: &Hands,
) -> Result<(), StepError> {
    for destination in &component.store {
        let Ok(repository) = hands.destinations().repository(destination).await else {
            continue;
        };
        let accepted = repository.accept_wal_of(&component.name, cluster, named_by);
        accepted.await.map_err(|cause| StepError::Repository {
            doing: "record the cluster of",
            what: component.name.to_string(),
            cause,
        })?;
    }
    Ok(())
}
