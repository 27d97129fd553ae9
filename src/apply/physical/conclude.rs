//! What a WAL backup says of itself when all was read, and what is missing in it.

use crate::apply::physical::Cluster;
use crate::apply::physical::taking::{AllTaken, Taken};
use crate::model::records::ReadError;
use crate::model::wal::{Archive, Archiver, SegmentName, SystemId, WalFacts, WalName};
use crate::restore::wal::path_of;
use crate::source::cluster::{base::archiving_fails, server};
use crate::source::postgres::connection::Connection;
use crate::source::{Facts, SourceError};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::PoisonError;

/// What is concluded when all was read.
pub(super) struct Conclusion {
    pub(super) taken: AllTaken,
    pub(super) kept: Vec<WalFacts>,
    pub(super) bases: Vec<(SystemId, SegmentName)>,
    pub(super) lacking: Vec<ReadError>,
    pub(super) connection: Connection,
}

impl Conclusion {
    /// What goes into the manifest.
    pub(super) fn facts(mut self) -> Result<Facts, SourceError> {
        let taken = std::mem::take(&mut *self.taken.lock().unwrap_or_else(PoisonError::into_inner));
        let mut clusters: BTreeMap<Cluster, Vec<Taken>> = BTreeMap::new();
        for one in taken {
            clusters.entry(one.cluster).or_default().push(one);
        }
        let facts: Vec<WalFacts> = clusters.into_iter().map(facts_of).collect();
        for of_cluster in &facts {
            self.note_gaps(of_cluster, &facts);
        }
        let mut source = BTreeMap::new();
        let as_value = |value: serde_json::Result<Value>| {
            value.map_err(|e| SourceError::Refused(e.to_string()))
        };
        source.insert(
            WalFacts::NAME.to_owned(),
            as_value(serde_json::to_value(&facts))?,
        );
        // A server that does not answer has no say in what was archived before.
        if let Ok(server) = server::ask(&self.connection) {
            self.note_archiving(&server);
            source.insert(
                Archiver::NAME.to_owned(),
                as_value(serde_json::to_value(&server.archiver))?,
            );
        }
        Ok(Facts {
            source,
            tools: BTreeMap::new(),
            lacking: self.lacking,
            ..Facts::default()
        })
    }

    /// Gaps that end at what was taken now: those before were told when they were found.
    fn note_gaps(&mut self, taken: &WalFacts, all: &[WalFacts]) {
        let system = taken.system_identifier;
        let Some(archive) = Archive::of(system, self.kept.iter().chain(all)) else {
            return;
        };
        let bases: Vec<SegmentName> = self
            .bases
            .iter()
            .filter(|(of, _)| *of == system)
            .map(|(_, first)| *first)
            .collect();
        for gap in archive.gaps(&bases) {
            if taken.follows(&gap.last) {
                let message = match gap.count {
                    1 => "this segment was never archived, and a later one was".to_owned(),
                    n => format!(
                        "this and {} after it, up to {}, were never archived, and a later one was",
                        n - 1,
                        gap.last
                    ),
                };
                self.lacking.push(ReadError {
                    path: path_of(system, &WalName::Segment(gap.first)),
                    message,
                });
            }
        }
    }

    fn note_archiving(&mut self, server: &server::Server) {
        let mut lacks = |message: String| {
            self.lacking.push(ReadError {
                path: "archive_command".to_owned(),
                message,
            });
        };
        if server.archiver.is_failing() {
            lacks(archiving_fails(&server.archiver));
        }
    }
}

fn facts_of(((system, bytes), taken): (Cluster, Vec<Taken>)) -> WalFacts {
    let names = taken.iter().map(|one| (one.name, one.archived));
    let mut facts = WalFacts::empty(system, bytes).with(names);
    facts.histories = taken.into_iter().filter_map(|one| one.history).collect();
    facts.histories.sort();
    facts
}
