//! Throwaway Redis servers: each in a folder of its own, on a unix socket, gone when dropped, also when
//! the test panics or is killed.

use redis::{ConnectionLike, FromRedisValue, Value};
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs::{self, File};
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a server may take to start or to do what a test waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server.
pub(crate) struct Server {
    child: Child,
    socket: PathBuf,
    data: PathBuf,
    /// What the URL says of who calls: `?user=…&pass=…`.
    as_whom: String,
    folder: TempDir,
}

impl Server {
    /// Starts one with an empty data directory. `settings` are as in `redis.conf`, without the dashes:
    /// `("appendonly", "yes")`.
    pub(crate) fn start(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = folder.path().join("data");
        fs::create_dir(&data).expect("made");
        Self::start_with(folder, data, settings)
    }

    /// Starts one on data that are there.
    pub(crate) fn start_on(data: &Path, settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self::start_with(folder, data.to_path_buf(), settings)
    }

    fn start_with(folder: TempDir, data: PathBuf, settings: &[(&str, &str)]) -> Self {
        let mut server = Self::spawn(folder, data, settings);
        server.wait_until_up();
        server
    }

    /// Starts one on data that are there, and does not wait until it has loaded them.
    pub(crate) fn spawn_on(data: &Path, settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let server = Self::spawn(folder, data.to_path_buf(), settings);
        let started = Instant::now();
        // Bound is not yet listening.
        while std::os::unix::net::UnixStream::connect(&server.socket).is_err() {
            assert!(started.elapsed() < PATIENCE, "{}", server.log());
            sleep(Duration::from_millis(1));
        }
        server
    }

