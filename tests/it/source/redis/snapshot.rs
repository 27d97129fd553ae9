//! Snapshots of live servers: by their file, and streamed as to a replica; over every kind of connection.

use crate::source::redis::given::{request, snapshot, via, with_files};
use crate::support::captured::drained;
use crate::support::redis::{Server, fill};
use ccb::model::tree::Body;
use ccb::source::redis::facts::{Form, RedisFacts, Transfer};
use ccb::source::redis::{Request, rdb};

#[test]
fn by_file_and_streamed_give_the_same_bytes_which_load_to_the_same_data() {
    let server = Server::start(&[]);
    fill(&server);
    let digest = server.digest();
    let (by_file, facts) = snapshot(with_files(&server)).expect("captured");
    assert_eq!(
        (facts.transfer, facts.form),
        (Transfer::Bgsave, Form::Canonical)
    );
    assert_eq!(facts.server, server.info("redis_version"));
    assert_eq!(facts.run_id, server.info("run_id"));
    assert_eq!(facts.config["appendonly"], "no");
    assert_eq!(facts.config["maxmemory-policy"], "noeviction");
    assert_eq!(facts.rdb.expect("it was read").keys(), 949);

    let (streamed, facts) = snapshot(request(&server.url())).expect("captured");
    assert_eq!(
        (facts.transfer, facts.form),
        (Transfer::Replica, Form::Canonical)
    );
    assert!(by_file == streamed, "the two ways give other bytes");
    // A mark at its end, or its length before it, according to how the server makes it.
    server.call::<()>(&["CONFIG", "SET", "repl-diskless-sync", "no"]);
    let (through_disk, _) = snapshot(request(&server.url())).expect("captured");
    assert!(
        by_file == through_disk,
        "the two forms of the stream give other bytes"
    );
    let other = Server::start(&[]);
    other.load(&by_file);
    assert_eq!(other.digest(), digest);
}

#[test]
fn on_the_far_side_of_via_it_is_read_by_redis_cli_and_cat() {
    let mut server = Server::start(&[("requirepass", "secret")]);
    server.log_in("?pass=secret");
    fill(&server);
    let url = server.url();
    let far = Request {
        via: via(),
        ..request(&url)
    };
    // Where its files are, the server says itself.
    let (by_file, facts) = snapshot(far).expect("captured");
    assert_eq!(facts.transfer, Transfer::Bgsave);
    let (streamed, _) = snapshot(request(&url)).expect("captured");
    assert!(by_file == streamed, "the two ways give other bytes");
}

#[test]
fn a_user_with_few_rights_is_enough_and_one_with_fewer_is_told_what_it_needs() {
    let server = Server::start(&[("repl-diskless-sync-delay", "0")]);
    server.call::<()>(&["SET", "a", "1"]);
    let user = |name: &str, rights: &[&str]| {
        let words = [&["ACL", "SETUSER", name, "on", ">word"], rights].concat();
        server.call::<()>(&words);
        format!("unix://{}?user={name}&pass=word", server.socket().display())
    };
    let streams = ["+psync", "+replconf", "+ping", "+info", "+config|get"];
    let url = user("backup", &streams);
    let (bytes, facts) = snapshot(request(&url)).expect("captured");
    assert_eq!(facts.rdb.expect("read").keys(), 1);
    let without_config = user("few", &streams[..4]);
    let (again, facts) = snapshot(request(&without_config)).expect("captured");
    assert!(again == bytes && facts.config.is_empty());
    let error = snapshot(request(&user("info", &["+info"]))).expect_err("it may not");
    assert!(
        error.contains("NOPERM") && error.contains("+psync"),
        "{error}"
    );
    let saves = user("saves", &["+info", "+bgsave"]);
    let with_files = Request {
        data_dir: Some(server.data().to_path_buf()),
        ..request(&saves)
    };
    snapshot(with_files).expect("captured");
}

#[test]
fn a_data_dir_that_can_not_be_read_is_said_and_the_server_streams_instead() {
    let server = Server::start(&[("repl-diskless-sync-delay", "0")]);
    server.call::<()>(&["SET", "a", "1"]);
    let request = Request {
        data_dir: Some("/nowhere/redis".into()),
        ..request(&server.url())
    };
    let (_, facts) = snapshot(request).expect("captured");
    assert_eq!(facts.transfer, Transfer::Replica);
    let why = facts.files_unread.expect("it is said");
    assert!(why.contains("/nowhere/redis"), "{why}");
}

