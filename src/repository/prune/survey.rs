//! What is needed and what is there, listed in the order that makes it safe to conclude from: backups
//! before leases, so that what is forgotten between the two is seen as pinned; packs last.

use crate::model::ids::{BlobId, Digest};
use crate::repository::condemned::Condemned;
use crate::repository::format::aead::TAG_LEN;
use crate::repository::format::index::Segment;
use crate::repository::index::{Index, KnownSegments, Standing, read_all_segments};
use crate::repository::prune::usage::Usage;
use crate::repository::reach::reach;
use crate::repository::sessions::{Ends, Seen, Sessions};
use crate::repository::{Reader, Repository, RepositoryError, layout, pipeline};
use crate::store::{Key, Listing, Meta};
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Range,
    sync::{Arc, OnceLock},
};

/// Ended sessions keep their leases for at least so long, and no survey may take longer: a session
/// that committed after the backups were listed still shows its pins when the leases are.
pub(super) const LEASES_KEPT_MIN: SignedDuration = SignedDuration::from_hours(2);

/// What is needed and what is there.
pub(super) struct Survey {
    pub(super) log: Condemned,
    /// Who had ended before anything else was looked at.
    pub(super) ends: Ends,
    pub(super) sessions: Sessions,
    pub(super) segments: Vec<(Meta, Arc<Segment>)>,
    /// Every pack that the store lists, described by a segment or not.
    pub(super) packs: BTreeMap<Digest, Meta>,
    pub(super) index: Arc<Index>,
    /// Every blob that a backup or a session stands on, and where it is.
    needed: Needed,
    usage: OnceLock<Usage>,
}

/// What the surveys of one prune found out that can not change, and the next of them need not find out again: objects
/// are named by what is in them.
#[derive(Default)]
pub(super) struct Known {
    segments: KnownSegments,
    /// Some roots, and all blobs that can be reached from them.
    reached: Option<(BTreeSet<BlobId>, Arc<Vec<BlobId>>)>,
}

/// More blobs than this are found out anew each time: 32 bytes each.
const REACHED_MAX: usize = 1 << 22;

/// Blobs and their places, which for very many must not take much.
#[derive(Default)]
struct Needed {
    /// Sorted; the places of each end here.
    blobs: Vec<(BlobId, u32)>,
    places: Vec<Place>,
}

impl Needed {
    fn iter(&self) -> impl Iterator<Item = (&BlobId, &[Place])> {
        let mut start = 0;
        self.blobs.iter().map(move |(id, end)| {
            let places = &self.places[start as usize..*end as usize];
            start = *end;
            (id, places)
        })
    }
}

/// Where a blob is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The number of the pack in the index.
    pub(super) pack: u32,
    /// Its share of what its frame takes in the pack, in bytes: as it has of what that decodes to. Those of all blobs
    /// of a frame make what it takes; that of a short blob may be 0.
    pub(super) share: u32,
}

impl Place {
    fn of(standing: &Standing<'_>) -> Self {
        let takes = u64::from(standing.stored_len) + TAG_LEN as u64;
        let plain_len = u64::from(standing.plain_len).max(1);
        let up_to = |offset: u64| takes * offset.min(plain_len) / plain_len;
        let start = u64::from(standing.offset);
        let share = up_to(start + u64::from(standing.len)) - up_to(start);
        Self {
            pack: standing.pack,
            share: share as u32,
        }
    }
}

impl Survey {
    /// Lists and reads everything. `log`: the log of condemned packs, if it is to be that of before; or
    /// else it is read when the roots are known. `since`: the store's clock at some time before.
    pub(super) async fn take(
        repository: &Repository,
        known: &mut Known,
        log: Option<Condemned>,
        since: Timestamp,
    ) -> Result<Self, RepositoryError> {
        // Before backups: who has ended has either committed one of those, or nothing that is still there.
        let ends = repository.ends().await?;
        let backups = Backups::of(repository).await?;
        let sessions = repository.sessions().await?;
        if sessions.server_time.duration_since(since) > LEASES_KEPT_MIN {
            return Err(stopped("listing took hours; run again"));
        }
        if let Some(hidden) = sessions
            .all
            .iter()
            .find(|one| one.hides_pins(sessions.server_time))
        {
            return Err(stopped(format!("the lease of session {}", hidden.id)));
        }
        let log = match log {
            Some(log) => log,
            None => repository.condemned().await?,
        };
        let segments = match read_all_segments(repository, &known.segments).await {
            Err(error @ RepositoryError::Object { .. }) => {
                return Err(stopped_by("the index".to_owned(), error));
            }
            read => read?,
        };
        let by_key = segments
            .iter()
            .map(|(meta, one)| (meta.key.clone(), one.clone()));
        known.segments = by_key.collect();
        let listing = repository.store().list(layout::PACKS).await?;
        let index = Arc::new(build_index(&segments, &listing, &log).await);
        let reader = Reader::new(repository.clone(), index.clone());
        let pinning = pinning(&backups, &ends, &sessions);
        let needed = needed_by_all(&reader, known, backups.roots, &pinning).await?;
        Ok(Self {
            log,
            ends,
            sessions,
            segments,
            packs: by_name(listing),
            index,
            needed,
            usage: OnceLock::new(),
        })
    }

