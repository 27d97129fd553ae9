//! A host's way to a store: every call waits until the seed says that it is next, and what becomes of it.
//! Keeps to what is asked of a store: one creator of a key succeeds, what was answered is durable, a listing
//! shows all that was there when it began and may miss what is written while it runs.

use crate::repository::simulation::broken::Tampering;
use crate::repository::simulation::dice::Dice;
use crate::repository::simulation::site::{Effect, Site};
use crate::repository::simulation::trace::Trace;
use bytes::Bytes;
use ccb::store::{Backend, Doing, Key, Kind, Listing, Meta, Probe, Put, StoreError};
use futures_util::future::{BoxFuture, pending};
use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};
use tokio::sync::oneshot;

/// A call that waits for its turn.
pub(super) struct Waiting {
    /// Others have so many turns before it, if they need them.
    pub(super) after: u64,
    /// What its effect would be, if it has one.
    pub(super) effect: Option<(Site, Effect)>,
    pub(super) is_list: bool,
    pub(super) go: oneshot::Sender<Verdict>,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is carried out.
    Done,
    /// It has no effect, and the store does not answer.
    Refused,
    /// It is carried out, and the answer is lost.
    AnswerLost,
    /// A listing that takes a while: others write meanwhile. What it shows of that follows from a seed.
    Slow(u64),
}

/// Calls that wait: by the life of a host, by what they are, and by their number in it. Two that a host makes at
/// the same time have the same order each time, whichever thread was first.
pub(super) type Queue = Arc<Mutex<BTreeMap<CallKey, Waiting>>>;
pub(super) type CallKey = (u64, String, u64);

/// What is known of one life of a host: from its start until it is done or killed.
pub(super) struct Life {
    pub(super) number: u64,
    calls: AtomicU64,
    /// It has opened its repositories: from now on its calls are what this is about.
    pub(super) is_at_work: AtomicBool,
    /// Nothing that it left behind does anything any more.
    pub(super) is_dead: AtomicBool,
    /// Something went wrong in it, so that it may fail.
    pub(super) is_disturbed: AtomicBool,
    /// The last lock that it tried to create.
    pub(super) lock: Mutex<Option<Key>>,
}

impl Life {
    pub(super) fn new(number: u64) -> Arc<Self> {
        Arc::new(Self {
            number,
            calls: AtomicU64::new(0),
            is_at_work: AtomicBool::new(false),
            is_dead: AtomicBool::new(false),
            is_disturbed: AtomicBool::new(false),
            lock: Mutex::default(),
        })
    }
}

/// One host's way to one store.
#[derive(Clone)]
pub(super) struct Calls {
    pub(super) site: Site,
    pub(super) life: Arc<Life>,
    pub(super) queue: Queue,
    pub(super) trace: Arc<Trace>,
    pub(super) tampering: Arc<Tampering>,
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host life {}", self.life.number)
    }
}

/// What nothing depends on that this is about: such calls take no turn.
const BESIDES: [&str; 6] = [
    "annotations/",
    "checks/",
    "exports/",
    "probes/",
    "runs/",
    "wal/",
];
/// Nor do most that read an object: what they find, others only ever remove. One in so many does.
const READS: u64 = 4;

/// A call that waits is given up when whoever waits for it is gone.
struct InQueue<'a>(&'a Queue, CallKey);

impl Drop for InQueue<'_> {
    fn drop(&mut self) {
        self.0.lock().unwrap().remove(&self.1);
    }
}

impl Calls {
    /// What a host does that is not of the store takes a while.
    pub(super) async fn dawdle(&self, turns: u64) {
        self.turn_after(turns, "nothing", (None, false)).await;
    }

    async fn turn(&self, what: &str, effect: Option<Effect>, is_list: bool) -> Verdict {
        self.turn_after(0, what, (effect, is_list)).await
    }

    async fn turn_after(
        &self,
        after: u64,
        what: &str,
        (effect, is_list): (Option<Effect>, bool),
    ) -> Verdict {
        if self.life.is_dead.load(Relaxed) {
            return pending().await;
        }
        if !self.takes_turn(what) {
            return Verdict::Done;
        }
        let number = self.life.calls.fetch_add(1, Relaxed);
        let (go, turn) = oneshot::channel();
        let waiting = Waiting {
            after,
            effect: effect.map(|effect| (self.site.clone(), effect)),
            is_list,
            go,
        };
        let key = (
            self.life.number,
            format!("{} {what}", self.site.name),
            number,
        );
        self.queue.lock().unwrap().insert(key.clone(), waiting);
        let _in_queue = InQueue(&self.queue, key);
        match turn.await {
            Ok(verdict) => verdict,
            // Killed.
            Err(_) => pending().await,
        }
    }

    fn takes_turn(&self, what: &str) -> bool {
        let (verb, key) = what.split_once(' ').unwrap_or((what, ""));
        if verb == "probe" || BESIDES.iter().any(|prefix| key.starts_with(prefix)) {
            return false;
        }
        let of = || {
            key.bytes().fold(self.life.number, |sum, byte| {
                sum * 31 % 1_000_003 + u64::from(byte)
            })
        };
        self.life.is_at_work.load(Relaxed) && (verb != "get" || Dice(of()).once_in(READS))
    }

