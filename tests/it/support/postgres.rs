//! Throwaway PostgreSQL servers for tests: each test gets a whole server of its own, on a unix socket in a
//! temporary folder, stopped and removed when it is dropped, also when the test fails or is killed. Never
//! touches the machine's own servers.
//!
//! `initdb` runs once per build folder; a server starts from a copy of what it made.

use crate::support::redis::certificates;
use crate::support::restored::wait_for;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The role that owns everything in a new server. Nobody needs a password unless [`Cluster::rules`] says so.
pub(crate) const SUPERUSER: &str = "postgres";

/// How long a server may take to start, or to end as it was told.
const PATIENCE: Duration = Duration::from_secs(300);

/// What a server is started with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options<'a> {
    /// Further arguments of `initdb`, such as `--data-checksums`.
    pub(crate) initdb: &'a [&'a str],
    /// Lines of `postgresql.conf`.
    pub(crate) settings: &'a [&'a str],
    /// Listens on this address as well: `127.0.0.1`. Else on the unix socket only.
    pub(crate) listen: Option<&'a str>,
}

/// A running server.
pub(crate) struct Cluster {
    // Dropped in this order: the server writes into the folder until it has ended.
    server: Option<Server>,
    folder: TempDir,
    port: u16,
}

impl Cluster {
    /// Starts a server with nothing in it but the database `postgres`.
    pub(crate) fn start() -> Self {
        Self::with(&Options::default())
    }

    /// Starts a server of another system than that of [`Cluster::start`], which all come from one.
    pub(crate) fn start_other() -> Self {
        Self::with(&Options {
            initdb: &["--data-checksums"],
            ..Options::default()
        })
    }

    /// Starts a server with options.
    pub(crate) fn with(options: &Options<'_>) -> Self {
        let mut cluster = Self::prepared(options);
        cluster.start_again();
        cluster
    }

