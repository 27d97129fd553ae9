//! The rules: each one breaks where it should and is silent where it is kept; how hard it is; waivers.

use crate::support::plan::sunday;
use crate::support::strategy::{at, bucket, daily, database, directory, keep, name, sound};
use ccb::model::ids::Address;
use ccb::model::postgres::drift::drift;
use ccb::model::postgres::{Object, Schema};
use ccb::model::strategy::{
    Component, ContentsCheck, DestinationKind, EnvUse, Export, ExportKind, FilesSource, Hook,
    HookWhen, Keep, Level, Method, Minimum, Pick, Place, PostgresSource, Preset, RestoreInto,
    RestoreTest, SecretRef, SourceFile, SourceSpec, SslMode, Strategy, Symlinks, TestServer,
    Timing, Waiver,
};
use ccb::model::units::{Day, Percent, Period, Weekday};
use ccb::plan::Finding;
use ccb::plan::check::{Live, Surroundings, check_strategy};

pub(crate) type Bend = fn(&mut Strategy);

pub(crate) fn bent(bend: impl Fn(&mut Strategy)) -> Strategy {
    let mut strategy = sound();
    bend(&mut strategy);
    strategy
}

fn findings(strategy: &Strategy) -> Vec<Finding> {
    check_strategy(strategy, &Surroundings::default(), sunday())
}

pub(crate) fn of<'a>(rule: &str, findings: &'a [Finding]) -> Vec<&'a Finding> {
    findings.iter().filter(|f| f.rule == rule).collect()
}

pub(crate) fn db(strategy: &mut Strategy) -> &mut Component {
    &mut strategy.components[0]
}

fn postgres(strategy: &mut Strategy) -> &mut PostgresSource {
    match &mut db(strategy).source {
        SourceSpec::Postgres(source) => source,
        _ => unreachable!("`db` is a PostgreSQL component"),
    }
}

fn tested_at(host: &str) -> RestoreTest {
    RestoreTest {
        every: Period::days(30),
        into: RestoreInto::TemporaryDatabase,
        files: None,
        server: Some(TestServer {
            host: host.to_owned(),
            port: 5432,
            user: None,
            password: None,
            sslmode: SslMode::Prefer,
        }),
    }
}

fn files(path: &str) -> SourceSpec {
    SourceSpec::Files(FilesSource {
        path: path.to_owned(),
        subdirectories: Vec::new(),
        exclude: Vec::new(),
        symlinks: Symlinks::Keep,
    })
}

fn endpoint(strategy: &mut Strategy, url: &str) {
    if let DestinationKind::S3 { endpoint, .. } = &mut strategy.destinations[0].kind {
        *endpoint = Some(url.to_owned());
    }
}

fn export(kind: ExportKind, rounds: Option<u32>) -> Export {
    Export {
        kind,
        to: name("primary"),
        method: None,
        layout: "{id}".to_owned(),
        key: Some(SecretRef::Env("KEY".to_owned())),
        pbkdf2_iterations: rounds,
        keep: Vec::new(),
    }
}

fn hook(argv: &[&str]) -> Hook {
    Hook {
        when: HookWhen::Before,
        on_restore: false,
        timeout: Period::minutes(5),
        run: argv.iter().map(|arg| (*arg).to_owned()).collect(),
    }
}

fn weeks(count: u32) -> Keep {
    Keep::Weekly {
        count,
        on: Day::Week(Weekday::Sunday),
        pick: Pick::First,
    }
}

fn only(
    mut rule: ccb::model::strategy::KeepRule,
    method: Method,
) -> ccb::model::strategy::KeepRule {
    rule.among.method = Some(method);
    rule
}

fn on(
    mut schedule: ccb::model::strategy::Schedule,
    day: Weekday,
) -> ccb::model::strategy::Schedule {
    if let Timing::At { on, .. } = &mut schedule.timing {
        *on = Some(Day::Week(day));
    }
    schedule
}

fn env_use(strategy: &mut Strategy, variable: &str, address: &str) {
    let place = Place {
        file: 0,
        start: 10,
        len: 20,
    };
    strategy.places.insert(Address(address.to_owned()), place);
    strategy.env_in_values.push(EnvUse {
        name: variable.to_owned(),
        place: Place {
            start: 12,
            len: 5,
            ..place
        },
    });
}

#[test]
fn a_sound_strategy_breaks_no_rule() {
    assert_eq!(findings(&sound()), []);
}

