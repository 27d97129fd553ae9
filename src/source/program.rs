//! Runs the client programs of servers: `pg_dump`, `psql`, `redis-cli`. argv only, no shell of the user's;
//! a secret goes by environment, or, to the far side of `via`, by standard input, never by argv. A program
//! that ended badly is an error that says what it printed last; one that is given up is ended.

use crate::model::secret::Secret;
use crate::source::pipe::Inlet;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// So much of what a program prints to standard error is kept, from its end.
const SAID_MAX_BYTES: usize = 16 << 10;
/// Lines of it that an error shows.
const SAID_MAX_LINES: usize = 6;
/// How long a program that is given up may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a program did not do what it was run for.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ProgramError {
    #[error("start `{program}`{}", hint(cause))]
    Start {
        program: String,
        #[source]
        cause: io::Error,
    },
    #[error("`{program}` {}{}", how(status), with(said))]
    Ended {
        program: String,
        status: ExitStatus,
        /// The last lines it printed to standard error.
        said: String,
    },
    #[error("`{program}` was ended: it still ran after {} s", limit.as_secs())]
    TookTooLong { program: String, limit: Duration },
    #[error("`{program}` was ended: nothing came from it for {} s; is the far side still connected?", limit.as_secs())]
    Silent { program: String, limit: Duration },
    #[error("`{program}` printed more than {max_bytes} bytes")]
    TooMuch { program: String, max_bytes: usize },
    #[error("exchange data with `{program}`")]
    Pipe {
        program: String,
        #[source]
        cause: io::Error,
    },
    #[error("the secret for `{0}` has a line break or a NUL in it, which no program can be given")]
    Secret(String),
}

fn hint(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::NotFound => ": it is not installed here, or not on PATH",
        _ => "",
    }
}

fn how(status: &ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended in an unknown way".to_owned(),
    }
}

fn with(said: &str) -> String {
    match said.is_empty() {
        true => " and said nothing".to_owned(),
        false => format!(": {said}"),
    }
}

/// A program and what it is given.
#[derive(Clone)]
pub struct Program {
    name: String,
    via: Vec<String>,
    args: Vec<OsString>,
    env: Vec<(String, OsString)>,
    secrets: Vec<Named>,
}

/// A secret and the environment variable it is.
type Named = (String, Secret);

/// What a program printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Printed {
    /// To standard output.
    pub stdout: Vec<u8>,
    /// The end of what it printed to standard error.
    pub stderr: String,
}

