//! Sources: gone, empty, named in any bytes, deep, and with files that can not be read.

use crate::cli::faults::{APPLY, BACKUP, Ground, files};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
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
    let script = r#"cd data && for n in $(seq 1 25); do
        d=$(printf 'd%0199d' $n); mkdir "$d" && cd "$d" || exit 1; done; echo deep > leaf"#;
    let made = Command::new("sh")
        .args(["-c", script])
        .current_dir(ground.at())
        .status();
    assert!(made.expect("sh starts").success());
    let counted = |root: &str| {
        let script = format!(
            "cd {root} && find . -type f | wc -l && find . -depth -type f -name leaf -execdir cat {{}} \\;"
        );
        let output = Command::new("sh")
            .args(["-c", &script])
            .current_dir(ground.at())
            .output();
        output.expect("sh starts").stdout
    };
    ground.expect(0, APPLY);
    ground.expect(0, &["restore", "plan.kdl", "data", "--to", "back"]);
    let (source, restored) = (counted("data"), counted("back"));
    assert_eq!(
        String::from_utf8_lossy(&source),
        String::from_utf8_lossy(&restored)
    );
    assert!(String::from_utf8_lossy(&source).ends_with("deep\n"));
    let mut same = Command::new("diff");
    same.args(["-r", "-x", "d00*", "data", "back"])
        .current_dir(ground.at());
    assert!(same.status().expect("diff starts").success());
    // What lists them writes no control character and no half of one.
    let listed = ground.expect(0, &["ls", "plan.kdl", "latest"]);
    assert!(!listed.contains('\x1b'), "{listed:?}");
    assert!(listed.contains("\\xff\\xfe"), "{listed}");
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
        fs::set_permissions(path, fs::Permissions::from_mode(0)).expect("set");
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