/// Rule, what breaks it, where that stands, what is said.
pub(crate) const BREAKING: &[(&str, Bend, &str, &str)] = &[
    (
        "CCB101",
        |s| {
            s.destinations[1].encrypt = None;
            db(s).sensitive = false;
        },
        "component.db.store",
        "component.db is stored unencrypted at destination.offsite",
    ),
    (
        "CCB101",
        |s| {
            db(s).exports = vec![export(ExportKind::Tar, None)];
            db(s).sensitive = false;
        },
        "component.db.export.tar",
        "component.db is exported unencrypted to destination.primary as tar",
    ),
    (
        "CCB102",
        |s| endpoint(s, "http://s3.example.org"),
        "destination.primary.s3",
        "destination.primary uses http://",
    ),
    (
        "CCB103",
        |s| postgres(s).sslmode = SslMode::Prefer,
        "component.db.source.sslmode",
        "sslmode \"prefer\" does not force TLS",
    ),
    (
        "CCB103",
        |s| db(s).verify.restore_test = Some(tested_at("db-test.example.org")),
        "component.db.verify.restore-test.server.sslmode",
        "sslmode \"prefer\" does not force TLS",
    ),
    (
        "CCB104",
        |s| env_use(s, "PGPASSWORD", "component.db.source.host"),
        "component.db.source.host",
        "the secret `${env.PGPASSWORD}` becomes part of a value that is printed",
    ),
    (
        "CCB104",
        |s| {
            s.destinations[0].kind = DestinationKind::Sftp {
                url: "sftp://me:hunter2@nas/x".to_owned(),
            }
        },
        "destination.primary.sftp",
        "a password is written in the URL \"sftp://me:***@nas/x\"",
    ),
    (
        "CCB104",
        |s| {
            s.files.push(SourceFile {
                path: "plan.kdl".to_owned(),
                text: "plan \"x\"\n// AKIAIOSFODNN7EXAMPLE\n".to_owned(),
            });
        },
        "plan",
        "an AWS access key id is written in plan.kdl, line 2",
    ),
    (
        "CCB105",
        |s| {
            db(s).source = files("/srv/uploads");
            s.encryptions[0].key = SecretRef::File("/srv/uploads/secret/key".to_owned());
        },
        "encryption.default.key",
        "key file \"/srv/uploads/secret/key\" lies inside component.db, at \"/srv/uploads\"",
    ),
    (
        "CCB106",
        |s| s.destinations[1].encrypt = None,
        "component.db.store",
        "component.db is sensitive and stored at destination.offsite with `encrypt none`",
    ),
    (
        "CCB107",
        |s| s.destinations[0].sse = None,
        "destination.primary",
        "destination.primary has no `sse`",
    ),
    (
        "CCB110",
        |s| db(s).hooks = vec![hook(&["mysql", "--password", "hunter2"])],
        "component.db.hook.before.run",
        "a hook of component.db passes a secret on the command line: the value of `--password`",
    ),
    (
        "CCB110",
        |s| env_use(s, "API_TOKEN", "component.db.hook.before.run"),
        "component.db.hook.before.run",
        "a hook of component.db passes a secret on the command line: `${env.API_TOKEN}`",
    ),
    (
        "CCB201",
        |s| s.destinations[0].location.host = Some("db-01.example.org".to_owned()),
        "component.db.store",
        "destination.primary is on host \"db-01.example.org\", the server of component.db too",
    ),
    (
        "CCB201",
        |s| {
            db(s).source = files("/srv");
            s.destinations[0] = directory("primary", "/mnt/x");
        },
        "component.db.store",
        "destination.primary is on the same host as the server of component.db",
    ),
    (
        "CCB202",
        |s| db(s).store = at(&["offsite"]),
        "component.db.store",
        "component.db has 1 copy, 2 are required",
    ),
    (
        "CCB202",
        |s| s.destinations[1].kind = s.destinations[0].kind.clone(),
        "component.db.store",
        "component.db has 1 copy, 2 are required",
    ),
    (
        "CCB203",
        |s| s.destinations[1].location = s.destinations[0].location.clone(),
        "component.db.store",
        "component.db has no destination in another region or with another provider",
    ),
    (
        "CCB204",
        |s| db(s).verify.integrity = None,
        "component.db.verify",
        "component.db has no `integrity` check",
    ),
    (
        "CCB211",
        |s| s.notify[0].webhooks.clear(),
        "notify.ops",
        "nobody hears of failures",
    ),
    (
        "CCB212",
        |s| s.notify[0].log = None,
        "notify.ops",
        "no `log` in `notify`",
    ),
    (
        "CCB215",
        |s| db(s).schedules.push(daily("wal", "03:00", Method::Wal)),
        "component.db.schedule",
        "component.db keeps WAL, and no schedule makes a base that it could follow",
    ),
    (
        "CCB215",
        |s| {
            db(s).schedules.push(daily("wal", "03:00", Method::Wal));
            db(s).schedules.push(daily("base", "04:00", Method::Base));
            db(s).retain = vec![
                only(keep(Keep::Within(Period::days(7))), Method::Wal),
                only(keep(Keep::Within(Period::days(3))), Method::Base),
            ];
        },
        "component.db.retain",
        "WAL of component.db is kept for 7d but the oldest base only reaches 3d",
    ),
    (
        "CCB301",
        |s| db(s).retain.push(keep(weeks(4))),
        "component.db.retain.1",
        "`weekly 4` keeps nothing that `daily 30` does not",
    ),
    (
        "CCB302",
        |s| db(s).schedules[0].timing = Timing::OnDemand,
        "component.db.schedule",
        "component.db has only on-demand schedules",
    ),
    (
        "CCB303",
        |s| db(s).retain.clear(),
        "component.db.retain",
        "component.db keeps everything for ever",
    ),
    (
        "CCB304",
        |s| {
            db(s).schedules = vec![on(daily("weekly", "02:00", Method::Dump), Weekday::Sunday)];
            db(s).retain = vec![keep(Keep::Within(Period::days(3)))];
        },
        "component.db.retain.0",
        "`within \"3d\"` with schedule \"weekly\" every 7d leaves days without a backup",
    ),
    (
        "CCB305",
        |s| postgres(s).compress = 6,
        "component.db.source.compress",
        "compress 6 spoils deduplication, use 0",
    ),
    (
        "CCB306",
        |s| db(s).exports = vec![export(ExportKind::Openssl, None)],
        "component.db.export.openssl",
        "the key of export \"openssl\" to \"primary\" is derived by one round of EVP_BytesToKey",
    ),
    (
        "CCB308",
        |s| s.destinations.push(bucket("spare", "eu-west-2", false)),
        "destination.spare",
        "destination \"spare\" is never stored to",
    ),
    (
        "CCB308",
        |s| s.unused.push(Address("template.cache".to_owned())),
        "template.cache",
        "template \"cache\" is never used",
    ),
    (
        "CCB309",
        |s| s.policy.waivers = vec![waiver("CCB204", "component.db", "2026-11-21")],
        "policy.waive.CCB204",
        "waiver for component.db ended 2026-11-21, CCB204 applies again",
    ),
    (
        "CCB310",
        |s| {
            s.timezone = "Europe/Paris".to_owned();
            db(s).schedules = vec![daily("daily", "02:30", Method::Dump)];
        },
        "component.db.schedule.daily",
        "02:30 does not exist on 2027-03-28 in Europe/Paris",
    ),
    (
        "CCB313",
        |s| {
            db(s)
                .schedules
                .push(on(daily("weekly", "02:00", Method::Dump), Weekday::Sunday));
        },
        "component.db.schedule.weekly",
        "schedules \"daily\" and \"weekly\" of component.db share 02:00 on sunday: one run serves both",
    ),
];

