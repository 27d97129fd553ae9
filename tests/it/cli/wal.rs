//! `ccb wal push` and `ccb wal fetch` as a server runs them: what is durable, what is refused, and that a hole
//! is never taken for the end.

use crate::support::archiving::{ccb, expect, folder, plan, said};
use crate::support::postgres::give_to_server_user;
use ccb::model::wal::{SegmentBytes, SegmentName};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const SYSTEM: u64 = 7_712_584_460_880_615_971;
const MIB: usize = 1 << 20;

/// A data directory as far as a push and a fetch look at it, and a plan whose repositories are there.
struct Given(TempDir);

impl Given {
    fn new() -> Self {
        let folder = folder();
        let at = folder.path();
        fs::write(at.join("plan.kdl"), plan(at, "/nowhere", "")).unwrap();
        data_directory(&at.join("data"), SYSTEM);
        let given = Self(folder);
        given.make_repositories();
        given
    }

    fn at(&self) -> &Path {
        self.0.path()
    }

    /// A WAL backup of nothing: it makes the repositories.
    fn make_repositories(&self) {
        expect(
            self.at(),
            0,
            &["backup", "plan.kdl", "db", "--method", "wal"],
        );
    }

    /// A finished segment in `data/pg_wal`; its bytes depend on `seed`.
    fn segment(&self, number: u64, seed: u8) -> String {
        self.segment_of(SYSTEM, 1, number, seed)
    }

    fn segment_of(&self, system: u64, timeline: u32, number: u64, seed: u8) -> String {
        let bytes = SegmentBytes::new(MIB as u64).unwrap();
        let name = SegmentName::new(timeline, number, bytes)
            .unwrap()
            .to_string();
        let mut content = head(system, timeline, number * MIB as u64);
        let filler = (0..).map(|i: usize| (i / 97) as u8 ^ seed);
        content.extend(filler.take(MIB - content.len()));
        self.put(&name, &content);
        name
    }

    fn put(&self, name: &str, content: &[u8]) {
        let path = self.wal().join(name);
        fs::write(&path, content).unwrap();
        give_to_server_user(&path);
    }

    fn wal(&self) -> PathBuf {
        self.at().join("data/pg_wal")
    }

    fn push(&self, code: i32, name: &str) -> String {
        let path = format!("data/pg_wal/{name}");
        expect(self.at(), code, &["wal", "push", "plan.kdl", "db", &path])
    }

    fn fetch(&self, code: i32, name: &str) -> String {
        let to = "data/pg_wal/RECOVERYXLOG";
        let _ = fs::remove_file(self.at().join(to));
        let said = expect(
            self.at(),
            code,
            &["wal", "fetch", "plan.kdl", "db", name, to],
        );
        let there = self.at().join(to).exists();
        assert_eq!(there, code == 0, "{said}");
        said
    }

    /// Fetches a file and holds it against what was pushed.
    fn fetch_same(&self, name: &str) {
        self.fetch(0, name);
        let fetched = fs::read(self.wal().join("RECOVERYXLOG")).unwrap();
        assert!(
            fetched == fs::read(self.wal().join(name)).unwrap(),
            "{name}"
        );
    }

    fn object(&self, destination: &str, name: &str) -> PathBuf {
        let timeline = &name[..8];
        let key = format!("{destination}/wal/db/{SYSTEM}/{timeline}/{name}");
        self.at().join(key)
    }
}

fn data_directory(data: &Path, system: u64) {
    fs::create_dir_all(data.join("pg_wal")).unwrap();
    fs::create_dir_all(data.join("global")).unwrap();
    let mut control = system.to_le_bytes().to_vec();
    control.extend(1300_u32.to_le_bytes());
    control.resize(8192, 0);
    fs::write(data.join("global/pg_control"), control).unwrap();
    give_to_server_user(data);
}

/// The first page's header, as PostgreSQL 15 writes it.
fn head(system: u64, timeline: u32, starts_at: u64) -> Vec<u8> {
    let mut head = vec![0x10, 0xD1, 0x02, 0x00];
    head.extend(timeline.to_le_bytes());
    head.extend(starts_at.to_le_bytes());
    head.extend([0; 8]);
    head.extend(system.to_le_bytes());
    head.extend((MIB as u32).to_le_bytes());
    head.extend(8192_u32.to_le_bytes());
    head
}

#[test]
fn what_was_pushed_comes_back_and_may_be_pushed_again() {
    let given = Given::new();
    let first = given.segment(1, 7);
    assert_eq!(given.push(0, &first), "");
    // The server was stopped before it knew.
    given.push(0, &first);
    given.fetch_same(&first);
    let label = format!("{first}.00000028.backup");
    given.put(
        &label,
        b"START WAL LOCATION: 0/100028 (file 000000010000000000000001)\n",
    );
    given.put(
        "00000002.history",
        b"1\t0/1A00000\tno recovery target specified\n",
    );
    let partial = format!("{}.partial", given.segment(2, 9));
    fs::rename(given.wal().join(&partial[..24]), given.wal().join(&partial)).unwrap();
    for name in [label.as_str(), "00000002.history", partial.as_str()] {
        given.push(0, name);
        given.fetch_same(name);
    }
    assert!(given.object("primary", &first).exists());
    assert!(
        !given.object("second", &first).exists(),
        "one durable write is enough"
    );
}

