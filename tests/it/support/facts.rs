//! Builders of strategies and inventories: a test says what matters to it, the rest is plain defaults.

use ccb::model::ids::{
    BackupId, BlobId, ComponentName, DestinationName, Digest, RepositoryId, RunId, ScheduleName,
    SessionId,
};
use ccb::model::inventory::{Held, Holding, Inventory, RepositoryFacts};
use ccb::model::records::{
    Annotation, Check, Evidence, Manifest, Note, PlanRef, Shape, Slot, Stats, Version,
};
use ccb::model::strategy::{
    ApplySettings, Component, Destination, DestinationKind, FilesSource, Keep, KeepRule, Location,
    Method, Missed, Policy, PostgresSource, Schedule, Selector, SourceSpec, SslMode, Strategy,
    Symlinks, Timing, VerifySettings,
};
use ccb::model::units::{AsOf, Period};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// `2026-11-22T02:00Z` or with seconds.
pub(crate) fn time(text: &str) -> Timestamp {
    let full = match text.matches(':').count() {
        1 => text.replace('Z', ":00Z"),
        _ => text.to_owned(),
    };
    full.parse().unwrap()
}

pub(crate) fn as_of(text: &str) -> AsOf {
    AsOf(time(text))
}

pub(crate) fn component_name(text: &str) -> ComponentName {
    ComponentName::new(text).unwrap()
}

pub(crate) fn destination_name(text: &str) -> DestinationName {
    DestinationName::new(text).unwrap()
}

/// The id whose text starts with that number: 7 is `00000007…`.
pub(crate) fn backup_id(number: u32) -> BackupId {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    BackupId(id)
}

/// A strategy with local destinations `names`, unencrypted, in UTC, and no component.
pub(crate) fn strategy(names: &[&str]) -> Strategy {
    Strategy {
        name: "app".into(),
        environment: "production".into(),
        timezone: "UTC".into(),
        apply: ApplySettings::default(),
        encryptions: Vec::new(),
        destinations: names
            .iter()
            .map(|name| Destination {
                name: destination_name(name),
                optional: false,
                kind: DestinationKind::Local {
                    path: format!("/backups/{name}"),
                },
                encrypt: None,
                sse: None,
                credentials: None,
                location: Location::default(),
                object_lock: None,
            })
            .collect(),
        components: Vec::new(),
        policy: Policy::default(),
        notify: Vec::new(),
        variables: BTreeMap::new(),
        env_names: Vec::new(),
        files: Vec::new(),
        places: BTreeMap::new(),
        env_in_values: Vec::new(),
        unused: Vec::new(),
    }
}

/// A component with no schedule, rule or check.
pub(crate) fn component(name: &str, source: SourceSpec, store: &[&str]) -> Component {
    Component {
        name: component_name(name),
        enabled: true,
        sensitive: true,
        source,
        after: Vec::new(),
        store: store.iter().map(|name| destination_name(name)).collect(),
        schedules: Vec::new(),
        retain: Vec::new(),
        verify: VerifySettings::default(),
        exports: Vec::new(),
        hooks: Vec::new(),
        moved_from: Vec::new(),
    }
}

pub(crate) fn files_source() -> SourceSpec {
    SourceSpec::Files(FilesSource {
        path: "/srv/data".into(),
        subdirectories: Vec::new(),
        exclude: Vec::new(),
        symlinks: Symlinks::Keep,
    })
}

pub(crate) fn postgres_source() -> SourceSpec {
    SourceSpec::Postgres(PostgresSource {
        host: None,
        port: 5432,
        user: None,
        password: None,
        database: "content_crew".into(),
        sslmode: SslMode::Prefer,
        format: ccb::model::strategy::DumpFormat::Custom,
        compress: 0,
        schemas: Vec::new(),
        exclude_tables: Vec::new(),
        timeout: "24h".parse().unwrap(),
        wal: None,
        via: Vec::new(),
    })
}

