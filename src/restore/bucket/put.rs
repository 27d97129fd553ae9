//! Stores one object: in one request, or in parts where it is long, so that its bytes are never all in memory.
//! What the server says it stored is held against what was sent.

use crate::restore::bucket::upload::{Upload, with};
use crate::restore::bucket::{Intent, Target};
use crate::restore::chain;
use crate::source::bucket::beside::hex_md5;
use crate::source::bucket::{Answer, BucketError, Request};
use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use hyper::Method;
use md5::{Digest, Md5};

/// A longer object is stored in parts.
pub(crate) const PART_LEN_BYTES: u64 = 16 << 20;
/// Servers take ten thousand parts.
const PARTS_MAX: u64 = 9_000;
const DOING: &str = "store an object";

/// Gives the next bytes of an object; none at its end. The error is in words.
pub(crate) trait Bytewise: Send {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, String>>;
}

/// Stores `size` bytes as `key`.
pub(crate) async fn put(
    into: &Target,
    key: &str,
    headers: &[(String, String)],
    size: u64,
    intent: Intent,
    body: &mut dyn Bytewise,
) -> Result<(), String> {
    let part_len = PART_LEN_BYTES.max(size.div_ceil(PARTS_MAX));
    let mut parts = Parts {
        body,
        ahead: BytesMut::new(),
        left: size,
    };
    if size > part_len {
        return in_parts(into, key, headers, part_len, &mut parts).await;
    }
    let bytes = parts.take(size).await?;
    parts.must_be_over().await?;
    let answer = into.bucket.ask(DOING, || {
        let mut request = with(Request::new(Method::PUT, key.to_owned()), headers);
        if intent == Intent::Create {
            request = request.header("if-none-match", "*".to_owned());
        }
        request.body(bytes.clone())
    });
    let answer = match answer.await {
        Ok(answer) => answer,
        // Its first answer may have been lost: then it is this very object.
        Err(error) if error.is_taken() => return is_there(into, key, &bytes, &error).await,
        Err(error) => return Err(chain(&error)),
    };
    is_stored(&answer, &bytes)
}

/// Whether the server says that it stored these bytes, where its ETag tells.
fn is_stored(answer: &Answer, bytes: &Bytes) -> Result<(), String> {
    let told = told_by(answer);
    let is_by_key = answer
        .header("x-amz-server-side-encryption")
        .is_some_and(|by| by.starts_with("aws:kms"));
    match told.len() == 32 && !is_by_key && told != md5(bytes) {
        true => Err("the server stored other bytes than it was sent".to_owned()),
        false => Ok(()),
    }
}

/// The ETag that comes with an answer.
fn told_by(answer: &Answer) -> &str {
    let told = answer.header("etag").unwrap_or_default();
    told.trim_matches('"')
}

fn md5(bytes: &[u8]) -> String {
    let mut digest = Md5::new();
    digest.update(bytes);
    hex_md5(digest)
}

async fn is_there(
    into: &Target,
    key: &str,
    bytes: &Bytes,
    refused: &BucketError,
) -> Result<(), String> {
    let there = into.bucket.ask("read an object", || {
        Request::new(Method::GET, key.to_owned())
    });
    let there = there.await.map_err(|error| chain(&error))?;
    match there.body == *bytes {
        true => Ok(()),
        false => Err(chain(refused)),
    }
}

async fn in_parts(
    into: &Target,
    key: &str,
    headers: &[(String, String)],
    part_len: u64,
    parts: &mut Parts<'_>,
) -> Result<(), String> {
    let upload = Upload::begin(into, key, headers).await?;
    let sent = send(&upload, part_len, parts).await;
    upload.end(sent).await
}

/// Sends part after part. The ETags of all.
async fn send(
    upload: &Upload<'_>,
    part_len: u64,
    parts: &mut Parts<'_>,
) -> Result<Vec<String>, String> {
    let mut etags = Vec::new();
    while parts.left > 0 {
        let bytes = parts.take(part_len.min(parts.left)).await?;
        let sent = |request: Request| request.plain_body(bytes.clone());
        let answer = upload.part(etags.len() + 1, sent).await?;
        is_stored(&answer, &bytes)?;
        etags.push(told_by(&answer).to_owned());
    }
    parts.must_be_over().await?;
    Ok(etags)
}

/// The bytes of an object, cut into parts.
struct Parts<'a> {
    body: &'a mut dyn Bytewise,
    ahead: BytesMut,
    left: u64,
}

impl Parts<'_> {
    async fn take(&mut self, len: u64) -> Result<Bytes, String> {
        while (self.ahead.len() as u64) < len {
            match self.body.next().await? {
                Some(bytes) => self.ahead.extend_from_slice(&bytes),
                None => return Err("the backup has fewer bytes of it than it says".to_owned()),
            }
        }
        self.left -= len;
        // It fits: a part is much shorter than memory.
        Ok(self.ahead.split_to(len as usize).freeze())
    }

    async fn must_be_over(&mut self) -> Result<(), String> {
        let is_over = self.ahead.is_empty() && self.body.next().await?.is_none_or(|b| b.is_empty());
        match is_over {
            true => Ok(()),
            false => Err("the backup has more bytes of it than it says".to_owned()),
        }
    }
}
