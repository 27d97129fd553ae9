//! A PostgreSQL server of one's own, for a restore test: made by `initdb` in a temporary directory, reached by
//! a unix socket in it and by nobody else, run by an unprivileged user, and gone with everything in it when it
//! is dropped. Never durable, never fast to recover: nothing in it is worth keeping.
//!
//! A shell stands between the server and ccb and holds a pipe to it: when ccb ends, in whatever way, the pipe
//! is closed and the shell ends the server.

use crate::source::postgres::connection::Connection;
use crate::source::postgres::programs;
use crate::verify::keeper::kept;
use crate::verify::postgres::user::{User, unprivileged};
use crate::verify::temporary::TemporaryDirectory;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, chown, lchown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// Who owns everything in it.
pub const SUPERUSER: &str = "postgres";
/// How long a server may take to answer.
const START_LIMIT: Duration = Duration::from_secs(120);
/// How long it may take to recover: some segments, and the checkpoint at their end.
const RECOVERY_LIMIT: Duration = Duration::from_secs(3600);
/// Longest path of a socket that systems take.
const SOCKET_PATH_MAX: usize = 100;
/// Fast, and not durable at all; reached by the socket only. Nothing is written that nobody will read:
/// no WAL for standbys, no archive.
const SETTINGS: &str = "\
listen_addresses = ''
fsync = off
synchronous_commit = off
full_page_writes = off
wal_level = minimal
max_wal_senders = 0
archive_mode = off
autovacuum = off
max_wal_size = 8GB
checkpoint_timeout = 1h
shared_buffers = 128MB
maintenance_work_mem = 256MB
shared_preload_libraries = ''
log_statement = none
";

/// For the files of another server: no sessions while it recovers, and room for all that it had prepared.
const SETTINGS_OF_FILES: &str = "\
hot_standby = off
max_prepared_transactions = 1000
";

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ServerError {
    #[error(
        "PostgreSQL's server is not installed here, in version {0} or newer: a restore test needs `initdb` and `postgres`"
    )]
    NotInstalled(u32),
    #[error(
        "PostgreSQL {0} is not installed here: a restore test of a base backup needs the server of that very version"
    )]
    NotThatVersion(u32),
    #[error(
        "ccb runs as root, and there is no user `postgres` or `nobody` to run a test server as"
    )]
    NoUser,
    #[error(
        "ccb runs as root, its test server as the user {user}, who can not get to `{}`: set TMPDIR to a folder that everybody can", path.display()
    )]
    OutOfReach { user: &'static str, path: PathBuf },
    #[error("`{}` is too long for a socket: set TMPDIR to a shorter path", .0.display())]
    PathTooLong(PathBuf),
    #[error("{doing}")]
    Io {
        doing: &'static str,
        #[source]
        cause: io::Error,
    },
    #[error("`{program}` failed: {said}")]
    Failed { program: &'static str, said: String },
    #[error("the test server did not answer within {} s: {said}", limit.as_secs())]
    Silent { limit: Duration, said: String },
}

/// How the server is made.
pub struct Make<'a> {
    /// Lowest version that can read the dump.
    pub major: u32,
    /// Encoding and locale as at the source, where this machine has them.
    pub encoding: &'a str,
    /// LC_COLLATE and LC_CTYPE.
    pub locale: (&'a str, &'a str),
}

/// A running server.
pub struct Server {
    // Dropped in this order: the server writes into the directory until it has ended.
    running: Running,
    directory: TemporaryDirectory,
    bin: PathBuf,
    superuser: String,
}

struct Running {
    shell: Child,
    stdin: Option<ChildStdin>,
}

impl Server {
    /// Makes a server in `directory` and starts it.
    pub fn start(directory: TemporaryDirectory, make: &Make<'_>) -> Result<Self, ServerError> {
        let installed = programs::installed("initdb");
        let fits = installed
            .into_iter()
            .find(|(major, _)| *major >= make.major);
        let (_, bin) = fits.ok_or(ServerError::NotInstalled(make.major))?;
        let folder = directory.path();
        let user = make_ready(folder)?;
        let user = user.as_ref();
        let data = folder.join("data");
        initdb(&bin, &data, make, user)?;
        let settings = format!(
            "{SETTINGS}unix_socket_directories = '{}'\n",
            folder.display()
        );
        let appended = File::options()
            .append(true)
            .open(data.join("postgresql.conf"))
            .and_then(|mut file| file.write_all(settings.as_bytes()));
        appended.map_err(io_error("write the test server's settings"))?;
        let running = Running::spawn(&bin, folder, &[], user)?;
        let mut server = Self {
            running,
            directory,
            bin,
            superuser: SUPERUSER.to_owned(),
        };
        server.wait(START_LIMIT)?;
        Ok(server)
    }

