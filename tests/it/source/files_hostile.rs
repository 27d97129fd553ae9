//! The files source on trees that change under it, and that mean harm.

use crate::source::files::{paths, request, run};
use ccb::model::tree::{Body, Found};
use ccb::source::files::{capture, walk};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use tempfile::TempDir;

fn tree() -> TempDir {
    let root = TempDir::new().expect("a directory");
    fs::create_dir(root.path().join("dir")).expect("made");
    fs::write(root.path().join("dir/file"), vec![1; 100_000]).expect("written");
    root
}

fn file(root: &TempDir) -> Found {
    let (mut found, ..) = run(request(root.path()));
    assert_eq!(paths(&found), ["", "dir", "dir/file"]);
    found.pop().expect("there is a file")
}

fn open(found: Found) -> std::io::Result<Box<dyn ccb::model::tree::ReadBody>> {
    let Body::Read(body) = found.body else {
        panic!("the file is to be read")
    };
    body.open()
}

#[test]
fn a_file_that_grows_shrinks_or_is_replaced_is_noticed_and_read_to_where_it_ended() {
    type Change = fn(&TempDir);
    let table: [(&str, Change, usize); 3] = [
        (
            "grows before it is opened",
            |root| {
                let path = root.path().join("dir/file");
                let mut file = fs::OpenOptions::new()
                    .append(true)
                    .open(path)
                    .expect("opens");
                file.write_all(&[2; 50]).expect("appended");
            },
            100_050,
        ),
        (
            "shrinks",
            |root| fs::write(root.path().join("dir/file"), b"short").expect("written"),
            5,
        ),
        (
            "is replaced",
            |root| {
                fs::write(root.path().join("new"), vec![3; 100_000]).expect("written");
                fs::rename(root.path().join("new"), root.path().join("dir/file")).expect("renamed");
            },
            100_000,
        ),
    ];
    for (what, change, len) in table {
        let root = tree();
        let found = file(&root);
        change(&root);
        let mut body = open(found).expect("it opens");
        let mut bytes = Vec::new();
        body.read_to_end(&mut bytes).expect("it reads");
        assert_eq!(bytes.len(), len, "{what}");
        assert!(
            body.changed_while_reading().expect("it has a status"),
            "{what}"
        );
    }
}

#[test]
fn a_file_that_grows_while_it_is_read_ends_where_it_ended_when_it_was_opened() {
    let root = tree();
    let mut body = open(file(&root)).expect("it opens");
    let path = root.path().join("dir/file");
    let mut writer = fs::OpenOptions::new()
        .append(true)
        .open(path)
        .expect("opens");
    let (mut read, mut buffer) = (0, [0; 1000]);
    loop {
        writer.write_all(&[9; 2000]).expect("appended");
        match body.read(&mut buffer).expect("it reads") {
            0 => break,
            len => read += len,
        }
    }
    assert_eq!(read, 100_000);
    assert!(body.changed_while_reading().expect("it has a status"));
}

#[test]
fn what_took_a_files_place_is_not_opened() {
    let root = tree();
    let path = root.path().join("dir/file");
    let found = file(&root);
    fs::remove_file(&path).expect("removed");
    let error = open(found).err().expect("it is gone");
    assert_eq!(error.kind(), ErrorKind::NotFound);

    fs::write(&path, b"again").expect("written");
    let found = file(&root);
    fs::remove_file(&path).expect("removed");
    symlink("/etc/passwd", &path).expect("link");
    assert!(open(found).is_err(), "a link is not followed");

    fs::remove_file(&path).expect("removed");
    fs::write(&path, b"again").expect("written");
    let found = file(&root);
    fs::remove_file(&path).expect("removed");
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &path, fifo, rustix::fs::Mode::RUSR, 0).expect("made");
    let error = open(found)
        .err()
        .expect("a FIFO is not read, and does not block");
    assert!(error.to_string().contains("not a regular file"), "{error}");
}

