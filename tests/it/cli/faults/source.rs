//! Sources: gone, empty, named in any bytes, deep, and with files that can not be read.

use crate::cli::faults::{APPLY, BACKUP, Ground, files};
use rustix::fs::{Mode, OFlags, mkdirat, openat};
use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

#[test]
fn a_source_that_is_gone_or_empty_is_never_a_backup_of_nothing() {
    let ground = Ground::applied();
    let data = ground.at().join("data");
    fs::rename(&data, ground.at().join("moved")).expect("moved");
    let said = ground.expect(3, BACKUP);
    assert!(said.contains("open source directory"), "{said}");
    assert!(said.contains("0 backed up"), "{said}");
    fs::create_dir(&data).expect("made");
    let said = ground.expect(3, BACKUP);
    assert!(said.contains("is empty"), "{said}");
    fs::remove_dir(&data).expect("removed");
    fs::write(&data, "a file").expect("written");
    let said = ground.expect(3, BACKUP);
    assert!(said.contains("0 backed up"), "{said}");
    assert_eq!(ground.backups().len(), 1);
    ground.nothing_is_lost("no source");
    fs::remove_file(&data).expect("removed");
    fs::rename(ground.at().join("moved"), &data).expect("moved back");
    ground.a_rerun_completes("the source is back");
}

#[test]
fn names_of_any_bytes_and_paths_of_4_kib_come_back() {
    let ground = Ground::fresh();
    let data = ground.at().join("data");
    for name in [
        &b"\xff\xfe"[..],
        b"new\nline",
        b"tab\tand \"quotes\"",
        b"\xc3",
        b"-rf",
        b"\x1b[2J",
        b" ",
    ] {
        fs::write(data.join(OsStr::from_bytes(name)), name).expect("written");
    }
    // Deeper than a path may be long: made and read step by step.
    let mut deepest = deep(&data, true);
    deepest.write_all(b"deep").expect("written");
    ground.expect(0, APPLY);
    ground.expect(0, &["restore", "plan.kdl", "data", "--to", "back"]);
    let mut bytes = String::new();
    let mut deepest = deep(&ground.at().join("back"), false);
    deepest.read_to_string(&mut bytes).expect("read");
    assert_eq!(bytes, "deep");
    let mut same = Command::new("diff");
    same.args(["-r", "-x", "ddd*", "data", "back"])
        .current_dir(ground.at());
    assert!(same.status().expect("diff starts").success());
    // What lists them writes no control character and no half of one.
    let listed = ground.expect(0, &["ls", "plan.kdl", "latest"]);
    assert!(!listed.contains('\x1b'), "{listed:?}");
    assert!(listed.contains("\\xff\\xfe"), "{listed}");
}

/// The file below 25 directories whose names are 200 bytes each, made on the way if that is asked for.
fn deep(root: &Path, make: bool) -> fs::File {
    let name = "d".repeat(200);
    let mut directory: OwnedFd = fs::File::open(root).expect("opens").into();
    for _ in 0..25 {
        if make {
            mkdirat(&directory, &name, Mode::RWXU).expect("made");
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        directory = openat(&directory, &name, flags, Mode::empty()).expect("opens");
    }
    let flags = OFlags::RDWR
        | if make {
            OFlags::CREATE
        } else {
            OFlags::empty()
        };
    openat(&directory, "leaf", flags, Mode::RUSR | Mode::WUSR)
        .expect("opens")
        .into()
}

#[test]
fn files_that_can_not_be_read_are_named_and_the_backup_is_marked_incomplete() {
    let ground = Ground::applied();
    let data = ground.at().join("data");
    let locked = data.join("secret");
    fs::write(&locked, "nobody may read this").expect("written");
    fs::create_dir(data.join("closed")).expect("made");
    fs::write(data.join("closed/in"), "x").expect("written");
    for path in [&locked, &data.join("closed")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o000)).expect("set");
    }
    // Root may read everything, unless the right to is taken from it.
    let drop = "-dac_override,-dac_read_search";
    let bounds = format!("--bounding-set={drop}");
    let inherited = format!("--inh-caps={drop}");
    let starter: &[&str] = match rustix::process::getuid().is_root() {
        true => &["setpriv", &bounds, &inherited],
        false => &[],
    };
    let (code, said) = ground.run(starter, BACKUP);
    assert_eq!(code, Some(3), "{said}");
    assert!(
        said.contains("2 things could not be read; the backup is marked incomplete"),
        "{said}"
    );
    assert!(said.contains("secret") && said.contains("closed"), "{said}");
    let listed = ground.expect(0, &["list", "plan.kdl"]);
    assert!(listed.contains("incomplete: 2 left out"), "{listed}");
    // What is meant by "latest" is the newest one that is complete.
    assert!(ground.restored("latest", "primary") == ground.old);
    for path in [&locked, &data.join("closed")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).expect("set");
    }
    ground.expect(0, BACKUP);
    assert!(ground.restored("latest", "primary") == files(&data));
}
