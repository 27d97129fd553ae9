//! Plans and inventories built by hand, for tests of what is decided about them.

use ccb::model::ids::{
    Address, BackupId, BlobId, ComponentName, Digest, RepositoryId, RunId, SessionId,
};
use ccb::model::inventory::{Held, Holding, Inventory, RepositoryFacts};
use ccb::model::records::{
    Annotation, Check, Evidence, Manifest, Note, PlanRef, RunRecord, Shape, Slot, Stats,
    StepOutcome, StepRecord, Version,
};
use ccb::model::strategy::{Cipher, Method};
use ccb::model::units::AsOf;
use ccb::plan::{Action, BackupRef, Cause, Plan, Reason, Step, StepId, Summary};
use jiff::Timestamp;
use std::collections::BTreeMap;

use crate::support::strategy::name;

/// `2026-11-22T02:07Z`, a Sunday: the instant of these plans.
pub(crate) fn sunday() -> AsOf {
    AsOf(time("2026-11-22T02:07:00Z"))
}

/// An instant.
pub(crate) fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The backup that is called so in a test.
pub(crate) fn backup(number: u8) -> BackupId {
    BackupId([number; 16])
}

/// A plan of these steps, numbered from 1.
pub(crate) fn plan(steps: Vec<(Action, Vec<u32>)>) -> Plan {
    let steps: Vec<Step> = steps
        .into_iter()
        .zip(1..)
        .map(|((action, needs), id)| Step {
            id: StepId(id),
            address: Address::component(&name("db")),
            because: match action {
                Action::Forget { .. } => Reason::NotKept {
                    was: None,
                    ends_at: None,
                },
                Action::Copy { .. } => Reason::CopyMissing { last_error: None },
                _ => Reason::Requested,
            },
            action,
            needs: needs.into_iter().map(StepId).collect(),
            cause: Cause::Schedule,
            bytes: None,
        })
        .collect();
    Plan {
        file: "plans/shop.kdl".to_owned(),
        name: "shop".to_owned(),
        environment: "production".to_owned(),
        timezone: "UTC".to_owned(),
        at: sunday(),
        expires: time("2026-11-23T02:07:00Z"),
        config: Digest([1; 32]),
        inventory: Digest([2; 32]),
        repositories: BTreeMap::from([(name("primary"), RepositoryId([7; 16]))]),
        last_apply: None,
        unseen: BTreeMap::new(),
        unseen_sources: Default::default(),
        drift: Vec::new(),
        single_writer: Vec::new(),
        changes: Vec::new(),
        summary: Summary::of(&steps, &[]),
        steps,
        kept: Vec::new(),
        held: Vec::new(),
        not_due: Vec::new(),
        findings: Vec::new(),
    }
}

/// Back `db` up for a slot of `schedule`.
pub(crate) fn back_up(schedule: &str, at: &str) -> Action {
    Action::BackUp {
        component: name("db"),
        method: Method::Dump,
        destination: name("primary"),
        slots: vec![Slot {
            schedule: name(schedule),
            at: time(at),
        }],
        tags: Vec::new(),
        parent: None,
    }
}

/// Copy a backup of `db` from `primary`.
pub(crate) fn copy(backup: BackupRef, to: &str) -> Action {
    Action::Copy {
        component: name("db"),
        backup,
        from: name("primary"),
        to: name(to),
    }
}

/// Forget a backup of `db`.
pub(crate) fn forget(number: u8, destination: &str) -> Action {
    Action::Forget {
        component: name("db"),
        backup: backup(number),
        destination: name(destination),
        started: sunday().0,
        method: Method::Dump,
    }
}

/// A complete dump of `db`.
pub(crate) fn held(number: u8, started: &str) -> Held {
    let started = time(started);
    Held {
        manifest: Manifest {
            v: Version,
            id: backup(number),
            component: name::<ComponentName>("db"),
            method: Method::Dump,
            shape: Shape::Stream,
            slots: Vec::new(),
            tags: Vec::new(),
            parent: None,
            restored_from: None,
            run: RunId([0; 16]),
            plan: PlanRef {
                name: "shop".to_owned(),
                digest: Digest([1; 32]),
            },
            environment: "production".to_owned(),
            host: "ci".to_owned(),
            started,
            finished: started,
            server_time: started,
            root: BlobId([0; 32]),
            session: SessionId([0; 16]),
            epoch: 0,
            stats: Stats::default(),
            directories: BTreeMap::new(),
            source: BTreeMap::new(),
            tools: BTreeMap::new(),
            content: None,
            complete: true,
            errors: Vec::new(),
            error_count: 0,
            retain_until: None,
        },
        annotations: Vec::new(),
    }
}

/// An inventory of what these destinations hold, each in a repository.
pub(crate) fn inventory(destinations: &[(&str, &[Held])]) -> Inventory {
    let holdings = destinations.iter().map(|(destination, backups)| {
        let holding = Holding {
            repository: Some(RepositoryFacts {
                id: RepositoryId([7; 16]),
                created: time("2026-01-01T00:00:00Z"),
                cipher: Some(Cipher::Aes256Gcm),
                key_since: Some(time("2026-01-01T00:00:00Z")),
                single_writer: false,
                server_time: sunday().0,
                stored_bytes: 0,
                last_prune: None,
                condemned_bytes: 0,
            }),
            backups: backups.to_vec(),
            ..Holding::empty()
        };
        (name(destination), holding)
    });
    Inventory {
        destinations: holdings.collect(),
        ..Inventory::default()
    }
}
/// The same backup with the result of a check.
pub(crate) fn checked(mut held: Held, check: Check, at: &str, passed: bool) -> Held {
    held.annotations.push(Annotation {
        v: Version,
        backup: held.manifest.id,
        at: time(at),
        note: Note::Verified(Evidence {
            check,
            at: time(at),
            destination: name("primary"),
            passed,
            facts: BTreeMap::new(),
            message: String::new(),
        }),
    });
    held
}

/// A run that backed `db` up, or tried to.
pub(crate) fn run(started: &str, outcome: StepOutcome) -> RunRecord {
    RunRecord {
        v: Version,
        run: RunId([started.as_bytes()[8]; 16]),
        started: time(started),
        finished: time(started),
        plan: "shop".to_owned(),
        environment: "production".to_owned(),
        config: Digest([1; 32]),
        files: Vec::new(),
        steps: vec![StepRecord {
            address: Address::component(&name("db")),
            verb: "back up".to_owned(),
            outcome,
            message: Some("exited with 1".to_owned()),
            backup: None,
        }],
    }
}
