//! Makes the plan: asks each part what is to be done for each component, and puts the answers together. It
//! decides nothing itself, and leaves `findings` and `changes` to the policies and the comparison.

use crate::model::ids::{Address, DestinationName, Digest, RepositoryId};
use crate::model::inventory::Inventory;
use crate::model::strategy::Strategy;
use crate::model::units::AsOf;
use crate::plan::backups::{self, Made};
use crate::plan::basis::inventory_digest;
use crate::plan::bucket;
use crate::plan::checks;
use crate::plan::copies::{self, Failures};
use crate::plan::document::{Action, Cause, HeldBack, Kept, NotDue, Plan, Reason, Step, Summary};
use crate::plan::draft::{Draft, Drafts, Key, Wanted};
use crate::plan::exports;
use crate::plan::forget::{self, Judged, Run};
use crate::plan::graph::Cycle;
use crate::plan::keep::{Subject, Taken, Verdict, judge};
use crate::plan::prune;
use crate::plan::request::Request;
use crate::plan::world::{View, World};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// Decides everything that is to be done at `at`. Fails only when components wait for each other in a circle,
/// which the reader of plan files refuses with its place.
pub fn plan(
    strategy: &Strategy,
    inventory: &Inventory,
    at: AsOf,
    request: &Request,
) -> Result<Plan, Cycle> {
    plan_on(
        strategy,
        inventory,
        inventory_digest(inventory),
        at,
        request,
    )
}

/// [`plan`], with the inventory's fingerprint, which takes long where there are thousands of backups.
pub(crate) fn plan_on(
    strategy: &Strategy,
    inventory: &Inventory,
    fingerprint: Digest,
    at: AsOf,
    request: &Request,
) -> Result<Plan, Cycle> {
    let world = World::new(strategy, inventory, at.0);
    let decided = decide(&world, request)?;
    Ok(document(&world, fingerprint, decided))
}

/// What a plan is about, without the head of its document.
#[derive(Debug)]
pub(crate) struct Decided {
    pub steps: Vec<Step>,
    pub kept: Vec<Kept>,
    pub held: Vec<HeldBack>,
    pub not_due: Vec<NotDue>,
    pub summary: Summary,
}

/// Asks each part, and puts the answers together.
pub(crate) fn decide(world: &World, request: &Request) -> Result<Decided, Cycle> {
    let mut drafts = Drafts::default();
    let ready = draft_repositories(world, &mut drafts);
    let failures = Failures::new(world);
    let mut not_due = Vec::new();
    let mut judged = Judged::default();
    let mut made_of: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for view in &world.views {
        let mut owed = backups::owed(world, view, request);
        not_due.append(&mut owed.not_due);
        let set = bucket::draft_settings(view, world.inventory, world.at, &mut drafts);
        backups::draft_look(view, &owed, set, &mut drafts);
        let (verdicts, made) = judge_and_back_up(world, view, &owed, &ready, &mut drafts);
        let of_view = made_of.entry(&view.spec.name).or_default();
        of_view.extend(made.iter().map(|made| made.draft));
        exports::draft_exports(world, view, &verdicts, &made, &mut drafts);
        let proofs = checks::draft_checks(world, view, &made, &mut drafts);
        let run = Run {
            made: &made,
            proofs: &proofs,
        };
        forget::judge_component(world, view, &verdicts, &run, &mut drafts, &mut judged);
        for (copies, verdict) in view.backups.iter().zip(&verdicts) {
            if verdict.is_kept() || copies.hold().is_some() {
                copies::draft_missing(world, view, copies, &failures, &ready, &mut drafts);
            }
        }
    }
    forget::keep_unmanaged(world, &mut judged);
    prune::draft_prunes(world, &judged.forgets, &mut drafts);
    for view in &world.views {
        let first = view.spec.after.iter().filter_map(|name| made_of.get(name));
        let first: Vec<usize> = first.flatten().copied().collect();
        for made in &made_of[&view.spec.name] {
            drafts.go_after(*made, first.clone());
        }
    }
    let steps = drafts.into_steps(Wanted {
        target: &request.target,
        exclude: &request.exclude,
        only_requested: !request.backups.is_empty(),
    })?;
    Ok(Decided {
        summary: Summary::of(&steps, &judged.held),
        steps,
        kept: judged.kept,
        held: judged.held,
        not_due,
    })
}

