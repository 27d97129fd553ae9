//! What a store in a bucket asks of it: where in it, and how what is written shall lie there.

use crate::wire::Access;
use jiff::{SignedDuration, Timestamp};
use std::fmt;
use std::sync::Arc;

/// A store in a bucket.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The bucket.
    pub access: Access,
    /// Where in it, without slashes at the ends; empty: all of it.
    pub prefix: String,
    /// The storage class of data packs.
    pub storage_class: Option<String>,
    /// Encryption that the server is asked for.
    pub server_side: Option<ServerSide>,
    /// How long nobody can remove what is written.
    pub lock: Option<Lock>,
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

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock")
            .field("is_compliance", &self.is_compliance)
            .field("days", &self.days)
            .finish_non_exhaustive()
    }
}
