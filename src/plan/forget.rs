//! Decides what is forgotten, and what stays although no rule keeps it. Nothing is forgotten without proof: a
//! newer backup that serves the same purpose, stays, and is verified, or is verified by this run first.

use crate::model::ids::{Address, DestinationName};
use crate::model::inventory::Held;
use crate::model::strategy::Method;
use crate::plan::backups::{FORGET, Made, key};
use crate::plan::checks::{Proofs, newest_of_each_method};
use crate::plan::document::{Action, Cause, HeldBack, Kept, KeptBecause, Reason};
use crate::plan::draft::{Draft, Drafts, Key};
use crate::plan::keep::Verdict;
use crate::plan::world::{Copies, View, World};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// Backups that stay, and drafts of those that go.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    /// Kept by rules, holds, or because they are nobody's.
    pub kept: Vec<Kept>,
    /// Kept by nothing of that.
    pub held: Vec<HeldBack>,
    /// Forget steps, by destination.
    pub forgets: BTreeMap<DestinationName, Vec<usize>>,
}

/// What this run makes and proves for one component.
#[derive(Debug)]
pub(crate) struct Run<'r, 'a> {
    /// Its backups.
    pub made: &'r [Made<'a>],
    /// Its checks.
    pub proofs: &'r Proofs,
}

/// Judges every backup of a component; `verdicts` are those of the rules, in the order of its backups.
pub(crate) fn judge_component(
    world: &World,
    view: &View,
    verdicts: &[Verdict],
    run: &Run,
    drafts: &mut Drafts,
    judged: &mut Judged,
) {
    let case = Case::new(world, view, verdicts, run);
    for (copies, verdict) in view.backups.iter().zip(verdicts) {
        if verdict.is_kept() {
            judged.kept.push(kept(view, copies, verdict));
        }
        let Some(because) = case.reason(verdict) else {
            case.forget_elsewhere(copies, drafts, judged);
            continue;
        };
        let everywhere = case.stays_everywhere(copies);
        let mut holds_back = everywhere.clone();
        if everywhere.is_none() {
            for (at, held) in &copies.at {
                match case.proof(copies, at, held) {
                    Ok(needs) => {
                        let step = case.draft(copies, at, needs, because.clone());
                        let list = judged.forgets.entry((*at).clone()).or_default();
                        list.push(drafts.push(step));
                    }
                    Err(stays) => holds_back = holds_back.or(Some(stays)),
                }
            }
        }
        if let Some(because) = holds_back {
            judged.held.push(HeldBack {
                backup: copies.facts.id,
                component: view.spec.name.clone(),
                started: copies.facts.started,
                method: copies.facts.method,
                because,
            });
        }
    }
}

/// Lists backups that are not this plan's to judge.
pub(crate) fn keep_unmanaged(world: &World, judged: &mut Judged) {
    judged.kept.extend(world.unmanaged.iter().map(|facts| Kept {
        backup: facts.id,
        component: facts.component.clone(),
        started: facts.started,
        method: facts.method,
        because: vec![KeptBecause::NotManaged],
    }));
}

/// A verified backup that stays, and the checks of this run that make it so.
struct Proof {
    started: Timestamp,
    needs: Vec<usize>,
}

/// All that the judgement of one component rests on, looked up once.
struct Case<'c, 'a> {
    world: &'c World<'a>,
    view: &'c View<'a>,
    run: &'c Run<'c, 'a>,
    newest: BTreeSet<crate::model::ids::BackupId>,
    /// Bases that stay, as beginning and end of the WAL backups that each needs.
    bases: Vec<(Timestamp, Option<Timestamp>)>,
    /// The newest proof by method and destination.
    proofs: BTreeMap<(Method, &'a DestinationName), Proof>,
    newest_good: BTreeMap<Method, Timestamp>,
}

impl<'c, 'a> Case<'c, 'a> {
    fn new(
        world: &'c World<'a>,
        view: &'c View<'a>,
        verdicts: &[Verdict],
        run: &'c Run<'c, 'a>,
    ) -> Self {
        let of_run: BTreeSet<Method> = run.made.iter().map(|made| made.method).collect();
        let newest = newest_of_each_method(world, view);
        let mut newest_good: BTreeMap<Method, Timestamp> = newest
            .iter()
            .map(|copies| (copies.facts.method, copies.facts.started))
            .collect();
        newest_good.extend(of_run.iter().map(|method| (*method, world.at)));
        let mut case = Self {
            world,
            view,
            run,
            newest: newest
                .iter()
                .filter(|copies| !of_run.contains(&copies.facts.method))
                .map(|copies| copies.facts.id)
                .collect(),
            bases: Vec::new(),
            proofs: BTreeMap::new(),
            newest_good,
        };
        for (copies, verdict) in view.backups.iter().zip(verdicts) {
            case.note_base(copies, verdict);
        }
        for (copies, verdict) in view.backups.iter().zip(verdicts).rev() {
            case.note_proof(copies, verdict);
        }
        case
    }

