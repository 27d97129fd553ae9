//! What is known of a bucket before it is asked anything. Refuses what would send secrets or data in the clear.

use ::s3::Auth;
use std::fmt;

/// A bucket, and how it is spoken to.
#[derive(Clone)]
pub struct Settings {
    /// Its name.
    pub bucket: String,
    /// Where in it, without slashes at the ends; empty: all of it.
    pub prefix: String,
    /// Its region.
    pub region: String,
    /// `https://HOST[:PORT]`; `http` only to this machine. `None`: AWS.
    pub endpoint: Option<String>,
    /// `ENDPOINT/BUCKET/KEY` instead of `BUCKET.ENDPOINT/KEY`.
    pub path_style: bool,
    /// The storage class of data packs.
    pub storage_class: Option<String>,
    /// Encryption that the server is asked for.
    pub server_side: Option<ServerSide>,
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

/// Why a bucket can not even be asked.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// It would go over the network in the clear.
    #[error(
        "`{endpoint}` is not encrypted on its way: write https://, or reach it through this machine"
    )]
    Clear {
        /// Where to.
        endpoint: String,
    },
    /// The endpoint, the region or the credentials can not be used.
    #[error("set up the S3 client for `{endpoint}`")]
    Client {
        /// Where to.
        endpoint: String,
        /// Why.
        #[source]
        cause: ::s3::Error,
    },
}

impl Settings {
    /// The endpoint's URL.
    pub(super) fn url(&self) -> Result<String, SetupError> {
        let Some(endpoint) = &self.endpoint else {
            return Ok(format!("https://s3.{}.amazonaws.com", self.region));
        };
        let endpoint = match endpoint.contains("://") {
            true => endpoint.clone(),
            false => format!("https://{endpoint}"),
        };
        match endpoint.strip_prefix("http://") {
            Some(rest) if !is_this_machine(rest) => Err(SetupError::Clear { endpoint }),
            _ => Ok(endpoint),
        }
    }
}

/// Whether a `HOST[:PORT][/…]` never leaves this machine.
fn is_this_machine(rest: &str) -> bool {
    let authority = rest.split('/').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::is_this_machine;

    #[test]
    fn only_loopback_is_this_machine() {
        for here in ["localhost", "localhost:9000/x", "127.0.0.1:80", "127.8.9.1", "[::1]:9000"] {
            assert!(is_this_machine(here), "{here}");
        }
        for there in [
            "localhost.example.com",
            "128.0.0.1",
            "[::2]",
            "127.0.0.1.example.com",
            "user@127.0.0.1",
            "",
        ] {
            assert!(!is_this_machine(there), "{there}");
        }
    }
}
