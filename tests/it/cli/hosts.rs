//! Several hosts, one repository, for real: two back up at the same time while a third prunes, each a process of
//! its own that may be killed at any moment. Every backup that was reported as made comes back. Longer with
//! `CCB_ROUNDS=n`: `CCB_ROUNDS=200 cargo test --locked cli::hosts` is some minutes of it.

use crate::cli::{bucket, under};
use crate::support::s3::{ACCESS_KEY, BUCKET, SECRET_KEY, Server};
use std::collections::BTreeMap;
use std::fs::{self, FileTimes};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

/// In the normal run.
const ROUNDS: u64 = 5;
/// Old enough for every grace, and for every sign of life to be missed.
const AGE: Duration = Duration::from_secs(2 * 86_400);

/// Where the repository is.
enum Place {
    Local(PathBuf),
    Bucket(Server),
}

impl Place {
    fn said_in_plan(&self) -> String {
        match self {
            Self::Local(path) => format!("local \"{}\"", path.display()),
            Self::Bucket(server) => format!(
                "s3 \"s3://{BUCKET}/shared\" endpoint=\"{}\" path-style=#true\n    credentials env-prefix=\"OFFSITE_\"",
                server.endpoint()
            ),
        }
    }

    /// Everything below `prefix` was written long ago: so much time has passed for whoever asks for it.
    fn age(&self, prefix: &str) {
        match self {
            Self::Local(path) => age_below(&path.join(prefix)),
            Self::Bucket(server) => {
                let prefix = format!("shared/{prefix}");
                for key in server
                    .objects()
                    .keys()
                    .filter(|key| key.starts_with(&prefix))
                {
                    server.age(key, AGE);
                }
            }
        }
    }
}

pub(super) fn age_below(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            age_below(&path);
        } else if let Ok(file) = fs::File::options().append(true).open(&path) {
            let times = FileTimes::new().set_modified(SystemTime::now() - AGE);
            file.set_times(times).expect("set");
        }
    }
}

/// A machine: a folder with the plan file, what is to be protected, and a state and a cache of its own.
struct Host(tempfile::TempDir);

impl Host {
    fn new(place: &Place) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let plan = PLAN.replace("PLACE", &place.said_in_plan());
        fs::write(folder.path().join("plan.kdl"), plan).expect("written");
        fs::create_dir(folder.path().join("data")).expect("made");
        Self(folder)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = under(&[], self.0.path(), arguments);
        command
            .env("OFFSITE_ACCESS_KEY_ID", ACCESS_KEY)
            .env("OFFSITE_SECRET_ACCESS_KEY", SECRET_KEY);
        command
    }

    fn start(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Running(command.spawn().expect("ccb can be started"))
    }

    /// What is protected now: its name, and some that others have as well.
    fn changes(&self, dice: &mut Dice, name: &str) -> Tree {
        let mut tree = Tree::new();
        tree.insert("name".to_owned(), name.as_bytes().to_vec());
        tree.insert("own".to_owned(), name.repeat(4000).into_bytes());
        for at in 0..3 {
            let which = dice.below(4) as u8;
            tree.insert(
                format!("shared-{at}"),
                vec![which; 20_000 + usize::from(which)],
            );
        }
        for (path, bytes) in &tree {
            fs::write(self.0.path().join("data").join(path), bytes).expect("written");
        }
        tree
    }

    fn expect(&self, arguments: &[&str]) -> String {
        bucket::expect(self.0.path(), 0, arguments)
    }
}

type Tree = BTreeMap<String, Vec<u8>>;

/// A process that does not outlive the test.
struct Running(Child);

impl Running {
    fn kill(&mut self) {
        let _ = self.0.kill();
    }

    fn has_succeeded(mut self) -> bool {
        let ended = self.0.wait().expect("it can be awaited");
        ended.code() == Some(0)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Numbers from a seed, for when to kill whom. What else happens is up to the machine.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % end
    }
}

const BACK_UP: &[&str] = &[
    "backup",
    "plan.kdl",
    "data",
    "--lock=false",
    "--method",
    "full",
];
const PRUNE: &[&str] = &["prune", "plan.kdl"];

