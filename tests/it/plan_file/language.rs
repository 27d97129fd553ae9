//! What plan files mean: the committed plans, templates, variables, interpolation.

use crate::plan_file::support::{World, committed, committed_world, parse_committed, report};
use ccb::model::ids::{Address, ComponentName};
use ccb::model::strategy::{
    Destination, DestinationKind, Keep, Level, Method, Preset, SecretRef, SourceSpec, SslMode,
    Strategy, TestServer, Timing,
};
use ccb::plan_file::{self, UnsetEnv};

fn strategy(path: &str) -> Strategy {
    match parse_committed(path) {
        Ok(parsed) => {
            assert_eq!(parsed.warnings.len(), 0, "{path}: {:?}", parsed.warnings);
            parsed.strategy
        }
        Err(error) => panic!("{}", report(&error)),
    }
}

const PLANS: [(&str, usize); 4] = [
    ("plans/production.kdl", 4),
    ("plans/staging.kdl", 3),
    ("plans/development.kdl", 3),
    ("plans/quickstart.kdl", 1),
];

fn read(text: &str, env: &[(&str, &str)], vars: &[(&str, &str)]) -> Strategy {
    let world = World {
        files: &[("plan.kdl", text)],
        env,
        vars,
        unset_env: UnsetEnv::Refuse,
    };
    match world.parse() {
        Ok(parsed) => parsed.strategy,
        Err(error) => panic!("{}", report(&error)),
    }
}

const HEAD: &str = "plan \"app\" environment=\"development\"\ndestination \"main\" {\n    local \"./backups\"\n    encrypt none=#true\n}\n";

#[test]
fn the_committed_plans_parse_without_a_warning() {
    for (path, components) in PLANS {
        assert_eq!(strategy(path).components.len(), components, "{path}");
    }
}

#[test]
fn the_quickstart_needs_nothing_from_the_environment() {
    let text = committed("plans/quickstart.kdl");
    let strategy = read(&text, &[], &[]);
    assert!(strategy.env_names.is_empty());
    let ignored = committed(".gitignore");
    for destination in &strategy.destinations {
        let DestinationKind::Local { path } = &destination.kind else {
            panic!("{destination:?} is no directory");
        };
        assert!(
            path.starts_with(".ccb/") && ignored.contains("/.ccb"),
            "{path} would be committed"
        );
    }
}

#[test]
fn committed_plans_are_formatted() {
    for path in PLANS
        .map(|(path, _)| path)
        .into_iter()
        .chain(["plans/shared/app.kdl"])
    {
        let diff = plan_file::format_diff(path, &committed(path)).unwrap();
        assert_eq!(diff, None, "{path}");
    }
}

#[test]
fn a_component_has_what_its_template_has_and_its_own_on_top() {
    let strategy = strategy("plans/production.kdl");
    let name = ComponentName::new("postgres").unwrap();
    let postgres = strategy.component(&name).unwrap();
    let SourceSpec::Postgres(source) = &postgres.source else {
        panic!("{:?}", postgres.source)
    };
    assert_eq!(
        (source.sslmode, source.port),
        (SslMode::VerifyFull, 5432),
        "own, and the template's"
    );
    assert_eq!(
        source.host.as_deref(),
        Some("localhost"),
        "the default of ${{env.PGHOST:-localhost}}"
    );
    assert_eq!(source.database, "content_crew", "the variable's default");
    assert_eq!(source.password, Some(SecretRef::Env("PGPASSWORD".into())));
    let names: Vec<_> = postgres.schedules.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["manual", "daily", "base", "wal", "pre-deploy"]);
    let verify = &postgres.verify;
    assert!(verify.contents.is_some() && verify.encrypted && verify.restore_test.is_some());
    let rules: Vec<String> = postgres
        .retain
        .iter()
        .map(|rule| rule.keep.to_string())
        .collect();
    assert_eq!(
        rules,
        [
            "daily 30",
            "weekly 4",
            "monthly 12",
            "all until verified",
            "pitr 7d"
        ]
    );
}

