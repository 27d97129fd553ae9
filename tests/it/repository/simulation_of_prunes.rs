//! The protocol under every order of events: writers, forgetting, undeleting, copying and pruning as the
//! program does them, over one store in memory, where a seed decides whose call is next, who is killed and
//! when time jumps. With no grace at all, every backup that is listed must be readable at the end of it.
//! Stores that break a promise which the protocol stands on are caught, so these runs can fail.

use crate::repository::given::{
    copied, draft, files, memory, noise, read_back, surroundings, walk_since, write,
};
use bytes::Bytes;
use ccb::model::ids::{BackupId, RunId};
use ccb::model::units::{Percent, Period};
use ccb::repository::format::config::CipherSuite;
use ccb::repository::{Commit, Creation, PruneRequest, Repack, Repository, RepositoryError};
use ccb::store::memory::Memory;
use ccb::store::{Backend, Key, Listing, Probe, Put, Retries, Store, StoreError};
use futures_util::{FutureExt, future::BoxFuture};
use jiff::SignedDuration;
use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::sync::oneshot;

/// Seeds in the normal run; more with `CCB_SEEDS=first..end`, which also replays one.
const SEEDS: Range<u64> = 0..64;
const TURNS: u32 = 900;
/// Different contents that files can have: few, so that backups share blobs.
const CONTENTS: u64 = 5;

/// What a store may do wrong, or what a prune could do to save itself the wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Promise {
    Honest,
    /// Whoever repacks removes at once what was repacked, as if nobody else could be about to use it.
    RemovesRepacked,
    /// What is condemned is gone at once, without grace, and without asking who knows.
    CondemnsAndRemoves,
    /// Creates over what is there, and says that all is well.
    CreatesOver,
    /// Lists no lease, so that neither sessions nor pins are seen.
    HidesLeases,
}

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}

/// Calls that wait for their turn, by actor and number.
type Waiting = Arc<Mutex<BTreeMap<(u64, u64), oneshot::Sender<()>>>>;

/// One actor's way to the store: every call waits until the seed says that it is next.
#[derive(Clone)]
struct Turns {
    memory: Memory,
    actor: u64,
    calls: Arc<AtomicU64>,
    waiting: Waiting,
    kind: Promise,
    /// Whether it has stored a pack: a prune that has, has repacked.
    has_stored: Arc<AtomicBool>,
}

impl fmt::Debug for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "actor {}", self.actor)
    }
}

impl Turns {
    fn turn(&self) -> impl Future<Output = ()> + Send + use<> {
        let number = self.calls.fetch_add(1, Relaxed);
        let (next, turn) = oneshot::channel();
        self.waiting
            .lock()
            .unwrap()
            .insert((self.actor, number), next);
        turn.map(|_| ())
    }
}

impl Turns {
    /// Removes every pack that `record` names.
    async fn remove_named(&self, record: &[u8]) {
        let text = String::from_utf8_lossy(record);
        for pack in self.memory.list("packs/").await.unwrap().objects {
            if text.contains(pack.key.last_part()) {
                self.memory.lose(&pack.key);
            }
        }
    }
}

impl Backend for Turns {
    fn location(&self) -> String {
        self.memory.location()
    }

