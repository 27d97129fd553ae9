//! What a repository holds: its backups, what is in the trash, what was said of them, the latest runs.
//! Needs LIST and GET of small objects; no index, no lock. One unreadable manifest does not hide the
//! others: it is listed as damaged.

use crate::model::ids::BackupId;
use crate::repository::cache::Payloads;
use crate::repository::format::FormatError;
use crate::repository::format::manifest::{
    Annotation, ExportRecord, Manifest, Payload, RunRecord, Tomb,
};
use crate::repository::format::seal::{ObjectType, open};
use crate::repository::lease::Pin;
use crate::repository::{Repository, RepositoryError, layout, pipeline};
use crate::store::{Key, Kind, Meta, StoreError};
use bytes::Bytes;
use futures_util::{
    StreamExt,
    future::{join, try_join},
    stream,
};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// How many runs are listed.
const RUNS_MAX: usize = 20;
/// Small objects fetched at once; the store's own permits may be fewer.
const AT_ONCE: usize = 32;

/// What a repository holds.
#[derive(Debug, Clone)]
pub struct Holdings {
    /// Backups that exist, sorted by key: by component, then by time.
    pub backups: Vec<ListedBackup>,
    /// Backups that were forgotten and can be brought back.
    pub trashed: Vec<Trashed>,
    /// Objects that should tell of a backup or a run, and can not be read.
    pub damaged: Vec<DamagedObject>,
    /// The latest runs, newest first.
    pub runs: Vec<RunRecord>,
    /// Copies that restore without ccb, by when their backup was taken, then by key.
    pub exports: Vec<ListedExport>,
    /// The store's clock.
    pub server_time: Timestamp,
}

/// A backup and what was said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedBackup {
    /// Where its manifest is.
    pub key: Key,
    /// What it is.
    pub manifest: Manifest,
    /// When it was committed, by the store's clock.
    pub committed: Timestamp,
    /// What was said of it since, oldest first.
    pub annotations: Vec<Annotation>,
}

/// A record of a copy that restores without ccb.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedExport {
    /// Where the record is.
    pub key: Key,
    /// What it says.
    pub record: ExportRecord,
}

/// A backup in the trash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trashed {
    /// What was forgotten.
    pub backup: ListedBackup,
    /// When and why.
    pub tomb: Tomb,
    /// When, by the store's clock.
    pub since: Timestamp,
}

/// An object that can not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedObject {
    /// Its key.
    pub key: Key,
    /// How.
    pub cause: FormatError,
}

impl ListedBackup {
    pub(crate) fn pin(&self) -> Pin {
        Pin {
            backup_key: self.key.to_string(),
            root: self.manifest.root,
        }
    }
}

impl Repository {
    /// Lists everything.
    pub async fn list(&self) -> Result<Holdings, RepositoryError> {
        let store = self.store();
        let looked = try_join(
            // Backups before tombs: one that is forgotten between the two is then seen as forgotten.
            async {
                Ok::<_, StoreError>((
                    store.list(layout::BACKUPS).await?,
                    store.list(layout::TOMBS).await?,
                ))
            },
            try_join(
                store.list(layout::ANNOTATIONS),
                try_join(store.list(layout::RUNS), store.list(layout::EXPORTS)),
            ),
        );
        let (looked, cached) = join(looked, self.cached()).await;
        let ((backups, tombs), (annotations, (runs, exports))) = looked?;
        let mut backups = backups.objects;
        backups.retain(|meta| !meta.key.as_str().starts_with(layout::REPACKS));
        let mut runs: Vec<Meta> = runs.objects;
        let older = runs.len().saturating_sub(RUNS_MAX);
        runs.drain(..older);
        let groups = [
            (ObjectType::Manifest, backups),
            (ObjectType::Tomb, tombs.objects),
            (ObjectType::Annotation, annotations.objects),
            (ObjectType::Run, runs),
            (ObjectType::Export, exports.objects),
        ];
        let server_time = tombs.server_time;
        let wanted = groups
            .into_iter()
            .flat_map(|(kind, objects)| objects.into_iter().map(move |meta| Wanted { kind, meta }));
        let (payloads, damaged) = self.fetch(wanted.collect(), cached).await?;
        let holdings = pipeline::on_pool(move || assemble(payloads, damaged, server_time)).await;
        Ok(holdings)
    }

