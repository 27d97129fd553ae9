//! A plan with something of everything, as data, and the plan file that it is about.

use ccb::model::ids::{Address, BackupId, ComponentName, DestinationName, Digest, RepositoryId};
use ccb::model::records::Slot;
use ccb::model::strategy::{Keep, Level, Method, Pick, RestoreInto, Strategy, Tier};
use ccb::model::units::{AsOf, Day, Period, Weekday};
use ccb::plan::{
    Action, BackupRef, Cause, Change, CheckSpec, Finding, HeldBack, Kept, KeptBecause, NotDue,
    Plan, Reason, Step, StepId, Summary,
};
use ccb::plan_file::{self, Request, UnsetEnv};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// A plan file of two components and three destinations.
pub(crate) const FILE: &str = r#"plan "content-creation-crew" environment="production"

encryption "default" {
    key env="BACKUP_ENCRYPTION_KEY"
}

destination "primary" {
    local "/srv/backups"
    encrypt "default"
}

destination "offsite" {
    local "/mnt/offsite"
    encrypt "default"
}

component "storage" {
    source "files" {
        path "/srv/storage"
    }
    store "primary" "offsite"
    schedule "daily" at="02:00" method="full"
    retain {
        daily 14
        weekly 6
    }
}

component "uploads" {
    source "files" {
        path "/srv/uploads"
    }
    store "primary"
    schedule "weekly" on="sunday" at="02:30" method="full"
}

policy preset="production" {
    copies min=2 level="deny"
}
"#;

pub(crate) fn strategy() -> Strategy {
    let none = BTreeMap::new();
    let request = Request {
        path: "plans/production.kdl",
        text: FILE,
        read: &|_| Err(std::io::Error::from(std::io::ErrorKind::NotFound)),
        env: &|_| None,
        vars: &none,
        unset_env: UnsetEnv::Refuse,
    };
    plan_file::parse(&request).unwrap().strategy
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) fn component(name: &str) -> ComponentName {
    ComponentName::new(name).unwrap()
}

pub(crate) fn destination(name: &str) -> DestinationName {
    DestinationName::new(name).unwrap()
}

/// A backup id whose short form shows `seed`.
pub(crate) fn id(seed: u8) -> BackupId {
    BackupId([seed; 16])
}

pub(crate) fn step(number: u32, action: Action, cause: Cause, because: Reason) -> Step {
    let address = match (action.component(), &action) {
        (Some(component), _) => Address::component(component),
        (None, Action::Initialize { destination } | Action::Prune { destination, .. }) => {
            Address::destination(destination)
        }
        (None, _) => unreachable!("every other action has a component"),
    };
    Step {
        id: StepId(number),
        address,
        action,
        needs: Vec::new(),
        cause,
        because,
        bytes: None,
    }
}

/// A plan without anything to do.
pub(crate) fn empty() -> Plan {
    Plan {
        name: "content-creation-crew".into(),
        environment: "production".into(),
        file: "plans/production.kdl".into(),
        timezone: "UTC".into(),
        at: AsOf(at("2026-11-22T02:07:00Z")),
        expires: at("2026-11-23T02:07:00Z"),
        config: Digest([0xb5; 32]),
        inventory: Digest([0x4c; 32]),
        repositories: BTreeMap::from([(destination("primary"), RepositoryId([1; 16]))]),
        last_apply: Some(at("2026-11-22T01:07:00Z")),
        unseen: BTreeMap::new(),
        unseen_sources: Default::default(),
        drift: Vec::new(),
        single_writer: Vec::new(),
        changes: Vec::new(),
        steps: Vec::new(),
        kept: Vec::new(),
        held: Vec::new(),
        not_due: Vec::new(),
        findings: Vec::new(),
        summary: Summary::default(),
    }
}

/// A plan with every kind of step, finding and reason to keep.
pub(crate) fn rich() -> Plan {
    let steps = steps();
    Plan {
        repositories: BTreeMap::from([(destination("primary"), RepositoryId([1; 16]))]),
        unseen: BTreeMap::from([(
            destination("offsite"),
            "list backups/: timed out\x1b[2J".into(),
        )]),
        changes: vec![
            change("component.storage.retain.daily", Some("30"), Some("14")),
            change(
                "component.uploads.store",
                Some("\"primary\" \"offsite\""),
                Some("\"primary\""),
            ),
            change(
                "component.uploads.schedule.weekly",
                None,
                Some("on=\"sunday\""),
            ),
        ],
        steps,
        kept: kept(),
        held: vec![held(
            0xa0,
            KeptBecause::Hold {
                by: "ana".into(),
                reason: "incident \u{202e}4711".into(),
            },
        )],
        not_due: vec![NotDue {
            component: component("uploads"),
            schedule: "weekly".parse().unwrap(),
            next: Some(at("2026-11-22T02:30:00Z")),
            skipped: Some(at("2026-11-15T02:30:00Z")),
        }],
        findings: findings(),
        summary: Summary {
            back_up: 1,
            copy: 3,
            verify: 2,
            export: 0,
            change: 1,
            forget: 5,
            prune: 1,
            held: 1,
        },
        ..empty()
    }
}

fn change(address: &str, before: Option<&str>, after: Option<&str>) -> Change {
    Change {
        address: Address(address.into()),
        before: before.map(str::to_owned),
        after: after.map(str::to_owned),
    }
}

