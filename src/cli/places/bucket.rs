//! Opens a destination that is a bucket: how what is written shall lie there.

use crate::cli::access::Named;
use crate::cli::world;
use crate::model::strategy::{Destination, SseMode};
use crate::store::s3::{Lock, S3, ServerSide, Settings};
use crate::store::{Doing, Kind, Store, StoreError};
use std::io;
use std::sync::Arc;

/// Calls at once: enough to fill a line whose answers take a while.
const CALLS_AT_ONCE: usize = 8;

/// A bucket as the plan file has it.
pub struct Bucket<'a> {
    /// `s3://BUCKET/PREFIX`.
    pub url: &'a str,
    /// Region.
    pub region: Option<&'a str>,
    /// Endpoint other than AWS.
    pub endpoint: Option<&'a str>,
    /// `ENDPOINT/BUCKET/KEY`.
    pub path_style: bool,
    /// Of data packs.
    pub storage_class: Option<&'a str>,
}

impl Bucket<'_> {
    /// The store. Nothing is asked of the bucket yet.
    pub async fn open(&self, destination: &Destination) -> Result<Store, StoreError> {
        let settings = self.settings(destination).await;
        let opened = settings.and_then(|settings| S3::new(settings).map_err(io::Error::other));
        let s3 = opened.map_err(|cause| {
            StoreError::new(Doing::List, "", self.url, Kind::Denied).caused_by(cause)
        })?;
        Ok(Store::new(Arc::new(s3), CALLS_AT_ONCE))
    }

    async fn settings(&self, destination: &Destination) -> io::Result<Settings> {
        let rest = self.url.strip_prefix("s3://").unwrap_or(self.url);
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let named = Named {
            node: "destination",
            bucket,
            region: self.region,
            endpoint: self.endpoint,
            path_style: self.path_style,
            credentials: destination.credentials.as_ref(),
        };
        let server_side = destination.sse.as_ref().map(|sse| match sse.mode {
            SseMode::Aes256 => ServerSide::Aes256,
            SseMode::AwsKms => ServerSide::Kms(sse.key_id.clone()),
        });
        let lock = destination.object_lock.as_ref().map(|lock| Lock {
            is_compliance: lock.compliance,
            days: lock.days,
            now: Arc::new(world::now),
        });
        Ok(Settings {
            access: named.access().await?,
            prefix: prefix.to_owned(),
            storage_class: self.storage_class.map(str::to_owned),
            server_side,
            lock,
        })
    }
}
