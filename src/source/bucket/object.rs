//! One object: its bytes, by ranges where there are many, and what is beside them. An object that
//! becomes another while it is read is never put together from both.

use crate::model::tree::{Node, OpenBody, ReadBody};
use crate::source::bucket::ask::{Bucket, BucketError};
use crate::source::bucket::beside::{
    TAG_COUNT, TAGS, add_tags, etag_in, hex_md5, md5_of, node, tag_count, version_in,
};
use crate::source::bucket::budget::Held;
use crate::wire::{Answer, Request};
use bytes::Bytes;
use futures_util::StreamExt;
use hyper::Method;
use hyper::header::HeaderMap;
use md5::{Digest, Md5};
use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// A longer object is read by ranges of this length.
pub(crate) const PART_LEN_BYTES: u64 = 8 << 20;
/// Ranges of one object on their way.
const PARTS_AT_ONCE: usize = 3;
/// How often bytes that are not those of their ETag are read.
const READS_MAX: u32 = 3;

/// An object as it was when it was read.
pub(crate) struct Got {
    /// Its node: size, time and attributes, and no name yet.
    pub(crate) node: Node,
    pub(crate) body: Box<dyn OpenBody>,
    /// Why its tags are not with it.
    pub(crate) untagged: Option<BucketError>,
}

impl Bucket {
    /// The object's bytes, or those of `range`; of one version or of the newest.
    pub(crate) async fn get(
        &self,
        key: &str,
        version: Option<&str>,
        range: Option<Range<u64>>,
    ) -> Result<Answer, BucketError> {
        self.ask("read an object", || {
            let mut request = Request::new(Method::GET, key.to_owned());
            if let Some(version) = version {
                request = request.query("versionId", version.to_owned());
            }
            match &range {
                Some(range) => {
                    request.header("range", format!("bytes={}-{}", range.start, range.end - 1))
                }
                None => request,
            }
        })
        .await
    }

    /// What is beside an object's bytes, as its node has it.
    pub(crate) async fn head(&self, key: &str, version: Option<&str>) -> Result<Node, BucketError> {
        const DOING: &str = "look at an object";
        let head = self.ask(DOING, || {
            let request = Request::new(Method::HEAD, key.to_owned());
            match version {
                Some(version) => request.query("versionId", version.to_owned()),
                None => request,
            }
        });
        let head = head.await?;
        let unknown = || self.wrong(DOING, "the server does not say how long it is");
        let len = head.object_len().ok_or_else(unknown)?;
        let mut node = node(&head.headers, len);
        // Not every server counts them here.
        let (tags, are_there) = (self.tags(key, version).await, tag_count(&head.headers) > 0);
        match tags {
            Ok(tags) => add_tags(&mut node, TAGS, tags),
            Err(error) if are_there || error.is_denied() || error.is_about_all() => {
                return Err(error);
            }
            // It knows no tags.
            Err(_) => {}
        }
        Ok(node)
    }

    /// Adds an object's tags to its node, where it has some. An error that is about them alone is the answer: then
    /// the node says that they are missing.
    async fn read_tags(
        &self,
        key: &str,
        headers: &HeaderMap,
        node: &mut Node,
    ) -> Result<Option<BucketError>, BucketError> {
        let count = tag_count(headers);
        if count == 0 {
            return Ok(None);
        }
        match self.tags(key, version_in(headers).as_deref()).await {
            Ok(tags) => {
                add_tags(node, TAGS, tags);
                Ok(None)
            }
            Err(error) if error.is_about_all() => Err(error),
            Err(error) => {
                add_tags(node, TAG_COUNT, count.to_string());
                Ok(Some(error))
            }
        }
    }

    /// Exactly these bytes of an object.
    pub async fn part(
        &self,
        key: &str,
        version: Option<&str>,
        range: Range<u64>,
    ) -> Result<Bytes, BucketError> {
        let len = range.end - range.start;
        let answer = self.get(key, version, Some(range)).await?;
        match answer.body.len() as u64 == len {
            true => Ok(answer.body),
            false => Err(self.wrong(
                "read an object",
                "the server gave another range than was asked for",
            )),
        }
    }

    /// Reads an object of about this size: all of it, or its beginning and the rest when it is opened.
    pub(crate) async fn fetch(
        self: &Arc<Self>,
        key: &str,
        version: Option<&str>,
        listed_len: u64,
        mut held: Held,
    ) -> Result<Got, BucketError> {
        let is_long = listed_len > PART_LEN_BYTES;
        for _ in 0..READS_MAX {
            let range = is_long.then_some(0..PART_LEN_BYTES);
            let answer = self.get(key, version, range).await?;
            let len = whole_len(&answer).ok_or_else(|| {
                self.wrong("read an object", "the server does not say how long it is")
            })?;
            let mut node = node(&answer.headers, len);
            let md5 = md5_of(&node).map(str::to_owned);
            if answer.body.len() as u64 == len {
                let mut digest = Md5::new();
                digest.update(&answer.body);
                if md5.is_some_and(|md5| md5 != hex_md5(digest)) {
                    continue;
                }
                let untagged = self.read_tags(key, &answer.headers, &mut node).await?;
                // It may be shorter than it was when it was listed. Who waits for more of the budget hands over
                // what is here only when it is much: by what it is, not by what it was.
                held.shrink_to(len);
                let body = Box::new(Whole {
                    bytes: answer.body,
                    _held: held,
                });
                return Ok(Got {
                    node,
                    body,
                    untagged,
                });
            }
            let untagged = self.read_tags(key, &answer.headers, &mut node).await?;
            let body = Box::new(Long {
                bucket: self.clone(),
                key: key.to_owned(),
                version: version_in(&answer.headers),
                etag: etag_in(&answer.headers),
                md5,
                first: answer.body,
                len,
                runtime: Handle::current(),
                held,
            });
            return Ok(Got {
                node,
                body,
                untagged,
            });
        }
        Err(self.wrong(
            "read an object",
            "its bytes are not those that its ETag was made of",
        ))
    }
}