    fn get(
        &self,
        key: &Key,
        range: Option<Range<u64>>,
    ) -> BoxFuture<'_, Result<Bytes, StoreError>> {
        let key = key.clone();
        Box::pin(async move {
            self.turn().await;
            self.memory.get(&key, range).await
        })
    }

    fn put(&self, key: &Key, body: Bytes, how: Put) -> BoxFuture<'_, Result<(), StoreError>> {
        let key = key.clone();
        let how = if self.kind == Promise::CreatesOver {
            Put::Replace
        } else {
            how
        };
        Box::pin(async move {
            self.turn().await;
            if key.as_str().starts_with("packs/") {
                self.has_stored.store(true, Relaxed);
            }
            let removes = match self.kind {
                Promise::CondemnsAndRemoves => true,
                Promise::RemovesRepacked => self.has_stored.load(Relaxed),
                _ => false,
            };
            if removes && key.as_str().starts_with("gc/") {
                self.remove_named(&body).await;
            }
            self.memory.put(&key, body, how).await
        })
    }

    fn list(&self, prefix: &str) -> BoxFuture<'_, Result<Listing, StoreError>> {
        let prefix = prefix.to_owned();
        Box::pin(async move {
            self.turn().await;
            let mut listing = self.memory.list(&prefix).await?;
            let hidden = match self.kind {
                Promise::HidesLeases => "leases/",
                _ => return Ok(listing),
            };
            listing
                .objects
                .retain(|meta| !meta.key.as_str().starts_with(hidden));
            Ok(listing)
        })
    }

    fn delete(&self, key: &Key) -> BoxFuture<'_, Result<(), StoreError>> {
        let key = key.clone();
        Box::pin(async move {
            self.turn().await;
            self.memory.delete(&key).await
        })
    }

    /// A store that breaks its promises does not say so when it is asked.
    fn probe(&self, _: &Key) -> BoxFuture<'_, Result<Probe, StoreError>> {
        Box::pin(async move {
            self.turn().await;
            Ok(Probe {
                creates_only_once: true,
                deletes: true,
            })
        })
    }
}

/// What happened in a run, so that one in which nothing happens is not taken for a good one.
#[derive(Debug, Default)]
struct Counts {
    committed: AtomicU64,
    revoked: AtomicU64,
    deleted: AtomicU64,
    repacked: AtomicU64,
    undeleted: AtomicU64,
    copied: AtomicU64,
    killed: AtomicU64,
}

struct World {
    memory: Memory,
    elsewhere: Memory,
    waiting: Waiting,
    kind: Promise,
    seed: u64,
    actors: u64,
    counts: Arc<Counts>,
}

const NOW: PruneRequest = PruneRequest {
    trash: Period::hours(0),
    grace: Period::hours(0),
    repack: Repack {
        unused_max: Percent(0),
        budget_bytes: u64::MAX,
    },
};

impl World {
    async fn new(seed: u64, kind: Promise, counts: Arc<Counts>) -> Self {
        let (here, elsewhere) = (memory(), memory());
        for memory in [&here, &elsewhere] {
            let creation = Creation {
                cipher: CipherSuite::None,
                slot: None,
                keyring_of: None,
            };
            let store = Store::with_retries(Arc::new(memory.clone()), 1, Retries::NONE);
            Repository::create(store, &creation, &surroundings("create"))
                .await
                .unwrap();
        }
        let waiting = Waiting::default();
        Self {
            memory: here,
            elsewhere,
            waiting,
            kind,
            seed,
            actors: 0,
            counts,
        }
    }

    /// The repository as a new actor sees it. One call at a time, so that the seed orders them all.
    fn actor(&mut self) -> (u64, Store) {
        self.actors += 1;
        let turns = Turns {
            memory: self.memory.clone(),
            actor: self.actors,
            calls: Arc::default(),
            waiting: self.waiting.clone(),
            kind: self.kind,
            has_stored: Arc::default(),
        };
        (
            self.actors,
            Store::with_retries(Arc::new(turns), 1, Retries::NONE),
        )
    }

    fn start(&mut self, dice: &mut Dice) -> (u64, tokio::task::JoinHandle<()>) {
        let (actor, store) = self.actor();
        let what = dice.roll(20);
        let mut own = Dice(dice.roll(u64::MAX));
        let surroundings = surroundings(&format!("{}-{actor}", self.seed));
        let counts = self.counts.clone();
        let elsewhere = Store::with_retries(Arc::new(self.elsewhere.clone()), 1, Retries::NONE);
        let task = tokio::task::spawn_local(async move {
            let Ok(repository) = Repository::open(store, None, &surroundings).await else {
                return;
            };
            let done = match what {
                0..7 => back_up(&repository, actor, &mut own, &counts).await,
                7..11 => forget(&repository, &mut own).await,
                11 => undelete(&repository, &counts).await,
                12 => {
                    let other = Repository::open(elsewhere, None, &surroundings)
                        .await
                        .unwrap();
                    copy_some(&repository, &other, &mut own, &counts).await
                }
                _ => prune(&repository, &counts).await,
            };
            // An actor may fail in any clean way; it must never leave a backup that can not be read.
            drop(done);
        });
        (actor, task)
    }
}

