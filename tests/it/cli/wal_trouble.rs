//! `ccb wal push` and `ccb wal fetch` when things go wrong around them: killed, the disk full, a destination
//! away or damaged, many at once, keys rotated meanwhile.

use crate::support::archiving::{ccb, expect, said};
use crate::support::pushing::{Given, SYSTEM};
use std::fs;
use std::os::unix::process::ExitStatusExt;

#[test]
fn sixty_pushes_at_once_lose_nothing() {
    let given = Given::new();
    let names: Vec<String> = (1..=60)
        .map(|number| given.segment(number, number as u8))
        .collect();
    let mut running: Vec<_> = names
        .iter()
        .map(|name| {
            let path = format!("data/pg_wal/{name}");
            let mut push = ccb(given.at(), &["wal", "push", "plan.kdl", "db", &path]);
            push.spawn().expect("ccb can be started")
        })
        .collect();
    for (name, push) in names.iter().zip(&mut running) {
        assert!(push.wait().expect("it ends").success(), "{name}");
    }
    for name in &names {
        given.fetch_same(name);
    }
}

#[test]
fn a_push_that_is_killed_anywhere_leaves_nothing_half_and_goes_through_again() {
    let given = Given::new();
    let mut number = 1;
    let mut done = 0;
    for call in ["openat", "write", "fsync", "renameat2"] {
        for when in 1..40 {
            let name = given.segment(number, 7);
            let path = format!("data/pg_wal/{name}");
            let mut push = std::process::Command::new("strace");
            let inject = format!("inject={call}:signal=KILL:when={when}");
            push.args([
                "-f",
                "-qq",
                "-o",
                "/dev/null",
                "-e",
                &format!("trace={call}"),
                "-e",
            ]);
            push.arg(inject).arg(given.at().join("ccb"));
            push.args(["wal", "push", "plan.kdl", "db", &path]);
            push.current_dir(given.at());
            crate::support::postgres::as_server_user(&mut push);
            let ended = push.output().expect("strace can be started");
            if ended.status.success() {
                done += 1;
                given.fetch_same(&name);
                number += 1;
                break;
            }
            assert_eq!(
                ended.status.signal(),
                Some(9),
                "{call} {when}: {}",
                said(&ended)
            );
            given.push(0, &name);
            given.fetch_same(&name);
            number += 1;
            // Thousands of opens come before anything is written.
            if call == "openat" && when >= 12 {
                done += 1;
                break;
            }
        }
    }
    assert_eq!(done, 4, "each call was let through in the end");
    expect(given.at(), 0, &["check", "plan.kdl", "--level", "3"]);
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing() {
    let given = Given::new();
    let name = given.segment(1, 7);
    let script = format!(
        "mount -t tmpfs -o size=600k none {at}/primary && cp -a {at}/full/. {at}/primary && mkdir -p {at}/primary/wal && dd if=/dev/zero of={at}/primary/fill bs=4k 2>/dev/null; exec {at}/ccb wal push {at}/plan.kdl db {at}/data/pg_wal/{name}",
        at = given.at().display()
    );
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .arg(given.at().join("primary"))
        .arg(given.at().join("full"))
        .status();
    assert!(copied.unwrap().success());
    // Only the second destination is left out, so that nothing can take it instead.
    let text = fs::read_to_string(given.at().join("plan.kdl")).unwrap();
    fs::write(
        given.at().join("plan.kdl"),
        text.replace("store \"primary\" \"second\"", "store \"primary\""),
    )
    .unwrap();
    let mut push = std::process::Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        push.arg("--map-root-user");
    }
    push.args(["--mount", "sh", "-c", &script]);
    let ended = push.output().expect("unshare can be started");
    let words = said(&ended);
    assert_eq!(ended.status.code(), Some(1), "{words}");
    assert!(words.contains("no space is left"), "{words}");
}