#[test]
fn places_point_at_what_was_written_in_template_or_component() {
    let strategy = strategy("plans/production.kdl");
    let text_at = |address: &str| {
        let place = strategy.place(&Address(address.into())).unwrap();
        let file = &strategy.files[place.file];
        (
            file.path.as_str(),
            &file.text[place.start..place.start + place.len],
        )
    };
    assert_eq!(
        text_at("component.postgres.source.sslmode"),
        ("plans/production.kdl", "sslmode \"verify-full\"")
    );
    assert_eq!(
        text_at("component.postgres.schedule.manual"),
        (
            "plans/shared/app.kdl",
            "schedule \"manual\" when=\"on-demand\" method=\"dump\""
        )
    );
    assert_eq!(
        text_at("component.postgres.retain.1"),
        (
            "plans/production.kdl",
            "weekly 4 on=\"sunday\" method=\"dump\""
        )
    );
    assert_eq!(text_at("policy.copies").1, "copies min=2 level=\"deny\"");
}

#[test]
fn remove_drops_and_the_own_child_replaces() {
    let text = format!(
        "{HEAD}template \"t\" {{\n    source \"files\" {{\n        path \"a\"\n        exclude \"x\" \"y\"\n    }}\n    schedule \"manual\" when=\"on-demand\"\n    schedule \"daily\" at=\"02:00\"\n    retain {{\n        last 9\n    }}\n    hook \"before\" {{\n        run \"one\"\n    }}\n}}\ncomponent \"c\" extends=\"t\" {{\n    remove schedule=\"manual\"\n    source \"files\" {{\n        path \"b\"\n    }}\n    store \"main\"\n    schedule \"daily\" at=\"05:00\"\n    retain {{\n        daily 2\n    }}\n    hook \"before\" {{\n        run \"two\"\n    }}\n    hook \"before\" {{\n        run \"three\"\n    }}\n}}\n"
    );
    let strategy = read(&text, &[], &[]);
    let component = &strategy.components[0];
    let SourceSpec::Files(files) = &component.source else {
        panic!()
    };
    assert_eq!((files.path.as_str(), files.exclude.len()), ("b", 2));
    assert_eq!(component.schedules.len(), 1);
    assert!(matches!(component.schedules[0].timing, Timing::At { time, .. } if time.hour == 5));
    assert_eq!(
        component.schedules[0].method,
        Method::Incremental,
        "the source's default"
    );
    assert!(matches!(
        component.retain[0].keep,
        Keep::Daily { count: 2, .. }
    ));
    let hooks: Vec<_> = component
        .hooks
        .iter()
        .map(|hook| hook.run[0].as_str())
        .collect();
    assert_eq!(hooks, ["two", "three"]);
}

#[test]
fn a_whole_reference_keeps_its_type_and_a_part_becomes_text() {
    let text = format!(
        "{HEAD}variable \"n\" type=\"integer\" default=3\nvariable \"on\" type=\"boolean\" default=#false\nvariable \"keep\" type=\"duration\" default=\"5d\"\ncomponent \"c\" enabled=\"${{var.on}}\" {{\n    source \"files\" {{\n        path \"/srv/${{env.USER_DIR:-home}}/${{var.n}}/$${{literal}}\"\n    }}\n    store \"main\"\n    retain {{\n        last \"${{var.n}}\"\n        within \"${{var.keep}}\"\n        daily \"${{env.DAYS:-4}}\"\n    }}\n}}\n"
    );
    let keeps = |strategy: &Strategy| -> Vec<String> {
        strategy.components[0]
            .retain
            .iter()
            .map(|rule| rule.keep.to_string())
            .collect()
    };
    let plain = read(&text, &[], &[]);
    assert!(!plain.components[0].enabled);
    assert_eq!(keeps(&plain), ["last 3", "within 5d", "daily 4"]);
    let SourceSpec::Files(files) = &plain.components[0].source else {
        panic!()
    };
    assert_eq!(files.path, "/srv/home/3/${literal}");
    assert_eq!(plain.variables["keep"], "5d");
    assert_eq!(plain.env_names, ["DAYS", "USER_DIR"]);

    // --var wins over CCB_VAR_NAME, which wins over the default.
    let env = [("CCB_VAR_N", "7"), ("CCB_VAR_ON", "true"), ("DAYS", "9")];
    let set = read(&text, &env, &[("n", "8")]);
    assert!(set.components[0].enabled);
    assert_eq!(keeps(&set), ["last 8", "within 5d", "daily 9"]);
}