    /// Starts a server that is `localhost`, by TLS only; and its certificates, of which `ca.pem` is the authority.
    pub(crate) fn over_tls(settings: &[&str]) -> (Self, TempDir) {
        let certificates = certificates();
        let tls = [
            "ssl = on",
            "ssl_cert_file = 'server.pem'",
            "ssl_key_file = 'server.key'",
        ];
        let mut cluster = Self::prepared(&Options {
            settings: &[&tls, settings].concat(),
            listen: Some("127.0.0.1"),
            ..Options::default()
        });
        for file in ["server.pem", "server.key"] {
            let to = cluster.data().join(file);
            fs::copy(certificates.path().join(file), &to).expect("copied");
            fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).expect("set");
            give_to_server_user(&to);
        }
        cluster.start_again();
        cluster.rules(&[
            "hostnossl all all all reject",
            "hostssl all,replication all all trust",
        ]);
        (cluster, certificates)
    }

    /// All but started: for tests that put something else into [`Cluster::data`] first.
    pub(crate) fn prepared(options: &Options<'_>) -> Self {
        // The path of a socket must be short, whatever TMPDIR is.
        let folder = tempfile::Builder::new()
            .prefix("ccb-pg-")
            .tempdir_in("/tmp");
        let folder = folder.expect("a temporary folder");
        let port = options.listen.map_or(5432, |address| {
            let free = std::net::TcpListener::bind((address, 0)).expect("a free port");
            free.local_addr().expect("it is bound").port()
        });
        let data = folder.path().join("data");
        copy(&template(options.initdb), &data);
        let mut settings = SETTINGS.map(str::to_owned).to_vec();
        settings.extend([
            format!("unix_socket_directories = '{}'", folder.path().display()),
            format!("listen_addresses = '{}'", options.listen.unwrap_or("")),
            format!("port = {port}"),
        ]);
        settings.extend(options.settings.iter().map(|line| (*line).to_owned()));
        append(&data.join("postgresql.conf"), &settings);
        give_to_server_user(folder.path());
        Self {
            server: None,
            folder,
            port,
        }
    }

    /// Starts it, after a stop or for the first time, and waits until it answers.
    pub(crate) fn start_again(&mut self) {
        if let Err(log) = self.try_start() {
            panic!("PostgreSQL does not start:\n{log}");
        }
    }

    /// Starts it and waits until it answers; its log when it ends instead.
    pub(crate) fn try_start(&mut self) -> Result<(), String> {
        assert!(self.server.is_none(), "it runs already");
        let mut server = Server::spawn(&self.data(), &self.log_path());
        let started = Instant::now();
        loop {
            let mut ask = self.psql_command("postgres", &["-c", "SELECT 1"]);
            let asked = ask.env("PGCONNECT_TIMEOUT", "60").output();
            let asked = asked.expect("psql can be started");
            if asked.status.success() {
                break;
            }
            if server.has_ended() {
                return Err(self.log());
            }
            assert!(
                started.elapsed() < PATIENCE,
                "PostgreSQL does not answer: {}\n{}",
                String::from_utf8_lossy(&asked.stderr),
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        self.server = Some(server);
        Ok(())
    }

    /// Stops it in order: everything is on disk afterwards.
    pub(crate) fn stop(&mut self) {
        self.end_with(Signal::Fast);
    }

    /// Stops it as a power cut would: the next start recovers from its WAL.
    pub(crate) fn crash(&mut self) {
        self.end_with(Signal::Immediate);
    }

    fn end_with(&mut self, signal: Signal) {
        let server = self.server.take().expect("it runs");
        server.end_with(signal);
    }

    /// The folder of its socket: PGHOST.
    pub(crate) fn host(&self) -> &str {
        self.folder.path().to_str().expect("the path is text")
    }
    /// PGPORT.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
    /// Its data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
    /// What it said so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }
    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// A client program that finds this server by itself, as its superuser.
    pub(crate) fn client(&self, program: &str) -> Command {
        let mut command = Command::new(bin().join(program));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        command
            .env("PGHOST", self.host())
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", SUPERUSER)
            .stdin(Stdio::null());
        command
    }

    fn psql_command(&self, database: &str, arguments: &[&str]) -> Command {
        let mut command = self.client("psql");
        command
            .args([
                "-X",
                "-q",
                "-A",
                "-t",
                "-v",
                "ON_ERROR_STOP=1",
                "-d",
                database,
            ])
            .args(arguments);
        command
    }

    /// Carries out SQL, which must succeed, and gives what it answers: columns parted by `|`, a row a line.
    pub(crate) fn sql(&self, database: &str, sql: &str) -> String {
        let output = self.try_sql(database, sql);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{sql}\n{said}");
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    }

    /// Carries out SQL that may fail.
    pub(crate) fn try_sql(&self, database: &str, sql: &str) -> Output {
        let mut psql = self.psql_command(database, &["-f", "-"]);
        feed(&mut psql, sql.as_bytes())
    }

    /// Makes a database and carries out SQL in it.
    pub(crate) fn create(&self, database: &str, sql: &str) {
        self.sql("postgres", &format!("CREATE DATABASE \"{database}\""));
        self.sql(database, sql);
    }

    /// A session that stays open until it is dropped: it holds the locks of what it was told.
    pub(crate) fn session(&self, database: &str, sql: &str) -> Session {
        let mut psql = self.psql_command(database, &["-f", "-"]);
        psql.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = psql.spawn().expect("psql can be started");
        let mut stdin = child.stdin.take().expect("it is a pipe");
        writeln!(stdin, "{sql};\n\\echo ready").expect("psql reads");
        let mut said = Vec::new();
        let mut stdout = child.stdout.take().expect("it is a pipe");
        while !said.ends_with(b"ready\n") {
            let mut byte = [0];
            let read = stdout.read(&mut byte).expect("psql answers");
            assert!(read == 1, "psql ended: {}", String::from_utf8_lossy(&said));
            said.push(byte[0]);
        }
        Session {
            child,
            stdin: Some(stdin),
        }
    }

    /// Puts lines at the top of `pg_hba.conf`, such as `local all locked scram-sha-256`, and has them read.
    pub(crate) fn rules(&self, lines: &[&str]) {
        let path = self.data().join("pg_hba.conf");
        let before = fs::read_to_string(&path).expect("it has rules");
        fs::write(&path, format!("{}\n{before}", lines.join("\n"))).expect("written");
        let loaded = || self.sql("postgres", "SELECT pg_conf_load_time()");
        let before = loaded();
        self.sql("postgres", "SELECT pg_reload_conf()");
        // The server reads them when it comes to it; sessions that begin afterwards know them.
        wait_for(|| loaded() != before);
        let wrong = "SELECT error FROM pg_hba_file_rules WHERE error IS NOT NULL";
        assert_eq!(self.sql("postgres", wrong), "");
    }
}

/// An open session. Ends when dropped.
pub(crate) struct Session {
    child: Child,
    stdin: Option<std::process::ChildStdin>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.stdin = None;
        end(&mut self.child);
    }
}

/// How a server is told to end, by the name that `kill` knows.
#[derive(Debug, Clone, Copy)]
enum Signal {
    Fast,
    Immediate,
}

/// The process. A shell stands between it and the test: it ends the server when its input is closed, which
/// happens however the test ends.
struct Server {
    shell: Child,
    stdin: Option<std::process::ChildStdin>,
}