#[test]
fn the_data_dir_of_another_server_is_noticed() {
    let server = Server::start(&[]);
    let other = Server::start(&[]);
    other.call::<()>(&["SET", "theirs", "1"]);
    other.saved();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let request = Request {
        data_dir: Some(other.data().to_path_buf()),
        ..request(&server.url())
    };
    let error = snapshot(request).expect_err("it is another's");
    assert!(
        error.contains("is not the data directory of Redis"),
        "{error}"
    );
}

#[test]
fn the_position_tells_whether_a_server_has_changed_since() {
    let server = Server::start(&[]);
    server.call::<()>(&["SET", "a", "1"]);
    let (_, first) = snapshot(with_files(&server)).expect("captured");
    let first = first.position.expect("nothing changed meanwhile");
    assert_eq!(first.run_id, server.info("run_id"));
    server.call::<()>(&["SET", "a", "2"]);
    let (_, second) = snapshot(request(&server.url())).expect("captured");
    assert_ne!(second.position, Some(first));
}

#[test]
fn what_was_written_and_saved_while_it_was_read_is_a_change() {
    let server = Server::start(&[]);
    server.call::<()>(&["SET", "a", "1"]);
    for request in [with_files(&server), request(&server.url())] {
        let capture = rdb(request).expect("it begins");
        for found in capture.walk {
            if let Body::Stream(stream) = found.expect("found").body {
                drained(stream.open().expect("it opens")).expect("read");
            }
        }
        server.wait_for("rdb_bgsave_in_progress", "0");
        server.call::<()>(&["SET", "a", "2"]);
        // From now on the server counts no change any more.
        server.saved();
        let facts = (capture.finish)().expect("facts");
        let facts = RedisFacts::of(&facts.source).expect("of Redis");
        assert_eq!(facts.position, None, "it has changed");
    }
}

#[test]
fn all_databases_and_binary_keys_are_in_it() {
    let server = Server::start(&[]);
    let mut pipe = redis::pipe();
    for database in 0..16_u8 {
        pipe.cmd("SELECT").arg(database);
        for byte in 0..=255_u8 {
            let key = [byte, 0, database, b'\n', 0xff];
            pipe.cmd("SET").arg(&key[..]).arg(vec![byte; 300]);
        }
    }
    server.pipe(&pipe);
    let digest = server.digest();
    for request in [with_files(&server), request(&server.url())] {
        let (bytes, facts) = snapshot(request).expect("captured");
        let databases = facts.rdb.expect("read").databases;
        assert_eq!(databases.len(), 16);
        assert!(databases.values().all(|keys| keys.keys == 256));
        let other = Server::start(&[]);
        other.load(&bytes);
        assert_eq!(other.digest(), digest);
    }
}

#[test]
fn consumer_groups_what_they_have_not_acknowledged_and_functions_come_back() {
    let server = Server::start(&[]);
    fill(&server);
    // A digest looks at neither.
    let group = ["XINFO", "STREAM", "stream", "FULL", "COUNT", "0"];
    let said = |server: &Server| {
        let libraries: Vec<u8> = server.call(&["FUNCTION", "DUMP"]);
        let stream: redis::Value = server.call(&group);
        (libraries, format!("{stream:?}"))
    };
    let (bytes, _) = snapshot(with_files(&server)).expect("captured");
    let other = Server::start(&[]);
    other.load(&bytes);
    assert_eq!(said(&other), said(&server));
}

#[test]
fn writes_beyond_the_output_limit_of_replicas_do_not_end_the_stream() {
    let limit = "replica 1mb 1mb 0";
    let server = Server::start(&[
        ("client-output-buffer-limit", limit),
        ("rdb-key-save-delay", "5000"),
    ]);
    fill(&server);
    let capture = rdb(request(&server.url())).expect("it begins");
    let streams = capture
        .walk
        .filter_map(|found| match found.expect("found").body {
            Body::Stream(stream) => Some(stream),
            _ => None,
        });
    let reading = std::thread::spawn(move || {
        streams
            .map(|stream| stream.open().and_then(drained))
            .collect::<Result<Vec<u64>, _>>()
    });
    server.wait_for("rdb_bgsave_in_progress", "1");
    for number in 0..8 {
        let text = "x".repeat(1 << 20);
        server.call::<()>(&["SET", &format!("more:{number}"), &text]);
    }
    reading.join().expect("it ran").expect("all of it arrived");
}