/// An enabled schedule with the defaults of the language.
pub(crate) fn schedule(name: &str, timing: Timing, method: Method) -> Schedule {
    Schedule {
        name: ScheduleName::new(name).unwrap(),
        timing,
        method,
        window: Period::hours(6),
        missed: Missed::RunOnce,
        tag: None,
        enabled: true,
    }
}

/// `at="02:00"`, and `on="sunday"` or `on=1`.
pub(crate) fn at(time: &str, on: Option<&str>) -> Timing {
    Timing::At {
        time: time.parse().unwrap(),
        on: on.map(|day| day.parse().unwrap()),
    }
}

/// A rule without selectors.
pub(crate) fn rule(keep: Keep) -> KeepRule {
    KeepRule {
        keep,
        among: Selector::default(),
    }
}

/// A complete backup without slots, 100 bytes read and 40 stored, made in one minute.
pub(crate) fn manifest(id: BackupId, component: &str, method: Method, started: &str) -> Manifest {
    let started = time(started);
    Manifest {
        v: Version,
        id,
        component: component_name(component),
        method,
        shape: Shape::Stream,
        slots: Vec::new(),
        tags: Vec::new(),
        parent: None,
        restored_from: None,
        run: RunId([0; 16]),
        plan: PlanRef {
            name: "app".into(),
            digest: Digest([0; 32]),
        },
        environment: "production".into(),
        host: "app-01".into(),
        started,
        finished: Period::minutes(1).after(started),
        server_time: Period::minutes(1).after(started),
        root: BlobId([0; 32]),
        session: SessionId([0; 16]),
        epoch: 0,
        stats: Stats {
            bytes: 100,
            stored_bytes: 40,
            ..Stats::default()
        },
        directories: BTreeMap::new(),
        source: BTreeMap::new(),
        tools: BTreeMap::new(),
        content: None,
        complete: true,
        errors: Vec::new(),
        error_count: 0,
        retain_until: None,
    }
}

/// A slot of a schedule.
pub(crate) fn slot(schedule: &str, at: &str) -> Slot {
    Slot {
        schedule: ScheduleName::new(schedule).unwrap(),
        at: time(at),
    }
}

/// A backup as a destination holds it, with nothing said of it.
pub(crate) fn held(manifest: Manifest) -> Held {
    Held {
        manifest,
        annotations: Vec::new(),
    }
}

/// What a check said of a backup.
pub(crate) fn verified(
    backup: BackupId,
    check: Check,
    destination: &str,
    at: Timestamp,
    passed: bool,
) -> Annotation {
    Annotation {
        v: Version,
        backup,
        at,
        note: Note::Verified(Evidence {
            check,
            at,
            destination: destination_name(destination),
            passed,
            facts: BTreeMap::new(),
            message: String::new(),
        }),
    }
}

/// A repository made at the epoch, with nothing to prune.
pub(crate) fn repository(number: u8) -> RepositoryFacts {
    RepositoryFacts {
        id: RepositoryId([number; 16]),
        created: Timestamp::UNIX_EPOCH,
        cipher: None,
        key_since: None,
        single_writer: false,
        server_time: Timestamp::UNIX_EPOCH,
        stored_bytes: 0,
        last_prune: None,
        condemned_bytes: 0,
    }
}

/// A completely seen repository with these backups.
pub(crate) fn holding(number: u8, mut backups: Vec<Held>) -> Holding {
    backups.sort_by_key(|held| (held.manifest.started, held.manifest.id));
    Holding {
        repository: Some(repository(number)),
        backups,
        ..Holding::empty()
    }
}

/// The inventory of these holdings.
pub(crate) fn inventory(holdings: Vec<(&str, Holding)>) -> Inventory {
    Inventory {
        destinations: holdings
            .into_iter()
            .map(|(name, holding)| (destination_name(name), holding))
            .collect(),
        ..Inventory::default()
    }
}
