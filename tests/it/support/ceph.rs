//! A real S3 server: the gateway of a throwaway Ceph cluster on free ports of the loopback interface. There is one
//! for the tests of a process, started by the first that asks; each test makes buckets of its own. It ends with the
//! process, also when that is killed, and leaves nothing.

use crate::support::redis::{certificates, free_port};
use crate::support::s3_client::Account;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::mpsc;
use std::time::Duration;

/// How long it may take to start: two seconds where nothing else runs.
const PATIENCE: Duration = Duration::from_secs(240);

/// Who may ask. [`WRITER`] may nothing until a bucket's policy allows it, [`SMALL`] may store a mebibyte.
pub(crate) const OWNER: &str = "owner";
pub(crate) const WRITER: &str = "writer";
pub(crate) const SMALL: &str = "small";
/// A key of its key service.
pub(crate) const KMS_KEY: &str = "testkey-1";

/// The running cluster.
pub(crate) struct Ceph {
    /// Its standard input ends with this process, and with that the cluster.
    _cluster: Child,
    http: u16,
    https: u16,
    authorities: PathBuf,
    buckets: AtomicU32,
}

/// The cluster of this process.
pub(crate) fn ceph() -> &'static Ceph {
    // Also that it does not start is known once: the other tests do not try again.
    static CEPH: OnceLock<Result<Ceph, String>> = OnceLock::new();
    match CEPH.get_or_init(Ceph::start) {
        Ok(ceph) => ceph,
        Err(said) => panic!("Ceph does not start; tests/run installs it\n{said}"),
    }
}

/// The secret of a user.
pub(crate) fn secret(user: &str) -> String {
    format!("secret-of-the-{user}")
}

impl Ceph {
    /// Starts one; what it said when it does not.
    fn start() -> Result<Self, String> {
        let made = certificates();
        let folder = made.path().to_path_buf();
        let script = folder.join("ceph.sh");
        fs::write(&script, include_str!("ceph.sh")).expect("written");
        let (monitor, http, https) = (free_port(), free_port(), free_port());
        let said = File::create(folder.join("said")).expect("made");
        let mut command = Command::new("unshare");
        if !rustix::process::getuid().is_root() {
            command.arg("--map-root-user");
        }
        command.args(["--pid", "--fork", "--mount-proc", "--kill-child", "bash"]);
        command.arg(&script).arg(&folder);
        command.args([monitor, http, https].map(|port| port.to_string()));
        let mut cluster = command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(said)
            .spawn()
            .expect("unshare can be started");
        let out = BufReader::new(cluster.stdout.take().expect("it is piped"));
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let is_ready = out
                .lines()
                .any(|line| line.is_ok_and(|line| line == "ready"));
            let _ = tell.send(is_ready);
        });
        if told.recv_timeout(PATIENCE) != Ok(true) {
            let _ = cluster.kill().and_then(|()| cluster.wait());
            return Err(fs::read_to_string(folder.join("said")).unwrap_or_default());
        }
        // From here on the cluster removes it.
        let folder = made.keep();
        Ok(Self {
            _cluster: cluster,
            http,
            https,
            authorities: folder,
            buckets: AtomicU32::new(0),
        })
    }

    /// Where it listens without TLS.
    pub(crate) fn http(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    /// The port of that.
    pub(crate) fn port(&self) -> u16 {
        self.http
    }

    /// Where it listens with TLS.
    pub(crate) fn https(&self) -> String {
        format!("https://localhost:{}", self.https)
    }

    /// The authority that its certificate is of.
    pub(crate) fn authority(&self) -> PathBuf {
        self.authorities.join("ca.pem")
    }

    /// Another one.
    pub(crate) fn other_authority(&self) -> PathBuf {
        self.authorities.join("other.pem")
    }

    /// A bucket that nobody else uses, and its owner.
    pub(crate) fn bucket(&self) -> (String, Account) {
        self.bucket_of(OWNER)
    }

    /// The same, of another user.
    pub(crate) fn bucket_of(&self, user: &str) -> (String, Account) {
        let bucket = format!("bucket-{}", self.buckets.fetch_add(1, Relaxed));
        let account = self.account(user);
        let made = account.ask("PUT", &bucket, "", &[], &[], b"");
        assert_eq!(made.status, 200, "{made:?}");
        (bucket, account)
    }

    /// A user of it.
    pub(crate) fn account(&self, user: &str) -> Account {
        Account::new(&self.http(), user, &secret(user))
    }
}
