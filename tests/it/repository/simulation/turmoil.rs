//! What befalls hosts: death, sleep, a cut cable, a clock that is set, calls that fail or arrive late or twice,
//! and time that passes.

use crate::repository::simulation::calls::{Verdict, Waiting};
use crate::repository::simulation::site::{Effect, Site};
use crate::repository::simulation::turns::of_life;
use crate::repository::simulation::world::World;
use jiff::{SignedDuration, Timestamp};
use std::{sync::atomic::Ordering::Relaxed, time::Duration};

impl World {
    /// Dead without a word, as after a power cut: its lease stays, and what it has sent may still arrive.
    pub(super) fn kill(&mut self, number: u64) {
        let Some(going) = self.going.remove(&number) else {
            return;
        };
        self.trace.tell(format_args!("life {number} is killed"));
        going.life.is_dead.store(true, Relaxed);
        going.task.abort();
        let mine: Vec<Waiting> = {
            let mut queue = self.queue.lock().unwrap();
            let keys: Vec<_> = queue
                .range(of_life(number))
                .map(|(key, _)| key.clone())
                .collect();
            keys.iter().filter_map(|key| queue.remove(key)).collect()
        };
        for waiting in mine {
            if let Some(effect) = waiting.effect
                && self.dice.once_in(2)
            {
                self.comes_late(effect);
            }
        }
        for site in &self.sites {
            site.promised.leaves_lock(number);
        }
        self.ledger.count("killed", 1);
    }

    /// One host loses its network, or sleeps, or its clock is set.
    pub(super) fn trouble(&mut self) {
        let Some(number) = self.any_life() else {
            return;
        };
        let (until, skew) = (self.minutes_from_now(), self.skew());
        let kind = self.dice.any(&[0, 1, 1, 2, 3]);
        let now = self.now();
        let Some(going) = self.going.get_mut(&number) else {
            return;
        };
        match kind {
            0 => going.cut_off_until = until,
            1 => going.asleep_until = until,
            2 => going.skew_seconds.store(skew, Relaxed),
            _ => return,
        }
        if until > now && kind < 2 {
            going.life.is_disturbed.store(true, Relaxed);
        }
        let what = ["is cut off", "sleeps", "has another clock"][kind as usize];
        self.trace
            .tell(format_args!("life {number} {what}, until {until}"));
    }

    fn minutes_from_now(&mut self) -> Timestamp {
        let minutes = self.dice.any(&[3, 20, 70, 200]);
        let after = SignedDuration::from_mins(minutes);
        self.now().checked_add(after).unwrap()
    }

    /// How far off a host's clock is: nothing may depend on it.
    pub(super) fn skew(&mut self) -> i64 {
        match self.dice.roll(3) {
            0 => 0,
            1 => self.dice.roll(120) as i64 - 60,
            _ => self.dice.roll(4 * 86_400) as i64 - 2 * 86_400,
        }
    }

    /// Time passes, for everybody; who is awake may give a sign of life.
    pub(super) async fn pass_time(&mut self) {
        let seconds = self.dice.any(self.weather.seconds);
        // What is on its way is there within the hour.
        self.everything_arrives().await;
        self.trace.tell(format_args!("{seconds} seconds pass"));
        let by = SignedDuration::from_secs(seconds);
        {
            let mut now = self.now.lock().unwrap();
            *now = now.checked_add(by).unwrap();
        }
        for site in &self.sites {
            site.memory.advance(by);
        }
        // A call that takes longer than a sign of life may be late is a disturbance.
        for going in self.going.values().filter(|_| seconds > 310) {
            going.life.is_disturbed.store(true, Relaxed);
        }
        tokio::time::advance(Duration::from_secs(seconds.unsigned_abs())).await;
    }

    /// A call arrives although its host has given up on it, or has its answer. A manifest does not come when
    /// its backup may have left the trash meanwhile: for that it must be on its way for days.
    pub(super) fn comes_late(&mut self, (site, effect): (Site, Effect)) {
        let is_manifest = effect.key().as_str().starts_with("backups/");
        if !is_manifest || self.weather.prune.trash.seconds > 0 {
            self.on_their_way.push((site, effect));
        }
    }

    pub(super) async fn everything_arrives(&mut self) {
        for (site, effect) in std::mem::take(&mut self.on_their_way) {
            self.trace
                .tell(format_args!("arrives late: {}", effect.key()));
            let _ = site.arrive(effect).await;
        }
    }

    pub(super) fn fault(&mut self, waiting: &Waiting) -> Verdict {
        let kind = self.dice.roll(5);
        if kind >= 3
            && let Some(effect) = &waiting.effect
        {
            // It arrives later: besides, or instead.
            self.comes_late(effect.clone());
        }
        match kind {
            0 | 3 => Verdict::Refused,
            1 | 2 => Verdict::AnswerLost,
            _ => Verdict::Done,
        }
    }
}
