//! Rules about how many copies there are and where: CCB201, 202, 203, 210.

use crate::model::ids::Address;
use crate::model::strategy::{
    Component, Destination, DestinationKind, Preset, SourceSpec, Strategy,
};
use crate::model::units::counted;
use crate::plan::check::paths::{host, is_loopback};
use crate::plan::check::{Broken, backed_up};
use crate::plan::document::{Action, BackupRef, Cause, Plan, Reason};
use crate::plan::settings::each_quoted;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) fn check(strategy: &Strategy) -> Vec<Broken> {
    let mut broken = Vec::new();
    for component in backed_up(strategy) {
        broken.extend(same_host(strategy, component));
        broken.extend(too_few(strategy, component));
        broken.extend(all_at_one_place(strategy, component));
    }
    broken
}

/// CCB210: copies that should have been there before this plan, and not because the file has changed.
pub(crate) fn missing(strategy: &Strategy, plan: &Plan) -> Vec<Broken> {
    let mut missing = BTreeMap::new();
    for step in plan.steps.iter().filter(|s| s.cause != Cause::Config) {
        if let (
            Action::Copy {
                component,
                backup: BackupRef::Id(_),
                to,
                ..
            },
            Reason::CopyMissing { last_error },
        ) = (&step.action, &step.because)
        {
            let entry = missing.entry((component, to)).or_insert((0, None));
            entry.0 += 1;
            entry.1 = last_error.as_ref().or(entry.1);
        }
    }
    let known = missing
        .into_iter()
        .filter(|((component, _), _)| strategy.component(component).is_some());
    known
        .map(|((component, to), (count, error))| {
            let last = error.map_or(String::new(), |(at, error)| {
                format!("; last error: {error}, {at}")
            });
            let (backups, are) = if count == 1 {
                ("backup", "is")
            } else {
                ("backups", "are")
            };
            let message = format!(
                "{count} {backups} of component.{component} {are} missing at destination.{to}{last}"
            );
            let help = "run `ccb apply`: this plan copies what is missing";
            let address = Address::component(component).child("store");
            Broken::new("CCB210", address, message, help).related(Address::destination(to))
        })
        .collect()
}

/// The machine that something is on.
#[derive(PartialEq, Eq)]
enum Host<'a> {
    This,
    Named(&'a str),
}

impl<'a> Host<'a> {
    fn of(name: &'a str) -> Self {
        if is_loopback(name) {
            Self::This
        } else {
            Self::Named(name)
        }
    }
    fn of_server(component: &'a Component) -> Option<Self> {
        match &component.source {
            SourceSpec::Postgres(postgres) => match postgres.host.as_deref() {
                // Behind `via` the host is the container's own, wherever that runs.
                _ if !postgres.via.is_empty() => None,
                Some(socket) if socket.starts_with('/') => Some(Self::This),
                Some(host) => Some(Self::of(host)),
                None => None,
            },
            SourceSpec::Files(_) => Some(Self::This),
            // A Redis server is named in a secret; a bucket has no host.
            SourceSpec::Redis(_) | SourceSpec::S3(_) => None,
        }
    }
    fn of_destination(destination: &'a Destination) -> Option<Self> {
        if let Some(host) = &destination.location.host {
            return Some(Self::of(host));
        }
        match &destination.kind {
            DestinationKind::Local { .. } => Some(Self::This),
            DestinationKind::Sftp { url } => host(url).map(Self::of),
            DestinationKind::S3 { endpoint, .. } => {
                endpoint.as_deref().and_then(host).map(Self::of)
            }
        }
    }
}

/// CCB201.
fn same_host<'a>(
    strategy: &'a Strategy,
    component: &'a Component,
) -> impl Iterator<Item = Broken> + 'a {
    let server = Host::of_server(component);
    let destinations = component
        .store
        .iter()
        .filter_map(|d| strategy.destination(d));
    destinations
        .filter(move |d| server.is_some() && Host::of_destination(d) == server)
        .map(move |destination| {
            let (at, to) = (
                Address::component(&component.name),
                Address::destination(&destination.name),
            );
            let host = match &destination.location.host {
                Some(host) => format!("host \"{host}\""),
                None => "the same host".to_owned(),
            };
            let message = if destination.location.host.is_some() {
                format!("{to} is on {host}, the server of {at} too")
            } else {
                format!("{to} is on {host} as the server of {at}")
            };
            let help = format!(
                "if it is another machine, say so in destination \"{}\": location host=\"...\"",
                destination.name
            );
            Broken::new("CCB201", at.child("store"), message, help).related(to)
        })
}

/// CCB202. Two names for one place are one copy.
fn too_few(strategy: &Strategy, component: &Component) -> Option<Broken> {
    let policy = &strategy.policy;
    let preset = match policy.preset {
        None | Some(Preset::Production) => 2,
        Some(Preset::Staging | Preset::Development) => 1,
    };
    let required = policy.copies.as_ref().map_or(preset, |m| m.min as usize);
    let places: BTreeSet<String> = component
        .store
        .iter()
        .filter_map(|name| strategy.destination(name))
        .map(|d| format!("{:?}", d.kind))
        .collect();
    if places.len() >= required {
        return None;
    }
    let at = Address::component(&component.name);
    let are = if required == 1 { "is" } else { "are" };
    let message = format!(
        "{at} has {}, {required} {are} required",
        counted(places.len() as u64, "copy", "copies")
    );
    let broken = Broken::new(
        "CCB202",
        at.child("store"),
        message,
        more(strategy, component, |_| true),
    );
    Some(match policy.copies {
        Some(_) => broken.related(Address("policy.copies".to_owned())),
        None => broken,
    })
}

/// CCB203.
fn all_at_one_place(strategy: &Strategy, component: &Component) -> Option<Broken> {
    let required = strategy
        .policy
        .offsite
        .as_ref()
        .map_or(1, |m| m.min as usize);
    let stored: Vec<&Destination> = component
        .store
        .iter()
        .filter_map(|name| strategy.destination(name))
        .collect();
    let first = *stored.first()?;
    let away = stored.iter().filter(|d| is_away(d, first)).count();
    if away >= required {
        return None;
    }
    let at = Address::component(&component.name);
    let message = match away {
        0 => format!("{at} has no destination in another region or with another provider"),
        _ => format!("{at} has {away} off-site copies, {required} are required"),
    };
    let help = more(strategy, component, |d| is_away(d, first));
    let broken = Broken::new("CCB203", at.child("store"), message, help);
    Some(match strategy.policy.offsite {
        Some(_) => broken.related(Address("policy.offsite".to_owned())),
        None => broken,
    })
}

/// Said to be off site, or known to be elsewhere than the first destination.
fn is_away(destination: &Destination, first: &Destination) -> bool {
    let differs = |a: &Option<String>, b: &Option<String>| a.is_some() && b.is_some() && a != b;
    let (here, there) = (&first.location, &destination.location);
    there.offsite
        || differs(&there.provider, &here.provider)
        || differs(&there.region, &here.region)
}

/// A `store` line with one more destination, if the file has one that fits.
fn more(strategy: &Strategy, component: &Component, fits: impl Fn(&Destination) -> bool) -> String {
    let further = strategy
        .destinations
        .iter()
        .find(|d| !component.store.contains(&d.name) && fits(d));
    let mut names = component.store.clone();
    match further {
        Some(destination) => {
            names.push(destination.name.clone());
            format!("store {}", each_quoted(&names))
        }
        None => format!(
            "add a destination elsewhere, with location offsite=#true: store {} \"...\"",
            each_quoted(&names)
        ),
    }
}
