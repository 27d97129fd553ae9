//! Decides what is to be proved of which backup: every new one is checked where it arrives, the newest are read
//! back and restored every so often. Forgetting rests on these checks, so presence is always among them.

use crate::model::ids::{Address, BackupId, DestinationName};
use crate::model::records::Check;
use crate::model::strategy::Method;
use crate::model::units::Period;
use crate::plan::backups::{Made, VERIFY, key};
use crate::plan::document::{Action, BackupRef, Cause, CheckSpec, Reason};
use crate::plan::draft::{Draft, Drafts, Key, made_by};
use crate::plan::world::{Copies, View, World};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// Drafts of checks, by what they prove.
#[derive(Debug, Default)]
pub(crate) struct Proofs {
    /// Of this run's backups: all of their checks.
    pub of_run: Vec<usize>,
    /// Of backups that exist and were not checked yet.
    pub of_existing: BTreeMap<BackupId, Vec<usize>>,
}

/// A backup to look at, and where.
struct Subject<'a> {
    backup: BackupRef,
    at: &'a DestinationName,
    needs: Vec<usize>,
    time: Timestamp,
    labels: Vec<Address>,
    made_by: Option<usize>,
}

/// Drafts every check of a component.
pub(crate) fn draft_checks(
    world: &World,
    view: &View,
    made: &[Made],
    drafts: &mut Drafts,
) -> Proofs {
    let mut proofs = Proofs::default();
    for made in made {
        for (position, (at, bring)) in made.reaches.iter().enumerate() {
            for check in after_backup(world, view, at, position == 0) {
                let subject = of_made(world, view, made, at, *bring);
                let (cause, because) = (made.cause(), Reason::AfterBackup);
                proofs
                    .of_run
                    .push(drafts.push(draft(world, view, subject, check, cause, because)));
            }
        }
    }
    for copies in newest_of_each_method(world, view) {
        if made.iter().any(|made| made.method == copies.facts.method) {
            continue;
        }
        let Some(at) = first_holding(world, view, copies) else {
            continue;
        };
        for check in after_backup(world, view, at, true) {
            if !copies.was_checked(check.check()) {
                let subject = of_existing(view, copies, at);
                let step = draft(
                    world,
                    view,
                    subject,
                    check,
                    Cause::Drift,
                    Reason::AfterBackup,
                );
                let list = proofs.of_existing.entry(copies.facts.id).or_default();
                list.push(drafts.push(step));
            }
        }
    }
    draft_due(world, view, made, drafts);
    proofs
}

/// Checks that every backup gets where it arrives.
fn after_backup(
    world: &World,
    view: &View,
    at: &DestinationName,
    is_first: bool,
) -> Vec<CheckSpec> {
    let settings = &view.spec.verify;
    let mut checks = vec![CheckSpec::Presence];
    if settings.contents.is_some() && is_first {
        checks.push(CheckSpec::Contents);
    }
    let is_sealed = world
        .strategy
        .destination(at)
        .is_some_and(|d| d.encrypt.is_some());
    if settings.encrypted && is_sealed {
        checks.push(CheckSpec::Encrypted);
    }
    checks
}

/// Whether a backup by that method is a copy of a server's files or log.
pub(crate) fn is_physical(method: Method) -> bool {
    matches!(method, Method::Base | Method::Wal)
}

/// Checks that are made every so often, on the newest backup there is or will be.
fn draft_due(world: &World, view: &View, made: &[Made], drafts: &mut Drafts) {
    let newest = newest_of_each_method(world, view);
    let methods: BTreeSet<Method> = newest
        .iter()
        .map(|copies| copies.facts.method)
        .chain(made.iter().map(|made| made.method))
        .collect();
    let subject = |method: Method, at| {
        let made = made.iter().find(|made| made.method == method);
        let bring = made.and_then(|m| Some((m, m.reaches.iter().find(|(d, _)| *d == at)?.1)));
        match bring {
            Some((made, bring)) => Some(Subject {
                // What is due anyway is no part of a backup on demand.
                made_by: None,
                ..of_made(world, view, made, at, bring)
            }),
            None => {
                let mut held = view.good(world.at).filter(|c| c.facts.method == method);
                let copies = held.find(|copies| copies.copy_at(at).is_some())?;
                Some(of_existing(view, copies, at))
            }
        }
    };
    let store = || {
        view.spec
            .store
            .iter()
            .filter(|name| world.is_writable(name))
    };
    if let Some(integrity) = &view.spec.verify.integrity {
        let check = CheckSpec::Integrity {
            sample: integrity.sample,
        };
        for method in &methods {
            for at in store() {
                let of = |c: &Copies| c.facts.method == *method;
                let last = Last::of(view, Check::Integrity, of, Some(at));
                if let Some(because) = last.due(integrity.every, world.at)
                    && let Some(subject) = subject(*method, at)
                {
                    drafts.push(draft(world, view, subject, check, Cause::Schedule, because));
                }
            }
        }
    }
    if let Some(test) = &view.spec.verify.restore_test {
        let check = CheckSpec::RestoreTest {
            into: test.into,
            files: test.files,
        };
        // A dump and a base prove nothing of each other. WAL is tested with its base.
        for physical in [false, true] {
            let is_meant =
                |method: Method| is_physical(method) == physical && method != Method::Wal;
            let of = |c: &Copies| is_meant(c.facts.method);
            let last = Last::of(view, Check::RestoreTest, of, None);
            let of_run = |method: &Method| made.iter().any(|made| made.method == *method);
            let newest_first = |method: &Method| {
                let started = |c: &Copies| (c.facts.method == *method).then_some(c.facts.started);
                let exists = newest.iter().filter_map(|copies| started(copies)).max();
                (of_run(method), exists)
            };
            let whole = methods.iter().copied().filter(|method| is_meant(*method));
            let first = whole.max_by_key(newest_first);
            if let Some(because) = last.due(test.every, world.at)
                && let Some(subject) = first.and_then(|m| store().find_map(|at| subject(m, at)))
            {
                drafts.push(draft(world, view, subject, check, Cause::Schedule, because));
            }
        }
    }
}

