//! A small HTTP client: posts a body and looks at the status. Bounded in time whatever the other side does;
//! follows no redirect; reads no answer beyond its head.

use crate::notify::url::Url;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Hyper;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::ClientConfig;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How long one attempt may take, connection and answer together.
const ATTEMPT_MAX: Duration = Duration::from_secs(10);
/// Attempts; between them are pauses of 1 and 2 seconds, so that all is over within 33.
const ATTEMPTS: u32 = 3;
const USER_AGENT_VALUE: &str = concat!("ccb/", env!("CARGO_PKG_VERSION"));

/// Posts things.
#[derive(Clone)]
pub struct Client(Hyper<HttpsConnector<HttpConnector>, Full<Bytes>>);

/// Why something was not posted.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// There was no answer in time.
    #[error("{host} did not answer within {} s", ATTEMPT_MAX.as_secs())]
    TimedOut {
        /// Who.
        host: String,
    },
    /// It refused.
    #[error("{host} answered {status}")]
    Status {
        /// Who.
        host: String,
        /// What.
        status: StatusCode,
    },
    /// There was no connection.
    #[error("no connection to {host}")]
    Connect {
        /// Who.
        host: String,
        /// Why.
        #[source]
        cause: hyper_util::client::legacy::Error,
    },
    /// The URL can not be sent.
    #[error("ask {host}")]
    Request {
        /// Who.
        host: String,
        /// Why.
        #[source]
        cause: hyper::http::Error,
    },
}

impl HttpError {
    /// Whether the same may succeed a moment later.
    fn is_passing(&self) -> bool {
        match self {
            Self::TimedOut { .. } | Self::Connect { .. } => true,
            Self::Status { status, .. } => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            Self::Request { .. } => false,
        }
    }
}

impl Client {
    /// A client that trusts as `tls` says.
    pub fn new(tls: ClientConfig) -> Self {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .build();
        Self(Hyper::builder(TokioExecutor::new()).build(connector))
    }

    /// Posts `body`, trying again when that may help.
    pub async fn post(&self, url: &Url, kind: &str, body: Bytes) -> Result<(), HttpError> {
        let mut attempt = 1;
        loop {
            match self.post_once(url, kind, body.clone()).await {
                Err(error) if error.is_passing() && attempt < ATTEMPTS => {
                    sleep(Duration::from_secs(u64::from(attempt))).await;
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    async fn post_once(&self, url: &Url, kind: &str, body: Bytes) -> Result<(), HttpError> {
        let host = || url.to_string();
        let wrong = |cause| HttpError::Request {
            host: host(),
            cause,
        };
        let request = Request::post(url.uri().map_err(wrong)?)
            .header(CONTENT_TYPE, kind)
            .header(USER_AGENT, USER_AGENT_VALUE)
            .body(Full::new(body))
            .map_err(wrong)?;
        let Ok(answer) = timeout(ATTEMPT_MAX, self.0.request(request)).await else {
            return Err(HttpError::TimedOut { host: host() });
        };
        let answer = answer.map_err(|cause| HttpError::Connect {
            host: host(),
            cause,
        })?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(HttpError::Status {
                host: host(),
                status,
            }),
        }
    }
}
