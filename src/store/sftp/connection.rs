//! A connection to a server over SSH: the user's `ssh` as a child, and the SFTP protocol over its pipes. Says
//! what `ssh` said when it ends; never answers a question of it.

use crate::store::Kind;
use crate::store::sftp::url::Address;
use openssh_sftp_client::error::SftpErrorKind;
use openssh_sftp_client::fs::Statvfs;
use openssh_sftp_client::{Error, Sftp, SftpOptions};
use std::error;
use std::ffi::OsString;
use std::future::Future;
use std::io;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A request that is not answered for so long never will be.
const STUCK: Duration = Duration::from_secs(300);
/// How long `ssh` may take to say why it ended.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// So much of what `ssh` says is kept.
const SAID_MAX_BYTES: u64 = 16 << 10;
/// In `Statvfs::flag`: the file system takes no writes.
const IS_READ_ONLY: u64 = 1;
/// What `ssh` and the server say when waiting does not help.
const REFUSALS: [&str; 8] = [
    "Permission denied",
    "Host key verification failed",
    "Too many authentication failures",
    "subsystem request failed",
    "Bad configuration option",
    "Bad owner or permissions",
    "no matching",
    "UNPROTECTED PRIVATE KEY",
];

/// How a server is reached.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where.
    pub address: Address,
    /// The `ssh` to run: a name on PATH, or a path.
    pub program: OsString,
}

/// What went wrong with a call, before it is known which call it was.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: Kind,
    pub(super) cause: Option<io::Error>,
}

impl Failure {
    pub(super) fn new(kind: Kind, cause: impl Into<Box<dyn error::Error + Send + Sync>>) -> Self {
        let cause = Some(io::Error::other(cause));
        Self { kind, cause }
    }

    /// The protocol has one word for all that a disk can refuse; what is left on it tells which it was.
    pub(super) fn explained_by(mut self, room: &Option<Statvfs>, len_bytes: usize) -> Self {
        let Some(room) = room else { return self };
        let free_bytes = room.bavail.saturating_mul(room.frsize);
        let has_inodes = room.favail > 0 || room.files == 0;
        if room.flag & IS_READ_ONLY != 0 {
            self.kind = Kind::ReadOnly;
        } else if !has_inodes || free_bytes <= len_bytes as u64 + room.frsize {
            self.kind = Kind::Full;
        }
        self
    }
}

impl From<Kind> for Failure {
    fn from(kind: Kind) -> Self {
        Self { kind, cause: None }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::SftpError(SftpErrorKind::NoSuchFile, _) => Kind::NotFound,
            Error::SftpError(SftpErrorKind::PermDenied, _) => Kind::Denied,
            Error::SftpError(..) => Kind::Other,
            _ => Kind::Unreachable,
        };
        Self::new(kind, error)
    }
}

/// The answer to a request, which comes in reasonable time or never.
pub(super) async fn answered<T>(
    request: impl Future<Output = Result<T, Error>>,
) -> Result<T, Failure> {
    match timeout(STUCK, request).await {
        Ok(answer) => Ok(answer?),
        Err(_) => {
            let words = format!("no answer in {} s", STUCK.as_secs());
            Err(Failure::new(Kind::Unreachable, words))
        }
    }
}

/// A server that answers. Ends its `ssh` when it is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) sftp: Sftp,
    _ssh: Child,
}

impl Connection {
    /// Connects, and makes sure that the server can make what it stores durable.
    pub(super) async fn open(settings: &Settings) -> Result<Self, Failure> {
        let mut ssh = start(settings)?;
        let said = said_by(ssh.stderr.take());
        let piped = || Failure::new(Kind::Other, "`ssh` has no pipes");
        let stdin = ssh.stdin.take().ok_or_else(piped)?;
        let stdout = ssh.stdout.take().ok_or_else(piped)?;
        let options = SftpOptions::new().flush_interval(Duration::ZERO);
        let sftp = match answered(Sftp::new(stdin, stdout, options)).await {
            Ok(sftp) => sftp,
            Err(failure) => return Err(ended(settings, ssh, said, failure).await),
        };
        for (has, extension) in [
            (sftp.support_fsync(), "fsync@openssh.com"),
            (sftp.support_hardlink(), "hardlink@openssh.com"),
            (sftp.support_posix_rename(), "posix-rename@openssh.com"),
        ] {
            if !has {
                let words = format!(
                    "its SFTP server has no {extension}, without which nothing can be stored there safely; use the one of OpenSSH"
                );
                return Err(Failure::new(Kind::Other, words));
            }
        }
        Ok(Self { sftp, _ssh: ssh })
    }
}

fn start(settings: &Settings) -> Result<Child, Failure> {
    let address = &settings.address;
    let mut ssh = Command::new(&settings.program);
    for option in [
        // Nobody is there to be asked.
        "BatchMode=yes",
        "ConnectTimeout=30",
        // A server that is gone is noticed after a minute.
        "ServerAliveInterval=15",
        "ServerAliveCountMax=4",
        "ClearAllForwardings=yes",
        "ForwardAgent=no",
        "ForwardX11=no",
    ] {
        ssh.args(["-o", option]);
    }
    if let Some(port) = address.port {
        ssh.args(["-p", &port.to_string()]);
    }
    if let Some(user) = &address.user {
        ssh.args(["-l", user]);
    }
    ssh.args(["-s", "--", &address.host, "sftp"]);
    ssh.stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        // Ctrl-C is for ccb, which ends what it does in order; a connection that is gone helps nobody.
        .process_group(0);
    ssh.spawn().map_err(|cause| {
        let program = settings.program.display();
        let words = match cause.kind() {
            io::ErrorKind::NotFound => {
                format!("start `{program}`: it is not installed here, or not on PATH")
            }
            _ => format!("start `{program}`: {cause}"),
        };
        Failure::new(Kind::Other, words)
    })
}

/// Collects what `ssh` prints to standard error, up to a bound; the rest is read and thrown away.
fn said_by(stderr: Option<ChildStderr>) -> JoinHandle<String> {
    tokio::spawn(async move {
        let mut said = Vec::new();
        if let Some(stderr) = stderr {
            let mut start = stderr.take(SAID_MAX_BYTES);
            let _ = start.read_to_end(&mut said).await;
            let mut rest = start.into_inner();
            let _ = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await;
        }
        String::from_utf8_lossy(&said).into_owned()
    })
}

/// Why there is no connection, as `ssh` puts it.
async fn ended(
    settings: &Settings,
    mut ssh: Child,
    said: JoinHandle<String>,
    failure: Failure,
) -> Failure {
    if timeout(LAST_WORDS, ssh.wait()).await.is_err() {
        return failure;
    }
    let said = timeout(LAST_WORDS, said).await;
    let said = said.ok().and_then(Result::ok).unwrap_or_default();
    let lines: Vec<&str> = said
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let said = lines.join("; ");
    if said.is_empty() {
        return failure;
    }
    let is_refused = REFUSALS.iter().any(|refusal| said.contains(refusal));
    let way_out = match is_refused {
        true if said.contains("Host key") => {
            format!(
                "; compare the key with that of the server, then connect once by hand: ssh {}",
                settings.address.host
            )
        }
        true => format!(
            "; it must let you in without a question: ssh -o BatchMode=yes {}",
            settings.address.host
        ),
        false => String::new(),
    };
    let kind = match is_refused {
        true => Kind::Denied,
        false => Kind::Unreachable,
    };
    Failure::new(kind, format!("ssh: {said}{way_out}"))
}
