//! A `ccb` that runs beside the test, and is stopped with it.

use crate::cli::under;
use crate::support::restored::wait_for;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

/// A run that waits in a hook of its component until it may go on.
pub(crate) struct Started {
    child: Option<Child>,
    go: PathBuf,
}

/// How a run ended, and what it said on both streams.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) said: String,
}

/// The plan file of `folder` with a hook that waits.
pub(crate) fn with_waiting_hook(folder: &Path) {
    let plan = fs::read_to_string(folder.join("plan.kdl")).expect("read");
    // It also ends when the test forgets it: nothing of a test outlives it for long.
    let hook = r#"    store "primary" "second"
    hook "before" { run "sh" "-c" "touch waiting; n=0; while [ ! -e go ] && [ $n -lt 1200 ]; do sleep 0.05; n=$((n+1)); done" }
"#;
    let plan = plan.replace("    store \"primary\" \"second\"\n", hook);
    fs::write(folder.join("plan.kdl"), plan).expect("written");
}

impl Started {
    /// Starts `ccb`, and returns when it waits in its hook.
    pub(crate) fn waiting(folder: &Path, arguments: &[&str]) -> Self {
        let _ = fs::remove_file(folder.join("waiting"));
        let _ = fs::remove_file(folder.join("go"));
        let mut command = under(&[], folder, arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        // From here on it ends with the test.
        let mut started = Self {
            child: Some(command.spawn().expect("ccb can be started")),
            go: folder.join("go"),
        };
        wait_for(|| {
            let is_waiting = folder.join("waiting").exists();
            let child = started.child.as_mut().expect("it was not awaited");
            let ended = child.try_wait().expect("it can be asked");
            assert!(
                is_waiting || ended.is_none(),
                "it ended before its hook: {ended:?}"
            );
            is_waiting
        });
        started
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("it was not awaited").id()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.pid()).expect("a process number");
        let pid = rustix::process::Pid::from_raw(pid).expect("not zero");
        rustix::process::kill_process(pid, signal).expect("it can be signalled");
    }

    /// Lets the hook end.
    pub(crate) fn go(&self) {
        fs::write(&self.go, "").expect("written");
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        let mut child = self.child.take().expect("it is awaited once");
        let mut said = String::new();
        for stream in [
            child.stdout.take().map(|s| Box::new(s) as Box<dyn Read>),
            child.stderr.take().map(|s| Box::new(s) as Box<dyn Read>),
        ]
        .into_iter()
        .flatten()
        {
            let mut stream = stream;
            stream.read_to_string(&mut said).expect("it is text");
        }
        let code = child.wait().expect("it can be awaited").code();
        Ended { code, said }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.go();
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
