//! Rules that advise: settings without effect, or with an effect that few want. CCB215 by the file alone,
//! 301, 303, 304, 305, 306, 307, 308.

use crate::model::ids::Address;
use crate::model::strategy::{
    Component, Destination, ExportKind, Keep, KeepRule, Method, Pick, Selector, SourceSpec,
    Strategy, Timing,
};
use crate::model::units::{Day, DayOfYear, Period};
use crate::plan::check::removal::wal_outlives_bases;
use crate::plan::check::timing::interval;
use crate::plan::check::{Broken, Surroundings, active, backed_up};

pub(crate) fn check(strategy: &Strategy) -> Vec<Broken> {
    let mut broken = wal_outlives_bases(strategy);
    for component in backed_up(strategy) {
        broken.extend(keeps_everything(component));
        broken.extend(shadowed(component));
        broken.extend(gaps_between(component));
        broken.extend(weak_exports(component));
    }
    broken.extend(active(strategy).filter_map(compressed));
    broken.extend(unused(strategy));
    broken
}

/// CCB307.
pub(crate) fn stale_runbook(around: &Surroundings) -> Option<Broken> {
    let path = around.stale_runbook.as_ref()?;
    Some(Broken::new(
        "CCB307",
        Address("plan".to_owned()),
        format!("the committed runbook {path} differs from `ccb runbook`"),
        format!("ccb runbook FILE > {path}"),
    ))
}

/// CCB303.
fn keeps_everything(component: &Component) -> Option<Broken> {
    let at = Address::component(&component.name);
    component.retain.is_empty().then(|| {
        let message = format!("{at} keeps everything for ever");
        let help = "retain { daily 30; weekly 4; monthly 12 }";
        Broken::new("CCB303", at.child("retain"), message, help)
    })
}

/// CCB301.
fn shadowed(component: &Component) -> Vec<Broken> {
    let rules = &component.retain;
    let mut broken = Vec::new();
    for (number, rule) in rules.iter().enumerate() {
        let shade = rules.iter().enumerate().find(|(other, wide)| {
            // Of two that keep the same, only the later one is told.
            let twin = shadows(component, rule, wide) && *other > number;
            *other != number && shadows(component, wide, rule) && !twin
        });
        if let Some((_, wide)) = shade {
            let at = Address::component(&component.name).child("retain");
            broken.push(
                Broken::new(
                    "CCB301",
                    at.child(number),
                    format!(
                        "`{}` keeps nothing that `{}` does not",
                        rule.keep, wide.keep
                    ),
                    format!("remove `{}`, or raise it", rule.keep),
                )
                .related(at.child(wide.keep.word())),
            );
        }
    }
    broken
}

/// Whether everything that `narrow` ever keeps is kept by `wide` too.
fn shadows(component: &Component, wide: &KeepRule, narrow: &KeepRule) -> bool {
    if !covers(&wide.among, &narrow.among) {
        return false;
    }
    // A narrower selection counts other buckets, unless the wide rule goes by age or takes all.
    let same = wide.among == narrow.among;
    let one_a_day = at_most_one_a_day(component, &narrow.among);
    match (wide.keep, narrow.keep) {
        (_, Keep::Expire(_) | Keep::Pitr(_)) => false,
        (Keep::All(None), _) => true,
        (Keep::Within(wide), Keep::Within(narrow)) => wide >= narrow,
        _ if !same => false,
        (Keep::Last(wide), Keep::Last(narrow)) => wide >= narrow,
        (Keep::Hourly { count: a, pick: p }, Keep::Hourly { count: b, pick: q })
        | (Keep::Daily { count: a, pick: p }, Keep::Daily { count: b, pick: q }) => {
            a >= b && (p == q)
        }
        (
            Keep::Weekly {
                count: a,
                on: d,
                pick: p,
            },
            Keep::Weekly {
                count: b,
                on: e,
                pick: q,
            },
        )
        | (
            Keep::Monthly {
                count: a,
                on: d,
                pick: p,
            },
            Keep::Monthly {
                count: b,
                on: e,
                pick: q,
            },
        ) => a >= b && d == e && p == q,
        (
            Keep::Yearly {
                count: a,
                on: d,
                pick: p,
            },
            Keep::Yearly {
                count: b,
                on: e,
                pick: q,
            },
        ) => a >= b && d == e && p == q,
        (Keep::Daily { count: days, .. }, Keep::Weekly { count: weeks, .. }) => {
            one_a_day && days >= weeks.saturating_mul(7)
        }
        (Keep::Daily { count: days, .. }, Keep::Monthly { count: months, .. }) => {
            one_a_day && days >= months.saturating_mul(31)
        }
        (Keep::Daily { count: days, .. }, Keep::Yearly { count: years, .. }) => {
            one_a_day && days >= years.saturating_mul(366)
        }
        (
            Keep::Monthly {
                count: months,
                on,
                pick: Pick::First,
            },
            Keep::Yearly {
                count: years,
                on: first,
                pick: Pick::First,
            },
        ) => {
            on == Day::Month(1)
                && first == DayOfYear { month: 1, day: 1 }
                && months >= years.saturating_mul(12)
        }
        _ => false,
    }
}