#[test]
fn an_unset_name_is_a_warning_where_the_caller_allows_it() {
    let text = committed("plans/production.kdl");
    let shared = committed("plans/shared/app.kdl");
    let world = World {
        files: &[
            ("plans/production.kdl", &text),
            ("plans/shared/app.kdl", &shared),
        ],
        env: &[],
        vars: &[],
        unset_env: UnsetEnv::Warn,
    };
    let parsed = world.parse().unwrap();
    let codes: Vec<_> = parsed.warnings.iter().map(|warning| warning.code).collect();
    assert_eq!(
        codes
            .iter()
            .filter(|code| **code == "ccb::config::env_unset")
            .count(),
        1
    );
    assert_eq!(
        codes
            .iter()
            .filter(|code| **code == "ccb::config::secret_unset")
            .count(),
        6
    );
}

#[test]
fn without_a_policy_the_preset_is_named_like_the_environment() {
    let component = "component \"c\" {\n    source \"files\" {\n        path \"a\"\n    }\n    store \"main\"\n}\n";
    let of = |text: &str| read(&format!("{text}{component}"), &[], &[]).policy;
    assert_eq!(of(HEAD).preset, Some(Preset::Development));
    assert_eq!(
        of(&HEAD.replace("\"development\"", "\"demo\"")).preset,
        None
    );
    let policy = of(&format!(
        "{HEAD}policy preset=\"staging\" {{\n    set \"copies\" level=\"off\"\n    waive \"CCB206\" for=\"component.c\" until=\"2030-01-31\" reason=\"no host\"\n}}\n"
    ));
    assert_eq!(policy.preset, Some(Preset::Staging));
    assert_eq!(policy.levels["CCB202"], Level::Off);
    assert_eq!(policy.waivers[0].rule, "CCB206");
}

#[test]
fn what_nothing_uses_is_known() {
    let text = format!(
        "{HEAD}variable \"x\" default=\"1\"\ntemplate \"t\" {{\n    store \"main\"\n}}\ncomponent \"c\" {{\n    source \"files\" {{\n        path \"a\"\n    }}\n    store \"main\"\n}}\n"
    );
    let unused: Vec<String> = read(&text, &[], &[])
        .unused
        .into_iter()
        .map(|a| a.0)
        .collect();
    assert_eq!(unused, ["variable.x", "template.t"]);
}

#[test]
fn every_kind_of_destination_and_source_is_read() {
    let text = "plan \"all\" environment=\"development\"\nencryption \"k\" {\n    key command=\"pass show k\"\n}\ndestination \"server\" {\n    sftp \"sftp://backup@host:2222/srv\"\n    encrypt \"k\"\n}\ndestination \"cloud\" {\n    s3 \"s3://b/p\" path-style=#true storage-class=\"STANDARD_IA\"\n    encrypt \"k\"\n    object-lock \"compliance\" days=30\n}\ncomponent \"cache\" {\n    source \"redis\" {\n        url file=\"/run/redis-url\"\n        via \"docker\" \"compose\" \"exec\" \"-T\" \"redis\"\n    }\n    store \"server\"\n    schedule \"s\" cron=\"*/15 2 * * 1-5\" method=\"aof\"\n}\ncomponent \"bucket\" {\n    source \"s3\" {\n        bucket \"media\"\n    }\n    store \"cloud\"\n    schedule \"copy\" every=\"6h\" method=\"mirror\" missed=\"skip\"\n    export \"gpg\" to=\"server\" method=\"mirror\" {\n        key env=\"GPG\"\n    }\n}\n";
    let strategy = read(text, &[], &[]);
    let kinds: Vec<_> = strategy
        .components
        .iter()
        .map(|c| c.source.kind())
        .collect();
    assert_eq!(kinds, ["redis", "s3"]);
    let SourceSpec::Redis(redis) = &strategy.components[0].source else {
        panic!()
    };
    assert_eq!(redis.via.len(), 5);
    let lock = |d: &Destination| {
        d.object_lock
            .as_ref()
            .map(|lock| (lock.compliance, lock.days))
    };
    assert_eq!(lock(&strategy.destinations[1]), Some((true, 30)));
    assert_eq!(
        strategy.components[1].exports[0].layout,
        "{component}/{method}_{time:%Y-%m-%d_%H%M%S}.gpg"
    );
}

