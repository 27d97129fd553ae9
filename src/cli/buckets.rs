//! Looks at the buckets of a plan file: those that are protected, and those that backups lie in. Changes nothing
//! there. One that does not answer is part of what was seen: the plan stands without it.

use crate::cli::access;
use crate::model::bucket::BucketSeen;
use crate::model::ids::{ComponentName, DestinationName};
use crate::model::strategy::{SourceSpec, Strategy};
use crate::source::bucket::{Access, BucketSettings};
use futures_util::future::{join, join_all};
use std::collections::BTreeMap;
use std::io;

/// What was seen, of components and of destinations.
pub type Seen = (
    BTreeMap<ComponentName, BucketSeen>,
    BTreeMap<DestinationName, BucketSeen>,
);

/// Looks at all of them at the same time.
pub async fn look(strategy: &Strategy) -> Seen {
    let components = strategy.components.iter().filter(|c| c.enabled);
    let sources = components.filter_map(|component| match &component.source {
        SourceSpec::S3(bucket) => Some(async {
            let access = access::of_source(bucket).await;
            (component.name.clone(), seen(access).await)
        }),
        _ => None,
    });
    let destinations = strategy.destinations.iter().filter_map(|destination| {
        let (named, _) = access::of_destination(destination)?;
        Some(async move { (destination.name.clone(), seen(named.access().await).await) })
    });
    let (sources, destinations) = join(join_all(sources), join_all(destinations)).await;
    (
        sources.into_iter().collect(),
        destinations.into_iter().collect(),
    )
}

async fn seen(access: io::Result<Access>) -> BucketSeen {
    let opened = access.and_then(|access| BucketSettings::new(&access).map_err(io::Error::other));
    match opened {
        Ok(settings) => settings.look().await,
        Err(error) => BucketSeen::Unreachable {
            why: error.to_string(),
        },
    }
}