impl Program {
    /// The program of that name, found on PATH, or at that path.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            via: Vec::new(),
            args: Vec::new(),
            env: Vec::new(),
            secrets: Vec::new(),
        }
    }

    /// Runs it on the far side of this argv, such as `docker compose exec -T db`.
    pub fn via(mut self, via: &[String]) -> Self {
        self.via = via.to_vec();
        self
    }

    /// One more argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// More arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        let args = args.into_iter().map(|arg| arg.as_ref().to_owned());
        self.args.extend(args);
        self
    }

    /// An environment variable. No secret: on the far side of `via` it is an argument of `env`.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.to_owned(), value.as_ref().to_owned()));
        self
    }

    /// An environment variable that is a secret.
    pub fn secret_env(mut self, name: &str, value: Secret) -> Self {
        self.secrets.push((name.to_owned(), value));
        self
    }

    /// Runs it to its end, which must be good, and gives what it printed.
    pub fn output(&self, max_bytes: usize, limit: Duration) -> Result<Printed, ProgramError> {
        self.output_of(b"", max_bytes, limit)
    }

    /// Starts it, to be read. The stream ends only when the program ended well. Whoever holds the
    /// [`Killer`] can end it.
    pub fn stream(&self) -> Result<(ProgramStream, Killer), ProgramError> {
        let (stdin, stdout, running) = self.start()?;
        // What it might ask for is not there: it sees the end of its input.
        drop(stdin);
        let killer = running.killer.clone();
        let stream = ProgramStream {
            program: self.name.clone(),
            stdout,
            running: Some(running),
            said: String::new(),
            silence: None,
        };
        Ok((stream, killer))
    }

    /// Starts it, to be written to. What it prints is thrown away.
    pub fn feed(&self) -> Result<Fed, ProgramError> {
        let (stdin, mut stdout, running) = self.start()?;
        let drain = thread::spawn(move || {
            let _ = io::copy(&mut stdout, &mut io::sink());
        });
        Ok(Fed {
            program: self.name.clone(),
            stdin: Some(Inlet::new(stdin)),
            drain: Some(drain),
            running: Some(running),
        })
    }

    /// Runs it with this standard input to its end, which must be good, and gives what it printed.
    pub fn output_of(
        &self,
        input: &[u8],
        max_bytes: usize,
        limit: Duration,
    ) -> Result<Printed, ProgramError> {
        let (mut stdin, stdout, running) = self.start()?;
        let killer = running.killer.clone();
        let _watch = Watch::start(killer.clone(), limit);
        let mut stream = ProgramStream {
            program: self.name.clone(),
            stdout,
            running: Some(running),
            said: String::new(),
            silence: None,
        };
        let mut stdout = Vec::new();
        let read = thread::scope(|scope| {
            // A program that ends before it has read all says why by its exit status.
            scope.spawn(move || stdin.write_all(input));
            (&mut stream)
                .take(max_bytes as u64 + 1)
                .read_to_end(&mut stdout)
        });
        if stdout.len() > max_bytes {
            return Err(ProgramError::TooMuch {
                program: self.name.clone(),
                max_bytes,
            });
        }
        match read {
            Ok(_) => Ok(Printed {
                stdout,
                stderr: stream.said(),
            }),
            Err(_) if killer.was_used() => Err(ProgramError::TookTooLong {
                program: self.name.clone(),
                limit,
            }),
            Err(cause) => Err(self.as_ended(cause)),
        }
    }

    /// The program's own error again, where a read carried one.
    fn as_ended(&self, cause: io::Error) -> ProgramError {
        match cause.downcast::<ProgramError>() {
            Ok(ended) => ended,
            Err(cause) => ProgramError::Pipe {
                program: self.name.clone(),
                cause,
            },
        }
    }

    fn start(&self) -> Result<(ChildStdin, ChildStdout, Running), ProgramError> {
        let (mut command, far_secrets) = self.command()?;
        let spawned = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let failed = |cause| ProgramError::Start {
            program: self.via.first().unwrap_or(&self.name).clone(),
            cause,
        };
        let mut child = spawned.map_err(failed)?;
        let pipes = (
            child.stdin.take(),
            child.stdout.take(),
            child.stderr.take(),
            Killer::of(&child),
        );
        let (Some(mut stdin), Some(stdout), Some(stderr), Ok(killer)) = pipes else {
            let _ = child.kill();
            let _ = child.wait();
            return Err(failed(io::Error::other("the system gave it no pipes")));
        };
        let said = thread::spawn(move || last_of(stderr));
        let running = Running {
            child,
            killer,
            said: Some(said),
        };
        for (_, secret) in far_secrets {
            let line = [secret.expose(), b"\n"].concat();
            let written = stdin.write_all(&line);
            // The line is a secret too.
            drop(Secret::new(line));
            if let Err(cause) = written {
                return Err(match running.end() {
                    (Ok(status), said) if !status.success() => ProgramError::Ended {
                        program: self.name.clone(),
                        status,
                        said,
                    },
                    _ => ProgramError::Pipe {
                        program: self.name.clone(),
                        cause,
                    },
                });
            }
        }
        Ok((stdin, stdout, running))
    }

    /// The command, and the secrets that it reads from standard input, a line each.
    fn command(&self) -> Result<(Command, &[Named]), ProgramError> {
        for (name, secret) in &self.secrets {
            if secret.expose().iter().any(|b| matches!(b, b'\n' | 0)) {
                return Err(ProgramError::Secret(name.clone()));
            }
        }
        let Some((first, others)) = self.via.split_first() else {
            let mut command = Command::new(&self.name);
            command.args(&self.args).envs(self.env.iter().cloned());
            for (name, secret) in &self.secrets {
                command.env(name, OsStr::from_bytes(secret.expose()));
            }
            return Ok((command, &[]));
        };
        let mut command = Command::new(first);
        command.args(others);
        if !self.secrets.is_empty() {
            let reads: String = self
                .secrets
                .iter()
                .map(|(name, _)| format!("IFS= read -r {name}; export {name}; "))
                .collect();
            command.args(["sh", "-c", &format!("{reads}exec \"$@\""), "sh"]);
        }
        if !self.env.is_empty() {
            command.arg("env");
            for (name, value) in &self.env {
                let mut pair = OsString::from(name);
                pair.push("=");
                pair.push(value);
                command.arg(pair);
            }
        }
        command.arg(&self.name).args(&self.args);
        Ok((command, &self.secrets))
    }
}

/// Ends a program. Clones end the same one.
#[derive(Clone)]
pub struct Killer(Arc<KillerInner>);

struct KillerInner {
    pidfd: OwnedFd,
    used: Mutex<bool>,
}

impl Killer {
    fn of(child: &Child) -> io::Result<Self> {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("it has no process id"))?;
        Ok(Self(Arc::new(KillerInner {
            pidfd: pidfd_open(pid, PidfdFlags::empty())?,
            used: Mutex::new(false),
        })))
    }

    /// Asks it to end, and ends it when it has not after some seconds. Does nothing to one that has ended.
    pub fn kill(&self) {
        let mut used = self.0.used.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *used, true) {
            return;
        }
        // A process that is gone can not be signalled, and its number is nobody else's here.
        if pidfd_send_signal(&self.0.pidfd, Signal::TERM).is_ok() {
            let inner = self.0.clone();
            thread::spawn(move || {
                thread::sleep(PATIENCE);
                let _ = pidfd_send_signal(&inner.pidfd, Signal::KILL);
            });
        }
    }

    fn was_used(&self) -> bool {
        *self.0.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something that ends it when dropped.
    pub fn guard(&self) -> Box<dyn Send> {
        struct Guard(Killer);
        impl Drop for Guard {
            fn drop(&mut self) {
                self.0.kill();
            }
        }
        Box::new(Guard(self.clone()))
    }
}

