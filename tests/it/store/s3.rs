//! S3: what only a server can do wrong, and what is asked of it.

use crate::store::{chain, key, quick};
use crate::support::s3::{ACCESS_KEY, BUCKET, Fault, Quirks, SECRET_KEY, Server};
use crate::support::s3_client::access;
use bytes::Bytes;
use ccb::store::s3::{Lock, S3, ServerSide, Settings};
use ccb::store::{Backend, Kind, Put, Store};
use hyper::Method;
use std::sync::Arc;

/// What the server's owner would write.
pub(super) fn settings(server: &Server) -> Settings {
    settings_of(&server.endpoint(), BUCKET, ACCESS_KEY, SECRET_KEY)
}

/// The same of another server.
pub(super) fn settings_of(endpoint: &str, bucket: &str, id: &str, secret: &str) -> Settings {
    Settings {
        access: access(endpoint, bucket, id, secret),
        prefix: "of/ccb".to_owned(),
        storage_class: None,
        server_side: None,
        lock: None,
    }
}

fn store(server: &Server) -> Store {
    let s3 = S3::new(settings(server)).expect("it can be asked");
    Store::with_retries(Arc::new(s3), 8, quick())
}

#[tokio::test]
async fn an_answer_that_is_lost_after_the_server_acted_is_no_second_creator() {
    let server = Server::start();
    let store = store(&server);
    server.fail_once(Fault::AnswerLost, |method, _| method == Method::PUT);
    let body = Bytes::from_static(b"mine");
    store
        .put(&key("a"), body.clone(), Put::New)
        .await
        .expect("it was written");
    // But somebody else's stays somebody else's.
    server.fail_once(Fault::AnswerLost, |method, _| method == Method::PUT);
    let other = store
        .put(&key("a"), Bytes::from_static(b"other"), Put::New)
        .await;
    assert_eq!(other.unwrap_err().kind, Kind::AlreadyExists);
    assert_eq!(store.get(&key("a"), None).await.unwrap(), body);
}

#[tokio::test]
async fn what_passes_is_tried_again_and_what_does_not_is_said_at_once() {
    let server = Server::start();
    let store = store(&server);
    let body = Bytes::from(vec![7; 100_000]);
    let slow_down =
        "<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>";
    for fault in [
        Fault::Refused(503, slow_down),
        Fault::Refused(500, "not even a document"),
        Fault::Refused(
            409,
            "<Error><Code>ConditionalRequestConflict</Code></Error>",
        ),
        Fault::Refused(400, "<Error><Code>BadDigest</Code></Error>"),
    ] {
        let name = key(&format!("{}", server.asked().len()));
        server.fail_once(fault, |method, _| method == Method::PUT);
        store
            .put(&name, body.clone(), Put::New)
            .await
            .expect("the second time");
    }
    store
        .put(&key("cut"), body.clone(), Put::New)
        .await
        .unwrap();
    for after in [0, 1, 99_999] {
        server.fail_once(Fault::Cut(after), |method, _| method == Method::GET);
        assert_eq!(
            store.get(&key("cut"), None).await.expect("the second time"),
            body
        );
    }
    server.fail(move |_, _| Some(Fault::Refused(503, slow_down)));
    let gone = store.get(&key("cut"), None).await.unwrap_err();
    assert_eq!(gone.kind, Kind::Unreachable);
    assert!(
        chain(&gone).contains("503 SlowDown: Reduce your request rate."),
        "{}",
        chain(&gone)
    );
    let before = server.asked().len();
    server.fail(|_, _| {
        Some(Fault::Refused(
            403,
            "<Error><Code>AccessDenied</Code></Error>",
        ))
    });
    let denied = store.get(&key("cut"), None).await.unwrap_err();
    assert_eq!(denied.kind, Kind::Denied);
    assert_eq!(
        server.asked().len(),
        before + 1,
        "asking again does not help"
    );
}

#[tokio::test]
async fn who_is_not_let_in_is_told_why() {
    let server = Server::start();
    let with = |change: &dyn Fn(&mut Settings)| {
        let mut settings = settings(&server);
        change(&mut settings);
        S3::new(settings).expect("it can be asked")
    };
    let auth =
        |id: &str, secret: &str| s3::Auth::Static(s3::Credentials::new(id, secret).expect("both"));
    let wrong_secret =
        with(&|settings| settings.access.auth = auth(ACCESS_KEY, "another-secret-of-somebody"));
    let refused = wrong_secret.list("").await.unwrap_err();
    assert_eq!(refused.kind, Kind::Denied);
    assert!(
        chain(&refused).contains("secret key"),
        "{}",
        chain(&refused)
    );
    let stranger = with(&|settings| settings.access.auth = auth("stranger", SECRET_KEY));
    assert_eq!(stranger.list("").await.unwrap_err().kind, Kind::Denied);
    let no_bucket = with(&|settings| settings.access.bucket = "nowhere".to_owned());
    for refused in [
        no_bucket.list("").await.map(|_| ()).unwrap_err(),
        no_bucket
            .put(&key("a"), Bytes::new(), Put::New)
            .await
            .unwrap_err(),
        no_bucket.delete(&key("a")).await.unwrap_err(),
    ] {
        assert!(
            chain(&refused).contains("create the bucket `nowhere`"),
            "{}",
            chain(&refused)
        );
    }
    let nobody = with(&|settings| settings.access.endpoint = Some("http://127.0.0.1:1".to_owned()));
    assert_eq!(nobody.list("").await.unwrap_err().kind, Kind::Unreachable);
}

