//! The README's tour of a Redis server is what its commands print, on a machine with a service and a client.

use crate::cli::readme::Tour;
use crate::support::redis::Server;
use ccb::source::processes;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// Redis's own programs hang where the clock is set for them.
const REAL_CLOCK: &str = "unset LD_PRELOAD";
/// Stops the server and waits until it has gone; starts one and waits until it answers.
const SERVICE: &str = r#"case $1 in
stop)
    process=$(redis-cli INFO server | tr -d '\r' | sed -n s/^process_id://p)
    redis-cli SHUTDOWN NOSAVE
    for i in $(seq 600); do [ -d "/proc/$process/cwd/." ] || break; sleep 0.1; done ;;
start)
    rm -f SOCKET
    redis-server --port 0 --unixsocket SOCKET --dir DATA --appendonly yes --daemonize yes >DATA.log 2>&1 </dev/null 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
    for i in $(seq 600); do redis-cli PING 2>&1 | grep -q PONG && break; sleep 0.1; done ;;
esac"#;
const CLIENT: &str = r#"exec /usr/bin/redis-cli -s SOCKET "$@""#;
/// What a restore test runs.
const TESTER: &str = r#"exec /usr/bin/"${0##*/}" "$@""#;

#[test]
fn the_readme_shows_what_the_commands_print_of_a_redis_server() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let apart = tempfile::tempdir().expect("a temporary folder");
    let (data, socket) = (apart.path().join("data"), apart.path().join("s"));
    fs::create_dir(&data).expect("made");
    // Of the server that the tour starts.
    let _ended = Ended(&data);
    let server = Server::start_on(&data, &[("appendonly", "yes")]);
    let mut pipe = redis::pipe();
    for number in 0..100_u32 {
        let (user, session) = (format!("user:{number}"), format!("session:{number}"));
        let name = format!("customer {number}");
        pipe.cmd("HSET").arg(user).arg("name").arg(name);
        pipe.cmd("SET")
            .arg(session)
            .arg(number)
            .arg("EX")
            .arg(86_400);
    }
    server.pipe(&pipe);
    symlink(server.socket(), &socket).expect("linked");
    let (data_name, socket_name) = (data.display().to_string(), socket.display().to_string());
    for (name, script) in [
        ("redis-cli", CLIENT),
        ("systemctl", SERVICE),
        ("redis-server", TESTER),
        ("redis-check-rdb", TESTER),
        ("redis-check-aof", TESTER),
    ] {
        let script = script.replace("SOCKET", &socket_name);
        let script = script.replace("DATA", &data_name);
        let path = folder.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{REAL_CLOCK}\n{script}\n")).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("set");
    }
    let mut tour = Tour::fixed("```console redis\n", folder.path())
        .calling("/var/lib/redis", &data_name)
        .calling("/run/redis.sock", &socket_name);
    let url = format!("unix://{socket_name}");
    tour.env.push(("REDIS_URL", url));
    let count = tour.take();
    assert!(count >= 10, "the tour has {count} commands");
}

/// Ends the servers that work in a directory when the test ends.
struct Ended<'a>(&'a Path);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        for server in processes::using(self.0).unwrap_or_default() {
            let _ = processes::end(&server, self.0);
        }
    }
}
