//! What only shows across components and destinations: cycles, one place under two names, and which
//! environment variables the plan reads.

use crate::model::ids::ComponentName;
use crate::model::strategy::{DestinationKind, Place, SecretRef, SourceSpec, Strategy};
use crate::plan_file::diagnostic::Problem;
use crate::plan_file::syntax::Element;
use std::collections::{BTreeMap, BTreeSet};

/// Problems between the parts of a strategy.
pub(crate) fn check(strategy: &Strategy, elements: &[Element], problems: &mut Vec<Problem>) {
    cycles(strategy, elements, problems);
    same_place(strategy, elements, problems);
}

/// Secrets that the enabled parts of a strategy refer to.
pub(crate) fn secrets(strategy: &Strategy) -> Vec<&SecretRef> {
    let used = |name| {
        strategy
            .destinations
            .iter()
            .any(|d| d.encrypt.as_ref() == Some(name))
    };
    let mut secrets: Vec<&SecretRef> = Vec::new();
    let keys = strategy.encryptions.iter().filter(|e| used(&e.name));
    secrets.extend(keys.map(|e| &e.key));
    for component in strategy.components.iter().filter(|c| c.enabled) {
        match &component.source {
            SourceSpec::Postgres(postgres) => secrets.extend(&postgres.password),
            SourceSpec::Redis(redis) => secrets.push(&redis.url),
            SourceSpec::Files(_) | SourceSpec::S3(_) => {}
        }
        let test = component.verify.restore_test.as_ref();
        let server = test.and_then(|test| test.server.as_ref());
        secrets.extend(server.and_then(|server| server.password.as_ref()));
        secrets.extend(
            component
                .exports
                .iter()
                .filter_map(|export| export.key.as_ref()),
        );
    }
    for notify in &strategy.notify {
        secrets.extend(&notify.healthchecks);
        secrets.extend(notify.webhooks.iter().map(|webhook| &webhook.url));
    }
    secrets
}

/// Fills in the names of the environment variables that secrets are found in.
pub(crate) fn env_names(strategy: &mut Strategy) {
    let names: BTreeSet<String> = secrets(strategy)
        .into_iter()
        .filter_map(|secret| match secret {
            SecretRef::Env(name) if !name.is_empty() => Some(name.clone()),
            _ => None,
        })
        .collect();
    strategy.env_names = names.into_iter().collect();
}

fn named<'a>(elements: &'a [Element], kind: &str, name: &str) -> Option<&'a Element> {
    elements
        .iter()
        .find(|element| element.name == kind && element.first() == Some(name))
}

/// Where `component` says that it runs after `other`.
fn after_place(elements: &[Element], component: &str, other: &str) -> Option<Place> {
    let component = named(elements, "component", component)?;
    let mut args = component.each("after").flat_map(|after| &after.args);
    args.find(|arg| arg.data.as_str() == Some(other))
        .map(|arg| arg.place)
}

fn cycles(strategy: &Strategy, elements: &[Element], problems: &mut Vec<Problem>) {
    let edges: BTreeMap<&ComponentName, &[ComponentName]> = strategy
        .components
        .iter()
        .map(|component| (&component.name, component.after.as_slice()))
        .collect();
    let mut done = BTreeSet::new();
    for start in edges.keys() {
        let Some(ring) = ring_from(start, &edges, &mut done) else {
            continue;
        };
        let mut drawn: Vec<&str> = ring.iter().map(|name| name.as_str()).collect();
        drawn.push(drawn[0]);
        let message = format!("components wait for each other: {}", drawn.join(" -> "));
        let mut problem: Option<Problem> = None;
        for pair in drawn.windows(2) {
            let Some(place) = after_place(elements, pair[0], pair[1]) else {
                continue;
            };
            let label = format!("\"{}\" waits for \"{}\"", pair[0], pair[1]);
            problem = Some(match problem {
                None => Problem::error("ccb::config::cycle", &message, place, label),
                Some(problem) => problem.and(place, label),
            });
        }
        problems.extend(problem.map(|problem| problem.help("remove one of these `after`")));
    }
}

/// A ring that is reachable from `start`, without what leads to it. Walks with a stack of its own:
/// a plan file may have thousands of components in a row.
fn ring_from<'a>(
    start: &'a ComponentName,
    edges: &BTreeMap<&'a ComponentName, &'a [ComponentName]>,
    done: &mut BTreeSet<&'a ComponentName>,
) -> Option<Vec<&'a ComponentName>> {
    let mut path: Vec<(&ComponentName, usize)> = Vec::new();
    let mut on_path = BTreeSet::new();
    if done.insert(start) {
        path.push((start, 0));
        on_path.insert(start);
    }
    while let Some((name, next)) = path.last_mut() {
        let after = edges.get(*name).copied().unwrap_or_default();
        let Some(target) = after.get(*next) else {
            on_path.remove(*name);
            path.pop();
            continue;
        };
        *next += 1;
        if on_path.contains(target) {
            let from = path.iter().position(|(name, _)| *name == target)?;
            return Some(path[from..].iter().map(|(name, _)| *name).collect());
        }
        if done.insert(target) {
            on_path.insert(target);
            path.push((target, 0));
        }
    }
    None
}

/// Two destinations at one place would count as two copies and be one.
fn same_place(strategy: &Strategy, elements: &[Element], problems: &mut Vec<Problem>) {
    let mut seen = BTreeMap::new();
    for destination in &strategy.destinations {
        let (kind, place) = match &destination.kind {
            DestinationKind::Local { path } => ("local", (path.trim_start_matches("./"), None)),
            DestinationKind::S3 { url, endpoint, .. } => {
                ("s3", (url.as_str(), endpoint.as_deref()))
            }
            DestinationKind::Sftp { url } => ("sftp", (url.as_str(), None)),
        };
        let place = (kind, place.0.trim_end_matches('/'), place.1);
        let at = |name: &str| {
            let element = named(elements, "destination", name)?.child(kind)?;
            Some(element.args.first()?.place)
        };
        let name = destination.name.as_str();
        let Some(first) = seen.insert(place, name).filter(|first| *first != name) else {
            continue;
        };
        let (Some(here), Some(there)) = (at(name), at(first)) else {
            continue;
        };
        problems.push(
            Problem::error(
                "ccb::config::same_place",
                format!("destinations \"{first}\" and \"{name}\" are one place"),
                here,
                "the same place again",
            )
            .and(there, "first used here")
            .help("a second copy needs a second place: change the path, or remove one destination"),
        );
    }
}
