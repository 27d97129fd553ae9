//! Exports: files beside the repository that everybody's programs read, made as the plan file says, counted, and
//! made by hand.

use crate::cli::bucket;
use crate::cli::postgres::{self, ccb_in};
use crate::cli::{given, outcome, under};
use crate::source::postgres::given::LAB;
use crate::support::postgres::Cluster;
use crate::support::s3::Server;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const PASSWORD: &str = "correct horse, battery staple";

const EXPORTS: &str = r#"
    export "tar" to="second" {
        layout "files/{component}_{id}.tar.gz"
        keep count=2
    }
    export "openssl" to="second" {
        layout "files/{component}_{id}.tar.gz.enc"
        kdf "pbkdf2-sha256" iterations=1000
        key env="PASSWORD"
    }
    verify {"#;

/// [`given`], with exports.
fn with(exports: &str) -> tempfile::TempDir {
    let folder = given();
    edit(folder.path(), "\n    verify {", exports);
    folder
}

fn edit(at: &Path, from: &str, to: &str) {
    let plan = at.join("plan.kdl");
    let text = fs::read_to_string(&plan).expect("read");
    assert!(text.contains(from), "{from}");
    fs::write(&plan, text.replacen(from, to, 1)).expect("written");
}

fn expect(at: &Path, code: i32, arguments: &[&str]) -> String {
    let mut command = under(&[], at, arguments);
    let (ended, said) = outcome(command.env("PASSWORD", PASSWORD));
    assert_eq!(ended, Some(code), "ccb {arguments:?}\n{said}");
    assert!(!said.contains(PASSWORD), "{said}");
    said
}

const APPLY: [&str; 3] = ["apply", "plan.kdl", "--auto-approve"];
const BACKUP: [&str; 3] = ["backup", "plan.kdl", "data"];

/// The files in a folder, sorted.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
    files.sort();
    files
}

fn named<'a>(files: &'a [PathBuf], end: &str) -> Vec<&'a PathBuf> {
    let is = |path: &&PathBuf| path.to_str().is_some_and(|path| path.ends_with(end));
    files.iter().filter(is).collect()
}

/// `sh -c`, which must succeed.
fn sh(at: &Path, script: &str) -> Output {
    let mut command = Command::new("sh");
    let command = command.args(["-ec", script]).current_dir(at);
    let output = command.env("PASSWORD", PASSWORD).output().expect("sh");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}\n{said}");
    output
}

fn is_unpacked(at: &Path) {
    let same = |path: &str| fs::read(at.join("out").join(path)).expect("unpacked");
    assert_eq!(same("readme.txt"), b"hello\n");
    assert_eq!(same("deep/er/file.bin"), [7; 300_000]);
    assert_eq!(same("empty"), b"");
    fs::remove_dir_all(at.join("out")).expect("removed");
}

#[test]
fn exports_of_files_are_read_by_tar_and_openssl_and_only_as_many_stay_as_the_plan_keeps() {
    let folder = with(EXPORTS);
    let at = folder.path();
    std::os::unix::fs::symlink("readme.txt", at.join("data/link")).expect("linked");
    let planned = expect(at, 0, &["plan", "plan.kdl"]);
    assert!(planned.contains("2 to export"), "{planned}");
    let applied = expect(at, 0, &APPLY);
    assert!(applied.contains("2 exported"), "{applied}");
    let kept = at.join("second/files");
    let all = files(&kept);
    assert_eq!(all.len(), 2, "{all:?}");
    sh(
        at,
        &format!("mkdir out; tar -xzf {} -C out", all[0].display()),
    );
    assert_eq!(
        fs::read_link(at.join("out/link")).expect("a link"),
        Path::new("readme.txt")
    );
    is_unpacked(at);
    let decrypt = "openssl enc -d -aes-256-cbc -pbkdf2 -iter 1000 -pass env:PASSWORD -in";
    sh(
        at,
        &format!("mkdir out; {decrypt} {} | tar -xz -C out", all[1].display()),
    );
    is_unpacked(at);
    let again = expect(at, 0, &APPLY);
    assert!(again.contains("No changes."), "{again}");

    // Something that ccb did not write stays, whatever it is called.
    fs::write(kept.join("data_00000000.tar.gz"), "mine").expect("written");
    for _ in 0..3 {
        let made = expect(at, 0, &BACKUP);
        assert!(made.contains("2 exported"), "{made}");
    }
    let all = files(&kept);
    assert_eq!(
        named(&all, ".tar.gz").len(),
        3,
        "two, and one that is not ccb's: {all:?}"
    );
    assert_eq!(named(&all, ".enc").len(), 4, "all: {all:?}");
    assert_eq!(
        fs::read(kept.join("data_00000000.tar.gz")).expect("read"),
        b"mine"
    );
    let checked = expect(at, 0, &["check", "plan.kdl", "--level", "3"]);
    assert!(checked.contains("No damage found."), "{checked}");

    // An export that goes is one that the plan names; one that somebody changed is nobody's.
    let oldest = oldest(&named(&all, ".tar.gz"), "data_00000000");
    fs::write(&oldest, "changed").expect("written");
    let made = expect(at, 0, &BACKUP);
    assert!(made.contains("is left alone"), "{made}");
    assert_eq!(fs::read(&oldest).expect("read"), b"changed");
}