#[test]
fn a_directory_that_becomes_a_link_does_not_lead_out_of_the_tree() {
    let outside = tree();
    let root = tree();
    let found = file(&root);
    fs::write(outside.path().join("dir/file"), b"of somebody else").expect("written");
    fs::rename(root.path().join("dir"), root.path().join("moved")).expect("renamed");
    symlink(outside.path().join("dir"), root.path().join("dir")).expect("link");
    let mut bytes = Vec::new();
    let mut body = open(found).expect("it is where it was seen");
    body.read_to_end(&mut bytes).expect("it reads");
    assert!(bytes == vec![1; 100_000], "what was seen there");
}

#[test]
fn files_of_a_directory_that_is_moved_before_they_are_read_are_read_all_the_same() {
    let root = tree();
    let found = file(&root);
    fs::rename(root.path().join("dir"), root.path().join("a")).expect("renamed");
    let mut body = open(found).expect("it is opened where it was seen");
    let mut bytes = Vec::new();
    body.read_to_end(&mut bytes).expect("it reads");
    assert!(bytes == vec![1; 100_000]);
    assert!(!body.changed_while_reading().expect("it has a status"));
}

#[test]
fn what_was_gone_before_it_could_be_read_is_told() {
    let root = tree();
    fs::write(root.path().join("dir/second"), b"x").expect("written");
    let mut capture = capture(request(root.path())).expect("the source is there");
    let found: Vec<Found> = capture
        .walk
        .by_ref()
        .map(|one| one.expect("found"))
        .collect();
    fs::remove_dir_all(root.path().join("dir")).expect("removed");
    for one in found {
        if matches!(one.body, Body::Read(_)) {
            let error = open(one).err().expect("it is gone");
            assert_eq!(error.kind(), ErrorKind::NotFound);
        }
    }
    let facts = (capture.finish)().expect("facts");
    let [note] = &facts.notes[..] else {
        panic!("{:?}", facts.notes)
    };
    assert!(note.starts_with("2 files or folders were gone"), "{note}");
    assert!(note.contains("such as `dir/file`"), "{note}");
    let steady = tree();
    let capture = self::capture(request(steady.path())).expect("the source is there");
    assert!((capture.finish)().expect("facts").notes.is_empty());
}

#[test]
fn what_vanishes_during_the_walk_is_a_note_and_not_a_failure() {
    let root = TempDir::new().expect("a directory");
    // More than the scan can send ahead, so that the last are still there to be deleted.
    for n in 0..5000 {
        fs::write(root.path().join(format!("{n:05}")), b"x").expect("written");
    }
    let mut walk = walk(request(root.path())).expect("the source is there");
    let tally = walk.tally();
    assert!(walk.next().is_some_and(|first| first.is_ok()));
    for n in 4000..5000 {
        fs::remove_file(root.path().join(format!("{n:05}"))).expect("removed");
    }
    let found: Vec<_> = walk.collect();
    assert!(found.iter().all(Result::is_ok));
    let tally = tally.lock().expect("nobody panicked").clone();
    assert_eq!(
        (
            tally.files,
            tally.note_count,
            tally.vanished,
            tally.problems
        ),
        (4000, 1000, 1000, 0)
    );
}

#[test]
fn a_directory_that_can_not_be_read_is_a_problem_with_its_path_and_the_rest_is_found() {
    let root = tree();
    fs::write(root.path().join("zz"), b"x").expect("written");
    fs::set_permissions(root.path().join("dir"), fs::Permissions::from_mode(0o000)).expect("set");
    let can_read_anything = fs::read_dir(root.path().join("dir")).is_ok();
    let (found, problems, tally) = run(request(root.path()));
    fs::set_permissions(root.path().join("dir"), fs::Permissions::from_mode(0o700)).expect("set");
    assert_eq!(tally.problems, problems.len() as u64);
    if can_read_anything {
        assert_eq!(paths(&found), ["", "dir", "dir/file", "zz"]);
        return;
    }
    assert_eq!(paths(&found), ["", "dir", "zz"]);
    assert_eq!(problems[0].to_string(), "read directory `dir`");
}

#[test]
fn dropping_a_walk_ends_it() {
    let root = TempDir::new().expect("a directory");
    for n in 0..2000 {
        fs::write(root.path().join(format!("{n:05}")), b"x").expect("written");
    }
    let mut walk = walk(request(root.path())).expect("the source is there");
    let tally = walk.tally();
    walk.next();
    drop(walk);
    assert_eq!(tally.lock().expect("nobody panicked").files, 0);
}
