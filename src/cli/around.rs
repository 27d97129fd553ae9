//! What the rules must be told of the world around a plan file: here, whether backups would be written
//! into a git work tree that does not ignore them.

use crate::model::ids::DestinationName;
use crate::model::strategy::{DestinationKind, Strategy};
use crate::plan::check::Surroundings;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

/// Looks around, at this machine only. Without git there is no work tree to be in.
pub fn look(strategy: &Strategy) -> Surroundings {
    let unignored = |name: &DestinationName, kind: &DestinationKind| match kind {
        DestinationKind::Local { path } => is_unignored(Path::new(path)).then(|| name.clone()),
        _ => None,
    };
    let destinations = strategy.destinations.iter();
    Surroundings {
        unignored_in_git: destinations
            .filter_map(|d| unignored(&d.name, &d.kind))
            .collect(),
        stale_runbook: None,
        live: BTreeMap::new(),
    }
}

/// Whether `path`, which need not exist, is in a git work tree and not ignored there.
fn is_unignored(path: &Path) -> bool {
    let Ok(path) = std::path::absolute(path) else {
        return false;
    };
    let Some(folder) = path.ancestors().skip(1).find(|above| above.is_dir()) else {
        return false;
    };
    // Else there is no work tree, and nobody to be asked: a process takes as long as all the rest of a plan.
    if !folder.ancestors().any(|above| above.join(".git").exists()) {
        return false;
    }
    let git = |arguments: &[&str]| {
        let status = Command::new("git")
            .arg("-C")
            .arg(folder)
            .args(arguments)
            .arg("--")
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status.ok().and_then(|status| status.code())
    };
    // 0: ignored; 1: in a work tree and not ignored; 128: no work tree.
    git(&["check-ignore", "-q"]) == Some(1)
}