    /// What a base needs is archived while it is taken: it is in the WAL backups from its beginning to the
    /// first one that begins after its end.
    fn note_base(&mut self, copies: &Copies<'a>, verdict: &Verdict) {
        let facts = copies.facts;
        let stays = verdict.is_kept() || copies.hold().is_some() || self.newest.contains(&facts.id);
        if facts.method == Method::Base && facts.complete && stays {
            let mut wal = self.view.backups.iter().map(|copies| copies.facts);
            let last = wal.find(|w| w.method == Method::Wal && w.started >= facts.finished);
            self.bases
                .push((facts.started, last.map(|last| last.started)));
        }
    }

    /// The base that is nothing without this WAL backup.
    fn base_that_needs(&self, facts: &crate::model::records::Manifest) -> Option<Timestamp> {
        let needs = |(first, last): &&(Timestamp, Option<Timestamp>)| {
            *first <= facts.started && last.is_none_or(|last| facts.started <= last)
        };
        let base = self.bases.iter().find(needs);
        base.filter(|_| facts.method == Method::Wal)
            .map(|(base, _)| *base)
    }

    /// Newest first: the first proof for a method and destination is the one that counts.
    fn note_proof(&mut self, copies: &Copies<'a>, verdict: &Verdict) {
        let facts = copies.facts;
        let is_good = facts.complete && facts.started <= self.world.at;
        let stays = verdict.is_kept() || copies.hold().is_some() || self.newest.contains(&facts.id);
        if !is_good || !stays {
            return;
        }
        let planned = self.run.proofs.of_existing.get(&facts.id);
        let was_never_checked = copies.evidence().next().is_none();
        let needs = match planned {
            _ if copies.is_verified() => Vec::new(),
            Some(checks) if was_never_checked => checks.clone(),
            _ => return,
        };
        for (at, _) in &copies.at {
            self.proofs.entry((facts.method, at)).or_insert(Proof {
                started: facts.started,
                needs: needs.clone(),
            });
        }
    }

    /// Why the rules let it go; `None` when they keep it.
    fn reason(&self, verdict: &Verdict) -> Option<Reason> {
        if verdict.is_kept() {
            return None;
        }
        Some(match verdict.expired {
            Some(cap) => Reason::Expired { cap },
            None => Reason::NotKept {
                was: verdict.was.map(|(keep, _)| keep),
                ends_at: verdict.was.map(|(_, ends_at)| ends_at),
            },
        })
    }

    /// What keeps it at every destination, whatever the rules say.
    fn stays_everywhere(&self, copies: &Copies) -> Option<KeptBecause> {
        let facts = copies.facts;
        if let Some((by, reason)) = copies.hold() {
            return Some(KeptBecause::Hold {
                by: by.to_owned(),
                reason: reason.to_owned(),
            });
        }
        if facts.started > self.world.at {
            return Some(KeptBecause::FutureDated);
        }
        if self.newest.contains(&facts.id) {
            return Some(KeptBecause::Newest);
        }
        if let Some(base) = self.base_that_needs(facts) {
            return Some(KeptBecause::BaseNeedsIt { base });
        }
        let is_replaced = || {
            let newer = |method: &Method| self.newest_good.get(method) > Some(&facts.started);
            Method::ALL
                .iter()
                .any(|m| replaces(*m, facts.method) && newer(m))
        };
        (!facts.complete && !is_replaced()).then_some(KeptBecause::Incomplete)
    }

