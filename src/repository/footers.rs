//! Reads what packs say of themselves, without reading their frames. So packs that were uploaded by a
//! run that was killed before it wrote its index are not uploaded again.

use crate::model::ids::{Digest, SessionId};
use crate::repository::condemned::Condemned;
use crate::repository::format::FormatError;
use crate::repository::format::blob::BlobKind;
use crate::repository::format::index::Segment;
use crate::repository::format::pack::{
    HEADER_LEN, PackFooter, PackHeader, PackKey, TRAILER_LEN, read_footer, sealed_footer_len,
};
use crate::repository::{Repository, RepositoryError, layout};
use crate::store::Listing;
use futures_util::{StreamExt, stream};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Read from the end at once; most footers are shorter.
const TAIL_LEN_BYTES: u64 = 64 << 10;
const AT_ONCE: usize = 8;

impl Repository {
    /// Describes the packs that no segment describes and that are not condemned. One that can not be
    /// read is passed over: nothing refers to it.
    pub(crate) async fn adopt(
        &self,
        session: SessionId,
        segments: &[Arc<Segment>],
        packs: &Listing,
        condemned: &Condemned,
    ) -> Result<Segment, RepositoryError> {
        let described: BTreeSet<&Digest> = segments
            .iter()
            .flat_map(|segment| &segment.packs)
            .map(|pack| &pack.name)
            .collect();
        let strangers = packs.objects.iter().filter_map(|meta| {
            let name = layout::pack_name(&meta.key)?;
            let kind = layout::pack_kind(&meta.key)?;
            let is_known = described.contains(&name) || condemned.packs.contains_key(&name);
            (!is_known).then_some((kind, name, meta.size))
        });
        let mut adopted = Segment::new(session, condemned.seen);
        let mut footers = stream::iter(strangers.collect::<Vec<_>>())
            .map(|(kind, name, size)| async move {
                (name, size, self.pack_footer(kind, &name, size).await)
            })
            .buffered(AT_ONCE);
        while let Some((name, size, footer)) = footers.next().await {
            if let Ok(footer) = footer {
                adopted.add(name, size, &footer);
            }
        }
        Ok(adopted)
    }

    /// What the pack of `size` bytes says that it holds.
    pub(crate) async fn pack_footer(
        &self,
        kind: BlobKind,
        name: &Digest,
        size: u64,
    ) -> Result<PackFooter, RepositoryError> {
        let key = layout::pack(kind, name);
        let damaged = |cause| RepositoryError::object(&key, cause);
        if size < (HEADER_LEN + TRAILER_LEN) as u64 {
            return Err(damaged(FormatError::Truncated("pack")));
        }
        let header = self.store().get(&key, Some(0..HEADER_LEN as u64)).await?;
        let header = PackHeader::decode(&header).map_err(damaged)?;
        let start = size - size.min(TAIL_LEN_BYTES);
        let mut tail = self.store().get(&key, Some(start..size)).await?.to_vec();
        let trailer = tail.split_off(tail.len() - TRAILER_LEN);
        let len = sealed_footer_len(&trailer, size).map_err(damaged)?;
        let mut sealed = match tail.len().checked_sub(len) {
            Some(before) => tail.split_off(before),
            None => {
                let end = size - TRAILER_LEN as u64;
                self.store()
                    .get(&key, Some(end - len as u64..end))
                    .await?
                    .to_vec()
            }
        };
        let pack_key = PackKey::new(self.keys(), header).map_err(damaged)?;
        read_footer(&pack_key, &mut sealed, size).map_err(damaged)
    }
}