    /// Starts a server on `data` in `directory`, which was another server's. Of that one's settings only those count
    /// that say how it recovers; it is waited for until it has.
    pub fn of_files(
        directory: TemporaryDirectory,
        major: u32,
        superuser: String,
    ) -> Result<Self, ServerError> {
        let mut installed = programs::installed("postgres").into_iter();
        let bin = installed.find(|(found, _)| *found == major);
        let (_, bin) = bin.ok_or(ServerError::NotThatVersion(major))?;
        let folder = directory.path();
        let user = make_ready(folder)?;
        let user = user.as_ref();
        if let Some(user) = user {
            give_all(&folder.join("data"), user)?;
        }
        let at = folder.display();
        let settings = format!(
            "{SETTINGS}{SETTINGS_OF_FILES}unix_socket_directories = '{at}'\nhba_file = '{at}/hba'\nident_file = '{at}/ident'\n"
        );
        let files = [
            ("settings", settings.as_str()),
            ("hba", "local all all trust\n"),
            ("ident", ""),
        ];
        for (name, text) in files {
            let written = fs::write(folder.join(name), text);
            written.map_err(io_error("write the test server's settings"))?;
        }
        let own = format!("config_file={at}/settings");
        let running = Running::spawn(&bin, folder, &["-c", &own], user)?;
        let mut server = Self {
            running,
            directory,
            bin,
            superuser,
        };
        server.wait(RECOVERY_LIMIT)?;
        Ok(server)
    }

    /// How its databases are reached.
    pub fn connection(&self, database: &str) -> Connection {
        let folder = self.directory.path().to_string_lossy();
        Connection::local(&folder, &self.superuser, database)
            .with_programs_of(Some(self.bin.clone()))
    }

    /// A place for files beside its data.
    pub fn folder(&self) -> &Path {
        self.directory.path()
    }

    /// What it said last.
    pub fn said(&self) -> String {
        last_lines(self.directory.path())
    }

