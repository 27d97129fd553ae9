//! A PostgreSQL server that archives with `ccb wal push`, and its plan file: what tests of physical backups
//! start from. All of it lies in one folder, and `ccb` runs as the server's user, as it does for real.

use crate::support::awaited;
use crate::support::postgres::{Cluster, Options, as_server_user, give_to_server_user};
use crate::support::restored::wait_for;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// A key that takes no time to derive.
const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// A server, its plan file and its destinations.
pub(crate) struct Archiving {
    // Stopped before its folder goes.
    pub(crate) cluster: Cluster,
    pub(crate) folder: TempDir,
}

/// A folder that the server's user can use, with the program in it.
pub(crate) fn folder() -> TempDir {
    let made = tempfile::Builder::new()
        .prefix("ccb-wal-")
        .tempdir_in("/tmp");
    let folder = made.expect("a temporary folder");
    put_program(folder.path());
    fs::write(folder.path().join("key"), KEY).expect("written");
    // Not the program itself, which other tests use too.
    for path in [folder.path().to_path_buf(), folder.path().join("key")] {
        give_to_server_user(&path);
    }
    folder
}

/// Puts the program into a folder: where tests are built may be out of reach of the server's user.
pub(crate) fn put_program(folder: &Path) -> PathBuf {
    let program = folder.join("ccb");
    if fs::hard_link(env!("CARGO_BIN_EXE_ccb"), &program).is_err() {
        fs::copy(env!("CARGO_BIN_EXE_ccb"), &program).expect("copied");
    }
    program
}

/// The archive_command of that folder's plan.
pub(crate) fn archive_command(folder: &Path) -> String {
    let folder = folder.display();
    format!("archive_command = '{folder}/ccb wal push {folder}/plan.kdl db %p'")
}

/// A plan for the server at `host`; `more` goes into its component.
pub(crate) fn plan(folder: &Path, host: &str, more: &str) -> String {
    let at = folder.display();
    format!(
        r#"plan "test" environment="development" format=1
encryption "default" {{
    key file="{at}/key"
}}
destination "primary" {{
    local "{at}/primary"
    encrypt "default"
}}
destination "second" {{
    local "{at}/second"
    encrypt "default"
}}
component "db" {{
    source "postgres" {{
        host "{host}"
        user "postgres"
        database "postgres"
        sslmode "disable"
    }}
    store "primary" "second"
    schedule "base" when="on-demand" method="base"
    schedule "wal" when="continuous" method="wal"
    retain {{
        pitr "7d"
    }}
    {more}
}}
"#
    )
}

impl Archiving {
    /// A running server that archives; nothing was backed up yet.
    pub(crate) fn start() -> Self {
        Self::with(&[], "verify {\n        contents\n    }")
    }

    /// With further settings, and more in the plan file's component.
    pub(crate) fn with(settings: &[&str], more: &str) -> Self {
        let folder = folder();
        let command = archive_command(folder.path());
        let mut all = vec!["archive_mode = on", &command];
        all.extend(settings);
        let cluster = Cluster::with(&Options {
            initdb: &["--data-checksums"],
            settings: &all,
            listen: None,
        });
        let text = plan(folder.path(), cluster.host(), more);
        fs::write(folder.path().join("plan.kdl"), text).expect("written");
        Self { cluster, folder }
    }

    pub(crate) fn at(&self) -> &Path {
        self.folder.path()
    }

    /// `ccb` with the plan file after its first arguments, which must end with `code`.
    pub(crate) fn expect(&self, code: i32, arguments: &[&str]) -> String {
        expect(self.at(), code, arguments)
    }

    /// Takes a base backup, which returns when its WAL is archived.
    pub(crate) fn base(&self) {
        self.expect(0, &["backup", "plan.kdl", "db", "--method", "base"]);
    }

    /// Takes the WAL that was handed over into a backup.
    pub(crate) fn take_wal_over(&self) -> String {
        self.expect(0, &["backup", "plan.kdl", "db", "--method", "wal"])
    }

    /// Ends the current segment, and waits until it is archived; its name.
    pub(crate) fn switch(&self) -> String {
        let name = self.end_segment();
        self.wait_archived(&name);
        name
    }

    /// Ends the current segment; its name. Of a segment in which nothing stands yet, the server makes nothing.
    pub(crate) fn end_segment(&self) -> String {
        let write = "SELECT pg_logical_emit_message(false, 'test', 'something')";
        self.cluster.sql("postgres", write);
        let ended = "SELECT pg_walfile_name(pg_switch_wal())";
        self.cluster.sql("postgres", ended)
    }

    pub(crate) fn wait_archived(&self, name: &str) {
        let archived = "SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver";
        wait_for(|| self.cluster.sql("postgres", archived).as_str() >= name);
    }

    /// Files that were handed over to a destination and lie there.
    pub(crate) fn waiting(&self, destination: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let root = self.at().join(destination).join("wal");
        for entry in walkdir::WalkDir::new(root).into_iter().flatten() {
            if entry.file_type().is_file() && !entry.path().to_string_lossy().contains("clusters") {
                found.push(entry.into_path());
            }
        }
        found.sort();
        found
    }
}

/// `ccb` in that folder as the server's user, with nothing of this machine's settings.
pub(crate) fn ccb(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(folder.join("ccb"));
    command
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("CCB_CACHE_DIR", folder.join("cache"))
        .stdin(Stdio::null());
    as_server_user(&mut command);
    command
}

/// Runs it; it must end with `code`.
pub(crate) fn expect(folder: &Path, code: i32, arguments: &[&str]) -> String {
    let output = awaited::output(&mut ccb(folder, arguments));
    let text = said(&output);
    let ended = output.status.code();
    assert_eq!(ended, Some(code), "ccb {arguments:?}\n{text}");
    text
}

/// What it printed on both streams.
pub(crate) fn said(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}