/// When a check was last made, and when it last passed.
struct Last {
    made: Option<Timestamp>,
    passed: Option<Timestamp>,
}

impl Last {
    fn of(
        view: &View,
        check: Check,
        of: impl Fn(&Copies) -> bool,
        at: Option<&DestinationName>,
    ) -> Self {
        let mut last = Self {
            made: None,
            passed: None,
        };
        let evidence = view
            .backups
            .iter()
            .filter(|c| of(c))
            .flat_map(Copies::evidence);
        for e in evidence.filter(|e| e.check == check && at.is_none_or(|at| e.destination == *at)) {
            last.made = last.made.max(Some(e.at));
            if e.passed {
                last.passed = last.passed.max(Some(e.at));
            }
        }
        last
    }

    fn due(&self, every: Period, at: Timestamp) -> Option<Reason> {
        let is_due = self.made.is_none_or(|made| every.after(made) <= at);
        is_due.then_some(Reason::CheckDue {
            last: self.passed,
            every,
        })
    }
}

/// The newest good backup of each method; of WAL the newest, also where something is missing before it: that is
/// what a check of it tells.
pub(crate) fn newest_of_each_method<'v, 'a>(
    world: &World,
    view: &'v View<'a>,
) -> Vec<&'v Copies<'a>> {
    let mut newest: BTreeMap<Method, &Copies> = BTreeMap::new();
    let is_of_wal = |copies: &&Copies| copies.facts.method == Method::Wal;
    let wal = view.backups.iter().rev().filter(is_of_wal);
    let wal = wal.filter(|copies| copies.facts.started <= world.at);
    for copies in wal.chain(view.good(world.at)) {
        newest.entry(copies.facts.method).or_insert(copies);
    }
    newest.into_values().collect()
}

fn first_holding<'a>(
    world: &World,
    view: &View<'a>,
    copies: &Copies,
) -> Option<&'a DestinationName> {
    let store = view.spec.store.iter();
    store
        .filter(|name| world.is_writable(name))
        .find(|name| copies.copy_at(name).is_some())
}

fn of_made<'a>(
    world: &World,
    view: &View,
    made: &Made,
    at: &'a DestinationName,
    bring: usize,
) -> Subject<'a> {
    let mut labels = made.labels(view);
    labels.push(Address::destination(at));
    Subject {
        backup: made_by(made.draft),
        at,
        needs: vec![bring],
        time: made.time(world),
        labels,
        made_by: Some(made.draft),
    }
}

fn of_existing<'a>(view: &View, copies: &Copies, at: &'a DestinationName) -> Subject<'a> {
    let id = copies.facts.id;
    Subject {
        backup: BackupRef::Id(id),
        at,
        needs: Vec::new(),
        time: copies.facts.started,
        labels: vec![
            view.address(),
            Address::destination(at),
            Address::backup(&id),
        ],
        made_by: None,
    }
}

fn draft(
    world: &World,
    view: &View,
    subject: Subject,
    check: CheckSpec,
    cause: Cause,
    because: Reason,
) -> Draft {
    let backup = match subject.backup {
        BackupRef::Id(id) => Some(id),
        BackupRef::Of(_) => None,
    };
    Draft {
        address: view.address(),
        action: Action::Verify {
            component: view.spec.name.clone(),
            backup: subject.backup,
            destination: subject.at.clone(),
            check,
        },
        needs: subject.needs,
        after: Vec::new(),
        cause,
        because,
        bytes: None,
        key: Key {
            backup,
            detail: check.check() as usize,
            destination: world.order(subject.at),
            ..key(view, VERIFY, subject.time)
        },
        labels: subject.labels,
        made_by: subject.made_by,
    }
}
