//! Gathers the steps of a plan into lines that people read: by component in the order of the file, inside by
//! sign, equal ones together. Text and Markdown print these; neither decides what belongs together.

use crate::model::ids::{BackupId, ComponentName, DestinationName};
use crate::model::strategy::{Method, Strategy};
use crate::plan::document::{Action, BackupRef, Cause, HeldBack, KeptBecause, Plan, Reason, Step};
use crate::render::escape::line;
use crate::render::words;
use std::collections::{BTreeMap, BTreeSet};

/// More existing backups than this are counted, not named, where their names say little.
const NAMED_MAX: usize = 6;

/// What is done about one component or one destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Section {
    /// `component.postgres`.
    pub(crate) title: String,
    pub(crate) lines: Vec<Line>,
}

/// One or more steps that read as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) sign: char,
    pub(crate) verb: &'static str,
    /// What exactly.
    pub(crate) what: String,
    /// Why, in a word or two.
    pub(crate) why: String,
    /// Sizes, parameters.
    pub(crate) note: String,
    /// Further lines below it.
    pub(crate) details: Vec<String>,
    /// Lists of dates and the like below it, which may be wrapped or cut: a label and items.
    pub(crate) lists: Vec<(String, Vec<String>)>,
    /// What set it off; `None` for what is only kept.
    pub(crate) cause: Option<Cause>,
}

/// Every section that has lines.
pub(crate) fn sections(plan: &Plan, strategy: &Strategy) -> Vec<Section> {
    let mut out = Vec::new();
    for component in components(plan, strategy) {
        let lines = component_lines(plan, strategy, component);
        if !lines.is_empty() {
            out.push(Section {
                title: format!("component.{component}"),
                lines,
            });
        }
    }
    for destination in destinations(plan, strategy) {
        let lines: Vec<Line> = plan
            .steps
            .iter()
            .filter_map(|step| destination_line(step, destination))
            .collect();
        if !lines.is_empty() {
            out.push(Section {
                title: format!("destination.{destination}"),
                lines,
            });
        }
    }
    out
}

/// Components in the order of the file, then those that only the inventory knows, by name.
pub(crate) fn components<'a>(plan: &'a Plan, strategy: &'a Strategy) -> Vec<&'a ComponentName> {
    let mut names: Vec<&ComponentName> = strategy.components.iter().map(|c| &c.name).collect();
    let steps = plan.steps.iter().filter_map(|step| step.action.component());
    let known = steps
        .chain(plan.held.iter().map(|held| &held.component))
        .chain(plan.kept.iter().map(|kept| &kept.component));
    let others: BTreeSet<&ComponentName> = known.filter(|name| !names.contains(name)).collect();
    names.extend(others);
    names
}

fn destinations<'a>(plan: &'a Plan, strategy: &'a Strategy) -> Vec<&'a DestinationName> {
    let mut names: Vec<&DestinationName> = strategy.destinations.iter().map(|d| &d.name).collect();
    let steps = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Initialize { destination } | Action::Prune { destination, .. } => Some(destination),
        _ => None,
    });
    let others: BTreeSet<&DestinationName> = steps.filter(|name| !names.contains(name)).collect();
    names.extend(others);
    names
}

fn destination_line(step: &Step, wanted: &DestinationName) -> Option<Line> {
    let line = |what: &str, note: String| Line {
        what: what.to_owned(),
        note,
        ..Line::of(step)
    };
    match &step.action {
        Action::Initialize { destination } if destination == wanted => {
            Some(line("a new repository", words::reason(&step.because)))
        }
        Action::Prune { destination, trash } if destination == wanted => {
            let freed = step.bytes.map_or(String::new(), |bytes| {
                format!("frees {}, ", words::about(bytes))
            });
            let note = format!("{freed}after {trash} in trash");
            Some(line("what nothing needs any longer", note))
        }
        _ => None,
    }
}

