//! The S3 server of the benchmark: the gateway of a throwaway Ceph cluster whose disk is memory, on free ports of
//! the loopback interface. Ends when it is dropped, or when the benchmark ends in whatever way.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

/// Who may ask, and with what.
pub const USER: &str = "owner";
/// The secret of that user.
pub const SECRET: &str = "secret-of-the-owner";

/// A running cluster.
pub struct Server {
    process: Child,
    /// The cluster ends when this does.
    stdin: Option<ChildStdin>,
    http: u16,
}

impl Server {
    /// Starts one, which keeps its files in `place/ceph`.
    pub fn start(place: &Path) -> io::Result<Self> {
        let folder = place.join("ceph");
        fs::create_dir_all(&folder)?;
        let script = place.join("ceph.sh");
        fs::write(&script, include_str!("../../it/support/ceph.sh"))?;
        let certificate = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost -keyout server.key -out server.pem";
        let mut openssl = Command::new("openssl");
        openssl
            .args(certificate.split(' '))
            .current_dir(&folder)
            .stderr(Stdio::null());
        let made = openssl.status()?;
        if !made.success() {
            return Err(io::Error::other("openssl makes no certificate"));
        }
        let ports = [free_port()?, free_port()?, free_port()?];
        let mut command = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            command.arg("--map-root-user");
        }
        command.args(["--pid", "--fork", "--mount-proc", "--kill-child", "bash"]);
        command.arg(script);
        command.arg(folder).args(ports.map(|port| port.to_string()));
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(place.join("ceph.said"))?)
            .spawn()?;
        let stdin = process.stdin.take();
        let out = process.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let server = Self {
            process,
            stdin,
            http: ports[1],
        };
        let mut lines = BufReader::new(out).lines();
        match lines.any(|line| line.is_ok_and(|line| line == "ready")) {
            true => Ok(server),
            false => Err(io::Error::other(format!(
                "the gateway of Ceph does not start (Debian: radosgw ceph-mon ceph-osd):\n{}",
                fs::read_to_string(place.join("ceph.said"))?
            ))),
        }
    }

    /// Where it listens.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.process.wait();
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