async fn back_up(
    repository: &Repository,
    actor: u64,
    dice: &mut Dice,
    counts: &Counts,
) -> Result<(), RepositoryError> {
    let held = repository.list().await?.backups;
    let has_parent = !held.is_empty() && dice.roll(10) < 7;
    let parent = has_parent.then(|| &held[dice.roll(held.len() as u64) as usize]);
    let mut mine = draft("files");
    mine.id = BackupId([actor as u8; 16]);
    let mut session = repository.begin(mine, parent).await?;
    let mut tree = BTreeMap::new();
    for name in ["a", "b"].into_iter().take(1 + dice.roll(2) as usize) {
        let content = noise(&dice.roll(CONTENTS).to_string(), 2000);
        tree.insert(name.to_owned(), content);
    }
    let previous = session.parent_tree();
    let walked = tokio::task::spawn_blocking(move || {
        let previous = previous.map(|tree| Box::new(tree) as Box<dyn ccb::model::tree::Previous>);
        walk_since(&tree, previous)
    });
    write(&mut session, walked.await.unwrap()).await?;
    session.commit(Commit::default()).await?;
    counts.committed.fetch_add(1, Relaxed);
    Ok(())
}

async fn prune(repository: &Repository, counts: &Counts) -> Result<(), RepositoryError> {
    let report = repository.prune(NOW).await?;
    counts.revoked.fetch_add(report.revoked, Relaxed);
    counts.deleted.fetch_add(report.deleted.count, Relaxed);
    counts.repacked.fetch_add(report.repacked.count, Relaxed);
    Ok(())
}

async fn forget(repository: &Repository, dice: &mut Dice) -> Result<(), RepositoryError> {
    let held = repository.list().await?.backups;
    if held.is_empty() {
        return Ok(());
    }
    let one = &held[dice.roll(held.len() as u64) as usize];
    repository.forget(one, "simulated", None).await
}

async fn undelete(repository: &Repository, counts: &Counts) -> Result<(), RepositoryError> {
    if let Some(trashed) = repository.list().await?.trashed.pop() {
        repository.undelete(&trashed, RunId([4; 16])).await?;
        counts.undeleted.fetch_add(1, Relaxed);
    }
    Ok(())
}

/// From a store next door, on which nobody else works, back to this one: a writer without a parent.
async fn copy_some(
    repository: &Repository,
    other: &Repository,
    dice: &mut Dice,
    counts: &Counts,
) -> Result<(), RepositoryError> {
    let content = noise(&dice.roll(CONTENTS).to_string(), 2000);
    crate::repository::given::back_up(other, &files(&[("a", content)])).await?;
    let there = other.list().await?.backups;
    copied(other, &there[there.len() - 1], repository).await?;
    counts.copied.fetch_add(1, Relaxed);
    Ok(())
}

/// Runs one seed. Returns what is broken at its end.
async fn run(seed: u64, kind: Promise, counts: Arc<Counts>) -> Result<(), String> {
    let mut world = World::new(seed, kind, counts).await;
    let mut dice = Dice(seed);
    let mut tasks: BTreeMap<u64, tokio::task::JoinHandle<()>> = BTreeMap::new();
    for turn in 0..TURNS {
        tasks.retain(|_, task| !task.is_finished());
        if tasks.len() < 4 && dice.roll(4) == 0 {
            let (actor, task) = world.start(&mut dice);
            tasks.insert(actor, task);
        }
        settle(&world, &tasks).await;
        match dice.roll(400) {
            // Dead without a word, as after a power cut; its lease stays.
            0 => {
                if let Some((actor, task)) = tasks.pop_first() {
                    task.abort();
                    let mut waiting = world.waiting.lock().unwrap();
                    waiting.retain(|(of, _), _| *of != actor);
                    world.counts.killed.fetch_add(1, Relaxed);
                }
            }
            // Whoever runs was frozen for so long that a prune takes him for dead.
            1..13 => world.memory.advance(SignedDuration::from_mins(20)),
            _ => {}
        }
        let next = {
            let mut waiting = world.waiting.lock().unwrap();
            let count = waiting.len() as u64;
            let chosen = (count > 0).then(|| dice.roll(count) as usize);
            let key = chosen.and_then(|at| waiting.keys().nth(at).copied());
            key.and_then(|key| waiting.remove(&key))
        };
        if let Some(next) = next {
            let _ = next.send(());
        }
        if turn % 30 == 0 {
            check(&world)
                .await
                .map_err(|what| format!("after turn {turn}: {what}"))?;
        }
    }
    tasks.values().for_each(|task| task.abort());
    check(&world).await
}

