//! What a server's refusal means, and what helps against it. Reads statuses and error documents, decides
//! nothing.

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::HeaderMap;
use jiff::Timestamp;
use serde::Deserialize;
use std::time::Duration;

/// What a server said. Its body is all there, and is nobody's word for anything yet.
pub struct Answer {
    /// Whether it did it.
    pub status: StatusCode,
    /// What it says besides.
    pub headers: HeaderMap,
    /// The object, the document, or the reason of a refusal.
    pub body: Bytes,
}

/// Kinds of trouble, for callers that go on in different ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// There is no such object, or no such setting.
    NotFound,
    /// Somebody was first.
    AlreadyExists,
    /// The credentials do not allow it.
    Denied,
    /// The same request may succeed later.
    Unreachable,
    /// There is no room.
    Full,
    /// The words say what.
    Other,
}

/// Why there is no answer, or none of use.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Trouble {
    #[error("{host} did not answer within {} s", waited.as_secs())]
    Silent { host: String, waited: Duration },
    #[error("no connection to {host}")]
    Connection {
        host: String,
        #[source]
        cause: hyper_util::client::legacy::Error,
    },
    #[error(
        "the certificate of {host} is not trusted: if its authority is one of your own, name the file with its certificate in AWS_CA_BUNDLE"
    )]
    Untrusted {
        host: String,
        #[source]
        cause: hyper_util::client::legacy::Error,
    },
    #[error("the connection to {host} broke in the middle of an answer")]
    Broken {
        host: String,
        #[source]
        cause: hyper::Error,
    },
    #[error("sign the request; check the credentials")]
    Sign(#[source] s3::Error),
    #[error("the header `{name}` can not be sent; check the plan file")]
    Header { name: String },
    #[error("the request can not be sent")]
    Request(#[source] hyper::http::Error),
    #[error("the answer is longer than anything that was asked for")]
    TooLong,
    #[error("{0}")]
    NoBucket(String),
    #[error("{0}")]
    Refused(String),
}

impl Trouble {
    /// There is no connection.
    pub(super) fn no_connection(host: String, cause: hyper_util::client::legacy::Error) -> Self {
        match is_about_trust(&cause) {
            true => Self::Untrusted { host, cause },
            false => Self::Connection { host, cause },
        }
    }

    /// What callers match on.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Silent { .. } | Self::Connection { .. } | Self::Broken { .. } => {
                Kind::Unreachable
            }
            Self::Sign(_) => Kind::Denied,
            _ => Kind::Other,
        }
    }
}

/// Whether a certificate was refused: to ask again does not help. An error of I/O that wraps another tells only of
/// that one's cause, so it is looked into.
fn is_about_trust(error: &(dyn std::error::Error + 'static)) -> bool {
    if let Some(refused) = error.downcast_ref::<rustls::Error>() {
        return is_certificate(refused);
    }
    let wrapped = error
        .downcast_ref::<std::io::Error>()
        .and_then(|io| io.get_ref());
    match wrapped {
        Some(wrapped) => is_about_trust(wrapped),
        None => error.source().is_some_and(is_about_trust),
    }
}

fn is_certificate(error: &rustls::Error) -> bool {
    matches!(
        error,
        rustls::Error::InvalidCertificate(_) | rustls::Error::AlertReceived(_)
    )
}

/// The document that comes with a refusal.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Document {
    code: String,
    message: String,
    region: Option<String>,
    server_time: Option<String>,
    request_time: Option<String>,
}

impl Document {
    fn of(answer: &Answer) -> Self {
        let text = str::from_utf8(&answer.body).unwrap_or_default();
        quick_xml::de::from_str(text).unwrap_or_default()
    }
}

impl Answer {
    /// How long the object is: of a HEAD that is all there is of it.
    pub fn object_len(&self) -> Option<u64> {
        content_length(&self.headers)
    }

    /// A header, if it is there and readable.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The code in the document of a refusal, such as `NoSuchKey`; empty where there is none.
    pub fn code(&self) -> String {
        Document::of(self).code
    }

    /// Whether what is missing is the bucket, not what was asked for in it.
    pub fn tells_of_the_bucket(&self) -> bool {
        self.code() == "NoSuchBucket"
    }
}

pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get("content-length")?.to_str().ok()?.parse().ok()
}

/// What a refusal means, and how it is said.
pub fn refusal(answer: &Answer, bucket: &str) -> (Kind, Trouble) {
    let document = Document::of(answer);
    let (kind, advice) = meaning(answer.status, &document, answer, bucket);
    let code = match document.code.as_str() {
        "" => answer.status.to_string(),
        code => format!("{} {code}", answer.status.as_u16()),
    };
    let mut words = format!("the server answered {code}");
    if !document.message.is_empty() {
        words += &format!(": {}", document.message.trim());
    }
    if let Some(advice) = advice {
        words += &format!("; {advice}");
    }
    match document.code.as_str() {
        "NoSuchBucket" => (kind, Trouble::NoBucket(words)),
        _ => (kind, Trouble::Refused(words)),
    }
}

