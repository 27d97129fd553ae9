//! Replicas: one that is without its master for a moment is waited for, one that has lost it is refused, and what
//! it has begun to save is not the master's affair any more.

use crate::source::redis::given::{append_only, snapshot, with_files};
use crate::support::redis::{Server, fill, free_port};
use ccb::source::redis::Request;
use std::thread;
use std::time::Duration;

/// A server that others can follow, and its port.
fn master() -> (Server, String) {
    let port = free_port().to_string();
    let server = Server::start(&[("port", &port)]);
    (server, port)
}

fn follow(replica: &Server, port: &str) {
    replica.call::<()>(&["REPLICAOF", "127.0.0.1", port]);
}

/// A replica of `port`, which has all its data.
fn replica(port: &str, settings: &[(&str, &str)]) -> Server {
    let server = Server::start(settings);
    follow(&server, port);
    server.wait_for("master_link_status", "up");
    server
}

type Way = fn(Request) -> Result<(), String>;

fn rdb(request: Request) -> Result<(), String> {
    snapshot(request).map(drop)
}

fn aof(request: Request) -> Result<(), String> {
    append_only(request).map(drop)
}

#[test]
fn a_master_that_comes_back_is_waited_for() {
    let (master, port) = master();
    fill(&master);
    let replica = replica(&port, &[("appendonly", "yes")]);
    let ways: [Way; 2] = [rdb, aof];
    for capture in ways {
        // Nobody listens there.
        follow(&replica, "1");
        replica.wait_for("master_link_status", "down");
        let request = with_files(&replica);
        let capturing = thread::spawn(move || capture(request));
        thread::sleep(Duration::from_millis(500));
        assert!(!capturing.is_finished(), "it waits");
        follow(&replica, &port);
        capturing.join().expect("it ran").expect("captured");
    }
}

#[test]
fn a_master_that_does_not_come_back_is_waited_for_no_longer_than_may_be() {
    let (master, port) = master();
    let replica = replica(&port, &[("appendonly", "yes")]);
    master.stop();
    replica.wait_for("master_link_status", "down");
    let ways: [(Way, u64); 3] = [(rdb, 1000), (aof, 1000), (rdb, 0)];
    for (capture, patience) in ways {
        let request = Request {
            patience: Duration::from_millis(patience),
            ..with_files(&replica)
        };
        let error = capture(request).expect_err("it may be old");
        assert!(error.contains("has lost its master"), "{error}");
    }
}

#[test]
fn a_master_that_is_lost_while_its_replica_saves_takes_nothing_from_what_is_saved() {
    let (master, port) = master();
    fill(&master);
    // About five seconds.
    let replica = replica(&port, &[("rdb-key-save-delay", "5000")]);
    let request = with_files(&replica);
    let capturing = thread::spawn(move || snapshot(request));
    replica.wait_for("rdb_bgsave_in_progress", "1");
    master.stop();
    replica.wait_for("master_link_status", "down");
    let (_, facts) = capturing.join().expect("it ran").expect("captured");
    assert_eq!(facts.rdb.expect("read").keys(), 949);
}

#[test]
fn a_save_that_ends_because_the_replica_is_sent_all_data_anew_is_begun_again() {
    let (master, port) = master();
    fill(&master);
    let (other, other_port) = self::master();
    other.call::<()>(&["SET", "a", "1"]);
    // About ten seconds for what it has of the first, and none for that of the other.
    let replica = replica(&port, &[("rdb-key-save-delay", "10000")]);
    let request = with_files(&replica);
    let capturing = thread::spawn(move || snapshot(request));
    replica.wait_for("rdb_bgsave_in_progress", "1");
    follow(&replica, &other_port);
    let (_, facts) = capturing.join().expect("it ran").expect("captured");
    assert_eq!(facts.rdb.expect("read").keys(), 1);
}
