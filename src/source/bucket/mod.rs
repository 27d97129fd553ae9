//! Buckets that speak S3: their objects captured like files, and what versions there are of them; and how they
//! are set. A mirror only reads: it lists and gets, and changes nothing in the bucket.

mod ask;
pub mod beside;
mod budget;
mod document;
mod listing;
pub mod names;
mod object;
mod replica;
mod rules;
mod settings;
mod tags;
mod walk;

pub use ask::{Bucket, BucketError};
pub use document::text_of;
pub use listing::{Listed, ObjectVersion};
pub use replica::{Waiting, waiting};
pub use settings::{BucketSettings, SettingsError};

use crate::model::tree::Previous;
use crate::source::bucket::walk::{Failed, Walk};
use crate::source::{Capture, Facts, SourceError};
pub use crate::wire::{Access, Answer, Request, escaped};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

/// What to capture.
pub struct MirrorRequest {
    /// The bucket.
    pub access: Access,
    /// The parent backup: what is the same by ETag, size and time is not read again.
    pub previous: Option<Box<dyn Previous>>,
}

/// Lists the bucket and starts reading its objects. Those that were deleted are not in a listing, also where the
/// bucket keeps versions of them.
pub async fn mirror(request: MirrorRequest) -> Result<Capture, SourceError> {
    let bucket = Arc::new(Bucket::new(&request.access)?);
    let listed = bucket.objects("").await?;
    if listed.is_empty() {
        return Err(BucketError::Empty(bucket.name.clone()).into());
    }
    let source = BTreeMap::from([
        ("bucket".to_owned(), bucket.name.clone().into()),
        ("objects".to_owned(), listed.len().into()),
    ]);
    let failed = Failed::default();
    let seen = failed.clone();
    Ok(Capture {
        walk: Box::new(Walk::new(bucket, listed, request.previous, failed)),
        finish: Box::new(move || {
            let mut failed = seen.lock().unwrap_or_else(PoisonError::into_inner);
            match failed.take() {
                Some(error) => Err(error.into()),
                None => Ok(Facts {
                    source,
                    ..Facts::default()
                }),
            }
        }),
        guard: Box::new(()),
    })
}