fn meaning(
    status: StatusCode,
    document: &Document,
    answer: &Answer,
    bucket: &str,
) -> (Kind, Option<String>) {
    let region = answer
        .header("x-amz-bucket-region")
        .or(document.region.as_deref());
    match (status.as_u16(), document.code.as_str()) {
        (_, "NoSuchBucket") => {
            let advice =
                format!("create the bucket `{bucket}`, or correct its name in the plan file");
            (Kind::Other, Some(advice))
        }
        (_, "RequestTimeTooSkewed") => (Kind::Denied, Some(skew(document))),
        (_, "InvalidAccessKeyId") => {
            let advice = "the access key is not known there; check the credentials".to_owned();
            (Kind::Denied, Some(advice))
        }
        (_, "SignatureDoesNotMatch") => {
            let advice = "the secret key does not belong to the access key, or the region is wrong; check both";
            (Kind::Denied, Some(advice.to_owned()))
        }
        (
            301 | 307 | 400,
            "PermanentRedirect" | "TemporaryRedirect" | "AuthorizationHeaderMalformed" | "",
        ) if region.is_some() => {
            let advice = region.map(|region| format!("write region=\"{region}\""));
            (Kind::Other, advice)
        }
        // Two creators at the same moment: which one it was is known when it is asked again.
        (409, "ConditionalRequestConflict" | "OperationAborted") => (Kind::Unreachable, None),
        // What was sent did not arrive whole.
        (
            400,
            "BadDigest" | "IncompleteBody" | "RequestTimeout" | "XAmzContentChecksumMismatch",
        ) => (Kind::Unreachable, None),
        (507, _)
        | (
            _,
            "QuotaExceeded"
            | "XMinioStorageFull"
            | "ServiceQuotaExceededException"
            | "InsufficientCapacity",
        ) => (Kind::Full, None),
        (401 | 403, _) => (Kind::Denied, None),
        (404, _) => (Kind::NotFound, None),
        (412, _) => (Kind::AlreadyExists, None),
        (408 | 429 | 500 | 502 | 503 | 504, _) => (Kind::Unreachable, None),
        _ => (Kind::Other, None),
    }
}

/// By how much this machine's clock is wrong, as far as the server said.
fn skew(document: &Document) -> String {
    let at = |text: &Option<String>| text.as_ref()?.parse::<Timestamp>().ok();
    let here = document.request_time.as_ref().and_then(|text| basic(text));
    match (
        at(&document.server_time),
        here.or_else(|| at(&document.request_time)),
    ) {
        (Some(there), Some(here)) => {
            let minutes = here.duration_since(there).as_mins();
            let way = if minutes < 0 { "behind" } else { "ahead" };
            format!(
                "this machine's clock is {} min {way}; set it",
                minutes.abs()
            )
        }
        _ => "this machine's clock is wrong; set it".to_owned(),
    }
}

/// `20260102T030405Z`, as signatures have it.
fn basic(text: &str) -> Option<Timestamp> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let parts = (date.get(..4)?, date.get(4..6)?, date.get(6..)?);
    let times = (time.get(..2)?, time.get(2..4)?, time.get(4..)?);
    let whole = format!(
        "{}-{}-{}T{}:{}:{}Z",
        parts.0, parts.1, parts.2, times.0, times.1, times.2
    );
    whole.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Document, basic, refusal, skew};
    use crate::wire::{Answer, Kind};
    use bytes::Bytes;
    use hyper::StatusCode;
    use hyper::header::{HeaderMap, HeaderValue};

    fn answer(status: u16, body: &'static str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    #[test]
    fn a_refusal_says_what_helps() {
        let no_bucket = "<?xml version=\"1.0\"?><Error><Code>NoSuchBucket</Code><Message>Not here</Message></Error>";
        let (kind, said) = refusal(&answer(404, no_bucket), "backups");
        assert_eq!(kind, Kind::Other);
        assert_eq!(
            said.to_string(),
            "the server answered 404 NoSuchBucket: Not here; create the bucket `backups`, or correct its name in the plan file"
        );
        assert_eq!(refusal(&answer(404, ""), "b").0, Kind::NotFound);
        assert_eq!(refusal(&answer(503, "busy"), "b").0, Kind::Unreachable);
        assert_eq!(refusal(&answer(412, ""), "b").0, Kind::AlreadyExists);
        let mut elsewhere = answer(301, "");
        let region = HeaderValue::from_static("eu-west-1");
        elsewhere.headers.insert("x-amz-bucket-region", region);
        assert!(
            refusal(&elsewhere, "b")
                .1
                .to_string()
                .ends_with("write region=\"eu-west-1\"")
        );
    }

    #[test]
    fn a_wrong_clock_is_told_by_how_much() {
        let document = Document {
            server_time: Some("2026-01-02T03:24:05Z".to_owned()),
            request_time: Some("20260102T030405Z".to_owned()),
            ..Document::default()
        };
        assert_eq!(
            skew(&document),
            "this machine's clock is 20 min behind; set it"
        );
        assert_eq!(basic("2026"), None);
        assert_eq!(
            skew(&Document::default()),
            "this machine's clock is wrong; set it"
        );
    }
}
