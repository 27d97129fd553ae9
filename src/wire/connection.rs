//! Sends one signed request and reads its answer, all of it in bounded time and memory. Knows neither what is
//! asked for nor what an answer means. Follows no redirect.

use crate::wire::answer::content_length;
use crate::wire::prompt::PromptConnector;
use crate::wire::request::escaped;
use crate::wire::{Access, Answer, Request, SetupError, Trouble};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, HeaderName, HeaderValue};
use hyper::{Method, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Hyper;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use s3::{AddressingStyle, Client};
use std::fmt;
use std::time::Duration;
use tokio::time::timeout;

/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(15);
/// How long a request with its answer may take besides its bytes: a server that fails over needs half a minute.
const REQUEST_MAX: Duration = Duration::from_secs(60);
/// And how slow its bytes may be.
const BYTES_PER_SECOND_MIN: u64 = 128 << 10;
/// How slow a server may be with bytes that do not leave it.
const MOVED_PER_SECOND_MIN: u64 = 8 << 20;
/// No answer is longer: packs are shorter, and a page of a listing is.
pub const ANSWER_MAX_BYTES: u64 = 1 << 30;
/// How long a signature holds.
const SIGNED_FOR: Duration = Duration::from_secs(600);

/// A way to one bucket. Connections are kept and used again.
pub struct Wire {
    signer: Client,
    http: Hyper<HttpsConnector<PromptConnector>, Full<Bytes>>,
    bucket: String,
    host: String,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

impl Wire {
    /// The way that `access` tells of. Nothing is asked yet.
    pub fn new(access: &Access) -> Result<Self, SetupError> {
        let endpoint = access.url();
        let wrong = |cause| SetupError {
            endpoint: endpoint.clone(),
            cause,
        };
        let style = match access.path_style {
            true => AddressingStyle::Path,
            false => AddressingStyle::Auto,
        };
        let signer = Client::builder(&endpoint)
            .map_err(wrong)?
            .region(&access.region)
            .auth(access.auth.clone())
            .addressing_style(style)
            .build()
            .map_err(wrong)?;
        let mut tcp = HttpConnector::new();
        tcp.set_connect_timeout(Some(CONNECT_MAX));
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(access.tls.clone())
            .https_or_http()
            .enable_http1()
            .wrap_connector(PromptConnector(tcp));
        let http = Hyper::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(20))
            // A request that may have arrived is not sent again unseen.
            .retry_canceled_requests(false)
            .build(connector);
        Ok(Self {
            signer,
            http,
            bucket: access.bucket.clone(),
            host: endpoint,
        })
    }

    /// Sends `request`. An answer is no error, whatever it says.
    pub async fn send(&self, request: Request) -> Result<Answer, Trouble> {
        let is_read = request.method == Method::GET && !request.name.is_empty();
        let bytes = match is_read {
            true => ANSWER_MAX_BYTES >> 4,
            false => request.body.len() as u64,
        };
        let seconds = bytes / BYTES_PER_SECOND_MIN + request.moved / MOVED_PER_SECOND_MIN;
        let patience = REQUEST_MAX + Duration::from_secs(seconds);
        let answer = timeout(patience, self.exchange(request)).await;
        answer.unwrap_or_else(|_| {
            Err(Trouble::Silent {
                host: self.host.clone(),
                waited: patience,
            })
        })
    }

    async fn exchange(&self, request: Request) -> Result<Answer, Trouble> {
        let objects = self.signer.objects();
        let signing = objects.presign(request.method.clone(), &self.bucket, &request.name);
        let mut signing = signing.expires_in(SIGNED_FOR);
        for (name, value) in request.query {
            signing = signing.query_param(name, value);
        }
        for (name, value) in request.headers {
            let header = HeaderName::try_from(&*name).ok();
            let value = HeaderValue::from_str(&value).ok();
            let (Some(header), Some(value)) = (header, value) else {
                let name = name.into_owned();
                return Err(Trouble::Header { name });
            };
            signing = signing.header(header, value);
        }
        let signed = signing.build_async().await.map_err(Trouble::Sign)?;
        // Of nothing too: without it, some servers refuse an empty object with 411.
        let len = match request.method {
            Method::PUT | Method::POST => Some(HeaderValue::from(request.body.len())),
            _ => None,
        };
        let mut asked = hyper::Request::builder()
            .method(signed.method)
            .uri(self.address(signed.url.as_str(), &request.name))
            .body(Full::new(request.body))
            .map_err(Trouble::Request)?;
        *asked.headers_mut() = signed.headers;
        if let Some(len) = len {
            asked.headers_mut().insert(CONTENT_LENGTH, len);
        }
        let answer = self
            .http
            .request(asked)
            .await
            .map_err(|cause| Trouble::no_connection(self.host.clone(), cause))?;
        self.read(answer, request.method == Method::HEAD).await
    }

    /// Where a signed request goes: to its URL, in which parts of a key that are `.` or `..` are not; they are signed
    /// all the same.
    fn address(&self, url: &str, name: &str) -> String {
        let has_dots = name.split('/').any(|part| part == "." || part == "..");
        let rest = url.split_once("://").filter(|_| has_dots);
        let Some((scheme, rest)) = rest else {
            return url.to_owned();
        };
        let host = rest.split(['/', '?']).next().unwrap_or_default();
        let query = url.split_once('?').map_or("", |(_, query)| query);
        let is_path_style = self.host.ends_with(&format!("://{host}"))
            || self.host.ends_with(&format!("://{host}/"));
        let bucket = match is_path_style {
            true => format!("/{}", self.bucket),
            false => String::new(),
        };
        format!("{scheme}://{host}{bucket}/{}?{query}", escaped(name))
    }

    async fn read(&self, answer: Response<Incoming>, is_head: bool) -> Result<Answer, Trouble> {
        let (head, mut incoming) = answer.into_parts();
        let len = content_length(&head.headers);
        if len.is_some_and(|len| len > ANSWER_MAX_BYTES) && !is_head {
            return Err(Trouble::TooLong);
        }
        let mut body = BytesMut::with_capacity(match is_head {
            true => 0,
            false => len.unwrap_or(0) as usize,
        });
        while let Some(frame) = incoming.frame().await {
            let frame = frame.map_err(|cause| Trouble::Broken {
                host: self.host.clone(),
                cause,
            })?;
            if let Ok(data) = frame.into_data() {
                body.extend_from_slice(&data);
            }
            if body.len() as u64 > ANSWER_MAX_BYTES {
                return Err(Trouble::TooLong);
            }
        }
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: body.freeze(),
        })
    }
}
