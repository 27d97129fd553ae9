//! Checking a repository: whether everything that its backups need is there and whole. Finds all damage
//! in one pass and says which backups, and which files in them, are hit. Repairs and removes nothing.

mod hits;
mod objects;
mod packs;
mod sample;

use crate::model::ids::{BackupId, BlobId, ComponentName, Digest};
use crate::model::units::Percent;
use crate::repository::format::config::Operation;
use crate::repository::format::index::BlobPrefix;
use crate::repository::index::Index;
use crate::repository::reach::reach;
use crate::repository::{
    ListedBackup, Packs, Reader, Repository, RepositoryError, layout, pipeline,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

/// How much a check reads; each level does what those before it do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckLevel {
    /// Small objects, and which packs are there with which lengths.
    Presence,
    /// All directories, and the footers of all packs.
    Structure,
    /// A part of all packs, every byte: those that were read longest ago, by whichever host, and those that
    /// were damaged when they were last read. 100 / `percent` of them in a row read everything.
    Sample {
        /// How many of a hundred.
        percent: Percent,
    },
    /// All packs, every byte.
    Full,
}

/// What a check found.
#[derive(Debug, Clone, Default)]
pub struct CheckReport {
    /// Backups, those in the trash included.
    pub backups: u64,
    /// Packs that the store lists.
    pub packs: Packs,
    /// Packs of which every byte was read.
    pub packs_read: Packs,
    /// Whether the next sample goes on where this one ended; not where nothing may be written.
    pub is_remembered: bool,
    /// Packs that no index segment describes: left by interrupted sessions, and no damage.
    pub undescribed: Packs,
    /// Blobs that backups stand on; counted from [`CheckLevel::Structure`] on.
    pub blobs: u64,
    /// What is damaged or missing, sorted by key.
    pub damaged: Vec<Damaged>,
    /// Backups that can not be restored in full, sorted by key.
    pub hit: Vec<HitBackup>,
    pub(crate) wounds: Wounds,
}

/// What is damaged, as far as it can be stored again from elsewhere.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wounds {
    /// Packs that are damaged, cut or missing.
    pub(crate) packs: BTreeSet<Digest>,
    /// Keys of index segments that can not be read.
    pub(crate) segments: BTreeSet<String>,
    /// Directories and lists of blobs that are in no whole pack.
    pub(crate) trees: BTreeSet<BlobId>,
    /// Bytes of files that are in no whole pack.
    pub(crate) data: BTreeSet<BlobId>,
}

impl Wounds {
    pub(crate) fn is_empty(&self) -> bool {
        let Self {
            packs,
            segments,
            trees,
            data,
        } = self;
        packs.is_empty() && segments.is_empty() && trees.is_empty() && data.is_empty()
    }
}

impl CheckReport {
    /// Whether nothing was found.
    pub fn is_clean(&self) -> bool {
        self.damaged.is_empty() && self.hit.is_empty()
    }

    fn add(&mut self, key: impl ToString, cause: RepositoryError) {
        let key = key.to_string();
        self.damaged.push(Damaged { key, cause });
    }
}

/// An object that is damaged or missing.
#[derive(Debug, Clone)]
pub struct Damaged {
    /// Its key.
    pub key: String,
    /// What is wrong with it.
    pub cause: RepositoryError,
}

/// A backup that is hit by damage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HitBackup {
    /// Where its manifest is.
    pub key: String,
    /// What was backed up.
    pub component: ComponentName,
    /// Which backup.
    pub backup: BackupId,
    /// The first few paths that can not be restored; a directory stands for all that is in it.
    pub paths: Vec<String>,
    /// How many there are.
    pub path_count: u64,
    /// Damaged packs that hold parts of them, sorted.
    pub packs: Vec<Digest>,
}

/// What the parts of a check share.
struct State {
    reader: Reader,
    index: Arc<Index>,
    /// Packs that are not what they should be, by number in the index.
    bad: BTreeSet<u32>,
    /// Blobs that can be read from no pack.
    unreadable: HashSet<BlobId>,
    /// Blobs of packs that are missing or cut, as far as a segment says so.
    lost: BTreeMap<BlobPrefix, Digest>,
}