#[tokio::test]
async fn a_clock_that_is_wrong_and_a_region_that_is_wrong_are_told() {
    let server = Server::start();
    let store = store(&server);
    server.fail(|_, _| {
        Some(Fault::Refused(
            403,
            "<Error><Code>RequestTimeTooSkewed</Code><Message>The difference is too large.</Message>\
             <RequestTime>20260102T030405Z</RequestTime><ServerTime>2026-01-02T04:04:05Z</ServerTime></Error>",
        ))
    });
    let skewed = store.list("").await.unwrap_err();
    assert!(
        chain(&skewed).contains("clock is 60 min behind"),
        "{}",
        chain(&skewed)
    );
    server.fail(|_, _| {
        Some(Fault::Refused(
            400,
            "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-central-1</Region></Error>",
        ))
    });
    let elsewhere = store.list("").await.unwrap_err();
    assert!(
        chain(&elsewhere).contains("write region=\"eu-central-1\""),
        "{}",
        chain(&elsewhere)
    );
}

#[tokio::test]
async fn a_server_that_ignores_conditions_is_found_by_the_probe_and_one_that_denies_deletes_too() {
    let careless = Server::with(Quirks {
        ignores_conditions: true,
        ..Quirks::default()
    });
    let probe = store(&careless).probe(&key("probes/1")).await.unwrap();
    assert!(!probe.creates_only_once && probe.deletes);
    let keeping = Server::with(Quirks {
        denies_deletes: true,
        ..Quirks::default()
    });
    let probe = store(&keeping).probe(&key("probes/1")).await.unwrap();
    assert!(probe.creates_only_once && !probe.deletes);
    let denied = store(&keeping).delete(&key("probes/1")).await.unwrap_err();
    assert_eq!(denied.kind, Kind::Denied);
}

#[tokio::test]
async fn encryption_classes_and_locks_are_asked_for_and_encryption_is_checked() {
    let server = Server::start();
    let now = "2026-01-01T00:00:00Z".parse().expect("a time");
    let asking = |server: &Server| {
        S3::new(Settings {
            storage_class: Some("STANDARD_IA".to_owned()),
            server_side: Some(ServerSide::Aes256),
            lock: Some(Lock {
                is_compliance: false,
                days: 30,
                now: Arc::new(move || now),
            }),
            ..settings(server)
        })
        .expect("it can be asked")
    };
    let s3 = asking(&server);
    for name in ["packs/d/ab", "packs/m/ab", "leases/1"] {
        s3.put(&key(name), Bytes::from_static(b"x"), Put::New)
            .await
            .unwrap();
    }
    let stored = server.objects();
    let of = |name: &str| stored[&format!("of/ccb/{name}")].clone();
    assert_eq!(of("packs/d/ab").class.as_deref(), Some("STANDARD_IA"));
    assert_eq!(
        of("packs/m/ab").class,
        None,
        "what is needed to plan is there at once"
    );
    assert_eq!(of("packs/m/ab").server_side.as_deref(), Some("AES256"));
    assert_eq!(of("packs/m/ab").lock_mode.as_deref(), Some("GOVERNANCE"));
    assert_eq!(of("leases/1").lock_mode, None, "a lease must be able to go");
    let dropping = Server::with(Quirks {
        drops_encryption: true,
        ..Quirks::default()
    });
    let refused = asking(&dropping)
        .put(&key("a"), Bytes::new(), Put::New)
        .await
        .unwrap_err();
    assert!(
        chain(&refused).contains("`AES256` was asked for and the server used nothing"),
        "{}",
        chain(&refused)
    );
}

#[tokio::test]
async fn what_is_no_object_of_ccb_is_counted_and_what_lies_beside_is_not_seen() {
    let server = Server::start();
    for name in [
        "of/ccb/packs/",
        "of/ccb/..",
        "of/ccb2/a",
        "of/ccbx",
        "other",
    ] {
        server.place(name, &b"?"[..]);
    }
    server.place("of/ccb/packs/d/ab", &b"mine"[..]);
    let listing = store(&server).list("").await.unwrap();
    let names: Vec<_> = listing
        .objects
        .iter()
        .map(|object| object.key.as_str())
        .collect();
    assert_eq!(names, ["packs/d/ab"]);
    assert_eq!(listing.strays, 2);
}
