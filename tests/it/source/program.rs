//! Programs: what they print arrives whole, a bad end is an error, and no secret is in an argv.

use ccb::model::secret::Secret;
use ccb::source::program::{Program, ProgramError};
use std::io::{Read, Write};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

fn sh(script: &str) -> Program {
    Program::new("sh").args(["-c", script])
}

#[test]
fn a_stream_ends_well_only_when_the_program_did() {
    let (mut stream, _killer) = sh("echo one; echo two").stream().unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text, "one\ntwo\n");

    let (mut stream, _killer) = sh("echo half; echo 'server went away' >&2; exit 3")
        .stream()
        .unwrap();
    let error = stream.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "`sh` exited with 3: server went away");
}

#[test]
fn a_program_that_is_given_up_ends_and_its_reader_sees_an_error() {
    let (mut stream, killer) = sh("echo started; exec sleep 600").stream().unwrap();
    let mut first = [0; 8];
    stream.read_exact(&mut first).unwrap();
    drop(killer.guard());
    let error = stream.read_to_end(&mut Vec::new()).unwrap_err();
    assert!(
        error.to_string().contains("was killed by signal 15"),
        "{error}"
    );
}

#[test]
fn a_limit_ends_a_program_that_hangs() {
    let hangs = sh("exec sleep 600").output(100, Duration::from_millis(50));
    assert!(
        matches!(hangs, Err(ProgramError::TookTooLong { .. })),
        "{hangs:?}"
    );
    let floods = sh("yes").output(100, LIMIT);
    assert!(
        matches!(floods, Err(ProgramError::TooMuch { .. })),
        "{floods:?}"
    );
}

#[test]
fn what_is_fed_arrives_and_a_bad_end_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("got");
    let mut fed = sh("cat > \"$0\"").arg(&target).feed().unwrap();
    fed.write_all(b"all of it").unwrap();
    fed.finish().unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), b"all of it");

    let fed = sh("echo 'no space' >&2; exit 1").feed().unwrap();
    let error = fed.finish().unwrap_err();
    assert_eq!(error.to_string(), "`sh` exited with 1: no space");
}

#[test]
fn a_secret_reaches_the_program_and_no_command_line() {
    // Prints the password, and every command line between this process and the program.
    let script = "printf '%s|' \"$TOKEN\" \"$PLAIN\"; cat; tr '\\0' ' ' </proc/$$/cmdline; \
                  tr '\\0' ' ' </proc/$PPID/cmdline";
    let via: Vec<String> = ["env", "-i", "PATH=/usr/bin:/bin"]
        .map(str::to_owned)
        .to_vec();
    for via in [vec![], via] {
        let printed = sh(script)
            .via(&via)
            .env("PLAIN", "seen")
            .secret_env("TOKEN", Secret::new(b"hunter2 $x 'y'".to_vec()))
            .output_of(b"input|", 1 << 20, LIMIT)
            .unwrap();
        let text = String::from_utf8(printed.stdout).unwrap();
        let rest = text.strip_prefix("hunter2 $x 'y'|seen|input|");
        let rest = rest.unwrap_or_else(|| panic!("{text}"));
        assert!(!rest.contains("hunter2"), "{rest}");
    }
    let two_lines = sh("true").secret_env("TOKEN", Secret::new(b"a\nb".to_vec()));
    assert!(matches!(
        two_lines.output(10, LIMIT),
        Err(ProgramError::Secret(_))
    ));
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let error = Program::new("no-such-program")
        .output(10, LIMIT)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "start `no-such-program`: it is not installed here, or not on PATH"
    );
}

#[test]
fn one_that_falls_silent_is_ended_and_one_that_is_slow_is_not() {
    let limit = Duration::from_secs(3);
    let slow = sh("for i in 1 2 3 4 5; do sleep 0.8; echo $i; done");
    let (stream, _killer) = slow.stream().unwrap();
    let mut printed = String::new();
    stream
        .silent_at_most(limit)
        .read_to_string(&mut printed)
        .expect("it ends well");
    assert_eq!(printed, "1\n2\n3\n4\n5\n");
    let (stream, _killer) = sh("echo begin; exec sleep 600").stream().unwrap();
    let mut printed = String::new();
    let error = stream
        .silent_at_most(limit)
        .read_to_string(&mut printed)
        .expect_err("it is ended");
    assert_eq!(printed, "begin\n");
    let words = error.to_string();
    assert!(words.contains("nothing came from it for 3 s"), "{words}");
}