    fn spawn(folder: TempDir, data: PathBuf, settings: &[(&str, &str)]) -> Self {
        let socket = folder.path().join("s");
        let log = File::create(folder.path().join("log")).expect("made");
        // The kernel ends the server when this thread ends without having done so.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "redis-server"]);
        command.args(["--port", "0", "--save", "", "--enable-debug-command", "yes"]);
        command.args(["--repl-diskless-sync-delay", "0"]);
        command.arg("--unixsocket").arg(&socket);
        // With `everysec` a busy disk lets the file lag two seconds behind what was acknowledged.
        command.args(["--appendfsync", "always"]);
        command.arg("--dir").arg(&data);
        for (name, value) in settings {
            command.arg(format!("--{name}")).args(value.split(' '));
        }
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log)
            .spawn()
            .expect("redis-server can be started; tests/run installs it");
        Self {
            child,
            socket,
            data,
            as_whom: String::new(),
            folder,
        }
    }

    fn wait_until_up(&mut self) {
        let started = Instant::now();
        // A server that wants a password is up too.
        let is_down = |e: redis::RedisError| e.code() != Some("NOAUTH");
        while self.try_call::<String>(&["PING"]).is_err_and(is_down) {
            let ended = self.child.try_wait().expect("it can be asked");
            assert!(ended.is_none(), "the server has ended:\n{}", self.log());
            assert!(started.elapsed() < PATIENCE, "{}", self.log());
            sleep(Duration::from_millis(10));
        }
    }

    /// What the server wrote to its log.
    pub(crate) fn log(&self) -> String {
        let mut text = String::new();
        let log = File::open(self.socket.with_file_name("log"));
        log.expect("there").read_to_string(&mut text).expect("text");
        text
    }

    /// Its unix socket.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// The URL of its socket.
    pub(crate) fn url(&self) -> String {
        format!("unix://{}{}", self.socket.display(), self.as_whom)
    }

    /// Its data directory.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// From now on its URL and calls say who they are: `?user=…&pass=…`.
    pub(crate) fn log_in(&mut self, as_whom: &str) {
        self.as_whom = as_whom.to_owned();
    }

    /// A connection.
    pub(crate) fn connect(&self) -> redis::Connection {
        let client = redis::Client::open(self.url()).expect("a URL");
        client.get_connection().expect("it answers")
    }

    fn try_call<T: FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let client = redis::Client::open(self.url())?;
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(*word);
        }
        command.query(&mut client.get_connection()?)
    }

    /// Calls a command, which must succeed.
    pub(crate) fn call<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let called = self.try_call(words);
        called.unwrap_or_else(|e| panic!("{words:?}: {e}\n{}", self.log()))
    }

    /// Calls many commands at once, whatever they answer.
    pub(crate) fn pipe(&self, commands: &redis::Pipeline) {
        // The client takes no commands at all for a mistake.
        if commands.is_empty() {
            return;
        }
        let mut connection = self.connect();
        let packed = commands.get_packed_pipeline();
        let answers = connection.req_packed_commands(&packed, 0, commands.cmd_iter().count());
        let answers = answers.expect("they were answered");
        for answer in answers {
            assert!(!matches!(answer, Value::ServerError(_)), "{answer:?}");
        }
    }

    /// A digest of all its data.
    pub(crate) fn digest(&self) -> String {
        self.call(&["DEBUG", "DIGEST"])
    }

    /// A field of INFO.
    pub(crate) fn info(&self, field: &str) -> String {
        let text: String = self.call(&["INFO", "everything"]);
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {field} in {text}"))
            .to_owned()
    }

    /// Waits until a field of INFO has a value.
    pub(crate) fn wait_for(&self, field: &str, value: &str) {
        let started = Instant::now();
        while self.info(field) != value {
            assert!(
                started.elapsed() < PATIENCE,
                "{field}: {}",
                self.info(field)
            );
            sleep(Duration::from_millis(10));
        }
    }

    /// Saves, and gives the bytes of the RDB.
    pub(crate) fn saved(&self) -> Vec<u8> {
        self.call::<()>(&["SAVE"]);
        fs::read(self.data.join("dump.rdb")).expect("it was saved")
    }

    /// Loads an RDB instead of what it holds.
    pub(crate) fn load(&self, rdb: &[u8]) {
        fs::write(self.data.join("dump.rdb"), rdb).expect("written");
        self.call::<()>(&["DEBUG", "RELOAD", "NOSAVE"]);
    }

    /// Ends it without saving, and waits until it has.
    pub(crate) fn stop(self) {
        drop(self.into_folder());
    }

    /// Ends it likewise; its data directory stays as long as what comes back.
    pub(crate) fn into_folder(mut self) -> TempDir {
        self.end();
        let empty = tempfile::tempdir().expect("a temporary folder");
        std::mem::replace(&mut self.folder, empty)
    }

    fn end(&mut self) {
        // Its group, so that a process of its own that saves ends too.
        if let Some(group) = Pid::from_raw(self.child.id() as i32) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// Puts something of every type and encoding into the server, in two databases.
pub(crate) fn fill(server: &Server) {
    let mut pipe = redis::pipe();
    for i in 0..300 {
        let (member, number) = (format!("member:{i}"), i * 37);
        pipe.cmd("SET")
            .arg(format!("key:{i}"))
            .arg(format!("value {i} ").repeat(i + 1));
        pipe.cmd("SET")
            .arg(format!("session:{i}"))
            .arg(i)
            .arg("PX")
            .arg(86_400_000 + i);
        pipe.cmd("SET").arg(i * 1000).arg(number);
        pipe.cmd("HSET")
            .arg(format!("hash:{}", i % 10))
            .arg(&member)
            .arg(number);
        pipe.cmd("HSET")
            .arg("hash:long")
            .arg(&member)
            .arg(member.repeat(20));
        pipe.cmd("SADD").arg("set:numbers").arg(number);
        pipe.cmd("SADD").arg(format!("set:{}", i % 10)).arg(&member);
        pipe.cmd("SADD").arg("set:long").arg(member.repeat(20));
        pipe.cmd("ZADD")
            .arg(format!("zset:{}", i % 10))
            .arg(f64::from(number as i32) / 7.0)
            .arg(&member);
        pipe.cmd("ZADD")
            .arg("zset:long")
            .arg(number)
            .arg(member.repeat(20));
        pipe.cmd("RPUSH")
            .arg(format!("list:{}", i % 10))
            .arg(&member);
        pipe.cmd("RPUSH").arg("list:long").arg(member.repeat(100));
        pipe.cmd("XADD")
            .arg("stream")
            .arg(format!("{}-1", i + 1))
            .arg("field")
            .arg(&member);
    }
    pipe.cmd("SET")
        .arg("large")
        .arg("large string ".repeat(900_000));
    pipe.cmd("RPUSH")
        .arg("list:plain")
        .arg("x".repeat(100_000))
        .arg("y");
    pipe.cmd("XGROUP").arg(&["CREATE", "stream", "group", "0"]);
    pipe.cmd("XREADGROUP").arg(&[
        "GROUP", "group", "ana", "COUNT", "7", "STREAMS", "stream", ">",
    ]);
    pipe.cmd("XACK").arg(&["stream", "group", "3-1"]);
    pipe.cmd("XDEL").arg(&["stream", "5-1"]);
    pipe.cmd("SELECT").arg(3);
    pipe.cmd("SET").arg("elsewhere").arg(1);
    server.pipe(&pipe);
    let library = "#!lua name=lib\nredis.register_function('twice', function(keys, args) return args[1] * 2 end)";
    server.call::<()>(&["FUNCTION", "LOAD", library]);
}

/// A certificate authority `ca.pem`, a server's `server.pem` and `server.key` for localhost, and `other.pem`,
/// an authority that has nothing to do with them.
pub(crate) fn certificates() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let openssl = |arguments: &str| {
        let made = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(folder.path())
            .output()
            .expect("openssl is there");
        assert!(made.status.success(), "{made:?}");
    };
    for name in ["ca", "other"] {
        openssl(&format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={name} -keyout {name}.key -out {name}.pem"
        ));
    }
    openssl(
        "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout server.key -out server.csr",
    );
    openssl(
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -copy_extensions copy -out server.pem",
    );
    folder
}

/// A port of the loopback address that nobody listens on.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    listener.local_addr().expect("it has one").port()
}
