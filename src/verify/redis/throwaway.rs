//! A Redis server of one's own on restored files: on a unix socket in a private directory, reachable by
//! nobody else. It changes nothing of what it loads: it saves nothing, repairs nothing and drops no key,
//! expired or not, because it believes to be a replica (of a master at port 0, which does not exist).

use crate::source::program::{Program, ProgramError};
use crate::source::redis::{Server, Target};
use crate::verify::keeper::kept;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread;
use std::time::Duration;

/// The program, found on PATH.
pub(crate) const PROGRAM: &str = "redis-server";
/// How long it may take to print its version.
const VERSION_LIMIT: Duration = Duration::from_secs(20);
const VERSION_LEN_MAX_BYTES: usize = 64 << 10;
/// How often it is asked whether it has loaded: first after this time, later after this part of what it has
/// taken so far.
const ASK_AFTER: Duration = Duration::from_millis(10);
const ASK_EVERY_MAX: Duration = Duration::from_millis(500);
const ASK_AFTER_PART: u32 = 8;
const LOG: &str = "server.log";
const SOCKET: &str = "s";
/// The last lines of the log that an error shows.
const LOG_LINES: usize = 3;
const LOG_LEN_MAX_BYTES: u64 = 64 << 10;

/// Why there is no such server.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub(crate) enum ThrowawayError {
    #[error("run `{PROGRAM} --version`; a restore test needs Redis on this machine")]
    Version(#[source] ProgramError),
    #[error(
        "`{PROGRAM}` here is {here}, and the backup is from {backup}: an older Redis does not load it; install Redis {backup} or newer"
    )]
    TooOld { here: String, backup: String },
    #[error("start `{PROGRAM}`")]
    Start(#[source] io::Error),
    #[error("`{PROGRAM}` did not start on the restored files: {said}")]
    Ended { said: String },
    #[error("`{PROGRAM}` had not loaded the restored files after {} s: {said}", limit.as_secs())]
    TooSlow { limit: Duration, said: String },
}

/// How it is started.
pub(crate) struct Settings<'a> {
    /// Where the files are; the server's directory.
    pub(crate) directory: &'a Path,
    /// The version of the server that the backup is from.
    pub(crate) version: &'a str,
    /// Whether it loads append-only files rather than a snapshot.
    pub(crate) appendonly: bool,
    /// Further settings, such as names of files.
    pub(crate) more: Vec<(String, String)>,
    /// How long it may load.
    pub(crate) limit: Duration,
}

/// A running server. Ended when dropped.
pub(crate) struct Throwaway {
    /// The shell that keeps it.
    child: Child,
    target: Target,
    log: PathBuf,
    /// Its version.
    pub(crate) version: String,
}

impl Throwaway {
    /// Starts one, waits until it has loaded everything, and gives a connection to it.
    pub(crate) fn start(settings: &Settings<'_>) -> Result<(Self, Server), ThrowawayError> {
        let version = version()?;
        // The third number changes nothing about the files.
        let format = |version: &str| numbers(version)[..2].to_vec();
        if format(&version) < format(settings.version) {
            return Err(ThrowawayError::TooOld {
                here: version,
                backup: settings.version.to_owned(),
            });
        }
        let mut throwaway = Self {
            child: spawn(settings, &version).map_err(ThrowawayError::Start)?,
            target: Target::socket(&settings.directory.join(SOCKET)),
            log: settings.directory.join(LOG),
            version,
        };
        let server = throwaway.wait(settings.limit)?;
        Ok((throwaway, server))
    }

    fn wait(&mut self, limit: Duration) -> Result<Server, ThrowawayError> {
        let mut waited = Duration::ZERO;
        let mut next = ASK_AFTER;
        loop {
            if self
                .child
                .try_wait()
                .map_err(ThrowawayError::Start)?
                .is_some()
            {
                let said = self.said();
                return Err(ThrowawayError::Ended { said });
            }
            // There is no socket before it listens, and it may end while it is asked.
            if let Ok(mut server) = self.target.connect()
                && server.info().is_ok_and(|info| !info.is_set("loading"))
            {
                return Ok(server);
            }
            if waited >= limit {
                let said = self.said();
                return Err(ThrowawayError::TooSlow { limit, said });
            }
            thread::sleep(next);
            waited += next;
            next = (waited / ASK_AFTER_PART).clamp(ASK_AFTER, ASK_EVERY_MAX);
        }
    }

    /// The end of what it wrote to its log, without times and process ids.
    fn said(&self) -> String {
        let read = || {
            let mut log = File::open(&self.log)?;
            let len = log.metadata()?.len();
            log.seek(SeekFrom::Start(len.saturating_sub(LOG_LEN_MAX_BYTES)))?;
            let mut bytes = Vec::new();
            log.read_to_end(&mut bytes)?;
            Ok::<_, io::Error>(String::from_utf8_lossy(&bytes).into_owned())
        };
        let text = read().unwrap_or_default();
        let said = text.lines().filter_map(|line| {
            // `* ` and `. ` are ordinary messages, `# ` are warnings: the reason is among them.
            let (_, words) = line.split_once(" # ")?;
            (!words.is_empty()).then_some(words)
        });
        let said: Vec<&str> = said.collect();
        said[said.len().saturating_sub(LOG_LINES)..].join("; ")
    }
}

impl Drop for Throwaway {
    fn drop(&mut self) {
        // Its input ends with this.
        let _ = self.child.wait();
    }
}

fn spawn(settings: &Settings<'_>, version: &str) -> io::Result<Child> {
    let log = File::create(settings.directory.join(LOG))?;
    // It has nothing to save.
    let mut command = kept("KILL", PROGRAM);
    let mut set = |name: &str, values: &[&str]| {
        command.arg(format!("--{name}")).args(values);
    };
    set("port", &["0"]);
    set("save", &[""]);
    set("daemonize", &["no"]);
    set("protected-mode", &["yes"]);
    set(
        "unixsocket",
        &[&settings.directory.join(SOCKET).to_string_lossy()],
    );
    set("unixsocketperm", &["700"]);
    set("dir", &[&settings.directory.to_string_lossy()]);
    set(
        "appendonly",
        &[if settings.appendonly { "yes" } else { "no" }],
    );
    set("aof-load-truncated", &["no"]);
    set("auto-aof-rewrite-percentage", &["0"]);
    set("maxmemory", &["0"]);
    set("replicaof", &["127.0.0.1", "0"]);
    if numbers(version) >= [7, 0, 0] {
        set("enable-debug-command", &["local"]);
    }
    for (name, value) in &settings.more {
        set(name, &[value]);
    }
    command.stdout(log.try_clone()?).stderr(log).spawn()
}

fn version() -> Result<String, ThrowawayError> {
    let printed = Program::new(PROGRAM)
        .arg("--version")
        .output(VERSION_LEN_MAX_BYTES, VERSION_LIMIT);
    let printed = printed.map_err(ThrowawayError::Version)?;
    let text = String::from_utf8_lossy(&printed.stdout);
    let version = text
        .split_whitespace()
        .find_map(|word| word.strip_prefix("v="));
    Ok(version.unwrap_or_default().to_owned())
}

/// The numbers of a version: `7.0.15`.
fn numbers(version: &str) -> [u32; 3] {
    let mut numbers = [0; 3];
    for (number, text) in numbers.iter_mut().zip(version.split('.')) {
        *number = text.parse().unwrap_or(0);
    }
    numbers
}
