//! Decides which backups the rules of one component keep, and why. Pure, and about rules only: what stays
//! although no rule keeps it (holds, the newest, what has no proof) is decided in `forget`.

use crate::model::ids::Tag;
use crate::model::records::{Manifest, Slot};
use crate::model::strategy::{Keep, KeepRule, Method, Pick, Selector, Tier, Until};
use crate::model::units::{Day, DayOfYear, Period};
use crate::plan::document::KeptBecause;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// What the rules say of one backup.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// Every reason to keep it, in the order of the rules.
    pub because: Vec<KeptBecause>,
    /// The hard cap that it is older than; it outweighs the reasons.
    pub expired: Option<Period>,
    /// When nothing keeps it: the rule that gave it up last, and the instant at which that rule ends now.
    pub was: Option<(Keep, Timestamp)>,
}

impl Verdict {
    /// Whether the rules keep it.
    pub fn is_kept(&self) -> bool {
        !self.because.is_empty() && self.expired.is_none()
    }
    /// The tiers it is, finest first.
    pub fn tiers(&self) -> Vec<Tier> {
        let mut tiers: Vec<Tier> = self.because.iter().filter_map(tier_of).collect();
        tiers.sort_unstable();
        tiers.dedup();
        tiers
    }
}

/// What the rules look at in a backup that exists, or will.
#[derive(Debug, Clone, Copy)]
pub struct Taken<'a> {
    /// How.
    pub method: Method,
    /// When reading began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
    /// Whether everything is in it.
    pub complete: bool,
    /// The slots that it was made for.
    pub slots: &'a [Slot],
    /// Its tags.
    pub tags: &'a [Tag],
}

impl<'a> From<&'a Manifest> for Taken<'a> {
    fn from(manifest: &'a Manifest) -> Self {
        Self {
            method: manifest.method,
            started: manifest.started,
            finished: manifest.finished,
            complete: manifest.complete,
            slots: &manifest.slots,
            tags: &manifest.tags,
        }
    }
}

/// A backup as the rules see it.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    facts: Taken<'a>,
    is_verified: bool,
    is_released: bool,
    day: Date,
    hour: Timestamp,
}

impl<'a> Subject<'a> {
    /// `is_verified`: a restore test or contents check passed. `is_released`: somebody released it.
    pub fn new(facts: Taken<'a>, is_verified: bool, is_released: bool, zone: &TimeZone) -> Self {
        let offset = zone.to_offset(facts.started);
        let local = facts.started.as_second() + i64::from(offset.seconds());
        let hour = local - local.rem_euclid(3_600) - i64::from(offset.seconds());
        Self {
            facts,
            is_verified,
            is_released,
            day: offset.to_datetime(facts.started).date(),
            hour: Timestamp::from_second(hour).unwrap_or(facts.started),
        }
    }
    /// What it is.
    pub fn facts(&self) -> Taken<'a> {
        self.facts
    }
    fn has(&self, among: &Selector) -> bool {
        let facts = self.facts;
        among.method.is_none_or(|method| facts.method == method)
            && among
                .schedule
                .as_ref()
                .is_none_or(|name| facts.slots.iter().any(|slot| slot.schedule == *name))
            && among
                .tag
                .as_ref()
                .is_none_or(|tag| facts.tags.contains(tag))
    }
}

/// One verdict for each of `subjects`, which are sorted by start, oldest first. Only complete backups that are
/// not dated after `at` are picked; of WAL, those with a gap before them too, for no other has what they have. Without a keep
/// rule everything is kept.
pub fn judge(rules: &[KeepRule], subjects: &[Subject], at: Timestamp) -> Vec<Verdict> {
    debug_assert!(subjects.is_sorted_by_key(|s| s.facts.started));
    let mut verdicts = vec![Verdict::default(); subjects.len()];
    let eligible: Vec<usize> = (0..subjects.len())
        .filter(|i| {
            let facts = subjects[*i].facts;
            (facts.complete || facts.method == Method::Wal) && facts.started <= at
        })
        .collect();
    for rule in rules {
        let matching: Vec<usize> = eligible
            .iter()
            .copied()
            .filter(|i| subjects[*i].has(&rule.among))
            .collect();
        apply_rule(&rule.keep, subjects, &matching, at, &mut verdicts);
    }
    if rules
        .iter()
        .all(|rule| matches!(rule.keep, Keep::Expire(_)))
    {
        for verdict in &mut verdicts {
            verdict.because.push(KeptBecause::NoRules);
        }
    }
    verdicts
}

