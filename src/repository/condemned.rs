//! The log of prune records: which packs are condemned. Condemned packs may still be read, and are never
//! referred to anew. Reads only; what may be condemned is decided elsewhere.

use crate::model::ids::Digest;
use crate::repository::format::FormatError;
use crate::repository::format::manifest::Version;
use crate::repository::format::seal::{OpenType, open_signed};
use crate::repository::{Repository, RepositoryError, layout};
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One record of the log: `gc/<number>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PruneRecord {
    pub(crate) v: Version<1>,
    pub(crate) number: u64,
    /// When, by the clock of the host that wrote it; ages are measured by the store's clock.
    pub(crate) at: Timestamp,
    /// The packs that this record condemns, sorted.
    pub(crate) packs: Vec<Digest>,
}

/// All packs that were condemned so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Condemned {
    /// The number of the newest record; 0 when there is none.
    pub(crate) seen: u64,
    /// Pack to the record that condemned it.
    pub(crate) packs: BTreeMap<Digest, u64>,
    /// Record to when it was written, by the store's clock.
    pub(crate) written: BTreeMap<u64, Timestamp>,
}

impl Repository {
    /// Reads the whole log.
    pub(crate) async fn condemned(&self) -> Result<Condemned, RepositoryError> {
        let written = self.prune_records().await?;
        let numbers: Vec<u64> = written.keys().copied().collect();
        let records: Vec<PruneRecord> = stream::iter(numbers)
            .map(|number| self.prune_record(number))
            .buffer_unordered(8)
            .try_collect()
            .await?;
        let mut condemned = Condemned {
            written,
            ..Condemned::default()
        };
        for record in records {
            condemned.seen = condemned.seen.max(record.number);
            let packs = record.packs.into_iter().map(|pack| (pack, record.number));
            condemned.packs.extend(packs);
        }
        Ok(condemned)
    }

    /// Every record up to one that was the newest lately, and when each was written. A listing may miss what is
    /// written while it runs, and yet show what was written after that: a session that says it has seen a
    /// record, and has not read the one before, would use packs that are about to go. Whoever writes a record
    /// has read all before it, so that those are in any listing which begins later.
    async fn prune_records(&self) -> Result<BTreeMap<u64, Timestamp>, RepositoryError> {
        let first = self.list_records().await?;
        let newest = first.keys().next_back().copied().unwrap_or_default();
        if first.len() as u64 == newest {
            return Ok(first);
        }
        // Or else old ones were tidied away.
        let mut again = self.list_records().await?;
        again.retain(|number, _| *number <= newest);
        Ok(again)
    }

    async fn list_records(&self) -> Result<BTreeMap<u64, Timestamp>, RepositoryError> {
        let listing = self.store().list(layout::PRUNES).await?;
        let records = listing.objects.iter().filter_map(|object| {
            let number = object.key.as_str().strip_prefix(layout::PRUNES)?;
            Some((number.parse().ok()?, object.modified))
        });
        Ok(records.collect())
    }

    async fn prune_record(&self, number: u64) -> Result<PruneRecord, RepositoryError> {
        let key = layout::prune(number);
        let bytes = self.store().get(&key, None).await?;
        let record: PruneRecord = open_signed(self.keys(), OpenType::Prune, key.as_str(), &bytes)
            .map_err(|cause| RepositoryError::object(&key, cause))?;
        if record.number == number {
            return Ok(record);
        }
        let cause = FormatError::malformed("prune record", "it has another number than its key");
        Err(RepositoryError::object(&key, cause))
    }
}
