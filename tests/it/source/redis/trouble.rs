//! Servers that are down, busy, or go away in the middle: an error that says so, or patience; never half
//! a backup.

use crate::source::redis::given::{append_only, request, snapshot, with_files};
use crate::support::captured::chain;
use crate::support::proxy::{Fault, Proxy};
use crate::support::redis::{Server, fill};
use ccb::model::tree::Body;
use ccb::source::redis::{Request, rdb};
use std::fs;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

#[test]
fn a_server_that_is_down_a_wrong_password_and_a_wrong_url_are_told_apart() {
    let error = snapshot(request("unix:///nowhere/redis.sock")).expect_err("it is down");
    assert!(
        error.contains("connect to Redis at `/nowhere/redis.sock`: is it running?"),
        "{error}"
    );
    let error = snapshot(request("redis://127.0.0.1:1")).expect_err("it is down");
    assert!(
        error.contains("connect to Redis at `127.0.0.1:1`: is it running?"),
        "{error}"
    );

    let server = Server::start(&[("requirepass", "right")]);
    let url = format!("unix://{}?pass=hunter2", server.socket().display());
    let error = snapshot(request(&url)).expect_err("it is wrong");
    assert!(error.contains("user or password is not right"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    let error = snapshot(request(&server.url())).expect_err("there is none");
    assert!(
        error.contains("NOAUTH") && error.contains("user or password is not right"),
        "{error}"
    );

    for url in [
        "http://user:hunter2@host",
        "",
        "redis://[::1",
        "rediss://host#insecure",
    ] {
        let error = snapshot(request(url)).expect_err("it is no URL of Redis");
        assert!(
            error.contains("the URL of the Redis server is not understood"),
            "{error}"
        );
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn a_connection_that_is_dropped_in_mid_stream_is_an_error_wherever_it_is_cut() {
    let server = Server::start(&[]);
    server.call::<()>(&["SET", "a", "some text"]);
    let (whole, _) = snapshot(request(&server.url())).expect("captured");
    for after in [0, 10, 60, 130, 180, 200, 260] {
        let proxy = Proxy::start(server.socket(), Fault::Cut(after));
        let url = format!("unix://{}", proxy.socket().display());
        let error = snapshot(request(&url)).expect_err("half of it");
        assert!(!error.is_empty());
    }
    // The commands need less than this, so it is the stream that is cut.
    fill(&server);
    server.call::<()>(&["CONFIG", "SET", "repl-diskless-sync", "no"]);
    for disk_less in ["yes", "no"] {
        server.call::<()>(&["CONFIG", "SET", "repl-diskless-sync", disk_less]);
        let proxy = Proxy::start(server.socket(), Fault::Cut(100_000));
        let url = format!("unix://{}", proxy.socket().display());
        let error = snapshot(request(&url)).expect_err("half of it");
        assert!(error.contains("ended before its end, after"), "{error}");
    }
    assert!(!whole.is_empty());
}

#[test]
fn a_bit_that_changes_on_the_way_is_noticed() {
    let server = Server::start(&[]);
    fill(&server);
    let proxy = Proxy::start(server.socket(), Fault::Flip(70_000));
    let url = format!("unix://{}", proxy.socket().display());
    let error = snapshot(request(&url)).expect_err("it is damaged");
    assert!(
        error.contains("damaged") || error.contains("not understood"),
        "{error}"
    );
}

#[test]
fn a_server_that_is_loading_is_waited_for_but_not_for_ever() {
    let first = Server::start(&[]);
    fill(&first);
    let (bytes, _) = snapshot(with_files(&first)).expect("captured");
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("dump.rdb"), &bytes).expect("written");
    // So many microseconds for each key: about five seconds.
    let slow = [
        ("key-load-delay", "5000"),
        ("loading-process-events-interval-bytes", "1024"),
    ];
    let server = Server::spawn_on(folder.path(), &slow);
    let hurried = Request {
        patience: Duration::from_millis(1),
        ..request(&server.url())
    };
    let error = snapshot(hurried).expect_err("it is loading");
    assert!(error.contains("is still loading its data"), "{error}");
    let (again, _) = snapshot(with_files(&server)).expect("captured");
    assert!(again == bytes);
}

#[test]
fn a_save_that_is_running_already_is_not_taken_for_ours() {
    // About five seconds, and the save after that none.
    let server = Server::start(&[("rdb-key-save-delay", "5000")]);
    fill(&server);
    server.call::<String>(&["BGSAVE"]);
    server.call::<()>(&["CONFIG", "SET", "rdb-key-save-delay", "0"]);
    server.call::<()>(&["SET", "after that save began", "1"]);
    let hurried = Request {
        patience: Duration::from_millis(1),
        ..with_files(&server)
    };
    let error = snapshot(hurried).expect_err("it is saving");
    assert!(error.contains("is saving for somebody else"), "{error}");
    let (_, facts) = snapshot(with_files(&server)).expect("captured");
    assert_eq!(facts.rdb.expect("read").keys(), 950);
}

#[test]
fn saves_that_follow_one_another_within_a_second_are_told_apart() {
    let server = Server::start(&[]);
    for number in 1..4_u64 {
        server.call::<()>(&["SET", &number.to_string(), "x"]);
        let (_, facts) = snapshot(with_files(&server)).expect("captured");
        assert_eq!(facts.rdb.expect("read").keys(), number);
    }
}

#[test]
fn a_save_that_fails_is_an_error_with_a_hint() {
    let server = Server::start(&[]);
    server.call::<()>(&["SET", "a", "1"]);
    server.saved();
    // What was saved before stays readable under its name, but nothing new can be written.
    let data = server.data().to_path_buf();
    let hidden = data.with_file_name("hidden");
    fs::rename(&data, &hidden).expect("renamed");
    fs::create_dir(&data).expect("made");
    fs::copy(hidden.join("dump.rdb"), data.join("dump.rdb")).expect("copied");
    fs::remove_dir_all(&hidden).expect("removed");
    let error = snapshot(with_files(&server)).expect_err("it can not save");
    assert!(
        error.contains("BGSAVE failed") && error.contains("its log says why"),
        "{error}"
    );
    // It takes no writes any more (MISCONF), and what it holds can be had all the same.
    server.call::<()>(&["CONFIG", "SET", "save", "3600 1"]);
    server.call::<()>(&["CONFIG", "SET", "repl-diskless-sync", "yes"]);
    let refused = redis::cmd("SET")
        .arg("b")
        .arg("1")
        .exec(&mut server.connect());
    assert!(refused.is_err_and(|e| e.code() == Some("MISCONF")));
    let (_, facts) = snapshot(request(&server.url())).expect("captured");
    assert_eq!(facts.rdb.expect("read").keys(), 1);
}

#[test]
fn a_server_that_is_killed_while_it_saves_or_streams_leaves_no_snapshot() {
    for by_file in [true, false] {
        let server = Server::start(&[("rdb-key-save-delay", "100000")]);
        fill(&server);
        let request = match by_file {
            true => with_files(&server),
            false => request(&server.url()),
        };
        let reading = thread::spawn(move || snapshot(request));
        server.wait_for("rdb_bgsave_in_progress", "1");
        drop(server);
        let error = reading.join().expect("it ended").expect_err("it is gone");
        let ends = ["INFO", "ended before its end", "connect to Redis"];
        assert!(ends.iter().any(|end| error.contains(end)), "{error}");
    }
}

#[test]
fn a_replica_without_its_master_is_refused() {
    let server = Server::start(&[("replicaof", "127.0.0.1 1")]);
    let hurried = || Request {
        patience: Duration::from_secs(1),
        ..with_files(&server)
    };
    let error = snapshot(hurried()).expect_err("it may be old");
    assert!(error.contains("has lost its master"), "{error}");
    let error = append_only(hurried()).expect_err("it may be old");
    assert!(error.contains("has lost its master"), "{error}");
}

#[test]
fn a_capture_that_is_given_up_ends_at_once_whatever_it_waits_for() {
    let server = Server::start(&[("rdb-key-save-delay", "20000")]);
    fill(&server);
    let proxy = Proxy::start(server.socket(), Fault::Hang(20_000));
    let hanging = format!("unix://{}", proxy.socket().display());
    server.call::<()>(&["CONFIG", "SET", "rdb-key-save-delay", "0"]);
    let streaming = request(&hanging);
    server.call::<()>(&["CONFIG", "SET", "rdb-key-save-delay", "20000"]);
    let saving = with_files(&server);
    for request in [saving, streaming] {
        let capture = rdb(request).map_err(|e| chain(&e)).expect("started");
        let (tell, told) = channel();
        let walk = capture.walk;
        let reading = thread::spawn(move || {
            for found in walk {
                if let Body::Stream(stream) = found.expect("found").body {
                    tell.send(()).expect("somebody listens");
                    return stream.open().map(drop);
                }
            }
            Ok(())
        });
        told.recv().expect("it began");
        thread::sleep(Duration::from_millis(200));
        drop(capture.guard);
        let error = reading
            .join()
            .expect("it ended")
            .expect_err("it was given up");
        let words = chain(&error);
        // Where it has come to by then is the machine's affair: a slow one still waits for the greeting.
        let ends = ["given up", "ended before its end", "unexpected end of file"];
        assert!(ends.iter().any(|end| words.contains(end)), "{words}");
    }
}
