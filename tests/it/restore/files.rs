//! What was backed up comes back: whole, in part, and no more than was asked for.

use crate::repository::given::noise;
use crate::restore::given::{back_up, request, run, seen, well, write};
use ccb::restore::files::{Intent, RestoreError};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::time::{Duration, UNIX_EPOCH};
use tempfile::TempDir;

/// A directory with one of everything.
fn of_everything() -> TempDir {
    let source = TempDir::new().expect("a directory");
    let root = source.path();
    write(root, "empty", b"");
    write(root, "text", &b"hello ".repeat(1000));
    write(root, "dir/deep/er/leaf", b"leaf");
    write(root, "long", &noise("long", 6 << 20));
    write(root, "same", &noise("long", 6 << 20));
    for n in 0..300 {
        write(
            root,
            &format!("many/{n:03}"),
            format!("file {n}").as_bytes(),
        );
    }
    fs::write(root.join(std::ffi::OsStr::from_bytes(b"\xff\xfe")), b"odd").expect("written");
    fs::hard_link(root.join("text"), root.join("dir/also text")).expect("link");
    symlink("dir/deep", root.join("link")).expect("link");
    symlink("/nowhere/at all", root.join("dangling")).expect("link");
    let sparse = fs::File::create(root.join("sparse")).expect("created");
    sparse.set_len(8 << 20).expect("sized");
    sparse.write_all_at(&[1; 4096], 4 << 20).expect("written");
    fs::File::create(root.join("hole"))
        .and_then(|f| f.set_len(1 << 20))
        .expect("sized");
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(
        rustix::fs::CWD,
        root.join("fifo"),
        fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .expect("made");
    // Where the file system has none, there are none to come back.
    let flags = rustix::fs::XattrFlags::empty();
    let _ = rustix::fs::setxattr(root.join("text"), "user.colour", b"blue", flags);
    let _ = rustix::fs::setxattr(root.join("dir"), "user.colour", b"green", flags);
    for (path, mode) in [
        ("text", 0o640),
        ("empty", 0o4755),
        ("long", 0o444),
        ("many", 0o2750),
    ] {
        fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).expect("set");
    }
    for path in ["text", "sparse", "dir/deep", "many"] {
        let at = UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
        let file = fs::File::open(root.join(path)).expect("opens");
        file.set_modified(at).expect("set");
    }
    fs::set_permissions(root.join("dir/deep"), fs::Permissions::from_mode(0o555)).expect("set");
    source
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_comes_back_with_all_that_it_had() {
    let source = of_everything();
    let backup = back_up(source.path()).await;
    let target = TempDir::new().expect("a directory");
    let report = well(&backup, &request(&target.path().join("new"))).await;
    let restored = target.path().join("new");
    let (expected, got) = (seen(source.path()), seen(&restored));
    assert_eq!(
        expected.keys().collect::<Vec<_>>(),
        got.keys().collect::<Vec<_>>()
    );
    for (path, (node, bytes)) in &expected {
        assert_eq!(got[path].0, *node, "metadata of {path}");
        assert!(got[path].1 == *bytes, "bytes of {path}");
    }
    let text = fs::metadata(restored.join("text")).expect("there");
    assert_eq!(
        text.ino(),
        fs::metadata(restored.join("dir/also text"))
            .expect("there")
            .ino()
    );
    assert!(
        fs::metadata(restored.join("sparse"))
            .expect("there")
            .blocks()
            < 1000
    );
    assert_eq!((report.files, report.links, report.specials), (308, 3, 1));
    fs::set_permissions(restored.join("dir/deep"), fs::Permissions::from_mode(0o755)).expect("set");
    fs::set_permissions(
        source.path().join("dir/deep"),
        fs::Permissions::from_mode(0o755),
    )
    .expect("set");

    let again = well(&backup, &request(&restored)).await;
    assert_eq!(
        (again.files, again.links, again.specials, again.overwritten),
        (0, 0, 0, 0)
    );
    assert_eq!(again.kept, 312);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_file_a_directory_or_both_come_back_at_their_places() {
    let source = TempDir::new().expect("a directory");
    for path in ["a/x", "a/y", "ab/x", "b/deep/x", "b/deep/y", "c"] {
        write(source.path(), path, path.as_bytes());
    }
    fs::hard_link(
        source.path().join("a/x"),
        source.path().join("b/deep/linked"),
    )
    .expect("link");
    let backup = back_up(source.path()).await;
    let table: [(&[&str], &[&str]); 4] = [
        (&["c"], &["", "c"]),
        (&["a"], &["", "a", "a/x", "a/y"]),
        (&["b/deep/y", "c"], &["", "b", "b/deep", "b/deep/y", "c"]),
        // The first name of that file was not asked for.
        (&["b/deep/linked"], &["", "b", "b/deep", "b/deep/linked"]),
    ];
    for (paths, expected) in table {
        let target = TempDir::new().expect("a directory");
        let mut request = request(target.path());
        request.paths = paths.iter().map(|path| path.as_bytes().to_vec()).collect();
        well(&backup, &request).await;
        let got = seen(target.path());
        assert_eq!(
            got.keys().map(String::as_str).collect::<Vec<_>>(),
            expected,
            "{paths:?}"
        );
        let last = expected.last().expect("there is one");
        let path = if *last == "b/deep/linked" {
            "a/x"
        } else {
            last
        };
        assert_eq!(got[*last].1, path.as_bytes());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_the_backup_has_not_is_an_error_before_anything_is_made() {
    let source = TempDir::new().expect("a directory");
    write(source.path(), "a/x", b"x");
    let backup = back_up(source.path()).await;
    let target = TempDir::new().expect("a directory");
    for path in ["b", "a/x/y", "../a", "/a", "a//x"] {
        let mut request = request(&target.path().join("new"));
        request.paths = vec![b"a".to_vec(), path.as_bytes().to_vec()];
        let error = run(&backup, &request).await.expect_err("refused");
        assert!(matches!(error, RestoreError::NotInBackup { .. }), "{error}");
    }
    assert!(!target.path().join("new").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_made_is_private_and_one_that_is_there_stays_as_it_is() {
    let source = TempDir::new().expect("a directory");
    write(source.path(), "a", b"x");
    let backup = back_up(source.path()).await;
    let target = TempDir::new().expect("a directory");
    fs::set_permissions(target.path(), fs::Permissions::from_mode(0o751)).expect("set");
    well(&backup, &request(target.path())).await;
    well(&backup, &request(&target.path().join("in/new"))).await;
    let mode = |path: &std::path::Path| fs::metadata(path).expect("there").mode() & 0o7777;
    assert_eq!(mode(target.path()), 0o751);
    assert_eq!(mode(&target.path().join("in/new")), 0o700);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_made_gets_what_the_root_had_at_the_very_end() {
    let source = TempDir::new().expect("a directory");
    write(source.path(), "dir/a", b"x");
    let mut backup = back_up(source.path()).await;
    // No right to write into it: everything that is in it must be there before.
    (backup.root.mode, backup.root.mtime_ns) = (0o2551, 1_000_000_000_123_456_789);
    let target = TempDir::new().expect("a directory");
    fs::set_permissions(target.path(), fs::Permissions::from_mode(0o751)).expect("set");
    let new = target.path().join("new");
    well(&backup, &request(&new)).await;
    let meta = fs::metadata(&new).expect("there");
    assert_eq!(meta.mode() & 0o7777, 0o2551);
    assert_eq!(
        (meta.mtime(), meta.mtime_nsec()),
        (1_000_000_000, 123_456_789)
    );
    assert_eq!(fs::read(new.join("dir/a")).expect("read"), b"x");

    let mut part = request(&target.path().join("part"));
    part.paths = vec![b"dir/a".to_vec()];
    well(&backup, &part).await;
    let meta = fs::metadata(target.path().join("part")).expect("there");
    assert_eq!(
        meta.mode() & 0o7777,
        0o2551,
        "it was made for a part of it, too"
    );
    well(&backup, &request(target.path())).await;
    assert_eq!(
        fs::metadata(target.path()).expect("there").mode() & 0o7777,
        0o751
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_all_and_writes_nothing() {
    let source = TempDir::new().expect("a directory");
    for path in ["a/x", "a/y", "b"] {
        write(source.path(), path, b"from the backup");
    }
    let backup = back_up(source.path()).await;
    let target = TempDir::new().expect("a directory");
    let mut asked = request(&target.path().join("new"));
    asked.dry_run = true;
    let (report, heard) = run(&backup, &asked).await.expect("it begins");
    let all = |intent| {
        ["b", "a", "a/x", "a/y"]
            .map(|path| (path.to_owned(), intent))
            .to_vec()
    };
    assert_eq!(heard, all(Intent::Create));
    assert_eq!((report.problem_count, report.files), (0, 0));
    assert!(!target.path().join("new").exists());

    write(target.path(), "a/x", b"other");
    let before = seen(target.path());
    let mut asked = request(target.path());
    asked.dry_run = true;
    let (report, heard) = run(&backup, &asked).await.expect("it begins");
    let mut expected = all(Intent::Create);
    (expected[1].1, expected[2].1) = (Intent::Keep, Intent::Refuse);
    assert_eq!(heard, expected);
    assert_eq!(report.problem_count, 1);
    assert_eq!(seen(target.path()), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_pack_costs_its_files_and_no_others() {
    let source = TempDir::new().expect("a directory");
    write(source.path(), "small", b"small");
    write(source.path(), "large", &noise("large", 40 << 20));
    let backup = back_up(source.path()).await;
    let packs = ccb::store::Backend::list(&backup.store, "packs/d/")
        .await
        .expect("lists");
    assert!(packs.objects.len() > 1);
    // One of the packs full of the large file.
    let largest = packs
        .objects
        .iter()
        .max_by_key(|pack| pack.size)
        .expect("there are some");
    ccb::store::Backend::delete(&backup.store, &largest.key)
        .await
        .expect("deleted");
    let target = TempDir::new().expect("a directory");
    let (report, _) = run(&backup, &request(target.path()))
        .await
        .expect("it begins");
    assert!(report.problem_count >= 1);
    assert!(
        report
            .problems
            .iter()
            .any(|problem| problem.path == b"large")
    );
    let names: Vec<_> = fs::read_dir(target.path())
        .expect("reads")
        .map(|entry| {
            entry
                .expect("reads")
                .file_name()
                .into_string()
                .expect("text")
        })
        .collect();
    let lost = report
        .problems
        .iter()
        .any(|problem| problem.path == b"small");
    assert_eq!(
        names,
        if lost {
            vec![]
        } else {
            vec!["small".to_owned()]
        }
    );
}
