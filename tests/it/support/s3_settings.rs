//! How the bucket of the test's S3 server is set: versioning, rules, who may read it. Documents are kept as they
//! were sent; what a server answers where there is nothing, and what it refuses, is what a test asks for.

use bytes::Bytes;
use hyper::{Method, Response, StatusCode};
use md5::{Digest, Md5};
use std::collections::BTreeMap;

/// The parts of a bucket's settings that are known here.
const PARTS: [&str; 6] = [
    "versioning",
    "lifecycle",
    "replication",
    "policyStatus",
    "acl",
    "publicAccessBlock",
];

/// What is set, and what goes wrong.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    documents: BTreeMap<String, String>,
    answers: BTreeMap<(String, String), (u16, String)>,
}

impl Settings {
    /// Sets a part behind everybody's back.
    pub(crate) fn set(&mut self, part: &str, document: &str) {
        self.documents.insert(part.to_owned(), document.to_owned());
    }

    /// What is set.
    pub(crate) fn document(&self, part: &str) -> Option<&str> {
        self.documents.get(part).map(String::as_str)
    }

    /// From now on the server answers so.
    pub(crate) fn answer_with(&mut self, method: &Method, part: &str, status: u16, body: &str) {
        let key = (method.to_string(), part.to_owned());
        self.answers.insert(key, (status, body.to_owned()));
    }

    /// The server answers as it should again.
    pub(crate) fn answer_as_usual(&mut self) {
        self.answers.clear();
    }

    /// The part that a request is about.
    pub(crate) fn part(key: &str, query: &str) -> Option<&'static str> {
        let named = |part: &&&str| {
            query
                .split('&')
                .any(|one| one.split('=').next() == Some(**part))
        };
        PARTS.iter().find(named).copied().filter(|_| key.is_empty())
    }

    /// The answer to a request about `part`; `md5` is the checksum that came with `body`.
    pub(crate) fn answer(
        &mut self,
        method: &Method,
        part: &str,
        md5: Option<&str>,
        body: &Bytes,
    ) -> Response<Bytes> {
        if let Some((status, body)) = self.answers.get(&(method.to_string(), part.to_owned())) {
            return answer(*status, body);
        }
        match *method {
            Method::GET => match (self.documents.get(part), part) {
                (Some(document), _) => answer(200, document),
                (None, "versioning") => answer(200, "<VersioningConfiguration/>"),
                (None, "acl") => answer(200, "<AccessControlPolicy/>"),
                (None, "lifecycle") => refused(404, "NoSuchLifecycleConfiguration"),
                (None, "replication") => refused(404, "ReplicationConfigurationNotFoundError"),
                (None, "policyStatus") => refused(404, "NoSuchBucketPolicy"),
                (None, _) => refused(404, "NoSuchPublicAccessBlockConfiguration"),
            },
            Method::PUT => {
                let digest = base64_of(&Md5::digest(body));
                match md5 {
                    None => return refused(400, "InvalidRequest"),
                    Some(md5) if md5 != digest => return refused(400, "BadDigest"),
                    Some(_) => {}
                }
                let document = String::from_utf8(body.to_vec()).expect("XML is text");
                let is_on = |it: &&String| it.contains("<Status>Enabled</Status>");
                let versioning = self.documents.get("versioning").filter(is_on);
                if part == "replication" && versioning.is_none() {
                    return refused(400, "InvalidRequest");
                }
                self.documents.insert(part.to_owned(), document);
                answer(200, "")
            }
            Method::DELETE => {
                self.documents.remove(part);
                answer(204, "")
            }
            _ => refused(405, "MethodNotAllowed"),
        }
    }
}

fn refused(status: u16, code: &str) -> Response<Bytes> {
    answer(status, &format!("<Error><Code>{code}</Code></Error>"))
}

fn answer(status: u16, body: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body.to_owned()));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response
}

/// As HTTP headers have it.
pub(crate) fn base64_of(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bit = |n: usize| {
        bytes
            .get(n / 8)
            .is_some_and(|byte| byte >> (7 - n % 8) & 1 == 1)
    };
    let digit = |n: usize| (0..6).fold(0, |digit, i| digit << 1 | usize::from(bit(6 * n + i)));
    let len = (bytes.len() * 8).div_ceil(6);
    let text: String = (0..len).map(|n| char::from(DIGITS[digit(n)])).collect();
    text + &"=".repeat((4 - len % 4) % 4)
}
