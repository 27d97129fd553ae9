//! Snapshots of live servers: by their file, and streamed as to a replica; over every kind of connection.

use crate::source::redis::given::{request, snapshot, via, with_files};
use crate::support::redis::{Server, fill};
use ccb::source::redis::Request;
use ccb::source::redis::facts::{Form, Transfer};

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
