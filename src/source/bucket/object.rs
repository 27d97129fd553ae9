//! One object: its bytes, by ranges where there are many, and what the server keeps beside them. An object that
//! becomes another while it is read is never put together from both.

use crate::model::tree::{Node, NodeKind, OpenBody, ReadBody};
use crate::source::bucket::ask::{Bucket, BucketError};
use crate::source::bucket::budget::Held;
use crate::wire::{Answer, Request};
use bytes::Bytes;
use futures_util::StreamExt;
use hyper::Method;
use hyper::header::HeaderMap;
use jiff::Timestamp;
use jiff::fmt::rfc2822;
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

/// What is kept of an object's headers. They are extended attributes of its node, and of its file where a backup is
/// restored to a directory: `user.s3.` before the name.
const KEPT: [&str; 9] = [
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
    "x-amz-server-side-encryption",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
];
/// Of these, what is sent when it is put back: the others are the server's own affair.
const SENT: [&str; 7] = [
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
    "x-amz-website-redirect-location",
];
const ATTRIBUTE: &str = "user.s3.";
const ETAG: &str = "user.s3.etag";
const META: &str = "x-amz-meta-";

/// The fingerprint that the server gave an object.
pub fn etag(node: &Node) -> Option<&str> {
    let found = node.xattrs.iter().find(|(name, _)| name == ETAG.as_bytes());
    str::from_utf8(&found?.1).ok()
}

/// The MD5 of an object's bytes, where its ETag is that: not of one that came in parts, and not of one that the
/// server encrypts with another's key.
pub fn md5_of(node: &Node) -> Option<&str> {
    let by_key = b"aws:kms".as_slice();
    let is_by_key = |(name, value): &(Vec<u8>, Vec<u8>)| {
        name == b"user.s3.x-amz-server-side-encryption" && value.starts_with(by_key)
    };
    if node.xattrs.iter().any(is_by_key) {
        return None;
    }
    etag(node).filter(|etag| etag.len() == 32 && etag.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// MD5 in the digits of an ETag.
pub fn hex_md5(digest: Md5) -> String {
    let digest = digest.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The headers that an object is put back with; those that can not be sent are the second.
pub fn headers(node: &Node) -> (Vec<(String, String)>, Vec<String>) {
    let (mut sent, mut unsent) = (Vec::new(), Vec::new());
    for (name, value) in &node.xattrs {
        let name = String::from_utf8_lossy(name);
        let Some(name) = name.strip_prefix(ATTRIBUTE) else {
            continue;
        };
        if !SENT.contains(&name) && !name.starts_with(META) {
            continue;
        }
        match str::from_utf8(value) {
            Ok(value) => sent.push((name.to_owned(), value.to_owned())),
            Err(_) => unsent.push(name.to_owned()),
        }
    }
    (sent, unsent)
}

fn attributes(headers: &HeaderMap) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut all = Vec::new();
    let mut add = |name: &str, value: &[u8]| {
        all.push((format!("{ATTRIBUTE}{name}").into_bytes(), value.to_vec()));
    };
    for (name, value) in headers {
        let name = name.as_str();
        if KEPT.contains(&name) || name.starts_with(META) {
            add(name, value.as_bytes());
        }
    }
    add("etag", etag_in(headers).as_bytes());
    if let Some(version) = version_in(headers) {
        add("version-id", version.as_bytes());
    }
    all.sort();
    // A header that came twice is one attribute.
    all.dedup_by(|a, b| a.0 == b.0);
    all
}

fn etag_in(headers: &HeaderMap) -> String {
    let etag = headers.get("etag").map(|etag| etag.as_bytes());
    String::from_utf8_lossy(etag.unwrap_or_default())
        .trim_matches('"')
        .to_owned()
}

fn version_in(headers: &HeaderMap) -> Option<String> {
    let version = headers.get("x-amz-version-id")?.to_str().ok()?;
    (version != "null").then(|| version.to_owned())
}

/// An object as it was when it was read.
pub(crate) struct Got {
    /// Its node: size, time and attributes, and no name yet.
    pub(crate) node: Node,
    pub(crate) body: Box<dyn OpenBody>,
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
        Ok(node(&head.headers, len))
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
        held: Held,
    ) -> Result<Got, BucketError> {
        let is_long = listed_len > PART_LEN_BYTES;
        for _ in 0..READS_MAX {
            let range = is_long.then_some(0..PART_LEN_BYTES);
            let answer = self.get(key, version, range).await?;
            let len = whole_len(&answer).ok_or_else(|| {
                self.wrong("read an object", "the server does not say how long it is")
            })?;
            let node = node(&answer.headers, len);
            let md5 = md5_of(&node).map(str::to_owned);
            if answer.body.len() as u64 == len {
                let mut digest = Md5::new();
                digest.update(&answer.body);
                if md5.is_some_and(|md5| md5 != hex_md5(digest)) {
                    continue;
                }
                let body = Box::new(Whole {
                    bytes: answer.body,
                    _held: held,
                });
                return Ok(Got { node, body });
            }
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
            return Ok(Got { node, body });
        }
        Err(self.wrong(
            "read an object",
            "its bytes are not those that its ETag was made of",
        ))
    }
}

fn node(headers: &HeaderMap, size: u64) -> Node {
    let kind = NodeKind::File {
        size,
        content: Default::default(),
        extents: Vec::new(),
    };
    let modified = headers.get("last-modified").and_then(|date| {
        let date = date.to_str().ok()?;
        rfc2822::DateTimeParser::new().parse_timestamp(date).ok()
    });
    let mtime_ns = modified.map_or(0, Timestamp::as_nanosecond);
    Node {
        xattrs: attributes(headers),
        ..Node::plain("", kind, 0o644, mtime_ns)
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
