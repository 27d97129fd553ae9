//! A throwaway SSH server: real `sshd` processes with keys of their own, one for each connection to a free port
//! of the loopback interface, and an `ssh` that knows this server alone. Ends with the test.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use tempfile::TempDir;

/// A server that takes one key.
pub(crate) struct Server {
    folder: TempDir,
    port: u16,
    sessions: Sessions,
}

/// The processes of the connections that were made so far.
type Sessions = Arc<Mutex<Vec<Child>>>;

impl Server {
    /// Starts one.
    pub(crate) fn start() -> Self {
        Self::start_with("internal-sftp")
    }

    /// Starts one that runs this when a client wants to exchange files.
    pub(crate) fn start_with(subsystem: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        for key in ["host", "user", "other"] {
            make_key(&folder.path().join(key));
        }
        let server = Self {
            folder,
            port,
            sessions: Sessions::default(),
        };
        server.configure(subsystem);
        server.serve(listener);
        server
    }

    fn configure(&self, subsystem: &str) {
        let at = |name: &str| self.folder.path().join(name);
        let shown = |name: &str| at(name).display().to_string();
        let write = |name: &str, text: String| fs::write(at(name), text).expect("written");
        let public = |name: &str| fs::read_to_string(at(&format!("{name}.pub"))).expect("there");
        fs::copy(at("user.pub"), at("authorized")).expect("copied");
        write("known", format!("ccb-tests {}", public("host")));
        write(
            "sshd_config",
            format!(
                "HostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\nMaxStartups 100\nSubsystem sftp {subsystem}\n",
                shown("host"),
                shown("authorized")
            ),
        );
        for (name, key, known) in [
            ("ssh", "user", "known"),
            ("ssh-with-other-key", "other", "known"),
            ("ssh-that-knows-nobody", "user", "nobody"),
        ] {
            let config = format!(
                "Host *\n  IdentityFile {}\n  IdentitiesOnly yes\n  IdentityAgent none\n  HostKeyAlias ccb-tests\n  UserKnownHostsFile {}\n  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n  LogLevel ERROR\n",
                shown(key),
                shown(known)
            );
            let config_name = format!("{name}.config");
            write(&config_name, config);
            let script = format!("#!/bin/sh\nexec ssh -F '{}' \"$@\"\n", shown(&config_name));
            write(name, script);
            fs::set_permissions(at(name), fs::Permissions::from_mode(0o755)).expect("set");
        }
        // Where root runs it, sshd wants this folder, which only its service makes.
        let _ = fs::create_dir_all("/run/sshd");
    }

    fn serve(&self, listener: TcpListener) {
        let config = self.folder.path().join("sshd_config");
        let log = self.folder.path().join("log");
        let sessions = self.sessions.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let mut command = Command::new("setpriv");
                command.args(["--pdeathsig", "KILL", "/usr/sbin/sshd", "-i", "-f"]);
                command.arg(&config).arg("-E").arg(&log);
                let answers = client.try_clone().expect("a second handle");
                let session = command
                    .stdin(Stdio::from(OwnedFd::from(client)))
                    .stdout(Stdio::from(OwnedFd::from(answers)))
                    .stderr(File::create(log.with_extension("stderr")).expect("made"))
                    .spawn()
                    .expect("sshd can be started; tests/run installs it");
                let mut sessions = sessions.lock().expect("no thread panicked");
                sessions.push(session);
            }
        });
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The URL of this folder there, which is a folder of this machine.
    pub(crate) fn url(&self, folder: &Path) -> String {
        Self::url_at(self.port, folder)
    }

    /// The same behind another port of this machine.
    pub(crate) fn url_at(port: u16, folder: &Path) -> String {
        format!("sftp://{}@127.0.0.1:{port}{}", user(), folder.display())
    }

    /// The `ssh` that is let in.
    pub(crate) fn ssh(&self) -> PathBuf {
        self.folder.path().join("ssh")
    }

    /// An `ssh` whose key the server does not take.
    pub(crate) fn ssh_with_other_key(&self) -> PathBuf {
        self.folder.path().join("ssh-with-other-key")
    }

    /// An `ssh` that has never met the server.
    pub(crate) fn ssh_that_knows_nobody(&self) -> PathBuf {
        self.folder.path().join("ssh-that-knows-nobody")
    }

    /// How many connections were made so far.
    pub(crate) fn connections(&self) -> usize {
        self.sessions.lock().expect("no thread panicked").len()
    }

    /// Ends all connections, as a server that fails does.
    pub(crate) fn kill_all(&self) {
        for session in self.sessions.lock().expect("no thread panicked").iter_mut() {
            let _ = session.kill();
            session.wait().expect("it ends");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill_all();
    }
}

fn make_key(path: &Path) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(path)
        .status()
        .expect("ssh-keygen can be started; tests/run installs it");
    assert!(made.success());
}

fn user() -> String {
    let asked = Command::new("id").arg("-un").output().expect("`id` runs");
    let name = String::from_utf8(asked.stdout).expect("text");
    name.trim().to_owned()
}
