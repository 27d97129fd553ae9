//! An S3 server in this process, on a free port of the loopback interface: signatures and checksums are checked,
//! objects lie in memory, and what goes wrong is what a test asks for. Ends with the test.

use crate::support::s3_settings::Settings;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use md5::{Digest as _, Md5};
use s3s::auth::SimpleAuth;
use s3s::checksum::ChecksumHasher;
use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, ETag, GetObjectInput, GetObjectOutput,
    GetObjectTaggingInput, GetObjectTaggingOutput, HeadObjectInput, HeadObjectOutput,
    ListObjectsV2Input, ListObjectsV2Output, Object, PutObjectInput, PutObjectOutput,
    ServerSideEncryption, StreamingBlob, Tag, Timestamp,
};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::SystemTime;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// Who may ask.
pub(crate) const ACCESS_KEY: &str = "access";
pub(crate) const SECRET_KEY: &str = "a-secret-that-is-long-enough";
/// The bucket that is there.
pub(crate) const BUCKET: &str = "backups";
/// How many names a page of a listing has: few, so that tests see several pages.
const PAGE_LEN: usize = 7;

/// What goes wrong with one request.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// It is answered with this status and document, and nothing is done.
    Refused(u16, &'static str),
    /// It is done, and the connection ends without an answer.
    AnswerLost,
    /// The connection ends after so many bytes of the answer's body.
    Cut(usize),
    /// The connection ends after so many bytes of what is sent.
    Reset(usize),
    /// So many bytes of what was sent are stored, and it is said that all is well.
    Truncated(usize),
}

/// How the server differs from what it should be.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Quirks {
    /// `If-None-Match` is not obeyed.
    pub(crate) ignores_conditions: bool,
    /// Nothing may be deleted.
    pub(crate) denies_deletes: bool,
    /// Encryption that is asked for is not done, and not refused.
    pub(crate) drops_encryption: bool,
}

/// Which request goes wrong, and how: asked for each one.
pub(crate) type Faults = Box<dyn FnMut(&Method, &str) -> Option<Fault> + Send>;

/// A stored object, as a test sees it.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) body: Bytes,
    pub(crate) content_type: Option<String>,
    modified: SystemTime,
    pub(crate) class: Option<String>,
    pub(crate) server_side: Option<String>,
    pub(crate) lock_mode: Option<String>,
    /// `NAME=VALUE`.
    pub(crate) tag: Option<String>,
}