impl Repository {
    /// Checks everything that `level` asks for. An error means that the check itself could not be made;
    /// damage is not an error but what the report is for.
    pub async fn check(&self, level: CheckLevel) -> Result<CheckReport, RepositoryError> {
        self.permits(Operation::Verify)?;
        let mut report = CheckReport::default();
        let holdings = self.list().await?;
        for object in &holdings.damaged {
            let cause = RepositoryError::object(&object.key, object.cause.clone());
            report.add(&object.key, cause);
        }
        objects::check_small(self, &mut report).await?;
        let trashed = holdings.trashed.into_iter().map(|trashed| trashed.backup);
        let backups: Vec<ListedBackup> = holdings.backups.into_iter().chain(trashed).collect();
        report.backups = backups.len() as u64;
        let mut state = self.check_presence(&mut report).await?;
        match level {
            CheckLevel::Presence => {}
            CheckLevel::Structure => packs::check_footers(self, &mut state, &mut report).await?,
            CheckLevel::Sample { percent } => {
                packs::check_footers(self, &mut state, &mut report).await?;
                let sample = self.next_sample(percent).await?;
                packs::check_bytes(self, &mut state, Some(&sample), &mut report).await?;
                report.is_remembered = self.remember(Some(&sample), &state).await?;
            }
            CheckLevel::Full => {
                packs::check_bytes(self, &mut state, None, &mut report).await?;
                objects::check_wal(self, &mut report).await?;
                report.is_remembered = self.remember(None, &state).await?;
            }
        }
        if level != CheckLevel::Presence {
            check_trees(&mut state, &backups, &mut report).await?;
        }
        if !report.is_clean() {
            report.hit = hits::find(&state, &backups).await?;
        }
        report.damaged.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(report)
    }

    async fn check_presence(&self, report: &mut CheckReport) -> Result<State, RepositoryError> {
        let log = objects::log(self, report).await?;
        let segments = objects::segments(self, report).await?;
        // Packs after segments: what a segment describes was there before it.
        let listing = self.store().list(layout::PACKS).await?;
        let lost = objects::check_packs(&segments, &listing, &log, report);
        let condemned = log.packs.keys().copied().collect();
        let build = move || Index::build(segments, &listing, &condemned);
        let index = Arc::new(pipeline::on_pool(build).await);
        Ok(State {
            reader: Reader::new(self.clone(), index.clone()),
            index,
            bad: BTreeSet::new(),
            unreadable: HashSet::new(),
            lost,
        })
    }
}

/// Reads every directory, and looks up every blob.
async fn check_trees(
    state: &mut State,
    backups: &[ListedBackup],
    report: &mut CheckReport,
) -> Result<(), RepositoryError> {
    let reach = reach(
        &state.reader,
        backups.iter().map(|backup| backup.manifest.root),
    )
    .await?;
    report.blobs = (reach.trees.len() + reach.data.len()) as u64;
    for (id, cause) in &reach.unreadable {
        report.add(format!("tree {id}"), cause.clone());
        report.wounds.trees.insert(*id);
    }
    let is_bad = |pack: u32| state.bad.contains(&pack);
    let not_standing = not_standing(&state.index, reach.blobs(), &is_bad);
    let is_there = |id: &BlobId| !state.index.places(id).is_empty();
    // A damaged pack still holds blobs that are whole.
    let (suspects, missing): (Vec<BlobId>, Vec<BlobId>) =
        not_standing.into_iter().partition(is_there);
    forgive_replaced(state, &suspects, report);
    for id in &suspects {
        match reach.trees.contains(id) {
            true => report.wounds.trees.insert(*id),
            false => report.wounds.data.insert(*id),
        };
    }
    state.unreadable = packs::unreadable(&state.reader, suspects).await?;
    // Trees that are missing could not be read.
    for id in missing.into_iter().filter(|id| !reach.trees.contains(id)) {
        report.add(format!("blob {id}"), RepositoryError::BlobMissing { id });
        report.wounds.data.insert(id);
    }
    Ok(())
}

/// Those of `blobs` that can not be read where these packs can not, and what of that which they stand on can not.
/// What stands on something lost in one place, and is whole in another, needs neither.
fn not_standing<'a>(
    index: &Index,
    blobs: impl Iterator<Item = &'a BlobId>,
    is_bad: &dyn Fn(u32) -> bool,
) -> BTreeSet<BlobId> {
    let mut known = HashMap::new();
    let mut falls = |id: &BlobId| !index.stands_without(id, is_bad, &mut known);
    let mut all: BTreeSet<BlobId> = blobs.copied().filter(|id| falls(id)).collect();
    let mut rest: Vec<BlobId> = all.iter().copied().collect();
    while let Some(id) = rest.pop() {
        let places = index.places(&id).into_iter();
        for base in places.flat_map(|place| place.frame.bases) {
            if falls(&base) && all.insert(base) {
                rest.push(base);
            }
        }
    }
    all
}

/// A damaged pack that is condemned, and of which nothing is needed that is not elsewhere too, is no damage any
/// more: a prune removes it. `suspects` are the blobs that are in damaged packs alone.
fn forgive_replaced(state: &State, suspects: &[BlobId], report: &mut CheckReport) {
    let places = suspects.iter().flat_map(|id| state.index.places(id));
    let needed: BTreeSet<u32> = places.map(|place| place.pack).collect();
    let packs = &state.index.packs;
    let replaced = state
        .bad
        .iter()
        .filter(|number| packs[**number as usize].is_condemned && !needed.contains(*number));
    for number in replaced {
        let pack = &packs[*number as usize];
        let key = layout::pack(pack.header.kind, &pack.name).to_string();
        report.damaged.retain(|damaged| damaged.key != key);
        report.wounds.packs.remove(&pack.name);
    }
}
