//! The programs that are compared, and how each is asked for the same thing: encryption on, zstd at level 1
//! where it can be chosen, all data read and verified by a full check. Everything they keep lies in
//! the benchmark's directory.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tool {
    /// This project.
    Ccb,
    /// restic.
    Restic,
    /// rustic.
    Rustic,
    /// BorgBackup.
    Borg,
    /// bupstash.
    Bupstash,
    /// `tar | zstd | openssl`: no backup program, but what is often used as one.
    Pipe,
}

/// What is asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// The first backup.
    Initial,
    /// Another one, nothing changed.
    Unchanged,
    /// Another one, 1 % changed.
    Changed,
    /// Another one, 5 % more.
    Added,
    /// Another one, a directory renamed.
    Renamed,
    /// The newest one into an empty directory.
    Restore,
    /// Every byte of the repository.
    Check,
    /// All but the newest one are forgotten, and what they alone needed is removed.
    Prune,
}

impl Operation {
    /// In the order of a round.
    pub const ALL: [Self; 8] = [
        Self::Initial,
        Self::Unchanged,
        Self::Changed,
        Self::Added,
        Self::Renamed,
        Self::Restore,
        Self::Check,
        Self::Prune,
    ];

    /// What rows call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::Unchanged => "unchanged",
            Self::Changed => "1 % changed",
            Self::Added => "5 % new",
            Self::Renamed => "directory renamed",
            Self::Restore => "restore",
            Self::Check => "full check",
            Self::Prune => "prune to the last",
        }
    }
}

impl Tool {
    /// ccb first.
    pub const ALL: [Self; 6] = [
        Self::Ccb,
        Self::Restic,
        Self::Rustic,
        Self::Borg,
        Self::Bupstash,
        Self::Pipe,
    ];

