//! Why a step failed, as a type inside and as a chain of words in the report.

use crate::export::ExportError;
use crate::model::ids::{BackupId, ComponentName, DestinationName};
use crate::plan::report::{Failure, FailureKind};
use crate::repository::{OpenError, RepositoryError};
use crate::source::SourceError;
use crate::source::bucket::{BucketError, SettingsError};
use crate::store::Kind;
use std::{error::Error, io};

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum StepError {
    #[error("open destination `{destination}`")]
    Open {
        destination: DestinationName,
        #[source]
        cause: OpenError,
    },
    #[error("destination `{0}` has no repository yet; plan again, the plan will make one")]
    NoRepository(DestinationName),
    #[error("`{0}` is not in the plan file that is being applied")]
    Unknown(String),
    #[error("backup {} is not at destination `{destination}` any more", id.short())]
    BackupGone {
        id: BackupId,
        destination: DestinationName,
    },
    #[error("back up `{component}`")]
    Source {
        component: ComponentName,
        #[source]
        cause: SourceError,
    },
    #[error("{doing} `{what}`")]
    Repository {
        doing: &'static str,
        what: String,
        #[source]
        cause: RepositoryError,
    },
    #[error("{id} was held by {by} after the plan was made: {reason:?}; plan again")]
    Held {
        id: String,
        by: String,
        reason: String,
    },
    #[error("read the secret of component `{component}`")]
    SourceSecret {
        component: ComponentName,
        #[source]
        cause: io::Error,
    },
    #[error("destination `{destination}` is locked by {by}")]
    Locked {
        destination: DestinationName,
        by: String,
    },
    #[error(
        "destination `{0}`: another run made its repository after this plan was made; run again"
    )]
    MadeMeanwhile(DestinationName),
    #[error("read the key for destination `{destination}`")]
    Secret {
        destination: DestinationName,
        #[source]
        cause: io::Error,
    },
    #[error("run the hook `{command}`")]
    Hook {
        command: String,
        #[source]
        cause: io::Error,
    },
    #[error("export {what}")]
    Export {
        what: String,
        #[source]
        cause: ExportError,
    },
    #[error("remove the export `{key}`; it stays recorded, and the next export tries again")]
    RemoveExport {
        key: String,
        #[source]
        cause: ExportError,
    },
    #[error("read the key of {what}")]
    ExportSecret {
        what: String,
        #[source]
        cause: io::Error,
    },
    #[error("{0}")]
    CheckFailed(String),
    #[error("{0}")]
    NotKnown(String),
    #[error("look at component `{component}`")]
    Looked {
        component: ComponentName,
        #[source]
        cause: BucketError,
    },
    #[error("look at component `{component}`: {why}")]
    BucketAway {
        component: ComponentName,
        why: String,
    },
    #[error("set component `{component}`")]
    Settings {
        component: ComponentName,
        #[source]
        cause: SettingsError,
    },
    #[error(
        "{what} was {planned} when the plan was made, and is {now} now: nothing was set; plan again"
    )]
    SetMeanwhile {
        what: String,
        planned: String,
        now: String,
    },
    #[error(
        "{what} is {now}, though the server took the change; look at the bucket, then apply again"
    )]
    NotSet { what: String, now: String },
    #[error("the step that makes this backup left none")]
    NoBackupMade,
    #[error(
        "this version of ccb can not {verb} `{component}`: its kind of source is planned, but not carried out"
    )]
    NotInThisVersion {
        verb: &'static str,
        component: ComponentName,
    },
    #[error("the step ended in the middle: {0}")]
    Crashed(String),
}

impl StepError {
    /// The chain of causes, outermost first, and what kind of failure it is.
    pub(crate) fn into_failure(self) -> Failure {
        let kind = self.kind();
        let mut chain = vec![self.to_string()];
        let mut cause = self.source();
        while let Some(error) = cause {
            let words = error.to_string();
            // A transparent wrapper says the same as what it wraps.
            if chain.last() != Some(&words) {
                chain.push(words);
            }
            cause = error.source();
        }
        Failure { chain, kind }
    }

    fn kind(&self) -> FailureKind {
        let of_store = |kind: Kind| match kind {
            Kind::Unreachable => FailureKind::Unreachable,
            _ => FailureKind::Other,
        };
        match self {
            Self::CheckFailed(_) => FailureKind::Verification,
            Self::Locked { .. } | Self::MadeMeanwhile(_) => FailureKind::Locked,
            Self::Secret { .. } | Self::ExportSecret { .. } => FailureKind::Key,
            Self::Export { cause, .. } | Self::RemoveExport { cause, .. } => of_export(cause),
            Self::NoRepository(_) | Self::BucketAway { .. } => FailureKind::Unreachable,
            Self::Looked { cause, .. } if cause.is_about_all() => FailureKind::Unreachable,
            Self::Open { cause, .. } => match cause {
                error if error.is_about_the_key() => FailureKind::Key,
                OpenError::Store(e) => of_store(e.kind),
                _ => FailureKind::Unreachable,
            },
            Self::Repository { cause, .. } => match cause {
                RepositoryError::Store(e) => of_store(e.kind),
                error if error.is_damage() => FailureKind::Verification,
                _ => FailureKind::Other,
            },
            _ => FailureKind::Other,
        }
    }
}

fn of_export(cause: &ExportError) -> FailureKind {
    match cause {
        ExportError::Store(e) | ExportError::Read(RepositoryError::Store(e))
            if e.kind == Kind::Unreachable =>
        {
            FailureKind::Unreachable
        }
        ExportError::Read(error) if error.is_damage() => FailureKind::Verification,
        ExportError::NoKey(_) => FailureKind::Key,
        _ => FailureKind::Other,
    }
}