/// How long the object is of which this is a part, or all.
fn whole_len(answer: &Answer) -> Option<u64> {
    match answer.header("content-range") {
        Some(range) => range.rsplit_once('/')?.1.parse().ok(),
        None => Some(answer.body.len() as u64),
    }
}

/// A short object: its bytes are here.
struct Whole {
    bytes: Bytes,
    /// They count until they are read.
    _held: Held,
}

impl OpenBody for Whole {
    fn open(self: Box<Self>) -> io::Result<Box<dyn ReadBody>> {
        Ok(self)
    }
}

impl Read for Whole {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(take(&mut self.bytes, buf))
    }
}

impl ReadBody for Whole {
    fn changed_while_reading(&self) -> io::Result<bool> {
        Ok(false)
    }
}

fn take(bytes: &mut Bytes, buf: &mut [u8]) -> usize {
    let len = bytes.len().min(buf.len());
    buf[..len].copy_from_slice(&bytes.split_to(len));
    len
}

/// A long object: its beginning is here.
struct Long {
    bucket: Arc<Bucket>,
    key: String,
    version: Option<String>,
    etag: String,
    md5: Option<String>,
    first: Bytes,
    len: u64,
    runtime: Handle,
    held: Held,
}

impl OpenBody for Long {
    fn open(self: Box<Self>) -> io::Result<Box<dyn ReadBody>> {
        let (send, parts) = mpsc::channel(1);
        let start = self.first.len() as u64;
        self.runtime.spawn(rest(
            (self.bucket, self.key, self.version),
            self.etag,
            start..self.len,
            send,
        ));
        Ok(Box::new(Reading {
            now: self.first,
            parts,
            left: self.len - start,
            digest: self.md5.map(|md5| (md5, Md5::new())),
            _held: self.held,
        }))
    }
}

/// Reads a range of an object part by part. Ends with the first that can not be had, and when nobody takes them.
async fn rest(
    (bucket, key, version): (Arc<Bucket>, String, Option<String>),
    etag: String,
    range: Range<u64>,
    send: mpsc::Sender<io::Result<Bytes>>,
) {
    let starts = range.clone().step_by(PART_LEN_BYTES as usize);
    let parts = starts.map(|start| {
        let part = start..(start + PART_LEN_BYTES).min(range.end);
        part_of(&bucket, &key, version.as_deref(), &etag, part)
    });
    let mut parts = futures_util::stream::iter(parts).buffered(PARTS_AT_ONCE);
    while let Some(part) = parts.next().await {
        let is_last = part.is_err();
        if send.send(part).await.is_err() || is_last {
            return;
        }
    }
}

async fn part_of(
    bucket: &Bucket,
    key: &str,
    version: Option<&str>,
    etag: &str,
    range: Range<u64>,
) -> io::Result<Bytes> {
    let changed =
        || io::Error::other("it was changed while it was read; the next backup reads it again");
    let len = range.end - range.start;
    let answer = match bucket.get(key, version, Some(range)).await {
        Ok(answer) => answer,
        Err(error) if error.is_missing() => return Err(changed()),
        Err(error) => return Err(io::Error::other(error)),
    };
    match etag_in(&answer.headers) == etag && answer.body.len() as u64 == len {
        true => Ok(answer.body),
        false => Err(changed()),
    }
}

/// A long object being read.
struct Reading {
    now: Bytes,
    parts: mpsc::Receiver<io::Result<Bytes>>,
    left: u64,
    digest: Option<(String, Md5)>,
    _held: Held,
}

impl Read for Reading {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.now.is_empty() && self.left > 0 {
            let ended = || io::Error::other("the reading of it ended in the middle");
            self.now = self.parts.blocking_recv().ok_or_else(ended)??;
            self.left = self.left.saturating_sub(self.now.len() as u64);
        }
        let len = take(&mut self.now, buf);
        if let Some((_, digest)) = &mut self.digest {
            digest.update(&buf[..len]);
        }
        if len == 0
            && !buf.is_empty()
            && let Some((md5, digest)) = self.digest.take()
            && md5 != hex_md5(digest)
        {
            return Err(io::Error::other(
                "its bytes are not those that its ETag was made of",
            ));
        }
        Ok(len)
    }
}

impl ReadBody for Reading {
    fn changed_while_reading(&self) -> io::Result<bool> {
        // A part of another object is an error when it comes.
        Ok(false)
    }
}
