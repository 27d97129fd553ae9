//! What is asked of a bucket: any verb, about an object or about the bucket itself. Sends nothing.

use bytes::Bytes;
use hyper::Method;
use md5::{Digest, Md5};
use std::borrow::Cow;
use std::fmt::Write;

/// What is asked of a bucket.
pub struct Request {
    pub(super) method: Method,
    pub(super) name: String,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) headers: Vec<(Cow<'static, str>, String)>,
    pub(super) body: Bytes,
    pub(super) moved: u64,
}

impl Request {
    /// About the object `name`; about the bucket where that is empty.
    pub fn new(method: Method, name: String) -> Self {
        Self {
            method,
            name,
            query: Vec::new(),
            headers: Vec::new(),
            body: Bytes::new(),
            moved: 0,
        }
    }

    /// The server has so many bytes to move before it answers, which takes its time.
    pub fn moving(mut self, bytes: u64) -> Self {
        self.moved = bytes;
        self
    }

    /// With a parameter; a sub-resource is one with an empty value.
    pub fn query(mut self, name: &'static str, value: String) -> Self {
        self.query.push((name, value));
        self
    }

    /// With a header, which is signed too.
    pub fn header(mut self, name: impl Into<Cow<'static, str>>, value: String) -> Self {
        self.headers.push((name.into(), value));
        self
    }

    /// With a body, and no word about it: of a part of an object, and of a document, servers want none.
    pub fn plain_body(mut self, body: Bytes) -> Self {
        self.body = body;
        self
    }

    /// With a document that sets something, and the checksum that servers demand of those.
    pub fn document(mut self, body: Bytes) -> Self {
        let md5 = Md5::digest(&body);
        self.body = body;
        self.header("content-md5", base64(&md5))
            .header("content-type", "application/xml".to_owned())
    }

    /// With a body, and a checksum that the server holds against what it got.
    pub fn body(mut self, body: Bytes) -> Self {
        let crc = crc32c::crc32c(&body).to_be_bytes();
        self.body = body;
        self.header("x-amz-checksum-crc32c", base64(&crc))
    }
}

/// A key as it is in a URL, with its slashes.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                escaped.push(char::from(byte));
            }
            byte => {
                // Writing into a string has no way to fail.
                let _ = write!(escaped, "%{byte:02X}");
            }
        }
    }
    escaped
}

/// Bytes in base64.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let byte = |n: usize| u32::from(three.get(n).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for n in 0..4 {
            text.push(match n <= three.len() {
                true => char::from(DIGITS[(bits >> (18 - 6 * n) & 63) as usize]),
                false => '=',
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn keys_in_urls() {
        assert_eq!(super::escaped("a b/\u{fc}"), "a%20b/%C3%BC");
    }

    #[test]
    fn bytes_in_base64() {
        for (bytes, text) in [
            (&[0, 0, 0, 0][..], "AAAAAA=="),
            (&[0xc9, 0x94, 0x65, 0xaa], "yZRlqg=="),
            (&[255; 4], "/////w=="),
            (b"two more", "dHdvIG1vcmU="),
            (b"none over", "bm9uZSBvdmVy"),
            (b"", ""),
        ] {
            assert_eq!(base64(bytes), text);
        }
    }
}
