//! Tells when nothing moves: the pool has nothing to do, and every other thread of this process is asleep and stays
//! so. Only then does the seed decide what is next, so that it decides between the same calls each time.
//!
//! A thread can only be woken by one that runs. That all of them were seen asleep one after another does not
//! tell that they were at one moment; that none of them has run between two looks does.

use crate::repository::simulation::pool::{Pool, Worked};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// How far the tasks of this thread get in between: each of these lets every task that is ready run once.
const ROUNDS: usize = 12;

/// So many times in a row nothing has moved: a thread may have come and gone between two looks.
const LOOKS: usize = 2;

/// What is known of the other threads.
pub(super) struct Calm {
    pool: &'static Pool,
    own: u32,
    /// Threads that do nothing: the one that the process began with, and those that wait for the end.
    apart: Vec<u32>,
    status: BTreeMap<u32, File>,
    last: Sleepers,
}

/// Threads that are asleep, and how often each has run so far.
type Sleepers = Vec<(u32, u64)>;

/// The number of this thread.
pub(super) fn own_number() -> u32 {
    let link = std::fs::read_link("/proc/thread-self").unwrap();
    let name = link.file_name().unwrap().to_str().unwrap();
    name.parse().unwrap()
}

impl Calm {
    /// Thread `apart` does nothing.
    pub(super) fn new(apart: u32) -> Self {
        Self {
            pool: Pool::of_this_process(),
            own: own_number(),
            apart: vec![apart, std::process::id()],
            status: BTreeMap::new(),
            last: Vec::new(),
        }
    }

    /// Waits until nothing moves.
    pub(super) async fn comes(&mut self) {
        let mut looks = 0;
        while looks < LOOKS {
            rounds().await;
            let pool = match self.pool.works(is_asleep) {
                Worked::Jobs => {
                    looks = 0;
                    continue;
                }
                // One that waits is a thread like any other.
                Worked::Waits => None,
                Worked::NothingToDo => Some(self.pool.number),
            };
            match self.asleep(pool) {
                // None of them has run since the look before this.
                Some(now) if now == self.last => looks += 1,
                Some(now) => (self.last, looks) = (now, 0),
                None => {
                    looks = 0;
                    std::thread::sleep(Duration::from_micros(5));
                }
            }
        }
    }

    /// Does `work`, which nobody else takes part in, as fast as it can.
    pub(super) async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = tokio::task::yield_now() => {}
            }
            self.pool.works(is_asleep);
        }
    }

    /// All other threads, but for the `pool` when it has nothing to do; nothing when one is not asleep.
    fn asleep(&mut self, pool: Option<u32>) -> Option<Sleepers> {
        let mut sleepers = Vec::new();
        for thread in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
            let number = thread.file_name().to_str().unwrap().parse().unwrap();
            if number == self.own || Some(number) == pool || self.apart.contains(&number) {
                continue;
            }
            let status = match self.status.remove(&number) {
                Some(status) => Ok(status),
                None => File::open(thread.path().join("status")),
            };
            let mut text = [0; 4096];
            // One that has ended does nothing any more.
            let Ok((status, len)) = status.and_then(|status| {
                let len = status.read_at(&mut text, 0)?;
                Ok((status, len))
            }) else {
                continue;
            };
            self.status.insert(number, status);
            sleepers.push((number, runs_of_sleeping(&text[..len])?));
        }
        Some(sleepers)
    }
}

/// Lets every task of this thread get as far as it can without others.
pub(super) async fn rounds() {
    for _ in 0..ROUNDS {
        tokio::task::yield_now().await;
    }
}

fn is_asleep(number: u32) -> bool {
    let status = std::fs::read(format!("/proc/self/task/{number}/status"));
    status.is_ok_and(|status| runs_of_sleeping(&status).is_some())
}

fn runs_of_sleeping(status: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(status).ok()?;
    // The state is at the beginning, the counts are at the end.
    let state = text.split_once("\nState:")?.1.split_whitespace().next();
    let of = |field: &str| text.rsplit_once(field)?.1.split_whitespace().next();
    let count = |field: &str| of(field)?.parse::<u64>().ok();
    let runs = (
        count("\nvoluntary_ctxt_switches:")?,
        count("\nnonvoluntary_ctxt_switches:")?,
    );
    (state? == "S").then_some(runs.0 + runs.1)
}
