//! Forgets backups and prunes what nothing needs any more. What may go was decided, with its proof, by the
//! plan: these steps run only after every step that the proof consists of.

use crate::apply::error::StepError;
use crate::apply::hands::Hands;
use crate::model::ids::{BackupId, DestinationName};
use crate::model::inventory::hold;
use crate::model::units::Period;
use crate::plan::report::Done;
use crate::plan::{BackupRef, Reason, Step};
use crate::repository::{PruneReport, PruneRequest};

pub(crate) async fn forget(
    step: &Step,
    backup: &BackupId,
    destination: &DestinationName,
    hands: &Hands,
) -> Result<Done, StepError> {
    let done = Done {
        backup: Some(*backup),
        ..Done::default()
    };
    let (repository, listed) = match hands.find(&BackupRef::Id(*backup), destination).await {
        Ok(found) => found,
        // An earlier run did it, and was ended before it could say so.
        Err(StepError::BackupGone { .. }) => return Ok(done),
        Err(error) => return Err(error),
    };
    // The run lists the destination anew: a hold that was put there after the plan was made counts.
    if let Some((by, reason)) = hold(&listed.annotations) {
        let (id, by, reason) = (backup.short(), by.to_owned(), reason.to_owned());
        return Err(StepError::Held { id, by, reason });
    }
    let reason = why(&step.because);
    let forgotten = repository.forget(&listed, &reason, Some(hands.run()));
    forgotten.await.map_err(|cause| StepError::Repository {
        doing: "forget",
        what: step.action.what(),
        cause,
    })?;
    Ok(done)
}

/// The reason in words, for the tomb: what an operator reads who finds a backup gone.
fn why(reason: &Reason) -> String {
    match reason {
        Reason::NotKept {
            was: Some(rule), ..
        } => format!("no rule keeps it; was kept by {rule}"),
        Reason::Expired { cap } => format!("older than the hard cap of {cap}"),
        Reason::NotStoredHere => "the component is not stored here any more".to_owned(),
        _ => "no rule keeps it".to_owned(),
    }
}

pub(crate) async fn prune(
    destination: &DestinationName,
    trash: Period,
    hands: &Hands,
) -> Result<Done, StepError> {
    let repository = hands.destinations().repository(destination).await?;
    let request = PruneRequest {
        trash,
        ..PruneRequest::default()
    };
    let failed = |cause| StepError::Repository {
        doing: "prune",
        what: destination.to_string(),
        cause,
    };
    let report = repository.prune(request).await.map_err(failed)?;
    // All that could go is gone; what was found on the way must be heard of.
    if let Some(damaged) = report.damaged.first() {
        return Err(failed(damaged.cause.clone()));
    }
    Ok(Done {
        stored_bytes: report.deleted.bytes,
        note: words(&report),
        ..Done::default()
    })
}

fn words(report: &PruneReport) -> String {
    let mut parts = Vec::new();
    let mut part = |count: u64, what: &str| {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    };
    part(report.emptied.len() as u64, "backups left the trash");
    part(report.repacked.count, "packs repacked");
    part(report.condemned.count, "packs condemned");
    part(report.deleted.count, "packs removed");
    part(report.waiting.count, "packs wait for their grace");
    part(report.retained.count, "packs are locked");
    part(
        report.wal_removed.count,
        "WAL files that backups hold removed",
    );
    match parts.is_empty() {
        true => "nothing to remove".to_owned(),
        false => parts.join(", "),
    }
}