    /// The payloads that this machine keeps.
    async fn cached(&self) -> Payloads {
        match self.cache() {
            Some(cache) => cache.payloads(self).await,
            None => Payloads::new(),
        }
    }

    /// Payloads from the cache, or from the store and then kept.
    async fn fetch(
        &self,
        wanted: Vec<Wanted>,
        mut cached: Payloads,
    ) -> Result<(Vec<Fetched>, Vec<DamagedObject>), RepositoryError> {
        let before = cached.len();
        let (mut fetched, mut missing, mut damaged) = (Vec::new(), Vec::new(), Vec::new());
        for wanted in wanted {
            match cached.remove(&wanted.meta.key) {
                Some((size, payload)) if size == wanted.meta.size => {
                    fetched.push(Fetched { wanted, payload });
                }
                _ => missing.push(wanted),
            }
        }
        let is_stale = fetched.len() < before || !missing.is_empty();
        let mut answers = stream::iter(missing)
            .map(|wanted| self.fetch_one(wanted))
            .buffer_unordered(AT_ONCE);
        while let Some(answer) = answers.next().await {
            match answer? {
                Answer::Payload(payload) => fetched.push(payload),
                Answer::Damaged(object) => damaged.push(object),
                Answer::Nothing => {}
            }
        }
        drop(answers);
        fetched.sort_by(|a, b| a.wanted.meta.key.cmp(&b.wanted.meta.key));
        if let (Some(cache), true) = (self.cache(), is_stale) {
            let kept = fetched.iter().map(|one| {
                let meta = &one.wanted.meta;
                (&meta.key, meta.size, &one.payload)
            });
            cache.keep_payloads(self, kept).await;
        }
        Ok((fetched, damaged))
    }

    async fn fetch_one(&self, wanted: Wanted) -> Result<Answer, RepositoryError> {
        let key = &wanted.meta.key;
        let object = match self.store().get(key, None).await {
            Ok(object) => object,
            // Removed since it was listed.
            Err(e) if e.kind == Kind::NotFound => return Ok(Answer::Nothing),
            Err(e) => return Err(e.into()),
        };
        if wanted.kind == ObjectType::Manifest && object.as_ref() == layout::REVOKED {
            return Ok(Answer::Nothing);
        }
        Ok(
            match open(self.keys(), wanted.kind, key.as_str(), &object) {
                Ok(payload) => Answer::Payload(Fetched {
                    wanted,
                    payload: payload.into(),
                }),
                Err(cause) => Answer::Damaged(DamagedObject {
                    key: key.clone(),
                    cause,
                }),
            },
        )
    }
}

struct Wanted {
    kind: ObjectType,
    meta: Meta,
}

struct Fetched {
    wanted: Wanted,
    payload: Bytes,
}

enum Answer {
    Payload(Fetched),
    Damaged(DamagedObject),
    /// It is gone, or marks a session that was ended.
    Nothing,
}

enum Item {
    Manifest(Box<Manifest>),
    Tomb(Tomb),
    Annotation(Annotation),
    Run(RunRecord),
    Export(ExportRecord),
}