/// What comes close to breaking a rule, and does not.
const KEEPING: &[(&str, Bend)] = &[
    ("CCB101", |s| {
        db(s).exports = vec![export(ExportKind::Gpg, None)]
    }),
    ("CCB102", |s| endpoint(s, "http://localhost:9000")),
    ("CCB102", |s| endpoint(s, "https://s3.example.org")),
    ("CCB103", |s| postgres(s).sslmode = SslMode::Require),
    ("CCB103", |s| {
        postgres(s).sslmode = SslMode::Disable;
        postgres(s).host = Some("/run/postgresql".to_owned());
    }),
    ("CCB103", |s| {
        db(s).verify.restore_test = Some(tested_at("/run/postgresql"))
    }),
    ("CCB104", |s| {
        env_use(s, "BACKUP_KMS_KEY_ID", "destination.primary.sse")
    }),
    ("CCB104", |s| {
        env_use(s, "KEY_TOKEN", "encryption.default.key")
    }),
    ("CCB104", |s| {
        s.destinations[0].kind = DestinationKind::Sftp {
            url: "sftp://me@nas/x".to_owned(),
        }
    }),
    ("CCB105", |s| {
        db(s).source = files("/srv/uploads");
        s.encryptions[0].key = SecretRef::File("/srv/uploads-key".to_owned());
    }),
    ("CCB106", |s| {
        s.destinations[1].encrypt = None;
        db(s).sensitive = false;
    }),
    ("CCB107", |s| {
        s.destinations[0] = directory("primary", "/mnt/x")
    }),
    ("CCB110", |s| {
        let quiet = ["pg", "--password-file=/run/key", "--token-name", "ci"];
        db(s).hooks = vec![hook(&quiet)];
    }),
    ("CCB201", |s| {
        db(s).source = files("/srv");
        s.destinations[0] = directory("primary", "/mnt/x");
        s.destinations[0].location.host = Some("nas".to_owned());
    }),
    ("CCB202", |s| {
        db(s).store = at(&["offsite"]);
        s.policy.copies = Some(Minimum {
            min: 1,
            level: None,
        });
    }),
    ("CCB202", |s| {
        db(s).store = at(&["offsite"]);
        db(s).enabled = false;
    }),
    ("CCB203", |s| s.destinations[1].location.offsite = false),
    ("CCB204", |s| {
        db(s).verify.integrity = None;
        db(s).verify.restore_test = Some(RestoreTest {
            server: None,
            every: Period::days(30),
            into: RestoreInto::TemporaryDatabase,
            files: None,
        });
    }),
    ("CCB211", |s| {
        s.notify[0].webhooks.clear();
        s.notify[0].healthchecks = Some(SecretRef::Env("PING".to_owned()));
    }),
    ("CCB215", |s| {
        db(s).schedules.push(daily("wal", "03:00", Method::Wal));
        db(s).schedules.push(daily("base", "04:00", Method::Base));
        db(s).retain = vec![keep(Keep::Pitr(Period::days(7)))];
    }),
    ("CCB301", |s| db(s).retain.push(keep(weeks(5)))),
    ("CCB301", |s| {
        db(s).retain.push(keep(weeks(4)));
        db(s).schedules[0].timing = Timing::Every(Period::hours(6));
    }),
    ("CCB301", |s| {
        db(s).retain.push(only(keep(weeks(4)), Method::Base))
    }),
    ("CCB302", |s| db(s).schedules[0].timing = Timing::Continuous),
    ("CCB304", |s| {
        db(s).schedules = vec![on(daily("weekly", "02:00", Method::Dump), Weekday::Sunday)];
        db(s).retain = vec![keep(Keep::Within(Period::days(3))), keep(Keep::Last(1))];
    }),
    ("CCB306", |s| {
        db(s).exports = vec![export(ExportKind::Openssl, Some(600_000))]
    }),
    ("CCB308", |s| {
        s.destinations.push(bucket("spare", "eu-west-2", false));
        let mut export = export(ExportKind::Gpg, None);
        export.to = name("spare");
        db(s).exports = vec![export];
    }),
    ("CCB309", |s| {
        s.policy.waivers = vec![waiver("CCB204", "component.db", "2026-12-31")]
    }),
    ("CCB310", |s| {
        s.timezone = "Europe/Paris".to_owned();
        db(s).schedules = vec![on(daily("monday", "02:30", Method::Dump), Weekday::Monday)];
    }),
    ("CCB313", |s| {
        db(s).schedules.push(daily("base", "02:00", Method::Base))
    }),
];