fn component_lines(plan: &Plan, strategy: &Strategy, component: &ComponentName) -> Vec<Line> {
    let steps: Vec<&Step> = plan
        .steps
        .iter()
        .filter(|step| step.action.component() == Some(component))
        .collect();
    let mut lines: Vec<Line> = steps.iter().filter_map(|step| change(step)).collect();
    lines.extend(back_ups(&steps));
    lines.extend(copies(plan, &steps));
    lines.extend(exports(plan, &steps));
    lines.extend(checks(plan, &steps));
    lines.extend(steps.iter().filter_map(|step| inspection(step)));
    lines.extend(forgets(plan, strategy, &steps));
    lines.extend(held(plan, component));
    lines
}

impl Line {
    fn of(step: &Step) -> Self {
        Self {
            sign: words::sign(&step.action),
            verb: step.action.verb(),
            what: String::new(),
            why: step.cause.as_str().to_owned(),
            note: String::new(),
            details: Vec::new(),
            lists: Vec::new(),
            cause: Some(step.cause),
        }
    }
}

fn change(step: &Step) -> Option<Line> {
    let Action::Configure {
        settings, removes, ..
    } = &step.action
    else {
        return None;
    };
    let as_text = |value: &Option<String>| value.as_deref().map_or("none".to_owned(), line);
    let mut changes = settings.iter().map(|change| {
        format!(
            "{}  {} -> {}",
            line(change.address.0.rsplit('.').next().unwrap_or_default()),
            as_text(&change.before),
            as_text(&change.after)
        )
    });
    Some(Line {
        what: changes.next().unwrap_or_default(),
        note: match removes {
            true => "what it removes then does not come back".to_owned(),
            false => words::reason(&step.because),
        },
        details: changes.collect(),
        ..Line::of(step)
    })
}

fn inspection(step: &Step) -> Option<Line> {
    matches!(step.action, Action::Inspect { .. }).then(|| Line {
        what: "how it is set, and what waits to be replicated".to_owned(),
        note: words::reason(&step.because),
        ..Line::of(step)
    })
}

fn back_ups<'a>(steps: &'a [&'a Step]) -> impl Iterator<Item = Line> + 'a {
    steps.iter().filter_map(|step| {
        let Action::BackUp {
            method,
            slots,
            tags,
            destination,
            ..
        } = &step.action
        else {
            return None;
        };
        let newest = slots.iter().map(|slot| slot.at).max();
        let at = newest.map_or("now".to_owned(), words::instant);
        let names: Vec<&str> = slots.iter().map(|slot| slot.schedule.as_str()).collect();
        let mut details = Vec::new();
        if let Reason::Due { tiers, .. } = &step.because
            && !tiers.is_empty()
        {
            details.push(format!("kept as {}", words::tiers(tiers)));
        }
        if !tags.is_empty() {
            let tags: Vec<&str> = tags.iter().map(|tag| tag.as_str()).collect();
            details.push(format!("tagged {}", tags.join(", ")));
        }
        let size = step.bytes.map_or("size not known yet".to_owned(), |bytes| {
            format!("{} new", words::about(bytes))
        });
        Some(Line {
            what: format!("{method}  {at} -> {destination}"),
            why: format!("{} {}", step.cause.as_str(), names.join(", "))
                .trim_end()
                .to_owned(),
            note: size,
            details,
            ..Line::of(step)
        })
    })
}

/// The steps of one kind that read as one, keyed by what makes them equal.
type Gathered<'a, K> = BTreeMap<K, Vec<(&'a Step, BackupRef)>>;

fn copies(plan: &Plan, steps: &[&Step]) -> Vec<Line> {
    let mut groups: Gathered<'_, (bool, Cause, usize, &DestinationName)> = BTreeMap::new();
    let mut order: Vec<&DestinationName> = Vec::new();
    for step in steps {
        if let Action::Copy { backup, to, .. } = &step.action {
            if !order.contains(&to) {
                order.push(to);
            }
            let nth = order
                .iter()
                .position(|name| *name == to)
                .unwrap_or_default();
            let missing = matches!(step.because, Reason::CopyMissing { .. });
            let key = (missing, step.cause, nth, to);
            groups.entry(key).or_default().push((step, *backup));
        }
    }
    let lines = groups.into_iter().map(|((missing, _, _, to), members)| {
        let what = if missing {
            words::count(members.len() as u64, "missing backup")
        } else {
            named(plan, members.iter().map(|(_, backup)| backup))
        };
        Line {
            what: format!("{what} -> {to}"),
            note: total(&members),
            details: if missing {
                missing_copies(plan, &members)
            } else {
                Vec::new()
            },
            ..Line::of(members[0].0)
        }
    });
    lines.collect()
}