#[test]
fn the_resolved_plan_shows_where_each_line_came_from_and_reads_back() {
    for (path, _) in PLANS {
        let shown = committed_world(path, |world| world.with(plan_file::resolved).unwrap());
        let golden = format!(
            "resolved_{}",
            path.trim_start_matches("plans/").trim_end_matches(".kdl")
        );
        insta::with_settings!({
            snapshot_path => concat!(env!("CARGO_MANIFEST_DIR"), "/snapshots/plan_file"),
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, { insta::assert_snapshot!(golden, shown) });
        let mut before = strategy(path);
        before.variables.clear();
        before.env_names.clear();
        let mut after = read(&shown, crate::plan_file::support::ENV, &[]);
        after.env_names.clear();
        assert_eq!(after.digest(), before.digest(), "{path}");
    }
}

#[test]
fn a_secret_in_a_value_is_not_shown_resolved() {
    let text = format!(
        "{HEAD}component \"c\" {{\n    source \"files\" {{\n        path \"/srv/${{env.APP_PASSWORD}}\"\n    }}\n    store \"main\"\n}}\n"
    );
    let world = World {
        files: &[("plan.kdl", &text)],
        env: &[("APP_PASSWORD", "hunter2")],
        vars: &[],
        unset_env: UnsetEnv::Refuse,
    };
    let shown = world.with(plan_file::resolved).unwrap();
    assert!(shown.contains("path \"/srv/${env.APP_PASSWORD}\"") && !shown.contains("hunter2"));
    let strategy = world.parse().unwrap().strategy;
    assert_eq!(strategy.env_in_values[0].name, "APP_PASSWORD");
}

#[test]
fn a_dump_may_run_a_day_unless_told_and_a_restore_test_may_name_a_server() {
    let component = |source: &str, test: &str| {
        let text = format!(
            "{HEAD}component \"db\" {{\n    source \"postgres\" {{\n        database \"db\"\n        {source}\n    }}\n    store \"main\"\n    verify {{\n        restore-test into=\"temporary-database\" {test}\n    }}\n}}\n"
        );
        let strategy = read(&text, &[("TESTER", "x")], &[]);
        let names = strategy.env_names.clone();
        let component = strategy
            .components
            .into_iter()
            .next()
            .expect("there is one");
        let SourceSpec::Postgres(source) = component.source else {
            panic!("it is a database");
        };
        let test = component.verify.restore_test.expect("it is tested");
        (source.timeout.to_string(), test.server, names)
    };
    assert_eq!(component("", ""), ("1d".to_owned(), None, vec![]));
    let server = "{ server { host \"db-test\"; user \"tester\"; password env=\"TESTER\"; sslmode \"verify-full\" } }";
    let (timeout, server, names) = component("timeout \"90m\"", server);
    assert_eq!(timeout, "1h30m");
    assert_eq!(names, ["TESTER"]);
    let expected = TestServer {
        host: "db-test".to_owned(),
        port: 5432,
        user: Some("tester".to_owned()),
        password: Some(SecretRef::Env("TESTER".to_owned())),
        sslmode: SslMode::VerifyFull,
    };
    assert_eq!(server, Some(expected));
}