    /// The steps that must be done before it is forgotten at `at`, or why it can not be.
    fn proof(
        &self,
        copies: &Copies,
        at: &DestinationName,
        held: &Held,
    ) -> Result<Vec<usize>, KeptBecause> {
        self.may_touch(at, held)?;
        let facts = copies.facts;
        let is_stored_here = self.view.spec.store.contains(at);
        // Where nothing new arrives, the proof is at a destination that is still written to.
        let places = self
            .view
            .spec
            .store
            .iter()
            .filter(|name| match is_stored_here {
                true => *name == at,
                false => self.world.is_seen(name),
            });
        let methods: Vec<Method> = Method::ALL
            .into_iter()
            .filter(|method| replaces(*method, facts.method))
            .collect();
        let mut needs = self.run.proofs.of_run.clone();
        for place in places {
            let arrives = |made: &Made| made.reaches.iter().any(|(name, _)| *name == place);
            let of_run = self.run.made.iter().filter(|m| methods.contains(&m.method));
            if of_run.filter(|made| arrives(made)).count() > 0 {
                return Ok(needs);
            }
            let proofs = methods.iter().filter_map(|m| self.proofs.get(&(*m, place)));
            let newer = proofs.filter(|proof| proof.started > facts.started);
            if let Some(proof) = newer.min_by_key(|proof| proof.needs.len()) {
                needs.extend(&proof.needs);
                return Ok(needs);
            }
        }
        Err(match copies.is_verified() {
            true => KeptBecause::LastVerified,
            false => KeptBecause::NothingNewer,
        })
    }

    /// Where not all was seen, or objects are locked, nothing is forgotten.
    fn may_touch(&self, at: &DestinationName, held: &Held) -> Result<(), KeptBecause> {
        if !self.world.is_seen(at) {
            return Err(KeptBecause::NotSeen {
                destination: at.clone(),
            });
        }
        match held
            .manifest
            .retain_until
            .filter(|until| *until > self.world.at)
        {
            Some(until) => Err(KeptBecause::Locked { until }),
            None => Ok(()),
        }
    }

    /// A backup that the rules keep goes from destinations that are not in `store` any longer, once every one
    /// that is holds it, and it is verified.
    fn forget_elsewhere(&self, copies: &Copies, drafts: &mut Drafts, judged: &mut Judged) {
        let store = &self.view.spec.store;
        let arrived = |name| self.world.is_seen(name) && copies.copy_at(name).is_some();
        let is_safe = !store.is_empty()
            && store.iter().all(arrived)
            && copies.is_verified()
            && copies.hold().is_none()
            && copies.facts.started <= self.world.at;
        for (at, held) in copies.at.iter().filter(|(at, _)| !store.contains(at)) {
            if is_safe && self.may_touch(at, held).is_ok() {
                let needs = self.run.proofs.of_run.clone();
                let step = self.draft(copies, at, needs, Reason::NotStoredHere);
                let list = judged.forgets.entry((*at).clone()).or_default();
                list.push(drafts.push(step));
            }
        }
    }

    fn draft(
        &self,
        copies: &Copies,
        at: &DestinationName,
        needs: Vec<usize>,
        because: Reason,
    ) -> Draft {
        let facts = copies.facts;
        let address = self.view.address();
        Draft {
            address: address.clone(),
            action: Action::Forget {
                component: self.view.spec.name.clone(),
                backup: facts.id,
                destination: at.clone(),
                started: facts.started,
                method: facts.method,
            },
            needs,
            after: Vec::new(),
            cause: match because {
                Reason::NotStoredHere => Cause::Config,
                _ => Cause::Schedule,
            },
            because,
            bytes: Some(facts.stats.stored_bytes),
            key: Key {
                backup: Some(facts.id),
                destination: self.world.order(at),
                ..key(self.view, FORGET, facts.started)
            },
            labels: vec![
                address,
                Address::destination(at),
                Address::backup(&facts.id),
            ],
            made_by: None,
        }
    }
}

/// Whether a newer backup by `newer` makes an older one by `older` dispensable. A log is no use without its base.
fn replaces(newer: Method, older: Method) -> bool {
    let files = |m| matches!(m, Method::Full | Method::Incremental);
    let redis = |m| matches!(m, Method::Aof | Method::Rdb);
    newer == older
        || files(newer) && files(older)
        || redis(newer) && redis(older)
        || newer == Method::Base && older == Method::Wal
}

fn kept(view: &View, copies: &Copies, verdict: &Verdict) -> Kept {
    let hold = copies.hold().map(|(by, reason)| KeptBecause::Hold {
        by: by.to_owned(),
        reason: reason.to_owned(),
    });
    Kept {
        backup: copies.facts.id,
        component: view.spec.name.clone(),
        started: copies.facts.started,
        method: copies.facts.method,
        because: verdict.because.iter().cloned().chain(hold).collect(),
    }
}