fn missing_copies(plan: &Plan, members: &[(&Step, BackupRef)]) -> Vec<String> {
    let facts = words::facts(plan);
    let row = |(step, backup): &(&Step, BackupRef)| {
        let mut parts = vec![plan.name_of(backup)];
        if let BackupRef::Id(id) = backup
            && let Some((method, started)) = facts.get(id).copied()
        {
            parts.push(format!("{method}  {}", words::instant(started)));
        }
        if let Reason::CopyMissing {
            last_error: Some(_),
        } = &step.because
        {
            parts.push(words::reason(&step.because));
        }
        parts.join("  ")
    };
    members.iter().map(row).collect()
}

fn exports(plan: &Plan, steps: &[&Step]) -> Vec<Line> {
    let line = |step: &&Step| match &step.action {
        Action::Export {
            backup,
            to,
            kind,
            key,
            removes,
            ..
        } => Some(Line {
            what: format!("{} as {} -> {to}", plan.name_of(backup), kind.as_str()),
            note: line(key),
            details: removes
                .iter()
                .map(|key| format!("removes {} once it was read back", line(key)))
                .collect(),
            ..Line::of(step)
        }),
        _ => None,
    };
    steps.iter().filter_map(line).collect()
}

fn checks(plan: &Plan, steps: &[&Step]) -> Vec<Line> {
    let mut groups: Gathered<'_, (u8, String, String)> = BTreeMap::new();
    for step in steps {
        if let Action::Verify { backup, check, .. } = &step.action {
            let key = (
                check.check() as u8,
                words::check_spec(check),
                words::reason(&step.because),
            );
            groups.entry(key).or_default().push((step, *backup));
        }
    }
    let lines = groups.into_iter().map(|((_, spec, reason), members)| {
        let places: BTreeSet<&str> = members.iter().filter_map(|(step, _)| place(step)).collect();
        let places: Vec<&str> = places.into_iter().collect();
        Line {
            what: format!(
                "{spec}: {} at {}",
                named(plan, members.iter().map(|(_, backup)| backup)),
                places.join(", ")
            ),
            note: reason,
            ..Line::of(members[0].0)
        }
    });
    lines.collect()
}

fn place(step: &Step) -> Option<&str> {
    match &step.action {
        Action::Verify { destination, .. } | Action::Forget { destination, .. } => {
            Some(destination.as_str())
        }
        _ => None,
    }
}

/// Backups in few words: `dump, wal of this run`, `9c41d7e0, e07b12aa`, `12 backups`.
fn named<'a>(plan: &Plan, backups: impl Iterator<Item = &'a BackupRef>) -> String {
    let backups: BTreeSet<&BackupRef> = backups.collect();
    let old: Vec<String> = backups
        .iter()
        .filter(|backup| matches!(backup, BackupRef::Id(_)))
        .map(|backup| plan.name_of(backup))
        .collect();
    let new: Vec<String> = backups
        .iter()
        .filter(|backup| matches!(backup, BackupRef::Of(_)))
        .map(|backup| plan.name_of(backup).replace(" of this run", ""))
        .collect();
    let mut parts = Vec::new();
    if !new.is_empty() {
        parts.push(format!("{} of this run", new.join(", ")));
    }
    if old.len() > NAMED_MAX {
        parts.push(words::count(old.len() as u64, "backup"));
    } else {
        parts.extend(old);
    }
    parts.join(", ")
}

fn total(members: &[(&Step, BackupRef)]) -> String {
    let known: Vec<u64> = members.iter().filter_map(|(step, _)| step.bytes).collect();
    if known.is_empty() {
        return String::new();
    }
    words::about(
        known
            .iter()
            .fold(0, |sum, bytes| sum.saturating_add(*bytes)),
    )
}

/// Why backups are forgotten, without what differs from one to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ground {
    NotKept,
    Expired,
    NotStoredHere,
    Other,
}

