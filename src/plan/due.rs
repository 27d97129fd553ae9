//! Decides which slots a schedule still owes. Pure: the instant comes in as an argument. It never makes a
//! backlog: only the newest slot of a schedule counts.

use crate::model::records::{Manifest, Slot};
use crate::model::strategy::{Missed, Schedule, Timing};
use crate::model::units::{Day, TimeOfDay};
use cronexpr::{Crontab, MakeTimestamp};
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

/// What a schedule owes at an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owes {
    /// Its newest slot has no backup.
    Due {
        /// The slot.
        slot: Slot,
        /// Its window has passed.
        missed: bool,
    },
    /// Nothing.
    Nothing {
        /// Its next slot.
        next: Option<Timestamp>,
        /// A missed slot that is left alone.
        skipped: Option<Timestamp>,
    },
}

/// Decides what `schedule` owes at `at`. `is_served` tells whether something serves the slot, given the
/// slot and the end (exclusive) of the stretch in which it had to begin.
pub fn owes(
    schedule: &Schedule,
    slots: &Slots,
    at: Timestamp,
    is_served: impl FnOnce(&Slot, Timestamp) -> bool,
) -> Owes {
    let next = slots.after(at);
    let nothing = |skipped| Owes::Nothing { next, skipped };
    let Some(slot_at) = slots.at_or_before(at).filter(|_| schedule.enabled) else {
        return Owes::Nothing {
            next: next.filter(|_| schedule.enabled),
            skipped: None,
        };
    };
    let slot = Slot {
        schedule: schedule.name.clone(),
        at: slot_at,
    };
    let window_end = schedule.window.after(slot_at);
    let end = next.map_or(window_end, |next| window_end.min(next));
    if is_served(&slot, end) {
        return nothing(None);
    }
    match (at >= window_end, schedule.missed) {
        (true, Missed::Skip) => nothing(Some(slot_at)),
        (missed, _) => Owes::Due { slot, missed },
    }
}

/// Tells whether a backup serves a slot: complete, of a method that is at least the schedule's, and begun in
/// time, or made for that very slot later (`missed="run-once"`). What is dated after `at` counts nowhere.
pub fn serves(
    backup: &Manifest,
    schedule: &Schedule,
    slot: &Slot,
    end: Timestamp,
    at: Timestamp,
) -> bool {
    backup.complete
        && backup.method.satisfies(schedule.method)
        && backup.started >= slot.at
        && backup.started <= at
        && (backup.started < end || backup.slots.contains(slot))
}

/// The slots of one timing, on the wall clock of a zone.
#[derive(Debug)]
pub struct Slots {
    rule: Rule,
    zone: TimeZone,
}

#[derive(Debug)]
enum Rule {
    At(TimeOfDay, Option<Day>),
    EverySeconds(i64),
    Cron(Box<Crontab>),
    Never,
}

/// No day rule is rarer than once a month.
const DAYS_LOOKED_AT: usize = 40;
/// No civil time is shifted further than this by a change of the clocks.
const CLOCK_CHANGE_MAX: SignedDuration = SignedDuration::from_hours(25);
/// How far back a cron expression is looked for, nearest first. Four years hold every February 29 but those
/// around 1900 and 2100.
const CRON_LOOKS_BACK_HOURS: [i64; 5] = [2, 26, 8 * 24, 367 * 24, 4 * 367 * 24];

impl Slots {
    /// The slots of `timing`. On-demand and continuous schedules have none.
    pub fn new(timing: &Timing, zone: &TimeZone) -> Self {
        let rule = match timing {
            Timing::At { time, on } => Rule::At(*time, *on),
            Timing::Every(period) => i64::try_from(period.seconds)
                .ok()
                .filter(|seconds| *seconds > 0)
                .map_or(Rule::Never, Rule::EverySeconds),
            // Read as if in UTC, so that the zone's clock changes are handled here, as for `at`.
            Timing::Cron(text) => cronexpr::parse_crontab(&format!("{text} UTC"))
                .map_or(Rule::Never, |cron| Rule::Cron(Box::new(cron))),
            Timing::OnDemand | Timing::Continuous => Rule::Never,
        };
        Self {
            rule,
            zone: zone.clone(),
        }
    }

