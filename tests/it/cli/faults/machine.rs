//! A machine whose repositories, cache and state are on a disk that loses its power. It remembers what was reported as
//! made, whatever became of the run that said so, and finds what of that is lost.

use crate::cli::faults::{Files, files, noise};
use crate::cli::hosts::{Dice, age_below};
use crate::cli::{given, outcome, under};
use crate::support::disk::{Disk, FileSystem};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// `last 3` in the plan: of older ones, an apply may forget any.
const KEPT: usize = 3;

pub(super) const APPLY: &[&str] = &[
    "apply",
    "plan.kdl",
    "--auto-approve",
    "--allow-forget",
    "100",
    "--log-format",
    "json",
];
pub(super) const BACKUP: &[&str] = &["backup", "plan.kdl", "data", "--log-format", "json"];
pub(super) const FULL: &[&str] = &[
    "backup",
    "plan.kdl",
    "data",
    "--method",
    "full",
    "--log-format",
    "json",
];
const CHECK: &[&str] = &["check", "plan.kdl", "--level", "3"];
const REPOSITORIES: [&str; 2] = ["repository", "second"];

/// A backup that somebody was told of, or that was seen after a cut.
pub(super) struct Known {
    id: String,
    tree: Files,
    /// The destinations that it was reported at.
    at: BTreeSet<&'static str>,
}

/// Ext4 or XFS by seed, and what happens on it.
pub(super) struct Machine {
    pub(super) disk: Disk,
    folder: TempDir,
    pub(super) dice: Dice,
    /// Oldest first.
    pub(super) known: Vec<Known>,
    /// An apply ran since the last look: what is beyond the last few may be forgotten.
    may_be_fewer: bool,
    /// What is protected now.
    tree: Files,
}

impl Machine {
    /// One that has made its first backup.
    pub(super) fn new(seed: u64) -> Self {
        let is = [FileSystem::Ext4, FileSystem::Xfs][seed as usize % 2];
        let folder = given();
        let plan = folder.path().join("plan.kdl");
        let text = fs::read_to_string(&plan).expect("read");
        let text = text
            .replace("local \"", "local \"disk/")
            .replace("encryption ", "apply {\n    trash \"0s\"\n}\n\nencryption ");
        fs::write(plan, text).expect("written");
        let mut machine = Self {
            disk: Disk::new(folder.path(), is),
            tree: files(&folder.path().join("data")),
            folder,
            dice: Dice(seed),
            known: Vec::new(),
            may_be_fewer: false,
        };
        let (code, said) = machine.run(&[], APPLY);
        assert_eq!(code, Some(0), "{said}");
        machine
    }

    fn at(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self, starter: &[&str], arguments: &[&str]) -> Command {
        let mut command = under(starter, self.at(), arguments);
        command
            .env("CCB_CACHE_DIR", self.disk.at().join("cache"))
            .env("CCB_STATE_DIR", self.disk.at().join("state"));
        command
    }

    /// Runs `ccb`, and notes what it reports as done, however it ends.
    pub(super) fn run(&mut self, starter: &[&str], arguments: &[&str]) -> (Option<i32>, String) {
        self.may_be_fewer |= arguments == APPLY;
        let (code, said) = outcome(&mut self.command(starter, arguments));
        for line in said.lines() {
            let event = serde_json::from_str(line).unwrap_or(Value::Null);
            if event["type"] == "action_done" && event["outcome"]["outcome"] == "done" {
                self.note(&event);
            }
        }
        (code, said)
    }

    fn note(&mut self, event: &Value) {
        let Some(id) = event["outcome"]["backup"].as_str() else {
            return;
        };
        let at = match event["verb"].as_str() {
            Some("back up") => "primary",
            Some("copy") => "second",
            _ => return,
        };
        self.know(id).at.insert(at);
    }

    /// The backup `id`; one that is new is of what is protected now.
    fn know(&mut self, id: &str) -> &mut Known {
        let found = self.known.iter().position(|known| known.id == id);
        let index = found.unwrap_or_else(|| {
            self.known.push(Known {
                id: id.to_owned(),
                tree: self.tree.clone(),
                at: BTreeSet::new(),
            });
            self.known.len() - 1
        });
        &mut self.known[index]
    }

