//! WAL files in a directory: read as they were when they were opened, or not at all.

use crate::support::pushing::Given;
use ccb::source::wal;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::symlink;

#[test]
fn a_segment_that_changes_its_length_while_it_is_read_is_refused() {
    let given = Given::new();
    let path = given.wal().join(given.segment(1, 7));
    let whole = fs::read(&path).unwrap();
    let mut read = Vec::new();
    wal::open(&path).unwrap().read_to_end(&mut read).unwrap();
    assert!(read == whole);
    for len in [whole.len() as u64 - 1, whole.len() as u64 + 1] {
        fs::write(&path, &whole).unwrap();
        let mut open = wal::open(&path).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(len).unwrap();
        let error = open.read_to_end(&mut Vec::new()).unwrap_err();
        assert!(
            error.to_string().contains(&format!("has {len} bytes")),
            "{error}"
        );
    }
}

#[test]
fn a_file_that_is_removed_while_its_directory_is_listed_is_passed_over() {
    let given = Given::new();
    let (kept, removed) = (given.segment(1, 7), given.segment(2, 7));
    fs::remove_file(given.wal().join(&removed)).unwrap();
    // Its name is still read, and it is not there any more.
    symlink("nowhere", given.wal().join(&removed)).unwrap();
    let listed = wal::list(&given.wal()).unwrap();
    let names: Vec<String> = listed.iter().map(|file| file.name.to_string()).collect();
    assert_eq!(names, [kept]);
}
