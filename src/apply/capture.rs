//! Starts reading a component: the one place that knows which source does which method. What comes back
//! looks the same for all of them.

use crate::apply::error::StepError;
use crate::apply::hands::Hands;
use crate::apply::physical;
use crate::model::ids::ComponentName;
use crate::model::secret::Secret;
use crate::model::strategy::{
    Component, DestinationKind, FilesSource, Method, RedisSource, SecretRef, SourceSpec,
};
use crate::model::tree::Previous;
use crate::source::{Capture, Facts, Finish, SourceError, bucket, files, postgres, redis};
use std::path::PathBuf;
use std::time::Duration;

/// How long a dump waits for a table that somebody has locked against reading. Others queue behind it meanwhile.
const LOCK_WAIT: Duration = Duration::from_secs(60);

/// Starts reading `component` by `method`. `previous` is the parent's tree, for methods that have one.
pub(crate) async fn start(
    component: &Component,
    method: Method,
    previous: Option<Box<dyn Previous>>,
    hands: &Hands,
) -> Result<Capture, StepError> {
    match (&component.source, method) {
        (SourceSpec::Files(spec), _) => {
            let request = files_request(spec, previous, hands);
            waiting(&component.name, move || Ok(files::capture(request)?)).await
        }
        (SourceSpec::Redis(spec), method) => {
            let request = redis_request(&component.name, spec, hands)?;
            let start = match method {
                Method::Aof => redis::aof,
                _ => redis::rdb,
            };
            waiting(&component.name, move || start(request)).await
        }
        (SourceSpec::Postgres(spec), Method::Base) => physical::base(component, spec, hands).await,
        (SourceSpec::Postgres(spec), Method::Wal) => physical::wal(component, spec, hands).await,
        (SourceSpec::Postgres(spec), Method::Dump) => {
            let request = postgres::Request {
                spec: spec.clone(),
                password: password(component, spec.password.as_ref(), hands)?,
                at_ns: (hands.surroundings().now)().as_nanosecond(),
                lock_wait: LOCK_WAIT,
            };
            waiting(&component.name, move || postgres::dump(request)).await
        }
        (SourceSpec::S3(spec), Method::Mirror) => {
            let access = hands.bucket(&component.name, spec).await?;
            let started = bucket::mirror(bucket::MirrorRequest { access, previous }).await;
            started.map_err(|cause| StepError::Source {
                component: component.name.clone(),
                cause,
            })
        }
        (SourceSpec::Postgres(_) | SourceSpec::S3(_), _) => Err(StepError::NotInThisVersion {
            verb: "back up",
            component: component.name.clone(),
        }),
    }
}

/// The password of a component, where its plan file names one.
pub(crate) fn password(
    component: &Component,
    reference: Option<&SecretRef>,
    hands: &Hands,
) -> Result<Option<Secret>, StepError> {
    let read = reference.map(|reference| (hands.secrets())(reference));
    read.transpose().map_err(|cause| StepError::SourceSecret {
        component: component.name.clone(),
        cause,
    })
}

/// Asks the source for its last checks and for what it says of itself.
pub(crate) async fn finish(component: &ComponentName, finish: Finish) -> Result<Facts, StepError> {
    waiting(component, finish).await
}

/// Runs what may wait for a server or a slow file system, not on a runtime thread.
pub(crate) async fn waiting<T: Send + 'static>(
    component: &ComponentName,
    work: impl FnOnce() -> Result<T, SourceError> + Send + 'static,
) -> Result<T, StepError> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|e| StepError::Crashed(e.to_string()))?;
    done.map_err(|cause| StepError::Source {
        component: component.clone(),
        cause,
    })
}

fn files_request(
    spec: &FilesSource,
    previous: Option<Box<dyn Previous>>,
    hands: &Hands,
) -> files::Request {
    files::Request {
        spec: spec.clone(),
        root: hands.path(&spec.path),
        previous,
        leave_out: local_directories(hands),
    }
}

/// How a Redis server is read: its URL is asked for now, and wiped when it was read.
pub(crate) fn redis_request(
    component: &ComponentName,
    spec: &RedisSource,
    hands: &Hands,
) -> Result<redis::Request, StepError> {
    let url = hands.secrets()(&spec.url).map_err(|cause| StepError::SourceSecret {
        component: component.clone(),
        cause,
    })?;
    let data_dir = spec
        .data_dir
        .as_ref()
        .map(|path| match spec.via.is_empty() {
            true => hands.path(path),
            false => PathBuf::from(path),
        });
    Ok(redis::Request {
        url,
        via: spec.via.clone(),
        data_dir,
        scratch: hands.scratch(),
        at_ns: (hands.surroundings().now)().as_nanosecond(),
        patience: redis::PATIENCE,
    })
}

/// Directories of local destinations: a repository never backs itself up.
fn local_directories(hands: &Hands) -> Vec<PathBuf> {
    let local = |kind: &DestinationKind| match kind {
        DestinationKind::Local { path } => Some(hands.path(path)),
        _ => None,
    };
    let destinations = &hands.strategy().destinations;
    destinations.iter().filter_map(|d| local(&d.kind)).collect()
}
