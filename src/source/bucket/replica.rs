//! Holds a bucket against the one that it is replicated to: what is there and did not arrive. Reads both listings,
//! and no object.

use crate::source::bucket::{Bucket, BucketError, Listed};
use jiff::Timestamp;

/// What waits to be replicated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Objects in the bucket.
    pub objects: u64,
    /// Those that waited too long.
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
    Ok(compare(&objects, &arrived, limit))
}

fn compare(objects: &[Listed], arrived: &[Listed], limit: Timestamp) -> Waiting {
    let is_there = |object: &&Listed| {
        let found = arrived.binary_search_by(|other| other.key.cmp(&object.key));
        found.is_ok_and(|at| is_replica(object, &arrived[at]))
    };
    let late: Vec<&Listed> = objects
        .iter()
        .filter(|object| object.modified < limit)
        .filter(|object| !is_there(object))
        .collect();
    let oldest = late.iter().min_by_key(|object| object.modified);
    Waiting {
        objects: objects.len() as u64,
        late: late.len() as u64,
        oldest: oldest.map(|object| {
            let key = String::from_utf8_lossy(&object.key).into_owned();
            (key, object.modified)
        }),
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
    use super::compare;
    use crate::source::bucket::Listed;
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
        let waiting = compare(&objects, &arrived, Timestamp::from_second(500).unwrap());
        assert_eq!((waiting.objects, waiting.late), (5, 2));
        let oldest = waiting.oldest.unwrap();
        assert_eq!((oldest.0.as_str(), oldest.1.as_second()), ("c", 90));
    }
}