/// Reads how to end from its input; no answer is the test's death.
const KEEPER: &str = r#"
exec 3<&0
"$@" 0</dev/null 3<&- &
server=$!
(wait_for() { read -r how <&3 || how=QUIT; kill -s "$how" "$server" 2>/dev/null; }; wait_for) &
wait "$server"
ended=$?
kill $! 2>/dev/null
exit $ended
"#;

impl Server {
    fn spawn(data: &Path, log: &Path) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", KEEPER, "keeper"]);
        shell.arg(bin().join("postgres")).arg("-D").arg(data);
        let log = File::options().create(true).append(true).open(log);
        let log = log.expect("a log can be written");
        shell.stdin(Stdio::piped());
        shell.stdout(log.try_clone().expect("cloned")).stderr(log);
        as_server_user(&mut shell);
        let mut shell = shell.spawn().expect("sh can be started");
        let stdin = shell.stdin.take();
        Self { shell, stdin }
    }

    fn has_ended(&mut self) -> bool {
        self.shell.try_wait().expect("it is our child").is_some()
    }

    fn end_with(mut self, signal: Signal) {
        let word = match signal {
            Signal::Fast => "INT",
            Signal::Immediate => "QUIT",
        };
        let mut stdin = self.stdin.take().expect("it is a pipe");
        // Where it ended meanwhile there is nobody to tell.
        let _ = writeln!(stdin, "{word}");
        assert!(
            ends_within(&mut self.shell, PATIENCE),
            "PostgreSQL does not end after {word}"
        );
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A closed input is QUIT: nothing is worth keeping.
        self.stdin = None;
        end(&mut self.shell);
    }
}

fn ends_within(child: &mut Child, patience: Duration) -> bool {
    let started = Instant::now();
    while child.try_wait().is_ok_and(|ended| ended.is_none()) {
        if started.elapsed() > patience {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// Waits for the end of a process that has been told to end; one that does not is killed. A server whose shell is
/// killed ends by itself when it misses its folder.
fn end(child: &mut Child) {
    if !ends_within(child, Duration::from_secs(60)) {
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// The folder of the server's and the clients' programs: those of one version, the newest there is.
pub(crate) fn bin() -> &'static Path {
    static BIN: OnceLock<PathBuf> = OnceLock::new();
    BIN.get_or_init(|| {
        let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
        let mut found: Vec<(u32, PathBuf)> = versions
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let version = entry.file_name().to_str()?.parse().ok()?;
                let bin = entry.path().join("bin");
                bin.join("initdb").exists().then_some((version, bin))
            })
            .collect();
        found.sort();
        let newest = found.pop().map(|(_, bin)| bin);
        newest
            .or_else(|| on_path("initdb"))
            .expect("PostgreSQL's server is installed (tests/run installs it)")
    })
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).find(|folder| folder.join(program).exists())
}

/// What each cluster has. A vacuum or analyze of its own would change pages and write to the log at a time
/// that depends on the load of the machine.
const SETTINGS: [&str; 6] = [
    "fsync = off",
    "full_page_writes = off",
    "shared_buffers = 16MB",
    "max_connections = 40",
    "log_line_prefix = '%m [%p] '",
    "autovacuum = off",
];

/// A data directory to copy from, made once per build folder and set of arguments.
fn template(initdb: &[&str]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(folder).expect("made");
    let made_by = bin()
        .parent()
        .and_then(Path::file_name)
        .expect("it has a version");
    let words = initdb
        .join(" ")
        .replace(|c: char| !c.is_alphanumeric(), "_");
    let name = format!("postgres-{}-{words}", made_by.to_string_lossy());
    let template = folder.join(&name);
    // Test processes run beside each other: one makes it, the others wait.
    let lock = File::create(folder.join(format!("{name}.lock"))).expect("a lock file");
    lock.lock().expect("locked");
    if !template.exists() {
        let scratch = tempfile::tempdir_in("/tmp").expect("a temporary folder");
        give_to_server_user(scratch.path());
        let data = scratch.path().join("data");
        let mut command = Command::new(bin().join("initdb"));
        command
            .args(["-N", "-A", "trust", "-U", SUPERUSER, "-E", "UTF8"])
            .args(["--locale=C.UTF-8", "--wal-segsize=1"])
            .args(initdb)
            .arg("-D")
            .arg(&data)
            .stdin(Stdio::null());
        as_server_user(&mut command);
        let made = command.output().expect("initdb can be started");
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "initdb: {said}");
        let half_made = folder.join(format!("{name}.half-made"));
        let _ = fs::remove_dir_all(&half_made);
        copy(&data, &half_made);
        fs::rename(&half_made, &template).expect("renamed");
    }
    template
}

