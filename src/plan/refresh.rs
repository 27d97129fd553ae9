//! What became different at the destinations since they were looked at before. Facts only: whose doing it
//! was, and whether it is good, is for the reader.

use crate::model::ids::{BackupId, ComponentName, DestinationName, RepositoryId, RunId};
use crate::model::inventory::{Coverage, Held, Holding, Inventory};
use crate::model::records::{Manifest, Note};
use crate::model::strategy::Method;
use jiff::Timestamp;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Something that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Where.
    pub destination: DestinationName,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What can become different.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum What {
    /// Another repository is there, or none is any more.
    Repository {
        /// The one before.
        before: Option<RepositoryId>,
        /// The one now.
        now: Option<RepositoryId>,
    },
    /// It was seen completely before, and is not now.
    Unseen {
        /// Why.
        why: String,
    },
    /// It is seen completely again.
    Seen,
    /// A backup that was not there.
    Appeared(About),
    /// A backup that was forgotten.
    Forgotten {
        /// Which.
        #[serde(flatten)]
        about: About,
        /// Why, as its tomb says.
        reason: String,
    },
    /// A backup that is gone without a trace of who forgot it.
    Gone(About),
    /// A backup on which something was said: a hold, a release, a check.
    Noted {
        /// Which.
        #[serde(flatten)]
        about: About,
        /// What was said, oldest first.
        notes: Vec<String>,
    },
}

/// A backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct About {
    /// Its id.
    pub backup: BackupId,
    /// Of what.
    pub component: ComponentName,
    /// How.
    pub method: Method,
    /// When it was taken.
    pub started: Timestamp,
    /// The run that made it, and on which host.
    pub run: RunId,
    /// That host.
    pub host: String,
}

impl About {
    fn of(manifest: &Manifest) -> Self {
        Self {
            backup: manifest.id,
            component: manifest.component.clone(),
            method: manifest.method,
            started: manifest.started,
            run: manifest.run,
            host: manifest.host.clone(),
        }
    }
}

/// Everything that is different in `now`, by destination and time.
pub fn differences(before: &Inventory, now: &Inventory) -> Vec<Difference> {
    let names: BTreeSet<&DestinationName> = before
        .destinations
        .keys()
        .chain(now.destinations.keys())
        .collect();
    let nothing = Holding::empty();
    let mut all = Vec::new();
    for name in names {
        let of = |inventory: &'_ Inventory| inventory.destinations.get(name).cloned();
        let (before, now) = (of(before), of(now));
        let found = compare(
            before.as_ref().unwrap_or(&nothing),
            now.as_ref().unwrap_or(&nothing),
        );
        all.extend(found.into_iter().map(|what| Difference {
            destination: name.clone(),
            what,
        }));
    }
    all
}

fn compare(before: &Holding, now: &Holding) -> Vec<What> {
    let mut all = Vec::new();
    match (&before.coverage, &now.coverage) {
        (Coverage::Complete, Coverage::Partial { why } | Coverage::Unreachable { why }) => {
            all.push(What::Unseen { why: why.clone() });
        }
        (Coverage::Partial { .. } | Coverage::Unreachable { .. }, Coverage::Complete) => {
            all.push(What::Seen);
        }
        _ => {}
    }
    // Of what was not seen nothing can be said.
    if matches!(now.coverage, Coverage::Unreachable { .. })
        || matches!(before.coverage, Coverage::Unreachable { .. })
    {
        return all;
    }
    let id = |holding: &Holding| holding.repository.as_ref().map(|it| it.id);
    if id(before) != id(now) {
        let (before, now) = (id(before), id(now));
        all.push(What::Repository { before, now });
    }
    let (was, is) = (by_id(before), by_id(now));
    for held in now.backups.iter() {
        match was.get(&held.manifest.id) {
            None => all.push(What::Appeared(About::of(&held.manifest))),
            Some(earlier) => all.extend(noted(earlier, held)),
        }
    }
    let gone = before.backups.iter();
    for held in gone.filter(|held| !is.contains_key(&held.manifest.id)) {
        let about = About::of(&held.manifest);
        let tomb = now
            .trashed
            .iter()
            .find(|it| it.manifest.id == held.manifest.id);
        match tomb {
            Some(trashed) => all.push(What::Forgotten {
                about,
                reason: trashed.tomb.reason.clone(),
            }),
            // Where not all is seen, what is missing may be there.
            None if now.coverage.is_complete() => all.push(What::Gone(about)),
            None => {}
        }
    }
    all
}

fn by_id(holding: &Holding) -> BTreeMap<BackupId, &Held> {
    let backups = holding.backups.iter();
    backups.map(|held| (held.manifest.id, held)).collect()
}

fn noted(before: &Held, now: &Held) -> Option<What> {
    let fresh = now.annotations.iter();
    let fresh = fresh.filter(|note| !before.annotations.contains(note));
    let notes: Vec<String> = fresh.map(|annotation| words(&annotation.note)).collect();
    (!notes.is_empty()).then(|| What::Noted {
        about: About::of(&now.manifest),
        notes,
    })
}

fn words(note: &Note) -> String {
    match note {
        Note::Hold { by, reason } => format!("held by {by}: {reason}"),
        Note::Release { by, reason } if reason.is_empty() => format!("released by {by}"),
        Note::Release { by, reason } => format!("released by {by}: {reason}"),
        Note::Verified(evidence) => {
            let outcome = if evidence.passed { "passed" } else { "failed" };
            format!("{outcome}: {}", evidence.message)
        }
    }
}
