//! Replicates a backup to another destination.

use crate::apply::back_up::{Watched, effort};
use crate::apply::error::StepError;
use crate::apply::hands::Hands;
use crate::apply::walk::Monitor;
use crate::model::ids::DestinationName;
use crate::plan::report::Done;
use crate::plan::{BackupRef, StepId};
use crate::repository;
use std::sync::Arc;

pub(crate) async fn copy(
    step: StepId,
    backup: &BackupRef,
    from: &DestinationName,
    to: &DestinationName,
    hands: &Hands,
    monitor: &Arc<dyn Monitor>,
) -> Result<Done, StepError> {
    let (source, listed) = hands.find(backup, from).await?;
    let target = hands.destinations().repository(to).await?;
    let progress = Arc::new(Watched {
        step,
        monitor: monitor.clone(),
    });
    let effort = effort(listed.manifest.method);
    let copied = repository::copy(&source, &listed, &target, effort, progress).await;
    let manifest = copied.map_err(|cause| StepError::Repository {
        doing: "copy",
        what: format!("{} -> {to}", listed.manifest.id.short()),
        cause,
    })?;
    Ok(Done {
        backup: Some(manifest.id),
        read_bytes: manifest.stats.bytes,
        stored_bytes: manifest.stats.stored_bytes,
        ..Done::default()
    })
}