#[test]
fn other_bytes_under_a_name_are_refused_and_replace_nothing() {
    let given = Given::new();
    let name = given.segment(1, 7);
    let before = fs::read(given.wal().join(&name)).unwrap();
    given.push(0, &name);
    given.segment(1, 8);
    let said = given.push(1, &name);
    assert!(said.contains("is there already with other bytes"), "{said}");
    given.put("00000002.history", b"1\t0/1A00000\tone\n");
    given.push(0, "00000002.history");
    given.put("00000002.history", b"1\t0/1B00000\tanother\n");
    given.push(1, "00000002.history");
    given.put(&name, &before);
    given.fetch_same(&name);
}

#[test]
fn what_is_no_segment_of_this_cluster_is_refused() {
    let given = Given::new();
    given.push(0, &given.segment(1, 7));
    let foreign = given.segment_of(SYSTEM + 1, 1, 2, 7);
    let said = given.push(1, &foreign);
    assert!(
        said.contains("another server archives under this component"),
        "{said}"
    );

    let third = given.segment(3, 7);
    let whole = fs::read(given.wal().join(&third)).unwrap();
    let cases: [(&str, &str, Vec<u8>); 5] = [
        (&third, "cut short", whole[..MIB - 1].to_vec()),
        (&third, "which no such file has", Vec::new()),
        (&third, "its magic number", [&[0; 8], &whole[8..]].concat()),
        (
            "000000010000000000000004",
            "another segment under this name",
            whole.clone(),
        ),
        (
            "000000010000000000000003.tmp",
            "no file that PostgreSQL archives",
            whole.clone(),
        ),
    ];
    for (name, words, content) in cases {
        given.put(name, &content);
        let said = given.push(1, name);
        assert!(said.contains(words), "{name}: {said}");
    }
    let said = given.push(1, "000000010000000000000009");
    assert!(said.contains("No such file"), "{said}");
}

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
fn only_the_true_end_is_an_end() {
    let given = Given::new();
    for number in [1, 2, 4] {
        given.push(0, &given.segment(number, 7));
    }
    let said = given.fetch(200, "000000010000000000000003");
    assert!(
        said.contains("000000010000000000000003 is missing"),
        "{said}"
    );
    given.fetch(1, "000000010000000000000005");
    given.fetch(1, "00000002.history");
    // Everything that goes wrong must stop recovery, not end it.
    given.fetch(200, "nonsense");
    let wrong: [&[&str]; 3] = [
        &[
            "wal",
            "fetch",
            "missing.kdl",
            "db",
            "000000010000000000000005",
            "data/pg_wal/x",
        ],
        &[
            "wal",
            "fetch",
            "plan.kdl",
            "other",
            "000000010000000000000005",
            "data/pg_wal/x",
        ],
        &["wal", "fetch", "plan.kdl", "db", "000000010000000000000005"],
    ];
    for arguments in wrong {
        expect(given.at(), 200, arguments);
    }
    expect(
        given.at(),
        200,
        &[
            "wal",
            "fetch",
            "plan.kdl",
            "db",
            "00000002.history",
            "elsewhere/x",
        ],
    );
    // Another cluster's WAL is never handed out, however it is asked for.
    data_directory(&given.at().join("other"), SYSTEM + 1);
    let foreign = [
        "wal",
        "fetch",
        "plan.kdl",
        "db",
        "000000010000000000000001",
        "other/pg_wal/x",
    ];
    expect(given.at(), 1, &foreign);
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
fn a_wal_backup_takes_over_what_was_pushed_and_names_what_is_missing() {
    let given = Given::new();
    for number in [1, 2] {
        given.push(0, &given.segment(number, 7));
    }
    let wal = ["backup", "plan.kdl", "db", "--method", "wal"];
    expect(given.at(), 0, &wal);
    for number in [3, 5] {
        given.push(0, &given.segment(number, 7));
    }
    given.put("00000002.history", b"1\t0/1A00000\tone\n");
    given.push(0, "00000002.history");
    let said = expect(given.at(), 3, &wal);
    assert!(said.contains("000000010000000000000004"), "{said}");
    assert!(said.contains("never archived"), "{said}");
    // From the backups alone, at either destination.
    for destination in ["primary", "second"] {
        fs::remove_dir_all(
            given
                .at()
                .join(destination)
                .join("wal/db")
                .join(SYSTEM.to_string()),
        )
        .ok();
    }
    for number in [1, 2, 3, 5] {
        given.fetch_same(
            &format!("{number:024X}").replace("00000000000000000000000", "00000001000000000000000"),
        );
    }
    given.fetch_same("00000002.history");
    given.fetch(200, "000000010000000000000004");
    // What comes late closes the gap.
    given.push(0, &given.segment(4, 7));
    expect(given.at(), 0, &wal);
    given.fetch_same("000000010000000000000004");
    fs::rename(given.at().join("primary"), given.at().join("away")).unwrap();
    given.fetch_same("000000010000000000000005");
}
