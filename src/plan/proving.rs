//! Plans checks that somebody asks for now: which backups, at which destinations, by which checks. What can not
//! be checked is said, never passed over.

use crate::model::ids::{BackupId, ComponentName, DestinationName};
use crate::model::inventory::Inventory;
use crate::model::records::Check;
use crate::model::strategy::{Method, Strategy};
use crate::model::units::{AsOf, Percent};
use crate::plan::basis::inventory_digest;
use crate::plan::check::restore_target;
use crate::plan::checks::newest_of_each_method;
use crate::plan::document::{
    Action, BackupRef, Cause, CheckSpec, Plan, Reason, Step, StepId, Summary,
};
use crate::plan::make::{Decided, document};
use crate::plan::world::{Copies, View, World};

/// What is to be checked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckRequest {
    /// Only this component.
    pub component: Option<ComponentName>,
    /// This backup; `None`: the newest good one of each method.
    pub backup: Option<BackupId>,
    /// This check, in full; `None`: those that the plan file asks for, and presence.
    pub check: Option<Check>,
}

/// A copy that can not be checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotChecked {
    /// What of.
    pub component: ComponentName,
    /// Which backup; `None`: there is none.
    pub backup: Option<BackupId>,
    /// Where.
    pub destination: Option<DestinationName>,
    /// Why not.
    pub why: String,
}

/// The checks as a plan of independent steps, and what can not be checked.
pub fn checks_now(
    strategy: &Strategy,
    inventory: &Inventory,
    at: AsOf,
    request: &CheckRequest,
) -> (Plan, Vec<NotChecked>) {
    let world = World::new(strategy, inventory, at.0);
    let mut asked = Asked {
        world: &world,
        request,
        steps: Vec::new(),
        not_checked: Vec::new(),
    };
    for view in &world.views {
        let is_meant = request.component.as_ref();
        if is_meant.is_none_or(|name| *name == view.spec.name) && !view.spec.store.is_empty() {
            asked.component(view);
        }
    }
    let Asked {
        steps, not_checked, ..
    } = asked;
    let decided = Decided {
        summary: Summary::of(&steps, &[]),
        steps,
        kept: Vec::new(),
        held: Vec::new(),
        not_due: Vec::new(),
    };
    let fingerprint = inventory_digest(world.inventory);
    (document(&world, fingerprint, decided), not_checked)
}

struct Asked<'r, 'a> {
    world: &'r World<'a>,
    request: &'r CheckRequest,
    steps: Vec<Step>,
    not_checked: Vec<NotChecked>,
}

impl Asked<'_, '_> {
    fn component(&mut self, view: &View) {
        let backups: Vec<&Copies> = match self.request.backup {
            Some(id) => view.backups.iter().filter(|c| c.facts.id == id).collect(),
            None => newest_of_each_method(self.world, view),
        };
        if backups.is_empty() && self.request.backup.is_none() {
            self.leave_out(
                view,
                None,
                None,
                "it has no good backup that was seen".to_owned(),
            );
        }
        for copies in backups {
            let elsewhere = copies.at.iter().map(|(name, _)| *name);
            let elsewhere = elsewhere.filter(|name| !view.spec.store.contains(name));
            for destination in view.spec.store.iter().chain(elsewhere) {
                self.copy(view, copies, destination);
            }
        }
    }

    fn copy(&mut self, view: &View, copies: &Copies, destination: &DestinationName) {
        let id = copies.facts.id;
        if copies.copy_at(destination).is_none() {
            let why = match self.world.why_unseen(destination) {
                Some(why) => format!("the destination was not seen completely: {why}"),
                None => "there is no copy; `ccb apply` makes it".to_owned(),
            };
            return self.leave_out(view, Some(id), Some(destination), why);
        }
        for check in self.checks(view, copies, destination) {
            // There are never more steps than numbers for them: each is a check of a copy in memory.
            let number = u32::try_from(self.steps.len() + 1).unwrap_or(u32::MAX);
            self.steps.push(Step {
                id: StepId(number),
                address: view.address(),
                action: Action::Verify {
                    component: view.spec.name.clone(),
                    backup: BackupRef::Id(id),
                    destination: destination.clone(),
                    check,
                },
                needs: Vec::new(),
                cause: Cause::Request,
                because: Reason::Requested,
                bytes: None,
            });
        }
    }

    fn leave_out(
        &mut self,
        view: &View,
        backup: Option<BackupId>,
        destination: Option<&DestinationName>,
        why: String,
    ) {
        self.not_checked.push(NotChecked {
            component: view.spec.name.clone(),
            backup,
            destination: destination.cloned(),
            why,
        });
    }

    /// Cheap ones first.
    fn checks(&self, view: &View, copies: &Copies, at: &DestinationName) -> Vec<CheckSpec> {
        let settings = &view.spec.verify;
        // WAL is tested with its base.
        let is_restored = copies.facts.method != Method::Wal;
        let destination = self.world.strategy.destination(at);
        let restore_test = |files| {
            let asked = settings.restore_test.as_ref();
            CheckSpec::RestoreTest {
                into: asked.map_or_else(|| restore_target(view.spec), |test| test.into),
                files,
            }
        };
        match self.request.check {
            Some(Check::Presence) => vec![CheckSpec::Presence],
            Some(Check::Integrity) => vec![CheckSpec::Integrity {
                sample: Percent(100),
            }],
            Some(Check::Contents) => vec![CheckSpec::Contents],
            Some(Check::RestoreTest) => vec![restore_test(None)],
            Some(Check::Encrypted) => vec![CheckSpec::Encrypted],
            None => {
                let mut checks = vec![CheckSpec::Presence];
                if settings.encrypted && destination.is_some_and(|d| d.encrypt.is_some()) {
                    checks.push(CheckSpec::Encrypted);
                }
                if settings.contents.is_some() {
                    checks.push(CheckSpec::Contents);
                }
                if let Some(integrity) = &settings.integrity {
                    checks.push(CheckSpec::Integrity {
                        sample: integrity.sample,
                    });
                }
                if let Some(test) = settings.restore_test.as_ref().filter(|_| is_restored) {
                    checks.push(restore_test(test.files));
                }
                checks
            }
        }
    }
}