fn steps() -> Vec<Step> {
    let storage = component("storage");
    let slot = Slot {
        schedule: "daily".parse().unwrap(),
        at: at("2026-11-22T02:00:00Z"),
    };
    let copy = |number, backup, error: Option<&str>| {
        let last_error = error.map(|text| (at("2026-11-21T02:04:00Z"), text.to_owned()));
        let (cause, because) = match backup {
            BackupRef::Of(_) => (Cause::Schedule, Reason::NewCopy),
            BackupRef::Id(_) => (Cause::Drift, Reason::CopyMissing { last_error }),
        };
        let action = Action::Copy {
            component: storage.clone(),
            backup,
            from: destination("primary"),
            to: destination("offsite"),
        };
        Step {
            bytes: Some(39_845_888),
            ..step(number, action, cause, because)
        }
    };
    let verify = |number, check, because| {
        let action = Action::Verify {
            component: storage.clone(),
            backup: BackupRef::Of(StepId(2)),
            destination: destination("primary"),
            check,
        };
        step(number, action, Cause::Schedule, because)
    };
    let mut steps = vec![
        step(
            1,
            Action::Initialize {
                destination: destination("offsite"),
            },
            Cause::Drift,
            Reason::NoRepository,
        ),
        Step {
            bytes: Some(39_845_888),
            ..step(
                2,
                Action::BackUp {
                    component: storage.clone(),
                    method: Method::Full,
                    destination: destination("primary"),
                    slots: vec![slot.clone()],
                    tags: vec!["pre-deploy".parse().unwrap()],
                    parent: Some(id(0x51)),
                },
                Cause::Schedule,
                Reason::Due {
                    slots: vec![slot],
                    tiers: vec![Tier::Daily, Tier::Weekly],
                },
            )
        },
        Step {
            needs: vec![StepId(1), StepId(2)],
            ..copy(3, BackupRef::Of(StepId(2)), None)
        },
        Step {
            needs: vec![StepId(1)],
            ..copy(
                4,
                BackupRef::Id(id(0x51)),
                Some("403 AccessDenied\r\nretry"),
            )
        },
        Step {
            needs: vec![StepId(1)],
            ..copy(5, BackupRef::Id(id(0xe0)), None)
        },
        Step {
            needs: vec![StepId(2)],
            ..verify(6, CheckSpec::Presence, Reason::AfterBackup)
        },
        Step {
            needs: vec![StepId(2)],
            ..verify(
                7,
                CheckSpec::RestoreTest {
                    into: RestoreInto::TemporaryDirectory,
                    files: Some(20),
                },
                Reason::CheckDue {
                    last: Some(at("2026-10-23T02:00:00Z")),
                    every: Period::days(30),
                },
            )
        },
    ];
    let days = [
        "2026-10-24",
        "2026-10-26",
        "2026-10-27",
        "2026-10-28",
        "2026-11-06",
    ];
    for (nth, day) in days.into_iter().enumerate() {
        let action = Action::Forget {
            component: storage.clone(),
            backup: id(0x10 + nth as u8),
            destination: destination("primary"),
            started: at(&format!("{day}T02:00:00Z")),
            method: Method::Full,
        };
        let because = Reason::NotKept {
            was: Some(Keep::Daily {
                count: 30,
                pick: Pick::Last,
            }),
            ends_at: Some(at("2026-11-09T00:00:00Z")),
        };
        steps.push(Step {
            needs: vec![StepId(2), StepId(6)],
            bytes: Some(26_214_400),
            ..step(8 + nth as u32, action, Cause::Config, because)
        });
    }
    let prune = Action::Prune {
        destination: destination("primary"),
        trash: Period::days(7),
    };
    steps.push(Step {
        needs: (8..13).map(StepId).collect(),
        ..step(13, prune, Cause::Drift, Reason::Garbage)
    });
    steps
}

fn kept() -> Vec<Kept> {
    let weekly = Keep::Weekly {
        count: 6,
        on: Day::Week(Weekday::Sunday),
        pick: Pick::First,
    };
    let daily = Keep::Daily {
        count: 14,
        pick: Pick::Last,
    };
    let rule = |keep: Keep, bucket: &str| KeptBecause::Rule {
        keep,
        bucket: Some(bucket.into()),
    };
    let one = |seed, day: &str, because| Kept {
        backup: id(seed),
        component: component("storage"),
        started: at(&format!("{day}T02:00:00Z")),
        method: Method::Full,
        because,
    };
    vec![
        one(0x30, "2026-11-01", vec![rule(weekly, "2026-11-01")]),
        one(0xe0, "2026-11-20", vec![rule(daily, "2026-11-20")]),
        one(
            0x51,
            "2026-11-21",
            vec![rule(daily, "2026-11-21"), KeptBecause::Newest],
        ),
    ]
}

fn held(seed: u8, because: KeptBecause) -> HeldBack {
    HeldBack {
        backup: id(seed),
        component: component("storage"),
        started: at("2026-11-05T02:00:00Z"),
        method: Method::Full,
        because,
    }
}

pub(crate) fn finding(rule: &str, name: &str, level: Level, address: &str) -> Finding {
    Finding {
        rule: rule.into(),
        name: name.into(),
        level,
        address: Address(address.into()),
        related: None,
        message: format!("{address} is not as {name} asks"),
        help: "repair it".into(),
        waived: None,
    }
}

fn findings() -> Vec<Finding> {
    vec![
        Finding {
            related: Some(Address("policy.copies".into())),
            message: "component.uploads has 1 copy, 2 are required".into(),
            help: "store \"primary\" \"offsite\"".into(),
            ..finding("CCB202", "copies", Level::Deny, "component.uploads.store")
        },
        Finding {
            waived: Some((
                "2026-12-31".parse().unwrap(),
                "moved in December | @ops".into(),
            )),
            ..finding("CCB203", "offsite", Level::Deny, "component.storage.store")
        },
        finding("CCB107", "sse-missing", Level::Warn, "destination.primary"),
        finding(
            "CCB313",
            "same-slot",
            Level::Info,
            "component.storage.schedule.daily",
        ),
    ]
}