    /// The newest slot at or before `at`.
    pub fn at_or_before(&self, at: Timestamp) -> Option<Timestamp> {
        match &self.rule {
            Rule::At(time, on) => self
                .days(at, SignedDuration::from_hours(24), |date| date.yesterday())
                .filter(|date| falls_on(*date, *on))
                .filter_map(|date| self.instant(date.to_datetime(time_of(*time))))
                .find(|slot| *slot <= at),
            Rule::EverySeconds(seconds) => {
                Timestamp::from_second(at.as_second().div_euclid(*seconds) * seconds).ok()
            }
            Rule::Cron(cron) => self.cron_at_or_before(cron, at),
            Rule::Never => None,
        }
    }

    /// The first slot after `at`.
    pub fn after(&self, at: Timestamp) -> Option<Timestamp> {
        match &self.rule {
            Rule::At(time, on) => self
                .days(at, SignedDuration::from_hours(-24), |date| date.tomorrow())
                .filter(|date| falls_on(*date, *on))
                .filter_map(|date| self.instant(date.to_datetime(time_of(*time))))
                .find(|slot| *slot > at),
            Rule::EverySeconds(seconds) => {
                Timestamp::from_second((at.as_second().div_euclid(*seconds) + 1) * seconds).ok()
            }
            Rule::Cron(cron) => self.cron_after(cron, at),
            Rule::Never => None,
        }
    }

    /// Local dates from a day off `at`, one by one.
    fn days(
        &self,
        at: Timestamp,
        off: SignedDuration,
        step: impl Fn(Date) -> Result<Date, jiff::Error>,
    ) -> impl Iterator<Item = Date> {
        let first = at
            .checked_add(off)
            .ok()
            .map(|at| self.zone.to_datetime(at).date());
        std::iter::successors(first, move |date| step(*date).ok()).take(DAYS_LOOKED_AT)
    }

    /// A civil time as an instant: one that does not exist shifts forward, one that exists twice is the first.
    fn instant(&self, civil: DateTime) -> Option<Timestamp> {
        self.zone.to_ambiguous_timestamp(civil).compatible().ok()
    }

    fn cron_after(&self, cron: &Crontab, at: Timestamp) -> Option<Timestamp> {
        let before = at.checked_sub(CLOCK_CHANGE_MAX).ok()?;
        let clock_changed = self.zone.to_offset(before) != self.zone.to_offset(at);
        // Times that the clocks jumped over lie before the local time, and may still come.
        let look_from = if clock_changed { before } else { at };
        let mut civil = self.zone.to_datetime(look_from);
        let mut earliest: Option<Timestamp> = None;
        loop {
            civil = next_civil(cron, civil)?;
            let slot = self.instant(civil)?;
            if slot > at {
                earliest = Some(earliest.map_or(slot, |found| found.min(slot)));
                let exists = self.zone.to_datetime(slot) == civil;
                if exists {
                    return earliest;
                }
            }
        }
    }

    /// Finds a stretch that holds a slot, then halves it until only its newest is left.
    fn cron_at_or_before(&self, cron: &Crontab, at: Timestamp) -> Option<Timestamp> {
        let slot_in_time = |from: Timestamp| self.cron_after(cron, from).filter(|s| *s <= at);
        let mut newest = CRON_LOOKS_BACK_HOURS.iter().find_map(|hours| {
            slot_in_time(at.checked_sub(SignedDuration::from_hours(*hours)).ok()?)
        })?;
        let mut end = at.as_second();
        while end - newest.as_second() > 1 {
            let middle = newest.as_second() + (end - newest.as_second()) / 2;
            match slot_in_time(Timestamp::from_second(middle).ok()?) {
                Some(slot) => newest = slot,
                None => end = middle,
            }
        }
        // The last second: `end` itself may be a slot.
        Some(slot_in_time(newest).unwrap_or(newest))
    }
}

fn next_civil(cron: &Crontab, after: DateTime) -> Option<DateTime> {
    let as_utc = TimeZone::UTC.to_timestamp(after).ok()?;
    Some(cron.find_next(MakeTimestamp(as_utc)).ok()?.datetime())
}

fn falls_on(date: Date, on: Option<Day>) -> bool {
    match on {
        None => true,
        Some(Day::Week(weekday)) => date.weekday() == weekday.to_jiff(),
        Some(Day::Month(day)) => date.day() == day,
    }
}

fn time_of(time: TimeOfDay) -> jiff::civil::Time {
    jiff::civil::Time::midnight()
        .saturating_add(i64::from(time.hour).hours().minutes(i64::from(time.minute)))
}