fn waiver(rule: &str, address: &str, until: &str) -> Waiver {
    Waiver {
        rule: rule.to_owned(),
        for_: Address(address.to_owned()),
        until: until.parse().unwrap(),
        reason: "OPS-812".to_owned(),
    }
}

#[test]
fn each_rule_is_broken_where_it_should_be() {
    for (rule, bend, address, message) in BREAKING {
        let all = findings(&bent(bend));
        let found = of(rule, &all);
        assert_eq!(found.len(), 1, "{rule}: {message}: {all:#?}");
        assert_eq!(
            (found[0].address.0.as_str(), found[0].message.as_str()),
            (*address, *message)
        );
        assert!(!found[0].help.is_empty());
    }
}

#[test]
fn each_rule_is_silent_where_it_is_kept() {
    for (number, (rule, bend)) in KEEPING.iter().enumerate() {
        let all = findings(&bent(bend));
        assert_eq!(
            of(rule, &all),
            Vec::<&Finding>::new(),
            "{rule}, case {number}"
        );
    }
}

#[test]
fn no_message_and_no_help_repeats_a_secret() {
    for (_, bend, ..) in BREAKING
        .iter()
        .filter(|(rule, ..)| ["CCB104", "CCB110"].contains(rule))
    {
        let told = format!("{:?}", findings(&bent(bend)));
        assert!(
            !told.contains("hunter2") && !told.contains("AKIA"),
            "{told}"
        );
    }
}

