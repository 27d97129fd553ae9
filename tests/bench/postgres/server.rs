//! The server of the benchmark: made by `initdb` in its folder, on a unix socket there, run by an unprivileged user,
//! and ended when it is dropped or when the benchmark ends in whatever way. It is as durable as one that is used.

use rustix::process::geteuid;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

const SETTINGS: &str = "\
listen_addresses = ''
shared_buffers = 256MB
maintenance_work_mem = 256MB
max_wal_size = 4GB
checkpoint_timeout = 30min
wal_level = replica
archive_mode = on
archive_command = '/bin/true'
autovacuum = off
";

/// A running server.
pub struct Server {
    process: Child,
    place: PathBuf,
}

impl Server {
    /// Makes one in `place`, which its user owns, and starts it.
    pub fn start(place: &Path) -> io::Result<Self> {
        let data = place.join("data");
        let mut initdb = as_user(&bin("initdb")?);
        initdb.args([
            "-N",
            "-A",
            "trust",
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
        ]);
        output(initdb.arg("-k").arg("-D").arg(&data))?;
        let settings = format!(
            "{SETTINGS}unix_socket_directories = '{}'\n",
            place.display()
        );
        let mut file = fs::File::options()
            .append(true)
            .open(data.join("postgresql.conf"))?;
        file.write_all(settings.as_bytes())?;
        let log = fs::File::create(place.join("server.log"))?;
        let mut server = as_user(&bin("postgres")?);
        server.arg("-D").arg(&data).stdin(Stdio::null());
        let process = server.stdout(log.try_clone()?).stderr(log).spawn()?;
        let mut server = Self {
            process,
            place: place.to_path_buf(),
        };
        while server.sql("postgres", "SELECT 1").is_err() {
            if let Some(ended) = server.process.try_wait()? {
                let said = fs::read_to_string(place.join("server.log"))?;
                return Err(io::Error::other(format!(
                    "the server ended, {ended}:\n{said}"
                )));
            }
            sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    /// Carries out SQL; what it answers.
    pub fn sql(&self, database: &str, sql: &str) -> io::Result<String> {
        let mut psql = self.psql(database);
        let printed = output(psql.args(["-c", sql]).stdin(Stdio::null()))?;
        Ok(String::from_utf8_lossy(&printed.stdout).trim().to_owned())
    }

    /// Puts rows into a table, as `rows` writes them in the format of COPY.
    pub fn copy(
        &self,
        table: &str,
        rows: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut psql = self.psql("app");
        psql.args(["-c", &format!("COPY {table} FROM STDIN")]);
        let mut child = psql.stdin(Stdio::piped()).spawn()?;
        let written = match child.stdin.take() {
            Some(stdin) => {
                let mut stdin = io::BufWriter::with_capacity(1 << 20, stdin);
                rows(&mut stdin).and_then(|()| stdin.flush())
            }
            None => Ok(()),
        };
        let ended = child.wait()?;
        match ended.success() {
            true => written,
            false => Err(io::Error::other(format!("COPY {table}: psql {ended}"))),
        }
    }

    fn psql(&self, database: &str) -> Command {
        let mut psql = Command::new("psql");
        psql.args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            "postgres",
        ]);
        psql.arg("-h").arg(&self.place).args(["-d", database]);
        psql
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut quit = Command::new("kill");
        let _ = quit
            .args(["-QUIT", &self.process.id().to_string()])
            .status();
        let _ = self.process.wait();
    }
}

/// The words before a program that runs as the server's user, who is told by root only; it ends with the benchmark.
pub fn as_server_user() -> Vec<&'static str> {
    let mut words = vec!["setpriv", "--pdeathsig", "QUIT"];
    if geteuid().is_root() {
        words.extend([
            "--reuid",
            "postgres",
            "--regid",
            "postgres",
            "--clear-groups",
        ]);
    }
    words
}

/// Gives a folder to the server's user.
pub fn give(folder: &Path) -> io::Result<()> {
    if geteuid().is_root() {
        output(Command::new("chown").arg("-R").arg("postgres:").arg(folder))?;
    }
    Ok(())
}

fn as_user(program: &Path) -> Command {
    let words = as_server_user();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).arg(program).current_dir("/");
    command
}

/// A program of the newest version that is installed.
pub fn bin(program: &str) -> io::Result<PathBuf> {
    let installed = ccb::source::postgres::programs::installed(program);
    let newest = installed.into_iter().next_back();
    let found = newest.map(|(_, folder)| folder.join(program));
    found.ok_or_else(|| io::Error::other(format!("`{program}` is not installed")))
}

fn output(command: &mut Command) -> io::Result<Output> {
    let output = command.output()?;
    match output.status.success() {
        true => Ok(output),
        false => Err(io::Error::other(format!(
            "{command:?} failed: {}",
            String::from_utf8_lossy(&output.stderr)
        ))),
    }
}