fn assemble(
    payloads: Vec<Fetched>,
    mut damaged: Vec<DamagedObject>,
    server_time: Timestamp,
) -> Holdings {
    let mut annotations: BTreeMap<BackupId, Vec<(Timestamp, Annotation)>> = BTreeMap::new();
    let mut tombs = BTreeMap::new();
    let (mut listed, mut runs, mut exports) = (Vec::new(), Vec::new(), Vec::new());
    for (item, meta) in pipeline::map_in_order(payloads, |one| (parse(&one), one.wanted.meta)) {
        match item {
            Ok(Item::Manifest(manifest)) => listed.push((meta, *manifest)),
            Ok(Item::Tomb(tomb)) => {
                if let Some(key) = layout::backup_of_tomb(&meta.key) {
                    tombs.insert(key, (tomb, meta.modified));
                }
            }
            Ok(Item::Annotation(annotation)) => {
                annotations
                    .entry(annotation.backup)
                    .or_default()
                    .push((meta.modified, annotation));
            }
            Ok(Item::Run(run)) => runs.push(run),
            Ok(Item::Export(record)) => exports.push(ListedExport {
                key: meta.key,
                record,
            }),
            Err(cause) => damaged.push(DamagedObject {
                key: meta.key,
                cause,
            }),
        }
    }
    // A release must not come before the hold that it ends. The store's clock tells, which may know seconds
    // only; within one, that of who said it.
    for said in annotations.values_mut() {
        said.sort_by_key(|(written, annotation)| (written.as_second(), annotation.at));
    }
    runs.reverse();
    // A tomb that can not be read still says by its name that its backup was forgotten.
    let unreadable: BTreeSet<Key> = damaged
        .iter()
        .filter_map(|object| layout::backup_of_tomb(&object.key))
        .collect();
    let (mut backups, mut trashed) = (Vec::new(), Vec::new());
    let mut copies: BTreeMap<BackupId, usize> = BTreeMap::new();
    for (_, manifest) in &listed {
        *copies.entry(manifest.id).or_default() += 1;
    }
    for (meta, manifest) in listed {
        // Rarely, two manifests are of one backup.
        let said = match copies.get(&manifest.id) {
            Some(1) => annotations.remove(&manifest.id),
            _ => annotations.get(&manifest.id).cloned(),
        };
        let said = said.into_iter().flatten();
        let annotations = said.map(|(_, annotation)| annotation).collect();
        let backup = ListedBackup {
            key: meta.key,
            manifest,
            committed: meta.modified,
            annotations,
        };
        match tombs.remove(&backup.key) {
            Some((tomb, since)) => trashed.push(Trashed {
                backup,
                tomb,
                since,
            }),
            None if unreadable.contains(&backup.key) => {}
            None => backups.push(backup),
        }
    }
    damaged.sort_by(|a, b| a.key.cmp(&b.key));
    exports.sort_by(|a, b| {
        let order = |export: &ListedExport| (export.record.started, export.key.clone());
        order(a).cmp(&order(b))
    });
    Holdings {
        backups,
        trashed,
        damaged,
        runs,
        exports,
        server_time,
    }
}

/// Reads a payload, and holds what its key shows against what it says.
fn parse(fetched: &Fetched) -> Result<Item, FormatError> {
    let payload = &fetched.payload;
    let key = &fetched.wanted.meta.key;
    let misplaced = |what| {
        Err(FormatError::malformed(
            what,
            "its key does not fit its contents",
        ))
    };
    match fetched.wanted.kind {
        ObjectType::Manifest => {
            let manifest = Manifest::decode(payload)?;
            if layout::backup(&manifest.component, manifest.started, &manifest.session) != *key {
                return misplaced("manifest");
            }
            Ok(Item::Manifest(Box::new(manifest)))
        }
        ObjectType::Tomb => Tomb::decode(payload).map(Item::Tomb),
        ObjectType::Annotation => {
            let annotation = Annotation::decode(payload)?;
            if layout::annotated(key) != Some(annotation.backup) {
                return misplaced("annotation");
            }
            Ok(Item::Annotation(annotation))
        }
        ObjectType::Run => RunRecord::decode(payload).map(Item::Run),
        ObjectType::Export => ExportRecord::decode(payload).map(Item::Export),
        ObjectType::Index => misplaced("index segment"),
        ObjectType::Wal => misplaced("WAL file"),
    }
}
