//! A store in a bucket that speaks S3: one object per key below a prefix. Objects are written in one request
//! each, with `If-None-Match: *` where they must be new; nothing is ever changed, and nothing is multipart.
//! Checksums go with what is written; what is read is checked by whoever knows what it must be. Retries are
//! the [`Store`](crate::store::Store)'s: here each call is one request, bounded in time.

mod listing;
mod setup;

pub use setup::{Lock, ServerSide, Settings};

use crate::store::{Backend, Doing, Key, Kind, Listing, Put, StoreError};
use crate::wire::{self, Answer, Request, SetupError, Wire};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use hyper::{Method, StatusCode};
use std::ops::Range;
use std::sync::Arc;

/// Where data packs lie. They alone get the storage class that was asked for: what is read to plan, to list
/// and to restore must be there at once.
const DATA_PACKS: &str = "packs/d/";
/// What comes and goes, and is never locked.
const PASSING: [&str; 3] = ["leases/", "gc/", "probes/"];
/// How the server says that it encrypted something.
const ENCRYPTED_BY: &str = "x-amz-server-side-encryption";

#[derive(Debug, thiserror::Error)]
#[error(
    "encryption `{asked}` was asked for and the server used {got}; choose another server, or no `sse`"
)]
struct NotEncrypted {
    asked: &'static str,
    got: String,
}

/// A bucket, or what lies in it below a prefix, as a store.
#[derive(Debug, Clone)]
pub struct S3(Arc<Bucket>);

#[derive(Debug)]
struct Bucket {
    wire: Wire,
    settings: Settings,
    location: String,
    /// Before every key: empty, or ending with a slash.
    prefix: String,
}

impl S3 {
    /// The store that `settings` tell of. Nothing is asked yet.
    pub fn new(settings: Settings) -> Result<Self, SetupError> {
        let wire = Wire::new(&settings.access)?;
        let prefix = match settings.prefix.trim_matches('/') {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        };
        Ok(Self(Arc::new(Bucket {
            location: format!(
                "s3://{}/{}",
                settings.access.bucket,
                prefix.trim_end_matches('/')
            ),
            wire,
            prefix,
            settings,
        })))
    }
}

impl Backend for S3 {
    fn location(&self) -> String {
        self.0.location.clone()
    }

    fn get(
        &self,
        key: &Key,
        range: Option<Range<u64>>,
    ) -> BoxFuture<'_, Result<Bytes, StoreError>> {
        let key = key.clone();
        Box::pin(async move { self.0.get(&key, range).await })
    }

    fn put(&self, key: &Key, body: Bytes, how: Put) -> BoxFuture<'_, Result<(), StoreError>> {
        let key = key.clone();
        Box::pin(async move { self.0.put(&key, body, how).await })
    }

    fn list(&self, prefix: &str) -> BoxFuture<'_, Result<Listing, StoreError>> {
        let prefix = prefix.to_owned();
        Box::pin(async move { self.0.list(&prefix).await })
    }

    fn delete(&self, key: &Key) -> BoxFuture<'_, Result<(), StoreError>> {
        let key = key.clone();
        Box::pin(async move { self.0.delete(&key).await })
    }
}

impl Bucket {
    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes, StoreError> {
        let asked = Asked::new(self, Doing::Get, key.as_str());
        let mut request = Request::new(Method::GET, self.name(key));
        if let Some(range) = &range {
            if range.is_empty() {
                return self.nothing(&asked, range.start).await;
            }
            // Servers read the end of a range each in their own way where no object can be so long.
            if range.end - range.start > wire::ANSWER_MAX_BYTES {
                return Err(asked.failed(Kind::Corrupt));
            }
            request = request.header("range", format!("bytes={}-{}", range.start, range.end - 1));
        }
        let answer = asked.send(request).await?;
        match (answer.status, &range) {
            (StatusCode::OK, None) => Ok(answer.body),
            (StatusCode::PARTIAL_CONTENT, Some(range)) => {
                let is_whole = answer.body.len() as u64 == range.end - range.start;
                is_whole
                    .then_some(answer.body)
                    .ok_or_else(|| asked.failed(Kind::Corrupt))
            }
            // It does not know ranges.
            (StatusCode::OK, Some(range)) => {
                slice(&answer.body, range).ok_or_else(|| asked.failed(Kind::Corrupt))
            }
            (StatusCode::RANGE_NOT_SATISFIABLE, _) => Err(asked.failed(Kind::Corrupt)),
            _ => Err(asked.refused(&answer)),
        }
    }