/// Waits until every actor either waits for its turn or has ended.
async fn settle(world: &World, tasks: &BTreeMap<u64, tokio::task::JoinHandle<()>>) {
    for spin in 0.. {
        tokio::task::yield_now().await;
        let waits = {
            let waiting = world.waiting.lock().unwrap();
            tasks.iter().all(|(actor, task)| {
                task.is_finished() || waiting.range((*actor, 0)..(*actor + 1, 0)).next().is_some()
            })
        };
        if waits {
            return;
        }
        if spin > 50 {
            // It computes on another thread.
            tokio::time::sleep(Duration::from_micros(50)).await;
        }
    }
}

/// Every backup that is listed now can be read in full.
async fn check(world: &World) -> Result<(), String> {
    let store = Store::with_retries(Arc::new(world.memory.fork()), 4, Retries::NONE);
    let repository = Repository::open(store, None, &surroundings("check"))
        .await
        .unwrap();
    let holdings = repository.list().await.map_err(|error| error.to_string())?;
    let reader = repository
        .reader()
        .await
        .map_err(|error| error.to_string())?;
    for backup in holdings.backups {
        if let Err(error) = read_back(&reader, &backup.manifest).await {
            return Err(format!("{} can not be read: {error}", backup.key));
        }
    }
    match &holdings.damaged[..] {
        [] => Ok(()),
        [first, ..] => Err(format!("{} is damaged: {}", first.key, first.cause)),
    }
}

fn seeds() -> Range<u64> {
    let given = std::env::var("CCB_SEEDS").ok();
    let range = given.as_deref().and_then(|text| text.split_once(".."));
    match range.map(|(first, end)| (first.parse(), end.parse())) {
        Some((Ok(first), Ok(end))) => first..end,
        _ => SEEDS,
    }
}

/// The first seed that breaks something, and what.
fn first_broken(kind: Promise, seeds: Range<u64>, counts: &Arc<Counts>) -> Option<(u64, String)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    seeds.into_iter().find_map(|seed| {
        let local = tokio::task::LocalSet::new();
        let broken = local.block_on(&runtime, run(seed, kind, counts.clone()));
        broken.err().map(|what| (seed, what))
    })
}

#[test]
fn every_listed_backup_is_readable_in_every_order_of_events() {
    let counts = Arc::new(Counts::default());
    let seeds = seeds();
    let is_one = seeds.end - seeds.start == 1;
    let broken = first_broken(Promise::Honest, seeds, &counts);
    if let Some((seed, what)) = broken {
        panic!(
            "seed {seed}: {what}; replay with CCB_SEEDS={seed}..{}",
            seed + 1
        );
    }
    let all = [
        &counts.committed,
        &counts.revoked,
        &counts.deleted,
        &counts.repacked,
        &counts.undeleted,
        &counts.copied,
        &counts.killed,
    ];
    assert!(
        is_one || all.iter().all(|count| count.load(Relaxed) > 0),
        "{counts:?}"
    );
}

#[test]
fn a_store_that_creates_over_what_is_there_is_caught() {
    assert!(first_broken(Promise::CreatesOver, 0..300, &Arc::default()).is_some());
}

#[test]
fn a_store_that_hides_leases_is_caught() {
    assert!(first_broken(Promise::HidesLeases, 0..300, &Arc::default()).is_some());
}

#[test]
fn removing_what_was_repacked_without_two_phases_is_caught() {
    assert!(first_broken(Promise::RemovesRepacked, 0..300, &Arc::default()).is_some());
}

#[test]
fn removing_what_was_condemned_without_asking_anybody_is_caught() {
    assert!(first_broken(Promise::CondemnsAndRemoves, 0..300, &Arc::default()).is_some());
}
