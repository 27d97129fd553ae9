//! Reads a component in, to its first destination.

use crate::apply::capture;
use crate::apply::error::StepError;
use crate::apply::hands::Hands;
use crate::apply::hooks;
use crate::apply::walk::Monitor;
use crate::model::ids::BackupId;
use crate::model::strategy::{Component, HookWhen, Method};
use crate::model::tree::{Previous, RootFacts};
use crate::plan::report::Done;
use crate::plan::{Action, BackupRef, Step, StepId};
use crate::repository::{Commit, Draft, Effort, ListedBackup, Progress, Repository};
use crate::source::Capture;
use std::sync::{Arc, OnceLock};

/// How hard zstd tries, by what a backup waits for. Files come as fast as the CPU can take them. A dump or a snapshot
/// comes as fast as a server makes it, which is slower than level 3 on one core.
pub(crate) fn effort(method: Method) -> Effort {
    match method {
        Method::Dump | Method::Rdb => Effort::always(3),
        Method::Base
        | Method::Wal
        | Method::Aof
        | Method::Incremental
        | Method::Full
        | Method::Mirror
        | Method::Check => Effort {
            level: 1,
            while_waiting: 3,
        },
    }
}

pub(crate) async fn back_up(
    step: &Step,
    hands: &Hands,
    monitor: &Arc<dyn Monitor>,
) -> Result<Done, StepError> {
    let Action::BackUp { component, .. } = &step.action else {
        return Err(StepError::Unknown(step.id.to_string()));
    };
    let component = hands.component(component)?;
    hooks::run(component, HookWhen::Before).await?;
    let outcome = back_up_component(step, component, hands, monitor).await;
    let after = match &outcome {
        Ok(_) => hooks::run(component, HookWhen::After).await,
        Err(_) => hooks::run(component, HookWhen::Failed).await,
    };
    let done = outcome?;
    after?;
    Ok(done)
}

/// The newest backup of the component by this method. It only makes the next one smaller.
async fn newest(
    repository: &Repository,
    component: &Component,
    method: Method,
) -> Option<ListedBackup> {
    let backups = repository.list().await.ok()?.backups.into_iter();
    let alike = backups.filter(|backup| {
        backup.manifest.component == component.name && backup.manifest.method == method
    });
    alike.max_by_key(|backup| backup.manifest.started)
}

async fn back_up_component(
    step: &Step,
    component: &Component,
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
    let has_parent = matches!(method, Method::Incremental | Method::Mirror);
    let parent = match parent.filter(|_| has_parent) {
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
        effort: effort(*method),
    };
    let failed = |cause| StepError::Repository {
        doing: "back up",
        what: component.name.to_string(),
        cause,
    };
    let parent = parent.as_ref().map(|(_, listed)| listed);
    let mut session = repository.begin(draft, parent).await.map_err(failed)?;
    if !has_parent && let Some(previous) = newest(&repository, component, *method).await {
        session.stand_on(previous);
    }
    let previous = session
        .parent_tree()
        .map(|tree| Box::new(tree) as Box<dyn Previous>);
    let Capture {
        walk,
        finish,
        guard,
    } = capture::start(component, *method, previous, hands).await?;
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
    let written = match method {
        // A server sends its files in an order of its own.
        Method::Base => session.write_arrivals(Box::new(walk), progress).await,
        _ => session.write_tree(Box::new(walk), progress).await,
    };
    let tree = written.map_err(failed)?;
    let mut facts = capture::finish(&component.name, finish).await?;
    drop(guard);
    if let Some(root) = root.get()
        && let Ok(root) = serde_json::to_value(root)
    {
        facts.source.insert("root".to_owned(), root);
    }
    let ccb = env!("CARGO_PKG_VERSION").to_owned();
    facts.tools.insert("ccb".to_owned(), ccb);
    let left_out = tree.errors.iter().chain(&facts.lacking);
    let left_out = left_out
        .map(|error| format!("{}: {}", error.path, error.message))
        .collect();
    let left_out_count = tree.error_count + facts.lacking.len() as u64;
    let commit = Commit {
        source: facts.source,
        tools: facts.tools,
        errors: facts.lacking,
        ..Commit::default()
    };
    let manifest = session.commit(commit).await.map_err(failed)?;
    hands.record_made(step.id, manifest.id);
    let mut notes = vec![format!("{} files", tree.stats.files)];
    notes.extend(facts.notes);
    Ok(Done {
        backup: Some(manifest.id),
        read_bytes: tree.stats.bytes,
        // What is on its way when the tree is written is counted only when it has arrived.
        stored_bytes: manifest.stats.stored_bytes,
        left_out,
        left_out_count,
        note: notes.join("; "),
    })
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
