//! Earlier versions of a bucket's objects: which were there at an instant, and how they become the newest again.
//! Nothing is deleted: a version that is put back is copied over what is there, by the server itself.

use crate::restore::bucket::upload::Upload;
use crate::restore::bucket::{Intent, REFUSED, Report, Target, There, not_lost};
use crate::restore::chain;
use crate::source::bucket::beside::headers;
use crate::source::bucket::{
    Answer, Bucket, BucketError, ObjectVersion, Request, escaped, text_of,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use hyper::Method;
use jiff::Timestamp;
use std::ops::Range;

/// Copies on their way.
const AT_ONCE: usize = 8;
/// Parts of one object on their way.
const PARTS_AT_ONCE: usize = 4;
/// Servers take ten thousand parts.
const PARTS_MAX: u64 = 10_000;
/// Objects are compared by ranges of this length.
const COMPARED_LEN_BYTES: u64 = 8 << 20;

/// What a server copies at a time.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A longer object is copied in parts.
    pub whole_max_bytes: u64,
    /// How long those are, where ten thousand of them suffice.
    pub part_len_bytes: u64,
}

impl Default for Limits {
    /// Those of S3. A part is a few seconds' work, so that one that fails costs little.
    fn default() -> Self {
        Self {
            whole_max_bytes: 5 << 30,
            part_len_bytes: 512 << 20,
        }
    }
}

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
    limits: Limits,
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
        let copy = Copy {
            from,
            target: format!("{}{key}", into.prefix),
            key,
            version,
            into,
        };
        let (target, object) = (copy.target.as_str(), &copy.version.object);
        let (size, told) = (object.size, Some(&*object.etag));
        let mut intent = there.decide(target, size, told, into.overwrite);
        let is_other = matches!(intent, Intent::Overwrite | Intent::Refuse);
        let may_be = is_other && there.may_be(target, size, told);
        if may_be && copy.is_there().await.is_ok_and(|is_there| is_there) {
            intent = Intent::Keep;
        }
        on(target, intent);
        match intent {
            Intent::Keep => report.kept += 1,
            Intent::Refuse => report.problem(target.as_bytes(), REFUSED),
            _ if into.dry_run => {
                report.objects += 1;
                report.bytes += size;
            }
            _ => jobs.push(copy),
        }
    }
    let done = jobs.into_iter().map(|copy| async move {
        let copied = copy.run(limits).await;
        (copy, copied)
    });
    let mut done = stream::iter(done).buffered(AT_ONCE);
    while let Some((copy, copied)) = done.next().await {
        match copied {
            Ok(()) => {
                report.objects += 1;
                report.bytes += copy.version.object.size;
            }
            Err(why) => report.problem(copy.target.as_bytes(), &why),
        }
    }
    Ok(report)
}

/// A version, and what it shall be.
struct Copy<'a> {
    from: &'a Bucket,
    key: String,
    version: ObjectVersion,
    into: &'a Target,
    target: String,
}

impl Copy<'_> {
    /// Has it copied by the server.
    async fn run(&self, limits: Limits) -> Result<(), String> {
        match self.version.object.size > limits.whole_max_bytes {
            true => self.in_parts(limits).await,
            false => self.whole().await,
        }
    }

    /// A request that copies it, or a range of it.
    fn with_source(&self, request: Request, bytes: u64) -> Request {
        let (bucket, key) = (&self.from.name, escaped(&self.key));
        let source = format!("/{bucket}/{key}?versionId={}", escaped(&self.version.id));
        let request = request.header("x-amz-copy-source", source).moving(bytes);
        match &*self.version.object.etag {
            "" => request,
            etag => request.header("x-amz-copy-source-if-match", format!("\"{etag}\"")),
        }
    }

    async fn whole(&self) -> Result<(), String> {
        let copied = self.into.bucket.ask("copy a version", || {
            let request = Request::new(Method::PUT, self.target.clone());
            self.with_source(request, self.version.object.size)
        });
        let copied = copied.await.map_err(|error| chain(&error))?;
        etag_of(&copied).map(drop)
    }

    /// A server copies what is beside an object only with the whole of it: here that is sent.
    async fn in_parts(&self, limits: Limits) -> Result<(), String> {
        let head = self.from.head(&self.key, Some(&self.version.id)).await;
        let (headers, unsent) = headers(&head.map_err(|error| chain(&error))?);
        let upload = Upload::begin(self.into, &self.target, &headers).await?;
        let size = self.version.object.size;
        let len = limits.part_len_bytes.max(size.div_ceil(PARTS_MAX));
        let starts = (0..size).step_by(usize::try_from(len).unwrap_or(usize::MAX));
        let parts = starts.enumerate().map(|(at, start)| {
            let range = start..size.min(start + len);
            self.part(&upload, at + 1, range)
        });
        let copied = stream::iter(parts).buffered(PARTS_AT_ONCE);
        let copied = copied.try_collect().await;
        upload.end(copied).await?;
        not_lost(&unsent)
    }

    async fn part(
        &self,
        upload: &Upload<'_>,
        number: usize,
        range: Range<u64>,
    ) -> Result<String, String> {
        let copied = upload.part(number, |request| {
            let bytes = format!("bytes={}-{}", range.start, range.end - 1);
            self.with_source(request, range.end - range.start)
                .header("x-amz-copy-source-range", bytes)
        });
        etag_of(&copied.await?)
    }

    /// Whether what is there has the same bytes: its ETag does not tell of one that came in parts.
    async fn is_there(&self) -> Result<bool, BucketError> {
        let size = self.version.object.size;
        for start in (0..size).step_by(COMPARED_LEN_BYTES as usize) {
            let range = start..size.min(start + COMPARED_LEN_BYTES);
            let (version, there) = tokio::try_join!(
                self.from
                    .part(&self.key, Some(&self.version.id), range.clone()),
                self.into.bucket.part(&self.target, None, range)
            )?;
            if version != there {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The ETag of what was copied. The answer begins before it is known whether it is done.
fn etag_of(copied: &Answer) -> Result<String, String> {
    let etag = text_of(copied, "ETag").map(|etag| etag.trim_matches('"').to_owned());
    etag.ok_or_else(|| {
        let code = text_of(copied, "Code").unwrap_or_default();
        format!("the server did not copy it: {code}")
    })
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