/// `matching` are indexes into `subjects`, oldest first.
fn apply_rule(
    keep: &Keep,
    subjects: &[Subject],
    matching: &[usize],
    at: Timestamp,
    verdicts: &mut [Verdict],
) {
    let by_rule = |bucket| KeptBecause::Rule {
        keep: *keep,
        bucket,
    };
    match *keep {
        Keep::Last(count) => {
            let cut = matching.len().saturating_sub(count as usize);
            let ends_at = matching.get(cut).map(|i| subjects[*i].facts.started);
            for (position, i) in matching.iter().enumerate() {
                match ends_at {
                    Some(ends_at) if position < cut => gave_up(&mut verdicts[*i], keep, ends_at),
                    None => gave_up(&mut verdicts[*i], keep, at),
                    _ => verdicts[*i].because.push(by_rule(None)),
                }
            }
        }
        Keep::Within(period) => {
            let ends_at = period.before(at);
            for i in matching {
                if subjects[*i].facts.started > ends_at {
                    verdicts[*i].because.push(by_rule(None));
                } else {
                    gave_up(&mut verdicts[*i], keep, ends_at);
                }
            }
        }
        Keep::Pitr(back) => {
            let from = pitr_from(subjects, matching, back.before(at));
            for i in matching
                .iter()
                .filter(|i| is_pitr(subjects[**i].facts.method))
            {
                let facts = subjects[*i].facts;
                // A segment that was still written when the base began belongs to it.
                if from.is_none_or(|from| facts.started >= from || facts.finished >= from) {
                    verdicts[*i].because.push(KeptBecause::Pitr { back });
                } else if let Some(from) = from {
                    gave_up(&mut verdicts[*i], keep, from);
                }
            }
        }
        Keep::All(until) => {
            for i in matching {
                let subject = &subjects[*i];
                match until {
                    None => verdicts[*i].because.push(by_rule(None)),
                    Some(Until::Verified) if subject.is_verified => {}
                    Some(Until::Released) if subject.is_released => {}
                    Some(_) => verdicts[*i]
                        .because
                        .push(KeptBecause::Until { keep: *keep }),
                }
            }
        }
        Keep::Expire(cap) => {
            let ends_at = cap.before(at);
            for i in matching {
                if subjects[*i].facts.started <= ends_at {
                    let shorter = verdicts[*i].expired.map_or(cap, |other| other.min(cap));
                    verdicts[*i].expired = Some(shorter);
                }
            }
        }
        Keep::Hourly { count, pick } => {
            let buckets = Buckets::of(subjects, matching, pick, |s| s.hour);
            buckets.keep(keep, count, verdicts, |hour| (hour_label(*hour), *hour));
        }
        Keep::Daily { count, pick } => {
            by_day(keep, count, pick, subjects, matching, verdicts, Some)
        }
        Keep::Weekly { count, on, pick } | Keep::Monthly { count, on, pick } => {
            by_day(keep, count, pick, subjects, matching, verdicts, |day| {
                starts_on(day, on)
            });
        }
        Keep::Yearly { count, on, pick } => {
            by_day(keep, count, pick, subjects, matching, verdicts, |day| {
                year_starts_on(day, on)
            });
        }
    }
}

/// Notes that a rule would have kept it if it reached further. The rule that reaches back furthest gave up last.
fn gave_up(verdict: &mut Verdict, keep: &Keep, ends_at: Timestamp) {
    if verdict.was.is_none_or(|(_, other)| ends_at < other) {
        verdict.was = Some((*keep, ends_at));
    }
}

fn is_pitr(method: Method) -> bool {
    matches!(method, Method::Base | Method::Wal)
}

