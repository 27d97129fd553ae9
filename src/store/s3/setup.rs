//! What is known of a bucket before it is asked anything. Never shows credentials.

use ::s3::Auth;
use jiff::{SignedDuration, Timestamp};
use std::fmt;
use std::sync::Arc;

/// A bucket, and how it is spoken to.
#[derive(Clone)]
pub struct Settings {
    /// Its name.
    pub bucket: String,
    /// Where in it, without slashes at the ends; empty: all of it.
    pub prefix: String,
    /// Its region.
    pub region: String,
    /// `https://HOST[:PORT]`; `None`: AWS.
    pub endpoint: Option<String>,
    /// `ENDPOINT/BUCKET/KEY` instead of `BUCKET.ENDPOINT/KEY`.
    pub path_style: bool,
    /// The storage class of data packs.
    pub storage_class: Option<String>,
    /// Encryption that the server is asked for.
    pub server_side: Option<ServerSide>,
    /// How long nobody can remove what is written.
    pub lock: Option<Lock>,
    /// Who asks.
    pub auth: Auth,
    /// Whom to trust.
    pub tls: rustls::ClientConfig,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Credentials are nobody's business.
        f.debug_struct("Settings")
            .field("bucket", &self.bucket)
            .field("prefix", &self.prefix)
            .field("region", &self.region)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// Encryption at the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerSide {
    /// With the server's keys.
    Aes256,
    /// With a key of its key service: this one, or its usual one.
    Kms(Option<String>),
}

impl ServerSide {
    /// What the server calls it.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Aes256 => "AES256",
            Self::Kms(_) => "aws:kms",
        }
    }

    pub(super) fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![("x-amz-server-side-encryption", self.algorithm().to_owned())];
        if let Self::Kms(Some(key)) = self {
            headers.push(("x-amz-server-side-encryption-aws-kms-key-id", key.clone()));
        }
        headers
    }
}

/// How long nobody can remove what is written.
#[derive(Clone)]
pub struct Lock {
    /// Nobody can shorten it; else people with the right can.
    pub is_compliance: bool,
    /// Days from the time of writing.
    pub days: u32,
    /// This machine's clock.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

impl Lock {
    pub(super) fn headers(&self) -> Vec<(&'static str, String)> {
        let mode = if self.is_compliance {
            "COMPLIANCE"
        } else {
            "GOVERNANCE"
        };
        let until = (self.now)() + SignedDuration::from_hours(24 * i64::from(self.days));
        vec![
            ("x-amz-object-lock-mode", mode.to_owned()),
            (
                "x-amz-object-lock-retain-until-date",
                until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            ),
        ]
    }
}

/// The endpoint, the region or the credentials can not be used.
#[derive(Debug, thiserror::Error)]
#[error("set up the S3 client for `{endpoint}`: {cause}")]
pub struct SetupError {
    /// Where to.
    pub endpoint: String,
    /// Why.
    pub cause: ::s3::Error,
}

impl Settings {
    /// The endpoint's URL.
    pub(super) fn url(&self) -> String {
        let aws = || format!("https://s3.{}.amazonaws.com", self.region);
        self.endpoint.clone().unwrap_or_else(aws)
    }
}