    fn no_answer(&self, doing: Doing, what: impl fmt::Display) -> StoreError {
        StoreError::new(doing, what, "simulated", Kind::Unreachable)
    }

    /// A listing that others write into: what is there in one of two moments only may be shown or not.
    async fn list_slowly(&self, prefix: &str, seed: u64) -> Result<Listing, StoreError> {
        let first = self.site.memory.list(prefix).await?;
        let mut dice = Dice(seed);
        let (turns, what) = (dice.any(&[0, 10, 60]), format!("rest of {prefix}"));
        if self.turn_after(turns, &what, (None, false)).await == Verdict::Refused {
            return Err(self.no_answer(Doing::List, prefix));
        }
        let last = self.site.memory.list(prefix).await?;
        let mut shown: BTreeMap<Key, Meta> = BTreeMap::new();
        for meta in first.objects.iter().chain(&last.objects) {
            let is_in = |listing: &Listing| listing.objects.contains(meta);
            if (is_in(&first) && is_in(&last)) || dice.once_in(2) {
                shown.insert(meta.key.clone(), meta.clone());
            }
        }
        let objects: Vec<Meta> = shown.into_values().collect();
        let newest = objects.iter().map(|meta| meta.modified).max();
        Ok(Listing {
            objects,
            // As over S3: the clock of the first page, unless it shows something newer.
            server_time: newest.map_or(first.server_time, |at| at.max(first.server_time)),
            strays: 0,
        })
    }

    /// Carries out a call that has an effect, or what a broken rule makes of it.
    async fn carry_out(&self, effect: Effect) -> Result<(), StoreError> {
        let (mut outcome, own) = (Ok(()), effect.key().clone());
        for (number, effect) in self
            .tampering
            .instead_of(&self.site, effect)
            .into_iter()
            .enumerate()
        {
            if number > 0 {
                self.turn("later", None, false).await;
            }
            let is_own = *effect.key() == own;
            let arrived = self.site.arrive(effect).await;
            if is_own {
                outcome = arrived;
            }
        }
        self.tampering.answered(&own, outcome)
    }

    async fn change(&self, what: String, doing: Doing, effect: Effect) -> Result<(), StoreError> {
        let verdict = self.turn(&what, Some(effect.clone()), false).await;
        let outcome = match verdict {
            Verdict::Refused => return Err(self.no_answer(doing, what)),
            _ => self.carry_out(effect).await,
        };
        self.trace.note(format_args!(
            "{what}: {:?}",
            outcome.as_ref().map_err(|e| e.kind)
        ));
        match verdict {
            Verdict::AnswerLost => Err(self.no_answer(doing, what)),
            _ => outcome,
        }
    }
}

impl Backend for Calls {
    fn location(&self) -> String {
        self.site.memory.location()
    }

    fn get(
        &self,
        key: &Key,
        range: Option<Range<u64>>,
    ) -> BoxFuture<'_, Result<Bytes, StoreError>> {
        let key = key.clone();
        Box::pin(async move {
            match self.turn(&format!("get {key}"), None, false).await {
                Verdict::Done | Verdict::Slow(_) => {}
                Verdict::Refused | Verdict::AnswerLost => {
                    return Err(self.no_answer(Doing::Get, &key));
                }
            }
            let not_found = || StoreError::new(Doing::Get, &key, "simulated", Kind::NotFound);
            let mut got = self.site.body(&key).ok_or_else(not_found)?;
            if let Some(range) = range {
                got = got.slice(range.start as usize..range.end as usize);
            }
            Ok(self.tampering.given(&self.site, &key, got))
        })
    }

    fn put(&self, key: &Key, body: Bytes, how: Put) -> BoxFuture<'_, Result<(), StoreError>> {
        let key = key.clone();
        Box::pin(async move {
            if key.as_str().starts_with("locks/") && key.last_part() == "start" {
                *self.life.lock.lock().unwrap() = Some(key.clone());
            }
            self.trace.note_bytes(&key, &body);
            let what = format!("put {key}");
            let effect = Effect::Put(key, body, how);
            self.change(what, Doing::Put, effect).await
        })
    }

    fn list(&self, prefix: &str) -> BoxFuture<'_, Result<Listing, StoreError>> {
        let prefix = prefix.to_owned();
        Box::pin(async move {
            let listing = match self.turn(&format!("list {prefix}"), None, true).await {
                Verdict::Refused | Verdict::AnswerLost => {
                    return Err(self.no_answer(Doing::List, &prefix));
                }
                Verdict::Slow(seed) => self.list_slowly(&prefix, seed).await?,
                Verdict::Done => self.site.memory.list(&prefix).await?,
            };
            self.trace.note_listing(&prefix, &listing);
            Ok(self.tampering.shown(&self.site, &prefix, listing))
        })
    }

    fn delete(&self, key: &Key) -> BoxFuture<'_, Result<(), StoreError>> {
        let key = key.clone();
        Box::pin(async move {
            let what = format!("delete {key}");
            self.change(what, Doing::Delete, Effect::Delete(key)).await
        })
    }

    /// A store that breaks its promises does not say so when it is asked.
    fn probe(&self, _: &Key) -> BoxFuture<'_, Result<Probe, StoreError>> {
        Box::pin(async move {
            self.turn("probe", None, false).await;
            Ok(Probe {
                creates_only_once: true,
                deletes: true,
            })
        })
    }
}