#[test]
fn help_can_be_pasted_into_the_plan_file() {
    let help = |bend: Bend, rule: &str| of(rule, &findings(&bent(bend)))[0].help.clone();
    assert_eq!(
        help(|s| db(s).store = at(&["primary"]), "CCB202"),
        "store \"primary\" \"offsite\""
    );
    assert_eq!(
        help(|s| endpoint(s, "http://s3.example.org:9000"), "CCB102"),
        "endpoint=\"https://s3.example.org:9000\""
    );
}

#[test]
fn facts_about_the_machine_come_from_the_caller() {
    let strategy = bent(|s| s.destinations[0] = directory("primary", "./backups/"));
    let around = Surroundings {
        unignored_in_git: [name("primary"), name("offsite")].into(),
        stale_runbook: Some("RUNBOOK.md".to_owned()),
        ..Surroundings::default()
    };
    let all = check_strategy(&strategy, &around, sunday());
    assert_eq!(of("CCB109", &all)[0].help, "add ./backups/ to .gitignore");
    assert_eq!(of("CCB109", &all).len(), 1, "a bucket is in no work tree");
    assert_eq!(of("CCB307", &all)[0].help, "ccb runbook FILE > RUNBOOK.md");
    assert_eq!(of("CCB307", &findings(&strategy)), Vec::<&Finding>::new());
}

#[test]
fn a_database_that_was_looked_at_is_held_against_what_is_expected_of_it() {
    let strategy = bent(|s| {
        db(s).verify.contents = Some(ContentsCheck {
            counts: true,
            sizes: true,
            keys_tolerance: Percent(0),
            tables: vec!["users".to_owned(), "public.orders".to_owned()],
        });
    });
    let of_tables = |names: &[&str]| Schema {
        objects: names
            .iter()
            .map(|name| (format!("TABLE public.{name}"), Object::default()))
            .collect(),
    };
    let (before, schema) = (of_tables(&["orders", "users"]), of_tables(&["orders"]));
    let live = Live {
        since: Some((sunday().0, drift(&before, &schema))),
        schema,
        ..Live::default()
    };
    let around = Surroundings {
        live: [(name("db"), live)].into(),
        ..Surroundings::default()
    };
    let all = check_strategy(&strategy, &around, sunday());
    let missing = of("CCB220", &all);
    assert_eq!(missing.len(), 1);
    assert!(missing[0].blocks() && missing[0].message.contains("lacks table \"users\""));
    let drifted = of("CCB223", &all);
    assert_eq!(drifted.len(), 1);
    assert!(
        drifted[0]
            .message
            .ends_with(": - TABLE public.users, which the last backup still holds")
    );
    assert!(
        drifted[0]
            .help
            .ends_with("ccb restore FILE db --table public.users")
    );
    assert_eq!(of("CCB220", &findings(&strategy)), Vec::<&Finding>::new());
}

#[test]
fn the_preset_decides_how_hard_a_rule_is() {
    let level = |preset: Option<Preset>| {
        let strategy = bent(|s| {
            db(s).store = at(&["offsite"]);
            s.policy.preset = preset;
            s.policy.copies = Some(Minimum {
                min: 2,
                level: None,
            });
        });
        of("CCB202", &findings(&strategy)).first().map(|f| f.level)
    };
    assert_eq!(level(Some(Preset::Production)), Some(Level::Deny));
    assert_eq!(
        level(None),
        Some(Level::Deny),
        "nobody said that less is enough"
    );
    assert_eq!(level(Some(Preset::Staging)), Some(Level::Warn));
    assert_eq!(level(Some(Preset::Development)), None, "off is not told");
}

