//! Rules about schedules: CCB302, 310, 313, and how far apart slots are.

use crate::model::ids::Address;
use crate::model::strategy::{Component, Schedule, Strategy, Timing};
use crate::model::units::{AsOf, Day, Period};
use crate::plan::check::levels::zone;
use crate::plan::check::{Broken, active};
use jiff::ToSpan;
use jiff::civil::DateTime;

pub(crate) fn check(strategy: &Strategy, at: AsOf) -> Vec<Broken> {
    let gaps = gaps(strategy, at);
    let mut broken = Vec::new();
    for component in active(strategy) {
        broken.extend(no_schedule(component));
        broken.extend(same_slots(component));
        for schedule in component.schedules.iter().filter(|s| s.enabled) {
            broken.extend(skipped_hour(strategy, component, schedule, &gaps));
        }
    }
    broken
}

/// The longest that two slots in a row are apart, where the timing tells.
pub(crate) fn interval(timing: &Timing) -> Option<Period> {
    match timing {
        Timing::At { on: None, .. } => Some(Period::days(1)),
        Timing::At {
            on: Some(Day::Week(_)),
            ..
        } => Some(Period::days(7)),
        Timing::At {
            on: Some(Day::Month(_)),
            ..
        } => Some(Period::days(31)),
        Timing::Every(every) => Some(*every),
        Timing::Cron(_) | Timing::OnDemand | Timing::Continuous => None,
    }
}

/// CCB302.
fn no_schedule(component: &Component) -> Option<Broken> {
    let by_itself = |s: &Schedule| s.enabled && s.timing != Timing::OnDemand;
    let at = Address::component(&component.name);
    (!component.schedules.iter().any(by_itself)).then(|| {
        let message = if component.schedules.iter().any(|s| s.enabled) {
            format!("{at} has only on-demand schedules")
        } else {
            format!("{at} has no schedule")
        };
        let method = component.source.methods()[0];
        let help = format!("schedule \"daily\" at=\"02:00\" method=\"{method}\"");
        Broken::new("CCB302", at.child("schedule"), message, help)
    })
}

/// CCB313: two daily, weekly or monthly schedules at one time, where one method serves both.
fn same_slots(component: &Component) -> Vec<Broken> {
    let mut broken = Vec::new();
    let enabled: Vec<&Schedule> = component.schedules.iter().filter(|s| s.enabled).collect();
    for (number, one) in enabled.iter().enumerate() {
        for other in &enabled[number + 1..] {
            let (
                Timing::At { time, on },
                Timing::At {
                    time: also,
                    on: day,
                },
            ) = (&one.timing, &other.timing)
            else {
                continue;
            };
            let serves = one.method.satisfies(other.method) || other.method.satisfies(one.method);
            let shared = match (on, day) {
                (None, day) | (day, None) => *day,
                (on, day) if on == day => *on,
                _ => continue,
            };
            if time == also && serves {
                let of = Address::component(&component.name);
                let when = match shared {
                    None => format!("{time} every day"),
                    Some(Day::Week(day)) => format!("{time} on {}", day.as_str()),
                    Some(Day::Month(day)) => format!("{time} on day {day} of the month"),
                };
                broken.push(
                    Broken::new(
                        "CCB313",
                        of.child("schedule").child(&other.name),
                        format!(
                            "schedules \"{}\" and \"{}\" of {of} share {when}: one run serves both",
                            one.name, other.name
                        ),
                        "nothing needs to be done",
                    )
                    .related(of.child("schedule").child(&one.name)),
                );
            }
        }
    }
    broken
}

/// The wall-clock times that the plan's zone skips in the year after `at`: `[from, to)`.
fn gaps(strategy: &Strategy, at: AsOf) -> Vec<(DateTime, DateTime)> {
    let end = Period::days(366).after(at.0);
    let zone = zone(strategy);
    let transitions = zone.following(at.0);
    transitions
        .map(|transition| transition.timestamp())
        .take_while(|instant| *instant <= end)
        .filter_map(|instant| {
            let just_before = instant.checked_sub(1.second()).ok()?;
            let before = zone.to_offset(just_before).to_datetime(instant);
            let after = zone.to_offset(instant).to_datetime(instant);
            (after > before).then_some((before, after))
        })
        .collect()
}

/// CCB310.
fn skipped_hour(
    strategy: &Strategy,
    component: &Component,
    schedule: &Schedule,
    gaps: &[(DateTime, DateTime)],
) -> Option<Broken> {
    let Timing::At { time, on } = &schedule.timing else {
        return None;
    };
    let (date, _) = gaps.iter().find_map(|(from, to)| {
        let slot = from.date().at(time.hour, time.minute, 0, 0);
        let on_that_day = match on {
            None => true,
            Some(Day::Week(day)) => slot.date().weekday() == day.to_jiff(),
            Some(Day::Month(day)) => slot.date().day() == *day,
        };
        (on_that_day && *from <= slot && slot < *to).then_some((slot.date(), to))
    })?;
    Some(Broken::new(
        "CCB310",
        Address::component(&component.name)
            .child("schedule")
            .child(&schedule.name),
        format!("{time} does not exist on {date} in {}", strategy.timezone),
        "write a time outside of the skipped hour, or timezone=\"UTC\" in `plan`",
    ))
}