/// When the newest base that was finished by `cutoff` began; without one, everything is needed.
fn pitr_from(subjects: &[Subject], matching: &[usize], cutoff: Timestamp) -> Option<Timestamp> {
    matching
        .iter()
        .map(|i| subjects[*i].facts)
        .filter(|facts| facts.method == Method::Base && facts.finished <= cutoff)
        .map(|facts| facts.started)
        .max()
}

fn by_day(
    keep: &Keep,
    count: u32,
    pick: Pick,
    subjects: &[Subject],
    matching: &[usize],
    verdicts: &mut [Verdict],
    start: impl Fn(Date) -> Option<Date>,
) {
    let buckets = Buckets::of(subjects, matching, pick, |s| start(s.day).unwrap_or(s.day));
    buckets.keep(keep, count, verdicts, |day| {
        let midnight = TimeZone::UTC.to_timestamp(day.to_datetime(jiff::civil::Time::midnight()));
        (day.to_string(), midnight.unwrap_or(Timestamp::MIN))
    });
}

/// The non-empty buckets of a calendar rule, oldest first, each with the backup that represents it.
struct Buckets<K> {
    buckets: Vec<(K, usize)>,
}

impl<K: PartialEq> Buckets<K> {
    /// `matching` is sorted by start, so equal keys lie together.
    fn of(
        subjects: &[Subject],
        matching: &[usize],
        pick: Pick,
        key: impl Fn(&Subject) -> K,
    ) -> Self {
        let mut buckets: Vec<(K, usize)> = Vec::new();
        for i in matching {
            let this = key(&subjects[*i]);
            match buckets.last_mut() {
                Some((last, representative)) if *last == this => {
                    if pick == Pick::Last {
                        *representative = *i;
                    }
                }
                _ => buckets.push((this, *i)),
            }
        }
        Self { buckets }
    }

    fn keep(
        &self,
        keep: &Keep,
        count: u32,
        verdicts: &mut [Verdict],
        label: impl Fn(&K) -> (String, Timestamp),
    ) {
        let cut = self.buckets.len().saturating_sub(count as usize);
        let ends_at = self.buckets.get(cut).map(|(key, _)| label(key).1);
        for (position, (key, i)) in self.buckets.iter().enumerate() {
            if position >= cut {
                verdicts[*i].because.push(KeptBecause::Rule {
                    keep: *keep,
                    bucket: Some(label(key).0),
                });
            } else if let Some(ends_at) = ends_at {
                gave_up(&mut verdicts[*i], keep, ends_at);
            }
        }
    }
}

/// Hours are named in UTC: local ones can exist twice.
fn hour_label(hour: Timestamp) -> String {
    hour.strftime("%Y-%m-%dT%H:%MZ").to_string()
}

/// The first day of the week or month that `day` lies in.
fn starts_on(day: Date, on: Day) -> Option<Date> {
    match on {
        Day::Week(weekday) => {
            let since = day.weekday().since(weekday.to_jiff());
            day.checked_sub(i64::from(since).days()).ok()
        }
        Day::Month(first) => {
            let this = Date::new(day.year(), day.month(), first).ok()?;
            if this <= day {
                Some(this)
            } else {
                this.checked_sub(1.month()).ok()
            }
        }
    }
}

/// The first day of the year that `day` lies in.
fn year_starts_on(day: Date, on: DayOfYear) -> Option<Date> {
    let this = Date::new(day.year(), on.month, on.day).ok()?;
    if this <= day {
        Some(this)
    } else {
        this.checked_sub(1.year()).ok()
    }
}

/// What a calendar rule calls the backup that it keeps.
pub(crate) fn tier_of(because: &KeptBecause) -> Option<Tier> {
    let KeptBecause::Rule { keep, .. } = because else {
        return None;
    };
    match keep {
        Keep::Hourly { .. } => Some(Tier::Hourly),
        Keep::Daily { .. } => Some(Tier::Daily),
        Keep::Weekly { .. } => Some(Tier::Weekly),
        Keep::Monthly { .. } => Some(Tier::Monthly),
        Keep::Yearly { .. } => Some(Tier::Yearly),
        _ => None,
    }
}
