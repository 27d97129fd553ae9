//! Earlier versions of a bucket's objects: which were there at an instant, and how they become the newest again.
//! Nothing is deleted: a version that is put back is copied over what is there, by the server itself.

use crate::restore::bucket::{Intent, REFUSED, Report, Target, There};
use crate::restore::chain;
use crate::source::bucket::{Bucket, BucketError, ObjectVersion, Request, escaped, text_of};
use futures_util::{StreamExt, stream};
use hyper::Method;
use jiff::Timestamp;

/// Copies on their way.
const AT_ONCE: usize = 8;
/// What a server copies in one request.
const COPY_LEN_MAX_BYTES: u64 = 5 << 30;

/// Of all versions, by key and the newest first, those that were there at `time`: what was deleted then is not.
/// Pure.
pub fn as_of(versions: Vec<ObjectVersion>, time: Option<Timestamp>) -> Vec<ObjectVersion> {
    let mut there: Vec<ObjectVersion> = Vec::new();
    let mut decided: Option<Vec<u8>> = None;
    for version in versions {
        let is_later = time.is_some_and(|time| version.object.modified > time);
        if is_later || decided.as_ref() == Some(&version.object.key) {
            continue;
        }
        decided = Some(version.object.key.clone());
        if !version.is_deletion {
            there.push(version);
        }
    }
    there
}

/// Copies versions of `from` over what is in a bucket now. `on` hears of each.
pub async fn copy_back(
    from: &Bucket,
    versions: Vec<ObjectVersion>,
    into: &Target,
    on: &mut (dyn FnMut(&str, Intent) + Send),
) -> Result<Report, BucketError> {
    let there = There::of(into).await?;
    let mut report = Report::default();
    let mut jobs = Vec::new();
    for version in versions {
        let Ok(key) = String::from_utf8(version.object.key.clone()) else {
            report.problem(&version.object.key, "its key is no text");
            continue;
        };
        let size = version.object.size;
        let target = format!("{}{key}", into.prefix);
        let intent = there.decide(&target, size, Some(&*version.object.etag), into.overwrite);
        on(&target, intent);
        match intent {
            Intent::Keep => report.kept += 1,
            Intent::Refuse => report.problem(target.as_bytes(), REFUSED),
            _ if size > COPY_LEN_MAX_BYTES => {
                let why = "it is longer than 5 GiB, which a server copies in parts only; restore it to a directory";
                report.problem(target.as_bytes(), why);
            }
            _ if into.dry_run => {
                report.objects += 1;
                report.bytes += size;
            }
            _ => jobs.push((target, key, version)),
        }
    }
    let done = jobs.into_iter().map(|(target, key, version)| async move {
        let copied = copy(from, &key, &version.id, into, &target).await;
        (target, version.object.size, copied)
    });
    let mut done = stream::iter(done).buffered(AT_ONCE);
    while let Some((target, size, copied)) = done.next().await {
        match copied {
            Ok(()) => {
                report.objects += 1;
                report.bytes += size;
            }
            Err(why) => report.problem(target.as_bytes(), &why),
        }
    }
    Ok(report)
}

async fn copy(
    from: &Bucket,
    key: &str,
    version: &str,
    into: &Target,
    target: &str,
) -> Result<(), String> {
    let source = format!(
        "/{}/{}?versionId={}",
        from.name,
        escaped(key),
        escaped(version)
    );
    let copied = into.bucket.ask("copy a version", || {
        Request::new(Method::PUT, target.to_owned()).header("x-amz-copy-source", source.clone())
    });
    let copied = copied.await.map_err(|error| chain(&error))?;
    // This answer begins before it is known whether it is done.
    match text_of(&copied, "ETag") {
        Some(_) => Ok(()),
        None => Err(format!(
            "the server did not copy it: {}",
            text_of(&copied, "Code").unwrap_or_default()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::as_of;
    use crate::source::bucket::{Listed, ObjectVersion};
    use jiff::Timestamp;

    fn version(key: &str, second: i64, id: &str, is_deletion: bool) -> ObjectVersion {
        let object = Listed {
            key: key.as_bytes().to_vec(),
            size: 1,
            etag: "".into(),
            modified: Timestamp::from_second(second).unwrap(),
        };
        ObjectVersion {
            object,
            id: id.to_owned(),
            is_deletion,
            is_latest: false,
        }
    }

    #[test]
    fn at_an_instant_each_object_is_its_newest_version_until_then_and_none_when_that_deleted_it() {
        let all = || {
            vec![
                version("a", 30, "a3", false),
                version("a", 20, "a2", true),
                version("a", 10, "a1", false),
                version("b", 15, "b1", false),
            ]
        };
        for (second, want) in [
            (5, vec![]),
            (10, vec!["a1"]),
            (15, vec!["a1", "b1"]),
            (25, vec!["b1"]),
            (30, vec!["a3", "b1"]),
        ] {
            let time = Some(Timestamp::from_second(second).unwrap());
            let ids: Vec<_> = as_of(all(), time).into_iter().map(|v| v.id).collect();
            assert_eq!(ids, want, "{second}");
        }
        assert_eq!(as_of(all(), None).len(), 2);
    }
}
