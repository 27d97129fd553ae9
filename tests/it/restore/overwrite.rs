//! What a restore does to what is in the target already.

use crate::restore::given::{back_up, request, run, seen, well, write};
use ccb::restore::files::{Overwrite, Sameness};
use std::fs;
use std::os::unix::fs::symlink;
use std::time::UNIX_EPOCH;
use tempfile::TempDir;

#[tokio::test(flavor = "multi_thread")]
async fn what_differs_stays_unless_overwriting_is_asked_for() {
    let source = TempDir::new().expect("a directory");
    for path in ["file", "link-here", "dir-here", "sub/x"] {
        write(source.path(), path, b"from the backup");
    }
    symlink("to", source.path().join("link")).expect("link");
    let backup = back_up(source.path()).await;
    for overwrite in [Overwrite::Never, Overwrite::IfChanged, Overwrite::Always] {
        let outside = TempDir::new().expect("a directory");
        let victim = write(outside.path(), "victim", b"outside");
        let target = TempDir::new().expect("a directory");
        write(target.path(), "file", b"here");
        write(target.path(), "extra", b"not in the backup");
        write(target.path(), "dir-here/inner", b"inner");
        symlink(&victim, target.path().join("link-here")).expect("link");
        symlink("elsewhere", target.path().join("link")).expect("link");
        symlink(outside.path(), target.path().join("sub")).expect("link");
        let mut request = request(target.path());
        request.overwrite = overwrite;
        let (report, _) = run(&backup, &request).await.expect("it begins");

        assert_eq!(fs::read(&victim).expect("there"), b"outside");
        assert!(
            !outside.path().join("x").exists(),
            "a link in the target leads nowhere"
        );
        let got = seen(target.path());
        assert_eq!(got["extra"].1, b"not in the backup");
        assert_eq!(got["dir-here/inner"].1, b"inner");
        let refused: Vec<_> = report.problems.iter().map(|p| p.path.as_slice()).collect();
        if overwrite == Overwrite::Never {
            let all: [&[u8]; 5] = [b"dir-here", b"file", b"link", b"link-here", b"sub"];
            assert_eq!(refused, all);
            assert_eq!(got["file"].1, b"here");
            assert_eq!(
                fs::read_link(target.path().join("link"))
                    .expect("link")
                    .as_os_str(),
                "elsewhere"
            );
            assert_eq!(report.overwritten, 0);
        } else {
            assert_eq!(refused, [b"dir-here"]);
            for path in ["file", "link-here", "sub/x"] {
                assert_eq!(got[path].1, b"from the backup", "{path}");
            }
            assert_eq!(
                fs::read_link(target.path().join("link"))
                    .expect("link")
                    .as_os_str(),
                "to"
            );
            assert_eq!(report.overwritten, 4);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_looks_the_same_stays_and_contents_are_compared_when_asked() {
    let source = TempDir::new().expect("a directory");
    for path in ["same", "rotten", "newer"] {
        let path = write(source.path(), path, b"from the backup");
        let file = fs::File::options().write(true).open(path).expect("opens");
        file.set_modified(UNIX_EPOCH).expect("set");
    }
    let backup = back_up(source.path()).await;
    for (overwrite, sameness, kept, repaired) in [
        (Overwrite::IfChanged, Sameness::SizeAndTime, 2, false),
        (Overwrite::IfChanged, Sameness::Content, 2, true),
        (Overwrite::Always, Sameness::SizeAndTime, 0, true),
    ] {
        let target = TempDir::new().expect("a directory");
        for (path, bytes) in [
            ("same", b"from the backup"),
            ("rotten", b"from the bUckup"),
            ("newer", b"from the backup"),
        ] {
            let written = write(target.path(), path, bytes);
            let file = fs::File::options()
                .write(true)
                .open(written)
                .expect("opens");
            let at = UNIX_EPOCH + std::time::Duration::from_secs(u64::from(path == "newer"));
            file.set_modified(at).expect("set");
        }
        let mut request = request(target.path());
        (request.overwrite, request.sameness) = (overwrite, sameness);
        let report = well(&backup, &request).await;
        assert_eq!(report.kept, kept, "{overwrite:?} {sameness:?}");
        assert_eq!(
            seen(target.path())["rotten"].1 == b"from the backup",
            repaired
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_restore_left_is_replaced_by_the_next() {
    let source = TempDir::new().expect("a directory");
    write(source.path(), "file", b"from the backup");
    let backup = back_up(source.path()).await;
    let target = TempDir::new().expect("a directory");
    let name = format!(".ccb-restore-{}", &blake3::hash(b"file").to_hex()[..32]);
    write(target.path(), &name, b"half of a fi");
    well(&backup, &request(target.path())).await;
    assert_eq!(seen(target.path()).keys().collect::<Vec<_>>(), ["", "file"]);
}