    /// Lists and reads everything, for a record of condemned packs that follows what is read here.
    pub(super) async fn for_condemning(
        repository: &Repository,
        known: &mut Known,
    ) -> Result<Self, RepositoryError> {
        // The log before everything else: the record that follows it is made by one who has read it all.
        let log = repository.condemned().await?;
        let since = repository.store().list(layout::PRUNES).await?.server_time;
        Self::take(repository, known, Some(log), since).await
    }

    /// Each needed blob and where it is; there is at least one place.
    pub(super) fn needed(&self) -> impl Iterator<Item = (&BlobId, &[Place])> {
        self.needed.iter()
    }

    /// What each pack is good for.
    pub(super) fn usage(&self) -> &Usage {
        self.usage.get_or_init(|| Usage::of(self))
    }
}

/// All backups, those in the trash included.
struct Backups {
    roots: BTreeSet<BlobId>,
    keys: BTreeSet<Key>,
}

impl Backups {
    /// One that can not be read stops everything.
    async fn of(repository: &Repository) -> Result<Self, RepositoryError> {
        let holdings = repository.list().await?;
        let matters =
            |key: &str| key.starts_with(layout::BACKUPS) || key.starts_with(layout::TOMBS);
        if let Some(damaged) = holdings
            .damaged
            .iter()
            .find(|object| matters(object.key.as_str()))
        {
            let cause = RepositoryError::object(&damaged.key, damaged.cause.clone());
            return Err(stopped_by(format!("`{}`", damaged.key), cause));
        }
        let live = holdings.backups.iter();
        let all = live.chain(holdings.trashed.iter().map(|trashed| &trashed.backup));
        let (mut roots, mut keys) = (BTreeSet::new(), BTreeSet::new());
        for backup in all {
            roots.insert(backup.manifest.root);
            keys.insert(backup.key.clone());
        }
        Ok(Self { roots, keys })
    }
}

async fn build_index(
    segments: &[(Meta, Arc<Segment>)],
    listing: &Listing,
    log: &Condemned,
) -> Index {
    let segments: Vec<_> = segments.iter().map(|(_, one)| one.clone()).collect();
    let listing = listing.clone();
    let condemned = log.packs.keys().copied().collect();
    pipeline::on_pool(move || Index::build(segments, &listing, &condemned)).await
}

fn by_name(listing: Listing) -> BTreeMap<Digest, Meta> {
    let named = listing.objects.into_iter();
    named
        .filter_map(|meta| Some((layout::pack_name(&meta.key)?, meta)))
        .collect()
}

/// Sessions whose pins count: who had ended before the backups were listed, or is among them, stands on nothing else.
fn pinning<'a>(backups: &Backups, ends: &Ends, sessions: &'a Sessions) -> Vec<&'a Seen> {
    let is_over = |fence: &Key| ends.of(fence).is_some() || backups.keys.contains(fence);
    let all = sessions.all.iter();
    all.filter(|one| !one.fence().is_some_and(|fence| is_over(&fence)))
        .collect()
}

