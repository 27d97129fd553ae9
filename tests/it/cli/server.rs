//! A server over SSH as a destination: what a person does with a local directory works there too.

use crate::cli::{given, outcome, under};
use crate::support::on_drop::OnDrop;
use crate::support::ssh::Server;
use std::fs;
use std::path::Path;

/// A folder whose plan file keeps its first copy on the server, in the folder `kept` of this machine, and its
/// second beside.
fn on_server(server: &Server) -> tempfile::TempDir {
    let folder = given();
    let plan = folder.path().join("plan.kdl");
    let text = fs::read_to_string(&plan).expect("read");
    let url = format!("sftp \"{}\"", server.url(&folder.path().join("kept")));
    let text = text.replace("local \"repository\"", &url);
    fs::write(&plan, text).expect("written");
    folder
}

fn run(server: &Server, at: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    outcome(under(&[], at, arguments).env("CCB_SSH", server.ssh()))
}

fn expect(server: &Server, at: &Path, code: i32, arguments: &[&str]) -> String {
    let (ended, said) = run(server, at, arguments);
    assert_eq!(ended, Some(code), "ccb {arguments:?}\n{said}");
    said
}

const APPLY: &[&str] = &["apply", "plan.kdl", "--auto-approve"];

#[test]
fn what_goes_to_a_server_is_listed_checked_pruned_and_comes_back() {
    let server = Server::start();
    let folder = on_server(&server);
    let at = folder.path();
    let applied = expect(&server, at, 0, APPLY);
    assert!(applied.contains("1 backed up, 1 copied"), "{applied}");
    let again = expect(&server, at, 0, APPLY);
    assert!(again.contains("No changes."), "{again}");
    // A second backup is packed anew, so that the first one's packs can go.
    fs::write(at.join("data/readme.txt"), "hello again\n").expect("written");
    expect(&server, at, 0, &["backup", "plan.kdl", "data"]);
    let listed = expect(&server, at, 0, &["list", "plan.kdl"]);
    assert!(listed.contains("primary"), "{listed}");
    // The second copy is not asked.
    fs::rename(at.join("second"), at.join("away")).expect("renamed");
    let to = [
        "restore", "plan.kdl", "data", "--from", "primary", "--to", "restored",
    ];
    expect(&server, at, 0, &to);
    let same = |path: &str| fs::read(at.join("restored").join(path)).expect("restored");
    assert_eq!(same("readme.txt"), b"hello again\n");
    assert_eq!(same("deep/er/file.bin"), [7; 300_000]);
    fs::rename(at.join("away"), at.join("second")).expect("renamed");
    let checked = expect(&server, at, 0, &["check", "plan.kdl", "--level", "3"]);
    assert!(checked.contains("No damage found."), "{checked}");
}

#[test]
fn a_server_that_refuses_or_is_away_is_named_with_what_ssh_said() {
    let server = Server::start();
    let folder = on_server(&server);
    let at = folder.path();
    let with = |ssh: &Path, arguments| outcome(under(&[], at, arguments).env("CCB_SSH", ssh));
    let (code, said) = with(&server.ssh_with_other_key(), APPLY);
    assert_eq!(code, Some(10), "{said}");
    assert!(said.contains("Permission denied"), "{said}");
    let (code, said) = with(&server.ssh_that_knows_nobody(), APPLY);
    assert_eq!(code, Some(10), "{said}");
    assert!(said.contains("connect once by hand"), "{said}");
    assert!(!at.join("kept").exists(), "nothing was made there");
    // Once there are backups, the second copy serves while the server is away.
    expect(&server, at, 0, APPLY);
    let to = ["restore", "plan.kdl", "data", "--to", "restored"];
    let (code, said) = with(&server.ssh_with_other_key(), &to);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(
        fs::read(at.join("restored/readme.txt")).expect("restored"),
        b"hello\n"
    );
}

#[test]
fn a_server_that_fails_in_the_middle_is_no_loss() {
    let server = Server::start();
    let folder = on_server(&server);
    let at = folder.path();
    expect(&server, at, 0, APPLY);
    let noise: Vec<u8> = (0..6_000_000_u32)
        .flat_map(|n| (n.wrapping_mul(2_654_435_761)).to_le_bytes())
        .collect();
    fs::write(at.join("data/noise.bin"), &noise).expect("written");
    let done = std::sync::atomic::AtomicBool::new(false);
    let (code, said) = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                std::thread::sleep(std::time::Duration::from_millis(150));
                server.kill_all();
            }
        });
        let _end = OnDrop(|| done.store(true, std::sync::atomic::Ordering::Relaxed));
        run(&server, at, &["backup", "plan.kdl", "data"])
    });
    // Whether it came through between two failures is chance; what it says of it is not.
    if code == Some(0) {
        assert!(said.contains("done"), "{said}");
    }
    expect(&server, at, 0, &["backup", "plan.kdl", "data"]);
    let to = [
        "restore", "plan.kdl", "data", "--from", "primary", "--to", "restored",
    ];
    expect(&server, at, 0, &to);
    assert!(fs::read(at.join("restored/noise.bin")).expect("restored") == noise);
    let checked = expect(&server, at, 0, &["check", "plan.kdl", "--level", "3"]);
    assert!(checked.contains("No damage found."), "{checked}");
}
