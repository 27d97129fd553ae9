//! Programs that a test waits for, but not for ever: one that hangs fails its test.

use rustix::io::retry_on_intr;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// Longer than the slowest machine takes.
const PATIENCE: Duration = Duration::from_secs(600);

/// Runs a program in a process group of its own, and waits for its end. One that does not end is killed with its
/// group, and the test fails.
pub(crate) fn output(command: &mut Command) -> Output {
    let mut child = command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it can be started");
    let group = Pid::from_child(&child);
    let (ended, told) = channel::<()>();
    let watcher = thread::spawn(move || {
        let hangs = told.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout);
        if hangs {
            let _ = kill_process_group(group, Signal::KILL);
        }
        hangs
    });
    // Beside one another, so that the program never waits for a reader.
    let stderr = child.stderr.take().expect("it is a pipe");
    let stderr = thread::spawn(move || all_of(stderr));
    let stdout = all_of(child.stdout.take().expect("it is a pipe")).expect("it can be read");
    let stderr = stderr.join().expect("it ran").expect("it can be read");
    // Its number stays its own until it is reaped: the watcher ends before.
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    retry_on_intr(|| waitid(WaitId::Pid(group), options)).expect("it is our child");
    drop(ended);
    let hangs = watcher.join().expect("it ran");
    let status = child.wait().expect("it is our child");
    assert!(
        !hangs,
        "still ran after {PATIENCE:?}, and was killed: {command:?}\n{}{}",
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr)
    );
    Output {
        status,
        stdout,
        stderr,
    }
}

fn all_of(mut stream: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    Ok(bytes)
}