/// What backups and the pins of these sessions stand on.
async fn needed_by_all(
    reader: &Reader,
    known: &mut Known,
    backups: BTreeSet<BlobId>,
    pinning: &[&Seen],
) -> Result<Needed, RepositoryError> {
    let pins = pinning.iter().flat_map(|one| one.roots());
    let all: BTreeSet<BlobId> = backups.iter().copied().chain(pins).collect();
    let are_more = all.len() > backups.len();
    match needed(reader, known, all).await {
        Err(error) if error.is_missing() && are_more => {}
        needed => return needed,
    }
    // What backups stand on must be there; if that is not it, it is the pins.
    let pins_more = |one: &&&Seen| one.roots().any(|root| !backups.contains(&root));
    let hosts: BTreeSet<String> = pinning
        .iter()
        .filter(pins_more)
        .map(|one| one.host())
        .collect();
    needed(reader, known, backups).await?;
    Err(RepositoryError::PinGone {
        hosts: hosts.into_iter().collect(),
    })
}

async fn needed(
    reader: &Reader,
    known: &mut Known,
    roots: BTreeSet<BlobId>,
) -> Result<Needed, RepositoryError> {
    let blobs = match &known.reached {
        Some((from, blobs)) if *from == roots => blobs.clone(),
        _ => {
            known.reached = None;
            let blobs = Arc::new(reached(reader, roots.clone()).await?);
            known.reached = (blobs.len() <= REACHED_MAX).then(|| (roots, blobs.clone()));
            blobs
        }
    };
    let index = reader.index().clone();
    pipeline::on_pool(move || located(&index, blobs)).await
}

/// All blobs that can be reached from these, sorted, each once.
async fn reached(reader: &Reader, roots: BTreeSet<BlobId>) -> Result<Vec<BlobId>, RepositoryError> {
    let reach = reach(reader, roots).await?;
    if let Some((id, cause)) = reach.unreadable.iter().next() {
        return Err(stopped_by(format!("tree {id}"), cause.clone()));
    }
    let mut trees: Vec<BlobId> = reach.trees.into_iter().collect();
    let mut blobs = reach.data;
    Ok(pipeline::on_pool(move || {
        pipeline::sort(&mut trees, BlobId::words);
        blobs.append(&mut trees);
        pipeline::merge(&mut blobs, BlobId::words);
        blobs.dedup();
        blobs
    })
    .await)
}

/// Where these are, which are sorted, and what the frames of all of them stand on.
fn located(index: &Index, mut wanted: Arc<Vec<BlobId>>) -> Result<Needed, RepositoryError> {
    let mut found: Vec<(BlobId, Range<u32>)> = Vec::new();
    let mut all_places: Vec<(u8, Place)> = Vec::new();
    // What a frame stands on counts only where it is less deep than the frame: else two could stand on each other
    // when what made that impossible is gone.
    let mut depths: HashMap<BlobId, u8> = HashMap::new();
    while !wanted.is_empty() {
        let known = found.len();
        let mut below = BTreeSet::new();
        let mut cursor = index.cursor();
        for id in wanted.iter().copied() {
            if found[..known]
                .binary_search_by_key(&id, |(id, _)| *id)
                .is_ok()
            {
                continue;
            }
            let start = number(all_places.len())?;
            for standing in cursor.locations(&id) {
                // What a frame is a delta against is needed as much as the frame.
                for base in standing.bases {
                    let depth = depths.entry(*base).or_insert(standing.depth);
                    *depth = standing.depth.min(*depth);
                    below.insert(*base);
                }
                all_places.push((standing.depth, Place::of(&standing)));
            }
            let places = start..number(all_places.len())?;
            if places.is_empty() {
                let cause = RepositoryError::BlobMissing { id };
                return Err(stopped_by(format!("blob {id}"), cause));
            }
            found.push((id, places));
        }
        wanted = Arc::new(below.into_iter().collect());
        pipeline::sort(&mut found, |(id, _)| id.words());
    }
    let mut needed = Needed::default();
    for (id, places) in found {
        let below = depths.get(&id).copied().unwrap_or(u8::MAX);
        let places = all_places[places.start as usize..places.end as usize].iter();
        let usable = places.filter(|(depth, _)| *depth < below);
        needed.places.extend(usable.map(|(_, place)| *place));
        needed.blobs.push((id, number(needed.places.len())?));
    }
    Ok(needed)
}

fn number(places: usize) -> Result<u32, RepositoryError> {
    u32::try_from(places).map_err(|_| stopped("more places of blobs than can be counted"))
}

fn stopped(what: impl Into<String>) -> RepositoryError {
    RepositoryError::PruneStopped {
        what: what.into(),
        cause: None,
    }
}

fn stopped_by(what: String, cause: RepositoryError) -> RepositoryError {
    RepositoryError::PruneStopped {
        what,
        cause: Some(Box::new(cause)),
    }
}
