//! Whose call is next, and what becomes of it: decides, by the seed, and does nothing itself.

use crate::repository::simulation::calls::{CallKey, Verdict, Waiting};
use crate::repository::simulation::world::World;
use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;

impl World {
    /// Decides whose call is next, and what becomes of it.
    pub(super) fn let_one_through(&mut self) {
        let Some(key) = self.next_call() else {
            return;
        };
        let Some(waiting) = self.queue.lock().unwrap().remove(&key) else {
            return;
        };
        let (life, what, _) = key;
        self.was_beside = is_beside(&what);
        let verdict = self.verdict(life, &waiting);
        self.trace
            .tell(format_args!("life {life} {what} {verdict:?}"));
        let _ = waiting.go.send(verdict);
    }

    fn next_call(&mut self) -> Option<CallKey> {
        let now = self.now();
        let awake = self
            .going
            .iter()
            .filter(|(_, going)| going.asleep_until <= now);
        let awake: Vec<(u64, u64)> = awake
            .map(|(number, going)| (*number, going.speed))
            .collect();
        let queue = self.queue.clone();
        let mut queue = queue.lock().unwrap();
        let is_ready =
            |of: &(u64, u64)| queue.range(of_life(of.0)).any(|(_, call)| call.after == 0);
        let ready: Vec<(u64, u64)> = awake.iter().copied().filter(is_ready).collect();
        let life = match ready.is_empty() {
            true => self.one_of(&awake)?,
            false => self.one_of(&ready)?,
        };
        let calls: Vec<CallKey> = {
            let all = queue.range(of_life(life));
            let due = all.filter(|(_, call)| ready.is_empty() || call.after == 0);
            due.map(|(key, _)| key.clone()).collect()
        };
        for call in queue.values_mut() {
            call.after = call.after.saturating_sub(1);
        }
        self.dice.pick(&calls).cloned()
    }

    /// One of these lives, the faster the more often.
    fn one_of(&mut self, lives: &[(u64, u64)]) -> Option<u64> {
        let all: u64 = lives.iter().map(|(_, speed)| speed).sum();
        let mut at = (all > 0).then(|| self.dice.roll(all))?;
        for (number, speed) in lives {
            if at < *speed {
                return Some(*number);
            }
            at -= speed;
        }
        None
    }

    fn verdict(&mut self, life: u64, waiting: &Waiting) -> Verdict {
        let now = self.now();
        let Some(going) = self.going.get(&life) else {
            return Verdict::Refused;
        };
        let life = going.life.clone();
        if going.cut_off_until > now {
            life.is_disturbed.store(true, Relaxed);
            return Verdict::Refused;
        }
        if self.dice.once_in(self.weather.faults) {
            life.is_disturbed.store(true, Relaxed);
            return self.fault(waiting);
        }
        if let Some(effect) = &waiting.effect
            && self.dice.once_in(self.weather.echoes)
        {
            self.comes_late(effect.clone());
        }
        if waiting.is_list && self.dice.once_in(self.weather.slow) {
            return Verdict::Slow(self.dice.roll(u64::MAX));
        }
        Verdict::Done
    }
}

/// The calls of one life.
pub(super) fn of_life(number: u64) -> Range<CallKey> {
    (number, String::new(), 0)..(number + 1, String::new(), 0)
}

/// Whether a host computes beside it, or makes it beside something else: it reads or stores blobs, gives a sign of
/// life, or looks whether it has lost a lock.
pub(super) fn is_beside(what: &str) -> bool {
    let (_, call) = what.split_once(' ').unwrap_or_default();
    let blobs = [
        "get index/",
        "get packs/",
        "put index/",
        "put packs/",
        "list index/",
    ];
    blobs.iter().any(|start| call.starts_with(start))
        || call.contains("/hb-")
        || (call.contains("locks/") && call.ends_with("/end"))
}
