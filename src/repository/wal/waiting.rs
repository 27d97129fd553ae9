//! What was handed over and still lies there, as facts: stretches of segments, and where timelines came from.
//! Reads names, and only the few small files that say more than their names.

use crate::model::ids::ComponentName;
use crate::model::inventory::WaitingWal;
use crate::model::wal::{History, SegmentBytes, SystemId, WalFacts, WalName};
use crate::repository::{DamagedObject, Repository, RepositoryError, WalObject};
use std::collections::BTreeMap;

impl Repository {
    /// What lies there of each component, or of one; and small files of it that can not be read.
    pub async fn waiting_wal(
        &self,
        component: Option<&ComponentName>,
    ) -> Result<(Vec<WaitingWal>, Vec<DamagedObject>), RepositoryError> {
        let mut groups: BTreeMap<(ComponentName, SystemId), Vec<WalObject>> = BTreeMap::new();
        for object in self.list_wal(component).await? {
            let group = groups
                .entry((object.component.clone(), object.system))
                .or_default();
            group.push(object);
        }
        let (mut waiting, mut damaged) = (Vec::new(), Vec::new());
        for ((component, system), objects) in groups {
            let bytes = self.segment_bytes(&component, system, &mut damaged).await?;
            let mut facts = WalFacts::empty(system, bytes)
                .with(objects.iter().map(|object| (object.name, object.archived)));
            for object in &objects {
                facts
                    .histories
                    .extend(self.history(object, &mut damaged).await?);
            }
            waiting.push(WaitingWal {
                component,
                facts,
                files: objects.len() as u64,
                bytes: objects.iter().map(|object| object.size).sum(),
            });
        }
        Ok((waiting, damaged))
    }

    async fn segment_bytes(
        &self,
        component: &ComponentName,
        system: SystemId,
        damaged: &mut Vec<DamagedObject>,
    ) -> Result<SegmentBytes, RepositoryError> {
        let clusters = noting(self.wal_clusters(component).await, damaged)?;
        let mut clusters = clusters.unwrap_or_default().into_iter();
        let record = clusters.find(|record| record.system_identifier == system);
        Ok(record.map_or(SegmentBytes::USUAL, |record| record.segment_bytes))
    }

    async fn history(
        &self,
        object: &WalObject,
        damaged: &mut Vec<DamagedObject>,
    ) -> Result<Option<History>, RepositoryError> {
        let WalName::History(timeline) = object.name else {
            return Ok(None);
        };
        let got = self.get_wal(&object.component, object.system, &object.name);
        let bytes = noting(got.await, damaged)?.flatten();
        Ok(bytes.and_then(|bytes| History::read(timeline, &String::from_utf8_lossy(&bytes))))
    }
}

/// A damaged object is noted, and does not hide the others.
fn noting<T>(
    read: Result<T, RepositoryError>,
    damaged: &mut Vec<DamagedObject>,
) -> Result<Option<T>, RepositoryError> {
    match read {
        Err(RepositoryError::Object { key, cause }) => {
            if let Ok(key) = key.parse() {
                damaged.push(DamagedObject { key, cause });
            }
            Ok(None)
        }
        read => read.map(Some),
    }
}