/// Ends a program that takes longer than it may.
struct Watch(Option<(Sender<()>, JoinHandle<()>)>);

impl Watch {
    fn start(killer: Killer, limit: Duration) -> Self {
        let (stop, stopped) = channel();
        let thread = thread::spawn(move || {
            if stopped.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                killer.kill();
            }
        });
        Self(Some((stop, thread)))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.0.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

struct Running {
    child: Child,
    killer: Killer,
    said: Option<JoinHandle<String>>,
}

impl Running {
    /// Waits for its end; what it said last.
    fn end(mut self) -> (io::Result<ExitStatus>, String) {
        let status = self.child.wait();
        let said = self.said.take().and_then(|said| said.join().ok());
        (status, said.unwrap_or_default())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.said.is_some() {
            self.killer.kill();
            let _ = self.child.wait();
        }
    }
}

/// What a program prints, while it prints it.
pub struct ProgramStream {
    program: String,
    stdout: ChildStdout,
    running: Option<Running>,
    said: String,
    /// How long a read waits.
    silence: Option<Duration>,
}

impl ProgramStream {
    /// Ends it when nothing comes for so long while somebody reads: a connection that broke without a word would be
    /// waited for for ever.
    pub fn silent_at_most(mut self, limit: Duration) -> Self {
        self.silence = Some(limit);
        self
    }

    /// Waits until there is something to read, or its end.
    fn wait(&self) -> io::Result<()> {
        let Some(limit) = self.silence else {
            return Ok(());
        };
        let limit_as_spec = Timespec::try_from(limit).map_err(io::Error::other)?;
        let mut ready = [PollFd::new(&self.stdout, PollFlags::IN)];
        if retry_on_intr(|| poll(&mut ready, Some(&limit_as_spec)))? > 0 {
            return Ok(());
        }
        if let Some(running) = &self.running {
            running.killer.kill();
        }
        Err(io::Error::other(ProgramError::Silent {
            program: self.program.clone(),
            limit,
        }))
    }

    /// The end of what it printed to standard error; empty before its own end.
    pub fn said(&self) -> String {
        self.said.clone()
    }
}

impl Read for ProgramStream {
    /// `Ok(0)` only after the program ended well.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.wait()?;
        let len = self.stdout.read(buffer)?;
        if len > 0 || buffer.is_empty() {
            return Ok(len);
        }
        if let Some(running) = self.running.take() {
            let (status, said) = running.end();
            let status = status?;
            if !status.success() {
                return Err(io::Error::other(ProgramError::Ended {
                    program: self.program.clone(),
                    status,
                    said,
                }));
            }
            self.said = said;
        }
        Ok(0)
    }
}

/// A program that is being written to.
pub struct Fed {
    program: String,
    stdin: Option<Inlet>,
    drain: Option<JoinHandle<()>>,
    running: Option<Running>,
}

impl Fed {
    /// Ends its input, waits for its end, which must be good, and gives what it said.
    pub fn finish(mut self) -> Result<String, ProgramError> {
        drop(self.stdin.take());
        if let Some(drain) = self.drain.take() {
            let _ = drain.join();
        }
        let Some(running) = self.running.take() else {
            return Ok(String::new());
        };
        let (status, said) = running.end();
        match status {
            Ok(status) if status.success() => Ok(said),
            Ok(status) => Err(ProgramError::Ended {
                program: self.program.clone(),
                status,
                said,
            }),
            Err(cause) => Err(ProgramError::Pipe {
                program: self.program.clone(),
                cause,
            }),
        }
    }

    /// Who can end it.
    pub fn killer(&self) -> Option<Killer> {
        self.running.as_ref().map(|running| running.killer.clone())
    }
}

impl Write for Fed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.stdin {
            Some(stdin) => stdin.write(bytes),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        self.stdin.as_mut().map_or(Ok(()), Write::flush)
    }
}

/// The last lines that come from `from`, read to its end.
fn last_of(mut from: impl Read) -> String {
    let mut kept: VecDeque<u8> = VecDeque::new();
    let mut buffer = [0; 4096];
    while let Ok(len) = from.read(&mut buffer) {
        if len == 0 {
            break;
        }
        kept.extend(&buffer[..len]);
        let too_many = kept.len().saturating_sub(SAID_MAX_BYTES);
        kept.drain(..too_many);
    }
    let bytes: Vec<u8> = kept.into();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim_end)
        .filter(|l| !l.is_empty())
        .collect();
    let from = lines.len().saturating_sub(SAID_MAX_LINES);
    lines[from..].join("; ")
}
