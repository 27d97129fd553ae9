//! A Redis server of the benchmark's own: in a folder of its own, on a unix socket, gone when dropped, also
//! when the benchmark is killed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long it may take to start or to do something.
const PATIENCE: Duration = Duration::from_secs(600);

/// A running server.
pub struct Server {
    child: Child,
    data: PathBuf,
    socket: PathBuf,
}

impl Server {
    /// Starts one on the data in `data`, and waits until it has loaded them.
    pub fn start(data: &Path, appendonly: bool) -> io::Result<Self> {
        fs::create_dir_all(data)?;
        // Beside its data: their directory is restored into, and compared.
        let socket = data.with_extension("socket");
        let log = File::create(data.with_extension("log"))?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "redis-server", "--port", "0"])
            .args(["--save", "", "--enable-debug-command", "local"])
            .args(["--repl-diskless-sync-delay", "0"])
            .args(["--auto-aof-rewrite-percentage", "0"])
            .args(["--appendonly", if appendonly { "yes" } else { "no" }])
            .arg("--unixsocket")
            .arg(&socket)
            .arg("--dir")
            .arg(data)
            .stdin(Stdio::null())
            .stdout(log)
            .spawn()?;
        let mut server = Self {
            child,
            data: data.to_path_buf(),
            socket,
        };
        server.wait_until("loading:0")?;
        Ok(server)
    }

    /// A connection.
    pub fn connect(&self) -> io::Result<redis::Connection> {
        let url = format!("unix://{}", self.socket.display());
        let client = redis::Client::open(url).map_err(io::Error::other)?;
        client.get_connection().map_err(io::Error::other)
    }

    /// Calls a command.
    pub fn call(&self, words: &[&str]) -> io::Result<String> {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command
            .query(&mut self.connect()?)
            .map_err(io::Error::other)
    }

    /// Waits until INFO has this line.
    pub fn wait_until(&mut self, line: &str) -> io::Result<()> {
        let started = Instant::now();
        loop {
            if let Ok(info) = self.call(&["INFO"])
                && info.lines().any(|one| one == line)
            {
                return Ok(());
            }
            if self.child.try_wait()?.is_some() || started.elapsed() > PATIENCE {
                let log = fs::read_to_string(self.data.with_extension("log"))?;
                return Err(io::Error::other(format!("redis-server, {line}: {log}")));
            }
            sleep(Duration::from_millis(10));
        }
    }

    /// Its unix socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Its data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// A digest of all data.
    pub fn digest(&self) -> io::Result<String> {
        self.call(&["DEBUG", "DIGEST"])
    }

    /// Ends it as an operator does, and starts it again.
    pub fn restart(mut self) -> io::Result<Self> {
        // It closes the connection instead of an answer.
        let _ = self.call(&["SHUTDOWN", "NOSAVE"]);
        self.child.wait()?;
        let data = self.data.clone();
        drop(self);
        Self::start(&data, true)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
