//! Pings a service that watches for silence, in the way of healthchecks.io: when a run starts, and with its
//! exit code when it ends. The id of the run ties the two together.

use crate::model::ids::RunId;
use crate::notify::http::{Client, HttpError};
use crate::notify::url::Url;
use bytes::Bytes;

/// What such a service keeps of a body.
const BODY_MAX_BYTES: usize = 100_000;

/// Says that a run starts.
pub async fn started(client: &Client, url: &Url, run: RunId) -> Result<(), HttpError> {
    let url = url.with("/start", ("rid", &uuid(run)));
    client.post(&url, "text/plain", Bytes::new()).await
}

/// Says how a run ended: 0 is a success, everything else a failure.
pub async fn ended(
    client: &Client,
    url: &Url,
    run: RunId,
    exit: u8,
    text: &str,
) -> Result<(), HttpError> {
    let url = url.with(&format!("/{exit}"), ("rid", &uuid(run)));
    let end = text.floor_char_boundary(BODY_MAX_BYTES);
    let body = Bytes::copy_from_slice(&text.as_bytes()[..end]);
    client.post(&url, "text/plain; charset=utf-8", body).await
}

/// The id in the form that such services ask for.
fn uuid(run: RunId) -> String {
    let hex = run.to_string();
    let (a, b, c, d, e) = (
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    );
    format!("{a}-{b}-{c}-{d}-{e}")
}
