//! Opens a destination that is a bucket: how what is written shall lie there.

use crate::cli::access;
use crate::cli::world;
use crate::model::strategy::{Destination, SseMode};
use crate::store::s3::{Lock, S3, ServerSide, Settings};
use crate::store::{Doing, Kind, Store, StoreError};
use std::io;
use std::sync::Arc;

/// Calls at once: enough to fill a line whose answers take a while.
const CALLS_AT_ONCE: usize = 8;

/// The store in a bucket. Nothing is asked of the bucket yet.
pub async fn open(
    destination: &Destination,
    url: &str,
    storage_class: Option<&str>,
) -> Result<Store, StoreError> {
    let settings = settings(destination, storage_class).await;
    let opened = settings.and_then(|settings| S3::new(settings).map_err(io::Error::other));
    let s3 = opened
        .map_err(|cause| StoreError::new(Doing::List, "", url, Kind::Denied).caused_by(cause))?;
    Ok(Store::new(Arc::new(s3), CALLS_AT_ONCE))
}

async fn settings(destination: &Destination, storage_class: Option<&str>) -> io::Result<Settings> {
    let no_bucket = || io::Error::other("the destination is no bucket");
    let (named, prefix) = access::of_destination(destination).ok_or_else(no_bucket)?;
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
        storage_class: storage_class.map(str::to_owned),
        server_side,
        lock,
    })
}