/// The plan around what was decided, made on what was seen.
pub(crate) fn document(world: &World, fingerprint: Digest, decided: Decided) -> Plan {
    let (strategy, inventory) = (world.strategy, world.inventory);
    let root = strategy.files.first();
    Plan {
        file: root.map_or_else(String::new, |file| file.path.clone()),
        name: strategy.name.clone(),
        environment: strategy.environment.clone(),
        timezone: strategy.timezone.clone(),
        at: AsOf(world.at),
        expires: strategy.apply.plan_max_age.after(world.at),
        config: strategy.digest(),
        inventory: fingerprint,
        repositories: repositories(inventory),
        last_apply: last_apply(inventory),
        unseen: unseen(world),
        single_writer: single_writer(inventory),
        unseen_sources: bucket::unseen(strategy, inventory),
        drift: bucket::left_alone(strategy, inventory),
        changes: Vec::new(),
        summary: decided.summary,
        steps: decided.steps,
        kept: decided.kept,
        held: decided.held,
        not_due: decided.not_due,
        findings: Vec::new(),
    }
}

/// Judges the backups of a component as they will be once this run's are made, and drafts these.
fn judge_and_back_up<'a>(
    world: &World,
    view: &View<'a>,
    owed: &'a backups::Owed,
    ready: &BTreeMap<DestinationName, usize>,
    drafts: &mut Drafts,
) -> (Vec<Verdict>, Vec<Made<'a>>) {
    let home = backups::home(world, view);
    let fresh: Vec<_> = home.iter().flat_map(|_| &owed.backups).collect();
    // Backups dated in the future stay behind this run's.
    let past = view
        .backups
        .partition_point(|c| c.facts.started <= world.at);
    let existing = view.backups.iter().map(|copies| {
        let taken = Taken::from(copies.facts);
        Subject::new(taken, copies.is_tested(), copies.is_released(), &world.zone)
    });
    let mut subjects: Vec<Subject> = existing.collect();
    subjects.splice(
        past..past,
        fresh.iter().map(|(method, fresh)| {
            let taken = Taken {
                method: **method,
                started: world.at,
                finished: world.at,
                complete: true,
                slots: &fresh.slots,
                tags: &fresh.tags,
            };
            Subject::new(taken, false, false, &world.zone)
        }),
    );
    let mut verdicts = judge(&view.spec.retain, &subjects, world.at);
    let of_fresh: Vec<Verdict> = verdicts.splice(past..past + fresh.len(), []).collect();
    let made = home.map(|home| {
        let with_tiers = fresh.iter().zip(&of_fresh);
        let each = with_tiers.map(|((method, fresh), verdict)| {
            let what = (**method, *fresh, verdict.tiers());
            backups::draft_backup(world, view, what, home, ready, drafts)
        });
        each.collect()
    });
    (verdicts, made.unwrap_or_default())
}

/// Every destination in use that surely has no repository gets one.
fn draft_repositories(world: &World, drafts: &mut Drafts) -> BTreeMap<DestinationName, usize> {
    let stores = world.views.iter().flat_map(|view| &view.spec.store);
    let used: BTreeSet<&DestinationName> = stores.collect();
    let names = world.strategy.destinations.iter().map(|d| &d.name);
    let lacks_one = |name: &&DestinationName| {
        let holding = world.holding(name);
        holding.is_some_and(|h| h.coverage.is_complete() && h.repository.is_none())
    };
    let mut ready = BTreeMap::new();
    for name in names.filter(|name| used.contains(name)).filter(lacks_one) {
        let address = Address::destination(name);
        let draft = drafts.push(Draft {
            address: address.clone(),
            action: Action::Initialize {
                destination: name.clone(),
            },
            needs: Vec::new(),
            after: Vec::new(),
            // The file asks for what is not there. That the file changed is found by comparing with the last one.
            cause: Cause::Drift,
            because: Reason::NoRepository,
            bytes: None,
            key: Key {
                group: 0,
                verb: 0,
                time: Timestamp::MIN,
                backup: None,
                detail: 0,
                destination: world.order(name),
            },
            labels: vec![address],
            made_by: None,
        });
        ready.insert(name.clone(), draft);
    }
    ready
}

fn repositories(inventory: &Inventory) -> BTreeMap<DestinationName, RepositoryId> {
    let each = inventory.destinations.iter();
    each.filter_map(|(name, holding)| Some((name.clone(), holding.repository.as_ref()?.id)))
        .collect()
}

fn last_apply(inventory: &Inventory) -> Option<Timestamp> {
    let runs = inventory.destinations.values().flat_map(|h| &h.runs);
    runs.map(|run| run.finished).max()
}

fn unseen(world: &World) -> BTreeMap<DestinationName, String> {
    let names = world.strategy.destinations.iter().map(|d| &d.name);
    names
        .filter_map(|name| Some((name.clone(), world.why_unseen(name)?)))
        .collect()
}

fn single_writer(inventory: &Inventory) -> Vec<DestinationName> {
    let each = inventory.destinations.iter();
    each.filter(|(_, holding)| holding.repository.as_ref().is_some_and(|r| r.single_writer))
        .map(|(name, _)| name.clone())
        .collect()
}