    fn wait(&mut self, limit: Duration) -> Result<(), ServerError> {
        let started = Instant::now();
        let pid = self.directory.path().join("data/postmaster.pid");
        loop {
            let text = fs::read_to_string(&pid).unwrap_or_default();
            // Its eighth line says what it is doing.
            if text
                .lines()
                .nth(7)
                .is_some_and(|state| state.trim() == "ready")
            {
                return Ok(());
            }
            let ended = self.running.shell.try_wait();
            if ended
                .map_err(io_error("wait for the test server"))?
                .is_some()
            {
                return Err(ServerError::Failed {
                    program: "postgres",
                    said: self.said(),
                });
            }
            if started.elapsed() > limit {
                let said = self.said();
                return Err(ServerError::Silent { limit, said });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it and removes what it wrote.
    pub fn remove(self) -> io::Result<()> {
        let Self {
            running, directory, ..
        } = self;
        drop(running);
        directory.remove()
    }
}

impl Running {
    fn spawn(
        bin: &Path,
        folder: &Path,
        arguments: &[&str],
        user: Option<&User>,
    ) -> Result<Self, ServerError> {
        let log =
            File::create(folder.join("log")).map_err(io_error("write the test server's log"))?;
        let copy = log
            .try_clone()
            .map_err(io_error("write the test server's log"))?;
        let mut command = kept("QUIT", bin.join("postgres"));
        command
            .arg("-D")
            .arg(folder.join("data"))
            .args(arguments)
            .current_dir(folder)
            .stdout(log)
            .stderr(copy);
        clean(&mut command, user);
        let mut shell = command.spawn().map_err(io_error("start the test server"))?;
        let stdin = shell.stdin.take();
        Ok(Self { shell, stdin })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stdin = None;
        let _ = self.shell.wait();
    }
}

fn initdb(
    bin: &Path,
    data: &Path,
    make: &Make<'_>,
    user: Option<&User>,
) -> Result<(), ServerError> {
    let run = |locale: &[String]| {
        let mut command = Command::new(bin.join("initdb"));
        command
            .args(["-N", "-A", "trust", "-U", SUPERUSER, "-E", make.encoding])
            .args(locale)
            .arg("-D")
            .arg(data)
            .current_dir(data.parent().unwrap_or(Path::new("/")))
            .stdin(Stdio::null());
        clean(&mut command, user);
        command.output().map_err(io_error("start `initdb`"))
    };
    let (collate, ctype) = make.locale;
    let as_source = [
        format!("--lc-collate={collate}"),
        format!("--lc-ctype={ctype}"),
    ];
    let as_source = [&as_source[..], &["--locale=C".to_owned()]].concat();
    let mut made = run(&as_source)?;
    if !made.status.success() {
        // A locale of the source that this machine does not have: rows and constraints are the same without.
        made = run(&["--locale=C".to_owned()])?;
    }
    match made.status.success() {
        true => Ok(()),
        false => Err(ServerError::Failed {
            program: "initdb",
            said: String::from_utf8_lossy(&made.stderr)
                .trim()
                .replace('\n', "; "),
        }),
    }
}

/// As `user`, and without settings of another server in the environment.
fn clean(command: &mut Command, user: Option<&User>) {
    for name in [
        "PGDATA",
        "PGHOST",
        "PGPORT",
        "PGUSER",
        "PGDATABASE",
        "PGSERVICE",
        "PGOPTIONS",
        "PGPASSWORD",
    ] {
        command.env_remove(name);
    }
    if let Some(user) = user {
        // Also takes root's other groups away.
        command.uid(user.uid).gid(user.gid);
    }
}

/// Whom the server runs as, when that is not who runs ccb.
fn user() -> Result<Option<User>, ServerError> {
    match rustix::process::geteuid().is_root() {
        true => unprivileged().map(Some).ok_or(ServerError::NoUser),
        false => Ok(None),
    }
}

/// Makes sure that the server can work in `folder`; gives back whom it runs as.
fn make_ready(folder: &Path) -> Result<Option<User>, ServerError> {
    if folder.as_os_str().len() > SOCKET_PATH_MAX - ".s.PGSQL.5432".len() {
        return Err(ServerError::PathTooLong(folder.to_path_buf()));
    }
    let user = user()?;
    if let Some(user) = &user {
        give(folder, user)?;
    }
    Ok(user)
}

/// Gives everything in `data` to the server's user.
fn give_all(data: &Path, user: &User) -> Result<(), ServerError> {
    let give = |path: &Path| lchown(path, Some(user.uid), Some(user.gid));
    let mut folders = vec![data.to_path_buf()];
    let mut given = give(data);
    while let (Some(folder), true) = (folders.pop(), given.is_ok()) {
        given = fs::read_dir(&folder).and_then(|entries| {
            for entry in entries {
                let entry = entry?;
                give(&entry.path())?;
                if entry.file_type()?.is_dir() {
                    folders.push(entry.path());
                }
            }
            Ok(())
        });
    }
    given.map_err(io_error(
        "give the restored files to the test server's user",
    ))
}

/// Gives the directory to the server's user, who must be able to get to it.
fn give(folder: &Path, user: &User) -> Result<(), ServerError> {
    for above in folder.ancestors().skip(1) {
        let found = fs::metadata(above).map_err(io_error("look at the temporary directory"))?;
        let goes_through = match () {
            () if found.uid() == user.uid => 0o100,
            () if found.gid() == user.gid => 0o010,
            () => 0o001,
        };
        if found.mode() & goes_through == 0 {
            return Err(ServerError::OutOfReach {
                user: user.name,
                path: above.to_path_buf(),
            });
        }
    }
    let given = chown(folder, Some(user.uid), Some(user.gid));
    given.map_err(io_error(
        "give the temporary directory to the test server's user",
    ))
}

fn io_error(doing: &'static str) -> impl Fn(io::Error) -> ServerError {
    move |cause| ServerError::Io { doing, cause }
}

fn last_lines(folder: &Path) -> String {
    let log = fs::read(folder.join("log")).unwrap_or_default();
    let text = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("; ")
}
