//! What a repository remembers of itself from one run to the next, and can do without: what its store can do,
//! what was checked last. Notes are signed and never changed; the newest counts, old ones are tidied away.

use crate::repository::format::seal::{OpenType, open_signed, sign};
use crate::repository::{Repository, RepositoryError, layout};
use crate::store::{Kind, Meta, Put};
use serde::{Serialize, de::DeserializeOwned};

/// How many are looked at for one that can be read.
const LOOKED_AT_MAX: usize = 4;

impl Repository {
    pub(crate) async fn note<T: Serialize>(
        &self,
        prefix: &str,
        record: &T,
    ) -> Result<(), RepositoryError> {
        let key = layout::noted(prefix, self.now(), self.random());
        let bytes = sign(self.keys(), OpenType::Note, key.as_str(), record);
        Ok(self.store().put(&key, bytes.into(), Put::New).await?)
    }

    /// The newest note that can be read. One that is damaged counts as one that was never made.
    pub(crate) async fn newest_note<T: DeserializeOwned>(
        &self,
        prefix: &str,
    ) -> Result<Option<T>, RepositoryError> {
        let notes = self.notes(prefix).await?;
        for meta in notes.iter().rev().take(LOOKED_AT_MAX) {
            let bytes = match self.store().get(&meta.key, None).await {
                Err(e) if e.kind == Kind::NotFound => continue,
                read => read?,
            };
            if let Ok(note) = open_signed(self.keys(), OpenType::Note, meta.key.as_str(), &bytes) {
                return Ok(Some(note));
            }
        }
        Ok(None)
    }

    /// Notes by the store's clock, oldest first: that of a writer may be wrong.
    pub(crate) async fn notes(&self, prefix: &str) -> Result<Vec<Meta>, RepositoryError> {
        let mut notes = self.store().list(prefix).await?.objects;
        notes.sort_by(|a, b| (a.modified, &a.key).cmp(&(b.modified, &b.key)));
        Ok(notes)
    }
}