    /// Changes what is protected: some files anew, one longer, and at times one gone.
    pub(super) fn change(&mut self) {
        let data = self.at().join("data");
        for _ in 0..=self.dice.below(3) {
            let name = format!("file-{}", self.dice.below(6));
            let len = 1000 + self.dice.below(400_000) as usize;
            let bytes = noise(self.dice.below(256) as u8, len);
            fs::write(data.join(name), bytes).expect("written");
        }
        let log = File::options()
            .create(true)
            .append(true)
            .open(data.join("log"));
        let more = noise(self.dice.below(256) as u8, 30_000);
        log.and_then(|mut log| log.write_all(&more))
            .expect("written");
        if self.dice.below(3) == 0 {
            let _ = fs::remove_file(data.join(format!("file-{}", self.dice.below(6))));
        }
        self.tree = files(&data);
    }

    /// Much time has passed for what lies in these folders of the repositories.
    pub(super) fn age(&self, folders: &[&str]) {
        for repository in REPOSITORIES {
            for folder in folders {
                age_below(&self.disk.at().join(repository).join(folder));
            }
        }
    }

    /// What was reported, or seen before, and is not there as it was.
    pub(super) fn losses(&mut self) -> Vec<String> {
        let (code, listed) = outcome(&mut self.command(&[], &["list", "plan.kdl", "--json"]));
        let listed: Value = match serde_json::from_str(&listed) {
            Ok(listed) if code == Some(0) => listed,
            _ => return vec![format!("list: {code:?} {listed}")],
        };
        let rows = listed["backups"].as_array().expect("a list").iter();
        let ids = rows.map(|row| row["id"].as_str().expect("an id").to_owned());
        let ids: Vec<String> = ids.collect();
        for id in &ids {
            self.know(id);
        }
        if std::mem::take(&mut self.may_be_fewer) {
            let older = self.known.len().saturating_sub(KEPT);
            // One that is still listed may be gone at one of its destinations.
            self.known[..older].iter_mut().for_each(|it| it.at.clear());
            let mut at = 0..;
            self.known
                .retain(|it| at.next() >= Some(older) || ids.contains(&it.id));
        }
        let mut losses: Vec<String> = self
            .known
            .iter()
            .flat_map(|it| self.lost(it, &ids))
            .collect();
        let (code, said) = outcome(&mut self.command(&[], CHECK));
        if code != Some(0) || !said.contains("No damage found.") {
            losses.push(format!("check: {code:?} {said}"));
        }
        losses
    }

    /// What of one backup is lost.
    fn lost(&self, known: &Known, listed: &[String]) -> Option<String> {
        if !listed.contains(&known.id) {
            return Some(format!("{} of {:?} is not listed", known.id, known.at));
        }
        let from = known.at.iter().map(|at| vec!["--from", at]);
        let from = from.chain(known.at.is_empty().then(Vec::new));
        from.map(|from| self.restored(&known.id, &from))
            .find_map(|restored| match restored {
                Ok(tree) if tree == known.tree => None,
                Ok(_) => Some(format!("{} is another tree", known.id)),
                Err(said) => Some(format!("{}: {said}", known.id)),
            })
    }

    fn restored(&self, backup: &str, from: &[&str]) -> Result<Files, String> {
        let back = self.at().join("back");
        let _ = fs::remove_dir_all(&back);
        let restore = [
            "restore", "plan.kdl", "data", "--to", "back", "--backup", backup,
        ];
        let (code, said) = outcome(&mut self.command(&[], &[&restore[..], from].concat()));
        match code {
            Some(0) => Ok(files(&back)),
            code => Err(format!("{code:?} {said}")),
        }
    }

    /// The next runs make the backup and its copy. Returns what is lost.
    pub(super) fn completed(&mut self) -> Vec<String> {
        for arguments in [BACKUP, APPLY] {
            let (code, said) = self.run(&[], arguments);
            assert_eq!(code, Some(0), "ccb {arguments:?}\n{said}");
        }
        let mut losses = self.losses();
        for destination in ["primary", "second"] {
            if self.restored("latest", &["--from", destination]).as_ref() != Ok(&self.tree) {
                losses.push(format!("the newest at {destination}"));
            }
        }
        losses
    }

    /// What runs that were cut off left on the way is gone, once it is a day old.
    pub(super) fn leftovers(&mut self) -> Vec<PathBuf> {
        self.age(&[".tmp"]);
        let left = |machine: &Self| -> BTreeSet<PathBuf> {
            let folders = REPOSITORIES.map(|it| machine.disk.at().join(it).join(".tmp"));
            let entries = folders
                .iter()
                .flat_map(|it| fs::read_dir(it).expect("it is there"));
            entries.map(|entry| entry.expect("read").path()).collect()
        };
        let before = left(self);
        let (code, said) = self.run(&[], FULL);
        assert_eq!(code, Some(0), "{said}");
        before.intersection(&left(self)).cloned().collect()
    }
}