#[test]
fn a_destination_that_is_away_gets_the_segment_when_it_is_back() {
    let given = Given::new();
    let (first, second) = (given.segment(1, 7), given.segment(2, 7));
    given.push(0, &first);
    fs::rename(given.at().join("primary"), given.at().join("away")).unwrap();
    let said = given.push(10, &second);
    assert!(
        said.contains(&format!("{second} is not archived")),
        "{said}"
    );
    assert!(said.contains("destination.primary"), "{said}");
    assert!(!given.object("second", &second).exists());
    // While one is away nobody knows whether it has what is asked for.
    let said = given.fetch(200, &second);
    assert!(said.contains("not all could be looked at"), "{said}");
    fs::rename(given.at().join("away"), given.at().join("primary")).unwrap();
    given.fetch(1, &second);
    given.push(0, &second);
    given.fetch_same(&second);
    fs::rename(given.at().join("second"), given.at().join("away")).unwrap();
    given.push(0, &given.segment(3, 7));
}

#[test]
fn what_is_damaged_is_not_handed_out_and_another_copy_is() {
    let given = Given::new();
    let name = given.segment(1, 7);
    given.push(0, &name);
    let object = given.object("primary", &name);
    let mut bytes = fs::read(&object).unwrap();
    let whole = bytes.clone();
    bytes[100] ^= 1;
    fs::write(&object, &bytes).unwrap();
    let said = given.fetch(200, &name);
    assert!(said.contains("fails authentication"), "{said}");
    let said = expect(given.at(), 6, &["check", "plan.kdl", "--level", "3"]);
    assert!(said.contains("WAL file"), "{said}");
    fs::write(&object, whole).unwrap();
    expect(
        given.at(),
        0,
        &["backup", "plan.kdl", "db", "--method", "wal"],
    );
    fs::write(&object, &bytes).unwrap();
    given.fetch_same(&name);
}

#[test]
fn wal_outlives_a_rotation_of_keys_and_a_prune() {
    let given = Given::new();
    let (first, second) = (given.segment(1, 7), given.segment(2, 7));
    given.push(0, &first);
    expect(given.at(), 0, &["key", "rotate", "plan.kdl"]);
    given.push(0, &second);
    // What was sealed under the key of before is still what it was: told from other bytes, and given out.
    given.push(0, &first);
    given.segment(1, 8);
    given.push(1, &first);
    given.segment(1, 7);
    expect(given.at(), 0, &["prune", "plan.kdl"]);
    given.fetch_same(&first);
    expect(
        given.at(),
        0,
        &["backup", "plan.kdl", "db", "--method", "wal"],
    );
    expect(given.at(), 0, &["key", "rotate", "plan.kdl"]);
    expect(given.at(), 0, &["prune", "plan.kdl"]);
    expect(given.at(), 0, &["check", "plan.kdl", "--level", "3"]);
    for destination in ["primary", "second"] {
        let waiting = given
            .at()
            .join(destination)
            .join("wal/db")
            .join(SYSTEM.to_string());
        if destination == "second" {
            assert!(!waiting.exists());
            fs::rename(given.at().join("primary"), given.at().join("away")).unwrap();
        }
        let from = ["--from", destination];
        for name in [&first, &second] {
            let to = "data/pg_wal/RECOVERYXLOG";
            let fetch = ["wal", "fetch", "plan.kdl", "db", name, to];
            expect(given.at(), 0, &[&fetch[..], &from].concat());
            let same =
                fs::read(given.at().join(to)).unwrap() == fs::read(given.wal().join(name)).unwrap();
            assert!(same, "{name} from {destination}");
        }
    }
}

#[test]
fn what_can_not_be_made_durable_is_not_archived() {
    let given = Given::new();
    let name = given.segment(1, 7);
    let path = format!("data/pg_wal/{name}");
    for when in ["1", "2"] {
        let mut push = std::process::Command::new("strace");
        let inject = format!("inject=fsync:error=EIO:when={when}");
        push.args([
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "trace=fsync",
            "-e",
            &inject,
        ]);
        push.arg(given.at().join("ccb"));
        push.args(["wal", "push", "plan.kdl", "db", &path]);
        push.current_dir(given.at());
        crate::support::postgres::as_server_user(&mut push);
        let ended = push.output().expect("strace can be started");
        let words = said(&ended);
        assert_eq!(ended.status.code(), Some(1), "fsync {when}: {words}");
        assert!(words.contains("is not archived"), "{words}");
    }
    given.push(0, &name);
    given.fetch_same(&name);
}