fn copy(from: &Path, to: &Path) {
    let mut cp = Command::new("cp");
    let status = cp.arg("-a").arg(from).arg(to).status();
    assert!(status.expect("cp can be started").success(), "copied");
}

fn append(path: &Path, lines: &[String]) {
    let mut file = File::options()
        .append(true)
        .open(path)
        .expect("it is there");
    file.write_all(format!("{}\n", lines.join("\n")).as_bytes())
        .expect("written");
}

/// Feeds a program and waits for its end.
pub(crate) fn feed(command: &mut Command, bytes: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("it is a pipe");
    let bytes = bytes.to_vec();
    // Beside the reading of its output, so that neither side waits for the other.
    let fed = std::thread::spawn(move || stdin.write_all(&bytes));
    let output = child.wait_with_output().expect("it ends");
    // A program that failed early did not read all.
    let _ = fed.join();
    output
}

/// PostgreSQL refuses to be run by root: then its servers run as `postgres`.
fn server_user() -> Option<(u32, u32)> {
    if rustix::process::geteuid().as_raw() != 0 {
        return None;
    }
    let passwd = fs::read_to_string("/etc/passwd").expect("it is readable");
    let line = passwd.lines().find(|line| line.starts_with("postgres:"));
    let mut ids = line.expect("there is a user `postgres`").split(':').skip(2);
    let mut id = || ids.next().and_then(|id| id.parse().ok()).expect("a number");
    Some((id(), id()))
}

pub(crate) fn as_server_user(command: &mut Command) {
    if let Some((uid, gid)) = server_user() {
        command.uid(uid).gid(gid);
    }
}

pub(crate) fn give_to_server_user(path: &Path) {
    let Some((uid, gid)) = server_user() else {
        return;
    };
    let mut chown = Command::new("chown");
    let status = chown
        .args(["-R", &format!("{uid}:{gid}")])
        .arg(path)
        .status();
    assert!(status.expect("chown can be started").success(), "chown");
}

#[test]
fn a_server_starts_stops_starts_again_and_is_gone_when_dropped() {
    let mut cluster = Cluster::with(&Options {
        listen: Some("127.0.0.1"),
        ..Options::default()
    });
    cluster.create(
        "app",
        "CREATE TABLE t (n int); INSERT INTO t VALUES (1), (2)",
    );
    cluster.stop();
    assert!(!cluster.try_sql("app", "SELECT 1").status.success());
    cluster.start_again();
    assert_eq!(
        cluster.sql("app", "SELECT n, n * 2 FROM t ORDER BY n"),
        "1|2\n2|4"
    );
    cluster.sql("app", "INSERT INTO t VALUES (3)");
    cluster.crash();
    cluster.start_again();
    assert_eq!(cluster.sql("app", "SELECT count(*) FROM t"), "3");

    let holds = cluster.session("app", "BEGIN; LOCK TABLE t");
    let refused = cluster.try_sql("app", "SET lock_timeout = '50ms'; SELECT * FROM t");
    assert!(!refused.status.success());
    drop(holds);
    assert_eq!(cluster.sql("app", "SELECT count(*) FROM t"), "3");

    cluster.sql("app", "CREATE ROLE locked LOGIN PASSWORD 'right'");
    cluster.rules(&["host all locked 127.0.0.1/32 scram-sha-256"]);
    let mut psql = cluster.client("psql");
    let url = format!("postgres://locked@127.0.0.1:{}/app", cluster.port());
    psql.args(["-w", "-d", &url, "-c", "SELECT 1"]);
    let refused = psql.output().expect("psql can be started");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("no password supplied"), "{said}");

    let (folder, pid) = (cluster.host().to_owned(), pid_of(&cluster));
    drop(cluster);
    assert!(!Path::new(&folder).exists());
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn a_server_that_can_not_start_says_why() {
    let mut cluster = Cluster::prepared(&Options {
        settings: &["shared_buffers = 'many'"],
        ..Options::default()
    });
    let log = cluster.try_start().expect_err("it can not start");
    assert!(log.contains("shared_buffers"), "{log}");
}

fn pid_of(cluster: &Cluster) -> String {
    let file = fs::read_to_string(cluster.data().join("postmaster.pid")).expect("it runs");
    file.lines().next().expect("it has lines").to_owned()
}

#[test]
fn a_server_listens_on_no_address_unless_asked() {
    let cluster = Cluster::start();
    assert_eq!(cluster.sql("postgres", "SHOW listen_addresses"), "");
}
