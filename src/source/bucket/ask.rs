//! Asks a bucket that is protected: each request is made again for a while when the server does not answer. Knows
//! no tree and no backup.

use crate::wire::{Access, Answer, Kind, Request, SetupError, Trouble, Wire, refusal};
use std::time::Duration;

/// Requests before giving up, the first included: about a minute in all, so that a failover passes unnoticed.
const ATTEMPTS: u32 = 14;
/// The pause after the first; each later one is half as long again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// No pause is longer.
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// Why a bucket could not be read or written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum BucketError {
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error("{doing} in bucket `{bucket}`")]
    Asked {
        doing: String,
        bucket: String,
        kind: Kind,
        #[source]
        cause: Trouble,
    },
    #[error("{doing} in bucket `{bucket}`: {why}")]
    Answer {
        doing: String,
        bucket: String,
        why: String,
    },
    #[error("bucket `{0}` is empty: is it the right one?")]
    Empty(String),
}

impl BucketError {
    /// There is no such object.
    pub fn is_missing(&self) -> bool {
        matches!(
            self,
            Self::Asked {
                kind: Kind::NotFound,
                ..
            }
        )
    }

    /// What was asked for next would fail in the same way.
    pub(crate) fn is_about_all(&self) -> bool {
        matches!(
            self,
            Self::Setup(_)
                | Self::Asked {
                    kind: Kind::Unreachable,
                    ..
                }
        )
    }

    /// The credentials do not allow it.
    pub(crate) fn is_denied(&self) -> bool {
        matches!(
            self,
            Self::Asked {
                kind: Kind::Denied,
                ..
            }
        )
    }

    /// Somebody was first.
    pub fn is_taken(&self) -> bool {
        matches!(
            self,
            Self::Asked {
                kind: Kind::AlreadyExists,
                ..
            }
        )
    }
}

/// A bucket that can be asked.
#[derive(Debug)]
pub struct Bucket {
    wire: Wire,
    /// Its name.
    pub name: String,
}

impl Bucket {
    /// The bucket that `access` tells of. Nothing is asked yet.
    pub fn new(access: &Access) -> Result<Self, BucketError> {
        Ok(Self {
            wire: Wire::new(access)?,
            name: access.bucket.clone(),
        })
    }

    /// The answer to a request that was carried out.
    pub async fn ask(
        &self,
        doing: &str,
        request: impl Fn() -> Request,
    ) -> Result<Answer, BucketError> {
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            let (kind, cause) = match self.wire.send(request()).await {
                Ok(answer) if answer.status.is_success() => return Ok(answer),
                Ok(answer) => refusal(&answer, &self.name),
                Err(trouble) => (trouble.kind(), trouble),
            };
            if kind != Kind::Unreachable || attempt == ATTEMPTS {
                return Err(BucketError::Asked {
                    doing: doing.to_owned(),
                    bucket: self.name.clone(),
                    kind,
                    cause,
                });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(PAUSE_MAX);
        }
        unreachable!("the last attempt returns")
    }

    pub(crate) fn wrong(&self, doing: &str, why: impl ToString) -> BucketError {
        BucketError::Answer {
            doing: doing.to_owned(),
            bucket: self.name.clone(),
            why: why.to_string(),
        }
    }
}
