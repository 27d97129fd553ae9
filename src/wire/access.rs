//! What must be known of a bucket before it can be asked anything. Never shows credentials.

use ::s3::Auth;
use std::fmt;

/// A bucket, and how it is spoken to.
#[derive(Clone)]
pub struct Access {
    /// Its name.
    pub bucket: String,
    /// Its region.
    pub region: String,
    /// `https://HOST[:PORT]`; `None`: AWS.
    pub endpoint: Option<String>,
    /// `ENDPOINT/BUCKET/KEY` instead of `BUCKET.ENDPOINT/KEY`.
    pub path_style: bool,
    /// Who asks.
    pub auth: Auth,
    /// Whom to trust.
    pub tls: rustls::ClientConfig,
}

impl Access {
    /// The endpoint's URL.
    pub(super) fn url(&self) -> String {
        let aws = || format!("https://s3.{}.amazonaws.com", self.region);
        self.endpoint.clone().unwrap_or_else(aws)
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Credentials are nobody's business.
        f.debug_struct("Access")
            .field("bucket", &self.bucket)
            .field("region", &self.region)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
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