    /// What the table calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ccb => "ccb",
            Self::Restic => "restic",
            Self::Rustic => "rustic",
            Self::Borg => "borg",
            Self::Bupstash => "bupstash",
            Self::Pipe => "tar+zstd+openssl",
        }
    }

    /// What it says of its version; `None`: it is not here.
    pub fn version(self, ccb: &Path) -> Option<String> {
        let (program, argument) = match self {
            Self::Ccb => (ccb.to_path_buf(), "--version"),
            Self::Restic => (PathBuf::from("restic"), "version"),
            Self::Rustic => (PathBuf::from("rustic"), "--version"),
            Self::Borg => (PathBuf::from("borg"), "--version"),
            Self::Bupstash => (PathBuf::from("bupstash"), "version"),
            Self::Pipe => (PathBuf::from("openssl"), "version"),
        };
        let output = Command::new(program).arg(argument).output().ok()?;
        let words = String::from_utf8_lossy(&output.stdout).into_owned();
        output
            .status
            .success()
            .then(|| words.lines().next().unwrap_or_default().to_owned())
    }

    /// Makes an empty repository. Not measured.
    pub fn init(self) -> &'static str {
        match self {
            // Its first backup makes it, and is measured with that.
            Self::Ccb => "true",
            Self::Restic => "restic init",
            Self::Rustic => "rustic init --set-compression 1",
            Self::Borg => "borg init -e repokey-blake2",
            Self::Bupstash => "bupstash init && bupstash new-key -o \"$BUPSTASH_KEY\"",
            Self::Pipe => "mkdir -p \"$REPO\"",
        }
    }

    /// What is measured; `None` where it can not do it. What is restored is on the disk at the end, as ccb sees to by
    /// itself. Where several are given, what lies between them is [`Tool::between`].
    pub fn scripts(self, operation: Operation) -> Option<Vec<&'static str>> {
        let script = match (self, operation) {
            (Self::Ccb, Operation::Restore) => "exec \"$CCB\" restore \"$PLAN\" data --to \"$TO\"",
            (Self::Ccb, Operation::Check) => "exec \"$CCB\" check \"$PLAN\" --level 3",
            (Self::Ccb, Operation::Prune) => {
                let apply = "exec \"$CCB\" apply \"$PLAN.prune\" --auto-approve --allow-forget 100";
                // What was forgotten is condemned with that, and removed a day after.
                let prune = "exec \"$CCB\" prune \"$PLAN.prune\"";
                return Some(vec![apply, prune]);
            }
            (Self::Ccb, _) => "exec \"$CCB\" backup \"$PLAN\" data --method incremental",
            (Self::Restic, Operation::Restore) => {
                "restic restore latest --target \"$TO\" && sync -f \"$TO\""
            }
            (Self::Restic, Operation::Check) => "exec restic check --read-data",
            (Self::Restic, Operation::Prune) => {
                "exec restic forget --keep-last 1 --prune --group-by ''"
            }
            (Self::Restic, _) => "cd \"$SRC\" && exec restic backup .",
            (Self::Rustic, Operation::Restore) => {
                "rustic restore latest \"$TO\" && sync -f \"$TO\""
            }
            (Self::Rustic, Operation::Check) => "exec rustic check --read-data",
            (Self::Rustic, Operation::Prune) => {
                "rustic forget --keep-last 1 && exec rustic prune --instant-delete --keep-delete 0s --keep-pack 0s"
            }
            (Self::Rustic, _) => "cd \"$SRC\" && exec rustic backup .",
            (Self::Borg, Operation::Restore) => {
                "mkdir -p \"$TO\" && cd \"$TO\" && borg extract \"::$(borg list --last 1 --format '{archive}')\" && sync -f \"$TO\""
            }
            (Self::Borg, Operation::Check) => "exec borg check --verify-data",
            (Self::Borg, Operation::Prune) => "borg prune --keep-last 1 && exec borg compact",
            (Self::Borg, _) => {
                "cd \"$SRC\" && exec borg create -C auto,zstd,1 --files-cache ctime,size,inode \"::{now:%s.%f}\" ."
            }
            (Self::Bupstash, Operation::Restore) => {
                "mkdir -p \"$TO\"; bupstash restore --into \"$TO\" \"id=$(bupstash list --format=jsonl1 | tail -n 1 | sed 's/.*\"id\":\"\\([0-9a-f]*\\)\".*/\\1/')\" && sync -f \"$TO\""
            }
            // It has no check of every byte but a restore.
            (Self::Bupstash, Operation::Check) => return None,
            (Self::Bupstash, Operation::Prune) => {
                "for id in $(bupstash list --format=jsonl1 | head -n -1 | sed 's/.*\"id\":\"\\([0-9a-f]*\\)\".*/\\1/'); do bupstash rm \"id=$id\" || exit; done; exec bupstash gc"
            }
            (Self::Bupstash, _) => "exec bupstash put -q name=data \"$SRC\"",
            // It knows only whole backups: the last one is what a restore is compared with.
            (Self::Pipe, Operation::Initial | Operation::Renamed) => {
                "set -o pipefail; tar -C \"$SRC\" -c . | zstd -q -1 -T0 | openssl enc -aes-256-ctr -pbkdf2 -pass env:PASSWORD -out \"$REPO/a\" && sync \"$REPO/a\""
            }
            (Self::Pipe, Operation::Restore) => {
                "set -o pipefail; mkdir -p \"$TO\"; openssl enc -d -aes-256-ctr -pbkdf2 -pass env:PASSWORD -in \"$REPO/a\" | zstd -q -d | tar -C \"$TO\" -x && sync -f \"$TO\""
            }
            (Self::Pipe, _) => return None,
        };
        Some(vec![script])
    }

    /// What is done between two measured parts of one operation: a day passes, by the clock of the store.
    pub fn between(self) -> &'static str {
        "find \"$REPO\" -exec touch -h -d '-2 days' {} +"
    }

    /// What every command of it gets. `place` is for the repository, the cache and the keys.
    pub fn environment(
        self,
        place: &Path,
        source: &Path,
        ccb: &Path,
    ) -> io::Result<Vec<(String, String)>> {
        let at = |name: &str| place.join(name).display().to_string();
        let mut environment = vec![
            ("SRC", source.display().to_string()),
            ("REPO", at("repository")),
            ("TO", at("restored")),
            ("CCB", ccb.display().to_string()),
            ("PLAN", at("plan.kdl")),
            ("CCB_CACHE_DIR", at("cache")),
            ("CCB_STATE_DIR", at("state")),
            ("PASSWORD", PASSWORD.to_owned()),
            ("RESTIC_PASSWORD", PASSWORD.to_owned()),
            ("RESTIC_REPOSITORY", at("repository")),
            ("RESTIC_CACHE_DIR", at("cache")),
            ("RESTIC_PROGRESS_FPS", "0.1".to_owned()),
            ("RUSTIC_PASSWORD", PASSWORD.to_owned()),
            ("RUSTIC_REPOSITORY", at("repository")),
            ("RUSTIC_CACHE_DIR", at("cache")),
            ("RUSTIC_NO_PROGRESS", "true".to_owned()),
            ("BORG_PASSPHRASE", PASSWORD.to_owned()),
            ("BORG_REPO", at("repository")),
            ("BORG_BASE_DIR", at("cache")),
            ("BUPSTASH_REPOSITORY", at("repository")),
            ("BUPSTASH_KEY", at("bupstash.key")),
            ("BUPSTASH_SEND_LOG", at("bupstash.sendlog")),
            ("BUPSTASH_QUERY_CACHE", at("bupstash.cache")),
            ("HOME", at("home")),
        ];
        if self == Self::Ccb {
            environment.retain(|(name, _)| *name != "HOME");
        }
        fs::create_dir_all(place.join("home"))?;
        Ok(environment
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect())
    }

    /// Files that it needs besides.
    pub fn lay_out(self, place: &Path, source: &Path) -> io::Result<()> {
        if self != Self::Ccb {
            return Ok(());
        }
        write_key(&place.join("key"))?;
        fs::write(place.join("plan.kdl"), plan(place, source, ""))?;
        fs::write(
            place.join("plan.kdl.prune"),
            plan(place, source, "retain { last 1 }"),
        )
    }

    /// Where a restore puts the source.
    pub fn restored(self, place: &Path) -> PathBuf {
        place.join("restored")
    }
}

/// Of every repository.
pub const PASSWORD: &str = "correct horse battery staple";

/// A key file, 32 bytes in hexadecimal.
pub fn write_key(path: &Path) -> io::Result<()> {
    fs::write(path, format!("{}\n", "5a".repeat(32)))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
}

fn plan(place: &Path, source: &Path, rules: &str) -> String {
    format!(
        r#"plan "bench" environment="development" timezone="UTC"
apply {{ trash "0s" }}
encryption "default" {{ key file="{key}" }}
destination "primary" {{
    local "{repository}"
    encrypt "default"
}}
component "data" sensitive=#false {{
    source "files" {{ path "{source}" }}
    store "primary"
    schedule "manual" when="on-demand" method="incremental"
    {rules}
}}
policy preset="development"
"#,
        key = place.join("key").display(),
        repository = place.join("repository").display(),
        source = source.display(),
    )
}