/// The one that was written first, but for `other`.
fn oldest(files: &[&PathBuf], other: &str) -> PathBuf {
    let own = files
        .iter()
        .filter(|path| !path.to_string_lossy().contains(other));
    let by_time = |path: &&&PathBuf| {
        fs::metadata(path)
            .and_then(|m| m.modified())
            .expect("a time")
    };
    own.min_by_key(by_time).expect("at least one").to_path_buf()
}

#[test]
fn what_was_not_exported_is_made_up_for_and_names_that_are_taken_are_left_alone() {
    let folder = with(
        r#"
    export "openssl" to="second" {
        layout "data.enc"
        key file="password"
    }
    verify {"#,
    );
    let at = folder.path();
    // No password: what else there is to do is done.
    let failed = expect(at, 12, &APPLY);
    assert!(failed.contains("component.data.export.openssl"), "{failed}");
    assert!(failed.contains("1 backed up"), "{failed}");
    fs::write(at.join("password"), PASSWORD).expect("written");
    fs::write(at.join("second/data.enc"), "mine").expect("written");
    let taken = expect(at, 3, &APPLY);
    assert!(taken.contains("is taken by other bytes"), "{taken}");
    assert_eq!(fs::read(at.join("second/data.enc")).expect("read"), b"mine");
    fs::remove_file(at.join("second/data.enc")).expect("removed");
    let made = expect(at, 0, &APPLY);
    assert!(
        made.contains("0 backed up") && made.contains("1 exported"),
        "{made}"
    );
    // As if that run had been ended before it could record what it wrote.
    let written = fs::read(at.join("second/data.enc")).expect("read");
    for record in files(&at.join("second/exports")) {
        fs::remove_file(record).expect("removed");
    }
    let again = expect(at, 0, &APPLY);
    assert!(again.contains("was there already"), "{again}");
    assert_eq!(fs::read(at.join("second/data.enc")).expect("read"), written);
    assert!(expect(at, 0, &APPLY).contains("No changes."));
}

#[test]
fn an_export_of_a_damaged_backup_is_none_and_so_is_one_without_a_place() {
    let folder = with(EXPORTS);
    let at = folder.path();
    edit(at, "files/{component}_{id}.tar.gz\"", "packs/{id}.tar.gz\"");
    let said = expect(at, 1, &["validate", "plan.kdl"]);
    assert!(said.contains("where ccb keeps its repository"), "{said}");
    edit(at, "packs/{id}.tar.gz\"", "files/{component}_{id}.tar.gz\"");
    let exports = fs::read_to_string(at.join("plan.kdl")).expect("read");
    fs::write(
        at.join("plan.kdl"),
        exports.replace(EXPORTS, "\n    verify {"),
    )
    .expect("written");
    expect(at, 0, &APPLY);
    fs::write(at.join("plan.kdl"), exports).expect("written");
    let data = at.join("repository/packs/d");
    for folder in files(&data) {
        for pack in files(&folder) {
            let mut bytes = fs::read(&pack).expect("read");
            let half = bytes.len() / 2;
            bytes[..half].iter_mut().for_each(|byte| *byte ^= 1);
            fs::write(&pack, bytes).expect("written");
        }
    }
    let said = expect(at, 6, &APPLY);
    assert!(said.contains("0 exported"), "{said}");
    assert!(files(&at.join("second/files")).is_empty());
    let to = [
        "export", "plan.kdl", "data", "--format", "tar", "--to", "x.tar.gz",
    ];
    expect(at, 6, &to);
    assert!(!at.join("x.tar.gz").exists());
    let left = files(at);
    assert!(
        !left
            .iter()
            .any(|path| path.to_string_lossy().contains(".ccb-export")),
        "{left:?}"
    );
}

#[test]
fn a_backup_is_exported_by_hand_in_every_format_and_never_over_a_file() {
    let folder = given();
    let at = folder.path();
    expect(at, 0, &APPLY);
    let export = |format: &str, to: &str| {
        let arguments = ["export", "plan.kdl", "data", "--format", format, "--to", to];
        expect(
            at,
            0,
            &[&arguments[..], &["--key", "env:PASSWORD"]].concat(),
        )
    };
    let said = export("openssl", "a.enc");
    assert!(
        said.contains("-pbkdf2 -iter 600000 -in 'a.enc' | tar -xz"),
        "{said}"
    );
    export("gpg", "a.gpg");
    export("tar", "a.tar.gz");
    export("plain", "a.tar");
    sh(at, "mkdir out; tar -xzf a.tar.gz -C out");
    is_unpacked(at);
    sh(at, "mkdir out; tar -xf a.tar -C out");
    is_unpacked(at);
    let decrypt = "openssl enc -d -aes-256-cbc -pbkdf2 -iter 600000 -pass env:PASSWORD -in a.enc";
    sh(at, &format!("mkdir out; {decrypt} | tar -xz -C out"));
    is_unpacked(at);
    let gpg = "mkdir -m 700 home; printf %s \"$PASSWORD\" >password; gpg --homedir home --batch \
        --pinentry-mode loopback --passphrase-file password --decrypt a.gpg >a; \
        gpgconf --homedir home --kill gpg-agent; mkdir out; tar -xzf a -C out";
    sh(at, gpg);
    is_unpacked(at);
    let again = [
        "export", "plan.kdl", "data", "--format", "tar", "--to", "a.tar.gz",
    ];
    assert!(expect(at, 1, &again).contains("is there already"));
    let secretless = [
        "export", "plan.kdl", "data", "--format", "gpg", "--to", "b.gpg",
    ];
    assert!(expect(at, 12, &secretless).contains("--key"));
    assert!(!at.join("b.gpg").exists());
}

#[test]
fn a_dump_in_a_bucket_is_restored_by_openssl_and_pg_restore_alone() {
    let cluster = Cluster::start();
    cluster.create("lab", LAB);
    let server = Server::start();
    let export = r#"store "primary"
    export "openssl" to="exports" method="dump" {
        layout "postgres/{tier}/{database}_{time:%Y-%m-%d_%H%M%S}.dump.enc"
        cipher "aes-256-cbc"
        key env="PASSWORD"
        keep tiers="daily" count=7
        keep tiers="weekly" count=4
    }
    retain {
        daily 7
        weekly 4
    }"#;
    let component = postgres::component(cluster.host(), cluster.port(), "lab", "");
    let folder = postgres::given(&[component.replace("store \"primary\"", export)]);
    let at = folder.path();
    let bucket = format!(
        "destination \"exports\" {{\n    s3 \"s3://backups/plain\" endpoint=\"{}\" path-style=#true\n    credentials env-prefix=\"OFFSITE_\"\n    encrypt none=#true\n}}\ncomponent",
        server.endpoint()
    );
    edit(at, "component", &bucket);
    let mut apply = ccb_in(at, &APPLY);
    bucket::with_access(&mut apply);
    let (ended, said) = outcome(apply.env("PASSWORD", PASSWORD));
    assert_eq!(ended, Some(0), "{said}");
    assert!(said.contains("2 exported"), "{said}");
    let objects = server.objects();
    let names: Vec<&String> = objects.keys().collect();
    // Nothing but the exports is there: their record is with the backup.
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(
        names[0].starts_with("plain/postgres/daily/lab_"),
        "{names:?}"
    );
    assert!(
        names[1].starts_with("plain/postgres/weekly/lab_"),
        "{names:?}"
    );
    fs::write(at.join("lab.enc"), &objects[names[0]].body).expect("written");
    sh(
        at,
        "openssl enc -d -aes-256-cbc -pass env:PASSWORD -in lab.enc >lab.dump 2>/dev/null",
    );
    cluster.sql("postgres", "create database again");
    let mut restore = cluster.client("pg_restore");
    restore.args(["--dbname", "again", "--exit-on-error"]);
    let restored = restore
        .arg(at.join("lab.dump"))
        .output()
        .expect("pg_restore");
    let said = String::from_utf8_lossy(&restored.stderr);
    assert!(restored.status.success(), "{said}");
    let count = "select count(*) from users";
    assert_eq!(cluster.sql("again", count), cluster.sql("lab", count));
    let mut apply = ccb_in(at, &APPLY);
    bucket::with_access(&mut apply);
    let (_, said) = outcome(apply.env("PASSWORD", PASSWORD));
    assert!(said.contains("No changes."), "{said}");
}
