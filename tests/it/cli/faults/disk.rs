//! Disks of destinations: failing, full, read-only, gone, or something else in their place.

use crate::cli::faults::{APPLY, BACKUP, Ground, files, noise, own_mounts};
use std::fs;

/// Runs a backup whose calls of one kind fail from a certain one on, counted in each of its threads.
fn failing(ground: &Ground, inject: &str) -> (Option<i32>, String) {
    let call = inject.split(':').next().expect("a call");
    let (trace, inject) = (format!("trace={call}"), format!("inject={inject}"));
    let strace = [
        "strace",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        &trace,
        "-e",
        &inject,
    ];
    ground.run(&strace, BACKUP)
}

#[test]
fn a_sync_that_fails_fails_its_step_and_never_the_backups_that_are_there() {
    let start = Ground::applied();
    for (fault, words) in [
        ("fsync:error=EIO:when=1+", "Input/output error"),
        ("fsync:error=EIO:when=3+", "Input/output error"),
        ("fsync:error=ENOSPC:when=2+", "no space is left"),
        ("renameat2:error=EIO:when=2+", "Input/output error"),
        ("renameat2:error=EROFS:when=3+", "read-only"),
    ] {
        let ground = start.copy();
        let (code, said) = failing(&ground, fault);
        assert_eq!(code, Some(3), "{fault}: {said}");
        assert!(said.contains(words), "{fault}: {said}");
        assert!(said.contains("Apply incomplete!"), "{fault}: {said}");
        ground.nothing_is_lost(fault);
        ground.a_rerun_completes(fault);
    }
}

#[test]
fn one_failed_sync_among_many_is_not_passed_over() {
    let start = Ground::applied();
    for n in [1, 2, 3] {
        let ground = start.copy();
        let fault = format!("fsync:error=EIO:when={n}");
        let (code, said) = failing(&ground, &fault);
        // Of a lock or a record it is a warning: what it was for is done without.
        assert!(
            [Some(0), Some(3)].contains(&code),
            "{fault}: {code:?} {said}"
        );
        assert!(said.contains("Input/output error"), "{fault}: {said}");
        ground.nothing_is_lost(&fault);
        ground.a_rerun_completes(&fault);
    }
}

#[test]
fn a_write_that_fails_fails_its_step() {
    let ground = Ground::applied();
    // The tracer stays behind, so that the process has the number that its temporary files are named by.
    let script = r#"
        files=
        for n in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19; do files="$files -P $PWD/repository/.tmp/$$-$n"; done
        exec strace -D -f -qq -o /dev/null -e trace=write -e inject=write:error=EIO:when=2+ $files $ccb backup plan.kdl data"#;
    let (code, said) = ground.script(&[], script);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("Input/output error"), "{said}");
    ground.nothing_is_lost("writes fail");
    ground.a_rerun_completes("writes fail");
}

#[test]
fn a_disk_that_is_really_full_is_said_and_the_run_is_completed_when_there_is_room() {
    let ground = Ground::fresh();
    let more = ground.at().join("more");
    fs::write(&more, noise(7, 12 << 20)).expect("written");
    let script = r#"
        mkdir repository && mount -t tmpfs -o size=5m none repository || exit 99
        $ccb apply plan.kdl --auto-approve --quiet || exit 98
        mv more data/more
        $ccb backup plan.kdl data; echo "full: $?"
        $ccb restore plan.kdl data --backup latest --from primary --to back-full || exit 97
        mount -o remount,size=100m repository || exit 96
        $ccb backup plan.kdl data || exit 95
        $ccb restore plan.kdl data --backup latest --from primary --to back || exit 94
        $ccb check plan.kdl --level 3 --destination primary || exit 93"#;
    let (code, said) = ground.script(own_mounts(), script);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("full: 3"), "{said}");
    assert!(said.contains("no space is left"), "{said}");
    assert!(
        files(&ground.at().join("back-full")) == ground.old,
        "the backup before is whole"
    );
    assert!(files(&ground.at().join("back")) == files(&ground.at().join("data")));
}

#[test]
fn a_disk_without_inodes_is_as_full_as_one_without_space() {
    let ground = Ground::fresh();
    let script = r#"
        mkdir repository && mount -t tmpfs -o size=50m,nr_inodes=12 none repository || exit 99
        $ccb apply plan.kdl --auto-approve; echo "full: $?"
        mount -o remount,nr_inodes=1000 repository || exit 98
        $ccb apply plan.kdl --auto-approve || exit 97
        $ccb restore plan.kdl data --from primary --to back || exit 96"#;
    let (code, said) = ground.script(own_mounts(), script);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("full: 3"), "{said}");
    assert!(said.contains("no space is left"), "{said}");
    assert!(files(&ground.at().join("back")) == ground.new);
}

#[test]
fn a_destination_that_can_not_be_written_fails_its_steps_and_is_still_read() {
    let ground = Ground::applied();
    let script = r#"
        mount --bind repository repository && mount -o remount,ro,bind repository || exit 99
        $ccb backup plan.kdl data; echo "read-only: $?"
        $ccb restore plan.kdl data --backup latest --from primary --to back-ro || exit 98
        $ccb list plan.kdl || exit 97"#;
    let (code, said) = ground.script(own_mounts(), script);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("read-only: 3"), "{said}");
    assert!(said.contains("read-only; mount it writable"), "{said}");
    assert!(files(&ground.at().join("back-ro")) == ground.old);
    ground.a_rerun_completes("writable again");
}

#[test]
fn a_file_where_a_destination_should_be_is_not_touched() {
    let ground = Ground::fresh();
    fs::write(ground.at().join("repository"), "a letter").expect("written");
    let said = ground.expect(10, APPLY);
    assert!(said.contains("repository"), "{said}");
    assert_eq!(
        fs::read(ground.at().join("repository")).expect("read"),
        b"a letter"
    );
}

#[test]
fn a_destination_that_vanished_is_made_anew_and_the_copy_is_still_there() {
    let ground = Ground::applied();
    fs::rename(
        ground.at().join("repository"),
        ground.at().join("elsewhere"),
    )
    .expect("moved");
    // A mount that is missing looks like this: an empty place. What is at the other destination stays.
    let (code, said) = ground.run(&[], APPLY);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        ground.restored("latest", "second") == ground.old
            || ground.restored("latest", "second") == ground.new
    );
    let backups = ground.backups();
    assert!(
        backups
            .iter()
            .any(|id| ground.restored(id, "second") == ground.old),
        "{backups:?}"
    );
}
