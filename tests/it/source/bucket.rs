//! Buckets that are protected, held against what they are replicated to.

use crate::support::s3::{ACCESS_KEY, BUCKET, Fault, SECRET_KEY, Server};
use crate::support::s3_client::access;
use ccb::source::bucket::{Bucket, Waiting, waiting};
use hyper::Method;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const HOUR: Duration = Duration::from_secs(3600);

/// What has waited for an hour.
async fn waiting_for_an_hour(server: &Server, replica: &Server) -> Waiting {
    let bucket = |server: &Server| {
        let access = access(&server.endpoint(), BUCKET, ACCESS_KEY, SECRET_KEY);
        Bucket::new(&access).expect("a bucket")
    };
    let limit = Timestamp::try_from(SystemTime::now() - HOUR).expect("a time");
    let compared = waiting(&bucket(server), &bucket(replica), limit).await;
    compared.expect("both are there")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_or_deleted_between_the_two_listings_does_not_wait() {
    let (server, replica) = (Arc::new(Server::start()), Server::start());
    for key in ["changed", "deleted", "waits"] {
        server.place(key, "before");
        server.age(key, 2 * HOUR);
    }
    replica.place("changed", "afterwards");
    let changing = server.clone();
    replica.fail(move |method, key| {
        // Its listing is asked for: that of the other is here.
        if *method == Method::GET && key.is_empty() {
            changing.place("changed", "afterwards");
        }
        None
    });
    server.fail(|method, key| match (method.as_str(), key) {
        ("HEAD", "deleted") => Some(Fault::Refused(404, "")),
        _ => None,
    });
    let waiting = waiting_for_an_hour(&server, &replica).await;
    assert_eq!((waiting.objects, waiting.late), (3, 1));
    assert_eq!(waiting.oldest.expect("one").0, "waits");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_replicated_not_every_object_is_looked_at() {
    let (server, replica) = (Server::start(), Server::start());
    for number in 0..200 {
        let key = format!("key {number}");
        server.place(&key, "x");
        server.age(&key, 2 * HOUR);
    }
    let waiting = waiting_for_an_hour(&server, &replica).await;
    assert_eq!(waiting.late, 200);
    let asked = server.asked();
    let looks = asked.iter().filter(|asked| asked.starts_with("HEAD "));
    assert!((100..120).contains(&looks.count()));
}
