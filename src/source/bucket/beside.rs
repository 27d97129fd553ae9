//! What a server keeps beside an object's bytes, as attributes of its node and back: headers, tags, its fingerprint.
//! Asks nothing.

use crate::model::tree::{Node, NodeKind};
use hyper::header::HeaderMap;
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use md5::{Digest, Md5};

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
const SENT: [&str; 8] = [
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
    TAGS,
    "x-amz-website-redirect-location",
];
/// Its tags. They are asked for where the server says that there are some.
pub(crate) const TAGS: &str = "x-amz-tagging";
/// How many there are: kept instead of tags that could not be read.
pub(super) const TAG_COUNT: &str = "x-amz-tagging-count";
const ATTRIBUTE: &str = "user.s3.";
const ETAG: &str = "user.s3.etag";
const META: &str = "x-amz-meta-";

/// The fingerprint that the server gave an object.
pub fn etag(node: &Node) -> Option<&str> {
    let found = node.xattrs.iter().find(|(name, _)| name == ETAG.as_bytes());
    str::from_utf8(&found?.1).ok()
}

fn attribute<'a>(node: &'a Node, name: &str) -> Option<&'a [u8]> {
    let is_it =
        |attribute: &[u8]| attribute.strip_prefix(ATTRIBUTE.as_bytes()) == Some(name.as_bytes());
    let found = node.xattrs.iter().find(|(attribute, _)| is_it(attribute));
    found.map(|(_, value)| value.as_slice())
}

/// Whether there are tags that could not be read.
pub(crate) fn lacks_tags(node: &Node) -> bool {
    attribute(node, TAG_COUNT).is_some()
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

pub(super) fn etag_in(headers: &HeaderMap) -> String {
    let etag = headers.get("etag").map(|etag| etag.as_bytes());
    String::from_utf8_lossy(etag.unwrap_or_default())
        .trim_matches('"')
        .to_owned()
}

pub(super) fn version_in(headers: &HeaderMap) -> Option<String> {
    let version = headers.get("x-amz-version-id")?.to_str().ok()?;
    (version != "null").then(|| version.to_owned())
}

/// How many tags an object has, as far as the server says.
pub(super) fn tag_count(headers: &HeaderMap) -> u64 {
    let count = headers.get(TAG_COUNT).and_then(|count| count.to_str().ok());
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
}

pub(super) fn add_tags(node: &mut Node, name: &str, value: String) {
    if !value.is_empty() {
        let name = format!("{ATTRIBUTE}{name}").into_bytes();
        node.xattrs.push((name, value.into_bytes()));
        node.xattrs.sort();
    }
}

pub(super) fn node(headers: &HeaderMap, size: u64) -> Node {
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