fn forgets(plan: &Plan, strategy: &Strategy, steps: &[&Step]) -> Vec<Line> {
    let mut groups: BTreeMap<(Ground, Cause), Vec<&Step>> = BTreeMap::new();
    for step in steps {
        if matches!(step.action, Action::Forget { .. }) {
            let ground = match step.because {
                Reason::NotKept { .. } => Ground::NotKept,
                Reason::Expired { .. } => Ground::Expired,
                Reason::NotStoredHere => Ground::NotStoredHere,
                _ => Ground::Other,
            };
            groups.entry((ground, step.cause)).or_default().push(step);
        }
    }
    let lines = groups
        .into_values()
        .map(|members| forget(plan, strategy, &members));
    lines.collect()
}

fn forget(plan: &Plan, strategy: &Strategy, members: &[&Step]) -> Line {
    let mut dates: BTreeMap<Method, BTreeSet<jiff::civil::Date>> = BTreeMap::new();
    let mut backups: BTreeSet<BackupId> = BTreeSet::new();
    for step in members {
        if let Action::Forget {
            backup,
            started,
            method,
            ..
        } = &step.action
        {
            backups.insert(*backup);
            let day = started.to_zoned(jiff::tz::TimeZone::UTC).date();
            dates.entry(*method).or_default().insert(day);
        }
    }
    let places: BTreeSet<&str> = members.iter().filter_map(|step| place(step)).collect();
    let places: Vec<&str> = places.into_iter().collect();
    let bytes: u64 = members
        .iter()
        .filter_map(|step| step.bytes)
        .fold(0, u64::saturating_add);
    let trash = format!("after {} in trash", strategy.apply.trash);
    let reasons: BTreeSet<String> = members.iter().map(|s| words::reason(&s.because)).collect();
    let mut details: Vec<String> = reasons.into_iter().collect();
    if let Some(waits) = waits_for(plan, members) {
        details.push(waits);
    }
    Line {
        what: format!(
            "{} at {}",
            words::count(backups.len() as u64, "backup"),
            places.join(", ")
        ),
        note: if bytes > 0 {
            // What each added when it was made: what later ones share with it stays.
            format!("frees up to {} {trash}", words::size(bytes))
        } else {
            format!("gone {trash}")
        },
        details,
        lists: dates
            .into_iter()
            .map(|(method, days)| (method.as_str().to_owned(), words::days(&days)))
            .collect(),
        ..Line::of(members[0])
    }
}

/// What a forget waits for: the proof that it needs.
fn waits_for(plan: &Plan, members: &[&Step]) -> Option<String> {
    let needs: BTreeSet<_> = members.iter().flat_map(|step| &step.needs).collect();
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for need in needs {
        if let Some(step) = plan
            .step(*need)
            .filter(|step| !step.action.is_destructive())
        {
            *counts.entry(step.action.verb()).or_default() += 1;
        }
    }
    let parts: Vec<String> = counts
        .iter()
        .map(|(verb, n)| format!("{n} {verb}"))
        .collect();
    (!parts.is_empty()).then(|| {
        format!(
            "runs last, and only if these of this run succeed: {}",
            parts.join(", ")
        )
    })
}

fn held(plan: &Plan, component: &ComponentName) -> Vec<Line> {
    let mut groups: BTreeMap<(bool, String), Vec<&HeldBack>> = BTreeMap::new();
    for held in plan.held.iter().filter(|held| held.component == *component) {
        let on_hold = matches!(held.because, KeptBecause::Hold { .. });
        let key = (!on_hold, words::kept_because(&held.because));
        groups.entry(key).or_default().push(held);
    }
    let lines = groups.into_iter().map(|((not_on_hold, reason), members)| {
        let name = |held: &&HeldBack| {
            format!(
                "{}  {}  {}",
                held.backup.short(),
                held.method,
                words::day(held.started)
            )
        };
        let mut names: Vec<String> = members.iter().map(name).collect();
        let what = match names.len() {
            1 => names.remove(0),
            n => words::count(n as u64, "backup"),
        };
        Line {
            sign: '=',
            verb: if not_on_hold { "keep" } else { "hold" },
            what,
            why: String::new(),
            note: reason,
            details: Vec::new(),
            lists: if names.is_empty() {
                Vec::new()
            } else {
                vec![(String::new(), names)]
            },
            cause: None,
        }
    });
    lines.collect()
}
