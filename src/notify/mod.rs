//! Tells others what became of a run: a service that watches for silence, webhooks, node_exporter, a log of
//! all runs. Nothing here can fail a run: what could not be told is a warning for whoever still listens.

mod healthchecks;
mod http;
pub mod log;
pub mod prometheus;
mod summary;
mod url;

pub use healthchecks::{ended, started};
pub use http::{Client, HttpError};
pub use summary::Summary;
pub use url::{Plain, Url, UrlError};

use bytes::Bytes;

/// Posts the summary to a webhook.
pub async fn webhook(client: &Client, url: &Url, summary: &Summary) -> Result<(), HttpError> {
    let body = Bytes::from(summary.json());
    client.post(url, "application/json", body).await
}