impl Stored {
    /// As servers make it: the MD5 of its bytes.
    fn etag(&self) -> ETag {
        let mut digest = Md5::new();
        digest.update(&self.body);
        let digest = digest.finalize();
        ETag::Strong(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Stored>,
    faults: Option<Faults>,
    /// What was asked, as `METHOD key`.
    asked: Vec<String>,
    /// Whether a new object is in a listing only from the second time on.
    lists_late: bool,
    /// Objects that no listing has shown yet.
    unlisted: BTreeSet<String>,
    /// Of these only so many bytes are stored.
    truncated: BTreeMap<String, usize>,
    settings: Settings,
}

#[derive(Clone)]
struct Served {
    state: Arc<Mutex<State>>,
    quirks: Quirks,
}

/// A running server.
pub(crate) struct Server {
    served: Served,
    port: u16,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with(Quirks::default())
    }

    pub(crate) fn with(quirks: Quirks) -> Self {
        let served = Served {
            state: Arc::default(),
            quirks,
        };
        let (stop, stopped) = oneshot::channel();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("set");
        let port = listener.local_addr().expect("bound").port();
        let for_thread = served.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async {
                let listener = TcpListener::from_std(listener).expect("listens");
                tokio::select! {
                    () = serve(listener, for_thread) => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            served,
            port,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// `http://127.0.0.1:PORT`.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Whatever is asked from now on goes through `faults`.
    pub(crate) fn fail(&self, faults: impl FnMut(&Method, &str) -> Option<Fault> + Send + 'static) {
        self.served.state().faults = Some(Box::new(faults));
    }

    /// The next request that `is_meant` goes wrong, and no other.
    pub(crate) fn fail_once(
        &self,
        fault: Fault,
        is_meant: impl Fn(&Method, &str) -> bool + Send + 'static,
    ) {
        let mut fault = Some(fault);
        self.fail(move |method, key| match is_meant(method, key) {
            true => fault.take(),
            false => None,
        });
    }

    /// From now on a new object is in a listing only from the second time on.
    pub(crate) fn list_late(&self) {
        self.served.state().lists_late = true;
    }

    /// What is stored, by key.
    pub(crate) fn objects(&self) -> BTreeMap<String, Stored> {
        self.served.state().objects.clone()
    }

    /// Puts something there behind everybody's back.
    pub(crate) fn place(&self, key: &str, body: impl Into<Bytes>) {
        let stored = Stored {
            body: body.into(),
            content_type: None,
            modified: SystemTime::now(),
            class: None,
            server_side: None,
            lock_mode: None,
            tag: None,
        };
        self.served.state().objects.insert(key.to_owned(), stored);
    }

    /// Gives an object a tag, `NAME=VALUE`.
    pub(crate) fn tag(&self, key: &str, tag: &str) {
        let mut state = self.served.state();
        let stored = state.objects.get_mut(key).expect("it is there");
        stored.tag = Some(tag.to_owned());
    }

    /// How the bucket is set.
    pub(crate) fn settings<T>(&self, with: impl FnOnce(&mut Settings) -> T) -> T {
        with(&mut self.served.state().settings)
    }

    /// Lets an object be so old, if it is still there: a client that was killed may yet have removed it.
    pub(crate) fn age(&self, key: &str, by: std::time::Duration) {
        if let Some(stored) = self.served.state().objects.get_mut(key) {
            stored.modified -= by;
        }
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.served.state().asked.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Served {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no test panics while it holds this")
    }
}

async fn serve(listener: TcpListener, served: Served) {
    let mut service = S3ServiceBuilder::new(served.clone());
    service.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
    let service = service.build();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            return;
        };
        tokio::spawn(connection(stream, service.clone(), served.clone()));
    }
}

/// Serves one connection. One that a fault ends is ended by the error of its service.
async fn connection(stream: TcpStream, service: S3Service, served: Served) {
    let answer = service_fn(move |request| {
        let (service, served) = (service.clone(), served.clone());
        async move { answer(request, service, &served).await }
    });
    let http = hyper::server::conn::http1::Builder::new();
    let _ = http.serve_connection(TokioIo::new(stream), answer).await;
}

type Body = http_body_util::combinators::BoxBody<Bytes, std::io::Error>;

async fn answer(
    request: Request<Incoming>,
    service: S3Service,
    served: &Served,
) -> Result<Response<Body>, std::io::Error> {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let key = path
        .strip_prefix(&format!("/{BUCKET}/"))
        .unwrap_or("")
        .to_owned();
    let fault = {
        let mut state = served.state();
        state.asked.push(format!("{method} {key}"));
        let mut faults = state.faults.take();
        // Without the lock: what fails may look at the server, or change what is in it.
        drop(state);
        let fault = faults.as_mut().and_then(|faults| faults(&method, &key));
        let mut state = served.state();
        state.faults = faults;
        if let Some(Fault::Truncated(len)) = fault {
            state.truncated.insert(key.clone(), len);
        }
        fault
    };
    if let Some(Fault::Reset(after)) = fault {
        return reset(request.into_body(), after).await;
    }
    if let Some(Fault::Refused(status, document)) = fault {
        // What was sent is read first: an answer in the middle of it is another fault.
        let _ = request.into_body().collect().await;
        let body = Full::new(Bytes::from_static(document.as_bytes()));
        let answer = Response::builder().status(status).body(whole(body));
        return Ok(answer.expect("a status and a text"));
    }
    let query = request.uri().query().unwrap_or_default().to_owned();
    let bucket = path.trim_matches('/') == BUCKET;
    if let Some(part) = Settings::part(&key, &query).filter(|_| bucket) {
        let md5 = request.headers().get("content-md5");
        let md5 = md5.and_then(|md5| md5.to_str().ok()).map(str::to_owned);
        let collected = request.into_body().collect().await;
        let body = collected.map_err(std::io::Error::other)?.to_bytes();
        let settings = &mut served.state().settings;
        let answer = settings.answer(&method, part, md5.as_deref(), &body);
        return Ok(answer.map(|body| whole(Full::new(body))));
    }
    let done = hyper::service::Service::call(&service, request).await;
    let done = done.map_err(|e| std::io::Error::other(format!("{e:?}")))?;
    let (head, body) = done.into_parts();
    match fault {
        Some(Fault::AnswerLost) => Err(std::io::Error::other("asked for by the test")),
        Some(Fault::Cut(after)) => {
            let bytes = whole_of(body).await?;
            let bytes = bytes.slice(..after.min(bytes.len()));
            // The head still says how long it should be.
            let cut = futures_util::stream::iter([
                Ok(hyper::body::Frame::data(bytes)),
                Err(std::io::Error::other("asked for by the test")),
            ]);
            let body = http_body_util::StreamBody::new(cut);
            Ok(Response::from_parts(
                head,
                http_body_util::BodyExt::boxed(body),
            ))
        }
        _ => {
            let bytes = whole_of(body).await?;
            Ok(Response::from_parts(head, whole(Full::new(bytes))))
        }
    }
}

/// Takes so many bytes of what is sent, and no more.
async fn reset(mut sent: Incoming, after: usize) -> Result<Response<Body>, std::io::Error> {
    let mut taken = 0;
    while taken < after {
        let Some(Ok(frame)) = sent.frame().await else {
            break;
        };
        taken += frame.data_ref().map_or(0, Bytes::len);
    }
    Err(std::io::Error::other("asked for by the test"))
}

async fn whole_of(body: s3s::Body) -> std::io::Result<Bytes> {
    let collected = http_body_util::BodyExt::collect(body).await;
    Ok(collected.map_err(std::io::Error::other)?.to_bytes())
}

fn whole(body: Full<Bytes>) -> Body {
    body.map_err(|never: Infallible| match never {}).boxed()
}

fn ok<T>(output: T) -> S3Result<S3Response<T>> {
    Ok(S3Response::new(output))
}

async fn collect(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let mut bytes = BytesMut::new();
    if let Some(mut body) = body {
        while let Some(part) = body.next().await {
            let part = part.map_err(|e| s3_error!(IncompleteBody, "{e}"))?;
            bytes.extend_from_slice(&part);
        }
    }
    Ok(bytes.freeze())
}

impl Served {
    fn find(&self, bucket: &str, key: &str) -> S3Result<Stored> {
        if bucket != BUCKET {
            return Err(s3_error!(NoSuchBucket));
        }
        let found = self.state().objects.get(key).cloned();
        found.ok_or_else(|| s3_error!(NoSuchKey))
    }
}

#[async_trait::async_trait]
impl S3 for Served {
    async fn put_object(
        &self,
        mut request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let input = &mut request.input;
        let body = collect(input.body.take()).await?;
        if input.bucket != BUCKET {
            return Err(s3_error!(NoSuchBucket));
        }
        if let Some(said) = &input.checksum_crc32c {
            let mut hasher = ChecksumHasher {
                crc32c: Some(Default::default()),
                ..ChecksumHasher::default()
            };
            hasher.update(&body);
            if hasher.finalize().checksum_crc32c.as_ref() != Some(said) {
                return Err(s3_error!(BadDigest));
            }
        }
        let server_side = match self.quirks.drops_encryption {
            true => None,
            false => input.server_side_encryption.take(),
        };
        let mut stored = Stored {
            body,
            content_type: input.content_type.take().map(|kind| kind.to_string()),
            modified: SystemTime::now(),
            class: input
                .storage_class
                .as_ref()
                .map(|class| class.as_str().to_owned()),
            server_side: server_side.as_ref().map(|sse| sse.as_str().to_owned()),
            lock_mode: input
                .object_lock_mode
                .as_ref()
                .map(|mode| mode.as_str().to_owned()),
            tag: input.tagging.take(),
        };
        let mut state = self.state();
        let is_taken = state.objects.contains_key(&input.key);
        if input.if_none_match.is_some() && is_taken && !self.quirks.ignores_conditions {
            return Err(s3_error!(PreconditionFailed));
        }
        if let Some(len) = state.truncated.remove(&input.key) {
            stored.body.truncate(len);
        }
        if state.lists_late {
            state.unlisted.insert(input.key.clone());
        }
        let etag = stored.etag();
        state.objects.insert(input.key.clone(), stored);
        ok(PutObjectOutput {
            e_tag: Some(etag),
            server_side_encryption: server_side
                .map(|sse| ServerSideEncryption::from(sse.as_str().to_owned())),
            ..PutObjectOutput::default()
        })
    }

    async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        let stored = self.find(&input.bucket, &input.key)?;
        let len = stored.body.len() as u64;
        let etag = stored.etag();
        let (body, range) = match input.range {
            None => (stored.body, None),
            Some(range) => {
                let range = range.check(len)?;
                let part = stored.body.slice(range.start as usize..range.end as usize);
                let said = format!("bytes {}-{}/{len}", range.start, range.end - 1);
                (part, Some(said))
            }
        };
        let len = body.len() as i64;
        let once = futures_util::stream::once(async move { Ok::<_, std::io::Error>(body) });
        ok(GetObjectOutput {
            content_length: Some(len),
            body: Some(StreamingBlob::wrap(once)),
            content_range: range,
            content_type: stored
                .content_type
                .map(|kind| kind.parse().expect("a type")),
            e_tag: Some(etag),
            last_modified: Some(Timestamp::from(stored.modified)),
            tag_count: stored.tag.map(|_| 1),
            ..GetObjectOutput::default()
        })
    }

    async fn get_object_tagging(
        &self,
        request: S3Request<GetObjectTaggingInput>,
    ) -> S3Result<S3Response<GetObjectTaggingOutput>> {
        let stored = self.find(&request.input.bucket, &request.input.key)?;
        let tags = stored.tag.iter().filter_map(|tag| tag.split_once('='));
        let tags = tags.map(|(key, value)| Tag {
            key: Some(key.to_owned()),
            value: Some(value.to_owned()),
        });
        ok(GetObjectTaggingOutput {
            tag_set: tags.collect(),
            version_id: None,
        })
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let stored = self.find(&request.input.bucket, &request.input.key)?;
        ok(HeadObjectOutput {
            content_length: Some(stored.body.len() as i64),
            last_modified: Some(Timestamp::from(stored.modified)),
            ..HeadObjectOutput::default()
        })
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        if self.quirks.denies_deletes {
            return Err(s3_error!(AccessDenied));
        }
        if request.input.bucket != BUCKET {
            return Err(s3_error!(NoSuchBucket));
        }
        self.state().objects.remove(&request.input.key);
        ok(DeleteObjectOutput::default())
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        if input.bucket != BUCKET {
            return Err(s3_error!(NoSuchBucket));
        }
        let prefix = input.prefix.clone().unwrap_or_default();
        let after = input.continuation_token.clone().unwrap_or_default();
        let mut state = self.state();
        let State {
            objects, unlisted, ..
        } = &mut *state;
        let mut found = objects
            .iter()
            .filter(|(key, _)| key.starts_with(&prefix) && **key > after)
            .filter(|(key, _)| !unlisted.remove(*key));
        let page: Vec<Object> = found
            .by_ref()
            .take(PAGE_LEN)
            .map(|(key, stored)| Object {
                key: Some(key.clone()),
                size: Some(stored.body.len() as i64),
                e_tag: Some(stored.etag()),
                last_modified: Some(Timestamp::from(stored.modified)),
                ..Object::default()
            })
            .collect();
        let is_more = found.next().is_some();
        let last = page.last().and_then(|object| object.key.clone());
        ok(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: input.prefix,
            key_count: Some(page.len() as i32),
            is_truncated: Some(is_more),
            next_continuation_token: last.filter(|_| is_more),
            contents: Some(page),
            ..ListObjectsV2Output::default()
        })
    }
}
