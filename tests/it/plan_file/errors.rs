//! Every class of mistake with the report that it gets, side by side in `snapshots/plan_file/`.

use crate::plan_file::support::{World, report};
use ccb::plan_file::{UnsetEnv, diagnostic};

/// A plan that is right, for mistakes to be put into.
const RIGHT: &str = r#"plan "app" environment="development"
destination "main" {
    local "./backups"
    encrypt none=#true
}
component "files" {
    source "files" {
        path "./data"
    }
    store "main"
    retain {
        daily 7
    }
}
"#;

/// The report on `files`, under the texts that it is about.
fn golden(name: &str, files: &[(&str, &str)]) {
    let world = World {
        files,
        env: &[("SIZE", "large"), ("PGPASSWORD", "hunter2")],
        vars: &[],
        unset_env: UnsetEnv::Refuse,
    };
    let mut shown = String::new();
    for (path, text) in files {
        shown.push_str(&format!("---- {path}\n{text}"));
    }
    shown.push_str("---- report\n");
    match world.parse() {
        Ok(parsed) => {
            let warnings = diagnostic::report(&parsed.warnings, false, 100);
            assert!(!warnings.is_empty(), "{name}: nothing is wrong with it");
            shown.push_str(&warnings);
        }
        Err(error) => shown.push_str(&report(&error)),
    }
    insta::with_settings!({
        snapshot_path => concat!(env!("CARGO_MANIFEST_DIR"), "/snapshots/plan_file"),
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, { insta::assert_snapshot!(name, shown) });
}

/// The right plan with one part replaced by another.
fn broken(name: &str, part: &str, by: &str) {
    assert!(RIGHT.contains(part), "{part}");
    golden(name, &[("plan.kdl", &RIGHT.replacen(part, by, 1))]);
}

/// The right plan with nodes added to it.
fn with(name: &str, nodes: &str) {
    golden(name, &[("plan.kdl", &format!("{RIGHT}{nodes}"))]);
}

#[test]
fn a_test_server_belongs_to_the_restore_tests_of_a_database() {
    with(
        "test_server",
        "component \"db\" {\n    source \"postgres\" {\n        database \"db\"\n        timeout \"soon\"\n    }\n    store \"main\"\n    verify {\n        restore-test into=\"temporary-database\" {\n            server {\n                port 0\n                password \"hunter2\"\n            }\n        }\n    }\n}\ncomponent \"uploads\" {\n    source \"files\" {\n        path \"./uploads\"\n    }\n    store \"main\"\n    verify {\n        restore-test into=\"temporary-directory\" {\n            server {\n                host \"db-test\"\n            }\n        }\n    }\n}\npolicy preset=\"development\" {\n    restore-test within=\"31d\" {\n        server {\n            host \"db-test\"\n        }\n    }\n}\n",
    );
}

#[test]
fn what_kdl_reads_silently_or_names_badly() {
    broken(
        "lexer_unquoted",
        "    retain {\n        daily 7\n    }",
        "    schedule \"a\" at=02:00 window=4h enabled=true\n    schedule \"b\" when='on-demand'\n    retain {\n        within 30d # a month\n        daily 7,\n    }\n    verify {\n        presence max-shrink=50%\n    }",
    );
    broken(
        "lexer_paths_and_urls",
        "local \"./backups\"",
        "s3 s3://bucket/prefix endpoint=https://s3.example.com",
    );
    broken("lexer_interpolation", "\"./data\"", "${env.DATA}");
    broken(
        "lexer_lists",
        "store \"main\"",
        "store [\"main\", \"other\"]",
    );
    broken("lexer_relative_path", "\"./data\"", "./data");
}

#[test]
fn text_that_is_not_kdl() {
    broken("kdl_unclosed_block", "    }\n    store", "    store");
    broken(
        "kdl_unopened_block",
        "    store \"main\"",
        "    }\n    store \"main\"",
    );
    broken("kdl_unclosed_string", "\"./data\"", "\"./data");
    broken("kdl_unclosed_comment", "    store", "    /* store");
    broken("kdl_escape", "\"./data\"", "\"C:\\data\"");
    broken("kdl_type_annotation", "daily 7", "daily (u8)7");
    broken("kdl_missing_value", "none=#true", "none=");
    broken("kdl_glued", "daily 7", "daily 7\"x\"");
    broken("kdl_after_block", "    }\n    store", "    } store");
    golden("kdl_nested_too_deep", &[("plan.kdl", &"a {\n".repeat(70))]);
}

#[test]
fn what_the_node_table_does_not_allow() {
    broken(
        "table_unknown_node",
        "    retain",
        "    shedule \"daily\" at=\"02:00\"\n    cron \"x\"\n    retain",
    );
    broken(
        "table_unknown_property",
        "retain {",
        "schedule \"daily\" at=\"02:00\" evry=\"1h\"\n    retain {",
    );
    broken(
        "table_duplicate_property",
        "retain {",
        "schedule \"daily\" at=\"02:00\" at=\"03:00\"\n    retain {",
    );
    broken(
        "table_duplicate_node",
        "    store \"main\"\n",
        "    store \"main\"\n    store \"main\"\n",
    );
    broken("table_missing_node", "path \"./data\"", "symlinks \"keep\"");
    broken(
        "table_misplaced_node",
        "path \"./data\"",
        "path \"./data\"\n        host \"db\"",
    );
    broken(
        "table_missing_property",
        "environment=\"development\"",
        "timezone=\"UTC\"",
    );
    broken(
        "table_arguments",
        "daily 7",
        "daily\n        weekly 4 5\n        all 3",
    );
    broken(
        "table_property_that_is_a_node",
        "source \"files\" {",
        "source \"files\" path=\"./data\" {",
    );
    golden("table_empty_file", &[("plan.kdl", "")]);
    broken(
        "table_values",
        "daily 7",
        "daily 0\n        weekly 4 on=\"sundey\"\n        monthly 2 on=29\n        yearly 1 on=\"02-29\"\n        within \"30 days\"\n        expire 30\n        last \"3\"\n        all until=\"verifyed\"",
    );
    with(
        "table_values_elsewhere",
        "encryption \"Default\" {\n    key env=\"MY KEY\"\n    cipher \"aes-256-cbc\"\n}\ndestination \"cloud\" {\n    s3 \"https://bucket\" endpoint=\"s3.example.com\" path-style=\"yes\"\n    encrypt none=#true\n}\ndestination \"server\" {\n    sftp \"backup@host\"\n    encrypt none=#true\n}\npolicy preset=\"prod\" {\n    waive \"copies\" for=\"component.files\" until=\"31.12.2026\" reason=\"x\"\n}\n",
    );
}

#[test]
fn plans_say_what_they_are() {
    broken(
        "plan_timezone",
        "environment",
        "timezone=\"europe/Pari\" environment",
    );
    broken("plan_format", "environment", "format=2 environment");
    broken(
        "plan_requires",
        "environment",
        "requires=\">=99.1\" environment",
    );
}

#[test]
fn includes() {
    golden(
        "include_cycle",
        &[
            (
                "plans/a.kdl",
                "plan \"a\" environment=\"development\"\ninclude \"shared/b.kdl\"\n",
            ),
            ("plans/shared/b.kdl", "include \"c.kdl\"\n"),
            ("plans/shared/c.kdl", "include \"../a.kdl\"\n"),
        ],
    );
    golden(
        "include_missing",
        &[(
            "a.kdl",
            &format!("{RIGHT}include \"nowhere.kdl\"\ninclude \"${{env.X}}.kdl\"\n"),
        )],
    );
    golden(
        "include_twice",
        &[
            (
                "a.kdl",
                &format!("{RIGHT}include \"b.kdl\"\ninclude \"b.kdl\"\n"),
            ),
            ("b.kdl", "// nothing\n"),
        ],
    );
    golden(
        "include_duplicate_names_and_plan",
        &[
            ("a.kdl", &format!("{RIGHT}include \"b.kdl\"\n")),
            (
                "b.kdl",
                "plan \"b\" environment=\"development\"\n\ndestination \"main\" {\n    local \"./elsewhere\"\n    encrypt none=#true\n}\n",
            ),
        ],
    );
    golden(
        "include_each_problem_in_its_own_file",
        &[
            (
                "a.kdl",
                &format!("{}include \"b.kdl\"\n", RIGHT.replace("daily", "dayly")),
            ),
            (
                "b.kdl",
                "variable \"x\" type=\"number\"\nencryption \"k\" {\n    key env=B\n    ciper \"x\"\n}\n",
            ),
        ],
    );
}

#[test]
fn templates() {
    let template = "template \"t\" {\n    source \"redis\" {\n        url env=\"REDIS_URL\"\n    }\n    schedule \"manual\" when=\"on-demand\"\n}\n";
    let component = |body: &str| {
        format!("{template}component \"cache\" extends=\"t\" {{\n{body}    store \"main\"\n}}\n")
    };
    with(
        "template_unknown",
        "template \"base\" {\n    store \"main\"\n}\ncomponent \"x\" extends=\"bsae\" {\n    source \"files\" {\n        path \"x\"\n    }\n    store \"main\"\n}\n",
    );
    with(
        "template_remove",
        &component("    remove schedule=\"manaul\"\n    remove\n"),
    );
    with(
        "template_other_source",
        &component("    source \"files\" {\n        path \"x\"\n    }\n"),
    );
    broken(
        "template_remove_without_one",
        "    store \"main\"",
        "    store \"main\"\n    remove schedule=\"x\"",
    );
}

#[test]
fn variables_and_environment() {
    with(
        "variable_mistakes",
        "variable \"count\" type=\"integer\" default=\"3\"\nvariable \"unset\"\nvariable \"age\" type=\"duration\" default=\"3 days\"\nvariable \"text\" default=5\n",
    );
    broken(
        "variable_unknown",
        "\"./data\"\n",
        "\"${var.dta}\"\n        exclude \"${HOME}\" \"${env.A B}\" \"${open\"\n",
    );
    with(
        "variable_value_does_not_fit",
        "variable \"n\" type=\"integer\" default=500\napply {\n    parallelism \"${var.n}\"\n    trash \"${env.SIZE}\"\n}\n",
    );
    broken("env_unset", "\"./data\"", "\"${env.DATA_PATH}/x\"");
    let name = "variable_not_in_the_file";
    let world = World {
        files: &[("plan.kdl", RIGHT)],
        env: &[],
        vars: &[("dattabase", "x")],
        unset_env: UnsetEnv::Refuse,
    };
    insta::with_settings!({
        snapshot_path => concat!(env!("CARGO_MANIFEST_DIR"), "/snapshots/plan_file"),
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, { insta::assert_snapshot!(name, report(&world.parse().unwrap_err())) });
}

#[test]
fn secrets_are_references_and_are_not_shown() {
    let text = "component \"db\" {\n    source \"postgres\" {\n        database \"app\"\n        password \"hunter2\"\n    }\n    store \"main\"\n}\nencryption \"k\" {\n    key value=\"hunter2\"\n}\nencryption \"l\" {\n    key env=\"A\" file=\"b\"\n}\nencryption \"m\" {\n    key\n}\n";
    with("secret_literal", text);
    let files = [("plan.kdl", &*format!("{RIGHT}{text}"))];
    let world = World {
        files: &files,
        env: &[],
        vars: &[],
        unset_env: UnsetEnv::Refuse,
    };
    assert!(!report(&world.parse().unwrap_err()).contains("hunter2"));
    broken(
        "secret_unset_is_a_warning",
        "encrypt none=#true\n}",
        "encrypt \"k\"\n}\nencryption \"k\" {\n    key env=\"NOT_SET\"\n}\n",
    );
}

#[test]
fn names_that_refer_to_nothing() {
    broken(
        "reference_destination",
        "store \"main\"",
        "store \"mian\" \"main\" \"main\"",
    );
    broken(
        "reference_component",
        "store \"main\"",
        "store \"main\"\n    after \"fils\" \"database\"",
    );
    broken(
        "reference_encryption",
        "encrypt none=#true",
        "encrypt \"defualt\"",
    );
    broken(
        "reference_encrypt_both",
        "encrypt none=#true",
        "encrypt \"k\" none=#true",
    );
    broken("reference_encrypt_neither", "encrypt none=#true", "encrypt");
    broken(
        "reference_export",
        "store \"main\"",
        "store \"main\"\n    export \"tar\" to=\"mian\" {\n        layout \"{componnt}/{time}\"\n        cipher \"AES256\"\n    }\n    export \"openssl\" to=\"main\" {\n        cipher \"AES256\"\n        layout \"../{time:%Y}\"\n    }",
    );
    broken(
        "reference_schedule",
        "daily 7",
        "daily 7 schedule=\"nightly\"",
    );
    broken("reference_nowhere", "    store \"main\"\n", "");
    with(
        "reference_rules",
        "policy preset=\"development\" {\n    set \"CCB2O2\" level=\"warn\"\n    set \"restore-tset-overdue\" level=\"off\"\n    set \"last-copy\" level=\"warn\"\n    waive \"copies\" for=\"component.flies\" until=\"2030-01-31\" reason=\"x\"\n    waive \"CCB104\" for=\"component.files\" until=\"2030-01-31\" reason=\"x\"\n}\n",
    );
    broken(
        "reference_moved",
        "store \"main\"",
        "store \"main\"\n    moved from=\"uploads\"\n    moved from=\"component.files\"",
    );
    with(
        "reference_same_place",
        "destination \"second\" {\n    local \"backups/\"\n    encrypt none=#true\n}\n",
    );
    with(
        "reference_two_kinds",
        "destination \"second\" {\n    local \"x\"\n    sftp \"sftp://host/x\"\n    encrypt none=#true\n}\ndestination \"third\" {\n    encrypt none=#true\n    sse \"AES256\"\n}\n",
    );
    broken(
        "reference_names_twice",
        "    store \"main\"",
        "    store \"main\"\n    schedule \"daily\" at=\"02:00\"\n    schedule \"daily\" at=\"03:00\"\n    export \"tar\" to=\"main\"\n    export \"tar\" to=\"main\"",
    );
}

#[test]
fn components_that_wait_for_each_other() {
    let component = |name: &str, after: &str| {
        format!(
            "component \"{name}\" {{\n    source \"files\" {{\n        path \"{name}\"\n    }}\n    store \"main\"\n    after \"{after}\"\n}}\n"
        )
    };
    let ring = [
        component("a", "b"),
        component("b", "c"),
        component("c", "b"),
    ]
    .concat();
    with("cycle", &format!("{ring}{}", component("self", "self")));
}

#[test]
fn schedules_and_keep_rules_that_mean_nothing() {
    broken(
        "schedule_timing",
        "    retain",
        "    schedule \"none\"\n    schedule \"two\" at=\"02:00\" every=\"1h\"\n    schedule \"on\" every=\"1h\" on=\"sunday\"\n    schedule \"often\" every=\"5s\"\n    schedule \"cron\" cron=\"61 * * * *\"\n    schedule \"cron6\" cron=\"0 0 * * * *\"\n    retain",
    );
    broken(
        "schedule_method",
        "    retain",
        "    schedule \"a\" at=\"02:00\" method=\"dump\"\n    schedule \"b\" at=\"02:00\" method=\"fulll\"\n    retain",
    );
    broken(
        "retain_meaning",
        "daily 7",
        "daily 7 method=\"dump\"\n        pitr \"7d\"\n        weekly 4 on=1\n        monthly 3 on=\"sunday\"",
    );
    with(
        "retain_of_a_checked_bucket",
        "component \"media\" {\n    source \"s3\" {\n        bucket \"b\"\n    }\n    schedule \"daily\" at=\"02:00\" method=\"check\"\n    retain {\n        last 3\n    }\n}\n",
    );
    with(
        "wal_without_base",
        "component \"db\" {\n    source \"postgres\" {\n        database \"app\"\n        wal\n    }\n    store \"main\"\n    schedule \"wal\" every=\"1h\" method=\"wal\"\n    retain {\n        pitr \"7d\"\n    }\n}\n",
    );
    with(
        "dump_format_directory",
        "component \"db\" {\n    source \"postgres\" {\n        database \"app\"\n        format \"directory\"\n    }\n    store \"main\"\n    schedule \"daily\" at=\"02:00\" method=\"dump\"\n    retain {\n        daily 7\n    }\n}\n",
    );
    broken(
        "verify_misfits",
        "    retain",
        "    verify {\n        restore-test into=\"temporary-database\"\n        contents {\n            tables \"users\"\n        }\n    }\n    retain",
    );
}