const PLAN: &str = r#"
plan "test" environment="development" format=1

encryption "default" {
    key env="KEY"
}

destination "primary" {
    PLACE
    encrypt "default"
}

component "data" {
    source "files" {
        path "data"
    }
    store "primary"
    schedule "hourly" every="1h" method="full"
    retain {
        last 1000
    }
}
"#;

fn rounds() -> u64 {
    let given = std::env::var("CCB_ROUNDS").ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(ROUNDS)
}

/// One round: three processes at once, some of which are killed. Adds what was reported as made.
fn round(number: u64, hosts: &[Host; 3], dice: &mut Dice, made: &mut BTreeMap<String, Tree>) {
    let mut writers = Vec::new();
    for (at, host) in hosts[..2].iter().enumerate() {
        let name = format!("round {number} of host {at}");
        let tree = host.changes(dice, &name);
        writers.push((name, tree, host.start(BACK_UP)));
    }
    let mut pruner = hosts[2].start(PRUNE);
    for (_, _, writer) in &mut writers {
        // In the first round somebody must make the repository's first backup.
        if number > 0 && dice.below(3) == 0 {
            std::thread::sleep(Duration::from_millis(dice.below(600)));
            writer.kill();
        }
    }
    if dice.below(3) == 0 {
        std::thread::sleep(Duration::from_millis(dice.below(300)));
        pruner.kill();
    }
    for (name, tree, writer) in writers {
        if writer.has_succeeded() {
            made.insert(name, tree);
        }
    }
    pruner.has_succeeded();
}

/// Every backup that is listed: its name, and what it gives.
fn restored(host: &Host) -> BTreeMap<String, Tree> {
    let listed = host.expect(&["list", "plan.kdl", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("it is JSON");
    let mut all = BTreeMap::new();
    for backup in listed["backups"].as_array().expect("a list") {
        let id = backup["id"].as_str().expect("an id");
        let to = format!("restored-{id}");
        host.expect(&["restore", "plan.kdl", "data", "--backup", id, "--to", &to]);
        let mut tree = Tree::new();
        for entry in fs::read_dir(host.0.path().join(&to)).expect("restored") {
            let entry = entry.expect("read");
            let name = entry.file_name().into_string().expect("it is text");
            tree.insert(name, fs::read(entry.path()).expect("read"));
        }
        fs::remove_dir_all(host.0.path().join(&to)).expect("removed");
        let name = String::from_utf8(tree["name"].clone()).expect("it is text");
        all.insert(name, tree);
    }
    all
}

fn everything_reported_comes_back(place: &Place) {
    let hosts = [(); 3].map(|()| Host::new(place));
    let mut dice = Dice(7);
    let mut made = BTreeMap::new();
    hosts[0].changes(&mut dice, "the first");
    hosts[0].expect(&["apply", "plan.kdl", "--auto-approve", "--quiet"]);
    for number in 0..rounds() {
        round(number, &hosts, &mut dice, &mut made);
        // What was condemned may go, and who was killed is dead, or whoever works is taken for dead.
        place.age("gc/");
        if dice.below(2) == 0 {
            place.age("leases/");
        }
    }
    assert!(made.len() as u64 >= rounds() / 2, "{:?}", made.keys());
    for _ in 0..2 {
        let there = restored(&hosts[2]);
        for (name, tree) in &made {
            assert_eq!(there.get(name), Some(tree), "{name}");
        }
        let checked = hosts[2].expect(&["check", "plan.kdl", "--level", "3"]);
        assert!(checked.contains("No damage found."), "{checked}");
        place.age("");
        hosts[2].expect(PRUNE);
        place.age("");
        hosts[2].expect(PRUNE);
    }
}

#[test]
fn hosts_that_are_killed_lose_nothing_in_a_shared_folder() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    everything_reported_comes_back(&Place::Local(folder.path().join("repository")));
}

#[test]
fn hosts_that_are_killed_lose_nothing_in_a_bucket() {
    everything_reported_comes_back(&Place::Bucket(Server::start()));
}
