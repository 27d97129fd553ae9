//! Holds a bucket against the one that it is replicated to: what is there and did not arrive. Reads both listings,
//! looks once more at what seems to wait, and reads no object.

use crate::source::bucket::beside::{etag_in, node};
use crate::source::bucket::{Bucket, BucketError, Listed};
use crate::wire::{Answer, Request};
use futures_util::future::try_join_all;
use hyper::Method;
use jiff::Timestamp;

/// Objects that are looked at once more at the same time.
const LOOKS_AT_ONCE: usize = 16;
/// When so many surely wait, the others are not looked at: replication does not work, and millions may wait.
const SURE_ENOUGH: usize = 100;
/// Listings tell fractions of a second, and headers do not.
const TOLD_TIME_NS: i128 = 1_000_000_000;

/// What waits to be replicated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Objects in the bucket.
    pub objects: u64,
    /// Those that waited too long. Where there are very many, some of them may have been changed meanwhile.
    pub late: u64,
    /// The one that waits longest: its key, as far as it is text, and when it was written.
    pub oldest: Option<(String, Timestamp)>,
}

/// Compares what is in `bucket` and was written before `limit` with what is in `replica`.
pub async fn waiting(
    bucket: &Bucket,
    replica: &Bucket,
    limit: Timestamp,
) -> Result<Waiting, BucketError> {
    // The replica is listed last: what arrives meanwhile is there.
    let objects = bucket.objects("").await?;
    let mut arrived = replica.objects("").await?;
    arrived.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    // What was changed or deleted meanwhile may have arrived as well, and then its replica is another one.
    let late = still_there(bucket, late(&objects, &arrived, limit)).await?;
    Ok(Waiting {
        objects: objects.len() as u64,
        late: late.len() as u64,
        oldest: late.first().map(|object| {
            let key = String::from_utf8_lossy(&object.key).into_owned();
            (key, object.modified)
        }),
    })
}

/// What was written before `limit` and is not among `arrived`, which is sorted by key; the oldest first.
fn late<'a>(objects: &'a [Listed], arrived: &[Listed], limit: Timestamp) -> Vec<&'a Listed> {
    let is_there = |object: &&Listed| {
        let found = arrived.binary_search_by(|other| other.key.cmp(&object.key));
        found.is_ok_and(|at| is_replica(object, &arrived[at]))
    };
    let mut late: Vec<&Listed> = objects
        .iter()
        .filter(|object| object.modified < limit)
        .filter(|object| !is_there(object))
        .collect();
    late.sort_by_key(|object| object.modified);
    late
}

/// Those of `late` that are still as they were listed, in the same order.
async fn still_there<'a>(
    bucket: &Bucket,
    late: Vec<&'a Listed>,
) -> Result<Vec<&'a Listed>, BucketError> {
    let mut sure = Vec::new();
    let mut rest = late.into_iter();
    while sure.len() < SURE_ENOUGH {
        let next: Vec<&Listed> = rest.by_ref().take(LOOKS_AT_ONCE).collect();
        if next.is_empty() {
            break;
        }
        let mut looks = Vec::new();
        for object in &next {
            looks.push(is_still_there(bucket, object));
        }
        let seen = try_join_all(looks).await?;
        let same = next.into_iter().zip(seen).filter(|(_, is_same)| *is_same);
        sure.extend(same.map(|(object, _)| object));
    }
    sure.extend(rest);
    Ok(sure)
}

async fn is_still_there(bucket: &Bucket, listed: &Listed) -> Result<bool, BucketError> {
    // A key that is no text can not be asked for.
    let Ok(key) = str::from_utf8(&listed.key) else {
        return Ok(true);
    };
    let head = bucket.ask("look at an object", || {
        Request::new(Method::HEAD, key.to_owned())
    });
    match head.await {
        Ok(head) => Ok(is_same(listed, &head)),
        Err(error) if error.is_missing() => Ok(false),
        Err(error) if error.is_about_all() => Err(error),
        // Who may list it and not look at it knows no more than the listing says.
        Err(_) => Ok(true),
    }
}

/// Whether an object is as it was listed, by its ETag, or its size where that is not told, and its time.
fn is_same(listed: &Listed, head: &Answer) -> bool {
    let len = head.object_len().unwrap_or(listed.size);
    let etag = etag_in(&head.headers);
    let mtime_ns = node(&head.headers, len).mtime_ns;
    let is_same_time =
        mtime_ns == 0 || (mtime_ns - listed.modified.as_nanosecond()).abs() <= TOLD_TIME_NS;
    is_same_time
        && match etag.is_empty() || listed.etag.is_empty() {
            true => len == listed.size,
            false => etag == *listed.etag,
        }
}

/// A replica has the content of its object; where the server's fingerprints differ, as with other encryption
/// keys, it is at least as long, and no older.
fn is_replica(object: &Listed, other: &Listed) -> bool {
    let is_same = !object.etag.is_empty() && object.etag == other.etag;
    object.size == other.size && (is_same || other.modified >= object.modified)
}

#[cfg(test)]
mod tests {
    use super::{is_same, late};
    use crate::source::bucket::Listed;
    use crate::wire::Answer;
    use bytes::Bytes;
    use hyper::StatusCode;
    use hyper::header::{HeaderMap, HeaderValue};
    use jiff::Timestamp;

    fn object(key: &str, etag: &str, second: i64) -> Listed {
        Listed {
            key: key.as_bytes().to_vec(),
            size: 7,
            etag: etag.into(),
            modified: Timestamp::from_second(second).unwrap(),
        }
    }

    #[test]
    fn what_did_not_arrive_in_time_waits() {
        let objects = [
            object("a", "same", 100),
            object("b", "new", 100),
            object("c", "only here", 90),
            object("d", "young", 900),
            object("e", "by another key", 100),
        ];
        let arrived = [
            object("a", "same", 50),
            object("b", "old", 50),
            object("e", "by its own key", 101),
            object("f", "deleted here", 10),
        ];
        let late = late(&objects, &arrived, Timestamp::from_second(500).unwrap());
        let late: Vec<&[u8]> = late.iter().map(|object| object.key.as_slice()).collect();
        assert_eq!(late, [b"c", b"b"], "the oldest first");
    }

    #[test]
    fn an_object_is_as_it_was_listed_by_its_etag_or_size_and_by_its_time() {
        let time = "Thu, 01 Jan 1970 00:01:40 GMT";
        for (etag, len, time, is_wanted) in [
            ("\"e\"", "7", time, true),
            ("\"other\"", "7", time, false),
            ("", "7", time, true),
            ("", "8", time, false),
            ("\"e\"", "7", "Thu, 01 Jan 1970 00:02:40 GMT", false),
            ("\"e\"", "7", "", true),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [
                ("etag", etag),
                ("content-length", len),
                ("last-modified", time),
            ] {
                if !value.is_empty() {
                    headers.insert(name, HeaderValue::from_static(value));
                }
            }
            let head = Answer {
                status: StatusCode::OK,
                headers,
                body: Bytes::new(),
            };
            let listed = Listed {
                modified: Timestamp::from_millisecond(100_900).unwrap(),
                ..object("a", "e", 100)
            };
            assert_eq!(is_same(&listed, &head), is_wanted, "{etag} {len} {time}");
        }
    }
}
