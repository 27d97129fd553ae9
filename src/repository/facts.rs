//! Facts of a repository as a whole, from listings and a few small objects: what it takes, what waits to be
//! removed, how old its key is, what its store can do. Decides nothing.

use crate::repository::condemned::Condemned;
use crate::repository::format::manifest::Version;
use crate::repository::{DamagedObject, Packs, Repository, RepositoryError, layout};
use crate::store::Key;
use futures_util::future::{try_join, try_join3};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Facts of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// All packs.
    pub stored: Packs,
    /// Packs that are condemned, and still there.
    pub condemned: Packs,
    /// When a prune last left a record, by the store's clock.
    pub last_prune: Option<Timestamp>,
    /// When the data key in use was made; nothing where there is none.
    pub key_since: Option<Timestamp>,
    /// The store creates over what is there: two writers at once could harm one another.
    pub is_single_writer: bool,
    /// What can not be read of the log of condemned packs: what it condemned is not known.
    pub damaged: Option<DamagedObject>,
}

/// What a store was found to do: `probes/…`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ProbeNote {
    v: Version<1>,
    creates_only_once: bool,
    deletes: bool,
}

impl Repository {
    /// Looks at the repository as a whole.
    pub async fn facts(&self) -> Result<Facts, RepositoryError> {
        let (log, listing) = try_join(self.condemned_or_damage(), async {
            Ok(self.store().list(layout::PACKS).await?)
        })
        .await?;
        let ((log, damaged), key_since, is_single_writer) =
            try_join3(async { Ok(log) }, self.key_since(), self.is_single_writer()).await?;
        let (mut stored, mut condemned) = (Packs::default(), Packs::default());
        for meta in &listing.objects {
            stored.add(meta.size);
            let name = layout::pack_name(&meta.key);
            if name.is_some_and(|name| log.packs.contains_key(&name)) {
                condemned.add(meta.size);
            }
        }
        Ok(Facts {
            stored,
            condemned,
            last_prune: log.written.values().max().copied(),
            key_since,
            is_single_writer,
            damaged,
        })
    }

    /// The log of condemned packs as far as it can be read, for those who conclude nothing from it.
    pub(crate) async fn condemned_or_damage(
        &self,
    ) -> Result<(Condemned, Option<DamagedObject>), RepositoryError> {
        match self.condemned().await {
            Err(RepositoryError::Object { key, cause }) => {
                let key = Key::new(key.clone())
                    .map_err(|_| RepositoryError::object(key, cause.clone()))?;
                let damaged = DamagedObject { key, cause };
                Ok((Condemned::default(), Some(damaged)))
            }
            log => Ok((log?, None)),
        }
    }

    /// Whether the store was found to create over what is there when it was last probed.
    pub(crate) async fn is_single_writer(&self) -> Result<bool, RepositoryError> {
        let note: Option<ProbeNote> = self.newest_note(layout::PROBES).await?;
        Ok(note.is_some_and(|note| !note.creates_only_once))
    }

    /// Finds out what the store does, and notes it for those who may only read.
    pub(crate) async fn probe(&self) -> Result<(), RepositoryError> {
        let trial = layout::noted(layout::PROBES, self.now(), self.random());
        let found = self.store().probe(&trial).await?;
        let note = ProbeNote {
            v: Version,
            creates_only_once: found.creates_only_once,
            deletes: found.deletes,
        };
        self.note(layout::PROBES, &note).await
    }
}
