//! Reads a component in, to its first destination.

use crate::apply::error::StepError;
use crate::apply::hands::Hands;
use crate::apply::hooks;
use crate::apply::walk::Monitor;
use crate::model::ids::{BackupId, ComponentName};
use crate::model::strategy::{
    Component, DestinationKind, FilesSource, HookWhen, Method, SourceSpec,
};
use crate::model::tree::{Previous, RootFacts};
use crate::plan::report::Done;
use crate::plan::{Action, BackupRef, Step, StepId};
use crate::repository::{Commit, Draft, Progress};
use crate::source::files;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

/// zstd's level: 1 gives nearly the ratio of 3 on text at much more speed, and the CPU is what a backup
/// to a local disk waits for.
pub(crate) const COMPRESSION_LEVEL: i32 = 1;

pub(crate) async fn back_up(
    step: &Step,
    hands: &Hands,
    monitor: &Arc<dyn Monitor>,
) -> Result<Done, StepError> {
    let Action::BackUp { component, .. } = &step.action else {
        return Err(StepError::Unknown(step.id.to_string()));
    };
    let component = hands.component(component)?;
    let SourceSpec::Files(spec) = &component.source else {
        return Err(StepError::NotInThisVersion {
            verb: "back up",
            component: component.name.clone(),
        });
    };
    hooks::run(component, HookWhen::Before).await?;
    let outcome = back_up_files(step, component, spec, hands, monitor).await;
    let after = match &outcome {
        Ok(_) => hooks::run(component, HookWhen::After).await,
        Err(_) => hooks::run(component, HookWhen::Failed).await,
    };
    let done = outcome?;
    after?;
    Ok(done)
}

async fn back_up_files(
    step: &Step,
    component: &Component,
    spec: &FilesSource,
    hands: &Hands,
    monitor: &Arc<dyn Monitor>,
) -> Result<Done, StepError> {
    let Action::BackUp {
        method,
        destination,
        slots,
        tags,
        parent,
        ..
    } = &step.action
    else {
        return Err(StepError::Unknown(step.id.to_string()));
    };
    let repository = hands.destinations().repository(destination).await?;
    // A parent that is gone only costs speed.
    let parent = match parent.filter(|_| *method == Method::Incremental) {
        Some(id) => hands.find(&BackupRef::Id(id), destination).await.ok(),
        None => None,
    };
    let draft = Draft {
        id: BackupId(hands.random()),
        component: component.name.clone(),
        method: *method,
        slots: slots.clone(),
        tags: tags.clone(),
        run: hands.run(),
        plan: hands.plan_ref(),
        environment: hands.strategy().environment.clone(),
        compression_level: COMPRESSION_LEVEL,
    };
    let failed = |cause| StepError::Repository {
        doing: "back up",
        what: component.name.to_string(),
        cause,
    };
    let parent = parent.as_ref().map(|(_, listed)| listed);
    let mut session = repository.begin(draft, parent).await.map_err(failed)?;
    let previous = session
        .parent_tree()
        .map(|tree| Box::new(tree) as Box<dyn Previous>);
    let walk = start_walk(&component.name, spec, previous, hands).await?;
    let progress = Arc::new(Watched {
        step: step.id,
        monitor: monitor.clone(),
    });
    let root = Arc::new(OnceLock::new());
    let seen = root.clone();
    let walk = walk.inspect(move |item| {
        if let Ok(found) = item
            && found.path.is_empty()
        {
            let _ = seen.set(RootFacts::of(&found.node));
        }
    });
    let tree = session
        .write_tree(Box::new(walk), progress)
        .await
        .map_err(failed)?;
    let root = root
        .get()
        .and_then(|facts| serde_json::to_value(facts).ok());
    let commit = Commit {
        source: root
            .map(|facts| ("root".to_owned(), facts))
            .into_iter()
            .collect(),
        tools: BTreeMap::from([("ccb".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]),
        ..Commit::default()
    };
    let manifest = session.commit(commit).await.map_err(failed)?;
    hands.record_made(step.id, manifest.id);
    Ok(Done {
        backup: Some(manifest.id),
        read_bytes: tree.stats.bytes,
        stored_bytes: tree.stats.stored_bytes,
        left_out: tree
            .errors
            .iter()
            .map(|error| format!("{}: {}", error.path, error.message))
            .collect(),
        left_out_count: tree.error_count,
        note: format!("{} files", tree.stats.files),
    })
}

async fn start_walk(
    component: &ComponentName,
    spec: &FilesSource,
    previous: Option<Box<dyn Previous>>,
    hands: &Hands,
) -> Result<files::Walk, StepError> {
    let request = files::Request {
        spec: spec.clone(),
        root: hands.path(&spec.path),
        previous,
        leave_out: local_directories(hands),
    };
    // Opening a tree on a network file system may take long: not on a runtime thread.
    let started = tokio::task::spawn_blocking(move || files::walk(request)).await;
    let walk = started.map_err(|e| StepError::Crashed(e.to_string()))?;
    walk.map_err(|cause| StepError::Source {
        component: component.clone(),
        cause,
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

/// Passes progress on to whoever watches the run.
pub(crate) struct Watched {
    pub(crate) step: StepId,
    pub(crate) monitor: Arc<dyn Monitor>,
}

impl Progress for Watched {
    fn advance(&self, files: u64, bytes: u64) {
        self.monitor.advanced(self.step, files, bytes);
    }
}