fn covers(wide: &Selector, narrow: &Selector) -> bool {
    fn part<T: PartialEq>(wide: &Option<T>, narrow: &Option<T>) -> bool {
        wide.is_none() || wide == narrow
    }
    part(&wide.method, &narrow.method)
        && part(&wide.schedule, &narrow.schedule)
        && part(&wide.tag, &narrow.tag)
}

/// Whether the schedules of what is selected make at most one backup a day. With more, the first of a
/// day (weekly, monthly) is not the last of it (daily).
fn at_most_one_a_day(component: &Component, among: &Selector) -> bool {
    let selected = component
        .schedules
        .iter()
        .filter(|s| s.enabled && s.timing != Timing::OnDemand && selects(among, s.method))
        .filter(|s| among.schedule.as_ref().is_none_or(|name| s.name == *name));
    let mut times = selected.map(|s| match &s.timing {
        Timing::At { time, .. } => Some(time),
        _ => None,
    });
    match times.next() {
        Some(Some(first)) => times.all(|time| time == Some(first)),
        _ => false,
    }
}

fn selects(among: &Selector, method: Method) -> bool {
    among.method.is_none_or(|asked| asked == method)
}

/// CCB304: a `within` that ends before the next slot, where nothing else keeps the last one.
fn gaps_between(component: &Component) -> Vec<Broken> {
    let rules = component.retain.iter().enumerate();
    rules
        .filter_map(|(number, rule)| {
            let Keep::Within(age) = rule.keep else {
                return None;
            };
            let among = &rule.among;
            let kept_otherwise = component.retain.iter().any(|other| {
                let lasting = match other.keep {
                    Keep::Expire(_) => false,
                    Keep::Within(longer) => longer > age,
                    _ => true,
                };
                lasting && covers(&other.among, among)
            });
            let slots = component
                .schedules
                .iter()
                .filter(|s| s.enabled && selects(among, s.method))
                .filter(|s| among.schedule.as_ref().is_none_or(|name| s.name == *name))
                .filter(|s| among.tag.is_none() || s.tag == among.tag);
            let slowest_needed = slots.filter_map(|s| Some((interval(&s.timing)?, &s.name)));
            let (every, schedule) = slowest_needed.min()?;
            (age < every && !kept_otherwise).then(|| {
                Broken::new(
                    "CCB304",
                    Address::component(&component.name).child("retain").child(number),
                    format!(
                        "`within \"{age}\"` with schedule \"{schedule}\" every {every} leaves days without a backup"
                    ),
                    format!("within \"{}\"", Period { seconds: every.seconds * 2 }),
                )
            })
        })
        .collect()
}

/// CCB305.
fn compressed(component: &Component) -> Option<Broken> {
    let SourceSpec::Postgres(postgres) = &component.source else {
        return None;
    };
    (postgres.compress > 0).then(|| {
        Broken::new(
            "CCB305",
            Address::component(&component.name)
                .child("source")
                .child("compress"),
            format!("compress {} spoils deduplication, use 0", postgres.compress),
            "compress 0",
        )
    })
}

/// CCB306.
fn weak_exports(component: &Component) -> Vec<Broken> {
    let weak = component
        .exports
        .iter()
        .filter(|e| e.kind == ExportKind::Openssl && e.pbkdf2_iterations.is_none());
    let at = Address::component(&component.name)
        .child("export")
        .child("openssl");
    weak.map(|export| {
        Broken::new(
            "CCB306",
            at.clone(),
            format!(
                "the key of export \"openssl\" to \"{}\" is derived by one round of EVP_BytesToKey",
                export.to
            ),
            "kdf \"pbkdf2-sha256\"",
        )
    })
    .collect()
}

/// CCB308.
fn unused(strategy: &Strategy) -> Vec<Broken> {
    let stored = |name| {
        let uses =
            |c: &Component| c.store.contains(name) || c.exports.iter().any(|e| e.to == *name);
        strategy.components.iter().any(uses)
    };
    let destinations = strategy
        .destinations
        .iter()
        .filter(|d| !stored(&d.name))
        .map(|d| (Address::destination(&d.name), "is never stored to"));
    let encryptions = strategy.encryptions.iter().filter(|e| {
        let uses = |d: &Destination| d.encrypt.as_ref() == Some(&e.name);
        !strategy.destinations.iter().any(uses)
    });
    let encryptions = encryptions.map(|e| (Address::encryption(&e.name), "is never used"));
    let others = strategy.unused.iter();
    let others = others.map(|address| (address.clone(), "is never used"));
    destinations
        .chain(encryptions)
        .chain(others)
        .map(|(address, what)| {
            let (kind, name) = address.0.split_once('.').unwrap_or(("", &address.0));
            let message = format!("{kind} \"{name}\" {what}");
            let help = format!("use it, or remove `{kind} \"{name}\"`");
            Broken::new("CCB308", address, message, help)
        })
        .collect()
}