#[test]
fn set_and_a_level_on_the_rules_own_line_win_over_the_preset() {
    let level = |set: Option<Level>, own: Option<Level>| {
        let strategy = bent(|s| {
            db(s).store = at(&["offsite"]);
            s.policy.levels = set
                .map(|level| ("CCB202".to_owned(), level))
                .into_iter()
                .collect();
            s.policy.copies = Some(Minimum { min: 2, level: own });
        });
        of("CCB202", &findings(&strategy)).first().map(|f| f.level)
    };
    assert_eq!(level(Some(Level::Warn), None), Some(Level::Warn));
    assert_eq!(level(Some(Level::Off), None), None);
    assert_eq!(
        level(Some(Level::Off), Some(Level::Warn)),
        Some(Level::Warn)
    );
    let secret = bent(|s| {
        env_use(s, "PGPASSWORD", "component.db.source.host");
        s.policy.levels.insert("CCB104".to_owned(), Level::Off);
    });
    assert_eq!(
        of("CCB104", &findings(&secret))[0].level,
        Level::Deny,
        "never softened"
    );
}

#[test]
fn a_waiver_holds_for_its_address_until_the_end_of_its_last_day() {
    let blocked = |for_: &str, until: &str| {
        let strategy = bent(|s| {
            db(s).store = at(&["offsite"]);
            s.policy.waivers = vec![waiver("CCB202", for_, until)];
        });
        let all = findings(&strategy);
        let found = of("CCB202", &all);
        assert_eq!(found[0].level, Level::Deny, "told all the same");
        found[0].blocks()
    };
    assert!(!blocked("component.db", "2026-12-31"));
    assert!(!blocked("component.db", "2026-11-22"), "its last day");
    assert!(blocked("component.db", "2026-11-21"), "ended");
    assert!(
        blocked("component.other", "2026-12-31"),
        "about something else"
    );
}

#[test]
fn the_last_day_of_a_waiver_is_a_day_of_the_plans_zone() {
    let strategy = |zone: &str| {
        bent(|s| {
            s.timezone = zone.to_owned();
            db(s).store = at(&["offsite"]);
            s.policy.waivers = vec![waiver("CCB202", "component.db", "2026-11-21")];
        })
    };
    // 02:07 in London is still the evening before in New York.
    assert!(of("CCB202", &findings(&strategy("Europe/London")))[0].blocks());
    assert!(!of("CCB202", &findings(&strategy("America/New_York")))[0].blocks());
}

#[test]
fn the_end_of_a_waiver_is_announced_for_fourteen_days() {
    let told = |until: &str| {
        let strategy = bent(|s| s.policy.waivers = vec![waiver("CCB204", "component.db", until)]);
        of("CCB309", &findings(&strategy)).first().map(|f| f.level)
    };
    assert_eq!(told("2026-12-07"), None);
    assert_eq!(told("2026-12-06"), Some(Level::Warn));
    assert_eq!(told("2026-11-22"), Some(Level::Warn));
    assert_eq!(told("2026-11-21"), Some(Level::Deny));
}

#[test]
fn what_can_not_be_waived_blocks_in_spite_of_a_waiver() {
    let strategy = bent(|s| {
        env_use(s, "PGPASSWORD", "component.db.source.host");
        s.policy.waivers = vec![waiver("CCB104", "component.db", "2027-12-31")];
    });
    let all = findings(&strategy);
    assert!(of("CCB104", &all)[0].blocks());
}

#[test]
fn findings_stand_worst_first_then_by_address_and_rule() {
    let strategy = bent(|s| {
        s.components.push(database("cache"));
        s.components.push(database("accounts"));
        for component in &mut s.components {
            component.store = at(&["offsite"]);
        }
        s.destinations[1].sse = None;
        s.destinations[1].location.offsite = false;
        s.policy.waivers = vec![waiver("CCB202", "component.accounts", "2027-12-31")];
    });
    let all = findings(&strategy);
    let order: Vec<String> = all
        .iter()
        .map(|f| format!("{:?} {} {}", f.level, f.address, f.rule))
        .collect();
    assert_eq!(
        order,
        [
            "Deny component.accounts.store CCB203",
            "Deny component.cache.store CCB202",
            "Deny component.cache.store CCB203",
            "Deny component.db.store CCB202",
            "Deny component.db.store CCB203",
            "Warn destination.offsite CCB107",
            "Warn destination.primary CCB308",
            "Deny component.accounts.store CCB202",
        ]
    );
}
