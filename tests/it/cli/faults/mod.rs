//! Faults that real machines have, made to happen to the program: killed at any moment, disks that fail, are
//! full or can not be written, clocks that are wrong, files that can not be read. Each ends with its exit code
//! and a message; nothing that was there is lost, and a rerun completes.

mod clock;
mod disk;
mod input;
mod killed;
mod machine;
mod power;
mod source;

use crate::cli::{KEY, given, outcome, under};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Contents by path.
type Files = BTreeMap<PathBuf, Vec<u8>>;

/// A folder that was applied once, whose source has changed since.
struct Ground {
    folder: TempDir,
    old: Files,
    new: Files,
}

const BACKUP: &[&str] = &["backup", "plan.kdl", "data", "--tag", "changed"];
const APPLY: &[&str] = &["apply", "plan.kdl", "--auto-approve"];

impl Ground {
    /// Nothing was applied yet.
    fn fresh() -> Self {
        let folder = given();
        fs::write(folder.path().join("data/noise"), noise(1, 700_000)).expect("written");
        let old = files(&folder.path().join("data"));
        let new = old.clone();
        Self { folder, old, new }
    }

    fn applied() -> Self {
        let mut ground = Self::fresh();
        let (code, said) = ground.run(&[], APPLY);
        assert_eq!(code, Some(0), "{said}");
        let data = ground.at().join("data");
        fs::write(data.join("readme.txt"), "changed\n").expect("written");
        fs::write(data.join("more"), noise(2, 2_000_000)).expect("written");
        fs::remove_file(data.join("empty")).expect("removed");
        ground.new = files(&data);
        ground
    }

    /// The same, elsewhere.
    fn copy(&self) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let from = format!("{}/.", self.at().display());
        let status = Command::new("cp")
            .arg("-a")
            .arg(from)
            .arg(folder.path())
            .status();
        assert!(status.expect("cp starts").success());
        Self {
            folder,
            old: self.old.clone(),
            new: self.new.clone(),
        }
    }

    fn at(&self) -> &Path {
        self.folder.path()
    }

    /// Runs `ccb`, started by `starter`: its exit code, none when it was killed, and what it said.
    fn run(&self, starter: &[&str], arguments: &[&str]) -> (Option<i32>, String) {
        outcome(&mut under(starter, self.at(), arguments))
    }

    /// Runs `ccb`, which must end with `code`.
    fn expect(&self, code: i32, arguments: &[&str]) -> String {
        let (ended, said) = self.run(&[], arguments);
        assert_eq!(ended, Some(code), "ccb {arguments:?}\n{said}");
        said
    }

    /// Runs a script that calls `ccb` as `$ccb`, started by `starter`.
    fn script(&self, starter: &[&str], script: &str) -> (Option<i32>, String) {
        let words: Vec<&str> = starter
            .iter()
            .copied()
            .chain(["sh", "-c", script])
            .collect();
        let mut command = under(&words, self.at(), &[]);
        outcome(
            command
                .env("KEY", KEY)
                .env("ccb", env!("CARGO_BIN_EXE_ccb")),
        )
    }

    /// What a restore from `destination` gives back.
    fn restored(&self, backup: &str, destination: &str) -> Files {
        let target = self.at().join("back");
        let _ = fs::remove_dir_all(&target);
        let to = target.to_str().expect("text");
        let arguments = ["restore", "plan.kdl", "data", "--backup", backup];
        let whole = [&arguments[..], &["--from", destination, "--to", to]].concat();
        self.expect(0, &whole);
        files(&target)
    }

    /// Ids of the backups, newest first.
    fn backups(&self) -> Vec<String> {
        let mut list = under(&[], self.at(), &["list", "plan.kdl", "--json"]);
        let output = list.output().expect("it starts");
        let rows: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
        let rows = rows["backups"].as_array().expect("a list").iter();
        rows.map(|row| row["id"].as_str().expect("an id").to_owned())
            .collect()
    }

    /// Every backup that is listed restores byte for byte as one of the two trees, the first one among them.
    fn nothing_is_lost(&self, when: &str) {
        let backups = self.backups();
        let trees: Vec<Files> = backups
            .iter()
            .map(|id| self.restored(id, "primary"))
            .collect();
        for tree in &trees {
            assert!(
                *tree == self.old || *tree == self.new,
                "{when}: a backup is neither tree"
            );
        }
        assert!(
            trees.contains(&self.old),
            "{when}: the first backup is lost"
        );
    }

    /// Another run makes the backup and its copy, and all of the repositories is whole.
    fn a_rerun_completes(&self, when: &str) {
        let (code, said) = self.run(&[], BACKUP);
        assert_eq!(code, Some(0), "{when}: {said}");
        let (code, said) = self.run(&[], APPLY);
        assert_eq!(code, Some(0), "{when}: {said}");
        for destination in ["primary", "second"] {
            assert!(
                self.restored("latest", destination) == self.new,
                "{when}: at {destination}"
            );
        }
        let (code, said) = self.run(&[], &["check", "plan.kdl", "--level", "3"]);
        assert_eq!(code, Some(0), "{when}: {said}");
    }
}

/// A mount namespace of one's own: what is mounted there ends with it.
fn own_mounts() -> &'static [&'static str] {
    match rustix::process::getuid().is_root() {
        true => &["unshare", "-m"],
        false => &["unshare", "-rm"],
    }
}

fn files(root: &Path) -> Files {
    let mut all = Files::new();
    for entry in walkdir::WalkDir::new(root) {
        let entry = entry.expect("it can be read");
        if entry.file_type().is_file() {
            let path = entry
                .path()
                .strip_prefix(root)
                .expect("below")
                .to_path_buf();
            all.insert(path, fs::read(entry.path()).expect("it can be read"));
        }
    }
    all
}

/// Bytes that do not compress.
fn noise(seed: u8, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new()
        .update(&[seed])
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}