    /// Of a range of no bytes only its place can be wrong.
    async fn nothing(&self, asked: &Asked<'_>, at: u64) -> Result<Bytes, StoreError> {
        let head = asked.send(Request::new(Method::HEAD, asked.name())).await?;
        match head.status {
            StatusCode::OK if head.object_len().is_some_and(|len| at <= len) => Ok(Bytes::new()),
            StatusCode::OK => Err(asked.failed(Kind::Corrupt)),
            _ => Err(asked.refused(&head)),
        }
    }

    async fn put(&self, key: &Key, body: Bytes, how: Put) -> Result<(), StoreError> {
        let asked = Asked::new(self, Doing::Put, key.as_str());
        let mut request = Request::new(Method::PUT, self.name(key)).body(body);
        if how == Put::New {
            request = request.header("if-none-match", "*".to_owned());
        }
        if let Some(class) = &self.settings.storage_class
            && key.as_str().starts_with(DATA_PACKS)
        {
            request = request.header("x-amz-storage-class", class.clone());
        }
        if let Some(lock) = &self.settings.lock
            && !PASSING
                .iter()
                .any(|passing| key.as_str().starts_with(passing))
        {
            for (name, value) in lock.headers() {
                request = request.header(name, value);
            }
        }
        if let Some(sse) = &self.settings.server_side {
            for (name, value) in sse.headers() {
                request = request.header(name, value);
            }
        }
        let answer = asked.send(request).await?;
        if !answer.status.is_success() {
            return Err(asked.refused(&answer));
        }
        match &self.settings.server_side {
            Some(sse) => {
                let got = answer.header(ENCRYPTED_BY).unwrap_or("nothing");
                if got == sse.algorithm() {
                    return Ok(());
                }
                let cause = NotEncrypted {
                    asked: sse.algorithm(),
                    got: got.to_owned(),
                };
                Err(asked.failed(Kind::Other).caused_by(cause))
            }
            None => Ok(()),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        let asked = Asked::new(self, Doing::List, prefix);
        let mut pages = listing::Pages::new(&self.prefix, prefix);
        loop {
            let mut request = Request::new(Method::GET, String::new());
            for (name, value) in pages.query() {
                request = request.query(name, value);
            }
            let answer = asked.send(request).await?;
            if answer.status != StatusCode::OK {
                return Err(asked.refused(&answer));
            }
            let added = pages.add(&answer);
            let is_last = added.map_err(|cause| asked.failed(Kind::Other).caused_by(cause))?;
            if is_last {
                let listing = pages.into_listing();
                return listing.map_err(|cause| asked.failed(Kind::Other).caused_by(cause));
            }
        }
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        let asked = Asked::new(self, Doing::Delete, key.as_str());
        let answer = asked
            .send(Request::new(Method::DELETE, self.name(key)))
            .await?;
        match answer.status {
            status if status.is_success() => Ok(()),
            StatusCode::NOT_FOUND if !answer.tells_of_the_bucket() => Ok(()),
            _ => Err(asked.refused(&answer)),
        }
    }

    fn name(&self, key: &Key) -> String {
        format!("{}{key}", self.prefix)
    }
}

/// What is being done to what, for errors.
struct Asked<'a> {
    bucket: &'a Bucket,
    doing: Doing,
    what: &'a str,
}

impl<'a> Asked<'a> {
    fn new(bucket: &'a Bucket, doing: Doing, what: &'a str) -> Self {
        Self {
            bucket,
            doing,
            what,
        }
    }

    fn name(&self) -> String {
        format!("{}{}", self.bucket.prefix, self.what)
    }

    async fn send(&self, request: Request) -> Result<Answer, StoreError> {
        let sent = self.bucket.wire.send(request).await;
        sent.map_err(|trouble| self.failed(trouble.kind().into()).caused_by(trouble))
    }

    fn failed(&self, kind: Kind) -> StoreError {
        StoreError::new(self.doing, self.what, &self.bucket.location, kind)
    }

    fn refused(&self, answer: &Answer) -> StoreError {
        let (kind, cause) = wire::refusal(answer, &self.bucket.settings.access.bucket);
        self.failed(kind.into()).caused_by(cause)
    }
}

impl From<wire::Kind> for Kind {
    fn from(kind: wire::Kind) -> Self {
        match kind {
            wire::Kind::NotFound => Self::NotFound,
            wire::Kind::AlreadyExists => Self::AlreadyExists,
            wire::Kind::Denied => Self::Denied,
            wire::Kind::Unreachable => Self::Unreachable,
            wire::Kind::Full => Self::Full,
            wire::Kind::Other => Self::Other,
        }
    }
}

fn slice(bytes: &Bytes, range: &Range<u64>) -> Option<Bytes> {
    let (start, end) = (
        usize::try_from(range.start).ok()?,
        usize::try_from(range.end).ok()?,
    );
    (start <= end && end <= bytes.len()).then(|| bytes.slice(start..end))
}
