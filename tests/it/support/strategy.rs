//! A strategy that breaks no rule, for tests to bend.

use ccb::model::ids::{DestinationName, EncryptionName};
use ccb::model::strategy::{
    ApplySettings, Cipher, Component, Destination, DestinationKind, DumpFormat, Encryption, Event,
    IntegrityCheck, Kdf, Keep, KeepRule, Location, Method, Missed, Notify, Pick, Policy,
    PostgresSource, PresenceCheck, Preset, RunLog, Schedule, SecretRef, Selector, SourceSpec, Sse,
    SseMode, SslMode, Strategy, Timing, VerifySettings, Webhook,
};
use ccb::model::units::{Percent, Period, Size};
use std::collections::BTreeMap;

/// Production, one PostgreSQL component `db`, stored at `primary` and, off site, at `offsite`.
pub(crate) fn sound() -> Strategy {
    Strategy {
        name: "shop".to_owned(),
        environment: "production".to_owned(),
        timezone: "UTC".to_owned(),
        apply: ApplySettings::default(),
        encryptions: vec![Encryption {
            name: name("default"),
            cipher: Cipher::Aes256Gcm,
            key: SecretRef::Env("BACKUP_KEY".to_owned()),
            kdf: Kdf::Auto,
            rotate_after: Some(Period::days(365)),
        }],
        destinations: vec![
            bucket("primary", "eu-west-1", false),
            bucket("offsite", "us-west-2", true),
        ],
        components: vec![database("db")],
        policy: Policy {
            preset: Some(Preset::Production),
            ..Policy::default()
        },
        notify: vec![Notify {
            name: "ops".to_owned(),
            healthchecks: None,
            webhooks: vec![Webhook {
                url: SecretRef::Env("OPS_URL".to_owned()),
                on: vec![Event::Failure],
            }],
            prometheus: None,
            log: Some(RunLog {
                file: "/var/log/ccb.jsonl".to_owned(),
                keep: Period::days(90),
            }),
        }],
        variables: BTreeMap::new(),
        env_names: Vec::new(),
        files: Vec::new(),
        places: BTreeMap::new(),
        env_in_values: Vec::new(),
        unused: Vec::new(),
    }
}

/// A component whose server is on a host of its own, backed up daily.
pub(crate) fn database(called: &str) -> Component {
    Component {
        name: name(called),
        enabled: true,
        sensitive: true,
        source: SourceSpec::Postgres(PostgresSource {
            host: Some("db-01.example.org".to_owned()),
            port: 5432,
            user: None,
            password: Some(SecretRef::Env("PGPASSWORD".to_owned())),
            database: "shop".to_owned(),
            sslmode: SslMode::VerifyFull,
            format: DumpFormat::Custom,
            compress: 0,
            schemas: Vec::new(),
            exclude_tables: Vec::new(),
            timeout: "24h".parse().unwrap(),
            wal: None,
            via: Vec::new(),
        }),
        after: Vec::new(),
        store: vec![name("primary"), name("offsite")],
        schedules: vec![daily("daily", "02:00", Method::Dump)],
        retain: vec![keep(Keep::Daily {
            count: 30,
            pick: Pick::Last,
        })],
        verify: VerifySettings {
            presence: Some(PresenceCheck {
                min_size: Size(1),
                max_shrink: Percent(50),
                fresh: None,
            }),
            integrity: Some(IntegrityCheck {
                every: Period::days(7),
                sample: Percent(100),
            }),
            ..VerifySettings::default()
        },
        exports: Vec::new(),
        hooks: Vec::new(),
        moved_from: Vec::new(),
    }
}

/// An encrypted bucket.
pub(crate) fn bucket(called: &str, region: &str, offsite: bool) -> Destination {
    Destination {
        name: name(called),
        optional: false,
        kind: DestinationKind::S3 {
            url: format!("s3://{called}-backups/shop"),
            region: Some(region.to_owned()),
            endpoint: None,
            path_style: false,
            storage_class: None,
        },
        encrypt: Some(name::<EncryptionName>("default")),
        sse: Some(Sse {
            mode: SseMode::Aes256,
            key_id: None,
        }),
        credentials: None,
        location: Location {
            provider: Some("aws".to_owned()),
            region: Some(region.to_owned()),
            offsite,
            ..Location::default()
        },
        object_lock: None,
    }
}

/// An encrypted directory on this machine.
pub(crate) fn directory(called: &str, path: &str) -> Destination {
    Destination {
        kind: DestinationKind::Local {
            path: path.to_owned(),
        },
        sse: None,
        location: Location::default(),
        ..bucket(called, "here", false)
    }
}

/// A schedule with a slot every day.
pub(crate) fn daily(called: &str, at: &str, method: Method) -> Schedule {
    Schedule {
        name: name(called),
        timing: Timing::At {
            time: at.parse().unwrap(),
            on: None,
        },
        method,
        window: Period::hours(6),
        missed: Missed::RunOnce,
        tag: None,
        enabled: true,
    }
}

/// A keep rule without selectors.
pub(crate) fn keep(keep: Keep) -> KeepRule {
    KeepRule {
        keep,
        among: Selector::default(),
    }
}

/// Any kind of name.
pub(crate) fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

/// The names of destinations.
pub(crate) fn at(names: &[&str]) -> Vec<DestinationName> {
    names.iter().map(|text| name(text)).collect()
}
