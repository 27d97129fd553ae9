//! Plan files and saved plans that are none.

use crate::cli::faults::{APPLY, Ground, noise};
use std::fs;

#[test]
fn garbage_for_a_plan_file_is_refused_in_time_and_touches_nothing() {
    let ground = Ground::applied();
    let good = fs::read_to_string(ground.at().join("plan.kdl")).expect("read");
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("random bytes", noise(3, 100_000)),
        ("NULs", vec![0; 100_000]),
        (
            "a NUL in the middle",
            good.replace("\"data\"", "\"da\0ta\"").into_bytes(),
        ),
        (
            "10 MB",
            good.repeat(10_000_000 / good.len() + 1).into_bytes(),
        ),
        ("nested braces", "a {".repeat(100_000).into_bytes()),
        (
            "nested and closed",
            format!("{}{}", "a {".repeat(5_000), "}".repeat(5_000)).into_bytes(),
        ),
        (
            "one endless string",
            [b"plan \"", &[b'x'; 1_000_000][..]].concat(),
        ),
        ("not UTF-8", [good.as_bytes(), b"\xff\xfe"].concat()),
        (
            "UTF-16",
            good.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        ),
        ("half a plan", good.as_bytes()[..good.len() / 2].to_vec()),
        ("nothing", Vec::new()),
        ("a saved plan that is none", b"{\"kind\":\"plan\"".to_vec()),
        ("JSON of something else", b"{\"kind\":\"report\"}".to_vec()),
        ("deep JSON", "[".repeat(200_000).into_bytes()),
        ("deep JSON objects", "{\"a\":".repeat(200_000).into_bytes()),
    ];
    for (what, bytes) in cases {
        fs::write(ground.at().join("bad.kdl"), bytes).expect("written");
        for command in ["apply", "plan", "validate"] {
            let (code, said) = ground.run(&[], &[command, "bad.kdl"]);
            assert_eq!(code, Some(1), "{command} of {what}: {said}");
            assert!(!said.trim().is_empty(), "{command} of {what} says nothing");
            assert!(
                said.len() < 100_000,
                "{command} of {what} floods: {} bytes",
                said.len()
            );
            assert!(!said.contains("panicked"), "{command} of {what}: {said}");
        }
    }
    let said = ground.expect(1, &["apply", "nowhere.kdl"]);
    assert!(said.contains("read `nowhere.kdl`"), "{said}");
    let said = ground.expect(1, &["apply", "data"]);
    assert!(said.contains("read `data`"), "{said}");
    ground.nothing_is_lost("garbage");
    ground.expect(0, APPLY);
}

#[test]
fn a_wrong_key_changes_nothing_on_apply_either() {
    let ground = Ground::applied();
    for key in ["wrong", "", &"ff".repeat(32)] {
        let mut command = crate::cli::under(&[], ground.at(), APPLY);
        let (code, said) = crate::cli::outcome(command.env("KEY", key));
        assert_eq!(code, Some(12), "key {key:?}: {said}");
    }
    assert_eq!(ground.backups().len(), 1);
    ground.a_rerun_completes("the right key");
}
